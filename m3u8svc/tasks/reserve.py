"""
What keeps a task from writing to a disk: values in, an error or nothing out.

Some of each disk is left alone: 2 %, and at least 1 GiB (reliability.md 2.4), but no more than 5 % of a small one. A
task that finds less is paused as `disk_full`, and goes on by itself once a quarter more than that is free: without the
quarter it would stop again at once. What it will have in flight has to fit in besides, as far as its segments so far
tell how large they are: else it fetches one for each worker, keeps a few, and stops.

A disk that is unplugged leaves its mount point behind, an empty directory of another disk, and whoever goes on writing
fills that. So a task keeps the mount points its directories were below when it started (`Task.mounts`). The number of
the device would not do: the same disk gets another one when it is plugged in again, or after a boot.
"""

import posixpath
import re

import attrs

from m3u8svc.errors import DiskFull, DiskGone, M3u8svcError, ReadOnlyDisk, TooManyFiles
from m3u8svc.tasks.concurrency import PER_HOST
from m3u8svc.tasks.task import Task
from m3u8svc.wording import Said

LEAST_BYTES = 1 << 30
SHARE = 0.02
SMALL_DISK_SHARE = 0.05
MARGIN = 1.25
"""How much of the reserve must be free before a task that was held goes on."""
IN_FLIGHT_SHARE = 0.25
"""Of a small disk no more than this is wanted for what will be in flight."""
LEAST_FILES = 16
"""A disk that takes fewer new files than this is full, too."""
DISK_CODES = frozenset({DiskFull.code, DiskGone.code, ReadOnlyDisk.code, TooManyFiles.code})
"""What a task is held for until its disk is back; with too many files open, none is there."""

_UNITS = {"": 1, "b": 1} | {
    name: base**power
    for power, letter in enumerate("kmgt", 1)
    for name, base in ((f"{letter}b", 1000), (f"{letter}ib", 1024))
}


@attrs.frozen(kw_only=True)
class Reserve:
    """
    What the operator wants left alone of each disk: so many bytes, or a share from 0 to 1. With neither it is the
    default.
    """

    size_bytes: int | None = None
    share: float | None = None

    def of(self, total_bytes: int) -> int:
        """
        What that is of a disk of this size, in bytes.
        """
        if self.size_bytes is not None:
            return self.size_bytes
        if self.share is not None:
            return int(total_bytes * self.share)
        return int(max(total_bytes * SHARE, min(LEAST_BYTES, total_bytes * SMALL_DISK_SHARE)))


@attrs.frozen(kw_only=True)
class Disk:
    """
    A disk as it is now, seen from a directory of a task: where it is mounted, its bytes, how many of them we may have,
    how many more files it takes (None: as many as there is room for), whether it takes writes at all.
    """

    mount: str
    total_bytes: int
    free_bytes: int
    free_files: int | None = None
    read_only: bool = False


def parse_reserve(text: str) -> Reserve:
    """
    A reserve as the configuration says it: ``"2GiB"``, ``"500 MB"``, ``"3%"``.

    Raises:
        ValueError: it is none of these.
    """
    share = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,3})?) ?%", text)
    if share:
        return Reserve(share=float(share[1]) / 100)
    size = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([a-zA-Z]{0,3})", text)
    if size and size[2].lower() in _UNITS:
        return Reserve(size_bytes=int(float(size[1]) * _UNITS[size[2].lower()]))
    raise ValueError('must be a size such as "2GiB" or a share such as "3%"')


def room_on(disk: Disk, reserve: Reserve, wanted_bytes: int) -> bool:
    """
    Whether so much of what is in flight fits beside the reserve and its margin.
    """
    room = disk.free_bytes - reserve.of(disk.total_bytes) * MARGIN
    return room >= min(wanted_bytes, disk.total_bytes * IN_FLIGHT_SHARE)


def trouble_with(
    path: str, disk: Disk, reserve: Reserve, *, mount: str = "", comes_back: bool = False
) -> M3u8svcError | None:
    """
    Why a task cannot write to `path` now; None: as far as its disk goes, it can.

    Args:
        disk: what holds it now, or would.
        mount: where the disk was mounted that held it when the task started; "" when nobody knows.
        comes_back: it is held for this disk already, so a little more than enough has to be free.
    """
    if is_lost(mount, disk.mount):
        return DiskGone(path=path, reason=Said(f"{mount} 未挂载", f"{mount} is not mounted"))
    if disk.read_only:
        return ReadOnlyDisk(path=path)
    wanted = reserve.of(disk.total_bytes) * (MARGIN if comes_back else 1)
    if disk.free_bytes < wanted or (disk.free_files is not None and disk.free_files < LEAST_FILES):
        return DiskFull(path=path)
    return None


def wanted_room(task: Task) -> int:
    """
    How many bytes must be free before a held task goes on, beside the reserve: none if it is not held for room.
    """
    return in_flight_bytes(task) if task.held == DiskFull.code else 0


def in_flight_bytes(task: Task) -> int:
    """
    What a task that goes on has in flight at once, by the size of its segments so far; 0 while that is not known.
    """
    done = task.progress.segments_done
    workers = task.spec.settings.download_threads or PER_HOST
    left = max(0, task.progress.segments_total - done)
    return min(workers, left) * (task.progress.size_bytes // done) if done > 0 else 0


def is_lost(mount: str, now: str) -> bool:
    """
    Whether a path that was below `mount` and now is below the mount point `now` has lost its disk. One mounted deeper
    than that has not: it came since.
    """
    return bool(mount) and mount != now and posixpath.commonpath([mount, now]) == now
