"""
How the requests of one task go out: with the headers meant for that host, through the hooks, in their turn at the host,
by the one door, no faster than the limits of rate let them; and again when they fail, by the rules of `tasks.retry`.
"""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import IAgent

from m3u8svc.counting import Counts
from m3u8svc.errors import HttpStatusError, M3u8svcError
from m3u8svc.fetch import Fetched, Fetcher, FetchLimits, Sink
from m3u8svc.hls.playlist import Segment
from m3u8svc.hls.uri import host_of
from m3u8svc.hooks import Hooks
from m3u8svc.hosts import Asleep, Hosts, Visit
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.headers import request_headers
from m3u8svc.tasks.incidents import incident_of
from m3u8svc.tasks.reach import Reaches
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import Retry, Tally, decide
from m3u8svc.tasks.sharing import BEFORE_ALL
from m3u8svc.tasks.task import Incident, Task
from m3u8svc.throttle import Throttle
from m3u8svc.wording import Said, said

T = TypeVar("T")

MOST_HOSTS = 5
"""How many hosts a warning names: a playlist may name one for each segment."""
_OTHERS = Said("另一些站点", "what other sites have")


@attrs.frozen(kw_only=True)
class Wire:
    """
    How this task's requests go out: scoped headers, the hooks, the one door.
    """

    task: Task
    hooks: Hooks
    fetcher: Fetcher
    hosts: Hosts
    clock: IReactorTime
    wall: Callable[[], float]
    """The time of day, for incidents."""
    chance: Callable[[], float]
    """The dice of the backoff."""
    note: Callable[[str], None]
    """Takes a line for the task's debug log."""
    throttle: Throttle = attrs.field(default=attrs.Factory(lambda wire: Throttle(wire.clock), takes_self=True))
    """The limits of rate."""
    incident: Callable[[Incident], None] = lambda incident: None
    """Takes what went wrong, for the task."""
    asleep: Asleep = nullcontext
    """Entered while something of the task waits for its time."""
    counts: Counts = attrs.field(factory=Counts)
    """What the process counts."""
    withheld: dict[str, set[str]] = attrs.field(factory=dict)
    """Names of headers that did not go to some hosts, with some of those hosts, for the task's warnings."""
    unencrypted: set[str] = attrs.field(factory=set)
    """Some of the hosts that are asked without encryption although the task's own URL is https (R-URL-1)."""
    reaches: Reaches = attrs.field(factory=Reaches)
    """How near may be what the playlists lead to that were read so far."""

    async def request(
        self, url: str, purpose: Purpose, *, reach: Zone = Zone.PUBLIC, segment: Segment | None = None
    ) -> Request:
        """
        A request of this task, as the pipeline of `prepare_request` leaves it; `reach` is how near it may go.
        """
        spec = self.task.spec
        scoped = request_headers(spec.headers, spec.address, url, spec.extensions.header_hosts)
        for name in scoped.withheld:
            _remember(self.withheld.setdefault(name, set()), url)
        request = Request(
            url=url,
            purpose=purpose,
            headers=scoped.headers,
            byterange=segment.byterange if segment else None,
            position=segment.position if segment else None,
            insecure=spec.settings.allow_insecure_https,
            reach=reach,
        )
        prepared: Request = await self.hooks.pipeline("prepare_request", "request", request, task=self.task)
        self._look_for_encryption(prepared.url)
        return prepared

    @property
    def downgrades(self) -> list[Said]:
        """
        Lines for the task's warnings: what was asked without encryption.
        """
        hosts = sorted(map(escape_controls, self.unencrypted))
        told = [*hosts[:MOST_HOSTS], *([_OTHERS] if len(hosts) > MOST_HOSTS else [])]
        zh = "任务链接是 https，但 {host} 的内容未加密传输"
        en = "the task's link is https, but {host} is fetched without encryption"
        return [said(zh, en, host=host) for host in told]

    def _look_for_encryption(self, url: str) -> None:
        if url.startswith("http:") and self.task.spec.address.startswith("https:"):
            _remember(self.unencrypted, url)

    def agent_for(self, attempt: int) -> Callable[[Request], Awaitable[IAgent]]:
        """
        Asks the hooks for the agent of a request, fail-closed.
        """

        async def ask(request: Request) -> IAgent:
            agent: IAgent = await self.hooks.ask("provide_agent", request=request, task=self.task, attempt=attempt)
            return agent

        return ask

    def host(self, url: str) -> str:
        """
        What `hosts` knows the host of this URL by: what it is asked through a proxy says nothing of the direct way.
        """
        settings = self.task.spec.settings
        way = f" via {settings.proxy_host}:{settings.proxy_port}" if settings.wants_proxy else ""
        return host_of(url) + way

    def is_limited(self, host: str) -> bool:
        """
        Whether we limit ourselves what the task gets of this host, now: then a slow answer says nothing of the host.
        """
        return self.throttle.holds_back(self.task.id, host)

    async def fetch(
        self,
        request: Request,
        sink: Sink,
        *,
        limits: FetchLimits,
        attempt: int = 1,
        sent: Callable[[], None] = lambda: None,
        at_s: float = BEFORE_ALL,
    ) -> Fetched:
        """
        What `request` asks for, into `sink`, once it is its turn at the host; `sent` is called when it is. `at_s` says
        where in the film it belongs.
        """

        async def ask(visit: Visit) -> Fetched:
            with self.throttle.share(self.task.id, host) as share:
                await share.turn()
                visit.sent()
                sent()
                metered, agent_for = _Metered(sink, visit), self.agent_for(attempt)
                return await self.fetcher.fetch(request, metered, agent_for=agent_for, limits=limits, share=share)

        host = self.host(request.url)
        fetched = await self.hosts.ask(host, ask, asleep=self.asleep, task=self.task.id, at_s=at_s)
        self._look_for_encryption(fetched.url)
        return fetched

    async def read(self, request: Request, *, max_bytes: int, attempt: int = 1) -> tuple[Fetched, bytes]:
        """
        A small body, whole.
        """
        limits = FetchLimits(max_bytes=max_bytes, total_s=60.0)

        async def ask(visit: Visit) -> tuple[Fetched, bytes]:
            with self.throttle.share(self.task.id, host, is_small=True) as share:
                await share.turn()
                visit.sent()
                agent_for = self.agent_for(attempt)
                return await self.fetcher.read(request, agent_for=agent_for, limits=limits, share=share)

        host = self.host(request.url)
        fetched, body = await self.hosts.ask(host, ask, asleep=self.asleep, task=self.task.id)
        self._look_for_encryption(fetched.url)
        self.note(f"{request.purpose.value} {fetched.status} {len(body)}B {redact_url(fetched.url)}")
        return fetched, body

    async def insist(
        self,
        what: str,
        ask: Callable[[int], Awaitable[T]],
        *,
        final: frozenset[int] = frozenset(),
        may_ask_again: Callable[[], bool] = lambda: True,
    ) -> T:
        """
        What `ask` brings, given the number of the attempt, after as many attempts as the rules allow. `what` names it
        in the task's log; `may_ask_again` can end it earlier, and statuses in `final` do, for the caller to judge.

        Raises:
            M3u8svcError: the last attempt's; its `attempts` says how many there were, 0 for one in `final`.
        """
        tally, attempt = Tally(), 1
        while True:
            try:
                return await ask(attempt)
            except M3u8svcError as error:
                if isinstance(error, HttpStatusError) and error.status in final:
                    raise
                self.failed(error, attempt=attempt)
                decision = decide(error, attempt, skip_statuses=frozenset(), chance=self.chance())
                self.note(f"{what} attempt {attempt} failed: {error} -> {decision}")
                if not isinstance(decision, Retry) or not tally.allows(error) or not may_ask_again():
                    error.attempts = attempt
                    raise
                await self.sleep(decision.delay_s)
                attempt += 1

    def failed(self, error: M3u8svcError, *, attempt: int, segment: str = "") -> None:
        """
        An attempt failed: an incident of the task.
        """
        self.counts.failures[error.code] += 1
        self.incident(incident_of(error, at=self.wall(), segment=segment, attempt=attempt))

    async def sleep(self, delay_s: float) -> None:
        """
        Wait before another attempt.
        """
        with self.asleep(str):
            await deferLater(self.clock, delay_s)


class _Metered:
    """
    A sink whose bytes are counted for the host they come from.
    """

    def __init__(self, sink: Sink, visit: Visit) -> None:
        self._write = sink.write
        self._received = visit.received

    def write(self, chunk: bytes) -> Deferred[None] | None:
        """Count a chunk and pass it on."""
        self._received(len(chunk))
        return self._write(chunk)


def _remember(hosts: set[str], url: str) -> None:
    if len(hosts) <= MOST_HOSTS:  # one more shows that there are others
        hosts.add(host_of(url))
