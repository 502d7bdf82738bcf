"""
One job of the child: mux, verify, sync, report.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs

from m3u8svc.mux.account import Account
from m3u8svc.mux.box import DESCRIPTORS, close_box
from m3u8svc.mux.fmp4 import BrokenBoxes
from m3u8svc.mux.mp4 import Mp4
from m3u8svc.mux.orders import Orders
from m3u8svc.mux.output import AGAIN, DIRECTORY, NEW, Doors
from m3u8svc.mux.protocol import HANDING_FD, Fault, Inbox, Job, Outbox, ParentGone, Refused
from m3u8svc.mux.remux import Remuxer, Track
from m3u8svc.mux.subtitles import write_files
from m3u8svc.mux.texts import TextStream
from m3u8svc.mux.timeline import NS, SANE_NS
from m3u8svc.mux.verify import WrittenFile, read_back
from m3u8svc.wording import said

TOLERANCE_S = 0.5
TOLERANCE = 0.01
_KINDS = {"vide": "vide", "soun": "audi", "sbtl": "subt"}


@attrs.frozen(kw_only=True)
class Finished:
    """
    One verified, synced file.
    """

    path: str
    size_bytes: int
    duration_s: float
    tracks: tuple[Track | TextStream, ...]


def carry_out(inbox: Inbox, outbox: Outbox, missing: Iterable[str] = ()) -> None:
    """
    Read a job, close the box, which lacks what is `missing`, and read its orders; leave verified, synced files and say
    so.

    Raises:
        Refused: there will be no file.
        OSError: the disk does not take it.
    """
    job = inbox.job()
    doors = open_doors(job, outbox)
    outbox.boxed(close_box(missing, **walls(job)))
    files: list[Finished] = []
    account = Account()

    def finish(mp4: Mp4) -> None:
        tracks: list[Track | TextStream] = [*mp4.tracks.values(), *mp4.texts]
        written = verify(mp4.file, tracks)
        account.add(mp4.tracks.values())
        mp4.file.sync()
        mp4.file.release()
        size, duration_s = mp4.file.size_bytes, written.duration_s
        files.append(Finished(path=mp4.path, size_bytes=size, duration_s=duration_s, tracks=tuple(tracks)))

    remuxer = Remuxer(job, Orders(inbox, outbox, [track.track for track in job.tracks]), outbox, finish, doors)
    remuxer.run()
    for track in remuxer.subtitles:
        account.add_texts(track.info, [stream for stream, _ in track.files])
    duration_s = sum(file.duration_s for file in files)
    main, *renditions = remuxer.readers
    _warn_about_duration(outbox, "main", duration_s, main.source.fed_s, job.expected_duration_s)
    for reader in renditions:
        if length_s := account.length_s(reader.info.track):
            _warn_about_duration(outbox, reader.info.track, length_s, reader.source.expected_end_s)
    outbox.done(
        size_bytes=files[0].size_bytes,
        duration_s=files[0].duration_s,
        packets={f"{track.kind}{number}": track.written for number, track in enumerate(files[0].tracks)},
        details=account.details(),
        companions=[
            *({"path": file.path, "suffix": f"p{number}.mp4"} for number, file in enumerate(files[1:], 2)),
            *write_files(job.target, remuxer.subtitles, job.subtitle_files, outbox, doors),
        ],
    )


class Handed:
    """
    Has the parent open further files beside the target.
    """

    def __init__(self, target: str, outbox: Outbox) -> None:
        import socket  # few jobs need it, and every child would wait for it

        self._target = target
        self._outbox = outbox
        self._socket = socket.socket(fileno=HANDING_FD)
        self._receive = socket.recv_fds

    def __call__(self, path: str, flags: int) -> int:
        """A descriptor of a new file."""
        assert flags == NEW
        self._outbox.make(path.removeprefix(f"{self._target}."))
        said, descriptors, *_ = self._receive(self._socket, 16, 1)
        if descriptors:
            return descriptors[0]
        if not said:
            raise ParentGone
        number = int(said)
        raise OSError(number, os.strerror(number), path)


def open_doors(job: Job, outbox: Outbox) -> Doors:
    """
    Open what this job is to write, while files still have names.
    """
    doors = Doors(Handed(job.target, outbox)) if job.handed else Doors()
    doors.hold(job.target, AGAIN if job.merged else NEW)
    if job.journal:
        for directory in {os.path.dirname(path) for path in (job.target, job.journal)}:
            doors.hold(directory, DIRECTORY)
    return doors


def walls(job: Job) -> dict[str, Any]:
    """
    What `close_box` must leave to this job. Of its tracks each has one segment open, and its init section for a moment.
    """
    makes_more = not job.handed and (job.on_param_change == "split" or job.subtitle_files)
    return {
        "read": job.sources,
        "make": [os.path.dirname(job.target)] if makes_more else [],
        "write": [os.path.dirname(job.journal)] if job.journal else [],
        "descriptors": DESCRIPTORS + 2 * len(job.tracks),
    }


class Readable(Protocol):
    """
    A finished file to read back.
    """

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    def pread(self, size: int, at: int) -> bytes:
        """Bytes of it."""
        ...


def verify(file: Readable, tracks: Sequence[Track | TextStream]) -> WrittenFile:
    """
    The file as it describes itself, when that agrees with what was counted while muxing.

    Raises:
        Refused: it does not.
    """
    try:
        written = read_back(file.pread, file.size_bytes)
    except BrokenBoxes as error:
        raise Refused(Fault.VERIFY, str(error)) from error
    for track in tracks:
        if track.written + track.dropped != track.read:
            zh, en = "{kind}：读入 {read} 包，写出 {written} 包", "{kind}: {read} packets read, {written} written"
            raise Refused(Fault.VERIFY, said(zh, en, kind=track.kind, read=track.read, written=track.written))
    tracks = [track for track in tracks if track.read]  # a track without packets is left out
    counted = [(track.kind[:4], track.written) for track in tracks]
    found = [(_KINDS.get(trak.kind, trak.kind), trak.samples) for trak in written.tracks]
    if not _agree(counted, found, exactly=not any(track.dropped for track in tracks)):
        zh, en = "应有 {counted}，文件中为 {found}", "{counted} expected, the file has {found}"
        raise Refused(Fault.VERIFY, said(zh, en, counted=counted, found=found))
    for track, trak in zip(tracks, written.tracks, strict=True):
        if isinstance(track, Track):
            _verify_length(track, trak.duration_s)
    return written


def _agree(counted: list[tuple[str, int]], found: list[tuple[str, int]], *, exactly: bool) -> bool:
    """
    Whether kinds and packet counts agree. After drops only that no track is empty: libav queues packets to interleave
    them, so the error of one may surface at another.
    """
    if exactly:
        return counted == found
    same_kinds = [kind for kind, _ in counted] == [kind for kind, _ in found]
    emptied = any(samples == 0 and count > 0 for (_, count), (_, samples) in zip(counted, found, strict=False))
    return same_kinds and not emptied


def _verify_length(track: Track, duration_s: float) -> None:
    """
    A track must last as long as its lane ran, which a damaged pts may exceed by the bound it is held to. A leading hole
    is outside its media time.
    """
    span_s = 0.0 if track.lane.span_ns is None else track.lane.span_ns / NS
    if track.written and not -TOLERANCE_S <= duration_s - span_s <= TOLERANCE_S + SANE_NS / NS * bool(track.lane.odd):
        zh, en = "{kind} 应长 {span} 秒，文件中为 {found} 秒", "{kind} should last {span} s, and lasts {found} s"
        raise Refused(Fault.VERIFY, said(zh, en, kind=track.kind, span=f"{span_s:.1f}", found=f"{duration_s:.1f}"))


def _warn_about_duration(outbox: Outbox, track: str, duration_s: float, *expected_s: float) -> None:
    """EXTINF is often off and never reason to fail: people are told when the file agrees with no sum of it."""
    sums = [each for each in expected_s if each > 0]
    if sums and all(abs(duration_s - each) > max(TOLERANCE_S, TOLERANCE * each) for each in sums):
        zh, en = "时长 {found} 秒，播放列表为 {expected} 秒", "it lasts {found} s, the playlist says {expected} s"
        outbox.warn(track, 0, said(zh, en, found=f"{duration_s:.1f}", expected=f"{sums[0]:.1f}"))
