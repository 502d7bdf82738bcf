"""
``m3u8svc demo``, end to end: the real service, the real merge, an MP4 that holds what the stream held.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import CHINESE, ENGLISH
from tests.cli.test_stream import describe


def start(save_dir: Path, temporary: Path, *, locale: str = ENGLISH, **environment: str) -> subprocess.Popen[str]:
    """The demo as a child, its temporary files where we can see them."""
    temporary.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "m3u8svc", "demo", "--keep", str(save_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": locale, "TMPDIR": str(temporary), **environment},
    )


def left_running(place: Path) -> list[str]:
    """The command lines of processes that name this place."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended meanwhile
    return [line for line in lines if str(place) in line]


def await_file(place: Path, pattern: str) -> None:
    """Wait until there is such a file below `place`."""
    deadline = time.monotonic() + 60
    while not list(place.glob(pattern)):
        assert time.monotonic() < deadline, list(place.rglob("*"))
        time.sleep(0.005)


def test_demo_ends_with_an_mp4_and_nothing_else(tmp_path: Path) -> None:
    """It says where the file is and what is in it, and that is true; behind it nothing is left."""
    saved, temporary = tmp_path / "out", tmp_path / "tmp"
    process = start(saved, temporary, locale=CHINESE, http_proxy="http://127.0.0.1:1")
    output, _ = process.communicate(timeout=60)
    assert 0 == process.returncode, output
    mp4 = saved / "m3u8svc-demo.mp4"
    assert f"MP4 在这里：{mp4}\n" in output
    found = describe(mp4)
    assert 12.0 == pytest.approx(found["duration_s"], abs=0.1)
    assert [("video", "h264", 300), ("audio", "aac", 564)] == [
        (track["kind"], track["codec"], track["packets"]) for track in found["tracks"]
    ]
    assert f"{mp4.stat().st_size:,} 字节，{found['duration_s']:.1f} 秒，video h264（300 个包）" in output
    assert ([mp4], []) == (list(saved.iterdir()), list(temporary.iterdir()))
    assert [] == left_running(tmp_path)


@pytest.mark.parametrize(
    ("number", "when"),
    [(signal.SIGINT, "^Making an HLS stream"), (signal.SIGINT, "^download "), (signal.SIGTERM, "^download ")],
)
def test_interrupted_demo_leaves_nothing(tmp_path: Path, number: signal.Signals, when: str) -> None:
    """Ctrl-C (and a second one) or a TERM, early or in the middle: no file, no directory, no process."""
    saved, temporary = tmp_path / "out", tmp_path / "tmp"
    process = start(saved, temporary, PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    with process.stdout as lines:
        assert any(re.search(when, line) for line in lines)
        if "stream" in when:
            await_file(temporary, "*/stream/*")
        process.send_signal(number)
        time.sleep(0.05)
        process.send_signal(number)
        rest = lines.read()
    assert 128 + number == process.wait(20), rest
    assert "Traceback" not in rest
    assert (False, []) == (saved.exists(), list(temporary.iterdir()))
    assert [] == left_running(tmp_path)


def test_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Status 1 and the path with the system's reason."""
    (tmp_path / "file").write_text("")
    process = start(tmp_path / "file" / "out", tmp_path / "tmp")
    output, _ = process.communicate(timeout=30)
    assert (1, f"Error: cannot write to {tmp_path}/file/out (Not a directory)\n") == (process.returncode, output)
    assert [] == list((tmp_path / "tmp").iterdir())
