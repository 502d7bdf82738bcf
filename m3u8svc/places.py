"""
Places in the file system: directories whose names are durable, and names that are taken without taking anybody else's.
Where results are saved no link is followed (see `nofollow`).

All blocking: callers run these in threads.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs

from m3u8svc.errors import NamesExhausted
from m3u8svc.nofollow import NEW_FILE, Folder, single
from m3u8svc.tasks.names import numbered

TRIES = 10_000
"""How many names are tried before giving up (origin-semantics 2.4)."""
Call = Callable[[], None]
"""A call of the system that gives a file another name, or raises OSError."""
_NOT_THERE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_RENAME_NOREPLACE = 1


def sync_directory(path: Path) -> None:
    """
    Make the names in a directory durable. Blocking.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int) -> None:
    """
    Make a directory and its parents, and make their names durable. An existing one is fine. Blocking.
    """
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path.parent == path:
            break
        path = path.parent
    for each in reversed(missing):
        each.mkdir(mode, exist_ok=True)
        sync_directory(each.parent)


def mount_point(path: Path) -> Path:
    """
    Where the file system is mounted that holds this path, which is there. Blocking.
    """
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path


def file_identity(path: Path) -> str:
    """
    What tells a file from the others of its directory, also under another name: inode, size and time of change.
    Blocking. The device's number is no part of it: btrfs and NFS give another one after a boot.
    """
    return identity_of(os.stat(path, follow_symlinks=False))


def identity_of(status: os.stat_result) -> str:
    """
    The same of a status.
    """
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def rename_without_replacing(
    here: Folder, source: str, there: Folder, target: str, *, rename: Call | None = None, link: Call | None = None
) -> None:
    """
    Rename, or raise FileExistsError: never over something that is there. Blocking.

    `rename` is renameat2, which file systems such as NFS lack. There a file gets a second name by `link`, which fails
    the same way; a directory, or a file where there are no links either, takes the name with something empty first
    and then replaces that.
    """
    names = _Names(here, source, there, target)
    try:
        (rename or names.rename_exclusively)()
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        if stat.S_ISDIR(here.status(source).st_mode):
            names.rename_directory()
        else:
            names.rename_file(link or names.link)


def publish_path(source: Path, directory: Path, name: str, extension: str) -> Path:
    """
    Move `source` to the first free name in `directory`; durable when it returns. Blocking.
    """
    with Folder.at(directory) as folder, Folder.at(source.parent) as here:
        if stat.S_ISLNK(here.status(source.name).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(source))
        for number in range(TRIES):
            target = f"{numbered(name, number)}{extension}"
            try:
                rename_without_replacing(here, source.name, folder, target)
            except FileExistsError:
                continue
            folder.sync()
            return directory / target
    raise NamesExhausted(name=name + extension)


@attrs.frozen
class _Names:
    """
    What is to be renamed, where it is and where it goes.
    """

    here: Folder
    source: str
    there: Folder
    target: str

    def rename_exclusively(self) -> None:
        """By renameat2."""
        try:
            call = ctypes.CDLL(None, use_errno=True).renameat2
        except AttributeError:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
        source, target = os.fsencode(single(self.source)), os.fsencode(single(self.target))
        if call(self.here.fileno(), source, self.there.fileno(), target, _RENAME_NOREPLACE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), self.target)

    def link(self) -> None:
        """A second name."""
        self.here.link(self.source, self.target, self.there)

    def rename_directory(self) -> None:
        """Over an empty one, which is ours."""
        self.there.make(self.target, 0o777)
        try:  # over an empty directory only: what somebody put in meanwhile makes it fail
            self.here.rename(self.source, self.target, self.there)
        except OSError:
            _give_back(lambda: self.there.remove_directory(self.target))
            raise

    def rename_file(self, link: Call) -> None:
        """By a second name, or over an empty file, which is ours."""
        try:
            link()
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._take_name()
        else:
            self.here.remove(self.source)

    def _take_name(self) -> None:
        os.close(self.there.open(self.target, os.O_WRONLY | NEW_FILE))
        try:
            self.here.rename(self.source, self.target, self.there)
        except OSError:
            _give_back(lambda: self.there.remove(self.target))
            raise


def _give_back(remove: Call) -> None:
    with contextlib.suppress(OSError):  # the rename's own error is the one to tell
        remove()
