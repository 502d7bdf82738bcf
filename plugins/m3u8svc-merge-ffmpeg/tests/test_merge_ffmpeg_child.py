"""
The box around the process, and the bytes that go into it.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from m3u8svc_merge_ffmpeg.child import boxed
from m3u8svc_merge_ffmpeg.feed import Feed

from m3u8svc.plugin import Gap


def test_the_box_limits_the_program() -> None:
    """Memory, core files, open files and priority are set before the program starts; its name and arguments arrive."""
    code = (
        "import os, resource, sys; print([resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0]"
        " for name in ('AS', 'CORE', 'NOFILE')], os.nice(0), sys.argv[1:])"
    )
    command = boxed(sys.executable, ["-c", code, "a b", "$HOME"], nice=3, memory_mb=512)
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"[{512 << 20}, 0, 256] {os.nice(0) + 3} ['a b', '$HOME']\n" == printed


def test_the_program_dies_with_the_service(tmp_path: Path) -> None:
    """A service that is killed leaves no ffmpeg behind."""
    pid_file = tmp_path / "pid"
    program = ["-c", f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"]
    starter = (
        "import subprocess, sys\n"
        "from m3u8svc_merge_ffmpeg.child import boxed\n"
        f"subprocess.run(boxed(sys.executable, {program!r}, nice=0, memory_mb=512))\n"
    )
    service = subprocess.Popen([sys.executable, "-c", starter])
    deadline = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    service.send_signal(signal.SIGKILL)
    service.wait()
    while runs(pid_file.read_text()):
        assert time.monotonic() < deadline, "the program still runs"
        time.sleep(0.02)


def runs(pid: str) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it went, before the opening or after
        return False


def fed(feed: Feed, parts: Any) -> bytes:
    """Everything that goes into the pipe."""
    out = b""
    for part in parts:
        if isinstance(part, Gap):
            feed.skip(part)
            continue
        feed.begin(part)
        while piece := feed.read():
            out += piece
    return out


def test_tags_of_packed_audio_are_left_out(streams: Any) -> None:
    """The frames of all segments, without the ID3 tag in front of each."""
    parts = streams.packed("aac")
    out = fed(Feed(), parts)
    assert b"ID3" not in out
    assert sum(part.size_bytes for part in parts) - len(out) == len(parts) * (10 + 10 + 53)


def test_a_transport_stream_without_splices_passes_untouched(streams: Any) -> None:
    """What needs no joining is not changed by a bit."""
    parts = streams.ts()
    assert b"".join(part.path.read_bytes() for part in parts) == fed(Feed(), parts)


def test_the_init_section_goes_first_and_once(streams: Any) -> None:
    """fMP4 is its init section and then the fragments."""
    parts = streams.fmp4()
    out = fed(Feed(), parts)
    assert parts[0].init.read_bytes() + b"".join(part.path.read_bytes() for part in parts) == out


@pytest.mark.parametrize("bytes_each", [188, 188 * 1000, 188 * 5000])
def test_large_segments_pass_in_pieces(streams: Any, tmp_path: Path, bytes_each: int) -> None:
    """A segment larger than a piece arrives whole, and no piece is larger than promised."""
    big = tmp_path / "big.ts"
    body = streams.ts()[0].path.read_bytes()
    big.write_bytes((body * (1 + 4 * bytes_each // len(body)))[: bytes_each * 4])
    feed = Feed()
    part = attrs.evolve(streams.ts()[0], path=big)
    try:
        assert big.read_bytes() == fed(feed, [part])
    except Exception as error:  # a segment of a few packets has no tables
        assert bytes_each == 188 and "PAT/PMT" in str(error)


def test_packed_audio_closes_its_gaps_and_says_so(streams: Any) -> None:
    """Frames carry no time: a missing one cannot be kept."""
    parts = list(streams.packed("aac"))
    parts[1] = Gap(position=2, duration_s=2.0, keep=True)
    feed = Feed()
    fed(feed, parts)
    assert 2.0 == feed.missing_s
    assert ["第 2 个分片缺失，无法保留其时间，后面的内容提前 2.000 秒"] == feed.warnings
    english = "segment 2 is missing and its time cannot be kept: what follows comes 2.000 s early"
    assert [english] == [each.en for each in feed.warnings]
