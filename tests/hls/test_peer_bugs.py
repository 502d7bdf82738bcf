"""
Mistakes other HLS programs make with encrypted segments, from the playlist to the clear bytes: not here.
"""

import pytest

from m3u8svc.errors import DecryptError
from m3u8svc.hls.decrypt import decryption_for, read_key
from m3u8svc.hls.overrides import Overrides, override_media
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_download
from m3u8svc.hls.playlist import InitSection, MediaPlaylist, Segment
from m3u8svc.testing.playlists import CLEAR, KeyLine, MapLine, SegmentLine, media_playlist
from tests.integration.media import encrypted

KEYS = {f"http://h/k{number}": bytes([number] * 16) for number in range(4)}
IV = bytes(range(30, 46))
K1, K2 = KeyLine(uri="k1"), KeyLine(uri="k2")


def media(*lines: SegmentLine, media_sequence: int = 0) -> MediaPlaylist:
    playlist = parse_playlist(media_playlist(lines, media_sequence=media_sequence), "http://h/list.m3u8")
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def clear(item: Segment | InitSection, body: bytes, key: bytes | None = None) -> bytes:
    """What a download makes of `body`."""
    if item.key is None or item.iv is None:
        return body
    position = item.position if isinstance(item, Segment) else 0
    decryption = decryption_for(item.key, key or item.key.value or KEYS[item.key.uri], item.iv, position)
    return decryption.update(body) + decryption.finish()


def number(value: int) -> bytes:
    return value.to_bytes(16, "big")


def test_a_map_does_not_shift_the_default_iv():
    """yt-dlp counts the init section as a segment."""
    map_ = MapLine(uri="i.mp4")
    playlist = media(
        SegmentLine(uri="0", keys=(K1,), map=map_),
        SegmentLine(uri="1", map=MapLine(uri="j.mp4")),
        SegmentLine(uri="2"),
        media_sequence=7,
    )
    for place, segment in enumerate(playlist.segments):
        assert clear(segment, encrypted(b"media", KEYS["http://h/k1"], number(7 + place))) == b"media"


def test_every_segment_has_an_iv_of_its_own():
    """iori takes that of the first for all, lzwme zero."""
    playlist = media(
        *[SegmentLine(uri=str(each), keys=(K1,) if not each else ()) for each in range(3)], media_sequence=9
    )
    assert [segment.iv for segment in playlist.segments] == [number(9), number(10), number(11)]


def test_an_iv_given_with_one_key_does_not_stay_for_the_next():
    """lzwme keeps the first IV through a rotation."""
    playlist = media(
        SegmentLine(uri="0", keys=(KeyLine(uri="k1", iv=f"0x{IV.hex()}"),)), SegmentLine(uri="1", keys=(K2,))
    )
    assert [segment.iv for segment in playlist.segments] == [IV, number(1)]
    assert clear(playlist.segments[1], encrypted(b"media", KEYS["http://h/k2"], number(1))) == b"media"


def test_an_iv_is_big_endian():
    """lzwme's words come out swapped. The vector is F.2.1 of NIST SP 800-38A with padding behind it."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    playlist = media(SegmentLine(uri="0", keys=(KeyLine(uri="k1", iv="0x000102030405060708090a0b0c0d0e0f"),)))
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    body = encrypted(plain, key, bytes(range(16)))
    assert body[:16].hex() == "7649abac8119b246cee98e9b12e9197d"
    assert clear(playlist.segments[0], body, key) == plain


def test_none_ends_a_key_and_the_same_key_may_begin_again():
    """vsd goes on with the old key over clear segments."""
    playlist = media(
        SegmentLine(uri="0", keys=(K1,)), SegmentLine(uri="1", keys=(CLEAR,)), SegmentLine(uri="2", keys=(K1,))
    )
    bodies = [encrypted(b"0", KEYS["http://h/k1"], number(0)), b"1", encrypted(b"2", KEYS["http://h/k1"], number(2))]
    assert [clear(*each) for each in zip(playlist.segments, bodies, strict=True)] == [b"0", b"1", b"2"]


def test_each_byte_range_is_encrypted_by_itself():
    """The sub-range is the unit: with an IV and padding of its own, wherever it lies in the file."""
    units = [encrypted(bytes([each]) * (20 + each), KEYS["http://h/k1"], number(each)) for each in range(3)]
    file = b"".join(units)
    lines = [
        SegmentLine(uri="all.ts", byterange=str(len(unit)) + ("@0" if not at else "")) for at, unit in enumerate(units)
    ]
    playlist = media(SegmentLine(uri="all.ts", byterange=lines[0].byterange, keys=(K1,)), *lines[1:])
    for each, segment in enumerate(playlist.segments):
        assert segment.byterange is not None
        start = segment.byterange.offset_bytes
        assert clear(segment, file[start : start + segment.byterange.length_bytes]) == bytes([each]) * (20 + each)


@pytest.mark.parametrize("method", ["AES-128", "SAMPLE-AES"])
def test_an_empty_encrypted_segment_is_an_error_and_no_crash(method: str):
    """m3u8d panics."""
    playlist = media(SegmentLine(uri="0", keys=(KeyLine(uri="k1", method=method),)))
    with pytest.raises(DecryptError) as caught:
        clear(playlist.segments[0], b"")
    assert caught.value.text() == "第 1 个分片解密失败：内容为空"


@pytest.mark.parametrize("iv", ["", f"0x{IV.hex()}"])
def test_an_encrypted_map_is_decrypted_with_or_without_an_iv(iv: str):
    """With the key in force at it, and the number of the segment behind it where it gives no IV."""
    playlist = media(
        SegmentLine(uri="0", keys=(KeyLine(uri="k1", iv=iv),), map=MapLine(uri="i.mp4")),
        SegmentLine(uri="1", keys=(K2,)),
        media_sequence=5,
    )
    init = playlist.segments[1].init
    assert init is not None
    used = IV if iv else number(5)
    assert clear(init, encrypted(b"moov", KEYS["http://h/k1"], used)) == b"moov"


def test_a_map_before_the_key_is_clear():
    """It is not decrypted with a key that comes later."""
    playlist = media(SegmentLine(uri="0", map=MapLine(uri="i.mp4")), SegmentLine(uri="1", keys=(K1,)))
    init = playlist.segments[1].init
    assert init is not None and clear(init, b"moov") == b"moov"


def test_a_key_given_by_the_user_is_the_key():
    """Whatever the playlist's URI would answer; its IVs stay."""
    playlist = media(
        SegmentLine(uri="0", keys=(K1,)), SegmentLine(uri="1", keys=(K2,)), SegmentLine(uri="2", keys=(CLEAR,))
    )
    given = override_media(playlist, Overrides(key=KEYS["http://h/k3"]))
    assert [segment.key and segment.key.value for segment in given.segments] == [KEYS["http://h/k3"]] * 2 + [None]
    assert clear(given.segments[1], encrypted(b"media", KEYS["http://h/k3"], number(1))) == b"media"


def test_two_segments_with_one_key_and_other_ivs_are_two_things():
    """A resume must not take one for the other."""
    lines = [SegmentLine(uri="0", keys=(KeyLine(uri="k1", iv=iv),)) for iv in ("0x1", "0x2")]
    first, second = (plan_download(media(line), {}).jobs[0].identity for line in lines)
    assert first != second


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b" \n"])
def test_a_written_key_may_end_in_a_line_feed(ending: bytes):
    """As `echo` leaves it."""
    key = KEYS["http://h/k1"]
    assert read_key(key.hex().encode() + ending, "http://h/k") == key
    assert read_key(b"AQEBAQEBAQEBAQEBAQEBAQ==" + ending, "http://h/k") == key
