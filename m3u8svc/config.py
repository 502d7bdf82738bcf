"""
The operator's configuration: TOML in, one frozen value out, or one error that names everything that is wrong.

Pure: the environment and the files that values may come from are arguments. Anywhere a value may stand, a table
``{"$env" = "NAME"}`` or ``{"$file" = "path"}`` may stand for it, so that a password need not be in the file. What comes
from there is text; where a number or a switch is wanted it is read as TOML would read it.

Flags win over the file, the file over the defaults. Settings saved over the API win over ``[settings]``.
"""

import difflib
import re
import secrets
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any  # Any: a value out of TOML before its rule has seen it, and a plugin's own table

import attrs
from platformdirs import user_state_dir

from m3u8svc.access import passwords
from m3u8svc.access.forwarding import Front, Trusted, checked_base_path, parse_trusted
from m3u8svc.access.passwords import PasswordHash, User, checked_password, hash_password, parse_hash
from m3u8svc.access.roles import Role
from m3u8svc.access.tokens import checked_name
from m3u8svc.errors import ConfigError, SelectionError, SkipExpressionError
from m3u8svc.hls.select import parse_languages, parse_subtitle_files, parse_variant_choice
from m3u8svc.hls.skip import parse_skip_expression
from m3u8svc.redact import MASK, is_secret_header, redact_text
from m3u8svc.tasks.concurrency import IN_ALL, PER_HOST, Ceilings
from m3u8svc.tasks.directories import is_system_directory
from m3u8svc.tasks.headers import parse_header_host
from m3u8svc.tasks.plugins import PluginChoice
from m3u8svc.tasks.reach import MODES, Allowed, Mode, parse_allowed
from m3u8svc.tasks.reserve import Reserve, parse_reserve
from m3u8svc.tasks.schedule import LEAST_RATE, MAX_RATE, BadSchedule, is_rate, parse_rate, parse_schedule
from m3u8svc.tasks.task import (
    DEFAULT_NAMES,
    LIMIT_NAMES,
    MAX_THREADS,
    PARAM_CHANGES,
    PROXY_TYPES,
    SETTING_NAMES,
    Settings,
    SystemSettings,
)
from m3u8svc.weblimits import WebLimits, allowed_range, limit_names

DEFAULT_LISTEN = ("tcp:8080:interface=127.0.0.1",)
DEFAULT_SAVE_DIR = "~/Downloads/m3u8svc"
DEFAULT_MAX_ACTIVE = 3
MAX_ACTIVE = 1000
MAX_CONNECTIONS = 10_000
MAX_CREDENTIAL_BYTES = 255
"""What SOCKS5 can carry (RFC 1929)."""

Problem = tuple[str, str]
"""Where in the configuration, and what is wrong there."""
Rule = Callable[[Any], Any]
"""A value in, the value we keep out; raises ValueError with what is allowed."""


def default_home() -> Path:
    """
    Where this platform keeps the state of a user's programs.
    """
    return Path(user_state_dir("m3u8svc", appauthor=False))


@attrs.frozen(kw_only=True)
class Configuration:
    """
    What the service is told at start. Paths may begin with ``~`` or be relative; whoever uses them resolves them. An
    empty `database` is the SQLite file in `home`. `choice` says which plugins are wanted, `plugins` holds each one's
    table as it is, for the plugin to read.
    `listen_named` is what the operator knows `listen` as: the flag, or the key of the file.
    `file` is where this was read from, "" for nowhere. `save_roots` are directories, besides those that are configured
    as places, in which alone a request may save. `front` is what stands before us, `hosts` are the further names we are
    asked for by, `users` those who have a password.
    """

    listen: tuple[str, ...] = DEFAULT_LISTEN
    listen_named: str = "--listen"
    home: str = attrs.field(factory=lambda: str(default_home()))
    save_dir: str = DEFAULT_SAVE_DIR
    save_roots: tuple[str, ...] = ()
    max_active: int = DEFAULT_MAX_ACTIVE
    max_connections: int = IN_ALL
    max_connections_per_host: int = PER_HOST
    database: str = attrs.field(default="", repr=False)  # a password may be in it
    system: SystemSettings = attrs.field(factory=SystemSettings)
    choice: PluginChoice = attrs.field(factory=PluginChoice)
    plugins: Mapping[str, Mapping[str, Any]] = attrs.field(factory=lambda: MappingProxyType({}), repr=False)
    reserve: Reserve = attrs.field(factory=Reserve)
    web: WebLimits = attrs.field(factory=WebLimits)
    front: Front = attrs.field(factory=Front)
    hosts: tuple[str, ...] = ()
    users: tuple[User, ...] = ()
    network_mode: Mode = "auto"
    """Whether requests may go to the local network and this machine (`tasks.reach`); "auto": by who can reach us."""
    network_allow: tuple[Allowed, ...] = ()
    file: str = ""
    trace_hooks: bool = False

    @property
    def ceilings(self) -> Ceilings:
        """How many requests at once the service makes at most."""
        return Ceilings(per_host=self.max_connections_per_host, in_all=self.max_connections)

    @property
    def places(self) -> tuple[str, ...]:
        """Where the operator lets results and segments lie."""
        settings = self.system.settings
        return (self.save_dir, *self.save_roots, settings.save_location, settings.temp_directory)


def load_configuration(
    text: str, *, environ: Mapping[str, str], read_file: Callable[[str], str], file: str = ""
) -> Configuration:
    """
    The configuration a TOML text means.

    Args:
        text: the whole file.
        file: its name.
        environ: where ``$env`` looks.
        read_file: the text of a file that ``$file`` names; OSError and UnicodeDecodeError are problems like others.

    Raises:
        ConfigError: not TOML, or any value or key is wrong; all problems at once, in `fields["problems"]` too.
    """
    problems: list[Problem] = []
    sources = _Sources(environ, read_file, problems)
    document = {name: sources.resolve(value, name) for name, value in _parse(text, file).items()}
    tables = {name: _table(document, name, problems) for name in _TABLES}
    given = _checked(document, _RULES, "", problems, others=(*tables, "users"))
    settings = _checked(tables["settings"], _SETTING_RULES, "settings.", problems)
    limits = _checked(tables["limits"], _LIMIT_RULES, "limits.", problems)
    network = _checked(tables["network"], _NETWORK_RULES, "network.", problems)
    web = _checked(tables["web"], _WEB_RULES, "web.", problems)
    users = _users(document.get("users", []), problems)
    beside = {name: settings.pop(name) for name in (*DEFAULT_NAMES, *LIMIT_NAMES) if name in settings}
    named = {name: tables["plugins"].pop(name) for name in tuple(_CHOICE_RULES) if name in tables["plugins"]}
    choice = _checked(named, _CHOICE_RULES, "plugins.", problems)
    if not any(where.startswith("settings.proxy_") for where, _ in problems):
        problems += _proxy_problems(Settings(**settings))
    for name in tables["plugins"]:
        _table(tables["plugins"], name, problems, parent="plugins.")
    _raise_all(problems)
    plugins = {name: MappingProxyType(_plain(table)) for name, table in tables["plugins"].items()}
    return Configuration(
        **given,
        listen_named="listen" if "listen" in given else "--listen",
        system=SystemSettings(settings=Settings(**settings), **beside),
        choice=PluginChoice(**choice),
        plugins=MappingProxyType(plugins),
        reserve=limits.get("disk_reserve", Reserve()),
        web=WebLimits(**{name: value for name, value in web.items() if name in limit_names()}),
        front=Front(trusted=web.get("trusted_proxies", ()), base_path=web.get("base_path", "")),
        hosts=web.get("hosts", ()),
        users=users,
        **{f"network_{name}": value for name, value in network.items()},
        file=file,
    )


def with_flags(configuration: Configuration, **given: Any) -> Configuration:
    """
    The configuration under the flags of a command line, by field name; None is a flag that was not given.

    Raises:
        ConfigError: a flag's value is not allowed; named as the flag.
    """
    problems: list[Problem] = []
    wanted = {name: value for name, value in given.items() if value is not None}
    for name in wanted.keys() - _FLAG_RULES.keys():
        raise TypeError(f"there is no flag for {name}")
    accepted: dict[str, Any] = {}
    for name, value in wanted.items():
        _apply(_FLAG_RULES[name], name, value, _FLAGS.get(name) or f"--{name.replace('_', '-')}", accepted, problems)
    _raise_all(problems)
    front = {"trusted": accepted.pop("trusted_proxies", None), "base_path": accepted.pop("base_path", None)}
    if "listen" in accepted:
        accepted["listen_named"] = "--listen"
    given_front = {name: value for name, value in front.items() if value is not None}
    return attrs.evolve(configuration, **accepted, front=attrs.evolve(configuration.front, **given_front))


# -- Reading ---------------------------------------------------------------------------------------------------------


class _Outside(str):
    """
    Text from the environment or a file: never shown, and read as a number or a switch where one is wanted.
    """

    def __repr__(self) -> str:
        return MASK


_UNREADABLE = object()  # stands for a value whose problem was told already


@attrs.frozen
class _Sources:
    """
    Where values that are not in the file itself come from.
    """

    environ: Mapping[str, str]
    read_file: Callable[[str], str]
    problems: list[Problem]

    def resolve(self, value: Any, where: str) -> Any:
        """`value` with every ``$env`` and ``$file`` in it replaced by what it names."""
        if isinstance(value, list):
            return [self.resolve(each, f"{where}[{index}]") for index, each in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if not value.keys() & {"$env", "$file"}:
            return {name: self.resolve(each, f"{where}.{name}") for name, each in value.items()}
        try:
            return self._look_up(value)
        except ValueError as error:
            self.problems.append((where, str(error)))
            return _UNREADABLE

    def _look_up(self, value: dict[str, Any]) -> _Outside:
        [(kind, name), *more] = value.items()
        if more or not isinstance(name, str) or not name:
            raise ValueError('a source is {"$env" = "NAME"} or {"$file" = "path"} and nothing else')
        if kind == "$env":
            if name not in self.environ:
                raise ValueError(f"the environment variable {name} is not set")
            return _Outside(self.environ[name])
        try:
            return _Outside(self.read_file(name).rstrip("\r\n"))  # editors end a file with a line end
        except OSError as error:
            raise ValueError(f"the file {name} cannot be read: {error.strerror or type(error).__name__}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"the file {name} is not UTF-8 text") from error


def _parse(text: str, file: str) -> dict[str, Any]:
    where = f"TOML of {file}" if file else "TOML"
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # some editors begin a file with a byte order mark
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of too many digits
        raise ConfigError(where=where, reason=str(error)) from error
    except RecursionError:
        raise ConfigError(where=where, reason="it is nested too deeply") from None


def _table(parent_table: dict[str, Any], name: str, problems: list[Problem], *, parent: str = "") -> dict[str, Any]:
    value = parent_table.get(name, {})
    if isinstance(value, dict):
        return value
    if value is not _UNREADABLE:
        problems.append((parent + name, f"must be a table, [{parent}{name}], not {_shown(name, value)}"))
    return {}


def _checked(
    table: dict[str, Any], rules: Mapping[str, Rule], parent: str, problems: list[Problem], others: Iterable[str] = ()
) -> dict[str, Any]:
    """
    The values of `table` its rules accept; the rest becomes problems. `others` are known names without a rule.
    """
    known = [*rules, *others]
    accepted: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            problems.append((parent + name, _unknown(name, known)))
        elif name in rules and value is not _UNREADABLE:
            _apply(rules[name], name, value, parent + name, accepted, problems)
    return accepted


def _apply(rule: Rule, name: str, value: Any, where: str, accepted: dict[str, Any], problems: list[Problem]) -> None:
    if isinstance(value, list) and any(each is _UNREADABLE for each in value):
        return
    try:
        accepted[name] = rule(value)
    except ValueError as error:
        problems.append((where, f"{error}, not {_shown(name, value)}"))


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"there is no such key; {hint}known here: {', '.join(sorted(known))}"


def _shown(name: str, value: Any) -> str:
    """The value for an error: short, and never a secret."""
    if name in ("proxy_username", "database") or is_secret_header(name):
        return MASK
    if isinstance(value, dict):
        return "a table"  # its own values may be secrets
    try:
        shown = redact_text(repr(value))
    except ValueError:  # Python does not write out a number of thousands of digits
        return "a huge number"
    return shown if len(shown) <= 60 else shown[:57] + "…"


def _raise_all(problems: list[Problem]) -> None:
    if problems:
        (where, reason), *more = problems
        reason = "; ".join([reason, *(f"{other}: {what}" for other, what in more)])
        raise ConfigError(where=where, reason=reason, problems=tuple(problems))


def _plain(value: Any) -> Any:
    """What a plugin sees: text from outside is text."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, _Outside) else value


# -- Rules -----------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
)  # a surrogate is a byte of the environment that is not UTF-8


def _text(value: Any) -> str:
    if not isinstance(value, str) or _CONTROL.search(value):
        raise ValueError("must be text without control characters")
    return str(value)


def _path(value: Any) -> str:
    if not _text(value):
        raise ValueError("must be a path")
    return str(value)


def _directory(value: Any) -> str:
    path = _text(value)
    if path and path != "~" and not path.startswith(("/", "~/")):
        raise ValueError("must be an absolute path or begin with ~/")
    if path.startswith("/") and is_system_directory(path):
        raise ValueError("must not be one of the system's directories")
    return path


def _directories(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError('must be a list of directories such as ["/srv/media"]')
    return tuple(_directory(_path(each)) for each in value)


def _boolean(value: Any) -> bool:
    if isinstance(value, _Outside) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _integer(least: int, most: int) -> Rule:
    def rule(value: Any) -> int:
        number = int(value) if isinstance(value, _Outside) and re.fullmatch("[0-9]{1,9}", value) else value
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return number

    return rule


def _endpoints(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(each, str) and each for each in value):
        raise ValueError(f'must be a list of Twisted endpoints such as ["{DEFAULT_LISTEN[0]}"]')
    return tuple(_text(each) for each in value)


def _mode(value: Any) -> Mode:
    if value not in MODES:
        raise ValueError(f"must be one of {', '.join(MODES)}")
    found: Mode = str(value)  # type: ignore[assignment]  # one of them, as was just seen
    return found


def _allow(value: Any) -> tuple[Allowed, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError('must be a list of addresses such as ["192.168.1.20:8080", "10.0.0.0/8:80,443"]')
    allowed = []
    for each in value:
        try:
            allowed.append(parse_allowed(_text(each)))
        except ValueError as error:
            raise ValueError(f"must be a list of addresses; {_shown('allow', each)} {error}") from error
    return tuple(allowed)


def _name(value: Any) -> str:
    if not _text(value):
        raise ValueError("must be a name")
    return str(value)


def _seconds(value: Any) -> float:
    number = (
        float(value) if isinstance(value, _Outside) and re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", value) else value
    )
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0.05 <= number <= 600:
        raise ValueError("must be a number of seconds from 0.05 to 600")
    return float(number)


def _reserve(value: Any) -> Reserve:
    if type(value) is int and value >= 0:
        return Reserve(size_bytes=value)
    return parse_reserve(_text(value) if isinstance(value, str) else "")


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise ValueError("must be a list of names of plugins")
    return tuple(_text(each) for each in value)


def _proxy_type(value: Any) -> str:
    if not isinstance(value, str) or (value or "none") not in PROXY_TYPES:
        raise ValueError(f"must be one of {', '.join(PROXY_TYPES)}")
    return str(value) or "none"


def _proxy_host(value: Any) -> str:
    if len(_text(value)) > 253 or re.search(r"[/@\\?#\s]", value):
        raise ValueError("must be only a host name or address")
    return str(value)


def _credential(value: Any) -> str:
    if len(_text(value).encode()) > MAX_CREDENTIAL_BYTES:
        raise ValueError(f"must be at most {MAX_CREDENTIAL_BYTES} bytes long")
    return str(value)


def _skip_expression(value: Any) -> str:
    try:
        parse_skip_expression(_text(value))
    except SkipExpressionError as error:
        raise ValueError(f"must be a skip expression ({error})") from error
    return str(value)


def _variant(value: Any) -> str:
    return _selection(parse_variant_choice, value).strip() or "best"


def _audio(value: Any) -> str:
    if _text(value).strip().lower() == "none":
        raise ValueError("must be languages, names or all: there must be sound")
    return _selection(parse_languages, value).strip()


def _subtitles(value: Any) -> str:
    return _selection(parse_languages, value).strip() or "none"


def _subtitle_files(value: Any) -> str:
    return parse_subtitle_files(_selection(parse_subtitle_files, value))


def _selection(parser: Callable[[str], object], value: Any) -> str:
    try:
        parser(_text(value))
    except SelectionError as error:
        raise ValueError(f"must be a selection ({error})") from error
    return str(value)


def _header_hosts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError('must be a list of hosts such as ["cdn.example", "*.cdn.example"]')
    try:
        return tuple(dict.fromkeys(parse_header_host(_text(each)) for each in value))
    except ValueError:
        raise ValueError('must be a list of hosts such as ["cdn.example", "*.cdn.example"]') from None


def _rate(value: Any) -> int:
    """Bytes per second, as a number or as people write it."""
    try:
        rate = parse_rate(_text(value)) if isinstance(value, str) else value
    except ValueError:
        rate = None
    if type(rate) is not int or not is_rate(rate):
        raise ValueError(f"must be 0 for no limit, or {LEAST_RATE} to {MAX_RATE} bytes per second, such as '2M'")
    return rate


def _rate_schedule(value: Any) -> str:
    schedule = _text(value).strip()
    try:
        parse_schedule(schedule)
    except BadSchedule as error:
        raise ValueError(f"must be a schedule ({error})") from error
    return schedule


def _param_change(value: Any) -> str:
    if value not in PARAM_CHANGES:
        raise ValueError(f"must be one of {', '.join(PARAM_CHANGES)}")
    return str(value)


def _proxies(value: Any) -> Trusted:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError('must be a list of addresses, networks such as 10.0.0.0/8, or "unix"')
    proxies = []
    for each in value:
        try:
            proxies.append(parse_trusted(_text(each)))
        except ValueError as error:
            raise ValueError(f"{error}; {_shown('trusted_proxies', each)} is none") from error
    return tuple(proxies)


def _host_names(value: Any) -> tuple[str, ...]:
    example = 'must be a list of names as browsers show them, such as ["nas.lan:8080"]'
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(example)
    for each in value:
        if not _HOST.fullmatch(each):
            raise ValueError(f"{example}; {_shown('hosts', each)} is none")
    return tuple(each.lower() for each in value)


def _base_path(value: Any) -> str:
    return checked_base_path(_text(value))


def _users(value: Any, problems: list[Problem]) -> tuple[User, ...]:
    """
    The users of ``[[users]]``. Passwords from outside are hashed here: only hashes are kept.
    """
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        if value is not _UNREADABLE:
            problems.append(("users", "must be tables, each [[users]]"))
        return ()
    users: list[User] = []
    for index, table in enumerate(value):
        where = f"users[{index}]."
        found = _checked(table, _USER_RULES, where, problems)
        problems += [(where + name, "is needed") for name in ("name", "password") if name not in table]
        if any(user.name == found.get("name") for user in users):
            problems.append((where + "name", f"there is another user {found['name']}"))
        elif {"name", "password"} <= found.keys():
            users.append(User(name=found["name"], role=found.get("role", Role.USER), password=found["password"]))
    return tuple(users)


def _user_name(value: Any) -> str:
    return checked_name(_text(value))


def _password(value: Any) -> PasswordHash:
    text = _text(value)
    if text.startswith(passwords.PREFIX):
        return parse_hash(text)
    if not isinstance(value, _Outside):
        raise ValueError('must be a hash as m3u8svc password prints it, or come from {"$file" = …} or {"$env" = …}')
    return hash_password(checked_password(text), secrets.token_bytes(passwords.SALT_BYTES))


def _role(value: Any) -> Role:
    if value not in list(Role):
        raise ValueError(f"must be one of {', '.join(Role)}")
    return Role(value)


def _proxy_problems(settings: Settings) -> Iterator[Problem]:
    """What is missing beside a proxy's type: without it every task would fail."""
    if settings.wants_proxy and not settings.proxy_host:
        yield "settings.proxy_host", f"is needed with proxy_type {settings.proxy_type}"
    if settings.wants_proxy and not settings.proxy_port:
        yield "settings.proxy_port", f"is needed with proxy_type {settings.proxy_type}: a whole number from 1 to 65535"
    if settings.proxy_host and not settings.wants_proxy:
        yield "settings.proxy_type", f"is needed with proxy_host: one of {', '.join(PROXY_TYPES[1:])}"


_RULES: dict[str, Rule] = {
    "listen": _endpoints,
    "home": _path,
    "save_dir": _path,
    "save_roots": _directories,
    "max_active": _integer(1, MAX_ACTIVE),
    "max_connections": _integer(1, MAX_CONNECTIONS),
    "max_connections_per_host": _integer(1, MAX_CONNECTIONS),
    "database": _text,
}
_BY_NAME: dict[str, Rule] = {
    "save_location": _directory,
    "temp_directory": _directory,
    "download_threads": _integer(0, MAX_THREADS),
    "skip_ts_info": _skip_expression,
    "proxy_type": _proxy_type,
    "proxy_host": _proxy_host,
    "proxy_port": _integer(0, 65535),
    "proxy_username": _credential,
    "proxy_password": _credential,
}
# The others are switches; a new setting of another kind is found by the test that gives every field a wrong type.
_SETTING_RULES: dict[str, Rule] = {name: _BY_NAME.get(name, _boolean) for name in SETTING_NAMES} | {
    "merger": _name,
    "storage": _name,
    "variant": _variant,
    "audio": _audio,
    "subtitles": _subtitles,
    "subtitle_files": _subtitle_files,
    "on_param_change": _param_change,
    "low_disk": _boolean,
    "report": _boolean,
    "header_hosts": _header_hosts,
    "limit_rate": _rate,
    "limit_rate_per_host": _rate,
    "limit_schedule": _rate_schedule,
}
_TABLES = ("settings", "plugins", "limits", "network", "web")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[1-9][0-9]{0,4})?")
_WEB_RULES: dict[str, Rule] = {
    "trusted_proxies": _proxies,
    "base_path": _base_path,
    "hosts": _host_names,
    **{name: _integer(*allowed_range(name)) for name in limit_names()},
}
_USER_RULES: dict[str, Rule] = {"name": _user_name, "password": _password, "role": _role}
_LIMIT_RULES: dict[str, Rule] = {"disk_reserve": _reserve}
_CHOICE_RULES: dict[str, Rule] = {"enabled": _names, "disabled": _names, "required": _names, "deadline_s": _seconds}
_NETWORK_RULES: dict[str, Rule] = {"mode": _mode, "allow": _allow}
_FLAG_RULES: dict[str, Rule] = _RULES | {
    "network_mode": _mode,
    "network_allow": _allow,
    "trusted_proxies": _proxies,
    "base_path": _base_path,
}
_FLAGS = {"network_allow": "--allow", "trusted_proxies": "--trusted-proxy"}
"""Flags that are not called as their field is."""
