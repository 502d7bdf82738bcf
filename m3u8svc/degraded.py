"""
What is wrong with the service as a whole while it goes on working: said in the log, on the page, by the command line
and at /api/health, until it is over. A restored database is such a thing, a backup that fails, a store that cannot be
reached. What is wrong with one task is with that task.
"""

from collections.abc import Awaitable, Callable

import attrs
from twisted.logger import Logger

from m3u8svc.boxwatch import BoxWatch
from m3u8svc.errors import M3u8svcError
from m3u8svc.sandbox.level import Box


@attrs.frozen(kw_only=True)
class Reason:
    """
    One thing that is wrong, and since when, in seconds since the epoch.
    """

    error: M3u8svcError
    since: float


class Degraded:
    """
    The reasons there are now, by what they are about.
    """

    log = Logger()

    def __init__(
        self, *, wall: Callable[[], float], probe: Callable[[], Awaitable[None]], boxes: BoxWatch | None = None
    ) -> None:
        """
        Args:
            wall: the time of day, in seconds since the epoch.
            probe: raises an `M3u8svcError` when tasks cannot be taken now.
            boxes: knows the box that media is read in.
        """
        self._wall = wall
        self._probe = probe
        self._boxes = boxes or BoxWatch()
        self._reasons: dict[str, Reason] = {}

    def say(self, about: str, error: M3u8svcError) -> None:
        """
        Something is wrong; the same again, or worse, keeps the time at which it began. Logged when it begins.
        """
        known = self._reasons.get(about)
        if known is None:
            self.log.error("degraded: {code} {error}", code=error.code, error=error.text("en"))
        self._reasons[about] = Reason(error=error, since=self._wall() if known is None else known.since)

    def over(self, about: str) -> None:
        """
        It is not wrong any more, or was not.
        """
        known = self._reasons.pop(about, None)
        if known is not None:
            self.log.info("no longer degraded: {code}", code=known.error.code)

    def reasons(self) -> tuple[Reason, ...]:
        """
        What is wrong now, in the order it began.
        """
        return tuple(self._reasons.values())

    def sandbox(self) -> Box:
        """
        The box that media is read in. A wall that this machine does not have is no reason: nothing will mend it.
        """
        return self._boxes.box

    async def ready(self) -> None:
        """
        Returns when a task could be taken now.

        Raises:
            M3u8svcError: it could not, and why.
        """
        await self._probe()
