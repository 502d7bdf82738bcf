"""
Landlock: this thread, and what it starts, may open only the files it was given, and no TCP connection (from ABI 4 on),
and reach no process outside (from ABI 6 on). What is open already stays open.

Every kernel knows a prefix of the rights; those it does not know are not asked for. See `landlock(7)`.
"""

import ctypes
import os
from collections.abc import Iterable
from stat import S_ISDIR

import attrs

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_FILE = 1 << 5
MAKE_REG = 1 << 8
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

_FILES_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that an ABI knows; the others know those of the one before."""
_NET_FROM, _NET = 4, 0b11
"""TCP: bind and connect."""
_SCOPE_FROM, _SCOPE = 6, 0b11
"""Abstract UNIX sockets and signals."""
_OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

# The same on every machine: the calls are younger than the common table.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1


@attrs.frozen
class Rule:
    """
    What may be done with a file, or with everything beneath a directory.
    """

    path: str
    rights: int


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """
    What the kernel offers; 0 for nothing.
    """
    try:
        return max(_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)), 0)
    except (OSError, AttributeError):
        return 0


def restrict(rules: Iterable[Rule]) -> int:
    """
    Allow what the rules say and nothing else, for good; returns the ABI. A path that is not there allows nothing.
    `no_new_privs` must be set.

    Raises:
        OSError: the kernel does not do it.
    """
    version = abi()
    if not version:
        raise OSError("no Landlock")
    handled = handled_by(version)
    ruleset = _call(_CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(ctypes.sizeof(handled)), ctypes.c_uint32(0))
    try:
        for rule in rules:
            _add(ruleset, rule, handled.fs)
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return version


def handled_by(version: int) -> _Ruleset:
    """
    All that an ABI can forbid.
    """
    fs = max(rights for known, rights in _FILES_BY_ABI.items() if known <= version)
    return _Ruleset(fs=fs, net=_NET if version >= _NET_FROM else 0, scoped=_SCOPE if version >= _SCOPE_FROM else 0)


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        place = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = rule.rights & handled
        if not S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        if rights:
            beneath = _PathBeneath(rights=rights, parent=place)
            _call(
                _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(beneath), ctypes.c_uint32(0)
            )
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    """
    A system call.

    Raises:
        OSError: what the kernel says.
    """
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    result: int = syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
