"""
/api/tasks over a connection: every message and status of the contract, quoted.
"""

import json

import attrs
import pytest
from twisted.internet.defer import Deferred

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
    TooBusy,
    TooManyTasks,
    advice_on,
    catalogue,
)
from m3u8svc.tasks.queue import LAST
from m3u8svc.tasks.search import Search, Sort
from m3u8svc.tasks.task import Incident, Status, Task, TaskChange, TaskSpec
from m3u8svc.web.tasks import TASKS_AT_ONCE

LEAST = {"url": "https://a.example/i.m3u8", "filename": "film"}


def held(service, task_id="t1", **changes):
    return service.hold(Task(id=task_id, spec=TaskSpec(url=LEAST["url"], filename="film"), **changes))


def test_post(wire, service):
    """A task is created: {"status": "success", "id": "任务唯一ID"}."""
    reply = wire.ask("POST", "/api/tasks", LEAST)
    assert (200, {"status": "success", "id": "task-1"}) == (reply.status, reply.value)
    assert "application/json; charset=utf-8" == reply.headers["content-type"]
    assert "film" == service.stored["task-1"].spec.filename


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/api/tasks", LEAST),
        ("POST", "/api/tasks?dry_run=true", LEAST),
        ("PUT", "/api/tasks?id=t1", {"status": "已暂停"}),
        ("POST", "/api/settings", {}),
    ],
)
def test_what_is_judged_is_prepared_for(wire, service, method, target, body):
    """Judging headers reads a long list first, which is nothing for a turn of the reactor."""
    held(service)
    assert 200 == wire.ask(method, target, body).status
    assert 1 == service.preparations


def test_post_with_warnings(wire):
    """What had no effect is named in the answer."""
    reply = wire.ask("POST", "/api/tasks", LEAST | {"colour": "red"})
    assert ["未知字段，已忽略：colour"] == reply.value["warnings"]
    assert ["unknown fields, ignored: colour"] == reply.value["warnings_en"]


@pytest.mark.parametrize("body", [b"{", b"not json", b"[]", {"url": "x"}, LEAST | {"filename": "../x"}, b"[" * 5000])
def test_post_that_is_wrong(wire, service, body):
    """解析请求失败: 400, one JSON string, and nothing reaches the service."""
    reply = wire.ask("POST", "/api/tasks", body)
    assert (400, "解析请求失败", "invalid_request") == (reply.status, reply.value[:6], reply.headers["x-error-code"])
    assert [] == service.calls


def test_post_with_a_priority(wire, service):
    """It is part of the request, whatever advanced says."""
    wire.ask("POST", "/api/tasks", LEAST | {"priority": -7})
    assert -7 == service.calls[0][1].priority


@pytest.mark.parametrize(
    ("body", "change"),
    [
        ({"priority": 100}, TaskChange(priority=100)),
        ({"queue": "first"}, TaskChange(position=1)),
        ({"queue": "last", "priority": 0}, TaskChange(position=LAST, priority=0)),
        ({"queue": 3, "status": "等待中"}, TaskChange(position=3, status=Status.WAITING)),
    ],
)
def test_put_moves(wire, service, body, change):
    """Priority and place in the queue, alone or with the rest of a change."""
    held(service)
    reply = wire.ask("PUT", "/api/tasks?id=t1", body)
    assert (200, {"status": "success"}) == (reply.status, reply.value)
    assert ("change", "t1", change) == service.calls[-1]


def test_put_with_a_url(wire, service):
    """Alone or with a state; the answer says what the task says of its request."""
    task = held(service)
    service.hold(attrs.evolve(task, spec=attrs.evolve(task.spec, warnings=("Cookie goes elsewhere",))))
    reply = wire.ask("PUT", "/api/tasks?id=t1", {"url": "https://b.test/l"})
    warnings = {"warnings": ["Cookie goes elsewhere"], "warnings_en": ["Cookie goes elsewhere"]}
    assert (200, {"status": "success", **warnings}) == (reply.status, reply.value)
    assert ("change", "t1", TaskChange(url="https://b.test/l")) == service.calls[-1]


@pytest.mark.parametrize("url", ["", "ftp://b.test/l", "b.test/l", 7, None, "https://b.test\\@c.test/"])
def test_put_with_a_url_that_is_none(wire, service, url):
    """As in POST: 400, and nothing changes."""
    held(service)
    reply = wire.ask("PUT", "/api/tasks?id=t1", {"url": url})
    assert (400, "invalid_request") == (reply.status, reply.headers["x-error-code"])
    assert "url: " in reply.value
    assert [] == [call for call in service.calls if call[0] == "change"]


def test_get_shows_the_queue(wire, service):
    """Where each task that waits stands, in a list and alone; the others stand nowhere."""
    for task_id in ("t1", "t2", "t3"):
        held(service, task_id, priority=4)
    held(service, "t4", status=Status.DOWNLOADING)
    service.waiting = ["t3", "t1", "t2"]
    shown = wire.ask("GET", "/api/tasks").value
    assert [("t1", 2), ("t2", 3), ("t3", 1), ("t4", None)] == [(each["id"], each["queue_position"]) for each in shown]
    alone = wire.ask("GET", "/api/tasks?id=t2").value
    assert (3, 4) == (alone["queue_position"], alone["priority"])


def test_get_shows_what_went_wrong(wire, service):
    """The last incidents, of one task only: a list would be too long."""
    incident = Incident(
        at=1.5, code="http_5xx", text="坏", text_en="bad", segment="00001.ts", attempt=2, url="u", count=3
    )
    held(service, incidents=(incident,))
    expected = {
        "at": "1970-01-01T00:00:01.500000Z",
        "code": "http_5xx",
        "text": "坏",
        "segment": "00001.ts",
        "attempt": 2,
        "url": "u",
        "count": 3,
        "text_en": "bad",
        "advice": advice_on("http_5xx", "zh"),
        "advice_en": advice_on("http_5xx", "en"),
    }
    assert expected["advice"] != expected["advice_en"] != ""
    assert [expected] == wire.ask("GET", "/api/tasks?id=t1").value["incidents"]
    assert "incidents" not in wire.ask("GET", "/api/tasks").value[0]


@pytest.mark.parametrize(
    ("method", "target"), [("POST", "/api/tasks?dry_run=true"), ("GET", "/api/tasks?id=t1&verify=full")]
)
def test_too_busy(wire, service, method, target):
    """429, when to come back, and no word in the log."""
    held(service)
    service.broken = TooBusy(limit=8, seconds=60)
    reply = wire.ask(method, target, LEAST if method == "POST" else None)
    assert (429, "60", "too_busy") == (reply.status, reply.headers["retry-after"], reply.headers["x-error-code"])
    assert "现在太忙：已有 8 个同类请求在等待，请 60 秒后再试" == reply.value


def test_too_many_tasks(wire, service):
    """429, when to come back, and how many there are."""
    service.broken = TooManyTasks(limit=100_000)
    reply = wire.ask("POST", "/api/tasks", LEAST)
    assert (429, "60", "too_many_tasks") == (reply.status, reply.headers["retry-after"], reply.headers["x-error-code"])
    assert "任务过多：已有 100000 个未完成的任务" == reply.value
    assert {} == service.stored


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
    assert ("tasks", None, TASKS_AT_ONCE, 0) == service.calls[-1]


def test_get_narrowed(wire, service):
    """status, limit and offset reach the service."""
    wire.ask("GET", "/api/tasks?status=%E5%A4%B1%E8%B4%A5&limit=5&offset=10")
    assert ("tasks", Status.FAILED, 5, 10) == service.calls[-1]


@pytest.mark.parametrize(
    ("query", "total"), [("", 3), ("?limit=1", 3), ("?status=%E5%A4%B1%E8%B4%A5", 1), ("?q=x", 3), ("?id=t1", None)]
)
def test_get_says_how_many(wire, service, query, total):
    """Of a list, before limit and offset; one task is no list."""
    for number in range(3):
        held(service, f"t{number}", status=Status.FAILED if number == 1 else Status.PAUSED)
    reply = wire.ask("GET", f"/api/tasks{query}")
    assert (None if total is None else str(total)) == reply.headers.get("x-total-count")


def test_get_searched(wire, service):
    """What is looked for and how it is sorted reach the service; the tasks come in the order that it names."""
    for number in range(3):
        held(service, f"t{number}")
    service.stored = dict(reversed(service.stored.items()))
    reply = wire.ask("GET", "/api/tasks?q=%E7%94%B5%25&sort=name&order=desc&limit=2&offset=1&status=%E5%A4%B1%E8%B4%A5")
    search = Search(text="电%", sort=Sort.NAME, descending=True, limit=2, offset=1, status=Status.FAILED)
    assert [("search", search), ("tasks_named", "t1", "t0")] == service.calls
    assert (["t1", "t0"], "3") == ([task["id"] for task in reply.value], reply.headers["x-total-count"])


def test_get_searched_in_vain(wire, service):
    """An empty list."""
    reply = wire.ask("GET", "/api/tasks?q=nothing")
    assert (200, b"[]", "0") == (reply.status, reply.body, reply.headers["x-total-count"])


def test_get_what_was_removed_meanwhile(wire, service):
    """A long list goes on behind tasks that are gone since it was made, and ends as it should."""
    for number in range(2 * TASKS_AT_ONCE + 5):
        held(service, f"t{number:03}")
    service.gone = {f"t{number:03}" for number in range(7)} | {f"t{number:03}" for number in range(150, 160)}
    shown = [task["id"] for task in wire.ask("GET", "/api/tasks?sort=size").value]
    assert [task_id for task_id in service.stored if task_id not in service.gone] == shown
    assert [TASKS_AT_ONCE, TASKS_AT_ONCE, 5] == [len(call) - 1 for call in service.calls if call[0] == "tasks_named"]


@pytest.mark.parametrize("count", [TASKS_AT_ONCE - 1, TASKS_AT_ONCE, TASKS_AT_ONCE + 1])
def test_get_searched_by_the_page(wire, service, count):
    """A page that is full, one with a task less and one with a task more."""
    for number in range(count):
        held(service, f"t{number:03}")
    assert list(service.stored) == [task["id"] for task in wire.ask("GET", "/api/tasks?order=desc").value]


def test_get_narrowed_wrongly(wire):
    """A wrong query is a 400 that names its fields."""
    reply = wire.ask("GET", "/api/tasks?status=done&limit=0&q=%00&sort=x&order=up")
    assert 400 == reply.status
    assert [] == [name for name in ("status: ", "limit: ", "q: ", "sort: ", "order: ") if name not in reply.value]


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
    (named,) = [each for each in catalogue() if each.code == code]
    assert named.en == reply.headers["x-error-text-en"]


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
    ("GET", "/api/tasks?q=x", None, "获取任务失败"),
    ("GET", "/api/counts", None, "统计任务失败"),
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
    english = ["no segments were kept: all are fetched again"]
    expected = {} if kept else {"warnings": ["没有保留的分片，将重新下载"], "warnings_en": english}
    assert {"status": "success"} | expected == reply.value
    assert ("change", "t1", TaskChange(given={"skip_ts_info": "1"}, again="merge")) == service.calls[-1]
