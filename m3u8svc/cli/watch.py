"""
``m3u8svc watch``: the tasks of a running service, fresh every second.

On a terminal a table that is drawn over and over; into a pipe a line whenever a task moves.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any  # Any: JSON values

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from m3u8svc.cli import words
from m3u8svc.cli.client import EXIT_REFUSED, Client, RemoteTask
from m3u8svc.cli.examples import taught
from m3u8svc.cli.glance import Glance
from m3u8svc.cli.options import complete_ids, server_option
from m3u8svc.cli.tables import draws_plainly, task_name, task_state, task_table, terminal
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.pace import rate_text
from m3u8svc.tasks.task import Status

POLL_S = 1.0
_LINES_AROUND_TABLE = 6

Show = Callable[[Sequence[RemoteTask]], None]
"""Shows the latest."""


@click.command("watch", help=words.WATCH_HELP.said(), epilog=taught("watch", words.ID_HELP, words.EXIT_STATUSES))
@click.argument("task_id", metavar="[ID]", required=False, shell_complete=complete_ids)
@click.option("--until-done", is_flag=True, help=words.UNTIL_DONE_OPTION.said())
@server_option
@click.option("--json", "as_json", is_flag=True, help=words.WATCH_JSON_OPTION.said())
def watch(task_id: str | None, until_done: bool, server: str, as_json: bool) -> None:
    """
    Poll and show, until nothing is active or Ctrl-C.
    """
    client = Client(server)
    glance = Glance(client)
    only = None if task_id is None else client.find(task_id).id
    followed = set() if only is None else {only}
    with nullcontext(JsonLines()) if as_json else _display(terminal()) as show:
        while True:
            tasks = glance.look() if only is None else [client.task(only)]
            followed.update(task.id for task in tasks if task.is_active)
            show(tasks)
            if until_done and not any(task.is_active for task in tasks):
                break
            time.sleep(POLL_S)
    if any(task.id in followed and task.status == Status.FAILED.value for task in tasks):
        raise SystemExit(EXIT_REFUSED)


def _display(console: Console) -> AbstractContextManager[Show]:
    return LiveTable(console) if console.is_terminal else nullcontext(Lines())


class LiveTable(AbstractContextManager[Show]):
    """
    The table on a terminal: what is active first, then what is newest, as many rows as fit.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Show:
        self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _show(self, tasks: Sequence[RemoteTask]) -> None:
        rows = fitting(tasks, self._console.height - _LINES_AROUND_TABLE)
        table = task_table(rows, plain_bar=draws_plainly(self._console), left_out=len(tasks) - len(rows))
        self._live.update(Group(table, Text(total(tasks), "dim")) if tasks else table, refresh=True)


def total(tasks: Sequence[RemoteTask]) -> str:
    """
    All of them in one line: how many of each state, and how fast they are together.
    """
    counts = {status.name.lower(): sum(task.status == status.value for task in tasks) for status in Status}
    return words.WATCH_TOTAL.said(**counts, rate=rate_text(sum(task.speed for task in tasks)))


def fitting(tasks: Sequence[RemoteTask], lines: int) -> Sequence[RemoteTask]:
    """
    The tasks to show in so many lines, in the order the service gave: active ones before others, new before old.
    """
    newest_first = sorted(enumerate(tasks), key=lambda each: (not each[1].is_active, -each[0]))
    shown: set[int] = set()
    for number, task in newest_first:
        lines -= 1 + bool(task.error) + bool(task.advice)
        if lines < 0 and shown:
            break
        shown.add(number)
    return [task for number, task in enumerate(tasks) if number in shown]


class Lines:
    """
    For pipes and logs: one line when a task's state or percentage is another one.
    """

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def __call__(self, tasks: Sequence[RemoteTask]) -> None:
        """What is new."""
        for task in tasks:
            now = (task.status, task.percent)
            if self._said.get(task.id) != now:
                self._said[task.id] = now
                click.echo(_line(task))


class JsonLines:
    """
    For programs: a task's object on a line whenever it is another one, and that it is gone.
    """

    def __init__(self) -> None:
        self._said: dict[str, Mapping[str, Any]] = {}

    def __call__(self, tasks: Sequence[RemoteTask]) -> None:
        """What is new."""
        now = {task.id: task.source for task in tasks}
        for task_id in self._said.keys() - now.keys():
            click.echo(json.dumps({"id": task_id, "removed": True}, ensure_ascii=False))
        for task_id, source in now.items():
            if self._said.get(task_id) != source:
                click.echo(json.dumps(dict(source), ensure_ascii=False))
        self._said = now


def _line(task: RemoteTask) -> str:
    parts = [task.id, task_state(task), f"{task.percent:g}%", rate_text(task.speed) if task.speed > 0 else ""]
    advice = words.ADVICE.said(text=task.advice) if task.advice else ""
    return escape_controls(" ".join(part for part in [*parts, task_name(task), task.error, advice] if part))
