"""What follows a failed attempt."""

import pytest

from m3u8svc.errors import (
    BodyTooLarge,
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    DecryptError,
    DiskFull,
    DnsFailed,
    HttpStatusError,
    KeyInvalid,
    M3u8svcError,
    NotAPlaylist,
    NotMedia,
    ProxyRefused,
    ProxyUnreachable,
    StallTimeout,
    TlsError,
    Truncated,
)
from m3u8svc.tasks.retry import (
    RETRIES,
    Bearing,
    GiveUp,
    Retry,
    SkipSegment,
    Tally,
    backoff_s,
    bearing_of,
    decide,
    patient_backoff_s,
    speaks_for_itself,
)

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
        (StallTimeout(url=URL, seconds=30), 5, Retry(delay_s=8.0)),
        (NotMedia(position=3, start="<html>", reason=""), 1, Retry(delay_s=0.5)),
        (TlsError(url=URL, reason="self-signed"), 1, GiveUp()),
        (BodyTooLarge(url=URL, limit=1, reason=""), 1, GiveUp()),
        (DiskFull(path="/x"), 1, GiveUp()),
        (status(408), 1, Retry(delay_s=0.5)),
        (status(425), 1, Retry(delay_s=0.5)),
        (status(522), 2, Retry(delay_s=1.0)),
        (status(524), 2, Retry(delay_s=1.0)),
        (DnsFailed(url=URL, reason="x"), 1, Retry(delay_s=0.5)),
        (ConnectionRefused(url=URL, reason="x"), 1, Retry(delay_s=0.875)),
        (ConnectionRefused(url=URL, reason="x"), 6, GiveUp()),
        (ProxyUnreachable(proxy="p:1", reason="x"), 1, Retry(delay_s=0.875)),
        (ProxyRefused(proxy="p:1", target="t", reason="x"), 1, GiveUp()),
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


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_one_worker_outlasts_a_host_that_is_away_for_a_while(chance: float) -> None:
    """Whatever the dice say: a host may be down for twenty seconds, and one worker alone has retries left (S1)."""
    assert 20.0 < sum(patient_backoff_s(attempt, chance) for attempt in range(1, RETRIES + 1)) < 35.0
    assert 60.0 >= patient_backoff_s(1000, 0.999)


@pytest.mark.parametrize(
    ("error", "retries"),
    [
        (DecryptError(position=1, reason="x"), 1),
        (KeyInvalid(url=URL, reason="x"), 2),
        (NotAPlaylist(url=URL, content_type="text/html", start="<html>", line=0, reason=""), 2),
        (status(403), 2),
        (status(503), 100),
        (StallTimeout(url=URL, seconds=30), 100),
    ],
)
def test_some_errors_are_worth_fewer_retries(error: M3u8svcError, retries: int) -> None:
    """A wrong key is asked for once more; other errors in between do not count against that."""
    tally = Tally()
    for _ in range(RETRIES):
        assert tally.allows(status(500))
    assert [True] * retries == [tally.allows(error) for _ in range(retries)]
    assert (retries == 100) is tally.allows(error)
    assert (retries < 100) is speaks_for_itself(error)


@pytest.mark.parametrize(
    ("error", "bearing"),
    [
        (status(429), Bearing.BUSY),
        (status(503, 7.0), Bearing.BUSY),
        (status(503), Bearing.CROWDED),
        (ConnectionRefused(url=URL, reason="x"), Bearing.CROWDED),
        (ConnectionReset(url=URL, reason="x"), Bearing.CROWDED),
        (status(500), Bearing.FAILED),
        (status(522), Bearing.FAILED),
        (status(408), Bearing.FAILED),
        (StallTimeout(url=URL, seconds=30), Bearing.FAILED),
        (ConnectTimeout(url=URL, seconds=15), Bearing.FAILED),
        (Truncated(url=URL, expected=2, got=1), Bearing.FAILED),
        (DnsFailed(url=URL, reason="x"), Bearing.FAILED),
        (status(404), Bearing.ANSWERED),
        (status(403), Bearing.ANSWERED),
        (BodyTooLarge(url=URL, limit=1), Bearing.ANSWERED),
        (NotMedia(position=1, start="<html"), Bearing.ANSWERED),
        (TlsError(url=URL, reason="x"), Bearing.NOTHING),
        (ProxyUnreachable(proxy="p:1", reason="x"), Bearing.CROWDED),
        (ProxyRefused(proxy="p:1", target="t", reason="x"), Bearing.NOTHING),
        (DiskFull(path="/x"), Bearing.NOTHING),
    ],
)
def test_what_a_failure_says_of_its_host(error: M3u8svcError, bearing: Bearing) -> None:
    """An answer is an answer; a certificate, a proxy's rules or a disk say nothing about who was asked."""
    assert bearing is bearing_of(error)
