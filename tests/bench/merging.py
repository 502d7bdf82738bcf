"""
``python -m tests.bench.merging FOLDER COUNT TARGET``: the first segments of a stream on the disk become an MP4.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any  # Any: the reactor

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from m3u8svc.merge import Muxing
from m3u8svc.offerings import MediaFile, MergeJob, Part
from m3u8svc.tasks.task import Task, TaskSpec


async def _parts(folder: Path, count: int) -> AsyncIterator[Part]:
    for number in range(count):
        yield MediaFile(position=number + 1, path=folder / f"index{number}.ts", kind="ts", duration_s=1.0)


def _main(reactor: Any, folder: str, count: str, target: str) -> "Deferred[object]":
    task = Task(id="bench", spec=TaskSpec(url="http://127.0.0.1/", filename="bench"))
    job = MergeJob(task=task, target=Path(target))
    Path(target).unlink(missing_ok=True)
    muxing = Muxing(reactor=reactor, in_thread=deferToThread)
    return Deferred.fromCoroutine(muxing.merge(job, _parts(Path(folder), int(count)), lambda parts_done: None))


if __name__ == "__main__":
    react(_main, sys.argv[1:])
