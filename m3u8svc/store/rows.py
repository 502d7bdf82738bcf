"""
Values to rows and back.

Reading is tolerant in one direction: a JSON column written by an older version lacks keys, which then have their
defaults, and may hold keys that are gone, which are ignored. Anything else that cannot be read is a `StoreError`
naming the row: a task is never dropped from a list because its row is bad.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
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
    Incident,
    Phase,
    Progress,
    Settings,
    Status,
    SystemSettings,
    Task,
    TaskSpec,
)
from m3u8svc.wording import packed, unpacked

_MOUNTS = "mounts"
KNOWN_TEXTS = 256
"""
How many of the last texts of a column are known with what they mean: those of most tasks are the same. Read anew for
each task they are two thirds of what a page of a list costs.
"""
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
        # With what no extension is, and has no column of its own: whoever does not know it leaves it out.
        "extensions": _to_json({**attrs.asdict(task.spec.extensions), _MOUNTS: list(task.mounts)}),
        "spec_warnings": _texts_json(task.spec.warnings),
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
        "warnings": _texts_json(task.warnings),
        "progress": progress_json(task.progress),
        "deleting": int(task.deleting),
        "missing": task.missing,
        "again": "" if task.again is None else _again_json(task.again),
        "priority": task.priority,
        "place": task.place,
        "held": task.held,
        "err_url": task.err_url,
        "incidents": incidents_json(task.incidents),
    }


def task_of(row: RowMapping | Mapping[str, Any]) -> Task:
    """
    The task a row holds.

    Raises:
        StoreError: the row holds something no version of ours wrote.
    """
    try:
        return _task_of(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(reason=f"the row of task {row['id']} cannot be read ({type(error).__name__})") from None


def _task_of(row: RowMapping | Mapping[str, Any]) -> Task:
    extensions, mounts = _extensions_of(row["extensions"])
    spec = TaskSpec(
        url=row["url"],
        filename=row["filename"],
        headers=_headers_of(row["headers"]),
        advanced=bool(row["advanced"]),
        settings=settings_of(row["settings"]),
        extensions=extensions,
        warnings=_texts_of(row["spec_warnings"]),
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
        companions=tuple(CompanionFile(**each) for each in _list_of(row["companions"])),
        warnings=_texts_of(row["warnings"]),
        progress=progress_of(row["progress"]),
        deleting=bool(row["deleting"]),
        missing=row["missing"],
        again=_again_of(row["again"]),
        priority=row["priority"],
        place=row["place"],
        held=row["held"],
        err_url=row["err_url"],
        incidents=tuple(Incident(**each) for each in _list_of(row["incidents"])),
        mounts=mounts,
    )


@lru_cache(KNOWN_TEXTS)
def _headers_of(text: str) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({name: tuple(values) for name, values in json.loads(text).items()})


def _extensions_of(text: str) -> tuple[Extensions, tuple[str, ...]]:
    """
    The extensions and the mounts such a text holds. Options of plugins are each task's own: a plugin gets hold of them.
    """
    shared = _shared_extensions(text)
    return _shared_extensions.__wrapped__(text) if shared[0].plugins else shared


@lru_cache(KNOWN_TEXTS)
def _shared_extensions(text: str) -> tuple[Extensions, tuple[str, ...]]:
    return _from_json(Extensions, text), tuple(json.loads(text).get(_MOUNTS, ()))


def _list_of(text: str) -> list[Any]:
    """
    A JSON list; most are empty.
    """
    return [] if text == "[]" else list(json.loads(text))


def _texts_json(texts: Iterable[str]) -> str:
    return _to_json([packed(each) for each in texts])


def _texts_of(text: str) -> tuple[str, ...]:
    return tuple(map(unpacked, _list_of(text)))


def _again_json(again: Again) -> str:
    return _to_json({**attrs.asdict(again), "warnings": [packed(each) for each in again.warnings]})


def _again_of(text: str) -> Again | None:
    if not text:
        return None
    stored = json.loads(text)
    companions = tuple(CompanionFile(**each) for each in stored.pop("companions"))
    return Again(companions=companions, warnings=tuple(map(unpacked, stored.pop("warnings"))), **stored)


def settings_json(settings: Settings) -> str:
    """
    Settings as the text of their column.
    """
    return _to_json(attrs.asdict(settings))


@lru_cache(KNOWN_TEXTS)
def settings_of(text: str) -> Settings:
    """
    The settings such a text holds.

    Raises:
        StoreError: it is no JSON object.
    """
    return _from_json(Settings, text)


def system_json(system: SystemSettings) -> str:
    """
    The system settings as the text of their column: the settings, what else has a default beside them, and the limits
    of the service.
    """
    return _to_json(attrs.asdict(system.settings) | system.extensions | system.limits)


def system_of(text: str) -> SystemSettings:
    """
    The system settings such a text holds.

    Raises:
        StoreError: it is no JSON object.
    """
    return attrs.evolve(_from_json(SystemSettings, text), settings=_from_json(Settings, text))


def incidents_json(incidents: Iterable[Incident]) -> str:
    """
    Incidents as the text of their column.
    """
    return _to_json([attrs.asdict(each) for each in incidents])


def progress_json(progress: Progress) -> str:
    """
    Progress as the text of its column.
    """
    return _to_json({**attrs.asdict(progress), "phase": progress.phase.value})


def progress_of(text: str) -> Progress:
    """
    The progress such a text holds. A phase we do not have (any more) is none: the next step of the task sets it.
    """
    stored = _known(Progress, text)
    return Progress(**{**stored, "phase": _PHASES.get(stored.get("phase"), Phase.NONE)})


def segment_columns(task_id: str, segment: SegmentRow) -> dict[str, Any]:
    """
    The columns of one segment of a task.
    """
    return {"task_id": task_id, **attrs.asdict(segment), "reason": packed(segment.reason)}


def segment_of(values: Sequence[Any]) -> SegmentRow:
    """
    The segment that the `SEGMENT_FIELDS` of a row hold.
    """
    found = SegmentRow(**dict(zip(SEGMENT_FIELDS, values, strict=True)))
    return attrs.evolve(found, reason=unpacked(found.reason)) if found.reason else found


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


_PHASES: Mapping[object, Phase] = {phase.value: phase for phase in Phase}
_FIELDS: Mapping[type, frozenset[str]] = {
    each: frozenset(field.name for field in attrs.fields(each))
    for each in (Settings, SystemSettings, Extensions, Progress)
}
SEGMENT_FIELDS = tuple(field.name for field in attrs.fields(SegmentRow))


def _to_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))  # ASCII: a NUL becomes an escape, which PostgreSQL takes


def _from_json(value_class: type[Value], text: str) -> Value:
    return value_class(**_known(value_class, text))


def _known(value_class: type[Value], text: str) -> dict[str, Any]:
    """
    What such a text says of the fields that there are.
    """
    try:
        stored = json.loads(text)
        return {name: stored[name] for name in _FIELDS[value_class] & stored.keys()}
    except (AttributeError, ValueError):
        raise StoreError(reason=f"stored {value_class.__name__.lower()} cannot be read") from None
