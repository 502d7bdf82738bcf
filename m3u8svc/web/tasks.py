"""
/api/tasks: create, list, change and remove tasks, as api-seed.txt says.
"""

from collections.abc import Sequence

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, body_of, respond
from m3u8svc.web.render import success_object, task_object
from m3u8svc.web.schema import (
    Query,
    parse_change,
    parse_files,
    parse_list_query,
    parse_task,
    parse_task_id,
)


class TasksAPI:
    """
    The routes of tasks over a service. `mergers` and `storages` are the names a request may choose from.
    """

    app = Klein()

    def __init__(self, service: Downloads, *, mergers: Sequence[str], storages: Sequence[str]) -> None:
        self._service = service
        self._mergers = mergers
        self._storages = storages

    @app.route("/api/tasks", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """A new task."""
        return await respond(request, self._create(body_of(request)))

    @app.route("/api/tasks", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """One task, or a list."""
        return await respond(request, self._show(request.args))

    @app.route("/api/tasks", methods=["PUT"])
    async def put(self, request: Request) -> bytes:
        """Pause or resume."""
        return await respond(request, self._change(request.args, body_of(request)))

    @app.route("/api/tasks", methods=["DELETE"])
    async def delete(self, request: Request) -> bytes:
        """Remove."""
        return await respond(request, self._remove(request.args))

    async def _create(self, body: bytes) -> Answer:
        draft = parse_task(body, mergers=self._mergers, storages=self._storages)
        task = await self._service.create(draft)
        return Answer(value=success_object(task.spec.warnings, id=task.id))

    async def _show(self, query: Query) -> Answer:
        default = self._service.default_save_location
        if b"id" in query:
            task = await self._service.task(parse_task_id(query))
            return Answer(value=task_object(task, default_save_location=default))
        wanted = parse_list_query(query)
        tasks = await self._service.tasks(status=wanted.status, limit=wanted.limit, offset=wanted.offset)
        return Answer(value=[task_object(task, default_save_location=default) for task in tasks])

    async def _change(self, query: Query, body: bytes) -> Answer:
        task_id = parse_task_id(query)
        change = parse_change(body)
        await self._service.change(task_id, change)
        return Answer(value=success_object(change.warnings))

    async def _remove(self, query: Query) -> Answer:
        await self._service.remove(parse_task_id(query), with_files=parse_files(query))
        return Answer(value=success_object())
