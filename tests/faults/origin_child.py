"""
The fault origin as a process: serves a directory, takes orders on its standard input, a JSON line each.

``["put", PATH, TEXT]`` serves a text, answered by ``null``; ``["visits", WORD]`` by the requests whose query has
that word; ``["hold", true]`` lets those with ``delay=86400`` wait until ``["hold", false]``, else they do not wait. It
ends with its input.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from m3u8svc.testing.origin import Origin

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
HELD_S = 86_400.0


class HoldingReactor:
    """
    The reactor, but what would ring in `HELD_S` rings when nothing is held any more.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._holding = False
        self._held: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """As IReactorTime says."""
        if delay != HELD_S:
            return self._reactor.callLater(delay, call, *args, **kwargs)
        delayed = self._reactor.callLater(delay if self._holding else 0, call, *args, **kwargs)
        self._held.append(delayed)
        return delayed

    def hold(self, holding: bool) -> None:
        """Hold what comes, or let it go, and what was held."""
        self._holding = holding
        held, self._held = self._held, []
        for delayed in held:
            if delayed.active() and not holding:
                delayed.reset(0)


class Orders(LineOnlyReceiver):
    """
    Carries out one order after the other.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 22

    def __init__(self, origin: Origin, ended: "Deferred[None]") -> None:
        self._origin = origin
        self._ended = ended

    def connectionMade(self) -> None:
        """Say where we listen."""
        self._say(self._origin.base)

    def lineReceived(self, line: bytes) -> None:
        """One order."""
        match json.loads(line):
            case ["put", path, text]:
                self._origin.put(path, text.encode())
                self._say(None)
            case ["hold", holding]:
                self._origin.reactor.hold(holding)
                self._say(None)
            case ["visits", word]:
                found = [visit for visit in self._origin.visits() if word in visit.query.split("&")]
                self._say([[visit.path, visit.finished, visit.status] for visit in found])

    def connectionLost(self, reason: object = None) -> None:  # type: ignore[override]
        """Our user is gone."""
        self._ended.callback(None)

    def _say(self, answer: object) -> None:
        self.sendLine(json.dumps(answer).encode())


async def _serve(reactor: Any, directory: str) -> None:
    origin = await Origin.start(HoldingReactor(reactor), directory=Path(directory))
    ended: Deferred[None] = Deferred()
    StandardIO(Orders(origin, ended))
    await ended


if __name__ == "__main__":
    react(lambda reactor, directory: Deferred.fromCoroutine(_serve(reactor, directory)), sys.argv[1:])
