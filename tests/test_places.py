"""Publishing: a name is taken or it is not, and never anybody else's."""

import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.builtin.disk import DiskStorage
from m3u8svc.hookspecs import MediaFile
from m3u8svc.kept import find_kept, forget_kept, keep_segments
from m3u8svc.places import file_identity, publish_path, rename_without_replacing
from m3u8svc.tasks.task import Settings, Task, TaskSpec


def test_rename_without_replacing_keeps_what_is_there(tmp_path: Path) -> None:
    """An existing file wins."""
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(FileExistsError):
        rename_without_replacing(tmp_path / "a", tmp_path / "b")
    assert "theirs" == (tmp_path / "b").read_text()
    assert (tmp_path / "a").exists()


def test_publish_path_takes_the_first_free_name(tmp_path: Path) -> None:
    """movie.mp4 exists, movie_0001.mp4 is a dangling link: it becomes movie_0002.mp4."""
    (tmp_path / "movie.mp4").write_text("theirs")
    (tmp_path / "movie_0001.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".part").write_text("mine")
    assert tmp_path / "movie_0002.mp4" == publish_path(tmp_path / ".part", tmp_path, "movie", ".mp4")
    assert "theirs" == (tmp_path / "movie.mp4").read_text()
    assert not (tmp_path / "nowhere").exists()


def now(function: Any, *arguments: Any) -> Deferred[Any]:
    return maybeDeferred(function, *arguments)


def result(coroutine: Any) -> Any:
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addCallbacks(found.append, lambda failure: failure.raiseException())
    return found[0]


def test_disk_storage_recognises_its_own_file_after_a_crash(tmp_path: Path) -> None:
    """Recorded before the rename, the file's identity finds it afterwards, also behind a taken name."""
    spec = TaskSpec(url="http://h/a.m3u8", filename="movie", settings=Settings(save_location=str(tmp_path)))
    task, storage = Task(id="abc", spec=spec), DiskStorage(now)
    (tmp_path / "movie.mp4").write_text("theirs")
    staged = storage.staging(task, "movie", ".mp4")
    assert staged.name.startswith(".") and tmp_path == staged.parent
    staged.write_text("ours")
    known = attrs.evolve(task, output_id=file_identity(staged))
    assert result(storage.recover(task, "movie", ".mp4")) is None
    assert result(storage.recover(known, "movie", ".mp4")) is None
    published = result(storage.publish(known, staged, "movie", ".mp4"))
    assert str(tmp_path / "movie_0001.mp4") == published == result(storage.recover(known, "movie", ".mp4"))


def files(work: Path) -> list[MediaFile]:
    work.mkdir()
    (work / "i").write_bytes(b"init")
    made = []
    for position in (1, 2, 4):
        path = work / f"s{position}"
        path.write_bytes(b"x" * position)
        made.append(
            MediaFile(position=position, path=path, kind="fmp4", duration_s=2.0, init=work / "i", size_bytes=position)
        )
    return made


def test_keep_segments_makes_a_directory_that_plays(tmp_path: Path) -> None:
    """Segments by number, init sections, a file list, a playlist with a discontinuity where one is missing."""
    kept = keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1")
    assert tmp_path / "movie" == kept.path
    assert 7 == kept.size_bytes
    assert {"00001.m4s", "00002.m4s", "00004.m4s", "init-1.mp4", "index.m3u8", "filelist.txt"} == set(
        os.listdir(kept.path)
    )
    assert "file 00001.m4s\nfile 00002.m4s\nfile 00004.m4s\n" == (kept.path / "filelist.txt").read_text()
    playlist = (kept.path / "index.m3u8").read_text().splitlines()
    assert ["#EXT-X-DISCONTINUITY", "#EXTINF:2.000000,", "00004.m4s", "#EXT-X-ENDLIST"] == playlist[-4:]
    assert 1 == playlist.count('#EXT-X-MAP:URI="init-1.mp4"')


def test_keep_segments_recognises_its_own_work(tmp_path: Path) -> None:
    """A second run of the same task finds the directory; another task's gets a number."""
    made = files(tmp_path / "work")
    first = keep_segments(made, tmp_path, "movie", "id1")
    assert first == keep_segments(made, tmp_path, "movie", "id1")
    assert tmp_path / "movie_0001" == keep_segments(made, tmp_path, "movie", "id2").path
    assert tmp_path / "movie_0001" == find_kept(tmp_path, "movie", "id2")
    assert find_kept(tmp_path, "movie", "id3") is None


def test_keep_segments_replaces_a_half_made_directory(tmp_path: Path) -> None:
    """What a crash left under the hidden name is made anew."""
    (tmp_path / ".id1.part.segments").mkdir()
    (tmp_path / ".id1.part.segments" / "junk").write_text("half")
    assert "junk" not in os.listdir(keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1").path)
    (tmp_path / ".id1.part.segments").mkdir()
    forget_kept(tmp_path, "id1")
    assert not (tmp_path / ".id1.part.segments").exists()
