"""
The debug log of a task: every line, in order, whatever the threads do.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.debuglog import FLUSH_LINES, DebugLog


class Threads:
    """`in_thread` whose calls run when a test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.calls.append(lambda: maybeDeferred(function, *arguments).chainDeferred(answer))
        return answer

    def run_all(self) -> None:
        """The last one first, as an unlucky pool might."""
        while self.calls:
            self.calls.pop()()


@pytest.fixture
def threads() -> Threads:
    return Threads()


def log_in(directory: Path, threads: Threads) -> DebugLog:
    return DebugLog(directory, "task1", enabled=True, wall=lambda: 0.0, in_thread=threads)


def published(log: DebugLog, directory: Path, threads: Threads) -> list[str]:
    """The lines of the log after its publication, without their times."""
    done: list[object] = []
    Deferred.fromCoroutine(log.publish(directory, "film")).addBoth(done.append)
    threads.run_all()
    assert [None] == done
    return [line.partition("Z ")[2] for line in (directory / "film.debug.log").read_text().splitlines()[1:]]


def test_lines_stay_in_order(tmp_path: Path, threads: Threads) -> None:
    """Whichever thread is first, each batch is appended after the one before, and all before the publication."""
    log = log_in(tmp_path, threads)
    expected = [f"line {number}" for number in range(3 * FLUSH_LINES + 7)]
    for line in expected:
        log.note(line)
    assert expected == published(log, tmp_path, threads)


def test_lines_are_redacted_and_can_be_written(tmp_path: Path, threads: Threads) -> None:
    """A token is not in the log; text that is no Unicode is, escaped."""
    log = log_in(tmp_path, threads)
    log.note("segment 200 https://h.test/1.ts?q='a'&token=CANARY")
    log.note("name \udcff")
    assert ["segment 200 https://h.test/1.ts?…", "name \\udcff"] == published(log, tmp_path, threads)


def test_a_log_of_this_task_is_replaced_and_no_other(tmp_path: Path, threads: Threads) -> None:
    """Published again it holds all lines so far; a file of somebody else keeps its name."""
    log = log_in(tmp_path, threads)
    log.note("one")
    assert ["one"] == published(log, tmp_path, threads)
    log.note("two")
    assert ["one", "two"] == published(log, tmp_path, threads)
    (tmp_path / "film.debug.log").write_text("mine\n")
    published(log, tmp_path, threads)
    assert {"debug.log", "film.debug.log", "film_0001.debug.log"} == {entry.name for entry in tmp_path.iterdir()}
    assert "mine\n" == (tmp_path / "film.debug.log").read_text()
