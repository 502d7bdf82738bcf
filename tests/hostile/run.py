"""
Hostile segments through the real muxing child, the real checking child and the one that makes pictures, watched by a
canary.

A batch is a handful of segments in one merge, damaged by seed; what it ends in is one word. Every batch ends by itself:
with a file, with a named error, with a child that the service outlives. Anything else is raised.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from m3u8svc.checking import Checks
from m3u8svc.errors import CannotVerify, M3u8svcError
from m3u8svc.hls.media import DEMUXERS, MediaKind
from m3u8svc.merge import Muxing
from m3u8svc.offerings import MediaFile, MergeJob, Part
from m3u8svc.pictures import Footage, Pictures
from m3u8svc.sandbox.level import Box
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.watching import open_footage
from tests.hostile.mutate import mutated
from tests.hostile.watch import MARK, Canary

TASK = Task(id="hostile", spec=TaskSpec(url="http://origin.invalid/list.m3u8", filename="film"))
IN_A_BATCH = 10
PICTURED = 2
"""Of how many segments of a batch a picture is asked for."""
MOST_MEMORY_KB = (3 << 29) // 1024
"""What the address space of a child is limited to."""


@attrs.frozen(kw_only=True)
class Originals:
    """
    Real segments, whole: transport stream, fragments with their init section.
    """

    ts: tuple[bytes, ...]
    fmp4: tuple[bytes, ...]
    init: bytes


class Escape(AssertionError):
    """
    Something got out of the box, or the box was not there.
    """


def make_originals(folder: Path) -> Originals:
    """
    A few seconds of picture and sound, cut both ways by ffmpeg.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "4"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    for kind, extension in (("mpegts", "ts"), ("fmp4", "m4s")):
        cut = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_type", kind]
        named = ["-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", str(folder / f"%d.{extension}")]
        line = [
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-y",
            *sources,
            *codecs,
            *cut,
            *named,
            str(folder / f"{kind}.m3u8"),
        ]
        subprocess.run(line, check=True)
    return Originals(
        ts=tuple(path.read_bytes() for path in sorted(folder.glob("*.ts"))),
        fmp4=tuple(path.read_bytes() for path in sorted(folder.glob("*.m4s"))),
        init=(folder / "init.mp4").read_bytes(),
    )


class Rig:
    """
    One muxer of the real kind, and what it is watched by.
    """

    def __init__(self, *, reactor: Any, in_thread: Any, folder: Path, originals: Originals, canary: Canary) -> None:
        self._folder = folder
        self._originals = originals
        self._canary = canary
        self._in_thread = in_thread
        self._boxes: list[Box] = []
        self._muxing = Muxing(reactor=reactor, in_thread=in_thread, boxed=self._boxes.append)
        self._checks = Checks(self._boxes.append)
        self._pictures = Pictures(self._boxes.append)

    async def batch(self, seed: str) -> str:
        """
        Damaged segments of this seed, merged; then what came out, damaged, checked. Returns what it ended in.

        Raises:
            Escape: the canary was touched, or the box was not whole.
        """
        fragments = seed.endswith("4")
        originals = self._originals.fmp4 if fragments else self._originals.ts
        work = self._folder / f"work-{seed}"
        work.mkdir()
        parts = []
        for number in range(1, IN_A_BATCH + 1):
            whole = originals[number % len(originals)]
            parts.append(self._write(work, number, mutated(whole, f"{seed}/{number}"), "fmp4" if fragments else "ts"))
        if fragments:
            init = work / "init"
            # Now and then it is the init section that is damaged.
            init.write_bytes(mutated(self._originals.init, seed) if seed[-2:-1] in "02468" else self._originals.init)
            parts = [attrs.evolve(part, init=init) for part in parts]
        try:
            return await self.merge(work, parts, seed)
        finally:
            shutil.rmtree(work)

    async def bait(self, name: str, content: bytes, kind: MediaKind, genuine: bool) -> str:
        """
        One file that is something else; `genuine`: between two real segments.
        """
        work = self._folder / "work-bait"
        work.mkdir()
        contents = [self._originals.ts[0], content, self._originals.ts[1]] if genuine else [content]
        kinds: list[MediaKind] = ["ts", kind, "ts"] if genuine else [kind]
        parts = [
            self._write(work, number, each, of)
            for number, (each, of) in enumerate(zip(contents, kinds, strict=True), 1)
        ]
        if kind == "fmp4":
            init = work / "init"
            init.write_bytes(self._originals.init if genuine else content)
            parts = [attrs.evolve(part, init=init) if part.kind == "fmp4" else part for part in parts]
        try:
            return await self.merge(work, parts, name)
        finally:
            shutil.rmtree(work)

    async def merge(self, work: Path, parts: Sequence[MediaFile], seed: str) -> str:
        """
        Merge these, check what came out; returns what it ended in.
        """
        target = self._folder / f".{work.name}.part.mp4"
        job = MergeJob(task=TASK, target=target, sources=(work,), expected_duration_s=float(len(parts)))
        self._boxes.clear()
        for part in parts[:PICTURED]:
            await self._in_thread(self._picture, part, seed)
        try:
            result = await self._muxing.merge(job, _feed(parts), lambda done: None)
        except M3u8svcError as error:
            ended = error.code
        else:
            ended = "merged with warnings" if result.warnings else "merged"
            await self._in_thread(self._check, target, seed)
        target.unlink(missing_ok=True)
        self._insist(ended)
        return ended

    def _picture(self, part: MediaFile, seed: str) -> None:
        if part.kind not in DEMUXERS:
            return
        footage = Footage(path=part.path, demuxer=DEMUXERS[part.kind], init=part.init)
        media, init = open_footage(footage, self._in_thread)
        made = self._pictures.make((seed, part.position, ""), footage, media, init)
        if MARK in made.jpeg:
            raise Escape("the canary is in a picture")

    def _check(self, target: Path, seed: str) -> None:
        content = target.read_bytes()
        if MARK in content:
            raise Escape("the canary is in the result")
        target.write_bytes(mutated(content, f"{seed}/checked"))
        try:
            self._checks.check(target, None, decode=True)
        except CannotVerify:
            return

    def _insist(self, ended: str) -> None:
        touched = self._canary.touched()
        if touched:
            raise Escape(f"{ended}, and the canary was {touched}")
        if not self._boxes or any(box.level != "full" for box in self._boxes):
            raise Escape(f"{ended}, in boxes {self._boxes}")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        if peak > MOST_MEMORY_KB:
            raise Escape(f"{ended}, and a child took {peak} kB")
        left = os.listdir(self._folder)
        if any(".part.mp4" in name for name in left):
            raise Escape(f"{ended}, and left {left}")

    @staticmethod
    def _write(work: Path, number: int, content: bytes, kind: MediaKind) -> MediaFile:
        path = work / f"{number:08d}.{kind}"
        path.write_bytes(content)
        return MediaFile(
            position=number,
            path=path,
            kind=kind,
            duration_s=1.0,
            start_s=float(number - 1),
            size_bytes=len(content),
        )


async def _feed(parts: Sequence[MediaFile]) -> AsyncIterator[Part]:
    for part in parts:
        yield part


def seeds_of(seed: int, count: int) -> list[str]:
    """
    So many damaged segments, in batches: their seeds. Every other one is of fragments.
    """
    batches = -(-count // IN_A_BATCH)
    return [f"{seed}-{number}-{'4' if number % 2 else '2'}" for number in range(batches)]
