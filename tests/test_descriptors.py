"""File descriptors: the arithmetic, and what happens when there are none."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.iweb import IAgent

from m3u8svc.connections import Connections
from m3u8svc.descriptors import CLIENTS, LEAST, OWN, lacking, transfers_within
from m3u8svc.errors import TooManyFiles
from m3u8svc.fetch import Fetched, Fetcher, FetchLimits
from m3u8svc.merge import Muxing
from m3u8svc.offerings import MediaFile, MergeJob, Part
from m3u8svc.tasks.addresses import NEAREST
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.testing.origin import Origin
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
test = pytest_twisted.ensureDeferred


@pytest.mark.parametrize(("limit", "transfers"), [(48, 2), (64, 4), (256, 76), (1024, 460), (65_536, 32_716)])
def test_how_many_transfers(limit: int, transfers: int) -> None:
    """Two descriptors each, of what the service, its children and its clients leave."""
    assert transfers == transfers_within(limit)
    assert limit < LEAST + 8 or 2 * transfers + OWN + min(CLIENTS, limit // 4) <= limit


@pytest.mark.parametrize(
    ("soft", "hard", "said"),
    [
        (100, 1000, "1000"),
        (100, 100, "100"),
        (LEAST, LEAST, str(LEAST)),
        (20, 40, f"only 40 files may be open, at least {LEAST} are needed"),
    ],
)
def test_the_limit_is_raised(soft: int, hard: int, said: str) -> None:
    """As far as it may be; where that is too little, the start is refused in words."""
    code = """
import resource, sys
from m3u8svc.descriptors import raise_limit
from m3u8svc.errors import ConfigError
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
try:
    limit = raise_limit()
except ConfigError as error:
    print(error)
else:
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit
    print(limit)
"""
    ran = subprocess.run([sys.executable, "-c", code, str(soft), str(hard)], capture_output=True, text=True, check=True)
    assert said in ran.stdout


@contextmanager
def none_left(but: int = 0) -> Iterator[None]:
    """Meanwhile this process cannot open anything more, or only so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(but + 1)]  # the lowest numbers that are free
    for descriptor in free:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1], hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_now() -> set[str]:
    """The descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


def test_lacking_leaves_nothing_open() -> None:
    """Whether there are some left or not."""
    before = open_now()
    assert 0 == lacking()
    with none_left():
        assert errno.EMFILE == lacking()
    assert before == open_now()


@pytest_twisted.async_yield_fixture
async def origin() -> AsyncIterator[Origin]:
    """An origin with one small resource."""
    started = await Origin.start(reactor)
    started.put("/a", b"content")
    yield started
    await started.stop()


class Rig:
    """A fetcher that says when it asked for idle connections to be closed."""

    def __init__(self, **more: Any) -> None:
        self.connections = Connections(reactor)
        self.spared = 0
        self.fetcher = Fetcher(clock=reactor, wall=lambda: 0.0, spare=self.spare, **more)

    def spare(self) -> None:
        """Called without a descriptor."""
        self.spared += 1
        self.connections.drop_idle()

    async def agent_for(self, request: Request) -> IAgent:
        """Always this one."""
        return self.connections.agent(reach=NEAREST)

    async def read(self, url: str) -> tuple[Fetched, bytes]:
        """What is there."""
        request = Request(url=url, purpose=Purpose.SEGMENT, reach=NEAREST)
        return await self.fetcher.read(request, agent_for=self.agent_for, limits=FetchLimits())


@test
async def test_a_request_waits_for_a_descriptor(origin: Origin) -> None:
    """It is sent once there is one, and nobody hears of it."""
    rig = Rig()
    with none_left():
        reading = Deferred.fromCoroutine(rig.read(origin.url("/a")))
        await until(lambda: rig.spared)
        assert 0 == origin.count("/a")
    _, content = await reading
    assert (b"content", 1) == (content, origin.count("/a"))
    await rig.connections.close()


@test
async def test_idle_connections_make_room(origin: Origin) -> None:
    """What is kept for later is closed when somebody needs a descriptor now."""
    other = await Origin.start(reactor)
    other.put("/b", b"elsewhere")
    rig = Rig()
    await rig.read(origin.url("/a"))
    await until(lambda: origin.open == 1)
    with none_left():
        reading = Deferred.fromCoroutine(rig.read(other.url("/b")))
        await until(lambda: origin.open == 0)
    assert b"elsewhere" == (await reading)[1]
    await rig.connections.close()
    await other.stop()


@test
async def test_without_one_for_long_it_says_so(origin: Origin) -> None:
    """After a few tries it is an error that holds the task."""
    rig = Rig()
    with none_left(), pytest.raises(TooManyFiles) as caught:
        await rig.read(origin.url("/a"))
    assert 3 == rig.spared and caught.value.holds and "127.0.0.1" in caught.value.text("zh")
    await rig.connections.close()


@test
async def test_answers_under_way_are_counted(origin: Origin) -> None:
    """No more are under way than there is room for, and a failed or cancelled one makes room again."""
    rig = Rig(at_once=2)
    hung = [Deferred.fromCoroutine(rig.read(origin.url("/a?hang=body"))) for _ in range(3)]
    await until(lambda: origin.count("/a") == 2)
    await deferLater(reactor, 0.1)
    assert 2 == origin.count("/a")
    for each in hung:
        each.addErrback(lambda failure: None)
        each.cancel()
    await until(lambda: all(each.called for each in hung))
    assert b"content" == (await rig.read(origin.url("/a")))[1]
    await rig.connections.close()


@test
async def test_no_child_without_descriptors(tmp_path: Path) -> None:
    """A merge that cannot start its child says why, and loses none that it had."""

    async def parts() -> AsyncIterator[Part]:
        yield MediaFile(position=1, path=tmp_path / "1.ts", kind="ts", duration_s=1.0, size_bytes=1)

    await deferToThread(lambda: None)  # threads are made before
    before = open_now()
    job = MergeJob(task=Task(id="t", spec=TaskSpec(url="http://h.test/", filename="f")), target=tmp_path / ".part")
    with none_left(but=3), pytest.raises(TooManyFiles):  # pipes come in pairs
        await Muxing(reactor=reactor, in_thread=deferToThread).merge(job, parts(), lambda done: None)
    assert before == open_now()
