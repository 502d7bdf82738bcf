"""
What to fetch for a presentation, in order, and what stays away: playlists + skips -> `DownloadPlan`.

Identities say "the same piece of the same stream" across reloads, new tokens and other mirrors: they leave out host
and query (origin-semantics 2.11, 6). Two pieces of one playlist never share one: segments differ in their number,
init sections in their `ordinal`, pieces of two playlists in the name of their track.

Skips speak of the main playlist. What is skipped there is skipped in the renditions, too: splices as a whole, by their
discontinuity sequence number (RFC 8216 6.2.4 aligns renditions by it), anything else by its time.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain

import attrs

from m3u8svc.errors import NothingToDownload, UnsupportedEncryption
from m3u8svc.hls.playlist import (
    MAIN,
    InitSection,
    Key,
    MediaPlaylist,
    Presentation,
    Segment,
    Stream,
)
from m3u8svc.hls.sampleaes import CBCS
from m3u8svc.hls.uri import path_of

_GAP_REASON = "播放列表声明的空缺（EXT-X-GAP）"


MARGIN_S = 0.1
"""A rendition's segment that reaches out of what is skipped by no more than this goes with it."""


@attrs.frozen(kw_only=True)
class SegmentJob:
    """
    One segment to fetch. `track` names its stream.
    """

    segment: Segment
    identity: str
    track: str = MAIN


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
    start_s: float = 0.0
    track: str = MAIN


@attrs.frozen(kw_only=True)
class DownloadPlan:
    """
    Everything one download will do. `jobs` and `absent` are in order of time and together make up all lists; `inits`
    and `keys` are what the jobs need, each once. `segments_total` counts the jobs of all tracks, `duration_s` is that
    of the main one. `tracks` are those that have something to fetch, "main" first.
    """

    jobs: tuple[SegmentJob, ...] = attrs.field(repr=False)
    absent: tuple[Absent, ...] = ()
    inits: tuple[InitSection, ...] = ()
    keys: tuple[Key, ...] = ()
    segments_total: int
    duration_s: float
    tracks: tuple[str, ...] = (MAIN,)


def plan_presentation(presentation: Presentation, skips: Mapping[int, str]) -> DownloadPlan:
    """
    The plan for all streams, without the positions of the main one in `skips` (position -> reason). A rendition of
    which nothing is left is left out.

    Raises:
        NothingToDownload: no segment of the main stream is left.
    """
    main, *others = presentation.streams
    plans = [plan_download(main.playlist, skips)]
    for stream in others:
        try:
            plans.append(plan_download(stream.playlist, _skips_of_rendition(main, skips, stream), stream.track))
        except NothingToDownload:
            continue
    if len(plans) == 1:
        return plans[0]
    return DownloadPlan(
        # Sorting is stable: at one time the main stream comes first.
        jobs=tuple(sorted(chain(*(each.jobs for each in plans)), key=lambda job: job.segment.start_s)),
        absent=tuple(sorted(chain(*(each.absent for each in plans)), key=lambda absent: absent.start_s)),
        inits=tuple(chain(*(each.inits for each in plans))),
        keys=tuple({key.uri: key for key in chain(*(each.keys for each in plans))}.values()),
        segments_total=sum(each.segments_total for each in plans),
        duration_s=plans[0].duration_s,
        tracks=tuple(each.tracks[0] for each in plans),
    )


def _skips_of_rendition(main: Stream, skips: Mapping[int, str], stream: Stream) -> dict[int, str]:
    """
    Which segments of a rendition lie in what is skipped of the main stream.
    """
    if not skips:
        return {}
    skipped = [segment for segment in main.playlist.segments if segment.position in skips]
    whole = {segment.discontinuity_sequence: skips[segment.position] for segment in skipped}
    for segment in main.playlist.segments:
        if segment.position not in skips:
            whole.pop(segment.discontinuity_sequence, None)
    spliced = len({segment.discontinuity_sequence for segment in main.playlist.segments}) > 1
    spans = _spans([segment for segment in skipped if not spliced or segment.discontinuity_sequence not in whole])
    starts = [start for start, _, _ in spans]
    found: dict[int, str] = {}
    for segment in stream.playlist.segments:
        if spliced and segment.discontinuity_sequence in whole:
            found[segment.position] = whole[segment.discontinuity_sequence]
            continue
        at = bisect_right(starts, segment.start_s + MARGIN_S) - 1
        if at >= 0 and segment.start_s + segment.duration_s <= spans[at][1] + MARGIN_S:
            found[segment.position] = skips[spans[at][2]]
    return found


def _spans(skipped: Sequence[Segment]) -> list[tuple[float, float, int]]:
    """
    Start, end and first position of each stretch of segments that follow each other.
    """
    spans: list[tuple[float, float, int]] = []
    last = 0
    for segment in skipped:
        end = segment.start_s + segment.duration_s
        if spans and segment.position == last + 1:
            spans[-1] = (spans[-1][0], end, spans[-1][2])
        else:
            spans.append((segment.start_s, end, segment.position))
        last = segment.position
    return spans


def plan_download(playlist: MediaPlaylist, skips: Mapping[int, str], track: str = MAIN) -> DownloadPlan:
    """
    The plan for one playlist without the positions in `skips` (position -> reason).

    Raises:
        NothingToDownload: no segment is left.
        UnsupportedEncryption: SAMPLE-AES in fMP4.
    """
    jobs: list[SegmentJob] = []
    absent: list[Absent] = []
    inits: dict[str, InitSection] = {}
    keys: dict[str, Key] = {}
    for segment in playlist.segments:
        if segment.position in skips:
            absent.append(_absent(segment, skips[segment.position], track, declared=False))
        elif segment.gap:
            absent.append(_absent(segment, _GAP_REASON, track, declared=True))
        else:
            _refuse_cbcs(segment)
            init = "" if segment.init is None else init_identity(segment.init, track)
            if segment.init is not None and init not in inits:
                inits[init] = segment.init
                _remember(keys, segment.init.key)
            _remember(keys, segment.key)
            jobs.append(SegmentJob(segment=segment, identity=_segment_identity(segment, init, track), track=track))
    if not jobs:
        raise NothingToDownload()
    return DownloadPlan(
        jobs=tuple(jobs),
        absent=tuple(absent),
        inits=tuple(inits.values()),
        keys=tuple(keys.values()),
        segments_total=len(jobs),
        duration_s=sum(job.segment.duration_s for job in jobs),
        tracks=(track,),
    )


def _refuse_cbcs(segment: Segment) -> None:
    """
    S10: what a MAP stands before is fMP4, where SAMPLE-AES means another scheme, which nothing here undoes.
    """
    key = segment.key
    if key is not None and key.method == "SAMPLE-AES" and segment.init is not None:
        raise UnsupportedEncryption(method=CBCS, keyformat=key.keyformat, system="", line=key.line, tag="EXT-X-KEY")


def init_identity(init: InitSection, track: str = MAIN) -> str:
    """
    12 hexadecimal digits that name an init section as long as its stream names it so.
    """
    if init.known_as:
        return init.known_as
    byterange = init.byterange and init.byterange.header
    named = () if track == MAIN else (track,)
    return _digest(path_of(init.uri), byterange, *_lock(init.key, init.iv), init.ordinal, *named)


def _absent(segment: Segment, reason: str, track: str, *, declared: bool) -> Absent:
    return Absent(
        position=segment.position,
        duration_s=segment.duration_s,
        discontinuity_sequence=segment.discontinuity_sequence,
        reason=reason,
        declared=declared,
        start_s=segment.start_s,
        track=track,
    )


def _remember(keys: dict[str, Key], key: Key | None) -> None:
    if key is not None:
        keys.setdefault(key.uri, key)


def _segment_identity(segment: Segment, init: str, track: str) -> str:
    if segment.known_as:
        return segment.known_as
    byterange = segment.byterange and segment.byterange.header
    named = () if track == MAIN else (track,)  # what earlier versions named without a track keeps its name
    return _digest(segment.number, path_of(segment.uri), byterange, *_lock(segment.key, segment.iv), init, *named)


def _lock(key: Key | None, iv: bytes | None) -> tuple[str, str]:
    if key is None:
        return "", ""
    # A key that the user gave is no part of the playlist: with another one the same piece is another file.
    given = "" if key.value is None else hashlib.sha256(key.value).hexdigest()
    return path_of(key.uri) + given, iv.hex() if iv else ""


def _digest(*parts: object) -> str:
    # URIs hold no line feeds (parse refuses them), so parts cannot run into each other.
    text = "\n".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
