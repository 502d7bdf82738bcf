"""
The state directory: where the database and the lock are, and the one process that has it.

The lock is `flock` on a file that is never removed: it ends with the process, whatever ended it, and a fork keeps it.
The pid in the file is for people; it decides nothing.
"""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Self
from urllib.parse import quote

import attrs

from m3u8svc.config import default_home
from m3u8svc.errors import DiskError, HomeLocked, from_os_error
from m3u8svc.places import make_directory

_LOCK = "lock"


@attrs.frozen
class Home:
    """
    A state directory and what is where in it.
    """

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file, unless another database is configured."""
        return self.path / "m3u8svc.sqlite3"

    @property
    def database_url(self) -> str:
        """The same for `Store`."""
        return "sqlite:///" + quote(os.fsencode(self.database))

    @property
    def tokens(self) -> Path:
        """The file of the tokens."""
        return self.path / "tokens.json"

    @property
    def lock(self) -> Path:
        """The file whose lock is the right to use this directory."""
        return self.path / _LOCK


class HeldHome:
    """
    A state directory that this process has until `release`, or until it ends.
    """

    def __init__(self, home: Home, descriptor: int) -> None:
        self.home = home
        self._descriptor: int | None = descriptor

    def write_pid(self) -> None:
        """
        Say in the lock file who has it. Again after a fork: the child has the lock then.

        Raises:
            M3u8svcError: what the system says to it (`from_os_error`), such as that there is no room.
        """
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise from_os_error(error, self.home.lock) from error

    def release(self) -> None:
        """
        Let another process have it. Releasing twice is releasing once.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):  # a pid that stays in a file nobody has locked misleads nobody
                os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # not by closing alone: a forked child may have the file open too
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def open_home(path: Path | None = None) -> HeldHome:
    """
    Take the state directory `path` (the platform's default if None); made with mode 0700 if it is not there.

    Raises:
        HomeLocked: another process has it.
        DiskError: it is a symlink, is not ours, or others may write to it.
        M3u8svcError: whatever else the system says (`from_os_error`), such as that there is no room.
    """
    home = find_home(path or default_home())
    try:
        return _take(home)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DiskError(path=home.path, reason=os.strerror(errno.ELOOP)) from error
        raise from_os_error(error, home.path) from error


def find_home(path: Path) -> Home:
    """
    A state directory that another process may have, for what needs no lock; made if it is not there.

    Raises:
        M3u8svcError: as `open_home` does, without the lock.
    """
    try:
        home = Home(path.expanduser().absolute())
    except RuntimeError as error:  # the ~ of a user that there is not
        raise DiskError(path=path, reason=str(error)) from error
    try:
        if not os.path.lexists(home.path):
            make_directory(home.path, 0o700)
        _check(home.path)
    except OSError as error:
        raise from_os_error(error, home.path) from error
    return home


def _check(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise DiskError(path=path, reason="the state directory must not be a symbolic link")
    if not stat.S_ISDIR(found.st_mode):
        raise DiskError(path=path, reason="the state directory is not a directory")
    if found.st_uid != os.geteuid():
        raise DiskError(path=path, reason=f"the state directory belongs to user {found.st_uid}, not to {os.geteuid()}")
    if found.st_mode & 0o022:
        # Refused, not mended: somebody who names /tmp by mistake must not find it closed.
        mode = stat.S_IMODE(found.st_mode)
        raise DiskError(path=path, reason=f"others may write to the state directory (mode {mode:o}); use chmod 700")


def _take(home: Home) -> HeldHome:
    directory = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(_LOCK, flags, 0o600, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = HeldHome(home, descriptor)
        held.write_pid()
    except BlockingIOError:
        pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "?"
        os.close(descriptor)
        raise HomeLocked(path=home.path, pid=pid) from None
    except BaseException:  # whatever it was, the file must not stay open
        os.close(descriptor)
        raise
    return held
