"""
Subtitle tracks in the child: their segments in, a mov_text track in the MP4 and side-car files out.

A subtitle track reads its own orders, as far as audio and video have come and never further: its cues are written with
the pictures they belong to, and what is written does not depend on when segments arrived. Between cues nothing is
written. A track without a cue is left out of the file, and no reason to fail.
"""

import io
import os
import re
from collections.abc import Callable, Iterable
from typing import BinaryIO

import attrs
import av
from av.container import OutputContainer

from m3u8svc.mux.cues import JOIN_NS, CueList, Placer, Sample, Segment, Stretch
from m3u8svc.mux.feed import NO_INIT, taken_as_missing
from m3u8svc.mux.fmp4 import Box, BrokenBoxes, walk
from m3u8svc.mux.orders import Orders
from m3u8svc.mux.output import NEW, OpenFile
from m3u8svc.mux.protocol import Feed, Outbox, TrackInfo
from m3u8svc.mux.texts import TextStream
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.ttml import BROKEN, BrokenSample, read_ttml, read_wvtt
from m3u8svc.mux.webvtt import (
    MAX_BLOCKS,
    MAX_BYTES,
    TOO_LARGE,
    Cue,
    Document,
    NotWebVtt,
    parse_webvtt,
    write_srt,
    write_webvtt,
)
from m3u8svc.nofollow import read_file
from m3u8svc.wording import Said, joined, said

STEP_NS = NS
"""How far it lets others go while nobody knows what they are about to do."""
UNSURE_NS = NS
"""How much of the end of a segment may be not the end of its cues: playlist and media do not agree to the frame."""
MAX_CUES = 50_000
"""How many cues a track may have in all."""
ALIVE_EVERY = 1000
"""After so many texts in a row we say that we are not hanging."""
_SLUG_BYTES = 24
"""A film's name may have 200 bytes, and a file's name 255."""


@attrs.frozen(kw_only=True)
class Ahead:
    """
    What audio and video are about to do: they read a segment that stands from `start_s` to `end_s` in the main
    playlist, and write up to `horizon_ns`.
    """

    start_s: float
    end_s: float
    horizon_ns: int


class SubtitleTrack:
    """
    One subtitle track: reads its orders, places its cues, writes its texts into the file of the time. It takes its turn
    among the other tracks by `position_ns`; `look` says what they are about to do, None while nobody knows.
    """

    def __init__(self, info: TrackInfo, orders: Orders, outbox: Outbox, look: Callable[[], Ahead | None]) -> None:
        self.info = info
        self.position_ns = 0
        self.over = False
        self._orders = orders
        self._outbox = outbox
        self._look = look
        self._told: set[str] = set()
        self._placer = Placer(self._tell)
        self.files: list[tuple[TextStream, CueList]] = []
        """What it has in each file: the first is the target."""
        self.blocks: dict[str, None] = {}
        """STYLE and REGION blocks, each once."""
        self._covered_s = 0.0
        self._heard_all = False
        self._count = 0

    @property
    def label(self) -> str:
        """What people know it by."""
        return self.info.name or self.info.language or self.info.track

    def begin_file(self, output: OutputContainer) -> "TextStream":
        """Take a stream in a new file, before its header is written."""
        if self.files:
            self._placer.begin_file()
        stream = TextStream(output, self.info)
        self.files.append((stream, self._placer.list))
        return stream

    def enter(self, stretch: Stretch) -> None:
        """Audio and video go on with another offset."""
        self._placer.enter(stretch)

    def pull(self) -> None:
        """Take the segments, and write the texts, that the others are about to come to."""
        ahead = self._look()
        if ahead is None:
            self.position_ns += STEP_NS
            return
        self._take_until(ahead.end_s)
        self._placer.advance(playlist_s=ahead.start_s, horizon_ns=ahead.horizon_ns)
        settled_ns = ahead.horizon_ns
        if not self._heard_all:  # a piece in the next segment may make a cue longer
            settled_ns = min(settled_ns, self._placer.out_ns(self._covered_s) - UNSURE_NS)
        self._write(self._placer.samples(settled_ns=settled_ns))
        self.position_ns = max(ahead.horizon_ns, self.position_ns + STEP_NS)

    def end_file(self, end_ns: int) -> None:
        """Audio and video go on in another file: write what is left for this one, which ends at `end_ns`."""
        self._write(self._placer.end_file(end_ns))

    def finish(self, end_ns: int) -> None:
        """Audio and video are over, at `end_ns` of the last file: take and write the rest."""
        self._take_until(float("inf"))
        self._write(self._placer.finish(end_ns))
        if self._placer.left:
            zh, en = "{count} 条字幕没有对应的画面，未写入", "{count} subtitles without a picture are left out"
            self._outbox.warn(self.info.track, 0, said(zh, en, count=self._placer.left))
        if not any(stream.written for stream, _ in self.files):
            zh, en = "字幕 {label} 没有内容，未写入", "the subtitles {label} are empty, they are left out"
            self._outbox.warn(self.info.track, 0, said(zh, en, label=self.label))
        self.over = True

    def rebase(self, origin_ns: int) -> None:
        """Go on in a new file, which begins at `origin_ns` of this one."""
        self.position_ns -= origin_ns

    def _write(self, samples: Iterable[Sample]) -> None:
        stream, _ = self.files[-1]
        for count, sample in enumerate(samples, 1):
            stream.write(sample)
            if count % ALIVE_EVERY == 0:
                self._outbox.alive()

    # -- Reading -------------------------------------------------------------------------------------------------------

    def _take_until(self, end_s: float) -> None:
        """Take segments until they cover the playlist to `end_s`."""
        while not self._heard_all and self._covered_s < end_s - 0.001:
            self._take()

    def _take(self) -> None:
        order = self._orders.take(self.info.track)
        if order is None:
            self._heard_all = True
            return
        if isinstance(order, Feed):
            self._outbox.opened(self.info.track, order.number)
            self._covered_s = order.start_s
            try:
                self._add(order, read_segment(order))
            except (NotWebVtt, BrokenSample, BrokenBoxes) as damage:
                reason = str(damage) if isinstance(damage, BrokenBoxes) else damage.reason
                self._outbox.warn(self.info.track, order.number, taken_as_missing(reason))
        self._covered_s += order.duration_s
        self._outbox.taken(self.info.track, order.number)

    def _add(self, order: Feed, found: "Found") -> None:
        document = found.document
        self._count += len(document.cues)
        if self._count > MAX_CUES:
            zh, en = "字幕超过 {most} 条，其余未写入", "more than {most} subtitles, the rest is left out"
            self._tell(order.number, said(zh, en, most=MAX_CUES))
            return
        if document.skipped_count:
            self._outbox.warn(self.info.track, order.number, _skipped(document))
        for block in document.blocks:
            if len(self.blocks) < MAX_BLOCKS:
                self.blocks.setdefault(block)
        self._placer.add(
            Segment(
                number=order.number,
                splice=order.splice,
                start_s=order.start_s,
                duration_s=order.duration_s,
                cues=document.cues,
                mapped=document.timestamp_map,
                on_media_clock=found.on_media_clock,
            )
        )

    def _tell(self, number: int, text: Said) -> None:
        """Warn once of each kind."""
        if text not in self._told:
            self._told.add(text)
            self._outbox.warn(self.info.track, number, text)


def _skipped(document: Document) -> Said:
    """
    What of a file was no usable cue.
    """
    zh, en = "第 {line} 行{reason}", "line {line} {reason}"
    each = (said(zh, en, line=skipped.line, reason=skipped.reason) for skipped in document.skipped[:3])
    named = joined(each, zh="，", en=", ")
    if document.skipped_count > 3:
        zh, en = "{named} 等 {count} 处", "{named} and others, {count} in all"
        named = said(zh, en, named=named, count=document.skipped_count)
    return said("跳过了有误的字幕：{named}", "subtitles with a mistake were skipped: {named}", named=named)


# -- Segments ----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Found:
    """
    What a segment holds, and whether its times are the media's own.
    """

    document: Document
    on_media_clock: bool = False


def read_segment(order: Feed) -> Found:
    """
    Read one subtitle segment.

    Raises:
        NotWebVtt, BrokenSample, BrokenBoxes: it holds no cues of a kind we know.
        OSError: the disk's fault.
    """
    with read_file(order.path) as file:
        body = _read(file)
    if order.kind == "vtt":
        return Found(document=parse_webvtt(body))
    if order.kind != "fmp4":
        raise BrokenSample(said("{kind} 不是字幕", "{kind} is no subtitles", kind=order.kind))
    if order.init is None:
        raise BrokenSample(NO_INIT)
    with read_file(order.init) as file:
        init = _read(file)
    reader = {b"wvtt": read_wvtt, b"stpp": read_ttml}.get(_sample_entry(init))
    if reader is None:
        raise BrokenSample(Said("暂不支持这种字幕编码", "subtitles of this codec cannot be read yet"))
    cues = [cue for sample, start_ns, end_ns in _samples(init + body) for cue in reader(sample, start_ns, end_ns)]
    return Found(document=Document(cues=tuple(_joined(cues))), on_media_clock=True)


def _read(file: BinaryIO) -> bytes:
    body = file.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise BrokenSample(TOO_LARGE)
    return body


def _samples(file: bytes) -> list[tuple[bytes, int, int]]:
    """The samples of an fMP4 with one track: bytes, start and end. libav knows the container, not what is in it."""
    samples = []
    try:
        container = av.open(io.BytesIO(file), "r", format="mp4", io_open=_refuse_open, metadata_errors="replace")
        for packet in container.demux():
            if packet.size and packet.pts is not None and packet.time_base is not None:
                start_ns = int(packet.pts * packet.time_base * NS)
                samples.append(
                    (bytes(packet), start_ns, start_ns + int((packet.duration or 0) * packet.time_base * NS))
                )
    except (av.FFmpegError, IndexError) as error:
        raise BrokenSample(BROKEN) from error
    return samples


def _refuse_open(url: str, flags: int, options: dict[str, str]) -> None:
    raise PermissionError("the demuxer asked for another file")


def _sample_entry(init: bytes) -> bytes:
    """The type of the first sample description."""
    box = Box(kind=b"", start=0, content=0, end=len(init))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        inner = [each for each in walk(init, box.content, box.end) if each.kind == kind]
        if not inner:
            return b""
        box = inner[0]
    return init[box.content + 12 : box.content + 16]


def _joined(cues: list[Cue]) -> list[Cue]:
    """A cue that goes on from sample to sample is one."""
    last: dict[tuple[str, str, str], int] = {}
    joined: list[Cue] = []
    for cue in cues:
        key = cue.text, cue.settings, cue.identifier
        at = last.get(key)
        if at is not None and -JOIN_NS <= cue.start_ns - joined[at].end_ns <= JOIN_NS:
            joined[at] = attrs.evolve(joined[at], end_ns=cue.end_ns)
        else:
            last[key] = len(joined)
            joined.append(cue)
    return joined


# -- Side-car files ----------------------------------------------------------------------------------------------------


def write_files(
    target: str,
    tracks: Iterable[SubtitleTrack],
    kinds: Iterable[str],
    outbox: Outbox,
    open_file: OpenFile,
) -> list[dict[str, str]]:
    """
    Write and sync a file of each kind beside `target` for every track that says something; returns their paths and
    suffixes, as `done` reports them.
    """
    companions: list[dict[str, str]] = []
    suffixes = Suffixes()
    for track in tracks:
        if not any(stream.written for stream, _ in track.files):
            continue
        stem = suffixes.stem(track.info)
        for number, (stream, cues) in enumerate(track.files, 1):
            prefix = f"p{number}." if number > 1 else ""
            for kind in kinds if stream.written else ():
                path = f"{target}.{len(companions) + 1}.{kind}"
                text = write_srt(cues) if kind == "srt" else write_webvtt(cues, blocks=track.blocks)
                _write_synced(path, text, open_file)
                outbox.alive()
                companions.append({"path": path, "suffix": f"{prefix}{stem}.{kind}"})
    return companions


class Suffixes:
    """
    Names for the side-car files of tracks, each once: "en", "en.2", "en.forced", "und".
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def stem(self, info: TrackInfo) -> str:
        """The name of one track."""
        stem = _slug(info.language) or _slug(info.name) or "und"
        if info.forced:
            stem += ".forced"
        name, number = stem, 1
        while name.lower() in self._taken:
            number += 1
            name = f"{stem}.{number}"
        self._taken.add(name.lower())
        return name


def _slug(text: str) -> str:
    """What of `text` may stand in a file's name."""
    words = "-".join(re.findall(r"\w+", text[:1000]))
    return words.encode("utf-8", "ignore")[:_SLUG_BYTES].decode("utf-8", "ignore").strip("-")


def _write_synced(path: str, text: str, open_file: OpenFile) -> None:
    """A new file, mode 0600, on disk."""
    with os.fdopen(open_file(path, NEW), "wb") as file:
        file.write(text.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())
