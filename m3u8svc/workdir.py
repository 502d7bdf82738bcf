"""
Where a task's segments live until its file is published: one directory, one file a segment, all in their names.

A file under its final name, ``00000017-3fa2b4c1d0e9.ts``, was verified and synced before the rename, so whoever finds
it may use it (DESIGN 5.4, 6): position, identity (see `hls.plan`) and kind are in the name, and a restart needs to ask
nobody. Anything that ends in ``.part`` is from an attempt that did not end. All file work runs in threads.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, get_args

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from m3u8svc.errors import from_os_error
from m3u8svc.hookspecs import MediaKind
from m3u8svc.places import make_directory, sync_directory
from m3u8svc.waiting import InThread, settled

FLUSH_BYTES = 1 << 20
"""How much is gathered before a thread writes it: large enough that the hop costs nothing."""
HIGH_BYTES = 4 << 20
"""How much may wait before the connection is paused."""

R = TypeVar("R")

_NAME = re.compile(rf"(\d{{8}})-([0-9a-f]{{12}})\.({'|'.join(get_args(MediaKind))})")


@attrs.frozen(kw_only=True)
class Stored:
    """
    One finished segment on disk.
    """

    position: int
    identity: str
    kind: MediaKind
    path: Path
    size_bytes: int


@attrs.frozen(kw_only=True)
class Listing:
    """
    What earlier runs left: finished segments by (position, identity), and the names of init sections.
    """

    segments: Mapping[tuple[int, str], Stored]
    inits: frozenset[str]


class WorkDir:
    """
    The directory of one task. `in_thread` runs blocking calls off the reactor.
    """

    def __init__(self, path: Path, *, in_thread: InThread) -> None:
        self.path = path
        self._in_thread = in_thread

    async def open(self, expected: Mapping[tuple[int, str], int] | None = None) -> Listing:
        """
        Make the directory, drop what earlier attempts left half-done, list what is finished.
        A file whose size is not the one `expected` has on record is dropped too.

        Raises:
            DiskFull, DiskError: the place cannot be used.
        """
        return await self._do(_open, self.path, dict(expected or {}))

    def part(self, name: str) -> "PartFile":
        """
        A new file to write; it gets its final name when it is finished.
        """
        return PartFile(self.path / f"{name}.part", in_thread=self._in_thread)

    def init_path(self, identity: str) -> Path:
        """
        The final name of an init section.
        """
        return self.path / f"init-{identity}.mp4"

    def segment_path(self, position: int, identity: str, kind: MediaKind) -> Path:
        """
        The final name of a segment.
        """
        return self.path / f"{position:08d}-{identity}.{kind}"

    async def store_bytes(self, name: str, content: bytes) -> Path:
        """
        Write a small file whole: synced, then renamed.
        """
        part = self.part(name)
        part.write(content)
        await part.finish(self.path / name)
        return self.path / name

    async def remove(self) -> None:
        """
        Remove the directory and, if it was the last, the folder they live in. Missing is fine; no link is followed.
        """
        await self._do(_remove, self.path)

    async def _do(self, function: Callable[..., R], *arguments: object) -> R:
        try:
            result: R = await settled(self._in_thread(function, *arguments))
        except OSError as error:
            raise from_os_error(error, self.path) from error
        return result


class PartFile:
    """
    One file being written by a fetch: gathers chunks, writes them in threads one after the other, and says when the
    connection should pause.
    """

    def __init__(self, path: Path, *, in_thread: InThread) -> None:
        self._path = path
        self._in_thread = in_thread
        self._chunks: list[bytes] = []
        self._gathered = 0
        self._fd = -1
        self._writing: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None
        self._error: OSError | None = None
        self.size_bytes = 0

    def write(self, chunk: bytes) -> Deferred[None] | None:
        """
        Take a chunk; a Deferred means: no more until it fires.

        Raises:
            DiskFull, DiskError: an earlier chunk could not be written.
        """
        if self._error is not None:
            raise from_os_error(self._error, self._path.parent) from self._error
        if not chunk:
            return None
        self._chunks.append(chunk)
        self._gathered += len(chunk)
        self.size_bytes += len(chunk)
        if self._gathered >= FLUSH_BYTES and self._writing is None:
            self._flush()
        if self._gathered < HIGH_BYTES:
            return None
        if self._drained is None:
            self._drained = Deferred()
        return self._drained

    async def finish(self, final: Path, *, modified_at: float | None = None) -> int:
        """
        Write the rest, sync, rename to `final`, sync the directory; returns the size in bytes. `modified_at` (epoch
        seconds) becomes the file's time.
        """
        await self._quiet()
        chunks, self._chunks = self._chunks, []
        try:
            await settled(self._in_thread(self._complete, chunks, final, modified_at))
        except OSError as error:
            raise from_os_error(error, self._path.parent) from error
        return self.size_bytes

    async def discard(self) -> None:
        """
        Drop what was written, once no thread is at it any more.
        """
        self._chunks.clear()
        await self._quiet(failing=False)
        await settled(self._in_thread(self._drop))

    def _flush(self) -> None:
        chunks, self._chunks, self._gathered = self._chunks, [], 0
        self._writing = self._in_thread(self._write, chunks)
        self._writing.addCallbacks(lambda _: None, self._failed)
        self._writing.addCallback(lambda _: self._written())

    def _failed(self, failure: Failure) -> None:
        failure.trap(OSError)
        assert isinstance(failure.value, OSError)
        self._error = failure.value

    def _written(self) -> None:
        self._writing = None
        if self._gathered >= FLUSH_BYTES and self._error is None:
            self._flush()
        elif self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    async def _quiet(self, *, failing: bool = True) -> None:
        while self._writing is not None:
            done: Deferred[None] = Deferred()
            self._writing.chainDeferred(done)
            await settled(done)
        if failing and self._error is not None:
            raise from_os_error(self._error, self._path.parent) from self._error

    def _open(self) -> int:
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
        return self._fd

    def _write(self, chunks: list[bytes]) -> None:
        descriptor = self._open()
        for chunk in chunks:
            _write_all(descriptor, chunk)

    def _complete(self, chunks: list[bytes], final: Path, modified_at: float | None) -> None:
        self._write(chunks)
        try:
            if modified_at is not None:
                os.utime(self._fd, (modified_at, modified_at))
            os.fsync(self._fd)
        finally:
            self._close()
        os.rename(self._path, final)
        sync_directory(final.parent)

    def _drop(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _open(path: Path, expected: dict[tuple[int, str], int]) -> Listing:
    make_directory(path.parent.parent, 0o755)
    make_directory(path, 0o700)
    found: dict[tuple[int, str], Stored] = {}
    inits = set()
    with os.scandir(path) as entries:
        for entry in entries:
            stored = _stored(entry)
            if stored is not None:
                known = expected.get((stored.position, stored.identity), stored.size_bytes)
                if known == stored.size_bytes:
                    found[stored.position, stored.identity] = stored
                    continue
            if stored is not None or entry.name.endswith(".part"):
                os.unlink(entry.path)
            elif entry.name.startswith("init-"):
                inits.add(entry.name)
    return Listing(segments=found, inits=frozenset(inits))


def _stored(entry: "os.DirEntry[str]") -> Stored | None:
    match = _NAME.fullmatch(entry.name)
    if match is None or not entry.is_file(follow_symlinks=False):
        return None
    position, identity, kind = match.groups()
    size = entry.stat(follow_symlinks=False).st_size
    return Stored(position=int(position), identity=identity, kind=kind, path=Path(entry.path), size_bytes=size)  # type: ignore[arg-type]  # the pattern holds only kinds


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=False) if path.is_dir() else None
    try:
        path.parent.rmdir()
    except OSError:
        return  # other tasks still have theirs there, or it is gone already
