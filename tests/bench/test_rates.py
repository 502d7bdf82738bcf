"""
How exact limits of rate are: eight connections to nginx through the one door, in the long run and in the worst second;
the figures are printed.

    .venv/bin/python -m pytest tests/bench/test_rates.py -m bench -s
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.fetch import Fetcher, FetchLimits
from m3u8svc.tap import use_monotonic_clock
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.ratelimit import MOST_READ
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.schedule import Schedule
from m3u8svc.throttle import Throttle
from m3u8svc.waiting import together
from tests.integration.conftest import require
from tests.integration.nginx_server import Nginx, serving

pytestmark = pytest.mark.bench
reactor: Any = _reactor

M = 1_000_000
CONNECTIONS = 8
WARM_S, MEASURED_S = 1.0, 6.0
OFF = 0.02
"""How much more the long run may be."""
SIZES = {"2 MB": 2 * M, "100 kB": 100_000}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    require("nginx", "openssl")
    place = tmp_path_factory.mktemp("rates")
    (place / "www").mkdir()
    for name, size in SIZES.items():
        (place / "www" / name.replace(" ", "")).write_bytes(bytes(size))
    (place / "nginx").mkdir()
    with serving(place / "nginx", place / "www") as nginx:
        yield nginx


class Counted:
    """A sink that remembers when how much came."""

    def __init__(self) -> None:
        self.came: list[tuple[float, int]] = []

    def write(self, chunk: bytes) -> None:
        self.came.append((time.monotonic(), len(chunk)))


@pytest.mark.parametrize("rate", [M, 5 * M, 20 * M, 50 * M, 0], ids=lambda rate: f"{rate // M} MB/s")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_the_rate_over_eight_connections(scheme: str, size: str, rate: int, origin: Nginx) -> None:
    """
    Never two percent more in the long run. Less is a matter of the machine: of what it can do at all, and how late the
    reactor is.
    """
    use_monotonic_clock(reactor)
    connections = Connections(reactor)
    fetcher = Fetcher(clock=reactor)
    throttle = Throttle(reactor)
    throttle.limit_everything(rate, Schedule())
    url = f"{origin.base if scheme == 'http' else origin.tls_base}/{size.replace(' ', '')}"
    sinks = [Counted() for _ in range(CONNECTIONS)]
    end = time.monotonic() + WARM_S + MEASURED_S
    agent = connections.agent(insecure=True, reach=Zone.LOOPBACK)

    async def agent_for(request: Request) -> IAgent:
        return agent

    async def work(sink: Counted) -> None:
        while time.monotonic() < end:
            with throttle.share("t", "h") as share:
                await share.turn()
                request = Request(url=url, purpose=Purpose.SEGMENT, reach=Zone.LOOPBACK, insecure=True)
                await fetcher.fetch(request, sink, agent_for=agent_for, limits=FetchLimits(), share=share)

    used = time.process_time()
    working = Deferred.fromCoroutine(together(*(work(sink) for sink in sinks)))
    await deferLater(reactor, WARM_S + MEASURED_S)
    used = time.process_time() - used
    throttle.limit_everything(0, Schedule())
    await working
    await connections.close()
    report(f"{scheme} {size}", rate, sinks, end, used / (WARM_S + MEASURED_S))


def report(what: str, rate: int, sinks: list[Counted], end: float, used: float) -> None:
    """Print what came, and hold it against the limit."""
    came = sorted((at, size) for sink in sinks for at, size in sink.came if end - MEASURED_S <= at < end)
    mean = sum(size for _, size in came) / MEASURED_S
    each = [sum(size for at, size in sink.came if end - MEASURED_S <= at < end) for sink in sinks]
    worst, first = 0, 0
    held = 0
    for at, size in came:
        held += size
        while came[first][0] <= at - 1.0:
            held -= came[first][1]
            first += 1
        worst = max(worst, held)
    asked = f"{rate / M:.0f}" if rate else "no"
    print(
        f"\n{what:12} limit {asked:>3}: {mean / M:7.2f} MB/s, worst second {worst / M:7.2f} MB, "
        f"connections {min(each) / max(each):.2f} of the best, {used * 100:.0f} % of a core"
    )
    if rate:
        assert mean <= rate * (1 + OFF)
        assert worst <= rate * 1.05 + (CONNECTIONS + 1) * MOST_READ
