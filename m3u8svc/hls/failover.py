"""
The same segment at another place: redundant variants (M2) and other pathways (M8) hold the same content.

By Media Sequence Number alone different variants must not be aligned (L2), so a stand-in must agree in everything that
tells one piece of a stream from another: number, splice, length, and what it needs to be read.
"""

import attrs

from m3u8svc.errors import Fault, LiveUnsupported, M3u8svcError, PlaylistTooDeep, UnsupportedEncryption
from m3u8svc.hls.plan import init_identity
from m3u8svc.hls.playlist import MediaPlaylist, Segment

SAME_LENGTH_S = 0.05
"""How much two readings of one length may differ: servers round differently."""


def is_of_a_place(error: M3u8svcError) -> bool:
    """
    Whether an error may be that of one place: a server that fails, a playlist that is broken there. What the content is
    (live, encrypted in a way we do not know) is so everywhere.
    """
    everywhere = (LiveUnsupported, PlaylistTooDeep, UnsupportedEncryption)
    return error.fault is Fault.ORIGIN and not isinstance(error, everywhere)


def stand_in(segment: Segment, other: MediaPlaylist) -> Segment | None:
    """
    The segment of `other` that can take the place of `segment`, at its position and time; None when there is none.
    """
    place = segment.number - other.media_sequence
    if not 0 <= place < len(other.segments):
        return None
    found = other.segments[place]
    if found.gap or found.uri == segment.uri or not _agree(segment, found):
        return None
    return attrs.evolve(
        segment,
        uri=found.uri,
        byterange=found.byterange,
        key=found.key,
        iv=found.iv,
        init=found.init,
        gap=False,
    )


def without_gaps(playlist: MediaPlaylist, other: MediaPlaylist) -> MediaPlaylist:
    """
    `playlist` with the segments of `other` where it declares a GAP itself (S14).
    """
    segments = ((stand_in(segment, other) or segment) if segment.gap else segment for segment in playlist.segments)
    return attrs.evolve(playlist, segments=segments)


def _agree(one: Segment, other: Segment) -> bool:
    return (
        one.number == other.number
        and one.discontinuity_sequence == other.discontinuity_sequence
        and abs(one.duration_s - other.duration_s) <= SAME_LENGTH_S
        and (one.init is None) == (other.init is None)
        and (one.init is None or other.init is None or init_identity(one.init) == init_identity(other.init))
    )
