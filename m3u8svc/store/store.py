"""
The store as the service sees it: awaitable, and durable when it has answered.

All reads and writes run one after the other in one thread of the store's own. Cancelling a call stops the waiting, not
the write: it may still happen.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TypeVar

import attrs
from sqlalchemy import Connection, Table, bindparam, delete, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from m3u8svc.errors import StaleTask, StoreError, TaskNotFound
from m3u8svc.store import rows
from m3u8svc.store.database import Database
from m3u8svc.store.outbox import TaskEvent
from m3u8svc.store.tables import EVENTS, PLAYLISTS, REPORTS, SEGMENTS, SETTINGS, TASKS
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.task import Progress, Status, SystemSettings, Task

T = TypeVar("T")
_ONLY_ROW = 1  # of the settings table


class _Daemon(Thread):
    """
    A thread that does not keep the process alive when nobody closed the store. Killed half-way it loses nothing that
    was acknowledged.
    """

    def __init__(self, target: Callable[[], object], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)


class _OneThread(ThreadPool):
    """
    The thread of one store.
    """

    threadFactory: type[Thread] = _Daemon

    def __init__(self) -> None:
        super().__init__(1, 1, name="m3u8svc-store")


class Store:
    """
    Tasks, segments, events and settings that survive.

    Every method raises `StoreError` or `DiskFull` when the database fails; nothing of SQLAlchemy comes out. A write
    that has returned is committed and synced; one that raised has changed nothing, unless the connection to
    PostgreSQL broke during the commit itself.
    """

    def __init__(self, url: str, *, reactor: IReactorFromThreads) -> None:
        """
        Args:
            url: ``sqlite:///PATH`` (percent-encoded), ``sqlite://`` (in memory) or ``postgresql+psycopg://…``.

        Raises:
            ConfigError: it is none of these.
        """
        self._database = Database(url)
        self._reactor = reactor
        self._thread: _OneThread | None = None

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for PostgreSQL and in memory."""
        return self._database.path

    # -- Opening and closing

    async def open(self) -> None:
        """
        Check the database and bring its schema up to date, in one transaction.

        Raises:
            StoreError: it cannot be reached or is damaged; a damaged file is left as it is.
            ConfigError: its schema is newer than this program.
        """
        if self._thread is not None:
            raise StoreError(reason="the store is open already")
        self._thread = _OneThread()
        self._thread.start()
        opened = False
        try:
            await self._in_thread(self._database.open)
            opened = True
        finally:
            if not opened:
                await self.close()

    async def close(self) -> None:
        """
        Finish what was asked before, disconnect, end the thread. Closing twice is closing once.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await deferToThreadPool(self._reactor, thread, self._database.close)
        finally:
            thread.stop()

    # -- Tasks

    async def insert(self, task: Task, playlist: str = "") -> None:
        """
        Store a new task, the playlist that came with it, and the event of its birth.

        Raises:
            StoreError: its id is taken.
        """
        await self._write(partial(_insert, task, playlist))

    async def load(self, task_id: str, *, include_deleting: bool = False) -> Task:
        """
        The task of this id.

        Raises:
            TaskNotFound: there is none, or it is being deleted and that was not asked for.
        """
        return await self._read(partial(_load, task_id, include_deleting))

    async def playlist_text(self, task_id: str) -> str:
        """
        The playlist that came with a task, "" if none did.
        """
        return await self._read(partial(_playlist_text, task_id))

    async def tasks(
        self,
        *,
        status: Status | None = None,
        limit: int | None = None,
        offset: int = 0,
        include_deleting: bool = False,
    ) -> list[Task]:
        """
        The tasks, by creation and then by id.
        """
        return await self._read(partial(_list, status, limit, offset, include_deleting))

    async def tasks_again(self) -> list[Task]:
        """
        The finished tasks that are to be made again, by creation and then by id.
        """
        return await self._read(_list_again)

    async def replace(self, task: Task) -> Task:
        """
        Store a changed task if nobody changed it since it was read, and an event if its status changed.

        Returns:
            The task as it is stored now: with the next `rev`.

        Raises:
            StaleTask: its row has another `rev`.
            TaskNotFound: its row is gone.
        """
        return await self._write(partial(_replace, task))

    async def delete(self, task_id: str) -> None:
        """
        Remove a task and its segments. Events not yet told stay.

        Raises:
            TaskNotFound: there is none.
        """
        await self._write(partial(_delete, task_id))

    async def save_progress(self, progress: Iterable[tuple[str, Progress]]) -> None:
        """
        Write the progress of several tasks at once. `rev` stays; a task that is gone meanwhile is passed over.
        """
        # By id: two services on one PostgreSQL lock rows in the same order, so they wait and do not deadlock.
        changes = [{"of": task_id, "to": rows.progress_json(value)} for task_id, value in sorted(progress, key=_id)]
        if changes:
            await self._write(partial(_update_progress, changes))

    # -- Segments

    async def record_segments(self, task_id: str, segments: Iterable[SegmentRow]) -> None:
        """
        Write a batch of segments at once; a place that was recorded before is replaced.

        Raises:
            TaskNotFound: there is no such task.
        """
        batch = {(segment.track, segment.position): rows.segment_columns(task_id, segment) for segment in segments}
        if batch:
            await self._write(partial(_record_segments, task_id, list(batch.values())))

    async def segments(self, task_id: str) -> list[SegmentRow]:
        """
        The recorded segments of a task, by track and position; none if there is no such task.
        """
        return await self._read(partial(_segments, task_id))

    # -- Reports

    async def save_report(self, task_id: str, output_id: str, report: Report) -> None:
        """
        Store the report of the result that will be known by `output_id`. That of the result which a finished task has
        stays beside it; any other is forgotten.

        Raises:
            TaskNotFound: there is no such task.
        """
        await self._write(partial(_save_report, task_id, output_id, report))

    async def report(self, task_id: str, output_id: str) -> Report | None:
        """
        The report of this result of a task, None if there is none.
        """
        return await self._read(partial(_report, task_id, output_id))

    # -- Settings

    async def load_settings(self) -> SystemSettings | None:
        """
        The system settings, None until somebody saved some.
        """
        return await self._read(_load_settings)

    async def save_settings(self, system: SystemSettings) -> None:
        """
        Replace the system settings.
        """
        await self._write(partial(_save_settings, system))

    # -- Events

    async def events(self, limit: int = 100) -> list[TaskEvent]:
        """
        The oldest changes of state that were not forgotten yet.
        """
        return await self._read(partial(_events, limit))

    async def forget_events(self, ids: Iterable[int]) -> None:
        """
        Remove events that were told.
        """
        told = [{"told": event_id} for event_id in ids]
        if told:
            await self._write(partial(_forget_events, told))

    # -- The thread

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._in_thread(partial(self._database.run, work, write=False))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._in_thread(partial(self._database.run, work, write=True))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreError(reason="the store is not open")
        return await deferToThreadPool(self._reactor, self._thread, work)


# -- What is done in a transaction -----------------------------------------------------------------------------------


def _insert(task: Task, playlist: str, connection: Connection) -> None:
    # Not by an IntegrityError: that is also what a value says that the column refuses.
    new = _dialect_insert(connection, TASKS).values(rows.task_row(task)).on_conflict_do_nothing(index_elements=["id"])
    if connection.execute(new.returning(TASKS.c.id)).one_or_none() is None:
        raise StoreError(reason=f"task {task.id} is stored already")
    connection.execute(insert(EVENTS).values(rows.event_columns(task, None)))
    if playlist:
        connection.execute(insert(PLAYLISTS).values(task_id=task.id, text=playlist))


def _playlist_text(task_id: str, connection: Connection) -> str:
    query = select(PLAYLISTS.c.text).where(PLAYLISTS.c.task_id == task_id)
    return connection.execute(query).scalar_one_or_none() or ""


def _load(task_id: str, include_deleting: bool, connection: Connection) -> Task:
    row = connection.execute(select(TASKS).where(TASKS.c.id == task_id)).mappings().one_or_none()
    if row is None or (row["deleting"] and not include_deleting):
        raise TaskNotFound()
    return rows.task_of(row)


def _list(
    status: Status | None, limit: int | None, offset: int, include_deleting: bool, connection: Connection
) -> list[Task]:
    query = select(TASKS).order_by(TASKS.c.created_at, TASKS.c.id).limit(limit).offset(offset)
    if status is not None:
        query = query.where(TASKS.c.status == status.name)
    if not include_deleting:
        query = query.where(TASKS.c.deleting == 0)
    return [rows.task_of(row) for row in connection.execute(query).mappings()]


def _list_again(connection: Connection) -> list[Task]:
    query = select(TASKS).where(TASKS.c.again > "", TASKS.c.deleting == 0).order_by(TASKS.c.created_at, TASKS.c.id)
    return [rows.task_of(row) for row in connection.execute(query).mappings()]


def _replace(task: Task, connection: Connection) -> Task:
    stored = connection.execute(select(TASKS.c.rev, TASKS.c.status).where(TASKS.c.id == task.id)).one_or_none()
    if stored is None:
        raise TaskNotFound()
    renewed = attrs.evolve(task, rev=task.rev + 1)
    # The row is asked again: on PostgreSQL another process may have changed it since the select.
    same = update(TASKS).where(TASKS.c.id == task.id, TASKS.c.rev == task.rev)
    if connection.execute(same.values(rows.task_row(renewed))).rowcount != 1:
        raise StaleTask(task_id=task.id)
    if stored.status != task.status.name:
        connection.execute(insert(EVENTS).values(rows.event_columns(renewed, Status[stored.status])))
    return renewed


def _delete(task_id: str, connection: Connection) -> None:
    if connection.execute(delete(TASKS).where(TASKS.c.id == task_id)).rowcount != 1:  # segments follow by foreign key
        raise TaskNotFound()


def _update_progress(changes: list[dict[str, str]], connection: Connection) -> None:
    one = update(TASKS).where(TASKS.c.id == bindparam("of")).values(progress=bindparam("to"))
    connection.execute(one, changes)


def _record_segments(task_id: str, batch: list[dict[str, object]], connection: Connection) -> None:
    held = select(literal(1)).select_from(TASKS).where(TASKS.c.id == task_id).with_for_update(read=True, key_share=True)
    if connection.execute(held).one_or_none() is None:
        raise TaskNotFound()
    _upsert(connection, SEGMENTS, batch)


def _segments(task_id: str, connection: Connection) -> list[SegmentRow]:
    query = select(SEGMENTS).where(SEGMENTS.c.task_id == task_id).order_by(SEGMENTS.c.track, SEGMENTS.c.position)
    return [rows.segment_of(row) for row in connection.execute(query).mappings()]


def _save_report(task_id: str, output_id: str, report: Report, connection: Connection) -> None:
    query = select(TASKS.c.status, TASKS.c.output_id).where(TASKS.c.id == task_id)
    task = connection.execute(query.with_for_update(read=True, key_share=True)).one_or_none()
    if task is None:
        raise TaskNotFound()
    others = delete(REPORTS).where(REPORTS.c.task_id == task_id, REPORTS.c.output_id != output_id)
    if task.status == Status.COMPLETED.name:
        others = others.where(REPORTS.c.output_id != task.output_id)
    connection.execute(others)
    row: dict[str, object] = {
        "task_id": task_id,
        "output_id": output_id,
        "summary": report.summary,
        "segments": report.segments,
    }
    _upsert(connection, REPORTS, [row])


def _report(task_id: str, output_id: str, connection: Connection) -> Report | None:
    query = select(REPORTS.c.summary, REPORTS.c.segments)
    query = query.where(REPORTS.c.task_id == task_id, REPORTS.c.output_id == output_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Report(summary=row.summary, segments=bytes(row.segments))


def _load_settings(connection: Connection) -> SystemSettings | None:
    text = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.id == _ONLY_ROW)).scalar_one_or_none()
    return None if text is None else rows.system_of(text)


def _save_settings(system: SystemSettings, connection: Connection) -> None:
    _upsert(connection, SETTINGS, [{"id": _ONLY_ROW, "value": rows.system_json(system)}])


def _events(limit: int, connection: Connection) -> list[TaskEvent]:
    query = select(EVENTS).order_by(EVENTS.c.id).limit(limit)
    return [rows.event_of(row) for row in connection.execute(query).mappings()]


def _forget_events(told: list[dict[str, int]], connection: Connection) -> None:
    connection.execute(delete(EVENTS).where(EVENTS.c.id == bindparam("told")), told)


def _upsert(connection: Connection, table: Table, values: list[dict[str, object]]) -> None:
    statement = _dialect_insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), values)


def _dialect_insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that knows ON CONFLICT: each dialect has its own, with the same words."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _id(pair: tuple[str, Progress]) -> str:
    return pair[0]
