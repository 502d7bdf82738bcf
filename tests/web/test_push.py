"""
/ws/progress: what is said, when, and to whom. Timing in memory, with a clock; slow clients over real sockets.
"""

import json

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.web.websocket import ConnectionRejected, WebSocketClientEndpoint
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, Request, TextMessage

from m3u8svc.tasks.task import Phase, Progress, Status, Task, TaskSpec
from m3u8svc.web.push import ProgressFeed
from m3u8svc.web.site import make_site
from m3u8svc.weblimits import WebLimits
from tests.until import until


def moving(percent, task_id="t1", status=Status.DOWNLOADING, **progress):
    return Task(
        id=task_id,
        spec=TaskSpec(url="https://a.example/", filename="film"),
        status=status,
        progress=Progress(percent=percent, **progress),
    )


class Client:
    """
    A WebSocket client over an in-memory connection; `heard` are the messages so far.
    """

    def __init__(self, wire, peer="127.0.0.1", transport=StringTransport):
        self.channel, self.transport = wire.connect(peer, transport)
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._read = 0
        self.events = []
        opening = self._connection.send(Request("127.0.0.1:8080", "/ws/progress"))
        self.say(opening)
        self.listen()

    def say(self, raw):
        self.channel.dataReceived(raw)

    def send(self, event):
        self.say(self._connection.send(event))

    def listen(self):
        raw = self.transport.value()[self._read :]
        self._read += len(raw)
        self._connection.receive_data(raw)
        self.events += self._connection.events()

    @property
    def heard(self):
        self.listen()
        return [json.loads(event.data) for event in self.events if isinstance(event, TextMessage)]

    @property
    def closed_with(self):
        self.listen()
        return next((event.code for event in self.events if isinstance(event, CloseConnection)), None)


@pytest.fixture
def client(wire):
    return Client(wire)


class Listener:
    """A socket that hears everything."""

    def offer(self, task_id, message):
        pass

    def end(self, code):
        pass


def percents(client):
    return [message["progress"] for message in client.heard if message]


def test_handshake(client):
    """The WebSocket opens; without running tasks nothing is said."""
    assert isinstance(client.events[0], AcceptConnection)
    assert [] == client.heard


def test_first_messages(wire, service):
    """A new client hears at once where every running task stands, in the documented shape."""
    service.live = [
        moving(41, status_bar="[3/5]下载ts 速度 5.09 MB/s", phase=Phase.DOWNLOAD, speed=5.5, eta_s=7.2),
        moving(3, "t2"),
    ]
    first, second = Client(wire).heard
    expected = {
        "id": "t1",
        "status_bar": "[3/5]下载ts 速度 5.09 MB/s",
        "progress": 41,
        "status": "下载中",
        "phase": "download",
        "speed": 6,
        "eta": 7,
    }
    assert expected == first
    assert "t2" == second["id"]


def test_change_is_told(client, service):
    """A change is told at once to a quiet client."""
    service.tell(moving(5))
    assert [5] == percents(client)


def test_no_change_is_not_told(client, service, clock):
    """The same again is not said again."""
    service.live = [moving(5)]
    for _ in range(5):
        service.tell(moving(5))
        clock.advance(0.2)
    assert [5] == percents(client)


def test_ended_tasks_are_forgotten(service, clock):
    """A client that stays for a thousand tasks does not make us keep them, however each of them ended."""
    feed = ProgressFeed(service, clock=clock)
    feed.join(Listener())
    for number in range(1000):
        feed.told(moving(100, f"t{number}", status=Status.COMPLETED if number % 2 else Status.DOWNLOADING))
        clock.advance(0.1)
    assert len(feed._last) <= 2
    feed.close()


def test_rate_per_task(client, service, clock):
    """A task is told of ten times a second at most, however often it moves; the last state always arrives."""
    for step in range(1000):
        service.tell(moving(step // 10, size_bytes=step, segments_done=step, speed=float(step)))
        clock.advance(0.001)
    told = len(client.heard)
    clock.advance(0.2)
    assert 9 <= told <= 10
    assert 999 == client.heard[-1]["speed"]


def test_rate_of_several_tasks(client, service, clock):
    """Tasks do not take each other's turns."""
    for step in range(10):
        for number in range(5):
            service.tell(moving(step, f"t{number}"))
        clock.advance(0.1)
    clock.advance(0.2)
    for number in range(5):
        told = [message["progress"] for message in client.heard if message.get("id") == f"t{number}"]
        assert 9 == told[-1]
        assert 9 <= len(told) <= 10


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.PAUSED])
def test_last_message(client, service, clock, status):
    """A task that ends right after it moved is told of once more, with its last state."""
    service.tell(moving(99))
    service.tell(moving(100, status=status))
    clock.advance(0.2)
    assert (status.value, 100) == (client.heard[-1]["status"], client.heard[-1]["progress"])


def test_keep_alive(client, service, clock):
    """A quiet server says {} every five seconds, and counts from what it said last."""
    clock.advance(4.9)
    assert [] == client.heard
    clock.advance(0.2)
    assert [{}] == client.heard
    service.tell(moving(5))
    clock.advance(4.9)
    assert 2 == len(client.heard)
    clock.advance(0.2)
    assert {} == client.heard[-1]


def test_all_clients_hear(wire, service, clock):
    """Every client is told everything."""
    clients = [Client(wire) for _ in range(3)]
    service.tell(moving(5))
    assert [[5]] * 3 == [percents(each) for each in clients]


def test_slow_client(client, service, clock):
    """A client that does not read is told the newest state of each task when it reads again, and nothing else."""
    client.channel.transport.producer.pauseProducing()
    for step in range(100):
        for number in range(3):
            service.tell(moving(step, f"t{number}"))
        clock.advance(0.1)
    clock.advance(0.2)
    assert ([], "paused") == (client.heard, client.transport.producerState)
    client.channel.transport.producer.resumeProducing()
    assert "producing" == client.transport.producerState
    assert [("t0", 99), ("t1", 99), ("t2", 99)] == sorted((each["id"], each["progress"]) for each in client.heard)


class Narrow(StringTransport):
    """
    A transport that is full after each write once it is narrow.
    """

    narrow = False

    def write(self, data):
        super().write(data)
        if self.narrow:
            self.producer.pauseProducing()


def test_slow_client_that_reads_a_little(wire, service, clock):
    """A client that takes one message gets one; the rest waits, still replaceable."""
    client = Client(wire, transport=Narrow)
    client.transport.narrow = True
    for percent in (1, 2):
        for number in range(3):
            service.tell(moving(percent, f"t{number}"))
        clock.advance(0.1)
    clock.advance(0.1)
    assert [("t0", 1)] == [(each["id"], each["progress"]) for each in client.heard]
    client.transport.producer.resumeProducing()
    assert ("t1", 2, 2) == (client.heard[-1]["id"], client.heard[-1]["progress"], len(client.heard))


def test_slow_client_does_not_slow_others(wire, service):
    """One client's pause is its own."""
    slow, quick = Client(wire), Client(wire)
    slow.channel.transport.producer.pauseProducing()
    service.tell(moving(5))
    assert ([], [5]) == (percents(slow), percents(quick))


def test_client_that_never_reads(client, clock):
    """A client that takes nothing for a minute is let go; it gets no keep-alives meanwhile."""
    client.channel.transport.producer.pauseProducing()
    clock.pump([1] * 59)
    assert not client.transport.disconnecting
    clock.advance(1)
    assert client.transport.disconnecting
    assert [] == client.heard


def test_client_that_is_dead(client, clock):
    """A client that answers no ping is let go; one that does stays."""
    clock.pump([1] * 31)
    client.listen()
    ping = next(event for event in client.events if isinstance(event, Ping))
    client.send(Pong(ping.payload))
    clock.pump([1] * 31)
    assert not client.transport.disconnecting
    clock.pump([1] * 31)
    assert client.transport.disconnecting


def test_client_that_talks(client, service, clock):
    """What a client says is not listened to, and does no harm."""
    client.send(TextMessage("{" * 60_000))
    client.send(TextMessage("{" * 60_000))
    clock.advance(0)
    service.tell(moving(5))
    assert [5] == percents(client)


def test_client_that_talks_too_much(client, clock, service):
    """A message without end closes the connection with 1009, also when a ping follows in the same breath."""
    endless = TextMessage("x" * 70_000, message_finished=False)
    client.say(client._connection.send(endless) + client._connection.send(Ping(b"x")))
    clock.advance(0)
    assert (1009, True) == (client.closed_with, client.transport.disconnecting)
    service.tell(moving(5))
    assert [] == percents(client)


def test_client_that_leaves(client, service):
    """A client that said goodbye is not spoken to; without clients nobody listens to the service."""
    assert 1 == len(service.listeners)
    client.send(CloseConnection(1000))
    service.tell(moving(5))
    assert [] == percents(client)
    client.channel.connectionLost(ConnectionError("gone"))
    assert [] == service.listeners


def test_too_many_clients(wire):
    """Clients are counted, and the one too many hears why."""
    clients = [Client(wire, f"10.0.0.{number}") for number in range(64)]
    channel, transport = wire.connect()
    channel.dataReceived(
        b"GET /ws/progress HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert transport.value().startswith(b"HTTP/1.1 503 ")
    assert '"连接数已达上限"'.encode() in transport.value()
    clients[0].channel.connectionLost(ConnectionError("gone"))
    assert isinstance(Client(wire).events[0], AcceptConnection)


def test_connection_is_forgotten(wire, client):
    """A WebSocket counts as a connection until it is lost."""
    assert 1 == len(wire.site._channels)
    client.channel.connectionLost(ConnectionError("gone"))
    assert 0 == len(wire.site._channels)


def test_plain_request(wire):
    """Who comes without an upgrade hears what this address is for."""
    reply = wire.ask("GET", "/ws/progress")
    assert (400, "此地址只接受 WebSocket 连接") == (reply.status, reply.value)


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        pytest.param({"Connection": None}, "Connection", id="no Connection"),
        pytest.param({"Connection": "keep-alive"}, "Connection", id="another Connection"),
        pytest.param({"Connection": "Upgr\xe4de"}, "ascii", id="not ASCII"),
        pytest.param({"Sec-WebSocket-Key": None}, "Sec-WebSocket-Key", id="no key"),
        pytest.param({"Sec-WebSocket-Version": None}, "Sec-WebSocket-Version", id="no version"),
        pytest.param({"Sec-WebSocket-Version": "8"}, "Sec-WebSocket-Version", id="another version"),
        pytest.param({"Upgrade": "websocket, h2c"}, "Upgrade", id="two upgrades"),
        pytest.param({"Transfer-Encoding": "identity"}, "Transfer-Encoding", id="an encoding"),
    ],
)
def test_half_a_handshake(wire, changed, named):
    """What does not make a WebSocket is refused with what is wrong and the version we speak, and with a code."""
    reply = wire.ask("GET", "/ws/progress", headers={k: v for k, v in (HANDSHAKE | changed).items() if v is not None})
    assert (400, "bad_handshake", "13") == (
        reply.status,
        reply.headers["x-error-code"],
        reply.headers["sec-websocket-version"],
    )
    assert named in reply.value


def test_stop(wire, client):
    """When nobody listens any more, clients are told that we go."""
    wire.site.doStart()
    wire.site.doStop()
    assert 1001 == client.closed_with


# -- Over sockets: Twisted's own client, and a reader that really does not read --------------------------------------


class Ear:
    """
    Twisted's WebSocket client, writing down what it hears.
    """

    def __init__(self):
        self.heard = []
        self.lost = Deferred()

    def buildProtocol(self, url):
        return self

    def negotiationStarted(self, transport):
        self.transport = transport

    def negotiationFinished(self):
        pass

    def textMessageReceived(self, message):
        self.heard.append(json.loads(message))

    def bytesMessageReceived(self, data):
        pass

    def pongReceived(self, payload):
        pass

    def connectionLost(self, reason):
        self.lost.callback(None)


class Listening:
    """
    A site on a real port with a clock of its own, so that its time passes when we say so.
    """

    def __init__(self, service, names):
        self.clock = Clock()
        site = make_site(
            service,
            reactor=self.clock,
            allowed_hosts=lambda: frozenset(names),
            plugins=service.plugins,
            health=service.health,
            version="0",
            limits=WebLimits(socket_queue_bytes=1024 * 1024),
        )
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")

    async def hear(self):
        ear = Ear()
        url = f"ws://127.0.0.1:{self.port.getHost().port}/ws/progress"
        await WebSocketClientEndpoint.new(reactor, url).connect(ear)
        return ear


@pytest_twisted.async_yield_fixture
async def listening(service):
    found = Listening(service, {"127.0.0.1"})  # Twisted's client does not name the port
    yield found
    await found.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_messages_on_the_wire(listening, service):
    """A real client hears the present, then every change."""
    service.live = [moving(1)]
    ear = await listening.hear()
    await until(lambda: ear.heard)
    service.tell(moving(2))
    await until(lambda: len(ear.heard) == 2)
    assert [1, 2] == [message["progress"] for message in ear.heard]
    ear.transport.loseConnection()
    await ear.lost
    await until(lambda: not service.listeners)


@pytest_twisted.ensureDeferred
async def test_wrong_host_on_the_wire(service):
    """A client that names another host is turned away before the upgrade."""
    elsewhere = Listening(service, {"localhost:1"})
    with pytest.raises(ConnectionRejected) as caught:
        await elsewhere.hear()
    assert 421 == caught.value.response.code
    await elsewhere.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_slow_client_on_the_wire(listening, service):
    """
    A client that stops reading costs one message per task, not sixteen megabytes; reading again it hears the newest.
    """
    ear = await listening.hear()
    ear.transport.transport.pauseProducing()
    told = 0
    for step in range(20):
        for number in range(200):
            service.tell(moving(step, f"t{number}", status_bar="x" * 4000))
            told += 1
        listening.clock.advance(0.1)
        await deferLater(reactor, 0)
    listening.clock.advance(0.1)
    ear.transport.transport.resumeProducing()
    await until(lambda: {each["id"]: each["progress"] for each in ear.heard} == {f"t{n}": 19 for n in range(200)})
    assert len(ear.heard) < told * 0.8
    ear.transport.loseConnection()
    await ear.lost
