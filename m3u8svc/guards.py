"""
Mergers and storages of plugins, held: what goes wrong in them has their name, what they answer is looked at, and what
they see of a task has no secrets. Whatever they raise or cancel is theirs; only whoever waits for them can withdraw.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any  # Any: what a plugin answers, before it was looked at

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from m3u8svc.errors import M3u8svcError, PluginError
from m3u8svc.offerings import MergeJob, MergeProgress, Merger, MergeResult, Part, Published, Storage
from m3u8svc.redact import escape_controls, redact_text
from m3u8svc.tasks.task import Task
from m3u8svc.tasks.views import task_for_plugin
from m3u8svc.waiting import through_cancel
from m3u8svc.wording import each_of

MOST_WARNINGS = 100


class _Guard:
    """
    Calls into one plugin.
    """

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin

    def _seen(self, task: Task) -> Task:
        return task_for_plugin(task, self._plugin)

    def _now(self, where: str, call: Callable[[], Any]) -> Any:
        """What a call gives at once."""
        try:
            return call()
        except M3u8svcError:
            raise
        except BaseException as error:  # a task is protected from a plugin, sys.exit() included
            raise self._wrong(where, _text(error)) from error

    async def _awaited(self, where: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """What a call gives in the end. Withdrawn, it is cancelled and waited for."""

        async def work() -> Any:
            return await call()

        results: list[Any] = []
        ended: Deferred[None] = Deferred()

        def over(result: Any) -> None:
            results.append(result)
            ended.callback(None)

        inner = Deferred.fromCoroutine(work())
        inner.addBoth(over)
        await through_cancel(ended, inner.cancel)
        [result] = results
        if not isinstance(result, Failure):
            return result
        assert result.value is not None
        if isinstance(result.value, M3u8svcError):
            raise result.value
        raise self._wrong(where, _text(result.value)) from result.value

    def _wrong(self, where: str, reason: str) -> PluginError:
        return PluginError(plugin=self._plugin, hook=where, reason=reason)


class GuardedMerger(_Guard):
    """
    A plugin's merger.
    """

    def __init__(self, plugin: str, merger: Merger) -> None:
        super().__init__(plugin)
        self._merger = merger
        self.name = merger.name
        self.takes_renditions = getattr(merger, "takes_renditions", False) is True

    def extension(self, task: Task) -> str:
        """The plugin's answer, if it is an extension."""
        found = self._now("extension", lambda: self._merger.extension(self._seen(task)))
        if not isinstance(found, str) or not found.startswith(".") or not found[1:].isalnum() or len(found) > 16:
            raise self._wrong("extension", f"answered {_shown(found)}")
        return found

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """The plugin's result, if there is a file of that size."""
        seen = attrs.evolve(job, task=self._seen(job.task))
        found = await self._awaited("merge", lambda: self._merger.merge(seen, parts, progress))
        if not isinstance(found, MergeResult) or not _is_whole(found.size_bytes) or not _is_number(found.duration_s):
            raise self._wrong("merge", f"answered {_shown(found)}")
        size = self._now("merge", lambda: job.target.stat().st_size)
        if not size or size != found.size_bytes:
            raise self._wrong("merge", f"answered {found.size_bytes} bytes, the file has {size}")
        warnings = found.warnings if isinstance(found.warnings, tuple | list) else (found.warnings,)
        if not all(isinstance(each, str) for each in warnings):
            raise self._wrong("merge", "answered warnings that are no texts")
        plain = tuple(each_of(each, lambda text: escape_controls(text)[:500]) for each in warnings[:MOST_WARNINGS])
        return attrs.evolve(found, warnings=plain)


class GuardedStorage(_Guard):
    """
    A plugin's storage.
    """

    def __init__(self, plugin: str, storage: Storage) -> None:
        super().__init__(plugin)
        self._storage = storage
        self.name = storage.name
        self._replace = getattr(storage, "replace", None)

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """The plugin's answer, if it is a path."""
        path = self._now("staging", lambda: self._storage.staging(self._seen(task), name, extension))
        if not isinstance(path, Path) or not path.is_absolute():
            raise self._wrong("staging", f"answered {_shown(path)}")
        return path

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """The plugin's answer, if it is one."""
        found = await self._awaited("recover", lambda: self._storage.recover(self._seen(task), name, extension))
        return None if found is None else self._published("recover", found)

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """The plugin's answer, if it is one."""
        found = await self._awaited("publish", lambda: self._storage.publish(self._seen(task), staged, name, extension))
        return self._published("publish", found)

    async def replace(self, old: Task, staged: Path) -> Published | None:
        """The plugin's answer, if it is one; None where it cannot do this."""
        replace = self._replace
        if replace is None:
            return None
        found = await self._awaited("replace", lambda: replace(self._seen(old), staged))
        return None if found is None else self._published("replace", found)

    async def remove(self, task: Task, location: str) -> None:
        """Nothing to answer."""
        await self._awaited("remove", lambda: self._storage.remove(self._seen(task), location))

    def _published(self, where: str, found: Any) -> Published:
        if (
            not isinstance(found, Published)
            or not isinstance(found.location, str)
            or not found.location
            or not _is_whole(found.size_bytes)
            or not isinstance(found.local, bool)
        ):
            raise self._wrong(where, f"answered {_shown(found)}")
        return found


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def _text(error: BaseException) -> str:
    try:
        return redact_text(f"{type(error).__name__}: {error}")
    except Exception:  # a text of somebody else's
        return type(error).__name__


def _shown(value: object) -> str:
    try:
        return redact_text(repr(value))[:120]
    except Exception:  # a repr of somebody else's
        return type(value).__name__
