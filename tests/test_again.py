"""
Finished tasks made again, and reports, with a real store and real downloads: nothing is fetched that is there, the old
file is whole until the new one is, and whatever happens meanwhile leaves one of the two.
"""

import errno
import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from m3u8svc.builtin import disk
from m3u8svc.checking import Checks, packets_said, parts_beside, parts_published
from m3u8svc.errors import CannotRemake, CannotVerify, ReportNotFound, TooBusy
from m3u8svc.job import work_path
from m3u8svc.loading import load_builtins
from m3u8svc.offerings import MergeJob, MergeResult, Part, Published
from m3u8svc.plugin import hookimpl
from m3u8svc.report import MOST_WARNINGS
from m3u8svc.service import CHECKS_WAITING
from m3u8svc.tasks.task import CompanionFile, Task, TaskChange, TaskDraft
from m3u8svc.testing.playlists import (
    MapLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
)
from tests import test_service
from tests.test_service import (
    COMPLETED,
    COUNT,
    DOWNLOADING,
    FAILED,
    HANG,
    PAUSE,
    RESUME,
    Bench,
    HeldPictures,
    make_service,
    muxers,
    test,
    until,
)

bench, segments = test_service.bench, test_service.segments  # fixtures
reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
MERGE, REPAIR = TaskChange(again="merge"), TaskChange(again="repair")
SHORTER = TaskChange(again="merge", given={"skip_ts_info": "1"})


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def finished(bench: Bench, *, keep: bool = True, tweaks: dict[str, str] | None = None, **extensions: Any) -> Task:
    """A task that is done, and whose work directory is as it stays."""
    draft = bench.draft("film", **(tweaks or {}))
    draft = attrs.evolve(draft, advanced=True, given={"keep_ts_files": keep}, extensions=extensions)
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    await until(lambda: task.needs_work or not work_path(task).exists())
    return task


async def made_again(bench: Bench, task: Task, change: TaskChange = MERGE) -> Task:
    """The task once it has its new result, or failed to get one."""
    await bench.service.change(task.id, change)
    return await until_made(bench, task)


async def until_made(bench: Bench, task: Task) -> Task:
    """The task once nothing is to be made any more."""

    async def over() -> bool:
        return (await bench.service.task(task.id)).again is None

    await until(over)
    await until(lambda: not bench.service.running())
    return await bench.service.task(task.id)


async def report_of(bench: Bench, task: Task) -> dict[str, Any]:
    """Its report."""
    found: dict[str, Any] = json.loads(await bench.service.report(task.id))
    return found


def outcomes(report: dict[str, Any]) -> list[str]:
    """How each segment ended."""
    return [segment["outcome"] for segment in report["segments"]]


# -- Reports ---------------------------------------------------------------------------------------------------------


@test
async def test_a_finished_task_has_a_report(bench: Bench) -> None:
    """Per segment its bytes, hash, attempts, source and outcome; and what was asked for and got."""
    await bench.service.start()
    task = await finished(bench, keep=True, tweaks={"s1": "status=503&retry_after=0&times=1"})
    report = await report_of(bench, task)
    assert (task.id, task.output, task.size) == (report["task"], report["result"]["file"], report["result"]["size"])
    assert (COUNT, True) == (report["summary"]["done"], report["summary"]["complete"])
    assert [1, 2, 1, 1] == [segment["attempts"] for segment in report["segments"]]
    for number, segment in enumerate(report["segments"]):
        kept = bench.save / "film" / f"{number + 1:05d}.ts"
        assert (kept.stat().st_size, sha256(kept)) == (segment["bytes"], segment["sha256"])
        assert bench.origin.url(f"/{number}.ts") in segment["source"]
    assert 4.0 == pytest.approx(report["result"]["duration_s"], abs=0.2)
    assert [(1, 0, 1), (1, 1, 2), (1, 2, 3), (1, 3, 4)] == [
        (each["file"], round(each["from_s"]), round(each["to_s"])) for each in report["segments"]
    ]
    [stream] = report["tracks"][0]["streams"]
    assert ("video", "h264", 100) == (stream["kind"], stream["codec"], stream["packets"])
    assert "for=film" not in json.dumps(report)


@test
async def test_damage_is_reported(bench: Bench, segments: list[bytes]) -> None:
    """A segment that is there but lost packets is named, also after a restart; and merging it again tells it on."""
    await bench.service.start()
    content = bytearray(segments[1])
    content[188 * 10 : 188 * 12] = bytes(188 * 2)
    bench.origin.put("/1.ts", bytes(content), content_type="video/mp2t")
    draft = attrs.evolve(bench.draft("film", s3=HANG), advanced=True, given={"keep_ts_files": True})
    task = await bench.service.create(draft)
    await bench.until_some_finished(task, COUNT - 1)
    await bench.service.stop()
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    task = await bench.until_status(task, COMPLETED)
    await until(lambda: not work_path(task).exists())
    report = await report_of(bench, task)
    [error] = report["continuity_errors"]
    assert (2, "done") == (error["position"], report["segments"][1]["outcome"])
    assert "2 个 TS 包" in error["reason"]
    again = await made_again(bench, task)
    assert [error] == (await report_of(bench, again))["continuity_errors"]


@test
async def test_an_unfinished_task_has_no_report(bench: Bench) -> None:
    """It is told so."""
    task = await bench.create()
    with pytest.raises(ReportNotFound):
        await bench.service.report(task.id)


@test
async def test_allowed_gaps_are_said(bench: Bench) -> None:
    """The report, the status bar and the warnings name what is missing."""
    await bench.service.start()
    task = await finished(bench, keep=False, tweaks={"s2": "status=404"}, allow_gaps=True)
    report = await report_of(bench, task)
    assert ["done", "done", "missing", "done"] == outcomes(report)
    assert (1, 1.0, False) == tuple(report["summary"][name] for name in ("missing", "missing_s", "complete"))
    assert "404" in report["segments"][2]["reason"]
    assert "缺失 1 个分片（1.0 秒）" == task.progress.status_bar
    assert "缺失 1 个分片（1.0 秒）" in task.warnings


@test
async def test_a_task_has_only_so_many_warnings(bench: Bench) -> None:
    """Its row is read and sent often: what a playlist says a thousand times is counted, and named in the report."""
    await bench.service.start()
    draft = bench.draft("film")
    gaps = [SegmentLine(uri=f"gap{n}.ts", duration_s=1.0, gap=True) for n in range(MOST_WARNINGS + 100)]
    lines = [SegmentLine(uri=f"{n}.ts?for=film&", duration_s=1.0) for n in range(COUNT)]
    bench.origin.put("/film.m3u8", media_playlist([*lines, *gaps]).encode())
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    assert MOST_WARNINGS + 1 == len(task.warnings)
    assert task.missing and task.missing == task.warnings[0]
    assert "另有 101 条警告未列出，见报告" == task.warnings[-1]
    assert MOST_WARNINGS + 100 == outcomes(await report_of(bench, task)).count("gap")


@test
async def test_a_report_lies_beside_the_file_on_request(bench: Bench) -> None:
    """It is the same report; made again without it, it goes; deleting with files removes it."""
    await bench.service.start()
    task = await finished(bench, report=True)
    beside = bench.save / "film.report.json"
    written = json.loads(beside.read_bytes())
    assert written["segments"] == (await report_of(bench, task))["segments"]
    task = await made_again(bench, task, SHORTER)
    assert ["skipped", "done", "done", "done"] == outcomes(json.loads(beside.read_bytes()))
    task = await made_again(bench, task, TaskChange(again="merge", extensions={"report": False}))
    assert not beside.exists() and Path(task.output).exists()
    await made_again(bench, task, TaskChange(again="merge", extensions={"report": True}))
    assert beside.exists()
    await bench.service.remove(task.id, with_files=True)
    await until(lambda: [] == os.listdir(bench.save))


# -- Merging again ---------------------------------------------------------------------------------------------------


@test
async def test_kept_segments_are_merged_again_without_fetching(bench: Bench) -> None:
    """Nothing is asked of the server, not even the playlist; the new file takes the old one's name at once."""
    await bench.service.start()
    task = await finished(bench)
    old, path = sha256(Path(task.output)), Path(task.output)
    asked = len(bench.origin.visits())
    seen: set[tuple[str, str]] = set()
    bench.service.watch(lambda shown: seen.add((shown.status.name, sha256(path))))
    again = await made_again(bench, task, SHORTER)
    assert asked == len(bench.origin.visits())
    assert {"COMPLETED"} == {status for status, _ in seen}
    new = sha256(path)
    assert old != new and {old, new} == {content for _, content in seen}
    assert (task.output, path.stat().st_size) == (again.output, again.size) and again.size < task.size
    assert ["skipped", "done", "done", "done"] == outcomes(await report_of(bench, again))
    assert ["film", "film.mp4"] == sorted(name for name in os.listdir(bench.save) if name != ".m3u8svc")
    await until(lambda: not work_path(task).exists())


@test
async def test_what_was_kept_stays_kept(bench: Bench) -> None:
    """Left out and taken in again: the segments are all still there, and the file is the first one, byte for byte."""
    await bench.service.start()
    task = await finished(bench)
    first = sha256(Path(task.output))
    task = await made_again(bench, task, SHORTER)
    assert COUNT == sum(name.endswith(".ts") for name in os.listdir(bench.save / "film"))
    again = await made_again(bench, task, TaskChange(again="merge", given={"skip_ts_info": ""}))
    assert first == sha256(Path(again.output))
    assert [1] * COUNT == bench.fetched()


@test
async def test_groups_are_chosen_after_completion(bench: Bench) -> None:
    """Another choice of groups makes another file of what was kept; the report says which are in it."""
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film"), advanced=True, given={"keep_ts_files": True})
    lines = [SegmentLine(uri=f"{n}.ts?for=film&", duration_s=1.0, discontinuity=n in (1, 3)) for n in range(COUNT)]
    bench.origin.put("/film.m3u8", media_playlist(lines).encode())
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    await until(lambda: not work_path(task).exists())
    again = await made_again(bench, task, TaskChange(again="merge", extensions={"groups": "2-3"}))
    report = await report_of(bench, again)
    assert [("1-1", False), ("2-3", True), ("4-4", True)] == [
        (each["positions"], each["kept"]) for each in report["groups"]
    ]
    assert ["skipped", "done", "done", "done"] == outcomes(report)
    assert again.size < task.size and [1] * COUNT == bench.fetched()


@test
async def test_a_changed_segment_is_fetched_again(bench: Bench) -> None:
    """A kept file that is not what the report says is not merged: it is fetched, and the task says so."""
    await bench.service.start()
    task = await finished(bench)
    first = sha256(Path(task.output))
    kept = bench.save / "film" / "00002.ts"
    kept.write_bytes(kept.read_bytes()[::-1])
    again = await made_again(bench, task)
    assert [1, 2, 1, 1] == bench.fetched()
    assert first == sha256(Path(again.output))
    assert any("00002.ts" in warning for warning in again.warnings)


@test
async def test_without_kept_segments_all_is_fetched_again(bench: Bench) -> None:
    """The service knows that beforehand, and the file is the same."""
    await bench.service.start()
    task = await finished(bench, keep=False)
    first = sha256(Path(task.output))
    assert not await bench.service.keeps_segments(task.id)
    again = await made_again(bench, task)
    assert ([2] * COUNT, first) == (bench.fetched(), sha256(Path(again.output)))


@test
async def test_a_failure_leaves_the_old_file(bench: Bench) -> None:
    """The task stays 已完成 with its file, its report and a warning; nothing half-made is left."""
    await bench.service.start()
    task = await finished(bench, keep=False)
    old, report = sha256(Path(task.output)), await report_of(bench, task)
    bench.draft("film", s2="status=404")
    again = await made_again(bench, task, SHORTER)
    assert (COMPLETED, task.output, task.size, "") == (again.status, again.output, again.size, again.err_code)
    assert (old, report) == (sha256(Path(task.output)), await report_of(bench, task))
    assert any("重新合并失败" in warning and "404" in warning for warning in again.warnings)
    await until(lambda: ["film.mp4"] == os.listdir(bench.save))


@test
async def test_a_failure_behind_the_new_file_is_not_undone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The new file has its name, but what belongs beside it has not: the task says so and waits, and goes on from there.
    """
    await bench.service.start()
    task = await finished(bench, report=True)
    old, asked = sha256(Path(task.output)), len(bench.origin.visits())
    replace = disk._replace_if_ours

    def full(staged: Path, output: Path, output_id: str) -> Published | None:
        if output.suffix == ".json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(staged, output, output_id)

    monkeypatch.setattr(disk, "_replace_if_ours", full)
    await bench.service.change(task.id, SHORTER)
    await until(lambda: sha256(Path(task.output)) != old and not bench.service.running())
    await until(lambda: not bench.service._runs)
    held = await bench.service.task(task.id)
    assert held.again is not None and held.again.paused
    assert not any("原文件未变" in warning for warning in held.warnings)
    assert any("收尾" in warning for warning in held.warnings)
    with pytest.raises(CannotRemake):  # it would lie beside this one, which would be nobody's
        await bench.service.change(task.id, MERGE)
    monkeypatch.undo()
    await bench.service.change(task.id, RESUME)
    again = await until_made(bench, task)
    assert (task.output, Path(task.output).stat().st_size) == (again.output, again.size)
    beside = json.loads((bench.save / "film.report.json").read_bytes())
    assert ["skipped", "done", "done", "done"] == outcomes(beside) == outcomes(await report_of(bench, again))
    assert asked == len(bench.origin.visits())
    assert not any("收尾" in warning for warning in again.warnings)
    await bench.service.remove(task.id, with_files=True)
    await until(lambda: [] == os.listdir(bench.save))


@test
async def test_a_file_of_somebody_else_is_not_replaced(bench: Bench) -> None:
    """What lies under the old name and is not ours stays; the new file gets the next one."""
    await bench.service.start()
    task = await finished(bench)
    Path(task.output).unlink()
    Path(task.output).write_text("mine")
    again = await made_again(bench, task)
    assert ("mine", str(bench.save / "film_0001.mp4")) == (Path(task.output).read_text(), again.output)
    assert again.size == (bench.save / "film_0001.mp4").stat().st_size


@test
async def test_segments_that_were_only_kept_become_a_file(bench: Bench) -> None:
    """A task without merging is merged later, without fetching."""
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film"), advanced=True, given={"no_merge_ts": True})
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    await until(lambda: not work_path(task).exists())
    with pytest.raises(CannotRemake):
        await bench.service.change(task.id, MERGE)
    again = await made_again(bench, task, TaskChange(again="merge", given={"no_merge_ts": False}))
    assert (str(bench.save / "film.mp4"), [1] * COUNT) == (again.output, bench.fetched())
    assert (bench.save / "film" / "00001.ts").exists()


@test
async def test_a_file_is_deleted_whatever_the_settings_became(bench: Bench) -> None:
    """A film that would not be made under the settings of now is still the task's own."""
    await bench.service.start()
    task = await finished(bench, report=True)
    await bench.service.change(task.id, TaskChange(given={"no_merge_ts": True}))
    await bench.service.remove(task.id, with_files=True)
    await until(lambda: [] == os.listdir(bench.save))


@test
async def test_a_report_beside_kept_segments_is_deleted_with_them(bench: Bench) -> None:
    """As it is beside a file."""
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film"), advanced=True, given={"no_merge_ts": True}, extensions={"report": True})
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    assert ["film", "film.report.json"] == sorted(name for name in os.listdir(bench.save) if name != ".m3u8svc")
    await bench.service.remove(task.id, with_files=True)
    await until(lambda: [] == os.listdir(bench.save))


# -- Repair ----------------------------------------------------------------------------------------------------------


@test
async def test_repair_fetches_only_what_is_missing(bench: Bench) -> None:
    """A result with a hole keeps its segments; repaired, it is what it would have been, and they go."""
    await bench.service.start()
    whole = await bench.until_status(await bench.create("whole"), COMPLETED)
    task = await finished(bench, keep=False, tweaks={"s2": "status=404&times=1"}, allow_gaps=True)
    assert work_path(task).exists()
    assert sha256(Path(whole.output)) != sha256(Path(task.output))
    again = await made_again(bench, task, REPAIR)
    assert [1, 1, 2, 1] == bench.fetched()
    assert sha256(Path(whole.output)) == sha256(Path(again.output))
    assert ("", "") == (again.missing, again.progress.status_bar)
    assert ["done"] * COUNT == outcomes(await report_of(bench, again))
    await until(lambda: not work_path(task).exists())


# -- Meanwhile -------------------------------------------------------------------------------------------------------


async def hanging(bench: Bench, *, keep: bool = False) -> Task:
    """A finished task whose next run hangs at its last segment, while it is made again."""
    task = await finished(bench, keep=keep)
    bench.draft("film", s3=HANG)
    await bench.service.change(task.id, MERGE)
    await bench.until_some_finished(task, COUNT - 1)
    return task


@test
async def test_it_shows_while_it_is_made_again(bench: Bench) -> None:
    """已完成 with the phase of the run, at 100 percent; the file is the old one."""
    await bench.service.start()
    task = await hanging(bench)
    live = await bench.service.task(task.id)
    assert (COMPLETED, "download", 100) == (live.status, live.progress.phase.value, live.progress.percent)
    assert task.size == Path(task.output).stat().st_size
    assert [task.id] == [each.id for each in bench.service.running()]


@test
async def test_paused_it_waits_and_goes_on(bench: Bench) -> None:
    """The run ends, the task stays 已完成; going on fetches only what was not there."""
    await bench.service.start()
    task = await hanging(bench)
    old = sha256(Path(task.output))
    paused = await bench.service.change(task.id, PAUSE)
    await until(lambda: not bench.service.running() and not muxers())
    assert (COMPLETED, "重新合并已暂停", old) == (paused.status, paused.progress.status_bar, sha256(Path(task.output)))
    await bench.service.change(task.id, RESUME)
    again = await until_made(bench, task)
    assert ([2, 2, 2, 3], old) == (bench.fetched(), sha256(Path(again.output)))


@pytest.mark.parametrize("with_files", [False, True])
@test
async def test_deleted_it_leaves_the_old_file_or_nothing(bench: Bench, with_files: bool) -> None:
    """As asked."""
    await bench.service.start()
    task = await hanging(bench)
    await bench.service.remove(task.id, with_files=with_files)
    await until(lambda: ([] if with_files else ["film.mp4"]) == os.listdir(bench.save))
    assert [] == muxers()


@pytest.mark.parametrize("what", ["delete", "pause"])
@test
async def test_changed_in_the_moment_it_begins(bench: Bench, what: str) -> None:
    """Whoever deletes or pauses it just then is heeded: nobody works for a task that is not there, or shall wait."""
    await bench.service.start()
    done = await bench.until_status(await bench.create(), COMPLETED)
    asked = len(bench.origin.visits())

    async def meanwhile(argument: object) -> None:
        bench.store.before.clear()
        if what == "delete":
            await bench.service.remove(done.id, with_files=False)
        else:
            await bench.service.change(done.id, PAUSE)

    bench.store.before["report"] = meanwhile
    await bench.service.change(done.id, SHORTER)
    await until(lambda: not bench.store.before)
    await deferLater(reactor, 0.5)
    assert asked == len(bench.origin.visits())
    assert ["film.mp4"] == os.listdir(bench.save)


@test
async def test_the_next_start_clears_nothing_that_is_in_use(bench: Bench) -> None:
    """What a dead process left of a finished task goes, unless the task is being made again by then."""
    await bench.service.start()
    done = await finished(bench, keep=False)
    await bench.service.stop()
    bench.draft("film", s3=HANG)
    bench.service = make_service(bench.store, bench.tools, bench.folder)

    async def late(argument: object) -> None:
        bench.store.before.clear()
        await bench.service.change(done.id, MERGE)
        await bench.until_some_finished(done, COUNT - 1)

    bench.store.before["forget_segments"] = late
    await bench.service.start()
    await until(lambda: work_path(done).is_dir())
    await bench.until_some_finished(done, COUNT - 1)
    await deferLater(reactor, 0.3)
    assert work_path(done).is_dir()


@test
async def test_a_restart_goes_on(bench: Bench) -> None:
    """What was fetched is not fetched again, and the file is replaced in the end."""
    await bench.service.start()
    task = await hanging(bench)
    await bench.service.stop()
    stored = await bench.store.load(task.id)
    assert (COMPLETED, "", 100) == (stored.status, stored.progress.phase.value, stored.progress.percent)
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    await until_made(bench, task)
    assert [2, 2, 2, 3] == bench.fetched()


@test
async def test_a_result_that_could_not_be_recorded_is_found(bench: Bench) -> None:
    """The store fails between the new file's name and its row: the next run finds the file, and makes no other."""
    await bench.service.start()
    task = await finished(bench)

    async def fail(stored: Task) -> None:
        if stored.again is None:
            bench.store.failing.add("replace COMPLETED")

    bench.store.before["replace COMPLETED"] = fail
    await bench.service.change(task.id, SHORTER)
    path = Path(task.output)
    await until(lambda: bench.store.failing)
    bench.store.before.clear()
    assert (await bench.store.load(task.id)).again is not None
    placed = path.stat()
    assert placed.st_size < task.size
    await deferLater(reactor, 0.2)
    bench.store.failing.clear()
    again = await until_made(bench, task)
    assert (placed.st_ino, placed.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)
    assert (placed.st_size, f"{placed.st_ino}:{placed.st_size}:{placed.st_mtime_ns}") == (again.size, again.output_id)
    assert ["skipped", "done", "done", "done"] == outcomes(await report_of(bench, again))


@test
async def test_it_counts_among_those_that_run(bench: Bench) -> None:
    """A task that is made again has a place of its own among `max_active`, and waits for one."""
    await bench.service.start()
    task = await finished(bench)
    bench.service._max_active = 1
    busy = await bench.create("busy", s3=HANG)
    await bench.until_status(busy, DOWNLOADING)
    waiting = await bench.service.change(task.id, MERGE)
    assert ("", "merge") == (waiting.progress.phase.value, (waiting.again or pytest.fail("not wanted")).kind)
    await bench.service.change(busy.id, PAUSE)
    await until_made(bench, task)


# -- Verifying -------------------------------------------------------------------------------------------------------


@test
async def test_a_good_file_is_verified(bench: Bench) -> None:
    """Every packet is read and decoded; the counts agree with the tables."""
    await bench.service.start()
    task = await finished(bench)
    found = await bench.service.verify(task.id, decode=True)
    [track] = found["tracks"]
    assert (True, [], 100, 100, 100) == (
        found["ok"],
        found["problems"],
        track["packets"],
        track["samples"],
        track["frames"],
    )


@pytest.mark.parametrize(("damage", "code"), [("cut", "broken"), ("zeros", "decode"), ("longer", "size")])
@test
async def test_a_damaged_file_is_found_out(bench: Bench, damage: str, code: str) -> None:
    """Cut off, overwritten inside, or not the one that was made."""
    await bench.service.start()
    task = await finished(bench)
    content = bytearray(Path(task.output).read_bytes())
    if damage == "cut":
        del content[-100:]
    elif damage == "zeros":
        content[2000 : len(content) // 2] = bytes(len(content) // 2 - 2000)
    else:
        content += (16).to_bytes(4) + b"free" + bytes(8)
    Path(task.output).write_bytes(content)
    found = await bench.service.verify(task.id, decode=True)
    assert not found["ok"]
    assert code in [problem["code"] for problem in found["problems"]]


@test
async def test_only_so_many_checks_wait(bench: Bench) -> None:
    """One more than one at work and those who wait is sent away, and told when to come back."""
    threads = HeldPictures(bench.tools.in_thread, "check")
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, in_thread=threads), bench.folder)
    await bench.service.start()
    task = await finished(bench)
    checks = [Deferred.fromCoroutine(bench.service.verify(task.id, decode=True)) for _ in range(CHECKS_WAITING + 2)]
    ended: list[object] = []
    for check in checks:
        check.addBoth(ended.append)
    await until(lambda: ended)
    threads.open()
    await bench.service.stop()  # ends the checks, too
    await until(lambda: len(checks) == len(ended))
    busy = [each.value for each in ended if isinstance(each, Failure) and each.check(TooBusy)]
    assert [CHECKS_WAITING] == [error.fields["limit"] for error in busy]
    assert busy[0].retry_after_s > 0


@test
async def test_what_is_no_file_is_not_verified(bench: Bench) -> None:
    """Neither an unfinished task nor a result that is gone."""
    await bench.service.start()
    task = await finished(bench)
    Path(task.output).unlink()
    with pytest.raises(CannotVerify):
        await bench.service.verify(task.id, decode=False)


@pytest.fixture(scope="session")
def larger(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two segments of another size of picture."""
    folder = tmp_path_factory.mktemp("larger")
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-t", "2", "-c:v", "libx264", "-g", "25"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *source, *hls, str(folder / "list.m3u8")], check=True)
    return [(folder / f"{number}.ts").read_bytes() for number in range(2)]


async def split(bench: Bench, larger: list[bytes]) -> tuple[Task, list[Path]]:
    """A finished task whose result is three files, of 25, 50 and 50 frames."""
    for number, content in enumerate(larger):
        bench.origin.put(f"/larger{number}.ts", content)
    lines = [
        SegmentLine(uri=uri, duration_s=1.0, discontinuity=uri in ("larger0.ts", "1.ts"))
        for uri in ("0.ts", "larger0.ts", "larger1.ts", "1.ts", "2.ts")
    ]
    bench.origin.put("/split.m3u8", media_playlist(lines).encode())
    draft = TaskDraft(
        url=bench.origin.url("/split.m3u8"), filename="film", extensions={"on_param_change": "split", "report": True}
    )
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    paths = [Path(task.output), *(bench.save / f"film.p{number}.mp4" for number in (2, 3))]
    assert all(path.is_file() for path in paths)
    return task, paths


@test
async def test_all_files_of_a_split_result_are_verified(bench: Bench, larger: list[bytes]) -> None:
    """By the service and at the file alike."""
    await bench.service.start()
    task, paths = await split(bench, larger)
    found = await bench.service.verify(task.id, decode=True)
    assert (True, []) == (found["ok"], found["problems"])
    assert [str(path) for path in paths[1:]] == [part["file"] for part in found["parts"]]
    assert [25, 50, 50] == [each["tracks"][0]["frames"] for each in (found, *found["parts"])]
    assert paths[1:] == parts_beside(paths[0])


@pytest.mark.parametrize("number", [0, 1, 2])
@test
async def test_a_damaged_file_of_a_split_result_is_named(bench: Bench, larger: list[bytes], number: int) -> None:
    """The others are looked at all the same."""
    await bench.service.start()
    task, paths = await split(bench, larger)
    os.truncate(paths[number], paths[number].stat().st_size - 10)
    found = await bench.service.verify(task.id, decode=False)
    assert not found["ok"]
    assert (paths[number].name, "broken") in [(each["file"], each["code"]) for each in found["problems"]]
    assert {paths[number].name} == {each["file"] for each in found["problems"]}
    assert 2 == len(found["parts"])


@pytest.mark.parametrize("number", [1, 2])
@test
async def test_a_file_of_a_split_result_that_is_gone(bench: Bench, larger: list[bytes], number: int) -> None:
    """
    The service knows which; beside a file it is the one before the next, or, of the last, the packets that the report
    misses.
    """
    await bench.service.start()
    task, paths = await split(bench, larger)
    report = json.loads(await bench.service.report(task.id))
    paths[number].unlink()
    found = await bench.service.verify(task.id, decode=False)
    missing = {"file": paths[number].name, "code": "missing"}
    assert (False, [missing]) == (found["ok"], found["problems"])
    here = Checks().check(paths[0], report, decode=False, parts=parts_beside(paths[0]))
    fewer = {"code": "fewer", "kind": "video", "expected": 125, "got": 75}
    assert (False, [missing if number == 1 else fewer]) == (here["ok"], here["problems"])


@pytest.mark.parametrize(
    ("there", "parts"),
    [("", ""), ("2", "2"), ("2 3", "2 3"), ("3", "2 3"), ("2 4", "2 3 4"), ("2 720", "2"), ("720", ""), ("1", "")],
)
def test_parts_beside_a_file(there: str, parts: str, tmp_path: Path) -> None:
    """What is called like a part and follows another; one that is not there counts if the next is."""
    for number in there.split():
        (tmp_path / f"film.p{number}.mp4").touch()
    assert [tmp_path / f"film.p{number}.mp4" for number in parts.split()] == parts_beside(tmp_path / "film.mp4")


def test_packets_of_a_merger_that_tells_less() -> None:
    """What is not told is not missed."""
    streams: list[dict[str, Any]] = [{}, {"kind": "video"}, {"kind": "audio", "packets": 3}, {"kind": "subtitle"}]
    assert ({"video": 0, "audio": 3}, 0) == packets_said({"tracks": [{"streams": streams}, {"streams": []}]})


def test_parts_of_a_task() -> None:
    """Where they were published, under whatever name; one that is unknown is looked for where it should be."""
    companions = [
        CompanionFile(suffix=suffix, output_id="", output=output)
        for suffix, output in (("en.vtt", "/s/film.en.vtt"), ("p3.mp4", "/s/film.p3 (1).mp4"), ("report.json", "/s/x"))
    ]
    expected = [Path("/s/film.p2.mp4"), Path("/s/film.p3 (1).mp4")]
    assert expected == parts_published(Path("/s/film.mp4"), companions)
    assert [] == parts_published(Path("/s/film.mp4"), companions[:1])


# -- Other streams ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def fragments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film in two streams: pictures in fMP4 with an init section, sound in MPEG-TS, in segments of a second."""
    folder = tmp_path_factory.mktemp("fragments")
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-t", str(COUNT), "-c:v", "libx264", "-g", "25"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_type", "fmp4"]
    names = ["-hls_segment_filename", str(folder / "%d.m4s"), str(folder / "list.m3u8")]
    subprocess.run(["ffmpeg", "-v", "error", *source, *hls, *names], check=True, cwd=folder)
    sound = ["-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", str(COUNT), "-c:a", "aac"]
    cut = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "s%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *sound, *cut, str(folder / "sound.m3u8")], check=True)
    return folder


async def with_renditions(bench: Bench, fragments: Path) -> Task:
    """A finished task of fMP4 pictures beside sound of its own, whose URLs all have a token."""
    for file in fragments.iterdir():
        bench.origin.put(f"/f/{file.name}", file.read_bytes())
    lines = [SegmentLine(uri=f"{n}.m4s?token=s3cret", duration_s=1.0) for n in range(COUNT)]
    lines[0] = attrs.evolve(lines[0], map=MapLine(uri="init.mp4?token=s3cret"))
    bench.origin.put("/f/video.m3u8", media_playlist(lines).encode())
    sound = [SegmentLine(uri=f"s{n}.ts?token=s3cret", duration_s=1.0) for n in range(COUNT)]
    bench.origin.put("/f/sound.m3u8", media_playlist(sound).encode())
    variant = VariantLine(uri="video.m3u8?token=s3cret", resolution=(160, 90), audio="a")
    rendition = RenditionLine(group="a", name="Ton", uri="sound.m3u8?token=s3cret", language="de")
    bench.origin.put("/f/master.m3u8", master_playlist([variant], renditions=[rendition]).encode())
    draft = TaskDraft(
        url=bench.origin.url("/f/master.m3u8"), filename="film", advanced=True, given={"keep_ts_files": True}
    )
    task = await bench.until_status(await bench.service.create(draft), COMPLETED)
    await until(lambda: not work_path(task).exists())
    return task


@test
async def test_renditions_and_init_sections_are_used_again(bench: Bench, fragments: Path) -> None:
    """All tracks, from what was kept alone; the same settings make the same file."""
    await bench.service.start()
    task = await with_renditions(bench, fragments)
    report = await report_of(bench, task)
    assert [("main", "main"), ("audio1", "audio")] == [(each["track"], each["kind"]) for each in report["tracks"]]
    assert [sha256(fragments / "init.mp4")] == list(report["inits"].values())
    assert "s3cret" not in json.dumps(report)
    first, asked, path = sha256(Path(task.output)), len(bench.origin.visits()), Path(task.output)
    task = await made_again(bench, task, SHORTER)
    assert first != sha256(path)
    again = [(each["track"], each["outcome"]) for each in (await report_of(bench, task))["segments"]]
    assert [("main", "skipped"), ("audio1", "skipped")] == [each for each in again if each[1] != "done"]
    await made_again(bench, task, TaskChange(again="merge", given={"skip_ts_info": ""}))
    assert (first, asked) == (sha256(path), len(bench.origin.visits()))


@test
async def test_a_changed_init_section_is_fetched_again(bench: Bench, fragments: Path) -> None:
    """And its segments with it: the file is right."""
    await bench.service.start()
    task = await with_renditions(bench, fragments)
    first, path = sha256(Path(task.output)), Path(task.output)
    (bench.save / "film" / "init-1.mp4").write_bytes(b"nonsense")
    again = await made_again(bench, task)
    assert first == sha256(path)
    assert any("init-1.mp4" in warning for warning in again.warnings)


class Poisoned:
    """A merger that says it could not use the second segment."""

    name = "poisoned"

    def extension(self, task: Task) -> str:
        return ".bin"

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: Any) -> MergeResult:
        async for _ in parts:
            job.target.write_bytes(b"x")
        details = {"poisoned": [{"track": "main", "n": 2}]}
        return MergeResult(size_bytes=1, duration_s=1.0, details=details)


class PoisonedPlugin:
    """Offers it."""

    @hookimpl
    def register_mergers(self) -> list[Poisoned]:
        return [Poisoned()]


@pytest.mark.parametrize("allowed", [False, True])
@test
async def test_a_segment_that_cannot_be_merged_is_a_hole(bench: Bench, allowed: bool) -> None:
    """It fails the task, unless the task allows gaps; then the report and the status bar say so."""
    plugins = load_builtins([*bench.builtins, PoisonedPlugin()], clock=reactor)
    bench.service = make_service(bench.store, attrs.evolve(bench.tools, plugins=plugins), bench.folder)
    await bench.service.start()
    draft = attrs.evolve(bench.draft("film"), extensions={"merger": "poisoned", "allow_gaps": allowed})
    task = await bench.until_status(await bench.service.create(draft), COMPLETED if allowed else FAILED)
    if allowed:
        assert "缺失 1 个分片（1.0 秒）" == task.progress.status_bar
        assert ["done", "missing", "done", "done"] == outcomes(await report_of(bench, task))
    else:
        assert "segments_unusable" == task.err_code
        assert not (bench.save / "film.bin").exists()
