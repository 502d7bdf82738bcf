"""
What a client may use of the service (reliability.md 2.4): one value, which the ``[web]`` table of the configuration
fills. Names say the unit; every limit has the range that an operator may choose from.
"""

import attrs

KIB = 1024
MIB = 1024 * KIB
_RANGE = "range"


def _limit(default: int, least: int, most: int) -> int:
    """
    A limit, and what an operator may make of it.
    """
    # attrs' own answer is typed as the default's type.
    found: int = attrs.field(default=default, metadata={_RANGE: (least, most)})
    return found


@attrs.frozen(kw_only=True)
class WebLimits:
    """
    The limits of the HTTP door. What a request may be:
    """

    header_bytes: int = _limit(16 * KIB, KIB, MIB)
    """Request line and headers together, without line ends."""
    header_count: int = _limit(100, 10, 1000)
    task_body_bytes: int = _limit(256 * KIB, KIB, 16 * MIB)
    """Of the body of POST /api/tasks, the playlist in it not counted, and of POST /api/curl."""
    playlist_bytes: int = _limit(8 * MIB, KIB, 32 * MIB)
    """Of a playlist that comes with a task."""
    body_bytes: int = _limit(16 * KIB, KIB, 16 * MIB)
    """Of any other body."""
    url_bytes: int = _limit(8 * KIB, 64, 64 * KIB)
    filename_bytes: int = _limit(200, 16, 200)
    """No more: the names of a file while it is made are up to 55 bytes longer, and disks take 255."""
    http_header_count: int = _limit(64, 0, 1000)
    """Headers that a task sends."""
    http_header_bytes: int = _limit(8 * KIB, 16, 64 * KIB)
    """Of one value of those."""
    http_headers_bytes: int = _limit(16 * KIB, 16, 256 * KIB)
    """Of all their names and values."""
    page_tasks: int = _limit(1000, 1, 100_000)
    """What ``limit`` of a list may ask for."""

    unfinished_tasks: int = _limit(100_000, 1, 10_000_000)
    """Tasks that wait, run or are paused."""

    header_deadline_s: int = _limit(10, 1, 3600)
    body_deadline_s: int = _limit(30, 1, 3600)
    """From the last header on. Both are absolute: dripping does not help."""
    idle_s: int = _limit(60, 1, 3600)
    """Between two requests of a connection."""
    unread_s: int = _limit(60, 1, 3600)
    """How long an answer, or a message of the WebSocket, waits for a peer that takes nothing."""
    ping_s: int = _limit(30, 5, 3600)
    """How often a quiet WebSocket must show that it lives."""
    socket_queue_bytes: int = _limit(256 * KIB, KIB, 64 * MIB)
    """What is kept for a WebSocket that does not read."""

    connections: int = _limit(512, 4, 50_000)
    connections_per_address: int = _limit(64, 2, 50_000)
    sockets: int = _limit(64, 0, 10_000)
    """WebSockets at once."""
    requests_per_s: int = _limit(50, 0, 100_000)
    """Of one principal, 0 for any number. The owner of a service without passwords has a limit of his own."""
    requests_burst: int = _limit(200, 1, 1_000_000)
    """How many may come at once, after a pause."""
    owner_requests_per_s: int = _limit(0, 0, 100_000)
    """Of all who use a service without passwords, 0 for any number: they share one machine, and are one principal."""

    @property
    def task_body_room(self) -> int:
        """
        How large the body of POST /api/tasks may be with the largest playlist: JSON writes line ends as two bytes, and
        many clients what is not ASCII as six for three.
        """
        return self.task_body_bytes + 2 * self.playlist_bytes


DEFAULTS = WebLimits()


def allowed_range(name: str) -> tuple[int, int]:
    """
    What an operator may choose for the limit of this name.
    """
    least, most = getattr(attrs.fields(WebLimits), name).metadata[_RANGE]
    return least, most


def limit_names() -> tuple[str, ...]:
    """
    All limits.
    """
    return tuple(each.name for each in attrs.fields(WebLimits))
