"""
The box ffmpeg runs in: limits on this process, then the program in its place. Run as a file, with nothing imported
but the standard library::

    python -I -S box.py <parent pid> <nice> <memory bytes> <program> <argument>...
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """
    Become the program.
    """
    parent, nice, memory, program, *rest = arguments
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a service that dies takes it along
        if os.getppid() != int(parent):  # it died before we asked
            sys.exit(1)
    for name, most in (("RLIMIT_AS", int(memory)), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 256)):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
    os.nice(int(nice))
    os.execv(program, [program, *rest])


if __name__ == "__main__":
    main(sys.argv[1:])
