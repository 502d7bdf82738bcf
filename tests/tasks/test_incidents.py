"""A task remembers the last things that went wrong, and no more of them than that."""

import attrs

from m3u8svc.errors import HttpStatusError, M3u8svcError, NotMedia, SegmentFailed
from m3u8svc.tasks.incidents import KEPT, TEXT_CHARACTERS, english_of, incident_of, url_of, with_incident
from m3u8svc.tasks.task import Incident, Task, TaskSpec


def gone(segment: int) -> Incident:
    """Segment so-and-so was answered with 404."""
    error = HttpStatusError(url=f"https://cdn.example/{segment}.ts?token=s3cret", status=404)
    return incident_of(error, at=float(segment), segment=f"{segment:05d}.ts", attempt=2)


def test_an_incident_is_redacted() -> None:
    """The token of a link is in neither its text nor its URL."""
    incident = gone(7)
    assert ("http_status", "00007.ts", 2, 7.0) == (incident.code, incident.segment, incident.attempt, incident.at)
    assert "cdn.example/7.ts" in incident.url and "cdn.example/7.ts" in incident.text
    assert "s3cret" not in incident.url + incident.text


def test_the_url_is_that_of_the_cause() -> None:
    """An error that has none of its own names that of what led to it."""
    cause = HttpStatusError(url="https://cdn.example/7.ts", status=404)
    assert "https://cdn.example/7.ts" == url_of(SegmentFailed(name="00007.ts", cause=cause))
    assert "" == url_of(NotMedia(position=7, start="<html"))


def test_what_a_failed_task_says_in_english() -> None:
    """Of the incident that ended it, not of others of the same kind; nothing where that is gone."""
    error = SegmentFailed(name="00007.ts", cause=NotMedia(position=7, start="<html"))
    last = incident_of(error, at=2.0)
    task = Task(
        id="t1",
        spec=TaskSpec(url="https://h.test/", filename="f"),
        err_code=error.code,
        err_msg=error.text("zh"),
        incidents=(incident_of(NotMedia(position=7, start="<html"), at=1.0), last),
    )
    assert "segment 00007.ts could not be downloaded: segment 7 is not media (starts with '<html')" == english_of(task)
    assert "" == english_of(attrs.evolve(task, incidents=task.incidents[:1]))
    assert "" == english_of(attrs.evolve(task, err_msg="", err_code=""))


def test_the_english_of_a_long_text_is_found() -> None:
    """Incidents are cut, and the task's own text is not."""
    error = M3u8svcError(reason="x" * 2 * TEXT_CHARACTERS)
    spec = TaskSpec(url="https://h.test/", filename="f")
    task = Task(
        id="t1", spec=spec, err_code=error.code, err_msg=error.text("zh"), incidents=(incident_of(error, at=1.0),)
    )
    assert ("internal error: xx", TEXT_CHARACTERS) == (english_of(task)[:18], len(english_of(task)))


def test_the_oldest_give_way() -> None:
    """Of many different ones the newest are kept."""
    kept: tuple[Incident, ...] = ()
    for number in range(KEPT + 5):
        kept = with_incident(kept, gone(number))
    assert [float(number) for number in range(5, KEPT + 5)] == [each.at for each in kept]


def test_the_same_in_a_row_is_counted() -> None:
    """A disk that is full for an hour is one incident, at its last time."""
    kept = with_incident((), gone(1))
    for _ in range(3):
        kept = with_incident(kept, attrs.evolve(gone(2), at=9.0))
    assert [(1, 1.0), (3, 9.0)] == [(each.count, each.at) for each in kept]


def test_the_same_by_turns_is_counted() -> None:
    """Segments that fail one after the other, again and again, do not drive out what else there was."""
    kept = with_incident((), gone(100))
    for time in range(50):
        for number in (1, 2):
            kept = with_incident(kept, attrs.evolve(gone(number), at=float(time), attempt=time))
    assert [("00100.ts", 1), ("00001.ts", 50), ("00002.ts", 50)] == [(each.segment, each.count) for each in kept]
    assert 49 == kept[-1].attempt


def test_a_text_is_cut() -> None:
    """Whatever a server answers, an incident stays small."""
    error = NotMedia(position=1, start="x" * 10_000)
    assert TEXT_CHARACTERS == len(incident_of(error, at=0.0).text)
