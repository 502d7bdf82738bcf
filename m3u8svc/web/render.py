"""
A task as the API shows it: the seed's fields in the seed's order, then ours. Pure.

Header values are shown (the contract says so); a proxy's password never is (DESIGN 5.7).
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any  # Any: JSON values

import attrs

from m3u8svc.hls.outline import Outline, OutlinedGroup, OutlinedRendition, OutlinedTrack, OutlinedVariant
from m3u8svc.tasks.task import Extensions, Settings, Status, SystemSettings, Task
from m3u8svc.web.contract import Plugins
from m3u8svc.web.fields import MASK


def task_object(task: Task, *, default_save_location: str) -> dict[str, Any]:
    """
    The object of GET /api/tasks. An empty save location is shown as the directory it stands for.
    """
    settings = settings_object(task.spec.settings)
    settings["save_location"] = settings["save_location"] or default_save_location
    seed: dict[str, Any] = {
        "id": task.id,
        "url": task.spec.url,
        "filename": task.spec.filename,
        "size": task.size,
        "progress": task.progress.percent,
        "status": task.status.value,
        "status_bar": task.progress.status_bar,
    }
    if task.err_msg:
        seed["err_msg"] = task.err_msg
    seed |= {"created_at": rfc3339(task.created_at), "updated_at": rfc3339(task.updated_at)}
    if task.status is Status.COMPLETED and task.completed_at is not None:
        seed["completed_at"] = rfc3339(task.completed_at)
    seed |= {
        "header_map": {name: list(values) for name, values in task.spec.headers.items()},
        "advanced_settings": settings,
    }
    return seed | _beyond_the_seed(task)


def _beyond_the_seed(task: Task) -> dict[str, Any]:
    progress = task.progress
    return {
        "phase": progress.phase.value,
        "speed": round(progress.speed),
        "eta": None if progress.eta_s is None else round(progress.eta_s),
        "segments_done": progress.segments_done,
        "segments_total": progress.segments_total,
        "bytes": progress.size_bytes,
        "err_code": task.err_code,
        "output": task.output,
        "again": "" if task.again is None else task.again.kind,
        "warnings": list(dict.fromkeys((*task.spec.warnings, *task.warnings))),  # a request's warning may be in both
        "playlist_bytes": task.spec.playlist_bytes,
        **extensions_object(task.spec.extensions),
    }


def extensions_object(extensions: Extensions) -> dict[str, Any]:
    """
    All extensions by name, a stream's key masked.
    """
    shown = attrs.asdict(extensions)
    for name in ("key", "iv"):
        if shown[name]:
            shown[name] = MASK
    return shown


def settings_object(settings: Settings) -> dict[str, Any]:
    """
    All settings by name, the proxy's password masked.
    """
    shown = attrs.asdict(settings)
    if settings.proxy_password:
        shown["proxy_password"] = MASK
    return shown


def system_object(system: SystemSettings) -> dict[str, Any]:
    """
    The system settings: the settings, and what else has a default beside them.
    """
    return settings_object(system.settings) | system.extensions


def outline_object(outline: Outline) -> dict[str, Any]:
    """
    The answer to a dry run.
    """
    return {
        "status": "success",
        "duration": outline.duration_s,
        "estimated_bytes": outline.estimated_bytes,
        "segments": {
            "count": outline.segments,
            "skipped": outline.skipped,
            "gaps": outline.gaps,
            "skips": [attrs.asdict(each) for each in outline.skips],
        },
        "encryption": {"methods": list(outline.methods), "key_formats": list(outline.key_formats)},
        "variants": [_jsonable(each) for each in outline.variants],
        "renditions": [_jsonable(each) for each in outline.renditions],
        "tracks": [_with_duration(each) for each in outline.tracks],
        "groups": [_with_duration(each) for each in outline.groups],
        "warnings": list(outline.warnings),
    }


def _jsonable(value: OutlinedVariant | OutlinedRendition) -> dict[str, Any]:
    return {name: list(each) if isinstance(each, tuple) else each for name, each in attrs.asdict(value).items()}


def _with_duration(value: OutlinedTrack | OutlinedGroup) -> dict[str, Any]:
    """
    Its fields, seconds without their unit as everywhere in the API.
    """
    return {name.removesuffix("_s"): each for name, each in attrs.asdict(value).items()}


def plugins_object(plugins: Plugins) -> dict[str, Any]:
    """
    The object of GET /api/plugins: how each plugin fares, and what a request may name.
    """
    return {
        "plugins": [
            {
                "name": status.name,
                "state": status.state.value,
                "version": status.version,
                "distribution": status.distribution,
                "reason": status.reason,
                "warnings": list(status.warnings),
                "hooks": {
                    hook: {"calls": tally.calls, "failures": tally.failures, "slow": tally.slow}
                    for hook, tally in sorted(plugins.tallies(status.name).items())
                },
            }
            for status in plugins.statuses()
        ],
        "mergers": list(plugins.merger_names),
        "storages": list(plugins.storage_names),
    }


def progress_object(task: Task) -> dict[str, Any]:
    """
    The message of /ws/progress: the origin's three fields, then ours; what is unknown is left out.
    """
    message: dict[str, Any] = {
        "id": task.id,
        "status_bar": task.progress.status_bar,
        "progress": task.progress.percent,
        "status": task.status.value,
        "phase": task.progress.phase.value,
        "speed": round(task.progress.speed),
    }
    if task.progress.eta_s is not None:
        message["eta"] = round(task.progress.eta_s)
    return message


def success_object(warnings: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    """
    The answer to a request that changed something.
    """
    return {"status": "success", **fields} | ({"warnings": list(warnings)} if warnings else {})


def json_bytes(value: Any) -> bytes:
    """
    JSON as UTF-8. A lone surrogate, should one ever be stored, stays valid JSON as its escape.
    """
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


def rfc3339(at: float) -> str:
    """
    Seconds since the epoch as RFC 3339 in UTC with microseconds.
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
