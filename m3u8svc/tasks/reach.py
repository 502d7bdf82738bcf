"""
Where requests may go: the address policy (DESIGN 5.8, R-SSRF-1 to 4), as values in and a verdict out.

Every request has a *reach*, the nearest zone it may enter. What the user typed may be anywhere: in the internet, on the
local network, on this machine. What a playlist or a redirect leads to may be in the zone that came from, or farther
away: a public playlist never leads to the local network, one on the local network never to this machine. Reach is only
ever lost on the way: what leads out of the local network does not lead back in.

In `strict` mode everything must be public. In both modes `network.allow` adds to it. Link-local and metadata addresses,
and the ports this service listens on, are never reached. One forbidden network can be allowed, and is the internet then
(`addresses.FAKE`).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Literal, NoReturn

import attrs

from m3u8svc.errors import ForbiddenAddress
from m3u8svc.tasks.addresses import FAKE, NEAREST, Address, Zone, literal_of, unwrapped, zone_of, zone_of_name

Mode = Literal["auto", "local", "strict"]
MODES: tuple[Mode, ...] = ("auto", "local", "strict")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENTRY = re.compile(r"(?:\[(?P<bracketed>[^\[\]]*)\]|(?P<bare>[^\[\]:]*))(?::(?P<ports>[0-9,]*))?")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_WILDCARDS = frozenset({"0.0.0.0", "::"})


@attrs.frozen(kw_only=True)
class Allowed:
    """
    One entry of `network.allow`: a network or a name, and ports; no ports are all of them.
    """

    network: Network | None = None
    name: str = ""
    ports: frozenset[int] = frozenset()

    @property
    def is_fake(self) -> bool:
        """Whether it is of the fake addresses only, that a program on this machine sends on to the internet."""
        return isinstance(self.network, ipaddress.IPv4Network) and self.network.subnet_of(FAKE)


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What may be connected to. `entered` is the nearest zone of the addresses that needs permission, `zone` the farthest
    of all: what is fetched from there may have come from that one.
    """

    entered: Zone
    zone: Zone


@attrs.frozen(kw_only=True)
class Policy:
    """
    Which addresses may be connected to.

    Args:
        strict: nothing but public addresses and `allow`.
        allow: what is reached besides, always.
        own: (address, port) of every socket that this service listens on.
        is_here: whether an address is one of this machine; asked where a socket listens on all of them.
        proxies: host and port of the operator's own proxies, for `strict`.
    """

    strict: bool = False
    allow: tuple[Allowed, ...] = ()
    own: tuple[tuple[str, int], ...] = ()
    is_here: Callable[[str], bool] = lambda address: zone_of(address) is Zone.LOOPBACK
    proxies: Callable[[], Iterable[tuple[str, int]]] = lambda: ()

    def judge(self, host: str, port: int, addresses: Sequence[str], reach: Zone) -> Verdict:
        """
        The verdict on a host whose addresses these are, all of them. One that may not be reached spoils the others: a
        name that is here and there is what rebinding looks like.

        Raises:
            ForbiddenAddress: at least one may not be reached, or there is none.
        """
        reach = self._within(reach)
        entered = [self._entered(host, address, port) for address in addresses] or [Zone.FORBIDDEN]
        if max(entered) > reach:
            self._refuse(host, port, dict(zip(addresses, entered, strict=False)))
        return Verdict(entered=max(entered), zone=min(self._zone(each, port) for each in addresses))

    def judge_host(self, host: str, port: int, reach: Zone, *, resolved_here: bool) -> Zone | None:
        """
        The zone of a host that says it itself, None for other names. Names are judged only if nobody here will resolve
        them, such as behind a proxy.

        Raises:
            ForbiddenAddress: it may not be reached.
        """
        literal = literal_of(host)
        if literal is not None:
            return self.judge(host, port, literal, reach).zone
        if resolved_here:
            return None
        zone = zone_of_name(host)
        reach = self._within(reach)
        if zone is not None and zone > reach and not (zone < Zone.FORBIDDEN and self._allows(host, (), port)):
            self._refuse(host, port, {host: zone})
        if zone is Zone.LOOPBACK and self._listens("127.0.0.1", port):
            self._refuse(host, port, {"127.0.0.1": Zone.FORBIDDEN})
        return zone

    def judge_proxy(self, host: str, port: int, addresses: Sequence[str]) -> Verdict:
        """
        The verdict on a proxy whose addresses these are. In `strict` mode only the operator names proxies.

        Raises:
            ForbiddenAddress: it may not be reached.
        """
        named = (host.lower().rstrip("."), port) in {(name.lower().rstrip("."), at) for name, at in self.proxies()}
        if not self.strict or named:
            return attrs.evolve(self, strict=False).judge(host, port, addresses, NEAREST)
        if not addresses or not all(self._allows(host, _meant(each), port) for each in addresses):
            self._refuse(host, port, {})
        return self.judge(host, port, addresses, Zone.PUBLIC)

    def _within(self, reach: Zone) -> Zone:
        return Zone.PUBLIC if self.strict else min(reach, NEAREST)

    def _entered(self, host: str, address: str, port: int) -> Zone:
        """
        The zone that somebody must be allowed to enter for this address; what is allowed to all is public.
        """
        zone = self._zone(address, port)
        meant = _meant(address)
        if zone is Zone.FORBIDDEN or any(self._listens(str(each), port) for each in meant):
            return Zone.FORBIDDEN
        return Zone.PUBLIC if self._allows(host, meant, port) else zone

    def _zone(self, address: str, port: int) -> Zone:
        """
        The zone of an address. A fake one that is allowed leads to the internet; to allow it takes an entry of its own,
        since a wide network or a name does not say that a program sends it on.
        """
        meant = _meant(address)
        if _is_fake(meant) and any(
            each.is_fake and (not each.ports or port in each.ports) and _all_in(meant, each.network)
            for each in self.allow
        ):
            return Zone.PUBLIC
        return zone_of(address)

    def _listens(self, address: str, port: int) -> bool:
        return any(
            port == own_port and (address == own or (own in _WILDCARDS and self.is_here(address)))
            for own, own_port in self.own
        )

    def _allows(self, host: str, meant: Sequence[Address], port: int) -> bool:
        """
        Whether an entry names this place. Those of fake addresses name none: each of them may be anywhere.
        """
        name = host.lower().rstrip(".")
        for entry in self.allow:
            if entry.ports and port not in entry.ports:
                continue
            if entry.name and entry.name == name:
                return True
            if not entry.is_fake and _all_in(meant, entry.network):
                return True
        return False

    def _refuse(self, host: str, port: int, zones: dict[str, Zone]) -> NoReturn:
        """
        Say what was refused. In `strict` mode no more than what was asked for: what a name is resolved to here is
        nobody's business.
        """
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if self.strict:
            raise ForbiddenAddress(url=f"//{place}", place=place, zone="strict")
        worst = max(zones, key=lambda each: zones[each], default=host)
        zone = zones.get(worst, Zone.FORBIDDEN)
        is_own = zone is Zone.FORBIDDEN and any(self._listens(str(each), port) for each in _meant(worst))
        says = "own" if is_own else "fake" if _is_fake(_meant(worst)) else zone.name.lower()
        if worst != host:
            place += f" ({worst})"
        raise ForbiddenAddress(url=f"//{place}", place=place, zone=says)


def _is_fake(meant: Sequence[Address]) -> bool:
    return _all_in(meant, FAKE)


def _all_in(meant: Sequence[Address], network: Network | None) -> bool:
    """The version is compared by ipaddress: an IPv4 address is in no IPv6 network."""
    return network is not None and bool(meant) and all(each in network for each in meant)


@lru_cache(maxsize=4096)
def _meant(address: str) -> Sequence[Address]:
    try:
        return unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return ()


# -- The way of one task -----------------------------------------------------------------------------------------------

TYPED = ""
"""What the task's own URL is called among its tracks."""


class Reaches:
    """
    How near may be what one task's playlists lead to, by track. It is only ever lost: a playlist that is read again
    leads no nearer than it did, whatever its name means by then.
    """

    def __init__(self) -> None:
        self._reaches: dict[str, Zone] = {}

    def led_by(self, track: str, reach: Zone) -> None:
        """A playlist of this track was read that may lead as near as `reach`."""
        self._reaches[track] = min(reach, self._reaches.get(track, NEAREST))

    def of(self, track: str) -> Zone:
        """How near may be what the playlists of this track lead to; as far as can be while none was read."""
        return self._reaches.get(track, Zone.PUBLIC)

    @property
    def typed(self) -> Zone:
        """How near the task's own URL may be: anywhere, and not nearer than it was the first time."""
        return self._reaches.get(TYPED, NEAREST)


# -- The operator's words ----------------------------------------------------------------------------------------------


def is_strict(mode: Mode, *, open_to_others: bool) -> bool:
    """
    Whether the service as a whole trusts nobody: as `network.mode` says, by itself where others can reach it.
    """
    return open_to_others if mode == "auto" else mode == "strict"


def parse_allowed(text: str) -> Allowed:
    """
    An entry of `network.allow`: ``192.168.1.20:8080``, ``10.0.0.0/8:80,443``, ``[fd00::/8]:443``, ``nas.example``.

    Raises:
        ValueError: it is none, or can never be allowed; the text says why.
    """
    text = text.strip().lower()
    found = _ENTRY.fullmatch(text)
    if found is None:
        if text.count(":") > 1 and not {"[", "]"} & set(text):
            return _allowed(text, frozenset())  # an IPv6 address or network without ports
        raise ValueError("must be an address, a network or a name, with ports behind a colon if not all are meant")
    ports: frozenset[int] = frozenset()
    if found["ports"] is not None:
        numbers = found["ports"].split(",")
        if not all(each and len(each) <= 5 and 0 < int(each) < 65536 for each in numbers):
            raise ValueError("has a port that is no whole number from 1 to 65535")
        ports = frozenset(map(int, numbers))
    return _allowed(found["bracketed"] or found["bare"] or "", ports)


def _allowed(place: str, ports: frozenset[int]) -> Allowed:
    if literal_of(place) is None and "/" not in place:
        if not _NAME.fullmatch(place):
            raise ValueError("must be an address, a network or a name")
        if zone_of_name(place) is Zone.FORBIDDEN:
            raise ValueError("names a metadata service, which is never reached")
        return Allowed(name=place, ports=ports)
    try:
        network: Network = ipaddress.ip_network(place, strict=False)
    except ValueError:
        raise ValueError("is no address and no network") from None
    if "/" in place and str(network.network_address) != str(ipaddress.ip_interface(place).ip):
        raise ValueError(f"is no network; {network} is")
    allowed = Allowed(network=network, ports=ports)
    single = network.prefixlen == network.max_prefixlen
    if single and not allowed.is_fake and zone_of(str(network.network_address)) is Zone.FORBIDDEN:
        raise ValueError("is an address that is never reached")
    return allowed
