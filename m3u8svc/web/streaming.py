"""
An answer whose body is too large to be made at once: sent in pieces, each made once the client has taken the last.
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable  # Any: a transport's own

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from m3u8svc.waiting import log_failure


@runtime_checkable
class Closing(Protocol):
    """
    What holds something, such as a file, as long as more of it may be asked for.
    """

    def close(self) -> None:
        """Nobody asks for more."""


@implementer(IPushProducer)
class _Pace:
    """
    The client's pace, as the connection tells it.
    """

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        if self._waiting is None:
            self._waiting = Deferred()

    def resumeProducing(self) -> None:
        """It has taken all there was."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """It is gone: the route is cancelled, and that is the end of it."""

    async def turn(self) -> None:
        """Wait until it takes more."""
        if self._waiting is not None:
            await self._waiting


async def send(request: Request, first: bytes, rest: AsyncIterator[bytes]) -> None:
    """
    Send all pieces; the answer's status and headers are set already, without a length. Cancelled when the client is
    gone. What cannot be made any more ends the connection in a way that no client takes for the end of the answer.
    """
    pace = _Pace()
    request.registerProducer(pace, True)  # before anything is written: the first piece may be too much already
    try:
        request.write(first)
        await pace.turn()
        async for piece in rest:
            request.write(piece)
            await pace.turn()
        request.unregisterProducer()
    except CancelledError:
        raise
    except Exception:  # the client is protected from half an answer that looks whole, and told nothing else
        log_failure(f"the rest of {request.method.decode('latin-1')} {request.path.decode('latin-1')}")
        transport: Any = request.transport  # Any: it can do more than its interface says
        transport.abortConnection()
        await Deferred()  # until the connection is lost, which cancels the route
