"""Requests wait for their turn at a host, all tasks of the process together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from m3u8svc.counting import HostTraffic, Traffic
from m3u8svc.errors import ConnectionRefused, HttpStatusError, M3u8svcError, StallTimeout
from m3u8svc.hosts import FORGET_S, REMEMBERED, Hosts, Visit
from m3u8svc.tasks.breaker import OPEN_S, OPENS_AFTER
from m3u8svc.tasks.concurrency import FIRST, PER_HOST, Ceilings
from m3u8svc.tasks.livelog import Standing
from m3u8svc.tasks.sharing import BEFORE_ALL
from m3u8svc.tasks.task import Phase
from m3u8svc.tasks.tracker import Tracker

URL = "http://origin.test/1.ts"
REFUSED = ConnectionRefused(url=URL, reason="x")
STALLED = StallTimeout(url=URL, seconds=30)


class Bench:
    """Hosts on a clock, and requests to them that end when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.hosts = Hosts(self.clock)
        self.sent: list[Deferred[str]] = []
        self.visits: list[Visit] = []
        self.whys: list[Callable[[], str | None]] = []

    def ask(self, host: str = "origin.test", *, task: str = "t", at_s: float = 0.0) -> "Deferred[str]":
        """One more request; it is among `sent` once it went out."""

        async def request(visit: Visit) -> str:
            answer: Deferred[str] = Deferred()
            self.sent.append(answer)
            self.visits.append(visit)
            return await answer

        return Deferred.fromCoroutine(self.hosts.ask(host, request, asleep=self.asleep, task=task, at_s=at_s))

    @contextmanager
    def asleep(self, why: Callable[[], str | None]) -> Iterator[None]:
        """Remembers who waits, and what for."""
        self.whys.append(why)
        try:
            yield
        finally:
            self.whys.remove(why)

    @property
    def waiting(self) -> int:
        """How many wait for their turn, for whatever reason."""
        return len(self.whys)

    @property
    def sleeping(self) -> int:
        """How many of them wait for the host to be asked again at all."""
        return sum(why() is not None for why in self.whys)

    def failing(self, error: M3u8svcError, host: str = "origin.test") -> None:
        """A request that fails a little later."""
        asked = self.ask(host)
        self.clock.advance(0.01)
        self.sent[-1].errback(error)
        assert asked.addErrback(lambda failure: str(failure.value)).result == str(error)  # type: ignore[attr-defined]

    def down(self, host: str = "origin.test") -> None:
        """So many failures that the host is left alone."""
        for _ in range(OPENS_AFTER):
            self.failing(STALLED, host)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_host_that_is_fine_gets_a_few_at_once(bench: Bench) -> None:
    """The others follow as those end; nobody sleeps, and nothing is remembered of it afterwards."""
    asked = [bench.ask() for _ in range(100)]
    assert (FIRST, 100 - FIRST, 0) == (len(bench.sent), bench.waiting, bench.sleeping)
    for number in range(100):
        bench.sent[number].callback("bytes")
    assert ["bytes"] * 100 == [each.result for each in asked]
    assert {} == bench.hosts._hosts and [] == bench.clock.getDelayedCalls()


def deliver(bench: Bench, *, seconds: float, each_s: float, line: int, task: str = "t") -> None:
    """A host whose answers take a while, of which `line` at once get their bytes; there is always more to ask for."""
    begun: dict[int, float] = {}

    def ask() -> None:
        bench.ask(task=task).addErrback(lambda failure: failure.trap(ConnectionRefused))

    for _ in range(80):
        ask()
    for _ in range(round(seconds / 0.01)):
        bench.clock.advance(0.01)
        now = bench.clock.seconds()
        open_ = [number for number, answer in enumerate(bench.sent) if not answer.called][:line]
        for number in open_:
            begun.setdefault(number, now)
            bench.visits[number].received(1000)
            if now - begun[number] >= each_s - 0.005:
                bench.sent[number].callback("bytes")
                ask()


def test_what_we_hold_back_is_no_wait_for_the_host(bench: Bench) -> None:
    """A limit of our own between a request's turn and its going out says nothing of how soon the host answers."""
    bench.ask()
    [visit] = bench.visits
    bench.clock.advance(5.0)
    visit.sent()
    bench.clock.advance(0.1)
    visit.received(1)
    assert pytest.approx(0.1) == visit.host.waited_s


def test_a_host_that_gives_each_one_little_gets_many(bench: Bench) -> None:
    """All that the service makes for one host, within a few seconds."""
    deliver(bench, seconds=4.0, each_s=0.3, line=1000)
    assert PER_HOST == bench.hosts._hosts["origin.test"].growth.most
    assert PER_HOST >= len([answer for answer in bench.sent if not answer.called]) > PER_HOST // 2


def test_a_host_that_breaks_all_connections_now_and_then(bench: Bench) -> None:
    """It is not taken for one that is down: it gets half as many, and more again until the next time."""
    for _ in range(12):
        deliver(bench, seconds=4.0, each_s=0.3, line=1000)
        for answer in [answer for answer in bench.sent if not answer.called]:
            answer.errback(REFUSED)
        assert 0.0 == bench.hosts.closed_for_s("origin.test")
    assert bench.hosts._hosts["origin.test"].finished > 0.25 * PER_HOST * 48.0 / 0.3


def test_a_line_that_few_fill_gets_no_more(bench: Bench) -> None:
    """More at once bring no more bytes: they are tried now and then, and taken back."""
    deliver(bench, seconds=10.0, each_s=0.1, line=3)
    assert FIRST >= bench.hosts._hosts["origin.test"].growth.most


def test_segments_that_take_long_are_no_reason_to_wait_for_their_end(bench: Bench) -> None:
    """Their bytes count as they come."""
    deliver(bench, seconds=8.0, each_s=60.0, line=1000)
    assert PER_HOST == len(bench.sent)


def test_a_ceiling_is_never_exceeded(bench: Bench) -> None:
    """Whatever would be worth it."""
    bench.hosts = Hosts(bench.clock, Ceilings(per_host=10, in_all=1000))
    deliver(bench, seconds=6.0, each_s=0.3, line=1000)
    assert 10 == len([answer for answer in bench.sent if not answer.called])
    assert 10 == bench.hosts._hosts["origin.test"].growth.most


def test_hosts_together_get_what_the_service_makes(bench: Bench) -> None:
    """Three hosts, five requests: whoever was held back for others is next, not whoever has just ended."""
    bench.hosts = Hosts(bench.clock, Ceilings(in_all=5))
    for host in ("a.test", "b.test", "c.test"):
        for _ in range(4):
            bench.ask(host)
    hosts = [visit.host.name for visit in bench.visits]
    assert ["a.test"] * 4 + ["b.test"] == hosts
    for number in range(7):
        bench.sent[number].callback("bytes")
    assert 12 == len(bench.visits)
    later = [visit.host.name for visit in bench.visits[5:]]
    assert {"b.test": 3, "c.test": 4} == {name: later.count(name) for name in ("b.test", "c.test")}
    assert "c.test" in later[:2]  # it does not wait for the end of all of b's


def test_tasks_share_a_host(bench: Bench) -> None:
    """One that comes later has as many as the first as soon as those come to their end."""
    for _ in range(20):
        bench.ask(task="early")
    for _ in range(20):
        bench.ask(task="late")
    for number in range(2):
        bench.sent[number].callback("bytes")
    assert 2 + FIRST == len(bench.sent)
    waiting = bench.hosts._hosts["origin.test"].row
    assert {"early": 2, "late": 2} == dict(waiting._under_way)


def test_a_task_may_always_begin(bench: Bench) -> None:
    """What hangs of one task keeps no other from its first request, within what the host takes and the ceilings."""
    for _ in range(2 * FIRST):
        bench.ask(task="hangs")
    assert FIRST == len(bench.sent)
    bench.ask(task="other")
    assert FIRST + 1 == len(bench.sent)
    bench.ask(task="other")
    assert FIRST + 1 == len(bench.sent)
    bench.sent[-1].callback("whole")
    assert FIRST + 2 == len(bench.sent)


def test_a_task_begins_within_the_ceiling(bench: Bench) -> None:
    """The operator's word goes before."""
    bench.hosts.ceilings = Ceilings(per_host=2)
    for number in range(4):
        bench.ask(task=f"t{number}")
    assert 2 == len(bench.sent)


def test_what_is_first_in_the_film_goes_first(bench: Bench) -> None:
    """A segment that is asked for again does not wait behind those after it; nor does a key."""
    for _ in range(FIRST):
        bench.ask(at_s=0.0)
    order: list[str] = []
    for name, at_s in (("late", 90.0), ("again", 10.0), ("key", BEFORE_ALL), ("later", 100.0)):
        bench.ask(at_s=at_s).addCallback(lambda _, name=name: order.append(name))
    for number in range(FIRST + 4):
        bench.sent[number].callback("bytes")
    assert ["key", "again", "late", "later"] == order


def test_later_is_said_to_everybody(bench: Bench) -> None:
    """Retry-After slows the whole host, not the one who was told; other hosts go on (S6)."""
    bench.failing(HttpStatusError(url=URL, status=503, retry_after_s=7.0))
    for _ in range(3):
        bench.ask()
    assert (1, 3) == (len(bench.sent), bench.sleeping)
    bench.ask("another.test")
    assert 2 == len(bench.sent)
    bench.clock.advance(6.9)
    assert 2 == len(bench.sent)
    bench.clock.advance(0.1)
    assert (3, 2) == (len(bench.sent), bench.waiting)  # it was asked too much: one at a time


def test_later_with_a_final_answer_stops_nobody(bench: Bench) -> None:
    """A file that is not there is no reason to keep all tasks from the others."""
    bench.failing(HttpStatusError(url=URL, status=404, retry_after_s=300.0))
    assert 0.0 == bench.hosts.closed_for_s("origin.test")


@pytest.mark.parametrize("asked_s", [1e9, 301.0])
def test_later_is_five_minutes_at_most(bench: Bench, asked_s: float) -> None:
    """Whatever a server wishes."""
    bench.failing(HttpStatusError(url=URL, status=429, retry_after_s=asked_s))
    assert 300.0 == bench.hosts.closed_for_s("origin.test")


def test_a_longer_wish_is_not_cut_short_by_a_shorter_one(bench: Bench) -> None:
    """Answers to what was under way already may say less."""
    bench.ask().addErrback(lambda failure: failure.trap(HttpStatusError))
    bench.failing(HttpStatusError(url=URL, status=503, retry_after_s=60.0))
    bench.sent[0].errback(HttpStatusError(url=URL, status=503, retry_after_s=1.0))
    assert 60.0 == pytest.approx(bench.hosts.closed_for_s("origin.test"), abs=0.1)


def test_a_host_that_is_down_is_asked_by_one(bench: Bench) -> None:
    """Twenty failures of whoever it may be, then nobody for thirty seconds, then one; its answer lets in others."""
    bench.down()
    waiting = [bench.ask() for _ in range(8)]
    assert (OPENS_AFTER, 8) == (len(bench.sent), bench.sleeping)
    bench.clock.advance(OPEN_S)
    assert (OPENS_AFTER + 1, 7) == (len(bench.sent), bench.sleeping)
    bench.clock.advance(3600.0)
    assert OPENS_AFTER + 1 == len(bench.sent)  # the probe has not ended
    bench.sent[-1].callback("bytes")
    assert waiting[0].result == "bytes"
    assert OPENS_AFTER + 3 == len(bench.sent)  # two at first, not all at once
    for number in range(OPENS_AFTER + 1, OPENS_AFTER + 8):
        bench.sent[number].callback("bytes")
    assert ["bytes"] * 8 == [each.result for each in waiting]


def test_who_waits_is_told_for_what(bench: Bench) -> None:
    """The host, what is wrong with it, and how long nobody asks it; nothing more while it is probed."""
    bench.down()
    bench.ask()
    bench.clock.advance(OPEN_S - 12.5)
    assert "origin.test（timeout_stall，13 秒后再试）" == bench.whys[0]()
    bench.ask()
    bench.clock.advance(12.5)
    assert "" == bench.whys[0]()
    bench.sent[-1].callback("bytes")
    assert [] == bench.whys


@pytest.mark.parametrize("phase", [Phase.SNIFF, Phase.DOWNLOAD])
def test_a_task_says_what_host_it_waits_for(bench: Bench, phase: Phase) -> None:
    """Once, however many of its workers wait; not any more when they do not."""
    tracker = Tracker(bench.clock.seconds)
    tracker.enter(phase)
    tracker.waits_for = "00009.ts" if phase is Phase.DOWNLOAD else ""
    with (
        tracker.asleep(lambda: "h.test（refused，9 秒后再试）"),
        tracker.asleep(lambda: "h.test（refused，9 秒后再试）"),
    ):
        with tracker.asleep(lambda: ""):
            shown = tracker.snapshot().status_bar
    assert 1 == shown.count("h.test（refused，9 秒后再试）") and "有 3个线程正在休眠" in shown
    assert (phase is Phase.DOWNLOAD) is ("00009.ts" in shown)
    assert "h.test" not in tracker.snapshot().status_bar


def test_a_probe_that_fails_is_followed_by_another(bench: Bench) -> None:
    """Half a minute later; who waits does not fail by waiting."""
    bench.down()
    waiting = [bench.ask() for _ in range(3)]
    failed: list[object] = []
    waiting[0].addErrback(failed.append)
    bench.clock.advance(OPEN_S)
    bench.sent[-1].errback(STALLED)
    assert (1, 2) == (len(failed), bench.sleeping)
    bench.clock.advance(OPEN_S - 0.1)
    assert OPENS_AFTER + 1 == len(bench.sent)
    bench.clock.advance(0.2)
    assert OPENS_AFTER + 2 == len(bench.sent)


def test_another_host_is_not_held_for_it(bench: Bench) -> None:
    """A breaker is one host's."""
    bench.down()
    bench.ask("another.test")
    assert OPENS_AFTER + 1 == len(bench.sent)
    assert 0.0 == bench.hosts.closed_for_s("another.test")
    assert 0.0 < bench.hosts.closed_for_s("origin.test") <= OPEN_S


def test_an_old_request_that_is_answered_opens_the_host(bench: Bench) -> None:
    """What was under way all the time comes to its end: it is not down."""
    bench.ask()
    bench.down()
    bench.ask()
    bench.sent[0].callback("bytes")
    assert OPENS_AFTER + 2 == len(bench.sent)


def test_a_cancelled_request_leaves_the_row(bench: Bench) -> None:
    """Whoever is paused while it waits asks nothing, and the next one has its turn; so has it after a paused probe."""
    bench.down()
    waiting = [bench.ask() for _ in range(3)]
    for each in waiting:
        each.addErrback(lambda failure: failure.trap(CancelledError))
    waiting[0].cancel()
    assert 2 == bench.sleeping
    bench.clock.advance(OPEN_S)
    assert OPENS_AFTER + 1 == len(bench.sent)
    waiting[1].cancel()
    assert OPENS_AFTER + 2 == len(bench.sent)
    waiting[2].cancel()
    assert 0 == bench.sleeping and [] == bench.clock.getDelayedCalls()


def test_who_waits_goes_before_who_comes_just_then(bench: Bench) -> None:
    """In the instant in which a host may be asked again nobody overtakes."""
    bench.down()
    bench.clock.callLater(OPEN_S, lambda: late.append(bench.ask()))
    late: list[Deferred[str]] = []
    early = bench.ask()
    bench.clock.advance(OPEN_S + 0.1)
    assert (1, OPENS_AFTER + 1) == (len(late), len(bench.sent))
    bench.sent[-1].callback("bytes")
    assert early.called and not late[0].called


def test_a_host_that_takes_two_gets_two(bench: Bench) -> None:
    """It turns away whoever comes beyond: after a few rounds nobody does (S18)."""
    refused = 0
    for _ in range(16):
        bench.ask().addErrback(lambda failure: failure.trap(ConnectionRefused))
    for _ in range(200):
        open_ = [answer for answer in bench.sent if not answer.called]
        bench.clock.advance(0.1)
        for answer in open_[2:]:
            refused += 1
            answer.errback(REFUSED)
            bench.ask().addErrback(lambda failure: failure.trap(ConnectionRefused))
        for answer in open_[:2]:
            answer.callback("bytes")
            bench.ask().addErrback(lambda failure: failure.trap(ConnectionRefused))
    assert 400 > refused > 0
    late = [answer for answer in bench.sent if not answer.called]
    assert 3 >= len(late)
    assert refused <= 14 + 6 + 2 + 4  # three halvings, and a trial now and then


def test_a_long_row_that_ends_at_once_is_no_deep_recursion(bench: Bench) -> None:
    """Requests that are answered from memory let in each other."""
    bench.down()
    done: list[str] = []

    async def request(visit: Visit) -> str:
        return "bytes"

    for _ in range(5000):
        Deferred.fromCoroutine(bench.hosts.ask("origin.test", request)).addCallback(done.append)
    bench.clock.advance(OPEN_S)
    assert 5000 == len(done)


def test_the_memory_of_hosts_is_bounded(bench: Bench) -> None:
    """Playlists may name any number of hosts, and each may fail."""
    for number in range(REMEMBERED + 50):
        bench.failing(REFUSED, f"h{number}.test")
    assert REMEMBERED == len(bench.hosts._hosts)


def test_a_host_that_nobody_asked_for_long_is_as_new(bench: Bench) -> None:
    """What was too much yesterday may not be today."""
    bench.failing(REFUSED)
    bench.failing(REFUSED)
    assert 1 == bench.hosts._hosts["origin.test"].limit.most
    bench.clock.advance(FORGET_S + 1)
    for _ in range(5):
        bench.ask()
    assert 2 + FIRST == len(bench.sent)


def test_what_comes_from_hosts_is_counted_also_when_they_are_forgotten(bench: Bench) -> None:
    """Every byte once, and of those that are asked now how many requests are under way."""
    bench.ask("one.test")
    bench.ask("one.test")
    bench.ask("two.test")
    for visit, size in zip(bench.visits, (10, 20, 300), strict=True):
        visit.received(size)
    assert (HostTraffic("one.test", 2), HostTraffic("two.test", 1)) == bench.hosts.traffic().hosts
    bench.sent[2].callback("bytes")
    assert (HostTraffic("one.test", 2),) == bench.hosts.traffic().hosts
    assert 330 == bench.hosts.traffic().received_bytes
    for sent in bench.sent[:2]:
        sent.callback("bytes")
    assert Traffic(received_bytes=330) == bench.hosts.traffic()
    assert {} == bench.hosts._hosts
    bench.clock.advance(FORGET_S + 1)
    bench.ask("one.test")
    bench.visits[-1].received(4000)
    assert 4330 == bench.hosts.traffic().received_bytes


def test_hosts_that_are_forgotten_because_there_are_so_many(bench: Bench) -> None:
    """What came from them still counts."""
    bench.down("bad.test")  # is remembered, for it failed
    bench.clock.advance(OPEN_S + 1)
    for number in range(REMEMBERED + 5):
        bench.ask(f"{number}.test")
        bench.visits[-1].received(1)
    assert "bad.test" not in bench.hosts._hosts
    assert REMEMBERED + 5 == bench.hosts.traffic().received_bytes


def test_how_a_task_stands_with_its_hosts(bench: Bench) -> None:
    """Its own requests at each host that it asks or waits for, and for how long nobody may ask; not those of others."""
    bench.down("down.test")
    for _ in range(FIRST + 3):
        bench.ask("busy.test")
    bench.ask("busy.test", task="other")
    bench.ask("down.test")
    bench.ask("fine.test", task="other")
    busy = Standing(name="busy.test", connections=FIRST, limit=FIRST, paused_for_s=None)
    closed_s = bench.hosts.closed_for_s("down.test")
    found = {each.name: each for each in bench.hosts.standings("t")}
    assert {"busy.test", "down.test"} == found.keys()
    assert busy == found["busy.test"]
    assert (0, closed_s) == (found["down.test"].connections, found["down.test"].paused_for_s)
    assert OPEN_S / 2 < closed_s
    assert [] == bench.hosts.standings("nobody")


def test_a_host_that_objects_has_a_lower_limit(bench: Bench) -> None:
    """What it takes counts, where that is less than what would be worth it or than the ceiling."""
    bench.hosts.ceilings = Ceilings(per_host=1)
    bench.ask()
    assert [1] == [each.limit for each in bench.hosts.standings("t")]
    bench.hosts.ceilings = Ceilings()
    for _ in range(2):
        bench.failing(REFUSED, "grumpy.test")
    bench.ask("grumpy.test")
    assert [1] == [each.limit for each in bench.hosts.standings("t") if each.name == "grumpy.test"]
