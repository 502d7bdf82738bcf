"""Who goes next of those who wait for a host."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.sharing import BEFORE_ALL, Row


def test_first_in_the_film_first() -> None:
    """Within a task by time; what has no time goes before all else, in its order."""
    row: Row[str] = Row()
    for who, at_s in (("b", 2.0), ("a", 1.0), ("key", BEFORE_ALL), ("a2", 1.0), ("init", BEFORE_ALL)):
        row.add(who, task="t", at_s=at_s)
    assert ["key", "init", "a", "a2", "b"] == [row.take()[1] for _ in range(5)]
    assert not row


def test_the_task_with_fewest_under_way_goes_first() -> None:
    """Those that have as many take turns."""
    row: Row[int] = Row()
    for task in ("a", "b", "c"):
        for number in range(4):
            row.add(number, task=task, at_s=number)
    for _ in range(3):
        row.entered("a")
    order = []
    for _ in range(7):
        task, _ = row.take()
        row.entered(task)
        order.append(task)
    assert "bcbcbca" == "".join(order)


def test_the_oldest_goes_when_a_host_is_away() -> None:
    """Whoever asked first, whatever it is and whatever its task has under way."""
    row: Row[str] = Row()
    for task, who, at_s in (("a", "x", 9.0), ("b", "y", 5.0), ("a", "z", 1.0), ("a", "key", BEFORE_ALL)):
        row.add(who, task=task, at_s=at_s)
    row.entered("a")
    assert [("a", "x"), ("b", "y"), ("a", "z"), ("a", "key")] == [row.take_oldest() for _ in range(4)]
    assert not row


def test_who_leaves_is_not_called() -> None:
    """Whoever is paused while it waits."""
    row: Row[str] = Row()
    for who in ("x", "y", "z"):
        row.add(who, task="t")
    row.leave("y", task="t")
    assert ["x", "z"] == [row.take()[1], row.take()[1]]
    row.add("last", task="t")
    row.leave("last", task="t")
    assert not row


@given(
    most=st.integers(1, 64),
    tasks=st.integers(1, 5),
    ends=st.lists(st.integers(0, 10**6), min_size=64, max_size=300),
    early=st.integers(0, 64),
)
def test_shares_are_fair(most: int, tasks: int, ends: list[int], early: int) -> None:
    """However many the first task had, and in whatever order they end: those that wait differ by one in the end."""
    row: Row[int] = Row()
    under_way: Counter[str] = Counter()

    def enter(task: str) -> None:
        row.entered(task)
        under_way[task] += 1

    for _ in range(min(early, most)):
        enter("task 0")
    for number in range(tasks):
        for at_s in range(400):
            row.add(at_s, task=f"task {number}", at_s=at_s)
    for choice in ends:
        while under_way.total() < most:
            enter(row.take()[0])
        largest = max(under_way.values())
        wide = [task for task in sorted(under_way) if under_way[task] == largest]
        ended = wide[choice % len(wide)]
        row.ended(ended)
        under_way[ended] -= 1
    while under_way.total() < most:
        enter(row.take()[0])
    shares = [under_way[f"task {number}"] for number in range(tasks)]
    assert max(shares) - min(shares) <= 1
    assert most == sum(shares)


@pytest.mark.parametrize("task", ["a", "b"])
def test_nothing_is_kept_of_a_task_that_is_done(task: str) -> None:
    """There may be thousands of them."""
    row: Row[int] = Row()
    row.add(1, task=task)
    row.entered(row.take()[0])
    row.ended(task)
    assert not row._under_way and not row._waiting
