"""
What is secret in a task's headers stays with the server the user named, wherever that server sends us.
"""

import re
from collections.abc import Iterator

import pytest

from tests.attacks.rig import END, LINES, Hostile, hostile
from tests.integration.service_child import Service

SECRET = "CANARY-5b1c"
HEADERS = {
    "Cookie": [f"sid={SECRET}"],
    "Authorization": [f"Bearer {SECRET}"],
    "X-Token": [SECRET],
    "Proxy-Authorization": [f"Basic {SECRET}"],
    "X-Plain": ["shown"],
}


@pytest.fixture
def other() -> Iterator[Hostile]:
    """A server at another address: another site."""
    with hostile("127.0.0.2") as started:
        started.answers["/a.ts"] = b"no media"
        yield started


def playlist(key: str, segment: str) -> bytes:
    """One segment and its key."""
    return f'{LINES}#EXT-X-KEY:METHOD=AES-128,URI="{key}"\n#EXTINF:1,\n{segment}\n{END}'.encode()


@pytest.mark.parametrize("what", ["playlist", "key", "segment"])
@pytest.mark.parametrize("way", ["redirect", "redirect and back", "named"])
def test_another_origin(service: Service, server: Hostile, other: Hostile, what: str, way: str) -> None:
    """
    Neither a redirect nor a name in a playlist takes a secret to another origin; back from there it is not restored.
    """
    path = {"playlist": "/a.m3u8", "key": "/a.key", "segment": "/a.ts"}[what]
    body = {"playlist": playlist("a.key", "a.ts"), "key": bytes(16), "segment": b"no media"}
    names = {"key": "a.key", "segment": "a.ts"}
    server.answers |= {"/a.key": body["key"], "/a.ts": body["segment"], f"/back{path}": body[what]}
    other.answers[path] = body[what]
    if way == "named" and what != "playlist":
        names[what] = other.base + path
    else:
        server.answers[path] = lambda visit: visit.redirect(other.base + path)
    if way == "redirect and back":
        other.answers[path] = lambda visit: visit.redirect(f"{server.base}/back{path}")
    if what != "playlist":
        server.answers["/a.m3u8"] = playlist(names["key"], names["segment"])

    service.fail(f"{server.base}/a.m3u8", "film", use_http_headers=True, http_headers=HEADERS)

    assert other.asked
    for _, headers in other.asked:
        assert SECRET not in str(headers)
        assert "shown" == headers["X-Plain"]
    home = [str(headers) for asked, headers in server.asked if asked == f"/back{path}"]
    assert (way == "redirect and back", False) == (bool(home), SECRET in "".join(home))
    assert SECRET in str(server.asked[0]), "they were sent where they belong"


@pytest.mark.parametrize("name", ["Set-Cookie", "WWW-Authenticate"])
def test_what_a_server_asks_to_be_sent(service: Service, server: Hostile, other: Hostile, name: str) -> None:
    """Cookies that a server sets, and realms it asks a password for, make us send nothing we were not told to."""

    def answer(visit: object) -> None:
        body = playlist("a.key", f"{other.base}/a.ts")
        head = f"HTTP/1.1 200 OK\r\n{name}: a={SECRET}; Path=/\r\nContent-Length: {len(body)}\r\n\r\n"
        visit.wfile.write(head.encode() + body)  # type: ignore[attr-defined]

    server.answers |= {"/a.m3u8": answer, "/a.key": bytes(16)}
    service.fail(f"{server.base}/a.m3u8", "film")
    assert not [headers for _, headers in (*server.asked, *other.asked) if SECRET in str(headers)]


def test_the_log_has_none_of_it(service: Service) -> None:
    """After all that no secret is in the service's log, nor in what it prints of its tasks besides the headers."""
    assert service.ask("GET", "/api/tasks").value, "the tests before this one"
    assert SECRET not in service.log
    for task in service.ask("GET", "/api/tasks").value:
        rest = {name: value for name, value in task.items() if name != "header_map"}
        assert not re.search(SECRET, str(rest))
