"""
The hosts that are asked, one place for all tasks of the process: what one task learns of a host spares the others.

A request waits here for its turn: while the host said "later" (Retry-After), while its breaker is open
(`tasks.breaker`), while as many are under way as it takes and as are worth it (`tasks.concurrency`), or as the service
makes in all. Tasks have equal shares, and in each what comes first in its film goes first (`tasks.sharing`). Waiting is
no failure and has no end of its own: a task that waits can be paused, and a breaker lets one request through every half
a minute, whose failure its task decides about.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from m3u8svc.counting import HostTraffic, Traffic
from m3u8svc.errors import HttpStatusError, M3u8svcError
from m3u8svc.tasks.breaker import Breaker
from m3u8svc.tasks.concurrency import FIRST, Ceilings, Growth, HostLimit, Reading, limit_after_outage
from m3u8svc.tasks.livelog import Standing
from m3u8svc.tasks.retry import FINAL_STATUSES, LONGEST_RETRY_AFTER_S, Bearing, bearing_of
from m3u8svc.tasks.sharing import BEFORE_ALL, Row
from m3u8svc.tasks.viewing import Viewer

T = TypeVar("T")

REMEMBERED = 1000
FORGET_S = 600.0
"""A host that nobody asked for so long is as good as unknown."""

Asleep = Callable[[Callable[[], str | None]], AbstractContextManager[object]]
"""
What is entered while something waits for its turn, so that its task can say so; what it is given tells for what, None
if it only waits for others to be done.
"""


@attrs.define(eq=False)
class Visit:
    """
    One request at a host; whoever makes it tells here what comes of it.
    """

    host: "_Host"
    clock: IReactorTime
    started_at: float
    begun: Callable[["Visit"], None]
    """Called at its first byte."""
    has_begun: bool = False

    def sent(self) -> None:
        """
        It goes out only now: we held it back ourselves, for which its host can do nothing.
        """
        self.started_at = self.clock.seconds()

    def received(self, size_bytes: int) -> None:
        """
        So many bytes of the body have come.
        """
        if not self.has_begun:
            self.has_begun = True
            self.begun(self)
        self.host.size_bytes += size_bytes


@attrs.define(eq=False)
class _Host:
    name: str
    breaker: Breaker = attrs.field(factory=Breaker)
    limit: HostLimit = attrs.field(factory=HostLimit)
    growth: Growth = attrs.field(factory=Growth)
    later_until: float = 0.0
    under_way: int = 0
    row: Row[Deferred[None]] = attrs.field(factory=Row)
    timer: IDelayedCall | None = None
    admitting: bool = False
    used_at: float = 0.0
    trouble: str = ""
    """The code of its last failure."""
    size_bytes: int = 0
    finished: int = 0
    busy_s: float = 0.0
    counted_at: float = 0.0
    """Up to when `busy_s` counts."""
    answered: int = 0
    waited_s: float = 0.0

    def admits(self, now: float, ceilings: Ceilings, *, is_first: bool) -> bool:
        """Whether the next request may go out, as far as this host goes; `is_first`: its task has no other there."""
        may_ask = now >= self.later_until and self.breaker.admits(now) and self.limit.admits(self.under_way)
        worth_it = is_first or self.under_way < self.growth.most
        return may_ask and worth_it and self.under_way < ceilings.per_host

    def most(self, ceilings: Ceilings) -> int:
        """How many requests at once are worth it, and allowed."""
        return min(self.growth.most, ceilings.per_host, *(() if self.limit.most is None else (self.limit.most,)))

    def count(self, now: float, change: int) -> None:
        """So many more are under way from now on."""
        self.busy_s += self.under_way * (now - self.counted_at)
        self.counted_at = now
        self.under_way += change

    def reading(self, now: float) -> Reading:
        """What its meter shows."""
        self.count(now, 0)
        return Reading(
            at=now,
            size_bytes=self.size_bytes,
            finished=self.finished,
            busy_s=self.busy_s,
            answered=self.answered,
            waited_s=self.waited_s,
        )

    def closed_for_s(self, now: float) -> float:
        """How long nobody may ask in any case."""
        return max(self.later_until, self.breaker.open_until or 0.0, now) - now

    def closed_why(self, now: float) -> str | None:
        """The same for people, with the reason; "" while it is probed, None when it is open."""
        closed_s = self.closed_for_s(now)
        if closed_s > 0:
            return f"{self.name}（{self.trouble}，{math.ceil(closed_s)} 秒后再试）"
        return None if self.breaker.open_until is None else ""

    @property
    def is_idle(self) -> bool:
        """Whether nobody asks it."""
        return not self.under_way and not self.row

    @property
    def is_unknown(self) -> bool:
        """Whether there is nothing to remember of it."""
        return self.breaker == Breaker() and self.limit.is_free and self.growth.most == FIRST


class Hosts:
    """
    Lets requests through to their hosts. Names are whatever tells one host from another, for one way to it.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, ceilings: Ceilings | None = None) -> None:
        self._clock = clock
        self.ceilings = ceilings or Ceilings()
        self._hosts: dict[str, _Host] = {}
        self._under_way = 0
        self._forgotten_bytes = 0
        """What came from hosts that are not remembered any more."""
        self.viewers: dict[str, Viewer] = {}
        """Who watches a task's film while it is fetched, by task."""
        self._held_back: dict[str, _Host] = {}
        """Hosts that take more, while the service makes no more; who was held back first comes first."""

    async def ask(
        self,
        name: str,
        request: Callable[[Visit], Awaitable[T]],
        *,
        asleep: Asleep = nullcontext,
        task: str = "",
        at_s: float = BEFORE_ALL,
    ) -> T:
        """
        The result of `request()`, begun when it is its turn; how it ends counts for the host. `at_s` is where in the
        film of its task it belongs.

        Raises:
            M3u8svcError: what `request` raised.
            CancelledError: also while it waited; then nothing was asked.
        """
        host = self._host(name)
        await self._turn(host, asleep, task, at_s)
        visit = Visit(host, self._clock, self._clock.seconds(), self._begun)
        bearing = Bearing.NOTHING
        try:
            result = await request(visit)
            bearing = Bearing.ANSWERED
            host.finished += 1
            self._look(host, started_at=visit.started_at)
            return result
        except M3u8svcError as error:
            bearing = bearing_of(error)
            host.trouble = error.code
            self._heed(host, error)
            raise
        finally:
            host.row.ended(task)
            self._ended(host, bearing, visit.started_at)

    def closed_for_s(self, name: str) -> float:
        """
        How many seconds nobody may ask this host; 0.0 when somebody may.
        """
        host = self._hosts.get(name)
        return 0.0 if host is None else host.closed_for_s(self._clock.seconds())

    def traffic(self) -> Traffic:
        """
        What came from all hosts so far, and who is asked now.
        """
        hosts = self._hosts.values()
        return Traffic(
            received_bytes=self._forgotten_bytes + sum(host.size_bytes for host in hosts),
            hosts=tuple(HostTraffic(host.name, host.under_way) for host in hosts if host.under_way),
        )

    def standings(self, task: str) -> list[Standing]:
        """
        The hosts that this task asks now, or waits for.
        """
        now = self._clock.seconds()
        return [
            Standing(
                name=host.name,
                connections=host.row.under_way(task),
                limit=host.most(self.ceilings),
                paused_for_s=host.closed_for_s(now) or None,
            )
            for host in self._hosts.values()
            if not host.row.has_none(task) or host.row.has_waiting(task)
        ]

    # -- Turns

    async def _turn(self, host: _Host, asleep: Asleep, task: str, at_s: float) -> None:
        if not host.row and self._admits(host, is_first=host.row.has_none(task)):
            self._enter(host, task)
            return
        turn: Deferred[None] = Deferred()
        host.row.add(turn, task=task, at_s=at_s)
        self._admit(host)
        with asleep(lambda: host.closed_why(self._clock.seconds())):
            try:
                await turn
            except BaseException:  # cancelled: it was not let in, or it would not wait here any more
                host.row.leave(turn, task=task)
                self._admit(host)
                raise

    def _admits(self, host: _Host, *, is_first: bool) -> bool:
        now = self._clock.seconds()
        return self._under_way < self.ceilings.in_all and host.admits(now, self.ceilings, is_first=is_first)

    def _enter(self, host: _Host, task: str) -> None:
        now = self._clock.seconds()
        host.count(now, +1)
        host.row.entered(task)
        host.used_at = now
        host.breaker = host.breaker.entered()
        self._under_way += 1

    def _admit(self, host: _Host) -> None:
        """
        Let in whoever may go now, and come back when the next one may.
        """
        if host.admitting:  # whoever was let in has ended at once
            return
        host.admitting = True
        while host.row and self._admits(host, is_first=host.row.next_has_none):
            is_away = host.breaker.open_until is not None
            task, turn = host.row.take_oldest() if is_away else host.row.take()
            self._enter(host, task)
            turn.callback(None)
        host.admitting = False
        if host.row and host.admits(self._clock.seconds(), self.ceilings, is_first=host.row.next_has_none):
            self._held_back[host.name] = host
        self._come_back(host)

    def _come_back(self, host: _Host) -> None:
        """
        Look at a host again when it opens, or there may be more to see of it; else the end of what is under way lets
        the next one in.
        """
        is_set = host.timer is not None and host.timer.active()
        if not host.row:
            if host.timer is not None and is_set:
                host.timer.cancel()
            host.timer = None
            return
        now = self._clock.seconds()
        if host.growth.changed_at is None:
            self._look(host)
        delay_s = host.closed_for_s(now) or max(host.growth.look_at - now, 0.0)
        if host.timer is not None and is_set:
            host.timer.reset(delay_s)
        else:
            host.timer = self._clock.callLater(delay_s, self._look_again, host)

    def _look_again(self, host: _Host) -> None:
        self._look(host)
        self._admit(host)

    def _fill(self, host: _Host) -> None:
        """
        A request at `host` has ended: whoever waits may go, and first who was held back for others elsewhere.
        """
        if host.row and self._held_back:
            self._held_back[host.name] = self._held_back.pop(host.name, host)
        while self._held_back and self._under_way < self.ceilings.in_all:
            self._admit(self._held_back.pop(next(iter(self._held_back))))
        self._admit(host)

    # -- What is learned

    def _begun(self, visit: Visit) -> None:
        visit.host.answered += 1
        visit.host.waited_s += self._clock.seconds() - visit.started_at
        self._look(visit.host, started_at=visit.started_at)

    def _look(self, host: _Host, *, started_at: float = -math.inf) -> None:
        """
        See whether more at once are worth it; `started_at` is when the request went out of which there is news.
        """
        before, most = host.growth.most, self.ceilings.per_host
        host.growth = host.growth.looked(
            host.reading(self._clock.seconds()),
            started_at=started_at,
            are_waiting=bool(host.row),
            ceiling=most if host.limit.most is None else min(most, host.limit.most),
        )
        if host.growth.most != before:
            self.log.debug(
                "{host}: {most} at once instead of {before}", host=host.name, most=host.growth.most, before=before
            )

    def _heed(self, host: _Host, error: M3u8svcError) -> None:
        """
        A host that says "later" says it to everybody (S6). With an answer that asking again does not change it is about
        that one file.
        """
        if isinstance(error, HttpStatusError) and error.retry_after_s and error.status not in FINAL_STATUSES:
            until = self._clock.seconds() + min(error.retry_after_s, LONGEST_RETRY_AFTER_S)
            host.later_until = max(host.later_until, until)

    def _ended(self, host: _Host, bearing: Bearing, started_at: float) -> None:
        now = self._clock.seconds()
        was_open = host.breaker.open_until is not None
        match bearing:
            case Bearing.NOTHING:
                host.breaker = host.breaker.abandoned(started_at=started_at)
            case Bearing.ANSWERED:
                host.breaker = host.breaker.answered()
                host.limit = limit_after_outage() if was_open else host.limit.succeeded(now)
            case Bearing.FAILED | Bearing.CROWDED | Bearing.BUSY:
                host.breaker = host.breaker.failed(now, started_at=started_at)
        if bearing in (Bearing.CROWDED, Bearing.BUSY):
            in_words = bearing is Bearing.BUSY
            host.limit = host.limit.objected(now, started_at=started_at, under_way=host.under_way, in_words=in_words)
        host.count(now, -1)
        self._under_way -= 1
        self._tell(host, was_open)
        self._fill(host)
        if host.is_idle and host.is_unknown and now >= host.later_until:
            self._forget(host)

    def _tell(self, host: _Host, was_open: bool) -> None:
        is_open = host.breaker.open_until is not None
        if is_open and not was_open:
            self.log.warn("{host} answers nobody: left alone for {seconds} s", host=host.name, seconds=self._left(host))
        elif was_open and not is_open:
            self.log.info("{host} answers again", host=host.name)

    def _left(self, host: _Host) -> int:
        return round(host.closed_for_s(self._clock.seconds()))

    # -- Memory

    def _host(self, name: str) -> _Host:
        now = self._clock.seconds()
        host = self._hosts.pop(name, None)
        if host is not None and host.is_idle and now - host.used_at > FORGET_S:
            self._forget(host)
            host = None
        if host is None:
            host = _Host(name=name, used_at=now, row=Row(self.viewers))
        self._hosts[name] = host  # last in the order: used just now
        if len(self._hosts) > REMEMBERED:
            for oldest in [each for each in self._hosts.values() if each.is_idle and each is not host][:1]:
                self._forget(oldest)
        return host

    def _forget(self, host: _Host) -> None:
        self._hosts.pop(host.name, None)
        self._forgotten_bytes += host.size_bytes
