"""
Who looks after the store, and what is said when it is not well.
"""

import os
import resource
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from m3u8svc.degraded import Degraded
from m3u8svc.errors import BackupFailed, DatabaseRestored, DiskFull, StoreError
from m3u8svc.store import Store
from m3u8svc.store.backups import EVERY_S, RETRY_S
from m3u8svc.store.store import LEAST_BYTES
from m3u8svc.upkeep import LOOK_S, Upkeep
from tests.databases import a_task, damage_half, with_store
from tests.needs import memory_disk

test = pytest_twisted.ensureDeferred


@attrs.define
class Watched:
    """An open store with somebody who looks after it, on a clock of our own. `failing` makes the next copies fail."""

    store: Store
    degraded: Degraded
    clock: Clock
    failing: bool = False

    def in_thread(self, *call: object) -> Deferred[object]:
        """Off the reactor, or not at all."""
        return fail(BackupFailed(path="x", reason="broken")) if self.failing else deferToThread(*call)

    def copies(self) -> int:
        """How many there are."""
        assert self.store.backups is not None
        return len(list(self.store.backups.glob("*.sqlite3")))

    @property
    def codes(self) -> list[str]:
        """What is said to be wrong."""
        return [reason.error.code for reason in self.degraded.reasons()]


async def watch(path: Path) -> tuple[Watched, Upkeep]:
    """An open store, and who looks after it."""
    clock = Clock()
    store = Store(f"sqlite:///{path}", reactor=reactor, wall=lambda: 1.7e9 + clock.seconds(), now=clock.seconds)
    watched = Watched(store, Degraded(wall=lambda: 5.0, probe=store.check), clock)
    await store.open()
    upkeep = Upkeep(store, watched.degraded, clock=clock, in_thread=watched.in_thread)
    upkeep.start()
    return watched, upkeep


async def pass_by(watched: Watched, upkeep: Upkeep, seconds: float) -> None:
    """Time goes on, with a look at the store each minute."""
    for _ in range(int(seconds // LOOK_S)):
        watched.clock.advance(LOOK_S)
        while upkeep._looking is not None:
            await watched.store.tasks()


@test
async def test_a_copy_an_hour(tmp_path: Path) -> None:
    """The first within a minute, the next when an hour is over and something changed; nothing is wrong."""
    watched, upkeep = await watch(tmp_path / "db")
    try:
        made = [watched.copies()]
        for seconds in (LOOK_S, EVERY_S - LOOK_S, LOOK_S, EVERY_S):
            await pass_by(watched, upkeep, seconds)
            made.append(watched.copies())
            if len(made) == 2:
                await watched.store.insert(a_task())
        assert ([0, 1, 1, 2, 2], []) == (made, watched.codes)
    finally:
        await upkeep.stop()
        await watched.store.close()


@test
async def test_a_copy_that_fails_is_said_until_one_is_made(tmp_path: Path) -> None:
    """It is tried again in ten minutes."""
    watched, upkeep = await watch(tmp_path / "db")
    try:
        watched.failing = True
        await pass_by(watched, upkeep, LOOK_S)
        watched.failing = False
        await pass_by(watched, upkeep, RETRY_S - LOOK_S)
        assert ["backup_failed"] == watched.codes
        await pass_by(watched, upkeep, LOOK_S)
        assert ([], 1) == (watched.codes, watched.copies())
    finally:
        await upkeep.stop()
        await watched.store.close()


@test
async def test_a_restore_is_said_from_the_start(tmp_path: Path) -> None:
    """By whoever asks how the service is."""
    path = tmp_path / "db"
    await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
    damage_half(path)
    watched, upkeep = await watch(path)
    try:
        [reason] = watched.degraded.reasons()
        assert (DatabaseRestored, 5.0) == (type(reason.error), reason.since)
    finally:
        await upkeep.stop()
        await watched.store.close()


@test
async def test_stopping_waits_for_the_copy(tmp_path: Path) -> None:
    """The store is closed only after whoever reads it has ended."""
    watched, upkeep = await watch(tmp_path / "db")
    copying: list[Deferred[object]] = []

    def in_thread(*call: object) -> Deferred[object]:
        copying.append(deferToThread(*call))
        return copying[0]

    upkeep._in_thread = in_thread
    watched.clock.advance(LOOK_S)
    while not copying:
        await watched.store.check()
    await upkeep.stop()
    assert (True, 1) == (copying[0].called, watched.copies())
    await watched.store.close()


@test
async def test_whether_tasks_can_be_taken(tmp_path: Path) -> None:
    """As long as the database can be written to."""
    watched, upkeep = await watch(tmp_path / "db")
    await watched.degraded.ready()
    await upkeep.stop()
    await watched.store.close()
    with pytest.raises(Exception, match="not open"):
        await watched.degraded.ready()


@test
async def test_a_full_disk_takes_no_tasks(tmp_path: Path) -> None:
    """Before the first change fails, and until there is room again."""
    with memory_disk(tmp_path / "disk", "8m") as disk:
        watched, upkeep = await watch(disk / "db")
        try:
            found = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(found.f_bavail * found.f_frsize - LEAST_BYTES // 2))
            with pytest.raises(DiskFull):
                await watched.degraded.ready()
            (disk / "filler").unlink()
            await watched.degraded.ready()
        finally:
            await upkeep.stop()
            await watched.store.close()


@test
async def test_after_a_write_that_failed_one_is_tried(tmp_path: Path) -> None:
    """That the right to write is given does not mean that the disk takes anything."""
    watched, upkeep = await watch(tmp_path / "db")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        size = (tmp_path / "db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        with pytest.raises((StoreError, DiskFull)):
            await watched.store.insert(a_task(err_msg="x" * 100_000))
        for _ in range(2):
            with pytest.raises((StoreError, DiskFull)):
                await watched.degraded.ready()
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await watched.degraded.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await upkeep.stop()
        await watched.store.close()


@pytest.mark.parametrize("replaced", [False, True])
@test
async def test_a_file_that_is_gone_while_it_is_open(tmp_path: Path, replaced: bool) -> None:
    """It is noticed within a minute, and what is open is copied at once: the next start has every task."""
    path, other = tmp_path / "db", tmp_path / "other"
    await with_store(f"sqlite:///{other}", lambda store: store.insert(a_task("foreign")))
    watched, upkeep = await watch(path)
    try:
        await watched.store.insert(a_task("before"))
        await pass_by(watched, upkeep, LOOK_S)
        assert ([], 1) == (watched.codes, watched.copies())
        path.rename(tmp_path / "away")
        if replaced:
            other.rename(path)
        for _ in range(2):
            await watched.store.insert(a_task(f"after{watched.clock.seconds()}"))
            await pass_by(watched, upkeep, LOOK_S)
            assert (["db_file_lost"], 2) == (watched.codes, watched.copies())
    finally:
        await upkeep.stop()
        await watched.store.close()
    assert 3 == watched.copies()
    path.unlink(missing_ok=True)
    found = await with_store(f"sqlite:///{path}", lambda store: store.tasks())
    assert ["after120.0", "after60.0", "before"] == sorted(task.id for task in found)


@test
async def test_a_file_that_is_back(tmp_path: Path) -> None:
    """Its name was away for a while only: nothing is wrong any more."""
    path = tmp_path / "db"
    watched, upkeep = await watch(path)
    try:
        path.rename(tmp_path / "away")
        await pass_by(watched, upkeep, LOOK_S)
        assert ["db_file_lost"] == watched.codes
        (tmp_path / "away").rename(path)
        await pass_by(watched, upkeep, LOOK_S)
        assert [] == watched.codes
    finally:
        await upkeep.stop()
        await watched.store.close()
