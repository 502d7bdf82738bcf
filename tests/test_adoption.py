"""
What earlier runs left is used only if it still is what they wrote (R-INT-2): one job after another.
"""

from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred

from m3u8svc.job import Job, Outcome, work_path
from m3u8svc.tasks.ledger import SegmentRow
from tests.test_job import COUNT, Bench, bench, cancelled, lines, segments, sha256, test
from tests.until import until

__all__ = ["bench", "segments"]

DONE = 3


async def left(bench: Bench) -> list[SegmentRow]:
    """A run that is stopped with half of the film; what it wrote down."""
    stuck = lines(**{f"s{number}": "hang=headers&times=1" for number in range(DONE, COUNT)})
    job = bench.job(bench.task(bench.put_list(stuck)))
    running: Deferred[Outcome] = Deferred.fromCoroutine(job.run())
    # The others were asked for, too: whoever asks first for one of them is the one who hangs.
    await until(lambda: (job.progress().segments_done, bench.counts()) == (DONE, [1] * COUNT))
    await cancelled(running)
    rows = sorted(bench.records.rows, key=lambda row: row.position)
    assert [64] * DONE == [len(row.digest) for row in rows]
    return rows


async def gone_on(bench: Bench, rows: Sequence[SegmentRow], **settings: bool) -> tuple[Outcome, list[int], Job]:
    """The next run, and how often each segment was asked for in it."""
    before = bench.counts()
    job = Job(bench.task("/list.m3u8", **settings), bench.tools, bench.records, rows)
    outcome = await job.run()
    return outcome, [now - then for now, then in zip(bench.counts(), before, strict=True)], job


def spoil(bench: Bench, position: int) -> None:
    """One byte of a finished segment is another, as a bad disk or somebody's hand leaves it."""
    [path] = work_path(bench.task("/list.m3u8")).glob(f"{position:08d}-*.ts")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # not in place: the same file may have a second name
    path.write_bytes(content)
    for other in path.parent.glob(f"{path.name}.new"):
        other.unlink()


async def golden(bench: Bench) -> str:
    task = attrs.evolve(bench.task(bench.put_list(lines(), path="/golden.m3u8")), id="golden")
    settings = attrs.evolve(task.spec.settings, save_location=str(bench.save / "golden"))
    (bench.save / "golden").mkdir()
    return sha256((await bench.job(attrs.evolve(task, spec=attrs.evolve(task.spec, settings=settings))).run()).output)


@test
async def test_what_is_as_it_was_is_not_fetched(bench: Bench) -> None:
    """Its digest is the one on record, and nobody hears of it."""
    outcome, asked, _ = await gone_on(bench, await left(bench))
    assert ([0, 0, 0, 1, 1, 1], ()) == (asked, outcome.warnings)
    assert await golden(bench) == sha256(outcome.output)


@test
async def test_a_file_of_the_right_size_with_wrong_bytes_is_fetched_again(bench: Bench) -> None:
    """It is named in a warning; the film is the same as ever."""
    rows = await left(bench)
    spoil(bench, 2)
    outcome, asked, job = await gone_on(bench, rows)
    assert [0, 1, 0, 1, 1, 1] == asked
    assert ("00002.ts 的内容与记录的校验和不符，重新下载",) == outcome.warnings
    assert (COUNT, COUNT) == (job.progress().segments_done, job.progress().segments_total)
    assert sum(map(len, bench.segments)) == job.progress().size_bytes
    assert await golden(bench) == sha256(outcome.output)


@test
async def test_wrong_bytes_are_not_kept_for_the_user_either(bench: Bench) -> None:
    """Also where nothing is merged."""
    rows = await left(bench)
    spoil(bench, 1)
    outcome, asked, _ = await gone_on(bench, rows, no_merge_ts=True)
    assert [1, 0, 0, 1, 1, 1] == asked
    assert bench.segments == [path.read_bytes() for path in sorted(Path(outcome.output).glob("0*.ts"))]


@test
async def test_what_nobody_wrote_down_is_taken_by_its_name(bench: Bench) -> None:
    """The process died before the row was stored: a file under its final name is whole (DESIGN 6)."""
    await left(bench)
    outcome, asked, _ = await gone_on(bench, [])
    assert [0, 0, 0, 1, 1, 1] == asked
    assert await golden(bench) == sha256(outcome.output)


@pytest.mark.parametrize("position", [1, 3])
@test
async def test_a_row_of_another_version_says_nothing(bench: Bench, position: int) -> None:
    """A digest counts for the piece that it was made of."""
    rows = await left(bench)
    rows = [attrs.evolve(row, identity="0" * 12, digest="0" * 64) if row.position == position else row for row in rows]
    _, asked, _ = await gone_on(bench, rows)
    assert [0, 0, 0, 1, 1, 1] == asked
