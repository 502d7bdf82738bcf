"""
How the requests of a task go out.
"""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from m3u8svc.errors import HttpStatusError, KeyInvalid, M3u8svcError
from m3u8svc.fetch import Fetched, FetchLimits
from m3u8svc.hosts import Hosts
from m3u8svc.report import withheld_headers
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import RETRIES
from m3u8svc.tasks.schedule import Schedule
from m3u8svc.tasks.task import Extensions, Incident, Settings, Task, TaskSpec
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.throttle import Throttle
from m3u8svc.wire import MOST_HOSTS, Wire

URL = "https://cdn.test/1.ts"


class Untouched:
    """Hooks that leave a request as it is."""

    async def pipeline(self, name: str, argument: str, value: Request, **arguments: Any) -> Request:
        return value


def wire_of(spec: TaskSpec, clock: Clock, **more: Any) -> Wire:
    """The wire of a task of this request, which reaches nobody."""
    hooks: Any = Untouched()
    fetcher: Any = None
    return Wire(
        task=Task(id="t", spec=spec),
        hooks=hooks,
        fetcher=fetcher,
        hosts=Hosts(clock),
        clock=clock,
        wall=clock.seconds,
        chance=lambda: 0.5,
        note=lambda line: None,
        **more,
    )


@pytest.mark.parametrize(
    ("url", "base_url", "sent"),
    [
        ("https://a.test/i.m3u8", "", False),
        ("https://cdn.test/i.m3u8", "", True),
        ("", "https://cdn.test/x/", True),
        ("https://a.test/i.m3u8", "https://cdn.test/x/", False),
        ("", "", False),
    ],
)
def test_credentials_go_to_where_the_task_begins(url: str, base_url: str, sent: bool) -> None:
    """The site of its URL, or of the base of links where a pasted playlist has no URL; else they are withheld."""
    spec = TaskSpec(url=url, filename="film", headers={"Cookie": ("a=1",)}, extensions=Extensions(base_url=base_url))
    wire = wire_of(spec, Clock())
    made: list[Request] = []
    Deferred.fromCoroutine(wire.request(URL, Purpose.SEGMENT)).addCallback(made.append)
    assert sent is (("Cookie", "a=1") in made[0].headers)
    assert sent is not bool(wire.withheld)


def test_a_host_is_another_one_through_a_proxy() -> None:
    """What a proxy's users did to a host says nothing of the direct way."""
    proxied = Settings(proxy_type="http", proxy_host="proxy.test", proxy_port=3128)
    names = [
        wire_of(TaskSpec(url=URL, filename="film", settings=settings), Clock()).host(URL)
        for settings in (Settings(), proxied)
    ]
    assert ["cdn.test", "cdn.test via proxy.test:3128"] == names


class Insisting:
    """Asks until it gets something, on a clock."""

    def __init__(self, *errors: M3u8svcError, may_ask_again: bool = True) -> None:
        self.clock = Clock()
        self.incidents: list[Incident] = []
        self.tracker = Tracker(self.clock.seconds)
        self.attempts: list[tuple[int, float]] = []
        self.outcome: list[Any] = []
        self._errors = list(errors)
        wire = wire_of(
            TaskSpec(url=URL, filename="film"),
            self.clock,
            incident=self.incidents.append,
            asleep=self.tracker.asleep,
        )
        insisting = wire.insist("key", self._ask, may_ask_again=lambda: may_ask_again)
        Deferred.fromCoroutine(insisting).addBoth(self.outcome.append)

    async def _ask(self, attempt: int) -> str:
        self.attempts.append((attempt, self.clock.seconds()))
        if self._errors:
            raise self._errors.pop(0)
        return "got it"


def status(code: int) -> HttpStatusError:
    return HttpStatusError(url=f"{URL}?token=s3cret", status=code)


def test_insisting_waits_between_attempts() -> None:
    """Longer each time; the task says that somebody sleeps, and each failure is an incident without secrets."""
    insisting = Insisting(status(503), status(500))
    assert 1 == insisting.tracker.sleeping and [] == insisting.outcome
    insisting.clock.pump([0.5, 1.0])
    assert ["got it"] == insisting.outcome and 0 == insisting.tracker.sleeping
    assert [(1, 0.0), (2, 0.5), (3, 1.5)] == insisting.attempts
    assert [("http_status", 1, 0.0), ("http_status", 2, 0.5)] == [
        (each.code, each.attempt, each.at) for each in insisting.incidents
    ]
    assert "s3cret" not in repr(insisting.incidents)


@pytest.mark.parametrize(
    ("error", "attempts"), [(status(503), RETRIES + 1), (status(404), 1), (KeyInvalid(url=URL, reason="x"), 3)]
)
def test_insisting_ends(error: M3u8svcError, attempts: int) -> None:
    """With the last error, which says how many there were."""
    insisting = Insisting(*[error] * 10)
    for _ in range(RETRIES):
        insisting.clock.advance(60.0)
    assert error is insisting.outcome[0].value
    assert attempts == error.attempts == len(insisting.attempts) == len(insisting.incidents)


def test_insisting_ends_when_there_is_no_budget() -> None:
    """Whatever the rules would allow."""
    insisting = Insisting(status(503), may_ask_again=False)
    assert 1 == len(insisting.attempts)
    assert insisting.outcome[0].check(HttpStatusError)


@pytest.mark.parametrize(
    ("task_url", "url", "told"),
    [
        ("https://a.test/i.m3u8", "http://b.test:81/1.ts", ["b.test:81"]),
        ("https://a.test/i.m3u8", "https://b.test/1.ts", []),
        ("http://a.test/i.m3u8", "http://b.test/1.ts", []),
        ("", "http://b.test/1.ts", []),
    ],
)
def test_what_is_not_encrypted_is_told(task_url: str, url: str, told: list[str]) -> None:
    """Where the task's own link is https and something of it is not; once for each host."""
    wire = wire_of(TaskSpec(url=task_url, filename="film"), Clock())
    for _ in range(2):
        Deferred.fromCoroutine(wire.request(url, Purpose.SEGMENT))
    assert [f"任务链接是 https，但 {host} 的内容未加密传输" for host in told] == wire.downgrades


def test_hosts_without_end() -> None:
    """A playlist may name another host for each segment: a few are remembered, and it is said that there are more."""
    headers = {"Cookie": ("a=1",)}
    wire = wire_of(TaskSpec(url="https://a.test/i.m3u8", filename="film", headers=headers), Clock())
    for number in range(100):
        Deferred.fromCoroutine(wire.request(f"http://{number}.test/1.ts", Purpose.SEGMENT))
    assert [MOST_HOSTS + 1] * 2 == [len(wire.unencrypted), len(wire.withheld["Cookie"])]
    expected = [*(f"{number}.test" for number in range(MOST_HOSTS)), "另一些站点"]
    assert [f"任务链接是 https，但 {host} 的内容未加密传输" for host in expected] == wire.downgrades
    assert 1 == len(withheld_headers(wire.withheld))


class Answering:
    """A fetcher that has everything at once, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sinks: list[Any] = []

    async def fetch(self, request: Request, sink: Any, **more: Any) -> Fetched:
        self.asked.append(request.url)
        self.sinks.append(sink)
        return Fetched(url=request.url, status=200, content_type="", modified="", size_bytes=0, length_known=True)

    async def read(self, request: Request, **more: Any) -> tuple[Fetched, bytes]:
        return await self.fetch(request, None), b""


class Nowhere:
    """A sink that takes all."""

    def write(self, chunk: bytes) -> None:
        pass


class Still:
    """A body that can be held."""

    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass


def test_a_low_rate_keeps_segments_waiting_and_no_playlists() -> None:
    """While a body has all of it, another segment is not asked for; what is small is."""
    clock = Clock()
    throttle = Throttle(clock)
    throttle.limit_everything(64 * 1024, Schedule())
    other = throttle.share("other", "elsewhere.test")
    Deferred.fromCoroutine(other.turn())
    other.begin(Still())
    fetcher: Any = Answering()
    wire = attrs.evolve(wire_of(TaskSpec(url=URL, filename="film"), clock, throttle=throttle), fetcher=fetcher)
    segment = Request(url=URL, purpose=Purpose.SEGMENT)
    playlist = Request(url="https://cdn.test/i.m3u8", purpose=Purpose.PLAYLIST)
    sent: list[bool] = []
    Deferred.fromCoroutine(wire.fetch(segment, Nowhere(), limits=FetchLimits(), sent=lambda: sent.append(True)))
    Deferred.fromCoroutine(wire.read(playlist, max_bytes=100))
    clock.pump([0.1] * 50)
    assert (["https://cdn.test/i.m3u8"], []) == (fetcher.asked, sent)
    other.end()
    clock.pump([0.1] * 50)
    assert (["https://cdn.test/i.m3u8", URL], [True]) == (fetcher.asked, sent)
    assert fetcher.sinks[-1]._received.__self__.started_at > 4.9  # what it waited is not the host's
    assert clock.getDelayedCalls() == []
    throttle.limit_task("t", 1024)
    share = throttle.share("t", "cdn.test")
    clock.advance(10.0)
    share.arrived(100_000)
    assert wire.is_limited(wire.host(URL))
    assert not wire_of(TaskSpec(url=URL, filename="film"), clock).is_limited(wire.host(URL))
