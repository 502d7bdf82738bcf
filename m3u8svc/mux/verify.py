"""
The finished file, looked at with eyes other than the muxer's: what does its moov say it holds?
"""

import struct
from collections.abc import Callable

import attrs

from m3u8svc.mux.fmp4 import Box, BrokenBoxes, spelled, walk

MAX_MOOV_BYTES = 1 << 30
EMPTY_TEXT_BYTES = 2
"""A sample of a text track that says nothing: its length, and no text."""

PRead = Callable[[int, int], bytes]


@attrs.frozen(kw_only=True)
class WrittenTrack:
    """
    One trak: "vide", "soun" or "sbtl", its number of samples, its length, how many sample descriptions it has. Of a
    text track only the samples that are not empty count.
    """

    kind: str
    samples: int
    duration_s: float
    descriptions: int


@attrs.frozen(kw_only=True)
class WrittenFile:
    """
    What an MP4 says of itself. `duration_s` is that of the longest track, leading holes included.
    """

    duration_s: float
    tracks: tuple[WrittenTrack, ...]


def read_back(pread: PRead, size: int) -> WrittenFile:
    """
    Read the moov of a finished MP4 and check that its media lies inside the file.

    Raises:
        BrokenBoxes: it is not whole.
    """
    moov: bytes | None = None
    media: list[tuple[int, int]] = []
    at = 0
    while at < size:
        kind, header, length = _top_box(pread(16, at), size - at)
        if kind == b"moov":
            if length > MAX_MOOV_BYTES:
                raise BrokenBoxes(f"moov of {length} bytes")
            moov = pread(length - header, at + header)
        elif kind == b"mdat":
            media.append((at + header, at + length))
        at += length
    if moov is None:
        raise BrokenBoxes("no moov")
    return _read_moov(moov, media)


def _top_box(head: bytes, room: int) -> tuple[bytes, int, int]:
    if len(head) < 8:
        raise BrokenBoxes("cut off in a box header")
    length, header = int.from_bytes(head[:4]), 8
    if length == 1:
        length, header = int.from_bytes(head[8:16]), 16
    if not header <= length <= room:
        raise BrokenBoxes(f"box {spelled(head[4:8])} of {length} bytes where {room} are left")
    return head[4:8], header, length


def _read_moov(moov: bytes, media: list[tuple[int, int]]) -> WrittenFile:
    duration_s = 0.0
    tracks = []
    for box in walk(moov, 0, len(moov)):
        if box.kind == b"mvhd":
            timescale, duration = _timescale_duration(moov, box)
            duration_s = duration / timescale
        elif box.kind == b"trak":
            tracks.append(_read_track(moov, box, media))
    return WrittenFile(duration_s=duration_s, tracks=tuple(tracks))


def _read_track(moov: bytes, trak: Box, media: list[tuple[int, int]]) -> WrittenTrack:
    mdia = _child(moov, trak, b"mdia")
    stbl = _child(moov, _child(moov, mdia, b"minf"), b"stbl")
    timescale, duration = _timescale_duration(moov, _child(moov, mdia, b"mdhd"))
    handler = _child(moov, mdia, b"hdlr").content
    stsz = _child(moov, stbl, b"stsz")
    kind = moov[handler + 8 : handler + 12].decode("latin-1")
    samples = int.from_bytes(moov[stsz.content + 8 : stsz.content + 12])
    _check_chunks(moov, stbl, media)
    return WrittenTrack(
        kind=kind,
        samples=count_texts(moov, stsz) if kind == "sbtl" else samples,
        duration_s=duration / timescale,
        descriptions=int.from_bytes(moov[_child(moov, stbl, b"stsd").content :][4:8]),
    )


def count_texts(moov: bytes, stsz: Box) -> int:
    """
    How many samples of a text track are not empty: an empty one is nothing but its length of two bytes.
    """
    same, count = struct.unpack_from(">II", moov, stsz.content + 4)
    if same:
        return int(count) if same > EMPTY_TEXT_BYTES else 0
    sizes = struct.iter_unpack(">I", moov[stsz.content + 12 : stsz.content + 12 + 4 * count])
    return sum(size > EMPTY_TEXT_BYTES for (size,) in sizes)


def _check_chunks(moov: bytes, stbl: Box, media: list[tuple[int, int]]) -> None:
    """Every chunk must start inside an mdat."""
    for box in walk(moov, stbl.content, stbl.end):
        if box.kind in (b"stco", b"co64"):
            form = ">I" if box.kind == b"stco" else ">Q"
            offsets = [row[0] for row in struct.iter_unpack(form, moov[box.content + 8 : box.end])]
            if offsets and not any(start <= min(offsets) and max(offsets) < end for start, end in media):
                raise BrokenBoxes("a chunk lies outside the media")


def _timescale_duration(moov: bytes, box: Box) -> tuple[int, int]:
    """Of an mvhd or mdhd."""
    body = moov[box.content : box.end]
    if body[0] == 1:
        return int.from_bytes(body[20:24]) or 1, int.from_bytes(body[24:32])
    return int.from_bytes(body[12:16]) or 1, int.from_bytes(body[16:20])


def _child(moov: bytes, parent: Box, kind: bytes) -> Box:
    for box in walk(moov, parent.content, parent.end):
        if box.kind == kind:
            return box
    raise BrokenBoxes(f"no {kind.decode('latin-1')}")
