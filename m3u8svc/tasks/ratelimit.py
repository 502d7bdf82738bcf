"""
How many bytes may arrive in a second, and whose turn it is to read: bytes and a clock in, who reads and when to look
again out.

There are three kinds of limits: of everything, of a host, of a task. A flow is one request and its body; it reads while
every limit that it is under lets it. A limit is a bucket of bytes that fills at its rate, with room for `CREDIT_S` and
no more: what was not used before is not made up for at once. What arrives is taken out, and may take it below zero,
since nobody knows how much a read brings before it is there. From then on nobody under the limit reads, until it is
above zero again. So over any second no more arrives than the rate, the room and the last read.

Who has waited longest reads first, as much as is one read under that limit, and no more of them at once than there is
room for: all get the same. One that has nothing to read must not keep the others from reading, so that while there is
room, ever more of them may.

What arrives in one read can be chosen: a small part of a second's worth (`read_bytes`), so that a low rate is no
sequence of bursts. A request waits for its turn, too, and pays in advance for what comes with the headers; else small
segments, which arrive whole with the headers, would know no limit. While there is no share of `LEAST_SHARE`
bytes per second for one more body, no request is sent: a server whose answer is read too slowly ends it. Playlists and
keys are small, and need no such share.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

CREDIT_S = 0.05
"""For how long a limit's room fills. A reactor that is late by less loses nothing."""
WAKE_S = 0.01
"""So much of it must be there again before anybody reads: a hundred times in a second is enough to look."""
READ_S = 0.02
PAID_S = 0.005
"""What was paid in advance is for what comes with the headers; later it would be a burst of what was not used."""
LEAST_READ = 4 * 1024
MOST_READ = 128 * 1024
LEAST_SHARE = 64 * 1024
RECENT_S = 1.0
"""A limit that held somebody back so lately still counts as the reason why something is slow."""


@attrs.frozen
class Everything:
    """
    The scope of what all arrives by.
    """


@attrs.frozen
class Host:
    """
    The scope of a host, by the name that tells it from others.
    """

    name: str


@attrs.frozen
class OfTask:
    """
    The scope of a task.
    """

    task_id: str


Scope = Everything | Host | OfTask
"""What a limit is of."""


@attrs.define(eq=False)
class Flow:
    """
    One request and its body. `reads` is whether it may be asked for, and read, now.
    """

    scopes: tuple[Scope, ...]
    is_small: bool = False
    """Whether it needs no share of its own."""
    reads: bool = False
    is_asked: bool = False
    """Whether the request was let go: its answer comes, whatever the limits are by then."""
    is_answered: bool = False
    """Whether its body can be held back."""
    limits: "tuple[Limit, ...]" = ()
    paid_bytes: int = 0
    """What was taken out of its limits in advance."""
    answered_at: float = math.inf

    @property
    def read_bytes(self) -> int:
        """How much one read of it may bring."""
        return min((limit.read_bytes for limit in self.limits), default=MOST_READ)


@attrs.define(eq=False)
class Limit:
    """
    One limit of `rate` bytes per second (more than 0), and the flows under it: who has waited longest is first.
    """

    rate: int
    at: float
    room: float = 0.0
    is_shut: bool = False
    flows: dict[Flow, int] = attrs.field(factory=dict)
    """How much each has read of its turn."""
    shut_at: float = -math.inf
    """When it last was shut."""
    at_once: int = 1
    """How many more may read while it stays open."""
    bodies: int = 0
    """How many flows are answered."""

    @property
    def read_bytes(self) -> int:
        """How much one read may bring."""
        return min(MOST_READ, max(LEAST_READ, int(self.rate * READ_S)))

    @property
    def is_full(self) -> bool:
        """Whether nothing is to be remembered of it."""
        return self.room >= self.rate * CREDIT_S

    @property
    def takes_requests(self) -> bool:
        """Whether there is a share for one more flow."""
        return self.bodies < max(1, self.rate // LEAST_SHARE)

    def add(self, flow: Flow) -> None:
        """It is under this limit, too."""
        self.flows[flow] = 0
        self.bodies += flow.is_answered

    def remove(self, flow: Flow) -> None:
        """It is over."""
        del self.flows[flow]
        self.bodies -= flow.is_answered

    def fill(self, now: float) -> None:
        """Time has passed."""
        self.room = min(self.rate * CREDIT_S, self.room + self.rate * max(0.0, now - self.at))
        self.at = max(now, self.at)
        if self.is_shut:
            self.shut_at = now
            self.is_shut = self.room < 0.999 * self.rate * WAKE_S  # a clock is not exact to the last digit

    def take(self, size_bytes: int, now: float) -> None:
        """So much was used."""
        self.fill(now)
        self.room -= size_bytes
        if self.room <= 0:
            self.is_shut, self.shut_at, self.at_once = True, now, 1

    def change(self, rate: int) -> None:
        """Another rate. What is owed takes no longer to be paid than before."""
        if self.room < 0:
            self.room *= min(1.0, rate / self.rate)
        self.rate, self.at_once = rate, 1

    def served(self, flow: Flow, size_bytes: int) -> None:
        """It has read so much; after a whole turn it is behind the others."""
        read = self.flows[flow] + size_bytes
        if read >= self.read_bytes:
            del self.flows[flow]
            read = 0
        self.flows[flow] = read

    def next_flows(self) -> "list[Flow]":
        """
        Those of the flows that may read whose turn it is: as many as there is room for. Whoever asks again before
        anything was read gets twice as many, since the others have nothing to read.
        """
        if self.is_shut:
            return []
        ready = [flow for flow in self.flows if _may_read(flow)]
        places = max(self.at_once, math.ceil(self.room / self.read_bytes))
        if len(ready) > places:
            self.at_once = 2 * places
        return ready[:places]

    def opens_at(self) -> float:
        """When it lets somebody read again."""
        return self.at + (self.rate * WAKE_S - self.room) / self.rate


class RateLimits:
    """
    All limits and all flows. Every method that may let flows read, or stop them, returns those it has changed.
    """

    def __init__(self) -> None:
        self._rates: dict[Scope, int] = {}
        self._per_host = 0
        self._limits: dict[Scope, Limit] = {}
        self._flows: dict[Flow, None] = {}
        self._paid: dict[Flow, None] = {}
        """Those that are answered and have not used what they paid."""

    def set_rate(self, scope: Scope, rate: int, now: float) -> list[Flow]:
        """
        From now on so many bytes per second, 0 for no limit; what is owed is owed at the new rate.
        """
        if self._rates.get(scope, 0) == rate:
            return []
        if rate:
            self._rates[scope] = rate
        else:
            self._rates.pop(scope, None)
        return self._changed(now)

    def set_rate_per_host(self, rate: int, now: float) -> list[Flow]:
        """
        The same for each host.
        """
        if rate == self._per_host:
            return []
        self._per_host = rate
        return self._changed(now)

    def join(self, scopes: Iterable[Scope], now: float, *, is_small: bool = False) -> Flow:
        """
        Another flow, which may ask and read at once if nothing is against it.
        """
        flow = Flow(tuple(scopes), is_small=is_small)
        self._flows[flow] = None
        self._place(flow, now)
        if not flow.limits:
            flow.reads = flow.is_asked = True
        return flow

    def begin(self, flow: Flow, now: float) -> None:
        """
        The answer to a flow's request is there, and can be held back.
        """
        flow.is_answered = True
        for limit in flow.limits:
            limit.bodies += 1
        flow.answered_at = now
        if flow.paid_bytes:
            self._paid[flow] = None
        flow.reads = not any(limit.is_shut for limit in flow.limits)

    def arrived(self, flow: Flow, size_bytes: int, now: float) -> list[Flow]:
        """
        So many bytes came.
        """
        if not flow.limits:
            return []
        self._pay_back_late(now)
        paid = min(flow.paid_bytes, size_bytes)
        flow.paid_bytes -= paid
        for limit in flow.limits:
            limit.take(size_bytes - paid, now)
            limit.served(flow, size_bytes)
        return self._stop(flow.limits)

    def leave(self, flow: Flow, now: float) -> list[Flow]:
        """
        A flow is over; what it paid in vain is paid back.
        """
        del self._flows[flow]
        self._pay_back(flow, now)
        if not flow.limits:
            return []
        for limit in flow.limits:
            limit.remove(flow)
        flow.limits = ()
        return self._admit(now)

    def look(self, now: float) -> list[Flow]:
        """
        Time has passed.
        """
        self._pay_back_late(now)
        return self._admit(now)

    def next_look(self, now: float) -> float | None:
        """
        When to look again; None if time alone changes nothing.
        """
        if next(self._ready(), None) is not None:
            return now
        waited_for = [
            limit.opens_at()
            for limit in self._limits.values()
            if limit.is_shut and any(not flow.reads for flow in limit.flows)
        ]
        return max(now, min(waited_for)) if waited_for else None

    def holds_back(self, scopes: Iterable[Scope], now: float) -> bool:
        """
        Whether what these scopes do is as slow as it is because of a limit.
        """
        found = [self._limits[scope] for scope in scopes if scope in self._limits]
        return any(limit.is_shut or now - limit.shut_at < RECENT_S for limit in found)

    # -- Which limits there are

    def _rate(self, scope: Scope) -> int:
        return self._per_host if isinstance(scope, Host) else self._rates.get(scope, 0)

    def _changed(self, now: float) -> list[Flow]:
        """
        Rates are others: flows are under other limits, and who waited for what is gone may go on.
        """
        before = {flow: flow.reads for flow in self._flows}
        for scope, limit in list(self._limits.items()):
            limit.fill(now)
            limit.flows.clear()
            limit.bodies = 0
            if rate := self._rate(scope):
                limit.change(rate)
            else:
                del self._limits[scope]
        for flow in self._flows:
            self._place(flow, now)
            if not flow.limits:
                flow.reads = flow.is_asked = True
        self._stop(self._limits.values())
        self._admit(now)
        return [flow for flow, reads in before.items() if flow.reads is not reads]

    def _place(self, flow: Flow, now: float) -> None:
        """
        Put a flow under the limits of its scopes.
        """
        limits = []
        for scope in flow.scopes:
            if rate := self._rate(scope):
                if scope not in self._limits:
                    self._forget_hosts(now)
                    self._limits[scope] = Limit(rate, now, room=rate * CREDIT_S)
                self._limits[scope].add(flow)
                limits.append(self._limits[scope])
        flow.limits = tuple(limits)

    def _forget_hosts(self, now: float) -> None:
        """
        A host that nobody asks is remembered only as long as it owes something.
        """
        for scope, limit in list(self._limits.items()):
            limit.fill(now)
            if isinstance(scope, Host) and not limit.flows and limit.is_full:
                del self._limits[scope]

    # -- Who reads

    def _ready(self) -> Iterator[Flow]:
        """
        The flows that wait, and that nothing is against.
        """
        for limit in self._limits.values():
            if not limit.is_shut:
                yield from (flow for flow in limit.flows if _may_read(flow))

    def _admit(self, now: float) -> list[Flow]:
        """
        Let flows read while there is room, those whose turn it is under all their limits; returns those that now read,
        or do not any more because others pay in advance.
        """
        turns: Counter[Flow] = Counter()
        for limit in self._limits.values():
            limit.fill(now)
            turns.update(limit.next_flows())
        let_in = [flow for flow, count in turns.items() if count == len(flow.limits)]
        for flow in let_in:
            if _may_read(flow):
                self._let_in(flow, now)
        stopped = self._stop({limit: None for flow in let_in for limit in flow.limits})
        return [flow for flow in let_in if flow.reads] + [flow for flow in stopped if flow not in let_in]

    def _let_in(self, flow: Flow, now: float) -> None:
        flow.reads = True
        if flow.is_asked:
            return
        flow.is_asked = True
        flow.paid_bytes = flow.read_bytes
        for limit in flow.limits:
            limit.take(flow.paid_bytes, now)

    def _pay_back_late(self, now: float) -> None:
        for flow in [each for each in self._paid if now - each.answered_at > PAID_S]:
            self._pay_back(flow, now)

    def _pay_back(self, flow: Flow, now: float) -> None:
        for limit in flow.limits:
            limit.room += flow.paid_bytes
            limit.fill(now)
        flow.paid_bytes = 0
        self._paid.pop(flow, None)

    def _stop(self, limits: Iterable[Limit]) -> list[Flow]:
        """
        Stop what is under limits that are shut. A request that is on its way cannot be.
        """
        stopped = []
        for limit in limits:
            if limit.is_shut:
                for flow in limit.flows:
                    if flow.reads and flow.is_answered:
                        flow.reads = False
                        stopped.append(flow)
        return stopped


def _may_read(flow: Flow) -> bool:
    """
    Whether a flow that waits may read now.
    """
    if flow.reads or any(limit.is_shut for limit in flow.limits):
        return False
    return flow.is_asked or flow.is_small or all(limit.takes_requests for limit in flow.limits)
