"""
A home and its tasks over several service processes that are killed, against an origin in this process.

``M3U8SVC_SEED`` repeats a run. For tests that must look into the origin at every step; the harness in `tests.faults`
has everything in processes of its own.
"""

import hashlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import attrs
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from m3u8svc.testing.origin import Origin
from tests import seeds

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else

SEED = seeds.seed(seeds.OTHERS)
CONNECTIONS = 4


@attrs.define(kw_only=True)
class Asked:
    """
    One task as its client knows it, and what was seen of it. `stored` are the segments that were finished at the last
    kill; `seen` counts the origin's visits until then.
    """

    id: str
    name: str
    stream: str
    keep: bool
    stored: set[int] = attrs.field(factory=set)
    seen: int = 0


class Child(ProcessProtocol):
    """
    The service as a child process: where it listens, and when it ended.
    """

    def __init__(self) -> None:
        self.output = ""
        self.listening: Deferred[str] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode()
        found = re.search(r"listening on (http://\S+)\n", self.output)
        if found and not self.listening.called:
            self.listening.callback(found[1])

    def errReceived(self, data: bytes) -> None:
        self.output += data.decode()

    def processEnded(self, reason: Failure) -> None:
        if not self.listening.called:
            self.listening.errback(AssertionError(f"the service did not start:\n{self.output}"))
        self.ended.callback(None)


@attrs.define(kw_only=True)
class Life:
    """
    One home and its tasks, over several processes.
    """

    folder: Path
    origin: Origin
    playlists: dict[str, str]
    """The text of each stream's playlist, with segment URIs that name ``{task}`` and ``{delay_s}``."""
    child: Child = attrs.field(factory=Child)
    pid: int = 0
    url: str = ""
    asked: list[Asked] = attrs.field(factory=list)
    story: list[str] = attrs.field(factory=list)
    """What was done to it, for a failed test."""

    @property
    def save(self) -> Path:
        """Where files are saved."""
        return self.folder / "save"

    async def start(self) -> None:
        """Start the service and wait until it listens."""
        self.child = Child()
        options = ["--listen", "tcp:0:interface=127.0.0.1", "--max-active", "4", "--home", str(self.folder / "home")]
        argv = [sys.executable, "-m", "m3u8svc", "serve", *options, "--save-dir", str(self.save)]
        self.pid = reactor.spawnProcess(self.child, sys.executable, argv, env=os.environ).pid
        self.url = await self.child.listening

    async def api(self, method: str, query: str = "", body: object = None) -> tuple[int, Any]:
        """One request; its status and what its JSON says."""
        return await deferToThread(_request, method, f"{self.url}/api/tasks{query}", body)

    async def statuses(self) -> dict[str, str]:
        """Every task's state by id."""
        _, listed = await self.api("GET")
        return {task["id"]: task["status"] for task in listed}

    async def until(self, holds: Callable[[dict[str, str]], bool], *, seconds: float = 30) -> None:
        """Wait until the states are so."""
        deadline = time.monotonic() + seconds
        while not holds(states := await self.statuses()):
            assert time.monotonic() < deadline, (states, self.story, self.child.output)
            await deferLater(reactor, 0.05)

    async def kill(self, when: Callable[[], bool], delay_s: float = 0) -> None:
        """SIGKILL the service at the moment `when` holds, plus `delay_s`; then look at what it left."""
        await deferToThread(_kill_when, self.pid, when, delay_s)
        await self.child.ended
        await deferLater(reactor, 0.05)  # so that the origin has read what was sent before
        await deferToThread(_wait_for, lambda: not _muxers(self.pid), 60)
        assert [] == _muxers(self.pid), "a muxing child outlived its service"
        for asked in self.asked:
            self.judge(asked)

    async def end(self) -> None:
        """No process is left, however the test went."""
        if self.pid and not self.child.ended.called:
            os.kill(self.pid, signal.SIGKILL)
            await self.child.ended

    def judge(self, asked: Asked) -> None:
        """
        Nothing that was finished at the last kill was asked for since, and no more was in flight than there are
        connections.
        """
        fetched = [
            _position(visit.path)
            for visit in self.origin.visits()[asked.seen :]
            if f"task={asked.name}" in visit.query.split("&") and visit.path.startswith(f"/{self.folder.name}")
        ]
        assert [] == sorted(set(fetched) & asked.stored), (asked, self.story)
        assert len(set(fetched)) == len(fetched), (asked, fetched, self.story)
        asked.stored |= self.finished(asked)
        assert len(set(fetched) - asked.stored) <= CONNECTIONS, (asked, fetched, self.story)
        asked.seen = len(self.origin.visits())

    def finished(self, asked: Asked) -> set[int]:
        """The positions of the segments that a restart may use."""
        work = self.save / ".m3u8svc" / asked.id
        names = os.listdir(work) if work.is_dir() else []
        return {int(name[:8]) for name in names if re.fullmatch(r"\d{8}-\w+\.ts(\.new)?", name)}

    def file(self, asked: Asked) -> Path:
        """Where its result will be."""
        return self.save / f"{asked.name}.mp4"

    def merged_bytes(self, asked: Asked) -> int:
        """How much of the hidden file is written."""
        try:
            return (self.save / f".{asked.id}.part.mp4").stat().st_size
        except FileNotFoundError:
            return 0


# -- Looking and killing ---------------------------------------------------------------------------------------------


def _request(method: str, url: str, body: object) -> tuple[int, Any]:
    content = None if body is None else json.dumps(body).encode()
    request = Request(url, content, {"Content-Type": "application/json"}, method=method)
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def _kill_when(pid: int, when: Callable[[], bool], delay_s: float) -> None:
    """In a thread: look as often as possible, since some windows are a millisecond wide."""
    _wait_for(when, 20)
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)


def _wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.0005)


def _muxers(pid: int) -> list[str]:
    """The muxing children that the service of this pid started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it just ended
        if b"m3u8svc.mux" in argv and str(pid).encode() in argv:
            found.append(process.name)
    return found


def _position(path: str) -> int:
    return int(Path(path).stem) + 1


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
