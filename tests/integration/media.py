"""
HLS streams as people make them, by Debian's ffmpeg; and what is in a media file, by ffprobe.

One picture and one tone are encoded once; every stream is the same packets in another wrapping, so that each result
can be held against one source.
"""

import json
import secrets
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.hls.sample_aes_writer import Lock, lock_ts

SECONDS = 8
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
"""A whole picture of one pixel, as some origins put before every segment."""

_H264 = ("libx264", "-preset", "veryfast", "-bf", "2", "-sc_threshold", "0")
_H265 = ("libx265", "-preset", "ultrafast", "-x265-params", "log-level=error:keyint=25:min-keyint=25:scenecut=0")


@attrs.frozen(kw_only=True)
class Stream:
    """
    One stream below the root of a server: where its playlist is, and the file its packets came from.
    """

    path: str
    source: Path
    packets: Mapping[str, int]
    """How many packets of which codec must arrive."""


# -- Tools -----------------------------------------------------------------------------------------------------------


def ffmpeg(*arguments: object, cwd: Path | None = None) -> str:
    """
    Run ffmpeg; what it printed about errors.
    """
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", *map(str, arguments)]
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def decoding_errors(media: Path, *options: str) -> str:
    """
    What a player would complain about in this file or playlist; "" for nothing.
    """
    opened = ["-allowed_extensions", "ALL"] if media.suffix == ".m3u8" else []
    return ffmpeg(*opened, "-i", media, *options, "-f", "null", "-")


def packets(media: Path) -> dict[str, int]:
    """
    How many packets of which codec are in a file.
    """
    shown = probe(media, "-count_packets", "-show_entries", "stream=codec_name,nb_read_packets")
    return {stream["codec_name"]: int(stream["nb_read_packets"]) for stream in shown["streams"]}


def probe(media: Path, *arguments: str) -> dict[str, list[dict[str, str]]]:
    """
    ffprobe's answer as JSON.
    """
    command = ["ffprobe", "-v", "error", *arguments, "-of", "json", str(media)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, str]]] = json.loads(ran.stdout)
    return found


# -- Encoding --------------------------------------------------------------------------------------------------------


def encode(
    target: Path,
    *,
    video: Sequence[str] | None = _H264,
    audio: Sequence[str] = ("aac",),
    size: str = "320x180",
    seconds: int = SECONDS,
    tone: int = 440,
) -> Path:
    """
    A file with a picture (or none) and a tone, a keyframe every second.
    """
    inputs: list[str] = []
    codecs: list[str] = []
    if video is not None:
        inputs += ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"]
        codecs += ["-c:v", *video, "-g", "25", "-pix_fmt", "yuv420p"]
    inputs += ["-f", "lavfi", "-i", f"sine=frequency={tone}:sample_rate=48000"]
    ffmpeg(*inputs, "-t", seconds, *codecs, "-c:a", *audio, target)
    return target


def segment(source: Path, directory: Path, *options: object) -> Path:
    """
    Wrap a file as HLS without encoding it again, a segment a second; the directory.
    """
    directory.mkdir(parents=True)
    hls = ["-c", "copy", "-f", "hls", "-hls_time", 1, "-hls_list_size", 0, *options]
    ffmpeg("-i", source.absolute(), *hls, "index.m3u8", cwd=directory)
    return directory


def encrypted(plain: bytes, key: bytes, iv: bytes) -> bytes:
    """
    AES-128-CBC with PKCS#7, as RFC 8216 4.3.2.4 wants it.
    """
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


# -- The streams -----------------------------------------------------------------------------------------------------


def make_streams(root: Path) -> dict[str, Stream]:
    """
    Every kind of stream, below `root`, by name.
    """
    sources = root / "sources"
    sources.mkdir()
    film = encode(sources / "film.mkv")
    counted = packets(film)
    paths: dict[str, Callable[[Path, Path], None]] = {
        "plain": lambda source, place: _plain(source, place),
        "aes": _aes,
        "aes-default-iv": _aes_default_iv,
        "rotation": _rotation,
        "sample-aes": _sample_aes,
        "byterange": lambda source, place: _plain(source, place, "-hls_flags", "single_file"),
        "fmp4": lambda source, place: _plain(source, place, "-hls_segment_type", "fmp4"),
        "fmp4-byterange": lambda source, place: _plain(
            source, place, "-hls_segment_type", "fmp4", "-hls_flags", "single_file"
        ),
        "disguised": _disguised,
        "page": _page,
        "multivariant": _multivariant,
    }
    streams = {}
    for name, make in paths.items():
        make(film, root / name)
        streams[name] = Stream(path=f"/{name}/{_ENTRY.get(name, 'index.m3u8')}", source=film, packets=counted)
    for name, arguments in _OTHER_CODECS.items():
        source = encode(sources / f"{name}.mkv", seconds=4, **arguments)  # type: ignore[arg-type]
        _plain(source, root / name)
        streams[name] = Stream(path=f"/{name}/index.m3u8", source=source, packets=packets(source))
    return streams | _splices(root)


_ENTRY = {"page": "watch.html", "multivariant": "master.m3u8"}
_OTHER_CODECS: Mapping[str, Mapping[str, object]] = {
    "hevc": {"video": _H265},
    "mp3": {"audio": ("libmp3lame",)},
    "ac3": {"audio": ("ac3",)},
    "audio-only": {"video": None},
}


def _plain(source: Path, place: Path, *options: object) -> None:
    segment(source, place, *options)


def _aes(source: Path, place: Path) -> None:
    """
    Encrypted by ffmpeg itself, with an IV in the playlist.
    """
    key = place.with_name("aes-key.bin")
    key.write_bytes(secrets.token_bytes(16))
    told = place.with_name("aes-key.txt")
    told.write_text(f"key.bin\n{key}\n{secrets.token_hex(16)}\n")
    segment(source, place, "-hls_key_info_file", told)
    key.rename(place / "key.bin")


def _aes_default_iv(source: Path, place: Path) -> None:
    """
    Encrypted without an IV, so that it is the media sequence number, which starts at 7. ffmpeg writes an IV always.
    """
    segment(source, place, "-start_number", 7)
    key = secrets.token_bytes(16)
    (place / "key.bin").write_bytes(key)
    for number, path in enumerate(sorted(place.glob("*.ts"), key=lambda each: int(each.stem.removeprefix("index"))), 7):
        path.write_bytes(encrypted(path.read_bytes(), key, number.to_bytes(16)))
    playlist = place / "index.m3u8"
    head, first, rest = playlist.read_text().partition("#EXTINF")
    playlist.write_text(f'{head}#EXT-X-KEY:METHOD=AES-128,URI="key.bin"\n{first}{rest}')


def _rotation(source: Path, place: Path) -> None:
    """
    Two keys, one with an IV and one without, then METHOD=NONE.
    """
    segment(source, place)
    keys = [secrets.token_bytes(16), secrets.token_bytes(16)]
    iv = secrets.token_bytes(16)
    for number, key in enumerate(keys, 1):
        (place / f"key{number}.bin").write_bytes(key)
    lines = []
    for line in (place / "index.m3u8").read_text().splitlines():
        number = sum(each.endswith(".ts") for each in lines)
        if line.startswith("#EXTINF"):
            if number == 0:
                lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="key1.bin",IV=0x{iv.hex()}')
            if number == 3:
                lines.append('#EXT-X-KEY:METHOD=AES-128,URI="key2.bin"')
            if number == 6:
                lines.append("#EXT-X-KEY:METHOD=NONE")
        if line.endswith(".ts") and number < 6:
            path = place / line
            used = (keys[0], iv) if number < 3 else (keys[1], number.to_bytes(16))
            path.write_bytes(encrypted(path.read_bytes(), *used))
        lines.append(line)
    (place / "index.m3u8").write_text("\n".join(lines) + "\n")


def _sample_aes(source: Path, place: Path) -> None:
    """
    The samples locked instead of the segments; without an IV, so that it is the media sequence number, from 3 on.
    """
    segment(source, place, "-start_number", 3)
    key = secrets.token_bytes(16)
    (place / "key.bin").write_bytes(key)
    for number, path in enumerate(sorted(place.glob("*.ts"), key=lambda each: int(each.stem.removeprefix("index"))), 3):
        path.write_bytes(lock_ts(path.read_bytes(), Lock(key, number.to_bytes(16))))
    playlist = place / "index.m3u8"
    head, first, rest = playlist.read_text().partition("#EXTINF")
    playlist.write_text(f'{head}#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key.bin"\n{first}{rest}')


def _disguised(source: Path, place: Path) -> None:
    """
    Segments that say they are pictures and begin like one.
    """
    segment(source, place)
    playlist = place / "index.m3u8"
    for path in place.glob("*.ts"):
        path.with_suffix(".png").write_bytes(PNG + path.read_bytes())
        path.unlink()
    playlist.write_text(playlist.read_text().replace(".ts", ".png"))


def _page(source: Path, place: Path) -> None:
    """
    A page whose player is told where the playlist is, as JSON in a script.
    """
    segment(source, place)
    script = '<script>player.setup({"file": "\\/page\\/index.m3u8?from=page&amp;x=1"});</script>'
    (place / "watch.html").write_text(f"<!doctype html><title>Film</title><body><p>m3u8 below</p>{script}</body>")


def _multivariant(source: Path, place: Path) -> None:
    """
    A small variant, and a better one behind another multivariant playlist.
    """
    small = encode(source.with_name("small.mkv"), size="160x90")
    segment(small, place / "small")
    segment(source, place / "large")
    head = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH="
    (place / "master.m3u8").write_text(
        f"{head}200000,RESOLUTION=160x90\nsmall/index.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=320x180\nnested/inner.m3u8\n"
    )
    (place / "nested").mkdir()
    (place / "nested" / "inner.m3u8").write_text(f"{head}900000,RESOLUTION=320x180\n../large/index.m3u8\n")


def _splices(root: Path) -> dict[str, Stream]:
    """
    Two films one after the other, each with a clock that starts anew; with and without the tag that says so.
    """
    place = root / "splice"
    parts = [encode(root / "sources" / f"part{tone}.mkv", seconds=4, tone=tone) for tone in (440, 880)]
    lists = []
    for number, part in enumerate(parts):
        segment(part, place / str(number), "-hls_segment_filename", f"{number}-%03d.ts")
        text = (place / str(number) / "index.m3u8").read_text()
        lists.append(text.replace(f"{number}-", f"{number}/{number}-").splitlines())
    head = [line for line in lists[0] if not line.startswith("#EXT-X-ENDLIST")]
    tail = [line for line in lists[1] if line.startswith("#EXTINF") or line.endswith(".ts")]
    together: dict[str, int] = {}
    for part in parts:
        for codec, count in packets(part).items():
            together[codec] = together.get(codec, 0) + count
    streams = {}
    for name, tag in (("tagged", ["#EXT-X-DISCONTINUITY"]), ("untagged", [])):
        (place / f"{name}.m3u8").write_text("\n".join([*head, *tag, *tail, "#EXT-X-ENDLIST"]) + "\n")
        streams[f"splice-{name}"] = Stream(path=f"/splice/{name}.m3u8", source=parts[0], packets=together)
    return streams
