"""
Pages of other origins get nowhere: what a hostile page in the user's own browser can send, sent by Chromium, and
afterwards the service is asked whether anything changed.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.integration.browser import Stage, in_browser_thread, open_stage, within

TASK = '{"url": "http://evil.example/index.m3u8", "filename": "evil"}'
STOPPED = {"stopped": "TypeError"}
"""What a script gets when the browser may not let it see an answer."""

FOREIGN_HOSTS = ["127.0.0.1", "localhost", "rebound.example"]
"""Where the hostile page comes from: our address on another port (to a browser the same site), another name of it,
and a name of its own that leads to it."""


@pytest.fixture(scope="module", params=["open", "login"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """
    One browser and one service for the module, with a paused task to aim at: a service that asks nobody, and one where
    the user of the browser has logged in.
    """
    with open_stage(tmp_path_factory.getbasetemp(), with_token=request.param == "login") as opened:
        task_id = opened.service.add(opened.source.url("held"), "victim")
        opened.service.ask("PUT", f"/api/tasks?id={task_id}", {"status": "已暂停"})
        yield opened


@pytest.fixture(params=FOREIGN_HOSTS)
def hostile(request: pytest.FixtureRequest, stage: Stage) -> Iterator[str]:
    """The origin of the hostile page. Whatever it did, tasks and settings must be what they were."""
    with nothing_changes(stage):
        yield f"http://{request.param}:{stage.source.server_port}"


@contextmanager
def nothing_changes(stage: Stage) -> Iterator[None]:
    """Assert that tasks and settings stay what they are."""
    before = stage.service.tasks(), stage.service.ask("GET", "/api/settings")
    yield
    assert before == (stage.service.tasks(), stage.service.ask("GET", "/api/settings"))


@contextmanager
def warned(stage: Stage, origin: str, *requests: str) -> Iterator[None]:
    """
    Assert that the service logs one warning for each of these requests ("POST /api/tasks"), naming the origin, and
    none besides.
    """
    before = len(stage.service.log.read_text())
    yield
    pattern = re.compile(r"#warn\] refused (\S+ \S+): 403 foreign_origin \(host \S+, origin (\S*)\)")

    def found() -> list[tuple[str, str]]:
        return sorted(pattern.findall(stage.service.log.read_text()[before:]))

    within(lambda: len(found()) >= len(requests))
    assert sorted((request, origin) for request in requests) == found()


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
            with warned(stage, hostile, "POST /api/tasks"), page.expect_navigation() as navigation:
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
            with warned(stage, hostile, "POST /api/tasks"):
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
            with warned(stage, hostile, f"OPTIONS {path.partition('?')[0]}"):
                assert (method, STOPPED) == (method, attempt(page, script, [stage.service.base + path, method, body]))


@pytest.mark.parametrize("mode", ["no-cors", "cors", "same-origin", "navigate"])
@in_browser_thread
def test_fetch_in_every_mode(stage: Stage, hostile: str, mode: str) -> None:
    """
    With what the browser would attach or without, whatever the mode: nothing is changed, and nothing is read.
    """
    script = """async ([url, init]) => { const answer = await fetch(url, init); return await answer.text(); }"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        for method in ("GET", "HEAD", "POST"):
            for credentials in ("include", "omit"):
                init = {"method": method, "mode": mode, "credentials": credentials}
                found = attempt(page, script, [stage.service.base + "/api/tasks", init])
                assert found == STOPPED or (mode, found) == ("no-cors", {"read": ""})


@in_browser_thread
def test_beacon(stage: Stage, hostile: str) -> None:
    """What a page may send even while it is being left is refused like the rest."""
    script = "async ([url, body]) => navigator.sendBeacon(url, new Blob([body], { type: 'text/plain' }))"
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        with warned(stage, hostile, "POST /api/tasks"):
            assert {"read": True} == attempt(page, script, [stage.service.base + "/api/tasks", TASK])


@in_browser_thread
def test_no_origin_of_its_own(stage: Stage, hostile: str) -> None:
    """A frame without an origin (`null`) is as foreign as any other."""
    form = (
        f"<form method=post enctype=text/plain action='{stage.service.base}/api/tasks'><input name=x value=y></form>"
        "<script>document.forms[0].submit()</script>"
    ).replace('"', "&quot;")
    with stage.page() as (page, _seen), warned(stage, "null", "POST /api/tasks"):
        visit(stage, page, hostile, f"<iframe sandbox='allow-scripts allow-forms' srcdoc=\"{form}\"></iframe>")
        page.wait_for_timeout(300)


@in_browser_thread
def test_reading(stage: Stage, hostile: str) -> None:
    """A foreign page reads nothing of ours."""
    script = "async url => (await fetch(url, { credentials: 'include' })).text()"
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        for path in ("/api/tasks", "/api/settings", "/healthz", "/"):
            assert (path, STOPPED) == (path, attempt(page, script, stage.service.base + path))


ELEMENTS = {
    "img": "src",
    "script": "src",
    "video": "src",
    "embed": "src",
    "object": "data",
    "iframe": "src",
}


@pytest.mark.parametrize("element", ELEMENTS)
@in_browser_thread
def test_element(stage: Stage, hostile: str, element: str) -> None:
    """No element of a foreign page gets an answer of the API: not as a picture, not as a script to run, not framed."""
    script = """([kind, attribute, url]) => new Promise(resolve => {
        const element = document.createElement(kind);
        element.onload = () => resolve("loaded");
        element.onerror = () => resolve("failed");
        element.setAttribute(attribute, url);
        document.body.append(element);
    })"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        with warned(stage, hostile, "GET /api/tasks"):
            found = attempt(page, script, [element, ELEMENTS[element], stage.service.base + "/api/tasks"])
        # A frame says that it loaded whatever is in it; what is in it is the refusal.
        assert {"read": "failed"} == found or element in ("iframe", "embed", "object")


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
        with warned(stage, hostile, "GET /ws/progress"):
            assert {"read": 1006} == attempt(page, script, stage.service.base.replace("http", "ws") + "/ws/progress")


@in_browser_thread
def test_event_source(stage: Stage, hostile: str) -> None:
    """Nor does any other stream."""
    script = """url => new Promise(resolve => {
        const stream = new EventSource(url, { withCredentials: true });
        stream.onopen = () => resolve("open");
        stream.onerror = () => resolve("failed");
    })"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        with warned(stage, hostile, "GET /ws/progress"):
            assert {"read": "failed"} == attempt(page, script, stage.service.base + "/ws/progress")


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
        for (let asked = 0; asked < 100 && !opened.closed; asked += 1) await new Promise(done => setTimeout(done, 100));
        return opened.closed;
    }"""
    with stage.page() as (page, _seen):
        visit(stage, page, hostile)
        assert {"read": True} == attempt(page, script, stage.service.base + "/")


@in_browser_thread
def test_window_that_sends(stage: Stage, hostile: str) -> None:
    """A link or a new window that leads into the API is no way in either; one that leads to our page is a link."""
    with stage.page() as (page, _seen):
        for target in ("_self", "_blank"):
            visit(stage, page, hostile, f"<a target={target} href='{stage.service.base}/api/tasks'>look</a>")
            with warned(stage, hostile, "GET /api/tasks"):
                page.click("a")
        visit(stage, page, hostile, f"<a href='{stage.service.base}/'>look</a>")
        with page.expect_navigation() as navigation:
            page.click("a")
        answer = navigation.value
        assert answer is not None and 200 == answer.status


@in_browser_thread
def test_rebound_name(stage: Stage) -> None:
    """A foreign name that was made to lead to our address (DNS rebinding) finds nothing there."""
    with stage.page() as (page, _seen):
        for path in ("/", "/api/tasks", "/static/app.js"):
            answer = page.goto(f"http://rebound.example:{stage.service.port}{path}")
            assert answer is not None
            assert (421, "请求的主机名不是本服务的地址") == (answer.status, answer.json())


@in_browser_thread
def test_rebound_page(stage: Stage) -> None:
    """
    A page that was loaded from a name before the name led to us is to the browser our own origin: nothing stops it but
    the name itself. It can do nothing at all.
    """
    origin = f"http://rebound.example:{stage.service.port}"
    script = """async ([path, method, body]) => {
        const headers = body === null ? {} : { "Content-Type": "application/json" };
        const answer = await fetch(path, { method, headers, body });
        return [answer.status, await answer.json()];
    }"""
    live = """url => new Promise(resolve => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve("open");
        socket.onclose = event => resolve(event.code);
    })"""
    victim = f"/api/tasks?id={stage.service.tasks()[0]['id']}"
    with stage.page() as (page, _seen), nothing_changes(stage):
        page.goto(origin)  # the refusal, which stands for a page from there
        for sent in (["/api/tasks", "GET", None], ["/api/tasks", "POST", TASK], [victim, "DELETE", None]):
            assert {"read": [421, "请求的主机名不是本服务的地址"]} == attempt(page, script, sent)
        assert {"read": 1006} == attempt(page, live, origin.replace("http", "ws") + "/ws/progress")


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


@in_browser_thread
def test_login_from_a_foreign_page(stage: Stage, hostile: str) -> None:
    """Nobody is logged in as somebody else by a foreign page, nor out."""
    script = """async ([url, method, body]) => {
        await fetch(url, { method, mode: "no-cors", credentials: "include", body: body && new Blob([body]) });
    }"""
    with stage.page() as (page, _seen):
        cookies = page.context.cookies()
        visit(stage, page, hostile)
        sent = [stage.service.base + "/api/session", "POST", json.dumps({"token": stage.service.token or "x"})]
        with warned(stage, hostile, "POST /api/session"):
            assert STOPPED == attempt(page, script, sent)
        assert STOPPED == attempt(page, script, [stage.service.base + "/api/session", "DELETE", None])
        assert cookies == page.context.cookies()


@in_browser_thread
def test_the_cookie_of_a_session(stage: Stage) -> None:
    """No script reads it, and no page of another site has it sent."""
    with stage.page() as (page, _seen):
        page.goto(stage.service.base + "/")
        assert "" == page.evaluate("document.cookie")
        found = [(cookie["httpOnly"], cookie["sameSite"], cookie["path"]) for cookie in page.context.cookies()]
        assert ([(True, "Strict", "/")] if stage.service.token else []) == found


@in_browser_thread
def test_who_has_not_logged_in(stage: Stage) -> None:
    """Without its cookie a browser is shown a login where somebody must, and nothing else."""
    with stage.browser.new_context() as context:
        page = context.new_page()
        page.goto(stage.service.base + "/")
        assert (1 if stage.service.token else 0) == page.locator("#login").count()
        status = page.evaluate("async () => (await fetch('api/tasks')).status")
        assert (401 if stage.service.token else 200) == status
