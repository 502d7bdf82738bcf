"""
The skip expression (`skip_ts_info`): which segments a user does not want.

    expr := "" | item { "," item }               items are trimmed, an empty one is an error
    item := INT | INT "-" INT                    segment numbers from 1, both ends included
          | "http.code" "=" INT                  leave out segments the server answers with this status
          | "if-http.code-merge_ts"              merge although some were left out by status
          | ("time" | "!time") ":" HMS "-" HMS   drop what lies in the interval / keep only what touches it
    HMS  := DD ":" DD ":" DD

Spaces may stand around "-", "=" and the first ":". Times run over the whole playlist as EXTINF tells them, before
anything is left out, and intervals are closed at both ends. A segment is kept when it touches a keep interval (or
there is none), lies wholly inside no drop interval and is not listed by number: each rule looks at the whole playlist,
so their order does not matter.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import attrs

from m3u8svc.errors import SkipExpressionError
from m3u8svc.hls.playlist import Segment
from m3u8svc.wording import Said, said

_MERGE_FLAG = "if-http.code-merge_ts"
_INDEX = re.compile(r"([0-9]+)(?: *- *([0-9]+))?")
_STATUS = re.compile(r"http.code *= *([0-9]+)")
_HMS = r"([0-9]{2}):([0-5][0-9]):([0-5][0-9])"
_TIME = re.compile(rf"(!?)time *: *{_HMS} *- *{_HMS}")
_LARGEST = 2**63 - 1
_SHORTEST_S = 1e-5
_NOT_200 = Said("跳过表达式: http.code=200 不起作用", "skip expression: http.code=200 has no effect")
_NO_TIMES = Said(
    "跳过表达式: 有分片没有时长，时间规则不起作用",
    "skip expression: some Media Segments have no duration, so times have no effect",
)


@attrs.frozen(kw_only=True)
class Span:
    """
    A closed interval of segment positions or of seconds, and the item it was written as.
    """

    first: int
    last: int
    item: str


@attrs.frozen(kw_only=True)
class SkipRules:
    """
    A skip expression understood. `statuses` never holds 200: an answer with that status is not a failure.
    """

    index_ranges: tuple[Span, ...] = ()
    drop_intervals: tuple[Span, ...] = ()
    keep_intervals: tuple[Span, ...] = ()
    statuses: frozenset[int] = frozenset()
    merge_despite_status: bool = False
    warnings: tuple[Said, ...] = ()

    @property
    def selects(self) -> bool:
        """Whether they leave anything out by number or time."""
        return bool(self.index_ranges or self.drop_intervals or self.keep_intervals)


@attrs.frozen(kw_only=True)
class Selection:
    """
    What rules mean for one playlist: position -> reason for the segments to leave out, and what had no effect.
    """

    skips: dict[int, Said]
    warnings: tuple[Said, ...] = ()


def parse_skip_expression(text: str) -> SkipRules:
    """
    The rules that `text` writes down.

    Raises:
        SkipExpressionError: an item outside the grammar.
    """
    text = text.strip()
    items = [item.strip() for item in text.split(",")] if text else []
    indexes: list[Span] = []
    drops: list[Span] = []
    keeps: list[Span] = []
    statuses: set[int] = set()
    for item in items:
        if found := _INDEX.fullmatch(item):
            indexes.append(_index_span(found, item))
        elif found := _TIME.fullmatch(item):
            (keeps if found[1] else drops).append(_time_span(found, item))
        elif found := _STATUS.fullmatch(item):
            statuses.add(_number(found[1], item))
        elif item != _MERGE_FLAG:
            raise _bad(item)
    return SkipRules(
        index_ranges=tuple(indexes),
        drop_intervals=tuple(drops),
        keep_intervals=tuple(keeps),
        statuses=frozenset(statuses - {200}),
        merge_despite_status=_MERGE_FLAG in items,
        warnings=(_NOT_200,) if 200 in statuses else (),
    )


def select_skips(rules: SkipRules, segments: Sequence[Segment]) -> Selection:
    """
    Which of `segments` the rules leave out, and why. Status rules wait for the answers and select nothing here.

    Without a duration for every segment nobody knows where a time is: time rules then do nothing, which is told.
    """
    timed = bool(rules.drop_intervals or rules.keep_intervals)
    usable = all(segment.duration_s >= _SHORTEST_S for segment in segments) if timed else False
    indexes = _Cover(rules.index_ranges)
    drops = _Cover(rules.drop_intervals if usable else ())
    keeps = _Cover(rules.keep_intervals if usable else ())
    kept_only = ", ".join(span.item for span in rules.keep_intervals[:3]) + (
        "…" if len(rules.keep_intervals) > 3 else ""
    )
    skips: dict[int, Said] = {}
    reasons: dict[str, Said] = {}
    nothing = not (indexes or drops or keeps)  # usual, and a look at a hundred thousand takes a second
    for segment in () if nothing else segments:
        # Sums of decimal fractions are off by some 1e-12; the ends of intervals are whole seconds.
        begin, end = round(segment.start_s, 6), round(segment.start_s + segment.duration_s, 6)
        item = indexes.item(segment.position, segment.position) or drops.item(begin, end)
        if item is None and keeps and keeps.item(end, begin) is None:
            item = kept_only
        if item is not None:
            if item not in reasons:  # one text for all of them: there may be a hundred thousand
                reasons[item] = said("跳过表达式: {item}", "skip expression: {item}", item=item)
            skips[segment.position] = reasons[item]
    ignored = (_NO_TIMES,) if timed and not usable else ()
    return Selection(skips=skips, warnings=rules.warnings + ignored)


class _Cover:
    """
    Spans by their start, with the farthest end so far, so that one look-up answers for all of them.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._starts: list[int] = []
        self._farthest: list[Span] = []
        for span in sorted(spans, key=lambda each: each.first):
            self._starts.append(span.first)
            if self._farthest and self._farthest[-1].last >= span.last:
                span = self._farthest[-1]
            self._farthest.append(span)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def item(self, start_at_most: float, end_at_least: float) -> str | None:
        """
        A span that starts and ends so. (begin, end) asks for one around that interval, (end, begin) for one that
        touches it.
        """
        count = bisect_right(self._starts, start_at_most)
        if count and self._farthest[count - 1].last >= end_at_least:
            return self._farthest[count - 1].item
        return None


def _index_span(found: re.Match[str], item: str) -> Span:
    first = _number(found[1], item)
    last = first if found[2] is None else _number(found[2], item)
    if not 0 < first <= last:
        raise _bad(item)
    return Span(first=first, last=last, item=item)


def _time_span(found: re.Match[str], item: str) -> Span:
    hours, minutes, seconds, *rest = (int(part) for part in found.groups()[1:])
    first, last = _seconds(hours, minutes, seconds), _seconds(*rest)
    if first >= last:
        raise _bad(item)
    return Span(first=first, last=last, item=item)


def _seconds(hours: int, minutes: int, seconds: int) -> int:
    return hours * 3600 + minutes * 60 + seconds


def _number(digits: str, item: str) -> int:
    significant = digits.lstrip("0") or "0"
    if len(significant) > 19 or int(significant) > _LARGEST:
        raise _bad(item)
    return int(significant)


def _bad(item: str) -> SkipExpressionError:
    return SkipExpressionError(item=item if len(item) <= 100 else item[:100] + "…")
