"""
The door's other half: what the query of a request asks for.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any  # Any: each rule has its own result

from m3u8svc.errors import InvalidRequest, MissingTaskId, TaskNotFound
from m3u8svc.tasks.search import MAX_TEXT, Search, Sort
from m3u8svc.tasks.task import Status
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.web import fields
from m3u8svc.web.schema import problem_of
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said, joined

_NO_FLAG = ValueError(Said("必须是 true 或 false", "must be true or false"))
_NO_DEPTH = ValueError(Said("必须是 true、full 或 false", "must be true, full or false"))
_NO_TEXT = ValueError(
    Said(f"最多 {MAX_TEXT} 个字符，不含控制字符", f"must have at most {MAX_TEXT} characters, and no control characters")
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
ORDERS = ("asc", "desc")
DESCENDING = "desc"
_NAMES = {"q": "text", "order": "descending"}
"""What a `Search` calls what a query calls otherwise."""
MOST_TRACKS = 10_000
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Query = Mapping[bytes, Sequence[bytes]]
"""A query string as Twisted gives it (`request.args`)."""


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


def parse_list_query(query: Query, limits: WebLimits = DEFAULTS) -> Search:
    """
    ``status``, ``q``, ``sort``, ``order``, ``limit`` and ``offset`` of a GET.

    Raises:
        InvalidRequest: naming every wrong one.
    """
    rules: dict[str, Callable[[str], Any]] = {  # Any: each rule has its own result
        "status": lambda given: Status(fields.one_of([status.value for status in Status])(given)),
        "q": _searched,
        "sort": lambda given: Sort(fields.one_of([sort.value for sort in Sort])(given)),
        "order": lambda given: fields.one_of(ORDERS)(given) == DESCENDING,
        "limit": lambda given: fields.integer(1, limits.page_tasks)(_number(given)),
        "offset": lambda given: fields.integer(0, 2**53)(_number(given)),
    }
    found: dict[str, Any] = {}
    problems = []
    for name, rule in rules.items():
        given = _one(query, name)
        try:
            if given is not None:
                found[_NAMES.get(name, name)] = rule(given)
        except ValueError as error:
            problems.append(problem_of(name, error, given))
    if problems:
        raise InvalidRequest(problems=joined(problems))
    return Search(**found)


def parse_files(query: Query) -> bool:
    """
    Whether a DELETE asks for the output file too.
    """
    return parse_flag(query, "files")


def parse_flag(query: Query, name: str) -> bool:
    """
    A yes or no of this name, no where it is absent.
    """
    given = _one(query, name)
    if given not in (None, "true", "false"):
        raise InvalidRequest(problems=problem_of(name, _NO_FLAG, given))
    return given == "true"


def parse_dry_run(query: Query) -> bool:
    """
    Whether a POST only asks what the task would do.
    """
    return parse_flag(query, "dry_run")


def parse_depth(query: Query) -> str | None:
    """
    How closely a GET asks to look at a task's file: "true", or "full" to decode it; None where it does not ask.
    """
    given = _one(query, "verify")
    if given not in (None, "true", "false", "full"):
        raise InvalidRequest(problems=problem_of("verify", _NO_DEPTH, given))
    return None if given == "false" else given


def _one(query: Query, name: str) -> str | None:
    values = query.get(name.encode(), ())
    if len(values) > 1:
        raise InvalidRequest(problems=Said(f"{name}: 只能出现一次", f"{name}: may be there only once"))
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise InvalidRequest(problems=Said(f"{name}: 不是 UTF-8", f"{name}: is not UTF-8")) from None


def _searched(text: str) -> str:
    if len(text) > MAX_TEXT or _CONTROL.search(text):
        raise _NO_TEXT
    return text


def _number(digits: str) -> int | str:
    """
    Plain decimal digits as a number; anything else stays text, which no rule for integers takes.
    """
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else digits


def parse_track(query: Query) -> int | None:
    """
    The number of a track, 0 the main one; None where none is named.
    """
    given = _one(query, "track")
    return None if given is None else _integer("track", given, 0, MOST_TRACKS)


def parse_position(query: Query) -> int:
    """
    The number of a segment, from 1.

    Raises:
        InvalidRequest: there is none.
    """
    given = _one(query, "segment")
    if given is None:
        raise InvalidRequest(problems=Said("segment: 缺少必填字段", "segment: is needed"))
    return _integer("segment", given, 1, 2**31 - 1)


def parse_piece(query: Query) -> Wanted:
    """
    Which segment a player asks for.

    Raises:
        InvalidRequest: it does not say so.
    """
    position = parse_position(query)
    return Wanted(track=parse_track(query) or 0, position=position, init=parse_flag(query, "init"))


def _integer(name: str, given: str, least: int, most: int) -> int:
    try:
        found: int = fields.integer(least, most)(_number(given))
    except ValueError as error:
        raise InvalidRequest(problems=problem_of(name, error, given)) from None
    return found
