"""
One POST: signed, timed, its answer looked at and thrown away.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from m3u8svc_notify.deciding import Answer, Answered, Unanswered
from m3u8svc_notify.events import EVENT, EVENT_ID, SIGNATURE, TIMESTAMP, sign
from m3u8svc_notify.queue import Item
from m3u8svc_notify.settings import Webhook

USER_AGENT = "m3u8svc-notify/0.1"
MOST_ANSWER_BYTES = 64 * 1024


class WebhookSender:
    """
    Posts to one URL, over a new connection each time.
    """

    def __init__(self, webhook: Webhook, *, reactor: Any, wall: Callable[[], float]) -> None:
        # reactor is Any: that of `services`
        self._webhook = webhook
        self._reactor = reactor
        self._wall = wall
        self._client: Any = None  # Any: treq has no types for its client

    async def send(self, item: Item) -> Answer:
        """
        One attempt. Fails only by being cancelled.
        """
        attempt = Deferred.fromCoroutine(self._attempt(item))
        timer = self._reactor.callLater(self._webhook.timeout_s, attempt.cancel)
        try:
            return await attempt
        except (CancelledError, Exception) as error:  # whatever a connection, a name or an answer can bring
            if not timer.active():
                return Unanswered(why=f"no answer within {self._webhook.timeout_s:g} s")
            if isinstance(error, CancelledError):  # somebody else's
                raise
            return Unanswered(why=_reason(error))
        finally:
            if timer.active():
                timer.cancel()

    async def _attempt(self, item: Item) -> Answer:
        body = item.body.encode()
        response = await self._opened().post(
            self._webhook.url,
            data=body,
            headers=self.headers(item, body),
            allow_redirects=False,
            unbuffered=True,
        )
        await _read_away(response)
        return Answered(status=response.code, retry_after=(response.headers.getRawHeaders("Retry-After") or [""])[0])

    def headers(self, item: Item, body: bytes) -> dict[str, str]:
        """
        Those of this attempt: the signature is over the time it is made at.
        """
        webhook = self._webhook
        headers = {"User-Agent": USER_AGENT, **dict(webhook.headers), "Content-Type": "application/json"}
        headers |= {EVENT: item.name, EVENT_ID: str(item.event_id)}
        if webhook.secret:
            timestamp = int(self._wall())
            headers |= {TIMESTAMP: str(timestamp), SIGNATURE: sign(webhook.secret, timestamp, body)}
        return headers

    def _opened(self) -> Any:  # Any: as above
        if self._client is None:
            from treq.client import HTTPClient
            from twisted.web.client import Agent, HTTPConnectionPool

            pool = HTTPConnectionPool(self._reactor, persistent=False)
            self._client = HTTPClient(Agent(self._reactor, connectTimeout=self._webhook.timeout_s, pool=pool))
        return self._client


class _Away(Protocol):
    """
    Reads an answer to its end, or to where it is too long to be one.
    """

    def __init__(self) -> None:
        self._left = MOST_ANSWER_BYTES
        self.ended: Deferred[None] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        """Count it."""
        self._left -= len(data)
        if self._left < 0:
            self._stop()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008  # Twisted's signature
        """The end, good or bad: the status is what counts."""
        if not self.ended.called:
            self.ended.callback(None)

    def _stop(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


async def _read_away(response: Any) -> None:  # Any: treq has no types for its response
    away = _Away()
    response.deliverBody(away)
    await away.ended


def _reason(error: Exception) -> str:
    """What went wrong, without what libraries put into messages: URLs with tokens among it."""
    reasons = getattr(error, "reasons", None)  # ResponseNeverReceived and its like
    inner = reasons[0].value if reasons else error
    return f"{type(inner).__name__}"
