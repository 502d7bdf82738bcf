"""
What became of one segment, as it is kept with the task, and the ledger that all of them are.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, get_args

import attrs

from m3u8svc.hls.columns import Digits
from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.plan import IDENTITY_DIGITS, Place

_DIGEST_DIGITS = 64
_KINDS: tuple[str, ...] = get_args(MediaKind)
_OTHER = len(_KINDS)


@attrs.frozen(kw_only=True)
class SegmentRow:
    """
    One line of a task's ledger: `position` from 1 in its track, `identity` of what was planned there (see `hls.plan`),
    how it ended; `reason` says why it was skipped, or how one that is done is damaged. `digest` is the SHA-256 of the
    file as 64 hexadecimal digits, "" when a restart adopted it unread.
    """

    track: str = "main"
    position: int
    identity: str
    name: str = ""
    size_bytes: int = 0
    attempts: int = 1
    outcome: Literal["done", "skipped"] = "done"
    reason: str = ""
    status: int | None = None
    digest: str = ""


def file_name(position: int, identity: str, kind: str) -> str:
    """
    The name of a finished segment's file.
    """
    return f"{position:08d}-{identity}.{kind}"


class Ledger(Mapping[Place, SegmentRow]):
    """
    Rows by place, in columns (see `hls.columns`): a row is made when it is asked for. What says no more than that a
    segment is there takes some sixty bytes; others are kept as they are.
    """

    def __init__(self, rows: Iterable[SegmentRow] = ()) -> None:
        self._index: dict[str, array[int]] = {}
        self._tracks: list[str] = []
        self._of = array("H")
        self._positions = array("I")
        self._identities = Digits(IDENTITY_DIGITS)
        self._digests = Digits(_DIGEST_DIGITS)
        self._sizes = array("Q")
        self._attempts = array("I")
        self._kinds = bytearray()
        self._others: dict[int, SegmentRow] = {}
        self._gone = 0
        for row in rows:
            self.put(row)

    def put(self, row: SegmentRow) -> None:
        """One more row, or another for its place."""
        at = self._find((row.track, row.position))
        if at < 0:
            at = self._add(row.track, row.position)
        kind = _kind(row)
        self._kinds[at] = kind
        if kind == _OTHER:
            self._others[at] = row
            return
        self._others.pop(at, None)
        self._identities[at] = row.identity
        self._digests[at] = row.digest
        self._sizes[at] = row.size_bytes
        self._attempts[at] = row.attempts

    def _add(self, track: str, position: int) -> int:
        at = len(self._positions)
        if track not in self._index:
            self._index[track] = array("i")
            self._tracks.append(track)
        index = self._index[track]
        if len(index) <= position:
            index.extend([-1] * (position + 1 - len(index)))
        index[position] = at
        self._of.append(self._tracks.index(track))
        self._positions.append(position)
        self._identities.fill(1)
        self._digests.fill(1)
        self._sizes.append(0)
        self._attempts.append(0)
        self._kinds.append(_OTHER)
        return at

    def keep_done(self) -> None:
        """Forget the rows of segments that are not there."""
        gone = [row for row in self._others.values() if row.outcome != "done"]
        for row in gone:
            self._others.pop(self._find((row.track, row.position)))
            self._index[row.track][row.position] = -1
        self._gone += len(gone)

    @property
    def tracks(self) -> Sequence[str]:
        """Those that there are rows of."""
        return self._tracks

    def __getitem__(self, place: Place) -> SegmentRow:
        at = self._find(place)
        if at < 0:
            raise KeyError(place)
        return self._at(at)

    def __iter__(self) -> Iterator[Place]:
        for at, (of, position) in enumerate(zip(self._of, self._positions, strict=True)):
            place = (self._tracks[of], position)
            if self._find(place) == at:  # else it was forgotten
                yield place

    def __len__(self) -> int:
        return len(self._positions) - self._gone

    def _find(self, place: Place) -> int:
        index = self._index.get(place[0])
        return -1 if index is None or not 0 <= place[1] < len(index) else index[place[1]]

    def _at(self, at: int) -> SegmentRow:
        if at in self._others:
            return self._others[at]
        position, identity = self._positions[at], self._identities[at]
        return SegmentRow(
            track=self._tracks[self._of[at]],
            position=position,
            identity=identity,
            name=file_name(position, identity, _KINDS[self._kinds[at]]),
            size_bytes=self._sizes[at],
            attempts=self._attempts[at],
            digest=self._digests[at],
        )


class Sizes(Mapping[tuple[int, str], int]):
    """
    The bytes on record of each segment, by position and identity: a file does not tell its track.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getitem__(self, key: tuple[int, str]) -> int:
        for track in self._ledger.tracks:
            row = self._ledger.get((track, key[0]))
            if row is not None and row.identity == key[1]:
                return row.size_bytes
        raise KeyError(key)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((row.position, row.identity) for row in self._ledger.values())

    def __len__(self) -> int:
        return len(self._ledger)


def _kind(row: SegmentRow) -> int:
    """
    The number of what its file holds, if there is nothing else to say of it.
    """
    kind = row.name.rpartition(".")[2]
    plain = row.outcome == "done" and not row.reason and row.status is None
    fits = 0 <= row.size_bytes < 1 << 64 and 0 <= row.attempts < 1 << 32
    if plain and fits and kind in _KINDS and row.name == file_name(row.position, row.identity, kind):
        return _KINDS.index(kind)
    return _OTHER
