"""
Places in the file system: directories whose names are durable, and names that are taken without taking anybody else's.

All blocking: callers run these in threads.
"""

import ctypes
import errno
import os
from pathlib import Path

from m3u8svc.errors import NamesExhausted
from m3u8svc.tasks.names import numbered

TRIES = 10_000
"""How many names are tried before giving up (origin-semantics 2.4)."""
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
    What tells a file from every other, also under another name: device, inode, size and time of change. Blocking.
    """
    status = os.stat(path, follow_symlinks=False)
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def rename_without_replacing(source: Path, target: Path) -> None:
    """
    Rename, or raise FileExistsError: atomic, never over an existing file. Blocking.

    renameat2 where the kernel and file system have it; else a hard link, which fails the same way.
    """
    try:
        _renameat2(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        os.link(source, target, follow_symlinks=False)
        os.unlink(source)


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


def _renameat2(source: Path, target: Path) -> None:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
