"""
What there is to see of one task: /api/tasks/segments, the map of its segments, /api/tasks/picture, a small picture of
one, and the film while it is fetched, /api/tasks/play and /api/tasks/media.
"""

from klein import Klein
from twisted.web.server import Request

from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import NOT_MODIFIED, Answer, headers_of, respond, respond_while_there, success
from m3u8svc.web.file import FileBody
from m3u8svc.web.queries import Query, parse_piece, parse_position, parse_task_id, parse_track
from m3u8svc.web.ranges import Headers, Span, etag_of, is_known
from m3u8svc.web.render import segment_map_object

PLAYLIST = "application/vnd.apple.mpegurl"


class WatchingAPI:
    """
    The routes over a service.
    """

    app = Klein()

    def __init__(self, service: Downloads) -> None:
        self._service = service

    @app.route("/api/tasks/segments", methods=["GET"])
    async def segments(self, request: Request) -> bytes:
        """Where each segment stands."""
        return await respond(request, self._segments(request.args))

    @app.route("/api/tasks/play", methods=["GET"])
    async def play(self, request: Request) -> bytes:
        """A playlist of what is there and what is to come."""
        return await respond(request, self._play(request.args))

    @app.route("/api/tasks/media", methods=["GET"])
    async def media(self, request: Request) -> bytes:
        """A segment, when it is there. Whoever seeks elsewhere hangs up, and waits for it no more."""
        return await respond_while_there(request, self._media(request.args))

    @app.route("/api/tasks/picture", methods=["GET"])
    async def picture(self, request: Request) -> bytes:
        """A small picture of a segment. Whoever scrolls on hangs up, and waits for it no more."""
        headers = headers_of(request, "if-none-match")
        return await respond_while_there(request, self._picture(request.args, headers))

    async def _segments(self, query: Query) -> Answer:
        return success(segment_map_object(await self._service.segment_map(parse_task_id(query))))

    async def _play(self, query: Query) -> Answer:
        text = await self._service.playlist_to_watch(parse_task_id(query), parse_track(query))
        return Answer(body=text.encode(), media=PLAYLIST)

    async def _media(self, query: Query) -> Answer:
        file, media = await self._service.piece_to_watch(parse_task_id(query), parse_piece(query))
        return Answer(body=b"", rest=FileBody(file, Span(0, file.size_bytes)), length=file.size_bytes, media=media)

    async def _picture(self, query: Query, headers: Headers) -> Answer:
        jpeg = await self._service.picture(parse_task_id(query), parse_position(query))
        about = (("ETag", etag_of(jpeg)), ("Cache-Control", "private, no-cache"))  # the segment may be another later
        if is_known(headers, etag_of(jpeg)):
            return Answer(status=NOT_MODIFIED, body=b"", headers=about)
        return Answer(body=jpeg, media="image/jpeg", headers=about)
