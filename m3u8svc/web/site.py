"""
The web room put together: the gate, the API, the WebSocket, the pages. Importing this imports klein, and klein the
reactor; `tap` does so inside `makeService`.
"""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from m3u8svc.access.forwarding import NOTHING_BEFORE_US, Front
from m3u8svc.counting import Counts
from m3u8svc.errors import PathNotFound
from m3u8svc.waiting import InThread
from m3u8svc.web import gate, openapi
from m3u8svc.web.channel import GatedSite
from m3u8svc.web.contract import Downloads, Health, Plugins
from m3u8svc.web.counts import CountsAPI
from m3u8svc.web.curl import CurlAPI
from m3u8svc.web.description import DescriptionAPI
from m3u8svc.web.doorman import Doorman
from m3u8svc.web.errors import put, refusal_by
from m3u8svc.web.file import FileAPI
from m3u8svc.web.health import HealthAPI
from m3u8svc.web.live import LiveAPI
from m3u8svc.web.metrics import MetricsAPI
from m3u8svc.web.pages import Pages
from m3u8svc.web.plugins import PluginsAPI
from m3u8svc.web.push import ProgressFeed, ProgressResource
from m3u8svc.web.session import SessionAPI
from m3u8svc.web.settings import SettingsAPI
from m3u8svc.web.tasks import TasksAPI
from m3u8svc.web.watching import WatchingAPI
from m3u8svc.weblimits import DEFAULTS, WebLimits


def make_site(
    service: Downloads,
    *,
    reactor: IReactorTime,
    allowed_hosts: Callable[[], frozenset[str]],
    plugins: Plugins,
    health: Health,
    version: str,
    limits: WebLimits = DEFAULTS,
    doorman: Doorman | None = None,
    front: Front = NOTHING_BEFORE_US,
    counts: Counts | None = None,
    in_thread: InThread = deferToThread,
) -> Site:
    """
    A site to listen with. `allowed_hosts` answers the Host values that name us (`gate.host_names` makes them of the
    addresses listened on); when nobody listens any more, the WebSockets are closed. Without a `doorman` everybody is
    the owner.
    """
    doorman = doorman or Doorman(clock=reactor)
    counts = counts or Counts()
    mergers, storages = plugins.merger_names, plugins.storage_names
    feed = ProgressFeed(service, clock=reactor, limits=limits)
    rooms: dict[str, IResource] = {
        "/api/tasks": TasksAPI(service, mergers=mergers, storages=storages, limits=limits).app.resource(),
        "/api/tasks/live": LiveAPI(service).app.resource(),
        openapi.FILE: FileAPI(service).app.resource(),
        "/api/counts": CountsAPI(service).app.resource(),
        "/api/curl": CurlAPI(limits=limits).app.resource(),
        "/api/tasks/segments": (watching := WatchingAPI(service).app.resource()),
        "/api/tasks/play": watching,
        "/api/tasks/media": watching,
        openapi.PICTURE: watching,
        "/api/settings": SettingsAPI(service, mergers=mergers, storages=storages).app.resource(),
        "/api/plugins": PluginsAPI(plugins).app.resource(),
        "/api/health": (wellbeing := HealthAPI(health, version=version).app.resource()),
        "/readyz": wellbeing,
        openapi.PATH: DescriptionAPI(
            lambda: openapi.document(
                version=version, mergers=mergers, storages=storages, limits=limits, base_path=front.base_path
            )
        ).app.resource(),
        "/api/session": SessionAPI(doorman, base_path=front.base_path).app.resource(),
        "/ws/progress": ProgressResource(feed),
        gate.METRICS: MetricsAPI(service, health, counts=counts, version=version, in_thread=in_thread).app.resource(),
    }
    rooms["/api/docs"] = pages = Pages(version=version).app.resource()
    root = Root(rooms, pages=pages)
    return GatedSite(
        root,
        reactor=reactor,
        allowed_hosts=allowed_hosts,
        doorman=doorman,
        front=front,
        closing=feed.close,
        limits=limits,
        answered=counts.answered,
    )


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
        room = self._rooms.get(path)
        if room is None and gate.is_guarded(path):
            return put(request, refusal_by(404, PathNotFound()))
        answer: bytes | int = (room or self._pages).render(request)
        return answer
