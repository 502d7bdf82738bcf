"""
How far a low-disk merge has come, as it is written down beside the segments before any of them is let go of. Pure.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import attrs

from m3u8svc.hls.cuts import Cuts
from m3u8svc.wording import packed, unpacked


@attrs.frozen(kw_only=True)
class Missing:
    """
    A segment that is a hole in the merged part: left out by a rule (`status` perhaps) or given up (`lost`).
    """

    track: str
    position: int
    reason: str
    status: int | None = None
    lost: bool = False


@attrs.frozen(kw_only=True)
class Merged:
    """
    The first `parts` of a plan are in the target, whose first `size_bytes` count; `digest` tells which plan. `cuts`
    says how the cutting goes on, `file_time` what the file's time is to be.
    """

    parts: int = 0
    size_bytes: int = 0
    digest: str = ""
    cuts: Cuts = attrs.field(factory=Cuts)
    file_time: float | None = None
    missing: tuple[Missing, ...] = ()


class PartsDigest:
    """
    What identifies parts in their order: of each its track, position and what was planned there. It grows with them, so
    that a long film is not gone through anew at every checkpoint.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, parts: Iterable[tuple[str, int, str]]) -> None:
        """The next parts."""
        for part in parts:
            self._hash.update(json.dumps(part).encode())
            self.count += 1

    @property
    def text(self) -> str:
        """Of all that were added, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def digest_of(parts: Iterable[tuple[str, int, str]]) -> str:
    """
    The same of all parts at once.
    """
    digest = PartsDigest()
    digest.add(parts)
    return digest.text


def write_merged(merged: Merged) -> bytes:
    """
    As it is stored.
    """
    missing = [{**attrs.asdict(each), "reason": packed(each.reason)} for each in merged.missing]
    return json.dumps({**attrs.asdict(merged), "missing": missing}).encode()


def read_merged(stored: bytes) -> Merged | None:
    """
    What was stored; None for anything else.
    """
    try:
        fields: dict[str, Any] = json.loads(stored)  # Any: JSON
        cuts = Cuts.from_fields(fields.pop("cuts"))
        missing = tuple(Missing(**{**each, "reason": unpacked(each["reason"])}) for each in fields.pop("missing"))
        return Merged(**fields, cuts=cuts, missing=missing)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
