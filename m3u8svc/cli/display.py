"""
How progress is shown in the foreground: a bar on a terminal, a line per phase anywhere else.

Whoever reads stderr may go away: a pipe to a program that ends, a terminal that is closed under `nohup`. A download
does not need a reader, so it goes on in silence.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol  # Any: JSON values

import click

from m3u8svc.cli import words
from m3u8svc.tasks.pace import TITLES, rate_text, remaining_text
from m3u8svc.tasks.task import Phase, Progress

JSON_PERIOD_S = 1.0


class Display(Protocol):
    """
    Shows progress while a job runs.
    """

    def update(self, progress: Progress) -> None:
        """The latest."""

    def close(self, warnings: Sequence[str]) -> None:
        """It is over; may be called twice."""


class Plain:
    """
    For pipes and logs: a line when the phase changes, unless quiet.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._phase = Phase.NONE

    def update(self, progress: Progress) -> None:
        """A new phase is a line."""
        if progress.phase is not self._phase and not self._quiet and progress.phase is not Phase.NONE:
            say(f"{progress.phase.value} {progress.percent}%")
        self._phase = progress.phase

    def close(self, warnings: Sequence[str]) -> None:
        """The warnings, one a line."""
        for warning in () if self._quiet else warnings:
            say(f"! {words.in_language(warning)}")


class Bar:
    """
    For terminals: phase, segments, rate, time left.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[segments]}"),
            TextColumn("{task.fields[rate]}"),
            console=Console(stderr=True),
        )
        self._row = self._bar.add_task("…", total=100, segments="", rate="")
        with spoken():
            self._bar.start()

    def update(self, progress: Progress) -> None:
        """Redraw."""
        left = "" if progress.eta_s is None else f" · {remaining_text(progress.eta_s)}"
        with spoken():
            self._bar.update(
                self._row,
                completed=progress.percent,
                description=TITLES.get(progress.phase, "") if words.language() == "zh" else progress.phase.value,
                segments=f"{progress.segments_done}/{progress.segments_total}" if progress.segments_total else "",
                rate=f"{rate_text(progress.speed)}{left}" if progress.speed else "",
            )

    def close(self, warnings: Sequence[str]) -> None:
        """Leave the last picture standing, then the warnings."""
        with spoken():
            self._bar.stop()
        Plain(quiet=False).close(warnings)


class JsonLines:
    """
    For programs: a line of JSON on standard output for each phase, and each second in which something moved.
    """

    def __init__(self, about: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            about: what every line says besides, such as which of many it is about.
        """
        self._about = about
        self._clock = clock
        self._said: tuple[Phase, object] = (Phase.NONE, None)
        self._at = -math.inf

    def update(self, progress: Progress) -> None:
        """What is new."""
        facts = {
            "progress": progress.percent,
            "segments_done": progress.segments_done,
            "segments_total": progress.segments_total,
            "bytes": progress.size_bytes,
            "speed": round(progress.speed),
            "eta": None if progress.eta_s is None else round(progress.eta_s),
        }
        now, before = (progress.phase, facts), self._said
        is_due = progress.phase is not before[0] or (now != before and self._clock() - self._at >= JSON_PERIOD_S)
        if progress.phase is not Phase.NONE and is_due:
            self._said, self._at = now, self._clock()
            put_json({"event": "progress", **self._about, "phase": progress.phase.value, **facts})

    def close(self, warnings: Sequence[str]) -> None:
        """The warnings, one a line."""
        for warning in warnings:
            put_json({"event": "warning", **self._about, "text": words.in_language(warning)})


def put_json(value: Mapping[str, Any]) -> None:
    """
    One line of JSON on standard output, at once, if anybody still reads it.
    """
    with spoken(1):
        click.echo(json.dumps(dict(value), ensure_ascii=False))


def display(quiet: bool) -> Display:
    """
    A bar on a terminal, lines elsewhere.
    """
    return Bar() if sys.stderr.isatty() and not quiet else Plain(quiet)


def say(text: str) -> None:
    """
    A line on stderr, if anybody still reads it.
    """
    with spoken():
        click.echo(text, err=True)


@contextmanager
def spoken(descriptor: int = 2) -> Iterator[None]:
    """
    Whatever is written to stderr (or standard output, 1) in here: when that fails, it is turned to nowhere, once and
    for all.
    """
    try:
        yield
    except OSError:
        # The line that failed stays in the buffer: without a place to go it would turn our exit status into 120.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
