"""
Kills a process tree at its Nth state-changing system call, or lets that call fail: ``strace -e inject``, for a tree.

strace counts per thread and per call, so with a service that has a dozen threads and a child, ``when=N`` names no point
of the run, and killing at one thread's fifth fsync leaves most of the others untried. Here one counter runs over every
thread and every child, and over all calls that change what is on the disk; it stops before the call is made. A
program for the kernel's call filter (seccomp) picks them, so that nothing else is slowed.

Only the root of the tree is killed, as ``kill -9`` by an init system does; its muxing child must follow by itself.

Run alone (``python tracer.py --at N …``), since a tracer's waiting takes the children of everybody else::

    tracer.py --report FILE [--pid FILE] --within DIR [--within DIR…] [--at N] [--error EIO] -- COMMAND…

`--at 0`, the default, only counts. What was counted, and what N was, is in the report as JSON. Linux on x86-64 only.
"""

import argparse
import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys

_CALLS = {
    "write": 1,
    "pwrite64": 18,
    "writev": 20,
    "sendfile": 40,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "chmod": 90,
    "fchmod": 91,
    "openat": 257,
    "mkdirat": 258,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "fchmodat": 268,
    "sync_file_range": 277,
    "utimensat": 280,
    "fallocate": 285,
    "pwritev": 296,
    "renameat2": 316,
    "copy_file_range": 326,
}
"""Every call that changes a file, a name or what of them is durable; `openat` only where it makes or empties one."""
_NAMES = {number: name for name, number in _CALLS.items()}
_DESCRIPTOR = {
    name: 0 for name in ("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fchmod", "sync_file_range")
} | {"fallocate": 0, "pwritev": 0, "sendfile": 0, "copy_file_range": 2}
"""Which argument is the descriptor of the file that changes."""
_PATH = {"truncate": 0, "rename": 1, "mkdir": 0, "rmdir": 0, "link": 1, "unlink": 0, "symlink": 1, "chmod": 0}
_PATH |= {"openat": 1, "mkdirat": 1, "unlinkat": 1, "renameat": 3, "linkat": 3, "fchmodat": 1, "utimensat": 1}
_PATH |= {"renameat2": 3}
"""Which argument is the name that changes; of two, the new one."""
_MAKING = os.O_CREAT | os.O_TRUNC

_TRACEME, _CONT, _POKEUSER, _SETOPTIONS, _GETEVENTMSG, _GETREGS = 0, 7, 6, 0x4200, 0x4201, 12
_OPTIONS = 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100000  # fork, vfork, clone, exec, seccomp, exitkill
_EVENT_SECCOMP = 7
_WALL = 0x40000000
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
_ARGUMENTS = (14, 13, 12, 7, 9, 8)
"""Where rdi, rsi, rdx, r10, r8 and r9 are among the registers."""
_AUDIT_ARCH_X86_64 = 0xC000003E

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def works_here() -> bool:
    """
    Whether this machine's registers and calls are those we know.
    """
    return sys.platform == "linux" and platform.machine() == "x86_64"


class Tree:
    """
    One command and all it starts. `at` is the call to stop at, counted from 1; `failing` the error it shall have, 0 to
    kill the command there. Only the directories `within` and what is below them count.
    """

    def __init__(self, within: list[str], at: int, failing: int) -> None:
        self.within = tuple(os.path.realpath(each) + "/" for each in within)
        self.at = at
        self.failing = failing
        self.root = 0
        self.calls: list[str] = []

    def start(self, command: list[str]) -> None:
        """
        Fork; the child waits for us, then becomes the command.
        """
        self.root = os.fork()
        if self.root == 0:
            try:
                _ptrace(_TRACEME, 0)
                os.kill(os.getpid(), signal.SIGSTOP)
                _filter_calls()
                os.execvp(command[0], command)
            finally:
                os._exit(127)
        os.waitpid(self.root, 0)
        _ptrace(_SETOPTIONS, self.root, 0, _OPTIONS)
        _ptrace(_CONT, self.root)

    def follow(self) -> int:
        """
        Until nobody is left; the command's status as `os.waitpid` gives it.
        """
        status = 0
        while True:
            try:
                thread, happened = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return status
            if os.WIFSTOPPED(happened):
                self._stopped(thread, happened)
            elif thread == self.root:
                status = happened

    def _stopped(self, thread: int, status: int) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        if event == _EVENT_SECCOMP:
            self._called(thread)
        # Events are ours to swallow, and so is the stop by which a new thread or child begins.
        passed_on = 0 if event or number in (signal.SIGSTOP, signal.SIGTRAP) else number
        try:
            _ptrace(_CONT, thread, 0, passed_on)
        except ProcessLookupError:
            return  # killed meanwhile

    def _called(self, thread: int) -> None:
        registers = _registers(thread)
        name = _NAMES[registers[15]]
        arguments = [registers[each] for each in _ARGUMENTS]
        path = _file(thread, name, arguments)
        if not f"{path}/".startswith(self.within):
            return
        role = "service" if _process(thread) == self.root else "child"
        self.calls.append(f"{role} {name} {path}")
        if len(self.calls) != self.at:
            return
        if self.failing:
            _ptrace(_POKEUSER, thread, _ORIG_RAX, -1)  # no call is made…
            _ptrace(_POKEUSER, thread, _RAX, -self.failing)  # …and this is its result
        else:
            os.kill(self.root, signal.SIGKILL)


def _file(thread: int, name: str, arguments: list[int]) -> str:
    """
    The file or name that a call is about, absolute; "" if there is none, as of a pipe.
    """
    if name in _DESCRIPTOR:
        return _link(f"/proc/{thread}/fd/{arguments[_DESCRIPTOR[name]]}")
    at = _PATH[name]
    if name == "openat" and not arguments[2] & _MAKING:
        return ""
    if name == "utimensat" and not arguments[1]:
        return _link(f"/proc/{thread}/fd/{arguments[0]}")
    path = _text(thread, arguments[at])
    if path.startswith("/"):
        return path
    # The calls with …at have the directory's descriptor before the name.
    descriptor = ctypes.c_int(arguments[at - 1]).value if name.endswith(("at", "at2")) else -100
    return os.path.join(_link(f"/proc/{thread}/cwd" if descriptor < 0 else f"/proc/{thread}/fd/{descriptor}"), path)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(thread: int, address: int) -> str:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        try:
            memory.seek(address)
            return memory.read(min(4096, 4096 - address % 4096) + 0).split(b"\0", 1)[0].decode("utf-8", "replace")
        except (OSError, ValueError):
            return ""


def _process(thread: int) -> int:
    with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Tgid:"))


def _registers(thread: int) -> tuple[int, ...]:
    buffer = ctypes.create_string_buffer(27 * 8)
    _ptrace(_GETREGS, thread, 0, ctypes.addressof(buffer))
    return struct.unpack("27Q", buffer.raw)


def _ptrace(request: int, thread: int, address: int = 0, value: int = 0) -> None:
    if _libc.ptrace(request, thread, address, value) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _filter_calls() -> None:
    """
    Let the kernel stop this process, and all it starts, at those calls.
    """
    load, equal, any_bit, answer = 0x20, 0x15, 0x45, 0x06
    allow, trace = 0x7FFF0000, 0x7FF00000
    plain = [number for name, number in _CALLS.items() if name != "openat"]
    steps = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT_ARCH_X86_64), (answer, 0, 0, allow), (load, 0, 0, 0)]
    steps += [(equal, len(plain) - index + 4, 0, number) for index, number in enumerate(plain)]
    steps += [
        (equal, 1, 0, _CALLS["openat"]),
        (answer, 0, 0, allow),
        (load, 0, 0, 16 + 2 * 8),  # its flags
        (any_bit, 1, 0, _MAKING),
        (answer, 0, 0, allow),
        (answer, 0, 0, trace),
    ]
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(program, len(program))
    whole = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    set_no_new_privileges, set_filter, mode_filter = 38, 22, 2
    zero = ctypes.c_ulong(0)
    for call in ((set_no_new_privileges, ctypes.c_ulong(1), zero), (set_filter, ctypes.c_ulong(mode_filter), whole)):
        if _libc.prctl(*call, zero, zero) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def main() -> int:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", required=True)
    parser.add_argument("--pid")
    parser.add_argument("--within", action="append", required=True)
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--error", default="")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):  # for the command, which is asked by its own pid
        signal.signal(number, signal.SIG_IGN)
    tree = Tree(given.within, given.at, getattr(errno, given.error) if given.error else 0)
    tree.start(given.command)
    if given.pid:
        with open(f"{given.pid}.new", "w", encoding="ascii") as file:
            file.write(str(tree.root))
        os.rename(f"{given.pid}.new", given.pid)
    status = tree.follow()
    with open(given.report, "w", encoding="utf-8") as file:
        json.dump({"calls": tree.calls, "status": status}, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
