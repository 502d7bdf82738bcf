"""
Files and directories, reached without following a symbolic link at any depth (R-PATH-3).

Others may write where results are saved: a link that they put in the place of a directory or file would lead us out of
it. So a path is walked component by component, each opened relative to the one before; what is done then is done to the
directory that was reached, whatever its name leads to by now. Whoever meets a link gets OSError with `errno.ELOOP`,
also where the system would say that it is no directory. Blocking, and imports nothing: the muxing child uses it, too.
"""

import contextlib
import errno
import os
import shutil
import stat
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC
_PASSING = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | _PLAIN
"""A directory on the way need not be readable."""
_LISTING = os.O_RDONLY | os.O_DIRECTORY | _PLAIN
NEW_FILE = os.O_CREAT | os.O_EXCL | _PLAIN


class Folder:
    """
    A directory that is open. Names are single components in it, and any other is refused as a link would be. Closed by
    `close`, by ``with``, or with the object.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def at(cls, path: Path, *, made_with: int | None = None) -> Self:
        """
        Open the directory; with the mode `made_with`, what is missing of it is made, and its name is durable.

        Raises:
            OSError: ELOOP, there is a link or ``..`` on the way; besides what the system says.
        """
        return cls(path, _walk(path, _LISTING, made_with))

    def child(self, name: str, *, made_with: int | None = None) -> "Folder":
        """
        Open, or make, a directory in this one.
        """
        return Folder(self.path / name, _enter(self._descriptor, single(name), _LISTING, made_with))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """
        Closing twice is closing once.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """
        A descriptor of the file `name`.
        """
        return _open(self._descriptor, single(name), flags | _PLAIN, mode)

    def create(self, name: str, mode: int = 0o600) -> BinaryIO:
        """
        A new file to write.

        Raises:
            FileExistsError: there is something of that name, be it a link that leads nowhere.
        """
        return os.fdopen(self.open(name, os.O_WRONLY | NEW_FILE, mode), "wb")

    def read(self, name: str) -> BufferedReader:
        """
        A file to read.
        """
        return os.fdopen(self.open(name, os.O_RDONLY), "rb")

    def status(self, name: str) -> os.stat_result:
        """
        Of what has that name: of a link, its own.
        """
        return os.stat(single(name), dir_fd=self._descriptor, follow_symlinks=False)

    def holds(self, name: str) -> bool:
        """
        Whether something has that name, be it a link that leads nowhere.
        """
        try:
            self.status(name)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """
        What is in it.
        """
        return os.listdir(self._descriptor)

    def remove(self, name: str) -> None:
        """
        Remove a file or a link, if it is there.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(single(name), dir_fd=self._descriptor)

    def remove_ours(self, name: str) -> None:
        """
        Remove a file of ours, if it is there. A link is none.

        Raises:
            OSError: ELOOP, it is one.
        """
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(self.status(name).st_mode):
                raise _link(name)
            self.remove(name)

    def remove_directory(self, name: str) -> None:
        """
        Remove a directory, which must be empty.
        """
        os.rmdir(single(name), dir_fd=self._descriptor)

    def remove_tree(self, name: str) -> None:
        """
        Remove a directory and what is in it; links in it are removed, not followed.

        Raises:
            OSError: it is a link, or cannot be removed.
        """
        if stat.S_ISLNK(self.status(name).st_mode):
            raise _link(name)
        shutil.rmtree(name, dir_fd=self._descriptor)

    def rename(self, name: str, new: str, into: "Folder | None" = None) -> None:
        """
        Give `name` another name, over what has it: of a link, itself.
        """
        os.rename(single(name), single(new), src_dir_fd=self._descriptor, dst_dir_fd=(into or self)._descriptor)

    def link(self, name: str, new: str, into: "Folder | None" = None) -> None:
        """
        Give the file a second name, if that is free.
        """
        os.link(
            single(name),
            single(new),
            src_dir_fd=self._descriptor,
            dst_dir_fd=(into or self)._descriptor,
            follow_symlinks=False,
        )

    def copy(self, original: BinaryIO, name: str, mode: int = 0o600) -> None:
        """
        A new file with what an open one holds, and its times; durable, its name aside.
        """
        with self.create(name, mode) as copy:
            shutil.copyfileobj(original, copy)
            copy.flush()
            found = os.fstat(original.fileno())
            os.utime(copy.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(copy.fileno())

    def make(self, name: str, mode: int) -> None:
        """
        Make a directory in it.
        """
        os.mkdir(single(name), mode, dir_fd=self._descriptor)

    def sync(self) -> None:
        """
        Make the names in it durable.
        """
        os.fsync(self._descriptor)

    def fileno(self) -> int:
        """
        For calls of the system that are not here.
        """
        return self._descriptor


def open_file(path: str | Path, flags: int, mode: int = 0o600) -> int:
    """
    A descriptor of a file, which is no link, and neither is anything on the way to it.
    """
    place, name = os.path.split(os.path.abspath(path) if not os.path.isabs(path) else path)
    parent = _walk(Path(place), _PASSING)
    try:
        return _open(parent, name, flags | _PLAIN, mode)
    finally:
        os.close(parent)


def remove_file(path: str | Path) -> None:
    """
    Remove a file of ours likewise, if it is there. A link is none.
    """
    place, name = os.path.split(os.path.abspath(path))
    with Folder(Path(place), _walk(Path(place), _PASSING)) as folder:
        folder.remove_ours(name)


def read_file(path: str | Path) -> BufferedReader:
    """
    A file to read, likewise.
    """
    return os.fdopen(open_file(path, os.O_RDONLY), "rb")


def insist_on_no_link(path: Path) -> None:
    """
    See that there is no link on the way to a path, as far as it is there, and that it is none.

    Raises:
        OSError: ELOOP, there is one.
    """
    if os.path.realpath(path) != os.path.normpath(path):
        raise _link(str(path))


def _walk(path: Path, last: int, made_with: int | None = None) -> int:
    root, *names = Path(os.path.abspath(path) if not path.is_absolute() else path).parts
    current = os.open(root, _PASSING if names else last)
    try:
        for name in names:
            entered = _enter(current, name, last if name is names[-1] else _PASSING, made_with)
            os.close(current)
            current = entered
    except BaseException:
        os.close(current)
        raise
    return current


def _enter(parent: int, name: str, flags: int, made_with: int | None) -> int:
    if name == "..":  # leads out of where we are, by whatever the directory is in by now
        raise _link(name)
    try:
        return _open(parent, name, flags)
    except FileNotFoundError:
        if made_with is None:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, made_with, dir_fd=parent)
        _sync(parent)
    return _open(parent, name, flags)


def _open(parent: int, name: str, flags: int, mode: int = 0o600) -> int:
    try:
        return os.open(name, flags, mode, dir_fd=parent)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise _link(name) from None
        raise


def _sync(directory: int) -> None:
    descriptor = os.open(".", _LISTING, dir_fd=directory)  # one that is only passed through cannot be synced
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def single(name: str) -> str:
    """
    The name, if it is one of something in a directory, and not of that directory, one above it or one below.

    Raises:
        OSError: ELOOP, it is not.
    """
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise _link(name)
    return name


def _link(name: str) -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
