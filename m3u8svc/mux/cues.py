"""
Where cues stand in the output, which of them are one cue told twice, and what is on the screen at a time. Pure.

The theory. Audio and video bring splices onto the output's timeline; each time their offset changes a *stretch* begins.
A cue with a media time belongs to the stretches of its own splice and gets their offset; what of it lies outside them
is cut off, so that it never stands in another splice's picture. A cue without a media time counts from the start of the
presentation, and the main playlist says which stretch that is.

A subtitle playlist may say nothing of the splices of the main one, and its media times may be nonsense; the times of
the two playlists tell both. A media time is believed when it lands near where the playlist has its segment. Otherwise
the playlist's time is taken, and people are told. A segment that goes on beyond its splice (a whole film in one file)
follows the playlist from there.

The output is written while it grows, so a cue is placed only when audio and video are about to be written there: until
then a splice may begin, or a piece in the next segment may make the cue longer.
"""

import bisect
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count

import attrs

from m3u8svc.mux.timeline import NS, unwrap33
from m3u8svc.mux.webvtt import Cue, TimestampMap, shift
from m3u8svc.wording import Said

JOIN_NS = 1_000_000
"""Times that differ by no more than this are the same: WebVTT has milliseconds."""
FAR_NS = 60 * NS
"""A media time that puts a segment's cues farther than this from their segment is not believed."""
MOST_SHOWN = 16
"""How many cues one sample of the MP4 may show."""
_OFF = Said(
    "字幕的媒体时间与画面不符，按播放列表的时间放置",
    "the media times of the subtitles do not fit the picture; the playlist's times are taken",
)


@attrs.frozen(kw_only=True)
class Stretch:
    """
    Output from `out_ns` on, where output time is source time plus `offset_ns`, and time of the main playlist plus
    `place_ns`.
    """

    splice: int
    out_ns: int
    offset_ns: int
    place_ns: int


@attrs.define(kw_only=True)
class Segment:
    """
    The cues of one subtitle segment on their own clock. `mapped` ties that clock to the media's; `on_media_clock`:
    it is the media's already (fMP4).
    """

    number: int
    splice: int
    start_s: float
    duration_s: float
    cues: tuple[Cue, ...]
    mapped: TimestampMap | None = None
    on_media_clock: bool = False


# -- Cues that were told twice, or in pieces ---------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class Held:
    """
    One cue of the output, which may still grow. `source` is what brought its last piece.
    """

    cue: Cue
    source: int
    gone: bool = False


class CueList:
    """
    All cues of a track in the output's time, each once.
    """

    def __init__(self) -> None:
        self._by_text: dict[tuple[str, str], list[Held]] = {}
        self._all: list[Held] = []

    def add(self, cue: Cue, *, source: int) -> Held:
        """The cue, new or one that it repeats or goes on with; pieces are joined only when their sources differ."""
        alike = self._by_text.setdefault((cue.text, cue.settings), [])
        at = bisect.bisect_left(alike, cue.start_ns - JOIN_NS, key=lambda held: held.cue.start_ns)
        if at < len(alike) and alike[at].cue.start_ns <= cue.start_ns + JOIN_NS:
            return self._grow(alike[at], cue.end_ns, source)
        if at and alike[at - 1].source != source and alike[at - 1].cue.end_ns >= cue.start_ns - JOIN_NS:
            return self._grow(alike[at - 1], cue.end_ns, source)
        held = Held(cue=cue, source=source)
        alike.insert(at, held)
        self._all.append(held)
        return held

    def _grow(self, held: Held, end_ns: int, source: int) -> Held:
        held.source = source
        if end_ns > held.cue.end_ns:
            held.cue = attrs.evolve(held.cue, end_ns=end_ns)
        return held

    def cut(self, held: Held, end_ns: int) -> None:
        """Nothing of it from `end_ns` on."""
        if held.cue.start_ns >= end_ns:
            held.gone = True
        elif held.cue.end_ns > end_ns:
            held.cue = attrs.evolve(held.cue, end_ns=end_ns)

    def __iter__(self) -> Iterator[Cue]:
        return (held.cue for held in self._all if not held.gone)


# -- Placing -----------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True, eq=False)
class _Waiting:
    """
    A segment some of whose cues are not placed yet; how its clock stands to the media's and the playlist's, once known,
    and what brings its cues into the present stretch (None: they have no place there).
    """

    segment: Segment
    cues: deque[Cue]
    splice: int | None = None
    to_source_ns: int | None = None
    to_playlist_ns: int | None = None
    shift_ns: int | None = None


class Placer:
    """
    Puts the cues of one track into a list as the output grows.
    """

    def __init__(self, tell: Callable[[int, Said], None]) -> None:
        self.list = CueList()
        self._tell = tell
        self._stretch: Stretch | None = None
        self._waiting: list[_Waiting] = []
        self._open: list[tuple[int, int, Held, Cue, _Waiting]] = []
        """Placed cues that do not end before the horizon: a heap by end."""
        self._carried: list[tuple[Cue, _Waiting]] = []
        """Cues that the last file cut off."""
        self._tie = count()
        self._source = 0
        self._horizon_ns = 0
        self._playlist_s = 0.0
        self._passed = 0
        self._sweep = Sweep()

    def enter(self, stretch: Stretch) -> None:
        """The offset changes: nothing placed so far reaches into `stretch`, unless it goes on there."""
        last = self._stretch
        if last is not None and attrs.evolve(last, out_ns=stretch.out_ns) == stretch:
            return
        self._stretch = stretch
        self._source += 1
        for waiting in self._waiting:
            waiting.shift_ns = self._shift_onward(waiting, stretch)
        over = [each for each in self._waiting if each.to_playlist_ns is not None and each.shift_ns is None]
        self._passed += sum(len(waiting.cues) for waiting in over)
        self._waiting = [waiting for waiting in self._waiting if waiting not in over]
        reaching = self._cut_open(stretch.out_ns)
        for cue, waiting in [*self._carried, *reaching]:
            if waiting not in self._waiting:
                waiting.shift_ns = self._shift_onward(waiting, stretch)
            self._place(cue, waiting)
        self._carried = []

    def add(self, segment: Segment) -> None:
        """The next segment of the track."""
        self._source += 1
        if segment.cues:
            cues = deque(sorted(segment.cues, key=lambda cue: (cue.start_ns, cue.end_ns)))
            self._waiting.append(_Waiting(segment=segment, cues=cues))

    def advance(self, *, playlist_s: float, horizon_ns: int) -> None:
        """
        Audio and video have come to `playlist_s` of the main playlist and are about to be written up to `horizon_ns`,
        without another stretch: place the cues that start before that.
        """
        self._horizon_ns, self._playlist_s = horizon_ns, playlist_s
        while self._open and self._open[0][0] <= horizon_ns:
            heapq.heappop(self._open)
        for waiting in self._waiting:
            if waiting.to_playlist_ns is None:
                self._find_place(waiting, playlist_s)
            while waiting.shift_ns is not None and waiting.cues:
                if waiting.cues[0].start_ns + waiting.shift_ns >= horizon_ns:
                    break
                self._place(waiting.cues.popleft(), waiting)
        self._waiting = [waiting for waiting in self._waiting if waiting.cues]

    def end_file(self, end_ns: int) -> Iterator["Sample"]:
        """
        The file ends at `end_ns`: place what is left before it; returns the rest of its samples. `list` is complete.
        """
        if self._stretch is not None:
            self.advance(playlist_s=self._playlist_s, horizon_ns=end_ns)
        self._carried = self._cut_open(end_ns)
        return self._sweep.advance(None)

    def begin_file(self) -> None:
        """The output goes on in a new file, whose first stretch is to follow; `list` is that file's from now on."""
        self.list = CueList()
        self._sweep = Sweep()
        self._stretch = None
        self._horizon_ns = 0

    def finish(self, end_ns: int) -> Iterator["Sample"]:
        """
        Audio and video end at `end_ns`, and all segments are here: as `end_file`, but nothing waits any longer.
        """
        self._playlist_s = float("inf")
        return self.end_file(end_ns)

    @property
    def left(self) -> int:
        """How many cues have no place so far, or never had: those beyond their splice."""
        return self._passed + sum(len(waiting.cues) for waiting in self._waiting)

    def _cut_open(self, end_ns: int) -> list[tuple[Cue, _Waiting]]:
        """End the cues that reach beyond `end_ns` there; returns them as they came, for what follows."""
        reaching = [entry for entry in self._open if entry[2].cue.end_ns > end_ns]
        self._open = []
        for _, _, held, _, _ in reaching:
            self.list.cut(held, end_ns)
        return [(cue, waiting) for _, _, _, cue, waiting in reaching]

    def _place(self, cue: Cue, waiting: _Waiting) -> None:
        """Put what of `cue` lies in the present stretch into the list."""
        stretch = self._stretch
        assert stretch is not None
        if waiting.shift_ns is None:
            return
        placed = shift(cue, waiting.shift_ns)
        start_ns = max(placed.start_ns, stretch.out_ns, 0)
        if placed.end_ns <= start_ns:
            return
        if start_ns > placed.start_ns:
            placed = attrs.evolve(placed, start_ns=start_ns)
        held = self.list.add(placed, source=self._source)
        self._sweep.add(held)
        if placed.end_ns > self._horizon_ns:
            heapq.heappush(self._open, (placed.end_ns, next(self._tie), held, cue, waiting))

    def _find_place(self, waiting: _Waiting, playlist_s: float) -> None:
        """Decide what a segment's clock is, now that audio and video have come to it."""
        stretch, segment = self._stretch, waiting.segment
        assert stretch is not None
        if segment.splice > stretch.splice and playlist_s < segment.start_s + segment.duration_s:
            return  # its splice is about to begin
        expected_ns = ns(segment.start_s) + stretch.place_ns
        to_source_ns = self._to_source(waiting, expected_ns - stretch.offset_ns)
        if to_source_ns is not None:
            waiting.splice = stretch.splice
            waiting.to_source_ns = to_source_ns
            waiting.shift_ns = to_source_ns + stretch.offset_ns
            waiting.to_playlist_ns = waiting.shift_ns - stretch.place_ns
            return
        if segment.mapped is None and not segment.on_media_clock:
            waiting.to_playlist_ns = 0
        else:
            self._tell(segment.number, _OFF)
            local_ns = segment.mapped.local_ns if segment.mapped is not None else 0
            # Either clock may have been meant: the presentation's or the segment's own.
            waiting.to_playlist_ns = min(
                (0, ns(segment.start_s) - local_ns),
                key=lambda by_ns: _distance(waiting.cues, ns(segment.start_s) - by_ns, ns(segment.duration_s)),
            )
        waiting.shift_ns = waiting.to_playlist_ns + stretch.place_ns

    def _to_source(self, waiting: _Waiting, near_ns: int) -> int | None:
        """What added to the cues gives source time; None without a media time, or when it is not near `near_ns`."""
        segment = waiting.segment
        if segment.mapped is not None:
            local_ns = segment.mapped.local_ns
            near_ticks = (near_ns - waiting.cues[0].start_ns + local_ns) * 9 // 100_000
            by_ns = unwrap33(segment.mapped.mpegts, near_ticks) * 100_000 // 9 - local_ns
        elif segment.on_media_clock:
            by_ns = 0
        else:
            return None
        length_ns = ns(segment.duration_s)
        return by_ns if _distance(waiting.cues, near_ns - by_ns, length_ns) <= FAR_NS else None

    def _shift_onward(self, waiting: _Waiting, stretch: Stretch) -> int | None:
        """What brings a segment that has its place already into a new stretch."""
        segment = waiting.segment
        if waiting.to_playlist_ns is None:
            return None
        by_playlist_ns = waiting.to_playlist_ns + stretch.place_ns
        if waiting.to_source_ns is not None:
            by_clock_ns = waiting.to_source_ns + stretch.offset_ns
            if waiting.splice == stretch.splice and abs(by_clock_ns - by_playlist_ns) <= FAR_NS:
                return by_clock_ns
            if ns(segment.start_s + segment.duration_s) + stretch.place_ns <= stretch.out_ns + NS:
                return None
        return by_playlist_ns

    def out_ns(self, playlist_s: float) -> int:
        """Where a time of the playlist stands in the present stretch's output."""
        assert self._stretch is not None
        return ns(playlist_s) + self._stretch.place_ns

    # -- What is shown -------------------------------------------------------------------------------------------------

    def samples(self, *, settled_ns: int | None) -> "Iterator[Sample]":
        """What is shown up to `settled_ns` and was not told yet; everything with None."""
        return self._sweep.advance(settled_ns)


def ns(seconds: float) -> int:
    """
    Seconds of a playlist as nanoseconds.
    """
    return round(seconds * NS)


def _distance(cues: Iterable[Cue], expected_ns: int, duration_ns: int) -> int:
    """How far the nearest of `cues` is from where their segment should be, or the length of one around it."""
    start_ns, end_ns = expected_ns - duration_ns, expected_ns + 2 * duration_ns
    return min(max(0, start_ns - cue.end_ns, cue.start_ns - end_ns) for cue in cues)


# -- What is on the screen ---------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Sample:
    """
    From `start_ns` to `end_ns` exactly these texts are shown.
    """

    start_ns: int
    end_ns: int
    texts: tuple[str, ...]


class Sweep:
    """
    Turns cues, which may overlap, into samples, which must not. Cues may grow or be cut until their end is settled.
    """

    def __init__(self) -> None:
        self._coming: list[tuple[int, int, Held]] = []
        self._shown: list[Held] = []
        self._known: set[int] = set()
        self._tie = count()
        self._at_ns = 0

    def add(self, held: Held) -> None:
        """A cue, or one that has grown since; one that is waiting or shown already is not taken again."""
        if id(held) not in self._known and held.cue.end_ns > self._at_ns:
            self._known.add(id(held))
            heapq.heappush(self._coming, (held.cue.start_ns, next(self._tie), held))

    def advance(self, settled_ns: int | None) -> Iterator[Sample]:
        """Samples that end by `settled_ns`, before which nothing will change; all with None."""
        while (turn_ns := self._next_turn()) is not None and (settled_ns is None or turn_ns <= settled_ns):
            if self._shown and turn_ns > self._at_ns:
                texts = tuple(held.cue.text for held in self._shown)
                yield Sample(start_ns=self._at_ns, end_ns=turn_ns, texts=texts)
            self._at_ns = max(turn_ns, self._at_ns)
            while self._coming and self._coming[0][0] <= self._at_ns:
                self._shown.append(heapq.heappop(self._coming)[2])
            self._drop()

    def _drop(self) -> None:
        """Forget what is over, and the oldest where too many are shown at a time."""
        living = [held for held in self._shown if not held.gone and held.cue.end_ns > self._at_ns][-MOST_SHOWN:]
        self._known -= {id(held) for held in self._shown} - {id(held) for held in living}
        self._shown = living

    def _next_turn(self) -> int | None:
        """When the picture changes next."""
        turns = [held.cue.end_ns for held in self._shown]
        if self._coming:
            turns.append(self._coming[0][0])
        return min(turns, default=None)
