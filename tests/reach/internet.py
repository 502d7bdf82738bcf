"""
A small internet on the loopback interface: some addresses lead to origins of ours, all others to a canary, a socket
that nobody may ever connect to. Nothing leaves the machine, and nothing has to be believed: who gets through is seen.
"""

from socket import AI_NUMERICHOST, AI_NUMERICSERV, SOCK_STREAM, gaierror, getaddrinfo
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IProtocol,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else

PUBLIC, OTHER_PUBLIC, LAN = "93.184.216.34", "151.101.1.1", "192.168.1.20"


class Canary(Protocol):
    """Somebody came."""

    def connectionMade(self) -> None:
        factory: Any = self.factory
        factory.accepted += 1

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")  # final: a breach is seen soon


class CanaryFactory(Factory):
    noisy = False
    protocol = Canary

    def __init__(self) -> None:
        self.accepted = 0


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Internet:
    """
    The reactor, with addresses of its own. `places` says to which port of this machine an address leads, `names` what
    names are resolved to, answer after answer; names that are not there are at `otherwise`.
    """

    def __init__(self) -> None:
        self.nameResolver = self
        self.places: dict[str, int] = {}
        self.names: dict[str, list[list[str]]] = {}
        self.otherwise = "127.0.0.1"
        self.connects: list[tuple[str, int]] = []
        self.astray: list[tuple[str, int]] = []
        self.canaries = [CanaryFactory(), CanaryFactory()]
        self.listening = [reactor.listenTCP(0, self.canaries[0], interface="127.0.0.1")]
        self.canary_port = self.listening[0].getHost().port
        self.listening.append(reactor.listenTCP(self.canary_port, self.canaries[1], interface="::1"))
        self.peers: dict[str, str] = {}
        """What the transport says of whom it is connected to, where that is another than was meant."""
        self.failing: dict[str, Exception] = {}
        """Addresses that cannot be connected to, and why."""

    @property
    def accepted(self) -> int:
        """How many got through to the canary."""
        return sum(each.accepted for each in self.canaries)

    async def stop(self) -> None:
        """Close the canary."""
        for each in self.listening:
            await each.stopListening()

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def installNameResolver(self, resolver: object) -> None:
        raise NotImplementedError

    def resolveHostName(
        self, receiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *others: object
    ) -> object:
        """Numbers are what the system makes of them."""
        receiver.resolutionBegan(self)  # type: ignore[arg-type]  # nobody looks at it
        for address in self._answer(hostName):
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, portNumber))
        receiver.resolutionComplete()
        return self

    def _answer(self, name: str) -> list[str]:
        answers = self.names.get(name.lower())
        if answers:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            found = getaddrinfo(name, "80", 0, SOCK_STREAM, flags=AI_NUMERICHOST | AI_NUMERICSERV)
        except gaierror:
            return [self.otherwise]
        return [str(each[4][0]) for each in found]

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """To wherever the address leads here, under its own name."""
        self.connects.append((host, port))
        if host in self.failing:
            return reactor.callLater(0, factory.clientConnectionFailed, None, Failure(self.failing[host]))
        at = self.places.get(f"{host}:{port}", self.places.get(host))
        if at is None:
            self.astray.append((host, port))
        return reactor.connectTCP(
            "127.0.0.1", at or self.canary_port, _Renamed(factory, self.peers.get(host, host), port)
        )


class _Renamed:
    """A client factory that is told another peer than the real one."""

    def __init__(self, factory: Any, host: str, port: int) -> None:
        self._factory = factory
        self._peer = (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        made: IProtocol | None = self._factory.buildProtocol(self._peer)
        return made
