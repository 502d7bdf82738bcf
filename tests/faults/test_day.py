"""
A day in the life of a service, driven by its clock: tasks come, meet faults, are paused, fail, are made and go. In the
evening it must have no more of anything than in the morning. The gate lets a real one live through it (`day.py`).
"""

import gc
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner

from m3u8svc.service import DownloadService
from m3u8svc.store import Store
from m3u8svc.tap import disk_threads, make_tools
from m3u8svc.tasks.task import Status, SystemSettings, TaskChange, TaskDraft
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from tests.faults.stage import COUNT, JumpingReactor, muxers, sha256, within

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
pytestmark = pytest.mark.faults

ROUNDS, ROUND_S = 48, 1800.0
"""A task each half an hour."""
MORNING = 12
"""By then everything has been used once."""
A_TASK = 30
"""Objects: caches of libraries still fill (measured: 0 to 14 a task), while a task that is kept has more than 90."""
FAULTS = ("", "", "status=503&times=2", "reset=1000&times=1", "body=html&times=1", "cut=500&times=1", "status=400")


@attrs.frozen(kw_only=True)
class Held:
    """What the process and the database hold."""

    objects: Counter[str]
    """By their type."""
    descriptors: int
    rss_mib: float
    rows: dict[str, int]
    files: int


def held(home: Path, save: Path) -> Held:
    """Count it."""
    # Until a program begins to log, Twisted keeps all that was logged, and with it whoever said it.
    globalLogBeginner._initialBuffer._buffer.clear()
    gc.collect()
    with closing(sqlite3.connect(f"file:{home}/tasks.sqlite3?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    return Held(
        objects=Counter(type(each).__qualname__ for each in gc.get_objects()),
        descriptors=len(os.listdir("/proc/self/fd")),
        rss_mib=int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20),
        rows=rows,
        files=sum(1 for _ in save.rglob("*")),
    )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where it lives."""
    (tmp_path / "home").mkdir()
    (tmp_path / "save").mkdir()
    yield tmp_path


async def gone(home: Path) -> None:
    """Wait until no task has a row any more: those that are being deleted have one."""
    for _ in range(3000):
        with closing(sqlite3.connect(f"file:{home}/tasks.sqlite3?mode=ro", uri=True)) as database:
            if database.execute("SELECT count(*) FROM tasks").fetchone() == (0,):
                return
        await deferLater(reactor, 0.01)
    raise AssertionError("it does not go")


async def ended(service: DownloadService, task_id: str) -> Status:
    """How a task ended."""
    for _ in range(3000):
        status = (await service.task(task_id)).status
        if status not in (Status.WAITING, Status.DOWNLOADING):
            return status
        await deferLater(reactor, 0.01)
    raise AssertionError("it did not end")


@within(300)
async def test_a_day(segments: list[bytes], place: Path) -> None:
    """24 hours: every task ends as it must, and nothing grows."""
    clock = JumpingReactor(reactor)
    morning_wall = time.time() - reactor.seconds()
    origin = await Origin.start(reactor)
    in_thread, stop_threads = disk_threads(reactor)
    tools, close = make_tools(clock, in_thread)
    tools = attrs.evolve(tools, wall=lambda: morning_wall + clock.seconds())
    store = Store(f"sqlite:///{place}/home/tasks.sqlite3", reactor=clock)
    await store.open()
    numbers = iter(range(10**6))
    service = DownloadService(
        store=store,
        tools=tools,
        max_active=2,
        default_save_location=str(place / "save"),
        defaults=SystemSettings(),
        forbidden=(),
        new_id=lambda: f"task{next(numbers)}",
    )
    await service.start()
    counts: dict[int, Held] = {}
    dice = random.Random(7)
    golden: set[str] = set()
    try:
        for number, content in enumerate(segments):
            origin.put(f"/{number}.ts", content, content_type="video/mp2t")
        for round_number in range(1, ROUNDS + 1):
            fault = FAULTS[round_number % len(FAULTS)]
            lines = [SegmentLine(uri=f"{n}.ts?{fault if n == 2 else ''}", duration_s=1.0) for n in range(COUNT)]
            origin.put("/list.m3u8", media_playlist(lines).encode())
            task = await service.create(TaskDraft(url=origin.url("/list.m3u8"), filename=f"film{round_number}"))
            if dice.random() < 0.3:
                await service.change(task.id, TaskChange(status=Status.PAUSED))
                clock.jump(600.0)
                await service.change(task.id, TaskChange(status=Status.WAITING))
            status = await ended(service, task.id)
            assert (Status.FAILED if fault == "status=400" else Status.COMPLETED) is status
            if status is Status.COMPLETED:
                golden.add(sha256((await service.task(task.id)).output))
            await service.remove(task.id, with_files=True)
            await gone(place / "home")
            origin.forget()
            origin._requests.clear()  # new links each time would only fill everybody's caches
            origin._first.clear()
            clock.jump(ROUND_S)
            await deferLater(reactor, 0.02)
            if round_number in (MORNING, ROUNDS):
                counts[round_number] = held(place / "home", place / "save")
    finally:
        await service.stop()
        await store.close()
        await close()
        stop_threads()
        await origin.stop()

    morning, evening = counts[MORNING], counts[ROUNDS]
    assert 1 == len(golden)
    assert [] == muxers()
    assert morning.rows == evening.rows
    assert morning.files == evening.files
    assert evening.descriptors <= morning.descriptors + 2
    more = evening.objects - morning.objects
    assert evening.objects.total() <= morning.objects.total() + A_TASK * (ROUNDS - MORNING), more.most_common(20)
    assert evening.rss_mib <= morning.rss_mib * 1.02 + 4
