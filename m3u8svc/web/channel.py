# mypy: disable-error-code="no-untyped-call"
"""
The gate at work: a `Site` whose connections refuse before Twisted stores or parses a body (reliability.md 0, traps
7-10).

`HTTPChannel` decides once all headers are there, before ``100 Continue`` and before any room for the body is made. A
refusal is written, our side of the connection is closed, and what the peer still sends is thrown away for a moment:
closing at once would reset the connection, and the peer would never see why.

Uses of private names of Twisted, each pinned by a test in ``tests/web``: ``_command``, ``_path``,
``_handlingRequest``, ``_receivedHeaderSize``, ``_receivedHeaderCount``, ``_respondToBadRequestAndDisconnect``,
``_protocolUpgradeForWebsockets``.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any  # Any: Twisted's web server is not annotated

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from m3u8svc.redact import escape_controls
from m3u8svc.waiting import log_failure
from m3u8svc.web import gate
from m3u8svc.web.gate import Refusal
from m3u8svc.web.render import json_bytes

IDLE_S = 60
HEADERS_S = 10
BODY_S = 30
UNREAD_ANSWER_S = 60
LINGER_S = 2
LINGER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_ADDRESS = 64


class GatedRequest(Request):
    """
    A request whose body is counted while it arrives and kept in memory.
    """

    channel: "GatedChannel"
    _body_bytes = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Count first: a chunked body does not say how long it is."""
        if self.channel.refused:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self.channel.body_limit:
            self.channel.refuse(gate.BODY_TOO_LARGE)
        else:
            super().handleContentChunk(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """
        The last net: an exception no route turned into an answer. One log entry, no word of it to the client.
        """
        log_failure(f"{_shown(self.method)} {_shown(self.path)}", reason)
        if not self.startedWriting:
            body = json_bytes("服务器内部错误")
            self.setResponseCode(500)
            self.setHeader(b"Content-Type", b"application/json")
            self.setHeader(b"X-Error-Code", b"internal")
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self.write(body)
        self.finish()
        return reason


class GatedChannel(HTTPChannel):
    """
    One connection: deadlines, limits, the gate, and our headers on every answer.
    """

    maxHeaders = 100
    transport: Any  # Any: no one interface of Twisted's names all that a connection can do
    site: "GatedSite"
    refused = False
    body_limit = 0
    _deadline: IDelayedCall | None = None
    _unread: IDelayedCall | None = None
    _lingered = 0

    # -- The gate --

    def allHeadersReceived(self) -> None:
        """Decide; only what passes gets room for a body."""
        method, target = self._command.decode("latin-1"), self._path.decode("latin-1")
        request = self.requests[-1]
        headers = {
            name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        refusal = gate.decide(method, target, headers, self.site.allowed_hosts(), length=self.length)
        if refusal is not None:
            self._log_refusal(refusal, method, target, headers)
            self.refuse(refusal, head=method == "HEAD")
            return
        self.body_limit = gate.body_limit(method, target)
        self._expect(BODY_S)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is whole: it may take its time now."""
        if not self.refused:
            self._expect(None)
            super().allContentReceived()

    def refuse(self, refusal: Refusal, *, head: bool = False) -> None:
        """
        Answer this instead of the request, and end the connection.
        """
        if self.refused:
            return
        self.refused = True
        self.setTimeout(None)
        body = json_bytes(refusal.message)
        headers = Headers({"Content-Type": ["application/json"], "X-Error-Code": [refusal.code]})
        headers.setRawHeaders("Content-Length", [str(len(body))])
        headers.setRawHeaders("Connection", ["close"])
        headers.setRawHeaders("Date", [datetimeToString()])
        if refusal.status == 405:
            headers.setRawHeaders("Allow", [", ".join(refusal.allow)])
        reason = RESPONSES.get(refusal.status, b"Refused")
        self.writeHeaders(b"HTTP/1.1", b"%d" % refusal.status, reason, headers)
        if not head:
            self.transport.write(body)
        self._linger()

    def _linger(self) -> None:
        """
        Close our side, let the peer finish its sentence into the void, then close for good.
        """
        self.transport.unregisterProducer()
        closes_by_halves = ITCPTransport.providedBy(self.transport) and not self.isSecure()
        if not closes_by_halves:
            self.transport.loseConnection()
            return
        self._expect(LINGER_S)
        self.transport.resumeProducing()
        self.transport.loseWriteConnection()

    def _log_refusal(self, refusal: Refusal, method: str, target: str, headers: gate.Headers) -> None:
        level = self._log.warn if refusal.status in (403, 421) else self._log.debug
        level(
            "refused {method} {path}: {status} {code} (host {host}, origin {origin})",
            method=escape_controls(method[:20]),
            path=escape_controls(target.partition("?")[0][:100]),
            status=refusal.status,
            code=refusal.code,
            host=escape_controls(", ".join(headers.get("host", ()))[:100]),
            origin=escape_controls(", ".join(headers.get("origin", ()))[:100]),
        )

    # -- What arrives --

    def dataReceived(self, data: bytes) -> None:
        """The first byte of a request starts its deadline; after a refusal nothing is read any more."""
        if self.refused:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self._deadline is None and not self._handlingRequest:
            self._expect(HEADERS_S)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Lines that came together with what was refused are dropped."""
        if not self.refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """One line longer than all headers may be."""
        self.refuse(gate.HEADERS_TOO_LARGE)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted's answer to bad HTTP, in our form."""
        too_large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(gate.HEADERS_TOO_LARGE if too_large else gate.BAD_REQUEST)

    # -- What leaves --

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Every answer carries the security headers, whoever made it."""
        for name, value in gate.SECURITY_HEADERS:
            if not headers.hasHeader(name):
                headers.setRawHeaders(name, [value])
        headers.setRawHeaders("Server", ["m3u8svc"])
        super().writeHeaders(version, code, reason, headers)

    def pauseProducing(self) -> None:
        """The peer does not take the answer as fast as it comes: it gets a minute, not forever."""
        super().pauseProducing()
        if self._unread is None:
            self._unread = self.site.reactor.callLater(UNREAD_ANSWER_S, self._give_up_on_the_answer)

    def resumeProducing(self) -> None:
        """It took all there was."""
        self._stop_waiting_for_the_reader()
        super().resumeProducing()

    def _give_up_on_the_answer(self) -> None:
        self._unread = None
        self.transport.abortConnection()

    def _stop_waiting_for_the_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # -- The connection's life --

    def connectionMade(self) -> None:
        """Somebody who connects has something to say."""
        super().connectionMade()
        self.site.joined(self)
        self._expect(HEADERS_S)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # HTTPChannel leaves it unannotated
        """Forget the connection and its timers."""
        self._forget()
        super().connectionLost(reason)

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """
        Hand the connection over; it still counts as one of ours until it is lost.
        """
        super()._protocolUpgradeForWebsockets(protocol)
        self._stop_waiting_for_the_reader()
        lost: Callable[[Failure], None] = protocol.connectionLost

        def connection_lost(reason: Failure) -> None:
            self._forget()
            lost(reason)

        self.connectionLost = connection_lost  # type: ignore[method-assign]  # as Twisted does it

    def _forget(self) -> None:
        self._expect(None)
        self._stop_waiting_for_the_reader()
        self.site.left(self)

    def _expect(self, within_s: float | None) -> None:
        """
        The peer has this long for what comes next, however slowly it drips; None: nothing is expected.
        """
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.site.reactor.callLater(within_s, self._too_late)

    def _too_late(self) -> None:
        self.transport.abortConnection()


class GatedSite(Site):
    """
    A site behind the gate: no forms, bodies in memory, a bounded number of connections.

    `allowed_hosts` is asked for each request, because the port is known only after listening.
    """

    protocol = GatedChannel  # type: ignore[assignment]  # without the proxy that could switch to HTTP/2
    noisy = False
    """We say ourselves where we listen."""
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        *,
        reactor: IReactorTime,
        allowed_hosts: Callable[[], frozenset[str]],
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            resource, requestFactory=GatedRequest, timeout=IDLE_S, reactor=reactor, parsePOSTFormSubmission=False
        )
        self.allowed_hosts = allowed_hosts
        self._closing = closing
        self._channels: dict[GatedChannel, str] = {}

    def buildProtocol(self, addr: IAddress | None) -> Any:  # Any: Twisted's own answer is a proxy type
        """Refuse a connection beyond the limits by closing it."""
        peers = list(self._channels.values())
        if len(peers) >= MAX_CONNECTIONS or peers.count(_host(addr)) >= MAX_CONNECTIONS_PER_ADDRESS:
            self._log.warn("too many connections: one from {peer} was closed", peer=_host(addr))
            return None
        return super().buildProtocol(addr)

    def joined(self, channel: GatedChannel) -> None:
        """A connection counts from now."""
        self._channels[channel] = _host(channel.getPeer())

    def left(self, channel: GatedChannel) -> None:
        """And no more."""
        self._channels.pop(channel, None)

    def getContentFile(self, length: int | None) -> BytesIO:
        """Where a body is kept: never on disk, since it is small."""
        return BytesIO()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 only: the gate is a channel of that."""
        return [b"http/1.1"]

    def stopFactory(self) -> None:
        """Nobody listens any more: end what is pushed and what is idle."""
        super().stopFactory()
        self._closing()
        for channel in list(self._channels):
            if not channel.requests:
                channel.loseConnection()

    def log(self, request: Any) -> None:  # Any: http.Request is not annotated
        """The access log: debug, without the query, and without what clients that poll ask all day."""
        if request.method == b"GET" and request.code < 400:
            return
        self._log.debug(
            "{method} {path} {status}",
            method=_shown(request.method),
            path=_shown(request.path),
            status=request.code,
        )


def _host(address: object) -> str:
    return str(getattr(address, "host", ""))  # a UNIX socket's peer has none


def _shown(raw: bytes) -> str:
    return escape_controls(raw[:100].decode("latin-1"))
