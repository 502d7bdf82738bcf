"""When a segment is slow."""

import pytest

from m3u8svc.tasks.tail import SAMPLES, slow_after_s


@pytest.mark.parametrize(
    ("took_s", "expected"),
    [
        ([], None),
        ([1.0] * (SAMPLES - 1), None),
        ([0.1] * SAMPLES, 3.0),
        ([2.0] * SAMPLES, 6.0),
        ([1.0, 1.0, 4.0, 60.0, 60.0], 12.0),
    ],
)
def test_slow_is_several_times_the_usual(took_s: list[float], expected: float | None) -> None:
    """Three times the median, no less than three seconds, and nothing where too few are known."""
    assert expected == slow_after_s(took_s)
