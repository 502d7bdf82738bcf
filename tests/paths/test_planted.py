"""
Links that somebody plants where a task writes: before it runs, while it runs, before it is deleted. In every case the
task says so by its code, and nothing behind the link is touched.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.task import deferLater

from m3u8svc.errors import TaskNotFound
from m3u8svc.job import work_path
from m3u8svc.tasks.task import Task
from tests.paths.outside import Outside
from tests.test_service import COMPLETED, FAILED, Bench, bench, reactor, segments, test
from tests.until import until

__all__ = ["bench", "segments"]

Plant = Callable[[Bench, Task, Outside], None]


def instead_of_save(bench: Bench, task: Task, outside: Outside) -> None:
    """The save directory is a link."""
    outside.instead_of(save(bench))


def instead_of_folder(bench: Bench, task: Task, outside: Outside) -> None:
    """The folder of all work directories is one."""
    outside.instead_of(work_path(task).parent)


def instead_of_work(bench: Bench, task: Task, outside: Outside) -> None:
    """The task's work directory is one."""
    outside.instead_of(work_path(task))


def above_save(bench: Bench, task: Task, outside: Outside) -> None:
    """A directory above the save directory is one."""
    outside.instead_of(bench.folder / "above")


def instead_of_part(bench: Bench, task: Task, outside: Outside) -> None:
    """The hidden file that becomes the result is one."""
    outside.instead_of(save(bench) / f".{task.id}.part.mp4", outside.file)


def among_segments(bench: Bench, task: Task, outside: Outside) -> None:
    """A file of the work directory is one."""
    outside.instead_of(work_path(task) / "00000001-0123456789ab.ts", outside.file)


def instead_of_segments(bench: Bench, task: Task, outside: Outside) -> None:
    """Every segment that is there is one."""
    for name in os.listdir(work_path(task)):
        if ".ts" in name:
            outside.instead_of(work_path(task) / name, outside.file)


def instead_of_next_segments(bench: Bench, task: Task, outside: Outside) -> None:
    """What is about to be written is one already."""
    for name in os.listdir(work_path(task)):
        if name.endswith(".new"):
            outside.instead_of(work_path(task) / f"0000000{3}-{name[9:21]}.part", outside.file)
            outside.instead_of(work_path(task) / "boot", outside.file)


BEFORE = [instead_of_save, instead_of_folder, instead_of_work, above_save, instead_of_part, among_segments]
DURING = [instead_of_save, instead_of_folder, instead_of_work, above_save, instead_of_segments]


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """What nobody may touch."""
    return Outside.made(tmp_path / "outside")


async def create(bench: Bench, **wanted: Any) -> Task:
    """A task whose result and segments lie below a directory of their own."""
    save(bench).parent.mkdir(exist_ok=True)
    draft = bench.draft("film")
    given = {"save_location": str(save(bench)), "debug_log": True, **wanted}
    return await bench.service.create(attrs.evolve(draft, advanced=True, given=given))


def save(bench: Bench) -> Path:
    """Where those tasks save."""
    return bench.folder / "above" / "save"


WANTED = {"file": {}, "both": {"keep_ts_files": True}, "kept": {"no_merge_ts": True}}
TRIED = [
    pytest.param(plant, wanted, id=f"{plant.__name__}-{name}")
    for plant in BEFORE
    for name, wanted in WANTED.items()
    if (plant, name) != (instead_of_part, "kept")  # which writes no such file
]


@pytest.mark.parametrize(("plant", "wanted"), TRIED)
@test
async def test_planted_before_it_runs(bench: Bench, outside: Outside, plant: Plant, wanted: dict[str, bool]) -> None:
    """Between its creation and its start: it fails at once."""
    task = await create(bench, **wanted)
    plant(bench, task, outside)
    await bench.service.start()
    failed = await bench.until_status(task, FAILED)
    assert "unsafe_path" == failed.err_code
    outside.insist_untouched()


@pytest.mark.parametrize("wanted", [{}, {"no_merge_ts": True}], ids=["file", "kept"])
@pytest.mark.parametrize("plant", DURING)
@test
async def test_planted_while_it_runs(
    bench: Bench, outside: Outside, plant: Plant, wanted: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of what was looked at before: the run ends with the same code."""
    task = await create(bench, **wanted)
    before_third(bench, monkeypatch, task, lambda: plant(bench, task, outside))
    await bench.service.start()
    failed = await bench.until_status(task, FAILED)
    assert "unsafe_path" == failed.err_code
    outside.insist_untouched()


@test
async def test_planted_where_it_will_write(bench: Bench, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link under a name that is written next is replaced or refused, never written through."""
    task = await create(bench)
    before_third(bench, monkeypatch, task, lambda: instead_of_next_segments(bench, task, outside))
    await bench.service.start()
    await until(lambda: ended(bench, task))
    outside.insist_untouched()


async def ended(bench: Bench, task: Task) -> bool:
    """Whether the task has come to an end."""
    return (await bench.service.task(task.id)).status in (COMPLETED, FAILED)


def before_third(bench: Bench, monkeypatch: pytest.MonkeyPatch, task: Task, plant: Callable[[], None]) -> None:
    """Hold the third segment until others are there; plant; go on."""
    fetch = bench.tools.fetcher.fetch
    planted: list[bool] = []

    async def after_planting(request: Any, *arguments: Any, **named: Any) -> Any:
        if request.position == 3 and not planted:
            planted.append(True)
            while not any(".ts" in name for name in os.listdir(work_path(task))):
                await deferLater(reactor, 0.01)
            plant()
        return await fetch(request, *arguments, **named)

    monkeypatch.setattr(bench.tools.fetcher, "fetch", after_planting)


@pytest.mark.parametrize("wanted", [{}, {"keep_ts_files": True}, {"no_merge_ts": True}], ids=["file", "both", "kept"])
@pytest.mark.parametrize("plant", [instead_of_save, above_save])
@pytest.mark.parametrize("finished", [True, False])
@test
async def test_planted_before_it_is_deleted(
    bench: Bench, outside: Outside, plant: Plant, wanted: dict[str, bool], finished: bool
) -> None:
    """What the link leads to stays, although the names are the same there; the task goes."""
    task = await create(bench, **wanted)
    if finished:
        await bench.service.start()
        await bench.until_status(task, COMPLETED)
    for name in ("film.mp4", ".task1.part.mp4", "film/index.m3u8", "film/00001.ts", ".m3u8svc/task1/00000001-0.ts"):
        outside.has(name, b"# m3u8svc task task1\n" * 9)
        outside.has(f"save/{name}", b"# m3u8svc task task1\n" * 9)
    plant(bench, task, outside)
    if not finished:
        await bench.service.start()
        await bench.until_status(task, FAILED)
    await bench.service.remove(task.id, with_files=True)

    async def gone() -> bool:
        try:
            await bench.service.task(task.id)
        except TaskNotFound:
            return True
        return False

    await until(gone)
    outside.insist_untouched()


@test
async def test_a_link_that_was_there_first_is_the_users_own(bench: Bench, tmp_path: Path) -> None:
    """A save directory behind a link, as people have who moved their films to another disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "save").symlink_to(tmp_path / "disk")
    task = await create(bench)
    await bench.service.start()
    done = await bench.until_status(task, COMPLETED)
    assert str(tmp_path / "disk" / "film.mp4") == done.output
    assert (tmp_path / "disk" / "film.mp4").stat().st_size == done.size
