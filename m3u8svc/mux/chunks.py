"""
A film written in chunks: every chunk an MP4 of its own to libav, all of them one MP4 on disk.

The target begins with an ftyp box and the header of an mdat; the media of each chunk is appended where libav writes it,
so nothing is held in memory or written twice. What else libav writes of a chunk (its own headers in front, its moov
behind) never stays in the target. `moov` makes one moov of all of them at the end.
"""

import struct
from collections.abc import Sequence

import attrs

from m3u8svc.mux.fmp4 import BrokenBoxes, walk
from m3u8svc.mux.moov import Piece, Stamps, TrackTable, read_pieces, without_traks, write_moov
from m3u8svc.mux.output import TargetFile, Written

MDAT_HEADER_BYTES = 16
MAX_MOOV_BYTES = 1 << 28


@attrs.frozen(kw_only=True)
class ClosedChunk:
    """
    A chunk whose media is in the target: the content of its own moov, and what to add to its offsets.
    """

    moov: bytes
    shift: int


class ChunkFile(Written):
    """
    What libav sees as the file of one chunk: its media goes to the end of `target`, the rest is kept here.

    libav begins with ftyp, an empty free box (room for a 64-bit size) and the header of mdat; then comes media, and
    behind it the moov.
    """

    def __init__(self, target: TargetFile) -> None:
        super().__init__()
        self._target = target
        self._base = target.size_bytes
        self._head = bytearray()
        self._head_bytes: int | None = None

    def write(self, chunk: bytes) -> int:  # type: ignore[override]  # libav hands us bytes, nothing else
        """Write all of `chunk` at the current place."""
        rest = memoryview(chunk)
        if self._head_bytes is None or self._at < self._head_bytes:
            rest = self._write_head(rest)
        if rest:
            assert self._head_bytes is not None
            self._target.seek(self._base + self._at - self._head_bytes)
            self._target.write(bytes(rest))
            self._at += len(rest)
        self._end = max(self._end, self._at)
        return len(chunk)

    def _write_head(self, chunk: memoryview) -> memoryview:
        """Take what belongs to the head; returns what is behind it."""
        room = len(chunk) if self._head_bytes is None else min(len(chunk), self._head_bytes - self._at)
        self._head[self._at : self._at + room] = chunk[:room]
        self._at += room
        if self._head_bytes is not None or (length := _length_of_head(self._head)) is None or len(self._head) < length:
            return chunk[room:]
        self._head_bytes = length
        behind = bytes(self._head[length:])
        del self._head[length:]
        self._at = length
        if not self._base:
            self._begin_target()
        return memoryview(behind)

    def _begin_target(self) -> None:
        ftyp = bytes(self._head[: int.from_bytes(self._head[:4])])
        self._target.seek(0)
        self._target.write(ftyp + mdat_header(0))
        self._base = self._target.size_bytes

    def finish(self) -> ClosedChunk:
        """
        libav has closed the chunk: leave its media in the target and nothing else.

        Raises:
            BrokenBoxes: it wrote something else than this module knows.
        """
        if self._head_bytes is None:
            raise BrokenBoxes("a chunk without media")
        media = self._media_bytes(self._head_bytes)
        room = self._target.size_bytes - self._base - media
        if not 8 <= room <= MAX_MOOV_BYTES:
            raise BrokenBoxes(f"{room} bytes where a chunk's moov should be")
        boxes = self._target.pread(room, self._base + media)
        moov = next((box for box in walk(boxes, 0, len(boxes)) if box.kind == b"moov"), None)
        if moov is None:
            raise BrokenBoxes("a chunk without a moov")
        self._target.cut_off(self._base + media)
        return ClosedChunk(moov=boxes[moov.content : moov.end], shift=self._base - self._head_bytes)

    def _media_bytes(self, head_bytes: int) -> int:
        size = int.from_bytes(self._head[-8:-4])
        if self._head[-4:] == b"mdat" and size >= 8:
            return size - 8
        if self._head[-12:-8] == b"mdat" and int.from_bytes(self._head[-16:-12]) == 1:  # over 4 GB
            return int.from_bytes(self._head[-8:]) - 16
        raise BrokenBoxes(f"no size of a chunk's media in {bytes(self._head[-16:])!r}")


def _length_of_head(head: bytearray) -> int | None:
    """ftyp, free and the header of mdat; None while ftyp's size has not come."""
    if len(head) < 8:
        return None
    if head[4:8] != b"ftyp":
        raise BrokenBoxes(f"a chunk begins with {bytes(head[4:8])!r}")
    return int.from_bytes(head[:4]) + 16


def mdat_header(media_bytes: int) -> bytes:
    """
    The header of the target's mdat, always with a 64-bit size.
    """
    return struct.pack(">I4sQ", 1, b"mdat", MDAT_HEADER_BYTES + media_bytes)


class Film:
    """
    The tables of all chunks so far, and the target's end.
    """

    def __init__(self) -> None:
        self._template = b""
        self._tables: dict[int, TrackTable] = {}

    @property
    def template(self) -> bytes:
        """The first chunk's moov, without its tracks."""
        return self._template

    def add(
        self, chunk: ClosedChunk, *, numbers: Sequence[int], stamps: Sequence[Stamps], timescales: Sequence[int]
    ) -> list[tuple[int, Piece]]:
        """
        Take a chunk with samples of the tracks `numbers`; returns what to write down of it: a track's `trak` only once.
        """
        pieces = read_pieces(chunk.moov, shift=chunk.shift, stamps=stamps, timescales=timescales)
        if not self._template:
            self._template = without_traks(chunk.moov)
        told = []
        for number, piece in zip(numbers, pieces, strict=True):
            told.append((number, attrs.evolve(piece, trak=b"") if number in self._tables else piece))
            self._add(number, piece)
        return told

    def restore(self, template: bytes, pieces: Sequence[tuple[int, Piece]]) -> None:
        """Take what was written down of chunks."""
        self._template = template
        for number, piece in pieces:
            self._add(number, piece)

    def finish(self, target: TargetFile) -> None:
        """Make the target a whole MP4."""
        start = int.from_bytes(target.pread(4, 0))
        media = target.size_bytes - start - MDAT_HEADER_BYTES
        target.seek(target.size_bytes)
        target.write(write_moov(self._template, [self._tables[number] for number in sorted(self._tables)]))
        target.seek(start)
        target.write(mdat_header(media))

    def _add(self, number: int, piece: Piece) -> None:
        self._tables.setdefault(number, TrackTable()).add(piece)
