"""
What was put where, on disk: a server knows no task, so this is how a file is known to be ours. All blocking.

A result is known by its path, its size and its time of change, which is set before it gets its name. It is on record
before it gets its name, under a name that was free just before: so a crash at any moment leaves either a hidden file
on record or a finished file on record.
"""

import enum
import json
import os
import re
import threading
from pathlib import Path

import attrs

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


class State(enum.Enum):
    """How far a result is."""

    UPLOADING = "uploading"
    NAMING = "naming"
    PUBLISHED = "published"


@attrs.frozen(kw_only=True)
class Result:
    """
    One task's file on the server `address`. `part` is its hidden name while it is sent; `path` its name, "" before.
    """

    task_id: str
    address: str
    state: State
    part: str
    path: str = ""
    size_bytes: int = 0
    changed_at: int = 0


class Results:
    """
    One small file per task in `directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._left_behind = [each for each in self._stored() if each.state is not State.PUBLISHED]

    def save(self, result: Result) -> None:
        """
        Write it down; durable when it returns.
        """
        path = self._path(result.task_id)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump(attrs.asdict(result) | {"state": result.state.value}, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def find(self, task_id: str) -> Result | None:
        """
        What is on record of a task.
        """
        return _read(self._path(task_id))

    def forget(self, task_id: str) -> None:
        """
        There is nothing on the server any more.
        """
        self._path(task_id).unlink(missing_ok=True)

    def take_left_behind(self) -> list[Result]:
        """
        Results that nobody works on any more and that were not finished, each to one caller.
        """
        with self._lock:
            taken, self._left_behind = self._left_behind, []
        return taken

    def leave_behind(self, result: Result) -> None:
        """
        It could not be cleaned up now: it will be taken again.
        """
        with self._lock:
            self._left_behind.append(result)

    def _stored(self) -> list[Result]:
        if not self._directory.is_dir():
            return []
        return [found for path in sorted(self._directory.glob("*.json")) if (found := _read(path)) is not None]

    def _path(self, task_id: str) -> Path:
        if not _SAFE_ID.fullmatch(task_id):
            raise ValueError(f"the id of a task cannot be the name of a file: {task_id!r}")
        return self._directory / f"{task_id}.json"


def _read(path: Path) -> Result | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Result(**(fields | {"state": State(fields["state"])}))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):  # not written by `save`, which writes files whole
        return None
