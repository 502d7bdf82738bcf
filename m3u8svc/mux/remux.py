"""
The remuxing itself: runs in, one MP4 out, packets copied as they are.

libav is driven with care; each of these is a trap somebody fell into (reference/merge.md 5): the format is forced and
nothing else may be opened; input containers are dropped, never closed while a stream of theirs may be used; only
whole numbers in the packet loop; time stamps are compared in output ticks; ADTS is unwrapped by us; HEVC is tagged
hvc1; a change of parameters gets a second sample description and, for length-prefixed video, in-band parameter sets.
"""

import errno
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from typing import Any, NoReturn, TypeAlias

import attrs
import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.packet import Packet, PacketSideData
from av.stream import Stream

from m3u8svc.mux.feed import Run, Source
from m3u8svc.mux.output import TargetFile
from m3u8svc.mux.parameters import parameter_sets
from m3u8svc.mux.protocol import Fault, Job, Outbox, Refused
from m3u8svc.mux.timeline import LATE_NS, NS, SANE_NS, First, Lane, Timeline, unwrap33

READ_BYTES = 1 << 20
WRITE_BYTES = 1 << 20
PEEK_PACKETS = 4
"""How many packets of every stream are seen before a run's offset is fixed: B-frames hide the least pts."""
PEEK_MOST = 600
RETRIES = 20
_PATIENT = {"analyzeduration": "30000000", "probesize": "33554432"}
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS, errno.EBADF})
_NEW_EXTRADATA = 1  # AV_PKT_DATA_NEW_EXTRADATA
_DEFAULT_FRAME = {"aac": 1024, "mp3": 1152, "ac3": 1536, "eac3": 1536}

AnyPacket: TypeAlias = "Packet[Any]"  # generic in its stream's type, but only in the stubs
AnyStream = Any  # PyAV types video and audio streams apart; we treat them alike


@attrs.define(kw_only=True)
class Track:
    """
    One stream of the output and its counters.
    """

    kind: str
    codec: str
    stream: AnyStream
    lane: Lane
    time_base: Fraction
    extradata: bytes
    changed: bool = False
    """Whether parameters changed once: from then on every keyframe carries its sets in-band."""
    read: int = 0
    written: int = 0
    dropped: int = 0


@attrs.define(kw_only=True)
class Route:
    """
    From one stream of a run to its track. `prefix` goes before keyframes, `extradata` onto the next packet.
    """

    track: Track
    unwrap_adts: BitStreamFilterContext | None = None
    prefix: bytes = b""
    extradata: bytes = b""


class Remuxer:
    """
    Writes one MP4 from a source of runs.
    """

    def __init__(self, job: Job, source: Source, outbox: Outbox) -> None:
        self._job = job
        self._source = source
        self._outbox = outbox
        self._timeline = Timeline()
        self._output: OutputContainer | None = None
        self.file: TargetFile | None = None
        self.tracks: dict[tuple[str, int], Track] = {}
        self._told: set[tuple[str, int, str]] = set()

    def run(self) -> TargetFile:
        """
        Mux everything; returns the closed MP4, not yet synced.

        Raises:
            Refused: no media, or a change that one MP4 cannot hold.
        """
        while (run := self._source.next_run()) is not None:
            self._add_run(run)
            run.leave()
        if self._output is None or self.file is None:
            raise Refused(Fault.NO_MEDIA, "分片中没有可用的音视频")
        self._outbox.closing()
        try:
            self._output.close()
        except av.FFmpegError as error:
            self._survive(error)  # the trailer is written all the same; verification decides
        return self.file

    # -- One run -----------------------------------------------------------------------------------------------------

    def _add_run(self, run: Run) -> None:
        opened = self._open(run)
        if opened is None:
            run.lose()
            return
        container, streams = opened
        packets = self._packets(run, container, streams)
        head = _peek(packets, streams)
        if not any(packet.size for packet in head):
            run.lose()
            return
        run.settle()
        routes = self._enter(run, streams, head)
        self._copy(run, chain(head, packets), routes)

    def _open(self, run: Run) -> tuple[InputContainer, list[AnyStream]] | None:
        """The run's container and the streams to copy; None when libav makes nothing of it."""
        for patience in ({}, _PATIENT):
            try:
                container = _open_input(run, patience)
            except (av.FFmpegError, IndexError):
                return None
            streams = [
                stream for stream in container.streams if stream.type in ("video", "audio") and _is_media(stream)
            ]
            wanting = [stream for stream in streams if not _is_complete(stream) and not self._knows(stream, streams)]
            if not wanting or run.demuxer != "mpegts":
                break
        for stream in wanting:
            self._tell(run, f"{stream.type} 流没有可用参数，未写入")
        streams = [stream for stream in streams if stream not in wanting]
        return (container, streams) if streams else None

    def _knows(self, stream: AnyStream, streams: list[AnyStream]) -> bool:
        return (stream.type, _nth(stream, streams)) in self.tracks

    def _packets(self, run: Run, container: InputContainer, streams: list[AnyStream]) -> Iterator[AnyPacket]:
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

    def _enter(self, run: Run, streams: list[AnyStream], head: list[AnyPacket]) -> dict[int, Route]:
        """Bring the run onto the timeline; returns the route of each stream index."""
        if self._output is None:
            self._start_output(streams)
        routes = {}
        for stream in streams:
            route = self._route(run, stream, _nth(stream, streams))
            if route is not None:
                routes[stream.index] = route
        self._place(run, streams, head, routes)
        return routes

    def _place(self, run: Run, streams: list[AnyStream], head: list[AnyPacket], routes: dict[int, Route]) -> None:
        wraps = run.demuxer == "mpegts"
        base_ns = self._packed_base_ns(run) if run.nature[0] == "packed" else 0
        near = self._near(head) if wraps else 0
        for stream in streams:
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
        firsts = _firsts(head, routes)
        same_clock = run.same_clock and not (run.nature[0] == "packed" and run.clock is None)
        self._timeline.enter_run(firsts, same_clock=same_clock, gap_ns=run.gap_ns)

    def _near(self, head: list[AnyPacket]) -> int:
        """The time to unwrap a TS run to: its own first, brought next to where the source was."""
        first = next((packet.dts for packet in head if packet.dts is not None), 0)
        source_ns = self._timeline.source_ns
        return first if source_ns is None else unwrap33(first, source_ns * 9 // 100_000)

    def _packed_base_ns(self, run: Run) -> int:
        if run.clock is None:
            return 0
        source_ns = self._timeline.source_ns
        clock = run.clock if source_ns is None else unwrap33(run.clock, source_ns * 9 // 100_000)
        return clock * 100_000 // 9

    def _copy(self, run: Run, packets: Iterator[AnyPacket], routes: dict[int, Route]) -> None:
        """The loop every packet goes through; flat for speed."""
        output, jumps = self._output, self._timeline.jumps
        assert output is not None
        mux_one = output.mux_one
        for packet in packets:
            route = routes.get(packet.stream_index)
            if route is None or not packet.size:
                continue
            track = route.track
            track.read += 1
            stamped = track.lane.stamp(packet.dts, packet.pts, packet.duration)
            if jumps:
                self._tell_jump(run)
            try:
                if route.unwrap_adts is not None:
                    packet = route.unwrap_adts.filter(packet)[0]
                elif route.extradata or (route.prefix and track.changed):
                    packet = _with_parameters(packet, route)
                if stamped is None:
                    raise ValueError("no time")
                packet.dts, packet.pts, packet.duration = stamped
                packet.time_base = track.time_base
                packet.stream = track.stream
                mux_one(packet)
                track.written += 1
            except (av.FFmpegError, OSError, IndexError, ValueError) as error:
                self._survive(error)
                track.dropped += 1
                self._tell(run, f"丢弃了无法写入的{'画面' if track.kind == 'video' else '声音'}数据")

    # -- The output --------------------------------------------------------------------------------------------------

    def _start_output(self, streams: list[AnyStream]) -> None:
        """Create the file and write the header, with a track for each stream of the first run."""
        self.file = TargetFile(self._job.target, alive=self._outbox.alive)
        file = self.file
        output = av.open(
            file,
            "w",
            format="mp4",
            # flush_packets=0: without it every packet is a write of its own.
            container_options={"fflags": "+bitexact", "flush_packets": "0"}
            | ({"movflags": "+faststart"} if self._job.faststart else {}),
            buffer_size=WRITE_BYTES,
            io_open=lambda url, flags, options: file.reader(),
        )
        if self._job.file_time is not None:
            made = datetime.fromtimestamp(int(self._job.file_time), UTC)
            output.metadata["creation_time"] = made.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        copies = [(stream, _add_copy(output, stream)) for stream in streams]
        output.start_encoding()
        for stream, copy in copies:
            base = copy.time_base
            assert base is not None  # the header is written
            self.tracks[stream.type, _nth(stream, streams)] = Track(
                kind=stream.type,
                codec=stream.codec_context.name,
                stream=copy,
                lane=self._timeline.add_lane(rate=base.denominator // base.numerator, snaps=stream.type == "audio"),
                time_base=base,
                extradata=stream.codec_context.extradata or b"",
            )
        self._output = output

    def _route(self, run: Run, stream: AnyStream, nth: int) -> Route | None:
        track = self.tracks.get((stream.type, nth))
        codec = stream.codec_context.name
        if track is None:
            if (stream.type, 0) not in self.tracks:
                raise Refused(
                    Fault.UNSUPPORTED,
                    f"从第 {run.first.order.number} 个分片起才出现{'画面' if stream.type == 'video' else '声音'}",
                )
            self._tell(run, f"多出的 {stream.type} 流未写入")
            return None
        if track.codec != codec:
            raise Refused(Fault.UNSUPPORTED, f"第 {run.first.order.number} 个分片的编码由 {track.codec} 变为 {codec}")
        extradata = stream.codec_context.extradata or b""
        route = Route(track=track)
        if codec == "aac" and run.demuxer in ("mpegts", "aac"):
            # Does not need the stream's extradata: it makes the AudioSpecificConfig from the first header it meets.
            route.unwrap_adts = BitStreamFilterContext("aac_adtstoasc", stream)
        elif extradata and track.extradata != extradata:
            track.extradata = route.extradata = extradata
            track.changed = True
        if stream.type == "video":
            route.prefix = parameter_sets(codec, extradata)
        return route

    # -- Telling -----------------------------------------------------------------------------------------------------

    def _survive(self, error: Exception) -> None:
        """Let `error` pass unless the disk is to blame."""
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise error

    def _tell_jump(self, run: Run) -> None:
        jump_s = self._timeline.jumps[0] / NS
        self._timeline.jumps.clear()
        self._tell(run, f"时间戳跳变 {jump_s:+.1f} 秒", key="jump")

    def _tell(self, run: Run, text: str, *, key: str = "") -> None:
        """Warn once a segment and kind."""
        number = run.current.order.number
        if (run.track, number, key or text) not in self._told:
            self._told.add((run.track, number, key or text))
            self._outbox.warn(run.track, number, text)


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


def _is_complete(stream: AnyStream) -> bool:
    context = stream.codec_context
    if stream.type == "audio":
        return bool(context.sample_rate) and bool(context.layout.nb_channels)
    return bool(context.width) and (bool(context.extradata) or context.name not in ("h264", "hevc"))


def _nth(stream: AnyStream, streams: list[AnyStream]) -> int:
    return [each.index for each in streams if each.type == stream.type].index(stream.index)


def _frame_ticks(stream: AnyStream) -> int:
    """How long a packet without a duration lasts, in ticks of the stream."""
    context = stream.codec_context
    if stream.type == "audio":
        samples = context.frame_size or _DEFAULT_FRAME.get(context.name, 1024)
        return int(Fraction(samples, context.sample_rate or 48_000) / stream.time_base)
    return int(1 / ((stream.average_rate or 25) * stream.time_base))


def _peek(packets: Iterator[AnyPacket], streams: list[AnyStream]) -> list[AnyPacket]:
    head: list[AnyPacket] = []
    missing = {stream.index: PEEK_PACKETS for stream in streams}
    for packet in packets:
        head.append(packet)
        missing[packet.stream_index] = missing.get(packet.stream_index, 0) - 1
        if len(head) >= PEEK_MOST or all(left <= 0 for left in missing.values()):
            break
    return head


def _firsts(head: list[AnyPacket], routes: dict[int, Route]) -> list[First]:
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
    return list(firsts.values())


def _add_copy(output: OutputContainer, stream: AnyStream) -> Stream:
    try:
        copy: Stream = output.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        raise Refused(Fault.UNSUPPORTED, f"MP4 不支持编码 {stream.codec_context.name}") from error
    if stream.codec_context.name == "hevc":
        copy.codec_context.codec_tag = "hvc1"
    return copy


def _with_parameters(packet: AnyPacket, route: Route) -> AnyPacket:
    """The packet with its new parameters: as side data on the first of a changed run, in-band on keyframes."""
    if route.prefix and route.track.changed and packet.is_keyframe:
        whole: AnyPacket = Packet(route.prefix + bytes(packet))
        whole.is_keyframe = True
        packet = whole
    if route.extradata:
        added = PacketSideData(_NEW_EXTRADATA, len(route.extradata))  # type: ignore[call-arg]  # missing in the stubs
        added.update(route.extradata)
        packet.set_sidedata(added)
        route.extradata = b""
    return packet
