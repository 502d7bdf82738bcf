"""
How much processor time and how large a file the muxing child may take: it grows with what it is fed, so that a long
film gets what it needs and a hostile segment does not get it.

The parent holds these limits, the child cannot widen them: its filter refuses that.
"""

import math
from typing import Protocol

import attrs

BEGIN_S = 60.0
SEGMENT_S = 1.0
BYTES_A_SECOND = 16 << 20
MEDIA_A_SECOND = 30.0
"""One second of work for so many bytes and for so many seconds of media: ten times what a slow machine needs."""
BEGIN_BYTES = 64 << 20
BYTES_OUT = 1.5
GAP_BYTES = 1 << 20
"""Silence, where it fills a gap."""
UNKNOWN_BYTES = 2 << 30
"""The most that a segment can have."""


class Fed(Protocol):
    """
    What limits depend on in a part.
    """

    @property
    def duration_s(self) -> float: ...


@attrs.frozen(kw_only=True)
class Allowance:
    """
    Seconds of processor time and bytes in one file.
    """

    cpu_s: float = BEGIN_S
    file_bytes: float = BEGIN_BYTES

    def and_part(self, part: Fed) -> "Allowance":
        """
        What it is with one more part: a segment has `size_bytes`, a gap has not.
        """
        size = getattr(part, "size_bytes", None)
        read = 0 if size is None else size or UNKNOWN_BYTES
        written = GAP_BYTES if size is None else read * BYTES_OUT
        duration_s = part.duration_s if math.isfinite(part.duration_s) else 0.0
        return Allowance(
            cpu_s=self.cpu_s + SEGMENT_S + read / BYTES_A_SECOND + max(duration_s, 0.0) / MEDIA_A_SECOND,
            file_bytes=self.file_bytes + written,
        )


def hold(pid: int, allowance: Allowance) -> tuple[str, ...]:
    """
    Set the limits of a process that is ours; returns what could not be set (names as in `sandbox.level`). Only the soft
    limits, so that they can be raised later.
    """
    try:
        from resource import RLIM_INFINITY, RLIMIT_CPU, RLIMIT_FSIZE, prlimit
    except ImportError:  # not Linux
        return ("cpu", "file_size")
    missing = []
    for wall, kind, most in (
        ("cpu", RLIMIT_CPU, allowance.cpu_s),
        ("file_size", RLIMIT_FSIZE, allowance.file_bytes),
    ):
        try:
            _, hard = prlimit(pid, kind)
            limit = min(math.ceil(most), 1 << 62)
            prlimit(pid, kind, (limit if hard == RLIM_INFINITY else min(limit, hard), hard))
        except ProcessLookupError:
            continue  # it is gone: so be it
        except OSError:
            missing.append(wall)
    return tuple(missing)
