"""
The plugin's one object: takes transitions into the queue and keeps the sender going.
"""

import random
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import assert_never

from m3u8svc.plugin import ConfigError, Services, Task
from m3u8svc_notify.command import CommandRunner
from m3u8svc_notify.events import Event, describe
from m3u8svc_notify.queue import Item, Queue
from m3u8svc_notify.sender import Sender, Way
from m3u8svc_notify.settings import Command, NotifySettings, Target, Webhook
from m3u8svc_notify.webhook import WebhookSender

FILE = "notify.db"
MOST_UNSAVED = 1000


class Outbound:
    """
    Built in a thread, since it opens a file; everything else happens on the reactor.
    """

    def __init__(
        self,
        settings: NotifySettings,
        services: Services,
        *,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._services = services
        self._wall = wall
        self._unsaved: deque[Event] = deque()
        try:
            self._queue = Queue(services.state_dir / FILE)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(where="plugins.notify", reason=f"the queue {FILE} cannot be used: {error}") from error
        self._forget_strangers()
        self._sender = Sender(
            self._queue,
            {target.key: self._way(target) for target in settings.targets},
            clock=services.clock,
            in_thread=services.in_thread,
            log=services.log,
            wall=wall,
            chance=chance,
            max_age_s=settings.max_age_s,
        )

    def start(self) -> None:
        """
        Send what an earlier run left. On the reactor.
        """
        self._sender.wake()

    async def tell(self, task: Task, previous: Task | None, event_id: int) -> None:
        """
        Queue the transition for everybody who wants to hear of it; durable when this returns.
        """
        self._unsaved.append(describe(task, previous, event_id))
        await self._save()
        self._sender.wake()

    async def stop(self) -> None:
        """
        Stop sending and let go of the file.
        """
        await self._sender.stop()
        await self._services.in_thread(self._queue.close)

    async def _save(self) -> None:
        """Into the queue with what was told, and what an earlier call could not save."""
        while self._unsaved:
            event = self._unsaved[0]
            targets = [
                target.key
                for target in self._settings.targets
                if target.on & event.names and target.key not in self._sender.disabled
            ]
            try:
                pushed = await self._services.in_thread(self._add, event, targets)
            except sqlite3.Error as error:  # no reason to be asked no more: the next event tries again
                self._services.log.error("event {event} cannot be queued: {error}", event=event.event_id, error=error)
                if len(self._unsaved) > MOST_UNSAVED:
                    self._services.log.error("event {event} is LOST", event=self._unsaved.popleft().event_id)
                return
            if self._unsaved and self._unsaved[0] is event:
                self._unsaved.popleft()
            for item in pushed:
                self._services.log.error(
                    "{target} was NOT told of event {event} of task {task}: too many wait for it",
                    target=item.target,
                    event=item.event_id,
                    task=item.task_id,
                )

    def _add(self, event: Event, targets: list[str]) -> list[Item]:
        return self._queue.add(event, targets, now=self._wall(), most=self._settings.max_queued)

    def _way(self, target: Target) -> Way:
        match target:
            case Webhook():
                if not target.secret:
                    self._services.log.warn("{target} has no secret: it is told unsigned", target=target.key)
                return WebhookSender(target, reactor=self._services.reactor, wall=self._wall)
            case Command():
                return CommandRunner(target, reactor=self._services.reactor, log=self._services.log)
        assert_never(target)

    def _forget_strangers(self) -> None:
        """What waits for a target that the configuration has no more."""
        known = {target.key for target in self._settings.targets}
        for target, count in self._queue.waiting().items():
            if target not in known:
                self._queue.give_up(target)
                self._services.log.error(
                    "{target} is not configured any more: {count} events for it are dropped", target=target, count=count
                )
