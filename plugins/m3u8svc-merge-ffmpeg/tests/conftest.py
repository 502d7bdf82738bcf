"""
Small real streams made with ffmpeg, and a merger over them. Without ffmpeg these tests are skipped; with ``CI=true``
they fail.
"""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import attrs
import pytest
from hypothesis import HealthCheck, settings
from m3u8svc_merge_ffmpeg.merger import FfmpegMerger
from m3u8svc_merge_ffmpeg.program import Program, find_program
from m3u8svc_merge_ffmpeg.settings import parse_settings
from twisted.internet import reactor  # noqa: TID251  # a test names it
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from m3u8svc.plugin import MediaFile, MergeJob, NotConfigured, Part, Services, settled

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # how long an example takes says what else the machine does; the rest is as it was

SEGMENT_S = 2


def lacking(what: str) -> NoReturn:
    """End the test: the machine lacks this."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true this must be there: {what}")
    pytest.skip(what)


@attrs.frozen(kw_only=True)
class AskedTask:
    """As much of a task as a merger looks at."""

    options: Mapping[str, Any] = attrs.field(factory=lambda: MappingProxyType({}))
    id: str = "t1"

    def options_for(self, plugin: str) -> Mapping[str, Any]:
        """The request's part for this plugin."""
        assert "merge-ffmpeg" == plugin
        return self.options


async def waited_for(function: Callable[..., Any], *arguments: Any) -> Any:
    """Threads as the service gives them: a cancelled one is waited for."""
    return await settled(deferToThread(function, *arguments))


@functools.cache
def installed() -> Program:
    """The machine's ffmpeg, asked once, and again if a slow machine needs more time than a service would give it."""
    for _ in range(9):
        with suppress(NotConfigured):
            return find_program(parse_settings({}))
    return find_program(parse_settings({}))


class Bench:
    """Everything a test of the merger needs, in one directory of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.target = place / ".t1.part.mkv"

    def services(self) -> Services:
        """The real reactor and threads."""

        async def fetch(url: str, **more: object) -> bytes:
            raise AssertionError("the merger fetches nothing")

        return Services(
            reactor=reactor,
            clock=reactor,
            in_thread=waited_for,
            log=Logger("test"),
            state_dir=self.place,
            fetch=fetch,
        )

    def merger(self, program: Program | None = None, **config: Any) -> FfmpegMerger:
        """With this configuration; of the machine's ffmpeg, if no other is given."""
        settings = parse_settings(config)
        program = program or installed()
        return FfmpegMerger(program=program, settings=settings, rules=program.rules(settings), services=self.services())

    def job(self, expected_s: float = 0.0, *, target: Path | None = None, **more: Any) -> MergeJob:
        """`more` with the names of a job; the rest are the request's options."""
        of_job = {name: more.pop(name) for name in ("faststart", "file_time") if name in more}
        task: Any = AskedTask(options=more)
        return MergeJob(target=target or self.target, task=task, expected_duration_s=expected_s, **of_job)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh one."""
    return Bench(tmp_path)


async def arriving(parts: Iterable[Part]) -> AsyncIterator[Part]:
    """Parts as the download hands them over."""
    for part in parts:
        yield part


@pytest.fixture(name="arriving", scope="session")
def arriving_fixture() -> Callable[[Iterable[Part]], AsyncIterator[Part]]:
    """`arriving`, for test files that cannot import this one."""
    return arriving


class Looking:
    """What is in a media file, by ffprobe and ffmpeg."""

    @staticmethod
    def packets(path: Path) -> dict[str, int]:
        """Packets by kind of stream."""
        entries = "stream=codec_type,nb_read_packets"
        seen = _run("ffprobe", "-v", "error", "-count_packets", "-show_entries", entries, "-of", "json", str(path))
        return {each["codec_type"]: int(each["nb_read_packets"]) for each in json.loads(seen)["streams"]}

    @staticmethod
    def duration(path: Path) -> float:
        """In seconds."""
        return float(_run("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)))

    @staticmethod
    def times(path: Path, stream: str = "v:0") -> list[float]:
        """The time of each packet, in order of showing."""
        seen = _run(
            *("ffprobe", "-v", "error", "-select_streams", stream),
            *("-show_entries", "packet=pts_time", "-of", "csv=p=0", str(path)),
        )
        return sorted(float(line.strip(",")) for line in seen.split() if line.strip(",") != "N/A")

    @staticmethod
    def complaints(path: Path) -> str:
        """What decoding everything prints."""
        ran = subprocess.run(["ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-"], capture_output=True)
        return ran.stderr.decode() + ("" if ran.returncode == 0 else f"exit {ran.returncode}")


@pytest.fixture(scope="session")
def look() -> Looking:
    """The one."""
    return Looking()


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Streams"]:
    """Real media, made once."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        lacking("ffmpeg and ffprobe: apt-get install ffmpeg")
    yield Streams(tmp_path_factory.mktemp("streams"))


class Streams:
    """Streams of 2 s segments, each made when first asked for."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._made: dict[str, list[MediaFile]] = {}

    def ts(self, seconds: int = 8, *, size: str = "320x180", start_s: int = 0, pid: int = 256) -> list[MediaFile]:
        """H.264 with B-frames and AAC in transport stream segments."""
        name = f"ts-{seconds}-{size}-{start_s}-{pid}"
        extra = ["-output_ts_offset", str(start_s), "-hls_segment_options", f"mpegts_start_pid={pid}"]
        return self._hls(name, "ts", seconds, size, *extra)

    def fmp4(self, seconds: int = 8, *, size: str = "320x180") -> list[MediaFile]:
        """The same as fragments of MP4 with an init section."""
        return self._hls(f"fmp4-{seconds}-{size}", "fmp4", seconds, size, "-hls_segment_type", "fmp4")

    def packed(self, kind: Any, seconds: int = 8, codec: str = "") -> list[MediaFile]:
        """Packed audio, each segment with an ID3 tag in front as HLS wants it."""
        name = f"packed-{kind}-{seconds}-{codec}"
        if name in self._made:
            return self._made[name]
        place = self._place / name
        place.mkdir()
        encoder = codec or {"aac": "aac", "mp3": "libmp3lame", "ac3": "ac3"}[kind]
        muxer = {"aac": "adts", "mp3": "mp3", "ac3": "eac3" if codec == "eac3" else "ac3"}[kind]
        options = ["-segment_format_options", "write_xing=0:id3v2_version=0"] if kind == "mp3" else []
        _run(
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds)),
            *("-c:a", encoder, "-f", "segment", "-segment_time", str(SEGMENT_S), "-segment_format", muxer, *options),
            str(place / f"%03d.{kind}"),
        )
        paths = sorted(place.glob(f"*.{kind}"))
        for path in paths:
            path.write_bytes(_id3() + path.read_bytes())
        self._made[name] = [_media(number, path, kind) for number, path in enumerate(paths, 1)]
        return self._made[name]

    def _hls(self, name: str, kind: Any, seconds: int, size: str, *extra: str) -> list[MediaFile]:
        if name in self._made:
            return self._made[name]
        place = self._place / name
        place.mkdir()
        suffix = "m4s" if kind == "fmp4" else "ts"
        _run(
            *("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25"),
            *("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(seconds)),
            *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "50", "-sc_threshold", "0"),
            *("-c:a", "aac", "-f", "hls", "-hls_time", str(SEGMENT_S), "-hls_list_size", "0", *extra),
            *("-hls_segment_filename", str(place / f"%03d.{suffix}"), str(place / "index.m3u8")),
        )
        init = place / "init.mp4" if kind == "fmp4" else None
        paths = sorted(place.glob(f"*.{suffix}"))
        self._made[name] = [_media(number, path, kind, init) for number, path in enumerate(paths, 1)]
        return self._made[name]


def _media(number: int, path: Path, kind: Any, init: Path | None = None) -> MediaFile:
    return MediaFile(
        position=number, path=path, kind=kind, duration_s=SEGMENT_S, init=init, size_bytes=path.stat().st_size
    )


def _id3() -> bytes:
    owner = b"com.apple.streaming.transportStreamTimestamp\0" + bytes(8)
    frame = b"PRIV" + len(owner).to_bytes(4) + b"\0\0" + owner
    return b"ID3\4\0\0" + bytes([0, 0, len(frame) >> 7, len(frame) & 0x7F]) + frame


def _run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with next to no room."""
    place = tmp_path / "small"
    if os.geteuid() != 0:
        lacking("root: mounting a tmpfs needs it")
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        lacking(f"the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


# -- The real service ------------------------------------------------------------------------------------------------


class ServedService:
    """
    `m3u8svc serve` as a child with a configuration file, asked over its REST API only.
    """

    def __init__(self, place: Path, configuration: str, environment: Mapping[str, str]) -> None:
        self.saves = place / "saves"
        self._place = place
        self._environment = {**os.environ, **environment}
        self._log_file = place / "service.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._base = ""
        (place / "config.toml").write_text(configuration, encoding="utf-8")

    def start(self) -> None:
        """Start it, or start it again on the same state; returns when it listens."""
        printed = len(self.log)
        command = [str(Path(sys.executable).with_name("m3u8svc")), "serve", "--listen", "tcp:0:interface=127.0.0.1"]
        command += ["--home", str(self._place / "home"), "--save-dir", str(self.saves)]
        command += ["--config", str(self._place / "config.toml")]
        with self._log_file.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=self._environment)
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on (http\S+)", self.log[printed:])):
            assert self._process.poll() is None, f"the service ended at once:\n{self.log}"
            assert time.monotonic() < deadline, f"the service does not listen:\n{self.log}"
            time.sleep(0.05)
        self._base = found[1]

    def end(self, number: int) -> None:
        """End it by this signal."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self._log_file.read_text(encoding="utf-8", errors="replace") if self._log_file.exists() else ""

    def ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        """Status and value of one request."""
        sent = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self._base + target, data=sent, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait(self, task_id: str, within_s: float = 60.0) -> Any:
        """The task once it is done or has failed."""
        deadline = time.monotonic() + within_s
        while True:
            status, task = self.ask("GET", f"/api/tasks?id={task_id}")
            assert status == 200, task
            if task["status"] in ("已完成", "失败"):
                return task
            assert time.monotonic() < deadline, f"the task is stuck: {task}\n{self.log}"
            time.sleep(0.1)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServedService]]:
    """Starts a service with a configuration and an environment of its own; it is ended with the test."""
    started: list[ServedService] = []

    def start(configuration: str = "", **environment: str) -> ServedService:
        place = tmp_path / f"service{len(started)}"
        place.mkdir()
        service = ServedService(place, configuration, environment)
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.end(signal.SIGKILL)


class Origin:
    """
    Serves a directory on loopback, each file only after `delay_s`.
    """

    def __init__(self, directory: Path) -> None:
        self.delay_s = 0.0
        origin = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(origin.delay_s)
                super().do_GET()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(directory)))
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    """A fresh one, of the directory `tmp_path / "origin"`."""
    (tmp_path / "origin").mkdir()
    made = Origin(tmp_path / "origin")
    yield made
    made.close()
