"""
The disks that tasks write to: looked at before a task starts, while it runs, and until one that is held may go on.

The rules are `tasks.reserve`'s. What they say of a disk that comes back is put to the test: a few bytes are written and
synced there, since quotas and worn-out disks show in nothing else. A disk that does not answer, such as one over a
network whose other end is lost, counts as gone, and costs one thread.
"""

import errno
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from m3u8svc.errors import DiskGone, M3u8svcError, from_os_error
from m3u8svc.nofollow import insist_on_no_link
from m3u8svc.places import mount_point
from m3u8svc.tasks.patience import Patience
from m3u8svc.tasks.reserve import DISK_CODES, Disk, Reserve, is_lost, room_on, trouble_with, wanted_room
from m3u8svc.tasks.search import Space
from m3u8svc.tasks.task import Status, Task
from m3u8svc.waiting import InThread
from m3u8svc.wording import Said

ANSWERS_WITHIN_S = 10.0
TRIAL_BYTES = 64 << 10
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@attrs.frozen
class Place:
    """
    A directory that a task writes to, and where its disk was mounted when the task started ("": it never did).
    """

    path: str
    mount: str = ""


@attrs.frozen(kw_only=True)
class Footing:
    """
    What a task's directories stand on now: the mount points, in the order of `places_of`, and what is wrong with them.
    """

    mounts: tuple[str, ...]
    trouble: M3u8svcError | None
    disk: Disk | None = None
    """Where the segments go; None while it does not say."""


def places_of(task: Task) -> tuple[Place, ...]:
    """
    Where a task writes: first its result, then its segments if they are elsewhere.
    """
    settings = task.spec.settings
    paths = dict.fromkeys((settings.save_location, settings.temp_directory or settings.save_location))
    mounts = (*task.mounts, "", "")
    return tuple(Place(path, mount) for path, mount in zip(paths, mounts, strict=False))


@attrs.frozen
class Ground:
    """
    What the directories of a run stand on, while it runs: each with the number of its device. The same number means
    the same disk as long as it is mounted.
    """

    _devices: tuple[tuple[Path, int], ...]

    @classmethod
    def of(cls, *directories: Path) -> "Ground":
        """
        What these directories, which are there, stand on now. Blocking.
        """
        return cls(tuple((each, os.stat(each).st_dev) for each in directories))

    def check(self) -> None:
        """
        Insist that it is still there: what is written next would end on another disk. Blocking.

        Raises:
            DiskGone: it is not.
            UnsafePath: a link leads there by now.
        """
        for directory, device in self._devices:
            try:
                insist_on_no_link(directory)
            except OSError as error:
                raise from_os_error(error, directory) from error
            try:
                found = os.stat(_nearest(directory)).st_dev
            except OSError as error:
                raise DiskGone(path=directory, reason=error.strerror or type(error).__name__) from error
            if found != device:
                raise DiskGone(path=directory, reason=Said("原来的磁盘已卸载", "the disk that was there is unmounted"))


def insist_on_mounts(places: tuple[Place, ...]) -> None:
    """
    See that each place is on the disk it was on. Blocking.

    Raises:
        DiskGone: its disk is not mounted.
    """
    for place in places:
        if place.mount and is_lost(place.mount, look_at(place.path).mount):
            raise DiskGone(path=place.path, reason=Said(f"{place.mount} 未挂载", f"{place.mount} is not mounted"))


@attrs.define
class _Asked:
    """
    A question to a disk that has not answered yet, who waits for that, and whether anybody has waited long enough.
    """

    waiting: list[Deferred[Footing]] = attrs.field(factory=list)
    is_silent: bool = False


class DiskWatch:
    """
    Judges disks, and remembers which tasks are held for theirs. It wants to be asked every `every_s` seconds. `look` is
    the system's answer, or a test's.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        in_thread: InThread,
        reserve: Reserve | None = None,
        every_s: float = 10.0,
        look: Callable[[str], Disk] | None = None,
    ) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._reserve = reserve or Reserve()
        self._look = look or look_at
        self.every_s = every_s
        self._asking: dict[tuple[tuple[Place, ...], bool], _Asked] = {}
        self._held: defaultdict[tuple[Place, ...], dict[str, None]] = defaultdict(dict)
        self._patience: dict[str, Patience] = {}
        self._wants: dict[str, int] = {}
        """Bytes that those who are held for room will have in flight."""
        self._places: dict[str, tuple[Place, ...]] = {}

    async def footing(self, task: Task) -> Footing:
        """
        What the task would write to, or does.
        """
        return await self._judged(places_of(task), comes_back=False)

    def note(self, task: Task) -> None:
        """
        Remember a task that is held for its disk, forget one that is not (any more).
        """
        places = self._places.pop(task.id, None)
        if places is not None:
            del self._held[places][task.id]
            if not self._held[places]:
                del self._held[places]
        if task.held in DISK_CODES and not task.deleting:
            self._places[task.id] = places = places_of(task)
            self._held[places][task.id] = None
            self._wants[task.id] = wanted_room(task)
            patience = self._patience.get(task.id, Patience(every_s=self.every_s))
            self._patience[task.id] = patience.held(self._clock.seconds())
            return
        self._wants.pop(task.id, None)
        patience_now = self._patience.pop(task.id, None)
        if patience_now is not None and not task.deleting and task.status in (Status.WAITING, Status.DOWNLOADING):
            self._patience[task.id] = patience_now.goes_on(self._clock.seconds())

    async def returned(self) -> list[str]:
        """
        The ids of the tasks that were held for a disk and may go on, or shall end with what is wrong now. One that went
        on in vain has to wait before it may again (`tasks.patience`).
        """
        back: list[str] = []
        for places in list(self._held):
            footing = await self._judged(places, comes_back=True)
            if footing.trouble is None:
                back += [task_id for task_id in self._held.get(places, ()) if self._may_try(task_id, footing.disk)]
            elif not footing.trouble.holds:
                back += self._held.get(places, ())
        return back

    def _may_try(self, task_id: str, disk: Disk | None) -> bool:
        wanted = self._wants[task_id]
        has_room = not wanted or disk is None or room_on(disk, self._reserve, wanted)
        return has_room and self._patience[task_id].may_try(self._clock.seconds())

    async def space(self, paths: Sequence[str]) -> tuple[Space, ...]:
        """
        What the disks of these directories have, each disk once: under the first of its directories.
        """
        asked = [Deferred.fromCoroutine(self._judged((Place(path),), comes_back=False)) for path in paths]
        found: dict[str, Space] = {}
        for path, answer in zip(paths, await gatherResults(asked), strict=True):
            disk = answer.disk
            if disk is None:
                found[path] = Space(path=path)
            else:
                space = Space(path=path, free_bytes=disk.free_bytes, total_bytes=disk.total_bytes)
                found.setdefault(disk.mount, space)
        return tuple(found.values())

    async def _judged(self, places: tuple[Place, ...], *, comes_back: bool) -> Footing:
        question = (places, comes_back)
        is_new = question not in self._asking
        asked = self._asking.setdefault(question, _Asked())
        answer: Deferred[Footing] = Deferred()
        asked.waiting.append(answer)
        if is_new:
            self._in_thread(self._judge, *question).addBoth(self._answered, question)
        try:
            # One that is known to be silent is not waited for: tasks with other disks stand behind those with this one.
            return await answer.addTimeout(0.0 if asked.is_silent else ANSWERS_WITHIN_S, self._clock)
        except DeferredTimeout:
            asked.is_silent = True
            silent = DiskGone(path=places[0].path, reason=Said("没有应答", "it does not answer"))
            return Footing(mounts=tuple(place.mount for place in places), trouble=silent)
        finally:
            asked.waiting.remove(answer)

    def _answered(self, found: Footing | Failure, question: tuple[tuple[Place, ...], bool]) -> None:
        for answer in list(self._asking.pop(question).waiting):
            if answer.called:
                continue  # whoever had the answer before ended this one's waiting
            answer.errback(found) if isinstance(found, Failure) else answer.callback(found)

    def _judge(self, places: tuple[Place, ...], comes_back: bool) -> Footing:
        judged = [self._judge_one(place, comes_back) for place in places]
        return Footing(
            mounts=tuple(mount for mount, _, _ in judged),
            trouble=next((trouble for _, trouble, _ in judged if trouble is not None), None),
            disk=judged[-1][2],
        )

    def _judge_one(self, place: Place, comes_back: bool) -> tuple[str, M3u8svcError | None, Disk | None]:
        try:
            disk = self._look(place.path)
            trouble = trouble_with(place.path, disk, self._reserve, mount=place.mount, comes_back=comes_back)
            if trouble is None and comes_back:
                try_to_write(Path(place.path))
        except OSError as error:
            return place.mount, from_os_error(error, place.path), None
        return disk.mount, trouble, disk


def look_at(path: str) -> Disk:
    """
    The disk that holds a directory, or would if it were made. Blocking.

    Raises:
        OSError: the system does not say.
    """
    there = _nearest(Path(path))
    found = os.statvfs(there)
    return Disk(
        mount=str(mount_point(there)),
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        free_files=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def try_to_write(directory: Path) -> None:
    """
    Write something to a directory, if it is there, and leave nothing. Blocking.

    Raises:
        OSError: it cannot be written to.
    """
    if directory.is_dir():
        with tempfile.TemporaryFile(dir=directory, prefix=".m3u8svc-") as trial:
            trial.write(bytes(TRIAL_BYTES))
            trial.flush()
            os.fsync(trial.fileno())


def _nearest(path: Path) -> Path:
    while True:
        try:
            os.stat(path)
            return path.resolve()
        except OSError as error:
            if error.errno not in _NOT_THERE or path.parent == path:
                raise
        path = path.parent
