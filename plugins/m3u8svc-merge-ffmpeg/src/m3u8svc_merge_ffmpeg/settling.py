"""
Waiting for what must not be left half-way: a thread that removes a file, the end of a process.
"""

from collections.abc import Awaitable
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


async def settled(work: Awaitable[T]) -> T:
    """
    The result of `work`. When cancelled, wait for its end first, then raise.
    """
    outcome: list[T | Failure] = []
    waiting: list[Deferred[None]] = []

    def over(result: T | Failure) -> None:
        outcome.append(result)
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)

    Deferred.fromCoroutine(_awaited(work)).addBoth(over)
    cancelled = False
    while not outcome:
        waiter: Deferred[None] = Deferred()
        waiting.append(waiter)
        try:
            await waiter
        except CancelledError:
            cancelled = True
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    if cancelled:
        raise CancelledError()
    return result


async def _awaited(work: Awaitable[T]) -> T:
    return await work
