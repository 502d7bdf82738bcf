"""
What waits to be announced: the changes of state, written in the transaction that made them.
"""

import attrs

from m3u8svc.tasks.task import Status


@attrs.frozen(kw_only=True)
class TaskEvent:
    """
    One stored change of state. Ids grow and are never used twice, so that a listener that hears one again knows it.
    `previous` is None for a new task; `at` is the task's `updated_at`.
    """

    id: int
    task_id: str
    status: Status
    previous: Status | None
    at: float
