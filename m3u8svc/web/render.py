"""
A task as the API shows it: the seed's fields in the seed's order, then ours. Pure.

Header values are shown (the contract says so); a proxy's password never is (DESIGN 5.7).
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any  # Any: JSON values
from urllib.parse import quote

import attrs

from m3u8svc.errors import advice_on
from m3u8svc.hls.outline import Outline, OutlinedGroup, OutlinedRendition, OutlinedTrack, OutlinedVariant
from m3u8svc.redact import escape_controls, redact_text
from m3u8svc.tasks.incidents import english_of
from m3u8svc.tasks.livelog import Live
from m3u8svc.tasks.search import Overview
from m3u8svc.tasks.segmentmap import SegmentMap
from m3u8svc.tasks.task import SETTING_NAMES, Extensions, Incident, Settings, Status, SystemSettings, Task
from m3u8svc.web.contract import Plugins, Reason, Sandbox
from m3u8svc.web.fields import MASK
from m3u8svc.wording import in_english

ENGLISH = "X-Error-Text-En"
"""The header with an error's text in English, beside the body that is Chinese by contract."""
HEADER_BYTES = 1024
_ENCODER = json.JSONEncoder(ensure_ascii=False)
EXTENSION_NAMES = tuple(field.name for field in attrs.fields(Extensions))
_PLAIN_IN_HEADER = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def task_object(task: Task, *, default_save_location: str, queue_position: int | None = None) -> dict[str, Any]:
    """
    The object of GET /api/tasks. An empty save location is shown as the directory it stands for; `queue_position` is
    that among the tasks that wait, from 1.
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
    return seed | _beyond_the_seed(task, queue_position)


def segment_map_object(found: SegmentMap) -> dict[str, Any]:
    """
    The object of GET /api/tasks/segments. Names are the playlist's, and may hold anything.
    """
    return {
        "tracks": [
            {
                "kind": each.kind,
                "name": redact_text(each.name),
                "total": len(each.states),
                "states": each.states,
            }
            for each in found.tracks
        ],
        "groups": [
            {
                "number": each.number,
                "first": each.first,
                "last": each.last,
                "duration": each.duration_s,
                "kept": each.kept,
                "picture": each.picture,
            }
            for each in found.groups
        ],
    }


def health_object(reasons: Sequence[Reason], sandbox: Sandbox, *, version: str) -> dict[str, Any]:
    """
    The object of GET /api/health.
    """
    degraded = [
        {
            "code": reason.error.code,
            "text": reason.error.text("zh"),
            "text_en": reason.error.text("en"),
            "advice": reason.error.advice("zh"),
            "advice_en": reason.error.advice("en"),
            "since": rfc3339(reason.since),
        }
        for reason in reasons
    ]
    return {
        "status": "degraded" if degraded else "ok",
        "version": version,
        "degraded": degraded,
        "sandbox": sandbox.as_fields(),
    }


def _beyond_the_seed(task: Task, queue_position: int | None) -> dict[str, Any]:
    progress = task.progress
    return {
        "phase": progress.phase.value,
        "speed": round(progress.speed),
        "eta": None if progress.eta_s is None else round(progress.eta_s),
        "segments_done": progress.segments_done,
        "segments_total": progress.segments_total,
        "bytes": progress.size_bytes,
        "err_code": task.err_code,
        "err_msg_en": english_of(task),
        "err_url": task.err_url,
        "err_advice": advice_on(task.err_code, "zh"),
        "err_advice_en": advice_on(task.err_code, "en"),
        "held": task.held,
        "output": task.output,
        "again": "" if task.again is None else task.again.kind,
        **_in_both(dict.fromkeys((*task.spec.warnings, *task.warnings))),  # a request's warning may be in both
        "playlist_bytes": task.spec.playlist_bytes,
        "priority": task.priority,
        "queue_position": queue_position,
        **extensions_object(task.spec.extensions),
    }


def incidents_object(incidents: Sequence[Incident]) -> list[dict[str, Any]]:
    """
    What went wrong with a task, oldest first. Only one task at a time shows it: of ten thousand it is too much.
    """
    return [
        attrs.asdict(each)
        | {
            "at": rfc3339(each.at),
            "advice": advice_on(each.code, "zh"),
            "advice_en": advice_on(each.code, "en"),
        }
        for each in incidents
    ]


def extensions_object(extensions: Extensions) -> dict[str, Any]:
    """
    All extensions by name, a stream's key masked.
    """
    shown = _by_name(extensions, EXTENSION_NAMES)
    shown["header_hosts"] = list(extensions.header_hosts)
    for name in ("key", "iv"):
        if shown[name]:
            shown[name] = MASK
    return shown


def settings_object(settings: Settings) -> dict[str, Any]:
    """
    All settings by name, the proxy's password masked.
    """
    shown = _by_name(settings, SETTING_NAMES)
    if settings.proxy_password:
        shown["proxy_password"] = MASK
    return shown


def _by_name(value: object, names: Iterable[str]) -> dict[str, Any]:
    """
    These fields of a value. `attrs.asdict` looks into each of them, which for a list is a third of its cost.
    """
    return {name: getattr(value, name) for name in names}


def counts_object(overview: Overview) -> dict[str, Any]:
    """
    The object of GET /api/counts: the states by the names that tasks show.
    """
    return {
        "total": sum(overview.tally.values()),
        **{status.value: overview.tally.get(status, 0) for status in Status},
        "speed": round(overview.speed),
        "limit_rate": overview.limit_rate,
        "disk": [{"path": disk.path, "free": disk.free_bytes, "total": disk.total_bytes} for disk in overview.disks],
    }


def live_object(live: Live) -> dict[str, Any]:
    """
    The object of GET /api/tasks/live.
    """
    return {
        "speeds": list(live.speeds),
        "hosts": [
            {
                "host": escape_controls(host.name),
                "connections": host.connections,
                "limit": host.limit,
                "paused_for": None if host.paused_for_s is None else round(host.paused_for_s, 1),
            }
            for host in live.hosts
        ],
        "log": [attrs.asdict(line) for line in live.lines],
        "incidents": incidents_object(live.incidents),
    }


def system_object(system: SystemSettings) -> dict[str, Any]:
    """
    The system settings: the settings, what else has a default beside them, and the limits of the service.
    """
    return settings_object(system.settings) | system.extensions | system.limits


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
            "skips": [attrs.asdict(each) | {"reason_en": in_english(each.reason)} for each in outline.skips],
        },
        "encryption": {"methods": list(outline.methods), "key_formats": list(outline.key_formats)},
        "variants": [_jsonable(each) for each in outline.variants],
        "renditions": [_jsonable(each) for each in outline.renditions],
        "tracks": [_with_duration(each) for each in outline.tracks],
        "groups": [_with_duration(each) for each in outline.groups],
        **_in_both(outline.warnings),
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
    return {"status": "success", **fields} | (_in_both(warnings) if warnings else {})


def _in_both(warnings: Iterable[str]) -> dict[str, Any]:
    """
    Warnings in Chinese, and the same in English; those of earlier versions stay as they are.
    """
    each = list(warnings)
    return {"warnings": each, "warnings_en": [in_english(text) for text in each]}


def json_bytes(value: Any) -> bytes:
    """
    JSON as UTF-8. A lone surrogate, should one ever be stored, stays valid JSON as its escape.
    """
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def header_text(text: str) -> str:
    """
    A text as the value of a header: redacted, printable ASCII with everything else percent-encoded as UTF-8, at most
    `HEADER_BYTES` and never cut within a character.
    """
    value = ""
    for character in redact_text(text):
        encoded = quote(character, safe=_PLAIN_IN_HEADER, errors="replace")
        if len(value) + len(encoded) > HEADER_BYTES:
            break
        value += encoded
    return value


def rfc3339(at: float) -> str:
    """
    Seconds since the epoch as RFC 3339 in UTC with microseconds.
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
