"""
The one door out, over real sockets: an origin that misbehaves in every way it knows, and what fetch makes of it.
"""

import gzip
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.web.client import Agent
from twisted.web.iweb import IAgent

from m3u8svc.body import Valve
from m3u8svc.connections import Connections
from m3u8svc.errors import (
    BadByteRange,
    BadResponse,
    BodyTooLarge,
    ClientStatusError,
    ConnectError,
    ConnectionRefused,
    ConnectionReset,
    DecompressionBomb,
    DnsFailed,
    FetchError,
    HeadersTimeout,
    HttpStatusError,
    InvalidUrl,
    M3u8svcError,
    ProxyUnsupported,
    RedirectError,
    ServerStatusError,
    StallTimeout,
    TlsError,
    TotalTimeout,
    Truncated,
    UnsupportedScheme,
)
from m3u8svc.fetch import Fetched, Fetcher, FetchLimits
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.tasks.addresses import NEAREST
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.testing.origin import Origin
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
BODY = random.Random(7).randbytes(300_000)
RECORD_BYTES = 1 << 14
USUAL = FetchLimits()
QUICK = FetchLimits(connect_s=0.2, headers_s=0.1, silence_s=0.3)


class Pieces:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


@attrs.define
class Rig:
    """An origin, and a fetcher with connections of its own."""

    origin: Origin
    connections: Connections
    fetcher: Fetcher
    asked: list[str] = attrs.field(factory=list)

    async def agent_for(self, request: Request) -> IAgent:
        self.asked.append(request.url)
        return self.connections.agent(request.insecure, reach=request.reach)

    def request(self, path: str = "/a.ts", **tweaks: object) -> Request:
        return Request(url=self.origin.url(path, **tweaks), purpose=Purpose.SEGMENT, reach=NEAREST)

    async def fetch(self, request: Request, limits: FetchLimits = USUAL) -> tuple[Fetched, bytes]:
        sink = Pieces()
        return await self.fetcher.fetch(request, sink, agent_for=self.agent_for, limits=limits), sink.body

    async def timed(self, request: Request, limits: FetchLimits) -> tuple[Fetched, bytes]:
        """A fetch for which a hundredth of a second is a turn of ours: when the machine stands still, so does time."""
        clock = Clock()
        self.fetcher = Fetcher(clock=clock, wall=lambda: 1_700_000_000.0)
        fetching = Deferred.fromCoroutine(self.fetch(request, limits))
        while not fetching.called:
            await deferLater(reactor, 0.01)
            clock.advance(0.01)
        return await fetching

    async def read(self, request: Request, limits: FetchLimits = USUAL) -> bytes:
        return (await self.fetcher.read(request, agent_for=self.agent_for, limits=limits))[1]


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    origin = await Origin.start(reactor)
    origin.put("/a.ts", BODY, content_type="video/mp2t", last_modified=1_700_000_000.0)
    origin.put("/a.m3u8", b"#EXTM3U\n" * 1000, content_type="application/vnd.apple.mpegurl")
    connections = Connections(reactor)
    yield Rig(origin, connections, Fetcher(clock=reactor, wall=lambda: 1_700_000_000.0))
    await connections.close()
    await origin.stop()


@asynccontextmanager
async def under_tls() -> AsyncIterator[Rig]:
    """The same over TLS."""
    origin = await Origin.start(reactor, tls=True)
    origin.put("/a.ts", BODY)
    connections = Connections(reactor)
    try:
        yield Rig(origin, connections, Fetcher(clock=reactor))
    finally:
        await connections.close()
        await origin.stop()


# -- What goes well --------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_body_arrives_whole_with_what_its_headers_say(rig: Rig) -> None:
    """Every byte is in the sink, and the answer's status, type, date and size are told."""
    fetched, body = await rig.fetch(rig.request(token="s3cret"))

    assert body == BODY
    assert fetched == Fetched(
        url=rig.origin.url("/a.ts", token="s3cret"),
        status=200,
        content_type="video/mp2t",
        modified="Tue, 14 Nov 2023 22:13:20 GMT",
        size_bytes=len(BODY),
        length_known=True,
        hops=0,
        reach=NEAREST,
    )
    assert fetched.last_modified == 1_700_000_000.0
    assert "s3cret" not in repr(fetched)


@pytest_twisted.ensureDeferred
async def test_connections_are_kept_and_used_again(rig: Rig) -> None:
    """Ten requests, errors and redirects among them, one after the other travel on one connection."""
    for _ in range(7):
        await rig.fetch(rig.request())
    with pytest.raises(HttpStatusError):
        await rig.fetch(rig.request(status=404))
    await rig.fetch(rig.request(redirect="/a.ts"))

    assert (rig.connections.opened, rig.origin.accepted, len(rig.origin.visits())) == (1, 1, 10)


@pytest.mark.parametrize("purpose", Purpose)
@pytest_twisted.ensureDeferred
async def test_a_status_says_what_it_answered(rig: Rig, purpose: Purpose) -> None:
    """A refused key, init section or playlist is told from a refused segment, also behind a redirect."""
    for tweaks in ({"status": 403}, {"redirect": "/a.ts?status=403"}):
        with pytest.raises(HttpStatusError) as caught:
            await rig.read(attrs.evolve(rig.request(**tweaks), purpose=purpose))
        assert (403, purpose is Purpose.SEGMENT) == (caught.value.status, caught.value.of_segment)


@pytest_twisted.ensureDeferred
async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_silently(rig: Rig) -> None:
    """The origin's closing between two requests is no failure: the second is sent once more, and counted (N7)."""
    await rig.fetch(rig.request())
    _, body = await rig.fetch(rig.request(reset="headers", times=1))

    assert body == BODY
    assert rig.connections.repeated == 1
    assert rig.origin.count("/a.ts") == 3


WHOLE: dict[str, dict[str, object]] = {
    "small pieces": {"chunk_size": 100_000, "chunk_delay": 0.01},
    "chunked": {"te": "chunked", "chunk_size": 1000},
    "bytewise": {"te": "chunked", "chunk_size": 1, "body": "html"},
    "late": {"delay": 0.05},
    "gzip unasked": {"encoding": "gzip"},
    "deflate unasked": {"encoding": "deflate"},
    "not gzip at all": {"encoding": "wrong"},
}


@pytest.mark.parametrize("name", WHOLE)
@pytest_twisted.ensureDeferred
async def test_harmless_oddities_still_give_the_whole_body(rig: Rig, name: str) -> None:
    """Pieces, chunks, delays and unasked or wrongly labelled compression change nothing in the bytes."""
    fetched, body = await rig.fetch(rig.request(**WHOLE[name]))

    expected = b"<!DOCTYPE" if name == "bytewise" else BODY
    assert body[: len(expected)] == expected
    assert (fetched.size_bytes, fetched.length_known) == (len(body), True)


@pytest_twisted.ensureDeferred
async def test_a_body_without_a_length_is_told_as_such(rig: Rig) -> None:
    """A body that ends with its connection may be cut: the caller learns that its length was not known (trap 3)."""
    fetched, body = await rig.fetch(rig.request(cl="none"))

    assert (body, fetched.length_known) == (BODY, False)


@pytest_twisted.ensureDeferred
async def test_an_empty_body_ends(rig: Rig) -> None:
    """Nothing to deliver is no reason to wait."""
    fetched, body = await rig.fetch(rig.request(body="empty"))

    assert (body, fetched.size_bytes) == (b"", 0)


@pytest_twisted.ensureDeferred
async def test_a_content_length_that_is_too_short_wins(rig: Rig) -> None:
    """What follows the announced bytes is not taken for anything, and the next request gets its own answer (S3)."""
    cut, body = await rig.fetch(rig.request(cl="short"))
    whole, again = await rig.fetch(rig.request())

    assert (body, again) == (BODY[:150_000], BODY)
    assert (cut.length_known, whole.length_known) == (False, True)


# -- What goes wrong -------------------------------------------------------------------------------------------------

FAILURES: dict[str, tuple[dict[str, object], FetchLimits, type[FetchError], dict[str, object]]] = {
    "status": ({"status": 404}, USUAL, ClientStatusError, {"status": 404, "retry_after_s": None}),
    "wait 7 s": ({"status": 503, "retry_after": "7"}, USUAL, ServerStatusError, {"status": 503, "retry_after_s": 7.0}),
    "no content": ({"status": 204}, USUAL, HttpStatusError, {"status": 204}),
    "closed before": ({"cut": "headers"}, USUAL, ConnectionReset, {"reason": "对方在应答之前关闭了连接"}),
    "reset before": ({"reset": "headers"}, USUAL, ConnectionReset, {"reason": "连接在应答之前中断"}),
    "cut at 0": ({"cut": 0}, USUAL, Truncated, {"expected": 300_000, "got": 0}),
    "cut at 1": ({"cut": 1}, USUAL, Truncated, {"expected": 300_000, "got": 1}),
    "cut at the last": ({"cut": 299_999}, USUAL, Truncated, {"expected": 300_000, "got": 299_999}),
    "reset": ({"reset": 1000}, USUAL, Truncated, {"expected": 300_000, "got": 1000}),
    "reset, no length": ({"reset": 1000, "cl": "none"}, USUAL, Truncated, {"expected": "?", "got": 1000}),
    "length too long": ({"cl": "long"}, USUAL, Truncated, {"expected": 301_000, "got": 300_000}),
    "chunked and cut": ({"te": "chunked", "cut": 1000}, USUAL, Truncated, {"expected": "?", "got": 1000}),
    "bad chunk": ({"te": "bad"}, USUAL, BadResponse, {"reason": "分块编码有误"}),
    "gzip and cut": ({"encoding": "gzip", "cut": 1000, "cl": "none"}, USUAL, Truncated, {"expected": "?"}),
    "unknown coding": ({"encoding": "unknown"}, USUAL, BadResponse, {"reason": "未请求的压缩方式 unknown"}),
    "bomb": ({"encoding": "bomb"}, USUAL, DecompressionBomb, {}),
    "no answer": ({"hang": "headers"}, QUICK, HeadersTimeout, {"seconds": 0.3}),
    "silence": ({"hang": "body"}, QUICK, StallTimeout, {"seconds": 0.3}),
    "trickle": ({"chunk_size": 1, "chunk_delay": 0.02}, QUICK, StallTimeout, {"seconds": 0.3}),
    "too long in all": (
        {"chunk_size": 3000, "chunk_delay": 0.02},
        FetchLimits(silence_s=0.3, total_s=0.4),
        TotalTimeout,
        {"seconds": 0.4},
    ),
    "no time for headers": ({"hang": "headers"}, FetchLimits(total_s=0.1), TotalTimeout, {"seconds": 0.1}),
    "announced too large": ({}, FetchLimits(max_bytes=299_999), BodyTooLarge, {"limit": 299_999}),
    "turns out too large": ({"te": "chunked"}, FetchLimits(max_bytes=299_999), BodyTooLarge, {"limit": 299_999}),
    "endless headers": ({"endless": "headers"}, FetchLimits(), BadResponse, {"reason": "响应头过长"}),
    "to itself": ({"redirect": ""}, USUAL, HttpStatusError, {"status": 302}),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest_twisted.ensureDeferred
async def test_misbehaviour_becomes_its_own_error(rig: Rig, name: str) -> None:
    """Each kind of failure has its class and says what was seen; the text never holds the query."""
    tweaks, limits, kind, fields = FAILURES[name]

    with pytest.raises(FetchError) as caught:
        await rig.timed(rig.request(**tweaks, token="s3cret"), limits)

    assert type(caught.value) is kind
    assert {name: caught.value.fields[name] for name in fields} == fields
    assert "s3cret" not in caught.value.text("zh") + caught.value.text("en") + repr(caught.value)


@pytest_twisted.ensureDeferred
async def test_the_next_request_after_any_failure_succeeds(rig: Rig) -> None:
    """No failure spoils the pool: a good request on the same connections gets the whole body."""
    for tweaks, limits, _, _ in FAILURES.values():
        if limits is USUAL:
            with pytest.raises(FetchError):
                await rig.fetch(rig.request(**tweaks), limits)
            assert (await rig.fetch(rig.request()))[1] == BODY


@pytest_twisted.ensureDeferred
async def test_nobody_listens() -> None:
    """A refused connection is told from other failures to connect, and may be retried."""
    origin = await Origin.start(reactor)
    await origin.stop()
    connections = Connections(reactor)
    rig = Rig(origin, connections, Fetcher(clock=reactor))

    with pytest.raises(ConnectionRefused) as caught:
        await rig.fetch(rig.request())

    assert (caught.value.fields["reason"], caught.value.retriable) == ("连接被拒绝", True)


@pytest.mark.parametrize("url", ["http://nowhere.invalid/", "http://-a.invalid/", "https://a-/"])
@pytest_twisted.ensureDeferred
async def test_a_host_that_does_not_exist(rig: Rig, url: str) -> None:
    """A name without an address is told as that, even one that cannot be asked for."""
    with pytest.raises(DnsFailed) as caught:
        await rig.fetch(Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST))

    assert caught.value.fields["reason"] == "域名无法解析"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("ftp://a.example/x", UnsupportedScheme),
        ("file:///etc/passwd", UnsupportedScheme),
        ("http:///x", InvalidUrl),
        (f"http://{'a' * 64}.example/x", InvalidUrl),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_requested_is_refused_before_any_agent_is_asked(
    rig: Rig, url: str, kind: type[M3u8svcError]
) -> None:
    """Only http and https with a host get as far as an agent."""
    with pytest.raises(kind):
        await rig.fetch(Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST))

    assert rig.asked == []


@pytest_twisted.ensureDeferred
async def test_an_agent_that_is_refused_ends_the_fetch(rig: Rig) -> None:
    """What provide_agent raises on purpose passes unchanged, and nothing is sent."""

    async def refuse(request: Request) -> IAgent:
        raise ProxyUnsupported(proxy_type="socks5", reason="")

    with pytest.raises(ProxyUnsupported):
        await rig.fetcher.fetch(rig.request(), Pieces(), agent_for=refuse, limits=QUICK)

    assert rig.origin.accepted == 0


@pytest_twisted.ensureDeferred
async def test_an_agent_that_breaks_is_a_fetch_error(rig: Rig) -> None:
    """An exception that nobody knows does not escape as itself."""

    class Broken:
        def request(self, *arguments: object) -> "Deferred[None]":
            raise RuntimeError("boom")

    async def broken(request: Request) -> Any:
        return Broken()

    with pytest.raises(FetchError) as caught:
        await rig.fetcher.fetch(rig.request(), Pieces(), agent_for=broken, limits=QUICK)

    assert caught.value.fields["reason"] == "RuntimeError: boom"


# -- Cancelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tweaks", [{"hang": "headers"}, {"hang": "body"}, {"chunk_size": 1000, "chunk_delay": 0.02}])
@pytest_twisted.ensureDeferred
async def test_a_cancel_is_felt_by_the_origin(rig: Rig, tweaks: dict[str, object]) -> None:
    """Cancelled while waiting for headers or in the body: CancelledError here, the connection gone there, at once.

    It was a kept connection, but the request is not sent again.
    """
    await rig.fetch(rig.request())
    fetching = Deferred.fromCoroutine(rig.fetch(rig.request(**tweaks)))
    await until(lambda: rig.origin.count("/a.ts") == 2)
    await deferLater(reactor, 0.05)

    fetching.cancel()

    with pytest.raises(CancelledError):
        await fetching
    await until(lambda: [visit.aborted for visit in rig.origin.visits()] == [False, True])
    assert rig.origin.open == 0


@pytest_twisted.ensureDeferred
async def test_a_cancel_is_felt_through_an_agent_of_somebody_else(rig: Rig) -> None:
    """A plugin's agent without our connections is closed just as well."""

    async def plain(request: Request) -> IAgent:
        return Agent(reactor)

    fetching = Deferred.fromCoroutine(
        rig.fetcher.fetch(rig.request(hang="body"), Pieces(), agent_for=plain, limits=FetchLimits())
    )
    await until(lambda: rig.origin.count("/a.ts") == 1)
    await deferLater(reactor, 0.05)
    fetching.cancel()

    with pytest.raises(CancelledError):
        await fetching
    await until(lambda: rig.origin.open == 0)


@pytest_twisted.ensureDeferred
async def test_a_cancel_is_felt_under_tls() -> None:
    """No waiting for the other side's close_notify."""
    origin = await Origin.start(reactor, tls=True)
    origin.put("/a.ts", BODY)
    rig = Rig(origin, Connections(reactor), Fetcher(clock=reactor))
    fetching = Deferred.fromCoroutine(rig.fetch(attrs.evolve(rig.request(hang="body"), insecure=True)))
    await until(lambda: origin.count("/a.ts") == 1)
    await deferLater(reactor, 0.05)
    fetching.cancel()

    with pytest.raises(CancelledError):
        await fetching
    await until(lambda: [visit.aborted for visit in origin.visits()] == [True])
    await origin.stop()


@pytest_twisted.ensureDeferred
async def test_records_of_one_read_arrive_together() -> None:
    """A record of TLS has 16 KiB at most; delivering each by itself is dear."""
    async with under_tls() as rig:
        rig.origin.put("/big.ts", BODY * 10)
        sink = Pieces()
        request = attrs.evolve(rig.request("/big.ts"), insecure=True)
        await rig.fetcher.fetch(request, sink, agent_for=rig.agent_for, limits=USUAL)
        assert BODY * 10 == sink.body
        assert max(map(len, sink.chunks)) > 2 * RECORD_BYTES


@pytest.mark.parametrize("end", ["cut", "reset"])
@pytest_twisted.ensureDeferred
async def test_what_came_before_a_cut_under_tls(end: str) -> None:
    """All of it reaches the sink, and is counted, before the end is told."""
    async with under_tls() as rig:
        sink = Pieces()
        request = attrs.evolve(rig.request(**{end: 200_000}), insecure=True)
        with pytest.raises(Truncated) as caught:
            await rig.fetcher.fetch(request, sink, agent_for=rig.agent_for, limits=USUAL)
        assert len(sink.body) == caught.value.fields["got"]
        assert BODY[: len(sink.body)] == sink.body
        assert end == "reset" or len(sink.body) == 200_000  # a reset takes what is still under way


@pytest_twisted.ensureDeferred
async def test_a_sink_that_fails_in_the_middle_of_a_read_under_tls() -> None:
    """The rest of the read goes nowhere, and the next request has a connection of its own."""

    class Full(Pieces):
        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            raise ConnectError(url="", reason="full")

    async with under_tls() as rig:
        sink = Full()
        request = attrs.evolve(rig.request(te="chunked", chunk_size=1000), insecure=True)
        with pytest.raises(ConnectError):
            await rig.fetcher.fetch(request, sink, agent_for=rig.agent_for, limits=USUAL)
        assert 1 == len(sink.chunks)
        assert BODY == await rig.read(request)
        assert 2 == rig.connections.opened


@pytest_twisted.ensureDeferred
async def test_a_timeout_is_felt_by_the_origin(rig: Rig) -> None:
    """Giving up on a silent body closes its connection, too."""
    with pytest.raises(StallTimeout):
        await rig.timed(rig.request(hang="body"), QUICK)

    await until(lambda: rig.origin.open == 0)


# -- The sink --------------------------------------------------------------------------------------------------------


class SlowSink:
    """Takes one chunk, and no more until it is let go."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.waiting: Deferred[None] | None = None
        self.overlapped = False

    def write(self, chunk: bytes) -> Deferred[None]:
        self.overlapped |= self.waiting is not None
        self.chunks.append(chunk)
        self.waiting = Deferred()
        return self.waiting

    def let_go(self) -> None:
        assert self.waiting is not None
        waiting, self.waiting = self.waiting, None
        waiting.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_slow_sink_holds_the_origin_back(rig: Rig) -> None:
    """While the sink is busy nothing is written and the origin cannot send on; afterwards every byte arrives in order.

    The silence timer does not count that time.
    """
    size = 32 * 1024 * 1024
    rig.origin.put("/big.ts", bytes(range(256)) * (size // 256))
    sink, clock = SlowSink(), Clock()
    fetching = Deferred.fromCoroutine(
        Fetcher(clock=clock).fetch(rig.request("/big.ts"), sink, agent_for=rig.agent_for, limits=QUICK)
    )
    await until(lambda: sink.waiting is not None)
    await deferLater(reactor, 0.5)
    clock.pump([0.1] * 5)

    assert rig.origin.visits()[0].sent_bytes < size // 2
    assert len(sink.chunks) == 1
    while not fetching.called:
        if sink.waiting is not None:
            sink.let_go()
        await deferLater(reactor, 0)
    fetched = await fetching
    assert (fetched.size_bytes, sink.overlapped) == (size, False)
    assert b"".join(sink.chunks) == bytes(range(256)) * (size // 256)


@pytest_twisted.ensureDeferred
async def test_many_small_chunks_with_a_sink_that_is_always_ready(rig: Rig) -> None:
    """A Deferred that has fired already holds nothing back, thousands of times in one read."""

    class Ready(Pieces):
        def write(self, chunk: bytes) -> Any:
            super().write(chunk)
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

    sink = Ready()
    await rig.fetcher.fetch(
        rig.request(body="junk", te="chunked", chunk_size=1), sink, agent_for=rig.agent_for, limits=FetchLimits()
    )

    assert sink.body == bytes(range(256)) * 64


@pytest.mark.parametrize("late", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_sink_that_fails_ends_the_fetch_with_its_own_error(rig: Rig, late: bool) -> None:
    """What a sink raises, now or later, is what the caller gets; the origin is left at once."""

    class Full:
        def write(self, chunk: bytes) -> "Deferred[None] | None":
            if not late:
                raise OSError("no space left")
            return deferLater(reactor, 0.01, lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError if late else OSError):
        await rig.fetcher.fetch(
            rig.request(chunk_size=1000, chunk_delay=0.01), Full(), agent_for=rig.agent_for, limits=FetchLimits()
        )

    await until(lambda: [visit.aborted for visit in rig.origin.visits()] == [True])


# -- Byte ranges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length", "tweaks"),
    [
        (0, 1, {}),
        (1000, 5000, {}),
        (299_999, 1, {}),
        (0, 300_000, {}),
        (0, 1000, {"range": "ignore"}),
        (100_001, 99_999, {"range": "ignore"}),
        (100_001, 199_999, {"range": "ignore"}),
        (100_001, 99_999, {"range": "ignore", "te": "chunked", "chunk_size": 777}),
        (100_001, 199_999, {"range": "ignore", "cl": "none"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_byte_range_is_exactly_that(rig: Rig, offset: int, length: int, tweaks: dict[str, object]) -> None:
    """The bytes asked for arrive, from a 206 and cut out of a 200 alike (S9)."""
    wanted = ByteRange(offset_bytes=offset, length_bytes=length)
    _, body = await rig.fetch(attrs.evolve(rig.request(**tweaks), byterange=wanted))

    assert body == BODY[offset : offset + length]
    assert rig.origin.visits()[0].range == f"bytes={offset}-{offset + length - 1}"


@pytest_twisted.ensureDeferred
async def test_a_range_in_the_middle_of_an_ignored_range_does_not_load_the_rest(rig: Rig) -> None:
    """Once the wanted bytes are there, the origin is told to stop."""
    rig.origin.put("/big.ts", bytes(64 * 1024 * 1024))
    wanted = ByteRange(offset_bytes=100, length_bytes=100)
    await rig.fetch(attrs.evolve(rig.request("/big.ts", range="ignore"), byterange=wanted))

    await until(lambda: rig.origin.visits()[0].aborted)
    assert rig.origin.visits()[0].sent_bytes < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("offset", "length", "tweaks", "kind"),
    [
        (1000, 5000, {"range": "wrong"}, BadByteRange),
        (299_000, 2000, {}, BadByteRange),
        (299_000, 2000, {"range": "ignore"}, BadByteRange),
        (299_000, 2000, {"range": "ignore", "cl": "none"}, Truncated),
        (300_000, 1, {}, ClientStatusError),
        (1000, 5000, {"encoding": "gzip"}, BadByteRange),
        (1000, 5000, {"cut": 100}, Truncated),
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_bytes_than_asked_for_are_refused(
    rig: Rig, offset: int, length: int, tweaks: dict[str, object], kind: type[FetchError]
) -> None:
    """A shifted, short, compressed or missing range is an error, never a shifted file."""
    wanted = ByteRange(offset_bytes=offset, length_bytes=length)

    with pytest.raises(FetchError) as caught:
        await rig.fetch(attrs.evolve(rig.request(**tweaks), byterange=wanted))

    assert type(caught.value) is kind


# -- Reading ---------------------------------------------------------------------------------------------------------

PLAYLIST = b"#EXTM3U\n" * 1000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "unlabelled", "wrong"])
@pytest_twisted.ensureDeferred
async def test_playlists_are_asked_for_and_read_compressed(rig: Rig, encoding: str) -> None:
    """A playlist is the same whether it was compressed, said so or lied about it; gzip is asked for."""
    request = attrs.evolve(rig.request("/a.m3u8", encoding=encoding), purpose=Purpose.PLAYLIST)

    assert await rig.read(request) == PLAYLIST
    assert rig.origin.visits()[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("purpose", [Purpose.SEGMENT, Purpose.KEY, Purpose.INIT])
@pytest_twisted.ensureDeferred
async def test_anything_else_is_asked_for_as_it_is(rig: Rig, purpose: Purpose) -> None:
    """Segments, keys and init sections ask identity; bytes that begin like gzip by chance stay as they are."""
    rig.origin.put("/key", b"\x1f\x8b" + bytes(14))
    request = attrs.evolve(rig.request("/key"), purpose=purpose)

    assert await rig.read(request) == b"\x1f\x8b" + bytes(14)
    assert rig.origin.visits()[0].headers["accept-encoding"] == "identity"


@pytest_twisted.ensureDeferred
async def test_a_playlist_that_explodes_is_refused_early(rig: Rig) -> None:
    """Megabytes of zeros in a few KiB never become megabytes here (trap 5)."""
    with pytest.raises(DecompressionBomb):
        await rig.read(attrs.evolve(rig.request(encoding="bomb"), purpose=Purpose.PLAYLIST))


@pytest_twisted.ensureDeferred
async def test_the_cap_counts_decoded_bytes(rig: Rig) -> None:
    """A small compressed playlist over the limit once decoded is too large."""
    request = attrs.evolve(rig.request("/a.m3u8", encoding="gzip"), purpose=Purpose.PLAYLIST)

    with pytest.raises(BodyTooLarge):
        await rig.read(request, FetchLimits(max_bytes=7999))
    assert await rig.read(request, FetchLimits(max_bytes=8000)) == PLAYLIST


@pytest_twisted.ensureDeferred
async def test_gzip_in_several_members_with_padding(rig: Rig) -> None:
    """What gunzip reads, we read."""
    rig.origin.put("/b.m3u8", gzip.compress(b"#EXTM3U\n") + gzip.compress(b"#EXT-X-ENDLIST\n") + bytes(10))

    body = await rig.read(attrs.evolve(rig.request("/b.m3u8"), purpose=Purpose.PLAYLIST))

    assert body == b"#EXTM3U\n#EXT-X-ENDLIST\n"


@pytest_twisted.ensureDeferred
async def test_damaged_gzip_is_a_bad_response(rig: Rig) -> None:
    """Bytes that stop being gzip in the middle are not passed on as text."""
    good = gzip.compress(BODY[:5000])
    rig.origin.put("/c.m3u8", good[:2000] + b"\xff" * 500 + good[2500:])

    with pytest.raises(BadResponse) as caught:
        await rig.read(attrs.evolve(rig.request("/c.m3u8"), purpose=Purpose.PLAYLIST))

    assert isinstance(caught.value.__cause__, zlib.error)


# -- Redirects -------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_relative_second_hop_stays_with_the_second_host(rig: Rig) -> None:
    """`Location: next` from B leads to B, not back to A (trap 2); each hop asks for its agent; the last URL is told."""
    other = await Origin.start(reactor)
    other.put("/dir/next", b"here", content_type="text/plain")
    first = rig.request(redirect=other.url("/dir/start", redirect="next"))

    fetched, body = await rig.fetch(first)
    await other.stop()

    assert (body, fetched.url, fetched.hops) == (b"here", other.url("/dir/next"), 2)
    assert rig.asked == [first.url, other.url("/dir/start", redirect="next"), other.url("/dir/next")]


@pytest_twisted.ensureDeferred
async def test_credentials_are_dropped_at_another_origin_for_good(rig: Rig) -> None:
    """A secret header does not go to another port, and is not restored when the way leads back; others go along."""
    other = await Origin.start(reactor)
    back = rig.origin.url("/a.ts", back=1)
    request = attrs.evolve(
        rig.request(redirect=rig.origin.url("/a.ts", redirect=other.url("/x", redirect=back))),
        headers=(("X-Token", "t"), ("Cookie", "c=d"), ("X-Plain", "p")),
    )

    await rig.fetch(request)
    away = other.visits()[0].headers
    await other.stop()

    here, same, home = (visit.headers for visit in rig.origin.visits())
    assert (here["x-token"], same["x-token"], same["cookie"]) == ("t", "t", "c=d")
    assert {"x-token", "cookie"}.isdisjoint(away.keys() | home.keys())
    assert away["x-plain"] == home["x-plain"] == "p"


@pytest_twisted.ensureDeferred
async def test_userinfo_becomes_an_authorization_header(rig: Rig) -> None:
    """user:password@ is never part of the request line; it follows redirects at home only."""
    url = rig.origin.url("/a.ts", redirect="/a.ts").replace("http://", "http://me:p%40ss@")

    fetched, _ = await rig.fetch(Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST))

    assert [visit.headers["authorization"] for visit in rig.origin.visits()] == ["Basic bWU6cEBzcw=="] * 2
    assert fetched.url == rig.origin.url("/a.ts")


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "不支持的链接类型“file”：file:///etc/passwd"),
        ("ftp://a.example/", "不支持的链接类型“ftp”：ftp://a.example/"),
        ("http://user:pw@a.example/", "目标链接带有用户名"),
        ("http://a.example:99999/", None),
        ("http://a.example:0/", "链接无效（端口为 0）：http://a.example:0/"),
        ("http:\\\\a.example\\", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_redirects_that_may_not_be_followed(rig: Rig, location: str, reason: str | None) -> None:
    """Other schemes, userinfo and broken targets end the fetch; nothing is sent to them."""
    with pytest.raises(RedirectError) as caught:
        await rig.fetch(rig.request(redirect=location))

    assert reason is None or caught.value.fields["reason"] == reason
    assert len(rig.asked) == 1
    assert not caught.value.retriable


@pytest_twisted.ensureDeferred
async def test_a_redirect_loop_is_seen_at_once(rig: Rig) -> None:
    """Coming back to a URL that was asked already ends it."""
    with pytest.raises(RedirectError) as caught:
        await rig.fetch(rig.request(redirect="#again"))

    assert caught.value.fields["reason"] == "循环重定向"


@pytest.mark.parametrize("hops", [3, 4])
@pytest_twisted.ensureDeferred
async def test_redirects_are_counted(rig: Rig, hops: int) -> None:
    """As many hops as the limit are followed, one more is not."""
    url = rig.origin.url("/a.ts")
    for _ in range(hops):
        url = rig.origin.url("/a.ts", redirect=url)
    request = Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST)

    if hops == 3:
        assert (await rig.fetch(request, FetchLimits(redirects=3)))[0].hops == 3
    else:
        with pytest.raises(RedirectError) as caught:
            await rig.fetch(request, FetchLimits(redirects=3))
        assert caught.value.fields["reason"] == "超过 3 次"


@pytest_twisted.ensureDeferred
async def test_cookies_do_not_persist(rig: Rig) -> None:
    """No cookie that we did not set ourselves is ever sent."""
    await rig.fetch(rig.request())
    await rig.fetch(rig.request())

    assert not any("cookie" in visit.headers for visit in rig.origin.visits())


# -- URLs on the wire ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    ["a=%2B%2F%2f&b=x+y", "sig=a//b;c~d==", "a=%zz&%", "q={a}|b^`'", "a=1&a=2&&=", "/?:@!$'()*,"],
)
@pytest_twisted.ensureDeferred
async def test_a_signed_query_reaches_the_origin_unchanged(rig: Rig, query: str) -> None:
    """A signature covers exact bytes: nothing that HTTP can carry is re-encoded (T11)."""
    await rig.fetch(Request(url=rig.origin.url("/a.ts") + f"?{query}#fragment", purpose=Purpose.SEGMENT, reach=NEAREST))

    assert rig.origin.visits()[0].query == query


@pytest_twisted.ensureDeferred
async def test_what_http_cannot_carry_is_escaped(rig: Rig) -> None:
    """Spaces and letters beyond ASCII are percent-encoded as UTF-8."""
    rig.origin.put("/视频 1.ts", b"x")
    await rig.fetch(Request(url=rig.origin.base + "/视频 1.ts?名=值 1", purpose=Purpose.SEGMENT, reach=NEAREST))

    visit = rig.origin.visits()[0]
    assert (visit.path, visit.query, visit.status) == ("/视频 1.ts", "%E5%90%8D=%E5%80%BC%201", 200)


# -- Addresses and TLS -----------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_ipv6_literal_works() -> None:
    """http://[::1]:port/ is requested with brackets in Host (trap 12)."""
    origin = await Origin.start(reactor, interface="::1")
    origin.put("/a.ts", BODY)
    rig = Rig(origin, Connections(reactor), Fetcher(clock=reactor))

    _, body = await rig.fetch(rig.request())
    await rig.connections.close()
    await origin.stop()

    assert body == BODY
    assert origin.visits()[0].headers["host"] == f"[::1]:{origin.port}"


@pytest_twisted.ensureDeferred
async def test_a_self_signed_origin_is_refused_and_accepted_when_told_to() -> None:
    """An untrusted certificate is a TlsError that is not retried; insecure requests go through, apart from the rest."""
    origin = await Origin.start(reactor, tls=True)
    origin.put("/a.ts", BODY)
    rig = Rig(origin, Connections(reactor), Fetcher(clock=reactor))

    with pytest.raises(TlsError) as caught:
        await rig.fetch(rig.request())
    _, body = await rig.fetch(attrs.evolve(rig.request(), insecure=True))
    with pytest.raises(TlsError):
        await rig.fetch(rig.request())
    await rig.connections.close()
    await origin.stop()

    assert not caught.value.retriable
    assert body == BODY
    assert len(origin.visits()) == 1


@pytest_twisted.ensureDeferred
async def test_a_trusted_certificate_for_another_name_is_refused() -> None:
    """Trust in the issuer is not enough: the name must be the one in the URL."""
    origin = await Origin.start(reactor, tls=True, interface="127.0.0.2")
    origin.put("/a.ts", b"x")
    rig = Rig(origin, Connections(reactor, trust_root=origin.trust_root), Fetcher(clock=reactor))

    with pytest.raises(TlsError):
        await rig.fetch(rig.request())
    await origin.stop()

    assert origin.visits() == []


@pytest_twisted.ensureDeferred
async def test_no_tls_at_all_is_a_connect_error(rig: Rig) -> None:
    """An http origin asked for https fails as a connection, not as a matter of trust."""
    with pytest.raises(ConnectError) as caught:
        await rig.fetch(
            Request(url=rig.origin.url("/a.ts").replace("http:", "https:"), purpose=Purpose.SEGMENT, reach=NEAREST)
        )

    assert (caught.value.code, caught.value.fields["reason"]) == ("connect_failed", "TLS 握手失败")


@pytest.mark.parametrize("tweaks", [{"reset": 1000}, {"reset": 1000, "cl": "none"}, {"cut": 1000}])
@pytest_twisted.ensureDeferred
async def test_a_body_cut_under_tls_is_truncated(tweaks: dict[str, object]) -> None:
    """Under TLS an end without close_notify is a cut, even where no length was announced (N5)."""
    origin = await Origin.start(reactor, tls=True)
    origin.put("/a.ts", BODY)
    rig = Rig(origin, Connections(reactor, trust_root=origin.trust_root), Fetcher(clock=reactor))

    with pytest.raises(Truncated):
        await rig.fetch(rig.request(**tweaks))
    await rig.connections.close()
    await origin.stop()


@pytest_twisted.ensureDeferred
async def test_a_key_stays_under_tls(rig: Rig) -> None:
    """A redirect takes a segment from https to http, a key never: whoever reads along could read the stream."""
    secure = await Origin.start(reactor, tls=True)
    connections = Connections(reactor, trust_root=secure.trust_root)
    leading = Rig(secure, connections, rig.fetcher)
    request = leading.request("/r", redirect=rig.origin.url("/a.ts"))
    assert BODY == (await leading.fetch(request))[1]

    with pytest.raises(RedirectError):
        await leading.fetch(attrs.evolve(request, purpose=Purpose.KEY))
    assert BODY == (await rig.fetch(attrs.evolve(rig.request(), purpose=Purpose.KEY)))[1]
    await connections.close()
    await secure.stop()

    assert 2 == len(rig.origin.visits())


# -- Under a limit of rate -------------------------------------------------------------------------------------------


class Told:
    """A share that holds a body from its beginning, and remembers what it is told."""

    def __init__(self, read_bytes: int, *, holds: bool = True) -> None:
        self.read_bytes = read_bytes
        self._holds = holds
        self.arrivals: list[int] = []
        self.valve: Valve | None = None
        self.ends = 0

    def begin(self, valve: Valve) -> None:
        self.valve = valve
        if self._holds:
            valve.hold()

    def arrived(self, size_bytes: int) -> None:
        self.arrivals.append(size_bytes)

    def end(self) -> None:
        self.ends += 1


@pytest_twisted.ensureDeferred
async def test_a_body_is_held_and_read_in_shares(rig: Rig) -> None:
    """Held at once, but for what came with the headers; then no read is larger than its share is by now."""
    body = bytes(range(256)) * 8192
    rig.origin.put("/long.ts", body)
    share, sink = Told(1 << 20), Pieces()
    fetching = Deferred.fromCoroutine(
        rig.fetcher.fetch(rig.request("/long.ts"), sink, agent_for=rig.agent_for, limits=USUAL, share=share)
    )
    await until(lambda: share.valve is not None)
    held = len(share.arrivals)
    await deferLater(reactor, 0.3)
    assert held == len(share.arrivals) <= 1
    assert len(sink.body) == sum(share.arrivals) < len(body)
    assert share.valve is not None
    share.read_bytes = 10_000
    share.valve.release()
    fetched = await fetching
    assert (len(body), body) == (fetched.size_bytes, sink.body)
    assert max(share.arrivals[held:]) <= 10_000
    assert share.ends


@pytest_twisted.ensureDeferred
async def test_a_share_ends_with_a_body_that_fails(rig: Rig) -> None:
    """Cut in the middle, it holds nobody else back any more; until then it was read in shares from the first."""
    rig.origin.put("/long.ts", bytes(2_000_000))
    share = Told(1000, holds=False)
    fetching = Deferred.fromCoroutine(
        rig.fetcher.fetch(
            rig.request("/long.ts", cut=1_000_000), Pieces(), agent_for=rig.agent_for, limits=USUAL, share=share
        )
    )
    with pytest.raises(Truncated):
        await fetching
    assert share.ends
    assert max(share.arrivals[1:]) <= 1000
