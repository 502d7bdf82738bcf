"""
Real databases for tests: tasks and segments to store, a store that is closed again, a PostgreSQL of our own.
"""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg
from twisted.internet import reactor

from m3u8svc.store import SegmentRow, Store
from m3u8svc.tasks.task import Task, TaskSpec
from tests.needs import lacking

POSTGRES_BINARIES = Path("/usr/lib/postgresql/15/bin")
SECRET = "hunter2"


def a_task(task_id: str = "t1", **changes: Any) -> Task:
    """A task whose values do not matter."""
    spec = TaskSpec(url=f"https://origin.example/a.m3u8?token={SECRET}", filename="film")
    return attrs.evolve(Task(id=task_id, spec=spec, created_at=1.5, updated_at=1.5), **changes)


def a_segment(position: int, **changes: Any) -> SegmentRow:
    """A finished segment."""
    return attrs.evolve(SegmentRow(position=position, identity=f"i{position}", name=f"{position:08d}"), **changes)


async def with_store(url: str, work: Any) -> Any:
    """What `work` gives for an open store, which is closed afterwards."""
    opened = Store(url, reactor=reactor)
    await opened.open()
    try:
        return await work(opened)
    finally:
        await opened.close()


class PostgresServer:
    """
    A PostgreSQL in a directory of its own, reached by a socket there.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.url = f"postgresql+psycopg://m3u8svc:{SECRET}@/postgres?host={place}"
        self._as_postgres: list[str] = []
        if os.geteuid() == 0:  # initdb refuses root
            shutil.chown(place, "postgres")
            self._as_postgres = ["runuser", "-u", "postgres", "--"]
        self._run("initdb", "-U", "m3u8svc", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Returns when it answers."""
        options = f"-k {self.place} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-w", "-l", f"{self.place}/log", "-o", options, "start")

    def stop(self) -> None:
        """As if it was killed."""
        self._run("pg_ctl", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_postgres, str(POSTGRES_BINARIES / program), "-D", f"{self.place}/cluster", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=60)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """
    A server that runs, and is gone afterwards. Where PostgreSQL is not installed the test is skipped, in CI it fails.
    """
    if not (POSTGRES_BINARIES / "initdb").exists():
        lacking(f"PostgreSQL in {POSTGRES_BINARIES}")
    place = Path(tempfile.mkdtemp(prefix="m3u8svc-pg-"))
    server = PostgresServer(place)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(place)


def on_server(postgres: str, *statements: str) -> list[Any]:
    """Run SQL beside the store; the rows of the last statement."""
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def empty_postgres(postgres: str) -> str:
    """The URL of the server, with nothing in it."""
    on_server(postgres, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return postgres


# -- Damage ----------------------------------------------------------------------------------------------------------


def damage_directory(path: Path) -> None:
    """Something else has its name."""
    path.unlink()
    path.mkdir()


def damage_nothing_left(path: Path) -> None:
    """Cut to nothing."""
    os.truncate(path, 0)


def damage_half(path: Path) -> None:
    """Cut in half."""
    os.truncate(path, path.stat().st_size // 2)


def damage_first_page(path: Path) -> None:
    """The first page is zeros: it says nothing of itself any more."""
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])


def damage_one_page(path: Path) -> None:
    """The page at the root of the tasks is garbage."""
    connection = sqlite3.connect(path)
    [[page]] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'tasks'")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def damage_other_file(path: Path) -> None:
    """It is another file altogether."""
    path.write_text("#EXTM3U\n" * 1000)


def damage_only_the_log_is_left(path: Path) -> None:
    """Gone, but for a log."""
    path.rename(f"{path}-wal")
