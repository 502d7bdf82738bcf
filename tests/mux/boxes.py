"""
Subtitles in fMP4, made by hand: no tool at hand writes wvtt.
"""

import struct
from collections.abc import Sequence

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box with its header."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *parts: bytes, flags: int = 0, version: int = 0) -> bytes:
    """A box with version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def subtitle_init(entry: bytes, *, handler: bytes, timescale: int = 1000) -> bytes:
    """An init section with one track, whose sample description is `entry`."""
    mvhd = full_box(
        b"mvhd", struct.pack(">IIIIIH10x", 0, 0, timescale, 0, 0x10000, 0x100), _MATRIX, bytes(24), b"\0\0\0\2"
    )
    tkhd = full_box(b"tkhd", struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, 0, 0, 0, 0, 0), _MATRIX, bytes(8), flags=3)
    mdhd = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, timescale, 0, 0x55C4, 0))
    hdlr = full_box(b"hdlr", bytes(4), handler, bytes(12), b"subtitles\0")
    dinf = box(b"dinf", full_box(b"dref", b"\0\0\0\1", full_box(b"url ", flags=1)))
    tables = [full_box(kind, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))]
    stbl = box(b"stbl", full_box(b"stsd", b"\0\0\0\1", entry), *tables)
    minf = box(b"minf", full_box(b"nmhd" if handler == b"text" else b"sthd"), dinf, stbl)
    trex = full_box(b"trex", struct.pack(">IIIII", 1, 1, 0, 0, 0))
    trak = box(b"trak", tkhd, box(b"mdia", mdhd, hdlr, minf))
    return box(b"ftyp", b"iso6", bytes(4), b"iso6dash") + box(b"moov", mvhd, trak, box(b"mvex", trex))


WVTT_INIT = subtitle_init(box(b"wvtt", bytes(6), b"\0\1", box(b"vttC", b"WEBVTT")), handler=b"text")
STPP_INIT = subtitle_init(box(b"stpp", bytes(6), b"\0\1", b"http://www.w3.org/ns/ttml\0\0\0"), handler=b"subt")


def fragment(at: int, samples: Sequence[tuple[int, bytes]]) -> bytes:
    """A media segment of samples (duration, bytes) from the decode time `at`, in ticks."""
    rows = b"".join(struct.pack(">II", duration, len(sample)) for duration, sample in samples)

    def moof(offset: int) -> bytes:
        tfhd = full_box(b"tfhd", b"\0\0\0\1", flags=0x20000)
        tfdt = full_box(b"tfdt", struct.pack(">Q", at), version=1)
        trun = full_box(b"trun", struct.pack(">II", len(samples), offset), rows, flags=0x301)
        return box(b"moof", full_box(b"mfhd", b"\0\0\0\1"), box(b"traf", tfhd, tfdt, trun))

    head = moof(len(moof(0)) + 8)
    return head + box(b"mdat", *(sample for _, sample in samples))


def wvtt_cue(text: str, *, identifier: str = "", settings: str = "") -> bytes:
    """A vttc box."""
    parts = [(b"iden", identifier), (b"sttg", settings), (b"payl", text)]
    return box(b"vttc", *(box(kind, content.encode()) for kind, content in parts if content))


WVTT_EMPTY = box(b"vtte")


def ttml(body: str, *, head: str = "", attributes: str = "") -> bytes:
    """A TTML document."""
    names = 'xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling"'
    names += ' xmlns:ttp="http://www.w3.org/ns/ttml#parameter"'
    text = f"<tt {names} {attributes}><head>{head}</head><body>{body}</body></tt>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()
