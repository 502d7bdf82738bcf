"""
SAMPLE-AES undone, against a writer of our own and against ffmpeg's reader: three programs that must agree.
"""

import random
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from m3u8svc.errors import DecryptError, UnsupportedEncryption
from m3u8svc.hls import sampleaes
from m3u8svc.hls.media import HEAD_BYTES, MediaCheck
from m3u8svc.hls.sampleaes import SampleDecryption
from tests.hls.sample_aes_writer import (
    PACKET,
    Lock,
    Packer,
    Pes,
    crc,
    escape,
    lock_audio,
    lock_frame,
    lock_nal,
    lock_ts,
    payloads,
    pieces_of,
    streams_of,
)
from tests.needs import lacking

LOCK = Lock(bytes(range(16)), bytes(range(200, 216)))
FILMS = {
    "aac": ("-c:a", "aac"),
    "aac-frame-per-pes": ("-c:a", "aac", "-pes_payload_size", "0", "-omit_video_pes_length", "0"),
    "slices-ac3": ("-x264-params", "slices=4", "-c:a", "ac3"),
    "eac3": ("-c:a", "eac3"),
}
SIZES = (1, 187, 188, 65536)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """MPEG-TS of two seconds: a noisy picture with B-frames, and a tone."""
    if shutil.which("ffmpeg") is None:
        lacking("ffmpeg")
    place = tmp_path_factory.mktemp("films")
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25,noise=alls=20:allf=t:all_seed=1"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    video = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1"]
    for name, options in FILMS.items():
        ffmpeg(*picture, *tone, "-t", 2, *video, *options, "-f", "mpegts", place / name)
    return {name: place / name for name in FILMS}


def ffmpeg(*arguments: object) -> str:
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def frames(media: Path, track: str) -> list[str]:
    """The MD5 of every decoded frame of ``v`` or ``a``."""
    shown = ffmpeg(*_input(media), "-map", f"0:{track}", "-f", "framemd5", "-")
    return [line.split()[-1] for line in shown.splitlines() if not line.startswith("#")]


def _input(media: Path) -> list[object]:
    playlist = media.suffix == ".m3u8"
    return ["-allowed_extensions", "ALL", "-i", media] if playlist else ["-f", "mpegts", "-i", media]


def decrypted(body: bytes, *, size: int = 65536, lock: Lock = LOCK) -> bytes:
    decryption = SampleDecryption(key=lock.key, iv=lock.iv, position=7, line=5)
    clear = [decryption.update(body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join([*clear, decryption.finish()])


def counters_follow(ts: bytes) -> bool:
    """Whether the continuity counters of each PID count every payload, as ISO 13818-1 2.4.3.3 says."""
    last: dict[int, int] = {}
    for at in range(0, len(ts), PACKET):
        packet = ts[at : at + PACKET]
        pid = int.from_bytes(packet[1:3]) & 0x1FFF
        step = 1 if packet[3] & 0x10 else 0
        if pid in last and packet[3] & 15 != (last[pid] + step) & 15:
            return False
        last[pid] = packet[3] & 15
    return len(ts) % PACKET == 0 and set(ts[::PACKET]) == {0x47}


def lengths_hold(ts: bytes) -> bool:
    """Whether every PES packet that says how long it is is as long."""
    pes = [piece for piece in pieces_of(ts)[0] if isinstance(piece, Pes)]
    return all(len(each.body) - 6 == int.from_bytes(each.header[4:6]) for each in pes if any(each.header[4:6]))


def swollen(ts: bytes) -> bytes:
    """The stream with one more slice in every picture, full of zeros: locked, it grows by a quarter."""
    packer = Packer()
    pieces, types = pieces_of(ts)
    for piece in pieces:
        if isinstance(piece, bytes):
            packer.out += piece
        else:
            more = b"\0\0\1\x41" + b"\0\0\3\1" * 700 + b"\xff"
            packer.put(piece, piece.payload + more * (types[piece.pid] == 0x1B))
    return bytes(packer.out)


# -- Whole segments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILMS)
def test_S10_a_locked_film_comes_out_as_it_was(films: dict[str, Path], name: str, tmp_path: Path):
    """Every PES packet holds what it held, every frame decodes to the same picture and sound, every counter follows."""
    source = films[name].read_bytes()
    locked = lock_ts(source, LOCK)
    clear = decrypted(locked)
    assert payloads(clear) == payloads(source)
    assert payloads(locked) != payloads(source)
    assert counters_follow(clear) and lengths_hold(clear)
    assert pieces_of(clear)[1] == pieces_of(source)[1]
    (tmp_path / "clear").write_bytes(clear)
    for track in ("v", "a"):
        assert frames(tmp_path / "clear", track) == frames(films[name], track)


@pytest.mark.parametrize("name", ["aac", "slices-ac3", "eac3"])
def test_S10_ffmpeg_reads_what_our_writer_locks(films: dict[str, Path], name: str, tmp_path: Path):
    """
    So writer and reader do not share a mistake. ffmpeg 5.1 forgets the key once it has read the playlist's end, for the
    frames it holds then; so the end of the last segment is not looked at.
    """
    source = films[name]
    (tmp_path / "0.ts").write_bytes(lock_ts(source.read_bytes(), LOCK))
    (tmp_path / "key").write_bytes(LOCK.key)
    (tmp_path / "index.m3u8").write_text(
        "#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-TARGETDURATION:2\n"
        f'#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key",IV=0x{LOCK.iv.hex()}\n#EXTINF:2,\n0.ts\n#EXT-X-ENDLIST\n'
    )
    for track, held in (("v", 4), ("a", 8)):
        expected = frames(source, track)
        assert len(expected) > 45
        assert frames(tmp_path / "index.m3u8", track)[:-held] == expected[:-held]


@pytest.mark.parametrize("size", SIZES)
def test_chunks_do_not_matter(films: dict[str, Path], size: int):
    """However the bytes are cut, the same comes out."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    assert decrypted(locked, size=size) == decrypted(locked, size=len(locked))


def test_random_chunks_do_not_matter(films: dict[str, Path]):
    """Nor does cutting them unevenly."""
    locked = lock_ts(films["slices-ac3"].read_bytes(), LOCK)
    chooser = random.Random(4)
    decryption = SampleDecryption(key=LOCK.key, iv=LOCK.iv, position=1)
    clear, at = b"", 0
    while at < len(locked):
        size = chooser.choice((1, 7, 100, 189, 1000, 200_000))
        clear += decryption.update(locked[at : at + size])
        at += size
    assert clear + decryption.finish() == decrypted(locked)


def test_bytes_leave_before_the_segment_ends(films: dict[str, Path]):
    """One picture is held, not the segment."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    decryption = SampleDecryption(key=LOCK.key, iv=LOCK.iv, position=1)
    assert len(locked) > 300_000
    assert len(decryption.update(locked[:250_000])) > 200_000


@pytest.mark.parametrize("only", [(0x1B,), (0x0F,)])
def test_a_stream_of_a_clear_type_passes_as_it_is(films: dict[str, Path], only: tuple[int, ...]):
    """The stream type says what is locked, not the playlist."""
    source = films["aac"].read_bytes()
    assert payloads(decrypted(lock_ts(source, LOCK, only=only))) == payloads(source)


def test_a_wrong_key_gives_damage_and_no_crash(films: dict[str, Path]):
    """The container stays whole: only the decoder will notice."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    damaged = decrypted(locked, lock=Lock(bytes(16), LOCK.iv))
    check = MediaCheck(1)
    check.feed(damaged)
    assert check.finish()[1].damage == ""
    assert counters_follow(damaged)
    assert payloads(damaged) != payloads(decrypted(locked))


# -- Packets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["aac", "aac-frame-per-pes"])
def test_packets_that_end_up_empty_leave_and_the_counters_close_up(films: dict[str, Path], name: str):
    """A quarter of a slice may be emulation prevention; what stays is stuffed, counted and told in PES lengths."""
    source = swollen(films[name].read_bytes())
    locked = lock_ts(source, LOCK)
    clear = decrypted(locked)
    assert len(clear) + 4 * PACKET * 50 / 2 < len(locked)
    assert payloads(clear) == payloads(source)
    assert counters_follow(clear) and lengths_hold(clear)


def streams(ts: bytes) -> dict[int, bytes]:
    """What all PES packets of each PID hold together."""
    return {pid: b"".join(parts) for pid, parts in payloads(ts).items()}


def adts(length: int, *, crc_bytes: int = 0) -> bytes:
    """A frame of AAC with anything in it."""
    header = bytes([0xFF, 0xF1 if not crc_bytes else 0xF0, 0x4C, 0x80 | length >> 11, length >> 3 & 255])
    header += bytes([(length & 7) << 5 | 0x1F, 0xFC])
    return (header + random.Random(length).randbytes(8192))[:length]


def clocks(ts: bytes) -> list[bytes]:
    """Every PCR."""
    packets = [ts[at : at + PACKET] for at in range(0, len(ts), PACKET)]
    return [packet[6:12] for packet in packets if packet[3] & 0x20 and packet[4] and packet[5] & 0x10]


def test_clocks_survive_when_their_packets_end_up_empty(films: dict[str, Path]):
    """An adaptation field with a PCR is kept without payload."""
    source = swollen(films["aac"].read_bytes())
    locked = bytearray(lock_ts(source, LOCK))
    # A clock of its own in every packet that has room for one: those at the end of each picture.
    clocked = 0
    for at in range(0, len(locked), PACKET):
        video = int.from_bytes(locked[at + 1 : at + 3]) == 0x100
        if video and locked[at + 3] & 0x20 and locked[at + 4] >= 7 and locked[at + 5] == 0:
            locked[at + 5 : at + 12] = b"\x10" + (at).to_bytes(6)
            clocked += 1
    clear = decrypted(bytes(locked))
    assert clocked > 20
    assert clocks(clear) == clocks(bytes(locked))
    assert payloads(clear) == payloads(source)
    assert counters_follow(clear)


def test_audio_frames_may_run_across_pes_packets(films: dict[str, Path]):
    """Cut at any byte, header or block, they are unlocked as one."""
    source = films["aac"].read_bytes()
    for size in (1000, 333, 170):
        locked = lock_ts(source, LOCK, pes_bytes=size)
        assert streams(decrypted(locked)) == streams(source)


def test_several_frames_may_end_in_one_packet(films: dict[str, Path]):
    """None of them is unlocked twice."""
    packer = Packer()
    pieces, types = pieces_of(films["aac"].read_bytes())
    for number, piece in enumerate(pieces):
        if isinstance(piece, bytes):
            packer.out += piece
        else:
            sound = b"".join(adts(50 + (number + each) % 30) for each in range(20))
            packer.put(piece, sound if types[piece.pid] == 0x0F else piece.payload)
    source = bytes(packer.out)
    for size in (1000, 170, 77):
        assert streams(decrypted(lock_ts(source, LOCK, pes_bytes=size))) == streams(source)


def test_sound_that_ends_early_holds_nothing_up(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    """A PES packet that says how long it is is done when it is that long."""
    source = films["aac"].read_bytes()
    sound = max(payloads(source))
    last = len(source) // 3 // PACKET * PACKET
    silent = source[:last] + b"".join(
        source[at : at + PACKET]
        for at in range(last, len(source), PACKET)
        if int.from_bytes(source[at + 1 : at + 3]) & 0x1FFF != sound
    )
    monkeypatch.setattr(sampleaes, "MAX_HELD_BYTES", len(source) // 3)
    assert streams(decrypted(lock_ts(silent, LOCK), size=1000)) == streams(silent)


@pytest.mark.parametrize("name", ["aac", "aac-frame-per-pes"])
def test_a_picture_may_be_spread_over_pes_packets(films: dict[str, Path], name: str):
    """One that begins with no start code goes on with the picture before it, whether it says how long it is or not."""
    source = films[name].read_bytes()
    pieces, types = pieces_of(lock_ts(source, LOCK))
    packer = Packer()
    for piece in pieces:
        if isinstance(piece, bytes):
            packer.out += piece
        else:
            packer.put(piece, piece.payload, split=1500 if types[piece.pid] == 0xDB else 0)
    assert streams(decrypted(bytes(packer.out))) == streams(source)


@pytest.mark.parametrize("flags", [None, b"", b"\0", b"\x10" + bytes(6)])
@pytest.mark.parametrize("payload", [182 - 7, 183 - 7, 181, 182, 183])
def test_stuffing(flags: bytes | None, payload: int):
    """Any number of bytes, whatever the adaptation field was: none, empty, or with a clock."""
    field = b"" if flags is None else bytes([len(flags)]) + flags
    if payload >= 184 - len(field):
        return
    content = bytes(range(payload))
    packet = sampleaes._stuffed(bytes([0x47, 1, 0, 0x13 | (0x20 if field else 0)]) + field + content)
    assert len(packet) == PACKET
    assert packet[:4] == bytes([0x47, 1, 0, 0x33])
    assert packet[5 + packet[4] :] == content
    told = packet[5 : 5 + packet[4]]
    assert told[: len(flags or b"")] == flags or not flags
    assert told[:1] in (b"", b"\0", b"\x10") and set(told[len(flags or b"\0") :]) <= {0xFF}


def test_a_packet_that_is_cut_off_passes(films: dict[str, Path]):
    """The check behind says that the segment is not whole."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    assert decrypted(locked[:-100], size=999)[-88:] == locked[-188:-100]


def test_a_pes_header_may_go_on_in_the_next_packet(films: dict[str, Path]):
    """A long adaptation field leaves room for the first bytes of it only."""
    source = films["aac"].read_bytes()
    packer = Packer()
    for piece in pieces_of(lock_ts(source, LOCK))[0]:
        if isinstance(piece, bytes):
            packer.out += piece
        else:
            packer.put(attrs.evolve(piece, field=b"\xab\x40" + bytes(170)), piece.payload)
    clear = bytes(packer.out)
    assert b"\x47\x41\x00" in clear
    assert payloads(decrypted(clear)) == payloads(source)


# -- Tables ----------------------------------------------------------------------------------------------------------


def pmt_of(ts: bytes) -> bytes:
    """The first PMT section, whole."""
    for at in range(0, len(ts), PACKET):
        packet = ts[at : at + PACKET]
        if packet[1] & 0x40 and packet[4:6] == b"\0\2":
            return packet[5 : 8 + (int.from_bytes(packet[6:8]) & 0xFFF)]
    raise AssertionError("no PMT")


@pytest.mark.parametrize(("name", "sound"), [("aac", 0x0F), ("slices-ac3", 0x81), ("eac3", 0x87)])
def test_the_tables_tell_of_clear_streams(films: dict[str, Path], name: str, sound: int):
    """Types, descriptors and CRC are those of the source; the room that was gained is stuffing."""
    source = films[name].read_bytes()
    clear = decrypted(lock_ts(source, LOCK))
    assert [kind for _, kind in streams_of(pmt_of(clear))] == [0x1B, sound]
    assert crc(pmt_of(clear)) == 0
    assert pmt_of(clear) == pmt_of(source)
    assert b"zavc" in lock_ts(source, LOCK) and b"apad" in lock_ts(source, LOCK)


def in_two_packets(ts: bytes) -> bytes:
    """Every PMT cut behind its tenth byte."""
    out = bytearray()
    for at in range(0, len(ts), PACKET):
        packet = ts[at : at + PACKET]
        if packet[1] & 0x40 and packet[4:6] == b"\0\2":
            pid = int.from_bytes(packet[1:3]) & 0x1FFF
            out += bytes([0x47, 0x40 | pid >> 8, pid & 255, 0x30, 172, 0]) + b"\xff" * 171 + packet[4:15]
            packet = bytes([0x47, pid >> 8, pid & 255, 0x11]) + packet[15:].ljust(184, b"\xff")
        out += packet
    return bytes(out)


def test_a_table_may_go_on_in_the_next_packet(films: dict[str, Path]):
    """It is held until it is whole."""
    source = films["aac"].read_bytes()
    clear = decrypted(in_two_packets(lock_ts(source, LOCK)))
    assert len(in_two_packets(source)) > len(source)
    assert clear.count(b"zavc") == 0
    assert len(clear) == len(in_two_packets(lock_ts(source, LOCK)))
    # Behind the two packets of the first table all is as it would be behind one.
    second = in_two_packets(source).index(b"\x47\x50\x00", 5 * PACKET)
    assert clear[4 * PACKET : second] == decrypted(lock_ts(source, LOCK))[3 * PACKET : second - PACKET]


def test_what_stands_before_the_tables_is_unlocked_too(films: dict[str, Path]):
    """Nothing leaves before it is known what is locked."""
    source = films["aac"].read_bytes()
    locked = lock_ts(source, LOCK)
    tables = 3 * PACKET  # SDT, PAT, PMT
    moved = locked[tables : tables + 40 * PACKET] + locked[:tables] + locked[tables + 40 * PACKET :]
    expected = decrypted(locked)
    clear = decrypted(moved)
    assert clear[: 40 * PACKET] == expected[tables : tables + 40 * PACKET]
    assert clear[43 * PACKET :] == expected[43 * PACKET :]


def test_a_later_table_may_end_the_encryption(films: dict[str, Path]):
    """The newest PMT decides."""
    source = films["aac"].read_bytes()
    half = source.index(b"\x47\x40\x00", len(source) // 2)
    clear = decrypted(lock_ts(source[:half], LOCK) + source[half:])
    assert payloads(clear) == payloads(source)


def test_a_damaged_table_is_no_table(films: dict[str, Path]):
    """One whose CRC is wrong is not believed: the next one is."""
    source = films["aac"].read_bytes()
    locked = bytearray(lock_ts(source, LOCK))
    at = locked.index(b"zavc") // PACKET * PACKET
    locked[at + 17] ^= 1  # the stream type of the picture
    clear = decrypted(bytes(locked))
    assert clear[at : at + PACKET] == locked[at : at + PACKET]
    whole = decrypted(lock_ts(source, LOCK))
    assert clear[:at] + clear[at + PACKET :] == whole[:at] + whole[at + PACKET :]


def test_a_table_is_no_stream_whatever_another_says(films: dict[str, Path]):
    """A PMT that names its own PID as a locked stream is still read as a table, and no PAT has to remind us."""
    source = films["aac"].read_bytes()
    locked = bytearray(lock_ts(source, LOCK))
    for at in range(10 * PACKET, len(locked), PACKET):
        if locked[at + 1 : at + 3] == b"\x40\0":
            locked[at + 1 : at + 3] = b"\x5f\xff"  # the PAT: now a null packet
        if locked[at + 4 : at + 6] == b"\0\2":
            end = at + 8 + (int.from_bytes(locked[at + 6 : at + 8]) & 0xFFF)
            locked[at + 18 : at + 20] = b"\xf0\x00"  # the picture's PID: now the PMT's own
            locked[end - 4 : end] = crc(bytes(locked[at + 5 : end - 4])).to_bytes(4)
    sound = max(payloads(source))
    clear = decrypted(bytes(locked))
    assert locked.count(b"zavc") > 2
    assert b"zavc" not in clear
    assert payloads(clear)[sound] == payloads(source)[sound]


# -- What is no such segment -----------------------------------------------------------------------------------------


def test_nothing_is_an_error_that_names_the_position():
    """Not an empty file."""
    with pytest.raises(DecryptError) as caught:
        decrypted(b"")
    assert caught.value.fields == {"position": 7, "reason": "内容为空"}


def test_packets_without_a_table_are_refused(films: dict[str, Path]):
    """They would have to be stored locked."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    without = b"".join(
        locked[at : at + PACKET] for at in range(0, len(locked), PACKET) if locked[at + 1 : at + 3] != b"\x50\x00"
    )
    with pytest.raises(DecryptError) as caught:
        decrypted(without)
    assert caught.value.fields["position"] == 7
    assert "PMT" in caught.value.fields["reason"]


def test_fmp4_is_refused_by_name():
    """cbcs is another scheme; CBC over it would give garbage."""
    fmp4 = b"\0\0\0\x18styp" + bytes(16) + b"\0\0\0\x08moof"
    with pytest.raises(UnsupportedEncryption) as caught:
        decrypted(fmp4)
    assert caught.value.fields == {"method": "fMP4 的 SAMPLE-AES（cbcs）", "keyformat": "identity", "line": 5}


@pytest.mark.parametrize("body", [b"<html>404</html>", b"WEBVTT\n\n00:00.000 --> 00:01.000\nx\n", bytes(300_000)])
def test_what_holds_no_samples_passes(body: bytes):
    """The check behind it says what it is."""
    assert decrypted(body, size=1000) == body


def test_a_disguise_passes_and_what_is_behind_it_is_unlocked(films: dict[str, Path]):
    """A picture in front, as some origins put it; the check behind cuts it off."""
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    disguise = b"\x89PNG\r\n\x1a\n" + bytes(500)
    assert decrypted(disguise + locked, size=777) == disguise + decrypted(locked)


def test_garbage_between_packets_passes_and_the_rest_is_unlocked(films: dict[str, Path]):
    """Sync is found again where three packets follow each other."""
    source = films["aac"].read_bytes()
    locked = lock_ts(source, LOCK)
    cut = locked.index(b"\x47\x40\x00", len(locked) // 2)  # in front of a table
    assert cut % PACKET == 0
    garbage = b"\0G" + bytes(99) + (b"G\x01\0\x10" + b"U" * 184) * 2 + bytes(401)  # two in a row are chance
    for size in (61, 65536):
        clear = decrypted(locked[:cut] + garbage + locked[cut:], size=size)
        at = clear.index(garbage)
        assert clear[:at] + clear[at + len(garbage) :] == decrypted(locked)


def test_a_sample_without_end_is_refused(films: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    """What is held has a limit."""
    monkeypatch.setattr(sampleaes, "MAX_HELD_BYTES", 100 * PACKET)
    locked = lock_ts(films["aac"].read_bytes(), LOCK)
    picture = locked.index(b"\x47\x41\x00")
    endless = locked[:picture] + b"".join(
        [locked[picture : picture + PACKET]] + [b"\x47\x01\x00\x10" + b"\x55" * 184] * 2000
    )
    with pytest.raises(DecryptError) as caught:
        decrypted(endless, size=1000)
    assert caught.value.fields["position"] == 7


# -- Samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(44, 70), 191, 192, 193, 207, 208, 209, 210, 5000])
def test_slices_of_every_length(length: int):
    """The borders of the pattern: 48, and 16 more behind every 160."""
    chooser = random.Random(length)
    nal = b"\x65" + escape(bytes(chooser.choice((0, 0, 1, 2, 3, 200)) for _ in range(length)))[: length - 2] + b"\x80"
    stream = b"\0\0\0\1\x09\xf0\0\0\0\1" + nal + b"\0\0\1" + nal + b"\0\0\0\0\1" + nal
    shut = lock_nal(nal, LOCK)
    locked = b"\0\0\0\1\x09\xf0\0\0\0\1" + shut + b"\0\0\1" + shut + b"\0\0\0\0\1" + shut
    assert sampleaes._Samples(LOCK.key, LOCK.iv).video(locked) == stream
    assert (locked == stream) is (length <= 48)


@pytest.mark.parametrize("kind", [6, 7, 8, 9, 2, 20])
def test_other_nal_units_are_clear(kind: int):
    """Only whole slices are locked."""
    stream = b"\0\0\1" + bytes([kind]) + b"\x55" * 500
    assert sampleaes._Samples(LOCK.key, LOCK.iv).video(stream) == stream


@pytest.mark.parametrize("crc_bytes", [0, 2])
@pytest.mark.parametrize("length", [7, 24, 30, 31, 39, 40, 41, 55, 700])
def test_frames_of_every_length(length: int, crc_bytes: int):
    """Behind the header 16 clear bytes, then whole blocks; a CRC makes the header longer."""
    length = max(length, 7 + crc_bytes)
    sample = adts(length, crc_bytes=crc_bytes)
    locked = lock_frame(sample, 7 + crc_bytes, LOCK) * 3
    assert decrypted(locked) == sample * 3
    assert (locked == sample * 3) is (length - 7 - crc_bytes < 32)


@pytest.mark.parametrize("tag", [0, 73, 120_000])
@pytest.mark.parametrize("name", FILMS)
def test_packed_audio(films: dict[str, Path], name: str, tag: int):
    """ADTS, AC-3 and E-AC-3, behind the ID3 tag that says when they begin; what it holds is no frame."""
    pid = max(payloads(films[name].read_bytes()))
    sound = b"".join(payloads(films[name].read_bytes())[pid])
    size = bytes([tag >> 21, tag >> 14 & 127, tag >> 7 & 127, tag & 127])
    head = b"ID3\x04\0\0" + size + b"\xff\xf1" * (tag // 2) + b"\0" * (tag % 2) if tag else b""
    sound *= HEAD_BYTES * 3 // 2 // len(sound)
    locked = lock_audio(sound, LOCK)
    assert locked != sound and len(locked) > HEAD_BYTES
    for chunk in (1, 1000, 1 << 20):
        assert decrypted(head + locked, size=chunk) == head + sound


def test_garbage_between_frames_passes_and_the_rest_is_unlocked():
    """However it arrives."""
    sample = adts(400)
    locked = lock_frame(sample, 7, LOCK)
    before = HEAD_BYTES // 400 + 1  # up to there nothing is looked at by chunks
    for size, length in [(1, length) for length in range(92, 100)] + [(3, 90), (100_000, 90)]:
        garbage = bytes(range(length)) + b"\xff\xff"
        assert decrypted(locked * before + garbage + locked * 3, size=size) == sample * before + garbage + sample * 3


# -- Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(300))
def test_damaged_segments_end_in_a_named_error_or_in_bounded_damage(films: dict[str, Path], seed: int):
    """Flipped, cut, doubled, torn: nothing else is raised, and no more comes out than went in."""
    chooser = random.Random(seed)
    body = bytearray(_locked(films, list(FILMS)[seed % len(FILMS)], packed=seed % 5 == 4))
    for _ in range(chooser.choice((1, 3, 30, 300))):
        at = chooser.randrange(len(body))
        # Near a header more is at stake than within a slice.
        place = at // PACKET * PACKET + chooser.randrange(20) if chooser.random() < 0.6 else at
        size = chooser.choice((1, 7, 188, 1880))
        match chooser.randrange(5):
            case 0 | 1:
                body[place % len(body)] = chooser.randrange(256)
            case 2:
                del body[place : place + size]
            case 3:
                body[place:place] = body[at : at + size]
            case 4:
                body[place:place] = chooser.randbytes(size)
    if chooser.random() < 0.3:
        _lie_in_tables(body, chooser)
    if chooser.random() < 0.3:
        del body[chooser.randrange(len(body)) :]
    try:
        clear = decrypted(bytes(body), size=chooser.choice((100, 5000, 1 << 20)))
    except DecryptError as error:
        assert error.fields["position"] == 7
    else:
        assert len(clear) <= len(body)


def _lie_in_tables(body: bytearray, chooser: random.Random) -> None:
    """Wrong PIDs, lengths and types under a right CRC, which is what a hostile table has."""
    for at in range(0, len(body) - PACKET, PACKET):
        if body[at : at + 2] == b"\x47\x40" and body[at + 4] == 0 or body[at + 4 : at + 6] == b"\0\2":
            body[at + 5 + chooser.randrange(40)] = chooser.choice((0, 1, 15, 16, 0x47, 0xDB, 0xCF, 0xFF))
            end = at + 8 + (int.from_bytes(body[at + 6 : at + 8]) & 0xFFF)
            if at + 12 < end <= at + PACKET:
                body[end - 4 : end] = crc(bytes(body[at + 5 : end - 4])).to_bytes(4)


_CACHE: dict[tuple[str, bool], bytes] = {}


def _locked(films: dict[str, Path], name: str, *, packed: bool) -> bytes:
    if (name, packed) not in _CACHE:
        source = films[name].read_bytes()
        if packed:
            sound = b"".join(payloads(source)[max(payloads(source))])
            _CACHE[name, packed] = lock_audio(sound * (HEAD_BYTES * 2 // len(sound)), LOCK)
        else:
            _CACHE[name, packed] = lock_ts(source[: 1000 * PACKET], LOCK)
    return _CACHE[name, packed]
