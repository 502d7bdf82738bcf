"""
Limits of rate at work: who may ask and read is decided by `tasks.ratelimit`, told here to requests and bodies, and
looked at again when time has changed it. Without a limit there is no timer, and nobody waits.

The rate of everything together follows a weekly schedule (`tasks.schedule`), by the clock on the wall. That clock may
be set at any time, so what holds is looked up again at least once in a minute, and nothing is counted on from before.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from types import TracebackType

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from m3u8svc.body import Valve
from m3u8svc.tasks.pace import rate_text
from m3u8svc.tasks.ratelimit import Everything, Flow, Host, OfTask, RateLimits, Scope
from m3u8svc.tasks.schedule import Local, Schedule

LOOK_AT_WALL_S = 60.0


class Throttle:
    """
    The limits of one process, and everything that is under them.

    Args:
        wall: the time of day, seconds since the epoch, and `local` what a clock on the wall shows then.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, *, wall: Callable[[], float] = time.time, local: Local = datetime.fromtimestamp
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._local = local
        self._limits = RateLimits()
        self._shares: dict[Flow, RequestShare] = {}
        self._timer: IDelayedCall | None = None
        self._of_tasks: dict[str, int] = {}
        self._rate = 0
        self._otherwise = 0
        self._schedule = Schedule()
        self._wall_timer: IDelayedCall | None = None

    # -- Rates, in bytes per second; 0 is no limit.

    @property
    def rate(self) -> int:
        """What everything together is limited to now."""
        return self._rate

    def limit_everything(self, otherwise: int, schedule: Schedule) -> None:
        """
        All tasks together: what the schedule says, and where it says nothing, `otherwise`.
        """
        self._otherwise, self._schedule = otherwise, schedule
        self._follow_schedule()

    def limit_hosts(self, rate: int) -> None:
        """
        Each host, whichever tasks ask it.
        """
        self._apply(self._limits.set_rate_per_host(rate, self._clock.seconds()))

    def limit_task(self, task_id: str, rate: int) -> None:
        """
        One task, now and until it ends.
        """
        self._of_tasks[task_id] = rate
        self._apply(self._limits.set_rate(OfTask(task_id), rate, self._clock.seconds()))

    def begin_task(self, task_id: str, rate: int) -> None:
        """
        A task begins, with the rate that it had when it was read; what was said of it since holds.
        """
        self.limit_task(task_id, self._of_tasks.get(task_id, rate))

    def end_task(self, task_id: str) -> None:
        """
        It has ended.
        """
        self._of_tasks.pop(task_id, None)
        self._apply(self._limits.set_rate(OfTask(task_id), 0, self._clock.seconds()))

    def stop(self) -> None:
        """
        Follow the schedule no more.
        """
        self._schedule = Schedule()
        if self._wall_timer is not None and self._wall_timer.active():
            self._wall_timer.cancel()

    def _follow_schedule(self) -> None:
        if self._wall_timer is not None and self._wall_timer.active():
            self._wall_timer.cancel()
        now = self._wall()
        rate = self._schedule.rate_at(now, self._otherwise, self._local)
        if rate != self._rate:
            self.log.info("everything together: {rate}", rate=rate_text(rate) if rate else "no limit of rate")
            self._rate = rate
        self._apply(self._limits.set_rate(Everything(), rate, self._clock.seconds()))
        change = self._schedule.next_change(now, self._otherwise, self._local)
        if self._schedule.entries:
            wait_s = LOOK_AT_WALL_S if change is None else min(LOOK_AT_WALL_S, change - now)
            self._wall_timer = self._clock.callLater(wait_s, self._follow_schedule)

    # -- What is under them

    def share(self, task_id: str, host: str, *, is_small: bool = False) -> "RequestShare":
        """
        What one request of a task to a host has of the limits; a small one needs little.
        """
        flow = self._limits.join(_scopes(task_id, host), self._clock.seconds(), is_small=is_small)
        share = self._shares[flow] = RequestShare(self, flow)
        if not flow.reads:
            self._look()
        return share

    def holds_back(self, task_id: str, host: str) -> bool:
        """
        Whether what this task gets of this host is limited by us now, or was within the last second: then it says
        nothing of the host.
        """
        return self._limits.holds_back(_scopes(task_id, host), self._clock.seconds())

    def begin(self, flow: Flow) -> None:
        """Its answer is there, and can be held back."""
        self._limits.begin(flow, self._clock.seconds())
        if not flow.reads:
            self._apply([flow])

    def arrived(self, flow: Flow, size_bytes: int) -> None:
        """So much of it came."""
        if flow.limits:
            stopped = self._limits.arrived(flow, size_bytes, self._clock.seconds())
            if stopped:
                self._apply(stopped)

    def end(self, flow: Flow) -> None:
        """It is over."""
        if self._shares.pop(flow, None) is not None:
            limited = bool(flow.limits)
            changed = self._limits.leave(flow, self._clock.seconds())
            if limited:
                self._apply(changed)

    def _look(self) -> None:
        self._apply(self._limits.look(self._clock.seconds()))

    def _apply(self, changed: Iterable[Flow]) -> None:
        for flow in changed:
            share = self._shares.get(flow)
            if share is not None:  # else it ended because of what another was told
                share.follow()
        self._come_back()

    def _come_back(self) -> None:
        """
        Look again when time has changed something.
        """
        now = self._clock.seconds()
        at = self._limits.next_look(now)
        if self._timer is not None and self._timer.active():
            if at is not None and self._timer.getTime() == at:
                return
            self._timer.cancel()
        self._timer = None if at is None else self._clock.callLater(max(0.0, at - now), self._look)


class RequestShare:
    """
    What one request has of the limits (`body.Share`). Entered, it ends with the block.
    """

    def __init__(self, throttle: Throttle, flow: Flow) -> None:
        self._throttle = throttle
        self._flow = flow
        self._turn: Deferred[None] | None = None
        self._valve: Valve | None = None

    def __enter__(self) -> "RequestShare":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def read_bytes(self) -> int:
        """How much one read may bring."""
        return self._flow.read_bytes

    async def turn(self) -> None:
        """
        Return when the request may be sent.
        """
        if not self._flow.is_asked:
            self._turn = Deferred()
            await self._turn

    def begin(self, valve: Valve) -> None:
        """The body is there; from now on it is held and released."""
        self._valve = valve
        self._throttle.begin(self._flow)

    def arrived(self, size_bytes: int) -> None:
        """So much came."""
        self._throttle.arrived(self._flow, size_bytes)

    def end(self) -> None:
        """No more comes."""
        self._valve = None
        self._throttle.end(self._flow)

    def follow(self) -> None:
        """
        Do as the limits say now.
        """
        if self._turn is not None and self._flow.is_asked and not self._turn.called:
            self._turn.callback(None)
        if self._valve is not None:
            (self._valve.release if self._flow.reads else self._valve.hold)()


def _scopes(task_id: str, host: str) -> tuple[Scope, ...]:
    return Everything(), Host(host), OfTask(task_id)
