"""
One connection to one database, and the rules it lives by. Synchronous: everything here runs in the store's own thread.

SQLite has a bug up to 3.51.2 by which two connections that write and checkpoint in WAL mode can corrupt the file
(reliability.md, trap 15). So there is exactly one connection, used by exactly one thread (R-DB-2), and pysqlite's own
check of the thread stays switched on.

An existing file is never taken for a new one: SQLite would treat a file cut to nothing as an empty database, and the
tasks would be gone without a word (R-DB-3). A new file is therefore made under another name and gets its own when it
has its first page; a file of no bytes under the final name has lost what it held, and so has a name without a file
where there are backups. What is damaged is kept under another name, and `store.backups` takes its place. Where there
is nothing to take it, nothing is touched and we do not start.
"""

import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from m3u8svc.errors import (
    ChangesLost,
    ConfigError,
    DatabaseDamaged,
    DatabaseLocked,
    DatabaseUnavailable,
    DiskFull,
    M3u8svcError,
    StoreError,
)
from m3u8svc.places import sync_directory
from m3u8svc.redact import MASK, redact_text
from m3u8svc.store.backups import Backups, Restored, copy_connection, one_line
from m3u8svc.store.recovery import last_states, lost_changes, make_again, name_again, set_events_apart
from m3u8svc.store.tables import REVISION

MIGRATIONS = Path(__file__).parent.parent / "migrations"
VERSION_TABLE = "m3u8svc_schema"
"""Not alembic's own default, which another program in the same PostgreSQL database may use."""

PATIENCE_S = 5.0
"""How long a call may wait for its turn and for locks of other programs, together (R-DB-1)."""
BUSY_TIMEOUT_MS = int(PATIENCE_S * 1000)
LOWER = "m3u8svc_lower"
"""What SQLite has from us: a text in small letters, of any alphabet."""
_SQLITE_PREFIX = "sqlite:///"
_POSTGRES_DISK_FULL = "53100"
_POSTGRES_LOCKED = "55P03"
_POSTGRES_GONE = re.compile("08...|57P0[1-5]|53300")
"""No connection, none any more, none yet, no more of them."""
_POSTGRES_OPTIONS = f"-c synchronous_commit=on -c lock_timeout={BUSY_TIMEOUT_MS} -c statement_timeout=60000"
MIGRATION_LOCK = 0x6D337538  # any number that is ours: "m3u8"
_DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error, OverflowError, UnicodeError)
"""The last two: a number or a character the driver cannot pass on; SQLAlchemy does not wrap them."""

_migrating = threading.Lock()  # alembic's context is one per process
T = TypeVar("T")


def parse_database_url(url: str) -> URL:
    """
    The database a URL means: ``sqlite:///PATH`` (percent-encoded), ``sqlite://`` (in memory) or
    ``postgresql+psycopg://…``.

    Raises:
        ConfigError: it is none of these.
    """
    if url == "sqlite://":
        return URL.create("sqlite", database=":memory:")
    if url.startswith(_SQLITE_PREFIX):
        # Read here, since SQLAlchemy 2.0 leaves percent-encoding in a path and 2.1 undoes it.
        path = url.removeprefix(_SQLITE_PREFIX)
        if "?" in path or path in ("", ":memory:"):
            raise ConfigError(where="database", reason="sqlite:/// wants a file's path and takes no options")
        return URL.create("sqlite", database=unquote(path, errors="surrogateescape"))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(where="database", reason="this is not a database URL") from None
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ConfigError(
            where="database",
            reason=f"{parsed.drivername} is not supported; use sqlite:///PATH or postgresql+psycopg://HOST/NAME",
        )
    return parsed.set(drivername="postgresql+psycopg")


class Database:
    """
    A database that is opened, used in transactions, and closed, by one thread.
    """

    def __init__(self, url: str, *, wall: Callable[[], float] = time.time) -> None:
        """
        Args:
            wall: the time of day in seconds since the epoch, for the names of backups.
        """
        self.url = parse_database_url(url)
        in_memory = self.url.database == ":memory:"
        self.path = Path(self.url.database or "") if self.url.drivername == "sqlite" and not in_memory else None
        self.backups = None if self.path is None else Backups(self.path, wall=wall)
        self._engine: Engine | None = None
        self._file: tuple[int, int] | None = None
        """Which file it is, by device and inode."""

    def open(self) -> tuple[StoreError, ...]:
        """
        Connect, check the file, bring the schema up to date. A damaged file is replaced from its backups.

        Returns:
            What is to be said of the database although it is open: that it was restored, that it lacked changes.

        Raises:
            DatabaseDamaged: it is damaged, and there is nothing to replace it from; it was left as it is.
            StoreError: unreachable, or not a database.
            ConfigError: the schema is newer than we are, or the database cannot hold our text.
        """
        if self.backups is None:
            self._open()
            return ()
        try:
            self.backups.hold_log()
            try:
                notices = self._open_safely(self.backups)
            finally:
                self.backups.let_log_go()
            self.backups.open()
            self._file = _file_of(self.path)
        except OSError as error:
            raise StoreError(reason=f"{error.filename or self.backups.folder}: {error.strerror}") from error
        return notices

    def _open_safely(self, backups: Backups) -> tuple[StoreError, ...]:
        try:
            self._open()
            restored = backups.unfinished()
        except DatabaseDamaged as damage:
            self.close()
            restored = backups.restore(damage)
            self._open(anew=restored.copy is None)
        if restored is not None:
            self._make_up(backups, restored)
            backups.remember(restored.notice())
            return (restored.notice(),)
        before = backups.remembered()
        count = self._make_up(backups, None)
        lost = (ChangesLost(count=count),) if count else ()
        return lost if before is None else (before, *lost)

    def close(self) -> None:
        """
        Disconnect. SQLite folds its log into the file.
        """
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self.backups is not None:
            self.backups.close()

    def is_displaced(self) -> bool:
        """
        Whether its file has another name by now, or none.
        """
        return self._file is not None and _file_of(self.path) != self._file

    def copy_into(self, target: Path) -> None:
        """
        Copy what is open now, whatever became of its name.

        Raises:
            sqlite3.Error, OSError: the copy fails.
        """
        if self._engine is None:
            raise OSError("the store is not open")
        with self._engine.connect() as connection:
            copy_connection(connection.connection.driver_connection, target)  # type: ignore[arg-type]  # SQLite's

    def run(self, work: Callable[[Connection], T], *, write: bool, patience_s: float = PATIENCE_S) -> T:
        """
        Do `work` in one transaction: committed when this returns, undone when it raises.

        Args:
            patience_s: how long to wait at most for another program that has the file locked.

        Raises:
            DatabaseLocked: it waited that long.
            StoreError, DiskFull: whatever the database said, without SQL and without parameters.
        """
        if self._engine is None:
            raise StoreError(reason="the store is not open")
        options = {"m3u8svc_write": write, "m3u8svc_patience_ms": int(min(patience_s, PATIENCE_S) * 1000)}
        try:
            with self._engine.connect() as connection:
                with connection.execution_options(**options).begin():
                    return work(connection)
        except _DATABASE_ERRORS as error:
            problem = self._translate(error)
        # Outside the handler: a chained SQLAlchemy error would show the statement or, from PostgreSQL, the whole row.
        raise problem

    def _open(self, *, anew: bool = False) -> None:
        """
        Args:
            anew: begin with an empty file, though there are backups.
        """
        if self.path:
            _prepare_file(self.path, lost=bool(self.backups) and not anew)
        try:
            self._engine = _sqlite_engine(self.url) if self.url.drivername == "sqlite" else _postgres_engine(self.url)
        except ImportError:
            raise ConfigError(where="database", reason="PostgreSQL needs: pip install 'm3u8svc[postgresql]'") from None
        self.run(self._check, write=False)
        with _migrating:
            self.run(_migrate, write=True)

    def _make_up(self, backups: Backups, restored: Restored | None) -> int:
        """
        Make again what was committed and is not there; for how many tasks.
        """
        newest = next(iter(backups.copies()), None)
        states = last_states(backups.changes_since(newest if restored is None else restored.copy))

        def work(connection: Connection) -> int:
            lost = lost_changes(states, connection)
            if restored is not None:
                set_events_apart(connection)
                name_again(states, connection)
            if restored is not None and "" in states:
                lost.append(states[""])
            return make_again(lost, connection)

        return self.run(work, write=True) if states or restored is not None else 0

    def _check(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
            if found != "ok":
                raise DatabaseDamaged(path=self.path, reason=one_line(found))
        else:
            encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
            if encoding != "UTF8":
                raise ConfigError(where="database", reason=f"its encoding must be UTF8, not {encoding}")

    def _translate(self, error: Exception) -> M3u8svcError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        place = str(self.path or self.url.render_as_string(hide_password=True))
        reason = self._reason(cause)
        if self.url.drivername == "sqlite":
            return _sqlite_problem(getattr(cause, "sqlite_errorcode", 0), reason, place)
        return _postgres_problem(cause, reason, place)

    def _reason(self, cause: BaseException) -> str:
        """The database's first line: PostgreSQL puts values of the row into the lines after it."""
        diagnosis = getattr(cause, "diag", None)
        said = (diagnosis and diagnosis.message_primary) or str(cause.args[0] if cause.args else "")
        line = (said.splitlines() or [""])[0] or type(cause).__name__
        if self.url.password:
            line = line.replace(str(self.url.password), MASK)
        return redact_text(line)


# -- SQLite ----------------------------------------------------------------------------------------------------------


def _sqlite_problem(code: int, reason: str, place: str) -> M3u8svcError:
    match code & 0xFF:  # the upper bits only say where in SQLite
        case sqlite3.SQLITE_FULL:
            return DiskFull(path=place)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseLocked(seconds=int(PATIENCE_S))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged(path=place, reason=reason)
        case sqlite3.SQLITE_CANTOPEN:
            return StoreError(reason=f"{reason}: {place}")
    return StoreError(reason=reason)


def _file_of(path: Path | None) -> tuple[int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _prepare_file(path: Path, *, lost: bool) -> None:
    """
    Args:
        lost: there was a file, since there are backups of it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        if Path(f"{path}-wal").exists():
            raise DatabaseDamaged(path=path, reason=f"it is gone but its log {path.name}-wal is there") from None
        if lost:
            raise DatabaseDamaged(path=path, reason="it is gone but its backups are there") from None
        _make_file(path)
        return
    except OSError as error:
        raise StoreError(reason=f"{path}: {error.strerror}") from error
    if lost and stat.S_ISDIR(found.st_mode):
        raise DatabaseDamaged(path=path, reason="a directory has its name")
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(reason=f"{path} is not a file")
    if found.st_size == 0:
        raise DatabaseDamaged(path=path, reason="it is empty, so what it held is lost")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o600)


def _make_file(path: Path) -> None:
    """
    Make an empty database of one page under another name, then give it `path`, so that no crash leaves it without.
    """
    unborn = Path(f"{path}.new")
    try:
        unborn.unlink(missing_ok=True)
        os.close(os.open(unborn, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(unborn, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=EXTRA")
            connection.execute("PRAGMA user_version=1")  # the write that makes the first page
        finally:
            connection.close()
        unborn.rename(path)
        sync_directory(path.parent)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            raise DiskFull(path=path) from error
        raise StoreError(reason=f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(reason=f"{path}: {error.strerror}") from error


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"check_same_thread": True, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions are begun by us: pysqlite leaves DDL outside of them
    [mode] = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode not in ("wal", "memory"):
        raise StoreError(reason=f"SQLite cannot use its write-ahead log here (journal mode {mode})")
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function(LOWER, 1, str.lower, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    # A writer asks for the lock at once: one that asks half-way is refused without waiting (SQLITE_BUSY_SNAPSHOT).
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA busy_timeout={options.get('m3u8svc_patience_ms', BUSY_TIMEOUT_MS)}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("m3u8svc_write", False) else "BEGIN")


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def _postgres_problem(cause: BaseException, reason: str, place: str) -> M3u8svcError:
    state = getattr(cause, "sqlstate", None)
    if state == _POSTGRES_DISK_FULL:
        return DiskFull(path=place)
    if state == _POSTGRES_LOCKED:
        return DatabaseLocked(seconds=int(PATIENCE_S))
    lost = type(cause).__name__ == "OperationalError" and state is None  # libpq's own word, there is no server to speak
    if lost or _POSTGRES_GONE.fullmatch(state or ""):
        return DatabaseUnavailable(reason=reason)
    return StoreError(reason=reason)


def _postgres_engine(url: URL) -> Engine:
    given = dict(url.query)
    connect_args: dict[str, Any] = {  # Any: libpq's parameters are text or numbers
        "connect_timeout": int(PATIENCE_S),
        "client_encoding": "utf8",
        "keepalives_idle": 30,
        "tcp_user_timeout": 30_000,
    }
    connect_args = {name: value for name, value in connect_args.items() if name not in given}
    connect_args["options"] = f"{given.get('options', '')} {_POSTGRES_OPTIONS}".strip()
    return create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,  # the server may have restarted since
        hide_parameters=True,
        connect_args=connect_args,
    )


# -- The schema ------------------------------------------------------------------------------------------------------


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Another service may be at it, or the tables be large: more patience than for a task.
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = '600s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
    stored = _revisions(connection)
    if stored != {REVISION}:
        _upgrade(connection, stored)


def _revisions(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(VERSION_TABLE):
        return set()
    return set(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))


def _upgrade(connection: Connection, stored: set[str]) -> None:
    # alembic, and pygments with it, would take 8 MiB for as long as the process lives: it comes only when it is due.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    unknown = stored - {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if unknown:
        raise ConfigError(
            where="database",
            reason=f"its schema {', '.join(sorted(unknown))} is from a newer version of m3u8svc; nothing was changed",
        )
    command.upgrade(config, "head")
