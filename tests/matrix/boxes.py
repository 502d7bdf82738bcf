"""
Where fragmented MP4 stands in time.

ffmpeg writes fragments that begin at 0 and says in an edit list of the init section what it left out. Packagers say it
in every fragment (tfdt), so this moves it there.
"""

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import attrs

_HOLDERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"moof", b"traf"})
MARGIN_S = 1
"""What ffmpeg is told to begin at: it would move a track whose first frames are decoded before 0."""
_EMPTY = 0xFFFFFFFF


@attrs.frozen
class Box:
    """
    A box: its name, and where its payload starts and ends.
    """

    name: bytes
    start: int
    end: int


@attrs.define
class _Track:
    number: int = 0
    time_scale: int = 1
    lead: Fraction = Fraction(0)
    """How much later than its fragments say the track begins, in seconds: the empty edit of the init section."""


def place(init: Path, fragments: list[Path], clock_s: Fraction) -> None:
    """
    Let the fragments begin at `clock_s` by themselves, which were told to begin at `MARGIN_S`.
    """
    data = bytearray(init.read_bytes())
    tracks = _read_init(data)
    init.write_bytes(data)
    for path in fragments:
        data = bytearray(path.read_bytes())
        number = 0
        for box in _boxes(data, 0, len(data)):
            if box.name == b"tfhd":
                number = int.from_bytes(data[box.start + 4 : box.start + 8])
            elif box.name == b"tfdt":
                track = tracks[number]
                assert data[box.start] == 1, "ffmpeg writes 64 bits"
                time = int.from_bytes(data[box.start + 4 : box.end])
                time += round((clock_s - MARGIN_S + track.lead) * track.time_scale)
                data[box.start + 4 : box.end] = time.to_bytes(8)
        path.write_bytes(data)


def _read_init(data: bytearray) -> dict[int, _Track]:
    """The tracks of an init section, whose empty edits are taken out of it."""
    movie_scale, track = 1, _Track()
    tracks: dict[int, _Track] = {}
    for box in list(_boxes(data, 0, len(data))):
        if box.name == b"mvhd":
            movie_scale = int.from_bytes(data[box.start + 12 : box.start + 16])
        elif box.name == b"tkhd":
            track = _Track(number=int.from_bytes(data[box.start + 12 : box.start + 16]))
            tracks[track.number] = track
        elif box.name == b"elst":
            count, duration, media_time = struct.unpack(">III", data[box.start + 4 : box.start + 16])
            if media_time == _EMPTY:
                track.lead = Fraction(duration, movie_scale)
                rest = bytes(data[box.start + 20 : box.end])
                shorter = struct.pack(">I4sII", 16 + len(rest), b"elst", 0, count - 1) + rest
                data[box.start - 8 : box.end] = shorter + struct.pack(">I4sI", 12, b"free", 0)
        elif box.name == b"mdhd":
            track.time_scale = int.from_bytes(data[box.start + 12 : box.start + 16])
    return tracks


def _boxes(data: bytearray, start: int, end: int) -> Iterator[Box]:
    """Every box and those in it."""
    while start < end:
        size, name = struct.unpack(">I4s", data[start : start + 8])
        assert 8 <= size <= end - start, f"no box at {start}"
        yield Box(name, start + 8, start + size)
        if name in _HOLDERS:
            yield from _boxes(data, start + 8, start + size)
        start += size
