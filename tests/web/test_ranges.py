"""
Which part of a file is meant, and what it is called: tables.
"""

import pytest

from m3u8svc.errors import RangeNotSatisfiable
from m3u8svc.web.ranges import Span, Version, disposition, is_known, media_type, range_of, wanted_span

VERSION = Version.of("12:34:56", 784111777.9)
OTHER = Version.of("12:34:57", 784111777.9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-", Span(0, 100)),
        ("bytes=99-", Span(99, 100)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=10-99999", Span(10, 100)),
        ("bytes=-1", Span(99, 100)),
        ("bytes=-100", Span(0, 100)),
        ("bytes=-500", Span(0, 100)),
        ("bytes= 1-2 ", Span(1, 3)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0-1x", None),
        ("bytes=" + "9" * 4400 + "-", None),
        ("bytes=\u0661-", None),
    ],
)
def test_span(given, expected):
    """Of a file of 100 bytes; what is no single range of bytes is not refused, it only counts for nothing."""
    assert expected == wanted_span(given, 100)


@pytest.mark.parametrize(
    ("given", "size"),
    [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_span_outside(given, size):
    """Not a byte of it is there."""
    with pytest.raises(RangeNotSatisfiable, match=f"{size} bytes"):
        wanted_span(given, size)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], False),
        ([VERSION.etag], True),
        ([f"W/{VERSION.etag}"], True),
        ([f'"x", {VERSION.etag}'], True),
        (['"x"', VERSION.etag], True),
        (["*"], True),
        ([OTHER.etag], False),
        ([VERSION.etag.strip('"')], False),
        ([""], False),
    ],
)
def test_known(given, expected):
    """Whether one of the tags is that of the file."""
    assert expected == is_known({"if-none-match": given}, VERSION.etag)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ""),
        ({"range": ["bytes=1-"]}, "bytes=1-"),
        ({"range": ["bytes=1-", "bytes=2-"]}, ""),
        ({"range": ["bytes=1-"], "if-range": [VERSION.etag]}, "bytes=1-"),
        ({"range": ["bytes=1-"], "if-range": [f"W/{VERSION.etag}"]}, ""),
        ({"range": ["bytes=1-"], "if-range": [OTHER.etag]}, ""),
        ({"range": ["bytes=1-"], "if-range": ["Sun, 06 Nov 1994 08:49:37 GMT"]}, "bytes=1-"),
        ({"range": ["bytes=1-"], "if-range": ["Sun, 06 Nov 1994 08:49:38 GMT"]}, ""),
    ],
)
def test_range_of(headers, expected):
    """A part is only of use beside other parts of the same content."""
    assert expected == range_of(headers, VERSION)


@pytest.mark.parametrize(
    ("name", "download", "expected"),
    [
        ("film.mp4", False, "inline; filename=\"film.mp4\"; filename*=UTF-8''film.mp4"),
        ("film.mp4", True, "attachment; filename=\"film.mp4\"; filename*=UTF-8''film.mp4"),
        ("电 a.mp4", True, "attachment; filename=\"_ a.mp4\"; filename*=UTF-8''%E7%94%B5%20a.mp4"),
        ('a"b\\%41;.mp4', True, "attachment; filename=\"a_b__41;.mp4\"; filename*=UTF-8''a%22b%5C%2541%3B.mp4"),
        ("a\r\nX: y.mp4", True, "attachment; filename=\"a__X: y.mp4\"; filename*=UTF-8''a%0D%0AX%3A%20y.mp4"),
        ("\udcff.mp4", True, "attachment; filename=\"_.mp4\"; filename*=UTF-8''%FF.mp4"),
        ("page.html", False, "attachment; filename=\"page.html\"; filename*=UTF-8''page.html"),
    ],
)
def test_disposition(name, download, expected):
    """Always ASCII and in one line; the real name stands beside it, and what is no film is never shown."""
    assert expected == disposition(name, download=download)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mp4", "video/mp4"),
        ("a.b.TS", "video/mp2t"),
        ("a.m4a", "audio/mp4"),
        ("a.svg", "application/octet-stream"),
        ("mp4", "application/octet-stream"),
    ],
)
def test_media_type(name, expected):
    """By the end of the name, from a short list."""
    assert expected == media_type(name)
