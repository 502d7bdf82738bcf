"""
What to do after a failed attempt: an error and a count in, a decision out; and what the failure says of the host.

The rules are reliability.md 2.4: five retries, one second doubling with full jitter up to a minute, Retry-After
honoured up to five minutes; what cannot change by asking again is not asked again. Where there was no connection at
all, little of that is left to the dice: the five retries of a single worker then outlast twenty seconds (S1).
"""

import enum
from collections import Counter

import attrs

from m3u8svc.errors import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    DecryptError,
    FetchError,
    HttpStatusError,
    KeyInvalid,
    M3u8svcError,
    NotAPlaylist,
    ProxyError,
    SegmentError,
    TlsError,
    Unreachable,
)

RETRIES = 5
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0
FINAL_STATUSES = frozenset({400, 401, 402, 404, 405, 406, 410, 414, 416, 451})
"""Answers that asking again does not change (R: never retried)."""
EXPIRED = frozenset({401, 403, 410})
"""How servers answer to a link whose time is over: a new link may help where asking again does not (S11)."""
MAY_BE_EXPIRED = EXPIRED | {404}
"""The same, and what some answer instead. That is no reason to ask the user for another link."""
BUSY_STATUSES = frozenset({429, 503})
"""Answers of a host that is asked too much."""
FAILED_STATUSES = frozenset({408, 425})
"""Answers below 500 that are a failure of the host."""
FEWER_RETRIES: dict[type[M3u8svcError], int] = {DecryptError: 1, KeyInvalid: 2, NotAPlaylist: 2}
"""
Of these, so many in all for one segment or playlist: a wrong key stays wrong (R-INT-1), and so does a link to a page,
if that was not the page of a server that could not just then.
"""
FORBIDDEN = 403
FORBIDDEN_RETRIES = 2
"""
Some servers mean "too often" by it, most mean it; whether the link has expired was found out before (S7, S11).
"""


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
    if isinstance(error, ConnectionRefused | Unreachable | ConnectTimeout | ProxyError):
        return Retry(delay_s=patient_backoff_s(attempt, chance))
    return Retry(delay_s=backoff_s(attempt, chance))


def backoff_s(attempt: int, chance: float) -> float:
    """
    Seconds to wait after failed attempt `attempt`: full jitter, so that many workers do not come back together.
    """
    return _ceiling_s(attempt) * max(chance, 0.1)


def patient_backoff_s(attempt: int, chance: float) -> float:
    """
    The same where nobody listens, or a proxy breaks off: whoever is away needs the time, and three quarters of it are
    certain.
    """
    return _ceiling_s(attempt) * (3 + chance) / 4


def _ceiling_s(attempt: int) -> float:
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempt - 1, 10))


class Tally:
    """
    What went wrong with one segment so far, by class: some classes are worth fewer retries than five.
    """

    def __init__(self) -> None:
        self._failures: Counter[type[M3u8svcError]] = Counter()

    def allows(self, error: M3u8svcError) -> bool:
        """
        Count `error`; whether its class is worth another attempt.
        """
        limited = _worth_few(error)
        if limited is None:
            return True
        kind, retries = limited
        self._failures[kind] += 1
        return self._failures[kind] <= retries


def speaks_for_itself(error: M3u8svcError) -> bool:
    """
    Whether a task whose extra requests are used up ends with this error as it is: few are made for it, so it is what is
    wrong, and not that there were many.
    """
    return _worth_few(error) is not None


def _worth_few(error: M3u8svcError) -> tuple[type[M3u8svcError], int] | None:
    """
    The class of an error that is worth fewer retries, and how many.
    """
    if isinstance(error, HttpStatusError):
        return (HttpStatusError, FORBIDDEN_RETRIES) if error.status == FORBIDDEN else None
    return next(((kind, retries) for kind, retries in FEWER_RETRIES.items() if isinstance(error, kind)), None)


# -- What it says of the host -----------------------------------------------------------------------------------------


class Bearing(enum.Enum):
    """
    What the end of a request says of the host that was asked.
    """

    NOTHING = "nothing"
    """It was about us, a certificate, what a proxy allows."""
    ANSWERED = "answered"
    FAILED = "failed"
    CROWDED = "crowded"
    """It failed as a host may that is asked too much."""
    BUSY = "busy"
    """It says itself that it is asked too much."""


def bearing_of(error: M3u8svcError) -> Bearing:
    """
    What a failed request says of its host. An answer that is not what was wanted is an answer. A host that is asked
    through a proxy is one of its own: a proxy that is away is left alone as a host is that refuses connections.
    """
    match error:
        case HttpStatusError():
            if error.status in BUSY_STATUSES:
                return Bearing.BUSY if error.status == 429 or error.retry_after_s else Bearing.CROWDED
            return Bearing.FAILED if error.status >= 500 or error.status in FAILED_STATUSES else Bearing.ANSWERED
        case ConnectionRefused() | ConnectionReset():
            return Bearing.CROWDED
        case TlsError():
            return Bearing.NOTHING
        case FetchError():
            return Bearing.FAILED if error.retriable else Bearing.ANSWERED
        case ProxyError() if error.retriable:
            return Bearing.CROWDED
        case SegmentError():
            return Bearing.ANSWERED
        case _:
            return Bearing.NOTHING
