"""
Children that read what nobody trusts, are asked one thing, and end: started with an order, held, and heard with
suspicion (DESIGN 5.5). All blocking: the service does this in threads.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import attrs

from m3u8svc.reins import Allowance, hold


class Stopping(Exception):
    """
    Nobody is sent any more: the service stops.
    """


@attrs.frozen(kw_only=True)
class Ended:
    """
    How an errand ended: what the child said, not judged, its exit status, whether it was too late and so was killed,
    and what of its limits could not be set (names as in `sandbox.level`).
    """

    output: bytes = attrs.field(repr=False)
    status: int
    late: bool
    unheld: tuple[str, ...]


class Errands:
    """
    The children that are out now.
    """

    def __init__(self) -> None:
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
        Send a child, and wait for what it says, no more than `most_bytes`; it is gone when this returns.

        Args:
            module: what it runs, with our process id as its argument.
            order: what it reads.
            longest_s: when it is killed.
            handed: descriptors that it is given, under the same numbers.

        Raises:
            Stopping.
        """
        with self._lock:
            if self._stopped:
                raise Stopping
            child = subprocess.Popen(
                [sys.executable, "-I", "-m", module, str(os.getpid())],
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
            output, late = _answer(child, order, longest_s, most_bytes)
        finally:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # it went with its order unread
                        pipe.close()
            with self._lock:
                self._out.discard(child)
        return Ended(output=output, status=child.returncode, late=late, unheld=unheld)

    def stop(self) -> None:
        """
        End them all, and send none any more.
        """
        with self._lock:
            self._stopped = True
            for child in self._out:
                child.kill()


def _answer(child: subprocess.Popen[bytes], order: bytes, longest_s: float, most_bytes: int) -> tuple[bytes, bool]:
    """What a child answers, no more than that may be, and whether it took too long."""
    assert child.stdin is not None
    assert child.stdout is not None
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(longest_s, end)
    timer.start()
    try:
        with contextlib.suppress(BrokenPipeError):  # its answer tells
            child.stdin.write(order)
            child.stdin.close()
        return child.stdout.read(most_bytes), late.is_set()
    finally:
        timer.cancel()
