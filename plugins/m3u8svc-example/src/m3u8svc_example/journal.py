"""
A line for each finished task, in a file of the plugin's own.
"""

import json
from collections import Counter
from pathlib import Path

from m3u8svc.plugin import SegmentOutcome, Status, Task


class Journal:
    """
    Appends to `path`. Plain hooks run one after the other in a thread of the plugin: no lock, and writing may block.
    """

    def __init__(self, path: Path) -> None:
        self._last_event = _last_event(path)
        self._file = path.open("a", encoding="utf-8")
        self._counts: dict[str, Counter[str]] = {}

    def count(self, task_id: str, outcome: SegmentOutcome) -> None:
        """One more segment of this run of the task."""
        self._counts.setdefault(task_id, Counter())[outcome.kind] += 1

    def note(self, task: Task, event_id: int) -> None:
        """Write down that a task has ended, once: an event that came before a crash may come again."""
        if task.status is Status.DOWNLOADING:
            return
        counted = self._counts.pop(task.id, Counter())
        if task.status not in (Status.COMPLETED, Status.FAILED) or event_id <= self._last_event:
            return
        entry = {
            "event": event_id,
            "task": task.id,
            "name": task.spec.filename,
            "status": task.status.name.lower(),
            "result": task.output,
            "segments": dict(counted),
        }
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()
        self._last_event = event_id

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _last_event(path: Path) -> int:
    """
    The newest event in the file. A line that a crash cut off counts for nothing.
    """
    newest = 0
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                newest = max(newest, int(json.loads(line)["event"]))
            except (ValueError, KeyError, TypeError):
                continue
    return newest
