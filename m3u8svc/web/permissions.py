"""
What a request wants, in the words of `access.roles`. Pure. A path that is not here wants nothing anybody may do.
"""

from collections.abc import Mapping

from m3u8svc.access.roles import Action, Thing
from m3u8svc.web.gate import STATIC

THINGS: Mapping[str, Thing] = {
    "/api/tasks": Thing.TASKS,
    "/api/tasks/file": Thing.TASKS,
    "/api/tasks/live": Thing.TASKS,
    "/api/counts": Thing.TASKS,
    "/api/curl": Thing.TASKS,
    "/api/tasks/segments": Thing.TASKS,
    "/api/tasks/play": Thing.TASKS,
    "/api/tasks/media": Thing.TASKS,
    "/api/tasks/picture": Thing.TASKS,
    "/api/settings": Thing.SETTINGS,
    "/api/plugins": Thing.PLUGINS,
    "/api/health": Thing.HEALTH,
    "/api/openapi.json": Thing.HEALTH,
    "/api/docs": Thing.HEALTH,
    "/api/session": Thing.SESSION,
    "/ws/progress": Thing.TASKS,
    "/metrics": Thing.METRICS,
    "/": Thing.PAGES,
    "/healthz": Thing.PAGES,
    "/readyz": Thing.PAGES,
    "/favicon.ico": Thing.PAGES,
}


def wanted(method: str, path: str) -> tuple[Action, Thing | None]:
    """
    What a request of this method wants with which thing.
    """
    action = Action.READ if method in ("GET", "HEAD") else Action.CHANGE
    return action, Thing.PAGES if path.startswith(STATIC) else THINGS.get(path)
