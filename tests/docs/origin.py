"""
What stands in the place of ``example.com`` and of ``proxy.example`` while the examples of the pages are run: streams on
loopback, some of them behind a condition, and a proxy that wants a password.

    /stream/    six segments of H.264 and AAC
    /film/      variants in two sizes, sound in English and French, English subtitles
    /breaks/    a film with an advert in the middle, marked
    /members/   the stream for whoever has the cookie ``session=4711``
    /hotlink/   for whoever comes from a page
    /signed/    for links that have ``sign=abc``, each of them
    /short/     every link has the token of the playlist's own; ``old`` is good for two segments
"""

import base64
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from tests.integration.media import encode, segment

PROXY_USER, PROXY_PASSWORD = "me", "p@ss"


def make_streams(root: Path) -> None:
    """
    The files of the origin.
    """
    for name, seconds in (("stream", 12), ("advert", 4)):
        made = [sys.executable, "-m", "m3u8svc.testing.stream", str(root / name), "--seconds", str(seconds)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    _film(root / "film")
    _breaks(root / "breaks")


def _film(place: Path) -> None:
    place.mkdir()
    for height, size in ((360, "640x360"), (720, "1280x720")):
        segment(encode(place / f"{height}.mkv", size=size, seconds=4), place / str(height))
    for language, tone in (("en", 440), ("fr", 660)):
        segment(encode(place / f"{language}.mkv", video=None, seconds=4, tone=tone), place / language)
    (place / "subs.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\nHello.\n")
    (place / "subs.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nsubs.vtt\n#EXT-X-ENDLIST\n")
    kinds = (("AUDIO", "en", "English", "en/index.m3u8", "YES"), ("AUDIO", "fr", "Français", "fr/index.m3u8", "NO"))
    lines = ["#EXTM3U"]
    for kind, language, name, uri, default in (*kinds, ("SUBTITLES", "en", "English", "subs.m3u8", "NO")):
        group = "sound" if kind == "AUDIO" else "text"
        lines.append(
            f'#EXT-X-MEDIA:TYPE={kind},GROUP-ID="{group}",LANGUAGE="{language}",NAME="{name}",'
            f'DEFAULT={default},AUTOSELECT=YES,URI="{uri}"'
        )
    for bandwidth, size, height in ((400_000, "640x360", 360), (1_500_000, "1280x720", 720)):
        groups = 'CODECS="avc1.64001f,mp4a.40.2",AUDIO="sound",SUBTITLES="text"'
        lines.append(f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},RESOLUTION={size},{groups}")
        lines.append(f"{height}/index.m3u8")
    (place / "index.m3u8").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _breaks(place: Path) -> None:
    place.mkdir()
    film = [f"#EXTINF:2,\n../stream/{number:05d}.ts" for number in range(6)]
    advert = [f"#EXTINF:2,\n../advert/{number:05d}.ts" for number in range(2)]
    splice = "#EXT-X-DISCONTINUITY"
    middle = [splice, "#EXT-X-CUE-OUT:4", *advert, "#EXT-X-CUE-IN", splice]
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2"
    lines = [head, *film[:3], *middle, *film[3:], "#EXT-X-ENDLIST"]
    (place / "index.m3u8").write_text("\n".join(lines) + "\n")


class Origin(BaseHTTPRequestHandler):
    """
    One connection of a client to the files below `root`.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, root: Path) -> None:
        self.root = root
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """A file, if the condition of its folder is met."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        folder, _, rest = parts.path.lstrip("/").partition("/")
        is_open = {
            "members": "session=4711" in self.headers.get("Cookie", ""),
            "hotlink": "Referer" in self.headers,
            "signed": ["abc"] == query.get("sign"),
            "short": self._is_good(rest, query.get("token", [""])[0]),
        }.get(folder, True)
        if not is_open:
            return self._answer(403, b"no", "text/plain")
        path = self.root / ("stream" if folder in ("members", "hotlink", "signed", "short") else folder) / rest
        try:
            content = path.read_bytes()
        except OSError:
            return self._answer(404, b"no such file", "text/plain")
        if folder == "short" and path.suffix == ".m3u8":
            content = re.sub(rb"\.ts$", b".ts?" + parts.query.encode(), content, flags=re.MULTILINE)
        kind = "application/vnd.apple.mpegurl" if path.suffix == ".m3u8" else "application/octet-stream"
        return self._answer(200, content, kind)

    def _is_good(self, name: str, token: str) -> bool:
        """The old token is good for two segments, and for the playlist until somebody wanted a third."""
        assert isinstance(self.server, OriginServer)
        if token != "old":
            return token == "new"
        if name not in ("index.m3u8", "00000.ts", "00001.ts"):
            self.server.expired.set()
        return name.endswith(("00000.ts", "00001.ts")) or (name == "index.m3u8" and not self.server.expired.is_set())

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Proxy(BaseHTTPRequestHandler):
    """
    A proxy for http links that wants `PROXY_USER` and `PROXY_PASSWORD`.
    """

    def do_GET(self) -> None:
        """Ask the server for it."""
        wanted = base64.b64encode(f"{PROXY_USER}:{PROXY_PASSWORD}".encode()).decode()
        if self.headers.get("Proxy-Authorization") != f"Basic {wanted}":
            return self._answer(407, b"")
        try:
            with build_opener(ProxyHandler({})).open(Request(self.path), timeout=30) as answer:
                return self._answer(answer.status, answer.read())
        except HTTPError as error:
            return self._answer(error.code, error.read())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    log_message = Origin.log_message


class OriginServer(ThreadingHTTPServer):
    """
    An origin or a proxy; `expired` says that the old token of ``/short/`` has had its time.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: Any) -> None:
        self.expired = threading.Event()
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """
    A server in a thread; its host and port.
    """
    with OriginServer(handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def origin(root: Path) -> Any:
    """
    What serves the streams below this directory.
    """
    return partial(Origin, root=root)
