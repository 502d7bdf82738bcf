"""
An index in the order of the queue: of many tasks that wait the first were found by sorting all.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """
    Make it instead of the one that had priorities the other way round.
    """
    op.drop_index("tasks_in_queue", "tasks")
    op.create_index("tasks_in_queue", "tasks", ["status", sa.text("priority DESC"), "place", "created_at", "id"])
