"""
Two readings of one playlist: which segments of the later one are still the same pieces (R-INT-3).

Between two readings links get new tokens and other hosts, lists are cut anew, shortened, encrypted otherwise. A piece
is the same as long as its identity (`hls.plan`: number, path, byte range, lock, init section), its splice and its
length are. A piece that is not there any more is no harm to the others: an advert was replaced, the end cut off. But
where one name, a number and a path, means another piece than before, the stream was made anew under its old names. Then
what still looks alike may be of the other version, too, and nothing of that list may stand beside what was fetched.
"""

import hashlib
from collections.abc import Container, Iterable, Iterator

import attrs

from m3u8svc.hls.failover import SAME_LENGTH_S
from m3u8svc.hls.plan import segment_identity
from m3u8svc.hls.playlist import MAIN, Key, MediaPlaylist, Segment
from m3u8svc.hls.uri import path_of


@attrs.frozen(kw_only=True)
class Piece:
    """
    What tells one segment of a playlist from another, and one version of it from another. `name` stands for its path.
    """

    position: int
    number: int
    identity: str
    name: str
    splice: int
    duration_s: float

    def is_same(self, other: "Piece") -> bool:
        """Whether both are one piece of one version, whatever their positions."""
        return (
            self.identity == other.identity
            and self.splice == other.splice
            and abs(self.duration_s - other.duration_s) <= SAME_LENGTH_S
        )


@attrs.frozen(kw_only=True)
class Comparison:
    """
    What a later reading has of an earlier one, `before` pieces then and `now` pieces now. Of the files that are there,
    as (position, identity), `dropped` are of no use any more; `kept` is how many are. `remade`: names were given to
    other pieces, so none is.
    """

    before: int
    now: int
    kept: int = 0
    dropped: frozenset[tuple[int, str]] = frozenset()
    lost: int = 0
    """How many earlier pieces the later reading has not, or has elsewhere, fetched or not."""
    remade: bool = False


def piece_of(segment: Segment, track: str = MAIN) -> Piece:
    """
    A segment as a piece of its track.
    """
    return Piece(
        position=segment.position,
        number=segment.number,
        identity=segment_identity(segment, track),
        name=hashlib.sha256(path_of(segment.uri).encode("utf-8", "surrogatepass")).hexdigest()[:8],
        splice=segment.discontinuity_sequence,
        duration_s=segment.duration_s,
    )


def pieces_of(playlist: MediaPlaylist, track: str = MAIN) -> Iterator[Piece]:
    """
    All pieces of a track, in order.
    """
    return (piece_of(segment, track) for segment in playlist.segments)


def compare(
    before: Iterable[Piece], now: MediaPlaylist, track: str = MAIN, there: Container[tuple[int, str]] = ()
) -> Comparison:
    """
    What the playlist `now` still has of the pieces of an earlier reading, and what that means for the files `there`.
    """
    count = lost = 0
    remade = False
    same: list[tuple[int, str]] = []
    other: list[tuple[int, str]] = []
    for old in before:
        count += 1
        found = segment_numbered(old.number, now)
        new = None if found is None else piece_of(found, track)
        matches = new is not None and old.is_same(new)
        remade = remade or (new is not None and not matches and new.name == old.name)
        usable = matches and new is not None and new.position == old.position
        lost += not usable
        if (old.position, old.identity) in there:
            (same if usable else other).append((old.position, old.identity))
    if remade:
        same, other = [], same + other
    return Comparison(
        before=count, now=len(now.segments), kept=len(same), dropped=frozenset(other), lost=lost, remade=remade
    )


def segment_numbered(number: int, playlist: MediaPlaylist) -> Segment | None:
    """
    The segment with this Media Sequence Number, None when the playlist has none.
    """
    index = number - playlist.media_sequence
    return playlist.segments[index] if 0 <= index < len(playlist.segments) else None


def with_links_of(playlist: MediaPlaylist, segment: Segment, track: str = MAIN) -> Segment | None:
    """
    A segment of an earlier reading with the links that `playlist` has for it: its own, those of its key and its init
    section. None when it is not there as the same piece.
    """
    found = segment_numbered(segment.number, playlist)
    if found is None or found.gap or not piece_of(segment, track).is_same(piece_of(found, track)):
        return None
    return attrs.evolve(segment, uri=found.uri, key=found.key, init=found.init)


def links_of(segment: Segment) -> tuple[str, ...]:
    """
    Every link that has to work for a segment to be had.
    """
    init = segment.init
    keys = (segment.key, None if init is None else init.key)
    links = [segment.uri, "" if init is None else init.uri, *("" if key is None else key.uri for key in keys)]
    return tuple(links)


def renamed_keys(before: MediaPlaylist, now: MediaPlaylist) -> dict[str, str]:
    """
    What each key link of `now` was called before, so that a key is not fetched under both. Links of which that is not
    certain are left out.
    """
    found: dict[str, str] = {}
    unsure: set[str] = set()
    for old in before.segments:
        new = segment_numbered(old.number, now)
        if new is None:
            continue
        for was, is_now in zip(_keys(old), _keys(new), strict=True):
            if was is None or is_now is None or path_of(was.uri) != path_of(is_now.uri):
                continue
            if found.setdefault(is_now.uri, was.uri) != was.uri:
                unsure.add(is_now.uri)
    return {new: old for new, old in found.items() if new not in unsure}


def _keys(segment: Segment) -> tuple[Key | None, Key | None]:
    return segment.key, None if segment.init is None else segment.init.key
