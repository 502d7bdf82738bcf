"""
The dashboard in Chromium, with ten thousand tasks of which fifty download: how long its frames are while the list is
scrolled and while it is told of progress, and how soon it can be used with an empty cache.

    .venv/bin/python -m pytest tests/bench/test_dashboard.py -m bench -s

The browser, its renderer in software, the service and the source share the machine, so a frame lasts as long as others
let it. What the page itself takes of the processor is in Chromium's own trace, task by task of its main thread; the
limits that are held are those of that.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any  # Any: JSON of Chromium's trace

import attrs
import pytest
from playwright.sync_api import Browser, Page

from tests.bench.test_database import fill
from tests.bench.test_responsive import used_s
from tests.integration.browser import chromium, in_browser_thread, require_chromium, stream_in, within
from tests.integration.conftest import require
from tests.integration.nginx_server import Nginx, serving
from tests.integration.service_child import Service, running

pytestmark = pytest.mark.bench

STORED, ACTIVE = 10_000, 50
REPEATS = 100
"""So often is the stream in its playlist, at 50 KB a second: no download ends while something is measured."""
FRAME_S = 0.05
WATCHED_S = 15.0
IDLE_S = 5.0
LOADS = 5
USABLE_S = 1.0
STEP = 700
"""A screen a frame: what is drawn is never seen before."""
CATEGORIES = ("devtools.timeline", "disabled-by-default-devtools.timeline")
KINDS = {
    "FunctionCall": "script",
    "v8.run": "script",
    "EvaluateScript": "script",
    "FireAnimationFrame": "script",
    "UpdateLayoutTree": "style",
    "Layout": "layout",
    "PrePaint": "paint",
    "Paint": "paint",
    "Layerize": "paint",
    "Commit": "paint",
    "ParseHTML": "parse",
    "MinorGC": "garbage",
    "MajorGC": "garbage",
}
"""What tasks are spent on, by the names of the trace."""

SCROLL = """step => new Promise(done => {
    const down = () => {
        const before = scrollY;
        scrollBy(0, step);
        if (scrollY > before) requestAnimationFrame(down); else done(scrollY);
    };
    requestAnimationFrame(down);
})"""
UP_AND_DOWN = """milliseconds => new Promise(done => {
    const until = performance.now() + milliseconds;
    let step = 60;
    const move = () => {
        const before = scrollY;
        scrollBy(0, step);
        if (scrollY === before || scrollY > 3000) step = -step;
        if (performance.now() < until) requestAnimationFrame(move); else done();
    };
    requestAnimationFrame(move);
})"""
"""Among those that download."""

FRAMES = """() => {
    window.frames_ = [];
    let last = null;
    const tick = now => {
        if (!frames_) return;
        if (last !== null) frames_.push(now - last);
        last = now;
        requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
}"""
TAKEN = "() => { const taken = frames_; window.frames_ = null; return taken; }"
USABLE = """() => {
    const answered = () => {
        const button = document.querySelector(".task .expand");
        if (!button) return;
        watching.disconnect();
        window.rows_ = performance.now();
        button.click();
        const look = () => {
            if (document.querySelector(".task .expand[aria-expanded=true]")) window.usable_ = performance.now();
            else setTimeout(look);
        };
        look();
    };
    const watching = new MutationObserver(answered);
    watching.observe(document, { subtree: true, childList: true });
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def origin(place: Path) -> Iterator[Nginx]:
    """One that is slow, and has a stream for as long as it takes."""
    require("nginx", "curl", "openssl")
    root = stream_in(place / "www")
    head, *segments = (root / "index.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "").split("#EXTINF")
    again = "#EXT-X-DISCONTINUITY\n".join(["".join(f"#EXTINF{each}" for each in segments)] * REPEATS)
    (root / "index.m3u8").write_text(f"{head}{again}#EXT-X-ENDLIST\n")
    (place / "nginx").mkdir()
    with serving(place / "nginx", root) as nginx:
        yield nginx


@pytest.fixture(scope="module")
def service(place: Path, origin: Nginx) -> Iterator[Service]:
    """One that has done much, and is at work on fifty more."""
    with running(place / "service", "--max-active", str(ACTIVE)) as started:
        started.stop()
        fill(started.home / "m3u8svc.sqlite3", finished=STORED - ACTIVE)
        started.start()
        for number in range(ACTIVE):
            started.add(f"{origin.base}/slow/index.m3u8", f"film {number}", download_threads=1)
        within(lambda: started.ask("GET", "/api/counts").value["下载中"] == ACTIVE)
        within(lambda: all(task["bytes"] for task in started.ask("GET", f"/api/tasks?limit={ACTIVE}&order=desc").value))
        yield started
        started.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_chromium()
    with chromium() as started:
        yield started


# -- What a trace says -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Trace:
    """
    What the page's main thread did: its tasks as (begin, wall time, processor time), the begins of its frames, and
    the wall time of each kind of work, all in seconds.
    """

    tasks: Sequence[tuple[float, float, float]]
    frames: Sequence[float]
    kinds: dict[str, float]

    def per_frame(self) -> list[float]:
        """The processor time of each frame: of all the tasks from one to the next."""
        found, tasks = [], iter([*self.tasks, (float("inf"), 0.0, 0.0)])
        begin, _, used = next(tasks)
        for _, end in pairwise(self.frames):
            spent = 0.0
            while begin < end:
                spent += used
                begin, _, used = next(tasks)
            found.append(spent)
        return found


def read_trace(given: bytes) -> Trace:
    """
    The trace of one page: of the renderer that had most to do.
    """
    events: list[dict[str, Any]] = json.loads(given)["traceEvents"]
    mains = {(each["pid"], each["tid"]) for each in events if each.get("args", {}).get("name") == "CrRendererMain"}
    by_thread = {main: [each for each in events if (each["pid"], each["tid"]) == main] for main in mains}
    ours = max(by_thread.values(), key=lambda each: sum(event["name"] == "FireAnimationFrame" for event in each))
    ours.sort(key=lambda each: each["ts"])
    kinds: dict[str, float] = {}
    for each in ours:
        kind = KINDS.get(each["name"])
        if kind and each["ph"] == "X":
            kinds[kind] = kinds.get(kind, 0) + each["dur"] / 1e6
    tasks = [
        (each["ts"] / 1e6, each["dur"] / 1e6, each["tdur"] / 1e6)
        for each in ours
        if each["name"] == "RunTask" and each["ph"] == "X"
    ]
    assert sum(used for _, _, used in tasks) > 0, "the trace has no processor time"
    return Trace(
        tasks=tasks,
        frames=[each["ts"] / 1e6 for each in ours if each["name"] == "FireAnimationFrame"],
        kinds=kinds,
    )


@attrs.frozen(kw_only=True)
class Watched:
    """
    What was seen of a page for a while: the times between its frames as it was told of them, and its trace.
    """

    frames: Sequence[float]
    trace: Trace
    messages: int

    def say(self, name: str) -> float:
        """Print it; the longest frame, in processor time."""
        used = self.trace.per_frame()
        longest = [used_s for _, _, used_s in self.trace.tasks]
        print(f"{name:10} {row(self.frames)}   {row(used)}   {max(longest) * 1e3:6.1f} {self.messages:8}")
        spent = ", ".join(f"{kind} {time_s * 1e3:.0f}" for kind, time_s in sorted(self.trace.kinds.items()))
        print(f"{'':10} ms in all: {spent}")
        return max(used)


def row(times: Sequence[float]) -> str:
    """The middle, the 95th and 99th of a hundred, and the longest, in ms."""
    ranked = sorted(times)
    shown = [statistics.median(ranked), *(ranked[int(len(ranked) * part)] for part in (0.95, 0.99)), ranked[-1]]
    return " ".join(f"{each * 1e3:6.1f}" for each in shown)


@contextmanager
def shown(browser: Browser, service: Service) -> Iterator[tuple[Page, list[object]]]:
    """
    The dashboard with its rows, in a new profile, and what the WebSocket has said so far.
    """
    with browser.new_context() as context:
        page, heard = context.new_page(), list[object]()
        page.on("websocket", lambda socket: socket.on("framereceived", lambda message: heard.append(message)))
        page.goto(service.base + "/")
        within(lambda: page.locator(".task").count() and heard)
        yield page, heard


def watch(browser: Browser, page: Page, heard: Sequence[object], act: Callable[[], object]) -> Watched:
    """
    The page while this is done with it.
    """
    browser.start_tracing(page=page, categories=list(CATEGORIES))
    page.evaluate(FRAMES)
    before = len(heard)
    act()
    frames = page.evaluate(TAKEN)
    messages = len(heard) - before
    trace = read_trace(browser.stop_tracing())
    return Watched(frames=[each / 1e3 for each in frames], trace=trace, messages=messages)


@in_browser_thread
def test_frames(browser: Browser, service: Service) -> None:
    """No frame takes more of the processor than it may last; beside them, those of an empty page."""
    print(f"\n{'ms':10} {'between frames: p50, p95, p99, max':27}   {'processor of a frame':27}   longest messages")
    with browser.new_context() as context:
        watch(browser, context.new_page(), (), lambda: time.sleep(IDLE_S)).say("empty page")
    with shown(browser, service) as (page, heard):
        found = [
            watch(browser, page, heard, lambda: page.wait_for_timeout(WATCHED_S * 1000)).say("updates"),
            watch(browser, page, heard, lambda: page.evaluate(UP_AND_DOWN, WATCHED_S * 1000)).say("both"),
            watch(browser, page, heard, lambda: page.evaluate(SCROLL, STEP)).say("scrolling"),
        ]
        assert page.locator(f'.task[data-place="{STORED - 1}"]').is_visible()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    assert max(found) < FRAME_S


@in_browser_thread
def test_the_first_load(browser: Browser, service: Service) -> None:
    """From nothing to rows, and to an answer to a click: in every load a new profile."""
    loads = [load(browser, service) for _ in range(LOADS)]
    rows, usable, used, waited = zip(*loads, strict=True)
    print(f"\nrows after {spread(rows)}, an answer to a click after {spread(usable)}")
    print(f"processor of page and service: {spread(used)}; for one they waited {spread(waited)}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    assert statistics.median(used) < USABLE_S


def load(browser: Browser, service: Service) -> tuple[float, float, float, float]:
    """
    When there were rows, when a click was answered, what of the processor page and service took, and how long their
    main threads were ready and had none: what others took.
    """
    before, waited = used_s(service.pid), waited_s(service.pid)
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(f"({USABLE})()")
        browser.start_tracing(page=page, categories=list(CATEGORIES))
        page.goto(service.base + "/")
        rows, usable = within(lambda: page.evaluate("window.usable_ && [window.rows_, window.usable_]"))
        trace = read_trace(browser.stop_tracing())
    lasted, used = (sum(each) for each in list(zip(*trace.tasks, strict=True))[1:])
    waited = lasted - used + waited_s(service.pid) - waited
    return rows / 1e3, usable / 1e3, used + used_s(service.pid) - before, waited


def waited_s(pid: int) -> float:
    """How long the main thread of a process was ready to run and did not."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def spread(times: Sequence[float]) -> str:
    """The middle, and both ends."""
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
