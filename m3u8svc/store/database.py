"""
One connection to one database, and the rules it lives by. Synchronous: everything here runs in the store's own thread.

SQLite has a bug up to 3.51.2 by which two connections that write and checkpoint in WAL mode can corrupt the file
(reliability.md, trap 15). So there is exactly one connection, used by exactly one thread (R-DB-2), and pysqlite's own
check of the thread stays switched on.

An existing file is never taken for a new one: SQLite would treat a file cut to nothing as an empty database, and the
tasks would be gone without a word (R-DB-3). A new file is therefore made under another name and gets its own when it
has its first page; a file of no bytes under the final name has lost what it held.
"""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from m3u8svc.errors import ConfigError, DiskFull, M3u8svcError, StoreError
from m3u8svc.places import sync_directory
from m3u8svc.redact import MASK, redact_text

MIGRATIONS = Path(__file__).parent.parent / "migrations"
VERSION_TABLE = "m3u8svc_schema"
"""Not alembic's own default, which another program in the same PostgreSQL database may use."""

BUSY_TIMEOUT_MS = 5000
_SQLITE_PREFIX = "sqlite:///"
_POSTGRES_DISK_FULL = "53100"
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

    def __init__(self, url: str) -> None:
        self.url = parse_database_url(url)
        in_memory = self.url.database == ":memory:"
        self.path = Path(self.url.database or "") if self.url.drivername == "sqlite" and not in_memory else None
        self._engine: Engine | None = None

    def open(self) -> None:
        """
        Connect, check the file, bring the schema up to date.

        Raises:
            StoreError: unreachable, damaged, or not a database.
            ConfigError: the schema is newer than we are, or the database cannot hold our text.
        """
        if self.path:
            _prepare_file(self.path)
        try:
            self._engine = _sqlite_engine(self.url) if self.url.drivername == "sqlite" else _postgres_engine(self.url)
        except ImportError:
            raise ConfigError(where="database", reason="PostgreSQL needs: pip install 'm3u8svc[postgresql]'") from None
        self.run(self._check, write=False)
        with _migrating:
            self.run(_migrate, write=True)

    def close(self) -> None:
        """
        Disconnect. SQLite folds its log into the file.
        """
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def run(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """
        Do `work` in one transaction: committed when this returns, undone when it raises.

        Raises:
            StoreError, DiskFull: whatever the database said, without SQL and without parameters.
        """
        if self._engine is None:
            raise StoreError(reason="the store is not open")
        try:
            with self._engine.connect() as connection:
                with connection.execution_options(m3u8svc_write=write).begin():
                    return work(connection)
        except _DATABASE_ERRORS as error:
            problem = self._translate(error)
        # Outside the handler: a chained SQLAlchemy error would show the statement or, from PostgreSQL, the whole row.
        raise problem

    def _check(self, connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
            if found != "ok":
                raise StoreError(reason=f"the file {self.path} is damaged and was left as it is: {found}")
        else:
            encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
            if encoding != "UTF8":
                raise ConfigError(where="database", reason=f"its encoding must be UTF8, not {encoding}")

    def _translate(self, error: Exception) -> M3u8svcError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        place = str(self.path or self.url.render_as_string(hide_password=True))
        sqlite_code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the upper bits only say where in SQLite
        if sqlite_code == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == _POSTGRES_DISK_FULL:
            return DiskFull(path=place)
        reason = self._reason(cause)
        if sqlite_code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            reason = f"the file {place} is damaged and was left as it is: {reason}"
        elif sqlite_code == sqlite3.SQLITE_CANTOPEN:
            reason = f"{reason}: {place}"
        return StoreError(reason=reason)

    def _reason(self, cause: BaseException) -> str:
        """The database's first line: PostgreSQL puts values of the row into the lines after it."""
        diagnosis = getattr(cause, "diag", None)
        said = (diagnosis and diagnosis.message_primary) or str(cause.args[0] if cause.args else "")
        line = (said.splitlines() or [""])[0] or type(cause).__name__
        if self.url.password:
            line = line.replace(str(self.url.password), MASK)
        return redact_text(line)


# -- SQLite ----------------------------------------------------------------------------------------------------------


def _prepare_file(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        _make_file(path)
        return
    except OSError as error:
        raise StoreError(reason=f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(reason=f"{path} is not a file")
    if found.st_size == 0:
        raise StoreError(reason=f"{path} is empty, so what it held is lost: restore it, or remove it to start anew")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o600)


def _make_file(path: Path) -> None:
    """
    Make an empty database of one page under another name, then give it `path`, so that no crash leaves it without.
    """
    if Path(f"{path}-wal").exists():
        raise StoreError(reason=f"{path} is gone but its log {path.name}-wal is there: restore it, or remove the log")
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


def _begin_sqlite(connection: Connection) -> None:
    # A writer asks for the lock at once: one that asks half-way is refused without waiting (SQLITE_BUSY_SNAPSHOT).
    write = connection.get_execution_options().get("m3u8svc_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def _postgres_engine(url: URL) -> Engine:
    given = dict(url.query)
    connect_args: dict[str, Any] = {  # Any: libpq's parameters are text or numbers
        "connect_timeout": 10,
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
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    scripts = ScriptDirectory.from_config(config)
    stored = set(MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads())
    unknown = stored - {script.revision for script in scripts.walk_revisions()}
    if unknown:
        raise ConfigError(
            where="database",
            reason=f"its schema {', '.join(sorted(unknown))} is from a newer version of m3u8svc; nothing was changed",
        )
    if stored != set(scripts.get_heads()):
        command.upgrade(config, "head")
