"""
Places in the queue, as numbers.
"""

from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.queue import LAST, Step, step_to

places = st.lists(st.floats(1.6e9, 1.8e9), max_size=8).map(sorted)


@given(places, st.integers(1, 10) | st.just(LAST))
def test_a_task_stands_where_it_was_put(others: list[float], position: int) -> None:
    """As many as its position says are in front, the rest behind, and the others keep their order."""
    step = step_to(position, others, now=1.9e9)
    moved = [place - step.by for place in others[: step.shifted]] + others[step.shifted :]
    assert sorted(moved) == moved
    front = min(position - 1, len(others))
    assert all(place < step.place for place in moved[:front])
    assert all(step.place < place for place in moved[front:])


def test_an_empty_queue() -> None:
    """The only one stands where a new task would."""
    assert Step(place=9.0) == step_to(1, [], now=9.0)


def test_the_end_after_the_clock_was_set_back() -> None:
    """The last is behind those that came from the future."""
    assert 50.0 < step_to(LAST, [40.0, 50.0], now=9.0).place


def test_nobody_moves_without_need() -> None:
    """Room between two places is used."""
    assert Step(place=3.0) == step_to(2, [2.0, 4.0], now=9.0)
