"""
How progress is shown in the foreground: a bar on a terminal, a line per phase anywhere else.

Whoever reads stderr may go away: a pipe to a program that ends, a terminal that is closed under `nohup`. A download
does not need a reader, so it goes on in silence.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import click

from m3u8svc.cli import words
from m3u8svc.tasks.pace import TITLES, rate_text, remaining_text
from m3u8svc.tasks.task import Phase, Progress


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
            say(f"! {warning}")


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
def spoken() -> Iterator[None]:
    """
    Whatever is written to stderr in here: when that fails, stderr is turned to nowhere, once and for all.
    """
    try:
        yield
    except OSError:
        # The line that failed stays in the buffer: without a place to go it would turn our exit status into 120.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, 2)
        os.close(nowhere)
