"""
/api/tasks/file: a file over a connection, whole, in part, slowly, and not at all.
"""

import contextlib
import os

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from m3u8svc.errors import DiskError, FileGone, NoResultFile, ResultNotReady
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.web.file import PIECE_BYTES

TARGET = "/api/tasks/file?id=t1"
CONTENT = bytes(range(256)) * (5 * PIECE_BYTES // 512)  # two pieces and a half


class FullTransport(StringTransport):
    """
    A client that takes nothing for now: whoever writes is told to pause, as a connection with a full buffer does.
    """

    def writeSequence(self, data):
        self.write(b"".join(data))

    def write(self, data):
        super().write(data)
        if self.producer is not None and len(self.value()) > 1000:
            self.producer.pauseProducing()


@pytest.fixture(autouse=True)
def film(service, tmp_path):
    """A finished task, and its file."""
    service.hold(Task(id="t1", spec=TaskSpec(url="u", filename="f")))
    service.file = tmp_path / "电影.mp4"
    service.file.write_bytes(CONTENT)
    os.utime(service.file, (784111777, 784111777))
    return service.file


def times_open(film):
    """By how many descriptors of this process."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of this listing
            found += os.readlink(f"/proc/self/fd/{name}") == str(film)
    return found


def begin(wire, build_request, headers=None, transport=FullTransport):
    """A connection on which the file was asked for."""
    channel, written = wire.connect(transport=transport)
    channel.dataReceived(build_request("GET", TARGET, headers=headers))
    return channel, written


def test_the_whole(wire):
    """With its length, its type, its name and its time, and not kept by anybody in between."""
    reply = wire.ask("GET", TARGET)
    assert (200, str(len(CONTENT)), CONTENT) == (reply.status, reply.headers["content-length"], reply.body)
    assert ("video/mp4", "bytes") == (reply.headers["content-type"], reply.headers["accept-ranges"])
    assert "Sun, 06 Nov 1994 08:49:37 GMT" == reply.headers["last-modified"]
    assert "private, no-cache" == reply.headers["cache-control"]
    assert (
        "inline; filename=\"__.mp4\"; filename*=UTF-8''%E7%94%B5%E5%BD%B1.mp4" == reply.headers["content-disposition"]
    )
    assert "nosniff" == reply.headers["x-content-type-options"]
    assert "transfer-encoding" not in reply.headers


def test_to_be_saved(wire):
    """download=true is for browsers."""
    assert wire.ask("GET", f"{TARGET}&download=true").headers["content-disposition"].startswith("attachment; ")


def test_a_part(wire, service):
    """Only that is read."""
    reply = wire.ask("GET", TARGET, headers={"Range": "bytes=300-302"})
    assert (206, b",-.", "3") == (reply.status, reply.body, reply.headers["content-length"])
    assert f"bytes 300-302/{len(CONTENT)}" == reply.headers["content-range"]
    assert [(3, 300)] == service.reads


def test_a_part_that_is_not_there(wire):
    """416, with how much there is."""
    reply = wire.ask("GET", TARGET, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (416, "range_not_satisfiable") == (reply.status, reply.headers["x-error-code"])
    assert f"bytes */{len(CONTENT)}" == reply.headers["content-range"]


def test_going_on_with_what_was_replaced(wire, film):
    """After the file changed, whoever asks for the rest of the old one gets the whole."""
    etag = wire.ask("GET", TARGET).headers["etag"]
    rest = {"Range": "bytes=5-", "If-Range": etag}
    assert 206 == wire.ask("GET", TARGET, headers=rest).status
    film.write_bytes(b"another film")
    reply = wire.ask("GET", TARGET, headers=rest)
    assert (200, b"another film") == (reply.status, reply.body)


def test_what_is_known_already(wire, service):
    """304, without a body and without reading."""
    etag = wire.ask("GET", TARGET).headers["etag"]
    service.reads.clear()
    reply = wire.ask("GET", TARGET, headers={"If-None-Match": etag})
    assert (304, b"", etag, []) == (reply.status, reply.body, reply.headers["etag"], service.reads)
    assert reply.headers.keys().isdisjoint({"content-type", "content-length"})


def test_head(wire, service):
    """The same headers, nothing read; a range is for GET alone."""
    whole = wire.ask("GET", TARGET).headers
    service.reads.clear()
    reply = wire.ask("HEAD", TARGET, headers={"Range": "bytes=0-1"})
    assert (200, b"", []) == (reply.status, reply.body, service.reads)
    for name in ("content-length", "content-type", "etag", "last-modified", "content-disposition", "accept-ranges"):
        assert whole[name] == reply.headers[name]


def test_an_empty_file(wire, film):
    """Nothing of it, which is the whole."""
    film.write_bytes(b"")
    reply = wire.ask("GET", TARGET)
    assert (200, "0", b"") == (reply.status, reply.headers["content-length"], reply.body)


@pytest.mark.parametrize(
    ("query", "error", "status", "code"),
    [
        ("", None, 400, "missing_task_id"),
        ("?id=../t1", None, 404, "task_not_found"),
        ("?id=t2", None, 404, "task_not_found"),
        ("?id=t1&download=1", None, 400, "invalid_request"),
        ("?id=t1", FileGone(path="/f"), 404, "file_gone"),
        ("?id=t1", ResultNotReady(), 409, "result_not_ready"),
        ("?id=t1", NoResultFile(path="s3://bucket/f", reason="elsewhere"), 409, "no_result_file"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_file(wire, service, method, query, error, status, code):
    """Why there is none."""
    service.broken = error
    reply = wire.ask(method, f"/api/tasks/file{query}")
    assert (status, code) == (reply.status, reply.headers["x-error-code"])


@pytest.mark.logs_failures
def test_a_disk_that_fails(wire, service, failures):
    """It is ours, and says no path."""
    service.broken = DiskError(path="/secret", reason="Input/output error")
    reply = wire.ask("GET", TARGET)
    assert (500, "读取结果文件失败", 1) == (reply.status, reply.value, len(failures))


def test_a_slow_reader(wire, build_request, service, film):
    """The next piece is read when the client has taken the last one; then all of it is there, and nothing is open."""
    _, written = begin(wire, build_request)
    assert [(PIECE_BYTES, 0)] == service.reads
    assert 1 == times_open(film)
    for _ in range(3):
        written.producer.resumeProducing()
    assert written.value().endswith(b"\r\n\r\n" + CONTENT)
    assert [(PIECE_BYTES, 0), (PIECE_BYTES, PIECE_BYTES), (PIECE_BYTES // 2, 2 * PIECE_BYTES)] == service.reads
    assert 0 == times_open(film)


def test_a_reader_that_goes(wire, build_request, service, film):
    """What is left is not read, and the file is closed."""
    channel, written = begin(wire, build_request)
    channel.connectionLost(Failure(ConnectionLost()))
    written.producer = None
    assert ([(PIECE_BYTES, 0)], 0) == (service.reads, times_open(film))


@pytest.mark.logs_failures
def test_a_file_that_becomes_shorter(wire, build_request, service, film, failures):
    """The connection breaks off: what was promised cannot be kept, and must not look as if it was."""
    channel, written = begin(wire, build_request)
    film.write_bytes(b"short")
    written.producer.resumeProducing()
    assert written.disconnected
    channel.connectionLost(Failure(ConnectionLost()))
    assert (1, 0) == (len(failures), times_open(film))
