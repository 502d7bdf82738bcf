"""
JSON read strictly (R-WEB-4): what Python's parser lets through and a store or a file system later chokes on is refused
here, with a text that says what and where.
"""

import json
import math
import re
from typing import Any, NoReturn  # Any: what JSON holds is known only after it was checked

from m3u8svc.errors import InvalidRequest
from m3u8svc.redact import escape_controls
from m3u8svc.wording import Said, said

MAX_DEPTH = 32
MAX_INTEGER = 2**53
_BAD = re.compile("[\0\ud800-\udfff]")
_DOUBTFUL = ("\\u0000", "\\ud", "\\uD")
"""How a NUL or a surrogate gets into JSON that is UTF-8: without any of these, no text needs to be looked at."""
_DIGITS_OF_2_53 = 16
_LONGEST_INTEGER = 20
"""Digits and sign; longer ones are refused before they are converted (a conversion of thousands is quadratic)."""

_TOO_DEEP = Said(f"JSON 嵌套超过 {MAX_DEPTH} 层", f"the JSON nests deeper than {MAX_DEPTH}")
_CONTAINERS = (dict, list)


def read_json(body: bytes) -> object:
    """
    The value that `body` holds. Takes no longer than a few times what Python's parser does, whatever is in it: only the
    containers are looked at again, and the texts where an escape makes it necessary.

    Raises:
        InvalidRequest: not UTF-8, not JSON, or JSON beyond what R-WEB-4 allows.
    """
    text = _decoded(body)
    value = _parsed(text)
    _check_depth(value)
    if any(escape in text for escape in _DOUBTFUL):
        _check_texts(value)
    return value


def _decoded(body: bytes) -> str:
    if not body.strip():
        _refuse(Said("请求体为空", "the body is empty"))
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(Said(f"第 {error.start + 1} 个字节不是 UTF-8", f"byte {error.start + 1} is not UTF-8"))


def _parsed(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=lambda name: _refuse(Said(f"不允许 {name}", f"{name} is not allowed")),
            parse_int=_integer,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        _refuse(
            Said(
                f"不是有效的 JSON（第 {error.lineno} 行第 {error.colno} 列）",
                f"not valid JSON (line {error.lineno}, column {error.colno})",
            )
        )
    except RecursionError:
        # Python's own limit comes long after ours, but before the whole text is read.
        _refuse(_TOO_DEEP)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                _refuse(Said(f"字段重复：{_named(name)}", f"a field is there twice: {_named(name)}"))
            names.add(name)
    return found


def _integer(digits: str) -> int:
    if len(digits) < _DIGITS_OF_2_53:
        return int(digits)
    if len(digits) > _LONGEST_INTEGER or abs(int(digits)) > MAX_INTEGER:
        _refuse(
            Said(
                f"整数超出 ±2^53：{digits[:_LONGEST_INTEGER]}",
                f"a whole number beyond ±2^53: {digits[:_LONGEST_INTEGER]}",
            )
        )
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(Said(f"数字过大：{digits[:_LONGEST_INTEGER]}", f"a number is too large: {digits[:_LONGEST_INTEGER]}"))
    return number


def _check_depth(value: Any) -> None:
    """
    Refuse what is too deep, level by level.
    """
    level = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, _CONTAINERS)
        ]
        if not level:
            return
    _refuse(_TOO_DEEP)


def _check_texts(value: Any) -> None:
    """
    Refuse text that no database or file name can hold, wherever it is.
    """
    found = ((), value) if isinstance(value, str) and _BAD.search(value) else _bad_text_in(value)
    if found is not None:
        path, text = found
        name = _named(".".join(path))
        where = Said(name, name) if path else Said("请求体", "the body")
        what = Said("含有 NUL 字符", "has a NUL in it")
        if "\0" not in text:
            what = Said("含有不成对的代理字符", "has an unpaired surrogate in it")
        _refuse(said("{where}: {what}", "{where}: {what}", where=where, what=what))


def _bad_text_in(value: Any) -> tuple[tuple[str, ...], str] | None:
    """
    The first such text inside `value`, with the path to it. By recursion, which `_check_depth` has bounded.
    """
    if not isinstance(value, _CONTAINERS):
        return None
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(name, str) and _BAD.search(name):
            return (name,), name
        if isinstance(inner, str):
            if _BAD.search(inner):
                return (str(name),), inner
        elif inner and isinstance(inner, _CONTAINERS):
            found = _bad_text_in(inner)
            if found is not None:
                return (str(name), *found[0]), found[1]
    return None


def _named(name: str) -> str:
    """
    A name out of the request, short and printable.
    """
    shown = escape_controls(name[:60]).encode("utf-8", "backslashreplace").decode("utf-8")
    return shown + ("…" if len(name) > 60 else "")


def _refuse(problem: Said) -> NoReturn:
    raise InvalidRequest(problems=problem)
