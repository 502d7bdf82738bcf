"""
A receiver of webhooks on loopback, and the plugin over a directory of its own.
"""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from twisted.internet import reactor  # noqa: TID251  # a test names it
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from m3u8svc.plugin import Services, Settings, Status, Task, TaskSpec

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # how long an example takes says what else the machine does; the rest is as it was

SECRET = "correct horse battery staple"


@attrs.frozen(kw_only=True)
class Received:
    """One POST."""

    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def said(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Receiver:
    """
    Answers each POST by `answer`, which gets it and returns a status, or a status and headers; 200 without one.
    """

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answer: Callable[[Received], Any] = lambda received: 200
        self.hang = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received = Received(
                    path=self.path, headers={name.lower(): value for name, value in self.headers.items()}, body=body
                )
                answer = receiver.answer(received)
                receiver.got.append(received)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                if status == 0:
                    receiver.hang.wait()
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self) -> None:
                receiver.got.append(Received(path="GET " + self.path, headers={}, body=b""))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=in-the-query"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.hang.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A fresh one."""
    made = Receiver()
    yield made
    made.close()


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        def say(text: str, /, **fields: object) -> None:
            self.lines.append(f"{level}: {text.format(**fields)}")

        return say


class World:
    """
    The plugin, loaded as installed, over one state directory; as many of it as a test starts.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = Lines()
        self.reactor: Any = reactor
        """What the plugin gets."""
        self._open: list[Any] = []

    async def plugin(self, **config: Any) -> Any:
        """A new one, configured."""
        (found,) = entry_points(group="m3u8svc", name="notify")
        plugin = found.load()()

        async def fetch(url: str, **more: object) -> bytes:
            raise AssertionError("it fetches nothing")

        services = Services(
            reactor=self.reactor,
            clock=reactor,
            in_thread=deferToThread,
            log=self.log,
            state_dir=self.place,
            fetch=fetch,
        )
        await plugin.configure(config=config, services=services)
        self._open.append(plugin)
        return plugin

    async def close(self, plugin: Any = None) -> None:
        """One of them, or all that are open."""
        for each in [plugin] if plugin else list(self._open):
            self._open.remove(each)
            await each.close()

    async def pause(self, seconds: float) -> None:
        """Let the reactor run."""
        await deferLater(reactor, seconds, lambda: None)

    async def until(self, condition: Callable[[], Any], within_s: float = 15.0) -> None:
        """Wait for it."""
        for _ in range(int(within_s / 0.02)):
            if condition():
                return
            await self.pause(0.02)
        raise AssertionError(f"it does not come true; the log: {self.log.lines}")

    @staticmethod
    def task(status: Status = Status.COMPLETED, *, id: str = "t1", filename: str = "film") -> Task:
        """One."""
        spec = TaskSpec(url="https://example.test/list.m3u8?token=s3cret", filename=filename, settings=Settings())
        return Task(id=id, spec=spec, status=status)

    @staticmethod
    def running(work: Any) -> "Deferred[Any]":
        """A coroutine that goes on beside the test."""
        return Deferred.fromCoroutine(work)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    state = tmp_path / "state"
    state.mkdir()
    return World(state)


# -- The real service ------------------------------------------------------------------------------------------------


class ServedService:
    """
    `m3u8svc serve` as a child with a configuration file, asked over its REST API only.
    """

    def __init__(self, place: Path, configuration: str, environment: Mapping[str, str]) -> None:
        self.saves = place / "saves"
        self._place = place
        self._environment = {**os.environ, **environment}
        self._log_file = place / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._base = ""
        (place / "config.toml").write_text(configuration, encoding="utf-8")

    def start(self) -> None:
        """Start it, or start it again on the same state; returns when it listens."""
        printed = len(self.log)
        command = [str(Path(sys.executable).with_name("m3u8svc")), "serve", "--listen", "tcp:0:interface=127.0.0.1"]
        command += ["--home", str(self._place / "home"), "--save-dir", str(self.saves)]
        command += ["--config", str(self._place / "config.toml")]
        with self._log_file.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=self._environment)
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on (http\S+)", self.log[printed:])):
            assert self._process.poll() is None, f"the service ended at once:\n{self.log}"
            assert time.monotonic() < deadline, f"the service does not listen:\n{self.log}"
            time.sleep(0.05)
        self._base = found[1]

    def end(self, number: int) -> None:
        """End it by this signal."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self._log_file.read_text(encoding="utf-8", errors="replace") if self._log_file.exists() else ""

    def ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        """Status and value of one request."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + target, data=sent, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait(self, task_id: str, within_s: float = 60.0) -> Any:
        """The task once it is done or has failed."""
        deadline = time.monotonic() + within_s
        while True:
            status, task = self.ask("GET", f"/api/tasks?id={task_id}")
            assert status == 200, task
            if task["status"] in ("已完成", "失败"):
                return task
            assert time.monotonic() < deadline, f"the task is stuck: {task}\n{self.log}"
            time.sleep(0.1)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServedService]]:
    """Starts a service with a configuration and an environment of its own; it is ended with the test."""
    started: list[ServedService] = []

    def start(configuration: str = "", **environment: str) -> ServedService:
        place = tmp_path / f"service{len(started)}"
        place.mkdir()
        service = ServedService(place, configuration, environment)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.end(signal.SIGKILL)


class Origin:
    """
    Serves a directory on loopback, each file only after `delay_s`.
    """

    def __init__(self, directory: Path) -> None:
        self.delay_s = 0.0
        origin = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(origin.delay_s)
                super().do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(directory)))
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """A fresh one, of the directory `tmp_path / "origin"`."""
    (tmp_path / "origin").mkdir()
    made = Origin(tmp_path / "origin")
    yield made
    made.close()
