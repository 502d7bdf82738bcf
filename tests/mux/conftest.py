"""
Real streams, made once by ffmpeg, and the muxing child driven directly over its pipe.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import av
import pytest

PYTHON = [sys.executable, "-I", "-u", "-m", "m3u8svc.mux"]
VIDEO = "testsrc2=s=160x90:r=25"
AUDIO = "sine=f=440:r=44100"
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-sc_threshold", "0", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac", "-b:a", "64k")


@attrs.frozen(kw_only=True)
class Stream:
    """
    A stream as HLS segments, and what is in it: frame hashes of video, packets of audio.
    """

    segments: tuple[Path, ...]
    kind: str
    init: Path | None
    durations_s: tuple[float, ...]
    frames: tuple[str, ...]
    audio_packets: int
    master: Path
    """What was cut, in one file."""

    def orders(
        self, *, first: int = 1, splice: int = 0, only: slice = slice(None), track: str = "main", start_s: float = 0.0
    ) -> list[dict[str, object]]:
        """Orders that feed these segments, numbered from `first`, the first at `start_s` in its playlist."""
        init = None if self.init is None else str(self.init)
        orders = []
        for number, (path, duration_s) in enumerate(
            list(zip(self.segments, self.durations_s, strict=True))[only], first
        ):
            order = seg(number, path, kind=self.kind, duration_s=duration_s, splice=splice, init=init)
            orders.append(order | {"track": track, "start_s": start_s})
            start_s += duration_s
        return orders


@attrs.frozen(kw_only=True)
class Outcome:
    """
    What a child said and did.
    """

    reports: list[dict[str, object]]
    status: int
    target: Path

    @property
    def last(self) -> dict[str, object]:
        """Its last word."""
        return self.reports[-1]

    @property
    def warned(self) -> list[object]:
        """The positions it warned about."""
        return [report["n"] for report in self.reports if report["ev"] == "warn"]


def seg(
    number: int, path: Path, *, kind: str = "ts", duration_s: float = 1.0, splice: int = 0, init: str | None = None
):
    """An order to feed one segment."""
    order = {"op": "seg", "track": "main", "number": number, "path": str(path), "kind": kind}
    return order | {"duration_s": duration_s, "splice": splice, "init": init}


def gap(number: int, *, duration_s: float = 1.0, keep: bool, splice: int = 0) -> dict[str, object]:
    """An order to leave one segment out."""
    return {"op": "gap", "track": "main", "number": number, "duration_s": duration_s, "keep": keep, "splice": splice}


def run_ffmpeg(*arguments: object, level: str = "error") -> str:
    """Run ffmpeg; its standard output. Anything on standard error fails the test."""
    line = ["ffmpeg", "-v", level, "-nostdin", "-y", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), " ".join(line)
    return done.stdout


def frame_hashes(path: Path, *, damaged: bool = False) -> tuple[str, ...]:
    """The hash of every decoded video frame, in order of presentation. `damaged`: the decoder may complain."""
    raw = ("-fps_mode", "passthrough", "-autoscale", "0", "-f", "framemd5", "-")
    lines = run_ffmpeg("-i", path, "-map", "0:v?", *raw, level="fatal" if damaged else "error").splitlines()
    return tuple(line.rpartition(",")[2].strip() for line in lines if not line.startswith("#"))


def packet_times(path: Path, kind: str) -> list[float]:
    """The dts of every packet of the first stream of a kind, in seconds, in the order they are stored."""
    return [float(packet.dts * packet.time_base) for packet in _packets(path, kind)]


def packet_pts(path: Path, kind: str) -> list[float]:
    """The same for the pts."""
    return [float(packet.pts * packet.time_base) for packet in _packets(path, kind)]


def silences(path: Path) -> list[float]:
    """The pts of the silent frames that fill holes in the first sound track."""
    silent = (bytes.fromhex("01182007"), bytes.fromhex("211004608c1c"))
    return [float(packet.pts * packet.time_base) for packet in _packets(path, "audio") if bytes(packet) in silent]


def first_pts(path: Path, kind: str) -> float:
    """The least pts of the first stream of a kind, in seconds."""
    return min(packet_pts(path, kind))


def _packets(path: Path, kind: str) -> list[av.Packet]:
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [packet for packet in container.demux(streams[:1]) if packet.size] if streams else []


def assert_whole(outcome: Outcome, *streams: Stream) -> None:
    """Every frame and every audio packet of `streams`, in order, strictly one after the other, and nothing else."""
    assert "done" == outcome.last["ev"], outcome.reports[-3:]
    assert sum((stream.frames for stream in streams), ()) == frame_hashes(outcome.target)
    audio = packet_times(outcome.target, "audio")
    assert sum(stream.audio_packets for stream in streams) == len(audio)
    for times in (audio, packet_times(outcome.target, "video")):
        assert all(before < after for before, after in zip(times, times[1:], strict=False))


def largest_step(path: Path, kind: str) -> float:
    """The longest time from one packet to the next."""
    times = packet_times(path, kind)
    return max(after - before for before, after in zip(times, times[1:], strict=False))


def source_lead(streams: Stream) -> float:
    """By how much video starts after audio in the first segment."""
    return first_pts(streams.segments[0], "video") - first_pts(streams.segments[0], "audio")


def lead(path: Path) -> float:
    """By how much video starts after audio."""
    return first_pts(path, "video") - first_pts(path, "audio")


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """ffmpeg, or skip by name; with CI=true its absence is a failure."""
    found = shutil.which("ffmpeg")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ffmpeg is not installed")
        pytest.skip("needs ffmpeg")
    return found


class Streams:
    """
    Makes streams on demand, each once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Stream] = {}

    def get(self, name: str, *, fmp4: bool = False, hls: Sequence[str] = (), **encode: object) -> Stream:
        """The stream `name`, encoded and cut as told the first time."""
        if name not in self._made:
            folder = self._directory / name
            folder.mkdir()
            self._made[name] = self._make(folder, fmp4, hls, encode)
        return self._made[name]

    def plain(self) -> Stream:
        """H.264 and AAC in TS, 8 segments of 1 s, B-frames."""
        return self.get("plain", seconds=8)

    def other(self) -> Stream:
        """The same codecs and parameters, other content, on a clock that starts anew; 4 segments."""
        return self.get("other", seconds=4, video="mandelbrot=s=160x90:r=25")

    def fmp4(self) -> Stream:
        """H.264 and AAC in fMP4, 8 segments of 1 s."""
        return self.get("fmp4", seconds=8, fmp4=True)

    def cut(self, name: str, whole: Stream, only: str, *, fmp4: bool = False, hls: Sequence[str] = ()) -> Stream:
        """
        One stream ("v" or "a") of what `whole` was cut from, as a rendition of its own. Its clock starts late enough
        that ffmpeg does not shift it on its own.
        """
        if name not in self._made:
            folder = self._directory / name
            folder.mkdir()
            self._made[name] = self._cut(folder, whole.master, fmp4, ("-output_ts_offset", "10", *hls), only=only)
        return self._made[name]

    def shifted(self, stream: Stream, name: str, hls: Sequence[str]) -> Stream:
        """The same stream, cut again as told."""
        if name not in self._made:
            folder = self._directory / name
            folder.mkdir()
            self._made[name] = self._cut(folder, stream.master, stream.kind == "fmp4", hls)
        return self._made[name]

    def _make(self, folder: Path, fmp4: bool, hls: Sequence[str], encode: dict[str, object]) -> Stream:
        master = folder / "master.mkv"
        encode_master(master, **encode)  # type: ignore[arg-type]  # keyword by keyword as in the signature below
        return self._cut(folder, master, fmp4, hls)

    def _cut(self, folder: Path, master: Path, fmp4: bool, hls: Sequence[str], *, only: str = "") -> Stream:
        select = ("-map", f"0:{only}") if only else ()
        extension = "m4s" if fmp4 else "ts"
        kind = ("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4") if fmp4 else ()
        run_ffmpeg(
            *("-i", master, *select, "-c", "copy", "-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", *kind, *hls),
            *("-hls_segment_filename", folder / f"%03d.{extension}", folder / "list.m3u8"),
        )
        return Stream(
            segments=tuple(sorted(folder.glob(f"*.{extension}"))),
            kind="fmp4" if fmp4 else "ts",
            init=folder / "init.mp4" if fmp4 else None,
            durations_s=tuple(
                float(line[8:].rstrip(","))
                for line in (folder / "list.m3u8").read_text().splitlines()
                if line.startswith("#EXTINF:")
            ),
            frames=() if only == "a" else frame_hashes(master),
            audio_packets=0 if only == "v" else len(packet_times(master, "audio")),
            master=master,
        )


def encode_master(
    target: Path,
    *,
    seconds: float,
    video: str = VIDEO,
    audio: str = AUDIO,
    video_codec: Sequence[str] = X264,
    audio_codec: Sequence[str] = AAC,
    late_audio_s: float = 0.0,
) -> None:
    """Encode a stream, cut at whole seconds' key frames; an empty source leaves that stream out."""
    arguments: list[object] = []
    for source, late_s in ((video, 0.0), (audio, late_audio_s)):
        if source:
            arguments += ["-itsoffset", late_s] if late_s else []
            arguments += ["-f", "lavfi", "-t", seconds - late_s, "-i", source]
    run_ffmpeg(*arguments, *(video_codec if video else ()), *(audio_codec if audio else ()), target)


@pytest.fixture(scope="session")
def streams(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Streams:
    """The streams of this session."""
    return Streams(tmp_path_factory.mktemp("streams"))


@pytest.fixture(scope="session")
def mux_into() -> Callable[..., Outcome]:
    """Run one child over a list of orders, into a target; `end` is added."""

    return run_child


def run_child(target: Path, orders: Sequence[dict[str, object]], *, files: int = 0, **job: object) -> Outcome:
    """One child; `files` limits how many it may have open."""
    first = {"op": "job", "target": str(target), "sources": sources_of(orders), **job}
    text = "".join(json.dumps(order) + "\n" for order in [first, *orders, {"op": "end"}])
    line = [*PYTHON, str(os.getpid())]
    limit = ["prlimit", f"--nofile={files}:{files}"] if files else []
    done = subprocess.run([*limit, *line], input=text.encode(), capture_output=True, timeout=120)
    assert done.stderr.decode() == ""
    return Outcome(reports=list(map(json.loads, done.stdout.splitlines())), status=done.returncode, target=target)


def sources_of(orders: Sequence[dict[str, object]]) -> list[str]:
    """The directories of everything that is fed."""
    files = [order.get(name) for order in orders for name in ("path", "init")]
    return sorted({os.path.dirname(str(file)) for file in files if file})


@pytest.fixture
def mux(mux_into: Callable[..., Outcome], tmp_path: Path) -> Callable[..., Outcome]:
    """The same, into a target of the test's own unless it names one."""

    def run(orders: Sequence[dict[str, object]], *, target: Path | None = None, **job: object) -> Outcome:
        return mux_into(target or tmp_path / "out.mp4", orders, **job)

    return run


@pytest.fixture
def mux_limited(tmp_path: Path) -> Callable[..., Outcome]:
    """The same, with 24 descriptors and no more."""
    return lambda orders, **job: run_child(tmp_path / "out.mp4", orders, files=24, **job)
