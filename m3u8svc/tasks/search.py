"""
What somebody wants to see of all tasks, and how they are as a whole: values.
"""

import enum
from collections.abc import Mapping

import attrs

from m3u8svc.tasks.task import Status

MAX_TEXT = 200
"""Characters that may be looked for."""


class Sort(enum.Enum):
    """
    What a list can be put in order by; the values are the API's words. Equals are in the order of their creation.
    """

    CREATED = "created"
    NAME = "name"
    STATUS = "status"
    PROGRESS = "progress"
    SIZE = "size"
    PRIORITY = "priority"
    QUEUE = "queue"
    """As tasks will start; those that do not wait come behind them, in either direction."""


STATES_IN_ORDER = (Status.DOWNLOADING, Status.WAITING, Status.PAUSED, Status.FAILED, Status.COMPLETED)
"""How states are sorted: from what goes on to what is over."""


@attrs.frozen(kw_only=True)
class Search:
    """
    Which tasks a list shall have, and in which order. `text` is looked for in names, URLs and ids, whatever its case;
    "" finds all. Without a limit all are wanted.
    """

    status: Status | None = None
    text: str = ""
    sort: Sort = Sort.CREATED
    descending: bool = False
    limit: int | None = None
    offset: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether it is the list that there always was: oldest first, nothing looked for."""
        return not self.text and self.sort is Sort.CREATED and not self.descending


@attrs.frozen(kw_only=True)
class Found:
    """
    What a search finds: the tasks that are wanted, by their ids and in order, and how many there are in `total`, before
    limit and offset.
    """

    ids: tuple[str, ...]
    total: int


@attrs.frozen(kw_only=True)
class Space:
    """
    A directory that tasks write to and how much its disk has; None while the disk does not say.
    """

    path: str
    free_bytes: int | None = None
    total_bytes: int | None = None


@attrs.frozen(kw_only=True)
class Overview:
    """
    All tasks in a few numbers: how many there are of each state, bytes per second that arrive now, and that may arrive
    at most (0: any number), and the room on each disk that tasks write to.
    """

    tally: Mapping[Status, int]
    speed: float
    limit_rate: int
    disks: tuple[Space, ...]


def has_letters_beyond_ascii(text: str) -> bool:
    """
    Whether a text has letters, other than those of ASCII, that are large or small: é has, 电 has not.
    """
    return any(each.lower() != each.upper() for each in text if not each.isascii())
