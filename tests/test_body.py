"""
A body on its way to a sink, without a socket: the moments that a network would hit by chance only.
"""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH

from m3u8svc.body import Answer, Body, FetchLimits
from m3u8svc.errors import BodyTooLarge, DiskFull, FetchTimeout
from m3u8svc.tasks.request import Purpose, Request


class Headed:
    """As much of a response as a body asks for."""

    code = 200
    length = UNKNOWN_LENGTH


class Sink:
    """Takes the first chunk when it is told to, the others at once."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.first: Deferred[None] = Deferred()

    def write(self, chunk: bytes) -> Any:
        self.chunks.append(chunk)
        return self.first if len(self.chunks) == 1 else succeed(None)


class Rig:
    """A body with a clock, a sink and a transport that only remembers."""

    def __init__(self, limits: FetchLimits, deadline: float | None = None) -> None:
        self.clock = Clock()
        self.sink = Sink()
        self.transport = StringTransport()
        request = Request(url="http://a.example/", purpose=Purpose.SEGMENT)
        answer = Answer(request=request, response=Headed(), encoding="", hops=0, deadline=deadline)  # type: ignore[arg-type]  # a fake
        self.body = Body(self.clock, answer, self.sink, None, limits)
        self.ended: list[object] = []
        self.body.done.addBoth(self.ended.append)
        self.body.makeConnection(self.transport)

    @property
    def error(self) -> object:
        return self.ended[0].value if self.ended and isinstance(self.ended[0], Failure) else None

    def finish(self) -> None:
        self.body.connectionLost(Failure(ResponseDone()))


def wait(clock: Clock, seconds: int) -> None:
    clock.pump([1] * seconds)


def test_time_in_which_the_sink_holds_back_is_not_silence() -> None:
    """Held for minutes it goes on; silence counts from when the sink was ready again."""
    rig = Rig(FetchLimits(silence_s=30))
    rig.body.dataReceived(b"x")
    assert rig.transport.producerState == "paused"
    wait(rig.clock, 300)
    rig.sink.first.callback(None)
    assert rig.transport.producerState == "producing"
    wait(rig.clock, 28)
    assert rig.ended == []
    wait(rig.clock, 5)

    assert isinstance(rig.error, FetchTimeout)
    assert {"url": "http://a.example/", "seconds": 30} == rig.error.fields
    assert rig.clock.getDelayedCalls() == []


def test_time_in_which_the_sink_holds_back_is_not_of_the_total() -> None:
    """A total of 60 s with 300 s of waiting for the sink ends after 360 s."""
    rig = Rig(FetchLimits(silence_s=1000, total_s=60), deadline=60.0)
    rig.body.dataReceived(b"x")
    wait(rig.clock, 300)
    rig.sink.first.callback(None)
    wait(rig.clock, 59)
    assert rig.ended == []
    wait(rig.clock, 2)

    assert isinstance(rig.error, FetchTimeout)


def test_time_in_which_nobody_ran_is_neither() -> None:
    """N8: the machine sleeps for ten minutes; what came meanwhile is read only then, and silence counts from there."""
    rig = Rig(FetchLimits(silence_s=30, total_s=60), deadline=60.0)
    rig.clock.advance(600)
    assert rig.ended == []
    wait(rig.clock, 25)
    assert rig.ended == []
    wait(rig.clock, 10)

    assert isinstance(rig.error, FetchTimeout)
    assert {"url": "http://a.example/", "seconds": 30} == rig.error.fields


def test_a_processor_that_is_busy_is_no_sleep() -> None:
    """Looks that come a little late count."""
    rig = Rig(FetchLimits(silence_s=30))
    for _ in range(6):
        rig.clock.advance(6)

    assert isinstance(rig.error, FetchTimeout)


def test_a_sleep_while_the_sink_holds_back_counts_once() -> None:
    """It is excused from the total as what it is already."""
    rig = Rig(FetchLimits(silence_s=1000, total_s=60), deadline=60.0)
    rig.body.dataReceived(b"x")
    rig.clock.advance(600)
    rig.sink.first.callback(None)
    wait(rig.clock, 58)
    assert rig.ended == []
    wait(rig.clock, 70)

    assert isinstance(rig.error, FetchTimeout)
    assert {"url": "http://a.example/", "seconds": 60} == rig.error.fields


def test_what_arrives_while_the_sink_holds_back_waits_in_order() -> None:
    """The transport was paused too late for thousands of chunks: they follow one by one, without piling up calls."""
    rig = Rig(FetchLimits())
    chunks = [b"%d" % number for number in range(5000)]
    for chunk in chunks:
        rig.body.dataReceived(chunk)
    rig.finish()
    assert (rig.sink.chunks, rig.ended) == ([b"0"], [])
    rig.sink.first.callback(None)

    assert rig.sink.chunks == chunks
    assert rig.ended == [None]
    assert rig.clock.getDelayedCalls() == []


def test_a_sink_may_hold_back_again_and_again() -> None:
    """Each time the origin waits, and goes on when all that came meanwhile is taken."""
    rig = Rig(FetchLimits())
    waiting: list[Deferred[None]] = []

    def write(chunk: bytes) -> Any:
        rig.sink.chunks.append(chunk)
        waiting.append(Deferred())
        return waiting[-1]

    rig.sink.write = write  # type: ignore[method-assign]  # one that is never ready at once
    for turn in range(3):
        for number in range(3):
            rig.body.dataReceived(b"%d%d" % (turn, number))
        states = []
        for _ in range(3):
            states.append(rig.transport.producerState)
            waiting.pop(0).callback(None)
        assert (["paused"] * 3, "producing", []) == (states, rig.transport.producerState, waiting)
    rig.body.dataReceived(b"last")
    rig.finish()
    assert rig.ended == []
    waiting.pop().callback(None)
    assert rig.ended == [None]
    assert [b"%d%d" % (turn, number) for turn in range(3) for number in range(3)] + [b"last"] == rig.sink.chunks


def test_a_sink_that_fails_after_the_end_leaves_the_connection_alone() -> None:
    """It is back in the pool and somebody else's by then."""
    rig = Rig(FetchLimits())
    rig.body.dataReceived(b"x")
    rig.finish()
    rig.sink.first.errback(DiskFull(path="/x"))

    assert isinstance(rig.error, DiskFull)
    assert not rig.transport.disconnecting and not rig.transport.disconnected


@pytest.mark.parametrize("rate", [100, 1100, 1024])
def test_a_trickle_is_silence(rate: int) -> None:
    """Under a KiB per second for thirty seconds it is given up; a little more is slow, but alive."""
    rig = Rig(FetchLimits(silence_s=30))
    rig.sink.first.callback(None)
    for _ in range(120):
        if not rig.ended:
            rig.body.dataReceived(bytes(rate))
        rig.clock.advance(1)

    assert isinstance(rig.error, FetchTimeout) == (rate == 100)
    if rig.error is None:
        rig.finish()
        assert rig.ended == [None]


def test_data_after_the_end_is_ignored() -> None:
    """Data may still come after a cancel; nobody hears of it."""
    rig = Rig(FetchLimits())
    rig.body.done.cancel()
    rig.body.dataReceived(b"x")
    rig.finish()

    assert rig.sink.chunks == []
    assert rig.transport.disconnecting or rig.transport.disconnected


def test_a_silence_is_told_on_time() -> None:
    """It may take a fifteenth longer, since nobody looks all the time."""
    rig = Rig(FetchLimits(silence_s=30))
    wait(rig.clock, 29)
    assert rig.ended == []
    wait(rig.clock, 3)
    assert isinstance(rig.error, FetchTimeout)


def test_a_body_that_is_too_large_ends_its_connection() -> None:
    """With the byte that is too much; what was in time is with the sink."""
    rig = Rig(FetchLimits(max_bytes=3))
    rig.sink.first.callback(None)
    rig.body.dataReceived(b"abc")
    assert rig.ended == []
    rig.body.dataReceived(b"d")
    assert isinstance(rig.error, BodyTooLarge)
    assert {"url": "http://a.example/", "limit": 3} == rig.error.fields
    assert (rig.sink.chunks, rig.transport.disconnecting or rig.transport.disconnected) == ([b"abc"], True)
    assert rig.clock.getDelayedCalls() == []


@pytest.mark.logs_failures
def test_a_sink_that_fails_when_all_is_over_is_heard_of() -> None:
    """Nobody waits for it any more, so it stands in the log; the fetch has ended already."""
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        said.append(formatEvent(event))

    rig = Rig(FetchLimits())
    rig.body.dataReceived(b"x")
    rig.body.done.cancel()
    globalLogPublisher.addObserver(observe)
    rig.sink.first.errback(DiskFull(path="/x"))
    globalLogPublisher.removeObserver(observe)
    assert 1 == len(rig.ended)
    assert 1 == len(said) and said[0].startswith("a sink whose fetch was over failed:") and "DiskFull" in said[0]


def test_a_sink_that_holds_what_came_with_the_headers_holds_the_origin() -> None:
    """Twisted lets the connection go on after it has delivered that, whatever the sink said meanwhile."""
    rig = Rig(FetchLimits())
    rig.body.dataReceived(b"x")
    rig.transport.resumeProducing()  # as Twisted does
    rig.body.began()
    assert "paused" == rig.transport.producerState
    rig.sink.first.callback(None)
    assert "producing" == rig.transport.producerState
    rig.body.began()
    assert "producing" == rig.transport.producerState
