"""
Limits of rate on a clock: real bodies, transports that send whenever they may, a wall clock that is set at will.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH

from m3u8svc.body import Answer, Body, FetchLimits
from m3u8svc.errors import StallTimeout, TotalTimeout
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.schedule import parse_schedule
from m3u8svc.throttle import RequestShare, Throttle

K, M = 1024, 1024**2
BERLIN = ZoneInfo("Europe/Berlin")


class Headed:
    """As much of a response as a body asks for."""

    code = 200
    length = UNKNOWN_LENGTH


class Kept:
    """A sink that counts, and can be slow to take what it is given."""

    def __init__(self) -> None:
        self.size = 0
        self.slow: Deferred[None] | None = None

    def write(self, chunk: bytes) -> "Deferred[None] | None":
        self.size += len(chunk)
        return self.slow


class Server:
    """The transport of a body: what was sent is read in pieces of the size that was agreed, while nobody pauses it."""

    def __init__(
        self,
        throttle: Throttle,
        clock: Clock,
        task: str,
        host: str,
        limits: FetchLimits | None = None,
        *,
        answers: bool = True,
    ) -> None:
        self.clock = clock
        self.sends = True
        self.paused = False
        self.sent: list[bool] = []
        self.sink = Kept()
        self.ended: list[object] = []
        self._share = throttle.share(task, host)
        self._limits = limits or FetchLimits()
        self._answers = answers
        self.body: Body | None = None
        self.request: Deferred[None] = Deferred.fromCoroutine(self._ask(self._share))
        self.request.addErrback(lambda failure: failure.trap(Exception) and None)

    async def _ask(self, share: RequestShare) -> None:
        await share.turn()
        self.sent.append(True)
        if self._answers:
            self.answer()

    def answer(self) -> None:
        """The headers are there."""
        url = "http://a.example/"
        deadline = None if self._limits.total_s is None else self.clock.seconds() + self._limits.total_s
        answer = Answer(
            request=Request(url=url, purpose=Purpose.SEGMENT),
            response=Headed(),  # type: ignore[arg-type]  # a fake
            encoding="",
            hops=0,
            deadline=deadline,
        )
        self.body = Body(self.clock, answer, self.sink, None, self._limits, self._share)
        self.body.done.addBoth(self.ended.append)
        self.body.makeConnection(self)  # type: ignore[arg-type]  # a fake
        self.resumeProducing()  # as Twisted does
        self.body.began()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def loseConnection(self) -> None:
        self.sends = False

    def read(self) -> None:
        """One read, if there is something and it may be."""
        if self.body is not None and self.sends and not self.paused:
            self.body.dataReceived(b"x" * self._share.read_bytes)

    def finish(self) -> None:
        """The answer is whole."""
        assert self.body is not None
        self.body.connectionLost(Failure(ResponseDone()))

    def end(self) -> None:
        """The request is over."""
        self._share.end()


class Turns(Clock):
    """A clock whose turns are those of a reactor: what is called at once is called after the next reads."""

    def turn(self, seconds: float) -> None:
        self.rightNow += seconds
        for call in [each for each in self.calls if each.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class Rig:
    """A clock, a throttle, and servers that all are read from in every turn."""

    def __init__(self) -> None:
        self.clock = Turns()
        self.clock.advance(1000.0)
        self.throttle = Throttle(self.clock)
        self.servers: list[Server] = []

    def add(
        self, task: str = "t", host: str = "h", limits: FetchLimits | None = None, *, answers: bool = True
    ) -> Server:
        self.servers.append(Server(self.throttle, self.clock, task, host, limits, answers=answers))
        return self.servers[-1]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 1000)):
            for _ in range(8):
                for server in self.servers:
                    server.read()
                self.clock.turn(0)
            self.clock.turn(0.001)

    @property
    def total(self) -> int:
        return sum(server.sink.size for server in self.servers)

    def limit(self, rate: int, schedule: str = "") -> None:
        self.throttle.limit_everything(rate, parse_schedule(schedule))


@pytest.mark.parametrize("rate", [M, 5 * M, 20 * M])
def test_bodies_together_keep_the_rate(rate: int) -> None:
    """Eight bodies of two tasks, in the long run within two percent."""
    rig = Rig()
    rig.limit(rate)
    for number in range(8):
        rig.add(task=f"t{number % 2}")
    rig.run(1.0)
    before = rig.total
    rig.run(3.0)
    assert rig.total - before == pytest.approx(3 * rate, rel=0.02)
    sizes = [server.sink.size for server in rig.servers]
    assert max(sizes) - min(sizes) <= 0.1 * max(sizes)


def test_a_task_and_a_host_have_their_own_rates() -> None:
    """One task of two is limited, then its host, then nothing is."""
    rig = Rig()
    rig.throttle.limit_task("a", M)
    rig.throttle.limit_hosts(3 * M)
    a, b = rig.add("a"), rig.add("b")
    rig.run(2.0)
    assert a.sink.size == pytest.approx(2 * M, rel=0.1)
    assert b.sink.size == pytest.approx(4 * M, rel=0.1)
    rig.throttle.limit_hosts(0)
    rig.throttle.end_task("a")
    assert not (a.paused or b.paused)
    assert not rig.throttle.holds_back("a", "h")


def test_what_was_said_of_a_task_before_it_began_holds() -> None:
    """It was read from the store before somebody changed it; when it has ended, nothing of it is left."""
    rig = Rig()
    rig.throttle.limit_task("a", M)
    rig.throttle.begin_task("a", 5 * M)
    server = rig.add("a")
    rig.run(1.0)
    assert server.sink.size == pytest.approx(M, rel=0.1)
    rig.throttle.end_task("a")
    rig.throttle.begin_task("a", 0)
    assert not server.paused
    rig.run(0.1)
    assert not rig.throttle.holds_back("a", "other")


def test_without_a_limit_there_is_no_timer() -> None:
    """Nothing waits, and nothing comes back later: the only calls are the bodies' own."""
    rig = Rig()
    servers = [rig.add() for _ in range(3)]
    rig.run(0.1)
    assert len(rig.clock.getDelayedCalls()) == len(servers)
    for server in servers:
        server.finish()
    assert rig.clock.getDelayedCalls() == []
    assert [[None]] * 3 == [server.ended for server in servers]


def test_no_limit_any_more_lets_all_go_on() -> None:
    """Requests are sent, bodies read, and the timer is gone."""
    rig = Rig()
    rig.limit(64 * K)
    servers = [rig.add() for _ in range(4)]
    rig.run(1.0)
    assert not all(server.sent for server in servers)
    rig.limit(0)
    assert all(server.sent and not server.paused for server in servers)
    for server in servers:
        server.finish()
    assert rig.clock.getDelayedCalls() == []


def test_a_limit_comes_to_what_is_under_way() -> None:
    """Bodies that read freely are held from the next second on."""
    rig = Rig()
    servers = [rig.add() for _ in range(4)]
    rig.run(0.1)
    rig.limit(M)
    before = rig.total
    rig.run(1.0)
    assert rig.total - before == pytest.approx(M, rel=0.2)
    assert [True] * 4 == [rig.throttle.holds_back("t", "h")] * len(servers)


def test_what_is_held_by_us_is_not_silent() -> None:
    """A body that waits for minutes because of a limit of ours is no stalled one, nor is it out of time."""
    rig = Rig()
    rig.limit(K)
    server = rig.add(limits=FetchLimits(silence_s=2.0, total_s=2.0))
    assert server.body is not None
    server.body.dataReceived(b"x" * 128 * K)
    assert server.paused
    rig.clock.pump([1.0] * 100)
    assert server.ended == []
    server.sends = False
    rig.limit(0)
    assert not server.paused
    rig.clock.pump([0.1] * 40)
    [failure] = server.ended
    assert isinstance(failure, Failure)
    assert failure.check(StallTimeout, TotalTimeout)


def test_a_server_that_is_silent_is_found_out_under_a_limit() -> None:
    """While others use up the rate it does no harm; when they do not any more, it is found silent as always."""
    rig = Rig()
    rig.limit(M)
    other, silent = rig.add(), rig.add(limits=FetchLimits(silence_s=2.0))
    silent.sends = False
    rig.run(3.0)
    assert (3.0, []) == (pytest.approx(other.sink.size / M, rel=0.05), silent.ended)
    other.finish()
    rig.run(3.0)
    [failure] = silent.ended
    assert isinstance(failure, Failure)
    assert failure.check(StallTimeout)


@pytest.mark.parametrize("limit_first", [True, False])
def test_sink_and_limit_may_hold_at_once(limit_first: bool) -> None:
    """Whoever lets go first, the other still holds; and all that time is excused, once."""
    rig = Rig()
    rig.limit(K)
    server = rig.add(limits=FetchLimits(silence_s=3.0))
    assert server.body is not None
    slow: Deferred[None] = Deferred()
    server.sink.slow = slow
    server.body.dataReceived(b"x" * 2 * K)
    rig.clock.pump([0.5] * 4)
    server.sink.slow = None
    free = [lambda: rig.limit(0), lambda: slow.callback(None)]
    free.pop(0 if limit_first else 1)()
    assert server.paused
    rig.clock.pump([0.5] * 2)
    free.pop()()
    assert not server.paused
    rig.clock.pump([0.5] * 5)
    assert server.ended == []
    rig.clock.pump([0.5] * 2)
    assert server.ended


def test_what_came_with_the_headers_does_not_set_it_free() -> None:
    """Twisted resumes a transport after it has delivered that: under a limit that is used up it waits all the same."""
    rig = Rig()
    rig.limit(M)
    first, second = rig.add(), rig.add(answers=False)
    assert first.body is not None
    first.body.dataReceived(b"x" * M)
    assert first.paused
    assert second.sent
    second.answer()
    assert second.paused
    rig.clock.advance(2.0)
    assert not second.paused


def test_a_request_that_is_cancelled_while_it_waits_leaves_nothing() -> None:
    """It is not sent, and the next one has its turn."""
    rig = Rig()
    rig.limit(64 * K)
    first, second, third = rig.add(), rig.add(), rig.add()
    rig.run(1.0)
    waiting = [server for server in (second, third) if not server.sent]
    assert third in waiting
    third.request.cancel()
    third.end()
    for server in (first, second):
        if server.body is not None:
            server.finish()
        server.end()
    rig.clock.pump([0.1] * 20)
    assert third.sent == []
    assert rig.clock.getDelayedCalls() == []


class Wall:
    """The time of day, which somebody may set."""

    def __init__(self, clock: Clock, shown: str) -> None:
        self._clock = clock
        self.set(shown)

    def set(self, shown: str) -> None:
        self._ahead = datetime.fromisoformat(shown).replace(tzinfo=BERLIN).timestamp() - self._clock.seconds()

    def __call__(self) -> float:
        return self._clock.seconds() + self._ahead


def berlin(at: float) -> datetime:
    """What a clock in Berlin shows."""
    return datetime.fromtimestamp(at, BERLIN).replace(tzinfo=None)


def scheduled(shown: str, schedule: str) -> tuple[Rig, Wall]:
    """A rig at a time of day, with a schedule beside no limit."""
    rig = Rig()
    wall = Wall(rig.clock, shown)
    rig.throttle = Throttle(rig.clock, wall=wall, local=berlin)
    rig.limit(0, schedule)
    return rig, wall


def test_the_schedule_is_followed_to_the_second() -> None:
    """From eight to six on a weekday, and not a second longer."""
    rig, _ = scheduled("2026-11-26 07:59:30", "Mon-Fri 08:00-18:00 2M")
    assert rig.throttle.rate == 0
    rig.clock.advance(29.9)
    assert rig.throttle.rate == 0
    rig.clock.advance(0.2)
    assert 2 * M == rig.throttle.rate
    rig.clock.pump([60.0] * 599 + [59.0])
    assert 2 * M == rig.throttle.rate
    rig.clock.advance(2.0)
    assert rig.throttle.rate == 0


def test_a_clock_that_is_set_is_noticed_within_a_minute() -> None:
    """Forward and back."""
    rig, wall = scheduled("2026-11-26 07:00:00", "Mon-Fri 08:00-18:00 2M")
    wall.set("2026-11-26 09:00:00")
    rig.clock.advance(60.0)
    assert 2 * M == rig.throttle.rate
    wall.set("2026-11-25 19:00:00")
    rig.clock.advance(60.0)
    assert rig.throttle.rate == 0


def test_a_schedule_is_replaced_and_stopped() -> None:
    """The old one's timer goes with it; without a schedule there is none."""
    rig, _ = scheduled("2026-11-26 09:00:00", "00:00-24:00 2M")
    rig.limit(M, "Sun 10:00-11:00 5M")
    assert rig.throttle.rate == M
    assert len(rig.clock.getDelayedCalls()) == 1
    rig.throttle.stop()
    assert rig.clock.getDelayedCalls() == []
    rig.limit(3 * M)
    assert (3 * M, []) == (rig.throttle.rate, rig.clock.getDelayedCalls())


def test_the_hour_that_comes_twice() -> None:
    """Where the clock is put back, what it shows counts: in, out, in, out."""
    rig, wall = scheduled("2026-10-25 00:30:00", "01:00-02:30 2M")
    seen, end = [], wall() + timedelta(hours=5).total_seconds()
    while wall() < end:
        if [rig.throttle.rate] != seen[-1:]:
            seen.append(rig.throttle.rate)
        rig.clock.advance(30.0)
    assert [0, 2 * M, 0, 2 * M, 0] == seen
