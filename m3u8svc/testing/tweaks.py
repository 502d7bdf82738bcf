"""
How an origin misbehaves: the query of a URL as a value, and what to answer for it. Pure; `origin` does the sending.
"""

import functools
import gzip
import re
import zlib
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import attrs

PIECE_BYTES = 64 * 1024

_BOMB_BYTES = 32 * 1024 * 1024
_WITHOUT_BODY = frozenset({204, 304})
_HTML = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>Please log in.</body></html>\n"


class TweakError(ValueError):
    """
    A tweak with a value it does not take; the origin answers 400 with this text.
    """


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError("seconds")
    return float(text)


def _place(text: str) -> int:
    """
    Where to break off: bytes of the body, or -1 for before the answer.
    """
    return -1 if text == "headers" else _whole(text)


def _one_of(*words: str) -> Any:  # Any: a converter, as attrs has no name for one
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return convert


@attrs.frozen(kw_only=True)
class Tweaks:
    """
    What a query asks for; the page above explains each.
    """

    times: int | None = None
    status: int | None = None
    retry_after: str | None = None
    redirect: str | None = None
    delay: float = 0.0
    hang: str | None = None
    chunk_size: int = PIECE_BYTES
    chunk_delay: float = 0.0
    cut: int | None = None
    reset: int | None = None
    cl: str | None = None
    te: str | None = None
    encoding: str | None = None
    range: str | None = None
    body: str | None = None
    headers: str | None = None
    max_conn: int | None = None

    @classmethod
    def from_query(cls, query: str) -> "Tweaks":
        """
        Read a query; raises `TweakError` naming the first value that makes no sense.
        """
        found: dict[str, Any] = {}  # Any: int, float or str by name
        for name, text in parse_qsl(query, keep_blank_values=True):
            if name in _CONVERTERS:
                try:
                    found[name] = _CONVERTERS[name](text)
                except ValueError as error:
                    raise TweakError(f"{name}={text!r} is not {error}") from error
        if found.get("chunk_size") == 0:
            raise TweakError("chunk_size must be at least 1")
        return cls(**found)


_CONVERTERS: Mapping[str, Any] = MappingProxyType(  # Any: str -> int, float or str
    {
        "times": _whole,
        "status": _whole,
        "retry_after": str,
        "redirect": str,
        "delay": _seconds,
        "hang": _one_of("headers", "body"),
        "chunk_size": _whole,
        "chunk_delay": _seconds,
        "cut": _place,
        "reset": _place,
        "cl": _one_of("long", "short", "none"),
        "te": _one_of("chunked", "bad"),
        "encoding": _one_of("gzip", "deflate", "unlabelled", "wrong", "bomb", "unknown"),
        "range": _one_of("ignore", "wrong"),
        "body": _one_of("html", "empty", "junk"),
        "headers": _one_of("endless"),
        "max_conn": _whole,
    }
)


# -- The answer --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Resource:
    body: bytes = attrs.field(repr=False)
    content_type: str
    last_modified: float | None = None


@attrs.frozen(kw_only=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = attrs.field(default=b"", repr=False)

    @property
    def has_body(self) -> bool:
        """Whether this status has one (RFC 9110, 6.4.1)."""
        return self.status not in _WITHOUT_BODY


def plan_reply(method: str, wanted: str | None, tweaks: Tweaks, resource: Resource | None) -> Reply:
    """
    What to answer, as if sending were no problem. `wanted` is the value of the Range header.
    """
    if method not in ("GET", "HEAD"):
        return _text(405, (("Allow", "GET, HEAD"),))
    if tweaks.redirect is not None:
        return _text(tweaks.status or 302, (("Location", tweaks.redirect),))
    if tweaks.status is not None:
        return _text(tweaks.status, (("Retry-After", tweaks.retry_after),) if tweaks.retry_after is not None else ())
    if resource is None:
        return _text(404)
    return _in_range(_encoded(_replaced(resource, tweaks), tweaks), wanted, tweaks)


def _text(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(
        status=status, headers=(("Content-Type", "text/plain"), *headers), body=f"{status} {phrase(status)}\n".encode()
    )


def _replaced(resource: Resource, tweaks: Tweaks) -> Reply:
    headers = [("Content-Type", resource.content_type), ("Accept-Ranges", "bytes")]
    if resource.last_modified is not None:
        headers.append(("Last-Modified", formatdate(resource.last_modified, usegmt=True)))
    body = resource.body
    match tweaks.body:
        case "html":
            headers[0], body = ("Content-Type", "text/html"), _HTML
        case "empty":
            body = b""
        case "junk":
            body = bytes(range(256)) * 64
    return Reply(status=200, headers=tuple(headers), body=body)


def _encoded(reply: Reply, tweaks: Tweaks) -> Reply:
    label, body = tweaks.encoding, reply.body
    match tweaks.encoding:
        case None:
            return reply
        case "gzip" | "unlabelled":
            body = gzip.compress(body, mtime=0)
        case "deflate":
            body = zlib.compress(body)
        case "bomb":
            label, body = "gzip", _bomb()
        case "wrong":
            label = "gzip"
    if tweaks.encoding == "unlabelled":
        return attrs.evolve(reply, body=body)
    return attrs.evolve(reply, body=body, headers=(*reply.headers, ("Content-Encoding", str(label))))


def _in_range(reply: Reply, wanted: str | None, tweaks: Tweaks) -> Reply:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if found is None or tweaks.range == "ignore" or found.group() == "bytes=-":
        return reply
    size = len(reply.body)
    if found[1]:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
    else:
        first, last = max(0, size - int(found[2])), size - 1
    if first > last:
        return _text(416, (("Content-Range", f"bytes */{size}"),))
    if tweaks.range == "wrong":
        first, last = first + 1, last + 1
    return attrs.evolve(
        reply,
        status=206,
        headers=(*reply.headers, ("Content-Range", f"bytes {first}-{last}/{size}")),
        body=reply.body[first : last + 1],
    )


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES), compresslevel=1, mtime=0)


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def render_head(reply: Reply, tweaks: Tweaks, close: bool) -> bytes:
    headers = [*reply.headers]
    size = len(reply.body)
    if not reply.has_body:
        pass
    elif tweaks.te is not None:
        headers.append(("Transfer-Encoding", "chunked"))
    elif tweaks.cl != "none":
        announced = {"long": size + 1000, "short": size // 2}.get(tweaks.cl or "", size)
        headers.append(("Content-Length", str(announced)))
    if close:
        headers.append(("Connection", "close"))
    lines = [f"HTTP/1.1 {reply.status} {phrase(reply.status)}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


def last_byte(body: bytes, tweaks: Tweaks) -> int:
    """
    How much of the body is sent before something is done about it.
    """
    ends = [len(body)]
    if tweaks.hang == "body" or tweaks.te == "bad":
        ends.append(len(body) // 2)
    ends += [place for place in (tweaks.cut, tweaks.reset) if place is not None]
    return min(ends)


def framed(piece: bytes, tweaks: Tweaks) -> bytes:
    return piece if tweaks.te is None else b"%x\r\n%s\r\n" % (len(piece), piece)
