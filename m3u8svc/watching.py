"""
What there is to see of a task's segments: the map of where each stands, and the film itself while it is fetched.

A run can be watched as soon as it is planned: a local playlist lists the whole film, and each segment is sent from the
work directory, decrypted as it lies there. One that is not there yet is waited for, and fetched next. Of a task that
has ended only kept segments can be watched; its file can be, too, and better, but that is another matter.

Small pictures are had of any segment that is somewhere, also in the file: nobody waits for one, and nothing is fetched.
"""

import errno
import os
import stat
import zlib
from collections.abc import Container, Iterator
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from m3u8svc.download import segment_label
from m3u8svc.errors import FileGone, NothingToWatch, NotThereYet, SegmentAbsent, TooBusy, WatchTheFile, from_os_error
from m3u8svc.hls.groups import parse_groups
from m3u8svc.hls.media import DEMUXERS
from m3u8svc.hls.plan import Place, init_identity
from m3u8svc.hls.playlist import MAIN
from m3u8svc.job import Showing, makes_file, work_path
from m3u8svc.kept import (
    LocalSegment,
    find_kept,
    kept_piece,
    kept_positions,
    kind_of_file,
    master_of,
    media_of,
    served_playlist,
)
from m3u8svc.nofollow import Folder, open_file, read_file
from m3u8svc.offerings import Gap, MediaFile
from m3u8svc.pictures import FILM, SOUND_ONLY, Footage, Key
from m3u8svc.refresh import MEMORY
from m3u8svc.results import ResultFile, open_result
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import Ledger, file_name
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.remembered import main_track, pieces_by_track
from m3u8svc.tasks.segmentmap import MOST_PICTURED, SegmentMap, candidates, map_of_record, map_of_report, with_pictures
from m3u8svc.tasks.task import Status, Task
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.waiting import InThread
from m3u8svc.wording import Said, in_english
from m3u8svc.workdir import NEW, init_name

WAIT_S = 30.0
"""How long a request waits for a segment."""
WATCHING = 64
"""How many requests wait for segments of one task."""
NO_BANDWIDTH = 1
"""Where nobody says how many bits a second there are: players want a number."""

MEDIA_TYPES: dict[str, str] = {
    "ts": "video/mp2t",
    "fmp4": "video/mp4",
    "aac": "audio/aac",
    "mp3": "audio/mpeg",
    "ac3": "audio/ac3",
    "vtt": "text/vtt",
}


NOT_PLANNED = Said("播放列表中没有，或按设置跳过", "the playlist has none, or it is skipped")
LET_GO = Said("已并入结果文件并删除（low_disk）", "it is in the result, and gone (low_disk)")
_UNKNOWN = (OSError, zlib.error, ValueError, KeyError, TypeError, AttributeError)
"""How it shows that what is on record is not there, not ours, or damaged."""


@attrs.frozen(kw_only=True)
class Piece:
    """
    A file that was asked for, and what it holds.
    """

    path: Path
    media: str


def map_at_rest(task: Task, ledger: Ledger) -> SegmentMap:
    """
    The map of a task that is not finished and does not run; empty where no playlist of it is on record. Blocking.
    """
    labels = [each.segment for each in task.incidents if each.segment] if task.status is Status.FAILED else []
    kept = parse_groups(task.spec.extensions.groups)
    try:
        stored = _remembered(task)
        found = map_of_record(pieces_by_track(stored), ledger, labels[-1:], kept)
        wanted = {position for group in found.groups[:MOST_PICTURED] for position in candidates(group)}
        there = _footage_at_rest(task, stored, wanted)
        return attrs.evolve(found, groups=with_pictures(found.groups, there.__contains__))
    except _UNKNOWN:
        return SegmentMap()  # not there, not ours, or damaged: nothing is known


def map_at_end(task: Task, report: Report) -> SegmentMap:
    """
    The map of a finished task. Blocking.
    """
    kept = _find_kept(task)
    positions = frozenset() if kept is None else kept_positions(kept, DEMUXERS)
    return map_of_report(report, kept=positions, is_film=_is_film(task))


def _remembered(task: Task) -> bytes:
    """What is on record of the playlists that a task was planned by."""
    with read_file(work_path(task) / MEMORY) as file:
        return file.read()


# -- Playlists -------------------------------------------------------------------------------------------------------


def list_link(task_id: str, track: int) -> str:
    """
    The link of the playlist of a track, relative to that of the whole.
    """
    return f"play?id={task_id}&track={track}"


def piece_link(task_id: str, wanted: Wanted) -> str:
    """
    The link of a segment or an init section.
    """
    init = "&init=true" if wanted.init else ""
    return f"media?id={task_id}&track={wanted.track}&segment={wanted.position}{init}"


def list_while_running(task_id: str, showing: Showing, track: int | None) -> str:
    """
    The playlist of one track of a run; without `track` that of all, if there are several. Costs time in proportion to
    the number of segments.

    Raises:
        SegmentAbsent: there is no such track.
    """
    if track is None and len(showing.tracks) > 1:
        others = showing.tracks[1:]
        links = [list_link(task_id, number) for number in range(1, len(showing.tracks))]
        bandwidth = showing.bandwidth or NO_BANDWIDTH
        return "\n".join(master_of(others, links, list_link(task_id, 0), bandwidth)) + "\n"
    number = track or 0
    if number >= len(showing.tracks):
        raise _no_track(number)
    listed = list(_listed(task_id, showing, number))
    longest_s = max((each.duration_s for each in listed), default=0.0)
    has_inits = any(each.init for each in listed)
    return "\n".join(media_of(listed, longest_s=longest_s, has_inits=has_inits, task_id=task_id)) + "\n"


def _listed(task_id: str, showing: Showing, track: int) -> Iterator[LocalSegment]:
    name, jobs = showing.tracks[track].track, showing.plan.jobs
    inits: dict[str, str] = {}
    for number in range(len(jobs)):
        place = jobs.place(number)
        if place[0] != name or showing.download.is_gap(place) or showing.download.is_let_go(place):
            continue  # there is none to send
        segment = jobs[number].segment
        wanted = Wanted(track=track, position=segment.position)
        init = ""
        if segment.init is not None:  # one link for each, so that players load it once
            link = piece_link(task_id, attrs.evolve(wanted, init=True))
            init = inits.setdefault(init_identity(segment.init, name), link)
        yield LocalSegment(
            position=segment.position,
            duration_s=segment.duration_s,
            splice=segment.discontinuity_sequence,
            init=init,
            link=piece_link(task_id, wanted),
        )


def list_at_rest(task: Task, track: int | None) -> str:
    """
    The playlist of the kept segments of a finished task. Blocking.

    Raises:
        WatchTheFile, NothingToWatch: there are none.
        SegmentAbsent: there is no such track.
    """

    def link(of: int, position: int, init: bool) -> str:
        return piece_link(task.id, Wanted(track=of, position=position, init=init))

    text = served_playlist(_kept(task), track, link, lambda number: list_link(task.id, number))
    if not text:
        raise _no_track(track or 0)
    return text


# -- Segments --------------------------------------------------------------------------------------------------------


async def piece_while_running(showing: Showing, wanted: Wanted, clock: IReactorTime) -> Piece:
    """
    A segment of a run, or its init section: at once if it is there, else when it comes. What follows it is fetched
    before the rest from now on.

    Raises:
        SegmentAbsent: there is none, and there will be none.
        NotThereYet: it did not come in time.
        TooBusy: too many wait.
    """
    if wanted.track >= len(showing.tracks):
        raise _no_track(wanted.track)
    download = showing.download
    place = (showing.tracks[wanted.track].track, wanted.position)
    if showing.plan.jobs.find(place) < 0:
        raise _absent(place, NOT_PLANNED)
    if download.is_let_go(place):
        raise _absent(place, LET_GO)
    download.look(place)
    if wanted.init and (init := download.init_there(place)) is not None:
        return Piece(path=init, media=MEDIA_TYPES["fmp4"])
    if download.fate(place) is None:
        await _wait(showing, place, clock)
    found = download.fate(place)
    if isinstance(found, Gap):
        raise _absent(place, _why(found))
    if not isinstance(found, MediaFile):
        raise NotThereYet(what=segment_label(*place))
    if not wanted.init:
        return Piece(path=found.path, media=MEDIA_TYPES[found.kind])
    if found.init is None:
        raise _absent(place, Said("没有初始化段", "it has no Media Initialization Section"))
    return Piece(path=found.init, media=MEDIA_TYPES["fmp4"])


async def _wait(showing: Showing, place: Place, clock: IReactorTime) -> None:
    if showing.download.watching >= WATCHING:
        raise TooBusy(limit=WATCHING, seconds=1)
    arrival = Deferred.fromCoroutine(showing.download.arrival(place))
    try:
        await arrival.addTimeout(WAIT_S, clock)
    except DeferredTimeout:
        raise NotThereYet(what=segment_label(*place)) from None


def piece_at_rest(task: Task, wanted: Wanted) -> Piece:
    """
    A kept segment of a finished task, or its init section. Blocking.

    Raises:
        WatchTheFile, NothingToWatch: there are none.
        SegmentAbsent: there is no such.
    """
    path = kept_piece(_kept(task), wanted.track, wanted.position, init=wanted.init)
    if path is None:
        label = segment_label(MAIN if not wanted.track else f"track{wanted.track}", wanted.position)
        raise SegmentAbsent(name=label, reason=Said("没有保留", "it was not kept"))
    return Piece(path=path, media=MEDIA_TYPES[kind_of_file(path)])


def open_piece(path: Path, in_thread: InThread) -> ResultFile:
    """
    The file of a piece. Blocking.

    Raises:
        NotThereYet: it went away meanwhile; whoever asks again is told why.
    """
    try:
        descriptor = open_file(str(path), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise NotThereYet(what=path.name) from error
        raise from_os_error(error, path) from error
    found = ResultFile(str(path), descriptor, in_thread)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        found.close()
        raise NotThereYet(what=path.name)
    return found


# -- Pictures --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Sight:
    """
    Where a picture of a segment is to come from, at a moment: `footage` while the task runs, None where it is to be
    looked for. Two are equal if nothing changed that we know of.
    """

    task: Task = attrs.field(eq=False, repr=False)
    position: int
    footage: Footage | None
    version: str

    @property
    def key(self) -> Key:
        """What its picture is kept by, if the file need not be looked at for that."""
        return self.task.id, self.position, self.version

    def key_of(self, media: ResultFile) -> Key:
        """What its picture is kept by. While the task runs, a segment may be fetched again under the same name."""
        if self.footage is None:
            return self.key
        return self.task.id, self.position, f"{self.version} {media.identity}"


def sight_of(task: Task, position: int, footage: Footage | None) -> Sight:
    """
    The sight of a segment of the main track, by what is stored of its task, or lies there while it runs.
    """
    version = f"{task.output_id} {task.updated_at}" if footage is None else str(footage.path)
    return Sight(task=task, position=position, footage=footage, version=version)


def footage_while_running(showing: Showing, position: int) -> Footage:
    """
    Where a picture of a segment of the main track of a run is to come from.

    Raises:
        SegmentAbsent, NotThereYet, NoPicture: from nowhere.
    """
    download, place = showing.download, (MAIN, position)
    if showing.plan.jobs.find(place) < 0:
        raise _absent(place, NOT_PLANNED)
    if download.is_let_go(place):
        raise _absent(place, LET_GO)
    found = download.fate(place)
    if isinstance(found, Gap):
        raise _absent(place, _why(found))
    if not isinstance(found, MediaFile):
        raise NotThereYet(what=segment_label(*place))
    return _footage(place, found.path, found.kind, found.init)


def footage_at_rest(task: Task, position: int) -> Footage:
    """
    The same for a task that is not finished and does not run. Blocking.

    Raises:
        SegmentAbsent: from nowhere.
    """
    try:
        found = _footage_at_rest(task, _remembered(task), {position})
    except _UNKNOWN:
        found = {}
    if position not in found:
        raise _absent((MAIN, position), Said("没有下载", "it was not downloaded"))
    return found[position]


def footage_at_end(task: Task, position: int, report: Report | None) -> Footage:
    """
    The same for a finished task: a kept segment, or its place in the result. Blocking.

    Raises:
        SegmentAbsent, NoPicture: from nowhere.
    """
    place = (MAIN, position)
    kept = _find_kept(task)
    if kept is not None and (path := kept_piece(kept, 0, position, init=False)) is not None:
        return _footage(place, path, kind_of_file(path), kept_piece(kept, 0, position, init=True))
    lines = () if report is None or not _is_film(task) else report.lines()
    line = next((each for each in lines if (each.track, each.position) == place), None)
    if line is None or line.from_s is None or line.to_s is None:
        raise _absent(place, Said("不在结果中，也没有保留", "it is not in the result, and was not kept"))
    path, identity = _part(task, line.file or 1)
    return Footage(path=path, demuxer=FILM, span=(line.from_s, line.to_s), identity=identity)


def open_footage(footage: Footage, in_thread: InThread) -> tuple[ResultFile, ResultFile | None]:
    """
    Its file, and that of its init section. Blocking.

    Raises:
        NotThereYet: a segment went away meanwhile.
        FileGone: the result is not what it was.
    """
    if footage.identity:
        return open_result(str(footage.path), footage.identity, in_thread), None
    init = None if footage.init is None else open_piece(footage.init, in_thread)
    return open_piece(footage.path, in_thread), init


def _footage(place: Place, path: Path, kind: str, init: Path | None) -> Footage:
    if kind not in DEMUXERS:
        SOUND_ONLY.shown(segment_label(*place))
    return Footage(path=path, demuxer=DEMUXERS[kind], init=init)


def _footage_at_rest(task: Task, stored: bytes, wanted: Container[int]) -> dict[int, Footage]:
    """
    What lies in the work directory of these segments of the main track. Where there are several init sections nobody
    knows which of them a segment needs.
    """
    inits, pieces = main_track(stored)
    with Folder.at(work_path(task)) as folder:
        names = frozenset(folder.names())
    init = init_name(inits[0]) if len(inits) == 1 else ""
    found: dict[int, Footage] = {}
    for piece in pieces:
        for kind, demuxer in DEMUXERS.items() if piece.position in wanted else ():
            name = file_name(piece.position, piece.identity, kind)
            name = name if name in names else f"{name}{NEW}"
            if name in names and (demuxer != FILM or init in names):
                needed = work_path(task) / init if demuxer == FILM else None
                found[piece.position] = Footage(path=work_path(task) / name, demuxer=demuxer, init=needed)
    return found


def _is_film(task: Task) -> bool:
    """Whether the result is a file here, of the kind whose places can be found."""
    return makes_file(task) and os.path.isabs(task.output) and task.output.endswith(f".{FILM}")


def _part(task: Task, number: int) -> tuple[Path, str]:
    """
    The file of the result with this number, from 1, and its identity.

    Raises:
        FileGone: there is none.
    """
    if number == 1:
        return Path(task.output), task.output_id
    part = next((each for each in task.companions if each.suffix == f"p{number}.{FILM}"), None)
    if part is None:
        raise FileGone(path=task.output)
    return Path(part.output), part.output_id


def _kept(task: Task) -> Path:
    if task.status is not Status.COMPLETED:
        raise NothingToWatch(status=Said(task.status.value, task.status.name.lower()))
    kept = _find_kept(task)
    if kept is None:
        raise WatchTheFile()
    return kept


def _find_kept(task: Task) -> Path | None:
    return find_kept(Path(task.spec.settings.save_location), result_name(task.spec), task.id)


def _absent(place: Place, reason: Said) -> SegmentAbsent:
    return SegmentAbsent(name=segment_label(*place), reason=reason)


def _why(gap: Gap) -> Said:
    """
    Why nothing comes for a place. What plugins and rules give as a reason may be in Chinese only.
    """
    english = in_english(gap.reason)
    return Said(gap.reason, english if english.isascii() else "it is skipped, or could not be fetched")


def _no_track(number: int) -> SegmentAbsent:
    return SegmentAbsent(name=f"track {number}", reason=Said("没有这个轨道", "there is no such track"))
