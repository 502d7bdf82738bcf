"""
``m3u8svc demo``: a newcomer's first minute. A stream is made here, served on loopback by the standard library, and
downloaded by the real service, which runs as a child and is driven over its REST API.

Segments are handed out slowly, one after the other, so that there is something to see. Everything but the MP4 lives in
one temporary directory, and whatever ends the demo, the service is stopped and that directory removed.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any  # Any: JSON values, and what the standard library's server hands through

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import Client, CommandFailed, RemoteTask
from m3u8svc.cli.display import Bar, Display, Plain
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import expanded
from m3u8svc.cli.tables import task_name
from m3u8svc.tasks.task import Phase, Progress, Status

STREAM_S = 12
SEGMENT_DELAY_S = 0.3
START_LIMIT_S = 30
DOWNLOAD_LIMIT_S = 60
CHILD_LIMIT_S = 60
STOP_LIMIT_S = 10
POLL_S = 0.1
NAME = "m3u8svc-demo"
DEFAULT_DIRECTORY = "~/Downloads/m3u8svc"

_LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("demo", help=words.DEMO_HELP.said(), epilog=taught("demo", words.EXIT_STATUSES))
@click.option(
    "--keep",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help=words.KEEP_OPTION.said(default=DEFAULT_DIRECTORY),
)
def demo(directory: Path | None) -> None:
    """
    Make, serve, download, describe.
    """
    target = expanded(directory or Path(DEFAULT_DIRECTORY), "--keep")
    with (
        unwinding_on_signals(),
        tempfile.TemporaryDirectory(prefix="m3u8svc-demo-") as place,
        save_directory(target),
        ServiceChild(Path(place, "home"), target) as service,  # it starts while the stream is made
    ):
        click.echo(words.DEMO_STREAM.said(seconds=STREAM_S))
        playlist = make_stream(Path(place, "stream"))
        with slow_origin(playlist.parent) as origin:
            client = Client(service.address())
            click.echo(words.DEMO_DOWNLOAD.said(server=client.server))
            task = download(client, service, f"{origin}/{playlist.name}", Path(place, "work"))
        tell(task)


def download(client: Client, service: "ServiceChild", url: str, work: Path) -> RemoteTask:
    """
    Add a task and show how it goes; the completed task.

    Raises:
        CommandFailed: it failed, or takes too long.
    """
    # `advanced` for the sake of the temporary directory: what is not the MP4 goes away with the rest.
    answer = client.add({"url": url, "filename": NAME, "advanced": True, "temp_directory": str(work)})
    service.task_id = answer["id"]
    shown: Display = Bar() if sys.stderr.isatty() else Plain(quiet=False)
    deadline = time.monotonic() + DOWNLOAD_LIMIT_S
    try:
        while (task := client.task(answer["id"])).is_active:
            shown.update(_progress(task))
            if time.monotonic() > deadline:
                raise CommandFailed(words.DEMO_SLOW.said(seconds=DOWNLOAD_LIMIT_S, reason=service.last_words()))
            time.sleep(POLL_S)
        shown.update(_progress(task))
    finally:
        shown.close(())
    if task.status != Status.COMPLETED.value:
        raise CommandFailed(words.DEMO_FAILED.said(reason=task.err_msg or task.status, code=task.err_code))
    return task


def tell(task: RemoteTask) -> None:
    """
    Where the MP4 is and what is in it.
    """
    ended = _maker(task.output, "--describe")
    if ended.returncode:
        raise CommandFailed(words.DEMO_UNREADABLE.said(path=task.output, reason=ended.stderr.strip()[-500:]))
    found: dict[str, Any] = json.loads(ended.stdout)
    tracks = ", ".join(words.DEMO_TRACK.said(**track) for track in found["tracks"])
    click.echo(words.DEMO_DONE.said(path=task.output or task_name(task)))
    click.echo(f"  {words.DEMO_FACTS.said(size=task.size, duration=found['duration_s'], tracks=tracks)}")
    click.echo(words.DEMO_NEXT.said())


def make_stream(directory: Path) -> Path:
    """
    The stream, made by a child so that libav is in no process of ours; its playlist.
    """
    ended = _maker(str(directory), "--seconds", str(STREAM_S), "--encrypted")
    if ended.returncode:
        raise CommandFailed(words.DEMO_NO_STREAM.said(reason=ended.stderr.strip()[-500:]))
    return Path(ended.stdout.rstrip("\n"))


def _maker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "m3u8svc.testing.stream", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CHILD_LIMIT_S,
        check=False,
    )


def _progress(task: RemoteTask) -> Progress:
    return Progress(
        percent=int(task.percent),
        phase=Phase(task.phase),
        speed=task.speed,
        eta_s=task.eta_s,
        segments_done=task.segments_done,
        segments_total=task.segments_total,
    )


# -- The service -----------------------------------------------------------------------------------------------------


class ServiceChild:
    """
    The real service as a child process, on a free port. Its log is read all the time, so that it never waits for us,
    and its last lines are kept for the case that something goes wrong.
    """

    def __init__(self, home: Path, save_dir: Path) -> None:
        self._save_dir = save_dir
        self._lines: deque[str] = deque(maxlen=20)
        self._address = ""
        self._spoke = threading.Event()  # it said its address, or it will not say anything any more
        self.task_id = ""
        listen = "tcp:0:interface=127.0.0.1"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "m3u8svc",
                "serve",
                "--listen",
                listen,
                "--home",
                home,
                "--save-dir",
                save_dir,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us: we stop it in our own order
        )
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "ServiceChild":
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(STOP_LIMIT_S)
        if self.task_id:
            # An interrupted merge leaves its hidden file for the next start, which there will not be.
            for left in self._save_dir.glob(f".{self.task_id}.*"):
                left.unlink(missing_ok=True)

    def address(self) -> str:
        """
        Where it listens, once it does.

        Raises:
            CommandFailed: it ended, or says nothing.
        """
        self._spoke.wait(START_LIMIT_S)
        if not self._address:
            raise CommandFailed(words.DEMO_NO_START.said(reason=self.last_words()))
        return self._address

    def last_words(self) -> str:
        """
        The end of its log.
        """
        return " / ".join(list(self._lines)[-5:]) or "—"

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as log:
            for line in log:
                self._lines.append(line.strip())
                if found := _LISTENING.search(line):
                    self._address = found[1]
                    self._spoke.set()
        self._spoke.set()


# -- The origin ------------------------------------------------------------------------------------------------------


class SlowOrigin(ThreadingHTTPServer):
    """
    Serves a directory on loopback, segments one after the other.
    """

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(SlowRequest, directory=str(directory)))
        self.turn = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class SlowRequest(SimpleHTTPRequestHandler):
    """
    One request, answered without a log line.
    """

    extensions_map = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", "": "application/octet-stream"}

    def do_GET(self) -> None:
        """A file; a segment takes its time."""
        if self.path.endswith(".ts"):
            assert isinstance(self.server, SlowOrigin)
            with self.server.turn:
                time.sleep(SEGMENT_DELAY_S)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the screen belongs to the progress bar."""


@contextmanager
def slow_origin(directory: Path) -> Iterator[str]:
    """
    The origin in a thread; its address.
    """
    with SlowOrigin(directory) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# -- Leaving nothing behind ------------------------------------------------------------------------------------------


@contextmanager
def save_directory(path: Path) -> Iterator[None]:
    """
    The directory for the MP4; if it was made for that, and holds nothing in the end, it goes again.
    """
    existed = os.path.isdir(path)  # what cannot be looked at cannot be made either
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(words.DEMO_NO_DIRECTORY.said(path=path, reason=error.strerror or error)) from error
    try:
        yield
    finally:
        if not existed:
            with suppress(OSError):  # it holds the MP4
                path.rmdir()


@contextmanager
def unwinding_on_signals() -> Iterator[None]:
    """
    Make every signal that ends us run what cleans up, once: a second Ctrl-C does not interrupt it, and it has an end.
    """

    def unwind(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # for good: the process is on its way out
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, unwind) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, was in before.items():
            if signal.getsignal(each) is unwind:
                signal.signal(each, was)
