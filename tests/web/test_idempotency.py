"""
A request that makes a task and is sent again: by its header, and on the wire.
"""

import hashlib
import json

import pytest

from m3u8svc.errors import IdempotencyConflict, InvalidRequest
from m3u8svc.tasks.creation import Creation
from m3u8svc.web.idempotency import creation_of

LEAST = {"url": "https://a.example/i.m3u8", "filename": "film"}


def test_a_request_without_a_name():
    """Most have none."""
    assert creation_of([], b"{}") is None


@pytest.mark.parametrize("key", [b"!", b"a-B_7~", b"x" * 255])
def test_a_request_with_a_name(key):
    """Its name, and a digest of every byte of its body."""
    found = creation_of([key], b"{}")
    assert Creation(key=key.decode(), digest=hashlib.sha256(b"{}").hexdigest()) == found
    assert 3 == len({found.digest, creation_of([key], b"{ }").digest, creation_of([key], b"{} ").digest})


@pytest.mark.parametrize("values", [[b""], [b"x" * 256], [b"a b"], [b"\xe4"], [b"a\x7f"], [b"a", b"a"]])
def test_a_name_that_is_none(values):
    """Empty, too long, with spaces or beyond ASCII, or given twice."""
    with pytest.raises(InvalidRequest, match="Idempotency-Key") as refused:
        creation_of(values, b"{}")
    assert refused.value.text("en").isascii()


def test_the_same_again(wire, service):
    """The same answer, one task, and a header that says so; without a name there are two tasks."""
    first = wire.ask("POST", "/api/tasks", LEAST | {"colour": 1}, headers={"Idempotency-Key": "k"})
    second = wire.ask("POST", "/api/tasks", LEAST | {"colour": 1}, headers={"Idempotency-Key": "k"})
    assert (200, first.body) == (second.status, second.body)
    assert (None, "true") == (first.headers.get("idempotent-replayed"), second.headers.get("idempotent-replayed"))
    assert 1 == len(service.stored)
    wire.ask("POST", "/api/tasks", LEAST)
    wire.ask("POST", "/api/tasks", LEAST)
    assert 3 == len(service.stored)


def test_another_request_of_the_same_name(wire, service):
    """A 400 with its code, and no task."""
    service.broken = IdempotencyConflict(key="k")
    reply = wire.ask("POST", "/api/tasks", LEAST, headers={"Idempotency-Key": "k"})
    assert (400, "idempotency_conflict") == (reply.status, reply.headers["x-error-code"])
    assert "Idempotency-Key“k”已用于内容不同的请求" == reply.value


def test_a_wrong_name_on_the_wire(wire, service):
    """Refused before anything is done."""
    reply = wire.ask("POST", "/api/tasks", LEAST, headers={"Idempotency-Key": "a b"})
    assert (400, "invalid_request") == (reply.status, reply.headers["x-error-code"])
    assert "解析请求失败：Idempotency-Key: 必须是 1 到 255 个可见的 ASCII 字符" == reply.value
    english = "the request cannot be understood: Idempotency-Key: must be 1 to 255 visible ASCII characters"
    assert english == reply.headers["x-error-text-en"]
    assert [] == service.calls


def test_a_dry_run_makes_nothing_to_name(wire, service):
    """Its name is not used up."""
    wire.ask("POST", "/api/tasks?dry_run=true", LEAST, headers={"Idempotency-Key": "k"})
    assert ["plan"] == [call[0] for call in service.calls]


def test_a_name_of_a_body_in_any_order_is_not_guessed(wire, service):
    """Only the same bytes are the same request."""
    turned = json.dumps(dict(reversed(LEAST.items()))).encode()
    wire.ask("POST", "/api/tasks", LEAST, headers={"Idempotency-Key": "k"})
    wire.ask("POST", "/api/tasks", turned, headers={"Idempotency-Key": "k"})
    first, second = (call[2] for call in service.calls)
    assert (first.key, True) == (second.key, first.digest != second.digest)
