"""
A list that is too long for one piece: what arrives, how fast, and what happens to it half-way.
"""

import json

import attrs
import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from m3u8svc.errors import StoreError
from m3u8svc.tasks.task import Again, Extensions, Status, Task, TaskSpec
from m3u8svc.web.render import json_bytes, task_object
from m3u8svc.web.tasks import KEPT_BYTES, TASKS_AT_ONCE, Written

PAGES = 3
COUNT = PAGES * TASKS_AT_ONCE - 50
END = b"0\r\n\r\n"


class FullTransport(StringTransport):
    """
    A client that takes nothing for now: whoever writes is told to pause, as a connection with a full buffer does.
    """

    def writeSequence(self, data):
        super().writeSequence(data)
        if self.producer is not None and len(self.value()) > 1000:
            self.producer.pauseProducing()


@pytest.fixture
def tasks(service):
    """So many that a list of them has several pieces."""
    spec = TaskSpec(url="https://a.example/中", filename="电影")
    return [service.hold(Task(id=f"t{number:04}", spec=spec)) for number in range(COUNT)]


def asked(service):
    """How the pages of the list were asked for: how many tasks, from where on."""
    return [call[2:] for call in service.calls if call[0] == "tasks"]


def chunks_of(raw):
    """The chunks of an answer, without the one that ends it."""
    body, found = raw.partition(b"\r\n\r\n")[2], []
    while body and not body.startswith(END):
        size, _, body = body.partition(b"\r\n")
        found.append(body[: int(size, 16)])
        body = body[int(size, 16) + 2 :]
    return found


def begin(wire, build_request, transport=StringTransport, target="/api/tasks"):
    """A connection on which the list was asked for."""
    channel, written = wire.connect(transport=transport)
    channel.dataReceived(build_request("GET", target))
    return channel, written


def test_a_long_list(wire, build_request, service, tasks):
    """It comes in chunks, each read after the other, and is the same JSON as if it came at once."""
    _, written = begin(wire, build_request)
    head = written.value().partition(b"\r\n\r\n")[0].lower()
    pieces = chunks_of(written.value())
    whole = b", ".join(json_bytes(task_object(task, default_save_location="/srv/films")) for task in tasks)
    assert b"transfer-encoding: chunked" in head and b"content-length" not in head
    assert (PAGES + 1, b"[" + whole + b"]") == (len(pieces), b"".join(pieces))
    assert written.value().endswith(END)
    assert [(100, 0), (100, "t0099"), (100, "t0199")] == asked(service)


@pytest.mark.parametrize(
    ("query", "pages"),
    [
        ("limit=100", [(100, 0)]),
        ("limit=200", [(100, 0), (100, "t0099")]),
        ("limit=130&offset=20", [(100, 20), (30, "t0119")]),
        ("offset=200", [(100, 200)]),
    ],
)
def test_a_part_of_it(wire, build_request, parse_reply, service, tasks, query, pages):
    """No more is read than was asked for, and what fits into one piece has its length."""
    _, written = begin(wire, build_request, target=f"/api/tasks?{query}")
    reply = parse_reply(written.value())
    assert pages == asked(service)
    assert (len(pages) == 1) == ("content-length" in reply.headers)
    limit, _, offset = query.removeprefix("limit=").partition("&offset=")
    begins, count = (200, 50) if query.startswith("offset") else (int(offset or 0), int(limit))
    assert [task.id for task in tasks[begins : begins + count]] == [each["id"] for each in reply.value]


def test_what_was_shown_is_kept():
    """A task is written once for as long as it is the same object, at the same place of the queue."""
    seen, written = [], Written(most=2)

    def show(task, *, place="/srv", position=None):
        body = written.of(task, default_save_location=place, queue_position=position)
        shown = json.loads(body)
        assert (task.id, place, position) == (
            shown["id"],
            shown["advanced_settings"]["save_location"],
            shown["queue_position"],
        )
        is_new = all(body is not each for each in seen)
        seen.append(body)
        return is_new

    a, b, c = (Task(id=name, spec=TaskSpec(url="https://a.example", filename="film")) for name in "abc")
    assert [True, False] == [show(a), show(a)]
    assert [True, False] == [show(a, position=1), show(a, position=1)]
    assert [True, False] == [show(a, place="/mnt"), show(a, place="/mnt")]
    assert [True, False] == [show(attrs.evolve(a)), show(a, place="/mnt")]
    assert [True, True, False] == [show(b), show(c), show(b)]
    assert show(a, place="/mnt")  # it had to make room


def test_what_is_not_kept():
    """What is another one at each look, and what is long, makes no room for itself."""
    written, spec = Written(most=1), TaskSpec(url="https://a.example", filename="film")
    kept = Task(id="a", spec=spec)
    options = attrs.evolve(spec, extensions=Extensions(plugins={"ads": {}}))
    others = (
        Task(id="b", spec=spec, status=Status.DOWNLOADING),
        Task(id="c", spec=spec, status=Status.COMPLETED, again=Again(kind="merge", output_id="9")),
        Task(id="d", spec=options),
        Task(id="e", spec=spec, err_msg="x" * KEPT_BYTES),
    )

    def show(task):
        return written.of(task, default_save_location="/srv", queue_position=None)

    first = show(kept)
    for other in others:
        assert show(other) == show(other)
        assert first is show(kept)


def test_a_long_list_of_one_state(wire, build_request, parse_reply, service, tasks):
    """Each of its pieces is of that state."""
    for task in tasks[::2]:
        service.hold(attrs.evolve(task, status=Status.FAILED))
    _, written = begin(wire, build_request, target="/api/tasks?status=%E5%A4%B1%E8%B4%A5")
    assert [task.id for task in tasks[::2]] == [each["id"] for each in parse_reply(written.value()).value]


def test_a_list_that_ends_with_its_last_piece(wire, build_request, parse_reply, service):
    """An empty page follows, and no comma."""
    for number in range(TASKS_AT_ONCE):
        service.hold(Task(id=f"t{number}", spec=TaskSpec(url="https://a.example", filename="film")))
    _, written = begin(wire, build_request)
    assert TASKS_AT_ONCE == len(parse_reply(written.value()).value)


def test_one_look_at_the_queue(wire, build_request, parse_reply, service, tasks):
    """The positions of one list fit together, however long it takes and whatever moves meanwhile."""
    looks = []

    async def queue():
        looks.append(None)
        return {task.id: number + len(looks) for number, task in enumerate(tasks)}

    service.queue = queue
    _, written = begin(wire, build_request)
    assert list(range(1, COUNT + 1)) == [each["queue_position"] for each in parse_reply(written.value()).value]


def test_the_queue_of_a_later_piece(wire, build_request, parse_reply, service):
    """It is looked at when the first task that waits comes."""
    spec = TaskSpec(url="https://a.example", filename="film")
    for number in range(TASKS_AT_ONCE + 1):
        status = Status.FAILED if number < TASKS_AT_ONCE else Status.WAITING
        service.hold(Task(id=f"t{number}", spec=spec, status=status))
    service.waiting = [f"t{TASKS_AT_ONCE}"]
    _, written = begin(wire, build_request)
    assert [None] * TASKS_AT_ONCE + [1] == [each["queue_position"] for each in parse_reply(written.value()).value]


def test_a_slow_reader(wire, build_request, parse_reply, service, tasks):
    """The next piece is made when the client has taken the last one."""
    _, written = begin(wire, build_request, FullTransport)
    for count in range(1, PAGES + 1):
        assert count == len(asked(service))
        written.producer.resumeProducing()
    written.producer.resumeProducing()
    assert COUNT == len(parse_reply(written.value()).value)


def test_a_client_that_leaves(wire, build_request, service, tasks, failures):
    """Nothing more is read for it, and nothing is said of it."""
    channel, written = begin(wire, build_request, FullTransport)
    before = len(asked(service))
    channel.connectionLost(Failure(ConnectionLost()))
    written.producer = None
    assert (before, []) == (len(asked(service)), failures)
    assert before < PAGES


def test_a_store_that_fails_half_way(wire, build_request, service, tasks, failures):
    """The connection breaks, so that nobody takes what came for the whole; the log says why, once."""
    channel, written = begin(wire, build_request, FullTransport)
    service.broken = StoreError(reason="the disk is gone")
    written.producer.resumeProducing()
    assert written.disconnected and not written.value().endswith(END)
    channel.connectionLost(Failure(ConnectionLost()))
    assert ["the rest of GET /api/tasks"] == [event["name"] for event in failures]


def test_a_store_that_fails_at_once(wire, service, tasks, failures):
    """As ever: an answer that says so."""
    service.broken = StoreError(reason="the disk is gone")
    reply = wire.ask("GET", "/api/tasks")
    assert (500, "获取任务失败") == (reply.status, reply.value)
