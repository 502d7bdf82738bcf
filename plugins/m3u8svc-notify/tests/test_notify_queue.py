"""
The queue on disk: what is in it after a crash.
"""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from m3u8svc_notify.events import Event
from m3u8svc_notify.queue import Item, Queue

A, B = "webhook:a", "command:b"


def event(number: int, task: str = "t1") -> Event:
    """One."""
    return Event(event_id=number, task_id=task, name="x", names=frozenset("x"), body=f'{{"n":{number}}}')


def heads(queue: Queue, target: str = A, most: int = 100) -> list[tuple[str, int]]:
    """Tasks and event numbers at the front."""
    return [(item.task_id, item.event_id) for item in queue.heads(target, most)]


def add(queue: Queue, *events: Event, targets: Any = (A,), now: float = 1.0, most: int = 1000) -> list[Item]:
    """Queue them; what had to go."""
    return [gone for each in events for gone in queue.add(each, targets, now=now, most=most)]


def test_a_crash_loses_nothing(tmp_path: Path) -> None:
    """A queue opened anew, without the old one being closed, holds what was added and not marked."""
    first = Queue(tmp_path / "q")
    add(first, event(1), event(2), event(3, "t2"), targets=(A, B))
    first.done(first.heads(A, 1)[0].seq)
    first.postpone(first.heads(B, 1)[0].seq, due=99.0)
    again = Queue(tmp_path / "q")
    assert [("t1", 2), ("t2", 3)] == heads(again)
    assert [("t2", 3), ("t1", 1)] == heads(again, B)
    item = again.heads(B, 2)[1]
    assert (1, 99.0, '{"n":1}', 1.0) == (item.attempts, item.due, item.body, item.queued_at)
    for queue in (first, again):
        queue.close()


def test_an_event_told_again_is_known(tmp_path: Path) -> None:
    """After a crash the service tells an event again: it is neither queued twice nor sent once more when delivered."""
    queue = Queue(tmp_path / "q")
    add(queue, event(1), event(2))
    queue.done(queue.heads(A, 1)[0].seq)
    queue.close()
    queue = Queue(tmp_path / "q")
    add(queue, event(1), event(2))
    assert {A: 1} == queue.waiting()
    add(queue, event(1, "another"))  # a service with a new database counts from 1 again
    assert {A: 2} == queue.waiting()
    queue.close()


def test_the_oldest_makes_room(tmp_path: Path) -> None:
    """Beyond the limit of a target the oldest waiting one goes, and is named; other targets keep theirs."""
    queue = Queue(tmp_path / "q")
    add(queue, event(1), targets=(A, B))
    assert [] == add(queue, event(2), most=2)
    assert [1] == [item.event_id for item in add(queue, event(3), most=2)]
    assert {A: 2, B: 1} == queue.waiting()
    queue.close()


def test_giving_up_a_target(tmp_path: Path) -> None:
    """Everything that waits for one target goes, and is counted."""
    queue = Queue(tmp_path / "q")
    add(queue, event(1), event(2), targets=(A, B))
    assert 2 == queue.give_up(A)
    assert {B: 2} == queue.waiting()
    queue.close()


def test_it_is_nobody_elses(tmp_path: Path) -> None:
    """The file is readable by its owner only."""
    queue = Queue(tmp_path / "q")
    assert 0o600 == (tmp_path / "q").stat().st_mode & 0o777
    queue.close()


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["done", "postpone", "reopen"])), max_size=25))
def test_order_per_task_whatever_happens(steps: Any, tmp_path_factory: Any) -> None:
    """However deliveries, failures and crashes mix, the events of one task leave in the order they came."""
    path = tmp_path_factory.mktemp("q") / "q"
    queue = Queue(path)
    left: dict[str, list[int]] = {}
    for number, (task, _) in enumerate(steps):
        add(queue, event(number, task))
    for _, what in steps:
        if what == "reopen":
            queue.close()
            queue = Queue(path)
        elif found := queue.heads(A, 1):
            if what == "postpone":
                queue.postpone(found[0].seq, due=found[0].due + 1)
                continue
            queue.done(found[0].seq)
            left.setdefault(found[0].task_id, []).append(found[0].event_id)
    queue.close()
    for numbers in left.values():
        assert sorted(numbers) == numbers
