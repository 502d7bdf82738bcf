"""
How many requests a task may make beyond one for each segment (reliability.md 2.4): what keeps a server in trouble from
being asked many times over by every task at once.
"""

import math

SHARE = 0.2
"""Of the segments, so many may be asked for once more."""
FLOOR = 30
"""What a small task may in any case."""
PER_WORKER = 2
"""One outage fails everything that is under way, and must not use up the budget of a task with many workers."""


class Budget:
    """
    Extra requests of one task: retries, second requests for slow segments, keys fetched again.
    """

    def __init__(self, *, segments: int, workers: int) -> None:
        self.limit = max(math.ceil(SHARE * segments), FLOOR, PER_WORKER * workers)
        self.spent = 0

    def cover(self, at_once: int) -> None:
        """
        So many requests are under way, which one outage may fail.
        """
        self.limit = max(self.limit, PER_WORKER * at_once)

    def spend(self) -> bool:
        """
        Take one; False when there is none left.
        """
        if self.spent >= self.limit:
            return False
        self.spent += 1
        return True

    def spend_spare(self) -> bool:
        """
        Take one for what is only nice to have; False when half of them are used up, which are for what must be.
        """
        return self.spent < self.limit // 2 and self.spend()
