"""
What is written down of a task's playlists: when it is durable, and what goes when they are other ones.
"""

import errno
import os
import resource
from pathlib import Path

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock

from m3u8svc.errors import TooManyFiles
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import init_identity, segment_identity
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.refresh import MEMORY, Memory
from m3u8svc.tasks.remembered import write_presentation
from m3u8svc.testing.playlists import MapLine, SegmentLine, media_playlist
from m3u8svc.workdir import Listing, WorkDir

COUNT = 3


def presentation(token: str = "old", *, length_s: float = 6.0, count: int = COUNT) -> Presentation:
    lines = [SegmentLine(uri=f"{n}.m4s?t={token}", duration_s=length_s) for n in range(count)]
    lines[0] = attrs.evolve(lines[0], map=MapLine(uri="init.mp4"))
    parsed = parse_playlist(media_playlist(lines), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Presentation(streams=(Stream(track=MAIN, playlist=parsed),))


class Folder:
    """A work directory with all that was fetched of a presentation, and what is remembered of it."""

    def __init__(self, path: Path, first: Presentation) -> None:
        self.workdir = WorkDir(path / "work", clock=Clock(), in_thread=maybeDeferred, boot_id="boot")
        self.memory = Memory(self.workdir)
        self.workdir.path.mkdir()
        for segment in first.main.segments:
            identity = segment_identity(segment)
            self.workdir.segment_path(segment.position, identity, "fmp4").write_bytes(b"x")
            (self.workdir.path / f"{segment.position:08d}-{identity}.look").write_bytes(b"{}")
        init = first.main.segments[0].init
        assert init is not None
        self.workdir.init_path(init_identity(init)).write_bytes(b"x")
        done(self.memory.keep(write_presentation(first)))
        self.listing: Listing = done(self.workdir.open())

    def reconciled(self, now: Presentation) -> Listing:
        """What a run does that finds this presentation."""
        found = done(self.memory.recollect(now, write_presentation(now), self.listing))
        listing: Listing = done(self.memory.forget(found, self.listing))
        done(self.memory.keep(write_presentation(now)))
        return listing

    def kinds(self) -> list[str]:
        """The files that are there, by what they are."""
        return sorted(name if name == MEMORY else name.partition("-")[0] + Path(name).suffix for name in self._names())

    def _names(self) -> list[str]:
        return [name for name in os.listdir(self.workdir.path) if name != "boot"]


def done(coroutine):  # type: ignore[no-untyped-def]  # whatever it gives
    """The result of what needs no time."""
    results: list[object] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    [result] = results
    return result


def test_nothing_goes_while_the_list_is_the_same(tmp_path: Path) -> None:
    """Files, looks and init section stay."""
    folder = Folder(tmp_path, presentation())
    before = folder.kinds()
    assert folder.listing == folder.reconciled(presentation("new"))
    assert before == folder.kinds()


def test_a_list_cut_anew_takes_all_of_the_old_one_along(tmp_path: Path) -> None:
    """Init sections, too: under the same name they have other bytes now; and what was seen in segments."""
    folder = Folder(tmp_path, presentation())
    listing = folder.reconciled(presentation(length_s=5.0))
    assert ({}, frozenset()) == (listing.segments, listing.inits)
    assert [MEMORY] == folder.kinds()


def test_a_shorter_list_takes_its_end_along(tmp_path: Path) -> None:
    """What is not in it any more."""
    folder = Folder(tmp_path, presentation())
    listing = folder.reconciled(presentation(count=2))
    assert ([1, 2], 1) == (sorted(position for position, _ in listing.segments), len(listing.inits))
    assert ["00000001.fmp4", "00000001.look", "00000002.fmp4", "00000002.look", "init.mp4", MEMORY] == folder.kinds()


def test_the_last_list_is_the_one_that_counts(tmp_path: Path) -> None:
    """A third run compares with the second."""
    folder = Folder(tmp_path, presentation())
    folder.reconciled(presentation(length_s=5.0))
    found = done(folder.memory.recollect(presentation(), write_presentation(presentation()), folder.listing))
    assert found.remade


@pytest.mark.parametrize("damage", ["directory", "link to a directory", "link to itself"])
def test_what_cannot_be_read_is_as_good_as_none_and_is_replaced(tmp_path: Path, damage: str) -> None:
    """Whatever came to stand there; nothing outside is touched."""
    folder, outside = Folder(tmp_path, presentation()), tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    path = folder.workdir.path / MEMORY
    path.unlink()
    if damage == "directory":
        (path / "sub").mkdir(parents=True)
    else:
        path.symlink_to(outside if damage == "link to a directory" else path)
    assert folder.listing == folder.reconciled(presentation())
    assert path.is_file() and (outside / "sub").is_dir()
    assert done(folder.memory.recollect(presentation(), path.read_bytes(), folder.listing)).same


@pytest.mark.parametrize("call", ["exists", "recollect"])
def test_a_process_without_descriptors_has_no_damaged_memory(tmp_path: Path, call: str) -> None:
    """The task is held until there are some, and keeps what it has."""
    workdir = WorkDir(tmp_path, clock=Clock(), in_thread=lambda *call: fail(OSError(errno.EMFILE, "x")), boot_id="b")
    memory, nothing = Memory(workdir), Listing(segments={}, inits=frozenset())
    asked = memory.exists() if call == "exists" else memory.recollect(presentation(), b"", nothing)
    assert isinstance(done(asked).value, TooManyFiles)


def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_not_damaged(tmp_path: Path) -> None:
    """It is not taken for nonsense, and stays."""
    folder = Folder(tmp_path, presentation())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        failure = done(folder.memory.recollect(presentation(), b"", folder.listing))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(failure.value, TooManyFiles)
    assert done(folder.memory.exists())


def test_without_memory_names_decide_alone(tmp_path: Path) -> None:
    """Work directories of earlier versions have none: what is there is used as it was."""
    folder = Folder(tmp_path, presentation())
    (folder.workdir.path / MEMORY).unlink()
    assert not done(folder.memory.exists())
    assert folder.listing == folder.reconciled(presentation(length_s=5.0))
    assert done(folder.memory.exists())
