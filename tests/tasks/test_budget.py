"""Extra requests are counted, and end."""

import pytest

from m3u8svc.tasks.budget import Budget


@pytest.mark.parametrize(
    ("segments", "workers", "limit"),
    [(6, 6, 30), (150, 15, 30), (150, 16, 32), (1000, 16, 200), (1001, 1, 201), (100, 100, 200)],
)
def test_a_fifth_of_the_segments_but_not_too_few(segments: int, workers: int, limit: int) -> None:
    """A small task may retry at all, and a wide one lives through one outage."""
    assert limit == Budget(segments=segments, workers=workers).limit


def test_what_is_under_way_is_covered() -> None:
    """However many that became: one outage fails them all, and then they are asked for once more."""
    budget = Budget(segments=100, workers=0)
    for at_once in (4, 64, 8):
        budget.cover(at_once)
    assert 128 == budget.limit


def test_it_ends() -> None:
    """So many and no more."""
    budget = Budget(segments=1, workers=1)
    assert [True] * 30 + [False] * 5 == [budget.spend() for _ in range(35)]
    assert 30 == budget.spent


def test_half_of_it_is_for_what_must_be() -> None:
    """What is only nice to have leaves the other half to retries."""
    budget = Budget(segments=1, workers=1)
    assert [True] * 15 + [False] == [budget.spend_spare() for _ in range(16)]
    assert [True] * 15 + [False] == [budget.spend() for _ in range(16)]
