"""
/metrics: what the service counts, in Prometheus' text format.

Nothing is counted here. A scrape takes one look at plain numbers that are there anyway (`counting`), and puts them into
words in a thread, since there may be thousands of lines. The library's own counters and its registry of the whole
process are not used: theirs take a lock for each step, and ours are none of its business.
"""

import platform
from collections.abc import Iterator, Mapping

import attrs
from klein import Klein
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.web.server import Request

from m3u8svc.counting import Answered, Counts, Distribution, Outcome, Traffic
from m3u8svc.errors import M3u8svcError
from m3u8svc.tasks.search import Overview
from m3u8svc.tasks.task import Status
from m3u8svc.waiting import InThread, settled
from m3u8svc.web.contract import Downloads, Health
from m3u8svc.web.gate import METRICS

HOSTS_SHOWN = 20
OTHER_HOSTS = "(other)"
STATE_NAMES: Mapping[Status, str] = {
    Status.WAITING: "waiting",
    Status.DOWNLOADING: "downloading",
    Status.PAUSED: "paused",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
}
"""Labels are typed by people, into queries."""


@attrs.frozen(kw_only=True)
class Look:
    """
    All that a scrape shows, at one moment. `overview` is None while the store does not answer.
    """

    version: str
    overview: Overview | None
    degraded: int
    traffic: Traffic
    segments: Mapping[Outcome, int]
    failures: Mapping[str, int]
    answers: Mapping[Answered, Distribution]
    turns: Distribution


class MetricsAPI:
    """
    The one route.
    """

    app = Klein()
    log = Logger()

    def __init__(
        self,
        service: Downloads,
        health: Health,
        *,
        counts: Counts,
        version: str,
        in_thread: InThread = deferToThread,
    ) -> None:
        self._service = service
        self._health = health
        self._counts = counts
        self._version = version
        self._in_thread = in_thread

    @app.route(METRICS, methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """The numbers of now."""
        text: bytes = await settled(Deferred.fromCoroutine(self._text()))
        request.setHeader(b"Content-Type", CONTENT_TYPE_PLAIN_0_0_4.encode("ascii"))
        request.setHeader(b"Content-Length", b"%d" % len(text))
        return text

    async def _text(self) -> bytes:
        look = await self._look()
        text: bytes = await settled(self._in_thread(exposition, look))
        return text

    async def _look(self) -> Look:
        overview = None
        try:
            overview = await self._service.overview()
        except M3u8svcError as error:  # whoever watches wants the other numbers now more than ever
            self.log.warn("metrics without tasks: {code} {error}", code=error.code, error=error.text("en"))
        counts = self._counts
        return Look(
            version=self._version,
            overview=overview,
            degraded=len(self._health.reasons()),
            traffic=self._service.traffic(),
            segments=dict(counts.segments),
            failures=dict(counts.failures),
            answers={kind: histogram.read() for kind, histogram in counts.answers.items()},
            turns=counts.turns.read(),
        )


def exposition(look: Look) -> bytes:
    """
    The text of a scrape. Reads /proc for what this process uses.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Seen(look))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Seen(Collector):
    """
    A look as the library wants it.
    """

    def __init__(self, look: Look) -> None:
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the documentation."""
        look = self._look
        yield InfoMetricFamily(
            "m3u8svc_build", "What runs.", {"version": look.version, "python": platform.python_version()}
        )
        yield GaugeMetricFamily("m3u8svc_degraded", "Things wrong with the service as a whole.", look.degraded)
        yield GaugeMetricFamily("m3u8svc_store_up", "Whether the database answered.", int(look.overview is not None))
        if look.overview is not None:
            yield from _overview(look.overview)
        yield from _fetching(look)
        answers = HistogramMetricFamily(
            "m3u8svc_http_request_seconds",
            "How long requests to this service took, from their headers to the end of their answer.",
            labels=("method", "route", "status"),
        )
        for kind, distribution in look.answers.items():
            _add(answers, (kind.method, kind.route, str(kind.status)), distribution)
        yield answers
        turns = HistogramMetricFamily("m3u8svc_reactor_turn_seconds", "How long turns of the reactor took.", labels=())
        _add(turns, (), look.turns)
        yield turns


def _overview(overview: Overview) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("m3u8svc_tasks", "Tasks by their state.", labels=("status",))
    for status, name in STATE_NAMES.items():
        tasks.add_metric((name,), overview.tally.get(status, 0))
    yield tasks
    free = GaugeMetricFamily("m3u8svc_disk_free_bytes", "Room where results go.", labels=("path",))
    total = GaugeMetricFamily("m3u8svc_disk_size_bytes", "Size of that disk.", labels=("path",))
    for disk in overview.disks:
        if disk.free_bytes is not None and disk.total_bytes is not None:
            free.add_metric((disk.path,), disk.free_bytes)
            total.add_metric((disk.path,), disk.total_bytes)
    yield from (free, total)


def _fetching(look: Look) -> Iterator[Metric]:
    segments = CounterMetricFamily("m3u8svc_segments", "Segments by how they ended.", labels=("outcome",))
    for outcome, count in look.segments.items():
        segments.add_metric((outcome,), count)
    yield segments
    failures = CounterMetricFamily(
        "m3u8svc_fetch_failures", "Attempts to fetch something that failed, by error code.", labels=("code",)
    )
    for code, count in sorted(look.failures.items()):
        failures.add_metric((code,), count)
    yield failures
    yield CounterMetricFamily(
        "m3u8svc_fetched_bytes", "Bytes of segments that came, failed attempts included.", look.traffic.received_bytes
    )
    connections = GaugeMetricFamily(
        "m3u8svc_host_connections", "Requests under way at a host, each on its connection.", labels=("host",)
    )
    for host in look.traffic.busiest(HOSTS_SHOWN, OTHER_HOSTS):
        connections.add_metric((host.name,), host.under_way)
    yield connections


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], distribution: Distribution) -> None:
    names = (*map(str, distribution.bounds), "+Inf")
    family.add_metric(labels, list(zip(names, distribution.counts, strict=True)), distribution.total)
