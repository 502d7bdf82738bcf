"""
The fault origin as a process: serves a directory, takes orders on its standard input, a JSON line each.

``["put", PATH, TEXT]`` serves a text, answered by ``null``; ``["visits", WORD]`` by the requests whose query has
that word; ``["hold", true]`` lets those with `HELD` among their tweaks wait until ``["hold", false]``, else they do not
wait. It ends with its input.
"""

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

from tests.holding_origin import HoldingOrigin

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else


class Orders(LineOnlyReceiver):
    """
    Carries out one order after the other.
    """

    delimiter = b"\n"
    MAX_LENGTH = 1 << 22

    def __init__(self, origin: HoldingOrigin, ended: "Deferred[None]") -> None:
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
                (self._origin.hold if holding else self._origin.release)()
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
    origin = await HoldingOrigin.start(reactor, directory=Path(directory))
    origin.release()
    ended: Deferred[None] = Deferred()
    StandardIO(Orders(origin, ended))
    await ended


if __name__ == "__main__":
    react(lambda reactor, directory: Deferred.fromCoroutine(_serve(reactor, directory)), sys.argv[1:])
