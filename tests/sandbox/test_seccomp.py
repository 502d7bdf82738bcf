"""
The filter of system calls: its table against the kernel's own, its decisions by an interpreter of its code.
"""

import errno
import re
import struct
from pathlib import Path

import pytest

from m3u8svc.sandbox.seccomp import AARCH64, MACHINES, X86_64, YOUNG, Machine, program
from tests import needs

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
PID = 4321
ALLOW = "allow"
# What the generic table calls by other names.
ALIASES = {"newfstatat": "fstatat", "fstat": "fstat", "fcntl": "fcntl", "lseek": "lseek", "ftruncate": "ftruncate"}
FORBIDDEN = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "kill": (62, 129),
    "tkill": (200, 130),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "memfd_create": (319, 279),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "setuid": (105, 146),
    "capset": (126, 91),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchownat": (260, 54),
    "linkat": (265, 37),
    "symlinkat": (266, 36),
    "renameat": (264, None),
    "renameat2": (316, 276),
    "rename": (82, None),
    "mkdirat": (258, 34),
    "mknodat": (259, 33),
    "truncate": (76, 45),
    "setxattr": (188, 5),
    "readlink": (89, None),
    "setrlimit": (160, 164),
    "personality": (135, 92),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "setpriority": (141, 140),
    "seccomp": (317, 277),
}
UNKNOWN = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "move_mount": 429,
    "fsopen": 430,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "fchmodat2": 452,
    "of the future": 700,
}


def decide(machine: Machine, number: int, *arguments: int, audit: int | None = None) -> object:
    """What the filter says of a call: `ALLOW`, "kill", or the number of an error."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    call = struct.pack("<iIQ6Q", number, machine.audit if audit is None else audit, 0, *values)
    code, at, loaded = program(machine, PID), 0, 0
    while True:
        kind, yes, no, operand = code[at]
        at += 1
        match kind:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", call, operand)
            case 0x15:
                at += yes if loaded == operand else no
            case 0x35:
                at += yes if loaded >= operand else no
            case 0x45:
                at += yes if loaded & operand else no
            case 0x06:
                return {0x7FFF0000: ALLOW, 0x80000000: "kill"}.get(operand, operand & 0xFFFF)


def numbers(header: Path) -> dict[str, int]:
    """Every call in a header of the kernel."""
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("name", MACHINES)
def test_the_numbers_are_the_kernels(name):
    """Every call of the list has the number that the kernel's header gives it."""
    if not HEADERS[name].exists():
        needs.lacking(f"{HEADERS[name]} (linux-libc-dev)")
    known = numbers(HEADERS[name])
    ours = MACHINES[name].calls
    assert {call: known.get(call, known.get(ALIASES.get(call, ""))) for call in ours} == dict(ours)
    assert YOUNG == {call: number for call, number in YOUNG.items() if known.get(call, number) == number}


@pytest.mark.parametrize("name", MACHINES)
def test_the_code_is_sound(name):
    """No jump leads out of it, every way ends in a decision, and the kernel's limit is far."""
    code = program(MACHINES[name], PID)
    assert len(code) < 4096
    for at, (kind, yes, no, _) in enumerate(code):
        assert 0 <= yes <= 255 and 0 <= no <= 255
        if kind != 0x06:
            assert at + 1 + max(yes, no) < len(code)


@pytest.mark.parametrize("name", MACHINES)
def test_what_is_allowed(name):
    """Files that are open, memory, threads, time."""
    machine = MACHINES[name]
    for call in ("read", "pread64", "pwrite64", "mmap", "munmap", "futex", "fsync", "exit_group", "rt_sigreturn"):
        assert ALLOW == decide(machine, machine.calls[call])
    for number in YOUNG.values():
        assert ALLOW == decide(machine, number)


@pytest.mark.parametrize("call", FORBIDDEN)
def test_what_is_refused(call):
    """Sockets, programs, processes, other people's memory, mounts, keys, new rights: on both machines."""
    for (name, machine), number in zip(MACHINES.items(), FORBIDDEN[call], strict=True):
        if number is not None:
            assert errno.EPERM == decide(machine, number), name


@pytest.mark.parametrize("call", UNKNOWN)
def test_what_does_not_exist(call):
    """Calls younger than the list are unknown, so that a C library does without them."""
    assert {errno.ENOSYS} == {decide(machine, UNKNOWN[call]) for machine in MACHINES.values()}


@pytest.mark.parametrize("name", MACHINES)
def test_arguments(name):
    """Calls that are one thing or another by an argument."""
    machine = MACHINES[name]
    call = machine.calls

    def says(which: str, *arguments: int) -> object:
        return decide(machine, call[which], *arguments)

    assert ALLOW == says("clone", 0x3D0F00)  # a thread of glibc
    assert errno.EPERM == says("clone", 0x1200011)  # fork
    assert errno.EPERM == says("clone", 17)
    assert ALLOW == says("tgkill", PID, 1, 6)
    assert errno.EPERM == says("tgkill", PID - 1, 1, 6)
    assert ALLOW == says("ioctl", 0, 0x5401)
    assert errno.EPERM == says("ioctl", 0, 0x5412)  # typing into a terminal
    assert ALLOW == says("prctl", 15)
    assert errno.EPERM == says("prctl", 4, 1)
    assert ALLOW == says("fcntl", 3, 2, 1)
    assert errno.EPERM == says("fcntl", 3, 8, 1)  # signals to the owner of a file
    assert ALLOW == says("openat", 0, 0, 0o100)
    assert errno.EPERM == says("openat", 0, 0, 0o1000)
    assert ALLOW == says("prlimit64", 0, 7, 0, 1)
    assert errno.EPERM == says("prlimit64", 0, 7, 1)
    assert errno.EPERM == says("prlimit64", 0, 7, 1 << 32)


def test_other_kinds_of_calls():
    """A 32-bit call kills, one of the x32 kind is refused."""
    assert "kill" == decide(MACHINES["x86_64"], 3, audit=0x40000003)
    assert errno.EPERM == decide(MACHINES["x86_64"], 0x40000000)


def test_nothing_forbidden_is_listed():
    """The list itself, besides its decisions."""
    assert set() == (set(X86_64) | set(AARCH64)) & set(FORBIDDEN)
