"""
Disks that fill under a real service, each a file system of its own in memory (H6).
"""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.holding_origin import HELD, HoldingOrigin
from tests.integration.media import SECONDS, Stream
from tests.integration.service_child import Service, running
from tests.needs import memory_disk

RESUMES_WITHIN_S = 60.0
FIRST = 4
"""So many segments come at once; with one more it would be known what is slow, and the others be asked for twice."""


@pytest_twisted.async_yield_fixture
async def origin(served: Path, streams: dict[str, Stream]) -> AsyncIterator[HoldingOrigin]:
    """An origin that misbehaves as its URLs say, over the streams."""
    started = await HoldingOrigin.start(reactor, directory=served)
    yield started
    await started.stop()


def put_playlist(origin: HoldingOrigin, served: Path, name: str, *, last: str = "") -> str:
    """A copy of the plain playlist with this query on its last segments; its URL."""
    text = (served / "plain" / "index.m3u8").read_text()
    for number in range(SECONDS):
        query = f"for={name}&{last if number >= FIRST else ''}"
        text = text.replace(f"index{number}.ts", f"/plain/index{number}.ts?{query}")
    origin.put(f"/{name}.m3u8", text.encode())
    return origin.url(f"/{name}.m3u8")


def fetched(origin: HoldingOrigin, name: str) -> list[int]:
    """How often each segment was asked for under this name."""
    asked = [visit.path for visit in origin.visits() if visit.query.startswith(f"for={name}&")]
    return [asked.count(f"/plain/index{number}.ts") for number in range(SECONDS)]


def stored(saves: Path, task_id: str) -> int:
    """How many segments of a task are on the disk."""
    return len({path.name[:8] for path in saves.glob(f".m3u8svc/{task_id}/*.ts*")})


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Meanwhile this disk has no room at all."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "ab") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    try:
        yield
    finally:
        filler.unlink()


def until_held(service: Service, task_id: str, code: str) -> dict[str, Any]:
    """The task once it is held with this code."""
    task = service.wait(task_id, "已暂停")
    assert (code, code) == (task["held"], task["err_code"])
    return task


@pytest_twisted.ensureDeferred
async def test_the_disk_of_results(origin: HoldingOrigin, served: Path, tmp_path: Path) -> None:
    """
    The task of a disk that has filled is held, one of another disk goes on; with room again the first goes on within a
    minute, fetches nothing again that it had, and makes the same file.
    """
    calm = put_playlist(origin, served, "calm")
    held = put_playlist(origin, served, "held", last=f"chunk_size=5000&chunk_delay={HELD}")

    def in_a_service(disk: Path) -> tuple[bytes, bytes]:
        with running(tmp_path / "service") as service:
            whole = Path(service.finish(calm, "calm")["output"]).read_bytes()
            task_id = service.add(held, "film", save_location=str(disk))
            while service.task(task_id)["segments_done"] < FIRST or not all(fetched(origin, "held")):
                time.sleep(0.05)
            with filled(disk):
                until_held(service, task_id, "disk_full")
                service.finish(f"{calm}?again", "other")
                waiting = service.add(f"{calm}?third", "third", save_location=str(disk))
                until_held(service, waiting, "disk_full")
                reactor.callFromThread(origin.release)
            done = service.wait(task_id, "已完成", within_s=RESUMES_WITHIN_S)
            service.wait(waiting, "已完成", within_s=RESUMES_WITHIN_S)
            return whole, Path(done["output"]).read_bytes()

    with memory_disk(tmp_path / "disk", "16m") as disk:
        whole, again = await deferToThread(in_a_service, disk)
    assert whole == again
    assert [1] * FIRST + [2] * (SECONDS - FIRST) == fetched(origin, "held")


def until_said(service: Service, text: str) -> None:
    """Wait until its log says this."""
    deadline = time.monotonic() + RESUMES_WITHIN_S
    while text not in service.log:
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)


@pytest_twisted.ensureDeferred
async def test_the_disk_of_the_service_itself(origin: HoldingOrigin, served: Path, tmp_path: Path) -> None:
    """
    With no room for the database a task goes on downloading, nobody gets an answer that is not kept, and with room
    again it ends by itself; what was acknowledged is there after a restart.
    """
    url = put_playlist(origin, served, "film", last=f"delay={HELD}")

    def in_a_service(home: Path) -> dict[str, Any]:
        with running(tmp_path / "service") as service:
            task_id = service.add(url, "film")
            while not all(fetched(origin, "film")):
                time.sleep(0.05)
            with filled(home):
                reactor.callFromThread(origin.release)
                refused = service.ask("POST", "/api/tasks", {"url": f"{url}?2", "filename": "second"})
                assert (500, "保存任务失败", "disk_full") == (*refused.error, refused.headers["x-error-code"])
                # Not by its progress: it ends right after the last one, and that cannot be stored now.
                while stored(tmp_path / "service" / "saves", task_id) < SECONDS:
                    time.sleep(0.05)
                assert 200 == service.ask("GET", "/healthz").status
                ready = service.ask("GET", "/readyz")
                assert (503, "disk_full") == (ready.status, ready.headers["x-error-code"])
                # Which of its own writes fails first, and when, is chance; room must not be back before one has.
                until_said(service, " degraded: disk_full")
            service.wait(task_id, "已完成", within_s=RESUMES_WITHIN_S)
            assert 200 == service.ask("GET", "/readyz").status
            until_said(service, " no longer degraded: disk_full")  # once all that was left undone is done
            service.stop()
            assert 1 == service.log.count(" no longer degraded: disk_full")
            service.start()
            assert [task_id] == [task["id"] for task in service.ask("GET", "/api/tasks").value]
            return service.task(task_id)

    place = tmp_path / "service"
    place.mkdir()
    with memory_disk(place / "home", "2m") as home:
        home.chmod(0o700)
        task = await deferToThread(in_a_service, home)
    assert Path(task["output"]).stat().st_size == task["size"]
    assert [1] * SECONDS == fetched(origin, "film")
