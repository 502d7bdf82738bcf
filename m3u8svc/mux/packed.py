"""
Packed audio: elementary AAC, MP3 or AC-3 with an ID3 tag in front that tells the time (RFC 8216 3.4).
"""

import attrs

TIMESTAMP_OWNER = b"com.apple.streaming.transportStreamTimestamp\x00"
_ID3_HEADER = 10


@attrs.frozen(kw_only=True)
class PackedHead:
    """
    `start` bytes of tags to leave out, libav's name of the format, the time of the first frame in 1/90000 s if told.
    """

    start: int
    demuxer: str
    clock: int | None


def look_at_packed(start_of_file: bytes) -> PackedHead | None:
    """
    What the first bytes of a packed audio segment tell; None when no frame follows the tags.
    """
    start, clock = 0, None
    while start_of_file[start : start + 3] == b"ID3" and len(start_of_file) >= start + _ID3_HEADER:
        end = start + _ID3_HEADER + _syncsafe(start_of_file[start + 6 : start + 10])
        clock = _timestamp(start_of_file[start:end]) if clock is None else clock
        start = end
    demuxer = _demuxer(start_of_file[start : start + 8])
    return None if demuxer is None else PackedHead(start=start, demuxer=demuxer, clock=clock)


def _syncsafe(four: bytes) -> int:
    return (four[0] & 0x7F) << 21 | (four[1] & 0x7F) << 14 | (four[2] & 0x7F) << 7 | four[3] & 0x7F


def _timestamp(tag: bytes) -> int | None:
    at = tag.find(TIMESTAMP_OWNER)
    value = tag[at + len(TIMESTAMP_OWNER) :][:8] if at >= 0 else b""
    return int.from_bytes(value) & ((1 << 33) - 1) if len(value) == 8 else None


def _demuxer(frame: bytes) -> str | None:
    if len(frame) < 8:
        return None
    if frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:  # ADTS: layer bits 00
        return "aac"
    if frame[0] == 0xFF and frame[1] & 0xE0 == 0xE0:
        return "mp3"
    if frame[:2] == b"\x0b\x77":
        return "eac3" if frame[5] >> 3 > 10 else "ac3"  # bsid
    return None
