"""
Links that expire: the playlists are read again, once for all who failed, and what is left gets its new links (S11).

A signed link answers 401, 403 or 410, some servers' 404, once its time is over. Whoever meets that asks here. Whose
link has been renewed meanwhile goes on with the new one; otherwise one reading of the task's own URL serves all who
wait, however many workers failed at once. What it gives is compared with what the task was planned by: only the same
pieces get new links, since a film of two versions is worse than none. What was fetched stays, and keys too: they are
known by their first link.

A server may answer so of a segment that is simply gone. So a status that a new link is answered with, too, or that
comes although the links did not change, is believed for a while, and the ordinary decision about a failed segment is
taken. Between two readings lie some seconds, or twenty times as long as one takes, up to a minute.

The second half is what a run does about playlists that changed since the last one (R-INT-3).
"""

import errno
import stat
from collections.abc import Awaitable, Callable, Mapping, Set
from pathlib import Path

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from m3u8svc.errors import HttpStatusError, M3u8svcError, NeedsUrl, PlaylistChanged, PlaylistError
from m3u8svc.hls.plan import SegmentJob
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Stream
from m3u8svc.hls.rematch import compare, links_of, pieces_of, renamed_keys, with_links_of
from m3u8svc.nofollow import Folder, read_file
from m3u8svc.tasks.remembered import Recollection, recollect, write_presentation
from m3u8svc.tasks.retry import EXPIRED, MAY_BE_EXPIRED
from m3u8svc.waiting import InThread, Once, settled
from m3u8svc.wording import Said
from m3u8svc.workdir import Listing, WorkDir

LEAST_S = 5.0
COST = 20.0
MOST_S = 60.0
"""Between two readings lie so many times as long as one takes, no less than `LEAST_S`, no more than this."""
MEMORY = "playlists.z"
OF_THE_FILE = frozenset({errno.EISDIR, errno.EIO, errno.EACCES, errno.EPERM, errno.ELOOP})
"""With these the memory is damaged as one that holds nonsense is; others say that nothing can be read just now."""


class Links:
    """
    The links of one presentation, which is `written` down so (`tasks.remembered`). `reload` reads its playlists again;
    `url` is where the task began, for messages.
    """

    log = Logger()

    def __init__(
        self,
        presentation: Presentation,
        *,
        written: bytes,
        task_id: str,
        url: str,
        reload: Callable[[], Awaitable[Presentation]],
        clock: IReactorTime,
        in_thread: InThread,
        note: Callable[[str], None],
    ) -> None:
        self._first = presentation
        self._written = written
        self._now: dict[str, MediaPlaylist] = {}
        """The playlists as they were read last, by track; none until they were read again."""
        self._key_names: dict[str, str] = {}
        self._former_key_names: dict[str, str] = {}
        """Those of the reading before: what is under way may still have its links."""
        self._task_id = task_id
        self._url = url
        self._reload = reload
        self._clock = clock
        self._in_thread = in_thread
        self._note = note
        self._once = Once()
        self._readings = 0
        self._not_before = 0.0
        self._believed: dict[int, float] = {}
        """Until when, on the clock, a status is taken at its word."""

    def renewed(self, job: SegmentJob) -> SegmentJob:
        """
        The job with the links that are good now, as far as known.
        """
        playlist = self._now.get(job.track)
        found = None if playlist is None else with_links_of(playlist, job.segment, job.track)
        return job if found is None else attrs.evolve(job, segment=found)

    def key_name(self, uri: str) -> str:
        """
        What the key at this link was called first.
        """
        return self._key_names.get(uri) or self._former_key_names.get(uri, uri)

    async def renew(self, job: SegmentJob, tried: SegmentJob, error: M3u8svcError, *, again: bool) -> bool:
        """
        Whether there are other links for `job` than those in `tried`, which failed with `error`. Reads the playlists
        again if need be. `again`: those in `tried` had just been renewed for it.

        Raises:
            NeedsUrl: the links have expired, and the task's URL gives no others.
        """
        if not isinstance(error, HttpStatusError) or error.status not in MAY_BE_EXPIRED:
            return False
        if self._differ(job, tried):
            return True
        if again:
            self._believe(error.status)
        if self._clock.seconds() >= self._believed.get(error.status, 0.0):
            await self._read_for(error)
            if self._differ(job, tried):
                return True
            self._believe(error.status)
        if error.status in EXPIRED and self._lacks(job):
            position = job.segment.position
            why = Said(f"第 {position} 个分片不在其中", f"segment {position} is not in it")
            changed = PlaylistChanged(track=job.track, line=0, reason=why)
            raise NeedsUrl(url=self._url, cause=changed) from error
        return False

    async def _read_for(self, error: HttpStatusError) -> None:
        """
        Read the playlists again, together with whoever else met such an error.
        """
        try:
            await self._once.get(str(self._readings), self._read_again)
        except NeedsUrl as needed:
            if error.status in EXPIRED:
                raise
            self._note(f"HTTP {error.status} is believed: {needed}")
        except M3u8svcError as failed:  # the server is in trouble; whether links have expired nobody can say
            self._note(f"the playlists cannot be read again: {failed}")

    def _lacks(self, job: SegmentJob) -> bool:
        """
        Whether the last reading does not have this segment any more.
        """
        playlist = self._now.get(job.track)
        return playlist is not None and with_links_of(playlist, job.segment, job.track) is None

    def _differ(self, job: SegmentJob, tried: SegmentJob) -> bool:
        return links_of(self.renewed(job).segment) != links_of(tried.segment)

    def _believe(self, status: int) -> None:
        self._believed[status] = max(self._not_before, self._clock.seconds() + LEAST_S)

    async def _read_again(self) -> None:
        """
        One reading, for all who wait for it.
        """
        await deferLater(self._clock, max(0.0, self._not_before - self._clock.seconds()))
        begun = self._clock.seconds()
        try:
            presentation = await self._reload()
            await self._take(presentation)
        except (PlaylistError, HttpStatusError) as error:
            if isinstance(error, HttpStatusError) and error.status not in MAY_BE_EXPIRED:
                raise
            raise NeedsUrl(url=self._url, cause=error) from error
        finally:
            ended = self._clock.seconds()
            self._not_before = ended + min(MOST_S, max(LEAST_S, COST * (ended - begun)))
            self._readings += 1

    async def _take(self, presentation: Presentation) -> None:
        """
        Use the links of a later reading.

        Raises:
            PlaylistChanged: it is not the same.
        """
        found, names = await settled(self._in_thread(_rematched, self._first, self._written, presentation))
        self._now.update(found)
        self._former_key_names, self._key_names = self._key_names, names
        self._note("links renewed")
        self.log.info("task {task}: links renewed", task=self._task_id)


def _rematched(
    first: Presentation, written: bytes, later: Presentation
) -> tuple[dict[str, MediaPlaylist], dict[str, str]]:
    """
    The later playlists by track, and what their keys were called. Blocking.
    """
    streams = {stream.track: stream.playlist for stream in later.streams}
    if write_presentation(later) != written:  # else every piece is the same
        for stream in first.streams:
            _insist_on_same(stream, streams)
    names: dict[str, str] = {}
    for stream in first.streams:
        if stream.playlist.has_keys:
            names |= renamed_keys(stream.playlist, streams[stream.track])
    return streams, names


def _insist_on_same(stream: Stream, later: Mapping[str, MediaPlaylist]) -> None:
    if stream.track not in later:
        raise PlaylistChanged(track=stream.track, line=0, reason=Said("没有这一轨了", "this track is gone"))
    found = compare(pieces_of(stream.playlist, stream.track), later[stream.track], stream.track)
    if found.remade:
        why = Said("相同的链接对应了不同的分片", "the same URIs stand for other segments")
        raise PlaylistChanged(track=stream.track, line=0, reason=why)
    if found.lost == found.before:
        why = Said("没有一个分片与原来相同", "none of its segments is the same")
        raise PlaylistChanged(track=stream.track, line=0, reason=why)


# -- Between two runs ------------------------------------------------------------------------------------------------


class Memory:
    """
    What is written down of a task's playlists in its work directory.
    """

    def __init__(self, workdir: WorkDir) -> None:
        self._workdir = workdir
        self._path = workdir.path / MEMORY

    async def exists(self) -> bool:
        """
        Whether an earlier run has read the task's playlists.

        Raises:
            DiskError: that cannot be found out.
        """
        return await self._workdir.do(self._path.exists)

    async def recollect(self, presentation: Presentation, written: bytes, listing: Listing) -> Recollection:
        """
        What of the files is still what it was, now that the presentation is the one that is `written` down so.

        Raises:
            DiskError: it cannot be read now, for a reason that is not the file's.
        """
        return await self._workdir.do(_recollect, self._path, presentation, written, listing.segments.keys())

    async def forget(self, recollection: Recollection, listing: Listing) -> Listing:
        """
        Remove the files that are of no use any more; the listing without them.
        """
        dropped = recollection.dropped
        await self._workdir.let_go([listing.segments[key] for key in dropped])
        paths = {identity: self._workdir.init_path(identity) for identity in recollection.stale_inits}
        looks = [self._workdir.path / f"{position:08d}-{identity}.look" for position, identity in dropped]
        await self._workdir.do(_unlink, [*paths.values(), *looks])
        return Listing(
            segments={key: stored for key, stored in listing.segments.items() if key not in dropped},
            inits=listing.inits - {path.name for path in paths.values()},
        )

    async def keep(self, written: bytes) -> None:
        """
        Remember what the task is planned by. Durable when it returns, so before anything of it is fetched.
        """
        await self._workdir.store_bytes(self._path.name, written)


def _recollect(path: Path, presentation: Presentation, written: bytes, there: Set[tuple[int, str]]) -> Recollection:
    try:
        with read_file(path) as file:
            stored = file.read()
    except FileNotFoundError:
        return Recollection()
    except OSError as error:
        if error.errno not in OF_THE_FILE:
            raise
        _make_room(path)
        return Recollection()
    return Recollection(same=True) if stored == written else recollect(stored, presentation, there)


def _make_room(path: Path) -> None:
    """
    What cannot be read will be replaced, which a directory resists.
    """
    with Folder.at(path.parent) as folder:
        if stat.S_ISDIR(folder.status(path.name).st_mode):
            folder.remove_tree(path.name)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        with Folder.at(path.parent) as folder:
            folder.remove(path.name)
