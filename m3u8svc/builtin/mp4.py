"""
The merger "mp4": everything into one MP4, muxed by a child process while segments arrive.
"""

from collections.abc import AsyncIterator, Iterable

from m3u8svc.hookspecs import hookimpl
from m3u8svc.merge import Muxing
from m3u8svc.offerings import MergeJob, MergeProgress, Merger, MergeResult, Part
from m3u8svc.tasks.task import Task


class Mp4Merger:
    """
    Packets are copied as they are; clocks that were set anew are joined, damaged segments become holes.
    """

    name = "mp4"
    takes_renditions = True
    takes_low_disk = True

    def __init__(self, muxing: Muxing) -> None:
        self._muxing = muxing

    def extension(self, task: Task) -> str:
        """Always the same."""
        return ".mp4"

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target`; see `Muxing.merge`.

        Raises:
            MergeError, DiskFull, DiskError: nothing is left at `job.target`.
        """
        return await self._muxing.merge(job, parts, progress)


class Mp4Plugin:
    """
    Offers the merger "mp4".
    """

    def __init__(self, muxing: Muxing) -> None:
        self._muxing = muxing

    @hookimpl
    def register_mergers(self) -> Iterable[Merger]:
        """
        The one record.
        """
        return [Mp4Merger(self._muxing)]
