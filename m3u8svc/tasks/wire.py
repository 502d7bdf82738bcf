"""
What goes over the wire and comes back, read strictly: URLs, redirects, ranges, dates, compressed bodies.

Pure, so that every odd spelling an origin may send is a line in a table of tests. URLs are sent as they were written:
signatures cover their exact bytes, so only what HTTP cannot carry is escaped (anchors T11).
"""

import ipaddress
import re
import zlib
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

import attrs
import idna

from m3u8svc.errors import BadResponse, DecompressionBomb, InvalidUrl, RedirectError, Truncated, UnsupportedScheme
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.wording import Said

MAX_RETRY_AFTER_S = 300.0

_FORBIDDEN_IN_URL = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPED = re.compile(r"[^\x21-\x7e]|[\"<>\\]")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


# -- URLs ------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class WireUrl:
    """
    A URL as it is requested: ASCII, without userinfo and fragment.
    """

    text: str = attrs.field(repr=False)
    scheme: str
    host: str
    port: int
    userinfo: bytes | None = attrs.field(default=None, repr=False)
    """``user:password``, decoded, if the URL had one."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what credentials belong to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS[self.scheme] == self.port else f"{host}:{self.port}"


def wire_url(url: str) -> WireUrl:
    """
    `url` as it goes over the wire.

    Raises:
        UnsupportedScheme: neither http nor https.
        InvalidUrl: no host or one no resolver takes, a bad port, control characters, a backslash where a slash belongs.
    """
    if _FORBIDDEN_IN_URL.search(url):
        raise InvalidUrl(url=url, reason=Said("含有控制字符", "it has control characters in it"))
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidUrl(url=url, reason=str(error)) from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise UnsupportedScheme(url=url, scheme=parts.scheme)
    if "\\" in parts.netloc + parts.path:
        raise InvalidUrl(url=url, reason=Said("含有反斜杠", "it has a backslash in it"))
    if port == 0:
        raise InvalidUrl(url=url, reason=Said("端口为 0", "its port is 0"))
    found = WireUrl(
        text="",
        scheme=parts.scheme,
        host=_wire_host(url, host or ""),
        port=port or _DEFAULT_PORTS[parts.scheme],
        userinfo=unquote_to_bytes(parts.netloc.rpartition("@")[0]) if "@" in parts.netloc else None,
    )
    rest = _escape(parts.path or "/") + (f"?{_escape(parts.query)}" if parts.query else "")
    return attrs.evolve(found, text=f"{found.scheme}://{found.authority}{rest}")


def redirected_url(current: str, location: str) -> str:
    """
    Where a redirect from `current` leads: absolute against the current hop, without a fragment (RFC 9110, 10.2.2).

    Raises:
        RedirectError: it may not be followed.
    """
    try:
        target = urljoin(current, location.strip())
        wire = wire_url(target)
    except (InvalidUrl, UnsupportedScheme) as error:
        raise RedirectError(url=current, reason=Said(error.text(), error.text("en"))) from error
    except ValueError as error:
        raise RedirectError(url=current, reason=str(error)) from error
    if wire.userinfo is not None:
        raise RedirectError(url=current, reason=Said("目标链接带有用户名", "the target has a user name in it"))
    return wire.text


def _wire_host(url: str, host: str) -> str:
    if not host:
        raise InvalidUrl(url=url, reason=Said("缺少主机名", "it has no host name"))
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise InvalidUrl(url=url, reason=Said("IPv6 地址无效", "its IPv6 address is not valid")) from error
    if host.isascii():
        # Sent as it is: IDNA would refuse a_b.example and r3---sn-x.example, which DNS has.
        if not _HOST.fullmatch(host) or not _resolvable(host):
            raise InvalidUrl(url=url, reason=Said("主机名无效", "its host name is not valid"))
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InvalidUrl(url=url, reason=Said("主机名无效", "its host name is not valid")) from error


def _resolvable(host: str) -> bool:
    """
    Whether a resolver can be asked for `host` (RFC 1035 2.3.4). Python's raises UnicodeError for others, in a thread
    where nobody waits for it.
    """
    name = host.removesuffix(".")
    labels = name.split(".")
    return len(name) <= 253 and all(
        1 <= len(label) <= 63 and label != "xn--" and any(each.isalnum() for each in label) for label in labels
    )


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda found: quote(found.group(), safe="", errors="replace"), text)


# -- Header values ---------------------------------------------------------------------------------------------------


def http_date(value: str) -> float | None:
    """
    Seconds since the epoch, or None for anything that is no date after 1970.
    """
    try:
        seconds = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    return seconds if seconds > 0 else None


def retry_after_s(value: str, now: float) -> float | None:
    """
    How long a Retry-After asks to wait, at most five minutes; None when it says nothing usable (S6).
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    at = http_date(value)
    return None if at is None or at <= now else min(at - now, MAX_RETRY_AFTER_S)


def content_range(value: str) -> ByteRange | None:
    """
    The range a 206 says it holds; None when it does not say so in bytes.
    """
    found = _CONTENT_RANGE.fullmatch(value.strip())
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    if last < first or (found[3] != "*" and int(found[3]) <= last):  # invalid, RFC 9110 14.4
        return None
    return ByteRange(offset_bytes=first, length_bytes=last - first + 1)


# -- Bodies ----------------------------------------------------------------------------------------------------------


class Slice:
    """
    Cuts the wanted range out of a whole body that streams by (a server that ignores Range).
    """

    def __init__(self, wanted: ByteRange, url: str) -> None:
        self._skip = wanted.offset_bytes
        self._left = wanted.length_bytes
        self._wanted = wanted
        self._url = url

    @property
    def complete(self) -> bool:
        """Whether nothing more is needed."""
        return self._left == 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The wanted part of the next `chunk`."""
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        kept = chunk[skipped : skipped + self._left]
        self._left -= len(kept)
        return [kept] if kept else []

    def finish(self) -> list[bytes]:
        """Nothing is left over; raises `Truncated` when the body ended too early."""
        if self._left:
            got = self._wanted.length_bytes - self._left
            raise Truncated(url=self._url, expected=self._wanted.length_bytes, got=got)
        return []


class Inflate:
    """
    Decodes gzip and deflate with a bound: 100 bytes for one, once a MiB is out (trap 5).

    What is labelled gzip but is not passes as it is: servers that label an already decoded file are common, and the
    content is judged later anyway. `labelled` is "gzip", "deflate", or "" for a body that merely may be gzip.
    """

    complete = False

    _FREE_BYTES = 1024 * 1024
    _RATIO = 100
    _PIECE_BYTES = 256 * 1024

    def __init__(self, labelled: str, url: str) -> None:
        self._labelled = labelled
        self._url = url
        self._start: bytes | None = b""  # what came before the first two bytes were there; None once decided
        self._decoder: zlib._Decompress | None = None
        self._between = b""
        """The first byte of what may be the next member."""
        self._in_padding = False
        self._taken = 0
        self._given = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        What `chunk` decodes to.

        Raises:
            DecompressionBomb: over the bound.
            BadResponse: damaged.
        """
        self._taken += len(chunk)
        if self._start is not None:
            chunk = self._start + chunk
            if len(chunk) < 2:
                self._start = chunk
                return []
            self._start = None
            self._decoder = self._decoder_for(chunk)
        return [chunk] if self._decoder is None else self._decoded(chunk)

    def finish(self) -> list[bytes]:
        """What was still held back; raises `Truncated` when the compressed stream is not at its end."""
        if self._decoder is None:
            return [self._start] if self._start else []  # a single byte decides nothing
        last = self._decoder.flush()
        if not self._decoder.eof:
            raise Truncated(url=self._url, expected="?", got=self._taken)
        return [last] if last else []

    def _decoder_for(self, start: bytes) -> "zlib._Decompress | None":
        if self._labelled == "deflate":
            has_zlib_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2]) % 31 == 0
            return zlib.decompressobj(15 if has_zlib_header else -15)
        return zlib.decompressobj(31) if start[:2] == b"\x1f\x8b" else None

    def _decoded(self, chunk: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        chunk = self._between + chunk
        self._between = b""
        while chunk and self._decoder is not None and not self._in_padding:
            if self._decoder.eof:
                if chunk == b"\x1f":
                    self._between = chunk
                    break
                if chunk[:2] != b"\x1f\x8b":
                    self._in_padding = True  # after the last member, which gunzip ignores too
                    break
                self._decoder = zlib.decompressobj(31)  # gzip files may be several, one after another
            try:
                piece = self._decoder.decompress(chunk, self._PIECE_BYTES)
            except zlib.error as error:
                raise BadResponse(
                    url=self._url, reason=Said("压缩数据已损坏", "its compressed data is damaged")
                ) from error
            chunk = self._decoder.unconsumed_tail or self._decoder.unused_data
            if piece:
                pieces.append(piece)
            self._given += len(piece)
            if self._given > max(self._FREE_BYTES, self._RATIO * self._taken):
                raise DecompressionBomb(url=self._url)
        return pieces
