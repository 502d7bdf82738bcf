"""
What there is to see of a task's segments, over a connection.
"""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from m3u8svc.errors import FileGone, NoPicture, NothingToWatch, NotThereYet, SegmentAbsent, TooBusy, WatchTheFile
from m3u8svc.tasks.segmentmap import GroupSpan, SegmentMap, TrackStates
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.tasks.viewing import Wanted


def held(service):
    return service.hold(Task(id="t1", spec=TaskSpec(url="https://a.example/i.m3u8", filename="film")))


def test_segments(wire, service):
    """A letter each, and the groups."""
    held(service)
    service.map = SegmentMap(
        tracks=(TrackStates(kind="video", states="dr.f"), TrackStates(kind="audio", name="Ton", states="sx")),
        groups=(GroupSpan(number=1, first=1, last=4, duration_s=8.5, kept=True, picture=2),),
    )
    reply = wire.ask("GET", "/api/tasks/segments?id=t1")
    assert 200 == reply.status
    assert {
        "tracks": [
            {"kind": "video", "name": "", "total": 4, "states": "dr.f"},
            {"kind": "audio", "name": "Ton", "total": 2, "states": "sx"},
        ],
        "groups": [{"number": 1, "first": 1, "last": 4, "duration": 8.5, "kept": True, "picture": 2}],
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


# -- The film --------------------------------------------------------------------------------------------------------


class Piece:
    """A file in memory, as the service opens it."""

    def __init__(self, content):
        self.content = content
        self.size_bytes = len(content)
        self.closed = 0

    async def read(self, start, count):
        return self.content[start : start + count]

    def close(self):
        self.closed += 1


def test_playlist(wire, service):
    """As players want it, of all tracks or of one."""
    held(service)
    reply = wire.ask("GET", "/api/tasks/play?id=t1")
    assert (200, "application/vnd.apple.mpegurl", b"#EXTM3U\n") == (
        reply.status,
        reply.headers["content-type"],
        reply.body,
    )
    wire.ask("GET", "/api/tasks/play?id=t1&track=2")
    assert [("playlist_to_watch", "t1", None), ("playlist_to_watch", "t1", 2)] == service.calls


def test_segment(wire, service):
    """Its bytes, with their number and kind, and the file is closed at the end."""
    held(service)
    service.piece = Piece(bytes(range(256)) * 3000)
    reply = wire.ask("GET", "/api/tasks/media?id=t1&track=1&segment=17&init=true")
    assert (200, "video/mp2t", "768000") == (
        reply.status,
        reply.headers["content-type"],
        reply.headers["content-length"],
    )
    assert (service.piece.content, 1) == (reply.body, service.piece.closed)
    assert [("piece_to_watch", "t1", Wanted(track=1, position=17, init=True))] == service.calls


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/tasks/play", (400, "missing_task_id")),
        ("/api/tasks/play?id=t2", (404, "task_not_found")),
        ("/api/tasks/play?id=t1&track=-1", (400, "invalid_request")),
        ("/api/tasks/play?id=t1&track=", (400, "invalid_request")),
        ("/api/tasks/media?id=t1", (400, "invalid_request")),
        ("/api/tasks/media?id=t1&segment=0", (400, "invalid_request")),
        ("/api/tasks/media?id=t1&segment=1&segment=2", (400, "invalid_request")),
        ("/api/tasks/media?id=t1&segment=99999999999", (400, "invalid_request")),
        ("/api/tasks/media?id=t1&segment=1&track=x", (400, "invalid_request")),
        ("/api/tasks/media?id=t1&segment=1&init=1", (400, "invalid_request")),
        ("/api/tasks/media?id=t2&segment=1", (404, "task_not_found")),
    ],
)
def test_what_is_wrong(wire, service, target, expected):
    """Each field by its name."""
    held(service)
    service.piece = Piece(b"x")
    reply = wire.ask("GET", target)
    assert expected == (reply.status, reply.headers["x-error-code"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NothingToWatch(status="已暂停"), (409, "nothing_to_watch", None)),
        (WatchTheFile(), (409, "watch_the_file", None)),
        (SegmentAbsent(name="00007.ts", reason="skipped"), (404, "segment_absent", None)),
        (NotThereYet(what="00007.ts"), (503, "not_there_yet", "1")),
        (TooBusy(limit=64, seconds=2), (429, "too_busy", "2")),
    ],
)
def test_what_cannot_be_watched(wire, service, failures, error, expected):
    """Players tell by the status what to do, and the log has nothing of it."""
    held(service)
    service.broken = error
    for target in ("/api/tasks/play?id=t1", "/api/tasks/media?id=t1&segment=7"):
        reply = wire.ask("GET", target)
        assert expected == (reply.status, reply.headers["x-error-code"], reply.headers.get("retry-after"))
    assert [] == failures


# -- Pictures --------------------------------------------------------------------------------------------------------


def test_picture(wire, service):
    """A JPEG that is nobody else's, and that a browser asks for anew, which costs little."""
    held(service)
    reply = wire.ask("GET", "/api/tasks/picture?id=t1&segment=17")
    assert (200, "image/jpeg", "private, no-cache", "nosniff") == (
        reply.status,
        *(reply.headers[name] for name in ("content-type", "cache-control", "x-content-type-options")),
    )
    assert reply.body.startswith(b"\xff\xd8")
    assert str(len(reply.body)) == reply.headers["content-length"]
    again = wire.ask(
        "GET", "/api/tasks/picture?id=t1&segment=17", headers={"If-None-Match": f'"x", {reply.headers["etag"]}'}
    )
    assert (304, b"", reply.headers["etag"]) == (again.status, again.body, again.headers["etag"])
    other = wire.ask("GET", "/api/tasks/picture?id=t1&segment=17", headers={"If-None-Match": '"x"'})
    assert 200 == other.status
    assert [("picture", "t1", 17)] * 3 == service.calls


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/tasks/picture?segment=1", (400, "missing_task_id")),
        ("/api/tasks/picture?id=t2&segment=1", (404, "task_not_found")),
        ("/api/tasks/picture?id=t1", (400, "invalid_request")),
        ("/api/tasks/picture?id=t1&segment=", (400, "invalid_request")),
        ("/api/tasks/picture?id=t1&segment=0", (400, "invalid_request")),
        ("/api/tasks/picture?id=t1&segment=-1", (400, "invalid_request")),
        ("/api/tasks/picture?id=t1&segment=1&segment=1", (400, "invalid_request")),
        ("/api/tasks/picture?id=t1&segment=2147483648", (400, "invalid_request")),
    ],
)
def test_picture_of_nothing(wire, service, target, expected):
    """What is wrong is said as everywhere, and names the field."""
    held(service)
    reply = wire.ask("GET", target)
    assert expected == (reply.status, reply.headers["x-error-code"])
    assert expected[1] != "invalid_request" or "segment: " in reply.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SegmentAbsent(name="00007.ts", reason="skipped"), (404, "segment_absent", None)),
        (NoPicture(name="00007.ts", reason="sound"), (404, "no_picture", None)),
        (FileGone(path="/srv/films/film.mp4"), (404, "file_gone", None)),
        (NotThereYet(what="00007.ts"), (503, "not_there_yet", "1")),
        (TooBusy(limit=64, seconds=2), (429, "too_busy", "2")),
    ],
)
def test_no_picture(wire, service, failures, error, expected):
    """Each by its own code, and none is a fault of ours."""
    held(service)
    service.broken = error
    reply = wire.ask("GET", "/api/tasks/picture?id=t1&segment=7")
    assert expected == (reply.status, reply.headers["x-error-code"], reply.headers.get("retry-after"))
    assert [] == failures


@pytest.mark.parametrize("target", ["media?id=t1&segment=9", "picture?id=t1&segment=9"])
def test_whoever_hangs_up_waits_no_more(wire, service, build_request, failures, target):
    """A seek elsewhere: the wait in the service is cancelled, and nothing is logged of it."""
    held(service)
    cancelled = []
    service.arrival = Deferred(cancelled.append)
    channel, written = wire.connect()
    channel.dataReceived(build_request("GET", f"/api/tasks/{target}"))
    assert ([], b"") == (cancelled, written.value())
    channel.connectionLost(Failure(ConnectionLost()))
    assert ([service.arrival], []) == (cancelled, failures)
