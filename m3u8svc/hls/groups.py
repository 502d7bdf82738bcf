"""
Groups: the stretches of a media playlist between two discontinuities, numbered from 1 in order. A plan lists them; the
`groups` of a task says by number which to keep, such as "1,3-5".
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Sequence

from m3u8svc.errors import SelectionError
from m3u8svc.hls.playlist import Segment, SegmentList
from m3u8svc.redact import escape_controls
from m3u8svc.wording import Said, joined, said

LONGEST = 16 * 1024
"""Characters of such a list."""

Ranges = tuple[tuple[int, int], ...]
"""Numbers as pairs of first and last, both included."""

_ITEM = re.compile(r"([0-9]{1,9})(?: *- *([0-9]{1,9}))?")


class Chosen:
    """
    The numbers of the groups that are kept: those in `kept`, or all if that names none.
    """

    def __init__(self, kept: Ranges) -> None:
        ordered = sorted(kept)
        self._starts = [first for first, _ in ordered]
        self._furthest = list(itertools.accumulate((last for _, last in ordered), max))  # of all that start no later

    def __contains__(self, number: int) -> bool:
        started = bisect_right(self._starts, number)
        return not self._starts or (started > 0 and self._furthest[started - 1] >= number)


def parse_groups(text: str) -> Ranges:
    """
    The groups that `text` names; "" names none, which means all.

    Raises:
        SelectionError: an item that is neither a number nor a range of numbers.
    """
    if len(text) > LONGEST:
        raise SelectionError(position=LONGEST + 1, item=text[LONGEST : LONGEST + 20], expected=f"<= {LONGEST}")
    ranges: list[tuple[int, int]] = []
    position = 1
    for part in text.split(",") if text.strip() else ():
        item = part.strip()
        found = _ITEM.fullmatch(item)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 0 < first <= last:
            raise SelectionError(position=position, item=escape_controls(item[:40]), expected="1, 3-5")
        ranges.append((first, last))
        position += len(part) + 1
    return tuple(ranges)


def split_groups(segments: Sequence[Segment]) -> tuple[Sequence[Segment], ...]:
    """
    The groups of a playlist, in order.
    """
    if isinstance(segments, SegmentList):
        return tuple(group for _, group in segments.groups())
    by_sequence = itertools.groupby(segments, key=lambda segment: segment.discontinuity_sequence)
    return tuple(tuple(group) for _, group in by_sequence)


def missing_groups(segments: Sequence[Segment], kept: Ranges) -> tuple[Said, ...]:
    """
    A warning that names what of `kept` there is no group of.
    """
    count = len(split_groups(segments))
    beyond = [f"{first}" if first == last else f"{first}-{last}" for first, last in kept if first > count]
    if not beyond:
        return ()
    more = "…" if len(beyond) > 20 else ""
    zh = "groups: 没有第 {named}{more} 组，播放列表共有 {count} 组"
    en = "groups: there is no group {named}{more}, the playlist has {count}"
    return (said(zh, en, named=joined(beyond[:20], zh="、", en=", "), more=more, count=count),)


def skip_groups(segments: Sequence[Segment], kept: Ranges) -> dict[int, Said]:
    """
    position -> reason for the segments of groups that are not kept.
    """
    if not kept:
        return {}
    chosen = Chosen(kept)
    skips: dict[int, Said] = {}
    for number, group in enumerate(split_groups(segments), start=1):
        if number not in chosen:
            reason = said("groups: 第 {n} 组不在所选之中", "groups: group {n} is not among the chosen", n=number)
            skips |= dict.fromkeys((segment.position for segment in group), reason)
    return skips
