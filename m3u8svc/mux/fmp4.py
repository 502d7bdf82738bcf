"""
Fragmented MP4 as far as the muxer must look before it feeds a segment: whether its boxes add up, and what time it is.

One wrong size makes the demuxer lose everything after it, following segments too, so every moof is walked down to its
sample tables first.
"""

from collections.abc import Iterator
from typing import BinaryIO

import attrs

MAX_MOOF_BYTES = 16 * 1024 * 1024


class BrokenBoxes(ValueError):
    """
    The boxes of a segment do not add up.
    """


@attrs.frozen(kw_only=True)
class Box:
    """
    One box: its type, where its content starts and where it ends.
    """

    kind: bytes
    start: int
    content: int
    end: int


@attrs.frozen(kw_only=True)
class FragmentHead:
    """
    What the first fragment says: (track id, base decode time) in that track's own time scale.
    """

    clock: tuple[int, int] | None


def look_at_fragments(file: BinaryIO, size: int) -> FragmentHead:
    """
    Walk a media segment.

    Raises:
        BrokenBoxes: it would mislead the demuxer.
    """
    clock: tuple[int, int] | None = None
    moofs = mdats = 0
    for box in walk_file(file, size):
        if box.kind == b"moof":
            moofs += 1
            if box.end - box.start > MAX_MOOF_BYTES:
                raise BrokenBoxes("moof is too large")
            file.seek(box.start)
            body = file.read(box.end - box.start)
            found = _check_moof(body, room=size - box.start)
            clock = clock or found
        elif box.kind == b"mdat":
            mdats += 1
    if not moofs or not mdats:
        raise BrokenBoxes("no moof or no mdat")
    return FragmentHead(clock=clock)


def walk_file(file: BinaryIO, size: int) -> Iterator[Box]:
    """
    The top-level boxes of a file; their sizes must add up to `size`.
    """
    at = 0
    while at < size:
        file.seek(at)
        box = _box(file.read(16), 0, size - at)
        yield Box(kind=box.kind, start=at, content=at + box.content, end=at + box.end)
        at += box.end


def walk(body: bytes, start: int, end: int) -> Iterator[Box]:
    """
    The boxes inside a box.
    """
    while start < end:
        box = _box(body[start : start + 16], 0, end - start)
        yield Box(kind=box.kind, start=start, content=start + box.content, end=start + box.end)
        start += box.end


def spelled(kind: bytes) -> str:
    """
    What a box is called, for people; damage may have made it any four bytes.
    """
    return repr(kind)[2:-1]


def _box(head: bytes, at: int, room: int) -> Box:
    if len(head) < 8:
        raise BrokenBoxes("cut off in a box header")
    size, kind, content = int.from_bytes(head[:4]), head[4:8], 8
    if size == 1 and len(head) >= 16:
        size, content = int.from_bytes(head[8:16]), 16
    elif size == 0:
        size = room
    if not content <= size <= room:
        raise BrokenBoxes(f"box {spelled(kind)} of {size} bytes where {room} are left")
    return Box(kind=kind, start=at, content=content, end=size)


def _check_moof(body: bytes, *, room: int) -> tuple[int, int] | None:
    """The clock of the first track fragment, after every traf was found sound. `room`: moof start to segment end."""
    first = None
    header = 8 if int.from_bytes(body[:4]) != 1 else 16
    for box in walk(body, header, len(body)):
        if box.kind == b"traf":
            clock = _check_traf(body, box, room)
            first = first or clock
    return first


def _check_traf(body: bytes, traf: Box, room: int) -> tuple[int, int] | None:
    track = default_size = 0
    clock = None
    for box in walk(body, traf.content, traf.end):
        content = body[box.content : box.end]
        if box.kind == b"tfhd":
            track, default_size = _read_tfhd(content)
        elif box.kind == b"tfdt":
            wide = bool(content[:1] == b"\x01")
            clock = (track, int.from_bytes(content[4 : 12 if wide else 8]))
        elif box.kind == b"trun":
            _check_trun(content, default_size, room)
    if not track:
        raise BrokenBoxes("traf without tfhd")
    return clock


def _read_tfhd(content: bytes) -> tuple[int, int]:
    if len(content) < 8:
        raise BrokenBoxes("tfhd is cut off")
    flags = int.from_bytes(content[1:4])
    at = 8 + 8 * (flags & 1) + 4 * (flags >> 1 & 1) + 4 * (flags >> 3 & 1)
    return int.from_bytes(content[4:8]), int.from_bytes(content[at : at + 4]) if flags & 0x10 else 0


def _check_trun(content: bytes, default_size: int, room: int) -> None:
    """The samples must fit between the moof and the end of the segment."""
    flags, count = int.from_bytes(content[1:4]), int.from_bytes(content[4:8])
    at = 8 + 4 * (flags & 1) + 4 * (flags >> 2 & 1)
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    row = 4 * len(fields)
    if at + count * row > len(content) or count > room:
        raise BrokenBoxes(f"trun of {count} samples is cut off")
    if 0x200 in fields:
        column = at + 4 * fields.index(0x200)
        total = sum(int.from_bytes(content[i : i + 4]) for i in range(column, at + count * row, row))
    else:
        total = default_size * count
    if total > room:
        raise BrokenBoxes(f"trun claims {total} bytes where {room} are left")
