"""
Short turns of the reactor while somebody asks, however many downloads have bytes for it.

epoll hands over every connection that is ready, and Twisted serves them all in one turn. With 128 downloads at full
speed that is 50 ms of work, and who asks the API waits for several turns: until the question is read, for the database,
until the answer is written. So downloads get an epoll object of their own inside the reactor's: a turn serves whoever
else is ready first, and while a question is being answered only the next few of the downloads. The kernel remembers
whose turn it is. Long turns cost less per byte (measured: half), so they are short for as long as it takes, and no
longer.

The database answers in a thread, which shares the interpreter with the reactor and with the threads that write
segments; whoever waits for the interpreter waits up to 5 ms each time, and one question is several such waits. So they
hand it on ten times as often meanwhile.

Uses of private names of Twisted, pinned by a test: ``EPollReactor._poller`` and ``_selectables``.
"""

import select
import sys
import time
from collections.abc import Callable
from typing import Any  # Any: the reactor, a module to mypy

from m3u8svc.counting import Took

BULK_AT_ONCE = 8
"""Downloads that are served in a short turn: each takes 0.2 to 0.5 ms."""
ANSWERED_WITHIN_S = 0.05
"""For how long turns stay short after something was asked."""
SWITCH_S = 0.0005
"""
After how long a thread hands the interpreter on to one that waits for it, meanwhile: until the first turn after it.
Python's own is 5 ms.
"""

Event = tuple[int, int]
"""A descriptor and what it is ready for, as epoll says it."""


class ShortTurns:
    """
    An epoll object in front of another: `is_bulk` says of a descriptor that is ready whether it can wait for its turn,
    `asks` whether somebody may have asked something there, `now` what time it is, in seconds. What the other one knows
    already never has to wait. `took` is told how long each turn was: what lies between two calls of `poll`; `hurry`,
    when turns become short and when they no longer are.
    """

    def __init__(
        self,
        poller: select.epoll,
        *,
        is_bulk: Callable[[int], bool],
        asks: Callable[[int], bool],
        now: Callable[[], float] = time.monotonic,
        took: Took | None = None,
        hurry: Callable[[bool], None] = lambda short: None,
    ) -> None:
        self._outer, self._inner = poller, select.epoll()
        self._outer.register(self._inner.fileno(), select.EPOLLIN)
        self._is_bulk, self._asks, self._now = is_bulk, asks, now
        self._flags: dict[int, int] = {}
        self._bulk: set[int] = set()
        self._short_until = -1.0
        self._is_short = False
        self._hurry = hurry
        self._took = took
        self._woke: float | None = None

    def register(self, fd: int, flags: int) -> None:
        """As epoll's. What it is shows when it is ready: Twisted tells who it belongs to only after this."""
        self._outer.register(fd, flags)
        self._flags[fd] = flags
        self._bulk.discard(fd)

    def modify(self, fd: int, flags: int) -> None:
        """As epoll's."""
        self._of(fd).modify(fd, flags)
        self._flags[fd] = flags

    def unregister(self, fd: int) -> None:
        """As epoll's."""
        self._flags.pop(fd, None)
        poller = self._of(fd)
        self._bulk.discard(fd)
        poller.unregister(fd)

    def close(self) -> None:
        """As epoll's."""
        self._set_short(False)
        self._inner.close()
        self._outer.close()

    def poll(self, timeout: float, most: int) -> list[Event]:
        """As epoll's, but the bulk last, and while somebody waits for an answer no more of it than `BULK_AT_ONCE`."""
        if self._took is None:
            return self._poll(timeout, most)
        if self._woke is not None:
            self._took(self._now() - self._woke)
        events = self._poll(timeout, most)
        self._woke = self._now()
        return events

    def _poll(self, timeout: float, most: int) -> list[Event]:
        urgent: list[Event] = []
        bulk: list[Event] = []
        waiting = False
        for event in self._outer.poll(timeout, most + 1):
            fd, ready = event
            if fd == self._inner.fileno():
                waiting = True
            elif fd in self._flags and self._is_bulk(fd):
                self._move(fd)
                bulk.append(event)
            else:
                urgent.append(event)
                if ready & select.EPOLLIN and self._asks(fd):
                    self._short_until = self._now() + ANSWERED_WITHIN_S
        self._set_short(self._now() < self._short_until)
        at_once = BULK_AT_ONCE if self._is_short else max(most, 1)
        if waiting and len(bulk) < at_once:
            bulk += self._inner.poll(0, at_once - len(bulk))
        return urgent + bulk[:at_once]

    def _set_short(self, short: bool) -> None:
        if short != self._is_short:
            self._is_short = short
            self._hurry(short)

    def _move(self, fd: int) -> None:
        self._outer.unregister(fd)
        self._inner.register(fd, self._flags[fd])
        self._bulk.add(fd)

    def _of(self, fd: int) -> select.epoll:
        return self._inner if fd in self._bulk else self._outer


def take_short_turns(reactor: Any, took: Took | None = None) -> None:
    """
    Make the turns of this reactor short while one of the connections that it accepted asks something. Connections that
    it made are bulk; those it accepted, the ends of threads and the pipes of children are not. A reactor without epoll
    stays as it is, and tells `took` nothing.
    """
    from twisted.internet.tcp import BaseClient, Server

    usual_s = sys.getswitchinterval()
    poller, selectables = getattr(reactor, "_poller", None), getattr(reactor, "_selectables", None)
    if poller is not None and selectables is not None:
        reactor._poller = ShortTurns(
            poller,
            is_bulk=lambda fd: isinstance(selectables.get(fd), BaseClient),
            asks=lambda fd: isinstance(selectables.get(fd), Server),
            took=took,
            hurry=lambda short: sys.setswitchinterval(SWITCH_S if short else usual_s),
        )
