"""
What the store says of a database that it cannot use as it is, and what stands in the log beside it.
"""

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from m3u8svc.errors import BackupFailed, ConfigError, DatabaseDamaged, StoreError
from m3u8svc.store.backups import Backups, judge, one_line
from m3u8svc.store.changes import Change, ChangeLog, read_changes
from m3u8svc.store.database import Database, parse_database_url


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "m3u8svc.sqlite3"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What is logged as an error meanwhile."""
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            said.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield said
    globalLogPublisher.removeObserver(observe)


def opened_and_closed(path: Path) -> None:
    """As a service that starts and ends."""
    database = Database(f"sqlite:///{path}")
    database.open()
    database.close()


def made(path: Path) -> Database:
    """A database that was opened and closed, and has something to restore it from."""
    database = Database(f"sqlite:///{path}", wall=lambda: 1_700_000_000.0)
    database.open()
    assert database.backups is not None
    database.backups.copy(database.backups.begin())
    database.backups.copied()
    database.close()
    return database


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///", "sqlite:/// wants a file's path and takes no options"),
        ("sqlite:///:memory:", "sqlite:/// wants a file's path and takes no options"),
        ("sqlite:///x?mode=ro", "sqlite:/// wants a file's path and takes no options"),
        ("nonsense", "this is not a database URL"),
        ("postgresql://h:port/x", "this is not a database URL"),
        ("mysql://h/x", "mysql is not supported; use sqlite:///PATH or postgresql+psycopg://HOST/NAME"),
        ("sqlite+x:///y", "sqlite+x is not supported; use sqlite:///PATH or postgresql+psycopg://HOST/NAME"),
    ],
)
def test_a_url_that_is_refused(url: str, reason: str) -> None:
    """With what would be right."""
    with pytest.raises(ConfigError) as caught:
        parse_database_url(url)
    assert {"where": "database", "reason": reason} == caught.value.fields


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:///a%20b", "a b"), ("sqlite:////x/%FF", "/x/\udcff"), ("sqlite://", ":memory:")]
)
def test_a_url_that_means_a_file(url: str, path: str) -> None:
    """Percent-encoded, whatever bytes its name has."""
    assert ("sqlite", path) == (parse_database_url(url).drivername, parse_database_url(url).database)


def test_a_place_that_holds_no_database(path: Path) -> None:
    """A directory is none, and is left alone."""
    path.mkdir()
    with pytest.raises(StoreError) as caught:
        Database(f"sqlite:///{path}").open()
    assert {"reason": f"{path} is not a file"} == caught.value.fields


def test_an_empty_file_is_no_new_database(path: Path) -> None:
    """Somebody's tasks were in it."""
    path.touch()
    with pytest.raises(DatabaseDamaged) as caught:
        Database(f"sqlite:///{path}").open()
    assert {"path": path, "reason": "it is empty, so what it held is lost"} == caught.value.fields


def test_a_log_without_its_file(path: Path) -> None:
    """It was not us who took that away."""
    Path(f"{path}-wal").touch()
    with pytest.raises(DatabaseDamaged) as caught:
        Database(f"sqlite:///{path}").open()
    assert {"path": path, "reason": "it is gone but its log m3u8svc.sqlite3-wal is there"} == caught.value.fields


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "it is gone but its backups are there"),
        (lambda path: (path.unlink(), path.mkdir()), "a directory has its name"),
        (lambda path: os.truncate(path, 0), "it is empty, so what it held is lost"),
        (lambda path: path.write_bytes(b"#EXTM3U\n" * 1000), "file is not a database"),
    ],
)
def test_a_restore_says_why_and_from_what(path: Path, damage: Callable[[Path], object], reason: str) -> None:
    """And where the damaged file is now."""
    made(path)
    damage(path)
    there = path.exists()
    database = Database(f"sqlite:///{path}", wall=lambda: 1_700_000_060.0)
    [notice] = database.open()
    database.close()
    kept = f"{path}.corrupt-20231114T221420Z" if there else "-"
    assert {"reason": reason, "backup": "00000001-20231114T221320Z.sqlite3", "kept": kept} == notice.fields


def test_a_database_of_a_newer_version(path: Path) -> None:
    """It is left as it is."""
    made(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE m3u8svc_schema SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError) as caught:
        Database(f"sqlite:///{path}").open()
    reason = "its schema 9999 is from a newer version of m3u8svc; nothing was changed"
    assert {"where": "database", "reason": reason} == caught.value.fields


def test_a_database_that_is_not_open(path: Path) -> None:
    """Neither before nor after."""
    database = Database(f"sqlite:///{path}")
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            database.run(lambda connection: None, write=False)
        assert {"reason": "the store is not open"} == caught.value.fields
        with pytest.raises(OSError, match="^the store is not open$"):
            database.copy_into(path)
        database.open()
        database.close()


def test_how_long_another_program_is_waited_for(path: Path) -> None:
    """As long as is left of the patience, which is never more than five seconds."""
    database = Database(f"sqlite:///{path}")
    database.open()
    try:
        waits = [
            database.run(
                lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one(), write=write, **given
            )
            for write in (False, True)
            for given in ({}, {"patience_s": 1.5}, {"patience_s": 60.0}, {"patience_s": 0.0})
        ]
    finally:
        database.close()
    assert [5000, 1500, 5000, 0] * 2 == waits


def test_nobody_else_reads_it(path: Path) -> None:
    """Neither the file, nor what lies beside it, nor one that was open to all before."""
    made(path)
    folder = Path(f"{path}.backups")
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert {0o600} == {stat.S_IMODE(each.stat().st_mode) for each in (path, *folder.iterdir())}
    path.chmod(0o644)
    opened_and_closed(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_copy_that_cannot_be_used_is_told(path: Path, logged: list[str]) -> None:
    """By its name, and with what SQLite says of it."""
    made(path)
    [copy] = Path(f"{path}.backups").glob("*.sqlite3")
    copy.write_bytes(b"no database at all, by any means")
    path.unlink()
    opened_and_closed(path)
    assert [f"the backup {copy} cannot be used: file is not a database"] == logged


def test_a_copy_that_is_damaged_is_not_made(path: Path) -> None:
    """The damage is in the database itself, and is named."""
    database = made(path)
    path.write_bytes(b"no database at all, by any means")
    backups = Backups(path, wall=lambda: 1_700_000_060.0)
    backups.open()
    with pytest.raises(BackupFailed) as caught:
        backups.copy(backups.begin())
    backups.close()
    assert {"path": Path(f"{path}.backups"), "reason": "file is not a database"} == caught.value.fields
    with pytest.raises(BackupFailed) as other:
        backups.copy(9, lambda part: None)
    assert "the database itself is damaged: no such table: tasks" == other.value.fields["reason"]
    assert database.backups is not None and 1 == len(database.backups.copies())


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    """Nothing, or what SQLite says, in one line."""
    made(tmp_path / "good")
    assert "" == judge(tmp_path / "good")
    (tmp_path / "bad").write_bytes(b"no database at all, by any means")
    assert "file is not a database" == judge(tmp_path / "bad")
    assert "Page 2: x Page 3: y" == one_line("*** in database main ***\nPage 2: x\n  Page 3: y\n")


def test_a_line_that_cannot_be_read_is_passed_over_and_told(path: Path, logged: list[str]) -> None:
    """The others count; the last may be torn, which is nothing to tell."""
    log = ChangeLog(path)
    first, second = Change(task_id="a"), Change(task_id="b", settings="s")
    log.append([first])
    log.append([second])
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{\n" + b'{"unknown":1}\n' + lines[1] + b'{"task_id":"c"')
    assert [first, second] == list(read_changes(path))
    assert [f"line {number} of {path} cannot be read" for number in (2, 3)] == logged


def test_changes_are_lines_of_what_they_say(path: Path) -> None:
    """As short as may be; a list that was torn is gone on with behind its last whole line."""
    log = ChangeLog(path)
    assert (0, False) == (log.size_bytes, log.broken)
    log.append([])
    log.append([Change(task_id="a", row={"rev": 1}, playlist="p"), Change(settings="s")])
    log.close()
    content = b'{"task_id":"a","row":{"rev":1},"playlist":"p"}\n{"settings":"s"}\n'
    assert content == path.read_bytes()
    path.write_bytes(content + b'{"task')
    log = ChangeLog(path)
    assert len(content) == log.size_bytes
    log.append([Change(task_id="z" * 70_000)])
    log.close()
    assert content + json.dumps({"task_id": "z" * 70_000}, separators=(",", ":")).encode() + b"\n" == path.read_bytes()
    with path.open("ab") as file:
        file.write(b"x" * 140_000)
    log = ChangeLog(path)
    assert len(content) + 70_015 == log.size_bytes
    log.close()
