"""
One run of a command: without a shell, the event on its standard input, ended when it takes too long.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from m3u8svc_notify.deciding import Answer, Ran, Unanswered
from m3u8svc_notify.queue import Item
from m3u8svc_notify.settings import Command

SESSION = Path(__file__).with_name("session.py")
MOST_OUTPUT_BYTES = 4096
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""The rest of the service's environment may hold secrets."""


class CommandRunner:
    """
    Runs one configured command.
    """

    def __init__(self, command: Command, *, reactor: Any, log: Any) -> None:
        # reactor and log are Any: those of `services`
        self._command = command
        self._reactor = reactor
        self._log = log

    async def send(self, item: Item) -> Answer:
        """
        One run. Cancelled, it ends the command first.
        """
        child = _Child(item.body.encode())
        argv = [sys.executable, "-I", "-S", str(SESSION), *self._command.argv]
        try:
            self._reactor.spawnProcess(
                child, argv[0], argv, env=environment(item), path="/", childFDs={0: "w", 1: "r", 2: "r"}
            )
        except OSError as error:
            return Unanswered(why=f"it cannot be started: {error.strerror}")
        timer = self._reactor.callLater(self._command.timeout_s, child.kill, True)
        try:
            await child.ended
        finally:
            if timer.active():
                timer.cancel()
            child.kill(False)  # also what it left behind in its session
        self._log_output(item, child.output)
        return Ran(why=f"ended after {self._command.timeout_s:g} s" if child.timed_out else child.how)

    def _log_output(self, item: Item, output: bytes) -> None:
        if output:
            text = "".join(each if each.isprintable() else " " for each in output.decode("utf-8", "replace")).strip()
            self._log.info(
                "{target} printed for event {event}: {text}", target=self._command.key, event=item.event_id, text=text
            )


def environment(item: Item) -> dict[str, str]:
    """
    What the command sees: little of ours, and the event in a few words.
    """
    said = json.loads(item.body)
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env |= {"M3U8SVC_EVENT_ID": str(item.event_id), "M3U8SVC_EVENT": item.name, "M3U8SVC_TASK_ID": item.task_id}
    for name in ("status", "previous", "filename", "output", "err_code"):
        env[f"M3U8SVC_{name.upper()}"] = str(said[name] or "").replace("\0", "")
    return env


class _Child(ProcessProtocol):
    """
    The process, and the beginning of what it prints.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._over = False
        self.ended: Deferred[None] = Deferred(lambda _: self.kill(False))
        self.output = b""
        self.how = ""
        self.timed_out = False
        self._leader: int | None = None

    def connectionMade(self) -> None:
        """Say it, and no more."""
        self.transport.write(self._text)  # type: ignore[union-attr]  # set by spawnProcess
        self.transport.closeStdin()  # type: ignore[union-attr]  # as above

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep the beginning."""
        self.output += data[: MOST_OUTPUT_BYTES - len(self.output)]

    def kill(self, timed_out: bool) -> None:
        """End the session it leads."""
        pid = self._leader
        self.timed_out = self.timed_out or timed_out
        if pid is None:
            return
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if not self._over:  # it has not got as far as its own session
                os.kill(pid, signal.SIGKILL)

    def processExited(self, reason: Failure) -> None:
        """It is gone. What it started may still hold the pipes: nobody waits for that."""
        self._over = True
        error = reason.value
        if isinstance(error, ProcessTerminated):
            number = error.signal
            self.how = signal.Signals(number).name if number is not None else f"exit status {error.exitCode}"
        if not self.ended.called:
            self.ended.callback(None)

    def makeConnection(self, transport: Any) -> None:  # Any: Twisted's process transport
        """Remember the pid: Twisted forgets it when the process ends, and its session may live on."""
        self._leader = transport.pid
        super().makeConnection(transport)  # type: ignore[no-untyped-call]  # Twisted's
