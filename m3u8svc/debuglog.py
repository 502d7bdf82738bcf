"""
The log a user asks for with ``debug_log``: every request and decision of one task, redacted, a line each.

Lines gather in the work directory and are published beside the result when the run ends, well or not.
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.nofollow import Folder
from m3u8svc.places import TRIES, rename_without_replacing
from m3u8svc.redact import redact_text
from m3u8svc.tasks.names import numbered
from m3u8svc.waiting import InThread, settled

FLUSH_LINES = 500


class DebugLog:
    """
    One task's log. `enabled` False makes `note` free. `wall` is the time of day in epoch seconds.
    """

    log = Logger()

    def __init__(
        self, directory: Path, task_id: str, *, enabled: bool, wall: Callable[[], float], in_thread: InThread
    ) -> None:
        self._path = directory / "debug.log"
        self._task_id = task_id
        self._enabled = enabled
        self._wall = wall
        self._in_thread = in_thread
        self._lines: list[str] = []
        self._appended: Deferred[None] = succeed(None)  # one after the other: threads keep no order

    def note(self, text: str) -> None:
        """
        Take a line. It is redacted here, whatever it holds.
        """
        if not self._enabled:
            return
        at = time.strftime("%Y-%m-%d_%H:%M:%S", time.gmtime(self._wall()))
        self._lines.append(f"{at}Z {redact_text(text)}\n")
        if len(self._lines) >= FLUSH_LINES:
            lines, self._lines = self._lines, []
            self._appended.addCallback(lambda _: self._in_thread(_append_to, self._path, lines))
            self._appended.addErrback(self._lost, len(lines))

    def _lost(self, failure: Failure, count: int) -> None:
        failure.trap(OSError)
        self.log.warn("task {task}: {count} lines of its debug log are lost", task=self._task_id, count=count)

    async def publish(self, directory: Path, name: str) -> None:
        """
        Put the log so far beside the result as ``<name>.debug.log``, over an earlier one of this task only.
        """
        if self._enabled:
            await settled(self._appended)
            lines, self._lines = self._lines, []
            await settled(self._in_thread(_publish, self._path, lines, directory, name, self._task_id))


def _append(folder: Folder, name: str, lines: list[str]) -> None:
    descriptor = folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if os.fstat(descriptor).st_nlink > 1:  # another name of a file that is not ours
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.writelines(lines)


def _append_to(path: Path, lines: list[str]) -> None:
    with Folder.at(path.parent) as folder:
        _append(folder, path.name, lines)


def _publish(path: Path, lines: list[str], directory: Path, name: str, task_id: str) -> None:
    first = f"m3u8svc debug log of task {task_id}\n"
    staged = f".{task_id}.debug.part"
    with Folder.at(path.parent) as work, Folder.at(directory) as folder:
        _append(work, path.name, lines)
        folder.remove_ours(staged)
        with work.read(path.name) as log, folder.create(staged) as copy:
            copy.write(first.encode())
            shutil.copyfileobj(log, copy)  # by pieces: a log of a long film is large
        _put(folder, staged, name, first.encode())


def _put(folder: Folder, staged: str, name: str, first: bytes) -> None:
    """
    Rename the log to the first name that is free, or has an earlier log of the same task.
    """
    for number in range(TRIES):
        target = f"{numbered(name, number)}.debug.log"
        if _begins_with(folder, target, first):
            return folder.rename(staged, target)
        try:
            return rename_without_replacing(folder, staged, folder, target)
        except FileExistsError:
            continue
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), f"{name}.debug.log")


def _begins_with(folder: Folder, name: str, first: bytes) -> bool:
    try:
        if not stat.S_ISREG(folder.status(name).st_mode):
            return False
    except FileNotFoundError:
        return False
    with folder.read(name) as existing:
        return existing.read(len(first)) == first
