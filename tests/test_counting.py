"""What the process counts: histograms and hosts, as numbers."""

import pytest

from m3u8svc.counting import Answered, Counts, Distribution, Histogram, HostTraffic, Traffic


def test_a_histogram_counts_by_bounds() -> None:
    """A value belongs to the first bound it does not exceed, and to all larger ones; the last count is of all."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    assert Distribution(bounds=(0.1, 1.0), counts=(2, 3, 4), total=pytest.approx(7.65)) == histogram.read()


def test_what_was_read_stays() -> None:
    """A reading is of its moment."""
    histogram = Histogram((1.0,))
    read = histogram.read()
    histogram.add(0.5)
    assert ((0, 0), (1, 1)) == (read.counts, histogram.read().counts)


def test_answers_are_kept_apart_by_kind() -> None:
    """By method, route and status."""
    counts = Counts()
    for status, took_s in ((200, 0.002), (200, 40.0), (404, 0.2)):
        counts.answered("GET", "/api/tasks", status, took_s)
    found = {kind.status: histogram.read().counts[-1] for kind, histogram in counts.answers.items()}
    assert {200: 2, 404: 1} == found
    assert Answered(method="GET", route="/api/tasks", status=404) in counts.answers


def test_few_hosts_are_shown() -> None:
    """Those with most under way; the others are one line, whatever a playlist names."""
    traffic = Traffic(hosts=tuple(HostTraffic(f"{number}.test", number) for number in range(1, 101)))
    shown = traffic.busiest(2, "rest")
    assert (HostTraffic("100.test", 100), HostTraffic("99.test", 99), HostTraffic("rest", 98 * 99 // 2)) == shown
    assert (HostTraffic("1.test", 1),) == Traffic(hosts=(HostTraffic("1.test", 1),)).busiest(2, "rest")
