"""
/api/tasks over a connection: every message and status of the contract, quoted.
"""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from m3u8svc.errors import (
    DiskFull,
    HttpStatusError,
    InvalidTransition,
    NoSuchVariant,
    NotOffered,
    PluginError,
    ProxyUnreachable,
    ReportNotFound,
    StaleTask,
    StoreError,
)
from m3u8svc.tasks.task import Status, Task, TaskChange, TaskSpec

LEAST = {"url": "https://a.example/i.m3u8", "filename": "film"}


@pytest.fixture
def failures():
    """Every failure logged during the test."""
    seen = []

    def observe(event):
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def held(service, task_id="t1", **changes):
    return service.hold(Task(id=task_id, spec=TaskSpec(url=LEAST["url"], filename="film"), **changes))


def test_post(wire, service):
    """A task is created: {"status": "success", "id": "任务唯一ID"}."""
    reply = wire.ask("POST", "/api/tasks", LEAST)
    assert (200, {"status": "success", "id": "task-1"}) == (reply.status, reply.value)
    assert "application/json; charset=utf-8" == reply.headers["content-type"]
    assert "film" == service.stored["task-1"].spec.filename


def test_post_with_warnings(wire):
    """What had no effect is named in the answer."""
    reply = wire.ask("POST", "/api/tasks", LEAST | {"colour": "red"})
    assert ["未知字段，已忽略：colour"] == reply.value["warnings"]


@pytest.mark.parametrize("body", [b"{", b"not json", b"[]", {"url": "x"}, LEAST | {"filename": "../x"}, b"[" * 5000])
def test_post_that_is_wrong(wire, service, body):
    """解析请求失败: 400, one JSON string, and nothing reaches the service."""
    reply = wire.ask("POST", "/api/tasks", body)
    assert (400, "解析请求失败", "invalid_request") == (reply.status, reply.value[:6], reply.headers["x-error-code"])
    assert [] == service.calls


def test_dry_run(wire, service):
    """What the task would do; nothing is created."""
    reply = wire.ask("POST", "/api/tasks?dry_run=true", LEAST | {"variant": "720p"})
    assert (200, "success", 1) == (reply.status, reply.value["status"], reply.value["segments"]["count"])
    assert ["plan"] == [call[0] for call in service.calls]
    assert "720p" == service.calls[0][1].extensions["variant"]
    assert {} == service.stored


def test_dry_run_that_is_none(wire, service):
    """false is an ordinary request, anything else is refused before anything is done."""
    assert "task-1" == wire.ask("POST", "/api/tasks?dry_run=false", LEAST).value["id"]
    reply = wire.ask("POST", "/api/tasks?dry_run=1", LEAST)
    assert (400, "解析请求失败：dry_run: 必须是 true 或 false（“1”）") == (reply.status, reply.value)
    assert 1 == len(service.stored)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NoSuchVariant(wanted="9p", available="720p"), 400, "no_such_variant"),
        (HttpStatusError(url="https://a.example/i.m3u8?token=hunter2", status=404), 400, "http_status"),
        (ProxyUnreachable(proxy="http://p.example:1", reason="refused"), 400, "proxy_unreachable"),
        (PluginError(plugin="p", hook="h", reason="r"), 400, "plugin_failed"),
        (NotOffered(kind="merger", name="x", known="mp4", hint=""), 400, "not_offered"),
        (StoreError(reason="gone"), 500, "store_failed"),
        (DiskFull(path="/srv"), 500, "disk_full"),
        (RuntimeError("bug"), 500, "internal"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_dry_run_that_fails(wire, service, error, status, code):
    """A playlist that cannot be had is the answer, with its code; only our own failures are a 500."""
    service.broken = error
    reply = wire.ask("POST", "/api/tasks?dry_run=true", LEAST)
    assert (status, code) == (reply.status, reply.headers["x-error-code"])
    assert "hunter2" not in reply.value


def test_get_empty(wire):
    """Without tasks the list is [], not null."""
    reply = wire.ask("GET", "/api/tasks")
    assert (200, b"[]") == (reply.status, reply.body)


def test_get_list(wire, service):
    """The list holds every task the service names, as UTF-8 JSON."""
    held(service, "t1")
    held(service, "t2", status=Status.FAILED, err_msg="无法连接")
    reply = wire.ask("GET", "/api/tasks")
    assert [("t1", "等待中"), ("t2", "失败")] == [(task["id"], task["status"]) for task in reply.value]
    assert "无法连接".encode() in reply.body
    assert ("tasks", None, None, 0) == service.calls[-1]


def test_get_long_list(wire, service, clock, build_request, parse_reply):
    """A long list is rendered in pieces, so that others get their turn, and is whole in the end."""
    for number in range(250):
        held(service, f"t{number}")
    channel, transport = wire.connect()
    channel.dataReceived(build_request("GET", "/api/tasks"))
    assert b"" == transport.value()
    clock.advance(0)
    assert [f"t{number}" for number in range(250)] == [task["id"] for task in parse_reply(transport.value()).value]


def test_get_narrowed(wire, service):
    """status, limit and offset reach the service."""
    wire.ask("GET", "/api/tasks?status=%E5%A4%B1%E8%B4%A5&limit=5&offset=10")
    assert ("tasks", Status.FAILED, 5, 10) == service.calls[-1]


def test_get_narrowed_wrongly(wire):
    """A wrong query is a 400 that names its fields."""
    reply = wire.ask("GET", "/api/tasks?status=done&limit=0")
    assert 400 == reply.status
    assert "status: " in reply.value and "limit: " in reply.value


def test_get_one(wire, service):
    """?id= is one object."""
    held(service)
    assert "t1" == wire.ask("GET", "/api/tasks?id=t1").value["id"]


def test_lone_surrogate_in_a_stored_task(wire, service):
    """Text no encoder takes is still valid JSON."""
    held(service, err_msg="\ud800")
    assert json.loads('"\\ud800"') == wire.ask("GET", "/api/tasks?id=t1").value["err_msg"]


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "message", "code"),
    [
        ("PUT", "/api/tasks", {"status": "已暂停"}, 400, "任务ID不能为空", "missing_task_id"),
        ("PUT", "/api/tasks?id=", {"status": "已暂停"}, 400, "任务ID不能为空", "missing_task_id"),
        ("PUT", "/api/tasks?id=no", {"status": "已暂停"}, 404, "任务不存在", "task_not_found"),
        ("DELETE", "/api/tasks", None, 400, "任务ID不能为空", "missing_task_id"),
        ("DELETE", "/api/tasks?id=", None, 400, "任务ID不能为空", "missing_task_id"),
        ("DELETE", "/api/tasks?id=no", None, 404, "任务不存在", "task_not_found"),
        ("GET", "/api/tasks?id=no", None, 404, "任务不存在", "task_not_found"),
        ("GET", "/api/tasks?id=%00", None, 404, "任务不存在", "task_not_found"),
        ("GET", "/api/nowhere", None, 404, "路径不存在", "not_found"),
    ],
)
def test_documented_errors(wire, method, target, body, status, message, code):
    """Each documented error is one JSON string with its status and its code."""
    reply = wire.ask(method, target, body)
    assert (status, message, code) == (reply.status, reply.value, reply.headers["x-error-code"])


@pytest.mark.parametrize("status", [Status.WAITING, Status.PAUSED])
def test_put(wire, service, status):
    """PUT changes the state: {"status": "success"}."""
    held(service)
    reply = wire.ask("PUT", "/api/tasks?id=t1", {"status": status.value})
    assert (200, {"status": "success"}) == (reply.status, reply.value)
    assert ("change", "t1", TaskChange(status=status)) == service.calls[-1]


@pytest.mark.parametrize("body", [b"{}", b"x", {"status": "已完成"}, {"status": 1}, {"status": "done"}])
def test_put_that_is_wrong(wire, service, body):
    """An unknown state or no state is a 400."""
    held(service)
    reply = wire.ask("PUT", "/api/tasks?id=t1", body)
    assert (400, "解析请求失败") == (reply.status, reply.value[:6])


def test_put_that_cannot_be(wire, service):
    """An impossible change is a 400 that says which."""
    service.broken = InvalidTransition(current="已完成", wanted="等待中")
    reply = wire.ask("PUT", "/api/tasks?id=t1", {"status": "等待中"})
    assert (400, "任务不能从“已完成”变为“等待中”") == (reply.status, reply.value)


@pytest.mark.parametrize(("query", "with_files"), [("", False), ("&files=true", True), ("&files=false", False)])
def test_delete(wire, service, query, with_files):
    """DELETE removes: {"status": "success"}; the output only when asked."""
    held(service)
    reply = wire.ask("DELETE", f"/api/tasks?id=t1{query}")
    assert (200, {"status": "success"}) == (reply.status, reply.value)
    assert ("remove", "t1", with_files) == service.calls[-1]


FAILING = [
    ("POST", "/api/tasks", LEAST, "保存任务失败"),
    ("GET", "/api/tasks", None, "获取任务失败"),
    ("GET", "/api/tasks?id=t1", None, "获取任务失败"),
    ("PUT", "/api/tasks?id=t1", {"status": "已暂停"}, "更新任务失败"),
    ("DELETE", "/api/tasks?id=t1", None, "删除任务失败"),
    ("GET", "/api/settings", None, "获取设置失败"),
    ("POST", "/api/settings", {}, "保存设置失败"),
]


@pytest.mark.logs_failures
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError(reason="secret detail"), "store_failed"),
        (StaleTask(task_id="t1", reason="x"), "stale_task"),
        (DiskFull(path="/secret detail"), "disk_full"),
        (ValueError("secret detail"), "internal"),
    ],
)
@pytest.mark.parametrize(("method", "target", "body", "message"), FAILING)
def test_our_failures(wire, service, failures, method, target, body, message, error, code):
    """When we fail it is a 500 with the documented text, no detail, and one log entry."""
    service.broken = error
    reply = wire.ask(method, target, body)
    assert (500, message, code, 1) == (reply.status, reply.value, reply.headers["x-error-code"], len(failures))
    assert b"secret" not in reply.body


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
@pytest.mark.parametrize(("path", "allow"), [("/api/tasks", "GET, POST, PUT, DELETE"), ("/api/settings", "GET, POST")])
def test_other_methods(wire, method, path, allow):
    """方法不支持: 405, and Allow says what is."""
    reply = wire.ask(method, path)
    expected = b"" if method == "HEAD" else '"方法不支持"'.encode()
    assert (405, allow, expected) == (reply.status, reply.headers["allow"], reply.body)


def test_client_that_hangs_up(wire, service, build_request):
    """A create that has begun is finished although nobody waits for its answer."""
    service.before_answering = Deferred()
    channel, _ = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", LEAST))
    channel.connectionLost(ConnectionError("gone"))
    assert {} == service.stored
    service.before_answering.callback(None)
    assert ["task-1"] == list(service.stored)


@pytest.mark.logs_failures
def test_client_that_hangs_up_before_a_failure(wire, service, failures, build_request):
    """A failure nobody hears of is logged all the same."""
    service.before_answering = Deferred()
    channel, _ = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", LEAST))
    channel.connectionLost(ConnectionError("gone"))
    service.before_answering.errback(StoreError(reason="gone too"))
    assert 1 == len(failures)


def test_two_requests_on_one_connection(wire, build_request):
    """A connection stays open for the next request."""
    channel, transport = wire.connect()
    for _ in range(2):
        channel.dataReceived(build_request("POST", "/api/tasks", LEAST))
    assert 2 == transport.value().count(b'"status": "success"')


def test_get_report(wire, service):
    """The report is answered as the service gives it; without one it is a 400 with its code."""
    held(service)
    reply = wire.ask("GET", "/api/tasks?id=t1&report=true")
    assert (200, {"task": "t1", "segments": []}) == (reply.status, reply.value)
    service.broken = ReportNotFound()
    reply = wire.ask("GET", "/api/tasks?id=t1&report=true")
    assert (400, "任务还没有报告", "report_not_found") == (reply.status, reply.value, reply.headers["x-error-code"])


@pytest.mark.parametrize(("given", "decode"), [("true", False), ("full", True)])
def test_get_verify(wire, service, given, decode):
    """The service looks at the file, closely if asked."""
    held(service)
    assert {"ok": True} == wire.ask("GET", f"/api/tasks?id=t1&verify={given}").value
    assert [("verify", "t1", decode)] == service.calls


@pytest.mark.parametrize("query", ["report=yes", "verify=1", "report=true&report=true"])
def test_get_with_a_wrong_flag(wire, service, query):
    """A 400 that names it, and nothing reaches the service."""
    held(service)
    reply = wire.ask("GET", f"/api/tasks?id=t1&{query}")
    assert (400, "invalid_request") == (reply.status, reply.headers["x-error-code"])
    assert query.partition("=")[0] in reply.value
    assert [] == service.calls


@pytest.mark.parametrize("query", ["report=false", "verify=false"])
def test_get_without_it(wire, service, query):
    """A flag that says no is none."""
    held(service)
    assert "t1" == wire.ask("GET", f"/api/tasks?id=t1&{query}").value["id"]


@pytest.mark.parametrize("kept", [True, False])
def test_put_merge(wire, service, kept):
    """The wish reaches the service; that everything is fetched again is said in the answer."""
    held(service, status=Status.COMPLETED)
    service.kept = kept
    reply = wire.ask("PUT", "/api/tasks?id=t1", {"merge": True, "skip_ts_info": "1"})
    expected = {} if kept else {"warnings": ["没有保留的分片，将重新下载"]}
    assert {"status": "success"} | expected == reply.value
    assert ("change", "t1", TaskChange(given={"skip_ts_info": "1"}, again="merge")) == service.calls[-1]
