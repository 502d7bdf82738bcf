"""
The box the child puts itself into before it touches media (DESIGN 5.5).

First, as soon as it runs: memory, core dumps, priority, life (`enter_box`). Then, when libav is loaded, when it knows
what it is to read and has opened what it is to write: files, network, other processes, descriptors (`close_box`).
Processor time and the size of files are the parent's to limit, since they grow with what it feeds. What a machine
cannot do is left out and named, and never fails a merge.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any  # Any: JSON

import m3u8svc
from m3u8svc.sandbox import landlock, seccomp

ADDRESS_SPACE_BYTES = 3 << 29  # 1.5 GiB
DESCRIPTORS = 16
NICENESS = 5
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_READ = landlock.READ_FILE | landlock.READ_DIR
_MAKE = landlock.MAKE_REG | landlock.WRITE_FILE | landlock.READ_FILE | landlock.TRUNCATE
_WRITE = _READ | _MAKE | landlock.REMOVE_FILE


def enter_box(parent: int) -> list[str]:
    """
    Limit this process, and let it die with `parent`. What the platform lacks is left out and named; the limits that
    matter are POSIX.
    """
    missing = []
    with contextlib.suppress(OSError):  # already a session leader
        os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    missing += _lower("memory", resource.RLIMIT_AS, ADDRESS_SPACE_BYTES)
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # where Linux shares time among sessions, niceness counts only within one
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
    for wall, option, value in (
        ("parent_death", _PR_SET_PDEATHSIG, signal.SIGKILL),
        ("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1),
    ):
        missing += [] if _prctl(option, value) else [wall]
    if os.getppid() != parent:
        raise SystemExit(3)  # it died before we asked to be told
    # A file that outgrows its limit ends us, as any other limit does; Python would take it for a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    return missing


def close_box(
    missing: Iterable[str],
    *,
    read: Sequence[str] | None,
    make: Sequence[str] = (),
    write: Sequence[str] = (),
    descriptors: int = DESCRIPTORS,
) -> dict[str, Any]:
    """
    Shut out everything else, and say what could be done, in JSON values. Everything must be loaded by now.

    Args:
        missing: what `enter_box` could not do.
        read: files, and directories with what is in them, that may be read; None: nobody said which, so all may.
        make: directories where files may be made; others there can be read and written too: rights know no new files.
        write: directories where files may be made, read, written and removed.
        descriptors: how many files may be open at once.
    """
    missing = [*missing, *_lower("descriptors", resource.RLIMIT_NOFILE, descriptors)]
    rules = [landlock.Rule(path, _READ) for path in (*_own_libraries(), *(["/"] if read is None else read))]
    rules += [landlock.Rule(path, _MAKE) for path in make]
    rules += [landlock.Rule(path, _WRITE) for path in write]
    missing += ["paths"] if read is None or make else []
    abi = 0
    try:
        abi = landlock.restrict(rules)
    except (OSError, AttributeError):
        missing.append("landlock")
    filtered = True
    try:
        seccomp.restrict()
    except (OSError, AttributeError):
        filtered = False
        missing.append("seccomp")
    return {"landlock": abi, "seccomp": filtered, "missing": missing}


def _own_libraries() -> Iterable[str]:
    """
    Where the interpreter may find a module that nobody asked for so far.
    """
    paths = sysconfig.get_paths()
    return {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {
        os.path.dirname(os.path.abspath(m3u8svc.__file__)),
        *(path for path in sys.path if path.endswith("lib-dynload")),
    }


def _prctl(option: int, value: int) -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    except (OSError, AttributeError):  # not Linux
        return False


def _lower(wall: str, kind: int, limit: int) -> list[str]:
    _, hard = resource.getrlimit(kind)
    most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    try:
        resource.setrlimit(kind, (most, most))
    except (OSError, ValueError):
        return [wall]
    return []
