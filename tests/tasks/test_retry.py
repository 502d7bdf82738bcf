"""What follows a failed attempt."""

import pytest

from m3u8svc.errors import BodyTooLarge, DiskFull, FetchTimeout, HttpStatusError, M3u8svcError, NotMedia, TlsError
from m3u8svc.tasks.retry import GiveUp, Retry, SkipSegment, backoff_s, decide

URL = "http://origin.test/a.ts"


def status(code: int, retry_after_s: float | None = None) -> HttpStatusError:
    return HttpStatusError(url=URL, status=code, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (status(503), 1, Retry(delay_s=0.5)),
        (status(503), 3, Retry(delay_s=2.0)),
        (status(403), 1, Retry(delay_s=0.5)),
        (status(429, 7.0), 1, Retry(delay_s=7.0)),
        (status(503, 4000.0), 1, Retry(delay_s=300.0)),
        (status(404), 1, GiveUp()),
        (status(401), 1, GiveUp()),
        (status(410), 1, GiveUp()),
        (status(451), 1, GiveUp()),
        (status(503), 6, GiveUp()),
        (FetchTimeout(url=URL, what="silence", seconds=30), 5, Retry(delay_s=8.0)),
        (NotMedia(position=3, start="<html>", reason=""), 1, Retry(delay_s=0.5)),
        (TlsError(url=URL, reason="self-signed"), 1, GiveUp()),
        (BodyTooLarge(url=URL, limit=1, reason=""), 1, GiveUp()),
        (DiskFull(path="/x"), 1, GiveUp()),
    ],
)
def test_decide_by_error(error: M3u8svcError, attempt: int, expected: object) -> None:
    """Each class of error has its answer; five retries and no more."""
    assert expected == decide(error, attempt, skip_statuses=frozenset(), chance=0.5)


def test_decide_skips_a_named_status() -> None:
    """http.code=404 ends the segment at once, as skipped."""
    assert SkipSegment(reason="http.code=404", status=404) == decide(
        status(404), 1, skip_statuses=frozenset({404}), chance=0.5
    )


@pytest.mark.parametrize("purpose", ["key", "init"])
@pytest.mark.parametrize(("code", "expected"), [(404, GiveUp()), (403, Retry(delay_s=0.5))])
def test_decide_skips_no_segment_for_its_keys_status(purpose: str, code: int, expected: object) -> None:
    """http.code= is about segments: a key or an init section that is refused is retried or fails as any other."""
    error = HttpStatusError(url=URL, status=code, purpose=purpose)
    assert expected == decide(error, 1, skip_statuses=frozenset({403, 404}), chance=0.5)


def test_backoff_stays_between_a_tenth_and_a_minute() -> None:
    """No dice makes a worker hammer, no count makes it wait for hours."""
    assert 0.1 == backoff_s(1, 0.0)
    assert 60.0 >= backoff_s(1000, 0.999)
