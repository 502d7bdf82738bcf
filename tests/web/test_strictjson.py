"""
Strict JSON: what Python's parser accepts and our store would choke on is a clear 400.
"""

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
    (b'{"url": "\\ud800"}', "url: 含有不成对的代理字符"),
    (b'{"http_headers": {"X": ["a\\u0000b"]}}', "http_headers.X.0: 含有 NUL 字符"),
    (b'{"a\\u0000": 1}', "含有 NUL 字符"),
]


@pytest.mark.parametrize(("body", "problem"), REFUSED, ids=range(len(REFUSED)))
def test_read_json_when_refused(body, problem):
    """Every kind of bad JSON is an `InvalidRequest` that says what is wrong."""
    with pytest.raises(InvalidRequest) as caught:
        read_json(body)
    assert problem in caught.value.text()


ACCEPTED = [
    (b"[" * 32 + b"]" * 32, None),
    (b'{"a": 9007199254740992}', {"a": 2**53}),
    (b'{"a": 16.0, "b": [true, null]}', {"a": 16.0, "b": [True, None]}),
    ('{"名": "😀"}'.encode(), {"名": "😀"}),
    (b'"\\ud83d\\ude00"', "😀"),
]


@pytest.mark.parametrize(("body", "value"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_read_json_at_the_limits(body, value):
    """What is just within the limits is read as it is."""
    read = read_json(body)
    assert value is None or read == value
