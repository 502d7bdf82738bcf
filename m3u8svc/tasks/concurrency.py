"""
How many requests at once a host gets: as many as bring something, and no more than it takes. Numbers in, numbers out.

Two things are learned of a host, and the smaller of both counts. `HostLimit` is what it has refused: it is halved when
the host objects and grows back carefully (S18). `Growth` is what has been worth it: a host begins with four, and they
are doubled as long as that brings at least a tenth more bytes per second. What brings nothing is taken back, and tried
again later, each time after twice as long. So a host that gives each connection little gets many, and one that fills
the line, the disk or this machine with a few keeps a few.

Bytes per second are measured over windows, as they come. A window begins once the first byte has come of what a change
has set off. It ends after two rounds of requests, since where answers take longer than their bytes a shorter one sees
one burst or two of all connections together, by chance; or earlier, after three times as long as an answer takes,
since where bytes take longer than answers they flow all the time. A window in which fewer were under way than might
have been says nothing: the tail of a download, or a task that wants fewer.

Where nothing comes at all, there is nothing to measure: those under way may hang, and after five seconds others go out
beside them. And a task with nothing under way at a host may always ask once more: the requests of another that hang, or
fill the line, must not keep it from beginning.

A host that takes longer to answer than it did, while more at once bring nothing more, has them wait in a row of its
own: then fewer are tried in the same way, and kept if they bring as much.
"""

import math

import attrs

PER_HOST = 64
"""The ceiling for one host, unless the operator says otherwise."""
IN_ALL = 256
"""The ceiling for all hosts together."""
FIRST = 4
"""What a host gets at first."""
LEAST = 2
"""It is not tried with fewer because it answers late."""
GAIN = 1.1
"""More at once must bring so many times the bytes per second."""
AS_MUCH = 0.97
"""Fewer at once must still bring so much of them."""
ROUNDS = 2
ANSWERS = 3.0
LONGEST_WINDOW_S = 5.0
SHORTEST_WINDOW_S = 0.1
SETTLE_S = 1.0
"""Measuring begins so long after a change at the latest."""
USED = 0.75
"""Of what is allowed, so much must have been under way for a window to count."""
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
SILENT_S = 5.0
"""If not a byte has come for so long, those under way may hang, which is no reason for the others to wait."""
LATE = 2.0
LATE_S = 0.02
"""An answer that takes so many times as long as it may, and so much longer, is late."""


@attrs.frozen(kw_only=True)
class Ceilings:
    """
    How many requests at once the service makes at most, whatever would be worth it.
    """

    per_host: int = PER_HOST
    in_all: int = IN_ALL

    def within(self, transfers: int) -> "Ceilings":
        """
        The same, where no more than so many are possible.
        """
        return Ceilings(per_host=min(self.per_host, transfers), in_all=min(self.in_all, transfers))

    def at_least(self, requests: int) -> "Ceilings":
        """
        The same, where somebody who is alone with the service wants so many.
        """
        return Ceilings(per_host=max(self.per_host, requests), in_all=max(self.in_all, requests))


@attrs.frozen(kw_only=True)
class Reading:
    """
    What the meter of a host shows at one time (seconds, monotonic): sums since the first request.
    """

    at: float
    size_bytes: int = 0
    """Of bodies, as they came."""
    finished: int = 0
    """Requests that brought what they should."""
    busy_s: float = 0.0
    """How long requests were under way, of all together."""
    answered: int = 0
    """Bodies that have begun."""
    waited_s: float = 0.0
    """How long those were waited for, together."""


@attrs.frozen(kw_only=True)
class Growth:
    """
    How many at once have been worth it with one host. Times are seconds, monotonic.
    """

    most: int = FIRST
    base: int | None = None
    """What it was before the trial that is under way; None without one."""
    rate: float = 0.0
    """Bytes per second with `base`, or with `most` without a trial; later windows count for more."""
    changed_at: float | None = None
    """When `most` changed last; None before the first request."""
    mark: Reading | None = None
    """Where the window begins; None while a change settles."""
    pause_s: float = FIRST_PAUSE_S
    """How long is waited after the next trial that brings nothing."""
    next_at: float = -math.inf
    tries_fewer: bool = False
    """Whether more at once brought nothing the last time."""
    soonest_s: float = math.inf
    """How long the host took to answer when it took least, by the mean of a window."""
    silent_s: float = 0.0
    """For how long of the windows since the last change nothing has come at all."""

    @property
    def look_at(self) -> float:
        """
        When there is something to see if nothing ends until then; -inf is at once.
        """
        if self.mark is not None:
            answer_s = min(self.soonest_s, self.mark.waited_s / max(1, self.mark.answered))
            return self.mark.at + min(max(ANSWERS * answer_s, SHORTEST_WINDOW_S), LONGEST_WINDOW_S)
        return -math.inf if self.changed_at is None else self.changed_at + SETTLE_S

    def looked(self, now: Reading, *, started_at: float = -math.inf, are_waiting: bool, ceiling: int) -> "Growth":
        """
        What to make of the meter.

        Args:
            started_at: when the request went out of which there is news.
            are_waiting: whether others would like to go out and may not.
            ceiling: how many the host may have for other reasons.
        """
        if self.changed_at is None:
            return attrs.evolve(self, changed_at=now.at)
        if self.mark is None:
            has_settled = started_at >= self.changed_at or now.at >= self.look_at
            return attrs.evolve(self, mark=now) if has_settled else self
        lasted_s = now.at - self.mark.at
        is_full = now.finished - self.mark.finished >= ROUNDS * self.most and lasted_s >= SHORTEST_WINDOW_S
        if not is_full and now.at < self.look_at:
            return self
        if now.busy_s - self.mark.busy_s < USED * self.most * lasted_s:
            return attrs.evolve(self, mark=now) if self.base is None else self._changed(self.base, now.at)
        rate = (now.size_bytes - self.mark.size_bytes) / lasted_s
        return self._measured(now, rate, are_waiting=are_waiting, ceiling=ceiling)

    def _measured(self, now: Reading, rate: float, *, are_waiting: bool, ceiling: int) -> "Growth":
        if self.base is not None and rate <= self.rate * (GAIN if self.most > self.base else AS_MUCH):
            failed = self._changed(self.base, now.at)
            longer_s = min(2 * self.pause_s, LONGEST_PAUSE_S)
            return attrs.evolve(
                failed, next_at=now.at + self.pause_s, pause_s=longer_s, tries_fewer=self.most > self.base
            )
        if self.base is None and not rate and self.mark is not None:
            return self._silent(now, now.at - self.mark.at, are_waiting=are_waiting, ceiling=ceiling)
        answer_s = self._answer_s(now)
        kept = attrs.evolve(self, base=None, mark=now, silent_s=0.0, soonest_s=min(self.soonest_s, answer_s))
        if self.base is not None:
            kept = attrs.evolve(kept, rate=rate, pause_s=FIRST_PAUSE_S, tries_fewer=self.most < self.base)
        else:
            kept = attrs.evolve(kept, rate=(self.rate + rate) / 2 if self.rate else rate)
        wanted = kept._worth_a_trial(answer_s, ceiling)
        if not are_waiting or now.at < self.next_at or wanted == self.most:
            return kept
        return attrs.evolve(kept._changed(wanted, now.at), base=self.most)

    def _silent(self, now: Reading, lasted_s: float, *, are_waiting: bool, ceiling: int) -> "Growth":
        """
        Nothing came in a window of so long: there is nothing to compare with, and after a while others may go out, too.
        """
        silent_s = self.silent_s + lasted_s
        more = min(2 * self.most, ceiling)
        if silent_s < SILENT_S or not are_waiting or more <= self.most:
            return attrs.evolve(self, mark=now, silent_s=silent_s)
        return self._changed(more, now.at)

    def _worth_a_trial(self, answer_s: float, ceiling: int) -> int:
        """
        How many to try next; as many as there are, if there is nothing to try.
        """
        is_late = LATE * self.soonest_s + LATE_S < answer_s < math.inf
        if is_late and (self.tries_fewer or self.most >= ceiling):
            return min(self.most, max(LEAST, self.most * 3 // 4))
        return max(self.most, min(2 * self.most, ceiling))

    def _answer_s(self, now: Reading) -> float:
        """
        How long answers took in this window; inf if none came.
        """
        if self.mark is None or now.answered == self.mark.answered:
            return math.inf
        return (now.waited_s - self.mark.waited_s) / (now.answered - self.mark.answered)

    def _changed(self, most: int, now: float) -> "Growth":
        return attrs.evolve(self, most=most, base=None, changed_at=now, mark=None, silent_s=0.0)


# -- What a host refuses -----------------------------------------------------------------------------------------------

CALM_S = 15.0
LONGEST_CALM_S = 300.0
AFTER_OUTAGE = 2
ENOUGH = 64
"""A host that has come back and takes so many at once again is as good as one that never went away."""
MANY = 0.25
"""Of the last requests so many must have been turned away, two at least: a single file that a host does not give is no
matter of how many ask."""
WINDOW = 32
"""How many of the last requests count, about: beyond these the older half is forgotten."""


@attrs.frozen(kw_only=True)
class HostLimit:
    """
    How many requests at once a host takes, as far as it has shown: halved when it objects, grown step by step (S18).

    `most` None: it has not objected. After an objection the limit grows with every success up to half of what was
    `too_many`, then once per `most` successes, and stays one below. What was too many is tried again only after a calm
    time, which doubles with every trial that fails. A host that has `served` nobody since the last change objects to
    something else than their number. Times are seconds, monotonic.
    """

    most: int | None = None
    too_many: int | None = None
    changed_at: float = -math.inf
    calm_s: float = CALM_S
    successes: int = 0
    """Since the limit grew by one."""
    served: int = 0
    turned_away: int = 0
    """Both since the last change, of the last `WINDOW`."""

    def admits(self, under_way: int) -> bool:
        """
        Whether one more request may go out beside those that are under way.
        """
        return self.most is None or under_way < self.most

    def objected(self, now: float, *, started_at: float, under_way: int, in_words: bool = False) -> "HostLimit":
        """
        A request that went out at `started_at` was turned away at `now`, of `under_way` in all; `in_words`: because
        there are too many. What went out before the last change says nothing of the limit since.
        """
        if started_at < self.changed_at:
            return self
        counted = self._counted(turned_away=1)
        many = max(2.0, MANY * (counted.served + counted.turned_away))
        return counted._cut(now, under_way) if in_words or counted.turned_away >= many else counted

    def succeeded(self, now: float) -> "HostLimit":
        """
        A request came to its end.
        """
        counted = self._counted(served=1)
        if self.most is None or (self.too_many is None and self.most >= ENOUGH):
            return HostLimit(served=counted.served, turned_away=counted.turned_away)
        return counted._grown(self.most, now)

    @property
    def is_free(self) -> bool:
        """
        Whether the host has objected to nothing lately: there is nothing to remember.
        """
        return self.most is None and not self.turned_away

    def _grown(self, most: int, now: float) -> "HostLimit":
        if self.too_many is not None and most + 1 >= self.too_many:
            return self._tried(most + 1, now) if now - self.changed_at >= self.calm_s else self
        is_safe = self.too_many is None or 2 * most < self.too_many
        if is_safe or self.successes + 1 >= most:
            return attrs.evolve(self, most=most + 1, successes=0)
        return attrs.evolve(self, successes=self.successes + 1)

    def _counted(self, *, served: int = 0, turned_away: int = 0) -> "HostLimit":
        served, turned_away = self.served + served, self.turned_away + turned_away
        if served + turned_away > WINDOW:
            served, turned_away = served // 2, turned_away // 2
        return attrs.evolve(self, served=served, turned_away=turned_away)

    def _cut(self, now: float, under_way: int) -> "HostLimit":
        is_news = self.served > 0 or self.too_many is None
        too_many = max(under_way, 2) if is_news else self.too_many
        calm_s = min(self.calm_s * 2, LONGEST_CALM_S) if self._is_on_trial else CALM_S
        return HostLimit(most=(under_way + 1) // 2, too_many=too_many, changed_at=now, calm_s=calm_s)

    @property
    def _is_on_trial(self) -> bool:
        return self.most is not None and self.too_many is not None and self.most >= self.too_many

    def _tried(self, most: int, now: float) -> "HostLimit":
        calm_s = CALM_S if self._is_on_trial else self.calm_s  # the last trial has worked
        return HostLimit(most=most, too_many=most, changed_at=now, calm_s=calm_s)


def limit_after_outage() -> HostLimit:
    """
    What a host is taken for that answered nobody for a while: that was no matter of how many at once, but all of them
    at once are not the first that it should see.
    """
    return HostLimit(most=AFTER_OUTAGE)
