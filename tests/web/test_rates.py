"""
How often somebody may ask: a bucket for each, over time.
"""

import pytest

from m3u8svc.web import rates
from m3u8svc.web.rates import Rates


def test_burst_then_rate():
    """As many as the burst at once, then as many in a second as the rate says."""
    bucket = Rates(per_s=50, burst=200)
    assert [0.0] * 200 == [bucket.wait("me", 5.0) for _ in range(200)]
    assert pytest.approx(0.02) == bucket.wait("me", 5.0)
    assert 0 < bucket.wait("me", 5.019)
    assert 0 == bucket.wait("me", 5.0201)
    taken = sum(bucket.wait("me", 6.0 + step / 1000) == 0 for step in range(1000))
    assert 97 <= taken <= 99  # of the second before and of this one


def test_everybody_has_a_bucket_of_his_own():
    """Who asks too often is in nobody's way but his own."""
    bucket = Rates(per_s=1, burst=2)
    assert [0, 0] == [bucket.wait("greedy", 0.0) for _ in range(2)]
    assert bucket.wait("greedy", 0.0) > 0
    assert 0 == bucket.wait("other", 0.0)


def test_a_pause_fills_no_more_than_the_burst():
    """A day without requests is not saved up."""
    bucket = Rates(per_s=10, burst=3)
    bucket.wait("me", 0.0)
    assert [0, 0, 0, True] == [wait and True for wait in (bucket.wait("me", 86_400.0) for _ in range(4))]


def test_no_limit():
    """0 in a second is no limit, and nothing is kept."""
    bucket = Rates(per_s=0, burst=1)
    assert [0.0] * 1000 == [bucket.wait("me", 0.0) for _ in range(1000)]
    assert {} == bucket._buckets


def test_memory_is_bounded():
    """Those who have been quiet are forgotten; with too many who were not, all begin anew."""
    bucket = Rates(per_s=1, burst=1)
    for number in range(3 * rates.FORGET_AT):
        bucket.wait(f"somebody {number}", number / 100)
        assert len(bucket._buckets) <= rates.FORGET_AT
    bucket.wait("late", 1e6)
    late = len(bucket._buckets)
    assert late <= rates.FORGET_AT
    for number in range(2 * rates.FORGET_AT):
        bucket.wait(f"at once {number}", 1e6)
    assert len(bucket._buckets) <= rates.FORGET_AT


def test_a_clock_that_goes_back():
    """Nobody gains or loses by it."""
    bucket = Rates(per_s=1, burst=1)
    assert 0 == bucket.wait("me", 10.0)
    assert 1 == bucket.wait("me", 5.0)
