"""
Where the service's own requests may go, as a user meets it: by its options, its API and what arrives at other sockets.
"""

import socket
import time
from collections.abc import Callable, Iterator

import attrs
import pytest

from tests.integration.service_child import Service

START = Callable[..., Service]


@attrs.define
class Canary:
    """A socket of this machine that counts who connects."""

    socket: socket.socket
    port: int

    @property
    def came(self) -> int:
        """How many came since it was asked last."""
        count = 0
        while True:
            try:
                self.socket.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@pytest.fixture
def canary() -> Iterator[Canary]:
    """Nobody may come unasked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield Canary(listening, listening.getsockname()[1])


def first_incident(service: Service, url: str) -> str:
    """The code of the first thing that goes wrong with a task for this link."""
    task_id = service.add(url, "film")
    deadline = time.monotonic() + 60.0
    while not (found := service.task(task_id)["incidents"] or service.task(task_id)["err_code"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found if isinstance(found, str) else str(found[0]["code"])


def test_a_service_of_this_machine(start_service: START, canary: Canary) -> None:
    """What is typed may be here, but not the service itself, and not a metadata service."""
    service = start_service()
    port = service.base.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
        task = service.fail(f"http://{host}:{port}/api/tasks", "film")
        assert ("forbidden_address", True) == (task["err_code"], "本服务自己的端口" in task["err_msg"])
    task = service.fail("http://169.254.169.254/latest/meta-data/", "film")
    assert ("forbidden_address", True) == (task["err_code"], "169.254.169.254" in task["err_msg"])
    assert 0 == canary.came
    assert "forbidden_address" != first_incident(service, f"http://127.0.0.1:{canary.port}/x.m3u8")
    assert canary.came > 0
    assert "forbidden_address connecting to 169.254.169.254:80 is not allowed" in service.log


FAKE_ENTRY = 'network.allow = ["198.18.0.0/15"]'


@pytest.mark.parametrize("mode", ["local", "strict"])
def test_a_fake_address(start_service: START, mode: str) -> None:
    """Refused with the entry that allows it."""
    task = start_service("--network-mode", mode).fail("http://198.18.0.1:9/x.m3u8", "film")
    said = task["err_msg"] if mode == "local" else task["err_advice"]
    assert ("forbidden_address", True) == (task["err_code"], FAKE_ENTRY in said)


def test_a_strict_service(start_service: START, canary: Canary) -> None:
    """Nothing that is not in the internet, but what is allowed; nobody else hears of it."""
    service = start_service("--network-mode", "strict", "--allow", "127.0.0.2")
    for host in ("127.0.0.1", "localhost", "10.0.0.1", "[::1]"):
        task = service.fail(f"http://{host}:{canary.port}/x.m3u8", "film")
        assert ("forbidden_address", True) == (task["err_code"], "network.allow" in task["err_msg"])
    assert 0 == canary.came
    assert "connect_failed" == first_incident(service, f"http://127.0.0.2:{canary.port}/x.m3u8")
