"""What a download has under way, and what its end waits for."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from m3u8svc.tasks.tail import FEW, SAMPLES, SAY_AFTER_S
from m3u8svc.underway import Transfer, UnderWay


class Bench:
    """A download with transfers that the test begins and ends."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[float, list[str]]] = []
        self.shown: list[str] = []
        self.budget = 1
        self.closed_s = 0.0
        self.limited = False
        self.under_way = UnderWay(
            self.clock,
            closed_for_s=lambda host: self.closed_s,
            may_ask_twice=self.may_ask_twice,
            is_limited=lambda host: self.limited,
            say=lambda waited_s, transfers: self.said.append((waited_s, [each.label for each in transfers])),
            show=self.shown.append,
        )
        self.watching: Deferred[Any] = Deferred.fromCoroutine(self.under_way.watch())
        self.watching.addErrback(lambda failure: failure.trap(CancelledError))

    def may_ask_twice(self) -> bool:
        self.budget -= 1
        return self.budget >= 0

    def begin(self, label: str = "00001.ts") -> Transfer:
        """A segment whose request goes out at once."""
        transfer = Transfer(label=label, url=f"http://origin.test/{label}", host="origin.test")
        self.under_way.add(transfer)
        self.under_way.sent(transfer)
        return transfer

    def usual(self, took_s: float) -> None:
        """Enough segments that take so long."""
        each = [self.begin() for _ in range(SAMPLES)]
        self.pass_s(took_s)
        for transfer in each:
            self.under_way.took(transfer)
            self.under_way.remove(transfer)

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_slow_one_at_the_end_is_helped_once(bench: Bench) -> None:
    """When it takes three times as long as others do; not before all segments are begun."""
    bench.usual(2.0)
    slow = bench.begin()
    bench.pass_s(30.0)
    assert not slow.second.called
    bench.under_way.all_begun()
    bench.pass_s(1.0)
    assert slow.second.called and 0 == bench.budget
    slow.begin(2)
    bench.under_way.sent(slow)
    bench.pass_s(5.0)
    assert not slow.second.called


def test_time_in_which_nobody_ran_helps_nobody(bench: Bench) -> None:
    """After a sleep of the machine the answer lies in a socket; it is slow only when it keeps us waiting after that."""
    bench.usual(1.0)
    slow = bench.begin()
    bench.under_way.all_begun()
    bench.clock.advance(100.0)  # in one turn
    assert not slow.second.called
    assert [] == bench.said
    bench.pass_s(10.0)
    assert slow.second.called


def test_nobody_is_helped_beyond_the_budget(bench: Bench) -> None:
    """Two are slow, one request is left."""
    bench.usual(1.0)
    slow = [bench.begin(), bench.begin()]
    bench.under_way.all_begun()
    bench.pass_s(10.0)
    assert [True, False] == [each.second.called for each in slow]


def test_a_request_that_did_not_go_out_is_not_slow(bench: Bench) -> None:
    """It waits for its host or for its next attempt: a second one would wait beside it."""
    bench.usual(1.0)
    waiting = bench.begin()
    waiting.begin(2)
    bench.under_way.all_begun()
    bench.pass_s(60.0)
    assert not waiting.second.called


def test_how_many_are_under_way(bench: Bench) -> None:
    """Not those that wait for their turn, or for another attempt, or are only being stored."""
    waiting, pausing, stored, _ = (bench.begin(f"{number}.ts") for number in range(4))
    assert 4 == bench.under_way.at_once
    waiting.begin(1)
    pausing.next_at = 5.0
    stored.take()
    assert 1 == bench.under_way.at_once


def test_whoever_is_whole_first_takes_it() -> None:
    """The other request comes too late, until the next attempt."""
    transfer = Transfer(label="00001.ts", url="", host="")
    assert [True, False, False] == [transfer.take() for _ in range(3)]
    transfer.begin(2)
    assert transfer.take()


def test_a_long_end_is_said_now_and_then(bench: Bench) -> None:
    """After a quarter of a minute, then after twice as long each time; what is shown is always what is true."""
    bench.under_way.all_begun()
    last = bench.begin("00009.ts")
    bench.pass_s(SAY_AFTER_S - 1)
    assert [] == bench.said and [] == bench.shown
    bench.pass_s(150.0)
    assert [15, 30, 60, 120] == [round(waited_s) for waited_s, _ in bench.said]
    assert ["00009.ts"] == bench.said[0][1]
    assert bench.shown[-1].startswith("00009.ts（origin.test，第 1 次，已 16")
    bench.under_way.remove(last)
    assert "" == bench.shown[-1]


def test_an_end_with_many_is_no_end(bench: Bench) -> None:
    """While more are under way than can be named nothing is said."""
    bench.under_way.all_begun()
    several = [bench.begin(f"{number:05d}.ts") for number in range(FEW + 1)]
    bench.pass_s(60.0)
    assert [] == bench.shown
    bench.under_way.remove(several[0])
    bench.pass_s(1.0)
    assert FEW == bench.shown[-1].count("origin.test")


def test_what_is_waited_for_is_described(bench: Bench) -> None:
    """On the wire, before another attempt, or at the door of a host that is left alone."""
    transfer = bench.begin("00009.ts")
    bench.pass_s(3.0)
    assert "00009.ts（origin.test，第 1 次，已 3 秒）" == bench.under_way.describe(transfer)
    transfer.begin(3)
    transfer.next_at = bench.clock.seconds() + 8
    assert "00009.ts（origin.test，第 3 次，8 秒后重试）" == bench.under_way.describe(transfer)
    transfer.begin(4)
    assert "00009.ts（origin.test，第 4 次）" == bench.under_way.describe(transfer)
    bench.closed_s = 30.0
    assert "00009.ts（origin.test，第 4 次，服务器暂停 30 秒）" == bench.under_way.describe(transfer)


def test_what_we_slow_down_ourselves_is_not_slow(bench: Bench) -> None:
    """It gets no second request and is not said to be waited for; nor does it tell what is usual."""
    bench.usual(1.0)
    bench.limited = True
    bench.usual(60.0)
    slow = bench.begin("slow")
    bench.under_way.all_begun()
    bench.pass_s(4 * SAY_AFTER_S)
    assert (False, [], 1) == (slow.second.called, bench.said, bench.budget)
    assert {""} >= set(bench.shown)
    bench.limited = False
    bench.pass_s(0.5)
    assert slow.second.called
    assert [["slow"]] == [labels for _, labels in bench.said]
