"""
Bodies that are too large, too deep or of the wrong kind, sent to a real service: refused by their head or at their
limit, never parsed as forms, never on disk.
"""

from collections.abc import Iterator

import pytest

from tests.attacks.rig import bounded, nothing_happens, say
from tests.integration.service_child import Service

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
MILLION = 1_000_000


def announced(target: str, content_type: str, length: int) -> bytes:
    """The head of a request that says how long its body is."""
    method, path = target.split()
    head = f"{method} {path} HTTP/1.1\r\nHost: HOST\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    return head.encode()


def chunked(target: str, content_type: str) -> bytes:
    """The head of a request that does not."""
    return announced(target, content_type, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


def chunks(piece: bytes, count: int) -> Iterator[bytes]:
    """A body of that."""
    for _ in range(count):
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


@pytest.mark.parametrize(
    ("target", "content_type", "piece", "count", "status"),
    [
        ("POST /api/tasks", JSON, b" " * MILLION, 100, 413),
        ("POST /api/settings", JSON, b" " * MILLION, 100, 413),
        ("POST /api/tasks", FORM, b"&" * MILLION, 4, 415),
        ("POST /api/tasks", PARTS, PART * 500, 100, 415),
        ("PUT /api/tasks?id=a", PARTS, PART * 500, 100, 415),
        ("POST /api/tasks", JSON, b"[" * MILLION, 1, 413),
        ("POST /api/settings", JSON, b"[" * MILLION, 1, 413),
        ("POST /api/tasks", JSON, b"[" * 200_000, 1, 400),
        ("POST /api/settings", JSON, b"[" * 16_000, 1, 400),
        ("POST /api/tasks", JSON, b'{"a":' * 40_000, 1, 400),
        ("GET /api/tasks", JSON, b" " * MILLION, 4, 400),
        ("DELETE /api/tasks?id=a", JSON, b" " * MILLION, 4, 400),
    ],
    ids=range(12),
)
@pytest.mark.parametrize("way", [announced, chunked])
def test_a_body_nobody_wants(
    service: Service, way: object, target: str, content_type: str, piece: bytes, count: int, status: int
) -> None:
    """The documented refusal; no task, no temporary file, and memory for no more than the largest body we take."""
    with nothing_happens(service), bounded(service, 64):
        if way is announced:
            answer = say(service, announced(target, content_type, len(piece) * count), *([piece] * count))
        else:
            answer = say(service, chunked(target, content_type), *chunks(piece, count), b"0\r\n\r\n")
        assert status == answer.status
        assert isinstance(answer.value, str)


def test_who_asks_first(service: Service) -> None:
    """Who asks whether it may send a hundred megabytes is not told to go on."""
    with nothing_happens(service):
        head = announced("POST /api/tasks", JSON, 100 * MILLION)
        answer = say(service, head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert 413 == answer.status


def test_many_at_once(service: Service) -> None:
    """Forty such bodies at the same time are not kept in memory either, and the next request is answered."""
    from concurrent.futures import ThreadPoolExecutor

    head = announced("POST /api/tasks", FORM, 4 * MILLION)
    with nothing_happens(service), bounded(service, 64), ThreadPoolExecutor(40) as pool:
        sent = [pool.submit(say, service, head, *[b"&" * MILLION] * 4) for _ in range(40)]
        assert {415} == {each.result().status for each in sent}
