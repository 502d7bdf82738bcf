"""
Killed at any instant, the service goes on where it was: nothing lost, nothing fetched twice, the same bytes.

A real service runs as a child against an origin in this process, and is killed with SIGKILL 40 times, five times in
each of eight lives. Where is drawn from a seed, and aimed at the phases of a task: right after an answer, among the
segments, between the last segment and the file's name, and between that and the row. ``M3U8SVC_SEED`` repeats a run.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from m3u8svc.testing.origin import Origin

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else

SEED = os.environ.get("M3U8SVC_SEED") or str(random.SystemRandom().randrange(10**6))
STREAM_S = 64
SEGMENTS = STREAM_S // 2
CONNECTIONS = 4
DELAY_S = 0.12
"""How long the origin takes for a segment, so that a download lasts about a second."""
PIECE_S = 0.01
"""How long it takes for each 64 KiB of one."""
LARGE = {f"{number:05d}.ts" for number in range(0, SEGMENTS, 4)}
"""Segments of over two megabytes, whose parts lie on the disk while they come."""
TS_BYTES = 188
LIVES = 8
AIMS = {
    "random": 10,
    "answered": 4,
    "downloading": 7,
    "merging": 5,
    "fetched": 4,
    "published": 6,
    "paused": 2,
    "deleted": 2,
}
DECK = [aim for aim, count in AIMS.items() for _ in range(count)]
random.Random(SEED).shuffle(DECK)


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

    async def create(self, stream: str, *, keep: bool = False, delay_s: float = DELAY_S) -> Asked:
        """A new task; its segments are told from those of others by their query."""
        name = f"film-{len(self.asked)}"
        self.origin.put(
            f"/{self.folder.name}/{name}.m3u8", self.playlists[stream].format(task=name, delay_s=delay_s).encode()
        )
        url = self.origin.url(f"/{self.folder.name}/{name}.m3u8")
        body = {"url": url, "filename": name, "advanced": True, "download_threads": CONNECTIONS, "keep_ts_files": keep}
        status, answer = await self.api("POST", body=body)
        assert 200 == status, answer
        asked = Asked(id=answer["id"], name=name, stream=stream, keep=keep, seen=len(self.origin.visits()))
        self.asked.append(asked)
        return asked

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
        await deferToThread(_wait_for, lambda: not _muxers(self.pid), 3)
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
        if self.file(asked).exists():
            return set(range(1, SEGMENTS + 1))
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


# -- The tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real streams, one of them encrypted."""
    folder = tmp_path_factory.mktemp("streams")
    argv = [sys.executable, "-m", "m3u8svc.testing.stream", "--seconds", str(STREAM_S)]
    makers = [
        subprocess.Popen([*argv, str(folder / "clear")], stdout=subprocess.DEVNULL),
        subprocess.Popen([*argv, "--encrypted", str(folder / "locked")], stdout=subprocess.DEVNULL),
    ]
    assert [0, 0] == [maker.wait(120) for maker in makers]
    return folder


@pytest_twisted.async_yield_fixture(scope="module")
async def origin() -> AsyncIterator[Origin]:
    """The origin of all lives."""
    origin = await Origin.start(reactor)
    yield origin
    await origin.stop()


def make_life(folder: Path, origin: Origin, streams: Path) -> Life:
    """A life whose streams are below a path of its own, so that the journal tells lives apart."""
    playlists = {}
    for stream in ("clear", "locked"):
        for file in (streams / stream).iterdir():
            content = padded(file.read_bytes()) if file.name in LARGE and stream == "clear" else file.read_bytes()
            origin.put(f"/{folder.name}/{stream}/{file.name}", content, content_type="video/mp2t")
        text = (streams / stream / "index.m3u8").read_text().replace('URI="', f'URI="{stream}/')
        slow = f"?task={{task}}&delay={{delay_s}}&chunk_delay={PIECE_S}"
        playlists[stream] = re.sub(r"(?m)^(\d+\.ts)$", rf"{stream}/\1{slow}", text)
    return Life(folder=folder, origin=origin, playlists=playlists)


def padded(content: bytes) -> bytes:
    """The same with null packets in its middle, so that it is written in several steps, the last of which matters."""
    middle = len(content) // 2 // TS_BYTES * TS_BYTES
    return content[:middle] + b"\x47\x1f\xff\x10".ljust(TS_BYTES, b"\xff") * 12_000 + content[middle:]


@pytest_twisted.async_yield_fixture(scope="module")
async def golden(
    origin: Origin, streams: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, str]]:
    """The SHA-256 of each stream's file from an undisturbed run."""
    life = make_life(tmp_path_factory.mktemp("golden"), origin, streams)
    try:
        await life.start()
        for stream in ("clear", "locked"):
            await life.create(stream)
        await life.until(lambda states: {"已完成"} == set(states.values()))
    finally:
        await life.end()
    yield {asked.stream: _sha256(life.file(asked)) for asked in life.asked}


@pytest.mark.parametrize("number", range(LIVES))
@pytest_twisted.ensureDeferred
async def test_killed_at_any_instant(
    number: int, golden: dict[str, str], origin: Origin, streams: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After every kill a restart goes on by itself; at the end each task has one file with the undisturbed bytes."""
    life = make_life(tmp_path_factory.mktemp(f"life{number}"), origin, streams)
    dice = random.Random(f"{SEED}/{number}")
    life.story.append(f"M3U8SVC_SEED={SEED} life {number}")
    print(life.story[0])
    try:
        await life.start()
        for aim in DECK[number::LIVES]:
            await one_kill(life, aim, dice)
            print(life.story[-1])
        await life.until(lambda states: {"已完成"} == set(states.values()))
        await check_end(life, golden)
    finally:
        await life.end()
    shutil.rmtree(life.folder)


async def one_kill(life: Life, aim: str, dice: random.Random) -> None:
    """
    Bring a task to where the aim is, kill the service there, start it again.
    """
    states = await life.statuses()
    running = [asked for asked in life.asked if states[asked.id] != "已完成"]
    if not running or aim in ("answered", "paused", "deleted"):
        slow = {"paused": 0.3, "deleted": 1.0}.get(aim, DELAY_S)
        stream, keep = dice.choice(("clear", "locked")), dice.random() < 0.3
        running.append(await life.create(stream, keep=keep, delay_s=slow))
    target = running[-1]
    if aim in ("paused", "deleted"):
        await deferToThread(_wait_for, lambda: len(life.finished(target)) >= CONNECTIONS, 20)
        await ask(life, aim, target)
    when, delay_s = moment(life, aim, target, dice)
    await life.kill(when, delay_s)
    life.story.append(f"{aim}: {_left(life, target)}")
    await life.start()
    if aim == "paused":
        assert "已暂停" == (await life.statuses())[target.id], life.story
        assert (200, {"status": "success"}) == await life.api("PUT", f"?id={target.id}", {"status": "等待中"})
    if aim == "deleted":
        assert 404 == (await life.api("GET", f"?id={target.id}"))[0]
    assert {asked.id for asked in life.asked} == set(await life.statuses()), life.story


def moment(life: Life, aim: str, target: Asked, dice: random.Random) -> tuple[Callable[[], bool], float]:
    """
    When to kill: a condition, and how long after it.
    """
    some, size = dice.randrange(1, SEGMENTS), dice.randrange(1, 5_000_000)
    match aim:
        case "random":
            return lambda: True, dice.uniform(0, 1.7)
        case "downloading":
            return lambda: len(life.finished(target)) >= some, 0
        case "merging":
            return lambda: life.merged_bytes(target) >= size or life.file(target).exists(), 0
        case "fetched":
            return lambda: len(life.finished(target)) == SEGMENTS, dice.uniform(0, 0.1)
        case "published":
            return life.file(target).exists, dice.choice((0, 0, dice.uniform(0, 0.03)))
    return lambda: True, 0


async def ask(life: Life, aim: str, target: Asked) -> None:
    """
    Pause or delete the task; the answer is what must survive.
    """
    if aim == "paused":
        status, _ = await life.api("PUT", f"?id={target.id}", {"status": "已暂停"})
    else:
        status, _ = await life.api("DELETE", f"?id={target.id}")
        life.asked.remove(target)
    assert 200 == status, life.story


async def check_end(life: Life, golden: dict[str, str]) -> None:
    """
    Nothing lost, nothing doubled, nothing left over.
    """
    work = life.save / ".m3u8svc"
    await deferToThread(_wait_for, lambda: not work.exists(), 5)
    expected = {asked.name + ".mp4" for asked in life.asked} | {asked.name for asked in life.asked if asked.keep}
    assert sorted(expected) == sorted(os.listdir(life.save)), life.story
    for asked in life.asked:
        life.judge(asked)
        assert golden[asked.stream] == _sha256(life.file(asked)), (asked, life.story)
        if asked.keep:
            kept = sorted(path.name for path in (life.save / asked.name).glob("*.ts"))
            assert [f"{position:05d}.ts" for position in range(1, SEGMENTS + 1)] == kept, life.story
    _, listed = await life.api("GET")
    assert [100] * len(life.asked) == [task["progress"] for task in listed]
    assert [life.file(asked).stat().st_size for asked in life.asked] == [task["size"] for task in listed]
    assert "Traceback" not in life.child.output, life.child.output


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


def _left(life: Life, target: Asked) -> str:
    """What there is of a task after a kill."""
    work = life.save / ".m3u8svc" / target.id
    return (
        f"{len(life.finished(target))}/{SEGMENTS} segments, {life.merged_bytes(target)} bytes merged, "
        f"file {life.file(target).exists()}, work {work.exists()}"
    )


def _position(path: str) -> int:
    return int(Path(path).stem) + 1


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
