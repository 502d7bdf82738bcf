"""
What the tests of the web room share: a service that records, and requests over an in-memory connection.
"""

import json
from collections import Counter

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogLevel, globalLogPublisher

from m3u8svc.boxwatch import BoxWatch
from m3u8svc.counting import Counts, Traffic
from m3u8svc.degraded import Degraded
from m3u8svc.errors import TaskNotFound
from m3u8svc.hls.outline import Outline
from m3u8svc.hooks import Tally
from m3u8svc.places import file_identity
from m3u8svc.results import open_result
from m3u8svc.tasks.livelog import Live
from m3u8svc.tasks.plugins import PluginState, PluginStatus
from m3u8svc.tasks.search import Found, Overview
from m3u8svc.tasks.segmentmap import SegmentMap
from m3u8svc.tasks.task import SystemSettings, Task
from m3u8svc.web.site import make_site

HOST = "127.0.0.1:8080"


class RecordedPlugins:
    """
    The plugins in memory: one that works, and one that is broken.
    """

    merger_names = ("mp4", "ts", "none")
    storage_names = ("disk",)

    def statuses(self):
        return [
            PluginStatus(name="good", state=PluginState.ACTIVE, version="1.0", distribution="m3u8svc-good"),
            PluginStatus(name="sad", state=PluginState.BROKEN, version="0.1", reason="ImportError: no module named x"),
        ]

    def tallies(self, plugin):
        return {"task_changed": Tally(calls=3, failures=1)} if plugin == "good" else {}


class RecordingService:
    """
    The service in memory. `broken` is raised by whatever is called next; `calls` is what was called.
    """

    default_save_location = "/srv/films"

    def __init__(self):
        self.calls = []
        self.preparations = 0
        self.stored = {}
        self.settings = SystemSettings()
        self.plugins = RecordedPlugins()
        self.broken = None
        self.before_answering = None  # a Deferred every create waits for
        self.outline = Outline(segments=1, skipped=0, gaps=0, duration_s=6.0, estimated_bytes=None)
        self.live = []
        self.named = {}  # ids of tasks by the name of the request that made them
        self.waiting = []  # ids in the order of the queue
        self.kept = True
        self.gone = set()  # ids of tasks that a list had, and that are removed before they are read
        self.speed = 0.0
        self.closely = Live()
        self.file = None  # the result of each task
        self.reads = []  # where, and how much
        self.disks = ()
        self.map = SegmentMap()
        self.arrival = None  # a Deferred every segment waits for
        self.piece = None  # the file of every segment
        self.listeners = []
        self.counts = Counts()
        self.seen = Traffic()
        self.unready = None
        self.boxes = BoxWatch()
        self.health = Degraded(wall=lambda: 1.5, probe=self._probe, boxes=self.boxes)

    def in_thread(self, work, *arguments):
        self.reads.append(arguments[1:])
        return succeed(work(*arguments))

    async def prepared(self):
        self.preparations += 1

    async def _probe(self):
        if self.unready is not None:
            raise self.unready

    def _called(self, *call):
        self.calls.append(call)
        if self.broken is not None:
            raise self.broken

    def hold(self, task):
        self.stored[task.id] = task
        return task

    def _found(self, task_id):
        if task_id not in self.stored:
            raise TaskNotFound()
        return self.stored[task_id]

    async def create(self, draft):
        self._called("create", draft)
        if self.before_answering is not None:
            await self.before_answering
        return self.hold(Task(id=f"task-{len(self.stored) + 1}", spec=draft.spec(self.settings), created_at=1.5))

    async def create_once(self, draft, creation):
        self._called("create_once", draft, creation)
        replayed = creation.key in self.named
        if not replayed:
            self.named[creation.key] = (await self.create(draft)).id
            self.calls.pop()
        return self.named[creation.key], replayed

    async def queue(self):
        return {task_id: position for position, task_id in enumerate(self.waiting, 1)}

    async def plan(self, draft):
        self._called("plan", draft)
        return self.outline

    async def task(self, task_id):
        self._called("task", task_id)
        return self._found(task_id)

    async def tasks(self, *, status=None, limit=None, after=None):
        self._called("tasks", status, limit, after.id)
        found = self._of(status)
        return found[found.index(after) + 1 :][:limit]

    async def first_tasks(self, *, status, limit, offset):
        self._called("tasks", status, limit, offset)
        found = self._of(status)
        return len(found), found[offset:][:limit]

    def _of(self, status):
        return [task for task in self.stored.values() if status in (None, task.status)]

    async def search(self, search):
        self._called("search", search)
        ids = list(self.stored)[search.offset :][: search.limit]
        return Found(ids=tuple(ids), total=len(self.stored))

    async def tasks_named(self, task_ids):
        self._called("tasks_named", *task_ids)
        return [self.stored[task_id] for task_id in task_ids if task_id not in self.gone]

    async def overview(self):
        self._called("overview")
        return Overview(
            tally=Counter(task.status for task in self.stored.values()),
            speed=self.speed,
            limit_rate=2048,
            disks=self.disks,
        )

    async def change(self, task_id, change):
        self._called("change", task_id, change)
        return self.hold(attrs.evolve(self._found(task_id), status=change.status or self._found(task_id).status))

    async def keeps_segments(self, task_id):
        self._called("keeps_segments", task_id)
        return self.kept

    async def report(self, task_id):
        self._called("report", task_id)
        self._found(task_id)
        return b'{"task": "t1", "segments": []}'

    async def verify(self, task_id, *, decode):
        self._called("verify", task_id, decode)
        self._found(task_id)
        return {"ok": True}

    async def segment_map(self, task_id):
        self._called("segment_map", task_id)
        self._found(task_id)
        return self.map

    async def look_at(self, task_id):
        self._called("look_at", task_id)
        self._found(task_id)
        return self.closely

    async def result(self, task_id):
        self._called("result", task_id)
        self._found(task_id)
        return open_result(str(self.file), file_identity(self.file), self.in_thread)

    async def playlist_to_watch(self, task_id, track):
        self._called("playlist_to_watch", task_id, track)
        self._found(task_id)
        return "#EXTM3U\n"

    async def piece_to_watch(self, task_id, wanted):
        self._called("piece_to_watch", task_id, wanted)
        self._found(task_id)
        if self.arrival is not None:
            await self.arrival
        return self.piece, "video/mp2t"

    async def picture(self, task_id, position):
        self._called("picture", task_id, position)
        self._found(task_id)
        if self.arrival is not None:
            await self.arrival
        return b"\xff\xd8 a picture \xff\xd9"

    async def remove(self, task_id, *, with_files):
        self._called("remove", task_id, with_files)
        self._found(task_id)
        del self.stored[task_id]

    async def system_settings(self):
        self._called("system_settings")
        return self.settings

    async def replace_settings(self, settings):
        self._called("replace_settings", settings)
        self.settings = settings
        return settings

    def running(self):
        return list(self.live)

    def traffic(self):
        return self.seen

    def watch(self, told):
        self.listeners.append(told)
        return lambda: self.listeners.remove(told)

    def tell(self, task):
        for told in list(self.listeners):
            told(task)


@attrs.frozen
class Reply:
    """
    One answer off the wire; `value` is its JSON.
    """

    status: int
    headers: dict
    body: bytes

    @property
    def value(self):
        return json.loads(self.body)


def read_reply(raw):
    """
    The first answer in these bytes.
    """
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        chunks = b""
        while body and not body.startswith(b"0\r\n"):
            size, _, body = body.partition(b"\r\n")
            chunks, body = chunks + body[: int(size, 16)], body[int(size, 16) + 2 :]
        body = chunks
    return Reply(int(first.split()[1]), headers, body)


def raw_request(method, target, body=None, headers=None, host=HOST):
    """
    The bytes of a well-formed request; `body` may be a JSON value or bytes.
    """
    lines = {"Host": host}
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content


class Wire:
    """
    A site with an in-memory connection at a time.
    """

    def __init__(self, site, clock):
        self.site = site
        self.clock = clock

    def connect(self, peer="127.0.0.1", transport=StringTransport):
        """
        A new connection: the site's end of it, and what it writes to.
        """
        peer = IPv4Address("TCP", peer, 50000)
        channel = self.site.buildProtocol(peer)
        transport = transport(hostAddress=IPv4Address("TCP", "127.0.0.1", 8080), peerAddress=peer)
        channel.makeConnection(transport)
        return channel, transport

    def send(self, raw):
        """
        The answer to these bytes on a new connection.
        """
        channel, transport = self.connect()
        channel.dataReceived(raw)
        return read_reply(transport.value())

    def ask(self, method, target, body=None, headers=None, host=HOST):
        """
        The answer to a request.
        """
        return self.send(raw_request(method, target, body, headers, host))


@pytest.fixture
def failures():
    """Every failure logged during the test."""
    seen = []

    def observe(event):
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def service():
    return RecordingService()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def site(service, clock):
    return make_site(
        service,
        reactor=clock,
        allowed_hosts=lambda: frozenset({HOST, "localhost:8080"}),
        plugins=service.plugins,
        health=service.health,
        version="1.2.3",
        counts=service.counts,
        in_thread=maybeDeferred,
    )


@pytest.fixture
def wire(site, clock):
    return Wire(site, clock)


@pytest.fixture
def parse_reply():
    return read_reply


@pytest.fixture
def build_request():
    return raw_request
