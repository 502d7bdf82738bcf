"""
The database of a service that has done much: its size, and how soon it serves again (reliability.md 6.1, 6.4).
"""

import hashlib
import os
import time
from pathlib import Path

import attrs
import pytest
from sqlalchemy import insert

from m3u8svc.store import SegmentRow, rows
from m3u8svc.store.database import Database
from m3u8svc.store.tables import SEGMENTS, TASKS
from m3u8svc.tasks.task import Progress, Status, Task, TaskSpec
from tests.integration.service_child import Service

pytestmark = pytest.mark.bench
MIB = 1 << 20


def a_task(number: int, status: Status) -> Task:
    """One of many."""
    token = hashlib.sha256(b"%d" % number).hexdigest()[:32]
    url = f"https://cdn{number % 7}.example.com/vod/{number:08d}/1080p/index.m3u8?token={token}"
    spec = TaskSpec(url=url, filename=f"An ordinary film, part {number}")
    at = 1.7e9 + number
    task = Task(id=f"{number:012x}", spec=spec, status=status, created_at=at, updated_at=at, place=at)
    if status is not Status.COMPLETED:
        return task
    output = f"/srv/films/An ordinary film, part {number}.mp4"
    return attrs.evolve(task, output=output, output_id=f"{number}:1:2", size=10**9, progress=Progress(percent=100))


def a_segment(position: int) -> SegmentRow:
    """One of many, as a real run records it."""
    digest = hashlib.sha256(b"%d" % position).hexdigest()
    name = f"{position:08d}-{digest[:12]}.ts"
    return SegmentRow(position=position, identity=digest[:12], name=name, size_bytes=1_500_000, digest=digest)


def fill(path: Path, *, finished: int = 0, active: int = 0, waiting: int = 0, segments: int = 0) -> None:
    """A database with so many tasks; the active ones have so many segments each."""
    database = Database(f"sqlite:///{path}")
    database.open()
    states = [Status.COMPLETED] * finished + [Status.DOWNLOADING] * active + [Status.WAITING] * waiting
    tasks = [a_task(number, status) for number, status in enumerate(states)]
    database.run(lambda c: c.execute(insert(TASKS), [rows.task_row(task) for task in tasks]), write=True)
    ledger = [a_segment(position) for position in range(1, segments + 1)]
    for task in tasks[finished : finished + active]:
        batch = [rows.segment_columns(task.id, row) for row in ledger]
        if batch:
            database.run(lambda c, batch=batch: c.execute(insert(SEGMENTS), batch), write=True)
    database.close()


def test_ten_thousand_finished_tasks(tmp_path: Path) -> None:
    """At most 30 MiB."""
    path = tmp_path / "db"
    fill(path, finished=10_000)
    size = path.stat().st_size
    print(f"10,000 finished tasks: {size / MIB:.1f} MiB, {size / 10_000:.0f} bytes each")
    assert size <= 30 * MIB


def test_a_live_segment(tmp_path: Path) -> None:
    """At most 200 bytes a row."""
    path = tmp_path / "db"
    fill(path, active=10)
    empty = path.stat().st_size
    fill(tmp_path / "full", active=10, segments=10_000)
    row = ((tmp_path / "full").stat().st_size - empty) / 100_000
    print(f"a row of a segment: {row:.0f} bytes")
    assert row <= 200


@pytest.mark.parametrize(("unclean", "limit_s"), [(False, 5.0), (True, 15.0)])
def test_a_start_with_ten_thousand_tasks(tmp_path: Path, unclean: bool, limit_s: float) -> None:
    """100 of them active with 10,000 segments each: it serves within 5 s, after an unclean stop within 15 s."""
    service = Service(tmp_path, "--max-active", "1")
    service.home.mkdir(mode=0o700)
    fill(service.home / "m3u8svc.sqlite3", active=100, waiting=9_900, segments=10_000)
    service.start()
    if unclean:
        service.kill()
    else:
        service.stop()
    began = time.monotonic()
    service.start()
    listening_s = time.monotonic() - began
    answer = service.ask("GET", "/api/tasks?limit=100")
    served_s = time.monotonic() - began
    spent_s = sum(map(int, Path(f"/proc/{service.pid}/stat").read_text().split()[13:15])) / os.sysconf("SC_CLK_TCK")
    print(f"unclean={unclean}: listens after {listening_s:.1f} s, answers after {served_s:.1f} s, CPU {spent_s:.1f} s")
    service.kill()
    assert (200, 100) == (answer.status, len(answer.value))
    assert served_s <= limit_s
