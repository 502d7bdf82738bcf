"""
Connections that lead through a proxy: an endpoint that shakes hands with the proxy on a connection of its own, then
gives that connection to whoever wanted to be connected to the target.

Nothing is copied on the way: the protocol behind the tunnel holds the transport to the proxy itself, so that pausing,
aborting and reading in larger pieces work as they do without a proxy. TLS to the target is put around this endpoint
(`records.TlsEndpoint`), TLS to the proxy around the one below it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from typing import Protocol as TypedProtocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from m3u8svc.disconnects import cancelled, causes, distrust, unconnected
from m3u8svc.errors import M3u8svcError, ProxyError, ProxyUnreachable, ProxyUntrusted
from m3u8svc.tasks.proxy import Proxy
from m3u8svc.wording import Said

if TYPE_CHECKING:
    from m3u8svc.tasks.handshakes import Handshake  # its libraries are only needed with a proxy


class Live(TypedProtocol):
    """
    Who keeps count of open connections, so that they can all be closed.
    """

    def joined(self, connection: "Tunnel") -> None:
        """It is open."""
        ...

    def left(self, connection: "Tunnel") -> None:
        """It has ended."""
        ...


@implementer(IStreamClientEndpoint)
class ProxyEndpoint:
    """
    The connection to the proxy itself; whatever goes wrong with it is the proxy's fault, not the target's.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, proxy: Proxy) -> None:
        self._endpoint = endpoint
        self._proxy = proxy

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Connect to the proxy."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addErrback(self._blame)

    def _blame(self, failure: Failure) -> Failure:
        found = blamed(failure.value, self._proxy)
        return failure if found is None else Failure(found)


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """
    A connection to a target through a proxy. `within_s` is for all of it: reaching the proxy and its answer.
    """

    def __init__(
        self,
        endpoint: ProxyEndpoint,
        proxy: Proxy,
        handshake: "Callable[[], Handshake]",
        *,
        live: Live,
        clock: IReactorTime,
        within_s: float,
    ) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        self._handshake = handshake
        self._live = live
        self._clock = clock
        self._within_s = within_s

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Fires with the target's protocol once the proxy has let us through; cancelling closes the connection."""
        factory = _TunnelFactory(
            lambda build: Tunnel(self._handshake(), build, self._live, self._proxy), protocolFactory
        )
        opening: Deferred[Any] = self._endpoint.connect(factory)
        opening.addCallback(lambda tunnel: tunnel.opened)
        return opening.addTimeout(self._within_s, self._clock, onTimeoutCancel=self._too_slow)

    def _too_slow(self, result: object, after_s: float) -> Failure:
        return Failure(
            ProxyUnreachable(
                proxy=self._proxy.shown,
                reason=Said(f"{after_s:g} 秒内没有建立连接", f"no connection within {after_s:g} s"),
            )
        )


class _TunnelFactory(Factory):
    noisy = False

    def __init__(self, tunnel: "Callable[[_Build], Tunnel]", inner: IProtocolFactory) -> None:
        self._tunnel = tunnel
        self._inner = inner

    def buildProtocol(self, addr: IAddress) -> "Tunnel":  # type: ignore[override]  # endpoints always know it
        return self._tunnel(lambda: self._inner.buildProtocol(addr))


_Build = Callable[[], IProtocol | None]
"""Makes the protocol that the tunnel is for."""


class Tunnel(Protocol):
    """
    One connection to a proxy: first the handshake's, then that of the protocol it was made for.
    """

    def __init__(self, handshake: "Handshake", build: _Build, live: Live, proxy: Proxy) -> None:
        self.opened: Deferred[IProtocol] = Deferred(lambda opened: self._give_up())
        self._handshake = handshake
        self._build = build
        self._live = live
        self._proxy = proxy
        self._inner: IProtocol | None = None
        self._over = False  # `opened` has fired or was cancelled

    def connectionMade(self) -> None:
        """The proxy is there."""
        self._live.joined(self)
        self._send(self._handshake.opening())

    def dataReceived(self, data: bytes) -> None:
        """From the proxy, or through it."""
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif not self._over:
            try:
                self._send(self._handshake.feed(data))
            except ProxyError as error:
                self._fail(error)
                return
            if self._handshake.done:
                self._hand_over()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy is gone."""
        self._live.left(self)
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self._over:
            self._fail(blamed(reason.value, self._proxy) or reason)

    def abort_now(self) -> None:
        """
        Close without waiting for anything, so that the proxy sees it at once.
        """
        transport: Any = self.transport  # a TCP or TLS transport; ITransport alone cannot abort
        if transport is not None:
            transport.abortConnection()

    def _send(self, data: bytes) -> None:
        if data and self.transport is not None:
            self.transport.write(data)

    def _hand_over(self) -> None:
        try:
            inner = self._build()
            if inner is None or self.transport is None:
                raise ConnectionAborted("nobody wants the connection any more")
            self._inner = inner
            inner.makeConnection(self.transport)
        except Exception:  # what TLS to the target may raise must not end in the proxy's transport
            self._inner = None
            self._fail(Failure())
            return
        self._over = True
        self.opened.callback(inner)

    def _fail(self, error: BaseException | Failure) -> None:
        self._give_up()
        self.opened.errback(error)

    def _give_up(self) -> None:
        self._over = True
        self.abort_now()


def blamed(error: BaseException | None, proxy: Proxy) -> ProxyError | None:
    """
    The proxy's error for the loss of a connection to it; None for what is not about that, or already ours.
    """
    wrapped = [] if error is None else list(causes(error))
    if any(cancelled(cause) or isinstance(cause, M3u8svcError) for cause in wrapped):
        return None
    for cause in wrapped:
        if reason := distrust(cause):
            return ProxyUntrusted(proxy=proxy.shown, reason=reason)
    for cause in wrapped:
        if isinstance(cause, TimeoutError):
            return ProxyUnreachable(proxy=proxy.shown, reason=Said("连接超时", "it took too long to connect"))
        if lost := unconnected(cause):
            return ProxyUnreachable(proxy=proxy.shown, reason=lost[1])
    return None
