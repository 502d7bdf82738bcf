"""
What there is to see of one task's segments: /api/tasks/segments.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, respond, success
from m3u8svc.web.queries import Query, parse_task_id
from m3u8svc.web.render import segment_map_object


class WatchingAPI:
    """
    The routes over a service.
    """

    app = Klein()

    def __init__(self, service: Downloads) -> None:
        self._service = service

    @app.route("/api/tasks/segments", methods=["GET"])
    async def segments(self, request: Request) -> bytes:
        """Where each segment stands."""
        return await respond(request, self._segments(request.args))

    async def _segments(self, query: Query) -> Answer:
        return success(segment_map_object(await self._service.segment_map(parse_task_id(query))))
