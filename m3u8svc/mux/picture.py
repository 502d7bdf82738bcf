"""
The child that makes a picture: ``python -I -m m3u8svc.mux.picture PARENT_PID``. Reads one order, a JSON line
``{"media", "init", "demuxer", "span"}``: `media` and `init` are the numbers of descriptors that it was started with
(`init` may be null), so it is given no name at all. Decodes one key frame, the first one of this `span` of a film, two
times in seconds, or the first of all where that is null, and writes what came of it as one JSON object.

Exit status 0: there is a picture, or a word why there is none. Anything else is a death.
"""

import base64
import contextlib
import errno
import io
import json
import math
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NoReturn  # Any: JSON values, and what PyAV types by kind

from m3u8svc.mux.box import close_box, enter_box

SIDE = 160
"""The longer side of a picture, in pixels."""
DECODERS = frozenset(
    {"h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"}  # as libav calls them
)
"""
Of what films in HLS are made of. Every further one would be one more that hostile bytes could be for. libav runs
decoders already to find out what a file holds, and is left these alone; none for sound is among them.
"""
MOST_PIXELS = 8192 * 4608
MEDIA_BYTES = 16 << 20
INIT_BYTES = 1 << 20
"""So much of a segment and of its init section is looked at: a key frame is where a segment begins."""
MOST_PACKETS = 20_000
TRIES = 5
"""Key frames that are tried before we give up."""
EARLY_S = 0.05
"""A frame may be so much earlier than it was told, where its span is twice as long: times are rounded."""
BITS = 4_000_000
"""A second, of which a picture is a twenty-fifth: some ten kilobytes, at most."""

NO_VIDEO, NO_KEY_FRAME, UNDECODABLE = "no_video", "no_key_frame", "undecodable"


class Unpictured(Exception):
    """
    There is none; the argument says why, in one of the words above.
    """


Span = tuple[float, float]
"""From when to when, in seconds."""


def picture_of(media: BinaryIO, demuxer: str, span: Span | None) -> bytes:
    """
    A key frame of this media as a small JPEG.

    Raises:
        Unpictured: there is none.
    """
    import av.error  # inside the box

    try:
        with opened(media, demuxer) as container:
            stream = next((each for each in container.streams.video if _is_film(each)), None)
            if stream is None:
                raise Unpictured(NO_VIDEO)
            return _jpeg(_decoded(container, stream, span), _shape(stream))
    except (av.error.FFmpegError, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise Unpictured(UNDECODABLE) from error


def opened(media: BinaryIO, demuxer: str) -> Any:
    """
    Its container; no other decoder than ours has seen it.
    """
    import av

    return av.open(
        media,
        "r",
        format=demuxer,
        io_open=_refuse_open,
        metadata_errors="replace",
        options={"codec_whitelist": ",".join(sorted(DECODERS))},
    )


def fitted(width: int, height: int, shape: float) -> tuple[int, int]:
    """
    The size of a picture of a frame of `width` x `height` pixels that are `shape` times as wide as high. Pure.
    """
    wide, high = width * shape, float(height)
    scale = SIDE / max(wide, high)
    return _even(wide * scale), _even(high * scale)


def _even(length: float) -> int:
    return min(max(2 * round(length / 2), 2), SIDE)


def _is_film(stream: Any) -> bool:
    import av

    known = stream.codec_context is not None and stream.codec_context.codec.name in DECODERS
    return known and not stream.disposition & av.stream.Disposition.attached_pic


def _shape(stream: Any) -> float:
    """How many times as wide as high a pixel is; 1 where nothing sensible is said."""
    said = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return float(said) if said and 0.1 <= said <= 10 else 1.0


def _decoded(container: Any, stream: Any, span: Span | None) -> Any:
    """The frame."""
    import av.error

    context = stream.codec_context
    context.thread_count = 1
    context.options = {"max_pixels": str(MOST_PIXELS)}
    seen = False
    for packet in _key_packets(container, stream, span):
        seen = True
        with contextlib.suppress(av.error.FFmpegError):  # the next one may be better
            frames = context.decode(packet) or context.decode(None)  # one at a time: nothing is waited for
            if frames and frames[0].width * frames[0].height <= MOST_PIXELS:
                return frames[0]
        context.flush_buffers()
    raise Unpictured(UNDECODABLE if seen else NO_KEY_FRAME)


def _key_packets(container: Any, stream: Any, span: Span | None) -> Iterator[Any]:
    """The first key frames of the span."""
    from_s, to_s = span or (-math.inf, math.inf)
    early_s = min(EARLY_S, (to_s - from_s) / 2)
    if span is not None:
        container.seek(round(from_s / stream.time_base), stream=stream)
    left = TRIES
    for number, packet in enumerate(container.demux(stream)):
        if number >= MOST_PACKETS or not left:
            return
        if not packet.size or not packet.is_keyframe:
            continue
        if _time(packet) >= to_s - early_s:
            return
        if _time(packet) >= from_s - early_s:
            left -= 1
            yield packet


def _time(packet: Any) -> float:
    ticks = packet.dts if packet.pts is None else packet.pts
    return float((ticks or 0) * packet.time_base)


def _jpeg(frame: Any, shape: float) -> bytes:
    import av
    from av.video.reformatter import ColorRange

    width, height = fitted(frame.width, frame.height, shape)
    small = frame.reformat(width, height, format="yuvj420p", dst_color_range=ColorRange.JPEG)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base, encoder.bit_rate, encoder.thread_count = Fraction(1, 25), BITS, 1
    small.pts, small.time_base = 0, encoder.time_base
    return b"".join(bytes(packet) for packet in (*encoder.encode(small), *encoder.encode(None)))


def _refuse_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """No demuxer may open anything besides what it is given (R-DEM-1)."""
    raise PermissionError(errno.EPERM, "the demuxer asked for another file")


def _begin(descriptor: int, most: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most)


def _media(order: dict[str, Any]) -> BinaryIO:
    """
    What is to be read: a film where a span is told, else a segment, in memory behind its init section.
    """
    if order["span"] is not None:
        return os.fdopen(order["media"], "rb")
    init = b"" if order["init"] is None else _begin(order["init"], INIT_BYTES)
    return io.BytesIO(init + _begin(order["media"], MEDIA_BYTES))


def main() -> int:
    """
    One picture.
    """
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    missing = enter_box(int(sys.argv[1]))
    import av  # its libraries, while they can be found
    import av.error
    import av.video.reformatter  # noqa: F401

    order = json.loads(sys.stdin.readline())
    found: dict[str, Any] = {"box": close_box(missing, read=())}
    try:
        found["jpeg"] = base64.b64encode(picture_of(_media(order), order["demuxer"], order["span"])).decode("ascii")
    except Unpictured as none:
        found["none"] = str(none)
    with open(answers, "w", encoding="ascii") as output:
        json.dump(found, output)
    return 0


if __name__ == "__main__":
    # Skip interpreter shutdown: libav objects in reference cycles are freed in no particular order there.
    status = main()
    sys.stderr.flush()
    os._exit(status)
