"""The transition table accepts exactly what it says."""

import itertools

import pytest

from m3u8svc.errors import InvalidTransition
from m3u8svc.tasks.lifecycle import TRANSITIONS, Event, advance
from m3u8svc.tasks.task import Status


@pytest.mark.parametrize(("status", "event"), list(itertools.product(Status, Event)))
def test_advance_accepts_exactly_the_table(status: Status, event: Event) -> None:
    """Every pair is either in the table or refused."""
    if event in TRANSITIONS[status]:
        assert TRANSITIONS[status][event] is advance(status, event)
    else:
        with pytest.raises(InvalidTransition):
            advance(status, event)


def test_completed_is_final() -> None:
    """Nothing leads out of 已完成."""
    assert {} == TRANSITIONS[Status.COMPLETED]


@pytest.mark.parametrize(
    ("status", "event", "after"),
    [
        (Status.PAUSED, Event.RESUME, Status.WAITING),
        (Status.FAILED, Event.RESUME, Status.WAITING),
        (Status.DOWNLOADING, Event.RESUME, Status.DOWNLOADING),
        (Status.WAITING, Event.RESUME, Status.WAITING),
        (Status.DOWNLOADING, Event.PAUSE, Status.PAUSED),
        (Status.WAITING, Event.PAUSE, Status.PAUSED),
        (Status.PAUSED, Event.PAUSE, Status.PAUSED),
        (Status.DOWNLOADING, Event.INTERRUPT, Status.WAITING),
        (Status.DOWNLOADING, Event.HOLD, Status.PAUSED),
        (Status.WAITING, Event.HOLD, Status.PAUSED),
        (Status.PAUSED, Event.RELEASE, Status.WAITING),
    ],
)
def test_advance_as_the_api_says(status: Status, event: Event, after: Status) -> None:
    """The steps the origin's clients rely on (origin-semantics 2.1)."""
    assert after is advance(status, event)


def test_invalid_transition_says_both_states() -> None:
    """The refusal names where the task is and where it cannot go."""
    with pytest.raises(InvalidTransition) as caught:
        advance(Status.COMPLETED, Event.RESUME)
    assert "任务不能从“已完成”变为“等待中”" == caught.value.text("zh")
