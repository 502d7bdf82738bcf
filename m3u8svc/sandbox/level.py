"""
How good a box is, in words: what the child reached, or what the kernel offers before there was one.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

WALLS = ("landlock", "seccomp", "no_new_privs", "parent_death", "memory", "descriptors", "paths", "cpu", "file_size")
"""What may be missing: files and TCP; system calls; the rest by what it is for."""


@attrs.frozen(kw_only=True)
class Box:
    """
    What one box is made of. `landlock` is the ABI, 0 for none; `missing` are names of `WALLS`.
    """

    landlock: int = 0
    seccomp: bool = False
    missing: tuple[str, ...] = ()
    seen: bool = True
    """Whether a child said so; False: the kernel seems to offer that."""

    @property
    def level(self) -> str:
        """full: nothing is missing; none: files and the network are open to the child; partial: anything else."""
        if not self.missing:
            return "full"
        return "none" if {"landlock", "seccomp"} <= set(self.missing) else "partial"

    def as_fields(self) -> dict[str, Any]:
        """As it is shown."""
        return {
            "level": self.level,
            "missing": list(self.missing),
            "landlock_abi": self.landlock,
            "seccomp": self.seccomp,
            "seen": self.seen,
        }


def in_order(missing: Iterable[str]) -> tuple[str, ...]:
    """
    Walls, each once, in the order of `WALLS`.
    """
    named = set(missing)
    return tuple(wall for wall in WALLS if wall in named)


def read_box(fields: Mapping[str, Any], missing_too: Iterable[str] = ()) -> Box:
    """
    What a child says of its box; nothing it could say wrongly makes it better than what the parent knows.

    Raises:
        ValueError, TypeError, KeyError: it talks nonsense.
    """
    said = fields["missing"]
    if not isinstance(said, list):
        raise TypeError(f"missing {said!r}")
    return Box(
        landlock=int(fields["landlock"]),
        seccomp=bool(fields["seccomp"]),
        missing=in_order([*map(str, said), *missing_too]),
    )


def offered() -> Box:
    """
    What the kernel seems to offer to a child of ours: a few microseconds, and nothing is changed.
    """
    missing = []
    if sys.platform != "linux":
        missing = ["landlock", "seccomp", "no_new_privs", "parent_death", "cpu", "file_size"]
        return Box(missing=tuple(missing), seen=False)
    from m3u8svc.sandbox import landlock, seccomp

    abi, filters = landlock.abi(), seccomp.is_available()
    missing += ["landlock"] if not abi else []
    missing += ["seccomp"] if not filters else []
    return Box(landlock=abi, seccomp=filters, missing=tuple(missing), seen=False)


def kernel() -> str:
    """
    The system it depends on.
    """
    system = os.uname()
    return f"{system.sysname} {system.release} {system.machine}"
