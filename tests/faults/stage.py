"""
One job at a time among the faults, in this process: a stream with a known result, an origin, the real tools, and a
clock that runs fast, so that thirty seconds of silence are over in one.
"""

import functools
import hashlib
import os
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent
from zope.interface import directlyProvides, providedBy

from m3u8svc.errors import M3u8svcError
from m3u8svc.job import Job, Outcome, Tools
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.task import CompanionFile, Extensions, Settings, Task, TaskSpec
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import SegmentLine, media_playlist

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
COUNT = 6
ENDS_WITHIN_S = 40.0
PACE = 20.0
"""How many seconds of the job's clock pass in one of ours."""
CANARY = "canary-5fa1c0ffee"
"""A secret that goes out with every request and must turn up in no log."""
_COMPLAINT = re.compile(r"Traceback|Unhandled")


class FastReactor:
    """
    A reactor on which time passes `pace` times as fast; everything else is the real one's.

    Args:
        resolver: who answers for host names, if not the system.
    """

    def __init__(
        self, reactor: Any, pace: float = PACE, resolver: Any = None
    ) -> None:  # Any: a reactor has no one type
        self._reactor = reactor
        self.pace = pace
        if resolver is not None:
            self.nameResolver = resolver
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:  # Any: whatever the reactor has
        return getattr(self._reactor, name)

    def seconds(self) -> float:
        """As IReactorTime says."""
        return float(self._reactor.seconds()) * self.pace

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """As IReactorTime says; the DelayedCall's own times are the real reactor's."""
        return self._reactor.callLater(delay / self.pace, call, *args, **kwargs)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """As IReactorTCP says."""
        return self._reactor.connectTCP(host, port, factory, timeout / self.pace, bindAddress)


class JumpingReactor(FastReactor):
    """
    A reactor whose time can also jump ahead, so that a day is over in a minute: what comes due meanwhile rings at once,
    the rest that much sooner.
    """

    def __init__(self, reactor: Any) -> None:  # Any: no one type is a reactor
        super().__init__(reactor, pace=1.0)
        self._jumped_s = 0.0
        self._calls: set[Any] = set()

    def seconds(self) -> float:
        """As IReactorTime says."""
        return super().seconds() + self._jumped_s

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """As IReactorTime says."""
        delayed = super().callLater(delay, call, *args, **kwargs)
        self._calls = {each for each in self._calls if each.active()} | {delayed}
        return delayed

    def jump(self, seconds: float) -> None:
        """
        Let so much time pass at once.
        """
        self._jumped_s += seconds
        now = self._reactor.seconds()
        for delayed in [each for each in self._calls if each.active()]:
            delayed.reset(max(0.0, delayed.getTime() - now - seconds))


class Records:
    """
    A journal of a job that remembers.
    """

    def __init__(self) -> None:
        self.rows: list[SegmentRow] = []
        self.output_id = ""
        self.reports: dict[str, Report] = {}
        self.warnings: tuple[str, ...] = ()

    def segment(self, row: SegmentRow) -> None:
        """Remember it."""
        self.rows.append(row)

    async def playlist_text(self) -> str:
        """There is none."""
        return ""

    async def reported(self, output_id: str, report: Report) -> None:
        """Remember it."""
        self.reports[output_id] = report

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """Remember it."""
        self.output_id = output_id
        self.warnings = tuple(warnings)


@attrs.frozen(kw_only=True)
class Stage:
    """
    What a test of one row works with.
    """

    origin: Origin
    tools: Tools
    save: Path
    segments: Sequence[bytes] = attrs.field(repr=False)
    golden: str
    """SHA-256 of the file that all segments make."""
    pace: float = PACE
    records: Records = attrs.field(factory=Records)
    said: list[str] = attrs.field(factory=list)
    """Every event of Twisted's log."""

    def task(self, url: str, *, number: int = 1, extensions: Extensions | None = None, **settings: Any) -> Task:
        """
        A task for this URL, or path of the origin.
        """
        spec = TaskSpec(
            url=url if "://" in url else self.origin.url(url),
            filename=f"film{number}",
            headers={"X-Auth-Token": (CANARY,)},
            settings=Settings(save_location=str(self.save), debug_log=True, **settings),
            extensions=extensions or Extensions(),
        )
        return Task(id=f"task{number}", spec=spec)

    def job(self, task: Task, ledger: Sequence[SegmentRow] = ()) -> Job:
        """
        A run of it.
        """
        return Job(task, self.tools, self.records, ledger)

    async def run(self, url: str, **settings: Any) -> Outcome:
        """
        Run a task to its end, the work directory included.
        """
        job = self.job(self.task(url, **settings))
        outcome = await job.run()
        await job.clean_up()
        return outcome

    async def fails(self, url: str, **settings: Any) -> str:
        """
        Run a task that must fail; its code.
        """
        job = self.job(self.task(url, **settings))
        try:
            outcome = await job.run()
        except M3u8svcError as error:
            await job.discard()
            self.nothing_left()
            return error.code
        raise AssertionError(f"it did not fail: {outcome}")

    async def makes_the_film(self, url: str, **settings: Any) -> Outcome:
        """
        Run a task whose result must be the golden file, byte for byte, each segment stored once (I1, I2, I3).
        """
        outcome = await self.run(url, **settings)
        assert self.golden == sha256(outcome.output)
        stored = sorted(row.position for row in self.records.rows if row.outcome == "done")
        assert list(range(1, len(stored) + 1)) == stored
        self.nothing_left(Path(outcome.output).name)
        return outcome

    def nothing_left(self, *names: str) -> None:
        """
        Nothing is in the save directory but these and debug logs, no child runs, no secret was told (I3, I5).
        """
        left = {name for name in os.listdir(self.save) if not name.endswith(".debug.log")}
        assert set(names) == left
        assert [] == muxers()
        self.quiet()

    def quiet(self) -> None:
        """
        No traceback and no secret in any log (I5).
        """
        logs = [path.read_text() for path in self.save.glob("*.debug.log")] + self.said
        assert [] == [text for text in logs if CANARY in text or _COMPLAINT.search(text)]

    def put_list(self, lines: Sequence[SegmentLine], path: str = "/list.m3u8", **options: Any) -> str:
        """
        Serve a media playlist of these lines.
        """
        self.origin.put(path, media_playlist(lines, **options).encode(), content_type="application/vnd.apple.mpegurl")
        return path

    def lines(self, tweaks: Mapping[int, str] | None = None, everywhere: str = "") -> list[SegmentLine]:
        """
        The stream's segments; `tweaks` of some by number, from 0, or of all.
        """
        tweaks = tweaks or {}
        return [SegmentLine(uri=f"{n}.ts?{tweaks.get(n, everywhere)}", duration_s=1.0) for n in range(COUNT)]

    def tweaked(self, tweaks: Mapping[int, str] | None = None, everywhere: str = "") -> str:
        """
        Serve the stream with such tweaks; the playlist's path.
        """
        return self.put_list(self.lines(tweaks, everywhere))

    def counts(self) -> list[int]:
        """
        How often each segment was asked for.
        """
        return [self.origin.count(f"/{number}.ts") for number in range(COUNT)]

    def whole(self) -> list[int]:
        """
        How often each segment was sent as it is, whole.
        """
        return [
            sum(visit.finished and visit.status in (200, 206) for visit in self.origin.visits(f"/{number}.ts"))
            for number in range(COUNT)
        ]

    async def until(self, holds: Callable[[], object], within_s: float = 10.0) -> None:
        """
        Wait until it is so; fail after `within_s` of our seconds.
        """
        for _ in range(int(within_s * 100)):
            if holds():
                return
            await deferLater(self.origin.reactor, 0.01)
        raise AssertionError("it did not happen in time")

    def watch(self, event: LogEvent) -> None:
        """
        An observer of Twisted's log.
        """
        self.said.append(formatEvent(event) + repr(event.get("log_failure", "")))


async def stopped(running: "Deferred[Any]") -> None:
    """
    Cancel a run, and wait until it is over.
    """
    running.cancel()
    with suppress(CancelledError):
        await running


def within(seconds: float) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., "Deferred[None]"]]:
    """
    Makes a test of a coroutine function, which fails when it does not end: a hang is what no fault may cause.
    """

    def make(claim: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., "Deferred[None]"]:
        @pytest_twisted.inlineCallbacks
        @functools.wraps(claim)
        def run(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield Deferred.fromCoroutine(claim(*args, **kwargs)).addTimeout(seconds, reactor)

        return run  # type: ignore[no-any-return]  # pytest_twisted has no types

    return make


test = within(ENDS_WITHIN_S)
test.__test__ = False  # type: ignore[attr-defined]  # its name is no claim


def sha256(path: Path | str) -> str:
    """
    Of a file.
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def muxers() -> list[int]:
    """
    The muxing children of this process.
    """
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    found = []
    for pid in listed:
        with suppress(OSError):
            if b"m3u8svc.mux" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def sockets() -> int:
    """
    How many sockets this process has open.
    """
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found
