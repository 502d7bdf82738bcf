"""
Places in the file system: directories whose names are durable, and names that are taken without taking anybody else's.

All blocking: callers run these in threads.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

from m3u8svc.errors import NamesExhausted
from m3u8svc.tasks.names import numbered

TRIES = 10_000
"""How many names are tried before giving up (origin-semantics 2.4)."""
Call = Callable[[Path, Path], None]
"""A call of the system that gives `source` the name `target`, or raises OSError."""
_NOT_THERE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


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


def file_identity(path: Path) -> str:
    """
    What tells a file from the others of its directory, also under another name: inode, size and time of change.
    Blocking. The device's number is no part of it: btrfs and NFS give another one after a boot.
    """
    status = os.stat(path, follow_symlinks=False)
    return f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def rename_without_replacing(
    source: Path, target: Path, *, rename: Call | None = None, link: Call | None = None
) -> None:
    """
    Rename, or raise FileExistsError: never over something that is there. Blocking.

    `rename` is renameat2, which file systems such as NFS lack. There a file gets a second name by `link`, which fails
    the same way; a directory, or a file where there are no links either, takes the name with something empty first
    and then replaces that.
    """
    try:
        (rename or _renameat2)(source, target)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        if source.is_dir() and not source.is_symlink():
            _rename_directory(source, target)
        else:
            _rename_file(source, target, link or _hard_link)


def publish_path(source: Path, directory: Path, name: str, extension: str) -> Path:
    """
    Move `source` to the first free name in `directory`; durable when it returns. Blocking.
    """
    for number in range(TRIES):
        target = directory / f"{numbered(name, number)}{extension}"
        try:
            rename_without_replacing(source, target)
        except FileExistsError:
            continue
        sync_directory(directory)
        return target
    raise NamesExhausted(name=name + extension)


def _rename_directory(source: Path, target: Path) -> None:
    target.mkdir()
    try:
        os.rename(source, target)  # over an empty directory only: what somebody put in meanwhile makes it fail
    except OSError:
        _give_back(target.rmdir)
        raise


def _rename_file(source: Path, target: Path, link: Call) -> None:
    try:
        link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _take_name(source, target)
    else:
        os.unlink(source)


def _take_name(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        os.replace(source, target)
    except OSError:
        _give_back(target.unlink)
        raise


def _give_back(remove: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # the rename's own error is the one to tell
        remove()


def _hard_link(source: Path, target: Path) -> None:
    os.link(source, target, follow_symlinks=False)


def _renameat2(source: Path, target: Path) -> None:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
