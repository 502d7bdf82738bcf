"""
Where we really listen: whether that stays on this machine, how to say it, which Host values name it.

Judged after listening, by the port's own address: a name in an endpoint string can mean anything (DESIGN 6, Trust).
"""

import ipaddress

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from m3u8svc.web import gate


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
