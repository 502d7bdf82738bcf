"""
A merge that lets go of segments while it goes on: one MP4 written in chunks, with a checkpoint behind some of them.

At a cut every track has come to the end of a run, so there is nothing half-read: the state of the readers and of the
timeline is a page of numbers. The chunk is closed, its media synced, and then numbers and tables are appended to the
journal; from that instant on nothing before the cut is needed. Another child reads the journal, cuts off what the
target has beyond it, and goes on as this one would have: demuxers begin anew at every cut in any case, so the bytes are
the same.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import av
from av.container import OutputContainer

from m3u8svc.mux.chunks import ChunkFile, Film
from m3u8svc.mux.feed import Checked
from m3u8svc.mux.fmp4 import BrokenBoxes
from m3u8svc.mux.frozen import freeze, thaw
from m3u8svc.mux.journal import BrokenJournal, Journal, Record
from m3u8svc.mux.moov import Piece, Stamps
from m3u8svc.mux.mp4 import Mp4, Wanted, new_track, start_encoding
from m3u8svc.mux.output import DIRECTORY, OpenFile, TargetFile, open_file, survive
from m3u8svc.mux.protocol import Fault, Feed, Job, Outbox, Refused
from m3u8svc.mux.subtitles import SubtitleTrack
from m3u8svc.mux.timeline import Lane, Opened
from m3u8svc.mux.tracks import AnyPacket, Key, Track
from m3u8svc.wording import said

_KNOWN = {each.__name__: each for each in (Feed, Checked, Opened)}


class ChunkedMp4(Mp4):
    """
    One MP4 in chunks. `tracks` are those of all chunks, `open_tracks` those that the open chunk can take packets of.
    """

    def __init__(self, job: Job, outbox: Outbox, open_file: OpenFile = open_file) -> None:
        self.path = job.target
        self.tracks: dict[Key, Track] = {}
        self.texts = []
        self.open_tracks: frozenset[Key] = frozenset()
        self.mux_one = self._mux_one
        self._job = job
        self._outbox = outbox
        self._journal = Journal(job.journal)
        self._open_file = open_file
        self._film = Film()
        self._keys: list[Key] = []
        self._stamps: list[Stamps] = []
        self._chunk: ChunkFile | None = None
        self._pieces: list[tuple[int, Piece]] = []
        self.state: dict[str, Any] = {}  # Any: of every type
        """What was given to the last checkpoint; empty when there is none."""
        if job.merged:
            self._resume()
        else:
            self._journal.begin()
            self.file = TargetFile(self.path, alive=outbox.alive, open_file=open_file)
        _sync_directories(self.path, job.journal, open_file=open_file)

    def _resume(self) -> None:
        """
        Be as another was at its last checkpoint.

        Raises:
            Refused: what it left is not there.
        """
        try:
            records = self._journal.resume(self._job.merged)
            at = records[-1].size_bytes
            self.file = TargetFile(self.path, alive=self._outbox.alive, resume_at=at, open_file=self._open_file)
        except (BrokenJournal, EOFError, FileNotFoundError) as error:
            raise Refused(Fault.CHECKPOINT, str(error)) from error
        for record in records:
            self._film.restore(record.template, record.pieces)
            for report in record.reports:
                self._outbox.repeat(report)
        self._outbox.lasting.clear()
        self.state = thaw(records[-1].state, _KNOWN)

    def restore_tracks(self, rows: Mapping[Key, Mapping[str, Any]], lanes: Sequence[Lane]) -> None:  # Any: as told
        """Have the tracks that `track_rows` told of."""
        for key, row in rows.items():
            self.tracks[key] = Track(**{**row, "stream": None, "lane": lanes[row["lane"]]})

    def track_rows(self, lanes: Sequence[Lane]) -> dict[Key, dict[str, Any]]:  # Any: of every type
        """The tracks, to write down; their streams are of a chunk that ends."""
        names = [field.name for field in attrs.fields(Track)]
        return {
            key: {name: getattr(track, name) for name in names} | {"stream": None, "lane": lanes.index(track.lane)}
            for key, track in self.tracks.items()
        }

    def start(self, wanted: Iterable[Wanted], subtitles: Iterable[SubtitleTrack] = ()) -> None:
        """
        Begin a chunk that takes packets of these. There are no subtitles in a low-disk job.

        Raises:
            Refused: MP4 does not know a codec.
        """
        self._end_chunk()
        wanted = list(wanted)
        if not wanted:
            return
        self._chunk = ChunkFile(self.file)
        self._output: OutputContainer = self._open_output(self._job, self._chunk, {})
        copies = [(want, self._add_copy(want)) for want in wanted]
        start_encoding(self._output, copies)
        for want, copy in copies:
            known = self.tracks.get(want.key)
            if known is not None:
                known.stream = copy
                continue
            base = copy.time_base
            assert base is not None  # the header is written
            want.lane.set_rate(base.denominator // base.numerator)
            self.tracks[want.key] = new_track(want, copy, base)
        self.open_tracks = frozenset(want.key for want in wanted)
        self._keys = [want.key for want in wanted]
        self._stamps = [Stamps() for _ in wanted]

    def takes(self, key: Key) -> bool:
        """Whether the open chunk has this stream."""
        return key in self.open_tracks

    def _mux_one(self, packet: AnyPacket) -> None:
        number, dts, pts = packet.stream_index, packet.dts, packet.pts
        duration, is_key = packet.duration, packet.is_keyframe
        self._output.mux_one(packet)
        self._stamps[number].add(dts, pts, duration, is_key)  # type: ignore[arg-type]  # None: only before the lane

    def checkpoint(self, parts: int, state: dict[str, Any]) -> None:  # Any: of every type
        """
        Let go of `parts` parts: what they held is on disk, and so is what it takes to go on.

        Raises:
            OSError: the disk does not take it.
            Refused: the chunk is not what was written.
        """
        self._end_chunk()
        self._outbox.alive()
        self.file.sync_so_far()
        size = self.file.size_bytes
        template = b"" if self.state else self._film.template
        record = Record(
            parts=parts,
            size_bytes=size,
            pieces=tuple(self._pieces),
            template=template,
            state=freeze(state),
            reports=tuple(self._outbox.lasting),
        )
        self._journal.append(record)
        self._pieces.clear()
        self._outbox.lasting.clear()
        self.state = state
        self._outbox.checkpoint(parts=parts, size_bytes=size, made=True)

    def close(self) -> None:
        """
        Close the last chunk and write the moov of all.

        Raises:
            OSError: the disk does not take it.
            Refused: the chunk is not what was written, or there is none with media.
        """
        self._end_chunk()
        self._film.finish(self.file)

    def _end_chunk(self) -> None:
        if self._chunk is None:
            return
        try:
            self._output.close()
        except av.FFmpegError as error:
            survive(error)
        chunk, self._chunk = self._chunk, None
        self.open_tracks = frozenset()
        for track in self.tracks.values():
            track.stream = None  # it must not outlive its container
        numbers = {key: number for number, key in enumerate(self.tracks)}
        stamped = [(key, stamps) for key, stamps in zip(self._keys, self._stamps, strict=True) if stamps.dts]
        try:
            closed = chunk.finish()
            if stamped:
                self._pieces += self._film.add(
                    closed,
                    numbers=[numbers[key] for key, _ in stamped],
                    stamps=[stamps for _, stamps in stamped],
                    timescales=[self.tracks[key].lane.rate for key, _ in stamped],
                )
        except (BrokenBoxes, KeyError) as error:
            why = said("分段合并：{error}", "merging in chunks: {error}", error=error)
            raise Refused(Fault.VERIFY, why) from error


def _sync_directories(*paths: str, open_file: OpenFile) -> None:
    """Files that a checkpoint relies on must have their names on disk."""
    for directory in {os.path.dirname(path) for path in paths}:
        descriptor = open_file(directory, DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
