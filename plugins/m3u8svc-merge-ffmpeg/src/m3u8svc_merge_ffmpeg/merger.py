"""
The merger itself: parts in, one verified and synced file out, or an error and nothing.
"""

import errno
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore

from m3u8svc.plugin import (
    DiskError,
    DiskFull,
    Gap,
    M3u8svcError,
    MediaFile,
    MergeError,
    MergeJob,
    MergeProgress,
    MergeResult,
    Part,
    Said,
    Services,
    Task,
    settled,
)
from m3u8svc_merge_ffmpeg.child import ENVIRONMENT, PROGRESS_FD, Ending, FfmpegChild, boxed
from m3u8svc_merge_ffmpeg.feed import Feed
from m3u8svc_merge_ffmpeg.options import Options, Rules, command_arguments, parse_options
from m3u8svc_merge_ffmpeg.program import Program
from m3u8svc_merge_ffmpeg.settings import FfmpegSettings

PLUGIN = "merge-ffmpeg"
PROBE_S = 120.0
SAID_CHARS = 300
TOLERANCE_S = 2.0
TOLERANCE_SHARE = 0.02
_DEMUXERS = {"mkv": "matroska", "mp4": "mp4", "ts": "mpegts", "mp3": "mp3", "m4a": "mp4"}

R = TypeVar("R")


@attrs.frozen(kw_only=True)
class Probe:
    """
    What ffprobe saw in the finished file; `duration_s` None when it could not tell.
    """

    duration_s: float | None
    streams: int


class FfmpegMerger:
    """
    Runs ffmpeg, at most `max_children` at once; others wait their turn with their segments on disk.
    """

    name = "ffmpeg"

    def __init__(self, *, program: Program, settings: FfmpegSettings, rules: Rules, services: Services) -> None:
        self._program = program
        self._settings = settings
        self._rules = rules
        self._services = services
        self._slots = DeferredSemaphore(settings.max_children)

    def extension(self, task: Task) -> str:
        """
        That of the format the request asks for.
        """
        return self._options(task).target.extension

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target`.

        Raises:
            MergeError: the program failed, or one pipe cannot carry this stream correctly.
            DiskFull: there is no room for the result.
            DiskError: a file cannot be used. Whichever it is, nothing is at the target.
        """
        options = self._options(job.task)
        await self._slots.acquire()
        try:
            return await self._merge(attrs.evolve(job, target=job.target.absolute()), options, parts, progress)
        finally:
            self._slots.release()

    def _options(self, task: Task) -> Options:
        return parse_options(task.options_for(PLUGIN), self._rules)

    async def _merge(
        self, job: MergeJob, options: Options, parts: AsyncIterator[Part], progress: MergeProgress
    ) -> MergeResult:
        finished = False
        try:
            await self._in_thread(_remove, job.target)  # of a run that was killed
            run = _Run(self._command(job, options), job, self._settings, self._services, progress)
            ending = await run.carry_out(parts)
            complaint = _complaint(ending, job.target)
            result = await self._verified(job, options, run.feed, ending)
            finished = True
            return attrs.evolve(result, warnings=(*run.feed.warnings, *result.warnings, *complaint))
        except OSError as error:
            raise disk_error(error, job.target) from error
        finally:
            if not finished:
                await self._in_thread(_remove, job.target)

    def _command(self, job: MergeJob, options: Options) -> "Callable[[str], list[str]]":
        def command(input_format: str) -> list[str]:
            arguments = command_arguments(
                options,
                input_format=input_format,
                target=job.target,
                faststart=job.faststart,
                file_time=job.file_time,
                progress_fd=PROGRESS_FD,
            )
            return self._boxed(self._program.ffmpeg, *arguments)

        return command

    def _boxed(self, program: str, *arguments: str) -> list[str]:
        return boxed(program, arguments, nice=self._settings.nice, memory_mb=self._settings.memory_mb)

    async def _verified(self, job: MergeJob, options: Options, feed: Feed, ending: Ending) -> MergeResult:
        """Look at the finished file, make it durable."""
        size = await self._in_thread(_sync, job.target)
        if not size:
            raise MergeError(reason=Said("ffmpeg 没有写出任何数据", "ffmpeg has written nothing"))
        duration_s = ending.out_time_s
        if self._program.ffprobe:
            probe = await self._probe(job.target, options)
            if not probe.streams:
                raise MergeError(reason=Said("合并结果中没有音视频流", "the result has neither sound nor picture"))
            duration_s = duration_s if probe.duration_s is None else probe.duration_s
        expected_s = job.expected_duration_s - feed.missing_s
        warnings = []
        if expected_s > 0 and abs(duration_s - expected_s) > max(TOLERANCE_S, expected_s * TOLERANCE_SHARE):
            warnings.append(
                Said(
                    f"合并结果时长 {duration_s:.1f} 秒，播放列表为 {expected_s:.1f} 秒",
                    f"the result lasts {duration_s:.1f} s, the playlist says {expected_s:.1f} s",
                )
            )
        return MergeResult(size_bytes=size, duration_s=duration_s, warnings=tuple(warnings))

    async def _probe(self, target: Path, options: Options) -> Probe:
        question = ("-v", "error", "-protocol_whitelist", "file", "-f", _DEMUXERS[options.format])
        answer = ("-show_entries", "format=duration:stream=codec_type", "-of", "json", f"file:{target}")
        command = self._boxed(self._program.ffprobe, *question, *answer)
        return await self._in_thread(_run_probe, command, target)

    async def _in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        result: R = await self._services.in_thread(function, *arguments)
        return result


class _Run:
    """
    One process and what feeds it. The process is started with the first segment, which says what it will read.
    """

    def __init__(
        self,
        command: Callable[[str], list[str]],
        job: MergeJob,
        settings: FfmpegSettings,
        services: Services,
        progress: MergeProgress,
    ) -> None:
        self._command = command
        self._job = job
        self._settings = settings
        self._in_thread = services.in_thread
        self._clock = services.clock
        self._reactor = services.reactor
        self._progress = progress
        self._child: FfmpegChild | None = None
        self._feeding: Deferred[None] | None = None
        self._cut_short = False
        self._position = 0
        self.feed = Feed()

    async def carry_out(self, parts: AsyncIterator[Part]) -> Ending:
        """
        Feed everything and wait for the end of the process. However this ends, the process is gone.

        Raises:
            MergeError: it ended otherwise than it should have.
            DiskFull: because there was no room.
        """
        self._feeding = Deferred.fromCoroutine(self._feed_all(parts))
        try:
            await self._feeding
        except CancelledError:
            if not self._cut_short:
                raise
        finally:
            await settled(Deferred.fromCoroutine(self._end(parts)))
        assert self._child is not None and self._child.ending is not None  # fed to the end, and gone
        ending = self._child.ending
        if problem := _problem(ending, self._position, cut_short=self._cut_short, target=self._job.target):
            raise problem
        return ending

    async def _feed_all(self, parts: AsyncIterator[Part]) -> None:
        done = 0
        async for part in parts:
            match part:
                case Gap():
                    self.feed.skip(part)
                case MediaFile():
                    await self._feed_one(part)
            done += 1
            self._progress(done)
        if self._child is None:
            raise MergeError(reason=Said("分片中没有可用的音视频", "the segments have no usable sound or picture"))
        await self._child.finish()

    async def _feed_one(self, part: MediaFile) -> None:
        self._position = part.position
        await self._in_thread(self.feed.begin, part)
        if self._child is None:
            self._child = self._started()
        while chunk := await self._in_thread(self.feed.read):
            await self._child.send(chunk)

    def _started(self) -> FfmpegChild:
        child = FfmpegChild(clock=self._clock, silence_s=self._settings.silence_s, on_end=self._ended_early)
        child.start(self._reactor, self._command(self.feed.input_format))
        return child

    def _ended_early(self) -> None:
        if self._feeding is not None and not self._feeding.called:
            self._cut_short = True
            self._feeding.cancel()

    async def _end(self, parts: AsyncIterator[Part]) -> None:
        self._feeding = None
        if self._child is not None:
            self._child.kill()
            await self._child.gone()
        self.feed.close()
        close = getattr(parts, "aclose", None)  # generators have it, other iterators need not
        if close is not None:
            await close()


def _problem(ending: Ending, position: int, *, cut_short: bool, target: Path) -> M3u8svcError | None:
    """
    Why there is no file, None when there is one. What it printed is bounded, and redacted by the error's own text.
    """
    said = _said(ending, target)
    zh, en = (f"，位置：第 {position} 个分片", f" at segment {position}") if cut_short else ("", "")
    if "No space left on device" in ending.said or "Disk quota exceeded" in ending.said:
        return DiskFull(path=str(target.parent))
    if ending.hung:
        how = Said("ffmpeg 没有反应，已被终止", "ffmpeg gave no sign of life and was ended")
        said = Said("", "")
    elif ending.signal_name:
        how = Said(f"ffmpeg 被信号 {ending.signal_name} 终止", f"ffmpeg was ended by {ending.signal_name}")
    elif ending.status != 0:
        how = Said(f"ffmpeg 退出状态 {ending.status}", f"ffmpeg ended with status {ending.status}")
    elif cut_short:
        how = Said("ffmpeg 提前结束", "ffmpeg ended early")
    else:
        return None
    return MergeError(reason=Said(f"{how}{zh}{said}", f"{how.en}{en}{said.en}"))


def disk_error(error: OSError, target: Path) -> M3u8svcError:
    """
    What the system said of a file, as the service says it.
    """
    path = str(error.filename or target.parent)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(path=path)
    return DiskError(path=path, reason=error.strerror or type(error).__name__)


def _complaint(ending: Ending, target: Path) -> tuple[Said, ...]:
    """What it complained of although it made a file."""
    said = _said(ending, target)
    return (Said(f"ffmpeg 报告{said}", f"ffmpeg says{said.en}"),) if said else ()


def _said(ending: Ending, target: Path) -> Said:
    """What it printed, behind a colon; "" if it printed nothing."""
    text = ending.said.replace(str(target), target.name)
    lines = [re.sub(r" @ 0x[0-9a-f]+", "", line).strip() for line in text.splitlines()]
    joined = "; ".join(dict.fromkeys(line for line in lines if line))
    if not joined:
        return Said("", "")
    short = joined if len(joined) <= SAID_CHARS else "…" + joined[1 - SAID_CHARS :]
    return Said(f"：{short}", f": {short}")


def _remove(target: Path) -> None:
    target.unlink(missing_ok=True)


def _sync(target: Path) -> int:
    """Make the file durable; its size."""
    with target.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _run_probe(command: list[str], target: Path) -> Probe:
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False, env=dict(ENVIRONMENT)
        )
    except subprocess.TimeoutExpired:
        raise MergeError(
            reason=Said(f"ffprobe {PROBE_S:.0f} 秒内没有给出结果", f"ffprobe has no answer within {PROBE_S:.0f} s")
        ) from None
    if ran.returncode != 0:
        said = ran.stderr.decode("utf-8", "replace").replace(str(target), target.name).strip()
        shown = said[-SAID_CHARS:]
        raise MergeError(reason=Said(f"合并结果无法读取：{shown}", f"the result cannot be read: {shown}"))
    seen: Any = json.loads(ran.stdout)  # JSON
    duration = seen.get("format", {}).get("duration")
    return Probe(duration_s=None if duration is None else float(duration), streams=len(seen.get("streams", [])))
