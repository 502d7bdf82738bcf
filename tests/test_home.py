"""
The state directory on a real file system, with real processes that compete for it.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from m3u8svc.config import default_home
from m3u8svc.errors import DiskError, DiskFull, HomeLocked, M3u8svcError
from m3u8svc.home import Home, open_home
from m3u8svc.store.database import parse_database_url
from tests.needs import memory_disk, root

HOLDER = """
import sys
from pathlib import Path
from m3u8svc.home import open_home
held = open_home(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""

DAEMON = """
import os, sys
from pathlib import Path
from m3u8svc.home import open_home
held = open_home(Path(sys.argv[1]))
if os.fork():
    os._exit(0)
held.write_pid()
print(os.getpid(), flush=True)
sys.stdin.read()
"""


class TestLayout:
    """Where things are."""

    @pytest.mark.parametrize("name", ["state", "a b", "100%", "50%25", "what?#", "块😀", os.fsdecode(b"\xff\xfe")])
    def test_the_database_url_names_the_file(self, name: str) -> None:
        """Whatever characters a path has, the URL leads the store to the same file."""
        home = Home(Path("/srv") / name)
        assert f"/srv/{name}/m3u8svc.sqlite3" == parse_database_url(home.database_url).database

    def test_an_ordinary_url_is_readable(self) -> None:
        """An ordinary path is not encoded beyond need."""
        assert "sqlite:////srv/m/m3u8svc.sqlite3" == Home(Path("/srv/m")).database_url
        assert "sqlite" == make_url(Home(Path("/srv/m")).database_url).drivername

    def test_default(self) -> None:
        """The default is the platform's place for state, in a directory of our name."""
        assert ("m3u8svc", True) == (default_home().name, default_home().is_absolute())


class TestOpening:
    """Taking a directory."""

    def test_a_new_one_is_private(self, tmp_path: Path) -> None:
        """Made with its parents, 0700, the lock 0600 with our pid, whatever the umask."""
        umask = os.umask(0)
        try:
            with open_home(tmp_path / "a" / "b") as held:
                home = held.home
                modes = [each.stat().st_mode & 0o777 for each in (tmp_path / "a", home.path, home.lock)]
                pid = home.lock.read_text()
        finally:
            os.umask(umask)
        assert ([0o700, 0o700, 0o600], f"{os.getpid()}\n") == (modes, pid)

    def test_it_can_be_taken_again_after_release(self, tmp_path: Path) -> None:
        """Release gives it back, once however often it is called."""
        held = open_home(tmp_path / "home")
        held.release()
        held.release()
        held.write_pid()
        open_home(tmp_path / "home").release()

    def test_a_second_process_is_told_who_has_it(self, tmp_path: Path) -> None:
        """While a process has it nobody else gets it, and the error names path and pid; its kill -9 frees it."""
        home = tmp_path / "home"
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdin and holder.stdout
        with holder.stdin, holder.stdout:
            assert "held\n" == holder.stdout.readline()
            with pytest.raises(HomeLocked) as caught:
                open_home(home)
            assert {"path": home, "pid": str(holder.pid)} == caught.value.fields
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        open_home(home).release()

    def test_the_first_is_unharmed_by_the_second(self, tmp_path: Path) -> None:
        """A refused attempt neither takes the lock away nor changes what is written in it."""
        with open_home(tmp_path / "home") as held:
            for _ in range(2):
                with pytest.raises(HomeLocked, match=f"pid {os.getpid()}"):
                    open_home(tmp_path / "home")
            assert f"{os.getpid()}\n" == held.home.lock.read_text()

    def test_a_pid_that_cannot_be_written(self, tmp_path: Path) -> None:
        """It is told in our words, and what is taken can still be given back: the lock decides, not what is in it."""
        held = open_home(tmp_path / "home")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            with pytest.raises(M3u8svcError) as caught:
                held.write_pid()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert str(held.home.lock) in caught.value.text("en")
        held.release()
        open_home(tmp_path / "home").release()

    def test_a_fork_keeps_the_lock(self, tmp_path: Path) -> None:
        """A daemon whose parent took the lock and left has it, and its pid is there once it says so."""
        home = tmp_path / "home"
        daemon = subprocess.Popen(
            [sys.executable, "-c", DAEMON, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert daemon.stdin and daemon.stdout
        with daemon.stdin, daemon.stdout:
            pid = daemon.stdout.readline().strip()
            daemon.wait()
            assert pid != str(daemon.pid)
            with pytest.raises(HomeLocked, match=f"pid {pid}"):
                open_home(home)
            daemon.stdin.close()
            assert "" == daemon.stdout.read()  # it has ended
        open_home(home).release()

    def test_no_descriptor_leaks(self, tmp_path: Path) -> None:
        """Neither success nor refusal leaves a file open."""
        before = len(os.listdir("/proc/self/fd"))
        with open_home(tmp_path / "home"):
            for _ in range(3):
                with pytest.raises(HomeLocked):
                    open_home(tmp_path / "home")
        assert before == len(os.listdir("/proc/self/fd"))


def a_symlink(path: Path) -> None:
    (path.parent / "real").mkdir(0o700)
    path.symlink_to("real")


def a_dangling_symlink(path: Path) -> None:
    path.symlink_to("nowhere")


def a_file(path: Path) -> None:
    path.write_text("")


def below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


def open_to_others(path: Path) -> None:
    path.mkdir()
    path.chmod(0o1777)


def somebody_elses(path: Path) -> None:
    root("giving a directory away")
    path.mkdir(0o700)
    os.chown(path, 65534, 65534)


def a_lock_that_is_a_symlink(path: Path) -> None:
    path.mkdir(0o700)
    (path / "lock").symlink_to(path.parent / "victim")


class TestRefusals:
    """Directories we do not take."""

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (a_symlink, "must not be a symbolic link"),
            (a_dangling_symlink, "must not be a symbolic link"),
            (a_file, "is not a directory"),
            (below_a_file, "Not a directory|File exists"),
            (open_to_others, r"others may write .* \(mode 1777\)"),
            (somebody_elses, "belongs to user 65534"),
            (a_lock_that_is_a_symlink, "symbolic links"),
        ],
    )
    def test_refused(self, tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
        """The error names the directory and says what is wrong with it; nothing is made or changed."""
        (tmp_path / "in").mkdir()
        home = tmp_path / "in" / "home"
        make(home)
        before = sorted((str(each), each.lstat().st_mode) for each in tmp_path.rglob("*"))
        with pytest.raises(DiskError, match=reason) as caught:
            open_home(home)
        assert str(home) in str(caught.value)
        assert before == sorted((str(each), each.lstat().st_mode) for each in tmp_path.rglob("*"))

    def test_readable_by_others_is_taken(self, tmp_path: Path) -> None:
        """A directory that others may list, as service managers make them, is taken: the files in it are 0600."""
        tmp_path.chmod(0o755)
        open_home(tmp_path).release()


def test_a_full_disk(tmp_path: Path) -> None:
    """It says that it is full, as everywhere."""
    with memory_disk(tmp_path / "disk", "1m") as disk:
        disk.chmod(0o700)
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with pytest.raises(DiskFull):
            open_home(disk)
        (disk / "filler").unlink()
        open_home(disk).release()
