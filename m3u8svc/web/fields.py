"""
The rules of the fields a request may carry, one function each: a value in, the value we keep out, or a `ValueError`
whose text tells a person what is allowed. Pure; `schema.py` puts them together.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar  # Any: a value out of JSON, before it was checked
from urllib.parse import urlsplit

from m3u8svc.errors import InvalidUrl, M3u8svcError
from m3u8svc.hls.groups import parse_groups
from m3u8svc.hls.overrides import PLAYLISTS_OWN, BadOverride, parse_iv_text, parse_key_text
from m3u8svc.hls.select import parse_languages, parse_subtitle_files, parse_variant_choice
from m3u8svc.hls.skip import parse_skip_expression
from m3u8svc.tasks.directories import is_system_directory
from m3u8svc.tasks.headers import header_problems
from m3u8svc.tasks.task import MAX_THREADS, PROXY_TYPES
from m3u8svc.tasks.wire import wire_url
from m3u8svc.web.gate import PLAYLIST_BYTES

MAX_URL_BYTES = 8 * 1024
MAX_NAME_BYTES = 200
MAX_PATH_BYTES = 4096
MAX_EXPRESSION = 16 * 1024
MAX_CREDENTIAL_BYTES = 255
"""What SOCKS5 can carry (RFC 1929)."""

MAX_PLUGINS = 64
MAX_PLUGIN_OPTIONS = 64 * 1024

MASK = "***"
"""Stands for a stored proxy password in answers; sent back it means "unchanged" (DESIGN 5.7)."""

T = TypeVar("T")

_WINDOWS_STEMS = re.compile(r"(CON|PRN|AUX|NUL|COM[1-9¹²³]|LPT[1-9¹²³])\s*(\..*)?", re.IGNORECASE)
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = frozenset("\u2028\u2029")


def boolean(value: Any) -> bool:
    """true or false, nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise ValueError("必须是 true 或 false")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("必须是字符串")
    return value


def integer(least: int, most: int) -> Callable[[Any], int]:
    """
    A rule for integers in a range. 16.0 is one, as JSON Schema says; true is not, as Python does not.
    """

    def rule(value: Any) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"必须是 {least} 到 {most} 的整数")
        return number

    return rule


def one_of(names: Sequence[str]) -> Callable[[Any], str]:
    """A rule for names out of a known list."""

    def rule(value: Any) -> str:
        if text(value) not in names:
            raise ValueError(f"必须是 {'、'.join(names)} 之一")
        return str(value)

    return rule


threads = integer(0, MAX_THREADS)
port = integer(0, 65535)


def source_url(value: Any) -> str:
    """
    A URL we can request: http or https, with a host (R-URL-1).
    """
    url = text(value).strip(" ")
    if not url:
        raise ValueError("不能为空")
    if len(url.encode()) > MAX_URL_BYTES:
        raise ValueError(f"超过 {MAX_URL_BYTES} 字节")
    if _has_controls(url) or "\\" in url:
        raise ValueError("含有控制字符或反斜杠")
    try:
        parts = urlsplit(url)
        host, number = parts.hostname, parts.port
    except ValueError:
        raise ValueError("不是有效的链接") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("必须以 http:// 或 https:// 开头")
    if not host or number == 0 or any(character.isspace() for character in parts.netloc):
        raise ValueError("链接中没有有效的主机名")
    try:
        wire_url(url)
    except InvalidUrl as error:
        raise ValueError("链接中没有有效的主机名") from error
    return url


def file_name(value: Any) -> str:
    """
    One path component that is safe everywhere (R-PATH-1), or "" to derive it from the URL.
    """
    name = unicodedata.normalize("NFC", text(value))
    problem = _name_problem(name)
    if problem:
        raise ValueError(problem)
    return name


def _name_problem(name: str) -> str:
    """
    What is wrong with a file name; "" for nothing.
    """
    if "/" in name or "\\" in name or ":" in name:
        return "不能含有 / \\ :"
    if _has_controls(name) or not _BIDI.isdisjoint(name):
        return "不能含有控制字符"
    if name.startswith(("-", ".")):
        return "不能以 - 或 . 开头"
    if name.endswith((".", " ")):
        return "不能以 . 或空格结尾"
    if _WINDOWS_STEMS.fullmatch(name):
        return "是系统保留名称"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"超过 {MAX_NAME_BYTES} 字节"
    return ""


def directory(value: Any) -> str:
    """
    A directory to write to, absolute or below ``~/``; "" for the service's own choice. What links lead to is judged by
    `roots`, not here.
    """
    path = text(value)
    if not path:
        return path
    if _has_controls(path) or len(path.encode()) > MAX_PATH_BYTES:
        raise ValueError(f"含有控制字符或超过 {MAX_PATH_BYTES} 字节")
    if path == "~" or path.startswith("~/"):
        if ".." in path.split("/"):
            raise ValueError("不能含有 ..")
        return path
    if not path.startswith("/"):
        raise ValueError("必须是绝对路径或以 ~/ 开头")
    if is_system_directory(path):
        raise ValueError("是系统目录")
    return path


def skip_expression(value: Any) -> str:
    """
    A `skip_ts_info` expression inside its grammar (origin-semantics 2.3).
    """
    expression = text(value)
    if len(expression) > MAX_EXPRESSION:
        raise ValueError(f"超过 {MAX_EXPRESSION} 个字符")
    try:
        parse_skip_expression(expression)
    except M3u8svcError as error:
        raise ValueError(error.text()) from error
    return expression


def variant(value: Any) -> str:
    """
    Which variant, as `hls.select` reads it; "" is the best.
    """
    expression = text(value).strip()
    _read(parse_variant_choice, expression)
    return expression or "best"


def audio(value: Any) -> str:
    """
    Languages or names of sound, "all", or "" for what goes with the variant.
    """
    languages = text(value).strip()
    if languages.lower() == "none":
        raise ValueError("不能为 none，没有声音的节目不完整；可以是空、all 或语言列表，如 en,fr")
    _read(parse_languages, languages)
    return languages


def subtitles(value: Any) -> str:
    """
    Languages or names of subtitles, "all" or "none"; "" is none.
    """
    languages = text(value).strip() or "none"
    _read(parse_languages, languages)
    return languages


def subtitle_files(value: Any) -> str:
    """
    Kinds of files for subtitles, "none" for no files: text or a list. "" is none.
    """
    if isinstance(value, list):
        if not all(isinstance(each, str) for each in value):
            raise ValueError("必须是字符串或字符串列表")
        value = ",".join(value)
    return _read(parse_subtitle_files, text(value))


def groups(value: Any) -> str:
    """
    Numbers of groups to keep; "" for all. A single number may be one.
    """
    numbers = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value).strip()
    _read(parse_groups, numbers)
    return numbers


def stream_key(value: Any) -> str:
    """
    The key of a stream, as 32 hexadecimal digits; "" for that of the playlist. A text that is none is not repeated.
    """
    given = text(value).strip()
    return given and _secret(parse_key_text, given)


def stream_iv(value: Any) -> str:
    """
    The IV of a stream, as 32 hexadecimal digits; "" for that of the playlist.
    """
    given = text(value).strip()
    return given and _secret(parse_iv_text, given)


def appended_query(value: Any) -> str:
    """
    What to append to the query of every request: ``a=b&c=d``, or "*", which true means too, for the playlist's own.
    """
    if isinstance(value, bool):
        return PLAYLISTS_OWN if value else ""
    query = text(value).strip().lstrip("?&")
    if len(query.encode()) > MAX_URL_BYTES:
        raise ValueError(f"超过 {MAX_URL_BYTES} 字节")
    if _has_controls(query) or any(character in "# \\" for character in query):
        raise ValueError("不能含有控制字符、空格、# 或反斜杠")
    if query not in ("", PLAYLISTS_OWN) and "=" not in query:
        raise ValueError("应写作 a=b&c=d，或 * 表示播放列表链接自己的参数")
    return query


def base_url(value: Any) -> str:
    """
    What the links of a playlist are relative to; "" for the playlist's own address.
    """
    return source_url(value) if text(value).strip() else ""


def playlist(value: Any) -> str:
    """
    A playlist as text; "" for none. Whether it makes sense is found out when it is read.
    """
    content = text(value)
    if len(content.encode()) > PLAYLIST_BYTES:
        raise ValueError(f"超过 {PLAYLIST_BYTES} 字节")
    if content and not content.lstrip("\ufeff \t\r\n").startswith("#EXTM3U"):
        raise ValueError("不是播放列表：应以 #EXTM3U 开头")
    return content


def _read(parser: Callable[[str], T], given: str) -> T:
    try:
        return parser(given)
    except M3u8svcError as error:
        raise ValueError(error.text()) from error


def _secret(parser: Callable[[str], bytes], given: str) -> str:
    if given == MASK:
        raise ValueError(f"新任务不能使用 {MASK}")
    try:
        return parser(given).hex()
    except BadOverride as error:
        raise ValueError(str(error)) from None


def proxy_type(value: Any) -> str:
    """
    One of the four kinds of proxy; "" is none. Relatives of socks5 get an answer that helps.
    """
    name = text(value) or "none"
    if name.startswith("socks") and name not in PROXY_TYPES:
        raise ValueError("只支持 socks5（域名总是由代理解析，不需要 socks5h）")
    return one_of(PROXY_TYPES)(name)


def proxy_host(value: Any) -> str:
    """A host name or address, without scheme, port or credentials."""
    host = text(value).strip(" ")
    if len(host) > 253 or _has_controls(host) or any(character in "/@\\?# " for character in host):
        raise ValueError("必须只是主机名或地址")
    return host


def credential(value: Any) -> str:
    """A proxy's user name or password."""
    secret = text(value)
    if len(secret.encode()) > MAX_CREDENTIAL_BYTES or _has_controls(secret):
        raise ValueError(f"含有控制字符或超过 {MAX_CREDENTIAL_BYTES} 字节")
    return secret


def plugin_options(value: Any) -> dict[str, dict[str, Any]]:
    """
    An object of options for each plugin by name. What is in them is for the plugin to judge.
    """
    if not isinstance(value, dict) or not all(isinstance(options, dict) for options in value.values()):
        raise ValueError("必须是对象：插件名称 → 选项对象")
    if len(value) > MAX_PLUGINS or len(json.dumps(value)) > MAX_PLUGIN_OPTIONS:
        raise ValueError(f"超过 {MAX_PLUGINS} 个插件或 {MAX_PLUGIN_OPTIONS} 字节")
    return value


def header_map(value: Any) -> Mapping[str, tuple[str, ...]]:
    """
    Header names with their values; one bare string is one value.
    """
    if not isinstance(value, dict):
        raise ValueError("必须是对象：名称 → 字符串列表")
    headers: dict[str, tuple[str, ...]] = {}
    for name, given in value.items():
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise ValueError(f"“{name[:60]}”的值必须是字符串列表")
        headers[name] = tuple(values)
    problems = header_problems(headers)
    if problems:
        raise ValueError("；".join(problems))
    return headers


def _has_controls(value: str) -> bool:
    return any(unicodedata.category(each) == "Cc" for each in value) or not _LINE_ENDS.isdisjoint(value)
