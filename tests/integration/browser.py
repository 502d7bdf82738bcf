"""
What the browser's tests stand on: a Chromium, the service as a child process, and a source that serves slowly.

Playwright's synchronous calls and pytest-twisted's reactor cannot share a thread. So everything that touches the
browser runs in one thread of its own, tests included (`in_browser_thread`); the reactor of the tests is not used.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import attrs
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.visited import VisitedServer

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
    " --host-resolver-rules=MAP&rebound.example&127.0.0.1"
)
"""The last one gives the attacker a name that leads to us."""

WITHIN_S = 60
STARTS_WITHIN_S = 120
SECONDS, SEGMENTS = 30, 15
"""The stream that the source serves."""

_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="browser")


def in_browser_thread(test: Callable[..., None]) -> Callable[..., None]:
    """
    Run a test where the browser lives.
    """

    @functools.wraps(test)
    def call(*arguments: Any, **fixtures: Any) -> None:
        _THREAD.submit(test, *arguments, **fixtures).result()

    return call


def turned(buttons: Locator) -> list[str]:
    """
    Which of these elements have become another button since this was asked last. A press that began on one of them
    would be lost then, and a reader's place among the buttons, moved with Tab, would be on something else.
    """
    return list(
        buttons.evaluate_all(
            """buttons => buttons.flatMap(button => {
                const name = button.getAttribute("aria-label") ?? button.textContent, before = button.calledBefore;
                button.calledBefore = name;
                return before && before !== name ? [`${before} became ${name}`] : [];
            })"""
        )
    )


def within(condition: Callable[[], Any], *, seconds: float = WITHIN_S) -> Any:
    """
    What `condition` answers once it is true; fails when that takes too long.
    """
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds} s: {condition}"
        time.sleep(0.05)
    return found


# -- The source of streams -------------------------------------------------------------------------------------------


class Source(VisitedServer):
    """
    Serves one directory in several ways, by the first part of the path:

    ``plain/`` at once; ``slow/`` one segment after another, 0.3 s each; ``guarded/`` only to who shows X-Token: open;
    ``held/`` three segments, and the others when `release` is set, or when their numbers are in `let_through`. `pages`
    are served as HTML by their path. `asked` is every request: path and headers.
    """

    daemon_threads = True
    segment_s = 0.3
    held_after = 3

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.directory = directory
        self.pages: dict[str, str] = {}
        self.release = threading.Event()
        self.let_through: set[int] = set()
        self.turn = threading.Lock()
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def url(self, way: str, host: str = "127.0.0.1") -> str:
        """Where the stream is served this way."""
        return f"http://{host}:{self.server_port}/{way}/index.m3u8"


class _Visit(BaseHTTPRequestHandler):
    server: Source
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """A page, or a file in one of the ways, whole or the range asked for."""
        self.server.asked.append((self.path, dict(self.headers)))
        if self.path in self.server.pages:
            self._send(200, "text/html; charset=utf-8", self.server.pages[self.path].encode())
            return
        way, _, name = self.path.lstrip("/").partition("/")
        path = self.server.directory / name
        if not path.is_file():
            self._send(404, "text/plain", b"")
        elif way == "guarded" and self.headers.get("X-Token") != "open":
            self._send(401, "text/plain", b"")
        else:
            self._wait(way, path)
            self._send_file(path.read_bytes(), "video/mp4" if path.suffix == ".mp4" else "application/octet-stream")

    def _wait(self, way: str, path: Path) -> None:
        if path.suffix != ".ts":
            return
        if way == "held" and int(path.stem) >= self.server.held_after:
            while int(path.stem) not in self.server.let_through and not self.server.release.wait(0.05):
                pass
        elif way in ("slow", "guarded"):
            with self.server.turn:
                time.sleep(self.server.segment_s)

    def _send_file(self, body: bytes, content_type: str) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, content_type, body)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
        named = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
        self._send(206, content_type, body[first : last + 1], named)

    def _send(self, status: int, content_type: str, body: bytes, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving(source: Source) -> Iterator[Source]:
    """
    The source, while it serves.
    """
    thread = threading.Thread(target=source.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    with source:
        thread.start()
        yield source
        source.release.set()
        source.shutdown()
        thread.join()


def stream_in(directory: Path) -> Path:
    """
    The directory of the stream, made once for all modules.
    """
    if not directory.exists():
        made = [sys.executable, "-m", "m3u8svc.testing.stream", str(directory), "--seconds", str(SECONDS)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return directory


# -- The service -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Service:
    """
    The service as a child, seen by the tests themselves, past the browser.
    """

    base: str
    saved: Path
    log: Path
    token: str = attrs.field(default="", repr=False)
    """What the tests themselves show; "" where nobody is asked."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.base.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API; its JSON."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        sent = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.base + path, data=sent, headers=headers, method=method), timeout=WITHIN_S) as answer:
            return json.load(answer)

    def tasks(self) -> list[dict[str, Any]]:
        """All of them."""
        found: list[dict[str, Any]] = self.ask("GET", "/api/tasks")
        return found

    def task(self, task_id: str) -> dict[str, Any]:
        """One of them."""
        found: dict[str, Any] = self.ask("GET", f"/api/tasks?id={task_id}")
        return found

    def add(self, url: str, filename: str, **fields: Any) -> str:
        """A new task; its id."""
        made: str = self.ask("POST", "/api/tasks", {"url": url, "filename": filename, **fields})["id"]
        return made

    def becomes(self, task_id: str, status: str) -> dict[str, Any]:
        """The task once it is in this state."""
        within(lambda: self.task(task_id)["status"] == status)
        return self.task(task_id)

    def clear(self) -> None:
        """Delete every task and its file, and let the settings be those of the beginning."""
        for task in self.tasks():
            self.ask("DELETE", f"/api/tasks?id={task['id']}&files=true")
        self.ask("POST", "/api/settings", {})


@contextmanager
def serve(directory: Path, *options: str, with_token: bool = False, site: Path | None = None) -> Iterator[Service]:
    """
    A service on a free port, ended at the end; with a token for an admin, if that is wanted, and with the plugins that
    are installed in `site`.
    """
    home = ["--home", str(directory / "home")]
    token = ""
    if with_token:
        create = [sys.executable, "-m", "m3u8svc", "token", "create", "--role", "admin", *home]
        token = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    log_path, saved = directory / "service.log", directory / "saved"
    command = [sys.executable, "-m", "m3u8svc", "serve", "--listen", "tcp:0:interface=127.0.0.1"]
    command += [*home, "--save-dir", str(saved), *options]
    found_in = {**os.environ, "PYTHONPATH": str(site)} if site else None
    with (
        log_path.open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=found_in) as child,
    ):
        try:
            address = re.compile(r"listening on (http://\S+)\n")
            within(lambda: address.search(log_path.read_text()) or child.poll() is not None, seconds=STARTS_WITHIN_S)
            found = address.search(log_path.read_text())
            assert found, log_path.read_text()
            yield Service(base=found[1], saved=saved, log=log_path, token=token)
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise


# -- The browser -----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Seen:
    """
    What a page did besides what was asked of it: complaints on the console (a broken policy is one), errors of
    scripts, and the URLs it requested.
    """

    complaints: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)

    def watch(self, page: Page) -> None:
        """Take note from now on."""
        page.on("console", lambda line: self._read(line))  # not the bound method: Playwright marks its owner
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _read(self, line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            self.complaints.append(f"{line.text} {line.location['url']}".rstrip())


@attrs.frozen(kw_only=True)
class Stage:
    """
    A browser, a service and a source.
    """

    browser: Browser
    service: Service
    source: Source

    @contextmanager
    def page(self, **options: Any) -> Iterator[tuple[Page, Seen]]:
        """
        A page in a new profile, which has logged in where one must, and what it did; `options` are those of
        Playwright's context.
        """
        with self.browser.new_context(**options) as context:
            if self.service.token:
                self._log_in(context)
            page = context.new_page()
            page.set_default_timeout(WITHIN_S * 1000)
            seen = Seen()
            seen.watch(page)
            yield page, seen

    def _log_in(self, context: BrowserContext) -> None:
        """As somebody does: on the login, which stands in the page's place."""
        page = context.new_page()
        page.set_default_timeout(WITHIN_S * 1000)
        page.goto(self.service.base + "/")
        page.fill("#login input[type=password]", self.service.token)
        page.click("#login button[type=submit]")
        expect(page.locator("#logout")).to_be_visible()
        page.close()


@contextmanager
def open_stage(temporary: Path, *options: str, with_token: bool = False, site: Path | None = None) -> Iterator[Stage]:
    """
    Everything started, in a directory of its own below `temporary`; the rest is for `serve`. Without Chromium: skipped,
    or failed with CI=true.
    """
    require_chromium()
    stream = stream_in(temporary / "browser-stream")
    directory = temporary / f"browser-{time.monotonic_ns()}"
    directory.mkdir()
    with (
        serve(directory, *options, with_token=with_token, site=site) as service,
        serving(Source(stream)) as source,
        chromium() as browser,
    ):
        yield Stage(browser=browser, service=service, source=source)
    shutil.rmtree(directory)


def require_chromium() -> None:
    """
    Skip the test where there is none, or fail it with CI=true.
    """
    if not CHROMIUM.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs Chromium at {CHROMIUM}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """
    A browser, which lives in its thread.
    """
    started = _THREAD.submit(_start_browser).result()
    try:
        yield started[1]
    finally:
        _THREAD.submit(_stop_browser, *started).result()


def _start_browser() -> tuple[Any, Browser]:  # Any: Playwright's driver has no public type for its synchronous half
    expect.set_options(timeout=WITHIN_S * 1000)
    driver = sync_playwright().start()
    arguments = [each.replace("&", " ") for each in ARGUMENTS.split()]
    return driver, driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=arguments)


def _stop_browser(driver: Any, browser: Browser) -> None:
    browser.close()
    driver.stop()
