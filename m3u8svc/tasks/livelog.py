"""
What a running task has to tell who looks at it: its last lines, and how many bytes came in each of the last seconds.

In memory only and bounded: a task of ten thousand segments has no more of it than one of ten. Lines about single
requests come by the thousand, so they have a place of their own, and do not push out what happened to the task.
"""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from m3u8svc.redact import redact_text
from m3u8svc.tasks.task import Incident, Phase
from m3u8svc.wording import Said, in_english

KEPT = 100
"""How many lines are kept of each kind: those about requests, and the others."""
SECONDS = 120
CHARACTERS = 500

Level = Literal["debug", "info", "warn", "error"]

PHASES: Mapping[Phase, Said] = {
    Phase.SNIFF: Said("查找播放列表", "looking for the playlist"),
    Phase.PLAYLIST: Said("读取分片列表", "reading the list of segments"),
    Phase.DOWNLOAD: Said("下载分片", "downloading segments"),
    Phase.ANALYSE: Said("检查已下载的分片", "checking what was downloaded"),
    Phase.MERGE: Said("生成结果文件", "making the file"),
    Phase.NONE: Said("结束", "done"),
}
"""What begins with each phase."""


@attrs.frozen(kw_only=True)
class Line:
    """
    Something that happened at a moment, in seconds since the epoch, in Chinese and English.
    """

    at: float
    level: Level
    text: str
    text_en: str


@attrs.frozen(kw_only=True)
class Standing:
    """
    How a task stands with a host: its requests under way there, how many at once the host is asked for at most by all
    tasks together, and for how many seconds nobody may ask it, None if somebody may.
    """

    name: str
    connections: int
    limit: int
    paused_for_s: float | None


@attrs.frozen(kw_only=True)
class Live:
    """
    What a task does and did lately: bytes in each of the last seconds, the hosts it asks, its last lines, oldest first,
    and what went wrong with it.
    """

    speeds: tuple[int, ...] = ()
    hosts: tuple[Standing, ...] = ()
    lines: tuple[Line, ...] = ()
    incidents: tuple[Incident, ...] = ()


_Said = tuple[int, float, Level, str]
"""Number, time, level and text of a line as it was given: most are gone before anybody looks, so only what is looked at
is made fit to be shown."""


class LiveLog:
    """
    Of one task, over all its runs. `now` is a monotonic clock in seconds, `wall` the time of day.
    """

    def __init__(self, *, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self._now = now
        self._wall = wall
        self._began = int(now())
        self._numbers = itertools.count()
        self._requests: deque[_Said] = deque(maxlen=KEPT)
        self._others: deque[_Said] = deque(maxlen=KEPT)
        self._seconds: deque[tuple[int, int]] = deque(maxlen=SECONDS + 1)

    def note(self, text: str) -> None:
        """
        A line about a request or a decision, in English.
        """
        self._add(self._requests, "debug", text)

    def say(self, level: Level, text: Said) -> None:
        """
        A line about the task.
        """
        self._add(self._others, level, text)

    def enter(self, phase: Phase) -> None:
        """
        A phase begins.
        """
        self.say("info", PHASES[phase])

    def received(self, size_bytes: int) -> None:
        """
        Bytes arrived.
        """
        second = int(self._now())
        if self._seconds and self._seconds[-1][0] == second:
            size_bytes += self._seconds.pop()[1]
        self._seconds.append((second, size_bytes))

    def lines(self) -> list[Line]:
        """
        The last ones, oldest first.
        """
        said = sorted([*self._requests, *self._others], key=lambda each: each[0])
        return [_line(at, level, text) for _, at, level, text in said]

    def speeds(self) -> list[int]:
        """
        Bytes per second in each of the last seconds that are over, oldest first.
        """
        now, came = int(self._now()), dict(self._seconds)
        return [came.get(second, 0) for second in range(max(self._began, now - SECONDS), now)]

    def _add(self, said: deque[_Said], level: Level, text: str) -> None:
        said.append((next(self._numbers), self._wall(), level, text))


def _line(at: float, level: Level, text: str) -> Line:
    zh, en = (redact_text(each)[:CHARACTERS] for each in (str(text), in_english(text)))
    return Line(at=at, level=level, text=zh, text_en=en)
