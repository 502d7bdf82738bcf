"""
/api/tasks/live: what a task does now, and did lately.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, respond, success
from m3u8svc.web.queries import Query, parse_task_id
from m3u8svc.web.render import live_object


class LiveAPI:
    """
    One task, closely.
    """

    app = Klein()

    def __init__(self, service: Downloads) -> None:
        self._service = service

    @app.route("/api/tasks/live", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """Its speeds, hosts, lines and incidents."""
        return await respond(request, self._show(request.args))

    async def _show(self, query: Query) -> Answer:
        return success(live_object(await self._service.look_at(parse_task_id(query))))
