"""
One playlist track being read: its runs, opened one after the other.

libav is driven with care here; each of these is a trap somebody fell into (reference/merge.md 5): the format is forced
and nothing else may be opened; input containers are dropped, never closed while a stream of theirs may be used.
"""

import errno
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, NoReturn

import av
from av.container import InputContainer

from m3u8svc.mux.feed import Run, Source
from m3u8svc.mux.protocol import TrackInfo
from m3u8svc.mux.spans import Spans
from m3u8svc.mux.timeline import LATE_NS, SANE_NS, Entry, Era, First, Lane, Timeline, unwrap33
from m3u8svc.mux.tracks import AnyPacket, AnyStream, Key, Route, undescribed
from m3u8svc.wording import Said

READ_BYTES = 1 << 20
PEEK_PACKETS = 4
"""How many packets of every stream are seen before a run's offset is fixed: B-frames hide the least pts."""
PEEK_MOST = 600
KEY_MOST, KEY_MOST_BYTES = 2000, 1 << 26
"""So far ahead the first key frame is looked for, in packets and in bytes of them."""
RETRIES = 20
_PATIENT = {"analyzeduration": "30000000", "probesize": "33554432"}
_DEFAULT_FRAME = {"aac": 1024, "mp3": 1152, "ac3": 1536, "eac3": 1536}

Tell = Callable[[Run, Said], None]
"""Warns about the segment a run is at."""


class Reader:
    """
    A playlist track, standing before a run (`waits`) or inside one.
    """

    def __init__(self, info: TrackInfo, source: Source, timeline: Timeline, tell: Tell, spans: Spans) -> None:
        self.info = info
        self.spans = spans
        self.source = source
        self._timeline = timeline
        self._tell = tell
        self.kinds: Collection[str] = ("video", "audio") if info.kind == "main" else ("audio",)
        """The kinds of stream that are copied."""
        self.lanes: dict[Key, Lane] = {}
        self.routes: dict[int, Route] = {}
        """From a stream index of the run to its track; empty while it waits."""
        self.position_ns = 0
        """How far it is in the output."""
        self.era: Era | None = None
        """Of the run it is at."""
        self.left: Era | None = None
        """Of the run before."""
        self.waits = False
        self.over = False
        self.rests = False
        """Whether it has come to a cut, between two runs."""
        self._run: Run | None = None
        self._container: InputContainer | None = None  # must outlive its streams (trap 1)
        self._streams: list[AnyStream] = []
        self._head: list[AnyPacket] = []
        self.headless: dict[int, tuple[int, bool]] = {}
        """How many pictures of each stream of the run come before its first key frame, and whether there is one."""
        self.packets: Iterator[AnyPacket] = iter(())

    @property
    def runs(self) -> bool:
        """Whether it is inside a run."""
        return not (self.over or self.waits or self.rests)

    @property
    def run(self) -> Run:
        """The run it is at."""
        assert self._run is not None
        return self._run

    @property
    def streams(self) -> list[tuple[Key, AnyStream]]:
        """The streams of the run to copy."""
        streams = [stream for stream in self._streams if stream.type in self.kinds]
        return [((self.info.track, stream.type, _nth(stream, streams)), stream) for stream in streams]

    def advance(self) -> None:
        """Close the run behind us and stand before the next one that holds media; `over` when there is none."""
        if self._run is not None:
            self._run.close()
        self.routes = {}
        while (run := self.source.next_run()) is not None:
            if self._try(run):
                self.waits = True
                return
            run.lose()
            run.close()
        self.rests = self.source.cut is not None
        self.over = not self.rests

    def cross(self) -> None:
        """Go on behind the cut."""
        self.rests = False
        self.source.cross()
        self.advance()

    def as_fields(self) -> dict[str, Any]:  # Any: of every type
        """What is known at a cut, for `restore`."""
        return {
            "source": self.source.as_fields(),
            "kinds": tuple(self.kinds),
            "lanes": {key: self._timeline.lanes.index(lane) for key, lane in self.lanes.items()},
            "position_ns": self.position_ns,
            "era": self.era,
            "left": self.left,
            "over": self.over,
        }

    def restore(self, fields: Mapping[str, Any], lanes: Sequence[Lane]) -> None:  # Any: as told
        """Be as another was at a cut; `lanes` are those of the timeline."""
        self.source.restore(fields["source"])
        self.kinds = fields["kinds"]
        self.lanes = {key: lanes[number] for key, number in fields["lanes"].items()}
        self.position_ns, self.era, self.left = (fields[name] for name in ("position_ns", "era", "left"))
        self.over, self.rests = fields["over"], not fields["over"]

    def lane(self, key: Key) -> Lane:
        """The lane of a stream; a new one when it is new."""
        if key not in self.lanes:
            self.lanes[key] = self._timeline.add_lane(rate=90_000, snaps=key[1] == "audio")
        return self.lanes[key]

    def enter(self, routes: dict[int, Route], near_ns: int | None) -> Entry:
        """
        Set the run's clocks, unwrapped next to `near_ns`; returns how it goes on.
        """
        run = self.run
        wraps = run.demuxer == "mpegts"
        base_ns = _packed_base_ns(run, near_ns)
        near = self._near(near_ns) if wraps else 0
        for stream in self._streams:
            if stream.index in routes:
                tb = stream.time_base
                routes[stream.index].track.lane.enter_run(
                    numerator=tb.numerator,
                    denominator=tb.denominator,
                    step_ticks=_frame_ticks(stream),
                    wraps=wraps,
                    near=near,
                    base_ns=base_ns,
                )
        self.routes = routes
        self.waits = False
        return Entry(
            lanes=tuple(self.lanes.values()),
            firsts=_firsts(self._head, routes),
            start_ns=run.start_ns,
            gap_ns=run.gap_ns,
            clocked=run.clocked,
        )

    def rebase(self, origin_ns: int) -> None:
        """Go on in a new file, which begins at `origin_ns` of this one."""
        self.position_ns -= origin_ns

    def source_ns(self) -> int | None:
        """The newest source time it has read in its run."""
        return max((lane.at_ns for lane in self.lanes.values() if lane.at_ns is not None), default=None)

    def _near(self, near_ns: int | None) -> int:
        """The time to unwrap a TS run to: its own first, brought next to where the source was."""
        first = next((packet.dts for packet in self._head if packet.dts is not None), 0)
        return first if near_ns is None else unwrap33(first, near_ns * 9 // 100_000)

    def _try(self, run: Run) -> bool:
        """Open a run and look at its first packets; whether there is any."""
        opened = self._open(run)
        if opened is None:
            return False
        self._container, self._streams = opened
        packets = self._demux(run, self._container, self._streams)
        self._head, is_all = _peek(packets, self._streams)
        if not any(packet.size for packet in self._head):
            return False
        if run.nature[0] == "packed" and self._head[0].dts is None:
            self._head[0].dts = self._head[0].pts = 0  # libav knows no time for a frame that is alone
        self.headless = self._count_headless(is_all)
        run.settle()
        self.packets = chain(self._head, packets)
        self.left, self.era = self.era, self._era_of(run)
        self._run = run
        return True

    def _count_headless(self, is_all: bool) -> dict[int, tuple[int, bool]]:
        """For `headless`. Where no key frame is in reach none are counted, unless the head `is_all` of the run."""
        counted = {}
        for stream in self._streams:
            if stream.type == "video":
                seen = [packet for packet in self._head if packet.stream_index == stream.index and packet.size]
                first = next((n for n, packet in enumerate(seen) if packet.is_keyframe), None)
                counted[stream.index] = (len(seen) if is_all else 0, False) if first is None else (first, True)
        return counted

    def _era_of(self, run: Run) -> Era:
        if self.era is None or run.splice != self.era[0]:
            return run.splice, 0
        return run.splice, self.era[1] + run.closes_hole

    def _open(self, run: Run) -> tuple[InputContainer, list[AnyStream]] | None:
        """The run's container and the streams to copy; None when libav makes nothing of it."""
        for patience in ({}, _PATIENT):
            try:
                container = _open_input(run, patience)
            except (av.FFmpegError, IndexError):
                return None
            streams = [stream for stream in container.streams if stream.type in self.kinds and _is_media(stream)]
            wanting = [stream for stream in streams if not is_complete(stream) and not self._knows(stream, streams)]
            if not wanting or run.demuxer != "mpegts":
                break
        for stream in wanting:
            self._tell(run, undescribed(stream.type))
        streams = [stream for stream in streams if stream not in wanting]
        return (container, streams) if streams else None

    def _knows(self, stream: AnyStream, streams: list[AnyStream]) -> bool:
        return (self.info.track, stream.type, _nth(stream, streams)) in self.lanes

    def _demux(self, run: Run, container: InputContainer, streams: list[AnyStream]) -> Iterator[AnyPacket]:
        """All packets of a run, going on after damage as long as that makes sense."""
        failures = 0
        while True:
            try:
                yield from container.demux(streams)
                return
            except (av.FFmpegError, IndexError) as error:
                if isinstance(error, IndexError):  # PyAV's flush trips over streams that appeared late: the end
                    return
                failures += 1
                if run.demuxer != "mpegts" or failures > RETRIES:
                    run.lose_current()
                    return


def is_complete(stream: AnyStream) -> bool:
    """
    Whether libav found all that a header needs.
    """
    context = stream.codec_context
    if stream.type == "audio":
        return bool(context.sample_rate) and bool(context.layout.nb_channels)
    return bool(context.width) and (bool(context.extradata) or context.name not in ("h264", "hevc"))


def _refuse_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """No demuxer may open anything besides what it is fed (R-DEM-1)."""
    raise PermissionError(errno.EPERM, "the demuxer asked for another file")


def _open_input(run: Run, patience: dict[str, str]) -> InputContainer:
    options = {"correct_ts_overflow": "0", **patience} if run.demuxer == "mpegts" else dict(patience)
    return av.open(
        run.open(),
        "r",
        format=run.demuxer,
        container_options=options,
        buffer_size=READ_BYTES,
        io_open=_refuse_open,
        metadata_errors="replace",
    )


def _is_media(stream: AnyStream) -> bool:
    return stream.codec_context is not None and not stream.disposition & av.stream.Disposition.attached_pic


def _nth(stream: AnyStream, streams: list[AnyStream]) -> int:
    return [each.index for each in streams if each.type == stream.type].index(stream.index)


def _frame_ticks(stream: AnyStream) -> int:
    """How long a packet without a duration lasts, in ticks of the stream."""
    context = stream.codec_context
    if stream.type == "audio":
        samples = context.frame_size or _DEFAULT_FRAME.get(context.name, 1024)
        return int(Fraction(samples, context.sample_rate or 48_000) / stream.time_base)
    return int(1 / ((stream.average_rate or 25) * stream.time_base))


def _packed_base_ns(run: Run, near_ns: int | None) -> int:
    if run.nature[0] != "packed" or run.clock is None:
        return 0
    clock = run.clock if near_ns is None else unwrap33(run.clock, near_ns * 9 // 100_000)
    return clock * 100_000 // 9


def _peek(packets: Iterator[AnyPacket], streams: list[AnyStream]) -> tuple[list[AnyPacket], bool]:
    """
    The first packets of a run, a few of every stream and those up to the first key frame of each; whether they are all.
    """
    head: list[AnyPacket] = []
    missing = {stream.index: PEEK_PACKETS for stream in streams}
    keyless = {stream.index for stream in streams if stream.type == "video"}
    size_bytes = 0
    for packet in packets:
        head.append(packet)
        size_bytes += packet.size
        missing[packet.stream_index] = missing.get(packet.stream_index, 0) - 1
        if packet.is_keyframe:
            keyless.discard(packet.stream_index)
        enough = len(head) >= PEEK_MOST or all(left <= 0 for left in missing.values())
        waits = any(missing[index] < PEEK_PACKETS for index in keyless)  # a picture came, but no key frame
        if enough and not (waits and len(head) < KEY_MOST and size_bytes < KEY_MOST_BYTES):
            return head, False
    return head, True


def _firsts(head: list[AnyPacket], routes: dict[int, Route]) -> tuple[First, ...]:
    """
    The first dts and least pts of every stream. Times far from the median of all are damage and would shift the run.
    """
    timed = []
    for packet in head:
        route = routes.get(packet.stream_index)
        dts = packet.pts if packet.dts is None else packet.dts
        if route is not None and packet.size and dts is not None:
            pts = dts if packet.pts is None else packet.pts
            timed.append((route.track.lane, route.track.lane.source_ns(dts), route.track.lane.source_ns(pts)))
    median = sorted(dts_ns for _, dts_ns, _ in timed)[len(timed) // 2] if timed else 0
    firsts: dict[int, First] = {}
    for lane, dts_ns, pts_ns in timed:
        if abs(dts_ns - median) <= LATE_NS and abs(pts_ns - dts_ns) <= SANE_NS:
            known = firsts.get(id(lane))
            if known is not None:
                dts_ns, pts_ns = known.dts_ns, min(known.pts_ns, pts_ns)
            firsts[id(lane)] = First(lane=lane, dts_ns=dts_ns, pts_ns=pts_ns)
    return tuple(firsts.values())
