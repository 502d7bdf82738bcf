"""
What to fetch for a playlist, in order, and what stays away: playlist + skips -> `DownloadPlan`.

Identities say "the same piece of the same stream" across reloads, new tokens and other mirrors: they leave out host
and query (origin-semantics 2.11, 6). Two pieces of one playlist never share one: segments differ in their number,
init sections in their `ordinal`.
"""

import hashlib
from collections.abc import Mapping

import attrs

from m3u8svc.errors import NothingToDownload
from m3u8svc.hls.playlist import InitSection, Key, MasterPlaylist, MediaPlaylist, Rendition, Segment, Variant
from m3u8svc.hls.uri import path_of

_GAP_REASON = "播放列表声明的空缺（EXT-X-GAP）"
_NOT_VIDEO = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "vorbis", "mp3", "dts", "wvtt", "stpp", "tx3g")


@attrs.frozen(kw_only=True)
class SegmentJob:
    """
    One segment to fetch.
    """

    segment: Segment
    identity: str


@attrs.frozen(kw_only=True)
class Absent:
    """
    One segment that will not be fetched, and why. `declared`: the playlist itself says that it is not there.
    """

    position: int
    duration_s: float
    discontinuity_sequence: int
    reason: str
    declared: bool


@attrs.frozen(kw_only=True)
class DownloadPlan:
    """
    Everything one download will do. `jobs` and `absent` are in playlist order and together make up the whole list;
    `inits` and `keys` are what the jobs need, each once. `segments_total` and `duration_s` count the jobs.
    """

    jobs: tuple[SegmentJob, ...] = attrs.field(repr=False)
    absent: tuple[Absent, ...] = ()
    inits: tuple[InitSection, ...] = ()
    keys: tuple[Key, ...] = ()
    segments_total: int
    duration_s: float


def plan_download(playlist: MediaPlaylist, skips: Mapping[int, str]) -> DownloadPlan:
    """
    The plan for `playlist` without the positions in `skips` (position -> reason).

    Raises:
        NothingToDownload: no segment is left.
    """
    jobs: list[SegmentJob] = []
    absent: list[Absent] = []
    inits: dict[str, InitSection] = {}
    keys: dict[str, Key] = {}
    for segment in playlist.segments:
        if segment.position in skips:
            absent.append(_absent(segment, skips[segment.position], declared=False))
        elif segment.gap:
            absent.append(_absent(segment, _GAP_REASON, declared=True))
        else:
            init = "" if segment.init is None else init_identity(segment.init)
            if segment.init is not None and init not in inits:
                inits[init] = segment.init
                _remember(keys, segment.init.key)
            _remember(keys, segment.key)
            jobs.append(SegmentJob(segment=segment, identity=_segment_identity(segment, init)))
    if not jobs:
        raise NothingToDownload()
    return DownloadPlan(
        jobs=tuple(jobs),
        absent=tuple(absent),
        inits=tuple(inits.values()),
        keys=tuple(keys.values()),
        segments_total=len(jobs),
        duration_s=sum(job.segment.duration_s for job in jobs),
    )


def init_identity(init: InitSection) -> str:
    """
    12 hexadecimal digits that name an init section as long as its stream names it so.
    """
    return _digest(path_of(init.uri), init.byterange and init.byterange.header, *_lock(init.key, init.iv), init.ordinal)


def best_variant(master: MasterPlaylist) -> Variant:
    """
    The variant with the highest BANDWIDTH, then the largest picture, then listed first. Audio-only ones are taken
    only when there is nothing else (M9).

    Raises:
        NothingToDownload: no variant at all.
    """
    if not master.variants:
        raise NothingToDownload()
    return max(master.variants, key=lambda each: (not is_audio_only(each), each.bandwidth, _pixels(each)))


def is_audio_only(variant: Variant) -> bool:
    """
    Whether a variant says that it has no picture. One that says nothing may have one.
    """
    return (
        bool(variant.codecs)
        and variant.width is None
        and all(codec.lower().startswith(_NOT_VIDEO) for codec in variant.codecs)
    )


def audio_rendition(master: MasterPlaylist, variant: Variant, language: str | None = None) -> Rendition | None:
    """
    The audio that goes with `variant` (M4): the wanted language, else DEFAULT, else AUTOSELECT, else the first of its
    group. None when it has no group; a rendition without URI is already inside the variant.
    """
    group = [each for each in master.renditions if each.type == "AUDIO" and each.group_id == variant.audio_group]
    if variant.audio_group is None or not group:
        return None
    return max(
        group, key=lambda each: (language is not None and each.language == language, each.default, each.autoselect)
    )


def _absent(segment: Segment, reason: str, *, declared: bool) -> Absent:
    return Absent(
        position=segment.position,
        duration_s=segment.duration_s,
        discontinuity_sequence=segment.discontinuity_sequence,
        reason=reason,
        declared=declared,
    )


def _remember(keys: dict[str, Key], key: Key | None) -> None:
    if key is not None:
        keys.setdefault(key.uri, key)


def _segment_identity(segment: Segment, init: str) -> str:
    byterange = segment.byterange and segment.byterange.header
    return _digest(segment.number, path_of(segment.uri), byterange, *_lock(segment.key, segment.iv), init)


def _lock(key: Key | None, iv: bytes | None) -> tuple[str, str]:
    return (path_of(key.uri), iv.hex() if iv else "") if key is not None else ("", "")


def _digest(*parts: object) -> str:
    # URIs hold no line feeds (parse refuses them), so parts cannot run into each other.
    text = "\n".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _pixels(variant: Variant) -> int:
    return (variant.width or 0) * (variant.height or 0)
