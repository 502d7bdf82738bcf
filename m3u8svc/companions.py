"""
Files that belong beside a result: side-car subtitles, further parts of a split film, a report.

The merger leaves them finished and synced under hidden names beside its target. Their identities are on record before
the result itself is renamed into place; they follow it, so that a run after a crash finds the result, and then each of
them under one name or the other. A storage sees each as a result of its own, of a task of its own.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import attrs
from twisted.logger import Logger

from m3u8svc.errors import DiskError, DiskFull, M3u8svcError
from m3u8svc.nofollow import Folder
from m3u8svc.offerings import Companion, Storage
from m3u8svc.places import file_identity, identity_of
from m3u8svc.replacing import publish_over, remove_replaced
from m3u8svc.tasks.task import CompanionFile, Task
from m3u8svc.waiting import InThread, settled
from m3u8svc.wording import said

log = Logger()


def identify(staged: Iterable[Companion], file_time: float | None) -> tuple[CompanionFile, ...]:
    """
    Give the hidden files their mode and time; returns what they will be known by. Blocking.
    """
    return tuple(
        CompanionFile(suffix=each.suffix, output_id=prepare(each.path, file_time), staged=str(each.path))
        for each in staged
    )


def prepare(staged: Path, file_time: float | None) -> str:
    """
    Give one finished file its mode and time; returns the identity it will be known by. Blocking.
    """
    with Folder.at(staged.parent) as folder, folder.read(staged.name) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(staged))
        os.fchmod(file.fileno(), 0o644)
        if file_time is not None:
            os.utime(file.fileno(), (file_time, file_time))
        os.fsync(file.fileno())  # the time is part of the identity: after a power cut it must still be this one
        return identity_of(os.fstat(file.fileno()))


async def publish_beside(
    task: Task, storage: Storage, name: str, in_thread: InThread, old: Task | None = None
) -> tuple[tuple[CompanionFile, ...], list[str]]:
    """
    Publish what is not published yet of ``task.companions`` beside the result, whose name without extension is `name`;
    also after a crash. Returns them with their places, and a warning for each that is lost. Those of `old` are
    replaced, and removed where there is no new one.

    Raises:
        DiskFull, DiskError, PublishError: one could not be published; all of them are still there.
    """
    done: list[CompanionFile] = []
    warnings: list[str] = []
    before = {} if old is None else {each.suffix: _alone(old, each) for each in old.companions}
    for companion in task.companions:
        known = _alone(task, companion)
        own_name, extension = os.path.splitext(f"{name}.{companion.suffix}")
        found = await storage.recover(known, own_name, extension)
        if found is None and await settled(in_thread(_is_still_staged, companion)):
            staged = Path(companion.staged)
            found = await publish_over(before.get(companion.suffix), storage, known, staged, own_name, extension)
        if found is None:
            warnings.append(
                said(
                    "附属文件 {suffix} 已不存在，未发布",
                    "the file {suffix} beside the result is gone, and not published",
                    suffix=companion.suffix,
                )
            )
        else:
            done.append(attrs.evolve(companion, output=found.location, staged=""))
            if companion.suffix in before:
                await remove_replaced(before.pop(companion.suffix), storage, found)
    for left in before.values():
        await storage.remove(left, left.output)
    return tuple(done), warnings


async def remove_beside(task: Task, storage: Storage, name: str) -> None:
    """
    Remove every published companion, named after `name`, that is still the file we made, recorded yet or not. One that
    a storage elsewhere refuses to remove is named in the log: the task goes all the same.

    Raises:
        DiskFull, DiskError: the disk refused.
    """
    for companion in task.companions:
        known = _alone(task, companion)
        try:
            found = companion.output or await _recovered(storage, known, f"{name}.{companion.suffix}")
            if found:
                await storage.remove(known, found)
        except (DiskError, DiskFull):
            raise
        except M3u8svcError as error:
            log.warn(
                "task {task}: {suffix} is not removed: {error}",
                task=task.id,
                suffix=companion.suffix,
                error=error.text("en"),
            )


async def _recovered(storage: Storage, known: Task, name: str) -> str:
    found = await storage.recover(known, *os.path.splitext(name))
    return "" if found is None else found.location


def forget_staged(staged: Path) -> None:
    """
    Remove a hidden file and the hidden companions beside it: all that a run which did not end may have left. Blocking.
    """
    try:
        folder = Folder.at(staged.parent)
    except (FileNotFoundError, NotADirectoryError):
        return  # never made; or the save directory is a file, and the task failed over it
    with folder:
        for name in folder.names():
            if name == staged.name or name.startswith(f"{staged.name}."):
                folder.remove_ours(name)


def name_beside(location: str, name: str, extension: str) -> str:
    """
    The name that companions of a published file or directory go by: its own, which may have got a number. What looks
    like the extension of a directory is part of its name.
    """
    return Path(location).name.removesuffix(extension) if os.path.isabs(location) else name


def _alone(task: Task, companion: CompanionFile) -> Task:
    return attrs.evolve(
        task,
        id=f"{task.id}.{companion.suffix}",
        output=companion.output,
        output_id=companion.output_id,
        companions=(),
    )


def _is_still_staged(companion: CompanionFile) -> bool:
    try:
        return bool(companion.staged) and file_identity(Path(companion.staged)) == companion.output_id
    except FileNotFoundError:
        return False
