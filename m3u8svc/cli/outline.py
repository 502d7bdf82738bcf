"""
The answer to a dry run as rich shows it: variants, renditions, groups, and the whole in a few lines.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any  # Any: JSON values

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from m3u8svc.cli import words
from m3u8svc.cli.client import text_of, warnings_of
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.pace import remaining_text

MOST_GROUPS = 50

Plan = Mapping[str, Any]


def plan_tables(plan: Plan, *, plain: bool) -> RenderableType:
    """
    Everything a person wants to know of a plan. What is chosen has a mark, "*" where `plain` wants ASCII.
    """
    mark = "*" if plain else "✓"
    tables = [_variants(plan, mark), _renditions(plan, mark), _groups(plan)]
    return Group(*(table for table in tables if table is not None), _summary(plan))


def _variants(plan: Plan, mark: str) -> RenderableType | None:
    columns = (
        words.COLUMN_SIZE,
        words.COLUMN_FPS,
        words.COLUMN_RATE,
        words.COLUMN_RANGE,
        words.COLUMN_CODECS,
    )
    rows = [
        (
            each.get("chosen"),
            f"{each['width']}x{each['height']}" if each.get("height") else "",
            f"{each['fps']:g}" if each.get("fps") else "",
            _rate(each.get("bandwidth")),
            each.get("range") or "",
            ", ".join(map(str, each.get("codecs") or ())) + (" audio_only" if each.get("audio_only") else ""),
        )
        for each in plan.get("variants") or ()
    ]
    return _marked(words.PLAN_VARIANTS, columns, rows, mark)


def _renditions(plan: Plan, mark: str) -> RenderableType | None:
    columns = (words.COLUMN_TYPE, words.COLUMN_LANGUAGE, words.COLUMN_NAME, words.COLUMN_NOTES)
    notes = {"default": words.NOTE_DEFAULT, "forced": words.NOTE_FORCED, "inside": words.NOTE_INSIDE}
    rows = [
        (
            each.get("chosen"),
            str(each.get("type", "")).lower(),
            each.get("language") or "",
            each.get("name") or "",
            ", ".join(note.said() for field, note in notes.items() if each.get(field)),
        )
        for each in plan.get("renditions") or ()
    ]
    return _marked(words.PLAN_RENDITIONS, columns, rows, mark)


def _groups(plan: Plan) -> RenderableType | None:
    """
    The groups, if there is more than one.
    """
    groups = plan.get("groups") or ()
    if len(groups) < 2:
        return None
    table = _table(words.PLAN_GROUPS)
    table.add_column(words.COLUMN_NUMBER.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_POSITIONS.said(), no_wrap=True)
    table.add_column(words.COLUMN_START.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_DURATION.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_SKIPPED.said(), justify="right", no_wrap=True)
    table.add_column(words.COLUMN_ADDRESS.said(), overflow="fold")
    for each in groups[:MOST_GROUPS]:
        table.add_row(
            str(each["number"]),
            f"{each['first']}-{each['last']}",
            remaining_text(each["start"]),
            f"{each['duration']:g} s",
            str(each["skipped"] or ""),
            _text(each["url"]),
        )
    left = len(groups) - MOST_GROUPS
    return Group(table, Text(words.MORE_GROUPS.said(count=left), "dim")) if left > 0 else table


def _summary(plan: Plan) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, value, style in _facts(plan):
        if value:
            grid.add_row(Text(label.said()), _text(value, style))
    return grid


def _facts(plan: Plan) -> Iterator[tuple[words.Phrase, str, str]]:
    segments, encryption = plan["segments"], plan.get("encryption") or {}
    counts = {name: segments.get(name, 0) for name in ("count", "skipped", "gaps")}
    yield words.ROW_SEGMENTS, words.PLAN_SEGMENTS.said(**counts), ""
    for skip in segments.get("skips") or ():
        yield words.ROW_SKIPPED, f"{skip['positions']}: {text_of(skip, 'reason')}", ""
    yield words.ROW_TRACKS, ", ".join(str(each["track"]) for each in plan.get("tracks") or ()), ""
    yield words.COLUMN_DURATION, remaining_text(plan.get("duration") or 0), ""
    size = plan.get("estimated_bytes")
    yield words.ROW_SIZE, "" if size is None else words.PLAN_BYTES.said(size=_bytes(size)), ""
    formats = [each for each in encryption.get("key_formats") or () if each != "identity"]
    yield words.ROW_ENCRYPTION, ", ".join(map(str, (*(encryption.get("methods") or ()), *formats))), ""
    for warning in warnings_of(plan):
        yield words.ROW_WARNING, warning, "yellow"


def _marked(
    title: words.Phrase, columns: Sequence[words.Phrase], rows: Sequence[tuple[Any, ...]], mark: str
) -> RenderableType | None:
    """
    A table whose first column marks what is chosen; None without rows.
    """
    if not rows:
        return None
    table = _table(title)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column.said(), overflow="fold")
    for is_chosen, *cells in rows:
        style = "bold" if is_chosen else ""
        table.add_row(mark if is_chosen else "", *(_text(str(cell), style) for cell in cells))
    return table


def _table(title: words.Phrase) -> Table:
    return Table(box=SIMPLE_HEAD, pad_edge=False, title=title.said(), title_justify="left")


def _rate(bits_s: int | None) -> str:
    return f"{round(bits_s / 1000)}k" if bits_s else ""


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _text(value: str, style: str = "") -> Text:
    return Text(escape_controls(value), style)
