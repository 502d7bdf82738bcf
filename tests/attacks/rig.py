"""
What attacks are made with, and how one sees that nothing came of them.
"""

import ctypes
import hashlib
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.integration.service_child import Answer, Service, running

MIB = 1 << 20
LINES = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n"
END = "#EXT-X-ENDLIST\n"


# -- The service -----------------------------------------------------------------------------------------------------


@contextmanager
def attacked(place: Path, *options: str) -> Iterator[Service]:
    """
    A service whose temporary files would lie in `place`/tmp.
    """
    (place / "tmp").mkdir(parents=True)
    with running(place, *options, before=("env", f"TMPDIR={place / 'tmp'}")) as service:
        yield service


@contextmanager
def nothing_happens(service: Service, *outside: Path) -> Iterator[None]:
    """
    Assert that the block leaves no task, no other settings, no file of the service's, no temporary file, and that
    nothing below `outside` is touched.
    """
    before = _state(service, outside)
    yield
    assert before == _state(service, outside)


def _state(service: Service, outside: Sequence[Path]) -> dict[str, Any]:
    return {
        "tasks": service.ask("GET", "/api/tasks").value,
        "settings": service.ask("GET", "/api/settings").value,
        "saved": sorted(path.relative_to(service.saves) for path in service.saves.rglob("*")),
        "state": sorted(path.relative_to(service.home) for path in service.home.iterdir()),
        "temporary": [path.name for path in (service.place / "tmp").iterdir()],
        "outside": {place: touch(place) for place in outside},
    }


def touch(place: Path) -> dict[str, tuple[object, ...]]:
    """
    What anybody's touch would change: of each file below `place`, links not followed, its node, times and bytes.
    """
    found = {}
    for path in (place, *sorted(place.rglob("*"))):
        facts = path.lstat()
        if stat.S_ISREG(facts.st_mode):
            held = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            held = os.readlink(path) if path.is_symlink() else ""
        found[str(path)] = (facts.st_ino, facts.st_mode, facts.st_nlink, facts.st_mtime_ns, held)
    return found


@contextmanager
def bounded(service: Service, mib: int) -> Iterator[None]:
    """
    Assert that the block makes the service's memory grow by so much at most, even for a moment.
    """
    (process := Path(f"/proc/{service.pid}")).joinpath("clear_refs").write_text("5")  # forget the peak so far
    before = _mib(process, "VmRSS")
    yield
    grown = _mib(process, "VmHWM") - before
    assert grown <= mib, f"grew by {grown:.0f} MiB"


def _mib(process: Path, name: str) -> float:
    status = dict(line.split(":", 1) for line in (process / "status").read_text(encoding="ascii").splitlines())
    return int(status[name].split()[0]) / 1024


def say(service: Service, *pieces: bytes) -> Answer:
    """
    What the service answers on one connection to bytes that no proper client sends. HOST stands for its own.
    """
    host = service.base.removeprefix("http://")
    address, _, port = host.rpartition(":")
    with socket.create_connection((address, int(port)), timeout=30) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece.replace(b"HOST", host.encode()))
            except ConnectionError:
                break  # it has heard enough
        return parse_answer(_read_answer(connection))


def _read_answer(connection: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return received
        received += piece
        head, end, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), None
        )
        if not piece or (end and length is not None and len(body) >= length):
            return received


def parse_answer(received: bytes) -> Answer:
    """
    The first answer among these bytes.
    """
    head, _, text = received.decode("utf-8").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Answer(status=int(first.split()[1]), headers={name.lower(): value for name, _, value in pairs}, text=text)


# -- Those it must not reach -----------------------------------------------------------------------------------------


class Trap:
    """
    A listener that counts who connects; whoever does is hung up on.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.knocks: list[Any] = []
        self._socket = socket.create_server(
            (address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=50
        )
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                return
            self.knocks.append(peer)
            connection.close()

    def close(self) -> None:
        """
        Stop.
        """
        self._socket.close()


class Canary:
    """
    A file that nobody may open, and who did: inotify tells.
    """

    _OPENED = 0x20

    def __init__(self, path: Path, text: str) -> None:
        path.write_text(text)
        self.path, self.text = path, text
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._events >= 0 and libc.inotify_add_watch(self._events, bytes(path), self._OPENED) >= 0

    def opened(self) -> int:
        """
        How often it was opened since it was asked last.
        """
        try:
            return len(os.read(self._events, 65536)) // struct.calcsize("iIII")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """
        Stop watching.
        """
        os.close(self._events)


# -- Those who answer ------------------------------------------------------------------------------------------------


class Hostile(ThreadingHTTPServer):
    """
    A server whose every byte is the attacker's: `answers` has for each path a body, or what writes the whole answer
    itself. `asked` is every request: path and headers.
    """

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Visit)
        self.answers: dict[str, bytes | Callable[[_Visit], None]] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.base = f"http://{address}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up has understood."""


class _Visit(BaseHTTPRequestHandler):
    server: Hostile
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """What `answers` has for the path, without its query."""
        self.server.asked.append((self.path, dict(self.headers)))
        answer = self.server.answers.get(self.path.partition("?")[0])
        if callable(answer):
            answer(self)
            return
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Answer with a body of unknown length."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nConnection: close\r\n\r\n")
        for piece in pieces:
            self.wfile.write(piece)
        self.close_connection = True

    def redirect(self, target: str) -> None:
        """Send the client elsewhere."""
        self.wfile.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def hostile(address: str = "127.0.0.1") -> Iterator[Hostile]:
    """
    Such a server, while it serves.
    """
    with Hostile(address) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
