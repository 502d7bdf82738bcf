"""
The muxing child as the service sees it: started, fed, watched, boxed.

libav runs in a child process only (DESIGN 5.5). `Muxing.merge` starts one at once, so that its start-up hides behind
the first segment, hands it the paths of finished segments as they come, and turns its reports into a result. Media
never passes through here.

Parts of all tracks come in one stream and go on in that order. The child reads ahead of what it needs only while the
track it needs has nothing (it is `hungry` then): so a window of unread parts is enough for any number of tracks.

Parts are remembered, they are small: when a child dies by a signal, a new one is fed again from the first part and
writes the same bytes. Twice dead at the same segment, that segment is replaced by a gap; anything else is an error. On
every way out but success the child is gone and nothing is left at the target or beside it.
"""

import contextlib
import errno
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.childwords import Nonsense, companions_of, details_of, most_bytes, said_of, seconds, text, track_of, whole
from m3u8svc.errors import (
    CheckpointLost,
    DiskFull,
    MergeError,
    MergerDied,
    NoMedia,
    VerifyError,
    from_os_error,
)
from m3u8svc.handing import Hand
from m3u8svc.hls.cuts import Cuts
from m3u8svc.hls.playlist import MAIN
from m3u8svc.nofollow import Folder
from m3u8svc.offerings import Checkpoint, Companion, Gap, LowDisk, MediaFile, MergeJob, MergeProgress, MergeResult, Part
from m3u8svc.redact import escape_controls
from m3u8svc.reins import BEGIN_BYTES, Allowance, hold
from m3u8svc.sandbox.level import Box, read_box
from m3u8svc.waiting import InThread, settled
from m3u8svc.wording import Said, in_english, joined, said

CHILD_MODULE = "m3u8svc.mux"
HANDING_FD = 3
"""Where the child has its end of a `Hand`."""
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
    companions: tuple[Companion, ...] = ()
    details: dict[str, Any] = attrs.field(factory=dict)  # Any: JSON


@attrs.frozen(kw_only=True)
class Failed:
    """The child says that there will be no file; `fault` is its word for the cause, `errno` the system's, or 0."""

    fault: str
    reason: str
    errno: int = 0


@attrs.frozen(kw_only=True)
class Died:
    """
    The child ended without a word. `signalled`: by a signal; `position`: the segment of `track` it was reading, 0 for
    none.
    """

    how: str
    signalled: bool
    position: int
    track: str = MAIN


Outcome = Done | Failed | Died
"""How one child ended."""


@attrs.frozen(kw_only=True)
class Warned:
    """Something the child says of a segment; `position` 0: of the whole track."""

    track: str
    position: int
    text: Said


class Script:
    """
    The parts of one merge, pulled from their iterator no further than the child needs, and remembered for a replay.
    """

    def __init__(self, source: AsyncIterator[Part], low_disk: LowDisk | None = None) -> None:
        self._source = source
        self._low_disk = low_disk
        self._cuts = None if low_disk is None else attrs.evolve(low_disk.cuts, splices=dict(low_disk.cuts.splices))
        self.parts: list[Part] = []
        self.cuts: dict[int, Cuts] = {}
        """Before which parts (from 0) there is a cut, and how the cutting went on from there."""
        self.begin = 0
        """The part to begin with: those before it are behind a checkpoint."""
        self.poisoned = False
        """Whether a segment was replaced."""
        self.complete = False
        self._wanted = 0
        self._more: Deferred[None] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when `parts` or `complete` changed."""

    def low_disk_fields(self) -> dict[str, object]:
        """What a child's job says of checkpoints."""
        if self._low_disk is None:
            return {}
        return {"journal": os.path.abspath(self._low_disk.journal), "merged": self.merged}

    @property
    def merged(self) -> int:
        """How many of all parts are behind a checkpoint."""
        return self.begin + (0 if self._low_disk is None else self._low_disk.merged)

    def cut_at(self, index: int) -> int:
        """How many of all parts there are before the part `index`, where a cut is."""
        assert self._low_disk is not None
        return index + self._low_disk.merged

    def pass_cut(self, parts: int, size_bytes: int, *, made: bool) -> None:
        """The child has come to a cut."""
        assert self._low_disk is not None
        index = parts - self._low_disk.merged
        checkpoint = Checkpoint(parts=parts, size_bytes=size_bytes, made=made, cuts=self.cuts[index])
        if made:
            self.begin = index
        self._low_disk.passed(checkpoint)

    def want(self, count: int) -> None:
        """Pull until there are `count` parts."""
        self._wanted = max(self._wanted, count)
        if self._more is not None and len(self.parts) < self._wanted:
            waiting, self._more = self._more, None
            waiting.callback(None)

    def replace(self, track: str, position: int) -> None:
        """Put a gap in the place of the segment at `position` of `track`."""
        self.poisoned = True
        for index, part in enumerate(self.parts):
            if (part.track, part.position) == (track, position) and isinstance(part, MediaFile):
                self.parts[index] = Gap(
                    track=track,
                    position=position,
                    duration_s=part.duration_s,
                    start_s=part.start_s,
                    discontinuity_sequence=part.discontinuity_sequence,
                    reason="poison",
                    keep=True,
                    last=part.last,
                )

    def _cut_before(self, part: Part) -> None:
        if self._cuts is None:
            return
        if self._cuts.comes_before(is_main=part.track == MAIN):
            self._cuts.cut()
            self.cuts[len(self.parts)] = attrs.evolve(self._cuts, splices=dict(self._cuts.splices))
        self._cuts.add(
            track=part.track,
            splice=part.discontinuity_sequence,
            size_bytes=part.size_bytes if isinstance(part, MediaFile) else 0,
            last=part.last,
        )

    async def pull(self) -> None:
        """Pull parts as they are wanted, until there are no more."""
        try:
            async for part in self._source:
                self._cut_before(part)
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

    def __init__(
        self,
        *,
        reactor: Any,
        job: MergeJob,
        script: Script,
        on_taken: MergeProgress,
        boxed: Callable[[Box], None] = lambda box: None,
        allowance: Allowance | None = None,
    ) -> None:
        # reactor is Any: zope interfaces do not combine into one type
        self._reactor = reactor
        self.hand: Hand | None = None
        """Makes further files for it, where its job may need some."""
        self._boxed = boxed
        self._allowance = allowance or Allowance()
        self._unheld: tuple[str, ...] = ()
        self._job = job
        self._script = script
        self._on_taken = on_taken
        self._begin = script.begin
        self._sent: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._heard = 0
        self._hungry_for: str | None = None
        self._ended = False
        self._closing = False
        self._is_boxed = False
        self._reading = (MAIN, 0)
        self._line = b""
        self._said = 0
        self._tracks = frozenset(track.track for track in job.tracks)
        self._stderr = b""
        self._watch: Any = None  # IDelayedCall
        self._killer: Any = None  # IDelayedCall
        self._hung = False
        self._raves = False
        self.warnings: list[Warned] = []
        self._spans: list[dict[str, Any]] = []  # Any: JSON
        self._lost: list[dict[str, Any]] = []  # Any: JSON
        self._report: Done | Failed | None = None
        self.outcome: Deferred[Outcome] = Deferred()
        """Fires once, when the process is gone."""

    def connectionMade(self) -> None:
        """The child was started: tell it its job and what is there already."""
        self._hold()
        self._write(
            op="job",
            target=os.path.abspath(self._job.target),
            faststart=self._job.faststart,
            file_time=self._job.file_time,
            expected_duration_s=self._job.expected_duration_s,
            tracks=[attrs.asdict(track) for track in self._job.tracks],
            on_param_change=self._job.on_param_change,
            subtitle_files=self._job.subtitle_files,
            sources=None if self._job.sources is None else [os.path.abspath(path) for path in self._job.sources],
            handed=self.hand is not None,
            **self._script.low_disk_fields(),
        )
        self.pump()

    def pump(self) -> None:
        """Send what the child may have."""
        parts = self._script.parts
        may_have = self._begin + max(self._taken.total(), self._heard) + WINDOW
        self._script.want(may_have)
        sent = self._begin + self._sent.total()
        for index, part in enumerate(parts[sent:may_have], sent):
            if index > self._begin and index in self._script.cuts:
                self._cut(self._script.cut_at(index))
            self._sent[part.track] += 1
            self._allowance = self._allowance.and_part(part)
            self._write(**_order(part))
            if part.last:
                self._write(op="track_end", track=part.track)
        if self._script.complete and self._begin + self._sent.total() == len(parts) and not self._ended:
            self._ended = True
            self._write(op="end")
        if self._begin + self._sent.total() > sent:
            self._hold()
        self._watch_over()

    def _hold(self) -> None:
        pid = getattr(self.transport, "pid", None)
        if pid is not None:
            self._unheld = hold(pid, self._allowance)

    def _cut(self, parts: int) -> None:
        """
        Have a checkpoint made here. Not once a segment was replaced: what is said of it would not outlive this service.
        """
        if self._script.poisoned:
            self._script.pass_cut(parts, 0, made=False)
        else:
            self._write(op="cut", parts=parts)

    def stop(self) -> None:
        """End the process, politely first. `outcome` fires when it is gone."""
        if self.outcome.called or self._killer is not None:
            return
        self._signal("TERM")
        self._killer = self._reactor.callLater(TERM_S, self._signal, "KILL")

    def outReceived(self, data: bytes) -> None:
        """Reports, a line each. What follows nonsense is not listened to, nor is what came before it believed."""
        if self._raves:
            return
        *lines, self._line = (self._line + data).split(b"\n")
        self._said += len(data)
        if len(self._line) > MAX_LINE_BYTES or self._said > most_bytes(self._sent.total()):
            lines, self._line = [b""], b""
        for line in lines:
            try:
                self._hear(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
                self.log.warn("the muxing child talks nonsense: {line}", line=escape_controls(repr(line[:200])))
                self._raves = True
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
        self.outcome.callback(self._death(reason) if self._raves or self._report is None else self._report)

    def _hear(self, report: dict[str, Any]) -> None:  # Any: JSON
        match report["ev"]:
            case "box":
                if self._is_boxed:  # by then it has read media, and may be somebody else's
                    raise Nonsense("boxed twice")
                self._is_boxed = True
                self._boxed(read_box(report, self._unheld))
            case "make":
                if self.hand is None:
                    raise Nonsense("nothing is handed over")
                self.hand.make(text(report, "suffix"))
            case "open":
                self._reading = (track_of(report, self._tracks), whole(report, "n"))
                self._hungry_for = None
            case "seg":
                self._take(track_of(report, self._tracks))
            case "hungry":
                self._hungry_for, self._heard = track_of(report, self._tracks), whole(report, "heard")
                if self._heard > self._sent.total():
                    raise Nonsense(f"{self._heard} heard of {self._sent.total()}")
                self.pump()
            case "warn":
                track, position = track_of(report, self._tracks), whole(report, "n")
                self.warnings.append(Warned(track=track, position=position, text=said_of(report, "text")))
            case "lost":
                place = {"track": track_of(report, self._tracks), "n": whole(report, "n")}
                self._lost.append({**place, "reason": said_of(report, "reason")})
            case "span":
                place = {"track": track_of(report, self._tracks), "n": whole(report, "n")}
                times = {"from": seconds(report, "from"), "to": seconds(report, "to")}
                self._spans.append({**place, "file": whole(report, "file"), **times})
            case "checkpoint":
                if self._job.low_disk is None:
                    raise Nonsense("no checkpoints are wanted")
                self._script.pass_cut(whole(report, "parts"), whole(report, "size"), made=bool(report["made"]))
            case "closing":
                self._closing = True
            case "done":
                self._report = self._as_done(report)
            case "failed":
                number = whole(report, "errno", 0)
                self._report = Failed(fault=text(report, "fault"), reason=said_of(report, "reason"), errno=number)
            case "ready" | "alive":
                pass
            case other:
                raise Nonsense(f"report {other!r}")

    def _take(self, track: str) -> None:
        """A part was read to its end."""
        self._taken[track] += 1
        if self._taken[track] > self._sent[track]:
            raise Nonsense(f"more of {track} was read than there is")
        self._on_taken(self._begin + self._taken.total())
        self.pump()

    def _as_done(self, report: dict[str, Any]) -> Done:  # Any: JSON
        return Done(
            size_bytes=whole(report, "size"),
            duration_s=seconds(report, "dur"),
            companions=companions_of(report, self._job.target),
            details={**details_of(report), "spans": self._spans, "lost": self._lost},
        )

    def _death(self, reason: Failure) -> Died:
        track, position = self._reading
        error = reason.value
        number = error.signal if isinstance(error, ProcessTerminated) else None
        if self._hung:
            how = Said(f"{SILENCE_S:.0f} s 无响应", f"no sign of life for {SILENCE_S:.0f} s")
            return Died(how=how, signalled=True, position=position, track=track)
        if number is not None:
            return Died(how=signal.Signals(number).name, signalled=True, position=position, track=track)
        status = 0 if isinstance(error, ProcessDone) else getattr(error, "exitCode", None)
        return Died(how=f"exit {status}", signalled=False, position=position, track=track)

    def _watch_over(self) -> None:
        """Start the watchdog anew, or stop it while the child has nothing to do."""
        if self._watch is not None and self._watch.active():
            self._watch.cancel()
        if not self.outcome.called and (self._has_work() or self._ended):
            self._watch = self._reactor.callLater(CLOSING_S if self._closing else SILENCE_S, self._silent)

    def _has_work(self) -> bool:
        """Whether it has something to read for the track it needs."""
        if self._hungry_for is not None:
            return self._sent[self._hungry_for] > self._taken[self._hungry_for]
        return self._sent.total() > self._taken.total()

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
    place = {
        "track": part.track,
        "number": part.position,
        "duration_s": part.duration_s,
        "splice": part.discontinuity_sequence,
    }
    if isinstance(part, Gap):
        return {"op": "gap", **place, "keep": part.keep}
    return {
        "op": "seg",
        **place,
        "start_s": part.start_s,
        "path": os.path.abspath(part.path),
        "kind": part.kind,
        "init": None if part.init is None else os.path.abspath(part.init),
    }


class Muxing:
    """
    Makes MP4 files in child processes, at most `max_children` at once.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        in_thread: InThread,
        max_children: int = 3,
        boxed: Callable[[Box], None] = lambda box: None,
    ) -> None:
        """
        Args:
            boxed: told of the box of every child.
        """
        # reactor is Any: zope interfaces do not combine into one type
        self._boxed = boxed
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
        script = Script(parts, job.low_disk)
        pulling = _Background(script.pull())
        useless = True
        try:
            result = await self._until_done(job, script, pulling, _Monotonic(progress))
            useless = False
            return result
        except BaseException as error:
            # Behind a checkpoint the target is all there is, and a merge that only was interrupted goes on from it.
            useless = script.merged == 0 or isinstance(error, MergeError)
            raise
        finally:
            try:
                await pulling.stop()
            finally:  # also when cancelled a second time
                if useless:
                    await self._drop(job.target)

    async def _drop(self, target: Path) -> None:
        """Remove what is of no use; where that cannot be done, why the merge ended counts more."""
        try:
            await settled(self._in_thread(_remove, target))
        except OSError as error:
            self.log.warn("{target} cannot be removed: {reason}", target=target.name, reason=error.strerror)

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
        deaths: list[tuple[str, int]] = []
        poisoned: list[dict[str, object]] = []
        notes: list[Warned] = []
        while True:
            if not script.merged:
                await self._clear(job.target)
            outcome, warnings = await self._run_child(job, script, pulling, progress)
            match outcome:
                case Done():
                    return MergeResult(
                        size_bytes=outcome.size_bytes,
                        duration_s=outcome.duration_s,
                        warnings=_texts(notes + warnings),
                        companions=outcome.companions,
                        details={**outcome.details, "poisoned": poisoned},
                    )
                case Failed():
                    raise _as_error(outcome, job.target)
                case Died(how=how, signalled=signalled, position=position, track=track):
                    if not signalled or len(deaths) >= DEATHS:
                        raise MergerDied(how=how, position=position)
                    if position and (track, position) in deaths:
                        script.replace(track, position)
                        poisoned.append({"track": track, "n": position})
                        zh = "合并进程两次在此退出（{how}），按缺失处理"
                        en = "the merge process died here twice ({how}); taken as missing"
                        notes.append(Warned(track=track, position=position, text=said(zh, en, how=how)))
                    deaths.append((track, position))
                    self.log.warn(
                        "the muxing child died ({how}) at segment {position} of {track}, feeding it again",
                        how=in_english(how),
                        position=position,
                        track=track,
                        target=job.target.name,
                    )

    async def _run_child(
        self, job: MergeJob, script: Script, pulling: "_Background", progress: MergeProgress
    ) -> tuple[Outcome, list[Warned]]:
        """One child from start to end. Whatever ends this, the process is gone afterwards."""
        begun = await self._size(job.target) if script.merged else 0
        child = Child(
            reactor=self._reactor,
            job=job,
            script=script,
            on_taken=progress,
            boxed=self._boxed,
            allowance=Allowance(file_bytes=BEGIN_BYTES + begun),
        )
        self._start(child, job)
        script.changed = child.pump
        gone = _Watched(child.outcome)
        try:
            pulling.on_failure(gone.fail)
            return await gone.wait(), child.warnings
        finally:
            script.changed = lambda: None
            child.stop()
            try:
                await gone.end()
            finally:
                if child.hand is not None:
                    await child.hand.close()

    def _start(self, child: Child, job: MergeJob) -> None:
        argv = [sys.executable, "-I", "-u", "-m", CHILD_MODULE, str(os.getpid())]
        descriptors: dict[int, int | str] = {0: "w", 1: "r", 2: "r"}
        try:
            if job.on_param_change == "split" or job.subtitle_files:
                child.hand = Hand(job.target, in_thread=self._in_thread, failed=child.stop)
                descriptors[HANDING_FD] = child.hand.theirs.fileno()
            # No `path`: with one Twisted forks, and the copy of our page tables takes 10 to 30 ms of the reactor.
            self._reactor.spawnProcess(child, sys.executable, argv, env={"LC_ALL": "C.UTF-8"}, childFDs=descriptors)
        except OSError as error:
            if child.hand is not None:
                child.hand.let_go()
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise from_os_error(error, job.target.parent) from error
            raise MergerDied(how=f"cannot be started: {error.strerror}", position=0) from error
        if child.hand is not None:
            child.hand.theirs.close()

    async def _size(self, target: Path) -> int:
        """How large the file is that a merge goes on with."""
        try:
            size: int = await settled(self._in_thread(os.path.getsize, target))
        except OSError:
            return 0
        return size


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
    """Remove the target and the files that were made beside it."""
    beside = re.compile(re.escape(target.name) + r"(\.(p[0-9]+|.*\.(vtt|srt)))?")
    with contextlib.suppress(FileNotFoundError), Folder.at(target.parent) as folder:
        for name in folder.names():
            if beside.fullmatch(name):
                folder.remove_ours(name)


def _texts(warnings: list[Warned]) -> tuple[Said, ...]:
    """
    Warnings as people read them, in order of track and position, each once; what is beyond `MOST_WARNINGS` is counted.
    """
    ordered = list(dict.fromkeys(sorted(warnings, key=lambda each: (each.track != MAIN, each.track, each.position))))
    texts = [_text(each) for each in ordered[:MOST_WARNINGS]]
    if len(ordered) > MOST_WARNINGS:
        more = len(ordered) - MOST_WARNINGS
        texts.append(Said(f"另有 {more} 条警告", f"{more} more warnings"))
    return tuple(texts)


def _text(warned: Warned) -> Said:
    track, n = "" if warned.track == MAIN else warned.track, warned.position
    segment = Said(f"第 {n} 个分片", f"segment {n}") if n else ""
    place = joined((each for each in (track, segment) if each), zh=" ", en=" ")
    return said("{place}：{text}", "{place}: {text}", place=place, text=warned.text) if place else warned.text


def _as_error(failed: Failed, target: Path) -> Exception:
    match failed.fault:
        case "no_media":
            return NoMedia()
        case "disk_full":
            return DiskFull(path=str(target.parent))
        case "disk_error":
            return from_os_error(OSError(failed.errno, failed.reason), str(target.parent))
        case "checkpoint_lost":
            return CheckpointLost(reason=failed.reason)
        case "verify_failed":
            return VerifyError(reason=failed.reason)
    return MergeError(reason=failed.reason)
