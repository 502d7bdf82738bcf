"""
Telling plugins what happened to tasks: transitions lie in the store's outbox from the transaction that stored them, and
leave it in order once everybody has heard. After a crash the last ones are told again.
"""

import attrs
from twisted.internet.defer import DeferredLock

from m3u8svc.errors import TaskNotFound
from m3u8svc.hooks import Hooks
from m3u8svc.store import Store
from m3u8svc.store.outbox import TaskEvent
from m3u8svc.tasks.task import Status


class Telling:
    """
    Empties the outbox of `store`, one at a time.
    """

    def __init__(self, store: Store, hooks: Hooks) -> None:
        self._store = store
        self._hooks = hooks
        self._lock = DeferredLock()

    async def catch_up(self) -> None:
        """
        `task_changed` for each event, forgotten only once everybody was told who listens. A task's row outlives its
        events.

        Raises:
            StoreError: what was not told is still there.
        """
        await self._lock.acquire()
        try:
            events = await self._store.events()
            while events:
                if self._hooks.has_listener("task_changed"):
                    for event in events:
                        await self._tell(event)
                more = await self._store.forget_events(event.id for event in events)
                events = await self._store.events() if more else []
        finally:
            self._lock.release()

    async def _tell(self, event: TaskEvent) -> None:
        try:
            task = await self._store.load(event.task_id, include_deleting=True)
        except TaskNotFound:
            return  # somebody else's hand removed the row: there is nothing left to tell of
        previous = None if event.previous is None else attrs.evolve(task, status=event.previous)
        changed = attrs.evolve(task, status=event.status)
        if event.status is not Status.FAILED:  # the row may be further on, and have failed meanwhile
            changed = attrs.evolve(changed, err_code="", err_msg="")
        await self._hooks.tell("task_changed", task=changed, previous=previous, event_id=event.id)
