"""
/api/curl: what a task would be of a curl command, for those who paste one. It makes no task.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.errors import Answer, body_of, respond, success
from m3u8svc.web.schema import parse_curl_request
from m3u8svc.weblimits import DEFAULTS, WebLimits


class CurlAPI:
    """
    The one route.
    """

    app = Klein()

    def __init__(self, *, limits: WebLimits = DEFAULTS) -> None:
        self._limits = limits

    @app.route("/api/curl", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """Read it."""
        return await respond(request, self._read(body_of(request)))

    async def _read(self, body: bytes) -> Answer:
        return success(parse_curl_request(body, limits=self._limits))
