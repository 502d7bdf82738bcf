"""The work directory: what is there after a crash, and that nothing else is."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock

from m3u8svc.errors import DiskError, UnsafePath
from m3u8svc.workdir import FLUSH_BYTES, HIGH_BYTES, SYNC_AFTER_S, Stored, WorkDir, _sync_batch, _write_all

IDENTITY = "0123456789ab"


def now(function: Any, *arguments: Any) -> Deferred[Any]:
    """`in_thread` without threads."""
    return maybeDeferred(function, *arguments)


class Slow:
    """
    `in_thread` whose calls end when they are told to.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Deferred[Any], Any, tuple[Any, ...]]] = []

    def __call__(self, function: Any, *arguments: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.calls.append((deferred, function, arguments))
        return deferred

    def step(self) -> None:
        deferred, function, arguments = self.calls.pop(0)
        maybeDeferred(function, *arguments).chainDeferred(deferred)


def result(coroutine: Any) -> Any:
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addCallbacks(outcome.append, lambda failure: failure.raiseException())
    return outcome[0]


def caught(coroutine: Any) -> BaseException:
    outcome: list[Any] = []
    Deferred.fromCoroutine(coroutine).addErrback(lambda failure: outcome.append(failure.value))
    return outcome[0]


def at(path: Path, *, in_thread: Any = now, clock: Clock | None = None, boot_id: str = "boot 1") -> WorkDir:
    return WorkDir(path, clock=clock or Clock(), in_thread=in_thread, boot_id=boot_id)


def keep(workdir: WorkDir, position: int, content: bytes) -> Stored:
    part = workdir.part(f"{position:08d}-{IDENTITY}")
    part.write(content)
    return result(workdir.keep(part, position, IDENTITY, "ts", modified_at=None))


def write_segment(workdir: WorkDir, position: int, content: bytes) -> Path:
    """A segment that is durable already."""
    path = workdir.segment_path(position, IDENTITY, "ts")
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_open_lists_finished_segments(tmp_path: Path) -> None:
    """Position, identity, kind and size are in the name and the file; init sections are listed by name."""
    workdir = at(tmp_path / "save" / ".m3u8svc" / "id")
    assert {} == result(workdir.open()).segments
    path = write_segment(workdir, 17, b"x" * 100)
    result(workdir.store_bytes(workdir.init_path("abcdefabcdef").name, b"init"))
    listing = result(at(workdir.path).open())
    stored = listing.segments[17, IDENTITY]
    assert (17, IDENTITY, "ts", path, 100) == (
        stored.position,
        stored.identity,
        stored.kind,
        stored.path,
        stored.size_bytes,
    )
    assert {"init-abcdefabcdef.mp4"} == listing.inits


def test_open_drops_parts_and_wrong_sizes(tmp_path: Path) -> None:
    """What an attempt left half-done goes, and so does a file whose size is not the one on record."""
    workdir = at(tmp_path / "w" / ".m3u8svc" / "id")
    result(workdir.open())
    good, bad = write_segment(workdir, 1, b"good"), write_segment(workdir, 2, b"cut")
    (workdir.path / "00000003-0123456789ab.part").write_bytes(b"half")
    listing = result(workdir.open({(1, IDENTITY): 4, (2, IDENTITY): 1000}))
    assert [(1, IDENTITY)] == list(listing.segments)
    assert good.exists() and not bad.exists()
    assert {good.name, "boot"} == set(os.listdir(workdir.path))


def test_open_follows_no_link(tmp_path: Path) -> None:
    """A link planted under a segment's name is not a segment: nothing is done beside it, and it is named."""
    workdir = at(tmp_path / "w" / ".m3u8svc" / "id")
    result(workdir.open())
    (tmp_path / "secret").write_bytes(b"secret")
    (workdir.path / f"00000001-{IDENTITY}.ts").symlink_to(tmp_path / "secret")
    assert isinstance(caught(workdir.open()), UnsafePath)
    assert b"secret" == (tmp_path / "secret").read_bytes()


def test_directories_are_private(tmp_path: Path) -> None:
    """Work directories and segments are their owner's alone."""
    workdir = at(tmp_path / "save" / ".m3u8svc" / "id")
    result(workdir.open())
    path = write_segment(workdir, 1, b"x")
    assert 0o700 == workdir.path.stat().st_mode & 0o777
    assert 0o600 == path.stat().st_mode & 0o777


def test_open_says_why_a_place_cannot_be_used(tmp_path: Path) -> None:
    """A file where a directory should be is a DiskError that names the path."""
    (tmp_path / "save").write_text("a file")
    error = caught(at(tmp_path / "save" / ".m3u8svc" / "id").open())
    assert isinstance(error, DiskError) and str(tmp_path / "save") in str(error)


def test_remove_takes_the_empty_folder_too(tmp_path: Path) -> None:
    """The last work directory takes its folder with it; another's stays."""
    one = at(tmp_path / ".m3u8svc" / "one")
    two = at(tmp_path / ".m3u8svc" / "two")
    result(one.open()), result(two.open())
    result(one.remove())
    assert two.path.is_dir()
    result(two.remove())
    assert not (tmp_path / ".m3u8svc").exists()
    result(two.remove())


def test_part_finish_is_a_rename(tmp_path: Path) -> None:
    """Until it is finished nothing has the final name; then the part is gone."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    part = workdir.part("x")
    part.write(b"a" * (FLUSH_BYTES + 1))
    assert {"x.part", "boot"} == set(os.listdir(workdir.path))
    part.write(b"b")
    assert FLUSH_BYTES + 2 == result(part.complete(workdir.path / "x", modified_at=1000.0))
    assert b"a" * (FLUSH_BYTES + 1) + b"b" == (workdir.path / "x").read_bytes()
    assert 1000.0 == (workdir.path / "x").stat().st_mtime
    assert {"x", "boot"} == set(os.listdir(workdir.path))


def test_part_discard_leaves_nothing(tmp_path: Path) -> None:
    """A given-up attempt leaves no file, also when nothing was written yet."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    for content in (b"", b"a" * FLUSH_BYTES * 2):
        part = workdir.part("x")
        part.write(content)
        result(part.discard())
        assert ["boot"] == os.listdir(workdir.path)


def test_part_asks_to_pause_when_the_disk_is_slow(tmp_path: Path) -> None:
    """With four MiB waiting for the disk the connection pauses, and goes on when they are written."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    slow = Slow()
    part = at(workdir.path, in_thread=slow).part("x")
    assert part.write(b"a" * FLUSH_BYTES) is None
    pause = part.write(b"b" * HIGH_BYTES)
    assert pause is not None and not pause.called
    slow.step()
    assert not pause.called
    slow.step()
    assert pause.called


def test_part_reports_a_full_disk(tmp_path: Path) -> None:
    """A failed write is raised at the next chunk, as our error."""
    part = at(tmp_path / "missing").part("x")
    part.write(b"a" * FLUSH_BYTES)
    with pytest.raises(DiskError):
        part.write(b"more")


def test_keep_is_readable_at_once_and_durable_later(tmp_path: Path) -> None:
    """A whole segment has its .new name until it is synced, then its final one besides; each is reported once."""
    clock = Clock()
    workdir = at(tmp_path / "a" / "b" / "c", clock=clock)
    result(workdir.open())
    stored = keep(workdir, 1, b"one")
    synced: list[Stored] = []
    syncing = Deferred.fromCoroutine(workdir.keep_syncing(synced.append))
    clock.pump([SYNC_AFTER_S / 8] * 4)
    assert b"one" == stored.path.read_bytes() and not stored.final.exists() and [] == synced
    clock.pump([SYNC_AFTER_S / 8] * 10)
    assert b"one" == stored.final.read_bytes() == stored.path.read_bytes()
    assert [stored] == synced
    syncing.addErrback(lambda failure: failure.trap(CancelledError))
    syncing.cancel()


def test_what_was_being_synced_when_it_was_stopped_is_told(tmp_path: Path) -> None:
    """The thread cannot be stopped: what it has made durable may stand on record, and nobody else would say so."""
    clock = Clock()
    result(at(tmp_path / "a" / "b" / "c").open())
    slow = Slow()
    workdir = at(tmp_path / "a" / "b" / "c", clock=clock, in_thread=slow)
    keeping = Deferred.fromCoroutine(workdir.keep(workdir.part("x"), 1, IDENTITY, "ts", modified_at=None))
    slow.step()
    synced: list[Stored] = []
    syncing = Deferred.fromCoroutine(workdir.keep_syncing(synced.append))
    syncing.addErrback(lambda failure: failure.trap(CancelledError))
    clock.pump([SYNC_AFTER_S / 8] * 10)
    syncing.cancel()
    assert [] == synced
    slow.step()
    assert [keeping.result] == synced


@pytest.mark.parametrize(("boot_id", "adopted"), [("boot 1", True), ("boot 2", False), ("", False)])
def test_unsynced_segments_outlive_the_process_not_the_machine(tmp_path: Path, boot_id: str, adopted: bool) -> None:
    """In the same boot a .new file is whole; after a restart of the machine nobody knows, so it is dropped."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    stored = keep(workdir, 1, b"one")
    listing = result(at(workdir.path, boot_id=boot_id).open())
    assert adopted == ((1, IDENTITY) in listing.segments) == stored.path.exists()


def test_a_segment_with_both_names_is_one(tmp_path: Path) -> None:
    """Killed between naming and cleaning up: the durable name counts, the other goes."""
    clock = Clock()
    workdir = at(tmp_path / "a" / "b" / "c", clock=clock)
    result(workdir.open())
    stored = keep(workdir, 1, b"one")
    os.link(stored.path, stored.final)
    listing = result(at(workdir.path).open())
    assert listing.segments[1, IDENTITY].synced
    assert not stored.path.exists()


def test_a_crash_while_clearing_does_not_vouch_for_another_boot(tmp_path: Path) -> None:
    """Ended among the files of the boot before: the next open in this boot still drops those that are left."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    stored = keep(workdir, 1, b"one")
    blocking = workdir.path / "00000000-blocking.part"
    blocking.mkdir()  # which unlink refuses, before it comes to the segment
    assert isinstance(caught(at(workdir.path, boot_id="boot 2").open()), DiskError)
    blocking.rmdir()
    assert {} == result(at(workdir.path, boot_id="boot 2").open()).segments
    assert not stored.path.exists()


def test_a_short_write_loses_nothing(tmp_path: Path) -> None:
    """A pipe takes less than it is given; everything still arrives, in order."""
    reader, writer = os.pipe()
    chunks = [bytes([number]) * 70_000 for number in range(20)]
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 1 << 16):
            received.extend(piece)

    thread = threading.Thread(target=read)
    thread.start()
    os.set_blocking(writer, True)
    _write_all(writer, chunks)
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(chunks) == bytes(received)


def test_a_failed_sync_is_never_asked_again(tmp_path: Path) -> None:
    """The kernel reports a lost page once: a segment whose sync failed is gone, so that it is fetched again."""
    clock = Clock()

    def failing(function: Any, *arguments: Any) -> Deferred[Any]:
        if function is _sync_batch:
            (tmp_path / "a" / "b" / "c" / f"00000002-{IDENTITY}.ts.new").unlink()  # its open fails, as its sync would
        return maybeDeferred(function, *arguments)

    workdir = at(tmp_path / "a" / "b" / "c", clock=clock, in_thread=failing)
    result(workdir.open())
    first, second = keep(workdir, 1, b"one"), keep(workdir, 2, b"two")
    assert isinstance(caught(workdir.sync_rest(lambda stored: None)), DiskError)
    assert not any(path.exists() for path in (first.path, first.final, second.path, second.final))


def test_sync_rest_waits_for_nobody(tmp_path: Path) -> None:
    """When a run ends everything whole becomes durable at once, and is told."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    stored = keep(workdir, 1, b"one")
    told: list[Stored] = []
    result(workdir.sync_rest(told.append))
    assert [stored] == told and b"one" == stored.final.read_bytes()


def test_discard_cancelled_twice_still_cleans_up(tmp_path: Path) -> None:
    """Pause, then delete: both cancel, and the second must not leave a file and a descriptor behind."""
    workdir = at(tmp_path / "a" / "b" / "c")
    result(workdir.open())
    slow = Slow()
    part = at(workdir.path, in_thread=slow).part("x")
    part.write(b"a" * FLUSH_BYTES)
    ending = Deferred.fromCoroutine(part.discard())
    ending.addErrback(lambda failure: failure.trap(CancelledError))
    ending.cancel()
    while slow.calls:
        slow.step()
    assert ["boot"] == os.listdir(workdir.path)
    assert part._fd == -1


def test_a_folder_taken_away_meanwhile_is_made_again(tmp_path: Path) -> None:
    """Tasks that begin and tasks that end share a folder: beginning never fails over its removal."""
    other, mine = at(tmp_path / "s" / ".m3u8svc" / "other"), at(tmp_path / "s" / ".m3u8svc" / "mine")
    result(other.open())
    failures: list[BaseException] = []
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            result(other.open())
            result(other.remove())

    thread = threading.Thread(target=come_and_go)
    thread.start()
    for _ in range(300):
        try:
            result(mine.open())
            result(mine.remove())
        except DiskError as error:
            failures.append(error)
    stop.set()
    thread.join()
    assert [] == failures
