"""
The muxing child as the service sees it: started, fed, watched, boxed.

libav runs in a child process only (DESIGN 5.5). `Muxing.merge` starts one at once, so that its start-up hides behind
the first segment, hands it the paths of finished segments as they come, and turns its reports into a result. Media
never passes through here.

Parts are remembered, they are small: when a child dies by a signal, a new one is fed again from the first part and
writes the same bytes. Twice dead at the same segment, that segment is replaced by a gap; anything else is an error. On
every way out but success the child is gone and nothing is left at the target.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.errors import DiskError, DiskFull, MergeError, MergerDied, NoMedia, VerifyError, from_os_error
from m3u8svc.offerings import Gap, MediaFile, MergeJob, MergeProgress, MergeResult, Part
from m3u8svc.redact import escape_controls
from m3u8svc.waiting import InThread, settled

CHILD_MODULE = "m3u8svc.mux"
TRACK = "main"
WINDOW = 64
"""How many parts the child may have before it has read them: the pipe holds no more."""
SILENCE_S = 60.0
"""A child that has work and says nothing for this long hangs."""
CLOSING_S = 900.0
"""The same while it finishes the file: a slow disk takes its time over an fsync of many gigabytes."""
TERM_S = 0.5
"""A signal between fork and exec is lost in the copy of our own handler: then SIGKILL has to do it."""
DEATHS = 8
"""How many deaths by signal one merge survives."""
MOST_WARNINGS = 500
"""So many warnings are kept with a task; a stream that earns more is broken as a whole."""
MAX_LINE_BYTES = 64 * 1024
STDERR_BYTES = 16 * 1024


@attrs.frozen(kw_only=True)
class Done:
    """The child finished, verified and synced the file."""

    size_bytes: int
    duration_s: float


@attrs.frozen(kw_only=True)
class Failed:
    """The child says that there will be no file; `fault` is its word for the cause."""

    fault: str
    reason: str


@attrs.frozen(kw_only=True)
class Died:
    """The child ended without a word. `signalled`: by a signal; `position`: the segment it was reading, 0 for none."""

    how: str
    signalled: bool
    position: int


Outcome = Done | Failed | Died
"""How one child ended."""


class Script:
    """
    The parts of one merge, pulled from their iterator no further than the child needs, and remembered for a replay.
    """

    def __init__(self, source: AsyncIterator[Part]) -> None:
        self._source = source
        self.parts: list[Part] = []
        self.complete = False
        self._wanted = 0
        self._more: Deferred[None] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when `parts` or `complete` changed."""

    def want(self, count: int) -> None:
        """Pull until there are `count` parts."""
        self._wanted = max(self._wanted, count)
        if self._more is not None and len(self.parts) < self._wanted:
            waiting, self._more = self._more, None
            waiting.callback(None)

    def replace(self, position: int) -> None:
        """Put a gap in the place of the segment at `position`."""
        for index, part in enumerate(self.parts):
            if part.position == position and isinstance(part, MediaFile):
                self.parts[index] = Gap(
                    position=position,
                    duration_s=part.duration_s,
                    discontinuity_sequence=part.discontinuity_sequence,
                    reason="poison",
                    keep=True,
                )

    async def pull(self) -> None:
        """Pull parts as they are wanted, until there are no more."""
        try:
            async for part in self._source:
                self.parts.append(part)
                self.changed()
                while len(self.parts) >= self._wanted:
                    self._more = Deferred()
                    await self._more
        finally:
            close = getattr(self._source, "aclose", None)  # generators have it, other iterators need not
            if close is not None:
                await close()
        self.complete = True
        self.changed()


class Child(ProcessProtocol):
    """
    One muxing child: its pipe, its reports, its end.
    """

    log = Logger()

    def __init__(self, *, reactor: Any, job: MergeJob, script: Script, on_taken: MergeProgress) -> None:
        # reactor is Any: zope interfaces do not combine into one type
        self._reactor = reactor
        self._job = job
        self._script = script
        self._on_taken = on_taken
        self._sent = 0
        self._taken = 0
        self._ended = False
        self._closing = False
        self._position = 0
        self._line = b""
        self._stderr = b""
        self._watch: Any = None  # IDelayedCall
        self._killer: Any = None  # IDelayedCall
        self._hung = False
        self.warnings: list[tuple[int, str]] = []
        self._report: Done | Failed | None = None
        self.outcome: Deferred[Outcome] = Deferred()
        """Fires once, when the process is gone."""

    def connectionMade(self) -> None:
        """The child was started: tell it its job and what is there already."""
        self._write(
            op="job",
            target=os.path.abspath(self._job.target),
            faststart=self._job.faststart,
            file_time=self._job.file_time,
            expected_duration_s=self._job.expected_duration_s,
        )
        self.pump()

    def pump(self) -> None:
        """Send what the child may have."""
        self._script.want(self._taken + WINDOW)
        parts = self._script.parts
        while self._sent < len(parts) and self._sent - self._taken < WINDOW:
            self._write(**_order(parts[self._sent]))
            self._sent += 1
        if self._script.complete and self._sent == len(parts) and not self._ended:
            self._ended = True
            self._write(op="end")
        self._watch_over()

    def stop(self) -> None:
        """End the process, politely first. `outcome` fires when it is gone."""
        if self.outcome.called or self._killer is not None:
            return
        self._signal("TERM")
        self._killer = self._reactor.callLater(TERM_S, self._signal, "KILL")

    def outReceived(self, data: bytes) -> None:
        """Reports, a line each."""
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > MAX_LINE_BYTES:
            lines, self._line = [b""], b""
        for line in lines:
            try:
                self._hear(json.loads(line))
            except (ValueError, KeyError, TypeError):
                self.log.warn("the muxing child talks nonsense: {line}", line=escape_controls(repr(line[:200])))
                self._signal("KILL")
                return
        self._watch_over()

    def errReceived(self, data: bytes) -> None:
        """What libraries print; the beginning is kept for the debug log."""
        self._stderr += data[: STDERR_BYTES - len(self._stderr)]

    def processEnded(self, reason: Failure) -> None:
        """The process is gone and its pipes are read to the end."""
        for timer in (self._watch, self._killer):
            if timer is not None and timer.active():
                timer.cancel()
        if self._stderr:
            text = escape_controls(self._stderr.decode("utf-8", "replace"))
            self.log.debug("the muxing child printed: {text}", text=text)
        self.outcome.callback(self._report or self._death(reason))

    def _hear(self, report: dict[str, Any]) -> None:  # Any: JSON
        match report["ev"]:
            case "open":
                self._position = int(report["n"])
            case "seg":
                self._taken += 1
                self._on_taken(self._taken)
                self.pump()
            case "warn":
                self.warnings.append((int(report["n"]), str(report["text"])))
            case "closing":
                self._closing = True
            case "done":
                self._report = Done(size_bytes=int(report["size"]), duration_s=float(report["dur"]))
            case "failed":
                self._report = Failed(fault=str(report["fault"]), reason=str(report["reason"]))

    def _death(self, reason: Failure) -> Died:
        error = reason.value
        number = error.signal if isinstance(error, ProcessTerminated) else None
        if self._hung:
            return Died(how=f"{SILENCE_S:.0f} s 无响应", signalled=True, position=self._position)
        if number is not None:
            return Died(how=signal.Signals(number).name, signalled=True, position=self._position)
        status = 0 if isinstance(error, ProcessDone) else getattr(error, "exitCode", None)
        return Died(how=f"exit {status}", signalled=False, position=self._position)

    def _watch_over(self) -> None:
        """Start the watchdog anew, or stop it while the child has nothing to do."""
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        if not self.outcome.called and (self._sent > self._taken or self._ended):
            self._watch = self._reactor.callLater(CLOSING_S if self._closing else SILENCE_S, self._silent)

    def _silent(self) -> None:
        self._hung = True
        self._signal("KILL")

    def _signal(self, name: str) -> None:
        # It may be gone already: its end is reported by processEnded all the same.
        with contextlib.suppress(Exception):
            self.transport.signalProcess(name)  # type: ignore[union-attr]  # set by spawnProcess

    def _write(self, **order: object) -> None:
        if self.transport is not None:
            self.transport.write(json.dumps(order).encode() + b"\n")


def _order(part: Part) -> dict[str, object]:
    if isinstance(part, Gap):
        return {
            "op": "gap",
            "track": TRACK,
            "number": part.position,
            "duration_s": part.duration_s,
            "splice": part.discontinuity_sequence,
            "keep": part.keep,
        }
    return {
        "op": "seg",
        "track": TRACK,
        "number": part.position,
        "path": os.path.abspath(part.path),
        "kind": part.kind,
        "duration_s": part.duration_s,
        "splice": part.discontinuity_sequence,
        "init": None if part.init is None else os.path.abspath(part.init),
    }


class Muxing:
    """
    Makes MP4 files in child processes, at most `max_children` at once.
    """

    log = Logger()

    def __init__(self, *, reactor: Any, in_thread: InThread, max_children: int = 3) -> None:
        # reactor is Any: zope interfaces do not combine into one type
        self._reactor = reactor
        self._in_thread = in_thread
        self._slots = DeferredSemaphore(max_children)

    async def merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        """
        Write `job.target` from `parts`; return when it is complete, verified and synced.

        Raises:
            NoMedia: nothing in the parts could be muxed.
            DiskFull, DiskError: the disk does not take it.
            VerifyError: what was written is not what was read.
            MergerDied: the child ended in a way that a replay does not cure.
            MergeError: one MP4 cannot hold this.
        """
        await self._slots.acquire()
        try:
            return await self._merge(job, parts, progress)
        finally:
            self._slots.release()

    async def _merge(self, job: MergeJob, parts: AsyncIterator[Part], progress: MergeProgress) -> MergeResult:
        script = Script(parts)
        pulling = _Background(script.pull())
        finished = False
        try:
            result = await self._until_done(job, script, pulling, _Monotonic(progress))
            finished = True
            return result
        finally:
            try:
                await pulling.stop()
            finally:  # also when cancelled a second time
                if not finished:
                    await settled(self._in_thread(_remove, job.target))

    async def _clear(self, target: Path) -> None:
        """Remove what an earlier attempt left behind."""
        try:
            await settled(self._in_thread(_remove, target))
        except OSError as error:
            raise from_os_error(error, target) from error

    async def _until_done(
        self, job: MergeJob, script: Script, pulling: "_Background", progress: MergeProgress
    ) -> MergeResult:
        """One child after the other, until one is done or there is no sense in going on."""
        deaths: list[int] = []
        notes: list[tuple[int, str]] = []
        while True:
            await self._clear(job.target)
            outcome, warnings = await self._run_child(job, script, pulling, progress)
            match outcome:
                case Done(size_bytes=size, duration_s=duration):
                    return MergeResult(size_bytes=size, duration_s=duration, warnings=_texts(notes + warnings))
                case Failed():
                    raise _as_error(outcome, job.target)
                case Died(how=how, signalled=signalled, position=position):
                    if not signalled or len(deaths) >= DEATHS:
                        raise MergerDied(how=how, position=position)
                    if position and position in deaths:
                        script.replace(position)
                        notes.append((position, f"合并进程两次在此退出（{how}），按缺失处理"))
                    deaths.append(position)
                    self.log.warn(
                        "the muxing child died ({how}) at segment {position}, feeding it again",
                        how=how,
                        position=position,
                        target=job.target.name,
                    )

    async def _run_child(
        self, job: MergeJob, script: Script, pulling: "_Background", progress: MergeProgress
    ) -> tuple[Outcome, list[tuple[int, str]]]:
        """One child from start to end. Whatever ends this, the process is gone afterwards."""
        child = Child(reactor=self._reactor, job=job, script=script, on_taken=progress)
        argv = [sys.executable, "-I", "-u", "-m", CHILD_MODULE, str(os.getpid())]
        try:
            self._reactor.spawnProcess(child, sys.executable, argv, env={"LC_ALL": "C.UTF-8"}, path="/")
        except OSError as error:
            raise MergerDied(how=f"cannot be started: {error.strerror}", position=0) from error
        script.changed = child.pump
        gone = _Watched(child.outcome)
        try:
            pulling.on_failure(gone.fail)
            return await gone.wait(), child.warnings
        finally:
            script.changed = lambda: None
            child.stop()
            await gone.end()


class _Watched:
    """
    Waits for a Deferred that must not be cancelled (a process's end), interruptible by `fail`.
    """

    def __init__(self, source: Deferred[Outcome]) -> None:
        self._waiter: Deferred[Outcome] = Deferred()
        self._ended: Deferred[None] = Deferred()
        source.addCallback(self._end)

    def _end(self, result: Outcome) -> None:
        self._ended.callback(None)
        if not self._waiter.called:
            self._waiter.callback(result)

    def fail(self, failure: Failure) -> None:
        """Stop waiting with this failure."""
        if not self._waiter.called:
            self._waiter.errback(failure)

    async def wait(self) -> Outcome:
        """The result; raises what `fail` was given."""
        return await self._waiter

    async def end(self) -> None:
        """Return when the source has fired, whatever happens meanwhile."""
        await settled(self._ended)


class _Background:
    """
    A coroutine that runs beside us: its failure is handed on, and it can be stopped and waited for.
    """

    def __init__(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        self._failure: Failure | None = None
        self._listener: Callable[[Failure], None] = lambda failure: None
        self._stopping = False
        self._deferred: Deferred[None] = Deferred.fromCoroutine(coroutine)
        self._deferred.addErrback(self._failed)

    def on_failure(self, listener: Callable[[Failure], None]) -> None:
        """Call `listener` when the coroutine fails; at once if it has."""
        self._listener = listener
        if self._failure is not None:
            listener(self._failure)

    async def stop(self) -> None:
        """Cancel it and return when it has ended."""
        self._stopping = True
        self._listener = lambda failure: None
        self._deferred.cancel()
        await settled(self._deferred)

    def _failed(self, failure: Failure) -> None:
        self._failure = failure
        if not self._stopping:
            self._listener(failure)


class _Monotonic:
    """
    Progress that does not go back while a new child catches up.
    """

    def __init__(self, progress: MergeProgress) -> None:
        self._progress = progress
        self._most = 0

    def __call__(self, parts_done: int) -> None:
        if parts_done > self._most:
            self._most = parts_done
            self._progress(parts_done)


def _remove(target: Path) -> None:
    target.unlink(missing_ok=True)


def _texts(warnings: list[tuple[int, str]]) -> tuple[str, ...]:
    """Warnings as people read them, in order of position, each once; what is beyond `MOST_WARNINGS` is counted."""
    ordered = list(dict.fromkeys(sorted(warnings, key=lambda warning: warning[0])))
    texts = [f"第 {number} 个分片：{text}" if number else text for number, text in ordered[:MOST_WARNINGS]]
    if len(ordered) > MOST_WARNINGS:
        texts.append(f"另有 {len(ordered) - MOST_WARNINGS} 条警告")
    return tuple(texts)


def _as_error(failed: Failed, target: Path) -> Exception:
    match failed.fault:
        case "no_media":
            return NoMedia()
        case "disk_full":
            return DiskFull(path=str(target.parent))
        case "disk_error":
            return DiskError(path=str(target.parent), reason=failed.reason)
        case "verify_failed":
            return VerifyError(reason=failed.reason)
    return MergeError(reason=failed.reason)
