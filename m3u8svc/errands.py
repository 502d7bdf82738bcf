"""
Children that read what nobody trusts, are asked one thing, and end: started with an order, held, and heard with
suspicion (DESIGN 5.5). All blocking: the service does this in threads.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import attrs

from m3u8svc.reins import Allowance, hold

PYTHON = (sys.executable, "-I", "-m")
LOOK_S = 0.5
"""How often whoever waits for a child looks whether the service stops."""
END_S = 5.0
"""How long a child may take to end that has said all, and one that is killed: on a disk that hangs it does not."""
OTHERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""By what others end a child: the kernel that is short of memory, whoever stops everything."""


class Stopping(Exception):
    """
    Nobody is sent any more: the service stops.
    """


@attrs.frozen(kw_only=True)
class Ended:
    """
    How an errand ended: what the child said, not judged, its exit status, whether it was too late and so was killed,
    whether somebody else than we killed it, and what of its limits could not be set (names as in `sandbox.level`).
    """

    output: bytes = attrs.field(repr=False)
    status: int
    late: bool
    killed: bool = False
    unheld: tuple[str, ...]


class Errands:
    """
    The children that are out now.
    """

    def __init__(self, python: Sequence[str] = PYTHON) -> None:
        """
        Args:
            python: what runs a module.
        """
        self._python = python
        self._out: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self,
        module: str,
        order: bytes,
        allowance: Allowance,
        *,
        longest_s: float,
        most_bytes: int,
        handed: Sequence[int] = (),
    ) -> Ended:
        """
        Send a child, and wait for what it says, no more than `most_bytes`; it is gone when this returns, unless the
        kernel does not let it go.

        Args:
            module: what it runs, with our process id as its argument.
            order: what it reads.
            longest_s: when it is killed.
            handed: descriptors that it is given, under the same numbers.

        Raises:
            Stopping: now, or while it was out.
        """
        with self._lock:
            if self._stopped:
                raise Stopping
            child = subprocess.Popen(
                [*self._python, module, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                pass_fds=handed,
            )
            self._out.add(child)
        try:
            unheld = hold(child.pid, allowance)
            output, late = _answer(child, order, longest_s, most_bytes, lambda: self._stopped)
            by_itself = _is_over(child, 0 if late or self._stopped or len(output) == most_bytes else END_S)
        finally:
            child.kill()
            is_over = _is_over(child, END_S)
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # it went with its order unread
                        pipe.close()
            with self._lock:
                self._out.discard(child)
        if self._stopped:
            raise Stopping
        status = child.returncode if is_over else -signal.SIGKILL
        return Ended(output=output, status=status, late=late, killed=by_itself and -status in OTHERS, unheld=unheld)

    def stop(self) -> None:
        """
        End them all, and send none any more.
        """
        with self._lock:
            self._stopped = True
            for child in self._out:
                child.kill()


def _answer(
    child: subprocess.Popen[bytes], order: bytes, longest_s: float, most_bytes: int, is_over: Callable[[], bool]
) -> tuple[bytes, bool]:
    """
    What a child answers, no more than that may be, and whether it took too long. Nothing more is waited for once
    `is_over`.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    deadline = time.monotonic() + longest_s
    with contextlib.suppress(BrokenPipeError):  # its answer tells
        child.stdin.write(order)
        child.stdin.close()
    said = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while len(said) < most_bytes and not is_over():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return bytes(said), True
            if selector.select(min(left_s, LOOK_S)):
                piece = os.read(child.stdout.fileno(), most_bytes - len(said))
                if not piece:
                    break
                said += piece
    return bytes(said), False


def _is_over(child: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether it ends so soon."""
    try:
        child.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True
