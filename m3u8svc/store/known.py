"""
Tasks that lists have shown: who looks at a list looks again soon, and most of it is as it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any  # Any: what columns hold

import attrs
from sqlalchemy import Connection, RowMapping, Select, select

from m3u8svc.store import rows
from m3u8svc.store.atonce import at_once
from m3u8svc.store.tables import TASKS
from m3u8svc.tasks.task import Task

KNOWN_TASKS = 512
"""How many of the last ones are known. Read anew a task costs three times as much (measured: 24 and 7 us)."""
KNOWN_TASK_CHARS = 1 << 13
"""
Tasks whose rows have more text are read anew each time: most have a quarter of it, and all that are known take 4 MB
then, 30 MB at worst.
"""
KNOWN_PAGES = 8
"""How many pages of lists are known as a whole until any task changes: who waits for something asks again and again."""
STAMP = (TASKS.c.id, TASKS.c.rev, TASKS.c.progress, TASKS.c.incidents)
"""
What says in our own file whether a row is as it was: whatever else we change, its `rev` grows. A row that is edited by
hand is seen once the service was started again.
"""

Stamp = Sequence[Any]


@attrs.frozen(kw_only=True)
class _Known:
    stamp: Stamp
    task: Task


class KnownTasks:
    """
    The last `most` of them. A task that is as it was is the same object as before. All but `page` is for the store's
    thread.
    """

    def __init__(self, most: int = KNOWN_TASKS) -> None:
        self._most = most
        self._known: dict[str, _Known] = {}
        self._pages: dict[object, tuple[int, Sequence[Task]]] = {}

    def page(self, which: object) -> tuple[int, list[Task]] | None:
        """
        How many tasks there are and a page of them, if nothing was changed since it was kept.
        """
        page = self._pages.get(which)
        return None if page is None else (page[0], list(page[1]))

    def keep_page(self, which: object, total: int, tasks: Sequence[Task]) -> None:
        """
        A page that was just read; it is kept if all tasks of it are.
        """
        if all(task.id in self._known for task in tasks):
            if len(self._pages) >= KNOWN_PAGES:
                self._pages.clear()
            self._pages[which] = total, tuple(tasks)

    def read(self, query: Select[Any], connection: Connection) -> list[Task]:
        """
        The tasks of a query for all of their columns, in its order if it has a limit.

        Raises:
            StoreError: as `rows.task_of`.
        """
        if connection.dialect.name != "sqlite":
            # Whole rows, which others may change: what is asked again a moment later may be of another moment.
            found = _by_id(query, connection)
            stamps: Mapping[str, Stamp] = {task_id: tuple(row.values()) for task_id, row in found.items()}
        else:
            stamps = {stamp[0]: stamp for stamp in at_once(query.with_only_columns(*STAMP), connection)}
            changed = [task_id for task_id, stamp in stamps.items() if not self._is(task_id, stamp)]
            found = _by_id(select(TASKS).where(TASKS.c.id.in_(changed)), connection) if changed else {}
        try:
            return [self._task(task_id, stamp, found) for task_id, stamp in stamps.items()]
        finally:  # not before: the oldest may be among those that are asked for
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]

    def forget(self, task_id: str) -> None:
        """
        Its row was written: should the same id come again, with the same `rev`, it is another one.
        """
        self._known.pop(task_id, None)

    def forget_pages(self) -> None:
        """
        Something in them is different, or about to be.
        """
        self._pages.clear()

    def forget_all(self) -> None:
        """
        It may be another database by now.
        """
        self._known.clear()
        self._pages.clear()

    def _is(self, task_id: str, stamp: Stamp) -> bool:
        known = self._known.get(task_id)
        return known is not None and known.stamp == stamp

    def _task(self, task_id: str, stamp: Stamp, found: Mapping[str, RowMapping]) -> Task:
        if self._is(task_id, stamp):
            known = self._known.pop(task_id)
            self._known[task_id] = known  # behind all others
            return known.task
        row = found[task_id]
        task = rows.task_of(row)
        self._known.pop(task_id, None)
        if _may_share(task, row):
            self._known[task_id] = _Known(stamp=stamp, task=task)
        return task


def _by_id(query: Select[Any], connection: Connection) -> Mapping[str, RowMapping]:
    return {row["id"]: row for row in connection.execute(query).mappings()}


def _may_share(task: Task, row: RowMapping) -> bool:
    """Whether it is short enough, and no options of plugins: those get hold of theirs."""
    size = sum(len(value) for value in row.values() if isinstance(value, str))
    return size <= KNOWN_TASK_CHARS and not task.spec.extensions.plugins
