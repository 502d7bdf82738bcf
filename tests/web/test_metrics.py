"""
/metrics: the numbers of a scrape, read back by the library's own parser.
"""

import attrs
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred

from m3u8svc.counting import HostTraffic, Traffic
from m3u8svc.errors import DatabaseLocked
from m3u8svc.tasks.search import Space
from m3u8svc.tasks.task import Status, Task, TaskSpec
from m3u8svc.web.metrics import HOSTS_SHOWN, OTHER_HOSTS, STATE_NAMES
from tests.web.conftest import raw_request

TASK = {"url": "https://a.example/i.m3u8", "filename": "film"}


@attrs.frozen
class Scrape:
    """One answer, read."""

    reply: object
    samples: tuple

    def value(self, name, **labels):
        """The one value of a name and its labels."""
        [found] = [each.value for each in self.samples if (each.name, each.labels) == (name, labels)]
        return found

    def by(self, name, *labels):
        """All values of a name, by some of its labels."""
        return {tuple(each.labels[label] for label in labels): each.value for each in self.samples if each.name == name}


@pytest.fixture
def scrape(wire):
    """Asks for the metrics."""

    def ask():
        reply = wire.ask("GET", "/metrics")
        families = list(text_string_to_metric_families(reply.body.decode()))
        names = [family.name for family in families]
        assert len(names) == len(set(names))
        assert all(family.documentation for family in families)
        samples = tuple(each for family in families for each in family.samples)
        keys = [(each.name, frozenset(each.labels.items())) for each in samples]
        assert len(keys) == len(set(keys))
        return Scrape(reply, samples)

    return ask


def test_the_answer(scrape):
    """Prometheus' text format, which nobody keeps."""
    reply = scrape().reply
    assert (200, "text/plain; version=0.0.4; charset=utf-8", "no-store") == (
        reply.status,
        reply.headers["content-type"],
        reply.headers["cache-control"],
    )


def test_what_runs(scrape):
    """The version."""
    assert {("1.2.3",): 1.0} == scrape().by("m3u8svc_build_info", "version")


def test_tasks_and_disks(scrape, service):
    """Every state, also those that no task has; disks that answered."""
    for number, status in enumerate([Status.WAITING, Status.WAITING, Status.COMPLETED]):
        service.hold(Task(id=f"t{number}", spec=TaskSpec(url="", filename=""), status=status))
    service.disks = (Space(path="/srv/片\n", free_bytes=5, total_bytes=9), Space(path="/silent"))
    found = scrape()
    assert {
        ("waiting",): 2,
        ("downloading",): 0,
        ("paused",): 0,
        ("completed",): 1,
        ("failed",): 0,
    } == found.by("m3u8svc_tasks", "status")
    assert set(Status) == set(STATE_NAMES)
    assert {("/srv/片\n",): 5} == found.by("m3u8svc_disk_free_bytes", "path")
    assert {("/srv/片\n",): 9} == found.by("m3u8svc_disk_size_bytes", "path")


def test_segments_and_bytes(scrape, service):
    """Counters of outcomes and error codes, and what came."""
    service.counts.segments["retried"] += 3
    service.counts.failures["http_5xx"] += 7
    service.seen = Traffic(received_bytes=12345)
    found = scrape()
    assert {("done",): 0, ("retried",): 3, ("skipped",): 0, ("lost",): 0} == found.by(
        "m3u8svc_segments_total", "outcome"
    )
    assert 7 == found.value("m3u8svc_fetch_failures_total", code="http_5xx")
    assert 12345 == found.value("m3u8svc_fetched_bytes_total")


def test_hosts_are_bounded(scrape, service):
    """A playlist may name as many hosts as it likes: the labels do not grow with them."""
    hosts = tuple(HostTraffic(f"h{number}.test", 1) for number in range(500))
    service.seen = Traffic(hosts=(HostTraffic('a"b\\.test', 9), *hosts))
    shown = scrape().by("m3u8svc_host_connections", "host")
    assert HOSTS_SHOWN + 1 == len(shown)
    assert (9, 500 - (HOSTS_SHOWN - 1)) == (shown['a"b\\.test',], shown[OTHER_HOSTS,])


def test_requests_are_counted_by_route_and_status(scrape, wire):
    """Those that a route answered, and those that were refused at the door; none by a path that a stranger chose."""
    wire.ask("GET", "/api/settings")
    wire.ask("GET", "/api/settings")
    wire.ask("GET", "/api/tasks?id=none")
    wire.ask("GET", "/.env")
    wire.ask("GET", "/api/tasks", host="evil.example")
    wire.ask("POST", "/api/tasks", b"x", headers={"Content-Type": "text/plain"})
    assert {
        ("GET", "/api/settings", "200"): 2,
        ("GET", "/api/tasks", "404"): 1,
        ("GET", "other", "404"): 1,
        ("GET", "/api/tasks", "421"): 1,
        ("POST", "/api/tasks", "415"): 1,
    } == scrape().by("m3u8svc_http_request_seconds_count", "method", "route", "status")


def test_how_long_an_answer_took(scrape, wire, service, clock):
    """From the headers to its end, by the service's own clock."""
    service.before_answering = Deferred()
    channel, transport = wire.connect()
    channel.dataReceived(raw_request("POST", "/api/tasks", TASK))
    clock.advance(0.3)
    assert b"" == transport.value()
    service.before_answering.callback(None)
    found = scrape()
    labels = {"method": "POST", "route": "/api/tasks", "status": "200"}
    assert 0.3 == pytest.approx(found.value("m3u8svc_http_request_seconds_sum", **labels))
    buckets = [found.value("m3u8svc_http_request_seconds_bucket", **labels, le=le) for le in ("0.25", "0.5", "+Inf")]
    assert [0, 1, 1] == buckets


def test_turns_of_the_reactor(scrape, service):
    """As `shortturns` measures them."""
    service.counts.turns.add(0.003)
    found = scrape()
    assert [0, 1] == [found.value("m3u8svc_reactor_turn_seconds_bucket", le=le) for le in ("0.002", "0.005")]


def test_without_the_store(scrape, service):
    """What does not come from the database is told all the same, and that it does not answer."""
    service.broken = DatabaseLocked(seconds=5)
    found = scrape()
    assert (200, 0) == (found.reply.status, found.value("m3u8svc_store_up"))
    assert {} == found.by("m3u8svc_tasks", "status")
    assert 0 == found.value("m3u8svc_fetched_bytes_total")
    service.broken = None
    service.health.say("store", DatabaseLocked(seconds=5))
    found = scrape()
    assert (1, 1) == (found.value("m3u8svc_store_up"), found.value("m3u8svc_degraded"))


def test_nothing_is_registered_for_the_whole_process(scrape):
    """Two services in one process, or a plugin with metrics of its own, do not meet."""
    before = {family.name for family in REGISTRY.collect()}
    scrape()
    scrape()
    assert before == {family.name for family in REGISTRY.collect()}
    assert not any(name.startswith("m3u8svc") for name in before)
