"""
The API described by itself: OpenAPI 3.1, made of the routes the gate lets through, the rules of the fields, the values
that answers are made of, and the catalogue of errors. Pure.

What there is no other source for, the words, is in `openapi_texts`; which operation answers what is the table below. A
route without an operation, or a field without words, is a `KeyError` here and fails the tests.
"""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # Any: JSON values

import attrs
from pydantic import BaseModel, PlainValidator

from m3u8svc.access.credentials import MAX_CREDENTIAL_BYTES
from m3u8svc.access.roles import Role
from m3u8svc.errors import (
    BadCredentials,
    BodyTooLarge,
    Fault,
    FileGone,
    Forbidden,
    ForeignOrigin,
    HeadersTooLarge,
    NoPicture,
    NoResultFile,
    NothingToWatch,
    NotJson,
    NotThereYet,
    RangeNotSatisfiable,
    ResultNotReady,
    SegmentAbsent,
    TaskNotFound,
    TooBusy,
    TooManyFailures,
    TooManyRequests,
    TooManySockets,
    TooManyTasks,
    Unauthorized,
    WatchTheFile,
    WrongHost,
    catalogue,
)
from m3u8svc.hls.outline import Outline, OutlinedGroup, OutlinedRendition, OutlinedSkip, OutlinedTrack, OutlinedVariant
from m3u8svc.sandbox.level import WALLS
from m3u8svc.tasks.livelog import KEPT, SECONDS, Level
from m3u8svc.tasks.plugins import PluginState
from m3u8svc.tasks.search import MAX_TEXT, Sort
from m3u8svc.tasks.task import Extensions, Incident, Phase, Settings, Status, SystemSettings
from m3u8svc.web import gate, openapi_texts
from m3u8svc.web.apologies import ANYWHERE, NOT_READY, OUR_FAULT
from m3u8svc.web.fields import SHAPES
from m3u8svc.web.openapi_texts import FIELDS, SHOWN
from m3u8svc.web.queries import MOST_TRACKS, ORDERS
from m3u8svc.web.schema import (
    MERGER,
    MERGERS,
    STORAGE,
    STORAGES,
    ChangeBody,
    CurlBody,
    SavedSettingsBody,
    TaskBody,
)
from m3u8svc.weblimits import DEFAULTS, WebLimits

Json = dict[str, Any]

PATH = "/api/openapi.json"
STATIC = gate.STATIC + "{name}"
FILE = "/api/tasks/file"
PICTURE = "/api/tasks/picture"

SECURITY_SCHEMES: Mapping[str, Json] = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token made by `m3u8svc token create`."},
    "password": {"type": "http", "scheme": "basic", "description": "A user of the configuration."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "m3u8svc_8080",
        "description": "What POST /api/session sets, for browsers; the number is the port of the service.",
    },
}
"""How somebody says who he is. A service without tokens and passwords asks nobody."""


@attrs.frozen(kw_only=True)
class Parameter:
    """
    One thing in the query, the path or the headers.
    """

    name: str
    says: str
    shape: Json
    place: str = "query"
    required: bool = False


@attrs.frozen(kw_only=True)
class Operation:
    """
    What one method of one path does. `answer` is the shape of its 200; `body` the name of that of its body; `errors`
    are the codes it has besides those that its kind has, by status.
    """

    name: str
    says: str
    answer: Json
    media: str = "application/json"
    body: str = ""
    parameters: Sequence[Parameter] = ()
    errors: Mapping[int, Iterable[str]] = attrs.field(factory=dict)


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _codes(*faults: Fault) -> list[str]:
    return [each.code for each in catalogue() if each.fault in faults]


OURS = (Fault.SERVICE, Fault.OPERATOR, Fault.PLUGIN)
_BYTES: Json = {"type": "string", "format": "binary"}
ID = Parameter(name="id", says="The task.", shape={"type": "string"}, required=True)
TRACK = Parameter(
    name="track",
    says="Which track, 0 the main one.",
    shape={"type": "integer", "minimum": 0, "maximum": MOST_TRACKS},
)
SEGMENT = Parameter(
    name="segment",
    says="Which segment, from 1.",
    shape={"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    required=True,
)
FLAG: Json = {"type": "string", "enum": ["true", "false"]}


def operations(limits: WebLimits) -> Mapping[tuple[str, str], Operation]:
    """
    All of them by method and path. A HEAD is that of the GET.
    """
    nothing_found = {404: [TaskNotFound.code]}
    busy = {429: [TooBusy.code]}
    watched = {
        404: [TaskNotFound.code, SegmentAbsent.code],
        409: [NothingToWatch.code, WatchTheFile.code],
        503: [NotThereYet.code],
    }
    return {
        ("GET", "/api/tasks"): Operation(
            name="getTasks",
            says="All tasks, oldest first; with `id` one of them, its report, or a look at its file.",
            answer={"anyOf": [{"type": "array", "items": _ref("Task")}, _ref("TaskDetail"), _ref("Report")]},
            parameters=(
                attrs.evolve(ID, required=False),
                Parameter(
                    name="status",
                    says="Only tasks of this state.",
                    shape={"type": "string", "enum": [status.value for status in Status]},
                ),
                Parameter(
                    name="limit",
                    says="At most so many. Without it: all.",
                    shape={"type": "integer", "minimum": 1, "maximum": limits.page_tasks},
                ),
                Parameter(
                    name="offset",
                    says="Leave out so many at the beginning.",
                    shape={"type": "integer", "minimum": 0, "maximum": 2**53, "default": 0},
                ),
                Parameter(
                    name="q",
                    says="Only tasks with this in their name, URL or id, whatever its case. Empty: all.",
                    shape={"type": "string", "maxLength": MAX_TEXT, "pattern": r"^[^\x00-\x1f\x7f]*$"},
                ),
                Parameter(
                    name="sort",
                    says="What the list is in order by; equals are in that of their creation. By `queue`, as tasks "
                    "will start, with those that do not wait behind.",
                    shape={"type": "string", "enum": [sort.value for sort in Sort], "default": Sort.CREATED.value},
                ),
                Parameter(
                    name="order",
                    says="Up or down.",
                    shape={"type": "string", "enum": list(ORDERS), "default": ORDERS[0]},
                ),
                Parameter(name="report", says="With `id`: the report of the task's result.", shape=FLAG),
                Parameter(
                    name="verify",
                    says="With `id`: look at the task's file once more; `full` decodes it.",
                    shape={"type": "string", "enum": ["true", "full", "false"]},
                ),
            ),
            errors=nothing_found | busy,
        ),
        ("POST", "/api/tasks"): Operation(
            name="addTask",
            says="A new task, which is on disk before this is answered; or what it would do.",
            answer={"anyOf": [_ref("Created"), _ref("Outline")]},
            body="NewTask",
            parameters=(
                Parameter(name="dry_run", says="Only say what the task would do.", shape=FLAG),
                Parameter(
                    name="Idempotency-Key",
                    says="A name for this request: sent again within a day it makes no second task.",
                    shape={"type": "string", "pattern": "^[!-~]{1,255}$"},
                    place="header",
                ),
            ),
            errors={429: [TooBusy.code, TooManyTasks.code], 400: _codes(*Fault)},
        ),
        ("PUT", "/api/tasks"): Operation(
            name="changeTask",
            says="Pause or resume a task, set other settings, make a finished one again. All fields apply, or none.",
            answer=_ref("Success"),
            body="TaskChange",
            parameters=(ID,),
            errors=nothing_found,
        ),
        ("DELETE", "/api/tasks"): Operation(
            name="removeTask",
            says="Forget a task and remove its work directory.",
            answer=_ref("Success"),
            parameters=(ID, Parameter(name="files", says="Remove the finished file too.", shape=FLAG)),
            errors=nothing_found,
        ),
        ("GET", FILE): Operation(
            name="getFileOfTask",
            says="The finished file of a task, or a part of it.",
            answer=_BYTES,
            media="*/*",
            parameters=(
                ID,
                Parameter(name="download", says="To be saved, not to be shown.", shape=FLAG),
                Parameter(
                    name="Range",
                    says="One range of bytes, such as `bytes=0-1023`. Anything else gets the whole.",
                    shape={"type": "string"},
                    place="header",
                ),
            ),
            errors={
                404: [TaskNotFound.code, FileGone.code],
                409: [ResultNotReady.code, NoResultFile.code],
                416: [RangeNotSatisfiable.code],
            },
        ),
        ("GET", "/api/tasks/live"): Operation(
            name="getLiveTask",
            says="What a task does now and did lately: speeds, hosts, its last lines, what went wrong.",
            answer=_ref("Live"),
            parameters=(ID,),
            errors=nothing_found,
        ),
        ("GET", "/api/counts"): Operation(
            name="getCounts",
            says="All tasks in a few numbers: how many of each state, how fast, and how much room there is.",
            answer=_ref("Counts"),
        ),
        ("POST", "/api/curl"): Operation(
            name="readCurl",
            says="What a curl command, as a browser copies it, comes to: a body for POST /api/tasks. It makes no task.",
            answer=_ref("FromCurl"),
            body="CurlCommand",
        ),
        ("GET", "/api/tasks/segments"): Operation(
            name="getSegments",
            says="Where each segment of a task stands, a letter each, and the groups between discontinuities.",
            answer=_ref("SegmentMap"),
            parameters=(ID,),
            errors=nothing_found | busy,
        ),
        ("GET", "/api/tasks/play"): Operation(
            name="getPlaylistOfTask",
            says="A playlist that plays a task's film while it is fetched: of all tracks, or of one of them.",
            answer={"type": "string"},
            media="application/vnd.apple.mpegurl",
            parameters=(ID, TRACK),
            errors=watched | busy,
        ),
        ("GET", "/api/tasks/media"): Operation(
            name="getSegmentOfTask",
            says="A decrypted segment of a task's film. One that is not there yet is fetched next, and waited for.",
            answer=_BYTES,
            media="*/*",
            parameters=(
                ID,
                TRACK,
                SEGMENT,
                Parameter(name="init", says="Its Media Initialization Section in its place.", shape=FLAG),
            ),
            errors=watched | busy,
        ),
        ("GET", PICTURE): Operation(
            name="getPictureOfSegment",
            says="A small picture of a segment of the main track, wherever that is: its first key frame.",
            answer=_BYTES,
            media="image/jpeg",
            parameters=(ID, SEGMENT),
            errors=busy
            | {
                404: [TaskNotFound.code, SegmentAbsent.code, NoPicture.code, FileGone.code],
                503: [NotThereYet.code],
            },
        ),
        ("GET", "/api/settings"): Operation(
            name="getSettings",
            says="The settings of tasks whose request names none.",
            answer=_ref("SystemSettings"),
        ),
        ("POST", "/api/settings"): Operation(
            name="saveSettings",
            says="Replace them as a whole: an absent field gets its default.",
            answer=_ref("Success"),
            body="NewSettings",
        ),
        ("GET", "/api/plugins"): Operation(
            name="getPlugins",
            says="Which plugins there are, how each fares, and what they offer.",
            answer=_ref("Plugins"),
        ),
        ("GET", "/api/health"): Operation(
            name="getHealth", says="What is wrong with the service as a whole while it works.", answer=_ref("Health")
        ),
        ("GET", PATH): Operation(
            name="getDescription", says="This document.", answer={"type": "object", "required": ["openapi"]}
        ),
        ("GET", "/api/docs"): Operation(
            name="browseDescription",
            says="This document for people, in a page where one can try things out.",
            answer={"type": "string"},
            media="text/html",
        ),
        ("GET", "/api/session"): Operation(name="getSession", says="Who is asking.", answer=_ref("Session")),
        ("POST", "/api/session"): Operation(
            name="logIn",
            says="Log in with a token or a password. The answer sets a cookie for a week.",
            answer=_ref("Session"),
            body="Login",
        ),
        ("DELETE", "/api/session"): Operation(
            name="logOut", says="Log out: the cookie is worth nothing any more.", answer=_ref("Success")
        ),
        ("GET", "/ws/progress"): Operation(
            name="watchProgress",
            says="A WebSocket. It sends one ProgressMessage as text for each change of a task, at most ten a second "
            "each; on connecting, where each running task stands; `{}` every five seconds where nothing happens. What "
            "clients send is not looked at.",
            answer={},
            errors={503: [TooManySockets.code]},
        ),
        ("GET", gate.METRICS): Operation(
            name="getMetrics",
            says="What the service counts, for Prometheus, in its text format.",
            answer={"type": "string"},
            media="text/plain",
        ),
        ("GET", "/"): Operation(
            name="getPage", says="The task list for people.", answer={"type": "string"}, media="text/html"
        ),
        ("GET", STATIC): Operation(
            name="getFile",
            says="A script, a style or a picture of the page.",
            answer={"type": "string"},
            media="*/*",
            parameters=(
                Parameter(
                    name="name", says="Its name.", shape={"type": "string", "minLength": 1}, place="path", required=True
                ),
            ),
            errors={404: ["not_found"]},
        ),
        ("GET", "/favicon.ico"): Operation(
            name="getIcon", says="The page's icon.", answer={"type": "string"}, media="image/svg+xml"
        ),
        ("GET", "/healthz"): Operation(
            name="isAlive", says="Whether the process answers.", answer=_fields_of({"status": {"const": "ok"}}, {})
        ),
        ("GET", "/readyz"): Operation(
            name="isReady",
            says="Whether a task could be taken now.",
            answer=_fields_of({"status": {"const": "ready"}}, {}),
            errors={503: _codes(*OURS)},
        ),
    }


# -- The document ----------------------------------------------------------------------------------------------------


def document(
    *,
    version: str,
    mergers: Sequence[str],
    storages: Sequence[str],
    limits: WebLimits = DEFAULTS,
    base_path: str = "",
) -> dict[str, Any]:
    """
    The whole, for a service of this version that offers these, below this path of its host.
    """
    known = operations(limits)
    paths: dict[str, Json] = {}
    for path, methods in {**gate.ROUTES, STATIC: ("GET", "HEAD")}.items():
        for method in methods:
            operation = known["GET" if method == "HEAD" else method, path]
            paths.setdefault(path, {})[method.lower()] = _described(operation, method, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "m3u8svc",
            "version": version,
            "description": openapi_texts.ABOUT,
            "license": {"name": "MIT"},
        },
        "servers": [{"url": base_path or "/"}],
        "security": [{}, *({name: []} for name in SECURITY_SCHEMES)],
        "paths": paths,
        "components": {
            "schemas": schemas(mergers, storages, limits),
            "headers": _headers(),
            "securitySchemes": dict(SECURITY_SCHEMES),
        },
    }


def _described(operation: Operation, method: str, path: str) -> Json:
    described: Json = {
        "operationId": operation.name if method != "HEAD" else f"{operation.name}Head",
        "summary": operation.says.split(". ")[0].rstrip("."),
        "description": operation.says,
        "responses": _responses(operation, method, path),
    }
    if operation.parameters:
        described["parameters"] = [
            {
                "name": each.name,
                "in": each.place,
                "required": each.required,
                "description": each.says,
                "schema": each.shape,
            }
            for each in operation.parameters
        ]
    if operation.body:
        described["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref(operation.body),
                    "examples": {
                        f"example{number}": {"summary": said, "value": value}
                        for number, (said, value) in enumerate(openapi_texts.EXAMPLES[operation.body].items(), 1)
                    },
                }
            },
        }
    if path in _WITHOUT_LOGIN or path == STATIC or operation.body == "Login":
        described["security"] = [{}]
    return described


_UNAVAILABLE: Mapping[str, str] = {
    "/readyz": NOT_READY[0],
    "/ws/progress": TooManySockets().text(),
    "/api/tasks/play": NotThereYet(what="播放列表").text(),
    "/api/tasks/media": NotThereYet(what="00007.ts").text(),
    PICTURE: NotThereYet(what="00007.ts").text(),
}
"""What a 503 says where it is not that the database is locked."""

_WITHOUT_LOGIN = frozenset({"/", "/healthz", "/readyz", "/favicon.ico"})


def _responses(operation: Operation, method: str, path: str) -> dict[str, Json]:
    """
    All answers of an operation, by status.
    """
    found: dict[str, Json] = {}
    if path == "/ws/progress":
        found["101"] = {"description": "The WebSocket is open; each message is a `ProgressMessage` as JSON, or `{}`."}
    else:
        found["200"] = {"description": "Done."}
        if method != "HEAD":
            found["200"]["content"] = {operation.media: {"schema": operation.answer}}
        if path == "/api/tasks" and method == "POST":
            found["200"]["headers"] = {"Idempotent-Replayed": {"$ref": "#/components/headers/IdempotentReplayed"}}
        if path == "/api/tasks" and method == "GET":
            found["200"]["headers"] = {"X-Total-Count": {"$ref": "#/components/headers/TotalCount"}}
    if path == FILE and method == "GET":
        found["206"] = {
            "description": "The part that `Range` asks for.",
            "headers": {
                "ETag": {"$ref": "#/components/headers/ETag"},
                "Content-Range": {"$ref": "#/components/headers/ContentRange"},
            },
            "content": {operation.media: {"schema": operation.answer}},
        }
    if path in (PATH, "/api/docs", FILE, PICTURE, "/", STATIC, "/favicon.ico"):
        found["200"]["headers"] = {"ETag": {"$ref": "#/components/headers/ETag"}}
        found["304"] = {"description": "It is still what `If-None-Match` says."}
    for status, codes in sorted(_errors(operation, method, path).items()):
        found[str(status)] = _error(status, sorted(set(codes)), method, path)
    return found


def _errors(operation: Operation, method: str, path: str) -> dict[int, list[str]]:
    """
    The codes of the errors of an operation, by status: those of its kind, and its own.
    """
    ours = _codes(*OURS)
    guarded = gate.is_guarded(path)
    found: dict[int, list[str]] = {
        400: _codes(Fault.CALLER),
        421: [WrongHost.code],
        429: [TooManyRequests.code],
        431: [HeadersTooLarge.code],
        500: ours,
    }
    if guarded:
        found[401] = [Unauthorized.code, BadCredentials.code]
        found[403] = [ForeignOrigin.code, Forbidden.code]
        found[429].append(TooManyFailures.code)
        found[503] = ours
    if operation.body:
        found[413] = [BodyTooLarge.code]
        found[415] = [NotJson.code]
    for status, codes in operation.errors.items():
        found.setdefault(status, []).extend(codes)
    return found


def _error(status: int, codes: list[str], method: str, path: str) -> Json:
    says, example = openapi_texts.STATUSES[status]
    if status == 500:
        example, _ = OUR_FAULT.get((method, path), ANYWHERE)
    if status == 503:
        example = _UNAVAILABLE.get(path, example)
    headers: dict[str, Json] = {
        "X-Error-Code": {
            "required": True,
            "description": "What is wrong, as a stable code.",
            "schema": {"type": "string", "enum": codes},
        },
        "X-Error-Text-En": {"$ref": "#/components/headers/ErrorTextEn"},
    }
    if status in (401, 429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    described: Json = {"description": says, "headers": headers}
    if method != "HEAD":
        described["content"] = {"application/json": {"schema": _ref("Error"), "example": example}}
    return described


def _headers() -> dict[str, Json]:
    return {
        "ErrorTextEn": {
            "required": True,
            "description": "The error's text in English: printable ASCII, everything else percent-encoded as UTF-8.",
            "schema": {"type": "string", "pattern": "^[ -~]+$", "maxLength": 1024},
        },
        "RetryAfter": {
            "description": "In how many seconds it may be another answer.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "IdempotentReplayed": {
            "description": "The same request was answered before, and this is that answer.",
            "schema": {"type": "string", "const": "true"},
        },
        "TotalCount": {
            "description": "Of a list: how many tasks it is about, before `limit` and `offset`.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "ContentRange": {
            "required": True,
            "description": "Which bytes these are, and of how many.",
            "schema": {"type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$"},
        },
        "ETag": {"required": True, "description": "Which content this is.", "schema": {"type": "string"}},
    }


# -- Shapes ----------------------------------------------------------------------------------------------------------


def schemas(mergers: Sequence[str], storages: Sequence[str], limits: WebLimits) -> dict[str, Json]:
    """
    The shapes that operations name.
    """
    task = _task_fields()
    warnings = {"warnings": _texts("What had no effect, in Chinese."), "warnings_en": _texts("The same in English.")}
    return {
        "Error": {
            "type": "string",
            "description": "What is wrong, in Chinese; secrets in it are redacted.",
            "examples": ["任务不存在", "任务ID不能为空", "解析请求失败：filename: 缺少必填字段"],
        },
        "NewTask": body_schema(TaskBody, mergers, storages, limits),
        "TaskChange": body_schema(ChangeBody, mergers, storages, limits) | {"minProperties": 1},
        "CurlCommand": body_schema(CurlBody, mergers, storages, limits),
        "FromCurl": _from_curl(),
        "NewSettings": body_schema(SavedSettingsBody, mergers, storages, limits),
        "Settings": _object_of(Settings, FIELDS),
        "SystemSettings": _system_settings(),
        "Login": {
            "anyOf": [
                _closed({"token": _credential("A token.")}),
                _closed({"user": _credential("A user's name."), "password": _credential("The password.")}),
            ]
        },
        "Session": _fields_of(
            {"login": {"type": "boolean", "description": "Whether one has to log in here."}},
            {
                "name": {"type": "string", "description": "Of the token or user."},
                "role": {"type": "string", "enum": [role.value for role in Role], "description": "What it may do."},
            },
        ),
        "Success": _fields_of({"status": {"const": "success"}}, warnings),
        "Created": _fields_of(
            {"status": {"const": "success"}, "id": {"type": "string", "description": SHOWN["id"]}},
            warnings,
        ),
        "Task": _fields_of(task, _OPTIONAL),
        "TaskDetail": _fields_of(
            task | {"incidents": _array(_incident(), SHOWN["incidents"])},
            _OPTIONAL,
        ),
        "SegmentMap": _segment_map(),
        "Report": {
            "type": "object",
            "description": "What docs/reports.md says: a report, or what a look at a file found.",
        },
        "Counts": _counts(),
        "Live": _live(),
        "Outline": _outline(),
        "Plugins": _plugins(),
        "Health": _health(),
        "ProgressMessage": _fields_of(
            {name: task[name] for name in ("id", "status_bar", "progress", "status", "phase", "speed")},
            {"eta": {"type": "integer", "description": SHOWN["eta"]}},
        ),
    }


def body_schema(
    model: type[BaseModel],
    mergers: Sequence[str] = MERGERS,
    storages: Sequence[str] = STORAGES,
    limits: WebLimits = DEFAULTS,
) -> Json:
    """
    The shape of a request's body: what its rules can say of themselves.
    """
    offered = {MERGER: list(mergers), STORAGE: list(storages)}
    properties = {}
    for name, field in model.model_fields.items():
        [validator] = [each for each in field.metadata if isinstance(each, PlainValidator)]
        if validator.func in offered:
            shape: Json = {"type": "string", "enum": offered[validator.func]}
        else:
            shape = dict(SHAPES[validator.func](limits))
        value = field.get_default(call_default_factory=True)
        default = {} if field.is_required() else {"default": list(value) if isinstance(value, tuple) else value}
        described = {"description": FIELDS[name]} | (default if model is not ChangeBody else {})
        properties[name] = shape | described
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


_OPTIONAL: Mapping[str, Json] = {
    "err_msg": {"type": "string", "description": SHOWN["err_msg"]},
    "completed_at": {"type": "string", "format": "date-time", "description": SHOWN["completed_at"]},
}


def _task_fields() -> dict[str, Json]:
    """
    What every task shows.
    """
    text: Json = {"type": "string"}
    count: Json = {"type": "integer", "minimum": 0}
    when: Json = {"type": "string", "format": "date-time"}
    shapes: dict[str, Json] = {
        "id": text,
        "url": text,
        "filename": text,
        "size": count,
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "status": {"type": "string", "enum": [status.value for status in Status]},
        "status_bar": text,
        "created_at": when,
        "updated_at": when,
        "header_map": {"type": "object", "additionalProperties": {"type": "array", "items": text}},
        "advanced_settings": _ref("Settings"),
        "phase": {"type": "string", "enum": [phase.value for phase in Phase]},
        "speed": count,
        "eta": {"type": ["integer", "null"], "minimum": 0},
        "segments_done": count,
        "segments_total": count,
        "bytes": count,
        "err_code": text,
        "err_msg_en": text,
        "err_url": text,
        "err_advice": text,
        "err_advice_en": text,
        "held": text,
        "output": text,
        "again": {"type": "string", "enum": ["", "merge", "repair"]},
        "warnings": {"type": "array", "items": text},
        "warnings_en": {"type": "array", "items": text},
        "playlist_bytes": count,
        "priority": {"type": "integer"},
        "queue_position": {"type": ["integer", "null"], "minimum": 1},
    }
    said = {name: shape | {"description": SHOWN.get(name) or FIELDS[name]} for name, shape in shapes.items()}
    return said | _properties(Extensions, FIELDS)


def _system_settings() -> Json:
    defaults = _properties(SystemSettings, FIELDS, without=("settings",))
    own = {"default_save_location": {"type": "string", "description": FIELDS["default_save_location"]}}
    return _fields_of(_properties(Settings, FIELDS) | defaults | own, {})


def _from_curl() -> Json:
    """
    The answer to a curl command: what a body of a task has of these, and what there is to say.
    """
    taken = body_schema(TaskBody)["properties"]
    always = ("url", "filename", "use_http_headers", "http_headers", "advanced")
    sometimes = ("allow_insecure_https", "limit_rate", *(name for name in taken if name.startswith("proxy_")))
    return _fields_of(
        {name: taken[name] for name in always}
        | {"warnings": _texts("What was left out, in Chinese."), "warnings_en": _texts("The same in English.")},
        {name: taken[name] for name in sometimes},
    )


def _incident() -> Json:
    incident = _properties(Incident, openapi_texts.INCIDENT)
    incident["at"] = {"type": "string", "format": "date-time", "description": openapi_texts.INCIDENT["at"]}
    advice = {name: {"type": "string", "description": openapi_texts.INCIDENT[name]} for name in ("advice", "advice_en")}
    return _fields_of(incident | advice, {})


def _outline() -> Json:
    whole = _properties(Outline, {}, bare=True)
    skip = _properties(OutlinedSkip, {}, bare=True)
    seconds = "duration_s"
    shapes: dict[str, Json] = {
        "status": {"const": "success"},
        "duration": whole[seconds],
        "estimated_bytes": whole["estimated_bytes"],
        "segments": _fields_of(
            {
                "count": whole["segments"],
                "skipped": whole["skipped"],
                "gaps": whole["gaps"],
                "skips": _array(_fields_of(skip | {"reason_en": {"type": "string"}}, {})),
            },
            {},
        ),
        "encryption": _fields_of({"methods": whole["methods"], "key_formats": whole["key_formats"]}, {}),
        "variants": _array(_object_of(OutlinedVariant, {}, bare=True)),
        "renditions": _array(_object_of(OutlinedRendition, {}, bare=True)),
        "tracks": _array(_object_of(OutlinedTrack, {}, bare=True)),
        "groups": _array(_object_of(OutlinedGroup, {}, bare=True)),
        "warnings": whole["warnings"],
        "warnings_en": whole["warnings"],
    }
    texts = openapi_texts.OUTLINE
    return _fields_of({name: shape | {"description": texts[name]} for name, shape in shapes.items()}, {})


def _counts() -> Json:
    count: Json = {"type": "integer", "minimum": 0}
    texts = openapi_texts.COUNTS
    numbers: dict[str, Json] = {
        "total": count | {"description": texts["total"]},
        **{status.value: count | {"description": texts["state"]} for status in Status},
        "speed": count | {"description": SHOWN["speed"]},
        "limit_rate": count | {"description": texts["limit_rate"]},
    }
    room: dict[str, Json] = {
        "path": {"type": "string"},
        "free": {"type": ["integer", "null"], "minimum": 0},
        "total": {"type": ["integer", "null"], "minimum": 0},
    }
    disk = _fields_of({name: shape | {"description": openapi_texts.DISK[name]} for name, shape in room.items()}, {})
    return _fields_of(numbers | {"disk": _array(disk, texts["disk"])}, {})


def _segment_map() -> Json:
    texts = openapi_texts.SEGMENTS
    count: Json = {"type": "integer", "minimum": 0}
    track: dict[str, Json] = {
        "kind": {"type": "string", "enum": ["video", "audio", "subtitles"]},
        "name": {"type": "string"},
        "total": count,
        "states": {"type": "string", "pattern": "^[.fdrsx]*$"},
    }
    group: dict[str, Json] = {
        "number": {"type": "integer", "minimum": 1},
        "first": {"type": "integer", "minimum": 1},
        "last": {"type": "integer", "minimum": 1},
        "duration": {"type": "number", "minimum": 0},
        "kept": {"type": "boolean"},
        "picture": {"type": ["integer", "null"], "minimum": 1},
    }
    tracks, groups = (
        _array(_fields_of({name: shape | {"description": texts[name]} for name, shape in each.items()}, {}), says)
        for each, says in ((track, texts["tracks"]), (group, texts["groups"]))
    )
    return _fields_of({"tracks": tracks, "groups": groups}, {})


def _live() -> Json:
    text: Json = {"type": "string"}
    count: Json = {"type": "integer", "minimum": 0}
    host: dict[str, Json] = {
        "host": text,
        "connections": count,
        "limit": count,
        "paused_for": {"type": ["number", "null"], "minimum": 0},
    }
    line: dict[str, Json] = {
        "at": {"type": "number"},
        "level": {"type": "string", "enum": list(typing.get_args(Level))},
        "text": text,
        "text_en": text,
    }
    hosts, lines = (
        _array(_fields_of({name: shape | {"description": said[name]} for name, shape in shapes.items()}, {}))
        for shapes, said in ((host, openapi_texts.STANDING), (line, openapi_texts.LINE))
    )
    shapes: dict[str, Json] = {
        "speeds": _array(count) | {"maxItems": SECONDS},
        "hosts": hosts,
        "log": lines | {"maxItems": 2 * KEPT},
        "incidents": _array(_incident()),
    }
    texts = openapi_texts.LIVE
    return _fields_of({name: shape | {"description": texts[name]} for name, shape in shapes.items()}, {})


def _plugins() -> Json:
    text: Json = {"type": "string"}
    count: Json = {"type": "integer", "minimum": 0}
    tally = _fields_of({"calls": count, "failures": count, "slow": count}, {})
    shapes: dict[str, Json] = {
        "name": text,
        "state": {"type": "string", "enum": [state.value for state in PluginState]},
        "version": text,
        "distribution": text,
        "reason": text,
        "warnings": _array(text),
        "hooks": {"type": "object", "additionalProperties": tally},
    }
    texts = openapi_texts.PLUGIN
    plugin = _fields_of({name: shape | {"description": texts[name]} for name, shape in shapes.items()}, {})
    names = {"mergers": _texts("What `merger` may be."), "storages": _texts("What `storage` may be.")}
    return _fields_of({"plugins": _array(plugin, "Those that were found.")} | names, {})


def _health() -> Json:
    texts = openapi_texts.REASON
    when = {"since": {"type": "string", "format": "date-time"}}
    reason = {name: when.get(name, {"type": "string"}) | {"description": said} for name, said in texts.items()}
    status = {"type": "string", "enum": ["ok", "degraded"], "description": "`ok` where nothing is wrong."}
    version = {"type": "string", "description": "Of the service."}
    walls: dict[str, Json] = {
        "level": {"type": "string", "enum": ["full", "partial", "none"]},
        "missing": {"type": "array", "items": {"type": "string", "enum": list(WALLS)}},
        "landlock_abi": {"type": "integer", "minimum": 0},
        "seccomp": {"type": "boolean"},
        "seen": {"type": "boolean"},
    }
    box = _fields_of({name: shape | {"description": openapi_texts.SANDBOX[name]} for name, shape in walls.items()}, {})
    return _fields_of(
        {
            "status": status,
            "version": version,
            "degraded": _array(_fields_of(reason, {}), "What is wrong now."),
            "sandbox": box | {"description": "The box that media is read in."},
        },
        {},
    )


def _fields_of(always: Mapping[str, Json], sometimes: Mapping[str, Json]) -> Json:
    """
    An object with these fields, and these. Others may come later, so they are not forbidden.
    """
    return {"type": "object", "properties": {**always, **sometimes}, "required": list(always)}


def _closed(always: Mapping[str, Json]) -> Json:
    return _fields_of(always, {}) | {"additionalProperties": False}


def _credential(says: str) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": MAX_CREDENTIAL_BYTES, "description": says}


def _array(items: Json, says: str = "") -> Json:
    return {"type": "array", "items": items} | ({"description": says} if says else {})


def _texts(says: str) -> Json:
    return _array({"type": "string"}, says)


def _object_of(value: type, texts: Mapping[str, str], *, bare: bool = False) -> Json:
    """
    An object with the fields of a value, seconds without their unit as everywhere in the API.
    """
    return _fields_of(
        {name.removesuffix("_s"): each for name, each in _properties(value, texts, bare=bare).items()}, {}
    )


def _properties(
    value: type, texts: Mapping[str, str], *, without: Sequence[str] = (), bare: bool = False
) -> dict[str, Json]:
    """
    The fields of a value as they are in JSON, described unless `bare`.
    """
    hints = typing.get_type_hints(value)
    return {
        each.name: _shape_of(hints[each.name]) | ({} if bare else {"description": texts[each.name]})
        for each in attrs.fields(value)
        if each.name not in without
    }


_PLAIN: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def _shape_of(hint: Any) -> Json:
    """
    What a value of this type is in JSON.
    """
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"type": [_PLAIN.get(each, "null") for each in arguments]}
    if origin is tuple:
        return _array(_shape_of(arguments[0]))
    return {"type": "object"}
