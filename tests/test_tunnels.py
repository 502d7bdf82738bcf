"""
Connections through proxies, over real sockets: proxies of our own that let us through, or do everything else.
"""

import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web._newclient import ResponseNeverReceived
from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.errors import (
    BadResponse,
    ClientStatusError,
    HeadersTimeout,
    HttpStatusError,
    M3u8svcError,
    ProxyAuthFailed,
    ProxyError,
    ProxyRefused,
    ProxyUnreachable,
    ProxyUntrusted,
    ServerStatusError,
    TlsError,
    Truncated,
)
from m3u8svc.fetch import Fetcher, FetchLimits
from m3u8svc.tasks.addresses import NEAREST
from m3u8svc.tasks.proxy import Proxy
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.testing.certificate import SelfSigned
from m3u8svc.testing.origin import Origin
from m3u8svc.tunnels import blamed
from tests.test_connections import LoopbackNames, Named
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
BODY = b"0123456789abcdef" * 20_000
LIMITS = FetchLimits(connect_s=2.0, headers_s=2.0, silence_s=5.0)
CONNECT_S = 0.4
PROXY = Proxy(kind="http", host="p.example", port=3128)
PASSWORD = "s3cret:@% 密"
WAYS = [("http", False), ("http", True), ("https", False), ("https", True), ("socks5", False), ("socks5", True)]
"""Kind of proxy, and whether the origin has TLS."""
every_way = pytest.mark.parametrize(("kind", "tls"), WAYS, ids=lambda each: str(each))


# -- A proxy -----------------------------------------------------------------------------------------------------------


class FarEnd(Protocol):
    """The proxy's connection to the origin."""

    def __init__(self, near: "NearEnd") -> None:
        self._near = near

    def connectionMade(self) -> None:
        self._near.reached(self)

    def dataReceived(self, data: bytes) -> None:
        self._near.send(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.close()


class NearEnd(Protocol):
    """
    One client of a proxy. What follows a handshake goes to the proxy's target, whatever name was asked for: that is
    how this proxy resolves names.
    """

    def __init__(self, proxy: "FakeProxy") -> None:
        self._proxy = proxy
        self._buffer = b""
        self._far: FarEnd | None = None
        self._tunnelled = False

    def connectionMade(self) -> None:
        self._proxy.accepted += 1
        self._proxy.open.add(self)
        if self._proxy.answer == b"":
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._proxy.open.discard(self)
        self._proxy.aborted += not reason.check(type(connectionDone.value))
        if self._far is not None and self._far.transport is not None:
            self._far.transport.abortConnection()  # type: ignore[attr-defined]  # of a TCP transport

    def dataReceived(self, data: bytes) -> None:
        self._proxy.said += b"" if self._tunnelled else data
        self._buffer += data
        if self._proxy.answer is not None:
            self.send(self._proxy.answer)
        elif not self._proxy.silent:
            self._serve()

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def reached(self, far: FarEnd) -> None:
        self._far = far
        self._serve()

    def _serve(self) -> None:
        if self._tunnelled:
            self._forward(self._buffer)
        elif self._proxy.kind == "socks5":
            self._serve_socks()
        elif self._buffer.endswith(b"\r\n\r\n"):
            self._serve_http()

    def _serve_http(self) -> None:
        if self._far is None:
            self._dial()
        elif self._buffer.startswith(b"CONNECT "):
            self._let_through(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            head = re.sub(rb"(?i)\r\nproxy-authorization: [^\r]*", b"", self._buffer)
            self._forward(re.sub(rb"^GET http://[^/]+", b"GET ", head))

    def _serve_socks(self) -> None:
        if self._buffer[:1] == b"\x05" and len(self._buffer) == 2 + self._buffer[1]:
            self._buffer = b""
            self.send(b"\x05\x02" if self._proxy.wants_login else b"\x05\x00")
        elif self._buffer[:1] == b"\x01":
            self._buffer = b""
            self.send(b"\x01\x00")
        elif self._far is None:
            self._dial()
        else:
            self._let_through(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38")

    def _dial(self) -> None:
        factory = ClientFactory.forProtocol(lambda: FarEnd(self))  # type: ignore[arg-type]  # a callable will do
        factory.noisy = False
        reactor.connectTCP("127.0.0.1", self._proxy.target, factory)

    def _let_through(self, answer: bytes) -> None:
        self._buffer, self._tunnelled = b"", True
        for place in range(len(answer)):  # in the smallest pieces TCP may make of it
            self.send(answer[place : place + 1])

    def _forward(self, data: bytes) -> None:
        assert self._far is not None and self._far.transport is not None
        self._buffer = b""
        self._far.transport.write(data)


class FakeProxy(Factory):
    """
    A proxy. `answer` is all it ever says, if it is set; b"" = it closes at once; `silent`: nothing at all.
    """

    noisy = False

    def __init__(self, kind: str, target: int, **how: Any) -> None:
        self.kind = kind
        self.target = target
        self.answer: bytes | None = how.get("answer")
        self.silent = bool(how.get("silent"))
        self.wants_login = bool(how.get("wants_login"))
        self.said = b""
        self.accepted = 0
        self.aborted = 0
        self.open: set[NearEnd] = set()
        self.certificate = b""
        names = how.get("names", ())
        if kind == "https":
            contexts = SelfSigned(("localhost", *names), None)
            self.certificate = contexts.certificate_pem
            self._port = reactor.listenSSL(0, self, contexts, interface="127.0.0.1")
        else:
            self._port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.port = self._port.getHost().port

    def buildProtocol(self, addr: object) -> NearEnd:
        return NearEnd(self)

    def as_proxy(self, **changes: Any) -> Proxy:
        usual = {"kind": self.kind, "host": "127.0.0.1", "port": self.port, "username": "me", "password": PASSWORD}
        return Proxy(**(usual | changes))

    async def stop(self) -> None:
        await maybeDeferred(self._port.stopListening)  # None when it has stopped already
        for near in tuple(self.open):
            near.close()


@attrs.define
class Rig:
    """An origin, connections that trust it and the proxies, and what was started."""

    origin: Origin
    tls_origin: Origin
    proxies: list[FakeProxy] = attrs.field(factory=list)
    connections: list[Connections] = attrs.field(factory=list)

    def proxy(self, kind: str, tls: bool = False, **how: Any) -> FakeProxy:
        self.proxies.append(FakeProxy(kind, self.of(tls).port, **how))
        return self.proxies[-1]

    def of(self, tls: bool) -> Origin:
        return self.tls_origin if tls else self.origin

    def connect(self, *, trusting: bool = True, names: Any = reactor, **options: Any) -> Connections:
        pems = [pem for pem in (self.tls_origin.certificate_pem, *(each.certificate for each in self.proxies)) if pem]
        trusted = trustRootFromCertificates([Certificate.loadPEM(pem) for pem in pems] if trusting else [])
        self.connections.append(Connections(names, **({"trust_root": trusted} | options)))
        return self.connections[-1]

    async def stop(self) -> None:
        for connections in self.connections:
            await connections.close()
        for proxy in self.proxies:
            await proxy.stop()
        await self.origin.stop()
        await self.tls_origin.stop()


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    origins = [await Origin.start(reactor), await Origin.start(reactor, tls=True, names=("origin.example",))]
    for origin in origins:
        origin.put("/a", BODY)
    rig = Rig(*origins)
    yield rig
    await rig.stop()


class Pieces:
    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)


async def fetch(
    agent: IAgent, url: str, limits: FetchLimits = LIMITS, *, clock: Any = reactor, sink: Pieces | None = None
) -> bytes:
    sink = Pieces() if sink is None else sink

    async def agent_for(request: Request) -> IAgent:
        return agent

    request = Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST)
    await Fetcher(clock=clock).fetch(request, sink, agent_for=agent_for, limits=limits)
    return b"".join(sink.chunks)


def started(agent: IAgent, url: str) -> "Deferred[bytes]":
    return Deferred.fromCoroutine(fetch(agent, url))


# -- What goes well ----------------------------------------------------------------------------------------------------


@every_way
@pytest_twisted.ensureDeferred
async def test_requests_share_a_connection_through_the_proxy(rig: Rig, kind: str, tls: bool) -> None:
    """Bodies arrive whole, three of them on one connection, and the origin sees no proxy's credentials."""
    proxy = rig.proxy(kind, tls, wants_login=True)
    connections = rig.connect()
    agent = connections.agent(False, proxy.as_proxy())
    bodies = [await fetch(agent, rig.of(tls).url("/a")) for _ in range(3)]

    assert [BODY] * 3 == bodies
    assert (1, 1, 1) == (proxy.accepted, rig.of(tls).accepted, connections.opened)
    assert [] == [name for visit in rig.of(tls).visits() for name in visit.headers if name.startswith("proxy-")]
    assert kind != "socks5" or PASSWORD.encode() in proxy.said
    assert kind == "socks5" or b"Proxy-Authorization: Basic bWU6czNjcmV0OkAlIOWvhg==" in proxy.said


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_only_the_proxy_s_name_is_looked_up(rig: Rig, kind: str, tls: bool) -> None:
    """The origin's goes to the proxy; TLS with the origin is about the origin's name, TLS with the proxy about its."""
    names = LoopbackNames()
    proxy = rig.proxy(kind, tls, names=("proxy.example",))
    agent = rig.connect(names=names).agent(False, proxy.as_proxy(host="proxy.example"))
    url = rig.of(tls).url("/a").replace("127.0.0.1", "origin.example")

    assert BODY == await fetch(agent, url)
    assert ["proxy.example"] == names.asked
    assert b"origin.example" in proxy.said


@every_way
@pytest_twisted.ensureDeferred
async def test_whoever_differs_shares_no_connection(rig: Rig, kind: str, tls: bool) -> None:
    """Another user, another password, no certificate check, no proxy: five connections, though all are kept."""
    proxy = rig.proxy(kind, tls)
    connections = rig.connect()
    me = proxy.as_proxy()
    for _ in range(2):
        for others in (me, proxy.as_proxy(username="you"), proxy.as_proxy(password="other"), None):
            await fetch(connections.agent(False, others, reach=NEAREST), rig.of(tls).url("/a"))
        await fetch(connections.agent(True, me), rig.of(tls).url("/a"))

    assert (4, 5) == (proxy.accepted, rig.of(tls).accepted)


@every_way
@pytest_twisted.ensureDeferred
async def test_the_socket_is_read_in_large_pieces(rig: Rig, kind: str, tls: bool) -> None:
    """However many layers are between: Twisted reads 64 KiB at a time by itself."""
    proxy = rig.proxy(kind, tls)
    agent = rig.connect().agent(False, proxy.as_proxy())
    response = await agent.request(b"GET", rig.of(tls).url("/a", hang="body").encode())
    raw: Any = response.connection.transport  # type: ignore[attr-defined]  # of our own response
    while hasattr(raw, "transport"):
        raw = raw.transport
    assert isinstance(raw.getHandle(), socket.socket)
    assert 128 * 1024 == raw.bufferSize
    response.connection.abort_now()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "tls"), [("http", False), ("http", True), ("socks5", False)])
@pytest_twisted.ensureDeferred
async def test_no_more_idle_connections_than_allowed(rig: Rig, kind: str, tls: bool) -> None:
    """max_per_host is what stays open at the proxy when nothing is asked."""
    proxy = rig.proxy(kind, tls)
    agent = rig.connect(max_per_host=3).agent(False, proxy.as_proxy())
    await gatherResults([started(agent, rig.of(tls).url("/a", delay=0.05)) for _ in range(5)])
    await until(lambda: len(proxy.open) == 3)
    assert 5 == proxy.accepted


# -- What goes wrong at the proxy --------------------------------------------------------------------------------------


async def failure(agent: IAgent, url: str, clock: Any = reactor) -> M3u8svcError:
    with pytest.raises(M3u8svcError) as caught:
        await fetch(agent, url, clock=clock)
    for text in (repr(caught.value), caught.value.text(), str(caught.value.__cause__), repr(caught.value.__cause__)):
        assert "s3cret" not in text
    return caught.value


@every_way
@pytest_twisted.ensureDeferred
async def test_a_dead_proxy_is_the_proxy_s_fault(rig: Rig, kind: str, tls: bool) -> None:
    """Nobody listens: an error that names the proxy and is worth another try; the origin sees nothing."""
    proxy = rig.proxy(kind, tls)
    await proxy.stop()
    error = await failure(rig.connect().agent(False, proxy.as_proxy()), rig.of(tls).url("/a"))

    assert (ProxyUnreachable, True) == (type(error), error.retriable)
    assert f"无法连接代理 {kind}://127.0.0.1:{proxy.port}：连接被拒绝" == error.text()
    assert 0 == rig.of(tls).accepted


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([ConnectionDone()], ProxyUnreachable),
        ([ConnectTimeout()], ProxyUnreachable),
        ([DNSLookupError()], ProxyUnreachable),
        ([SSL.Error([("", "", "certificate verify failed")])], ProxyUntrusted),
        ([ConnectionLost(), SSL.Error([("", "", "certificate verify failed")])], ProxyUntrusted),
        ([ConnectionDone(), CancelledError()], None),
        ([ConnectionDone(), ConnectingCancelledError(None)], None),
        ([ConnectionDone(), BadResponse(url="", reason="")], None),
        ([ValueError()], None),
        ([], None),
    ],
)
def test_who_is_blamed(reasons: list[Exception], expected: type[ProxyError] | None) -> None:
    """The proxy for a lost connection, with the best reason there is; nobody for our own cancel, or what is said."""
    found = blamed(ResponseNeverReceived([Failure(reason) for reason in reasons]), PROXY)
    assert expected == (None if found is None else type(found))


class Time(Named):
    """The reactor, whose time stands still but for `advance`."""

    def __init__(self) -> None:
        super().__init__(reactor.nameResolver)
        clock = Clock()
        self.seconds, self.callLater, self.advance = clock.seconds, clock.callLater, clock.advance


TUNNELLED = [("http", True), ("https", True), ("socks5", False), ("socks5", True)]


@pytest.mark.parametrize(("kind", "tls"), TUNNELLED)
@pytest_twisted.ensureDeferred
async def test_a_silent_proxy_is_given_up_with_its_connection(rig: Rig, kind: str, tls: bool) -> None:
    """The time to connect is for the handshake as well; nothing stays open."""
    proxy, time = rig.proxy(kind, tls, silent=True), Time()
    agent = rig.connect(names=time, connect_s=CONNECT_S).agent(False, proxy.as_proxy())
    failing = Deferred.fromCoroutine(failure(agent, rig.of(tls).url("/a"), clock=time))
    await until(lambda: proxy.said != b"")
    time.advance(CONNECT_S - 0.1)
    assert not failing.called
    time.advance(0.1)
    assert failing.called

    error = await failing
    assert (ProxyUnreachable, True) == (type(error), error.retriable)
    await until(lambda: not proxy.open)
    assert (1, 1, 0) == (proxy.accepted, proxy.aborted, rig.of(tls).accepted)


@pytest.mark.parametrize("kind", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_does_not_answer_a_request_is_timed_out_as_a_server(rig: Rig, kind: str) -> None:
    """In absolute form nothing tells whose silence it is."""
    proxy = rig.proxy(kind, silent=True)
    agent = rig.connect().agent(False, proxy.as_proxy())
    with pytest.raises(HeadersTimeout):
        await fetch(agent, rig.origin.url("/a"), attrs.evolve(LIMITS, connect_s=0.1, headers_s=0.1))
    await until(lambda: not proxy.open)


@pytest.mark.parametrize(
    ("kind", "tls", "answer", "expected"),
    [
        ("http", False, b"", ProxyUnreachable),
        ("http", True, b"", ProxyUnreachable),
        ("https", True, b"", ProxyUnreachable),
        ("socks5", False, b"", ProxyUnreachable),
        ("http", False, b"SSH-2.0-x\r\n\r\n", BadResponse),
        ("http", True, b"SSH-2.0-x\r\n\r\n", ProxyError),
        ("socks5", True, b"HTTP/1.1 400 Bad\r\n\r\n", ProxyError),
        ("http", False, b"HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nwho?", ProxyAuthFailed),
        ("https", False, b"HTTP/1.1 407 Who\r\nContent-Length: 900\r\n\r\nwho?", ProxyAuthFailed),
        ("http", True, b"HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nwho?", ProxyAuthFailed),
        ("https", True, b"HTTP/1.1 407 Who\r\nConnection: close\r\n\r\n", ProxyAuthFailed),
        ("http", False, b"HTTP/1.0 401 Who\r\nServer: tinyproxy/1.11.1\r\n\r\nwho?", ProxyAuthFailed),
        ("http", False, b"HTTP/1.1 401 Who\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n", ClientStatusError),
        ("http", True, b"HTTP/1.0 401 Who\r\nServer: tinyproxy/1.11.1\r\n\r\nwho?", ProxyAuthFailed),
        ("http", True, b"HTTP/1.1 403 No\r\n\r\n", ProxyRefused),
        ("http", False, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", ClientStatusError),
        ("http", False, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", ServerStatusError),
        ("socks5", False, b"\x05\xff", ProxyAuthFailed),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_a_proxy_answers_instead(
    rig: Rig, kind: str, tls: bool, answer: bytes, expected: type[M3u8svcError]
) -> None:
    """Each is its own error, and never one without the other's blame; no connection stays after a failed handshake."""
    proxy = rig.proxy(kind, tls, answer=answer)
    error = await failure(rig.connect().agent(False, proxy.as_proxy()), rig.of(tls).url("/a"))

    assert expected is type(error)
    assert 0 == rig.of(tls).accepted
    if isinstance(error, ProxyError):
        await until(lambda: not proxy.open)


@pytest_twisted.ensureDeferred
async def test_a_407_of_the_origin_behind_a_tunnel_is_the_origin_s(rig: Rig) -> None:
    """Only who answers in place of the proxy is believed to be it."""
    proxy = rig.proxy("http", True)
    error = await failure(rig.connect().agent(False, proxy.as_proxy()), rig.tls_origin.url("/a", status=407))
    assert isinstance(error, HttpStatusError) and error.status == 407


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "socks5"])
@pytest.mark.parametrize("host", ["127.0.0.1", "other.example"])
@pytest_twisted.ensureDeferred
async def test_the_origin_s_certificate_is_checked_inside_a_tunnel(rig: Rig, kind: str, host: str) -> None:
    """Trust and name; who says that he does not care gets through."""
    proxy = rig.proxy(kind, True)
    connections = rig.connect(trusting=host != "127.0.0.1")
    url = rig.tls_origin.url("/a").replace("127.0.0.1", host)
    error = await failure(connections.agent(False, proxy.as_proxy()), url)

    assert isinstance(error, TlsError) and host in error.text()
    assert [] == rig.tls_origin.visits()
    assert BODY == await fetch(connections.agent(True, proxy.as_proxy()), url)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "other.example"])
@pytest_twisted.ensureDeferred
async def test_the_proxy_s_certificate_is_checked(rig: Rig, tls: bool, host: str) -> None:
    """Before it gets the credentials; who says that he does not care gets through."""
    proxy = rig.proxy("https", tls)
    connections = rig.connect(trusting=host != "127.0.0.1", names=LoopbackNames())
    error = await failure(connections.agent(False, proxy.as_proxy(host=host)), rig.of(tls).url("/a"))

    assert (ProxyUntrusted, False) == (type(error), error.retriable)
    assert f"https://{host}:{proxy.port}" in error.text()
    assert (b"", 0) == (proxy.said, rig.of(tls).accepted)
    assert BODY == await fetch(connections.agent(True, proxy.as_proxy(host=host)), rig.of(tls).url("/a"))


@pytest.mark.parametrize("tls", [False, True])
@pytest_twisted.ensureDeferred
async def test_tls_to_a_proxy_that_has_none(rig: Rig, tls: bool) -> None:
    """The handshake fails at the proxy, not at the origin."""
    proxy = rig.proxy("http", tls, answer=b"HTTP/1.1 400 Bad\r\n\r\n")
    error = await failure(rig.connect().agent(False, proxy.as_proxy(kind="https")), rig.of(tls).url("/a"))
    assert ProxyUnreachable is type(error) and "TLS" in error.text()


# -- Ending ------------------------------------------------------------------------------------------------------------


@every_way
@pytest_twisted.ensureDeferred
async def test_a_cancel_in_mid_body_is_felt_at_once(rig: Rig, kind: str, tls: bool) -> None:
    """The connection to the proxy is aborted, and by that the one to the origin."""
    proxy = rig.proxy(kind, tls)
    fetching = started(rig.connect().agent(False, proxy.as_proxy()), rig.of(tls).url("/a", hang="body"))
    await until(lambda: any(visit.sent_bytes for visit in rig.of(tls).visits()))
    fetching.cancel()
    with pytest.raises(CancelledError):
        await fetching

    await until(lambda: not proxy.open and [True] == [visit.aborted for visit in rig.of(tls).visits()])
    assert 1 == proxy.aborted


@every_way
@pytest_twisted.ensureDeferred
async def test_a_cancel_before_the_proxy_answers_is_felt_at_once(rig: Rig, kind: str, tls: bool) -> None:
    """And is told as a cancel, not as a failure to try again."""
    proxy = rig.proxy(kind, tls, silent=True)
    fetching = started(rig.connect().agent(False, proxy.as_proxy()), rig.of(tls).url("/a"))
    await until(lambda: proxy.said != b"")
    fetching.cancel()
    with pytest.raises(CancelledError):
        await fetching
    await until(lambda: not proxy.open)
    assert 1 == proxy.aborted


@every_way
@pytest_twisted.ensureDeferred
async def test_close_ends_every_connection(rig: Rig, kind: str, tls: bool) -> None:
    """Idle ones, busy ones and those still shaking hands, of every proxy; when it returns they are gone."""
    serving, silent = rig.proxy(kind, tls), rig.proxy(kind, tls, silent=True)
    connections = rig.connect(connect_s=30.0)
    agent = connections.agent(False, serving.as_proxy())
    await gatherResults([started(agent, rig.of(tls).url("/a", delay=0.02)) for _ in range(2)])
    failures: list[Failure] = []
    for each, url in ((agent, rig.of(tls).url("/a", hang="body")), (connections.agent(False, silent.as_proxy()), None)):
        started(each, url or rig.of(tls).url("/a")).addErrback(failures.append)
    await until(lambda: silent.said != b"" and len(rig.of(tls).visits()) == 3)
    assert (2, 1) == (len(serving.open), len(silent.open))

    await connections.close()

    await until(lambda: not serving.open and not silent.open)
    assert 2 == len(failures)
    assert 3 == connections.opened + ((kind, tls) in TUNNELLED)  # one that only shook hands was not opened


@every_way
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_goes_in_mid_body_cuts_it(rig: Rig, kind: str, tls: bool) -> None:
    """The segment is short, which is worth another try; the next one finds nobody."""
    proxy = rig.proxy(kind, tls)
    agent = rig.connect().agent(False, proxy.as_proxy())
    sink = Pieces()
    fetching = Deferred.fromCoroutine(fetch(agent, rig.of(tls).url("/a", hang="body"), sink=sink))
    await until(lambda: sink.chunks != [])
    await proxy.stop()
    with pytest.raises(Truncated):
        await fetching
    assert ProxyUnreachable is type(await failure(agent, rig.of(tls).url("/a")))


@every_way
@pytest_twisted.ensureDeferred
async def test_response_headers_are_capped(rig: Rig, kind: str, tls: bool) -> None:
    """As without a proxy."""
    proxy = rig.proxy(kind, tls)
    error = await failure(rig.connect().agent(False, proxy.as_proxy()), rig.of(tls).url("/a", endless="headers"))
    assert BadResponse is type(error) and "响应头过长" in error.text()
    await until(lambda: not proxy.open)
