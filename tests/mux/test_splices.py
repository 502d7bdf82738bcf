"""
Clocks set anew and segments left out: where everything stands afterwards.
"""

from collections.abc import Callable

import av
import pytest

from tests.mux.conftest import (
    Outcome,
    Streams,
    assert_whole,
    frame_hashes,
    gap,
    largest_step,
    lead,
    packet_pts,
    packet_times,
    source_lead,
)

Mux = Callable[..., Outcome]


class TestSplices:
    """Clocks that are set anew."""

    @pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "not tagged"])
    def test_ts_with_a_new_clock(self, tagged: bool, streams: Streams, mux: Mux) -> None:
        """Film, advertisement, film: nothing lost, no hole, and sound where it was, announced or not."""
        film, spot = streams.plain(), streams.other()
        orders = film.orders(only=slice(4)) + spot.orders(first=5, splice=1 if tagged else 0)
        orders += film.orders(first=9, splice=2 if tagged else 0, only=slice(4, 8))
        outcome = mux(orders)
        assert film.frames[:100] + spot.frames + film.frames[100:] == frame_hashes(outcome.target)
        assert film.audio_packets + spot.audio_packets == len(packet_times(outcome.target, "audio"))
        # Segments cut sound and picture up to a frame apart: what is left of that at a joint is no hole of ours.
        assert max(largest_step(outcome.target, kind) for kind in ("video", "audio")) <= 0.15
        assert pytest.approx(12.0, abs=0.2) == outcome.last["dur"]
        heard = sum(len(packet_times(segment, "audio")) for segment in film.segments[:4])
        after_joint = packet_pts(outcome.target, "video")[100] - packet_pts(outcome.target, "audio")[heard]
        assert pytest.approx(source_lead(spot), abs=0.001) == after_joint

    def test_fmp4_with_another_init_section(self, streams: Streams, mux: Mux) -> None:
        """Fragments of two encodings follow each other, without a hole, each decoded by its own parameters."""
        film = streams.fmp4()
        spot = streams.get("spot-fmp4", seconds=3, fmp4=True, video="mandelbrot=s=320x180:r=25")
        outcome = mux(film.orders() + spot.orders(first=9, splice=1) + film.orders(first=12, splice=2))
        assert_whole(outcome, film, spot, film)
        assert largest_step(outcome.target, "video") <= 0.09
        # From the first change on, and when switching back, key frames begin with an SPS (type 7) of their own.
        with av.open(str(outcome.target)) as container:
            video = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        assert [7, 7] == [video[n][4] & 0x1F for n in (200, 275)]
        assert 2 <= outcome.target.read_bytes().count(b"avcC")

    def test_ts_with_another_picture_size(self, streams: Streams, mux: Mux) -> None:
        """A change of resolution and back decodes without error: a second sample description is written."""
        film, spot = streams.plain(), streams.get("wide", seconds=3, video="mandelbrot=s=320x180:r=25")
        outcome = mux(film.orders() + spot.orders(first=9, splice=1) + film.orders(first=12, splice=2))
        assert_whole(outcome, film, spot, film)

    def test_pids_that_change(self, streams: Streams, mux: Mux) -> None:
        """A new PMT in the middle, not announced, loses nothing."""
        film = streams.plain()
        moved = streams.get("moved", seconds=4, hls=("-hls_ts_options", "mpegts_start_pid=768"))
        outcome = mux(film.orders() + moved.orders(first=9))
        assert_whole(outcome, film, moved)

    @pytest.mark.parametrize("start_s", [95440, 95443.717], ids=["after 3 s", "at once"])
    def test_a_clock_that_wraps(self, start_s: float, streams: Streams, mux: Mux) -> None:
        """The 33-bit clock passes its end: no jump, no loss, sound where it was."""
        # The hls muxer adds 1.4 s of its own.
        stream = streams.get(f"wrap-{start_s}", seconds=8, hls=("-output_ts_offset", start_s - 1.4))
        outcome = mux(stream.orders())
        assert_whole(outcome, stream)
        assert [] == outcome.warned
        assert largest_step(outcome.target, "video") <= 0.06
        plain = mux(streams.plain().orders(), target=outcome.target.with_name("plain.mp4"))
        assert pytest.approx(lead(plain.target), abs=0.001) == lead(outcome.target)

    def test_a_segment_that_comes_twice(self, streams: Streams, mux: Mux) -> None:
        """A duplicate is repeated content, picture and sound alike."""
        film = streams.plain()
        outcome = mux(film.orders(only=slice(4)) + film.orders(first=5, only=slice(3, 8)))
        assert film.frames[:100] + film.frames[75:] == frame_hashes(outcome.target)
        assert pytest.approx(9.0, abs=0.1) == outcome.last["dur"]
        assert largest_step(outcome.target, "audio") <= 0.08

    def test_sound_that_starts_late(self, streams: Streams, mux: Mux) -> None:
        """Audio that begins 14 s in is found, whole and at its place."""
        stream = streams.get("late", seconds=18, late_audio_s=14, video="color=s=64x36:r=25")
        outcome = mux(stream.orders())
        assert_whole(outcome, stream)
        assert pytest.approx(-14, abs=0.1) == lead(outcome.target)

    def test_sound_that_only_comes_with_a_later_run(self, streams: Streams, mux: Mux) -> None:
        """What one MP4 cannot hold is refused, naming the segment, instead of being left out."""
        mute = streams.get("mute", seconds=3, audio="")
        outcome = mux(mute.orders() + streams.plain().orders(first=4, splice=1))
        assert ("failed", "unsupported") == (outcome.last["ev"], outcome.last["fault"])
        assert "第 4 个分片" in str(outcome.last["reason"])

    def test_a_codec_that_changes(self, streams: Streams, mux: Mux) -> None:
        """The same for another codec."""
        outcome = mux(
            streams.plain().orders()
            + streams.get("ac3", seconds=3, audio_codec=("-c:a", "ac3")).orders(first=9, splice=1)
        )
        assert ("failed", "unsupported") == (outcome.last["ev"], outcome.last["fault"])


class TestGaps:
    """Segments that are not there."""

    def test_a_kept_hole_keeps_its_time(self, streams: Streams, mux: Mux) -> None:
        """What follows a kept hole stays where its clock says."""
        film = streams.plain()
        orders = film.orders()
        orders[3:5] = [gap(4, keep=True), gap(5, keep=True)]
        outcome = mux(orders)
        assert film.frames[:75] + film.frames[125:] == frame_hashes(outcome.target)
        assert pytest.approx(8.0, abs=0.1) == outcome.last["dur"]
        assert pytest.approx(2.04, abs=0.1) == largest_step(outcome.target, "video")
        assert [] == outcome.warned

    def test_a_closed_hole_takes_no_time(self, streams: Streams, mux: Mux) -> None:
        """What follows a skipped segment moves up, picture and sound together."""
        film = streams.plain()
        orders = film.orders()
        orders[3:5] = [gap(4, keep=False), gap(5, keep=False)]
        outcome = mux(orders)
        assert film.frames[:75] + film.frames[125:] == frame_hashes(outcome.target)
        assert pytest.approx(6.0, abs=0.1) == outcome.last["dur"]
        assert largest_step(outcome.target, "video") <= 0.1
        assert largest_step(outcome.target, "audio") <= 0.1

    def test_a_hole_of_more_than_ten_seconds(self, streams: Streams, mux: Mux) -> None:
        """An announced hole is kept however long it is."""
        film = streams.get("long", seconds=18, video="color=s=64x36:r=25")
        orders = film.orders()
        orders[2:16] = [gap(n, keep=True) for n in range(3, 17)]
        outcome = mux(orders)
        assert pytest.approx(18.0, abs=0.1) == outcome.last["dur"]
        assert pytest.approx(14.04, abs=0.1) == largest_step(outcome.target, "video")

    @pytest.mark.parametrize(
        ("at", "length_s", "frames"), [(0, 8.0, 175), (7, 7.0, 175)], ids=["first segment", "last segment"]
    )
    def test_a_hole_at_an_end(self, at: int, length_s: float, frames: int, streams: Streams, mux: Mux) -> None:
        """Time before the first segment is kept, too; after the last one there is nothing to keep it for."""
        orders = streams.plain().orders()
        orders[at] = gap(at + 1, keep=True)
        outcome = mux(orders)
        assert frames == len(frame_hashes(outcome.target))
        assert pytest.approx(length_s, abs=0.1) == outcome.last["dur"]

    def test_a_hole_at_a_splice(self, streams: Streams, mux: Mux) -> None:
        """A kept hole before a new clock lasts as long as announced."""
        film, spot = streams.plain(), streams.other()
        orders = [*film.orders(), gap(9, keep=True, duration_s=3.0, splice=1), *spot.orders(first=10, splice=1)]
        outcome = mux(orders)
        assert film.frames + spot.frames == frame_hashes(outcome.target)
        assert pytest.approx(15.0, abs=0.1) == outcome.last["dur"]

    def test_a_missing_segment_nobody_announced(self, streams: Streams, mux: Mux) -> None:
        """The hole stays, and it is named."""
        orders = streams.plain().orders()
        del orders[3]
        outcome = mux(orders)
        assert pytest.approx(8.0, abs=0.1) == outcome.last["dur"]
        assert [5] == outcome.warned[:1]

    def test_nothing_but_holes(self, mux: Mux) -> None:
        """
        Without any media nothing is written. The file was made before the box was closed, and the service removes it
        (`test_no_media`).
        """
        outcome = mux([gap(1, keep=True), gap(2, keep=False)])
        assert ("failed", "no_media", b"") == (outcome.last["ev"], outcome.last["fault"], outcome.target.read_bytes())
