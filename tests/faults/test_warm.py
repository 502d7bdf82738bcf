"""
The harness itself: a copy is a process like any other, and an original that is gone is told and replaced.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.warm import Copy, Original, OriginalGone

pytestmark = pytest.mark.faults

PROGRAM = ["-m", "m3u8svc"]


@pytest.fixture(scope="module")
def original() -> Iterator[Original]:
    """One for all of them."""
    yield Original()


def serving(original: Original, folder: Path) -> Copy:
    """A service that goes on."""
    places = ["--home", str(folder / "home"), "--save-dir", str(folder)]
    return original.start([*PROGRAM, "serve", "--listen", "tcp:0:interface=127.0.0.1", *places], folder / "log")


def test_how_it_ends(original: Original, tmp_path: Path) -> None:
    """Its status, what it printed, a wrong option, a signal; and that it has not ended yet."""
    told = original.start([*PROGRAM, "--version"], tmp_path / "version")
    assert 0 == told.wait(30) == told.poll()
    assert "m3u8svc" in (tmp_path / "version").read_text()
    assert 2 == original.start([*PROGRAM, "--nonsense"], tmp_path / "wrong").wait(30)
    goes_on = serving(original, tmp_path)
    assert goes_on.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        goes_on.wait(0.1)
    os.kill(goes_on.pid, signal.SIGKILL)
    assert -signal.SIGKILL == goes_on.wait(30)


def test_several_wait_for_one(original: Original, tmp_path: Path) -> None:
    """Each hears the same status."""
    copy = serving(original, tmp_path)
    heard: list[int] = []
    waiting = [threading.Thread(target=lambda: heard.append(copy.wait(30))) for _ in range(3)]
    for each in waiting:
        each.start()
    os.kill(copy.pid, signal.SIGKILL)
    for each in waiting:
        each.join(30)
    assert [-signal.SIGKILL] * 3 == heard


def test_a_log_that_cannot_be_written(original: Original, tmp_path: Path) -> None:
    """As with a process that is started from nothing: the caller gets the error."""
    with pytest.raises(FileNotFoundError):
        original.start([*PROGRAM, "--version"], tmp_path / "nowhere" / "log")


def test_an_original_that_is_gone(tmp_path: Path) -> None:
    """Whoever waits for a copy of it is told, and the next copy is made of another."""
    original = Original()
    copy = serving(original, tmp_path)
    first = original._process
    assert first is not None
    first._process.kill()
    os.kill(copy.pid, signal.SIGKILL)
    with pytest.raises(OriginalGone):
        copy.wait(30)
    assert first.is_gone
    assert 0 == original.start([*PROGRAM, "--version"], tmp_path / "log").wait(30)
    assert original._process is not first
