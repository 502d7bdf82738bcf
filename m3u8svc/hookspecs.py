"""
The hook contract. Each hook is called in one of five ways, named by the first word of its docstring, plus a pipeline:

- *own*: once per plugin, with its own configuration;
- *offer*: at start; named records from all plugins, the same name twice is a startup error;
- *ask*: the first answer that is not None wins, last registered first, built-ins last;
- *union*: the answers of all are joined;
- *tell*: the answer is ignored.

Hooks may return a value or an awaitable. Arguments are passed by name; an implementation takes those it wants.
`hooks.py` does the calling: order, deadline, isolation, blame.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs
import pluggy

from m3u8svc.errors import M3u8svcError
from m3u8svc.hls.media import MediaKind as MediaKind
from m3u8svc.hls.playlist import MasterPlaylist, Segment, Variant
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.retry import FailureDecision
from m3u8svc.tasks.task import Task

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent

PROJECT = "m3u8svc"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Kind = Literal["own", "offer", "ask", "union", "tell", "pipeline"]


# -- Values ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Skip:
    """
    One segment to leave out: its 1-based `position` and a reason people can read.
    """

    position: int
    reason: str


@attrs.frozen(kw_only=True)
class MediaFile:
    """
    One finished, decrypted, verified segment on disk, handed to a merger in order.
    """

    position: int
    path: Path
    kind: MediaKind
    duration_s: float
    discontinuity_sequence: int = 0
    init: Path | None = None
    size_bytes: int = 0


@attrs.frozen(kw_only=True)
class Gap:
    """
    A segment that is not there: skipped, declared as GAP, or given up. The merger keeps or closes the hole by `keep`.
    """

    position: int
    duration_s: float
    discontinuity_sequence: int = 0
    reason: str = ""
    keep: bool = False
    """True: its time stays empty in the output. False: what follows moves up (a skipped segment)."""


Part = MediaFile | Gap


@attrs.frozen(kw_only=True)
class MergeJob:
    """
    What a merger is told besides the parts. `target` is the hidden file to write. `file_time` (epoch seconds) becomes
    the creation time inside the file when given; the clock is never asked, so that a replay is byte-identical.
    """

    target: Path
    faststart: bool = False
    file_time: float | None = None
    expected_duration_s: float = 0.0


@attrs.frozen(kw_only=True)
class MergeResult:
    """
    A finished, verified and synced target file.
    """

    size_bytes: int
    duration_s: float
    warnings: tuple[str, ...] = ()


class MergeProgress(Protocol):
    """
    Called by a merger as it goes: how many parts are in the file.
    """

    def __call__(self, parts_done: int) -> None: ...


class Merger(Protocol):
    """
    One way to make one file of many segments.
    """

    name: str
    extension: str
    """Of the finished file, with its dot; "" when `merge` makes no file (the `none` merger)."""

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target` from `parts`, in order, as they come; return when it is complete, verified and fsynced.

        Raises:
            MergeError: no verified file; nothing is left at `job.target`.
        """
        ...


class Storage(Protocol):
    """
    Where a finished file goes.
    """

    name: str

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """A local path to write to, hidden, on the same file system as the end place when that is local."""
        ...

    async def recover(self, task: Task, name: str, extension: str) -> str | None:
        """Where an earlier run published this task's file already, if a crash came before that was recorded."""
        ...

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> str:
        """Make `staged` visible under `name`, never overwriting; returns where it is. Called once it is verified."""
        ...


@attrs.frozen(kw_only=True)
class Services:
    """
    What a plugin may use: the clock, threads, a logger of its own, a directory of its own.
    """

    clock: Any  # IReactorTime; zope interfaces are not types
    in_thread: Callable[..., Any]  # deferToThread's shape: generic callables cannot be spelled
    log: Any  # twisted.logger.Logger: kept out of this module's imports
    state_dir: Path


# -- Hooks -----------------------------------------------------------------------------------------------------------


@hookspec
def register_mergers() -> Iterable[Merger]:
    """
    *offer*: at start. The mergers this plugin brings; requests choose one by `name` ("merger": "mp4").
    """
    raise NotImplementedError


@hookspec
def register_storage() -> Iterable[Storage]:
    """
    *offer*: at start. The places this plugin can publish to; requests choose one by `name`.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def choose_variant(master: MasterPlaylist, task: Task) -> Variant | None:
    """
    *ask*: after a multivariant playlist. which to download. Default: best BANDWIDTH, then size.
    """
    raise NotImplementedError


@hookspec
def skip_segments(segments: tuple[Segment, ...], task: Task) -> Iterable[Skip] | None:
    """
    *union*: after each media playlist. segments to leave out, with reasons. Default: the skip expression.
    """
    raise NotImplementedError


@hookspec
def prepare_request(request: Request, task: Task) -> Request | None:
    """
    *pipeline*: before every attempt. A changed copy of the request, or None. An error fails the attempt.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def provide_agent(request: Request, task: Task, attempt: int) -> "IAgent | None":
    """
    *ask*, fail-closed: before every attempt. The agent that carries it; None = no opinion. Default: direct, pooled.

    If an implementation raises, hangs or answers nonsense the request is not sent: a broken proxy never becomes a
    direct connection. Must be `async` or not block.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def after_failure(segment: Segment, error: M3u8svcError, attempt: int, task: Task) -> FailureDecision | None:
    """
    *ask*: one attempt at a segment failed (`attempt` counts from 1). What now; None = no opinion. Default: backoff,
    Retry-After and the expression's ``http.code=`` rules.
    """
    raise NotImplementedError


@hookspec
def task_changed(task: Task, previous: Task | None) -> None:
    """
    *tell*: after every transition, once it is stored. At least once, in order per task.
    """
    raise NotImplementedError


KINDS: dict[str, Kind] = {
    "register_mergers": "offer",
    "register_storage": "offer",
    "choose_variant": "ask",
    "skip_segments": "union",
    "prepare_request": "pipeline",
    "provide_agent": "ask",
    "after_failure": "ask",
    "task_changed": "tell",
}
FAIL_CLOSED = frozenset({"provide_agent"})
