"""
Clocks of transport streams: shifted in place, and nothing else changed.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3u8svc_merge_ffmpeg.feed import id3_length
from m3u8svc_merge_ffmpeg.timeline import HZ, WRAP, Programme, Timeline, adts_duration, find_programme

PID = 256
ONE = Programme(pmt_pid=4096, streams={PID: 0x1B})


def stamp(prefix: int, time: int) -> bytes:
    """Five bytes of PTS or DTS."""
    high, middle, low = time >> 30 & 7, time >> 15 & 0x7FFF, time & 0x7FFF
    word = prefix << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1
    return word.to_bytes(5)


def packet(time: int, *, pid: int = PID, pcr: int | None = None) -> bytes:
    """One packet that begins a PES with this PTS, and has this PCR."""
    field = b"" if pcr is None else bytes([7, 0x10]) + (pcr << 15 | 0x7E00).to_bytes(6)
    control = 0x10 if pcr is None else 0x30
    head = bytes([0x47, 0x40 | pid >> 8, pid & 0xFF, control]) + field
    pes = b"\0\0\1\xe0\0\0\x80\x80\x05" + stamp(2, time)
    return (head + pes).ljust(188, b"\xaa")


def times(data: bytes) -> list[int]:
    """The PTS of every packet made by `packet`, by an independent reading."""
    found = []
    for at in range(0, len(data), 188):
        pes = data.index(b"\0\0\1\xe0", at) + 9
        five = int.from_bytes(data[pes : pes + 5])
        found.append((five >> 33 & 7) << 30 | (five >> 17 & 0x7FFF) << 15 | five >> 1 & 0x7FFF)
    return found


def run(*segments: Any) -> list[int]:
    """Output times of segments (start, splice) of three pictures, and of gaps (seconds, keep) written as tuples."""
    timeline = Timeline()
    out: list[int] = []
    for each in segments:
        if "gap" in each:
            timeline.skip(each["gap"], keep=each["keep"])
            continue
        data = b"".join(packet((each["at"] + n * HZ) % WRAP) for n in (0, 1, 2))
        timeline.begin(data, ONE, each.get("splice", 0))
        out += times(timeline.shift(data))
    return out


def seconds(values: list[int]) -> list[float]:
    """Relative to the first."""
    return [round((value - values[0]) % WRAP / HZ, 3) for value in values]


T = 10_000 * HZ
GAP = {"gap": 5.0, "keep": True}
LEFT_OUT = {"gap": 5.0, "keep": False}


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([{"at": T}, {"at": T + 3 * HZ}], [0, 1, 2, 3, 4, 5]),
        ([{"at": T}, {"at": T + 8 * HZ}], [0, 1, 2, 8, 9, 10]),  # a hole nobody announced, but of a hole's size
        ([{"at": T}, {"at": 5, "splice": 1}], [0, 1, 2, 2, 3, 4]),
        ([{"at": WRAP - 2 * HZ}, {"at": HZ}], [0, 1, 2, 3, 4, 5]),
        ([{"at": T}, GAP, {"at": T + 8 * HZ}], [0, 1, 2, 8, 9, 10]),
        ([{"at": T}, GAP, GAP, GAP, {"at": T + 18 * HZ}], [0, 1, 2, 18, 19, 20]),
        ([{"at": T}, GAP, {"at": 5, "splice": 1}], [0, 1, 2, 7, 8, 9]),
        ([{"at": T}, LEFT_OUT, {"at": T + 8 * HZ}], [0, 1, 2, 2, 3, 4]),
        ([{"at": T}, LEFT_OUT, GAP, {"at": T + 13 * HZ}], [0, 1, 2, 7, 8, 9]),
        ([{"at": T}, {"at": T + 500 * HZ}], [0, 1, 2, 2, 3, 4]),
        ([{"at": T}, {"at": T - 500 * HZ}], [0, 1, 2, 2, 3, 4]),
    ],
)
def test_segments_are_joined(segments: Any, expected: list[float]) -> None:
    """
    Clocks that run on are left alone, those set anew begin at the end of what was there. (Steps of exactly one second
    are none to the timeline, so the last picture counts as no time.)
    """
    assert expected == seconds(run(*segments))


@given(time=st.integers(0, WRAP - 1), pcr=st.integers(0, WRAP - 1), start=st.integers(0, WRAP - 1))
def test_only_times_change(time: int, pcr: int, start: int) -> None:
    """Shifting moves PTS and PCR by the same offset, wrapping, and no other bit."""
    timeline = Timeline()
    timeline.begin(packet(start), ONE, 0)
    timeline.shift(packet(start))
    data = packet(time, pcr=pcr)
    timeline.begin(data, ONE, 1)
    offset = (start - time) % WRAP
    assert packet((time + offset) % WRAP, pcr=(pcr + offset) % WRAP) == timeline.shift(data)


@given(data=st.binary(max_size=2000))
def test_damage_is_survived(data: bytes) -> None:
    """Bytes that are no transport stream pass, whatever they are, with their length."""
    timeline = Timeline()
    timeline.begin(data, ONE, 0)
    assert len(data) == len(timeline.shift(data))
    timeline.begin(data, ONE, 1)
    find_programme(data)
    adts_duration(data)


@given(data=st.binary(max_size=180).map(lambda tail: b"\x47\x40\0\x10\0\0\xb0\x0d" + tail))
def test_broken_tables_are_survived(data: bytes) -> None:
    """A table that lies about its lengths is no programme, or one; never an exception."""
    find_programme(data.ljust(188, b"\xff") * 2)


def test_packets_are_found_again_after_damage() -> None:
    """A packet behind foreign bytes is shifted like the others."""
    timeline = Timeline()
    timeline.begin(packet(T), ONE, 0)
    timeline.shift(packet(T))
    data = packet(0) + b"garbage" + packet(HZ)
    timeline.begin(data, ONE, 1)
    shifted = timeline.shift(data)
    assert packet(T) + b"garbage" + packet(T + HZ) == shifted


@pytest.mark.parametrize(
    ("tag", "length"),
    [(b"ID3\4\0\0\0\0\0\x3f", 63), (b"ID3\4\0\0\0\0\1\0", 128), (b"ID3\4\0\x10\0\0\0\1", 11)],
)
def test_id3_lengths(tag: bytes, length: int) -> None:
    """Seven bits a byte, and a footer."""
    assert length == id3_length(tag)
