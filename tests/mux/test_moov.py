"""
One moov of the moovs of chunks: however a film is cut, the tables say the same.
"""

import random
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import av
import pytest

from m3u8svc.mux.chunks import ChunkFile, Film
from m3u8svc.mux.fmp4 import BrokenBoxes
from m3u8svc.mux.moov import Piece, Stamps, TrackTable, read_pieces, without_tables
from m3u8svc.mux.output import TargetFile
from m3u8svc.mux.verify import read_back
from tests.mux.conftest import Streams, frame_hashes, run_ffmpeg


def box(kind: bytes, *content: bytes) -> bytes:
    """A box."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def numbers(*values: int) -> bytes:
    """Of 32 bits each."""
    return struct.pack(f">{len(values)}I", *values)


def trak(sizes: Sequence[int], offset: int, *, description: bytes = b"form", kind: bytes = b"vide") -> bytes:
    """A trak as libav writes it, with all samples in one place."""
    count = len(sizes)
    stbl = box(
        b"stbl",
        box(b"stsd", numbers(0, 1), box(b"xxxx", description)),
        box(b"stts", numbers(0, 1, count, 10)),
        box(b"stsc", numbers(0, 1, 1, count, 1)),
        box(b"stsz", numbers(0, 0, count, *sizes)),
        box(b"stco", numbers(0, 1, offset)),
        box(b"sgpd", b"roll"),
        box(b"sbgp", numbers(0), b"roll", numbers(1, count, 1)),
    )
    mdhd = box(b"mdhd", numbers(0, 0, 0, 1000, count * 10, 0))
    mdia = box(b"mdia", mdhd, box(b"hdlr", numbers(0, 0), kind, bytes(13)), box(b"minf", stbl))
    return box(b"trak", box(b"tkhd", numbers(0, 0, 0, 1, 0, 7), bytes(60)), box(b"edts"), mdia)


def stamps(dts: Sequence[int], *, delay: int = 0, sync: Sequence[int] = ()) -> Stamps:
    """What was handed to the muxer: packets of 10 ticks."""
    found = Stamps()
    for number, each in enumerate(dts, 1):
        found.add(each, each + delay, 10, number in sync)
    return found


def piece(dts: Sequence[int], sizes: Sequence[int], *, shift: int = 0, **how: object) -> Piece:
    """One chunk's samples of the only track."""
    given = stamps(dts, delay=int(how.pop("delay", 0)), sync=how.pop("sync", ()))  # type: ignore[call-overload, arg-type]
    [found] = read_pieces(trak(sizes, 100, **how), shift=shift, stamps=[given], timescales=[1000])  # type: ignore[arg-type]
    return found


def table(content: bytes, kind: bytes) -> tuple[int, ...]:
    """The numbers of a table in a trak, without the version."""
    at = content.index(kind) + 8
    length = int.from_bytes(content[at - 12 : at - 8]) - 12
    return struct.unpack(f">{length // 4}I", content[at : at + length])


def test_last_sample_lasts_until_the_next_chunk() -> None:
    """A hole between chunks is in the tables, as one between packets would be."""
    film = TrackTable()
    film.add(piece([0, 10, 20], [5, 6, 7]))
    film.add(piece([95, 105], [8, 9], shift=1000))
    written = film.trak(1, 1000)
    assert (3, 2, 10, 1, 75, 2, 10) == table(written, b"stts")
    assert (0, 5, 5, 6, 7, 8, 9) == table(written, b"stsz")
    assert (2, 100, 1100) == table(written, b"stco")
    assert (2, 1, 3, 1, 2, 2, 1) == table(written, b"stsc")


def test_key_frames_keep_their_numbers() -> None:
    """Numbers of key frames go on; a chunk without any has none."""
    film = TrackTable()
    film.add(piece([0, 10], [5, 6], sync=[1]))
    film.add(piece([20, 30], [5, 6]))
    film.add(piece([40, 50], [5, 6], sync=[2]))
    assert (2, 1, 6) == table(film.trak(1, 1000), b"stss")


def test_group_of_all_samples_grows() -> None:
    """What the first chunk says of all its samples is said of all samples."""
    film = TrackTable()
    film.add(piece([0, 10], [5, 6]))
    film.add(piece([20], [7]))
    written = film.trak(1, 1000)
    assert numbers(0) + b"roll" + numbers(1, 3, 1) in written
    assert written.index(b"sgpd") < written.index(b"sbgp")


def test_places_beyond_four_gigabytes() -> None:
    """Large films get wide offsets."""
    film = TrackTable()
    film.add(piece([0], [5]))
    film.add(piece([10], [5], shift=1 << 33))
    written = film.trak(1, 1000)
    at = written.index(b"co64") + 8
    assert (2, 100, (1 << 33) + 100) == struct.unpack(">IQQ", written[at : at + 20])


@pytest.mark.parametrize(
    ("first_dts", "delay", "edits"),
    [(0, 0, [(30, 0)]), (-20, 20, [(30, 20)]), (500, 20, [(520, -1), (30, 20)])],
    ids=["at once", "decoded before it is shown", "late"],
)
def test_edit_list(first_dts: int, delay: int, edits: list[tuple[int, int]]) -> None:
    """Where a track begins is said as libav says it."""
    film = TrackTable()
    film.add(piece([first_dts, first_dts + 10, first_dts + 20], [1, 2, 3], delay=delay))
    assert edits == film.edits(1000)


def test_other_parameters_are_another_description() -> None:
    """Equal descriptions are one, there and back again; others get a number of their own."""
    film = TrackTable()
    film.add(piece([0], [1], description=b"a"))
    film.add(piece([10], [1], description=b"b"))
    film.add(piece([20], [1], description=b"a"))
    written = film.trak(1, 1000)
    assert (3, 1, 1, 1, 2, 1, 2, 3, 1, 1) == table(written, b"stsc")
    assert numbers(0, 2) + box(b"xxxx", b"a") + box(b"xxxx", b"b") in written


def test_bit_rates_make_no_description() -> None:
    """libav counts bit rates per chunk: the larger ones stay."""
    small, large = (bytes(78) + box(b"btrt", numbers(0, rate, rate)) for rate in (100, 300))
    film = TrackTable()
    for dts, description in ((0, small), (10, large), (20, small)):
        film.add(piece([dts], [1], description=description))
    written = film.trak(1, 1000)
    assert numbers(0, 1) + box(b"xxxx", large) in written


def test_packet_that_libav_dropped() -> None:
    """Where there are fewer samples than packets, libav's own times count, from where the chunk begins."""
    film = TrackTable()
    film.add(piece([1000, 1010, 1020], [5, 6]))
    assert (1, 2, 10) == table(film.trak(1, 1000), b"stts")
    assert [(1000, -1), (20, 0)] == film.edits(1000)


def test_tracks_that_do_not_fit() -> None:
    """A chunk whose moov is about other tracks than were written is refused."""
    with pytest.raises(BrokenBoxes, match="1 tracks in a chunk where 2 have samples"):
        read_pieces(trak([1], 0), shift=0, stamps=[stamps([0]), stamps([0])], timescales=[1, 1])


def test_what_is_written_down_suffices() -> None:
    """A trak without its tables makes the same film."""
    whole, lean = TrackTable(), TrackTable()
    first = piece([0, 10], [5, 6])
    whole.add(first)
    lean.add(piece_with(first, without_tables(first.trak)))
    assert whole.trak(1, 1000) == lean.trak(1, 1000)
    assert len(without_tables(first.trak)) < len(first.trak)


def piece_with(piece: Piece, trak: bytes) -> Piece:
    """The same samples, another box."""
    return attrs.evolve(piece, trak=trak)


@pytest.mark.parametrize("seed", range(3))
def test_film_in_chunks_is_the_film(seed: int, streams: Streams, tmp_path: Path) -> None:
    """Cut anywhere, a film decodes frame by frame like the source, and every packet has its time and place."""
    source = tmp_path / "source.mp4"
    run_ffmpeg("-i", streams.plain().master, "-c", "copy", source)
    chance = random.Random(seed)
    target = tmp_path / "film.mp4"
    file = TargetFile(str(target), alive=lambda: None)
    film = Film()
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        at = 0
        while at < len(packets):
            count = chance.randint(1, 200)
            add_chunk(film, file, container, packets[at : at + count])
            at += count
    film.finish(file)
    read_back(file.pread, file.size_bytes)
    file.release()
    assert frame_hashes(source) == frame_hashes(target)
    assert listing(source) == listing(target)


def add_chunk(film: Film, file: TargetFile, container: av.container.InputContainer, packets: list[av.Packet]) -> None:
    """Mux some packets into a chunk of their own."""
    chunk = ChunkFile(file)
    output = av.open(chunk, "w", format="mp4", container_options={"fflags": "+bitexact"}, buffer_size=1 << 16)
    copies = [output.add_stream_from_template(stream, opaque=True) for stream in container.streams]
    output.start_encoding()
    given = [Stamps() for _ in copies]
    for packet in packets:
        number = packet.stream_index
        given[number].add(packet.dts, packet.pts, packet.duration, packet.is_keyframe)
        packet.stream = copies[number]
        output.mux_one(packet)
    output.close()
    taken = [number for number, each in enumerate(given) if each.dts]
    film.add(
        chunk.finish(),
        numbers=taken,
        stamps=[given[number] for number in taken],
        timescales=[container.streams[number].time_base.denominator for number in taken],
    )


def listing(path: Path) -> list[str]:
    """Every packet's times, size and flags."""
    shown = "packet=stream_index,pts,dts,duration,size,flags"
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", shown, "-of", "csv", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(done.stdout.splitlines())


def test_chunk_without_media(tmp_path: Path) -> None:
    """A chunk that libav wrote nothing of is told."""
    file = TargetFile(str(tmp_path / "film.mp4"), alive=lambda: None)
    with pytest.raises(BrokenBoxes, match="without media"):
        ChunkFile(file).finish()
    with pytest.raises(BrokenBoxes, match="begins with"):
        ChunkFile(file).write(b"\0\0\0\x08moov")
    file.release()
