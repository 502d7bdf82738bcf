"""
The queue: what the API may ask at any moment, and what follows, with a real store and real downloads.
"""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from m3u8svc.builtin.agent import DirectAgent
from m3u8svc.builtin.disk import DiskPlugin, DiskStorage
from m3u8svc.builtin.failures import RetryPolicy
from m3u8svc.builtin.mp4 import Mp4Plugin
from m3u8svc.builtin.skip import SkipExpression
from m3u8svc.builtin.ts import TsPlugin
from m3u8svc.builtin.variant import ChosenVariant
from m3u8svc.connections import Connections
from m3u8svc.diskwatch import DiskWatch
from m3u8svc.errors import (
    DatabaseLocked,
    DiskFull,
    FetchTimeout,
    FileGone,
    IdempotencyConflict,
    InvalidTransition,
    M3u8svcError,
    NoResultFile,
    NoSuchVariant,
    NothingToDownload,
    NotOffered,
    NotThereYet,
    ResultNotReady,
    SeparateAudio,
    StoreError,
    TaskNotFound,
    TooBusy,
    TooManyTasks,
    UnsafePath,
)
from m3u8svc.fetch import Fetcher
from m3u8svc.hls.playlist import MAIN
from m3u8svc.hooks import BUILTIN_PREFIX
from m3u8svc.job import Tools, work_path
from m3u8svc.loading import load_builtins
from m3u8svc.merge import Muxing
from m3u8svc.offerings import MediaFile
from m3u8svc.planning import TOTAL_S
from m3u8svc.plugin import hookimpl
from m3u8svc.results import ResultFile
from m3u8svc.service import (
    LOGS_KEPT,
    PICTURES_AT_ONCE,
    PICTURES_WAITING,
    PLANS_AT_ONCE,
    PLANS_WAITING,
    READING,
    STOP_S,
    SWEEP_S,
    DownloadService,
)
from m3u8svc.store import Store
from m3u8svc.tap import boot_id, disk_threads
from m3u8svc.tasks import headers
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.creation import Creation
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.livelog import Live
from m3u8svc.tasks.queue import LAST as END
from m3u8svc.tasks.reserve import Disk, Reserve
from m3u8svc.tasks.search import Found, Search, Sort
from m3u8svc.tasks.task import Progress, Settings, Status, SystemSettings, Task, TaskChange, TaskDraft, TaskSpec
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import RenditionLine, SegmentLine, VariantLine, master_playlist, media_playlist
from m3u8svc.throttle import Throttle
from m3u8svc.waiting import InThread
from tests.needs import memory_disk
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
COUNT = 4
LAST = f"s{COUNT - 1}"
WAITING, DOWNLOADING, PAUSED, COMPLETED, FAILED = Status
PAUSE, RESUME = TaskChange(status=PAUSED), TaskChange(status=WAITING)
HANG = "hang=body&times=1"

test = pytest_twisted.ensureDeferred


class TroubledStore(Store):
    """
    A store that fails where a test says: the names in `failing`; `before` is awaited ahead of a call of that name.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, reactor=reactor)
        self.failing: set[str] = set()
        self.trouble: Exception = StoreError(reason="the disk is gone")
        self.before: dict[str, Callable[[Any], Awaitable[None]]] = {}

    async def _trouble(self, name: str, argument: Any = None) -> None:
        if name in self.before:
            await self.before[name](argument)
        if name in self.failing:
            raise self.trouble

    async def insert(self, task: Task, playlist: str = "", **options: Any) -> str:
        await self._trouble("insert")
        return await super().insert(task, playlist, **options)

    async def load(self, task_id: str, **options: Any) -> Task:
        await self._trouble("load", task_id)
        return await super().load(task_id, **options)

    async def tasks(self, **options: Any) -> list[Task]:
        await self._trouble("tasks")
        return await super().tasks(**options)

    async def waiting(self, limit: int | None = None) -> list[Task]:
        await self._trouble("waiting")
        return await super().waiting(limit)

    async def replace(self, task: Task, **moved: Any) -> Task:
        await self._trouble("replace", task)
        await self._trouble(f"replace {task.status.name}", task)
        return await super().replace(task, **moved)

    async def delete(self, task_id: str) -> None:
        await self._trouble("delete")
        await super().delete(task_id)

    async def record_segments(self, task_id: str, segments: Iterable[SegmentRow]) -> None:
        await self._trouble("record_segments")
        await super().record_segments(task_id, segments)

    async def save_report(self, task_id: str, output_id: str, report: Report) -> None:
        await self._trouble("save_report")
        await super().save_report(task_id, output_id, report)

    async def forget_segments(self, task_ids: Iterable[str]) -> None:
        await self._trouble("forget_segments")
        await super().forget_segments(task_ids)

    async def report(self, task_id: str, output_id: str) -> Report | None:
        await self._trouble("report")
        return await super().report(task_id, output_id)

    async def save_progress(self, progress: Iterable[tuple[str, Progress]]) -> None:
        await self._trouble("save_progress")
        await super().save_progress(progress)

    async def forget_events(self, ids: Iterable[int]) -> bool:
        await self._trouble("forget_events")
        return await super().forget_events(ids)


class Listener:
    """A plugin that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Status | None, Status]] = []

    @hookimpl
    def task_changed(self, task: Task, previous: Task | None) -> None:
        """A transition."""
        self.told.append((task.id, None if previous is None else previous.status, task.status))


@attrs.define(kw_only=True)
class Bench:
    """What a test works with. `service` is not started yet."""

    origin: Origin
    tools: Tools
    store: TroubledStore
    folder: Path
    listener: Listener
    service: DownloadService
    builtins: list[object] = attrs.field(factory=list)
    seen: list[tuple[str, Status]] = attrs.field(factory=list)
    """Every state that a watcher saw."""

    @property
    def save(self) -> Path:
        """Where files go."""
        return self.folder / "save"

    def draft(self, name: str, **tweaks: str) -> TaskDraft:
        """A request for the stream under this name; `s3="hang=body"` tweaks the segment with that number, from 0."""
        lines = [SegmentLine(uri=f"{n}.ts?for={name}&{tweaks.get(f's{n}', '')}", duration_s=1.0) for n in range(COUNT)]
        self.origin.put(f"/{name}.m3u8", media_playlist(lines).encode())
        return TaskDraft(url=self.origin.url(f"/{name}.m3u8"), filename=name)

    async def create(self, name: str = "film", **tweaks: str) -> Task:
        """A task for it."""
        return await self.service.create(self.draft(name, **tweaks))

    def fetched(self, name: str = "film") -> list[int]:
        """How often each segment was asked for under this name."""
        paths = Counter(visit.path for visit in self.origin.visits() if visit.query.startswith(f"for={name}&"))
        return [paths[f"/{number}.ts"] for number in range(COUNT)]

    async def until_status(self, task: Task, status: Status) -> Task:
        """Wait for this state."""

        async def reached() -> bool:
            return (await self.service.task(task.id)).status is status

        await until(reached)
        return await self.service.task(task.id)

    async def until_some_on_disk(self, task: Task) -> None:
        """Wait until all segments but one are there, synced or not."""
        work = work_path(task)
        await until(lambda: COUNT - 1 == len({name[:8] for name in os.listdir(work) if ".ts" in name}))

    async def until_some_finished(self, task: Task, count: int = 1) -> None:
        """Wait until that many segments are there, and known to be, and the muxing child is at work."""
        work = work_path(task)
        await until(lambda: work.is_dir() and count == sum(name.endswith(".new") for name in os.listdir(work)))
        await until(lambda: (self.save / f".{task.id}.part.mp4").exists())

        async def counted() -> bool:
            return count <= (await self.service.task(task.id)).progress.segments_done

        await until(counted)


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A short real stream: TS segments of 1 s."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("needs ffmpeg") if os.environ.get("CI") == "true" else pytest.skip("needs ffmpeg")
    folder = tmp_path_factory.mktemp("stream")
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-t", str(COUNT), "-c:v", "libx264", "-g", "25"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *source, *hls, str(folder / "list.m3u8")], check=True)
    return [(folder / f"{number}.ts").read_bytes() for number in range(COUNT)]


@pytest_twisted.async_yield_fixture
async def bench(segments: list[bytes], tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """An origin, a store, a service for two tasks at once. A test may ask for another database than a file."""
    origin = await Origin.start(reactor)
    for number, content in enumerate(segments):
        origin.put(f"/{number}.ts", content, content_type="video/mp2t")
    in_thread, stop_threads = disk_threads(reactor)
    connections = Connections(reactor)
    listener = Listener()
    builtins = [
        DirectAgent(connections),
        RetryPolicy(lambda: 0.1),
        SkipExpression(in_thread),
        ChosenVariant(),
        DiskPlugin(DiskStorage(in_thread)),
        Mp4Plugin(Muxing(reactor=reactor, in_thread=in_thread)),
        TsPlugin(in_thread),
        listener,
    ]
    tools = Tools(
        clock=reactor,
        wall=iter(range(1000, 10**6)).__next__,
        chance=lambda: 0.1,
        in_thread=in_thread,
        fetcher=Fetcher(clock=reactor, wall=lambda: 0.0),
        plugins=load_builtins(builtins, clock=reactor),
        direct_agent=connections.agent(False),
        boot_id=boot_id(),
    )
    (tmp_path / "home").mkdir()
    store = TroubledStore(getattr(request, "param", f"sqlite:///{tmp_path}/home/tasks.sqlite3"))
    await store.open()
    service = make_service(store, tools, tmp_path)
    bench = Bench(
        origin=origin, tools=tools, store=store, folder=tmp_path, listener=listener, service=service, builtins=builtins
    )
    service.watch(lambda task: bench.seen.append((task.id, task.status)))
    yield bench
    store.failing.clear()
    store.before.clear()
    await bench.service.stop()
    await store.close()
    await connections.close()
    stop_threads()
    await origin.stop()


def make_service(
    store: Store,
    tools: Tools,
    folder: Path,
    *,
    max_active: int = 2,
    max_unfinished: int | None = None,
    disks: DiskWatch | None = None,
) -> DownloadService:
    """A service over this store."""
    return DownloadService(
        store=store,
        tools=tools,
        max_active=max_active,
        max_unfinished=max_unfinished,
        default_save_location=str(folder / "save"),
        defaults=SystemSettings(),
        forbidden=(folder / "home",),
        new_id=(f"task{number}" for number in range(1, 1000)).__next__,
        disks=disks,
    )


def system(**settings: Any) -> SystemSettings:
    """System settings."""
    return SystemSettings(settings=Settings(**settings))


def muxers() -> list[int]:
    """The muxing children of this process."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if b"m3u8svc.mux" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# -- The queue -------------------------------------------------------------------------------------------------------


@test
async def test_tasks_run_in_order_of_creation(bench: Bench) -> None:
    """At most `max_active` at once, the oldest first, and each goes through its three states."""
    most = 0

    def count(task: Task) -> None:
        nonlocal most
        most = max(most, len(bench.service.running()))

    bench.service.watch(count)
    tasks = [await bench.create(f"film{number}") for number in range(4)]
    await bench.service.start()
    for task in tasks:
        await bench.until_status(task, COMPLETED)
    assert 2 == most
    assert [task.id for task in tasks] == [
        task_id for task_id, _, status in bench.listener.told if status is DOWNLOADING
    ]
    transitions = list(dict.fromkeys(bench.seen))
    for task in tasks:
        assert [WAITING, DOWNLOADING, COMPLETED] == [status for task_id, status in transitions if task_id == task.id]


@test
async def test_whose_a_domain_is_is_read_by_a_thread(bench: Bench) -> None:
    """Once in a process, before the first task that may need it starts."""
    called = []

    def recorded(function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        called.append(function)
        return bench.tools.in_thread(function, *arguments, **named)

    service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=recorded), bench.folder)
    headers._public_suffixes.cache_clear()
    await service.prepared()
    assert headers.are_public_suffixes_read()
    await service.prepared()
    assert [headers.read_public_suffixes] == called
    headers._public_suffixes.cache_clear()
    task = await bench.create()
    await bench.service.start()
    await bench.until_status(task, COMPLETED)
    assert headers.are_public_suffixes_read()


@test
async def test_a_finished_task_says_what_it_made(bench: Bench) -> None:
    """Size, output, percent and time of completion are stored, and nothing but the file is left."""
    await bench.service.start()
    task = await bench.until_status(await bench.create(), COMPLETED)
    assert (str(bench.save / "film.mp4"), (bench.save / "film.mp4").stat().st_size) == (task.output, task.size)
    assert (100, "", "") == (task.progress.percent, task.progress.status_bar, task.err_msg)
    assert task.completed_at is not None and task.completed_at > task.created_at
    await until(lambda: ["film.mp4"] == os.listdir(bench.save))


@test
async def test_a_pasted_playlist_is_a_task(bench: Bench) -> None:
    """Its text is read from the store, after a restart too; nothing asks for the address it came from."""
    lines = [SegmentLine(uri=f"{n}.ts?for=film&", duration_s=1.0) for n in range(COUNT)]
    text = media_playlist(lines)
    draft = TaskDraft(url=bench.origin.url("/gone/film.m3u8"), filename="", playlist=text)
    draft = attrs.evolve(draft, extensions={"base_url": bench.origin.url("/")})
    task = await bench.service.create(draft)
    assert len(text) == (await bench.service.task(task.id)).spec.playlist_bytes
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    task = await bench.until_status(task, COMPLETED)
    assert (str(bench.save / "film.mp4"), [1] * COUNT) == (task.output, bench.fetched())
    assert 0 == bench.origin.count("/gone/film.m3u8")


@test
async def test_groups_that_are_not_kept_are_skipped(bench: Bench) -> None:
    """By the numbers of the plan."""
    lines = [SegmentLine(uri=f"{n}.ts?for=film&", duration_s=1.0, discontinuity=n in (1, 3)) for n in range(COUNT)]
    bench.origin.put("/film.m3u8", media_playlist(lines).encode())
    draft = TaskDraft(url=bench.origin.url("/film.m3u8"), filename="film", extensions={"groups": "1,3,9"})
    beyond = "groups: 没有第 9 组，播放列表共有 3 组"
    assert (beyond,) == (await bench.service.plan(draft)).warnings
    await bench.service.start()
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    assert [1, 0, 0, 1] == bench.fetched()
    assert "按设置跳过了 2 个分片：2-3" in task.warnings
    assert 1 == task.warnings.count(beyond)


@test
async def test_a_plan_is_made_of_playlists_alone(bench: Bench) -> None:
    """Nothing is stored or saved; the playlists are those that are wanted, and skips are counted."""
    media = media_playlist([SegmentLine(uri=f"{n}.ts", duration_s=1.0, discontinuity=n == 3) for n in range(COUNT)])
    for name in ("low", "high", "en", "fr"):
        bench.origin.put(f"/{name}", media.encode())
    variants = [
        VariantLine(uri="low", bandwidth=80_000, audio="a"),
        VariantLine(uri="high", bandwidth=10**6, audio="a"),
    ]
    sounds = [RenditionLine(group="a", name=name, language=name, uri=name) for name in ("en", "fr")]
    bench.origin.put("/m.m3u8", master_playlist(variants, renditions=sounds).encode())
    draft = TaskDraft(
        url=bench.origin.url("/m.m3u8"),
        filename="film",
        advanced=True,
        given={"skip_ts_info": "1"},
        extensions={"variant": "worst", "audio": "fr,ja", "groups": "1"},
    )
    plan = await bench.service.plan(draft)
    assert [True, False] == [each.chosen for each in plan.variants]
    assert ["", "audio1"] == [each.track for each in plan.renditions]
    assert (COUNT, 2, 0, 2.0, 20_000) == (
        plan.segments,
        plan.skipped,
        plan.gaps,
        plan.duration_s,
        plan.estimated_bytes,
    )
    assert [(1, 1, 3, 1), (2, 4, 4, 1)] == [(each.number, each.first, each.last, each.skipped) for each in plan.groups]
    assert ("没有音轨“ja”；可选：en (en); fr (fr)",) == plan.warnings
    assert ["/m.m3u8", "/low", "/fr"] == [visit.path for visit in bench.origin.visits()]
    assert [] == await bench.service.tasks()
    assert not bench.save.exists()


@test
async def test_a_plan_knows_what_the_merger_takes(bench: Bench) -> None:
    """Sound in a playlist of its own is refused as the task would be; subtitles that are left out are named."""
    media = media_playlist([SegmentLine(uri=f"{n}.ts", duration_s=1.0) for n in range(COUNT)])
    for name in ("film", "en"):
        bench.origin.put(f"/{name}", media.encode())
    for kind, path in (("AUDIO", "/sound.m3u8"), ("SUBTITLES", "/text.m3u8")):
        rendition = RenditionLine(type=kind, group="a", name="en", language="en", uri="en")
        variant = VariantLine(uri="film", **{kind.lower(): "a"})
        bench.origin.put(path, master_playlist([variant], renditions=[rendition]).encode())
    extensions = {"merger": "ts", "subtitles": "all"}
    with pytest.raises(SeparateAudio):
        await bench.service.plan(TaskDraft(url=bench.origin.url("/sound.m3u8"), filename="", extensions=extensions))
    plan = await bench.service.plan(TaskDraft(url=bench.origin.url("/text.m3u8"), filename="", extensions=extensions))
    assert (("合并方式“ts”不支持字幕，未下载",), ["main"]) == (plan.warnings, [each.track for each in plan.tracks])


@test
async def test_a_plan_of_a_pasted_playlist(bench: Bench) -> None:
    """Needs no server at all."""
    draft = TaskDraft(url="", filename="", playlist=media_playlist([SegmentLine(uri="https://h.test/a.ts")]))
    plan = await bench.service.plan(draft)
    assert (1, 6.0, []) == (plan.segments, plan.duration_s, bench.origin.visits())


@pytest.mark.parametrize(
    ("given", "extensions", "expected"),
    [
        ({}, {"variant": "height>=9000"}, NoSuchVariant),
        ({"skip_ts_info": "1-9"}, {}, NothingToDownload),
        ({}, {"merger": "gone"}, NotOffered),
        ({"save_location": "HOME"}, {}, UnsafePath),
    ],
)
@test
async def test_a_plan_fails_as_its_task_would(
    bench: Bench, given: dict[str, str], extensions: dict[str, str], expected: type[Exception]
) -> None:
    """Before anything is downloaded."""
    bench.origin.put("/v", media_playlist([SegmentLine(uri="0.ts")]).encode())
    bench.origin.put("/m", master_playlist([VariantLine(uri="v", bandwidth=1)]).encode())
    given = {name: value.replace("HOME", str(bench.folder / "home")) for name, value in given.items()}
    draft = TaskDraft(url=bench.origin.url("/m"), filename="f", advanced=True, given=given, extensions=extensions)
    with pytest.raises(expected):
        await bench.service.plan(draft)


@test
async def test_a_plan_does_not_wait_for_ever(bench: Bench) -> None:
    """A server that never answers ends it, and the place is free again."""
    clock = Clock()
    service = make_service(bench.store, attrs.evolve(bench.tools, clock=clock), bench.folder)
    bench.origin.put("/m.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    draft = TaskDraft(url=bench.origin.url("/m.m3u8?hang=headers"), filename="f")
    plans = [Deferred.fromCoroutine(service.plan(draft)) for _ in range(5)]
    await until(lambda: 4 == bench.origin.count("/m.m3u8"))
    clock.advance(TOTAL_S)
    await until(lambda: 5 == bench.origin.count("/m.m3u8"))
    clock.advance(TOTAL_S)
    for plan in plans:
        with pytest.raises(FetchTimeout):
            await plan


@test
async def test_the_queue_decides_who_starts_first(bench: Bench) -> None:
    """A task of a higher priority starts before older ones, and one that was put first of its equals before those."""
    oldest, old, moved = [await bench.create(f"film{number}") for number in range(3)]
    urgent = await bench.service.create(attrs.evolve(bench.draft("film3"), priority=1))
    await bench.service.change(moved.id, TaskChange(position=1))
    assert {urgent.id: 1, moved.id: 2, oldest.id: 3, old.id: 4} == await bench.service.queue()
    await bench.service.start()
    await bench.until_status(old, COMPLETED)
    started = [task_id for task_id, _, status in bench.listener.told if status is DOWNLOADING]
    assert [task.id for task in (urgent, moved, oldest, old)] == started


@test
async def test_priority_and_place_change_together(bench: Bench) -> None:
    """Among those of the new priority; a task that moves is no other task for anybody who watches."""
    low, high, mover = [await bench.create(f"film{number}") for number in range(3)]
    await bench.service.change(high.id, TaskChange(priority=5))
    assert [high.id, low.id, mover.id] == list(await bench.service.queue())
    changed = await bench.service.change(mover.id, TaskChange(priority=5, position=1))
    assert (5, WAITING) == (changed.priority, changed.status)
    assert [mover.id, high.id, low.id] == list(await bench.service.queue())
    await bench.service.change(mover.id, TaskChange(status=PAUSED))
    assert [high.id, low.id] == list(await bench.service.queue())
    await bench.service.change(mover.id, TaskChange(status=WAITING, position=END))
    assert [high.id, mover.id, low.id] == list(await bench.service.queue())
    await bench.service.remove(high.id, with_files=False)
    assert [mover.id, low.id] == list(await bench.service.queue())
    assert [PAUSED, WAITING] == [status for task_id, status in bench.seen if task_id == mover.id][1:]


@test
async def test_a_request_that_comes_twice_makes_one_task(bench: Bench) -> None:
    """Also when both come at once, when the task is gone meanwhile, and when the request would be refused now."""
    creation = Creation(key="k", digest="d")
    draft = bench.draft("film")
    both = [Deferred.fromCoroutine(bench.service.create_once(draft, creation)) for _ in range(2)]
    answers = [await each for each in both]
    ((task_id, _),) = {answer for answer in answers if not answer[1]}
    assert {(task_id, False), (task_id, True)} == set(answers)
    assert [task_id] == [task.id for task in await bench.service.tasks()]
    assert [WAITING] == [status for _, status in bench.seen]
    await bench.service.remove(task_id, with_files=False)
    elsewhere = attrs.evolve(draft, advanced=True, given={"save_location": str(bench.folder / "home")})
    assert (task_id, True) == await bench.service.create_once(elsewhere, creation)
    with pytest.raises(IdempotencyConflict):
        await bench.service.create_once(draft, attrs.evolve(creation, digest="e"))
    assert [] == await bench.service.tasks()


@test
async def test_only_so_many_tasks_are_unfinished(bench: Bench) -> None:
    """One more is refused whichever way it comes; when one is gone there is room again."""
    service = make_service(bench.store, bench.tools, bench.folder, max_unfinished=2)
    draft, creation = bench.draft("film"), Creation(key="k", digest="d")
    first = await service.create(draft)
    second, _ = await service.create_once(draft, creation)
    with pytest.raises(TooManyTasks):
        await service.create(draft)
    with pytest.raises(TooManyTasks):
        await service.create_once(draft, Creation(key="another", digest="d"))
    assert (second, True) == await service.create_once(draft, creation)
    assert [first.id, second] == [task.id for task in await service.tasks()]
    await service.remove(first.id, with_files=False)
    await until(lambda: _erased(bench.store, first.id))
    third = await service.create(draft)
    assert {second, third.id} == {task.id for task in await service.tasks()}


async def _erased(store: Store, task_id: str) -> bool:
    return task_id not in [task.id for task in await store.tasks(include_deleting=True)]


@test
async def test_names_of_requests_are_forgotten(bench: Bench) -> None:
    """A day later, while the service runs; a store that fails then is no trouble for anybody."""
    clock, wall = Clock(), [0.0]
    tools = attrs.evolve(bench.tools, clock=clock, wall=lambda: wall[0])
    service = make_service(bench.store, tools, bench.folder)
    creation = Creation(key="k", digest="d")
    await service.create_once(bench.draft("film"), creation)
    await service.start()
    wall[0] = 25 * 3600.0
    clock.advance(SWEEP_S)
    await until(lambda: _unnamed(bench.store, creation))
    await service.stop()


async def _unnamed(store: Store, creation: Creation) -> bool:
    return "" == await store.created(creation, now=0.0)


@test
async def test_only_so_many_plans_wait(bench: Bench) -> None:
    """The next is sent away at once, and nothing is asked of the server for it."""
    clock = Clock()
    service = make_service(bench.store, attrs.evolve(bench.tools, clock=clock), bench.folder)
    bench.origin.put("/m.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    draft = TaskDraft(url=bench.origin.url("/m.m3u8?hang=headers"), filename="f")
    sent_away: list[Failure] = []
    plans = [Deferred.fromCoroutine(service.plan(draft)) for _ in range(PLANS_AT_ONCE + PLANS_WAITING + 1)]
    for plan in plans:
        plan.addErrback(sent_away.append)
    await until(lambda: PLANS_AT_ONCE == bench.origin.count("/m.m3u8") and sent_away)
    assert [TooBusy] == [failure.type for failure in sent_away]
    for plan in plans:
        plan.cancel()
    assert {TooBusy, CancelledError} == {failure.type for failure in sent_away}
    assert PLANS_AT_ONCE == bench.origin.count("/m.m3u8")


@test
async def test_plugins_are_told_each_change_in_order(bench: Bench) -> None:
    """Each event names the state before and after; what could not be forgotten is told again, not lost."""
    await bench.service.start()
    bench.store.failing.add("forget_events")
    task = await bench.create()
    await bench.until_status(task, COMPLETED)
    bench.store.failing.clear()
    wanted = [(task.id, None, WAITING), (task.id, WAITING, DOWNLOADING), (task.id, DOWNLOADING, COMPLETED)]
    await until(lambda: bench.listener.told[-3:] == wanted)
    assert set(wanted) == set(bench.listener.told)


@test
async def test_many_changes_are_told_to_the_last(bench: Bench) -> None:
    """Those that an earlier run left, more of them than are read at once."""
    spec = bench.draft("film").spec(system())
    ids = [f"old{number:03}" for number in range(230)]
    for number, task_id in enumerate(ids):
        await bench.store.insert(Task(id=task_id, spec=spec, status=PAUSED, created_at=number))
    await bench.service.start()
    await until(lambda: no_events(bench.store))
    assert [(task_id, None, PAUSED) for task_id in ids] == bench.listener.told


@test
async def test_without_a_plugin_that_listens_no_task_is_looked_at_to_be_told_of(bench: Bench) -> None:
    """The outbox is emptied all the same, and whoever is there later hears what comes then."""
    disabled = bench.tools.plugins.hooks.disabled
    disabled[f"{BUILTIN_PREFIX}Listener"] = "for this test"
    loaded: list[str] = []

    async def note(task_id: str) -> None:
        loaded.append(task_id)

    bench.store.before["load"] = note
    first = await bench.create("first")
    await until(lambda: no_events(bench.store))
    assert ([], []) == (loaded, bench.listener.told)
    del disabled[f"{BUILTIN_PREFIX}Listener"]
    second = await bench.create("second")
    await until(lambda: [(second.id, None, WAITING)] == bench.listener.told)
    assert [second.id] == loaded
    assert WAITING is (await bench.service.task(first.id)).status


@test
async def test_who_waits_is_not_asked_for_while_no_place_is_free(bench: Bench) -> None:
    """Neither when a task is created; once a place is free, the first one starts."""
    await bench.service.start()
    running = [await bench.create(f"hung{number}", s0=HANG) for number in range(2)]
    for task in running:
        await bench.until_status(task, DOWNLOADING)
    await until(lambda: not bench.service._filling.locked)
    asked: list[None] = []

    async def note(_: None) -> None:
        asked.append(None)

    bench.store.before["waiting"] = note
    waiting = await bench.create("film")
    await until(lambda: not bench.service._filling.locked)
    assert [] == asked
    await bench.service.change(running[0].id, PAUSE)
    await bench.until_status(waiting, COMPLETED)
    assert asked


@test
async def test_settings_are_those_of_the_moment_of_creation(bench: Bench) -> None:
    """Changing the system settings changes no task that is there."""
    await bench.service.replace_settings(system(save_location=str(bench.folder / "first"), download_threads=3))
    task = await bench.create()
    await bench.service.replace_settings(system(save_location=str(bench.folder / "second")))
    await bench.service.start()
    done = await bench.until_status(task, COMPLETED)
    assert (str(bench.folder / "first" / "film.mp4"), 3) == (done.output, done.spec.settings.download_threads)


@pytest.mark.parametrize("field", ["save_location", "temp_directory"])
@pytest.mark.parametrize("place", ["home", "home/deep/er", "save/../home", "link/deep"])
@test
async def test_our_own_directory_takes_no_downloads(bench: Bench, field: str, place: str) -> None:
    """Neither a task nor the settings may name it, by whatever way around."""
    (bench.folder / "link").symlink_to(bench.folder / "home")
    location = f"{bench.folder}/{place}"
    draft = attrs.evolve(bench.draft("film"), advanced=True, given={field: location})
    with pytest.raises(UnsafePath) as caught:
        await bench.service.create(draft)
    assert field in caught.value.text("zh")
    with pytest.raises(UnsafePath):
        await bench.service.replace_settings(system(**{field: location}))
    assert ([], None) == (await bench.service.tasks(), await bench.store.load_settings())


@pytest.mark.parametrize("field", ["save_location", "temp_directory"])
@test
async def test_places_that_take_no_downloads(bench: Bench, field: str) -> None:
    """A link to the system's directories, and a loop of links: the request is at fault, not the service."""
    (bench.folder / "system").symlink_to("/etc")
    (bench.folder / "loop").symlink_to("loop")
    for place in ("system", "system/deep", "loop", "loop/deep"):
        location = str(bench.folder / place)
        with pytest.raises(UnsafePath):
            await bench.service.create(attrs.evolve(bench.draft("film"), advanced=True, given={field: location}))
        with pytest.raises(UnsafePath):
            await bench.service.replace_settings(system(**{field: location}))


# -- Changes at any moment -------------------------------------------------------------------------------------------


@test
async def test_pausing_stops_the_job_and_resuming_goes_on(bench: Bench) -> None:
    """The answer comes at once; then no connection, child or part is left; finished segments are not fetched again."""
    await bench.service.start()
    task = await bench.create(s2=HANG, s3=HANG)
    await bench.until_some_finished(task, 2)
    assert PAUSED is (await bench.service.change(task.id, PAUSE)).status
    await until(lambda: not muxers() and not bench.service.running())
    assert [False] * 2 == [visit.finished for visit in bench.origin.visits() if "hang" in visit.query]
    await until(lambda: [".m3u8svc"] == os.listdir(bench.save))
    stored = await bench.service.task(task.id)
    assert (2, 4, 0.0) == (stored.progress.segments_done, stored.progress.segments_total, stored.progress.speed)
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    assert [1, 1, 2, 2] == bench.fetched()


@test
async def test_resuming_while_the_old_job_still_ends(bench: Bench) -> None:
    """The new job waits for the old one's end: one file, one run at a time."""
    await bench.service.start()
    task = await bench.create(s3=HANG)
    await bench.until_some_finished(task, 3)
    for _ in range(3):
        await bench.service.change(task.id, PAUSE)
        await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    *whole, held = bench.fetched()
    assert [1, 1, 1] == whole
    assert 2 <= held <= 4  # again with each run that came so far before the next pause
    visits = bench.origin.visits("/3.ts")
    assert all(one.ended is not None and one.ended <= other.at for one, other in itertools.pairwise(visits))
    await until(lambda: ["film.mp4"] == os.listdir(bench.save))


@test
async def test_a_second_pause_does_not_lose_the_place(bench: Bench) -> None:
    """Paused, resumed and paused again while the store is slow with the ledger: the task can still go on."""
    await bench.service.start()
    gate: Deferred[None] = Deferred()
    task = await bench.service.create(
        attrs.evolve(
            bench.draft("film", s0="status=404", s2=HANG, s3=HANG),
            advanced=True,
            given={"no_merge_ts": True, "skip_ts_info": "http.code=404"},
        )
    )

    tried: list[float] = []

    async def wait(_: Any) -> None:
        tried.append(reactor.seconds())
        if not bench.store.failing and not gate.called:
            await deferLater(reactor, 0.2)

    # What the store refuses waits a second, or for the end of its run. Two segments hang in their first request alone:
    # one that this run has not asked for would hang in a later one.
    bench.store.before["record_segments"] = wait
    bench.store.failing.add("record_segments")
    await until(lambda: [1] * COUNT == bench.fetched() and tried)
    bench.store.failing.clear()
    for change in (PAUSE, RESUME, PAUSE, RESUME):
        await bench.service.change(task.id, change)
        await deferLater(reactor, 0.01)
    gate.callback(None)
    await bench.until_status(task, COMPLETED)
    await bench.service.stop()


@test
async def test_stopping_and_starting_goes_on(bench: Bench) -> None:
    """A service that is stopped leaves its tasks to the next one, which is told of them by the store alone."""
    await bench.service.start()
    task = await bench.create(s3=HANG)
    await bench.until_some_finished(task, 3)
    await bench.service.stop()
    assert ([], DOWNLOADING) == (muxers(), (await bench.store.load(task.id)).status)
    assert 3 == (await bench.store.load(task.id)).progress.segments_done
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    await bench.until_status(task, COMPLETED)
    assert [1, 1, 1, 2] == bench.fetched()


@test
async def test_deleting_a_running_task_leaves_nothing(bench: Bench) -> None:
    """Answered at once, gone for everybody; its work, hidden file and child go too; a second delete finds none."""
    await bench.service.start()
    task = await bench.create(s3="hang=body")
    await bench.until_some_finished(task, 3)
    await bench.service.remove(task.id, with_files=False)
    with pytest.raises(TaskNotFound):
        await bench.service.task(task.id)
    with pytest.raises(TaskNotFound):
        await bench.service.remove(task.id, with_files=False)
    await until(lambda: [] == os.listdir(bench.save) and not muxers())
    await until(lambda: no_rows(bench.store))
    await bench.until_status(await bench.create("next"), COMPLETED)


async def no_events(store: Store) -> bool:
    """Whether everything was told."""
    return [] == await store.events()


async def no_rows(store: Store) -> bool:
    """Whether the store has no task at all."""
    return [] == await store.tasks(include_deleting=True)


@test
async def test_deleting_twice_at_once_is_deleting_once(bench: Bench) -> None:
    """One is answered, the other finds no task."""
    await bench.service.start()
    task = await bench.create(s3="hang=body")
    both = [Deferred.fromCoroutine(bench.service.remove(task.id, with_files=False)) for _ in range(2)]
    answers = [await deferred.addErrback(lambda failure: failure.trap(TaskNotFound)) for deferred in both]
    assert [None, TaskNotFound] == answers
    await until(lambda: no_rows(bench.store))


@pytest.mark.parametrize("with_files", [False, True])
@test
async def test_deleting_a_finished_task(bench: Bench, with_files: bool) -> None:
    """The file goes only when that was asked for."""
    await bench.service.start()
    task = await bench.until_status(await bench.create(), COMPLETED)
    await bench.service.remove(task.id, with_files=with_files)
    await until(lambda: no_rows(bench.store))
    assert ([] if with_files else ["film.mp4"]) == os.listdir(bench.save)


@pytest.mark.parametrize("with_files", [False, True])
@test
async def test_deleting_in_the_moment_of_publishing(bench: Bench, with_files: bool) -> None:
    """The file is there, the row does not say so yet: it stays, or goes if files were to go."""
    await bench.service.start()

    async def delete(task: Task) -> None:
        bench.store.before.clear()
        await bench.service.remove(task.id, with_files=with_files)

    bench.store.before["replace COMPLETED"] = delete
    task = await bench.create()
    await until(lambda: no_rows(bench.store))
    assert ([] if with_files else ["film.mp4"]) == os.listdir(bench.save)
    assert [1] * COUNT == bench.fetched()
    assert (task.id, COMPLETED) not in bench.seen


@test
async def test_pausing_in_the_moment_of_publishing(bench: Bench) -> None:
    """The pause was answered, so it holds; resumed, the task finds its file and makes no second one."""
    await bench.service.start()

    async def pause(task: Task) -> None:
        bench.store.before.clear()
        await bench.service.change(task.id, PAUSE)

    bench.store.before["replace COMPLETED"] = pause
    task = await bench.create()
    await until(lambda: (task.id, PAUSED) in bench.seen and not bench.service.running())
    assert PAUSED is (await bench.service.task(task.id)).status
    await bench.service.change(task.id, RESUME)
    done = await bench.until_status(task, COMPLETED)
    assert (str(bench.save / "film.mp4"), [1] * COUNT) == (done.output, bench.fetched())
    await until(lambda: ["film.mp4"] == os.listdir(bench.save))


@test
async def test_what_a_finished_task_says_is_not_overwritten(bench: Bench) -> None:
    """Stopped while its work directory still goes: its progress is that of its end, not the job's last."""
    stopping: list[Deferred[None]] = []

    def stop(task: Task) -> None:
        if task.status is COMPLETED:
            stopping.append(Deferred.fromCoroutine(bench.service.stop()))

    bench.service.watch(stop)
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film", s1="status=451"), extensions={"allow_gaps": True})
    task = await bench.service.create(draft)
    await until(lambda: stopping)
    await stopping[0]
    done = await bench.service.task(task.id)
    assert done.missing
    assert (COMPLETED, 100, done.missing) == (done.status, done.progress.percent, done.progress.status_bar)


@test
async def test_racing_changes_end_in_some_order(bench: Bench) -> None:
    """Ten at once: each is answered by what it asked for or refused, and afterwards the task still works."""
    await bench.service.start()
    task = await bench.create(s3="delay=0.3")
    changes = [PAUSE, RESUME] * 5
    asked = [Deferred.fromCoroutine(bench.service.change(task.id, change)) for change in changes]
    for change, deferred in zip(changes, asked, strict=True):
        assert (await deferred).status in ((PAUSED,) if change is PAUSE else (WAITING, DOWNLOADING))
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    with pytest.raises(InvalidTransition):
        await bench.service.change(task.id, RESUME)


@test
async def test_a_failed_task_can_be_resumed(bench: Bench) -> None:
    """The error is stored with its code; resuming clears it and fetches what is missing."""
    await bench.service.start()
    task = await bench.create(s3="status=404&times=1&delay=0.2")
    failed = await bench.until_status(task, FAILED)
    assert "http_4xx" == failed.err_code and "00004.ts" in failed.err_msg
    assert "" == (await bench.service.change(task.id, RESUME)).err_code
    await bench.until_status(task, COMPLETED)
    assert [1, 1, 1, 2] == bench.fetched()


@test
async def test_what_went_wrong_is_told_while_it_runs_and_afterwards(bench: Bench) -> None:
    """Every failed attempt is an incident of the task: live, in the row of a paused one, and at its end."""
    await bench.service.start()
    task = await bench.create(s0="status=500&times=2", s3="delay=3")
    while not (live := await bench.service.task(task.id)).incidents or live.incidents[0].count < 2:
        await deferLater(reactor, 0.02)
    assert ("http_5xx", "00001.ts", 2) == (
        live.incidents[0].code,
        live.incidents[0].segment,
        live.incidents[0].attempt,
    )
    await bench.service.change(task.id, PAUSE)
    assert live.incidents == (await bench.store.load(task.id)).incidents
    await bench.service.change(task.id, RESUME)
    assert live.incidents == (await bench.until_status(task, COMPLETED)).incidents


@test
async def test_what_went_wrong_survives_a_kill(bench: Bench) -> None:
    """It is stored every few seconds, not only when the task changes its state."""
    await bench.service.start()
    task = await bench.create(s0="status=500&times=1", s3="hang=body")
    while not (await bench.service.task(task.id)).incidents:
        await deferLater(reactor, 0.02)
    bench.service._save_soon()
    run = bench.service._runs[task.id]
    await until(lambda: run.job.incidents == run.task.incidents)
    stored = await bench.store.load(task.id)
    assert (["http_5xx"], DOWNLOADING) == ([each.code for each in stored.incidents], stored.status)


# -- After a crash ---------------------------------------------------------------------------------------------------


@test
async def test_what_a_dead_process_left_is_taken_up(bench: Bench) -> None:
    """A task that was downloading goes on, a half-done delete is finished, finished work is cleared."""
    drafts = {name: bench.draft(name) for name in ("went", "deleted", "done", "paused")}
    states = {"went": DOWNLOADING, "deleted": DOWNLOADING, "done": COMPLETED, "paused": PAUSED}
    for name, draft in drafts.items():
        spec: TaskSpec = draft.spec(system(save_location=str(bench.save)))
        task = Task(id=name, spec=spec, status=states[name], deleting=name == "deleted")
        await bench.store.insert(task)
        work_path(task).mkdir(parents=True)
        (work_path(task) / "00000001-0123456789ab.part").write_bytes(b"half")
    (bench.save / ".deleted.part.mp4").write_bytes(b"half")
    await bench.service.start()
    await until(lambda: bench.service.task("went"))
    went = await bench.until_status(await bench.store.load("went"), COMPLETED)
    assert str(bench.save / "went.mp4") == went.output
    await until(lambda: {".m3u8svc", "went.mp4"} == set(os.listdir(bench.save)))
    await until(lambda: ["paused"] == os.listdir(bench.save / ".m3u8svc"))
    await until(lambda: _erased(bench.store, "deleted"))
    await until(lambda: no_events(bench.store))
    assert {"went", "done", "paused"} == {task.id for task in await bench.store.tasks(include_deleting=True)}
    assert PAUSED is (await bench.service.task("paused")).status
    assert {("done", None, COMPLETED), ("paused", None, PAUSED)} < set(bench.listener.told)


@test
async def test_events_of_a_dead_process_are_told_at_the_start(bench: Bench) -> None:
    """Even when nothing else happens any more."""
    spec = bench.draft("film").spec(system(save_location=str(bench.save)))
    await bench.store.insert(Task(id="quiet", spec=spec, status=PAUSED))
    await bench.service.start()
    await until(lambda: [("quiet", None, PAUSED)] == bench.listener.told)


# -- A store that fails ----------------------------------------------------------------------------------------------


@test
async def test_a_task_that_cannot_be_stored_does_not_exist(bench: Bench) -> None:
    """The caller is told; when the store is back the service works."""
    await bench.service.start()
    bench.store.failing.add("insert")
    with pytest.raises(StoreError):
        await bench.create()
    assert [] == await bench.service.tasks()
    bench.store.failing.clear()
    await bench.until_status(await bench.create(), COMPLETED)


@test
async def test_a_change_that_cannot_be_stored_does_not_happen(bench: Bench) -> None:
    """A pause that failed leaves the task running."""
    await bench.service.start()
    task = await bench.create(s3="delay=0.5")
    await bench.until_status(task, DOWNLOADING)
    bench.store.failing.add("replace PAUSED")
    with pytest.raises(StoreError):
        await bench.service.change(task.id, PAUSE)
    await bench.until_status(task, COMPLETED)


@pytest.mark.parametrize(
    "failing",
    [
        {"replace COMPLETED"},
        {"replace COMPLETED", "record_segments"},
        {"record_segments", "save_progress"},
        {"replace", "record_segments", "waiting", "save_progress", "forget_events"},
    ],
    ids=lambda names: "+".join(sorted(names)),
)
@test
async def test_the_end_of_a_task_outlives_trouble_of_the_store(bench: Bench, failing: set[str]) -> None:
    """The file is there, the row cannot be written: once it can, the task is done, with that file and no other."""
    await bench.service.start()
    task = await bench.create(s3="delay=0.3")
    await bench.until_status(task, DOWNLOADING)

    async def fail(_: Any) -> None:
        if (bench.save / "film.mp4").exists():
            bench.store.before.clear()
            bench.store.failing |= failing
            reactor.callLater(0.3, bench.store.failing.clear)

    bench.store.before["record_segments"] = fail  # the first thing after publishing
    await until(lambda: not bench.store.before)
    done = await bench.until_status(task, COMPLETED)
    assert str(bench.save / "film.mp4") == done.output
    assert [1] * COUNT == bench.fetched()
    await until(lambda: ["film.mp4"] == os.listdir(bench.save))
    report = json.loads(await bench.service.report(task.id))
    assert list(range(1, COUNT + 1)) == [line["position"] for line in report["segments"]]
    await until(lambda: no_ledger(bench.store, task))


async def no_ledger(store: Store, task: Task) -> bool:
    """Whether nothing is recorded of the segments any more: a finished task has its report."""
    return not await store.segments(task.id)


@test
async def test_the_end_of_a_task_is_shown_before_it_is_stored(bench: Bench) -> None:
    """A held task says so, and why, and how far it is, though the store takes nothing; later it is stored like that."""
    await bench.service.start()
    task = await bench.create(s3="delay=0.3")
    await bench.until_status(task, DOWNLOADING)
    bench.store.trouble = DiskFull(path="/home")
    bench.store.failing |= {"save_report", "replace", "record_segments", "save_progress"}
    held = await bench.until_status(task, PAUSED)
    assert ("disk_full", "disk_full", COUNT) == (held.held, held.err_code, held.progress.segments_done)
    assert ["disk_full"] == [incident.code for incident in held.incidents]
    assert (task.id, PAUSED) in bench.seen
    assert [held] == await bench.service.tasks()
    assert DOWNLOADING is (await bench.store.load(task.id)).status
    bench.store.failing.clear()
    await until(lambda: is_stored(bench.store, held))
    assert PAUSED is (await bench.service.task(task.id)).status


async def is_stored(store: Store, task: Task) -> bool:
    """Whether the row says the same."""
    stored = await store.load(task.id)
    return all(getattr(stored, name) == getattr(task, name) for name in ("status", "held", "err_msg", "progress"))


@test
async def test_a_ledger_of_a_finished_task_is_forgotten_at_the_start(bench: Bench) -> None:
    """The process ended before it could, or was an older one; that of a task with holes to fill stays."""
    await bench.service.start()
    done = await bench.until_status(await bench.create("done"), COMPLETED)
    holes = await bench.until_status(await bench.create("holes"), COMPLETED)
    await until(lambda: no_ledger(bench.store, holes))
    await bench.service.stop()
    stored = await bench.store.load(holes.id)
    gaps = attrs.evolve(stored.spec, extensions=attrs.evolve(stored.spec.extensions, allow_gaps=True))
    await bench.store.replace(attrs.evolve(stored, missing="缺失 1 个分片", spec=gaps))
    for task in (done, holes):
        await bench.store.record_segments(task.id, [SegmentRow(position=1, identity="i")])
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    await until(lambda: no_ledger(bench.store, done))
    assert 1 == len(await bench.store.segments(holes.id))


@test
async def test_a_task_whose_job_met_a_locked_database_waits_again(bench: Bench) -> None:
    """It is no fault of the task: it is done when the lock is gone, and nothing is fetched twice."""
    await bench.service.start()
    bench.store.trouble = DatabaseLocked(seconds=5)
    bench.store.failing.add("save_report")
    task = await bench.create()
    await until(lambda: (task.id, WAITING) in bench.seen[2:])
    bench.store.failing.clear()
    await bench.until_status(task, COMPLETED)
    assert ([1] * COUNT, False) == (bench.fetched(), (task.id, FAILED) in bench.seen)


@test
async def test_waiting_tasks_start_when_the_store_is_back(bench: Bench) -> None:
    """The queue could not be read when the task came: it is read again."""
    await bench.service.start()
    bench.store.failing.add("waiting")
    task = await bench.create()
    await deferLater(reactor, 0.05)
    bench.store.failing.clear()
    await bench.until_status(task, COMPLETED)


@test
async def test_a_deletion_is_finished_when_the_store_is_back(bench: Bench) -> None:
    """The row that could not be removed is removed later, without a restart."""
    await bench.service.start()
    task = await bench.until_status(await bench.create(), COMPLETED)
    bench.store.failing.add("delete")
    await bench.service.remove(task.id, with_files=False)
    await deferLater(reactor, 0.05)
    bench.store.failing.clear()
    await until(lambda: no_rows(bench.store))


@test
async def test_a_paused_task_has_no_rate(bench: Bench) -> None:
    """Neither a speed nor a remaining time is shown for a task that does not run."""
    await bench.service.start()
    task = await bench.create(**{LAST: "hang=body"})
    await bench.until_some_finished(task, COUNT - 1)
    await bench.service.change(task.id, PAUSE)
    paused = await bench.until_status(task, PAUSED)
    assert (0.0, None) == (paused.progress.speed, paused.progress.eta_s)
    assert "速度" not in paused.progress.status_bar and "[3/5]" in paused.progress.status_bar


@test
async def test_a_skipped_row_does_not_judge_a_file(bench: Bench) -> None:
    """Skipped in one run, fetched in the next: the old line of the ledger does not throw the new segment away."""
    await bench.service.start()
    task = await bench.create(**{LAST: "hang=body"})
    await bench.until_some_finished(task, COUNT - 1)
    await bench.service.change(task.id, PAUSE)
    await bench.until_status(task, PAUSED)
    await until(lambda: recorded(bench, task, COUNT - 1))
    rows = list((await bench.store.segments(task.id)).values())
    old = [SegmentRow(position=row.position, identity=row.identity, outcome="skipped") for row in rows]
    await bench.store.record_segments(task.id, old)
    bench.draft("film")
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    assert [1] * (COUNT - 1) == bench.fetched()[:-1]


async def recorded(bench: Bench, task: Task, count: int) -> bool:
    return count == len(await bench.store.segments(task.id))


@test
async def test_a_watcher_that_raises_stops_nobody(bench: Bench) -> None:
    """Who watches badly is logged; the task goes on and the others hear of it."""

    def broken(task: Task) -> None:
        raise ValueError("a broken watcher")

    bench.service.watch(broken)
    heard: list[Status] = []
    bench.service.watch(lambda task: heard.append(task.status))
    await bench.service.start()
    await bench.until_status(await bench.create(), COMPLETED)
    assert COMPLETED in heard


@test
async def test_stop_waits_for_a_task_that_is_being_started(bench: Bench) -> None:
    """A stop in the moment between a task's row and its job leaves no job behind."""
    await bench.service.start()
    stopping: list[Deferred[None]] = []

    async def stop(task: Task) -> None:
        bench.store.before.clear()
        stopping.append(Deferred.fromCoroutine(bench.service.stop()))

    bench.store.before["replace DOWNLOADING"] = stop
    await bench.create(s0="hang=body")
    await until(lambda: stopping)
    await stopping[0]
    assert [] == bench.service.running()


@test
async def test_a_deleted_task_is_told_of_to_its_end(bench: Bench) -> None:
    """Plugins hear of every change of a task although it was deleted at once after it."""
    await bench.service.start()
    task = await bench.create()
    await bench.until_status(task, COMPLETED)
    await bench.service.remove(task.id, with_files=True)
    await until(lambda: no_rows(bench.store))
    assert [] == await bench.store.events()
    assert COMPLETED in [status for told, _, status in bench.listener.told if told == task.id]


@test
async def test_stop_does_not_wait_for_ever(bench: Bench) -> None:
    """A job that does not end when it is cancelled keeps the process no longer than a few seconds."""
    clock = Clock()
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, clock=clock), bench.folder)
    await bench.service.start()
    task = await bench.create(**{LAST: "hang=body"})
    await bench.until_some_finished(task, COUNT - 1)
    job = bench.service._jobs[task.id]
    deaf: Deferred[None] = Deferred()  # whoever cancels it cancels nothing
    deaf.addErrback(lambda failure: None)
    bench.service._jobs[task.id] = deaf
    stopping = Deferred.fromCoroutine(bench.service.stop())
    try:
        await until(lambda: clock.seconds() + STOP_S in [call.getTime() for call in clock.getDelayedCalls()])
        clock.advance(STOP_S - 0.01)
        await deferLater(reactor, 0.05)
        assert not stopping.called
        clock.advance(0.01)
        await until(lambda: stopping.called)
    finally:
        job.cancel()
        await job
        await stopping


# -- Disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with memory_disk(tmp_path / "disk", "8m") as place:
        yield place


def on_disk(bench: Bench, disk: Path, name: str = "film", **tweaks: str) -> TaskDraft:
    """A request whose result goes there."""
    draft = bench.draft(name, **tweaks)
    return attrs.evolve(draft, advanced=True, given={"save_location": str(disk)})


def watching(bench: Bench, *, reserve: Reserve | None = None, every_s: float = 0.1) -> DownloadService:
    """A service that looks at disks so often; it takes the place of the bench's."""
    disks = DiskWatch(clock=reactor, in_thread=bench.tools.in_thread, reserve=reserve, every_s=every_s)
    bench.service = make_service(bench.store, bench.tools, bench.folder, disks=disks)
    bench.service.watch(lambda task: bench.seen.append((task.id, task.status)))
    return bench.service


def fill(disk: Path, *, left: int = 0) -> Path:
    """A file that takes all the room there is, but for so many bytes."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "ab") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    os.truncate(filler, filler.stat().st_size - left)
    return filler


@test
async def test_a_full_disk_holds_who_would_write_to_it(bench: Bench, disk: Path) -> None:
    """Before a request is sent; who writes elsewhere has its turn, and with room again it goes on by itself."""
    filler = fill(disk)
    held = [await bench.service.create(on_disk(bench, disk, f"held{number}")) for number in range(5)]
    other = await bench.create("other")
    await watching(bench).start()
    await bench.until_status(other, COMPLETED)
    for task in held:
        task = await bench.until_status(task, PAUSED)
        assert ("disk_full", "disk_full", True) == (task.held, task.err_code, str(disk) in task.err_msg)
        assert ["disk_full"] == [incident.code for incident in task.incidents]
    assert [] == [visit for visit in bench.origin.visits() if "held" in visit.path or "held" in visit.query]
    filler.unlink()
    for task in held:
        task = await bench.until_status(task, COMPLETED)
        assert ("", "", "") == (task.held, task.err_code, task.err_msg)


@test
async def test_a_disk_that_fills_holds_who_writes_to_it(bench: Bench, disk: Path) -> None:
    """Its job is stopped, what is there is kept, and who writes elsewhere goes on; nothing is fetched twice."""
    await watching(bench).start()
    task = await bench.service.create(on_disk(bench, disk, s3=HANG))
    other = await bench.create("other", s3=HANG)
    await until(lambda: [1] * COUNT == bench.fetched() == bench.fetched("other"))
    await bench.until_some_on_disk(task)
    filler = fill(disk)
    task = await bench.until_status(task, PAUSED)
    assert "disk_full" == task.held
    assert DOWNLOADING is (await bench.service.task(other.id)).status
    filler.unlink()
    task = await bench.until_status(task, COMPLETED)
    assert str(disk / "film.mp4") == task.output
    assert [1, 1, 1, 2] == bench.fetched()


@test
async def test_a_film_too_large_for_its_disk_does_not_try_again_at_once(
    bench: Bench, disk: Path, segments: list[bytes]
) -> None:
    """What it gave back when it failed looks like room; the next look at the disk says when it goes on."""
    null_packet = b"\x47\x1f\xff\x10".ljust(188, b"\xff")
    bench.origin.put("/3.ts", segments[3] + null_packet * 50_000, content_type="video/mp2t")
    await watching(bench, every_s=3600).start()
    task = await bench.service.create(on_disk(bench, disk))
    task = await bench.until_status(task, PAUSED)
    assert "disk_full" == task.held
    await bench.until_status(await bench.create("other", s1="status=451"), FAILED)
    assert PAUSED is (await bench.service.task(task.id)).status
    states = [status for task_id, status in bench.seen if task_id == task.id]
    assert [WAITING, DOWNLOADING, PAUSED] == [status for status, _ in groupby(states)]


@test
async def test_a_disk_that_fills_in_the_last_moment(bench: Bench) -> None:
    """A job that is over cannot be stopped any more: how it ended is stored, and the task is not left without one."""
    full: list[bool] = []

    def look(path: str) -> Disk:
        return Disk(mount="/", total_bytes=1 << 30, free_bytes=0 if full else 1 << 30)

    async def fill_up(task: Task) -> None:
        bench.store.before.clear()
        full.append(True)
        await deferLater(reactor, 0.3)  # the disk is looked at meanwhile

    bench.store.before["replace COMPLETED"] = fill_up
    disks = DiskWatch(clock=reactor, in_thread=bench.tools.in_thread, every_s=0.05, look=look)
    bench.service = make_service(bench.store, bench.tools, bench.folder, disks=disks)
    await bench.service.start()
    task = await bench.create()
    await until(lambda: full)
    await until(lambda: not bench.service.running())
    assert COMPLETED is (await bench.service.task(task.id)).status


@test
async def test_no_room_for_the_merge(bench: Bench, disk: Path, segments: list[bytes]) -> None:
    """Without a reserve the child meets the end of the disk, which is no failure of the merge."""
    await watching(bench, reserve=Reserve(size_bytes=0)).start()
    draft = on_disk(bench, disk, s3="delay=0.5")  # the last one fits; with the file beside it, it does not
    filler = fill(disk, left=sum(map(len, segments)) * 3 // 2)
    task = await bench.service.create(draft)
    await until(lambda: (task.id, PAUSED) in bench.seen)
    assert {"disk_full"} == {incident.code for incident in (await bench.service.task(task.id)).incidents}
    assert [] == list(disk.glob("*.mp4"))
    filler.unlink()
    await bench.until_status(task, COMPLETED)
    assert [1, 1, 1] == bench.fetched()[:3]


@test
async def test_a_users_pause_is_the_users(bench: Bench, disk: Path) -> None:
    """Who pauses a held task ends that it goes on by itself; who resumes one on a full disk has it held again."""
    filler = fill(disk)
    task = await bench.service.create(on_disk(bench, disk))
    await watching(bench).start()
    await bench.until_status(task, PAUSED)
    await bench.service.change(task.id, RESUME)
    await until(lambda: 2 == sum(status is PAUSED for _, status in bench.seen))
    assert [2] == [incident.count for incident in (await bench.service.task(task.id)).incidents]
    assert "" == (await bench.service.change(task.id, PAUSE)).held
    filler.unlink()
    await deferLater(reactor, 0.5)
    assert PAUSED is (await bench.service.task(task.id)).status
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)


@test
async def test_held_over_a_restart(bench: Bench, disk: Path) -> None:
    """The next process knows who is held for what."""
    filler = fill(disk)
    task = await bench.service.create(on_disk(bench, disk))
    await watching(bench).start()
    await bench.until_status(task, PAUSED)
    await bench.service.stop()
    filler.unlink()
    await watching(bench).start()
    await bench.until_status(task, COMPLETED)


@test
async def test_the_log_says_why_a_task_goes_on(bench: Bench) -> None:
    """Not that its disk is back where no disk was away."""
    task = await bench.create()
    held = attrs.evolve(
        await bench.store.load(task.id), status=PAUSED, held="too_many_files", err_code="too_many_files"
    )
    await bench.store.replace(held)
    with capturedLogs() as logged:
        await watching(bench).start()
        await bench.until_status(task, COMPLETED)
    said = [formatEvent(event) for event in logged]
    assert [f"task {task.id} goes on: files can be opened again"] == [each for each in said if "goes on" in each]


@test
async def test_a_disk_that_is_unplugged(bench: Bench, disk: Path) -> None:
    """Nothing is written into the empty mount point; the disk back in its place, the task goes on where it was."""
    await watching(bench).start()
    task = await bench.service.create(on_disk(bench, disk, s3=HANG))
    await until(lambda: [1] * COUNT == bench.fetched())
    await bench.until_some_on_disk(task)
    with elsewhere(disk):
        task = await bench.until_status(task, PAUSED)
        assert ("disk_gone", True) == (task.held, str(disk) in task.err_msg)
        await bench.service.change(task.id, RESUME)
        await until(lambda: 2 == sum(status is PAUSED for _, status in bench.seen))
        assert [] == os.listdir(disk)
    done = await bench.until_status(task, COMPLETED)
    await until(lambda: ["film.mp4"] == os.listdir(disk))  # the work directory goes last
    assert ([1, 1, 1, 2], ()) == (bench.fetched(), done.warnings)


@test
async def test_another_disk_in_the_place_of_one(bench: Bench, disk: Path) -> None:
    """The task goes on there, from the beginning, and says so."""
    await watching(bench).start()
    task = await bench.service.create(on_disk(bench, disk, s3=HANG))
    await until(lambda: [1] * COUNT == bench.fetched())
    await bench.until_some_on_disk(task)
    with elsewhere(disk):
        await bench.until_status(task, PAUSED)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
        try:
            done = await bench.until_status(task, COMPLETED)
            assert ["film.mp4"] == [name for name in os.listdir(disk) if not name.startswith(".")]
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    assert [2] * COUNT == bench.fetched()
    [warning] = [each for each in done.warnings if "换了磁盘" in each]
    assert str(disk) in warning


@contextlib.contextmanager
def elsewhere(disk: Path) -> Iterator[None]:
    """Meanwhile the file system is not where it was, whoever has files of it open."""
    aside = disk.with_name("aside")
    aside.mkdir()
    subprocess.run(["mount", "--bind", str(disk), str(aside)], check=True)
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "--bind", str(aside), str(disk)], check=True)
        subprocess.run(["umount", "--lazy", str(aside)], check=True)
        aside.rmdir()


@test
async def test_another_directory_needs_no_disk(bench: Bench, disk: Path) -> None:
    """A task that waits for a disk in vain goes on elsewhere once it is told to."""
    await watching(bench).start()
    task = await bench.service.create(on_disk(bench, disk, s3=HANG))
    await until(lambda: [1] * COUNT == bench.fetched())
    with elsewhere(disk):
        await bench.until_status(task, PAUSED)
        place = {"save_location": str(bench.save)}
        await bench.service.change(task.id, TaskChange(status=WAITING, given=place))
        await bench.until_status(task, COMPLETED)
        await until(lambda: ["film.mp4"] == os.listdir(bench.save))  # the work directory goes right after


@test
async def test_a_disk_that_turns_read_only(bench: Bench, disk: Path) -> None:
    """As after an error on it. Once it can be written to, the task goes on where it was."""
    await watching(bench).start()
    task = await bench.service.create(on_disk(bench, disk, s3=HANG))
    await until(lambda: [1] * COUNT == bench.fetched())
    await bench.until_some_on_disk(task)
    await bench.service.change(task.id, PAUSE)
    await until(lambda: not bench.service._runs and [] == muxers())  # nothing is open for writing any more
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    await bench.service.change(task.id, RESUME)
    await until(lambda: [WAITING, PAUSED] == [status for _, status in bench.seen][-2:])
    assert "disk_read_only" == (await bench.service.task(task.id)).held
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    await bench.until_status(task, COMPLETED)
    assert [1, 1, 1, 2] == bench.fetched()


@test
async def test_the_incident_that_ended_it_stays(bench: Bench) -> None:
    """Whoever stores incidents after the end of a job stores the last one, too."""
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film"), extensions={"merger": "gone"})
    task = await bench.until_status(await bench.service.create(draft), FAILED)
    await until(lambda: [] == bench.service.running())
    await bench.service.stop()  # everything that was to be stored is
    stored = await bench.store.load(task.id)
    assert ["not_offered"] == [incident.code for incident in stored.incidents]


# -- Lists -----------------------------------------------------------------------------------------------------------


@test
async def test_a_list_is_searched(bench: Bench) -> None:
    """What is found comes live, in the order that was asked for."""
    first = await bench.create("alpha")
    second = await bench.create("beta")
    found = await bench.service.search(Search(text="A", sort=Sort.NAME, descending=True, limit=1))
    assert Found(ids=(second.id,), total=2) == found
    both = await bench.service.tasks_named([second.id, "none", first.id])
    assert [second.id, first.id] == [task.id for task in both]
    assert (2, [second.id]) == _ids(await bench.service.first_tasks(status=None, limit=1, offset=1))
    assert (2, [first.id]) == _ids(await bench.service.first_tasks(status=WAITING, limit=1, offset=0))
    assert (0, []) == _ids(await bench.service.first_tasks(status=PAUSED, limit=1, offset=0))


def _ids(found: tuple[int, list[Task]]) -> tuple[int, list[str]]:
    return found[0], [task.id for task in found[1]]


@test
async def test_an_overview(bench: Bench) -> None:
    """Tasks by their state, what they fetch together, the limit that holds, and the disks they write to."""
    clock = Clock()  # with time, or when more comes, a speed is another one
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, clock=clock), bench.folder, max_active=1)
    await bench.service.start()
    task = await bench.create("film", s1="hang=headers", s2="hang=headers", s3="hang=headers")
    await bench.create("other")
    await bench.until_some_finished(task)

    def speed() -> float:
        return sum(task.progress.speed for task in bench.service.running())

    async def is_fast() -> bool:
        clock.advance(0.1)
        return speed() > 0

    await until(is_fast)
    await bench.service.replace_settings(SystemSettings(limit_rate=5_000_000))
    found = await bench.service.overview()
    assert 2 == sum(found.tally.values())
    assert speed() == found.speed > 0
    assert 5_000_000 == found.limit_rate
    [disk] = found.disks
    assert str(bench.save) == disk.path
    assert 0 < (disk.free_bytes or 0) <= (disk.total_bytes or 0)


# -- One task, closely -----------------------------------------------------------------------------------------------


@test
async def test_a_task_that_runs_is_looked_at(bench: Bench) -> None:
    """Whom it asks, what it does, and what went wrong; when it is over, what it did is still known."""
    task = await bench.create("film", s1="status=500&times=1", s3=HANG)
    assert Live() == await bench.service.look_at(task.id)
    await bench.service.start()

    async def has_only_one_left() -> bool:
        live = await bench.service.look_at(task.id)
        return bool(live.incidents) and [1] == [host.connections for host in live.hosts]

    await until(has_only_one_left)
    live = await bench.service.look_at(task.id)
    [host] = live.hosts
    assert bench.origin.url("/").split("/")[2] == host.name
    assert host.limit >= 1 and host.paused_for_s is None
    said = [(line.level, line.text_en) for line in live.lines if line.level != "debug"]
    assert [("info", "looking for the playlist"), ("info", "reading the list of segments")] == said[:2]
    assert [each.text_en for each in live.incidents] == [
        text.partition(": ")[2] for level, text in said if level == "warn"
    ]
    await bench.service.change(task.id, PAUSE)
    await until(lambda: not bench.service._runs)
    over = await bench.service.look_at(task.id)
    assert ((), (), live.lines) == (over.speeds, over.hosts, over.lines[: len(live.lines)])


@test
async def test_only_some_logs_of_tasks_that_are_over_are_kept(bench: Bench) -> None:
    """The last ones; a task that goes on has its own again, and one that is removed none."""
    logs = [bench.service._log_of(f"t{number}") for number in range(LOGS_KEPT + 5)]
    assert logs[-1] is bench.service._log_of(f"t{LOGS_KEPT + 4}")
    assert logs[0] is not bench.service._log_of("t0")
    assert len(bench.service._logs) <= LOGS_KEPT + 1


# -- Results that are sent -------------------------------------------------------------------------------------------


@test
async def test_the_file_of_a_finished_task(bench: Bench) -> None:
    """Its bytes; a task that is not finished has none, and one that is moved away neither."""
    task = await bench.create()
    with pytest.raises(ResultNotReady):
        await bench.service.result(task.id)
    await bench.service.start()
    done = await bench.until_status(task, COMPLETED)
    file = await bench.service.result(task.id)
    try:
        assert Path(done.output).read_bytes() == await file.read(0, file.size_bytes)
    finally:
        file.close()
    Path(done.output).rename(bench.folder / "away")
    with pytest.raises(FileGone):
        await bench.service.result(task.id)
    with pytest.raises(TaskNotFound):
        await bench.service.result("none")


@test
async def test_disks_that_hang_under_players_leave_threads_to_downloads(bench: Bench) -> None:
    """However many read, a few threads read at once; all that came are answered."""
    task = await bench.create()
    await bench.service.start()
    await bench.until_status(task, COMPLETED)
    await until(lambda: not bench.service._runs)
    reads: list[Deferred[bytes]] = []

    def in_thread(function: Any, *arguments: Any) -> Deferred[Any]:
        if function is not os.pread:
            return bench.tools.in_thread(function, *arguments)
        reads.append(Deferred())
        return reads[-1]

    service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=in_thread), bench.folder)
    files = [await service.result(task.id) for _ in range(8)]
    waiting = [Deferred.fromCoroutine(file.read(0, 1)) for file in files]
    assert 4 == len(reads)
    for number in range(8):
        reads[number].callback(b"x")
    assert [b"x"] * 8 == [await each for each in waiting]
    for file in files:
        file.close()


@pytest.mark.parametrize(
    ("output", "settings", "why"),
    [("s3://bucket/film.mp4", {}, "kept elsewhere"), ("/srv/film", {"no_merge_ts": True}, "directory of segments")],
)
@test
async def test_a_result_that_is_no_file_here(bench: Bench, output: str, settings: dict[str, Any], why: str) -> None:
    """It says where it is."""
    spec = TaskSpec(url="http://h.test/", filename="film", settings=Settings(**settings))
    await bench.store.insert(Task(id="t", spec=spec, status=COMPLETED, output=output, output_id="1:2:3"))
    with pytest.raises(NoResultFile, match=f"{output}.*{why}"):
        await bench.service.result("t")


# -- Limits of rate --------------------------------------------------------------------------------------------------


@test
async def test_the_limits_of_the_service_are_those_that_are_saved(bench: Bench) -> None:
    """From the start, and from the moment when others are saved; a stop leaves no timer."""
    throttle = bench.tools.throttle
    await bench.service.replace_settings(SystemSettings(limit_rate=5_000_000, limit_schedule="00:00-24:00 2M"))
    assert 2 * 1024**2 == throttle.rate
    clock = Clock()
    another = Throttle(clock)
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, throttle=another), bench.folder)
    await bench.service.start()
    assert 2 * 1024**2 == another.rate
    await bench.service.replace_settings(SystemSettings(limit_rate=5_000_000))
    assert (5_000_000, []) == (another.rate, clock.getDelayedCalls())
    await bench.service.replace_settings(SystemSettings(limit_schedule="00:00-24:00 1M"))
    assert 1 == len(clock.getDelayedCalls())
    await bench.service.stop()
    assert [] == clock.getDelayedCalls()
    throttle.stop()


@test
async def test_a_running_task_gets_another_limit(bench: Bench) -> None:
    """At a kilobyte a second it would take minutes; without a limit it is done at once."""
    await bench.service.start()
    task = await bench.service.create(attrs.evolve(bench.draft("film"), extensions={"limit_rate": 1024}))
    await until(lambda: bench.tools.throttle.holds_back(task.id, "127.0.0.1"))
    assert DOWNLOADING is (await bench.service.task(task.id)).status
    changed = await bench.service.change(task.id, TaskChange(extensions={"limit_rate": 0}))
    assert 0 == changed.spec.extensions.limit_rate
    done = await bench.until_status(task, COMPLETED)
    assert 0 == done.spec.extensions.limit_rate
    assert not bench.tools.throttle.holds_back(task.id, "127.0.0.1")


# -- What there is to see of segments --------------------------------------------------------------------------------


@test
async def test_where_segments_stand_through_a_life(bench: Bench, segments: list[bytes]) -> None:
    """Before it runs, while it does, paused, failed, done: as far as it is known."""

    async def states() -> str:
        return "".join(each.states for each in (await bench.service.segment_map(task.id)).tracks)

    async def shows(expected: str) -> bool:
        return expected == await states()

    task = await bench.create(s1="times=1&status=503", s2="times=1&hang=body")
    assert "" == await states()
    await bench.service.start()
    await until(lambda: shows("drfd"))
    [group] = (await bench.service.segment_map(task.id)).groups
    assert (1, 1, COUNT, float(COUNT), True, COUNT // 2) == attrs.astuple(group)
    await bench.service.change(task.id, PAUSE)
    await until(lambda: shows("dr.d"))
    bench.origin.put("/2.ts", b"<html>no media at all", content_type="text/html")
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, FAILED)
    await until(lambda: shows("drxd"))
    bench.origin.put("/2.ts", segments[2], content_type="video/mp2t")
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    await until(lambda: not work_path(task).exists())
    assert "drdd" == await states()


@test
async def test_no_segments_of_no_task(bench: Bench) -> None:
    """It is missed by name."""
    with pytest.raises(TaskNotFound):
        await bench.service.segment_map("nobody")


# -- Watched while it is fetched -------------------------------------------------------------------------------------


async def read_whole(bench: Bench, task: Task, wanted: Wanted) -> tuple[bytes, str]:
    """What a player gets."""
    file, media = await bench.service.piece_to_watch(task.id, wanted)
    content = await file.read(0, file.size_bytes)
    file.close()
    return content, media


def watchers(bench: Bench, task: Task) -> int:
    """How many wait for a segment of a task that runs."""
    showing = bench.service._runs[task.id].job.showing()
    return 0 if showing is None else showing.download.watching


async def refused(work: Awaitable[object]) -> str:
    """The code of the error that it ends with."""
    with pytest.raises(M3u8svcError) as caught:
        await work
    return caught.value.code


@test
async def test_a_segment_is_sent_as_soon_as_it_is_there(bench: Bench, segments: list[bytes]) -> None:
    """Decrypted, from the work directory; one that is under way is waited for, and its request is not made twice."""
    bench.origin.clock = clock = Clock()
    task = await bench.create(s2="delay=3")
    await bench.service.start()
    await bench.until_some_finished(task, 3)
    assert (segments[0], "video/mp2t") == await read_whole(bench, task, Wanted(position=1))
    text = await bench.service.playlist_to_watch(task.id, None)
    assert [f"media?id={task.id}&track=0&segment={n + 1}" for n in range(COUNT)] == [
        line for line in text.splitlines() if not line.startswith("#")
    ]
    reading = Deferred.fromCoroutine(read_whole(bench, task, Wanted(position=3)))
    await until(lambda: 1 == watchers(bench, task))
    clock.advance(3)
    assert (segments[2], "video/mp2t") == await reading
    await bench.until_status(task, COMPLETED)
    assert [1] * COUNT == bench.fetched()
    await until(lambda: not bench.service._runs)
    assert "watch_the_file" == await refused(bench.service.playlist_to_watch(task.id, None))
    assert "watch_the_file" == await refused(bench.service.piece_to_watch(task.id, Wanted(position=1)))


@test
async def test_the_viewer_s_segment_is_fetched_before_others(bench: Bench) -> None:
    """A single worker is held up by the first one; the last is asked for next, then those that were passed over."""
    bench.origin.clock = clock = Clock()
    draft = attrs.evolve(bench.draft("film", s0="delay=5"), advanced=True, given={"download_threads": 1})
    task = await bench.service.create(draft)
    await bench.service.start()
    await until(lambda: bench.fetched()[0])
    reading = Deferred.fromCoroutine(read_whole(bench, task, Wanted(position=COUNT)))
    await until(lambda: 1 == watchers(bench, task))
    clock.advance(5)
    await reading
    await bench.until_status(task, COMPLETED)
    asked = [visit.path for visit in bench.origin.visits() if visit.path.endswith(".ts")]
    assert ["/0.ts", f"/{COUNT - 1}.ts", *(f"/{n}.ts" for n in range(1, COUNT - 1))] == asked


@test
async def test_whoever_waits_for_a_segment_is_told_when_nothing_comes(bench: Bench) -> None:
    """The task is paused, or the client goes away: nothing is left of the wait."""
    task = await bench.create(s1="hang=body")
    await bench.service.start()
    await bench.until_some_finished(task, COUNT - 1)
    waiting = Deferred.fromCoroutine(bench.service.piece_to_watch(task.id, Wanted(position=2)))
    gone = Deferred.fromCoroutine(bench.service.piece_to_watch(task.id, Wanted(position=2)))
    showing = bench.service._runs[task.id].job.showing()
    assert showing is not None
    await until(lambda: 2 == showing.download.watching)
    gone.cancel()
    with pytest.raises(CancelledError):
        await gone
    assert 1 == showing.download.watching
    await bench.service.change(task.id, PAUSE)
    with pytest.raises(NotThereYet):
        await waiting
    assert 0 == showing.download.watching
    await until(lambda: not bench.service._runs)
    assert "nothing_to_watch" == await refused(bench.service.playlist_to_watch(task.id, None))


@test
async def test_what_is_not_there_to_watch(bench: Bench) -> None:
    """Each has its own answer."""
    await bench.service.start()
    task = await bench.create(s1="hang=body")
    await bench.until_some_finished(task, COUNT - 1)
    for wanted in (Wanted(position=COUNT + 1), Wanted(position=1, track=1), Wanted(position=1, init=True)):
        assert "segment_absent" == await refused(bench.service.piece_to_watch(task.id, wanted))
    assert "segment_absent" == await refused(bench.service.playlist_to_watch(task.id, 1))
    assert "task_not_found" == await refused(bench.service.playlist_to_watch("nobody", None))


@test
async def test_kept_segments_are_watched_after_the_end(bench: Bench, segments: list[bytes]) -> None:
    """With the same links as before."""
    draft = attrs.evolve(bench.draft("film"), advanced=True, given={"keep_ts_files": True})
    task = await bench.service.create(draft)
    await bench.service.start()
    await bench.until_status(task, COMPLETED)
    await until(lambda: not bench.service._runs)
    text = await bench.service.playlist_to_watch(task.id, None)
    assert [f"media?id={task.id}&track=0&segment={n + 1}" for n in range(COUNT)] == [
        line for line in text.splitlines() if not line.startswith("#")
    ]
    assert (segments[3], "video/mp2t") == await read_whole(bench, task, Wanted(position=4))
    assert "segment_absent" == await refused(bench.service.piece_to_watch(task.id, Wanted(position=COUNT + 1)))


class HeldPictures:
    """
    Threads for a service in which the making of pictures, or what is `held`, waits for `gate`, or does not if that is
    None. `made` counts.
    """

    def __init__(self, in_thread: InThread, *held: str) -> None:
        self._in_thread = in_thread
        self._held = held or ("_make_picture",)
        self.gate: Deferred[Any] | None = Deferred()
        self.made = 0

    def __call__(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        """As `deferToThread`."""
        if getattr(function, "__name__", "") not in self._held:
            return self._in_thread(function, *arguments, **named)
        self.made += 1
        if self.gate is None:
            return self._in_thread(function, *arguments, **named)
        opened: Deferred[Any] = Deferred()
        self.gate.chainDeferred(opened)
        return opened.addCallback(lambda answer: answer or self._in_thread(function, *arguments, **named))

    def open(self) -> None:
        """Nobody waits any more."""
        gate, self.gate = self.gate, None
        assert gate is not None
        gate.callback(None)


@test
async def test_a_picture_of_what_goes_into_the_file_meanwhile(bench: Bench) -> None:
    """It is made of the file then; asked for again, it is in memory; a service that stops makes none."""
    threads = HeldPictures(bench.tools.in_thread)
    tools = attrs.evolve(bench.tools, in_thread=threads)
    bench.service = make_service(bench.store, tools, bench.folder)
    await bench.service.start()
    task = await bench.create(s3="times=1&hang=body")

    async def is_there() -> bool:
        return [2] == [each.picture for each in (await bench.service.segment_map(task.id)).groups]

    await until(is_there)
    got: list[Any] = []
    Deferred.fromCoroutine(bench.service.picture(task.id, 2)).addBoth(got.append)
    await until(lambda: threads.made)
    await bench.service.change(task.id, PAUSE)
    await bench.service.change(task.id, RESUME)
    await bench.until_status(task, COMPLETED)
    await until(lambda: not work_path(task).exists())
    threads.open()
    await until(lambda: got)
    assert got[0].startswith(b"\xff\xd8"), got
    assert 2 == threads.made
    assert got[0] == await bench.service.picture(task.id, 2)
    assert 2 == threads.made
    await bench.service.stop()
    with pytest.raises(NotThereYet):
        await bench.service.picture(task.id, 3)


@test
async def test_only_so_many_pictures_wait(bench: Bench) -> None:
    """The next is sent away; of the same one those who waited are not made again."""
    threads = HeldPictures(bench.tools.in_thread)
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=threads), bench.folder)
    await bench.service.start()
    task = await bench.create()
    await bench.until_status(task, COMPLETED)
    ended: list[Any] = []
    asked = PICTURES_AT_ONCE + PICTURES_WAITING + 1
    for _ in range(asked):
        Deferred.fromCoroutine(bench.service.picture(task.id, 1)).addBoth(ended.append)
    await until(lambda: ended and threads.made == PICTURES_AT_ONCE)
    assert [TooBusy] == [each.type for each in ended]
    threads.open()
    await until(lambda: len(ended) == asked, seconds=60)
    assert [b"\xff\xd8"] * (asked - 1) == [each[:2] for each in ended[1:]]
    assert PICTURES_AT_ONCE == threads.made
    await bench.service.stop()


def loads(bench: Bench) -> list[str]:
    """Whose tasks are read from the store, from now on."""
    read: list[str] = []

    async def note(task_id: str) -> None:
        read.append(task_id)

    bench.store.before["load"] = note
    return read


@test
async def test_a_picture_of_what_is_not_there_yet(bench: Bench) -> None:
    """While nobody knows its segments and before it is fetched: one is told to ask again, and the task is read once."""
    await bench.service.start()
    draft = TaskDraft(url=bench.origin.url("/m.m3u8?hang=headers"), filename="f")
    unplanned = await bench.service.create(draft)
    await bench.until_status(unplanned, Status.DOWNLOADING)
    task = await bench.create(s1="hang=body")
    await bench.until_some_finished(task, COUNT - 1)
    await until(lambda: no_events(bench.store))  # who tells of a change reads the task, too
    for each in (unplanned, task):
        read = loads(bench)
        assert "not_there_yet" == await refused(bench.service.picture(each.id, 2))
        assert [each.id] == read


@test
async def test_a_picture_of_a_result_that_is_moved_meanwhile(bench: Bench) -> None:
    """As when it is merged again: it is looked for once more, where it is then; what is only gone is gone."""
    threads = HeldPictures(bench.tools.in_thread)
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=threads), bench.folder)
    await bench.service.start()
    task = await bench.create()
    done = await bench.until_status(task, COMPLETED)
    got: list[Any] = []
    Deferred.fromCoroutine(bench.service.picture(task.id, 1)).addBoth(got.append)
    await until(lambda: threads.made)
    moved = bench.save / "moved.mp4"
    Path(done.output).rename(moved)
    await bench.service._amend(task.id, lambda each: attrs.evolve(each, output=str(moved)))
    threads.open()
    await until(lambda: got)
    assert got[0][:2] == b"\xff\xd8", got
    moved.unlink()
    made = threads.made
    assert "file_gone" == await refused(bench.service.picture(task.id, 2))
    assert made + 1 == threads.made
    await bench.service.stop()


@test
async def test_a_picture_of_what_is_moved_while_one_waits(bench: Bench) -> None:
    """It is looked for where it is when one's turn comes."""
    threads = HeldPictures(bench.tools.in_thread)
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=threads), bench.folder)
    await bench.service.start()
    task = await bench.create()
    done = await bench.until_status(task, COMPLETED)
    got: list[Any] = []
    for position in range(1, PICTURES_AT_ONCE + 2):
        Deferred.fromCoroutine(bench.service.picture(task.id, position)).addBoth(got.append)
        await until(lambda: threads.made == min(position, PICTURES_AT_ONCE))  # noqa: B023
    await until(lambda: bench.service._picturing._turns.waiting)
    moved = bench.save / "moved.mp4"
    Path(done.output).rename(moved)
    await bench.service._amend(task.id, lambda each: attrs.evolve(each, output=str(moved)))
    threads.open()
    await until(lambda: len(got) == PICTURES_AT_ONCE + 1, seconds=60)
    assert [b"\xff\xd8"] * (PICTURES_AT_ONCE + 1) == [each[:2] for each in got]
    assert 2 * PICTURES_AT_ONCE + 1 == threads.made
    await bench.service.stop()


@test
async def test_a_picture_of_a_segment_that_is_fetched_again(bench: Bench) -> None:
    """Under the same name there is another then, and another picture; asked for again, each is in memory."""
    await bench.service.start()
    task = await bench.create(s1="hang=body")
    await bench.until_some_finished(task, COUNT - 1)
    showing = bench.service._runs[task.id].job.showing()
    assert showing is not None
    first, last = (showing.download.fate((MAIN, position)) for position in (1, COUNT))
    assert isinstance(first, MediaFile)
    assert isinstance(last, MediaFile)
    before = await bench.service.picture(task.id, 1)
    again = bench.save / "again"
    shutil.copy(last.path, again)
    os.replace(again, first.path)
    os.utime(first.path, (1, 1))
    after = await bench.service.picture(task.id, 1)
    assert before != after
    bench.service._pictures.stop()  # no further child
    assert after == await bench.service.picture(task.id, 1)


@test
async def test_half_of_the_threads_stay_for_downloads(bench: Bench) -> None:
    """Where a disk hangs, pictures and files that are read take no more than the others together."""
    threads = HeldPictures(bench.tools.in_thread, "_make_picture", "open_result")
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=threads), bench.folder)
    await bench.service.start()
    task = await bench.create()
    await bench.until_status(task, COMPLETED)
    got: list[Any] = []
    for position in range(1, PICTURES_AT_ONCE + 1):
        Deferred.fromCoroutine(bench.service.picture(task.id, position)).addBoth(got.append)
    await until(lambda: threads.made == PICTURES_AT_ONCE)
    read = loads(bench)
    for _ in range(READING + 1):
        Deferred.fromCoroutine(bench.service.result(task.id)).addBoth(got.append)
    await until(lambda: len(read) == READING + 1)
    await bench.service.task(task.id)  # the others were read before
    assert READING == threads.made
    threads.open()
    await until(lambda: len(got) == PICTURES_AT_ONCE + READING + 1, seconds=60)
    for each in got[:]:
        if isinstance(each, ResultFile):
            each.close()
    await bench.service.stop()
