"""
Letting go of segments while their film is being merged (``low_disk``).

The merger syncs its target and writes a journal, then says how many parts are behind that checkpoint. Only when this is
written down here, durably, are the files of these parts removed; so whatever happens, a part is either on disk or in
the target. The next run reads what was written down: it fetches nothing of it, and the merger goes on from there. When
the plan is another by then, or the target is gone, everything begins anew.
"""

from pathlib import Path
from typing import NoReturn

from twisted.internet.defer import Deferred

from m3u8svc.download import Download
from m3u8svc.nofollow import Folder, read_file
from m3u8svc.offerings import Checkpoint
from m3u8svc.tasks.merged import Merged, read_merged, write_merged
from m3u8svc.workdir import WorkDir

RECORD = "merged.json"
JOURNAL = "merge.journal"


class LettingGo:
    """
    Follows the checkpoints of one merge. `merged` is how far it is on record.
    """

    def __init__(self, download: Download, workdir: WorkDir, merged: Merged) -> None:
        self._download = download
        self._workdir = workdir
        self._passed: list[Checkpoint] = []
        self._waiting: Deferred[None] | None = None
        self.merged = merged
        self.file_time: float | None = merged.file_time

    def passed(self, checkpoint: Checkpoint) -> None:
        """The merger has come to a cut."""
        self._passed.append(checkpoint)
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.callback(None)

    async def run(self) -> NoReturn:
        """
        Let go of what is behind each checkpoint, until cancelled.

        Raises:
            DiskFull, DiskError: it cannot be written down.
        """
        await self._workdir.let_go(self._download.left_behind())
        while True:
            while self._passed:
                await self._follow(self._passed.pop(0))
            self._waiting = Deferred()
            await self._waiting

    async def _follow(self, checkpoint: Checkpoint) -> None:
        if checkpoint.made:
            merged = Merged(
                parts=checkpoint.parts,
                size_bytes=checkpoint.size_bytes,
                digest=self._download.digest(checkpoint.parts),
                cuts=checkpoint.cuts,
                file_time=self.file_time,
                missing=self._download.missing(checkpoint.parts),
            )
            await self._workdir.store_bytes(RECORD, write_merged(merged))
            self.merged = merged
            await self._workdir.let_go(self._download.let_go(checkpoint.parts))
        self._download.pass_cut(checkpoint.parts)


def find_merged(directory: Path, target: Path) -> Merged | None:
    """
    What an earlier run wrote down, if the target is still there for it. Blocking.
    """
    try:
        with read_file(directory / RECORD) as file:
            merged = read_merged(file.read())
        whole = merged is not None and target.stat().st_size >= merged.size_bytes
        return merged if whole and (directory / JOURNAL).exists() else None
    except FileNotFoundError:
        return None


def forget_merged(directory: Path) -> bool:
    """
    Begin anew: what was written down counts no more. Returns whether there was anything. Blocking.
    """
    with Folder.at(directory) as folder:
        known = folder.holds(RECORD)
        folder.remove_ours(RECORD)
        folder.remove_ours(JOURNAL)
        if known:
            folder.sync()  # or a power cut brings back a record of what is gone
    return known
