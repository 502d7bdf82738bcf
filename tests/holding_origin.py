"""
An origin that holds some of its answers until the test lets them go, however long that takes.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from m3u8svc.testing.origin import Origin

HELD = 1_000_000
"""
As many seconds of ``delay=`` or ``chunk_delay=``, or more, are over when `HoldingOrigin.release` says so.
"""


class HoldingOrigin(Origin):
    """
    An `Origin` with gates: ``delay=1000000`` is one, ``delay=1000001`` another.
    """

    def __init__(self, reactor: Any, directory: Path | None) -> None:  # Any: as in Origin
        super().__init__(reactor, directory)
        self.clock = self._gates = _Gates(reactor)

    def release(self, gate: int = HELD) -> None:
        """
        Answer whoever waits at this gate, and whoever will.
        """
        self._gates.release(gate)

    def hold(self, gate: int = HELD) -> None:
        """
        Let nobody else through this gate, as at first.
        """
        self._gates.hold(gate)


class _Gates:
    """
    A reactor on which long delays do not pass by themselves.
    """

    def __init__(self, reactor: Any) -> None:  # Any: as in Origin
        self._reactor = reactor
        self._clocks: defaultdict[float, Clock] = defaultdict(Clock)
        self._open: set[float] = set()

    def __getattr__(self, name: str) -> Any:  # Any: whatever a reactor has
        return getattr(self._reactor, name)

    def callLater(self, delay_s: float, call: Callable[..., object], *arguments: object, **named: object) -> Any:
        """As `Origin` calls it."""
        if delay_s < HELD:
            return self._reactor.callLater(delay_s, call, *arguments, **named)
        if delay_s in self._open:
            return self._reactor.callLater(0, call, *arguments, **named)
        return self._clocks[delay_s].callLater(delay_s, call, *arguments, **named)

    def release(self, gate: float) -> None:
        """This delay is over."""
        self._open.add(gate)
        self._clocks.pop(gate, Clock()).advance(gate)

    def hold(self, gate: float) -> None:
        """It is not over for who asks from now on."""
        self._open.discard(gate)
