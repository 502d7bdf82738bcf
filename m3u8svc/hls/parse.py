"""
Playlist text and the URL it came from -> a playlist value, or an error that names the line.

Three steps. `_readable_lines` turns bytes into numbered lines under the limits. `_normalised` makes of them what the
library's tokenizer cannot stumble over: bare tag names, absolute ASCII URIs, an EXTINF before every segment. Then
`m3u8.parse()` walks over it, keeps its state (which tags belong to which URI) and the plain flags, while our tag
readers own every tag that has a value, since the library's casts raise on sloppy or newer input and its attribute
lists take apostrophes for quotes. Its object model is never built.

Rules are named as in the conformance list (G general, S segment, L media playlist, M multivariant). What can be read
is read, with a warning; what would give wrong bytes (a lost byte range, an unknown IV, a missing key) is refused.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import m3u8

from m3u8svc.errors import NotAPlaylist, PlaylistError, PlaylistTooLarge, UnsupportedEncryption
from m3u8svc.hls.playlist import (
    IDENTITY,
    ByteRange,
    InitSection,
    Key,
    MasterPlaylist,
    MediaPlaylist,
    Playlist,
    PlaylistType,
    Rendition,
    Segment,
    Variant,
)
from m3u8svc.hls.uri import BadReference, path_of, resolve, scheme_of

MAX_BYTES = 32 * 1024 * 1024
MAX_LINES = 2_000_000
MAX_LINE_BYTES = 16 * 1024
MAX_SEGMENTS = 200_000
MAX_VARIANTS = 1_000
MAX_RENDITIONS = 10_000
MAX_KEYS = 10_000
MAX_MAPS = 10_000
MAX_OFFSET = 2**53
MAX_DURATION_S = 10_000_000.0
NEWEST_VERSION = 13

_MASTER_TAGS = frozenset(
    f"#EXT-X-{name}" for name in ("STREAM-INF", "MEDIA", "I-FRAME-STREAM-INF", "IMAGE-STREAM-INF", "SESSION-DATA")
)
_MARKS = frozenset(
    ["#EXT-OATCLS-SCTE35", "#EXT-X-CUE", "#EXT-X-SCTE35", "#EXT-X-SPLICEPOINT-SCTE35"]
    + [f"#EXT-X-{name}" for name in ("CUE-OUT", "CUE-OUT-CONT", "CUE-IN", "CUE-SPAN", "ASSET", "DATERANGE")]
)
_FLAGS = frozenset(f"#EXT-X-{name}" for name in ("ENDLIST", "I-FRAMES-ONLY", "GAP"))
"""Tags without a value, which the library reads for us."""

_SECONDS = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,20}")
_BYTERANGE = re.compile(r"([0-9]{1,20})(?:@([0-9]{1,20}))?")
_RESOLUTION = re.compile(r"([0-9]{1,6})[xX]([0-9]{1,6})")
_IV = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,32})")
_ATTRIBUTE = re.compile(r'[ \t]*([^=,]*)(?:=[ \t]*("[^"]*"[ \t]*|[^,]*))?(?:,|$)')

State = dict[str, Any]  # the library's own working state and result: untyped dictionaries


def parse_playlist(body: bytes | str, url: str, *, content_type: str = "") -> Playlist:
    """
    The playlist in `body`, whose address after redirects is `url`. `content_type` only serves the error's text.

    Raises:
        NotAPlaylist: the first line is not #EXTM3U.
        PlaylistTooLarge: over a limit of this module.
        UnsupportedEncryption: a segment that needs DRM or SAMPLE-AES.
        UnsupportedScheme: a link that is neither http nor https.
        PlaylistError: anything else we cannot go on with, by line.
    """
    lines = _readable_lines(body, url, content_type)
    names = {line.name for line in lines}
    warnings = _Warnings()
    master = "#EXT-X-STREAM-INF" in names or ("#EXT-X-TARGETDURATION" not in names and bool(names & _MASTER_TAGS))
    if "#EXTINF" in names or not master:
        if names & _MASTER_TAGS:
            warnings.add(1, "同时含有主列表和媒体列表的标签，按媒体列表处理")
        return _parse_media(lines, url, warnings)
    return _parse_master(lines, url, warnings)


# -- Lines -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Line:
    """
    One line that says something. `name` is the tag up to its colon, "" for a URI line; `value` what follows.
    """

    number: int
    name: str
    value: str


class _Warnings:
    """
    What was read although it is wrong: each kind once, with its first line and how often. Bounded by construction,
    since the texts are ours and hold nothing of the playlist.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[int]] = {}

    def add(self, line: int, text: str) -> None:
        """Note one more `text` at `line`."""
        self._seen.setdefault(text, [line, 0])[1] += 1

    def texts(self) -> tuple[str, ...]:
        """One line for people per kind, in order of appearance."""
        return tuple(
            (f"第 {line} 行：{text}" if line else text) + (f"（共 {count} 处）" if count > 1 else "")
            for text, (line, count) in self._seen.items()
        )


def _readable_lines(body: bytes | str, url: str, content_type: str) -> list[_Line]:
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if len(raw) > MAX_BYTES:
        raise PlaylistTooLarge(what="字节数", limit=MAX_BYTES)
    if raw.count(b"\n") + raw.count(b"\r") > MAX_LINES:
        raise PlaylistTooLarge(what="行数", limit=MAX_LINES)
    # G2: LF, CRLF and CR end a line, nothing else; str.splitlines() would also split at U+2028 and its like.
    rows = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    if max(map(len, rows)) > MAX_LINE_BYTES:
        long = next(number for number, row in enumerate(rows, 1) if len(row) > MAX_LINE_BYTES)
        raise PlaylistTooLarge(what=f"第 {long} 行的字节数", limit=MAX_LINE_BYTES)
    # G1: undecodable bytes survive as surrogates, so that those in URIs can be percent-encoded as they were.
    text = b"\n".join(rows).decode("utf-8", "surrogateescape").lstrip("\ufeff")
    if not _is_header(text.lstrip(" \t\n").partition("\n")[0]):
        raise NotAPlaylist(url=url, content_type=content_type or "Content-Type ?", start=_printable(text[:60]))
    lines = []
    for number, row in enumerate(text.split("\n"), 1):
        row = row.strip(" \t")
        if row.startswith("#EXT"):
            name, _, value = row.partition(":")
            lines.append(_Line(number, name.rstrip(" \t"), value))
        elif row and not row.startswith("#"):
            lines.append(_Line(number, "", row))
    if "{$" in text:
        _refuse_variables(lines)
    return lines


def _is_header(line: str) -> bool:
    """
    G3. Some add attributes behind #EXTM3U; more letters make it another word.
    """
    return line.startswith("#EXTM3U") and line[7:8] in ("", " ", "\t", ":", ",")


def _refuse_variables(lines: list[_Line]) -> None:
    """
    G12, G13: until EXT-X-DEFINE is understood a playlist that uses variables would lead to wrong URLs.
    """
    for line in lines:
        if "{$" in line.value and line.name != "#EXTINF":
            raise PlaylistError(line=line.number, reason="使用了变量（EXT-X-DEFINE），暂不支持")


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if not text.isascii() else text


# -- Attributes and numbers ------------------------------------------------------------------------------------------


def _attributes(line: _Line, warnings: _Warnings) -> dict[str, str]:
    """
    G7: NAME=value pairs, commas inside double quotes kept, quotes removed. Of a name given twice the first counts.
    """
    found: dict[str, str] = {}
    position = 0
    while position < len(line.value):
        match = _ATTRIBUTE.match(line.value, position)
        assert match is not None  # an empty name and no value match anywhere
        position = match.end()
        name, value = match[1].strip().upper(), match[2]
        if value is None:
            if name:
                warnings.add(line.number, "属性缺少等号，已忽略")
        elif name in found:
            warnings.add(line.number, "属性重复，取第一个")
        else:
            value = value.strip(" \t")
            value = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
            found[name] = value if name == "URI" else _printable(value)
    return found


def _whole_number(line: _Line, value: str, what: str, limit: int = 2**64 - 1) -> int:
    text = value.strip(' \t"')
    if not _WHOLE.fullmatch(text) or int(text) > limit:
        raise PlaylistError(line=line.number, reason=f"{what} 不是有效的整数：{_shown(value)}")
    return int(text)


def _lenient_number(value: str | None) -> float | None:
    """
    A finite number that is not negative, or None: for hints that a download can do without.
    """
    if value is None or not _SECONDS.fullmatch(text := value.strip(' \t"')):
        return None
    number = float(text)
    return number if 0 <= number < MAX_OFFSET else None


def _byterange(line: _Line, value: str) -> tuple[int, int | None]:
    """
    ``n[@o]`` as (length, offset).
    """
    match = _BYTERANGE.fullmatch(value.strip(' \t"'))
    if match is None:
        raise PlaylistError(line=line.number, reason=f"BYTERANGE 无效：{_shown(value)}")
    length, offset = int(match[1]), int(match[2]) if match[2] else None
    if not 0 < length <= MAX_OFFSET or (offset or 0) + length > MAX_OFFSET:
        raise PlaylistError(line=line.number, reason=f"BYTERANGE 超出范围：{_shown(value)}")
    return length, offset


def _iv(line: _Line, value: str | None) -> bytes | None:
    """
    S8: hexadecimal with 0x, shorter ones padded on the left. Some leave out the 0x.
    """
    if value is None:
        return None
    match = _IV.fullmatch(value)
    if match is None:
        raise PlaylistError(line=line.number, reason="IV 不是最多 32 位的十六进制数")
    return bytes.fromhex(match[1].rjust(32, "0"))


def _absolute(line: _Line, reference: str, base: str) -> str:
    """
    G5, G10: `reference` against `base`, its faults told with the line.
    """
    try:
        return resolve(reference, base)
    except BadReference as error:
        raise PlaylistError(line=line.number, reason=f"{error}：{_shown(reference)}") from error


def _absolute_or_data(line: _Line, reference: str, base: str) -> str:
    """
    As `_absolute`, for keys and init sections, which may stand in the playlist itself as data: URIs.
    """
    return _printable(reference) if scheme_of(reference) == "data" else _absolute(line, reference, base)


def _shown(value: str) -> str:
    value = _printable(value).partition("?")[0]
    return value if len(value) <= 60 else value[:60] + "…"


# -- The library's tokenizer -----------------------------------------------------------------------------------------

TagReader = Callable[[_Line, State, State], None]
"""Reads one tag's line into the library's `data` and `state`."""


def _tokenize(fed: list[_Line], readers: dict[str, TagReader]) -> State:
    """
    `m3u8.parse()` over `fed`. Tags with a reader go to it, flags are left to the library, others mean nothing (G8).
    """

    def read_tag(_text: str, number: int, data: State, state: State) -> bool:
        line = fed[number - 1]
        if reader := readers.get(line.name):
            reader(line, data, state)
        return line.name not in _FLAGS

    # A tag is fed by its name alone (made harmless: names are remote text, too), a URI as it is: absolute and ASCII.
    text = "\n".join(_tag_token(line) if line.name else line.value for line in fed)
    result: State = m3u8.parse(text, custom_tags_parser=read_tag)
    return result


def _tag_token(line: _Line) -> str:
    return line.name if line.name in _FLAGS else "#"


def _segment_under_way(state: State) -> State:
    """
    What the library keeps for the segment whose URI comes next.
    """
    segment: State = state.setdefault("segment", {})
    return segment


# -- Media playlists -------------------------------------------------------------------------------------------------


@attrs.frozen
class _Encryption:
    """
    What the EXT-X-KEYs in force mean for a segment or map: a key we can use, or what stands in the way (S5, S10).
    """

    key: Key | None = attrs.field(default=None, repr=False)
    obstacle: tuple[str, str, int] | None = None
    """METHOD, KEYFORMAT and line of a key in force when none of them is usable."""

    def usable_key(self) -> Key | None:
        """The key to decrypt with; None when clear."""
        if self.obstacle is not None:
            method, keyformat, line = self.obstacle
            raise UnsupportedEncryption(method=_shown(method), keyformat=_shown(keyformat), line=line)
        return self.key


@attrs.frozen(eq=False)
class _Map:
    """
    One EXT-X-MAP as written, until the number of the segment after it is known.
    """

    uri: str = attrs.field(repr=False)
    byterange: ByteRange | None
    encryption: _Encryption | None
    line: int


class _MediaTags:
    """
    Reads the tags of a media playlist: those of the whole into itself, those of segments into the library's state.
    """

    def __init__(self, url: str, warnings: _Warnings) -> None:
        self._url = url
        self._warnings = warnings
        self._in_force: dict[str, Key] = {}
        self._key_uris: set[str] = set()
        self._maps: set[tuple[str, ByteRange | None]] = set()
        self._given: set[str] = set()
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
            "#EXT-X-DISCONTINUITY": self._discontinuity,
            "#EXT-X-PROGRAM-DATE-TIME": self._program_date_time,
            "#EXT-X-SKIP": self._skip,
            "#EXT-X-MEDIA-SEQUENCE": self._media_sequence,
            "#EXT-X-DISCONTINUITY-SEQUENCE": self._discontinuity_sequence,
            "#EXT-X-TARGETDURATION": self._target_duration,
            "#EXT-X-PLAYLIST-TYPE": self._playlist_type,
            "#EXT-X-VERSION": self._version,
        }
        return readers | dict.fromkeys(_MARKS, self._mark)

    def _extinf(self, line: _Line, data: State, state: State) -> None:
        length, _, title = line.value.partition(",")
        segment = _segment_under_way(state)
        segment["duration"] = self._duration(line, length.strip())
        segment["title"] = _printable(title.strip())
        state["expect_segment"] = True

    def _duration(self, line: _Line, text: str) -> float:
        # Lists made for television put attributes behind the number, before the comma.
        text = text.split(None, 1)[0] if text else ""
        if not text:
            self._warnings.add(line.number, "分片没有时长，按 0 秒处理")
            return 0.0
        duration = float(text) if _SECONDS.fullmatch(text) else math.nan
        if not 0 <= duration <= MAX_DURATION_S:
            raise PlaylistError(line=line.number, reason=f"EXTINF 时长无效：{_shown(text)}")
        return abs(duration)

    def _byterange(self, line: _Line, data: State, state: State) -> None:
        _segment_under_way(state)["byterange"] = (*_byterange(line, line.value), line.number)

    def _key(self, line: _Line, data: State, state: State) -> None:
        """
        S5-S8: each KEYFORMAT has its own current key; NONE ends them all.
        """
        attributes = _attributes(line, self._warnings)
        method = attributes.get("METHOD", "").upper()
        keyformat = attributes.get("KEYFORMAT") or IDENTITY
        if not method:
            raise PlaylistError(line=line.number, reason="EXT-X-KEY 缺少 METHOD")
        if method == "NONE":
            self._in_force = {}
        elif keyformat == IDENTITY and method == "AES-128":
            self._in_force[keyformat] = self._identity_key(line, attributes)
        else:
            self._in_force[keyformat] = Key(method=method, uri="", keyformat=keyformat, line=line.number)
        state["current_key"] = self._encryption()

    def _identity_key(self, line: _Line, attributes: dict[str, str]) -> Key:
        if not attributes.get("URI"):
            raise PlaylistError(line=line.number, reason="EXT-X-KEY 缺少 URI")
        uri = _absolute_or_data(line, attributes["URI"], self._url)
        self._key_uris.add(uri)
        if len(self._key_uris) > MAX_KEYS:
            raise PlaylistTooLarge(what="密钥数", limit=MAX_KEYS)
        return Key(method="AES-128", uri=uri, iv=_iv(line, attributes.get("IV")), line=line.number)

    def _encryption(self) -> _Encryption | None:
        if not self._in_force:
            return None
        identity = self._in_force.get(IDENTITY)
        if identity is not None and identity.method == "AES-128":
            return _Encryption(identity)
        first = identity or next(iter(self._in_force.values()))
        return _Encryption(None, (first.method, first.keyformat, first.line))

    def _map(self, line: _Line, data: State, state: State) -> None:
        attributes = _attributes(line, self._warnings)
        if not attributes.get("URI"):
            raise PlaylistError(line=line.number, reason="EXT-X-MAP 缺少 URI")
        byterange = None
        if "BYTERANGE" in attributes:
            length, offset = _byterange(line, attributes["BYTERANGE"])
            byterange = ByteRange(offset_bytes=offset or 0, length_bytes=length)
        uri = _absolute_or_data(line, attributes["URI"], self._url)
        self._maps.add((uri, byterange))
        if len(self._maps) > MAX_MAPS:
            raise PlaylistTooLarge(what="初始化段数", limit=MAX_MAPS)
        state["current_segment_map"] = _Map(uri, byterange, state["current_key"], line.number)

    def _discontinuity(self, line: _Line, data: State, state: State) -> None:
        segment = _segment_under_way(state)
        segment["breaks"] = segment.get("breaks", 0) + 1

    def _program_date_time(self, line: _Line, data: State, state: State) -> None:
        try:
            _segment_under_way(state)["date"] = datetime.fromisoformat(line.value.strip())
        except ValueError:
            self._warnings.add(line.number, "PROGRAM-DATE-TIME 无法识别，已忽略")

    def _mark(self, line: _Line, data: State, state: State) -> None:
        text = f"{line.name}:{line.value}" if line.value else line.name
        _segment_under_way(state).setdefault("marks", []).append(_printable(text))

    def _skip(self, line: _Line, data: State, state: State) -> None:
        # We never ask for a delta update; taking one for the whole would lose its first segments.
        raise PlaylistError(line=line.number, reason="服务器返回了增量播放列表（EXT-X-SKIP）")

    def _media_sequence(self, line: _Line, data: State, state: State) -> None:
        if self._first(line):
            self.media_sequence = _whole_number(line, line.value, "MEDIA-SEQUENCE")
            if data["segments"]:
                self._warnings.add(line.number, "MEDIA-SEQUENCE 不在第一个分片之前")

    def _discontinuity_sequence(self, line: _Line, data: State, state: State) -> None:
        if self._first(line):
            self.discontinuity_sequence = _whole_number(line, line.value, "DISCONTINUITY-SEQUENCE")

    def _target_duration(self, line: _Line, data: State, state: State) -> None:
        if self._first(line):
            self.target_duration_s = _lenient_number(line.value)
            if self.target_duration_s is None:
                self._warnings.add(line.number, "TARGETDURATION 无法识别，已忽略")

    def _playlist_type(self, line: _Line, data: State, state: State) -> None:
        value = line.value.strip().upper()
        if value in PlaylistType.__members__:
            self.playlist_type = PlaylistType[value]
        else:
            self._warnings.add(line.number, "PLAYLIST-TYPE 无法识别，已忽略")

    def _version(self, line: _Line, data: State, state: State) -> None:
        if self._first(line):
            self.version = _version(line, self._warnings)

    def _first(self, line: _Line) -> bool:
        if line.name in self._given:
            self._warnings.add(line.number, f"{line.name} 重复，取第一个")
        first = line.name not in self._given
        self._given.add(line.name)
        return first


def _version(line: _Line, warnings: _Warnings) -> int:
    """
    G9: a version is never refused.
    """
    number = _lenient_number(line.value)
    if number is None or number != int(number) or not 1 <= number <= NEWEST_VERSION:
        warnings.add(line.number, "未知的 EXT-X-VERSION")
    return int(number or 1)


def _parse_media(lines: list[_Line], url: str, warnings: _Warnings) -> MediaPlaylist:
    fed = _normalised_media(lines, url, warnings)
    tags = _MediaTags(url, warnings)
    tokens = _tokenize(fed, tags.readers())
    found = tokens["segments"]
    rest = found.pop() if found and "uri" not in found[-1] else {}
    if "duration" in rest:
        warnings.add(lines[-1].number, "最后一个 EXTINF 之后没有链接")
    segments = _Segments(tags, [line.number for line in fed if not line.name], warnings)
    if tags.target_duration_s is None:
        warnings.add(0, "缺少 TARGETDURATION")
    if tags.playlist_type is PlaylistType.VOD and not tokens["is_endlist"]:
        warnings.add(0, "VOD 列表没有 ENDLIST，按完整列表处理")
    if tokens["is_i_frames_only"]:
        warnings.add(0, "列表只含关键帧（I-FRAMES-ONLY）")
    return MediaPlaylist(
        url=url,
        segments=segments.build(found),
        target_duration_s=tags.target_duration_s,
        media_sequence=tags.media_sequence,
        version=tags.version,
        playlist_type=tags.playlist_type,
        ended=tokens["is_endlist"],
        i_frames_only=tokens["is_i_frames_only"],
        trailing_marks=tuple(rest.get("marks", ())),
        warnings=warnings.texts(),
    )


def _normalised_media(lines: list[_Line], url: str, warnings: _Warnings) -> list[_Line]:
    """
    The lines with URIs absolute, an empty EXTINF before each URI that has none, and variants of a mixed list left out.
    """
    fed: list[_Line] = []
    count = 0
    titled = foreign = False
    for line in lines:
        if line.name:
            titled = titled or line.name == "#EXTINF"
            foreign = line.name == "#EXT-X-STREAM-INF" or (foreign and line.name != "#EXTINF")
        elif foreign:
            foreign = False
            warnings.add(line.number, "媒体列表中的码流已忽略")
            continue
        else:
            count += 1
            if not titled:
                fed.append(_Line(line.number, "#EXTINF", ""))
            titled = False
            line = _Line(line.number, "", _absolute(line, line.value, url))
        fed.append(line)
    if count > MAX_SEGMENTS:
        raise PlaylistTooLarge(what="分片数", limit=MAX_SEGMENTS)
    return fed


class _Segments:
    """
    Turns the library's segment dictionaries into values, carrying along what one segment hands to the next.
    """

    def __init__(self, tags: _MediaTags, uri_lines: list[int], warnings: _Warnings) -> None:
        self._tags = tags
        self._uri_lines = uri_lines
        self._warnings = warnings
        self._inits: dict[_Map, InitSection] = {}
        self._ordinals: dict[tuple[str, ByteRange | None], dict[str, int]] = {}
        self._clock: datetime | None = None

    def build(self, found: list[State]) -> tuple[Segment, ...]:
        """The segments in order."""
        segments: list[Segment] = []
        start_s = 0.0
        breaks = self._tags.discontinuity_sequence
        previous: Segment | None = None
        for index, token in enumerate(found):
            number = self._tags.media_sequence + index
            gap = bool(token["gap_tag"])
            encryption: _Encryption | None = token.get("key")
            key = encryption.usable_key() if encryption is not None and not gap else None
            map_: _Map | None = token.get("init_section")
            breaks += token.get("breaks", 0)
            previous = Segment(
                position=index + 1,
                number=number,
                uri=token["uri"],
                duration_s=token["duration"],
                start_s=start_s,
                title=token["title"],
                byterange=_resolved_range(token, previous) if "byterange" in token else None,
                key=key,
                iv=_resolved_iv(key, number) if key is not None else None,
                init=self._init(map_, number) if map_ is not None and not gap else None,
                discontinuity="breaks" in token,
                discontinuity_sequence=breaks,
                gap=gap,
                program_date_time=self._date(token),
                marks=tuple(token.get("marks", ())),
                line=self._uri_lines[index],
            )
            segments.append(previous)
            start_s += previous.duration_s
        return tuple(segments)

    def _init(self, map_: _Map, number: int) -> InitSection:
        """
        S11, S12: `number` is that of the first segment behind the map, the IV of an encrypted one that gives none.
        """
        init = self._inits.get(map_)
        if init is None:
            key = map_.encryption.usable_key() if map_.encryption is not None else None
            if key is not None and key.iv is None:
                self._warnings.add(map_.line, "加密的初始化段没有 IV，使用下一个分片的序号")
            init = self._inits[map_] = InitSection(
                uri=map_.uri,
                byterange=map_.byterange,
                key=key,
                iv=_resolved_iv(key, number) if key is not None else None,
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
            raise PlaylistError(line=line, reason="BYTERANGE 没有起点，前一个分片又不是同一文件的片段")
        offset = previous.byterange.offset_bytes + previous.byterange.length_bytes
    if offset + length > MAX_OFFSET:
        raise PlaylistError(line=line, reason=f"BYTERANGE 超出范围：{length}@{offset}")
    return ByteRange(offset_bytes=offset, length_bytes=length)


# -- Multivariant playlists ------------------------------------------------------------------------------------------


class _MasterTags:
    """
    Reads the tags of a multivariant playlist. I-frame and image streams (M6), session tags and steering are no
    candidates for a download and are passed over.
    """

    def __init__(self, url: str, warnings: _Warnings) -> None:
        self._url = url
        self._warnings = warnings
        self.version = 1
        self.renditions: list[Rendition] = []

    def readers(self) -> dict[str, TagReader]:
        """Which method reads which tag."""
        return {"#EXT-X-STREAM-INF": self._stream_inf, "#EXT-X-MEDIA": self._media, "#EXT-X-VERSION": self._version}

    def _stream_inf(self, line: _Line, data: State, state: State) -> None:
        state["stream_info"] = self.variant_fields(line)
        state["expect_playlist"] = True

    def variant_fields(self, line: _Line) -> State:
        """
        M1: the fields of a `Variant` but its URI; what cannot be read is left at its default, with a warning.
        """
        attributes = _attributes(line, self._warnings)
        size = _RESOLUTION.fullmatch(attributes.get("RESOLUTION", ""))
        if "RESOLUTION" in attributes and size is None:
            self._warnings.add(line.number, "RESOLUTION 无法识别，已忽略")
        bandwidth = _lenient_number(attributes.get("BANDWIDTH"))
        if bandwidth is None:
            self._warnings.add(line.number, "码流没有有效的 BANDWIDTH，按 0 处理")
        average = _lenient_number(attributes.get("AVERAGE-BANDWIDTH"))
        codecs = attributes.get("CODECS", "").split(",")
        return {
            "bandwidth": int(bandwidth or 0),
            "average_bandwidth": None if average is None else int(average),
            "width": int(size[1]) if size else None,
            "height": int(size[2]) if size else None,
            "frame_rate": _lenient_number(attributes.get("FRAME-RATE")),
            "codecs": tuple(codec.strip() for codec in codecs if codec.strip()),
            "audio_group": attributes.get("AUDIO"),
            "video_group": attributes.get("VIDEO"),
            "subtitles_group": attributes.get("SUBTITLES"),
            "line": line.number,
        }

    def _media(self, line: _Line, data: State, state: State) -> None:
        """
        M3. Captions are never a resource of their own; subtitles without one are nothing.
        """
        attributes = _attributes(line, self._warnings)
        kind = attributes.get("TYPE", "").upper()
        reference = attributes.get("URI", "") if kind != "CLOSED-CAPTIONS" else ""
        if not kind or (kind == "SUBTITLES" and not reference):
            self._warnings.add(line.number, "EXT-X-MEDIA 缺少 TYPE 或 URI，已忽略")
            return
        if len(self.renditions) == MAX_RENDITIONS:
            raise PlaylistTooLarge(what="EXT-X-MEDIA 数", limit=MAX_RENDITIONS)
        self.renditions.append(
            Rendition(
                type=kind,
                group_id=attributes.get("GROUP-ID", ""),
                name=attributes.get("NAME", ""),
                uri=_absolute(line, reference, self._url) if reference else None,
                language=attributes.get("LANGUAGE"),
                default=attributes.get("DEFAULT") == "YES",
                autoselect=attributes.get("AUTOSELECT") == "YES",
                forced=attributes.get("FORCED") == "YES",
                channels=attributes.get("CHANNELS"),
                line=line.number,
            )
        )

    def _version(self, line: _Line, data: State, state: State) -> None:
        self.version = _version(line, self._warnings)


def _parse_master(lines: list[_Line], url: str, warnings: _Warnings) -> MasterPlaylist:
    tags = _MasterTags(url, warnings)
    tokens = _tokenize(_normalised_master(lines, url, warnings), tags.readers())
    return MasterPlaylist(
        url=url,
        variants=tuple(Variant(uri=each["uri"], **each["stream_info"]) for each in tokens["playlists"]),
        renditions=tuple(tags.renditions),
        version=tags.version,
        warnings=warnings.texts(),
    )


def _normalised_master(lines: list[_Line], url: str, warnings: _Warnings) -> list[_Line]:
    """
    The lines with URIs absolute; a STREAM-INF without URI and a URI without STREAM-INF are told and left out.
    """
    fed: list[_Line] = []
    waiting: _Line | None = None
    count = 0
    for line in lines:
        if line.name == "#EXT-X-STREAM-INF":
            if waiting is not None:
                warnings.add(waiting.number, "STREAM-INF 之后没有链接，已忽略")
            waiting = line
        elif line.name:
            fed.append(line)
        elif waiting is None:
            warnings.add(line.number, "链接之前没有 STREAM-INF，已忽略")
        else:
            fed += [waiting, _Line(line.number, "", _absolute(line, line.value, url))]
            waiting = None
            count += 1
    if waiting is not None:
        warnings.add(waiting.number, "STREAM-INF 之后没有链接，已忽略")
    if count > MAX_VARIANTS:
        raise PlaylistTooLarge(what="码流数", limit=MAX_VARIANTS)
    return fed
