"""
The bounds of one process: memory, threads, descriptors, the database and the log, for a task of many segments that are
there already, as after a restart; the figures are printed.

    .venv/bin/python -m pytest tests/bench/test_bounds.py -m bench -s

A service reads /proc/self: Linux only.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_presentation
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Stream
from tests.bench.test_database import fill
from tests.bench.test_gigabyte import make_film
from tests.integration.conftest import require
from tests.integration.nginx_server import serving
from tests.integration.service_child import Service, running

pytestmark = pytest.mark.bench

MIB = 1 << 20
LISTED = 200_000
PARSED_MIB = 90
"""One playlist of 200,000 segments: the most that parsing may take on top."""
KEPT_MIB = 40
"""And what of it stays while its task runs: the playlist and the plan."""
IDLE_MIB = 90
"""Of a service that found its database as it should be; one that had to migrate it takes some 10 more until it ends."""
IDLE_THREADS = 24
IDLE_DESCRIPTORS = 64
WITH_TASKS_MIB = {10_000: 40, 100_000: 250}
"""What so many finished tasks may add, their list asked for by pages of a hundred."""
TASKS, THREADS, STORED = 16, 8, 10_000
BUSY_MIB, CHILD_MIB = 300, 200
"""Of the service with so many tasks at work, each on so many connections; of each of its muxing children."""
BUSY_SEGMENTS = 60


def test_a_playlist_of_200_000_segments() -> None:
    """In a process of its own, so that nothing else counts."""
    script = (
        "import sys; from tests.bench.test_bounds import measure_playlist; "
        f"sys.stdout.write(' '.join(map(str, measure_playlist({LISTED}))))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    peak, kept = (float(each) for each in ran.stdout.split())
    print(f"\n{LISTED} segments: +{peak:.0f} MiB while parsing and planning, +{kept:.0f} MiB kept")
    assert peak < PARSED_MIB
    assert kept < KEPT_MIB


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path) as started:  # once more than the start that makes the database
        started.stop()
        yield started.start()


def test_an_idle_service(service: Service) -> None:
    """Memory, threads and descriptors of a service that has nothing to do."""
    pid = service.pid
    resident, threads, descriptors = resident_mib(pid), thread_count(pid), len(os.listdir(f"/proc/{pid}/fd"))
    print(f"\nidle: {resident:.0f} MiB, {threads} threads, {descriptors} descriptors")
    assert resident < IDLE_MIB
    assert threads <= IDLE_THREADS
    assert descriptors <= IDLE_DESCRIPTORS


@pytest.mark.parametrize("count", WITH_TASKS_MIB)
def test_stored_tasks(service: Service, count: int) -> None:
    """Memory does not hold what the database does."""
    idle = resident_mib(service.pid)
    service.stop()
    fill(service.home / "m3u8svc.sqlite3", finished=count)
    service.start()
    for offset in range(0, 5_000, 100):
        assert 100 == len(service.ask("GET", f"/api/tasks?limit=100&offset={offset}").value)
    more = resident_mib(service.pid) - idle
    print(f"\n{count} finished tasks: {more:+.0f} MiB after 50 pages of the list")
    assert more < WITH_TASKS_MIB[count]


def test_a_busy_service(tmp_path: Path) -> None:
    """Sixteen tasks on eight connections each beside ten thousand stored ones, at the speed of loopback."""
    require("ffmpeg", "nginx", "curl", "openssl")
    root = tmp_path / "www"
    root.mkdir()
    make_film(root, BUSY_SEGMENTS)
    (tmp_path / "nginx").mkdir()
    with serving(tmp_path / "nginx", root) as nginx, running(tmp_path, "--max-active", str(TASKS)) as service:
        service.stop()
        fill(service.home / "m3u8svc.sqlite3", finished=STORED)
        service.start()
        fields = {"advanced": True, "download_threads": THREADS}
        tasks = [service.add(f"{nginx.base}/index.m3u8", f"film{number}", **fields) for number in range(TASKS)]
        most, threads, children = 0.0, 0, {}
        while any(service.task(task)["status"] in ("等待中", "下载中") for task in tasks):
            most, threads = max(most, resident_mib(service.pid)), max(threads, thread_count(service.pid))
            for child in children_of(service.pid):
                children[child] = max(children.get(child, 0.0), resident_mib(child))
            time.sleep(0.05)
        assert {"已完成"} == {service.task(task)["status"] for task in tasks}
    largest = max(children.values())
    print(f"\n{TASKS} x {THREADS}: {most:.0f} MiB, {threads} threads, children at most {largest:.0f} MiB each")
    assert most < BUSY_MIB
    assert largest < CHILD_MIB
    assert threads <= IDLE_THREADS


def resident_mib(pid: int) -> float:
    """What a process has in memory now; 0 if it is gone."""
    return float(_status_of(pid).get("VmRSS", "0").split()[0]) / 1024


def thread_count(pid: int) -> int:
    """How many threads it has."""
    return int(_status_of(pid).get("Threads", "0"))


def children_of(pid: int) -> list[int]:
    """The processes it started that run now."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in found for child in each.read_text().split()]


def _status_of(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":", 1) for line in text.splitlines())


def measure_playlist(count: int) -> tuple[float, float]:
    """
    By how many MiB this process grows at most, and for good, when it parses and plans so many segments.
    """
    listed = "".join(f"#EXTINF:4.000,\nseg-{number:06d}.ts?token=abcdef\n" for number in range(count))
    body = f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n{listed}#EXT-X-ENDLIST\n".encode()
    del listed
    before, most_before = _resident(), _most()
    playlist = parse_playlist(body, "https://cdn.example/vod/film/index.m3u8")
    assert isinstance(playlist, MediaPlaylist)
    plan = plan_presentation(Presentation(streams=(Stream(track="main", playlist=playlist),)), {})
    assert count == len(plan.jobs)
    return max(0.0, _most() - max(before, most_before)), _resident() - before


def _resident() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / MIB


def _most() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
