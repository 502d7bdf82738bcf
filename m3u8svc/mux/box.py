"""
The box the child puts itself into before it touches media (DESIGN 5.5): memory, core dumps, priority, life.
"""

import contextlib
import ctypes
import os
import resource
import signal

ADDRESS_SPACE_BYTES = 3 << 29  # 1.5 GiB
NICENESS = 5
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def enter_box(parent: int) -> None:
    """
    Limit this process, and let it die with `parent`. What the platform lacks is left out; the limits that matter are
    POSIX.
    """
    with contextlib.suppress(OSError):  # already a session leader
        os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES)
    os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(3)  # it died before we asked to be told


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (most, most))
