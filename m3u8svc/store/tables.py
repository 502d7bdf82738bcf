"""
The tables as queries see them. `m3u8svc/migrations` makes them; a test compares the two.

Types are those that mean the same in a STRICT table of SQLite and in PostgreSQL. JSON is text that we write and read
ourselves: neither database has to understand it, and NUL or a non-BMP character in it survives in both.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.sqlite import INTEGER as SqliteInteger
from sqlalchemy.dialects.sqlite import REAL as SqliteReal
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
REVISION = "0008"
"""The last of the migrations: what a database says that has these tables."""

# STRICT knows neither BIGINT nor DOUBLE; its INTEGER has 64 bits and its REAL is a double.
Long = BigInteger().with_variant(SqliteInteger(), "sqlite")
Seconds: TypeEngine[float] = Double().with_variant(SqliteReal(), "sqlite")
# Lists are ordered by id within one instant: by code point in both databases, whatever the locale.
Id = Text().with_variant(Text(collation="C"), "postgresql")

TASKS = Table(
    "tasks",
    METADATA,
    Column("id", Id, primary_key=True),
    Column("rev", Long, nullable=False),
    Column("status", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("advanced", Integer, nullable=False),
    Column("settings", Text, nullable=False),
    Column("extensions", Text, nullable=False),
    Column("spec_warnings", Text, nullable=False),
    Column("err_code", Text, nullable=False),
    Column("err_msg", Text, nullable=False),
    Column("created_at", Seconds, nullable=False),
    Column("updated_at", Seconds, nullable=False),
    Column("completed_at", Seconds, nullable=True),
    Column("size", Long, nullable=False),
    Column("output", Text, nullable=False),
    Column("output_id", Text, nullable=False),
    Column("companions", Text, nullable=False),
    Column("playlist_bytes", Long, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("deleting", Integer, nullable=False),
    Column("missing", Text, nullable=False),
    Column("again", Text, nullable=False),
    Column("priority", Long, nullable=False),
    Column("place", Seconds, nullable=False),
    Column("held", Text, nullable=False),
    Column("err_url", Text, nullable=False),
    Column("incidents", Text, nullable=False),
    Index("tasks_in_order", "created_at", "id"),
    Index("tasks_again", "again"),
    Index("tasks_by_state", "status", "deleting", "created_at", "id"),
    sqlite_strict=True,
)
# In the order of the queue, so that its head is found without sorting all that waits.
Index("tasks_in_queue", TASKS.c.status, TASKS.c.priority.desc(), TASKS.c.place, TASKS.c.created_at, TASKS.c.id)

PLAYLISTS = Table(
    "playlists",
    METADATA,
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("text", Text, nullable=False),
    sqlite_strict=True,
)

SEGMENTS = Table(
    "segments",
    METADATA,
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("track", Id, primary_key=True),
    Column("position", Long, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size_bytes", Long, nullable=False),
    Column("attempts", Long, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("status", Integer, nullable=True),
    Column("digest", Text, nullable=False),
    sqlite_strict=True,
)

# Of each result that a task has or is about to have: the old one counts until the new one is published.
REPORTS = Table(
    "reports",
    METADATA,
    Column("task_id", Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("output_id", Id, primary_key=True),
    Column("summary", Text, nullable=False),
    Column("segments", LargeBinary, nullable=False),
    sqlite_strict=True,
)

# No foreign key: the last event of a task outlives its row until it was told.
EVENTS = Table(
    "events",
    METADATA,
    Column("id", Long, primary_key=True, autoincrement=True),
    Column("task_id", Id, nullable=False),
    Column("status", Text, nullable=False),
    Column("previous", Text, nullable=True),
    Column("at", Seconds, nullable=False),
    sqlite_strict=True,
    sqlite_autoincrement=True,  # without it SQLite gives the id of a forgotten event to a new one
)

# No foreign key: a request that comes twice is answered with the same task although that was deleted meanwhile.
CREATIONS = Table(
    "creations",
    METADATA,
    Column("key", Id, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("task_id", Id, nullable=False),
    Column("created_at", Seconds, nullable=False),
    sqlite_strict=True,
)

SETTINGS = Table(
    "settings",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", Text, nullable=False),
    sqlite_strict=True,
)
