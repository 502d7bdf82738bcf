"""
The fuzzing itself: batches of requests to one running service, each from a seed of its own, and what is wrong with the
answers.
"""

import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import jsonschema_rs
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from m3u8svc.web import gate
from m3u8svc.web.openapi import STATIC
from tests.apifuzz.requests_of import EVERY, Raw

BATCH = 50
"""Requests from one seed."""
ANSWERS_WITHIN_S = 60.0
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
AT_THE_DOOR = frozenset({400, 403, 404, 405, 413, 415, 421, 431})
"""What a request may be told that is none of the document's."""
SHARES: Mapping[str, int] = {"POST /api/tasks": 6, "POST /api/settings": 4, "PUT /api/tasks": 6, "GET /api/tasks": 4}
"""How many batches of a round are of an operation: by turns of what it allows and what it forbids."""
LONG_TURN_S = 0.1


def is_of_later(status: int, headers: Mapping[str, str]) -> bool:
    """
    Whether this says of a task that runs that it has not yet what is asked for, and when to ask again: no failure.
    """
    return status == 503 and headers.get("x-error-code") == "not_there_yet" and "retry-after" in headers


@attrs.define
class Found:
    """
    What has been sent, and what was wrong. `created` are the tasks that the service said it made.
    """

    sent: int = 0
    statuses: Counter[int] = attrs.field(factory=Counter)
    violations: list[str] = attrs.field(factory=list)
    created: set[str] = attrs.field(factory=set)
    removed: set[str] = attrs.field(factory=set)

    def wrong(self, what: str) -> None:
        """One more thing; after a hundred, nobody reads on."""
        if len(self.violations) < 100:
            self.violations.append(what)


class Target:
    """
    A running service: where it is, and what it says of itself.
    """

    def __init__(self, base: str, place: Path) -> None:
        self.base = base
        self.place = place
        self.host = base.removeprefix("http://")
        self.session = requests.Session()
        self.session.trust_env = False
        self.document = self._json("GET", "/api/openapi.json")
        self._validators: dict[str, Any] = {}
        self.task = ""

    def _json(self, method: str, target: str, **more: Any) -> Any:
        answer = self.session.request(method, self.base + target, timeout=ANSWERS_WITHIN_S, **more)
        assert answer.status_code == 200, f"{method} {target}: {answer.status_code} {answer.text[:200]}"
        return answer.json()

    def task_ids(self) -> set[str]:
        """All there are."""
        return {task["id"] for task in self._json("GET", "/api/tasks")}

    def begin_anew(self) -> str:
        """Settings that hold nothing up, and no task but one, which requests may name; its id."""
        self._json("POST", "/api/settings", json={})
        for task_id in self.task_ids():
            self.session.delete(f"{self.base}/api/tasks", params={"id": task_id}, timeout=ANSWERS_WITHIN_S)
        made = self._json("POST", "/api/tasks", json={"url": "http://127.0.0.1/i.m3u8", "filename": "film"})
        self.task = str(made["id"])
        return self.task

    def problem(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> str:
        """
        What the document has against this answer; "" for nothing. Header names are in lower case.
        """
        path = STATIC if path.startswith(gate.STATIC) else path
        known = self.document["paths"].get(path, {}).get(method.lower()) if method.isupper() else None
        if status >= 500 and not is_of_later(status, headers):
            return f"{status} {body[:200]!r}"
        if status >= 400 and not (headers.get("x-error-code") and headers.get("x-error-text-en", "").isprintable()):
            return f"{status} without its code or its text in English"
        if known is None:
            return "" if status in AT_THE_DOOR else f"{status}, and the document has no such operation"
        described = known["responses"].get(str(status))
        if described is None:
            return f"{status} is not described"
        codes = described.get("headers", {}).get("X-Error-Code", {}).get("schema", {}).get("enum")
        if codes is not None and headers["x-error-code"] not in codes:
            return f"{status} with the code {headers['x-error-code']}, which is not described"
        shape = described.get("content", {}).get("application/json", {}).get("schema")
        if shape is None:
            return ""
        try:
            self._validator(shape).validate(json.loads(body))
        except (jsonschema_rs.ValidationError, ValueError) as error:
            return f"{status} {body[:200]!r}: {str(error)[:300]}"
        return ""

    def _validator(self, shape: dict[str, Any]) -> Any:
        name = json.dumps(shape, sort_keys=True)
        if name not in self._validators:
            whole = {"components": self.document["components"], **shape}
            self._validators[name] = jsonschema_rs.Draft202012Validator(whole)
        return self._validators[name]


# -- Batches ---------------------------------------------------------------------------------------------------------


def batches(target: Target, found: Found) -> Iterator[Callable[[int], None]]:
    """
    Endlessly, what sends one batch from a seed: by turns our own requests, and each operation of the document with what
    it allows and what it forbids.
    """
    schema = schemathesis.openapi.from_dict(target.document)
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    assert len(operations) == sum(map(len, target.document["paths"].values()))
    turns: list[Callable[[int], None]] = []
    for operation in operations:
        known = 2 if operation.path.startswith("/api/") else 1
        share = SHARES.get(f"{operation.method.upper()} {operation.path}", known)
        for number in range(share):
            mode = GenerationMode.NEGATIVE if number % 2 else GenerationMode.POSITIVE
            turns.append(_batch(operation.as_strategy(generation_mode=mode), _conversation(target, found)))
    random.Random(0).shuffle(turns)
    while True:
        for turn in turns:
            yield turn
            yield _batch(EVERY, lambda raw: _converse(target, found, raw))


def _batch(strategy: SearchStrategy[Any], send: Callable[[Any], None]) -> Callable[[int], None]:
    def run(own: int) -> None:

        @seed(own)
        @settings(
            max_examples=BATCH,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def each(value: Any) -> None:
            send(value)

        with suppress(Unsatisfiable):  # nothing can be wrong with an operation that takes nothing
            each()

    return run


def _conversation(target: Target, found: Found) -> Callable[[Any], None]:
    """
    Sends what Schemathesis makes.
    """

    def send(case: Any) -> None:
        _tame(case, target.place)
        if case.query and "id" in case.query and len(str(case.query["id"])) % 2 == 0:
            case.query["id"] = target.task
        try:
            answer = case.call(base_url=target.base, session=target.session, timeout=ANSWERS_WITHIN_S)
        except (UnicodeError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
            return  # what the client itself does not send
        except requests.exceptions.RequestException as error:
            found.wrong(f"{case.method} {case.path}: no answer: {error}")
            return
        found.sent += 1
        found.statuses[answer.status_code] += 1
        body = answer.content
        _note(found, case.method, case.path, answer.status_code, body, answer.request.url)
        lower = {name.lower(): ", ".join(values) for name, values in answer.headers.items()}
        checks = [
            each for each in CHECKS if each is not not_a_server_error or not is_of_later(answer.status_code, lower)
        ]
        try:
            case.validate_response(answer, checks=checks)
        except BaseException as error:  # a group of failures of its own kind
            if isinstance(error, KeyboardInterrupt):
                raise
            told = getattr(error, "exceptions", [error])
            found.wrong(f"{case.as_curl_command()[:600]}\n  " + "; ".join(str(each)[:600] for each in told))
        path = case.operation.path
        if problem := target.problem(case.method.upper(), path, answer.status_code, lower, body):
            found.wrong(f"{case.as_curl_command()[:600]}\n  {problem}")

    return send


def _tame(case: Any, place: Path) -> None:
    """
    Directories of a request become ones below that of the tests: the service would make them.
    """
    if not isinstance(case.body, dict):
        return
    for name in ("save_location", "temp_directory"):
        value = case.body.get(name)
        if isinstance(value, str) and value.startswith(("/", "~")):
            case.body[name] = f"{place}/{re.sub('[^a-z0-9]', '_', value)[:40]}"


def _note(found: Found, method: str, path: str, status: int, body: bytes, target: str | None) -> None:
    """
    Remember the tasks that were made and removed.
    """
    if (method.upper(), path, status) != ("POST", "/api/tasks", 200):
        return
    value = json.loads(body)
    if "id" in value:
        found.created.add(value["id"])


def _converse(target: Target, found: Found, raw: Raw) -> None:
    """
    Send these bytes on a connection of their own, and judge what comes back.
    """
    place = str(target.place).encode()
    named = {b"HOST": target.host, b"=TASK": f"={target.task}"}
    pieces = list(raw.pieces)
    for name, value in named.items():
        pieces[0] = pieces[0].replace(name, value.encode())
    head, *rest = pieces
    body = b"".join(rest)
    if b"PLACE/" in body and b"Content-Length" in head:
        body = body.replace(b"PLACE/", place + b"/")
        head = re.sub(rb"Content-Length: [0-9]+", b"Content-Length: %d" % len(body), head)
    found.sent += raw.count
    try:
        said = _exchange(target.host, head + body, wait=bool(raw.method) or raw.count > 1)
    except OSError as error:
        found.wrong(f"{(head + body)[:300]!r}: {error}")
        return
    statuses = [int(status) for status in re.findall(rb"(?:^|\n|\}|\]|\"|>)HTTP/1\.[01] (\d{3}) ", said)]
    found.statuses.update(statuses)
    if problem := _problem(target, found, raw, said, statuses):
        found.wrong(f"{(head + body)[:600]!r}\n  {problem}")


def _problem(target: Target, found: Found, raw: Raw, said: bytes, statuses: list[int]) -> str:
    if sum(status >= 500 for status in statuses) > said.count(b"X-Error-Code: not_there_yet\r\n"):
        return repr(said[:600])
    if not raw.method:
        for task_id in re.findall(rb'"status": "success", "id": "([0-9a-f]+)"', said):
            found.created.add(task_id.decode())
        return ""
    if not said:
        return "" if "\x01" in raw.method else "no answer"
    last = said
    while last.startswith(b"HTTP/1.1 1"):
        last = last.partition(b"\r\n\r\n")[2]
    head, _, body = last.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if not first.startswith("HTTP/1.1 "):
        return "no answer but " + repr(said[:200])
    status = int(first.split()[1])
    _note(found, raw.method, raw.path, status, body, None)
    return target.problem(raw.method, raw.path, status, headers, body)


def _exchange(host: str, raw: bytes, *, wait: bool) -> bytes:
    """
    All that is answered. Without `wait` our side is closed at once, so that nobody waits for the rest of nonsense.
    """
    address, _, port = host.partition(":")
    with socket.create_connection((address, int(port)), timeout=ANSWERS_WITHIN_S) as connection:
        try:
            connection.sendall(raw)
            if not wait:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was refused before it was over
        said = b""
        try:
            while piece := connection.recv(65536):
                said += piece
        except ConnectionResetError:
            pass
    return said


# -- A run -----------------------------------------------------------------------------------------------------------


def fuzz(target: Target, wanted: int, own_seed: int, *, told: Callable[[Found], None] = lambda found: None) -> Found:
    """
    Send so many requests; what was wrong.
    """
    found = Found()
    before = target.task_ids()
    found.created.add(target.begin_anew())
    for number, batch in enumerate(batches(target, found)):
        batch(own_seed * 1_000_003 + number)
        if unasked := target.task_ids() - before - found.created:
            found.wrong(f"batch {number}: tasks that no answer named: {sorted(unasked)[:5]}")
            before |= unasked
        found.created.add(target.begin_anew())
        told(found)
        if found.sent >= wanted or len(found.violations) >= 100:
            return found
    raise AssertionError("batches do not end")


def turns(path: Path) -> list[float]:
    """
    How long the noted turns of the reactor took, the longest first.
    """
    lines = path.read_text(encoding="ascii").split() if path.exists() else []
    return sorted(map(float, lines), reverse=True)


def wait_until_calm(path: Path, quiet_s: float = 1.0) -> None:
    """
    Let the start be over before turns count.
    """
    time.sleep(quiet_s)
    path.unlink(missing_ok=True)
