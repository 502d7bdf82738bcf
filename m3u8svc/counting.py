"""
What the process counts since it started: plain numbers that grow where things happen, so that counting costs next to
nothing; `web.metrics` puts them into words when somebody asks. Pure.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import attrs

ANSWER_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TURN_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

Outcome = Literal["done", "retried", "skipped", "lost"]
"""How a segment ended: at the first attempt, at a later one, left out by a rule after it failed, given up."""
OUTCOMES: tuple[Outcome, ...] = ("done", "retried", "skipped", "lost")


class Histogram:
    """
    How many values were at most so large, for each of `bounds`, and their sum.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """
        One more.
        """
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def read(self) -> "Distribution":
        """
        What it shows now.
        """
        return Distribution(bounds=self.bounds, counts=tuple(accumulate(self._counts)), total=self.total)


@attrs.frozen(kw_only=True)
class Distribution:
    """
    A histogram at one moment. `counts` are cumulative: for each bound how many values were no larger, and last how many
    there were at all.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


@attrs.frozen(kw_only=True)
class Answered:
    """
    A kind of answer of the API. `route` is one of the gate's, never a path as it was sent: there is no end to those.
    """

    method: str
    route: str
    status: int


class Counts:
    """
    All that is counted. `segments` by outcome, `failures` of attempts by error code, `answers` by kind in seconds,
    `turns` of the reactor in seconds.
    """

    def __init__(self) -> None:
        self.segments: Counter[Outcome] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.failures: Counter[str] = Counter()
        self.answers: dict[Answered, Histogram] = {}
        self.turns = Histogram(TURN_BOUNDS_S)

    def answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """
        A request was answered.
        """
        kind = Answered(method=method, route=route, status=status)
        histogram = self.answers.get(kind)
        if histogram is None:
            histogram = self.answers[kind] = Histogram(ANSWER_BOUNDS_S)
        histogram.add(took_s)


@attrs.frozen
class HostTraffic:
    """
    A host that is asked now, and how many requests are under way there.
    """

    name: str
    under_way: int


@attrs.frozen(kw_only=True)
class Traffic:
    """
    What comes from all hosts: the bytes of segments since the start, failed attempts included, and who is asked now.
    """

    received_bytes: int = 0
    hosts: tuple[HostTraffic, ...] = ()

    def busiest(self, most: int, rest: str) -> tuple[HostTraffic, ...]:
        """
        The `most` hosts with the most under way, and the others together as `rest`: a playlist may name any number.
        """
        ordered = sorted(self.hosts, key=lambda host: (-host.under_way, host.name))
        shown, others = ordered[:most], ordered[most:]
        together = HostTraffic(rest, sum(host.under_way for host in others))
        return (*shown, together) if others else tuple(shown)


Took = Callable[[float], None]
"""Is told how long something took, in seconds."""
