"""
Results that are opened: only what the task made.
"""

import os
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from m3u8svc.errors import FileGone, NoPermission
from m3u8svc.places import file_identity
from m3u8svc.results import ResultFile, open_result
from tests import needs


def at_once(work, *arguments):  # type: ignore[no-untyped-def]
    """A thread that is done before anybody waits for it."""
    return succeed(work(*arguments))


def opened(path: Path, identity: str) -> ResultFile:
    return open_result(str(path), identity, at_once)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A result."""
    path = tmp_path / "folder" / "film.mp4"
    path.parent.mkdir()
    path.write_bytes(b"0123456789")
    return path


def read(file: ResultFile, start: int, count: int) -> bytes:
    """What is there, without waiting."""
    found: list[bytes] = []
    ensureDeferred(file.read(start, count)).addCallback(found.append)
    [piece] = found
    return piece


def test_a_result(film: Path) -> None:
    """What it is called and holds, also after its name is gone; closed, it stays closed."""
    file = opened(film, file_identity(film))
    film.unlink()
    assert ("film.mp4", 10, b"34") == (file.name, file.size_bytes, read(file, 3, 2))
    file.close()
    file.close()


def test_the_same_file_under_another_number(film: Path) -> None:
    """Some file systems give a file another inode whenever they are mounted."""
    _, _, rest = file_identity(film).partition(":")
    assert 10 == opened(film, f"99999:{rest}").size_bytes


def swap_for_a_link(film: Path) -> None:
    film.rename(film.with_name("original"))
    film.symlink_to("original")


def swap_the_folder_for_a_link(film: Path) -> None:
    film.parent.rename(film.parent.with_name("elsewhere"))
    film.parent.symlink_to("elsewhere")


def swap_for_a_file(film: Path) -> None:
    film.write_bytes(b"9876543210")
    os.utime(film, (1, 1))


def swap_for_a_longer_one(film: Path) -> None:
    found = film.stat()
    film.write_bytes(b"01234567890")
    os.utime(film, ns=(found.st_atime_ns, found.st_mtime_ns))


def swap_for_a_directory(film: Path) -> None:
    film.unlink()
    film.mkdir()


def swap_for_a_pipe(film: Path) -> None:
    film.unlink()
    os.mkfifo(film)


def swap_the_folder_for_a_file(film: Path) -> None:
    film.unlink()
    film.parent.rmdir()
    film.parent.touch()


@pytest.mark.parametrize(
    "change",
    [
        Path.unlink,
        swap_for_a_link,
        swap_the_folder_for_a_link,
        swap_for_a_file,
        swap_for_a_longer_one,
        swap_for_a_directory,
        swap_for_a_pipe,
        swap_the_folder_for_a_file,
    ],
)
def test_what_is_not_our_result_any_more(film: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Whatever has its name now is not sent, and nothing stays open."""
    identity = file_identity(film)
    change(film)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileGone, match="film.mp4"):
        opened(film, identity)
    assert before == len(os.listdir("/proc/self/fd"))


def test_a_pipe_with_the_identity_of_a_result(film: Path) -> None:
    """It is no file, whatever it looks like."""
    film.unlink()
    os.mkfifo(film)
    with pytest.raises(FileGone):
        opened(film, file_identity(film))


def test_a_file_that_became_shorter(film: Path) -> None:
    """What is missing is an error, not an end."""
    file = opened(film, file_identity(film))
    os.truncate(film, 2)
    failures: list[object] = []
    Deferred.fromCoroutine(file.read(5, 2)).addErrback(failures.append)
    assert [FileGone] == [failure.type for failure in failures]  # type: ignore[attr-defined]


def test_a_file_that_may_not_be_read(film: Path) -> None:
    """That is a matter of permission, and says so."""
    identity = file_identity(film)
    film.chmod(0)
    with needs.no_rights(), pytest.raises(NoPermission):
        opened(film, identity)
