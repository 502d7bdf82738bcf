"""
The journal of a low-disk merge: what is written is read, and what a crash tore is dropped.
"""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import attrs
import pytest

from m3u8svc.mux.frozen import freeze, thaw
from m3u8svc.mux.journal import BrokenJournal, Journal, Record, decode, encode
from m3u8svc.mux.moov import Piece

PIECE = Piece(
    trak=b"",
    descriptions=(b"avc1", b"hvc1"),
    timescale=90_000,
    first_dts=-3600,
    steps=((2, 3600), (1, 3601)),
    delays=((1, 7200), (2, 0)),
    sync=(1,),
    sizes=(500, 20, 30),
    places=((40, 2, 1), (9000, 1, 2)),
    end_pts=10_801,
    dependencies=b"\0\1\2",
)


def record(parts: int) -> Record:
    """A checkpoint."""
    return Record(
        parts=parts,
        size_bytes=1000 * parts,
        pieces=((0, PIECE), (1, attrs.evolve(PIECE, first_dts=parts))),
        template=b"mvhd",
        state={"dict": [["a", 1]]},
        reports=({"ev": "warn", "text": "坏"},),
    )


def test_what_was_written_is_read() -> None:
    """Records come back as they were."""
    journal = encode(record(1)) + encode(record(2))
    assert [record(1), record(2)] == [each for each, _ in decode(journal)]
    assert len(journal) == [end for _, end in decode(journal)][-1]


@pytest.mark.parametrize("damage", [lambda tail: tail[:-1], lambda tail: tail[:10], lambda tail: b"\0" * len(tail)])
def test_torn_record_is_none(damage: Callable[[bytes], bytes]) -> None:
    """A tail that a crash left half-written, or as zeros, is dropped."""
    assert [record(1)] == [each for each, _ in decode(encode(record(1)) + damage(encode(record(2))))]


@pytest.mark.parametrize("at", [0, 5, 20, 40])
def test_turned_bit_is_noticed(at: int) -> None:
    """A record that is not what was written is none, wherever it was damaged."""
    damaged = bytearray(encode(record(1)))
    damaged[at] ^= 4
    assert [] == list(decode(bytes(damaged)))


def test_resume_drops_what_is_later(tmp_path: Path) -> None:
    """A child goes on from the checkpoint its parent knows; what was written after it is gone for good."""
    path = tmp_path / "journal"
    first = Journal(str(path))
    first.begin()
    for parts in (2, 4, 6):
        first.append(record(parts))
    again = Journal(str(path))
    assert [record(2), record(4)] == again.resume(4)
    again.append(record(5))
    assert [record(2), record(4), record(5)] == Journal(str(path)).resume(5)


def test_begin_forgets(tmp_path: Path) -> None:
    """A merge that begins anew finds nothing."""
    journal = Journal(str(tmp_path / "journal"))
    journal.begin()
    journal.append(record(2))
    Journal(str(tmp_path / "journal")).begin()
    with pytest.raises(BrokenJournal, match="no checkpoint at part 2"):
        Journal(str(tmp_path / "journal")).resume(2)


def test_journal_that_is_gone(tmp_path: Path) -> None:
    """No file is told."""
    with pytest.raises(BrokenJournal, match="no journal"):
        Journal(str(tmp_path / "journal")).resume(2)


@attrs.frozen
class Known:
    """A class that is written down."""

    each: tuple[object, ...]


def test_frozen_values_come_back_exactly() -> None:
    """Types included, however nested."""
    value = {("main", 0): [1, 2.5, None, True, "x"], "y": (b"\0\xff", Fraction(1, 90_000), Known(((), {}, b"")))}
    thawed = thaw(json.loads(json.dumps(freeze(value))), {"Known": Known})
    assert value == thawed
    assert repr(value) == repr(thawed)


def test_what_would_not_come_back_is_refused() -> None:
    """Better no checkpoint than one that forgets."""
    with pytest.raises(TypeError, match="set cannot be written down"):
        freeze({"a": {1}})
