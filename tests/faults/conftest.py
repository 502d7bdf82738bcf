"""
One bench for the harness's own small tier, and one stage for the tables: streams and films are made once.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.logger import globalLogPublisher

from m3u8svc.tap import disk_threads, make_tools
from m3u8svc.tasks.reach import Policy
from m3u8svc.testing.origin import Origin
from tests import seeds
from tests.faults.rig import Bench, bench
from tests.faults.stage import COUNT, PACE, FastReactor, Records, Stage, sha256, sockets
from tests.needs import lacking

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else


@pytest.fixture(scope="session")
def seed() -> str:
    """
    The seed of this run; ``FAULTS_SEED`` repeats one.
    """
    return seeds.seed(seeds.FAULTS)


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """
    The bench with all streams.
    """
    memory = Path("/dev/shm")
    place = memory / f"faults-{os.getpid()}" if os.access(memory, os.W_OK) else tmp_path_factory.mktemp("faults")
    try:
        with bench(place) as made:
            yield made
    finally:
        shutil.rmtree(place, ignore_errors=True)


# -- The stage: one job in this process -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """
    A short real stream: 6 TS segments of a second.
    """
    if shutil.which("ffmpeg") is None:
        lacking("ffmpeg")
    folder = tmp_path_factory.mktemp("stream")
    sources = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "6"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *codecs, *hls, str(folder / "list.m3u8")], check=True)
    return [(folder / f"{number}.ts").read_bytes() for number in range(COUNT)]


_GOLDEN: dict[tuple[bytes, ...], str] = {}


@pytest.fixture
def pace() -> float:
    """
    How fast the stage's clock runs; a file of tests may have its own.
    """
    return PACE


@pytest.fixture
def policy() -> Policy | None:
    """Where requests may go, if not where those of a user of this machine may."""
    return None


@pytest.fixture
def resolver() -> Any:  # Any: an IHostnameResolver
    """
    Who answers for host names on the stage, if not the system.
    """
    return None


@pytest.fixture
def fast(pace: float, resolver: Any) -> FastReactor:
    """The stage's clock, and its way to connect."""
    return FastReactor(reactor, pace, resolver)


@pytest_twisted.async_yield_fixture  # type: ignore[untyped-decorator]  # pytest_twisted has no types
async def stage(
    segments: list[bytes], tmp_path: Path, pace: float, fast: FastReactor, policy: Policy | None
) -> AsyncIterator[Stage]:
    """
    An origin with the stream, and the real tools on a fast clock. No socket may be open afterwards (I3).
    """
    before = sockets()
    origin = await Origin.start(reactor)
    in_thread, stop_threads = disk_threads(reactor)
    tools, close = make_tools(fast, in_thread, policy=policy)
    try:
        for number, content in enumerate(segments):
            origin.put(f"/{number}.ts", content, content_type="video/mp2t")
        (tmp_path / "save").mkdir()
        made = Stage(origin=origin, tools=tools, save=tmp_path / "save", segments=segments, golden="", pace=pace)
        made = attrs.evolve(made, golden=await _golden(made), records=Records())
        with watching(made.watch):
            yield made
    finally:
        await close()
        stop_threads()
        await origin.stop()
    await made.until(lambda: sockets() <= before)


async def _golden(plain: Stage) -> str:
    """
    What the stream becomes without any fault; made once.
    """
    key = tuple(plain.segments)
    if key not in _GOLDEN:
        outcome = await plain.run(plain.tweaked(), number=0)
        _GOLDEN[key] = sha256(outcome.output)
        Path(outcome.output).unlink()
        plain.origin.forget()
    return _GOLDEN[key]


@contextmanager
def watching(watch: Any) -> Iterator[None]:  # Any: Twisted calls any function an observer
    """
    Let `watch` see every event of the log.
    """
    globalLogPublisher.addObserver(watch)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(watch)
