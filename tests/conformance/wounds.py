"""
Ways to break a playlist: bytes, lines, attributes, numbers, separators. Each takes the dice and a playlist.
"""

import random
import re
from collections.abc import Callable

Wound = Callable[[random.Random, bytes, list[bytes]], bytes]

_SEPARATORS = [each.encode() for each in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x00\x1f\xa0\ufeff\u200b\u202e\t\r\n"]
_NUMBERS = [
    *(b"0", b"-1", b"1.5", b"1e999", b"-1e999", b"nan", b"inf", b"NaN", b"0x10", b"1_000", b"+5", b".", b"1e-400"),
    *(b"9" * 25, b"9" * 5000, b"18446744073709551615", b"18446744073709551616", b"9007199254740993", b"1" + b"0" * 400),
    *("٣".encode(), "½".encode(), "１２".encode()),
]
_VALUES = [
    *(b"", b'""', b'"', b"NONE", b"YES", b"AES-128", b"SAMPLE-AES", b"SAMPLE-AES-CTR", b'"identity"', b'"{$a}"'),
    *(b'"data:,"', b'"data:"', b'"skd://x"', b'"file:///x"', b'"//"', b'"http://["', b'"http://h:99999/"', b'"\xff"'),
    *(b"0x", b"0X1", b"0x" + b"f" * 33, b"{$b}", b'"{$', b"1x1", b"1x", b'"a,b"', b"'a'", b'"\xed\xa0\x80"', b"\\"),
    *(b'"com.apple.streamingkeydelivery"', b'"urn:uuid:"', b'"9999-12-31T23:59:59.999Z"', b'"0000-00-00"'),
]
_LINES = [
    *(b"#EXTM3U", b"#EXTINF:", b"#EXTINF:6,", b"#EXT-X-ENDLIST", b"#EXT-X-GAP", b"#EXT-X-DISCONTINUITY", b"#EXT", b"#"),
    *(b"#EXT-X-KEY:METHOD=NONE", b'#EXT-X-KEY:METHOD=AES-128,URI="k"', b"#EXT-X-KEY", b'#EXT-X-MAP:URI="i"'),
    *(b"#EXT-X-BYTERANGE:5", b"#EXT-X-BYTERANGE:9007199254740992@0", b"#EXT-X-MEDIA-SEQUENCE:18446744073709551615"),
    *(b"#EXT-X-STREAM-INF:BANDWIDTH=1", b'#EXT-X-MEDIA:TYPE=AUDIO,URI="a"', b"#EXT-X-SESSION-KEY:METHOD=AES-128"),
    *(b'#EXT-X-DEFINE:NAME="a",VALUE="{$a}"', b'#EXT-X-DEFINE:QUERYPARAM="t"', b'#EXT-X-DEFINE:IMPORT="a"'),
    *(b"#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:59Z", b"#EXT-X-PROGRAM-DATE-TIME:0001-01-01T00:00:00+23:59"),
    *(b"#EXT-X-SKIP:SKIPPED-SEGMENTS=1", b'#EXT-X-DATERANGE:ID="a",START-DATE="x"', b"#EXT-X-BITRATE:1", b"{$a}.ts"),
    *(b'#EXT-X-CONTENT-STEERING:SERVER-URI="s"', b"#EXT-X-PLAYLIST-TYPE:VOD", b"#EXT-X-TARGETDURATION:1", b"u.ts"),
]


def flip_bytes(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """A few bytes become others."""
    broken = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        if broken:
            broken[dice.randrange(len(broken))] = dice.randrange(256)
    return bytes(broken)


def drop_bytes(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """A piece is lost, up to all that follows."""
    start = dice.randrange(len(body) + 1)
    return body[:start] + body[start + dice.choice([1, 3, 20, len(body)]) :]


def shuffle_lines(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """A line is lost, doubled, swapped with another or moved."""
    lines = body.split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    match dice.randrange(4):
        case 0:
            del lines[one]
        case 1:
            lines[other:other] = [lines[one]] * dice.choice([1, 2, 50])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case _:
            lines.insert(other, lines.pop(one))
    return b"\n".join(lines)


def add_line(dice: random.Random, body: bytes, others: list[bytes]) -> bytes:
    """A line from elsewhere: one that means something, or any of another playlist."""
    lines = body.split(b"\n")
    strange = dice.choice(_LINES) if dice.random() < 0.6 else dice.choice(dice.choice(others).split(b"\n"))
    lines.insert(dice.randrange(1, len(lines) + 1), strange)
    return b"\n".join(lines)


def mangle_attribute(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """An attribute gets another value, another name, no quotes, or loses its equals sign or comma."""
    found = list(re.finditer(rb'([A-Z0-9-]+)(=)("[^"\n]*"|[^,\n]*)(,?)', body))
    if not found:
        return body
    match = dice.choice(found)
    name, equals, value, comma = match.groups()
    match dice.randrange(6):
        case 0:
            value = dice.choice(_VALUES)
        case 1:
            name = dice.choice([b"", b"URI", b"METHOD", b"X-" + name, name.lower(), b" " + name, name * 300])
        case 2:
            value = value.strip(b'"')
        case 3:
            equals = dice.choice([b"", b"==", b" = ", b":"])
        case 4:
            comma = dice.choice([b",,", b"", b";", b"," + name + equals + value + b","])
        case _:
            value = value + value * dice.choice([1, 40, 2000])
    return body[: match.start()] + name + equals + value + comma + body[match.end() :]


def change_number(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """A number becomes another, or none."""
    found = list(re.finditer(rb"[0-9][0-9.]*", body))
    if not found:
        return body
    match = dice.choice(found)
    return body[: match.start()] + dice.choice(_NUMBERS) + body[match.end() :]


def add_separator(dice: random.Random, body: bytes, _others: list[bytes]) -> bytes:
    """What other programs take for the end of a line, or for nothing."""
    place = dice.randrange(len(body) + 1)
    return body[:place] + dice.choice(_SEPARATORS) + body[place:]


WOUNDS: list[Wound] = [
    flip_bytes,
    drop_bytes,
    shuffle_lines,
    add_line,
    mangle_attribute,
    change_number,
    add_separator,
]


def wounded(dice: random.Random, bodies: list[bytes]) -> bytes:
    """
    One of `bodies` with one to four wounds. Most keep their first line, so that there is something left to read.
    """
    body = dice.choice(bodies)
    head, newline, rest = body.partition(b"\n")
    kept = bool(newline) and dice.random() < 0.9
    broken = rest if kept else body
    for _ in range(dice.choice([1, 1, 1, 2, 3, 4])):
        broken = dice.choice(WOUNDS)(dice, broken, bodies)
    return head + newline + broken if kept else broken
