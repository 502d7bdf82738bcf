"""
Whose turn it is when a download has segments at several hosts: in order, as long as no host holds everybody up (S19).

Of n workers one host keeps at most three quarters busy while another has work: so a slow mirror has its share, and
never all. A host that nobody may ask at the moment is passed over as long as there is something else to do.
Somebody who watches changes the order (`tasks.viewing`), but not that.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from m3u8svc.tasks.viewing import Urgency, Viewer

T = TypeVar("T")

MOST_HOSTS = 32
"""Hosts beyond these are taken as one, so that a playlist with thousands of them stays cheap."""


class Turns(Generic[T]):
    """
    The jobs that are left: those of `jobs` that are added, in their order. A job costs five bytes here. `viewer` knows
    them by their numbers.
    """

    def __init__(self, jobs: Sequence[T], *, workers: int, viewer: Viewer | None = None) -> None:
        self._jobs = jobs
        self._viewer = viewer or Viewer()
        self._taken = bytearray(len(jobs))
        self._share = max(1, workers - workers // 4)
        self._busy: Counter[str] = Counter()
        self._queues: dict[str, array[int]] = {}
        self._next: Counter[str] = Counter()

    def add(self, number: int, host: str) -> None:
        """
        The job of this number goes to this host. Numbers grow. Nothing is taken before all are added.
        """
        group = host if host in self._queues or len(self._queues) < MOST_HOSTS else ""
        self._queues.setdefault(group, array("I")).append(number)

    def __bool__(self) -> bool:
        return bool(self._queues)

    def take(self, is_blocked: Callable[[str], bool]) -> tuple[str, T] | None:
        """
        The next job and what to call `done` with; None when none is left. `is_blocked` says of a host whether nobody
        may ask it now.
        """
        if not self._queues:
            return None
        group = min(self._queues, key=lambda each: self._rank(each, is_blocked))
        _, number = self._first(group)
        self._taken[number] = True
        self._busy[group] += 1
        self._pass_taken(group)
        return group, self._jobs[number]

    def done(self, group: str) -> None:
        """
        A job of this group has ended.
        """
        self._busy[group] -= 1

    def _rank(self, group: str, is_blocked: Callable[[str], bool]) -> tuple[bool, bool, Urgency]:
        if len(self._queues) == 1:
            return False, False, (0, 0)
        urgency, _ = self._first(group)
        return self._busy[group] >= self._share, is_blocked(group), urgency

    def _first(self, group: str) -> tuple[Urgency, int]:
        return self._viewer.first_of(self._queues[group], self._next[group], self._taken)

    def _pass_taken(self, group: str) -> None:
        """
        Go on to the first job of a group that is left, and drop the group if there is none.
        """
        queue, at = self._queues[group], self._next[group]
        while at < len(queue) and self._taken[queue[at]]:
            at += 1
        self._next[group] = at
        if at == len(queue):
            del self._queues[group]
