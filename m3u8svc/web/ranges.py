"""
How a file is answered: which part of it, under which name, as what (RFC 9110, RFC 6266). Pure.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import PurePath
from urllib.parse import quote

import attrs

from m3u8svc.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")
_PLAIN = re.compile(r'[^ -~]|["\\%]')
_ATTR_CHAR = "!#$&+-.^_`|~"
"""What RFC 8187 lets stand as it is, besides letters and digits."""
MEDIA_TYPES: Mapping[str, str] = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".m4a": "audio/mp4",
    ".ts": "video/mp2t",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".aac": "audio/aac",
    ".mp3": "audio/mpeg",
}
"""No other: what a browser would take for a page is only to be saved."""
ANYTHING = "application/octet-stream"

Headers = Mapping[str, Sequence[str]]
"""Values by lower-case name."""


@attrs.frozen
class Span:
    """
    The bytes from `start` up to `stop`, which is not among them.
    """

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many."""
        return self.stop - self.start


def wanted_span(given: str, size: int) -> Span | None:
    """
    The part that a ``Range`` asks for; None: the whole. What is no range of bytes, or several at once, asks for nothing
    that has to be given (RFC 9110, 14.2).

    Raises:
        RangeNotSatisfiable: no byte of it is in the file.
    """
    match = _RANGE.fullmatch(given)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        span = Span(max(0, size - int(match[2])), size)
    else:
        start = int(match[1])
        if match[2] and int(match[2]) < start:
            return None
        span = Span(start, min(int(match[2]) + 1, size) if match[2] else size)
    if span.size <= 0:
        raise RangeNotSatisfiable(size=size)
    return span


@attrs.frozen(kw_only=True)
class Version:
    """
    Which content a file has: its ETag, and when it was changed last, both as headers say it.
    """

    etag: str
    last_modified: str

    @classmethod
    def of(cls, identity: str, modified_at: float) -> "Version":
        """That of a file with this identity and time, in seconds since the epoch."""
        moment = datetime.fromtimestamp(max(0, int(modified_at)), UTC)
        return cls(etag=etag_of(identity.encode()), last_modified=format_datetime(moment, usegmt=True))


def etag_of(content: bytes) -> str:
    """
    The ETag of what is answered, where that is at hand.
    """
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def is_known(headers: Headers, etag: str) -> bool:
    """
    Whether who asks has the content of this ETag already (``If-None-Match``).
    """
    tags = [tag.strip().removeprefix("W/") for line in headers.get("if-none-match", ()) for tag in line.split(",")]
    return "*" in tags or etag in tags


def range_of(headers: Headers, version: Version) -> str:
    """
    The ``Range`` that counts: "" where there is none, or several, or it is meant for another content (``If-Range``).
    """
    ranges, only_if = headers.get("range", ()), headers.get("if-range", ())
    if len(ranges) != 1 or any(each not in (version.etag, version.last_modified) for each in only_if):
        return ""
    return ranges[0]


def media_type(name: str) -> str:
    """
    What a file of this name holds.
    """
    return MEDIA_TYPES.get(PurePath(name).suffix.lower(), ANYTHING)


def disposition(name: str, *, download: bool) -> str:
    """
    The ``Content-Disposition`` of a file: to be saved under its name, or to be shown where that can be done.
    """
    kind = "attachment" if download or media_type(name) == ANYTHING else "inline"
    encoded = quote(name.encode("utf-8", "surrogateescape"), safe=_ATTR_CHAR)
    return f"{kind}; filename=\"{_PLAIN.sub('_', name)}\"; filename*=UTF-8''{encoded}"
