"""
Changes that were written down (`store.changes`) against a database that may lack some of them: because it was restored
from a copy that is older, or because its log was lost, which SQLite cannot notice.

A change is written down only after it was committed. So a row that is older than what was written down about it, or
that is missing, is a loss. The reverse is not: a crash may come between the commit and the writing down.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # Any: columns are str, int, float or None

import attrs
from sqlalchemy import Connection, delete, insert, select, text
from twisted.logger import Logger

from m3u8svc.errors import StoreError
from m3u8svc.store import rows
from m3u8svc.store.changes import Change
from m3u8svc.store.tables import CREATIONS, EVENTS, PLAYLISTS, SETTINGS, TASKS
from m3u8svc.store.upsert import upsert
from m3u8svc.tasks.task import Status, Task, TaskSpec

ONLY_ROW = 1
"""Of the settings table."""
EVENTS_APART = 1_000_000
"""By how much the numbers of events jump after a restore: those of a lost database may have been told already."""

log = Logger()


def last_states(changes: Iterable[Change]) -> dict[str, Change]:
    """
    The last change of each task, with the playlist and the name that came with the first, and when that was given; by
    task, "" for the settings.
    """
    states: dict[str, Change] = {}
    for change in changes:
        before = states.get(change.task_id, change)
        creation = before.creation
        if change.creation is not None and change.row is not None:
            creation = {**change.creation, "created_at": change.row["created_at"]}
        states[change.task_id] = attrs.evolve(change, playlist=change.playlist or before.playlist, creation=creation)
    return states


def lost_changes(states: Mapping[str, Change], connection: Connection) -> list[Change]:
    """
    The states of tasks that the database does not have.
    """
    revisions = {row.id: row.rev for row in connection.execute(select(TASKS.c.id, TASKS.c.rev))}
    return [change for change in states.values() if change.task_id and _is_lost(change, revisions.get(change.task_id))]


def make_again(changes: Iterable[Change], connection: Connection) -> int:
    """
    Write lost changes into the database; how many of them could be.
    """
    made = 0
    for change in changes:
        if not change.task_id:
            upsert(connection, SETTINGS, [{"id": ONLY_ROW, "value": change.settings}])
        elif change.row is None:
            connection.execute(delete(TASKS).where(TASKS.c.id == change.task_id))
            made += 1
        else:
            made += _put(change, change.row, connection)
    return made


def name_again(states: Mapping[str, Change], connection: Connection) -> None:
    """
    Give the names of requests to the tasks that they made, those among them that are deleted by now, too.
    """
    for task_id, change in states.items():
        if change.creation is not None:
            upsert(connection, CREATIONS, [{**change.creation, "task_id": task_id}])


def set_events_apart(connection: Connection) -> None:
    """
    Let no new event have the number of one that a lost database may have told.
    """
    jumped = text("UPDATE sqlite_sequence SET seq = seq + :by WHERE name = 'events'")
    if connection.execute(jumped, {"by": EVENTS_APART}).rowcount == 0:
        new = text("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', :by)")
        connection.execute(new, {"by": EVENTS_APART})


def _is_lost(change: Change, stored: int | None) -> bool:
    if change.row is None:
        return stored is not None
    if stored is None:
        return not change.row.get("deleting")  # it may be gone already: its end is written down after it
    return stored < int(change.row.get("rev", 0))


def _put(change: Change, given: Mapping[str, Any], connection: Connection) -> int:
    row = {**_BLANK, **{name: value for name, value in given.items() if name in _BLANK}}
    try:
        task = rows.task_of(row)
    except StoreError as error:  # one that cannot be read would make the list of all unreadable
        log.error("a task cannot be brought back: {error}", error=error.text("en"))
        return 0
    before = connection.execute(select(TASKS.c.status).where(TASKS.c.id == task.id)).scalar_one_or_none()
    upsert(connection, TASKS, [row])
    if before != row["status"]:
        previous = None if before is None else Status[before]
        connection.execute(insert(EVENTS).values(rows.event_columns(task, previous)))
    if change.playlist:
        upsert(connection, PLAYLISTS, [{"task_id": task.id, "text": change.playlist}])
    if change.creation is not None:
        named = {**change.creation, "task_id": task.id, "created_at": task.created_at}
        upsert(connection, CREATIONS, [named])
    return 1


_BLANK = rows.task_row(Task(id="", spec=TaskSpec(url="", filename="")))
"""What a column is that an older version did not write down."""
