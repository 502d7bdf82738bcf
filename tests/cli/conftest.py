"""
A service for the thin clients to talk to: real HTTP in a thread, the documented API over a dict of tasks.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from click.testing import CliRunner, Result

from m3u8svc.cli import program
from m3u8svc.tasks.task import Status
from tests.visited import VisitedServer

ENGLISH, CHINESE = "C.UTF-8", "zh_CN.UTF-8"

Invoke = Callable[..., Result]
"""Runs ``m3u8svc`` with these arguments; `locale=` and `server=` say where and for whom."""


def task(task_id: str, **fields: Any) -> dict[str, Any]:
    """One object of GET /api/tasks; a test names only what matters to it."""
    return {
        "id": task_id,
        "url": f"http://stream.example/{task_id}.m3u8",
        "filename": "film",
        "size": 0,
        "progress": 0,
        "status": "等待中",
        "status_bar": "",
        "created_at": "2026-01-02T03:04:05.000006Z",
        "updated_at": "2026-01-02T03:04:05.000006Z",
        "header_map": {},
        "advanced_settings": {},
    } | fields


@attrs.frozen(kw_only=True)
class Visit:
    """One request the service got."""

    method: str
    query: Mapping[str, str]
    body: Any
    content_type: str | None


@attrs.frozen(kw_only=True)
class Raw:
    """An answer given as it is, whatever was asked."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class StubService(VisitedServer):
    """
    The API over `tasks`; `visits` is what it was asked, `answer` replaces every answer, `before_get` runs before a list
    is given (a test moves tasks on with it). `keys` are the Idempotency-Keys it got and `authorizations` the headers of
    that name; `losing` says after how many bytes of its body each of the next answers breaks off, -1 for one that never
    begins; `degraded` is what is wrong with it; `counting` is whether it has /api/counts;
    `page_tasks` is the largest limit it takes, 0 if it heeds none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), StubRequest)
        self.tasks: dict[str, dict[str, Any]] = {}
        self.visits: list[Visit] = []
        self.answer: Raw | None = None
        self.warnings: list[str] = []
        self.warnings_en: list[str] = []
        self.before_get: Callable[[], None] = lambda: None
        self.keys: list[str | None] = []
        self.authorizations: list[str | None] = []
        self.losing: list[int] = []
        self.degraded: list[dict[str, str]] | None = []
        self.counting = True
        self.page_tasks: int | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, *tasks: dict[str, Any]) -> None:
        """Let these tasks be there."""
        self.tasks |= {each["id"]: each for each in tasks}

    @property
    def changes(self) -> list[Visit]:
        """The requests that would have changed something."""
        return [visit for visit in self.visits if visit.method != "GET"]

    def respond(self, visit: Visit) -> Raw:
        """What the API says to a request."""
        if self.answer is not None:
            return self.answer
        if visit.method == "POST":
            return _json({"status": "success", "id": "new1"} | self._warnings())
        if visit.method == "GET":
            self.before_get()
            if "id" not in visit.query:
                if self.page_tasks and int(visit.query.get("limit", 0)) > self.page_tasks:
                    return _refusal(400, f"limit 必须是 1 到 {self.page_tasks} 的整数", "invalid_request")
                return _json(self.listed(visit.query))
        if not visit.query.get("id"):
            return _refusal(400, "任务ID不能为空", "missing_task_id")
        found = self.tasks.get(visit.query["id"])
        if found is None:
            return _refusal(404, "任务不存在", "task_not_found")
        if visit.method == "GET":
            return _json(found)
        if visit.method == "PUT" and found["status"] == "已完成":
            return _refusal(400, "任务不能从“已完成”变为“等待中”", "invalid_transition")
        return _json({"status": "success"} | self._warnings())

    def _warnings(self) -> dict[str, list[str]]:
        both = {"warnings": self.warnings, "warnings_en": self.warnings_en}
        return {name: texts for name, texts in both.items() if texts}

    def listed(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """By the filters that a test needs; the queue is in order of creation."""
        wanted, text = query.get("status"), query.get("q", "")
        found = [each for each in self.tasks.values() if wanted in (None, each["status"])]
        found = [each for each in found if any(text in each[name] for name in ("id", "filename", "url"))]
        if query.get("order") == "desc":
            found.reverse()
        if self.page_tasks == 0:
            return found
        return found[int(query.get("offset", 0)) :][: int(query.get("limit", len(found)))]

    def counts(self) -> Raw:
        """How many there are of each state, if it is not too old to say."""
        if not self.counting:
            return _refusal(404, "路径不存在", "not_found")
        tally = Counter(each["status"] for each in self.tasks.values())
        return _json({"total": len(self.tasks), **{status.value: tally[status.value] for status in Status}})


class StubRequest(BaseHTTPRequestHandler):
    """One request."""

    server: StubService

    def do_GET(self) -> None:
        """Any method."""
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.authorizations.append(self.headers.get("Authorization"))
        if url.path == "/api/health":
            return self._answer(_health(self.server.degraded))
        if url.path == "/api/counts":
            return self._answer(self.server.counts())
        assert url.path in ("/api/tasks", "/api/plugins")
        visit = Visit(
            method=self.command,
            query={name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()},
            body=json.loads(body) if body else None,
            content_type=self.headers.get("Content-Type"),
        )
        self.server.visits.append(visit)
        self.server.keys.append(self.headers.get("Idempotency-Key"))
        raw = self.server.respond(visit)
        kept = self.server.losing.pop(0) if self.server.losing else len(raw.body)
        if kept >= 0:
            self._answer(raw, kept)

    do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self, raw: Raw, kept: int | None = None) -> None:
        self.send_response(raw.status)
        for name, value in [("Content-Type", raw.content_type), *raw.headers, ("Content-Length", str(len(raw.body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw.body[:kept])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _json(value: Any) -> Raw:
    return Raw(body=json.dumps(value, ensure_ascii=False).encode())


def _health(degraded: list[dict[str, str]] | None) -> Raw:
    """Of a service that says how it is; None: of one that is too old to."""
    if degraded is None:
        return _refusal(404, "路径不存在", "not_found")
    return _json({"status": "degraded" if degraded else "ok", "version": "0", "degraded": degraded})


def _refusal(status: int, text: str, code: str) -> Raw:
    return Raw(status=status, body=json.dumps(text).encode(), headers=(("X-Error-Code", code),))


@pytest.fixture
def service() -> Iterator[StubService]:
    """The stub, serving."""
    with StubService() as stub:
        thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield stub
        stub.shutdown()
        thread.join()


@pytest.fixture
def invoke(service: StubService) -> Invoke:
    """The command line, pointed at the stub."""

    def run(*arguments: str, locale: str = ENGLISH, server: str | None = None) -> Result:
        environment = {
            "LC_ALL": locale,
            "M3U8SVC_SERVER": service.url if server is None else server,
            "FORCE_COLOR": None,
            "TTY_COMPATIBLE": None,
        }
        return CliRunner().invoke(program, arguments, env=environment, catch_exceptions=False)

    return run
