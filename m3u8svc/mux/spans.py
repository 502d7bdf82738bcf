"""
Which segment became which stretch of the output, told by where libav found each packet.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable

from m3u8svc.mux.feed import Mark
from m3u8svc.mux.protocol import Outbox
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.tracks import Route

KEPT = 16
"""So many segments may be told late: a stream of the track may be silent for a while."""


class Spans:
    """
    The spans of one playlist track. A segment from which nothing was written is never told.
    """

    def __init__(self, track: str, outbox: Outbox) -> None:
        self._track = track
        self._outbox = outbox
        self._open: dict[tuple[int, int], tuple[int, int]] = {}
        """(segment, file) -> from, to in nanoseconds."""

    def cross(self, marks: list[Mark], route: Route, *, file: int, at: int, end_ns: int | None, next_ns: int) -> None:
        """
        A stream's packets are of another segment now, the one that holds byte `at` of the run: the one before ended at
        `end_ns`, this one starts at `next_ns`.
        """
        if route.at >= 0 and end_ns is not None:
            self._extend((marks[route.at].number, file), end_ns)
        route.at = max(bisect_right(marks, at, key=lambda mark: mark.at) - 1, 0)
        route.until = marks[route.at].end
        self._extend((marks[route.at].number, file), next_ns)

    def tell(self, marks: list[Mark], routes: Iterable[Route]) -> None:
        """Tell what no stream will add to, once there is some of it."""
        if len(self._open) > KEPT:
            behind = min((route.at for route in routes), default=0)
            self._tell(lambda number: number < marks[max(behind, 0)].number)

    def end(self, marks: list[Mark], routes: Iterable[Route], file: int) -> None:
        """The run is over, or goes on in another file."""
        for route in routes:
            if route.at >= 0 and route.track.lane.end_ns is not None:
                self._extend((marks[route.at].number, file), route.track.lane.end_ns)
        self._tell(lambda number: True)

    def _extend(self, key: tuple[int, int], at_ns: int) -> None:
        start, end = self._open.get(key, (at_ns, at_ns))
        self._open[key] = min(start, at_ns), max(end, at_ns)

    def _tell(self, done: Callable[[int], bool]) -> None:
        for key in [key for key in self._open if done(key[0])]:
            start, end = self._open.pop(key)
            self._outbox.span(self._track, key[0], file=key[1], start_s=max(start, 0) / NS, end_s=end / NS)
