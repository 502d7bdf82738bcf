"""
What the muxer sees in the first bytes of a segment, and in a finished file.
"""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.mux.fmp4 import BrokenBoxes, look_at_fragments
from m3u8svc.mux.packed import look_at_packed
from m3u8svc.mux.parameters import parameter_sets
from m3u8svc.mux.protocol import BadOrder, End, Feed, Hole, Inbox, Job, ParentGone, parse_order
from m3u8svc.mux.ts import find_sync, look_at_ts
from m3u8svc.mux.verify import read_back
from tests.mux.conftest import Streams


def ts_packet(pid: int, payload: bytes, *, start: bool = True) -> bytes:
    """One TS packet, stuffed with an adaptation field."""
    stuffing = 184 - len(payload)
    field = bytes([stuffing - 1]) + (b"\x00" + b"\xff" * (stuffing - 2) if stuffing > 1 else b"") if stuffing else b""
    return bytes([0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF, 0x30 if stuffing else 0x10]) + field + payload


def section(body: bytes) -> bytes:
    """A table section with its pointer field and CRC-32/MPEG-2."""
    crc = 0xFFFFFFFF
    for byte in body:
        for bit in range(7, -1, -1):
            crc = (crc << 1 ^ (0x04C11DB7 if (crc >> 31 ^ byte >> bit) & 1 else 0)) & 0xFFFFFFFF
    return b"\x00" + body + crc.to_bytes(4)


def pat(pmt_pid: int) -> bytes:
    """A PAT with one program."""
    return ts_packet(0, section(b"\x00\xb0\x0d\x00\x01\xc1\x00\x00\x00\x01" + (0xE000 | pmt_pid).to_bytes(2)))


def pmt(pid: int, *streams: tuple[int, int]) -> bytes:
    """A PMT with these (type, PID) streams."""
    loop = b"".join(bytes([kind]) + (0xE000 | each).to_bytes(2) + b"\xf0\x00" for kind, each in streams)
    head = b"\x02" + (0xB000 | 13 + len(loop)).to_bytes(2) + b"\x00\x01\xc1\x00\x00\xe1\x00\xf0\x00"
    return ts_packet(pid, section(head + loop))


def pes(pid: int, pts: int, dts: int | None = None) -> bytes:
    """The start of a PES packet with its times."""

    def coded(mark: int, time: int) -> bytes:
        return (
            bytes([mark | time >> 29 & 0xE | 1])
            + ((time >> 15 & 0x7FFF) << 1 | 1).to_bytes(2)
            + ((time & 0x7FFF) << 1 | 1).to_bytes(2)
        )

    times = coded(0x20, pts) if dts is None else coded(0x30, pts) + coded(0x10, dts)
    return ts_packet(
        pid, b"\x00\x00\x01\xe0\x00\x00\x80" + bytes([0x80 if dts is None else 0xC0, len(times)]) + times + bytes(20)
    )


SEGMENT = pat(0x1000) + pmt(0x1000, (0x1B, 0x100), (0x0F, 0x101)) + pes(0x100, (1 << 33) - 5, 3600) + pes(0x101, 77)


@pytest.mark.parametrize("before", [b"", b"\x89PNG\r\n\x1a\n" + bytes(300), b"\x47" * 5, bytes(60_000)])
def test_look_at_ts(before: bytes) -> None:
    """Streams, first clock and where packets start, whatever stands before them."""
    head = look_at_ts(before + SEGMENT)
    assert head is not None
    assert (((0x1B, 0x100), (0x0F, 0x101)), (0x100, 3600)) == (head.pids, head.clock)
    assert SEGMENT.startswith((before + SEGMENT)[head.start :][:188])


def test_damaged_table_says_nothing() -> None:
    """A PMT whose CRC is wrong is not believed: libav does not see it either."""
    head = look_at_ts(SEGMENT.replace(b"\x0f\xe1\x01", b"\x03\xe1\x01"))
    assert head is not None
    assert ((), (0x100, 3600)) == (head.pids, head.clock)


def test_ts_clock_without_dts() -> None:
    """All 33 bits of a PTS are read."""
    head = look_at_ts(pat(32) + pmt(32, (0x0F, 0x101)) + pes(0x101, (1 << 33) - 5))
    assert head is not None and (0x101, (1 << 33) - 5) == head.clock


@pytest.mark.parametrize("media", [b"", b"<html>", bytes(5000), SEGMENT[:100], bytes(70_000) + SEGMENT])
def test_not_ts(media: bytes) -> None:
    """No packets within the first 64 kB: no transport stream."""
    assert None is look_at_ts(media)


@given(st.binary(max_size=2000), st.integers(0, 700))
def test_ts_damage_is_survived(noise: bytes, at: int) -> None:
    """No bytes make the probe fail."""
    look_at_ts(SEGMENT[:at] + noise + SEGMENT[at:])
    look_at_packed(b"ID3" + noise)
    find_sync(noise)
    parameter_sets("hevc", b"\x01" + noise)
    parameter_sets("h264", b"\x01" + noise)


def id3(clock: int) -> bytes:
    """A tag with a time stamp."""
    body = b"com.apple.streaming.transportStreamTimestamp\x00" + clock.to_bytes(8)
    frame = b"PRIV" + len(body).to_bytes(4) + b"\x00\x00" + body
    return b"ID3\x04\x00\x00\x00\x00\x00" + bytes([len(frame)]) + frame


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (id3(900_000) + b"\xff\xf1\x50\x80\x2e\x7f\xfc\x21", (73, "aac", 900_000)),
        (id3((1 << 40) + 5) + b"\xff\xfb\x90\x00\x00\x00\x00\x00", (73, "mp3", 5)),
        (b"\x0b\x77\x00\x00\x00\x40\x00\x00", (0, "ac3", None)),
        (b"\x0b\x77\x00\x00\x00\x80\x00\x00", (0, "eac3", None)),
    ],
)
def test_look_at_packed(media: bytes, expected: tuple[int, str, int | None]) -> None:
    """Format, start and time of packed audio."""
    head = look_at_packed(media)
    assert head is not None
    assert expected == (head.start, head.demuxer, head.clock)


@pytest.mark.parametrize("media", [b"", id3(1), id3(1) + b"<html>  ", b"ID3", b"RIFF....WAVE"])
def test_not_packed(media: bytes) -> None:
    """Tags without a frame behind them are no audio."""
    assert None is look_at_packed(media)


class TestFragments:
    """The walk through an fMP4 segment."""

    def test_sound_segment(self, streams: Streams) -> None:
        """Real segments pass, and their clock grows."""
        clocks = []
        for path in streams.fmp4().segments:
            with path.open("rb") as file:
                clocks.append(look_at_fragments(file, path.stat().st_size).clock)
        assert all(clock is not None for clock in clocks)
        assert sorted(clocks) == clocks and len(set(clocks)) == len(clocks)

    @pytest.mark.parametrize("change", ["cut", "no mdat", "too many samples", "moof too long", "sizes grow"])
    def test_broken_segment(self, change: str, streams: Streams) -> None:
        """Every kind of box that would mislead the demuxer is found."""
        media = bytearray(streams.fmp4().segments[0].read_bytes())
        trun, moof = media.index(b"trun"), media.index(b"moof")
        if change == "cut":
            del media[-100:]
        elif change == "no mdat":
            media = bytearray(bytes(media).replace(b"mdat", b"free"))
        elif change == "too many samples":
            media[trun + 8] = 0x7F
        elif change == "moof too long":
            media[moof - 3] = 0x7F
        else:
            media[trun + 24] = 0x7F  # the high byte of a sample size or duration row
            media[trun + 20] = 0x7F
        with pytest.raises(BrokenBoxes):
            look_at_fragments(io.BytesIO(bytes(media)), len(media))

    @given(st.binary(max_size=400))
    def test_noise(self, noise: bytes) -> None:
        """Noise is broken boxes, nothing worse."""
        with pytest.raises(BrokenBoxes):
            look_at_fragments(io.BytesIO(noise), len(noise))


def test_parameter_sets() -> None:
    """SPS and PPS of an avcC with the length size it declares; nothing from Annex B."""
    avcc = b"\x01\x64\x00\x1f\xfd\xe1\x00\x03SPS\x01\x00\x02PP"
    assert b"\x00\x03SPS\x00\x02PP" == parameter_sets("h264", avcc)
    assert b"" == parameter_sets("h264", b"\x00\x00\x00\x01gSPS")
    hvcc = (
        b"\x01"
        + bytes(20)
        + b"\xff\x03"
        + b"\x20\x00\x01\x00\x02VV"
        + b"\x27\x00\x01\x00\x01S"
        + b"\x22\x00\x01\x00\x01P"
    )
    assert b"\x00\x00\x00\x02VV\x00\x00\x00\x01P" == parameter_sets("hevc", hvcc)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"op":"job","target":"/x"}', Job(target="/x")),
        (b'{"op":"end"}', End()),
        (
            b'{"op":"gap","track":"main","number":3,"duration_s":2,"keep":true}',
            Hole(track="main", number=3, duration_s=2, keep=True),
        ),
        (
            b'{"op":"seg","track":"main","number":3,"duration_s":2,"path":"/a","kind":"ts"}',
            Feed(track="main", number=3, duration_s=2, path="/a", kind="ts"),
        ),
    ],
)
def test_parse_order(line: bytes, expected: object) -> None:
    """Each order by its name and fields."""
    assert expected == parse_order(line)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"op":"dance"}', b'{"op":"job"}', b'{"op":"end","x":1}', b"\xff"]
)
def test_bad_order(line: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(BadOrder):
        parse_order(line)


def test_inbox_knows_the_end_from_a_dead_parent() -> None:
    """An end is for ever; an input that stops without one means that the parent is gone."""
    inbox = Inbox(io.BytesIO(b'{"op":"job","target":"/x"}\n{"op":"end"}\n'))
    assert (Job(target="/x"), End(), End()) == (inbox.job(), inbox.take(), inbox.take())
    with pytest.raises(ParentGone):
        Inbox(io.BytesIO(b'{"op":"job"')).job()


@pytest.mark.parametrize("damage", ["cut", "no moov", "chunk outside"])
def test_read_back_finds_damage(damage: str, streams: Streams) -> None:
    """A finished file that is not whole is not believed."""
    media = bytearray((streams.fmp4().segments[0].parent / "init.mp4").read_bytes())
    assert 2 == len(read_back(lambda size, at: bytes(media[at : at + size]), len(media)).tracks)
    if damage == "cut":
        del media[-10:]
    elif damage == "no moov":
        media = bytearray(bytes(media).replace(b"moov", b"free"))
    else:
        at = media.index(b"stco")
        # One chunk, at 0: there is no mdat at all.
        media[at + 4 : at + 12] = b"\x00\x00\x00\x00\x00\x00\x00\x01"
        media[at - 4 : at] = (20).to_bytes(4)
        media[at + 12 : at + 12] = bytes(4)
        for kind in (b"stbl", b"minf", b"mdia", b"trak", b"moov"):
            box = media.rindex(kind, 0, at) - 4
            media[box : box + 4] = (int.from_bytes(media[box : box + 4]) + 4).to_bytes(4)
    with pytest.raises(BrokenBoxes):
        read_back(lambda size, at: bytes(media[at : at + size]), len(media))


def nal_stream(*units: bytes) -> bytes:
    """Units behind start codes."""
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


def picture(kind: int, *units: bytes) -> bytes:
    """A segment whose first picture of this stream type has these units, the last one cut off."""
    head = b"\x00\x00\x01\xe0\x00\x00\x80\x80\x05" + pes(0x100, 3600)[-25:-20]
    return pat(0x1000) + pmt(0x1000, (kind, 0x100)) + ts_packet(0x100, head + nal_stream(*units))


@pytest.mark.parametrize(
    ("kind", "units", "expected"),
    [
        (0x1B, (b"\x09\xf0", b"\x67SPS", b"\x68PPS", b"\x65IDR"), b"\x67SPS"),
        (0x1B, (b"\x09\xf0", b"\x41P", b"\x41P"), b""),
        (0x1B, (b"\x67cut off",), b""),
        (0x24, (b"\x40\x01V", b"\x42\x01S", b"\x44\x01P", b"\x26\x01I"), b"\x40\x01V\x42\x01S\x44\x01P"),
        (0x02, (b"\x67SPS", b"\x65"), b""),
    ],
    ids=["H.264", "no key frame", "cut off", "HEVC", "another codec"],
)
def test_parameter_sets_of_a_segment(kind: int, units: tuple[bytes, ...], expected: bytes) -> None:
    """What the first picture says of its decoder, when it is there in whole."""
    head = look_at_ts(picture(kind, *units))
    assert head is not None
    assert (expected, b"") == head.forms


def test_sound_of_a_segment() -> None:
    """Of an AAC frame's header what stays the same from frame to frame."""
    forms = []
    for frame in (b"\xff\xf1\x50\x80\x2e\x7f\xfc", b"\xff\xf1\x50\x80\x77\x1f\xfc", b"\xff\xf1\x4c\x80\x2e\x7f\xfc"):
        head = b"\x00\x00\x01\xc0\x00\x00\x80\x80\x05" + pes(0x101, 3600)[-25:-20]
        found = look_at_ts(pat(0x1000) + pmt(0x1000, (0x0F, 0x101)) + ts_packet(0x101, head + frame))
        assert found is not None
        forms.append(found.forms)
    assert forms[0] == forms[1] != forms[2]
    assert (b"", b"\xff\xf0\x50\x80") == forms[0]
