"""
Who is told what: the table ``[plugins.notify]``. Pure, but for looking up programs.
"""

import difflib
import os
import re
import shutil
from collections.abc import Collection, Mapping
from typing import Any  # Any: what TOML can hold
from urllib.parse import urlsplit

import attrs

from m3u8svc.plugin import ConfigError, NotConfigured, Status

WHERE = "plugins.notify"
EVENTS = {
    "created": "created",
    **{name: name for name in ("waiting", "downloading", "paused", "completed", "failed")},
    **{status.value: status.name.lower() for status in Status},
}
"""What `on` may hold: English names, and the API's words."""
ALL = frozenset(EVENTS.values())
LEAST_SECRET = 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OURS = ("content-type", "content-length", "host", "connection", "transfer-encoding", "expect", "accept-encoding")


@attrs.frozen(kw_only=True)
class Webhook:
    """
    A URL that gets POSTs. `key` names its rows in the queue.
    """

    key: str
    url: str = attrs.field(repr=False)
    on: frozenset[str] = ALL
    secret: bytes = attrs.field(default=b"", repr=False)
    timeout_s: float = 10.0
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


@attrs.frozen(kw_only=True)
class Command:
    """
    A program that is run. `argv` begins with its absolute path.
    """

    key: str
    argv: tuple[str, ...] = attrs.field(repr=False)
    on: frozenset[str] = ALL
    timeout_s: float = 30.0


Target = Webhook | Command
"""Somebody who is told."""


@attrs.frozen(kw_only=True)
class NotifySettings:
    """
    `max_age_s`: what could not be delivered for so long is dropped. `max_queued`: so many events wait for one target.
    """

    targets: tuple[Target, ...]
    max_age_s: float = 86_400.0
    max_queued: int = 10_000


def parse_settings(config: Mapping[str, Any]) -> NotifySettings:
    """
    The settings, every key checked.

    Raises:
        NotConfigured: nobody is to be told.
        ConfigError: a key is unknown, or a value cannot be used; it names the key, the value and what is allowed.
            Secrets, headers and the queries of URLs are not shown.
    """
    _refuse_unknown(config, "", ("webhooks", "commands", "max_age_s", "max_queued"))
    webhooks = [_webhook(each, at) for each, at in _tables(config, "webhooks")]
    commands = [_command(each, at) for each, at in _tables(config, "commands")]
    targets: list[Target] = [*webhooks, *commands]
    keys = [target.key for target in targets]
    for key in keys:
        if keys.count(key) > 1:
            raise _wrong("", f"two targets are called {key!r}: give them different names with the key name")
    if not targets:
        raise NotConfigured(reason="there are no webhooks and no commands in [plugins.notify]")
    return NotifySettings(
        targets=tuple(targets),
        max_age_s=_number(config, "", "max_age_s", 86_400, 60, 7 * 86_400),
        max_queued=int(_number(config, "", "max_queued", 10_000, 10, 1_000_000)),
    )


def _webhook(table: Mapping[str, Any], at: str) -> Webhook:
    _refuse_unknown(table, at, ("name", "url", "secret", "on", "timeout_s", "headers"))
    url = _url(table, at)
    parts = urlsplit(url)
    return Webhook(
        key="webhook:" + _name(table, at, f"{parts.netloc}{parts.path}"),
        url=url,
        on=_on(table, at),
        secret=_secret(table, at),
        timeout_s=_number(table, at, "timeout_s", 10, 1, 300),
        headers=_headers(table, at),
    )


def _command(table: Mapping[str, Any], at: str) -> Command:
    _refuse_unknown(table, at, ("name", "argv", "on", "timeout_s"))
    argv = table.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) and "\0" not in word for word in argv):
        raise _wrong(f"{at}.argv", f"{argv!r} is not a list of strings, the program first; there is no shell")
    if os.sep in argv[0] and not os.path.isabs(argv[0]):
        raise _wrong(f"{at}.argv", f"{argv[0]!r} is a relative path: give a name on PATH or an absolute path")
    program = shutil.which(argv[0])
    if program is None:
        raise _wrong(f"{at}.argv", f"there is no program {argv[0]!r}")
    return Command(
        key="command:" + _name(table, at, os.path.basename(argv[0])),
        argv=(os.path.abspath(program), *argv[1:]),
        on=_on(table, at),
        timeout_s=_number(table, at, "timeout_s", 30, 1, 3600),
    )


def _tables(config: Mapping[str, Any], key: str) -> list[tuple[Mapping[str, Any], str]]:
    value = config.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise _wrong(key, f"this is not a list of tables: write [[{WHERE}.{key}]]")
    return [(each, f"{key}[{index}]") for index, each in enumerate(value)]


def _url(table: Mapping[str, Any], at: str) -> str:
    url = table.get("url")
    if not isinstance(url, str):
        raise _wrong(f"{at}.url", "this is missing: an http:// or https:// URL")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or re.search(r"[\x00-\x20\x7f]", url):
        raise _wrong(f"{at}.url", "this is not an http:// or https:// URL in ASCII")
    if "@" in parts.netloc:
        raise _wrong(f"{at}.url", "no user and password in it: put them into headers = {Authorization = ...}")
    return url.partition("#")[0]


def _secret(table: Mapping[str, Any], at: str) -> bytes:
    secret = table.get("secret", "")
    if not isinstance(secret, str) or 0 < len(secret) < LEAST_SECRET or ("secret" in table and not secret):
        raise _wrong(f"{at}.secret", f"this is not a string of at least {LEAST_SECRET} characters")
    return secret.encode()


def _headers(table: Mapping[str, Any], at: str) -> tuple[tuple[str, str], ...]:
    headers = table.get("headers", {})
    if not isinstance(headers, Mapping):
        raise _wrong(f"{at}.headers", 'this is not a table of names and values: headers = {Authorization = "..."}')
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise _wrong(f"{at}.headers", f"{name!r} is not the name of a header")
        if name.lower() in _OURS or name.lower().startswith("x-m3u8svc-"):
            raise _wrong(f"{at}.headers", f"{name} is set by the plugin itself")
        if not isinstance(value, str) or not value.isascii() or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise _wrong(f"{at}.headers", f"the value of {name} is not a line of ASCII text")
    return tuple(headers.items())


def _on(table: Mapping[str, Any], at: str) -> frozenset[str]:
    on = table.get("on", list(ALL))
    if not isinstance(on, list) or not on:
        raise _wrong(f"{at}.on", f"{on!r} is not a list of events; known are {', '.join(EVENTS)}")
    for each in on:
        if not isinstance(each, str) or each not in EVENTS:
            raise _wrong(f"{at}.on", f"there is no event {each!r}; {_nearest(each, EVENTS)}")
    return frozenset(EVENTS[each] for each in on)


def _name(table: Mapping[str, Any], at: str, default: str) -> str:
    name = table.get("name")
    if name is None:
        return default
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(f"{at}.name", f"{name!r} is not a name: 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def _number(table: Mapping[str, Any], at: str, key: str, default: float, least: float, most: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _wrong(f"{at}.{key}" if at else key, f"{value!r} is not a number from {least} to {most}")
    return float(value)


def _refuse_unknown(table: Mapping[str, Any], at: str, known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            raise _wrong(f"{at}.{key}" if at else key, f"there is no such key; {_nearest(key, known)}")


def _nearest(word: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _wrong(where: str, reason: str) -> ConfigError:
    return ConfigError(where=f"{WHERE}.{where}" if where else WHERE, reason=reason)
