"""
/api/settings: the system settings, read and replaced as a whole.
"""

from collections.abc import Sequence

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, body_of, respond, success
from m3u8svc.web.render import success_object, system_object
from m3u8svc.web.schema import parse_settings


class SettingsAPI:
    """
    The routes of the settings over a service.
    """

    app = Klein()

    def __init__(self, service: Downloads, *, mergers: Sequence[str], storages: Sequence[str]) -> None:
        self._service = service
        self._mergers = mergers
        self._storages = storages

    @app.route("/api/settings", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """All of them."""
        return await respond(request, self._show())

    @app.route("/api/settings", methods=["POST"])
    async def post(self, request: Request) -> bytes:
        """Replace all of them."""
        return await respond(request, self._replace(body_of(request)))

    async def _show(self) -> Answer:
        system = await self._service.system_settings()
        default = self._service.default_save_location
        return success(system_object(system) | {"default_save_location": default})

    async def _replace(self, body: bytes) -> Answer:
        await self._service.prepared()
        draft = parse_settings(body, mergers=self._mergers, storages=self._storages)
        await self._service.replace_settings(draft.over(await self._service.system_settings()))
        return success(success_object(draft.warnings))
