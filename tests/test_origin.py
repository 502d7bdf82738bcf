"""
The misbehaving origin: what each tweak puts on the wire, seen by a client that reads raw bytes, and what is journalled.
"""

import gzip
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from m3u8svc.testing.journal import Visit
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.tweaks import TweakError, Tweaks
from m3u8svc.testing.weather import PASSING_FAULTS, Weather
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
BODY = bytes(range(200)) * 5


class Wire(Protocol):
    """A client that sends text and keeps every byte of the answer."""

    def __init__(self) -> None:
        self.received = b""
        self.closed: Deferred[None] = Deferred()
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self.closed.callback(None)

    @property
    def head(self) -> str:
        return self.received.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]


@pytest_twisted.async_yield_fixture
async def origin() -> AsyncIterator[Origin]:
    origin = await Origin.start(reactor)
    origin.wall = lambda: 1_700_000_000.0
    origin.put("/a.ts", BODY, content_type="video/mp2t", last_modified=1_700_000_000.0)
    origin.put("/b.ts", b"another", content_type="video/mp2t")
    yield origin
    await origin.stop()


async def connect(origin: Origin) -> Wire:
    return await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", origin.port), Wire())


async def timed(origin: Origin, target: str) -> tuple[Wire, float]:
    """An answer, and how many seconds of the origin's clock it took."""
    origin.clock = clock = Clock()
    getting = Deferred.fromCoroutine(get(origin, target))
    while not getting.called:
        await until(lambda: getting.called or clock.getDelayedCalls())
        if waiting := clock.getDelayedCalls():
            clock.advance(min(call.getTime() for call in waiting) - clock.seconds())
    return await getting, clock.seconds()


async def get(origin: Origin, target: str, *headers: str, method: str = "GET") -> Wire:
    """One request with `Connection: close`; the whole answer."""
    wire = await connect(origin)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    wire.transport.write("\r\n".join(lines).encode())  # type: ignore[union-attr]  # connected
    await wire.closed.addTimeout(5, reactor)
    return wire


@pytest_twisted.ensureDeferred
async def test_without_tweaks_it_is_a_well_behaved_origin(origin: Origin) -> None:
    """Status, type, date, length and body are right; foreign names in the query change nothing."""
    wire = await get(origin, "/a.ts?token=abc&expires=1")

    assert wire.head.split("\r\n") == [
        "HTTP/1.1 200 OK",
        "Content-Type: video/mp2t",
        "Accept-Ranges: bytes",
        "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT",
        "Content-Length: 1000",
        "Connection: close",
    ]
    assert wire.body == BODY


@pytest.mark.parametrize(
    ("query", "status", "header", "body"),
    [
        ("status=503&retry_after=7", "503 Service Unavailable", "Retry-After: 7", b"503 Service Unavailable\n"),
        ("redirect=/b", "302 Found", "Location: /b", None),
        ("redirect=/b&status=307", "307 Temporary Redirect", "Location: /b", None),
        ("cl=long", "200 OK", "Content-Length: 2000", BODY),
        ("cl=short", "200 OK", "Content-Length: 500", BODY),
        ("cut=10", "200 OK", "Content-Length: 1000", BODY[:10]),
        ("cut=0", "200 OK", "Content-Length: 1000", b""),
        ("te=chunked&chunk_size=600", "200 OK", "Transfer-Encoding: chunked", None),
        ("encoding=gzip", "200 OK", "Content-Encoding: gzip", gzip.compress(BODY, mtime=0)),
        ("encoding=unlabelled", "200 OK", "Content-Type: video/mp2t", gzip.compress(BODY, mtime=0)),
        ("encoding=wrong", "200 OK", "Content-Encoding: gzip", BODY),
        ("body=empty", "200 OK", "Content-Length: 0", b""),
        ("body=html", "200 OK", "Content-Type: text/html", None),
        ("body=junk", "200 OK", "Content-Length: 16384", bytes(range(256)) * 64),
        ("body=json", "200 OK", "Content-Type: application/json", b'{"error": "try again later"}\n'),
        ("body=/b.ts", "200 OK", "Content-Type: video/mp2t", b"another"),
        ("body=/none", "404 Not Found", "Content-Type: text/plain", None),
        ("status=200", "200 OK", "Content-Length: 1000", BODY),
        ("status=429&retry_after=soon", "429 Too Many Requests", "Retry-After: soon", None),
        ("status=429&retry_after=date:7", "429 Too Many Requests", "Retry-After: Tue, 14 Nov 2023 22:13:27 GMT", None),
        ("status=429&retry_after=date:-7", "429 Too Many Requests", "Retry-After: Tue, 14 Nov 2023 22:13:13 GMT", None),
        ("etag=v1", "200 OK", 'ETag: "v1"', BODY),
        ("encoding=br", "200 OK", "Content-Encoding: br", BODY),
        (
            "encoding=double",
            "200 OK",
            "Content-Encoding: gzip, gzip",
            gzip.compress(gzip.compress(BODY, mtime=0), mtime=0),
        ),
        ("token_ttl=5", "403 Forbidden", "Content-Type: text/plain", None),
        ("token_ttl=5&token=x&token_status=410", "410 Gone", "Content-Type: text/plain", None),
        ("status=204", "204 No Content", "Content-Type: text/plain", b""),
        ("cut=x", "400 Bad Request", "Content-Length: 29", b"cut='x' is not a whole number"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_tweak_is_seen_on_the_wire(
    origin: Origin, query: str, status: str, header: str, body: bytes | None
) -> None:
    """Each tweak does to the answer what its line in the table says."""
    wire = await get(origin, f"/a.ts?{query}")

    assert wire.head.split("\r\n")[0] == f"HTTP/1.1 {status}"
    assert header in wire.head.split("\r\n")
    assert body is None or wire.body == body


@pytest.mark.parametrize(
    ("query", "wanted", "status", "content_range", "body"),
    [
        ("", "bytes=10-19", 206, "bytes 10-19/1000", BODY[10:20]),
        ("", "bytes=990-", 206, "bytes 990-999/1000", BODY[990:]),
        ("", "bytes=-10", 206, "bytes 990-999/1000", BODY[990:]),
        ("", "bytes=990-5000", 206, "bytes 990-999/1000", BODY[990:]),
        ("", "bytes=1000-", 416, "bytes */1000", None),
        ("", "bytes=0-1,5-6", 200, None, BODY),
        ("?range=ignore", "bytes=10-19", 200, None, BODY),
        ("?range=wrong", "bytes=10-19", 206, "bytes 11-20/1000", BODY[11:21]),
        ("?range=end", "bytes=10-19", 206, "bytes 10-18/1000", BODY[10:19]),
        ("?range=total", "bytes=10-19", 206, "bytes 10-19/19", BODY[10:20]),
        ("?range=star", "bytes=10-19", 206, "bytes 10-19/*", BODY[10:20]),
        ("?range=416", "bytes=10-19", 416, "bytes */1000", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ranges(
    origin: Origin, query: str, wanted: str, status: int, content_range: str | None, body: bytes | None
) -> None:
    """Single ranges are served as RFC 9110 says; the tweaks ignore them or shift them."""
    wire = await get(origin, f"/a.ts{query}", f"Range: {wanted}")

    shown = [line for line in wire.head.split("\r\n") if line.startswith("Content-Range")]
    assert wire.head.startswith(f"HTTP/1.1 {status} ")
    assert shown == ([f"Content-Range: {content_range}"] if content_range else [])
    assert body is None or wire.body == body
    assert origin.visits("/a.ts")[0].range == wanted


@pytest_twisted.ensureDeferred
async def test_chunks_are_framed(origin: Origin) -> None:
    """te=chunked is correct framing in pieces of the size asked for; te=bad breaks off with a line that is no size."""
    good = await get(origin, "/a.ts?te=chunked&chunk_size=600")
    bad = await get(origin, "/a.ts?te=bad")

    assert good.body == b"258\r\n" + BODY[:600] + b"\r\n190\r\n" + BODY[600:] + b"\r\n0\r\n\r\n"
    assert bad.body == b"1f4\r\n" + BODY[:500] + b"\r\nthis is no chunk size\r\n"


@pytest.mark.parametrize(
    ("query", "kind", "received"),
    [
        ("cut=headers", ConnectionDone, False),
        ("cut=5", ConnectionDone, True),
        ("cut=headers%2B9", ConnectionDone, False),
        ("reset=headers", ConnectionLost, False),
        ("reset=headers%2B9", ConnectionLost, False),
        ("reset=5", ConnectionLost, True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_cut_is_an_orderly_end_and_reset_is_not(
    origin: Origin, query: str, kind: type[Exception], received: bool
) -> None:
    """A cut is a FIN, a reset a RST; what came before either arrives; neither counts as the client's leaving."""
    wire = await get(origin, f"/a.ts?{query}")

    assert wire.reason is not None and wire.reason.check(kind)
    assert wire.body == (BODY[:5] if received else b"")
    assert received or wire.received == (b"HTTP/1.1 " if "%2B" in query else b"")
    assert [(visit.finished, visit.aborted) for visit in origin.visits()] == [(False, False)]


@pytest_twisted.ensureDeferred
async def test_times_counts_each_url_by_itself(origin: Origin) -> None:
    """The first N requests of one URL are misbehaved to, then none; another query is another URL."""
    heads = [(await get(origin, f"/a.ts?status=503&times=2&n={n}")).head[9:12] for n in (1, 1, 2, 1, 1, 2)]

    assert heads == ["503", "503", "503", "200", "200", "503"]


@pytest.mark.parametrize(
    ("query", "answers"),
    [
        ("status=503,502,200", ["503", "502", "200", "200"]),
        ("status=503&after=1&times=2", ["200", "503", "503", "200"]),
        ("status=503,502&after=2", ["200", "200", "503", "502"]),
        ("status=503,502&every=3600", ["503"] * 4),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_sequence_goes_on_with_each_request(origin: Origin, query: str, answers: list[str]) -> None:
    """One after the other, the last from then on; `after` requests are answered well first, `times` at most are not."""
    assert answers == [(await get(origin, f"/a.ts?{query}")).head[9:12] for _ in range(4)]


@pytest_twisted.ensureDeferred
async def test_a_sequence_of_bodies(origin: Origin) -> None:
    """The bytes of other resources, the own ones and faults take turns."""
    bodies = [(await get(origin, "/a.ts?body=/b.ts,own,empty")).body for _ in range(4)]

    assert bodies == [b"another", BODY, b"", b""]


@pytest.mark.parametrize(("elapsed", "status"), [(0.0, (503,)), (9.9, (503,)), (10.0, (502,)), (20.0, ()), (99.0, ())])
def test_a_sequence_may_go_on_with_time(elapsed: float, status: tuple[int, ...]) -> None:
    """`every` counts from the first request of the URL, however many came since."""
    assert status == Tweaks.from_query("status=503,502,200&every=10").for_request(7, elapsed).status


@pytest_twisted.ensureDeferred
async def test_signed_links_are_good_for_a_while(origin: Origin) -> None:
    """Every link of a signed playlist has a token, which opens it until its time is over; playlists pass it on."""
    listed = '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k?x=1"\n\n#EXTINF:6,\na.ts\nlow.m3u8\n'
    origin.put("/l.m3u8", listed.encode())
    origin.clock = clock = Clock()
    clock.advance(1234.5)

    text = (await get(origin, "/l.m3u8?sign=0.2&token_status=410")).body.decode()
    link = text.splitlines()[4]
    issued = int(link.split("token=")[1].split("&")[0])
    fresh = (await get(origin, f"/{link}")).head[9:12]
    clock.advance(0.25)
    stale = (await get(origin, f"/{link}")).head[9:12]

    term = f"token={issued}&token_ttl=0.2&token_status=410"
    assert text.splitlines() == [
        "#EXTM3U",
        f'#EXT-X-KEY:METHOD=AES-128,URI="k?x=1&{term}"',
        "",
        "#EXTINF:6,",
        f"a.ts?{term}",
        f"low.m3u8?{term}&sign=0.2",
    ]
    assert 1234500 == issued
    assert (fresh, stale) == ("200", "410")


@pytest_twisted.ensureDeferred
async def test_a_range_in_parts(origin: Origin) -> None:
    """range=multipart answers one range as multipart/byteranges."""
    wire = await get(origin, "/a.ts?range=multipart", "Range: bytes=10-19")

    assert "Content-Type: multipart/byteranges; boundary=THIS_STRING_SEPARATES" in wire.head.split("\r\n")
    assert wire.body == (
        b"--THIS_STRING_SEPARATES\r\nContent-Type: video/mp2t\r\nContent-Range: bytes 10-19/1000\r\n\r\n"
        + BODY[10:20]
        + b"\r\n--THIS_STRING_SEPARATES--\r\n"
    )


@pytest_twisted.ensureDeferred
async def test_trailers_end_a_chunked_body(origin: Origin) -> None:
    """te=trailers sends two after the last chunk."""
    wire = await get(origin, "/a.ts?te=trailers")

    assert wire.body == b"3e8\r\n" + BODY + b"\r\n0\r\nX-Checksum: 0\r\nX-Note: the end\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_interim_answers_come_before_the_answer(origin: Origin) -> None:
    """interim=N sends N times 103."""
    wire = await get(origin, "/a.ts?interim=3")

    assert wire.received.count(b"HTTP/1.1 103 Early Hints\r\n") == 3
    assert wire.received.endswith(BODY)


@pytest_twisted.ensureDeferred
async def test_a_slow_start_is_over_soon(origin: Origin) -> None:
    """It waits S before the first piece and halves that with every piece: below 2 S in all."""
    wire, took_s = await timed(origin, "/a.ts?slow_start=0.1&chunk_size=100")

    assert wire.body == BODY
    assert 0.19 <= took_s < 0.2


@pytest.mark.parametrize(("query", "repeated"), [("endless=1xx", b"HTTP/1.1 103"), ("endless=body", BODY)])
@pytest_twisted.ensureDeferred
async def test_what_has_no_end_stops_with_the_client(origin: Origin, query: str, repeated: bytes) -> None:
    """Interim answers, or the body again and again, as long as somebody reads."""
    wire = await connect(origin)
    wire.transport.write(f"GET /a.ts?{query} HTTP/1.1\r\n\r\n".encode())  # type: ignore[union-attr]  # connected
    await until(lambda: wire.received.count(repeated) > 100)
    wire.transport.loseConnection()  # type: ignore[union-attr]  # connected
    await until(lambda: origin.open == 0)

    assert b"Content-Length" not in wire.received


@pytest.mark.parametrize(("then", "closed"), [("close", True), ("hang", False)])
@pytest_twisted.ensureDeferred
async def test_a_kept_connection_is_of_no_use(origin: Origin, then: str, closed: bool) -> None:
    """The answer promises to keep it; then it is closed, or nothing more is answered on it."""
    wire = await connect(origin)
    wire.transport.write(f"GET /a.ts?then={then} HTTP/1.1\r\n\r\n".encode())  # type: ignore[union-attr]  # connected
    await until(lambda: wire.body == BODY)
    wire.transport.write(b"GET /a.ts HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]  # connected
    await (wire.closed if closed else deferLater(reactor, 0.1))

    assert "Connection: close" not in wire.head
    assert wire.body == BODY
    assert wire.closed.called is closed
    assert origin.count("/a.ts") == 1
    wire.transport.abortConnection()  # type: ignore[union-attr]  # connected


@pytest_twisted.ensureDeferred
async def test_tls_can_end_without_its_goodbye() -> None:
    """then=unnotified closes the socket below TLS, which says so to a client that asks."""
    origin = await Origin.start(reactor, tls=True)
    origin.put("/a.ts", BODY)
    wire = await connectProtocol(
        wrapClientTLS(CertificateOptions(), TCP4ClientEndpoint(reactor, "127.0.0.1", origin.port)), Wire()
    )
    wire.transport.write(b"GET /a.ts?cl=none&then=unnotified HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]  # connected
    await wire.closed.addTimeout(5, reactor)
    await origin.stop()

    assert wire.body == BODY
    assert wire.reason is not None and not wire.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_connections_beyond_a_limit_are_reset(origin: Origin) -> None:
    """max_connections counts what is connected, as some servers do."""
    origin.max_connections = 1
    kept = await connect(origin)
    await until(lambda: origin.open == 1)

    assert (await get(origin, "/a.ts")).received == b""
    kept.transport.loseConnection()  # type: ignore[union-attr]  # connected
    await until(lambda: origin.open == 0)
    assert (await get(origin, "/a.ts")).body == BODY


@pytest_twisted.ensureDeferred
async def test_it_goes_down_and_comes_back(origin: Origin) -> None:
    """Down it refuses, and resets what was open; back it is the same origin on the same port."""
    busy = await connect(origin)
    busy.transport.write(b"GET /a.ts?hang=body HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]  # connected
    await until(lambda: len(origin.visits()) == 1)
    await origin.go_down()
    await busy.closed.addTimeout(5, reactor)
    with pytest.raises(ConnectionRefusedError):
        await connect(origin)
    origin.come_back()

    assert (await get(origin, "/a.ts")).body == BODY
    assert [(visit.finished, visit.aborted) for visit in origin.visits()] == [(False, False), (True, False)]


@pytest_twisted.ensureDeferred
async def test_the_journal_is_told_over_http(origin: Origin) -> None:
    """As JSON, of all paths or of one, without itself; DELETE empties it."""
    await get(origin, "/a.ts?x=1", "Range: bytes=0-9")
    await get(origin, "/b.ts")

    everything = json.loads((await get(origin, "/journal")).body)
    one = json.loads((await get(origin, "/journal?path=/a.ts")).body)
    emptied = json.loads((await get(origin, "/journal", method="DELETE")).body)

    assert [visit["path"] for visit in everything] == ["/a.ts", "/b.ts"]
    assert one == [everything[0]]
    assert one[0] | {"at": 0, "ended": 0} == {
        "path": "/a.ts",
        "query": "x=1",
        "headers": {"host": "x", "connection": "close", "range": "bytes=0-9"},
        "status": 206,
        "range": "bytes=0-9",
        "sent_bytes": 10,
        "finished": True,
        "aborted": False,
        "at": 0,
        "connection": 1,
        "peer": "127.0.0.1",
        "ended": 0,
        "fault": "",
    }
    assert emptied == [] == origin.visits()


@pytest_twisted.ensureDeferred
async def test_faults_come_by_chance(origin: Origin) -> None:
    """A share of the requests meets one, whatever the URL asks for; never more than four of one URL."""
    origin.weather = Weather(seed=1, share=1.0, faults=("status=503",))

    assert [(await get(origin, "/a.ts?token=1")).head[9:12] for _ in range(6)] == ["503"] * 4 + ["200"] * 2


def test_weather_is_told_by_its_seed() -> None:
    """The same seed is the same weather; its share is kept; every fault is one that the origin takes."""
    one, same, other = (Weather(seed=seed, share=0.1) for seed in (1, 1, 2))
    asked = [(f"/{number}.ts", nth) for number in range(2000) for nth in (1, 2)]
    faults = [one.fault(*each) for each in asked]

    assert faults == [same.fault(*each) for each in asked]
    assert faults != [other.fault(*each) for each in asked]
    assert 300 < sum(map(bool, faults)) < 500
    assert set(faults) == {"", *PASSING_FAULTS}
    assert all(Tweaks.from_query(fault) for fault in PASSING_FAULTS)


@pytest_twisted.ensureDeferred
async def test_pieces_and_delays_take_their_time(origin: Origin) -> None:
    """delay waits before the headers, chunk_delay between pieces."""
    wire, took_s = await timed(origin, "/a.ts?delay=0.1&chunk_size=250&chunk_delay=0.05")

    assert wire.body == BODY
    assert pytest.approx(0.25) == took_s


@pytest.mark.parametrize(("query", "head"), [("hang=headers", False), ("hang=body", True)])
@pytest_twisted.ensureDeferred
async def test_hanging_ends_when_the_client_leaves(origin: Origin, query: str, head: bool) -> None:
    """Nothing comes, or half; the client's leaving is journalled as aborted."""
    wire = await connect(origin)
    wire.transport.write(f"GET /a.ts?{query} HTTP/1.1\r\n\r\n".encode())  # type: ignore[union-attr]  # connected
    await until(lambda: origin.visits() and wire.body == (BODY[:500] if head else b""))
    await deferLater(reactor, 0.1)

    assert wire.body == (BODY[:500] if head else b"")
    assert [(visit.finished, visit.aborted) for visit in origin.visits()] == [(False, False)]
    wire.transport.loseConnection()  # type: ignore[union-attr]  # connected
    await until(lambda: origin.open == 0)
    assert [(visit.finished, visit.aborted) for visit in origin.visits()] == [(False, True)]


@pytest_twisted.ensureDeferred
async def test_headers_without_end_stop_with_the_client(origin: Origin) -> None:
    """They go on as long as somebody reads."""
    wire = await connect(origin)
    wire.transport.write(b"GET /a.ts?endless=headers HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]  # connected
    await until(lambda: len(wire.received) > 200_000)
    wire.transport.loseConnection()  # type: ignore[union-attr]  # connected
    await until(lambda: origin.open == 0)

    assert b"\r\n\r\n" not in wire.received


@pytest_twisted.ensureDeferred
async def test_more_requests_at_once_than_allowed_are_reset(origin: Origin) -> None:
    """max_conn counts requests being answered, not those that are over."""
    for _ in range(3):
        assert (await get(origin, "/a.ts?max_conn=1")).body == BODY
    busy = await connect(origin)
    busy.transport.write(b"GET /a.ts?hang=body HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]  # connected
    await until(lambda: len(origin.visits()) == 4)

    assert (await get(origin, "/a.ts?max_conn=1")).received == b""


@pytest_twisted.ensureDeferred
async def test_one_connection_serves_many_requests(origin: Origin) -> None:
    """Keep-alive, also for requests sent without waiting; the journal numbers the connections."""
    wire = await connect(origin)
    wire.transport.write(b"GET /a.ts HTTP/1.1\r\n\r\n" * 3)  # type: ignore[union-attr]  # connected
    await until(lambda: wire.received.count(BODY) == 3)

    assert [visit.connection for visit in origin.visits()] == [1, 1, 1]
    assert origin.accepted == 1


@pytest_twisted.ensureDeferred
async def test_the_journal_tells_a_visit(origin: Origin) -> None:
    """Path, query, headers, status and bytes of a request, frozen as they were when asked."""
    await get(origin, "/a%2Ets?x=1", "X-Two: a", "X-Two: b", "Range: bytes=0-9")

    (visit,) = origin.visits()
    assert visit == Visit(
        path="/a.ts",
        query="x=1",
        headers={"host": "x", "connection": "close", "x-two": "a, b", "range": "bytes=0-9"},
        status=206,
        range="bytes=0-9",
        sent_bytes=10,
        finished=True,
        aborted=False,
        at=visit.at,
        connection=1,
        peer="127.0.0.1",
        ended=visit.ended,
    )
    assert visit.ended is not None and visit.at <= visit.ended
    assert (origin.count("/a.ts"), origin.count("/b")) == (1, 0)


@pytest_twisted.ensureDeferred
async def test_methods(origin: Origin) -> None:
    """HEAD has no body; anything but GET and HEAD is a 405."""
    head = await get(origin, "/a.ts", method="HEAD")
    post = await get(origin, "/a.ts", method="POST")

    assert ("Content-Length: 1000" in head.head, head.body) == (True, b"")
    assert "405" in post.head.split("\r\n")[0]


@pytest_twisted.ensureDeferred
async def test_a_directory_is_served_and_nothing_beside_it(origin: Origin, tmp_path: Path) -> None:
    """Files with the right type and date; 404 for others; no way out of the directory, by dots or links."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_text("no")
    (tmp_path / "in" / "list.m3u8").write_text("#EXTM3U\n")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    os.utime(tmp_path / "in" / "list.m3u8", (1_700_000_000, 1_700_000_000))
    served = await Origin.start(reactor, directory=tmp_path / "in")

    good = await get(served, "/list.m3u8")
    others = [
        (await get(served, path)).head[9:12]
        for path in ("/no", "/", "/../secret", "/%2e%2e/secret", "/link", "/%00", "/" + "x" * 300)
    ]
    await served.stop()

    assert good.body == b"#EXTM3U\n"
    assert "Content-Type: application/vnd.apple.mpegurl" in good.head
    assert "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT" in good.head
    assert others == ["404"] * 7


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("status=x", "status='x' is not a whole number"),
        ("delay=-1", "delay='-1' is not seconds"),
        ("hang=yes", "hang='yes' is not one of headers, body"),
        ("chunk_size=0", "chunk_size must be at least 1"),
        ("times=", "times='' is not a whole number"),
        ("status=503,x", "status='503,x' is not a whole number"),
        ("body=b.ts", "body='b.ts' is not one of html, json, empty, junk, own, or a path"),
        ("every=0", "every must be more than 0"),
    ],
)
def test_a_tweak_that_makes_no_sense_is_named(query: str, problem: str) -> None:
    """A misspelt tweak would make a test pass for nothing: it is refused, naming it and its value."""
    with pytest.raises(TweakError) as caught:
        Tweaks.from_query(query)

    assert str(caught.value) == problem


class Output(ProcessProtocol):
    """Collects what a child prints."""

    def __init__(self) -> None:
        self.text = ""
        self.ended: Deferred[int] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.text += data.decode()

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(getattr(reason.value, "exitCode", -1))


@pytest_twisted.ensureDeferred
async def test_it_runs_on_its_own(tmp_path: Path) -> None:
    """`python -m m3u8svc.testing.origin DIRECTORY` prints an address that serves the directory."""
    (tmp_path / "a.ts").write_bytes(b"x")
    output = Output()
    child = reactor.spawnProcess(
        output, sys.executable, [sys.executable, "-m", "m3u8svc.testing.origin", str(tmp_path)], env=None
    )
    await until(lambda: "\n" in output.text)
    address = output.text.strip()

    class Elsewhere:
        port = int(address.rpartition(":")[2])

    wire = await get(Elsewhere, "/a.ts")  # type: ignore[arg-type]  # only its port is used
    child.signalProcess("TERM")
    await output.ended

    assert address == f"listening on http://127.0.0.1:{Elsewhere.port}"
    assert wire.body == b"x"


@pytest_twisted.ensureDeferred
async def test_it_refuses_what_is_no_directory(tmp_path: Path) -> None:
    """A wrong argument is named, with exit status 2 and no traceback."""
    output = Output()
    missing = str(tmp_path / "missing")
    reactor.spawnProcess(output, sys.executable, [sys.executable, "-m", "m3u8svc.testing.origin", missing], env=None)

    assert await output.ended == 2
    assert f"{missing} is no directory" in output.text
    assert "Traceback" not in output.text
