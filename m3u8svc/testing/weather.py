"""
Faults that come by chance: which request is misbehaved to, and how, told by a seed. Pure.

The same seed gives the same fault to the same request of the same URL, whatever else is asked in between, so that a
run that failed can be had again.
"""

import random
from collections.abc import Sequence

import attrs

PASSING_FAULTS = (
    "status=500",
    "status=502",
    "status=503&retry_after=1",
    "status=504",
    "status=522",
    "status=429",
    "reset=headers",
    "reset=0",
    "reset=1",
    "reset=1500",
    "cut=headers",
    "cut=0",
    "cut=1000",
    "cl=long",
    "te=bad",
    "te=chunked&cut=2000",
    "body=html",
    "body=json",
    "body=empty",
    "encoding=wrong",
    "encoding=br",
    "range=wrong",
    "delay=1",
    "chunk_size=1000&chunk_delay=0.01",
    "slow_start=0.5",
    "then=close",
)
"""
Tweaks that a client must get over by asking again, or without noticing: some of every S and N kind that take no time.
"""

DENSE_BURST = 4
"""How many of the requests of one URL may be misbehaved to: a client that asks six times must come through."""


@attrs.frozen(kw_only=True)
class Weather:
    """
    A share of all requests, from 0 to 1, meets one of these faults.
    """

    seed: int
    share: float
    faults: Sequence[str] = PASSING_FAULTS

    def fault(self, url: str, nth: int) -> str:
        """
        The tweaks for the `nth` request of a path with its query, from 1; "" for none.
        """
        if nth > DENSE_BURST:
            return ""
        dice = random.Random(f"{self.seed} {url} {nth}")  # a text seeds by its digest: the same in every process
        return dice.choice(self.faults) if dice.random() < self.share else ""
