"""
What plugins hand over and are handed: mergers and storages with the values that pass through them, groups of segments,
services. The hooks themselves are in `hookspecs.py`; authors import all of it from `m3u8svc.plugin`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import attrs

from m3u8svc.hls.cuts import Cuts
from m3u8svc.hls.fingerprint import Signature
from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.playlist import MAIN, Segment
from m3u8svc.tasks.task import Task


@attrs.frozen(kw_only=True)
class Skip:
    """
    One segment to leave out: its 1-based `position` and a reason people can read, a text or, in both languages, a
    `Said(zh, en)`.
    """

    position: int
    reason: str


@attrs.frozen(kw_only=True)
class Note:
    """
    Something the task's user should know, beside no segment: it becomes a warning of the task. A text or, in both
    languages, a `Said(zh, en)`.
    """

    reason: str


@attrs.frozen(kw_only=True)
class SegmentGroup:
    """
    Segments between two discontinuities, in order: what a splice brought in, or a stretch of the programme.
    ``attrs.evolve(group, segments=...)`` is a smaller group, whose first segment is looked at for its `signature()`.
    """

    discontinuity_sequence: int
    segments: Sequence[Segment] = attrs.field(repr=False)
    _look: Callable[["SegmentGroup"], Awaitable[Signature]] = attrs.field(repr=False, eq=False)

    @property
    def positions(self) -> tuple[int, ...]:
        """The 1-based positions of its segments."""
        return tuple(segment.position for segment in self.segments)

    @property
    def start_s(self) -> float:
        """Where it begins in the playlist, in seconds."""
        return self.segments[0].start_s

    @property
    def duration_s(self) -> float:
        """The sum of its EXTINF."""
        return sum(segment.duration_s for segment in self.segments)

    async def signature(self) -> Signature:
        """
        How this group was encoded: parameter sets and audio format of its first segment, which is fetched the normal
        way (headers, proxy, key, retries) and kept, so that it is not fetched again. Await it in an `async def` hook.

        Raises:
            M3u8svcError: the segment could not be fetched; the group cannot be judged by this.
        """
        return await self._look(self)


@attrs.frozen(kw_only=True)
class SegmentOutcome:
    """
    How one segment ended: "done", "skipped" (left out by a rule) or "lost" (given up, its time stays empty).
    `attempts` counts from 1; `reason` is "" for "done".
    """

    kind: Literal["done", "skipped", "lost"]
    attempts: int
    size_bytes: int = 0
    reason: str = ""
    track: str = MAIN


# -- Merging ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TrackInfo:
    """
    One media playlist of a presentation, as a merger must know it. `language` is BCP 47 as the playlist writes it, ""
    when it does not say.
    """

    track: str
    kind: Literal["main", "audio", "subtitles"]
    language: str = ""
    name: str = ""
    default: bool = False
    forced: bool = False


@attrs.frozen(kw_only=True)
class MediaFile:
    """
    One finished, decrypted, verified segment on disk, handed to a merger in order. `position` and `start_s` count in
    the playlist of its `track`.
    """

    position: int
    path: Path
    kind: MediaKind
    duration_s: float
    discontinuity_sequence: int = 0
    init: Path | None = None
    size_bytes: int = 0
    track: str = MAIN
    start_s: float = 0.0
    last: bool = False
    """Whether nothing follows it in its track."""


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
    track: str = MAIN
    start_s: float = 0.0
    last: bool = False


Part = MediaFile | Gap
"""What a merger gets. Tracks follow each other by where their parts start, each in its own order."""


@attrs.frozen(kw_only=True)
class Companion:
    """
    One more finished, synced file of a result: `path` is hidden beside the target; it becomes ``<name>.<suffix>``.
    """

    path: Path
    suffix: str


@attrs.frozen(kw_only=True)
class Checkpoint:
    """
    A merge has come to a cut: with `made` the first `parts` of all parts are in the target for good, which is
    `size_bytes` long there; without, the cut had to be passed over. `cuts` says how the cutting goes on.
    """

    parts: int
    size_bytes: int
    made: bool
    cuts: Cuts


@attrs.frozen(kw_only=True)
class LowDisk:
    """
    How a merge lets go of files. `journal` is the merger's own, beside the segments. `merged` parts are behind an
    earlier checkpoint, and the parts that are handed over begin after them, cut as `cuts` says; `passed` is told of
    every cut.
    """

    journal: Path
    passed: Callable[[Checkpoint], None]
    merged: int = 0
    cuts: Cuts = attrs.field(factory=Cuts)


@attrs.frozen(kw_only=True)
class MergeJob:
    """
    What a merger is told besides the parts. `target` is the hidden file to write; `task` has the merger's own options
    (``job.task.options_for("merge-ffmpeg")``). `file_time` (epoch seconds) becomes the creation time inside the file
    when given; the clock is never asked, so that a replay is byte-identical.
    """

    target: Path
    task: Task
    faststart: bool = False
    file_time: float | None = None
    expected_duration_s: float = 0.0
    tracks: tuple[TrackInfo, ...] = (TrackInfo(track=MAIN, kind="main"),)
    """What the parts belong to, "main" first."""
    on_param_change: Literal["keep", "split"] = "keep"
    subtitle_files: tuple[str, ...] = ()
    """Kinds of side-car files to write of each subtitle track: "vtt", "srt"."""
    sources: tuple[Path, ...] | None = None
    """The directories that hold all parts: the built-in merger's child can read nothing else. None: not known."""
    low_disk: "LowDisk | None" = None
    """Set when files may be let go of while the merge goes on; None for mergers of plugins."""


@attrs.frozen(kw_only=True)
class MergeResult:
    """
    A finished, verified and synced target file, and what belongs beside it. `warnings` are texts or, in both languages,
    `Said(zh, en)`.
    """

    size_bytes: int
    duration_s: float
    warnings: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    details: Mapping[str, Any] = attrs.field(factory=dict)  # Any: JSON
    """What the merger knows of tracks and segments, for the report of completeness; JSON values."""


class MergeProgress(Protocol):
    """
    Called by a merger as it goes: how many parts are in the file.
    """

    def __call__(self, parts_done: int) -> None: ...


class Merger(Protocol):
    """
    One way to make one file of many segments. Requests choose it by `name`. Called on the reactor: it must not block.
    One that can take several tracks says so by an attribute ``takes_renditions = True``; others get tasks of one track
    only, and the rest is refused before anything is fetched. The built-in one that can let go of files while it
    goes on says so by ``takes_low_disk = True``; plugins are not promised that.
    """

    name: str

    def extension(self, task: Task) -> str:
        """Of the finished file, with its dot. Asked several times in a task's life, always with the same answer."""
        ...

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target` from `parts`, in order, as they come; return when it is complete, verified and fsynced.
        Cancelled (a pause), it ends what it started before it lets the cancellation go on.

        Raises:
            MergeError: no verified file; nothing is left at `job.target`.
        """
        ...


# -- Storing ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Published:
    """
    Where a result is: a path, or the URL of an object elsewhere. `local`: it is a file of this machine, which can be
    known again, and removed, by its identity.
    """

    location: str
    size_bytes: int
    local: bool = False


class Storage(Protocol):
    """
    Where a finished file goes. Requests choose it by `name`. Called on the reactor: it must not block.

    One that can put a file in the place of an older one has, besides, ``async def replace(old, staged)``: the task as
    it was with its old result, and the new file. It answers `Published`, or None where the old result is gone or not
    the one we made. Without it the new file gets a name of its own, and the old one is removed after that.
    """

    name: str

    def staging(self, task: Task, name: str, extension: str) -> Path:
        """A local path to write to, hidden, on the same file system as the end place when that is local."""
        ...

    async def recover(self, task: Task, name: str, extension: str) -> Published | None:
        """What an earlier run published of this task already, if a crash came before that was recorded."""
        ...

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        """
        Make `staged` visible under `name`, never overwriting, whole or not at all. Called once it is verified. When it
        returns `staged` is gone; when it raises, `staged` is still there and nothing half-done is left elsewhere.
        """
        ...

    async def remove(self, task: Task, location: str) -> None:
        """Remove a result of this task: somebody asked for that. Gone already is fine."""
        ...


# -- Services --------------------------------------------------------------------------------------------------------


class Fetch(Protocol):
    """
    The one door out, for a plugin: GET, with the service's timers, redirects and limits. It connects directly: a task's
    proxy is for the task.
    """

    async def __call__(
        self, url: str, *, headers: Sequence[tuple[str, str]] = (), max_bytes: int = 1 << 20, total_s: float = 30.0
    ) -> bytes: ...


@attrs.frozen(kw_only=True)
class Services:
    """
    What a plugin may use: a clock, threads, a logger of its own, a directory of its own (it exists), the door out.
    """

    reactor: Any
    """For child processes and agents, on its own thread: in an `async def` hook. A `Clock` in the harness."""
    clock: Any
    """IReactorTime: ``seconds()`` is monotonic, ``callLater(seconds, function)``."""
    in_thread: Callable[..., Any]
    """
    ``await services.in_thread(function, *arguments)``: for work that blocks, in an `async def` hook. Cancelled, it
    waits for the thread's end first.
    """
    log: Any
    """A twisted.logger.Logger under ``m3u8svc.plugin.<name>``."""
    state_dir: Path
    fetch: Fetch
