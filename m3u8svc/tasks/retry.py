"""
What to do after a failed attempt at a segment: an error and a count in, a decision out.

The rules are reliability.md 2.4: five retries, one second doubling with full jitter up to a minute, Retry-After
honoured up to five minutes; what cannot change by asking again is not asked again.
"""

import attrs

from m3u8svc.errors import HttpStatusError, M3u8svcError

RETRIES = 5
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0
FINAL_STATUSES = frozenset({400, 401, 402, 404, 405, 406, 410, 414, 416, 451})
"""Answers that asking again does not change (R: never retried)."""


@attrs.frozen(kw_only=True)
class Retry:
    """
    Try again after `delay_s` seconds.
    """

    delay_s: float


@attrs.frozen(kw_only=True)
class SkipSegment:
    """
    Leave this segment out and go on; `reason` is recorded with it, and the HTTP `status` that led here.
    """

    reason: str
    status: int | None = None


@attrs.frozen(kw_only=True)
class GiveUp:
    """
    The task fails with this error.
    """


FailureDecision = Retry | SkipSegment | GiveUp
"""What `after_failure` answers."""


def decide(error: M3u8svcError, attempt: int, *, skip_statuses: frozenset[int], chance: float) -> FailureDecision:
    """
    The default decision after attempt number `attempt` (from 1) failed; `chance` in [0, 1) is the jitter's dice.

    `skip_statuses` speak of the segment's own answer: without its key the segment is there, and cannot be read.
    """
    if isinstance(error, HttpStatusError) and error.of_segment and error.status in skip_statuses:
        return SkipSegment(reason=f"http.code={error.status}", status=error.status)
    if not error.retriable or attempt > RETRIES:
        return GiveUp()
    if isinstance(error, HttpStatusError):
        if error.status in FINAL_STATUSES:
            return GiveUp()
        if error.retry_after_s is not None:
            return Retry(delay_s=min(error.retry_after_s, LONGEST_RETRY_AFTER_S))
    return Retry(delay_s=backoff_s(attempt, chance))


def backoff_s(attempt: int, chance: float) -> float:
    """
    Seconds to wait after failed attempt `attempt`: full jitter, so that many workers do not come back together.
    """
    ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 10))
    return ceiling * max(chance, 0.1)
