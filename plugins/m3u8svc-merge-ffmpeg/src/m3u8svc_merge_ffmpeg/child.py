"""
One ffmpeg process as the service sees it: started in its box, fed with back-pressure, watched, ended.
"""

import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

BOX = Path(__file__).with_name("box.py")
ENVIRONMENT: Mapping[str, str] = {"LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
PROGRESS_FD = 3
STDERR_BYTES = 8 * 1024
MAX_LINE_BYTES = 4 * 1024
CLOSING_S = 900.0
"""Silence allowed while it finishes the file: an index rewritten on a slow disk takes its time."""


def boxed(program: str, arguments: Sequence[str], *, nice: int, memory_mb: int) -> list[str]:
    """
    The command that runs `program` with limits.
    """
    limits = [str(os.getpid()), str(nice), str(memory_mb << 20)]
    return [sys.executable, "-I", "-S", str(BOX), *limits, program, *arguments]


@attrs.frozen(kw_only=True)
class Ending:
    """
    How it ended: `status` None when by a signal; `signal_name` "" when by itself; `said` the end of its stderr.
    """

    status: int | None
    signal_name: str
    hung: bool
    said: str
    out_time_s: float


@implementer(IPushProducer)
class FfmpegChild(ProcessProtocol):
    """
    The process. `send` what it shall read, then `finish`; `kill` at any time. `on_end` is told when it is gone before
    it was asked to finish.
    """

    def __init__(self, *, clock: Any, silence_s: float, on_end: Callable[[], None]) -> None:
        # clock is Any: services.clock, an IReactorTime
        self._clock = clock
        self._silence_s = silence_s
        self._on_end = on_end
        self._paused = False
        self._pipe_lost = False
        self._finishing = False
        self._room: Deferred[None] | None = None
        self._gone: list[Deferred[None]] = []
        self._stderr = b""
        self._line = b""
        self._out_time_s = 0.0
        self._watch: Any = None  # IDelayedCall
        self._hung = False
        self.ending: Ending | None = None

    # -- For the merger

    def start(self, reactor: Any, command: Sequence[str]) -> None:  # Any: zope interfaces do not combine into one type
        """
        Start it.

        Raises:
            OSError: there is no process.
        """
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r", PROGRESS_FD: "r"}
        reactor.spawnProcess(self, command[0], command, env=ENVIRONMENT, path="/", childFDs=descriptors)

    async def send(self, chunk: bytes) -> None:
        """
        Write `chunk`; returns when there is room for more, or nobody reads any more.
        """
        if self._pipe_lost:
            return
        self.transport.writeToChild(0, chunk)  # type: ignore[union-attr]  # set by spawnProcess
        if self._paused:
            self._room = Deferred()
            await self._room

    async def finish(self) -> None:
        """
        There is no more to read; returns when the process is gone.
        """
        self._finishing = True
        if not self._pipe_lost:
            self._stdin.unregisterProducer()
            self._stdin.loseConnection()
        self._watch_over()
        await self.gone()

    async def gone(self) -> None:
        """
        Return when there is no process any more.
        """
        if self.ending is None:
            waiter: Deferred[None] = Deferred()
            self._gone.append(waiter)
            await waiter

    def kill(self) -> None:
        """
        End it now; what it wrote is worth nothing.
        """
        if self.ending is None:
            try:
                self.transport.signalProcess("KILL")  # type: ignore[union-attr]  # set by spawnProcess
            except ProcessExitedAlready:
                pass  # processEnded follows

    # -- For Twisted

    def connectionMade(self) -> None:
        """It was started."""
        self._stdin.registerProducer(self, True)

    def pauseProducing(self) -> None:
        """The pipe is full."""
        self._paused = True
        self._watch_over()

    def resumeProducing(self) -> None:
        """The pipe is empty again."""
        self._paused = False
        self._release()
        self._watch_over()

    def stopProducing(self) -> None:
        """The pipe is gone."""
        self._paused = False
        self._pipe_lost = True
        self._release()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Complaints and progress; either is a sign of life."""
        if childFD == 2:
            self._stderr = (self._stderr + data)[-STDERR_BYTES:]
        elif childFD == PROGRESS_FD:
            *lines, self._line = (self._line + data).split(b"\n")
            self._line = self._line[-MAX_LINE_BYTES:]
            for line in lines:
                self._hear(line)
        self._watch_over()

    def childConnectionLost(self, childFD: int) -> None:
        """One of its descriptors was closed."""
        if childFD == 0:
            self.stopProducing()

    def processEnded(self, reason: Failure) -> None:
        """It is gone and its pipes are read to the end."""
        self._stop_watch()
        error = reason.value
        number = error.signal if isinstance(error, ProcessTerminated) else None
        self.ending = Ending(
            status=None if number is not None else (getattr(error, "exitCode", None) or 0),
            signal_name="" if number is None else signal.Signals(number).name,
            hung=self._hung,
            said=self._stderr.decode("utf-8", "replace"),
            out_time_s=self._out_time_s,
        )
        self.stopProducing()
        waiting, self._gone = self._gone, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
        if not self._finishing:
            self._on_end()

    # -- Inside

    @property
    def _stdin(self) -> Any:  # Any: Twisted's ProcessWriter is not public
        return self.transport.pipes[0]  # type: ignore[union-attr]  # set by spawnProcess

    def _release(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.called:
            room.callback(None)

    def _hear(self, line: bytes) -> None:
        found = re.fullmatch(rb"out_time_us=(\d{1,18})\s*", line)
        if found is not None:
            self._out_time_s = int(found[1]) / 1e6

    def _watch_over(self) -> None:
        """Start the watchdog anew, or stop it while there is nothing to do but wait for segments."""
        self._stop_watch()
        if self.ending is None and (self._paused or self._finishing):
            silence_s = max(CLOSING_S, self._silence_s) if self._finishing and self._pipe_lost else self._silence_s
            self._watch = self._clock.callLater(silence_s, self._silent)

    def _stop_watch(self) -> None:
        if self._watch is not None and self._watch.active():
            self._watch.cancel()

    def _silent(self) -> None:
        self._hung = True
        self.kill()
