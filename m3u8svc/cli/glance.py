"""
All tasks of a service, fresh every second, without asking for all of them every second.

What is asked for is what moves: the tasks that download, the head of the queue, the newest, and those that downloaded
a moment ago. Then the service is asked how many tasks it has of each state: if those are not the numbers we know,
something happened to a task at rest, and all are asked for. So they are once a minute, for what is in no number.
"""

import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from m3u8svc.cli.client import Client, Refused, RemoteTask
from m3u8svc.tasks.search import Sort
from m3u8svc.tasks.task import Status

FEW = 100
"""So many tasks are one question, and one chunk of an answer."""
ALL_AGAIN_S = 60.0
MOST_LEFT = 20
"""Tasks that are asked for one by one because they no longer download."""


class Glance:
    """
    The tasks as they were when they were last looked at.
    """

    def __init__(self, client: Client, *, seconds: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._seconds = seconds
        self._tasks: dict[str, RemoteTask] = {}
        self._all_at = -ALL_AGAIN_S
        self._asks_all_until = -ALL_AGAIN_S

    def look(self) -> list[RemoteTask]:
        """
        All of them as they are now, in order of creation.
        """
        now = self._seconds()
        due = now >= self._all_at + ALL_AGAIN_S or now < self._asks_all_until
        if due or len(self._tasks) <= FEW or not self._look_at_what_moves():
            self._all_at = now
            self._tasks = {task.id: task for task in self._client.tasks()}
        return list(self._tasks.values())

    def _look_at_what_moves(self) -> bool:
        """
        Whether what is known is right with that.
        """
        try:
            running = self._client.tasks(Status.DOWNLOADING)
            head = self._client.tasks(Status.WAITING, sort=Sort.QUEUE.value, limit=FEW)
            newest = self._client.tasks(order="desc", limit=FEW)
            seen = {task.id: task for task in [*running, *head, *newest]}
            left = [task.id for task in self._tasks.values() if _runs(task) and task.id not in seen]
            if len(left) > MOST_LEFT:
                return False
            self._take(seen)
            for task_id in left:
                self._look_at(task_id)
            return Counter(task.status for task in self._tasks.values()) == self._client.tally()
        except Refused as refusal:
            if refusal.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
                raise
            # A service that has no numbers, or gives fewer tasks at a time; after a minute it may be another.
            self._asks_all_until = self._seconds() + ALL_AGAIN_S
            return False

    def _take(self, seen: dict[str, RemoteTask]) -> None:
        new = [task for task in seen.values() if task.id not in self._tasks]
        self._tasks |= {task.id: task for task in sorted(new, key=lambda each: (each.created_at, each.id))}
        self._tasks |= seen

    def _look_at(self, task_id: str) -> None:
        try:
            self._tasks[task_id] = self._client.task(task_id)
        except Refused as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise
            del self._tasks[task_id]


def _runs(task: RemoteTask) -> bool:
    return task.status == Status.DOWNLOADING.value
