"""
low_disk: a film of a hundred megabytes is never on disk twice, and kill -9 at any instant costs nothing but what was in
flight.

A real service runs as a child against an origin in this process. A thread looks at what the save directory holds all
the while. Where it is killed is drawn from a seed; ``M3U8SVC_SEED`` repeats a run.
"""

import json
import os
import random
import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from m3u8svc.testing.origin import Origin
from tests.integration.life_child import CONNECTIONS, SEED, Asked, Life, _sha256, _wait_for, reactor

SECONDS = 48
KILLS = 6
"""One in each stretch of the film."""


@attrs.define(kw_only=True)
class LowDiskLife(Life):
    """
    A life whose tasks let go of their segments.
    """

    async def add(self, *, delay_s: float, **fields: object) -> Asked:
        """A task of the large stream."""
        name = f"film-{len(self.asked)}"
        text = self.playlists["large"].format(task=name, delay_s=delay_s)
        self.origin.put(f"/{self.folder.name}/{name}.m3u8", text.encode())
        url = self.origin.url(f"/{self.folder.name}/{name}.m3u8")
        body = {"url": url, "filename": name, "advanced": True, "download_threads": CONNECTIONS, **fields}
        status, answer = await self.api("POST", body=body)
        assert 200 == status, answer
        asked = Asked(id=answer["id"], name=name, stream="large", keep=False, seen=len(self.origin.visits()))
        self.asked.append(asked)
        return asked

    def finished(self, asked: Asked) -> set[int]:
        """Also those that were let go of."""
        if self.file(asked).exists():
            return set(range(1, SECONDS + 1))
        return super().finished(asked) | set(range(1, self.merged(asked) + 1))

    def merged(self, asked: Asked) -> int:
        """How many segments are behind a checkpoint, or in the result."""
        if self.file(asked).exists():
            return SECONDS
        try:
            parts: int = json.loads((self.save / ".m3u8svc" / asked.id / "merged.json").read_bytes())["parts"]
        except FileNotFoundError:
            return 0
        return parts


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred megabytes of noise with a tone, in segments of a second."""
    folder = tmp_path_factory.mktemp("large")
    noise = ("-f", "rawvideo", "-video_size", "320x180", "-pixel_format", "yuv420p", "-framerate", "25")
    line = [
        *("ffmpeg", "-v", "error", "-nostdin", *noise, "-t", SECONDS, "-i", "/dev/urandom"),
        *("-f", "lavfi", "-t", SECONDS, "-i", "sine=f=440:r=44100", "-c:v", "libx264", "-preset", "ultrafast"),
        *("-qp", "14", "-g", "25", "-sc_threshold", "0", "-c:a", "aac", "-f", "hls", "-hls_time", "0.9"),
        *("-hls_list_size", "0", "-hls_segment_filename", folder / "%05d.ts", folder / "index.m3u8"),
    ]
    subprocess.run(list(map(str, line)), check=True, timeout=240)
    return folder


@pytest_twisted.async_yield_fixture(scope="module")
async def origin() -> AsyncIterator[Origin]:
    """The origin of all lives."""
    origin = await Origin.start(reactor)
    yield origin
    await origin.stop()


def make_life(folder: Path, origin: Origin, large: Path) -> LowDiskLife:
    """A life whose stream is below a path of its own."""
    for file in large.glob("*.ts"):
        origin.put(f"/{folder.name}/large/{file.name}", file.read_bytes(), content_type="video/mp2t")
    text = (large / "index.m3u8").read_text()
    text = re.sub(r"(?m)^(\d+\.ts)$", r"large/\1?task={task}&delay={delay_s}", text)
    return LowDiskLife(folder=folder, origin=origin, playlists={"large": text})


class Watch:
    """
    How much a directory held at most. `at` is what it held when.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._over = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        """Look again and again."""
        while not self._over.wait(0.003):
            self.peak_bytes = max(self.peak_bytes, _held(self._place))

    @contextmanager
    def looking(self) -> Iterator[None]:
        """In a thread of its own."""
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def _held(place: Path) -> int:
    """The bytes of all files below a place, each once however many names it has."""
    sizes: dict[int, int] = {}
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


@pytest.mark.parametrize("low_disk", [True, False])
@pytest_twisted.ensureDeferred
async def test_peak(low_disk: bool, origin: Origin, large: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With low_disk at most 1.1 x the output and what is in flight are on disk; without, twice the output is."""
    life = make_life(tmp_path_factory.mktemp("peak"), origin, large)
    watch = Watch(life.save)
    try:
        await life.start()
        with watch.looking():
            asked = await life.add(delay_s=0.05, low_disk=low_disk)
            await life.until(lambda states: {"已完成"} == set(states.values()), seconds=120)
        size = life.file(asked).stat().st_size
        _, task = await life.api("GET", f"?id={asked.id}")
        assert [] == [text for text in task["warnings"] if "low_disk" in text]
    finally:
        await life.end()
    largest = max(file.stat().st_size for file in large.glob("*.ts"))
    print(f"low_disk={low_disk} output={size} peak={watch.peak_bytes} factor={watch.peak_bytes / size:.3f}")
    assert size > 90_000_000
    if low_disk:
        assert watch.peak_bytes <= 1.1 * size + CONNECTIONS * largest
    else:
        assert watch.peak_bytes > 1.9 * size
    shutil.rmtree(life.folder)


@pytest_twisted.ensureDeferred
async def test_killed_at_any_instant(origin: Origin, large: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After every kill a restart fetches nothing that was on disk or merged, and ends with the undisturbed bytes."""
    undisturbed = make_life(tmp_path_factory.mktemp("undisturbed"), origin, large)
    try:
        await undisturbed.start()
        asked = await undisturbed.add(delay_s=0, low_disk=True)
        await undisturbed.until(lambda states: {"已完成"} == set(states.values()), seconds=120)
        golden = _sha256(undisturbed.file(asked))
    finally:
        await undisturbed.end()
    life = make_life(tmp_path_factory.mktemp("killed"), origin, large)
    dice = random.Random(f"{SEED}/low_disk")
    life.story.append(f"M3U8SVC_SEED={SEED}")
    print(life.story[0])
    merged = []
    try:
        await life.start()
        asked = await life.add(delay_s=0.2, low_disk=True)
        band = SECONDS // KILLS
        for some in [first + dice.randrange(band) for first in range(1, SECONDS - 1, band)]:
            await life.kill(lambda some=some: len(life.finished(asked)) >= some, dice.uniform(0, 0.2))
            merged.append(life.merged(asked))
            life.story.append(f"killed at {some}: {merged[-1]} merged, {life.merged_bytes(asked)} bytes")
            print(life.story[-1])
            await life.start()
        await life.until(lambda states: {"已完成"} == set(states.values()), seconds=120)
        life.judge(asked)
        await deferToThread(_wait_for, lambda: not (life.save / ".m3u8svc").exists(), 5)
        _, task = await life.api("GET", f"?id={asked.id}")
        assert [] == task["warnings"], life.story
        assert "Traceback" not in life.child.output, life.child.output
    finally:
        await life.end()
    assert merged == sorted(merged) and len(set(merged)) > 2, life.story
    assert golden == _sha256(life.file(asked)), life.story
    assert [f"{asked.name}.mp4"] == os.listdir(life.save)
    shutil.rmtree(life.folder)
    shutil.rmtree(undisturbed.folder)
