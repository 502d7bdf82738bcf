"""
The life of a task: five states, eight events, one table.

A task is born WAITING. START makes it DOWNLOADING; from there it ends COMPLETED or FAILED, or is held by PAUSE.
RESUME brings a PAUSED or FAILED task back to WAITING, keeping what was fetched. INTERRUPT is the service's own stop
or death: a task that was DOWNLOADING waits again, at its old place, and the restart goes on with it. COMPLETED is
final: only a delete leaves it.

HOLD is a pause by the service: the task itself is fine, and something outside it is in the way (a full disk, a link
that has expired). `Task.held` says what. RELEASE ends it when that is gone; a user's RESUME tries at once, a user's
PAUSE makes the pause the user's, which nothing but the user ends.

PAUSE of a paused task and RESUME of one that waits or downloads are accepted and change nothing (the origin's clients
send them). Everything outside the table is an `InvalidTransition`, a 400 in the API (DESIGN 5.9).
"""

import enum

from m3u8svc.errors import InvalidTransition
from m3u8svc.tasks.task import Status


class Event(enum.Enum):
    """
    What can happen to a task. The first two are the user's, the rest the service's.
    """

    RESUME = "resume"
    PAUSE = "pause"
    START = "start"
    COMPLETE = "complete"
    FAIL = "fail"
    INTERRUPT = "interrupt"
    HOLD = "hold"
    RELEASE = "release"


WAITING, DOWNLOADING, PAUSED, COMPLETED, FAILED = Status

TRANSITIONS: dict[Status, dict[Event, Status]] = {
    WAITING: {
        Event.START: DOWNLOADING,
        Event.PAUSE: PAUSED,
        Event.RESUME: WAITING,
        Event.INTERRUPT: WAITING,
        Event.FAIL: FAILED,
        Event.HOLD: PAUSED,
    },
    DOWNLOADING: {
        Event.COMPLETE: COMPLETED,
        Event.FAIL: FAILED,
        Event.PAUSE: PAUSED,
        Event.RESUME: DOWNLOADING,
        Event.INTERRUPT: WAITING,
        Event.HOLD: PAUSED,
    },
    PAUSED: {Event.RESUME: WAITING, Event.PAUSE: PAUSED, Event.RELEASE: WAITING},
    FAILED: {Event.RESUME: WAITING},
    COMPLETED: {},
}

WANTED: dict[Status, Event] = {WAITING: Event.RESUME, PAUSED: Event.PAUSE}
"""What a PUT with this status asks for; other statuses cannot be asked for."""


def advance(status: Status, event: Event) -> Status:
    """
    The state after `event`.

    Raises:
        InvalidTransition: the table has no such step.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        wanted = {Event.RESUME: WAITING, Event.PAUSE: PAUSED}.get(event)
        raise InvalidTransition(current=status.value, wanted=wanted.value if wanted else event.value) from None
