"""
What is media, where its disguise ends, and whether it is whole.
"""

import gzip
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3u8svc.errors import NotMedia, SegmentError
from m3u8svc.hls.media import HEAD_BYTES, MAX_UNPACKED_BYTES, Media, MediaCheck, check_init, frame_length, id3_length
from m3u8svc.wording import in_english
from tests.strategies import cuts

PNG = (
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR"
    + b"\0\0\0\1" * 2
    + b"\x08\6\0\0\0"
    + b"GGsRGB\0G"
    + b"\0" * 30
    + b"IEND\xaeB`\x82"
)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\1G\2" * 400 + b"\xff\xd9"
GIF = b"GIF89a\1\0\1\0\x80\0\0" + b"\0" * 20 + b";"
BMP = b"BM" + struct.pack("<I", 70) + b"\0" * 64


def ts(packets: int, first: int = 0) -> bytes:
    return b"".join(
        bytes([0x47, 0x41, number % 256, 0x10 | number % 16]) + bytes([number % 251]) * 184
        for number in range(first, first + packets)
    )


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def adts(frames: int, length: int = 200) -> bytes:
    header = bytes([0xFF, 0xF1, 0x50, 0x80 | length >> 11, length >> 3 & 255, (length & 7) << 5 | 0x1F, 0xFC])
    return (header + b"\x21" * (length - 7)) * frames


FMP4 = box(b"styp", b"msdh\0\0\0\0") + box(b"moof", b"G" * 600) + box(b"mdat", b"\x47" * 2000)
MP3 = (b"\xff\xfb\x90\x00" + b"\1" * 413) * 3  # 128 kbit/s at 44.1 kHz: 417 bytes a frame
AC3 = (b"\x0b\x77\0\0\x0c\x40" + b"\1" * 378) * 3  # 96 kbit/s at 48 kHz: 384 bytes a frame
EAC3 = (b"\x0b\x77\0\xbf\x30\x80" + b"\1" * 378) * 3  # 192 words
ID3 = b"ID3\4\0\0\0\0\0\x3f" + b"PRIV\0\0\0\x35\0\0com.apple.streaming.transportStreamTimestamp\0" + b"\0" * 8
VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n"


def checked(*chunks: bytes) -> tuple[bytes, Media]:
    check = MediaCheck(7)
    stored = b"".join(check.feed(chunk) for chunk in chunks)
    rest, media = check.finish()
    return stored + rest, media


TO_ITS_END = box(b"moof") + b"\0\0\0\0mdat" + b"x" * 500
"""A box that goes to wherever the body ends."""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((ts(count), "ts") for count in (1, 2, 3, 8, 900)),
        *((FMP4, "fmp4"), (FMP4[16:], "fmp4"), (box(b"sidx", b"\0" * 40) + FMP4, "fmp4")),
        (box(b"moof", b"x" * 20) + struct.pack(">I4sQ", 1, b"mdat", 16 + 300_000) + b"\x47" * 300_000, "fmp4"),
        (TO_ITS_END, "fmp4"),
        *((adts(50), "aac"), (ID3 + adts(50), "aac"), (ID3 + adts(1), "aac"), (adts(2000), "aac")),
        *((MP3, "mp3"), (ID3 + MP3, "mp3"), (MP3 + b"TAG" + b"x" * 125, "mp3")),
        *((AC3, "ac3"), (EAC3, "ac3"), (ID3 + AC3, "ac3")),
        *((VTT, "vtt"), (b"\xef\xbb\xbf" + VTT, "vtt"), (VTT.replace(b"\n", b"\r\n"), "vtt")),
        *((b"WEBVTT", "vtt"), (b"WEBVTT\n", "vtt"), (b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00.000\n\n", "vtt")),
    ],
)
def test_clean_media_is_kept_whole(body: bytes, kind: str):
    """Nothing is cut from what starts as media, and nothing is wrong with it. Only boxes tell where they end."""
    stored, media = checked(body)
    assert media == Media(kind=kind, sized=kind == "fmp4" and body != TO_ITS_END)
    assert stored == body


@pytest.mark.parametrize(
    "fake", [PNG, JPEG, GIF, BMP, b"G" * 100 + b"\0", b"\0" * 60_000], ids="PNG JPEG GIF BMP G 60k".split()
)
@pytest.mark.parametrize(("body", "kind"), [(ts(3), "ts"), (ts(2000), "ts"), (FMP4, "fmp4"), (FMP4[16:], "fmp4")])
def test_C8_a_fake_image_is_cut_at_the_first_byte_of_media(fake: bytes, body: bytes, kind: str):
    """Neither a G in the image nor a 0x47 in the boxes is taken for the start."""
    stored, media = checked(fake + body)
    assert media == Media(kind=kind, disguise_bytes=len(fake), sized=kind == "fmp4")
    assert stored == body


def test_C8_two_packets_behind_an_image_are_enough():
    """Short segments are disguised, too."""
    assert checked(PNG + ts(2))[0] == ts(2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   \n",
        b"<!DOCTYPE html><html>Gone</html>",
        b'{"code": 403}',
        b"#EXTM3U\n#EXTINF:5,\na.ts\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"WEBVTTX",
        b"<!DOCTYPE html><title>WEBVTT</title>\nWEBVTT\n\n00:00.000 --> 00:01.000\n",
        b"\xef\xbb\xbf<html>",
        gzip.compress(b"<html>", mtime=0),
        gzip.compress(VTT, mtime=0)[:12],
        gzip.compress(FMP4, mtime=0),
        b"G" * 5000,
        b"\xff\xfe<\0h\0t\0m\0l\0" * 50,
        PNG,
        JPEG,
        GIF,
        BMP,
        PNG + ts(1),
        b"\0" * 66_000 + ts(100),
        bytes(range(256)) * 1000,
        b"\0" * 188 + b"\x47" + b"\0" * 187 + b"\x47" + b"\0" * 400,
        PNG + b"moof and nothing behind it" + b"\0" * 100,
    ],
)
def test_what_is_no_media_is_refused_with_its_position(body: bytes):
    """Pages, lists, images, nothing: named by the segment, and worth another try."""
    with pytest.raises(NotMedia) as caught:
        checked(body)
    assert caught.value.fields["position"] == 7
    assert caught.value.retriable
    assert len(caught.value.text()) < 150


def test_a_page_longer_than_the_head_is_refused_while_it_arrives():
    """Nobody waits for the end of what cannot become media."""
    check = MediaCheck(1)
    with pytest.raises(NotMedia):
        for _ in range(HEAD_BYTES // 1000 + 1):
            assert check.feed(b"<p>x</p>\n".ljust(1000)) == b""


@pytest.mark.parametrize(
    ("body", "damage", "complete"),
    [
        (ts(10)[:-8], "末尾 180 字节不足一个 TS 包", False),
        (ts(5) + b"\0" + ts(5)[1:], "1 个 TS 包失去同步，从第 6 个起", True),
        (ts(1) + b"\0" + ts(9)[1:], "1 个 TS 包失去同步，从第 2 个起", True),
        (ts(1000) + b"\1" * 376, "2 个 TS 包失去同步，从第 1001 个起", False),
        (FMP4[:-3], "在盒子 mdat 中结束，缺 3 字节", False),
        (FMP4 + b"\0\0\0", "在盒子头中结束", False),
        (FMP4 + b"\0" * 9, f"第 {len(FMP4)} 字节处不是有效的盒子", False),
        (box(b"styp") + box(b"mdat", b"x"), "缺少 moof", True),
        (box(b"moof", b"x"), "缺少 mdat", True),
        (adts(5)[:-1], "最后一个音频帧不完整", False),
        (adts(5) + b"\0" * 20, "第 1000 字节处失去音频帧同步", False),
        (VTT[:-1], "", False),
    ],
)
def test_damage_is_named_and_the_bytes_are_kept(body: bytes, damage: str, complete: bool):
    """A damaged segment is still a segment: what to do with it is for others to decide."""
    stored, media = checked(body)
    assert (stored, media.damage, media.complete) == (body, damage, complete)
    assert in_english(media.damage).isascii()


PACKED = gzip.compress(VTT, mtime=0)


@pytest.mark.parametrize("body", [PACKED, PACKED + b"\0" * 9, PACKED + b"x"])
def test_packed_webvtt_is_unpacked(body: bytes):
    """Some servers store it so and do not say it; what follows the packed data is ignored, as gunzip does."""
    assert (VTT, Media(kind="vtt")) == checked(body)


def test_packed_webvtt_that_is_cut_off_is_damaged():
    """The check sum at its end is missing."""
    assert "gzip 数据不完整" == (media := checked(PACKED[:-1])[1]).damage
    assert not media.complete


@pytest.mark.parametrize("extra", [0, 1])
def test_packed_webvtt_has_a_bound(extra: int):
    """A few kilobytes must not become gigabytes; the bound is exact, in one chunk as in many."""
    body = gzip.compress(b"WEBVTT".ljust(MAX_UNPACKED_BYTES + extra, b"\n"), 1, mtime=0)
    if extra:
        with pytest.raises(SegmentError) as caught:
            checked(body)
        assert {"position": 7, "reason": "解压后超过 8 MiB"} == caught.value.fields
    else:
        assert MAX_UNPACKED_BYTES == len(checked(body)[0])
    large = gzip.compress(b"WEBVTT\n" + random.Random(1).randbytes(200_000).hex().encode() + b"\n", mtime=0)
    assert len(large) > HEAD_BYTES
    assert checked(large) == checked(large[:HEAD_BYTES], large[HEAD_BYTES:]) == checked(large[:5], large[5:])


def test_packed_webvtt_with_damage_inside_is_no_segment():
    """Its bytes cannot be kept: there are none."""
    large = bytearray(gzip.compress(b"WEBVTT\n" + random.Random(1).randbytes(200_000).hex().encode(), mtime=0))
    large[150_000] ^= 0xFF
    large[-6] ^= 0xFF
    with pytest.raises(SegmentError) as caught:
        checked(bytes(large))
    assert {"position": 7, "reason": "gzip 数据损坏"} == caught.value.fields


SAMPLES = [
    *(
        ts(4),
        ts(900),
        PNG + ts(800),
        ts(3)[:-1],
        FMP4,
        PNG + FMP4,
        FMP4 + b"\0" * 9,
        VTT,
        PACKED,
        ID3 + adts(700),
        MP3,
        AC3 + b"x",
    ),
    *(box(b"moof") + struct.pack(">I4sQ", 1, b"mdat", 16 + 140_000) + b"x" * 140_000, b"<html>", PNG, b"\0" * 140_000),
]


def outcome(chunks: list[bytes]) -> tuple[bytes, Media] | str:
    try:
        return checked(*chunks)
    except NotMedia as error:
        return error.text()


def counted(*counters: int, pid: int = 0x100, control: int = 0x10, field: bytes = b"") -> bytes:
    """Packets of one PID with these continuity counters."""
    packets = [struct.pack(">BHB", 0x47, pid, control | counter) + field for counter in counters]
    return b"".join(packet.ljust(188, b"\xaa") for packet in packets)


@pytest.mark.parametrize(
    ("body", "jumps"),
    [
        (counted(*range(16), *range(16), 0), 0),
        (counted(14, 15, 0, 2, 3), 1),
        (counted(14, 15, 0, 2, 1), 2),
        (counted(*range(8)) + counted(*range(8), pid=0x101) + counted(8, 9) + counted(9, pid=0x101), 1),
        (counted(3, 4, 5, 5, 6), 0),  # sent twice
        (counted(3, 3, 3, 3), 0),  # never counted
        (counted(3, 4) + counted(9, control=0x20, field=b"\xb7\0") + counted(5), 0),  # no payload, no counter
        (counted(3, 4) + counted(9, control=0x30, field=b"\7\x80") + counted(10), 0),  # says that it jumps
        (counted(3, 4) + counted(9, control=0x30, field=b"\7\x40") + counted(10), 1),  # says something else
        (counted(3, 4) + counted(9, control=0x30, field=b"\0\x80") + counted(10), 1),  # says nothing
        (counted(1, 9, 4, 6, pid=0x1FFF), 0),  # null packets
        (counted(*range(9)) * 500, 499),  # beyond the head
    ],
)
def test_packets_that_got_lost_are_counted(body: bytes, jumps: int):
    """Per PID, whatever the chunks; the bytes are kept."""
    damage = f"{jumps} 处 TS 包不连续，可能丢包" if jumps else ""
    for size in (len(body), 100, 189):
        stored, media = checked(*[body[at : at + size] for at in range(0, len(body), size)])
        assert (stored, media.damage, media.complete) == (body, damage, True)


def test_bytes_between_packets_do_not_count():
    """They have no counter, whatever stands in the place of one."""
    body = counted(*range(9)) + struct.pack(">BHB", 0x48, 0x100, 0x1F).ljust(188, b"\1") + counted(9)
    assert checked(body)[1].damage == "1 个 TS 包失去同步，从第 10 个起"


@settings(max_examples=300)
@given(st.data(), st.sampled_from(SAMPLES))
def test_chunks_do_not_matter(data: st.DataObject, body: bytes):
    """However a body is cut, the same bytes are stored and the same is said about it."""
    assert outcome(data.draw(cuts(body))) == outcome([body])


def test_one_large_chunk_is_judged_on_the_same_bytes_as_small_ones():
    """What lies behind the head does not count, even when it came along with it."""
    body = PNG + box(b"emsg", b"x" * HEAD_BYTES) + FMP4
    assert outcome([body]) == outcome([body[:1000], body[1000:HEAD_BYTES], body[HEAD_BYTES:]])


def test_every_single_byte_as_a_chunk_gives_the_same():
    """The smallest chunks there are: headers are put together again."""
    for body in SAMPLES:
        if len(body) < 10_000:
            assert outcome([bytes([byte]) for byte in body]) == outcome([body])


@pytest.mark.parametrize(
    "body",
    [
        ID3 + adts(400),
        adts(6600, length=10),
        ID3 * 2 + MP3 * 60,
        MP3 * 60 + b"TAG" + b"x" * 125,
        adts(400)[:-3],
        adts(400) + b"\0" * 20,
        box(b"moof") + (box(b"free", b"x" * 9) * 5000) + box(b"mdat", b"x"),
        box(b"moof") + (struct.pack(">I4sQ", 1, b"free", 17) + b"x") * 5000 + box(b"mdat", b"x" * 5)[:-1],
    ],
    ids=range(8),
)
def test_headers_behind_the_head_are_put_together_again(body: bytes):
    """Where bytes are no longer gathered, each may come alone."""
    start = HEAD_BYTES - 100
    assert outcome([body[:start], *(bytes([byte]) for byte in body[start:])]) == outcome([body])
    assert outcome([body[:start], *(body[at : at + 3] for at in range(start, len(body), 3))]) == outcome([body])


@pytest.mark.parametrize(
    "body", [box(b"ftyp", b"iso6") + box(b"moov", b"x"), box(b"moov"), box(b"styp") + box(b"moov")]
)
def test_an_init_section_has_a_moov(body: bytes):
    """Boxes to the end and a moov among them."""
    check_init(body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", NotMedia),
        (b"<html>", NotMedia),
        (ts(3), NotMedia),
        (box(b"ftyp"), SegmentError),
        (box(b"ftyp") + box(b"moov", b"x" * 50)[:-1], SegmentError),
        (box(b"ftyp") + box(b"moov") + b"\0" * 8, SegmentError),
    ],
)
def test_other_bytes_are_no_init_section(body: bytes, error: type[SegmentError]):
    """Named by position 0."""
    with pytest.raises(SegmentError) as caught:
        check_init(body)
    assert (type(caught.value), caught.value.fields["position"]) == (error, 0)


def test_an_empty_segment_of_subtitles_has_no_cues():
    """Some servers send nothing where nobody speaks; of anything else an empty body is no media."""
    check = MediaCheck(7, of_texts=True)
    assert b"" == check.feed(b"")
    rest, media = check.finish()
    assert (b"WEBVTT\n\n", "vtt", True) == (rest, media.kind, media.complete)
    with pytest.raises(NotMedia):
        MediaCheck(7).finish()
    said = MediaCheck(7, of_texts=True)
    said.feed(VTT)
    assert VTT == said.finish()[0]


# -- Frames, by the tables of their standards -------------------------------------------------------------------------

AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
AC3_WORDS_AT_44100 = (69, 87, 104, 121, 139, 174, 208, 243, 278, 348, 417, 487, 557, 696, 835, 975, 1114, 1253, 1393)


@pytest.mark.parametrize("code", range(38))
def test_frames_of_ac3(code: int):
    """ATSC A/52 table 5.18; at 44.1 kHz every second one is a word longer."""
    head, tail = b"\x0b\x77\0\0", b"\x40\0\0"
    words = [frame_length("ac3", head + bytes([rate << 6 | code]) + tail) / 2 for rate in range(4)]
    kbits = AC3_KBITS[code // 2]
    assert [2 * kbits, AC3_WORDS_AT_44100[code // 2] + code % 2, 3 * kbits, 0] == words
    assert 0 == frame_length("ac3", head + bytes([code]) + tail[:2])


def test_frames_of_ac3_that_are_none():
    """A rate that there is not, another start; above bsid 10 it is E-AC-3, which says its length itself."""
    for header in ("0b77000026400000", "0b7700003f400000", "0b76000000400000", "0c77000000400000"):
        assert 0 == frame_length("ac3", bytes.fromhex(header))
    assert 4 * 32 == frame_length("ac3", bytes.fromhex("0b77000000500000"))
    for header, length in (("0b77000000580000", 2), ("0b7707ff00800000", 4096), ("0b77faff00800000", 1536)):
        assert length == frame_length("ac3", bytes.fromhex(header))


MP3_KBITS = {
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    0: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mp3_header(version: int, bitrate: int, rate: int, padding: int = 0, layer: int = 1) -> bytes:
    return bytes([0xFF, 0xE1 | version << 3 | layer << 1, bitrate << 4 | rate << 2 | padding << 1, 0]) + bytes(4)


@pytest.mark.parametrize("version", [3, 2, 0])
def test_frames_of_mp3(version: int):
    """ISO 11172-3 and 13818-3, layer III: 1152 samples, or 576 at the lower rates, and a byte of padding."""
    samples = 1152 if version == 3 else 576
    for rate, hertz in enumerate(MP3_RATES[version]):
        for bitrate, kbits in enumerate(MP3_KBITS[version], 1):
            length = samples // 8 * kbits * 1000 // hertz
            assert length == frame_length("mp3", mp3_header(version, bitrate, rate))
            assert length + 1 == frame_length("mp3", mp3_header(version, bitrate, rate, padding=1))


@pytest.mark.parametrize(
    "header",
    [
        mp3_header(1, 9, 0),
        mp3_header(3, 0, 0),
        mp3_header(3, 15, 0),
        mp3_header(3, 9, 3),
        *(mp3_header(3, 9, 0, layer=layer) for layer in (0, 2, 3)),
        b"\xfe" + mp3_header(3, 9, 0)[1:],
        b"\xff\xdb" + mp3_header(3, 9, 0)[2:],
        mp3_header(3, 9, 0)[:7],
    ],
    ids=range(10),
)
def test_frames_of_mp3_that_are_none(header: bytes):
    """Versions, rates and layers that there are not, or that are another codec."""
    assert 0 == frame_length("mp3", header)


@pytest.mark.parametrize("length", [7, 8, 255, 256, 2047, 2048, 8191])
def test_frames_of_aac(length: int):
    """13 bits, spread over three bytes."""
    assert length == frame_length("aac", adts(1, length)[:7] + b"\0")


@pytest.mark.parametrize(
    "header", ["fff1508000dffc00", "fef150800dffc000", "ffe150800dffc000", "fff550800dffc000", "fff1b4800dffc000"]
)
def test_frames_of_aac_that_are_none(header: str):
    """Shorter than their header, without its first twelve bits, of another layer, at a rate that there is not."""
    assert 0 == frame_length("aac", bytes.fromhex(header))


def test_rates_of_aac():
    """Thirteen of them, with a checksum and without."""
    for rate in range(16):
        for start in (0xF0, 0xF1, 0xF8, 0xF9):
            header = bytes([0xFF, start, 0x40 | rate << 2, 0x80, 0x19, 0x1F, 0xFC, 0])
            assert (200 if rate <= 12 else 0) == frame_length("aac", header)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"", 0),
        (b"ID3\4\0\0\0\0\0", 0),
        (b"ID3\4\0\0\0\0\0\0", 10),
        (b"ID3\4\0\0\0\0\0\x7f", 137),
        (b"ID3\4\0\0\0\0\1\0", 138),
        (b"ID3\4\0\0\0\1\0\0", 10 + (1 << 14)),
        (b"ID3\4\0\0\1\0\0\0", 10 + (1 << 21)),
        (b"ID3\4\0\x10\0\0\0\0", 20),
        (b"ID3\4\0\x20\0\0\0\0", 10),
        (b"ID3\4\0\0\0\0\0\x80", 0),
        (b"ID3\4\0\0\0\0\0\1x" + b"ID3\4\0\0\0\0\0\2", 23),
        (b"TAG\4\0\0\0\0\0\1", 0),
    ],
    ids=range(12),
)
def test_tags_in_front(head: bytes, length: int):
    """Seven bits a byte, a footer if there is one, several behind each other."""
    assert length == id3_length(head)
