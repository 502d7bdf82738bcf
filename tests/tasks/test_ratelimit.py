"""
Limits of rate, without a network: flows that always have something to read, or seldom, under limits of every kind.
"""

import random
from collections import Counter, deque

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from m3u8svc.tasks.ratelimit import (
    CREDIT_S,
    LEAST_READ,
    LEAST_SHARE,
    MOST_READ,
    RECENT_S,
    Everything,
    Flow,
    Host,
    OfTask,
    RateLimits,
    Scope,
)

K, M = 1024, 1024**2
ALL = Everything()


class Line:
    """
    Flows whose servers send `speed` bytes per second each, None for any number, and a reactor that is `late` by up to
    so many seconds, at random.
    """

    def __init__(self, limits: RateLimits, *, late_s: float = 0.0, seed: int = 0) -> None:
        self.limits = limits
        self.now = 1e6
        self.flows: dict[Flow, float | None] = {}
        self.waiting: dict[Flow, float] = {}
        """What a server has sent that was not read yet."""
        self.read: list[tuple[float, Flow, int]] = []
        self._late_s = late_s
        self._dice = random.Random(seed)

    def add(self, *scopes: Scope, speed: float | None = None) -> Flow:
        """One more, whose answer comes as soon as it is asked for."""
        flow = self.limits.join(scopes, self.now)
        self.flows[flow], self.waiting[flow] = speed, 0.0
        return flow

    def end(self, flow: Flow) -> None:
        """It is over."""
        del self.flows[flow]
        self.limits.leave(flow, self.now)

    def run(self, seconds: float) -> None:
        """Let time pass: a turn of the reactor each millisecond, or whenever it comes to it."""
        end = self.now + seconds
        while self.now < end:
            self._turn()
            step_s = 0.001 + self._dice.random() * self._late_s
            self.now += step_s
            for flow, speed in self.flows.items():
                if speed is not None:
                    self.waiting[flow] += speed * step_s

    def _turn(self) -> None:
        self.limits.look(self.now)
        for _ in range(12):  # as often as the reactor would come back at once
            for flow in [each for each in self.flows if each.is_asked and not each.is_answered]:
                self.limits.begin(flow, self.now)
            for flow in self._dice.sample(list(self.flows), len(self.flows)):
                self._read(flow)
            if self.limits.next_look(self.now) != self.now:
                return
            self.limits.look(self.now)

    def _read(self, flow: Flow) -> None:
        speed = self.flows[flow]
        size = flow.read_bytes if speed is None else int(min(flow.read_bytes, self.waiting[flow]))
        if flow.reads and flow.is_answered and size:
            self.waiting[flow] -= size
            self.read.append((self.now, flow, size))
            self.limits.arrived(flow, size, self.now)

    def total(self, since: float = 0.0) -> int:
        """How much was read since then."""
        return sum(size for at, _, size in self.read if at >= since)

    def most_in_a_second(self) -> int:
        """The most that was read within any second."""
        window: deque[tuple[float, int]] = deque()
        most = held = 0
        for at, _, size in self.read:
            window.append((at, size))
            held += size
            while window[0][0] <= at - 1.0:
                held -= window.popleft()[1]
            most = max(most, held)
        return most

    def by_flow(self) -> "Counter[Flow]":
        """How much each has read."""
        counted: Counter[Flow] = Counter()
        for _, flow, size in self.read:
            counted[flow] += size
        return counted


def limited(rate: int, scope: Scope = ALL) -> RateLimits:
    """Limits with one in them."""
    limits = RateLimits()
    limits.set_rate(scope, rate, 1e6)
    return limits


rates = st.sampled_from([20 * K, 100 * K, 777_777, M, 5 * M, 20 * M, 100 * M])


@settings(deadline=None, max_examples=40)
@given(rates, st.integers(1, 12), st.sampled_from([0.0, 0.004, 0.02]), st.integers(0, 2**32))
def test_no_second_brings_more(rate: int, flows: int, late_s: float, seed: int) -> None:
    """Over any second it is the rate, the room of a twentieth of a second, and one read at most."""
    line = Line(limited(rate), late_s=late_s, seed=seed)
    for _ in range(flows):
        line.add(ALL)
    line.run(2.5)
    assert 0 < line.most_in_a_second() <= rate * (1 + CREDIT_S) + min(MOST_READ, max(LEAST_READ, rate // 50))


@settings(deadline=None, max_examples=40)
@given(rates, st.integers(1, 12), st.sampled_from([0.0, 0.004, 0.02]), st.integers(0, 2**32))
def test_the_rate_is_used(rate: int, flows: int, late_s: float, seed: int) -> None:
    """In the long run it is within two percent, also where the reactor is late, if it reads often enough at all."""
    assume(rate * (0.001 + late_s) < flows * MOST_READ)
    line = Line(limited(rate), late_s=late_s, seed=seed)
    for _ in range(flows):
        line.add(ALL)
    line.run(1.0)
    began = line.now
    line.run(4.0)
    slack = LEAST_READ if rate < M else 0
    assert line.total(began) == pytest.approx((line.now - began) * rate, rel=0.02, abs=slack)


@pytest.mark.parametrize("rate", [M, 5 * M, 50 * M])
@pytest.mark.parametrize("flows", [2, 5, 16])
def test_all_get_the_same(rate: int, flows: int) -> None:
    """Whatever order the reactor asks them in; of those there is a share for."""
    line = Line(limited(rate), seed=flows)
    for _ in range(flows):
        line.add(ALL)
    line.run(5.0)
    counted = line.by_flow()
    assert len(counted) == min(flows, rate // LEAST_SHARE)
    # At a high rate several read before anybody knows how much it was.
    slack = max(2 * min(MOST_READ, rate // 50), counted.total() / len(counted) * 0.05)
    assert max(counted.values()) - min(counted.values()) <= slack


def test_slow_servers_do_not_keep_the_others_from_the_rate() -> None:
    """Seven servers that send little, one that sends everything: the eighth gets what the seven leave."""
    line = Line(limited(2 * M))
    slow = [line.add(ALL, speed=20 * K) for _ in range(7)]
    fast = line.add(ALL)
    line.run(1.0)
    line.read.clear()
    line.run(4.0)
    counted = line.by_flow()
    assert counted.total() == pytest.approx(8 * M, rel=0.02)
    for flow in slow:
        assert counted[flow] == pytest.approx(80 * K, rel=0.1)
    assert counted[fast] == pytest.approx(8 * M - 7 * 80 * K, rel=0.03)


def test_those_that_have_waited_do_not_come_all_at_once() -> None:
    """Thirty servers that were silent begin to send in the same instant."""
    line = Line(limited(4 * M))
    flows = [line.add(ALL, speed=0) for _ in range(30)]
    line.run(1.0)
    assert all(flow.reads for flow in flows)
    line.flows = dict.fromkeys(flows)
    line.run(2.0)
    assert line.most_in_a_second() <= 4 * M * (1 + CREDIT_S) + 4 * M // 50


def test_every_limit_holds() -> None:
    """Of two tasks at two hosts, one task and one host have less than everything together: none gets more."""
    limits = limited(4 * M)
    limits.set_rate(OfTask("a"), M, 1e6)
    limits.set_rate_per_host(3 * M, 1e6)
    line = Line(limits)
    lines = {
        (task, host): [line.add(ALL, OfTask(task), Host(host)) for _ in range(3)]
        for task in "ab"
        for host in ("x", "y")
    }
    line.run(1.0)
    line.read.clear()
    line.run(4.0)
    counted = line.by_flow()
    got = {key: sum(counted[flow] for flow in flows) for key, flows in lines.items()}
    assert counted.total() == pytest.approx(16 * M, rel=0.02)
    assert got["a", "x"] + got["a", "y"] == pytest.approx(4 * M, rel=0.03)
    for host in ("x", "y"):
        assert got["a", host] + got["b", host] <= 12 * M * 1.02


def test_each_host_has_its_own() -> None:
    """Two hosts get the rate of a host each."""
    limits = RateLimits()
    limits.set_rate_per_host(M, 1e6)
    line = Line(limits)
    x, y = line.add(Host("x")), line.add(Host("y"))
    line.run(4.0)
    counted = line.by_flow()
    assert counted[x] == pytest.approx(4 * M, rel=0.03)
    assert counted[y] == pytest.approx(4 * M, rel=0.03)


@pytest.mark.parametrize(("old", "new"), [(M, 8 * M), (8 * M, M), (0, M), (50 * M, 100 * K)])
def test_another_rate_holds_at_once(old: int, new: int) -> None:
    """From the first second on."""
    limits = limited(old) if old else RateLimits()
    line = Line(limits)
    for _ in range(8):
        line.add(ALL)
    line.run(0.5)
    line.read.clear()
    limits.set_rate(ALL, new, line.now)
    began = line.now
    line.run(1.0)
    assert line.most_in_a_second() <= new * (1 + CREDIT_S) + MOST_READ
    assert line.total(began) == pytest.approx(new, rel=0.15)


def test_what_is_owed_at_a_high_rate_is_not_owed_for_long_at_a_low_one() -> None:
    """A read of 125 KB is nothing at 50 MB/s, and would be two seconds at 64 KB/s."""
    limits = limited(50 * M)
    flow = limits.join((ALL,), 1e6)
    limits.look(1e6)
    limits.begin(flow, 1e6)
    while flow.reads:
        limits.arrived(flow, 125 * K, 1e6)
    limits.set_rate(ALL, 64 * K, 1e6)
    opens = limits.next_look(1e6)
    assert opens is not None
    assert opens - 1e6 < 0.1


def test_no_limit_lets_all_go_on_at_once() -> None:
    """Whoever waited is among those that changed, and there is nothing to look at again."""
    limits = limited(20 * K)
    line = Line(limits)
    flows = [line.add(ALL) for _ in range(5)]
    line.run(1.0)
    waiting = [flow for flow in flows if not flow.reads]
    assert waiting
    assert set(waiting) == set(limits.set_rate(ALL, 0, line.now))
    assert all(flow.reads and flow.is_asked for flow in flows)
    assert limits.next_look(line.now) is None


def test_without_a_limit_there_is_nothing_to_do() -> None:
    """Everything reads, nothing changes, nobody has to come back."""
    limits = RateLimits()
    flows = [limits.join((ALL, Host("h"), OfTask("t")), 0.0) for _ in range(3)]
    assert all(flow.reads and flow.is_asked for flow in flows)
    for flow in flows:
        limits.begin(flow, 0.0)
        assert limits.arrived(flow, 10**9, 0.0) == []
        assert limits.next_look(0.0) is None
        assert limits.leave(flow, 0.0) == []
    assert not limits.holds_back((ALL, Host("h")), 0.0)


def test_small_segments_know_the_limit() -> None:
    """A segment that comes whole with its headers is no way around it: the next request waits."""
    limits = limited(M)
    line = Line(limits)
    size = 100 * K
    for _ in range(4):
        line.add(ALL)
    end = line.now + 4.0
    while line.now < end:
        limits.look(line.now)
        for flow in [each for each in line.flows if each.is_asked]:
            limits.begin(flow, line.now)
            line.read.append((line.now, flow, size))
            limits.arrived(flow, size, line.now)
            line.end(flow)
            line.add(ALL)
        line.now += 0.001
    assert line.total() == pytest.approx(4 * M, rel=0.06)


def test_a_low_rate_is_given_to_few() -> None:
    """A server whose answer is read at a crawl ends it: with 100 KB/s one body is under way, and playlists."""
    line = Line(limited(100 * K))
    flows = [line.add(ALL) for _ in range(5)]
    line.run(1.0)
    assert [True, False, False] == [flow.is_answered for flow in flows[::2]]
    small = line.limits.join((ALL,), line.now, is_small=True)
    line.flows[small], line.waiting[small] = None, 0.0
    line.run(0.5)
    assert small.is_answered
    assert not flows[2].is_asked
    line.end(small)
    for flow in flows[:2]:
        line.end(flow)
    line.run(0.5)
    assert flows[2].is_answered


@pytest.mark.parametrize("with_headers", [0, K, 20 * K])
def test_what_comes_with_the_headers_is_paid_once(with_headers: int) -> None:
    """A request has paid for it, whether it comes just before or just after; what it has not used is paid back."""
    for is_first in (True, False):
        limits = limited(M)
        flow = limits.join((ALL,), 1e6)
        assert [flow] == limits.look(1e6)
        if is_first:
            limits.arrived(flow, with_headers, 1e6)
        limits.begin(flow, 1e6)
        if not is_first:
            limits.arrived(flow, with_headers, 1e6)
        read = with_headers
        while flow.reads:
            limits.arrived(flow, K, 1e6)
            read += K
        assert read - K < M * CREDIT_S <= read


def test_what_was_paid_is_not_kept_for_later() -> None:
    """An answer that is silent after its headers has no more to read later than any other."""
    limits = limited(M)
    flow = limits.join((ALL,), 1e6)
    limits.look(1e6)
    limits.begin(flow, 1e6)
    read = 0
    while flow.reads:
        limits.arrived(flow, K, 1e6 + 10)
        read += K
    assert read - K < M * CREDIT_S <= read


def test_what_was_paid_in_vain_comes_back() -> None:
    """Requests that fail do not use up the rate."""
    limits = limited(M)
    for _ in range(100):
        flow = limits.join((ALL,), 1e6)
        limits.look(1e6)
        assert flow.is_asked
        limits.leave(flow, 1e6)


def test_a_host_that_owes_is_not_forgotten() -> None:
    """One request after the other, each with another host between them: the rate holds."""
    limits = RateLimits()
    limits.set_rate_per_host(M, 0.0)
    first = limits.join((Host("x"),), 0.0)
    limits.look(0.0)
    limits.begin(first, 0.0)
    limits.arrived(first, M, 0.0)
    limits.leave(first, 0.0)
    limits.leave(limits.join((Host("y"),), 0.5), 0.5)
    second = limits.join((Host("x"),), 0.5)
    limits.look(0.5)
    assert not second.is_asked
    limits.leave(second, 0.5)
    limits.leave(limits.join((Host("y"),), 3.0), 3.0)
    third = limits.join((Host("x"),), 3.0)
    limits.look(3.0)
    assert third.is_asked


def test_who_is_slowed_down_by_us() -> None:
    """While a limit holds something back, and for a second after."""
    limits = limited(M)
    flow = limits.join((ALL, Host("x")), 1e6)
    assert not limits.holds_back((ALL, Host("x")), 1e6)
    limits.look(1e6)
    limits.begin(flow, 1e6)
    assert [flow] == limits.arrived(flow, M, 1e6)
    assert limits.holds_back((ALL,), 1e6)
    assert not limits.holds_back((Host("x"), OfTask("t")), 1e6)
    opens = limits.next_look(1e6)
    assert opens is not None
    assert [flow] == limits.look(opens)
    assert limits.holds_back((ALL,), opens + RECENT_S / 2)
    assert not limits.holds_back((ALL,), opens + RECENT_S)
