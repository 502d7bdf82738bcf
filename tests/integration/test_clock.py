"""
The time of day jumps under a real service (H10): by libfaketime, which leaves the monotonic clock alone.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from m3u8svc.testing.origin import Origin
from tests.integration.media import SECONDS, Stream
from tests.integration.service_child import Service, running
from tests.needs import lacking

HOUR, DAY = 3600, 86_400
LIBRARIES = tuple(f"/usr/lib/{name}-linux-gnu/faketime/libfaketime.so.1" for name in ("x86_64", "aarch64"))


@pytest_twisted.async_yield_fixture
async def origin(served: Path, streams: dict[str, Stream]) -> AsyncIterator[Origin]:
    """An origin that misbehaves as its URLs say, over the streams."""
    started = await Origin.start(reactor, directory=served)
    yield started
    await started.stop()


class Clock:
    """The time of day of a service, which can be set."""

    def __init__(self, place: Path) -> None:
        found = [each for each in LIBRARIES if os.path.exists(each)]
        if not found:
            lacking("libfaketime (apt install faketime)")
        self._file = place / "time"
        self.set(0)
        settings = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.command = ["env", *(f"{name}={value}" for name, value in settings.items())]

    def set(self, offset_s: int) -> None:
        """Be so far from the truth."""
        part = self._file.with_suffix(".part")
        part.write_text(f"{offset_s:+d}\n")
        part.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """One that can be set."""
    return Clock(tmp_path)


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    """A service that lives by it."""
    with running(tmp_path / "service", "--max-active", "1", before=clock.command) as started:
        yield started


def put_playlist(origin: Origin, served: Path, name: str, query: str) -> str:
    """A copy of the plain playlist with this query on every segment; its URL."""
    text = (served / "plain" / "index.m3u8").read_text()
    for number in range(SECONDS):
        text = text.replace(f"index{number}.ts", f"/plain/index{number}.ts?{query}")
    origin.put(f"/{name}.m3u8", text.encode())
    return origin.url(f"/{name}.m3u8")


@pytest.mark.parametrize("jumps", [[HOUR, -HOUR], [-HOUR, HOUR], [DAY, -DAY, 0], [400 * DAY]], ids=str)
@pytest_twisted.ensureDeferred
async def test_jumps_while_it_downloads(
    jumps: list[int], origin: Origin, served: Path, clock: Clock, service: Service
) -> None:
    """Nothing stands still and nothing times out: it ends, and each segment is asked for once."""
    url = put_playlist(origin, served, "slow", "delay=0.4")

    def download() -> None:
        task_id = service.add(url, "film", download_threads=2)
        for jump in jumps:
            time.sleep(0.5)
            clock.set(jump)
        service.wait(task_id, "已完成")

    await deferToThread(download)
    assert [1] * SECONDS == [origin.count(f"/plain/index{number}.ts") for number in range(SECONDS)]


@pytest_twisted.ensureDeferred
async def test_the_order_of_tasks(origin: Origin, clock: Clock, service: Service) -> None:
    """What is created later comes later, in the list and in the queue, over a restart too; times are UTC."""

    def create() -> list[str]:
        first = service.add(origin.url("/plain/index.m3u8?hang=headers"), "0")
        tasks = [first]
        for number, offset_s in enumerate((0, DAY, 0, -DAY, HOUR), 1):
            clock.set(offset_s)
            tasks.append(service.add(f"{origin.url('/plain/index.m3u8')}?{number}", str(number)))
        clock.set(0)
        service.stop()
        service.start()
        tasks.append(service.add(f"{origin.url('/plain/index.m3u8')}?9", "9"))
        assert tasks == [task["id"] for task in service.ask("GET", "/api/tasks").value]
        service.ask("DELETE", f"/api/tasks?id={first}")
        ended = [service.wait(task_id, "已完成")["created_at"] for task_id in tasks[1:]]
        assert sorted(ended) == ended
        return tasks

    tasks = await deferToThread(create)
    asked = [visit.query for visit in origin.visits("/plain/index.m3u8") if visit.query in "123459"]
    assert list("123459") == asked and 7 == len(tasks)


@pytest_twisted.ensureDeferred
async def test_waiting_as_long_as_a_server_says(origin: Origin, served: Path, clock: Clock, service: Service) -> None:
    """Retry-After is a span of time: a jump in the middle makes it neither shorter nor longer."""
    url = put_playlist(origin, served, "busy", "status=503&retry_after=3&times=1")

    def download() -> None:
        task_id = service.add(url, "film", download_threads=1)
        while not origin.visits("/plain/index0.ts"):
            time.sleep(0.02)
        clock.set(-DAY)
        time.sleep(0.5)
        clock.set(DAY)
        while origin.count("/plain/index0.ts") < 2:
            time.sleep(0.02)
        service.ask("DELETE", f"/api/tasks?id={task_id}")

    await deferToThread(download)
    first, second = origin.visits("/plain/index0.ts")[:2]
    assert first.ended is not None
    assert 2.5 < second.at - first.ended < 8


@pytest_twisted.ensureDeferred
async def test_times_that_do_not_fit_in_32_bits(origin: Origin, clock: Clock, service: Service) -> None:
    """In 2039 a task is created, done and listed as at any time."""
    clock.set(int(datetime(2039, 1, 1, tzinfo=UTC).timestamp() - time.time()))
    task = await deferToThread(service.finish, origin.url("/plain/index.m3u8"), "film")
    assert task["created_at"] > "2038-12-31T23:59"  # the clock of the service may be a moment behind
