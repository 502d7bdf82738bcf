"""
Where a task's segments live until its file is published: one directory, one file a segment, all in their names.

A file under its final name, ``00000017-3fa2b4c1d0e9.ts``, was verified and synced before it got that name, so whoever
finds it may use it (DESIGN 5.4, 6): position, identity (see `hls.plan`) and kind are in the name, and a restart needs
to ask nobody. Before that it has two other names. ``….part`` is an attempt that has not ended. ``….ts.new`` is whole
and verified, and the merger may read it, but the disk may not have it yet: it is synced and linked to its final name
a few seconds later, in batches, or never, if the published file is there first and it can go. That halves what a fast
download writes. A ``.new`` file outlives the death of the process, though not of the machine; so the directory knows
in which boot of the machine it was written, and in any other such files are dropped. All file work runs in threads.

The directory is opened once, without following a link, and everything is done relative to it: whoever may write where
it lies cannot lead a run elsewhere by putting a link in its place.
"""

import errno
import hashlib
import os
import re
import stat
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar, cast, get_args

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from m3u8svc.errors import from_os_error
from m3u8svc.hls.columns import Digits
from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.plan import IDENTITY_DIGITS
from m3u8svc.nofollow import NEW_FILE, Folder, read_file
from m3u8svc.tasks.ledger import file_name
from m3u8svc.waiting import InThread, settled

FLUSH_BYTES = 512 << 10
"""How much is gathered before a thread writes it: large enough that the hop costs nothing."""
HIGH_BYTES = 4 << 20
"""How much may wait before the connection is paused."""

R = TypeVar("R")

_NAME = re.compile(rf"(\d{{8}})-([0-9a-f]{{12}})\.({'|'.join(get_args(MediaKind))})")


SYNC_AFTER_S = 3.0
"""How long a whole segment may wait for its sync: what a power cut can cost, and what a short download saves."""
SYNC_BATCH = 32
_VECTORS = 512
"""Chunks per call; the kernel takes 1,024."""
FOLDER_TRIES = 20
_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
_BOOT = "boot"
NEW = ".new"
"""Ends the name of a segment that is not synced yet."""


@attrs.frozen(kw_only=True)
class Stored:
    """
    One finished segment on disk. `synced` False: it still has its ``.new`` name.
    """

    position: int
    identity: str
    kind: MediaKind
    path: Path
    size_bytes: int
    synced: bool = True
    digest: str = ""
    """SHA-256 of what was written, 64 hexadecimal digits; "" for a file that was found here."""

    @property
    def final(self) -> Path:
        """Where it is, or will be, durable."""
        return self.path if self.synced else self.path.with_suffix("")


class Files(Mapping[tuple[int, str], Stored]):
    """
    Finished segments in one directory by (position, identity), put in order of position and kept in columns (see
    `hls.columns`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions = array("I")
        self._identities = Digits(IDENTITY_DIGITS)
        self._sizes = array("Q")
        self._kinds = bytearray()
        self._synced = bytearray()

    def put(self, stored: Stored) -> None:
        """One more, or another of the same name."""
        at = self._find((stored.position, stored.identity))
        if at < 0:
            at = len(self)
            self._positions.append(stored.position)
            self._identities.append(stored.identity)
            self._sizes.append(0)
            self._kinds.append(0)
            self._synced.append(0)
        self._sizes[at] = stored.size_bytes
        self._kinds[at] = _KINDS.index(stored.kind)
        self._synced[at] = stored.synced

    def unsynced(self) -> Iterator[Stored]:
        """Those that still have their ``.new`` name."""
        return (self._at(at) for at, synced in enumerate(self._synced) if not synced)

    def __getitem__(self, key: tuple[int, str]) -> Stored:
        at = self._find(key)
        if at < 0:
            raise KeyError(key)
        return self._at(at)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return ((position, self._identities[at]) for at, position in enumerate(self._positions))

    def __len__(self) -> int:
        return len(self._positions)

    def _find(self, key: tuple[int, str]) -> int:
        for at in range(bisect_left(self._positions, key[0]), len(self)):
            if self._positions[at] != key[0]:
                break
            if self._identities[at] == key[1]:
                return at
        return -1

    def _at(self, at: int) -> Stored:
        position, identity, kind = self._positions[at], self._identities[at], _KINDS[self._kinds[at]]
        synced = bool(self._synced[at])
        return Stored(
            position=position,
            identity=identity,
            kind=kind,
            path=self._folder / (file_name(position, identity, kind) + ("" if synced else NEW)),
            size_bytes=self._sizes[at],
            synced=synced,
        )


@attrs.frozen(kw_only=True)
class Listing:
    """
    What earlier runs left: finished segments by (position, identity), and the names of init sections.
    """

    segments: Mapping[tuple[int, str], Stored]
    inits: frozenset[str]


class WorkDir:
    """
    The directory of one task. `in_thread` runs blocking calls off the reactor; `boot_id` tells one boot of the machine
    from another, "" where nothing does.
    """

    def __init__(self, path: Path, *, clock: IReactorTime, in_thread: InThread, boot_id: str) -> None:
        self.path = path
        self._clock = clock
        self._in_thread = in_thread
        self._boot_id = boot_id
        self._unsynced: deque[tuple[float, Stored]] = deque()
        self._files = DeferredLock()
        self._folder: Folder | None = None

    async def open(self, expected: Mapping[tuple[int, str], int] | None = None) -> Listing:
        """
        Make the directory, drop what earlier attempts left half-done, list what is finished.
        A file whose size is not the one `expected` has on record is dropped too.

        Raises:
            DiskFull, DiskError: the place cannot be used.
            UnsafePath: a link leads there, or is in it.
        """
        self.close()
        self._folder, found, inits = await self.do(_open, self.path, expected or {}, self._boot_id)
        self._unsynced.extend((self._clock.seconds(), stored) for stored in found.unsynced())
        return Listing(segments=found, inits=inits)

    async def keep_syncing(self, synced: Callable[[Stored], None]) -> NoReturn:
        """
        Sync whole segments some seconds after they came, and tell `synced` of each. Runs until it is cancelled.

        Raises:
            DiskFull, DiskError: the disk refused one; what is on it is not what was written.
        """
        while True:
            await deferLater(self._clock, SYNC_AFTER_S / 4)
            while await self._sync(SYNC_AFTER_S, synced):
                pass

    async def let_go(self, segments: Iterable[Stored]) -> None:
        """
        Remove segments that nobody will read again, synced yet or not.

        Raises:
            DiskError: one cannot be removed.
        """
        gone = list(segments)
        finals = {stored.final for stored in gone}
        await self._files.acquire()
        try:
            self._unsynced = deque(each for each in self._unsynced if each[1].final not in finals)
            await self.do(_unlink, self._there, gone)
        finally:
            self._files.release()

    async def sync_rest(self, synced: Callable[[Stored], None]) -> None:
        """
        Sync what still waits for it, at once: a run ends without a result, and the next may be in another boot.
        """
        while await self._sync(0.0, synced):
            pass

    async def _sync(self, waited_s: float, synced: Callable[[Stored], None]) -> bool:
        await self._files.acquire()
        done: list[Stored] = []
        try:
            due = self._due(waited_s=waited_s)
            if due:
                await self.do(_sync_batch, self._there, due, done)
        finally:  # also when cancelled: the thread has come to its end, and nobody else has these
            self._files.release()
            for stored in done:
                synced(stored)
        return bool(due)

    def _due(self, *, waited_s: float) -> list[Stored]:
        before = self._clock.seconds() - waited_s
        due: list[Stored] = []
        while self._unsynced and self._unsynced[0][0] <= before and len(due) < SYNC_BATCH:
            due.append(self._unsynced.popleft()[1])
        return due

    async def keep(
        self, part: "PartFile", position: int, identity: str, kind: MediaKind, *, modified_at: float | None
    ) -> Stored:
        """
        A verified part becomes a segment: readable at once, synced a little later.
        """
        path = self.segment_path(position, identity, kind)
        fresh = path.with_name(path.name + NEW)
        size = await part.complete(fresh, modified_at=modified_at)
        stored = Stored(
            position=position,
            identity=identity,
            kind=kind,
            path=fresh,
            size_bytes=size,
            synced=False,
            digest=part.digest,
        )
        self._unsynced.append((self._clock.seconds(), stored))
        return stored

    async def digest(self, path: Path) -> str:
        """
        SHA-256 of a file as it is now, 64 hexadecimal digits; "" if it is not there.

        Raises:
            DiskError: it cannot be read.
        """
        return await self.do(_digest, path)

    def part(self, name: str) -> "PartFile":
        """
        A new file to write; it gets its final name when it is finished.
        """
        return PartFile(self._there, self.path / f"{name}.part", in_thread=self._in_thread)

    def init_path(self, identity: str) -> Path:
        """
        The final name of an init section.
        """
        return self.path / init_name(identity)

    def segment_path(self, position: int, identity: str, kind: MediaKind) -> Path:
        """
        The final name of a segment.
        """
        return self.path / file_name(position, identity, kind)

    def stored(
        self, position: int, identity: str, kind: MediaKind, *, size_bytes: int, synced: bool, digest: str
    ) -> Stored:
        """
        A finished segment that is there.
        """
        path = self.segment_path(position, identity, kind)
        return Stored(
            position=position,
            identity=identity,
            kind=kind,
            path=path if synced else path.with_name(path.name + NEW),
            size_bytes=size_bytes,
            synced=synced,
            digest=digest,
        )

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
        self.close()
        await self.do(_remove, self.path)

    def close(self) -> None:
        """
        Nothing more is written now; it may be opened again.
        """
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _there(self) -> Folder:
        """
        The directory, which is there. Blocking.
        """
        if self._folder is None:
            self._folder = Folder.at(self.path)
        return self._folder

    async def do(self, function: Callable[..., R], *arguments: object) -> R:
        """
        What a blocking function gives that works on this directory's files.

        Raises:
            DiskFull, DiskError: the disk does not take or give it.
        """
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

    def __init__(self, folder: Callable[[], Folder], path: Path, *, in_thread: InThread) -> None:
        self._folder = folder
        self._path = path
        self._in_thread = in_thread
        self._chunks: list[bytes] = []
        self._gathered = 0
        self._fd = -1
        self._made = False
        self._writing: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None
        self._error: OSError | None = None
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        """
        SHA-256 of what was written so far; all of it once `complete` or `finish` returned.
        """
        return self._hash.hexdigest()

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

    async def finish(self, final: Path) -> int:
        """
        Write the rest, sync, rename to `final`, sync the directory; returns the size in bytes.
        """
        return await self._end(final, None, synced=True)

    async def complete(self, fresh: Path, *, modified_at: float | None = None) -> int:
        """
        Write the rest and rename to `fresh`, not synced; returns the size in bytes. `modified_at` (epoch seconds)
        becomes the file's time.
        """
        return await self._end(fresh, modified_at, synced=False)

    async def _end(self, final: Path, modified_at: float | None, *, synced: bool) -> int:
        await self._quiet()
        chunks, self._chunks = self._chunks, []
        try:
            await settled(self._in_thread(self._complete, chunks, final, modified_at, synced))
        except OSError as error:
            raise from_os_error(error, self._path.parent) from error
        return self.size_bytes

    async def discard(self) -> None:
        """
        Drop what was written, once no thread is at it any more.
        """
        self._chunks.clear()
        try:
            await self._quiet(failing=False)
        finally:  # also when cancelled a second time: the descriptor and the file are still ours
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
            self._fd = self._folder().open(self._path.name, os.O_WRONLY | NEW_FILE)
            self._made = True
        return self._fd

    def _write(self, chunks: list[bytes]) -> None:
        descriptor = self._open()
        for start in range(0, len(chunks), _VECTORS):
            _write_all(descriptor, chunks[start : start + _VECTORS])
        for chunk in chunks:  # in this thread, where nobody waits for it
            self._hash.update(chunk)

    def _complete(self, chunks: list[bytes], final: Path, modified_at: float | None, synced: bool) -> None:
        self._write(chunks)
        try:
            if modified_at is not None:
                os.utime(self._fd, (modified_at, modified_at))
            if synced:
                os.fsync(self._fd)
        finally:
            self._close()
        self._folder().rename(self._path.name, final.name)
        if synced:
            self._folder().sync()

    def _drop(self) -> None:
        self._close()
        if self._made:
            self._folder().remove(self._path.name)

    def _close(self) -> None:
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)


def _write_all(descriptor: int, chunks: list[bytes]) -> None:
    """
    All chunks in as few calls as the kernel allows: each call hands the interpreter lock around (measured: a third of
    the CPU time of a fast download).
    """
    left: list[bytes | memoryview] = list(chunks)
    while left:
        written = os.writev(descriptor, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = memoryview(left[0])[written:]


def init_name(identity: str) -> str:
    """
    How the file of an init section is called.
    """
    return f"init-{identity}.mp4"


def _open(path: Path, expected: Mapping[tuple[int, str], int], boot_id: str) -> tuple[Folder, Files, frozenset[str]]:
    with Folder.at(path.parent.parent, made_with=0o755):
        pass
    folder = _made_ours(path)
    same_boot = bool(boot_id) and _marked_boot(folder) == boot_id
    found = Files(path)
    inits = set()
    for name in sorted(folder.names()):  # a final name sorts before the same with .new
        stored = _stored(folder, name)
        if stored is not None:
            key = (stored.position, stored.identity)
            usable = stored.synced or (same_boot and key not in found)
            if usable and expected.get(key, stored.size_bytes) == stored.size_bytes:
                found.put(stored)
                continue
        if stored is not None or name.endswith((".part", NEW)):
            folder.remove(name)
        elif name.startswith("init-"):
            inits.add(name)
    if not same_boot:  # only now that nothing unsynced of another boot is left, or a crash in between would adopt it
        with folder.create(f"{_BOOT}.part") as mark:
            mark.write(boot_id.encode("ascii"))
        folder.rename(f"{_BOOT}.part", _BOOT)
    return folder, found, frozenset(inits)


def _made_ours(path: Path) -> Folder:
    """
    The directory, made although another task that ends may take the empty folder of both away in between.
    """
    for _ in range(FOLDER_TRIES):
        try:
            return Folder.at(path, made_with=0o700)
        except FileNotFoundError:
            continue
    return Folder.at(path, made_with=0o700)


def _marked_boot(folder: Folder) -> str:
    """
    The boot in which the directory was used last; "" when nothing legible says so.
    """
    try:
        with folder.read(_BOOT) as mark:
            return mark.read(100).decode("ascii")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""


def _stored(folder: Folder, name: str) -> Stored | None:
    status = folder.status(name)
    if stat.S_ISLNK(status.st_mode):  # we make none: somebody wants to lead us, or a merger, elsewhere
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    synced = not name.endswith(NEW)
    match = _NAME.fullmatch(name.removesuffix(NEW))
    if match is None:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    position, identity, kind = match.groups()
    return Stored(
        position=int(position),
        identity=identity,
        kind=cast(MediaKind, kind),  # the pattern holds nothing else
        path=folder.path / name,
        size_bytes=status.st_size,
        synced=synced,
    )


def _digest(path: Path) -> str:
    try:
        with read_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _sync_batch(there: Callable[[], Folder], batch: list[Stored], done: list[Stored]) -> None:
    """
    Data first, then names, then the names' directory (DESIGN 5.4); then they are `done`. What fails to sync is fetched
    again, never synced again: the kernel tells of a lost page once, and would call the next sync a success.
    """
    folder = there()
    try:
        for stored in batch:
            _sync_file(folder, stored.path.name)
            _link_or_copy(folder, stored.path.name, stored.final.name)
        folder.sync()
    except OSError:
        for stored in batch:
            folder.remove(stored.final.name)
            folder.remove(stored.path.name)
        raise
    done += batch


def _unlink(there: Callable[[], Folder], segments: list[Stored]) -> None:
    """
    Remove segments under both names they may have.
    """
    folder = there()
    for stored in segments:
        folder.remove(stored.final.name)
        folder.remove(stored.final.name + NEW)


def _sync_file(folder: Folder, name: str) -> None:
    descriptor = folder.open(name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link_or_copy(folder: Folder, fresh: str, final: str) -> None:
    """
    Give the file its final name and leave it the other one, which a merger may be about to open.
    """
    try:
        folder.link(fresh, final)
    except FileExistsError:
        return  # an earlier run got this far
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        part = f"{final}.part"  # a file system without hard links
        with folder.read(fresh) as source:
            folder.copy(source, part)
        folder.rename(part, final)


def _remove(path: Path) -> None:
    try:
        folder = Folder.at(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return
    with folder:
        if folder.holds(path.name):
            mode = folder.status(path.name).st_mode
            folder.remove_tree(path.name) if stat.S_ISDIR(mode) else folder.remove(path.name)
    try:
        with Folder.at(path.parent.parent) as above:
            above.remove_directory(path.parent.name)
    except OSError:
        return  # other tasks still have theirs there, or it is gone already
