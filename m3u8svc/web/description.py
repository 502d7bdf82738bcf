"""
/api/openapi.json: the API as it describes itself, made when somebody asks first.
"""

import hashlib
from collections.abc import Callable

from klein import Klein
from twisted.web.http import CACHED
from twisted.web.server import Request

from m3u8svc.web.openapi import PATH
from m3u8svc.web.render import json_bytes


class DescriptionAPI:
    """
    The one route of the document that `make` makes.
    """

    app = Klein()

    def __init__(self, make: Callable[[], dict[str, object]]) -> None:
        self._make = make
        self._made: tuple[bytes, bytes] | None = None

    @app.route(PATH, methods=["GET"])
    def get(self, request: Request) -> bytes:
        """The document, or that it is still the same."""
        if self._made is None:
            body = json_bytes(self._make())
            self._made = body, f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
        body, etag = self._made
        request.setHeader(b"Content-Type", b"application/json; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-cache")
        if request.setETag(etag) is CACHED:
            return b""
        request.setHeader(b"Content-Length", b"%d" % len(body))
        return body
