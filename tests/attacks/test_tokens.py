"""
Guessing: ten thousand wrong tokens, from elsewhere and from here, and every other way to be let in without one.
"""

import base64
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.rig import attacked, bounded, parse_answer, say
from tests.integration.conftest import require
from tests.integration.service_child import Service

GUESSES = 10_000
ELSEWHERE = "X-Forwarded-For: 203.0.113.7"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service with a token, a user, and a reverse proxy on this machine, and the token."""
    require("curl")
    place = tmp_path_factory.mktemp("guarded") / "service"
    place.mkdir()
    configuration = place / "m3u8svc.toml"
    (place / "password").write_text(PASSWORD)
    configuration.write_text(
        f'[[users]]\nname = "me"\npassword = {{"$file" = "{place / "password"}"}}\nrole = "admin"\n'
        '[web]\ntrusted_proxies = ["127.0.0.1"]\n'
    )
    create = [sys.executable, "-m", "m3u8svc", "token", "create", "--role", "admin", "--home", str(place / "home")]
    token = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    with attacked(place, "--config", str(configuration)) as service:
        yield service, token


def bearing(token: str) -> str:
    """The header that shows a token."""
    return f"Authorization: Bearer {token}"


def knowing(password: str) -> str:
    """The header that shows a password."""
    return f"Authorization: Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"


def guess(service: Service, number: int) -> int:
    """One wrong token; the status."""
    host, _, port = service.base.removeprefix("http://").rpartition(":")
    head = f"GET /api/tasks HTTP/1.1\r\nHost: {host}:{port}\r\n{ELSEWHERE}\r\n{bearing(f'guess-{number}')}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(head.encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return parse_answer(received).status


def test_ten_thousand_guesses(guarded: tuple[Service, str]) -> None:
    """
    Ten are looked at in a minute, all others are told to wait; meanwhile and afterwards the owner gets in, from here
    with the token and the password, and from where the guesses came with the token. No memory is kept of them.
    """
    service, token = guarded
    with bounded(service, 60), ThreadPoolExecutor(20) as pool:
        found = [pool.submit(guess, service, number) for number in range(GUESSES)]
        for _ in range(20):
            assert 200 == service.ask("GET", "/api/tasks", None, bearing(token)).status
        statuses = Counter(each.result() for each in found)
    assert {401, 429} == statuses.keys()
    # Ten for each minute that the guessing took, on a machine of any speed.
    assert statuses[401] < GUESSES / 10
    assert 200 == service.ask("GET", "/api/tasks", None, knowing(PASSWORD)).status
    assert 200 == service.ask("GET", "/api/tasks", None, bearing(token), ELSEWHERE).status
    assert token not in service.log and "guess-" not in service.log


REQUESTS = {
    "nothing": "GET /api/tasks",
    "HEAD": "HEAD /api/tasks",
    "OPTIONS": "OPTIONS /api/tasks",
    "TRACE": "TRACE /api/tasks",
    "two slashes": "GET //api/tasks",
    "encoded slash": "GET /api%2ftasks",
    "encoded letter": "GET /api/t%61sks",
    "trailing slash": "GET /api/tasks/",
    "trailing dot": "GET /api/tasks.",
    "dot": "GET /./api/tasks",
    "dots": "GET /static/../api/tasks",
    "encoded dots": "GET /static/%2e%2e/api/tasks",
    "semicolon": "GET /api/tasks;x",
    "static": "GET /static/;/api/tasks",
    "backslash": "GET /static\\..\\api/tasks",
    "upper case": "GET /API/tasks",
    "absolute": "GET http://HOST/api/tasks",
    "absolute, foreign": "GET http://evil.example/api/tasks",
    "another scheme": "GET ws://HOST/ws/progress",
    "authority": "CONNECT HOST",
    "star": "OPTIONS *",
    "fragment": "GET /#/api/tasks",
    "query": "GET /?/api/tasks",
    "NUL": "GET /api/tasks\0",
    "tab": "GET\t/api/tasks",
    "settings": "GET /api/settings",
    "health": "GET /api/health",
    "plugins": "GET /api/plugins",
    "session": "GET /api/session",
    "socket": "GET /ws/progress",
    "lower-case method": "get /api/tasks",
    "HTTP/1.0": "GET /api/tasks HTTP/1.0",
    "HTTP/0.9": "GET /api/tasks HTTP/0.9",
}
SHOWN = {
    "nothing": "",
    "empty": "Authorization:",
    "no token": "Authorization: Bearer",
    "undefined": "Authorization: Bearer undefined",
    "another scheme": "Authorization: Digest username=me",
    "no password": f"Authorization: Basic {base64.b64encode(b'me:').decode()}",
    "two headers": "Authorization: Bearer TOKEN\r\nAuthorization: Bearer x",
    "cookie": "Cookie: m3u8svc=x; m3u8svc_PORT=x",
    "token as cookie": "Cookie: m3u8svc_PORT=TOKEN",
    "token as query": "X-Token: TOKEN",
    "proxy": "Proxy-Authorization: Bearer TOKEN",
    "from here": "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1",
    "other path": "X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz",
    "other method": "X-HTTP-Method-Override: GET",
}


def ask_raw(service: Service, line: str, *headers: str) -> tuple[int, str]:
    """Status and body of what is answered to a request line."""
    line = line if " HTTP/" in line else f"{line} HTTP/1.1"
    head = "\r\n".join(each for each in (line, "Host: HOST", "Connection: close", *headers) if each)
    answer = say(service, head.encode("latin-1") + b"\r\n\r\n")
    return answer.status, answer.text


@pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS)
def test_a_way_around(guarded: tuple[Service, str], line: str) -> None:
    """However a request is written, a stranger sees no task and no setting: at most the login."""
    status, text = ask_raw(guarded[0], line)
    if line.startswith("GET /?") or "#" in line:
        assert status in (200, 404) and "filename" not in text
    else:
        assert 400 <= status < 500, text


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("line", ["GET /api/tasks", "GET /ws/progress", "DELETE /api/tasks?id=x"])
def test_what_is_no_token(guarded: tuple[Service, str], line: str, shown: str) -> None:
    """Nothing but a token where tokens belong, a right password or a session lets anybody in."""
    service, token = guarded
    headers = shown.replace("TOKEN", token).replace("PORT", service.base.rpartition(":")[2])
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    status, _ = ask_raw(service, line, (upgrade if "/ws/" in line else "") + headers)
    assert status in (401, 429)


def test_the_query_is_no_place_for_a_token(guarded: tuple[Service, str]) -> None:
    """Links are logged and shared; a token in one is none, and is not in our log either."""
    service, token = guarded
    for name in ("token", "access_token", "key"):
        assert 401 == service.ask("GET", f"/api/tasks?{name}={token}").status
    assert token not in service.log


def test_behind_a_request_with_a_token(guarded: tuple[Service, str]) -> None:
    """What comes on the same connection behind a request with a token needs one of its own."""
    service, token = guarded
    first = f"GET /api/health HTTP/1.1\r\nHost: HOST\r\n{bearing(token)}\r\n\r\n"
    second = "GET /api/tasks HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"
    host, _, port = service.base.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall((first + second).replace("HOST", f"{host}:{port}").encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert [b"200", b"401"] == re.findall(rb"HTTP/1\.1 (\d+) ", received)
