"""
What signals mean to a process that the service forks, until that is another program.
"""

import signal
import subprocess
import sys

FORK = """
import os, signal, sys, time
from twisted.internet import reactor
from m3u8svc.signals import take_signals

def fork():
    pid = os.fork()
    if not pid:
        os.closerange(3, 100)  # as whoever starts a program does
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    reactor.stop()

take_signals(reactor)
reactor.callWhenRunning(reactor.callLater, 0, fork)
reactor.run()
"""


def test_a_signal_ends_a_child_that_is_about_to_start() -> None:
    """It means what it means to a new program: our handlers would wake a reactor that is not there, and let it pass."""
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60)
    assert (f"{-signal.SIGTERM}\n", "", 0) == (ran.stdout, ran.stderr, ran.returncode)
