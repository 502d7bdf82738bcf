"""Who may do what, as a table of all routes and roles."""

import pytest

from m3u8svc.access.roles import LEAST_ROLES, Action, Principal, Role, Thing, is_allowed, least_role
from m3u8svc.web.gate import ROUTES
from m3u8svc.web.permissions import wanted

# Who may: s a stranger, r a reader, u a user, a an admin. A new route needs a row here.
TABLE = {
    "GET /api/tasks": "rua",
    "POST /api/tasks": "ua",
    "PUT /api/tasks": "ua",
    "DELETE /api/tasks": "ua",
    "GET /api/tasks/live": "rua",
    "GET /api/tasks/file": "rua",
    "HEAD /api/tasks/file": "rua",
    "GET /api/counts": "rua",
    "POST /api/curl": "ua",
    "GET /api/tasks/segments": "rua",
    "GET /api/tasks/play": "rua",
    "GET /api/tasks/media": "rua",
    "GET /api/tasks/picture": "rua",
    "GET /api/settings": "rua",
    "POST /api/settings": "a",
    "GET /api/plugins": "rua",
    "GET /api/health": "rua",
    "GET /api/openapi.json": "rua",
    "GET /api/docs": "rua",
    "GET /api/session": "rua",
    "POST /api/session": "srua",
    "DELETE /api/session": "srua",
    "GET /ws/progress": "rua",
    "GET /metrics": "rua",
    "GET /": "srua",
    "HEAD /": "srua",
    "GET /healthz": "srua",
    "HEAD /healthz": "srua",
    "GET /readyz": "srua",
    "HEAD /readyz": "srua",
    "GET /favicon.ico": "srua",
    "HEAD /favicon.ico": "srua",
    "GET /static/app.js": "srua",
    "HEAD /static/app.js": "srua",
}
WHO = {
    "s": None,
    "r": Principal(name="r", role=Role.READER),
    "u": Principal(name="u", role=Role.USER),
    "a": Principal(name="a", role=Role.ADMIN),
}


def test_every_route_has_a_row() -> None:
    """A route that is added is in the table, and one that is gone is not."""
    routes = {f"{method} {path}" for path, methods in ROUTES.items() for method in methods}
    assert routes | {"GET /static/app.js", "HEAD /static/app.js"} == set(TABLE)


@pytest.mark.parametrize("route", TABLE)
def test_who_may(route: str) -> None:
    """Each role may do exactly what the table says."""
    method, path = route.split()
    assert TABLE[route] == "".join(
        who for who, principal in WHO.items() if is_allowed(principal, *wanted(method, path))
    )


@pytest.mark.parametrize("path", ["/api/new", "/api/tasks/1", "/api", "/ws/other", "/metrics/", ""])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_what_is_not_in_the_table_is_denied(method: str, path: str) -> None:
    """Not even an admin may do what nobody thought of."""
    assert not any(is_allowed(principal, *wanted(method, path)) for principal in WHO.values())


def test_pairs_without_a_row_are_denied() -> None:
    """A thing that can be read cannot be changed for that."""
    missing = [(action, thing) for action in Action for thing in Thing if (action, thing) not in LEAST_ROLES]
    assert (Action.CHANGE, Thing.PLUGINS) in missing
    assert not any(is_allowed(WHO["a"], *pair) for pair in missing)


@pytest.mark.parametrize(
    ("route", "role"),
    [("GET /api/tasks", "reader"), ("POST /api/tasks", "user"), ("POST /api/settings", "admin"), ("GET /new", "admin")],
)
def test_the_role_a_refusal_names(route: str, role: str) -> None:
    """The least that may do it."""
    assert role == least_role(*wanted(*route.split())).value


def test_roles_are_ordered() -> None:
    """Each covers itself and those before it."""
    roles = list(Role)
    assert [[True, False, False], [True, True, False], [True, True, True]] == [
        [one.covers(other) for other in roles] for one in roles
    ]
