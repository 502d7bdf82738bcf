"""
What an origin was asked: one line for each request, while it is being answered and after.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import attrs


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
    peer: str = ""
    """The address it came from."""
    ended: float | None = None
    """When it was over, on the same clock; None while it is not."""
    fault: str = ""
    """The tweaks that it met by chance."""

    def as_json(self) -> dict[str, Any]:  # Any: what JSON can hold
        """
        Its fields by name.
        """
        return attrs.asdict(attrs.evolve(self, headers=dict(self.headers)))


class Exchange:
    """
    A line of the journal while it is being written.
    """

    def __init__(
        self, method: str, target: str, headers: Mapping[str, str], *, at: float, connection: int, peer: str
    ) -> None:
        self.method = method
        raw_path, _, self.query = target.partition("?")
        self.path = unquote(raw_path)
        self.headers = headers
        self.at = at
        self.connection = connection
        self.peer = peer
        self.status = 0
        self.sent_bytes = 0
        self.finished = False
        self.aborted = False
        self.busy = True
        self.ended: float | None = None
        self.fault = ""
        """Tweaks that it meets by chance."""
        self.nth = 0
        """Which request of this URL it is."""
        self.since_first_s = 0.0
        """How long ago the first one of this URL came."""

    def end(self, now: float) -> None:
        """It is over, one way or another."""
        self.busy = False
        if self.ended is None:
            self.ended = now

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
            peer=self.peer,
            ended=self.ended,
            fault=self.fault,
        )
