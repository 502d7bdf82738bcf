"""
The playlists a task was planned by, as they are written down beside its segments: enough to tell a later reading of
them from another version (`hls.rematch`), and no more. Pure.

It is one compressed text of JSON lines: of each track a head, then its segments in order. Links, keys and tokens are
not in it. Where nothing legible is remembered, the identities in the names of files decide alone.
"""

import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Set
from typing import Any  # Any: JSON values

import attrs

from m3u8svc.hls.plan import init_identity
from m3u8svc.hls.playlist import MAIN, Presentation, Stream
from m3u8svc.hls.rematch import Comparison, Piece, compare, pieces_of

VERSION = 1
_READ_BYTES = 64 << 10
_ENCODER = json.JSONEncoder(separators=(",", ":"))
"""One for all: `json.dumps` makes another for each line."""


@attrs.frozen(kw_only=True)
class Recollection:
    """
    What became of the tracks since they were written down. `stale_inits` are identities of init sections that belong to
    another version now. `same` means that there is nothing new to write down.
    """

    tracks: tuple[tuple[str, Comparison], ...] = ()
    stale_inits: frozenset[str] = frozenset()
    same: bool = False

    @property
    def dropped(self) -> frozenset[tuple[int, str]]:
        """The files that are of no use any more, as (position, identity)."""
        return frozenset().union(*(comparison.dropped for _, comparison in self.tracks))

    @property
    def remade(self) -> bool:
        """Whether any track is another version under the old names."""
        return any(comparison.remade for _, comparison in self.tracks)


def write_presentation(presentation: Presentation) -> bytes:
    """
    As it is stored. Costs time in proportion to the number of segments.
    """
    compressor = zlib.compressobj(level=1)
    written = [compressor.compress(_line({"version": VERSION}))]
    for stream in presentation.streams:
        written += [compressor.compress(line) for line in _lines(stream)]
    return b"".join([*written, compressor.flush()])


def pieces_by_track(stored: bytes) -> Iterator[tuple[str, Iterable[Piece]]]:
    """
    The pieces of each track that was stored. Those of a track must be taken before the next track is.

    Raises:
        zlib.error, ValueError, KeyError, TypeError, AttributeError: it is not ours, or damaged.
    """
    return ((str(head["track"]), pieces) for head, pieces in _tracks(_split(stored)))


def main_track(stored: bytes) -> tuple[list[str], Iterable[Piece]]:
    """
    The identities of the init sections of the main track, and its pieces.

    Raises:
        zlib.error, ValueError, KeyError, TypeError, AttributeError: it is not ours, or damaged; also while the pieces
            are taken.
    """
    for head, pieces in _tracks(_split(stored)):
        if head["track"] == MAIN:
            return list(map(str, head["inits"])), pieces
    return [], ()


def recollect(stored: bytes, presentation: Presentation, there: Set[tuple[int, str]]) -> Recollection:
    """
    What the presentation still has of the one that was stored, and what that means for the files `there`, (position,
    identity) each. Of a track that is gone nothing is kept: nobody would notice if it came back as another version.
    Costs time in proportion to the number of segments.
    """
    try:
        return _recollect(stored, presentation, there)
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return Recollection()  # not ours, or damaged


def _recollect(stored: bytes, presentation: Presentation, there: Set[tuple[int, str]]) -> Recollection:
    streams = {stream.track: stream.playlist for stream in presentation.streams}
    tracks = []
    stale: set[str] = set()
    for head, pieces in _tracks(_split(stored)):
        track = str(head["track"])
        if track in streams:
            found = compare(pieces, streams[track], track, there)
        else:
            found = _gone(pieces, there)
        tracks.append((track, found))
        if found.remade or track not in streams:
            stale.update(head["inits"])
    unchanged = [name for name, found in tracks if not found.lost and found.before == found.now]
    same = unchanged == list(streams) and len(tracks) == len(streams)
    return Recollection(tracks=tuple(tracks), stale_inits=frozenset(stale), same=same)


def _gone(pieces: Iterable[Piece], there: Set[tuple[int, str]]) -> Comparison:
    keys = [(piece.position, piece.identity) for piece in pieces]
    return Comparison(before=len(keys), now=0, lost=len(keys), dropped=frozenset(key for key in keys if key in there))


# -- Lines -----------------------------------------------------------------------------------------------------------


def _lines(stream: Stream) -> Iterator[bytes]:
    known = sorted({init_identity(init, stream.track) for init in stream.playlist.segments.inits})
    yield _line({"track": stream.track, "first": stream.playlist.media_sequence, "inits": known})
    for piece in pieces_of(stream.playlist, stream.track):
        yield _line([piece.identity, piece.name, piece.splice, round(piece.duration_s, 3)])


def _line(value: object) -> bytes:
    return _ENCODER.encode(value).encode() + b"\n"


def _split(stored: bytes) -> Iterator[bytes]:
    """
    The lines, decompressed a little at a time. What was cut off ends in a `ValueError`.
    """
    decompressor = zlib.decompressobj()
    rest = b""
    for start in range(0, len(stored), _READ_BYTES):
        *lines, rest = (rest + decompressor.decompress(stored[start : start + _READ_BYTES])).split(b"\n")
        yield from lines
    if rest or not decompressor.eof:
        raise ValueError("cut off")


def _tracks(lines: Iterator[bytes]) -> Iterator[tuple[dict[str, Any], Iterable[Piece]]]:
    """
    The head and the pieces of each track. The pieces must be taken before the next track is.
    """
    if json.loads(next(lines))["version"] != VERSION:
        return
    head: dict[str, Any] = {}
    for is_head, group in itertools.groupby(lines, key=lambda line: line.startswith(b"{")):
        if is_head:
            *_, last = group
            head = json.loads(last)
        else:
            yield head, _pieces(group, int(head["first"]))


def _pieces(lines: Iterable[bytes], first: int) -> Iterator[Piece]:
    for index, line in enumerate(lines):
        identity, name, splice, duration_s = json.loads(line)
        yield Piece(
            position=index + 1,
            number=first + index,
            identity=str(identity),
            name=str(name),
            splice=int(splice),
            duration_s=float(duration_s),
        )
