"""
Where every packet stands in the output: source clocks in, output ticks out. Pure; whole numbers only.

The theory. A source clock runs in ticks of a stream's time base, may wrap at 2**33 (MPEG-TS) and may be set anew at a
splice, announced or not. All streams of a source share one clock, so they must share one *offset* from source time to
output time: shifting audio and video differently is how lips and sound part. A `Timeline` therefore keeps a list of
offsets ("epochs"); a `Lane` is one stream's place in it.

- The first run starts the file at 0 (at the end of a leading gap): offset = -(least pts of all streams).
- A later run on the same clock keeps the offset if every stream's first packet then fits behind its last one; a gap
  that was announced may be as long as announced.
- Otherwise the clock was set anew, or a hole is to be closed: the new offset is the tightest without overlap in any
  stream, max(end - first dts). (max(end) - min(first) would leave 20-75 ms holes.)
- A jump inside a run that nobody announced (back over 0.5 s, ahead over 10 s) opens a new epoch at the end of that
  stream; the others follow into it when their own jump comes, whatever its size, because video may jump 12.033 s where
  audio jumps 12.021 s. A stream that jumps ahead where another already went keeps its epoch for the same reason.

Times inside are nanoseconds: finer than any tick, so that rounding to output ticks gives back the source's own steps.
"""

from collections.abc import Iterable

import attrs

NS = 1_000_000_000
WRAP_BITS = 33
_WRAP = 1 << WRAP_BITS
_HALF_WRAP = 1 << (WRAP_BITS - 1)

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
SANE_NS = 10 * NS
"""|pts - dts| and packet durations beyond this are damage."""
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


class Timeline:
    """
    The offsets of one output file, and the lanes that use them.
    """

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._lanes: list[Lane] = []
        self.source_ns: int | None = None
        """The newest source time, for unwrapping the next run."""
        self.jumps: list[int] = []
        """Sizes of the jumps nobody announced, in nanoseconds; whoever reports them empties the list."""

    def add_lane(self, *, rate: int, snaps: bool) -> "Lane":
        """
        One more output stream, of `rate` ticks a second. `snaps` for audio, whose frames follow without holes.
        """
        lane = Lane(self, rate=rate, snaps=snaps)
        self._lanes.append(lane)
        return lane

    @property
    def end_ns(self) -> int:
        """Where the output ends so far."""
        return max((lane.end_ns for lane in self._lanes if lane.end_ns is not None), default=0)

    def enter_run(self, firsts: Iterable[First], *, same_clock: bool, gap_ns: int) -> None:
        """
        Fix the offset of a run. `same_clock`: no splice and no hole to close before it; `gap_ns`: time to leave empty.
        """
        seen = list(firsts)
        behind = [(first, first.lane.end_ns) for first in seen if first.lane.end_ns is not None]
        if not self._epochs:
            self._epochs.append(gap_ns - min((first.pts_ns for first in seen), default=0))
        elif not behind:
            self._epochs.append(self.end_ns + gap_ns - min((first.dts_ns for first in seen), default=0))
        elif same_clock and self._fits(behind, gap_ns):
            self._note(max(first.dts_ns + self._epochs[-1] - end for first, end in behind) - gap_ns)
        else:
            self._epochs.append(max(end - first.dts_ns for first, end in behind) + gap_ns)
        for lane in self._lanes:
            lane.offset_ns = self._epochs[-1]
            lane.fresh = True
            lane.late_ns = LATE_NS + gap_ns

    def _fits(self, behind: "list[tuple[First, int]]", gap_ns: int) -> bool:
        offset = self._epochs[-1]
        return all(-BACK_NS <= first.dts_ns + offset - end <= AHEAD_NS + gap_ns for first, end in behind)

    def after_jump(self, lane: "Lane", dts_ns: int, end_ns: int) -> int:
        """
        The offset for a packet that does not follow its lane's last one.
        """
        jump = dts_ns + lane.offset_ns - end_ns
        self._note(jump)
        newest = self._epochs[-1]
        other = dts_ns + newest - end_ns
        if newest != lane.offset_ns and abs(other) < abs(jump) and -BACK_NS <= other <= AHEAD_NS:
            return newest
        if -BACK_NS <= jump <= AHEAD_NS or (0 < jump <= STRADDLE_NS and self._others_beyond(lane, dts_ns)):
            return lane.offset_ns
        for offset in reversed(self._epochs[-4:]):
            if -NOTICED_NS <= dts_ns + offset - end_ns <= NOTICED_NS:
                return offset
        self._epochs.append(end_ns - dts_ns)
        return self._epochs[-1]

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


class Lane:
    """
    One output stream's clock. `stamp` is called for every packet and kept flat for speed.
    """

    def __init__(self, timeline: Timeline, *, rate: int, snaps: bool) -> None:
        self._timeline = timeline
        self.rate = rate
        self._snap = -(-SNAP_TICKS_90K * rate // 90_000) if snaps else -1
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
        self._due = None
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
        self._timeline.source_ns = time_ns

        rate = self.rate
        out = (out_ns * rate + 500_000_000) // NS
        ticks = (step_ns * rate + 500_000_000) // NS or 1
        if -self._snap <= out - self._next <= self._snap:
            out = self._next
        if self._last is None:
            self._first = out
        elif out <= self._last:
            out = self._last + 1
        self._last = out
        self._next = out + ticks
        shown = out + (delta * self._multiplier * rate // self._divisor + 500_000_000) // NS if delta else out
        return out, shown if shown > out else out, ticks
