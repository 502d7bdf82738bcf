"""Jobs go in order, but one host does not hold up the others."""

from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.turns import MOST_HOSTS, Turns


def nobody(host: str) -> bool:
    """No host is blocked."""
    return False


def turns_of(hosts: list[str], workers: int) -> Turns[int]:
    """The jobs are numbers."""
    made = Turns(range(len(hosts)), workers=workers)
    for number, host in enumerate(hosts):
        made.add(number, host)
    return made


def taken(turns: Turns[int], count: int) -> list[int]:
    """The next jobs, none of which ends."""
    found = [turns.take(nobody) for _ in range(count)]
    return [job for _, job in filter(None, found)]


def test_one_host_goes_in_order() -> None:
    """With a single host there is nothing to choose."""
    turns = turns_of(["a"] * 6, 2)
    assert [0, 1, 2, 3, 4, 5] == taken(turns, 9)
    assert not turns


def test_a_slow_host_keeps_three_quarters_at_most() -> None:
    """The first twelve of sixteen workers take its segments, the others those of the fast one, out of order."""
    turns = turns_of(["slow"] * 50 + ["fast"] * 50, 16)
    assert [*range(12), 50, 51, 52, 53] == taken(turns, 16)
    turns.done("slow")
    assert [12] == taken(turns, 1)


def test_a_slow_host_may_keep_all_when_nothing_else_is_left() -> None:
    """Its share is no limit of its own."""
    turns = turns_of(["slow"] * 50 + ["fast"], 4)
    assert [0, 1, 2, 50, 3, 4] == taken(turns, 6)


def test_a_blocked_host_is_passed_over() -> None:
    """Nobody sleeps on a host that must not be asked while there is work elsewhere; else somebody must wait for it."""
    turns = turns_of(["away", "away", "here"], 16)
    found = [turns.take(lambda host: host == "away") for _ in range(3)]
    assert [("here", 2), ("away", 0), ("away", 1)] == found


def test_a_single_worker_gets_to_everything() -> None:
    """One worker has all the share there is."""
    turns = turns_of(["a", "b", "a"], 1)
    order = []
    while (turn := turns.take(nobody)) is not None:
        order.append(turn[1])
        turns.done(turn[0])
    assert [0, 1, 2] == order


@given(st.lists(st.sampled_from([f"h{n}" for n in range(MOST_HOSTS + 10)])), st.integers(1, 20))
def test_every_job_is_taken_once(hosts: list[str], workers: int) -> None:
    """However many hosts there are, and whatever is never done."""
    turns = turns_of(hosts, workers)
    assert list(range(len(hosts))) == sorted(taken(turns, len(hosts) + 1))
