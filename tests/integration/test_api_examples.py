"""
The examples of /api/openapi.json, as a client finds them there: every body is sent to the running service and taken,
and every error that can be had by asking has the text of its example.
"""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.web import openapi
from m3u8svc.web.openapi_texts import EXAMPLES, STATUSES
from tests.integration.conftest import require
from tests.integration.service_child import Answer, Service, running
from tests.integration.test_access import PASSWORD, make_token

TASK = {"url": "http://127.0.0.1:9/index.m3u8", "filename": "film"}
NOT_BY_ASKING = {416, 429, 500, 503}
"""Errors that take a finished file, very many requests, or a service that is broken."""


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
