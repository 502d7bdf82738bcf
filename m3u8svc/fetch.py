"""
The one door out: one request becomes verified bytes in a sink, or one of our errors (DESIGN 5.2).

treq carries the request. What it leaves open is done here: redirects (it resolves the second hop against the first
URL), every timer after the headers, caps, Content-Length and Content-Range, compression bombs, and a cancel that the
origin feels. Exceptions of Twisted and treq are translated once, here.
"""

import base64
import errno
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import hyperlink
from treq.client import HTTPClient
from twisted.internet import error as net
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web._newclient import BadHeaders, ParseError
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from m3u8svc.body import DRAIN_BYTES, Answer, Body, FetchLimits, Share, Sink, Step
from m3u8svc.connections import DirectAgent, HeadersTooLong, HttpConnection
from m3u8svc.descriptors import lacking
from m3u8svc.disconnects import cancelled, causes, distrust, unconnected
from m3u8svc.errors import (
    BadByteRange,
    BadResponse,
    BodyTooLarge,
    ConnectError,
    ConnectTimeout,
    DnsFailed,
    FetchError,
    FetchTimeout,
    ForbiddenAddress,
    HeadersTimeout,
    M3u8svcError,
    RedirectError,
    TlsError,
    TooManyFiles,
    TotalTimeout,
    status_error,
)
from m3u8svc.hls.playlist import ByteRange
from m3u8svc.redact import is_secret_header
from m3u8svc.tasks.addresses import Zone
from m3u8svc.tasks.reach import Policy
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.wire import (
    Inflate,
    Slice,
    WireUrl,
    content_range,
    http_date,
    redirected_url,
    retry_after_s,
    wire_url,
)
from m3u8svc.wording import Said

__all__ = ["AgentFor", "FetchLimits", "Fetched", "Fetcher", "Sink"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DRAIN_S = 2.0
_ROOM_AFTER_S = (0.2, 1.0, 3.0)
"""How long is waited for a descriptor, each time."""
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

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
    modified: str
    """The time of the file as the server wrote it; "" without one."""
    size_bytes: int
    length_known: bool
    """
    False: the body ended with the connection, or went on beyond what was announced, so that only its content can tell
    whether it is whole (trap 3).
    """
    hops: int = 0
    reach: Zone = Zone.PUBLIC
    """How near what this leads to may be."""

    @property
    def last_modified(self) -> float | None:
        """The time of the file, in seconds since the epoch; None if the server tells none."""
        return http_date(self.modified)


class Fetcher:
    """
    Fetches; keeps nothing between calls, cookies included.

    Args:
        clock: every timer runs on it.
        wall: seconds since the epoch, for dates in Retry-After.
        at_once: how many answers may be under way; others wait, before their time begins.
        spare: frees descriptors that are not in use, when there are too few.
        policy: where requests may go.
    """

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        wall: Callable[[], float] = time.time,
        at_once: int = 1000,
        spare: Callable[[], None] = lambda: None,
        policy: Policy | None = None,
    ) -> None:
        self._clock = clock
        self._policy = policy or Policy()
        self._wall = wall
        self._room = DeferredSemaphore(at_once)
        self._spare = spare

    async def fetch(
        self, request: Request, sink: Sink, *, agent_for: AgentFor, limits: FetchLimits, share: Share | None = None
    ) -> Fetched:
        """
        Write what `request` asks for into `sink`, all of it and nothing else; no faster than `share` lets it.

        Raises:
            FetchError: one of its kinds; or what the agent or the sink raised on purpose.
            CancelledError: cancelled; the connection is closed at once.
        """
        request = _admit(request)
        await self._room.acquire()
        try:
            return await self._fetch(request, sink, agent_for, limits, share)
        finally:
            self._room.release()

    async def _fetch(
        self, request: Request, sink: Sink, agent_for: AgentFor, limits: FetchLimits, share: Share | None
    ) -> Fetched:
        answer = await self._connected(request, agent_for, limits)
        try:
            step = _judge(answer, limits)
        except FetchError:
            await self._drain(answer)
            raise
        body = Body(self._clock, answer, sink, step, limits, share)
        answer.response.deliverBody(body)
        body.began()
        await body.done
        return Fetched(
            url=answer.request.url,
            status=answer.response.code,
            content_type=answer.header("Content-Type"),
            modified=answer.header("Last-Modified"),
            size_bytes=body.stored,
            length_known=body.length_known,
            hops=answer.hops,
            reach=answer.reach,
        )

    async def read(
        self, request: Request, *, agent_for: AgentFor, limits: FetchLimits, share: Share | None = None
    ) -> tuple[Fetched, bytes]:
        """
        The whole body in memory: playlists, keys, pages. Raises as `fetch` does.
        """
        pieces = _Pieces()
        fetched = await self.fetch(request, pieces, agent_for=agent_for, limits=limits, share=share)
        return fetched, b"".join(pieces.chunks)

    async def _connected(self, request: Request, agent_for: AgentFor, limits: FetchLimits) -> "Answer":
        """
        The answer to a request. One for which there was no descriptor has not been sent: it is tried again a little
        later, and counts as none.
        """
        for wait_s in _ROOM_AFTER_S:
            try:
                return await self._follow(request, agent_for, limits)
            except TooManyFiles as error:
                self.log.warn("{error}: closing idle connections", error=error.text("en"))
                self._spare()
                await deferLater(self._clock, wait_s)
        return await self._follow(request, agent_for, limits)

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
            request = attrs.evolve(_redirected(request, location), reach=answer.reach)
            if request.url in seen:
                raise RedirectError(url=request.url, reason=Said("循环重定向", "it leads back to where it was"))
            seen.add(request.url)
        raise RedirectError(
            url=request.url, reason=Said(f"超过 {limits.redirects} 次", f"more than {limits.redirects} of them")
        )

    async def _ask(
        self, request: Request, agent_for: AgentFor, limits: FetchLimits, deadline: float | None, hops: int
    ) -> "Answer":
        """
        Send one request and wait for the headers of its answer.
        """
        wire = wire_url(request.url)
        try:
            agent = await agent_for(request)
            zone = self._policy.judge_host(
                wire.host, wire.port, request.reach, resolved_here=isinstance(agent, DirectAgent)
            )
            answer = await self._send(request, wire, agent, limits, deadline, hops)
        except ForbiddenAddress as error:
            refused = ForbiddenAddress(**{**error.fields, "url": request.url})
            self.log.warn("{code} {error}", code=refused.code, error=refused.text("en"), purpose=request.purpose.value)
            raise refused from error
        return attrs.evolve(answer, reach=min(request.reach, _came_from(answer, zone)))

    async def _send(
        self,
        request: Request,
        wire: WireUrl,
        agent: IAgent,
        limits: FetchLimits,
        deadline: float | None,
        hops: int,
    ) -> "Answer":
        door = _Door(agent, "gzip" if request.purpose is Purpose.PLAYLIST else "identity")
        seconds = limits.connect_s + limits.headers_s
        timeout: FetchTimeout = HeadersTimeout(url=request.url, seconds=round(seconds, 3))
        if deadline is not None and deadline - self._clock.seconds() < seconds:
            seconds = max(deadline - self._clock.seconds(), 0.0)
            timeout = TotalTimeout(url=request.url, seconds=limits.total_s)
        try:
            # A client per call, since each keeps a cookie jar. The reactor would be imported if none were given.
            client = HTTPClient(door)
            sent: Deferred[Any] = client.request(
                "GET",
                _AsWritten(request.url),
                headers=_headers(request, wire),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._clock,  # type: ignore[arg-type]  # unused without `timeout`
            )
            sent.addTimeout(seconds, self._clock, onTimeoutCancel=lambda result, after: Failure(timeout))
            await sent
        except M3u8svcError:
            raise
        except Exception as error:  # Twisted's many, and whatever an agent of a plugin may raise
            found = _translated(error, request, limits)
            raise _told_by_strict(found) if self._policy.strict else found from error
        return door.answer(request, hops, deadline)

    async def _refuse_status(self, answer: "Answer") -> None:
        status = answer.response.code
        if status == 200 or (status == 206 and answer.request.byterange is not None):
            return
        wait_s = retry_after_s(answer.header("Retry-After"), self._wall())
        await self._drain(answer)
        purpose = answer.request.purpose.value
        raise status_error(url=answer.request.url, status=status, retry_after_s=wait_s, purpose=purpose)

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
    The same request one hop on. Credentials stay behind when scheme, host or port changes, for good (R-RED-2); a key
    that was asked for under TLS is not fetched without (R-URL-1).
    """
    url = redirected_url(request.url, location)
    if request.purpose is Purpose.KEY and request.url.startswith("https:") and not url.startswith("https:"):
        raise RedirectError(
            url=request.url, reason=Said("密钥不能从 https 转到 http", "a key must not be led from https to http")
        )
    headers = request.headers
    if wire_url(url).origin != wire_url(request.url).origin:
        headers = tuple(pair for pair in headers if not is_secret_header(pair[0]))
    return attrs.evolve(request, url=url, headers=headers)


def _headers(request: Request, wire: WireUrl) -> Headers:
    headers = Headers()
    for name, value in request.headers:
        headers.addRawHeader(name, value)
    headers.setRawHeaders("Host", [wire.authority])
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
            raise BadResponse(url=request.url, reason=Said("没有应答", "no answer came"))
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
        raise BadByteRange(
            url=answer.request.url,
            reason=Said(f"范围应答被压缩（{answer.encoding}）", f"the range is compressed ({answer.encoding})"),
        )
    if wanted.length_bytes > limits.max_bytes:
        raise BodyTooLarge(url=answer.request.url, limit=limits.max_bytes)
    if answer.response.code == 206:
        _check_partial(answer, wanted)
        return Slice(ByteRange(offset_bytes=0, length_bytes=wanted.length_bytes), answer.request.url)
    if answer.length is not None and answer.length < wanted.offset_bytes + wanted.length_bytes:
        raise BadByteRange(
            url=answer.request.url,
            reason=Said(
                f"资源只有 {answer.length} 字节，{wanted.header} 超出范围",
                f"there are only {answer.length} bytes, and {wanted.header} is beyond",
            ),
        )
    return Slice(wanted, answer.request.url)


def _check_partial(answer: Answer, wanted: ByteRange) -> None:
    given = content_range(answer.header("Content-Range"))
    if given is None:
        raise BadByteRange(
            url=answer.request.url,
            reason=Said("HTTP 206 缺少有效的 Content-Range", "HTTP 206 without a valid Content-Range"),
        )
    if given != wanted or answer.length not in (None, wanted.length_bytes):
        raise BadByteRange(
            url=answer.request.url,
            reason=Said(
                f"请求 {wanted.header}，应答 {given.header}", f"{wanted.header} was asked for, {given.header} came"
            ),
        )


def _decoding(answer: Answer) -> Inflate | None:
    encoding = answer.encoding.removeprefix("x-")
    if encoding in ("gzip", "deflate"):
        return Inflate(encoding, answer.request.url)
    if encoding not in ("", "identity"):
        raise BadResponse(
            url=answer.request.url,
            reason=Said(f"未请求的压缩方式 {encoding}", f"compressed by {encoding}, which was not asked for"),
        )
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


def _came_from(answer: Answer, zone: Zone | None) -> Zone:
    """
    The zone an answer came from: that of the addresses it can have come from, or of what the URL says. A name that
    others have looked up may be anywhere, so what it leads to must be public.
    """
    connection = getattr(answer.response, "connection", None)
    if isinstance(connection, HttpConnection) and connection.verdict is not None:
        return connection.verdict.zone
    return Zone.PUBLIC if zone is None else zone


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
            case net.ConnectError(osError=number) | OSError(errno=number) if number in _NO_DESCRIPTORS:
                return TooManyFiles(path=wire_url(url).authority, reason=os.strerror(number))
            case net.TimeoutError() | net.TCPTimedOutError():
                return ConnectTimeout(url=url, seconds=limits.connect_s)
            case HeadersTooLong():
                return BadResponse(url=url, reason=Said("响应头过长", "its headers are too long"))
            # AttributeError: Twisted's parser, when the first header line is the continuation of none.
            case ParseError() | BadHeaders() | ValueError() | KeyError() | AttributeError():
                return BadResponse(url=url, reason=Said("不是有效的 HTTP 应答", "not a valid HTTP answer"))
    for cause in wrapped:
        if lost := unconnected(cause):
            kind, reason = lost
            if kind is DnsFailed and (number := lacking()):  # a name is looked up in files and sockets
                return TooManyFiles(path=wire_url(url).authority, reason=os.strerror(number))
            return kind(url=url, reason=reason)
    return FetchError(url=url, reason=f"{type(error).__name__}: {error}")


def _told_by_strict(error: Exception) -> Exception:
    """
    The error as strangers hear it: no connection is no connection, whether nobody listens at a port, a firewall is in
    front of it, or there is no such machine (R-SSRF-3).
    """
    if isinstance(error, ConnectTimeout) or (isinstance(error, ConnectError) and not isinstance(error, DnsFailed)):
        return ConnectError(url=error.fields["url"], reason=Said("连接失败", "the connection failed"))
    return error
