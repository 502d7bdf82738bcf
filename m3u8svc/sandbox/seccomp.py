"""
Seccomp: the system calls that a demuxer and its interpreter need are allowed, nothing else is. No socket, no program,
no process, no look into another one, whatever the file system allows.

The filter is classic BPF, built here: libseccomp is no part of a machine that has only pip, and what it would do for us
is this list. A call that is not allowed fails with EPERM; one that is younger than the list fails with ENOSYS, as if
the kernel did not know it, so that a C library that tries it first goes on with what it did before.

Numbers are those of the kernel's `unistd.h`; they never change.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator, Mapping

import attrs

# fmt: off
X86_64: Mapping[str, int] = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "ioctl": 16,
    "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23, "sched_yield": 24,
    "mremap": 25, "msync": 26, "mincore": 27, "madvise": 28, "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35,
    "getpid": 39, "recvmsg": 47, "clone": 56, "exit": 60, "uname": 63, "fcntl": 72, "fsync": 74, "fdatasync": 75,
    "ftruncate": 77, "getdents": 78, "getcwd": 79, "unlink": 87, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98,
    "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110,
    "getpgrp": 111, "getgroups": 115, "getresuid": 118, "getresgid": 120, "getpgid": 121, "getsid": 124,
    "rt_sigpending": 127, "rt_sigtimedwait": 128, "rt_sigsuspend": 130, "sigaltstack": 131, "getpriority": 140,
    "sched_getparam": 143, "sched_getscheduler": 145, "sched_get_priority_max": 146, "sched_get_priority_min": 147,
    "prctl": 157, "arch_prctl": 158, "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204,
    "getdents64": 217, "set_tid_address": 218, "restart_syscall": 219, "fadvise64": 221, "clock_gettime": 228,
    "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234, "openat": 257, "newfstatat": 262,
    "unlinkat": 263, "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "get_robust_list": 274,
    "sync_file_range": 277, "fallocate": 285, "dup3": 292, "pipe2": 293, "preadv": 295, "pwritev": 296,
    "prlimit64": 302, "getcpu": 309, "getrandom": 318, "membarrier": 324, "preadv2": 327, "pwritev2": 328, "statx": 332,
    "rseq": 334,
}
AARCH64: Mapping[str, int] = {
    "getcwd": 17, "dup": 23, "dup3": 24, "fcntl": 25, "ioctl": 29, "unlinkat": 35, "ftruncate": 46, "fallocate": 47,
    "faccessat": 48, "openat": 56, "close": 57, "pipe2": 59, "getdents64": 61, "lseek": 62, "read": 63, "write": 64,
    "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68, "preadv": 69, "pwritev": 70, "pselect6": 72, "ppoll": 73,
    "newfstatat": 79, "fstat": 80, "fsync": 82, "fdatasync": 83, "sync_file_range": 84, "exit": 93, "exit_group": 94,
    "set_tid_address": 96, "futex": 98, "set_robust_list": 99, "get_robust_list": 100, "nanosleep": 101,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getscheduler": 120, "sched_getparam": 121,
    "sched_getaffinity": 123, "sched_yield": 124, "sched_get_priority_max": 125, "sched_get_priority_min": 126,
    "restart_syscall": 128, "tgkill": 131, "sigaltstack": 132, "rt_sigsuspend": 133, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigpending": 136, "rt_sigtimedwait": 137, "rt_sigreturn": 139, "getpriority": 141,
    "getresuid": 148, "getresgid": 150, "times": 153, "getpgid": 155, "getsid": 156, "getgroups": 158, "uname": 160,
    "getrlimit": 163, "getrusage": 165, "prctl": 167, "getcpu": 168, "gettimeofday": 169, "getpid": 172, "getppid": 173,
    "getuid": 174, "geteuid": 175, "getgid": 176, "getegid": 177, "gettid": 178, "sysinfo": 179, "brk": 214,
    "recvmsg": 212, "munmap": 215, "mremap": 216, "clone": 220, "mmap": 222, "fadvise64": 223, "mprotect": 226,
    "msync": 227, "mincore": 232, "madvise": 233, "prlimit64": 261, "getrandom": 278, "membarrier": 283, "preadv2": 286,
    "pwritev2": 287, "statx": 291, "rseq": 293,
}
# fmt: on
YOUNG: Mapping[str, int] = {"close_range": 436, "faccessat2": 439, "futex_waitv": 449, "map_shadow_stack": 453}
"""Allowed calls from the table that all machines share."""
UNKNOWN_FROM = 424
"""From here on a call that is not allowed is one that the kernel does not know."""


@attrs.frozen
class Machine:
    """
    One kind of processor: its number in `audit.h`, its calls, and from where on numbers are of another kind.
    """

    audit: int
    calls: Mapping[str, int]
    foreign_from: int | None = None


MACHINES = {
    "x86_64": Machine(0xC000003E, X86_64, 0x40000000),  # above: the x32 ABI
    "aarch64": Machine(0xC00000B7, AARCH64),
}

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_EPERM = 0x00050000 | errno.EPERM
_ENOSYS = 0x00050000 | errno.ENOSYS
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

_CLONE_THREAD = 0x10000
_O_TRUNC = 0x200
_IOCTLS = (0x5401, 0x541B, 0x5413, 0x5450, 0x5451)
"""Whether it is a terminal, how much is there, how wide it is, close-on-exec: what Python asks of any file."""
_PRCTLS = (15, 16, 0x53564D41)
"""The names of threads and of memory."""
_OWNERS = (8, 10, 15)
"""Commands of fcntl that send signals to others."""

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC = 1
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


def machine() -> Machine | None:
    """
    This machine, when we know its numbers.
    """
    return MACHINES.get(os.uname().machine) if sys.maxsize > 1 << 32 and sys.platform == "linux" else None


def is_available() -> bool:
    """
    Whether the kernel takes filters, as far as can be told without setting one.
    """
    number = _SECCOMP_CALL.get(os.uname().machine)
    if machine() is None or number is None:
        return False
    action = ctypes.c_uint32(_EPERM & 0xFFFF0000)
    try:
        syscall = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return False
    asked = (ctypes.c_long(number), ctypes.c_uint(_GET_ACTION_AVAIL), ctypes.c_uint(0), ctypes.byref(action))
    return bool(syscall(*asked) == 0)


def restrict() -> None:
    """
    Allow all threads of this process the calls of the list, for good. `no_new_privs` must be set.

    Raises:
        OSError: the kernel does not do it, or we do not know this machine.
    """
    here = machine()
    if here is None:
        raise OSError("no filter for this machine")
    code = b"".join(struct.pack("=HBBI", *each) for each in program(here, os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP_CALL[os.uname().machine]
    set_filter = (ctypes.c_long(number), ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_TSYNC), pointer)
    if libc.syscall(*set_filter) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def program(here: Machine, pid: int) -> list[Instruction]:
    """
    The filter of the process `pid`. Pure.
    """
    special: dict[str, list[Instruction]] = {
        "clone": [_argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), _end(_ALLOW), _end(_EPERM)],
        "tgkill": [_argument(0), *_one_of((pid,))],
        "ioctl": [_argument(1), *_one_of(_IOCTLS)],
        "prctl": [_argument(0), *_one_of(_PRCTLS)],
        "fcntl": [_argument(1), *_none_of(_OWNERS)],
        "open": [_argument(1), (_ANY_BIT, 0, 1, _O_TRUNC), _end(_EPERM), _end(_ALLOW)],
        "openat": [_argument(2), (_ANY_BIT, 0, 1, _O_TRUNC), _end(_EPERM), _end(_ALLOW)],
        # Only to ask: new limits would be at the third argument.
        "prlimit64": [_argument(2), (_EQUAL, 1, 0, 0), _end(_EPERM), _argument(2, 4), *_one_of((0,))],
    }
    code = [(_LOAD, 0, 0, _MACHINE_AT), (_EQUAL, 1, 0, here.audit), _end(_KILL), (_LOAD, 0, 0, _NUMBER_AT)]
    if here.foreign_from is not None:
        code += [(_AT_LEAST, 0, 1, here.foreign_from), _end(_EPERM)]
    for name, number in {**here.calls, **YOUNG}.items():
        then = special.get(name, [_end(_ALLOW)])
        code += [(_EQUAL, 0, len(then), number), *then]
    return [*code, (_AT_LEAST, 0, 1, UNKNOWN_FROM), _end(_ENOSYS), _end(_EPERM)]


def _argument(index: int, half: int = 0) -> Instruction:
    """Load the lower half of an argument (both machines are little-endian), or with 4 the upper one."""
    return _LOAD, 0, 0, _ARGUMENTS_AT + 8 * index + half


def _one_of(values: tuple[int, ...]) -> Iterator[Instruction]:
    """Allow these, refuse the rest."""
    for left, value in zip(range(len(values), 0, -1), values, strict=True):
        yield _EQUAL, left, 0, value
    yield _end(_EPERM)
    yield _end(_ALLOW)


def _none_of(values: tuple[int, ...]) -> Iterator[Instruction]:
    """Refuse these, allow the rest."""
    for left, value in zip(range(len(values), 0, -1), values, strict=True):
        yield _EQUAL, left, 0, value
    yield _end(_ALLOW)
    yield _end(_EPERM)


def _end(action: int) -> Instruction:
    return _RETURN, 0, 0, action
