"""
Playlist text and the URL it came from -> a playlist value, or an error that names the line and the tag.

Three steps. `lines.readable_lines` turns bytes into numbered lines under the limits, and `variables` replaces what
EXT-X-DEFINE defines. `_normalised` makes of them what the library's tokenizer cannot stumble over: bare tag names,
absolute ASCII URIs, an EXTINF before every segment. Then `tokens.tokenize` walks over it and our tag readers read.

Rules are named as in the conformance list (G general, S segment, L media playlist, M multivariant); tests/conformance
has examples of each. What can be read is read, with a warning; what would give wrong bytes (a lost byte range, an
unknown IV, a missing key) is refused.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import attrs

from m3u8svc.hls.dateranges import DateRanges, read_date
from m3u8svc.hls.keys import Encryption, KeyRing
from m3u8svc.hls.lines import (
    MAX_OFFSET,
    Line,
    Reading,
    Warnings,
    byterange,
    lenient_number,
    lenient_whole,
    printable,
    read_version,
    readable_lines,
    repeated,
    seconds,
    shown,
    too_large,
    whole_number,
    wrong,
)
from m3u8svc.hls.multivariant import TAGS as MASTER_TAGS
from m3u8svc.hls.multivariant import parse_multivariant
from m3u8svc.hls.playlist import (
    ByteRange,
    InitSection,
    Key,
    MediaPlaylist,
    Playlist,
    PlaylistType,
    Segment,
    SegmentColumns,
    SegmentList,
)
from m3u8svc.hls.tokens import State, TagReader, segment_under_way, tokenize
from m3u8svc.hls.uri import path_of
from m3u8svc.hls.variables import Variables
from m3u8svc.wording import Said

MAX_SEGMENTS = 200_000
MAX_MAPS = 10_000
MAX_LINK_BYTES = 256 * 1024 * 1024
"""Of all segments together: a long base before short names makes much of little."""
MAX_DURATION_S = 10_000_000.0

_MARKS = frozenset(
    ["#EXT-OATCLS-SCTE35", "#EXT-X-CUE", "#EXT-X-SCTE35", "#EXT-X-SPLICEPOINT-SCTE35"]
    + [f"#EXT-X-{name}" for name in ("CUE-OUT", "CUE-OUT-CONT", "CUE-IN", "CUE-SPAN", "ASSET", "DATERANGE")]
)


def parse_playlist(
    body: bytes | str,
    url: str,
    *,
    content_type: str = "",
    base_url: str = "",
    definitions: Mapping[str, str] | None = None,
    key_given: bool = False,
) -> Playlist:
    """
    The playlist in `body`.

    Args:
        url: its address after redirects; "" for pasted text.
        content_type: only serves the error's text.
        base_url: what relative links are relative to, instead of `url`. Like any URL of a document, it counts up to its
            last slash.
        definitions: the variables of the multivariant playlist that led here (`MasterPlaylist.definitions`).
        key_given: the user has the key (see overrides.py): DRM formats are read as if their key could be fetched.

    Raises:
        NotAPlaylist: the first line is not #EXTM3U.
        PlaylistTooLarge: over a limit.
        UnsupportedEncryption: a segment that needs DRM or a METHOD we do not know.
        PlaylistError: anything else we cannot go on with. Its fields `line`, `tag` and `kind` say what and where.
    """
    lines = readable_lines(body, url, content_type)
    variables = Variables(url or base_url, definitions)
    reading = Reading(base=base_url or url, substitute=variables.substitute, key_given=key_given)
    names = lines.names()
    master = "#EXT-X-STREAM-INF" in names or ("#EXT-X-TARGETDURATION" not in names and bool(names & MASTER_TAGS))
    read = variables.read(lines, reading)
    if "#EXTINF" in names or not master:
        if names & MASTER_TAGS:
            reading.warnings.add(
                1,
                Said(
                    "同时含有主列表和媒体列表的标签，按媒体列表处理",
                    "tags of a Multivariant Playlist and of a Media Playlist; taken as a Media Playlist",
                ),
            )
        return _parse_media(read, url, reading)
    return parse_multivariant(read, url, reading, variables)


def _parse_media(lines: Iterable[Line], url: str, reading: Reading) -> MediaPlaylist:
    warnings = reading.warnings
    taken = _Segments(warnings)
    tags = _MediaTags(reading, taken)
    tokens = tokenize(_normalised(lines, reading), tags.readers(), taken.take)
    rest = tokens["segments"][0] if tokens["segments"] else {}
    if "duration" in rest:
        warnings.add(tokens["last_line"], Said("最后一个 EXTINF 之后没有链接", "no URI follows the last EXTINF"))
    segments = taken.finish(tags)
    _warn_of_the_whole(tags, tokens, segments, warnings)
    return MediaPlaylist(
        url=url,
        segments=segments,
        target_duration_s=tags.target_duration_s,
        media_sequence=tags.media_sequence,
        discontinuity_sequence=tags.discontinuity_sequence,
        version=tags.version,
        playlist_type=tags.playlist_type,
        ended=tokens["is_endlist"],
        i_frames_only=tokens["is_i_frames_only"],
        has_keys=tags.ring.used,
        dateranges=tags.dateranges.values(),
        trailing_marks=tuple(rest.get("marks", ())),
        warnings=warnings.texts(),
    )


def _warn_of_the_whole(tags: "_MediaTags", tokens: State, segments: SegmentList, warnings: Warnings) -> None:
    """
    L1, L5, L6: what is wrong with no single line.
    """
    if tags.target_duration_s is None:
        warnings.add(0, Said("缺少 TARGETDURATION", "there is no TARGETDURATION"))
    else:
        longer = Said("分片时长超过 TARGETDURATION", "the Media Segment is longer than TARGETDURATION")
        for duration_s, line in zip(segments.durations_s, segments.lines, strict=True):
            if duration_s >= tags.target_duration_s + 0.5:  # rounded to the nearest second, it is longer
                warnings.add(line, longer)
    if tags.playlist_type is PlaylistType.VOD and not tokens["is_endlist"]:
        warnings.add(
            0, Said("VOD 列表没有 ENDLIST，按完整列表处理", "a VOD playlist without ENDLIST; taken as complete")
        )
    if tokens["is_i_frames_only"]:
        warnings.add(0, Said("列表只含关键帧（I-FRAMES-ONLY）", "the playlist has I-frames only (I-FRAMES-ONLY)"))


def _normalised(lines: Iterable[Line], reading: Reading) -> Iterator[Line]:
    """
    The lines with URIs absolute, an empty EXTINF before each URI that has none, and variants of a mixed list left out.
    """
    count = size = 0
    titled = foreign = False
    for line in lines:
        if line.name:
            titled = titled or line.name == "#EXTINF"
            foreign = line.name == "#EXT-X-STREAM-INF" or (foreign and line.name != "#EXTINF")
        elif foreign:
            foreign = False
            reading.warnings.add(
                line.number, Said("媒体列表中的码流已忽略", "a Variant Stream in a Media Playlist, ignored")
            )
            continue
        else:
            count += 1
            if count > MAX_SEGMENTS:
                raise too_large(Said("分片数", "the number of segments"), MAX_SEGMENTS)
            if not titled:
                yield Line(line.number, "#EXTINF", "")
            titled = False
            line = Line(line.number, "", reading.absolute(line, line.value))
            size += len(line.value)
            if size > MAX_LINK_BYTES:
                what = Said("链接的总字节数", "the size of all URIs in bytes")
                raise too_large(what, MAX_LINK_BYTES, line.number)
        yield line


# -- Tags ------------------------------------------------------------------------------------------------------------


@attrs.frozen(eq=False)
class _Map:
    """
    One EXT-X-MAP as written. `index` is the place of the segment after it.
    """

    uri: str = attrs.field(repr=False)
    byterange: ByteRange | None
    encryption: Encryption | None
    index: int
    line: int


class _MediaTags:
    """
    Reads the tags of a media playlist: those of the whole into itself, those of segments into the library's state.
    """

    def __init__(self, reading: Reading, segments: "_Segments") -> None:
        self._reading = reading
        self._warnings = reading.warnings
        self._segments = segments
        self._maps: set[tuple[str, ByteRange | None]] = set()
        self._given: set[str] = set()
        self._bitrate: int | None = None
        self.ring = KeyRing(reading)
        self.dateranges = DateRanges(reading)
        self.media_sequence = 0
        self.discontinuity_sequence = 0
        self.target_duration_s: float | None = None
        self.version = 1
        self.playlist_type: PlaylistType | None = None

    def readers(self) -> dict[str, TagReader]:
        """Which method reads which tag."""
        readers: dict[str, TagReader] = {
            "#EXTINF": self._extinf,
            "#EXT-X-BYTERANGE": self._byterange,
            "#EXT-X-KEY": self._key,
            "#EXT-X-MAP": self._map,
            "#EXT-X-BITRATE": self._read_bitrate,
            "#EXT-X-DISCONTINUITY": self._discontinuity,
            "#EXT-X-PROGRAM-DATE-TIME": self._program_date_time,
            "#EXT-X-SKIP": self._skip,
            "#EXT-X-MEDIA-SEQUENCE": self._media_sequence,
            "#EXT-X-DISCONTINUITY-SEQUENCE": self._discontinuity_sequence,
            "#EXT-X-TARGETDURATION": self._target_duration,
            "#EXT-X-PLAYLIST-TYPE": self._playlist_type,
            "#EXT-X-VERSION": self._version,
        }
        return readers | dict.fromkeys(_MARKS, self._mark) | {"#EXT-X-DATERANGE": self._daterange}

    def _extinf(self, line: Line, data: State, state: State) -> None:
        length, _, title = line.value.partition(",")
        segment = segment_under_way(state)
        segment["duration"] = self._duration(line, length.strip())
        segment["title"] = printable(title.strip())
        segment["bitrate"] = self._bitrate
        state["expect_segment"] = True

    def _duration(self, line: Line, text: str) -> float:
        # Lists made for television put attributes behind the number, before the comma.
        text = text.split(None, 1)[0] if text else ""
        if not text:
            self._warnings.add(
                line.number, Said("分片没有时长，按 0 秒处理", "the Media Segment has no duration; taken as 0 s")
            )
            return 0.0
        duration = seconds(text)
        if not 0 <= (math.nan if duration is None else duration) <= MAX_DURATION_S:
            raise wrong(line, "bad-number", Said(f"时长无效：{shown(text)}", f"invalid duration: {shown(text)}"))
        return abs(duration or 0.0)

    def _byterange(self, line: Line, data: State, state: State) -> None:
        segment_under_way(state)["byterange"] = (*byterange(line, line.value), line)

    def _key(self, line: Line, data: State, state: State) -> None:
        state["current_key"] = self.ring.turn(line)

    def _map(self, line: Line, data: State, state: State) -> None:
        attributes = self._reading.attributes(line)
        if not attributes.get("URI"):
            raise wrong(line, "missing-attribute", Said("缺少 URI", "URI is missing"))
        part = None
        if "BYTERANGE" in attributes:
            length, offset = byterange(line, attributes["BYTERANGE"])
            part = ByteRange(offset_bytes=offset or 0, length_bytes=length)
        uri = self._reading.absolute_or_data(line, attributes["URI"])
        self._maps.add((uri, part))
        if len(self._maps) > MAX_MAPS:
            what = Said("初始化段数", "the number of Media Initialization Sections")
            raise too_large(what, MAX_MAPS, line.number)
        state["current_segment_map"] = _Map(uri, part, state["current_key"], len(self._segments), line.number)

    def _read_bitrate(self, line: Line, data: State, state: State) -> None:
        """
        S15: kbit/s, for the segments from here on; the one under way counts, whichever of the tags comes first.
        """
        kilobits = lenient_whole(line.value)
        if kilobits is None:
            self._warnings.add(
                line.number, Said("EXT-X-BITRATE 无法识别，已忽略", "EXT-X-BITRATE is not understood, ignored")
            )
        self._bitrate = None if kilobits is None else kilobits * 1000
        segment_under_way(state)["bitrate"] = self._bitrate

    def _discontinuity(self, line: Line, data: State, state: State) -> None:
        segment = segment_under_way(state)
        segment["breaks"] = segment.get("breaks", 0) + 1

    def _program_date_time(self, line: Line, data: State, state: State) -> None:
        date = read_date(line.value)
        if date is None:
            self._warnings.add(
                line.number, Said("PROGRAM-DATE-TIME 无法识别，已忽略", "PROGRAM-DATE-TIME is not understood, ignored")
            )
        else:
            segment_under_way(state)["date"] = date

    def _daterange(self, line: Line, data: State, state: State) -> None:
        self.dateranges.add(line)
        self._mark(line, data, state)

    def _mark(self, line: Line, data: State, state: State) -> None:
        text = f"{line.name}:{line.value}" if line.value else line.name
        segment_under_way(state).setdefault("marks", []).append(printable(text))

    def _skip(self, line: Line, data: State, state: State) -> None:
        # We never ask for a delta update; taking one for the whole would lose its first segments.
        why = Said(
            "说明这是增量更新，缺少前面的分片，不能作为首次加载的列表",
            "a Playlist Delta Update lacks the segments before it and cannot be loaded first",
        )
        raise wrong(line, "delta-update", why)

    def _media_sequence(self, line: Line, data: State, state: State) -> None:
        if self._first(line):
            self.media_sequence = whole_number(line)
            if len(self._segments):
                self._warnings.add(
                    line.number,
                    Said("MEDIA-SEQUENCE 不在第一个分片之前", "MEDIA-SEQUENCE is not before the first Media Segment"),
                )

    def _discontinuity_sequence(self, line: Line, data: State, state: State) -> None:
        if self._first(line):
            self.discontinuity_sequence = whole_number(line)
            if len(self._segments):
                self._warnings.add(
                    line.number,
                    Said(
                        "DISCONTINUITY-SEQUENCE 不在第一个分片之前",
                        "DISCONTINUITY-SEQUENCE is not before the first Media Segment",
                    ),
                )

    def _target_duration(self, line: Line, data: State, state: State) -> None:
        if self._first(line):
            self.target_duration_s = lenient_number(line.value)
            if self.target_duration_s is None:
                self._warnings.add(
                    line.number, Said("TARGETDURATION 无法识别，已忽略", "TARGETDURATION is not understood, ignored")
                )

    def _playlist_type(self, line: Line, data: State, state: State) -> None:
        value = line.value.strip().upper()
        if value in PlaylistType.__members__:
            self.playlist_type = PlaylistType[value]
        else:
            self._warnings.add(
                line.number, Said("PLAYLIST-TYPE 无法识别，已忽略", "PLAYLIST-TYPE is not understood, ignored")
            )

    def _version(self, line: Line, data: State, state: State) -> None:
        if self._first(line):
            self.version = read_version(line, self._warnings)

    def _first(self, line: Line) -> bool:
        if line.name in self._given:
            self._warnings.add(line.number, repeated(line))
        first = line.name not in self._given
        self._given.add(line.name)
        return first


# -- Segments --------------------------------------------------------------------------------------------------------


class _Segments:
    """
    Turns the library's segment dictionaries into values as they come, carrying along what one segment hands to the
    next. Until the end they are numbered from 0: the tags that number them may stand anywhere.
    """

    def __init__(self, warnings: Warnings) -> None:
        self._warnings = warnings
        self._columns = SegmentColumns()
        self._inits: dict[_Map, InitSection] = {}
        self._ordinals: dict[tuple[str, ByteRange | None], dict[str, int]] = {}
        self._clock: datetime | None = None
        self._start_s = 0.0
        self._breaks = 0
        self._previous: Segment | None = None

    def __len__(self) -> int:
        return len(self._columns)

    def take(self, token: State, line: int) -> None:
        """The next one, whose URI stands in `line`."""
        index = len(self)
        gap = bool(token["gap_tag"])
        encryption: Encryption | None = token.get("key")
        key = encryption.usable_key() if encryption is not None and not gap else None
        map_: _Map | None = token.get("init_section")
        self._breaks += token.get("breaks", 0)
        self._previous = Segment(
            position=index + 1,
            number=index,
            uri=token["uri"],
            duration_s=token["duration"],
            start_s=self._start_s,
            title=token["title"],
            byterange=_resolved_range(token, self._previous) if "byterange" in token else None,
            key=key,
            iv=_resolved_iv(key, index) if key is not None else None,
            init=self._init(map_) if map_ is not None and not gap else None,
            discontinuity="breaks" in token,
            discontinuity_sequence=self._breaks,
            gap=gap,
            bitrate=None if "byterange" in token else token["bitrate"],
            program_date_time=self._date(token),
            marks=tuple(token.get("marks", ())),
            line=line,
        )
        self._columns.append(self._previous)
        self._start_s += self._previous.duration_s

    def finish(self, tags: _MediaTags) -> SegmentList:
        """
        All of them, numbered as the playlist says.
        """
        numbered: dict[InitSection, InitSection] = {}
        for map_, init in self._inits.items():
            if init.key is not None and init.key.iv is None:
                if init.key.method == "AES-128":
                    self._warnings.add(
                        map_.line,
                        Said(
                            "加密的初始化段没有 IV，使用下一个分片的序号",
                            "an encrypted Media Initialization Section without IV; taken from the next Media Segment",
                        ),
                    )
                numbered[init] = attrs.evolve(init, iv=_resolved_iv(init.key, tags.media_sequence + map_.index))
        self._columns.begin_with(tags.media_sequence, tags.discontinuity_sequence, numbered)
        return SegmentList(self._columns)

    def _init(self, map_: _Map) -> InitSection:
        """
        S11, S12: the IV of an encrypted one that gives none is the number of the segment behind it.
        """
        init = self._inits.get(map_)
        if init is None:
            key = map_.encryption.usable_key() if map_.encryption is not None else None
            init = self._inits[map_] = InitSection(
                uri=map_.uri,
                byterange=map_.byterange,
                key=key,
                iv=_resolved_iv(key, map_.index) if key is not None else None,
                ordinal=self._ordinal(map_),
                line=map_.line,
            )
        return init

    def _ordinal(self, map_: _Map) -> int:
        alike = self._ordinals.setdefault((path_of(map_.uri), map_.byterange), {})
        return alike.setdefault(map_.uri, len(alike))

    def _date(self, token: State) -> datetime | None:
        """
        S13: the tag's own time, or the last one carried forward.
        """
        date: datetime | None = token.get("date", self._clock)
        if date is not None:
            try:
                self._clock = date + timedelta(seconds=token["duration"])
            except OverflowError:
                self._clock = None
        return date


def _resolved_iv(key: Key, number: int) -> bytes:
    return key.iv if key.iv is not None else number.to_bytes(16, "big")


def _resolved_range(token: State, previous: Segment | None) -> ByteRange:
    """
    S3: without an offset it goes on where the sub-range of the segment before ended, which must be of the same URI.
    """
    length, offset, line = token["byterange"]
    if offset is None:
        if previous is None or previous.byterange is None or previous.uri != token["uri"]:
            why = Said(
                "没有起点，前一个分片又不是同一文件的片段",
                "no offset, and the segment before is no sub-range of the same resource",
            )
            raise wrong(line, "bad-byterange", why)
        offset = previous.byterange.offset_bytes + previous.byterange.length_bytes
    if offset + length > MAX_OFFSET:
        part = f"{length}@{offset}"
        raise wrong(line, "bad-byterange", Said(f"超出范围：{part}", f"byte range out of bounds: {part}"))
    return ByteRange(offset_bytes=offset, length_bytes=length)
