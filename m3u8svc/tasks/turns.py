"""
Whose turn it is when a download has segments at several hosts: in order, as long as no host holds everybody up (S19).

Of n workers one host keeps at most three quarters busy while another has work: so a slow mirror has its share, and
never all. A host that nobody may ask at the moment is passed over as long as there is something else to do.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_HOSTS = 32
"""Hosts beyond these are taken as one, so that a playlist with thousands of them stays cheap."""


class Turns(Generic[T]):
    """
    The jobs that are left: those of `jobs` that are added, in their order. A job costs four bytes here.
    """

    def __init__(self, jobs: Sequence[T], *, workers: int) -> None:
        self._jobs = jobs
        self._share = max(1, workers - workers // 4)
        self._busy: Counter[str] = Counter()
        self._queues: dict[str, array[int]] = {}
        self._next: Counter[str] = Counter()

    def add(self, number: int, host: str) -> None:
        """
        The job of this number goes to this host. Nothing is taken before all are added.
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
        job = self._jobs[self._first(group)]
        self._next[group] += 1
        self._busy[group] += 1
        if self._next[group] == len(self._queues[group]):
            del self._queues[group]
        return group, job

    def done(self, group: str) -> None:
        """
        A job of this group has ended.
        """
        self._busy[group] -= 1

    def _rank(self, group: str, is_blocked: Callable[[str], bool]) -> tuple[bool, bool, int]:
        if len(self._queues) == 1:
            return False, False, 0
        return self._busy[group] >= self._share, is_blocked(group), self._first(group)

    def _first(self, group: str) -> int:
        return self._queues[group][self._next[group]]
