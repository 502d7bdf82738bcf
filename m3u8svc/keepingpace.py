"""
Keeps the fetching of a low-disk task beside its merging.
"""

import attrs
from twisted.internet.defer import Deferred

from m3u8svc.hls.plan import PartOrder, Place
from m3u8svc.hls.playlist import MAIN
from m3u8svc.offerings import MediaFile, Part
from m3u8svc.tasks.merged import Merged


class Gate:
    """
    Keeps a low-disk download from running away from its merge: what is on disk beyond the next checkpoint stays small.

    It knows the cuts as the merger will make them, as far as all parts are there. A segment may be fetched unless the
    merger has a cut to come to, with all that it takes, and behind it enough for the next one is there already. So
    whoever is held back is let in again by what the merger has in its hands.
    """

    def __init__(self, order: PartOrder, merged: Merged) -> None:
        self._order = order
        self._cuts = attrs.evolve(merged.cuts, splices=dict(merged.cuts.splices))
        self._frontier = merged.parts
        self._known: list[int] = []
        """Cuts before the frontier that the merger has not passed."""
        self._there: dict[int, Part] = {}
        self._waiting: list[Deferred[None]] = []

    def add(self, part: Part) -> None:
        """A part is there."""
        self._there[self._order.find((part.track, part.position))] = part
        while (following := self._there.get(self._frontier)) is not None:
            if self._cuts.comes_before(is_main=following.track == MAIN):
                self._cuts.cut()
                self._known.append(self._frontier)
            self._cuts.add(
                track=following.track,
                splice=following.discontinuity_sequence,
                size_bytes=_size(following),
                last=following.last,
            )
            self._frontier += 1

    def pass_cut(self, parts: int) -> None:
        """The merger is beyond this cut."""
        self._known = [each for each in self._known if each > parts]
        for index in [index for index in self._there if index < min(parts, self._frontier)]:
            del self._there[index]
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:  # called: whoever waited was cancelled
                each.callback(None)

    async def enter(self, place: Place) -> None:
        """Wait until this segment may be fetched."""
        while self._holds_back(self._order.find(place)):
            released: Deferred[None] = Deferred()
            self._waiting.append(released)
            await released

    def _holds_back(self, index: int) -> bool:
        if not self._known or self._known[0] > index:
            return False
        behind = sum(_size(part) for at, part in self._there.items() if self._known[0] <= at < index)
        return behind >= self._cuts.due_bytes


def _size(part: Part) -> int:
    return part.size_bytes if isinstance(part, MediaFile) else 0
