"""
What changed since the last copy of the database, one JSON object a line: a task as it became, a task that is gone, the
system settings. Enough to bring back every task that somebody was told of; see `store.backups`.

A line is appended and synced after its change was committed. The last line may be torn by a crash: then its change was
not answered yet. A line in the middle that cannot be read is passed over, and said.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any  # Any: columns are str, int, float or None

import attrs
from twisted.logger import Logger

log = Logger()


@attrs.frozen(kw_only=True)
class Change:
    """
    One change: of a task (`row` its columns, None when it was deleted) or of the system settings (`task_id` "").
    A new task comes with its playlist and with the name of the request that made it.
    """

    task_id: str = ""
    row: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    playlist: str = attrs.field(default="", repr=False)
    creation: Mapping[str, Any] | None = None
    settings: str = attrs.field(default="", repr=False)


class ChangeLog:
    """
    The file that changes are appended to. Blocking.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError: it cannot be opened for writing.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self.size_bytes = _end_of_last_line(self._fd)
        self.broken = False
        """Whether a change could not be written: only the next copy has it."""
        os.ftruncate(self._fd, self.size_bytes)

    def append(self, changes: Iterable[Change]) -> None:
        """
        Write changes down, durably.

        Raises:
            OSError: none of them is in the file.
        """
        lines = b"".join(_line(change) for change in changes)
        if not lines:
            return
        try:
            _write_at(self._fd, lines, self.size_bytes)
            os.fdatasync(self._fd)
        except OSError:
            self.broken = True
            with contextlib.suppress(OSError):  # else what was written of it lies behind the next, and counts as later
                os.ftruncate(self._fd, self.size_bytes)
            raise
        self.size_bytes += len(lines)

    def close(self) -> None:
        """
        Close the file.
        """
        os.close(self._fd)


def read_changes(path: Path) -> Iterator[Change]:
    """
    The changes in a file, in their order.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Change(**json.loads(line))
            except (TypeError, ValueError):
                log.error("line {number} of {path} cannot be read", number=number, path=str(path))


def _line(change: Change) -> bytes:
    said = attrs.asdict(change, filter=lambda field, value: value != field.default)
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def _end_of_last_line(descriptor: int) -> int:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
