"""
Rows that are read in one step.

SQLite hands out one row a step, and Python's module for it gives the interpreter away for each of them: beside
downloads the thread that reads waits for it as often as there are rows. A hundred rows of tasks took 10 ms of which 4
were work, and 0.6 s in an experiment with one busy thread; as one row they wait once. A driver for PostgreSQL has all
rows before it hands out the first.
"""

import json
from collections.abc import Sequence
from typing import Any  # Any: what columns hold

from sqlalchemy import Connection, Select, func, select

NO_LIMIT = (1 << 63) - 1


def at_once(query: Select[Any], connection: Connection) -> list[Sequence[Any]]:
    """
    The rows of a query for whole numbers and texts; numbers with a fraction would lose their last digits. In the order
    of the query if that has a limit, be it `NO_LIMIT`: of other parts of a query SQLite may leave out the order.
    """
    if connection.dialect.name != "sqlite":
        return list(connection.execute(query).all())
    part = query.subquery()
    text = connection.scalar(select(func.json_group_array(func.json_array(*part.c))))
    rows: list[Sequence[Any]] = json.loads(text or "[]")
    return rows
