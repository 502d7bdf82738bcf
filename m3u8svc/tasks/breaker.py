"""
When to leave a host alone that answers nobody, and when to ask it again (reliability.md 2.4): values in, values out.

Closed, everybody may ask. Twenty failures in a row, whoever's they are, open it, if one of them went out after the
first had failed: many connections that break all at once are one event. Then nobody asks for thirty seconds, and then
one request goes out as a probe. An answer closes the breaker, also that of a request which was under way all the time;
a probe that fails opens it once more.
"""

import attrs

OPENS_AFTER = 20
OPEN_S = 30.0


@attrs.frozen(kw_only=True)
class Breaker:
    """
    What is known of one host: failures in a row, since when (seconds, monotonic), until when nobody asks it, None when
    it is closed, and whether a probe is on its way.
    """

    failures: int = 0
    since: float = 0.0
    open_until: float | None = None
    probing: bool = False

    def admits(self, now: float) -> bool:
        """
        Whether one more request may go out at `now`.
        """
        return self.open_until is None or (now >= self.open_until and not self.probing)

    def entered(self) -> "Breaker":
        """
        A request that was admitted goes out. The first one after the pause is the probe.
        """
        return self if self.open_until is None else attrs.evolve(self, probing=True)

    def answered(self) -> "Breaker":
        """
        The host has answered somebody.
        """
        return Breaker()

    def failed(self, now: float, *, started_at: float) -> "Breaker":
        """
        A request that went out at `started_at` failed at `now`. What went out before the breaker opened says nothing
        new about a host that is left alone already.
        """
        failures = self.failures + 1
        if self.open_until is None:
            since = self.since if self.failures else now
            opens = failures >= OPENS_AFTER and started_at >= since
            return Breaker(failures=failures, since=since, open_until=now + OPEN_S if opens else None)
        if started_at < self.open_until:
            return attrs.evolve(self, failures=failures)
        return Breaker(failures=failures, open_until=now + OPEN_S)

    def abandoned(self, *, started_at: float) -> "Breaker":
        """
        A request ended without saying anything of the host, as when its task was paused. If it was the probe, the next
        one is.
        """
        is_probe = self.open_until is not None and started_at >= self.open_until
        return attrs.evolve(self, probing=False) if is_probe else self
