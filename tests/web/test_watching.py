"""
What there is to see of a task's segments, over a connection.
"""

import pytest

from m3u8svc.errors import TooBusy
from m3u8svc.tasks.segmentmap import GroupSpan, SegmentMap, TrackStates
from m3u8svc.tasks.task import Task, TaskSpec


def held(service):
    return service.hold(Task(id="t1", spec=TaskSpec(url="https://a.example/i.m3u8", filename="film")))


def test_segments(wire, service):
    """A letter each, and the groups."""
    held(service)
    service.map = SegmentMap(
        tracks=(TrackStates(kind="video", states="dr.f"), TrackStates(kind="audio", name="Ton", states="sx")),
        groups=(GroupSpan(number=1, first=1, last=4, duration_s=8.5, kept=True),),
    )
    reply = wire.ask("GET", "/api/tasks/segments?id=t1")
    assert 200 == reply.status
    assert {
        "tracks": [
            {"kind": "video", "name": "", "total": 4, "states": "dr.f"},
            {"kind": "audio", "name": "Ton", "total": 2, "states": "sx"},
        ],
        "groups": [{"number": 1, "first": 1, "last": 4, "duration": 8.5, "kept": True}],
    } == reply.value


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/tasks/segments", (400, "missing_task_id")),
        ("/api/tasks/segments?id=", (400, "missing_task_id")),
        ("/api/tasks/segments?id=t2", (404, "task_not_found")),
        ("/api/tasks/segments?id=../t1", (404, "task_not_found")),
        ("/api/tasks/segments?id=t1&id=t1", (400, "invalid_request")),
    ],
)
def test_segments_of_nothing(wire, service, target, expected):
    """What is wrong is said as everywhere."""
    held(service)
    reply = wire.ask("GET", target)
    assert expected == (reply.status, reply.headers["x-error-code"])


def test_segments_while_many_ask(wire, service):
    """Whoever is sent away is told when to come back."""
    held(service)
    service.broken = TooBusy(limit=32, seconds=5)
    reply = wire.ask("GET", "/api/tasks/segments?id=t1")
    assert (429, "5") == (reply.status, reply.headers["retry-after"])


def test_other_methods(wire):
    """Only GET."""
    reply = wire.ask("POST", "/api/tasks/segments?id=t1", {})
    assert (405, "GET") == (reply.status, reply.headers["allow"])
