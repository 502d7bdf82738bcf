"""
Work in a thread that can be told to stop: a cancelled Deferred leaves its thread at work, and a paused task must not go
on uploading.
"""

import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar  # Any: what is handed to the function is its own business

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Stopped(BaseException):
    """
    Raised in the thread once it has been told to stop. No `Exception`, so that no library between takes it for a
    failure of the network and tries again.
    """


class Stop:
    """
    Whether somebody wants a thread to stop; said on the reactor, asked in the thread.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """From now on `check` raises."""
        self._event.set()

    def check(self) -> None:
        """
        Raises:
            Stopped: somebody wants this to stop.
        """
        if self._event.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """
        Let time pass.

        Raises:
            Stopped: as soon as somebody wants this to stop.
        """
        if self._event.wait(seconds):
            raise Stopped


async def stoppable(in_thread: Callable[..., Awaitable[T]], function: Callable[..., T], *arguments: Any) -> T:
    """
    The result of ``function(*arguments, stop)``, run in a thread. When cancelled, tell `stop`, wait until the thread
    has cleaned up behind itself, then let the cancellation go on.
    """
    stop = Stop()

    async def run() -> T:
        return await in_thread(function, *arguments, stop)

    ended: Deferred[None] = Deferred()
    outcome: list[T | Failure] = []

    def over(result: T | Failure) -> None:
        outcome.append(result)
        ended.callback(None)

    Deferred.fromCoroutine(run()).addBoth(over)
    cancelled = False
    while not ended.called:
        waiting: Deferred[None] = Deferred()
        ended.addCallback(_pass_on, waiting)
        try:
            await waiting
        except CancelledError:
            cancelled = True
            stop.set()
    if cancelled:
        raise CancelledError()
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result  # raiseException does not return


def _pass_on(result: None, waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(result)
