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
from m3u8svc.hls.media import HEAD_BYTES, MAX_UNPACKED_BYTES, Media, MediaCheck, check_init
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


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((ts(count), "ts") for count in (1, 2, 3, 8, 900)),
        *((FMP4, "fmp4"), (FMP4[16:], "fmp4"), (box(b"sidx", b"\0" * 40) + FMP4, "fmp4")),
        (box(b"moof", b"x" * 20) + struct.pack(">I4sQ", 1, b"mdat", 16 + 300_000) + b"\x47" * 300_000, "fmp4"),
        (box(b"moof") + b"\0\0\0\0mdat" + b"x" * 500, "fmp4"),
        *((adts(50), "aac"), (ID3 + adts(50), "aac"), (ID3 + adts(1), "aac"), (adts(2000), "aac")),
        *((MP3, "mp3"), (ID3 + MP3, "mp3"), (MP3 + b"TAG" + b"x" * 125, "mp3")),
        *((AC3, "ac3"), (EAC3, "ac3"), (ID3 + AC3, "ac3")),
        *((VTT, "vtt"), (b"\xef\xbb\xbf" + VTT, "vtt"), (VTT.replace(b"\n", b"\r\n"), "vtt")),
        *((b"WEBVTT", "vtt"), (b"WEBVTT\n", "vtt"), (b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00.000\n\n", "vtt")),
    ],
)
def test_clean_media_is_kept_whole(body: bytes, kind: str):
    """Nothing is cut from what starts as media, and nothing is wrong with it."""
    stored, media = checked(body)
    assert media == Media(kind=kind)
    assert stored == body


@pytest.mark.parametrize(
    "fake", [PNG, JPEG, GIF, BMP, b"G" * 100 + b"\0", b"\0" * 60_000], ids="PNG JPEG GIF BMP G 60k".split()
)
@pytest.mark.parametrize(("body", "kind"), [(ts(3), "ts"), (ts(2000), "ts"), (FMP4, "fmp4"), (FMP4[16:], "fmp4")])
def test_C8_a_fake_image_is_cut_at_the_first_byte_of_media(fake: bytes, body: bytes, kind: str):
    """Neither a G in the image nor a 0x47 in the boxes is taken for the start."""
    stored, media = checked(fake + body)
    assert media == Media(kind=kind, disguise_bytes=len(fake))
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
        gzip.compress(b"<html>"),
        gzip.compress(VTT)[:12],
        gzip.compress(FMP4),
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
        with pytest.raises(SegmentError, match="8 MiB"):
            checked(body)
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
    with pytest.raises(SegmentError, match="gzip"):
        checked(bytes(large))


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


@settings(max_examples=300)
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
