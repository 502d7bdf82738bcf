"""
One job in the foreground: what it remembers between runs, and the reactor it runs in.
"""

import fcntl
import json
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: the reactor, which is a module that stands for an object

import attrs

from m3u8svc.cli import words
from m3u8svc.cli.display import Display, say
from m3u8svc.errors import M3u8svcError, from_os_error
from m3u8svc.tasks.task import CompanionFile, Task
from m3u8svc.wording import packed, unpacked

if TYPE_CHECKING:  # Twisted is imported once there is something to run
    from m3u8svc.hls.outline import Outline
    from m3u8svc.tasks.completeness import Report
    from m3u8svc.tasks.ledger import SegmentRow
    from m3u8svc.waiting import InThread

EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_INTERRUPTED = 130


class State:
    """
    What one download remembers between runs, in a directory of its own that one process at a time may use. What is
    known counts only while it answers what is asked now: the same segments, and kept ones if they are wanted.
    """

    def __init__(self, directory: Path, lock: int, *, skip: str, keep_ts: bool) -> None:
        self._file = directory / "state.json"
        self._lock = lock
        self.known: dict[str, str] = {}
        try:
            self.known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}  # none yet, or not ours: the work directory is the truth, this only saves work
        if self.known.get("skip", skip) != skip:
            self.known = {}  # another film than the one that is there
        if keep_ts and not self.known.get("kept"):
            self.known = {}  # the film may be there, but its segments are not
        self.known["skip"] = skip
        self._kept = "yes" if keep_ts else ""

    @classmethod
    def held(cls, directory: Path, *, skip: str, keep_ts: bool) -> "State":
        """
        The state, locked; ends the process with status 75 if another one has it.
        """
        from m3u8svc.places import make_directory

        try:
            make_directory(directory, 0o700)  # with its parents: the service wants them its owner's alone, too
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = from_os_error(error, directory).text(words.language())
            say(f"m3u8svc: {words.GET_NO_STATE.said(reason=reason)}")
            raise SystemExit(EXIT_FAILED) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            say(f"m3u8svc: {words.GET_LOCKED.said()}")
            raise SystemExit(EXIT_LOCKED) from None
        return cls(directory, lock, skip=skip, keep_ts=keep_ts)

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def finished_file(self) -> str | None:
        """
        Where the finished file is, if it is still the one that was verified.
        """
        from m3u8svc.places import file_identity

        output = self.known.get("output")
        try:
            same = output is not None and file_identity(Path(output)) == self.known.get("output_id")
        except OSError:
            return None
        return output if same else None

    def remember(self, **news: str) -> None:
        """
        Durably add to what is known. Blocking; a few hundred bytes.
        """
        self.known.update(news)
        part = self._file.with_suffix(".part")
        with open(part, "w", encoding="utf-8", opener=_private) as file:
            json.dump(self.known, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._file)

    def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """
        Remember a file that is about to be renamed into place, whose segments are kept by now if they shall be.
        """
        beside = json.dumps([attrs.asdict(each) for each in companions])
        self.remember(
            output_id=output_id, companions=beside, kept=self._kept, warnings="\n".join(map(packed, warnings))
        )


@attrs.frozen(kw_only=True)
class Journal:
    """
    What a job records, into `state`: written in a thread, since the disk may take its time.
    """

    state: State
    in_thread: "InThread"
    playlist: str = attrs.field(default="", repr=False)

    def segment(self, row: "SegmentRow") -> None:
        """Nothing to do: the work directory lists what is there."""

    async def playlist_text(self) -> str:
        """What was read from a file or the standard input instead of a URL."""
        return self.playlist

    async def reported(self, output_id: str, report: "Report") -> None:
        """Kept nowhere but beside the file, if that is wanted."""

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """The file is about to be renamed into place."""
        from m3u8svc.waiting import settled

        await settled(self.in_thread(self.state.staged, output_id, companions, warnings))

    async def published(self, output: str) -> None:
        """The file has its name."""
        from m3u8svc.waiting import settled

        await settled(self.in_thread(self.state.remember, output=output))


@attrs.frozen(kw_only=True)
class Ending:
    """
    How it went: an exit status and a last line, and the same for programs.
    """

    status: int = EXIT_INTERRUPTED
    line: str = attrs.field(factory=words.GET_INTERRUPTED.said)
    facts: Mapping[str, Any] = attrs.field(factory=lambda: {"event": "interrupted"})


Work = Callable[["Foreground"], Coroutine[Any, Any, Ending]]
"""What is done while the reactor runs."""


def run(work: Work, *, threads: int = 0) -> Ending:
    """
    `work` inside a reactor of its own, which runs once in the life of a process. `threads` is how many connections a
    download may have, 0 for what is best.
    """
    from twisted.internet import reactor

    from m3u8svc.tap import use_monotonic_clock

    use_monotonic_clock(reactor)
    foreground = Foreground(reactor, work, threads)
    reactor.callWhenRunning(foreground.start)
    reactor.addSystemEventTrigger("before", "shutdown", foreground.stop)
    reactor.run()
    return foreground.ending


class Foreground:
    """
    Work in the foreground: started with the reactor, cancelled when the reactor is told to stop, ends it when done.
    """

    def __init__(self, reactor: Any, work: Work, threads: int) -> None:
        from m3u8svc.tap import disk_threads, make_tools
        from m3u8svc.tasks.concurrency import Ceilings

        self._in_thread, self._stop_threads = disk_threads(reactor)
        self._tools, self._close_connections = make_tools(
            reactor, self._in_thread, ceilings=Ceilings().at_least(threads)
        )
        self._reactor = reactor
        self._work = work
        self._running: Any = None
        self.stopping = False
        """Whether Ctrl-C or a signal said to end."""
        self.ending = Ending()

    def start(self) -> None:
        """
        Begin.
        """
        import gc

        from twisted.internet.defer import Deferred

        gc.freeze()  # what starting made is not looked through again, neither now and then nor when the process ends
        gc.enable()
        self._running = Deferred.fromCoroutine(self._whole())

    def stop(self) -> Any:
        """
        The reactor is about to stop: cancel what runs, and let it wait until that has ended.
        """
        self.stopping = True
        if self._running is not None:
            self._running.cancel()
        return self._running

    async def outline(self, task: Task, playlist: str) -> "Outline":
        """
        What a task would be.

        Raises:
            M3u8svcError: it could not be downloaded either, and why.
        """
        from m3u8svc.planning import plan_task

        return await plan_task(task, self._tools, playlist)

    async def download(self, task: Task, state: State, shown: Display, *, playlist: str = "") -> Ending:
        """
        One job, and how it went; raises nothing. `playlist` is what is read instead of the task's URL.
        """
        from twisted.internet.defer import CancelledError
        from twisted.internet.task import LoopingCall

        from m3u8svc.job import Job
        from m3u8svc.waiting import log_failure

        journal = Journal(state=state, in_thread=self._in_thread, playlist=playlist)
        job = Job(_with_past(task, state.known), self._tools, journal)
        looking = LoopingCall(lambda: shown.update(job.progress()))
        looking.start(0.1).addErrback(lambda failure: log_failure("the display", failure))
        try:
            outcome = await job.run()
            await journal.published(outcome.output)
            await job.clean_up()
            shown.close(outcome.warnings)
            return Ending(
                status=0,
                line=words.GET_DONE.said(path=outcome.output, size=outcome.size_bytes),
                facts={"event": "done", "output": outcome.output, "size": outcome.size_bytes},
            )
        except CancelledError:
            return Ending()  # Ctrl-C: the ending says so already
        except M3u8svcError as error:
            return failed(error)
        except Exception as error:  # a bug of ours: one line for the user, the traceback in the log
            log_failure("get")
            name = type(error).__name__
            line = words.GET_FAILED.said(code="internal", text=name)
            return Ending(
                status=EXIT_FAILED,
                line=line,
                facts={"event": "failed", "code": "internal", "error": name, "advice": ""},
            )
        finally:
            if looking.running:  # not after a bug in the display
                looking.stop()
            shown.close(())

    async def _whole(self) -> None:
        from twisted.internet.defer import CancelledError

        from m3u8svc.waiting import log_failure

        try:
            self.ending = await self._work(self)
        except CancelledError:
            pass
        except Exception as error:  # as above, outside of a job
            log_failure("get")
            line = words.GET_FAILED.said(code="internal", text=type(error).__name__)
            self.ending = Ending(status=EXIT_FAILED, line=line, facts={"event": "failed", "code": "internal"})
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        try:
            await self._close_connections()
            self._stop_threads()
        finally:  # whatever failed: a process that never ends helps nobody
            if not self.stopping:
                self._reactor.stop()


def failed(error: M3u8svcError) -> Ending:
    """
    The end of what an error ended.
    """
    language = words.language()
    facts = {"event": "failed", "code": error.code, "error": error.text(language), "advice": _advice(error)}
    return Ending(status=EXIT_FAILED, line=failure_line(error), facts=facts)


def failure_line(error: M3u8svcError) -> str:
    """
    What went wrong with its code, and on a line of its own what can be done about it.
    """
    line = words.GET_FAILED.said(code=error.code, text=error.text(words.language()))
    advice = _advice(error)
    return f"{line}\n{words.ADVICE.said(text=advice)}" if advice else line


def _advice(error: M3u8svcError) -> str:
    """
    What can be done about it here, where there is no task and no service.
    """
    ours = words.GET_ADVICE.get(error.code)
    return ours.said() if ours else error.advice(words.language())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _with_past(task: Task, known: Mapping[str, str]) -> Task:
    """
    The task with what an earlier run may have published, and said about it.
    """
    warnings = tuple(map(unpacked, known.get("warnings", "").splitlines()))
    companions = tuple(CompanionFile(**each) for each in json.loads(known.get("companions", "[]")))
    return attrs.evolve(task, output_id=known.get("output_id", ""), companions=companions, warnings=warnings)
