"""
What a task wants of a multivariant playlist: which variant, which sound, which subtitles.

    choice    := option { "/" option }        the first option that any variant meets decides
    option    := { word }                     all its conditions together; then the best of what is left
    word      := "best" | "worst"             by BANDWIDTH, then by size, then listed first; "best" where neither stands
               | "audio_only"                 variants without picture, which are else taken only if there is no other
               | SIZE                         720, 720p, 1080p60, 1280x720, 4k: at most so large (and so many frames/s)
               | NUMBER "k"                   2500k: at most so many bit/s
               | field operator value
    operator  := "=" "!=" "<" "<=" ">" ">=" for numbers; "=" "!=" "~" "!~" "^=" "$=" "*=" for text
    value     := one or several with "|" between them; numbers may end in k, M, G; in text "*" stands for anything

Words are separated by spaces, ":" "," "[" or "]", so that what people write for yt-dlp ("bv*[height<=720]+ba/b"),
N_m3u8DL-RE ("res=1920*:codecs=hvc1:for=best") and streamlink ("720p60") means here what it means there. There are no
regular expressions: "~" is "contains", so that no expression takes long. What a playlist does not say of a variant
meets no condition but "!=" and "!~", and those written with "?" ("height<=?720"); without VIDEO-RANGE it is SDR.

Languages are ranges of BCP 47 ("en" takes en-US) or the NAME of a rendition.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import attrs

from m3u8svc.errors import NoSuchVariant, NothingToDownload, SelectionError
from m3u8svc.hls.languages import is_language
from m3u8svc.hls.playlist import MasterPlaylist, Rendition, Variant
from m3u8svc.redact import escape_controls
from m3u8svc.wording import Said, joined, said

SUBTITLE_KINDS = ("vtt", "srt")
_SUBTITLE_FILES = "vtt, srt, none"

LONGEST = 1000
"""Characters of an expression or a list of languages."""

_DESCRIBED = "public.accessibility.describes-video"
_AUDIO = Said("音轨", "audio")
_SUBTITLES = Said("字幕", "subtitles")
_LISTED = 20  # how many variants or renditions an error or a warning names
_NOT_VIDEO = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "mp3", "dts", "wvtt", "stpp", "tx3g")


@attrs.frozen(kw_only=True)
class Condition:
    """
    One ``field operator value``. `values` are numbers for a field of numbers, else text in lower case.
    """

    field: str
    operator: str
    values: tuple[float | str, ...]
    or_unknown: bool = False


@attrs.frozen(kw_only=True)
class Option:
    """
    One alternative of a choice.
    """

    conditions: tuple[Condition, ...] = ()
    worst: bool = False
    audio_only: bool = False


@attrs.frozen(kw_only=True)
class VariantChoice:
    """
    An expression understood: options in the order of preference, and how it was written.
    """

    text: str
    options: tuple[Option, ...]


@attrs.frozen(kw_only=True)
class Languages:
    """
    Which renditions are wanted: `items` are language ranges or names in the order of preference, of which "all" is
    every one. Empty `items` with `default` is what the playlist would play, without it none at all.
    """

    items: tuple[str, ...] = ()
    default: bool = False


@attrs.frozen(kw_only=True)
class Chosen:
    """
    The renditions to take, and what there is to say about it.
    """

    renditions: tuple[Rendition, ...] = ()
    warnings: tuple[str, ...] = ()


# -- Variants --------------------------------------------------------------------------------------------------------


def parse_variant_choice(text: str) -> VariantChoice:
    """
    The choice that `text` writes down; "" is "best".

    Raises:
        SelectionError: at the position of what cannot be understood.
    """
    if len(text) > LONGEST:
        raise SelectionError(position=LONGEST + 1, item=text[LONGEST : LONGEST + 20], expected=f"<= {LONGEST}")
    return VariantChoice(text=text.strip() or "best", options=tuple(_Reader(text).options()))


def choose(master: MasterPlaylist, choice: VariantChoice) -> Variant:
    """
    The variant a choice means.

    Raises:
        NothingToDownload: there is no variant at all.
        NoSuchVariant: none meets any option; it lists those there are.
    """
    if not master.variants:
        raise NothingToDownload()
    for option in choice.options:
        if found := [each for each in master.variants if _meets(option, each, master)]:
            return _worst(found) if option.worst else _best(found)
    raise NoSuchVariant(wanted=escape_controls(choice.text), available=_list(map(variant_text, master.variants)))


def is_audio_only(variant: Variant) -> bool:
    """
    Whether a variant says that it has no picture. One that says nothing may have one.
    """
    return (
        bool(variant.codecs)
        and variant.width is None
        and all(codec.lower().startswith(_NOT_VIDEO) for codec in variant.codecs)
    )


def variant_text(variant: Variant) -> str:
    """
    A variant in the words a choice is written in: "1920x1080 60fps 6000k PQ hvc1.2.4.L123,mp4a.40.2".
    """
    words = [
        f"{variant.width}x{variant.height}" if variant.height else "",
        f"{variant.frame_rate:.4g}fps" if variant.frame_rate else "",
        f"{round(variant.bandwidth / 1000)}k" if variant.bandwidth else "",
        variant.video_range or "",
        ",".join(variant.codecs),
        "audio_only" if is_audio_only(variant) else "",
    ]
    return escape_controls(" ".join(filter(None, words)))[:200] or "?"


def _best(variants: Sequence[Variant]) -> Variant:
    return max(variants, key=lambda each: (not is_audio_only(each), each.bandwidth, _pixels(each)))


def _worst(variants: Sequence[Variant]) -> Variant:
    return min(variants, key=lambda each: (is_audio_only(each), each.bandwidth, _pixels(each)))


def _pixels(variant: Variant) -> int:
    return (variant.width or 0) * (variant.height or 0)


def _meets(option: Option, variant: Variant, master: MasterPlaylist) -> bool:
    if option.audio_only and not is_audio_only(variant):
        return False
    return all(_holds(condition, variant, master) for condition in option.conditions)


def _holds(condition: Condition, variant: Variant, master: MasterPlaylist) -> bool:
    if condition.field in _NUMBERS:
        number = _NUMBERS[condition.field](variant)
        if not number:
            return condition.or_unknown or condition.operator == "!="
        return _COMPARISONS[condition.operator](number, condition.values)
    texts = [text.lower() for text in _TEXTS[condition.field](variant, master)]
    negated = condition.operator.startswith("!")
    if not texts:
        return condition.or_unknown or negated
    before, after = _AROUND[condition.operator.removeprefix("!")]
    patterns = [f"{before}{value}{after}" for value in condition.values]
    if condition.field == "language" and condition.operator in ("=", "!="):
        met = any(is_language(str(value), text) for value in condition.values for text in texts)
    else:
        met = any(_fits(pattern, text) for pattern in patterns for text in texts)
    return met is not negated


def _fits(pattern: str, text: str) -> bool:
    """
    Whether `text` is `pattern`, in which "*" stands for anything. Each part is looked for once, from left to right.
    """
    first, *others = pattern.split("*")
    if not others:
        return text == first
    last = others.pop()
    at = len(first)
    if not text.startswith(first) or len(text) < at + len(last) or not text.endswith(last):
        return False
    for part in others:
        found = text.find(part, at, len(text) - len(last))
        if found < 0:
            return False
        at = found + len(part)
    return True


def _side(variant: Variant) -> int:
    """
    What people call a size by: the shorter side, so that an upright film of 720x1280 is "720p" too.
    """
    return min(variant.width or 0, variant.height or 0)


def _codecs(variant: Variant, master: MasterPlaylist) -> list[str]:
    """
    Each codec as it is written, its family, and what people call that.
    """
    families = {codec.partition(".")[0].lower() for codec in variant.codecs}
    return [*variant.codecs, *families, *(name for family in families for name in _CALLED.get(family, ()))]


def _ranges(variant: Variant, master: MasterPlaylist) -> list[str]:
    dolby = any(codec.lower().startswith(("dvh", "dva", "dav1")) for codec in variant.codecs)
    given = (variant.video_range or "SDR").upper()
    return [given, *{"PQ": ("HDR10", "HDR"), "HLG": ("HDR",)}.get(given, ()), *(["DV"] if dolby else [])]


def _languages(variant: Variant, master: MasterPlaylist) -> list[str]:
    group = [each for each in master.renditions if each.type == "AUDIO" and each.group_id == variant.audio_group]
    return [text for each in group for text in (each.language, each.name) if text]


def _names(variant: Variant, master: MasterPlaylist) -> list[str]:
    return [each.name for each in master.renditions if each.type == "VIDEO" and each.group_id == variant.video_group]


_CALLED = {
    "avc1": ("h264", "avc"),
    "avc3": ("h264", "avc"),
    "hvc1": ("h265", "hevc"),
    "hev1": ("h265", "hevc"),
    "dvh1": ("h265", "hevc"),
    "dvhe": ("h265", "hevc"),
    "av01": ("av1",),
    "vp09": ("vp9",),
    "mp4a": ("aac",),
    "ac-3": ("ac3",),
    "ec-3": ("eac3",),
}
_NUMBERS: dict[str, Callable[[Variant], float]] = {
    "height": lambda each: each.height or 0,
    "width": lambda each: each.width or 0,
    "side": _side,
    "bandwidth": lambda each: each.bandwidth,
    "fps": lambda each: round(each.frame_rate or 0),  # 59.94 is what people mean by 60
}
_TEXTS: dict[str, Callable[[Variant, MasterPlaylist], list[str]]] = {
    "codec": _codecs,
    "range": _ranges,
    "language": _languages,
    "name": _names,
    "resolution": lambda each, master: [f"{each.width}x{each.height}"] if each.height else [],
    "ext": lambda each, master: ["mp4", "m4a"],  # what comes out is one, whatever the variant
}
_COMPARISONS: dict[str, Callable[[float, tuple[float | str, ...]], bool]] = {
    "=": lambda number, values: number in values,
    "!=": lambda number, values: number not in values,
    "<": lambda number, values: number < float(values[0]),
    "<=": lambda number, values: number <= float(values[0]),
    ">": lambda number, values: number > float(values[0]),
    ">=": lambda number, values: number >= float(values[0]),
}
_AROUND = {"=": ("", ""), "~": ("*", "*"), "*=": ("*", "*"), "^=": ("", "*"), "$=": ("*", "")}


# -- Reading an expression -------------------------------------------------------------------------------------------

_FIELDS = {
    **dict.fromkeys(("height", "h"), "height"),
    **dict.fromkeys(("width", "w"), "width"),
    **dict.fromkeys(("res", "resolution"), "resolution"),
    **dict.fromkeys(("bandwidth", "bw", "bitrate", "br"), "bandwidth"),
    **dict.fromkeys(("tbr", "vbr"), "tbr"),
    "bwmin": "bwmin",
    "bwmax": "bwmax",
    **dict.fromkeys(("fps", "frame", "framerate", "frame-rate"), "fps"),
    **dict.fromkeys(("codec", "codecs", "vcodec", "acodec"), "codec"),
    **dict.fromkeys(("range", "video-range", "dynamic-range"), "range"),
    **dict.fromkeys(("lang", "language"), "language"),
    "name": "name",
    "ext": "ext",
    "for": "for",
}
_SHOWN_FIELDS = "height, width, res, bandwidth, fps, codec, range, lang, name"
_WORDS = "best, worst, audio_only, 720p, height<=720"
_BEST = {"best", "b", "b*", "bv", "bv*", "bestvideo", "bestvideo*"}
_WORST = {"worst", "w", "w*", "wv", "wv*", "worstvideo", "worstvideo*"}
_SOUND = {"audio_only", "audio-only", "audio", "ba", "ba*", "bestaudio", "bestaudio*"}
_HEIGHTS = {"2k": 1440, "4k": 2160, "8k": 4320}

_CONDITION = re.compile(
    r"([A-Za-z_-]+) *(<=|>=|!=|!~|\^=|\$=|\*=|<|>|=|~) *(\??) *(\"[^\"]*\"|'[^']*'|[^\s:,\[\]+/\"'<>=]*)"
)
_WORD = re.compile(r"[^\s:,\[\]+/]+")
_SIZE = re.compile(r"([0-9]{2,5})(?:p([0-9]{1,3})?)?")
_FRAME = re.compile(r"([0-9]{2,5})[x×]([0-9]{2,5})")
_RATE = re.compile(r"([0-9]{3,7})k")
_NUMBER = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([kmg]?)p?")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class _Reader:
    """
    Reads one expression from left to right.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def options(self) -> Iterable[Option]:
        """The options, of which an empty expression has one."""
        text, at = self._text, 0
        option, words, begun, beside_sound = Option(), 0, 0, False
        while at < len(text):
            if text[at] == "/":
                if not words:
                    raise self._problem(begun, text[at], _WORDS)
                yield option
                option, words, beside_sound = Option(), 0, False
                begun = at = at + 1
            elif text[at] == "+" and words:
                at = self._sound(at + 1)
                beside_sound = True
            elif text[at].isspace() or text[at] in ":,[]":
                at += 1
            else:
                previous = option
                option, at_next = self._word(option, at)
                if beside_sound and len(option.conditions) > len(previous.conditions):
                    if option.conditions[-1].field != "ext":
                        raise self._problem(at, text[at:at_next], "+ba")
                    option = previous
                at, words = at_next, words + 1
        if not words and (begun or text.strip()):
            raise self._problem(begun, text[begun:], _WORDS)
        yield option

    def _sound(self, at: int) -> int:
        """
        What yt-dlp has after "+": the sound that goes with a variant, which we always take.
        """
        found = _WORD.match(self._text, at)
        if found is None or found.group().lower() not in _SOUND:
            raise self._problem(at, found.group() if found else self._text[at : at + 1], "ba, bestaudio")
        return found.end()

    def _word(self, option: Option, at: int) -> tuple[Option, int]:
        if found := _CONDITION.match(self._text, at):
            return self._condition(option, found), found.end()
        found = _WORD.match(self._text, at)
        if found is None:
            raise self._problem(at, self._text[at], _WORDS)
        word = found.group().lower()
        if word in _BEST or word in _WORST:
            option = attrs.evolve(option, worst=word in _WORST)
        elif word in _SOUND:
            option = attrs.evolve(option, audio_only=True)
        elif conditions := _shorthand(word):
            option = attrs.evolve(option, conditions=(*option.conditions, *conditions))
        else:
            raise self._problem(at, found.group(), _WORDS)
        return option, found.end()

    def _condition(self, option: Option, found: re.Match[str]) -> Option:
        field = _FIELDS.get(found[1].lower().replace("_", "-"))
        operator, value = found[2], found[4].strip("\"'").lower()
        if field is None:
            raise self._problem(found.start(), found[1], _SHOWN_FIELDS)
        if field == "for":
            if operator != "=" or value not in ("best", "worst"):
                raise self._problem(found.start(), found.group(), "for=best, for=worst")
            return attrs.evolve(option, worst=value == "worst")
        if not value:
            raise self._problem(found.end(), self._text[found.end() : found.end() + 1], f"{found[1]}{operator}…")
        field, operator, unit = self._meaning(field, operator, value, found)
        values: tuple[float | str, ...] = tuple(part.strip() for part in value.split("|"))
        if field in _NUMBERS:
            values = tuple(self._number(str(part), unit, operator, found) for part in values)
            if len(values) > 1 and operator not in ("=", "!="):
                raise self._problem(found.start(4), value, "=, !=")
        condition = Condition(field=field, operator=operator, values=values, or_unknown=bool(found[3]))
        return attrs.evolve(option, conditions=(*option.conditions, condition))

    def _meaning(self, field: str, operator: str, value: str, found: re.Match[str]) -> tuple[str, str, int]:
        """
        Field, operator and unit as the rest knows them: kilobits where others count so, `res` of a number as a size.
        """
        unit = 1
        if field in ("bwmin", "bwmax"):
            if operator != "=":
                raise self._problem(found.start(2), operator, "=")
            field, operator, unit = "bandwidth", ">=" if field == "bwmin" else "<=", 1000
        elif field == "tbr":
            field, unit = "bandwidth", 1000
        elif field == "resolution" and all(_NUMBER.fullmatch(part.strip()) for part in value.split("|")):
            field = "side"
        allowed = _COMPARISONS if field in _NUMBERS else {*_AROUND, "!=", "!~"}
        if operator not in allowed:
            raise self._problem(found.start(2), operator, ", ".join(sorted(allowed)))
        return field, operator, unit

    def _number(self, part: str, unit: int, operator: str, found: re.Match[str]) -> float:
        number = _NUMBER.fullmatch(part.rstrip("*"))  # N_m3u8DL-RE's patterns: frame="60*"
        if number is None:
            raise self._problem(found.start(4), part, "720, 2500k, 2.5M")
        return float(number[1]) * (_UNITS[number[2]] if number[2] else unit)

    def _problem(self, at: int, item: str, expected: str) -> SelectionError:
        return SelectionError(position=at + 1, item=escape_controls(item.strip()[:40]), expected=expected)


def _shorthand(word: str) -> tuple[Condition, ...]:
    """
    The conditions a word such as "1080p60" stands for; none if it is no such word.
    """

    def most(field: str, value: object) -> Condition:
        return Condition(field=field, operator="<=", values=(float(str(value)),))

    if word in _HEIGHTS:
        return (most("side", _HEIGHTS[word]),)
    if found := _SIZE.fullmatch(word):
        return (most("side", found[1]), *([most("fps", found[2])] if found[2] else []))
    if found := _FRAME.fullmatch(word):
        return most("width", found[1]), most("height", found[2])
    if found := _RATE.fullmatch(word):
        return (most("bandwidth", int(found[1]) * 1000),)
    return ()


# -- Renditions ------------------------------------------------------------------------------------------------------


def parse_languages(text: str) -> Languages:
    """
    The renditions a list such as "en,fr" or "all" wants; "" leaves it to the playlist, "none" wants none.

    Raises:
        SelectionError: an empty item, or "none" among others.
    """
    if len(text) > LONGEST:
        raise SelectionError(position=LONGEST + 1, item=text[LONGEST : LONGEST + 20], expected=f"<= {LONGEST}")
    if not text.strip():
        return Languages(default=True)
    if text.strip().lower() == "none":
        return Languages()
    items: list[str] = []
    position = 1
    for part in text.split(","):
        item = part.strip()
        if not item or item.lower() == "none" or escape_controls(item) != item:
            raise SelectionError(position=position, item=escape_controls(item[:40]), expected="en, pt-BR, all")
        items.append("all" if item.lower() == "all" else item)
        position += len(part) + 1
    return Languages(items=tuple(dict.fromkeys(items)))


def parse_subtitle_files(text: str) -> str:
    """
    The kinds of files to write of subtitles, in one form: "vtt", "srt", "vtt,srt" or "none", which "" means too.

    Raises:
        SelectionError: there is no such kind.
    """
    kinds = [part.strip().lower() for part in text.split(",")]
    if kinds in ([""], ["none"]):
        return "none"
    position = 1
    for part, kind in zip(text.split(","), kinds, strict=True):
        if kind not in SUBTITLE_KINDS:
            raise SelectionError(position=position, item=escape_controls(part.strip()[:40]), expected=_SUBTITLE_FILES)
        position += len(part) + 1
    return ",".join(kind for kind in SUBTITLE_KINDS if kind in kinds)


def choose_audio(master: MasterPlaylist, variant: Variant, wanted: Languages) -> Chosen:
    """
    The sound of `variant` (M4): of its group one rendition for each wanted language, in the order they are wanted;
    where several speak it the one with the most exact tag, which does not describe the picture, then DEFAULT,
    AUTOSELECT, then listed first. "all" is the whole group, commentaries and descriptions too. Nothing wanted, or
    nothing wanted there: DEFAULT, else AUTOSELECT, else the first. A rendition without URI is already inside the
    variant, and so is one that is the variant itself.
    """
    group = [each for each in master.renditions if each.type == "AUDIO" and each.group_id == variant.audio_group]
    if variant.audio_group is None or not group:
        missing = [item for item in wanted.items if item != "all"]
        return Chosen(warnings=(_missing(_AUDIO, missing, group),) if missing else ())
    found = _wanted(group, wanted, _AUDIO)
    if not found.renditions and not (is_audio_only(variant) and wanted.default):
        found = attrs.evolve(found, renditions=(max(group, key=_preference),))
    inside = tuple(attrs.evolve(each, uri=None) if each.uri == variant.uri else each for each in found.renditions)
    return attrs.evolve(found, renditions=inside)


def choose_subtitles(master: MasterPlaylist, variant: Variant, wanted: Languages) -> Chosen:
    """
    The subtitles to take with `variant`: as for sound, but none where none are wanted or none of them is there. Of
    one language, those that are not FORCED come first. A variant that names no group has all subtitles there are.
    """
    named = variant.subtitles_group
    group = [
        each for each in master.renditions if each.type == "SUBTITLES" and (named is None or each.group_id == named)
    ]
    return _wanted(group, wanted, _SUBTITLES)


def rendition_text(rendition: Rendition) -> str:
    """
    A rendition for people: its language and its name.
    """
    name = escape_controls(rendition.name)[:60]
    language = escape_controls(rendition.language or "")[:30]
    return f"{language} ({name})" if language and name else language or name or "?"


def _wanted(group: Sequence[Rendition], wanted: Languages, what: Said) -> Chosen:
    """
    What of a group is wanted, each rendition once, and a warning of what is not there.
    """
    found: list[Rendition] = []
    missing: list[str] = []
    for item in wanted.items:
        if item == "all":
            found += group
        elif matching := [each for each in group if _answers(item, each)]:
            found.append(max(matching, key=lambda each: (_exactness(item, each), *_preference(each))))
        else:
            missing.append(item)
    once: dict[object, Rendition] = {}
    for each in found:
        once.setdefault(each.uri or each.name, each)
    return Chosen(renditions=tuple(once.values()), warnings=(_missing(what, missing, group),) if missing else ())


def _answers(item: str, rendition: Rendition) -> bool:
    return is_language(item, rendition.language or "") or item.lower() == rendition.name.strip().lower()


def _exactness(item: str, rendition: Rendition) -> int:
    if item.lower() == rendition.name.strip().lower():
        return 2
    return int(is_language(rendition.language or "", item))  # both ways: the same tag


def _preference(rendition: Rendition) -> tuple[bool, bool, bool, bool]:
    described = _DESCRIBED in rendition.characteristics
    return not rendition.forced, not described, rendition.default, rendition.autoselect


def _missing(what: Said, items: Iterable[str], group: Sequence[Rendition]) -> Said:
    available = _list(map(rendition_text, group)) if group else Said("无", "none")
    return said(
        "没有{what}“{items}”；可选：{available}",
        "there is no {what} “{items}”; there is: {available}",
        what=what,
        items=joined(items, zh="、", en=", "),
        available=available,
    )


def _list(texts: Iterable[str]) -> str:
    known = list(dict.fromkeys(texts))
    return "; ".join(known[:_LISTED]) + ("; …" if len(known) > _LISTED else "")
