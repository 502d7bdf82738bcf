"""
What became of one segment, as it is kept with the task.
"""

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class SegmentRow:
    """
    One line of a task's ledger: `position` from 1 in its track, `identity` of what was planned there (see `hls.plan`),
    how it ended; `reason` says why it was skipped, or how one that is done is damaged. `digest` is the SHA-256 of the
    file as 64 hexadecimal digits, "" when a restart adopted it unread.
    """

    track: str = "main"
    position: int
    identity: str
    name: str = ""
    size_bytes: int = 0
    attempts: int = 1
    outcome: Literal["done", "skipped"] = "done"
    reason: str = ""
    status: int | None = None
    digest: str = ""
