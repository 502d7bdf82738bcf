"""
Copies of the SQLite file, and what changed since each: what a damaged database is put together from again (R-DB-3).

They lie beside the database in a folder ``NAME.backups`` that nobody else may read:

    00000007-20261126T064432Z.sqlite3   a copy; it was checked and synced before it got this name
    00000007.changes                    what changed since then, a line for each change (`store.changes`)
    ….sqlite3.damaged                   a copy that was found damaged when it was needed

A change is written down after it is committed and before it is answered. So the newest copy and the changes since
give every task that anybody was told of, and if that copy is bad, an older one and more changes do the same. What a
copy lacks otherwise is what a work directory says again: which segments are there.

Numbers say which is newer, not times: a clock may be set back. The copy is made by a reader of its own beside the one
connection that writes and checkpoints (R-DB-2), so nobody waits for it. Everything here blocks, and except for `copy`
it runs in the store's thread.
"""

import contextlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import attrs
from twisted.logger import Logger

from m3u8svc.errors import BackupFailed, DatabaseDamaged, DatabaseRestored
from m3u8svc.places import sync_directory
from m3u8svc.store.changes import Change, ChangeLog, read_changes

KEPT = 3
"""How many copies are kept, and how many files that were found damaged."""
EVERY_S = 3600.0
RETRY_S = 600.0
"""How long after a copy that failed, or before another of a database that changes much, the next is tried."""
LARGE_LOG_BYTES = 16 << 20
"""So many changes are due for a copy, however young the last one is."""
_COPY = re.compile(r"(\d{8})-(\d{8}T\d{6}Z)\.sqlite3")
_LOG = re.compile(r"(\d{8})\.changes")
_NOTICE = "restored.json"
_UNFINISHED = "restoring.json"
_STAMP = "%Y%m%dT%H%M%SZ"
_DAMAGED = ".damaged"
_COMPANIONS = ("-wal", "-shm")


@attrs.frozen(kw_only=True)
class Copy:
    """
    One copy of the database, and when it was made, in seconds since the epoch.
    """

    number: int
    at: float
    path: Path


@attrs.frozen(kw_only=True)
class Restored:
    """
    What became of a damaged database: where its file is `kept` now ("" when there was none left), and the copy that
    took its place, None when there was no good one and the changes are all there is.
    """

    reason: str
    kept: str
    copy: Copy | None

    def notice(self) -> DatabaseRestored:
        """
        The same for people.
        """
        backup = "-" if self.copy is None else self.copy.path.name
        return DatabaseRestored(reason=self.reason, backup=backup, kept=self.kept or "-")


class Backups:
    """
    The copies of one database file and the changes since.
    """

    log = Logger()

    def __init__(self, database: Path, *, wall: Callable[[], float]) -> None:
        """
        Args:
            wall: the time of day in seconds since the epoch, for the names of files.
        """
        self.folder = database.with_name(f"{database.name}.backups")
        self._database = database
        self._wall = wall
        self._changes: ChangeLog | None = None
        self._owed = False

    def __bool__(self) -> bool:
        """Whether there is anything a database could be put together from."""
        return bool(self.copies() or any(path.stat().st_size for _, path in self._logs()))

    def copies(self) -> list[Copy]:
        """
        The copies, newest first.
        """
        found = []
        for path, match in self._named(_COPY):
            at = datetime.strptime(match[2], _STAMP).replace(tzinfo=UTC).timestamp()
            found.append(Copy(number=int(match[1]), at=at, path=path))
        return sorted(found, key=lambda copy: copy.number, reverse=True)

    # -- Writing down

    def open(self) -> None:
        """
        Go on with the newest list of changes.

        Raises:
            OSError: it cannot be written.
        """
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
            sync_directory(self.folder.parent)
        for path in self.folder.glob("*.part"):
            path.unlink()
        newest = self._newest()
        copies = self.copies()
        copied = copies[0].number if copies else 0
        self._owed = any(path.stat().st_size for number, path in self._logs() if copied <= number < newest)
        self._changes = ChangeLog(self._log_path(newest))

    def note(self, changes: Iterable[Change]) -> None:
        """
        Write down what was committed.

        Raises:
            OSError: the disk refused it. The database has it; the next copy will.
        """
        if self._changes is not None:
            self._changes.append(changes)

    @property
    def changed(self) -> bool:
        """Whether anything was committed that no copy has."""
        return self._changes is not None and (self._owed or self._changes.broken or self._changes.size_bytes > 0)

    def due(self, *, age_s: float) -> bool:
        """
        Whether it is time for a copy, `age_s` after the last: something changed and an hour is over; very much changed,
        or something could not be written down, and ten minutes are; or there is no copy at all.
        """
        if self._changes is None:
            return False
        if age_s >= EVERY_S:
            return self.changed or not self.copies()
        return age_s >= RETRY_S and (self._changes.broken or self._changes.size_bytes >= LARGE_LOG_BYTES)

    def age_s(self) -> float:
        """
        How old the newest copy is, by the wall clock: at least 0, at most `EVERY_S`, also when there is none.
        """
        copies = self.copies()
        return min(max(0.0, self._wall() - copies[0].at), EVERY_S) if copies else EVERY_S

    # -- Copying

    def begin(self) -> int:
        """
        The number of the next copy. What changes from now on is written down as being after it, and what was committed
        before is in it.

        Raises:
            OSError: the new list cannot be made; the old one goes on.
        """
        number = self._newest() + 1
        log = ChangeLog(self._log_path(number))
        self.close()
        self._changes = log
        self._owed = True
        return number

    def copy(self, number: int, copy_into: Callable[[Path], None] | None = None) -> None:
        """
        Make the copy of this number, in any thread; of the file, or by `copy_into`.

        Raises:
            BackupFailed: it is not made, and why. The copies that were there stay.
        """
        stamp = datetime.fromtimestamp(self._wall(), UTC).strftime(_STAMP)
        final = self.folder / f"{number:08d}-{stamp}.sqlite3"
        part = final.with_name(f"{final.name}.part")
        try:
            _new_file(part)
            copy_into(part) if copy_into is not None else _copy_database(self._database, part)
            problem = judge(part)
            if problem:
                raise BackupFailed(path=self.folder, reason=f"the database itself is damaged: {problem}")
            _sync(part)
            part.rename(final)
            sync_directory(self.folder)
        except (OSError, sqlite3.Error) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise BackupFailed(path=self.folder, reason=reason) from error
        finally:
            with contextlib.suppress(OSError):  # what failed before is what there is to tell
                part.unlink(missing_ok=True)

    def copied(self) -> None:
        """
        The copy that was begun last is made: remove copies beyond `KEPT`, and changes older than the oldest one left.
        With as many good ones, damaged ones can go.
        """
        self._owed = False
        copies = self.copies()
        for damaged in self.folder.glob(f"*{_DAMAGED}") if len(copies) >= KEPT else ():
            damaged.unlink(missing_ok=True)
        for copy in copies[KEPT:]:
            copy.path.unlink(missing_ok=True)
        for number, path in self._logs():
            if len(copies) >= KEPT and number < copies[KEPT - 1].number:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """
        Let go of the list of changes.
        """
        changes, self._changes = self._changes, None
        if changes is not None:
            changes.close()

    # -- Putting together again

    def hold_log(self) -> None:
        """
        Keep the log by a second name while the database is opened and judged: SQLite removes the log of a damaged one.
        """
        self.let_log_go()
        with contextlib.suppress(OSError):  # none, or a file system without links: then there is less to look at
            os.link(f"{self._database}-wal", self._held_log)

    def let_log_go(self) -> None:
        """
        Forget that second name.
        """
        self._held_log.unlink(missing_ok=True)

    def restore(self, damage: DatabaseDamaged) -> Restored:
        """
        Put the newest good copy in the place of the damaged database, which is kept under another name. No copy: the
        place is left empty, for the changes to fill a new one.

        A crash on the way is found by the next start: a database that is not there, with copies beside it, is damaged,
        and one that lacks the changes is `unfinished` until it was remembered.

        Raises:
            DatabaseDamaged: there is nothing to restore; nothing was touched.
            OSError: the disk failed.
        """
        if not self:
            raise damage
        copy = self._stage_newest_good()
        before = self.unfinished()
        kept = self._set_aside() or ("" if before is None else before.kept)
        reason = str(damage.fields["reason"]) if before is None else before.reason
        _write_small(self.folder / _UNFINISHED, json.dumps({"reason": reason, "kept": kept}).encode())
        if copy is not None:
            _staged(self._database).rename(self._database)
        sync_directory(self._database.parent)
        return Restored(reason=reason, kept=kept, copy=copy)

    def unfinished(self) -> Restored | None:
        """
        The restore after which the changes since the copy were not made again yet; None when there is none.
        """
        try:
            said = json.loads((self.folder / _UNFINISHED).read_bytes())
            return Restored(reason=said["reason"], kept=said["kept"], copy=next(iter(self.copies()), None))
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def remember(self, notice: DatabaseRestored) -> None:
        """
        A restore is finished: keep in mind what is to be said as long as the damaged file is there.

        Raises:
            OSError: the disk failed.
        """
        _write_small(self.folder / _NOTICE, json.dumps(notice.fields).encode())
        (self.folder / _UNFINISHED).unlink(missing_ok=True)
        sync_directory(self.folder)

    def remembered(self) -> DatabaseRestored | None:
        """
        What is still to be said of the last restore.
        """
        try:
            notice = DatabaseRestored(**json.loads((self.folder / _NOTICE).read_bytes()))
        except (OSError, TypeError, ValueError):
            return None
        return notice if os.path.lexists(str(notice.fields["kept"])) else None

    def changes_since(self, copy: Copy | None) -> Iterator[Change]:
        """
        What was written down after a copy (None: all there is), in its order.
        """
        for number, path in sorted(self._logs()):
            if copy is None or number >= copy.number:
                yield from read_changes(path)

    def _stage_newest_good(self) -> Copy | None:
        for copy in self.copies():
            staged = _staged(self._database)
            staged.unlink(missing_ok=True)
            _new_file(staged)
            shutil.copyfile(copy.path, staged)
            problem = judge(staged)
            if not problem:
                _sync(staged)
                return copy
            self.log.error("the backup {path} cannot be used: {problem}", path=str(copy.path), problem=problem)
            staged.unlink()
            # The newest copy left says which changes the database may lack, also to a start after a crash from here on.
            copy.path.rename(f"{copy.path}{_DAMAGED}")
            sync_directory(self.folder)
        return None

    def _set_aside(self) -> str:
        """
        The file first, then its log: a log without its file is damage, too; a file without its log may pass as whole.
        """
        stamp = datetime.fromtimestamp(self._wall(), UTC).strftime(_STAMP)
        kept = _free(self._database.with_name(f"{self._database.name}.corrupt-{stamp}"))
        found = False
        for companion in ("", *_COMPANIONS):
            file = Path(f"{self._database}{companion}")
            if file.exists():
                file.rename(f"{kept}{companion}")
                found = True
        if self._held_log.exists():
            self._held_log.rename(f"{kept}-wal")
        self._forget_aside()
        return str(kept) if found else ""

    def _forget_aside(self) -> None:
        kept = [path for path in self._database.parent.glob(f"{self._database.name}.corrupt-*") if path.is_file()]
        mains = sorted(path for path in kept if not path.name.endswith(_COMPANIONS))
        for main in mains[:-KEPT]:
            for companion in ("", *_COMPANIONS):
                Path(f"{main}{companion}").unlink(missing_ok=True)

    # -- Names

    @property
    def _held_log(self) -> Path:
        return Path(f"{self._database}-wal.held")

    def _logs(self) -> list[tuple[int, Path]]:
        return [(int(match[1]), path) for path, match in self._named(_LOG)]

    def _newest(self) -> int:
        numbers = [copy.number for copy in self.copies()] + [number for number, _ in self._logs()]
        return max(numbers, default=0)

    def _log_path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.changes"

    def _named(self, pattern: re.Pattern[str]) -> list[tuple[Path, re.Match[str]]]:
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [(self.folder / name, match) for name in names if (match := pattern.fullmatch(name))]


def judge(path: Path) -> str:
    """
    What is wrong with a database file that nobody has open; "" when nothing is.
    """
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        connection.execute("SELECT count(*) FROM tasks").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()
    return "" if found == "ok" else one_line(found)


def one_line(found: str) -> str:
    """
    What SQLite's check found, without its heading and its line ends.
    """
    return " ".join(line.strip() for line in found.splitlines() if not line.startswith("***"))


def copy_connection(reader: sqlite3.Connection, target: Path) -> None:
    """
    Copy what a connection has open, as it is at one moment, into one file without a log of its own.
    """
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writer:
        writer.execute("PRAGMA synchronous=OFF")  # synced once, at the end
        reader.backup(writer)
        writer.execute("PRAGMA journal_mode=DELETE")


def _copy_database(source: Path, target: Path) -> None:
    uri = f"file:{quote(os.fsencode(source))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")  # one moment, however much is written meanwhile
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy_connection(reader, target)


def _new_file(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def _write_small(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    _new_file(part)
    part.write_bytes(content)
    _sync(part)
    part.rename(path)
    sync_directory(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _staged(database: Path) -> Path:
    return Path(f"{database}.new")


def _free(path: Path) -> Path:
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free
