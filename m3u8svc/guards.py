"""
Mergers and storages of plugins, held so that what goes wrong in them has their name and what they answer is looked at.
"""

from collections.abc import AsyncIterator
from pathlib import Path

from twisted.internet.defer import CancelledError

from m3u8svc.errors import M3u8svcError, PluginError
from m3u8svc.offerings import MergeJob, MergeProgress, Merger, MergeResult, Part, Published, Storage
from m3u8svc.tasks.task import Task


def _blamed(plugin: str, where: str, error: Exception) -> Exception:
    if isinstance(error, M3u8svcError | CancelledError):
        return error
    return PluginError(plugin=plugin, hook=where, reason=f"{type(error).__name__}: {error}")


class GuardedMerger:
    """
    A plugin's merger. What it answers is looked at, and what it raises that is none of our errors gets its name.
    """

    def __init__(self, plugin: str, merger: Merger) -> None:
        self._plugin = plugin
        self._merger = merger
        self.name = merger.name

    def extension(self, task: Task) -> str:
        """The plugin's answer, if it is an extension."""
        try:
            extension = self._merger.extension(task)
        except Exception as error:  # a task is protected from a plugin
            raise _blamed(self._plugin, "extension", error) from error
        if not isinstance(extension, str) or not extension.startswith(".") or "/" in extension or len(extension) > 16:
            raise PluginError(plugin=self._plugin, hook="extension", reason=f"answered {extension!r}")
        return extension

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """The plugin's result, if there is a file of that size."""
        try:
            result = await self._merger.merge(job, parts, progress)
            size = job.target.stat().st_size if isinstance(result, MergeResult) else -1
        except Exception as error:  # a task is protected from a plugin; cancellation passes as what it is
            raise _blamed(self._plugin, "merge", error) from error
        if size <= 0 or size != result.size_bytes:
            raise PluginError(
                plugin=self._plugin, hook="merge", reason=f"answered {result!r}, the file has {size} bytes"
            )
        return result


class GuardedStorage:
    """
    A plugin's storage, in the same way.
    """

    def __init__(self, plugin: str, storage: Storage) -> None:
        self._plugin = plugin
        self._storage = storage
        self.name = storage.name

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """The plugin's answer, if it is a path."""
        try:
            path = self._storage.staging(task, name, extension)
        except Exception as error:  # a task is protected from a plugin
            raise _blamed(self._plugin, "staging", error) from error
        if not isinstance(path, Path) or not path.is_absolute():
            raise PluginError(plugin=self._plugin, hook="staging", reason=f"answered {path!r}")
        return path

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """The plugin's answer."""
        try:
            found = await self._storage.recover(task, name, extension)
        except Exception as error:  # a task is protected from a plugin
            raise _blamed(self._plugin, "recover", error) from error
        if found is not None and not isinstance(found, Published):
            raise PluginError(plugin=self._plugin, hook="recover", reason=f"answered {found!r}")
        return found

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """The plugin's answer."""
        try:
            published = await self._storage.publish(task, staged, name, extension)
        except Exception as error:  # a task is protected from a plugin
            raise _blamed(self._plugin, "publish", error) from error
        if not isinstance(published, Published):
            raise PluginError(plugin=self._plugin, hook="publish", reason=f"answered {published!r}")
        return published

    async def remove(self, task: Task, location: str) -> None:
        """Nothing to answer."""
        try:
            await self._storage.remove(task, location)
        except Exception as error:  # a task is protected from a plugin
            raise _blamed(self._plugin, "remove", error) from error
