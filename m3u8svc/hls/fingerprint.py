"""
How a segment was encoded, from its first bytes: enough to tell an advert's encoder from the programme's.

Not what the pictures show and not how they are compressed, only what a decoder is told first: H.264 and HEVC parameter
sets, the fixed part of an ADTS header, the sample descriptions of an fMP4 init section. Two encoders rarely agree in
all of it; one encoder rarely changes it within a programme. Pure, and on hostile bytes it answers "" rather than raise.
"""

import hashlib
from collections.abc import Iterator

import attrs

from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.packets import PACKET

LOOK_BYTES = 1 << 20
"""How much of a segment is worth giving: a first picture may be large, and audio starts after it."""

_AUDIO_TYPES = {0x03: "mp3", 0x04: "mp3", 0x0F: "aac", 0x11: "latm", 0x81: "ac3", 0x87: "eac3"}
_VIDEO_TYPES = {0x1B: "h264", 0x24: "hevc"}
_SETS = {"h264": (0x1F, 0, frozenset({7, 8})), "hevc": (0x3F, 1, frozenset({32, 33, 34}))}
"""Of each codec: the mask of a NAL unit's type, the shift before it, the types that are parameter sets."""
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_ADTS_KEPT = bytes((0xFF, 0xF8, 0xFD, 0xC0))
"""Of an ADTS header's first bytes: syncword and id, profile, sampling frequency, channels (ISO 13818-7, 6.2.1)."""


@attrs.frozen(kw_only=True)
class Signature:
    """
    A codec and a digest for picture and sound each, such as ``h264:1f0c9a3b5d7e``; "" where there is none or it was not
    found. Equal signatures: the same encoder settings, as far as they are told.
    """

    video: str = ""
    audio: str = ""

    def __bool__(self) -> bool:
        """Whether anything was found."""
        return bool(self.video or self.audio)


def read_signature(kind: MediaKind, start: bytes, init: bytes = b"") -> Signature:
    """
    The signature of a segment of this kind from its first bytes; fMP4 tells it in the init section instead.
    """
    if kind == "ts":
        return _of_ts(start)
    if kind == "fmp4":
        return _of_boxes(init)
    if kind == "aac":
        at = start.find(b"\xff\xf1") if b"\xff\xf1" in start else start.find(b"\xff\xf9")
        return Signature(audio=_adts(start[at:]) if at >= 0 else "")
    return Signature(audio=kind) if kind in ("mp3", "ac3") else Signature()


def _digest(codec: str, *parts: bytes) -> str:
    return f"{codec}:{hashlib.sha256(b'|'.join(parts)).hexdigest()[:12]}"


# -- MPEG-TS ---------------------------------------------------------------------------------------------------------


def _of_ts(start: bytes) -> Signature:
    streams = _streams(start)
    video = next(((pid, _VIDEO_TYPES[kind]) for pid, kind in streams if kind in _VIDEO_TYPES), None)
    audio = next(((pid, _AUDIO_TYPES[kind]) for pid, kind in streams if kind in _AUDIO_TYPES), None)
    return Signature(
        video="" if video is None else _video(video[1], _elementary(start, video[0])),
        audio="" if audio is None else _audio(audio[1], _elementary(start, audio[0])),
    )


def _packets(start: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """(PID, whether a unit starts, payload) of each packet, as long as they are in sync."""
    for at in range(0, len(start) - PACKET + 1, PACKET):
        packet = start[at : at + PACKET]
        if packet[0] != 0x47:
            return
        control = packet[3] >> 4 & 3
        payload = packet[5 + packet[4] :] if control == 3 else packet[4:] if control == 1 else b""
        yield (packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40), payload


def _streams(start: bytes) -> list[tuple[int, int]]:
    """(PID, stream type) of the first program."""
    pmt_pid = -1
    for pid, begins, payload in _packets(start):
        if not begins or not payload:
            continue
        section = payload[payload[0] + 1 :]
        if pid == 0 and pmt_pid < 0:
            pmt_pid = next(
                (
                    (section[at + 2] & 0x1F) << 8 | section[at + 3]
                    for at in range(8, len(section) - 7, 4)
                    if section[at] or section[at + 1]
                ),
                -1,
            )
        elif pid == pmt_pid and len(section) > 12:
            return _read_pmt(section[: 3 + ((section[1] & 0x0F) << 8 | section[2]) - 4])
    return []


def _read_pmt(section: bytes) -> list[tuple[int, int]]:
    found = []
    at = 12 + ((section[10] & 0x0F) << 8 | section[11]) if len(section) > 11 else len(section)
    while at + 5 <= len(section):
        found.append(((section[at + 1] & 0x1F) << 8 | section[at + 2], section[at]))
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return found


def _elementary(start: bytes, wanted: int) -> bytes:
    """What the first two PES packets of a PID carry."""
    units: list[bytes] = []
    for pid, begins, payload in _packets(start):
        if pid != wanted:
            continue
        if begins:
            if len(units) == 2:
                break
            header = 9 + payload[8] if len(payload) > 8 and payload[:3] == b"\0\0\1" else 0
            units.append(payload[header:])
        elif units:
            units[-1] += payload
    return b"".join(units)


def _video(codec: str, stream: bytes) -> str:
    mask, shift, wanted = _SETS[codec]
    sets = sorted({unit for unit in _nal_units(stream) if unit and (unit[0] >> shift) & mask in wanted})
    return _digest(codec, *sets) if sets else ""


def _nal_units(stream: bytes) -> Iterator[bytes]:
    """Units between start codes (H.264 Annex B); the last one may be cut, and is left out."""
    pieces = stream.split(b"\0\0\1")
    for piece in pieces[1:-1]:
        yield piece.rstrip(b"\0")


def _audio(codec: str, stream: bytes) -> str:
    return _adts(stream) if codec == "aac" else codec if stream else ""


def _adts(stream: bytes) -> str:
    if len(stream) < 4 or stream[0] != 0xFF or stream[1] & 0xF6 != 0xF0:
        return ""
    return _digest("aac", bytes(byte & kept for byte, kept in zip(stream[:4], _ADTS_KEPT, strict=True)))


# -- fMP4 ------------------------------------------------------------------------------------------------------------


def _of_boxes(init: bytes) -> Signature:
    video: list[str] = []
    audio: list[str] = []
    for description in _descriptions(init, 0, len(init)):
        codec = description[12:16].decode("latin-1")
        kept = video if codec in ("avc1", "avc3", "hvc1", "hev1", "av01", "vp09", "dvh1", "dvhe", "encv") else audio
        kept.append(_digest(codec, description))
    return Signature(video="+".join(video), audio="+".join(audio))


def _descriptions(data: bytes, at: int, end: int) -> Iterator[bytes]:
    """The content of every stsd box."""
    while at + 8 <= end:
        length = int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        if not 8 <= length <= end - at:
            return
        if kind in _CONTAINERS:
            yield from _descriptions(data, at + 8, at + length)
        elif kind == b"stsd":
            yield data[at + 8 : at + length]
        at += length
