"""
Limits of rate of a real service, in front of nginx: bytes are counted, and never was a film there sooner than its limit
allows. How much later is a matter of the machine, and of `tests/bench/test_rates.py`.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from m3u8svc.testing.harness import ts_segment
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service

StartService = Callable[..., Service]

SEGMENTS = 12
PACKETS = 1000
FILM_BYTES = SEGMENTS * PACKETS * 188
RATE = 1024 * 1024
BURST = 0.05 * RATE + 128 * 1024
"""What may come at once in the beginning: the room of a limit, and a read."""


@pytest.fixture(scope="module")
def film(served: Path) -> list[bytes]:
    """The segments of a film that nginx serves as ``/rates/index.m3u8``."""
    place = served / "rates"
    place.mkdir()
    segments = [ts_segment(f"segment {number}", PACKETS) for number in range(SEGMENTS)]
    for number, segment in enumerate(segments):
        (place / f"{number}.ts").write_bytes(segment)
    lines = [SegmentLine(uri=f"{number}.ts", duration_s=2.0) for number in range(SEGMENTS)]
    (place / "index.m3u8").write_text(media_playlist(lines), encoding="utf-8")
    return segments


def asked(nginx: Nginx) -> "Counter[tuple[str, str]]":
    """How often each segment was answered so far, and whether wholly."""
    return Counter((call.path, call.completed) for call in nginx.calls("/rates/") if call.path.endswith(".ts"))


def least_s(size_bytes: int, rate: int = RATE) -> float:
    """In less time than this nobody can have had so much."""
    return 0.9 * (size_bytes - BURST) / rate


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_all_tasks_together(scheme: str, start_service: StartService, nginx: Nginx, film: list[bytes]) -> None:
    """Two tasks at once take as long as the limit wants, and are whole; nothing was asked twice or broken off."""
    service = start_service()
    saved = service.ask("POST", "/api/settings", {"limit_rate": RATE, "allow_insecure_https": True})
    assert {"status": "success"} == saved.value
    assert RATE == service.ask("GET", "/api/settings").value["limit_rate"]
    before = asked(nginx)
    base = nginx.base if scheme == "http" else nginx.tls_base
    began = time.monotonic()
    ids = [service.add(f"{base}/rates/index.m3u8", name, merger="ts") for name in ("one", "two")]
    tasks = [service.wait(task_id, "已完成", "失败", within_s=120) for task_id in ids]
    took_s = time.monotonic() - began
    assert ["已完成", "已完成"] == [task["status"] for task in tasks]
    assert took_s >= least_s(2 * FILM_BYTES)
    for task in tasks:
        assert b"".join(film) == Path(task["output"]).read_bytes()
        assert [] == task["warnings"]
    counted = asked(nginx) - before
    assert {(f"/rates/{number}.ts", "OK"): 2 for number in range(SEGMENTS)} == dict(counted)
    assert [] == service.complaints()


def test_a_task_that_runs_gets_another_limit(start_service: StartService, nginx: Nginx, film: list[bytes]) -> None:
    """A film that would take minutes is done soon once its limit is gone; a wrong one is refused by name."""
    service = start_service()
    task_id = service.add(f"{nginx.base}/rates/index.m3u8", "film", merger="ts", limit_rate=16 * 1024)
    service.wait(task_id, "下载中")
    refused = service.ask("PUT", f"/api/tasks?id={task_id}", {"limit_rate": 16})
    assert (400, True) == (refused.status, "limit_rate: 必须是 0（不限速）或 1024 到" in refused.value)
    time.sleep(1.0)
    running = service.task(task_id)
    assert ("下载中", 16 * 1024) == (running["status"], running["limit_rate"])
    assert running["bytes"] < FILM_BYTES / 2
    assert 200 == service.ask("PUT", f"/api/tasks?id={task_id}", {"limit_rate": 0}).status
    done = service.wait(task_id, "已完成", within_s=60)
    assert (0, FILM_BYTES) == (done["limit_rate"], done["size"])
    assert [] == service.complaints()


def test_a_host_and_a_schedule(start_service: StartService, nginx: Nginx, film: list[bytes]) -> None:
    """The rate of each host, and a schedule that holds all day beside no other limit."""
    service = start_service()
    for settings in ({"limit_rate_per_host": RATE}, {"limit_schedule": "00:00-12:00 1M; 12:00-24:00 1M"}):
        assert 200 == service.ask("POST", "/api/settings", settings).status
        began = time.monotonic()
        task_id = service.add(f"{nginx.base}/rates/index.m3u8", "film", merger="ts")
        assert FILM_BYTES == service.wait(task_id, "已完成", within_s=60)["size"]
        assert time.monotonic() - began >= least_s(FILM_BYTES)


def test_get(nginx: Nginx, film: list[bytes], tmp_path: Path) -> None:
    """`m3u8svc get --limit-rate 1M`."""
    command = [sys.executable, "-m", "m3u8svc", "get", f"{nginx.base}/rates/index.m3u8", "--limit-rate", "1M"]
    command += ["-o", str(tmp_path / "film.ts"), "--home", str(tmp_path / "home"), "--quiet"]
    began = time.monotonic()
    subprocess.run(command, check=True, timeout=120)
    assert time.monotonic() - began >= least_s(FILM_BYTES)
    assert b"".join(film) == (tmp_path / "film.ts").read_bytes()
