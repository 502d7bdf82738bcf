"""
Turns at work that only a few may do at once, with a bound on how many wait for theirs.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import DeferredSemaphore

from m3u8svc.errors import TooBusy


class WaitingRoom:
    """
    Who comes when every seat is taken is sent away at once, and told when to come back.
    """

    def __init__(self, *, places: int, seats: int, retry_after_s: int) -> None:
        """
        Args:
            places: how many have their turn at once.
            seats: how many may wait for theirs.
            retry_after_s: when somebody who was sent away should come back, in seconds.
        """
        self._turns = DeferredSemaphore(places)
        self._seats = seats
        self._retry_after_s = retry_after_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """
        One turn, for as long as the block runs.

        Raises:
            TooBusy: nobody more may wait.
        """
        if not self._turns.tokens and len(self._turns.waiting) >= self._seats:
            raise TooBusy(limit=self._seats, seconds=self._retry_after_s)
        await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()
