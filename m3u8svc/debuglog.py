"""
The log a user asks for with ``debug_log``: every request and decision of one task, redacted, a line each.

Lines gather in the work directory and are published beside the result when the run ends, well or not.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.places import TRIES
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
            self._appended.addCallback(lambda _: self._in_thread(_append, self._path, lines))
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


def _append(path: Path, lines: list[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as log:
        log.writelines(lines)


def _publish(path: Path, lines: list[str], directory: Path, name: str, task_id: str) -> None:
    _append(path, lines)
    first = f"m3u8svc debug log of task {task_id}\n"
    target = _free(directory, name, first)
    staged = directory / f".{task_id}.debug.part"
    staged.unlink(missing_ok=True)
    _append(staged, [first])
    with open(path, "rb") as log, open(staged, "ab") as copy:
        shutil.copyfileobj(log, copy)  # by pieces: a log of a long film is large
    os.replace(staged, target)


def _free(directory: Path, name: str, first: str) -> Path:
    for number in range(TRIES):
        candidate = directory / f"{numbered(name, number)}.debug.log"
        if not os.path.lexists(candidate):
            return candidate
        if candidate.is_file() and not candidate.is_symlink():
            with open(candidate, encoding="utf-8", errors="replace") as existing:
                if existing.readline(200) == first:
                    return candidate
    return directory / f"{name}.{number}.debug.log"
