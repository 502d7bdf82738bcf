"""
What the store needs now and then: copies of the database, and somebody who says when they fail.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from m3u8svc.degraded import Degraded
from m3u8svc.errors import BackupFailed, DiskFull, StoreError
from m3u8svc.store import Store
from m3u8svc.waiting import InThread, in_background, log_failure

LOOK_S = 60.0
"""How often it is looked whether a copy is due."""
BACKUP, CHANGES, FILE = "backup", "changes", "file"


class Upkeep:
    """
    Looks after one open store.
    """

    log = Logger()

    def __init__(self, store: Store, degraded: Degraded, *, clock: IReactorTime, in_thread: InThread) -> None:
        self._store = store
        self._degraded = degraded
        self._in_thread = in_thread
        self._looking: Deferred[None] | None = None
        self._loop = LoopingCall(self._look_soon)
        self._loop.clock = clock

    def start(self) -> None:
        """
        Begin to look.
        """
        for number, notice in enumerate(self._store.notices):
            self._degraded.say(f"opening {number}", notice)
        looking = self._loop.start(LOOK_S, now=False)
        looking.addErrback(lambda failure: log_failure("a periodic job", failure))

    async def stop(self) -> None:
        """
        Look no more; a copy that is being made is finished.
        """
        if self._loop.running:
            self._loop.stop()
        if self._looking is not None:
            ended: Deferred[None] = Deferred()
            self._looking.chainDeferred(ended)
            await ended

    def _look_soon(self) -> None:
        if self._looking is None:
            self._looking = in_background("looking after the store", self.look())
            self._looking.addBoth(self._looked)

    def _looked(self, result: object) -> None:
        self._looking = None

    async def look(self) -> None:
        """
        Make a copy if it is time to, and see whether changes are written down and the file is where it was.
        """
        try:
            if await self._store.back_up(self._in_thread):
                self._degraded.over(BACKUP)
        except BackupFailed as error:
            self._degraded.say(BACKUP, error)
        except (StoreError, DiskFull) as error:
            self.log.warn("no backup now: {error}", error=error.text("en"))
        for about, problem in ((CHANGES, self._store.unwritten), (FILE, self._store.displaced)):
            if problem is None:
                self._degraded.over(about)
            else:
                self._degraded.say(about, problem)
