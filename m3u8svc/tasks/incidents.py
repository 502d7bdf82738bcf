"""
What went wrong with a task, in the order it did: the last few incidents, bounded however many there are.
"""

import attrs

from m3u8svc.errors import M3u8svcError
from m3u8svc.redact import redact_url
from m3u8svc.tasks.task import Incident, Task

KEPT = 20
"""How many incidents a task keeps (R-ERR-1)."""
TEXT_CHARACTERS = 500


def incident_of(error: M3u8svcError, *, at: float, segment: str = "", attempt: int = 1) -> Incident:
    """
    The incident that an error is, at `at` (epoch seconds).
    """
    return Incident(
        at=at,
        code=error.code,
        text=error.text("zh")[:TEXT_CHARACTERS],
        text_en=error.text("en")[:TEXT_CHARACTERS],
        segment=segment,
        attempt=attempt,
        url=url_of(error),
    )


def english_of(task: Task) -> str:
    """
    What `Task.err_msg` says, in English: that of the incident it came with, "" where that is not among the last ones.
    """
    said = task.err_msg[:TEXT_CHARACTERS]
    for incident in reversed(task.incidents):
        if said and (incident.code, incident.text) == (task.err_code, said):
            return incident.text_en
    return ""


def url_of(error: M3u8svcError) -> str:
    """
    The URL an error is about, redacted; "" where it is about none.
    """
    found: object = error
    while isinstance(found, M3u8svcError):
        if "url" in found.fields:
            return redact_url(str(found.fields["url"]))
        found = found.fields.get("cause")
    return ""


def with_incident(incidents: tuple[Incident, ...], new: Incident) -> tuple[Incident, ...]:
    """
    The incidents and one more. What went wrong in the same way with the same thing before is counted with it, and takes
    no other place: sixteen segments that fail by turns are sixteen incidents, however often.
    """
    same = [each for each in incidents if _subject(each) == _subject(new)]
    others = tuple(each for each in incidents if _subject(each) != _subject(new))
    counted = attrs.evolve(new, count=new.count + sum(each.count for each in same))
    return (*others, counted)[-KEPT:]


def _subject(incident: Incident) -> tuple[str, str, str]:
    return incident.code, incident.segment, incident.url
