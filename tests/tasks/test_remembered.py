"""
What a task writes down of its playlists, and what a later run makes of it.
"""

import zlib

import attrs
import pytest

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import init_identity
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.hls.rematch import pieces_of
from m3u8svc.tasks.remembered import Recollection, recollect, write_presentation
from m3u8svc.testing.playlists import MapLine, SegmentLine, media_playlist

COUNT = 5


def stream(track: str, *, token: str = "old", length_s: float = 6.0, count: int = COUNT, first: int = 0) -> Stream:
    lines = [SegmentLine(uri=f"{track}/{n}.m4s?t={token}", duration_s=length_s) for n in range(count)]
    lines[0] = attrs.evolve(lines[0], map=MapLine(uri=f"{track}/init.mp4?t={token}"))
    parsed = parse_playlist(media_playlist(lines, media_sequence=first), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Stream(track=track, playlist=parsed)


def presentation(*streams: Stream) -> Presentation:
    return Presentation(streams=streams)


def files(*streams: Stream) -> frozenset[tuple[int, str]]:
    """As if everything was fetched."""
    return frozenset(
        (piece.position, piece.identity) for each in streams for piece in pieces_of(each.playlist, each.track)
    )


def init_of(of: Stream) -> str:
    init = of.playlist.segments[0].init
    assert init is not None
    return init_identity(init, of.track)


MAIN_OLD, AUDIO_OLD = stream(MAIN), stream("audio1", first=7)
STORED = write_presentation(presentation(MAIN_OLD, AUDIO_OLD))
THERE = files(MAIN_OLD, AUDIO_OLD)


def test_the_same_again() -> None:
    """Other tokens are no change; there is nothing to write down."""
    found = recollect(STORED, presentation(stream(MAIN, token="new"), stream("audio1", token="new", first=7)), THERE)
    assert found.same
    assert (frozenset(), frozenset(), False) == (found.dropped, found.stale_inits, found.remade)
    assert [(MAIN, 5), ("audio1", 5)] == [(track, each.kept) for track, each in found.tracks]


def test_what_is_written_down_holds_no_links() -> None:
    """Tokens are secrets (5.7)."""
    assert b"h.test" not in zlib.decompress(STORED) and b"old" not in zlib.decompress(STORED)


def test_a_track_that_was_remade_takes_its_init_section_along() -> None:
    """The other one stays."""
    found = recollect(STORED, presentation(MAIN_OLD, stream("audio1", length_s=5.0, first=7)), THERE)
    assert found.remade and not found.same
    assert files(AUDIO_OLD) == found.dropped
    assert {init_of(AUDIO_OLD)} == found.stale_inits


def test_a_track_that_is_gone_leaves_nothing() -> None:
    """It may come back as another version, which nobody would notice."""
    found = recollect(STORED, presentation(MAIN_OLD), THERE)
    assert files(AUDIO_OLD) == found.dropped
    assert {init_of(AUDIO_OLD)} == found.stale_inits
    assert not found.same


def test_a_longer_list_is_written_down() -> None:
    """Nothing is lost, and yet it is not what stands there."""
    found = recollect(STORED, presentation(stream(MAIN, count=9), AUDIO_OLD), THERE)
    assert not found.same
    assert frozenset() == found.dropped


def test_a_new_track_is_written_down() -> None:
    """Else it would be unknown to the next run."""
    assert not recollect(write_presentation(presentation(MAIN_OLD)), presentation(MAIN_OLD, AUDIO_OLD), THERE).same


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"nonsense",
        STORED[:-1],
        STORED[: len(STORED) // 2],
        zlib.compress(b"[]\n"),
        zlib.compress(b'{"version":2}\n{"track":"main","first":0,"inits":[]}\n["0","0",0,1]\n'),
        zlib.compress(b'{"version":1}\n["0","0",0,1]\n'),
        zlib.compress(b'{"version":1}\n{"track":"main","first":0,"inits":[]}\n["0"]\n'),
        zlib.compress(b'{"version":1}\n{"track":"main","first":0,"inits":[]}\n["0","0",0,1]'),
    ],
)
def test_anything_else_says_nothing(stored: bytes) -> None:
    """What is illegible is as if it was not there: it is written down anew."""
    assert Recollection() == recollect(stored, presentation(MAIN_OLD), THERE)
