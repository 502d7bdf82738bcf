"""
Nothing grows with the tasks that are over, whatever became of them: objects, descriptors, files, lines of the log
(reliability 6.4).
"""

import functools
import gc
import itertools
import operator
import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import ref

import attrs
import pytest
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEventAsClassicLogText, globalLogBeginner, globalLogPublisher

from m3u8svc.job import work_path
from m3u8svc.tasks.task import Status
from tests.test_service import FAILED, Bench, bench, reactor, segments, test
from tests.until import until

__all__ = ["bench", "segments"]

WARM_UP, TASKS = 48, 72
LINES_BYTES = 2 << 10
"""What the log may say of one task."""
FAILURE_BYTES = 1 << 10
"""And of one segment that failed."""
GONE_WITHIN_S = 10.0
CONTAINERS = (dict, list, set, deque)


async def finish(bench: Bench, count: int) -> None:
    """So many tasks to their end: some merged, some that fail, some that are deleted."""
    for number in range(count):
        broken = number % 4 == 3
        draft = bench.draft("broken", s1="status=404") if broken else bench.draft("film")
        merger = "ts" if number % 2 else "none"
        task = await bench.service.create(attrs.evolve(draft, extensions={"merger": merger}))
        await bench.until_status(task, FAILED if broken else Status.COMPLETED)
        if number % 3 == 0:
            await bench.service.remove(task.id, with_files=True)
    await until(lambda: not bench.service._runs)


def forget(bench: Bench) -> None:
    """
    What only the test holds: what was seen, and the log, which Twisted keeps until somebody begins to log. And the
    statements that SQLAlchemy has compiled, 500 at most: one that writes so many rows for the first time is new.
    """
    bench.origin.forget()
    bench.seen.clear()
    bench.listener.told.clear()
    globalLogBeginner._initialBuffer._buffer.clear()
    bench.store._database._engine.clear_compiled_cache()


async def held(bench: Bench) -> tuple[Counter[str], Counter[str]]:
    """How many objects of each type there are, and how many entries the containers of each type have."""
    await deferLater(reactor, 0.3)  # rows of the ledger and connections that nobody uses have gone
    forget(bench)
    gc.collect()
    # Weak references to what is gone wait in lists of the library until somebody looks there: they come and go.
    objects = [each for each in gc.get_objects() if type(each) is not ref or each() is not None]
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in objects)
    entries = Counter[str]()
    for each in objects:
        if type(each) in CONTAINERS:
            entries[type(each).__name__] += sum(type(one) is not ref for one in list(each))
    return kinds, entries


def test_finished_tasks_leave_no_objects() -> None:
    """Counted in a process of its own: thousands of tests before it leave caches that still fill."""
    argv = [sys.executable, "-m", "pytest", "-m", "alone", "-p", "no:cacheprovider", __file__]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert 0 == ended.returncode, ended.stdout


@pytest.mark.alone
@pytest.mark.parametrize("bench", ["sqlite://"], indirect=True)  # a file would be synced 13 times a task
@test
async def test_objects_of_finished_tasks(bench: Bench) -> None:
    """
    Of no type is there one more for each task of a kind, and no dict or list has one more entry. What grows once or
    twice is the logs of the last tasks, which are now of one kind and now of another: it counts what grows in three
    rounds.
    """
    await bench.service.start()
    await finish(bench, WARM_UP)
    rounds = [await held(bench)]
    for _ in range(3):
        await finish(bench, TASKS)
        rounds.append(await held(bench))
    for counts in zip(*rounds, strict=True):
        steady = functools.reduce(operator.and_, [after - before for before, after in itertools.pairwise(counts)])
        assert {} == {name: more for name, more in steady.items() if more >= least(name)}


@test
async def test_descriptors_and_work_directories_are_given_back(bench: Bench) -> None:
    """After 50 tasks of all kinds there are as many as before them, and what they worked in is gone in 10 s."""
    await bench.service.start()
    await finish(bench, 8)
    before = descriptors()
    await finish(bench, 50)
    await until(lambda: len(descriptors()) <= len(before), seconds=GONE_WITHIN_S)
    finished = [task for task in await bench.service.tasks() if task.status is Status.COMPLETED]
    await until(lambda: not any(work_path(task).exists() for task in finished), seconds=GONE_WITHIN_S)


@test
async def test_a_deleted_task_leaves_no_work_directory(bench: Bench) -> None:
    """Whether it had failed or still ran: it is gone in 10 s."""
    await bench.service.start()
    failed = await bench.until_status(await bench.create("broken", s3="status=404"), FAILED)
    running = await bench.create("slow", s3="hang=body")
    await until(lambda: work_path(running).is_dir())
    assert work_path(failed).is_dir()
    for task in (failed, running):
        await bench.service.remove(task.id, with_files=False)
    await until(lambda: not any(work_path(task).exists() for task in (failed, running)), seconds=GONE_WITHIN_S)


@test
async def test_the_log_says_little_of_each_task(bench: Bench) -> None:
    """At INFO 2 KiB of one that is done, and 1 KiB more of a segment that is not to be had."""
    await bench.service.start()
    with logged() as lines:
        await bench.until_status(await bench.create("film"), Status.COMPLETED)
        await until(lambda: not bench.service._runs)
    assert any("completed" in line for line in lines)
    assert sum(len(line.encode()) for line in lines) <= LINES_BYTES
    with logged() as lines:
        await bench.until_status(await bench.create("broken", s1="status=404"), FAILED)
        await until(lambda: not bench.service._runs)
    assert any("failed" in line for line in lines)
    assert sum(len(line.encode()) for line in lines) <= LINES_BYTES + FAILURE_BYTES


def least(name: str) -> int:
    """How much more counts. There are always a few tuples and lists more or less; of other types one for each kind."""
    return TASKS // 2 if "." not in name or name.startswith("builtins.") else TASKS // 6


@contextmanager
def logged() -> Iterator[list[str]]:
    """The lines of the log at INFO, as a file has them."""
    lines: list[str] = []

    def note(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info and event["log_namespace"].startswith("m3u8svc"):
            lines.append(formatEventAsClassicLogText(event) or "")

    globalLogPublisher.addObserver(note)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(note)


def descriptors() -> list[str]:
    """The open ones of this process."""
    return os.listdir("/proc/self/fd")
