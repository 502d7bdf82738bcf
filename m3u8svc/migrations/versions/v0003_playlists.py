"""
Playlists that requests bring as text, in a table of their own: lists of tasks do not load them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """
    Make the table, and a column that says how large a task's playlist is; tasks so far have none.
    """
    long = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "playlists",
        sa.Column("task_id", key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.add_column("tasks", sa.Column("playlist_bytes", long, nullable=False, server_default="0"))
