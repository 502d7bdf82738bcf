"""
Verification: a file that is not what was counted is refused, and a wrong EXTINF is not.
"""

from collections.abc import Callable
from fractions import Fraction

import pytest

from m3u8svc.mux.job import verify
from m3u8svc.mux.protocol import Refused
from m3u8svc.mux.remux import Track
from m3u8svc.mux.timeline import Entry, First, Lane, Timeline
from tests.mux.conftest import Outcome, Streams


class Written:
    """
    A finished file, as verification reads it.
    """

    def __init__(self, media: bytes) -> None:
        self._media = media
        self.size_bytes = len(media)

    def pread(self, size: int, at: int) -> bytes:
        """Bytes of it."""
        return self._media[at : at + size]


def lane(seconds: float) -> Lane:
    """A lane that was written for this long."""
    timeline = Timeline()
    made = timeline.add_lane(rate=1000, snaps=False)
    made.enter_run(numerator=1, denominator=1000, step_ticks=1, wraps=False)
    timeline.enter((0, 0), [Entry(lanes=(made,), firsts=(First(lane=made, dts_ns=0, pts_ns=0),))])
    made.stamp(0, 0, 1)
    made.stamp(int(seconds * 1000) - 1, None, 1)
    return made


def track(kind: str, packets: int, *, dropped: int = 0, seconds: float = 8.0) -> Track:
    """A track with these counters."""
    counted = Track(
        kind=kind,
        codec="",
        stream=None,
        lane=lane(seconds),
        time_base=Fraction(1, 1000),
        extradata=b"",
        dropped=dropped,
    )
    counted.written, counted.read = packets, packets + dropped
    return counted


def tracks(video: int, audio: int, *, dropped: int = 0, seconds: float = 8.0) -> list[Track]:
    """A picture and a sound track."""
    return [track("video", video, dropped=dropped, seconds=seconds), track("audio", audio)]


@pytest.fixture(scope="session")
def plain(streams: Streams, tmp_path_factory: pytest.TempPathFactory, mux_into: Callable[..., Outcome]) -> Written:
    """8 s with 200 frames and 346 packets of sound."""
    outcome = mux_into(tmp_path_factory.mktemp("verify") / "out.mp4", streams.plain().orders())
    return Written(outcome.target.read_bytes())


@pytest.mark.parametrize(
    "counted",
    [
        tracks(200, 346),
        tracks(199, 346, dropped=1),  # the error of a queued packet surfaces at another
    ],
    ids=["exact", "after a drop"],
)
def test_what_was_counted_is_there(counted: list[Track], plain: Written) -> None:
    """The file agrees."""
    assert pytest.approx(8.03, abs=0.05) == verify(plain, counted).duration_s


@pytest.mark.parametrize(
    "counted",
    [
        tracks(201, 346),
        tracks(200, 345),
        tracks(200, 346)[:1],
        tracks(200, 346)[::-1],
        tracks(200, 346, seconds=9.0),
        [*tracks(200, 346), track("audio", 5)],
    ],
    ids=["a frame short", "a packet too many", "a track too many", "other order", "too short", "a track short"],
)
def test_what_was_not_counted_is_refused(counted: list[Track], plain: Written) -> None:
    """The file differs from the counters."""
    with pytest.raises(Refused):
        verify(plain, counted)


def test_packets_that_vanished(plain: Written) -> None:
    """What was read must have been written or named as dropped."""
    counted = tracks(200, 346)
    counted[0].read += 1
    with pytest.raises(Refused, match="201"):
        verify(plain, counted)
