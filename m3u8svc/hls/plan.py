"""
What to fetch for a presentation, in order, and what stays away: playlists + skips -> `DownloadPlan`.

Identities say "the same piece of the same stream" across reloads, new tokens and other mirrors: they leave out host
and query (origin-semantics 2.11, 6). Two pieces of one playlist never share one: segments differ in their number,
init sections in their `ordinal`, pieces of two playlists in the name of their track.

Skips speak of the main playlist. What is skipped there is skipped in the renditions, too: splices as a whole, by their
discontinuity sequence number (RFC 8216 6.2.4 aligns renditions by it), anything else by its time.
"""

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import overload

import attrs

from m3u8svc.errors import NothingToDownload, UnsupportedEncryption
from m3u8svc.hls.columns import Digits
from m3u8svc.hls.playlist import (
    CBCS,
    MAIN,
    InitSection,
    Key,
    MediaPlaylist,
    Presentation,
    Segment,
    SegmentColumns,
    SegmentList,
    Stream,
)
from m3u8svc.hls.uri import path_of
from m3u8svc.wording import Said

_GAP_REASON = Said("播放列表声明的空缺（EXT-X-GAP）", "the playlist declares it missing (EXT-X-GAP)")


Place = tuple[str, int]
"""Track and position of a segment."""
IDENTITY_DIGITS = 12
MARGIN_S = 0.1
"""A rendition's segment that reaches out of what is skipped by no more than this goes with it."""


@attrs.frozen(kw_only=True)
class SegmentJob:
    """
    One segment to fetch. `track` names its stream.
    """

    segment: Segment
    identity: str
    track: str = MAIN


@attrs.frozen(kw_only=True)
class Absent:
    """
    One segment that will not be fetched, and why. `declared`: the playlist itself says that it is not there.
    """

    position: int
    duration_s: float
    discontinuity_sequence: int
    reason: str
    declared: bool
    start_s: float = 0.0
    track: str = MAIN


class JobList(Sequence[SegmentJob]):
    """
    The jobs of a plan in order; each is made anew whenever it is asked for. Kept as where its segment stands in the
    playlist of its track, and its identity.
    """

    def __init__(self) -> None:
        self.tracks: list[str] = []
        self._segments: list[SegmentList] = []
        self._of = array("H")
        self._at = array("I")
        self._identities = Digits(IDENTITY_DIGITS)
        self._index: dict[str, array[int]] = {}

    def add_track(self, track: str, segments: SegmentList) -> int:
        """A playlist that jobs may be of; returns its number."""
        self.tracks.append(track)
        self._segments.append(segments)
        self._index[track] = array("i")
        return len(self.tracks) - 1

    def append(self, of: int, at: int, identity: str, position: int) -> None:
        """One more: the segment at `at` (from 0) of playlist number `of`, which has this position."""
        index = self._index[self.tracks[of]]
        if len(index) <= position:
            index.extend([-1] * (position + 1 - len(index)))
        index[position] = len(self)
        self._of.append(of)
        self._at.append(at)
        self._identities.append(identity)

    def find(self, place: Place) -> int:
        """The number of the job of a place, from 0; -1 when there is none."""
        index = self._index.get(place[0])
        return -1 if index is None or not 0 <= place[1] < len(index) else index[place[1]]

    def place(self, number: int) -> Place:
        """The place of a job."""
        of = self._of[number]
        return self.tracks[of], self._segments[of].position(self._at[number])

    def identity(self, number: int) -> str:
        """The identity of a job."""
        return self._identities[number]

    def uri(self, number: int) -> str:
        """The link of a job."""
        return self._segments[self._of[number]].uri(self._at[number])

    def starts_s(self) -> Iterator[float]:
        """Where each begins, in seconds."""
        starts = [segments.starts_s for segments in self._segments]
        return (starts[of][at] for of, at in zip(self._of, self._at, strict=True))

    @classmethod
    def in_order_of_time(cls, lists: Sequence["JobList"]) -> "JobList":
        """All jobs of several lists; at one time those of the earlier list come first."""
        merged = cls()
        numbers = [
            [merged.add_track(track, segments) for track, segments in zip(each.tracks, each._segments, strict=True)]
            for each in lists
        ]
        starts = array("d", chain(*(each.starts_s() for each in lists)))
        whose = [
            (each, renumbered, number)
            for each, renumbered in zip(lists, numbers, strict=True)
            for number in range(len(each))
        ]
        for at in sorted(range(len(starts)), key=starts.__getitem__):
            each, renumbered, number = whose[at]
            merged.append(renumbered[each._of[number]], each._at[number], each.identity(number), each.place(number)[1])
        return merged

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> SegmentJob: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SegmentJob, ...]: ...
    def __getitem__(self, index: int | slice) -> SegmentJob | tuple[SegmentJob, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        of = self._of[index]
        return SegmentJob(
            segment=self._segments[of][self._at[index]],
            identity=self._identities[index if index >= 0 else index + len(self)],
            track=self.tracks[of],
        )

    def __iter__(self) -> Iterator[SegmentJob]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JobList | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), *self.tracks))


def pack_jobs(jobs: Iterable[SegmentJob]) -> JobList:
    """
    Jobs as such a list.
    """
    if isinstance(jobs, JobList):
        return jobs
    columns: dict[str, SegmentColumns] = {}
    given: list[tuple[str, int, str, int]] = []
    for job in jobs:
        column = columns.setdefault(job.track, SegmentColumns())
        given.append((job.track, len(column), job.identity, job.segment.position))
        column.append(job.segment)
    packed = JobList()
    numbers = {track: packed.add_track(track, SegmentList(column)) for track, column in columns.items()}
    for track, at, identity, position in given:
        packed.append(numbers[track], at, identity, position)
    return packed


class PartOrder(Sequence[Place]):
    """
    Where every part of a plan stands: tracks side by side, each in the order of its playlist.
    """

    def __init__(self, tracks: Sequence[str], places: Iterable[Place]) -> None:
        self._tracks = tracks
        self._of = array("H")
        self._positions = array("I")
        self._index: dict[str, array[int]] = {track: array("i") for track in tracks}
        self.ends: dict[str, Place] = {}
        """The last part of each track."""
        for place in places:
            self._append(place)

    def _append(self, place: Place) -> None:
        track, position = self.ends[place[0]] = place
        index = self._index[track]
        if len(index) <= position:
            index.extend([-1] * (position + 1 - len(index)))
        index[position] = len(self)
        self._of.append(self._tracks.index(track))
        self._positions.append(position)

    def find(self, place: Place) -> int:
        """The number of a place, from 0."""
        return self._index[place[0]][place[1]]

    def between(self, first: int, last: int) -> Iterator[Place]:
        """The places from `first` on, up to `last`, which is not among them."""
        return (self[number] for number in range(first, min(last, len(self))))

    def __len__(self) -> int:
        return len(self._of)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Place, ...]: ...
    def __getitem__(self, index: int | slice) -> Place | tuple[Place, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        return self._tracks[self._of[index]], self._positions[index]


def _in_order(jobs: JobList, absent: Sequence[Absent], tracks: Sequence[str]) -> Iterator[Place]:
    planned = (jobs.place(number) for number in range(len(jobs)))
    left_out = [each for each in absent if each.track in tracks]
    if len(tracks) == 1:  # positions are in order of time already
        positions = chain((position for _, position in planned), (each.position for each in left_out))
        return ((tracks[0], position) for position in sorted(positions))
    rank = {track: number for number, track in enumerate(tracks)}
    places = [
        (start_s, rank[track], position) for start_s, (track, position) in zip(jobs.starts_s(), planned, strict=True)
    ]
    places += [(each.start_s, rank[each.track], each.position) for each in left_out]
    return ((tracks[number], position) for _, number, position in sorted(places))


@attrs.frozen(kw_only=True)
class DownloadPlan:
    """
    Everything one download will do. `jobs` and `absent` are in order of time and together make up all lists; `inits`,
    with their `init_identities`, and `keys` are what the jobs need, each once. `segments_total` counts the jobs of all
    tracks, `duration_s` is that of the main one. `tracks` are those that have something to fetch, "main" first; `order`
    is that of all parts.
    """

    jobs: JobList = attrs.field(repr=False, converter=pack_jobs)
    absent: tuple[Absent, ...] = ()
    inits: tuple[InitSection, ...] = ()
    init_identities: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()
    segments_total: int
    duration_s: float
    tracks: tuple[str, ...] = (MAIN,)
    order: PartOrder = attrs.field(init=False, repr=False, eq=False)

    @order.default
    def _in_order(self) -> PartOrder:
        return PartOrder(self.tracks, _in_order(self.jobs, self.absent, self.tracks))


def plan_presentation(presentation: Presentation, skips: Mapping[int, str]) -> DownloadPlan:
    """
    The plan for all streams, without the positions of the main one in `skips` (position -> reason). A rendition of
    which nothing is left is left out.

    Raises:
        NothingToDownload: no segment of the main stream is left.
    """
    main, *others = presentation.streams
    plans = [plan_download(main.playlist, skips)]
    for stream in others:
        try:
            plans.append(plan_download(stream.playlist, _skips_of_rendition(main, skips, stream), stream.track))
        except NothingToDownload:
            continue
    if len(plans) == 1:
        return plans[0]
    return DownloadPlan(
        jobs=JobList.in_order_of_time([each.jobs for each in plans]),
        # Sorting is stable: at one time the main stream comes first.
        absent=tuple(sorted(chain(*(each.absent for each in plans)), key=lambda absent: absent.start_s)),
        inits=tuple(chain(*(each.inits for each in plans))),
        init_identities=tuple(chain(*(each.init_identities for each in plans))),
        keys=tuple({key.uri: key for key in chain(*(each.keys for each in plans))}.values()),
        segments_total=sum(each.segments_total for each in plans),
        duration_s=plans[0].duration_s,
        tracks=tuple(each.tracks[0] for each in plans),
    )


def _skips_of_rendition(main: Stream, skips: Mapping[int, str], stream: Stream) -> dict[int, str]:
    """
    Which segments of a rendition lie in what is skipped of the main stream.
    """
    if not skips:
        return {}
    skipped = [segment for segment in main.playlist.segments if segment.position in skips]
    whole = {segment.discontinuity_sequence: skips[segment.position] for segment in skipped}
    for segment in main.playlist.segments:
        if segment.position not in skips:
            whole.pop(segment.discontinuity_sequence, None)
    spliced = len({segment.discontinuity_sequence for segment in main.playlist.segments}) > 1
    spans = _spans([segment for segment in skipped if not spliced or segment.discontinuity_sequence not in whole])
    starts = [start for start, _, _ in spans]
    found: dict[int, str] = {}
    for segment in stream.playlist.segments:
        if spliced and segment.discontinuity_sequence in whole:
            found[segment.position] = whole[segment.discontinuity_sequence]
            continue
        at = bisect_right(starts, segment.start_s + MARGIN_S) - 1
        if at >= 0 and segment.start_s + segment.duration_s <= spans[at][1] + MARGIN_S:
            found[segment.position] = skips[spans[at][2]]
    return found


def _spans(skipped: Sequence[Segment]) -> list[tuple[float, float, int]]:
    """
    Start, end and first position of each stretch of segments that follow each other.
    """
    spans: list[tuple[float, float, int]] = []
    last = 0
    for segment in skipped:
        end = segment.start_s + segment.duration_s
        if spans and segment.position == last + 1:
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        else:
            spans.append((segment.start_s, end, segment.position))
        last = segment.position
    return spans


def plan_download(playlist: MediaPlaylist, skips: Mapping[int, str], track: str = MAIN) -> DownloadPlan:
    """
    The plan for one playlist without the positions in `skips` (position -> reason).

    Raises:
        NothingToDownload: no segment is left.
        UnsupportedEncryption: SAMPLE-AES in fMP4.
    """
    jobs = JobList()
    of = jobs.add_track(track, playlist.segments)
    duration_s = 0.0
    absent: list[Absent] = []
    inits: dict[str, InitSection] = {}
    keys: dict[str, Key] = {}
    for at, segment in enumerate(playlist.segments):
        if segment.position in skips:
            absent.append(_absent(segment, skips[segment.position], track, declared=False))
        elif segment.gap:
            absent.append(_absent(segment, _GAP_REASON, track, declared=True))
        else:
            _refuse_cbcs(segment)
            init = "" if segment.init is None else init_identity(segment.init, track)
            if segment.init is not None and init not in inits:
                inits[init] = segment.init
                _remember(keys, segment.init.key)
            _remember(keys, segment.key)
            jobs.append(of, at, _segment_identity(segment, init, track), segment.position)
            duration_s += segment.duration_s
    if not jobs:
        raise NothingToDownload()
    return DownloadPlan(
        jobs=jobs,
        absent=tuple(absent),
        inits=tuple(inits.values()),
        init_identities=tuple(inits),
        keys=tuple(keys.values()),
        segments_total=len(jobs),
        duration_s=duration_s,
        tracks=(track,),
    )


def _refuse_cbcs(segment: Segment) -> None:
    """
    S10: what a MAP stands before is fMP4, where SAMPLE-AES means another scheme, which nothing here undoes.
    """
    key = segment.key
    if key is not None and key.method == "SAMPLE-AES" and segment.init is not None:
        raise UnsupportedEncryption(method=CBCS, keyformat=key.keyformat, system="", line=key.line, tag="EXT-X-KEY")


def segment_identity(segment: Segment, track: str = MAIN) -> str:
    """
    12 hexadecimal digits that name a segment as long as its stream names it so.
    """
    init = "" if segment.init is None else init_identity(segment.init, track)
    return _segment_identity(segment, init, track)


def init_identity(init: InitSection, track: str = MAIN) -> str:
    """
    12 hexadecimal digits that name an init section as long as its stream names it so.
    """
    if init.known_as:
        return init.known_as
    byterange = init.byterange and init.byterange.header
    named = () if track == MAIN else (track,)
    return _digest(path_of(init.uri), byterange, *_lock(init.key, init.iv), init.ordinal, *named)


def _absent(segment: Segment, reason: str, track: str, *, declared: bool) -> Absent:
    return Absent(
        position=segment.position,
        duration_s=segment.duration_s,
        discontinuity_sequence=segment.discontinuity_sequence,
        reason=reason,
        declared=declared,
        start_s=segment.start_s,
        track=track,
    )


def _remember(keys: dict[str, Key], key: Key | None) -> None:
    if key is not None:
        keys.setdefault(key.uri, key)


def _segment_identity(segment: Segment, init: str, track: str) -> str:
    if segment.known_as:
        return segment.known_as
    byterange = segment.byterange and segment.byterange.header
    named = () if track == MAIN else (track,)  # what earlier versions named without a track keeps its name
    return _digest(segment.number, path_of(segment.uri), byterange, *_lock(segment.key, segment.iv), init, *named)


def _lock(key: Key | None, iv: bytes | None) -> tuple[str, str]:
    if key is None:
        return "", ""
    # A key that the user gave is no part of the playlist: with another one the same piece is another file.
    given = "" if key.value is None else hashlib.sha256(key.value).hexdigest()
    return path_of(key.uri) + given, iv.hex() if iv else ""


def _digest(*parts: object) -> str:
    # URIs hold no line feeds (parse refuses them), so parts cannot run into each other.
    text = "\n".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
