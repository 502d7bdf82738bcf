"""
Tasks, their segments, their events and the system settings, in SQLite or PostgreSQL.

`store.py` is the asynchronous face, `database.py` the connection and its rules, `rows.py` turns values into rows and
back, `outbox.py` is what waits to be announced, `tables.py` names the columns. `m3u8svc/migrations` makes the schema.
"""

from m3u8svc.store.outbox import TaskEvent
from m3u8svc.store.store import Store
from m3u8svc.tasks.ledger import SegmentRow

__all__ = ["SegmentRow", "Store", "TaskEvent"]
