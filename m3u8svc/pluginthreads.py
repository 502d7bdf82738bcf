"""
Threads for plugins: plain `def` hooks run here, one after the other in a daemon thread of their plugin.

A hook that blocks past its deadline cannot be stopped. Its thread is left behind, the calls that waited behind it get a
new one, and since the threads are daemons none of them holds the process up when it ends.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol  # Any: what hooks take and answer

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class RunPlain(Protocol):
    """
    Runs a plain function of a plugin; the Deferred fires on the reactor, and cancelling it gives the call up. `begun`
    is called on the reactor when its turn comes.
    """

    def __call__(self, plugin: str, call: Callable[[], Any], begun: Callable[[], None]) -> Deferred[Any]: ...


def run_inline(plugin: str, call: Callable[[], Any], begun: Callable[[], None]) -> Deferred[Any]:
    """
    Run it at once, on this thread: for tests, whose plugins do not block.
    """
    begun()
    done: Deferred[Any] = Deferred()
    _finish(done, *_outcome(call))
    return done


class PluginThreads:
    """
    A thread for each plugin that needs one. `call_on_reactor` is `reactor.callFromThread`.
    """

    def __init__(self, call_on_reactor: Callable[..., Any]) -> None:
        self._call_on_reactor = call_on_reactor
        self._lines: dict[str, _Line] = {}

    def run(self, plugin: str, call: Callable[[], Any], begun: Callable[[], None]) -> Deferred[Any]:
        """
        Run `call` in the thread of `plugin`, after the calls before it.
        """
        line = self._lines.setdefault(plugin, _Line(plugin, self._call_on_reactor))
        return line.add(call, begun)


class _Line:
    """
    The calls of one plugin, and the thread that takes them. Everything here happens on the reactor, but `_serve`.
    """

    def __init__(self, plugin: str, call_on_reactor: Callable[..., Any]) -> None:
        self._plugin = plugin
        self._call_on_reactor = call_on_reactor
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Deferred[Any], Callable[[], Any], Callable[[], None]]] = deque()
        self._running: Deferred[Any] | None = None
        self._shift = 0
        """Which thread is on duty: one that finds itself relieved ends."""
        self._manned = False

    def add(self, call: Callable[[], Any], begun: Callable[[], None]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred(self._give_up)
        with self._changed:
            self._waiting.append((done, call, begun))
            self._man()
            self._changed.notify()
        return done

    def _man(self) -> None:
        if self._manned:
            return
        self._manned = True
        self._shift += 1
        name = f"plugin {self._plugin} {self._shift}"
        threading.Thread(target=self._serve, args=(self._shift,), name=name, daemon=True).start()

    def _give_up(self, done: Deferred[Any]) -> None:
        with self._changed:
            if self._running is done:  # it blocks: relieve its thread
                self._running = None
                self._manned = False
                if self._waiting:
                    self._man()
            else:
                self._waiting = deque(each for each in self._waiting if each[0] is not done)

    def _serve(self, shift: int) -> None:
        while True:
            with self._changed:
                while not self._waiting and shift == self._shift:
                    self._changed.wait()
                if shift != self._shift:
                    return
                done, call, begun = self._waiting.popleft()
                self._running = done
            self._call_on_reactor(begun)
            outcome = _outcome(call)
            with self._changed:
                if shift != self._shift or self._running is not done:
                    return  # given up meanwhile: nobody waits for this
                self._running = None
            self._call_on_reactor(_finish, done, *outcome)


def _outcome(call: Callable[[], Any]) -> tuple[Any, Failure | None]:
    try:
        return call(), None
    except BaseException:  # sys.exit() in a hook must end neither this thread nor the service
        return None, Failure()


def _finish(done: Deferred[Any], result: Any, failure: Failure | None) -> None:
    if done.called:
        return  # given up between the thread's end and now
    if failure is not None:
        done.errback(failure)
    elif isinstance(result, Deferred):
        result.chainDeferred(done)
    else:
        done.callback(result)
