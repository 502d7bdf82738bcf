"""
The door: request bodies to the values the rest of the service trusts.

Each body is a pydantic model whose fields are ruled by `fields.py`. Everything wrong is told at once, by
field, with the bad value shortened and redacted; a proxy's credentials and header values are never shown. What is
accepted but has no effect is named in `warnings`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeVar  # Any: values out of JSON, before they were checked

import attrs
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, ValidationInfo

from m3u8svc.errors import InvalidRequest
from m3u8svc.redact import escape_controls, redact_text, redact_url
from m3u8svc.tasks.curlline import parse_curl, task_fields
from m3u8svc.tasks.headers import clean_headers
from m3u8svc.tasks.lifecycle import WANTED
from m3u8svc.tasks.task import (
    DEFAULT_NAMES,
    LIMIT_NAMES,
    PARAM_CHANGES,
    SETTING_NAMES,
    Extensions,
    Settings,
    Status,
    SystemSettings,
    TaskChange,
    TaskDraft,
)
from m3u8svc.web import fields
from m3u8svc.web.fields import MASK, SHAPES, Rule, shaped
from m3u8svc.web.strictjson import read_json
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said, joined, said

MERGERS = ("mp4", "ts", "none")
STORAGES = ("disk",)

_PROXY_NAMES = tuple(name for name in SETTING_NAMES if name.startswith("proxy_"))
_EXTENSION_NAMES = tuple(each.name for each in attrs.fields(Extensions))
_UNSHOWN = frozenset(
    {"http_headers", "proxy_username", "proxy_password", "key", "iv", "append_query", "playlist", "command"}
)
"""Fields whose values are secrets, or hold some: an error names them and says no more."""
_NOTHING = Said(
    "status: 缺少必填字段（或者 url、merge、repair、priority、queue、任一可更改的设置）",
    "status: is needed (or url, merge, repair, priority, queue, or any setting that can be changed)",
)
_PLAYLIST = re.compile(r'"playlist"[ \t\r\n]*+:[ \t\r\n]*+(?=")')
_LENIENT = json.JSONDecoder(strict=False)
_ECHOED = frozenset({"warnings", "warnings_en"})
"""What POST /api/curl says besides the fields of a task: its answer may be sent on as it is."""
_LINKS = frozenset({"url", "base_url"})


# -- The bodies ------------------------------------------------------------------------------------------------------

Boolean = Annotated[bool, PlainValidator(fields.boolean)]
Directory = Annotated[str, PlainValidator(fields.directory)]
PluginOptions = Annotated[Mapping[str, Mapping[str, Any]], PlainValidator(fields.plugin_options)]
Credential = Annotated[str, PlainValidator(fields.credential)]


def known(kind: str) -> Callable[[Any, ValidationInfo], str]:
    """
    A rule for a name out of the list that `parse_task` was given for this kind.
    """
    return lambda value, info: fields.one_of((info.context or {})[kind])(value)


def _limited(rule: Rule) -> Rule:
    """
    A rule under the limits of this service.
    """

    def limited(value: Any, info: ValidationInfo) -> Any:
        return rule(value, (info.context or {})["limits"])

    SHAPES[limited] = SHAPES[rule]
    return limited


@shaped(lambda limits: SHAPES[fields.base_url](limits))
def _source(value: Any, info: ValidationInfo) -> Any:
    """
    The rule for the URL of a task: it may be empty where a playlist comes with the request.
    """
    context = info.context or {}
    return "" if value == "" and context["has_playlist"] else fields.source_url(value, context["limits"])


MERGER = known("mergers")
STORAGE = known("storages")


class _SettingsBody(BaseModel):
    """
    The fields of `Settings`, in its order and with its defaults.
    """

    model_config = ConfigDict(extra="ignore")

    save_location: Directory = ""
    temp_directory: Directory = ""
    download_threads: Annotated[int, PlainValidator(fields.threads)] = 0
    skip_ts_info: Annotated[str, PlainValidator(fields.skip_expression)] = ""
    keep_ts_files: Boolean = False
    no_merge_ts: Boolean = False
    log_skipped_ts: Boolean = False
    allow_insecure_https: Boolean = False
    proxy_type: Annotated[str, PlainValidator(fields.proxy_type)] = "none"
    proxy_host: Annotated[str, PlainValidator(fields.proxy_host)] = ""
    proxy_port: Annotated[int, PlainValidator(fields.port)] = 0
    proxy_username: Credential = ""
    proxy_password: Credential = ""
    use_server_file_time: Boolean = False
    debug_log: Boolean = False


class _DefaultsBody(_SettingsBody):
    """
    The settings, and the extensions that can be a default.
    """

    merger: Annotated[str, PlainValidator(MERGER)] = "mp4"
    storage: Annotated[str, PlainValidator(STORAGE)] = "disk"
    variant: Annotated[str, PlainValidator(fields.variant)] = "best"
    audio: Annotated[str, PlainValidator(fields.audio)] = ""
    subtitles: Annotated[str, PlainValidator(fields.subtitles)] = "none"
    subtitle_files: Annotated[str, PlainValidator(fields.subtitle_files)] = "vtt"
    on_param_change: Annotated[str, PlainValidator(fields.one_of(PARAM_CHANGES))] = "keep"
    low_disk: Boolean = False
    report: Boolean = False
    header_hosts: Annotated[tuple[str, ...], PlainValidator(fields.header_hosts)] = ()
    plugins: PluginOptions = Field(default_factory=dict)


class TaskBody(_DefaultsBody):
    """
    POST /api/tasks: the seed's fields, then our extensions. `url` is needed, and may be empty beside a `playlist`.
    """

    url: Annotated[str, PlainValidator(_source)]
    filename: Annotated[str, PlainValidator(_limited(fields.file_name))]
    use_http_headers: Boolean = False
    http_headers: Annotated[Mapping[str, tuple[str, ...]], PlainValidator(_limited(fields.header_map))] = Field(
        default_factory=dict
    )
    advanced: Boolean = False
    priority: Annotated[int, PlainValidator(fields.priority)] = 0
    limit_rate: Annotated[int, PlainValidator(fields.rate)] = 0
    faststart: Boolean = False
    allow_gaps: Boolean = False
    groups: Annotated[str, PlainValidator(fields.groups)] = ""
    key: Annotated[str, PlainValidator(fields.stream_key)] = ""
    iv: Annotated[str, PlainValidator(fields.stream_iv)] = ""
    append_query: Annotated[str, PlainValidator(_limited(fields.appended_query))] = ""
    base_url: Annotated[str, PlainValidator(_limited(fields.base_url))] = ""
    playlist: Annotated[str, PlainValidator(_limited(fields.playlist))] = ""


class SavedSettingsBody(_DefaultsBody):
    """
    POST /api/settings: what a GET answered may be sent back whole.
    """

    default_save_location: Annotated[str, PlainValidator(fields.text)] = ""
    limit_rate: Annotated[int, PlainValidator(fields.rate)] = 0
    limit_rate_per_host: Annotated[int, PlainValidator(fields.rate)] = 0
    limit_schedule: Annotated[str, PlainValidator(fields.rate_schedule)] = ""


class ChangeBody(_SettingsBody):
    """
    PUT /api/tasks: any of these, and at least one.
    """

    status: Annotated[str, PlainValidator(fields.one_of([status.value for status in WANTED]))] = ""
    url: Annotated[str, PlainValidator(_limited(fields.source_url))] = ""
    priority: Annotated[int, PlainValidator(fields.priority)] = 0
    queue: Annotated[int, PlainValidator(fields.queue_position)] = 0
    limit_rate: Annotated[int, PlainValidator(fields.rate)] = 0
    merge: Boolean = False
    repair: Boolean = False
    faststart: Boolean = False
    allow_gaps: Boolean = False
    groups: Annotated[str, PlainValidator(fields.groups)] = ""
    subtitle_files: Annotated[str, PlainValidator(fields.subtitle_files)] = "vtt"
    on_param_change: Annotated[str, PlainValidator(fields.one_of(PARAM_CHANGES))] = "keep"
    low_disk: Boolean = False
    report: Boolean = False
    header_hosts: Annotated[tuple[str, ...], PlainValidator(fields.header_hosts)] = ()


class CurlBody(BaseModel):
    """
    POST /api/curl.
    """

    model_config = ConfigDict(extra="ignore")

    command: Annotated[str, PlainValidator(fields.curl_command)]


_FIXED = frozenset(TaskBody.model_fields) - frozenset(ChangeBody.model_fields)
"""What a task is made with and cannot be changed: known, but no field of a change."""

_PLACES = ("save_location", "temp_directory")
"""Settings that stay what they were when the task was created: its files are there."""


Body = TypeVar("Body", bound=BaseModel)


# -- Reading them ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SettingsDraft:
    """
    Valid system settings as sent: a password of "***" still stands for the stored one.
    """

    system: SystemSettings
    warnings: tuple[str, ...] = ()

    def over(self, current: SystemSettings) -> SystemSettings:
        """
        The settings to save, given those that are saved now.
        """
        if self.system.settings.proxy_password != MASK:
            return self.system
        kept = attrs.evolve(self.system.settings, proxy_password=current.settings.proxy_password)
        return attrs.evolve(self.system, settings=kept)


def is_too_large(body: bytes, limits: WebLimits = DEFAULTS) -> bool:
    """
    Whether a task's body is larger than one may be without a playlist. The gate leaves room for one in every body, and
    that room is not for anything else: reading a million fields takes long.
    """
    most = limits.task_body_bytes
    if len(body) <= most:
        return False
    text = body.decode("utf-8", "surrogateescape")
    found = _PLAYLIST.search(text)
    try:
        rest = text if found is None else text[: found.start()] + text[_LENIENT.raw_decode(text, found.end())[1] :]
    except ValueError:  # it does not end
        return True
    return len(rest) > most or len(rest.encode("utf-8", "surrogateescape")) > most


def parse_task(
    body: bytes,
    *,
    mergers: Sequence[str] = MERGERS,
    storages: Sequence[str] = STORAGES,
    limits: WebLimits = DEFAULTS,
) -> TaskDraft:
    """
    A task out of the body of POST /api/tasks.

    Raises:
        InvalidRequest: naming every wrong field.
    """
    read, unknown = _read(TaskBody, body, {"mergers": tuple(mergers), "storages": tuple(storages)}, limits)
    problems = list(_proxy_problems(read, used=read.advanced))
    if read.proxy_password == MASK:
        problems.append(
            Said(f"proxy_password: 新任务不能使用 {MASK}", f"proxy_password: {MASK} means nothing in a new task")
        )
    if problems:
        raise InvalidRequest(problems=joined(problems))
    headers, dropped = clean_headers(read.http_headers)
    return TaskDraft(
        url=read.url,
        filename=read.filename,
        headers=headers if read.use_http_headers else MappingProxyType({}),
        advanced=read.advanced,
        given=MappingProxyType(_given_settings(read)) if read.advanced else MappingProxyType({}),
        extensions=MappingProxyType(
            {name: getattr(read, name) for name in _EXTENSION_NAMES if name in read.model_fields_set}
        ),
        playlist=read.playlist,
        priority=read.priority,
        warnings=(*_ignored(read), *(dropped if read.use_http_headers else ()), *unknown),
    )


def parse_change(body: bytes, *, limits: WebLimits = DEFAULTS) -> TaskChange:
    """
    A change out of the body of PUT /api/tasks. The states that can be asked for are 等待中 and 已暂停. A proxy's
    password of "***" stands for the one that the task has.

    Raises:
        InvalidRequest: no known field, or a wrong one.
    """
    read, unknown = _read(ChangeBody, body, {}, limits)
    given = _given_settings(read)
    fixed = [_unchangeable(name) for name in _object(body) if name in _FIXED]
    problems = [_unchangeable(name) for name in _PLACES if name in given]
    if not read.model_fields_set:
        problems += [*(fixed or [_NOTHING]), *unknown]
    if read.merge and read.repair:
        problems.append(Said("repair: 不能与 merge 同时为 true", "repair: must not be true together with merge"))
    if given.keys() & set(_PROXY_NAMES):
        problems += _proxy_problems(read, used=True)
    if problems:
        raise InvalidRequest(problems=joined(problems))
    if given.get("proxy_password") == MASK:
        del given["proxy_password"]
    return TaskChange(
        status=Status(read.status) if read.status else None,
        given=MappingProxyType(given),
        extensions=MappingProxyType(
            {name: getattr(read, name) for name in _EXTENSION_NAMES if name in read.model_fields_set}
        ),
        url=read.url,
        again="merge" if read.merge else "repair" if read.repair else "",
        priority=read.priority if "priority" in read.model_fields_set else None,
        position=read.queue,
        warnings=(*(said("{problem}，已忽略", "{problem}, ignored", problem=each) for each in fixed), *unknown),
    )


def parse_settings(
    body: bytes, *, mergers: Sequence[str] = MERGERS, storages: Sequence[str] = STORAGES
) -> SettingsDraft:
    """
    System settings out of the body of POST /api/settings: a field that is absent gets its default.

    Raises:
        InvalidRequest: naming every wrong field.
    """
    read, unknown = _read(SavedSettingsBody, body, {"mergers": tuple(mergers), "storages": tuple(storages)})
    problems = list(_proxy_problems(read, used=True))
    if problems:
        raise InvalidRequest(problems=joined(problems))
    system = SystemSettings(
        settings=Settings(**{name: getattr(read, name) for name in SETTING_NAMES}),
        **{name: getattr(read, name) for name in (*DEFAULT_NAMES, *LIMIT_NAMES)},
    )
    return SettingsDraft(system=system, warnings=unknown)


def parse_curl_request(body: bytes, *, limits: WebLimits = DEFAULTS) -> dict[str, Any]:
    """
    The answer to POST /api/curl: a body for POST /api/tasks that is valid, and what there is to say about the command.

    Raises:
        InvalidRequest: the request is none, or the command comes to a task that would be refused.
        BadCurlCommand: no task can be made of the command.
    """
    read, unknown = _read(CurlBody, body, {}, limits)
    line = parse_curl(read.command, limits)
    task = task_fields(line)
    parse_task(json.dumps(task).encode("ascii"), limits=limits)
    warnings = [*line.warnings, *unknown]
    return {**task, "warnings": [str(each) for each in warnings], "warnings_en": [each.en for each in warnings]}


def _read(
    model: type[Body], body: bytes, context: Mapping[str, Any], limits: WebLimits = DEFAULTS
) -> tuple[Body, tuple[Said, ...]]:
    """
    `body` as this model, and a warning about the fields that nobody knows.
    """
    value = _object(body)
    try:
        has_playlist = bool(value.get("playlist"))
        read = model.model_validate(value, context={**context, "limits": limits, "has_playlist": has_playlist})
    except ValidationError as error:
        raise InvalidRequest(problems=joined(_problems(error))) from None
    besides = {ChangeBody: _FIXED, TaskBody: _ECHOED}
    known = model.model_fields.keys() | besides.get(model, frozenset())
    unknown = [name for name in value if name not in known]
    return read, (_unknown(unknown[:20]),) if unknown else ()


def _object(body: bytes) -> dict[str, Any]:
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest(problems=Said("请求体必须是 JSON 对象", "the body must be a JSON object"))
    return value


def _problems(error: ValidationError) -> Iterator[Said]:
    for each in error.errors(include_url=False):
        name = str(each["loc"][0])
        if each["type"] == "missing":
            yield Said(f"{name}: 缺少必填字段", f"{name}: is needed")
        else:
            yield problem_of(name, each["ctx"]["error"], each["input"])


def problem_of(name: str, error: ValueError, value: Any) -> Said:
    """
    What a rule has to say about the value of a field.
    """
    return said("{name}: {why}{value}", "{name}: {why}{value}", name=name, why=error.args[0], value=shown(name, value))


def shown(name: str, value: Any) -> Said:
    """
    A bad value for people: shortened, redacted, and not at all where it could be a secret.
    """
    if name in _UNSHOWN:
        return Said("", "")
    if isinstance(value, str):
        text = _short(redact_url(value) if name in _LINKS else redact_text(value))
        return Said(f"（“{text}”）", f" (“{text}”)")
    if isinstance(value, dict | list):
        return Said("（对象）", " (an object)") if isinstance(value, dict) else Said("（数组）", " (a list)")
    return Said(f"（{json.dumps(value)}）", f" ({json.dumps(value)})")


def _unchangeable(name: str) -> Said:
    return Said(f"{name}: 任务创建后不能更改", f"{name}: stays as it was when the task was created")


def _unknown(names: Sequence[str]) -> Said:
    shortened = [_short(name) for name in names]
    return Said(f"未知字段，已忽略：{'、'.join(shortened)}", f"unknown fields, ignored: {', '.join(shortened)}")


def _short(text: str) -> str:
    text = escape_controls(text)
    return text if len(text) <= 60 else text[:59] + "…"


# -- Settings in a task ----------------------------------------------------------------------------------------------


def _given_settings(read: _SettingsBody) -> dict[str, Any]:
    """
    The settings the request names. Proxy fields come as a group: a request that names one of them names the proxy, so
    that the saved password of one proxy never reaches another.
    """
    named = read.model_fields_set.intersection(SETTING_NAMES)
    if named.intersection(_PROXY_NAMES):
        named = named.union(_PROXY_NAMES)
    return {name: getattr(read, name) for name in SETTING_NAMES if name in named}


def _proxy_problems(read: _SettingsBody, *, used: bool) -> Iterator[Said]:
    """
    What makes the proxy fields unusable together. A task that does not use its settings must not name a proxy:
    ignoring one would connect directly.
    """
    wanted = read.proxy_type != "none"
    if not used:
        if wanted or read.proxy_host:
            yield Said(
                "proxy_type: 仅在 advanced 为 true 时有效，任务不会忽略代理直接连接",
                "proxy_type: counts only where advanced is true, and no task goes past a proxy to connect directly",
            )
        return
    if wanted and not read.proxy_host:
        yield Said(
            f"proxy_host: 使用 {read.proxy_type} 代理时必填", f"proxy_host: is needed with a proxy of {read.proxy_type}"
        )
    if wanted and not read.proxy_port:
        yield Said(
            f"proxy_port: 使用 {read.proxy_type} 代理时必须是 1 到 65535 的整数",
            f"proxy_port: must be a whole number from 1 to 65535 with a proxy of {read.proxy_type}",
        )
    if read.proxy_host and "proxy_type" not in read.model_fields_set:
        yield Said("proxy_type: 填写 proxy_host 时必填", "proxy_type: is needed with proxy_host")


def _ignored(read: TaskBody) -> Iterator[Said]:
    """
    Warnings for fields whose switch is off.
    """
    settings = [name for name in SETTING_NAMES if name in read.model_fields_set]
    if settings and not read.advanced:
        zh, en = "advanced 不为 true，已忽略：{names}", "advanced is not true, ignored: {names}"
        yield said(zh, en, names=joined(settings, zh="、", en=", "))
    if read.http_headers and not read.use_http_headers:
        yield Said(
            "use_http_headers 不为 true，已忽略：http_headers", "use_http_headers is not true, ignored: http_headers"
        )
