"""
The merger "list": no media at all, but a text that lists what was downloaded.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any  # `services.in_thread` runs anything

from m3u8svc.plugin import (
    DiskError,
    DiskFull,
    MediaFile,
    MergeError,
    MergeJob,
    MergeProgress,
    MergeResult,
    Part,
    Said,
    Task,
)


class ListMerger:
    """
    It is called on the reactor, so that what blocks (files, fsync) goes through `in_thread`.
    """

    name = "list"

    def __init__(self, in_thread: Callable[..., Any]) -> None:
        self._in_thread = in_thread

    def extension(self, task: Task) -> str:
        """Of the finished file."""
        return ".txt"

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Parts arrive as they are downloaded. Whatever fails, a cancellation included, nothing stays at the target: a
        cancelled `in_thread` ends after its thread, so that nobody writes behind the removal.
        """
        lines: list[str] = []
        duration_s = 0.0
        async for part in parts:
            lines.append(_line(part))
            duration_s += part.duration_s if isinstance(part, MediaFile) else 0.0
            progress(len(lines))
        if not lines:
            raise MergeError(reason=Said("没有分片", "there are no segments"))
        try:
            size = await self._in_thread(_write, job.target, "".join(lines))
        except BaseException as error:
            await self._in_thread(job.target.unlink, missing_ok=True)
            if not isinstance(error, OSError):
                raise
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(path=str(job.target.parent)) from error
            raise DiskError(path=str(job.target.parent), reason=error.strerror or "") from error
        return MergeResult(size_bytes=size, duration_s=duration_s)


def _line(part: Part) -> str:
    if isinstance(part, MediaFile):
        return f"{part.position:05d}\t{part.duration_s:.3f} s\t{part.size_bytes} bytes\t{part.kind}\n"
    return f"{part.position:05d}\t{part.duration_s:.3f} s\t-\t{part.reason}\n"


def _write(target: Path, text: str) -> int:
    """
    Write it so that it survives a power cut; the size.
    """
    with target.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return target.stat().st_size
