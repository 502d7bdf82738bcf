"""
Files that are something else than the segment they are called, and would have a demuxer open what they name. Pure.
"""

import io
import struct
import zipfile
from pathlib import Path

GIB = 1 << 30


def baits(canary: Path, url: str) -> dict[str, bytes]:
    """
    By name; each leads to `canary` or to `url`, or claims to be larger than any disk.
    """
    name, there = str(canary), url.rstrip("/")
    return {
        "ffconcat": f"ffconcat version 1.0\nfile '{name}'\nfile '{there}/x.ts'\n".encode(),
        "concat script without a heading": f"file '{name}'\nfile '{there}/x.ts'\n".encode(),
        "hls": _lines(
            "#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", f"file://{name}", "#EXTINF:2,", f"{there}/x.ts"
        ),
        "hls with a key": _lines(
            "#EXTM3U",
            "#EXT-X-TARGETDURATION:2",
            f'#EXT-X-KEY:METHOD=AES-128,URI="{there}/key"',
            f'#EXT-X-MAP:URI="file://{name}"',
            "#EXTINF:2,",
            f"concat:{name}|{name}",
            "#EXT-X-ENDLIST",
        ),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp4">'
            f'<Representation id="1" bandwidth="1"><BaseURL>{there}/x.mp4</BaseURL></Representation>'
            f'<Representation id="2" bandwidth="2"><BaseURL>file://{name}</BaseURL></Representation>'
            "</AdaptationSet></Period></MPD>"
        ).encode(),
        "svg": (
            f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file://{name}">]>'
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
            f'<image xlink:href="{there}/x.png"/><text>&x;</text></svg>'
        ).encode(),
        "sdp": _lines("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=x", "c=IN IP4 127.0.0.1", "t=0 0", "m=video 9 RTP/AVP 33"),
        "playlist of another kind": _lines("[playlist]", f"File1=file://{name}", f"File2={there}/x.ts"),
        "subfile": f"subfile,,start,0,end,100,,:{name}".encode(),
        "zip": _zip(name),
        "elf": b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 64, 64, 0, 0, 64, 56, 1, 0, 0, 0),
        "data reference": mp4_with_reference(name, there),
        "mov atom of 10 GiB": struct.pack(">I4sQ", 1, b"mdat", 10 * GIB) + bytes(4096),
        "moov atom of 10 GiB": box(b"ftyp", b"isom" + bytes(4))
        + struct.pack(">I4sQ", 1, b"moov", 10 * GIB)
        + bytes(4096),
        "table of 4 billion": mp4_with_table(0xFFFFFFFF),
        "boxes in boxes": nested(2000),
        "transport stream that ends": b"G" + bytes(100),
        "sync bytes and nothing": (b"G\x1f\xff\x10" + b"\xff" * 184) * 500,
        "nothing": b"",
        "one byte": b"G",
        "markup": f'<!doctype html><img src="{there}/x.png">'.encode(),
        "webvtt with markup": f"WEBVTT\n\n00:00.000 --> 99:59:59.999\n<v {name}>{'<b>' * 5000}\n".encode(),
    }


def _lines(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


def _zip(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../" * 8 + name.lstrip("/"), bytes(1 << 20))
    return packed.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    """One box of an MP4."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *content: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *content)


def _moov(stbl: bytes, references: bytes) -> bytes:
    media = box(
        b"mdia",
        _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, 1000, 0, 0)),
        _full(b"hdlr", bytes(4), b"vide", bytes(13)),
        box(b"minf", _full(b"vmhd", bytes(8)), box(b"dinf", _full(b"dref", struct.pack(">I", 1), references)), stbl),
    )
    track = box(b"trak", _full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 1000), bytes(60)), media)
    return box(b"moov", _full(b"mvhd", struct.pack(">IIII", 0, 0, 1000, 1000), bytes(80)), track)


def _entry() -> bytes:
    sample = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", 16, 16) + bytes(50)
    return _full(b"stsd", struct.pack(">I", 1), box(b"avc1", sample))


def mp4_with_reference(name: str, url: str) -> bytes:
    """Media that is said to lie in another file, by every way there is to say that."""
    alias = _full(b"alis", bytes(10) + name.encode()[:255], flags=0)
    link = _full(b"url ", name.encode() + b"\0", flags=0)
    stbl = box(
        b"stbl",
        _entry(),
        _full(b"stts", struct.pack(">III", 1, 1, 1000)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, 1, 1)),
        _full(b"stsz", struct.pack(">III", 0, 1, 100)),
        _full(b"stco", struct.pack(">II", 1, 0)),
    )
    remote = _full(b"url ", f"{url}/x.mp4".encode() + b"\0", flags=0)
    return box(b"ftyp", b"qt  " + bytes(4)) + _moov(stbl, alias + link + remote) + box(b"mdat", bytes(100))


def mp4_with_table(count: int) -> bytes:
    """A table that says it has so many rows."""
    stbl = box(
        b"stbl", _entry(), *(_full(kind, struct.pack(">II", count, count)) for kind in (b"stts", b"stco", b"stsc"))
    )
    return box(b"ftyp", b"isom" + bytes(4)) + _moov(stbl, _full(b"url ", flags=1)) + box(b"mdat", bytes(100))


def nested(depth: int) -> bytes:
    """Boxes within boxes."""
    inner = b""
    for _ in range(depth):
        inner = box(b"moov", inner)
    return box(b"ftyp", b"isom" + bytes(4)) + inner
