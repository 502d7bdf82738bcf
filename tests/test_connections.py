"""
Connections over real sockets: what the pool keeps, what it refuses, how it ends.
"""

from collections.abc import AsyncIterator, Callable
from socket import gaierror
from typing import Any

import pytest
import pytest_twisted
import treq
from twisted.internet import reactor as _reactor
from twisted.internet._resolver import GAIResolver
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from m3u8svc.connections import MAX_HEADER_BYTES, MAX_HEADER_LINES, ConnectedResponse, Connections, HeadersTooLong
from m3u8svc.tasks.addresses import NEAREST
from m3u8svc.testing.origin import Origin
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else


async def get(connections: Connections, url: str, insecure: bool = False) -> bytes:
    response = await connections.agent(insecure, reach=NEAREST).request(b"GET", url.encode())
    body: bytes = await treq.content(response)  # readBody warns about every pooled connection
    return body


@pytest_twisted.async_yield_fixture
async def origin() -> AsyncIterator[Origin]:
    origin = await Origin.start(reactor)
    origin.put("/a", b"hello")
    yield origin
    await origin.stop()


@pytest_twisted.async_yield_fixture
async def connections() -> AsyncIterator[Connections]:
    connections = Connections(reactor)
    yield connections
    await connections.close()


@pytest_twisted.ensureDeferred
async def test_as_many_connections_are_kept_as_were_needed(origin: Origin, connections: Connections) -> None:
    """Twenty requests at once, twice, open twenty connections: none is closed for being the third (T5)."""
    url = origin.url("/a", delay=0.05)
    for _ in range(2):
        await gatherResults([Deferred.fromCoroutine(get(connections, url)) for _ in range(20)])

    assert (connections.opened, origin.accepted, origin.open) == (20, 20, 20)


@pytest_twisted.ensureDeferred
async def test_no_more_idle_connections_than_allowed(origin: Origin) -> None:
    """max_per_host is what stays open when nothing is asked."""
    connections = Connections(reactor, max_per_host=3)
    url = origin.url("/a", delay=0.05)
    await gatherResults([Deferred.fromCoroutine(get(connections, url)) for _ in range(5)])
    await until(lambda: origin.open == 3)
    await connections.close()


@pytest_twisted.ensureDeferred
async def test_checked_and_unchecked_requests_never_share_a_connection(
    origin: Origin, connections: Connections
) -> None:
    """The pool is keyed by the TLS setting; the agents are the same from call to call."""
    await get(connections, origin.url("/a"))
    await get(connections, origin.url("/a"), insecure=True)

    assert origin.accepted == 2
    assert connections.agent() is connections.agent(False) is not connections.agent(True)


@pytest_twisted.ensureDeferred
async def test_close_ends_idle_and_busy_connections(origin: Origin) -> None:
    """After close nothing is open; whoever waited gets an error; closing again, or with nothing open, is fine."""
    connections = Connections(reactor)
    await get(connections, origin.url("/a"))
    waiting = Deferred.fromCoroutine(get(connections, origin.url("/a", hang="headers")))
    reading = Deferred.fromCoroutine(get(connections, origin.url("/a", hang="body")))
    await until(lambda: len(origin.visits()) == 3)
    await deferLater(reactor, 0.02)
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    reading.addErrback(failures.append)

    await connections.close()
    await connections.close()

    await until(lambda: origin.open == 0)
    assert len(failures) == 2


@pytest_twisted.ensureDeferred
async def test_a_response_knows_its_connection(origin: Origin, connections: Connections) -> None:
    """Aborting it is seen by the origin in the middle of a body."""
    response = await connections.agent(reach=NEAREST).request(b"GET", origin.url("/a", hang="body").encode())
    assert isinstance(response, ConnectedResponse)
    response.connection.abort_now()

    await until(lambda: [visit.aborted for visit in origin.visits()] == [True])
    assert response.connection.broken


# -- Headers ---------------------------------------------------------------------------------------------------------


class Scripted(Protocol):
    """Answers every request with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def dataReceived(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            assert self.transport is not None
            self.transport.write(self._answer)


class ScriptedFactory(Factory):
    noisy = False

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def buildProtocol(self, addr: object) -> Scripted:
        return Scripted(self._answer)


def answer_with(headers: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + headers + b"\r\nok"


def lines_of(count: int) -> bytes:
    return b"X-A: 1\r\n" * count


def bytes_of(size: int) -> bytes:
    """Headers of `size` bytes in all, in lines that Twisted takes."""
    line = b"X-A: " + b"a" * 993 + b"\r\n"
    whole, rest = divmod(size, len(line))
    return line * (whole - 1) + b"X-A: " + b"a" * (993 + rest) + b"\r\n"


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (answer_with(lines_of(MAX_HEADER_LINES - 5)), True),
        (answer_with(lines_of(MAX_HEADER_LINES + 1)), False),
        (answer_with(bytes_of(MAX_HEADER_BYTES - 1000)), True),
        (answer_with(bytes_of(MAX_HEADER_BYTES + 1)), False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + answer_with(b""), True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 300, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_response_headers_are_capped(connections: Connections, answer: bytes, accepted: bool) -> None:
    """Up to the limits they are read, beyond them refused, whether complete in one piece or not (trap 6)."""
    listening = reactor.listenTCP(0, ScriptedFactory(answer), interface="127.0.0.1")
    url = f"http://127.0.0.1:{listening.getHost().port}/"

    if accepted:
        assert await get(connections, url) == b"ok"
    else:
        with pytest.raises(Exception) as caught:  # Twisted wraps it or not, by how it was noticed
            await get(connections, url)
        reasons = [caught.value, *(reason.value for reason in getattr(caught.value, "reasons", []))]
        assert any(isinstance(reason, HeadersTooLong) for reason in reasons)
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_the_cap_is_for_each_response(connections: Connections) -> None:
    """Many responses on one connection do not add up."""
    listening = reactor.listenTCP(0, ScriptedFactory(answer_with(bytes_of(40_000))), interface="127.0.0.1")
    for _ in range(5):
        assert await get(connections, f"http://127.0.0.1:{listening.getHost().port}/") == b"ok"

    assert connections.opened == 1
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_bytes_beyond_the_announced_length_end_the_connection(connections: Connections) -> None:
    """They are not left for the next response."""
    listening = reactor.listenTCP(0, ScriptedFactory(answer_with(b"") + b"HTTP/1.1 200 forged"), interface="127.0.0.1")
    for _ in range(3):
        assert await get(connections, f"http://127.0.0.1:{listening.getHost().port}/") == b"ok"

    assert connections.opened == 3
    await listening.stopListening()


# -- Names -----------------------------------------------------------------------------------------------------------


@implementer(IReactorPluggableNameResolver)
class Named:
    """The reactor with another way to look names up."""

    def __init__(self, nameResolver: object) -> None:
        self.nameResolver = nameResolver

    def installNameResolver(self, resolver: object) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class LoopbackNames(Named):
    """The reactor, for which every name is 127.0.0.1; remembers which were asked."""

    def __init__(self) -> None:
        super().__init__(self)
        self.asked: list[str] = []

    def resolveHostName(
        self, receiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *others: object
    ) -> object:
        self.asked.append(hostName)
        receiver.resolutionBegan(self)
        receiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        receiver.resolutionComplete()
        return self


@implementer(IHostnameResolver)
class RaisingNames:
    """Raises where it is called, before anything is looked up."""

    def resolveHostName(self, receiver: IResolutionReceiver, *asked: object, **others: object) -> object:
        raise UnicodeError("label too long")


@implementer(IHostnameResolver)
class SilentNames:
    """Never answers; keeps who waits."""

    def __init__(self) -> None:
        self.waiting: list[IResolutionReceiver] = []

    def resolveHostName(self, receiver: IResolutionReceiver, *asked: object, **others: object) -> object:
        self.waiting.append(receiver)
        return self


def raising(kind: type[Exception]) -> Callable[..., Any]:
    """A getaddrinfo that fails; anew each time, since an exception that is kept keeps its Deferred from being told."""

    def getaddrinfo(*asked: object) -> Any:
        raise kind("label too long")

    return getaddrinfo


NAMES = ["a_b.example", "_x.example", "r3---sn-abc.example", "plain.example", "under_.example."]


@pytest.mark.parametrize("name", NAMES)
@pytest_twisted.ensureDeferred
async def test_names_that_idna_refuses_are_asked_for_as_they_are(origin: Origin, name: str) -> None:
    """Underscores and doubled hyphens exist in DNS: such hosts connect (trap 12)."""
    names = LoopbackNames()
    connections = Connections(names)

    assert await get(connections, f"http://{name}:{origin.port}/a") == b"hello"
    await connections.close()
    assert names.asked == [name]


@pytest.mark.parametrize("name", ["a_b.example", "r3---sn-abc.example", "plain.example"])
@pytest.mark.parametrize("certified", [True, False])
@pytest_twisted.ensureDeferred
async def test_such_names_are_checked_under_tls_as_well(name: str, certified: bool) -> None:
    """A certificate with the name is accepted, one without is not."""
    origin = await Origin.start(reactor, tls=True, names=(name,) if certified else ("other.example",))
    origin.put("/a", b"hello")
    connections = Connections(LoopbackNames(), trust_root=origin.trust_root)
    url = f"https://{name}:{origin.port}/a"

    if certified:
        assert await get(connections, url) == b"hello"
    else:
        with pytest.raises(Exception, match="certificate verify failed|VerificationError|DNSMismatch"):
            await get(connections, url)
        assert origin.visits() == []
    await connections.close()
    await origin.stop()


@pytest.mark.parametrize("insecure", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_name_is_sent_in_the_handshake(insecure: bool) -> None:
    """SNI, with certificates checked or not: servers choose their site by it."""
    names: list[bytes | None] = []
    origin = await Origin.start(
        reactor, tls=True, names=("plain.example",), on_server_name=lambda name: names.append(name)
    )
    origin.put("/a", b"hello")
    connections = Connections(LoopbackNames(), trust_root=origin.trust_root)

    assert await get(connections, f"https://plain.example:{origin.port}/a", insecure) == b"hello"
    assert await get(connections, f"https://127.0.0.1:{origin.port}/a", insecure) == b"hello"
    await connections.close()
    await origin.stop()

    assert names == [b"plain.example", None]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "names",
    [
        GAIResolver(reactor, getaddrinfo=raising(gaierror)),
        GAIResolver(reactor, getaddrinfo=raising(UnicodeError)),
        GAIResolver(reactor, getaddrinfo=raising(RuntimeError)),
        RaisingNames(),
    ],
    ids=["not found", "unicode error in a thread", "any error in a thread", "error where it is called"],
)
@pytest_twisted.ensureDeferred
async def test_a_lookup_that_raises_ends_the_attempt_at_once(names: object, scheme: str) -> None:
    """Whatever a resolver raises is a name that was not found; nothing is left unhandled, nothing waits."""
    connections = Connections(Named(names))
    began_s = reactor.seconds()
    answer = Deferred.fromCoroutine(get(connections, f"{scheme}://name.example/a")).addTimeout(9, reactor)

    with pytest.raises(DNSLookupError):
        await answer
    assert reactor.seconds() - began_s < 8
    await connections.close()


@pytest.mark.parametrize("name", ["-", "xn--", "a-", "-a.example", "a.example-"])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_a_name_that_cannot_be_asked_for_is_not_found(connections: Connections, scheme: str, name: str) -> None:
    """It is no ValueError, which reads like a bad answer of the server."""
    with pytest.raises(DNSLookupError):
        await get(connections, f"{scheme}://{name}/a")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_a_cancel_during_the_lookup_is_a_cancel(scheme: str) -> None:
    """Told as a name that was not found it would be tried again; an answer that comes late is nobody's."""
    names = SilentNames()
    connections = Connections(Named(names))
    waiting = Deferred.fromCoroutine(get(connections, f"{scheme}://name.example/a"))
    assert len(names.waiting) == 1
    waiting.cancel()

    with pytest.raises((CancelledError, ConnectingCancelledError)):
        await waiting
    names.waiting[0].resolutionComplete()
    await connections.close()
