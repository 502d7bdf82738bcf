"""
The door: request bodies and queries to the values the rest of the service trusts.

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

from m3u8svc.errors import InvalidRequest, MissingTaskId, TaskNotFound
from m3u8svc.redact import escape_controls, redact_text, redact_url
from m3u8svc.tasks.headers import clean_headers
from m3u8svc.tasks.lifecycle import WANTED
from m3u8svc.tasks.task import SETTING_NAMES, Extensions, Settings, Status, TaskChange, TaskDraft
from m3u8svc.web import fields
from m3u8svc.web.fields import MASK
from m3u8svc.web.strictjson import read_json

__all__ = [
    "MASK",
    "ListQuery",
    "SettingsDraft",
    "parse_change",
    "parse_files",
    "parse_list_query",
    "parse_settings",
    "parse_task",
    "parse_task_id",
    "read_json",
]

MERGERS = ("mp4", "ts", "none")
STORAGES = ("disk",)
MAX_PAGE = 1000

_PROXY_NAMES = tuple(name for name in SETTING_NAMES if name.startswith("proxy_"))
_UNSHOWN = frozenset({"http_headers", "proxy_username", "proxy_password"})
"""Fields whose values are secrets: an error names them and says no more."""

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Query = Mapping[bytes, Sequence[bytes]]
"""A query string as Twisted gives it (`request.args`)."""


# -- The bodies ------------------------------------------------------------------------------------------------------

Boolean = Annotated[bool, PlainValidator(fields.boolean)]
Directory = Annotated[str, PlainValidator(fields.directory)]
Credential = Annotated[str, PlainValidator(fields.credential)]


def _known(kind: str) -> Callable[[Any, ValidationInfo], str]:
    """
    A rule for a name out of the list that `parse_task` was given for this kind.
    """
    return lambda value, info: fields.one_of((info.context or {})[kind])(value)


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


class _TaskBody(_SettingsBody):
    """
    POST /api/tasks: the seed's fields, then our extensions.
    """

    url: Annotated[str, PlainValidator(fields.source_url)]
    filename: Annotated[str, PlainValidator(fields.file_name)]
    use_http_headers: Boolean = False
    http_headers: Annotated[Mapping[str, tuple[str, ...]], PlainValidator(fields.header_map)] = Field(
        default_factory=dict
    )
    advanced: Boolean = False
    merger: Annotated[str, PlainValidator(_known("mergers"))] = "mp4"
    storage: Annotated[str, PlainValidator(_known("storages"))] = "disk"
    faststart: Boolean = False
    allow_gaps: Boolean = False


class _SavedSettingsBody(_SettingsBody):
    """
    POST /api/settings: what a GET answered may be sent back whole.
    """

    default_save_location: Annotated[str, PlainValidator(fields.text)] = ""


class _ChangeBody(BaseModel):
    """
    PUT /api/tasks.
    """

    model_config = ConfigDict(extra="ignore")

    status: Annotated[str, PlainValidator(fields.one_of([status.value for status in WANTED]))]


Body = TypeVar("Body", bound=BaseModel)


# -- Reading them ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SettingsDraft:
    """
    Valid system settings as sent: a password of "***" still stands for the stored one.
    """

    settings: Settings
    warnings: tuple[str, ...] = ()

    def over(self, current: Settings) -> Settings:
        """
        The settings to save, given those that are saved now.
        """
        if self.settings.proxy_password != MASK:
            return self.settings
        return attrs.evolve(self.settings, proxy_password=current.proxy_password)


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
        extensions=Extensions(**{each.name: getattr(read, each.name) for each in attrs.fields(Extensions)}),
        warnings=(*_ignored(read), *(dropped if read.use_http_headers else ()), *unknown),
    )


def parse_change(body: bytes) -> TaskChange:
    """
    A change out of the body of PUT /api/tasks. The states that can be asked for are 等待中 and 已暂停.

    Raises:
        InvalidRequest: no known field, or a wrong one.
    """
    read, unknown = _read(_ChangeBody, body)
    return TaskChange(status=Status(read.status), warnings=unknown)


def parse_settings(body: bytes) -> SettingsDraft:
    """
    System settings out of the body of POST /api/settings: a field that is absent gets its default.

    Raises:
        InvalidRequest: naming every wrong field.
    """
    read, unknown = _read(_SavedSettingsBody, body)
    problems = list(_proxy_problems(read, used=True))
    if problems:
        raise InvalidRequest(problems="; ".join(problems))
    return SettingsDraft(settings=Settings(**{name: getattr(read, name) for name in SETTING_NAMES}), warnings=unknown)


def _read(model: type[Body], body: bytes, context: Mapping[str, Any] | None = None) -> tuple[Body, tuple[str, ...]]:
    """
    `body` as this model, and a warning about the fields it does not have.
    """
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest(problems="请求体必须是 JSON 对象")
    try:
        read = model.model_validate(value, context=context)
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
            yield f"{name}: {each['ctx']['error']}{_shown(name, each['input'])}"


def _shown(name: str, value: Any) -> str:
    """
    A bad value for people: shortened, redacted, and not at all where it could be a secret.
    """
    if name in _UNSHOWN:
        return ""
    if isinstance(value, str):
        return f"（“{_short(redact_url(value) if name == 'url' else redact_text(value))}”）"
    if isinstance(value, dict | list):
        return "（对象）" if isinstance(value, dict) else "（数组）"
    return f"（{json.dumps(value)}）"


def _short(text: str) -> str:
    text = escape_controls(text)
    return text if len(text) <= 60 else text[:59] + "…"


# -- Settings in a task ----------------------------------------------------------------------------------------------


def _given_settings(read: _TaskBody) -> dict[str, Any]:
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


# -- Queries ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ListQuery:
    """
    Which tasks a GET asks for; without a limit all of them.
    """

    status: Status | None = None
    limit: int | None = None
    offset: int = 0


def parse_task_id(query: Query) -> str:
    """
    The ``id`` of a query.

    Raises:
        MissingTaskId: absent or empty.
        TaskNotFound: text that is no id of ours; it never reaches the store.
    """
    task_id = _one(query, "id")
    if not task_id:
        raise MissingTaskId()
    if not _TASK_ID.fullmatch(task_id):
        raise TaskNotFound()
    return task_id


def parse_list_query(query: Query) -> ListQuery:
    """
    ``status``, ``limit`` and ``offset`` of a GET.

    Raises:
        InvalidRequest: naming every wrong one.
    """
    rules: dict[str, Callable[[str], Any]] = {  # Any: each rule has its own result
        "status": lambda given: Status(fields.one_of([status.value for status in Status])(given)),
        "limit": lambda given: fields.integer(1, MAX_PAGE)(_number(given)),
        "offset": lambda given: fields.integer(0, 2**53)(_number(given)),
    }
    found: dict[str, Any] = {}
    problems = []
    for name, rule in rules.items():
        given = _one(query, name)
        try:
            if given is not None:
                found[name] = rule(given)
        except ValueError as error:
            problems.append(f"{name}: {error}{_shown(name, given)}")
    if problems:
        raise InvalidRequest(problems="; ".join(problems))
    return ListQuery(**found)


def parse_files(query: Query) -> bool:
    """
    Whether a DELETE asks for the output file too.
    """
    given = _one(query, "files")
    if given not in (None, "true", "false"):
        raise InvalidRequest(problems=f"files: 必须是 true 或 false{_shown('files', given)}")
    return given == "true"


def _one(query: Query, name: str) -> str | None:
    values = query.get(name.encode(), ())
    if len(values) > 1:
        raise InvalidRequest(problems=f"{name}: 只能出现一次")
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise InvalidRequest(problems=f"{name}: 不是 UTF-8") from None


def _number(digits: str) -> int | str:
    """
    Plain decimal digits as a number; anything else stays text, which no rule for integers takes.
    """
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else digits
