"""
Places without links: tasks keep what the links of their directories lead to, since one that appears there later is
refused (R-PATH-3). Those of earlier versions kept the directory as it was typed.
"""

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any  # Any: a task's JSON

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_PLACES = ("save_location", "temp_directory")
_FILES = ("output", "staged")


def upgrade() -> None:
    """
    Resolve the directories of every task and of what it published, as they are now.
    """
    real = cache(os.path.realpath)  # there are many tasks and few directories
    tasks = sa.table("tasks", *(sa.column(name) for name in ("id", "settings", "output", "companions", "again")))
    connection = op.get_bind()
    for row in connection.execute(sa.select(tasks)).mappings().all():
        changed = {
            "settings": _with_real(row["settings"], _PLACES, real),
            "output": _real_file(row["output"], real),
            "companions": _with_real(row["companions"], _FILES, lambda path: _real_file(path, real)),
            "again": _with_real(row["again"], _FILES, lambda path: _real_file(path, real)),
        }
        if any(row[name] != value for name, value in changed.items()):
            connection.execute(tasks.update().where(tasks.c.id == row["id"]).values(**changed))


def _with_real(text: str, names: tuple[str, ...], real: Callable[[str], str]) -> str:
    """
    A JSON text with the paths under these names resolved, at whatever depth; the text itself if that changes nothing.
    """
    if not text:
        return text
    value = json.loads(text)
    changed = _resolved(value, names, real)
    return text if changed == value else json.dumps(changed, separators=(",", ":"))


def _resolved(value: Any, names: tuple[str, ...], real: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_resolved(each, names, real) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: real(each) if name in names and _is_local(each) else _resolved(each, names, real)
        for name, each in value.items()
    }


def _real_file(path: str, real: Callable[[str], str]) -> str:
    """
    A file in the real directory; the file itself may be a link that somebody put there, and stays one.
    """
    folder, name = os.path.split(path)
    return os.path.join(real(folder), name) if _is_local(path) else path


def _is_local(path: object) -> bool:
    # Another storage has names of its own for files.
    return isinstance(path, str) and path.startswith("/") and "\0" not in path
