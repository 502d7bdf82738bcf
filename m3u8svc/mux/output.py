"""
The file being written: created by us alone, pushed to disk while it grows, synced at the end.
"""

import ctypes
import errno
import io
import os
import queue
import threading
from collections.abc import Callable

from m3u8svc import nofollow

SYNC_EVERY_BYTES = 8 * 1024 * 1024
ALIVE_EVERY_BYTES = 64 * 1024 * 1024
_SYNC_FILE_RANGE_WRITE = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_GONE = (errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN)
_DISK_ERRORS = frozenset({*_FULL, *_GONE, errno.EIO, errno.EROFS, errno.EBADF, errno.ELOOP})


def _find_sync_file_range() -> "Callable[[int, int, int, int], int] | None":
    """Linux's call to start writing dirty pages without waiting for them, if this C library has it."""
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    call.restype = ctypes.c_int
    return call


class Pusher:
    """
    A thread that starts the write-back of what was written, so that the last fsync has little left to wait for.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ranges: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._sync_file_range = _find_sync_file_range()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="push to disk")
        self._thread.start()

    def push(self, start: int, length: int) -> None:
        """Start writing this range."""
        self._ranges.put((start, length))

    def stop(self) -> None:
        """Return when every range is on its way; raises what went wrong meanwhile (fsync would not tell it again)."""
        self._ranges.put(None)
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (span := self._ranges.get()) is not None:
            if self._sync_file_range is not None:
                # Without a WAIT flag it consumes no write error: fsync reports them all.
                self._sync_file_range(self._fd, span[0], span[1], _SYNC_FILE_RANGE_WRITE)
                continue
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self._error = error


OpenFile = Callable[[str, int], int]
"""Opens a file with these flags, mode 0600 if it is new; returns a descriptor."""
NEW = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
AGAIN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_file(path: str, flags: int) -> int:
    """Open it by its name, following no link on the way."""
    return nofollow.open_file(path, flags, 0o600)


class Doors:
    """
    What was opened before the box was closed: after that a file has no name for us. Each descriptor is handed out once,
    and what went wrong is raised where it is asked for. What was not foreseen is opened by `otherwise`.
    """

    def __init__(self, otherwise: OpenFile = open_file) -> None:
        self._otherwise = otherwise
        self._held: dict[str, int | OSError] = {}

    def hold(self, path: str, flags: int) -> None:
        """Open it now."""
        try:
            self._held[path] = open_file(path, flags)
        except OSError as error:
            self._held[path] = error

    def __call__(self, path: str, flags: int) -> int:
        """A descriptor of it."""
        held = self._held.pop(path, None)
        if isinstance(held, OSError):
            raise held
        return self._otherwise(path, flags) if held is None else held


class Written(io.RawIOBase):
    """
    What libav writes to through Python: a place, which it moves to patch sizes, and an end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._end = 0

    def readable(self) -> bool:
        """Not through libav's output side."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always: the muxer patches sizes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the current place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """The current place."""
        return self._at


class TargetFile(Written):
    """
    A new file at `path`, mode 0600, that never follows or replaces anything; or one that a child before us wrote, of
    which the first `resume_at` bytes count. libav writes to it through Python.
    """

    def __init__(
        self, path: str, *, alive: Callable[[], None], resume_at: int = 0, open_file: OpenFile = open_file
    ) -> None:
        super().__init__()
        self._fd = open_file(path, AGAIN if resume_at else NEW)
        if os.fstat(self._fd).st_size < resume_at:
            raise EOFError(f"the file is shorter than {resume_at} bytes")
        os.ftruncate(self._fd, resume_at)
        self._pusher = Pusher(self._fd)
        self._alive = alive
        self._at = self._end = self._pushed = resume_at
        self._told = 0

    def write(self, chunk: bytes) -> int:  # type: ignore[override]  # libav hands us bytes, nothing else
        """Write all of `chunk` at the current place."""
        rest = memoryview(chunk)
        while rest:
            written = os.pwrite(self._fd, rest, self._at)
            self._at += written
            rest = rest[written:]
        self._end = max(self._end, self._at)
        if self._end - self._pushed >= SYNC_EVERY_BYTES:
            self._pusher.push(self._pushed, self._end - self._pushed)
            self._pushed = self._end
        self._told += len(chunk)
        if self._told >= ALIVE_EVERY_BYTES:
            self._told = 0
            self._alive()
        return len(chunk)

    def pread(self, size: int, at: int) -> bytes:
        """`size` bytes from `at`, whatever the current place."""
        return os.pread(self._fd, size, at)

    @property
    def size_bytes(self) -> int:
        """How large the file is."""
        return self._end

    def reader(self) -> "TargetReader":
        """The same file to read from its start: the muxer moves media up when the moov goes first."""
        return TargetReader(self)

    def cut_off(self, size: int) -> None:
        """Drop what is beyond `size`."""
        os.ftruncate(self._fd, size)
        self._end = size
        self._pushed = min(self._pushed, size)

    def sync_so_far(self) -> None:
        """Return when what was written is on disk; more will follow."""
        self._pusher.check()
        os.fsync(self._fd)

    def sync(self) -> None:
        """Return when everything is on disk."""
        self._pusher.stop()
        os.fsync(self._fd)

    def release(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class TargetReader(io.RawIOBase):
    """
    A reading view of a `TargetFile` with a place of its own.
    """

    def __init__(self, file: TargetFile) -> None:
        super().__init__()
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        chunk = self._file.pread(size, self._at)
        self._at += len(chunk)
        return chunk

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size_bytes}[whence]
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at


def survive(error: Exception) -> None:
    """
    Let `error` pass unless the disk is to blame.
    """
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        raise error
