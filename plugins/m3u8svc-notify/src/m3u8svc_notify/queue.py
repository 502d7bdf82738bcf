"""
What is still to be told, on disk. Blocking: its calls belong into a thread; any thread, one at a time.

A row is one event for one target. It stays as a mark when it is done, so that an event which the service tells again
after a crash is known; old marks go. Rows of one task and one target leave in the order they came.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from m3u8svc_notify.events import Event

MARKS = 10_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id INTEGER NOT NULL,
  task_id TEXT NOT NULL,
  target TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  queued_at REAL NOT NULL,
  due REAL NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0,
  UNIQUE (event_id, task_id, target)
);
CREATE INDEX IF NOT EXISTS waiting ON item (target, task_id, seq) WHERE done = 0;
"""


@attrs.frozen(kw_only=True)
class Item:
    """
    One event on its way to one target; times are seconds since the epoch.
    """

    seq: int
    event_id: int
    task_id: str
    target: str
    name: str
    body: str = attrs.field(repr=False)
    queued_at: float
    due: float
    attempts: int

    @property
    def lane(self) -> tuple[str, str]:
        """What must stay in order: one task's events for one target."""
        return self.target, self.task_id


class Queue:
    """
    The file. Every call is durable when it returns.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        path.chmod(0o600)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)

    def add(self, event: Event, targets: Iterable[str], *, now: float, most: int) -> list[Item]:
        """
        Queue an event for these targets, unless it has been already. Returns what had to make room: the oldest of a
        target that has `most` waiting.
        """
        pushed: list[Item] = []
        with self._lock, _Transaction(self._database):
            for target in targets:
                self._database.execute(
                    "INSERT OR IGNORE INTO item (event_id, task_id, target, name, body, queued_at, due)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (event.event_id, event.task_id, target, event.name, event.body, now, now),
                )
                (waiting,) = self._database.execute(
                    "SELECT count(*) FROM item WHERE target = ? AND done = 0", (target,)
                ).fetchone()
                if waiting > most:
                    oldest = self._items("target = ? AND done = 0 ORDER BY seq LIMIT ?", (target, waiting - most))
                    self._mark(item.seq for item in oldest)
                    pushed += oldest
            self._forget_marks()
        return pushed

    def heads(self, target: str, most: int) -> list[Item]:
        """
        The first waiting item of each task for this target, those due first at the front.
        """
        with self._lock:
            return self._items(
                "seq IN (SELECT min(seq) FROM item WHERE target = ? AND done = 0 GROUP BY task_id)"
                " ORDER BY due, seq LIMIT ?",
                (target, most),
            )

    def done(self, seq: int) -> None:
        """This one is delivered or given up."""
        with self._lock, _Transaction(self._database):
            self._mark([seq])

    def postpone(self, seq: int, *, due: float) -> None:
        """One more attempt was made; the next is due then."""
        with self._lock, _Transaction(self._database):
            self._database.execute("UPDATE item SET attempts = attempts + 1, due = ? WHERE seq = ?", (due, seq))

    def give_up(self, target: str) -> int:
        """Give up everything that waits for this target; how many."""
        with self._lock, _Transaction(self._database):
            return self._database.execute(
                "UPDATE item SET done = 1, body = '' WHERE target = ? AND done = 0", (target,)
            ).rowcount

    def waiting(self) -> dict[str, int]:
        """How many wait, by target."""
        with self._lock:
            return dict(self._database.execute("SELECT target, count(*) FROM item WHERE done = 0 GROUP BY target"))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def _items(self, condition: str, arguments: Sequence[object]) -> list[Item]:
        columns = "seq, event_id, task_id, target, name, body, queued_at, due, attempts"
        names = columns.split(", ")
        rows = self._database.execute(f"SELECT {columns} FROM item WHERE {condition}", arguments)
        return [Item(**dict(zip(names, row, strict=True))) for row in rows]

    def _mark(self, seqs: Iterable[int]) -> None:
        self._database.executemany("UPDATE item SET done = 1, body = '' WHERE seq = ?", [(seq,) for seq in seqs])

    def _forget_marks(self) -> None:
        self._database.execute("DELETE FROM item WHERE done = 1 AND seq < (SELECT max(seq) FROM item) - ?", (MARKS,))


class _Transaction:
    """
    All or nothing: `with` on the connection itself would not begin one.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._database.execute("COMMIT" if kind is None else "ROLLBACK")
