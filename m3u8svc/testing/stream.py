"""
A short real HLS stream made from nothing: H.264 and AAC in MPEG-TS segments, for the demo and for tests.

The picture is a square that wanders over drifting colours, the sound a tone. Both are encoded once, from end to end;
what comes out is dealt to the segments by time, so that timestamps run on over every boundary and each segment begins
with a keyframe.

libav stays out of the service's process (DESIGN 5.5), so this is run as a child::

    python -m m3u8svc.testing.stream DIRECTORY [--seconds N] [--encrypted]     prints the playlist's path
    python -m m3u8svc.testing.stream --describe FILE                           prints what is in a media file, as JSON
"""

import argparse
import array
import json
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import attrs
import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

SEGMENT_S = 2
PICTURES_PER_S = 25
WIDTH, HEIGHT = 640, 360
SAMPLES_PER_S = 48_000
TONE_HZ = 440

_SQUARE = 80
_CLOCK_HZ = 90_000
_START_S = 1
"""Where the timestamps begin: pictures are decoded before they are shown, and no time may be negative."""
_AES_BLOCK_BITS = 128


@attrs.frozen(kw_only=True)
class _Piece:
    """
    One encoded packet, its times in seconds from the start of the stream.
    """

    kind: str
    payload: bytes
    pts: Fraction
    dts: Fraction
    is_keyframe: bool
    segment: int
    """Which segment it belongs to, from 0."""


def make_stream(directory: Path, *, seconds: int = 12, encrypted: bool = False) -> Path:
    """
    Write a playlist and its segments (and key) into `directory`; the playlist's path.

    Not for the service's own process: it loads libav.
    """
    if seconds < 1:
        raise ValueError(f"a stream lasts at least one second, not {seconds}")
    directory.mkdir(parents=True, exist_ok=True)
    key = secrets.token_bytes(16) if encrypted else b""
    if encrypted:
        (directory / "key.bin").write_bytes(key)
    encoders = _Encoders()
    pieces = sorted(encoders.pieces(seconds), key=lambda piece: (piece.segment, piece.dts))
    names = []
    for number, members in groupby(pieces, key=lambda piece: piece.segment):
        path = directory / f"{number:05d}.ts"
        encoders.mux(path, list(members))
        if encrypted:
            path.write_bytes(_encrypted(path.read_bytes(), key, iv=number.to_bytes(16)))
        names.append(path.name)
    playlist = directory / "index.m3u8"
    playlist.write_text(_playlist(names, seconds, encrypted=encrypted), encoding="utf-8")
    return playlist


def describe(path: Path) -> Mapping[str, Any]:
    """
    What is in a media file: duration in seconds and, for each track, its kind, codec and number of packets.
    """
    with av.open(str(path)) as container:
        tracks: list[dict[str, Any]] = [
            {"kind": each.type, "codec": each.codec_context.name} for each in container.streams
        ]
        counts = [0] * len(tracks)
        for packet in container.demux():
            counts[packet.stream_index] += packet.size > 0
        duration_s = (container.duration or 0) / av.time_base
    return {
        "duration_s": duration_s,
        "tracks": [track | {"packets": n} for track, n in zip(tracks, counts, strict=True)],
    }


class _Encoders:
    """
    One encoder for pictures and one for sound, and muxing with their parameters.
    """

    def __init__(self) -> None:
        # The encoders belong to a container that is never written: PyAV gives streams to containers only.
        self._unwritten = av.open(_Nowhere(), "w", format="mpegts")
        self.video: VideoStream = self._unwritten.add_stream("libx264", rate=PICTURES_PER_S)
        self.video.width, self.video.height, self.video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        self.video.options = {
            "preset": "ultrafast",
            "crf": "26",
            # Exactly one keyframe a segment, at its start.
            "g": str(SEGMENT_S * PICTURES_PER_S),
            "sc_threshold": "0",
            "bf": "2",  # so that the order of decoding is not that of showing, as in streams people make
        }
        self.audio: AudioStream = self._unwritten.add_stream("aac", rate=SAMPLES_PER_S, layout="mono")
        self._unwritten.start_encoding()  # only now do the streams know AAC's parameters, which the ADTS headers need

    def pieces(self, seconds: int) -> Iterator[_Piece]:
        """
        All packets of a stream of this length; those of one track in the order of decoding.
        """
        segment = 0
        for packet in _encode(self.video, _pictures(seconds)):
            if packet.is_keyframe:
                segment = int(packet.pts * packet.time_base) // SEGMENT_S
            yield _piece("video", packet, segment)
        last = (seconds - 1) // SEGMENT_S
        for packet in _encode(self.audio, _tone(seconds, self.audio.codec_context.frame_size or 1024)):
            segment = int(packet.pts * packet.time_base // SEGMENT_S)
            yield _piece("audio", packet, min(max(segment, 0), last))

    def mux(self, path: Path, pieces: Sequence[_Piece]) -> None:
        """
        Write one segment. Its first packets carry the discontinuity flag of their counters, which start anew, so that
        players which read the segments as one stream do not take that for loss.
        """
        options = {"mpegts_copyts": "1", "mpegts_flags": "initial_discontinuity"}
        with av.open(str(path), "w", format="mpegts", options=options) as container:
            streams = {
                "video": container.add_stream_from_template(self.video),
                "audio": container.add_stream_from_template(self.audio),
            }
            for piece in pieces:
                packet = av.Packet(piece.payload)
                packet.stream = streams[piece.kind]
                packet.time_base = Fraction(1, _CLOCK_HZ)
                packet.pts, packet.dts = _ticks(piece.pts), _ticks(piece.dts)
                packet.is_keyframe = piece.is_keyframe
                container.mux(packet)


class _Nowhere:
    """
    A file that keeps nothing.
    """

    def write(self, chunk: bytes) -> int:
        """Forget it."""
        return len(chunk)


def _encode(stream: Any, frames: Iterable[Any]) -> Iterator[Any]:  # Any: PyAV's stream, frame and packet of either kind
    for frame in chain(frames, [None]):  # None flushes
        yield from stream.encode(frame)


def _piece(kind: str, packet: Any, segment: int) -> _Piece:  # Any: a packet of PyAV, whose stub lacks `time_base`
    return _Piece(
        kind=kind,
        payload=bytes(packet),
        pts=packet.pts * packet.time_base,
        dts=packet.dts * packet.time_base,
        is_keyframe=packet.is_keyframe,
        segment=segment,
    )


def _ticks(at_s: Fraction) -> int:
    return round((at_s + _START_S) * _CLOCK_HZ)


# -- Picture and sound -----------------------------------------------------------------------------------------------


def _pictures(seconds: int) -> Iterator[av.VideoFrame]:
    """
    Drifting colours with a square on them, plane by plane, without a numerics library.
    """
    ramp = bytes(64 + abs(each % 256 - 128) for each in range(256)) * 8  # no jump where it repeats
    for number in range(seconds * PICTURES_PER_S):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma = [ramp[start : start + WIDTH] for start in ((number * 3 + row) % 256 for row in range(HEIGHT))]
        left, top = _bounce(number * 7, WIDTH - _SQUARE), _bounce(number * 5, HEIGHT - _SQUARE)
        for row in range(top, top + _SQUARE):
            luma[row] = luma[row][:left] + b"\xeb" * _SQUARE + luma[row][left + _SQUARE :]
        blue = [ramp[start : start + WIDTH // 2] for start in ((number + row) % 256 for row in range(HEIGHT // 2))]
        red = [ramp[start : start + WIDTH // 2] for start in ((row - number) % 256 for row in range(HEIGHT // 2))]
        for plane, rows in zip(frame.planes, (luma, blue, red), strict=True):
            plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
        frame.pts, frame.time_base = number, Fraction(1, PICTURES_PER_S)
        yield frame


def _bounce(distance: int, most: int) -> int:
    return most - abs(distance % (2 * most) - most)


def _tone(seconds: int, samples_per_frame: int) -> Iterator[av.AudioFrame]:
    """
    A sine wave that repeats every second exactly.
    """
    second = array.array("f", (0.2 * math.sin(math.tau * TONE_HZ * at / SAMPLES_PER_S) for at in range(SAMPLES_PER_S)))
    samples = second * seconds
    for start in range(0, len(samples), samples_per_frame):
        chunk = samples[start : start + samples_per_frame]
        frame = av.AudioFrame(format="fltp", layout="mono", samples=len(chunk))
        frame.planes[0].update(chunk.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES_PER_S, start, Fraction(1, SAMPLES_PER_S)
        yield frame


# -- Playlist and key ------------------------------------------------------------------------------------------------


def _playlist(names: Sequence[str], seconds: int, *, encrypted: bool) -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_S}", "#EXT-X-MEDIA-SEQUENCE:0"]
    lines.append("#EXT-X-PLAYLIST-TYPE:VOD")
    if encrypted:
        lines.append('#EXT-X-KEY:METHOD=AES-128,URI="key.bin"')  # no IV: the sequence number is it
    for number, name in enumerate(names):
        lines += [f"#EXTINF:{min(SEGMENT_S, seconds - number * SEGMENT_S):.3f},", name]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def _encrypted(plain: bytes, key: bytes, *, iv: bytes) -> bytes:
    padder = PKCS7(_AES_BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The command line of the child.
    """
    parser = argparse.ArgumentParser(prog="python -m m3u8svc.testing.stream", description="Make a short HLS stream.")
    parser.add_argument("path", metavar="DIRECTORY", type=Path)
    parser.add_argument("--seconds", type=int, default=12)
    parser.add_argument("--encrypted", action="store_true", help="encrypt the segments with AES-128")
    parser.add_argument("--describe", action="store_true", help="say what is in the media file at this path instead")
    given = parser.parse_args(arguments)
    if given.seconds < 1:
        parser.error(f"argument --seconds: must be at least 1, not {given.seconds}")
    try:
        if given.describe:
            print(json.dumps(describe(given.path)))
        else:
            print(make_stream(given.path, seconds=given.seconds, encrypted=given.encrypted))
    except (OSError, av.error.FFmpegError) as error:
        parser.exit(1, f"{given.path}: {error}\n")


if __name__ == "__main__":
    main()
