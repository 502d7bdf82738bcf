"""
Waiting in tests for what comes about by itself.
"""

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

WITHIN_S = 12.0
"""Less than the fetcher waits for a silent origin (`FetchLimits`): what hangs has not helped itself by then."""


async def until(holds: Callable[[], object], *, seconds: float = WITHIN_S) -> None:
    """
    Wait until it is so. `holds` answers whether it is, or gives an awaitable of that.

    Raises:
        AssertionError: it did not come about in time.
    """
    for _ in range(round(seconds * 100)):  # turns: one in which the machine stands still counts no more than another
        answer = holds()
        if await answer if hasattr(answer, "__await__") else answer:
            return
        await deferLater(reactor, 0.01)
    raise AssertionError(f"it did not happen within {seconds} s")
