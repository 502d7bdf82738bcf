"""Curl itself, by bash, against a server that notes what it is asked: what we read of a command is what it sends."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from m3u8svc.tasks.curlline import parse_curl
from tests import needs
from tests.visited import VisitedServer


class Noting(BaseHTTPRequestHandler):
    """Notes path and headers."""

    def do_GET(self) -> None:
        """Whatever is asked."""
        assert isinstance(self.server, Server)
        self.server.asked.append((self.path, self.headers.items()))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(VisitedServer):
    """Serves on a free port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Noting)
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []


@pytest.fixture
def server() -> Iterator[Server]:
    """It, serving."""
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "line",
    [
        "'URL/i.m3u8?a=1&b=%20' -H 'A: b  c ' -H 'a: d' --compressed -sSL",
        "'URL/\\[1\\]\\{2\\}?x' -H $'X: it\\'s \\u0021' -A 'My Agent/1' -e https://r.example/",
        "-b a=b -b 'c=d; e=f' URL/",
        "-b a=b URL/ -H 'cookie: g=h'",
        "URL/ -u 'me:p:w' -H 'Accept: */*'",
        "-A x -H 'User-Agent: y' -e q -H 'Referer: r' URL/",
        "--url URL/p -kXGET -H'Empty;' --oauth2-bearer abc",
        "URL/a//b/?q=\"d\"'e'\\&f",
        "-g 'URL/[1]{2}' -o /dev/null",
    ],
)
def test_what_we_read_is_what_curl_sends(server: Server, line: str) -> None:
    """Path, query, and every header that the command names; of one name the same values together."""
    needs.commands("curl", "bash")
    command = "curl " + line.replace("URL", f"http://127.0.0.1:{server.server_port}")
    subprocess.run(
        ["bash", "-c", command],
        check=True,
        capture_output=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
    )
    [(path, headers)] = server.asked
    read = parse_curl(command)
    assert f"http://127.0.0.1:{server.server_port}{path}" == read.url
    for name, values in read.headers.items():
        sent = [value.strip() for each, value in headers if each.lower() == name.lower()]
        # Cookies of several -b have no space between them on the wire, which means the same.
        assert [each.replace("; ", ";") for each in values] == [each.replace("; ", ";") for each in sent], name
    ours = {"host", "accept-encoding", "user-agent", "accept"} - {name.lower() for name in read.headers}
    assert {name.lower() for name, _ in headers} - ours == {name.lower() for name in read.headers}
