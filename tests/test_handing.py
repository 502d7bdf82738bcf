"""
Files for a child that may open none.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from m3u8svc.handing import Hand


class Threads:
    """Runs what is asked for when told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        self.waiting.append((deferred, call, arguments))
        return deferred

    def run(self) -> None:
        """Everything that waits."""
        for deferred, call, arguments in self.waiting:
            maybeDeferred(call, *arguments).chainDeferred(deferred)
        self.waiting.clear()


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def hand(tmp_path: Path, threads: Threads):
    """A hand for ``film.part``, and the calls of `failed`."""
    failures: list[int] = []
    made = Hand(tmp_path / "film.part", in_thread=threads, failed=lambda: failures.append(1))
    made.failures = failures
    yield made
    made.let_go()


def taken(hand: Hand) -> tuple[bytes, list[int]]:
    """What comes out at the child's end."""
    said, descriptors, *_ = socket.recv_fds(hand.theirs, 16, 1)
    return said, descriptors


def test_a_file_is_made_and_handed_over(hand, threads, tmp_path):
    """New, of mode 0600, to read and write; we keep nothing of it open."""
    before = set(os.listdir("/proc/self/fd"))
    hand.make("p2")
    threads.run()
    said, [descriptor] = taken(hand)
    assert b"0" == said
    os.pwrite(descriptor, b"film", 0)
    assert b"film" == os.pread(descriptor, 9, 0)
    os.close(descriptor)
    made = tmp_path / "film.part.p2"
    assert (0o600, b"film") == (made.stat().st_mode & 0o777, made.read_bytes())
    assert len(before) == len(set(os.listdir("/proc/self/fd")))


def test_one_that_is_there_is_not_taken(hand, threads, tmp_path):
    """Nobody's file is opened, nor one that a link leads to; the child is told why."""
    (tmp_path / "film.part.p2").write_text("mine")
    (tmp_path / "film.part.1.vtt").symlink_to(tmp_path / "film.part.p2")
    for suffix in ("p2", "1.vtt"):
        hand.make(suffix)
        threads.run()
        assert (b"17", []) == taken(hand)
    assert "mine" == (tmp_path / "film.part.p2").read_text()


@pytest.mark.parametrize(
    "suffix", ["", "p", "p0", "p2/x", "../p2", "p2\n", "x", "0.vtt", "1.exe", "1.vtt/..", "p99999", "/etc/passwd"]
)
def test_other_names(hand, threads, suffix):
    """Only what the muxer makes."""
    with pytest.raises(ValueError):
        hand.make(suffix)
    assert [] == threads.waiting


def test_one_at_a_time(hand, threads):
    """A child that asks again without taking what it gets is none of ours."""
    hand.make("p2")
    with pytest.raises(ValueError):
        hand.make("p3")
    threads.run()
    hand.make("p3")
    threads.run()
    for _ in range(2):
        _, [descriptor] = taken(hand)
        os.close(descriptor)


def test_one_that_does_not_listen(hand, threads):
    """It is ended, and nothing blocks."""
    hand.theirs.close()
    hand.make("p2")
    threads.run()
    assert [1] == hand.failures


def test_closing_waits(hand, threads, tmp_path):
    """A file that is being made is made before anybody looks what there is to remove."""
    hand.make("p2")
    closing = Deferred.fromCoroutine(hand.close())
    assert not closing.called
    threads.run()
    assert closing.called
    assert (tmp_path / "film.part.p2").exists()
