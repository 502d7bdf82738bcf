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
``after=N``         the first N are answered well; ``times`` counts from there
``status=503``      answer with this status and a short text; ``503,503,200`` one after the other, the last from then
                    on, and 200 is the resource. ``retry_after=`` adds the header: ``7`` or whatever it says,
                    ``date:7`` for the date 7 s from now
``every=S``         what is a sequence goes on every S seconds since the first request, and not with each
``redirect=URL``    302 (or ``status``) to URL
``delay=S``         wait before the headers
``hang=headers``    never answer; ``hang=body``: stop for ever after half of the body
``chunk_size=N``    write the body in pieces of N bytes, ``chunk_delay=S`` apart; ``slow_start=S``: wait S before the
                    first piece, half of it before the next, and so on
``cut=K``           close after K bytes of the body; ``cut=headers``: before the answer, ``headers+K``: after K bytes
                    of its head (a ``+`` is ``%2B`` in a URL)
``reset=K``         the same with a TCP reset
``cl=``             Content-Length: ``long`` (1000 too many, then close), ``short`` (half), ``none`` (ends by closing)
``te=chunked``      chunked; ``te=trailers``: with trailers at the end; ``te=bad``: with a broken chunk size after half
                    of the body
``encoding=``       ``gzip``, ``deflate``; ``double`` (gzip twice); ``unlabelled`` (gzip, not said so); ``wrong`` (said
                    so, but is not), ``br`` likewise; ``bomb`` (32 MiB of zeros); ``unknown`` (a coding nobody has)
``range=``          to a Range request: ``ignore`` (200); ``wrong`` (moved by a byte), ``end`` (a byte short), ``total``
                    (a size below the range itself); ``star`` (a size of ``*``, which is right); ``416``;
                    ``multipart`` (multipart/byteranges)
``body=``           ``html``, ``json``, ``empty`` or ``junk`` instead of the resource, as a 200; a path (``/b.ts``) for
                    the bytes of that resource; ``own`` for its own. Several with commas are a sequence, as with
                    ``status``: a playlist that changes with each request, a key that rotates
``etag=TEXT``       an ETag header
``sign=S``          every link of this playlist gets a token that is good for S seconds, then ``token_status`` (403);
                    ``token=``, ``token_ttl=`` are what it writes there
``interim=N``       N interim answers (103) before the answer
``endless=``        ``headers``, ``1xx`` (interim answers) or ``body``, without end
``then=``           after the answer, although kept alive: ``close`` the connection, or ``hang`` and answer nothing on
                    it any more; ``unnotified``: close it, TLS without its goodbye (close_notify)
``max_conn=N``      reset when more than N requests are being answered; see also `Origin.max_connections`
=================== ==================================================================================================

``/journal`` tells the journal as JSON, that of one path with ``?path=``; DELETE empties it. `Origin.go_down` and
`come_back` close the door; `Origin.weather` gives faults by chance.

``python -m m3u8svc.testing.origin DIRECTORY [--port N] [--interface ADDRESS] [--faults SHARE --seed N]`` serves a
directory that way and prints its address.
"""

import argparse
import json
import mimetypes
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater, react
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from m3u8svc.testing.certificate import SelfSigned
from m3u8svc.testing.journal import Exchange, Visit
from m3u8svc.testing.tweaks import (
    Reply,
    Resource,
    TweakError,
    Tweaks,
    chunked_end,
    framed,
    head_bytes,
    last_byte,
    pause_s,
    phrase,
    plan_reply,
    render_head,
)
from m3u8svc.testing.weather import Weather

__all__ = ["Origin", "Visit", "Weather"]

_MAX_REQUEST_BYTES = 64 * 1024
_RESET_AFTER_S = 0.02  # so that what was written before is read before the reset
_TURNS_TO_WRITE = 3  # of the reactor: TLS gathers small writes for one, and what is due is called before sockets are
_JOURNAL = "/journal"
_TYPES = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".m4s": "video/iso.segment"}


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
        self.max_connections: int | None = None
        """Reset what is connected beyond that many, as servers do that count connections."""
        self.weather: Weather | None = None
        """Faults by chance, on top of what a URL asks for."""
        self.clock = reactor
        """What ``delay=`` and all that is in seconds is measured by; a Clock for who says himself when it is over."""
        self.wall: Callable[[], float] = time.time
        """Seconds since the epoch, for dates in headers."""
        self._directory = directory
        self._resources: dict[str, Resource] = {}
        self._exchanges: list[Exchange] = []
        self._requests: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], float] = {}
        self._live: set[_Connection] = set()
        self._accepted = 0
        self._listening: Any = None  # an IListeningPort
        self._interface = ""
        self._contexts: SelfSigned | None = None

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
    ) -> Self:
        """
        Listen. `directory` is served below what `put` adds; `names` are more host names for the certificate, and
        `on_server_name` is told the name (SNI) of each handshake.
        """
        origin = cls(reactor, directory)
        origin.port, origin._interface = port, interface
        if tls:
            origin._contexts = SelfSigned(("localhost", *names), on_server_name)
            origin.certificate_pem = origin._contexts.certificate_pem
        origin._listen()
        host = f"[{interface}]" if ":" in interface else interface
        origin.base = f"{'https' if tls else 'http'}://{host}:{origin.port}"
        return origin

    async def stop(self) -> None:
        """
        Stop listening and reset every connection.
        """
        if self._listening is not None:
            await self._listening.stopListening()
            self._listening = None
        for connection in tuple(self._live):
            connection.abort()

    async def go_down(self) -> None:
        """
        Be gone until `come_back`: connections are reset, new ones refused. What was put and the journal stay.
        """
        await self.stop()

    def come_back(self) -> None:
        """
        Listen again, on the same port.
        """
        self._listen()

    def _listen(self) -> None:
        factory = _ConnectionFactory(self)
        if self._contexts is None:
            self._listening = self.reactor.listenTCP(self.port, factory, interface=self._interface)
        else:
            self._listening = self.reactor.listenSSL(self.port, factory, self._contexts, interface=self._interface)
        self.port = self._listening.getHost().port

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

    def _note(self, exchange: "Exchange") -> None:
        url = exchange.path, exchange.query
        self._requests[url] += 1
        exchange.nth = self._requests[url]
        exchange.since_first_s = exchange.at - self._first.setdefault(url, exchange.at)
        if self.weather is not None:
            exchange.fault = self.weather.fault("?".join(url), exchange.nth)
        self._exchanges.append(exchange)

    def forget(self) -> None:
        """
        Empty the journal. What was counted for ``times`` and the like stays counted.
        """
        self._exchanges.clear()

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
        self._exchange: Exchange | None = None
        self._room: Deferred[None] | None = None

    # Twisted calls these.

    def connectionMade(self) -> None:
        """Join the origin."""
        self._origin._accepted += 1
        self._number = self._origin._accepted
        self._origin._live.add(self)
        limit = self._origin.max_connections
        if limit is not None and len(self._origin._live) > limit:
            self.abort()

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
            self._exchange.end(self._origin.clock.seconds())
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
        """Close with a reset, which is not the client's leaving."""
        if self._exchange is not None:
            self._exchange.end(self._origin.clock.seconds())
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
        if target.partition("?")[0] == _JOURNAL:
            self._tell_journal(method, target.partition("?")[2])
            return
        now, peer = self._origin.clock.seconds(), self.transport.getPeer().host
        exchange = Exchange(method, target, MappingProxyType(headers), at=now, connection=self._number, peer=peer)
        self._exchange = exchange
        self._origin._note(exchange)
        self._current = Deferred.fromCoroutine(self._serve(exchange))
        self._current.addBoth(self._served, exchange)

    def _tell_journal(self, method: str, query: str) -> None:
        if method == "DELETE":
            self._origin.forget()
        wanted = parse_qs(query).get("path", [None])[0]
        body = json.dumps([visit.as_json() for visit in self._origin.visits(wanted)]).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
        self.transport.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
        self.transport.loseConnection()

    def _served(self, result: object, exchange: Exchange) -> None:
        self._current = None
        exchange.end(self._origin.clock.seconds())
        if isinstance(result, Failure):
            if not result.check(CancelledError, _BrokenOff):
                self.log.failure("the origin failed to answer {path}", result, path=exchange.path)
                self.abort()
            return
        self._serve_next()

    async def _serve(self, exchange: Exchange) -> None:
        tweaks = await self._tweaks(exchange)
        reply = self._plan(exchange, tweaks)
        if tweaks.endless == "headers":
            await self._send_endless_headers(exchange, reply)
        await self._send_interim(tweaks)
        exchange.status = reply.status
        close = tweaks.cl in ("long", "none") or tweaks.endless == "body"
        close = close or exchange.headers.get("connection", "").lower() == "close"
        head = render_head(reply, tweaks, close)
        cut_at = head_bytes(tweaks)
        self.transport.write(head[:cut_at])
        if cut_at is not None:
            await self._written()
            self._break_off(exchange, reset=tweaks.reset is not None)
        if exchange.method != "HEAD" and reply.has_body:
            await self._send_body(exchange, reply.body, tweaks)
        exchange.finished = True
        if close or tweaks.then in ("close", "unnotified"):
            exchange.end(self._origin.clock.seconds())
            self._close(tweaks)
        elif tweaks.then == "hang":
            exchange.end(self._origin.clock.seconds())
            await Deferred()

    def _plan(self, exchange: Exchange, tweaks: Tweaks) -> Reply:
        path = tweaks.body[0] if tweaks.body and tweaks.body[0].startswith("/") else exchange.path
        now, wall = self._origin.clock.seconds(), self._origin.wall()
        resource = self._origin._find(path)
        return plan_reply(exchange.method, exchange.headers.get("range"), tweaks, resource, now=now, wall=wall)

    async def _send_interim(self, tweaks: Tweaks) -> None:
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"
        for _ in range(tweaks.interim):
            self.transport.write(hint)
        if tweaks.endless == "1xx":
            self.transport.registerProducer(self, True)
            while True:
                await self._write(hint * 10)
                await self._pause(0)

    def _close(self, tweaks: Tweaks) -> None:
        if tweaks.then == "unnotified" and hasattr(self.transport, "transport"):
            # Below TLS, behind its back; what it has encrypted so far is in the socket's buffer.
            self.transport.transport.loseConnection()
        else:
            self.transport.loseConnection()

    async def _tweaks(self, exchange: Exchange) -> Tweaks:
        """
        What applies to this request; and everything that happens before its answer.
        """
        try:
            asked = Tweaks.from_query(exchange.query)
            tweaks = asked.for_request(exchange.nth, exchange.since_first_s)
            if exchange.fault:
                tweaks = Tweaks.from_query(f"{exchange.query}&{exchange.fault}")
        except TweakError as error:
            exchange.status = 400
            self._refuse(str(error))
            raise _BrokenOff from error
        crowded = tweaks.max_conn is not None and self._origin._busy() > tweaks.max_conn
        if crowded or tweaks.reset == -1:
            self._break_off(exchange, reset=True)  # at once, before any delay
        if tweaks.delay:
            await self._pause(tweaks.delay)
        if tweaks.cut == -1:
            self._break_off(exchange, reset=False)
        if tweaks.hang == "headers":
            await Deferred()
        return tweaks

    async def _send_endless_headers(self, exchange: Exchange, reply: Reply) -> None:
        self.transport.write(f"HTTP/1.1 {reply.status} {phrase(reply.status)}\r\n".encode())
        self.transport.registerProducer(self, True)
        line = b"X-Filler: " + b"a" * 100 + b"\r\n"
        while True:
            await self._write(line * 10)
            await self._pause(0)

    async def _send_body(self, exchange: Exchange, body: bytes, tweaks: Tweaks) -> None:
        end = last_byte(body, tweaks)
        self.transport.registerProducer(self, True)
        try:
            while True:
                for number, start in enumerate(range(0, end, tweaks.chunk_size)):
                    piece = body[start : min(start + tweaks.chunk_size, end)]
                    if delay_s := pause_s(number, tweaks):
                        await self._pause(delay_s)
                    await self._write(framed(piece, tweaks))
                    exchange.sent_bytes += len(piece)
                if tweaks.endless != "body":
                    break
                await self._pause(0)
            await self._end_body(exchange, tweaks)
        finally:
            self.transport.unregisterProducer()

    async def _end_body(self, exchange: Exchange, tweaks: Tweaks) -> None:
        if tweaks.hang == "body":
            await Deferred()
        if tweaks.reset is not None:
            await self._written()
            self._break_off(exchange, reset=True)
        if tweaks.cut is not None:
            self._break_off(exchange, reset=False)
        if tweaks.te == "bad":
            self.transport.write(b"this is no chunk size\r\n")
            self._break_off(exchange, reset=False)
        if tweaks.te is not None:
            self.transport.write(chunked_end(tweaks))

    def _refuse(self, why: str) -> None:
        text = why.encode()
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(text))
        self.transport.write(text)
        self.transport.loseConnection()

    def _break_off(self, exchange: Exchange, *, reset: bool) -> None:
        exchange.end(self._origin.clock.seconds())  # it was us, not the client
        if reset:
            self.transport.abortConnection()  # Twisted sets SO_LINGER to 0: the client sees a reset
        else:
            self.transport.loseConnection()
        raise _BrokenOff

    async def _write(self, piece: bytes) -> None:
        if self._room is not None:
            await self._room
        self.transport.write(piece)

    async def _written(self) -> None:
        """
        What was written is with the client: it would not be sent after a reset.
        """
        await deferLater(self._origin.reactor, _RESET_AFTER_S)
        for _ in range(_TURNS_TO_WRITE):
            await deferLater(self._origin.reactor, 0)

    async def _pause(self, delay_s: float) -> None:
        await deferLater(self._origin.clock if delay_s else self._origin.reactor, delay_s)


# -- On its own ------------------------------------------------------------------------------------------------------


async def _serve_directory(reactor: Any, options: argparse.Namespace) -> None:  # Any: as in Origin
    origin = await Origin.start(reactor, directory=options.directory, port=options.port, interface=options.interface)
    if options.faults:
        origin.weather = Weather(seed=options.seed, share=options.faults)
    print(f"listening on {origin.base}", flush=True)
    await Deferred()


def _main(reactor: Any, *arguments: str) -> "Deferred[None]":  # Any: as in Origin
    parser = argparse.ArgumentParser(
        prog="python -m m3u8svc.testing.origin",
        description="Serve a directory over HTTP, misbehaving as the query of a URL asks.",
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--interface", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--faults", type=float, default=0.0, metavar="SHARE", help="of all requests, from 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    options = parser.parse_args(arguments)
    if not options.directory.is_dir():
        parser.error(f"{options.directory} is no directory")
    return Deferred.fromCoroutine(_serve_directory(reactor, options))


if __name__ == "__main__":
    import sys

    react(_main, sys.argv[1:])
