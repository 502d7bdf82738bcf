"""
Children that are asked one thing: what is told of how they ended, whatever they do.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from m3u8svc.errands import Ended, Errands, Stopping, _is_over
from m3u8svc.reins import Allowance

SAY = "import os, signal, sys, time; print('said', flush=True); "
FOREVER = "time.sleep(3600)"


def run(code: str, errands: Errands | None = None, *, longest_s: float = 3600.0, **limits: Any) -> Ended:
    """How a child ends that runs this."""
    sent = errands or Errands((sys.executable, "-c"))
    return sent.run(code, b"order", Allowance(), longest_s=longest_s, **{"most_bytes": 1000, **limits})


@pytest.mark.parametrize(
    ("code", "status", "late", "killed"),
    [
        ("", 0, False, False),
        ("sys.exit(3)", 3, False, False),
        ("os.kill(os.getpid(), signal.SIGXCPU)", -signal.SIGXCPU, False, False),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, False, True),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, False, True),
    ],
)
def test_how_it_ended(code: str, status: int, late: bool, killed: bool) -> None:
    """By itself, by its own fault, or by others."""
    assert Ended(output=b"said\n", status=status, late=late, killed=killed, unheld=()) == run(SAY + code)


def test_one_that_takes_too_long() -> None:
    """We kill it, nobody else does; what it said is there."""
    ended = run(SAY + FOREVER, longest_s=0.5)
    assert (True, False) == (ended.late, ended.killed)


def test_one_that_does_not_go() -> None:
    """What the kernel does not let go is not waited for either."""
    with subprocess.Popen(["sleep", "3600"]) as child:
        assert not _is_over(child, 0.1)
        child.kill()
        assert _is_over(child, 3600)


def test_one_that_says_too_much() -> None:
    """It is not heard out."""
    ended = run("while True: print('x' * 1000)", most_bytes=10)
    assert (b"x" * 10, False, False) == (ended.output, ended.late, ended.killed)


def test_one_whose_answer_has_no_end() -> None:
    """Where a killed child keeps its pipe open, as on a disk that hangs, it is not waited for."""
    ended = run(SAY + "print(os.fork()) or sys.stdout.flush() or time.sleep(3600)", longest_s=5.0)
    assert ended.late
    for pid in ended.output.split()[1:]:
        if int(pid):
            os.kill(int(pid), signal.SIGKILL)


def test_the_service_stops() -> None:
    """Whoever waits for a child is told, and no other is sent."""
    errands, raised = Errands((sys.executable, "-c")), threading.Event()
    reading, writing = os.pipe()

    def send() -> None:
        with pytest.raises(Stopping):
            run(f"import os, time; os.write({writing}, b'.'); {FOREVER}", errands, handed=[writing])
        raised.set()

    waiting = threading.Thread(target=send)
    waiting.start()
    os.read(reading, 1)
    errands.stop()
    waiting.join()
    assert raised.is_set()
    with pytest.raises(Stopping):
        run("", errands)
    os.close(reading)
    os.close(writing)
