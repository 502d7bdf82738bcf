"""
Table 4.3, what the harness that kills and the tests of disks and databases do not have: rows of the host against a real
service.
"""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from m3u8svc.testing.playlists import media_playlist, segment_lines
from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.rig import CONNECTIONS, HELD, Bench, Service, muxers, wait_for

pytestmark = pytest.mark.faults

ENDS = ("已完成", "失败", "已暂停")
ALREADY_RUNS = 75


@contextmanager
def living(ready: Bench, name: str, *before: str) -> Iterator[Service]:
    """A service of one test, begun with `before`."""
    with ready.folder(name) as folder:
        service = ready.service(folder)
        service.launch(*before)
        assert service.listens(), service.log
        try:
            yield service
        finally:
            service.kill()


def add(
    ready: Bench, service: Service, film: str, stream: str = "locked", *, held: bool = False, **tweaks: object
) -> Asked:
    """
    A task for a stream, slowed down by `tweaks`. `held`: its second half comes when the origin holds nothing; of a last
    few segments that take long, each would be asked for twice.
    """
    name = f"{service.folder.name}-{film}"
    last = ready.streams[stream].segments
    url = ready.playlist(stream, name, tweaks, {at: HELD for at in range(last // 2 + 1, last + 1)} if held else {})
    body = {"url": url, "filename": film, "advanced": True, "download_threads": CONNECTIONS}
    status, task = service.ask("POST", "/api/tasks", body)
    assert status == 200, task
    return Asked(id=task["id"], name=name, film=film, stream=ready.streams[stream])


def end(service: Service, asked: Asked, within_s: float = 60) -> dict[str, Any]:
    """The task once it rests."""
    assert wait_for(lambda: service.tasks()[asked.id]["status"] in ENDS, within_s), service.tasks()[asked.id]
    return service.tasks()[asked.id]


def _stand_still(ready: Bench) -> tuple[str, list[str]]:
    """How a film ends whose service stood still in the middle, and what is wrong with it."""
    with living(ready, "n8") as service:
        asked = add(ready, service, "film", chunk_size=4000, chunk_delay=0.05)
        assert wait_for(lambda: len(i.stored(service, asked)) >= 2, 30)
        service.pause()
        time.sleep(35)  # longer than the silence that is allowed
        os.kill(service.pid, signal.SIGCONT)
        for pid in muxers(service.pid):
            os.kill(pid, signal.SIGCONT)
        status = end(service, asked)["status"]
        return status, i.asked_once(ready, service, asked) + i.same_bytes(service, asked) + i.clean_log(service)


@pytest.fixture(scope="module", autouse=True)
def stood_still(request: pytest.FixtureRequest, ready: Bench) -> Iterator[Future[tuple[str, list[str]]] | None]:
    """That, begun with the first test if it is asked for: it mostly waits, and others need not wait for it."""
    if not any(each.name == test_n8_stopped_and_continued.__name__ for each in request.session.items):
        yield None
        return
    with ThreadPoolExecutor(1) as worker:
        yield worker.submit(_stand_still, ready)


def test_h9_little_memory(ready: Bench) -> None:
    """Lists of 100,000 segments, several at once, in two gigabytes of address space: named ends, and a service."""
    with living(ready, "h9", "prlimit", "--as=2147483648", "--") as service:
        text = media_playlist(segment_lines(100_000))
        tasks = []
        for number in range(3):
            url = ready.origin.put(f"/h9-{number}.m3u8", text)
            status, task = service.ask("POST", "/api/tasks", {"url": url, "filename": f"long{number}"})
            assert status == 200
            tasks.append(task["id"])
        assert wait_for(lambda: all(service.tasks()[task]["status"] in ENDS for task in tasks), 120)
        assert {"失败"} == {service.tasks()[task]["status"] for task in tasks}
        assert {"http_4xx"} == {service.tasks()[task]["err_code"] for task in tasks}
        asked = add(ready, service, "film", "small")
        assert "已完成" == end(service, asked)["status"]
        assert [] == i.same_bytes(service, asked) + i.clean_log(service)


def test_h12_two_on_one_home(ready: Bench) -> None:
    """The second ends with 75 and says whose home it is; the first does not notice."""
    with living(ready, "h12") as service:
        asked = add(ready, service, "film", delay=0.2)
        second = subprocess.run(service.command, capture_output=True, text=True, timeout=60, check=False)
        assert ALREADY_RUNS == second.returncode
        assert str(service.pid) in second.stderr + second.stdout
        assert "Traceback" not in second.stderr
        assert "已完成" == end(service, asked)["status"]
        assert [] == i.all_done(ready, service, [asked])


@pytest.mark.parametrize("sign", [signal.SIGSEGV, signal.SIGKILL], ids=["segv", "kill"])
def test_h13_the_muxing_child_dies(ready: Bench, sign: signal.Signals) -> None:
    """It harms its own task at most, and there nothing is fetched again."""
    with living(ready, f"h13-{sign.name}") as service:
        with ready.origin.holding():  # the child cannot be done before it is killed
            victim = add(ready, service, "victim", held=True, delay=0.15)
            assert wait_for(lambda: bool(muxers(service.pid)), 30)
            assert wait_for(lambda: len(i.stored(service, victim)) >= 4, 30)
            os.kill(muxers(service.pid)[0], sign)
        other = add(ready, service, "other", "small")
        assert "已完成" == end(service, other)["status"]
        ended = end(service, victim)
        assert (ended["status"], ended["err_code"]) in {("失败", "merger_died"), ("已完成", "")}
        if ended["status"] == "失败":
            resume(service, victim)
        assert [] == i.asked_once(ready, service, victim) + i.all_done(ready, service, [victim, other])


def test_h13_the_muxing_child_always_dies(ready: Bench) -> None:
    """That is no loop: the task fails by name, keeps its segments, and is made when the child lives."""
    with living(ready, "h13-always") as service:
        deaths = 0
        with ready.origin.holding():  # no child can be done before it is killed
            victim = add(ready, service, "victim", held=True, delay=0.05)
            deadline = time.monotonic() + 60
            while service.tasks()[victim.id]["status"] not in ENDS and time.monotonic() < deadline:
                for pid in muxers(service.pid):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        deaths += 1
                time.sleep(0.02)
        ended = service.tasks()[victim.id]
        assert ("失败", "merger_died") == (ended["status"], ended["err_code"])
        assert 1 <= deaths <= 50
        i.asked_once(ready, service, victim)
        resume(service, victim)
        assert [] == i.asked_once(ready, service, victim) + i.all_done(ready, service, [victim])


def resume(service: Service, asked: Asked) -> None:
    """Let a failed task go on, to its end."""
    status, answer = service.ask("PUT", f"/api/tasks?id={asked.id}", {"status": "等待中"})
    assert status == 200, answer
    assert wait_for(lambda: service.tasks()[asked.id]["status"] == "已完成", 60)


def test_h14_no_processor_to_be_had(ready: Bench) -> None:
    """Both cores are busy with others: slower, and no timer takes that for a fault of the origin."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with living(ready, "h14") as service:
            tasks = [add(ready, service, f"film{number}") for number in range(3)]
            for asked in tasks:
                assert "已完成" == end(service, asked, within_s=180)["status"]
                assert [] == i.asked_once(ready, service, asked) + i.same_bytes(service, asked)
            assert service.slowest_s < 4 * i.HEALTHY_S
            assert [] == i.clean_log(service)
    finally:
        for each in busy:
            each.kill()
            each.wait()


def test_h15_a_newer_database(ready: Bench) -> None:
    """What a later version has written is refused with a text and left alone; with the right one it goes on."""
    with ready.folder("h15") as folder:
        service = ready.service(folder).start()
        try:
            asked = add(ready, service, "film", delay=0.2)
            assert wait_for(lambda: len(i.stored(service, asked)) >= 4, 30)
            service.terminate()
            known = move_schema(service, "9999")
            service.launch()
            assert not service.listens()
            assert 0 != service.reap()
            assert "9999" in service.log
            assert "Traceback" not in service.log
            move_schema(service, known)
            i.asked_once(ready, service, asked)
            service.start()
            assert "已完成" == end(service, asked)["status"]
            assert [] == i.asked_once(ready, service, asked) + i.same_bytes(service, asked)
        finally:
            service.kill()


def move_schema(service: Service, version: str) -> str:
    """Say that the database is of this version; what it was."""
    with closing(sqlite3.connect(service.home / "m3u8svc.sqlite3")) as database, database:
        ((was,),) = database.execute("SELECT version_num FROM m3u8svc_schema").fetchall()
        database.execute("UPDATE m3u8svc_schema SET version_num = ?", (version,))
    return str(was)


def test_n8_stopped_and_continued(stood_still: Future[tuple[str, list[str]]]) -> None:
    """The whole service stands still in the middle, as when a machine sleeps: it goes on, nothing is asked twice."""
    assert ("已完成", []) == stood_still.result()
