"""
What there is to see of a task's segments: the map of where each stands, also of a task that does not run.
"""

import zlib

from m3u8svc.job import work_path
from m3u8svc.nofollow import read_file
from m3u8svc.refresh import MEMORY
from m3u8svc.tasks.ledger import Ledger
from m3u8svc.tasks.remembered import pieces_by_track
from m3u8svc.tasks.segmentmap import SegmentMap, map_of_record
from m3u8svc.tasks.task import Status, Task


def map_at_rest(task: Task, ledger: Ledger) -> SegmentMap:
    """
    The map of a task that is not finished and does not run; empty where no playlist of it is on record. Blocking.
    """
    labels = [each.segment for each in task.incidents if each.segment] if task.status is Status.FAILED else []
    try:
        with read_file(work_path(task) / MEMORY) as file:
            return map_of_record(pieces_by_track(file.read()), ledger, labels[-1:])
    except (OSError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return SegmentMap()  # not there, not ours, or damaged: nothing is known
