"""
A SAMPLE-AES encryptor, written from the specification and apart from the reader in `m3u8svc`: it takes streams that
ffmpeg made to pieces, locks the samples and packs them again, as a packager would. Plain rather than fast.
"""

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PACKET = 188
LOCKED = {0x1B: (0xDB, b"zavc"), 0x0F: (0xCF, b"aacd"), 0x81: (0xC1, b"ac3d"), 0x87: (0xC2, b"ec3d")}
AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


@attrs.frozen
class Lock:
    """
    A key and an IV.
    """

    key: bytes
    iv: bytes

    def blocks(self, blocks: list[bytes]) -> list[bytes]:
        """Encrypted one after the other, chained."""
        encryptor = Cipher(algorithms.AES128(self.key), modes.CBC(self.iv)).encryptor()
        return [encryptor.update(block) for block in blocks]


# -- Samples ---------------------------------------------------------------------------------------------------------


def lock_nal(nal: bytes, lock: Lock) -> bytes:
    """
    Encrypted_nal_unit() of the specification, with emulation prevention over all of it.
    """
    if nal[0] & 31 not in (1, 5) or len(nal) <= 48:
        return nal
    pieces, locked = [nal[:32]], []
    rest = nal[32:]
    while rest:
        if len(rest) > 16:
            locked.append(rest[:16])
            pieces.append(b"")
            rest = rest[16:]
        clear, rest = rest[:144], rest[144:]
        pieces.append(clear)
    # Leader, then (place of a locked block, clear bytes) in turn.
    for index, block in enumerate(lock.blocks(locked)):
        pieces[1 + 2 * index] = block
    return escape(b"".join(pieces))


def escape(payload: bytes) -> bytes:
    """
    Emulation prevention (H.264 7.4.1).
    """
    escaped = bytearray()
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(escaped)


def nal_units(stream: bytes) -> list[tuple[bytes, bytes]]:
    """
    (start code, NAL unit) of an H.264 byte stream.
    """
    starts = [at for at in range(len(stream) - 3) if stream[at : at + 3] == b"\0\0\1"]
    units = []
    for at, following in zip(starts, [*starts[1:], len(stream)], strict=True):
        before = b"\0" if at and stream[at - 1] == 0 else b""
        units.append((before + b"\0\0\1", stream[at + 3 : following].rstrip(b"\0")))
    return units


def lock_video(stream: bytes, lock: Lock) -> bytes:
    """
    The slices of one access unit.
    """
    return b"".join(code + lock_nal(nal, lock) for code, nal in nal_units(stream))


def lock_audio(stream: bytes, lock: Lock) -> bytes:
    """
    ADTS, AC-3 or E-AC-3 frames.
    """
    pieces = []
    while stream:
        length, header = frame(stream)
        sample, stream = stream[:length], stream[length:]
        pieces.append(lock_frame(sample, header, lock))
    return b"".join(pieces)


def lock_frame(sample: bytes, header: int, lock: Lock) -> bytes:
    """
    16 clear bytes behind the header, every whole block, what is left.
    """
    body = sample[header + 16 :]
    whole = len(body) // 16
    blocks = [body[16 * index : 16 * index + 16] for index in range(whole)]
    return sample[: header + 16] + b"".join(lock.blocks(blocks)) + body[16 * whole :]


def frame(stream: bytes) -> tuple[int, int]:
    """
    The lengths of the audio frame here, and of its clear header.
    """
    if stream[:2] == b"\x0b\x77":
        if stream[5] >> 3 > 10:
            return (int.from_bytes(stream[2:4]) & 0x7FF) * 2 + 2, 0
        assert stream[4] >> 6 == 0  # 48 kHz
        return AC3_KBITS[(stream[4] & 63) // 2] * 4, 0
    assert stream[0] == 0xFF and stream[1] >> 4 == 15
    return (int.from_bytes(stream[3:6]) >> 5) & 0x1FFF, 7 if stream[1] & 1 else 9


# -- MPEG-TS ---------------------------------------------------------------------------------------------------------


@attrs.define
class Pes:
    """
    One PES packet: its header, its payload, the adaptation field it began with, and the clocks on the way.
    """

    pid: int
    field: bytes
    body: bytes
    clocks: list[bytes]

    @property
    def header(self) -> bytes:
        return self.body[: 9 + self.body[8]]

    @property
    def payload(self) -> bytes:
        return self.body[9 + self.body[8] :]


def pieces_of(ts: bytes) -> tuple[list[bytes | Pes], dict[int, int]]:
    """
    Tables and other packets as they are, PES packets whole in the place of their first; the stream types by PID.
    """
    pieces: list[bytes | Pes] = []
    types: dict[int, int] = {}
    pmt_pid = -1
    current: dict[int, Pes] = {}
    for at in range(0, len(ts), PACKET):
        packet = ts[at : at + PACKET]
        assert packet[0] == 0x47
        pid = int.from_bytes(packet[1:3]) & 0x1FFF
        field = packet[4 : 5 + packet[4]] if packet[3] & 0x20 else b""
        payload = packet[4 + len(field) :] if packet[3] & 0x10 else b""
        if pid == 0:
            pmt_pid = int.from_bytes(payload[11:13]) & 0x1FFF
        if pid == pmt_pid:
            types = dict(streams_of(payload[1:]))
        if pid not in types:
            pieces.append(packet)
        elif packet[1] & 0x40:
            current[pid] = Pes(pid, field, payload, [])
            pieces.append(current[pid])
        else:
            current[pid].body += payload
            if len(field) > 1 and field[1]:
                current[pid].clocks.append(field)
    return pieces, types


def streams_of(section: bytes) -> list[tuple[int, int]]:
    """
    (PID, stream type) of a PMT.
    """
    found = []
    at = 12 + (int.from_bytes(section[10:12]) & 0xFFF)
    while at < 3 + (int.from_bytes(section[1:3]) & 0xFFF) - 4:
        found.append((int.from_bytes(section[at + 1 : at + 3]) & 0x1FFF, section[at]))
        at += 5 + (int.from_bytes(section[at + 3 : at + 5]) & 0xFFF)
    return found


def payloads(ts: bytes) -> dict[int, list[bytes]]:
    """
    What the PES packets of each PID hold, in order.
    """
    found: dict[int, list[bytes]] = {}
    for piece in pieces_of(ts)[0]:
        if isinstance(piece, Pes):
            found.setdefault(piece.pid, []).append(piece.payload)
    return found


def lock_ts(ts: bytes, lock: Lock, *, only: tuple[int, ...] = tuple(LOCKED), pes_bytes: int = 0) -> bytes:
    """
    A transport stream with the streams of the types in `only` locked. `pes_bytes`: audio goes on in PES packets of that
    size, so that frames run across them.
    """
    pieces, types = pieces_of(ts)
    packer = Packer()
    for piece in pieces:
        if isinstance(piece, bytes):
            pid = int.from_bytes(piece[1:3]) & 0x1FFF
            table = piece[1] & 0x40 and piece[4:6] == b"\0\2"
            packer.out += lock_pmt(piece, only) if table and pid != 0 else piece
        elif types[piece.pid] not in only:
            packer.put(piece, piece.payload)
        elif types[piece.pid] == 0x1B:
            packer.put(piece, lock_video(piece.payload, lock))
        else:
            packer.put(piece, lock_audio(piece.payload, lock), split=pes_bytes)
    return bytes(packer.out)


class Packer:
    """
    Cuts PES packets into transport packets, counting for each PID.
    """

    def __init__(self) -> None:
        self.out = bytearray()
        self._counters: dict[int, int] = {}

    def put(self, pes: Pes, payload: bytes, *, split: int = 0) -> None:
        """One PES packet with another payload, or several."""
        first = payload[: split or None]
        self._put_one(pes, self._sized(pes.header, first), first)
        rest = payload[len(first) :]
        while rest:
            part, rest = rest[:split], rest[split:]
            bare = pes.header[:7] + b"\0\0"  # no timestamp
            self._put_one(attrs.evolve(pes, field=b"", clocks=[]), self._sized(bare, part), part)

    def _sized(self, header: bytes, payload: bytes) -> bytes:
        said = int.from_bytes(header[4:6])
        size = len(header) + len(payload) - 6
        return header[:4] + (size if said and size < 65536 else 0).to_bytes(2) + header[6:]

    def _put_one(self, pes: Pes, header: bytes, payload: bytes) -> None:
        rest = header + payload
        field = pes.field if len(pes.field) > 1 and pes.field[1] else b""
        field = bytes([len(field.rstrip(b"\xff")) - 1]) + field[1:].rstrip(b"\xff") if field else b""
        start = 0x40
        while rest:
            room = PACKET - 4 - len(field)
            if len(rest) < room:
                field = widened(field, room - len(rest))
            part, rest = rest[: PACKET - 4 - len(field)], rest[PACKET - 4 - len(field) :]
            counter = self._counters[pes.pid] = (self._counters.get(pes.pid, -1) + 1) & 15
            control = (0x30 if field else 0x10) | counter
            self.out += bytes([0x47, start | pes.pid >> 8, pes.pid & 255, control]) + field + part
            field, start = b"", 0
        for clock in pes.clocks:
            field = widened(clock, PACKET - 4 - len(clock))
            self.out += bytes([0x47, pes.pid >> 8, pes.pid & 255, 0x20 | self._counters[pes.pid]]) + field


def widened(field: bytes, by: int) -> bytes:
    """
    An adaptation field with `by` more bytes.
    """
    if not by:
        return field
    content = field[1:]
    if not field:
        by -= 1
        content = b"\0" if by else b""
        by -= bool(by)
    elif not content:
        content, by = b"\0", by - 1
    content += b"\xff" * by
    return bytes([len(content)]) + content


def lock_pmt(packet: bytes, only: tuple[int, ...]) -> bytes:
    """
    A PMT that says what is locked, with the set-up of audio as packagers write it.
    """
    section = packet[5:]
    length = int.from_bytes(section[1:3]) & 0xFFF
    at = 12 + (int.from_bytes(section[10:12]) & 0xFFF)
    body = section[3:at]
    while at < 3 + length - 4:
        kind, size = section[at], int.from_bytes(section[at + 3 : at + 5]) & 0xFFF
        told = section[at + 5 : at + 5 + size]
        if kind in only:
            kind, word = LOCKED[kind]
            told += b"\x0f\x04" + word
            if word != b"zavc":
                told += b"\x05\x0e" + b"apad" + b"z" + word[:3] + bytes([0, 0, 1, 2, 0x11, 0x90])
        body += bytes([kind]) + section[at + 1 : at + 3] + (0xF000 | len(told)).to_bytes(2) + told
        at += 5 + size
    section = section[:1] + (0xB000 | len(body) + 4).to_bytes(2) + body
    section += crc(section).to_bytes(4)
    return (packet[:5] + section).ljust(PACKET, b"\xff")


def crc(section: bytes) -> int:
    """
    CRC-32/MPEG-2, bit by bit.
    """
    register = 0xFFFFFFFF
    for byte in section:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register
