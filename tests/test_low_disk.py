"""
Letting go of segments while they are merged: what stays, what is fetched again, and what keeps a download in step.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from m3u8svc.errors import CheckpointLost, DiskFull, MergeLost, NeedsUrl, SegmentFailed
from m3u8svc.hls.cuts import LEAST_BYTES, Cuts
from m3u8svc.hls.plan import PartOrder
from m3u8svc.job import Outcome
from m3u8svc.keepingpace import Gate
from m3u8svc.merge import Muxing
from m3u8svc.offerings import Checkpoint, Gap, LowDisk, MediaFile, MergeJob, Part
from m3u8svc.tasks.merged import Merged
from m3u8svc.tasks.task import Extensions, Task, TaskSpec
from m3u8svc.testing.playlists import SegmentLine
from m3u8svc.workdir import Stored, WorkDir
from tests.needs import memory_disk
from tests.test_job import (
    COUNT,
    Bench,
    Looking,
    bench,  # noqa: F401  # a fixture
    cancelled,
    lines,
    muxers,
    pictures,
    segments,  # noqa: F401  # a fixture
    sha256,
    with_plugin,
    work_path,
)

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
test = pytest_twisted.ensureDeferred
LOW = Extensions(low_disk=True)
NULL_PACKET = b"\x47\x1f\xff\x10".ljust(188, b"\xff")


@pytest.fixture
def large(bench: Bench) -> Bench:  # noqa: F811  # the fixture
    """The stream with segments of over a mebibyte, so that there is a cut after each."""
    for number, content in enumerate(bench.segments):
        bench.origin.put(f"/{number}.ts", content + NULL_PACKET * (LEAST_BYTES // 188 + 1), content_type="video/mp2t")
    return bench


def merged(task: Task) -> int:
    """How many parts are on record as merged."""
    try:
        parts: int = json.loads((work_path(task) / "merged.json").read_bytes())["parts"]
    except FileNotFoundError:
        return 0
    return parts


def on_disk(task: Task) -> set[int]:
    """The positions of the segments in the work directory."""
    return {int(name[:8]) for name in os.listdir(work_path(task)) if name.endswith((".ts", ".ts.new"))}


# -- Jobs --------------------------------------------------------------------------------------------------------------


async def stopped_at(bench: Bench, task: Task, parts: int) -> None:  # noqa: F811
    """Run a task until so many parts are merged, and pause it there; fail if it ends before."""
    await stopped_when(bench, task, lambda: merged(task) >= parts)


async def stopped_when(bench: Bench, task: Task, holds: Callable[[], bool]) -> None:  # noqa: F811
    """The same, when something else is so."""
    running = Deferred.fromCoroutine(bench.job(task).run())
    await going_on(running, until=holds)
    await cancelled(running)


async def going_on(running: Deferred[Outcome], *, until: Callable[[], bool]) -> None:
    """Wait until it is so, or the run is over: how long its child and the disk take is not the test's to say."""
    while not until() and not running.called:
        await deferLater(reactor, 0.01)


@test
async def test_a_paused_run_goes_on_at_its_checkpoint(large: Bench) -> None:
    """What is behind it is gone and is not fetched again; the file is that of an undisturbed run."""
    whole = large.task(large.put_list(lines()), extensions=LOW, save_location=str(large.save / "undisturbed"))
    expected = await large.job(whole).run()
    slow = large.put_list(lines(s4="hang=body&times=1"))
    task = large.task(slow, extensions=LOW, save_location=str(large.save / "disturbed"))
    await stopped_at(large, task, 3)
    assert [] == muxers()
    assert not on_disk(task) & {1, 2}
    outcome = await large.job(task).run()
    assert not on_disk(task) & {1, 2, 3}  # the third may have been left when the run was stopped
    assert [2, 2, 2, 2] == large.counts()[:4]
    assert sha256(expected.output) == sha256(outcome.output)
    assert () == outcome.warnings


@test
async def test_all_that_is_left_is_removed_with_the_task(large: Bench) -> None:
    """Deleting a task that stopped half-way leaves neither target nor journal."""
    task = large.task(large.put_list(lines(s4="hang=body")), extensions=LOW)
    await stopped_at(large, task, 3)
    assert [".task1.part.mp4"] == large.left()
    await large.job(task).discard()
    assert ([], False) == (large.left(), work_path(task).exists())


@test
async def test_a_segment_that_fails_keeps_what_is_merged(large: Bench) -> None:
    """The task fails, the checkpoint stays, and another list with the same segments goes on from it."""
    task = large.task(large.put_list(lines(s5="hang=body&times=1")), extensions=LOW)

    def all_but_the_last() -> bool:
        parts = merged(task)
        asked = parts > 0 and [1] * COUNT == large.counts()
        return asked and {1, 2, 3, 4, 5} == {*range(1, parts + 1), *on_disk(task)}

    await stopped_when(large, task, all_but_the_last)
    large.put_list(lines(s5="status=404"))
    with pytest.raises(SegmentFailed):
        await large.job(task).run()
    assert merged(task)
    large.put_list(lines())
    outcome = await large.job(task).run()
    assert ([1, 1, 1, 1, 1, 3], 150) == (large.counts(), pictures(Path(outcome.output)))


@test
async def test_a_merge_whose_links_expired_goes_on_with_a_new_url(large: Bench) -> None:
    """The checkpoint outlives the wait for a URL; what is in the target is not fetched again."""
    path = large.put_list(lines(s4="hang=body"))
    task = large.task(f"{path}?after=1&status=410", extensions=LOW)
    await stopped_at(large, task, 3)
    with pytest.raises(NeedsUrl):
        await large.job(task).run()
    assert 3 <= merged(task)
    large.put_list(lines())
    renewed = attrs.evolve(task, spec=attrs.evolve(task.spec, url=large.origin.url("/list.m3u8", token="new")))
    outcome = await large.job(renewed).run()
    assert ([1, 1, 1, 1], 150) == (large.counts()[:4], pictures(Path(outcome.output)))
    assert () == outcome.warnings


@test
async def test_a_list_cut_anew_begins_anew(large: Bench) -> None:
    """Half a film of one version in the target, the names the same: nothing of it is used."""
    task = large.task(large.put_list(lines(s5="hang=body&times=1")), extensions=LOW)
    await stopped_at(large, task, 3)
    recut = [SegmentLine(uri=f"{n}.ts?", duration_s=1.0 + n % 2) for n in range(4)]
    large.put_list(recut)
    outcome = await large.job(task).run()
    assert 100 == pictures(Path(outcome.output))
    assert [2, 2, 2, 2] == large.counts()[:4]
    assert any("与上次不同" in warning for warning in outcome.warnings)


@test
async def test_another_plan_begins_anew(large: Bench) -> None:
    """What was merged of another plan is of no use; that is said, and all is fetched again."""
    task = large.task(large.put_list(lines(s5="hang=body&times=1")), extensions=LOW)
    await stopped_at(large, task, 3)
    large.put_list(lines()[1:])
    outcome = await large.job(task).run()
    assert 125 == pictures(Path(outcome.output))
    assert any("重新下载" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("lost", ["target", "journal"])
@test
async def test_a_checkpoint_that_is_gone_begins_anew(lost: str, large: Bench) -> None:
    """Without the target or the journal everything is fetched again, and that is said."""
    task = large.task(large.put_list(lines(s5="hang=body&times=1")), extensions=LOW)
    await stopped_at(large, task, 3)
    gone = large.save / ".task1.part.mp4" if lost == "target" else work_path(task) / "merge.journal"
    gone.unlink()
    large.put_list(lines())
    outcome = await large.job(task).run()
    assert ([2, 2], 150) == (large.counts()[:2], pictures(Path(outcome.output)))  # the third may not be gone yet
    assert any("重新下载" in warning for warning in outcome.warnings)


@test
async def test_holes_are_named_after_a_restart(large: Bench) -> None:
    """A segment that was given up before a checkpoint is not asked for again, and still named at the end."""
    path = large.put_list(lines(s1="status=404", s5="hang=body&times=1"))
    task = large.task(path, extensions=Extensions(low_disk=True, allow_gaps=True))
    await stopped_at(large, task, 3)
    asked = large.counts()[1]
    outcome = await large.job(task).run()
    assert asked == large.counts()[1]
    assert any("00002.ts" in warning for warning in outcome.warnings)
    assert 125 == pictures(Path(outcome.output))


@test
async def test_a_merge_that_fails_says_what_is_lost(large: Bench, tmp_path: Path) -> None:
    """One MP4 cannot hold another codec: the error counts what must be fetched again, and nothing is left behind."""
    other = tmp_path / "other.ts"
    source = ["-f", "lavfi", "-t", "1", "-i", "testsrc2=s=160x90:r=25", "-c:v", "mpeg2video"]
    subprocess.run(["ffmpeg", "-v", "error", *source, str(other)], check=True)
    task = large.task("/list.m3u8", extensions=LOW)
    for runs, name in enumerate(("odd.ts", "odder.ts"), 1):  # another name: the one before is still on the disk
        large.origin.put(f"/{name}", other.read_bytes(), content_type="video/mp2t")
        odd = SegmentLine(uri=name, duration_s=1.0, discontinuity=True)
        large.put_list([*lines()[:5], attrs.evolve(odd, uri=f"{name}?hang=body")])
        await stopped_at(large, task, 4)
        assert [runs] * 4 == large.counts()[:4]
        large.put_list([*lines()[:5], odd])
        with pytest.raises(MergeLost) as caught:
            await large.job(task).run()
        assert "须重新下载" in caught.value.text("zh")
        assert ([], 0) == (large.left(), merged(task))


@test
async def test_a_plugin_that_looks_into_segments_needs_them_once(large: Bench) -> None:
    """What it saw is remembered when the segment is gone."""
    await with_plugin(large, Looking())
    spliced = [
        attrs.evolve(line, discontinuity=number == 2) for number, line in enumerate(lines(s4="hang=body&times=1"))
    ]
    task = large.task(large.put_list(spliced), extensions=LOW)
    await stopped_at(large, task, 3)
    await large.job(task).run()
    assert [1, 1, 1, 1] == large.counts()[:4]


@test
async def test_less_room_than_the_segments_take(large: Bench) -> None:
    """A disk that is full of segments without low_disk is large enough with it."""
    path = large.put_list(lines())
    with memory_disk(large.save / "small", str(9 * LEAST_BYTES // 2)) as place:
        keeping = large.task(path, save_location=str(place), download_threads=1)
        with pytest.raises(DiskFull):
            await large.job(keeping).run()
        await large.job(keeping).discard()
        task = large.task(path, extensions=LOW, save_location=str(place), download_threads=1)
        outcome = await large.job(task).run()
        assert 150 == pictures(Path(outcome.output))


@test
async def test_a_full_disk_keeps_the_checkpoint(large: Bench) -> None:
    """The task fails as any other does; with room again it goes on from where it was."""
    with memory_disk(large.save / "small", str(6 * LEAST_BYTES)) as place:
        path = large.put_list(lines(s4="delay=1"))
        task = large.task(path, extensions=LOW, save_location=str(place), download_threads=1)
        running = Deferred.fromCoroutine(large.job(task).run())
        await going_on(running, until=lambda: merged(task) >= 2)
        filler = place / "filler"
        with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
            raise OSError("No space left for all of it")
        with pytest.raises(DiskFull):
            await running
        filler.unlink()
        outcome = await large.job(task).run()
        assert ([1, 1], 150) == (large.counts()[:2], pictures(Path(outcome.output)))


@test
async def test_ended_just_before_the_rename(large: Bench) -> None:
    """The identity is on record and the name is not taken: the file is made again from its last checkpoint."""

    def die() -> None:
        raise RuntimeError("killed here")

    task = large.task(large.put_list(lines()), extensions=LOW)
    large.records.on_staged = die
    with pytest.raises(RuntimeError):
        await large.job(task).run()
    before = sha256(large.save / ".task1.part.mp4")
    large.records.on_staged = lambda: None
    outcome = await large.job(attrs.evolve(task, output_id=large.records.output_id)).run()
    assert (before, [1] * COUNT) == (sha256(outcome.output), large.counts())


KEEPERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("分片须保留", {"keep_ts_files": True}, {}),
    ("不支持", {}, {"merger": "ts"}),
    ("on_param_change", {}, {"on_param_change": "split"}),
    ("跳过表达式", {"skip_ts_info": "http.code=404"}, {}),
]


@pytest.mark.parametrize(("said", "settings", "extensions"), KEEPERS, ids=[said for said, _, _ in KEEPERS])
@test
async def test_what_keeps_segments(
    said: str, settings: dict[str, Any], extensions: dict[str, Any], large: Bench
) -> None:
    """Where segments are needed later low_disk has no effect, and the task says why."""
    task = large.task(large.put_list(lines()), extensions=Extensions(low_disk=True, **extensions), **settings)
    outcome = await large.job(task).run()
    assert [said] == [said for warning in outcome.warnings if "low_disk 未生效" in warning and said in warning]
    assert set(range(1, COUNT + 1)) == on_disk(task)


@test
async def test_faststart_gives_way(large: Bench) -> None:
    """The film is not moved, which would take the disk that was saved."""
    task = large.task(large.put_list(lines()), extensions=Extensions(low_disk=True, faststart=True))
    outcome = await large.job(task).run()
    assert ("low_disk 生效时忽略 faststart",) == outcome.warnings
    start = Path(outcome.output).read_bytes()
    assert start.index(b"mdat") < start.index(b"moov")


# -- The merge ---------------------------------------------------------------------------------------------------------


@test
async def test_a_child_that_dies_goes_on_at_its_checkpoint(large: Bench, tmp_path: Path) -> None:
    """Files are gone as soon as they are told to be merged; the next child does not miss them."""
    parts: list[Part] = []
    for number, content in enumerate(large.segments, 1):
        path = tmp_path / f"{number}.ts"
        path.write_bytes(content)
        parts.append(MediaFile(position=number, path=path, kind="ts", duration_s=1.0, size_bytes=LEAST_BYTES))
    told: list[Checkpoint] = []
    taken = 0

    def take(done: int) -> None:
        nonlocal taken
        taken = done

    def passed(checkpoint: Checkpoint) -> None:
        told.append(checkpoint)
        for part in parts[: checkpoint.parts]:
            assert isinstance(part, MediaFile)
            part.path.unlink(missing_ok=True)
        if len(told) in (1, 3):
            [child] = muxers()
            os.kill(child, 9)

    async def feed() -> Any:
        """Nothing beyond the next cut, so that no child dies at a segment at which another did."""
        for number, part in enumerate(parts, 1):
            while len(told) < number - 2 and taken < number - 1:  # taken: a part that stands behind the cut
                await deferLater(reactor, 0.01)
            yield part

    spec = TaskSpec(url="http://origin.invalid/list.m3u8", filename="film")
    job = MergeJob(
        task=Task(id="task1", spec=spec),
        target=tmp_path / "film.mp4",
        low_disk=LowDisk(journal=tmp_path / "journal", passed=passed),
    )
    result = await Muxing(reactor=reactor, in_thread=deferToThread).merge(job, feed(), take)
    assert 150 == pictures(job.target)
    assert [1, 2, 3, 4, 5] == [each.parts for each in told]
    assert all(each.made for each in told)
    assert () == result.warnings


@test
async def test_a_merge_that_cannot_go_on_is_told(tmp_path: Path) -> None:
    """A journal that lacks the checkpoint is an error of its own, and the target goes."""
    target = tmp_path / "film.mp4"
    target.write_bytes(b"something")
    low_disk = LowDisk(journal=tmp_path / "journal", passed=lambda checkpoint: None, merged=3)
    spec = TaskSpec(url="http://origin.invalid/list.m3u8", filename="film")
    job = MergeJob(task=Task(id="task1", spec=spec), target=target, low_disk=low_disk)

    async def feed() -> Any:
        yield MediaFile(position=4, path=tmp_path / "4.ts", kind="ts", duration_s=1.0)

    (tmp_path / "4.ts").write_bytes(b"\x47" * 188)
    with pytest.raises(CheckpointLost):
        await Muxing(reactor=reactor, in_thread=deferToThread).merge(job, feed(), lambda done: None)
    assert not target.exists()


# -- The gate ----------------------------------------------------------------------------------------------------------


def part(position: int, *, size: int = LEAST_BYTES, track: str = "main") -> Part:
    """A segment that is there."""
    return MediaFile(position=position, path=Path("x"), kind="ts", duration_s=1.0, size_bytes=size, track=track)


def gate(count: int, **done: Any) -> Gate:
    """A gate before so many segments."""
    return Gate(PartOrder(["main"], [("main", position) for position in range(1, count + 1)]), Merged(**done))


def may_enter(gate: Gate, position: int) -> bool:
    """Whether a segment may be fetched now."""
    entering = Deferred.fromCoroutine(gate.enter(("main", position)))
    entered = entering.called
    entering.addErrback(lambda failure: None)
    if not entered:
        entering.cancel()
    return entered


def test_gate_closes_a_chunk_behind_the_next_cut() -> None:
    """Two chunks may be there, no more; when the merger passes the cut another may come."""
    held = gate(9)
    for position in (1, 2):
        assert may_enter(held, position)
        held.add(part(position))
    assert not may_enter(held, 3)
    held.pass_cut(1)
    assert may_enter(held, 3)


def test_gate_never_closes_before_a_missing_part() -> None:
    """Whatever is there behind it: the part the merger waits for may always be fetched."""
    held = gate(9)
    for position in (2, 3, 4, 5):
        held.add(part(position))
    assert may_enter(held, 1)
    assert may_enter(held, 6)


def test_gate_lets_in_who_waited() -> None:
    """Whoever stood before it goes on by himself."""
    held = gate(9)
    held.add(part(1))
    held.add(part(2))
    entering = Deferred.fromCoroutine(held.enter(("main", 3)))
    assert not entering.called
    held.pass_cut(1)
    assert entering.called


def test_gate_after_a_restart() -> None:
    """It counts from the checkpoint on."""
    held = gate(9, parts=3, cuts=Cuts(done_bytes=3 * LEAST_BYTES, splices={"main": 0}))
    held.add(part(4))
    assert may_enter(held, 5)
    held.add(part(5))
    assert not may_enter(held, 6)


def test_holes_take_no_room() -> None:
    """Segments that are not there hold nobody up."""
    held = gate(9)
    for position in range(1, 8):
        held.add(Gap(position=position, duration_s=1.0))
    assert may_enter(held, 8)


# -- The work directory ------------------------------------------------------------------------------------------------


@test
async def test_let_go_takes_both_names(tmp_path: Path) -> None:
    """Synced or not, a segment is gone under each of its names, and nobody syncs it afterwards."""
    workdir = WorkDir(tmp_path / ".m3u8svc" / "task1", clock=reactor, in_thread=deferToThread, boot_id="boot")
    await workdir.open()
    kept: list[Stored] = []
    for position in (1, 2, 3):
        piece = workdir.part(f"{position}")
        piece.write(b"media")
        kept.append(await workdir.keep(piece, position, "0" * 12, "ts", modified_at=None))
    synced: list[Stored] = []
    await workdir.sync_rest(synced.append)
    piece = workdir.part("4")
    piece.write(b"media")
    fresh = await workdir.keep(piece, 4, "0" * 12, "ts", modified_at=None)
    await workdir.let_go([kept[0], fresh])
    assert {"00000002", "00000003", "boot"} == {name.partition("-")[0] for name in os.listdir(workdir.path)}
    await workdir.sync_rest(synced.append)
    assert kept == synced
