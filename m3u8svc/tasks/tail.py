"""
The end of a download, when the last few segments are all that is waited for: which of them are slow, and when to say
so. Seconds in, decisions out.
"""

import statistics
from collections.abc import Collection

SLOW_TIMES = 3.0
"""A segment is slow when it takes this many times what segments of the task usually take,"""
SLOW_AT_LEAST_S = 3.0
"""and no less than this."""
SAMPLES = 5
"""With fewer finished segments nobody knows what is usual."""
REMEMBERED = 64
FEW = 4
"""So many segments are few enough to be named."""
SAY_AFTER_S = 15.0
"""When it is said what the end waits for; then after twice as long, and so on."""


def slow_after_s(took_s: Collection[float]) -> float | None:
    """
    After how many seconds a segment is slow where others took `took_s`; None when that is not known.
    """
    if len(took_s) < SAMPLES:
        return None
    return max(SLOW_AT_LEAST_S, SLOW_TIMES * statistics.median(took_s))
