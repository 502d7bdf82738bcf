"""
The gate at work. Timers and limits in memory, with a clock; what bytes really do, over sockets.
"""

import json
import tempfile
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from m3u8svc.access.forwarding import NOTHING_BEFORE_US, Front, parse_trusted
from m3u8svc.web import channel as channel_module
from m3u8svc.web.channel import GatedSite
from m3u8svc.web.gate import host_names
from m3u8svc.web.site import make_site
from m3u8svc.weblimits import DEFAULTS

HEAD = b"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
TASK = json.dumps({"url": "https://a.example/i.m3u8", "filename": "film"}).encode()
LIMIT = 256 * 1024 + 2 * 8 * 1024 * 1024


# -- In memory -------------------------------------------------------------------------------------------------------


class BoundedStorage:
    """
    What a site makes room with, watched.
    """

    def __init__(self, site):
        self._make = site.getContentFile
        self.made = []
        site.getContentFile = self

    def __call__(self, length):
        self.made.append(self._make(length))
        return self.made[-1]


@pytest.mark.parametrize(
    ("head", "status", "message"),
    [
        (JSON_TYPE + b"Content-Length: 17039361\r\n", 413, "请求体过大"),
        (JSON_TYPE + b"Expect: 100-continue\r\nContent-Length: 17039361\r\n", 413, "请求体过大"),
        (b"Content-Type: text/plain\r\nContent-Length: 5\r\n", 415, "请求体必须是 application/json"),
        (b"Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n", 415, None),
        (b"Content-Length: 5\r\n", 415, None),
        (b"Origin: https://evil.example\r\nContent-Length: 5\r\n", 403, "拒绝来自其他网站的请求"),
    ],
)
def test_refused_before_anything_is_stored(wire, parse_reply, head, status, message):
    """The answer is there after the headers; no room was made and nothing of the body is read."""
    storage = BoundedStorage(wire.site)
    channel, transport = wire.connect()
    channel.dataReceived(HEAD + head + b"\r\n" + b"x" * 1000)
    reply = parse_reply(transport.value())
    assert (status, []) == (reply.status, storage.made)
    assert message in (None, reply.value)
    assert "close" == reply.headers["connection"]
    assert b"100 Continue" not in transport.value()


OPEN_END = IPv4Address("TCP", "192.168.1.5", 8080)


@pytest.mark.parametrize(
    ("end", "host", "origin", "front", "expected"),
    [
        (OPEN_END, "192.168.1.5:8080", "", NOTHING_BEFORE_US, 200),
        (OPEN_END, "192.168.1.5:8080", "http://192.168.1.5:8080", NOTHING_BEFORE_US, 200),
        (IPv6Address("TCP", "::ffff:192.168.1.5", 8080), "192.168.1.5:8080", "", NOTHING_BEFORE_US, 200),
        (IPv6Address("TCP", "fd00::5", 8080), "[FD00::5]:8080", "", NOTHING_BEFORE_US, 200),
        (OPEN_END, "192.168.1.6:8080", "", NOTHING_BEFORE_US, 421),
        (OPEN_END, "192.168.1.5:8081", "", NOTHING_BEFORE_US, 421),
        (OPEN_END, "192.168.1.5", "", NOTHING_BEFORE_US, 421),
        (OPEN_END, "0.0.0.0:8080", "", NOTHING_BEFORE_US, 421),
        (OPEN_END, "3232235781:8080", "", NOTHING_BEFORE_US, 421),
        (OPEN_END, "evil.example:8080", "http://evil.example:8080", NOTHING_BEFORE_US, 421),
        (OPEN_END, "192.168.1.5:8080", "http://evil.example:8080", NOTHING_BEFORE_US, 403),
        (OPEN_END, "192.168.1.5:8080", "http://192.168.1.5", NOTHING_BEFORE_US, 403),
        (OPEN_END, "192.168.1.5:8080", "", Front(trusted=(parse_trusted("10.0.0.1"),)), 421),
        (UNIXAddress(b"/run/m3u8svc.sock"), "192.168.1.5:8080", "", NOTHING_BEFORE_US, 421),
    ],
)
@pytest.mark.parametrize("target", ["/api/tasks", "/ws/progress"])
def test_the_number_of_our_own_end(wire, parse_reply, build_request, target, end, host, origin, front, expected):
    """Who asks an open port for the address they connected to needs no configuration; whatever else they name does."""
    wire.site.front = front
    channel = wire.site.buildProtocol(IPv4Address("TCP", "192.168.1.77", 50000))
    transport = StringTransport(hostAddress=end, peerAddress=IPv4Address("TCP", "192.168.1.77", 50000))
    channel.makeConnection(transport)
    channel.dataReceived(build_request("GET", target, headers={"Origin": origin or None}, host=host))
    passes = {200: 400} if target == "/ws/progress" else {}  # the gate let it by, and it is no handshake
    assert passes.get(expected, expected) == parse_reply(transport.value()).status


@pytest.mark.parametrize(
    ("request_line", "phrase", "more"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n", b"421 Refused", []),
        (b"PATCH /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n", b"405 Method Not Allowed", [b"Allow"]),
    ],
)
def test_the_head_of_a_refusal(wire, request_line, phrase, more):
    """It is an answer like any other: of known length, dated, JSON, with its code, and the last one."""
    channel, transport = wire.connect()
    channel.dataReceived(request_line + b"\r\n")
    head, _, body = transport.value().partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert b"HTTP/1.1 " + phrase == first
    headers = dict(line.split(b": ", 1) for line in lines)
    assert {
        b"Content-Type",
        b"X-Error-Code",
        b"Content-Length",
        b"Connection",
        b"Date",
        b"Server",
        *more,
    } <= headers.keys()
    assert (b"application/json", b"%d" % len(body), b"close", b"m3u8svc") == (
        headers[b"Content-Type"],
        headers[b"Content-Length"],
        headers[b"Connection"],
        headers[b"Server"],
    )


def test_a_refused_head_has_no_body(wire):
    """It says how long the body would be, as every answer to HEAD."""
    channel, transport = wire.connect()
    channel.dataReceived(b"HEAD /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
    head, _, body = transport.value().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ") and b"" == body
    assert b"Content-Length: %d" % len('"方法不支持"'.encode()) in head.split(b"\r\n")


def test_expect_continue(wire):
    """Who asks first and may, is told to go on."""
    channel, transport = wire.connect()
    channel.dataReceived(HEAD + JSON_TYPE + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == transport.value()


def chunked(*pieces):
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def test_chunked_body(wire, service, parse_reply):
    """A chunked body is a body like any other."""
    channel, transport = wire.connect()
    channel.dataReceived(HEAD + JSON_TYPE + b"Transfer-Encoding: chunked\r\n\r\n")
    channel.dataReceived(chunked(TASK[:9], TASK[9:]) + b"0\r\n\r\n")
    assert 200 == parse_reply(transport.value()).status
    assert 1 == len(service.stored)


def test_chunked_body_that_grows(wire, service, parse_reply):
    """A chunked body is counted while it comes, and refused at its limit, in the middle."""
    storage = BoundedStorage(wire.site)
    channel, transport = wire.connect()
    channel.dataReceived(HEAD + JSON_TYPE + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = chunked(b" " * 1024 * 64)
    for _ in range(260):
        channel.dataReceived(piece)
    assert b"" == transport.value()
    channel.dataReceived(chunked(b"{") + piece + b"0\r\n\r\n")
    assert (413, "请求体过大") == (parse_reply(transport.value()).status, parse_reply(transport.value()).value)
    assert [LIMIT] == [len(made.getvalue()) for made in storage.made]
    assert [] == service.calls


def test_body_at_its_limit(wire, service):
    """The limit itself is not over the limit."""
    body = TASK + b" " * (256 * 1024 - len(TASK))
    assert 200 == wire.ask("POST", "/api/tasks", body).status


def with_playlist(length, **fields):
    """A task's body whose playlist has this many characters."""
    start = "#EXTM3U\n#EXTINF:1,\nhttps://h/a.ts?"
    return {"url": "", "filename": "x", "playlist": start + "片" * ((length - len(start)) // 3), **fields}


def test_room_for_a_playlist(wire, service):
    """The largest playlist passes in the JSON of any client, and is stored as it is."""
    body = with_playlist(8 * 1024 * 1024)
    for content in (json.dumps(body).encode(), json.dumps(body, ensure_ascii=False).encode()):
        assert 200 == wire.ask("POST", "/api/tasks", content).status
    assert body["playlist"] == service.calls[-1][1].playlist


@pytest.mark.parametrize(
    "body",
    [
        TASK + b" " * (256 * 1024 + 1 - len(TASK)),
        b"[" + b"0," * 500_000 + b"0]",
        json.dumps(with_playlist(100, x=[0] * 100_000)).encode(),
        json.dumps(with_playlist(100, x="y" * 300_000)).encode(),
        json.dumps(with_playlist(300_000, x={"playlist": "#EXTM3U" * 50_000})).encode(),
    ],
    ids=range(5),
)
def test_the_room_is_for_a_playlist_only(wire, service, body):
    """Everything else keeps its limit, and what is over it is not read as JSON."""
    reply = wire.ask("POST", "/api/tasks", body)
    assert (413, "请求体过大", "body_too_large") == (reply.status, reply.value, reply.headers["x-error-code"])
    assert [] == service.calls


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", 421),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 421),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nBad Name: x\r\n\r\n", 400),
        (HEAD + JSON_TYPE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + JSON_TYPE + b"Content-Length: +5\r\n\r\n", 400),
        (HEAD + JSON_TYPE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
        (HEAD + JSON_TYPE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + (b"X: " + b"y" * 999 + b"\r\n") * 17, 431),
        (b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\n", 431),
        (b"a" * 40_000, 431),
    ],
    ids=range(12),
)
def test_bad_http(wire, parse_reply, raw, status):
    """What is no proper request is refused in the form of every error, and the connection ends."""
    channel, transport = wire.connect()
    channel.dataReceived(raw)
    reply = parse_reply(transport.value())
    assert (status, str) == (reply.status, type(reply.value))
    assert "nosniff" == reply.headers["x-content-type-options"]
    assert reply.headers["x-error-text-en"]
    assert transport.disconnecting


def test_nothing_after_a_refusal(wire, service):
    """A second request smuggled behind a refused one is not read."""
    channel, transport = wire.connect()
    second = HEAD + JSON_TYPE + b"Content-Length: %d\r\n\r\n" % len(TASK) + TASK
    channel.dataReceived(HEAD + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nab" + second)
    channel.dataReceived(second)
    assert (1, []) == (transport.value().count(b"HTTP/1.1"), service.calls)


def test_forms_are_not_parsed(wire, service):
    """A query is a query; a body never becomes one."""
    wire.ask("GET", "/api/tasks?limit=3", None)
    assert ("tasks", None, 3, 0) == service.calls[-1]
    assert False is wire.site._parsePOSTFormSubmission


@implementer(ITCPTransport)
class HalfClosing(StringTransport):
    """
    A transport that can close its own half, as TCP can.
    """

    half_closed = False

    def setTcpNoDelay(self, enabled):
        pass

    def loseWriteConnection(self):
        self.half_closed = True


def test_refused_peer_that_does_not_leave(wire, clock):
    """A refused peer may end its sentence, for two seconds."""
    channel, transport = wire.connect(transport=HalfClosing)
    channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert (True, False) == (transport.half_closed, transport.disconnecting)
    clock.advance(1.9)
    assert not transport.disconnecting
    clock.advance(0.2)
    assert transport.disconnecting


@pytest.mark.parametrize("refused", [b"Content-Length: 0\r\nOrigin: null\r\n\r\n" + HEAD, b"Bad Name: x\r\n"])
def test_refused_peer_that_asks_again(wire, service, refused):
    """Nothing is answered after a refusal, not even that somebody may go on."""
    channel, transport = wire.connect(transport=HalfClosing)
    channel.dataReceived(HEAD + refused + JSON_TYPE + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert (1, []) == (transport.value().count(b"HTTP/1.1 "), service.calls)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"Origin: https://evil.example\r\n", ["https://evil.example"]),
        (b"Origin: \x1b[31m\xe2\x80\xae\r\n", ["\\x1b[31mâ\\x80®"]),
        (b"Content-Length: 17039361\r\n", []),
    ],
)
def test_refusals_in_the_log(wire, head, expected):
    """What a foreign page tried is one warning that names it, escaped; ordinary mistakes are none."""
    warned = []

    def observe(event):
        if event["log_level"] is LogLevel.warn:
            warned.append(event["origin"])

    globalLogPublisher.addObserver(observe)
    channel, _ = wire.connect()
    channel.dataReceived(HEAD + head + b"\r\n")
    globalLogPublisher.removeObserver(observe)
    assert expected == warned


@pytest.fixture
def logged():
    """What is logged meanwhile, as (level, text)."""
    lines = []

    def observe(event):
        lines.append((event["log_level"].name, formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(
    ("request_line", "headers", "line"),
    [
        (
            b"POST /api/tasks?id=secret HTTP/1.1",
            b"Host: 127.0.0.1:8080\r\nOrigin: https://evil.example\r\nOrigin: null\r\n",
            (
                "warn",
                "refused POST /api/tasks: 403 foreign_origin (host 127.0.0.1:8080, origin https://evil.example, null)",
            ),
        ),
        (
            b"GET /" + b"p" * 200 + b" HTTP/1.1",
            b"Host: " + b"h" * 200 + b"\r\n",
            ("warn", f"refused GET /{'p' * 99}: 421 wrong_host (host {'h' * 100}, origin )"),
        ),
        (
            b"GET / HTTP/1.1",
            b"Host: a.example\r\nHost: b.example\r\n",
            ("warn", "refused GET /: 421 wrong_host (host a.example, b.example, origin )"),
        ),
        (
            b"PUT /api/tasks HTTP/1.1",
            b"Host: 127.0.0.1:8080\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n",
            ("debug", "refused PUT /api/tasks: 415 not_json (host 127.0.0.1:8080, origin )"),
        ),
        (
            b"M" * 50 + b" / HTTP/1.1",
            b"Host: 127.0.0.1:8080\r\n",
            ("debug", f"refused {'M' * 20} /: 405 method_not_allowed (host 127.0.0.1:8080, origin )"),
        ),
    ],
    ids=["origin", "long", "two hosts", "type", "method"],
)
def test_a_refusal_is_one_line(wire, logged, request_line, headers, line):
    """Who tried what, without the query, each part no longer than it has to be."""
    channel, _ = wire.connect()
    channel.dataReceived(request_line + b"\r\n" + headers + b"\r\n")
    assert [line] == logged


@pytest.mark.parametrize(
    ("method", "path", "body", "lines"),
    [
        ("GET", "/healthz", None, []),
        ("GET", "/api/tasks?id=", None, [("debug", "GET /api/tasks 400")]),
        ("POST", "/api/tasks", TASK, [("debug", "POST /api/tasks 200")]),
    ],
)
def test_what_is_asked_in_the_log(wire, logged, method, path, body, lines):
    """What changes something and what went wrong, without its query; not what clients poll."""
    wire.ask(method, path, body)
    assert lines == logged


def test_refused_peer_that_goes_on(wire):
    """A refused peer that sends on and on is cut off after a megabyte."""
    channel, transport = wire.connect(transport=HalfClosing)
    channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(16):
        channel.dataReceived(b"x" * 65536)
    assert not transport.disconnecting
    channel.dataReceived(b"x")
    assert transport.disconnecting


@pytest.mark.parametrize(
    ("begun", "within"),
    [(b"", 10), (b"GET /", 10), (HEAD, 10), (HEAD + JSON_TYPE + b"Content-Length: 500\r\n\r\n{", 30)],
)
def test_deadline_is_absolute(wire, clock, begun, within):
    """A peer that drips one byte a second is cut off when its time is over, not when it pauses."""
    channel, transport = wire.connect()
    channel.dataReceived(begun)
    for _ in range(within - 1):
        clock.advance(1)
        channel.dataReceived(b"a")
    assert not transport.disconnecting
    clock.advance(1)
    assert transport.disconnecting


def test_idle_connection_after_an_answer(wire, clock, build_request):
    """Between requests a connection may rest for a minute."""
    channel, transport = wire.connect()
    channel.dataReceived(build_request("GET", "/healthz"))
    clock.advance(59)
    assert not transport.disconnecting
    clock.advance(2)
    assert transport.disconnecting


def test_the_next_request_has_its_own_deadline(wire, clock, build_request):
    """A peer may rest between requests, but not inside one."""
    channel, transport = wire.connect()
    channel.dataReceived(build_request("GET", "/healthz"))
    clock.advance(30)
    channel.dataReceived(b"GET /")
    clock.advance(9)
    assert not transport.disconnecting
    clock.advance(1)
    assert transport.disconnecting


def test_long_work_is_not_cut_off(wire, clock, service, build_request):
    """Deadlines are for the peer; our own work may take longer."""
    service.before_answering = Deferred()
    channel, transport = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", TASK))
    clock.advance(300)
    service.before_answering.callback(None)
    assert b'"success"' in transport.value()


def test_answer_nobody_takes(wire, clock, service, build_request):
    """An answer that is not read for a minute is not kept longer; a reader that goes on gets another minute."""
    service.before_answering = Deferred()
    channel, transport = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", TASK))
    channel.pauseProducing()
    clock.advance(59)
    channel.resumeProducing()
    channel.pauseProducing()
    clock.advance(59)
    assert not transport.disconnecting
    clock.advance(1)
    assert transport.disconnecting


def test_connections_per_address(wire):
    """One address gets so many connections and no more; one that ends makes room."""
    channels = [wire.connect()[0] for _ in range(DEFAULTS.connections_per_address)]
    peer = IPv4Address("TCP", "127.0.0.1", 50001)
    assert None is wire.site.buildProtocol(peer)
    assert None is not wire.site.buildProtocol(IPv4Address("TCP", "127.0.0.2", 50001))
    channels[0].connectionLost(ConnectionError("gone"))
    assert None is not wire.site.buildProtocol(peer)


def test_refusals_without_end_do_not_fill_the_log(wire, logged):
    """A stranger can have nobody's warnings pushed out of a log of bounded size; a while later they are told again."""

    def refuse():
        channel, _ = wire.connect()
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        channel.connectionLost(Failure(ConnectionDone()))

    for _ in range(channel_module.WARNINGS_AT_ONCE + 50):
        refuse()
    levels = [level for level, text in logged if "wrong_host" in text]
    assert ["warn"] * channel_module.WARNINGS_AT_ONCE + ["debug"] * 50 == levels
    wire.clock.advance(1 / channel_module.WARNINGS_PER_S)
    refuse()
    assert "warn" == logged[-1][0]


def test_connections_refused_in_a_burst_are_one_line(wire, logged):
    """It says how many, and from where; the next burst has a line of its own."""
    for _ in range(DEFAULTS.connections_per_address):
        wire.connect()
    for count in (337, 1):
        for _ in range(count):
            wire.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50001))
        wire.clock.advance(channel_module.BURST_S)
    said = "too many connections: {} closed within 5 s, the first from 127.0.0.1"
    assert [("warn", said.format(count)) for count in (337, 1)] == logged


@pytest.mark.logs_failures
def test_failure_outside_a_route(service, parse_reply, logged):
    """An exception that no route caught is a 500 in our form; the log has it once, the answer no word of it."""

    class Broken:
        isLeaf = True

        def render(self, request):
            raise ValueError("secret detail")

    site = GatedSite(Broken(), reactor=Clock(), allowed_hosts=lambda: frozenset({"127.0.0.1:8080"}))
    channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
    reply = parse_reply(transport.value())
    assert (500, "服务器内部错误") == (reply.status, reply.value)
    assert ("application/json", "internal") == (reply.headers["content-type"], reply.headers["x-error-code"])
    assert str(len('"服务器内部错误"'.encode())) == reply.headers["content-length"]
    [(level, text)] = [line for line in logged if line[0] != "debug"]
    assert "error" == level and text.startswith("GET /healthz failed:") and "ValueError: secret detail" in text


# -- Over sockets: only there a connection can be reset before its answer is read ------------------------------------


class Conversation(Protocol):
    """
    Everything the server says until it closes.
    """

    def __init__(self):
        self.said = b""
        self.over = Deferred()
        self.cut_off = False

    def dataReceived(self, data):
        self.said += data

    def connectionLost(self, reason):
        self.cut_off = not reason.check(ConnectionDone)
        self.over.callback(self.said)


class Listening:
    """
    The site on a real port.
    """

    def __init__(self, port):
        self.port = port
        self.number = port.getHost().port
        self.host = f"127.0.0.1:{self.number}".encode()

    async def say(self, *pieces):
        """
        Send these bytes (HOST becomes ours) and return what was answered until the server closed.
        """
        endpoint = HostnameEndpoint(reactor, "127.0.0.1", self.number)
        conversation = await endpoint.connect(Factory.forProtocol(Conversation))
        for piece in pieces:
            conversation.transport.write(piece.replace(b"HOST", self.host))
            await deferLater(reactor, 0.01)
        said = await conversation.over.addTimeout(8, reactor)
        assert not conversation.cut_off, "the connection was reset: a peer may never see the answer"
        return said


@pytest_twisted.async_yield_fixture
async def listening(service):
    ports = []
    site = make_site(
        service,
        reactor=reactor,
        allowed_hosts=lambda: host_names([("127.0.0.1", each.getHost().port) for each in ports]),
        plugins=service.plugins,
        health=service.health,
        version="0",
    )
    ports.append(reactor.listenTCP(0, site, interface="127.0.0.1"))
    yield Listening(ports[0])
    await ports[0].stopListening()


LAST = b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\n" + LAST, 200),
        (b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n" + LAST, 421),
        (b"GET /api/tasks HTTP/1.1\r\n" + LAST, 421),
        (b"GET /api/tasks HTTP/1.1\r\nHost: evil.example\r\n" + LAST, 421),
        (b"GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nOrigin: https://evil.example\r\n" + LAST, 403),
        (b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415),
        (b"GET /ws/progress HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n" + LAST, 421),
        (b"GET /ws/progress HTTP/1.1\r\nHost: HOST\r\nOrigin: null\r\nUpgrade: websocket\r\n" + LAST, 403),
        (b"GET /ws/progress HTTP/1.1\r\nHost: HOST\r\n" + LAST, 400),
    ],
    ids=range(9),
)
@pytest_twisted.ensureDeferred
async def test_refusals_on_the_wire(listening, parse_reply, raw, status):
    """The answer arrives, and the connection ends with it."""
    reply = parse_reply(await listening.say(raw))
    assert status == reply.status
    assert isinstance(reply.value, str | list)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 4000000\r\n", 415),
        (b"Content-Type: application/json\r\nContent-Length: 40000000\r\n", 413),
        (b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 4000000\r\n", 415),
    ],
)
@pytest_twisted.ensureDeferred
async def test_flood_on_the_wire(listening, parse_reply, head, status, tmp_path):
    """Four megabytes of form get their answer at once; nothing is parsed and nothing is written to disk."""
    tempfile.tempdir, before = str(tmp_path), tempfile.tempdir
    try:
        begun = time.process_time()
        raw = b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\n" + head + b"\r\n"
        reply = parse_reply(await listening.say(raw, *[b"&" * 500_000] * 8))
        assert status == reply.status
        assert time.process_time() - begun < 2
        assert [] == list(tmp_path.iterdir())
    finally:
        tempfile.tempdir = before


@pytest.mark.parametrize(
    "refused",
    [
        b"GET /api/tasks HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Length: x\r\n\r\n",
        b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nBad Name: x\r\nX: y\r\n\r\n",
    ],
    ids=range(4),
)
@pytest_twisted.ensureDeferred
async def test_request_behind_a_refused_one(listening, service, refused):
    """What comes in the same breath as a refused request is not read: one answer, and it is the refusal."""
    second = b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    said = await listening.say(refused + second % len(TASK) + TASK)
    assert (1, []) == (said.count(b"HTTP/1.1 "), service.calls)


@pytest_twisted.ensureDeferred
async def test_chunked_flood_on_the_wire(listening, parse_reply, service):
    """A chunked body without end is refused at the limit; the peer hears why."""
    head = b"POST /api/tasks HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    reply = parse_reply(await listening.say(head + b"\r\n", *[chunked(b" " * 1_000_000)] * 18))
    assert (413, []) == (reply.status, service.calls)
