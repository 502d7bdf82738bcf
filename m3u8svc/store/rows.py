"""
Values to rows and back.

Reading is tolerant in one direction: a JSON column written by an older version lacks keys, which then have their
defaults, and may hold keys that are gone, which are ignored. Anything else that cannot be read is a `StoreError`
naming the row: a task is never dropped from a list because its row is bad.
"""

import json
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from sqlalchemy import RowMapping

from m3u8svc.errors import StoreError
from m3u8svc.store.outbox import TaskEvent
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.task import (
    Again,
    CompanionFile,
    Extensions,
    Phase,
    Progress,
    Settings,
    Status,
    SystemSettings,
    Task,
    TaskSpec,
)

Value = TypeVar("Value", Settings, SystemSettings, Extensions, Progress)


def task_row(task: Task) -> dict[str, Any]:  # Any, here and below: str, int, float or None by column
    """
    The columns of one task.
    """
    return {
        "id": task.id,
        "rev": task.rev,
        "status": task.status.name,
        "url": task.spec.url,
        "filename": task.spec.filename,
        "headers": _to_json({name: list(values) for name, values in task.spec.headers.items()}),
        "advanced": int(task.spec.advanced),
        "settings": settings_json(task.spec.settings),
        "extensions": _to_json(attrs.asdict(task.spec.extensions)),
        "spec_warnings": _to_json(list(task.spec.warnings)),
        "playlist_bytes": task.spec.playlist_bytes,
        "err_code": task.err_code,
        "err_msg": task.err_msg,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "completed_at": task.completed_at,
        "size": task.size,
        "output": task.output,
        "output_id": task.output_id,
        "companions": _to_json([attrs.asdict(each) for each in task.companions]),
        "warnings": _to_json(list(task.warnings)),
        "progress": progress_json(task.progress),
        "deleting": int(task.deleting),
        "missing": task.missing,
        "again": "" if task.again is None else _to_json(attrs.asdict(task.again)),
    }


def task_of(row: RowMapping) -> Task:
    """
    The task a row holds.

    Raises:
        StoreError: the row holds something no version of ours wrote.
    """
    try:
        return _task_of(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(reason=f"the row of task {row['id']} cannot be read ({type(error).__name__})") from None


def _task_of(row: RowMapping) -> Task:
    headers = {name: tuple(values) for name, values in json.loads(row["headers"]).items()}
    spec = TaskSpec(
        url=row["url"],
        filename=row["filename"],
        headers=MappingProxyType(headers),
        advanced=bool(row["advanced"]),
        settings=settings_of(row["settings"]),
        extensions=_from_json(Extensions, row["extensions"]),
        warnings=tuple(json.loads(row["spec_warnings"])),
        playlist_bytes=row["playlist_bytes"],
    )
    return Task(
        id=row["id"],
        spec=spec,
        status=Status[row["status"]],
        rev=row["rev"],
        err_code=row["err_code"],
        err_msg=row["err_msg"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        completed_at=row["completed_at"],
        size=row["size"],
        output=row["output"],
        output_id=row["output_id"],
        companions=tuple(CompanionFile(**each) for each in json.loads(row["companions"])),
        warnings=tuple(json.loads(row["warnings"])),
        progress=progress_of(row["progress"]),
        deleting=bool(row["deleting"]),
        missing=row["missing"],
        again=_again_of(row["again"]),
    )


def _again_of(text: str) -> Again | None:
    if not text:
        return None
    stored = json.loads(text)
    companions = tuple(CompanionFile(**each) for each in stored.pop("companions"))
    return Again(companions=companions, warnings=tuple(stored.pop("warnings")), **stored)


def settings_json(settings: Settings) -> str:
    """
    Settings as the text of their column.
    """
    return _to_json(attrs.asdict(settings))


def settings_of(text: str) -> Settings:
    """
    The settings such a text holds.

    Raises:
        StoreError: it is no JSON object.
    """
    return _from_json(Settings, text)


def system_json(system: SystemSettings) -> str:
    """
    The system settings as the text of their column: the settings, and what else has a default beside them.
    """
    return _to_json(attrs.asdict(system.settings) | system.extensions)


def system_of(text: str) -> SystemSettings:
    """
    The system settings such a text holds.

    Raises:
        StoreError: it is no JSON object.
    """
    return attrs.evolve(_from_json(SystemSettings, text), settings=_from_json(Settings, text))


def progress_json(progress: Progress) -> str:
    """
    Progress as the text of its column.
    """
    return _to_json({**attrs.asdict(progress), "phase": progress.phase.value})


def progress_of(text: str) -> Progress:
    """
    The progress such a text holds. A phase we do not have (any more) is none: the next step of the task sets it.
    """
    stored = _from_json(Progress, text)
    return attrs.evolve(stored, phase=_PHASES.get(stored.phase, Phase.NONE))


def segment_columns(task_id: str, segment: SegmentRow) -> dict[str, Any]:
    """
    The columns of one segment of a task.
    """
    return {"task_id": task_id, **attrs.asdict(segment)}


def segment_of(row: RowMapping) -> SegmentRow:
    """
    The segment a row holds.
    """
    return SegmentRow(**{name: row[name] for name in _SEGMENT_FIELDS})


def event_columns(task: Task, previous: Status | None) -> dict[str, Any]:
    """
    The columns of the event that `task` came to its status; the database gives the id.
    """
    return {
        "task_id": task.id,
        "status": task.status.name,
        "previous": previous.name if previous else None,
        "at": task.updated_at,
    }


def event_of(row: RowMapping) -> TaskEvent:
    """
    The event a row holds.
    """
    return TaskEvent(
        id=row["id"],
        task_id=row["task_id"],
        status=Status[row["status"]],
        previous=Status[row["previous"]] if row["previous"] else None,
        at=row["at"],
    )


# A phase is stored by its value; one that is missing has its default, which is a `Phase` already.
_PHASES: dict[object, Phase] = {key: phase for phase in Phase for key in (phase, phase.value)}
_SEGMENT_FIELDS = tuple(field.name for field in attrs.fields(SegmentRow))


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII: a NUL becomes an escape, which PostgreSQL takes


def _from_json(value_class: type[Value], text: str) -> Value:
    try:
        stored = json.loads(text)
        known = {field.name for field in attrs.fields(value_class)} & stored.keys()
        return value_class(**{name: stored[name] for name in known})
    except (AttributeError, ValueError):
        raise StoreError(reason=f"stored {value_class.__name__.lower()} cannot be read") from None
