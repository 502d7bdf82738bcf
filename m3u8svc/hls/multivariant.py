"""
Multivariant playlists: the M rules.

I-frame and image streams (M6) are no candidates for a download and are passed over, and so is session data (M7).
"""

import re
from collections.abc import Iterable

from m3u8svc.errors import PlaylistError
from m3u8svc.hls.keys import KeyRing
from m3u8svc.hls.lines import Line, Reading, lenient_number, lenient_whole, read_version, repeated, too_large
from m3u8svc.hls.playlist import DEFAULT_PATHWAY, ContentSteering, Key, MasterPlaylist, Rendition, Variant
from m3u8svc.hls.tokens import State, TagReader, tokenize
from m3u8svc.hls.variables import Variables
from m3u8svc.wording import Said

MAX_VARIANTS = 1_000
MAX_RENDITIONS = 10_000

TAGS = frozenset(
    f"#EXT-X-{name}"
    for name in ("STREAM-INF", "MEDIA", "I-FRAME-STREAM-INF", "IMAGE-STREAM-INF", "SESSION-DATA", "SESSION-KEY")
)
"""Tags that stand in multivariant playlists only (G4)."""

_RESOLUTION = re.compile(r"([0-9]{1,6})[xX]([0-9]{1,6})")


def parse_multivariant(lines: Iterable[Line], url: str, reading: Reading, variables: Variables) -> MasterPlaylist:
    """
    The multivariant playlist that `lines` are.
    """
    tags = _MasterTags(reading)
    tokens = tokenize(_normalised(lines, reading), tags.readers())
    return MasterPlaylist(
        url=url,
        variants=tuple(Variant(uri=each["uri"], **each["stream_info"]) for each in tokens["playlists"]),
        renditions=tuple(tags.renditions),
        session_keys=tuple(tags.session_keys),
        steering=tags.steering,
        definitions=variables.definitions,
        version=tags.version,
        warnings=reading.warnings.texts(),
    )


def _normalised(lines: Iterable[Line], reading: Reading) -> list[Line]:
    """
    The lines with URIs absolute; a STREAM-INF without URI and a URI without STREAM-INF are told and left out.
    """
    fed: list[Line] = []
    waiting: Line | None = None
    count = 0
    for line in lines:
        if line.name == "#EXT-X-STREAM-INF":
            if waiting is not None:
                reading.warnings.add(
                    waiting.number, Said("STREAM-INF 之后没有链接，已忽略", "no URI follows STREAM-INF, ignored")
                )
            waiting = line
        elif line.name:
            fed.append(line)
        elif waiting is None:
            reading.warnings.add(
                line.number, Said("链接之前没有 STREAM-INF，已忽略", "no STREAM-INF is before the URI, ignored")
            )
        else:
            fed += [waiting, Line(line.number, "", reading.absolute(line, line.value))]
            waiting = None
            count += 1
    if waiting is not None:
        reading.warnings.add(
            waiting.number, Said("STREAM-INF 之后没有链接，已忽略", "no URI follows STREAM-INF, ignored")
        )
    if count > MAX_VARIANTS:
        raise too_large(Said("码流数", "the number of Variant Streams"), MAX_VARIANTS)
    return fed


class _MasterTags:
    """
    Reads the tags of a multivariant playlist.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._ring = KeyRing(reading)
        self._steering_given = False
        self._version_given = False
        self.version = 1
        self.renditions: list[Rendition] = []
        self.session_keys: list[Key] = []
        self.steering: ContentSteering | None = None

    def readers(self) -> dict[str, TagReader]:
        """Which method reads which tag."""
        return {
            "#EXT-X-STREAM-INF": self._stream_inf,
            "#EXT-X-MEDIA": self._media,
            "#EXT-X-SESSION-KEY": self._session_key,
            "#EXT-X-CONTENT-STEERING": self._content_steering,
            "#EXT-X-VERSION": self._version,
        }

    def _stream_inf(self, line: Line, data: State, state: State) -> None:
        state["stream_info"] = self._variant_fields(line)
        state["expect_playlist"] = True

    def _variant_fields(self, line: Line) -> State:
        """
        M1: the fields of a `Variant` but its URI; what cannot be read is left at its default, with a warning.
        """
        attributes = self._reading.attributes(line)
        size = _RESOLUTION.fullmatch(attributes.get("RESOLUTION", ""))
        if "RESOLUTION" in attributes and size is None:
            self._reading.warnings.add(
                line.number, Said("RESOLUTION 无法识别，已忽略", "RESOLUTION is not understood, ignored")
            )
        bandwidth = lenient_whole(attributes.get("BANDWIDTH"))
        if bandwidth is None:
            self._reading.warnings.add(
                line.number,
                Said("码流没有有效的 BANDWIDTH，按 0 处理", "the Variant Stream has no valid BANDWIDTH; taken as 0"),
            )
        return {
            "bandwidth": bandwidth or 0,
            "average_bandwidth": lenient_whole(attributes.get("AVERAGE-BANDWIDTH")),
            "width": int(size[1]) if size else None,
            "height": int(size[2]) if size else None,
            "frame_rate": lenient_number(attributes.get("FRAME-RATE")),
            "score": lenient_number(attributes.get("SCORE")),
            "codecs": _listed(attributes.get("CODECS")),
            "supplemental_codecs": _listed(attributes.get("SUPPLEMENTAL-CODECS")),
            "video_range": attributes.get("VIDEO-RANGE"),
            "hdcp_level": attributes.get("HDCP-LEVEL"),
            "allowed_cpc": attributes.get("ALLOWED-CPC"),
            "req_video_layout": attributes.get("REQ-VIDEO-LAYOUT"),
            "audio_group": attributes.get("AUDIO"),
            "video_group": attributes.get("VIDEO"),
            "subtitles_group": attributes.get("SUBTITLES"),
            "closed_captions": attributes.get("CLOSED-CAPTIONS"),
            "stable_variant_id": attributes.get("STABLE-VARIANT-ID") or None,
            "pathway_id": attributes.get("PATHWAY-ID") or DEFAULT_PATHWAY,
            "line": line.number,
        }

    def _media(self, line: Line, data: State, state: State) -> None:
        """
        M3. Captions are never a resource of their own; subtitles without one are nothing.
        """
        attributes = self._reading.attributes(line)
        kind = attributes.get("TYPE", "").upper()
        reference = attributes.get("URI", "") if kind != "CLOSED-CAPTIONS" else ""
        if not kind or (kind == "SUBTITLES" and not reference):
            self._reading.warnings.add(
                line.number, Said("EXT-X-MEDIA 缺少 TYPE 或 URI，已忽略", "EXT-X-MEDIA has no TYPE or URI, ignored")
            )
            return
        if len(self.renditions) == MAX_RENDITIONS:
            raise too_large(Said("EXT-X-MEDIA 数", "the number of EXT-X-MEDIA tags"), MAX_RENDITIONS, line.number)
        self.renditions.append(
            Rendition(
                type=kind,
                group_id=attributes.get("GROUP-ID", ""),
                name=attributes.get("NAME", ""),
                uri=self._reading.absolute(line, reference) if reference else None,
                language=attributes.get("LANGUAGE"),
                assoc_language=attributes.get("ASSOC-LANGUAGE"),
                default=attributes.get("DEFAULT") == "YES",
                autoselect=attributes.get("AUTOSELECT") == "YES",
                forced=attributes.get("FORCED") == "YES",
                instream_id=attributes.get("INSTREAM-ID"),
                characteristics=_listed(attributes.get("CHARACTERISTICS")),
                channels=attributes.get("CHANNELS"),
                bit_depth=lenient_whole(attributes.get("BIT-DEPTH")),
                sample_rate=lenient_whole(attributes.get("SAMPLE-RATE")),
                stable_rendition_id=attributes.get("STABLE-RENDITION-ID") or None,
                line=line.number,
            )
        )

    def _session_key(self, line: Line, data: State, state: State) -> None:
        """
        M7: an early hint. DRM is none for us, and a broken one is told: the media playlists have the keys that count.
        """
        attributes = self._reading.attributes(line)
        if attributes.get("METHOD", "").upper() == "NONE":
            self._reading.warnings.add(
                line.number, Said("EXT-X-SESSION-KEY 无法识别，已忽略", "EXT-X-SESSION-KEY is not understood, ignored")
            )
            return
        try:
            key = self._ring.read(line, attributes)
        except PlaylistError as error:
            if "kind" not in error.fields:  # too many
                raise
            self._reading.warnings.add(
                line.number, Said("EXT-X-SESSION-KEY 无法识别，已忽略", "EXT-X-SESSION-KEY is not understood, ignored")
            )
            return
        if self._ring.usable(key):
            self.session_keys.append(key)

    def _content_steering(self, line: Line, data: State, state: State) -> None:
        """
        M8: a list to fail over by. Without a manifest it is of no use.
        """
        if self._steering_given:
            self._reading.warnings.add(
                line.number,
                Said(
                    "EXT-X-CONTENT-STEERING 重复，取第一个",
                    "EXT-X-CONTENT-STEERING is there more than once, the first counts",
                ),
            )
            return
        self._steering_given = True
        attributes = self._reading.attributes(line)
        try:
            uri = self._reading.absolute_or_data(line, attributes.get("SERVER-URI", ""))
        except PlaylistError:
            self._reading.warnings.add(
                line.number,
                Said(
                    "EXT-X-CONTENT-STEERING 没有可用的 SERVER-URI，已忽略",
                    "EXT-X-CONTENT-STEERING has no SERVER-URI that can be used, ignored",
                ),
            )
            return
        self.steering = ContentSteering(server_uri=uri, pathway_id=attributes.get("PATHWAY-ID", ""), line=line.number)

    def _version(self, line: Line, data: State, state: State) -> None:
        if self._version_given:
            self._reading.warnings.add(line.number, repeated(line))
            return
        self._version_given = True
        self.version = read_version(line, self._reading.warnings)


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in (value or "").split(",") if each.strip())
