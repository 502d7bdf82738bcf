"""
/api/tasks: create, list, change and remove tasks, as api-seed.txt says.
"""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any  # Any: JSON values

from klein import Klein
from twisted.web.server import Request

from m3u8svc.errors import Fault, M3u8svcError, NotOffered, PluginUnavailable, TooBusy
from m3u8svc.tasks.search import Search
from m3u8svc.tasks.task import Status, Task, TaskDraft
from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, body_of, refusal, refusal_by, respond, success
from m3u8svc.web.gate import BODY_TOO_LARGE
from m3u8svc.web.idempotency import HEADER, REPLAYED, creation_of
from m3u8svc.web.queries import (
    Query,
    parse_depth,
    parse_dry_run,
    parse_files,
    parse_flag,
    parse_list_query,
    parse_task_id,
)
from m3u8svc.web.render import incidents_object, json_bytes, outline_object, success_object, task_object
from m3u8svc.web.schema import is_too_large, parse_change, parse_task
from m3u8svc.weblimits import DEFAULTS, WebLimits
from m3u8svc.wording import Said

UNUSABLE = (PluginUnavailable, NotOffered)
"""Problems of the operator's that a request has if it names what is not there."""

FETCHED_AGAIN = Said("没有保留的分片，将重新下载", "no segments were kept: all are fetched again")
TOTAL = "X-Total-Count"
"""The header with how many tasks a list is about, before limit and offset."""
TASKS_AT_ONCE = 100
"""How many tasks of a list are read and rendered before others get a turn."""
KEPT_TASKS = 512
"""How many tasks are kept as they were shown: a few pages of a list."""
KEPT_BYTES = 1 << 13
"""What is longer is written anew each time: most have a sixth of it, and all that is kept takes 4 MB at most."""


class Written:
    """
    The last tasks that were shown, as JSON: a list is asked for again and again, and most of it is as it was. A task
    that is the same object is the same task.
    """

    def __init__(self, most: int = KEPT_TASKS) -> None:
        self._most = most
        self._known: dict[int, tuple[Task, str, int | None, bytes]] = {}

    def of(self, task: Task, *, default_save_location: str, queue_position: int | None) -> bytes:
        """The object of a task, as `task_object` makes it."""
        known = self._known.get(id(task))
        if known is not None and known[:3] == (task, default_save_location, queue_position):
            return known[3]
        body = json_bytes(task_object(task, default_save_location=default_save_location, queue_position=queue_position))
        if _stays(task) and len(body) <= KEPT_BYTES:
            if len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[id(task)] = task, default_save_location, queue_position, body  # with the task, its id is ours
        return body


def _stays(task: Task) -> bool:
    """Whether the next look at a task may have the same object: not at work, nor with options of plugins."""
    return task.status is not Status.DOWNLOADING and task.again is None and not task.spec.extensions.plugins


class Shower:
    """
    Makes the objects of tasks, all as of one look at the queue.
    """

    def __init__(self, service: Downloads) -> None:
        self._service = service
        self._queue: Mapping[str, int] | None = None

    async def objects(self, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """The objects of these."""
        queue, default = await self._queue_for(tasks), self._service.default_save_location
        return [task_object(each, default_save_location=default, queue_position=queue.get(each.id)) for each in tasks]

    async def all(self, tasks: Sequence[Task], written: Written) -> bytes:
        """Them as JSON, one after the other."""
        queue, default = await self._queue_for(tasks), self._service.default_save_location
        return b", ".join(
            [written.of(each, default_save_location=default, queue_position=queue.get(each.id)) for each in tasks]
        )

    async def _queue_for(self, tasks: Sequence[Task]) -> Mapping[str, int]:
        if self._queue is None and any(task.status is Status.WAITING for task in tasks):
            self._queue = await self._service.queue()
        return self._queue or {}


class TasksAPI:
    """
    The routes of tasks over a service. `mergers` and `storages` are the names a request may choose from.
    """

    app = Klein()

    def __init__(
        self,
        service: Downloads,
        *,
        mergers: Sequence[str],
        storages: Sequence[str],
        limits: WebLimits = DEFAULTS,
    ) -> None:
        self._service = service
        self._mergers = mergers
        self._storages = storages
        self._limits = limits
        self._written = Written()

    @app.route("/api/tasks", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """A new task, or what it would do."""
        keys = request.requestHeaders.getRawHeaders(HEADER, [])
        return await respond(request, self._create(request.args, body_of(request), keys))

    @app.route("/api/tasks", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """One task, its report, a look at its file, or a list."""
        return await respond(request, self._show(request.args))

    @app.route("/api/tasks", methods=["PUT"])
    async def put(self, request: Request) -> bytes:
        """Pause or resume, set other settings, make a finished task again."""
        return await respond(request, self._change(request.args, body_of(request)))

    @app.route("/api/tasks", methods=["DELETE"])
    async def delete(self, request: Request) -> bytes:
        """Remove."""
        return await respond(request, self._remove(request.args))

    async def _create(self, query: Query, body: bytes, keys: Sequence[bytes]) -> Answer:
        if is_too_large(body, self._limits):
            return refusal(BODY_TOO_LARGE.status, BODY_TOO_LARGE.message, BODY_TOO_LARGE.english, BODY_TOO_LARGE.code)
        await self._service.prepared()
        draft = parse_task(body, mergers=self._mergers, storages=self._storages, limits=self._limits)
        if parse_dry_run(query):
            return await self._plan(draft)
        creation = creation_of(keys, body)
        if creation is None:
            return success(success_object(draft.warnings, id=(await self._service.create(draft)).id))
        task_id, replayed = await self._service.create_once(draft, creation)
        headers = {REPLAYED: "true"} if replayed else {}
        return success(success_object(draft.warnings, id=task_id), headers=headers)

    async def _plan(self, draft: TaskDraft) -> Answer:
        """
        What a task would do. That its playlist cannot be had is an answer to this question, not a failure of ours.
        """
        try:
            return success(outline_object(await self._service.plan(draft)))
        except M3u8svcError as error:
            ours = error.fault in (Fault.SERVICE, Fault.OPERATOR) and not isinstance(error, UNUSABLE)
            if ours or isinstance(error, TooBusy):
                raise
            return refusal_by(400, error)

    async def _show(self, query: Query) -> Answer:
        if b"id" in query:
            if parse_flag(query, "report"):
                return Answer(body=await self._service.report(parse_task_id(query)))
            if (depth := parse_depth(query)) is not None:
                return success(await self._service.verify(parse_task_id(query), decode=depth == "full"))
            task = await self._service.task(parse_task_id(query))
            [shown] = await Shower(self._service).objects([task])
            return success(shown | {"incidents": incidents_object(task.incidents)})
        return await self._list(parse_list_query(query, self._limits))

    async def _list(self, wanted: Search) -> Answer:
        """
        The list as JSON, read and made in pieces: of ten thousand tasks it has fourteen megabytes, and would hold
        everybody else up for a second. What fails from the second piece on can only break the answer off.
        """
        show = Shower(self._service)
        total, first, pages = await self._found(wanted)
        begun = b"[" + await show.all(first, self._written)
        headers = ((TOTAL, str(total)),)
        if len(first) < TASKS_AT_ONCE or len(first) == wanted.limit:
            return Answer(body=begun + b"]", headers=headers)

        async def rest() -> AsyncIterator[bytes]:
            async for page in pages:
                if page:
                    yield b", " + await show.all(page, self._written)
            yield b"]"

        return Answer(body=begun, rest=rest(), headers=headers)

    async def _found(self, wanted: Search) -> tuple[int, list[Task], AsyncIterator[list[Task]]]:
        """
        How many tasks a list is about, the first page of what it shows of them, and the others.
        """
        if not wanted.is_plain:
            found = await self._service.search(wanted)
            pages = self._named(found.ids)
            return found.total, await anext(pages), pages
        size = TASKS_AT_ONCE if wanted.limit is None else min(wanted.limit, TASKS_AT_ONCE)
        total, first = await self._service.first_tasks(status=wanted.status, limit=size, offset=wanted.offset)
        return total, first, self._pages_behind(first, wanted)

    async def _named(self, ids: Sequence[str]) -> AsyncIterator[list[Task]]:
        """
        The tasks of these ids as `_pages_behind` has them, without those that are gone meanwhile.
        """
        page: list[Task] = []
        for begin in range(0, len(ids), TASKS_AT_ONCE):
            page += await self._service.tasks_named(ids[begin : begin + TASKS_AT_ONCE])
            if len(page) >= TASKS_AT_ONCE:
                yield page[:TASKS_AT_ONCE]
                page = page[TASKS_AT_ONCE:]
        yield page

    async def _pages_behind(self, page: list[Task], wanted: Search) -> AsyncIterator[list[Task]]:
        """
        The tasks that are wanted behind the first `page`, `TASKS_AT_ONCE` at a time; the last has fewer, perhaps none.
        """
        left = sys.maxsize if wanted.limit is None else wanted.limit
        while True:
            left -= len(page)
            if len(page) < TASKS_AT_ONCE or not left:
                return
            size = min(left, TASKS_AT_ONCE)
            page = await self._service.tasks(status=wanted.status, limit=size, after=page[-1])
            yield page

    async def _change(self, query: Query, body: bytes) -> Answer:
        task_id = parse_task_id(query)
        await self._service.prepared()
        change = parse_change(body, limits=self._limits)
        kept = not change.again or await self._service.keeps_segments(task_id)
        task = await self._service.change(task_id, change)
        about_url = task.spec.warnings if change.url else ()
        return success(success_object((*change.warnings, *about_url, *(() if kept else (FETCHED_AGAIN,)))))

    async def _remove(self, query: Query) -> Answer:
        await self._service.remove(parse_task_id(query), with_files=parse_files(query))
        return success(success_object())
