# ruff: noqa: E501  # tables of strange things, a kind in a line
"""
Requests that no generator of a document makes: strange JSON, strange HTTP. Each is the bytes of one connection, and how
many requests they are meant to be.
"""

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from m3u8svc.web import gate
from m3u8svc.web.openapi_texts import FIELDS

HOST = "HOST"
"""Stands for the service's own address."""


@attrs.frozen(kw_only=True)
class Raw:
    """
    What is written, in these pieces; `method` and `path` of a request whose answer can be judged by the document, else
    "". `count` is how many requests it is.
    """

    pieces: tuple[bytes, ...]
    method: str = ""
    path: str = ""
    count: int = 1


STRANGE_NUMBERS = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "9007199254740992", "9007199254740993", "-0", "0.0"]
    + ["16.0", "1e2", "9" * 400, "-" + "9" * 30, "1." + "0" * 3000, "01", "+1", ".5", "0x10"]
)
STRANGE_TEXTS = st.sampled_from(
    [
        '"\\u0000"',
        '"\\ud800"',
        '"\\udc00\\ud83d"',
        '"\\ud83d\\ude00"',
        '"\\u202e"',
        '"\\x"',
        '"a\nb"',
        '"',
        "'a'",
        '"\\u12"',
    ]
    + [
        json.dumps(each)
        for each in ("../x", "..", ".", "CON", "a:b", "-x", "x.", "\x7f", "\u2028", "~root", "file:///etc")
    ]
    + [json.dumps("x" * size) for size in (199, 200, 201, 4096, 8192, 8193, 20_000)]
    + [json.dumps("片" * size, ensure_ascii=False) for size in (66, 67, 2730, 2731)]
    + [
        json.dumps(f"http://{host}/i.m3u8")
        for host in ("a", "[::1]", "127.0.0.1", "0", "é", "a" * 300, "%00", "a b", "@", ":")
    ]
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        ["", "***", "none", "all", "best", "等待中", "已暂停", "first", "last", "socks5", "1-3", "time:0-1", "#EXTM3U"]
    ),
)
VALUES = st.recursive(
    PLAIN, lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4)
).map(lambda value: json.dumps(value, ensure_ascii=False))
DEEP = st.builds(
    lambda depth, pair, inside: pair[0] * depth + inside + pair[1] * depth,
    st.sampled_from([1, 30, 31, 32, 33, 1000, 5000]),
    st.sampled_from([("[", "]"), ('{"a":', "}"), ("[[],", "]"), ("[", "")]),
    st.sampled_from(["", "1", '"x"']),
)
MANY = st.builds(
    lambda piece, count: "[" + ",".join([piece] * count) + "]",
    st.sampled_from(["0", "[]", '""', "{}", "[0]", '{"a":0}', '"\\ud83d\\ude00"']),
    st.sampled_from([10, 1000, 4000, 40_000]),
)
ANYTHING = st.one_of(VALUES, VALUES, VALUES, STRANGE_NUMBERS, STRANGE_TEXTS, DEEP, MANY)
NAMES = st.one_of(st.sampled_from(sorted(FIELDS)), st.sampled_from(sorted(FIELDS)), st.text(max_size=10))
FIELD = st.tuples(NAMES, ANYTHING)
PLACES = frozenset({"save_location", "temp_directory"})


def _tame(name: str, text: str) -> str:
    """
    A directory would be made: those of a request are below that of the tests, or none at all.
    """
    value: Any = None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_place = name in PLACES and isinstance(value, str) and value.startswith(("/", "~"))
    return json.dumps("PLACE/" + value.strip("/~").replace("\0", "")[:100]) if is_place else text


def _object(fields: list[tuple[str, str]], valid: bool) -> str:
    start = ['"url":"http://127.0.0.1/i.m3u8"', '"filename":"film"'] if valid else []
    named = [f"{json.dumps(name, ensure_ascii=False)}:{_tame(name, text)}" for name, text in fields]
    return "{" + ",".join([*start, *named]) + "}"


CURLS = st.lists(
    st.sampled_from(
        ["curl ", "http://127.0.0.1/i.m3u8", " ", "'", '"', "\\", "^", "\n", "$'", "-H ", "A: b", "-x ", "h:1"]
    )
    | st.sampled_from(
        ["-b ", "a=b", "-o ", "/x", "-u ", "u:p", "--limit-rate ", "1M", "-k", "-d ", "片", "\u202e", "-"]
    )
    | st.text(max_size=9),
    max_size=20,
).map(lambda pieces: json.dumps({"command": "curl http://127.0.0.1/i.m3u8 " + "".join(pieces)}).encode())
BODIES = st.one_of(
    st.builds(_object, st.lists(FIELD, max_size=4), st.booleans()),
    st.builds(_object, st.lists(FIELD, max_size=1), st.just(True)),
    ANYTHING,
).map(lambda text: text.encode("utf-8", "surrogatepass"))
BROKEN = st.builds(
    lambda body, at, new: body[: at % (len(body) + 1)] + new + body[at % (len(body) + 1) + 1 :],
    BODIES,
    st.integers(0, 10_000),
    st.binary(max_size=3),
)
TYPES = st.sampled_from(
    ["application/json"] * 6
    + [
        "application/json; charset=utf-8",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json, text/plain",
    ]
    + ["application/x-www-form-urlencoded", "", "APPLICATION/JSON", "application/json; charset=utf-16"]
)
METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "DELETE"] * 3 + ["HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "P\x01"]
)
PATHS = st.sampled_from(
    ["/api/tasks"] * 6
    + ["/api/settings"] * 2
    + [
        *gate.ROUTES,
        "/static/app.js",
        "/static/none",
        "/api/",
        "/api/tasks/",
        "//api/tasks",
        "/api/../api/tasks",
        "/%61pi",
        "*",
        "x",
    ]
)
ITEMS = st.tuples(
    st.sampled_from(["id", "limit", "offset", "status", "files", "report", "verify", "dry_run", "x", ""]),
    st.one_of(
        st.text("abc019-_.%&=+;\x7f片", max_size=12),
        st.just("TASK"),
        st.sampled_from(
            [
                "true",
                "false",
                "full",
                "1",
                "1000",
                "1001",
                "-1",
                "%00",
                "%ff",
                "%",
                "9" * 30,
                "%E4%B8%8B%E8%BD%BD%E4%B8%AD",
            ]
        ),
    ),
)
QUERIES = st.lists(ITEMS, max_size=4).map(
    lambda items: "&".join(f"{name}={value}" for name, value in items).encode("utf-8").replace(b" ", b"+")
)
MORE_HEADERS = st.lists(
    st.sampled_from(
        [
            b"Origin: null", b"Origin: https://evil.example", b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Site: none",
            b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Host: evil", b"Expect: 100-continue", b"Idempotency-Key: k",
            b"Idempotency-Key: ", b"Idempotency-Key: " + b"k" * 300, b"Accept: */*", b"Range: bytes=0-", b"If-None-Match: *",
            b"Cookie: a=b", b"Authorization: Basic !!!", b"Authorization: Bearer x", b"Authorization: ", b"Upgrade: websocket",
            b"Upgrade: h2c", b"X: " + b"y" * 7000, b"X-\xff: y", b"X: \x00", b"X: \x1b[31m", b"A:", b"Connection: Upgrade",
            b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: websocket\r\nSec-WebSocket-Version: 13",
            b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Protocol: \xff", b"Transfer-Encoding: identity",
        ]
    ),
    max_size=3,
)  # fmt: skip


def _http(method: str, path: str, query: bytes, headers: list[bytes], kind: str, body: bytes, framing: str) -> Raw:
    """
    One request, well framed unless `framing` says otherwise; the last of its connection.
    """
    target = path.encode("latin-1") + (b"?" + query if query else b"")
    lines = [method.encode("latin-1") + b" " + target + b" HTTP/1.1", b"Host: HOST"]
    lines += [b"Connection: close", *headers]  # first: of several, Twisted looks at that
    has_body = bool(body) and method in ("POST", "PUT", "PATCH", "DELETE")
    content = b""
    if has_body:
        lines.append(b"Content-Type: " + kind.encode())
        if framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            half = len(body) // 2
            content = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (body[:half], body[half:]) if each)
            content += b"0\r\n\r\n"
        else:
            lines.append(b"Content-Length: %d" % len(body))
            content = body
    return Raw(pieces=(b"\r\n".join(lines) + b"\r\n\r\n", content), method=method, path=path)


JSON_REQUESTS = st.builds(
    _http,
    st.just("POST"),
    st.just("/api/curl"),
    st.just(b""),
    st.just([]),
    st.just("application/json"),
    CURLS,
    st.sampled_from(["length", "chunked"]),
) | st.builds(
    _http,
    st.sampled_from(["POST", "POST", "PUT"]),
    st.sampled_from(["/api/tasks", "/api/tasks", "/api/settings"]),
    st.one_of(
        st.just(b""), st.just(b"id=none"), st.just(b"id=TASK"), st.just(b"id=TASK"), st.just(b"dry_run=true"), QUERIES
    ),
    st.just([]),
    st.just("application/json"),
    st.one_of(BODIES, BODIES, BROKEN),
    st.sampled_from(["length", "chunked"]),
)
HTTP_REQUESTS = st.builds(
    _http,
    METHODS,
    PATHS,
    QUERIES,
    MORE_HEADERS,
    TYPES,
    st.one_of(st.just(b""), BODIES),
    st.sampled_from(["length", "chunked"]),
)


def _pipelined(first: Raw, others: list[Raw]) -> Raw:
    """
    Several on one connection, without waiting for answers.
    """
    every = [*others, first]
    raw = b"".join(b"".join(each.pieces).replace(b"Connection: close\r\n", b"") for each in every[:-1])
    return Raw(pieces=(raw, *every[-1].pieces), count=len(every))


PIPELINED = st.builds(
    _pipelined, HTTP_REQUESTS, st.lists(st.one_of(HTTP_REQUESTS, JSON_REQUESTS), min_size=1, max_size=4)
)
MALFORMED = st.builds(
    lambda head, body: Raw(pieces=(head, body)),
    st.one_of(
        st.binary(min_size=1, max_size=200),
        st.sampled_from(
            [
                b"GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/9.9\r\nHost: HOST\r\n\r\n",
                b"GET  / HTTP/1.1\r\nHost: HOST\r\n\r\n",
                b"GET /\r\n\r\n",
                b"\r\n\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: HOST\r\n folded: yes\r\n\r\n",
                b"GET / HTTP/1.1\nHost: HOST\n\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 1e3\r\n\r\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
                b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: gzip, chunked\r\n\r\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
                b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n2;x=" + b"y" * 5000 + b"\r\n{}\r\n0\r\n\r\n",
                b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: HOST\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            ]
        ),
    ),
    st.binary(max_size=100),
)
EVERY = st.one_of(JSON_REQUESTS, JSON_REQUESTS, JSON_REQUESTS, HTTP_REQUESTS, HTTP_REQUESTS, PIPELINED, MALFORMED)
