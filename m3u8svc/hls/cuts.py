"""
Where a low-disk merge is cut: after which parts it makes a checkpoint and lets go of their files. Pure, and the same
for the same parts whenever and by whom it is asked, so that a merge that was interrupted writes the same bytes.

What is behind no checkpoint is on disk twice, as segments and in the file. So a cut comes when that is a small part of
what there is already, of a mebibyte for short films and never of more than `MOST_BYTES`. It comes before a part of the
main track, when all tracks are in the same splice: a splice's clock is fixed by all of them together.
"""

from collections.abc import Mapping

import attrs

LEAST_BYTES = 1 << 20
MOST_BYTES = 64 << 20
SHARE = 25
"""A cut after a 25th of everything before it."""


@attrs.define
class Cuts:
    """
    Told of every part in order, it says where the cuts are. Its fields are all it knows: they can be written down.
    """

    done_bytes: int = 0
    """Of all parts before the last cut."""
    fresh_bytes: int = 0
    """Of the parts since."""
    splices: dict[str, int] = attrs.field(factory=dict)
    """Where each track is that has come and not ended."""

    @property
    def due_bytes(self) -> int:
        """So much must have come since the last cut for another."""
        return min(max(LEAST_BYTES, self.done_bytes // SHARE), MOST_BYTES)

    def comes_before(self, *, is_main: bool) -> bool:
        """Whether a cut stands before the next part."""
        return is_main and self.fresh_bytes >= self.due_bytes and len(set(self.splices.values())) <= 1

    def cut(self) -> None:
        """A cut is made here."""
        self.done_bytes += self.fresh_bytes
        self.fresh_bytes = 0

    def add(self, *, track: str, splice: int, size_bytes: int, last: bool) -> None:
        """The next part; `last`: of its track."""
        self.fresh_bytes += size_bytes
        self.splices[track] = splice
        if last:
            del self.splices[track]

    def as_fields(self) -> dict[str, object]:
        """To write down, right after a cut."""
        return attrs.asdict(self)

    @classmethod
    def from_fields(cls, fields: Mapping[str, object]) -> "Cuts":
        """
        What was written down.

        Raises:
            ValueError: something else was.
        """
        done, fresh, splices = (fields.get(name) for name in ("done_bytes", "fresh_bytes", "splices"))
        if not isinstance(done, int) or not isinstance(fresh, int) or not isinstance(splices, dict):
            raise ValueError(f"no cuts: {dict(fields)!r}")
        return cls(done, fresh, {str(track): int(splice) for track, splice in splices.items()})
