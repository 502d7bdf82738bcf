"""
Turns of the reactor that stay short: who is served at once, who by and by. Linux only, as epoll is.
"""

import os
import select
import sys
from collections import Counter

import pytest
from twisted.internet.epollreactor import EPollReactor

from m3u8svc.shortturns import ANSWERED_WITHIN_S, BULK_AT_ONCE, SWITCH_S, ShortTurns, take_short_turns

READ = select.EPOLLIN


class Pipes:
    """
    Pipes whose read ends are polled: `ready` has something to read, until it is read.
    """

    def __init__(self):
        self.bulk = set()
        self.waker, self._wake = os.pipe()
        outer = select.epoll()
        outer.register(self.waker, READ)
        self.now, self.asking = 0.0, set()
        self.took, self.hurries = [], []
        self.turns = ShortTurns(
            outer,
            is_bulk=self.bulk.__contains__,
            asks=self.asking.__contains__,
            now=lambda: self.now,
            took=self.took.append,
            hurry=self.hurries.append,
        )
        self._ends = [self.waker, self._wake]

    def ready(self, *, bulk):
        """A pipe that has something to read."""
        end, other = os.pipe()
        self._ends += [end, other]
        if bulk:
            self.bulk.add(end)
        self.turns.register(end, READ)
        os.write(other, b"x")
        return end

    def ask(self):
        """Somebody asks something, and is answered."""
        end = self.ready(bulk=False)
        self.asking.add(end)
        assert end in self.served()
        os.read(end, 1)

    def wake(self):
        """What the poller knew before is ready, too."""
        os.write(self._wake, b"x")

    def served(self):
        """Who is served in the next turn."""
        return [fd for fd, _ in self.turns.poll(0, 1000)]

    def close(self):
        self.turns.close()
        for end in self._ends:
            os.close(end)


@pytest.fixture
def pipes():
    made = Pipes()
    yield made
    made.close()


def test_the_urgent_come_first(pipes):
    """All of them, in every turn, whatever else is ready."""
    pipes.ask()
    bulk = [pipes.ready(bulk=True) for _ in range(5 * BULK_AT_ONCE)]
    urgent = {pipes.ready(bulk=False) for _ in range(20)} | {pipes.waker}
    pipes.wake()
    for _ in range(3):
        served = pipes.served()
        assert urgent == set(served[: len(urgent)])
        assert BULK_AT_ONCE == len(served[len(urgent) :])
        assert set(served[len(urgent) :]) <= set(bulk)


def test_the_bulk_take_turns(pipes):
    """None of them waits longer than the others while turns are short."""
    pipes.ask()
    bulk = [pipes.ready(bulk=True) for _ in range(4 * BULK_AT_ONCE)]
    for _ in range(4):  # in the first turns they are told apart
        pipes.served()
    count = Counter(fd for _ in range(40) for fd in pipes.served())
    assert set(bulk) == set(count)
    assert {40 * BULK_AT_ONCE // len(bulk)} == set(count.values())


def test_turns_are_long_while_nobody_asks(pipes):
    """They cost less, and nobody waits: short ones end when the answer should be there."""
    bulk = {pipes.ready(bulk=True) for _ in range(5 * BULK_AT_ONCE)}
    urgent = pipes.ready(bulk=False)
    assert [{urgent, *bulk}] * 2 == [set(pipes.served()) for _ in range(2)]
    pipes.ask()
    assert 1 + BULK_AT_ONCE == len(pipes.served())
    pipes.now += ANSWERED_WITHIN_S
    assert {urgent, *bulk} == set(pipes.served())


def test_few_are_not_held_up(pipes):
    """Each has its turn in every turn, as without us."""
    pipes.ask()
    bulk = {pipes.ready(bulk=True) for _ in range(BULK_AT_ONCE)}
    assert [bulk] * 3 == [set(pipes.served()) for _ in range(3)]


def test_who_leaves_is_forgotten(pipes):
    """Also while it waits for its turn; its number may then be somebody else's."""
    end = pipes.ready(bulk=True)
    assert [end] == pipes.served()
    pipes.turns.modify(end, select.EPOLLOUT)
    assert [] == pipes.served()
    pipes.turns.modify(end, READ)
    assert [end] == pipes.served()
    pipes.turns.unregister(end)
    assert [] == pipes.served()
    pipes.bulk.clear()
    pipes.turns.register(end, READ)
    assert [end] == pipes.served()
    pipes.turns.unregister(end)
    assert [] == pipes.served()


def test_waiting(pipes):
    """A poll ends as soon as one of the bulk is ready."""
    end = pipes.ready(bulk=True)
    pipes.served()
    os.read(end, 1)
    assert [] == pipes.served()
    os.write(pipes._ends[-1], b"x")
    assert [(end, READ)] == pipes.turns.poll(5, 1000)


def test_how_long_turns_took(pipes):
    """From the end of one poll to the beginning of the next; waiting in a poll is no part of it."""
    pipes.served()
    pipes.now += 0.25
    pipes.served()
    pipes.now += 0.5
    pipes.served()
    assert [0.25, 0.5] == pipes.took


def test_threads_are_told_to_hurry(pipes):
    """Once when turns become short, and once when they no longer are."""
    pipes.ready(bulk=True)
    pipes.served()
    pipes.ask()
    pipes.ask()
    assert [True] == pipes.hurries
    pipes.now += ANSWERED_WITHIN_S
    pipes.served()
    assert [True, False] == pipes.hurries


def test_how_often_the_interpreter_is_handed_on():
    """More often while somebody waits for an answer, and then as before."""
    other, before_s = EPollReactor(), sys.getswitchinterval()
    try:
        take_short_turns(other)
        other._poller._set_short(True)
        assert SWITCH_S == pytest.approx(sys.getswitchinterval())
    finally:
        other.removeAll()
        other._poller.close()
        left_s = sys.getswitchinterval()
        sys.setswitchinterval(before_s)
    assert before_s == left_s


def test_the_private_names_of_twisted():
    """`_poller` and `_selectables` are what we take them for."""
    other = EPollReactor()
    try:
        take_short_turns(other)
        assert isinstance(other._poller, ShortTurns)
        assert other.waker.fileno() in other._selectables
    finally:
        other.removeAll()
        other._poller.close()


def test_a_reactor_without_epoll():
    """It stays as it is."""

    class Other:
        pass

    take_short_turns(other := Other())
    assert {} == vars(other)
