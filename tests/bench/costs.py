"""
The benches of ``python -m tests.bench``: each takes an empty directory and a number of runs, and gives its rows.

CPU seconds rather than wall time wherever a cost is meant: they say the same on a machine that has something else to
do, and they add up over processes.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from m3u8svc.hls.decrypt import decryption_for
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_download
from m3u8svc.hls.playlist import Key, MediaPlaylist
from m3u8svc.testing.playlists import KeyLine, media_playlist, segment_lines
from tests.bench.figures import Figure
from tests.bench.test_database import fill
from tests.integration.media import encode, ffmpeg
from tests.integration.nginx_server import Nginx, serving
from tests.integration.service_child import Service, running

PLANNED = (1_000, 10_000, 100_000)
MERGED = (100, 400, 1_600)
TASKS = (1, 4, 16, 64)
STORED = (100, 1_000, 10_000)
SMALL, SMALL_KBITS = 10_000, 160
"""Segments of a second, some 20 kB each."""
TASK_SEGMENTS = 60
AT_ONCE = 16
URL = "https://cdn.example/vod/1/index.m3u8"


def plan(place: Path, runs: int) -> list[Figure]:
    """A playlist parsed and planned."""
    found = []
    for count in PLANNED:
        body = media_playlist(segment_lines(count), key=KeyLine(uri="k")).encode()

        def once(body: bytes = body) -> float:
            begun = time.process_time()
            playlist = parse_playlist(body, URL)
            assert isinstance(playlist, MediaPlaylist)
            plan_download(playlist, {})
            return time.process_time() - begun

        found.append(_repeated("plan", f"{count} segments", "cpu s", once, runs, count))
    return found


def decrypt(place: Path, runs: int) -> list[Figure]:
    """A hundred megabytes in pieces as they come from a socket."""
    piece = os.urandom(1 << 16)
    pieces = 100_000_000 // len(piece)
    key = Key(method="AES-128", uri="k", line=1)

    def once() -> float:
        machine = decryption_for(key, bytes(16), bytes(16), 1)
        begun = time.process_time()
        for _ in range(pieces):
            machine.update(piece)
        return time.process_time() - begun

    return [_repeated("decrypt", "AES-128, 100 MB", "cpu s", once, runs)]


def merge(place: Path, runs: int) -> list[Figure]:
    """What lies on the disk becomes an MP4; in a process of its own, so that all of it is counted."""
    film = _film(place / "film", max(MERGED), kbits=4_000)
    found = []
    for count in MERGED:
        command = [sys.executable, "-m", "tests.bench.merging", str(film), str(count), str(place / "out.mp4")]
        found.append(
            _repeated("merge", f"{count} segments", "cpu s", lambda command=command: _cpu_s(command), runs, count)
        )
    return found


def small(place: Path, runs: int) -> list[Figure]:
    """Many small segments: what a request costs, beside the tools that people take for it."""
    (place / "www").mkdir()
    film = _film(place / "www" / "film", SMALL, kbits=SMALL_KBITS)
    names = [line for line in (film / "index.m3u8").read_text().splitlines() if not line.startswith("#")]
    (place / "nginx").mkdir()
    with serving(place / "nginx", place / "www") as nginx:
        url = f"{nginx.base}/film/index.m3u8"
        wanted = "".join(f'url="{nginx.base}/film/{name}"\noutput="{place}/curl/{name}"\n' for name in names)
        (place / "wanted").write_text(wanted)
        (place / "curl").mkdir()
        get = [sys.executable, "-m", "m3u8svc", "get", url, "-o", str(place / "out" / "film.mp4")]
        tools = {
            "m3u8svc get": [*get, "--threads", str(AT_ONCE)],
            "curl --parallel (no MP4)": [
                "curl",
                "-s",
                "-Z",
                "--parallel-max",
                str(AT_ONCE),
                "-K",
                str(place / "wanted"),
            ],
            "yt-dlp": ["yt-dlp", "-q", "-N", str(AT_ONCE), "--no-part", "-o", str(place / "out" / "film.mp4"), url],
        }
        found = []
        for name, command in tools.items():
            if not shutil.which(command[0]):
                sys.stderr.write(f"small: {command[0]} is not there\n")
                continue

            def once(command: Sequence[str] = command) -> float:
                shutil.rmtree(place / "out", ignore_errors=True)
                (place / "out").mkdir()
                return len(names) / _cpu_s(command, home=place / "out")

            found.append(_repeated("small", name, "requests/cpu s", once, runs))
    return found


def tasks(place: Path, runs: int) -> list[Figure]:
    """Tasks at once: what the service spends on all of them, children included."""
    (place / "www").mkdir()
    _film(place / "www" / "film", TASK_SEGMENTS, kbits=4_000)
    found = []
    with _origin(place) as nginx:
        for count in TASKS:

            def once(count: int = count) -> float:
                shutil.rmtree(place / "service", ignore_errors=True)
                with running(place / "service", "--max-active", str(count)) as service:
                    before = _spent_s(service.pid)
                    url = f"{nginx.base}/film/index.m3u8"
                    added = [service.add(url, f"film{number}") for number in range(count)]
                    for each in added:
                        service.wait(each, "已完成", within_s=600)
                    return _spent_s(service.pid) - before

            found.append(_repeated("tasks", f"{count} at once", "cpu s", once, runs, count))
    return found


def stored(place: Path, runs: int) -> list[Figure]:
    """A page of the list, the last one, beside so many finished tasks."""
    found = []
    for count in STORED:
        with running(place / str(count)) as service:
            service.stop()
            fill(service.home / "m3u8svc.sqlite3", finished=count)
            service.start()
            page = f"/api/tasks?limit=100&offset={count - 100}"
            once = _page_ms(service, page)
            found.append(_repeated("stored", f"{count} tasks", "ms a page of 100", once, runs, count))
    return found


BENCHES: Mapping[str, Callable[[Path, int], list[Figure]]] = {
    each.__name__: each for each in (plan, decrypt, merge, small, tasks, stored)
}


# -- Tools -----------------------------------------------------------------------------------------------------------


def _repeated(bench: str, what: str, unit: str, once: Callable[[], float], runs: int, amount: float = 0) -> Figure:
    return Figure(bench=bench, what=what, unit=unit, values=tuple(once() for _ in range(runs)), amount=amount)


def _film(folder: Path, segments: int, *, kbits: int) -> Path:
    """A stream of so many segments of a second, one minute of picture and tone over and over; its directory."""
    folder.mkdir(parents=True)
    base = folder / "base.mp4"
    rate = f"{kbits}k"
    encode(
        base,
        video=("libx264", "-preset", "ultrafast", "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate),
        seconds=60,
    )
    hls = ["-c", "copy", "-f", "hls", "-hls_time", 1, "-hls_list_size", 0]
    ffmpeg("-stream_loop", segments // 60, "-i", base, "-t", segments, *hls, folder / "index.m3u8")
    base.unlink()
    return folder


@contextmanager
def _origin(place: Path) -> Iterator[Nginx]:
    (place / "nginx").mkdir()
    with serving(place / "nginx", place / "www") as nginx:
        yield nginx


def _cpu_s(command: Sequence[str], home: Path | None = None) -> float:
    """
    What a command and the children it waits for spend.

    Raises:
        CalledProcessError: it failed.
    """
    more = {} if home is None else {"XDG_STATE_HOME": str(home), "XDG_DATA_HOME": str(home)}
    process = subprocess.Popen(command, env=os.environ | more, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(code, command)
    return usage.ru_utime + usage.ru_stime


def _spent_s(pid: int) -> float:
    """What a process has spent so far, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _page_ms(service: Service, page: str) -> Callable[[], float]:
    """The median of twenty requests, curl's own time of the answer."""

    def once() -> float:
        command = ["curl", "-s", "-o", os.devnull, "-w", "%{time_total}", service.base + page]
        took = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(20)]
        return 1_000 * statistics.median(took)

    return once
