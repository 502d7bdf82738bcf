"""
An HTTP origin that misbehaves on request and keeps a journal.

Real sockets, real HTTP/1.1; what goes wrong is said in the query of the URL, so that a playlist can hold one bad
segment among good ones, and any client can be tried against it::

    origin = await Origin.start(reactor)
    origin.put("/seg1.ts", body, content_type="video/mp2t")
    url = origin.url("/seg1.ts", status=503, times=2)       # twice 503, then the segment
    ...
    assert origin.count("/seg1.ts") == 3
    await origin.stop()

The tweaks, which may be combined; any other name in a query is ignored, as a CDN ignores a token:

=================== ==================================================================================================
``times=N``         only the first N requests of this URL are misbehaved to
``status=503``      answer with this status and a short text; ``retry_after=`` adds the header
``redirect=URL``    302 (or ``status``) to URL
``delay=S``         wait before the headers
``hang=headers``    never answer; ``hang=body``: stop for ever after half of the body
``chunk_size=N``    write the body in pieces of N bytes, ``chunk_delay=S`` apart
``cut=K``           close after K bytes of the body; ``cut=headers``: before the answer
``reset=K``         the same with a TCP reset
``cl=``             Content-Length: ``long`` (1000 too many, then close), ``short`` (half), ``none`` (ends by closing)
``te=chunked``      chunked; ``te=bad``: with a broken chunk size after half of the body
``encoding=``       ``gzip``, ``deflate``; ``unlabelled`` (gzip, not said so); ``wrong`` (said so, but is not); ``bomb``
                    (32 MiB of zeros); ``unknown`` (a coding nobody has)
``range=``          ``ignore`` (200 to a Range request) or ``wrong`` (other bytes than asked for)
``body=``           ``html``, ``empty`` or ``junk`` instead of the resource, as a 200
``headers=endless`` response headers without end
``max_conn=N``      reset when more than N requests are being answered
=================== ==================================================================================================

``python -m m3u8svc.testing.origin DIRECTORY [--port N]`` serves a directory that way and prints its address.
"""

import argparse
import mimetypes
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlencode

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater, react
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from m3u8svc.testing.certificate import SelfSigned
from m3u8svc.testing.tweaks import (
    Reply,
    Resource,
    TweakError,
    Tweaks,
    framed,
    last_byte,
    phrase,
    plan_reply,
    render_head,
)

_MAX_REQUEST_BYTES = 64 * 1024
_RESET_AFTER_S = 0.02  # so that what was written before is read before the reset
_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".m4s": "video/iso.segment"}


@attrs.frozen(kw_only=True)
class Visit:
    """
    One request as the origin saw it. `status` is 0 while nothing was answered; `sent_bytes` counts the body's bytes
    handed to the socket; `finished`: answered as intended; `aborted`: the client went away before that.
    """

    path: str
    query: str
    headers: Mapping[str, str]
    """Lower-case names; several values of one name are joined with a comma."""
    status: int
    range: str | None
    sent_bytes: int
    finished: bool
    aborted: bool
    at: float
    """Arrival, in seconds of the reactor's clock."""
    connection: int
    """Which connection it came on, counted from 1."""


# -- The origin ------------------------------------------------------------------------------------------------------


class Origin:
    """
    One listening origin. Made by `start`.
    """

    def __init__(self, reactor: Any, directory: Path | None) -> None:  # Any: zope interfaces cannot be joined
        self.reactor = reactor
        self.port = 0
        self.base = ""
        """``http://127.0.0.1:1234``, without a slash at the end."""
        self.certificate_pem = b""
        """The self-signed certificate of an origin with TLS."""
        self._directory = directory
        self._resources: dict[str, Resource] = {}
        self._exchanges: list[_Exchange] = []
        self._requests: Counter[tuple[str, str]] = Counter()
        self._live: set[_Connection] = set()
        self._accepted = 0
        self._listening: Any = None  # an IListeningPort

    @classmethod
    async def start(
        cls,
        reactor: Any,  # as above
        *,
        directory: Path | None = None,
        port: int = 0,
        interface: str = "127.0.0.1",
        tls: bool = False,
        names: Sequence[str] = (),
        on_server_name: Callable[[bytes | None], None] | None = None,
    ) -> "Origin":
        """
        Listen. `directory` is served below what `put` adds; `names` are more host names for the certificate, and
        `on_server_name` is told the name (SNI) of each handshake.
        """
        origin = cls(reactor, directory)
        factory = _ConnectionFactory(origin)
        if tls:
            contexts = SelfSigned(("localhost", *names), on_server_name)
            origin.certificate_pem = contexts.certificate_pem
            origin._listening = reactor.listenSSL(port, factory, contexts, interface=interface)
        else:
            origin._listening = reactor.listenTCP(port, factory, interface=interface)
        origin.port = origin._listening.getHost().port
        host = f"[{interface}]" if ":" in interface else interface
        origin.base = f"{'https' if tls else 'http'}://{host}:{origin.port}"
        return origin

    async def stop(self) -> None:
        """
        Stop listening and close every connection.
        """
        await self._listening.stopListening()
        for connection in tuple(self._live):
            connection.abort()

    def put(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str = "application/octet-stream",
        last_modified: float | None = None,
    ) -> None:
        """
        Serve `body` at `path` (``/seg1.ts``), from the next request on.
        """
        self._resources[path] = Resource(body=body, content_type=content_type, last_modified=last_modified)

    def remove(self, path: str) -> None:
        """
        Serve nothing at `path` any more.
        """
        del self._resources[path]

    def url(self, path: str, **tweaks: object) -> str:
        """
        The URL of `path`, with these tweaks (and whatever else is named) in its query.
        """
        return f"{self.base}{path}" + (f"?{urlencode(tweaks)}" if tweaks else "")

    @property
    def trust_root(self) -> Any:  # Any: see connections.TrustRoot
        """What a client must trust to accept an origin with TLS."""
        return trustRootFromCertificates([Certificate.loadPEM(self.certificate_pem)])

    @property
    def accepted(self) -> int:
        """How many connections were ever accepted."""
        return self._accepted

    @property
    def open(self) -> int:
        """How many connections are open now."""
        return len(self._live)

    def visits(self, path: str | None = None) -> list[Visit]:
        """
        The journal, in order of arrival; of one path or of all.
        """
        return [exchange.visit() for exchange in self._exchanges if path is None or exchange.path == path]

    def count(self, path: str) -> int:
        """
        How many requests there were for `path`.
        """
        return len(self.visits(path))

    def _note(self, exchange: "_Exchange") -> None:
        url = exchange.path, exchange.query
        self._requests[url] += 1
        exchange.nth = self._requests[url]
        self._exchanges.append(exchange)

    def _busy(self) -> int:
        return sum(exchange.busy for exchange in self._exchanges)

    def _find(self, path: str) -> Resource | None:
        if path in self._resources or self._directory is None:
            return self._resources.get(path)
        root = self._directory.resolve()
        try:
            file = (root / path.lstrip("/")).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                return None
        except (OSError, ValueError):  # too long, or with a NUL: no name that a file could have
            return None
        content_type = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return Resource(body=file.read_bytes(), content_type=content_type, last_modified=file.stat().st_mtime)


# -- One request -----------------------------------------------------------------------------------------------------


class _Exchange:
    """
    A line of the journal while it is being written.
    """

    def __init__(self, method: str, target: str, headers: Mapping[str, str], at: float, connection: int) -> None:
        self.method = method
        raw_path, _, self.query = target.partition("?")
        self.path = unquote(raw_path)
        self.headers = headers
        self.at = at
        self.connection = connection
        self.status = 0
        self.sent_bytes = 0
        self.finished = False
        self.aborted = False
        self.busy = True
        self.nth = 0
        """Which request of this URL it is."""

    def visit(self) -> Visit:
        """As it stands now."""
        return Visit(
            path=self.path,
            query=self.query,
            headers=self.headers,
            status=self.status,
            range=self.headers.get("range"),
            sent_bytes=self.sent_bytes,
            finished=self.finished,
            aborted=self.aborted,
            at=self.at,
            connection=self.connection,
        )


# -- One connection --------------------------------------------------------------------------------------------------


class _ConnectionFactory(Factory):
    noisy = False

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def buildProtocol(self, addr: IAddress | None) -> "_Connection":
        return _Connection(self._origin)


class _BrokenOff(Exception):
    """
    The rest of this answer is not sent, on purpose.
    """


@implementer(IPushProducer)
class _Connection(Protocol):
    """
    HTTP/1.1, one request after the other; it writes its own bytes, since a server library would not send wrong ones.
    """

    log = Logger()
    transport: Any  # a TCP or TLS transport: ITransport alone cannot abort

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._number = 0
        self._buffer = b""
        self._current: Deferred[None] | None = None
        self._exchange: _Exchange | None = None
        self._room: Deferred[None] | None = None

    # Twisted calls these.

    def connectionMade(self) -> None:
        """Join the origin."""
        self._origin._accepted += 1
        self._number = self._origin._accepted
        self._origin._live.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Collect a request."""
        self._buffer += data
        if len(self._buffer) > _MAX_REQUEST_BYTES or not self._buffer[:1].isalpha():
            # No HTTP, but TLS perhaps; say so as other servers do.
            self._refuse("this is no HTTP")
        else:
            self._serve_next()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note whether the client left in the middle of an answer."""
        self._origin._live.discard(self)
        if self._exchange is not None and self._exchange.busy:
            self._exchange.aborted = True
            self._exchange.busy = False
        if self._current is not None:
            self._current.cancel()

    def pauseProducing(self) -> None:
        """The socket is full."""
        if self._room is None:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """The socket has room again."""
        if self._room is not None:
            room, self._room = self._room, None
            room.callback(None)

    def stopProducing(self) -> None:
        """The socket is gone; connectionLost follows."""

    def abort(self) -> None:
        """Close with a reset."""
        self.transport.abortConnection()

    # Requests.

    def _serve_next(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if self._current is not None or not end:
            return
        self._buffer = rest
        lines = head.decode("latin-1").split("\r\n")
        method, _, target = lines[0].rpartition(" ")[0].partition(" ")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        exchange = _Exchange(method, target, MappingProxyType(headers), self._origin.reactor.seconds(), self._number)
        self._exchange = exchange
        self._origin._note(exchange)
        self._current = Deferred.fromCoroutine(self._serve(exchange))
        self._current.addBoth(self._served, exchange)

    def _served(self, result: object, exchange: _Exchange) -> None:
        self._current = None
        exchange.busy = False
        if isinstance(result, Failure):
            if not result.check(CancelledError, _BrokenOff):
                self.log.failure("the origin failed to answer {path}", result, path=exchange.path)
                self.abort()
            return
        self._serve_next()

    async def _serve(self, exchange: _Exchange) -> None:
        tweaks = await self._tweaks(exchange)
        reply = plan_reply(exchange.method, exchange.headers.get("range"), tweaks, self._origin._find(exchange.path))
        if tweaks.headers == "endless":
            await self._send_endless_headers(exchange, reply)
        exchange.status = reply.status
        close = tweaks.cl in ("long", "none") or exchange.headers.get("connection", "").lower() == "close"
        self.transport.write(render_head(reply, tweaks, close))
        if exchange.method != "HEAD" and reply.has_body:
            await self._send_body(exchange, reply.body, tweaks)
        exchange.finished = True
        if close:
            exchange.busy = False
            self.transport.loseConnection()

    async def _tweaks(self, exchange: _Exchange) -> Tweaks:
        """
        What applies to this request; and everything that happens before its answer.
        """
        try:
            tweaks = Tweaks.from_query(exchange.query)
        except TweakError as error:
            exchange.status = 400
            self._refuse(str(error))
            raise _BrokenOff from error
        if tweaks.times is not None and exchange.nth > tweaks.times:
            return Tweaks()
        crowded = tweaks.max_conn is not None and self._origin._busy() > tweaks.max_conn
        if crowded or tweaks.reset == -1:
            self._break_off(exchange, reset=True)
        if tweaks.delay:
            await self._pause(tweaks.delay)
        if tweaks.cut == -1:
            self._break_off(exchange, reset=False)
        if tweaks.hang == "headers":
            await Deferred()
        return tweaks

    async def _send_endless_headers(self, exchange: _Exchange, reply: Reply) -> None:
        self.transport.write(f"HTTP/1.1 {reply.status} {phrase(reply.status)}\r\n".encode())
        self.transport.registerProducer(self, True)
        line = b"X-Filler: " + b"a" * 100 + b"\r\n"
        while True:
            await self._write(line * 10)
            await self._pause(0)

    async def _send_body(self, exchange: _Exchange, body: bytes, tweaks: Tweaks) -> None:
        end = last_byte(body, tweaks)
        self.transport.registerProducer(self, True)
        try:
            for start in range(0, end, tweaks.chunk_size):
                piece = body[start : min(start + tweaks.chunk_size, end)]
                if start and tweaks.chunk_delay:
                    await self._pause(tweaks.chunk_delay)
                await self._write(framed(piece, tweaks))
                exchange.sent_bytes += len(piece)
            await self._end_body(exchange, tweaks)
        finally:
            self.transport.unregisterProducer()

    async def _end_body(self, exchange: _Exchange, tweaks: Tweaks) -> None:
        if tweaks.hang == "body":
            await Deferred()
        if tweaks.reset is not None:
            await self._pause(_RESET_AFTER_S)
            self._break_off(exchange, reset=True)
        if tweaks.cut is not None:
            self._break_off(exchange, reset=False)
        if tweaks.te == "bad":
            self.transport.write(b"this is no chunk size\r\n")
            self._break_off(exchange, reset=False)
        if tweaks.te == "chunked":
            self.transport.write(b"0\r\n\r\n")

    def _refuse(self, why: str) -> None:
        text = why.encode()
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(text))
        self.transport.write(text)
        self.transport.loseConnection()

    def _break_off(self, exchange: _Exchange, *, reset: bool) -> None:
        exchange.busy = False  # it was us, not the client
        if reset:
            self.transport.abortConnection()  # Twisted sets SO_LINGER to 0: the client sees a reset
        else:
            self.transport.loseConnection()
        raise _BrokenOff

    async def _write(self, piece: bytes) -> None:
        if self._room is not None:
            await self._room
        self.transport.write(piece)

    async def _pause(self, delay_s: float) -> None:
        await deferLater(self._origin.reactor, delay_s)


# -- On its own ------------------------------------------------------------------------------------------------------


async def _serve_directory(reactor: Any, directory: Path, port: int) -> None:  # Any: as in Origin
    origin = await Origin.start(reactor, directory=directory, port=port)
    print(f"listening on {origin.base}", flush=True)
    await Deferred()


def _main(reactor: Any, *arguments: str) -> "Deferred[None]":  # Any: as in Origin
    parser = argparse.ArgumentParser(
        prog="python -m m3u8svc.testing.origin",
        description="Serve a directory over HTTP, misbehaving as the query of a URL asks.",
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    options = parser.parse_args(arguments)
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is no directory")
    return Deferred.fromCoroutine(_serve_directory(reactor, options.directory, options.port))


if __name__ == "__main__":
    import sys

    react(_main, sys.argv[1:])
