"""
Parameter sets of length-prefixed H.264 and HEVC, to put in-band when they change.
"""


def parameter_sets(codec: str, extradata: bytes) -> bytes:
    """
    The SPS, PPS (and VPS) of an avcC or hvcC record as length-prefixed NAL units, in the record's own length size.
    Empty for Annex B extradata, whose stream carries them in-band already, and for damage.
    """
    if extradata[:1] != b"\x01":
        return b""
    if codec == "h264" and len(extradata) > 6:
        return _join(_avcc_units(extradata), (extradata[4] & 3) + 1)
    if codec == "hevc" and len(extradata) > 23:
        return _join(_hvcc_units(extradata), (extradata[21] & 3) + 1)
    return b""


def _join(units: list[bytes], length_size: int) -> bytes:
    return b"".join(len(unit).to_bytes(length_size) + unit for unit in units if unit)


def _avcc_units(record: bytes) -> list[bytes]:
    units: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):  # SPS, then PPS
        count, at = record[at] & mask if at < len(record) else 0, at + 1
        at = _take(record, at, count, units)
    return units


def _hvcc_units(record: bytes) -> list[bytes]:
    units: list[bytes] = []
    at = 23
    for _ in range(record[22]):
        kind, count = record[at] & 0x3F, int.from_bytes(record[at + 1 : at + 3])
        taken: list[bytes] = []
        at = _take(record, at + 3, count, taken)
        if kind in (32, 33, 34):  # VPS, SPS, PPS
            units += taken
        if at >= len(record):
            break
    return units


def _take(record: bytes, at: int, count: int, units: list[bytes]) -> int:
    for _ in range(count):
        length = int.from_bytes(record[at : at + 2])
        units.append(record[at + 2 : at + 2 + length])
        at += 2 + length
    return at
