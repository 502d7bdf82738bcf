"""
How often somebody may be wrong about who they are (R-AUTH-3): so many times a minute from one address, and so many from
all other machines together, since a botnet has many addresses. This machine has a number of its own: nobody elsewhere
can lock its user out. Pure; time is an argument.

Memory is bounded by the rule itself: what is older than a minute is forgotten, and from elsewhere no more than
`FROM_ELSEWHERE` are remembered.
"""

import ipaddress
from collections import deque

WINDOW_S = 60.0
PER_ADDRESS = 10
FROM_ELSEWHERE = 60
HERE = "this machine"


class Failures:
    """
    The failures of the last minute. An attempt counts from its beginning, so that many at once are no way around it;
    one that was right is forgotten.
    """

    def __init__(self) -> None:
        self._elsewhere: deque[tuple[float, str]] = deque()
        self._here: deque[float] = deque()

    def wait_s(self, address: str, now: float) -> float:
        """
        In how many seconds somebody at this address may try again; 0 is now.
        """
        self._forget(now)
        source = source_of(address)
        if source == HERE:
            return _wait(list(self._here), PER_ADDRESS, now)
        own = [at for at, who in self._elsewhere if who == source]
        return max(_wait(own, PER_ADDRESS, now), _wait([at for at, _ in self._elsewhere], FROM_ELSEWHERE, now))

    def begin(self, address: str, now: float) -> None:
        """
        Count an attempt.
        """
        source = source_of(address)
        if source == HERE:
            self._here.append(now)
        else:
            self._elsewhere.append((now, source))

    def forgive(self, address: str, began: float) -> None:
        """
        The attempt that began then was right.
        """
        source = source_of(address)
        if source == HERE and began in self._here:
            self._here.remove(began)
        elif (began, source) in self._elsewhere:
            self._elsewhere.remove((began, source))

    def __len__(self) -> int:
        return len(self._here) + len(self._elsewhere)

    def _forget(self, now: float) -> None:
        while self._here and self._here[0] + WINDOW_S <= now:
            self._here.popleft()
        while self._elsewhere and self._elsewhere[0][0] + WINDOW_S <= now:
            self._elsewhere.popleft()


def source_of(address: str) -> str:
    """
    Whom an address stands for: an IPv6 network as providers give it to one customer, this machine, or itself. What is
    no address is a socket of this machine.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return HERE
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return HERE
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _wait(times: list[float], limit: int, now: float) -> float:
    return 0.0 if len(times) < limit else max(0.0, times[-limit] + WINDOW_S - now)
