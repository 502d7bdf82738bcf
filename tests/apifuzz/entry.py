"""
``twistd m3u8svc`` that stays at home and is watched: ``python -I entry.py TURNS -- twistd …``.

Every connection it makes leads to a port of this machine where nobody listens, and no name is found, so that no request
of the fuzzer reaches anybody; and what fails is not tried again, so that nobody waits for it. Each turn of its reactor
that takes longer than `NOTED_S` is a line of TURNS, in seconds. The time that the thread had to wait for a processor is
taken off: what is left is what the service did, on any machine.
"""

import os
import sys
import threading
import time
from typing import Any

NOTED_S = 0.02
NOWHERE = ("127.0.0.1", 1)


class WatchedPoll:
    """
    The reactor's epoll; what lies between two calls of `poll` is a turn.
    """

    def __init__(self, real: Any, turns: str) -> None:
        self._real = real
        self._turns = turns
        self._woke: tuple[float, float] | None = None
        self._waits = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def poll(self, *arguments: Any) -> Any:
        """A turn ends; the next begins when this returns."""
        if self._woke is not None:
            now, waited = self._times()
            took = now - self._woke[0] - (waited - self._woke[1])
            if took > NOTED_S:
                with open(self._turns, "a", encoding="ascii") as file:
                    file.write(f"{took:.6f}\n")
        events = self._real.poll(*arguments)
        self._woke = self._times()
        return events

    def _times(self) -> tuple[float, float]:
        """
        Now, and how long this thread has waited for a processor in all; 0 where the system does not say.
        """
        try:
            if self._waits < 0:
                self._waits = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
            return time.perf_counter(), int(os.pread(self._waits, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError):
            return time.perf_counter(), 0.0


def main(turns: str, command: list[str]) -> None:
    """
    Arrange that, then be the service.
    """
    del sys.path[0]  # this directory, whose modules are nobody's to import
    from twisted.internet import epollreactor, posixbase

    real_poll, real_connect = epollreactor.epoll, posixbase.PosixReactorBase.connectTCP
    epollreactor.epoll = lambda *sizes: WatchedPoll(real_poll(*sizes), turns)

    def connect(reactor: Any, host: str, port: int, *more: Any, **named: Any) -> Any:
        return real_connect(reactor, *NOWHERE, *more, **named)

    posixbase.PosixReactorBase.connectTCP = connect
    from twisted.internet import reactor
    from twisted.internet.abstract import isIPAddress, isIPv6Address
    from twisted.internet.address import IPv4Address, IPv6Address
    from twisted.internet.interfaces import IHostnameResolver
    from twisted.scripts.twistd import run
    from zope.interface import implementer

    from m3u8svc.tasks import breaker, retry

    retry.RETRIES = 0
    breaker.OPENS_AFTER = sys.maxsize

    @implementer(IHostnameResolver)
    class Nobody:
        """Knows no names, only what an address is."""

        def resolveHostName(self, receiver: Any, name: str, port: int = 0, *more: Any, **named: Any) -> Any:
            receiver.resolutionBegan(self)
            for kind, address in ((isIPAddress, IPv4Address), (isIPv6Address, IPv6Address)):
                if kind(name):
                    receiver.addressResolved(address("TCP", name, port))
            receiver.resolutionComplete()
            return self

        def cancel(self) -> None:
            """It was over at once."""

    reactor.installNameResolver(Nobody())  # type: ignore[attr-defined]
    sys.argv = command
    run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:])
