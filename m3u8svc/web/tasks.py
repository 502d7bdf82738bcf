"""
/api/tasks: create, list, change and remove tasks, as api-seed.txt says.
"""

from collections.abc import Sequence

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from m3u8svc.errors import Fault, M3u8svcError, NotOffered, PluginUnavailable
from m3u8svc.tasks.task import Task, TaskDraft
from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, body_of, refusal, respond, success
from m3u8svc.web.gate import BODY_TOO_LARGE
from m3u8svc.web.queries import (
    Query,
    parse_depth,
    parse_dry_run,
    parse_files,
    parse_flag,
    parse_list_query,
    parse_task_id,
)
from m3u8svc.web.render import json_bytes, outline_object, success_object, task_object
from m3u8svc.web.schema import is_too_large, parse_change, parse_task

UNUSABLE = (PluginUnavailable, NotOffered)
"""Problems of the operator's that a request has if it names what is not there."""

FETCHED_AGAIN = "没有保留的分片，将重新下载"
TASKS_AT_ONCE = 100
"""How many tasks of a list are rendered before others get a turn."""


class TasksAPI:
    """
    The routes of tasks over a service. `mergers` and `storages` are the names a request may choose from.
    """

    app = Klein()

    def __init__(
        self, service: Downloads, *, clock: IReactorTime, mergers: Sequence[str], storages: Sequence[str]
    ) -> None:
        self._service = service
        self._clock = clock
        self._mergers = mergers
        self._storages = storages

    @app.route("/api/tasks", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """A new task, or what it would do."""
        return await respond(request, self._create(request.args, body_of(request)))

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

    async def _create(self, query: Query, body: bytes) -> Answer:
        if is_too_large(body):
            return refusal(BODY_TOO_LARGE.status, BODY_TOO_LARGE.message, BODY_TOO_LARGE.code)
        draft = parse_task(body, mergers=self._mergers, storages=self._storages)
        if parse_dry_run(query):
            return await self._plan(draft)
        task = await self._service.create(draft)
        return success(success_object(task.spec.warnings, id=task.id))

    async def _plan(self, draft: TaskDraft) -> Answer:
        """
        What a task would do. That its playlist cannot be had is an answer to this question, not a failure of ours.
        """
        try:
            return success(outline_object(await self._service.plan(draft)))
        except M3u8svcError as error:
            if error.fault in (Fault.SERVICE, Fault.OPERATOR) and not isinstance(error, UNUSABLE):
                raise
            return refusal(400, error.text(), error.code)

    async def _show(self, query: Query) -> Answer:
        if b"id" in query:
            if parse_flag(query, "report"):
                return Answer(body=await self._service.report(parse_task_id(query)))
            if (depth := parse_depth(query)) is not None:
                return success(await self._service.verify(parse_task_id(query), decode=depth == "full"))
            task = await self._service.task(parse_task_id(query))
            default = self._service.default_save_location
            return success(task_object(task, default_save_location=default))
        wanted = parse_list_query(query)
        tasks = await self._service.tasks(status=wanted.status, limit=wanted.limit, offset=wanted.offset)
        return Answer(body=await self._rendered(tasks))

    async def _rendered(self, tasks: list[Task]) -> bytes:
        """
        The list as JSON, made in pieces: ten thousand tasks at once would hold everybody else up for 0.1 s.
        """
        default = self._service.default_save_location
        pieces = []
        for start in range(0, len(tasks), TASKS_AT_ONCE):
            if start:
                await deferLater(self._clock, 0)
            batch = tasks[start : start + TASKS_AT_ONCE]
            pieces += [json_bytes(task_object(task, default_save_location=default)) for task in batch]
        return b"[" + b", ".join(pieces) + b"]"

    async def _change(self, query: Query, body: bytes) -> Answer:
        task_id = parse_task_id(query)
        change = parse_change(body)
        kept = not change.again or await self._service.keeps_segments(task_id)
        await self._service.change(task_id, change)
        return success(success_object((*change.warnings, *(() if kept else (FETCHED_AGAIN,)))))

    async def _remove(self, query: Query) -> Answer:
        await self._service.remove(parse_task_id(query), with_files=parse_files(query))
        return success(success_object())
