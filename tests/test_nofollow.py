"""Paths walked without following a link, at any depth."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.nofollow import NEW_FILE, Folder, insist_on_no_link, open_file, read_file

DEEP = ("a", "b", "c")


def place(tmp_path: Path) -> Path:
    """Directories, with a file in the innermost; and beside them what must not be touched."""
    path = tmp_path.joinpath(*DEEP)
    path.mkdir(parents=True)
    (path / "file").write_text("mine")
    (tmp_path / "outside" / "b" / "c").mkdir(parents=True)
    (tmp_path / "outside" / "c").mkdir()
    for each in ("b/c/file", "c/file", "file"):
        (tmp_path / "outside" / each).write_text("theirs")
    return path


def replace_by_link(tmp_path: Path, depth: int) -> None:
    """Put a link in the place of one of the directories, to one that has the same below it."""
    path = tmp_path.joinpath(*DEEP[: depth + 1])
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "outside" / Path(*DEEP[1 : depth + 1]) if depth == 0 else tmp_path / "outside")


def traces(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells whether anything in a directory was touched."""
    found = {}
    for each in [folder, *folder.rglob("*")]:
        status = each.lstat()
        found[str(each)] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def do_things(path: Path) -> list[Callable[[], Any]]:
    """Everything that begins with a path."""

    def made() -> None:
        with Folder.at(path / "new" / "deep", made_with=0o700):
            pass

    return [
        lambda: read_file(path / "file").close(),
        lambda: os.close(open_file(path / "file", os.O_WRONLY | os.O_TRUNC)),
        lambda: os.close(open_file(path / "other", os.O_WRONLY | NEW_FILE)),
        lambda: Folder.at(path).close(),
        made,
        lambda: insist_on_no_link(path),
    ]


@pytest.mark.parametrize("depth", range(3))
@pytest.mark.parametrize("number", range(6))
def test_a_link_at_any_depth_is_refused(tmp_path: Path, depth: int, number: int) -> None:
    """Whatever is to be done, nothing happens behind it, and the error is always the same one."""
    path = place(tmp_path)
    replace_by_link(tmp_path, depth)
    before = traces(tmp_path / "outside")
    with pytest.raises(OSError) as caught:
        do_things(path)[number]()
    assert errno.ELOOP == caught.value.errno
    assert before == traces(tmp_path / "outside")


@pytest.mark.parametrize("number", range(6))
def test_without_links_everything_is_done(tmp_path: Path, number: int) -> None:
    """The same where there is none."""
    do_things(place(tmp_path))[number]()


def test_what_is_open_stays_what_it_is(tmp_path: Path) -> None:
    """A link put in its place later leads nobody anywhere: all is done where the directory is now."""
    path = place(tmp_path)
    with Folder.at(path) as folder:
        replace_by_link(tmp_path, 1)
        before = traces(tmp_path / "outside")
        with folder.create("new") as file:
            file.write(b"x")
        folder.rename("new", "file")
        folder.link("file", "second")
        folder.make("sub", 0o700)
        folder.remove("second")
        folder.remove_tree("sub")
        folder.sync()
        assert ["file"] == folder.names()
    assert before == traces(tmp_path / "outside")
    assert "x" == (tmp_path / "moved" / "c" / "file").read_text()


@pytest.mark.parametrize("target", ["file", "directory", "nowhere"])
def test_a_link_under_a_name(tmp_path: Path, target: str) -> None:
    """It is not opened, not made again, not emptied as a directory; removed or renamed over, it goes itself."""
    path = place(tmp_path)
    leads = {"file": "outside/file", "directory": "outside/c", "nowhere": "nowhere"}[target]
    before = traces(tmp_path / "outside")
    with Folder.at(path) as folder:
        (path / "link").symlink_to(tmp_path / leads)
        with pytest.raises(OSError) as caught:
            folder.read("link")
        assert errno.ELOOP == caught.value.errno
        with pytest.raises(OSError):
            folder.child("link")
        with pytest.raises(FileExistsError):
            folder.create("link")
        with pytest.raises(OSError) as caught:
            folder.remove_tree("link")
        assert errno.ELOOP == caught.value.errno
        assert folder.holds("link")
        folder.rename("file", "link")
        assert ["link"] == folder.names()
        folder.remove("link")
        folder.remove("link")
    assert before == traces(tmp_path / "outside")


def test_what_is_made_is_made_once(tmp_path: Path) -> None:
    """With its mode, and again it is only opened."""
    umask = os.umask(0)
    try:
        for _ in range(2):
            with Folder.at(tmp_path / "x" / "y", made_with=0o750) as folder:
                assert tmp_path / "x" / "y" == folder.path
    finally:
        os.umask(umask)
    assert [0o750] * 2 == [each.stat().st_mode & 0o777 for each in (tmp_path / "x", tmp_path / "x" / "y")]


def test_dots_do_not_lead_out(tmp_path: Path) -> None:
    """``..`` is refused: where it leads depends on where the directory is by now."""
    place(tmp_path)
    with pytest.raises(OSError) as caught:
        Folder.at(tmp_path / "a" / ".." / "outside")
    assert errno.ELOOP == caught.value.errno


def test_a_file_in_the_way_is_no_link(tmp_path: Path) -> None:
    """It is told from one."""
    path = place(tmp_path)
    for call in (lambda: Folder.at(path / "file"), lambda: read_file(path / "file" / "x")):
        with pytest.raises(NotADirectoryError):
            call()


def test_a_directory_that_cannot_be_listed_is_passed_through(tmp_path: Path) -> None:
    """Others' homes are such directories: they are only passed through."""
    path = place(tmp_path)
    (tmp_path / "a").chmod(0o711)
    with Folder.at(path) as folder:
        assert ["file"] == folder.names()


def test_descriptors_are_closed(tmp_path: Path) -> None:
    """Whatever happens."""
    path = place(tmp_path)
    before = os.listdir("/proc/self/fd")
    for call in [*do_things(path), lambda: Folder.at(path / "not there"), lambda: Folder.at(path / "file")]:
        try:
            call()
        except OSError:
            pass
    Folder.at(path).child("x", made_with=0o700)
    assert len(before) == len(os.listdir("/proc/self/fd"))
