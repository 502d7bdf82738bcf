"""
What a download has of its plan so far, in columns (see `hls.columns`): a hundred thousand segments must not be as many
paths and records. Each value is made when somebody asks for it.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import get_args, overload

from m3u8svc.hls.columns import Digits
from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.plan import JobList, Place, SegmentJob
from m3u8svc.offerings import Gap, MediaFile, Part
from m3u8svc.workdir import Stored, WorkDir

_DIGEST_DIGITS = 64
_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
_NOTHING = len(_KINDS)


class JobsOf(Sequence[SegmentJob]):
    """
    Some of a plan's jobs, by their numbers.
    """

    def __init__(self, jobs: JobList, numbers: Sequence[int]) -> None:
        self._jobs = jobs
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> SegmentJob: ...
    @overload
    def __getitem__(self, index: slice) -> "JobsOf": ...
    def __getitem__(self, index: int | slice) -> "SegmentJob | JobsOf":
        if isinstance(index, slice):
            return JobsOf(self._jobs, self._numbers[index])
        return self._jobs[self._numbers[index]]


class Held(MutableMapping[tuple[int, str], Stored]):
    """
    Files of a plan's segments by (position, identity), in `workdir`.
    """

    def __init__(self, jobs: JobList, workdir: WorkDir) -> None:
        self._jobs = jobs
        self._workdir = workdir
        self._kinds = bytearray([_NOTHING]) * len(jobs)
        self._synced = bytearray(len(jobs))
        self._sizes = array("Q", bytes(8 * len(jobs)))
        self._digests = Digits(_DIGEST_DIGITS)
        self._digests.fill(len(jobs))
        self._count = 0

    def __getitem__(self, key: tuple[int, str]) -> Stored:
        number = self._find(key)
        if number < 0 or self._kinds[number] == _NOTHING:
            raise KeyError(key)
        return self._workdir.stored(
            *key,
            _KINDS[self._kinds[number]],
            size_bytes=self._sizes[number],
            synced=bool(self._synced[number]),
            digest=self._digests[number],
        )

    def __setitem__(self, key: tuple[int, str], stored: Stored) -> None:
        number = self._find(key)
        if number < 0:
            raise KeyError(key)
        self._count += self._kinds[number] == _NOTHING
        self._kinds[number] = _KINDS.index(stored.kind)
        self._synced[number] = stored.synced
        self._sizes[number] = stored.size_bytes
        self._digests[number] = stored.digest

    def __delitem__(self, key: tuple[int, str]) -> None:
        if key not in self:
            raise KeyError(key)
        self._kinds[self._find(key)] = _NOTHING
        self._count -= 1

    def __contains__(self, key: object) -> bool:
        number = self._find(key)  # type: ignore[arg-type]  # Mapping allows any object
        return number >= 0 and self._kinds[number] != _NOTHING

    def __iter__(self) -> Iterator[tuple[int, str]]:
        for number, kind in enumerate(self._kinds):
            if kind != _NOTHING:
                yield self._jobs.place(number)[1], self._jobs.identity(number)

    def __len__(self) -> int:
        return self._count

    def _find(self, key: tuple[int, str]) -> int:
        for track in self._jobs.tracks:  # the name of the track is in the identity: only one has it
            number = self._jobs.find((track, key[0]))
            if number >= 0 and self._jobs.identity(number) == key[1]:
                return number
        return -1


class Ready:
    """
    The parts of a plan that are there. Of a file only that it is: `made` makes it of its job.
    """

    def __init__(self, jobs: JobList, made: Callable[[SegmentJob], MediaFile]) -> None:
        self._jobs = jobs
        self._made = made
        self._files = bytearray(len(jobs))
        self._gaps: dict[Place, Gap] = {}

    def put(self, part: Part) -> None:
        """One more."""
        place = (part.track, part.position)
        if isinstance(part, Gap):
            self._gaps[place] = part
        else:
            self._files[self._jobs.find(place)] = True

    def __contains__(self, place: Place) -> bool:
        return place in self._gaps or self.is_file(place)

    def is_file(self, place: Place) -> bool:
        """Whether its file is there."""
        number = self._jobs.find(place)
        return number >= 0 and bool(self._files[number])

    def is_gap(self, place: Place) -> bool:
        """Whether there is a gap in its place."""
        return place in self._gaps

    def __getitem__(self, place: Place) -> Part:
        if place in self._gaps:
            return self._gaps[place]
        if not self.is_file(place):
            raise KeyError(place)
        return self._made(self._jobs[self._jobs.find(place)])

    def remove(self, place: Place) -> bool:
        """Forget one; returns whether it was a file."""
        was_file = self.is_file(place)
        if was_file:
            self._files[self._jobs.find(place)] = False
        self._gaps.pop(place, None)
        return was_file


class FilesNow(Mapping[tuple[int, str], Stored]):
    """
    What was found, and what came since, without what was dropped.
    """

    def __init__(
        self,
        found: Mapping[tuple[int, str], Stored],
        fetched: Mapping[tuple[int, str], Stored],
        dropped: frozenset[tuple[int, str]],
    ) -> None:
        self._found = found
        self._fetched = fetched
        self._dropped = dropped

    def __getitem__(self, key: tuple[int, str]) -> Stored:
        if key in self._dropped:
            raise KeyError(key)
        stored = self._fetched.get(key)
        return self._found[key] if stored is None else stored

    def __iter__(self) -> Iterator[tuple[int, str]]:
        yield from (key for key in self._fetched if key not in self._dropped)
        yield from (key for key in self._found if key not in self._dropped and key not in self._fetched)

    def __len__(self) -> int:
        return sum(1 for _ in self)
