"""
What a refused request costs the service: processor time, which is the reactor's, since refusing needs no thread.

    .venv/bin/python -m pytest tests/bench/test_refusals.py -m bench -s
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.rig import attacked, say
from tests.attacks.test_bodies import FORM, JSON, MILLION, PART, PARTS, announced, chunked, chunks
from tests.integration.service_child import Service

pytestmark = pytest.mark.bench

REFUSAL_MS = 50
TIMES = 20
BODIES: dict[str, Callable[[], list[bytes]]] = {
    "100 MB": lambda: [announced("POST /api/tasks", JSON, 100 * MILLION), b" " * MILLION],
    "4 MB of &": lambda: [announced("POST /api/tasks", FORM, 4 * MILLION), b"&" * MILLION],
    "50,000 parts": lambda: [announced("POST /api/tasks", PARTS, 50_000 * len(PART)), PART * 10_000],
    "1 MB of [": lambda: [announced("POST /api/tasks", JSON, MILLION), b"[" * MILLION],
    "200 KB of [": lambda: [announced("POST /api/tasks", JSON, 200_000), b"[" * 200_000],
    "1 MB of [ in chunks": lambda: [chunked("POST /api/tasks", JSON), *chunks(b"[" * 10_000, 100), b"0\r\n\r\n"],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with attacked(tmp_path_factory.mktemp("bench") / "service") as started:
        yield started


def used_ms(service: Service) -> float:
    """Processor time of the service's process so far."""
    fields = Path(f"/proc/{service.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("kind", BODIES)
def test_a_refused_body(service: Service, kind: str) -> None:
    """Less than 50 ms each."""
    before = used_ms(service)
    for _ in range(TIMES):
        assert 400 <= say(service, *BODIES[kind]()).status < 500
    each = (used_ms(service) - before) / TIMES
    print(f"\n{kind}: {each:.1f} ms")
    assert each < REFUSAL_MS
