"""
``m3u8svc watch`` over very many tasks: what it asks for, and that it misses nothing.
"""

import json

import pytest

from m3u8svc.cli.client import Client, NoService
from m3u8svc.cli.glance import ALL_AGAIN_S, FEW, MOST_LEFT, Glance
from m3u8svc.tasks.task import Status
from tests.cli.conftest import Raw, StubService, task

MANY = 10_000
RUNNING, WAITING, DONE, PAUSED, FAILED = "下载中", "等待中", "已完成", "已暂停", "失败"


class Watched:
    """
    A service with very many finished tasks before those of a test, a glance at it, and a clock that a test moves.
    """

    def __init__(self, service: StubService, *tasks: dict[str, object], old: int = MANY) -> None:
        self.service = service
        self.now = 0.0
        for number in range(old):
            service.put(task(f"old{number}", status=DONE, created_at=f"2025-01-01T00:00:{number:09}Z"))
        service.put(*tasks)
        self._glance = Glance(Client(service.url), seconds=lambda: self.now)
        self.look()

    def look(self) -> int:
        """Look once more: what is seen is what there is; how many tasks came over the wire for it."""
        visits = len(self.service.visits)
        seen = self._glance.look()
        assert list(self.service.tasks.values()) == [each.source for each in seen]
        return sum(self._weight(visit.query) for visit in self.service.visits[visits:])

    def _weight(self, query: object) -> int:
        assert isinstance(query, dict)
        return 1 if "id" in query else len(self.service.listed(query))


@pytest.fixture
def watched(service: StubService) -> Watched:
    return Watched(service, *(task(f"r{number}", status=RUNNING) for number in range(50)), task("w", status=WAITING))


def test_what_moves_is_seen(watched: Watched) -> None:
    """The progress of those that download, a few tasks a look and not ten thousand."""
    for percent in (10, 20):
        for number in range(50):
            watched.service.tasks[f"r{number}"]["progress"] = percent
        assert watched.look() <= 50 + 2 * FEW


def test_the_head_of_the_queue_is_seen(watched: Watched) -> None:
    """What will start next, however old it is."""
    watched.service.put(*(task(f"new{number}", status=PAUSED, created_at=f"2027-{number:03}") for number in range(FEW)))
    watched.look()
    watched.service.tasks["w"].update(queue_position=2)
    assert watched.look() <= 51 + 2 * FEW


def test_an_end_is_seen(watched: Watched) -> None:
    """By the tasks that downloaded and no longer do; also of one that is not among the newest."""
    watched.service.put(*(task(f"new{number}", status=PAUSED, created_at=f"2027-{number:03}") for number in range(FEW)))
    watched.look()
    watched.service.tasks["r0"].update(status=DONE, progress=100)
    watched.service.tasks["r1"].update(status=FAILED)
    del watched.service.tasks["r2"]
    watched.service.tasks["w"].update(status=RUNNING)
    assert watched.look() <= 50 + 2 * FEW


def test_new_tasks_are_seen_behind_the_others(watched: Watched) -> None:
    """In order of their creation."""
    watched.service.put(task("z", created_at="2026-02"), task("y", created_at="2026-03"))
    assert watched.look() <= 50 + 2 * FEW


@pytest.mark.parametrize("status", [status.value for status in Status if status is not Status.COMPLETED])
def test_a_task_at_rest_that_changes_its_state(watched: Watched, status: str) -> None:
    """The numbers no longer fit, so all are asked for, once."""
    watched.service.tasks["old7"].update(status=status)
    watched.look()
    assert watched.look() <= 50 + 2 * FEW


def test_a_task_at_rest_that_is_removed(watched: Watched) -> None:
    """Likewise."""
    del watched.service.tasks["old7"]
    assert watched.look() >= MANY
    assert watched.look() <= 50 + 2 * FEW


def test_what_is_in_no_number_is_seen_within_a_minute(watched: Watched) -> None:
    """Such as another name of a finished task."""
    watched.now += ALL_AGAIN_S
    watched.service.tasks["old7"].update(filename="renamed")
    assert watched.look() >= MANY


def test_many_that_end_together(service: StubService) -> None:
    """Are one question, not one each."""
    many = MOST_LEFT + 1
    watched = Watched(service, *(task(f"r{number}", status=RUNNING) for number in range(many)), old=FEW)
    service.put(*(task(f"new{number}", status=PAUSED, created_at=f"2027-{number:03}") for number in range(FEW)))
    watched.look()
    for number in range(many):
        service.tasks[f"r{number}"].update(status=DONE)
    visits = len(service.visits)
    watched.look()
    assert [] == [visit for visit in service.visits[visits:] if "id" in visit.query]


def test_few_tasks_are_one_question(service: StubService) -> None:
    """As ever."""
    watched = Watched(service, task("r", status=RUNNING), old=FEW - 1)
    visits = len(service.visits)
    service.tasks["old7"].update(filename="renamed")
    watched.look()
    assert [{}] == [visit.query for visit in service.visits[visits:]]


def test_a_service_without_numbers(service: StubService) -> None:
    """Is asked for all of its tasks."""
    service.counting = False
    watched = Watched(service, task("r", status=RUNNING), old=2 * FEW)
    watched.look()
    visits = len(service.visits)
    service.tasks["old7"].update(filename="renamed")
    watched.look()
    assert [{}] == [visit.query for visit in service.visits[visits:]]


def test_a_service_that_had_no_numbers_once(service: StubService) -> None:
    """It is asked for less again after a minute: another may have taken its place."""
    service.counting = False
    watched = Watched(service, task("r", status=RUNNING))
    watched.look()
    service.counting = True
    watched.now += ALL_AGAIN_S - 1
    assert watched.look() >= MANY
    watched.now += 1
    assert watched.look() <= 1 + 2 * FEW


@pytest.mark.parametrize("counts", [{}, {status.value: "1" for status in Status}, []])
def test_numbers_that_are_none(service: StubService, monkeypatch: pytest.MonkeyPatch, counts: object) -> None:
    """Something else answers there, and is named."""
    monkeypatch.setattr(service, "counts", lambda: Raw(body=json.dumps(counts).encode()))
    with pytest.raises(NoService, match="counts"):
        Client(service.url).tally()
