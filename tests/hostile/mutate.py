"""
Damage to real media, by a seed: the same number makes the same bytes. Pure.
"""

import random
import struct
from collections.abc import Callable

Way = Callable[[random.Random, bytearray], None]
TS_PACKET = 188


def mutated(whole: bytes, seed: str) -> bytes:
    """
    One to six kinds of damage, one after the other.
    """
    chance = random.Random(seed)
    data = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        if data:
            chance.choice(WAYS)(chance, data)
    return bytes(data)


def _flip_bits(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.choice((1, 4, 32, 256))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _noise(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    length = min(chance.choice((4, 64, 1000, 20_000)), len(data) - at)
    data[at : at + length] = chance.randbytes(length)


def _fill(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    length = min(chance.choice((4, 188, 5000)), len(data) - at)
    data[at : at + length] = bytes([chance.choice((0x00, 0xFF, 0x47, 0x80))]) * length


def _cut_off(chance: random.Random, data: bytearray) -> None:
    del data[chance.randrange(len(data)) :]


def _cut_out(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 3, 188, 4096))]


def _repeat(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    piece = bytes(data[at : at + chance.choice((4, 188, 4096, 60_000))])
    data[at:at] = piece * chance.choice((1, 2, 20))


def _swap(chance: random.Random, data: bytearray) -> None:
    size = min(chance.choice((188, 1024, 10_000)), len(data) // 2)
    if not size:
        return
    first, second = chance.randrange(len(data) - size + 1), chance.randrange(len(data) - size + 1)
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]


def _lie_about_sizes(chance: random.Random, data: bytearray) -> None:
    """Of boxes, where there are any: their lengths, or whatever four bytes stand before four letters."""
    places = [
        at
        for kind in (b"moov", b"trak", b"stsd", b"trun", b"tfdt", b"mdat", b"moof", b"avcC", b"esds", b"sidx", b"elst")
        if (at := data.find(kind)) >= 4
    ]
    if not places:
        return _set_number(chance, data)
    at = chance.choice(places) - 4
    value = chance.choice((0, 1, 7, 8, 0x7FFFFFFF, 0xFFFFFFFF, chance.randrange(1 << 32)))
    data[at : at + 4] = struct.pack(">I", value)
    return None


def _set_number(chance: random.Random, data: bytearray) -> None:
    size = chance.choice((1, 2, 4, 8))
    at = chance.randrange(len(data))
    value = chance.choice((0, 1, (1 << (8 * size - 1)) - 1, 1 << (8 * size - 1), (1 << 8 * size) - 1))
    data[at : at + size] = value.to_bytes(size, "big")


def _break_tables(chance: random.Random, data: bytearray) -> None:
    """Of a transport stream: headers of packets, where programs and adaptation fields are told of."""
    packets = len(data) // TS_PACKET
    for _ in range(min(packets, chance.choice((1, 8, 100)))):
        at = chance.randrange(packets) * TS_PACKET
        data[at + chance.randrange(1, 24)] = chance.randrange(256)


WAYS: tuple[Way, ...] = (
    _flip_bits,
    _noise,
    _fill,
    _cut_off,
    _cut_out,
    _repeat,
    _swap,
    _lie_about_sizes,
    _set_number,
    _break_tables,
)
