"""Publishing: a name is taken or it is not, and never anybody else's."""

import errno
import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.builtin.disk import DiskStorage
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist
from m3u8svc.kept import bring_back, find_kept, forget_kept, keep_segments, remove_kept
from m3u8svc.nofollow import Folder
from m3u8svc.offerings import MediaFile, Published, TrackInfo
from m3u8svc.places import file_identity, publish_path, rename_without_replacing
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.task import Settings, Task, TaskSpec


def renamed(source: Path, target: Path, **lacking: Any) -> None:
    """Rename by the directories of both."""
    with Folder.at(source.parent) as here, Folder.at(target.parent) as there:
        rename_without_replacing(here, source.name, there, target.name, **lacking)


def test_rename_without_replacing_keeps_what_is_there(tmp_path: Path) -> None:
    """An existing file wins."""
    (tmp_path / "a").write_text("mine")
    (tmp_path / "b").write_text("theirs")
    with pytest.raises(FileExistsError):
        renamed(tmp_path / "a", tmp_path / "b")
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
    expected = Published(location=str(tmp_path / "movie_0001.mp4"), size_bytes=4, local=True)
    assert expected == published == result(storage.recover(known, "movie", ".mp4"))


NAMES = ("index.m3u8", "audio1.m3u8", "master.m3u8")


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


def test_keep_segments_of_renditions_play_together(tmp_path: Path) -> None:
    """Each rendition has its own names and playlist; a multivariant playlist joins them; all of it is removed again."""
    made = files(tmp_path / "work")
    (tmp_path / "work" / "a").write_bytes(b"aac")
    (tmp_path / "work" / "j").write_bytes(b"init of the audio")
    made.append(
        attrs.evolve(
            made[0],
            track="audio1",
            path=tmp_path / "work" / "a",
            init=tmp_path / "work" / "j",
            kind="aac",
            size_bytes=3,
        )
    )
    tracks = (
        TrackInfo(track="main", kind="main"),
        TrackInfo(track="audio1", kind="audio", language="de", name='Te"il\n1', default=True),
    )
    kept = keep_segments(made, tmp_path, "movie", "id1", tracks)
    assert 10 == kept.size_bytes
    assert b"aac" == (kept.path / "audio1-00001.aac").read_bytes()
    main, audio = (parse_playlist((kept.path / name).read_bytes(), f"http://h/{name}") for name in NAMES[:2])
    assert isinstance(main, MediaPlaylist) and isinstance(audio, MediaPlaylist)
    assert (3, 1) == (len(main.segments), len(audio.segments))
    assert "http://h/init-2.mp4" == (audio.segments[0].init and audio.segments[0].init.uri)
    master = parse_playlist((kept.path / NAMES[2]).read_bytes(), "http://h/master.m3u8")
    assert isinstance(master, MasterPlaylist)
    assert ["http://h/index.m3u8"] == [each.uri for each in master.variants]
    [rendition] = master.renditions
    assert ("de", "Teil1", True, "http://h/audio1.m3u8") == (
        *(rendition.language, rendition.name, rendition.default),
        rendition.uri,
    )
    remove_kept(kept.path)
    assert not kept.path.exists()


def test_keep_segments_recognises_its_own_work(tmp_path: Path) -> None:
    """A second run of the same task finds the directory; another task's gets a number."""
    made = files(tmp_path / "work")
    first = keep_segments(made, tmp_path, "movie", "id1")
    assert first == keep_segments(made, tmp_path, "movie", "id1")
    assert tmp_path / "movie_0001" == keep_segments(made, tmp_path, "movie", "id2").path
    assert tmp_path / "movie_0001" == find_kept(tmp_path, "movie", "id2")
    assert find_kept(tmp_path, "movie", "id3") is None


def test_a_playlist_in_another_encoding_is_not_ours(tmp_path: Path) -> None:
    """Somebody's directory of the same name is passed over, whatever bytes are in it."""
    (tmp_path / "movie").mkdir()
    (tmp_path / "movie" / "index.m3u8").write_bytes("#EXTM3U\n# 电影\n".encode("gbk"))
    assert find_kept(tmp_path, "movie", "id1") is None
    assert tmp_path / "movie_0001" == keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1").path


def test_a_lost_list_is_written_again(tmp_path: Path) -> None:
    """A kept directory without its list of files is completed."""
    made = files(tmp_path / "work")
    kept = keep_segments(made, tmp_path, "movie", "id1").path
    before = (kept / "filelist.txt").read_text()
    (kept / "filelist.txt").unlink()
    assert kept == keep_segments(made, tmp_path, "movie", "id1").path
    assert before == (kept / "filelist.txt").read_text()


def test_what_is_copied_back_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no links between the two places: a run after a power cut believes in that name."""
    made = files(tmp_path / "work")
    kept = keep_segments(made, tmp_path, "movie", "id1").path
    line = {"track": "main", "position": 1, "number": 1, "start_s": 0.0, "duration_s": 1.0, "splice": 0}
    digest = hashlib.sha256(made[0].path.read_bytes()).hexdigest()
    line |= {"outcome": "done", "identity": "0123456789ab", "sha256": digest}
    report = Report(summary=json.dumps({"inits": {}}), segments=zlib.compress(f"[\n{json.dumps(line)}\n]".encode()))
    target = tmp_path / "again" / f"00000001-0123456789ab.{made[0].kind}"
    done: list[str] = []

    def no_link(source: Path, to: Path, **among: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    def fsync(descriptor: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert not target.exists()

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "fsync", fsync)
    assert [] == bring_back(kept, report, target.parent)
    assert made[0].path.read_bytes() == target.read_bytes()
    assert f"{target}.part" in done


def test_keep_segments_replaces_a_half_made_directory(tmp_path: Path) -> None:
    """What a crash left under the hidden name is made anew."""
    (tmp_path / ".id1.part.segments").mkdir()
    (tmp_path / ".id1.part.segments" / "junk").write_text("half")
    assert "junk" not in os.listdir(keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1").path)
    (tmp_path / ".id1.part.segments").mkdir()
    forget_kept(tmp_path, "id1")
    assert not (tmp_path / ".id1.part.segments").exists()


def test_remove_kept_takes_only_what_we_made(tmp_path: Path) -> None:
    """What somebody put there stays, also when an edited list names it or something outside; the rest goes."""
    kept = keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1").path
    (kept / "notes.txt").write_text("mine")
    (kept / "init-9.mp4").write_text("mine")
    (tmp_path / "00009.ts").write_text("mine")
    with open(kept / "filelist.txt", "a") as listed:
        listed.write("file notes.txt\nfile ../00009.ts\nfile /etc/00001.ts\n")
    remove_kept(kept)
    assert {"notes.txt", "init-9.mp4"} == set(os.listdir(kept))
    assert (tmp_path / "00009.ts").exists()


def test_remove_kept_removes_a_directory_that_is_all_ours(tmp_path: Path) -> None:
    """Nothing is left; again is no error; a directory without our lists is left alone."""
    kept = keep_segments(files(tmp_path / "work"), tmp_path, "movie", "id1").path
    remove_kept(kept)
    remove_kept(kept)
    assert not kept.exists()
    kept.mkdir()
    (kept / "00001.ts").write_text("mine")
    remove_kept(kept)
    assert ["00001.ts"] == os.listdir(kept)


def test_kept_files_are_readable_by_others(tmp_path: Path) -> None:
    """Init sections too, whatever the mode in the work directory."""
    made = files(tmp_path / "work")
    for path in (tmp_path / "work").iterdir():
        path.chmod(0o600)
    kept = keep_segments(made, tmp_path, "movie", "id1").path
    assert {0o644} == {entry.stat().st_mode & 0o777 for entry in kept.iterdir()}


# -- File systems that lack something --------------------------------------------------------------------------------


def refuse(code: int) -> Callable[[], None]:
    """A call of the system that a file system does not have."""

    def call() -> None:
        raise OSError(code, os.strerror(code))

    return call


NFS = {"rename": refuse(errno.EINVAL)}
NO_LINKS = {**NFS, "link": refuse(errno.EPERM)}
NOR_THESE = {**NFS, "link": refuse(errno.EOPNOTSUPP)}


@pytest.mark.parametrize("lacking", [{}, NFS, NO_LINKS, NOR_THESE], ids=["nothing", "rename", "links", "these"])
@pytest.mark.parametrize("kind", ["file", "directory"])
class TestLackingFileSystem:
    """Without renameat2, and without hard links."""

    def source(self, folder: Path, kind: str) -> Path:
        """Something to rename, with `mine` in it."""
        source = folder / "source"
        if kind == "directory":
            source.mkdir()
        (source / "inside" if kind == "directory" else source).write_text("mine")
        return source

    def test_a_free_name_is_taken(self, tmp_path: Path, kind: str, lacking: dict[str, Any]) -> None:
        """It is the same file afterwards, and there is only one name."""
        source, target = self.source(tmp_path, kind), tmp_path / "target"
        identity = file_identity(source)
        renamed(source, target, **lacking)
        assert (identity, ["target"]) == (file_identity(target), os.listdir(tmp_path))
        assert "mine" == (target / "inside" if kind == "directory" else target).read_text()

    @pytest.mark.parametrize("taken_by", ["file", "directory", "link"])
    def test_a_taken_name_is_left(self, tmp_path: Path, kind: str, lacking: dict[str, Any], taken_by: str) -> None:
        """By whatever it is taken, also by an empty directory or a link that leads nowhere."""
        source, target = self.source(tmp_path, kind), tmp_path / "target"
        match taken_by:
            case "file":
                target.write_text("theirs")
            case "directory":
                target.mkdir()
            case _:
                target.symlink_to(tmp_path / "nowhere")
        before = file_identity(target)
        with pytest.raises(FileExistsError):
            renamed(source, target, **lacking)
        assert (before, {"source", "target"}) == (file_identity(target), set(os.listdir(tmp_path)))


def test_other_errors_are_not_gone_around(tmp_path: Path) -> None:
    """Where the system says no for another reason, nothing else is tried."""
    (tmp_path / "source").write_text("mine")
    for refused in ({"rename": refuse(errno.EACCES)}, {**NFS, "link": refuse(errno.EIO)}):
        with pytest.raises(OSError):
            renamed(tmp_path / "source", tmp_path / "target", **refused)
    assert ["source"] == os.listdir(tmp_path)


def test_the_device_is_no_part_of_an_identity(tmp_path: Path) -> None:
    """Its number may be another one after a boot; everything else that tells the file is in it."""
    (tmp_path / "file").write_text("four")
    found = (tmp_path / "file").stat()
    assert f"{found.st_ino}:4:{found.st_mtime_ns}" == file_identity(tmp_path / "file")
