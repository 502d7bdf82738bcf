"""
Looking at disks: real ones in memory, and one that does not answer.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from m3u8svc.diskwatch import ANSWERS_WITHIN_S, DiskWatch, Place, look_at, places_of, try_to_write
from m3u8svc.tasks.reserve import Disk, Reserve
from m3u8svc.tasks.search import Space
from m3u8svc.tasks.task import Progress, Settings, Status, Task, TaskSpec
from tests.needs import memory_disk

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
MIB = 1 << 20
test = pytest_twisted.ensureDeferred


def a_task(save: Path | str, temp: Path | str = "", *, task_id: str = "t", held: str = "", **more: Any) -> Task:
    """A task with these directories."""
    spec = TaskSpec(
        url="http://h.test/", filename="f", settings=Settings(save_location=str(save), temp_directory=str(temp))
    )
    return Task(id=task_id, spec=spec, held=held, **more)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    with memory_disk(tmp_path / "disk", "8m") as place:
        yield place


@pytest.fixture
def watch() -> DiskWatch:
    """The real thing."""
    return DiskWatch(clock=reactor, in_thread=deferToThread)


def fill(place: Path, left: int = 0) -> Path:
    """A file that takes all room but `left` bytes, in the place of an earlier one."""
    filler = place / "filler"
    filler.unlink(missing_ok=True)
    found = os.statvfs(place)
    filler.write_bytes(bytes(found.f_bavail * found.f_frsize - left))
    return filler


# -- What is there ---------------------------------------------------------------------------------------------------


def test_looking_at_a_disk(disk: Path) -> None:
    """Size, room, number of files and mount point, also seen from a directory that is not there yet."""
    seen = look_at(str(disk / "not" / "yet"))
    assert (str(disk), 8 * MIB, 8 * MIB, False) == (seen.mount, seen.total_bytes, seen.free_bytes, seen.read_only)
    (disk / "file").write_bytes(bytes(MIB))
    later = look_at(str(disk / "file" / "in the way"))
    assert 7 * MIB == later.free_bytes
    assert seen.free_files is not None and seen.free_files - 1 == later.free_files


def test_looking_through_a_link(disk: Path, tmp_path: Path) -> None:
    """The disk is that to which the link leads."""
    (tmp_path / "link").symlink_to(disk)
    assert str(disk) == look_at(str(tmp_path / "link" / "films")).mount


def test_trying_leaves_nothing(disk: Path) -> None:
    """A trial write is gone afterwards; a directory that is not there is not made."""
    try_to_write(disk)
    try_to_write(disk / "not yet")
    assert [] == os.listdir(disk)
    fill(disk)
    with pytest.raises(OSError, match="No space"):
        try_to_write(disk)


@test
async def test_the_space_on_disks(watch: DiskWatch, disk: Path, tmp_path: Path) -> None:
    """Each disk is there once, as seen from the first directory on it, which need not be there yet."""
    paths = [str(disk / "films"), str(tmp_path), str(disk)]
    [first, second] = await watch.space(paths)
    assert Space(path=paths[0], free_bytes=8 * MIB, total_bytes=8 * MIB) == first
    assert paths[1] == second.path
    assert second.total_bytes
    assert () == await watch.space([])


@test
async def test_the_space_on_a_disk_that_does_not_say() -> None:
    """It is not known, which is not the same as none; the others are."""

    def look(path: str) -> Disk:
        if path == "/gone":
            raise OSError(5, "Input/output error")
        return Disk(mount="/", total_bytes=9, free_bytes=4)

    watch = DiskWatch(clock=reactor, in_thread=deferToThread, look=look)
    expected = (Space(path="/gone"), Space(path="/here", free_bytes=4, total_bytes=9))
    assert expected == await watch.space(["/gone", "/here"])


def test_places_of_a_task() -> None:
    """The save location and, if it is another one, the temp directory, each with its own mount point."""
    assert (Place("/a"),) == places_of(a_task("/a")) == places_of(a_task("/a", "/a"))
    assert (Place("/a", "/"), Place("/b", "/b")) == places_of(a_task("/a", "/b", mounts=("/", "/b")))


# -- Judging ---------------------------------------------------------------------------------------------------------


@test
async def test_a_disk_that_fills_and_empties(disk: Path, watch: DiskWatch) -> None:
    """Full is less than the reserve; back is a quarter more than it."""
    assert None is (await watch.footing(a_task(disk))).trouble
    reserve = Reserve().of(8 * MIB)
    fill(disk, left=reserve - 4096)
    found = (await watch.footing(a_task(disk))).trouble
    assert found is not None and "disk_full" == found.code
    watch.note(a_task(disk, held="disk_full", status=Status.PAUSED))
    fill(disk, left=reserve + 8192)
    assert None is (await watch.footing(a_task(disk))).trouble
    assert [] == await watch.returned()
    fill(disk, left=2 * reserve)
    assert ["t"] == await watch.returned()


@test
async def test_either_disk_counts(disk: Path, tmp_path: Path, watch: DiskWatch) -> None:
    """A full temp directory is as bad as a full save location, and each is named."""
    fill(disk)
    for task in (a_task(tmp_path, disk), a_task(disk, tmp_path)):
        footing = await watch.footing(task)
        assert footing.trouble is not None and str(disk) in footing.trouble.text("en")
        assert {str(disk), str(look_at(str(tmp_path)).mount)} == set(footing.mounts)


@test
async def test_a_disk_that_is_read_only(disk: Path, watch: DiskWatch) -> None:
    """It says so before anything is written, and goes on when it can be written to."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    found = (await watch.footing(a_task(disk / "films"))).trouble
    assert found is not None and "disk_read_only" == found.code
    watch.note(a_task(disk / "films", held="disk_read_only"))
    assert [] == await watch.returned()
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert ["t"] == await watch.returned()


@test
async def test_a_disk_that_is_unmounted(tmp_path: Path, watch: DiskWatch) -> None:
    """The empty mount point is not taken for the disk; the disk, mounted again, is."""
    with memory_disk(tmp_path / "disk", "8m") as disk:
        task = a_task(disk / "films")
        task = attrs.evolve(task, mounts=(await watch.footing(task)).mounts)
        assert (str(disk),) == task.mounts
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        found = (await watch.footing(task)).trouble
        assert found is not None and ("disk_gone", True) == (found.code, str(disk) in found.text("zh"))
        watch.note(attrs.evolve(task, held="disk_gone"))
        assert [] == await watch.returned()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
        assert ["t"] == await watch.returned()


@test
async def test_a_quota(disk: Path, watch: DiskWatch) -> None:
    """A disk that says it has room and takes nothing is not back."""
    roomy = Disk(mount=str(disk), total_bytes=MIB, free_bytes=MIB)
    deceived = DiskWatch(clock=reactor, in_thread=deferToThread, look=lambda path: roomy)
    filler = fill(disk)
    deceived.note(a_task(disk, held="disk_full"))
    assert [] == await deceived.returned()
    filler.unlink()
    assert ["t"] == await deceived.returned()


@test
async def test_other_trouble_is_the_jobs(disk: Path) -> None:
    """What does not hold a task is no reason to keep it: it shall end with what is wrong."""

    def refuse(path: str) -> Disk:
        raise PermissionError(13, "Permission denied")

    watch = DiskWatch(clock=reactor, in_thread=deferToThread, look=refuse)
    found = (await watch.footing(a_task(disk))).trouble
    assert found is not None and ("no_permission", False) == (found.code, found.holds)
    watch.note(a_task(disk, held="disk_full"))
    assert ["t"] == await watch.returned()


# -- Who is held -----------------------------------------------------------------------------------------------------


@test
async def test_who_is_remembered(disk: Path, watch: DiskWatch) -> None:
    """Only who is held for a disk, each under its present directories, until it is not any more."""
    watch.note(a_task(disk, task_id="user's"))
    watch.note(a_task(disk, task_id="url", held="needs_url"))
    watch.note(a_task(disk, task_id="a", held="disk_full"))
    watch.note(a_task(disk, task_id="a", held="disk_full"))
    watch.note(a_task(disk, task_id="b", held="disk_gone"))
    watch.note(a_task(disk, task_id="c", held="disk_full"))
    watch.note(a_task(disk, task_id="c"))
    watch.note(a_task(disk, task_id="d", held="disk_full", deleting=True))
    assert ["a", "b"] == await watch.returned()
    watch.note(a_task(disk, task_id="a"))
    watch.note(a_task(disk, task_id="b"))
    assert [] == await watch.returned()


class TestBackingOff(SynchronousTestCase):
    """Tasks that go on in vain: what comes of a try on a disk that is nearly full is fetched for nothing."""

    def setUp(self) -> None:
        """A disk of 1,000 bytes with some left alone."""
        self.clock = Clock()
        self.free = 1000
        self.watch = DiskWatch(
            clock=self.clock,
            in_thread=lambda call, *arguments: succeed(call(*arguments)),
            reserve=Reserve(size_bytes=100),
            look=lambda path: Disk(mount="/", total_bytes=1000, free_bytes=self.free),
        )

    def note(self, status: Status, **more: Any) -> None:
        """The task is like that now."""
        held = "disk_full" if status is Status.PAUSED else ""
        self.watch.note(a_task("/nowhere", status=status, **{"held": held, **more}))

    def waits_s(self) -> int:
        """How long until it may go on, by looks at the disk; then it does."""
        for seconds in range(0, 200, 10):
            if self.successResultOf(Deferred.fromCoroutine(self.watch.returned())):
                self.note(Status.WAITING)
                self.note(Status.DOWNLOADING)
                return seconds
            self.clock.advance(10)
        raise AssertionError("it never goes on")

    def tries(self, *ran_s: float) -> list[int]:
        """How long it waits each time it is held after it ran for so long."""
        waits = []
        for each in ran_s:
            self.clock.advance(each)
            self.note(Status.PAUSED)
            waits.append(self.waits_s())
        return waits

    def test_each_try_in_vain_waits_longer(self) -> None:
        """At once the first time; then from 10 s to 50 s, and a look later it is a minute at most."""
        assert [0, 10, 20, 40, 50, 50] == self.tries(0, 1, 1, 1, 1, 1)

    def test_a_try_that_was_worth_it(self) -> None:
        """It ran for a minute: the next one is no later than the first."""
        assert [0, 10, 0, 10] == self.tries(0, 1, 60, 1)

    def test_what_somebody_does_starts_anew(self) -> None:
        """A pause of the user's, or the end."""
        assert [0, 10] == self.tries(0, 1)
        self.note(Status.PAUSED, held="")
        assert [0, 10] == self.tries(0, 1)
        self.note(Status.COMPLETED)
        assert [0] == self.tries(0)

    def test_being_noted_twice_is_being_held_once(self) -> None:
        """A change of a held task, such as of its place in the queue, counts for nothing."""
        self.note(Status.PAUSED)
        assert [0, 10] == self.tries(0, 1)

    def test_room_for_what_will_be_in_flight(self) -> None:
        """A segment for each worker, beside the reserve and its margin, by the size of those that are there."""
        progress = Progress(segments_done=5, segments_total=50, size_bytes=50)
        spec = TaskSpec(url="", filename="f", settings=Settings(save_location="/nowhere", download_threads=8))
        self.watch.note(Task(id="t", spec=spec, status=Status.PAUSED, held="disk_full", progress=progress))
        found = []
        for self.free in (204, 205):
            found.append(self.successResultOf(Deferred.fromCoroutine(self.watch.returned())))
        assert [[], ["t"]] == found


class TestSilence(SynchronousTestCase):
    """A disk that does not answer."""

    def setUp(self) -> None:
        """A thread that hangs."""
        self.clock = Clock()
        self.asked: list[Deferred[Any]] = []
        self.watch = DiskWatch(clock=self.clock, in_thread=self.in_thread)

    def in_thread(self, *call: Any) -> Deferred[Any]:
        """Begun and not ended."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def footing(self) -> Deferred[Any]:
        """Ask for a task's."""
        return Deferred.fromCoroutine(self.watch.footing(a_task("/net/films", mounts=("/net",))))

    def test_it_counts_as_gone(self) -> None:
        """It is waited for, not for ever, and what the task knew of its disk is kept."""
        footing = self.footing()
        self.clock.advance(ANSWERS_WITHIN_S - 0.1)
        self.assertNoResult(footing)
        self.clock.advance(0.2)
        found = self.successResultOf(footing)
        assert ("disk_gone", ("/net",)) == (found.trouble.code, found.mounts)

    def test_it_costs_one_thread(self) -> None:
        """Whoever asks meanwhile waits for the same answer, and one that comes late is for those who still wait."""
        late, waiting = self.footing(), None
        self.clock.advance(ANSWERS_WITHIN_S - 1)
        waiting = self.footing()
        self.clock.advance(2)
        assert 1 == len(self.asked)
        assert "disk_gone" == self.successResultOf(late).trouble.code
        self.asked[0].callback("the answer")
        assert "the answer" == self.successResultOf(waiting)
        third = self.footing()
        assert 2 == len(self.asked)
        self.asked[1].callback("another")
        assert "another" == self.successResultOf(third)

    def test_it_holds_up_one_only(self) -> None:
        """Known to be silent, it is not waited for again."""
        self.footing()
        self.clock.advance(ANSWERS_WITHIN_S)
        for _ in range(3):
            footing = self.footing()
            self.clock.advance(0)
            assert "disk_gone" == self.successResultOf(footing).trouble.code
        assert 1 == len(self.asked)
