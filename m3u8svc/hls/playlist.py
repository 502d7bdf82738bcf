"""
The values an HLS playlist means, after parsing: frozen, every URI absolute, every byte range explicit.

Terms are those of RFC 8216. `position` counts all media segments of one media playlist from 1, in order, before any
filter: it is what skip expressions and file names speak of. `number` is the Media Sequence Number.
"""

import enum
from collections.abc import Mapping
from datetime import datetime

import attrs

MAIN = "main"
"""The track of the variant itself; renditions are "audio1", "audio2" …, "subtitles1" …"""
IDENTITY = "identity"
"""The KEYFORMAT of a key that is simply 16 bytes at a URI (RFC 8216 4.3.2.4)."""

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
    segments: tuple[Segment, ...] = attrs.field(repr=False)
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
        return sum(segment.duration_s for segment in self.segments)


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
