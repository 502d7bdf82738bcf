"""
What several commands take: the service's address, headers, a proxy, a state. Each is read strictly, and a wrong one is
a usage error that names the option and shows no secret.
"""

import base64
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast  # Any: click's own annotations, and settings by name
from urllib.parse import quote, unquote, urlsplit

import attrs
import click
from click.core import ParameterSource

from m3u8svc.cli import words
from m3u8svc.errors import SelectionError, SkipExpressionError
from m3u8svc.hls.skip import parse_skip_expression
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.names import derived_name
from m3u8svc.tasks.queue import FIRST, LAST
from m3u8svc.tasks.task import PROXY_TYPES, Status
from m3u8svc.weblimits import DEFAULTS

DEFAULT_SERVER = "http://127.0.0.1:8080"
SERVER_VARIABLE = "M3U8SVC_SERVER"
TOKEN_VARIABLE = "M3U8SVC_TOKEN"
TOKEN_FILE_VARIABLE = "M3U8SVC_TOKEN_FILE"
MAX_TOKEN_FILE_BYTES = 4096
MAX_CREDENTIAL_BYTES = 255
COMPLETION_TIMEOUT_S = 1.0
MOST_COMPLETIONS = 100
MOST_PAGES = 10
"""Of the newest tasks in which the text is: who waits for a completion does not wait for all."""
STATUS_NAMES = {status.name.lower(): status for status in Status}
HELD = "held"
"""A state of the list only: paused by the service itself, with a reason."""
STATE_NAMES = (*STATUS_NAMES, HELD)

_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)+(:\d+)?/|[\w.-]+:\d+(/|$)|localhost/")
"""How a URL begins whose scheme was left out; a file may be called so, too."""

F = TypeVar("F", bound=Callable[..., Any])


class Server(str):
    """
    The address of a service, without a slash at its end. `authorization` is the header that is sent there with each
    request, "" for none; it is no part of the text, so that no message shows it.
    """

    authorization: str

    def __new__(cls, address: str, authorization: str = "") -> "Server":
        """An address, and what goes with it."""
        made = super().__new__(cls, address)
        made.authorization = authorization
        return made


class ServerType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    ``http://host:port``, with https and a path for a service behind a reverse proxy, and ``user:password@`` before the
    host, percent-encoded; the scheme may be left out.
    """

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Server:
        """The address as ASCII, and what the user and password in it make of a header."""
        if isinstance(value, Server):
            return value
        text = value if "://" in value else f"http://{value}"
        try:
            parts = urlsplit(text)
            host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
        except (ValueError, UnicodeError):
            self._refuse(words.NOT_A_URL, param, ctx)
        if parts.scheme not in ("http", "https"):
            self._refuse(words.NOT_HTTP, param, ctx)
        if not host or any(character <= " " for character in text):
            self._refuse(words.NO_HOST, param, ctx)
        named = parts.username is not None or parts.password is not None
        if (named and not (parts.username and parts.password)) or parts.query or parts.fragment:
            self._refuse(words.HAS_MORE, param, ctx)
        authority = f"[{host}]" if ":" in host else host
        path = quote(parts.path.rstrip("/"), safe="/%")
        address = f"{parts.scheme}://{authority}{'' if port is None else f':{port}'}{path}"
        return Server(address, _basic(parts.username or "", parts.password or "") if named else "")

    def _refuse(self, reason: words.Phrase, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        self.fail(words.BAD_SERVER.said(reason=reason.said()), param, ctx)


class HeaderType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    ``Name: value``.
    """

    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Name and value, without the space around them."""
        name, colon, content = value.partition(":")
        if not colon or not name.strip():
            self.fail(words.BAD_HEADER.said(), param, ctx)  # the value may be a secret: it is not repeated
        return name.strip(), content.strip()


class ProxyType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    ``http://user:password@host:port``, or https, socks5 or socks5h; user and password percent-encoded.
    """

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """The five proxy settings of the API."""
        try:
            parts = urlsplit(value)
            port = parts.port
            username = unquote(parts.username or "", errors="strict")
            password = unquote(parts.password or "", errors="strict")
            longest = max(len(username.encode()), len(password.encode()))
        except ValueError:  # a port that is none, credentials that are no UTF-8
            self.fail(words.BAD_PROXY.said(), param, ctx)
        # Names are always looked up by the proxy, which is what others mean by socks5h.
        kind = "socks5" if parts.scheme == "socks5h" else parts.scheme
        if kind.startswith("socks") and kind not in PROXY_TYPES:
            self.fail(words.OTHER_SOCKS.said(), param, ctx)
        if kind not in PROXY_TYPES or not parts.hostname or not port:
            self.fail(words.BAD_PROXY.said(), param, ctx)
        if parts.path.strip("/") or parts.query or parts.fragment:  # also what a / ? # in a password leads to
            self.fail(words.BAD_PROXY.said(), param, ctx)
        if longest > MAX_CREDENTIAL_BYTES or escape_controls(username + password) != username + password:
            self.fail(words.BAD_PROXY_USER.said(), param, ctx)
        return {
            "proxy_type": kind,
            "proxy_host": parts.hostname,
            "proxy_port": port,
            "proxy_username": username,
            "proxy_password": password,
        }


class PluginOptionType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    ``plugin`` alone, or ``plugin.option=value`` where the value is JSON, or text where it is none.
    """

    name = "option"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, Any]]:
        """The plugin's name, and its option if there is one."""
        left, equals, given = value.partition("=")
        plugin, dot, option = left.partition(".")
        if not plugin or bool(dot) is not bool(equals) or (dot and not option):
            self.fail(words.BAD_PLUGIN_OPTION.said(value=value), param, ctx)
        if not option:
            return plugin, {}
        try:
            return plugin, {option: json.loads(given)}
        except ValueError:
            return plugin, {option: given}


class ChoiceType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A field of the API, read by its rule: what means the same becomes the same.
    """

    def __init__(self, field: str, name: str, wrong: words.Phrase) -> None:
        """
        Args:
            wrong: what is said of a value that is refused; the value may be a secret and is not repeated.
        """
        self.name = name
        self._field = field
        self._wrong = wrong

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as it is stored."""
        from m3u8svc.web import fields

        rule: Callable[[str], Any] = getattr(fields, self._field)
        try:
            return rule(value)
        except ValueError as error:
            cause = error.__cause__
            explained = cause.text(words.language()) if isinstance(cause, SelectionError) else self._wrong.said()
            self.fail(explained, param, ctx)


class SkipType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A skip expression.
    """

    name = "expr"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The expression as it was typed."""
        try:
            parse_skip_expression(value)
        except SkipExpressionError as error:
            self.fail(error.text(words.language()), param, ctx)
        return str(value)


class SourceType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A URL, or a playlist itself: a local file, or ``-`` for the standard input.
    """

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Source":
        """The URL, or the playlist's text."""
        if isinstance(value, Source):
            return value
        if value == "-":
            return Source(playlist=self._read(sys.stdin.buffer.read(DEFAULTS.playlist_bytes + 1), param, ctx))
        is_file = value.startswith(("file://", "/", "./", "../", "~/")) or value.lower().endswith((".m3u8", ".m3u"))
        is_address = _ADDRESS.match(value) is not None
        if "://" in value.removeprefix("file://") or not (is_file or is_address or os.path.isfile(value)):
            return Source(url=value)  # who answers says what is wrong with one that is none
        try:
            path = Path(unquote(urlsplit(value).path) if value.startswith("file://") else value).expanduser()
            with open(path, "rb") as file:
                content = file.read(DEFAULTS.playlist_bytes + 1)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the ~ of a user that there is not
            reason = getattr(error, "strerror", None) or str(error)
            said = words.BAD_SOURCE.said(value=redact_url(value), reason=escape_controls(reason))
            hint = words.ADDRESS_HINT.said(url=redact_url(f"http://{value}")) if is_address else ""
            self.fail(said + hint, param, ctx)
        return Source(playlist=self._read(content, param, ctx), name=derived_name(quote(path.name)))

    def _read(self, content: bytes, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = ""
        if len(content) > DEFAULTS.playlist_bytes or not text.lstrip().startswith("#EXTM3U"):
            self.fail(words.BAD_PLAYLIST.said(limit=DEFAULTS.playlist_bytes), param, ctx)
        return text


@attrs.frozen(kw_only=True)
class Source:
    """
    What to download: `url`, or `playlist`, whose file had the name `name`.
    """

    url: str = attrs.field(default="", repr=False)
    playlist: str = attrs.field(default="", repr=False)
    name: str = ""


class PlaceType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A place in the queue.
    """

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Its name, or its number from 1."""
        text = str(value)
        if text in ("first", "last"):
            return text
        if not (text.isascii() and text.isdigit()) or not FIRST <= int(text) <= LAST:
            self.fail(words.BAD_PLACE.said(value=text), param, ctx)
        return int(text)


class StatusType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A state, by its English name or the API's word; or that the service holds a task.
    """

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Status | str:
        """The state, or `HELD`."""
        if value.lower() == HELD or value == words.HELD.zh:
            return HELD
        by_word = {status.value: status for status in Status}
        found = STATUS_NAMES.get(value.lower()) or by_word.get(value)
        if found is None:
            self.fail(words.BAD_STATUS.said(value=value, names=", ".join(STATE_NAMES)), param, ctx)
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Those that begin so."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in STATE_NAMES if name.startswith(incomplete)]


_CHOICES: tuple[tuple[str, tuple[str, ...], str, words.Phrase, words.Phrase], ...] = (
    ("variant", ("--variant", "-f"), "EXPR", words.VARIANT_OPTION, words.BAD_CHOICE),
    ("audio", ("--audio",), "LANG,…", words.AUDIO_OPTION, words.BAD_AUDIO),
    ("subtitles", ("--subs",), "LANG,…", words.SUBTITLES_OPTION, words.BAD_CHOICE),
    ("subtitle_files", ("--subtitle-files",), "KIND,…", words.SUBTITLE_FILES_OPTION, words.BAD_CHOICE),
    ("groups", ("--groups",), "N,…", words.GROUPS_OPTION, words.BAD_CHOICE),
    ("key", ("--key",), "KEY", words.KEY_OPTION, words.BAD_KEY),
    ("iv", ("--iv",), "HEX", words.IV_OPTION, words.BAD_IV),
    ("append_query", ("--append-query",), "QUERY", words.APPEND_QUERY_OPTION, words.BAD_APPEND_QUERY),
    ("base_url", ("--base-url",), "URL", words.BASE_URL_OPTION, words.BAD_BASE_URL),
    ("header_hosts", ("--header-hosts",), "HOST,…", words.HEADER_HOSTS_OPTION, words.BAD_HEADER_HOSTS),
    ("limit_rate", ("--limit-rate",), "RATE", words.LIMIT_RATE_OPTION, words.BAD_LIMIT_RATE),
)
_RULES = {"key": "stream_key", "iv": "stream_iv", "append_query": "appended_query", "limit_rate": "typed_rate"}
_SWITCHES: tuple[tuple[str, str, words.Phrase], ...] = (
    ("allow_gaps", "--allow-gaps", words.ALLOW_GAPS_OPTION),
    ("on_param_change", "--split", words.SPLIT_OPTION),
    ("low_disk", "--low-disk", words.LOW_DISK_OPTION),
    ("faststart", "--faststart", words.FASTSTART_OPTION),
    ("report", "--report", words.REPORT_OPTION),
)


def choice_options(command: F) -> F:
    """
    The options for what a task takes of a stream and makes of it; `chosen` reads them.
    """
    for name, flag, text in reversed(_SWITCHES):
        command = click.option(flag, name, is_flag=True, help=text.said())(command)
    for name, flags, metavar, text, wrong in reversed(_CHOICES):
        kind = ChoiceType(_RULES.get(name, name), metavar.lower(), wrong)
        command = click.option(*flags, name, type=kind, metavar=metavar, help=text.said())(command)
    return command


def chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """
    The fields of the API that were given among the options of `choice_options`; the others are not said.
    """
    fields = {name: value for name, value in options.items() if value is not None and value is not False}
    if "on_param_change" in fields:
        fields["on_param_change"] = "split"
    return fields


def server_option(command: F) -> F:
    """
    ``--server``, which every command that talks to a service has, and the token for it.
    """
    return click.option(
        "--server",
        type=ServerType(),
        metavar="URL",
        default=DEFAULT_SERVER,
        envvar=SERVER_VARIABLE,
        show_default=True,
        show_envvar=True,
        help=words.SERVER_OPTION.said(),
    )(token_options(command))


def token_options(command: F) -> F:
    """
    ``--token`` and ``--token-file``: the command's `server` gets the header made of them. A user in the address is for
    that address and wins, and what is typed wins over the environment.
    """

    @functools.wraps(command)
    def with_token(*arguments: Any, **given: Any) -> Any:
        token, file, server = given.pop("token"), given.pop("token_file"), given["server"]
        if _is_typed("token_file") and not _is_typed("token"):
            token = None
        if server is not None and not server.authorization and (token or file):
            given["server"] = Server(server, f"Bearer {token or _token_in(file)}")
        return command(*arguments, **given)

    with_file = click.option(
        "--token-file",
        metavar="FILE",
        envvar=TOKEN_FILE_VARIABLE,
        show_envvar=True,
        help=words.TOKEN_FILE_OPTION.said(),
    )
    with_itself = click.option(
        "--token",
        metavar="TOKEN",
        envvar=TOKEN_VARIABLE,
        show_envvar=True,
        callback=_checked_token,
        help=words.TOKEN_OPTION.said(),
    )
    wrapped: Any = with_itself(with_file(with_token))  # Any: the wrapper takes what the command takes
    return cast(F, wrapped)


def _is_typed(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _token_in(file: str) -> str:
    """
    The token that a file holds.
    """
    try:
        with open(Path(file).expanduser(), encoding="utf-8") as opened:
            return _as_token(opened.read(MAX_TOKEN_FILE_BYTES).strip())
    except (OSError, ValueError, RuntimeError) as error:  # not UTF-8, no token, the ~ of a user that there is not
        reason = getattr(error, "strerror", None) or words.BAD_TOKEN.said()
        raise click.UsageError(words.BAD_TOKEN_FILE.said(file=file, reason=reason)) from None


def _checked_token(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    try:
        return value if value is None else _as_token(value.strip())
    except ValueError:
        raise click.BadParameter(words.BAD_TOKEN.said(), ctx, param) from None  # which is not repeated


def _as_token(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise ValueError("not a token")
    return text


def _basic(username: str, password: str) -> str:
    pair = f"{unquote(username)}:{unquote(password)}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def expanded(path: Path, option: str) -> Path:
    """
    A path that `option` named, absolute, with what a ~ stands for.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise click.BadParameter(words.NO_SUCH_USER.said(path=path), param_hint=option) from None


def id_argument(command: F) -> F:
    """
    The id of one task.
    """
    return click.argument("task_id", metavar="ID", shell_complete=complete_ids)(command)


def ids_argument(command: F) -> F:
    """
    The ids of some.
    """
    return click.argument("task_ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_ids)(command)


def complete_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """
    The ids that begin so, with names, of the service that the line so far is for. One that does not answer at once has
    none: nobody waits for a completion.
    """
    from click.shell_completion import CompletionItem

    from m3u8svc.cli.client import Client, CommandFailed

    given = ctx.params
    server: Server = given.get("server") or ServerType().convert(
        os.environ.get(SERVER_VARIABLE, DEFAULT_SERVER), None, None
    )
    try:
        token, file = given.get("token"), given.get("token_file")
        if not server.authorization and (token or file):
            server = Server(server, f"Bearer {token or _token_in(str(file))}")
        client = Client(server, timeout_s=COMPLETION_TIMEOUT_S)
        found = client.beginning(incomplete, MOST_COMPLETIONS, order="desc", pages=MOST_PAGES)
    except (CommandFailed, click.UsageError):
        return []
    return [CompletionItem(task.id, help=escape_controls(task.filename)) for task in found]


def plain_json_option(command: F) -> F:
    """
    ``--json`` of what is not a service's.
    """
    return click.option("--json", "as_json", is_flag=True, help=words.PLAN_JSON_OPTION.said())(command)


def json_option(command: F) -> F:
    """
    ``--json``, for scripts.
    """
    return click.option("--json", "as_json", is_flag=True, help=words.JSON_OPTION.said())(command)
