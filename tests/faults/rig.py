"""
What every piece of the harness works with: streams and what becomes of them undisturbed, the origin as a process with
its journal, and the service as a process on a home of its own.

All of it is blocking and without a reactor, so that several cycles can run beside each other in threads.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # JSON values
from urllib.parse import urlencode

import attrs

from tests.faults.warm import ORIGINAL, Copy
from tests.holding_origin import HELD as HELD_S

HERE = Path(__file__).parent
STARTS_WITHIN_S = 40.0
"""The goal is 5 s, which tests of their own hold; here two cores may be shared with a build."""
STOPS_WITHIN_S = 5.0
CANARY = "kanarienvogel"
"""Is in every secret place of every task, and in no log."""
CONNECTIONS = 4
HELD: dict[str, object] = {"delay": HELD_S}
"""Tweaks of what `Origin.holding` holds."""
TS_BYTES = 188
_LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


# -- Streams ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Stream:
    """
    A stream on the disk, and what its film must be.
    """

    name: str
    segments: int
    golden: str
    """SHA-256 of the MP4 that an undisturbed run makes."""


def _make_stream(folder: Path, *, seconds: int, encrypted: bool, large: bool) -> None:
    argv = [sys.executable, "-m", "m3u8svc.testing.stream", "--seconds", str(seconds)]
    argv += ["--encrypted"] * encrypted + [str(folder)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    for file in sorted(folder.glob("*.ts"))[::4] if large else ():
        file.write_bytes(_padded(file.read_bytes()))


def _padded(content: bytes) -> bytes:
    """
    The same with null packets in its middle: over two megabytes, so that parts of it lie on the disk while it comes.
    """
    middle = len(content) // 2 // TS_BYTES * TS_BYTES
    return content[:middle] + b"\x47\x1f\xff\x10".ljust(TS_BYTES, b"\xff") * 12_000 + content[middle:]


# -- The origin ------------------------------------------------------------------------------------------------------


class Origin:
    """
    The fault origin in a process of its own, serving `folder`. Its journal is asked by task.
    """

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-m", "tests.faults.origin_child", str(folder)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent
        )
        self._turn = threading.Lock()
        self.base: str = self._answer()

    def put(self, path: str, text: str) -> str:
        """
        Serve a text; returns its URL.
        """
        self._ask("put", path, text)
        return self.base + path

    def visits(self, task: str) -> list[tuple[str, bool, int]]:
        """
        The requests that belong to the task of this name: path, whether it was answered to its end, status.
        """
        return [(path, whole, status) for path, whole, status in self._ask("visits", f"task={task}")]

    @contextmanager
    def holding(self) -> Iterator[None]:
        """
        While it lasts, requests with `HELD` among their tweaks are not answered.
        """
        self._ask("hold", True)
        try:
            yield
        finally:
            self._ask("hold", False)

    def stop(self) -> None:
        """
        End it.
        """
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _ask(self, *order: object) -> Any:
        assert self._process.stdin is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


# -- The service -----------------------------------------------------------------------------------------------------


class Gone(Exception):
    """
    The service did not answer: it is dead, or dying.
    """


class Service:
    """
    One service process on `home`, with results in `saves`. `before` stands before its command (a tracer), `entry` are
    options of `service_entry`. Its log is one file over all lives.
    """

    def __init__(
        self, folder: Path, *, home: Path | None = None, saves: Path | None = None, options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.home = home or folder / "home"
        self.saves = saves or folder / "saves"
        self.log_file = folder / "service.log"
        self.options = [*options]
        self.entry: list[str] = []
        self.port = 0
        self.pid = 0
        self.slowest_s = 0.0
        """The slowest answer of ``/healthz`` so far, seen while we ourselves were not starved."""
        self._process: subprocess.Popen[bytes] | Copy | None = None
        self._prober: threading.Thread | None = None

    @property
    def command(self) -> list[str]:
        """What starts it."""
        entry = [str(HERE / "service_entry.py"), *self.entry, "--"] if self.entry else ["-m", "m3u8svc"]
        places = ["--home", str(self.home), "--save-dir", str(self.saves)]
        where = ["--listen", "tcp:0:interface=127.0.0.1"]
        return [sys.executable, *entry, "serve", *where, "--max-active", "4", *places, *self.options]

    # -- Its life

    def launch(self, *before: str, pid_file: Path | None = None) -> None:
        """
        Start it, and do not wait.
        """
        argv = [*before, *self.command]
        self._printed = len(self.log)
        self.port = 0
        if before or "--package" in self.entry:
            with self.log_file.open("ab") as output:
                self._process = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        else:
            self._process = ORIGINAL.start(argv[1:], self.log_file)
        self.pid = self._process.pid if pid_file is None else self._read_pid(pid_file)

    def _read_pid(self, file: Path) -> int:
        wait_for(file.exists, STARTS_WITHIN_S)
        pid = int(file.read_text())
        file.unlink()
        return pid

    def listens(self) -> bool:
        """
        Wait until it does; False if it ended instead.

        Raises:
            AssertionError: it does neither.
        """
        assert self._process is not None
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not (found := _LISTENING.search(self.log, self._printed)):
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"the service neither listens nor ends:\n{self.log}"
            time.sleep(0.02)
        self.port = int(found[1])
        self._prober = threading.Thread(target=self._probe, args=(self.port,), daemon=True)
        self._prober.start()
        return True

    def start(self) -> "Service":
        """
        Start it, or start it again on what it left; returns when it listens.
        """
        self.launch()
        assert self.listens(), f"the service ended at once:\n{self.log}"
        return self

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """
        SIGKILL; returns when it is gone.
        """
        if self._process is not None:
            if not self.ended:
                os.kill(self.pid, signal.SIGKILL)
            self.reap()

    def reap(self, within_s: float = 30.0) -> int:
        """
        Wait for its end; its status.
        """
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        finally:
            self.port = 0
            if self._prober is not None:
                self._prober.join(15)
                self._prober = None

    def terminate(self) -> float:
        """
        SIGTERM; returns how many seconds it took to end.

        Raises:
            subprocess.TimeoutExpired: it did not.
        """
        begun = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        self.reap(4 * STOPS_WITHIN_S)
        return time.monotonic() - begun

    def pause(self) -> None:
        """
        SIGSTOP it and its children; returns when none of them runs any more.
        """
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: _resting(self.pid), 5)
        tree = children(self.pid)  # only now: nobody starts one any more, nor takes away one that has ended
        for pid in tree:
            os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: all(_resting(pid) for pid in tree), 5)

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def _probe(self, port: int) -> None:
        """Ask for its health again and again; a turn in which we slept too long ourselves says nothing."""
        while self.port == port and not self.ended:
            begun = time.monotonic()
            time.sleep(0.05)
            late_s = time.monotonic() - begun - 0.05
            try:
                _request(port, "GET", "/healthz", None, {}, 10)
            except Gone:
                if self.port != port or self.ended:
                    return
            took_s = time.monotonic() - begun - 0.05 - late_s
            if self.port == port and late_s < 0.2:
                self.slowest_s = max(self.slowest_s, took_s)
            time.sleep(0.1)

    # -- Its API

    def ask(
        self, method: str, target: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """
        One request: its status, and what its JSON says.

        Raises:
            Gone: no whole answer came.
        """
        return _request(self.port, method, target, body, headers or {}, 20)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """
        Every task by its id.
        """
        status, listed = self.ask("GET", "/api/tasks")
        assert status == 200, listed
        return {task["id"]: task for task in listed}


def _request(
    port: int, method: str, target: str, body: object, headers: dict[str, str], timeout_s: float
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    sent = None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, target, sent, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if target.startswith("/api") else None
    except (OSError, http.client.HTTPException) as error:
        raise Gone(f"{method} {target}: {error!r}") from error
    finally:
        connection.close()


# -- The bench -------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class Bench:
    """
    A place to work in, the streams, and an origin that serves them. Cycles beside each other have one each.
    """

    place: Path
    streams: dict[str, Stream]
    origin: Origin
    package: str = ""
    """Where the package is, if it is not ours but one that was broken on purpose."""

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """
        A directory for one cycle, gone afterwards.
        """
        folder = self.place / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    def service(self, folder: Path, *, boot: str = "", **places: Path) -> Service:
        """
        A service that was not started yet.
        """
        service = Service(folder, **places)  # type: ignore[arg-type]
        service.entry = ["--boot", boot] * bool(boot) + ["--package", self.package] * bool(self.package)
        return service

    def playlist(self, stream: str, task: str, tweaks: dict[str, object], faulty: dict[int, dict[str, object]]) -> str:
        """
        Serve a stream's playlist for the task of this name; returns its URL. Every segment is asked for with `tweaks`,
        the one at a position with those of `faulty` besides.
        """
        text = (self.place / "streams" / stream / "index.m3u8").read_text().replace('URI="', f'URI="/{stream}/')

        def address(found: re.Match[str]) -> str:
            query = {"task": task, "token": CANARY, **tweaks, **faulty.get(int(found[1]) + 1, {})}
            return f"/{stream}/{found[0]}?{urlencode(query)}"

        path = f"/{task}.m3u8"
        return self.origin.put(path, re.sub(r"(?m)^(\d+)\.ts$", address, text)) + f"?token={CANARY}"


@contextmanager
def bench(place: Path, names: Sequence[str] = ("small", "clear", "locked")) -> Iterator[Bench]:
    """
    Make the streams of these names, and their films, then everything is ready.

    "small" has 6 encrypted segments; "clear" and "locked" have 32, every fourth of "clear" over two megabytes.
    """
    folder = place / "streams"

    def make(name: str) -> None:
        seconds = 12 if name == "small" else 64
        if not (folder / name / "index.m3u8").exists():
            _make_stream(folder / name, seconds=seconds, encrypted=name != "clear", large=name == "clear")

    with ThreadPoolExecutor() as workers:
        list(workers.map(make, names))
    origin = Origin(folder)
    try:
        ready = Bench(place=place, streams={}, origin=origin)
        with ThreadPoolExecutor() as workers:
            goldens = list(workers.map(lambda name: _golden(ready, name), names))
        for name, golden in zip(names, goldens, strict=True):
            count = len(list((folder / name).glob("*.ts")))
            ready.streams[name] = Stream(name=name, segments=count, golden=golden)
        yield ready
    finally:
        origin.stop()


@contextmanager
def beside(ready: Bench) -> Iterator[Bench]:
    """
    Another bench with the same streams and an origin of its own.
    """
    origin = Origin(ready.place / "streams")
    try:
        yield attrs.evolve(ready, origin=origin)
    finally:
        origin.stop()


def _golden(ready: Bench, stream: str) -> str:
    """
    The SHA-256 of what an undisturbed run makes.
    """
    with ready.folder(f"golden-{stream}") as folder:
        service = ready.service(folder).start()
        try:
            url = ready.playlist(stream, f"golden-{stream}", {}, {})
            status, task = service.ask("POST", "/api/tasks", {"url": url, "filename": "film"})
            assert status == 200, task
            wait_for(lambda: service.tasks()[task["id"]]["status"] in ("已完成", "失败"), 60)
            assert service.tasks()[task["id"]]["status"] == "已完成", service.log
            return sha256(service.saves / "film.mp4")
        finally:
            service.kill()


# -- Odds ------------------------------------------------------------------------------------------------------------


def wait_for(holds: Callable[[], bool], seconds: float, step_s: float = 0.01) -> bool:
    """
    Look again and again, at most so long; whether it came to hold.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(step_s)
    return True


def sha256(path: Path) -> str:
    """
    Of a whole file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def children(pid: int) -> list[int]:
    """
    The processes that this one started and that still are.
    """
    try:
        listed = [Path(f"/proc/{pid}/task/{thread}/children").read_text() for thread in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    return [int(word) for text in listed for word in text.split()]


def muxers(pid: int) -> list[int]:
    """
    The muxing children that were started by the service of this pid, also when it is gone.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it just ended
        if b"m3u8svc.mux" in argv and str(pid).encode() in argv:
            found.append(int(process.name))
    return found


def _resting(pid: int) -> bool:
    try:
        return all(
            Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
            for thread in os.listdir(f"/proc/{pid}/task")
        )
    except OSError:
        return True
