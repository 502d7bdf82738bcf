"""
Playlists described instead of pasted: say what matters to a test, the rest has plain defaults.

    media_playlist([SegmentLine(uri="a.ts"), SegmentLine(uri="b.ts", key=KeyLine(uri="k.bin"))])
    media_playlist(segment_lines(500), media_sequence=7)
    master_playlist([VariantLine(uri="low.m3u8", bandwidth=100_000)])

A builder writes what it is told, right or wrong: misbehaving playlists are what tests are for.
"""

import math
from collections.abc import Iterable, Sequence

import attrs


@attrs.frozen(kw_only=True)
class KeyLine:
    """
    One EXT-X-KEY. `uri` "" leaves the attribute out, as METHOD=NONE does.
    """

    uri: str = ""
    method: str = "AES-128"
    iv: str = ""
    keyformat: str = ""

    def render(self) -> str:
        """The tag."""
        return "#EXT-X-KEY:" + _attributes(
            ("METHOD", self.method),
            ("URI", _quoted(self.uri)),
            ("IV", self.iv),
            ("KEYFORMAT", _quoted(self.keyformat)),
        )


CLEAR = KeyLine(method="NONE")
"""Ends encryption."""


@attrs.frozen(kw_only=True)
class MapLine:
    """
    One EXT-X-MAP; `byterange` as ``n@o``.
    """

    uri: str
    byterange: str = ""

    def render(self) -> str:
        """The tag."""
        return "#EXT-X-MAP:" + _attributes(("URI", _quoted(self.uri)), ("BYTERANGE", _quoted(self.byterange)))


@attrs.frozen(kw_only=True)
class SegmentLine:
    """
    One segment with the tags in front of it. `key` and `map` are written here and stay in force; `byterange` is
    ``n`` or ``n@o``; `duration_s` None leaves EXTINF out; `before` are lines written as they are.
    """

    uri: str
    duration_s: float | None = 6.0
    title: str = ""
    byterange: str = ""
    keys: tuple[KeyLine, ...] = ()
    map: MapLine | None = None
    discontinuity: bool = False
    gap: bool = False
    program_date_time: str = ""
    before: tuple[str, ...] = ()

    def render(self) -> list[str]:
        """The lines, the URI last."""
        lines = list(self.before)
        lines += ["#EXT-X-DISCONTINUITY"] * self.discontinuity
        lines += [key.render() for key in self.keys]
        lines += [self.map.render()] if self.map else []
        lines += [f"#EXT-X-PROGRAM-DATE-TIME:{self.program_date_time}"] * bool(self.program_date_time)
        lines += ["#EXT-X-GAP"] * self.gap
        lines += [f"#EXTINF:{self.duration_s!r},{self.title}"] if self.duration_s is not None else []
        lines += [f"#EXT-X-BYTERANGE:{self.byterange}"] * bool(self.byterange)
        return [*lines, self.uri]


@attrs.frozen(kw_only=True)
class VariantLine:
    """
    One EXT-X-STREAM-INF with its URI; empty fields are left out.
    """

    uri: str
    bandwidth: int | None = 1_000_000
    average_bandwidth: int | None = None
    resolution: tuple[int, int] | None = None
    frame_rate: float | None = None
    video_range: str = ""
    codecs: str = ""
    audio: str = ""
    video: str = ""
    subtitles: str = ""

    def render(self) -> list[str]:
        """The tag and the URI."""
        attributes = _attributes(
            ("BANDWIDTH", _number(self.bandwidth)),
            ("AVERAGE-BANDWIDTH", _number(self.average_bandwidth)),
            ("RESOLUTION", f"{self.resolution[0]}x{self.resolution[1]}" if self.resolution else ""),
            ("FRAME-RATE", _number(self.frame_rate)),
            ("VIDEO-RANGE", self.video_range),
            ("CODECS", _quoted(self.codecs)),
            ("AUDIO", _quoted(self.audio)),
            ("VIDEO", _quoted(self.video)),
            ("SUBTITLES", _quoted(self.subtitles)),
        )
        return [f"#EXT-X-STREAM-INF:{attributes}", self.uri]


@attrs.frozen(kw_only=True)
class RenditionLine:
    """
    One EXT-X-MEDIA.
    """

    group: str
    name: str
    type: str = "AUDIO"
    uri: str = ""
    language: str = ""
    default: bool = False
    autoselect: bool = False
    forced: bool = False
    characteristics: str = ""

    def render(self) -> str:
        """The tag."""
        return "#EXT-X-MEDIA:" + _attributes(
            ("TYPE", self.type),
            ("GROUP-ID", _quoted(self.group)),
            ("NAME", _quoted(self.name)),
            ("LANGUAGE", _quoted(self.language)),
            ("DEFAULT", "YES" if self.default else ""),
            ("AUTOSELECT", "YES" if self.autoselect else ""),
            ("FORCED", "YES" if self.forced else ""),
            ("CHARACTERISTICS", _quoted(self.characteristics)),
            ("URI", _quoted(self.uri)),
        )


def segment_lines(count: int, *, duration_s: float = 6.0, name: str = "seg{:05d}.ts") -> list[SegmentLine]:
    """
    `count` plain segments, numbered from 1 in their names.
    """
    return [SegmentLine(uri=name.format(number), duration_s=duration_s) for number in range(1, count + 1)]


def media_playlist(
    segments: Iterable[SegmentLine],
    *,
    key: KeyLine | None = None,
    map: MapLine | None = None,
    media_sequence: int | None = None,
    discontinuity_sequence: int | None = None,
    target_duration_s: float | str | None = "auto",
    playlist_type: str = "VOD",
    version: int | None = 7,
    ended: bool = True,
    head: Sequence[str] = (),
    tail: Sequence[str] = (),
    newline: str = "\n",
) -> str:
    """
    A media playlist. `key` and `map` stand before the first segment; `head` and `tail` are lines written as they are,
    before the segments and after them; None leaves a tag out.
    """
    listed = list(segments)
    if target_duration_s == "auto":
        target_duration_s = math.ceil(max((each.duration_s or 0 for each in listed), default=1))
    lines = ["#EXTM3U"]
    lines += _tag("VERSION", version) + _tag("TARGETDURATION", target_duration_s)
    lines += _tag("MEDIA-SEQUENCE", media_sequence) + _tag("DISCONTINUITY-SEQUENCE", discontinuity_sequence)
    lines += _tag("PLAYLIST-TYPE", playlist_type or None)
    lines += [*head, *([key.render()] if key else []), *([map.render()] if map else [])]
    for segment in listed:
        lines += segment.render()
    lines += [*tail, *(["#EXT-X-ENDLIST"] if ended else [])]
    return newline.join(lines) + newline


def master_playlist(
    variants: Iterable[VariantLine],
    *,
    renditions: Iterable[RenditionLine] = (),
    version: int | None = 7,
    head: Sequence[str] = (),
    newline: str = "\n",
) -> str:
    """
    A multivariant playlist.
    """
    lines = ["#EXTM3U", *_tag("VERSION", version), *head, *(each.render() for each in renditions)]
    for variant in variants:
        lines += variant.render()
    return newline.join(lines) + newline


def _tag(name: str, value: object) -> list[str]:
    return [] if value is None else [f"#EXT-X-{name}:{value}"]


def _attributes(*pairs: tuple[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in pairs if value)


def _quoted(value: str) -> str:
    return f'"{value}"' if value else ""


def _number(value: float | None) -> str:
    return "" if value is None else str(value)
