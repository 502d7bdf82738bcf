# mypy: disable-error-code="no-untyped-call"
"""
The gate at work: a `Site` whose connections refuse before Twisted stores or parses a body (reliability.md 0, traps
7-10).

`HTTPChannel` decides once all headers are there, before ``100 Continue`` and before any room for the body is made. A
refusal is written, our side of the connection is closed, and what the peer still sends is thrown away for a moment:
closing at once would reset the connection, and the peer would never see why.

Uses of private names of Twisted, each pinned by a test in ``tests/web``: ``_command``, ``_path``, ``_networkProducer``,
``_handlingRequest``, ``_receivedHeaderSize``, ``_receivedHeaderCount``, ``_respondToBadRequestAndDisconnect``,
``_protocolUpgradeForWebsockets``.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any  # Any: Twisted's web server is not annotated

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from m3u8svc.access.credentials import bears_token
from m3u8svc.access.failures import source_of
from m3u8svc.access.forwarding import NOTHING_BEFORE_US, Client, Front, client_of, without_base
from m3u8svc.access.roles import OWNER, Principal
from m3u8svc.redact import escape_controls, redact_text
from m3u8svc.waiting import log_failure
from m3u8svc.web import gate
from m3u8svc.web.doorman import Admission, Doorman, Verdict
from m3u8svc.web.gate import Refusal
from m3u8svc.web.rates import Rates
from m3u8svc.web.render import ENGLISH, header_text, json_bytes
from m3u8svc.weblimits import DEFAULTS, WebLimits

VERDICT_S = 30
LINGER_S = 2
LINGER_BYTES = 1024 * 1024
BURST_S = 5
"""Connections that are refused within so long are one line of the log."""
WARNINGS_PER_S, WARNINGS_AT_ONCE = 1, 200
"""Of one address, so many refusals are warnings. More are for debugging: a stranger must not fill the log."""


class GatedRequest(Request):
    """
    A request whose body is counted while it arrives and kept in memory; whom it comes from, and who that is.
    """

    channel: "GatedChannel"
    client: Client
    admission: Admission
    began_at = 0.0
    """When its headers were there."""
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
            self.setHeader(ENGLISH.encode("ascii"), header_text("internal error of the service").encode("ascii"))
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self.write(body)
        self.finish()
        return reason


def admission_of(request: Request) -> Admission:
    """
    Who a request is from, as the doorman has it.
    """
    assert isinstance(request, GatedRequest)
    return request.admission


def client_behind(request: Request) -> Client:
    """
    Where a request comes from.
    """
    assert isinstance(request, GatedRequest)
    return request.client


class GatedChannel(HTTPChannel):
    """
    One connection: deadlines, limits, the gate, and our headers on every answer.
    """

    transport: Any  # Any: no one interface of Twisted's names all that a connection can do
    site: "GatedSite"
    refused = False
    body_limit = 0
    _deadline: IDelayedCall | None = None
    _unread: IDelayedCall | None = None
    _lingered = 0
    _held = False
    """Whether a request is being judged."""
    _whole = False
    """Whether that one has no body."""
    _judging: "Deferred[None] | None" = None

    # -- The gate --

    def allHeadersReceived(self) -> None:
        """Decide; only what passes gets room for a body. A verdict may take a while: nothing is read meanwhile."""
        front = self.site.front
        sent_path = self._path.decode("latin-1")
        method, target = self._command.decode("latin-1"), without_base(sent_path, front.base_path)
        request = self.requests[-1]
        request.began_at = self.site.reactor.seconds()
        headers = {
            name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        client = client_of(_host(self.getPeer()), secure=self.isSecure(), headers=headers, trusted=front.trusted)
        refusal = gate.decide(
            method,
            target,
            client.headers,
            self.site.allowed_hosts() | self._own_names(),
            length=self.length,
            unforgeable=self.site.doorman.insists and bears_token(headers),
            secure=client.secure,
            limits=self.site.limits,
        )
        if refusal is None and sent_path.partition("?")[0] == front.base_path:
            refusal = gate.moved(front.base_path + "/")
        if refusal is not None:
            self._turn_away(refusal, method, target, client.headers)
            return
        self._path = target.encode("latin-1")
        request.client = client
        verdict = self.site.doorman.judge(method, target.partition("?")[0], client)
        if isinstance(verdict, Deferred):
            self._await(verdict, method, target)
        else:
            self._obey(verdict, method, target)

    def _own_names(self) -> frozenset[str]:
        """
        What this connection's own end is called.
        """
        end = self.getHost()
        if not isinstance(end, IPv4Address | IPv6Address):
            return frozenset()
        return gate.names_of_own_end(end.host, end.port, proxied=bool(self.site.front.trusted))

    def _await(self, verdict: "Deferred[Verdict]", method: str, target: str) -> None:
        """
        Hold the request, and what comes behind it, until it is judged.
        """
        self.paused = self._held = True
        self._whole = False
        self._networkProducer.pauseProducing()
        self._expect(VERDICT_S)
        self._judging = Deferred.fromCoroutine(self._judged(verdict, method, target))
        self._judging.addErrback(self._judge_lost, method, target)

    async def _judged(self, pending: "Deferred[Verdict]", method: str, target: str) -> None:
        try:
            verdict = await pending
        finally:
            self._held = False
        self._obey(verdict, method, target)
        if self.refused:
            return
        self.paused = False
        if self._whole:
            self.allContentReceived()
        self._networkProducer.resumeProducing()
        super().dataReceived(b"")

    def _judge_lost(self, failure: Failure, method: str, target: str) -> None:
        if not failure.check(CancelledError):  # which is the client's going away
            log_failure(
                f"judging {_shown(method.encode())} {_shown(target.partition('?')[0].encode('latin-1'))}", failure
            )
            self.refuse(gate.OUR_FAULT)

    def _obey(self, verdict: Verdict, method: str, target: str) -> None:
        request = self.requests[-1]
        if isinstance(verdict, Admission):
            request.admission = verdict
            verdict = self.site.rate_refusal(verdict.principal, request.client.address) or verdict
        if isinstance(verdict, Refusal):
            self._turn_away(verdict, method, target, request.client.headers)
            return
        limits = self.site.limits
        self.body_limit = gate.body_limit(method, target, limits)
        self._expect(limits.body_deadline_s)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is whole: it may take its time now."""
        if self._held:
            self._whole = True
        elif not self.refused:
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
        headers = Headers({"Content-Type": ["application/json"]})
        if refusal.code:
            headers.setRawHeaders("X-Error-Code", [refusal.code])
            headers.setRawHeaders(ENGLISH, [header_text(refusal.english)])
        headers.setRawHeaders("Content-Length", [str(len(body))])
        headers.setRawHeaders("Connection", ["close"])
        headers.setRawHeaders("Date", [datetimeToString()])
        if refusal.status == 405:
            headers.setRawHeaders("Allow", [", ".join(refusal.allow)])
        for name, value in refusal.headers:
            headers.setRawHeaders(name, [value])
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

    def _turn_away(self, refusal: Refusal, method: str, target: str, headers: gate.Headers) -> None:
        """
        Refuse a request whose headers are known, log it and count it.
        """
        self._log_refusal(refusal, method, target, headers)
        self.site.count(method, target.partition("?")[0], refusal.status, self.requests[-1].began_at)
        self.refuse(refusal, head=method == "HEAD")

    def _log_refusal(self, refusal: Refusal, method: str, target: str, headers: gate.Headers) -> None:
        is_attack = refusal.status in (403, 421) and self.site.may_warn_of(_host(self.getPeer()))
        level = self._log.warn if is_attack else self._log.debug
        level(
            "refused {method} {path}: {status} {code} (host {host}, origin {origin})",
            method=escape_controls(method[:20]),
            path=redact_text(target.partition("?")[0][:100]),
            status=refusal.status,
            code=refusal.code,
            host=escape_controls(", ".join(headers.get("host", ()))[:100]),
            origin=escape_controls(gate.whose_page(headers)[:100]),
        )

    # -- What arrives --

    def dataReceived(self, data: bytes) -> None:
        """The first byte of a request starts its deadline; after a refusal nothing is read any more."""
        if self.refused:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.abortConnection()
            return
        if self._held:  # TLS may hand on what it had read already
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self.transport.abortConnection()
        if self._deadline is None and not self._handlingRequest:
            self._expect(self.site.limits.header_deadline_s)
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
        """The peer does not take the answer as fast as it comes: it gets a while, not forever."""
        super().pauseProducing()
        if self._unread is None:
            self._unread = self.site.reactor.callLater(self.site.limits.unread_s, self._give_up_on_the_answer)

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
        limits = self.site.limits
        self.maxHeaders, self.totalHeadersSize = limits.header_count, limits.header_bytes
        self.MAX_LENGTH = limits.header_bytes  # of one line
        self.site.joined(self)
        self._expect(limits.header_deadline_s)

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
        if self._judging is not None:
            self._judging.cancel()
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

    `allowed_hosts` is asked for each request, because the port is known only after listening. Without a `doorman`
    everybody is the owner.
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
        doorman: Doorman | None = None,
        front: Front = NOTHING_BEFORE_US,
        closing: Callable[[], None] = lambda: None,
        limits: WebLimits = DEFAULTS,
        answered: Callable[[str, str, int, float], None] = lambda method, route, status, took_s: None,
    ) -> None:
        super().__init__(
            resource, requestFactory=GatedRequest, timeout=limits.idle_s, reactor=reactor, parsePOSTFormSubmission=False
        )
        self.allowed_hosts = allowed_hosts
        self.limits = limits
        self._rates = Rates(per_s=limits.requests_per_s, burst=limits.requests_burst)
        self._owners_rate = Rates(per_s=limits.owner_requests_per_s, burst=limits.requests_burst)
        self._warnings = Rates(per_s=WARNINGS_PER_S, burst=WARNINGS_AT_ONCE)
        self.doorman = doorman or Doorman(clock=reactor)
        self.front = front
        self._closing = closing
        self._answered = answered
        self._channels: dict[GatedChannel, str] = {}
        self._turned_away = 0
        self._burst: IDelayedCall | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:  # Any: Twisted's own answer is a proxy type
        """Refuse a connection beyond the limits by closing it."""
        peers = list(self._channels.values())
        limits = self.limits
        if len(peers) >= limits.connections or peers.count(_host(addr)) >= limits.connections_per_address:
            self._turn_away(_host(addr))
            return None
        return super().buildProtocol(addr)

    def rate_refusal(self, principal: Principal | None, address: str) -> Refusal | None:
        """
        Count a request of this principal, or of a stranger at this address; the answer to it if there were too many.
        """
        owner = principal is OWNER  # a token may have that name, too
        rates = self._owners_rate if owner else self._rates
        who = f"at {source_of(address)}" if principal is None else f"as {principal.name}"
        wait_s = rates.wait(who, self.reactor.seconds())
        if not wait_s:
            return None
        per_s = self.limits.owner_requests_per_s if owner else self.limits.requests_per_s
        return gate.too_many_requests(per_s=per_s, wait_s=wait_s)

    def may_warn_of(self, address: str) -> bool:
        """
        Count a warning about this address; whether there were not too many.
        """
        return not self._warnings.wait(source_of(address), self.reactor.seconds())

    def _turn_away(self, peer: str) -> None:
        """
        Count it, and say so when the burst is over: they come by the hundred.
        """
        self._turned_away += 1
        if self._burst is None:
            self._burst = self.reactor.callLater(BURST_S, self._end_burst, peer)

    def _end_burst(self, peer: str) -> None:
        count, self._turned_away, self._burst = self._turned_away, 0, None
        self._log.warn(
            "too many connections: {count} closed within {seconds} s, the first from {peer}",
            count=count,
            seconds=BURST_S,
            peer=peer,
        )

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
        if self._burst is not None:
            self._burst.reset(0)
        for channel in list(self._channels):
            if not channel.requests:
                channel.loseConnection()

    def count(self, method: str, path: str, status: int, began_at: float) -> None:
        """
        A request that began then is answered.
        """
        self._answered(*gate.route_of(method, path), status, self.reactor.seconds() - began_at)

    def log(self, request: Any) -> None:  # Any: http.Request is not annotated
        """The access log: debug, without the query, and without what clients that poll ask all day."""
        self.count(request.method.decode("latin-1"), request.path.decode("latin-1"), request.code, request.began_at)
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
    return redact_text(raw[:100].decode("latin-1"))
