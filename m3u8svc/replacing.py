"""
Results in the place of older ones: published over what a task had, or beside it where that is not ours any more.
"""

from pathlib import Path

import attrs

from m3u8svc.offerings import Published, Storage
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.task import Task


@attrs.frozen(kw_only=True)
class Past:
    """
    The result that a run is to replace: its task as it is stored, and the report of it, if there is one.
    """

    task: Task
    report: Report | None = None


async def publish_over(
    old: Task | None, storage: Storage, task: Task, staged: Path, name: str, extension: str
) -> Published:
    """
    Publish `staged` in the place of the result of `old`, if there is one and it is still the one we made; else under
    the first free name. At no time is there neither.

    Raises:
        DiskFull, DiskError, PublishError: nothing was published, and the old result is as it was.
    """
    replace = getattr(storage, "replace", None)
    if old is not None and old.output.endswith(extension) and replace is not None:
        replaced: Published | None = await replace(old, staged)
        if replaced is not None:
            return replaced
    return await storage.publish(task, staged, name, extension)


async def remove_replaced(old: Task, storage: Storage, result: Published) -> None:
    """
    Remove the old result, where the new one has another name; only what is still the one we made.
    """
    if old.output and old.output != result.location:
        await storage.remove(old, old.output)
