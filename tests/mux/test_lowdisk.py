"""
Low-disk merges by the real child: checkpoints, deaths between and inside them, and a file like any other.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import pytest

from m3u8svc.mux.lowdisk import ChunkedMp4
from m3u8svc.mux.protocol import Job, Outbox
from m3u8svc.mux.verify import read_back
from tests.mux.conftest import (
    PYTHON,
    Outcome,
    Stream,
    Streams,
    assert_whole,
    frame_hashes,
    gap,
    lead,
    packet_pts,
    packet_times,
)

Mux = Callable[..., Outcome]
LONG_GROUPS = ("-c:v", "libx264", "-preset", "veryfast", "-g", "75", "-keyint_min", "75", "-sc_threshold", "0")
Orders = Sequence[dict[str, object]]


def with_cuts(orders: Orders, every: int | Sequence[int]) -> list[dict[str, object]]:
    """The orders with a cut after so many parts each, or after these numbers of parts."""
    cut: list[dict[str, object]] = []
    for parts, order in enumerate(orders):
        if parts and (parts % every == 0 if isinstance(every, int) else parts in every):
            cut.append({"op": "cut", "parts": parts})
        cut.append(order)
    return cut


class Child:
    """
    One child that is fed line by line, and can die at any.
    """

    def __init__(self, target: Path, journal: Path, **job: object) -> None:
        line = [*PYTHON, str(os.getpid())]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.tell({"op": "job", "target": str(target), "journal": str(journal), **job})
        self.reports: list[dict[str, object]] = []

    def tell(self, order: dict[str, object]) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Iterator[dict[str, object]]:
        """Its reports as they come, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):  # cut off where it died
                self.reports.append(json.loads(line))
                yield self.reports[-1]

    def kill(self) -> None:
        """As the machine would."""
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Wait for its end; its status."""
        assert self.process.stdin is not None and self.process.stdout is not None
        status = self.process.wait(timeout=20)
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        return status


def mux_with_deaths(
    orders: Orders, target: Path, *, every: int | Sequence[int], deaths: Sequence[tuple[str, int]], **job: object
) -> tuple[Outcome, list[int]]:
    """
    Merge `orders` with cuts; children die right after the nth report of a kind. Files behind a checkpoint are removed
    as soon as it is told. Returns how the last child ended, and where each began.
    """
    journal = target.with_name("merge.journal")
    merged, begins, fatal = 0, [], list(deaths)
    while True:
        begins.append(merged)
        if not merged:
            target.unlink(missing_ok=True)  # as the service does before any attempt from the beginning
        child = Child(target, journal, merged=merged, **job)
        kind, nth = fatal.pop(0) if fatal else ("", 0)
        seen = 0
        for order in with_cuts(orders, every):
            if order["op"] == "cut" and int(order["parts"]) <= merged:  # type: ignore[call-overload]
                continue
            if order["op"] != "cut" and orders.index(order) < merged:
                continue
            child.tell(order)
        child.tell({"op": "end"})
        for report in child.hear():
            if report["ev"] == "checkpoint" and report["made"]:
                merged = int(report["parts"])  # type: ignore[call-overload]
                for order in orders[:merged]:
                    if order["op"] == "seg":
                        Path(str(order["path"])).unlink(missing_ok=True)
            seen += report["ev"] == kind
            if kind and seen == nth:
                break
        else:
            return Outcome(reports=child.reports, status=child.end(), target=target), begins
        child.kill()


def own_copy(stream: Stream, folder: Path) -> list[dict[str, object]]:
    """Orders for copies of a stream's segments, which may be removed."""
    return own_copies(stream.orders(), folder)


def own_copies(orders: Orders, folder: Path) -> list[dict[str, object]]:
    """The same for any orders."""
    folder.mkdir()
    copied = []
    for number, order in enumerate(orders):
        copy = folder / f"{number}"
        copy.write_bytes(Path(str(order["path"])).read_bytes())
        copied.append(order | {"path": str(copy)})
    return copied


@pytest.mark.parametrize("name", ["plain", "fmp4"])
@pytest.mark.parametrize("every", [1, 3])
def test_low_disk_file_is_like_any_other(name: str, every: int, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """
    Cuts change neither a frame nor a time: every packet stands where the default merge puts it. (Sound in TS may differ
    by what the source's times are rounded by: a new demuxer takes them anew.)
    """
    stream = getattr(streams, name)()
    plain = mux(stream.orders(), target=tmp_path / "plain.mp4")
    outcome = mux(with_cuts(stream.orders(), every), journal=str(tmp_path / "merge.journal"))
    assert_whole(outcome, stream)
    assert [] == outcome.warned
    for kind, tolerance_s in (("video", 0), ("audio", 0.001 if name == "plain" else 0)):
        for times in (packet_times, packet_pts):
            assert pytest.approx(times(plain.target, kind), rel=0, abs=tolerance_s) == times(outcome.target, kind)
    with av.open(str(plain.target)) as expected, av.open(str(outcome.target)) as found:
        assert pytest.approx(expected.duration, abs=1000) == found.duration
        assert [each.codec_context.extradata for each in expected.streams] == [
            each.codec_context.extradata for each in found.streams
        ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["plain", "fmp4"])
def test_death_at_any_moment_changes_nothing(seed: int, name: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Killed after reports at random, each time another child goes on at the last checkpoint, to the same bytes."""
    stream = getattr(streams, name)()
    chance = random.Random(seed)
    deaths = [(chance.choice(["checkpoint", "open", "seg"]), chance.randint(1, 2)) for _ in range(3)]
    deaths.insert(chance.randint(1, 3), (chance.choice(["closing", "done"]), 1))
    expected = mux(with_cuts(stream.orders(), 2), target=tmp_path / "one.mp4", journal=str(tmp_path / "one.journal"))
    orders = own_copy(stream, tmp_path / "segments")
    outcome, begins = mux_with_deaths(orders, tmp_path / "out.mp4", every=2, deaths=deaths)
    assert "done" == outcome.last["ev"], outcome.reports[-3:]
    assert begins == sorted(begins) and len(set(begins)) > 1
    assert expected.target.read_bytes() == outcome.target.read_bytes()


def test_holes_and_warnings_outlive_a_death(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """What was said of segments before a checkpoint is said again; a hole at the cut keeps its length."""
    orders = own_copy(streams.plain(), tmp_path / "segments")
    Path(str(orders[1]["path"])).write_bytes(b"no media")
    orders[3] = gap(4, keep=True)
    cut = with_cuts(orders, 4)
    expected = mux(cut, target=tmp_path / "one.mp4", journal=str(tmp_path / "one.journal"))
    outcome, begins = mux_with_deaths(orders, tmp_path / "out.mp4", every=4, deaths=[("checkpoint", 1)])
    assert [0, 4] == begins
    assert [2] == expected.warned == outcome.warned
    assert expected.target.read_bytes() == outcome.target.read_bytes()


def test_checkpoint_that_is_gone_is_told(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A child that shall go on from what is not there says so, and writes nothing."""
    outcome = mux(streams.plain().orders(), journal=str(tmp_path / "merge.journal"), merged=4)
    assert ("failed", "checkpoint_lost") == (outcome.last["ev"], outcome.last["fault"])
    assert not outcome.target.exists()


def apart(streams: Streams) -> tuple[Orders, list[dict[str, object]]]:
    """Picture and sound of a film with a spot in it, in playlists of their own, in order of time; and their tracks."""
    film, spot = streams.plain(), streams.other()
    seen = streams.cut("lean-picture", film, "v").orders() + streams.cut("spot-picture", spot, "v").orders(
        first=9, splice=1
    )
    sound = [streams.cut(name, source, "a") for name, source in (("lean-sound", film), ("spot-sound", spot))]
    heard = sound[0].orders(track="audio1")
    heard += sound[1].orders(first=len(heard) + 1, splice=1, track="audio1")
    orders = []
    for track in (seen, heard):
        start_s = 0.0
        for order in track:
            orders.append(order | {"start_s": start_s})
            start_s += float(str(order["duration_s"]))
    orders.sort(key=lambda order: (order["splice"], order["start_s"], order["track"] != "main"))
    return orders, [{"track": "main", "kind": "main"}, {"track": "audio1", "kind": "audio", "language": "en"}]


@pytest.mark.parametrize("seed", range(3))
def test_death_among_several_tracks(seed: int, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Renditions are cut together, and go on together; nothing of them is lost at a cut or a splice."""
    orders, tracks = apart(streams)
    plain = mux(orders, tracks=tracks, target=tmp_path / "plain.mp4")
    cuts = [5, 11, len(orders) - 6]
    expected = mux(
        with_cuts(orders, cuts), tracks=tracks, target=tmp_path / "one.mp4", journal=str(tmp_path / "one.journal")
    )
    assert ("done", "done") == (plain.last["ev"], expected.last["ev"]), expected.reports[-3:]
    assert frame_hashes(plain.target) == frame_hashes(expected.target)
    for kind in ("video", "audio"):
        assert pytest.approx(packet_pts(plain.target, kind), rel=0, abs=0.001) == packet_pts(expected.target, kind)
    chance = random.Random(seed)
    deaths = [("checkpoint", 1), (chance.choice(["open", "seg"]), chance.randint(1, 4)), ("checkpoint", 1)]
    outcome, begins = mux_with_deaths(
        own_copies(orders, tmp_path / "segments"), tmp_path / "out.mp4", every=cuts, deaths=deaths, tracks=tracks
    )
    assert len(set(begins)) > 2
    assert expected.target.read_bytes() == outcome.target.read_bytes()


@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
def test_parameters_that_change(fmp4: bool, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """There and back again, with a cut and a death anywhere: all frames decode, with one description each."""
    film = streams.fmp4() if fmp4 else streams.plain()
    name = "spot-fmp4" if fmp4 else "wide"
    spot = streams.get(name, seconds=3, fmp4=fmp4, video="mandelbrot=s=320x180:r=25")
    orders = film.orders() + spot.orders(first=9, splice=1) + film.orders(first=12, splice=2)
    expected = mux(with_cuts(orders, 4), target=tmp_path / "one.mp4", journal=str(tmp_path / "one.journal"))
    assert_whole(expected, film, spot, film)
    file = expected.target.read_bytes()
    written = read_back(lambda size, at: file[at : at + size], len(file))
    assert [("vide", 2), ("soun", 1)] == [(track.kind, track.descriptions) for track in written.tracks]
    outcome, begins = mux_with_deaths(
        own_copies(orders, tmp_path / "segments"), tmp_path / "out.mp4", every=4, deaths=[("checkpoint", 1)] * 3
    )
    assert [0, 4, 8, 12] == begins
    assert file == outcome.target.read_bytes()


def test_sound_that_starts_late(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A track may begin in any chunk: the moov that names it is written at the end."""
    stream = streams.get("late", seconds=18, late_audio_s=14, video="color=s=64x36:r=25")
    outcome = mux(with_cuts(stream.orders(), 3), journal=str(tmp_path / "merge.journal"))
    assert_whole(outcome, stream)
    assert pytest.approx(-14, abs=0.1) == lead(outcome.target)


def test_cut_before_a_segment_that_cannot_begin_anew_is_passed_over(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Pictures whose decoder is described in an earlier segment are not parted from it."""
    stream = streams.get(
        "long-groups", seconds=6, video_codec=LONG_GROUPS, hls=("-hls_flags", "split_by_time", "-hls_time", "1")
    )
    plain = mux(stream.orders(), target=tmp_path / "plain.mp4")
    outcome = mux(with_cuts(stream.orders(), 1), journal=str(tmp_path / "merge.journal"))
    told = {each["made"] for each in outcome.reports if each["ev"] == "checkpoint"}
    assert ("done", [], {True, False}) == (outcome.last["ev"], outcome.warned, told)
    assert frame_hashes(plain.target) == frame_hashes(outcome.target)
    assert packet_times(plain.target, "video") == packet_times(outcome.target, "video")


def test_cut_before_a_track_has_begun_is_passed_over(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Where there is nothing to write down yet no checkpoint is made, and that is told."""
    orders, tracks = apart(streams)
    begun = [order for order in orders if not (order["track"] == "audio1" and float(str(order["start_s"])) < 3)]
    outcome = mux(with_cuts(begun, [2, 8]), tracks=tracks, journal=str(tmp_path / "merge.journal"))
    told = [(each["parts"], each["made"]) for each in outcome.reports if each["ev"] == "checkpoint"]
    assert ("done", [(2, False), (8, True)]) == (outcome.last["ev"], told)


def test_media_is_on_disk_before_it_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the media, then the journal, then the parent is told, who removes the segments (DESIGN 5.4)."""
    reports, told = os.pipe()
    outbox = Outbox(told)
    mp4 = ChunkedMp4(Job(target=str(tmp_path / "film.mp4"), journal=str(tmp_path / "journal")), outbox)
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    # The order of syncs is the claim, and nothing else shows it.
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(outbox, "checkpoint", lambda **report: synced.append("told"))
    mp4.checkpoint(3, {"some": 1})
    assert ["film.mp4", "journal", "told"] == synced
    mp4.file.release()
    os.close(reports)
    os.close(told)
