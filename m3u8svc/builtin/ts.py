"""
The merger "ts": transport stream segments one after the other in one file, as they are.

Quick, and exact for a stream without splices; a player shows wrong times after one. It takes MPEG-TS only: fragments
of MP4 need more than being appended, and packed audio carries its clock in tags that would end up in the middle.
"""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO

from m3u8svc.errors import MergeError, NoMedia, VerifyError, from_os_error
from m3u8svc.hookspecs import hookimpl
from m3u8svc.nofollow import Folder, read_file
from m3u8svc.offerings import MediaFile, MergeJob, MergeProgress, Merger, MergeResult, Part
from m3u8svc.tasks.task import Task
from m3u8svc.waiting import InThread, settled
from m3u8svc.wording import Said, said

COPY_BYTES = 1 << 20
SYNC_EVERY_BYTES = 64 << 20


class TsMerger:
    """
    Appends segments in a thread.
    """

    name = "ts"

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    def extension(self, task: Task) -> str:
        """Always the same."""
        return ".ts"

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target` from TS segments. Gaps are left out; what stands after them keeps its own times.

        Raises:
            MergeError: a part is no transport stream, or there was none at all.
            DiskFull, DiskError: the disk does not take it.
        """
        target = _Target(job.target)
        try:
            await settled(self._in_thread(target.open))
            return await self._append_all(target, parts, progress)
        except BaseException as error:  # cancellation included, also while it is opened: nothing stays at the target
            await settled(self._in_thread(target.discard))
            if isinstance(error, OSError):
                raise from_os_error(error, job.target) from error
            raise

    async def _append_all(self, target: "_Target", parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        duration_s = 0.0
        done = 0
        async for part in parts:
            if isinstance(part, MediaFile):
                _refuse_other_than_ts(part)
                await settled(self._in_thread(target.append, part.path))
                duration_s += part.duration_s
            done += 1
            progress(done)
        if not target.size_bytes:
            raise NoMedia()
        await settled(self._in_thread(target.finish))
        return MergeResult(size_bytes=target.size_bytes, duration_s=duration_s)


class TsPlugin:
    """
    Offers the merger "ts".
    """

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread

    @hookimpl
    def register_mergers(self) -> Iterable[Merger]:
        """
        The one record.
        """
        return [TsMerger(self._in_thread)]


def _refuse_other_than_ts(part: MediaFile) -> None:
    if part.kind != "ts":
        why = said(
            "“ts” 只能拼接 MPEG-TS 分片，第 {position} 个分片是 {kind}，请改用“mp4”",
            "'ts' joins MPEG-TS segments only, and segment {position} is {kind}; use 'mp4'",
            position=part.position,
            kind=part.kind,
        )
        raise MergeError(reason=why)


class _Target:
    """
    The file being appended to; a stale one of an earlier crash is replaced. All blocking.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: BinaryIO | None = None
        self.size_bytes = 0
        self._synced = 0

    def open(self) -> None:
        """Make it."""
        self._folder = Folder.at(self._path.parent)
        self._folder.remove_ours(self._path.name)
        self._opened = self._folder.create(self._path.name)

    @property
    def _file(self) -> BinaryIO:
        assert self._opened is not None
        return self._opened

    def append(self, segment: Path) -> None:
        """Copy one segment to the end."""
        with read_file(segment) as source:
            shutil.copyfileobj(source, self._file, COPY_BYTES)
            self.size_bytes += source.tell()
        if self.size_bytes - self._synced >= SYNC_EVERY_BYTES:  # so that the last sync is short
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self._synced = self.size_bytes

    def finish(self) -> None:
        """
        Make it durable and check its size.

        Raises:
            VerifyError: it is not the sum of its segments.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        size = os.fstat(self._file.fileno()).st_size
        if size != self.size_bytes:
            why = Said(
                f"应为 {self.size_bytes} 字节，实为 {size} 字节", f"it has {size} bytes instead of {self.size_bytes}"
            )
            raise VerifyError(reason=why)
        self._file.close()
        self._folder.close()

    def discard(self) -> None:
        """Close and remove it, if it was made."""
        if self._opened is None:
            return
        with contextlib.suppress(OSError):  # what is still buffered finds no room: it is removed anyway
            self._file.close()
        self._folder.remove(self._path.name)
        self._folder.close()
