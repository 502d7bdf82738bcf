"""
The connections that requests travel on: pooled, kept alive, capped in headers, closed in bounded time.

One pool per TLS setting and proxy, so that a request that wants certificates checked never rides on a connection that
did not, and none through a proxy on one that goes elsewhere or was opened with other credentials. Where a connection
may lead to is decided when it is made, by its address (`tasks.reach`); it carries no request that might not have made
it.
Four things Twisted's client leaves open are closed here: response headers without end (measured: +138 MiB in 3 s), a
body whose connection can be ended but not aborted, host names that IDNA refuses although DNS has them, and lookups
without end.
"""

# mypy: disable-error-code="no-untyped-call"
# (Twisted's own classes are not annotated, and super() calls escape the exclusion for "twisted".)

import ipaddress
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property, partial
from socket import AF_INET, AF_INET6, EAI_FAIL, SOCK_DGRAM, gaierror, socket
from typing import Any
from weakref import WeakSet

import attrs
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, DNSLookupError, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.components import proxyForInterface
from twisted.python.failure import Failure
from twisted.web._newclient import (
    HTTP11ClientProtocol,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web._newclient import Request as WireRequest
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HostnameCachingHTTPSPolicy,
    HTTPConnectionPool,
    ProxyAgent,
    _HTTP11ClientFactory,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from m3u8svc.errors import ForbiddenAddress, ProxyAuthFailed
from m3u8svc.records import TlsEndpoint
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.proxy import Proxy
from m3u8svc.tasks.reach import Policy, Verdict
from m3u8svc.tunnels import ProxyEndpoint, Tunnel, TunnelEndpoint, blamed

TrustRoot = Any
"""What `twisted.internet.ssl.trustRootFromCertificates` returns; its interface is private to Twisted."""

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADER_LINES = 200
CLOSE_WITHIN_S = 2.0
MAX_LINES = 64
"""Agents kept for proxies that nothing is connected through at the moment."""

_CACHED_TLS_HOSTS = 256  # a fresh trust store costs 9 ms of CPU; playlists name few hosts
_RECEIVE_BYTES = 128 * 1024  # measured: 0.6 CPU s for a GB; 0.85 with 64 KiB, 0.87 with 256
_ASCII_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")


@attrs.define
class Counts:
    """
    What has happened on all connections so far.
    """

    opened: int = 0
    """Connections that were ever opened."""
    repeated: int = 0
    """Requests that found their kept connection closed and were sent once more on a new one."""


class Connections:
    """
    All connections of one process, shared by its tasks.

    Args:
        max_per_host: idle connections kept per scheme, host and port. Twisted's default of two would close and open
            one for every segment beyond.
        trust_root: whom to trust with https; None = what the platform trusts.
        policy: which addresses may be connected to.
    """

    def __init__(
        self,
        reactor: Any,  # a reactor with TCP, time and a name resolver: zope interfaces cannot be joined in a type
        *,
        max_per_host: int = 64,
        connect_s: float = 15.0,
        trust_root: TrustRoot | None = None,
        policy: Policy | None = None,
    ) -> None:
        self._reactor = reactor
        self._policy = policy or Policy(is_here=is_here)
        self._max_per_host = max_per_host
        self._connect_s = connect_s
        self._trust_root = trust_root
        self._counts = Counts()
        self._lines: dict[tuple[Proxy | None, bool], _Line] = {}
        self._pools: WeakSet[_Pool] = WeakSet()
        """Every pool that has a connection, those of forgotten lines too: connections hold on to theirs."""

    def agent(self, insecure: bool = False, proxy: Proxy | None = None, *, reach: Zone = Zone.PUBLIC) -> IAgent:
        """
        The agent whose requests use these connections, as far as `reach`; `insecure` ones do not check certificates.
        With a proxy every request goes through it. Lines that differ in anything share no connection, credentials
        included; those that only differ in reach share what all of them may reach.
        """
        line = self._lines.pop((proxy, insecure), None) or self._line(insecure, proxy)
        self._lines[proxy, insecure] = line  # last in the order: used just now
        self._forget_idle_lines()
        return line.agents[reach]

    @cached_property
    def _checking(self) -> IPolicyForHTTPS:
        return _VerifyingPolicy(self._trust_root)

    @cached_property
    def _unchecking(self) -> IPolicyForHTTPS:
        return _InsecurePolicy()

    def _line(self, insecure: bool, proxy: Proxy | None) -> "_Line":
        pool = _Pool(self._reactor, max_per_host=self._max_per_host, counts=self._counts)
        self._pools.add(pool)
        policy = self._unchecking if insecure else self._checking
        if proxy is None:
            return _Line(pool=pool, agents={reach: self._direct(policy, pool, reach) for reach in Zone})
        way = _proxy_endpoint(self._reactor, proxy, policy, self._policy, self._connect_s)
        tunnels = _TunnelEndpoints(self._reactor, way, proxy, policy, pool, self._connect_s)
        agent = Agent.usingEndpointFactory(self._reactor, tunnels, pool)
        if proxy.kind != "socks5":
            agent = _HttpProxyAgent(proxy, ProxyAgent(way, self._reactor, pool), agent)
        return _Line(pool=pool, agents=dict.fromkeys(Zone, agent))  # whom it may ask is judged by `fetch`

    def _direct(self, policy: IPolicyForHTTPS, pool: "_Pool", reach: Zone) -> "DirectAgent":
        endpoints = _Endpoints(self._reactor, policy, self._policy, reach, self._connect_s)
        agent: DirectAgent = DirectAgent.usingEndpointFactory(self._reactor, endpoints, pool)
        return agent

    def _forget_idle_lines(self) -> None:
        """
        Tasks may each have a proxy user of their own: lines that nobody uses do not pile up.
        """
        surplus = len(self._lines) - MAX_LINES
        if surplus > 0:
            others = list(self._lines.items())[:-1]
            for key in [key for key, line in others if key[0] is not None and line.pool.is_idle][:surplus]:
                del self._lines[key]

    @property
    def opened(self) -> int:
        """How many connections were ever opened."""
        return self._counts.opened

    @property
    def repeated(self) -> int:
        """How many requests found their kept connection closed and were sent once more on a new one."""
        return self._counts.repeated

    def drop_idle(self) -> None:
        """
        Begin to close the connections that are kept for later: somebody needs their descriptors.
        """
        for pool in list(self._pools):
            pool.closeCachedConnections()

    async def close(self) -> None:
        """
        Close every connection, busy ones too; returns when they are gone, after two seconds at the latest.
        """
        pools, self._pools, self._lines = list(self._pools), WeakSet(), {}
        for pool in pools:
            await pool.close(self._reactor)


@attrs.frozen(kw_only=True)
class _Line:
    """
    The agents of every reach, and the pool their connections are in.
    """

    pool: "_Pool"
    agents: Mapping[Zone, IAgent]


class DirectAgent(Agent):
    """
    An agent that looks names up here and judges what it finds.
    """


# -- The pool --------------------------------------------------------------------------------------------------------


class HttpConnection(HTTP11ClientProtocol):
    """
    One connection to an origin, which limits response headers and can be aborted in the middle of a body.
    """

    lost: Failure | None = None
    """Why the connection ended, once it has."""
    overlong = False
    """Whether more came than the last answer had announced."""
    verdict: Verdict | None = None
    """What the policy said of the addresses it was opened to; None where it leads through a proxy."""

    def __init__(self, quiescent: Callable[[HTTP11ClientProtocol], None], pool: "_Pool") -> None:
        super().__init__(quiescent)
        self._pool = pool
        self._in_headers = False
        self._header_bytes = 0
        self._header_lines = 0
        self._served = 0
        self._sent: WireRequest | None = None
        self._socket: Any = None
        self._gathered: list[bytes] | None = None

    def connectionMade(self) -> None:
        """Join the pool's live connections; read in larger pieces than Twisted's 64 KiB."""
        super().connectionMade()
        self._pool.joined(self)
        raw: Any = self.transport
        while hasattr(raw, "transport"):  # under TLS the socket is one further down, in a tunnel under TLS two
            raw = raw.transport
        if hasattr(raw, "bufferSize"):  # of Twisted's sockets; another's may lack it
            self._socket = raw
            self.read_at_most(_RECEIVE_BYTES)

    def read_at_most(self, size_bytes: int) -> None:
        """
        How much one read of the socket may bring from now on; never more than is good for speed.
        """
        if self._socket is not None:
            self._socket.bufferSize = min(size_bytes, _RECEIVE_BYTES)

    def request(self, request: WireRequest) -> "Deferred[IResponse]":
        """Send `request`; the response knows its connection."""
        self._in_headers = True
        self._header_bytes = self._header_lines = 0
        reused, self._served = self._served > 0, self._served + 1
        self._sent = request
        answer: Deferred[IResponse] = super().request(request)
        return answer.addCallbacks(self._answered, self._unanswered, errbackArgs=(reused,))

    def _answered(self, response: IResponse) -> IResponse:
        self._in_headers = False
        # They may all have come in one piece, which dataReceived has had no time to count.
        headers = [(name, value) for name, values in response.headers.getAllRawHeaders() for value in values]
        size_bytes = sum(len(name) + len(value) + 4 for name, value in headers)
        if size_bytes > MAX_HEADER_BYTES or len(headers) > MAX_HEADER_LINES:
            self.abort_now()
            raise HeadersTooLong(size_bytes, len(headers))
        return ConnectedResponse(response, self)

    def _unanswered(self, failure: Failure, reused: bool) -> Failure:
        self._in_headers = False
        if reused and failure.check(ResponseNeverReceived, RequestTransmissionFailed, RequestNotSent):
            stopped = any(reason.check(CancelledError) for reason in getattr(failure.value, "reasons", ()))
            self._pool.counts.repeated += not stopped
        return failure

    def gather(self) -> None:
        """Keep what comes from now on: the rest of it follows at once."""
        if self._gathered is None:  # else what is there already would be lost
            self._gathered = []

    def deliver(self) -> None:
        """Take what was gathered, as if it had come in one piece."""
        pieces, self._gathered = self._gathered, None
        if pieces:
            self.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def dataReceived(self, data: bytes) -> None:
        """Pass `data` on; give up on headers that go on too long."""
        if self._gathered is not None:
            self._gathered.append(data)
            return
        served = self._served
        super().dataReceived(data)
        # The end of a body sets off the next request at once; then these bytes are none of its headers.
        if self._in_headers and served == self._served:
            self._header_bytes += len(data)
            self._header_lines += data.count(b"\n")
            if self._header_bytes > MAX_HEADER_BYTES or self._header_lines > MAX_HEADER_LINES:
                self._in_headers = False
                self.abort_now()
                self._giveUp(Failure(HeadersTooLong(self._header_bytes, self._header_lines)))

    def _finishResponse(self, rest: bytes) -> None:
        # More than was announced: what follows would be taken for the answer to the next request.
        if rest and self._sent is not None:
            self._sent.persistent = False
            self.overlong = bool(rest.strip(b"\r\n"))  # some servers end a body with a line of nothing
        super()._finishResponse(rest)

    def abort_now(self) -> None:
        """
        Close without waiting for anything, so that the other end sees it at once.
        """
        transport: Any = self.transport  # a TCP or TLS transport; ITransport alone cannot abort
        if transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's is a dispatcher object
        """Remember why, before the response hears of it."""
        self.lost = reason
        self._pool.left(self)
        super().connectionLost(reason)

    @property
    def broken(self) -> bool:
        """Whether the connection ended other than by the origin closing it in good order."""
        return self.lost is not None and not self.lost.check(ConnectionDone)


class HeadersTooLong(Exception):
    """
    Response headers beyond the limits; becomes `BadResponse` in fetch.
    """

    def __init__(self, size_bytes: int, lines: int) -> None:
        super().__init__(f"headers go on beyond {size_bytes} bytes, {lines} lines")


class ConnectedResponse(proxyForInterface(IResponse)):  # type: ignore[misc]  # a class made at run time
    """
    A response that knows which connection it comes from.
    """

    def __init__(self, original: IResponse, connection: HttpConnection) -> None:
        super().__init__(original)
        self.connection = connection


class _Pool(HTTPConnectionPool):
    """
    Twisted's pool with our connections in it, counting them.

    A kept connection that the origin has closed meanwhile is no failure: Twisted repeats the GET once on a new one.
    """

    def __init__(self, reactor: IReactorTime, *, max_per_host: int, counts: Counts) -> None:
        super().__init__(reactor)
        self.maxPersistentPerHost = max_per_host
        self.counts = counts
        self._live: set[HttpConnection | Tunnel] = set()
        self._emptied: Deferred[None] | None = None
        self._closed = False

    def _factory(  # type: ignore[override]  # HTTPConnectionPool calls it by this name; there it is a class
        self, quiescent: Callable[[HTTP11ClientProtocol], None], metadata: object
    ) -> "_HttpConnectionFactory":
        return _HttpConnectionFactory(quiescent, metadata, self)

    def _newConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> "Deferred[HTTP11ClientProtocol]":
        # Aborting a busy connection would otherwise set off the repeat of its request, on a new one.
        if self._closed:
            return fail(ConnectionAborted())
        if not isinstance(endpoint, _JudgedEndpoint):
            return super()._newConnection(key, endpoint)
        made: Deferred[Any] = super()._newConnection(_without_zone(key), endpoint)  # Any: it is our own kind
        return made.addCallback(endpoint.mark)

    def getConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> "Deferred[HTTP11ClientProtocol]":
        """
        A kept connection or a new one. Kept ones are filed by the zone that somebody had to be allowed to enter for
        them, so that whoever may not enter it never finds them.
        """
        if isinstance(endpoint, _JudgedEndpoint):
            for zone in range(endpoint.reach + 1):
                if self._connections.get((key, Zone(zone))):
                    return super().getConnection((key, Zone(zone)), endpoint)
        return super().getConnection(key, endpoint)

    def _putConnection(self, key: Hashable, connection: HTTP11ClientProtocol) -> None:
        verdict = getattr(connection, "verdict", None)
        super()._putConnection(key if verdict is None else (_without_zone(key), verdict.entered), connection)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is open."""
        return not self._live

    def joined(self, connection: "HttpConnection | Tunnel") -> None:
        """A connection is made; one through a tunnel joins twice, as the tunnel and as what is in it."""
        self.counts.opened += isinstance(connection, HttpConnection)
        self._live.add(connection)
        if self._closed:
            connection.abort_now()

    def left(self, connection: "HttpConnection | Tunnel") -> None:
        """A connection has ended."""
        self._live.discard(connection)
        if self._emptied is not None and not self._live:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    async def close(self, clock: IReactorTime) -> None:
        """Abort all connections and wait, a little, until they are gone (twisted#7738: closing alone can hang)."""
        self._closed = True
        self.closeCachedConnections()  # forgets them and stops their idle timers; its Deferred is what can hang
        if not self._live:
            return
        self._emptied = Deferred()
        waited = self._emptied.addTimeout(CLOSE_WITHIN_S, clock, onTimeoutCancel=lambda result, timeout: None)
        for connection in tuple(self._live):
            connection.abort_now()
        await waited


def _without_zone(key: Any) -> Hashable:  # Any: a tuple of Twisted's, or one of it and a zone
    bare: Hashable = key[0] if isinstance(key[-1], Zone) else key
    return bare


class _HttpConnectionFactory(_HTTP11ClientFactory):
    noisy = False  # else two lines in the log for every connection

    def __init__(self, quiescent: Callable[[HTTP11ClientProtocol], None], metadata: object, pool: _Pool) -> None:
        super().__init__(quiescent, metadata)
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:
        return HttpConnection(self._quiescentCallback, self._pool)


# -- Where and how to connect ----------------------------------------------------------------------------------------


Judge = Callable[[Sequence[str]], Verdict]
"""What says of all addresses of a host whether they may be connected to; raises `ForbiddenAddress`."""


@implementer(IStreamClientEndpoint)
class _NamedEndpoint:
    """
    A host by its name or number, as far as it may be connected to: it is looked up once for a connection, all that was
    found is judged, and nothing else is connected to (R-SSRF-2).

    Every lookup ends: in addresses, as a name that was not found, or as the cancel it was given. Twisted's own waits
    for ever when a resolver raises, and tells a cancel as a name that was not found, which would be tried again.
    """

    verdict: Verdict | None = None
    """On the addresses that the last connection was made by."""

    def __init__(self, reactor: Any, host: str, port: int, *, judge: Judge, timeout_s: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._judge = judge
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to whichever address of the name answers first."""
        found = _Found(self._judge)
        way = _HappyEyeballs(self._reactor, self._host, self._port, self._timeout_s, found)
        if way.is_nameless:  # else a ValueError, which reads like a bad answer
            return fail(DNSLookupError(f"no name to ask for: {self._host}"))
        try:
            attempt = way.connect(_CheckingFactory(protocolFactory, found))
        except Exception as error:  # whatever a resolver that was plugged in may raise
            return fail(DNSLookupError(f"{type(error).__name__}: {error}"))

        def cancel(waiting: "Deferred[IProtocol]") -> None:
            waiting.errback(CancelledError())
            attempt.cancel()

        connected: Deferred[IProtocol] = Deferred(cancel)

        def made(protocol: IProtocol) -> None:
            self.verdict = found.verdict
            connected.callback(protocol)

        def failed(failure: Failure) -> None:
            if not connected.called:
                connected.errback(found.refused or failure)

        attempt.addCallbacks(made, failed)
        # Each address has its own time; a lookup that nobody answers has none, in Twisted.
        return connected.addTimeout(
            2 * self._timeout_s, self._reactor, onTimeoutCancel=lambda result, after: Failure(TimeoutError())
        )


class _HappyEyeballs(HostnameEndpoint):
    """
    The way Twisted connects to one of several addresses, also for names with ``_`` and for ``r3---sn-x``, which IDNA
    2008 refuses.
    """

    def __init__(self, reactor: Any, host: str, port: int, timeout_s: float, found: "_Found") -> None:
        self._found = found
        super().__init__(reactor, host, port, timeout=timeout_s)

    @property
    def is_nameless(self) -> bool:
        """Whether no resolver can be asked for the host."""
        return self._badHostname

    def _getNameResolverAndMaybeWarn(self, reactor: object) -> IHostnameResolver:
        found: IHostnameResolver = super()._getNameResolverAndMaybeWarn(reactor)
        if isinstance(found, GAIResolver):
            found = GAIResolver(found._reactor, found._getThreadPool, partial(_look_up, found._getaddrinfo))
        return _JudgingResolver(found, self._found)

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("latin-1") if isinstance(host, bytes) else host
        if _ASCII_NAME.fullmatch(text):
            return False, text.encode("ascii"), text
        return HostnameEndpoint._hostAsBytesAndText(host)


class _Found:
    """
    The addresses of one lookup, and what the policy says of them.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._addresses: list[IAddress] = []
        self._hosts: list[str] = []
        self.verdict: Verdict | None = None
        self.refused: Failure | None = None
        """The refusal, once there is one."""

    def add(self, address: IAddress) -> None:
        """One more."""
        self._addresses.append(address)
        self._hosts.append(str(getattr(address, "host", "")))

    def judged(self) -> list[IAddress]:
        """Those that may be connected to: all or none."""
        if not self._addresses:
            return []
        try:
            self.verdict = self._judge(self._hosts)
        except ForbiddenAddress:
            self.refused = Failure()
            return []
        return self._addresses

    def check(self, peer: IAddress | None) -> None:
        """
        Whom a connection really leads to must be one of them.

        Raises:
            ForbiddenAddress: it is not.
        """
        host = str(getattr(peer, "host", ""))
        if _plain(host) not in map(_plain, self._hosts):
            self.refused = Failure(ForbiddenAddress(url="", place=host, zone="forbidden"))
            self.refused.raiseException()


def _plain(address: str) -> str:
    """An address in its one spelling."""
    try:
        return str(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return address


@implementer(IHostnameResolver)
class _JudgingResolver:
    """
    Another resolver, of whose addresses only those are passed on that may be connected to.
    """

    def __init__(self, resolver: IHostnameResolver, found: _Found) -> None:
        self._resolver = resolver
        self._found = found

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *others: Any, **more: Any
    ) -> IHostResolution:
        """As IHostnameResolver says; nothing is passed on before all is known."""
        receiver = _JudgingReceiver(resolutionReceiver, self._found)
        resolution: IHostResolution = self._resolver.resolveHostName(receiver, hostName, portNumber, *others, **more)
        return resolution


@implementer(IResolutionReceiver)
class _JudgingReceiver:
    def __init__(self, receiver: IResolutionReceiver, found: _Found) -> None:
        self._receiver = receiver
        self._found = found

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing yet."""
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        """Keep it until all are there."""
        self._found.add(address)

    def resolutionComplete(self) -> None:
        """All are there."""
        for address in self._found.judged():
            self._receiver.addressResolved(address)
        self._receiver.resolutionComplete()


class _CheckingFactory(proxyForInterface(IProtocolFactory)):  # type: ignore[misc]  # a class made at run time
    """
    A factory whose protocols are only for connections to whom was meant.
    """

    def __init__(self, original: IProtocolFactory, found: _Found) -> None:
        super().__init__(original)
        self._found = found

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """For a peer that was judged; `addr` is the transport's own `getPeer()`."""
        self._found.check(addr)
        made: IProtocol | None = self.original.buildProtocol(addr)
        return made


def _look_up(getaddrinfo: Callable[..., Any], *asked: object) -> Any:  # Any: what the one of `socket` takes and gives
    """
    `getaddrinfo`, in a thread. GAIResolver expects a gaierror and nothing else: others it drops, and never answers.
    """
    try:
        return getaddrinfo(*asked)
    except gaierror:
        raise
    except Exception as error:  # UnicodeError for a label over 63 bytes, and what else a name service may raise
        raise gaierror(EAI_FAIL, f"{type(error).__name__}: {error}") from error


def is_here(address: str) -> bool:
    """
    Whether an address is one of this machine: only there can something listen at it.
    """
    family = AF_INET6 if ":" in address else AF_INET
    with socket(family, SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@implementer(IStreamClientEndpoint)
class _JudgedEndpoint:
    """
    The way to an origin within a reach; what is made by it knows the verdict on its addresses.
    """

    def __init__(self, named: _NamedEndpoint, endpoint: IStreamClientEndpoint, reach: Zone) -> None:
        self._named = named
        self._endpoint = endpoint
        self.reach = reach

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """As the endpoint does."""
        made: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return made

    def mark(self, connection: HttpConnection) -> HttpConnection:
        """Write down the verdict by which `connection` was made."""
        connection.verdict = self._named.verdict
        return connection


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(  # Any: as in Connections
        self, reactor: Any, policy: IPolicyForHTTPS, addresses: Policy, reach: Zone, connect_s: float
    ) -> None:
        self._reactor = reactor
        self._policy = policy
        self._addresses = addresses
        self._reach = reach
        self._connect_s = connect_s

    def endpointForURI(self, uri: URI) -> _JudgedEndpoint:
        """Plain TCP for http, TLS for https; fetch lets no other scheme through."""
        host = uri.host.decode("ascii")
        judge = partial(self._addresses.judge, host, uri.port, reach=self._reach)
        named = _NamedEndpoint(self._reactor, host, uri.port, judge=judge, timeout_s=self._connect_s)
        endpoint: IStreamClientEndpoint = named
        if uri.scheme == b"https":
            endpoint = TlsEndpoint(self._policy.creatorForNetloc(uri.host, uri.port), named)
        return _JudgedEndpoint(named, endpoint, self._reach)


# -- Through a proxy -------------------------------------------------------------------------------------------------


def _proxy_endpoint(
    reactor: Any, proxy: Proxy, policy: IPolicyForHTTPS, addresses: Policy, connect_s: float
) -> ProxyEndpoint:
    """
    The way to the proxy itself, inside TLS for an https one; the same policy as for origins.
    """
    judge = partial(addresses.judge_proxy, proxy.host, proxy.port)
    endpoint: IStreamClientEndpoint = _NamedEndpoint(reactor, proxy.host, proxy.port, judge=judge, timeout_s=connect_s)
    if proxy.kind == "https":
        endpoint = TlsEndpoint(policy.creatorForNetloc(proxy.host.encode("ascii"), proxy.port), endpoint)
    return ProxyEndpoint(endpoint, proxy)


@implementer(IAgentEndpointFactory)
class _TunnelEndpoints:
    """
    As `_Endpoints`, at the far end of a proxy.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        way: ProxyEndpoint,
        proxy: Proxy,
        policy: IPolicyForHTTPS,
        pool: "_Pool",
        connect_s: float,
    ) -> None:
        self._reactor = reactor
        self._way = way
        self._proxy = proxy
        self._policy = policy
        self._pool = pool
        self._connect_s = connect_s

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """A tunnel for http, TLS in a tunnel for https."""
        from m3u8svc.tasks.handshakes import handshake_for  # its libraries are only needed with a proxy

        endpoint = TunnelEndpoint(
            self._way,
            self._proxy,
            partial(handshake_for, self._proxy, uri.host.decode("ascii"), uri.port),
            live=self._pool,
            clock=self._reactor,
            within_s=self._connect_s,
        )
        if uri.scheme == b"https":
            return TlsEndpoint(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


@implementer(IAgent)
class _HttpProxyAgent:
    """
    Asks an HTTP proxy for http URLs itself, in absolute form, and for a tunnel to the host of an https one. So its
    credentials are in a request that the proxy answers, and never in one that an origin does.
    """

    def __init__(self, proxy: Proxy, asking: IAgent, tunnelling: IAgent) -> None:
        self._proxy = proxy
        self._asking = asking
        self._tunnelling = tunnelling

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> "Deferred[IResponse]":
        """As IAgent says."""
        if uri.startswith(b"https:"):
            return self._tunnelling.request(method, uri, headers, bodyProducer)
        ours = Headers() if headers is None else headers.copy()
        if self._proxy.authorization is not None:
            ours.setRawHeaders("Proxy-Authorization", [self._proxy.authorization])
        return self._asking.request(method, uri, ours, bodyProducer).addCallbacks(self._answered, self._unanswered)

    def _answered(self, response: IResponse) -> IResponse:
        if _asks_for_credentials(response):
            if isinstance(response, ConnectedResponse):
                response.connection.abort_now()
            raise ProxyAuthFailed(proxy=self._proxy.shown, reason=f"HTTP {response.code}")
        return response

    def _unanswered(self, failure: Failure) -> Failure:
        found = blamed(failure.value, self._proxy)
        return failure if found is None else Failure(found)


def _asks_for_credentials(response: IResponse) -> bool:
    """
    Whether it is the proxy that answers, and wants to know who we are: 407 is nobody else's (RFC 9110, 15.5.8).
    tinyproxy says 407 to no credentials and 401 to wrong ones; whom that is from is in a header that it passes on from
    origins unchanged.
    """
    server: bytes = response.headers.getRawHeaders(b"Server", [b""])[0]
    return response.code == 407 or (response.code == 401 and server.startswith(b"tinyproxy/"))


# -- Whom to trust ---------------------------------------------------------------------------------------------------


@implementer(IPolicyForHTTPS)
class _VerifyingPolicy:
    """
    The platform's trust and the host's name, checked; TLS 1.2 at least.
    """

    def __init__(self, trust_root: TrustRoot | None) -> None:
        self._given = trust_root

    @cached_property
    def _trust_root(self) -> TrustRoot:
        return platformTrust() if self._given is None else self._given

    @cached_property
    def _usual(self) -> IPolicyForHTTPS:
        # Made with the first https connection: reading the trust store costs 0.05 s that plain http need not pay.
        return HostnameCachingHTTPSPolicy(BrowserLikePolicyForHTTPS(self._trust_root), _CACHED_TLS_HOSTS)

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """Twisted's own way, and ours for names that it cannot encode."""
        try:
            return self._usual.creatorForNetloc(hostname, port)
        except UnicodeError:  # idna.IDNAError is one
            context = CertificateOptions(trustRoot=self._trust_root).getContext()
            return _NamedTls(context, hostname, verify=True)


@implementer(IPolicyForHTTPS)
class _InsecurePolicy:
    """
    Encrypted, but to anybody (`allow_insecure_https`).
    """

    def __init__(self) -> None:
        self._context = CertificateOptions(verify=False).getContext()

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """The name is still sent: many servers choose their certificate and site by it."""
        return _NamedTls(self._context, hostname, verify=False)


@implementer(IOpenSSLClientConnectionCreator)
class _NamedTls:
    def __init__(self, context: SSL.Context, hostname: bytes, *, verify: bool) -> None:
        self._context = context
        self._hostname = hostname
        self._verify = verify

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection that asks for this host by name, unless it is an address (RFC 6066, 3)."""
        connection = SSL.Connection(self._context, None)
        if not _is_address(self._hostname):
            connection.set_tlsext_host_name(self._hostname)
        if self._verify:
            connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._accepts)
        return connection

    def _accepts(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if not ok or depth != 0:
            return bool(ok)
        try:
            verify_certificate_hostname(certificate.to_cryptography(), self._hostname.decode("ascii"))
        except (VerificationError, CertificateError):
            return False
        return True


def _is_address(host: bytes) -> bool:
    try:
        ipaddress.ip_address(host.decode("ascii"))
    except ValueError:
        return False
    return True
