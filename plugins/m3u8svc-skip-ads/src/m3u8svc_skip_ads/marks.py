"""
What a playlist itself says about adverts: EXT-X-CUE-OUT … EXT-X-CUE-IN, and EXT-X-DATERANGE of an advert.

A break is only one whose end is known: a CUE-IN, a duration, or the end of a date range. An open end is told and
ignored, since everything after it might be lost.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from m3u8svc.plugin import Segment
from m3u8svc_skip_ads.told import Told

OVERRUN_S = 10.0
"""How much later than announced a CUE-IN may come; one later than that closes something else."""

_ATTRIBUTE = re.compile(r'([A-Za-z0-9-]+)=("[^"]*"|[^,]*)')
_NUMBER = re.compile(r"[0-9]{1,7}(?:\.[0-9]{0,9})?")
_AD_WORDS = frozenset({"ad", "ads", "advert", "adverts", "advertisement", "advertising", "commercial"})
_NAME = re.compile(r"[a-z]+")
_UNDATED = Told(
    zh="广告的 DATERANGE 无法定位（播放列表没有 PROGRAM-DATE-TIME），已忽略",
    en="a DATERANGE of an advert cannot be placed (there is no PROGRAM-DATE-TIME): ignored",
)
_UNPLACED = Told(
    zh="广告的 DATERANGE 无法定位（没有结束时间，或在播放列表之外），已忽略",
    en="a DATERANGE of an advert cannot be placed (it has no end, or lies outside the playlist): ignored",
)


@attrs.frozen(kw_only=True)
class Break:
    """
    Segments that the playlist marks as advertising: 1-based positions, both ends included, and by which tag.
    """

    first: int
    last: int
    tag: str


@attrs.frozen(kw_only=True)
class Marks:
    """
    The breaks in order, none inside another, and what could not be used.
    """

    breaks: tuple[Break, ...] = ()
    notes: tuple[Told, ...] = ()

    def by_position(self) -> dict[int, int]:
        """Which break (an index of `breaks`) each marked position belongs to."""
        return {
            position: index for index, each in enumerate(self.breaks) for position in range(each.first, each.last + 1)
        }


def read_marks(segments: Sequence[Segment], trailing: tuple[str, ...] = ()) -> Marks:
    """
    The advert breaks of a playlist; `trailing` are the marks after its last segment, where a last break may end.
    """
    notes: list[Told] = []
    found = [*_cue_breaks(segments, trailing, notes), *_date_breaks(segments, trailing, notes)]
    kept: list[Break] = []
    for each in sorted(found, key=lambda each: (each.first, -each.last)):
        first = max(each.first, kept[-1].last + 1) if kept else each.first
        if first <= each.last:
            kept.append(attrs.evolve(each, first=first))
    return Marks(breaks=tuple(kept), notes=tuple(dict.fromkeys(notes)))


# -- CUE-OUT, CUE-IN -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Open:
    """
    A break that has begun: at which segment (an index), and how long it lasts from there, if that was said.
    """

    index: int
    duration_s: float | None


def _cue_breaks(segments: Sequence[Segment], trailing: tuple[str, ...], notes: list[Told]) -> Iterator[Break]:
    begun: _Open | None = None
    for index, marks in enumerate([*(segment.marks for segment in segments), trailing]):
        for mark in marks:
            name, _, value = mark.partition(":")
            if name == "#EXT-X-CUE-IN":
                yield from _closed(segments, begun, index, notes)
                begun = None
            elif name == "#EXT-X-CUE-OUT":
                if begun is not None and begun.index == index:
                    continue  # said twice at one place
                yield from _closed(segments, begun, None, notes)
                begun = _Open(index=index, duration_s=_duration(value)) if index < len(segments) else None
            elif name == "#EXT-X-CUE-OUT-CONT" and begun is None and index == 0 < len(segments):
                begun = _Open(index=index, duration_s=_remaining(value))  # the playlist begins inside a break
    yield from _closed(segments, begun, None, notes)


def _closed(segments: Sequence[Segment], begun: _Open | None, cue_in: int | None, notes: list[Told]) -> Iterator[Break]:
    """
    The break from `begun` to the segment before `cue_in`, or as long as was announced.
    """
    if begun is None:
        return
    last = None if cue_in is None else cue_in - 1
    if begun.duration_s is not None:
        too_late = last is not None and _span_s(segments, begun.index, last) > begun.duration_s + OVERRUN_S
        if last is None or too_late:
            last = _last_within(segments, begun.index, begun.duration_s)
    if last is None:
        position = segments[begun.index].position
        notes.append(
            Told(
                zh=f"第 {position} 个分片前的 CUE-OUT 既无时长也无 CUE-IN，已忽略",
                en=f"the CUE-OUT before segment {position} has neither a duration nor a CUE-IN: ignored",
            )
        )
    elif last >= begun.index:
        yield Break(first=segments[begun.index].position, last=segments[last].position, tag="CUE-OUT")


def _span_s(segments: Sequence[Segment], first: int, last: int) -> float:
    return segments[last].start_s + segments[last].duration_s - segments[first].start_s


def _last_within(segments: Sequence[Segment], first: int, duration_s: float) -> int:
    """The last segment whose middle lies within `duration_s` from the start of the first."""
    last = first - 1
    end_s = segments[first].start_s + duration_s
    while last + 1 < len(segments) and segments[last + 1].start_s + segments[last + 1].duration_s / 2 < end_s:
        last += 1
    return last


def _duration(value: str) -> float | None:
    """``30``, ``30.0`` or ``DURATION=30``."""
    return _number(value) if "=" not in value else _number(_attributes(value).get("DURATION", ""))


def _remaining(value: str) -> float | None:
    """Of a CUE-OUT-CONT: ``5/30`` or ``ElapsedTime=5,Duration=30``."""
    attributes = _attributes(value)
    elapsed, _, whole = value.partition("/")
    elapsed_s = _number(attributes.get("ELAPSEDTIME", elapsed))
    whole_s = _number(attributes.get("DURATION", whole))
    return None if elapsed_s is None or whole_s is None else max(0.0, whole_s - elapsed_s)


# -- DATERANGE -------------------------------------------------------------------------------------------------------


def _date_breaks(segments: Sequence[Segment], trailing: tuple[str, ...], notes: list[Told]) -> Iterator[Break]:
    times: list[tuple[datetime, Segment]] | None = None
    for span in _date_ranges([*(segment.marks for segment in segments), trailing]).values():
        tag = _why_advert(span)
        if not tag:
            continue
        if times is None:
            times = [(_aware(each.program_date_time), each) for each in segments if each.program_date_time is not None]
        first, last = _ends(span)
        inside = []
        if first is not None and last is not None:
            inside = [each.position for begins, each in times if first <= _middle(begins, each) < last]
        if inside:
            yield from _runs(inside, tag)
        else:
            notes.append(_UNDATED if not times else _UNPLACED)


def _date_ranges(marks_by_place: Iterable[tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """All attributes said about each ID: a later tag completes an earlier one (RFC 8216 4.3.2.7)."""
    ranges: dict[str, dict[str, str]] = {}
    for marks in marks_by_place:
        for mark in marks:
            name, _, value = mark.partition(":")
            if name == "#EXT-X-DATERANGE":
                attributes = _attributes(value)
                ranges.setdefault(attributes.get("ID", ""), {}).update(attributes)
    return ranges


def _why_advert(span: Mapping[str, str]) -> str:
    """
    By what a date range says that it is an advert; "" when it does not. SCTE35-OUT is the out point of a break, a CLASS
    such as ``twitch-stitched-ad`` names one. An interstitial is not in this playlist but played over it.
    """
    if "SCTE35-OUT" in span:
        return "DATERANGE（SCTE35-OUT）"
    return "DATERANGE（CLASS）" if _AD_WORDS & set(_NAME.findall(span.get("CLASS", "").lower())) else ""


def _ends(span: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    first = _date(span.get("START-DATE", ""))
    seconds = _number(span.get("DURATION", "")) or _number(span.get("PLANNED-DURATION", ""))
    last = _date(span.get("END-DATE", ""))
    if last is None and first is not None and seconds is not None:
        try:
            last = first + timedelta(seconds=seconds)
        except OverflowError:
            last = None
    return first, last


def _middle(begins: datetime, segment: Segment) -> datetime:
    try:
        return begins + timedelta(seconds=segment.duration_s / 2)
    except OverflowError:
        return begins


def _date(text: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        return None


def _aware(date: datetime) -> datetime:
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _runs(positions: list[int], tag: str) -> Iterator[Break]:
    """One break for each run of neighbours."""
    first = positions[0]
    for before, position in zip(positions, [*positions[1:], -1], strict=True):
        if position != before + 1:
            yield Break(first=first, last=before, tag=tag)
            first = position


# -- Attributes ------------------------------------------------------------------------------------------------------


def _attributes(value: str) -> dict[str, str]:
    return {name.upper(): found.strip().strip('"') for name, found in _ATTRIBUTE.findall(value)}


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None
