"""
One moov of many: the sample tables of MP4 chunks that were muxed one after the other into one file. Pure.

A chunk is a whole MP4 to libav, which wrote its media where it belongs and its moov into memory. What is new in the
film is not in that moov exactly: libav rounds where a chunk begins, and takes the rates of each chunk's track from that
chunk alone. So the times and key frames are those that were handed to the muxer (`Stamps`), counted on the output's own
clock, and of the moov the sizes, places and descriptions are taken. The boxes that say what a track is (names,
languages, flags) come from the first chunk it has samples in.

Descriptions that differ only in bit rates, which libav counts per chunk, are one.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import attrs

from m3u8svc.mux.fmp4 import Box, BrokenBoxes, walk

Run = tuple[int, int]
"""So many samples in a row, and what they have in common."""

_TABLES = frozenset({b"stts", b"ctts", b"stss", b"stsc", b"stsz", b"stco", b"co64", b"stsd", b"sbgp", b"sdtp"})
_MOST_32 = 0x7FFFFFFF
_ENTRY_HEADS = {b"vide": 78, b"soun": 28}
"""How long the fixed part of a sample description is; boxes follow it."""


@attrs.define(kw_only=True)
class Stamps:
    """
    What was handed to the muxer of one track: the dts and pts of every packet in ticks of the track, the packets that
    begin a picture anew (from 1), where the last one ends.
    """

    dts: "array[int]" = attrs.field(factory=lambda: array("q"))
    pts: "array[int]" = attrs.field(factory=lambda: array("q"))
    sync: list[int] = attrs.field(factory=list)
    end_dts: int = 0
    end_pts: int = 0

    def add(self, dts: int, pts: int, duration: int, is_key: bool) -> None:
        """One more packet."""
        self.dts.append(dts)
        self.pts.append(pts)
        if is_key:
            self.sync.append(len(self.dts))
        self.end_dts = dts + duration
        if pts + duration > self.end_pts or len(self.dts) == 1:
            self.end_pts = pts + duration


@attrs.frozen(kw_only=True)
class Piece:
    """
    The samples of one track in one chunk. `steps` are (count, ticks to the next sample), the last its own length;
    `delays` (count, pts - dts); `sync` the samples that are key frames; `places` (offset in the file, samples,
    description from 1) of each stretch in the media; `trak` the box that says what the track is.
    """

    trak: bytes
    descriptions: tuple[bytes, ...]
    timescale: int
    first_dts: int
    steps: tuple[Run, ...]
    delays: tuple[Run, ...]
    sync: tuple[int, ...]
    sizes: tuple[int, ...]
    places: tuple[tuple[int, int, int], ...]
    end_pts: int
    dependencies: bytes = b""

    @property
    def last_dts(self) -> int:
        """Of its last sample."""
        return self.first_dts + sum(count * step for count, step in self.steps) - self.steps[-1][1]


# -- Reading a chunk's moov ------------------------------------------------------------------------------------------


def read_pieces(moov: bytes, *, shift: int, stamps: Sequence[Stamps], timescales: Sequence[int]) -> list[Piece]:
    """
    The tracks of a chunk, in order. `moov` is the content of that box; `shift` brings its offsets to those of the file;
    `stamps` and `timescales` are of the tracks that have samples.

    Raises:
        BrokenBoxes: it is not what libav writes, or not about these packets.
    """
    traks = [box for box in walk(moov, 0, len(moov)) if box.kind == b"trak"]
    if len(traks) != len(stamps):
        raise BrokenBoxes(f"{len(traks)} tracks in a chunk where {len(stamps)} have samples")
    return [
        _read_piece(moov[box.start : box.end], shift, given, timescale)
        for box, given, timescale in zip(traks, stamps, timescales, strict=True)
    ]


def _read_piece(trak: bytes, shift: int, stamps: Stamps, timescale: int) -> Piece:
    tables = {box.kind: trak[box.content : box.end] for box in _tables(trak)}
    sizes = _read_sizes(tables[b"stsz"])
    own_timescale = read_timescale(_find(trak, b"mdia", b"mdhd"))
    timed = stamps
    if len(timed.dts) != len(sizes):  # libav dropped a packet later than it said: its own times are all there is
        timed = _stamps_of(tables, len(sizes), stamps, own_timescale, timescale)
    steps = [after - before for before, after in zip(timed.dts, timed.dts[1:], strict=False)]
    return Piece(
        trak=trak,
        descriptions=_read_descriptions(tables[b"stsd"]),
        timescale=timescale,
        first_dts=timed.dts[0],
        steps=_runs([*steps, timed.end_dts - timed.dts[-1]]),
        delays=_runs(pts - dts for dts, pts in zip(timed.dts, timed.pts, strict=True)),
        sync=tuple(timed.sync),
        sizes=sizes,
        places=_read_places(tables, len(sizes), shift),
        end_pts=timed.end_pts,
        dependencies=tables.get(b"sdtp", b"")[4:],
    )


def _tables(trak: bytes) -> Iterator[Box]:
    stbl = _descend(trak, b"mdia", b"minf", b"stbl")
    return walk(trak, stbl.content, stbl.end)


def _descend(box: bytes, *kinds: bytes) -> Box:
    at = next(walk(box, 0, len(box)))
    for kind in kinds:
        for child in walk(box, at.content, at.end):
            if child.kind == kind:
                at = child
                break
        else:
            raise BrokenBoxes(f"no {kind.decode('latin-1')}")
    return at


def _find(box: bytes, *kinds: bytes) -> bytes:
    found = _descend(box, *kinds)
    return box[found.content : found.end]


def read_timescale(header: bytes) -> int:
    """
    The ticks a second that an mvhd or mdhd names.
    """
    at = 20 if header[0] == 1 else 12
    return int.from_bytes(header[at : at + 4]) or 1


def _read_sizes(stsz: bytes) -> tuple[int, ...]:
    same, count = struct.unpack_from(">II", stsz, 4)
    return (same,) * count if same else struct.unpack_from(f">{count}I", stsz, 12)


def _read_descriptions(stsd: bytes) -> tuple[bytes, ...]:
    return tuple(stsd[box.start : box.end] for box in walk(stsd, 8, len(stsd)))


def _read_places(tables: dict[bytes, bytes], samples: int, shift: int) -> tuple[tuple[int, int, int], ...]:
    wide = b"co64" in tables
    table = tables[b"co64" if wide else b"stco"]
    count = int.from_bytes(table[4:8])
    offsets = struct.unpack_from(f">{count}{'Q' if wide else 'I'}", table, 8)
    rows = list(struct.iter_unpack(">III", tables[b"stsc"][8:]))
    places = []
    for (first, each, description), following in zip(rows, [*rows[1:], (count + 1, 0, 0)], strict=True):
        for number in range(first, following[0]):
            places.append((offsets[number - 1] + shift, each, description))
    if sum(each for _, each, _ in places) != samples:
        raise BrokenBoxes("stsc and stsz of a chunk do not agree")
    return tuple(places)


def _stamps_of(tables: dict[bytes, bytes], samples: int, given: Stamps, own: int, timescale: int) -> Stamps:
    """The times as libav has them, from where we know that the first packet is."""
    steps = [step for count, step in struct.iter_unpack(">II", tables[b"stts"][8:]) for _ in range(count)]
    delays = [0] * samples
    if b"ctts" in tables:
        delays = [delay for count, delay in struct.iter_unpack(">II", tables[b"ctts"][8:]) for _ in range(count)]
    stss = tables.get(b"stss")
    sync = set(range(1, samples + 1) if stss is None else (row[0] for row in struct.iter_unpack(">I", stss[8:])))
    found = Stamps()
    at = 0
    for number, (step, delay) in enumerate(zip(steps, delays, strict=True), 1):
        dts, following = (given.dts[0] + time * timescale // own for time in (at, at + step))
        found.add(dts, dts + delay * timescale // own, following - dts, number in sync)
        at += step
    return found


def _runs(values: Iterable[int]) -> tuple[Run, ...]:
    return tuple((len(list(group)), value) for value, group in groupby(values))


# -- One track of the film -------------------------------------------------------------------------------------------


class TrackTable:
    """
    All samples of one track, chunk after chunk.
    """

    def __init__(self) -> None:
        self._trak = b""
        self._timescale = 1
        self._kind = b""
        self._descriptions: list[bytes] = []
        self._known: dict[bytes, int] = {}
        self._first_dts = self._first_delay = 0
        self._steps: list[Run] = []
        self._delays: list[Run] = []
        self._sync: list[int] = []
        self._sizes = array("I")
        self._offsets: list[int] = []
        self._contents: list[tuple[int, int]] = []
        self._last_dts = 0
        self._end_pts = 0
        self._dependencies: bytes | None = None
        self._pictures = False

    @property
    def samples(self) -> int:
        """How many samples it has."""
        return len(self._sizes)

    def add(self, piece: Piece) -> None:
        """Append the samples of the next chunk."""
        if not self._sizes:
            self._trak, self._timescale = piece.trak, piece.timescale
            self._kind = _find(piece.trak, b"mdia", b"hdlr")[8:12]
            self._first_dts, self._first_delay = piece.first_dts, piece.delays[0][1]
        else:
            self._stretch_last(piece.first_dts)
        numbers = [self._number_of(each) for each in piece.descriptions]
        for run in piece.steps:
            _append(self._steps, run)
        for run in piece.delays:
            _append(self._delays, run)
        before = self.samples
        self._sync += [before + number for number in piece.sync]
        if piece.dependencies or self._dependencies:
            own = piece.dependencies or bytes(len(piece.sizes))
            self._dependencies = (self._dependencies or bytes(before)) + own
        self._sizes.extend(piece.sizes)
        for offset, samples, description in piece.places:
            self._offsets.append(offset)
            self._contents.append((samples, numbers[description - 1]))
        self._last_dts = piece.last_dts
        self._end_pts = max(self._end_pts, piece.end_pts)

    def _stretch_last(self, next_dts: int) -> None:
        """The last sample so far lasts until the next chunk's first."""
        count, _ = self._steps.pop()
        if count > 1:
            _append(self._steps, (count - 1, _))
        _append(self._steps, (1, next_dts - self._last_dts))

    def _number_of(self, description: bytes) -> int:
        essence, rates = _essence(description, self._kind)
        number = self._known.get(essence)
        if number is None:
            self._descriptions.append(description)
            number = self._known[essence] = len(self._descriptions)
        else:
            known = self._descriptions[number - 1]
            self._descriptions[number - 1] = _with_larger_rates(known, description, rates)
        return number

    # -- Writing -----------------------------------------------------------------------------------------------------

    @property
    def _media_duration(self) -> int:
        return sum(count * step for count, step in self._steps)

    def edits(self, movie_timescale: int) -> list[tuple[int, int]]:
        """
        Its edit list, (duration in the movie's ticks, media time): what libav would write for one chunk of all this.
        """
        first_pts = self._first_dts + self._first_delay
        shown = self._end_pts - first_pts
        duration = -(-shown * movie_timescale // self._timescale)
        delay = first_pts * movie_timescale // self._timescale
        if delay > 0:
            return [(delay, -1), (duration, self._first_delay)]
        return [(duration + delay, -min(self._first_dts, 0))]

    def trak(self, number: int, movie_timescale: int) -> bytes:
        """The whole box, as track `number` of the film."""
        edits = self.edits(movie_timescale)
        duration = sum(each for each, _ in edits)

        def rebuilt(box: Box) -> bytes:
            match box.kind:
                case b"mdia" | b"minf":
                    return _box(box.kind, b"".join(map(rebuilt, walk(self._trak, box.content, box.end))))
                case b"tkhd":
                    return _box(b"tkhd", _set_track(self._content(box), number, duration)) + _edts(edits)
                case b"edts":
                    return b""
                case b"mdhd":
                    return _box(b"mdhd", _set_media(self._content(box), self._timescale, self._media_duration))
                case b"stbl":
                    others = [each for each in walk(self._trak, box.content, box.end) if each.kind not in _TABLES]
                    kept = b"".join(self._trak[each.start : each.end] for each in others)
                    return _box(b"stbl", self._sample_tables() + kept + self._groups(box))
            return self._trak[box.start : box.end]

        top = next(walk(self._trak, 0, len(self._trak)))
        return _box(b"trak", b"".join(map(rebuilt, walk(self._trak, top.content, top.end))))

    def _content(self, box: Box) -> bytes:
        return self._trak[box.content : box.end]

    def _sample_tables(self) -> bytes:
        tables = [
            _full(b"stsd", _count(len(self._descriptions)) + b"".join(self._descriptions)),
            _full(b"stts", _pairs(self._steps)),
        ]
        if self._kind == b"vide" and 0 < len(self._sync) < self.samples:
            tables.append(_full(b"stss", _count(len(self._sync)) + struct.pack(f">{len(self._sync)}I", *self._sync)))
        if self._dependencies is not None:
            tables.append(_full(b"sdtp", self._dependencies))
        if any(delay for _, delay in self._delays):
            tables.append(_full(b"ctts", _pairs(self._delays)))
        tables += [_full(b"stsc", self._stsc()), _full(b"stsz", self._stsz()), self._chunk_offsets()]
        return b"".join(tables)

    def _stsc(self) -> bytes:
        rows = [
            (number, *content)
            for number, (content, before) in enumerate(
                zip(self._contents, [None, *self._contents[:-1]], strict=True), 1
            )
            if content != before
        ]
        return _count(len(rows)) + b"".join(struct.pack(">III", *row) for row in rows)

    def _stsz(self) -> bytes:
        if len(set(self._sizes)) == 1:
            return struct.pack(">II", self._sizes[0], self.samples)
        return struct.pack(f">II{self.samples}I", 0, self.samples, *self._sizes)

    def _chunk_offsets(self) -> bytes:
        wide = max(self._offsets) > 0xFFFFFFFF
        packed = struct.pack(f">{len(self._offsets)}{'Q' if wide else 'I'}", *self._offsets)
        return _full(b"co64" if wide else b"stco", _count(len(self._offsets)) + packed)

    def _groups(self, stbl: Box) -> bytes:
        """The group all samples are in (the roll of AAC), said for all of them."""
        for box in walk(self._trak, stbl.content, stbl.end):
            if box.kind == b"sbgp":
                content = self._content(box)
                if int.from_bytes(content[8:12]) == 1:
                    return _box(b"sbgp", content[:12] + struct.pack(">I", self.samples) + content[16:20])
        return b""


def write_moov(template: bytes, tracks: Sequence[TrackTable]) -> bytes:
    """
    The moov box of the film: `template` is the content of the first chunk's moov, `tracks` those that have samples.
    """
    written = False
    parts = []
    for box in walk(template, 0, len(template)):
        if box.kind == b"mvhd":
            header = template[box.content : box.end]
            timescale = read_timescale(header)
            duration = max(sum(each for each, _ in track.edits(timescale)) for track in tracks)
            parts.append(_box(b"mvhd", _set_movie(header, duration, len(tracks) + 1)))
        elif box.kind == b"trak":
            if not written:
                parts += [track.trak(number, timescale) for number, track in enumerate(tracks, 1)]
            written = True
        else:
            parts.append(template[box.start : box.end])
    return _box(b"moov", b"".join(parts))


def without_traks(moov: bytes) -> bytes:
    """
    A chunk's moov as a template: an empty trak stands for all of them.
    """
    parts, found = [], False
    for box in walk(moov, 0, len(moov)):
        if box.kind != b"trak":
            parts.append(moov[box.start : box.end])
        elif not found:
            parts.append(_box(b"trak", b""))
            found = True
    return b"".join(parts)


def without_tables(trak: bytes) -> bytes:
    """
    A trak box without what is said of its samples in `Piece`; sbgp stays, for the group it names.
    """

    def rebuilt(box: Box) -> bytes:
        if box.kind in (b"trak", b"mdia", b"minf", b"stbl"):
            return _box(box.kind, b"".join(map(rebuilt, walk(trak, box.content, box.end))))
        return b"" if box.kind in _TABLES - {b"sbgp"} else trak[box.start : box.end]

    return b"".join(map(rebuilt, walk(trak, 0, len(trak))))


# -- Bit rates in sample descriptions --------------------------------------------------------------------------------


def _essence(description: bytes, kind: bytes) -> tuple[bytes, tuple[slice, ...]]:
    """A description without its bit rates, and where in it these are."""
    rates = tuple(_rates(description, kind))
    blank = bytearray(description)
    for each in rates:
        blank[each] = bytes(each.stop - each.start)
    return bytes(blank), rates


def _with_larger_rates(known: bytes, other: bytes, rates: tuple[slice, ...]) -> bytes:
    largest = bytearray(known)
    for each in rates:
        largest[each] = max(known[each], other[each])
    return bytes(largest)


def _rates(description: bytes, kind: bytes) -> Iterator[slice]:
    """Where the numbers are that are about this chunk's data: buffer size, largest and average bit rate."""
    head = _ENTRY_HEADS.get(kind)
    if head is None or len(description) < 8 + head:
        return
    for box in walk(description, 8 + head, len(description)):
        if box.kind == b"btrt":
            yield from (slice(at, at + 4) for at in range(box.content, box.end - 3, 4))
        elif box.kind == b"dec3":
            yield slice(box.content, box.content + 1)
        elif box.kind == b"esds":
            config = _decoder_config(description, box)
            if config is not None:
                yield from (slice(config + at, config + at + size) for at, size in ((2, 3), (5, 4), (9, 4)))


def _decoder_config(description: bytes, esds: Box) -> int | None:
    """Where the content of the DecoderConfigDescriptor begins."""
    at = esds.content + 4
    for tag, skipped in ((3, 3), (4, 0)):
        if at >= esds.end or description[at] != tag:
            return None
        at += 1
        while at < esds.end and description[at] & 0x80:  # a length, seven bits a byte
            at += 1
        at += 1 + skipped
    return at if at + 13 <= esds.end else None


# -- Writing boxes ---------------------------------------------------------------------------------------------------


def _append(runs: list[Run], run: Run) -> None:
    if runs and runs[-1][1] == run[1]:
        runs[-1] = (runs[-1][0] + run[0], run[1])
    else:
        runs.append(run)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _full(kind: bytes, content: bytes) -> bytes:
    return _box(kind, bytes(4) + content)


def _count(number: int) -> bytes:
    return struct.pack(">I", number)


def _pairs(runs: Sequence[Run]) -> bytes:
    return _count(len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)


def _edts(edits: Sequence[tuple[int, int]]) -> bytes:
    wide = any(value > _MOST_32 for edit in edits for value in edit)
    rows = b"".join(struct.pack(">qqI" if wide else ">iiI", *edit, 0x10000) for edit in edits)
    return _box(b"edts", _box(b"elst", struct.pack(">II", wide << 24, len(edits)) + rows))


def _times(header: bytes) -> tuple[bytes, bytes]:
    """The two times at the start of a header box, eight bytes each, and what follows them."""
    if header[0] == 1:
        return header[4:20], header[20:]
    return b"".join(bytes(4) + header[at : at + 4] for at in (4, 8)), header[12:]


def _header(flags: bytes, times: bytes, middle: bytes, duration: int, rest: bytes) -> bytes:
    if duration > _MOST_32 or any(times[:4] + times[8:12]):
        return b"\x01" + flags + times + middle + struct.pack(">Q", duration) + rest
    return b"\x00" + flags + times[4:8] + times[12:16] + middle + struct.pack(">I", duration) + rest


def _duration_bytes(header: bytes) -> int:
    return 8 if header[0] == 1 else 4


def _set_movie(header: bytes, duration: int, next_track: int) -> bytes:
    times, rest = _times(header)
    rest = rest[: len(rest) - 4] + struct.pack(">I", next_track)
    return _header(header[1:4], times, rest[:4], duration, rest[4 + _duration_bytes(header) :])


def _set_track(header: bytes, number: int, duration: int) -> bytes:
    times, rest = _times(header)
    middle = struct.pack(">I", number) + bytes(4)
    return _header(header[1:4], times, middle, duration, rest[8 + _duration_bytes(header) :])


def _set_media(header: bytes, timescale: int, duration: int) -> bytes:
    times, rest = _times(header)
    return _header(header[1:4], times, struct.pack(">I", timescale), duration, rest[4 + _duration_bytes(header) :])
