"""
The order in which tasks start: by `Task.priority`, higher first, then by `Task.place`, lower first, then by creation.

A place is any number; that of a new task is the time of its creation, in seconds. To put a task between two others is
to give it a number between theirs. When there is none left between two floats, those in front make room.
"""

from collections.abc import Sequence

import attrs

PRIORITIES = (-100, 100)
"""The lowest and the highest."""
FIRST = 1
LAST = 2**31
"""A position behind any other."""
ROOM = 1.0
"""By how much those in front step forward, where two places are too close for a third."""


@attrs.frozen(kw_only=True)
class Step:
    """
    How a task comes to its position: its new `place`, and by how much the first `shifted` of the others give way.
    """

    place: float
    shifted: int = 0
    by: float = 0.0


def step_to(position: int, others: Sequence[float], *, now: float) -> Step:
    """
    How a task becomes the `position`-th (from 1; beyond the end is the end) among others of its priority that wait.

    Args:
        others: their places, in the order of the queue.
        now: the time of the wall clock, where the next new task will stand: the end of the queue is before it.
    """
    before, after = others[: position - 1], others[position - 1 :]
    if not before and not after:
        return Step(place=now)
    if not before:
        return Step(place=after[0] - ROOM)
    if not after:
        return Step(place=now if before[-1] < now else before[-1] + ROOM)
    middle = (before[-1] + after[0]) / 2
    if before[-1] < middle < after[0]:
        return Step(place=middle)
    return Step(place=after[0] - ROOM / 2, shifted=len(before), by=ROOM)
