"""How many requests at once: what is worth it and what a host refuses (S18)."""

from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.concurrency import (
    CALM_S,
    FIRST,
    LEAST,
    LONGEST_CALM_S,
    LONGEST_PAUSE_S,
    PER_HOST,
    SILENT_S,
    Ceilings,
    Growth,
    HostLimit,
    Reading,
    limit_after_outage,
)

STEP_S = 0.02


@attrs.define
class Host:
    """A host as a meter sees it: bytes per second and seconds to an answer, each by how many are under way."""

    rate: Callable[[int], float]
    answer_s: Callable[[int], float] = lambda under_way: 0.05
    each_bytes: float = 2e6
    growth: Growth = attrs.field(factory=Growth)
    ceiling: int = PER_HOST
    wanted: int = 1000
    reading: Reading = attrs.field(factory=lambda: Reading(at=100.0))
    left_bytes: float = 0.0
    ran: list[int] = attrs.field(factory=list)
    """How many were under way, step by step."""

    def run(self, seconds: float) -> "Host":
        """So long, with always more to ask for."""
        for _ in range(round(seconds / STEP_S)):
            self.step()
        return self

    def step(self) -> None:
        """One step of time."""
        under_way = min(self.growth.most, self.ceiling, self.wanted)
        self.ran.append(under_way)
        size = self.rate(under_way) * STEP_S + self.left_bytes
        requests = int(size // self.each_bytes)
        self.left_bytes = size - requests * self.each_bytes
        self.reading = Reading(
            at=self.reading.at + STEP_S,
            size_bytes=self.reading.size_bytes + int(self.rate(under_way) * STEP_S),
            finished=self.reading.finished + requests,
            busy_s=self.reading.busy_s + under_way * STEP_S,
            answered=self.reading.answered + requests,
            waited_s=self.reading.waited_s + requests * self.answer_s(under_way),
        )
        began_at = self.reading.at - self.answer_s(under_way)
        self.growth = self.growth.looked(
            self.reading,
            started_at=began_at if requests else float("-inf"),
            are_waiting=self.wanted > under_way,
            ceiling=self.ceiling,
        )


def each_gets(bytes_per_s: float) -> Callable[[int], float]:
    """A host that limits each connection."""
    return lambda under_way: under_way * bytes_per_s


def line_of(connections: int, bytes_per_s: float = 8e6) -> Callable[[int], float]:
    """A line that so many connections fill."""
    return lambda under_way: min(under_way, connections) * bytes_per_s


def settled(host: Host) -> float:
    """How many were under way on average in the last half of the time."""
    late = host.ran[len(host.ran) // 2 :]
    return sum(late) / len(late)


@pytest.mark.parametrize(("bytes_per_s", "within_s"), [(8e6, 1.5), (1e6, 2.5), (5e4, 10.0)])
def test_many_where_each_gets_little(bytes_per_s: float, within_s: float) -> None:
    """Doubled until the ceiling is reached."""
    host = Host(each_gets(bytes_per_s)).run(within_s)
    assert (FIRST, PER_HOST) == (host.ran[0], host.growth.most)
    assert host.ran == sorted(host.ran)


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_few_where_few_fill_the_line(connections: int) -> None:
    """More are tried, ever less often, and taken back."""
    host = Host(line_of(connections)).run(120.0)
    assert FIRST == min(host.ran) and 2 * FIRST == max(host.ran)
    assert FIRST + 0.2 > settled(host)


def test_more_where_those_under_way_hang() -> None:
    """Not a byte for five seconds: others go out, twice as many each time, and as many as there may be in the end."""
    host = Host(lambda under_way: 0.0).run(SILENT_S)
    assert {FIRST} == set(host.ran)
    host.run(2.0)
    assert 2 * FIRST == host.growth.most
    host.run(60.0)
    assert PER_HOST == host.growth.most
    assert host.ran == sorted(host.ran)


def test_no_more_where_nobody_waits() -> None:
    """A task that wants no more than hang gets no more."""
    host = Host(lambda under_way: 0.0, wanted=FIRST).run(30.0)
    assert FIRST == host.growth.most


def test_bytes_now_and_then_are_no_silence() -> None:
    """A host that is slow for all is not asked for more and more."""
    host = Host(lambda under_way: 20_000.0, each_bytes=100_000).run(120.0)
    assert 2 * FIRST >= max(host.ran)


@pytest.mark.parametrize("connections", [6, 10, 16, 25, 40])
def test_enough_where_many_fill_the_line(connections: int) -> None:
    """As many as fill it, and not twice as many as that by much."""
    host = Host(line_of(connections)).run(120.0)
    assert 0.9 * connections <= settled(host) <= 2.1 * connections


def test_a_line_that_grows_wider_is_noticed() -> None:
    """More are tried again and again: half a minute after the last trial at the latest."""
    host = Host(line_of(4)).run(200.0)
    host.rate = line_of(64)
    assert PER_HOST == host.run(LONGEST_PAUSE_S + 5.0).growth.most


def test_fewer_where_answers_come_late_and_more_bring_nothing() -> None:
    """A host whose requests wait in a row of its own, since it has become slower, has fewer soon."""
    host = Host(each_gets(8e6), answer_s=lambda under_way: 0.05).run(10.0)
    assert PER_HOST == host.growth.most
    host.rate = line_of(8)
    host.answer_s = lambda under_way: 0.05 * max(1.0, under_way / 8)
    host.run(60.0)
    assert 8 <= settled(host) <= 24


def test_late_answers_alone_are_no_reason_for_fewer() -> None:
    """As long as each one brings something."""
    host = Host(each_gets(8e6), answer_s=lambda under_way: 0.02 * under_way).run(60.0)
    assert 0.95 * PER_HOST < settled(host)


def test_a_task_that_wants_few_is_no_reason_for_anything() -> None:
    """Fewer than may go out say nothing of what more would bring."""
    host = Host(each_gets(8e6), wanted=3).run(60.0)
    assert {3} == set(host.ran) and FIRST == host.growth.most


def test_connections_that_were_not_used_say_nothing() -> None:
    """A host that takes two has others wait, and that is no measure of what four would bring."""
    host = Host(each_gets(8e6), ceiling=2).run(10.0)
    assert (FIRST, 0.0) == (host.growth.most, host.growth.rate)


def test_ceilings_by_what_is_possible_and_wanted() -> None:
    """Few open files allow fewer; who is alone may want more."""
    assert Ceilings(per_host=7, in_all=7) == Ceilings().within(7)
    assert Ceilings(per_host=64, in_all=200) == Ceilings().within(200)
    assert Ceilings(per_host=100, in_all=256) == Ceilings().at_least(100)
    assert Ceilings(per_host=300, in_all=300) == Ceilings().at_least(300)


def test_a_trial_that_is_not_used_is_no_trial() -> None:
    """The download comes to its end in the middle of it."""
    host = Host(each_gets(8e6))
    while host.growth.base is None:
        host.step()
    host.wanted = 2
    assert FIRST == host.run(3.0).growth.most


def test_bursts_are_not_taken_for_growth() -> None:
    """All together answer every 50 ms, and a window of one or two bursts would be a matter of chance."""
    growth, at, size, finished, trials = Growth(), 0.0, 0, 0, 0
    for _ in range(2000):
        at, served = at + 0.05, min(growth.most, FIRST)
        size, finished = size + served * 10**6, finished + growth.most
        before = growth.most
        growth = growth.looked(
            Reading(
                at=at, size_bytes=size, finished=finished, busy_s=at * 64, answered=finished, waited_s=finished / 20
            ),
            started_at=at - 0.05,
            are_waiting=True,
            ceiling=PER_HOST,
        )
        trials += growth.most > before
        assert 2 * FIRST >= growth.most
    assert 12 >= trials > 4


@given(
    steps=st.lists(
        st.tuples(
            st.floats(0.0, 5.0),
            st.integers(0, 10**8),
            st.integers(0, 200),
            st.floats(0.0, 300.0),
            st.integers(0, 200),
            st.floats(0.0, 300.0),
            st.booleans(),
            st.booleans(),
            st.integers(1, PER_HOST),
        ),
        max_size=60,
    )
)
def test_whatever_the_meter_shows(steps: list[tuple]) -> None:
    """Never below what is always allowed; never raised above the ceiling of that moment; a trial has an end."""
    growth, reading = Growth(), Reading(at=0.0)
    for passed_s, size, finished, busy_s, answered, waited_s, is_new, are_waiting, ceiling in steps:
        reading = Reading(
            at=reading.at + passed_s,
            size_bytes=reading.size_bytes + size,
            finished=reading.finished + finished,
            busy_s=reading.busy_s + busy_s,
            answered=reading.answered + answered,
            waited_s=reading.waited_s + waited_s,
        )
        before = growth.most
        growth = growth.looked(
            reading,
            started_at=reading.at if is_new else float("-inf"),
            are_waiting=are_waiting,
            ceiling=ceiling,
        )
        assert LEAST <= growth.most <= PER_HOST
        if growth.most > before:
            assert growth.most <= ceiling or growth.base is None  # back from a trial of fewer


# -- What a host refuses -----------------------------------------------------------------------------------------------


def served(limit: HostLimit, count: int, now: float) -> HostLimit:
    """So many requests came to their end."""
    for _ in range(count):
        limit = limit.succeeded(now)
    return limit


def test_a_host_that_does_not_object_has_no_limit() -> None:
    """Success alone never makes one."""
    limit = served(HostLimit(), 100, 1.0)
    assert limit.is_free and limit.admits(1000)


def turned_away(limit: HostLimit, now: float, *, under_way: int, times: int = 2) -> HostLimit:
    """A host turns away so many of those under way, which went out just before."""
    for number in range(times):
        limit = limit.objected(now, started_at=now - 0.5, under_way=under_way - number)
    return limit


def test_objections_halve_what_was_under_way() -> None:
    """Once for a wave: what went out before the cut says nothing of the new limit."""
    limit = turned_away(HostLimit(), 10.0, under_way=16)
    assert 8 == limit.most and limit.admits(7) and not limit.admits(8)
    assert limit is turned_away(limit, 10.1, under_way=14, times=12)
    assert 4 == turned_away(limit, 11.0, under_way=8).most


def test_one_file_that_is_not_given_is_no_matter_of_their_number() -> None:
    """A few refusals among many answers change nothing, whether they come soon or late."""
    limit = HostLimit()
    for second in range(20):
        limit = served(limit, 9, float(second)).objected(second + 0.9, started_at=float(second), under_way=16)
    assert limit.most is None
    assert HostLimit().objected(1.0, started_at=0.0, under_way=16).most is None


def test_a_host_that_becomes_crowded_late_is_heeded_soon() -> None:
    """Long success does not make it deaf."""
    limit = served(HostLimit().objected(0.5, started_at=0.0, under_way=16), 1000, 1.0)
    times = next(n for n in range(1, 40) if turned_away(limit, 2.0, under_way=40, times=n).most)
    assert 2 < times <= 11


def test_an_objection_in_words_counts_at_once() -> None:
    """429, or 503 with Retry-After: nothing has to be guessed."""
    limit = served(HostLimit(), 100, 1.0).objected(2.0, started_at=1.0, under_way=16, in_words=True)
    assert 8 == limit.most


def test_one_is_always_allowed() -> None:
    """A host that turns away a single request still gets one at a time."""
    assert HostLimit().objected(1.0, started_at=0.0, under_way=1, in_words=True).admits(0)


def test_it_grows_back_to_just_below_what_was_too_many() -> None:
    """Quickly at first, then slowly, and not beyond while it is not calm."""
    limit = turned_away(HostLimit(), 10.0, under_way=16)
    assert 9 == served(limit, 8, 11.0).most
    assert 14 == served(limit, 1000, 11.0).most
    low = turned_away(served(limit, 1, 10.5), 11.0, under_way=8)
    assert 4 == low.most and 4 == served(low, 3, 12.0).most and 5 == served(low, 4, 12.0).most


def test_more_is_tried_after_a_calm_time_and_less_often_after_each_failure() -> None:
    """A host that takes two: three are tried after 15 s, 30 s, … and five minutes at most."""
    limit = attrs.evolve(HostLimit(), most=2, too_many=3, changed_at=100.0)
    assert 2 == served(limit, 50, 100.0 + CALM_S - 1).most
    now = 100.0
    for calm_s in (CALM_S, 2 * CALM_S, 4 * CALM_S, 8 * CALM_S, 16 * CALM_S, LONGEST_CALM_S):
        assert calm_s == limit.calm_s
        now += calm_s
        limit = limit.succeeded(now)
        assert 3 == limit.most
        limit = turned_away(limit, now + 1, under_way=4)
        assert 2 == limit.most
        now += 1
    assert LONGEST_CALM_S == limit.calm_s


def test_a_trial_that_works_is_kept() -> None:
    """It then grows by one per calm time."""
    limit = attrs.evolve(HostLimit(), most=2, too_many=3, changed_at=0.0)
    for rounds in (1, 2, 3):
        limit = served(limit, 9, rounds * CALM_S)
        assert 2 + rounds == limit.most
    assert CALM_S == limit.calm_s


def test_an_outage_is_not_taken_for_a_limit() -> None:
    """A host that turned away everybody, wave after wave, soon has as many again as the first wave was."""
    limit = HostLimit()
    for wave, under_way in enumerate((17, 9, 5, 3, 2)):
        limit = turned_away(limit, 10.0 + wave, under_way=under_way)
    assert (1, 16) == (limit.most, limit.too_many)
    assert 8 == served(limit, 7, 20.0).most
    crowded = turned_away(served(limit, 3, 20.0), 21.0, under_way=5)
    assert (2, 4) == (crowded.most, crowded.too_many)


def test_after_an_outage_it_grows_with_every_success() -> None:
    """Nobody falls on a host that has just come back, and soon nothing is left of it."""
    limit = limit_after_outage()
    assert not limit.admits(2) and limit.admits(1)
    assert 12 == served(limit, 10, 1.0).most
    assert served(limit, 100, 1.0).is_free
