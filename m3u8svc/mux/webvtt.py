"""
WebVTT: read with tolerance, timed by X-TIMESTAMP-MAP, written again as WebVTT or SubRip. Pure; no libav.

The theory. A segment is text from a stranger. What is no cue is skipped with its line and its reason, never guessed at;
what is a cue is kept as it was written, markup included, because a side-car file should lose nothing. Every step is
linear in the size of the text, and everything that could grow has a bound.

A cue's time is on the subtitle packager's own clock. `X-TIMESTAMP-MAP=MPEGTS:m,LOCAL:l` says that cue time `l` is the
33-bit media time `m`; so a cue is at `m / 90000 + cue - l` on the clock of the audio and video of its splice. Without
that line a cue's time counts from the start of the presentation. Who knows the clocks is `subtitles.py`.
"""

import html
import re
from collections.abc import Iterable, Iterator

import attrs

from m3u8svc.wording import Said, said

MAX_BYTES = 8 * 1024 * 1024
MAX_CUES = 20_000
TOO_LARGE = Said(f"字幕超过 {MAX_BYTES >> 20} MiB", f"the subtitles have more than {MAX_BYTES >> 20} MiB")
MAX_LINE_CHARS = 10_000
MAX_TEXT_CHARS = 10_000
MAX_BLOCKS = 100
"""How many STYLE and REGION blocks of a file are kept."""
MAX_SKIPPED = 20
"""How many skipped cues are named one by one."""

_MS = 1_000_000
_BOM = b"\xef\xbb\xbf"
_ARROW = "-->"
_MAP = "X-TIMESTAMP-MAP"
# Every quantifier is bounded and nothing nests: matching cannot go back and forth.
_TIME = re.compile(r"(?:([0-9]{1,6}):)?([0-9]{1,2}):([0-9]{1,2})[.,]([0-9]{1,3})")
_TIMING = re.compile(
    rf"[ \t]{{0,100}}({_TIME.pattern})[ \t]{{0,100}}-->[ \t]{{0,100}}({_TIME.pattern})(?:[ \t]+(.*)|$)"
)
_TIME_TAG = re.compile(rf"<({_TIME.pattern})>")
# With a bound: html.unescape makes an int of any number of digits, and Python refuses very long ones.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{0,31});")
_DIGITS = re.compile(r"[0-9]{1,12}")


class NotWebVtt(Exception):
    """
    This text is no WebVTT file; `reason` says why, for people.
    """

    def __init__(self, reason: Said) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.frozen(kw_only=True)
class Cue:
    """
    One text and when it is shown. `text` is the payload as written: lines joined by a newline, tags and entities in it.
    """

    start_ns: int
    end_ns: int
    text: str
    settings: str = ""
    identifier: str = ""


@attrs.frozen(kw_only=True)
class TimestampMap:
    """
    X-TIMESTAMP-MAP: cue time `local_ns` is the 33-bit media time `mpegts` (90 kHz).
    """

    mpegts: int
    local_ns: int


@attrs.frozen(kw_only=True)
class Skipped:
    """
    A block that was no usable cue, and the line (from 1) it starts at.
    """

    line: int
    reason: Said


@attrs.frozen(kw_only=True)
class Document:
    """
    A WebVTT file. `blocks` are its STYLE and REGION blocks, whole. `skipped` names the first of `skipped_count`.
    """

    cues: tuple[Cue, ...] = ()
    timestamp_map: TimestampMap | None = None
    blocks: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0


def parse_webvtt(body: bytes) -> Document:
    """
    Read a WebVTT file or segment; one without a cue is a file like any other.

    Raises:
        NotWebVtt: the signature is missing, or it is too large.
    """
    if len(body) > MAX_BYTES:
        raise NotWebVtt(TOO_LARGE)
    text = body.removeprefix(_BOM).decode("utf-8", "replace").replace("\0", "\ufffd")
    # Not splitlines(): it also splits at U+2028 and others, which are characters of a subtitle like any other.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[0].startswith("WEBVTT") or lines[0][6:7] not in ("", " ", "\t"):
        raise NotWebVtt(Said("缺少 WEBVTT 标识", "the WEBVTT signature is not there"))
    return _Reader(lines).read()


class _Reader:
    """
    One pass over the lines of a file.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 1
        self._cues: list[Cue] = []
        self._map: TimestampMap | None = None
        self._blocks: list[str] = []
        self._skipped: list[Skipped] = []
        self._skipped_count = 0

    def read(self) -> Document:
        self._read_header()
        while self._at < len(self._lines):
            if not self._lines[self._at].strip(" \t"):
                self._at += 1
            elif len(self._cues) + self._skipped_count >= MAX_CUES:
                zh, en = "字幕超过 {most} 条，其余未读", "is behind {most} subtitles, the rest is not read"
                self._skip(self._at, said(zh, en, most=MAX_CUES))
                break
            else:
                self._read_block()
        return Document(
            cues=tuple(self._cues),
            timestamp_map=self._map,
            blocks=tuple(self._blocks),
            skipped=tuple(self._skipped),
            skipped_count=self._skipped_count,
        )

    def _read_header(self) -> None:
        """Lines up to the first blank one; a cue may follow without one."""
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip(" \t") or _ARROW in line:
                return
            self._at += 1
            self._read_map(line)

    def _read_map(self, line: str) -> bool:
        if not line.lstrip().startswith(_MAP):
            return False
        found = parse_timestamp_map(line)
        if found is None:
            self._skip(self._at - 1, Said("X-TIMESTAMP-MAP 有误", "has a wrong X-TIMESTAMP-MAP"))
        elif self._map is None:
            self._map = found
        return True

    def _read_block(self) -> None:
        """From a line that is not blank to the next one that is."""
        first = self._at
        line = self._lines[first]
        if _ARROW in line:
            self._read_cue(first, identifier="")
            return
        if line.startswith(("STYLE", "REGION")) and not line[5 if line.startswith("STYLE") else 6 :].strip():
            self._at += 1
            block = "\n".join([line.rstrip(), *self._payload()])
            if len(self._blocks) < MAX_BLOCKS and len(block) <= MAX_TEXT_CHARS:
                self._blocks.append(block)
            return
        if line == "NOTE" or line.startswith(("NOTE ", "NOTE\t")):
            self._at += 1
            self._payload()
            return
        self._at += 1
        if not self._cues and self._read_map(line):  # some packagers put a blank line before it
            return
        if self._at < len(self._lines) and _ARROW in self._lines[self._at]:
            self._read_cue(first, identifier=line)
            return
        self._payload()
        self._skip(first, Said("缺少时间行", "has no times"))

    def _read_cue(self, first: int, *, identifier: str) -> None:
        timing = self._lines[self._at]
        self._at += 1
        payload = self._payload()
        text = "\n".join(payload)
        if any(len(each) > MAX_LINE_CHARS for each in (timing, identifier, *payload)) or len(text) > MAX_TEXT_CHARS:
            self._skip(first, Said("内容过长", "is too long"))
            return
        times = _parse_timing(timing)
        if times is None:
            self._skip(first, Said("时间行有误", "has wrong times"))
            return
        start_ns, end_ns, settings = times
        if end_ns <= start_ns:
            self._skip(first, Said("结束时间不晚于开始时间", "ends no later than it begins"))
        elif text.strip():  # a cue without text shows nothing
            self._cues.append(
                Cue(start_ns=start_ns, end_ns=end_ns, text=text, settings=settings, identifier=identifier)
            )

    def _payload(self) -> list[str]:
        """The lines up to a blank one or to the next timing line."""
        start = self._at
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if not line.strip(" \t") or _ARROW in line:
                break
            self._at += 1
        return self._lines[start : self._at]

    def _skip(self, index: int, reason: Said) -> None:
        self._skipped_count += 1
        if len(self._skipped) < MAX_SKIPPED:
            self._skipped.append(Skipped(line=index + 1, reason=reason))


def parse_timestamp_map(line: str) -> TimestampMap | None:
    """
    The value of an X-TIMESTAMP-MAP line, its parts in any order; None when it is broken.
    """
    name, equals, value = line[:MAX_LINE_CHARS].partition("=")
    if name.strip() != _MAP or not equals:
        return None
    mpegts: int | None = None
    local_ns: int | None = None
    for part in value.split(","):
        key, _, number = part.partition(":")
        key, number = key.strip().upper(), number.strip()
        if key == "MPEGTS" and _DIGITS.fullmatch(number):
            mpegts = int(number) & ((1 << 33) - 1)
        elif key == "LOCAL":
            local_ns = parse_time(number)
    if mpegts is None or local_ns is None:
        return None
    return TimestampMap(mpegts=mpegts, local_ns=local_ns)


def parse_time(text: str) -> int | None:
    """
    `[hours:]mm:ss.mmm` in nanoseconds; None when it is no time.
    """
    found = _TIME.fullmatch(text)
    return None if found is None else _time_ns(found.groups())


def _parse_timing(line: str) -> tuple[int, int, str] | None:
    found = _TIMING.match(line)
    if found is None:
        return None
    start_ns, end_ns = _time_ns(found.group(2, 3, 4, 5)), _time_ns(found.group(7, 8, 9, 10))
    if start_ns is None or end_ns is None:
        return None
    return start_ns, end_ns, (found.group(11) or "").strip()


def _time_ns(parts: tuple[str | None, ...]) -> int | None:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    if int(minutes) > 59 or int(seconds) > 59:
        return None
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 * _MS + int(fraction.ljust(3, "0")) * _MS


# -- Markup ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Text:
    """
    Characters, entities resolved.
    """

    text: str


@attrs.frozen
class Tag:
    """
    A start or end tag; `name` without classes and annotation, lower case.
    """

    name: str
    closing: bool


def parse_markup(text: str) -> Iterator[Text | Tag]:
    """
    A payload in pieces. Time tags are left out; a "<" that starts no tag is a character.
    """
    at = 0
    while at < len(text):
        opening = _find_tag(text, at)
        end = text.find(">", opening) if opening >= 0 else -1
        if end < 0:
            yield Text(unescape(text[at:]))
            return
        if opening > at:
            yield Text(unescape(text[at:opening]))
        at = end + 1
        closing = text[opening + 1] == "/"
        name = re.split(r"[ \t\n./]", text[opening + 1 + closing : end], maxsplit=1)[0].lower()
        if name.isalpha() or closing:
            yield Tag(name, closing)


def _find_tag(text: str, at: int) -> int:
    """Where the next "<" stands that may start a tag; -1 without one."""
    while (at := text.find("<", at)) >= 0:
        following = text[at + 1 : at + 2]
        if following == "/" or (following.isascii() and following.isalpha()) or _TIME_TAG.match(text, at):
            return at
        at += 1
    return -1


def unescape(text: str) -> str:
    """
    Resolve character references that end in a semicolon.
    """
    return _REFERENCE.sub(lambda found: html.unescape(found.group()), text)


def plain_text(text: str, *, keep: Iterable[str] = ()) -> str:
    """
    What a payload says, without markup but for the tags in `keep`. The reading of a ruby text goes into brackets.
    """
    kept = frozenset(keep)
    pieces = []
    for piece in parse_markup(text):
        if isinstance(piece, Text):
            pieces.append(piece.text)
        elif piece.name in kept:
            pieces.append(f"</{piece.name}>" if piece.closing else f"<{piece.name}>")
        elif piece.name == "rt":
            pieces.append(")" if piece.closing else "(")
    return "".join(pieces)


def shift(cue: Cue, by_ns: int) -> Cue:
    """
    The cue `by_ns` later, the time tags in its text too.
    """

    def moved(found: re.Match[str]) -> str:
        time_ns = parse_time(found.group(1))
        return "" if time_ns is None else f"<{format_time(time_ns + by_ns)}>"

    text = _TIME_TAG.sub(moved, cue.text) if "<" in cue.text else cue.text
    return attrs.evolve(cue, start_ns=cue.start_ns + by_ns, end_ns=cue.end_ns + by_ns, text=text)


# -- Writing -----------------------------------------------------------------------------------------------------------


def write_webvtt(cues: Iterable[Cue], *, blocks: Iterable[str] = ()) -> str:
    """
    A WebVTT file of `cues`, in order of time.
    """
    pieces = ["WEBVTT", *(_payload_lines(block) for block in blocks)]
    for cue in _sorted(cues):
        timing = f"{format_time(cue.start_ns)} --> {format_time(cue.end_ns)} {cue.settings}".rstrip()
        identifier = [cue.identifier] if cue.identifier.strip() and _ARROW not in cue.identifier else []
        pieces.append("\n".join([*identifier, timing, _payload_lines(cue.text)]))
    return "\n\n".join(pieces) + "\n"


def write_srt(cues: Iterable[Cue]) -> str:
    """
    A SubRip file of `cues`, in order of time, with no other tags than b, i and u.
    """
    pieces = []
    for number, cue in enumerate(_sorted(cues), 1):
        timing = f"{format_time(cue.start_ns)} --> {format_time(cue.end_ns)}".replace(".", ",")
        pieces.append(f"{number}\n{timing}\n{_lines(plain_text(cue.text, keep='biu'))}\n")
    return "\n".join(pieces)


def format_time(time_ns: int) -> str:
    """
    hh:mm:ss.mmm, to the nearest millisecond, never below 0.
    """
    total_ms = max(0, (time_ns + _MS // 2) // _MS)
    seconds, ms = divmod(total_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}.{ms:03}"


def _sorted(cues: Iterable[Cue]) -> list[Cue]:
    return sorted(cues, key=lambda cue: (cue.start_ns, cue.end_ns))


def _lines(text: str) -> str:
    """No blank line: it would end the cue."""
    return "\n".join(line for line in text.split("\n") if line.strip())


def _payload_lines(text: str) -> str:
    return _lines(text).replace(_ARROW, "--&gt;")
