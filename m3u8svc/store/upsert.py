"""
INSERT with ON CONFLICT, which each dialect has of its own, with the same words.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any  # Any: columns are str, int, float, bytes or None

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def dialect_insert(connection: Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """
    An INSERT that knows ON CONFLICT.
    """
    if connection.dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # 2 MiB that most never need

    return postgresql.insert(table)


def upsert(connection: Connection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    """
    Insert rows; one that is there already becomes the new one.
    """
    statement = dialect_insert(connection, table)
    keys = [column.name for column in table.primary_key]
    changed = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(values))
