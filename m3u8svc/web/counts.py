"""
/api/counts: all tasks in a few numbers, for whoever shows them.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, respond, success
from m3u8svc.web.render import counts_object


class CountsAPI:
    """
    How many tasks there are, how fast they are, how much room they have.
    """

    app = Klein()

    def __init__(self, service: Downloads) -> None:
        self._service = service

    @app.route("/api/counts", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """All of it, as it is now."""
        return await respond(request, self._show())

    async def _show(self) -> Answer:
        return success(counts_object(await self._service.overview()))
