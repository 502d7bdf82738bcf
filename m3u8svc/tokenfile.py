"""
The file of the tokens, in the state directory: read by the service while it runs, changed by the command line whether
it runs or not, and the same with any database.

It is replaced as a whole, so that a reader sees the old one or the new one; writers take turns by a lock.
"""

import fcntl
import os
import secrets
import shlex
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from m3u8svc.access import tokens
from m3u8svc.access.tokens import TokenRecord
from m3u8svc.errors import BadTokenFile, from_os_error
from m3u8svc.places import sync_directory
from m3u8svc.wording import Said

Records = tuple[TokenRecord, ...]

MAX_BYTES = 1024 * 1024


class TokenFile:
    """
    One such file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._records: Records = ()

    def read(self) -> Records:
        """
        The tokens there are now. Looks at the file each time, and reads it when it is another.

        Raises:
            BadTokenFile: others may read it, or it is not one of ours.
            DiskError: it cannot be read.
        """
        try:
            if _version(os.lstat(self.path)) != self._seen:
                self._load()
        except FileNotFoundError:
            self._seen, self._records = None, ()
        except OSError as error:
            raise from_os_error(error, self.path) from error
        return self._records

    def change(self, change: Callable[[Records], Records]) -> None:
        """
        Replace the tokens by what `change` makes of them; durable when this returns.

        Raises:
            BadTokenFile: as above.
            DiskError: it cannot be read or written.
            ValueError: what `change` raises.
        """
        try:
            with open(self.path.with_name(self.path.name + ".lock"), "a", opener=_private) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._replace(tokens.render(change(self.read())))
        except OSError as error:
            raise from_os_error(error, self.path) from error

    def _load(self) -> None:
        with open(self.path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            self._check(found)
            self._records, self._seen = self._parsed(file.read(MAX_BYTES + 1)), _version(found)

    def _replace(self, text: str) -> None:
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with open(new, "x", encoding="utf-8", opener=_private) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except BaseException:  # whatever it was, nothing half-written stays
            with suppress(OSError):
                new.unlink()
            raise
        sync_directory(self.path.parent)

    def _check(self, found: os.stat_result) -> None:
        here = shlex.quote(str(self.path))
        if not stat.S_ISREG(found.st_mode):
            raise self._bad(Said("不是普通文件", "it is not a regular file"))
        if found.st_uid != os.geteuid():
            owner, us, chown = found.st_uid, os.geteuid(), f"chown {os.geteuid()} {here}"
            raise self._bad(
                Said(f"属于用户 {owner}，不是 {us}：{chown}", f"it belongs to user {owner}, not to {us}: {chown}")
            )
        if found.st_mode & 0o077:
            mode, chmod = f"{stat.S_IMODE(found.st_mode):04o}", f"chmod 600 {here}"
            raise self._bad(
                Said(f"别人可以读写它（{mode}）：{chmod}", f"others may read or write it (mode {mode}): {chmod}")
            )

    def _parsed(self, content: bytes) -> Records:
        try:
            if len(content) > MAX_BYTES:
                raise ValueError("it is too large")
            return tokens.parse(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are of the former
            raise self._bad(Said(f"已损坏：{error}", f"it is damaged: {error}")) from error

    def _bad(self, reason: Said) -> BadTokenFile:
        return BadTokenFile(path=self.path, reason=reason)


def _version(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_ctime_ns


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _without_waiting(path: str, flags: int) -> int:
    """Neither for the other end of a pipe, nor through a link."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
