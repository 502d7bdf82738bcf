"""
Where a running task stands, counted as things happen and read as one `Progress` whenever somebody wants to know.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from m3u8svc.tasks.livelog import LiveLog
from m3u8svc.tasks.pace import SpeedWindow, percent, status_bar
from m3u8svc.tasks.task import Phase, Progress


class Tracker:
    """
    Counts for one run of one task. `now` is a monotonic clock in seconds; `percent` never falls below its floor, which
    is what earlier runs had reached; `live` is told of phases and bytes.
    """

    def __init__(self, now: Callable[[], float], *, floor_percent: int = 0, live: LiveLog | None = None) -> None:
        self._now = now
        self._live = live
        self._percent = floor_percent
        self._window = SpeedWindow(now())
        self.phase = Phase.NONE
        self.segments_total = 0
        self.segments_done = 0
        self.size_bytes = 0
        self._reasons: list[Callable[[], str | None]] = []
        self.waits_for = ""
        """What the end of the download waits for, for people; "" while it does not."""

    @property
    def sleeping(self) -> int:
        """How many workers wait for their time."""
        return sum(why() is not None for why in self._reasons)

    @contextmanager
    def asleep(self, why: Callable[[], str | None]) -> Iterator[None]:
        """
        One of the workers waits for its time meanwhile; `why` tells for what, for people, "" if it is nothing to tell,
        None as long as it only waits for others to be done.
        """
        reason = partial(why)  # each its own, to be found again
        self._reasons.append(reason)
        try:
            yield
        finally:
            self._reasons.remove(reason)

    def _waits_for(self) -> str:
        closed = dict.fromkeys(filter(None, (why() for why in self._reasons)))
        if self.phase is Phase.DOWNLOAD:
            closed[self.waits_for] = None
        return "、".join(filter(None, closed))

    def enter(self, phase: Phase) -> None:
        """
        A phase begins.
        """
        self.phase = phase
        self._window = SpeedWindow(self._now())
        if self._live is not None:
            self._live.enter(phase)

    def begin(self, *, total: int) -> None:
        """
        The plan is known, or carried out once more: so many segments are wanted, and none was counted yet.
        """
        self.segments_total = total
        self.segments_done = 0
        self.size_bytes = 0

    def adopt(self, *, size_bytes: int) -> None:
        """
        A segment of an earlier run is there: it counts for progress, not for speed.
        """
        self.segments_done += 1
        self.size_bytes += size_bytes

    def lost(self, *, size_bytes: int) -> None:
        """
        A segment that was counted is wanted again.
        """
        self.segments_done -= 1
        self.size_bytes -= size_bytes

    def received(self, size_bytes: int) -> None:
        """
        Bytes arrived.
        """
        self._window.add(self._now(), size_bytes=size_bytes)
        if self._live is not None:
            self._live.received(size_bytes)

    def finished(self, *, size_bytes: int) -> None:
        """
        A segment is on disk, or was left out (0 bytes).
        """
        self.segments_done += 1
        self.size_bytes += size_bytes
        self._window.add(self._now(), segments=1)

    def snapshot(self, *, published: bool = False) -> Progress:
        """
        All of it, now.
        """
        now = self._now()
        moving = self.phase is Phase.DOWNLOAD
        speed = self._window.speed(now) if moving else 0.0
        eta_s = self._window.eta_s(now, self.segments_total - self.segments_done) if moving else None
        reached = percent(fetched=self.segments_done, total=self.segments_total, published=published)
        self._percent = max(self._percent, reached)
        return Progress(
            percent=self._percent,
            phase=self.phase,
            status_bar=status_bar(
                self.phase, speed=speed, eta_s=eta_s, sleeping=self.sleeping, waits_for=self._waits_for()
            ),
            speed=speed,
            eta_s=eta_s,
            segments_done=self.segments_done,
            segments_total=self.segments_total,
            size_bytes=self.size_bytes,
        )
