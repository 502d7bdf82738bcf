"""
The body of one answer on its way from the socket to a sink: timers, counts, back-pressure, an end that is checked.

It stands still while the sink has not taken what it was given, and while a limit of rate has no room (`throttle`). Such
time is nobody's silence: it counts for none of the timers.

treq's and Twisted's own readers have none of these, and cancelling them leaves the socket open (anchors T4).
"""

from collections import deque
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss, _MalformedChunkedDataError
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from m3u8svc.connections import ConnectedResponse
from m3u8svc.disconnects import causes
from m3u8svc.errors import BadResponse, BodyTooLarge, M3u8svcError, StallTimeout, TotalTimeout, Truncated
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.wire import Inflate, Slice
from m3u8svc.waiting import log_failure
from m3u8svc.wording import Said

MIN_BYTES_PER_S = 1024
"""Slower than this over the whole silence window counts as silence."""

DRAIN_BYTES = 64 * 1024
"""What may be read in vain to keep a connection."""

ASLEEP_S = 5.0
"""A look that comes so much too late says that nobody ran meanwhile."""

_TICKS_PER_SILENCE = 15


class Sink(Protocol):
    """
    Where a body goes.
    """

    def write(self, chunk: bytes) -> "Deferred[None] | None":
        """
        Take the next bytes. A Deferred says: not yet done, nothing more is written until it fires, and the origin is
        held back meanwhile. An exception or a failure ends the fetch with it.
        """
        ...


class Valve(Protocol):
    """
    What can be held back.
    """

    def hold(self) -> None:
        """Read no more."""
        ...

    def release(self) -> None:
        """Go on."""
        ...


class Share(Protocol):
    """
    What limits of rate leave to one body.
    """

    @property
    def read_bytes(self) -> int:
        """How much one read may bring."""
        ...

    def begin(self, valve: Valve) -> None:
        """The body is there; from now on it is held and released."""
        ...

    def arrived(self, size_bytes: int) -> None:
        """So much came."""
        ...

    def end(self) -> None:
        """No more comes. Called any number of times."""
        ...


class Whole:
    """
    The share of what is under no limit.
    """

    read_bytes = 1 << 30

    def begin(self, valve: Valve) -> None:
        """It is never held."""

    def arrived(self, size_bytes: int) -> None:
        """As much as wants to."""

    def end(self) -> None:
        """Nothing is given back."""


@attrs.frozen(kw_only=True)
class FetchLimits:
    """
    How long and how much; reliability.md 2.4. Time in which we hold back does not count.
    """

    connect_s: float = 15.0
    headers_s: float = 30.0
    silence_s: float = 30.0
    total_s: float | None = None
    max_bytes: int = 2 * 1024**3
    redirects: int = 10


@attrs.frozen(kw_only=True)
class Answer:
    """
    The headers of an answer; its body waits. `deadline` is when the whole fetch must be over, by the clock.
    """

    request: Request
    response: IResponse
    encoding: str
    hops: int
    deadline: float | None
    reach: Zone = Zone.PUBLIC
    """How near what it leads to may be."""

    @property
    def length(self) -> int | None:
        """The announced length in bytes, if any."""
        length = self.response.length
        return None if length is UNKNOWN_LENGTH else int(length)

    def header(self, name: str) -> str:
        """A header's first value, "" without one."""
        raw: bytes = self.response.headers.getRawHeaders(name.encode("ascii"), [b""])[0]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")


Step = Slice | Inflate
"""What a body goes through on its way to the sink."""


class Body(TwistedProtocol):
    """
    Takes one body to its sink. Bytes go from the socket to `Sink.write` without a copy or a Deferred each.

    `done` fires once everything is with the sink; cancelling it aborts the connection (anchors T4).
    """

    def __init__(
        self,
        clock: IReactorTime,
        answer: Answer,
        sink: Sink,
        step: Step | None,
        limits: FetchLimits,
        share: Share | None = None,
    ) -> None:
        self.done: Deferred[None] = Deferred(self._cancelled)
        self.stored = 0
        self.length_known = True
        self._clock = clock
        self._answer = answer
        self._url = answer.request.url
        self._sink = sink
        self._step = step
        self._limits = limits
        self._share = share or Whole()
        self._max_received = limits.max_bytes
        if isinstance(step, Slice) and answer.request.byterange is not None:
            self._max_received += answer.request.byterange.offset_bytes + DRAIN_BYTES
        self._received = 0
        self._queue: deque[bytes] = deque()
        self._held = False  # the sink has not taken the last chunk yet
        self._throttled = False  # a limit of rate has no room
        self._pumping = False
        self._ended = False  # no more bytes will come, and the connection is no longer ours
        self._over = False  # `done` has fired
        self._excused_s = 0.0
        self._still_since = 0.0
        self._mark_at = clock.seconds()
        self._mark_received = 0
        self._tick: IDelayedCall | None = None
        self._look_at = 0.0

    @property
    def _wire(self) -> Any:  # Any: Twisted gives a producer that ITransport does not describe
        return self.transport

    # Twisted calls these.

    def connectionMade(self) -> None:
        """The body begins."""
        if not self._over:
            self._read_in_shares()
            self._schedule_tick()

    def dataReceived(self, data: bytes) -> None:
        """The next bytes."""
        if self._over or self._ended:
            return  # data may still come after a cancel
        self._received += len(data)
        self._share.arrived(len(data))
        if self._step is None:
            self._deliver(data)
        else:
            self._deliver_through(self._step, data)
        if self._received > self._max_received and not (self._over or self._ended):
            self._fail(BodyTooLarge(url=self._url, limit=self._limits.max_bytes))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body is over: whole, cut or of unknown length."""
        if self._over or self._ended:
            return
        self._ended = True
        self._share.end()
        try:
            self._accept_end(reason)
            for piece in self._step.finish() if self._step is not None else ():
                self._deliver(piece)
        except M3u8svcError as error:
            self._fail(error)
            return
        self._finish_if_taken()

    # How it ends.

    def _accept_end(self, reason: Failure) -> None:
        response = self._answer.response
        connection = response.connection if isinstance(response, ConnectedResponse) else None
        if reason.check(ResponseDone):
            # A length that was wrong is none: only the content can tell whether this is all.
            self.length_known = connection is None or not connection.overlong
            return
        if reason.check(PotentialDataLoss):
            self.length_known = False
            if connection is None or not connection.broken:
                return
        wrapped = [] if reason.value is None else list(causes(reason.value))
        if any(isinstance(cause, _MalformedChunkedDataError) for cause in wrapped):
            raise BadResponse(url=self._url, reason=Said("分块编码有误", "its chunks are not valid")) from reason.value
        expected: object = "?" if self._answer.length is None else self._answer.length
        raise Truncated(url=self._url, expected=expected, got=self._received) from reason.value

    def _finish_if_taken(self) -> None:
        if self._ended and not (self._over or self._held or self._queue):
            self._stop()
            self.done.callback(None)

    def _fail(self, error: BaseException | Failure) -> None:
        if self._over:
            return
        self._stop()
        self._abort()
        self.done.errback(error)

    def _cancelled(self, done: "Deferred[None]") -> None:
        self._stop()
        self._abort()

    def _stop(self) -> None:
        self._over = True
        self._share.end()
        self._queue.clear()
        if self._tick is not None and self._tick.active():
            self._tick.cancel()

    def _abort(self) -> None:
        """
        Close the connection so that the origin sees it at once; not when it went back to the pool already.
        """
        if self._ended:
            return
        self._ended = True
        if isinstance(self._answer.response, ConnectedResponse):
            self._answer.response.connection.abort_now()
            return
        if self._wire is not None:
            # Of another's agent: Twisted's proxy object can lose the connection, but not abort it.
            getattr(self._wire, "abortConnection", self._wire.loseConnection)()

    # Bytes, in order, as fast as the sink takes them.

    def _deliver_through(self, step: Step, data: bytes) -> None:
        try:
            pieces = step.feed(data)
        except M3u8svcError as error:
            self._fail(error)
            return
        for piece in pieces:
            self._deliver(piece)
        if step.complete and self._cut_short():
            self._finish_if_taken()

    def _cut_short(self) -> bool:
        """
        Nothing more is needed. If more is coming, the connection goes; else its end is awaited, to reuse it.
        """
        if self._over or self._received == self._answer.length:
            return False
        self._abort()
        return True

    def _deliver(self, chunk: bytes) -> None:
        if self._over:
            return
        self.stored += len(chunk)
        if self.stored > self._limits.max_bytes:
            self._fail(BodyTooLarge(url=self._url, limit=self._limits.max_bytes))
        elif self._held or self._queue:
            self._queue.append(chunk)  # what had been read before the transport paused
        else:
            self._write(chunk)

    def _write(self, chunk: bytes) -> None:
        try:
            taken = self._sink.write(chunk)
        except Exception:  # whatever a sink raises is the caller's to judge; here it must not reach Twisted's parser
            self._fail(Failure())
            return
        if taken is None:
            return
        self._stand_still()
        self._held = True
        taken.addCallbacks(self._taken, self._refused)

    def _taken(self, ignored: object) -> None:
        self._held = False
        self._excuse()
        if self._pumping or self._over:
            return
        self._pumping = True
        while self._queue and not self._held and not self._over:
            self._write(self._queue.popleft())
        self._pumping = False
        if self._held or self._over:
            return
        if self._ended:
            self._finish_if_taken()
        elif not self._is_still:
            self._wire.resumeProducing()

    def _refused(self, failure: Failure) -> None:
        self._held = False
        if self._over:
            log_failure("a sink whose fetch was over", failure)
        self._fail(failure)

    # Standing still.

    @property
    def _is_still(self) -> bool:
        return self._held or self._throttled

    def hold(self) -> None:
        """A limit of rate has no room."""
        if not (self._throttled or self._ended or self._over):
            self._stand_still()
            self._throttled = True

    def release(self) -> None:
        """It has some again."""
        if not self._throttled:
            return
        self._throttled = False
        self._excuse()
        if not (self._is_still or self._ended or self._over):
            self._read_in_shares()
            self._wire.resumeProducing()

    def began(self) -> None:
        """
        It was delivered. With that Twisted lets the connection go on, whatever we said meanwhile, so that whoever
        delivers a body has to call this; the rest of what came with the headers may still follow.
        """
        if self._ended or self._over:
            return
        self._share.begin(self)
        if self._is_still:
            self._wire.pauseProducing()

    def _stand_still(self) -> None:
        if not self._is_still:
            self._still_since = self._clock.seconds()
        if not self._ended:
            self._wire.pauseProducing()

    def _excuse(self) -> None:
        """
        Time in which we stood still is no silence of the origin's.
        """
        if not self._is_still:
            still_s = self._clock.seconds() - self._still_since
            self._excused_s += still_s
            self._mark_at += still_s

    def _forgive(self, late_s: float) -> None:
        """
        Nor is time in which nobody ran here: the machine slept, or the process was stopped. What came meanwhile is
        read only now.
        """
        if late_s >= ASLEEP_S and not self._is_still:
            self._excused_s += late_s
            self._mark_at += late_s

    def _read_in_shares(self) -> None:
        response = self._answer.response
        if isinstance(response, ConnectedResponse):
            response.connection.read_at_most(self._share.read_bytes)

    # Time.

    def _schedule_tick(self) -> None:
        delay_s = self._limits.silence_s / _TICKS_PER_SILENCE
        if self._answer.deadline is not None and not self._is_still:  # still, the deadline moves on with the clock
            left_s = self._answer.deadline + self._excused_s - self._clock.seconds()
            delay_s = max(0.0, min(delay_s, left_s))
        self._look_at = self._clock.seconds() + delay_s
        self._tick = self._clock.callLater(delay_s, self._look)

    def _look(self) -> None:
        """
        Is it still coming? Looking now and then is cheaper than resetting a timer for every chunk.
        """
        now = self._clock.seconds()
        self._forgive(now - self._look_at)
        if not self._is_still and not self._ended:
            if self._answer.deadline is not None and now >= self._answer.deadline + self._excused_s:
                self._fail(TotalTimeout(url=self._url, seconds=self._limits.total_s))
            elif self._received - self._mark_received >= MIN_BYTES_PER_S * self._limits.silence_s:
                self._mark_at, self._mark_received = now, self._received
            elif now - self._mark_at >= self._limits.silence_s:
                self._fail(StallTimeout(url=self._url, seconds=self._limits.silence_s))
        if not self._over:
            self._schedule_tick()
