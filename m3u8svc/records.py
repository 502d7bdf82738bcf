"""
TLS to an origin, with the records of one read delivered together.

A record has at most 16 KiB (RFC 8446, 5.1), so that one read of the socket brings eight of them, and Twisted delivers
each by itself. What it costs to deliver is the same for one and for eight, and was a sixth of a download over TLS.
Only the layer next to HTTP gathers: of two, one in the other, the outer one delivers record by record as before.
"""

from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import implementer


class Gatherer(Protocol):
    """
    A protocol that can keep what it is given until all of it is there.
    """

    def gather(self) -> None:
        """Keep what comes from now on."""
        ...

    def deliver(self) -> None:
        """Take all that came meanwhile, and what comes from now on at once."""
        ...


class _Tls(BufferingTLSTransport):
    def __init__(self, *given: Any) -> None:  # Any: as Twisted's
        super().__init__(*given)
        wrapped = self.wrappedProtocol
        # cast: what has this method has both.
        self._gatherer = cast(Gatherer, wrapped) if hasattr(wrapped, "gather") else None

    def dataReceived(self, bytes: bytes) -> None:  # the argument has Twisted's name
        """What one read brought."""
        if self._gatherer is None:
            super().dataReceived(bytes)  # type: ignore[no-untyped-call]  # Twisted's own
            return
        self._gatherer.gather()
        try:
            super().dataReceived(bytes)  # type: ignore[no-untyped-call]  # Twisted's own
        finally:
            self._gatherer.deliver()


class _TlsFactory(TLSMemoryBIOFactory):
    protocol = _Tls


@implementer(IStreamClientEndpoint)
class TlsEndpoint:
    """
    TLS around what `endpoint` connects to, as Twisted's `wrapClientTLS` makes it.
    """

    def __init__(self, creator: IOpenSSLClientConnectionCreator, endpoint: IStreamClientEndpoint) -> None:
        self._creator = creator
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """The protocol inside."""
        made: Deferred[Any] = self._endpoint.connect(_TlsFactory(self._creator, True, protocolFactory))  # Any: a `_Tls`
        return made.addCallback(lambda tls: tls.wrappedProtocol)
