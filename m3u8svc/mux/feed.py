"""
What comes next: orders turned into *runs*, stretches of segments that one demuxer can read in one go.

A run ends where a demuxer would be misled: at a splice, a hole, another init section, another PMT (libav drops streams
that appear later), other parameter sets, a clock that jumps, a damaged segment, and after every packed audio segment.
Every segment is looked at before it is fed; what is no media becomes a hole with a warning.
"""

import io
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import attrs

from m3u8svc.mux.fmp4 import BrokenBoxes, look_at_fragments
from m3u8svc.mux.orders import Orders
from m3u8svc.mux.packed import look_at_packed
from m3u8svc.mux.protocol import Cut, Fault, Feed, Hole, Outbox, Refused
from m3u8svc.mux.timeline import NS, short_way33
from m3u8svc.mux.ts import look_at_ts
from m3u8svc.nofollow import open_file, read_file
from m3u8svc.wording import Said, said

LOOK_BYTES = 256 * 1024
"""What is read of a segment to look at it."""
JUMP_AHEAD_S = 10.0
NO_PMT = ("ts", ())
"""The nature of a TS segment without a sound PMT: it says nothing new, and goes with any other."""

NO_INIT = Said("缺少初始化段", "its Media Initialization Section is not there")
_NO_MEDIA = Said("不是媒体数据", "it is no media")


class Damaged(Exception):
    """
    A segment that must not be fed; `reason` is for people.
    """

    def __init__(self, reason: Said) -> None:
        super().__init__(reason)
        self.reason = reason


def taken_as_missing(reason: str) -> Said:
    """
    What is said of a segment that cannot be used.
    """
    return said("{reason}，按缺失处理", "{reason}; taken as missing", reason=reason)


@attrs.frozen(kw_only=True)
class Checked:
    """
    A segment that was looked at. Segments with equal `nature` can share a demuxer; `clock` is (stream, ticks).
    """

    order: Feed
    start: int
    demuxer: str
    nature: tuple[object, ...]
    clock: tuple[int, int] | None
    forms: tuple[bytes, bytes] = (b"", b"")
    """What its picture and sound say of their decoders; empty where they say nothing."""
    clock_rate: int | None = None
    """Ticks a second of `clock`, None when the init section would have to tell."""


def check(order: Feed) -> Checked:
    """
    Look at a segment.

    Raises:
        Damaged: it is no media of its kind.
        Refused: no segment of this kind can be muxed.
        OSError: it is not there, or cannot be read: the disk's fault, not the segment's.
    """
    with read_file(order.path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise Damaged(Said("空文件", "an empty file"))
        if order.kind == "fmp4":
            return _check_fmp4(order, file, size)
        start_of_file = file.read(LOOK_BYTES)
    if order.kind == "ts":
        return _check_ts(order, start_of_file)
    if order.kind in ("aac", "mp3", "ac3"):
        return _check_packed(order, start_of_file)
    zh, en = "暂不支持把 {kind} 合并到 MP4", "{kind} cannot be merged into MP4 yet"
    raise Refused(Fault.UNSUPPORTED, said(zh, en, kind=order.kind))


def _check_ts(order: Feed, start_of_file: bytes) -> Checked:
    head = look_at_ts(start_of_file)
    if head is None:
        raise Damaged(_NO_MEDIA)
    return Checked(
        order=order,
        start=head.start,
        demuxer="mpegts",
        nature=("ts", head.pids),
        forms=head.forms,
        clock=head.clock,
        clock_rate=90_000,
    )


def _check_packed(order: Feed, start_of_file: bytes) -> Checked:
    head = look_at_packed(start_of_file)
    if head is None:
        raise Damaged(_NO_MEDIA)
    clock = None if head.clock is None else (0, head.clock)
    return Checked(
        order=order,
        start=head.start,
        demuxer=head.demuxer,
        nature=("packed", head.demuxer),
        clock=clock,
        clock_rate=90_000,
    )


def _check_fmp4(order: Feed, file: BinaryIO, size: int) -> Checked:
    if order.init is None:
        raise Damaged(NO_INIT)
    try:
        head = look_at_fragments(file, size)
    except BrokenBoxes as error:
        raise Damaged(said("数据损坏（{error}）", "damaged ({error})", error=error)) from error
    return Checked(order=order, start=0, demuxer="mp4", nature=("fmp4", order.init), clock=head.clock)


_NOT_WRITTEN_DOWN = frozenset({"track", "_orders", "_outbox", "_ahead", "cut"})


class Source:
    """
    Takes the orders of one track and hands out runs. Between runs it keeps what the next one must know: the hole before
    it and whether the clock goes on.
    """

    def __init__(self, track: str, orders: Orders, outbox: Outbox) -> None:
        self.track = track
        self._orders = orders
        self._outbox = outbox
        self._ahead: Checked | None = None
        self._ended = False
        self._last: Checked | None = None
        self._nature: tuple[object, ...] = ()
        self._forms = (b"", b"")
        self.gap_ns = 0
        self.closes_hole = False
        self.fed_s = 0.0
        """What the file should last: the durations of all fed segments and kept holes."""
        self._began_s: float | None = None
        self._skipped_s = 0.0
        """How long what was left out on purpose before its first segment would have been."""
        self.cut: Cut | None = None
        """The cut it has come to: nothing is handed out until `cross`."""

    @property
    def cut_is_passed(self) -> bool:
        """Whether the cut it has come to counts for nothing by now."""
        return self.cut is not None and self.cut.parts <= self._orders.passed

    def cross(self) -> None:
        """Go on behind the cut."""
        self.cut = None

    def as_fields(self) -> dict[str, object]:
        """What is known at a cut, for `restore`."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_WRITTEN_DOWN}

    def restore(self, fields: Mapping[str, object]) -> None:
        """Be as another was at a cut."""
        vars(self).update(fields)

    @property
    def expected_end_s(self) -> float:
        """Where its media should end; nothing is written of holes behind it."""
        return (self._began_s or 0.0) + self.fed_s - self.gap_ns / NS

    def next_run(self) -> "Run | None":
        """The next run; None at the end."""
        first = self._peek()
        if first is None:
            return None
        last, gap_ns = self._last, self.gap_ns
        spliced = last is not None and first.order.splice != last.order.splice
        closes_hole = self.closes_hole and last is not None and not spliced
        continues = not (gap_ns or self.closes_hole) and last is not None and self._continues(last, first)
        run = Run(self, first, closes_hole=closes_hole, gap_ns=gap_ns, continues=continues)
        self.gap_ns = 0
        self.closes_hole = False
        return run

    def lose(self, order: Feed, reason: Said) -> None:
        """Count a segment that could not be used as a hole that stays."""
        self._outbox.warn(self.track, order.number, taken_as_missing(reason))
        self._outbox.lost(self.track, order.number, reason)
        self.gap_ns += int(order.duration_s * NS)

    def lose_rest(self, order: Feed) -> None:
        """Name a segment whose end could not be read; its time stays where the clock says."""
        self._outbox.warn(self.track, order.number, Said("数据损坏，部分内容丢失", "damaged, a part of it is lost"))

    def take_if_follows(self, run: "Run") -> Checked | None:
        """The next segment, if it belongs to `run`."""
        if self.gap_ns or self.closes_hole:
            return None
        following = self._peek()
        if following is None or self.gap_ns or self.closes_hole or not self._follows(following):
            return None
        return self.take()

    def take(self) -> Checked:
        """Hand out the segment that was peeked at."""
        checked = self._ahead
        assert checked is not None
        self._ahead = None
        if checked.nature != NO_PMT or self._last is None or self._last.demuxer != checked.demuxer:
            self._nature = checked.nature
        picture, sound = checked.forms
        self._forms = (picture or self._forms[0], sound or self._forms[1])
        self._last = checked
        if self._began_s is None:
            self._began_s = max(checked.order.start_s - self._skipped_s - self.fed_s, 0.0)
        self.fed_s += checked.order.duration_s
        self._outbox.opened(self.track, checked.order.number)
        return checked

    def taken(self, checked: Checked) -> None:
        """A segment has been read to its end."""
        self._outbox.taken(self.track, checked.order.number)

    def _follows(self, following: Checked) -> bool:
        last = self._last
        assert last is not None
        if following.order.splice != last.order.splice or following.demuxer != last.demuxer:
            return False
        if following.nature != self._nature and NO_PMT not in (following.nature, self._nature):
            return False
        if any(known and told and known != told for known, told in zip(self._forms, following.forms, strict=True)):
            return False
        return following.demuxer in ("mpegts", "mp4") and not self._clock_jumps(last, following)

    def _continues(self, last: Checked, first: Checked) -> bool:
        """Whether a run goes on where the one before it ended, for all one can tell."""
        same = (last.order.splice, last.demuxer, last.order.number + 1) == (
            *(first.order.splice, first.demuxer, first.order.number),
        )
        other = any(known and told and known != told for known, told in zip(self._forms, first.forms, strict=True))
        return same and first.demuxer == "mpegts" and not other and not self._clock_jumps(last, first)

    @staticmethod
    def _clock_jumps(last: Checked, following: Checked) -> bool:
        if last.clock is None or following.clock is None or last.clock[0] != following.clock[0]:
            return False
        ticks = following.clock[1] - last.clock[1]
        if following.clock_rate is None:  # without the init section's time scale only a step back is certain
            return ticks <= 0
        ahead_s = short_way33(ticks) / following.clock_rate
        return not 0 < ahead_s <= last.order.duration_s + JUMP_AHEAD_S

    def _peek(self) -> Checked | None:
        while self._ahead is None and not self._ended and self.cut is None:
            order = self._orders.take_or_cut(self.track)
            if order is None:
                self._ended = True
            elif isinstance(order, Cut):
                self._come_to(order)
            elif isinstance(order, Hole):
                self._skip(order)
            else:
                self._check(order)
        return self._ahead

    def _come_to(self, cut: Cut) -> None:
        """Stop at a cut, unless it counts for nothing, or what follows could not be read without what is before."""
        if cut.parts > self._orders.passed and not self._can_begin_anew():
            self._orders.pass_over(cut)
        self.cut = cut if cut.parts > self._orders.passed else None

    def _can_begin_anew(self) -> bool:
        """Whether a demuxer that begins with the next segment finds what it needs; of the main track only."""
        following = self._orders.following(self.track) if self.track == "main" else None
        if not isinstance(following, Feed) or following.kind != "ts" or not self._forms[0]:
            return True
        if self._last is not None and following.splice != self._last.order.splice:
            return True  # it begins anew in any case
        try:
            return bool(check(following).forms[0])
        except Damaged:
            return False

    def _skip(self, hole: Hole) -> None:
        if hole.keep:
            self.gap_ns += int(hole.duration_s * NS)
            self.fed_s += hole.duration_s
        else:
            self.closes_hole = True
            if self._began_s is None:
                self._skipped_s += hole.duration_s
        self._outbox.taken(self.track, hole.number)

    def _check(self, order: Feed) -> None:
        try:
            self._ahead = check(order)
        except Damaged as damage:
            self.lose(order, damage.reason)
            self.fed_s += order.duration_s
            self._outbox.taken(self.track, order.number)


@attrs.frozen
class Mark:
    """
    Where a segment begins and ends in the bytes of its run.
    """

    number: int
    at: int
    end: int


class Run:
    """
    One stretch of segments for one demuxer, readable as one file; again from its start until it is settled.
    """

    def __init__(
        self, source: Source, first: Checked, *, closes_hole: bool, gap_ns: int, continues: bool = False
    ) -> None:
        self._source = source
        self.track = source.track
        self.demuxer = first.demuxer
        self.nature = first.nature
        self.first = first
        self.closes_hole = closes_hole
        """Whether segments were left out right before it whose time is not kept."""
        self.gap_ns = gap_ns
        self.continues = continues
        """Whether the run before it ended only because the PMT changed: pictures may refer to those before."""
        self.taken: list[Checked] = []
        self._settled = False
        self._over = False
        self._unread: Checked | None = None
        self._file: RunFile | None = None
        self.current: Checked = first
        """The segment read last, for messages."""
        self.marks: list[Mark] = []
        """Where each segment begins."""

    @property
    def clock(self) -> int | None:
        """The first time of the run in 1/90000 s, for packed audio."""
        return None if self.first.clock is None else self.first.clock[1]

    @property
    def clocked(self) -> bool:
        """Whether its times are of a clock that others may share."""
        return self.nature[0] != "packed" or self.clock is not None

    @property
    def splice(self) -> int:
        """The discontinuity sequence number of its segments."""
        return self.first.order.splice

    @property
    def start_ns(self) -> int:
        """Its place in its playlist."""
        return int(self.first.order.start_s * NS)

    def open(self) -> "RunFile":
        """The run as a file, from its start."""
        assert not self._settled
        if self._file is not None:
            self._file.close()
        self.marks.clear()
        self._file = RunFile(self._segments(), self.marks)
        return self._file

    def settle(self) -> None:
        """It will not be opened again: forget the segments behind us."""
        self._settled = True
        del self.taken[:-1]

    def leave(self) -> None:
        """Nothing more of the current segment will be read."""
        if self._unread is not None:
            self._source.taken(self._unread)
            self._unread = None

    def close(self) -> None:
        """Nothing more of the run will be read."""
        self.leave()
        if self._file is not None:
            self._file.close()

    def lose(self) -> None:
        """Nothing in this run could be used: count it as a hole."""
        for checked in self.taken:
            self._source.lose(checked.order, Said("无法解析", "nothing can be read of it"))

    def lose_current(self) -> None:
        """The segment being read turned out damaged half-way."""
        self._source.lose_rest(self.current.order)

    def _segments(self) -> Iterator[Checked | str]:
        """The init section's path and every segment; new ones are taken from the source as they are asked for."""
        if self.first.order.kind == "fmp4" and self.first.order.init is not None:
            yield self.first.order.init
        yield from list(self.taken)
        while not self._over:
            self.leave()
            following = self._source.take_if_follows(self) if self.taken else self._source.take()
            if following is None:
                self._over = True
                return
            if self._settled:
                self.taken.clear()
            self.taken.append(following)
            self.current = self._unread = following
            yield following


class RunFile(io.RawIOBase):
    """
    The segments of a run one after the other; one of them is open at a time. Reading at the end waits for the next
    segment; once it has said that the run is over it stays so (libav asks again).
    """

    def __init__(self, segments: Iterator[Checked | str], marks: list[Mark]) -> None:
        super().__init__()
        self._segments = segments
        self._marks = marks
        self._file: io.FileIO | None = None
        self._over = False
        self._given = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Never: libav must read on."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of the current segment; empty only at the end of the run."""
        while not self._over:
            if self._file is None:
                self._file = self._next_file()
            elif chunk := self._file.read(size):
                self._given += len(chunk)
                return chunk
            else:
                self._file.close()
                self._file = None
        return b""

    def close(self) -> None:
        """Close the current segment; there is nothing more to read."""
        self._over = True
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _next_file(self) -> io.FileIO | None:
        for segment in self._segments:
            if isinstance(segment, str):
                return io.FileIO(open_file(segment, os.O_RDONLY))
            file = io.FileIO(open_file(segment.order.path, os.O_RDONLY))
            file.seek(segment.start)
            size = os.fstat(file.fileno()).st_size - segment.start
            self._marks.append(Mark(segment.order.number, self._given, self._given + size))
            return file
        self._over = True
        return None
