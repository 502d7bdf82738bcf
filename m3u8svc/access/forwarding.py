"""
Who a request comes from when a reverse proxy brings it (R-AUTH-4). Only what a proxy of the operator's list says is
believed, and of that only what it can know. Pure.

Each proxy appends to X-Forwarded-For whom it was asked by, so the list is read from its end: the first address that is
no proxy of ours is the client's, and what stands before it the client may have written itself.
"""

import ipaddress
from collections.abc import Sequence

import attrs

from m3u8svc.access.credentials import Headers

UNIX = "unix"
"""Stands for whoever is at the other end of a UNIX socket."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Trusted = tuple[Network | str, ...]
"""The proxies that are believed: networks, and `UNIX`."""
_MOST_HOPS = 32


@attrs.frozen(kw_only=True)
class Client:
    """
    Whom a request comes from: an address, and whether they speak https all the way to the first proxy, or to us.
    `headers` are those of the request, with the Host that the client asked for.
    """

    address: str
    secure: bool
    headers: Headers = attrs.field(repr=False)


def parse_trusted(text: str) -> Network | str:
    """
    One entry of the list.

    Raises:
        ValueError: it is neither an address, a network nor "unix".
    """
    if text == UNIX:
        return UNIX
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError('must be addresses, networks such as 10.0.0.0/8, or "unix"') from None


def client_of(peer: str, *, secure: bool, headers: Headers, trusted: Trusted) -> Client:
    """
    Whom a request comes from that `peer` brought, "" for the peer of a UNIX socket.
    """
    if not is_trusted(peer, trusted):
        return Client(address=peer, secure=secure, headers=headers)
    proto = _last(headers.get("x-forwarded-proto", ())).lower()
    host = _last(headers.get("x-forwarded-host", ()))
    asked = {**headers, "host": [host]} if host and len(headers.get("host", ())) == 1 else headers
    return Client(
        address=_client_address(peer, headers.get("x-forwarded-for", ()), trusted),
        secure=proto == "https" if proto in ("http", "https") else secure,
        headers=asked,
    )


def is_trusted(peer: str, trusted: Trusted) -> bool:
    """
    Whether this is a proxy of the list.
    """
    if not peer:
        return UNIX in trusted
    address = _address(peer)
    return address is not None and any(
        address.version == network.version and address in network for network in trusted if not isinstance(network, str)
    )


def _client_address(peer: str, forwarded: Sequence[str], trusted: Trusted) -> str:
    client = peer
    for hop in reversed([each.strip() for value in forwarded for each in value.split(",")][-_MOST_HOPS:]):
        address = _address(hop)
        if address is None:
            break
        client = str(address)
        if not is_trusted(client, trusted):
            break
    return client


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """
    An address as proxies write it: some add a port, IPv6 in brackets then.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _last(values: Sequence[str]) -> str:
    return values[-1].rpartition(",")[2].strip() if values else ""


def without_base(target: str, base_path: str) -> str:
    """
    The path as we know it, of one below the base path. Others stay: some proxies take the base path away themselves,
    and who asks us directly need not know it.
    """
    if base_path and (target == base_path or target.startswith((base_path + "/", base_path + "?"))):
        rest = target[len(base_path) :]
        return rest if rest.startswith("/") else "/" + rest
    return target


def checked_base_path(text: str) -> str:
    """
    A base path as it is kept: "" or with a slash before and none behind.

    Raises:
        ValueError: it is no path of plain names.
    """
    path = text.rstrip("/")
    names = path.split("/")[1:]
    plain = all(
        name and name.strip(".") and all(c.isascii() and (c.isalnum() or c in "._-") for c in name) for name in names
    )
    if path and (not path.startswith("/") or not plain or path.split("/")[1] in ("api", "ws", "static")):
        raise ValueError("must be a path such as /m3u8, of letters, digits and . _ -, and not one of our own")
    return path


@attrs.frozen(kw_only=True)
class Front:
    """
    What stands before us: which proxies are believed, and below which path they serve us.
    """

    trusted: Trusted = ()
    base_path: str = ""


NOTHING_BEFORE_US = Front()
