"""
Services that begin as copies of a process which has imported all of it: of what a start costs, importing is four
fifths, and the pieces start hundreds. Whatever runs under a tracer, or from another package, is started from nothing.
What a copy shares with the others besides is the order of its sets (the seed of hashing) and the environment of the
first start; after so many starts another process is copied.

As a program it is that process: it reads orders, a line of JSON each, and answers each with one. ``["start", ARGV,
LOG, WHERE]`` makes a copy and answers with its pid; ``["reap", PID]`` waits for the end of one and answers with its
status.
"""

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # Any: JSON values

from m3u8svc.cli import main as service
from tests.faults import service_entry

ROOT = Path(__file__).parents[2]
MODULES = (
    "m3u8svc.cli.serve",
    "m3u8svc.service",
    "m3u8svc.tap",
    "m3u8svc.web.openapi",
    "prometheus_client",
    "sqlalchemy.dialects.sqlite",
    "twisted.internet.epollreactor",
    "twisted.internet.ssl",
    "twisted.web.websocket",
    "werkzeug.routing",
    "wsproto",
)
"""What a service imports, but for what imports the reactor (klein does)."""
ANSWERS_WITHIN_S = 60.0
"""The first answer comes when all that is imported, on a machine that may be busy."""
COPIES = 16
"""So many are made of one original."""


class OriginalGone(Exception):
    """
    The process that copies are made of has ended, or does not answer: no fault of any service.
    """


class Copy:
    """
    One that runs, as `subprocess.Popen` shows a process.
    """

    def __init__(self, original: "_Process", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._original = original
        self._turn = threading.Lock()
        self._end = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._end)

    def poll(self) -> int | None:
        """Its status, None while it runs."""
        return self._look(0)

    def wait(self, timeout: float) -> int:
        """
        Its status, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it did not end in so many seconds.
        """
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("a copy", timeout)
        return status

    def _look(self, timeout_s: float) -> int | None:
        poller = select.poll()  # one of its own: it cannot be shared between threads
        poller.register(self._end, select.POLLIN)
        if self.returncode is None and poller.poll(timeout_s * 1000):
            with self._turn:  # others may look at the same time
                if self.returncode is None:
                    self.returncode = self._original.ask("reap", self.pid)
        return self.returncode


class Original:
    """
    What copies are made of: a process, and another one after so many copies, or when it is gone.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: _Process | None = None
        self._made = 0

    def start(self, argv: Sequence[str], log: Path) -> Copy:
        """
        A service with these arguments of an interpreter, which prints into `log`.

        Raises:
            OSError: nothing can be written into `log`.
            OriginalGone: no copy could be made.
        """
        log.open("ab").close()
        with self._turn:
            if self._process is None or self._process.is_gone or self._made >= COPIES:
                self._process, self._made = _Process(), 0
            self._made += 1
            process = self._process
        return Copy(process, process.ask("start", [*argv], str(log), os.getcwd()))


class _Process:
    """
    One original. It ends when nobody holds it any more: no copy, and no `Original`.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        argv = [sys.executable, "-m", "tests.faults.warm"]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._end = weakref.finalize(self, _end, self._process)

    @property
    def is_gone(self) -> bool:
        """Whether nothing more can be asked of it."""
        return not self._end.alive or self._process.poll() is not None

    def ask(self, *order: object) -> Any:
        """
        One order; what is answered.

        Raises:
            OriginalGone: nothing is.
        """
        with self._turn:
            try:
                answer = json.loads(self._answer(json.dumps(order).encode() + b"\n"))
            except (OSError, ValueError) as error:
                self._end()
                raise OriginalGone(f"{order[0]}: {error}, its status is {self._process.poll()}") from error
            except BaseException:  # whoever asks next must not hear this answer
                self._end()
                raise
        if isinstance(answer, str):
            raise OriginalGone(f"{order[0]}: {answer}")
        return answer

    def _answer(self, order: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order)
        answer = b""
        while not answer.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], ANSWERS_WITHIN_S)[0]:
                raise TimeoutError("no answer")
            if not (piece := os.read(self._process.stdout.fileno(), 4096)):
                raise OSError("it has ended")
            answer += piece
        return answer


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


ORIGINAL = Original()


# -- The process -----------------------------------------------------------------------------------------------------


def main() -> None:
    """
    Import everything, then do as told. In a copy it returns, too: there the service has ended.
    """
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is meant for whoever gives the orders
    for module in MODULES:
        importlib.import_module(module)
    assert "twisted.internet.reactor" not in sys.modules, "copies would share its epoll object"
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        what, *rest = json.loads(line)
        try:
            if what == "reap":
                answer: int | str = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
            elif not (answer := os.fork()):
                os.close(answers)
                signal.signal(signal.SIGINT, interrupted)
                _become(*rest)
                return
        except OSError as error:
            answer = str(error)
        os.write(answers, json.dumps(answer).encode() + b"\n")


def _become(argv: list[str], log: str, where: str) -> None:
    """
    Be the service that these arguments of an interpreter mean.
    """
    for number, path, flags in ((1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), (0, os.devnull, os.O_RDONLY)):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    os.chdir(where)
    match argv:
        case ["-m", program, *arguments]:
            sys.argv = [program, *arguments]
            service()
        case [_, *arguments]:
            service_entry.main(arguments)


if __name__ == "__main__":
    main()
