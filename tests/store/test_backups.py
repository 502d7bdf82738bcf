"""
A database that is damaged, on real files: whoever was told of a task finds it again after the next start.
"""

import contextlib
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from m3u8svc.errors import BackupFailed, ChangesLost, DatabaseDamaged, DatabaseRestored, IdempotencyConflict
from m3u8svc.store import Store
from m3u8svc.store.backups import EVERY_S, KEPT, RETRY_S, Backups
from m3u8svc.store.changes import Change, ChangeLog, read_changes
from m3u8svc.store.database import Database
from m3u8svc.tasks.creation import KEPT_S, Creation
from m3u8svc.tasks.task import Settings, Status, SystemSettings
from tests.databases import (
    a_segment,
    a_task,
    damage_directory,
    damage_first_page,
    damage_half,
    damage_nothing_left,
    damage_one_page,
    damage_only_the_log_is_left,
    damage_other_file,
    with_store,
)
from tests.needs import memory_disk

test = pytest_twisted.ensureDeferred
STAMP_AT = 1_700_000_000.0


def damage_gone(path: Path) -> None:
    """There is no file."""
    path.unlink()


DAMAGES = [
    damage_directory,
    damage_first_page,
    damage_gone,
    damage_half,
    damage_nothing_left,
    damage_one_page,
    damage_only_the_log_is_left,
    damage_other_file,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "m3u8svc.sqlite3"


class Hours:
    """Clocks that stand still until a test moves them: one that is never set, and the time of day."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wall_s = STAMP_AT

    def pass_by(self, seconds: float) -> None:
        """Time goes on."""
        self.now_s += seconds
        self.wall_s += seconds

    def store(self, path: Path) -> Store:
        """A store that lives by these clocks."""
        return Store(f"sqlite:///{path}", reactor=reactor, wall=lambda: self.wall_s, now=lambda: self.now_s)


async def leave_at_once(store: Store, *, folded: bool = True) -> None:
    """
    End as a killed process does, as far as the files show it: without a last copy. `folded`: what was committed is in
    the file already, and not only in its log.
    """
    assert store.file is not None and store.backups is not None
    place = store.backups if folded else store.file.parent
    image = {each: each.read_bytes() for each in place.rglob("*") if each.is_file()}
    await store.close()
    for each in [each for each in place.rglob("*") if each.is_file()]:
        each.unlink()
    for each, content in image.items():
        each.write_bytes(content)


def copies(path: Path) -> list[str]:
    """The names of the copies, oldest first."""
    return sorted(each.name for each in Path(f"{path}.backups").glob("*.sqlite3"))


def kept_aside(path: Path) -> list[str]:
    """What was found damaged and kept."""
    return sorted(each.name for each in path.parent.glob("*.corrupt-*"))


class TestRestore:
    """R-DB-3."""

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
    @test
    async def test_everything_told_is_there_again(self, path: Path, damage: Callable[[Path], None]) -> None:
        """
        What the copy has and what came after it: new tasks, changes, deletions, playlists, settings, names of requests.
        """
        hours = Hours()
        store = hours.store(path)
        await store.open()
        for task_id in ("old", "changed", "deleted"):
            await store.insert(a_task(task_id))
        await store.record_segments("old", [a_segment(1)])
        hours.pass_by(EVERY_S)
        assert await store.back_up(deferToThread)
        changed = await store.replace(attrs.evolve(await store.load("changed"), status=Status.PAUSED, held="disk_full"))
        await store.delete("deleted")
        named = Creation(key="k", digest="d")
        await store.insert(a_task("new"), "#EXTM3U\n# 片段\n", creation=named)
        system = SystemSettings(settings=Settings(download_threads=7))
        await store.save_settings(system)
        told = max(event.id for event in await store.events())
        before = {task.id: task for task in await store.tasks()}
        assert changed == before["changed"]
        await leave_at_once(store)
        damage(path)
        original = path.read_bytes() if path.is_file() else None

        store = hours.store(path)
        await store.open()
        try:
            [notice] = store.notices
            assert isinstance(notice, DatabaseRestored) and copies(path)[0] in notice.text("en")
            for said in (notice.text("zh"), notice.text("en")):
                assert said.isprintable() and "***" not in said and not said.endswith("-")
            assert before == {task.id: task for task in await store.tasks()}
            assert "#EXTM3U\n# 片段\n" == await store.playlist_text("new")
            assert [a_segment(1)] == list((await store.segments("old")).values())
            assert system == await store.load_settings()
            assert "new" == await store.insert(a_task("again"), creation=named)
            with pytest.raises(IdempotencyConflict):
                await store.insert(a_task("again"), creation=attrs.evolve(named, digest="other"))
            paused = await store.replace(attrs.evolve(await store.load("old"), status=Status.PAUSED))
            [event] = [event for event in await store.events() if event.task_id == "old" and event.previous]
            assert (event.id > told, paused.status) == (True, Status.PAUSED)
            assert all(event.id > told for event in await store.events() if event.task_id == "new")
        finally:
            await store.close()
        assert bool(kept_aside(path)) is (damage is not damage_gone)
        if original is not None:
            assert original == (path.parent / kept_aside(path)[0]).read_bytes()

    @test
    async def test_the_name_of_a_request_outlives_its_task(self, path: Path) -> None:
        """Sent again after a restore, the request makes no second task though the first was deleted meanwhile."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        await store.insert(a_task("old"))
        hours.pass_by(EVERY_S)
        assert await store.back_up(deferToThread)
        named = Creation(key="k", digest="d")
        await store.insert(a_task("gone", created_at=5.0), creation=named)
        await store.delete("gone")
        await leave_at_once(store)
        damage_half(path)
        assert "gone" == await with_store(f"sqlite:///{path}", lambda store: store.created(named, now=6.0))
        late = 6.0 + KEPT_S
        assert "" == await with_store(f"sqlite:///{path}", lambda store: store.created(named, now=late))

    @test
    async def test_it_is_said_until_the_damaged_file_is_moved_away(self, path: Path) -> None:
        """Not only by the process that restored: a restart follows soon, and nobody may have looked."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        damage_half(path)

        async def notices(store: Store) -> list[str]:
            return [type(each).__name__ for each in store.notices]

        for _ in range(2):
            assert ["DatabaseRestored"] == await with_store(f"sqlite:///{path}", notices)
        (path.parent / kept_aside(path)[0]).unlink()
        assert [] == await with_store(f"sqlite:///{path}", notices)

    @test
    async def test_the_log_is_kept_with_the_damaged_file(self, path: Path) -> None:
        """Under names by which SQLite still knows them as belonging together; the restored one is not given the log."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        damage_first_page(path)
        Path(f"{path}-wal").write_bytes(b"a log")
        assert [a_task()] == await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        main, log = kept_aside(path)
        assert (f"{main}-wal", b"a log") == (log, (path.parent / log).read_bytes())

    @test
    async def test_a_damaged_copy_is_passed_over(self, path: Path) -> None:
        """The one before it and all changes since that one give the same."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        for number in range(3):
            await store.insert(a_task(f"t{number}"))
            hours.pass_by(EVERY_S)
            await store.back_up(deferToThread)
        await store.delete("t1")
        await leave_at_once(store)
        damage_one_page(path)
        for name in copies(path)[1:]:
            damage_half(Path(f"{path}.backups") / name)
        assert ["t0", "t2"] == [task.id for task in await with_store(f"sqlite:///{path}", lambda store: store.tasks())]
        assert 2 == len(list(Path(f"{path}.backups").glob("*.damaged")))
        for _ in range(KEPT):
            await with_store(f"sqlite:///{path}", lambda store: store.save_settings(SystemSettings()))
        assert [] == list(Path(f"{path}.backups").glob("*.damaged"))

    @test
    async def test_no_good_copy_at_all(self, path: Path) -> None:
        """The changes since there was a database make it again."""
        store = Hours().store(path)
        await store.open()
        await store.insert(a_task("a"))
        await store.insert(a_task("b"))
        await leave_at_once(store)
        damage_half(path)
        assert [] == copies(path)
        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        assert [a_task("a"), a_task("b")] == await store.tasks()
        [notice] = store.notices
        await store.close()
        assert "restored from the changes that were written down; the damaged file: /" in notice.text("en")
        assert "(-)" not in notice.text("zh")

    @test
    async def test_a_restore_that_was_cut_short(self, path: Path) -> None:
        """After each step on the way a crash leaves something that the next start finishes."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        [copy] = copies(path)
        for step in range(3):
            damage_half(path)
            Path(f"{path}.new").write_bytes(b"half a copy")  # as staging leaves it
            if step >= 1:
                path.rename(f"{path}.corrupt-by-step-{step}")
            if step >= 2:
                shutil.copyfile(Path(f"{path}.backups") / copy, f"{path}.new")
            assert [a_task()] == await with_store(f"sqlite:///{path}", lambda store: store.tasks())
            assert not Path(f"{path}.new").exists()

    @pytest.mark.parametrize("good", [1, 0])
    @test
    async def test_cut_short_behind_copies_that_were_damaged(self, path: Path, good: int) -> None:
        """The next start knows from which copy the database was made, and which changes it lacks."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        for number in range(2):
            await store.insert(a_task(f"t{number}"))
            hours.pass_by(EVERY_S)
            await store.back_up(deferToThread)
        await store.delete("t0")
        await store.save_settings(system := SystemSettings(settings=Settings(download_threads=7)))
        await leave_at_once(store)
        damage_one_page(path)
        for name in copies(path)[good:]:
            damage_half(Path(f"{path}.backups") / name)
        Backups(path, wall=lambda: STAMP_AT).restore(DatabaseDamaged(path=path, reason="a page"))
        if not good:  # an empty one is made for the changes, and they are not in it yet
            database = Database(f"sqlite:///{path}.made")
            database.open()
            database.close()
            Path(f"{path}.made").rename(path)
        for _ in range(2):  # and it is said until the damaged file is gone
            store = hours.store(path)
            await store.open()
            assert ["t1"] == [task.id for task in await store.tasks()]
            assert system == await store.load_settings()
            [notice] = store.notices
            assert isinstance(notice, DatabaseRestored) and kept_aside(path)[0] in notice.text("en")
            await store.close()

    @test
    async def test_damage_again_and_again(self, path: Path) -> None:
        """Damaged files do not fill the disk: the newest few are kept."""
        hours = Hours()
        for _ in range(KEPT + 2):
            store = hours.store(path)
            await store.open()
            await store.save_settings(SystemSettings())
            await store.close()
            damage_half(path)
            hours.pass_by(60)
        assert KEPT == len(kept_aside(path))

    @test
    async def test_a_schema_that_is_newer_is_no_damage(self, path: Path) -> None:
        """It is refused and left alone: no older copy takes its place."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE m3u8svc_schema SET version_num = '9999'")
        connection.close()
        with pytest.raises(Exception, match="newer version"):
            await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        assert [] == kept_aside(path)

    @test
    async def test_a_row_that_cannot_be_read_is_not_brought_back(self, path: Path) -> None:
        """It would make the list of all tasks unreadable."""
        store = Hours().store(path)
        await store.open()
        for task_id in ("a", "b"):
            await store.insert(a_task(task_id))
        await leave_at_once(store)
        log = Path(f"{path}.backups") / "00000000.changes"
        log.write_text(log.read_text().replace('"status":"WAITING"', '"status":"GONE"', 1))
        damage_half(path)
        assert ["b"] == [task.id for task in await with_store(f"sqlite:///{path}", lambda store: store.tasks())]


class TestLostLog:
    """SQLite opens a database whose log is gone or cut as if nothing was missing."""

    @pytest.mark.parametrize("loss", ["deleted", "cut"])
    @test
    async def test_commits_that_were_in_the_log(self, path: Path, loss: str) -> None:
        """They are made again, and that is said; what was deleted stays deleted."""
        store = Store(f"sqlite:///{path}", reactor=reactor)
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task("old")))
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task("deleted")))
        await store.open()
        await store.insert(a_task("new"), "#EXTM3U\n")
        changed = await store.replace(attrs.evolve(await store.load("old"), err_msg="x"))
        await store.delete("deleted")
        await leave_at_once(store, folded=False)
        log = Path(f"{path}-wal")
        log.unlink() if loss == "deleted" else os.truncate(log, 32)
        Path(f"{path}-shm").unlink()

        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        try:
            assert [(ChangesLost, 3)] == [(type(each), each.fields["count"]) for each in store.notices]
            assert {"new": a_task("new"), "old": changed} == {task.id: task for task in await store.tasks()}
            assert "#EXTM3U\n" == await store.playlist_text("new")
        finally:
            await store.close()

    @test
    async def test_a_crash_loses_nothing_and_says_nothing(self, path: Path) -> None:
        """A commit that was not written down any more, the end of a deletion, a torn line: all of them ordinary."""
        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        await store.insert(a_task("a"))
        await store.insert(a_task("b"))
        await store.replace(a_task("b", deleting=True))
        lines = (Path(f"{path}.backups") / "00000000.changes").read_bytes()
        await store.delete("b")
        ahead = await store.replace(attrs.evolve(await store.load("a"), size=7))
        await leave_at_once(store, folded=False)
        (Path(f"{path}.backups") / "00000000.changes").write_bytes(lines + b'{"task_id":"b","ro')

        store = Store(f"sqlite:///{path}", reactor=reactor)
        await store.open()
        try:
            assert ((), [ahead]) == (store.notices, await store.tasks(include_deleting=True))
            await store.insert(a_task("c"))
        finally:
            await store.close()
        assert b"ro{" not in (Path(f"{path}.backups") / "00000000.changes").read_bytes()


class TestCopies:
    """When copies are made, and which stay."""

    @test
    async def test_hourly_if_something_changed(self, path: Path) -> None:
        """The first at once, then after an hour in which something changed; three are kept, and what they need."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        try:
            made = []
            for hour in range(8):
                if hour not in (2, 3):
                    await store.insert(a_task(f"t{hour}"))
                made.append(await store.back_up(deferToThread))
                hours.pass_by(EVERY_S - 1)
                assert not await store.back_up(deferToThread)
                hours.pass_by(1)
            assert [True, True, False, False, True, True, True, True] == made
        finally:
            await store.close()
        assert [4, 5, 6] == [int(name[:8]) for name in copies(path)]
        logs = sorted(each.name for each in Path(f"{path}.backups").glob("*.changes"))
        assert [f"{number:08d}.changes" for number in (4, 5, 6)] == logs

    @test
    async def test_at_the_end_if_something_changed(self, path: Path) -> None:
        """A clean stop copies; a second one without a change in between does not."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        first = copies(path)
        await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        assert (1, first) == (len(first), copies(path))

    @test
    async def test_the_clock_is_set_back(self, path: Path) -> None:
        """A newer copy counts as the newest whatever the time of day says, and an hour stays an hour."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        await store.insert(a_task("a"))
        assert await store.back_up(deferToThread)
        hours.wall_s -= 86400.0
        await store.insert(a_task("b"))
        assert not await store.back_up(deferToThread)
        hours.now_s += EVERY_S
        assert await store.back_up(deferToThread)
        await leave_at_once(store)
        damage_half(path)
        Path(f"{path}.backups", "00000002.changes").unlink()
        assert ["a", "b"] == [task.id for task in await with_store(f"sqlite:///{path}", lambda store: store.tasks())]

    @test
    async def test_a_copy_is_one_file_that_nobody_else_reads(self, path: Path) -> None:
        """SQLite reads it without a log, and it holds what was committed when it was begun."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task()))
        copy = Path(f"{path}.backups") / copies(path)[0]
        connection = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
        found = connection.execute("SELECT id FROM tasks").fetchall()
        [mode] = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
        assert ([("t1",)], "delete", 0o600) == (found, mode, copy.stat().st_mode & 0o777)

    @test
    async def test_others_do_not_wait_for_it(self, path: Path) -> None:
        """While a copy is being made, tasks are read and stored; what comes meanwhile is in the changes after it."""
        hours = Hours()
        store = hours.store(path)
        await store.open()
        copying: Deferred[None] = Deferred()
        asked: list[Any] = []

        def in_thread(*call: Any) -> Deferred[Any]:
            asked.append(call)
            return copying

        await store.insert(a_task("a"))
        pending = Deferred.fromCoroutine(store.back_up(in_thread))
        while not asked:
            await store.tasks()
        await store.insert(a_task("b"))
        assert not pending.called
        [(function, number)] = asked
        await deferToThread(function, number)
        copying.callback(None)
        assert await pending
        await leave_at_once(store)
        damage_half(path)
        assert ["a", "b"] == [task.id for task in await with_store(f"sqlite:///{path}", lambda store: store.tasks())]

    @test
    async def test_a_damaged_database_does_not_replace_good_copies(self, path: Path) -> None:
        """The damage comes while we run: the copy is refused, those from before stay, the next start restores."""
        await with_store(f"sqlite:///{path}", lambda store: store.insert(a_task("a")))
        good = copies(path)
        hours = Hours()
        store = hours.store(path)
        await store.open()
        await store.insert(a_task("b"))
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (path.stat().st_size - 4096))
        hours.pass_by(EVERY_S)
        with pytest.raises(BackupFailed, match="damaged"):
            await store.back_up(deferToThread)
        assert good == copies(path)
        await leave_at_once(store)
        assert ["a", "b"] == [task.id for task in await with_store(f"sqlite:///{path}", lambda store: store.tasks())]

    @test
    async def test_a_copy_that_fails_is_tried_again(self, path: Path) -> None:
        """In ten minutes, though nothing changed since; no half copy stays."""
        hours = Hours()
        store = hours.store(path)
        await store.open()

        def failing(*call: Any) -> Deferred[Any]:
            (store.backups / "00000002-20231114T231320Z.sqlite3.part").write_bytes(b"somebody else's")
            return deferToThread(*call)

        try:
            await store.insert(a_task("a"))
            assert await store.back_up(deferToThread)
            hours.pass_by(EVERY_S)
            await store.insert(a_task("b"))
            with pytest.raises(BackupFailed, match="File exists"):
                await store.back_up(failing)
            assert [] == list(store.backups.glob("*.part"))
            hours.pass_by(RETRY_S - 1)
            assert not await store.back_up(deferToThread)
            hours.pass_by(1)
            assert await store.back_up(deferToThread)
        finally:
            await store.close()

    @test
    async def test_no_space_to_write_a_change_down(self, path: Path) -> None:
        """The change counts all the same, we say that it is not written down, and the next copy has it."""
        hours = Hours()
        folder = Path(f"{path}.backups")
        with memory_disk(folder, "2m"):
            store = hours.store(path)
            await store.open()
            await store.insert(a_task("a"))
            assert await store.back_up(deferToThread)
            filler = folder / "filler"
            fill(filler)
            await store.insert(a_task("b", err_msg="x" * 8192))
            assert isinstance(store.unwritten, BackupFailed) and "No space" in store.unwritten.text("en")
            filler.unlink()
            await store.insert(a_task("c"))
            assert None is not store.unwritten
            hours.pass_by(RETRY_S)
            assert await store.back_up(deferToThread)
            assert None is store.unwritten
            await leave_at_once(store)
            damage_half(path)
            found = await with_store(f"sqlite:///{path}", lambda store: store.tasks())
        assert ["a", "b", "c"] == [task.id for task in found]


def test_half_a_change_does_not_count_as_a_later_one(path: Path) -> None:
    """What a disk took of changes that it refused is not behind what is written down next."""
    log = ChangeLog(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            log.append([Change(task_id="a"), Change(task_id="b", row={"rev": 1}), Change(playlist="x" * 1000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    later = Change(task_id="b")
    log.append([later])
    log.close()
    assert [later] == list(read_changes(path))


def fill(path: Path) -> None:
    """Leave no space on a disk."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
