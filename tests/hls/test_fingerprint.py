"""How a segment was encoded, from its first bytes: equal for one encoder's segments, another for another's."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.hls.fingerprint import Signature, read_signature
from tests.needs import lacking

SOURCES = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "4"]


def encode(folder: Path, *codecs: str, hls: tuple[str, ...] = ()) -> list[Path]:
    """Two segments of 2 s by ffmpeg; the init section comes first where there is one."""
    if shutil.which("ffmpeg") is None:
        lacking("ffmpeg")
    folder.mkdir()
    ending = "m4s" if "fmp4" in hls else "ts"
    output = ["-f", "hls", "-hls_time", "2", *hls, "-hls_segment_filename", str(folder / f"%d.{ending}")]
    subprocess.run(["ffmpeg", "-v", "error", *SOURCES, *codecs, *output, str(folder / "list.m3u8")], check=True)
    return [*folder.glob("init.mp4"), *sorted(folder.glob(f"[0-9].{ending}"))]


H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-c:a", "aac")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-g", "50", "-c:a", "aac")


@pytest.mark.parametrize("codecs", [H264, HEVC], ids=["h264", "hevc"])
def test_ts_of_one_encoder(tmp_path: Path, codecs: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    """Its segments agree, and both streams are found."""
    first, second = (read_signature("ts", each.read_bytes()) for each in encode(tmp_path / "a", *codecs))
    assert first == second
    assert first.video.startswith(request.node.callspec.id + ":") and first.audio.startswith("aac:")


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (("-c:v", "libx264", "-preset", "ultrafast", "-refs", "4", "-g", "50", "-c:a", "aac"), "video"),
        (("-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-c:a", "aac"), "video"),
        ((*H264, "-ac", "2"), "audio"),
        ((*H264, "-ar", "48000"), "audio"),
    ],
)
def test_ts_of_two_encoders(tmp_path: Path, other: tuple[str, ...], differs: str) -> None:
    """Other settings at the same size tell them apart; what is the same stays the same."""
    mine, theirs = (
        read_signature("ts", encode(tmp_path / name, *codecs)[0].read_bytes())
        for name, codecs in (("a", H264), ("b", other))
    )
    same = {"video": "audio", "audio": "video"}[differs]
    assert getattr(mine, differs) != getattr(theirs, differs)
    assert getattr(mine, same) == getattr(theirs, same)


def test_ts_cut_off_early(tmp_path: Path) -> None:
    """What was not read is not guessed."""
    whole = encode(tmp_path / "a", *H264)[0].read_bytes()
    assert Signature() == read_signature("ts", whole[:188])
    assert read_signature("ts", whole[: 64 * 1024]).video == read_signature("ts", whole).video


def packet(pid: int, payload: bytes) -> bytes:
    """One packet in which a unit begins, filled up as tables are."""
    return (bytes([0x47, 0x40 | pid >> 8, pid & 255, 0x10]) + payload).ljust(188, b"\xff")


ADTS = bytes.fromhex("fff150800c1ffc")
PAT = packet(0, bytes.fromhex("00 00b00d 0001c10000 0001e100 00000000"))


def pmt(*streams: tuple[int, int], crc: bytes = bytes(4)) -> bytes:
    """A table of these (type, PID)."""
    entries = b"".join(bytes([kind, 0xE0 | pid >> 8, pid & 255, 0xF0, 0]) for kind, pid in streams)
    size = 9 + len(entries) + 4
    head = bytes([0, 2, 0xB0 | size >> 8, size & 255]) + bytes.fromhex("0001c10000e101f000")
    return packet(0x100, head + entries + crc + b"\0")


def pes(pid: int, stream: bytes) -> bytes:
    """A unit of a stream."""
    return packet(pid, bytes.fromhex("000001c00000800000") + stream)


def test_streams_are_those_of_the_table() -> None:
    """Its checksum is none of them, whatever it looks like."""
    sound = pes(0x102, ADTS)
    assert read_signature("ts", PAT + pmt((0x1B, 0x101), (0x0F, 0x102)) + sound).audio.startswith("aac:")
    like_a_stream = bytes([0x0F, 0xE1, 0x02, 0xF0])
    assert "" == read_signature("ts", PAT + pmt((0x1B, 0x101), crc=like_a_stream) + sound).audio


def test_fmp4_is_told_by_its_init_section(tmp_path: Path) -> None:
    """Codecs by name; another encoder's init section has another signature."""
    kind = ("-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4")
    mine = read_signature("fmp4", b"", encode(tmp_path / "a", *H264, hls=kind)[0].read_bytes())
    theirs = read_signature("fmp4", b"", encode(tmp_path / "b", *HEVC, hls=kind)[0].read_bytes())
    assert (mine.video[:5], theirs.video[:5], mine.audio[:5]) == ("avc1:", "hev1:", "mp4a:")
    assert (mine.video != theirs.video, mine.audio == theirs.audio) == (True, True)


def test_packed_audio() -> None:
    """An ADTS header behind a tag, or only the codec's name."""
    adts = bytes.fromhex("fff150800c1ffc")
    assert read_signature("aac", b"ID3\x04\x00\x00\x00\x00\x00\x00" + adts).audio.startswith("aac:")
    assert Signature(audio="mp3") == read_signature("mp3", b"ID3")
    assert not read_signature("vtt", b"WEBVTT")


@given(st.sampled_from(["ts", "fmp4", "aac"]), st.binary(max_size=2000), st.binary(max_size=400))
def test_anything(kind: str, start: bytes, init: bytes) -> None:
    """No bytes raise."""
    read_signature(kind, start, init)  # type: ignore[arg-type]
    read_signature(kind, b"\x47\x40\x00\x10" + start, b"\0\0\0\x10moov" + init)  # type: ignore[arg-type]
