"""
/ws/progress: every client hears of every task that moves, at most ten times a second each, and only what is new.

A client that reads slowly is told the newest state of each task when it reads again: what it missed is replaced, not
queued; one for whom even that becomes too much is cut off. Its own bytes are not read meanwhile either, since answers
to its pings would queue just as well.

Twisted's WebSocket (26.10) is fenced in four places, each pinned by a test: the HTTP channel must be detached as
producer before we attach; a message has no size limit, so its two buffers are replaced; nothing may be written before
`negotiationFinished`; and it accepts any Origin, which the gate has already judged.
"""

import json
from collections.abc import Callable
from typing import Any  # Any: JSON values, and the private wire protocol that Twisted hands us as transport

import attrs
from h11 import ProtocolError as H11ProtocolError
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.server import Request
from twisted.web.websocket import WebSocketProtocol, WebSocketResource, WebSocketTransport
from wsproto import ConnectionType
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError
from zope.interface import implementer

from m3u8svc.errors import BadHandshake, TooManySockets, WebSocketOnly
from m3u8svc.tasks.task import Task
from m3u8svc.web.channel import admission_of
from m3u8svc.web.contract import Downloads
from m3u8svc.web.errors import put, refusal_by
from m3u8svc.web.render import progress_object
from m3u8svc.weblimits import DEFAULTS, WebLimits

INTERVAL_S = 0.1
KEEP_ALIVE_S = 5
MAX_MESSAGE = 64 * 1024
KEEP_ALIVE = "{}"
VERSION = "13"
"""Of the protocol, the only one there is."""

GOING_AWAY = 1001
NO_LONGER_ALLOWED = 1008
TOO_BIG = 1009


class ProgressFeed:
    """
    The one listener to the service, and the sockets it speaks to. Listens only while somebody is connected.
    """

    def __init__(self, service: Downloads, *, clock: IReactorTime, limits: WebLimits = DEFAULTS) -> None:
        self.clock = clock
        self.limits = limits
        self._service = service
        self._sockets: list[ProgressSocket] = []
        self._stop_watching: Callable[[], None] | None = None
        self._fresh: dict[str, str] = {}  # by task, what waits for its turn
        self._last: dict[str, tuple[float, str]] = {}  # by running task, what was sent last, and when
        self._turn: IDelayedCall | None = None

    @property
    def full(self) -> bool:
        """Whether no more sockets are taken."""
        return len(self._sockets) >= self.limits.sockets

    def join(self, socket: "ProgressSocket") -> None:
        """
        Tell a new client where every running task stands, and from now on what changes.
        """
        self._sockets.append(socket)
        if self._stop_watching is None:
            self._stop_watching = self._service.watch(self.told)
        for task in self._service.running():
            socket.offer(task.id, _message(task))

    def leave(self, socket: "ProgressSocket") -> None:
        """
        Forget a client; without any we stop listening.
        """
        if socket in self._sockets:
            self._sockets.remove(socket)
        if not self._sockets:
            self._rest()

    def told(self, task: Task) -> None:
        """
        Send a change at once if all was quiet, else within a turn or two; the last one always arrives.
        """
        self._fresh[task.id] = _message(task)
        if self._turn is None:
            self._take_turn()

    def close(self) -> None:
        """
        End all sockets: the service stops.
        """
        for socket in list(self._sockets):
            socket.end(GOING_AWAY)

    def _take_turn(self) -> None:
        self._turn = None
        now = self.clock.seconds()
        self._forget_ended(now)
        for task_id, message in list(self._fresh.items()):
            at, last = self._last.get(task_id, (-INTERVAL_S, ""))
            if now - at < INTERVAL_S - 1e-6:  # a turn is on time even if its floats are not
                continue
            del self._fresh[task_id]
            if message != last:
                self._last[task_id] = (now, message)
                for socket in list(self._sockets):
                    socket.offer(task_id, message)
        if self._fresh:
            self._turn = self.clock.callLater(INTERVAL_S, self._take_turn)

    def _forget_ended(self, now: float) -> None:
        """
        A task that no longer runs says nothing twice: what was sent of it counts only for its rate. A client may stay
        for weeks, and every task that ran meanwhile would be kept.
        """
        running = {task.id for task in self._service.running()}
        self._last = {
            task_id: (at, message)
            for task_id, (at, message) in self._last.items()
            if task_id in running or now - at < INTERVAL_S - 1e-6
        }

    def _rest(self) -> None:
        if self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._fresh.clear()
        self._last.clear()


@implementer(IPushProducer)
class ProgressSocket:
    """
    One client: sends, or while it does not read keeps the newest message per task.
    """

    _wire: Any  # Any: WebSocketTransport, plus its public `transport` and the two buffers its Protocol leaves out
    _alarm: IDelayedCall | None = None

    def __init__(self, feed: ProgressFeed, *, allowed: Callable[[], bool]) -> None:
        """
        Args:
            allowed: whether who opened it still may: a token may have been revoked, a session ended.
        """
        self._feed = feed
        self._allowed = allowed
        self._paused = False
        self._over = False
        self._waiting: dict[str, str] = {}
        self._waiting_bytes = 0
        self._ping_every = max(1, feed.limits.ping_s // KEEP_ALIVE_S)  # so many keep-alive periods
        self._quiet_periods = 0
        self._pinged = False

    # -- What Twisted calls --

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        """Take the wire; cap what it may assemble."""
        self._wire = transport
        self._wire._textBuffer = _Capped("", self)
        self._wire._bytesBuffer = _Capped(b"", self)

    def negotiationFinished(self) -> None:
        """The first moment to speak."""
        self._wire.detachProducer()
        self._wire.attachProducer(self)
        self._set_alarm(KEEP_ALIVE_S)
        self._feed.join(self)

    def textMessageReceived(self, message: str) -> None:
        """Clients have nothing to say here."""

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        """Nor this way."""

    def pongReceived(self, payload: bytes) -> None:
        """It lives."""
        self._pinged = False

    def connectionLost(self, reason: Failure) -> None:
        """Gone."""
        self._over = True
        self._set_alarm(None)
        self._feed.leave(self)

    def pauseProducing(self) -> None:
        """The client does not read: keep the newest, and wait a while for it."""
        self._paused = True
        self._wire.transport.pauseProducing()
        self._set_alarm(self._feed.limits.unread_s)

    def resumeProducing(self) -> None:
        """It reads again."""
        if self._over:
            return
        self._paused = False
        self._wire.transport.resumeProducing()
        self._set_alarm(KEEP_ALIVE_S)
        while self._waiting and not self._paused:
            message = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_bytes -= _size(message)
            self._send(message)

    def stopProducing(self) -> None:
        """The connection is lost; `connectionLost` follows."""
        self._over = True

    # -- What we do --

    def offer(self, task_id: str, message: str) -> None:
        """
        Send this, or keep it in place of what was kept for this task.
        """
        if not self._paused:
            self._send(message)
            return
        self._waiting_bytes += _size(message) - _size(self._waiting.get(task_id, ""))
        self._waiting[task_id] = message
        if self._waiting_bytes > self._feed.limits.socket_queue_bytes and not self._over:
            self._over = True
            self._wire.transport.abortConnection()

    def end(self, code: int) -> None:
        """
        Say goodbye with this code, once.
        """
        if not self._over:
            self._over = True
            self._set_alarm(None)
            self._wire.detachProducer()
            self._wire.loseConnection(code)

    def end_soon(self, code: int) -> None:
        """
        The same, after what arrived together has been read: the wire may not be closed while it reads.
        """
        self._feed.clock.callLater(0, self.end, code)

    def _send(self, message: str) -> None:
        if self._over:
            return
        if not self._allowed():
            self.end_soon(NO_LONGER_ALLOWED)
            return
        try:
            self._wire.sendTextMessage(message)
        except LocalProtocolError:
            # The client closed; Twisted answers it by itself and tells us only when the connection is gone.
            self._over = True
            return
        if not self._paused:  # writing may have paused us
            self._set_alarm(KEEP_ALIVE_S)

    def _keep_alive(self) -> None:
        """
        Nothing was said for a while: show that we are here, and now and then ask whether the client is.
        """
        if self._paused:
            self._wire.transport.abortConnection()
            return
        self._quiet_periods += 1
        if self._quiet_periods % self._ping_every == 0:
            if self._pinged:
                self._wire.transport.abortConnection()
                return
            self._pinged = True
            self._wire.ping()
        self._send(KEEP_ALIVE)

    def _set_alarm(self, within_s: float | None) -> None:
        alarm = self._alarm
        if alarm is None or not alarm.active():
            self._alarm = None if within_s is None else self._feed.clock.callLater(within_s, self._keep_alive)
        elif within_s is None:
            alarm.cancel()
        else:
            alarm.reset(within_s)


class _Capped:
    """
    Takes the place of Twisted's message buffer: assembles nothing, counts, and ends a connection that sends too much.
    """

    def __init__(self, empty: str | bytes, socket: ProgressSocket) -> None:
        self._empty = empty
        self._socket = socket
        self._size = 0

    def add(self, new: str | bytes | bytearray) -> None:
        """One more piece of a message."""
        self._size += len(new)
        if self._size > MAX_MESSAGE:
            self._socket.end_soon(TOO_BIG)

    def done(self) -> str | bytes:
        """The message is complete; its content does not matter."""
        self._size = 0
        return self._empty


class ProgressResource(WebSocketResource):
    """
    The WebSocket at /ws/progress, with a plain answer to those who want something else or come too late.
    """

    isLeaf = True

    def __init__(self, feed: ProgressFeed) -> None:
        super().__init__(self)
        self._feed = feed

    def buildProtocol(self, request: Request) -> WebSocketProtocol:
        """One client's end."""
        return ProgressSocket(self._feed, allowed=admission_of(request).holds)

    def render_GET(self, request: Request) -> bytes | int:
        """Upgrade, or say why not."""
        upgrade = request.requestHeaders.getRawHeaders("Upgrade", [])
        if not any("websocket" in value.lower() for value in upgrade):
            return put(request, refusal_by(400, WebSocketOnly()))
        problem = _handshake_problem(request)
        if problem:
            refusal = refusal_by(400, BadHandshake(reason=problem))
            return put(request, attrs.evolve(refusal, headers=(("Sec-WebSocket-Version", VERSION),)))  # RFC 6455, 4.4
        if self._feed.full:
            return put(request, refusal_by(503, TooManySockets()))
        return super().render_GET(request)


def _handshake_problem(request: Request) -> str:
    """
    What the handshake will be refused for; "" for nothing. Tried before Twisted does it, whose refusal has no body and
    no code, and who lets through as an error of ours what is not ASCII in a header or what no header may have.
    """
    headers = [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
    try:
        H11Handshake(ConnectionType.SERVER).initiate_upgrade_connection(headers, request.path)
    except (RemoteProtocolError, H11ProtocolError, UnicodeError) as error:
        return str(error)
    return ""


def _size(message: str) -> int:
    return len(message.encode())


def _message(task: Task) -> str:
    return json.dumps(progress_object(task), ensure_ascii=False)
