"""
/api/plugins: which plugins there are, how each fares, and what requests may name.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Plugins
from m3u8svc.web.errors import Answer, respond, success
from m3u8svc.web.render import plugins_object


class PluginsAPI:
    """
    The one route over the loaded plugins.
    """

    app = Klein()

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins

    @app.route("/api/plugins", methods=["GET"])
    async def get(self, request: Request) -> bytes:
        """All of them."""
        return await respond(request, self._show())

    async def _show(self) -> Answer:
        return success(plugins_object(self._plugins))
