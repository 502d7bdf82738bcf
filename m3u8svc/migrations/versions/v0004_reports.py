"""
Reports of what a result holds, what it lacks, and finished tasks that are made again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """
    Make the table, and the columns; tasks so far have no report.
    """
    key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
    op.create_table(
        "reports",
        sa.Column("task_id", key, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("output_id", key, primary_key=True),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("segments", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
    )
    op.add_column("tasks", sa.Column("missing", sa.Text, nullable=False, server_default=""))
    op.add_column("tasks", sa.Column("again", sa.Text, nullable=False, server_default=""))
    op.create_index("tasks_again", "tasks", ["again"])
