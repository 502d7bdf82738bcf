"""
Services that begin as copies of a process which has imported all of it: of what a start costs, importing is four
fifths, and the pieces start hundreds. Whatever runs under a tracer, or from another package, is started from nothing.

As a program it is that process: it reads orders, a line of JSON each, and answers each with one. ``["start", ARGV,
LOG, WHERE]`` makes a copy and answers with its pid; ``["reap", PID]`` waits for the end of one and answers with its
status.
"""

import atexit
import gc
import importlib
import json
import os
import select
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


class Copy:
    """
    One that runs, as `subprocess.Popen` shows a process.
    """

    def __init__(self, whose: "Original", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._whose = whose
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
        if self.returncode is None and select.select([self._end], [], [], timeout_s)[0]:
            with self._turn:  # others may look at the same time
                if self.returncode is None:
                    self.returncode = self._whose.ask("reap", self.pid)
        return self.returncode


class Original:
    """
    The process that copies are made of.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def start(self, argv: Sequence[str], log: Path) -> Copy:
        """
        A service with these arguments, which prints into `log`.
        """
        return Copy(self, self.ask("start", [*argv], str(log), os.getcwd()))

    def ask(self, *order: object) -> Any:
        """
        One order; what is answered.
        """
        with self._turn:
            if self._process is None:
                argv = [sys.executable, "-m", "tests.faults.warm"]
                self._process = subprocess.Popen(
                    argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                atexit.register(self._process.kill)
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


ORIGINAL = Original()


# -- The process -----------------------------------------------------------------------------------------------------


def main() -> None:
    """
    Import everything, then do as told. In a copy it returns, too: there the service has ended.
    """
    for module in MODULES:
        importlib.import_module(module)
    assert "twisted.internet.reactor" not in sys.modules, "copies would share its epoll object"
    gc.freeze()
    for line in sys.stdin:
        what, *rest = json.loads(line)
        if what == "reap":
            answer = os.waitstatus_to_exitcode(os.waitpid(rest[0], 0)[1])
        elif not (answer := os.fork()):
            _become(*rest)
            return
        print(json.dumps(answer), flush=True)


def _become(argv: list[str], log: str, where: str) -> None:
    """
    Be the service that these arguments of an interpreter mean.
    """
    os.chdir(where)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    match argv:
        case ["-m", program, *arguments]:
            sys.argv = [program, *arguments]
            service()
        case [_, *arguments]:
            service_entry.main(arguments)


if __name__ == "__main__":
    main()
