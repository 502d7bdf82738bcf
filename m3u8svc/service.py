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
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any  # Any: JSON values, and a coroutine's send and yield types

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from m3u8svc.checking import Checks, parts_published
from m3u8svc.counting import Traffic
from m3u8svc.degraded import Degraded
from m3u8svc.diskwatch import DiskWatch, places_of
from m3u8svc.download import segment_label
from m3u8svc.errors import (
    CannotVerify,
    DiskFull,
    DiskGone,
    FileGone,
    InvalidTransition,
    M3u8svcError,
    NoResultFile,
    NotThereYet,
    ReadOnlyDisk,
    ReportNotFound,
    ResultNotReady,
    SegmentAbsent,
    StaleTask,
    StoreError,
    TaskNotFound,
    TooManyFiles,
    UnsafePath,
)
from m3u8svc.hls.outline import Outline
from m3u8svc.hls.playlist import MAIN
from m3u8svc.job import Job, Tools, has_segments, leaves_no_segments, makes_file, work_path
from m3u8svc.pictures import Footage, Picture, Pictures
from m3u8svc.planning import plan_task
from m3u8svc.redact import redact_text, redact_url
from m3u8svc.replacing import Past
from m3u8svc.results import ResultFile, open_result
from m3u8svc.roots import Rules, judged_place
from m3u8svc.sandbox.level import Box
from m3u8svc.settling import Change, Run, as_ended, at_rest, clean_up, end_of, stopped_by, unstored
from m3u8svc.store import Store
from m3u8svc.tasks.again import change_task
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.creation import Creation
from m3u8svc.tasks.headers import are_public_suffixes_read, read_public_suffixes
from m3u8svc.tasks.ledger import Ledger, SegmentRow
from m3u8svc.tasks.lifecycle import Event, advance
from m3u8svc.tasks.livelog import Live, LiveLog
from m3u8svc.tasks.names import result_name
from m3u8svc.tasks.reserve import DISK_CODES
from m3u8svc.tasks.schedule import parse_schedule
from m3u8svc.tasks.search import Found, Overview, Search, Space
from m3u8svc.tasks.segmentmap import SegmentMap
from m3u8svc.tasks.task import CompanionFile, Progress, Status, SystemSettings, Task, TaskChange, TaskDraft, TaskSpec
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.telling import Telling
from m3u8svc.waiting import few_at_once, in_background, log_failure, settled
from m3u8svc.waitingroom import WaitingRoom
from m3u8svc.watching import (
    Sight,
    footage_at_end,
    footage_at_rest,
    footage_while_running,
    list_at_rest,
    list_while_running,
    map_at_end,
    map_at_rest,
    open_footage,
    open_piece,
    piece_at_rest,
    piece_while_running,
    sight_of,
)
from m3u8svc.wording import Said

TICK_S = 0.1
"""How often live progress is looked at: the WebSocket's ten messages a second."""
LEDGER_S = 0.25
PROGRESS_S = 5.0
CATCH_UP_S = 1.0
CATCH_UP_LIMIT_S = 5.0
"""How long at most until a store that fails is tried again."""
STORE = "store"
"""What a failing store is called among the reasons why the service is degraded."""
CAS_TRIES = 10
TIME_STEP_S = 0.001
"""How far apart two tasks are created at least, by the clock that lists go by."""
PLANS_AT_ONCE = 4
PLANS_WAITING = 32
CHECKS_WAITING = 8
MAPS_WAITING = 32
PICTURES_AT_ONCE = 2
PICTURES_WAITING = 64
READING = 4
"""Threads that read files for clients at once: disks that hang leave half of all to the downloads."""
LOGS_KEPT = 20
"""How many logs are kept in memory of tasks that do not run any more."""
SWEEP_S = 3600.0
"""How often what is only kept for a while is looked through."""
STOP_S = 3.0
"""How long a stop waits for jobs: the process shall be gone in five seconds."""
WHY_IT_GOES_ON = {
    DiskFull.code: "there is room on its disk again",
    DiskGone.code: "its disk is back",
    ReadOnlyDisk.code: "its disk can be written to again",
    TooManyFiles.code: "files can be opened again",
}
STORE_TROUBLE = (StoreError, DiskFull)
"""How the store says that it could not."""


class DownloadService:
    """
    Keeps at most `max_active` tasks downloading, in the order of the queue (`tasks.queue`).
    """

    log = Logger()

    def __init__(
        self,
        *,
        store: Store,
        tools: Tools,
        max_active: int,
        max_unfinished: int | None = None,
        default_save_location: str,
        defaults: SystemSettings,
        forbidden: tuple[Path, ...],
        new_id: Callable[[], str],
        save_roots: tuple[Path, ...] | None = None,
        disks: DiskWatch | None = None,
        degraded: Degraded | None = None,
        boxed: Callable[[Box], None] = lambda box: None,
    ) -> None:
        """
        Args:
            max_unfinished: how many tasks may wait, run or be paused before another is refused; None: any number.
            defaults: the system settings until somebody saves some.
            forbidden: our own directories, where nothing may be saved.
            new_id: makes the id of a task.
            save_roots: where alone results and segments may lie; None: anywhere else.
            disks: judges the disks of tasks, by default with the default reserve.
            degraded: is told while the store fails.
            boxed: is told of the box of every child that checks a file or makes a picture.
        """
        self._store = store
        self._tools = tools
        self._max_active = max_active
        self._max_unfinished = max_unfinished
        self._default_save_location = default_save_location
        self._defaults = defaults
        self._rules = Rules(ours=forbidden, roots=save_roots)
        self._new_id = new_id
        self._runs: dict[str, Run] = {}
        self._jobs: dict[str, Deferred[None]] = {}
        self._filling = DeferredLock()
        self._planning = WaitingRoom(places=PLANS_AT_ONCE, seats=PLANS_WAITING, retry_after_s=10)
        self._verifying = WaitingRoom(places=1, seats=CHECKS_WAITING, retry_after_s=60)
        self._in_reading = few_at_once(tools.in_thread, READING)
        self._picturing = WaitingRoom(places=PICTURES_AT_ONCE, seats=PICTURES_WAITING, retry_after_s=2)
        self._mapping = WaitingRoom(places=1, seats=MAPS_WAITING, retry_after_s=5)
        self._checks = Checks(boxed)
        self._pictures = Pictures(boxed)
        self._looking: Deferred[None] | None = None
        self._disks = disks or DiskWatch(clock=tools.clock, in_thread=tools.in_thread)
        self._telling = Telling(store, tools.plugins.hooks)
        self._watchers: list[Callable[[Task], None]] = []
        self._rows: defaultdict[str, list[SegmentRow]] = defaultdict(list)
        self._logs: dict[str, LiveLog] = {}
        """Of tasks that run and of some that did, the last one last."""
        self._newest = 0.0
        """When the newest task was created."""
        self._unsettled: dict[str, Change] = {}
        """How jobs ended whose end is not stored yet."""
        self._unerased: dict[str, Task] = {}
        self._degraded = degraded or Degraded(wall=tools.wall, probe=store.check)
        self._behind = False
        self._catching_up: Deferred[None] | None = None
        self._pause_s = CATCH_UP_S
        self._next_try = 0.0
        self._active = False
        self._loops: list[LoopingCall] = []

    # -- Life

    async def start(self) -> None:
        """
        Take up where the last process stopped: interrupted tasks wait again, half-done deletes are finished.
        """
        everything = await self._store.tasks(include_deleting=True)
        self._limit_rates(await self.system_settings())
        self._active = True
        self._newest = max((task.created_at for task in everything), default=self._newest)
        for task in everything:
            self._disks.note(task)
            if task.deleting:
                in_background(f"deleting task {task.id}", self._erase(task, with_files=bool(task.output)))
            elif task.status is Status.DOWNLOADING:
                await self._step(task.id, Event.INTERRUPT)
        for seconds, function in (
            (TICK_S, self._tick),
            (LEDGER_S, self._flush_soon),
            (CATCH_UP_S, self._catch_up_soon),
            (PROGRESS_S, self._save_soon),
            (SWEEP_S, self._sweep_soon),
            (self._disks.every_s, self._look_at_disks_soon),
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
        self._tools.throttle.stop()
        self._checks.stop()
        self._pictures.stop()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        await self._filling.acquire()  # a task that is just being started is among the runs after this
        self._filling.release()
        runs = list(self._runs.values())
        reached = self._reached(runs)
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

    async def prepared(self) -> None:
        """
        Return when headers can be judged at once.
        """
        if not are_public_suffixes_read():
            await settled(self._tools.in_thread(read_public_suffixes))

    async def create(self, draft: TaskDraft) -> Task:
        """
        A new task, stored when this returns.

        Raises:
            UnsafePath: a directory of the request is one of our own, or no place for results.
            OptionError: a plugin does not take its options.
            TooManyTasks: as many are not finished as may.
            StoreError: nothing was created.
        """
        task = await self._newborn(draft)
        await self._store.insert(task, draft.playlist, most=self._max_unfinished)
        self._welcome(task)
        return task

    async def create_once(self, draft: TaskDraft, creation: Creation) -> tuple[str, bool]:
        """
        As `create`, for a request that may come twice.

        Returns:
            The id of the task that it made, and whether it was made before. It may be deleted meanwhile.

        Raises:
            IdempotencyConflict: the request that made it said something else; besides what `create` raises.
        """
        earlier = await self._store.created(creation, now=self._tools.wall())
        if earlier:
            return earlier, True
        task = await self._newborn(draft)
        task_id = await self._store.insert(task, draft.playlist, creation=creation, most=self._max_unfinished)
        if task_id != task.id:
            return task_id, True
        self._welcome(task)
        return task_id, False

    async def _newborn(self, draft: TaskDraft) -> Task:
        spec = await self._spec(draft)
        # Later than every other, whatever the clock was set to since: the list and the queue go by it.
        self._newest = now = max(self._tools.wall(), self._newest + TIME_STEP_S)
        return Task(
            id=self._new_id(),
            spec=spec,
            created_at=now,
            updated_at=now,
            priority=draft.priority,
            place=now,
            warnings=spec.warnings,
        )

    def _welcome(self, task: Task) -> None:
        self.log.info("task {task} created: {url}", task=task.id, url=_shown(task))
        self._announce(task)
        self._wake()

    async def plan(self, draft: TaskDraft) -> Outline:
        """
        What a task of this request would do; nothing is stored, and nothing but playlists is fetched.

        Raises:
            M3u8svcError: `create` would refuse it, or the task would fail before its first segment.
            TooBusy: too many wait for the same.
        """
        task = Task(id=self._new_id(), spec=await self._spec(draft))
        async with self._planning.turn():
            return await plan_task(task, self._tools, draft.playlist)

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

    async def tasks(
        self,
        *,
        status: Status | None = None,
        limit: int | None = None,
        after: Task | None = None,
    ) -> list[Task]:
        """
        Tasks by creation, live; with `after`, those behind it.
        """
        return [self._live(task) for task in await self._store.tasks(status=status, limit=limit, after=after)]

    async def first_tasks(self, *, status: Status | None, limit: int, offset: int) -> tuple[int, list[Task]]:
        """
        How many tasks there are in a state, or in all, and the first of them by creation from `offset` on, live.
        """
        total, first = await self._store.first_tasks(status=status, limit=limit, offset=offset)
        return total, [self._live(task) for task in first]

    async def search(self, search: Search) -> Found:
        """
        Which tasks this finds. What it finds and sorts by is what is stored: of a running task, its progress of some
        seconds ago.
        """
        return await self._store.search(search)

    async def tasks_named(self, task_ids: Sequence[str]) -> list[Task]:
        """
        The tasks of these ids that are still there, in this order, live.
        """
        return [self._live(task) for task in await self._store.tasks_named(task_ids)]

    async def overview(self) -> Overview:
        """
        All tasks in a few numbers.
        """
        tally = await self._store.tally()
        return Overview(
            tally=tally,
            speed=sum(task.progress.speed for task in self.running()),
            limit_rate=self._tools.throttle.rate,
            disks=await self._space(),
        )

    async def _space(self) -> tuple[Space, ...]:
        """
        The room on each disk that tasks write to: those of the settings, and of the tasks that run.
        """
        settings = (await self.system_settings()).settings
        paths = [settings.save_location or self._default_save_location, settings.temp_directory]
        paths += [place.path for run in self._runs.values() for place in places_of(run.task)]
        return await self._disks.space([path for path in dict.fromkeys(paths) if path])

    async def queue(self) -> Mapping[str, int]:
        """
        Where each task that waits stands, by id and from 1: the order in which they start.
        """
        return await self._store.queue()

    async def change(self, task_id: str, change: TaskChange) -> Task:
        """
        Pause or resume, set other settings, make a finished task again: all that `change` says, or nothing.

        Raises:
            TaskNotFound, InvalidTransition, CannotRemake.
        """
        task = await self._amend(task_id, lambda task: self._changed(task, change), position=change.position)
        if "limit_rate" in change.extensions:
            self._tools.throttle.limit_task(task_id, task.spec.extensions.limit_rate)
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
            TooBusy: too many wait for the same.
        """
        task = await self._store.load(task_id)
        if task.status is not Status.COMPLETED or not os.path.isabs(task.output):
            raise CannotVerify(
                path=task.output or task.id,
                reason=Said("任务没有本机上的结果文件", "the task has no result file on this machine"),
            )
        report = await self._store.report(task_id, task.output_id)
        async with self._verifying.turn():
            summary = None if report is None else json.loads(report.summary)
            path = Path(task.output)
            parts = parts_published(path, task.companions)
            look = self._tools.in_thread(self._checks.check, path, summary, decode=decode, parts=parts)
            found: dict[str, Any] = await settled(look)
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

    async def segment_map(self, task_id: str) -> SegmentMap:
        """
        Where each segment of a task stands, as far as it is known.

        Raises:
            TaskNotFound.
            TooBusy: too many wait for the map of a task that does not run.
        """
        task = await self._store.load(task_id)
        run = self._runs.get(task_id)
        live = None if run is None else run.job.segment_map()
        if live is not None:
            return live
        async with self._mapping.turn():
            if task.status is Status.COMPLETED:
                report = await self._store.report(task_id, task.output_id)
                made = self._tools.in_thread(map_at_end, task, report) if report is not None else None
            else:
                made = self._tools.in_thread(map_at_rest, task, await self._store.segments(task_id))
            found: SegmentMap = SegmentMap() if made is None else await settled(made)
        return found

    async def look_at(self, task_id: str) -> Live:
        """
        What a task does now, and what it did lately; of one that does not run, what is still known.

        Raises:
            TaskNotFound.
        """
        task = await self.task(task_id)
        log, runs = self._logs.get(task_id), task_id in self._runs
        return Live(
            speeds=tuple(log.speeds()) if log is not None and runs else (),
            hosts=tuple(self._tools.hosts.standings(task_id)) if runs else (),
            lines=() if log is None else tuple(log.lines()),
            incidents=task.incidents,
        )

    async def result(self, task_id: str) -> ResultFile:
        """
        The file of a finished task, open to be read.

        Raises:
            TaskNotFound, ResultNotReady, FileGone.
            NoResultFile: its result is a directory, or is kept elsewhere.
        """
        task = await self._store.load(task_id)
        if task.status is not Status.COMPLETED:
            raise ResultNotReady()
        if not os.path.isabs(task.output):
            raise NoResultFile(path=redact_text(task.output), reason=Said("保存在别处", "it is kept elsewhere"))
        if not makes_file(task):
            raise NoResultFile(path=task.output, reason=Said("是分片目录", "it is a directory of segments"))
        file: ResultFile = await settled(self._in_reading(open_result, task.output, task.output_id, self._in_reading))
        return file

    async def playlist_to_watch(self, task_id: str, track: int | None) -> str:
        """
        A local playlist of the film of a task that runs, or has kept its segments: of one track, 0 the main one; or of
        all.

        Raises:
            TaskNotFound, NothingToWatch, WatchTheFile, SegmentAbsent.
            NotThereYet: the task runs and is not planned yet.
            TooBusy: too many wait for the same.
        """
        task = await self._store.load(task_id)
        run = self._runs.get(task_id)
        showing = None if run is None else run.job.showing()
        if showing is None and task.status is Status.DOWNLOADING:
            raise NotThereYet(what=Said("播放列表", "the playlist"))
        async with self._mapping.turn():
            if showing is not None:
                made = self._tools.in_thread(list_while_running, task_id, showing, track)
            else:
                made = self._tools.in_thread(list_at_rest, task, track)
            text: str = await settled(made)
        return text

    async def piece_to_watch(self, task_id: str, wanted: Wanted) -> tuple[ResultFile, str]:
        """
        A segment of that film, or its init section, open to be read, and what media it is. One that is not there yet is
        fetched next, and waited for. May be cancelled.

        Raises:
            TaskNotFound, NothingToWatch, WatchTheFile, SegmentAbsent, TooBusy.
            NotThereYet: it did not come in time.
        """
        task = await self._store.load(task_id)
        run = self._runs.get(task_id)
        showing = None if run is None else run.job.showing()
        if showing is not None:
            piece = await piece_while_running(showing, wanted, self._tools.clock)
        elif task.status is Status.DOWNLOADING:
            raise NotThereYet(what=Said("播放列表", "the playlist"))
        else:
            piece = await settled(self._in_reading(piece_at_rest, task, wanted))
        file: ResultFile = await settled(self._in_reading(open_piece, piece.path, self._in_reading))
        return file, piece.media

    async def picture(self, task_id: str, position: int) -> bytes:
        """
        A small JPEG of a segment of the main track, wherever that is now: in the work directory, kept, or in the
        result. Nothing is fetched for it. May be cancelled.

        Raises:
            TaskNotFound, SegmentAbsent, NoPicture, FileGone.
            NotThereYet: the task runs, and has it not yet.
            TooBusy: too many wait for the same.
        """
        name = segment_label(MAIN, position)
        sight = await self._sight(task_id, position)
        if (known := self._pictures.known(sight.key)) is not None:
            return known.shown(name)
        async with self._picturing.turn():
            made = await self._picture(task_id, position)
        return made.shown(name)

    async def _picture(self, task_id: str, position: int) -> Picture:
        sight = await self._sight(task_id, position)  # it may lie elsewhere now than when we began to wait
        try:
            return await self._developed(sight)
        except (NotThereYet, SegmentAbsent, FileGone):  # or than when we looked
            now = await self._sight(task_id, position)
            if now == sight:
                raise
            return await self._developed(now)

    async def _sight(self, task_id: str, position: int) -> Sight:
        """
        Where a picture is to come from, now.
        """
        task = await self._store.load(task_id)
        run = self._runs.get(task_id)
        is_done = task.status is Status.COMPLETED and task.again is None
        showing = None if run is None or is_done else run.job.showing()
        if showing is None and task.status is Status.DOWNLOADING:
            raise NotThereYet(what=Said("播放列表", "the playlist"))
        footage = None if showing is None else footage_while_running(showing, position)
        return sight_of(task, position, footage)

    async def _developed(self, sight: Sight) -> Picture:
        if (known := self._pictures.known(sight.key)) is not None:  # whoever was before us asked for the same
            return known
        task, footage = sight.task, sight.footage
        if footage is None and task.status is Status.COMPLETED:
            report = await self._store.report(task.id, task.output_id)
            footage = await settled(self._in_reading(footage_at_end, task, sight.position, report))
        elif footage is None:
            footage = await settled(self._in_reading(footage_at_rest, task, sight.position))
        made: Picture = await settled(self._in_reading(self._make_picture, sight, footage))
        return made

    def _make_picture(self, sight: Sight, footage: Footage) -> Picture:
        """
        Blocking.
        """
        media, init = open_footage(footage, self._in_reading)
        try:
            key = sight.key_of(media)
            return self._pictures.known(key) or self._pictures.make(key, footage, media, init)
        finally:
            for file in (media, init):
                if file is not None:
                    file.close()

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
        self._limit_rates(system)
        return system

    def _limit_rates(self, system: SystemSettings) -> None:
        """
        The limits of the service are these from now on.
        """
        self._tools.throttle.limit_everything(system.limit_rate, parse_schedule(system.limit_schedule))
        self._tools.throttle.limit_hosts(system.limit_rate_per_host)

    def running(self) -> list[Task]:
        """
        Live snapshots of the tasks that download now.
        """
        return [run.live() for run in self._runs.values() if run.shows]

    def traffic(self) -> Traffic:
        """
        What came from all hosts, and who is asked now.
        """
        return self._tools.hosts.traffic()

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

    async def _amend(self, task_id: str, change: Change, *, position: int = 0) -> Task:
        """
        Store `change` of the current task, whoever else changes it meanwhile, at `position` of the queue if that is
        not 0.
        """
        for _ in range(CAS_TRIES):
            task = await self._store.load(task_id)
            changed = change(task)
            if changed == task and not position:
                return task
            now = self._tools.wall()
            try:
                stored = await self._store.replace(attrs.evolve(changed, updated_at=now), position=position, now=now)
            except StaleTask:
                continue
            if (run := self._runs.get(task_id)) is not None:
                run.task = stored
            self._disks.note(stored)
            if stored.status is not task.status:
                self._announce(stored)
            return stored
        raise StaleTask(task_id=task_id)

    async def _step(self, task_id: str, event: Event, **beside: Any) -> Task:
        def change(task: Task) -> Task:
            status = advance(task.status, event)
            if status is task.status:
                return task
            return self._at_step(attrs.evolve(task, status=status, **beside), previous=task.status)

        return await self._amend(task_id, change)

    def _at_step(self, task: Task, *, previous: Status) -> Task:
        """
        A task that has just come to another state, with what follows from that.
        """
        run = self._runs.get(task.id)
        resumed = previous in (Status.FAILED, Status.PAUSED) and task.status is Status.WAITING
        return attrs.evolve(
            task,
            held="" if resumed else task.held,
            err_code="" if resumed else task.err_code,
            err_msg="" if resumed else task.err_msg,
            err_url="" if resumed else task.err_url,
            incidents=task.incidents if run is None else run.job.incidents,
            progress=at_rest(task.progress if run is None else run.job.progress()),
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
            while await self._start_some():
                pass
        except STORE_TROUBLE as error:
            self._postpone(error)
        finally:
            self._filling.release()

    async def _start_some(self) -> bool:
        """
        Start the first waiting tasks; whether one of them was held instead, so that it is the turn of those behind it.
        """
        if len(self._runs) >= self._max_active:
            return False  # whoever ends asks again
        waiting = await self._store.waiting(self._max_active + len(self._runs))
        again = [task for task in await self._store.tasks_again() if task.again and not task.again.paused]
        held = False
        for task in [*waiting, *again]:
            if len(self._runs) >= self._max_active or not self._active:
                return False
            if task.id not in self._runs:
                held = not await self._begin(task) or held
        return held

    async def _begin(self, task: Task) -> bool:
        """
        Start a task; False: it is held instead.
        """
        await self.prepared()
        ledger = await self._store.segments(task.id)
        past = None
        try:
            if task.again is None:
                footing = await self._disks.footing(task)
                if footing.trouble is not None and footing.trouble.holds:
                    await self._hold(task, footing.trouble)
                    return False
                started = await self._step(task.id, Event.START, mounts=footing.mounts)
            else:
                report = await self._store.report(task.id, task.output_id)
                started = await self._store.load(task.id)  # last: who changes it from here on finds its run
                if started.again is None or started.again.paused or started.output_id != task.output_id:
                    return True
                past = Past(task=started, report=report)
        except (InvalidTransition, TaskNotFound):
            return True  # paused, deleted or changed meanwhile: whoever did it wakes us again
        job = self._job(started, ledger, past, self._log_of(task.id))
        run = Run(task=started, job=job, again=past is not None)
        self._runs[task.id] = run
        self._unsettled.pop(task.id, None)
        self.log.info("task {task} started", task=task.id)
        self._jobs[task.id] = in_background(f"task {task.id}", self._carry_out(run))
        return True

    def _job(
        self, task: Task, ledger: Ledger | None = None, past: Past | None = None, live: LiveLog | None = None
    ) -> Job:
        return Job(task, self._tools, _Journal(self, task.id), ledger or (), past, self._rules, live)

    def _log_of(self, task_id: str) -> LiveLog:
        """
        The log of a task that starts: that of its earlier runs, as long as it is among the last ones.
        """
        log = self._logs.pop(task_id, None) or LiveLog(now=self._tools.clock.seconds, wall=self._tools.wall)
        for other in [each for each in self._logs if each not in self._runs][:-LOGS_KEPT]:
            del self._logs[other]
        self._logs[task_id] = log
        return log

    def _cancel(self, run: Run) -> None:
        """
        Stop a job, unless it is over: then the storing of its end would be stopped, and the task be left in between.
        """
        job = self._jobs.get(run.task.id)
        if job is not None and not run.over:
            run.cancelled = True
            job.cancel()

    async def _carry_out(self, run: Run) -> None:
        """
        A job to its end, and what follows for the task.
        """
        task_id = run.task.id
        try:
            change = await end_of(run, self._tools.wall)
            run.over = True
            if change is not None:
                await self._settle(run, change)
        finally:
            # Nothing is awaited here: a second cancel or a failing store would keep this task's place for ever.
            in_background("writing the ledger", self._flush(task_id))
            in_background("saving incidents", self._save_incidents([run]))
            del self._runs[task_id]
            self._jobs.pop(task_id, None)
            run.ended.callback(None)
            self._wake()

    async def _settle(self, run: Run, change: Change) -> None:
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
            self._unsettled[task_id] = unstored(run, change)
            self._postpone(error)
            self._show(self._live(run.task))
            return
        if task.held in DISK_CODES:  # others write there, too; it goes on when the disk was looked at a while later
            self._look_at_disks_soon(release=False)
        if task.status is Status.COMPLETED:
            if run.again:
                self._show(task)
                if task.again is None:
                    await clean_up(run.job.discard(keep_work=task.needs_work), task)
                    await self._forget_ledger(task)
            else:
                self.log.info("task {task} completed: {size} bytes", task=task_id, size=task.size)
                if not task.needs_work:
                    await clean_up(run.job.clean_up(), task)
                await self._forget_ledger(task)

    async def _forget_ledger(self, task: Task) -> None:
        """
        A finished task has its report; what is recorded of its segments is of use only as long as their files are.
        """
        if not leaves_no_segments(task):
            return
        self._rows.pop(task.id, None)
        try:
            await self._store.forget_segments([task.id])
        except STORE_TROUBLE as error:  # the next start forgets them
            self._postpone(error)

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
                await self._unless_linked(task, self._job(task).remove_output())
            await self._unless_linked(task, self._job(task).discard())
        except M3u8svcError as error:  # its row stays marked: the next start tries again
            self.log.error("task {task} cannot be removed: {error}", task=task.id, error=error.text("en"))
            return
        self._rows.pop(task.id, None)
        self._logs.pop(task.id, None)
        self._tools.throttle.end_task(task.id)
        try:
            await self._telling.catch_up()  # what happened to it is told while there still is a task to tell of
            await self._store.delete(task.id)
        except STORE_TROUBLE as error:
            self._unerased[task.id] = task
            self._postpone(error)

    async def _unless_linked(self, task: Task, removal: Coroutine[Any, Any, None]) -> None:
        """
        Remove what can be reached. What somebody put a link in front of is left, and the task goes all the same.
        """
        try:
            await removal
        except UnsafePath as error:
            self.log.warn("task {task}: its files are left: {error}", task=task.id, error=error.text("en"))

    async def _clear(self, finished: list[Task]) -> None:
        """
        Work directories of tasks that were done when the process ended.
        """
        try:
            await self._store.forget_segments([task.id for task in finished if leaves_no_segments(task)])
        except STORE_TROUBLE as error:
            self.log.warn("old ledgers are not forgotten yet: {error}", error=error.text("en"))
        for task_id in await settled(self._tools.in_thread(_with_work, finished)):
            await self._clear_one(task_id)

    async def _clear_one(self, task_id: str) -> None:
        """
        The work directory of one of them, unless it is to be made again by now: then it is of use, or in use.
        """
        await self._filling.acquire()  # nobody is started meanwhile
        try:
            task = await self._store.load(task_id)
            if self._active and not task.needs_work and task_id not in self._runs:
                await clean_up(self._job(task).clean_up(), task)
        except TaskNotFound:
            return  # deleted meanwhile, and its work directory with it
        except STORE_TROUBLE as error:
            self.log.warn("task {task} is not cleared yet: {error}", task=task_id, error=error.text("en"))
        finally:
            self._filling.release()

    # -- Disks

    async def _hold(self, task: Task, error: M3u8svcError) -> None:
        """
        Pause a waiting task for what is in its way.

        Raises:
            InvalidTransition, TaskNotFound: it does not wait any more.
        """
        at = self._tools.wall()
        await self._amend(task.id, lambda task: stopped_by(task, error, at=at))
        self.log.warn("task {task} is held: {code} {error}", task=task.id, code=error.code, error=error.text("en"))

    async def _look_at_disks(self, *, release: bool) -> None:
        """
        Hold the running tasks whose disks are in trouble, and let those go on whose disks are back. Without `release`
        none goes on: one that has just failed has made some room by that, which does not mean enough.
        """
        for run in [each for each in self._runs.values() if each.shows and not each.again]:
            trouble = (await self._disks.footing(run.task)).trouble
            if trouble is not None and trouble.holds and not run.cancelled:
                run.in_the_way = trouble
                self._cancel(run)
        try:
            for task_id in await self._disks.returned() if release else ():
                await self._release(task_id)
        except STORE_TROUBLE as error:
            self._postpone(error)
        self._wake()

    async def _release(self, task_id: str) -> None:
        held = ""

        def change(task: Task) -> Task:
            nonlocal held
            held = task.held
            if task.held not in DISK_CODES:  # somebody paused it meanwhile, or it runs: what is theirs stays
                return task
            return self._at_step(attrs.evolve(task, status=advance(task.status, Event.RELEASE)), previous=task.status)

        try:
            task = await self._amend(task_id, change)
        except TaskNotFound:
            return
        if task.status is Status.WAITING:
            self.log.info("task {task} goes on: {why}", task=task_id, why=WHY_IT_GOES_ON[held])

    def _look_at_disks_soon(self, *, release: bool = True) -> None:
        if self._looking is None:
            self._looking = in_background("looking at disks", self._look_at_disks(release=release))
            self._looking.addBoth(self._looked)

    def _looked(self, result: object) -> None:
        self._looking = None

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
        if self._behind and self._catching_up is None and self._tools.clock.seconds() >= self._next_try:
            self._catching_up = in_background("catching up", self._catch_up())
            self._catching_up.addBoth(self._caught_up)

    def _caught_up(self, result: object) -> None:
        self._catching_up = None

    def _sweep_soon(self) -> None:
        in_background("forgetting old requests", self._sweep())

    async def _sweep(self) -> None:
        try:
            await self._store.forget_creations(now=self._tools.wall())
        except STORE_TROUBLE as error:
            self.log.warn("old requests are not forgotten yet: {error}", error=error.text("en"))

    def _save_soon(self) -> None:
        reached = self._reached(self._runs.values())
        if reached and not self._behind:
            in_background("saving progress", self._save_progress(reached))
        in_background("saving incidents", self._save_incidents(list(self._runs.values())))

    def _reached(self, runs: Iterable[Run]) -> list[tuple[str, Progress]]:
        """
        How far these are. Of a job that is over, its task says so itself.
        """
        return [(run.task.id, run.job.progress()) for run in runs if not run.again and not run.over]

    async def _save_progress(self, reached: list[tuple[str, Progress]]) -> None:
        try:
            await self._store.save_progress([(task_id, at_rest(progress)) for task_id, progress in reached])
        except STORE_TROUBLE as error:
            self._postpone(error)

    async def _save_incidents(self, runs: list[Run]) -> None:
        """
        Store what went wrong with tasks, where it is not stored yet.
        """
        new = [(run, run.job.incidents) for run in runs if run.job.incidents != run.task.incidents]
        try:
            await self._store.save_incidents([(run.task.id, incidents) for run, incidents in new])
        except STORE_TROUBLE as error:
            return self._postpone(error)
        for run, incidents in new:
            run.task = attrs.evolve(run.task, incidents=incidents)

    def _postpone(self, error: M3u8svcError) -> None:
        """
        The store failed where nobody waits for an answer: what was to be done is done when it is back.
        """
        if not self._behind:
            self._behind = True
            self._pause_s = CATCH_UP_S
            self._next_try = self._tools.clock.seconds() + self._pause_s
        self._degraded.say(STORE, error)

    async def _catch_up(self) -> None:
        """
        Everything that may have been left undone while the store failed, once it does not. Tasks that were done wait
        once more: their next run finds what is done.
        """
        try:
            await self._store.check()
        except STORE_TROUBLE as error:
            self._pause_s = min(2 * self._pause_s, CATCH_UP_LIMIT_S)
            self._next_try = self._tools.clock.seconds() + self._pause_s
            self._degraded.say(STORE, error)
            return
        self._behind = False
        for task_id in self._unsettled.keys() - self._runs.keys():
            try:
                await self._amend(task_id, self._unsettled[task_id])
            except (InvalidTransition, TaskNotFound):
                self.log.debug("task {task} was paused or deleted: nothing to settle", task=task_id)
            except STORE_TROUBLE as error:
                return self._postpone(error)
            self._unsettled.pop(task_id, None)
        for task_id in list(self._unerased):
            in_background(f"deleting task {task_id}", self._erase(self._unerased.pop(task_id)))
        await self._flush()
        await self._tell()
        if not self._behind:
            self._degraded.over(STORE)
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
        if task.id in self._unsettled:
            return as_ended(task, self._unsettled[task.id])
        run = self._runs.get(task.id)
        if run is None or not attrs.evolve(run, task=task).shows:
            return task
        return attrs.evolve(task, progress=run.job.progress(), incidents=run.job.incidents)

    async def _place(self, field: str, location: str, *, by_operator: bool = False) -> str:
        """
        The directory a location means, absolute and without links, if results may lie there; "" for "".
        """
        if not location:  # most requests name none, and the threads may be busy
            return ""
        judged = self._tools.in_thread(judged_place, field, location, self._rules, by_operator=by_operator)
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


def _with_work(tasks: Iterable[Task]) -> list[str]:
    """
    Those of these tasks that have a work directory. Blocking.
    """
    return [task.id for task in tasks if os.path.lexists(work_path(task))]


def _shown(task: Task) -> str:
    return f"{redact_url(task.spec.url)} as {result_name(task.spec)}"
