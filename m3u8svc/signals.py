"""
What signals mean to the service.

The first SIGTERM or SIGINT is the reactor's: everything stops in order. But a thread may hang in a disk that does not
answer, or be in the middle of a migration, and whoever stops a service does not wait for ever. So at a second signal,
or `OVERDUE_S` after the first, the process ends where it is. That loses nothing: all that was acknowledged is on disk
at any instant (DESIGN 5.4), and muxing children die with their parent.

SIGHUP opens the log files anew, as whoever rotates logs expects. In a terminal it is the terminal that went away: then
it is a SIGTERM.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any  # Any: the reactor, which is a module that stands for an object

from twisted.logger import Logger
from twisted.python.logfile import BaseLogFile

SAID_S = 4.0
OVERDUE_S = 4.5
"""How long after a signal the process is there at most; it shall be gone in five seconds."""
STOPPING = (signal.SIGTERM, signal.SIGINT)

Handler = Callable[[int, FrameType | None], Any]

log = Logger(namespace="m3u8svc")


def take_signals(reactor: Any) -> None:
    """
    Give signals these meanings once the reactor runs, which sets its own handlers then.
    """
    reactor.callWhenRunning(_Signals(reactor).install)


def log_files() -> list[BaseLogFile]:
    """
    Every log file of this process. twistd keeps its own to itself, so they are looked for among all objects; later the
    collector passes over those of the start, and they would not be found (`tap.spare_the_collector`).
    """
    return [each for each in gc.get_objects() if isinstance(each, BaseLogFile)]


class _Signals:
    """
    The handlers of one process. They run in the reactor's thread, between any two lines of it.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._told = False
        self._logs: list[BaseLogFile] = []

    def install(self) -> None:
        self._logs = log_files()
        os.register_at_fork(after_in_child=_forget)
        for number in STOPPING:
            handler = signal.getsignal(number)
            if callable(handler):  # not where somebody wants it ignored
                signal.signal(number, self._stops(handler))
        terminate = signal.getsignal(signal.SIGTERM)
        if callable(terminate) and sys.stdin is not None and sys.stdin.isatty():
            signal.signal(signal.SIGHUP, terminate)
        else:
            signal.signal(signal.SIGHUP, self._hung_up)

    def _stops(self, first: Handler) -> Handler:
        def told(number: int, frame: FrameType | None) -> None:
            if self._told:
                _end_by(number)
            self._told = True
            # A thread, since the reactor may be what hangs; and it says nothing, since the log may be what hangs.
            overdue = threading.Timer(OVERDUE_S, os._exit, (0,))
            overdue.daemon = True
            overdue.start()
            first(number, frame)
            self._reactor.callFromThread(self._reactor.callLater, SAID_S, self._say)

        return told

    def _say(self) -> None:
        log.warn("not everything ended in {seconds} s: ending all the same", seconds=SAID_S)

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reopen)

    def _reopen(self) -> None:
        try:
            for each in self._logs:
                each.reopen()
        except OSError as error:  # its directory is gone: what is logged goes nowhere, and the service goes on
            print(f"m3u8svc: the log cannot be opened again: {error}", file=sys.stderr)
        else:
            log.info("SIGHUP: {count} log files opened anew", count=len(self._logs))


def _forget() -> None:
    """
    What a forked child does with its signals until it becomes another program: what the system does. Our handlers would
    stop a reactor that is not there, write to descriptors that are closed, and let the signal pass as heeded.
    """
    signal.set_wakeup_fd(-1)
    for number in STOPPING:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
