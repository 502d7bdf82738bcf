"""
Who goes next of those who wait for a host: the task that has the fewest requests under way there, and of its own the
one for the earliest time of its film, so that no merge waits for what is behind others; unless somebody watches it
(`tasks.viewing`). Values in, values out.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from m3u8svc.tasks.viewing import Viewer

T = TypeVar("T")

BEFORE_ALL = float("-inf")
"""Playlists, keys and init sections: segments wait for them."""


class _Place(NamedTuple, Generic[T]):
    """Smaller is earlier; no two have one number, so that `who` never decides."""

    at_s: float
    number: int
    who: T


class Row(Generic[T]):
    """
    Those who wait, and how many each task has under way. `viewers` are those of tasks that somebody may watch.
    """

    def __init__(self, viewers: Mapping[str, Viewer] | None = None) -> None:
        self._viewers = {} if viewers is None else viewers
        self._waiting: dict[str, list[_Place[T]]] = {}
        """By task, the one first that was served longest ago."""
        self._under_way: Counter[str] = Counter()
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def has_none(self, task: str) -> bool:
        """
        Whether a task has nothing under way.
        """
        return task not in self._under_way

    def under_way(self, task: str) -> int:
        """
        How many requests a task has under way.
        """
        return self._under_way.get(task, 0)

    def has_waiting(self, task: str) -> bool:
        """
        Whether one of a task waits.
        """
        return task in self._waiting

    @property
    def next_has_none(self) -> bool:
        """
        Whether that goes for the one whose turn it is.
        """
        return any(map(self.has_none, self._waiting))

    def add(self, who: T, *, task: str, at_s: float = BEFORE_ALL) -> None:
        """
        `who` waits, for something that is at `at_s` seconds of the task's film.
        """
        self._number += 1
        heapq.heappush(self._waiting.setdefault(task, []), _Place(at_s, self._number, who))

    def leave(self, who: T, *, task: str) -> None:
        """
        `who` does not wait any more.
        """
        left = [each for each in self._waiting[task] if each.who is not who]
        heapq.heapify(left)
        self._waiting[task] = left
        if not left:
            del self._waiting[task]

    def take(self) -> tuple[str, T]:
        """
        Whose turn it is, and of which task; not called when nobody waits.
        """
        task = min(self._waiting, key=self._under_way.__getitem__)
        places = self._waiting.pop(task)
        viewer = self._viewers.get(task)
        if viewer is None or not viewer.is_there:
            first = heapq.heappop(places)
        else:
            first = min(places, key=lambda place: (viewer.rank(place.at_s), place.number))
            places.remove(first)
            heapq.heapify(places)
        if places:
            self._waiting[task] = places
        return task, first.who

    def take_oldest(self) -> tuple[str, T]:
        """
        The same, of those who wait for a host that may be away: each in turn, so that no segment of a task uses up its
        attempts for all.
        """
        task, place = min(
            ((task, place) for task, places in self._waiting.items() for place in places),
            key=lambda each: each[1].number,
        )
        self.leave(place.who, task=task)
        return task, place.who

    def entered(self, task: str) -> None:
        """
        A request of this task goes out.
        """
        self._under_way[task] += 1

    def ended(self, task: str) -> None:
        """
        It has come to its end.
        """
        self._under_way[task] -= 1
        if not self._under_way[task]:
            del self._under_way[task]
