"""
The queue's order, why a task is held, what went wrong with it so far, and the keys of requests that made tasks.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql, sqlite

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """
    Add the columns and the table. Tasks so far stand in the queue by their creation.
    """
    long = sa.BigInteger().with_variant(sqlite.INTEGER(), "sqlite")
    seconds: sa.types.TypeEngine[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")
    key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.add_column("tasks", sa.Column("priority", long, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("place", seconds, nullable=False, server_default="0"))
    op.execute("UPDATE tasks SET place = created_at")
    op.add_column("tasks", sa.Column("held", sa.Text, nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("err_url", sa.Text, nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("incidents", sa.Text, nullable=False, server_default="[]"))
    op.create_index("tasks_in_queue", "tasks", ["status", "priority", "place"])
    op.create_table(
        "creations",
        sa.Column("key", key, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("task_id", key, nullable=False),
        sa.Column("created_at", seconds, nullable=False),
        sqlite_strict=True,
    )
