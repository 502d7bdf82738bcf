"""
/api/tasks/file: the finished file of a task, or a part of it.
"""

import attrs
from klein import Klein
from twisted.web.server import Request

from m3u8svc.errors import RangeNotSatisfiable
from m3u8svc.results import ResultFile
from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import Answer, headers_of, refusal_by, respond
from m3u8svc.web.queries import Query, parse_flag, parse_task_id
from m3u8svc.web.ranges import Headers, Span, Version, disposition, is_known, media_type, range_of, wanted_span

PIECE_BYTES = 256 * 1024
"""How much is read at once, and how much of a file is in memory for each who takes it."""


class FileAPI:
    """
    Sends the results of tasks.
    """

    app = Klein()

    def __init__(self, service: Downloads) -> None:
        self._service = service

    @app.route("/api/tasks/file", methods=["GET", "HEAD"])
    async def get(self, request: Request) -> bytes:
        """The file as it is now, whole or in part."""
        headers = headers_of(request, "range", "if-range", "if-none-match")
        return await respond(request, self._send(request.args, headers, bodiless=request.method == b"HEAD"))

    async def _send(self, query: Query, headers: Headers, *, bodiless: bool) -> Answer:
        task_id, download = parse_task_id(query), parse_flag(query, "download")
        file = await self._service.result(task_id)
        answer = answer_with(file, headers, download=download, bodiless=bodiless)
        if answer.rest is None:
            file.close()
        return answer


def answer_with(file: ResultFile, headers: Headers, *, download: bool, bodiless: bool) -> Answer:
    """
    The answer to a request with these headers; a `bodiless` one (HEAD) is for the whole (RFC 9110, 14.2).
    """
    version, size = Version.of(file.identity, file.modified_at), file.size_bytes
    about = [
        ("ETag", version.etag),
        ("Last-Modified", version.last_modified),
        ("Cache-Control", "private, no-cache"),  # ask again each time: the task may have been made again
        ("Accept-Ranges", "bytes"),
        ("Content-Disposition", disposition(file.name, download=download)),
    ]
    if is_known(headers, version.etag):
        return Answer(status=304, body=b"", headers=tuple(about))
    try:
        span = None if bodiless else wanted_span(range_of(headers, version), size)
    except RangeNotSatisfiable as error:
        return attrs.evolve(refusal_by(416, error), headers=(("Content-Range", f"bytes */{size}"),))
    if span is not None:
        about.append(("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}"))
    part = span or Span(0, size)
    return Answer(
        status=200 if span is None else 206,
        body=b"",
        rest=None if bodiless else FileBody(file, part),
        length=part.size,
        media=media_type(file.name),
        headers=tuple(about),
    )


class FileBody:
    """
    A part of a file, piece by piece, each read when it is asked for.
    """

    def __init__(self, file: ResultFile, span: Span) -> None:
        self._file = file
        self._at = span.start
        self._stop = span.stop

    def __aiter__(self) -> "FileBody":
        return self

    async def __anext__(self) -> bytes:
        if self._at >= self._stop:
            raise StopAsyncIteration
        piece = await self._file.read(self._at, min(PIECE_BYTES, self._stop - self._at))
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Nobody takes more of it."""
        self._file.close()
