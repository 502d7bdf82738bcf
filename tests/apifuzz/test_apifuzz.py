"""
A few requests of the fuzzer with the other tests; five thousand are a stage of their own, a hundred thousand the gate's
(``python -m tests.apifuzz``).
"""

from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.apifuzz.requests_of import BODIES, EVERY, Raw
from tests.apifuzz.rig import at_home
from tests.apifuzz.run import Target, fuzz, turns, wait_until_calm
from tests.integration.service_child import Service


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where long turns of the reactor are noted."""
    return tmp_path_factory.mktemp("apifuzz") / "turns"


def test_a_few_requests(tmp_path: Path, noted: Path) -> None:
    """No 5xx, nothing that is not described, no task that nobody was told of; and the service lives."""
    with at_home(tmp_path / "service", noted) as service:
        wait_until_calm(noted)
        found = fuzz(Target(service.base, service.saves), 400, 20261126)
        assert [] == found.violations
        assert 200 == service.ask("GET", "/api/tasks").status
    assert {200, 400} <= found.statuses.keys()
    assert found.created
    print(f"longest turns of the reactor: {turns(noted)[:3]}")


def test_it_is_at_home(tmp_path: Path, noted: Path) -> None:
    """A task of it finds nobody: neither by name nor by address."""
    with at_home(tmp_path / "service", noted) as service:
        for url, code in (("http://example.com/i.m3u8", "dns_failed"), ("http://127.0.0.1:80/i.m3u8", "refused")):
            assert code == failure(service, url)


def failure(service: Service, url: str) -> str:
    """How a dry run of this URL ends."""
    answer = service.ask("POST", "/api/tasks?dry_run=true", {"url": url, "filename": "x"})
    return answer.headers["x-error-code"]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(EVERY)
def test_what_is_sent(raw: Raw) -> None:
    """Requests that can be judged are one request, well framed."""
    assert b"".join(raw.pieces)
    assert raw.count == 1 or not raw.method


@settings(derandomize=True, max_examples=200, deadline=None)
@given(BODIES)
def test_directories_of_bodies(body: bytes) -> None:
    """No body names a directory but below that of the tests."""
    for name in (b'"save_location":"', b'"temp_directory":"'):
        for start in body.split(name)[1:]:
            assert not start.startswith((b"/", b"~"))
