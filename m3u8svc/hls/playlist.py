"""
The values an HLS playlist means, after parsing: frozen, every URI absolute, every byte range explicit. The segments of
a list are kept in columns (`SegmentList`), and each is made when somebody looks at it.

Terms are those of RFC 8216. `position` counts all media segments of one media playlist from 1, in order, before any
filter: it is what skip expressions and file names speak of. `number` is the Media Sequence Number.
"""

import enum
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import TypeVar, overload

import attrs

from m3u8svc.hls.columns import Counting, Texts
from m3u8svc.wording import Said

T = TypeVar("T")
N = TypeVar("N", int, float)

MAIN = "main"
"""The track of the variant itself; renditions are "audio1", "audio2" …, "subtitles1" …"""
IDENTITY = "identity"
"""The KEYFORMAT of a key that is simply 16 bytes at a URI (RFC 8216 4.3.2.4)."""

CBCS = Said("fMP4 的 SAMPLE-AES（cbcs）", "SAMPLE-AES in fMP4 (cbcs)")
"""How people are told of SAMPLE-AES in fMP4, which is another scheme than that in MPEG-TS."""

DEFAULT_PATHWAY = "."
"""The PATHWAY-ID of a variant that gives none (RFC 8216bis 4.4.6.2)."""


@attrs.frozen(kw_only=True)
class ByteRange:
    """
    `length_bytes` bytes from `offset_bytes` on.
    """

    offset_bytes: int
    length_bytes: int

    @property
    def header(self) -> str:
        """The value of the Range header that asks for it."""
        return f"bytes={self.offset_bytes}-{self.offset_bytes + self.length_bytes - 1}"


@attrs.frozen(kw_only=True)
class Key:
    """
    One EXT-X-KEY with METHOD other than NONE: AES-128 or SAMPLE-AES. `uri` is absolute (or data:); `iv` the 16 bytes of
    the attribute, if any. `value`, when there is one, is the key itself: nothing is fetched, and `uri` only names it.
    """

    method: str
    uri: str = attrs.field(repr=False)
    iv: bytes | None = attrs.field(default=None, repr=False)
    keyformat: str = IDENTITY
    value: bytes | None = attrs.field(default=None, repr=False)
    line: int = 0


@attrs.frozen(kw_only=True)
class InitSection:
    """
    One EXT-X-MAP: the bytes that stand before the segments it applies to. `key` is the one in force at the tag; `iv` is
    resolved (S12), None when clear.
    """

    uri: str = attrs.field(repr=False)
    byterange: ByteRange | None = None
    key: Key | None = None
    iv: bytes | None = attrs.field(default=None, repr=False)
    ordinal: int = 0
    """Tells init sections of one playlist apart whose URIs differ only in the query."""
    line: int = 0
    known_as: str = ""
    """Its identity, where that is on record and not made of what stands here (`tasks.completeness`)."""


@attrs.frozen(kw_only=True)
class Segment:
    """
    One media segment. `key` is the identity key in force, `iv` the resolved 16 bytes to decrypt with (S8), both None
    when the segment is clear. `start_s` is the running sum of durations before it.
    """

    position: int
    number: int
    uri: str = attrs.field(repr=False)
    duration_s: float
    start_s: float
    title: str = ""
    byterange: ByteRange | None = None
    key: Key | None = None
    iv: bytes | None = attrs.field(default=None, repr=False)
    init: InitSection | None = None
    discontinuity: bool = False
    discontinuity_sequence: int = 0
    gap: bool = False
    bitrate: int | None = None
    """EXT-X-BITRATE in bit/s (S15); None for byte ranges."""
    program_date_time: datetime | None = None
    marks: tuple[str, ...] = ()
    """Ad and date marks standing before it, as written (CUE-OUT, CUE-IN, DATERANGE …)."""
    line: int = 0
    known_as: str = ""
    """Its identity, where that is on record and not made of what stands here (`tasks.completeness`)."""


class _Iv(enum.IntEnum):
    """Where the IV of a segment stands."""

    NONE = 0
    OF_KEY = 1
    OF_NUMBER = 2
    OWN = 3


class SegmentColumns:
    """
    The segments of one list, appended in order, a column for each field; columns that say nothing are not there. A URI
    is cut in three, since its directory and its query are often those of the segment before.
    """

    def __init__(self) -> None:
        self.positions = Counting()
        self.numbers = Counting()
        self.durations_s = array("d")
        self.starts_s = array("d")
        self.splices: list[int] = []
        self.lines = array("Q")
        self.gaps = bytearray()
        self.inits: list[InitSection | None] = []
        self._names = Texts()
        self._directories: list[str] = []
        self._queries: list[str] = []
        self._keys: list[Key | None] = []
        self._ivs = bytearray()
        self._own_ivs: dict[int, bytes] = {}
        self._titles = Texts()
        self._discontinuities: set[int] = set()
        self._offsets = array("Q")
        self._lengths = array("Q")
        self._bitrates: list[int | None] = []
        self._dates: list[datetime | None] = []
        self._marks: dict[int, tuple[str, ...]] = {}
        self._known = Texts()

    def __len__(self) -> int:
        return len(self.durations_s)

    def append(self, segment: Segment) -> None:
        """One more."""
        index = len(self)
        self.positions.append(segment.position)
        self.numbers.append(segment.number)
        self.durations_s.append(segment.duration_s)
        self.starts_s.append(segment.start_s)
        self.splices.append(_same(self.splices, segment.discontinuity_sequence))
        self.lines.append(segment.line)
        self.gaps.append(segment.gap)
        self._append_uri(segment.uri)
        self._append_key(segment, index)
        _append_sparse(self.inits, segment.init, index)
        _append_sparse(self._bitrates, segment.bitrate, index)
        _append_sparse(self._dates, segment.program_date_time, index)
        if segment.byterange is not None:
            self._append_range(segment.byterange, index)
        if segment.title:
            self._titles.put(index, segment.title)
        if segment.discontinuity:
            self._discontinuities.add(index)
        if segment.marks:
            self._marks[index] = segment.marks
        if segment.known_as:
            self._known.put(index, segment.known_as)

    def _append_uri(self, uri: str) -> None:
        path_ends = uri.find("?")
        path_ends = len(uri) if path_ends < 0 else path_ends
        name_begins = uri.rfind("/", 0, path_ends) + 1
        self._names.put(len(self._directories), uri[name_begins:path_ends])
        self._directories.append(_same(self._directories, uri[:name_begins]))
        self._queries.append(_same(self._queries, uri[path_ends:]))

    def _append_key(self, segment: Segment, index: int) -> None:
        _append_sparse(self._keys, segment.key, index)
        if segment.iv is None:
            self._ivs.append(_Iv.NONE)
        elif segment.key is not None and segment.iv == segment.key.iv:
            self._ivs.append(_Iv.OF_KEY)
        elif segment.iv == segment.number.to_bytes(16, "big"):
            self._ivs.append(_Iv.OF_NUMBER)
        else:
            self._ivs.append(_Iv.OWN)
            self._own_ivs[index] = segment.iv

    def _append_range(self, byterange: ByteRange, index: int) -> None:
        missing = bytes(8 * (index - len(self._offsets)))
        for column, number in ((self._offsets, byterange.offset_bytes), (self._lengths, byterange.length_bytes)):
            column.frombytes(missing)
            column.append(number)

    def begin_with(self, number: int, splice: int, inits: Mapping[InitSection, InitSection]) -> None:
        """
        What is known of the whole list only at its end: the numbers of its first segment, to be added to those of all,
        and what is to stand for init sections.
        """
        self.numbers.shift(number)
        if splice:
            shifted = {each: each + splice for each in set(self.splices)}
            self.splices = [shifted[each] for each in self.splices]
        self.inits = [None if each is None else inits.get(each, each) for each in self.inits]

    def uri(self, index: int) -> str:
        """The URI of one segment."""
        return f"{self._directories[index]}{self._names[index]}{self._queries[index]}"

    def segment(self, index: int) -> Segment:
        """One segment, by its place in the columns from 0."""
        key = self._keys[index] if index < len(self._keys) else None
        number = self.numbers[index]
        return Segment(
            position=self.positions[index],
            number=number,
            uri=self.uri(index),
            duration_s=self.durations_s[index],
            start_s=self.starts_s[index],
            title=self._titles[index],
            byterange=self._range(index),
            key=key,
            iv=self._iv(index, key, number),
            init=self.inits[index] if index < len(self.inits) else None,
            discontinuity=index in self._discontinuities,
            discontinuity_sequence=self.splices[index],
            gap=bool(self.gaps[index]),
            bitrate=self._bitrates[index] if index < len(self._bitrates) else None,
            program_date_time=self._dates[index] if index < len(self._dates) else None,
            marks=self._marks.get(index, ()),
            line=self.lines[index],
            known_as=self._known[index],
        )

    def each(self, indices: range) -> Iterator[Segment]:
        """
        Many segments, as `segment` makes one: each column is walked along by itself, which takes half the time.
        """
        columns = zip(
            indices,
            self.positions.each(indices),
            self.numbers.each(indices),
            self._names.each(indices),
            self._titles.each(indices),
            self._known.each(indices),
            _sparse(self._keys, indices),
            _sparse(self.inits, indices),
            _sparse(self._bitrates, indices),
            _sparse(self._dates, indices),
            strict=True,
        )
        for index, position, number, name, title, known, key, init, bitrate, date in columns:
            yield Segment(
                position=position,
                number=number,
                uri=f"{self._directories[index]}{name}{self._queries[index]}",
                duration_s=self.durations_s[index],
                start_s=self.starts_s[index],
                title=title,
                byterange=self._range(index) if self._lengths else None,
                key=key,
                iv=self._iv(index, key, number) if self._ivs[index] else None,
                init=init,
                discontinuity=index in self._discontinuities,
                discontinuity_sequence=self.splices[index],
                gap=bool(self.gaps[index]),
                bitrate=bitrate,
                program_date_time=date,
                marks=self._marks.get(index, ()),
                line=self.lines[index],
                known_as=known,
            )

    def _range(self, index: int) -> ByteRange | None:
        if index >= len(self._lengths) or not self._lengths[index]:
            return None
        return ByteRange(offset_bytes=self._offsets[index], length_bytes=self._lengths[index])

    def _iv(self, index: int, key: Key | None, number: int) -> bytes | None:
        match self._ivs[index]:
            case _Iv.NONE:
                return None
            case _Iv.OF_KEY:
                return None if key is None else key.iv
            case _Iv.OF_NUMBER:
                return number.to_bytes(16, "big")
            case _:
                return self._own_ivs[index]


def _same(column: list[T], value: T) -> T:
    """The value that stands before it, when it is equal: one object for all."""
    return column[-1] if column and (column[-1] is value or column[-1] == value) else value


def _append_sparse(column: list[T | None], value: T | None, index: int) -> None:
    if value is not None:
        column.extend([None] * (index - len(column)))
        column.append(_same(column, value))


def _sparse(column: list[T | None], indices: range) -> Iterator[T | None]:
    if not column:
        return itertools.repeat(None, len(indices))
    return (column[index] if index < len(column) else None for index in indices)


class SegmentList(Sequence[Segment]):
    """
    Segments of a list, in order; each is made anew whenever it is asked for. A slice shares what is behind it.
    """

    __slots__ = ("_columns", "_made", "_range")

    def __init__(
        self, columns: SegmentColumns, span: range | None = None, made: Callable[[Segment], Segment] | None = None
    ) -> None:
        """
        Args:
            span: which of the columns' segments these are; all if None.
            made: what each is put through before it is handed out.
        """
        self._columns = columns
        self._range = range(len(columns)) if span is None else span
        self._made = made

    def shown(self, made: Callable[[Segment], Segment]) -> "SegmentList":
        """
        The same, each as `made` returns it.
        """
        return SegmentList(self._columns, self._range, made)

    def __len__(self) -> int:
        return len(self._range)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> "SegmentList": ...
    def __getitem__(self, index: int | slice) -> "Segment | SegmentList":
        if isinstance(index, slice):
            return SegmentList(self._columns, self._range[index], self._made)
        segment = self._columns.segment(self._range[index])
        return segment if self._made is None else self._made(segment)

    def __iter__(self) -> Iterator[Segment]:
        segments = self._columns.each(self._range)
        return segments if self._made is None else map(self._made, segments)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SegmentList | tuple | list):
            return NotImplemented
        return len(self) == len(other) and all(one == another for one, another in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash((len(self), self.duration_s))

    def __repr__(self) -> str:
        return f"<{len(self)} segments>"

    @property
    def duration_s(self) -> float:
        """The sum of all EXTINF."""
        return sum(self.durations_s)

    @property
    def durations_s(self) -> Sequence[float]:
        """Each one's EXTINF."""
        return self._of_these(self._columns.durations_s)

    @property
    def starts_s(self) -> Sequence[float]:
        """Where each begins."""
        return self._of_these(self._columns.starts_s)

    def position(self, index: int) -> int:
        """The position of one of them."""
        return self._columns.positions[self._range[index]]

    def uri(self, index: int) -> str:
        """The URI of one of them."""
        return self._columns.uri(self._range[index])

    @property
    def lines(self) -> Sequence[int]:
        """The line in the playlist of each."""
        return self._of_these(self._columns.lines)

    def _of_these(self, column: "array[N]") -> "array[N]":
        if self._range.step == 1:
            return column[self._range.start : self._range.stop]
        return array(column.typecode, (column[index] for index in self._range))

    @property
    def inits(self) -> Set[InitSection]:
        """The init sections of all."""
        if self._made is not None:
            return {each.init for each in self if each.init is not None}
        return {each for each in _sparse(self._columns.inits, self._range) if each is not None}

    @property
    def has_gaps(self) -> bool:
        """Whether any is declared missing."""
        return any(self._columns.gaps[index] for index in self._range)

    def groups(self) -> Iterator[tuple[int, "SegmentList"]]:
        """
        The stretches of one discontinuity sequence number each, in order, with that number.
        """
        begin = 0
        splices = (self._columns.splices[index] for index in self._range)
        for number, members in itertools.groupby(splices):
            end = begin + sum(1 for _ in members)
            yield number, self[begin:end]
            begin = end


def pack_segments(segments: Iterable[Segment]) -> SegmentList:
    """
    Segments as a list of columns.
    """
    if isinstance(segments, SegmentList):
        return segments
    columns = SegmentColumns()
    for segment in segments:
        columns.append(segment)
    return SegmentList(columns)


@attrs.frozen(kw_only=True)
class DateRange:
    """
    One EXT-X-DATERANGE, all tags of its ID merged (S17). `client` are the X- attributes, as written, without quotes.
    """

    id: str
    class_name: str = ""
    start: datetime | None = None
    end: datetime | None = None
    duration_s: float | None = None
    planned_duration_s: float | None = None
    cue: tuple[str, ...] = ()
    end_on_next: bool = False
    scte35_cmd: bytes | None = attrs.field(default=None, repr=False)
    scte35_out: bytes | None = attrs.field(default=None, repr=False)
    scte35_in: bytes | None = attrs.field(default=None, repr=False)
    client: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    line: int = 0

    @property
    def interstitial(self) -> bool:
        """Whether it puts other content in (Apple's interstitials)."""
        return self.class_name == "com.apple.hls.interstitial"


class PlaylistType(enum.Enum):
    """EXT-X-PLAYLIST-TYPE."""

    VOD = "VOD"
    EVENT = "EVENT"


@attrs.frozen(kw_only=True)
class MediaPlaylist:
    """
    A media playlist. `complete` says whether nothing will be added: ENDLIST, or TYPE VOD.
    """

    url: str = attrs.field(repr=False)
    segments: SegmentList = attrs.field(repr=False, converter=pack_segments)
    target_duration_s: float | None = None
    media_sequence: int = 0
    discontinuity_sequence: int = 0
    version: int = 1
    playlist_type: PlaylistType | None = None
    ended: bool = False
    i_frames_only: bool = False
    has_keys: bool = False
    """Whether any EXT-X-KEY stands in it, METHOD=NONE included."""
    dateranges: tuple[DateRange, ...] = ()
    trailing_marks: tuple[str, ...] = ()
    """Ad and date marks after the last segment."""
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the list is final (L4, L5)."""
        return self.ended or self.playlist_type is PlaylistType.VOD

    @property
    def duration_s(self) -> float:
        """The sum of all EXTINF."""
        return self.segments.duration_s


@attrs.frozen(kw_only=True)
class Rendition:
    """
    One EXT-X-MEDIA. `uri` None: it is already in the variant.
    """

    type: str
    group_id: str
    name: str
    uri: str | None = attrs.field(default=None, repr=False)
    language: str | None = None
    assoc_language: str | None = None
    default: bool = False
    autoselect: bool = False
    forced: bool = False
    instream_id: str | None = None
    characteristics: tuple[str, ...] = ()
    channels: str | None = None
    bit_depth: int | None = None
    sample_rate: int | None = None
    stable_rendition_id: str | None = None
    line: int = 0


@attrs.frozen(kw_only=True)
class Variant:
    """
    One EXT-X-STREAM-INF with its URI. `bandwidth` is bit/s, 0 when the playlist does not say. `closed_captions` is the
    name of a group, or "NONE"; None when the playlist does not say.
    """

    uri: str = attrs.field(repr=False)
    bandwidth: int = 0
    average_bandwidth: int | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    score: float | None = None
    codecs: tuple[str, ...] = ()
    supplemental_codecs: tuple[str, ...] = ()
    video_range: str | None = None
    hdcp_level: str | None = None
    allowed_cpc: str | None = None
    req_video_layout: str | None = None
    audio_group: str | None = None
    video_group: str | None = None
    subtitles_group: str | None = None
    closed_captions: str | None = None
    stable_variant_id: str | None = None
    pathway_id: str = DEFAULT_PATHWAY
    line: int = 0


@attrs.frozen(kw_only=True)
class ContentSteering:
    """
    EXT-X-CONTENT-STEERING: where the steering manifest is, and the pathway to start on ("" when it does not say).
    """

    server_uri: str = attrs.field(repr=False)
    pathway_id: str = ""
    line: int = 0


@attrs.frozen(kw_only=True)
class MasterPlaylist:
    """
    A multivariant playlist. `definitions` are its variables, which the media playlists it leads to may import (G12);
    `session_keys` the identity keys it announces (M7).
    """

    url: str = attrs.field(repr=False)
    variants: tuple[Variant, ...]
    renditions: tuple[Rendition, ...] = ()
    session_keys: tuple[Key, ...] = ()
    steering: ContentSteering | None = None
    definitions: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False)
    version: int = 1
    warnings: tuple[str, ...] = ()


Playlist = MasterPlaylist | MediaPlaylist
"""What a playlist URL may turn out to be."""


@attrs.frozen(kw_only=True)
class Stream:
    """
    One media playlist of a presentation. `track` is its name in file names and reports: "main", "audio1",
    "subtitles1" …; `rendition` is what the multivariant playlist says of it, None for the main one.
    """

    track: str
    playlist: MediaPlaylist
    rendition: Rendition | None = None


@attrs.frozen(kw_only=True)
class Presentation:
    """
    Everything that one download plays together: the main stream first, then renditions. `master` and `variant` are
    None when the URL led to a media playlist.
    """

    streams: tuple[Stream, ...]
    master: MasterPlaylist | None = None
    variant: Variant | None = None
    warnings: tuple[str, ...] = ()

    @property
    def main(self) -> MediaPlaylist:
        """The playlist that positions, skips and groups speak of."""
        return self.streams[0].playlist


def is_of_texts(track: str) -> bool:
    """
    Whether a track is one of subtitles.
    """
    return track.startswith("subtitles")
