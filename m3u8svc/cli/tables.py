"""
Tasks as rich shows them: a table of many, a list of facts about one; and plugins.

Whatever a service sends is text here, never markup, and its control characters are written out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # Any: JSON values

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from m3u8svc.cli import words
from m3u8svc.cli.client import RemoteTask
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.pace import rate_text, remaining_text
from m3u8svc.tasks.task import Status

BAR_CELLS = 16
_NO_TERMINAL_CELLS = 10_000
_STYLES = {
    Status.DOWNLOADING.value: "cyan",
    Status.COMPLETED.value: "green",
    Status.FAILED.value: "red",
    Status.PAUSED.value: "yellow",
}


def terminal() -> Console:
    """
    Standard output. Where it is no terminal, lines are as long as they need to be: programs read them.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _NO_TERMINAL_CELLS
    return console


def status_text(status: str) -> str:
    """
    A state in the user's language.
    """
    return words.STATUSES[status].said() if status in words.STATUSES else status


def task_state(task: RemoteTask) -> str:
    """
    Its state in the user's language; one that the service paused, and not the user, has a word of its own.
    """
    return words.HELD.said() if task.held and task.status == Status.PAUSED.value else status_text(task.status)


def task_name(task: RemoteTask) -> str:
    """
    What people know a task by: its file name, or else its URL.
    """
    return task.filename or redact_url(task.url)


def task_table(tasks: Sequence[RemoteTask], *, plain_bar: bool, left_out: int = 0) -> RenderableType:
    """
    One row a task. `plain_bar` draws with ASCII; `left_out` says how many more there are.
    """
    if not tasks:
        return Text(words.NO_TASKS.said())
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(words.COLUMN_ID.said(), no_wrap=True, overflow="ignore")
    table.add_column(words.COLUMN_STATUS.said(), no_wrap=True)
    table.add_column(words.COLUMN_PROGRESS.said(), no_wrap=True)
    table.add_column(words.COLUMN_SPEED.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_LEFT.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_NAME.said(), overflow="fold")
    for task in tasks:
        table.add_row(
            _text(task.id),
            _text(task_state(task), _STYLES.get(task.status, "")),
            Text(bar(task.percent, plain=plain_bar)),
            Text(rate_text(task.speed) if task.speed > 0 else ""),
            Text("" if task.eta_s is None else remaining_text(task.eta_s)),
            _name_cell(task),
        )
    return Group(table, Text(words.MORE_TASKS.said(count=left_out), "dim")) if left_out else table


def bar(percent: float, *, plain: bool) -> str:
    """
    A bar and a number, always of the same width.
    """
    whole = round(min(max(percent, 0), 100))
    full = whole * BAR_CELLS // 100
    done, open_ = ("#", "-") if plain else ("█", "░")
    return f"{done * full}{open_ * (BAR_CELLS - full)} {whole:3d}%"


def draws_plainly(console: Console) -> bool:
    """
    Whether a console cannot show block characters.
    """
    return not console.encoding.startswith("utf")


def task_facts(task: RemoteTask) -> RenderableType:
    """
    Everything a person wants to know about one task.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value, style in _facts(task):
        if value:
            grid.add_row(Text(label.said()), _text(value, style))
    return grid


_STATE_STYLES = {"active": "green", "off": "dim", "broken": "red", "disabled": "red"}


def plugin_table(found: Mapping[str, Any]) -> RenderableType:
    """
    One row a plugin of GET /api/plugins, and what requests may name.
    """
    names = {kind: ", ".join(str(each) for each in found.get(kind) or ()) for kind in ("mergers", "storages")}
    offers = _text(words.OFFERS.said(**names), "dim")
    if not found["plugins"]:
        return Group(Text(words.NO_PLUGINS.said()), offers)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(words.COLUMN_PLUGIN.said(), no_wrap=True, overflow="ignore")
    table.add_column(words.COLUMN_VERSION.said(), no_wrap=True)
    table.add_column(words.COLUMN_STATUS.said(), no_wrap=True)
    table.add_column(words.COLUMN_FAILURES.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_REASON.said(), overflow="fold")
    for plugin in found["plugins"]:
        state = str(plugin.get("state", ""))
        said = words.PLUGIN_STATES[state].said() if state in words.PLUGIN_STATES else state
        notes = [str(plugin.get("reason") or ""), *(str(each) for each in plugin.get("warnings") or ())]
        table.add_row(
            _text(str(plugin.get("name", ""))),
            _text(str(plugin.get("version", ""))),
            _text(said, _STATE_STYLES.get(state, "")),
            _text(_failures(plugin.get("hooks"))),
            _text("; ".join(note for note in notes if note)),
        )
    return Group(table, offers)


def _failures(hooks: object) -> str:
    tallies = [tally for tally in hooks.values() if isinstance(tally, dict)] if isinstance(hooks, dict) else []
    return f"{sum(tally.get('failures', 0) for tally in tallies)}/{sum(tally.get('calls', 0) for tally in tallies)}"


def _facts(task: RemoteTask) -> Iterator[tuple[words.Phrase, str, str]]:
    yield words.COLUMN_ID, task.id, "bold"
    yield words.COLUMN_NAME, task.filename, ""
    yield words.COLUMN_STATUS, task_state(task), _STYLES.get(task.status, "")
    yield words.ROW_QUEUE, str(task.queue_position or ""), ""
    yield words.ROW_PRIORITY, str(task.priority or ""), ""
    yield words.COLUMN_PROGRESS, f"{task.percent:g}%", ""
    yield words.ROW_DETAIL, task.status_bar.strip(), ""
    yield words.ROW_SEGMENTS, f"{task.segments_done}/{task.segments_total}" if task.segments_total else "", ""
    yield words.COLUMN_SPEED, rate_text(task.speed) if task.speed > 0 else "", ""
    size = task.size or task.size_bytes
    yield words.ROW_SIZE, words.BYTES.said(count=size) if size else "", ""
    yield words.ROW_FILE, task.output, ""
    yield words.ROW_ERROR, task.error, "red"
    yield words.ROW_ADVICE, task.advice, "yellow"
    for warning in task.warnings:
        yield words.ROW_WARNING, warning, "yellow"
    for incident in task.incidents:
        yield words.ROW_INCIDENT, incident, "dim"
    yield words.ROW_CREATED, task.created_at, ""
    yield words.ROW_COMPLETED, task.completed_at, ""
    yield words.ROW_URL, task.url, ""


def _name_cell(task: RemoteTask) -> Text:
    cell = _text(task_name(task))
    for text, style in ((task.error, "red"), (task.advice, "yellow")):
        if text:
            cell.append("\n").append_text(_text(text, style))
    return cell


def _text(value: str, style: str = "") -> Text:
    return Text(escape_controls(value), style)
