"""
The rules of the fields a request may carry, one function each: a value in, the value we keep out, or a `ValueError`
whose text tells a person what is allowed. Beside each rule stands its shape, what JSON Schema can say of it, for
`openapi.py`. Pure; `schema.py` puts them together.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar  # Any: a value out of JSON, before it was checked
from urllib.parse import urlsplit

from m3u8svc.errors import InvalidUrl, M3u8svcError
from m3u8svc.hls.groups import parse_groups
from m3u8svc.hls.overrides import PLAYLISTS_OWN, BadOverride, parse_iv_text, parse_key_text
from m3u8svc.hls.select import parse_languages, parse_subtitle_files, parse_variant_choice
from m3u8svc.hls.skip import parse_skip_expression
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.curlline import MAX_COMMAND
from m3u8svc.tasks.directories import is_system_directory
from m3u8svc.tasks.headers import MAX_HOSTS, header_problems, parse_header_host
from m3u8svc.tasks.names import name_problem
from m3u8svc.tasks.queue import FIRST, LAST, PRIORITIES
from m3u8svc.tasks.schedule import LEAST_RATE, MAX_RATE, BadSchedule, is_rate, parse_rate, parse_schedule
from m3u8svc.tasks.schedule import MAX_TEXT as MAX_SCHEDULE
from m3u8svc.tasks.task import MAX_THREADS, PROXY_TYPES
from m3u8svc.tasks.wire import wire_url
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said, joined, said

MAX_PATH_BYTES = 4096
MAX_EXPRESSION = 16 * 1024
MAX_CREDENTIAL_BYTES = 255
"""What SOCKS5 can carry (RFC 1929)."""

MAX_PLUGINS = 64
MAX_PLUGIN_OPTIONS = 64 * 1024

MASK = "***"
"""Stands for a stored proxy password in answers; sent back it means "unchanged" (DESIGN 5.7)."""

T = TypeVar("T")
Rule = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])
Shape = Mapping[str, Any]
"""A JSON Schema. A length of characters stands for one of bytes, which is never less."""

SHAPES: dict[Rule, Callable[[WebLimits], Shape]] = {}
"""The shape of each rule, under these limits."""


def shaped(shape: Shape | Callable[[WebLimits], Shape]) -> Callable[[F], F]:
    """
    Says the shape of the rule that follows.
    """

    def keep(rule: F) -> F:
        SHAPES[rule] = shape if callable(shape) else lambda limits: shape
        return rule

    return keep


_NO_HOST = Said("链接中没有有效的主机名", "has no valid host name")
_LINE_ENDS = frozenset("\u2028\u2029")
_HTTP_URL = "^ *[Hh][Tt][Tt][Pp][Ss]?://[^ ]"
_FILE_NAME = r"^([^-./\\:][^/\\:]*)?$"


@shaped({"type": "boolean"})
def boolean(value: Any) -> bool:
    """true or false, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise ValueError(Said("必须是 true 或 false", "must be true or false"))
    return value


@shaped({"type": "string"})
def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(Said("必须是字符串", "must be a string"))
    return value


def integer(least: int, most: int) -> Callable[[Any], int]:
    """
    A rule for integers in a range. 16.0 is one, as JSON Schema says; true is not, as Python does not.
    """

    @shaped({"type": "integer", "minimum": least, "maximum": most})
    def rule(value: Any) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(Said(f"必须是 {least} 到 {most} 的整数", f"must be a whole number from {least} to {most}"))
        return number

    return rule


def one_of(names: Sequence[str]) -> Callable[[Any], str]:
    """A rule for names out of a known list."""

    @shaped({"type": "string", "enum": list(names)})
    def rule(value: Any) -> str:
        if text(value) not in names:
            raise ValueError(Said(f"必须是 {'、'.join(names)} 之一", f"must be one of {', '.join(names)}"))
        return str(value)

    return rule


@shaped({"anyOf": [{"type": "integer", "enum": [0]}, {"type": "integer", "minimum": LEAST_RATE, "maximum": MAX_RATE}]})
def rate(value: Any) -> int:
    """Bytes per second, 0 for no limit."""
    try:
        number = integer(0, MAX_RATE)(value)
    except ValueError:
        number = -1
    if not is_rate(number):
        raise ValueError(
            Said(
                f"必须是 0（不限速）或 {LEAST_RATE} 到 {MAX_RATE} 的整数（字节/秒）",
                f"must be 0 for no limit, or a whole number of bytes per second from {LEAST_RATE} to {MAX_RATE}",
            )
        )
    return number


def typed_rate(value: str) -> int:
    """The same as people type it: ``2M``."""
    try:
        return parse_rate(value)
    except ValueError:
        raise ValueError(
            Said(
                f"应写作 500K、2M 或 0，至少 {LEAST_RATE} 字节/秒",
                f"is written 500K, 2M or 0, at least {LEAST_RATE} bytes per second",
            )
        ) from None


@shaped({"type": "string", "maxLength": MAX_SCHEDULE})
def rate_schedule(value: Any) -> str:
    """Rates by the day of the week and the time of day (`tasks.schedule`); "" for none."""
    schedule = text(value).strip()
    try:
        parse_schedule(schedule)
    except BadSchedule as error:
        if not error.entry:
            raise ValueError(error.said) from error
        entry = escape_controls(error.entry[:60])
        raise ValueError(said("“{entry}”{why}", "“{entry}” {why}", entry=entry, why=error.said)) from error
    return schedule


threads = integer(0, MAX_THREADS)
port = integer(0, 65535)
priority = integer(*PRIORITIES)


@shaped(
    {"anyOf": [{"type": "string", "enum": ["first", "last"]}, {"type": "integer", "minimum": FIRST, "maximum": LAST}]}
)
def queue_position(value: Any) -> int:
    """A position in the queue, from 1; or its name."""
    named = {"first": FIRST, "last": LAST}
    try:
        return named[value] if isinstance(value, str) else integer(FIRST, LAST)(value)
    except (KeyError, ValueError):
        raise ValueError(
            Said("必须是 first、last 或不小于 1 的整数", "must be first, last, or a whole number from 1 on")
        ) from None


@shaped(lambda limits: {"type": "string", "maxLength": limits.url_bytes, "pattern": _HTTP_URL})
def source_url(value: Any, limits: WebLimits = DEFAULTS) -> str:
    """
    A URL we can request: http or https, with a host (R-URL-1).
    """
    url = text(value).strip(" ")
    if not url:
        raise ValueError(Said("不能为空", "must not be empty"))
    if len(value.encode()) > limits.url_bytes:
        raise ValueError(_too_long(limits.url_bytes))
    if _has_controls(url) or "\\" in url:
        raise ValueError(Said("含有控制字符或反斜杠", "has control characters or a backslash"))
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port
    except ValueError:
        raise ValueError(Said("不是有效的链接", "is no valid URL")) from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(Said("必须以 http:// 或 https:// 开头", "must begin with http:// or https://"))
    if not host or number == 0 or any(character.isspace() for character in parts.netloc):
        raise ValueError(_NO_HOST)
    try:
        wire_url(url)
    except InvalidUrl as error:
        raise ValueError(_NO_HOST) from error
    return url


@shaped(lambda limits: {"type": "string", "maxLength": 3 * limits.filename_bytes, "pattern": _FILE_NAME})
def file_name(value: Any, limits: WebLimits = DEFAULTS) -> str:
    """
    One path component that is safe everywhere (R-PATH-1), or "" to derive it from the URL.
    """
    name = unicodedata.normalize("NFC", text(value))
    problem = name_problem(name, limits.filename_bytes)
    if problem:
        raise ValueError(problem)
    return name


@shaped({"type": "string", "minLength": 1, "maxLength": MAX_COMMAND})
def curl_command(value: Any) -> str:
    """A curl command; what it says is for `tasks.curlline` to read."""
    command = text(value)
    if not command.strip():
        raise ValueError(Said("不能为空", "must not be empty"))
    if len(command) > MAX_COMMAND:
        raise ValueError(Said(f"超过 {MAX_COMMAND} 个字符", f"has more than {MAX_COMMAND} characters"))
    return command


@shaped({"type": "string", "maxLength": MAX_PATH_BYTES, "pattern": "^(/|~/|~$|$)"})
def directory(value: Any) -> str:
    """
    A directory to write to, absolute or below ``~/``; "" for the service's own choice. What links lead to is judged by
    `roots`, not here.
    """
    path = text(value)
    if not path:
        return path
    if _has_controls(path) or len(path.encode()) > MAX_PATH_BYTES:
        raise ValueError(
            Said(
                f"含有控制字符或超过 {MAX_PATH_BYTES} 字节",
                f"has control characters or more than {MAX_PATH_BYTES} bytes",
            )
        )
    if path == "~" or path.startswith("~/"):
        if ".." in path.split("/"):
            raise ValueError(Said("不能含有 ..", "must not have .. in it"))
        return path
    if not path.startswith("/"):
        raise ValueError(Said("必须是绝对路径或以 ~/ 开头", "must be an absolute path, or begin with ~/"))
    if is_system_directory(path):
        raise ValueError(Said("是系统目录", "is a directory of the system"))
    return path


@shaped({"type": "string", "maxLength": MAX_EXPRESSION})
def skip_expression(value: Any) -> str:
    """
    A `skip_ts_info` expression inside its grammar (origin-semantics 2.3).
    """
    expression = text(value)
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(Said(f"超过 {MAX_EXPRESSION} 个字符", f"has more than {MAX_EXPRESSION} characters"))
    try:
        parse_skip_expression(expression)
    except M3u8svcError as error:
        raise ValueError(Said(error.text(), error.text("en"))) from error
    return expression


@shaped({"type": "string"})
def variant(value: Any) -> str:
    """
    Which variant, as `hls.select` reads it; "" is the best.
    """
    expression = text(value).strip()
    _read(parse_variant_choice, expression)
    return expression or "best"


@shaped({"type": "string"})
def audio(value: Any) -> str:
    """
    Languages or names of sound, "all", or "" for what goes with the variant.
    """
    languages = text(value).strip()
    if languages.lower() == "none":
        raise ValueError(
            Said(
                "不能为 none，没有声音的节目不完整；可以是空、all 或语言列表，如 en,fr",
                "must not be none, since a programme without sound is not whole; it may be empty, all, or languages "
                "such as en,fr",
            )
        )
    _read(parse_languages, languages)
    return languages


@shaped({"type": "string"})
def subtitles(value: Any) -> str:
    """
    Languages or names of subtitles, "all" or "none"; "" is none.
    """
    languages = text(value).strip() or "none"
    _read(parse_languages, languages)
    return languages


@shaped({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
def subtitle_files(value: Any) -> str:
    """
    Kinds of files for subtitles, "none" for no files: text or a list. "" is none.
    """
    if isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise ValueError(Said("必须是字符串或字符串列表", "must be a string or a list of strings"))
        value = ",".join(value)
    return _read(parse_subtitle_files, text(value))


@shaped({"anyOf": [{"type": "string"}, {"type": "integer"}]})
def groups(value: Any) -> str:
    """
    Numbers of groups to keep; "" for all. A single number may be one.
    """
    numbers = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value).strip()
    _read(parse_groups, numbers)
    return numbers


@shaped({"type": "string"})
def stream_key(value: Any) -> str:
    """
    The key of a stream, as 32 hexadecimal digits; "" for that of the playlist. A text that is none is not repeated.
    """
    given = text(value).strip()
    return given and _secret(parse_key_text, given)


@shaped({"type": "string"})
def stream_iv(value: Any) -> str:
    """
    The IV of a stream, as 32 hexadecimal digits; "" for that of the playlist.
    """
    given = text(value).strip()
    return given and _secret(parse_iv_text, given)


@shaped({"anyOf": [{"type": "string"}, {"type": "boolean"}]})
def appended_query(value: Any, limits: WebLimits = DEFAULTS) -> str:
    """
    What to append to the query of every request: ``a=b&c=d``, or "*", which true means too, for the playlist's own.
    """
    if isinstance(value, bool):
        return PLAYLISTS_OWN if value else ""
    query = text(value).strip().lstrip("?&")
    if len(query.encode()) > limits.url_bytes:
        raise ValueError(_too_long(limits.url_bytes))
    if _has_controls(query) or any(character in "# \\" for character in query):
        raise ValueError(
            Said("不能含有控制字符、空格、# 或反斜杠", "must not have control characters, spaces, # or a backslash")
        )
    if query not in ("", PLAYLISTS_OWN) and "=" not in query:
        raise ValueError(
            Said(
                "应写作 a=b&c=d，或 * 表示播放列表链接自己的参数",
                "is written a=b&c=d, or * for the parameters of the playlist's own URL",
            )
        )
    return query


@shaped(lambda limits: {"type": "string", "maxLength": limits.url_bytes, "pattern": rf"^\s*$|{_HTTP_URL}"})
def base_url(value: Any, limits: WebLimits = DEFAULTS) -> str:
    """
    What the links of a playlist are relative to; "" for the playlist's own address.
    """
    return source_url(value, limits) if text(value).strip() or len(value) > limits.url_bytes else ""


@shaped(lambda limits: {"type": "string", "maxLength": limits.playlist_bytes})
def playlist(value: Any, limits: WebLimits = DEFAULTS) -> str:
    """
    A playlist as text; "" for none. Whether it makes sense is found out when it is read.
    """
    content = text(value)
    if len(content.encode()) > limits.playlist_bytes:
        raise ValueError(_too_long(limits.playlist_bytes))
    if content and not content.lstrip("\ufeff \t\r\n").startswith("#EXTM3U"):
        raise ValueError(Said("不是播放列表：应以 #EXTM3U 开头", "is no playlist: it must begin with #EXTM3U"))
    return content


def _too_long(most: int) -> Said:
    return Said(f"超过 {most} 字节", f"has more than {most} bytes")


def _read(parser: Callable[[str], T], given: str) -> T:
    try:
        return parser(given)
    except M3u8svcError as error:
        raise ValueError(Said(error.text(), error.text("en"))) from error


def _secret(parser: Callable[[str], bytes], given: str) -> str:
    if given == MASK:
        raise ValueError(Said(f"新任务不能使用 {MASK}", f"{MASK} means nothing in a new task"))
    try:
        return parser(given).hex()
    except BadOverride as error:
        raise ValueError(error.said) from None


@shaped({"type": "string", "enum": ["", *PROXY_TYPES]})
def proxy_type(value: Any) -> str:
    """
    One of the four kinds of proxy; "" is none. Relatives of socks5 get an answer that helps.
    """
    name = text(value) or "none"
    if name.startswith("socks") and name not in PROXY_TYPES:
        raise ValueError(
            Said(
                "只支持 socks5（域名总是由代理解析，不需要 socks5h）",
                "only socks5 is known (names are always looked up by the proxy, so socks5h is not needed)",
            )
        )
    return one_of(PROXY_TYPES)(name)


@shaped({"type": "string"})
def proxy_host(value: Any) -> str:
    """A host name or address, without scheme, port or credentials."""
    host = text(value).strip(" ")
    if len(host) > 253 or _has_controls(host) or any(character in "/@\\?# " for character in host):
        raise ValueError(Said("必须只是主机名或地址", "must be a host name or an address and nothing else"))
    return host


@shaped({"type": "string", "maxLength": MAX_CREDENTIAL_BYTES})
def credential(value: Any) -> str:
    """A proxy's user name or password."""
    secret = text(value)
    if len(secret.encode()) > MAX_CREDENTIAL_BYTES or _has_controls(secret):
        raise ValueError(
            Said(
                f"含有控制字符或超过 {MAX_CREDENTIAL_BYTES} 字节",
                f"has control characters or more than {MAX_CREDENTIAL_BYTES} bytes",
            )
        )
    return secret


@shaped({"type": "object", "maxProperties": MAX_PLUGINS, "additionalProperties": {"type": "object"}})
def plugin_options(value: Any) -> dict[str, dict[str, Any]]:
    """
    An object of options for each plugin by name. What is in them is for the plugin to judge.
    """
    if not isinstance(value, dict) or not all(isinstance(options, dict) for options in value.values()):
        raise ValueError(
            Said("必须是对象：插件名称 → 选项对象", "must be an object: the name of a plugin → an object of options")
        )
    if len(value) > MAX_PLUGINS or len(json.dumps(value)) > MAX_PLUGIN_OPTIONS:
        raise ValueError(
            Said(
                f"超过 {MAX_PLUGINS} 个插件或 {MAX_PLUGIN_OPTIONS} 字节",
                f"has more than {MAX_PLUGINS} plugins or {MAX_PLUGIN_OPTIONS} bytes",
            )
        )
    return value


@shaped(
    lambda limits: {
        "type": "object",
        "propertyNames": {"pattern": r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"},
        "additionalProperties": {
            "anyOf": [
                {"type": "array", "items": {"type": "string", "maxLength": limits.http_header_bytes}},
                {"type": "string", "maxLength": limits.http_header_bytes},
            ]
        },
    }
)
def header_map(value: Any, limits: WebLimits = DEFAULTS) -> Mapping[str, tuple[str, ...]]:
    """
    Header names with their values; one bare string is one value.
    """
    if not isinstance(value, dict):
        raise ValueError(Said("必须是对象：名称 → 字符串列表", "must be an object: name → list of strings"))
    headers: dict[str, tuple[str, ...]] = {}
    for name, given in value.items():
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise ValueError(
                Said(f"“{name[:60]}”的值必须是字符串列表", f"the value of “{name[:60]}” must be a list of strings")
            )
        headers[name] = tuple(values)
    problems = header_problems(headers, limits)
    if problems:
        raise ValueError(joined(problems, zh="；", en="; "))
    return headers


@shaped({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MAX_HOSTS}]})
def header_hosts(value: Any) -> tuple[str, ...]:
    """
    Hosts that secret-looking headers may go to, too: a list, or a text with commas. Each is there once.
    """
    given = value if isinstance(value, list) else [each for each in text(value).split(",") if each.strip()]
    if len(given) > MAX_HOSTS:
        raise ValueError(
            Said(f"最多 {MAX_HOSTS} 项，实际 {len(given)} 项", f"has {len(given)} entries, of at most {MAX_HOSTS}")
        )
    return tuple(dict.fromkeys(_header_host(text(each)) for each in given))


def _header_host(given: str) -> str:
    try:
        return parse_header_host(given)
    except ValueError as error:
        raise ValueError(
            said("“{given}”{problem}", "“{given}” {problem}", given=escape_controls(given[:60]), problem=error.args[0])
        ) from None


def _has_controls(value: str) -> bool:
    return any(unicodedata.category(each) == "Cc" for each in value) or not _LINE_ENDS.isdisjoint(value)
