"""
The service while it works, and while it does not: how long the API takes beside sixteen downloads at full speed, how
long the reactor's turns are, what idling costs, how soon ``m3u8svc get`` asks for something (reliability.md 6.3).

    .venv/bin/python -m pytest tests/bench/test_responsive.py -m bench -s

The figures are printed. Origin, client and muxing children share the machine with the service, and on two cores that
is most of what is measured: the limits that are held are those of processor time, which others do not lengthen.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.test_database import fill
from tests.bench.test_gigabyte import make_film
from tests.integration.conftest import require
from tests.integration.nginx_server import serving
from tests.integration.service_child import Service, running

pytestmark = pytest.mark.bench

ENTRY = Path(__file__).with_name("watched.py")
STORED = 10_000
TASKS, THREADS, SEGMENTS = 16, 8, 150
LOADED_S = 15.0
LONGEST_TURN_S = 0.1
"""Processor time of the longest turn."""
IDLE_S = 60.0
SETTLED_S = 75.0
"""After a start: the hour's backup of the database is made by then."""
IDLE_SHARE = 0.005
STARTS = 7
START_S = 0.6
"""Processor time until the first request; on a machine that is free it is the time."""
Watched = tuple[Service, Path]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A service with many finished tasks, and the file of its long turns."""
    turns = tmp_path / "turns"
    before = (sys.executable, "-I", str(ENTRY), str(turns), "--")
    with running(tmp_path, "--max-active", str(TASKS), before=before) as service:
        service.stop()
        fill(service.home / "m3u8svc.sqlite3", finished=STORED)
        service.start()
        time.sleep(3)
        turns.unlink(missing_ok=True)
        yield service, turns


class Client(threading.Thread):
    """
    Asks the same, so many times a second, until it is told to end; how long each answer took.
    """

    def __init__(self, service: Service, method: str, target: str, *, per_s: float, body: object = None) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(service.base.removeprefix("http://"), timeout=60)
        self._asked = method, target, None if body is None else json.dumps(body)
        self._every_s = 1 / per_s
        self.name = f"{method} {target}"
        self.ending = threading.Event()
        self.times: list[float] = []
        self.wrong: list[int] = []

    def run(self) -> None:
        due = time.monotonic()
        while not self.ending.wait(max(0.0, due - time.monotonic())):
            began = time.perf_counter()
            self._connection.request(*self._asked, headers={"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            answer.read()
            self.times.append(time.perf_counter() - began)
            if answer.status != 200:
                self.wrong.append(answer.status)
            due = max(due + self._every_s, time.monotonic() - 1)
        self._connection.close()

    def row(self) -> str:
        """Its line of the table."""
        ranked = sorted(self.times)
        middle, late = statistics.median(ranked), ranked[int(len(ranked) * 0.99)]
        return f"{self.name:28} {len(ranked):6} {middle * 1e3:9.1f} {late * 1e3:9.1f} {ranked[-1] * 1e3:9.1f}"


def ask_for_a_while(service: Service, *more: Client) -> None:
    """The table of what clients see meanwhile."""
    new = {"url": "http://127.0.0.1:1/i.m3u8", "filename": "film"}
    clients = [
        Client(service, "GET", "/api/tasks?limit=100", per_s=50),
        Client(service, "POST", "/api/tasks", per_s=10, body=new),
        Client(service, "GET", "/healthz", per_s=50),
        *more,
    ]
    for client in clients:
        client.start()
    time.sleep(LOADED_S)
    for client in clients:
        client.ending.set()
    for client in clients:
        client.join()
    print(f"\n{'':28} {'asked':>6} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}")
    print("\n".join(client.row() for client in clients))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    assert [] == [status for client in clients for status in client.wrong]


def say_turns(turns: Path) -> float:
    """The longest turn, in processor time; of all that were noted, the figures."""
    lines = turns.read_text(encoding="ascii").splitlines() if turns.exists() else []
    pairs = [(float(used), float(took)) for used, took in (line.split() for line in lines)]
    used, took = sorted(pair[0] for pair in pairs) or [0.0], sorted(pair[1] for pair in pairs) or [0.0]
    print(
        f"{len(pairs)} turns of over 10 ms; the longest: {used[-1] * 1e3:.0f} ms of processor, {took[-1] * 1e3:.0f} ms"
    )
    return used[-1]


def test_the_api_of_a_service_at_rest(watched: Watched) -> None:
    """With ten thousand tasks stored, and once with the list of all of them beside it."""
    service, turns = watched
    ask_for_a_while(service)
    ask_for_a_while(service, Client(service, "GET", "/api/tasks", per_s=0.5))
    assert say_turns(turns) < LONGEST_TURN_S


def test_the_api_beside_downloads(watched: Watched, tmp_path: Path) -> None:
    """Sixteen tasks on eight connections each, as fast as this machine can."""
    require("ffmpeg", "nginx", "curl", "openssl")
    root = tmp_path / "www"
    root.mkdir()
    make_film(root, SEGMENTS)
    (tmp_path / "nginx").mkdir()
    service, turns = watched
    with serving(tmp_path / "nginx", root) as nginx:
        for number in range(3 * TASKS):
            service.add(f"{nginx.base}/index.m3u8", f"film{number}", download_threads=THREADS)
        turns.unlink(missing_ok=True)
        before, began = _counted(service, "wchar"), time.monotonic()
        ask_for_a_while(service)
        rate = (_counted(service, "wchar") - before) / (time.monotonic() - began)
        longest = say_turns(turns)
        service.kill()
    print(f"{rate / 1e6:.0f} MB/s were downloaded meanwhile")
    assert longest < LONGEST_TURN_S


def test_idling(tmp_path: Path) -> None:
    """Processor time, and what is written to disk: by a service that nobody watches, since watching writes."""
    with running(tmp_path) as service:
        service.stop()
        fill(service.home / "m3u8svc.sqlite3", finished=STORED)
        service.start()
        _look_at_idling(service)


def _look_at_idling(service: Service) -> None:
    time.sleep(SETTLED_S)
    used, written = used_s(service.pid), _counted(service, "write_bytes")
    time.sleep(IDLE_S)
    share, more = (used_s(service.pid) - used) / IDLE_S, _counted(service, "write_bytes") - written
    print(f"\nidle: {share * 100:.2f} % of a core, {more} bytes written in {IDLE_S:.0f} s")
    assert share <= IDLE_SHARE
    assert 0 == more


def test_how_soon_get_asks(tmp_path: Path) -> None:
    """From the start of the process until its first request."""
    times, used = [], []
    with socket.create_server(("127.0.0.1", 0)) as origin:
        url = f"http://127.0.0.1:{origin.getsockname()[1]}/index.m3u8"
        for number in range(STARTS):
            command = [sys.executable, "-m", "m3u8svc", "get", url, "--home", str(tmp_path / str(number)), "--quiet"]
            began = time.monotonic()
            with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
                connection, _ = origin.accept()
                with connection:
                    connection.recv(1)
                    times.append(time.monotonic() - began)
                    used.append(used_s(process.pid))
                process.kill()
    print(f"\nget asks after {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
    print(f"and {statistics.median(used):.2f} s of processor ({min(used):.2f} to {max(used):.2f})")
    assert statistics.median(used) < START_S


def used_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _counted(service: Service, what: str) -> int:
    """
    What the kernel has counted: "wchar", bytes of all writes, or "write_bytes", those of them that are for a disk.
    """
    lines = Path(f"/proc/{service.pid}/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)[what])
