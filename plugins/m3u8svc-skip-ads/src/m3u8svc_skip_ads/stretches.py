"""
A playlist cut into stretches: segments in a row that agree in everything the playlist tells about them.

A stretch ends at a discontinuity, where marks begin or end a break, and where the addresses change. Addresses only cut
when most of the programme has one shape: where every segment has its own, they tell nothing.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby
from typing import TypeVar
from urllib.parse import urlsplit

import attrs

from m3u8svc.plugin import Segment, SegmentGroup
from m3u8svc_skip_ads.marks import read_marks
from m3u8svc_skip_ads.told import Told

MAJORITY = 0.6
"""The share of the duration from which on something is the programme's."""
SHORTEST_S = 0.001
"""What a segment without a duration counts as, so that it counts at all."""

_DIGITS = re.compile(r"[0-9]+")
_WORD = re.compile(r"[0-9A-Za-z]+")
_HASH_LETTERS = 8
_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Stretch:
    """
    A stretch and what the playlist says about it. `number` counts from 1: the group number that people see and name.

    `group` is the index of the `SegmentGroup` it lies in. `spliced`: it begins and ends at a discontinuity or at an end
    of the playlist. `foreign`: its addresses are not of the shape that the programme's have. `mark` names the tag that
    declares it an advert, "" without one.
    """

    number: int
    segments: tuple[Segment, ...] = attrs.field(repr=False)
    group: int = 0
    pattern: str = attrs.field(default="", repr=False)
    foreign: bool = False
    spliced: bool = True
    mark: str = ""

    @property
    def positions(self) -> tuple[int, ...]:
        """The 1-based positions of its segments."""
        return tuple(segment.position for segment in self.segments)

    @property
    def start_s(self) -> float:
        """Where it begins."""
        return self.segments[0].start_s

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return self.segments[-1].start_s + self.segments[-1].duration_s

    @cached_property
    def weight_s(self) -> float:
        """Its duration, never nothing."""
        return weight_s(self.segments)


@attrs.frozen(kw_only=True)
class Cut:
    """
    All stretches in order, whether the programme's addresses have one shape, and what could not be used.
    """

    stretches: tuple[Stretch, ...]
    one_shape: bool
    notes: tuple[Told, ...] = ()


def cut(groups: Sequence[SegmentGroup], trailing: tuple[str, ...] = ()) -> Cut:
    """
    The stretches of a playlist with these marks after its last segment.
    """
    segments = tuple(segment for group in groups for segment in group.segments)
    marks = read_marks(segments, trailing)
    broken = marks.by_position()
    shapes, programme = _telling_shapes(segments)
    stretches: list[Stretch] = []
    for index, group in enumerate(groups):
        pieces = [
            (key, tuple(piece))
            for key, piece in groupby(
                group.segments, lambda each: (broken.get(each.position, -1), shapes.get(each.position, ""))
            )
        ]
        for (mark, pattern), piece in pieces:
            stretches.append(
                Stretch(
                    number=len(stretches) + 1,
                    segments=piece,
                    group=index,
                    pattern=pattern,
                    foreign=pattern != programme,
                    spliced=len(pieces) == 1,
                    mark=marks.breaks[mark].tag if mark >= 0 else "",
                )
            )
    return Cut(stretches=tuple(stretches), one_shape=bool(programme), notes=marks.notes)


def weight_s(segments: Iterable[Segment]) -> float:
    """
    How long these are together, each counted as something.
    """
    return sum(max(segment.duration_s, SHORTEST_S) for segment in segments)


def majority(weighed: Iterable[tuple[_T, float]], total: float) -> _T | None:
    """
    The value that has at least `MAJORITY` of `total`, if one has.
    """
    sums: dict[_T, float] = {}
    for value, weight in weighed:
        sums[value] = sums.get(value, 0.0) + weight
    best = max(sums, key=sums.__getitem__, default=None)
    return best if best is not None and sums[best] >= MAJORITY * total else None


# -- Shapes of addresses ---------------------------------------------------------------------------------------------


def _telling_shapes(segments: tuple[Segment, ...]) -> tuple[dict[int, str], str]:
    """
    By position the most exact shape in which most of the playlist agrees, and that of the programme; without one,
    nothing differs.
    """
    total = weight_s(segments)
    for shape in (exact_shape, loose_shape):
        shapes = {each.position: shape(each.uri) for each in segments}
        found = majority(((shapes[each.position], weight_s([each])) for each in segments), total)
        if found is not None:
            return shapes, found
    return {}, ""


def exact_shape(uri: str) -> str:
    """
    Host, directory as it is, and the file name with what counts replaced. The query is a token, more often than not.
    """
    host, directory, name = _parts(uri)
    return f"{host}{directory}/{_rough(name)}"


def loose_shape(uri: str) -> str:
    """
    The same where directories count too (``/part1/0007.ts``).
    """
    host, directory, name = _parts(uri)
    return f"{host}{_rough(directory)}/{_rough(name)}"


def _parts(uri: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri, "", ""
    directory, _, name = parts.path.rpartition("/")
    return parts.netloc.rpartition("@")[2].lower(), directory, name


def _rough(text: str) -> str:
    """
    ``#`` for each number and ``*`` for what looks like a hash.
    """
    return _WORD.sub(lambda word: "*" if _is_hash(word[0]) else _DIGITS.sub("#", word[0]), text)


def _is_hash(word: str) -> bool:
    """
    Long, and digits among letters: ``3f2a9c01``, ``Xk29fQ0b``. A plain number is a number, ``segment`` is a word.
    """
    return len(word) >= _HASH_LETTERS and not word.isdigit() and len(_DIGITS.findall(word)) >= 2
