"""
What the operator configures and what a request may ask for, as values. Pure.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any  # a plugin's configuration and options are its own JSON
from urllib.parse import urlsplit

import attrs

from m3u8svc.plugin import ConfigError, NotConfigured, OptionError, Said

TABLE = "plugins.storage-s3"
MEBIBYTE = 1 << 20
LONGEST_PREFIX_BYTES = 256
"""Of the configured prefix; a request may add 512: with a name of 200 a key stays within S3's 1024 bytes."""
LONGEST_OPTION_BYTES = 512

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


@attrs.frozen(kw_only=True)
class Configuration:
    """
    One bucket and how to reach it. `endpoint` "" is Amazon's own of the region; `prefix` has no slash at its ends.
    """

    bucket: str
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    access_key_id: str = attrs.field(default="", repr=False)
    secret_access_key: str = attrs.field(default="", repr=False)
    session_token: str = attrs.field(default="", repr=False)
    anonymous: bool = False
    allow_http: bool = False
    path_style: bool = False
    part_size_mb: int = 16
    concurrency: int = 4
    timeout_s: int = 60
    conditional_writes: bool = True


def read_configuration(table: Mapping[str, Any]) -> Configuration:
    """
    The table as a value.

    Raises:
        NotConfigured: there is no table.
        ConfigError: every wrong key with its value and what is allowed; values of secrets are not shown.
    """
    if not table:
        raise NotConfigured(reason=f"there is no [{TABLE}] in the configuration")
    problems = [_unknown(key, _KEYS) for key in table if key not in _KEYS]
    values: dict[str, Any] = {}
    for key, (read, allowed, secret) in _KEYS.items():
        if key not in table:
            continue
        value = read(table[key])
        if value is None:
            got = "" if secret else f", not {table[key]!r}"
            problems.append(f"{key} must be {allowed}{got}")
        else:
            values[key] = value
    problems += _contradictions(table, values)
    if problems:
        raise ConfigError(where=TABLE, reason="; ".join(problems))
    values.setdefault("path_style", "endpoint" in values)
    return Configuration(**values)


def read_options(options: Mapping[str, Any]) -> str:
    """
    The prefix a request asks for, below the configured one; "" without.

    Raises:
        OptionError: an option there is none of, or a prefix that leads elsewhere.
    """
    for name in options:
        if name != "prefix":
            raise OptionError(
                path=name, reason=Said("没有这个选项，只有 prefix", "there is no such option; prefix is the only one")
            )
    prefix: str | None = _prefix(LONGEST_OPTION_BYTES)(options.get("prefix", ""))
    if prefix is None:
        why = Said(
            f"必须是 {LONGEST_OPTION_BYTES} 字节以内的相对路径，如 2026/films，不含 ..",
            f"must be a relative path of at most {LONGEST_OPTION_BYTES} bytes, such as 2026/films, without ..",
        )
        raise OptionError(path="prefix", reason=why)
    return prefix


def _contradictions(table: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    problems = []
    if "bucket" not in table:
        problems.append("bucket is missing: the name of the bucket results go to")
    endpoint = values.get("endpoint", "")
    if endpoint.startswith("http://") and not values.get("allow_http"):
        problems.append(f"endpoint {endpoint!r} is not encrypted: use https://, or say allow_http = true")
    credentials = [key for key in ("access_key_id", "secret_access_key", "session_token") if key in table]
    if values.get("anonymous"):
        if credentials:
            problems.append(f"anonymous = true goes without credentials, but there is {' and '.join(credentials)}")
    elif "access_key_id" not in table or "secret_access_key" not in table:
        problems.append(
            "access_key_id and secret_access_key are both needed (the environment's AWS_* is not used), "
            "or anonymous = true"
        )
    return problems


def _unknown(key: str, known: Mapping[str, object]) -> str:
    nearest = difflib.get_close_matches(key, known, n=1)
    return f"there is no key {key!r}" + (f"; do you mean {nearest[0]!r}?" if nearest else f": {', '.join(known)}")


Read = Callable[[object], Any]
"""A value as it was written -> as it is used, None when it cannot be."""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and not _UNSAFE.search(value) else None


def _credential(value: object) -> str | None:
    """
    Header material. A file's last line end is taken off: secrets are often written with one.
    """
    text = value.strip() if isinstance(value, str) else ""
    return text if text.isascii() and text.isprintable() and " " not in text and text else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _whole(lowest: int, highest: int) -> Read:
    def read(value: object) -> int | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if whole and lowest <= value <= highest else None  # type: ignore[operator,return-value]  # an int

    return read


def _matching(pattern: re.Pattern[str]) -> Read:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _endpoint(value: object) -> str | None:
    if _text(value) is None:
        return None
    try:
        parts = urlsplit(str(value))
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return None
    plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in ("", "/")
    if parts.scheme not in ("http", "https") or not _is_host(parts.hostname or "") or not plain or not port_is_fine:
        return None
    return f"{parts.scheme}://{parts.netloc}"


def _is_host(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) is not None
    return True


def _prefix(longest_bytes: int) -> Read:
    def read(value: object) -> str | None:
        if not isinstance(value, str):
            return None
        prefix = value.removesuffix("/")
        if not prefix:
            return "" if value == "" else None
        elements = prefix.split("/")
        try:
            size = len(prefix.encode())
        except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell
            return None
        safe = not _UNSAFE.search(prefix) and not any(each.strip() in ("", ".", "..") for each in elements)
        return prefix if safe and size <= longest_bytes else None

    return read


_KEYS: dict[str, tuple[Read, str, bool]] = {
    "endpoint": (_endpoint, "the URL of a server without path, such as https://s3.example.com", False),
    "bucket": (_matching(_BUCKET), "the name of a bucket: 3 to 255 letters, digits, dots, hyphens", False),
    "region": (_matching(_REGION), "the name of a region, such as eu-central-1", False),
    "prefix": (
        _prefix(LONGEST_PREFIX_BYTES),
        f"a path of at most {LONGEST_PREFIX_BYTES} bytes without .. and without a leading /",
        False,
    ),
    "access_key_id": (_credential, "printable ASCII text", True),
    "secret_access_key": (_credential, "printable ASCII text", True),
    "session_token": (_credential, "printable ASCII text", True),
    "anonymous": (_flag, "true or false", False),
    "allow_http": (_flag, "true or false", False),
    "path_style": (_flag, "true or false", False),
    "part_size_mb": (_whole(5, 1024), "a whole number from 5 to 1024", False),
    "concurrency": (_whole(1, 32), "a whole number from 1 to 32", False),
    "timeout_s": (_whole(1, 600), "a whole number from 1 to 600", False),
    "conditional_writes": (_flag, "true or false", False),
}
"""Each key: how it is read, what is allowed, whether its value is a secret."""
