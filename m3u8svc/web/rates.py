"""
How often somebody may ask: a bucket of tokens for each principal. Pure; the time is an argument.
"""

import attrs

FORGET_AT = 4096
"""With so many principals in memory, those are forgotten whose buckets are full again."""


@attrs.define
class _Bucket:
    tokens: float
    at: float


class Rates:
    """
    `per_s` requests in a second each, and `burst` of them at once after a pause; 0 a second is no limit.
    """

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, principal: str, now: float) -> float:
        """
        Count one request, if it may be made now: 0. Else in how many seconds it might be, and nothing is counted.
        """
        if not self._per_s:
            return 0.0
        bucket = self._buckets.get(principal)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[principal] = _Bucket(float(self._burst), now)
        bucket.tokens = self._tokens(bucket, now)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._per_s
        bucket.tokens -= 1
        return 0.0

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(float(self._burst), bucket.tokens + max(0.0, now - bucket.at) * self._per_s)

    def _forget(self, now: float) -> None:
        """
        Make room before somebody new comes in. Where nobody can be forgotten, they ask from thousands of addresses at
        once, and what limits those is the number of connections: all begin anew.
        """
        if len(self._buckets) < FORGET_AT:
            return
        self._buckets = {
            name: bucket for name, bucket in self._buckets.items() if self._tokens(bucket, now) < self._burst
        }
        if len(self._buckets) >= FORGET_AT:
            self._buckets.clear()
