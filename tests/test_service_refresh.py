"""
Tasks whose links have expired, in the service: held, given a new URL, finished.
"""

import attrs
import pytest

from m3u8svc.errors import CannotRemake
from m3u8svc.tasks.task import Status, Task, TaskChange
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from tests.test_service import COUNT, Bench, bench, make_service, segments, test

__all__ = ["bench", "segments"]

WAITING, DOWNLOADING, PAUSED, COMPLETED, FAILED = Status
ONCE = "after=1&status=403"
"""A link that works once."""


async def expired(bench: Bench, **extensions: object) -> Task:
    """A task that has half of its film when its links expire, and its own with them."""
    late = {f"s{number}": "status=403" for number in range(2, COUNT)}
    draft = bench.draft("film", **late)
    # One after another, so that what works is there before the first link that does not.
    one = {"advanced": True, "given": {"download_threads": 1}}
    draft = attrs.evolve(draft, url=f"{draft.url}?{ONCE}", extensions=extensions, **one)
    task = await bench.service.create(draft)
    await bench.service.start()
    return await bench.until_status(task, PAUSED)


def renewed(bench: Bench) -> str:
    """A URL that leads to the same stream with links that work."""
    lines = [SegmentLine(uri=f"{n}.ts?for=film&", duration_s=1.0) for n in range(COUNT)]
    bench.origin.put("/renewed.m3u8", media_playlist(lines).encode())
    return bench.origin.url("/renewed.m3u8", token="new")


@pytest.mark.parametrize("extensions", [{}, {"low_disk": True}, {"allow_gaps": True}])
@test
async def test_a_task_whose_links_expired_is_held_until_it_gets_a_url(
    bench: Bench, extensions: dict[str, object]
) -> None:
    """It says why and what it is about, keeps what it has, and fetches only what is left."""
    task = await expired(bench, **extensions)
    assert ("needs_url", "needs_url") == (task.held, task.err_code)
    assert "请提供新链接" in task.err_msg and task.err_url.startswith(bench.origin.url("/film.m3u8"))
    assert ("needs_url", 1) == (task.incidents[-1].code, task.incidents[-1].count)
    assert [1, 1] == bench.fetched()[:2]
    await bench.service.change(task.id, TaskChange(url=renewed(bench)))
    task = await bench.until_status(task, COMPLETED)
    assert ("", "", "") == (task.held, task.err_code, task.err_url)
    assert [1, 1] == bench.fetched()[:2]
    assert () == task.warnings


@test
async def test_a_held_task_stays_held_over_a_restart(bench: Bench) -> None:
    """Nobody but its user can help it: it does not run into the same wall at each start."""
    task = await expired(bench)
    before = bench.origin.count("/film.m3u8")
    await bench.service.stop()
    bench.service = make_service(bench.store, bench.tools, bench.folder)
    await bench.service.start()
    assert "needs_url" == (await bench.service.task(task.id)).held
    assert before == bench.origin.count("/film.m3u8")
    await bench.service.change(task.id, TaskChange(url=renewed(bench)))
    await bench.until_status(task, COMPLETED)
    assert [1, 1] == bench.fetched()[:2]


@test
async def test_resuming_with_the_old_url_tries_it(bench: Bench) -> None:
    """The user may have logged in meanwhile; if not, the task is held as before, and has lost nothing."""
    task = await expired(bench)
    before = bench.origin.count("/film.m3u8")
    await bench.service.change(task.id, TaskChange(status=WAITING))
    task = await bench.until_status(task, PAUSED)
    assert "needs_url" == task.held
    assert before + 1 == bench.origin.count("/film.m3u8")
    assert [1, 1] == bench.fetched()[:2]


@test
async def test_a_running_task_takes_no_url(bench: Bench) -> None:
    """Its links would be of both."""
    task = await bench.create(s3="hang=body")
    await bench.service.start()
    await bench.until_status(task, DOWNLOADING)
    with pytest.raises(CannotRemake):
        await bench.service.change(task.id, TaskChange(url=renewed(bench)))
    assert "/film.m3u8" in (await bench.service.task(task.id)).spec.url


@test
async def test_a_failed_task_takes_a_url(bench: Bench) -> None:
    """One whose link never worked begins with the new one."""
    draft = bench.draft("film")
    task = await bench.service.create(attrs.evolve(draft, url=bench.origin.url("/nowhere.m3u8")))
    await bench.service.start()
    await bench.until_status(task, FAILED)
    await bench.service.change(task.id, TaskChange(url=renewed(bench), status=WAITING))
    task = await bench.until_status(task, COMPLETED)
    assert [1] * COUNT == bench.fetched()
