"""
What a low-disk merge writes down at each checkpoint, so that another child can go on from there.

The journal is a file of records, each with its length and a checksum; one is appended and synced when the media of a
checkpoint is on disk. A record that a crash tore is none. Reading and writing values is pure, the file is at the end.
"""

import base64
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from m3u8svc.mux.moov import Piece, without_tables
from m3u8svc.nofollow import open_file, remove_file

MAGIC = b"m3uj"
_HEAD = struct.Struct(">4sI16s")
MAX_RECORD_BYTES = 1 << 28

Json = dict[str, Any]  # Any: JSON


class BrokenJournal(ValueError):
    """
    The journal does not hold what it must.
    """


@attrs.frozen(kw_only=True)
class Record:
    """
    One checkpoint. `parts` of the merge are in the target, which is `size_bytes` long; `pieces` came with it, by the
    number of their track; `template` is the first chunk's moov; `state` is that of whoever reads and stamps, `reports`
    what the parent was told since the checkpoint before.
    """

    parts: int
    size_bytes: int
    pieces: tuple[tuple[int, Piece], ...]
    template: bytes
    state: Json
    reports: tuple[Json, ...] = ()


def encode(record: Record) -> bytes:
    """
    A record as it is appended.
    """
    fields = {
        "parts": record.parts,
        "size": record.size_bytes,
        "pieces": [[track, _piece_fields(piece)] for track, piece in record.pieces],
        "template": _text(record.template),
        "state": record.state,
        "reports": record.reports,
    }
    body = zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 1)
    return _HEAD.pack(MAGIC, len(body), _sum(body)) + body


def decode(journal: bytes) -> Iterator[tuple[Record, int]]:
    """
    The records of a journal and where each ends, as far as it is whole.
    """
    at = 0
    while at + _HEAD.size <= len(journal):
        magic, length, checksum = _HEAD.unpack_from(journal, at)
        body = journal[at + _HEAD.size : at + _HEAD.size + length]
        if magic != MAGIC or length > MAX_RECORD_BYTES or len(body) != length or _sum(body) != checksum:
            return
        at += _HEAD.size + length
        yield _record(json.loads(zlib.decompress(body))), at


def _record(fields: Json) -> Record:
    return Record(
        parts=fields["parts"],
        size_bytes=fields["size"],
        pieces=tuple((track, _piece(each)) for track, each in fields["pieces"]),
        template=base64.b64decode(fields["template"]),
        state=fields["state"],
        reports=tuple(fields["reports"]),
    )


def _sum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _piece_fields(piece: Piece) -> list[object]:
    places, before = [], 0
    for offset, samples, description in piece.places:  # differences are shorter, and compress
        places.append((offset - before, samples, description))
        before = offset
    return [
        _text(without_tables(piece.trak)) if piece.trak else "",
        list(map(_text, piece.descriptions)),
        piece.timescale,
        piece.first_dts,
        piece.steps,
        piece.delays,
        piece.sync,
        piece.sizes,
        places,
        piece.end_pts,
        _text(piece.dependencies),
    ]


def _piece(fields: list[Any]) -> Piece:  # Any: JSON
    trak, descriptions, timescale, first_dts, steps, delays, sync, sizes, distances, end_pts, dependencies = fields
    places, before = [], 0
    for distance, samples, description in distances:
        before += distance
        places.append((before, samples, description))
    return Piece(
        trak=base64.b64decode(trak),
        descriptions=tuple(map(base64.b64decode, descriptions)),
        timescale=timescale,
        first_dts=first_dts,
        steps=tuple(map(tuple, steps)),
        delays=tuple(map(tuple, delays)),
        sync=tuple(sync),
        sizes=tuple(sizes),
        places=tuple(places),
        end_pts=end_pts,
        dependencies=base64.b64decode(dependencies),
    )


class Journal:
    """
    The file. Records are appended by one child at a time.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._fd = -1

    def begin(self) -> None:
        """Begin anew: nothing was merged."""
        remove_file(self._path)
        self._open(os.O_CREAT | os.O_EXCL)

    def resume(self, parts: int) -> list[Record]:
        """
        The records up to the checkpoint that is known to the parent; later ones are dropped.

        Raises:
            BrokenJournal: that checkpoint is not there.
        """
        try:
            self._open(0)
        except FileNotFoundError as error:
            raise BrokenJournal("no journal") from error
        records: list[Record] = []
        with open(self._fd, "rb", closefd=False) as file:
            journal = file.read()
        for record, end in decode(journal):
            records.append(record)
            if record.parts == parts:
                os.ftruncate(self._fd, end)
                os.lseek(self._fd, end, os.SEEK_SET)
                return records
        raise BrokenJournal(f"no checkpoint at part {parts}")

    def append(self, record: Record) -> None:
        """Write a record; it is on disk when this returns."""
        rest = memoryview(encode(record))
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        os.fsync(self._fd)

    def _open(self, extra: int) -> None:
        self._fd = open_file(self._path, os.O_RDWR | extra)
