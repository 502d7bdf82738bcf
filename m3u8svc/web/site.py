"""
The web room put together: the gate, the API, the WebSocket, the pages. Importing this imports klein, and klein the
reactor; `tap` does so inside `makeService`.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from m3u8svc.web.channel import GatedSite
from m3u8svc.web.contract import Downloads, Plugins
from m3u8svc.web.errors import put, refusal
from m3u8svc.web.pages import Pages
from m3u8svc.web.plugins import PluginsAPI
from m3u8svc.web.push import ProgressFeed, ProgressResource
from m3u8svc.web.settings import SettingsAPI
from m3u8svc.web.tasks import TasksAPI


def make_site(
    service: Downloads,
    *,
    reactor: IReactorTime,
    allowed_hosts: Callable[[], frozenset[str]],
    plugins: Plugins,
    version: str,
) -> Site:
    """
    A site to listen with. `allowed_hosts` answers the Host values that name us (`gate.host_names` makes them of the
    addresses listened on); when nobody listens any more, the WebSockets are closed.
    """
    mergers, storages = plugins.merger_names, plugins.storage_names
    feed = ProgressFeed(service, clock=reactor)
    rooms: dict[str, IResource] = {
        "/api/tasks": TasksAPI(service, clock=reactor, mergers=mergers, storages=storages).app.resource(),
        "/api/settings": SettingsAPI(service, mergers=mergers, storages=storages).app.resource(),
        "/api/plugins": PluginsAPI(plugins).app.resource(),
        "/ws/progress": ProgressResource(feed),
    }
    root = Root(rooms, pages=Pages(version=version).app.resource())
    return GatedSite(root, reactor=reactor, allowed_hosts=allowed_hosts, closing=feed.close)


class Root(Resource):
    """
    The first turn a request takes, by its whole path: the gate let only known ones through.
    """

    isLeaf = True

    def __init__(self, rooms: dict[str, IResource], *, pages: IResource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rooms = rooms
        self._pages = pages

    def render(self, request: Request) -> bytes | int:
        """Ask the room; unknown paths below /api are none of the pages' concern."""
        path = request.path.decode("latin-1")
        room = self._rooms.get(path, self._pages)
        if room is self._pages and path.startswith(("/api/", "/ws/")):
            return put(request, refusal(404, "路径不存在", "not_found"))
        answer: bytes | int = room.render(request)
        return answer
