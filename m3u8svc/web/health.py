"""
/api/health and /readyz: how the whole service is. /healthz, beside the pages, only says that we answer.
"""

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.server import Request

from m3u8svc.errors import M3u8svcError
from m3u8svc.waiting import settled
from m3u8svc.web.apologies import NOT_READY
from m3u8svc.web.contract import Health
from m3u8svc.web.errors import Answer, put, refusal, respond, success
from m3u8svc.web.render import health_object

RETRY_AFTER_S = 5


class HealthAPI:
    """
    What is wrong, and whether tasks can be taken.
    """

    app = Klein()

    def __init__(self, health: Health, *, version: str) -> None:
        self._health = health
        self._version = version

    @app.route("/api/health", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """All that is wrong, for people and their tools."""
        return await respond(request, self._show())

    @app.route("/readyz", methods=["GET"])
    async def ready(self, request: Request) -> bytes:
        """Whether a task could be stored now, for what sends requests here; no details but a code."""
        return put(request, await settled(Deferred.fromCoroutine(self._ready())))

    async def _show(self) -> Answer:
        return success(health_object(self._health.reasons(), self._health.sandbox(), version=self._version))

    async def _ready(self) -> Answer:
        try:
            await self._health.ready()
        except M3u8svcError as error:
            return refusal(503, *NOT_READY, error.code, retry_after_s=RETRY_AFTER_S)
        return success({"status": "ready"})
