"""
The orders of several tracks, sorted: each track sees its own, in their order.

Standard input is read only when a track that is needed has nothing waiting here. What comes for the others meanwhile
waits; these are a few hundred bytes each, media stays on disk.
"""

from collections import deque
from collections.abc import Iterable

from m3u8svc.mux.protocol import BadOrder, Cut, End, Feed, Hole, Inbox, Outbox, TrackEnd

HUNGRY_EVERY = 16
"""After so many orders for others we say again that we wait: the parent sends no more than a window ahead."""


class Orders:
    """
    Hands each track its next order.
    """

    def __init__(self, inbox: Inbox, outbox: Outbox, tracks: Iterable[str]) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._waiting: dict[str, deque[Feed | Hole | Cut]] = {track: deque() for track in tracks}
        self._over: set[str] = set()
        self._heard = 0
        self.passed = 0
        """Cuts up to this one count for nothing."""

    def pass_over(self, cut: Cut) -> None:
        """No checkpoint can be made at this cut: tell, and do as if it were not there, in every track."""
        if cut.parts > self.passed:
            self.passed = cut.parts
            self._outbox.checkpoint(parts=cut.parts, size_bytes=0, made=False)

    def following(self, track: str) -> Feed | Hole | Cut | None:
        """
        What `take_or_cut` will give; blocks until there is something.

        Raises:
            ParentGone, BadOrder: as `take_or_cut`.
        """
        order = self.take_or_cut(track)
        if order is not None:
            self._waiting[track].appendleft(order)
        return order

    def leave(self, track: str) -> None:
        """`track` was over in an earlier child."""
        self._over.add(track)

    def take(self, track: str) -> Feed | Hole | None:
        """
        The next segment or hole of `track`, for who does not mind cuts.

        Raises:
            ParentGone, BadOrder: as `take_or_cut`.
        """
        while isinstance(order := self.take_or_cut(track), Cut):
            continue
        return order

    def take_or_cut(self, track: str) -> Feed | Hole | Cut | None:
        """
        The next order of `track`; blocks until there is one. None when nothing follows. Cuts come to every track.

        Raises:
            ParentGone: nobody will ever say.
            BadOrder: the order is for no track of this job, or for one that was over.
        """
        waiting = self._waiting[track]
        said_at = -HUNGRY_EVERY
        while not waiting and track not in self._over:
            if any(self._waiting.values()) and self._heard >= said_at + HUNGRY_EVERY:
                self._outbox.hungry(track, self._heard)
                said_at = self._heard
            self._hear()
        return waiting.popleft() if waiting else None

    def _hear(self) -> None:
        order = self._inbox.take()
        if isinstance(order, End):
            self._over.update(self._waiting)
            return
        if isinstance(order, Cut):
            for track in self._waiting.keys() - self._over:
                self._waiting[track].append(order)
            return
        if order.track not in self._waiting or order.track in self._over:
            raise BadOrder(f"{type(order).__name__} for track {order.track!r}")
        if isinstance(order, TrackEnd):
            self._over.add(order.track)
        else:
            self._heard += 1
            self._waiting[order.track].append(order)
