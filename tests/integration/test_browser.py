"""
A browser client that was written from the API's description alone works against the service, in Chromium: the page in
``client/``, served under the service's own origin. And what the service made plays there.
"""

import mimetypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.integration.browser import SECONDS, SEGMENTS, Stage, in_browser_thread, open_stage, within

CLIENT = Path(__file__).parent / "client"
TITLES = "嗅探m3u8|获取ts列表|下载ts|分析ts列表|合并ts为mp4"
STATUS_BAR = re.compile(
    rf"(\[[1-5]/5\]({TITLES})|下载进度) "
    r"(速度 (\d+ K?B/s|\d+\.\d\d MB/s)(, 剩余时间 \d{2,}:\d\d)?)?(, )?(有 \d+个线程正在休眠\.)?"
)
SEED_FIELDS = [
    "id", "url", "filename", "size", "progress", "status", "status_bar", "created_at", "updated_at", "header_map",
    "advanced_settings",
]  # fmt: skip
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
NEVER_SEEN = "0123456789ab"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One browser and one service for the module."""
    with open_stage(tmp_path_factory.getbasetemp()) as opened:
        yield opened


@pytest.fixture(autouse=True)
def nothing_left(stage: Stage) -> Iterator[None]:
    """Each test starts with no tasks, no settings and a source that holds."""
    stage.source.release.clear()
    stage.source.asked.clear()
    yield
    stage.source.release.set()
    stage.service.clear()


@contextmanager
def client_page(stage: Stage) -> Iterator[Page]:
    """The client, open and listening."""

    def serve(route: Route) -> None:
        path = CLIENT / route.request.url.rpartition("/")[2]
        content_type = mimetypes.guess_type(path.name)[0]
        route.fulfill(body=path.read_bytes(), content_type=f"{content_type}; charset=utf-8")

    # A page that was routed has no address, so Chromium takes it for one of the public network and asks for leave.
    with stage.page(permissions=["local-network-access"]) as (page, seen):
        page.route(stage.service.base + "/client/*", serve)
        page.goto(stage.service.base + "/client/index.html")
        page.wait_for_selector("body[data-ready]")
        yield page
        script_errors = [each for each in seen.complaints if "Failed to load resource" not in each]
        assert [] == script_errors  # a refused call is reported by the browser too, and is no error of a script


def call(page: Page, name: str, *arguments: Any) -> tuple[int, Any]:
    """One call by the client: status and JSON of the answer."""
    answer = page.evaluate("([name, arguments]) => client[name](...arguments)", [name, list(arguments)])
    return answer["status"], answer["body"]


def submit(page: Page, **fields: str | bool) -> str:
    """Fill in the client's form and send it: the id of the new task."""
    for name, value in fields.items():
        page.set_checked(f"[name={name}]", value) if isinstance(value, bool) else page.fill(f"[name={name}]", value)
    page.fill("[name=filename]", str(fields["filename"]))
    page.click("#create button")
    said = page.wait_for_selector("#said:not(:empty)")
    assert said is not None
    found = re.fullmatch(r'200 \{"status":"success","id":"([A-Za-z0-9_-]+)"\}', said.inner_text())
    assert found, said.inner_text()
    page.wait_for_selector(f"tr[id='{found[1]}']")
    return found[1]


def cell(page: Page, task_id: str, name: str) -> str:
    """What the client shows of a task."""
    return page.inner_text(f"tr[id='{task_id}'] .{name}")


def press(page: Page, task_id: str, label: str) -> str:
    """Press one of the task's buttons: what the service said."""
    page.evaluate("document.getElementById('said').textContent = ''")
    page.click(f"tr[id='{task_id}'] button.{label}")
    said = page.wait_for_selector("#said:not(:empty)")
    assert said is not None
    return said.inner_text()


def shows(page: Page, task_id: str, name: str, text: str) -> None:
    """Wait until the client shows this of a task."""
    page.wait_for_function(
        "([id, name, text]) => document.getElementById(id)?.querySelector('.' + name).textContent === text",
        arg=[task_id, name, text],
    )


# -- The life of a task ----------------------------------------------------------------------------------------------


@in_browser_thread
def test_client_when_a_task_runs_to_its_end(stage: Stage) -> None:
    """A task made by the client's form is shown live, in the origin's words, and ends as a file of the asked name."""
    with client_page(stage) as page:
        task_id = submit(page, url=stage.source.url("slow"), filename="film")
        shows(page, task_id, "status", "下载中")
        shows(page, task_id, "status", "已完成")
        assert ("100", "") == (cell(page, task_id, "progress"), cell(page, task_id, "status_bar"))
        messages = [each for each in page.evaluate("client.heard") if each.get("id") == task_id]
    assert_live(messages)
    task = stage.service.task(task_id)
    assert (stage.service.saved / "film.mp4").stat().st_size == task["size"] > 100_000


def assert_live(messages: list[dict[str, Any]]) -> None:
    """What the socket said of one task goes forward only, in the origin's words, and has a rate and a time left."""
    progress = [each.get("progress", 0) for each in messages]
    assert sorted(progress) == progress
    assert len(set(progress)) > 5
    assert 100 == progress[-1]
    bars = [each["status_bar"] for each in messages if each.get("status_bar")]
    assert [] == [each for each in bars if not STATUS_BAR.fullmatch(each)]
    phases = [int(each[1]) for each in bars if each.startswith("[")]
    assert sorted(phases) == phases
    assert 3 in phases  # those after it last for less than the tenth of a second between two messages
    assert any("速度 " in each and "剩余时间" in each for each in bars)


@in_browser_thread
def test_client_when_it_lists(stage: Stage) -> None:
    """The list has the documented fields of every task, in order of creation; an empty one is a list too."""
    with client_page(stage) as page:
        assert (200, []) == call(page, "list")
        first = submit(page, url=stage.source.url("held"), filename="first")
        second = call(page, "create", {"url": stage.source.url("plain"), "filename": "second"})[1]["id"]
        done = stage.service.becomes(second, "已完成")
        status, tasks = call(page, "list")
    assert (200, [first, second]) == (status, [each["id"] for each in tasks])
    for task in tasks:
        assert [] == [name for name in SEED_FIELDS if name not in task]
        assert ISO_TIME.fullmatch(task["created_at"]) and ISO_TIME.fullmatch(task["updated_at"])
    assert ISO_TIME.fullmatch(done["completed_at"])
    assert ["下载中", "已完成"] == [each["status"] for each in tasks]
    assert {} == tasks[0]["header_map"]


@in_browser_thread
def test_client_when_it_sends_headers_and_advanced_settings(stage: Stage) -> None:
    """Headers and advanced settings typed into the client reach the source, the segments and the list."""
    with client_page(stage) as page:
        task_id = submit(
            page,
            url=stage.source.url("guarded"),
            filename="guarded",
            header="X-Token: open",
            advanced=True,
            download_threads="2",
            skip_ts_info="1,3-12",
            keep_ts_files=True,
        )
        shows(page, task_id, "status", "已完成")
        task = call(page, "list")[1][0]
    assert {"X-Token": ["open"]} == task["header_map"]
    wanted = {"download_threads": 2, "skip_ts_info": "1,3-12", "keep_ts_files": True, "no_merge_ts": False}
    assert wanted == {name: task["advanced_settings"][name] for name in wanted}
    fetched = sorted(path for path, _ in stage.source.asked if path.endswith(".ts"))
    assert [f"/guarded/{number:05d}.ts" for number in (1, 12, 13, 14)] == fetched
    assert {"open"} == {headers.get("X-Token") for _, headers in stage.source.asked}
    assert (stage.service.saved / "guarded" / "00002.ts").is_file()


@in_browser_thread
def test_client_when_a_task_fails(stage: Stage) -> None:
    """A source that refuses ends as 失败, with a reason in the list."""
    with client_page(stage) as page:
        task_id = submit(page, url=stage.source.url("guarded"), filename="refused")
        shows(page, task_id, "status", "失败")
        assert "401" in cell(page, task_id, "err_msg")


@in_browser_thread
def test_client_when_it_pauses_and_resumes(stage: Stage) -> None:
    """Pause stops the segments, resume fetches the missing ones only, and the file is whole."""
    with client_page(stage) as page:
        task_id = submit(page, url=stage.source.url("held"), filename="paused", advanced=True, download_threads="1")
        within(lambda: stage.service.task(task_id)["segments_done"] >= 3)
        assert '200 {"status":"success"}' == press(page, task_id, "pause")
        shows(page, task_id, "status", "已暂停")
        page.wait_for_timeout(600)
        fetched = len(stage.source.asked)
        stage.source.release.set()
        page.wait_for_timeout(900)
        assert fetched == len(stage.source.asked)
        assert '200 {"status":"success"}' == press(page, task_id, "pause")  # as often as one likes
        assert '200 {"status":"success"}' == press(page, task_id, "resume")
        shows(page, task_id, "status", "已完成")
        status, message = call(page, "resume", task_id)
        assert (400, str) == (status, type(message))  # a finished task stays finished
    segments = [path for path, _ in stage.source.asked if path.endswith(".ts")]
    assert len(segments) <= SEGMENTS + 1  # the one that was cut off may be asked for again
    assert SEGMENTS == len(set(segments))


@in_browser_thread
@pytest.mark.parametrize("status", ["下载中", "已暂停", "已完成"])
def test_client_when_it_deletes(stage: Stage, status: str) -> None:
    """A task goes in any state; its finished file stays."""
    with client_page(stage) as page:
        task_id = submit(page, url=stage.source.url("plain" if status == "已完成" else "held"), filename="gone")
        if status == "已暂停":
            press(page, task_id, "pause")
        shows(page, task_id, "status", status)
        assert '200 {"status":"success"}' == press(page, task_id, "remove")
        assert (200, []) == call(page, "list")
    film = stage.service.saved / "gone.mp4"
    assert (status == "已完成") == film.exists()
    film.unlink(missing_ok=True)


# -- What is refused -------------------------------------------------------------------------------------------------

URL = "http://source.example/index.m3u8"


@in_browser_thread
def test_client_when_it_asks_wrongly(stage: Stage) -> None:
    """Every error is the documented status with a JSON string, in the documented words where there are any."""
    cases: list[tuple[str, str, Any, int, str]] = [
        ("PUT", "/api/tasks", {"status": "已暂停"}, 400, "任务ID不能为空"),
        ("PUT", "/api/tasks?id=", {"status": "已暂停"}, 400, "任务ID不能为空"),
        ("DELETE", "/api/tasks", None, 400, "任务ID不能为空"),
        ("PUT", f"/api/tasks?id={NEVER_SEEN}", {"status": "等待中"}, 404, "任务不存在"),
        ("DELETE", f"/api/tasks?id={NEVER_SEEN}", None, 404, "任务不存在"),
        ("GET", f"/api/tasks?id={NEVER_SEEN}", None, 404, "任务不存在"),
        ("PATCH", "/api/tasks", None, 405, "方法不支持"),
        ("OPTIONS", "/api/tasks", None, 405, "方法不支持"),
        ("PUT", "/api/settings", {}, 405, "方法不支持"),
        ("DELETE", "/api/settings", None, 405, "方法不支持"),
    ]
    with client_page(stage) as page:
        for method, path, body, status, message in cases:
            sent = (method, path) if body is None else (method, path, body)
            assert (method, path, status, message) == (method, path, *call(page, "call", *sent))
        assert "GET, POST, PUT, DELETE" == page.evaluate("client.call('PATCH', '/api/tasks').then(each => each.allow)")


@in_browser_thread
def test_client_when_a_body_is_wrong(stage: Stage) -> None:
    """What cannot be a task, a state or a setting is a 400 whose JSON string names the field; nothing is made of it."""
    cases: list[tuple[str, str, Any, str]] = [
        ("POST", "/api/tasks", "text", "JSON"),
        ("POST", "/api/tasks", {}, "url"),
        ("POST", "/api/tasks", {"url": URL}, "filename"),
        ("POST", "/api/tasks", {"url": "ftp://source.example/a", "filename": "a"}, "url"),
        ("POST", "/api/tasks", {"url": URL, "filename": "../a"}, "filename"),
        ("POST", "/api/tasks", {"url": URL, "filename": "a", "advanced": "yes"}, "advanced"),
        ("POST", "/api/tasks", {"url": URL, "filename": "a", "advanced": True, "download_threads": -1}, "threads"),
        ("POST", "/api/tasks", {"url": URL, "filename": "a", "advanced": True, "skip_ts_info": "5-1"}, "skip_ts_info"),
        ("PUT", f"/api/tasks?id={NEVER_SEEN}", {"status": "已完成"}, "status"),
        ("PUT", f"/api/tasks?id={NEVER_SEEN}", {}, "status"),
        ("POST", "/api/settings", {"download_threads": "8"}, "download_threads"),
        ("POST", "/api/settings", {"proxy_type": "carrier pigeon"}, "proxy_type"),
    ]
    with client_page(stage) as page:
        for method, path, body, named in cases:
            status, message = call(page, "call", method, path, body)
            assert (body, 400, str) == (body, status, type(message))
            assert named in message
        broken = page.evaluate("""async () => {
            const headers = { "Content-Type": "application/json" };
            const answer = await fetch("/api/tasks", { method: "POST", headers, body: "{" });
            return [answer.status, await answer.json()];
        }""")
        assert 400 == broken[0] and broken[1].startswith("解析请求失败")
        assert (200, []) == call(page, "list")


# -- Settings --------------------------------------------------------------------------------------------------------


@in_browser_thread
def test_client_when_it_replaces_the_settings(stage: Stage) -> None:
    """Settings are read and replaced whole; a new task has those, unless it brings its own."""
    with client_page(stage) as page:
        status, settings = call(page, "readSettings")
        assert (200, False, "none") == (status, settings["keep_ts_files"], settings["proxy_type"])
        changed = settings | {"keep_ts_files": True, "download_threads": 3}
        assert (200, {"status": "success"}) == call(page, "replaceSettings", changed)
        assert (200, changed) == call(page, "readSettings")
        plain = call(page, "create", {"url": stage.source.url("held"), "filename": "plain"})[1]["id"]
        own = {"url": stage.source.url("held"), "filename": "own", "advanced": True, "download_threads": 5}
        call(page, "create", own)
        tasks = call(page, "list")[1]
        assert (200, {"status": "success"}) == call(page, "replaceSettings", {})
        assert (200, settings) == call(page, "readSettings")
        assert plain == tasks[0]["id"]
    threads = [
        (each["advanced_settings"]["download_threads"], each["advanced_settings"]["keep_ts_files"]) for each in tasks
    ]
    assert [(3, True), (5, True)] == threads


# -- The film --------------------------------------------------------------------------------------------------------

PLAY = """async () => {
    const video = document.querySelector("video");
    const happens = name => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, { once: true });
        video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
    });
    if (video.readyState < 1) await happens("loadedmetadata");
    const { duration, videoWidth, videoHeight } = video;
    await video.play();
    while (video.currentTime < 0.5) await happens("timeupdate");
    const decoded = [video.webkitDecodedFrameCount, video.webkitAudioDecodedByteCount];
    video.currentTime = duration - 1;
    await happens("ended");
    return { duration, videoWidth, videoHeight, decoded, end: video.currentTime };
}"""


@in_browser_thread
def test_film_in_the_browser(stage: Stage) -> None:
    """The MP4 plays in Chromium, picture and sound, has the length of the stream, and can be sought to its end."""
    stage.service.becomes(stage.service.add(stage.source.url("plain"), "played"), "已完成")
    film = stage.source.directory / "played.mp4"
    film.write_bytes((stage.service.saved / "played.mp4").read_bytes())
    stage.source.pages["/player"] = (
        "<!doctype html><link rel=icon href='data:,'><video src='/plain/played.mp4' muted preload=metadata></video>"
    )
    with stage.page() as (page, seen):
        page.goto(f"http://127.0.0.1:{stage.source.server_port}/player")
        found = page.evaluate(PLAY)
    assert (640, 360) == (found["videoWidth"], found["videoHeight"])
    assert SECONDS == pytest.approx(found["duration"], abs=0.2)
    assert found["duration"] == pytest.approx(found["end"], abs=0.2)
    frames, sound_bytes = found["decoded"]
    assert frames > 5 and sound_bytes > 100
    assert [] == seen.complaints
