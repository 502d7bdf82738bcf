"""
What a download has under way: how long it takes, what gets a second request, and what the end waits for.

While there are segments left to begin, a slow one holds up nobody. At the end it holds up everything: then one that
takes several times as long as the others is asked for a second time, on another connection, and whichever is whole
first counts (`tasks.tail`). If the end still waits for long, it is said for what.
"""

from collections import deque
from collections.abc import Callable
from typing import NoReturn

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from m3u8svc.tasks.tail import FEW, REMEMBERED, SAY_AFTER_S, slow_after_s

LOOK_S = 0.5


@attrs.define(eq=False)
class Transfer:
    """
    One segment on its way, all its attempts. Times are seconds, monotonic.
    """

    label: str
    url: str = attrs.field(repr=False)
    host: str
    attempt: int = 1
    sent_at: float | None = None
    """When this attempt's request went out; None before and between attempts."""
    next_at: float | None = None
    """When the next attempt begins, while it is waited for."""
    second: Deferred[None] = attrs.field(factory=Deferred)
    """Fires when this attempt is to be helped by a second request."""
    is_taken: bool = False
    """Whether one of the two requests is whole: the other must not be stored any more."""

    def begin(self, attempt: int) -> None:
        """
        Another attempt.
        """
        self.attempt = attempt
        self.sent_at = self.next_at = None
        self.second = Deferred()
        self.is_taken = False

    def take(self) -> bool:
        """
        Whether the request that calls this is the first one that is whole.
        """
        taken, self.is_taken = self.is_taken, True
        return not taken


class UnderWay:
    """
    The transfers of one download.

    Args:
        may_ask_twice: takes a request from the budget, or refuses.
        is_limited: whether it is we who make a host slow now: then nothing of it counts as slow.
        say: called when the end has waited for long, with the seconds and what it waits for; then again after twice
            as long.
        show: called while it waits so long, with that in words, and with "" when it is over.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        closed_for_s: Callable[[str], float],
        may_ask_twice: Callable[[], bool],
        is_limited: Callable[[str], bool],
        say: Callable[[float, list[Transfer]], None],
        show: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._closed_for_s = closed_for_s
        self._may_ask_twice = may_ask_twice
        self._is_limited = is_limited
        self._say = say
        self._show = show
        self._transfers: dict[Transfer, None] = {}
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)
        self._last_begun_at: float | None = None
        self._say_after_s = SAY_AFTER_S

    def add(self, transfer: Transfer) -> None:
        """
        A segment is begun.
        """
        self._transfers[transfer] = None

    def remove(self, transfer: Transfer) -> None:
        """
        It has ended, whatever way.
        """
        del self._transfers[transfer]
        if not self._transfers:
            self._show("")

    def sent(self, transfer: Transfer) -> None:
        """
        Its request went out.
        """
        if transfer.sent_at is None:
            transfer.sent_at = self._clock.seconds()

    @property
    def at_once(self) -> int:
        """
        How many requests are under way.
        """
        return sum(each.sent_at is not None and each.next_at is None and not each.is_taken for each in self._transfers)

    def took(self, transfer: Transfer) -> None:
        """
        Its bytes are there.
        """
        if transfer.sent_at is not None and not self._is_limited(transfer.host):
            self._took_s.append(self._clock.seconds() - transfer.sent_at)

    def all_begun(self) -> None:
        """
        There is nothing left to begin: from now on the end is waited for.
        """
        if self._last_begun_at is None:
            self._last_begun_at = self._clock.seconds()

    async def watch(self) -> NoReturn:
        """
        Look at what is under way now and then. Runs until it is cancelled.
        """
        while True:
            due = self._clock.seconds() + LOOK_S
            await deferLater(self._clock, LOOK_S)
            self._forgive(self._clock.seconds() - due)
            if self._last_begun_at is not None and self._transfers:
                self._look(self._clock.seconds() - self._last_begun_at)

    def _forgive(self, late_s: float) -> None:
        """
        Time in which nobody ran here is none in which an origin was slow: the machine slept, or the process was
        stopped. What came meanwhile lies in a socket, and is read after this timer.
        """
        if late_s < LOOK_S:
            return
        for each in self._transfers:
            if each.sent_at is not None:
                each.sent_at += late_s
        if self._last_begun_at is not None:
            self._last_begun_at += late_s

    def _look(self, waited_s: float) -> None:
        now = self._clock.seconds()
        slow_s = slow_after_s(self._took_s)
        left = [each for each in self._transfers if not self._is_limited(each.host)]
        for each in left:
            is_slow = slow_s is not None and each.sent_at is not None and now - each.sent_at >= slow_s
            if is_slow and not each.second.called and not each.is_taken and self._may_ask_twice():
                each.second.callback(None)
        if waited_s >= SAY_AFTER_S and 0 < len(self._transfers) <= FEW:
            self._show("、".join(self.describe(each) for each in left))
            if waited_s >= self._say_after_s and left:
                self._say_after_s *= 2
                self._say(waited_s, left)

    def describe(self, transfer: Transfer) -> str:
        """
        A transfer in words: which segment, from where, which attempt, when the next one is.
        """
        now = self._clock.seconds()
        said = [transfer.host, f"第 {transfer.attempt} 次"]
        if transfer.next_at is not None:
            said.append(f"{max(0, round(transfer.next_at - now))} 秒后重试")
        elif transfer.sent_at is not None:
            said.append(f"已 {round(now - transfer.sent_at)} 秒")
        elif closed_s := self._closed_for_s(transfer.host):
            said.append(f"服务器暂停 {round(closed_s)} 秒")
        return f"{transfer.label}（{'，'.join(said)}）"
