"""
What the operator configures and what a request asks for: checked here, once, and values from then on.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any  # configuration and options come from outside and may be anything

import attrs
import re2  # type: ignore[import-untyped]

from m3u8svc.plugin import ConfigError, OptionError, Said

NAME = "skip-ads"
MODES = ("auto", "marks", "off")
LONGEST_REGEX = 500
LONGEST_LIST = 1000
MOST_SIGNATURES = 200
_REGEX_BYTES = 1 << 20
_POSITIONS = re.compile(r"([1-9][0-9]{0,6})(?:-([1-9][0-9]{0,6}))?")


@attrs.frozen(kw_only=True)
class Chosen:
    """
    Segments somebody named: whole groups by number, or ranges of 1-based positions.
    """

    groups: frozenset[int] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was named."""
        return bool(self.groups or self.ranges)

    def has(self, group: int, position: int) -> bool:
        """Whether this segment of this group is among them."""
        return group in self.groups or any(first <= position <= last for first, last in self.ranges)


@attrs.frozen(kw_only=True)
class Options:
    """
    What shall happen to one task. `regex` acts, and so does `drop`, whatever the mode is.
    """

    mode: str = "off"
    max_share: float = 0.4
    max_signatures: int = 32
    regex: str = attrs.field(default="", repr=False)  # may hold a token, as URLs do
    drop: Chosen = Chosen()
    keep: Chosen = Chosen()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return self.mode == "off" and not self.regex and not self.drop


def read_configuration(config: Mapping[str, Any]) -> Options:
    """
    The options of a task that says nothing, from ``[plugins.skip-ads]``.

    Raises:
        ConfigError: all that is wrong, by key.
    """
    problems: list[tuple[str, str]] = []
    given: dict[str, Any] = {}
    for key, value in config.items():
        where = f"plugins.{NAME}.{key}"
        try:
            field, check = _looked_up(_CONFIGURATION, key)
            given[field] = check(value)
        except _Wrong as wrong:
            problems.append((where, wrong.english))
    if problems:
        (where, reason), *others = problems
        raise ConfigError(where=where, reason="; ".join([reason, *(f"{key}: {text}" for key, text in others)]))
    return Options(**given)


def read_options(options: Mapping[str, Any], defaults: Options) -> Options:
    """
    What one request asks for, over what is configured.

    Raises:
        OptionError: the first thing that is wrong, by path.
    """
    given: dict[str, Any] = {}
    for key, value in options.items():
        try:
            field, check = _looked_up(_REQUEST, key)
            given[field] = check(value)
        except _Wrong as wrong:
            raise OptionError(path=f"{key}{wrong.below}", reason=Said(wrong.chinese, wrong.english)) from None
    read = attrs.evolve(defaults, **given)
    if read.idle and "mode" not in options:
        why = Said(
            '缺少要做的事：请给出 mode（"auto" 或 "marks"）、regex 或 drop',
            'there is nothing to do: give mode ("auto" or "marks"), regex or drop',
        )
        raise OptionError(path="mode", reason=why)
    return read


def matcher(regex: str) -> Callable[[str], bool]:
    """
    Whether a text has a match, in time linear in its length; nothing matches "".

    Raises:
        ValueError: it is no regular expression (of RE2's kind: no look-around, no back-references), or takes too much.
    """
    if not regex:
        return lambda text: False
    settings = re2.Options()
    settings.log_errors = False  # to stderr, that would be
    settings.max_mem = _REGEX_BYTES
    try:
        compiled = re2.compile(regex, settings)
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        raise ValueError(detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)) from None
    return lambda text: compiled.search(text) is not None


# -- One value -------------------------------------------------------------------------------------------------------


class _Wrong(Exception):
    """
    What is wrong with a value, for the operator's log and for the answer to a request; `below`: where inside it.
    """

    def __init__(self, english: str, chinese: str, *, below: str = "") -> None:
        super().__init__(english)
        self.english = english
        self.chinese = chinese
        self.below = below


_Check = Callable[[Any], Any]


def _looked_up(table: Mapping[str, tuple[str, _Check]], key: str) -> tuple[str, _Check]:
    if key in table:
        return table[key]
    near = difflib.get_close_matches(key, table, n=1)
    raise _Wrong(
        f"there is no such key{f', did you mean {near[0]}?' if near else ''} (known: {', '.join(table)})",
        f"没有这个选项{f'，是否指 {near[0]}？' if near else ''}（可用：{'、'.join(table)}）",
    )


def _mode(value: Any) -> str:
    if isinstance(value, str) and value in MODES:
        return value
    raise _Wrong(
        f'must be "auto", "marks" or "off", not {_shown(value)}',
        f'必须是 "auto"、"marks" 或 "off"，而不是 {_shown(value)}',
    )


def _share(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise _Wrong(
        f"must be a number from 0 to 1, not {_shown(value)}", f"必须是 0 到 1 之间的数，而不是 {_shown(value)}"
    )


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SIGNATURES:
        return value
    raise _Wrong(
        f"must be a whole number from 0 to {MOST_SIGNATURES}, not {_shown(value)}",
        f"必须是 0 到 {MOST_SIGNATURES} 之间的整数，而不是 {_shown(value)}",
    )


def _regex(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_REGEX:
        raise _Wrong(
            f"must be a regular expression of 1 to {LONGEST_REGEX} characters",
            f"必须是 1 到 {LONGEST_REGEX} 个字符的正则表达式",
        )
    try:
        matcher(value)
    except ValueError as error:
        raise _Wrong(
            f"is no usable regular expression (of RE2: no look-around, no back-references): {error}",
            f"不是可用的正则表达式（RE2 语法，不支持环视和反向引用）：{error}",
        ) from None
    return value


def _chosen(value: Any) -> Chosen:
    if not isinstance(value, list | tuple) or len(value) > LONGEST_LIST:
        raise _Wrong(
            f'must be a list of at most {LONGEST_LIST}: numbers of groups such as 2, or segments such as "12-15"',
            f'必须是列表（最多 {LONGEST_LIST} 项）：组号如 2，或分片范围如 "12-15"',
        )
    groups: set[int] = set()
    ranges: list[tuple[int, int]] = []
    for index, item in enumerate(value):
        found = _POSITIONS.fullmatch(item) if isinstance(item, str) else None
        if isinstance(item, int) and not isinstance(item, bool) and item >= 1:
            groups.add(item)
        elif found is not None and int(found[1]) <= int(found[2] or found[1]):
            ranges.append((int(found[1]), int(found[2] or found[1])))
        else:
            raise _Wrong(
                f'must be the number of a group, from 1, or segments such as "12-15", not {_shown(item)}',
                f'必须是从 1 开始的组号，或分片范围如 "12-15"，而不是 {_shown(item)}',
                below=f"[{index}]",
            )
    return Chosen(groups=frozenset(groups), ranges=tuple(ranges))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


_CONFIGURATION: Mapping[str, tuple[str, _Check]] = {
    "default_mode": ("mode", _mode),
    "max_share": ("max_share", _share),
    "max_signatures": ("max_signatures", _count),
}
_REQUEST: Mapping[str, tuple[str, _Check]] = {
    "mode": ("mode", _mode),
    "regex": ("regex", _regex),
    "drop": ("drop", _chosen),
    "keep": ("keep", _chosen),
    "max_share": ("max_share", _share),
    "max_signatures": ("max_signatures", _count),
}
