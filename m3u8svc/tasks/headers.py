"""
The headers of a task: which ones may be asked for, and which go where (DESIGN 6, Trust; R-HDR-1, R-HDR-2).

A user pastes what his browser sent. What concerns one connection or the framing of one message is ours to say and is
dropped with a warning; what cannot be sent at all is a problem to report. A header that looks like a credential goes
only to the site that the user named; playlists lead anywhere.
"""

import base64
import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

import attrs
from publicsuffixlist import PublicSuffixList

from m3u8svc.redact import escape_controls, is_secret_header

MAX_HEADERS = 64
MAX_VALUE_BYTES = 8 * 1024
MAX_TOTAL_BYTES = 16 * 1024

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


def header_problems(headers: Mapping[str, Sequence[str]]) -> list[str]:
    """
    Everything that forbids to store these headers, in Chinese, naming the header and never its value.
    """
    problems: list[str] = []
    values = [(name, value) for name, values in headers.items() for value in values]
    if len(values) > MAX_HEADERS:
        problems.append(f"最多 {MAX_HEADERS} 项，实际 {len(values)} 项")
    problems += [f"名称“{_shown(name)}”无效" for name in headers if not _TOKEN.fullmatch(name)]
    for name, value in values:
        if _UNSENDABLE.search(value):
            problems.append(f"“{_shown(name)}”的值含有换行符或空字符")
        if _size(value) > MAX_VALUE_BYTES:
            problems.append(f"“{_shown(name)}”的值超过 {MAX_VALUE_BYTES} 字节")
    if sum(_size(name) + _size(value) for name, value in values) > MAX_TOTAL_BYTES:
        problems.append(f"总长度超过 {MAX_TOTAL_BYTES} 字节")
    return problems


def clean_headers(headers: Mapping[str, Sequence[str]]) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """
    The headers that a task keeps, and a warning in Chinese naming those that it does not, if any.
    """
    kept = {name: tuple(values) for name, values in headers.items() if not _is_ours(name)}
    dropped = [_shown(name) for name in headers if _is_ours(name)]
    warnings = (f"已忽略由程序自行决定的请求头：{'、'.join(dropped)}",) if dropped else ()
    return MappingProxyType(kept), warnings


def request_headers(task_headers: Mapping[str, Sequence[str]], submitted_url: str, target_url: str) -> ScopedHeaders:
    """
    The headers for a request to `target_url` in a task that was submitted as `submitted_url`.

    The task's own replace our defaults of the same name, in any spelling. Secret-looking ones go to the registrable
    domain of the submitted URL only, and never from https to http. So does the Authorization that the submitted URL's
    userinfo stands for: what a playlist names on the same site asks for it too.
    """
    task_headers = {**task_headers, **_userinfo_header(task_headers, submitted_url, target_url)}
    own_names = {name.lower() for name in task_headers}
    pairs = [pair for pair in _defaults(submitted_url) if pair[0].lower() not in own_names]
    trusted = _is_trusted(submitted_url, target_url)
    withheld = tuple(name for name in task_headers if is_secret_header(name) and not trusted)
    pairs += [(name, value) for name, values in task_headers.items() if name not in withheld for value in values]
    return ScopedHeaders(headers=tuple(pairs), withheld=withheld)


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


def _is_trusted(submitted_url: str, target_url: str) -> bool:
    submitted, target = _split(submitted_url), _split(target_url)
    if submitted is None or target is None or (submitted.scheme == "https" and target.scheme != "https"):
        return False
    here, there = submitted.hostname, target.hostname
    return here is not None and there is not None and _site(here) == _site(there)


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


@functools.cache
def _public_suffixes() -> PublicSuffixList:
    # 70 ms and some MB: only once a task has a secret to scope.
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
