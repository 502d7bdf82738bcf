"""
Cues out of fMP4 samples: WebVTT in boxes (wvtt) and TTML documents (stpp, IMSC1). Pure; libav only finds the samples.

Of TTML what HLS subtitles are made of is read: `p` with begin, end and dur, also on the elements around it, `br` and
`span`, and italic, bold and underlined text, whether said in place or by a style. Position, colour and pictures are
not. A document type is refused: it could define entities that grow without bound.
"""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from xml.etree import ElementTree

import attrs

from m3u8svc.mux.fmp4 import BrokenBoxes, walk
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.webvtt import MAX_BYTES, MAX_CUES, MAX_TEXT_CHARS, TOO_LARGE, Cue
from m3u8svc.wording import Said

MAX_DEPTH = 50
BROKEN = Said("字幕数据损坏", "the subtitles are damaged")
_PARAMETER = "{http://www.w3.org/ns/ttml#parameter}"
_STYLING = "{http://www.w3.org/ns/ttml#styling}"
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_CLOCK = re.compile(r"([0-9]{2,6}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9})|:([0-9]{2,3}))?")
_OFFSET = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?(h|m|s|ms|f|t)")
_MARKS = {("fontStyle", "italic"): "i", ("fontWeight", "bold"): "b", ("textDecoration", "underline"): "u"}


class BrokenSample(Exception):
    """
    A sample that holds no cues of its kind; `reason` says why, for people.
    """

    def __init__(self, reason: Said) -> None:
        super().__init__(reason)
        self.reason = reason


# -- WebVTT in boxes ---------------------------------------------------------------------------------------------------


def read_wvtt(sample: bytes, start_ns: int, end_ns: int) -> list[Cue]:
    """
    The cues of one wvtt sample, all of which last as long as it does.

    Raises:
        BrokenSample: its boxes do not add up.
    """
    try:
        boxes = [box for box in walk(sample, 0, len(sample)) if box.kind == b"vttc"]
        contents = [
            {each.kind: sample[each.content : each.end] for each in walk(sample, b.content, b.end)} for b in boxes
        ]
    except BrokenBoxes as error:
        raise BrokenSample(BROKEN) from error
    cues = []
    for content in contents[:MAX_CUES]:
        identifier, settings, text = (_text_of(content.get(kind, b"")) for kind in (b"iden", b"sttg", b"payl"))
        text = "\n".join(line for line in text.split("\n") if line.strip())
        if text and len(text) <= MAX_TEXT_CHARS:
            settings, identifier = settings.replace("\n", " ").strip(), identifier.replace("\n", " ").strip()
            cues.append(Cue(start_ns=start_ns, end_ns=end_ns, text=text, settings=settings, identifier=identifier))
    return cues


def _text_of(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")


# -- TTML --------------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Clock:
    """
    What frames and ticks last, in nanoseconds.
    """

    frame_ns: Fraction
    tick_ns: Fraction

    def time_ns(self, text: str | None) -> int | None:
        """A time expression in nanoseconds; None when it is none."""
        text = (text or "").strip()
        if found := _CLOCK.fullmatch(text):
            hours, minutes, seconds, fraction, frames = found.groups()
            whole_ns = ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * NS
            return whole_ns + _fraction_ns(fraction) + int(int(frames or 0) * self.frame_ns)
        if found := _OFFSET.fullmatch(text):
            number, fraction, unit = found.groups()
            one_ns = {"h": 3600 * NS, "m": 60 * NS, "s": NS, "ms": NS // 1000}.get(unit)
            each_ns = Fraction(one_ns) if one_ns else self.frame_ns if unit == "f" else self.tick_ns
            return int((int(number) + Fraction(_fraction_ns(fraction), NS)) * each_ns)
        return None


def _fraction_ns(digits: str | None) -> int:
    return int((digits or "0").ljust(9, "0"))


def read_ttml(document: bytes, start_ns: int, end_ns: int) -> list[Cue]:
    """
    The cues of one stpp sample as far as it lasts. Their times count from the start of the track, as the standard has
    it; where none would be seen then, from the start of the sample, as some packagers have it.

    Raises:
        BrokenSample: it is no TTML document.
    """
    cues = list(_Reader(_parse(document)).cues())
    seen = _within(cues, start_ns, end_ns)
    if not seen:
        moved = [attrs.evolve(cue, start_ns=cue.start_ns + start_ns, end_ns=cue.end_ns + start_ns) for cue in cues]
        seen = _within(moved, start_ns, end_ns)
    return seen


def _within(cues: list[Cue], start_ns: int, end_ns: int) -> list[Cue]:
    if end_ns <= start_ns:  # the sample does not say how long it is
        return cues
    cut = [attrs.evolve(cue, start_ns=max(cue.start_ns, start_ns), end_ns=min(cue.end_ns, end_ns)) for cue in cues]
    return [cue for cue in cut if cue.start_ns < cue.end_ns]


def _parse(document: bytes) -> ElementTree.Element:
    if len(document) > MAX_BYTES:
        raise BrokenSample(TOO_LARGE)
    wide = document.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = document.decode("utf-16" if wide else "utf-8-sig", "replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BrokenSample(Said("TTML 含有文档类型声明", "the TTML has a document type declaration"))
    # As text, whatever encoding the declaration names: what was searched is what is parsed.
    declaration = text.find("?>") + 2 if text.startswith("<?xml") else 0
    try:
        return ElementTree.fromstring(text[max(declaration, 0) :])  # no DTD, so no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise BrokenSample(Said("TTML 有误", "the TTML is not well-formed")) from error


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


class _Reader:
    """
    Walks one document.
    """

    def __init__(self, root: ElementTree.Element) -> None:
        self._root = root
        rate = _number(root.get(_PARAMETER + "frameRate"), 30)
        multiplier = (root.get(_PARAMETER + "frameRateMultiplier") or "").split()
        up, down = (_number(each, 1) for each in multiplier) if len(multiplier) == 2 else (1, 1)
        self._clock = _Clock(
            frame_ns=Fraction(NS * down, rate * up), tick_ns=Fraction(NS, _number(root.get(_PARAMETER + "tickRate"), 1))
        )
        styles = [element for element in root.iter() if _local(element) == "style"]
        self._styles = {name: element.attrib for element in styles if (name := element.get(_XML_ID))}

    def cues(self) -> Iterator[Cue]:
        for body in (child for child in self._root if _local(child) == "body"):
            yield from self._cues_in(body, 0, None, 0)

    def _cues_in(self, element: ElementTree.Element, start_ns: int, end_ns: int | None, depth: int) -> Iterator[Cue]:
        """Cues of `element`, whose parent is there from `start_ns` to `end_ns`."""
        begin_ns = start_ns + (self._clock.time_ns(element.get("begin")) or 0)
        ends = [end_ns] if end_ns is not None else []
        if (given_ns := self._clock.time_ns(element.get("end"))) is not None:
            ends.append(start_ns + given_ns)
        if (lasts_ns := self._clock.time_ns(element.get("dur"))) is not None:
            ends.append(begin_ns + lasts_ns)
        until_ns = min(ends, default=None)
        if _local(element) == "p":
            if until_ns is not None and begin_ns < until_ns and (text := self._text(element)):
                yield Cue(start_ns=begin_ns, end_ns=until_ns, text=text)
        elif depth < MAX_DEPTH:
            for child in element:
                yield from self._cues_in(child, begin_ns, until_ns, depth + 1)

    def _text(self, paragraph: ElementTree.Element) -> str:
        """A payload as WebVTT writes it."""
        lines = "".join(self._pieces(paragraph, 0))[:MAX_TEXT_CHARS].split("\n")
        return "\n".join(kept for line in lines if (kept := line.strip()))

    def _pieces(self, element: ElementTree.Element, depth: int) -> Iterator[str]:
        marks = self._marks(element.attrib)
        yield "".join(f"<{mark}>" for mark in marks)
        yield _escaped(element.text)
        for child in element:
            if _local(child) == "br":
                yield "\n"
            elif _local(child) == "span" and depth < MAX_DEPTH:
                yield from self._pieces(child, depth + 1)
            yield _escaped(child.tail)
        yield "".join(f"</{mark}>" for mark in reversed(marks))

    def _marks(self, attributes: Mapping[str, str]) -> list[str]:
        found = dict.fromkeys(self._own_marks(attributes))
        for name in (attributes.get("style") or "").split():
            found.update(dict.fromkeys(self._own_marks(self._styles.get(name, {}))))
        return list(found)

    @staticmethod
    def _own_marks(attributes: Mapping[str, str]) -> list[str]:
        return [mark for (name, value), mark in _MARKS.items() if attributes.get(_STYLING + name) == value]


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) and int(text) else default


def _escaped(text: str | None) -> str:
    """White space as XML has it by default: a line end is a space."""
    plain = re.sub(r"[ \t\r\n]+", " ", text or "")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
