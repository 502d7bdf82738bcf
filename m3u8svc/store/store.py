"""
The store as the service sees it: awaitable, and durable when it has answered.

All reads and writes run one after the other in one thread of the store's own. Cancelling a call stops the waiting, not
the write: it may still happen.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar, assert_never  # Any: what columns hold

import attrs
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from m3u8svc.errors import (
    BackupFailed,
    DatabaseFileLost,
    DiskFull,
    IdempotencyConflict,
    M3u8svcError,
    StaleTask,
    StoreError,
    TaskNotFound,
    TooManyTasks,
)
from m3u8svc.store import rows
from m3u8svc.store.atonce import NO_LIMIT, at_once
from m3u8svc.store.backups import EVERY_S, RETRY_S
from m3u8svc.store.changes import Change
from m3u8svc.store.database import LOWER, PATIENCE_S, Database
from m3u8svc.store.known import KnownTasks
from m3u8svc.store.outbox import TaskEvent
from m3u8svc.store.recovery import ONLY_ROW
from m3u8svc.store.tables import CREATIONS, EVENTS, PLAYLISTS, REPORTS, SEGMENTS, SETTINGS, TASKS
from m3u8svc.store.upsert import dialect_insert, upsert
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.creation import KEPT_S, Creation
from m3u8svc.tasks.ledger import Ledger, SegmentRow
from m3u8svc.tasks.queue import step_to
from m3u8svc.tasks.search import STATES_IN_ORDER, Found, Search, Sort, has_letters_beyond_ascii
from m3u8svc.tasks.task import Incident, Progress, Status, SystemSettings, Task
from m3u8svc.waiting import InThread, settled

T = TypeVar("T")
SEGMENTS_AT_ONCE = 1000
"""So many rows of a ledger are read in one step."""
LARGE_BYTES = 256 << 20
"""A database of more is not copied while the process ends."""
LEAST_BYTES = 1 << 20
"""With less free on its disk a database counts as full: the next change may need more than the last one."""
_WAITS = (TASKS.c.status == Status.WAITING.name, TASKS.c.deleting == 0)
_UNFINISHED = TASKS.c.status.in_([status.name for status in (Status.WAITING, Status.DOWNLOADING, Status.PAUSED)])
_IN_QUEUE = (TASKS.c.priority.desc(), TASKS.c.place, TASKS.c.created_at, TASKS.c.id)


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

    log = Logger()

    def __init__(
        self,
        url: str,
        *,
        reactor: IReactorFromThreads,
        wall: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            url: ``sqlite:///PATH`` (percent-encoded), ``sqlite://`` (in memory) or ``postgresql+psycopg://…``.
            wall: the time of day, in seconds since the epoch, for the names of backups.
            now: a clock that is never set, in seconds, for what waits.

        Raises:
            ConfigError: it is none of these.
        """
        self._database = Database(url, wall=wall)
        self._reactor = reactor
        self._now = now
        self._thread: _OneThread | None = None
        self._queue: Mapping[str, int] | None = None  # known to the thread alone
        self._tally: Mapping[Status, int] | None = None  # likewise
        self._known = KnownTasks()
        # The text of what is saved; None while that is not known. Set in the thread alone, so in the order of commits.
        self._settings: tuple[str | None] | None = None
        self._copied_at = 0.0
        self._refused = False  # whether the last write failed; known to the thread alone
        self.notices: tuple[M3u8svcError, ...] = ()
        """What opening it had to mend: for people to know while we run."""
        self.unwritten: M3u8svcError | None = None
        """Why a change could not be written down beside the database; None once every change is there or in a copy."""
        self.displaced: M3u8svcError | None = None
        """That the file was not where it was opened when `back_up` looked last; None while it is."""

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for PostgreSQL and in memory."""
        return self._database.path

    # -- Opening and closing

    @property
    def backups(self) -> Path | None:
        """Where the backups of the SQLite file are; None for PostgreSQL and in memory."""
        return None if self._database.backups is None else self._database.backups.folder

    async def open(self) -> None:
        """
        Check the database and bring its schema up to date, in one transaction. A damaged file is replaced from its
        backups, and `notices` says so.

        Raises:
            StoreError: it cannot be reached, or is damaged and there are no backups; then it is left as it is.
            ConfigError: its schema is newer than this program.
        """
        if self._thread is not None:
            raise StoreError(reason="the store is open already")
        self._queue = self._tally = self._settings = None
        self._thread = _OneThread()
        self._thread.start()
        opened = False
        try:
            self.notices = await self._in_thread(self._open)
            opened = True
        finally:
            if not opened:
                await self.close()

    async def close(self) -> None:
        """
        Finish what was asked before, make a backup of what changed, disconnect, end the thread. Closing twice is
        closing once.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await deferToThreadPool(self._reactor, thread, self._close)
        finally:
            thread.stop()

    async def check(self) -> None:
        """
        Whether the database can be written to now. After a write that failed one is tried.

        Raises:
            StoreError: it cannot.
            DiskFull: its disk is full, or has no more than `LEAST_BYTES` free.
        """
        await self._in_thread(self._check)

    async def back_up(self, in_thread: InThread) -> bool:
        """
        Copy the database if it is time to (`Backups.due`); whether it was. The copying itself is done `in_thread`, and
        holds up nobody. That of a file which was removed or replaced is made at once, by the connection that has it.

        Raises:
            BackupFailed: it could not be copied. The next try is in ten minutes.
        """
        backups = self._database.backups
        if backups is None:
            return False
        known = self.displaced
        moved = await self._in_thread(self._database.is_displaced)
        self.displaced = DatabaseFileLost(path=self.file) if moved else None
        is_due = await self._in_thread(lambda: backups.due(age_s=self._now() - self._copied_at))
        if not is_due and not (moved and known is None):
            return False
        self._copied_at = self._now() - EVERY_S + RETRY_S
        missed = self.unwritten
        try:
            number = await self._in_thread(backups.begin)
            if moved:
                await self._in_thread(lambda: backups.copy(number, self._database.copy_into))
            else:
                await settled(in_thread(backups.copy, number))
            await self._in_thread(backups.copied)
        except OSError as error:
            raise BackupFailed(path=backups.folder, reason=error.strerror or type(error).__name__) from error
        self._copied_at = self._now()
        if self.unwritten is missed:  # else another one was missed meanwhile
            self.unwritten = None
        return True

    # -- Tasks

    async def insert(
        self, task: Task, playlist: str = "", *, creation: Creation | None = None, most: int | None = None
    ) -> str:
        """
        Store a new task, the playlist that came with it, the event of its birth and the name of its request; if there
        are not `most` tasks already that are not finished. On PostgreSQL, who asks at the same moment is not counted.

        Returns:
            The id of the task that the request made: another one's, which may be deleted meanwhile, if it came before
            within `tasks.creation.KEPT_S` of this task's creation. Then nothing is stored.

        Raises:
            IdempotencyConflict: a request of this name said something else.
            TooManyTasks: there are.
            StoreError: its id is taken.
        """
        new = Change(
            task_id=task.id,
            row=rows.task_row(task),
            playlist=playlist,
            creation=None if creation is None else attrs.asdict(creation),
        )
        return await self._write(
            partial(_insert, task, playlist, creation, most), lambda made: [new] if made == task.id else []
        )

    async def created(self, creation: Creation, *, now: float) -> str:
        """
        The id of the task that a request of this name made within `tasks.creation.KEPT_S` before `now` (seconds since
        the epoch), which may be deleted meanwhile; "" if none did.

        Raises:
            IdempotencyConflict: that request said something else.
        """
        return await self._read(partial(_created, creation, now))

    async def forget_creations(self, *, now: float) -> None:
        """
        Remove the names of requests that are older than a day at `now`, in seconds since the epoch.
        """
        await self._write(partial(_forget_creations, now))

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
        after: Task | None = None,
        include_deleting: bool = False,
    ) -> list[Task]:
        """
        The tasks, by creation and then by id. `after`: only those behind it, whether it is still there or not.
        """
        query = _listed(status, include_deleting=include_deleting).limit(limit)
        if after is not None:
            query = query.where(tuple_(TASKS.c.created_at, TASKS.c.id) > (after.created_at, after.id))
        return await self._read(partial(_tasks_of, query) if limit is None else partial(self._known.read, query))

    async def first_tasks(self, *, status: Status | None, limit: int, offset: int) -> tuple[int, list[Task]]:
        """
        How many tasks there are, and the first of them from `offset` on, as of one moment (on PostgreSQL, where others
        may write, of two right after each other) and by one way to the thread and back: beside downloads that takes
        longer than the answers. None of it if no task changed since the same was asked.
        """
        which = (status, limit, offset)

        def read(connection: Connection) -> tuple[int, list[Task]]:
            page = _page(status, limit, offset)
            total, tasks = self._total_in(status, connection), self._known.read(page, connection)
            if self.file is not None:  # as with the queue
                self._known.keep_page(which, total, tasks)
            return total, tasks

        known = self._known.page(which)
        return await self._read(read) if known is None else known

    async def search(self, search: Search) -> Found:
        """
        Which tasks this finds, as of one moment.
        """
        return await self._read(partial(self._search_in, search))

    async def tasks_named(self, task_ids: Sequence[str]) -> list[Task]:
        """
        The tasks of these ids, in this order; those that are gone meanwhile are left out.
        """
        return await self._read(partial(self._named, task_ids))

    async def tally(self) -> Mapping[Status, int]:
        """
        How many tasks there are of each state that any have.
        """
        return await self._read(self._tally_in)

    async def tasks_again(self) -> list[Task]:
        """
        The finished tasks that are to be made again, by creation and then by id.
        """
        return await self._read(_list_again)

    async def waiting(self, limit: int | None = None) -> list[Task]:
        """
        The tasks that wait, in the order in which they start (`tasks.queue`).
        """
        return await self._read(partial(_waiting, limit))

    async def queue(self) -> Mapping[str, int]:
        """
        Where each of all that wait stands in that order, by id and from 1.
        """
        return await self._in_thread(self._queue_now)

    async def replace(self, task: Task, *, position: int = 0, now: float = 0.0) -> Task:
        """
        Store a changed task if nobody changed it since it was read, and an event if its status changed.

        Args:
            position: where it is to stand among the waiting tasks of its priority, from 1; 0 leaves its `place`.
            now: the wall clock, for the end of that queue, in seconds since the epoch.

        Returns:
            The task as it is stored now: with the next `rev`, and its new place.

        Raises:
            StaleTask: its row has another `rev`.
            TaskNotFound: its row is gone.
        """
        renewed, moved = await self._write(partial(_replace, task, position, now), lambda both: _changes_of(*both))
        return renewed

    async def delete(self, task_id: str) -> None:
        """
        Remove a task and its segments. Events not yet told stay.

        Raises:
            TaskNotFound: there is none.
        """
        await self._write(partial(_delete, task_id), lambda _: [Change(task_id=task_id)])

    async def save_progress(self, progress: Iterable[tuple[str, Progress]]) -> None:
        """
        Write the progress of several tasks at once. `rev` stays; a task that is gone meanwhile is passed over.
        """
        # By id: two services on one PostgreSQL lock rows in the same order, so they wait and do not deadlock.
        changes = [{"of": task_id, "to": rows.progress_json(value)} for task_id, value in sorted(progress, key=_id)]
        if changes:
            await self._write(partial(_update_progress, self._known, changes))

    async def save_incidents(self, incidents: Iterable[tuple[str, tuple[Incident, ...]]]) -> None:
        """
        Write what went wrong with several tasks at once. `rev` stays; a task that is gone meanwhile is passed over.
        """
        changes = [{"of": task_id, "to": rows.incidents_json(value)} for task_id, value in sorted(incidents, key=_id)]
        if changes:
            await self._write(partial(_update_incidents, self._known, changes))

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

    async def segments(self, task_id: str) -> Ledger:
        """
        The recorded segments of a task, in order of track and position; none if there is no such task.
        """
        return await self._read(partial(_segments, task_id))

    async def forget_segments(self, task_ids: Iterable[str]) -> None:
        """
        Remove what is recorded of the segments of tasks.
        """
        over = [{"of": task_id} for task_id in task_ids]
        if over:
            await self._write(partial(_forget_segments, over))

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
        The system settings, None until somebody saved some. They are remembered: every new task asks for them, and
        would otherwise wait behind a write that waits for a lock, to wait once more with its own.
        """
        known = self._settings
        text = await self._read(self._settings_text) if known is None else known[0]
        return None if text is None else rows.system_of(text)  # anew: a plugin gets hold of its options

    async def save_settings(self, system: SystemSettings) -> None:
        """
        Replace the system settings.
        """
        saved = Change(settings=rows.system_json(system))
        await self._write(partial(self._save_settings, system), lambda _: [saved])

    # -- Events

    async def events(self, limit: int = 100) -> list[TaskEvent]:
        """
        The oldest changes of state that were not forgotten yet.
        """
        return await self._read(partial(_events, limit))

    async def forget_events(self, ids: Iterable[int]) -> bool:
        """
        Remove events that were told; whether others are left.
        """
        return await self._write(partial(_forget_events, [{"told": event_id} for event_id in ids]))

    # -- The thread

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(work, write=False)

    async def _write(self, work: Callable[[Connection], T], changes: Callable[[T], list[Change]] | None = None) -> T:
        return await self._run(work, write=True, changes=changes)

    async def _run(
        self,
        work: Callable[[Connection], T],
        *,
        write: bool,
        changes: Callable[[T], list[Change]] | None = None,
    ) -> T:
        asked = self._now()

        def turn() -> T:
            # Whoever queued behind a call that waited for a lock has waited, too.
            patience_s = max(0.0, PATIENCE_S - (self._now() - asked))
            if changes is None:
                return self._carry_out(work, write=write, patience_s=patience_s)
            try:
                done = self._carry_out(work, write=write, patience_s=patience_s)
            finally:
                self._queue = self._tally = None
                self._known.forget_pages()
            noted = changes(done)
            for change in noted:
                self._known.forget(change.task_id)
            self._note(noted)
            return done

        return await self._in_thread(turn)

    def _carry_out(self, work: Callable[[Connection], T], *, write: bool, patience_s: float = PATIENCE_S) -> T:
        try:
            done = self._database.run(work, write=write, patience_s=patience_s)
        except (StoreError, DiskFull):
            self._refused = self._refused or write
            raise
        if write:
            self._refused = False
        return done

    def _check(self) -> None:
        path = self._database.path
        if path is not None and not _has_room(path):
            raise DiskFull(path=path)
        self._carry_out(_something if self._refused else _nothing, write=True)

    def _note(self, changes: list[Change]) -> None:
        """
        Write committed changes down beside the database. That this fails is no failure of the change.
        """
        if self._database.backups is None:
            return
        try:
            self._database.backups.note(changes)
        except OSError as error:
            problem = BackupFailed(path=self._database.backups.folder, reason=error.strerror or type(error).__name__)
            if self.unwritten is None:
                self.log.error("{problem}", problem=problem.text("en"))
            self.unwritten = problem

    def _open(self) -> tuple[M3u8svcError, ...]:
        notices = self._database.open()
        if self._database.backups is not None:
            self._copied_at = self._now() - self._database.backups.age_s()
        return notices

    def _close(self) -> None:
        """
        Runs in the thread. A large file would hold up the end of the process: the changes have what the last hour had.
        """
        backups, path = self._database.backups, self._database.path
        try:
            if backups is None or path is None or not backups.changed:
                return
            if self._database.is_displaced():
                backups.copy(backups.begin(), self._database.copy_into)
                backups.copied()
            elif path.stat().st_size <= LARGE_BYTES:
                backups.copy(backups.begin())
                backups.copied()
        except (OSError, BackupFailed) as error:
            self.log.error("no backup at the end: {error}", error=str(error))
        finally:
            self._known.forget_all()
            self._database.close()

    def _queue_now(self) -> Mapping[str, int]:
        """
        The queue, read again only if it may have changed: of 10,000 tasks that takes 30 ms, and every GET shows it.
        """
        if self._queue is not None:
            return self._queue
        queue = {task_id: place for place, task_id in enumerate(self._database.run(_queue, write=False), 1)}
        if self.file is not None:  # nobody else writes to our file, but others may share a PostgreSQL
            self._queue = queue
        return queue

    def _tally_in(self, connection: Connection) -> Mapping[Status, int]:
        """
        The tally, counted again only if it may have changed: every list says how many there are.
        """
        if self._tally is not None:
            return self._tally
        tally = _tally(connection)
        if self.file is not None:  # as with the queue
            self._tally = tally
        return tally

    def _total_in(self, status: Status | None, connection: Connection) -> int:
        tally = self._tally_in(connection)
        return sum(tally.values()) if status is None else tally.get(status, 0)

    def _named(self, task_ids: Sequence[str], connection: Connection) -> list[Task]:
        found = {task.id: task for task in self._known.read(_those(task_ids), connection)}
        return [found[task_id] for task_id in task_ids if task_id in found]

    def _search_in(self, search: Search, connection: Connection) -> Found:
        ids = _search(search, connection)
        total = _count(search, connection) if search.text else self._total_in(search.status, connection)
        return Found(ids=tuple(ids), total=total)

    def _settings_text(self, connection: Connection) -> str | None:
        text = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.id == ONLY_ROW)).scalar_one_or_none()
        if self.file is not None:  # others may share a PostgreSQL
            self._settings = (text,)
        return text

    def _save_settings(self, system: SystemSettings, connection: Connection) -> None:
        self._settings = None  # whether this is committed is known to whoever reads it again
        upsert(connection, SETTINGS, [{"id": ONLY_ROW, "value": rows.system_json(system)}])

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._thread is None:
            raise StoreError(reason="the store is not open")
        return await deferToThreadPool(self._reactor, self._thread, work)


# -- What is done in a transaction -----------------------------------------------------------------------------------


def _insert(task: Task, playlist: str, creation: Creation | None, most: int | None, connection: Connection) -> str:
    earlier = _name(creation, task, connection) if creation is not None else ""
    if earlier:
        return earlier
    if most is not None and _unfinished(connection) >= most:
        raise TooManyTasks(limit=most)
    # Not by an IntegrityError: that is also what a value says that the column refuses.
    new = dialect_insert(connection, TASKS).values(rows.task_row(task)).on_conflict_do_nothing(index_elements=["id"])
    if connection.execute(new.returning(TASKS.c.id)).one_or_none() is None:
        raise StoreError(reason=f"task {task.id} is stored already")
    connection.execute(insert(EVENTS).values(rows.event_columns(task, None)))
    if playlist:
        connection.execute(insert(PLAYLISTS).values(task_id=task.id, text=playlist))
    return task.id


def _unfinished(connection: Connection) -> int:
    """
    How many tasks are not finished, with those that are being deleted: the index alone answers it.
    """
    return connection.scalar(select(func.count()).select_from(TASKS).where(_UNFINISHED)) or 0


def _name(creation: Creation, task: Task, connection: Connection) -> str:
    """
    Give the name of the request to the task, unless it has one: then the id of that, "" otherwise.
    """
    row = {**attrs.asdict(creation), "task_id": task.id, "created_at": task.created_at}
    statement = dialect_insert(connection, CREATIONS).values(row)
    expired = CREATIONS.c.created_at <= task.created_at - KEPT_S
    # One statement: of two that ask at once on PostgreSQL, the second waits here for the first to be committed.
    named = statement.on_conflict_do_update(index_elements=["key"], set_=row, where=expired)
    if connection.execute(named.returning(CREATIONS.c.key)).one_or_none() is not None:
        return ""
    return _created(creation, task.created_at, connection)


def _created(creation: Creation, now: float, connection: Connection) -> str:
    query = select(CREATIONS.c.digest, CREATIONS.c.task_id)
    query = query.where(CREATIONS.c.key == creation.key, CREATIONS.c.created_at > now - KEPT_S)
    earlier = connection.execute(query).one_or_none()
    if earlier is None:
        return ""
    if earlier.digest != creation.digest:
        raise IdempotencyConflict(key=creation.key)
    return str(earlier.task_id)


def _forget_creations(now: float, connection: Connection) -> None:
    connection.execute(delete(CREATIONS).where(CREATIONS.c.created_at <= now - KEPT_S))


def _playlist_text(task_id: str, connection: Connection) -> str:
    query = select(PLAYLISTS.c.text).where(PLAYLISTS.c.task_id == task_id)
    return connection.execute(query).scalar_one_or_none() or ""


def _load(task_id: str, include_deleting: bool, connection: Connection) -> Task:
    row = connection.execute(select(TASKS).where(TASKS.c.id == task_id)).mappings().one_or_none()
    if row is None or (row["deleting"] and not include_deleting):
        raise TaskNotFound()
    return rows.task_of(row)


def _listed(status: Status | None, *, include_deleting: bool) -> Select[Any]:
    """
    The query for tasks, by creation and then by id.
    """
    query = select(TASKS).order_by(TASKS.c.created_at, TASKS.c.id)
    if status is not None:
        query = query.where(TASKS.c.status == status.name)
    return query if include_deleting else query.where(TASKS.c.deleting == 0)


def _page(status: Status | None, limit: int, offset: int) -> Select[Any]:
    return _listed(status, include_deleting=False).limit(limit).offset(offset)


def _those(task_ids: Sequence[str]) -> Select[Any]:
    return select(TASKS).where(TASKS.c.id.in_(task_ids), TASKS.c.deleting == 0)


def _tasks_of(query: Select[Any], connection: Connection) -> list[Task]:
    return [rows.task_of(row) for row in connection.execute(query).mappings()]


def _tally(connection: Connection) -> Mapping[Status, int]:
    query = select(TASKS.c.status, func.count().label("tasks")).where(TASKS.c.deleting == 0).group_by(TASKS.c.status)
    return {Status[row.status]: row.tasks for row in connection.execute(query)}


def _search(search: Search, connection: Connection) -> list[str]:
    # Ids alone: what is put in order is small then, and the rows are read by the page.
    query = select(TASKS.c.id).where(*_wanted(search, connection)).order_by(*_order(search, connection))
    return [task_id for (task_id,) in at_once(query.limit(search.limit).offset(search.offset), connection)]


def _count(search: Search, connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(TASKS).where(*_wanted(search, connection))) or 0


def _wanted(search: Search, connection: Connection) -> list[ColumnElement[bool]]:
    """
    What is true of a task that a search finds. A text is looked for as it is, without wildcards.
    """
    wanted: list[ColumnElement[bool]] = [TASKS.c.deleting == 0]
    if search.status is not None:
        wanted.append(TASKS.c.status == search.status.name)
    if search.text:
        is_sqlite = connection.dialect.name == "sqlite"
        position = func.instr if is_sqlite else func.strpos
        # SQLite's own knows small letters of ASCII alone, and is ten times as fast.
        lower = getattr(func, LOWER) if is_sqlite and has_letters_beyond_ascii(search.text) else func.lower
        columns = (TASKS.c.filename, TASKS.c.url, TASKS.c.id)
        wanted.append(or_(*(position(lower(column), lower(search.text)) > 0 for column in columns)))
    return wanted


def _order(search: Search, connection: Connection) -> list[ColumnElement[Any]]:
    keys: list[ColumnElement[Any]] = []
    first: list[ColumnElement[Any]] = []
    match search.sort:
        case Sort.CREATED:
            pass
        case Sort.NAME:
            name = func.lower(TASKS.c.filename)
            keys = [name if connection.dialect.name == "sqlite" else name.collate("C")]
        case Sort.STATUS:
            places = {status.name: place for place, status in enumerate(STATES_IN_ORDER)}
            keys = [case(places, value=TASKS.c.status)]
        case Sort.PROGRESS:
            keys = [_percent(connection)]
        case Sort.SIZE:
            keys = [TASKS.c.size]
        case Sort.PRIORITY:
            keys = [TASKS.c.priority]
        case Sort.QUEUE:
            waits = TASKS.c.status == Status.WAITING.name
            first = [case((waits, 0), else_=1)]
            keys = [case((waits, -TASKS.c.priority), else_=0), case((waits, TASKS.c.place), else_=0.0)]
        case _:
            assert_never(search.sort)
    keys += [TASKS.c.created_at, TASKS.c.id]
    return [*first, *(key.desc() if search.descending else key.asc() for key in keys)]


def _percent(connection: Connection) -> ColumnElement[Any]:
    if connection.dialect.name == "sqlite":
        return func.json_extract(TASKS.c.progress, "$.percent")
    percent: ColumnElement[Any] = cast(TASKS.c.progress, JSON)["percent"].as_integer()
    return percent


def _waiting(limit: int | None, connection: Connection) -> list[Task]:
    return _tasks_of(select(TASKS).where(*_WAITS).order_by(*_IN_QUEUE).limit(limit), connection)


def _queue(connection: Connection) -> list[str]:
    query = select(TASKS.c.id).where(*_WAITS).order_by(*_IN_QUEUE).limit(NO_LIMIT)
    return [task_id for (task_id,) in at_once(query, connection)]


def _placed(task: Task, position: int, now: float, connection: Connection) -> tuple[Task, list[Task]]:
    """
    The task at its position in the queue, and the others that gave way if they had to.
    """
    equals = select(TASKS.c.id, TASKS.c.place).order_by(*_IN_QUEUE)
    equals = equals.where(*_WAITS, TASKS.c.priority == task.priority, TASKS.c.id != task.id)
    others = connection.execute(equals).all()
    step = step_to(position, [other.place for other in others], now=now)
    moved = []
    for other in others[: step.shifted]:
        # Their `rev` grows: whoever has read one of them and writes it back would undo this.
        one = update(TASKS).where(TASKS.c.id == other.id).values(place=TASKS.c.place - step.by, rev=TASKS.c.rev + 1)
        moved.append(rows.task_of(connection.execute(one.returning(*TASKS.columns)).mappings().one()))
    return attrs.evolve(task, place=step.place), moved


def _list_again(connection: Connection) -> list[Task]:
    # They are few, and put in order here: asked for the order, too, SQLite reads the whole table in it (measured: 25 ms
    # of 10,000 tasks, whenever one is created or ends) and does without the index that finds them.
    found = _tasks_of(select(TASKS).where(TASKS.c.again > "", TASKS.c.deleting == 0), connection)
    return sorted(found, key=lambda task: (task.created_at, task.id))


def _replace(task: Task, position: int, now: float, connection: Connection) -> tuple[Task, list[Task]]:
    stored = connection.execute(select(TASKS.c.rev, TASKS.c.status).where(TASKS.c.id == task.id)).one_or_none()
    if stored is None:
        raise TaskNotFound()
    placed, moved = _placed(task, position, now, connection) if position else (task, [])
    renewed = attrs.evolve(placed, rev=task.rev + 1)
    # The row is asked again: on PostgreSQL another process may have changed it since the select.
    same = update(TASKS).where(TASKS.c.id == task.id, TASKS.c.rev == task.rev)
    if connection.execute(same.values(rows.task_row(renewed))).rowcount != 1:
        raise StaleTask(task_id=task.id)
    if stored.status != task.status.name:
        connection.execute(insert(EVENTS).values(rows.event_columns(renewed, Status[stored.status])))
    return renewed, moved


def _changes_of(task: Task, others: list[Task]) -> list[Change]:
    return [Change(task_id=each.id, row=rows.task_row(each)) for each in (*others, task)]


def _nothing(connection: Connection) -> None:
    """A transaction that only asks for the right to write."""


def _something(connection: Connection) -> None:
    """A write that changes nothing, and has to reach the disk all the same."""
    if connection.dialect.name == "sqlite":
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")


def _has_room(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return True  # the database says what is wrong
    return not found.f_blocks or found.f_bavail * found.f_frsize >= LEAST_BYTES


def _delete(task_id: str, connection: Connection) -> None:
    if connection.execute(delete(TASKS).where(TASKS.c.id == task_id)).rowcount != 1:  # segments follow by foreign key
        raise TaskNotFound()


def _update_progress(known: KnownTasks, changes: list[dict[str, str]], connection: Connection) -> None:
    known.forget_pages()
    one = update(TASKS).where(TASKS.c.id == bindparam("of")).values(progress=bindparam("to"))
    connection.execute(one, changes)


def _update_incidents(known: KnownTasks, changes: list[dict[str, str]], connection: Connection) -> None:
    known.forget_pages()
    one = update(TASKS).where(TASKS.c.id == bindparam("of")).values(incidents=bindparam("to"))
    connection.execute(one, changes)


def _record_segments(task_id: str, batch: list[dict[str, object]], connection: Connection) -> None:
    held = select(literal(1)).select_from(TASKS).where(TASKS.c.id == task_id).with_for_update(read=True, key_share=True)
    if connection.execute(held).one_or_none() is None:
        raise TaskNotFound()
    upsert(connection, SEGMENTS, batch)


def _segments(task_id: str, connection: Connection, *, step: int = SEGMENTS_AT_ONCE) -> Ledger:
    return Ledger(rows.segment_of(row) for row in _segment_rows(task_id, step, connection))


def _segment_rows(task_id: str, step: int, connection: Connection) -> Iterator[Sequence[Any]]:
    columns = [SEGMENTS.c[name] for name in rows.SEGMENT_FIELDS]
    query = select(*columns).where(SEGMENTS.c.task_id == task_id).order_by(SEGMENTS.c.track, SEGMENTS.c.position)
    if connection.dialect.name != "sqlite":
        yield from connection.execute(query)
        return
    query = query.limit(step)
    page = at_once(query, connection)
    yield from page
    while len(page) == step:
        last = rows.segment_of(page[-1])
        behind = tuple_(SEGMENTS.c.track, SEGMENTS.c.position) > (last.track, last.position)
        page = at_once(query.where(behind), connection)
        yield from page


def _forget_segments(over: list[dict[str, str]], connection: Connection) -> None:
    connection.execute(delete(SEGMENTS).where(SEGMENTS.c.task_id == bindparam("of")), over)


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
    upsert(connection, REPORTS, [row])


def _report(task_id: str, output_id: str, connection: Connection) -> Report | None:
    query = select(REPORTS.c.summary, REPORTS.c.segments)
    query = query.where(REPORTS.c.task_id == task_id, REPORTS.c.output_id == output_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Report(summary=row.summary, segments=bytes(row.segments))


def _events(limit: int, connection: Connection) -> list[TaskEvent]:
    query = select(EVENTS).order_by(EVENTS.c.id).limit(limit)
    return [rows.event_of(row) for row in connection.execute(query).mappings()]


def _forget_events(told: list[dict[str, int]], connection: Connection) -> bool:
    if told:
        connection.execute(delete(EVENTS).where(EVENTS.c.id == bindparam("told")), told)
    return connection.scalar(select(EVENTS.c.id).limit(1)) is not None


def _id(pair: tuple[str, object]) -> str:
    return pair[0]
