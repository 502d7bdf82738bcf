"""
The remuxing itself: the runs of all tracks in, MP4 files out, packets copied as they are.

Tracks are read by readers, each at its own place in the output; the one that is furthest behind goes on. So picture and
sound interleave, and the file does not depend on the order in which segments arrive. A reader *waits* at the start of
each run. Inside an era it enters as soon as it is furthest behind; a new era is entered by all tracks together, since
they share its offset: whoever is there waits until the others have reached it, are over, or have run so far ahead that
they must lack this splice. Subtitle tracks take their turns among the others, right before the pictures they belong to.

When parameters change, one file can hold both sorts of picture or sound by a second sample description, mostly. What it
cannot hold is refused, or begins another file, as the job says.

libav is driven with care (reference/merge.md 5): only whole numbers in the packet loop; time stamps are compared in
output ticks; ADTS is unwrapped by us; HEVC is tagged hvc1.
"""

from collections.abc import Callable, Sequence

import av
from av.packet import Packet

from m3u8svc.mux.cues import Stretch
from m3u8svc.mux.feed import Run, Source
from m3u8svc.mux.lowdisk import ChunkedMp4
from m3u8svc.mux.mp4 import Mp4, Wanted
from m3u8svc.mux.orders import Orders
from m3u8svc.mux.output import OpenFile, survive
from m3u8svc.mux.protocol import Fault, Job, Outbox, Refused
from m3u8svc.mux.reader import Reader, is_complete
from m3u8svc.mux.spans import Spans
from m3u8svc.mux.subtitles import Ahead, SubtitleTrack
from m3u8svc.mux.timeline import NS, Entry, Timeline
from m3u8svc.mux.tracks import (
    SAMPLES,
    AnyPacket,
    AnyStream,
    Change,
    Key,
    Route,
    Track,
    changes_of,
    route_to,
    undescribed,
    with_parameters,
)
from m3u8svc.wording import Said, said

__all__ = ["Remuxer", "Track"]

LAG_NS = 10 * NS
"""A track that is this far beyond a splice of another does not have it."""
TURN_NS = NS // 4
"""A track may go on for so long beyond another before that has its turn; the muxer puts packets in order itself."""
FOR_EVER = 1 << 62
SILENT_MOST = 1 << 19
"""So many silent frames (three hours of them) are made for a track: playlists can announce holes of years."""
_NOTHING = Said("没有可用的媒体，未写入", "no usable media, it is left out")
_NOUNS = {"video": Said("画面", "picture"), "audio": Said("声音", "sound")}


Part = Reader | SubtitleTrack
"""What takes its turn."""


class Remuxer:
    """
    Writes MP4 files from the orders of a job; `finish` is called with each complete one, not yet synced.
    """

    def __init__(
        self, job: Job, orders: Orders, outbox: Outbox, finish: Callable[[Mp4], None], open_file: OpenFile
    ) -> None:
        self._job = job
        self._open_file = open_file
        self._orders = orders
        self._outbox = outbox
        self._finish = finish
        self._timeline = Timeline()
        self._told: set[tuple[str, int, str]] = set()
        self._mp4: Mp4 | None = None
        self._files = 0
        # Where files may be split, tracks are held to the same place as closely as packets allow.
        self._turn_ns = 0 if job.on_param_change == "split" else TURN_NS
        self.readers = [
            Reader(info, Source(info.track, orders, outbox), self._timeline, self._tell, Spans(info.track, outbox))
            for info in job.tracks
            if info.kind != "subtitles"
        ]
        self.subtitles = [
            SubtitleTrack(info, orders, outbox, self._ahead) for info in job.tracks if info.kind == "subtitles"
        ]
        self._parts: tuple[Part, ...] = (*self.readers, *self.subtitles)

    @property
    def mp4(self) -> Mp4:
        """The file that is written."""
        assert self._mp4 is not None
        return self._mp4

    def run(self) -> None:
        """
        Mux everything.

        Raises:
            Refused: no media, or a change that one MP4 cannot hold.
        """
        if self._job.merged:
            self._resume()
        else:
            self._set_out()
        while True:
            for reader in self.readers:
                while reader.rests and reader.source.cut_is_passed:
                    reader.cross()
            resting = [reader for reader in self.readers if reader.rests]
            if not all(reader.over or reader.rests for reader in self.readers):
                self._step([part for part in self._parts if not part.over and part not in resting])
            elif resting:
                self._cross_cut(resting)
            else:
                break
        for subtitle in self.subtitles:
            subtitle.finish(self._shown_until_ns)
        self._close()

    def _set_out(self) -> None:
        """Stand before the first run of every track."""
        for reader in self.readers:
            reader.advance()
            while reader.rests:  # without having begun: there is nothing to write down yet
                self._pass_over(reader)
        main, *renditions = self.readers
        if main.over:
            raise Refused(
                Fault.NO_MEDIA, Said("分片中没有可用的音视频", "the segments have no usable sound or picture")
            )
        for reader in renditions:
            if reader.over:
                self._outbox.warn(reader.info.track, 0, _NOTHING)
        if any(not reader.over for reader in renditions) and any(key[1] == "video" for key, _ in main.streams):
            main.kinds = ("video",)

    # -- Cuts of a low-disk job ----------------------------------------------------------------------------------------

    def _pass_over(self, reader: Reader) -> None:
        """Make no checkpoint where a track has not begun, or the main track cannot begin anew."""
        cut = reader.source.cut
        assert cut is not None
        self._orders.pass_over(cut)
        reader.cross()

    def _cross_cut(self, resting: Sequence[Reader]) -> None:
        """All tracks have come to a cut, or to their end: make a checkpoint and go on."""
        cut = resting[0].source.cut
        assert cut is not None
        assert isinstance(self.mp4, ChunkedMp4)
        lanes = self._timeline.lanes
        state = {
            "timeline": self._timeline.as_fields(),
            "readers": [reader.as_fields() for reader in self.readers],
            "tracks": self.mp4.track_rows(lanes),
        }
        self.mp4.checkpoint(cut.parts, state)
        for reader in resting:
            reader.cross()

    def _resume(self) -> None:
        """Be where another child was at its last checkpoint, and go on."""
        self._files = 1
        self._mp4 = mp4 = ChunkedMp4(self._job, self._outbox, self._open_file)
        self._timeline.restore(mp4.state["timeline"])
        lanes = self._timeline.lanes
        mp4.restore_tracks(mp4.state["tracks"], lanes)
        for reader, fields in zip(self.readers, mp4.state["readers"], strict=True):
            reader.restore(fields, lanes)
            if reader.over:
                self._orders.leave(reader.info.track)
        for reader in self.readers:
            if reader.rests:
                reader.cross()

    # -- Whose turn it is --------------------------------------------------------------------------------------------

    def _step(self, active: Sequence[Part]) -> None:
        """Let whoever is furthest behind go on, if it need not wait for others."""
        for part in sorted(active, key=lambda part: part.position_ns):
            if isinstance(part, SubtitleTrack):
                part.pull()
                return
            if not part.waits:
                self._copy(part, _limit(part, active, self._turn_ns))
                return
            if group := self._group(part, active):
                self._enter(group)
                return
        raise AssertionError("every track waits for another")

    def _group(self, reader: Reader, active: Sequence[Part]) -> list[Reader]:
        """Those who may enter the era of `reader` now, with it; nobody while others are still on their way to it."""
        era = reader.era
        assert era is not None
        if self._timeline.knows(era) and (reader.left is None or reader.left <= era):
            return [reader]
        readers = [part for part in active if isinstance(part, Reader)]
        for other in readers:
            assert other.era is not None
            if other.era < era and other.position_ns <= reader.position_ns + LAG_NS:
                return []
        return [other for other in readers if other.waits and other.era == era]

    # -- The start of a run ------------------------------------------------------------------------------------------

    def _enter(self, group: list[Reader]) -> None:
        """Bring the runs of a group onto the timeline."""
        changes = [] if self._mp4 is None else [each for reader in group for each in self._changes(reader)]
        splits = bool(changes) and self._may_split(group)
        if not splits:
            for reader, change in changes:
                if not change.held:
                    raise Refused(Fault.UNSUPPORTED, _refusal(reader, change))
        if splits or self._mp4 is None:
            self._begin(group)
        elif isinstance(self._mp4, ChunkedMp4):
            self._begin_chunk(self._mp4, group, changed=bool(changes))
        entries: list[Entry] = []
        for reader in group:
            entries.append(self._entry(reader, entries))
        era = group[0].era
        assert era is not None
        if len(group) == 1 and self._timeline.knows(era):
            place = self._timeline.go_on if group[0].left == era else self._timeline.join
            place(era, entries[0])
        else:
            self._timeline.enter(era, entries)
        for reader, entry in zip(group, entries, strict=True):
            if entry.firsts:
                reader.position_ns = min(first.dts_ns + first.lane.offset_ns for first in entry.firsts)
        if splits:
            self._rebase(group, entries)
        for reader in group:
            self._leave_out(reader, begins_file=splits)
        firsts = [first for entry in entries for first in entry.firsts]
        if self.readers[0] in group:
            starts = [first.pts_ns + first.lane.offset_ns for first in firsts]
            self._enter_stretch(min(starts, default=self._timeline.end_ns))

    @property
    def _shown_until_ns(self) -> int:
        """Where picture and sound end; the timeline knows when they are decoded."""
        return max((lane.shown_until_ns or 0 for reader in self.readers for lane in reader.lanes.values()), default=0)

    def _enter_stretch(self, out_ns: int) -> None:
        """Tell subtitles where the main track is: from `out_ns` on its offset may be another one."""
        main = self.readers[0]
        place_ns = self._timeline.place_ns(main.run.splice)
        assert place_ns is not None  # the era was entered
        for lane in list(main.lanes.values())[:1]:  # all of them have one offset
            stretch = Stretch(splice=main.run.splice, out_ns=out_ns, offset_ns=lane.offset_ns, place_ns=place_ns)
            for subtitle in self.subtitles:
                subtitle.enter(stretch)

    def _ahead(self) -> Ahead | None:
        """What the main track is about to do, when it is inside a run."""
        main = self.readers[0]
        place_ns = self._timeline.place_ns(main.run.splice) if main.runs and main.lanes else None
        if place_ns is None:
            return None
        order = main.run.current.order
        end_s = order.start_s + order.duration_s
        return Ahead(start_s=order.start_s, end_s=end_s, horizon_ns=int(end_s * NS) + place_ns)

    def _may_split(self, group: list[Reader]) -> bool:
        """Whether another file may begin here: where the main track begins a run, and a header can be written."""
        main = self.readers[0]
        wanted = self._job.on_param_change == "split" and main in group
        return wanted and any(is_complete(stream) for _, stream in main.streams)

    def _entry(self, reader: Reader, before: Sequence[Entry]) -> Entry:
        """How a reader goes on, its times unwrapped next to its own last one, or to those of others in its era."""
        assert reader.era is not None
        near_ns = reader.source_ns() if reader.left == reader.era else None
        if near_ns is None:
            near_ns = self._timeline.source_ns(reader.era)
        if near_ns is None:
            near_ns = next((entry.dts_ns for entry in before if entry.firsts and entry.clocked), None)
        return reader.enter(self._routes(reader), near_ns)

    def _routes(self, reader: Reader) -> dict[int, Route]:
        """The routes of a reader's streams to the tracks that are written."""
        mp4 = self.mp4
        return {
            stream.index: route_to(mp4.tracks[key], stream, reader.run.demuxer)
            for key, stream in reader.streams
            if mp4.takes(key)
        }

    def _leave_out(self, reader: Reader, *, begins_file: bool) -> None:
        """
        Leave out the pictures of a run that nobody can decode, for want of those before them. In a film without any key
        frame they may be decodable all the same (intra refresh that does not say so), and all are kept.
        """
        run = reader.run
        for index, (count, has_key) in reader.headless.items():
            route = reader.routes.get(index)
            if route is None or (run.continues and not begins_file):
                continue
            if has_key or (count and route.track.keyed):
                route.headless = count
                zh = "开头 {count} 帧画面在关键帧之前，无法解码，未写入"
                en = "the first {count} pictures are before a key frame, cannot be decoded and are left out"
                text = said(zh, en, count=count)
            else:
                text = Said(
                    "没有找到关键帧，画面可能无法解码", "there is no key frame, the picture may not be decodable"
                )
            route.track.keyed |= has_key
            if count or not has_key:
                self._outbox.warn(run.track, run.first.order.number, text)

    def _changes(self, reader: Reader) -> list[tuple[Reader, Change]]:
        """What is different in the streams of a reader's new run."""
        tracks = self.mp4.tracks
        found = []
        streams = dict(reader.streams)
        for key, stream in streams.items():
            if key in tracks:
                found += changes_of(tracks[key], stream) if is_complete(stream) else []
            else:
                first = not any(known[:2] == key[:2] for known in tracks)
                noun = _NOUNS[stream.type]
                held = isinstance(self.mp4, ChunkedMp4)  # the moov that names all tracks comes at the end
                zh, en = ("才出现{noun}", "{noun} begins") if first else ("多出一路{noun}", "there is one more {noun}")
                found.append(Change(text=said(zh, en, noun=noun), held=held))
        gone = [key for key in tracks if key[0] == reader.info.track and key not in streams]
        found += [Change(text=said("不再有{noun}", "the {noun} is gone", noun=_NOUNS[kind])) for _, kind, _ in gone]
        return [(reader, change) for change in found]

    # -- Files -------------------------------------------------------------------------------------------------------

    def _begin(self, group: list[Reader]) -> None:
        """Begin the next file, with a track for each stream that is there or will come."""
        if self._mp4 is not None:
            for reader in self.readers:
                if reader.runs:
                    reader.spans.end(reader.run.marks, reader.routes.values(), self._files)
            for subtitle in self.subtitles:
                subtitle.end_file(self._shown_until_ns)
            self._close()
        self._files += 1
        path = self._job.target if self._files == 1 else f"{self._job.target}.p{self._files}"
        if self._job.journal:
            self._mp4 = ChunkedMp4(self._job, self._outbox, self._open_file)
        else:
            self._mp4 = Mp4(self._job, path, self._outbox, self._open_file)
        for reader in self.readers:
            streams = [] if reader.over else self._describable(reader)
            reader.lanes = {key: reader.lane(key) for key, _ in streams}
        self._start(self._mp4)

    def _start(self, mp4: Mp4) -> None:
        """Let a file, or the next chunk of one, have what the readers are at."""
        present = [reader for reader in self.readers if not (reader.over or reader.rests)]
        wanted = [
            Wanted(key=key, info=reader.info, stream=stream, lane=reader.lane(key))
            for reader in present
            for key, stream in self._describable(reader)
        ]
        mp4.start(wanted, self.subtitles)
        for reader in present:
            if reader.runs:
                reader.routes = self._routes(reader)

    def _begin_chunk(self, mp4: ChunkedMp4, group: list[Reader], *, changed: bool) -> None:
        """Begin another chunk if the open one does not take all that a group brings, or describes it as it was."""
        brought = [(reader, key, stream) for reader in group for key, stream in reader.streams]
        if changed or not all(mp4.takes(key) for _, key, stream in brought if is_complete(stream)):
            for reader in self.readers:
                if reader.runs:
                    reader.spans.end(reader.run.marks, reader.routes.values(), self._files)
            self._start(mp4)
        for reader, key, stream in brought:
            if not mp4.takes(key):
                self._tell(reader.run, undescribed(stream.type))

    def _describable(self, reader: Reader) -> list[tuple[Key, AnyStream]]:
        """The streams a header can describe; a damaged run may hide what that takes."""
        for _, stream in reader.streams:
            if not is_complete(stream):
                self._tell(reader.run, undescribed(stream.type))
        return [(key, stream) for key, stream in reader.streams if is_complete(stream)]

    def _rebase(self, group: list[Reader], entries: list[Entry]) -> None:
        """Let the new file start at 0."""
        starts = [first.pts_ns + first.lane.offset_ns - entry.gap_ns for entry in entries for first in entry.firsts]
        starts += [reader.position_ns for reader in self.readers if reader not in group and reader.runs]
        origin_ns = min(starts, default=0)
        lanes = [lane for reader in self.readers for lane in reader.lanes.values()]
        self._timeline.rebase(origin_ns, lanes)
        for part in self._parts:
            part.rebase(origin_ns)

    def _close(self) -> None:
        self._outbox.closing()
        self.mp4.close()
        self._finish(self.mp4)

    # -- Packets -----------------------------------------------------------------------------------------------------

    def _copy(self, reader: Reader, limit_ns: int) -> None:
        """The loop every packet goes through, until the reader is beyond a limit; flat for speed."""
        mux_one, jumps, routes = self.mp4.mux_one, self._timeline.jumps, reader.routes
        for packet in reader.packets:
            route = routes.get(packet.stream_index)
            if route is None or not packet.size:
                continue
            track = route.track
            if route.headless:
                route.headless -= 1
                track.headless += 1
                continue
            track.read += 1
            lane = track.lane
            at, end_ns = packet.pos or 0, lane.end_ns
            stamped = lane.stamp(packet.dts, packet.pts, packet.duration)
            if at >= route.until and stamped is not None:
                self._cross(reader, route, at, end_ns, stamped)
            if jumps:
                self._tell_jump(reader.run)
            if lane.hole_ticks and stamped is not None:
                self._fill(reader.run, track, stamped[0])
            track.silence = route.silence
            try:
                if route.unwrap_adts is not None:
                    packet = route.unwrap_adts.filter(packet)[0]
                elif route.extradata or (route.prefix and track.changed):
                    packet = with_parameters(packet, route)
                if stamped is None:
                    raise ValueError("no time")
                packet.dts, packet.pts, packet.duration = stamped
                if route.rescaled:
                    packet.time_base = track.time_base
                packet.stream = track.stream
                mux_one(packet)
                track.written += 1
            except (av.FFmpegError, OSError, IndexError, ValueError) as error:
                survive(error)
                track.dropped += 1
                zh, en = "丢弃了无法写入的{noun}数据", "{noun} that could not be written was dropped"
                self._tell(reader.run, said(zh, en, noun=_NOUNS[track.kind]))
            if lane.end_ns is not None and lane.end_ns > limit_ns:
                reader.position_ns = lane.end_ns
                return
        reader.position_ns = max((lane.end_ns or 0 for lane in reader.lanes.values()), default=0)
        reader.spans.end(reader.run.marks, routes.values(), self._files)
        reader.advance()

    def _fill(self, run: Run, track: Track, until: int) -> None:
        """
        Fill the hole in a track's sound that ends at `until` with silence: players that take sound for continuous would
        be out of step with the picture from there on.
        """
        lane = track.lane
        start, lane.hole_ticks = until - lane.hole_ticks, 0
        frame, samples = track.silence or (b"", 0)
        count = (until - start) * samples // (SAMPLES * lane.rate)
        if not frame or track.filled + count > SILENT_MOST:
            self._tell_hole(run, track, (until - start) / lane.rate)
            return
        for number in range(count):
            packet: AnyPacket = Packet(frame)
            packet.dts = packet.pts = start + number * SAMPLES * lane.rate // samples
            packet.duration = start + (number + 1) * SAMPLES * lane.rate // samples - packet.dts
            packet.time_base, packet.stream, packet.is_keyframe = track.time_base, track.stream, True
            self._write_silence(run, track, packet)

    def _write_silence(self, run: Run, track: Track, packet: AnyPacket) -> None:
        track.read += 1
        try:
            self.mp4.mux_one(packet)
            track.written += 1
            track.filled += 1
        except (av.FFmpegError, OSError) as error:
            survive(error)
            track.dropped += 1
            self._tell(run, Said("无法写入补上的静音", "silence that fills a hole could not be written"))

    def _tell_hole(self, run: Run, track: Track, hole_s: float) -> None:
        """Warn of the first hole of a track that stays one."""
        if not track.holed:
            track.holed = True
            if track.silence:
                reason = Said("太长，未补静音", "too long to be filled with silence")
            else:
                reason = Said(f"{track.codec} 无法补静音", f"no silence can be made in {track.codec}")
            text = said(
                "声音在此之前缺 {hole} 秒，{reason}，浏览器中此后音画可能错开",
                "{hole} s of sound are missing before it, {reason}; sound and picture may be out of step in browsers "
                "from here on",
                hole=f"{hole_s:.2f}",
                reason=reason,
            )
            self._outbox.warn(run.track, run.current.order.number, text)

    def _cross(self, reader: Reader, route: Route, at: int, end_ns: int | None, stamped: tuple[int, int, int]) -> None:
        marks = reader.run.marks
        next_ns = stamped[0] * NS // route.track.lane.rate
        reader.spans.cross(marks, route, file=self._files, at=at, end_ns=end_ns, next_ns=next_ns)
        reader.spans.tell(marks, reader.routes.values())

    # -- Telling -----------------------------------------------------------------------------------------------------

    def _tell_jump(self, run: Run) -> None:
        jump_s = self._timeline.jumps[0] / NS
        self._timeline.jumps.clear()
        self._tell(run, said("时间戳跳变 {jump} 秒", "time stamps jump by {jump} s", jump=f"{jump_s:+.1f}"), key="jump")

    def _tell(self, run: Run, text: Said, key: str = "") -> None:
        """Warn once a segment and kind."""
        number = run.current.order.number
        if (run.track, number, key or text) not in self._told:
            self._told.add((run.track, number, key or text))
            self._outbox.warn(run.track, number, text)


def _limit(reader: Reader, active: Sequence[Part], turn_ns: int) -> int:
    """How far `reader` may go before somebody else has a turn, or may wait no longer."""
    limit_ns = FOR_EVER
    for part in active:
        if part is not reader:
            waits = isinstance(part, Reader) and part.waits and part.era != part.left
            limit_ns = min(limit_ns, part.position_ns + (LAG_NS if waits else turn_ns))
    return limit_ns


def _refusal(reader: Reader, change: Change) -> Said:
    track = "" if reader.info.kind == "main" else f"{reader.info.track} "
    number = reader.run.first.order.number
    return said(
        "从{track}第 {number} 个分片起{change}，一个 MP4 装不下；on_param_change=split 可分成多个文件",
        "from {track}segment {number} on {change}, too much for one MP4; on_param_change=split makes several files",
        track=track,
        number=number,
        change=change.text,
    )
