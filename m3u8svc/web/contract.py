"""
What the web room asks of the service: the whole of it, so that tests can stand in for the rest of the house.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol  # Any: JSON values

from m3u8svc.counting import Traffic
from m3u8svc.errors import M3u8svcError
from m3u8svc.hls.outline import Outline
from m3u8svc.results import ResultFile
from m3u8svc.tasks.creation import Creation
from m3u8svc.tasks.livelog import Live
from m3u8svc.tasks.plugins import PluginStatus
from m3u8svc.tasks.search import Found, Overview, Search
from m3u8svc.tasks.segmentmap import SegmentMap
from m3u8svc.tasks.task import Status, SystemSettings, Task, TaskChange, TaskDraft
from m3u8svc.tasks.viewing import Wanted


class Tally(Protocol):
    """
    What one hook of one plugin has done since the start.
    """

    @property
    def calls(self) -> int: ...
    @property
    def failures(self) -> int: ...
    @property
    def slow(self) -> int: ...


class Plugins(Protocol):
    """
    The loaded plugins as the API sees them.
    """

    @property
    def merger_names(self) -> Sequence[str]:
        """What a request may name as its merger."""

    @property
    def storage_names(self) -> Sequence[str]:
        """What a request may name as its storage."""

    def statuses(self) -> Sequence[PluginStatus]:
        """Every plugin that was found, as it is now."""

    def tallies(self, plugin: str) -> Mapping[str, Tally]:
        """What its hooks have done so far."""


class Reason(Protocol):
    """
    One thing that is wrong with the whole service.
    """

    @property
    def error(self) -> M3u8svcError: ...
    @property
    def since(self) -> float:
        """Seconds since the epoch."""


class Sandbox(Protocol):
    """
    The box that media is read in.
    """

    def as_fields(self) -> dict[str, Any]:
        """As it is shown."""


class Health(Protocol):
    """
    How the whole service is.
    """

    def reasons(self) -> Sequence[Reason]:
        """What is wrong now; nothing when all is well."""

    def sandbox(self) -> Sandbox:
        """The box that media is read in, as far as it is known."""

    async def ready(self) -> None:
        """Returns when a task could be taken now; an `M3u8svcError` says why not."""


class Downloads(Protocol):
    """
    The download service as the API sees it. Any method may raise an `M3u8svcError`.
    """

    async def prepared(self) -> None:
        """What judging a request takes is at hand when this returns, so that judging it is quick."""

    async def create(self, draft: TaskDraft) -> Task:
        """A new task, committed when this returns."""

    async def create_once(self, draft: TaskDraft, creation: Creation) -> tuple[str, bool]:
        """The id of the task that this request makes, and whether it made it before; `IdempotencyConflict`."""

    async def plan(self, draft: TaskDraft) -> Outline:
        """What a task of this request would do, without one; `TooBusy`."""

    async def task(self, task_id: str) -> Task:
        """One task with its live progress; `TaskNotFound`."""

    async def tasks(
        self,
        *,
        status: Status | None = None,
        limit: int | None = None,
        after: Task | None = None,
    ) -> list[Task]:
        """Tasks in the order of their creation; with `after`, those behind it, whether it is still there or not."""

    async def first_tasks(self, *, status: Status | None, limit: int, offset: int) -> tuple[int, list[Task]]:
        """How many tasks there are, and the first of them from `offset` on."""

    async def search(self, search: Search) -> Found:
        """Which tasks this finds, as of one moment."""

    async def tasks_named(self, task_ids: Sequence[str]) -> list[Task]:
        """The tasks of these ids that are still there, in this order."""

    async def overview(self) -> Overview:
        """All tasks in a few numbers."""

    async def queue(self) -> Mapping[str, int]:
        """Where each task that waits stands, by id and from 1: the order in which they start."""

    async def change(self, task_id: str, change: TaskChange) -> Task:
        """The task after the change; `TaskNotFound`, `InvalidTransition`, `CannotRemake`."""

    async def keeps_segments(self, task_id: str) -> bool:
        """Whether a finished task can be made again without fetching its segments."""

    async def report(self, task_id: str) -> bytes:
        """The report of a task's result as JSON; `ReportNotFound`."""

    async def verify(self, task_id: str, *, decode: bool) -> dict[str, Any]:
        """What a look at a task's file finds; `CannotVerify`, `TooBusy`."""

    async def segment_map(self, task_id: str) -> SegmentMap:
        """Where each segment of a task stands; `TaskNotFound`, `TooBusy`."""

    async def look_at(self, task_id: str) -> Live:
        """What a task does now, and did lately; `TaskNotFound`."""

    async def playlist_to_watch(self, task_id: str, track: int | None) -> str:
        """A local playlist of a task's film; `NothingToWatch`, `WatchTheFile`, `SegmentAbsent`, `NotThereYet`."""

    async def piece_to_watch(self, task_id: str, wanted: Wanted) -> tuple[ResultFile, str]:
        """A segment of it, open to be read, and its media type; the same errors. May be cancelled."""

    async def picture(self, task_id: str, position: int) -> bytes:
        """
        A small JPEG of a segment; `SegmentAbsent`, `NoPicture`, `NotThereYet`, `FileGone`, `TooBusy`. May be cancelled.
        """

    async def result(self, task_id: str) -> ResultFile:
        """The file of a finished task, open to be read; `ResultNotReady`, `NoResultFile`, `FileGone`."""

    async def remove(self, task_id: str, *, with_files: bool) -> None:
        """Forget a task and its work directory, and its output too if asked; `TaskNotFound`."""

    async def system_settings(self) -> SystemSettings:
        """The settings a task gets when its request names none."""

    async def replace_settings(self, system: SystemSettings) -> SystemSettings:
        """Save the system settings, all of them."""

    def running(self) -> list[Task]:
        """Live snapshots of the tasks that download now."""

    def traffic(self) -> Traffic:
        """What came from all hosts so far, and who is asked now."""

    def watch(self, told: Callable[[Task], None]) -> Callable[[], None]:
        """Call `told` at every transition and progress change, until the returned function is called."""

    @property
    def default_save_location(self) -> str:
        """What an empty `save_location` means."""
