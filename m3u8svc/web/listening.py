"""
Where we really listen: whether that stays on this machine, how to say it, which Host values name it.

Judged after listening, by the port's own address: a name in an endpoint string can mean anything (DESIGN 6, Trust).
"""

import ipaddress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from m3u8svc.errors import CannotListen, ConfigError
from m3u8svc.web import gate


class Listener:
    """
    A place where we listen. Whoever connects waits in the system's queue until there is somebody to `serve` them.
    """

    def __init__(self, port: Any, door: "_Door", description: str) -> None:  # Any: a port that can also be paused
        self._port = port
        self._door = door
        self.endpoint = description
        """As the operator wrote it."""
        self.secure = description.startswith("ssl")
        """Whether it speaks TLS."""
        self.address: IAddress = port.getHost()
        """Where it really is."""

    @property
    def stays_here(self) -> bool:
        """Whether only this machine can reach it."""
        return stays_on_this_machine(self.address)

    @property
    def everywhere(self) -> bool:
        """Whether it is at each address of this machine, so that we do not know by which one others ask for it."""
        return self.socket is not None and self.socket[0] in gate.WILDCARDS

    @property
    def shown(self) -> str:
        """The address as a URL somebody can open."""
        return shown_address(self.address, secure=self.secure)

    @property
    def socket(self) -> tuple[str, int] | None:
        """Address and port; None for what has none, such as a unix socket."""
        address = self.address
        return (address.host, address.port) if isinstance(address, IPv4Address | IPv6Address) else None

    def serve(self, site: Any) -> None:
        """Let in who waits, and everybody from now on."""
        self._door.open(site)
        getattr(self._port, "startReading", bool)()

    def stop(self) -> Any:  # Any: a Deferred, or None where there is nothing to wait for
        """Stop listening, if that was not done before."""
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


def _unnamed_file(description: str, error: OSError) -> str:
    """
    Which file an error is about, where an endpoint does not tell: it names none, or several.
    """
    if not error.filename or error.filename2:  # the second is that of a socket's lock, which nobody needs to know of
        return ""
    several = sum(name in description for name in ("privateKey=", "certKey=", "extraCertChain=")) > 1
    return f"{error.filename}: " if several or str(error.filename) not in description else ""


async def bind(reactor: Any, description: str, *, where: str = "--listen") -> Listener:
    """
    Listen where a Twisted endpoint string says, without letting anybody in.

    Raises:
        ConfigError: that cannot be, and why; called as the operator knows it (`where`).
    """
    door = _Door()
    try:
        port: Any = await serverFromString(reactor, guarded(description)).listen(door)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        raise CannotListen(where=where, reason=f"{description}: {reason}") from error
    except OSError as error:  # a key, certificate or socket file
        reason = f"{_unnamed_file(description, error)}{error.strerror or error}"
        raise ConfigError(where=where, reason=f"{description}: {reason}") from error
    except (ValueError, TypeError, OverflowError) as error:  # what Twisted's own parsers raise
        raise ConfigError(where=where, reason=f"{description}: {error}") from error
    getattr(port, "stopReading", bool)()  # a plugin's may lack it: then the door turns away who comes too early
    return Listener(port, door, description)


def guarded(description: str) -> str:
    """
    An endpoint string as it is listened on: a unix socket that says nothing else is its owner's and group's. Twisted's
    own default would let in everybody on this machine.
    """
    kind, *rest = description.split(":")
    if kind != "unix" or any(each.startswith("mode=") for each in rest):
        return description
    return f"{description}:mode=660"


@implementer(IProtocolNegotiationFactory)
class _Door(Factory):
    """
    Stands for the site until there is one.
    """

    noisy = False

    def __init__(self) -> None:
        self._site: Any = None  # a factory of any protocol

    def logPrefix(self) -> str:
        """As what Twisted says in the log that it starts on a port."""
        return "m3u8svc"

    def open(self, site: Any) -> None:
        """Whoever comes is the site's from now on."""
        self._site = site
        site.doStart()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]  # ports always know it
        """As the site does."""
        made: IProtocol | None = None if self._site is None else self._site.buildProtocol(addr)
        return made

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken inside TLS; without a word of it clients that ask, as browsers do, are hung up on."""
        return [b"http/1.1"]

    def stopFactory(self) -> None:
        """The site ends with its door."""
        if self._site is not None:
            self._site.doStop()


def stays_on_this_machine(address: IAddress) -> bool:
    """
    Whether only this machine can reach `address`.
    """
    if isinstance(address, UNIXAddress):
        return True
    if isinstance(address, IPv4Address | IPv6Address):
        return ipaddress.ip_address(address.host.partition("%")[0]).is_loopback
    return False


def shown_address(address: IAddress, *, secure: bool) -> str:
    """
    The address as a URL somebody can open.
    """
    if isinstance(address, UNIXAddress):
        return f"unix:{address.name!r}" if not isinstance(address.name, bytes) else f"unix:{address.name.decode()}"
    scheme = "https" if secure else "http"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    return str(address)


def host_values(address: IAddress) -> frozenset[str]:
    """
    The Host header values that mean `address`.
    """
    if isinstance(address, IPv4Address | IPv6Address):
        return gate.host_names([(address.host, address.port)])
    return frozenset({"localhost"})
