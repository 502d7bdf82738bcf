"""
Damaged and hostile segments: the span they cover is lost, is named, and nothing else happens.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mux.conftest import Outcome, Stream, Streams, assert_whole, frame_hashes, packet_times, seg

Mux = Callable[..., Outcome]


def flipped(media: bytes, count: int) -> bytes:
    """`media` with `count` bits turned, always the same ones."""
    body = bytearray(media)
    for n in range(count):
        where = int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:8]) % (len(body) * 8)
        body[where // 8] ^= 1 << where % 8
    return bytes(body)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "nothing in it": lambda media: b"",
    "an HTML page": lambda media: b"<!DOCTYPE html><html><title>404</title></html>\n" * 30,
    "random bytes": lambda media: flipped(bytes(len(media)), 20_000),
    "a playlist": lambda media: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "the first half": lambda media: media[: len(media) // 2],
    "cut off after 1000 bytes": lambda media: media[:1000],
    "garbage inside": lambda media: media[:9000] + flipped(bytes(10_000), 9_000) + media[19_000:],
    "200 bits turned": lambda media: flipped(media, 200),
    "5000 bits turned": lambda media: flipped(media, 5000),
    "garbage behind": lambda media: media + flipped(bytes(10_000), 9_000),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("kind", ["plain", "fmp4"])
def test_damage_stays_where_it_is(kind: str, damage: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """One damaged segment of eight costs at most its own time and its neighbours' edges; it is named if all is lost."""
    stream: Stream = getattr(streams, kind)()
    orders = stream.orders()
    bad = tmp_path / "bad"
    bad.write_bytes(DAMAGE[damage](stream.segments[4].read_bytes()))
    orders[4] = orders[4] | {"path": str(bad)}
    outcome = mux(orders)
    assert "done" == outcome.last["ev"], outcome.reports[-2:]
    video = packet_times(outcome.target, "video")
    assert 174 <= len(video) <= 202
    assert pytest.approx(8.0, abs=0.3) == outcome.last["dur"]
    assert len([time for time in video if time < 3.9]) >= 97
    assert len([time for time in video if time > 5.1]) >= 70
    if len(video) < 176:
        assert 5 in outcome.warned or 6 in outcome.warned


@pytest.mark.parametrize("place", [0, 7], ids=["first", "last"])
def test_a_damaged_end(place: int, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """The same at either end."""
    bad = tmp_path / "bad"
    bad.write_bytes(b"<html>")
    orders = streams.plain().orders()
    orders[place] = orders[place] | {"path": str(bad)}
    outcome = mux(orders)
    assert ("done", 175, [place + 1]) == (outcome.last["ev"], len(frame_hashes(outcome.target)), outcome.warned[:1])


def test_all_damaged(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """If no segment is media there is no file, and that is said."""
    bad = tmp_path / "bad"
    bad.write_bytes(b"<html>" * 100)
    outcome = mux([seg(1, bad), seg(2, bad)])
    assert ("failed", "no_media", [1, 2]) == (outcome.last["ev"], outcome.last["fault"], outcome.warned)


def test_segments_disguised_as_images(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """An image header before every segment changes nothing."""
    orders = streams.plain().orders()
    for number, order in enumerate(orders):
        disguised = tmp_path / f"{number}.png"
        disguised.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200) + Path(str(order["path"])).read_bytes())
        order["path"] = str(disguised)
    assert_whole(mux(orders), streams.plain())


def test_other_files_are_never_opened(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A segment that names another file for a demuxer to open is no media (R-DEM-1)."""
    for number, text in enumerate([b"ffconcat version 1.0\nfile 'canary.ts'\n", b"#EXTM3U\n#EXTINF:4,\ncanary.ts\n"]):
        (tmp_path / f"{number}.ts").write_bytes(text)
    (tmp_path / "canary.ts").write_bytes(streams.plain().segments[0].read_bytes())
    outcome = mux([seg(number + 1, tmp_path / f"{number}.ts") for number in range(2)])
    assert ("failed", "no_media") == (outcome.last["ev"], outcome.last["fault"])
