"""
What a running task tells: its lines and speeds, bounded.
"""

import attrs
import pytest

from m3u8svc.tasks.livelog import CHARACTERS, KEPT, PHASES, SECONDS, LiveLog
from m3u8svc.tasks.task import Phase
from m3u8svc.tasks.tracker import Tracker
from m3u8svc.wording import Said


@attrs.define
class Moments:
    """Two clocks that a test sets."""

    now: float = 1000.5
    wall: float = 5.0


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
def log(moments: Moments) -> LiveLog:
    return LiveLog(now=lambda: moments.now, wall=lambda: moments.wall)


def test_lines(log: LiveLog, moments: Moments) -> None:
    """In the order in which they came, whatever they are about and whatever the wall clock does."""
    log.note("segment 1 done")
    moments.wall = 3.0
    log.say("warn", Said("坏", "bad"))
    log.note("segment 2 done")
    found = [(line.at, line.level, line.text, line.text_en) for line in log.lines()]
    assert (5.0, "debug", "segment 1 done", "segment 1 done") == found[0]
    assert [(3.0, "warn", "坏", "bad"), (3.0, "debug", "segment 2 done", "segment 2 done")] == found[1:]


def test_only_the_last_lines_are_kept(log: LiveLog) -> None:
    """However many there are; those about requests do not push out the others."""
    for number in range(KEPT + 7):
        log.say("info", Said(f"步 {number}", f"step {number}"))
    for number in range(1000):
        log.note(f"segment {number}")
    texts = [line.text_en for line in log.lines()]
    assert [f"step {number}" for number in range(7, KEPT + 7)] == texts[:KEPT]
    assert [f"segment {number}" for number in range(1000 - KEPT, 1000)] == texts[KEPT:]


def test_a_line_has_no_secret(log: LiveLog) -> None:
    """Queries and passwords go before a line is cut, so that no part of one is left at its end."""
    secret = "https://user:hunter2@h.test/a?token=hunter2"
    log.note("x" * (CHARACTERS - 15) + secret)
    log.say("warn", Said(f"坏 {secret}", f"bad {secret}"))
    log.note("y" * 10_000 + "\n")
    text = "".join(line.text + line.text_en for line in log.lines())
    assert "hunter2" not in text and "\n" not in text
    assert CHARACTERS == max(len(line.text) for line in log.lines())


def test_speeds(log: LiveLog, moments: Moments) -> None:
    """Of each whole second since the beginning, also of those in which nothing came; the present one is not over."""
    assert [] == log.speeds()
    log.received(1)
    moments.now = 1000.9
    log.received(2)
    moments.now = 1003.1
    log.received(4)
    assert [3, 0, 0] == log.speeds()
    moments.now = 1004.0
    assert [3, 0, 0, 4] == log.speeds()


def test_speeds_of_long_ago(log: LiveLog, moments: Moments) -> None:
    """Two minutes are kept, and none of it once nothing came for so long."""
    for second in range(500):
        moments.now = 1000.0 + second
        log.received(second)
    assert list(range(499 - SECONDS, 499)) == log.speeds()
    moments.now += 10_000
    assert [0] * SECONDS == log.speeds()


def test_every_phase_has_its_words(log: LiveLog, moments: Moments) -> None:
    """A tracker tells of each phase as it begins, and of what arrives."""
    tracker = Tracker(lambda: moments.now, live=log)
    for phase in Phase:
        tracker.enter(phase)
    tracker.received(7)
    moments.now += 1
    assert [PHASES[phase].en for phase in Phase] == [line.text_en for line in log.lines()]
    assert ({"info"}, [7]) == ({line.level for line in log.lines()}, log.speeds())
