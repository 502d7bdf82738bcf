"""
Waiting for several things at once, for a thing that must not be left half-way, and for nothing at all.

Twisted's `gatherResults` does not cancel the siblings of the one that failed, and a cancelled `deferToThread` leaves
its thread at work: both would break "paused means that nothing is written any more".
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar, cast  # Any: a coroutine's send and yield types are nobody's concern

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.redact import redact_text

T = TypeVar("T")

log = Logger()

InThread = Callable[..., Deferred[Any]]
"""`deferToThread`'s shape: a function and its arguments, to be run off the reactor; answers arrive on it."""


def few_at_once(in_thread: InThread, places: int) -> InThread:
    """
    The same threads for work of one sort, which takes at most so many of them at once: what is more waits outside.
    As with threads themselves, nobody who began may be cancelled (`settled`).
    """
    turns = DeferredSemaphore(places)

    def in_turn(*call: Any, **named: Any) -> Deferred[Any]:
        return turns.run(in_thread, *call, **named)

    return in_turn


async def together(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """
    Run all at once; return all results, in order. The first failure cancels the others, waits until each has really
    ended, and is raised; so does being cancelled.
    """
    results: list[T | None] = [None] * len(coroutines)
    failures: list[Failure] = []
    ended: Deferred[None] = Deferred()
    running: dict[int, Deferred[T]] = {}

    def over(outcome: T | Failure, index: int) -> None:
        running.pop(index, None)
        if isinstance(outcome, Failure):
            failures.append(outcome)
            stop()
        else:
            results[index] = outcome
        if not running and started and not ended.called:
            ended.callback(None)

    def stop() -> None:
        for deferred in list(running.values()):
            deferred.cancel()

    started = False
    for index, coroutine in enumerate(coroutines):
        if failures:
            coroutine.close()
            continue
        running[index] = deferred = Deferred.fromCoroutine(coroutine)
        deferred.addBoth(over, index)
    started = True
    if running:
        await through_cancel(ended, stop)
    if failures:
        failures[0].raiseException()
    return cast(list[T], results)  # no failure: each slot is filled


async def beside(main: Coroutine[Any, Any, T], companion: Coroutine[Any, Any, NoReturn]) -> T:
    """
    The result of `main`, with `companion` running as long as it does. A failure of the companion ends both.
    """
    result: list[T] = []

    async def first() -> None:
        result.append(await main)
        raise _MainEnded

    try:
        await together(first(), companion)
    except _MainEnded:
        return result[0]
    raise AssertionError("the companion never returns")


class _MainEnded(Exception):
    pass


async def either(first: Coroutine[Any, Any, T], second: Callable[[], Coroutine[Any, Any, T]], due: Deferred[None]) -> T:
    """
    The result of `first`; once `due` has fired, of whichever of `first` and `second()` succeeds first. The other one is
    cancelled and has ended when this returns. When both fail, that of `first` is raised, unless it only gave way to the
    other.
    """
    running: dict[int, Deferred[T]] = {}
    results: list[T] = []
    failures: dict[int, Failure] = {}
    ended: Deferred[None] = Deferred()

    def over(outcome: T | Failure, index: int) -> None:
        del running[index]
        if isinstance(outcome, Failure):
            failures[index] = outcome
        else:
            results.append(outcome)
            stop()
        if not running and not ended.called:
            ended.callback(None)

    def stop() -> None:
        for deferred in list(running.values()):
            deferred.cancel()

    def start(index: int, coroutine: Coroutine[Any, Any, T]) -> None:
        running[index] = deferred = Deferred.fromCoroutine(coroutine)
        deferred.addBoth(over, index)

    start(0, first)
    due.addCallback(lambda ignored: start(1, second()) if running and not results else None)
    await through_cancel(ended, stop)
    if not results:
        # Nobody cancelled us, so whoever ended by a CancelledError had left it to the other.
        told = [failures[index] for index in sorted(failures) if not failures[index].check(CancelledError)]
        (told or [failures[0]])[0].raiseException()
    return results[0]


async def settled(deferred: Deferred[T]) -> T:
    """
    The result of work that cannot be stopped (a thread): when cancelled, wait for its end first, then raise.
    """
    ended: Deferred[None] = Deferred()
    outcome: list[T | Failure] = []

    def over(result: T | Failure) -> None:
        outcome.append(result)
        ended.callback(None)

    deferred.addBoth(over)
    await through_cancel(ended, lambda: None)
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result  # raiseException does not return


async def through_cancel(ended: Deferred[None], stop: Callable[[], None]) -> None:
    """
    Wait for `ended`; a cancellation calls `stop`, goes on waiting, and is raised at the end.
    """
    cancelled = False
    while not ended.called:
        waiting: Deferred[None] = Deferred()
        ended.addCallback(_pass_on, waiting)
        try:
            await waiting
        except CancelledError:
            cancelled = True
            stop()
    if cancelled:
        raise CancelledError()


def _pass_on(result: None, waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(result)


def log_failure(name: str, failure: Failure | None = None) -> None:
    """
    Log a failure, or the exception being handled, once, with its traceback redacted: what libraries put into messages
    is not ours.
    """
    lines = (failure or Failure()).getTraceback().splitlines()
    log.error("{name} failed:\n{trace}", name=name, trace="\n".join(redact_text(line) for line in lines))


def in_background(name: str, coroutine: Coroutine[Any, Any, object]) -> Deferred[None]:
    """
    Start something nobody waits for; if it fails, log it once under `name`. The Deferred can be cancelled.
    """

    async def watched() -> None:
        try:
            await coroutine
        except CancelledError:
            return
        except Exception:  # the reactor is protected: nobody else would ever hear of this
            log_failure(name)

    return Deferred.fromCoroutine(watched())


class Once:
    """
    Something fetched at most once per name while it succeeds: concurrent callers share one run, a failure is forgotten
    so that the next caller tries again. One caller's cancellation does not take it from the others.
    """

    def __init__(self) -> None:
        self._results: dict[str, object] = {}
        self._waiting: dict[str, list[Deferred[object]]] = {}
        self._running: dict[str, Deferred[None]] = {}

    async def get(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """
        The result of `make()` under `name`.
        """
        if name not in self._results:
            waiting: Deferred[object] = Deferred()
            self._waiting.setdefault(name, []).append(waiting)
            if name not in self._running:
                self._running[name] = started = Deferred.fromCoroutine(self._run(name, make))
                if started.called:
                    self._running.pop(name, None)
            try:
                await waiting
            finally:
                self._leave(name, waiting)
        return self._results[name]  # type: ignore[return-value]  # `make` under this name gave it

    async def _run(self, name: str, make: Callable[[], Awaitable[T]]) -> None:
        failure: Failure | None = None
        try:
            self._results[name] = await make()
        except GeneratorExit:  # thrown away with all who waited: nobody is left to hand it to, and nothing to cancel
            self._running.pop(name, None)
            raise
        except BaseException:  # handed to every waiter, cancellation included
            failure = Failure()
        self._running.pop(name, None)
        for waiting in self._waiting.pop(name, []):
            if not waiting.called:
                waiting.callback(None) if failure is None else waiting.errback(failure)

    def has(self, name: str, result: object) -> bool:
        """
        Whether the next caller would get `result`.
        """
        return self._results.get(name) == result

    def forget(self, name: str, result: object) -> None:
        """
        Fetch it again for the next caller, if what is there is still `result`.
        """
        if self.has(name, result):
            del self._results[name]

    def _leave(self, name: str, waiting: Deferred[object]) -> None:
        others = self._waiting.get(name)
        if others is None or waiting not in others:
            return
        others.remove(waiting)
        if not others and (running := self._running.get(name)) is not None:
            running.cancel()
