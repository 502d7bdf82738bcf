"""
Where every packet stands in the output: source clocks in, output ticks out. Pure; whole numbers only.

The theory. A source clock runs in ticks of a stream's time base, may wrap at 2**33 (MPEG-TS) and may be set anew at a
splice, announced or not. All streams of a source, those of separate renditions too, share one clock, so they must share
one *offset* from source time to output time: shifting audio and video differently is how lips and sound part. A stretch
between two announced changes of the clock is an *era*; a `Timeline` keeps the offsets ("epochs") of each era, and a
`Lane` is one stream's place in it.

- The first era starts the file at 0 (at the end of a leading gap): offset = -(least pts of all streams).
- A later era gets the tightest offset at which every stream is shown behind what was written of it, max(end - first
  pts). (By dts there would be a hole where pictures are decoded longer ahead than before.) Where there is sound it
  decides, as long as the last picture then stays to be seen: players that take sound for continuous lose step at holes.
  Renditions enter an era together; one that comes late finds its offset there.
- A later run in the same era keeps its offset if every stream's first packet then fits behind its last one; a gap that
  was announced may be as long as announced. Otherwise the clock was set anew: again the tightest offset.
- A rendition whose clock differs from the others' by more than segments can be apart does not share it, nor does one
  without any: it starts where its place in the playlist says.
- A jump inside a run that nobody announced (back over 0.5 s, ahead over 10 s) opens a new epoch at the end of that
  stream; the others follow into it when their own jump comes, whatever its size, because video may jump 12.033 s where
  audio jumps 12.021 s. A stream that jumps ahead where another already went keeps its epoch for the same reason.

Times inside are nanoseconds: finer than any tick, so that rounding to output ticks gives back the source's own steps.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

NS = 1_000_000_000
WRAP_BITS = 33
_WRAP = 1 << WRAP_BITS
_HALF_WRAP = 1 << (WRAP_BITS - 1)

Era = tuple[int, int]
"""A stretch of one clock: the discontinuity sequence number, and how many holes were closed since."""

BACK_NS = NS // 2
"""A step back beyond this is a new clock; less is overlap."""
AHEAD_NS = 10 * NS
"""A step ahead beyond this is a new clock; less is a hole."""
STRADDLE_NS = 12 * NS
"""A step ahead up to this is a hole all the same when another stream has gone through it already."""
NOTICED_NS = 350_000_000
"""A step below this is none: uneven frames."""
LATE_NS = 60 * NS
"""A stream may start this much later than the others; beyond it its first time is damage."""
SHARED_NS = 10 * NS
"""Two clocks that differ more at the same place of the playlist are not one."""
SANE_NS = 10 * NS
"""|pts - dts| and packet durations beyond this are damage."""
SPARED_NS = 5_000_000
"""So long a frame is shown at least when the next one comes early."""
SNAP_TICKS_90K = 8
"""Audio this close to the end of the frame before it (in 1/90000 s) follows it exactly: PES times are rounded."""


def unwrap33(ticks: int, near: int) -> int:
    """
    `ticks` plus the multiple of 2**33 that brings it nearest to `near`.
    """
    return ticks + ((near - ticks + _HALF_WRAP) >> WRAP_BITS << WRAP_BITS)


def short_way33(delta: int) -> int:
    """
    The difference of two 33-bit times, taken the short way round.
    """
    return ((delta + _HALF_WRAP) & (_WRAP - 1)) - _HALF_WRAP


@attrs.frozen(kw_only=True)
class First:
    """
    What is known of a stream at the start of a run: its lane, and the first dts and least pts in source nanoseconds.
    """

    lane: "Lane"
    dts_ns: int
    pts_ns: int


@attrs.frozen(kw_only=True)
class Entry:
    """
    One playlist track about to go on: its lanes, what its next run starts with, that run's place in the playlist, the
    time to leave empty before it. `clocked`: its times are of a clock, not counted from 0.
    """

    lanes: "tuple[Lane, ...]"
    firsts: tuple[First, ...]
    start_ns: int = 0
    gap_ns: int = 0
    clocked: bool = True

    @property
    def dts_ns(self) -> int:
        """Its least first dts."""
        return min((first.dts_ns for first in self.firsts), default=0)

    @property
    def pts_ns(self) -> int:
        """Its least pts."""
        return min((first.pts_ns for first in self.firsts), default=0)

    @property
    def tight_ns(self) -> int | None:
        """The tightest offset; None when nothing of it was written yet."""
        return tightest(self.joints)

    @property
    def joints(self) -> "list[tuple[Lane, int]]":
        """The offset at which each stream would be shown right behind what was written of it."""
        return [
            (first.lane, shown_ns - first.pts_ns + self.gap_ns)
            for first in self.firsts
            if (shown_ns := first.lane.shown_until_ns) is not None
        ]


def tightest(joints: "Sequence[tuple[Lane, int]]") -> int | None:
    """
    The least offset at which streams follow what was written of them: sound without overlap, and without a hole if the
    picture's last frame can be shown shorter for it. Players that take sound for continuous would lose step at holes.
    """
    if not joints:
        return None
    sound = [offset for lane, offset in joints if lane.snaps]
    if not sound:
        return max(offset for _, offset in joints)
    return max([*sound, *(offset - lane.spare_ns for lane, offset in joints if not lane.snaps)])


@attrs.define(kw_only=True)
class Opened:
    """An era: its offsets, newest last; its start on the source's clock; from playlist time to output time."""

    offsets: list[int]
    source_ns: int
    place_ns: int


class Timeline:
    """
    The offsets of one output file, and the lanes that use them.
    """

    def __init__(self) -> None:
        self._eras: dict[Era, Opened] = {}
        self._lanes: list[Lane] = []
        self.jumps: list[int] = []
        """Sizes of the jumps nobody announced, in nanoseconds; whoever reports them empties the list."""

    def add_lane(self, *, rate: int, snaps: bool) -> "Lane":
        """
        One more output stream, of `rate` ticks a second. `snaps` for audio, whose frames follow without holes.
        """
        lane = Lane(self, rate=rate, snaps=snaps)
        self._lanes.append(lane)
        return lane

    def as_fields(self) -> dict[str, Any]:  # Any: of every type
        """All that is known, for `restore`."""
        return {"eras": self._eras, "lanes": [lane.as_fields() for lane in self._lanes]}

    def restore(self, fields: Mapping[str, Any]) -> None:  # Any: as told
        """Be as another was."""
        self._eras = dict(fields["eras"])
        for each in fields["lanes"]:
            self.add_lane(rate=each["rate"], snaps=False).restore(each)

    @property
    def lanes(self) -> "list[Lane]":
        """The lanes, in the order in which they were added."""
        return self._lanes

    @property
    def end_ns(self) -> int:
        """Where the output ends so far."""
        return max((lane.end_ns for lane in self._lanes if lane.end_ns is not None), default=0)

    def knows(self, era: Era) -> bool:
        """Whether a track has entered `era`."""
        return era in self._eras

    def source_ns(self, era: Era) -> int | None:
        """The newest source time of `era`, to unwrap other times to; None before it was entered."""
        if era not in self._eras:
            return None
        times = [lane.at_ns for lane in self._lanes if lane.era == era and lane.at_ns is not None]
        return max(times, default=self._eras[era].source_ns)

    def place_ns(self, splice: int) -> int | None:
        """What to add to a time in a playlist to have the output's; None before the splice was entered."""
        places = [opened.place_ns for era, opened in self._eras.items() if era[0] == splice]
        return places[-1] if places else None

    def offset_ns(self, splice: int) -> int | None:
        """What to add to a source time to have the output's; None before the splice was entered."""
        offsets = [opened.offsets[-1] for era, opened in self._eras.items() if era[0] == splice]
        return offsets[-1] if offsets else None

    def enter(self, era: Era, entries: Sequence[Entry]) -> None:
        """
        Fix the offset of a new era for all tracks that are there at its start; the first that has a clock leads.
        """
        timed = [entry for entry in entries if entry.firsts]
        leader = next((entry for entry in timed if entry.clocked), next(iter(timed), entries[0]))
        shared = [entry for entry in entries if entry is leader or _share_clock(entry, leader)]
        offset = self._opening_offset(shared)
        self._eras[era] = Opened(
            offsets=[offset], source_ns=leader.dts_ns, place_ns=leader.pts_ns + offset - leader.start_ns
        )
        for entry in entries:
            _move(entry, era, offset if entry in shared else self._by_playlist(entry, era))

    def join(self, era: Era, entry: Entry) -> None:
        """
        Let a track into an era in which others are already.
        """
        opened = self._eras[era]
        expected = opened.place_ns + entry.start_ns - entry.pts_ns
        offset = min(opened.offsets, key=lambda known: abs(known - expected))
        shared = entry.clocked and abs(offset - expected) <= SHARED_NS
        _move(entry, era, offset if shared else self._by_playlist(entry, era))

    def go_on(self, era: Era, entry: Entry) -> None:
        """
        Begin another run of a track in the era it is in.
        """
        tight = entry.tight_ns
        if tight is None:
            self.join(era, entry)
            return
        offset = self._fitting(era, entry) if entry.clocked else tight
        if offset is None:
            offset = tight
            self._eras[era].offsets.append(offset)
        elif entry.clocked:
            self._note(offset - tight)
        _move(entry, era, offset)

    def rebase(self, origin_ns: int, lanes: "Sequence[Lane]") -> None:
        """
        Begin a new file at `origin_ns` of this one, with these lanes alone.
        """
        self._lanes = list(lanes)
        for opened in self._eras.values():
            opened.offsets = [offset - origin_ns for offset in opened.offsets]
            opened.place_ns -= origin_ns
        for lane in self._lanes:
            lane.rebase(origin_ns)

    def _opening_offset(self, shared: Sequence[Entry]) -> int:
        if not self._eras:
            return -min(entry.pts_ns - entry.gap_ns for entry in shared)
        tight = tightest([joint for entry in shared for joint in entry.joints])
        if tight is not None:
            return tight
        return self.end_ns + max(entry.gap_ns for entry in shared) - min(entry.dts_ns for entry in shared)

    def _by_playlist(self, entry: Entry, era: Era) -> int:
        """The offset that puts a run where the playlist has it; right behind the last one when that is nearly so."""
        offset = self._eras[era].place_ns + entry.start_ns - entry.pts_ns
        tight = entry.tight_ns
        return tight if tight is not None and offset - tight <= NOTICED_NS else offset

    def _fitting(self, era: Era, entry: Entry) -> int | None:
        """The known offset that leaves the smallest hole or overlap before a run, if one fits."""
        behind = [(first.dts_ns, first.lane.end_ns) for first in entry.firsts if first.lane.end_ns is not None]
        known = self._eras[era].offsets

        def steps(offset: int) -> list[int]:
            return [dts + offset - end for dts, end in behind]

        for offset in sorted(
            [known[-1], *{lane.offset_ns for lane in entry.lanes if lane.end_ns is not None and lane.era == era}],
            key=lambda offset: max(map(abs, steps(offset))),
        ):
            if all(-BACK_NS <= step <= AHEAD_NS + entry.gap_ns for step in steps(offset)):
                return offset
        for offset in reversed(known[-4:]):
            if all(-NOTICED_NS <= step <= NOTICED_NS for step in steps(offset)):
                return offset
        return None

    def after_jump(self, lane: "Lane", dts_ns: int, end_ns: int) -> int:
        """
        The offset for a packet that does not follow its lane's last one.
        """
        jump = dts_ns + lane.offset_ns - end_ns
        self._note(jump)
        offsets = self._eras[lane.era].offsets
        newest = offsets[-1]
        other = dts_ns + newest - end_ns
        if newest != lane.offset_ns and abs(other) < abs(jump) and -BACK_NS <= other <= AHEAD_NS:
            return newest
        if -BACK_NS <= jump <= AHEAD_NS or (0 < jump <= STRADDLE_NS and self._others_beyond(lane, dts_ns)):
            return lane.offset_ns
        for offset in reversed(offsets[-4:]):
            if -NOTICED_NS <= dts_ns + offset - end_ns <= NOTICED_NS:
                return offset
        offsets.append(end_ns - dts_ns)
        return offsets[-1]

    def _note(self, jump_ns: int) -> None:
        if not -NOTICED_NS <= jump_ns <= NOTICED_NS:
            self.jumps.append(jump_ns)

    def _others_beyond(self, lane: "Lane", dts_ns: int) -> bool:
        """Whether another lane of the same epoch has already crossed the hole that `lane` stands before."""
        edge = dts_ns + lane.offset_ns - NS
        return any(
            other is not lane and other.offset_ns == lane.offset_ns and other.end_ns is not None and other.end_ns > edge
            for other in self._lanes
        )


def _share_clock(entry: Entry, leader: Entry) -> bool:
    """Whether two tracks tell the same time at the same place of their playlists."""
    if not (entry.firsts and entry.clocked and leader.clocked):
        return False
    return abs(entry.dts_ns - entry.start_ns - leader.dts_ns + leader.start_ns) <= SHARED_NS


def _move(entry: Entry, era: Era, offset_ns: int) -> None:
    for lane in entry.lanes:
        lane.era = era
        lane.offset_ns = offset_ns
        lane.start_over()
        lane.late_ns = LATE_NS + entry.gap_ns
    for first in entry.firsts:
        first.lane.delay_ns = max(0, first.pts_ns - first.dts_ns)


class Lane:
    """
    One output stream's clock. `stamp` is called for every packet and kept flat for speed.
    """

    def __init__(self, timeline: Timeline, *, rate: int, snaps: bool) -> None:
        self._timeline = timeline
        self.snaps = snaps
        self.delay_ns = 0
        """How much later than decoded the packets of its run are shown, at least."""
        self.set_rate(rate)
        self.era: Era = (0, 0)
        self.at_ns: int | None = None
        """The source time of its last packet."""
        self.offset_ns = 0
        self.end_ns: int | None = None
        self.fresh = True
        self.late_ns = LATE_NS
        self._base_ns, self._multiplier, self._divisor = 0, 1, 1
        self._wraps = False
        self._sane_ticks = self._odd_ticks = 0
        self.odd = False
        """Whether a pts was met that is far from its dts: the picture may then outlast the dts."""
        self._near = 0
        self._due: int | None = None
        self._step = 0
        self._first: int | None = None
        self._last: int | None = None
        self._next = 0
        self._steady_dts: int | None = None
        """What the next dts is when all goes on as it did; None when that must be looked at first."""
        self._steady_duration = self._steady_ns = self._steady_ticks = 0
        self.hole_ticks = 0
        """What sound leaves empty before its last packet, from a frame on; whoever fills it sets it to 0."""

    def as_fields(self) -> dict[str, Any]:  # Any: of every type
        """All that is known, for `restore`."""
        return {name: value for name, value in vars(self).items() if name != "_timeline"}

    def restore(self, fields: Mapping[str, Any]) -> None:  # Any: as told
        """Be as another was."""
        vars(self).update(fields)

    def set_rate(self, rate: int) -> None:
        """Write `rate` ticks a second from now on."""
        self.rate = rate
        self._snap = -(-SNAP_TICKS_90K * rate // 90_000) if self.snaps else -1

    def start_over(self) -> None:
        """The next packet need not follow the last one."""
        self.fresh = True
        self._steady_dts = None

    def rebase(self, origin_ns: int) -> None:
        """Go on in a new file, which begins at `origin_ns` of this one."""
        self.offset_ns -= origin_ns
        if self.end_ns is not None:
            self.end_ns -= origin_ns
        self._first = self._last = None
        self._next = 0
        self._steady_dts = None
        self.odd = False

    @property
    def shown_until_ns(self) -> int | None:
        """Where what was written of it ends when it is shown."""
        return None if self.end_ns is None else self.end_ns + self.delay_ns

    @property
    def spare_ns(self) -> int:
        """By how much its last frame may be shown shorter, so that it is still shown."""
        return max(0, self._steady_ns - SPARED_NS)

    @property
    def span_ns(self) -> int | None:
        """From the first packet's dts to the last one's end, as written; None without a packet."""
        return None if self._first is None else (self._next - self._first) * NS // self.rate

    def enter_run(
        self, *, numerator: int, denominator: int, step_ticks: int, wraps: bool, near: int = 0, base_ns: int = 0
    ) -> None:
        """
        Packets come in ticks of `numerator`/`denominator` s from now on. `step_ticks` stands for missing durations,
        `near` is the source time to unwrap to, `base_ns` is added to every time (packed audio).
        """
        self._multiplier, self._divisor = numerator * NS, denominator
        self._base_ns = base_ns
        self._wraps = wraps
        self._near = near
        self._due = self._steady_dts = None
        self.at_ns = None
        self._sane_ticks = SANE_NS * denominator // (numerator * NS)
        self._odd_ticks = self._sane_ticks // 20
        self._step = step_ticks if 0 < step_ticks <= self._sane_ticks else 1

    def source_ns(self, ticks: int) -> int:
        """A time of this run in nanoseconds on the source's unwrapped clock."""
        if self._wraps:
            ticks = unwrap33(ticks, self._near)
        return self._base_ns + ticks * self._multiplier // self._divisor

    def stamp(self, dts: int | None, pts: int | None, duration: int | None) -> tuple[int, int, int] | None:
        """
        Output (dts, pts, duration) in ticks of `rate` for one packet; None when nothing tells its time.
        """
        if dts is not None and dts == self._steady_dts and duration == self._steady_duration and pts is not None:
            delta = pts - dts
            if 0 <= delta <= self._odd_ticks:
                return self._stamp_next(dts, delta)
        if dts is None and self._due is not None:
            dts = self._due
        else:
            dts = pts if dts is None else dts
            if dts is None:
                return None
            if self._wraps:
                dts += (self._near - dts + _HALF_WRAP) >> WRAP_BITS << WRAP_BITS
        delta = 0 if pts is None else pts - dts
        if self._wraps:
            delta = ((delta + _HALF_WRAP) & (_WRAP - 1)) - _HALF_WRAP
        if not 0 <= delta <= self._odd_ticks:
            self.odd = True
            if not -self._sane_ticks <= delta <= self._sane_ticks:
                delta = 0
        if not duration or not 0 < duration <= self._sane_ticks:
            duration = self._step
        self._near = dts
        self._due = dts + duration

        time_ns = self._base_ns + dts * self._multiplier // self._divisor
        end_ns = self.end_ns
        if self.fresh:
            self.fresh = False
            due_ns = self._timeline.end_ns if end_ns is None else end_ns
            if not -SANE_NS <= time_ns + self.offset_ns - due_ns <= self.late_ns:
                self.offset_ns = due_ns - time_ns  # not an epoch: nobody else should follow
        elif end_ns is None:
            pass
        elif not -BACK_NS <= time_ns + self.offset_ns - end_ns <= NOTICED_NS:
            self.offset_ns = self._timeline.after_jump(self, time_ns, end_ns)
        step_ns = duration * self._multiplier // self._divisor
        out_ns = time_ns + self.offset_ns
        self.end_ns = out_ns + step_ns
        self.at_ns = time_ns

        rate = self.rate
        out = (out_ns * rate + 500_000_000) // NS
        ticks = (step_ns * rate + 500_000_000) // NS or 1
        if -self._snap <= out - self._next <= self._snap:
            out = self._next
        due = out
        if self._last is None:
            self._first = out
        elif out <= self._last:
            out = self._last + 1
        elif self.snaps and out - self._next >= self._steady_ticks:
            self.hole_ticks = out - self._next
        self._last = out
        self._next = out + ticks
        self._steady_dts = self._due
        self._steady_duration, self._steady_ns, self._steady_ticks = duration, step_ns, ticks
        shown = due + (delta * self._multiplier * rate // self._divisor + 500_000_000) // NS if delta else due
        return out, shown if shown > out else out, ticks

    def _stamp_next(self, dts: int, delta: int) -> tuple[int, int, int]:
        """
        The same for a packet that follows the last one as that followed the one before: no wrap, no jump, nothing odd.
        """
        self._near = dts
        self._due = self._steady_dts = dts + self._steady_duration
        self.at_ns = time_ns = self._base_ns + dts * self._multiplier // self._divisor
        out_ns = time_ns + self.offset_ns
        self.end_ns = out_ns + self._steady_ns
        rate = self.rate
        out = (out_ns * rate + 500_000_000) // NS
        if -self._snap <= out - self._next <= self._snap:
            out = self._next
        due = out
        if out <= self._last:  # type: ignore[operator]  # there was one before
            out = self._last + 1  # type: ignore[operator]
        self._last = out
        self._next = out + self._steady_ticks
        if not delta:
            return out, out, self._steady_ticks
        shown = due + (delta * self._multiplier * rate // self._divisor + 500_000_000) // NS
        return out, shown if shown > out else out, self._steady_ticks
