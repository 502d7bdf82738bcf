"""
What is in a media file, as Debian's ffmpeg decodes it and as libav demuxes it.
"""

import array
import hashlib
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import attrs
import av

LOUD = 0.1
QUIET_S = 0.2
"""A beep begins where it is loud after so much quiet."""
WITHIN_S = 120


@attrs.frozen(kw_only=True)
class Picture:
    """
    Decoded frames in the order of showing: the hash of each at its own size, and when it is shown in seconds.
    """

    frames: tuple[str, ...]
    times: tuple[float, ...]


@attrs.frozen(kw_only=True)
class Sound:
    """
    One audio track: the hash and the time of every packet, how many samples they decode to, and where beeps begin.
    """

    packets: tuple[str, ...]
    times: tuple[float, ...]
    samples: int
    rate: int
    beeps: tuple[float, ...]


def run_ffmpeg(*arguments: object, cwd: Path | None = None) -> tuple[str, str]:
    """
    Run ffmpeg; what it wrote to standard output, and its complaints.
    """
    command = ["ffmpeg", "-nostdin", "-y", "-v", "error", *map(str, arguments)]
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stderr}"
    return ran.stdout, ran.stderr


def decode(path: Path) -> tuple[Picture, str]:
    """
    Decode everything in a file; the picture, and what ffmpeg complained about.
    """
    # Else a frame of another size would be scaled to that of the first, others dropped or repeated, and all of them
    # moved to a grid of the average rate.
    raw = ("-autoscale", "0", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framemd5", "-")
    listed, complaints = run_ffmpeg("-copyts", "-i", path, "-map", "0:v", *raw, "-map", "0:a?", "-f", "null", "-")
    base = Fraction(1)
    frames, times = [], []
    for line in listed.splitlines():
        if line.startswith("#tb 0:"):
            base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            _, _, pts, _, _, digest = (field.strip() for field in line.split(","))
            frames.append(digest)
            times.append(float(int(pts) * base))
    return Picture(frames=tuple(frames), times=tuple(times)), complaints


def listen(path: Path) -> list[Sound]:
    """
    Every audio track of a file.
    """
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    return [_listen(path, nth) for nth in range(count)]


def _listen(path: Path, nth: int) -> Sound:
    with av.open(str(path)) as container:
        stream = container.streams.audio[nth]
        packets = [packet for packet in container.demux(stream) if packet.size]
        digests = tuple(hashlib.md5(bytes(packet)).hexdigest() for packet in packets)
        times = tuple(float(packet.pts * packet.time_base) for packet in packets)
    with av.open(str(path)) as container:
        stream = container.streams.audio[nth]
        chunks = list(_samples(container, stream))
        rate = stream.codec_context.sample_rate
    return Sound(
        packets=digests,
        times=times,
        samples=sum(len(samples) for _, samples in chunks),
        rate=rate,
        beeps=tuple(_onsets(chunks, rate)),
    )


def _samples(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[tuple[float, array.array]]:
    """The time of every decoded frame, and its first channel."""
    to_float = av.AudioResampler(format="fltp")
    for decoded in container.decode(stream):
        assert decoded.pts is not None
        time = float(decoded.pts * decoded.time_base)
        for frame in to_float.resample(decoded):
            samples = array.array("f", bytes(frame.planes[0])[: 4 * frame.samples])
            yield time, samples


def _onsets(chunks: list[tuple[float, array.array]], rate: int) -> Iterator[float]:
    loud_until = float("-inf")
    for time, samples in chunks:
        if max(samples, default=0.0) < LOUD:
            continue
        for index, value in enumerate(samples):
            if value >= LOUD:
                at = time + index / rate
                if at - loud_until > QUIET_S:
                    yield at
                loud_until = at
