"""
The segments of a task as a map to look at: one letter each, and the groups they lie in. Pure.

While a task runs, its download keeps the letters, a byte a segment (`SegmentStates`). At rest they are made of what was
written down: the report of a finished task, else the playlists beside its segments and the ledger.
"""

import itertools
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final, Literal

import attrs

from m3u8svc.hls.groups import Chosen, Ranges
from m3u8svc.hls.plan import DownloadPlan, PartOrder, Place
from m3u8svc.hls.playlist import MAIN, MediaPlaylist
from m3u8svc.hls.rematch import Piece
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import Ledger, SegmentRow

State = Literal[".", "f", "d", "r", "s", "x"]

WAITING: Final = "."
IN_FLIGHT: Final = "f"
DONE: Final = "d"
RETRIED: Final = "r"
"""Done, after more than one attempt."""
SKIPPED: Final = "s"
MISSING: Final = "x"
"""Failed, given up, or declared as a gap."""

Kind = Literal["video", "audio", "subtitles"]

_OF_REPORT: Mapping[str, State] = {"skipped": SKIPPED, "gap": MISSING, "missing": MISSING}
MOST_PICTURED = 1000
"""Groups that have pictures: what is there of them is looked for at each poll, and nobody looks through so many."""
_LABEL = re.compile(r"(?:(?P<track>[a-z]+\d+)-(?P<of>\d+)|(?P<main>\d+)\.ts)")


@attrs.frozen(kw_only=True)
class TrackStates:
    """
    One track: `states` has a letter for each segment of its playlist, in order.
    """

    kind: Kind
    name: str = ""
    states: str


@attrs.frozen(kw_only=True)
class GroupSpan:
    """
    A stretch of the main track between two discontinuities, numbered from 1: its first and last segment, its seconds,
    whether any of it is wanted, and the segment that a picture of it can be made of, None where none can.
    """

    number: int
    first: int
    last: int
    duration_s: float
    kept: bool
    picture: int | None = None


@attrs.frozen(kw_only=True)
class SegmentMap:
    """
    All tracks, "main" first, and the groups of the main one. Empty until a playlist was read.
    """

    tracks: tuple[TrackStates, ...] = ()
    groups: tuple[GroupSpan, ...] = ()


class SegmentStates:
    """
    The letters of a download while it runs.
    """

    def __init__(self, order: PartOrder) -> None:
        self._letters = {track: bytearray(b"." * last) for track, (_, last) in order.ends.items()}

    def put(self, place: Place, state: State) -> None:
        """What this segment is now."""
        track, position = place
        self._letters[track][position - 1] = ord(state)

    def done(self, place: Place, *, attempts: int) -> None:
        """This segment is there."""
        self.put(place, DONE if attempts <= 1 else RETRIED)

    def text(self, track: str) -> str:
        """All letters of a track."""
        return self._letters[track].decode("ascii") if track in self._letters else ""


def kind_of(track: str) -> Kind:
    """
    What a track of this name holds.
    """
    if track == MAIN:
        return "video"
    return "subtitles" if track.startswith("subtitles") else "audio"


def groups_of_plan(playlist: MediaPlaylist, plan: DownloadPlan) -> tuple[GroupSpan, ...]:
    """
    The groups of the main playlist, and which the plan keeps any of. Costs time in proportion to the number of
    segments.
    """
    wanted = bytearray(len(playlist.segments) + 1)
    for number in range(len(plan.jobs)):
        track, position = plan.jobs.place(number)
        if track == MAIN:
            wanted[position] = True
    return tuple(
        GroupSpan(
            number=number,
            first=group[0].position,
            last=group[-1].position,
            duration_s=round(group.duration_s, 6),
            kept=any(wanted[group[0].position : group[-1].position + 1]),
        )
        for number, (_, group) in enumerate(playlist.segments.groups(), start=1)
    )


def candidates(group: GroupSpan) -> tuple[int, ...]:
    """
    The segments that may stand for a group, the best one first. Where it begins there is often nothing but black.
    """
    return tuple(dict.fromkeys(((group.first + group.last) // 2, group.first, group.last)))


def with_pictures(groups: Iterable[GroupSpan], is_there: Callable[[int], bool]) -> tuple[GroupSpan, ...]:
    """
    The groups, the first ones with the segments that pictures of them can be made of: those that are there.
    """
    left = iter(groups)
    first = itertools.islice(left, MOST_PICTURED)
    pictured = (attrs.evolve(each, picture=next(filter(is_there, candidates(each)), None)) for each in first)
    return (*pictured, *left)


def map_of_report(report: Report, *, kept: Container[int] = (), is_film: bool = False) -> SegmentMap:
    """
    The map of a result. Pictures can be made of segments that are `kept`, by position, and of those whose place in the
    result is known, if that `is_film`. Costs time in proportion to its size.
    """
    letters: dict[str, bytearray] = {}
    placed = bytearray()
    for line in report.lines():
        if line.track == MAIN:
            placed.append(is_film and line.from_s is not None)
        state = _OF_REPORT.get(line.outcome) or (DONE if line.attempts <= 1 else RETRIED)
        letters.setdefault(line.track, bytearray()).append(ord(state))

    def is_there(position: int) -> bool:
        if position in kept:
            return not streams or "video" in streams  # where nobody merged, nobody tells
        return "video" in streams and bool(placed[position - 1])

    summary = json.loads(report.summary)
    streams = {each.get("kind") for track in summary["tracks"] for each in track["streams"]}
    groups = (
        GroupSpan(
            number=each["number"],
            first=int(each["positions"].partition("-")[0]),
            last=int(each["positions"].partition("-")[2]),
            duration_s=each["duration_s"],
            kept=each["kept"],
        )
        for each in summary["groups"]
    )
    return SegmentMap(
        tracks=tuple(
            TrackStates(
                kind=kind_of(each["track"]),
                name=each.get("name", ""),
                states=letters.get(each["track"], bytearray()).decode("ascii"),
            )
            for each in summary["tracks"]
        ),
        groups=with_pictures(groups, is_there),
    )


def map_of_record(
    tracks: Iterable[tuple[str, Iterable[Piece]]], ledger: Ledger, failed: Sequence[str] = (), kept: Ranges = ()
) -> SegmentMap:
    """
    The map of a task that is not finished and does not run: the playlists it was planned by, its ledger, the names of
    segments that it `failed` with, and the groups that it is to keep. What was to be skipped is not on record: it
    counts as waiting. Costs time in proportion to the number of segments; the pieces of a track are taken before the
    next track is.
    """
    chosen = Chosen(kept)
    lost = {place for place in map(_place_of, failed) if place is not None}
    shown: list[TrackStates] = []
    groups: tuple[GroupSpan, ...] = ()
    for track, pieces in tracks:
        letters, so_far = bytearray(), _Groups(chosen)
        for each in pieces:
            letters.append(ord(_state_of(ledger.get((track, each.position)), each, (track, each.position) in lost)))
            so_far.add(each)
        shown.append(TrackStates(kind=kind_of(track), states=letters.decode("ascii")))
        groups = so_far.found() if track == MAIN else groups
    return SegmentMap(tracks=tuple(shown), groups=groups)


def _state_of(row: SegmentRow | None, piece: Piece, is_lost: bool) -> State:
    if row is not None and row.identity == piece.identity:
        if row.outcome == "skipped":
            return SKIPPED
        return DONE if row.attempts <= 1 else RETRIED
    return MISSING if is_lost else WAITING


class _Groups:
    """
    The groups of a track, one piece after the other.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._found: list[GroupSpan] = []
        self._splice: int | None = None

    def add(self, piece: Piece) -> None:
        if piece.splice != self._splice:
            self._splice = piece.splice
            number = len(self._found) + 1
            self._found.append(
                GroupSpan(
                    number=number,
                    first=piece.position,
                    last=piece.position,
                    duration_s=0.0,
                    kept=number in self._chosen,
                )
            )
        group = self._found[-1]
        self._found[-1] = attrs.evolve(group, last=piece.position, duration_s=group.duration_s + piece.duration_s)

    def found(self) -> tuple[GroupSpan, ...]:
        return tuple(attrs.evolve(each, duration_s=round(each.duration_s, 6)) for each in self._found)


def _place_of(label: str) -> Place | None:
    """
    The place of a segment as people are told of it (`download.segment_label`).
    """
    found = _LABEL.fullmatch(label)
    if found is None:
        return None
    return (found["track"], int(found["of"])) if found["track"] else (MAIN, int(found["main"]))
