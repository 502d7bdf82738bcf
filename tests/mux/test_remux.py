"""
Whole merges by the real child: what goes in comes out, packet by packet, at the right time.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.mux.conftest import (
    PYTHON,
    Outcome,
    Stream,
    Streams,
    assert_whole,
    first_pts,
    largest_step,
    lead,
    packet_times,
    seg,
    source_lead,
)

Mux = Callable[..., Outcome]

HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-x265-params", "log-level=none:scenecut=0")
FORMATS = {
    "H.264 + AAC, TS": ("plain", {"seconds": 8}, ["avc1", "mp4a"]),
    "H.264 + AAC, fMP4": ("fmp4", {"seconds": 8, "fmp4": True}, ["avc1", "mp4a"]),
    "HEVC + AAC, TS": ("hevc", {"seconds": 3, "video_codec": HEVC}, ["hvc1", "mp4a"]),
    "HEVC + AAC, fMP4": ("hevc-fmp4", {"seconds": 3, "video_codec": HEVC, "fmp4": True}, ["hvc1", "mp4a"]),
    "H.264 + AC-3, TS": ("ac3", {"seconds": 3, "audio_codec": ("-c:a", "ac3")}, ["avc1", "ac-3"]),
    "H.264 + E-AC-3, TS": ("eac3", {"seconds": 3, "audio_codec": ("-c:a", "eac3")}, ["avc1", "ec-3"]),
    "H.264 + MP3, TS": ("mp3", {"seconds": 3, "audio_codec": ("-c:a", "libmp3lame")}, ["avc1", "mp4a"]),
    "AAC only, TS": ("aac", {"seconds": 3, "video": ""}, ["mp4a"]),
    "AAC only, fMP4": ("aac-fmp4", {"seconds": 3, "video": "", "fmp4": True}, ["mp4a"]),
    "H.264 only, TS": ("mute", {"seconds": 3, "audio": ""}, ["avc1"]),
}


@pytest.mark.parametrize("case", FORMATS)
def test_every_packet_is_kept(case: str, streams: Streams, mux: Mux) -> None:
    """Each supported format comes out with all its frames and audio packets, under the tags Apple's players want."""
    name, made, tags = FORMATS[case]
    stream = streams.get(name, **made)
    outcome = mux(stream.orders())
    assert_whole(outcome, stream)
    assert [] == outcome.warned
    with av.open(str(outcome.target)) as container:
        assert tags == [each.codec_tag for each in container.streams]


@pytest.mark.parametrize("name", ["plain", "fmp4"])
def test_sound_keeps_its_distance_to_the_picture(name: str, streams: Streams, mux: Mux) -> None:
    """Video starts after audio by what it does in the source, and the file starts at 0."""
    stream = getattr(streams, name)()
    outcome = mux(stream.orders())
    expected = source_lead(stream) if name == "plain" else lead(stream.segments[0].parent / "master.mkv")
    assert pytest.approx(expected, abs=0.001) == lead(outcome.target)
    assert pytest.approx(0, abs=0.001) == min(first_pts(outcome.target, kind) for kind in ("video", "audio"))


def test_faststart_puts_the_moov_first(streams: Streams, mux: Mux) -> None:
    """With faststart the same packets stand behind the moov."""
    outcome = mux(streams.plain().orders(), faststart=True)
    assert_whole(outcome, streams.plain())
    start = outcome.target.read_bytes()
    assert start.index(b"moov") < start.index(b"mdat")


def test_creation_time_is_the_file_time(streams: Streams, mux: Mux) -> None:
    """The clock is never asked: the creation time is the one given, or none."""
    with av.open(str(mux(streams.plain().orders(), file_time=1_700_000_000.5).target)) as container:
        assert "2023-11-14T22:13:20.000000Z" == container.metadata["creation_time"]


def test_target_is_private_and_new(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """The file is readable by its owner only; something at its place is never followed or replaced."""
    assert 0o600 == mux(streams.plain().orders(only=slice(2))).target.stat().st_mode & 0o777
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "link.mp4").symlink_to(victim)
    outcome = mux(streams.plain().orders(only=slice(2)), target=tmp_path / "link.mp4")
    assert ("failed", "disk_error", "precious") == (*(outcome.last[k] for k in ("ev", "fault")), victim.read_text())


JOB_LINE = b'{"op":"job","target":"TARGET"}\n'


def packed(stream: Stream, folder: Path, kind: str) -> list[dict[str, object]]:
    """The audio of a stream's segments as packed audio, each with the time its TS had."""
    orders = []
    for number, (path, duration_s) in enumerate(zip(stream.segments, stream.durations_s, strict=True), 1):
        with av.open(str(path), format="mpegts") as container:
            source = container.streams.audio[0]
            packets = [packet for packet in container.demux(source) if packet.size]
            body = b"".join(bytes(packet) for packet in packets)
            clock = min(packet.pts for packet in packets if packet.pts is not None) % (1 << 33)
        frame = b"com.apple.streaming.transportStreamTimestamp\x00" + clock.to_bytes(8)
        frame = b"PRIV" + len(frame).to_bytes(4) + b"\x00\x00" + frame
        tag = b"ID3\x04\x00\x00" + bytes([0, 0, len(frame) >> 7, len(frame) & 0x7F]) + frame
        target = folder / f"{number}.{kind}"
        target.write_bytes(tag + body)
        orders.append(seg(number, target, kind=kind, duration_s=duration_s))
    return orders


@pytest.mark.parametrize(
    ("kind", "name"),
    [("aac", "aac"), ("mp3", "mp3"), ("ac3", "ac3"), ("ac3", "eac3")],
    ids=["AAC", "MP3", "AC-3", "E-AC-3"],
)
def test_packed_audio(kind: str, name: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Elementary audio with its clock in ID3 tags: every frame, one after the other."""
    stream = streams.get(name, **next(made for case, made, _ in FORMATS.values() if case == name))
    outcome = mux(packed(stream, tmp_path, kind))
    assert ("done", stream.audio_packets) == (outcome.last["ev"], len(packet_times(outcome.target, "audio")))
    assert largest_step(outcome.target, "audio") <= 0.05
    assert [] == outcome.warned


@pytest.mark.parametrize(
    ("kind", "name"),
    [("aac", "aac"), ("ac3", "ac3"), ("ac3", "eac3")],
    ids=["AAC", "AC-3", "E-AC-3"],
)
@pytest.mark.parametrize("clock", [True, False], ids=["with a clock", "without"])
def test_packed_segments_of_one_frame(
    clock: bool, kind: str, name: str, streams: Streams, mux: Mux, tmp_path: Path
) -> None:
    """libav has no time for a frame that is alone; it is kept all the same, at its place."""
    stream = streams.get(name, **next(made for case, made, _ in FORMATS.values() if case == name))
    with av.open(str(stream.segments[0]), format="mpegts") as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size][:6]
    start, end = packets[0].pts, packets[-1].pts
    assert start is not None and end is not None
    step_s = (end - start) / 5 / 90_000
    orders = []
    for number, packet in enumerate(packets):
        frame = b"com.apple.streaming.transportStreamTimestamp\x00" + round(number * step_s * 90_000).to_bytes(8)
        frame = b"PRIV" + len(frame).to_bytes(4) + b"\x00\x00" + frame
        tag = b"ID3\x04\x00\x00" + bytes([0, 0, 0, len(frame)]) + frame
        target = tmp_path / f"{number}.{kind}"
        target.write_bytes((tag if clock else b"") + bytes(packet))
        order = seg(number + 1, target, kind=kind, duration_s=step_s)
        orders.append(order | {"start_s": number * step_s})
    outcome = mux(orders)
    assert ("done", []) == (outcome.last["ev"], outcome.warned)
    expected = [number * step_s for number in range(6)]
    assert pytest.approx(expected, abs=0.002) == packet_times(outcome.target, "audio")


def test_subtitles_are_refused(mux: Mux, tmp_path: Path) -> None:
    """WebVTT has a clear answer."""
    (tmp_path / "1.vtt").write_text("WEBVTT\n")
    outcome = mux([seg(1, tmp_path / "1.vtt", kind="vtt")])
    assert ("failed", "unsupported") == (outcome.last["ev"], outcome.last["fault"])


def test_a_wrong_playlist_is_told(streams: Streams, mux: Mux) -> None:
    """A file that lasts otherwise than EXTINF says is finished, with a warning about the whole."""
    orders = [order | {"duration_s": 2.0} for order in streams.plain().orders()]
    outcome = mux(orders)
    assert ("done", [0]) == (outcome.last["ev"], outcome.warned)


@pytest.mark.parametrize(
    "orders", [b"", b'{"op":"job","target":"TARGET"}\n', b'{"op":"job","target":"TARGET"}\n{"op":"se']
)
def test_child_ends_with_its_parent(orders: bytes, tmp_path: Path) -> None:
    """Standard input that ends before the orders do means that nobody waits: the child goes, status 3."""
    line = [*PYTHON, str(os.getpid())]
    orders = orders.replace(b"TARGET", str(tmp_path / "out.mp4").encode())
    assert 3 == subprocess.run(line, input=orders, capture_output=True, timeout=20).returncode


def test_vanished_segment_is_no_damage(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A segment that is not on disk fails the merge: leaving it out would be silent loss of our own making."""
    outcome = mux([*streams.plain().orders(only=slice(2)), seg(3, tmp_path / "gone.ts")])
    assert ("failed", "disk_error") == (outcome.last["ev"], outcome.last["fault"])
