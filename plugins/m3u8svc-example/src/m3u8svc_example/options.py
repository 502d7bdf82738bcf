"""
What the operator configures and what a request asks for: checked once, values from then on.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any  # both come from outside and may be anything

import attrs

from m3u8svc.plugin import ConfigError, OptionError, Said

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@attrs.frozen(kw_only=True)
class Configured:
    """
    The table ``[plugins.example]``. Keys are never shown.
    """

    max_height: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    keys: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Asked:
    """
    What a request says under ``"plugins": {"example": …}``.
    """

    max_height: int | None = None
    skip_first_s: float = 0.0


def read_configuration(config: Mapping[str, Any]) -> Configured:
    """
    Raises:
        ConfigError: a key is unknown or its value wrong; for the operator, in English.
    """
    for name in unknown(config, Configured):
        raise ConfigError(where=name, reason=f"there is no such key{near(name, Configured, '; did you mean {}?')}")
    height = config.get("max_height")
    if height is not None and not _is_height(height):
        raise ConfigError(where="max_height", reason=f"must be a whole number from 1 to 10000, not {height!r}")
    for table in ("headers", "keys"):
        if not isinstance(config.get(table, {}), Mapping):
            raise ConfigError(where=table, reason="must be a table")
    for name, value in config.get("headers", {}).items():
        if not _TOKEN.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise ConfigError(where=f"headers.{name}", reason="must be the name of a header and one line of text")
    keys = {uri: _key(uri, value) for uri, value in config.get("keys", {}).items()}
    return Configured(max_height=height, headers=dict(config.get("headers", {})), keys=keys)


def read_options(options: Mapping[str, Any]) -> Asked:
    """
    Raises:
        OptionError: an option is unknown or its value wrong; for people, in both languages.
    """
    for name in unknown(options, Asked):
        hints = near(name, Asked, "，是否指 {}？"), near(name, Asked, ", did you mean {}?")
        raise OptionError(path=name, reason=Said(f"没有这个选项{hints[0]}", f"there is no such option{hints[1]}"))
    height = options.get("max_height")
    if height is not None and not _is_height(height):
        shown = f"{height!r:.60}"
        why = Said(
            f"必须是 1 到 10000 之间的整数，而不是 {shown}", f"must be a whole number from 1 to 10000, not {shown}"
        )
        raise OptionError(path="max_height", reason=why)
    seconds = options.get("skip_first_s", 0)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= 86400:
        shown = f"{seconds!r:.60}"
        why = Said(f"必须是 0 到 86400 之间的秒数，而不是 {shown}", f"must be seconds from 0 to 86400, not {shown}")
        raise OptionError(path="skip_first_s", reason=why)
    return Asked(max_height=height, skip_first_s=seconds)


def unknown(given: Iterable[str], known: type) -> list[str]:
    """
    The names that are none of these fields.
    """
    return [name for name in given if name not in attrs.fields_dict(known)]


def near(name: str, known: type, text: str) -> str:
    """
    `text` with the field that was probably meant, "" when none is near.
    """
    found = difflib.get_close_matches(name, attrs.fields_dict(known), n=1)
    return text.format(found[0]) if found else ""


def _is_height(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000


def _key(uri: str, value: Any) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]{32}", value.strip()):
        raise ConfigError(where=f"keys.{uri.partition('?')[0]}", reason="must be the key as 32 hexadecimal digits")
    return bytes.fromhex(value.strip())
