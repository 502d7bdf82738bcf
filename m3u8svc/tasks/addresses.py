"""
Which network an address is part of, and which addresses a host name is that is written as a number.

The table is our own: `ipaddress.is_global` is True for ``64:ff9b::7f00:1``, ``2002:7f00:1::`` and ``::127.0.0.1``,
which all lead to this machine where they lead anywhere (reliability.md, trap 11). What carries an IPv4 address inside
is judged by the worst address that may be meant.

A number can be spelled in many ways, and programs read them differently: ``0177.0.0.1`` is 127.0.0.1 to the C library
and 177.0.0.1 to others. All readings count, so that nobody behind us, such as a proxy, finds another one.
"""

import enum
import ipaddress
import re
import unicodedata
from functools import lru_cache
from itertools import product
from urllib.parse import unquote


class Zone(enum.IntEnum):
    """
    How near to this machine an address is. Who may reach one zone may reach all that come before it.
    """

    PUBLIC = 0
    PRIVATE = 1
    """The local network."""
    LOOPBACK = 2
    """This machine."""
    FORBIDDEN = 3
    """What nobody fetches media from: link-local, metadata services, multicast, reserved."""


NEAREST = Zone.LOOPBACK
"""The nearest zone that anybody may reach."""

_V4 = {
    Zone.FORBIDDEN: (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 is this machine on Linux
        "100.100.100.200/32",  # metadata: Alibaba Cloud
        "168.63.129.16/32",  # metadata: Azure
        "169.254.0.0/16",  # link-local, 169.254.169.254 among them
        "192.0.0.0/24",  # protocol assignments, 192.0.0.192 (metadata: Oracle) among them
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, which are no more
        "198.18.0.0/15",  # benchmarks, and `FAKE`
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    ),
    Zone.LOOPBACK: ("127.0.0.0/8",),
    Zone.PRIVATE: ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"),
}
_V6 = {
    Zone.FORBIDDEN: (
        "fd00:ec2::/32",  # metadata and other services: AWS, fd00:ec2::254 among them
        "fd20:ce::254/128",  # metadata: Google Cloud
        "2001::/23",  # protocol assignments: benchmarks, ORCHID; Teredo is unwrapped before
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    ),
    Zone.LOOPBACK: ("::1/128",),
    Zone.PRIVATE: ("fc00::/7",),
    Zone.PUBLIC: ("2000::/3",),  # everything else is not routed: link-local, multicast, site-local, discard, ::
}
_NETWORKS = [
    (ipaddress.ip_network(each), zone) for table in (_V4, _V6) for zone, networks in table.items() for each in networks
]
_REST = {4: Zone.PUBLIC, 6: Zone.FORBIDDEN}

FAKE = ipaddress.IPv4Network("198.18.0.0/15")
"""
What proxy programs with a "fake IP" DNS answer every name with: they catch what goes there and send it on to the
internet. The only forbidden network that can be allowed; without such a program nothing in it is anybody's.
"""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@lru_cache(maxsize=4096)
def zone_of(address: str) -> Zone:
    """
    The zone of an address in its usual spelling, with or without a zone id (``fe80::1%eth0``). Text that is no address
    is in the one that nobody may reach.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return Zone.FORBIDDEN
    return max(_listed(each) for each in unwrapped(found))


def unwrapped(address: Address) -> tuple[Address, ...]:
    """
    The addresses that one may stand for: itself, or the IPv4 addresses it carries.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return (_v4(int(address)),)
    if address in _LOCAL_NAT64:
        return _translated(int(address))
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo  # the server, and the client behind it
    return (address,)


def _translated(number: int) -> tuple[Address, ...]:
    """
    What a network's own NAT64 prefix may carry (RFC 8215): an IPv4 address at any of the places of RFC 6052, 2.2.
    Zeros are what the other layouts have there.
    """
    low = number & ((1 << 64) - 1)
    found = (
        _v4(number),  # /96
        _v4(((number >> 64) & 0xFFFF) << 16 | (low >> 40) & 0xFFFF),  # /48: around bits 64 to 71
        _v4(((number >> 64) & 0xFF) << 24 | (low >> 32) & 0xFFFFFF),  # /56
        _v4(low >> 24),  # /64
    )
    return tuple(each for each in found if int(each) >> 24) or found


def _v4(number: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(number & 0xFFFFFFFF)


def _listed(address: Address) -> Zone:
    return next((zone for network, zone in _NETWORKS if address in network), _REST[address.version])


# -- Hosts -----------------------------------------------------------------------------------------------------------

_DECIMAL = re.compile(r"[0-9]+")
_OCTAL = re.compile(r"0[0-7]*")
_HEX = re.compile(r"0x[0-9a-f]*")
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
_MOST_DIGITS = 64

_THIS_MACHINE = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "loopback"}
)
_METADATA = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_LOCAL_DOMAINS = (
    *(".local", ".localdomain", ".lan", ".home", ".home.arpa", ".internal", ".intranet"),
    *(".corp", ".private"),
)


@lru_cache(maxsize=4096)
def literal_of(host: str) -> tuple[str, ...] | None:
    """
    The addresses that a host may mean that is written as a number, in every spelling that some program reads: decimal,
    octal, hexadecimal, fewer than four parts, full-width digits, percent-encoded, with a dot behind. None for a name;
    empty for a number that is no address.
    """
    host = unicodedata.normalize("NFKC", unquote(host)).translate(_DOTS).strip().lower()
    host = host.removeprefix("[").removesuffix("]")
    if ":" in host:
        return _v6_of(host)
    labels = host.rstrip(".").split(".")
    if not (_DECIMAL.fullmatch(labels[-1]) or _HEX.fullmatch(labels[-1])):
        return None
    if len(labels) > 4 or len(host) > _MOST_DIGITS:
        return ()
    readings = [_numbers(label) for label in labels]
    found = {str(each) for parts in product(*readings) if (each := _joined(parts)) is not None}
    return tuple(sorted(found))


def zone_of_name(host: str) -> Zone | None:
    """
    The zone of a name that says it itself, without asking a resolver; None for the others.
    """
    name = host.lower().rstrip(".")
    if name in _METADATA:
        return Zone.FORBIDDEN
    if name in _THIS_MACHINE or name.endswith(".localhost"):
        return Zone.LOOPBACK
    if "." not in name or name.endswith(_LOCAL_DOMAINS):
        return Zone.PRIVATE
    return None


def _v6_of(host: str) -> tuple[str, ...]:
    try:
        return (str(ipaddress.IPv6Address(host.partition("%")[0])),)
    except ValueError:
        return ()


def _numbers(label: str) -> tuple[int, ...]:
    """
    How one part may be read.
    """
    if _HEX.fullmatch(label):
        return (int(label[2:] or "0", 16),)
    if not _DECIMAL.fullmatch(label):
        return ()
    decimal = int(label)
    return (int(label, 8), decimal) if _OCTAL.fullmatch(label) and int(label, 8) != decimal else (decimal,)


def _joined(parts: tuple[int, ...]) -> ipaddress.IPv4Address | None:
    """
    The address of up to four numbers: the last one fills what the others leave.
    """
    *first, last = parts
    if any(each > 255 for each in first) or last >= 256 ** (4 - len(first)):
        return None
    number = sum(each << (24 - 8 * place) for place, each in enumerate(first))
    return ipaddress.IPv4Address(number + last)
