"""
One gigabyte in 500 segments, from nginx through the REST service: every packet arrives; the figures are printed.

    .venv/bin/python -m pytest tests/bench -m bench -s
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import require
from tests.integration.media import decoding_errors, packets
from tests.integration.nginx_server import Nginx, serving
from tests.integration.service_child import Service, running

pytestmark = pytest.mark.bench

SEGMENTS = 500
SEGMENT_S = 4
MEGABITS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gigabyte")


@pytest.fixture(scope="module")
def origin(place: Path) -> Iterator[Nginx]:
    require("ffmpeg", "ffprobe", "nginx", "curl", "openssl")
    root = place / "www"
    root.mkdir()
    make_film(root)
    (place / "nginx").mkdir()
    with serving(place / "nginx", root) as nginx:
        yield nginx


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path / "service") as started:
        yield started


def test_a_gigabyte_over_rest(service: Service, origin: Nginx, place: Path) -> None:
    """The MP4 decodes without a word and has every video and audio packet of the source."""
    started = time.monotonic()
    task_id = service.add(f"{origin.base}/index.m3u8", "gigabyte")
    task = service.wait(task_id, "已完成", within_s=600)
    took = time.monotonic() - started
    print(f"\n{task['bytes'] / 1e6:.0f} MB in {SEGMENTS} segments: {took:.1f} s, {task['bytes'] / took / 1e6:.0f} MB/s")
    mp4 = Path(task["output"])
    assert SEGMENTS == task["segments_total"]
    assert packets(place / "www" / "index.m3u8") == packets(mp4)
    assert "" == decoding_errors(mp4)


def make_film(root: Path, segments: int = SEGMENTS) -> None:
    """Encode one minute at 4 Mbit/s, repeat it, cut it into so many segments of 2 MB."""
    base = root.parent / "base.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30,noise=alls=40:allf=t"]
    sound = ["-f", "lavfi", "-i", "sine=f=440:r=48000"]
    rate = f"{MEGABITS}M"
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", rate, "-minrate", rate, "-maxrate", rate]
    encode += ["-bufsize", rate, "-g", "60", "-keyint_min", "60", "-sc_threshold", "0", "-pix_fmt", "yuv420p"]
    _ffmpeg(*picture, *sound, "-t", "60", *encode, "-c:a", "aac", "-b:a", "128k", str(base))
    loops = segments * SEGMENT_S // 60
    copy = [
        "-t",
        str(segments * SEGMENT_S),
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        str(SEGMENT_S),
        "-hls_list_size",
        "0",
    ]
    names = ["-hls_segment_filename", str(root / "s%05d.ts"), str(root / "index.m3u8")]
    _ffmpeg("-stream_loop", str(loops), "-i", str(base), *copy, *names)
    os.unlink(base)


def _ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)
