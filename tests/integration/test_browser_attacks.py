"""
Pages of other origins get nowhere: what a hostile page in the user's own browser can send, sent by Chromium, and
afterwards the service is asked whether anything changed.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.integration.browser import Stage, in_browser_thread, open_stage

TASK = '{"url": "http://evil.example/index.m3u8", "filename": "evil"}'
STOPPED = {"stopped": "TypeError"}
"""What a script gets when the browser may not let it see an answer."""

FOREIGN_HOSTS = ["127.0.0.1", "localhost", "rebound.example"]
"""Where the hostile page comes from: our address on another port (to a browser the same site), another name of it,
and a name of its own that leads to it."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One browser and one service for the module, with a paused task to aim at."""
    with open_stage(tmp_path_factory.getbasetemp()) as opened:
        task_id = opened.service.add(opened.source.url("held"), "victim")
        opened.service.ask("PUT", f"/api/tasks?id={task_id}", {"status": "已暂停"})
        yield opened


@pytest.fixture(params=FOREIGN_HOSTS)
def hostile(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """The origin of the hostile page. Whatever it did, tasks and settings must be what they were."""
    before = stage.service.tasks(), stage.service.ask("GET", "/api/settings")
    yield f"http://{request.param}:{stage.source.server_port}"
    assert before == (stage.service.tasks(), stage.service.ask("GET", "/api/settings"))


def visit(stage: Stage, page: Page, origin: str, body: str = "") -> None:
    """Go to the hostile page."""
    stage.source.pages["/evil"] = f"<!doctype html><link rel=icon href='data:,'><body>{body}"
    page.goto(f"{origin}/evil")


def attempt(page: Page, script: str, argument: Any) -> Any:
    """Run an attack: what it could read, or the name of the error that stopped it."""
    return page.evaluate(
        f"argument => ({script})(argument).then(read => ({{ read }}), error => ({{ stopped: error.name }}))", argument
    )


@in_browser_thread
def test_form(stage: Stage, hostile: str) -> None:
    """A form posted from a foreign page is refused; as text/plain its body would even be JSON."""
    name, value = TASK.removesuffix("}") + ', "rest": "', '"}'  # a form of plain text sends name=value
    with stage.page() as (page, _seen):
        for enctype in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            form = (
                f"<form method=post enctype='{enctype}' action='{stage.service.base}/api/tasks'>"
                f"<input name='{name}' value='{value}'><button>Win a prize</button></form>"
            )
            visit(stage, page, hostile, form)
            with page.expect_navigation() as navigation:
                page.click("button")
            answer = navigation.value
            assert answer is not None
            assert (enctype, 403, "拒绝来自其他网站的请求") == (enctype, answer.status, answer.json())


@in_browser_thread
def test_fetch_without_cors(stage: Stage, hostile: str) -> None:
    """A request that needs no leave from us has no effect, and the page does not even see whether it was answered."""
    script = """async ([url, body, type]) => {
        const headers = type ? { "Content-Type": type } : {};
        await fetch(url, { method: "POST", mode: "no-cors", headers, body: new Blob([body]) });
    }"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
            sent = [stage.service.base + "/api/tasks", TASK, content_type]
            assert (content_type, STOPPED) == (content_type, attempt(page, script, sent))


@in_browser_thread
def test_fetch_with_json(stage: Stage, hostile: str) -> None:
    """JSON, PUT and DELETE need our leave first: the browser asks for it, is refused, and sends nothing more."""
    script = """async ([url, method, body]) => {
        const headers = { "Content-Type": "application/json" };
        return (await fetch(url, body === null ? { method } : { method, headers, body })).status;
    }"""
    victim = f"/api/tasks?id={stage.service.tasks()[0]['id']}"
    cases = [
        ("/api/tasks", "POST", TASK),
        (victim, "PUT", '{"status": "等待中"}'),
        (victim, "DELETE", None),
        ("/api/settings", "POST", '{"allow_insecure_https": true}'),
    ]
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        for path, method, body in cases:
            assert (method, STOPPED) == (method, attempt(page, script, [stage.service.base + path, method, body]))


@in_browser_thread
def test_reading(stage: Stage, hostile: str) -> None:
    """A foreign page reads nothing of ours."""
    script = "async url => (await fetch(url, { credentials: 'include' })).text()"
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        for path in ("/api/tasks", "/api/settings", "/healthz", "/"):
            assert (path, STOPPED) == (path, attempt(page, script, stage.service.base + path))


@in_browser_thread
def test_script_element(stage: Stage, hostile: str) -> None:
    """The list cannot be run as a script, which no origin rule of browsers would stop."""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        script = """url => new Promise(resolve => {
            const element = document.createElement("script");
            element.onload = () => resolve("loaded");
            element.onerror = () => resolve("failed");
            element.src = url;
            document.head.append(element);
        })"""
        assert {"read": "failed"} == attempt(page, script, stage.service.base + "/api/tasks")


@in_browser_thread
def test_websocket(stage: Stage, hostile: str) -> None:
    """A WebSocket from a foreign page never opens."""
    script = """url => new Promise(resolve => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onclose = event => resolve(event.code);
    })"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        assert {"read": 1006} == attempt(page, script, stage.service.base.replace("http", "ws") + "/ws/progress")


@in_browser_thread
def test_frame(stage: Stage, hostile: str) -> None:
    """Our page cannot be put into a frame, where its buttons could be clicked for somebody else."""
    with stage.page() as (page, seen):
        visit(stage, page, hostile, f"<iframe src='{stage.service.base}/'></iframe>")
        page.wait_for_timeout(300)
        framed = [frame for frame in page.frames if frame.parent_frame is not None]
        assert [0] == [frame.locator("form").count() for frame in framed]
    assert any("frame" in complaint for complaint in seen.complaints)


@in_browser_thread
def test_window(stage: Stage, hostile: str) -> None:
    """A window of ours that a foreign page opens is out of its reach."""
    script = """async url => {
        const opened = window.open(url);
        await new Promise(done => setTimeout(done, 700));
        return opened.closed;
    }"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        assert {"read": True} == attempt(page, script, stage.service.base + "/")


@in_browser_thread
def test_rebound_name(stage: Stage) -> None:
    """A foreign name that was made to lead to our address (DNS rebinding) finds nothing there."""
    with stage.page() as (page, _seen):
        for path in ("/", "/api/tasks", "/static/app.js"):
            answer = page.goto(f"http://rebound.example:{stage.service.port}{path}")
            assert answer is not None
            assert (421, "请求的主机名不是本服务的地址") == (answer.status, answer.json())


@in_browser_thread
def test_own_page_when_the_same_is_tried(stage: Stage) -> None:
    """The same calls from our own page work: what stops the others is where they come from."""
    script = """async ([list, socket, body]) => {
        const headers = { "Content-Type": "application/json" };
        const made = await (await fetch(list, { method: "POST", headers, body })).json();
        const gone = await fetch(`${list}?id=${made.id}`, { method: "DELETE" });
        const opened = await new Promise(resolve => {
            const live = new WebSocket(socket);
            live.onopen = () => resolve("open");
            live.onclose = () => resolve("closed");
        });
        return [made.status, gone.status, opened];
    }"""
    base = stage.service.base
    with stage.page() as (page, _seen):
        page.goto(base + "/")
        found = attempt(page, script, [base + "/api/tasks", base.replace("http", "ws") + "/ws/progress", TASK])
    assert {"read": ["success", 200, "open"]} == found
