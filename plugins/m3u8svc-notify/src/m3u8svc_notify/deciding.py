"""
What follows an answer, or none: delivered, again later, dropped, or never again. Pure: numbers in, decision out.
"""

from email.utils import parsedate_to_datetime
from typing import assert_never

import attrs

FIRST_S = 1.0
MOST_S = 3600.0
RETRIED = (408, 425, 429)


@attrs.frozen(kw_only=True)
class Answered:
    """
    An HTTP answer; `retry_after` is the header as it came.
    """

    status: int
    retry_after: str = ""


@attrs.frozen(kw_only=True)
class Unanswered:
    """
    No answer: refused, timed out, no valid HTTP.
    """

    why: str


@attrs.frozen(kw_only=True)
class Ran:
    """
    A command ended, whatever it said about it: it has been told.
    """

    why: str = ""
    """What was wrong with its end, "" for nothing."""


Answer = Answered | Unanswered | Ran
"""What one attempt gave."""


@attrs.frozen(kw_only=True)
class Delivered:
    """Done with this event. `complaint` is worth a line in the log."""

    complaint: str = ""


@attrs.frozen(kw_only=True)
class Again:
    """Try once more in `delay_s`."""

    delay_s: float
    why: str


@attrs.frozen(kw_only=True)
class Dropped:
    """This event is lost to this target."""

    why: str


@attrs.frozen(kw_only=True)
class Disabled:
    """This target wants no more."""

    why: str


Decision = Delivered | Again | Dropped | Disabled
"""What follows."""


def decide(answer: Answer, *, attempts: int, age_s: float, max_age_s: float, wall: float, chance: float) -> Decision:
    """
    What follows the answer to attempt number `attempts`, for an event queued `age_s` ago. `chance` is 0..1.
    """
    match answer:
        case Ran(why=why):
            return Delivered(complaint=why)
        case Unanswered(why=why):
            return _again(why, backoff_s(attempts, chance), age_s, max_age_s)
        case Answered(status=status):
            return _after_status(answer, status, attempts, age_s, max_age_s, wall, chance)
    assert_never(answer)


def backoff_s(attempts: int, chance: float) -> float:
    """
    Seconds before the next attempt: 1, 2, 4 … up to an hour, of which a random half is taken off, so that many do not
    come back at once.
    """
    whole = min(MOST_S, FIRST_S * 2.0 ** min(attempts - 1, 30))
    return whole * (0.5 + chance / 2)


def retry_after_s(text: str, wall: float) -> float:
    """
    Seconds a Retry-After header asks for, 0 when it says nothing we understand.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _after_status(
    answer: Answered, status: int, attempts: int, age_s: float, max_age_s: float, wall: float, chance: float
) -> Decision:
    why = f"HTTP {status}"
    if 200 <= status < 300:
        return Delivered()
    if status == 410:
        return Disabled(why=why)
    if status >= 500 or status in RETRIED:
        asked_s = retry_after_s(answer.retry_after, wall)
        return _again(why, max(asked_s, backoff_s(attempts, chance)), age_s, max_age_s)
    return Dropped(why=why + " (redirects are not followed)" if 300 <= status < 400 else why)


def _again(why: str, delay_s: float, age_s: float, max_age_s: float) -> Decision:
    if age_s + delay_s > max_age_s:
        return Dropped(why=f"{why}; undelivered for {age_s:.0f} s, the next attempt would be beyond {max_age_s:.0f} s")
    return Again(delay_s=delay_s, why=why)
