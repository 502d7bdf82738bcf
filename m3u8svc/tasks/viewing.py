"""
What is fetched next while somebody watches a film that is not whole yet. Pure.

Segments are fetched in the order of the film, which is the order they are merged in. Whoever watches asks for segments,
too, and turns that order round for a while: first come the segments that somebody waits for, as they were asked for;
then those that follow the last one that was asked for, a few; then again the first that is left. So a seek is felt at
once, a viewer who stays is always a little ahead of what he sees, and one who is gone holds nothing up for long. Each
segment is handed out once, whoever asks.

Two decisions are taken by this: which job a worker takes next (`first_of`), and which request of those that wait for a
host goes out next (`rank`): jobs are known by their numbers there, requests by where they are in the film.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import attrs

AHEAD = 24
"""How many jobs behind the viewer's go before the others: those of some two minutes of an ordinary film."""

Urgency = tuple[int, int]
"""The lower the sooner."""
_ASKED, _AHEAD, _REST = range(3)


@attrs.frozen(kw_only=True)
class Wanted:
    """
    What a player asks for: a segment of a track, 0 the main one, or the init section that it needs.
    """

    track: int = 0
    position: int
    init: bool = False


class Viewer:
    """
    Where somebody watches: the jobs that are waited for, and the one that was asked for last. Several who watch the
    same film are one viewer to this.
    """

    def __init__(self) -> None:
        self._asked: dict[int, list[float]] = {}
        """When in the film each job is, once for each who waits for it, by number, in the order they were asked for."""
        self._at = 0
        self._from_s = self._until_s = math.inf

    @property
    def is_there(self) -> bool:
        """Whether anybody has watched."""
        return self._from_s < math.inf

    def look(self, number: int, *, from_s: float, until_s: float) -> None:
        """The viewer is at this job; it and those ahead of it are from `from_s` to `until_s` in the film."""
        self._at, self._from_s, self._until_s = number, from_s, until_s

    def ask(self, number: int, at_s: float) -> None:
        """Somebody waits for this job, which is at `at_s` in the film."""
        self._asked.setdefault(number, []).append(at_s)

    def leave(self, number: int) -> None:
        """Somebody waits for it no more."""
        waiting = self._asked[number]
        waiting.pop()
        if not waiting:
            del self._asked[number]

    def first_of(self, jobs: Sequence[int], first: int, taken: Sequence[int]) -> tuple[Urgency, int]:
        """
        The job to take next of `jobs`, whose numbers are in order, and how urgent it is among all. The one at `first`
        is the first that is not taken; `taken` says by number which are.
        """
        for order, number in enumerate(self._asked):
            at = bisect_left(jobs, number, first)
            if at < len(jobs) and jobs[at] == number and not taken[number]:
                return (_ASKED, order), number
        if self.is_there:
            for at in range(bisect_left(jobs, self._at, first), len(jobs)):
                number = jobs[at]
                if number >= self._at + AHEAD:
                    break
                if not taken[number]:
                    return (_AHEAD, number), number
        return (_REST, jobs[first]), jobs[first]

    def rank(self, at_s: float) -> tuple[int, float]:
        """
        Where a request for what is at `at_s` of the film stands among the others of its task; lower goes first.
        """
        if at_s == -math.inf:  # playlists, keys and init sections: segments wait for them
            return _ASKED, at_s
        if any(at_s in times for times in self._asked.values()):
            return _ASKED, at_s
        return (_AHEAD if self._from_s <= at_s <= self._until_s else _REST), at_s
