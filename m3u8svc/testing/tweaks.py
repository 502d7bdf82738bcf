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
_BOUNDARY = "THIS_STRING_SEPARATES"
_BODIES = ("html", "json", "empty", "junk", "own")
_URI_ATTRIBUTE = re.compile(r'URI="([^"]*)"')


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
    Where to break off: bytes of the body, -1 for before the answer, -1-K for after K bytes of its head.
    """
    word, plus, count = text.partition("+")
    return -1 - (_whole(count) if plus else 0) if word == "headers" else _whole(text)


def _statuses(text: str) -> tuple[int, ...]:
    return tuple(_whole(each) for each in text.split(","))


def _bodies(text: str) -> tuple[str, ...]:
    named = tuple(text.split(","))
    if not all(each in _BODIES or each.startswith("/") for each in named):
        raise ValueError("one of " + ", ".join(_BODIES) + ", or a path")
    return named


def _one_of(*words: str) -> Any:  # Any: a converter, as attrs has no name for one
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError("one of " + ", ".join(words))
        return text

    return convert


@attrs.frozen(kw_only=True)
class Tweaks:
    """
    What a query asks for; the page of `origin` explains each.
    """

    times: int | None = None
    after: int = 0
    every: float | None = None
    status: tuple[int, ...] = ()
    retry_after: str | None = None
    redirect: str | None = None
    delay: float = 0.0
    hang: str | None = None
    chunk_size: int = PIECE_BYTES
    chunk_delay: float = 0.0
    slow_start: float = 0.0
    cut: int | None = None
    reset: int | None = None
    cl: str | None = None
    te: str | None = None
    encoding: str | None = None
    range: str | None = None
    body: tuple[str, ...] = ()
    etag: str | None = None
    interim: int = 0
    endless: str | None = None
    then: str | None = None
    max_conn: int | None = None
    sign: float | None = None
    token: str = attrs.field(default="", repr=False)
    token_ttl: float | None = None
    token_status: int = 403

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
        if found.get("every") == 0:
            raise TweakError("every must be more than 0")
        return cls(**found)

    def for_request(self, nth: int, since_first_s: float) -> "Tweaks":
        """
        Those that apply to the `nth` request of a URL (from 1), `since_first_s` seconds after its first: of each
        sequence the one whose turn it is.
        """
        turn = nth - self.after - 1
        if turn < 0 or (self.times is not None and turn >= self.times):
            return Tweaks()
        if self.every is not None:
            turn = int(since_first_s / self.every)
        status, body = self.status[turn : turn + 1] or self.status[-1:], self.body[turn : turn + 1] or self.body[-1:]
        return attrs.evolve(self, status=() if status == (200,) else status, body=() if body == ("own",) else body)

    def refuses_token(self, now: float) -> bool:
        """
        Whether a signed URL is no longer, or never was, good at `now`, in seconds of the clock that signed it.
        """
        if self.token_ttl is None:
            return False
        return not self.token.isdecimal() or now - int(self.token) / 1000 > self.token_ttl


_CONVERTERS: Mapping[str, Any] = MappingProxyType(  # Any: str -> int, float, str or a tuple of them
    {
        "times": _whole,
        "after": _whole,
        "every": _seconds,
        "status": _statuses,
        "retry_after": str,
        "redirect": str,
        "delay": _seconds,
        "hang": _one_of("headers", "body"),
        "chunk_size": _whole,
        "chunk_delay": _seconds,
        "slow_start": _seconds,
        "cut": _place,
        "reset": _place,
        "cl": _one_of("long", "short", "none"),
        "te": _one_of("chunked", "bad", "trailers"),
        "encoding": _one_of("gzip", "deflate", "unlabelled", "wrong", "bomb", "unknown", "br", "double"),
        "range": _one_of("ignore", "wrong", "end", "total", "star", "416", "multipart"),
        "body": _bodies,
        "etag": str,
        "interim": _whole,
        "endless": _one_of("headers", "1xx", "body"),
        "then": _one_of("close", "hang", "unnotified"),
        "max_conn": _whole,
        "sign": _seconds,
        "token": str,
        "token_ttl": _seconds,
        "token_status": _whole,
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


def plan_reply(
    method: str, wanted: str | None, tweaks: Tweaks, resource: Resource | None, *, now: float = 0.0, wall: float = 0.0
) -> Reply:
    """
    What to answer, as if sending were no problem. `wanted` is the value of the Range header; `now` the seconds of the
    clock that tokens are made by, `wall` those since the epoch, for dates.
    """
    if method not in ("GET", "HEAD"):
        return _text(405, (("Allow", "GET, HEAD"),))
    if tweaks.refuses_token(now):
        return _text(tweaks.token_status)
    if tweaks.redirect is not None:
        return _text(tweaks.status[0] if tweaks.status else 302, (("Location", tweaks.redirect),))
    if tweaks.status:
        return _text(tweaks.status[0], _retry_after(tweaks.retry_after, wall))
    if resource is None:
        return _text(404)
    return _in_range(_encoded(_replaced(resource, tweaks, now), tweaks), wanted, tweaks)


def _text(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(
        status=status, headers=(("Content-Type", "text/plain"), *headers), body=f"{status} {phrase(status)}\n".encode()
    )


def _retry_after(text: str | None, wall: float) -> tuple[tuple[str, str], ...]:
    """
    The header as it was given; ``date:S`` is the date S seconds from now, ``date:-S`` one that has been.
    """
    if text is None:
        return ()
    dated = re.fullmatch(r"date:(-?\d+)", text)
    return (("Retry-After", formatdate(wall + int(dated[1]), usegmt=True) if dated else text),)


def _replaced(resource: Resource, tweaks: Tweaks, now: float) -> Reply:
    headers = [("Content-Type", resource.content_type), ("Accept-Ranges", "bytes")]
    if resource.last_modified is not None:
        headers.append(("Last-Modified", formatdate(resource.last_modified, usegmt=True)))
    if tweaks.etag is not None:
        headers.append(("ETag", f'"{tweaks.etag}"'))
    body = resource.body
    match tweaks.body:
        case ("html",):
            headers[0], body = ("Content-Type", "text/html"), _HTML
        case ("json",):
            headers[0], body = ("Content-Type", "application/json"), b'{"error": "try again later"}\n'
        case ("empty",):
            body = b""
        case ("junk",):
            body = bytes(range(256)) * 64
    if tweaks.sign is not None:
        body = signed_playlist(body.decode(), tweaks, now).encode()
    return Reply(status=200, headers=tuple(headers), body=body)


def signed_playlist(text: str, tweaks: Tweaks, now: float) -> str:
    """
    A playlist whose links carry a token each that is good for ``sign=`` seconds from `now`; links to playlists are told
    to do the same.
    """

    def sign(uri: str) -> str:
        passed_on = [f"sign={tweaks.sign:g}"] if ".m3u8" in uri.partition("?")[0] else []
        terms = [f"token={int(now * 1000)}", f"token_ttl={tweaks.sign:g}", f"token_status={tweaks.token_status}"]
        return uri + ("&" if "?" in uri else "?") + "&".join([*terms, *passed_on])

    lines = [
        _URI_ATTRIBUTE.sub(lambda found: f'URI="{sign(found[1])}"', line)
        if line.startswith("#") or not line.strip()
        else sign(line)
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"


def _encoded(reply: Reply, tweaks: Tweaks) -> Reply:
    label, body = tweaks.encoding, reply.body
    match tweaks.encoding:
        case None:
            return reply
        case "gzip" | "unlabelled":
            body = gzip.compress(body, mtime=0)
        case "double":
            label, body = "gzip, gzip", gzip.compress(gzip.compress(body, mtime=0), mtime=0)
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
    if first > last or tweaks.range == "416":
        return _text(416, (("Content-Range", f"bytes */{size}"),))
    return _part(reply, first, last, tweaks.range)


def _part(reply: Reply, first: int, last: int, misbehaviour: str | None) -> Reply:
    size, shown = len(reply.body), str(len(reply.body))
    match misbehaviour:
        case "wrong":
            first, last = first + 1, last + 1
        case "end":
            last -= 1
        case "total":
            shown = str(last)  # less than the last byte's own place: no such resource can be
        case "star":
            shown = "*"
    body, headers = reply.body[first : last + 1], reply.headers
    told = f"bytes {first}-{last}/{shown}"
    if misbehaviour == "multipart":
        part = f"--{_BOUNDARY}\r\nContent-Type: {headers[0][1]}\r\nContent-Range: {told}\r\n\r\n".encode()
        body = part + body + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return Reply(status=206, headers=(("Content-Type", f"multipart/byteranges; boundary={_BOUNDARY}"),), body=body)
    assert last < size or misbehaviour == "wrong"
    return attrs.evolve(reply, status=206, headers=(*headers, ("Content-Range", told)), body=body)


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
    elif tweaks.cl != "none" and tweaks.endless != "body":
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
    return max(0, min(ends))


def head_bytes(tweaks: Tweaks) -> int | None:
    """
    How many bytes of the head are sent before the answer is broken off; None for all of them.
    """
    places = [-1 - place for place in (tweaks.cut, tweaks.reset) if place is not None and place < 0]
    return min(places, default=None)


def pause_s(piece: int, tweaks: Tweaks) -> float:
    """
    How long to wait before this piece of the body, counted from 0. A slow start is over soon: each wait is half of the
    one before.
    """
    return (tweaks.chunk_delay if piece else 0.0) + tweaks.slow_start * 0.5**piece


def framed(piece: bytes, tweaks: Tweaks) -> bytes:
    return piece if tweaks.te is None else b"%x\r\n%s\r\n" % (len(piece), piece)


def chunked_end(tweaks: Tweaks) -> bytes:
    """
    What ends a chunked body, with trailers if they are asked for (RFC 9112, 7.1.2).
    """
    return b"0\r\nX-Checksum: 0\r\nX-Note: the end\r\n\r\n" if tweaks.te == "trailers" else b"0\r\n\r\n"
