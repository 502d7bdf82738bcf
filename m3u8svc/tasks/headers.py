"""
The headers of a task: which ones may be asked for, and which go where (DESIGN 6, Trust; R-HDR-1, R-HDR-2).

A user pastes what his browser sent. What concerns one connection or the framing of one message is ours to say and is
dropped with a warning; what cannot be sent at all is a problem to report. A header that looks like a credential goes
only to the site that the user named, and to the hosts named besides; playlists lead anywhere.
"""

import base64
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

import attrs
from publicsuffixlist import PublicSuffixList

from m3u8svc.errors import InvalidUrl, UnsupportedScheme
from m3u8svc.redact import escape_controls, is_secret_header
from m3u8svc.tasks.wire import wire_url
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said, joined, said

MAX_HOSTS = 64

USER_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36"
)
"""A browser's, since many origins answer nobody else."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_UNSENDABLE = re.compile(r"[\r\n\x00]")
_OURS = frozenset(
    {
        # One connection's (RFC 9110, 7.6.1), and the frame of one message.
        *("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"),
        *("content-length", "content-encoding", "accept-encoding"),
        # Which part or version is wanted: a pasted one would get us 206 and 304 where we need the whole.
        *("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
    }
)


@attrs.frozen(kw_only=True)
class ScopedHeaders:
    """
    What one request may send: (name, value) pairs in order, and the names of those withheld from its target.
    """

    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    withheld: tuple[str, ...] = ()


def header_problems(headers: Mapping[str, Sequence[str]], limits: WebLimits = DEFAULTS) -> list[Said]:
    """
    Everything that forbids to store these headers, naming the header and never its value.
    """
    problems: list[Said] = []
    values = [(name, value) for name, values in headers.items() for value in values]
    if len(values) > limits.http_header_count:
        most = limits.http_header_count
        problems.append(Said(f"最多 {most} 项，实际 {len(values)} 项", f"has {len(values)} entries, of at most {most}"))
    invalid = [_shown(name) for name in headers if not _TOKEN.fullmatch(name)]
    problems += [Said(f"名称“{name}”无效", f"the name “{name}” is not valid") for name in invalid]
    for name, value in values:
        zh, en, most = f"“{_shown(name)}”的值", f"the value of “{_shown(name)}”", limits.http_header_bytes
        if _UNSENDABLE.search(value):
            problems.append(Said(f"{zh}含有换行符或空字符", f"{en} has a line end or NUL in it"))
        if _size(value) > most:
            problems.append(Said(f"{zh}超过 {most} 字节", f"{en} has more than {most} bytes"))
    if sum(_size(name) + _size(value) for name, value in values) > limits.http_headers_bytes:
        most = limits.http_headers_bytes
        problems.append(Said(f"总长度超过 {most} 字节", f"has more than {most} bytes altogether"))
    return problems


def clean_headers(headers: Mapping[str, Sequence[str]]) -> tuple[Mapping[str, tuple[str, ...]], tuple[Said, ...]]:
    """
    The headers that a task keeps, and a warning naming those that it does not, if any.
    """
    kept = {name: tuple(values) for name, values in headers.items() if not _is_ours(name)}
    dropped = [_shown(name) for name in headers if _is_ours(name)]
    if not dropped:
        return MappingProxyType(kept), ()
    zh, en = "已忽略由程序自行决定的请求头：{names}", "headers that are ours to say, ignored: {names}"
    return MappingProxyType(kept), (said(zh, en, names=joined(dropped, zh="、", en=", ")),)


def parse_header_host(text: str) -> str:
    """
    One of the hosts that secret-looking headers may go to besides the submitted site, as it is kept: ``cdn.example``,
    with a port ``cdn.example:8443``, or ``*.cdn.example`` for every host below a domain that somebody can own.

    Raises:
        ValueError: it is none; says what could stand there.
    """
    below, _, rest = text.strip().rpartition("*.")
    host, port = _host_and_port(rest)
    if below or "*" in rest or (text.strip().startswith("*.") and not _is_owned(host)):
        raise ValueError(
            Said(
                "应写作 cdn.example、cdn.example:8443 或 *.cdn.example，不能是整个顶级域名",
                "is written cdn.example, cdn.example:8443 or *.cdn.example, and is no whole top-level domain",
            )
        )
    shown = f"[{host}]" if ":" in host else host
    return ("*." if text.strip().startswith("*.") else "") + shown + (f":{port}" if port else "")


def request_headers(
    task_headers: Mapping[str, Sequence[str]],
    submitted_url: str,
    target_url: str,
    header_hosts: Iterable[str] = (),
) -> ScopedHeaders:
    """
    The headers for a request to `target_url` in a task that was submitted as `submitted_url`.

    The task's own replace our defaults of the same name, in any spelling. Secret-looking ones go to the registrable
    domain of the submitted URL and to `header_hosts` only, and never from https to http. So does the Authorization
    that the submitted URL's userinfo stands for: what a playlist names on the same site asks for it too.
    """
    task_headers = {**task_headers, **_userinfo_header(task_headers, submitted_url, target_url)}
    own_names = {name.lower() for name in task_headers}
    pairs = [pair for pair in _defaults(submitted_url) if pair[0].lower() not in own_names]
    trusted = _is_trusted(submitted_url, target_url, header_hosts)
    withheld = tuple(name for name in task_headers if is_secret_header(name) and not trusted)
    pairs += [(name, value) for name, values in task_headers.items() if name not in withheld for value in values]
    return ScopedHeaders(headers=tuple(pairs), withheld=withheld)


def moved_headers(
    task_headers: Mapping[str, Sequence[str]], old_url: str, new_url: str, header_hosts: Iterable[str] = ()
) -> tuple[str, ...]:
    """
    The names of those that look like credentials, if a task submitted as `new_url` sends them where one submitted as
    `old_url` would not have sent them.
    """
    if not old_url or _is_trusted(old_url, new_url, header_hosts):
        return ()
    return tuple(_shown(name) for name in task_headers if is_secret_header(name))


def _userinfo_header(
    task_headers: Mapping[str, Sequence[str]], submitted_url: str, target_url: str
) -> dict[str, tuple[str, ...]]:
    """
    Basic credentials of the submitted URL. None when the task or the target says whom to be: userinfo in the target
    becomes its header when it is fetched.
    """
    submitted, target = _split(submitted_url), _split(target_url)
    if submitted is None or "@" not in submitted.netloc or (target is not None and "@" in target.netloc):
        return {}
    if any(name.lower() == "authorization" for name in task_headers):
        return {}
    userinfo = unquote_to_bytes(submitted.netloc.rpartition("@")[0])
    return {"Authorization": ("Basic " + base64.b64encode(userinfo).decode("ascii"),)}


def _defaults(submitted_url: str) -> list[tuple[str, str]]:
    pairs = [("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")]
    parts = _split(submitted_url)
    if parts is not None and parts.netloc:
        pairs.append(("Referer", f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"))
    return pairs


def _is_trusted(submitted_url: str, target_url: str, header_hosts: Iterable[str]) -> bool:
    submitted, target = _split(submitted_url), _split(target_url)
    if submitted is None or target is None or (submitted.scheme == "https" and target.scheme != "https"):
        return False
    here, there = submitted.hostname, target.hostname
    if here is None or there is None:
        return False
    return _site(here) == _site(there) or any(_is_named(each, target) for each in header_hosts)


def _is_named(named: str, target: SplitResult) -> bool:
    """
    Whether a target is at one of the hosts that `parse_header_host` gave.
    """
    try:
        host, port = _host_and_port(named.removeprefix("*."))
        there, at = _host_and_port((target.hostname or "").rstrip(".")), target.port
    except ValueError:
        return False
    if port and port != (at or {"http": 80, "https": 443}.get(target.scheme, 0)):
        return False
    return there[0].endswith(f".{host}") if named.startswith("*.") else there[0] == host


def _host_and_port(text: str) -> tuple[str, int]:
    """
    Raises:
        ValueError: no host, with or without a port, and nothing else.
    """
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"  # an IPv6 address
    try:
        if not text or any(character in "/?#@\\ " for character in text):
            raise ValueError
        parts = urlsplit(f"http://{text}/")
        wire = wire_url(f"http://{text}/")
        return wire.host.lower().rstrip("."), parts.port or 0
    except (InvalidUrl, UnsupportedScheme, ValueError):
        raise ValueError(Said("不是主机名", "is no host name")) from None


def _is_owned(host: str) -> bool:
    """
    Whether it is a domain that one owner has, or lies in one.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _public_suffixes().privatesuffix(host) is not None
    return False


def _site(host: str) -> str:
    """
    The registrable domain of `host`; itself when it has none: an address, a single label, a public suffix.
    """
    host = host.lower().rstrip(".")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _public_suffixes().privatesuffix(host) or host
    return host


def read_public_suffixes() -> None:
    """
    Read the list that tells whose a domain is, unless it was read. Some 40 ms of a processor, and 110 for a thread that
    is not alone: nothing for the reactor; and 2 MiB, which a service that has nothing to do need not have.
    """
    _public_suffixes()


def are_public_suffixes_read() -> bool:
    """
    Whether that costs nothing any more.
    """
    return bool(_public_suffixes.cache_info().currsize)


@functools.cache
def _public_suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _is_ours(name: str) -> bool:
    lowered = name.lower()
    return lowered in _OURS or lowered.startswith("proxy-")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _shown(name: str) -> str:
    """
    A header's name, fit for a message.
    """
    return escape_controls(name if len(name) <= 60 else name[:59] + "…")
