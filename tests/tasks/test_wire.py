"""
What goes over the wire, in tables: URLs, redirects, dates, ranges, compressed bodies.
"""

import gzip
import random
import zlib

import pytest

from m3u8svc.errors import (
    BadResponse,
    DecompressionBomb,
    InvalidUrl,
    M3u8svcError,
    RedirectError,
    Truncated,
    UnsupportedScheme,
)
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.tasks.wire import Inflate, Slice, content_range, http_date, redirected_url, retry_after_s, wire_url

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://a.example", "http://a.example/"),
        ("HTTP://A.Example:80/x#f", "http://a.example/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("https://a.example:80/x", "https://a.example:80/x"),
        ("http://a.example/%7e/%2F//b;c?a=%2b+b&&c=%zz", "http://a.example/%7e/%2F//b;c?a=%2b+b&&c=%zz"),
        ("http://a.example/a b", "http://a.example/a%20b"),
        ("http://a.example/视?名=值", "http://a.example/%E8%A7%86?%E5%90%8D=%E5%80%BC"),
        ("http://a.example/\ud800", "http://a.example/%3F"),
        ("http://a.example/x?a=\\b", "http://a.example/x?a=%5Cb"),
        ("http://媒体.中国/", "http://xn--tqqy7y.xn--fiqs8s/"),
        ("http://a_b.example/", "http://a_b.example/"),
        (f"http://{'a.' * 126}b./", f"http://{'a.' * 126}b./"),  # 253 bytes; the dot of the root is not counted
        (f"http://{'a' * 63}.example/", f"http://{'a' * 63}.example/"),
        ("http://r3---sn-x.example/", "http://r3---sn-x.example/"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://[0:0::1]/x", "http://[::1]/x"),
        ("http://127.1/x", "http://127.1/x"),
        ("http://u:p@a.example/x", "http://a.example/x"),
        ("  http://a.example/x  ", "http://a.example/x"),
    ],
)
def test_urls_go_out_as_they_were_written(url: str, text: str) -> None:
    """Only what HTTP cannot carry changes; sending the result again changes nothing."""
    assert wire_url(url).text == text
    assert wire_url(text).text == text


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", UnsupportedScheme),
        ("a.example/x", UnsupportedScheme),
        ("ftp://a.example/", UnsupportedScheme),
        ("file:///etc/passwd", UnsupportedScheme),
        ("data:text/plain,x", UnsupportedScheme),
        ("http://", InvalidUrl),
        ("http:///x", InvalidUrl),
        ("http://a.example:0/", InvalidUrl),
        ("http://a.example:65536/", InvalidUrl),
        ("http://a.example:x/", InvalidUrl),
        ("http://[::1/", InvalidUrl),
        ("http://[zz::]/", InvalidUrl),
        ("http://a..example/", InvalidUrl),
        (f"http://{'a' * 64}.example/", InvalidUrl),
        (f"http://{'a.' * 127}b/", InvalidUrl),
        (f"http://{'媒' * 60}.example/", InvalidUrl),  # over 63 bytes once it is encoded
        ("http://-/x", InvalidUrl),
        ("http://xn--/", InvalidUrl),
        ("http://.example/", InvalidUrl),
        ("http://a b.example/", InvalidUrl),
        ("http://a%20b.example/", InvalidUrl),
        ("http://a.example\\@evil.example/", InvalidUrl),
        ("http://a.example/x\\..\\y", InvalidUrl),
        ("http://a.example/\r\nHost: x", InvalidUrl),
        ("http://a.example/\x00", InvalidUrl),
        ("http://\ud800.example/", InvalidUrl),
    ],
)
def test_what_is_no_url_to_request_is_refused(url: str, kind: type[M3u8svcError]) -> None:
    """A clear error of ours, whatever the text."""
    with pytest.raises(kind):
        wire_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a.example/\x00", "含有控制字符"),
        ("http://a.example/\x1fb", "含有控制字符"),
        ("http://a.example/\x7f", "含有控制字符"),
        ("http://a.example/x\\y", "含有反斜杠"),
        ("http://a.example\\/", "含有反斜杠"),
        ("http://a.example:0/", "端口为 0"),
        ("http:///x", "缺少主机名"),
        ("http://[zz::]/", None),  # in the words of Python, of any version
        ("http://a..example/", "主机名无效"),
        (f"http://{'媒' * 60}.example/", "主机名无效"),
    ],
)
def test_a_refused_url_says_why(url: str, reason: str | None) -> None:
    """With the URL itself, as it was given."""
    with pytest.raises(InvalidUrl) as caught:
        wire_url(url)
    assert url == caught.value.fields["url"]
    assert reason is None or reason == caught.value.fields["reason"]


@pytest.mark.parametrize(("url", "scheme"), [("ftp://a.example/", "ftp"), ("a.example/x", "")])
def test_a_refused_scheme_is_named(url: str, scheme: str) -> None:
    """Or that there is none."""
    with pytest.raises(UnsupportedScheme) as caught:
        wire_url(f" {url} ")
    assert (url, scheme) == (caught.value.fields["url"], caught.value.fields["scheme"])


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://a.example/x", ("http", "a.example", 80), "a.example"),
        ("https://a.example/x", ("https", "a.example", 443), "a.example"),
        ("https://a.example:80/x", ("https", "a.example", 80), "a.example:80"),
        ("http://[::1]/x", ("http", "::1", 80), "[::1]"),
        ("http://[::1]:8080/x", ("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_whom_a_url_speaks_to(url: str, origin: tuple[str, str, int], authority: str) -> None:
    """A port that goes without saying is not said."""
    assert (origin, authority) == (wire_url(url).origin, wire_url(url).authority)


@pytest.mark.parametrize("host", ["a", "a.", "1.2.3.4", "x" * 63, f"{'a.' * 126}b"])
def test_names_that_a_resolver_takes(host: str) -> None:
    """Up to their full length."""
    assert host == wire_url(f"http://{host}/").host


@pytest.mark.parametrize("host", [".", "a..b", "a..", "x" * 64, f"{'a.' * 126}bc", "a.-.b", "xn--.b"])
def test_names_that_no_resolver_takes(host: str) -> None:
    """Every label has something in it, and no more than there is room for."""
    with pytest.raises(InvalidUrl):
        wire_url(f"http://{host}/")


def test_userinfo_is_kept_apart_and_hidden() -> None:
    """Decoded for the Authorization header; never printed."""
    wire = wire_url("http://me:p%40ss@a.example/")

    assert wire.userinfo == b"me:p@ss"
    assert "p@ss" not in repr(wire)


@pytest.mark.parametrize(
    ("current", "location", "target"),
    [
        ("http://a.example/d/x?q", "y", "http://a.example/d/y"),
        ("http://a.example/d/x", "/y?t=%2F", "http://a.example/y?t=%2F"),
        ("http://a.example/d/x", "//b.example/y#f", "http://b.example/y"),
        ("https://a.example/d/x", "http://b.example/y", "http://b.example/y"),
        ("http://a.example/d/x?q", "?r", "http://a.example/d/x?r"),
        ("http://a.example/", "  /视 ", "http://a.example/%E8%A7%86"),
    ],
)
def test_redirects_are_absolute_against_the_current_hop(current: str, location: str, target: str) -> None:
    """RFC 9110, 10.2.2."""
    assert redirected_url(current, location) == target


def test_a_refused_redirect_says_from_where() -> None:
    """The URL that sent us there, and what is wrong with the other one."""
    for location, reason in [
        ("http://u@b.example/", "目标链接带有用户名"),
        ("ftp://b.example/", "不支持的链接类型“ftp”：ftp://b.example/"),
        ("http://[/", "Invalid IPv6 URL"),
    ]:
        with pytest.raises(RedirectError) as caught:
            redirected_url("http://a.example/", location)
        assert ("http://a.example/", reason) == (caught.value.fields["url"], caught.value.fields["reason"])
        assert caught.value.text("en").isascii() or "“ftp”" in caught.value.text("en")


@pytest.mark.parametrize("location", ["file:///x", "javascript:x", "http://u@b.example/", "http://[/", "/a\tb\r\n"])
def test_redirects_elsewhere_are_refused(location: str) -> None:
    """Only http and https, without userinfo, well formed."""
    if location == "/a\tb\r\n":
        location = "/a\x01b"
    with pytest.raises(RedirectError):
        redirected_url("http://a.example/", location)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("1000000000", 300.0),
        ("9" * 5000, 300.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10.0),
        ("Tue, 14 Nov 2023 23:13:20 GMT", 300.0),
        ("Tue, 14 Nov 2023 22:13:20 GMT", None),
        ("Tue, 14 Nov 1999 22:13:20 GMT", None),
        ("Tue, 99 Nov 2023 22:13:20 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds or a date ahead, at most five minutes; garbage, negative numbers and the past say nothing (S6)."""
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", NOW),
        ("Tuesday, 14-Nov-23 22:13:20 GMT", NOW),
        ("", None),
        ("yesterday", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 1.0),
    ],
)
def test_dates(value: str, seconds: float | None) -> None:
    """What is no date after 1970 is none."""
    assert http_date(value) == seconds


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("bytes 0-0/1", (0, 1)),
        ("Bytes 10-19/*", (10, 10)),
        (" bytes  10-19/100 ", (10, 10)),
        ("bytes 10-9/100", None),
        ("bytes 10-19/20", (10, 10)),
        ("bytes 10-19/19", None),
        ("bytes */100", None),
        ("bytes 10-19", None),
        ("items 0-1/2", None),
        ("bytes 0-99999999999999999999/*", None),
        ("", None),
    ],
)
def test_content_ranges(value: str, held: tuple[int, int] | None) -> None:
    """Bytes from, how many; anything else is no answer to a range."""
    expected = None if held is None else ByteRange(offset_bytes=held[0], length_bytes=held[1])
    assert content_range(value) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_slice_is_cut_from_any_chunks(size: int) -> None:
    """However the body is divided, the wanted bytes come out and the rest does not."""
    body = bytes(range(100))
    cut = Slice(ByteRange(offset_bytes=10, length_bytes=25), "http://a.example/")

    pieces = [piece for at in range(0, 100, size) for piece in cut.feed(body[at : at + size])]

    assert b"".join(pieces) == body[10:35]
    assert (cut.complete, cut.finish()) == (True, [])


def test_a_slice_that_was_not_filled_is_truncated() -> None:
    """It says how much was there."""
    cut = Slice(ByteRange(offset_bytes=10, length_bytes=25), "http://a.example/")
    cut.feed(bytes(20))

    with pytest.raises(Truncated) as caught:
        cut.finish()
    assert (caught.value.fields["expected"], caught.value.fields["got"]) == (25, 10)
    assert "http://a.example/" == caught.value.fields["url"]


def test_a_slice_is_complete_with_its_last_byte() -> None:
    """And not before; nothing is given out that is nothing."""
    cut = Slice(ByteRange(offset_bytes=3, length_bytes=2), "http://a.example/")
    assert ([], False) == (cut.feed(b"abc"), cut.complete)
    assert ([b"d"], False) == (cut.feed(b"d"), cut.complete)
    assert ([b"e"], True) == (cut.feed(b"ef"), cut.complete)
    assert ([], []) == (cut.feed(b"g"), cut.finish())


def stored(block: bytes, *, first: int) -> bytes:
    """A block of raw deflate that is not packed; the upper bits of its `first` byte mean nothing."""
    return bytes([first]) + len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little") + block


RAW_DEFLATE = zlib.compressobj(wbits=-15)
TEXT = b"#EXTM3U\n" * 500
BODIES = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "raw deflate": ("deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush()),
    # One has the first digit of zlib's header and one its checksum: it is one only with both.
    "raw, first digit": ("deflate", stored(TEXT[:1], first=0x08) + stored(TEXT[1:], first=0x01)),
    "raw, checksum": ("deflate", stored(TEXT[:31], first=0x00) + stored(TEXT[31:], first=0x01)),
    "unlabelled": ("", gzip.compress(TEXT)),
    "plain": ("", TEXT),
    "wrongly labelled": ("gzip", TEXT),
    "two members": ("gzip", gzip.compress(TEXT[:80]) + gzip.compress(TEXT[80:])),
    "padded": ("gzip", gzip.compress(TEXT) + bytes(5) + b"\x1f\x8b and more"),
}


@pytest.mark.parametrize("size", [1, 2, 5, 10_000])
@pytest.mark.parametrize("name", BODIES)
def test_compressed_bodies_come_out_whole_from_any_chunks(name: str, size: int) -> None:
    """Whatever the coding and however it was divided."""
    labelled, body = BODIES[name]
    decoder = Inflate(labelled, "http://a.example/")

    pieces = [piece for at in range(0, len(body), size) for piece in decoder.feed(body[at : at + size])]

    assert b"".join([*pieces, *decoder.finish()]) == TEXT


@pytest.mark.parametrize(("body", "text"), [(b"", b""), (b"\x1f", b"\x1f"), (b"#", b"#")])
def test_bodies_too_short_to_tell(body: bytes, text: bytes) -> None:
    """Nothing and a single byte are what they are."""
    decoder = Inflate("", "http://a.example/")

    assert b"".join([*decoder.feed(body), *decoder.finish()]) == text


def test_a_compressed_body_that_breaks_off_is_truncated() -> None:
    """The end of a gzip stream is part of it."""
    decoder = Inflate("gzip", "http://a.example/")
    body = gzip.compress(TEXT)[:-9]
    decoder.feed(body[:5])
    decoder.feed(body[5:])

    with pytest.raises(Truncated) as caught:
        decoder.finish()
    assert {"url": "http://a.example/", "expected": "?", "got": len(body)} == caught.value.fields


def test_damage_is_named() -> None:
    """A checksum that does not fit is a bad response."""
    body = bytearray(gzip.compress(TEXT))
    body[-8] ^= 1

    with pytest.raises(BadResponse) as caught:
        Inflate("gzip", "http://a.example/").feed(bytes(body))
    assert {"url": "http://a.example/", "reason": "压缩数据已损坏"} == caught.value.fields


@pytest.mark.parametrize(("size", "refused"), [(1024 * 1024, False), (1024 * 1024 + 1, True), (50_000_000, True)])
def test_a_bomb_is_refused_once_a_mebibyte_is_out(size: int, refused: bool) -> None:
    """Below a MiB any ratio goes; above it 100:1, seen before more than a little memory is spent."""
    body = gzip.compress(bytes(size))
    decoder = Inflate("gzip", "http://a.example/")

    if refused:
        with pytest.raises(DecompressionBomb) as caught:
            decoder.feed(body)
        assert "http://a.example/" == caught.value.fields["url"]
    else:
        assert sum(map(len, decoder.feed(body))) == size


@pytest.mark.parametrize("size", [1000, 100_000_000])
def test_a_large_body_that_is_hardly_packed_is_no_bomb(size: int) -> None:
    """What is allowed grows with what came, over all chunks."""
    text = random.Random(3).randbytes(3 * 1024 * 1024) + bytes(1024 * 1024)
    body = gzip.compress(text, 1)
    decoder = Inflate("gzip", "http://a.example/")
    pieces = [piece for at in range(0, len(body), size) for piece in decoder.feed(body[at : at + size])]
    assert b"".join(pieces) == text


def test_what_follows_the_last_member_is_not_read() -> None:
    """Not even when it looks like another one later."""
    decoder = Inflate("gzip", "http://a.example/")
    pieces = decoder.feed(gzip.compress(b"a") + b"\x00")
    pieces += decoder.feed(gzip.compress(b"b"))
    assert [b"a"] == pieces and [] == decoder.finish()
