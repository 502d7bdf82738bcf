"""
What a look at a file found, as rich shows it.
"""

import os
from collections.abc import Mapping
from typing import Any  # Any: JSON values

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from m3u8svc.cli import words
from m3u8svc.cli.client import text_of
from m3u8svc.redact import escape_controls


def verdict(found: Mapping[str, Any]) -> RenderableType:
    """
    A row a track of every file, then what is wrong, then the verdict.
    """
    lines = _file(found)
    for part in found.get("parts") or ():
        lines += [Text(escape_controls(os.path.basename(str(part["file"])))), *_file(part)]
    if "report" in found:
        text = escape_controls(text_of(found["report"], "text"))
        lines.append(Text(words.VERIFY_REPORT.said(text=text), "dim"))
    wrong = [_problem(each) for each in found["problems"]]
    last = words.VERIFY_OK if found["ok"] else words.VERIFY_BAD
    return Group(
        *lines,
        *(Text(text, "red") for text in wrong),
        Text(last.said(file=escape_controls(str(found["file"]))), "green" if found["ok"] else "red"),
    )


def _file(found: Mapping[str, Any]) -> list[RenderableType]:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in words.VERIFY_COLUMNS:
        table.add_column(name.said(), no_wrap=True)
    for number, track in enumerate(found["tracks"], 1):
        decoded = f"{track['frames']}" + (f" (-{track['decode_errors']})" if track["decode_errors"] else "")
        table.add_row(
            str(number),
            Text(escape_controls(f"{track['kind']} {track.get('codec', '')}")),
            f"{track['duration_s']:.3f}",
            f"{track['packets']}/{track['samples']}",
            decoded,
        )
    facts = [words.VERIFY_LENGTH.said(seconds=found["duration_s"], size=found["size"])]
    if found["av_drift_s"] is not None:
        facts.append(words.VERIFY_DRIFT.said(seconds=found["av_drift_s"]))
    return [*([table] if found["tracks"] else ()), *(Text(fact, "dim") for fact in facts)]


def _problem(problem: Mapping[str, Any]) -> str:
    """
    One problem in the user's language; one that a newer service names stays as it is.
    """
    phrase = words.PROBLEMS.get(str(problem["code"]))
    if phrase is None:
        return escape_controls(str(dict(problem)))
    file = f"{problem['file']}: " if "file" in problem else ""
    return escape_controls(file + phrase.said(**{"track": "", "expected": "", "got": "", "kind": "", **problem}))
