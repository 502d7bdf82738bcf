"""
A real service whose database is locked, damaged, lost or away (H11, W1, R-DB-3, R-PG-2): tasks that were acknowledged
are there, the service stays up and says what is wrong.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.databases import damage_half, damage_nothing_left, damage_one_page, postgres_server
from tests.holding_origin import HELD, HoldingOrigin
from tests.integration.media import SECONDS, Stream
from tests.integration.service_child import Answer, Service, running

DEAD_END = {"url": "http://127.0.0.1:9/x.m3u8", "filename": "film"}
PATIENCE_S = 5.0


@pytest_twisted.async_yield_fixture
async def origin(served: Path, streams: dict[str, Stream]) -> AsyncIterator[HoldingOrigin]:
    """An origin that misbehaves as its URLs say, over the streams."""
    started = await HoldingOrigin.start(reactor, directory=served)
    yield started
    await started.stop()


def database(service: Service) -> Path:
    """Its SQLite file."""
    return service.home / "m3u8svc.sqlite3"


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program has the file locked until it is told to let go."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield other
    finally:
        other.close()


FIRST, REST = HELD, HELD + 1
"""Gates of the first half of a stream and of its second one. That half is no sample of what is slow."""


def held(origin: HoldingOrigin, served: Path) -> str:
    """The playlist of a stream whose segments wait at these gates."""
    text = (served / "plain" / "index.m3u8").read_text("ascii")
    for number in range(SECONDS):
        gate = FIRST if number < SECONDS // 2 else REST
        text = text.replace(f"index{number}.ts", f"/plain/index{number}.ts?delay={gate}")
    origin.put("/held.m3u8", text.encode(), content_type="application/vnd.apple.mpegurl")
    return origin.url("/held.m3u8")


def timed(ask: Callable[[], Answer]) -> tuple[Answer, float]:
    """An answer, and how long it took in seconds."""
    began = time.monotonic()
    return ask(), time.monotonic() - began


def names(service: Service) -> list[str]:
    """The file names of all tasks."""
    return [task["filename"] for task in service.ask("GET", "/api/tasks").value]


def degraded(service: Service) -> list[str]:
    """The codes of what is wrong with it."""
    return [reason["code"] for reason in service.ask("GET", "/api/health").value["degraded"]]


def wait_until(holds: Callable[[], Any], within_s: float) -> float:
    """Wait until it is so; how long that took in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, f"it did not happen within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - began


# -- Locked ----------------------------------------------------------------------------------------------------------


def test_a_lock_of_a_second_is_waited_for(start_service: Callable[..., Service]) -> None:
    """Nobody notices but by the time it takes: the answer comes when the lock is gone."""
    service = start_service()
    answers: list[tuple[Answer, float]] = []
    asking = Thread(target=lambda: answers.append(timed(lambda: service.ask("POST", "/api/tasks", DEAD_END))))
    with locked(database(service)) as other:
        asking.start()
        time.sleep(1.0)
        assert [] == answers
        other.rollback()
        asking.join()
    [(answer, seconds)] = answers
    assert (200, True) == (answer.status, seconds < PATIENCE_S)


def test_a_lock_of_ten_seconds_is_a_503_for_everybody_who_waits(start_service: Callable[..., Service]) -> None:
    """
    Three at once wait five seconds each, not one after the other; whoever only reads is answered; the process lives and
    says that it is not ready, and afterwards everything is as before.
    """
    service = start_service()
    with locked(database(service)) as other:
        waiting = [
            subprocess.Popen(
                [
                    "curl",
                    "-s",
                    "-o",
                    os.devnull,
                    "-D",
                    "-",
                    "-w",
                    "%{time_total}",
                    "-H",
                    "Content-Type: application/json",
                ]
                + ["-d", json.dumps(DEAD_END), f"{service.base}/api/tasks"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        assert 200 == service.ask("GET", "/healthz").status
        assert [None] * 3 == [each.poll() for each in waiting]
        waited_s = []
        for each in waiting:
            said = each.communicate()[0]
            head, _, took = said.replace("\r", "").rpartition("\n\n")
            assert " 503 " in head and "Retry-After: 5" in head and "X-Error-Code: db_locked" in head
            waited_s.append(float(took))
        assert PATIENCE_S - 0.5 < min(waited_s)
        assert max(waited_s) - min(waited_s) < PATIENCE_S  # which is how far apart they were one after the other
        assert 503 == service.ask("GET", "/readyz").status
        assert [] == names(service)
        other.rollback()
    assert 200 == service.ask("POST", "/api/tasks", DEAD_END).status
    assert (200, ["film"]) == (service.ask("GET", "/readyz").status, names(service))


@pytest_twisted.ensureDeferred
async def test_downloads_go_on_while_it_is_locked(
    start_service: Callable[..., Service], origin: HoldingOrigin, served: Path
) -> None:
    """What they have to record waits; the task is done soon after the lock is gone, and nothing is fetched twice."""
    service = start_service()
    task_id = await deferToThread(service.add, held(origin, served), "film")
    await deferToThread(wait_until, lambda: origin.count(f"/plain/index{SECONDS // 2 - 1}.ts"), 60)
    with locked(database(service)) as other:
        origin.release(FIRST)
        await deferToThread(wait_until, lambda: "db_locked" in degraded(service), 20)
        task = await deferToThread(service.task, task_id)
        assert task["status"] in ("下载中", "等待中")
        origin.release(REST)
        other.rollback()
    done = await deferToThread(service.wait, task_id, "已完成")
    assert Path(done["output"]).is_file()
    await deferToThread(wait_until, lambda: not degraded(service), 10)
    fetched = [visit.path for visit in origin.visits() if visit.path.endswith(".ts")]
    assert sorted(set(fetched)) == sorted(fetched)


# -- Damaged ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [damage_half, damage_nothing_left, damage_one_page], ids=lambda each: each.__name__)
def test_a_damaged_database_is_put_together_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """
    Killed and damaged: the next start has every task that was acknowledged, with its changes; it says so in its log, at
    /api/health and to whoever lists the tasks, and keeps the damaged file.
    """
    with running(tmp_path / "service") as service:
        for number in range(3):
            service.ask("POST", "/api/tasks", DEAD_END | {"filename": f"film{number}"})
        [kept, deleted, _] = [task["id"] for task in service.ask("GET", "/api/tasks").value]
        service.ask("PUT", f"/api/tasks?id={kept}", {"priority": 7})
        service.ask("DELETE", f"/api/tasks?id={deleted}")
        wait_until(lambda: len(names(service)) == 2, 5)
        service.kill()
        with sqlite3.connect(database(service)) as connection:  # what was committed is in the file, not in its log
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        damage(database(service))
        service.start()
        assert ["film0", "film2"] == names(service)
        assert 7 == service.task(kept)["priority"]
        assert ["db_restored"] == degraded(service)
        assert "db_restored" in service.log
        program = Path(sys.executable).with_name("m3u8svc")
        listed = subprocess.run([program, "list", "--server", service.base], capture_output=True, text=True, check=True)
        assert "[db_restored]" in listed.stderr and "film0" in listed.stdout
        assert 1 == len(list(service.home.glob("m3u8svc.sqlite3.corrupt-*")))


def test_nothing_to_put_it_together_from(tmp_path: Path) -> None:
    """An older home without copies: the start is refused with the reason, and nothing is touched."""
    with running(tmp_path / "service") as service:
        service.stop()
        for each in Path(f"{database(service)}.backups").iterdir():
            each.unlink()
        damage_half(database(service))
        before = database(service).read_bytes()
        with pytest.raises(AssertionError, match="ended at once"):
            service.start()
        service.kill()
        assert "the database is damaged" in service.log and before == database(service).read_bytes()


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_postgresql_that_goes_away_and_comes_back(tmp_path: Path, origin: HoldingOrigin, served: Path) -> None:
    """
    W1, R-PG-2: segments in flight are finished, new tasks are a 503, the process lives; within ten seconds of its
    return it goes on, and nothing is fetched twice.
    """
    with postgres_server() as server, running(tmp_path / "service", "--database", server.url) as service:
        task_id = await deferToThread(service.add, held(origin, served), "film")
        await deferToThread(wait_until, lambda: origin.count(f"/plain/index{SECONDS // 2 - 1}.ts"), 60)
        await deferToThread(server.stop)
        origin.release(FIRST)
        answer = await deferToThread(service.ask, "POST", "/api/tasks", DEAD_END)
        assert (503, "db_unavailable", "5") == (
            answer.status,
            answer.headers["x-error-code"],
            answer.headers["retry-after"],
        )
        assert 200 == (await deferToThread(service.ask, "GET", "/healthz")).status
        await deferToThread(wait_until, lambda: degraded(service) == ["db_unavailable"], 15)
        origin.release(REST)
        os.kill(service.pid, signal.SIG_DFL)  # it is alive
        await deferToThread(server.start)
        await deferToThread(wait_until, lambda: not degraded(service), 10)
        assert 200 == (await deferToThread(service.ask, "POST", "/api/tasks", DEAD_END)).status
        await deferToThread(service.wait, task_id, "已完成")
        fetched = [visit.path for visit in origin.visits() if visit.path.endswith(".ts")]
        assert sorted(set(fetched)) == sorted(fetched)
