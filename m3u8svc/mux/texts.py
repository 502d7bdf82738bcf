"""
Text tracks of an MP4 (mov_text, which MP4 calls tx3g), through libav's encoder.

A bare track of packets would get an incomplete sample description, so texts go through the encoder, as ASS events
(reference/merge.md, trap 16). The muxer's own rules (movenc.c) are these: a text track always starts with an empty
sample, and another follows every text whose end it sees pass. A text that starts where the one before it ends would
then share its time with such an empty sample, so every text is written one tick shorter than it is. An empty sample is
two bytes; that is how texts are counted again in the finished file, and how a track without any is found, whose `trak`
box is made a `free` one.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Disposition
from av.subtitles.subtitle import SubtitleSet

from m3u8svc.mux.cues import Sample
from m3u8svc.mux.fmp4 import Box, walk
from m3u8svc.mux.language import iso_639_2
from m3u8svc.mux.output import TargetFile, survive
from m3u8svc.mux.protocol import TrackInfo
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.verify import count_texts
from m3u8svc.mux.webvtt import MAX_TEXT_CHARS, Tag, Text, parse_markup

RATE = 90_000
MAX_SHOWN_CHARS = MAX_TEXT_CHARS
"""How much of several texts one sample may show: it has at most 65535 bytes."""

# What the encoder makes the sample description of: fonts and colours are its defaults.
_HEADER = b"""[Script Info]
ScriptType: v4.00+
PlayResX: 384
PlayResY: 288

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class TextStream:
    """
    A text track of one file. `read` counts texts that were to be written, `written` those that were.
    """

    kind = "subtitle"

    def __init__(self, output: OutputContainer, info: TrackInfo) -> None:
        self._output = output
        self._stream = output.add_stream("mov_text")
        self._encoder = self._stream.codec_context
        self._encoder.subtitle_header = _HEADER
        self._encoder.time_base = self._stream.time_base = Fraction(1, RATE)
        if language := iso_639_2(info.language):
            self._stream.metadata["language"] = language
        if info.name:
            self._stream.metadata["title"] = self._stream.metadata["handler_name"] = info.name
        flags = (Disposition.default, info.default), (Disposition.forced, info.forced)
        self._stream.disposition = sum((flag for flag, wanted in flags if wanted), Disposition(0))
        self._start: int | None = None
        self._end = 0
        self.read = self.written = self.dropped = 0

    @property
    def span_s(self) -> float:
        """From the first text's start to the last one's end."""
        return 0.0 if self._start is None else (self._end - self._start) / RATE

    def write(self, sample: Sample) -> None:
        """Hand one text to the muxer."""
        start, end = max(_ticks(sample.start_ns), self._end), _ticks(sample.end_ns)
        text = as_ass(sample.texts)
        if end - start < 2 or not text:
            return
        self.read += 1
        self._start, self._end = start if self._start is None else self._start, end
        event = SubtitleSet.create(text=b"0,0,Default,,0,0,0,," + text.encode(), start=0, end=1)
        try:
            packet: Any = self._encoder.encode_subtitle(event)  # Any: generic, but only in the stubs
            packet.dts = packet.pts = start
            packet.duration = end - start - 1
            packet.time_base = Fraction(1, RATE)
            packet.stream = self._stream
            self._output.mux_one(packet)
            self.written += 1
        except (av.FFmpegError, OSError, ValueError) as error:
            survive(error)
            self.dropped += 1


def _ticks(time_ns: int) -> int:
    return (time_ns * RATE + NS // 2) // NS


def as_ass(texts: Iterable[str]) -> str:
    """
    Payloads, one above the other, as an ASS event has them: b, i and u as override codes, nothing else.
    """
    pieces: list[str] = []
    shown = 0
    for text in texts:
        shown += len(text)
        if pieces and shown > MAX_SHOWN_CHARS:
            break
        if pieces:
            pieces.append("\\N")
        on = {"b": 0, "i": 0, "u": 0}
        for piece in parse_markup(text):
            if isinstance(piece, Text):
                pieces.append(_ass_text(piece.text))
            elif piece.name in on:
                pieces.append(_ass_switch(on, piece))
            elif piece.name == "rt":
                pieces.append(")" if piece.closing else "(")
        pieces += [f"{{\\{name}0}}" for name, count in on.items() if count]
    return "".join(pieces)


def _ass_switch(on: dict[str, int], tag: Tag) -> str:
    """The code that `tag` means, given how many of its kind are open."""
    before = on[tag.name]
    on[tag.name] = max(0, before + (-1 if tag.closing else 1))
    return f"{{\\{tag.name}{int(on[tag.name] > 0)}}}" if (before > 0) != (on[tag.name] > 0) else ""


def _ass_text(text: str) -> str:
    """Characters that are only characters: a word joiner, which is not seen, takes a code its meaning."""
    plain = re.sub(r"\\(?=[nN])|{(?=\\)", lambda found: found.group() + "\u2060", text)
    return plain.replace("\n", "\\N")


# -- The finished file -------------------------------------------------------------------------------------------------


def leave_out_empty(file: TargetFile) -> None:
    """
    Make a `free` box of every text track of a closed file that has only empty samples.
    """
    for at, moov in _moov(file):
        for trak in (box for box in walk(moov, 0, len(moov)) if box.kind == b"trak"):
            if _texts_in(moov, trak) == 0:
                file.seek(at + trak.start + 4)
                file.write(b"free")


def _moov(file: TargetFile) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 8 <= file.size_bytes:
        head = file.pread(16, at)
        size, header = int.from_bytes(head[:4]), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16]), 16
        if size < header:
            return  # verification will say
        if head[4:8] == b"moov":
            yield at + header, file.pread(size - header, at + header)
        at += size


def _texts_in(moov: bytes, trak: Box) -> int | None:
    """How many samples of a text track hold a text; None for another kind of track."""
    mdia = _child(moov, trak, b"mdia")
    handler = _child(moov, mdia, b"hdlr").content
    if moov[handler + 8 : handler + 12] != b"sbtl":
        return None
    return count_texts(moov, _child(moov, _child(moov, _child(moov, mdia, b"minf"), b"stbl"), b"stsz"))


def _child(moov: bytes, parent: Box, kind: bytes) -> Box:
    return next(box for box in walk(moov, parent.content, parent.end) if box.kind == kind)
