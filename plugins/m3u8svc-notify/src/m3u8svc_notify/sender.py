"""
Sends what is queued: each task's events in order to each target, tasks and targets beside each other.

One coroutine looks for what is due and starts deliveries; each runs on its own and wakes it at its end. Nothing is
forgotten by dying anywhere in between: a row is marked only after its answer.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, assert_never

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from m3u8svc_notify.deciding import Again, Answer, Decision, Delivered, Disabled, Dropped, decide
from m3u8svc_notify.queue import Item, Queue

AT_ONCE = 4
"""Deliveries to one target beside each other."""
FARTHEST_S = 7 * 86_400.0
"""Nothing is due later than this: if it seems so, the clock was set back."""
TROUBLE_S = 30.0
"""How long to wait after the queue itself failed."""


class Way(Protocol):
    """
    How one target is told.
    """

    async def send(self, item: Item) -> Answer: ...


class Sender:
    """
    `wake` it when there may be something to do, `stop` it at the end.
    """

    def __init__(
        self,
        queue: Queue,
        ways: Mapping[str, Way],
        *,
        clock: Any,
        in_thread: Callable[..., Any],
        log: Any,
        wall: Callable[[], float],
        chance: Callable[[], float],
        max_age_s: float,
    ) -> None:
        # clock, in_thread and log are those of `services`
        self._queue = queue
        self._ways = ways
        self._clock = clock
        self._in_thread = in_thread
        self._log = log
        self._wall = wall
        self._chance = chance
        self._max_age_s = max_age_s
        self._lanes: dict[tuple[str, str], Deferred[None]] = {}
        self._disabled: set[str] = set()
        self._loop: Deferred[None] | None = None
        self._waiter: Deferred[None] | None = None
        self._woken = False
        self._stopped = False

    @property
    def disabled(self) -> frozenset[str]:
        """Targets that said they want no more."""
        return frozenset(self._disabled)

    def wake(self) -> None:
        """
        Look again for what is due.
        """
        if self._stopped:
            return
        self._woken = True
        if self._loop is None:
            self._loop = Deferred.fromCoroutine(self._run())
            self._loop.addErrback(self._log_end)
        elif self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)

    async def stop(self) -> None:
        """
        Cut off what is under way and return when it has ended; it stays queued.
        """
        self._stopped = True
        running = list(self._lanes.values())
        for delivery in running:
            delivery.cancel()
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            waiter.callback(None)
        for each in (*running, self._loop):
            if each is not None:
                await each

    async def _run(self) -> None:
        while not self._stopped:
            self._woken = False
            try:
                next_due = await self._start_due()
            except CancelledError:
                raise
            except Exception as error:  # a disk that fails must not end the sending for good
                self._log.error("the queue of notifications cannot be read: {error}", error=error)
                next_due = self._wall() + TROUBLE_S
            if not self._woken and not self._stopped:
                await self._sleep(next_due)

    async def _sleep(self, until: float | None) -> None:
        """Until `until`, or until somebody wakes us."""
        self._waiter = Deferred()
        timer = None
        if until is not None:
            timer = self._clock.callLater(max(0.0, min(until - self._wall(), FARTHEST_S)), self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None and timer.active():
                timer.cancel()

    async def _start_due(self) -> float | None:
        """Start what is due and has room; when the next one is."""
        soonest: float | None = None
        for target in self._ways:
            if target in self._disabled:
                continue
            busy = sum(lane[0] == target for lane in self._lanes)
            for item in await self._in_thread(self._queue.heads, target, 2 * AT_ONCE + 1):
                if self._stopped:
                    return None
                if item.lane in self._lanes:
                    continue
                now = self._wall()
                if now < item.due <= now + FARTHEST_S:
                    soonest = item.due if soonest is None else min(soonest, item.due)
                    break
                if busy >= AT_ONCE:
                    break
                busy += 1
                self._start(item)
        return soonest

    def _start(self, item: Item) -> None:
        def over(_: object) -> None:
            del self._lanes[item.lane]
            self.wake()

        delivery = Deferred.fromCoroutine(self._deliver(item))
        self._lanes[item.lane] = delivery
        delivery.addBoth(over)

    async def _deliver(self, item: Item) -> None:
        """Tell it once. What must not happen (a disk that fails, a fault of ours) holds its lane for a while."""
        try:
            await self._follow(item, await self._told(item))
        except CancelledError:
            raise
        except Exception as error:
            self._log.error("delivering event {event} failed: {error!r}", event=item.event_id, error=error)
            await self._pause(TROUBLE_S)

    async def _told(self, item: Item) -> Decision:
        age_s = self._wall() - item.queued_at
        if age_s > self._max_age_s:
            return Dropped(why=f"undelivered for {age_s:.0f} s")
        return decide(
            await self._ways[item.target].send(item),
            attempts=item.attempts + 1,
            age_s=age_s,
            max_age_s=self._max_age_s,
            wall=self._wall(),
            chance=self._chance(),
        )

    async def _follow(self, item: Item, decision: Decision) -> None:
        named = {"target": item.target, "event": item.event_id, "task": item.task_id}
        match decision:
            case Delivered(complaint=complaint):
                if complaint:
                    self._log.warn("{target}, event {event}: {why}", why=complaint, **named)
                await self._in_thread(self._queue.done, item.seq)
            case Again(delay_s=delay_s, why=why):
                say = self._log.warn if item.attempts == 0 else self._log.debug
                say("{target}, event {event}: {why}, again in {delay:.0f} s", why=why, delay=delay_s, **named)
                await self._in_thread(_postpone, self._queue, item.seq, self._wall() + delay_s)
            case Dropped(why=why):
                self._log.error("{target} was NOT told of event {event} of task {task}: {why}", why=why, **named)
                await self._in_thread(self._queue.done, item.seq)
            case Disabled(why=why):
                self._disabled.add(item.target)
                lost = await self._in_thread(self._queue.give_up, item.target)
                self._log.error(
                    "{target} answered {why}: it is told NOTHING more until the next start, {lost} events are dropped",
                    why=why,
                    lost=lost,
                    **named,
                )
            case _:
                assert_never(decision)

    async def _pause(self, seconds: float) -> None:
        waiter: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, waiter.callback, None)
        try:
            await waiter
        finally:
            if timer.active():
                timer.cancel()

    def _log_end(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.error("the sending of notifications ended: {error}", error=failure.value)


def _postpone(queue: Queue, seq: int, due: float) -> None:
    queue.postpone(seq, due=due)
