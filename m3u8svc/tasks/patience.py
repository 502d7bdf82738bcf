"""
How long a task that is held for its disk waits before it tries again: seconds in, values out.

The first time it goes on as soon as its disk takes files. Where that was in vain, since there was room enough to begin
and not enough to get on, it waits: as long as lies between two looks at the disk, then twice as long, and so on. With
the look after the longest pause it is a minute at most, ten seconds lying between two looks (reliability.md H6).
"""

import attrs

LONGEST_PAUSE = 5
"""How many times the seconds between two looks a task waits at most."""
FORGIVEN = 6
"""So many times those after it went on, a task that is held again did not try in vain."""


@attrs.frozen(kw_only=True)
class Patience:
    """
    How a task fares that is held, or was: how long it waits after a try in vain, until when (seconds, monotonic), and
    when it went on last, None while it is held. `every_s` seconds lie between two looks.
    """

    every_s: float
    pause_s: float = 0.0
    until: float = 0.0
    went_on: float | None = None

    def held(self, now: float) -> "Patience":
        """
        It is held. Being told so twice changes nothing.
        """
        if self.went_on is None:  # for the first time, or still
            return self
        in_vain = now - self.went_on < FORGIVEN * self.every_s
        longer_s = min(max(2 * self.pause_s, self.every_s), LONGEST_PAUSE * self.every_s)
        pause_s = longer_s if in_vain else 0.0
        return attrs.evolve(self, pause_s=pause_s, until=now + pause_s, went_on=None)

    def goes_on(self, now: float) -> "Patience":
        """
        It goes on. Being told so twice changes nothing.
        """
        return attrs.evolve(self, went_on=now) if self.went_on is None else self

    def may_try(self, now: float) -> bool:
        """
        Whether it has waited long enough.
        """
        return now >= self.until
