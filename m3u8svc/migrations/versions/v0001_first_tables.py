"""
The first tables: tasks, segments, events, settings.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0001"
down_revision = None


def upgrade() -> None:
    """
    Make the tables. Types are spelled here again, since this page stays as it is when `tables.py` moves on.
    """
    long = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    seconds: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
    key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "tasks",
        sa.Column("id", key, primary_key=True),
        sa.Column("rev", long, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("advanced", sa.Integer, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("extensions", sa.Text, nullable=False),
        sa.Column("spec_warnings", sa.Text, nullable=False),
        sa.Column("err_code", sa.Text, nullable=False),
        sa.Column("err_msg", sa.Text, nullable=False),
        sa.Column("created_at", seconds, nullable=False),
        sa.Column("updated_at", seconds, nullable=False),
        sa.Column("completed_at", seconds, nullable=True),
        sa.Column("size", long, nullable=False),
        sa.Column("output", sa.Text, nullable=False),
        sa.Column("output_id", sa.Text, nullable=False),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("deleting", sa.Integer, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("tasks_in_order", "tasks", ["created_at", "id"])
    op.create_table(
        "segments",
        sa.Column("task_id", key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", long, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_bytes", long, nullable=False),
        sa.Column("attempts", long, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=True),
        sqlite_strict=True,
    )
    op.create_table(
        "events",
        sa.Column("id", long, primary_key=True, autoincrement=True),
        sa.Column("task_id", key, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=True),
        sa.Column("at", seconds, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "settings",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
    )
