"""
What is fetched next while somebody watches: every job once, the viewer's first.
"""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.sharing import BEFORE_ALL, Row
from m3u8svc.tasks.turns import Turns
from m3u8svc.tasks.viewing import AHEAD, Viewer

SEGMENT_S = 6.0


def nobody(host: str) -> bool:
    return False


def turns_of(viewer: Viewer, hosts: list[str], workers: int = 4) -> Turns[int]:
    made = Turns(range(len(hosts)), workers=workers, viewer=viewer)
    for number, host in enumerate(hosts):
        made.add(number, host)
    return made


def look(viewer: Viewer, number: int) -> None:
    viewer.look(number, from_s=number * SEGMENT_S, until_s=(number + AHEAD - 1) * SEGMENT_S)


def ask(viewer: Viewer, number: int) -> None:
    viewer.ask(number, number * SEGMENT_S)


def taken(turns: Turns[int], count: int) -> list[int]:
    return [job for _, job in filter(None, (turns.take(nobody) for _ in range(count)))]


COUNT = 200
ORDERS = [
    # Asked for, in this order; looked at; what is taken first.
    ([], None, [0, 1, 2, 3]),
    ([], 0, [0, 1, 2, 3]),
    ([], 100, [*range(100, 100 + AHEAD), 0, 1, 2]),
    ([], COUNT - 2, [COUNT - 2, COUNT - 1, 0, 1]),
    ([150, 90], 90, [150, *range(90, 90 + AHEAD), 0]),
    ([90, 150], 150, [90, *range(150, 150 + AHEAD), 0]),
    ([7, 7], 7, [*range(7, 7 + AHEAD), *range(7), 7 + AHEAD]),
]


@pytest.mark.parametrize(("asked", "at", "expected"), ORDERS)
def test_order(asked: list[int], at: int | None, expected: list[int]) -> None:
    """What is waited for, then what follows the viewer, then the first that is left."""
    viewer = Viewer()
    for number in asked:
        ask(viewer, number)
    if at is not None:
        look(viewer, at)
    assert expected == taken(turns_of(viewer, ["a"] * COUNT), len(expected))


def test_a_viewer_who_goes_back_finds_what_was_passed_over() -> None:
    """A seek to the end, then to the middle, then nothing more: the rest in order."""
    viewer = Viewer()
    turns = turns_of(viewer, ["a"] * 100)
    look(viewer, 90)
    assert list(range(90, 100)) == taken(turns, 10)
    look(viewer, 40)
    assert list(range(40, 40 + AHEAD)) == taken(turns, AHEAD)
    assert [*range(40), *range(40 + AHEAD, 90)] == taken(turns, 100)


def test_whoever_gave_up_is_not_waited_for() -> None:
    """Asked for twice and left once it still comes first; left twice it does not."""
    viewer = Viewer()
    for _ in range(2):
        ask(viewer, 50)
    viewer.leave(50)
    assert (50, 0) == (viewer.first_of(range(100), 0, bytes(100))[1], viewer.first_of(range(50), 0, bytes(50))[1])
    viewer.leave(50)
    assert 0 == viewer.first_of(range(100), 0, bytes(100))[1]


def test_a_slow_host_does_not_get_all_workers_of_a_viewer() -> None:
    """The share of a host stands above the viewer: somebody else's segments still have a quarter."""
    viewer = Viewer()
    look(viewer, 0)
    turns = turns_of(viewer, ["slow"] * 20 + ["fast"] * 20, 16)
    assert [*range(12), 20, 21, 22, 23] == taken(turns, 16)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 8)),
        st.tuples(st.just("look"), st.integers(0, 79)),
        st.tuples(st.just("ask"), st.integers(0, 79)),
        st.tuples(st.just("leave"), st.integers(0, 79)),
    ),
    max_size=60,
)


@given(
    hosts=st.lists(st.sampled_from("abc"), min_size=1, max_size=80),
    gone=st.sets(st.integers(0, 79)),
    moves=MOVES,
    workers=st.integers(1, 20),
)
def test_each_is_handed_out_once_and_all_are(
    hosts: list[str], gone: set[int], moves: list[tuple[str, int]], workers: int
) -> None:
    """Whatever the viewer does, whatever was there before, however many hosts there are."""
    viewer = Viewer()
    made = Turns(range(len(hosts)), workers=workers, viewer=viewer)
    wanted = [number for number in range(len(hosts)) if number not in gone]
    for number in wanted:
        made.add(number, hosts[number])
    asked: list[int] = []
    found: list[int] = []
    for move, number in moves:
        if move == "take":
            found += taken(made, number)
        elif move == "look":
            look(viewer, number)
        elif move == "ask":
            ask(viewer, number)
            asked.append(number)
        elif asked:
            viewer.leave(asked.pop(number % len(asked)))
    found += taken(made, len(hosts) + 1)
    assert sorted(found) == wanted
    assert not made and made.take(nobody) is None


@given(at=st.integers(0, 99), gone=st.sets(st.integers(0, 99)), asked=st.lists(st.integers(0, 99), max_size=3))
def test_what_is_taken_is_the_most_urgent(at: int, gone: set[int], asked: list[int]) -> None:
    """As said in words, for one host."""
    viewer = Viewer()
    for number in asked:
        ask(viewer, number)
    look(viewer, at)
    left = [number for number in range(100) if number not in gone]
    if not left:
        return
    waited = [number for number in asked if number in left]
    ahead = [number for number in left if at <= number < at + AHEAD]
    flags = bytes(number in gone for number in range(100))
    assert [*waited, *ahead, *left][0] == viewer.first_of(array("I", range(100)), left[0], flags)[1]


RANKS = [
    (BEFORE_ALL, 0),
    (0.0, 2),
    (59.9, 2),
    (60.0, 1),
    ((10 + AHEAD - 1) * SEGMENT_S, 1),
    ((10 + AHEAD) * SEGMENT_S, 2),
    (300.0, 0),
    (math.inf, 2),
]


@pytest.mark.parametrize(("at_s", "expected"), RANKS)
def test_rank_of_a_request(at_s: float, expected: int) -> None:
    """Keys first, and what is waited for; then what is ahead of the viewer; then the rest."""
    viewer = Viewer()
    ask(viewer, 50)
    look(viewer, 10)
    assert (expected, at_s) == viewer.rank(at_s)


def test_requests_that_wait_for_a_host_follow_the_viewer() -> None:
    """Also those that waited before he came, of his film and no other; as before when nobody watches."""
    viewers: dict[str, Viewer] = {}
    row: Row[str] = Row(viewers)
    names = [f"film {number}" for number in range(50)]
    for number, name in enumerate(names):
        row.add(name, task="film", at_s=number * SEGMENT_S)
    assert "film 0" == row.take()[1]
    viewers["film"] = viewer = Viewer()
    assert "film 1" == row.take()[1]
    ask(viewer, 49)
    look(viewer, 20)
    row.add("key", task="film")
    found = [row.take()[1] for _ in range(AHEAD + 4)]
    assert ["key", "film 49", *(f"film {number}" for number in range(20, 20 + AHEAD)), "film 2", "film 3"] == found
    row.leave(names[4], task="film")
    viewers.clear()
    assert ["film 5", "film 6"] == [row.take()[1] for _ in range(2)]
