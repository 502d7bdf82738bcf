"""
What a download would be, for people and programs that want to know before it begins: presentation + skips -> `Outline`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from os.path import commonprefix

import attrs

from m3u8svc.hls.groups import split_groups
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Rendition, Segment, Stream, Variant
from m3u8svc.hls.select import is_audio_only
from m3u8svc.redact import redact_url

_DIGITS = re.compile(r"[0-9]+")


@attrs.frozen(kw_only=True)
class OutlinedVariant:
    """
    One variant of the multivariant playlist; None is what it does not say.
    """

    bandwidth: int | None
    average_bandwidth: int | None
    width: int | None
    height: int | None
    fps: float | None
    range: str | None
    codecs: tuple[str, ...]
    audio_only: bool
    chosen: bool


@attrs.frozen(kw_only=True)
class OutlinedRendition:
    """
    One rendition of the multivariant playlist. `group` is its GROUP-ID; `inside`: the variant itself has it; `track` is
    the name of the chosen one's track, "" for others and for those inside.
    """

    type: str
    group: str
    language: str
    name: str
    default: bool
    forced: bool
    inside: bool
    chosen: bool
    track: str


@attrs.frozen(kw_only=True)
class OutlinedTrack:
    """
    One media playlist of the download.
    """

    track: str
    segments: int
    duration_s: float


@attrs.frozen(kw_only=True)
class OutlinedSkip:
    """
    Segments of the main playlist that one reason leaves out; `positions` as in a skip expression.
    """

    positions: str
    count: int
    reason: str


@attrs.frozen(kw_only=True)
class OutlinedGroup:
    """
    A stretch between discontinuities. `url` is what its segments' addresses have in common, "*" for what differs,
    without queries; `skipped` counts those left out.
    """

    number: int
    first: int
    last: int
    start_s: float
    duration_s: float
    url: str
    skipped: int


@attrs.frozen(kw_only=True)
class Outline:
    """
    The whole. `segments`, `skipped` and `gaps` count in the main playlist; `duration_s` and `estimated_bytes` are of
    what would be downloaded, the latter None where nothing says it. `methods` and `key_formats` are those in use.
    """

    variants: tuple[OutlinedVariant, ...] = ()
    renditions: tuple[OutlinedRendition, ...] = ()
    tracks: tuple[OutlinedTrack, ...] = ()
    segments: int
    skipped: int
    gaps: int
    skips: tuple[OutlinedSkip, ...] = ()
    groups: tuple[OutlinedGroup, ...] = ()
    duration_s: float
    estimated_bytes: int | None
    methods: tuple[str, ...] = ()
    key_formats: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def outline(presentation: Presentation, skips: Mapping[int, str]) -> Outline:
    """
    The outline of a download of `presentation` without the positions in `skips` (position -> reason).
    """
    main = presentation.main
    kept = [segment for segment in main.segments if segment.position not in skips and not segment.gap]
    everything = [segment for stream in presentation.streams for segment in stream.playlist.segments]
    warnings = [*presentation.warnings, *(each for stream in presentation.streams for each in stream.playlist.warnings)]
    return Outline(
        variants=_variants(presentation),
        renditions=_renditions(presentation),
        tracks=tuple(_track(stream) for stream in presentation.streams),
        segments=len(main.segments),
        skipped=len(skips),
        gaps=sum(segment.gap and segment.position not in skips for segment in main.segments),
        skips=_skips(skips),
        groups=_groups(main, skips),
        duration_s=round(sum(segment.duration_s for segment in kept), 3),
        estimated_bytes=_estimate(presentation, kept),
        methods=tuple(dict.fromkeys(segment.key.method for segment in everything if segment.key)),
        key_formats=tuple(dict.fromkeys(segment.key.keyformat for segment in everything if segment.key)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def position_ranges(positions: Iterable[int]) -> str:
    """
    Positions as a skip expression writes them: "1,3-5".
    """
    ranges: list[list[int]] = []
    for position in sorted(positions):
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _variants(presentation: Presentation) -> tuple[OutlinedVariant, ...]:
    if presentation.master is None:
        return ()
    return tuple(_variant(each, each == presentation.variant) for each in presentation.master.variants)


def _variant(variant: Variant, chosen: bool) -> OutlinedVariant:
    return OutlinedVariant(
        bandwidth=variant.bandwidth or None,
        average_bandwidth=variant.average_bandwidth,
        width=variant.width,
        height=variant.height,
        fps=variant.frame_rate,
        range=variant.video_range,
        codecs=variant.codecs,
        audio_only=is_audio_only(variant),
        chosen=chosen,
    )


def _renditions(presentation: Presentation) -> tuple[OutlinedRendition, ...]:
    if presentation.master is None:
        return ()
    tracks = {_identity(stream.rendition): stream.track for stream in presentation.streams if stream.rendition}
    return tuple(
        OutlinedRendition(
            type=each.type,
            group=each.group_id,
            language=each.language or "",
            name=each.name,
            default=each.default,
            forced=each.forced,
            inside=each.uri is None and each.type != "CLOSED-CAPTIONS",
            chosen=_identity(each) in tracks or _is_inside(each, presentation.variant),
            track=tracks.get(_identity(each), ""),
        )
        for each in presentation.master.renditions
    )


def _identity(rendition: Rendition) -> tuple[str, str, str]:
    return rendition.type, rendition.group_id, rendition.name


def _is_inside(rendition: Rendition, variant: Variant | None) -> bool:
    """
    Whether a rendition comes with the variant, since it has no URI of its own.
    """
    if variant is None or rendition.uri is not None:
        return False
    groups = {"AUDIO": variant.audio_group, "VIDEO": variant.video_group}
    return groups.get(rendition.type) == rendition.group_id


def _track(stream: Stream) -> OutlinedTrack:
    return OutlinedTrack(
        track=stream.track,
        segments=len(stream.playlist.segments),
        duration_s=round(stream.playlist.duration_s, 3),
    )


def _skips(skips: Mapping[int, str]) -> tuple[OutlinedSkip, ...]:
    by_reason: defaultdict[str, list[int]] = defaultdict(list)
    for position, reason in sorted(skips.items()):
        by_reason[reason].append(position)
    return tuple(
        OutlinedSkip(positions=position_ranges(positions), count=len(positions), reason=reason)
        for reason, positions in by_reason.items()
    )


def _groups(main: MediaPlaylist, skips: Mapping[int, str]) -> tuple[OutlinedGroup, ...]:
    return tuple(
        OutlinedGroup(
            number=number,
            first=group[0].position,
            last=group[-1].position,
            start_s=round(group[0].start_s, 3),
            duration_s=round(sum(segment.duration_s for segment in group), 3),
            url=url_pattern([segment.uri for segment in group]),
            skipped=sum(segment.position in skips for segment in group),
        )
        for number, group in enumerate(split_groups(main.segments), start=1)
    )


def url_pattern(uris: Sequence[str]) -> str:
    """
    What addresses have in common: their numbers as "*" where that makes them one, else how they begin. Without queries
    and user names, which may be secrets.
    """
    shown = list(dict.fromkeys(redact_url(uri.partition("?")[0]) for uri in uris))
    if len(shown) == 1:
        return shown[0]
    folder, _, name = shown[0].rpartition("/")
    pattern = f"{folder}/{_DIGITS.sub('*', name)}"
    if all(pattern == f"{each.rpartition('/')[0]}/{_DIGITS.sub('*', each.rpartition('/')[2])}" for each in shown):
        return pattern
    return f"{commonprefix(shown)}*"


def _estimate(presentation: Presentation, kept: Sequence[Segment]) -> int | None:
    """
    Bytes, where the playlists say enough: byte ranges and EXT-X-BITRATE of each segment, else what the variant says of
    itself, which is of all that is played with it.
    """
    sizes = [_size(segment) for segment in kept]
    if all(size is not None for size in sizes):
        others = [segment for stream in presentation.streams[1:] for segment in stream.playlist.segments]
        return sum(size or 0 for size in (*sizes, *map(_size, others)))
    variant = presentation.variant
    rate = 0 if variant is None else variant.average_bandwidth or variant.bandwidth
    return round(rate / 8 * sum(segment.duration_s for segment in kept)) if rate else None


def _size(segment: Segment) -> int | None:
    if segment.byterange is not None:
        return segment.byterange.length_bytes
    return None if segment.bitrate is None else round(segment.bitrate / 8 * segment.duration_s)
