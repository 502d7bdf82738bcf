"""
Playlists that are made to exhaust who reads them: a named failure within the limits, and little memory for it.
"""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.rig import END, LINES, Hostile, bounded
from tests.integration.service_child import Service

Pieces = Callable[[], Iterator[bytes]]


def one_line() -> Iterator[bytes]:
    """A line of 10^9 bytes."""
    yield b"#EXTM3U\n#"
    yield from itertools.repeat(b"x" * 1_000_000, 1000)


def segments(count: int) -> Pieces:
    """So many segments."""
    entry = b"#EXTINF:1,\na\n"
    return lambda: itertools.chain([LINES.encode()], itertools.repeat(entry * 1000, count // 1000), [END.encode()])


def keys(count: int) -> Pieces:
    """So many keys, each its own."""

    def write() -> Iterator[bytes]:
        yield LINES.encode()
        for begin in range(0, count, 1000):
            numbers = range(begin, begin + 1000)
            lines = [f'#EXT-X-KEY:METHOD=AES-128,URI="k{number}"\n#EXTINF:1,\na\n' for number in numbers]
            yield "".join(lines).encode()
        yield END.encode()

    return write


def text(body: str) -> Pieces:
    """This playlist."""
    return lambda: iter([f"{LINES}{body}\n{END}".encode()])


@pytest.mark.parametrize(
    ("pieces", "codes"),
    [
        (one_line, {"body_too_large", "playlist_too_large"}),
        (segments(10_000_000), {"body_too_large", "playlist_too_large"}),
        (segments(201_000), {"playlist_too_large"}),
        (keys(1_000_000), {"body_too_large", "playlist_too_large"}),
        (keys(11_000), {"playlist_too_large"}),
        (text("#EXTINF:1,\n#EXT-X-BYTERANGE:9223372036854775808@0\na"), {"bad_playlist"}),
        (text("#EXTINF:1,\n#EXT-X-BYTERANGE:1@9223372036854775808\na"), {"bad_playlist"}),
        (text("#EXTINF:1,\n#EXT-X-BYTERANGE:-1@5\na"), {"bad_playlist"}),
    ],
    ids=["long line", "10^7 segments", "201,000", "10^6 keys", "11,000 keys", "2^63", "offset of 2^63", "negative"],
)
def test_a_playlist_over_its_limits(service: Service, server: Hostile, pieces: Pieces, codes: set[str]) -> None:
    """The task fails with the limit's code, having asked for nothing else; memory grows by 100 MiB at most."""
    server.answers["/a.m3u8"] = lambda visit: visit.stream(pieces())
    with bounded(service, 100):
        task = service.fail(f"{server.base}/a.m3u8", "film", download_threads=1)
    assert task["err_code"] in codes
    assert {"/a.m3u8"} == {path for path, _ in server.asked}


@pytest.mark.parametrize("duration", ["-1", "nan", "inf", "1e308", "1e999", "9" * 400, "0x10"])
def test_a_duration_that_is_none(service: Service, server: Hostile, duration: str) -> None:
    """The line is named, and no segment is asked for."""
    server.answers["/a.m3u8"] = f"{LINES}#EXTINF:{duration},\na.ts\n{END}".encode()
    with bounded(service, 100):
        task = service.fail(f"{server.base}/a.m3u8", "film")
    assert "bad_playlist" == task["err_code"]
    assert ["/a.m3u8"] == [path for path, _ in server.asked]


def test_playlists_that_lead_to_each_other(service: Service, server: Hostile) -> None:
    """A master that leads to a master that leads back is given up after three levels."""
    for here, there in (("/a.m3u8", "b.m3u8"), ("/b.m3u8", "a.m3u8")):
        server.answers[here] = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{there}\n".encode()
    with bounded(service, 100):
        task = service.fail(f"{server.base}/a.m3u8", "film")
    assert "playlist_too_deep" == task["err_code"]
    assert len(server.asked) <= 4


def test_a_page_full_of_links(service: Service, server: Hostile) -> None:
    """Megabytes of a page that names a million playlists are no million requests."""
    server.answers["/"] = b'<html><a href="/x.m3u8?' + b'"><a href="/x.m3u8?'.join([b"y"] * 1_000_000) + b'">'
    with bounded(service, 150):
        service.fail(f"{server.base}/", "film")
    assert len(server.asked) < 30
