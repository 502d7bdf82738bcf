"""
The one door out: one request becomes verified bytes in a sink, or one of our errors (DESIGN 5.2).

treq carries the request. What it leaves open is done here: redirects (it resolves the second hop against the first
URL), every timer after the headers, caps, Content-Length and Content-Range, compression bombs, and a cancel that the
origin feels. Exceptions of Twisted and treq are translated once, here.
"""

import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import hyperlink
from treq.client import HTTPClient
from twisted.internet import error as net
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web._newclient import BadHeaders, ParseError
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from m3u8svc.body import DRAIN_BYTES, Answer, Body, FetchLimits, Sink, Step
from m3u8svc.connections import HeadersTooLong
from m3u8svc.disconnects import cancelled, causes, distrust, unconnected
from m3u8svc.errors import (
    BadByteRange,
    BadResponse,
    BodyTooLarge,
    ConnectError,
    FetchError,
    FetchTimeout,
    HttpStatusError,
    M3u8svcError,
    RedirectError,
    TlsError,
)
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.redact import is_secret_header
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.wire import Inflate, Slice, content_range, http_date, redirected_url, retry_after_s, wire_url

__all__ = ["AgentFor", "FetchLimits", "Fetched", "Fetcher", "Sink"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DRAIN_S = 2.0

AgentFor = Callable[[Request], Awaitable[IAgent]]
"""Who carries this request; asked again for every hop of a redirect."""


@attrs.frozen(kw_only=True)
class Fetched:
    """
    One answer, wholly received. `url` is the last hop's, the base for what is relative; `size_bytes` what the sink got.
    """

    url: str = attrs.field(repr=False)
    status: int
    content_type: str
    last_modified: float | None
    size_bytes: int
    length_known: bool
    """False: the body ended with the connection, so that only its content can tell whether it is whole (trap 3)."""
    hops: int = 0


class Fetcher:
    """
    Fetches; keeps nothing between calls, cookies included.

    Args:
        clock: every timer runs on it.
        wall: seconds since the epoch, for dates in Retry-After.
    """

    def __init__(self, *, clock: IReactorTime, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall

    async def fetch(self, request: Request, sink: Sink, *, agent_for: AgentFor, limits: FetchLimits) -> Fetched:
        """
        Write what `request` asks for into `sink`, all of it and nothing else.

        Raises:
            FetchError: one of its kinds; or what the agent or the sink raised on purpose.
            CancelledError: cancelled; the connection is closed at once.
        """
        answer = await self._follow(_admit(request), agent_for, limits)
        try:
            step = _judge(answer, limits)
        except FetchError:
            await self._drain(answer)
            raise
        body = Body(self._clock, answer, sink, step, limits)
        answer.response.deliverBody(body)
        await body.done
        return Fetched(
            url=answer.request.url,
            status=answer.response.code,
            content_type=answer.header("Content-Type"),
            last_modified=http_date(answer.header("Last-Modified")),
            size_bytes=body.stored,
            length_known=body.length_known,
            hops=answer.hops,
        )

    async def read(self, request: Request, *, agent_for: AgentFor, limits: FetchLimits) -> tuple[Fetched, bytes]:
        """
        The whole body in memory: playlists, keys, pages. Raises as `fetch` does.
        """
        pieces = _Pieces()
        fetched = await self.fetch(request, pieces, agent_for=agent_for, limits=limits)
        return fetched, b"".join(pieces.chunks)

    async def _follow(self, request: Request, agent_for: AgentFor, limits: FetchLimits) -> "Answer":
        deadline = None if limits.total_s is None else self._clock.seconds() + limits.total_s
        seen = {request.url}
        for hops in range(limits.redirects + 1):
            answer = await self._ask(request, agent_for, limits, deadline, hops)
            location = answer.header("Location")
            if answer.response.code not in _REDIRECTS or not location:
                await self._refuse_status(answer)
                return answer
            await self._drain(answer)
            request = _redirected(request, location)
            if request.url in seen:
                raise RedirectError(url=request.url, reason="循环重定向")
            seen.add(request.url)
        raise RedirectError(url=request.url, reason=f"超过 {limits.redirects} 次")

    async def _ask(
        self, request: Request, agent_for: AgentFor, limits: FetchLimits, deadline: float | None, hops: int
    ) -> "Answer":
        """
        Send one request and wait for the headers of its answer.
        """
        door = _Door(await agent_for(request), "gzip" if request.purpose is Purpose.PLAYLIST else "identity")
        what, seconds = "headers", limits.connect_s + limits.headers_s
        if deadline is not None and deadline - self._clock.seconds() < seconds:
            what, seconds = "total", max(deadline - self._clock.seconds(), 0.0)
        shown_s = limits.total_s if what == "total" else round(seconds, 3)
        timeout = FetchTimeout(url=request.url, what=what, seconds=shown_s)
        try:
            # A client per call, since each keeps a cookie jar. The reactor would be imported if none were given.
            client = HTTPClient(door)
            sent: Deferred[Any] = client.request(
                "GET",
                _AsWritten(request.url),
                headers=_headers(request),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._clock,  # type: ignore[arg-type]  # unused without `timeout`
            )
            sent.addTimeout(seconds, self._clock, onTimeoutCancel=lambda result, after: Failure(timeout))
            await sent
        except M3u8svcError:
            raise
        except Exception as error:  # Twisted's many, and whatever an agent of a plugin may raise
            raise _translated(error, request, limits) from error
        return door.answer(request, hops, deadline)

    async def _refuse_status(self, answer: "Answer") -> None:
        status = answer.response.code
        if status == 200 or (status == 206 and answer.request.byterange is not None):
            return
        wait_s = retry_after_s(answer.header("Retry-After"), self._wall())
        await self._drain(answer)
        purpose = answer.request.purpose.value
        raise HttpStatusError(url=answer.request.url, status=status, retry_after_s=wait_s, purpose=purpose)

    async def _drain(self, answer: "Answer") -> None:
        """
        Read the rest of an answer that nobody wants, if it is short, so that its connection can be used again.
        """
        limits = FetchLimits(silence_s=_DRAIN_S, total_s=_DRAIN_S, max_bytes=DRAIN_BYTES)
        ends_at = self._clock.seconds() + _DRAIN_S
        body = Body(self._clock, attrs.evolve(answer, deadline=ends_at), _Nowhere(), None, limits)
        answer.response.deliverBody(body)
        try:
            await body.done
        except FetchError:
            pass  # The connection is closed instead; why the answer is not wanted is what the caller raises.


# -- Before the wire -------------------------------------------------------------------------------------------------


def _admit(request: Request) -> Request:
    """
    The request in the form that goes out; userinfo becomes the Authorization header it stands for.
    """
    wire = wire_url(request.url)
    headers = request.headers
    if wire.userinfo is not None and not any(name.lower() == "authorization" for name, _ in headers):
        headers += (("Authorization", "Basic " + base64.b64encode(wire.userinfo).decode("ascii")),)
    return attrs.evolve(request, url=wire.text, headers=headers)


def _redirected(request: Request, location: str) -> Request:
    """
    The same request one hop on. Credentials stay behind when scheme, host or port changes, for good (R-RED-2).
    """
    url = redirected_url(request.url, location)
    headers = request.headers
    if wire_url(url).origin != wire_url(request.url).origin:
        headers = tuple(pair for pair in headers if not is_secret_header(pair[0]))
    return attrs.evolve(request, url=url, headers=headers)


def _headers(request: Request) -> Headers:
    headers = Headers()
    for name, value in request.headers:
        headers.addRawHeader(name, value)
    headers.setRawHeaders("Host", [wire_url(request.url).authority])
    if request.byterange is not None:
        headers.setRawHeaders("Range", [request.byterange.header])
    return headers


class _AsWritten(hyperlink.URL):
    """
    A URL that treq puts on the wire byte for byte; Hyperlink would encode ``::1`` as a name (hyperlink#188).
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def to_uri(self) -> "_AsWritten":
        """Itself: `wire_url` has made it one already."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """What was given."""
        return self._text


@implementer(IAgent)
class _Door:
    """
    Stands between treq and the real agent, once: sets Accept-Encoding back, and keeps the response as it came, since
    the one treq makes of it decodes gzip without bound (trap 5).
    """

    def __init__(self, agent: IAgent, accept_encoding: str) -> None:
        self._agent = agent
        self._accept_encoding = accept_encoding
        self._response: IResponse | None = None
        self._encoding = ""

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> "Deferred[IResponse]":
        """As IAgent says."""
        ours = Headers() if headers is None else headers.copy()
        ours.setRawHeaders("Accept-Encoding", [self._accept_encoding])
        return self._agent.request(method, uri, ours, bodyProducer).addCallback(self._keep)

    def _keep(self, response: IResponse) -> IResponse:
        self._response = response
        self._encoding = ",".join(response.headers.getRawHeaders("Content-Encoding", [])).strip().lower()
        return response

    def answer(self, request: Request, hops: int, deadline: float | None) -> "Answer":
        """What came back through it."""
        if self._response is None:
            raise BadResponse(url=request.url, reason="没有应答")
        return Answer(request=request, response=self._response, encoding=self._encoding, hops=hops, deadline=deadline)


# -- After the headers -------------------------------------------------------------------------------------------------


def _judge(answer: Answer, limits: FetchLimits) -> Step | None:
    """
    What to do with the body of a 200 or 206; raises when its headers already say that it is not what was asked for.
    """
    wanted = answer.request.byterange
    if wanted is None:
        if answer.length is not None and answer.length > limits.max_bytes:
            raise BodyTooLarge(url=answer.request.url, limit=limits.max_bytes)
        return _decoding(answer)
    if answer.encoding not in ("", "identity"):
        raise BadByteRange(url=answer.request.url, reason=f"范围应答被压缩（{answer.encoding}）")
    if wanted.length_bytes > limits.max_bytes:
        raise BodyTooLarge(url=answer.request.url, limit=limits.max_bytes)
    if answer.response.code == 206:
        _check_partial(answer, wanted)
        return Slice(ByteRange(offset_bytes=0, length_bytes=wanted.length_bytes), answer.request.url)
    if answer.length is not None and answer.length < wanted.offset_bytes + wanted.length_bytes:
        raise BadByteRange(url=answer.request.url, reason=f"资源只有 {answer.length} 字节，{wanted.header} 超出范围")
    return Slice(wanted, answer.request.url)


def _check_partial(answer: Answer, wanted: ByteRange) -> None:
    given = content_range(answer.header("Content-Range"))
    if given is None:
        raise BadByteRange(url=answer.request.url, reason="HTTP 206 缺少有效的 Content-Range")
    if given != wanted or answer.length not in (None, wanted.length_bytes):
        raise BadByteRange(url=answer.request.url, reason=f"请求 {wanted.header}，应答 {given.header}")


def _decoding(answer: Answer) -> Inflate | None:
    encoding = answer.encoding.removeprefix("x-")
    if encoding in ("gzip", "deflate"):
        return Inflate(encoding, answer.request.url)
    if encoding not in ("", "identity"):
        raise BadResponse(url=answer.request.url, reason=f"未请求的压缩方式 {encoding}")
    # Only playlists: a key's 16 bytes may begin like gzip by chance.
    return Inflate("", answer.request.url) if answer.request.purpose is Purpose.PLAYLIST else None


class _Pieces:
    """
    A sink that keeps everything.
    """

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        """Keep `chunk`."""
        self.chunks.append(chunk)


class _Nowhere:
    """
    A sink that keeps nothing.
    """

    def write(self, chunk: bytes) -> None:
        """Forget `chunk`."""


# -- Other people's exceptions ---------------------------------------------------------------------------------------


def _translated(error: Exception, request: Request, limits: FetchLimits) -> Exception:
    """
    Our exception for what went wrong before the headers were there.
    """
    wrapped = list(causes(error))
    url = request.url
    for cause in wrapped:
        if cancelled(cause):
            return CancelledError()
        if reason := distrust(cause):
            return TlsError(url=url, reason=reason)
        match cause:
            case M3u8svcError():
                return cause
            case net.TimeoutError() | net.TCPTimedOutError():
                return FetchTimeout(url=url, what="connect", seconds=limits.connect_s)
            case HeadersTooLong():
                return BadResponse(url=url, reason="响应头过长")
            case ParseError() | BadHeaders() | ValueError() | KeyError():
                return BadResponse(url=url, reason="不是有效的 HTTP 应答")
    for cause in wrapped:
        if reason := unconnected(cause):
            return ConnectError(url=url, reason=reason)
    return FetchError(url=url, reason=f"{type(error).__name__}: {error}")
