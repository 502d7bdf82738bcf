"""
JSON read strictly (R-WEB-4): what Python's parser lets through and a store or a file system later chokes on is refused
here, with a text that says what and where.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn  # Any: what JSON holds is known only after it was checked

from m3u8svc.errors import InvalidRequest
from m3u8svc.redact import escape_controls

MAX_DEPTH = 32
MAX_INTEGER = 2**53
_LONE = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = 20
"""Digits and sign; longer ones are refused before they are converted (a conversion of thousands is quadratic)."""


def read_json(body: bytes) -> object:
    """
    The value that `body` holds.

    Raises:
        InvalidRequest: not UTF-8, not JSON, or JSON beyond what R-WEB-4 allows.
    """
    value = _parsed(_decoded(body))
    for path, each in _walk(value):
        _check(path, each)
    return value


def _decoded(body: bytes) -> str:
    if not body.strip():
        _refuse("请求体为空")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"第 {error.start + 1} 个字节不是 UTF-8")


def _parsed(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=lambda name: _refuse(f"不允许 {name}"),
            parse_int=_integer,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        _refuse(f"不是有效的 JSON（第 {error.lineno} 行第 {error.colno} 列）")
    except RecursionError:
        # Python's own limit comes long after ours, but before the whole text is read.
        _refuse(f"JSON 嵌套超过 {MAX_DEPTH} 层")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            _refuse(f"字段重复：{_named(name)}")
        found[name] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER or abs(int(digits)) > MAX_INTEGER:
        _refuse(f"整数超出 ±2^53：{digits[:_LONGEST_INTEGER]}")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        _refuse(f"数字过大：{digits[:_LONGEST_INTEGER]}")
    return number


def _walk(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """
    Every value inside `value` with the path to it, without recursion.
    """
    todo: list[tuple[tuple[str, ...], Any]] = [((), value)]
    while todo:
        path, each = todo.pop()
        yield path, each
        if isinstance(each, dict):
            todo += [((*path, name), inner) for name, inner in each.items()]
        elif isinstance(each, list):
            todo += [((*path, str(index)), inner) for index, inner in enumerate(each)]


def _check(path: tuple[str, ...], value: Any) -> None:
    """
    Refuse what is too deep, and text no database or file name can hold.
    """
    if len(path) + isinstance(value, dict | list) > MAX_DEPTH:
        _refuse(f"JSON 嵌套超过 {MAX_DEPTH} 层")
    texts = [text for text in (value, path[-1] if path else "") if isinstance(text, str)]
    for text in texts:
        where = _named(".".join(path)) if path else "请求体"
        if "\0" in text:
            _refuse(f"{where}: 含有 NUL 字符")
        if _LONE.search(text):
            _refuse(f"{where}: 含有不成对的代理字符")


def _named(name: str) -> str:
    """
    A name out of the request, short and printable.
    """
    shown = escape_controls(name[:60]).encode("utf-8", "backslashreplace").decode("utf-8")
    return shown + ("…" if len(name) > 60 else "")


def _refuse(problem: str) -> NoReturn:
    raise InvalidRequest(problems=problem)
