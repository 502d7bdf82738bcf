"""
The door: request bodies to the values the rest of the service trusts.

Each body is a pydantic model whose fields are ruled by `fields.py`. Everything wrong is told at once, in Chinese, by
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
from m3u8svc.tasks.headers import clean_headers
from m3u8svc.tasks.lifecycle import WANTED
from m3u8svc.tasks.task import (
    DEFAULT_NAMES,
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
from m3u8svc.web.fields import MASK
from m3u8svc.web.gate import FIELDS_BYTES
from m3u8svc.web.strictjson import read_json

MERGERS = ("mp4", "ts", "none")
STORAGES = ("disk",)

_PROXY_NAMES = tuple(name for name in SETTING_NAMES if name.startswith("proxy_"))
_EXTENSION_NAMES = tuple(each.name for each in attrs.fields(Extensions))
_UNSHOWN = frozenset({"http_headers", "proxy_username", "proxy_password", "key", "iv", "append_query", "playlist"})
"""Fields whose values are secrets, or hold some: an error names them and says no more."""
_PLAYLIST = re.compile(rb'"playlist"\s*+:\s*+"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_LINKS = frozenset({"url", "base_url"})


# -- The bodies ------------------------------------------------------------------------------------------------------

Boolean = Annotated[bool, PlainValidator(fields.boolean)]
Directory = Annotated[str, PlainValidator(fields.directory)]
PluginOptions = Annotated[Mapping[str, Mapping[str, Any]], PlainValidator(fields.plugin_options)]
Credential = Annotated[str, PlainValidator(fields.credential)]


def _known(kind: str) -> Callable[[Any, ValidationInfo], str]:
    """
    A rule for a name out of the list that `parse_task` was given for this kind.
    """
    return lambda value, info: fields.one_of((info.context or {})[kind])(value)


def _source(value: Any, info: ValidationInfo) -> str:
    """
    The rule for the URL of a task: it may be empty where a playlist comes with the request.
    """
    return "" if value == "" and (info.context or {})["has_playlist"] else fields.source_url(value)


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

    merger: Annotated[str, PlainValidator(_known("mergers"))] = "mp4"
    storage: Annotated[str, PlainValidator(_known("storages"))] = "disk"
    variant: Annotated[str, PlainValidator(fields.variant)] = "best"
    audio: Annotated[str, PlainValidator(fields.audio)] = ""
    subtitles: Annotated[str, PlainValidator(fields.subtitles)] = "none"
    subtitle_files: Annotated[str, PlainValidator(fields.subtitle_files)] = "vtt"
    on_param_change: Annotated[str, PlainValidator(fields.one_of(PARAM_CHANGES))] = "keep"
    low_disk: Boolean = False
    report: Boolean = False
    plugins: PluginOptions = Field(default_factory=dict)


class _TaskBody(_DefaultsBody):
    """
    POST /api/tasks: the seed's fields, then our extensions. `url` is needed, and may be empty beside a `playlist`.
    """

    url: Annotated[str, PlainValidator(_source)]
    filename: Annotated[str, PlainValidator(fields.file_name)]
    use_http_headers: Boolean = False
    http_headers: Annotated[Mapping[str, tuple[str, ...]], PlainValidator(fields.header_map)] = Field(
        default_factory=dict
    )
    advanced: Boolean = False
    faststart: Boolean = False
    allow_gaps: Boolean = False
    groups: Annotated[str, PlainValidator(fields.groups)] = ""
    key: Annotated[str, PlainValidator(fields.stream_key)] = ""
    iv: Annotated[str, PlainValidator(fields.stream_iv)] = ""
    append_query: Annotated[str, PlainValidator(fields.appended_query)] = ""
    base_url: Annotated[str, PlainValidator(fields.base_url)] = ""
    playlist: Annotated[str, PlainValidator(fields.playlist)] = ""


class _SavedSettingsBody(_DefaultsBody):
    """
    POST /api/settings: what a GET answered may be sent back whole.
    """

    default_save_location: Annotated[str, PlainValidator(fields.text)] = ""


class _ChangeBody(_SettingsBody):
    """
    PUT /api/tasks: any of these, and at least one.
    """

    status: Annotated[str, PlainValidator(fields.one_of([status.value for status in WANTED]))] = ""
    merge: Boolean = False
    repair: Boolean = False
    faststart: Boolean = False
    allow_gaps: Boolean = False
    groups: Annotated[str, PlainValidator(fields.groups)] = ""
    subtitle_files: Annotated[str, PlainValidator(fields.subtitle_files)] = "vtt"
    on_param_change: Annotated[str, PlainValidator(fields.one_of(PARAM_CHANGES))] = "keep"
    low_disk: Boolean = False
    report: Boolean = False


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


def is_too_large(body: bytes) -> bool:
    """
    Whether a task's body is larger than one may be without a playlist. The gate leaves room for one in every body, and
    that room is not for anything else: reading a million fields takes long.
    """
    if len(body) <= FIELDS_BYTES:
        return False
    found = _PLAYLIST.search(body)
    return len(body) - (len(found[0]) if found else 0) > FIELDS_BYTES


def parse_task(body: bytes, *, mergers: Sequence[str] = MERGERS, storages: Sequence[str] = STORAGES) -> TaskDraft:
    """
    A task out of the body of POST /api/tasks.

    Raises:
        InvalidRequest: naming every wrong field.
    """
    read, unknown = _read(_TaskBody, body, {"mergers": tuple(mergers), "storages": tuple(storages)})
    problems = list(_proxy_problems(read, used=read.advanced))
    if read.proxy_password == MASK:
        problems.append(f"proxy_password: 新任务不能使用 {MASK}")
    if problems:
        raise InvalidRequest(problems="; ".join(problems))
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
        warnings=(*_ignored(read), *(dropped if read.use_http_headers else ()), *unknown),
    )


def parse_change(body: bytes) -> TaskChange:
    """
    A change out of the body of PUT /api/tasks. The states that can be asked for are 等待中 and 已暂停. A proxy's
    password of "***" stands for the one that the task has.

    Raises:
        InvalidRequest: no known field, or a wrong one.
    """
    read, unknown = _read(_ChangeBody, body)
    given = _given_settings(read)
    problems = [f"{name}: 任务创建后不能更改" for name in _PLACES if name in given]
    if not read.model_fields_set:
        problems += ["status: 缺少必填字段（或者 merge、repair、任一可更改的设置）", *unknown]
    if read.merge and read.repair:
        problems.append("repair: 不能与 merge 同时为 true")
    if given.keys() & set(_PROXY_NAMES):
        problems += _proxy_problems(read, used=True)
    if problems:
        raise InvalidRequest(problems="; ".join(problems))
    if given.get("proxy_password") == MASK:
        del given["proxy_password"]
    return TaskChange(
        status=Status(read.status) if read.status else None,
        given=MappingProxyType(given),
        extensions=MappingProxyType(
            {name: getattr(read, name) for name in _EXTENSION_NAMES if name in read.model_fields_set}
        ),
        again="merge" if read.merge else "repair" if read.repair else "",
        warnings=unknown,
    )


def parse_settings(
    body: bytes, *, mergers: Sequence[str] = MERGERS, storages: Sequence[str] = STORAGES
) -> SettingsDraft:
    """
    System settings out of the body of POST /api/settings: a field that is absent gets its default.

    Raises:
        InvalidRequest: naming every wrong field.
    """
    read, unknown = _read(_SavedSettingsBody, body, {"mergers": tuple(mergers), "storages": tuple(storages)})
    problems = list(_proxy_problems(read, used=True))
    if problems:
        raise InvalidRequest(problems="; ".join(problems))
    system = SystemSettings(
        settings=Settings(**{name: getattr(read, name) for name in SETTING_NAMES}),
        **{name: getattr(read, name) for name in DEFAULT_NAMES},
    )
    return SettingsDraft(system=system, warnings=unknown)


def _read(model: type[Body], body: bytes, context: Mapping[str, Any] | None = None) -> tuple[Body, tuple[str, ...]]:
    """
    `body` as this model, and a warning about the fields it does not have.
    """
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest(problems="请求体必须是 JSON 对象")
    try:
        read = model.model_validate(value, context={**(context or {}), "has_playlist": bool(value.get("playlist"))})
    except ValidationError as error:
        raise InvalidRequest(problems="; ".join(_problems(error))) from None
    unknown = [_short(name) for name in value if name not in model.model_fields]
    return read, (f"未知字段，已忽略：{'、'.join(unknown[:20])}",) if unknown else ()


def _problems(error: ValidationError) -> Iterator[str]:
    for each in error.errors(include_url=False):
        name = str(each["loc"][0])
        if each["type"] == "missing":
            yield f"{name}: 缺少必填字段"
        else:
            yield f"{name}: {each['ctx']['error']}{shown(name, each['input'])}"


def shown(name: str, value: Any) -> str:
    """
    A bad value for people: shortened, redacted, and not at all where it could be a secret.
    """
    if name in _UNSHOWN:
        return ""
    if isinstance(value, str):
        return f"（“{_short(redact_url(value) if name in _LINKS else redact_text(value))}”）"
    if isinstance(value, dict | list):
        return "（对象）" if isinstance(value, dict) else "（数组）"
    return f"（{json.dumps(value)}）"


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


def _proxy_problems(read: _SettingsBody, *, used: bool) -> Iterator[str]:
    """
    What makes the proxy fields unusable together. A task that does not use its settings must not name a proxy:
    ignoring one would connect directly.
    """
    wanted = read.proxy_type != "none"
    if not used:
        if wanted or read.proxy_host:
            yield "proxy_type: 仅在 advanced 为 true 时有效，任务不会忽略代理直接连接"
        return
    if wanted and not read.proxy_host:
        yield f"proxy_host: 使用 {read.proxy_type} 代理时必填"
    if wanted and not read.proxy_port:
        yield f"proxy_port: 使用 {read.proxy_type} 代理时必须是 1 到 65535 的整数"
    if read.proxy_host and "proxy_type" not in read.model_fields_set:
        yield "proxy_type: 填写 proxy_host 时必填"


def _ignored(read: _TaskBody) -> Iterator[str]:
    """
    Warnings for fields whose switch is off.
    """
    settings = [name for name in SETTING_NAMES if name in read.model_fields_set]
    if settings and not read.advanced:
        yield f"advanced 不为 true，已忽略：{'、'.join(settings)}"
    if read.http_headers and not read.use_http_headers:
        yield "use_http_headers 不为 true，已忽略：http_headers"
