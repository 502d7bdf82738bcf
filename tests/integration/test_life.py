"""
The life of tasks on a real service: many at once, paused, resumed and deleted in every phase, over a restart.

The origin runs in this process, so that its journal tells what was fetched; the blocking client runs in threads.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from m3u8svc.testing.origin import Visit
from tests.holding_origin import HELD, HoldingOrigin
from tests.integration.media import SECONDS, Stream, packets
from tests.integration.service_child import Service
from tests.until import until as until_in_turns

until = partial(until_in_turns, seconds=60)  # a service and its children are waited for
SEGMENTS = [f"/plain/index{number}.ts" for number in range(SECONDS)]
OK = (200, {"status": "success"})
NOT_FOUND = (404, "任务不存在")


@pytest_twisted.async_yield_fixture
async def origin(served: Path, streams: dict[str, Stream]) -> AsyncIterator[HoldingOrigin]:
    """An origin that misbehaves as its URLs say, over the streams."""
    started = await HoldingOrigin.start(reactor, directory=served)
    yield started
    await started.stop()


class Caller:
    """
    The service's client for coroutines: its methods, called in a thread.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **named: deferToThread(getattr(self.service, name), *arguments, **named)


@pytest.fixture
def api(service: Service) -> Caller:
    """The file's service."""
    return Caller(service)


async def sleep(seconds: float) -> None:
    """Let the origin work."""
    await deferLater(reactor, seconds)


def put_playlist(origin: HoldingOrigin, path: str, segments: list[str], *, served: Path) -> str:
    """
    A copy of the plain playlist with these queries on its segments; its URL.
    """
    text = (served / "plain" / "index.m3u8").read_text()
    for number, query in enumerate(segments):
        text = text.replace(f"index{number}.ts", f"/plain/index{number}.ts?{query}")
    origin.put(path, text.encode(), content_type="application/vnd.apple.mpegurl")
    return origin.url(path)


def fetched(origin: HoldingOrigin) -> list[int]:
    """
    How often each segment was asked for, in order.
    """
    return [origin.count(path) for path in SEGMENTS]


def files_below(*places: Path) -> dict[str, tuple[int, int]]:
    """
    Every file in these directories with its size and time.
    """
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


# -- In every phase --------------------------------------------------------------------------------------------------

PHASES = {
    # Each holds the task in one place until the origin is told to go on.
    "the playlist does not come": (f"?delay={HELD}", [""] * SECONDS),
    "segments do not come": ("", ["", "", ""] + [f"delay={HELD}"] * 5),
    "a segment stops half-way": ("", [""] * 5 + [f"chunk_size=5000&chunk_delay={HELD}"] * 3),
    "segments trickle in": ("", [""] * 3 + ["chunk_size=1&chunk_delay=0.05&times=1"] * 5),
    "the origin is busy": ("", [""] * 4 + [f"status=503,200&retry_after=5&delay={HELD}"] * 4),
}
FETCHED_AGAIN = {
    "the playlist does not come": 0,
    "segments do not come": 5,
    "a segment stops half-way": 3,
    "segments trickle in": 5,
    "the origin is busy": 4,
}


async def held_in(phase: str, api: Caller, origin: HoldingOrigin, served: Path, saves: Path) -> str:
    """A task that has come as far as it can in this phase; its id."""
    query, segments = PHASES[phase]
    url = put_playlist(origin, "/held.m3u8", segments, served=served) + query
    task_id: str = await api.add(url, "film", save_location=str(saves))
    if query:
        await until(lambda: origin.count("/held.m3u8"))
        return task_id
    await until(lambda: all(fetched(origin)))
    while (await api.task(task_id))["segments_done"] < SECONDS - FETCHED_AGAIN[phase]:
        await sleep(0.05)
    if "status=503" in segments[-1]:
        # Not one by one: the first such answer holds back who has not asked yet. What is asked for later is held again.
        origin.release()
        origin.hold()
        await until(lambda: 4 == sum(visit.status == 503 and visit.finished for visit in origin.visits()))
    return task_id


def under_way(origin: HoldingOrigin) -> list[Visit]:
    """What the origin has not answered yet to somebody who still waits for it."""
    return [visit for visit in origin.visits() if not (visit.finished or visit.aborted)]


@pytest.mark.parametrize("phase", PHASES)
@pytest_twisted.ensureDeferred
async def test_pause_and_resume(phase: str, api: Caller, origin: HoldingOrigin, served: Path, tmp_path: Path) -> None:
    """
    A pause is answered although nothing comes, and then nothing is fetched or written; resumed, the task ends without
    fetching a finished segment again.
    """
    task_id = await held_in(phase, api, origin, served, tmp_path)
    assert OK == (await api.put(task_id, "已暂停")).error
    await until(lambda: not under_way(origin))
    await until(lambda: f"task {task_id} stopped" in api.service.log)
    before, asked = files_below(tmp_path), fetched(origin)
    assert "已暂停" == (await api.task(task_id))["status"]
    origin.release()
    await sleep(0.5)
    assert (before, asked) == (files_below(tmp_path), fetched(origin))
    assert OK == (await api.put(task_id, "已暂停")).error  # twice is once
    assert OK == (await api.put(task_id, "等待中")).error
    task = await api.wait(task_id, "已完成")
    again = FETCHED_AGAIN[phase]
    held, finished = slice(SECONDS - again, SECONDS), slice(SECONDS - again)
    assert [1] * (SECONDS - again) == fetched(origin)[finished]
    # Before the pause what is slow may have been asked for twice.
    assert [count + 1 for count in asked[held]] == fetched(origin)[held]
    assert [tmp_path / "film.mp4"] == [path for path in tmp_path.rglob("*") if path.is_file()]
    assert 25 * SECONDS == packets(Path(task["output"]))["h264"]


@pytest.mark.parametrize("phase", PHASES)
@pytest_twisted.ensureDeferred
async def test_delete(phase: str, api: Caller, origin: HoldingOrigin, served: Path, tmp_path: Path) -> None:
    """A delete is answered at once, the task is unknown from then on, and nothing of it stays on disk or wire."""
    task_id = await held_in(phase, api, origin, served, tmp_path)
    assert [task_id] == [path.name for path in (tmp_path / ".m3u8svc").iterdir()]
    target = f"/api/tasks?id={task_id}"
    assert OK == (await api.ask("DELETE", target)).error
    answers = [await api.ask(method, target) for method in ("GET", "DELETE")] + [await api.put(task_id, "已暂停")]
    assert [NOT_FOUND] * 3 == [answer.error for answer in answers]
    await until(lambda: not list(tmp_path.rglob("*")))
    await until(lambda: not under_way(origin))
    assert task_id not in [task["id"] for task in (await api.ask("GET", "/api/tasks")).value]


@pytest_twisted.ensureDeferred
async def test_pause_at_the_very_end(api: Caller, origin: HoldingOrigin, served: Path, tmp_path: Path) -> None:
    """
    A pause that arrives while the file is being finished holds or comes too late; either way the task ends with one
    file and no segment is fetched twice.
    """
    url = put_playlist(origin, "/end.m3u8", [""] * 7 + ["delay=0.3"], served=served)
    outcomes = set()
    for number, wait_s in enumerate((0.0, 0.02, 0.05, 0.1, 0.2)):
        place = tmp_path / str(number)
        task_id = await api.add(f"{url}?n={number}", "film", save_location=str(place))
        last = f"/plain/index{SECONDS - 1}.ts"
        await until(lambda: origin.count(last) == number + 1 and origin.visits(last)[-1].finished)  # noqa: B023
        await sleep(wait_s)
        answer = await api.put(task_id, "已暂停")
        outcomes.add(answer.status)
        if answer.status == 200:
            assert OK == (await api.put(task_id, "等待中")).error
        else:
            assert (400, "任务不能从“已完成”变为“已暂停”") == answer.error
        await api.wait(task_id, "已完成")
        assert [place / "film.mp4"] == [path for path in place.rglob("*") if path.is_file()]
        assert [number + 1] * SECONDS == fetched(origin)
    assert outcomes <= {200, 400}


# -- At rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "stays"), [("", True), ("&files=false", True), ("&files=true", False)])
@pytest.mark.parametrize("no_merge", [False, True])
@pytest_twisted.ensureDeferred
async def test_delete_when_done(
    query: str, stays: bool, no_merge: bool, api: Caller, origin: HoldingOrigin, tmp_path: Path
) -> None:
    """Deleting a finished task leaves its result where it is, unless the request says files=true."""
    fields = {"save_location": str(tmp_path), "no_merge_ts": no_merge}
    task = await api.finish(origin.url("/plain/index.m3u8"), "film", **fields)
    (tmp_path / "other.mp4").write_text("mine")
    assert OK == (await api.ask("DELETE", f"/api/tasks?id={task['id']}{query}")).error
    assert NOT_FOUND == (await api.ask("DELETE", f"/api/tasks?id={task['id']}{query}")).error
    result = Path(task["output"])
    await until(lambda: result.exists() == stays)
    assert {"other.mp4", *([result.name] if stays else [])} == {path.name for path in tmp_path.iterdir()}


@pytest_twisted.ensureDeferred
async def test_delete_never_takes_another_file(api: Caller, origin: HoldingOrigin, tmp_path: Path) -> None:
    """A file that has taken the result's place is somebody else's, whatever the request says."""
    task = await api.finish(origin.url("/plain/index.m3u8"), "film", save_location=str(tmp_path))
    Path(task["output"]).unlink()
    Path(task["output"]).write_text("mine")
    assert OK == (await api.ask("DELETE", f"/api/tasks?id={task['id']}&files=true")).error
    await sleep(0.3)
    assert "mine" == Path(task["output"]).read_text()


@pytest_twisted.ensureDeferred
async def test_done_is_done(api: Caller, origin: HoldingOrigin, tmp_path: Path) -> None:
    """A finished task is neither resumed nor paused: a 400 that says so, and the task stays as it is."""
    task = await api.finish(origin.url("/plain/index.m3u8"), "film", save_location=str(tmp_path))
    for wanted in ("等待中", "已暂停"):
        answer = await api.put(task["id"], wanted)
        assert (400, f"任务不能从“已完成”变为“{wanted}”") == answer.error
        assert "invalid_transition" == answer.headers["x-error-code"]
    assert task == await api.task(task["id"])


# -- Many ------------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_many_at_once(start_service: Callable[..., Service], origin: HoldingOrigin, served: Path) -> None:
    """
    Of many tasks two are active, in the order of their creation; a waiting one can be paused and let back in, and
    the list keeps that order.
    """
    api = Caller(await deferToThread(start_service, "--max-active", "2"))
    # The first two are held until all are there, and the second one while there are others: of two that start together
    # either may be the first to ask.
    first, second = HELD, HELD + 1
    delays = (first, second, 0.1, 0.1, 0.1, 0.1)
    urls = [
        put_playlist(origin, f"/many{number}.m3u8", [f"delay={delay}"] * SECONDS, served=served)
        for number, delay in enumerate(delays)
    ]
    tasks = []
    for number, url in enumerate(urls):
        tasks.append(await api.add(url, f"film{number}", download_threads=8))
        if number < 2:
            await until(lambda: origin.count(f"/many{number}.m3u8"))  # noqa: B023
    assert OK == (await api.put(tasks[3], "已暂停")).error
    most = 0
    while (listed := (await api.ask("GET", "/api/tasks")).value)[-1]["status"] != "已完成":
        assert tasks == [task["id"] for task in listed]
        active = [task["id"] for task in listed if task["status"] == "下载中"]
        most = max(most, len(active))
        origin.release(first)
        await sleep(0.05)
    assert 2 == most
    origin.release(second)
    assert "已暂停" == (await api.task(tasks[3]))["status"]
    assert OK == (await api.put(tasks[3], "等待中")).error
    for task_id in tasks:
        await api.wait(task_id, "已完成")
    asked = [visit.path for visit in origin.visits() if visit.path.endswith(".m3u8")]
    assert [f"/many{number}.m3u8" for number in (0, 1, 2, 4, 5, 3)] == asked
    assert {f"film{number}.mp4" for number in range(6)} == {path.name for path in api.service.saves.iterdir()}


@pytest_twisted.ensureDeferred
async def test_queries_of_the_list(start_service: Callable[..., Service], origin: HoldingOrigin) -> None:
    """status, limit and offset select from the list; without them it is whole."""
    api = Caller(await deferToThread(start_service))
    done = (await api.finish(origin.url("/plain/index.m3u8"), "film"))["id"]
    failed = [(await api.fail(origin.url("/gone.m3u8"), "film"))["id"] for _ in range(2)]

    async def listed(query: str) -> list[str]:
        return [task["id"] for task in (await api.ask("GET", f"/api/tasks{query}")).value]

    assert [done, *failed] == await listed("")
    assert failed == await listed("?status=%E5%A4%B1%E8%B4%A5")
    assert [failed[0]] == await listed("?limit=1&offset=1")


# -- Over a restart --------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_restart(start_service: Callable[..., Service], origin: HoldingOrigin, served: Path) -> None:
    """
    SIGTERM in the middle of everything: afterwards what ran and what waited goes on by itself, what was paused stays
    paused, what failed stays failed, and only segments that were in flight are fetched again.
    """
    api = Caller(await deferToThread(start_service, "--max-active", "1"))
    url = put_playlist(origin, "/restart.m3u8", [""] * 3 + [f"delay={HELD}"] * 5, served=served)
    failed = (await api.fail(origin.url("/gone.m3u8"), "failed"))["id"]
    running = await api.add(url, "running", download_threads=2)
    paused = await api.add(f"{origin.url('/plain/index.m3u8')}?paused", "paused")
    waiting = await api.add(f"{origin.url('/fmp4/index.m3u8')}?waiting", "waiting")
    assert OK == (await api.put(paused, "已暂停")).error
    while (await api.task(running))["segments_done"] < 3:
        await sleep(0.02)
    await until(lambda: origin.count("/plain/index4.ts"))  # both connections are busy
    await api.stop()
    finished = [visit.path for visit in origin.visits() if visit.finished and visit.path in SEGMENTS]
    assert SEGMENTS[:3] == sorted(finished)
    origin.release()
    await api.start()
    outputs = [Path((await api.wait(task_id, "已完成"))["output"]).name for task_id in (running, waiting)]
    assert ["running.mp4", "waiting.mp4"] == outputs
    assert ["已暂停", "失败"] == [(await api.task(task_id))["status"] for task_id in (paused, failed)]
    again = [count - 1 for count in fetched(origin)]
    assert all(extra in (0, 1) for extra in again) and sum(again) <= 2
    assert ["running.mp4", "waiting.mp4"] == sorted(
        path.name for path in api.service.saves.iterdir() if path.name != ".m3u8svc"
    )
