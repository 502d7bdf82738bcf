"""
The connections that requests travel on: pooled, kept alive, capped in headers, closed in bounded time.

One pool per TLS setting, so that a request that wants certificates checked never rides on a connection that did not.
Four things Twisted's client leaves open are closed here: response headers without end (measured: +138 MiB in 3 s), a
body whose connection can be ended but not aborted, host names that IDNA refuses although DNS has them, and lookups
without end.
"""

# mypy: disable-error-code="no-untyped-call"
# (Twisted's own classes are not annotated, and super() calls escape the exclusion for "twisted".)

import ipaddress
import re
from collections.abc import Callable, Hashable
from functools import cached_property, partial
from socket import EAI_FAIL, gaierror
from typing import Any

from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionAborted, ConnectionDone, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
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
    _HTTP11ClientFactory,
)
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from zope.interface import implementer

TrustRoot = Any
"""What `twisted.internet.ssl.trustRootFromCertificates` returns; its interface is private to Twisted."""

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADER_LINES = 200
CLOSE_WITHIN_S = 2.0

_CACHED_TLS_HOSTS = 256  # a fresh trust store costs 9 ms of CPU; playlists name few hosts
_RECEIVE_BYTES = 128 * 1024  # measured: 0.6 CPU s for a GB; 0.85 with 64 KiB, 0.87 with 256
_ASCII_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")


class Connections:
    """
    All connections of one process, shared by its tasks.

    Args:
        max_per_host: idle connections kept per scheme, host and port. Twisted's default of two would close and open
            one for every segment beyond.
        trust_root: whom to trust with https; None = what the platform trusts.
    """

    def __init__(
        self,
        reactor: Any,  # a reactor with TCP, time and a name resolver: zope interfaces cannot be joined in a type
        *,
        max_per_host: int = 64,
        connect_s: float = 15.0,
        trust_root: TrustRoot | None = None,
    ) -> None:
        self._reactor = reactor
        self._max_per_host = max_per_host
        self._connect_s = connect_s
        self._trust_root = trust_root
        self._pools: dict[bool, _Pool] = {}
        self._agents: dict[bool, IAgent] = {}

    def agent(self, insecure: bool = False) -> IAgent:
        """
        The agent whose requests use these connections; `insecure` ones do not check certificates.
        """
        if insecure not in self._agents:
            pool = _Pool(self._reactor, max_per_host=self._max_per_host)
            policy = _InsecurePolicy() if insecure else _VerifyingPolicy(self._trust_root)
            endpoints = _Endpoints(self._reactor, policy, self._connect_s)
            self._pools[insecure] = pool
            self._agents[insecure] = Agent.usingEndpointFactory(self._reactor, endpoints, pool)
        return self._agents[insecure]

    @property
    def opened(self) -> int:
        """How many connections were ever opened."""
        return sum(pool.opened for pool in self._pools.values())

    @property
    def repeated(self) -> int:
        """How many requests found their kept connection closed and were sent once more on a new one."""
        return sum(pool.repeated for pool in self._pools.values())

    async def close(self) -> None:
        """
        Close every connection, busy ones too; returns when they are gone, after two seconds at the latest.
        """
        pools, self._pools, self._agents = list(self._pools.values()), {}, {}
        for pool in pools:
            await pool.close(self._reactor)


# -- The pool --------------------------------------------------------------------------------------------------------


class HttpConnection(HTTP11ClientProtocol):
    """
    One connection to an origin, which limits response headers and can be aborted in the middle of a body.
    """

    lost: Failure | None = None
    """Why the connection ended, once it has."""

    def __init__(self, quiescent: Callable[[HTTP11ClientProtocol], None], pool: "_Pool") -> None:
        super().__init__(quiescent)
        self._pool = pool
        self._in_headers = False
        self._header_bytes = 0
        self._header_lines = 0
        self._served = 0
        self._sent: WireRequest | None = None

    def connectionMade(self) -> None:
        """Join the pool's live connections; read in larger pieces than Twisted's 64 KiB."""
        super().connectionMade()
        self._pool.joined(self)
        raw: Any = getattr(self.transport, "transport", self.transport)  # under TLS the socket is one further down
        if hasattr(raw, "bufferSize"):  # of Twisted's sockets; a tunnel may lack it
            raw.bufferSize = _RECEIVE_BYTES

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
            cancelled = any(reason.check(CancelledError) for reason in getattr(failure.value, "reasons", ()))
            self._pool.repeated += not cancelled
        return failure

    def dataReceived(self, data: bytes) -> None:
        """Pass `data` on; give up on headers that go on too long."""
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

    def __init__(self, reactor: IReactorTime, *, max_per_host: int) -> None:
        super().__init__(reactor)
        self.maxPersistentPerHost = max_per_host
        self.opened = 0
        self.repeated = 0
        self._live: set[HttpConnection] = set()
        self._emptied: Deferred[None] | None = None
        self._closed = False

    def _factory(  # type: ignore[override]  # HTTPConnectionPool calls it by this name; there it is a class
        self, quiescent: Callable[[HTTP11ClientProtocol], None], metadata: object
    ) -> "_HttpConnectionFactory":
        return _HttpConnectionFactory(quiescent, metadata, self)

    def _newConnection(self, key: Hashable, endpoint: IStreamClientEndpoint) -> "Deferred[HTTP11ClientProtocol]":
        # Aborting a busy connection would otherwise set off the repeat of its request, on a new one.
        return fail(ConnectionAborted()) if self._closed else super()._newConnection(key, endpoint)

    def joined(self, connection: HttpConnection) -> None:
        """A connection is made."""
        self.opened += 1
        self._live.add(connection)
        if self._closed:
            connection.abort_now()

    def left(self, connection: HttpConnection) -> None:
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


class _HttpConnectionFactory(_HTTP11ClientFactory):
    noisy = False  # else two lines in the log for every connection

    def __init__(self, quiescent: Callable[[HTTP11ClientProtocol], None], metadata: object, pool: _Pool) -> None:
        super().__init__(quiescent, metadata)
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:
        return HttpConnection(self._quiescentCallback, self._pool)


# -- Where and how to connect ----------------------------------------------------------------------------------------


class _NamedEndpoint(HostnameEndpoint):
    """
    Happy eyeballs as Twisted does them, also for names with ``_`` and for ``r3---sn-x``, which IDNA 2008 refuses.

    Every lookup ends: in addresses, as a name that was not found, or as the cancel it was given. Twisted's own waits
    for ever when a resolver raises, and tells a cancel as a name that was not found, which would be tried again.
    """

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to whichever address of the name answers first."""
        if self._badHostname:  # else a ValueError, which reads like a bad answer
            return fail(DNSLookupError(f"no name to ask for: {self._hostText}"))
        try:
            attempt = super().connect(protocolFactory)
        except Exception as error:  # whatever a resolver that was plugged in may raise
            return fail(DNSLookupError(f"{type(error).__name__}: {error}"))

        def cancel(waiting: "Deferred[IProtocol]") -> None:
            waiting.errback(CancelledError())
            attempt.cancel()

        connected: Deferred[IProtocol] = Deferred(cancel)
        attempt.addCallbacks(
            connected.callback, lambda failure: None if connected.called else connected.errback(failure)
        )
        return connected

    def _getNameResolverAndMaybeWarn(self, reactor: object) -> IHostnameResolver:
        found: IHostnameResolver = super()._getNameResolverAndMaybeWarn(reactor)
        if isinstance(found, GAIResolver):
            return GAIResolver(found._reactor, found._getThreadPool, partial(_look_up, found._getaddrinfo))
        return found

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("latin-1") if isinstance(host, bytes) else host
        if _ASCII_NAME.fullmatch(text):
            return False, text.encode("ascii"), text
        return HostnameEndpoint._hostAsBytesAndText(host)


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


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, connect_s: float) -> None:  # Any: as in Connections
        self._reactor = reactor
        self._policy = policy
        self._connect_s = connect_s

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Plain TCP for http, TLS for https; fetch lets no other scheme through."""
        endpoint = _NamedEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, timeout=self._connect_s)
        if uri.scheme == b"https":
            return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


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
