"""
Which stretches are adverts, and how sure that is. Pure: stretches, signatures and options in, a verdict out.

Three tiers, the surest first. *Asked*: the request names a group, a position or an expression. *Marked*: the playlist
declares a break. *Judged*: a short stretch with two of three signs that have nothing to do with each other:

- a splice: it stands between discontinuities, and the programme elsewhere runs on at least twice as long;
- another path: its addresses are not shaped like those of the programme;
- another encoder: its parameter sets or audio format are not those of the programme.

"The programme" is what has 60 % of the duration; a sign without such a majority is not used. Each tier is taken whole
or, when more than `max_share` of the duration would be gone, left with all tiers after it. What is kept by name stays
in any case.
"""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from m3u8svc.plugin import ByteRange, Said, Signature, Skip
from m3u8svc_skip_ads.options import Options, matcher
from m3u8svc_skip_ads.stretches import MAJORITY, Cut, Stretch, majority, weight_s
from m3u8svc_skip_ads.told import Told

LONGEST_ADVERT_S = 300.0
LARGEST_ADVERT = 0.2
"""Of the whole playlist: what is longer is a part of the programme, whatever it looks like."""
MOST_COMPARED = 5000
"""Stretches; among more, no number of signatures that may be asked for finds a majority."""
_NO_SHAPE = Told(
    zh=f"没有一种地址形式占到总时长的 {MAJORITY:.0%}，不按路径判断",
    en=f"no shape of addresses has {MAJORITY:.0%} of the duration: paths are not judged",
)
_NO_ENCODER = Told(
    zh=f"没有一种编码参数占到总时长的 {MAJORITY:.0%}，不按编码参数判断",
    en=f"no encoder is known to have {MAJORITY:.0%} of the duration: encoder settings are not judged",
)
_TOO_MANY = Told(
    zh=f"超过 {MOST_COMPARED} 组，不按编码参数判断",
    en=f"there are over {MOST_COMPARED} groups: encoder settings are not judged",
)


_BY_NAME = Said("按请求去除", "the request names it")
_BY_REGEX = Said("链接匹配 regex", "its link matches regex")


class Sign(enum.Enum):
    """
    What speaks for an advert; the value is what people read.
    """

    SPLICE = Said("短插播", "a short splice")
    PATH = Said("不同路径", "another path")
    ENCODER = Said("不同编码参数", "other encoder settings")


@attrs.frozen(kw_only=True)
class Finding:
    """
    One stretch: the signs it shows, and which of its positions are left out, each with its reason.
    """

    stretch: Stretch
    signs: tuple[Sign, ...] = ()
    dropped: Mapping[int, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Verdict:
    """
    A finding for each stretch, in order, and what people should know.
    """

    findings: tuple[Finding, ...]
    warnings: tuple[Told, ...] = ()

    @property
    def skips(self) -> list[Skip]:
        """What is left out, in order."""
        return [
            Skip(position=position, reason=reason)
            for finding in self.findings
            for position, reason in finding.dropped.items()
        ]


def analyse(found: Cut, signatures: Mapping[int, Signature], options: Options) -> Verdict:
    """
    The verdict on a playlist; `signatures` by stretch number, an empty one for a stretch that could not be read.
    """
    case = _Case(found.stretches, signatures, options)
    matches = matcher(options.regex)
    warnings = [*found.notes, *_unknown_groups(options, len(found.stretches))]
    if options.mode == "auto":
        warnings += _silent_signs(found, case, signatures)
    tiers: list[tuple[Told, Callable[[Stretch], dict[int, str]]]] = [
        (Told(zh="请求指定的部分", en="what the request names"), lambda stretch: _asked(stretch, options, matches)),
        (Told(zh="播放列表标记的广告", en="what the playlist marks"), lambda stretch: _marked(stretch, options)),
        (Told(zh="判断为广告的部分", en="what is judged an advert"), case.judged),
    ]
    dropped: dict[int, dict[int, str]] = {stretch.number: {} for stretch in found.stretches}
    for what, tier in tiers:
        more = {stretch.number: _unless_kept(stretch, options, tier(stretch)) for stretch in found.stretches}
        share = _share(found.stretches, dropped, more)
        if share > options.max_share + 1e-9:
            most = f"max_share {options.max_share:.0%}"
            warnings.append(
                Told(
                    zh=f"{what.zh}占总时长的 {share:.0%}，超过 {most}，因此保留",
                    en=f"{what.en} would be {share:.0%} of the duration, over {most}: kept",
                )
            )
            break
        dropped = {number: more[number] | dropped[number] for number in dropped}
    return Verdict(
        findings=tuple(
            Finding(stretch=each, signs=case.signs(each), dropped=dict(sorted(dropped[each.number].items())))
            for each in found.stretches
        ),
        warnings=tuple(warnings),
    )


def next_question(found: Cut, signatures: Mapping[int, Signature], options: Options) -> Stretch | None:
    """
    The stretch whose signature should be known next; None when nothing more would change the verdict.

    Nobody is asked before something is in doubt. Then the longest, until the programme's encoder is known; then the
    doubts, those of another path first, the longest first. Stretches that begin with the same segment or the same init
    section are one case; so are those of a path whose first one turned out to be the programme's.
    """
    left = options.max_signatures - len(signatures)
    if options.mode != "auto" or left <= 0 or len(found.stretches) > MOST_COMPARED:
        return None
    case = _Case(found.stretches, signatures, options)
    suspects = [stretch for stretch in found.stretches if case.suspects(stretch)]
    if not suspects:
        return None
    if not case.settled:
        return case.longest_unknown(left)
    doubts = [stretch for stretch in suspects if case.would_decide(stretch)]
    return max(doubts, key=lambda stretch: (stretch.foreign, stretch.weight_s, -stretch.number), default=None)


# -- Evidence --------------------------------------------------------------------------------------------------------


class _Case:
    """
    What is known about all stretches together.
    """

    def __init__(self, stretches: Sequence[Stretch], signatures: Mapping[int, Signature], options: Options) -> None:
        self._stretches = stretches
        self._options = options
        self._total_s = sum(stretch.weight_s for stretch in stretches)
        self._longest_s = max((stretch.weight_s for stretch in stretches), default=0.0)
        self._known = _shared(stretches, signatures)
        self.programme = Signature(video=self._common("video") or "", audio=self._common("audio") or "")
        self._acquitted = {each.pattern for each in stretches if each.foreign and self._same_encoder(each)}

    def signs(self, stretch: Stretch) -> tuple[Sign, ...]:
        """What speaks for an advert."""
        return (
            *([Sign.SPLICE] if stretch.spliced and 2 * stretch.weight_s <= self._longest_s else []),
            *([Sign.PATH] if stretch.foreign else []),
            *([Sign.ENCODER] if self._other_encoder(stretch) else []),
        )

    def judged(self, stretch: Stretch) -> dict[int, str]:
        """Its positions with the reason, if it is an advert beyond doubt."""
        signs = self.signs(stretch)
        if self._options.mode != "auto" or not self._short(stretch) or len(signs) < 2:
            return {}
        return _all_of(stretch, (sign.value for sign in signs))

    def suspects(self, stretch: Stretch) -> bool:
        """Whether one sign speaks against it, so that its encoder decides."""
        return (
            not stretch.mark
            and self._short(stretch)
            and len([sign for sign in self.signs(stretch) if sign is not Sign.ENCODER]) == 1
            and not all(self._options.keep.has(stretch.number, position) for position in stretch.positions)
        )

    def would_decide(self, stretch: Stretch) -> bool:
        """Whether the signature of this suspect is neither known nor to be expected."""
        return stretch.number not in self._known and stretch.pattern not in self._acquitted

    @property
    def settled(self) -> bool:
        """Whether the programme's encoder is known: that of its pictures, if there are any."""
        pictures = any(signature.video for signature in self._known.values())
        return bool(self.programme.video if pictures else self.programme.audio)

    def longest_unknown(self, left: int) -> Stretch | None:
        """The next one that may settle it; None when `left` more answers cannot."""
        unknown = sorted(
            (each for each in self._stretches if each.number not in self._known and not each.mark),
            key=lambda each: (-each.weight_s, self.suspects(each)),
        )[:left]
        in_reach_s = self._largest_s() + sum(each.weight_s for each in unknown)
        return unknown[0] if unknown and in_reach_s >= MAJORITY * self._total_s else None

    def _short(self, stretch: Stretch) -> bool:
        return stretch.weight_s <= min(LONGEST_ADVERT_S, LARGEST_ADVERT * self._total_s)

    def _other_encoder(self, stretch: Stretch) -> bool:
        found = self._known.get(stretch.number, Signature())
        return any(
            one and other and one != other
            for one, other in ((found.video, self.programme.video), (found.audio, self.programme.audio))
        )

    def _same_encoder(self, stretch: Stretch) -> bool:
        return bool(self._known.get(stretch.number)) and not self._other_encoder(stretch)

    def _common(self, field: str) -> str | None:
        return majority(self._weighed(field), self._total_s)

    def _weighed(self, field: str) -> Iterable[tuple[str, float]]:
        for stretch in self._stretches:
            value = getattr(self._known.get(stretch.number), field, "")
            if value:
                yield value, stretch.weight_s

    def _largest_s(self) -> float:
        sums: dict[tuple[str, str], float] = {}
        for field in ("video", "audio"):
            for value, weight in self._weighed(field):
                sums[field, value] = sums.get((field, value), 0.0) + weight
        return max(sums.values(), default=0.0)


def _shared(stretches: Sequence[Stretch], signatures: Mapping[int, Signature]) -> dict[int, Signature]:
    """
    The signatures of all stretches that are one case with a known one.
    """
    cases = {_origin(each): signatures[each.number] for each in stretches if each.number in signatures}
    return {each.number: cases[_origin(each)] for each in stretches if _origin(each) in cases}


def _origin(stretch: Stretch) -> tuple[str, ByteRange | None, bool]:
    """What a signature is read from: the init section if there is one, else the first segment."""
    first = stretch.segments[0]
    if first.init is not None:
        return first.init.uri, first.init.byterange, True
    return first.uri, first.byterange, False


def _silent_signs(found: Cut, case: _Case, signatures: Mapping[int, Signature]) -> list[Told]:
    """
    Which signs say nothing here.
    """
    warnings = []
    if not found.one_shape:
        warnings.append(_NO_SHAPE)
    if signatures and not case.settled:
        warnings.append(_NO_ENCODER)
    if len(found.stretches) > MOST_COMPARED:
        warnings.append(_TOO_MANY)
    return warnings


# -- Tiers -----------------------------------------------------------------------------------------------------------


def _asked(stretch: Stretch, options: Options, matches: Callable[[str], bool]) -> dict[int, str]:
    by_name = {position: _BY_NAME for position in stretch.positions if options.drop.has(stretch.number, position)}
    by_regex = {each.position: _BY_REGEX for each in stretch.segments if matches(each.uri)}
    return {position: _reason(stretch, [why]) for position, why in (by_regex | by_name).items()}


def _marked(stretch: Stretch, options: Options) -> dict[int, str]:
    if not stretch.mark or options.mode == "off":
        return {}
    mark = stretch.mark.replace("（", " (").replace("）", ")")
    return _all_of(stretch, [Said(f"{stretch.mark} 标记", f"marked by {mark}")])


def _all_of(stretch: Stretch, why: Iterable[Said]) -> dict[int, str]:
    reason = _reason(stretch, why)
    return dict.fromkeys(stretch.positions, reason)


def _reason(stretch: Stretch, why: Iterable[Said]) -> Said:
    each, number = list(why), stretch.number
    times = f"{clock(stretch.start_s)}–{clock(stretch.end_s)}"
    return Said(
        f"广告（第 {number} 组）：{times}，{'、'.join(each)}",
        f"advert (group {number}): {times}, {', '.join(one.en for one in each)}",
    )


def _unless_kept(stretch: Stretch, options: Options, reasons: Mapping[int, str]) -> dict[int, str]:
    return {position: reason for position, reason in reasons.items() if not options.keep.has(stretch.number, position)}


def _share(stretches: Sequence[Stretch], *dropped: Mapping[int, Mapping[int, str]]) -> float:
    """How much of the duration these drop together."""
    gone_s = sum(
        weight_s(each for each in stretch.segments if any(each.position in one[stretch.number] for one in dropped))
        for stretch in stretches
        if any(one[stretch.number] for one in dropped)
    )
    return gone_s / sum(stretch.weight_s for stretch in stretches) if stretches else 0.0


def _unknown_groups(options: Options, count: int) -> list[Told]:
    named = sorted((options.drop.groups | options.keep.groups) - set(range(1, count + 1)))
    if not named:
        return []
    return [
        Told(
            zh=f"请求指定的组不存在：{listed(named, '、')}（共 {count} 组）",
            en=f"the request names groups that are not there: {listed(named, ', ')} (there are {count})",
        )
    ]


def listed(numbers: Sequence[int], comma: str) -> str:
    """
    The first ten.
    """
    return comma.join([*map(str, numbers[:10]), *(["…"] if len(numbers) > 10 else [])])


def clock(seconds: float) -> str:
    """
    ``01:05``, ``1:01:05``.
    """
    whole = int(seconds + 0.5)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes:02d}:{whole % 60:02d}"
