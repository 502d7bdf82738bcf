"""Speed, time left, and the origin's words for them (origin-semantics 2.7)."""

import pytest

from m3u8svc.tasks.pace import (
    SpeedWindow,
    percent,
    rate_text,
    remaining_text,
    status_bar,
)
from m3u8svc.tasks.task import Phase


@pytest.mark.parametrize(
    ("speed", "text"),
    [
        (0, "0 B/s"),
        (1023, "1023 B/s"),
        (1024, "1 KB/s"),
        (1024 * 1024 - 1, "1023 KB/s"),
        (1024 * 1024, "1.00 MB/s"),
        (5.09 * 1024 * 1024, "5.09 MB/s"),
    ],
)
def test_rate_text_by_size(speed: float, text: str) -> None:
    """Rates are 1024-based; decimals appear with megabytes."""
    assert text == rate_text(speed)


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00"), (7.9, "00:07"), (61, "01:01"), (6000, "100:00")])
def test_remaining_text_by_seconds(seconds: float, text: str) -> None:
    """Minutes have two digits at least and no upper end."""
    assert text == remaining_text(seconds)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"phase": Phase.SNIFF}, "[1/5]嗅探m3u8 "),
        ({"phase": Phase.PLAYLIST}, "[2/5]获取ts列表 "),
        ({"phase": Phase.DOWNLOAD, "speed": 5.09 * 2**20, "eta_s": 7}, "[3/5]下载ts 速度 5.09 MB/s, 剩余时间 00:07"),
        ({"phase": Phase.DOWNLOAD, "speed": 10.0, "sleeping": 2}, "[3/5]下载ts 速度 10 B/s, 有 2个线程正在休眠."),
        ({"phase": Phase.DOWNLOAD, "sleeping": 3}, "[3/5]下载ts 有 3个线程正在休眠."),
        ({"phase": Phase.DOWNLOAD, "waits_for": "00009.ts"}, "[3/5]下载ts 等待 00009.ts"),
        ({"phase": Phase.ANALYSE}, "[4/5]分析ts列表 "),
        ({"phase": Phase.MERGE}, "[5/5]合并ts为mp4 "),
        ({"phase": Phase.NONE}, ""),
    ],
)
def test_status_bar_by_phase(given: dict, text: str) -> None:
    """The status bar is the origin's, to the letter."""
    assert text == status_bar(**given)


def test_speed_window_first_second_is_silent() -> None:
    """Nothing is said about speed in the first second."""
    window = SpeedWindow(100.0)
    window.add(100.5, size_bytes=1000, segments=1)
    assert 0.0 == window.speed(100.9)
    assert window.eta_s(100.9, 5) is None


def test_speed_window_forgets_after_five_seconds() -> None:
    """What arrived more than five seconds ago does not count."""
    window = SpeedWindow(0.0)
    window.add(1.0, size_bytes=5000)
    assert 2500.0 == window.speed(2.0)
    window.add(8.0, size_bytes=100)
    assert 20.0 == window.speed(10.0)
    assert 0.0 == window.speed(20.0)


def test_speed_window_eta_from_finished_segments() -> None:
    """Two segments in four seconds: ten more take twenty."""
    window = SpeedWindow(0.0)
    window.add(1.0, segments=1)
    window.add(3.0, segments=1)
    assert 20.0 == window.eta_s(4.0, 10)


def test_speed_window_is_bounded() -> None:
    """A million chunks leave a handful of buckets."""
    window = SpeedWindow(0.0)
    for number in range(100_000):
        window.add(number / 10_000, size_bytes=1)
    assert len(window._buckets) <= 25


@pytest.mark.parametrize(
    ("fetched", "total", "published", "expected"),
    [(0, 10, False, 0), (5, 10, False, 47), (10, 10, False, 95), (10, 10, True, 100), (0, 0, False, 0)],
)
def test_percent_formula(fetched: int, total: int, published: bool, expected: int) -> None:
    """Fetching is 95 of a hundred, publishing the rest."""
    assert expected == percent(fetched=fetched, total=total, published=published)
