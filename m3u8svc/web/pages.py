"""
The pages people look at: the task list at / or the login in its place, the API's description, their scripts and styles,
and the two small paths tools ask for.

Everything is read once, at start, from ``static/`` and what lies below it, and served by exact name: there is no path
to escape from.
"""

import hashlib
import html
import mimetypes
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import attrs
from klein import Klein
from twisted.web.http import CACHED
from twisted.web.server import Request

from m3u8svc.errors import PathNotFound
from m3u8svc.web.channel import admission_of
from m3u8svc.web.errors import put, refusal_by, success

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@attrs.frozen(kw_only=True)
class StaticFile:
    """
    One file of ``static/`` as it is sent.
    """

    body: bytes = attrs.field(repr=False)
    content_type: str
    etag: str


class Pages:
    """
    The page, its files, /healthz and /favicon.ico.
    """

    app = Klein()

    def __init__(self, *, version: str) -> None:
        self._files = read_static_files(version)

    @app.route("/", methods=["GET"])
    def index(self, request: Request) -> bytes:
        """The task list; to a stranger the page where one logs in."""
        return self._send(request, "index.html" if admission_of(request).principal else "login.html")

    @app.route("/static/<path:name>", methods=["GET"])
    def static(self, request: Request, name: str) -> bytes:
        """A script, a style, a picture."""
        return self._send(request, name)

    @app.route("/favicon.ico", methods=["GET"])
    def favicon(self, request: Request) -> bytes:
        """An SVG; browsers look at the type, not at the name."""
        return self._send(request, "icon.svg")

    @app.route("/api/docs", methods=["GET"])
    def docs(self, request: Request) -> bytes:
        """The browser of /api/openapi.json."""
        return self._send(request, "apidocs.html")

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Request) -> bytes:
        """We answer, so we live."""
        return put(request, success({"status": "ok"}))

    def _send(self, request: Request, name: str) -> bytes:
        found = self._files.get(name)
        if found is None:
            return put(request, refusal_by(404, PathNotFound()))
        request.setHeader(b"Content-Type", found.content_type.encode())
        request.setHeader(b"Cache-Control", b"no-cache")  # ask again each time; the ETag makes that cheap
        if request.setETag(found.etag.encode()) is CACHED:
            return b""
        request.setHeader(b"Content-Length", b"%d" % len(found.body))
        return found.body


def read_static_files(version: str) -> dict[str, StaticFile]:
    """
    All files below ``static/`` by their path there, such as ``vendor/preact.js``; ``{{version}}`` in the page becomes
    ours.
    """
    found = {}
    for name, entry in _files_below(files("m3u8svc.web").joinpath("static")):
        suffix = "." + entry.name.rpartition(".")[2]
        body = entry.read_bytes()
        if suffix == ".html":
            body = body.replace(b"{{version}}", html.escape(version).encode())
        kind = _TYPES.get(suffix) or mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
        found[name] = StaticFile(
            body=body,
            content_type=f"{kind}; charset=utf-8",
            etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
        )
    return found


def _files_below(directory: Traversable, above: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _files_below(entry, f"{above}{entry.name}/")
        else:
            yield above + entry.name, entry
