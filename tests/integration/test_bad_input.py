"""
Bad input to a real service: a documented 400, or a failed task that says what is wrong in plain Chinese; never a 500, a
traceback, a stuck task, or a token where it does not belong.
"""

import itertools
import json
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Answer, Service
from tests.visited import VisitedServer

TASK = {"url": "http://127.0.0.1:9/a.m3u8", "filename": "film"}
CANARY = "CANARY-7f3a"


@pytest.fixture(scope="module", autouse=True)
def nothing_leaks(service: Service) -> Iterator[None]:
    """After all that follows the service still works, has never answered 500, and its log has no token in it."""
    yield
    assert 200 == service.ask("GET", "/api/tasks").status
    assert [] == service.complaints()
    assert [] == [line for line in service.log.splitlines() if CANARY in line or re.search(r" 50\d$", line)]


def refused(answer: Answer, text: str, code: str = "invalid_request") -> None:
    """Assert a 400 of one JSON string."""
    assert (400, text, code) == (answer.status, answer.value, answer.headers["x-error-code"])


# -- Refused at the door ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "请求体为空"),
        (b"{", "不是有效的 JSON（第 1 行第 2 列）"),
        (b"{'url': 1}", "不是有效的 JSON（第 1 行第 2 列）"),
        (b'{"url": "http://a/\xff"}', "第 19 个字节不是 UTF-8"),
        (b'{"url": NaN}', "不允许 NaN"),
        (b'{"url": "http://a/", "url": "http://b/"}', "字段重复：url"),
        (b"[]", "请求体必须是 JSON 对象"),
        (b'"http://a/"', "请求体必须是 JSON 对象"),
        (b"null", "请求体必须是 JSON 对象"),
        (b'{"filename": "a\\u0000b", "url": "http://a/"}', "filename: 含有 NUL 字符"),
        (b"[" * 10000, "JSON 嵌套超过 32 层"),
    ],
)
@pytest.mark.parametrize("target", ["POST /api/tasks", "PUT /api/tasks?id=none", "POST /api/settings"])
def test_malformed_json(service: Service, target: str, body: bytes, problem: str) -> None:
    """What is no JSON object is refused in one documented string that says where it breaks."""
    method, path = target.split()
    refused(service.ask(method, path, body), f"解析请求失败：{problem}")


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"url": None}, "url: 必须是字符串（null）"),
        ({"url": 5}, "url: 必须是字符串（5）"),
        ({"url": ["http://a/"]}, "url: 必须是字符串（数组）"),
        ({"url": ""}, "url: 不能为空（“”）"),
        ({"url": "ftp://a/b.m3u8"}, "url: 必须以 http:// 或 https:// 开头（“ftp://a/b.m3u8”）"),
        ({"url": "file:///etc/passwd"}, "url: 必须以 http:// 或 https:// 开头（“file:///etc/passwd”）"),
        ({"url": "javascript:alert(1)"}, "url: 必须以 http:// 或 https:// 开头（“javascript:alert(1)”）"),
        ({"url": "film.m3u8"}, "url: 必须以 http:// 或 https:// 开头（“film.m3u8”）"),
        ({"url": "http://"}, "url: 链接中没有有效的主机名（“http://”）"),
        ({"url": "http://[::1/a"}, "url: 不是有效的链接（“http:…”）"),
        ({"url": f"gopher://a/?token={CANARY}"}, "url: 必须以 http:// 或 https:// 开头（“gopher://a/?…”）"),
        ({"filename": 7}, "filename: 必须是字符串（7）"),
        ({"filename": "../up"}, "filename: 不能含有 / \\ :（“../up”）"),
        ({"filename": ".hidden"}, "filename: 不能以 - 或 . 开头（“.hidden”）"),
        ({"filename": "CON"}, "filename: 是系统保留名称（“CON”）"),
        ({"advanced": 1}, "advanced: 必须是 true 或 false（1）"),
        ({"use_http_headers": "true"}, "use_http_headers: 必须是 true 或 false（“true”）"),
        ({"http_headers": []}, "http_headers: 必须是对象：名称 → 字符串列表"),
        ({"http_headers": {"A": 5}}, "http_headers: “A”的值必须是字符串列表"),
        ({"http_headers": {"A B": ["x"]}}, "http_headers: 名称“A B”无效"),
        ({"http_headers": {"A": [f"{CANARY}\r\nX: y"]}}, "http_headers: “A”的值含有换行符或空字符"),
        ({"save_location": 5}, "save_location: 必须是字符串（5）"),
        ({"save_location": "films"}, "save_location: 必须是绝对路径或以 ~/ 开头（“films”）"),
        ({"save_location": "/etc/films"}, "save_location: 是系统目录（“/etc/films”）"),
        ({"temp_directory": True}, "temp_directory: 必须是字符串（true）"),
        ({"download_threads": "8"}, "download_threads: 必须是 0 到 1000 的整数（“8”）"),
        ({"download_threads": -1}, "download_threads: 必须是 0 到 1000 的整数（-1）"),
        ({"download_threads": 1001}, "download_threads: 必须是 0 到 1000 的整数（1001）"),
        ({"download_threads": 1.5}, "download_threads: 必须是 0 到 1000 的整数（1.5）"),
        ({"download_threads": True}, "download_threads: 必须是 0 到 1000 的整数（true）"),
        (
            {"skip_ts_info": "1,,2"},
            'skip_ts_info: 解析跳过ts的表达式错误: parse expr part invalid ""（“1,,2”）',
        ),
        (
            {"skip_ts_info": "9-3"},
            'skip_ts_info: 解析跳过ts的表达式错误: parse expr part invalid "9-3"（“9-3”）',
        ),
        ({"skip_ts_info": 3}, "skip_ts_info: 必须是字符串（3）"),
        ({"keep_ts_files": "yes"}, "keep_ts_files: 必须是 true 或 false（“yes”）"),
        ({"no_merge_ts": None}, "no_merge_ts: 必须是 true 或 false（null）"),
        ({"log_skipped_ts": 0}, "log_skipped_ts: 必须是 true 或 false（0）"),
        ({"allow_insecure_https": {}}, "allow_insecure_https: 必须是 true 或 false（对象）"),
        ({"use_server_file_time": 1}, "use_server_file_time: 必须是 true 或 false（1）"),
        ({"debug_log": 1}, "debug_log: 必须是 true 或 false（1）"),
        ({"proxy_type": "ftp"}, "proxy_type: 必须是 none、http、https、socks5 之一（“ftp”）"),
        ({"proxy_type": "http"}, "proxy_type: 仅在 advanced 为 true 时有效，任务不会忽略代理直接连接"),
        ({"proxy_port": 70000}, "proxy_port: 必须是 0 到 65535 的整数（70000）"),
        ({"proxy_password": 5}, "proxy_password: 必须是字符串"),
        ({"proxy_username": "a\nb"}, "proxy_username: 含有控制字符或超过 255 字节"),
        (
            {"url": 1, "filename": 2, "advanced": 3},
            "url: 必须是字符串（1）; filename: 必须是字符串（2）; advanced: 必须是 true 或 false（3）",
        ),
    ],
)
def test_a_wrong_field(service: Service, fields: dict[str, object], problems: str) -> None:
    """Every wrong field is named with what is allowed and what was sent; secrets are named only."""
    answer = service.ask("POST", "/api/tasks", TASK | fields)
    # Fields come in the schema's order, not in the request's.
    assert sorted(f"解析请求失败：{problems}".removeprefix("解析请求失败：").split("; ")) == sorted(
        answer.value.removeprefix("解析请求失败：").split("; ")
    )
    assert (400, "invalid_request") == (answer.status, answer.headers["x-error-code"])


@pytest.mark.parametrize("missing", ["url", "filename"])
def test_a_missing_field(service: Service, missing: str) -> None:
    """A required field that is absent is named."""
    body = {name: value for name, value in TASK.items() if name != missing}
    refused(service.ask("POST", "/api/tasks", body), f"解析请求失败：{missing}: 缺少必填字段")


def test_nothing_was_created(service: Service) -> None:
    """None of the refused requests has left a task."""
    assert (200, []) == service.ask("GET", "/api/tasks").error


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "status: 缺少必填字段（或者 url、merge、repair、priority、queue、任一可更改的设置）"),
        ({"status": None}, "status: 必须是字符串（null）"),
        ({"status": "paused"}, "status: 必须是 等待中、已暂停 之一（“paused”）"),
        ({"status": "已完成"}, "status: 必须是 等待中、已暂停 之一（“已完成”）"),
        ({"status": "下载中"}, "status: 必须是 等待中、已暂停 之一（“下载中”）"),
    ],
)
def test_an_unknown_status(service: Service, body: object, problem: str) -> None:
    """Only the two states a client may ask for are taken."""
    refused(service.ask("PUT", "/api/tasks?id=none", body), f"解析请求失败：{problem}")


@pytest.mark.parametrize("target", ["/api/tasks", "/api/tasks?id="])
def test_no_id(service: Service, target: str) -> None:
    """PUT and DELETE without an id are told so."""
    for answer in (service.ask("PUT", target, {"status": "已暂停"}), service.ask("DELETE", target)):
        refused(answer, "任务ID不能为空", "missing_task_id")


@pytest.mark.parametrize("task_id", ["none", "%00", "..%2f..", "a" * 3000, "%ff"])
def test_an_unknown_id(service: Service, task_id: str) -> None:
    """An id that nobody has is a 404 (or, beyond UTF-8, a 400) on every method."""
    target = f"/api/tasks?id={task_id}"
    answers = [service.ask("GET", target), service.ask("DELETE", target)]
    answers.append(service.ask("PUT", target, {"status": "已暂停"}))
    expected = (400, "解析请求失败：id: 不是 UTF-8") if task_id == "%ff" else (404, "任务不存在")
    assert [expected] * 3 == [answer.error for answer in answers]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "offset=-1", "status=done", "limit=1&limit=2", "status=%ff"])
def test_a_wrong_query(service: Service, query: str) -> None:
    """A query nobody can mean is a 400 that names its parameter."""
    answer = service.ask("GET", f"/api/tasks?{query}")
    assert 400 == answer.status
    assert answer.value.startswith(f"解析请求失败：{query.partition('=')[0]}: ")


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "HEAD"])
def test_another_method(service: Service, method: str) -> None:
    """Other methods are a 405 that names those allowed."""
    answer = service.ask(method, "/api/tasks") if method != "HEAD" else head(service)
    assert (405, "GET, POST, PUT, DELETE") == (answer.status, answer.headers["allow"])
    assert method == "HEAD" or answer.value == "方法不支持"


def head(service: Service) -> Answer:
    """curl needs to be told that no body follows; the request is the same."""
    with socket.create_connection(service.base.removeprefix("http://").split(":")) as connection:
        host = service.base.removeprefix("http://")
        connection.sendall(f"HEAD /api/tasks HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    first, *lines = received.partition("\r\n\r\n")[0].split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(status=int(first.split()[1]), headers=headers, text="")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"download_threads": "x"}, "download_threads: 必须是 0 到 1000 的整数（“x”）"),
        (
            {"proxy_type": "http"},
            "proxy_host: 使用 http 代理时必填; proxy_port: 使用 http 代理时必须是 1 到 65535 的整数",
        ),
        ({"skip_ts_info": "x"}, 'skip_ts_info: 解析跳过ts的表达式错误: parse expr part invalid "x"（“x”）'),
    ],
)
def test_wrong_settings(service: Service, fields: dict[str, object], problem: str) -> None:
    """Wrong system settings are refused, and the old ones stay."""
    before = service.ask("GET", "/api/settings").value
    refused(service.ask("POST", "/api/settings", fields), f"解析请求失败：{problem}")
    assert before == service.ask("GET", "/api/settings").value


def test_our_own_directory(service: Service) -> None:
    """Nothing is saved into the service's own state."""
    answer = service.ask("POST", "/api/tasks", TASK | {"advanced": True, "save_location": f"{service.home}/x"})
    refused(answer, f"save_location 不可用：这是本服务自己的目录（{service.home}/x）", "unsafe_path")


# -- Found out while downloading -------------------------------------------------------------------------------------

LINES = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
END = "#EXT-X-ENDLIST\n"


@pytest.fixture(scope="module")
def bad(served: Path, streams: dict[str, Stream]) -> Path:
    """Things that are no playlist, or none we can use, on nginx."""
    place = served / "bad"
    place.mkdir()
    texts = {
        "page.html": "<!doctype html><title>Sorry</title><p>nothing here</p>",
        "empty.m3u8": "",
        "binary.m3u8": "\x00\x01\x02",
        "drm.m3u8": f'{LINES}#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"\n'
        f"#EXTINF:1,\na.ts\n{END}",
        "none.m3u8": LINES + END,
        "broken.m3u8": f"{LINES}#EXTINF:1,\n#EXT-X-BYTERANGE:x\na.ts\n{END}",
        "missing-segment.m3u8": f"{LINES}#EXTINF:1,\ngone.ts?token={CANARY}\n{END}",
        "missing-key.m3u8": f'{LINES}#EXT-X-KEY:METHOD=AES-128,URI="gone.bin?token={CANARY}"\n'
        f"#EXTINF:1,\n../plain/index0.ts\n{END}",
        "short-key.m3u8": f'{LINES}#EXT-X-KEY:METHOD=AES-128,URI="empty.m3u8"\n#EXTINF:1,\n../plain/index0.ts\n{END}',
        "loop.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nloop.m3u8?token={CANARY}\n",
        "ftp.m3u8": f"{LINES}#EXTINF:1,\nftp://127.0.0.1/a.ts\n{END}",
    }
    for name, text in texts.items():
        (place / name).write_text(text)
    return place


def failed(service: Service, url: str, **fields: Any) -> dict[str, Any]:
    """A task that fails at once, whose token shows nowhere but in its url."""
    task = service.fail(f"{url}?token={CANARY}", "bad", **fields)
    assert f"{url}?token={CANARY}" == task["url"]
    rest = {name: value for name, value in task.items() if name != "url"}
    assert CANARY not in json.dumps(rest)
    return task


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "page.html",
            "not_a_playlist",
            "未发现m3u8资源：{url}（text/html，开头为“<!doctype html><title>Sorry</title><p>no”）",
        ),
        ("empty.m3u8", "not_a_playlist", "未发现m3u8资源：{url}（application/vnd.apple.mpegurl，开头为“”）"),
        (
            "binary.m3u8",
            "not_a_playlist",
            "未发现m3u8资源：{url}（application/vnd.apple.mpegurl，开头为“\\x00\\x01\\x02”）",
        ),
        ("gone.m3u8", "http_4xx", "服务器返回 HTTP 404：{url}"),
        (
            "drm.m3u8",
            "unsupported_encryption",
            "不支持的加密方式 SAMPLE-AES（FairPlay DRM, com.apple.streamingkeydelivery），第 4 行",
        ),
        ("none.m3u8", "nothing_to_download", "需要下载的文件为空"),
        ("loop.m3u8", "playlist_too_deep", "播放列表嵌套超过 3 层：{url}"),
        (
            "missing-segment.m3u8",
            "http_4xx",
            "下载ts文件错误: 00001.ts: 服务器返回 HTTP 404：{base}/bad/gone.ts?…",
        ),
        (
            "short-key.m3u8",
            "key_invalid",
            "下载ts文件错误: 00001.ts: 密钥无效：{base}/bad/empty.m3u8（长度为 0 字节，应为 16）",
        ),
        ("missing-key.m3u8", "http_4xx", "下载ts文件错误: 00001.ts: 服务器返回 HTTP 404：{base}/bad/gone.bin?…"),
    ],
)
def test_a_failed_task(service: Service, nginx: Nginx, bad: Path, name: str, code: str, message: str) -> None:
    """The task fails with a stable code and one Chinese line naming the URL without its query, or the line."""
    task = failed(service, f"{nginx.base}/bad/{name}")
    expected = message.format(url=f"{nginx.base}/bad/{name}?…", base=nginx.base)
    assert (code, expected) == (task["err_code"], task["err_msg"])


@pytest.mark.parametrize(("name", "line"), [("broken.m3u8", 5), ("ftp.m3u8", 5)])
def test_a_line_that_makes_no_sense(service: Service, nginx: Nginx, bad: Path, name: str, line: int) -> None:
    """What is wrong inside a playlist is named by its line or its value."""
    task = failed(service, f"{nginx.base}/bad/{name}")
    assert f"第 {line} 行" in task["err_msg"] or "ftp://127.0.0.1/a.ts" in task["err_msg"], task["err_msg"]


def test_no_connection(service: Service, nginx: Nginx) -> None:
    """
    A port where nobody listens, and https to a server that speaks plain http: both are tried for a while, then told.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and listens not: nobody else can meanwhile
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/a.m3u8"
        plain = f"{nginx.base.replace('http:', 'https:')}/a.m3u8"
        told = {closed: "refused", plain: "connect_failed"}
        tasks = {url: service.add(f"{url}?token={CANARY}", "bad") for url in told}
        for url, task_id in tasks.items():
            task = service.wait(task_id, "失败")
            assert (told[url], True) == (task["err_code"], task["err_msg"].startswith(f"无法连接：{url}?…（"))
            assert CANARY not in json.dumps(task | {"url": ""})


class GrowingList(BaseHTTPRequestHandler):
    """
    A playlist that has one segment more with each answer.
    """

    answered = itertools.count(1)

    def do_GET(self) -> None:
        """Any path."""
        segments = "".join(f"#EXTINF:1,\n{number}.ts\n" for number in range(next(self.answered)))
        body = f"{LINES}{segments}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def test_a_live_playlist(service: Service) -> None:
    """A list that grows while we look at it is refused as live."""
    with VisitedServer(("127.0.0.1", 0), GrowingList) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            task = service.fail(f"http://127.0.0.1:{server.server_port}/index.m3u8?token={CANARY}", "live")
        finally:
            server.shutdown()
    assert ("live_unsupported", "暂不支持直播流：播放列表仍在更新") == (task["err_code"], task["err_msg"])


def test_a_failed_task_can_be_tried_again(service: Service, nginx: Nginx, served: Path, bad: Path) -> None:
    """Once the origin is well again, the same task is resumed to its end."""
    url = f"{nginx.base}/bad/later/index.m3u8"
    task_id = service.add(url, "later")
    service.wait(task_id, "失败")
    (bad / "later").symlink_to(served / "plain")
    assert (200, {"status": "success"}) == service.put(task_id, "等待中").error
    task = service.wait(task_id, "已完成")
    assert ("", False) == (task["err_code"], "err_msg" in task)
