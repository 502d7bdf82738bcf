"""
MPEG-TS as far as the muxer must look before it feeds a segment: where packets start, the PMT, the time.
"""

import attrs

PACKET = 188
SYNC = 0x47
LOOK_BYTES = 64 * 1024
"""How far into a segment packets may start (a disguise, an image header, stands before them)."""

SETS_PACKETS = 16
"""Parameter sets stand near the start of a picture, behind what encoders say of themselves: so many packets of it are
looked at."""
_ADTS_KEPT = (0xFF, 0xF8, 0xFD, 0xC0)
"""Of an ADTS header's first bytes: syncword and id, profile, sampling frequency, channels (ISO 13818-7, 6.2.1)."""
_H264, _HEVC, _AAC = 0x1B, 0x24, 0x0F

Pids = tuple[tuple[int, int], ...]
"""(stream type, PID) pairs of a PMT, in order."""


@attrs.frozen(kw_only=True)
class TsHead:
    """
    The start of a segment: `start` bytes to leave out, the streams of its PMT (empty if it has none), its first clock.
    """

    start: int
    pids: Pids
    clock: tuple[int, int] | None
    """(PID, first PTS or DTS in 1/90000 s), None when no PES header with a time was near the start."""
    forms: tuple[bytes, bytes] = (b"", b"")
    """What the first picture and the first AAC frame say of their decoder; empty where that was not found."""


def look_at_ts(start_of_file: bytes) -> TsHead | None:
    """
    What the first bytes of a segment tell; None when they are no transport stream.
    """
    start = find_sync(start_of_file)
    if start is None:
        return None
    pmt_pid = -1
    pids: Pids = ()
    clock = None
    for at in range(start, len(start_of_file) - PACKET + 1, PACKET):
        if start_of_file[at] != SYNC:
            break
        pid = (start_of_file[at + 1] & 0x1F) << 8 | start_of_file[at + 2]
        if not start_of_file[at + 1] & 0x40:  # payload_unit_start_indicator
            continue
        payload = _payload(start_of_file[at : at + PACKET])
        if pid == 0:
            pmt_pid = _first_program(payload)
        elif pid == pmt_pid and not pids:
            pids = _streams(payload)
        elif clock is None and (time := _pes_time(payload)) is not None:
            clock = (pid, time)
        if pids and clock is not None:
            break
    end = min(len(start_of_file), start + LOOK_BYTES)
    return TsHead(start=start, pids=pids, clock=clock, forms=_forms(start_of_file[start:end], pids))


def _forms(packets: bytes, pids: Pids) -> tuple[bytes, bytes]:
    """The parameter sets of the first picture, the fixed part of the first AAC frame's header."""
    picture, sound = b"", b""
    for kind, pid in pids:
        if kind in (_H264, _HEVC) and not picture:
            picture = _parameter_sets(kind, _first_unit(packets, pid, SETS_PACKETS))
        elif kind == _AAC and not sound:
            header = _first_unit(packets, pid, 1)[:4]
            if header[:1] == b"\xff" and len(header) == 4:
                sound = bytes(byte & kept for byte, kept in zip(header, _ADTS_KEPT, strict=True))
    return picture, sound


def _first_unit(packets: bytes, pid: int, most: int) -> bytes:
    """What the first PES packet of a PID carries, of its first `most` TS packets."""
    lows, low, high = packets[2::PACKET], pid & 0xFF, pid >> 8
    unit = b""
    left = most
    number = lows.find(low)
    while number >= 0 and left:
        packet = packets[number * PACKET : (number + 1) * PACKET]
        begins = bool(packet[1] & 0x40)
        if packet[1] & 0x1F == high and begins == (left == most):
            unit += _payload(packet) if len(packet) == PACKET else b""
            left -= 1
        elif packet[1] & 0x1F == high and begins:
            break
        number = lows.find(low, number + 1)
    return unit[9 + unit[8] :] if len(unit) > 8 and unit[:3] == b"\x00\x00\x01" else b""


def _parameter_sets(kind: int, picture: bytes) -> bytes:
    """
    SPS of H.264, whose other sets stay in the stream; VPS, SPS and PPS of HEVC, where MP4 has them outside. The last
    unit may be cut off, so it does not count.
    """
    found = []
    for unit in picture.split(b"\x00\x00\x01")[1:-1]:
        wanted = unit and (unit[0] & 0x1F == 7 if kind == _H264 else unit[0] >> 1 & 0x3F in (32, 33, 34))
        if wanted:
            found.append(unit.rstrip(b"\x00"))
    return b"".join(found)


def find_sync(start_of_file: bytes) -> int | None:
    """
    The offset of the first of three packets in a row (two when the file ends there), None without.
    """
    limit = min(len(start_of_file), LOOK_BYTES)
    at = start_of_file.find(SYNC, 0, limit)
    while at >= 0:
        beyond = start_of_file[at : at + 2 * PACKET + 1 : PACKET]
        if len(start_of_file) - at >= PACKET and all(byte == SYNC for byte in beyond):
            return at
        at = start_of_file.find(SYNC, at + 1, limit)
    return None


def _payload(packet: bytes) -> bytes:
    control = packet[3] >> 4 & 3
    if not control & 1:
        return b""
    return packet[5 + packet[4] :] if control & 2 else packet[4:]


def _section(payload: bytes) -> bytes:
    """A table section after its pointer field, without its CRC; empty when cut off or damaged, as libav sees it."""
    if not payload or len(payload) < payload[0] + 4:
        return b""
    section = payload[payload[0] + 1 :]
    whole = section[: 3 + ((section[1] & 0x0F) << 8 | section[2])]
    return whole[:-4] if _crc32(whole) == 0 else b""


def _crc32(section: bytes) -> int:
    """CRC-32/MPEG-2, 0 over a section with its own CRC behind it."""
    crc = 0xFFFFFFFF
    for byte in section:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


def _crc_row(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return crc


_CRC_TABLE = [_crc_row(byte) for byte in range(256)]


def _first_program(payload: bytes) -> int:
    section = _section(payload)
    for at in range(8, len(section) - 3, 4):
        if section[at] or section[at + 1]:  # program 0 is the network table
            return (section[at + 2] & 0x1F) << 8 | section[at + 3]
    return -1


def _streams(payload: bytes) -> Pids:
    section = _section(payload)
    if len(section) < 12:
        return ()
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    found = []
    while at + 5 <= len(section):
        found.append((section[at], (section[at + 1] & 0x1F) << 8 | section[at + 2]))
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return tuple(found)


def _pes_time(payload: bytes) -> int | None:
    """The DTS, else the PTS, of an audio or video PES packet that starts here."""
    if len(payload) < 19 or payload[:3] != b"\x00\x00\x01" or not (0xC0 <= payload[3] <= 0xEF or payload[3] == 0xBD):
        return None
    flags = payload[7] >> 6
    if not flags & 2:
        return None
    at = 14 if flags == 3 else 9
    five = payload[at : at + 5]
    return (five[0] >> 1 & 7) << 30 | five[1] << 22 | (five[2] >> 1) << 15 | five[3] << 7 | five[4] >> 1
