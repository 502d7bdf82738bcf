"""
The harness's small tier: every piece, with faults drawn from a seed that is printed. ``FAULTS_SEED`` repeats a run;
``python -m tests.faults --gate`` tries all of them.
"""

import pytest

from tests import needs
from tests.faults import diskfull, invariants, kills, mutations, powercuts, soak, syscalls, tracer
from tests.faults.rig import Bench, wait_for
from tests.faults.run import carry_out, every_unit
from tests.faults.table import Found, Piece

pytestmark = pytest.mark.faults

AT_ONCE = 2


def find(piece: Piece, ready: Bench, seed: str) -> list[str]:
    """
    What is wrong after a piece's faults, each with the unit and the seed that show it again.
    """
    wrong: list[str] = []

    def told(unit: str, own: str, found: Found, seconds: float) -> None:
        for violation in found.violations:
            wrong.append(f"{violation}\n(add to tests/faults/seeds.txt: {piece.name} {unit} {own})\n{found.story}")

    carry_out(piece, ready, every_unit(piece, ready, seed, gate=False), jobs=AT_ONCE, told=told)
    return wrong


def need_tracer() -> None:
    """
    The tracer knows one kind of machine.
    """
    if not tracer.works_here():
        needs.lacking("Linux on x86-64, whose calls the tracer knows")


def test_killed_at_any_instant(ready: Bench, seed: str) -> None:
    """H1: after every kill a restart goes on by itself; at the end each task has one file with the golden bytes."""
    assert [] == find(kills.PIECE, ready, seed)


def test_killed_at_calls_that_change_the_disk(ready: Bench, seed: str) -> None:
    """H2: the same when it is killed right before such a call, its own or its muxing child's."""
    need_tracer()
    assert [] == find(syscalls.KILLS, ready, seed)


def test_errors_from_calls_that_change_the_disk(ready: Bench, seed: str) -> None:
    """H3: an error from one of them ends in a named state or in nothing; what was acknowledged stays."""
    need_tracer()
    assert [] == find(syscalls.ERRORS_PIECE, ready, seed)


def test_power_cuts(ready: Bench, seed: str) -> None:
    """H5: what was acknowledged before the power went is there after it came back."""
    assert [] == find(powercuts.PIECE, ready, seed)


def test_full_disks(ready: Bench, seed: str) -> None:
    """H6: a disk that fills holds its tasks and no others; they go on by themselves, and nothing is lost."""
    assert [] == find(diskfull.PIECE, ready, seed)


def test_broken_durability_is_noticed(ready: Bench, seed: str) -> None:
    """The harness itself: code that syncs too little, too late or in the wrong order is found out."""
    need_tracer()
    assert [] == find(mutations.PIECE, ready, seed)


def test_soaked_in_faults(ready: Bench, seed: str) -> None:
    """L6: fifty tasks of fifty segments in bad weather: every film is whole, at most a quarter more requests."""
    assert [] == find(soak.PIECE, ready, seed)


@pytest.mark.parametrize("tear", ["delete", "double", "change"])
def test_a_tear_is_seen(tear: str, ready: Bench, seed: str) -> None:
    """The invariants can fail: a lost task, a doubled one and a changed film are each named."""
    with ready.folder(f"tear-{tear}") as folder:
        service = ready.service(folder).start()
        try:
            url = ready.playlist("small", f"tear-{tear}", {}, {})
            asked = []
            for film in ["film"] if tear != "double" else ["film", "film"]:
                status, task = service.ask("POST", "/api/tasks", {"url": url, "filename": film})
                assert status == 200
                small = ready.streams["small"]
                asked.append(invariants.Asked(id=task["id"], name=f"tear-{tear}", film=film, stream=small))
            wait_for(lambda: {"已完成"} == {each["status"] for each in service.tasks().values()}, 60)
            film_file = invariants.result(service, asked[0])
            if tear == "delete":
                service.ask("DELETE", f"/api/tasks?id={asked[0].id}")
            if tear == "change":
                film_file.write_bytes(film_file.read_bytes()[:-1] + b"x")
            wrong = invariants.all_done(ready, service, asked[:1])
        finally:
            service.kill()
    expected = {
        "delete": "the task film is lost",
        "double": "2 tasks are named film",
        "change": "I1 film.mp4 has other bytes",
    }
    assert expected[tear] in wrong
