"""
A real OpenSSH server to test against, with keys and directories of its own, and threads without a reactor.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.logger import LogEvent, Logger, formatEvent
from twisted.python.failure import Failure

from m3u8svc.plugin import Extensions, Settings, Task, TaskSpec

SSHD = "/usr/sbin/sshd"
STARTS_WITHIN_S = 20.0


def lacking(what: str) -> NoReturn:
    """
    End the test: the machine lacks this. A gate that skips says nothing, so there it fails.
    """
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true this must be there: {what}")
    pytest.skip(what)


class SshServer:
    """
    sshd on a loopback port with a configuration of its own (`more` lines, `settings` by name); it can be killed and
    started again. `files` is where results go.
    """

    def __init__(self, place: Path, *more: str, **settings: str) -> None:
        self.place = place
        self.files = place / "files"
        self.files.mkdir()
        for name in ("host", "login", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(place / name)]
            subprocess.run(command, check=True)
        shutil.copy(place / "login.pub", place / "authorized_keys")
        self.port = port_of_its_own()
        lines = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(place / "host"),
            "AuthorizedKeysFile": str(place / "authorized_keys"),
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "Subsystem": "sftp internal-sftp",
        } | settings
        (place / "sshd_config").write_text(
            "\n".join([*more, *(f"{name} {value}" for name, value in lines.items()), ""])
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SshServer":
        """Start it, or start it again; returns when it listens."""
        with (self.place / "log").open("ab") as log:
            command = [SSHD, "-D", "-e", "-f", str(self.place / "sshd_config")]
            self._process = subprocess.Popen(command, stderr=log, start_new_session=True)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and everything it serves, as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        for pid in _descendants(process.pid):  # a session of its own for each connection
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()

    def freeze(self) -> None:
        """Let it be silent and keep its connections."""
        assert self._process is not None
        for pid in _descendants(self._process.pid):
            os.kill(pid, signal.SIGSTOP)

    @property
    def log(self) -> str:
        """What it says."""
        return (self.place / "log").read_text(errors="replace")

    @property
    def host_key(self) -> str:
        """The public key it identifies itself by."""
        return (self.place / "host.pub").read_text().strip()

    @property
    def table(self) -> dict[str, Any]:
        """The configuration that leads here."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "username": getuser(),
            "private_key": (self.place / "login").read_text(),
            "host_key": self.host_key,
            "directory": str(self.files),
            "timeout_s": 10,
        }

    def contents(self) -> dict[str, bytes]:
        """Every file below the directory of results, hidden ones too."""
        found = {}
        for path in self.files.rglob("*"):
            with suppress(FileNotFoundError, IsADirectoryError):  # the first: it went just now
                found[str(path.relative_to(self.files))] = path.read_bytes()
        return found


def port_of_its_own() -> int:
    """
    A free port that the system gives to nobody who asks for any: sshd takes it later, and again after it was killed.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(lowest // 2, lowest)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as sshd does
            probe.bind(("127.0.0.1", port))
            return port


def _descendants(pid: int) -> list[int]:
    """A process and all it started, itself first."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*"):
            try:
                found += [int(child) for child in (thread / "children").read_text().split()]
            except FileNotFoundError:
                continue
    return found


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., SshServer]]:
    if not Path(SSHD).exists():
        lacking(f"{SSHD}: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    made: list[SshServer] = []

    def make(*more: str, **settings: str) -> SshServer:
        place = tmp_path / f"sshd{len(made)}"
        place.mkdir()
        made.append(SshServer(place, *more, **settings).start())
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def server(make_server: Callable[..., SshServer]) -> SshServer:
    return make_server()


class Threads:
    """
    `services.in_thread` without a reactor: each call in a thread of its own, its answer delivered by `join`.
    """

    def __init__(self) -> None:
        self._running: list[tuple[threading.Thread, Deferred[Any], list[Any]]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        box: list[Any] = []

        def work() -> None:
            try:
                box.append(function(*arguments))
            except BaseException:
                box.append(Failure())

        done: Deferred[Any] = Deferred()
        thread = threading.Thread(target=work)
        thread.start()
        self._running.append((thread, done, box))
        return done

    def join(self) -> None:
        """Wait for all, and tell."""
        while self._running:
            thread, done, box = self._running.pop(0)
            thread.join(60)
            assert not thread.is_alive(), "it does not end"
            done.callback(box[0])


def inline(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    """`services.in_thread` that runs at once."""
    return succeed(function(*arguments))


@attrs.define
class Bench:
    """
    What a test of a storage needs: bytes to publish, tasks, results of coroutines.
    """

    saves: Path
    logged: list[str] = attrs.field(factory=list)
    inline: Any = staticmethod(inline)
    threads: Threads = attrs.field(factory=Threads)

    @property
    def log(self) -> Logger:
        """A logger whose lines are in `logged`."""

        def observe(event: LogEvent) -> None:
            self.logged.append(str(formatEvent(event)))

        return Logger(namespace="test", observer=observe)

    def task(self, task_id: str = "t1", output_id: str = "1:2:3", **options: Any) -> Task:
        """A task that has a finished file."""
        settings = Settings(save_location=str(self.saves))
        extensions = Extensions(storage="sftp", plugins={"storage-sftp": options})
        spec = TaskSpec(
            url="http://origin.example/list.m3u8", filename="film", settings=settings, extensions=extensions
        )
        return Task(id=task_id, spec=spec, output_id=output_id)

    def stage(self, storage: Any, task: Task, body: bytes, *, changed_at: float | None = None) -> Path:
        """The finished file of a task."""
        path: Path = storage.staging(task, "film", ".mp4")
        path.write_bytes(body)
        if changed_at is not None:
            os.utime(path, (changed_at, changed_at))
        return path

    def result(self, coroutine: Any) -> Any:
        """What a coroutine comes to that waits for nothing."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
        assert outcome, "it still waits"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    saves = tmp_path / "saves"
    saves.mkdir()
    return Bench(saves=saves)
