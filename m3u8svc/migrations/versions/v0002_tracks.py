"""
Segments of several tracks, what each file holds, and files beside a result.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0002"
down_revision = "0001"

_KEPT = "position, identity, name, size_bytes, attempts, outcome, reason, status"


def upgrade() -> None:
    """
    Move the segments into a table whose key has the track. SQLite cannot change a key in place.
    """
    long = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.rename_table("segments", "segments_before")
    op.create_table(
        "segments",
        sa.Column("task_id", key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("track", key, nullable=False),
        sa.Column("position", long, nullable=False, autoincrement=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size_bytes", long, nullable=False),
        sa.Column("attempts", long, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=True),
        sa.Column("digest", sa.Text, nullable=False),
        # Named: in PostgreSQL the renamed table still owns the default name.
        sa.PrimaryKeyConstraint("task_id", "track", "position", name="segments_by_track"),
        sqlite_strict=True,
    )
    columns = f"task_id, track, digest, {_KEPT}"
    op.execute(f"INSERT INTO segments ({columns}) SELECT task_id, 'main', '', {_KEPT} FROM segments_before")
    op.drop_table("segments_before")
    op.add_column("tasks", sa.Column("companions", sa.Text, nullable=False, server_default="[]"))
