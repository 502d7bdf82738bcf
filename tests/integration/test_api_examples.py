"""
The examples of /api/openapi.json, as a client finds them there: every body is sent to the running service and taken,
and every error that can be had by asking has the text of its example.
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.web import openapi
from m3u8svc.web.openapi_texts import EXAMPLES, STATUSES
from tests.integration.conftest import require
from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Answer, Service, running
from tests.integration.test_access import PASSWORD, make_token
from tests.integration.test_database import database, locked
from tests.integration.test_disks import filled
from tests.needs import memory_disk

TASK = {"url": "http://127.0.0.1:9/index.m3u8", "filename": "film"}
NOT_BY_ASKING = {416, 429, 500, 503}
"""Errors that take a finished file, very many requests, or a service that is broken: those are provoked below."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def token(place: Path) -> str:
    """Of an admin."""
    return make_token(place / "home", "--role", "admin")


@pytest.fixture(scope="module")
def service(place: Path, token: str) -> Iterator[Service]:
    """One that wants to know who is asking: a token, or the user of the examples."""
    require("curl")
    (place / "password").write_text(PASSWORD)
    (place / "c.toml").write_text(f'[[users]]\nname = "me"\npassword = {{"$file" = "{place}/password"}}\n')
    with running(place, "--config", str(place / "c.toml"), "--max-active", "1") as started, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        keep_busy(started, token, f"http://127.0.0.1:{silent.getsockname()[1]}/index.m3u8")
        yield started


def keep_busy(service: Service, token: str, url: str) -> None:
    """
    Nothing else starts: what the examples link to is asked for by nobody, and those that wait go on waiting.
    """
    bearer = f"Authorization: Bearer {token}"
    made = service.ask("POST", "/api/tasks", {"url": url, "filename": "held", "priority": 100}, bearer)
    deadline = time.monotonic() + 60
    while service.ask("GET", f"/api/tasks?id={made.value['id']}", None, bearer).value["status"] != "下载中":
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)


@pytest.fixture
def ask(service: Service, token: str) -> Callable[..., Answer]:
    """A request that shows the token."""
    return lambda method, target, body=None: service.ask(method, target, body, f"Authorization: Bearer {token}")


def bodies() -> Iterator[Any]:
    """Every example of a body, with its operation."""
    document = openapi.document(version="1", mergers=("mp4", "ts", "none"), storages=("disk",))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                for example in content["examples"].values():
                    name = f"{operation['operationId']}: {example['summary']}"
                    yield pytest.param(method.upper(), path, example["value"], id=name)


@pytest.mark.parametrize(("method", "path", "body"), list(bodies()))
def test_a_body(ask: Callable[..., Answer], token: str, method: str, path: str, body: dict[str, Any]) -> None:
    """It is taken as it stands, with no field that means nothing; that a token is one of ours is all that is added."""
    query = ""
    if method == "PUT":
        made = ask("POST", "/api/tasks", TASK)
        query = f"?id={made.value['id']}"
        assert 200 == ask("PUT", f"/api/tasks{query}", {"status": "已暂停"}).status
        if body == {"queue": "first"}:  # for those that wait
            assert 200 == ask("PUT", f"/api/tasks{query}", {"status": "等待中"}).status
    if "token" in body:
        body = {"token": token}
    answer = ask(method, path + query, body)
    assert (200, []) == (answer.status, answer.value.get("warnings", [])), answer.text


def test_the_document_has_these_examples(ask: Callable[..., Answer]) -> None:
    """The running service gives out the same."""
    document = ask("GET", "/api/openapi.json").value
    content = document["paths"]["/api/tasks"]["post"]["requestBody"]["content"]["application/json"]
    given = {each["summary"]: each["value"] for each in content["examples"].values()}
    assert EXAMPLES["NewTask"] == given


def test_errors(service: Service, ask: Callable[..., Answer], token: str) -> None:
    """What their examples say is what the service says."""
    bearer = f"Authorization: Bearer {token}"
    waits = ask("POST", "/api/tasks", TASK).value["id"]
    found = {
        400: ask("POST", "/api/tasks", {"url": TASK["url"]}),
        401: service.ask("GET", "/api/tasks"),
        403: service.ask("GET", "/api/tasks", None, "Origin: https://evil.example"),
        404: ask("DELETE", "/api/tasks?id=nobody"),
        409: ask("GET", f"/api/tasks/file?id={waits}"),
        413: ask("POST", "/api/settings", b'{"x": "' + b"x" * 20_000 + b'"}'),
        415: service.ask("POST", "/api/tasks", None, bearer, "Content-Type: text/plain", "Content-Length: 1"),
        421: service.ask("GET", "/api/tasks", None, bearer, "Host: evil.example"),
        431: service.ask("GET", "/api/tasks", None, bearer, "X: " + "y" * 17_000),
    }
    assert STATUSES.keys() - NOT_BY_ASKING == found.keys()
    assert {status: STATUSES[status][1] for status in found} == {
        status: answer.value for status, answer in found.items() if answer.status == status
    }


# -- Errors that take more than a question ---------------------------------------------------------------------------


def described(method: str, path: str, answer: Answer) -> tuple[str, bool]:
    """
    What the document says that such an answer of this operation says, numbers aside, and whether it knows its code and
    the header that says when to come back.
    """
    document = openapi.document(version="1", mergers=("mp4", "ts", "none"), storages=("disk",))
    response = document["paths"][path][method.lower()]["responses"][str(answer.status)]
    headers = response["headers"]
    known = answer.headers["x-error-code"] in headers["X-Error-Code"]["schema"]["enum"]
    later = ("retry-after" in answer.headers) <= ("Retry-After" in headers)
    return numbers_aside(response["content"]["application/json"]["example"]), known and later


def numbers_aside(text: str) -> str:
    """How many bytes, how many seconds: the machine's."""
    return re.sub(r"\d+", "N", text)


def assert_described(method: str, path: str, status: int, answer: Answer) -> None:
    """The answer has this status, and is what the document says of it."""
    assert status == answer.status, answer.text
    assert (numbers_aside(answer.value), True) == described(method, path, answer)


def test_a_range_that_the_file_has_not(
    start_service: Callable[..., Service], nginx: Nginx, streams: dict[str, Stream]
) -> None:
    """416."""
    service = start_service()
    task = service.finish(nginx.base + streams["plain"].path, "film")
    answer = service.ask("GET", f"/api/tasks/file?id={task['id']}", None, "Range: bytes=999999999-")
    assert_described("GET", "/api/tasks/file", 416, answer)


def test_too_many_requests(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """429, from a service that answers one a second."""
    (tmp_path / "c.toml").write_text("[web]\nrequests_per_s = 1\nowner_requests_per_s = 1\nrequests_burst = 1\n")
    service = start_service("--config", str(tmp_path / "c.toml"))
    deadline = time.monotonic() + 60
    while (answer := service.ask("GET", "/api/counts")).status == 200:
        assert time.monotonic() < deadline
    assert_described("GET", "/api/counts", 429, answer)


def test_a_database_that_is_locked(start_service: Callable[..., Service]) -> None:
    """503 to who would change something, and to who asks whether one could."""
    service = start_service()
    with locked(database(service)):
        assert_described("POST", "/api/tasks", 503, service.ask("POST", "/api/tasks", TASK))
        assert_described("GET", "/readyz", 503, service.ask("GET", "/readyz"))


def test_what_is_not_there_yet(start_service: Callable[..., Service]) -> None:
    """503 to who would watch a film before its playlist, or a segment of it, is here."""
    service = start_service()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        link = f"http://127.0.0.1:{silent.getsockname()[1]}"
        lines = "".join(f"#EXTINF:1,\n{link}/{number}.ts\n" for number in range(9))
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n"
        bodies = {
            "/api/tasks/play?id={}": {"url": f"{link}/index.m3u8"},
            "/api/tasks/picture?id={}&segment=7": {"url": "", "playlist": playlist},
        }
        for target, body in bodies.items():
            made = service.ask("POST", "/api/tasks", body | {"filename": "film"}).value["id"]
            path = target.partition("?")[0]
            deadline = time.monotonic() + 60
            while not is_there(service, made, planned="playlist" in body):
                assert time.monotonic() < deadline, service.log
                time.sleep(0.05)
            assert_described("GET", path, 503, service.ask("GET", target.format(made)))


def is_there(service: Service, task_id: str, *, planned: bool) -> bool:
    """Whether the task has begun, and has its segments."""
    if not planned:
        return bool(service.task(task_id)["status"] == "下载中")
    answer = service.ask("GET", f"/api/tasks/picture?id={task_id}&segment=99")  # it is known not to come
    return answer.headers.get("x-error-code") == "segment_absent"


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """500: what could not be done, and not why."""
    place = tmp_path / "service"
    place.mkdir()
    with memory_disk(place / "home", "2m") as home:
        home.chmod(0o700)
        with running(place) as service, filled(home):
            assert_described("POST", "/api/tasks", 500, service.ask("POST", "/api/tasks", TASK))
            assert_described("POST", "/api/settings", 500, service.ask("POST", "/api/settings", {}))
