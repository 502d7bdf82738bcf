"""
An index by state: how many tasks there are of each was counted by looking at every row, and those of one were sorted to
find the first.
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """
    Make it.
    """
    op.create_index("tasks_by_state", "tasks", ["status", "deleting", "created_at", "id"])
