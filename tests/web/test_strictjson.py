"""
Strict JSON: what Python's parser accepts and our store would choke on is a clear 400.
"""

import re
import sys

import pytest

from m3u8svc.errors import InvalidRequest
from m3u8svc.web.strictjson import read_json

REFUSED = [
    (b"", "请求体为空"),
    (b"  \n", "请求体为空"),
    (b'{"a"', "第 1 行第 5 列"),
    (b"{'a': 1}", "不是有效的 JSON"),
    (b'\xef\xbb\xbf{"a":1}', "不是有效的 JSON"),
    (b'{"a":"\xff"}', "第 7 个字节不是 UTF-8"),
    (b"[" * 33 + b"]" * 33, "嵌套超过 32 层"),
    (b"[" * 100_000, "嵌套超过 32 层"),
    (b'{"a":' * 100_000, "嵌套超过 32 层"),
    (b'{"a": NaN}', "不允许 NaN"),
    (b'{"a": -Infinity}', "不允许 -Infinity"),
    (b'{"a": 1e400}', "数字过大"),
    (b'{"a": 9007199254740993}', "±2^53"),
    (b'{"a": -9007199254740993}', "±2^53"),
    (b'{"a": ' + b"9" * 5000 + b"}", "±2^53"),
    (b'{"a": 1, "b": {"url": 1, "url": 2}}', "字段重复：url"),
    (b'{"\\ud800": 1, "\\ud800": 2}', "字段重复：\\ud800"),
    (b'{"url": "\\ud800"}', "url: 含有不成对的代理字符"),
    (b'{"http_headers": {"X": ["a\\u0000b"]}}', "http_headers.X.0: 含有 NUL 字符"),
    (b'{"a\\u0000": 1}', "含有 NUL 字符"),
    (b'{"a": {"b": "\\u0000"}, "c": {"d": 1}}', "a.b: 含有 NUL 字符"),
    (b'[["\\u0000"], [1]]', "0.0: 含有 NUL 字符"),
    (b'"\\u0000"', "请求体: 含有 NUL 字符"),
    (b'{"' + b"n" * 61 + b'": 1, "' + b"n" * 61 + b'": 2}', f"字段重复：{'n' * 60}…"),
    (b'{"url": "\\uD800"}', "url: 含有不成对的代理字符"),
    (b'{"a\\udfff": 1}', "含有不成对的代理字符"),
    (b'{"a": [{"b": []}, {"c": "\\ude00\\ud83d"}]}', "a.1.c: 含有不成对的代理字符"),
    (b'{"a": 1, "b": 2, "c": 3, "b": 4, "a": 5}', "字段重复：b"),
    (b"[" * 32 + b"{}" + b"]" * 32, "嵌套超过 32 层"),
    (b'{"\\u001b' + b"n" * 59 + b'": 1, "\\u001b' + b"n" * 59 + b'": 2}', "字段重复：\\x1b" + "n" * 59),
]


@pytest.mark.parametrize(("body", "problem"), REFUSED, ids=range(len(REFUSED)))
def test_read_json_when_refused(body, problem):
    """Every kind of bad JSON is an `InvalidRequest` that says what is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        read_json(body)
    assert problem in caught.value.text()
    assert not re.search("[\u3000-\u9fff\uff00-\uffef]", caught.value.text("en"))


ACCEPTED = [
    (b"[" * 32 + b"]" * 32, None),
    (b"[" * 32 + b'"deep"' + b"]" * 32, None),
    (b'{"a": 9007199254740992}', {"a": 2**53}),
    (b'{"a": -9007199254740992}', {"a": -(2**53)}),
    (rb'{"a": "\\u0000", "b": "\\ud800"}', {"a": r"\u0000", "b": r"\ud800"}),
    (b'{"a": 16.0, "b": [true, null]}', {"a": 16.0, "b": [True, None]}),
    ('{"名": "😀"}'.encode(), {"名": "😀"}),
    (b'"\\ud83d\\ude00"', "😀"),
]


@pytest.mark.parametrize(("body", "value"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_read_json_at_the_limits(body, value):
    """What is just within the limits is read as it is."""
    read = read_json(body)
    assert value is None or read == value


@pytest.mark.parametrize(
    "piece", [b"0", b"[]", b"[0]", b'""', b'"a"', b"{}", b'{"":0}', b"1e5", b"9007199254740992"], ids=repr
)
@pytest.mark.parametrize("more", [b"0", b'"\\ud83d\\ude00"'], ids=["plain", "escapes"])
def test_read_json_when_there_is_much_of_it(piece, more):
    """A quarter of a megabyte of anything is read, in steps whose number grows as the text does and no faster."""
    steps = [steps_of(b"[" + b",".join([piece] * count) + b"," + more + b"]") for count in (500, 1000, 2000)]
    assert steps[2] - steps[1] <= 2.1 * (steps[1] - steps[0]) + 20
    assert 2000 * 60 > steps[2]


def steps_of(body):
    """How many calls of Python and lines of it reading this takes: what time it takes, on any machine."""
    counted = 0

    def trace(frame, event, argument):
        nonlocal counted
        counted += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read_json(body)
    finally:
        sys.settrace(before)
    return counted
