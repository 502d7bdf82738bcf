"""
DownloadService: the queue, the limits, and the life of tasks with the life of the process.

The stored row is the truth about a task's state; a running `Job` is the truth about its progress. Every change of
state goes through `_amend`, a compare-and-set that reads, decides with `tasks.lifecycle` and writes, so that two
changes at once end in some serial order. A change is stored before it is answered; jobs follow: pausing stores
已暂停, answers, and cancels the job, whose end nobody has to wait for. A task is not started again before its old
job has really ended.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any  # Any: JSON values, and a coroutine's send and yield types

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from m3u8svc.checking import Checks, parts_published
from m3u8svc.errors import (
    CannotVerify,
    DiskFull,
    Fault,
    InvalidTransition,
    M3u8svcError,
    ReportNotFound,
    StaleTask,
    StoreError,
    TaskNotFound,
)
from m3u8svc.hls.outline import Outline
from m3u8svc.job import Job, Outcome, Tools, has_segments, work_path
from m3u8svc.planning import plan_task
from m3u8svc.redact import redact_text, redact_url
from m3u8svc.replacing import Past
from m3u8svc.report import bounded
from m3u8svc.roots import judged_place
from m3u8svc.store import Store
from m3u8svc.tasks.again import change_task, give_up, halt
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.lifecycle import Event, advance
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.pace import status_bar
from m3u8svc.tasks.task import CompanionFile, Progress, Status, SystemSettings, Task, TaskChange, TaskDraft, TaskSpec
from m3u8svc.telling import Telling
from m3u8svc.waiting import in_background, log_failure, settled

TICK_S = 0.1
"""How often live progress is looked at: the WebSocket's ten messages a second."""
LEDGER_S = 0.25
PROGRESS_S = 5.0
CATCH_UP_S = 1.0
CAS_TRIES = 10
PLANS_AT_ONCE = 4
STOP_S = 3.0
"""How long a stop waits for jobs: the process shall be gone in five seconds."""
STORE_TROUBLE = (StoreError, DiskFull)
"""How the store says that it could not."""


@attrs.define
class Run:
    """
    A task that has a job now. `ended` fires when the job is over, whatever way.
    """

    task: Task
    job: Job
    ended: Deferred[None] = attrs.field(factory=Deferred)
    shown: Progress = attrs.field(factory=Progress)
    cancelled: bool = False
    """Whether we told the job to stop."""
    again: bool = False
    """Whether it makes a finished task again, which stays 已完成."""

    @property
    def shows(self) -> bool:
        """Whether anybody should still see it move: not once it was paused or deleted."""
        if self.again:
            return self.task.again is not None and not self.task.again.paused and not self.task.deleting
        return self.task.status is Status.DOWNLOADING and not self.task.deleting

    def live(self) -> Task:
        """
        The task with the job's progress.
        """
        return attrs.evolve(self.task, progress=self.job.progress())


class DownloadService:
    """
    Keeps at most `max_active` tasks downloading, in the order of their creation.
    """

    log = Logger()

    def __init__(
        self,
        *,
        store: Store,
        tools: Tools,
        max_active: int,
        default_save_location: str,
        defaults: SystemSettings,
        forbidden: tuple[Path, ...],
        new_id: Callable[[], str],
    ) -> None:
        """
        Args:
            defaults: the system settings until somebody saves some.
            forbidden: our own directories, where nothing may be saved.
            new_id: makes the id of a task.
        """
        self._store = store
        self._tools = tools
        self._max_active = max_active
        self._default_save_location = default_save_location
        self._defaults = defaults
        self._forbidden = forbidden
        self._new_id = new_id
        self._runs: dict[str, Run] = {}
        self._jobs: dict[str, Deferred[None]] = {}
        self._filling = DeferredLock()
        self._planning = DeferredSemaphore(PLANS_AT_ONCE)
        self._verifying = DeferredLock()
        self._checks = Checks()
        self._telling = Telling(store, tools.plugins.hooks)
        self._watchers: list[Callable[[Task], None]] = []
        self._rows: defaultdict[str, list[SegmentRow]] = defaultdict(list)
        self._unsettled: set[str] = set()
        self._unerased: dict[str, Task] = {}
        self._behind = False
        self._active = False
        self._loops: list[LoopingCall] = []

    # -- Life

    async def start(self) -> None:
        """
        Take up where the last process stopped: interrupted tasks wait again, half-done deletes are finished.
        """
        everything = await self._store.tasks(include_deleting=True)
        self._active = True
        for task in everything:
            if task.deleting:
                in_background(f"deleting task {task.id}", self._erase(task, with_files=bool(task.output)))
            elif task.status is Status.DOWNLOADING:
                await self._step(task.id, Event.INTERRUPT)
        for seconds, function in (
            (TICK_S, self._tick),
            (LEDGER_S, self._flush_soon),
            (CATCH_UP_S, self._catch_up_soon),
            (PROGRESS_S, self._save_soon),
        ):
            loop = LoopingCall(function)
            loop.clock = self._tools.clock
            loop.start(seconds, now=False).addErrback(lambda failure: log_failure("a periodic job", failure))
            self._loops.append(loop)
        completed = [task for task in everything if task.status is Status.COMPLETED and not task.deleting]
        finished = [task for task in completed if not task.needs_work]
        in_background("clearing finished work", self._clear(finished))
        in_background("telling plugins", self._tell())
        self._wake()

    async def stop(self) -> None:
        """
        Stop every job; what is on disk stays, and the next start goes on with it.
        """
        self._active = False
        self._checks.stop()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        await self._filling.acquire()  # a task that is just being started is among the runs after this
        self._filling.release()
        runs = list(self._runs.values())
        reached = [(run.task.id, run.job.progress()) for run in runs if not run.again]
        for run in runs:
            self._cancel(run)
        await self._ended(runs)
        await self._flush()
        await self._save_progress(reached)

    async def _ended(self, runs: list[Run]) -> None:
        """
        Wait for jobs that were cancelled, but not for ever: what is on disk is safe however they end.
        """
        deadline = self._tools.clock.seconds() + STOP_S
        for run in runs:
            ended: Deferred[None] = Deferred()
            run.ended.chainDeferred(ended)
            left_s = max(0.0, deadline - self._tools.clock.seconds())
            try:
                await ended.addTimeout(left_s, self._tools.clock)
            except DeferredTimeout:
                self.log.error("task {task} does not end", task=run.task.id)

    # -- What the API asks

    async def create(self, draft: TaskDraft) -> Task:
        """
        A new task, stored when this returns.

        Raises:
            UnsafePath: a directory of the request is one of our own, or no place for results.
            OptionError: a plugin does not take its options.
            StoreError: nothing was created.
        """
        spec = await self._spec(draft)
        now = self._tools.wall()
        task = Task(id=self._new_id(), spec=spec, created_at=now, updated_at=now, warnings=spec.warnings)
        await self._store.insert(task, draft.playlist)
        self.log.info("task {task} created: {url}", task=task.id, url=_shown(task))
        self._announce(task)
        self._wake()
        return task

    async def plan(self, draft: TaskDraft) -> Outline:
        """
        What a task of this request would do; nothing is stored, and nothing but playlists is fetched.

        Raises:
            M3u8svcError: `create` would refuse it, or the task would fail before its first segment.
        """
        task = Task(id=self._new_id(), spec=await self._spec(draft))
        turn = await self._planning.acquire()
        try:
            return await plan_task(task, self._tools, draft.playlist)
        finally:
            turn.release()

    async def _spec(self, draft: TaskDraft) -> TaskSpec:
        """
        What a request means under the system settings of now.
        """
        spec = draft.spec(await self.system_settings())
        # Those of the system settings were judged when they were saved: whoever sends this cannot leave them out.
        await self._tools.plugins.check_options(draft.extensions.get("plugins", {}))
        chosen = spec.settings.save_location
        settings = attrs.evolve(
            spec.settings,
            save_location=await self._place(
                "save_location", chosen or self._default_save_location, by_operator=not chosen
            ),
            temp_directory=await self._place("temp_directory", spec.settings.temp_directory),
        )
        return attrs.evolve(spec, settings=settings)

    async def task(self, task_id: str) -> Task:
        """
        One task, live.
        """
        return self._live(await self._store.load(task_id))

    async def tasks(self, *, status: Status | None = None, limit: int | None = None, offset: int = 0) -> list[Task]:
        """
        Tasks by creation, live.
        """
        stored = await self._store.tasks(status=status, limit=limit, offset=offset)
        return [self._live(task) for task in stored]

    async def change(self, task_id: str, change: TaskChange) -> Task:
        """
        Pause or resume, set other settings, make a finished task again: all that `change` says, or nothing.

        Raises:
            TaskNotFound, InvalidTransition, CannotRemake.
        """
        task = await self._amend(task_id, lambda task: self._changed(task, change))
        run = self._runs.get(task_id)
        if run is not None and not run.shows:
            self._cancel(run)
        if task.again is not None:
            self._show(self._live(task))
        self._wake()
        return self._live(task)

    def _changed(self, task: Task, change: TaskChange) -> Task:
        changed = change_task(task, change)
        if changed.status is task.status:
            return changed
        return self._at_step(changed, previous=task.status)

    async def keeps_segments(self, task_id: str) -> bool:
        """
        Whether the segments of a finished task are still there, so that it is made again without fetching them.

        Raises:
            TaskNotFound.
        """
        task = await self._store.load(task_id)
        found: bool = await settled(self._tools.in_thread(has_segments, task))
        return found and await self._store.report(task.id, task.output_id) is not None

    async def verify(self, task_id: str, *, decode: bool) -> dict[str, Any]:
        """
        Look at a task's file once more, and at the others of a split result, and compare them with its report; what was
        found, as JSON values.

        Raises:
            TaskNotFound, CannotVerify.
        """
        task = await self._store.load(task_id)
        if task.status is not Status.COMPLETED or not os.path.isabs(task.output):
            raise CannotVerify(path=task.output or task.id, reason="任务没有本机上的结果文件")
        report = await self._store.report(task_id, task.output_id)
        await self._verifying.acquire()
        try:
            summary = None if report is None else json.loads(report.summary)
            path = Path(task.output)
            parts = parts_published(path, task.companions)
            look = self._tools.in_thread(self._checks.check, path, summary, decode=decode, parts=parts)
            found: dict[str, Any] = await settled(look)
        finally:
            self._verifying.release()
        return {"id": task_id, "file": task.output, **found}

    async def report(self, task_id: str) -> bytes:
        """
        The report of a task's result, as JSON.

        Raises:
            TaskNotFound, ReportNotFound.
        """
        task = await self._store.load(task_id)
        report = await self._store.report(task_id, task.output_id) if task.status is Status.COMPLETED else None
        if report is None:
            raise ReportNotFound()
        whole: bytes = await settled(
            self._tools.in_thread(report.whole, task_id=task_id, file=redact_text(task.output))
        )
        return whole

    async def remove(self, task_id: str, *, with_files: bool) -> None:
        """
        Forget a task. Its row is marked before this returns; its job and its work directory go right after.

        Raises:
            TaskNotFound: there is none (any more).
        """

        def mark(task: Task) -> Task:
            # What is to stay is forgotten here already, so that a restart that finishes this knows what was asked.
            return attrs.evolve(task, deleting=True, output=task.output if with_files else "")

        marked = await self._amend(task_id, mark)
        self.log.info("task {task} deleted", task=task_id)
        run = self._runs.get(task_id)
        if run is not None:
            self._cancel(run)
        in_background(f"deleting task {task_id}", self._erase(marked, with_files=with_files))

    async def system_settings(self) -> SystemSettings:
        """
        What a task gets where its request says nothing.
        """
        return await self._store.load_settings() or self._defaults

    async def replace_settings(self, system: SystemSettings) -> SystemSettings:
        """
        Save the system settings, all of them.

        Raises:
            UnsafePath, OptionError: they cannot be used; the old ones stay.
        """
        await self._place("save_location", system.settings.save_location)
        await self._place("temp_directory", system.settings.temp_directory)
        await self._tools.plugins.check_options(system.plugins)
        await self._store.save_settings(system)
        return system

    def running(self) -> list[Task]:
        """
        Live snapshots of the tasks that download now.
        """
        return [run.live() for run in self._runs.values() if run.shows]

    def watch(self, told: Callable[[Task], None]) -> Callable[[], None]:
        """
        Call `told` at every transition and progress change; returns what ends that.
        """
        self._watchers.append(told)
        return lambda: self._watchers.remove(told)

    @property
    def default_save_location(self) -> str:
        """
        What an empty `save_location` means.
        """
        return self._default_save_location

    # -- States

    async def _amend(self, task_id: str, change: Callable[[Task], Task]) -> Task:
        """
        Store `change` of the current task, whoever else changes it meanwhile.
        """
        for _ in range(CAS_TRIES):
            task = await self._store.load(task_id)
            changed = change(task)
            if changed == task:
                return task
            try:
                stored = await self._store.replace(attrs.evolve(changed, updated_at=self._tools.wall()))
            except StaleTask:
                continue
            if (run := self._runs.get(task_id)) is not None:
                run.task = stored
            if stored.status is not task.status:
                self._announce(stored)
            return stored
        raise StaleTask(task_id=task_id)

    async def _step(self, task_id: str, event: Event) -> Task:
        def change(task: Task) -> Task:
            status = advance(task.status, event)
            if status is task.status:
                return task
            return self._at_step(attrs.evolve(task, status=status), previous=task.status)

        return await self._amend(task_id, change)

    def _at_step(self, task: Task, *, previous: Status) -> Task:
        """
        A task that has just come to another state, with what follows from that.
        """
        run = self._runs.get(task.id)
        resumed = previous is Status.FAILED and task.status is Status.WAITING
        return attrs.evolve(
            task,
            err_code="" if resumed else task.err_code,
            err_msg="" if resumed else task.err_msg,
            progress=_at_rest(task.progress if run is None else run.job.progress()),
        )

    def _announce(self, task: Task) -> None:
        """
        A task has a new state: tell who watches, and the hooks by way of the outbox.
        """
        self._show(task)
        in_background("telling plugins", self._tell())

    def _show(self, task: Task) -> None:
        for told in list(self._watchers):
            try:
                told(task)
            except Exception:  # the task's life is protected from whoever watches it
                log_failure("a watcher of tasks")

    async def _tell(self) -> None:
        """
        Tell the plugins what changed, or do it when the store is back.
        """
        try:
            await self._telling.catch_up()
        except STORE_TROUBLE as error:
            self._postpone(error)

    # -- Jobs

    def _wake(self) -> None:
        if self._active:
            in_background("starting tasks", self._fill())

    async def _fill(self) -> None:
        """
        Start waiting tasks while there are places.
        """
        await self._filling.acquire()
        try:
            waiting = await self._store.tasks(status=Status.WAITING, limit=self._max_active + len(self._runs))
            again = [task for task in await self._store.tasks_again() if task.again and not task.again.paused]
            for task in [*waiting, *again]:
                if len(self._runs) >= self._max_active or not self._active:
                    return
                if task.id not in self._runs:
                    await self._begin(task)
        except STORE_TROUBLE as error:
            self._postpone(error)
        finally:
            self._filling.release()

    async def _begin(self, task: Task) -> None:
        ledger = await self._store.segments(task.id)
        past = None
        try:
            if task.again is None:
                started = await self._step(task.id, Event.START)
            else:
                started = await self._store.load(task.id)
                if started.again is None or started.again.paused:
                    return
                past = Past(task=started, report=await self._store.report(task.id, started.output_id))
        except (InvalidTransition, TaskNotFound):
            return  # paused, deleted or changed meanwhile: whoever did it wakes us again
        run = Run(task=started, job=self._job(started, ledger, past), again=past is not None)
        self._runs[task.id] = run
        self._unsettled.discard(task.id)
        self.log.info("task {task} started", task=task.id)
        self._jobs[task.id] = in_background(f"task {task.id}", self._carry_out(run))

    def _job(self, task: Task, ledger: Iterable[SegmentRow] = (), past: Past | None = None) -> Job:
        return Job(task, self._tools, _Journal(self, task.id), ledger, past)

    def _cancel(self, run: Run) -> None:
        job = self._jobs.get(run.task.id)
        if job is not None:
            run.cancelled = True
            job.cancel()

    async def _carry_out(self, run: Run) -> None:
        """
        A job to its end, and what follows for the task.
        """
        task_id = run.task.id
        try:
            change = await self._outcome(run)
            if change is not None:
                await self._settle(run, change)
        finally:
            # Nothing is awaited here: a second cancel or a failing store would keep this task's place for ever.
            in_background("writing the ledger", self._flush(task_id))
            del self._runs[task_id]
            self._jobs.pop(task_id, None)
            run.ended.callback(None)
            self._wake()

    async def _outcome(self, run: Run) -> Callable[[Task], Task] | None:
        """
        Run the job; the answer is what its end changes in the task. None: somebody stopped it.
        """
        try:
            outcome = await run.job.run()
        except CancelledError:
            if not run.cancelled:  # something below us was cancelled that nobody here asked to stop
                return self._failed(run, M3u8svcError(reason="CancelledError"))
            self.log.info("task {task} stopped", task=run.task.id)
            return None
        except M3u8svcError as error:
            return self._failed(run, error)
        except (Exception, SystemExit) as error:  # a bug of ours fails one task, never the service
            log_failure(f"task {run.task.id}")
            return self._failed(run, M3u8svcError(reason=type(error).__name__))
        return self._completed(run, outcome)

    async def _settle(self, run: Run, change: Callable[[Task], Task]) -> None:
        """
        Store how a job ended. A task that was paused or deleted in the last moment stays so: its next run finds the
        result where this one put it.
        """
        task_id = run.task.id
        await self._flush(task_id)
        try:
            task = await self._amend(task_id, change)
        except (InvalidTransition, TaskNotFound):
            self.log.info("task {task} was changed in its last moment", task=task_id)
            return
        except STORE_TROUBLE as error:
            self._unsettled.add(task_id)
            self._postpone(error)
            return
        if task.status is Status.COMPLETED:
            if run.again:
                self._show(task)
                if task.again is None:
                    await self._clean_up(run.job.discard(keep_work=task.needs_work), task)
            else:
                self.log.info("task {task} completed: {size} bytes", task=task_id, size=task.size)
                if not task.needs_work:
                    await self._clean_up(run.job.clean_up(), task)

    def _completed(self, run: Run, outcome: Outcome) -> Callable[[Task], Task]:
        finished = self._tools.wall()

        def change(task: Task) -> Task:
            if run.again and task.again is None:
                raise InvalidTransition(current=task.status.value, wanted=Status.COMPLETED.value)
            missing = task.missing if task.again is None else task.again.missing
            return attrs.evolve(
                task,
                status=Status.COMPLETED if run.again else advance(task.status, Event.COMPLETE),
                missing=missing,
                again=None,
                output_id=task.output_id if task.again is None else task.again.output_id,
                completed_at=finished,
                err_code="",
                err_msg="",
                size=outcome.size_bytes,
                output=outcome.output,
                companions=outcome.companions,
                warnings=outcome.warnings,
                progress=attrs.evolve(_at_rest(run.job.progress()), percent=100, status_bar=missing),
            )

        return change

    def _failed(self, run: Run, error: M3u8svcError) -> Callable[[Task], Task]:
        level = self.log.error if error.fault is Fault.SERVICE else self.log.warn
        level("task {task} failed: {code} {error}", task=run.task.id, code=error.code, error=error.text("en"))

        def change(task: Task) -> Task:
            if run.again:
                return halt(task, error.text("zh")) if run.job.placed else give_up(task, error.text("zh"))
            return attrs.evolve(
                task,
                status=advance(task.status, Event.FAIL),
                err_code=error.code,
                err_msg=error.text("zh"),
                warnings=bounded(run.job.warnings),
                progress=_at_rest(run.job.progress()),
            )

        return change

    async def _erase(self, task: Task, *, with_files: bool = False) -> None:
        """
        The end of a deletion: the job ends, its files go, then the row. `with_files`: also what it published in its
        last moment.
        """
        run = self._runs.get(task.id)
        if run is not None:
            ended: Deferred[None] = Deferred()
            run.ended.chainDeferred(ended)
            await ended
        try:
            if with_files:
                await self._job(task).remove_output()
            await self._job(task).discard()
        except M3u8svcError as error:  # its row stays marked: the next start tries again
            self.log.error("task {task} cannot be removed: {error}", task=task.id, error=error.text("en"))
            return
        self._rows.pop(task.id, None)
        try:
            await self._telling.catch_up()  # what happened to it is told while there still is a task to tell of
            await self._store.delete(task.id)
        except STORE_TROUBLE as error:
            self._unerased[task.id] = task
            self._postpone(error)

    async def _clear(self, finished: list[Task]) -> None:
        """
        Work directories of tasks that were done when the process ended.
        """
        for task in finished:
            if await settled(self._tools.in_thread(os.path.lexists, work_path(task))):
                await self._clean_up(self._job(task).clean_up(), task)

    async def _clean_up(self, work: Coroutine[Any, Any, None], task: Task) -> None:
        try:
            await work
        except M3u8svcError as error:  # the task is done all the same; the next start tries again
            self.log.warn("task {task} left its work directory: {error}", task=task.id, error=error.text("en"))

    # -- Periodic work

    def _tick(self) -> None:
        for run in list(self._runs.values()):
            live = run.live()
            if live.progress != run.shown and run.shows:
                run.shown = live.progress
                self._show(live)

    def _flush_soon(self) -> None:
        if self._rows and not self._behind:
            in_background("writing the ledger", self._flush())

    async def _flush(self, task_id: str | None = None) -> None:
        for each in [task_id] if task_id is not None else list(self._rows):
            rows = self._rows.pop(each, None)
            if rows:
                try:
                    await self._store.record_segments(each, rows)
                except TaskNotFound:
                    continue  # deleted meanwhile: its ledger went with it
                except STORE_TROUBLE as error:
                    self._rows[each] = rows + self._rows[each]
                    self._postpone(error)

    def _catch_up_soon(self) -> None:
        if self._behind:
            self._behind = False
            in_background("catching up", self._catch_up())

    def _save_soon(self) -> None:
        reached = [(run.task.id, run.job.progress()) for run in self._runs.values() if not run.again]
        if reached:
            in_background("saving progress", self._save_progress(reached))

    async def _save_progress(self, reached: list[tuple[str, Progress]]) -> None:
        try:
            await self._store.save_progress([(task_id, _at_rest(progress)) for task_id, progress in reached])
        except STORE_TROUBLE as error:
            self._postpone(error)

    def _postpone(self, error: M3u8svcError) -> None:
        """
        The store failed where nobody waits for an answer: what was to be done is done when it is back.
        """
        if not self._behind:
            self.log.error(
                "the store fails, trying again in {seconds} s: {error}", seconds=CATCH_UP_S, error=error.text("en")
            )
        self._behind = True

    async def _catch_up(self) -> None:
        """
        Everything that may have been left undone while the store failed. Tasks whose end could not be stored wait once
        more: their next run finds what is done.
        """
        for task_id in self._unsettled - self._runs.keys():
            try:
                await self._step(task_id, Event.INTERRUPT)
            except (InvalidTransition, TaskNotFound):
                self.log.debug("task {task} was paused or deleted: nothing to settle", task=task_id)
            except STORE_TROUBLE as error:
                return self._postpone(error)
            self._unsettled.discard(task_id)
        for task_id in list(self._unerased):
            in_background(f"deleting task {task_id}", self._erase(self._unerased.pop(task_id)))
        await self._flush()
        await self._tell()
        self._wake()

    # -- Odds

    def record(self, task_id: str, row: SegmentRow) -> None:
        """
        Take a line of a task's ledger; it is stored within a quarter of a second.
        """
        self._rows[task_id].append(row)

    async def playlist_text(self, task_id: str) -> str:
        """
        The playlist that came with a task.
        """
        return await self._store.playlist_text(task_id)

    async def record_report(self, task_id: str, output_id: str, report: Report) -> None:
        """
        Store the report of a result that is about to be published, and what it lacks.
        """

        def change(task: Task) -> Task:
            if task.again is not None:
                return attrs.evolve(task, again=attrs.evolve(task.again, missing=report.missing))
            return attrs.evolve(task, missing=report.missing)

        await self._store.save_report(task_id, output_id, report)
        await self._amend(task_id, change)

    async def record_staged(
        self, task_id: str, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]
    ) -> None:
        """
        Store the identity of a file that is about to be published, those beside it, what there is to say about it.
        """

        def change(task: Task) -> Task:
            beside, said = tuple(companions), tuple(warnings)
            if task.again is None:
                return attrs.evolve(task, output_id=output_id, companions=beside, warnings=said)
            new = attrs.evolve(task.again, output_id=output_id, companions=beside, warnings=said)
            return attrs.evolve(task, again=new)

        await self._amend(task_id, change)

    def _live(self, task: Task) -> Task:
        run = self._runs.get(task.id)
        if run is None or not attrs.evolve(run, task=task).shows:
            return task
        return attrs.evolve(task, progress=run.job.progress())

    async def _place(self, field: str, location: str, *, by_operator: bool = False) -> str:
        """
        The absolute directory a location means, if results may lie there.
        """
        judged = self._tools.in_thread(judged_place, field, location, self._forbidden, by_operator=by_operator)
        place: str = await settled(judged)
        return place


@attrs.frozen
class _Journal:
    """
    A job's records, kept by the service.
    """

    _service: DownloadService
    _task_id: str

    def segment(self, row: SegmentRow) -> None:
        """A segment ended."""
        self._service.record(self._task_id, row)

    async def playlist_text(self) -> str:
        """The playlist that came with the task."""
        return await self._service.playlist_text(self._task_id)

    async def reported(self, output_id: str, report: Report) -> None:
        """What that file will hold and lack."""
        await self._service.record_report(self._task_id, output_id, report)

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """A file is about to be published."""
        await self._service.record_staged(self._task_id, output_id, companions, warnings)


def _at_rest(progress: Progress) -> Progress:
    """
    The same without a rate: a task that does not run has none.
    """
    return attrs.evolve(progress, speed=0.0, eta_s=None, status_bar=status_bar(progress.phase))


def _shown(task: Task) -> str:
    return f"{redact_url(task.spec.url)} as {result_name(task.spec)}"
