"""
One piece of work in a reactor of its own, for a command that needs no service.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar  # Any: a coroutine's send and yield types

if TYPE_CHECKING:  # Twisted is imported once there is something to run
    from m3u8svc.job import Tools

T = TypeVar("T")


def with_tools(work: Callable[["Tools"], Coroutine[Any, Any, T]]) -> T:
    """
    What `work` comes to, given the tools of a job; raises what it raises, and `KeyboardInterrupt` on Ctrl-C. The
    reactor runs once in the life of a process.
    """
    from twisted.internet import reactor as _reactor
    from twisted.internet.defer import CancelledError, Deferred
    from twisted.python.failure import Failure

    from m3u8svc.tap import disk_threads, make_tools, use_monotonic_clock

    reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
    use_monotonic_clock(reactor)
    in_thread, stop_threads = disk_threads(reactor)
    tools, close_connections = make_tools(reactor, in_thread)
    results: list[T | Failure] = []
    stopping = False

    async def whole() -> None:
        try:
            results.append(await work(tools))
        except BaseException:  # whatever it is belongs to our caller, who waits outside the reactor
            results.append(Failure())
        finally:
            try:
                await close_connections()
                stop_threads()
            finally:
                if not stopping:
                    reactor.stop()

    running: list[Deferred[None]] = []

    def stop() -> Deferred[None] | None:
        nonlocal stopping
        stopping = True
        if running:
            running[0].cancel()
        return running[0] if running else None

    reactor.callWhenRunning(lambda: running.append(Deferred.fromCoroutine(whole())))
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    result = results[0] if results else Failure(CancelledError())
    if isinstance(result, Failure):
        if result.check(CancelledError):
            raise KeyboardInterrupt
        result.raiseException()
    return result  # raiseException does not return
