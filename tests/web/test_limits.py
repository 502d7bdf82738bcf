"""
Each limit of the door at its value, one below and one above; and that a service with other limits keeps those.
"""

import json
import re
from pathlib import Path

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from m3u8svc.access.roles import OWNER, Principal, Role
from m3u8svc.tasks.task import Progress, Status, Task, TaskSpec
from m3u8svc.web.push import ProgressFeed, ProgressSocket
from m3u8svc.web.site import make_site
from m3u8svc.weblimits import DEFAULTS, WebLimits, allowed_range, limit_names

HOST = "127.0.0.1:8080"
SMALL = WebLimits(
    header_bytes=2048,
    header_count=12,
    task_body_bytes=1500,
    playlist_bytes=1100,
    body_bytes=1200,
    url_bytes=100,
    filename_bytes=20,
    http_header_count=3,
    http_header_bytes=50,
    http_headers_bytes=90,
    page_tasks=7,
    unfinished_tasks=12,
    header_deadline_s=4,
    body_deadline_s=7,
    idle_s=9,
    unread_s=11,
    ping_s=10,
    socket_queue_bytes=2048,
    connections=6,
    connections_per_address=4,
    sockets=2,
    requests_per_s=5,
    requests_burst=8,
    owner_requests_per_s=2,
)
UNCOUNTED = attrs.evolve(SMALL, owner_requests_per_s=0)


def test_every_limit_is_another_here():
    """The tests below would notice a limit that is not asked for."""
    assert [] == [name for name in limit_names() if getattr(SMALL, name) == getattr(DEFAULTS, name)]


@pytest.fixture(params=[DEFAULTS, UNCOUNTED], ids=["defaults", "configured"])
def limits(request):
    return request.param


@pytest.fixture
def site(service, clock, limits):
    return make_site(
        service,
        reactor=clock,
        allowed_hosts=lambda: frozenset({HOST}),
        plugins=service.plugins,
        health=service.health,
        version="1",
        limits=limits,
    )


AROUND = [(-1, True), (0, True), (1, False)]
around = pytest.mark.parametrize(("more", "passes"), AROUND, ids=["below", "at", "above"])


# -- Requests --------------------------------------------------------------------------------------------------------


def head(*lines):
    return b"\r\n".join([*lines, b"", b""])


@around
def test_bytes_of_headers(wire, limits, more, passes):
    """Request line and headers, without line ends."""
    lines = [b"GET /healthz HTTP/1.1", f"Host: {HOST}".encode()]
    lines.append(b"X: " + b"x" * (limits.header_bytes // 2))
    rest = limits.header_bytes + more - sum(map(len, lines))
    lines.append(b"Y: " + b"y" * (rest - 3))
    reply = wire.send(head(*lines))
    assert (200 if passes else 431) == reply.status
    assert passes or "headers_too_large" == reply.headers["x-error-code"]


@around
def test_bytes_of_a_request_line(wire, limits, more, passes):
    """One line alone may take all there is, with the rest of the headers."""
    host = f"Host: {HOST}".encode()
    line = b"GET /healthz?" + b"x" * (limits.header_bytes + more - len(host) - 22) + b" HTTP/1.1"
    assert limits.header_bytes + more == len(line) + len(host)
    assert (200 if passes else 431) == wire.send(head(line, host)).status


@around
def test_number_of_headers(wire, limits, more, passes):
    """So many lines; Host is one of them."""
    lines = [b"GET /healthz HTTP/1.1", f"Host: {HOST}".encode()]
    lines += [b"X: y"] * (limits.header_count + more - 1)
    assert (200 if passes else 431) == wire.send(head(*lines)).status


@around
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("method", "target"), [("PUT", "/api/tasks?id=1"), ("POST", "/api/settings")])
def test_bytes_of_a_body(wire, limits, build_request, method, target, chunked, more, passes):
    """Any body but that of a new task."""
    body = b"{}".ljust(limits.body_bytes + more)
    if chunked:
        raw = build_request(method, target, None, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        reply = wire.send(raw + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    else:
        reply = wire.ask(method, target, body)
    assert passes == (reply.status != 413)
    assert passes or "body_too_large" == reply.headers["x-error-code"]


TASK = {"url": "http://a.example/i.m3u8", "filename": "film"}


@around
def test_bytes_of_a_task(wire, limits, service, more, passes):
    """All but its playlist."""
    body = json.dumps(TASK).encode().ljust(limits.task_body_bytes + more)
    assert (200 if passes else 413) == wire.ask("POST", "/api/tasks", body).status
    assert passes == bool(service.stored)


@around
@pytest.mark.parametrize("ascii_only", [True, False])
def test_bytes_of_a_playlist(wire, limits, service, more, passes, ascii_only):
    """In UTF-8, however the JSON writes it."""
    text = "#EXTM3U\n片".ljust(limits.playlist_bytes + more - 2)
    body = json.dumps({"url": "", "filename": "film", "playlist": text}, ensure_ascii=ascii_only).encode()
    reply = wire.ask("POST", "/api/tasks", body)
    assert (200 if passes else 400) == reply.status
    assert passes == bool(service.stored)


@around
def test_bytes_of_the_largest_request(wire, limits, service, more, passes):
    """A playlist of only line ends is twice as large in JSON, and passes beside the largest other fields."""
    text = json.dumps({"url": "", "filename": "film", "playlist": "#EXTM3U" + "\n" * (limits.playlist_bytes - 7)})
    body = text.encode().ljust(limits.task_body_room + more)
    reply = wire.ask("POST", "/api/tasks", body)
    assert (reply.status == 413) == (not passes or len(body) - len(text) > limits.task_body_bytes)


def posted(wire, **fields):
    return wire.ask("POST", "/api/tasks", TASK | fields)


@around
@pytest.mark.parametrize("name", ["url", "base_url"])
def test_bytes_of_a_url(wire, limits, name, more, passes):
    """In UTF-8, as it is sent."""
    start = "http://a.example/片"
    url = start + "x" * (limits.url_bytes + more - len(start.encode()))
    reply = posted(wire, **{name: url})
    assert passes == (reply.status == 200)
    assert passes or f"{name}: 超过 {limits.url_bytes} 字节" in reply.value


@around
def test_bytes_of_a_new_url(wire, limits, service, more, passes):
    """The same for a change."""
    service.hold(Task(id="t1", spec=TaskSpec(url="http://a/", filename="x")))
    url = "http://a/".ljust(limits.url_bytes + more, "x")
    assert (200 if passes else 400) == wire.ask("PUT", "/api/tasks?id=t1", {"url": url}).status


@around
def test_bytes_of_a_query(wire, limits, more, passes):
    """What is appended to every URL is one's part."""
    assert (200 if passes else 400) == posted(wire, append_query="a=".ljust(limits.url_bytes + more, "x")).status


@around
def test_bytes_of_a_file_name(wire, limits, more, passes):
    """In UTF-8: of a name in Chinese it is a third as many characters."""
    name = "片" * (limits.filename_bytes // 3 - 1)
    name = name + "x" * (limits.filename_bytes + more - len(name.encode()))
    assert (200 if passes else 400) == posted(wire, filename=name).status


@around
def test_number_of_a_tasks_headers(wire, limits, more, passes):
    """Each value counts."""
    headers = {"A": ["x"] * 2, "B": ["x"] * (limits.http_header_count + more - 2)}
    assert (200 if passes else 400) == posted(wire, use_http_headers=True, http_headers=headers).status


@around
def test_bytes_of_a_tasks_header(wire, limits, more, passes):
    """One value."""
    headers = {"A": ["x" * (limits.http_header_bytes + more)]}
    assert (200 if passes else 400) == posted(wire, use_http_headers=True, http_headers=headers).status


@around
def test_bytes_of_a_tasks_headers(wire, limits, more, passes):
    """All names and values."""
    half = limits.http_header_bytes
    headers = {"A": ["x" * (half - 1)], "B": ["x" * (limits.http_headers_bytes - half - 1 + more)]}
    if len(headers["B"][0]) > half:
        headers["C"] = [headers["B"][0][half - 2 :][1:]]
        headers["B"] = [headers["B"][0][: half - 2]]
        total = sum(len(name) + len(value) for name, [value] in headers.items())
        headers["C"][0] += "x" * (limits.http_headers_bytes + more - total)
    assert limits.http_headers_bytes + more == sum(len(name) + len(value) for name, [value] in headers.items())
    assert (200 if passes else 400) == posted(wire, use_http_headers=True, http_headers=headers).status


@around
def test_size_of_a_page(wire, limits, more, passes):
    """A page has a most; without `limit` there is none."""
    assert (200 if passes else 400) == wire.ask("GET", f"/api/tasks?limit={limits.page_tasks + more}").status


# -- Time ------------------------------------------------------------------------------------------------------------


def closed_after(clock, transport, limit, more):
    """Whether a connection is closed that much after its time."""
    clock.advance(limit + more / 10)
    return transport.disconnecting


after = pytest.mark.parametrize("more", [-1, 1], ids=["before", "after"])


@after
def test_deadline_of_headers(wire, clock, limits, more):
    """From the connection on."""
    channel, transport = wire.connect()
    channel.dataReceived(b"GET / HTTP/1.1\r\n")
    assert (more > 0) == closed_after(clock, transport, limits.header_deadline_s, more)


@after
def test_deadline_of_the_next_headers(wire, clock, limits, more, build_request):
    """And of each later request from its first byte on."""
    channel, transport = wire.connect()
    channel.dataReceived(build_request("GET", "/healthz"))
    clock.advance(limits.idle_s - 1)
    channel.dataReceived(b"G")
    assert (more > 0) == closed_after(clock, transport, limits.header_deadline_s, more)


@after
def test_deadline_of_a_body(wire, clock, limits, more, build_request):
    """From the last header on."""
    channel, transport = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", b"{}")[:-1])
    assert (more > 0) == closed_after(clock, transport, limits.body_deadline_s, more)


@after
def test_rest_between_requests(wire, clock, limits, more, build_request):
    """A connection that has nothing to say."""
    channel, transport = wire.connect()
    channel.dataReceived(build_request("GET", "/healthz"))
    assert (more > 0) == closed_after(clock, transport, limits.idle_s, more)


@after
def test_deadline_of_an_answer(wire, clock, service, limits, more, build_request):
    """A peer that takes nothing of it."""
    service.before_answering = Deferred()
    channel, transport = wire.connect()
    channel.dataReceived(build_request("POST", "/api/tasks", TASK))
    channel.pauseProducing()
    assert (more > 0) == closed_after(clock, transport, limits.unread_s, more)


# -- Connections -----------------------------------------------------------------------------------------------------


def peer(number):
    return IPv4Address("TCP", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5000)


@around
def test_connections(wire, limits, more, passes):
    """All together."""
    for number in range(limits.connections + more - 1):
        wire.connect(peer(number).host)
    assert passes == (wire.site.buildProtocol(peer(999_999)) is not None)


@around
def test_connections_of_an_address(wire, limits, more, passes):
    """From one place."""
    for _ in range(limits.connections_per_address + more - 1):
        wire.connect("10.0.0.1")
    assert passes == (wire.site.buildProtocol(IPv4Address("TCP", "10.0.0.1", 1)) is not None)
    assert None is not wire.site.buildProtocol(IPv4Address("TCP", "10.0.0.2", 1))


def web_socket(wire, address="127.0.0.1"):
    """The first answer to one who asks for a WebSocket."""
    channel, transport = wire.connect(address)
    client = WSConnection(ConnectionType.CLIENT)
    channel.dataReceived(client.send(Request(HOST, "/ws/progress")))
    return client, channel, transport


@around
def test_web_sockets(wire, limits, more, passes):
    """They hold their connections long."""
    for number in range(limits.sockets + more - 1):
        web_socket(wire, f"10.0.0.{number}")
    client, _, transport = web_socket(wire, "10.0.1.1")
    if passes:
        client.receive_data(transport.value())
        assert isinstance(next(client.events()), AcceptConnection)
    else:
        assert b"503 " in transport.value() and b"too_many_sockets" in transport.value()


@around
def test_ping_of_a_quiet_web_socket(wire, clock, limits, more, passes):
    """One that does not answer a ping is gone when the next is due."""
    _, _, transport = web_socket(wire)
    for _ in range(2 * limits.ping_s // 5 - (more < 1)):
        clock.advance(5)
    assert passes != transport.disconnecting


class Wire:
    """What a WebSocket writes to."""

    def __init__(self):
        self.transport = StringTransport()
        self.sent = []

    def sendTextMessage(self, message):
        self.sent.append(message)

    def detachProducer(self):
        pass

    def attachProducer(self, producer):
        pass


def moving(percent, text="", task_id="t1"):
    progress = Progress(percent=percent, status_bar=text)
    return Task(id=task_id, spec=TaskSpec(url="http://a/", filename="x"), status=Status.DOWNLOADING, progress=progress)


@around
def test_queue_of_a_web_socket(service, clock, limits, more, passes):
    """What is kept for one that does not read, in bytes; what replaces something counts once."""
    socket = ProgressSocket(ProgressFeed(service, clock=clock, limits=limits), allowed=lambda: True)
    wire = Wire()
    socket.negotiationStarted(wire)
    socket.negotiationFinished()
    socket.pauseProducing()
    half = limits.socket_queue_bytes // 2
    for _ in range(5):
        socket.offer("t1", "x" * half)
    rest = limits.socket_queue_bytes - half + more
    socket.offer("t2", "片" + "x" * (rest - 3))
    assert passes != wire.transport.disconnecting
    socket.resumeProducing()
    assert (2 if passes else 0) == len(wire.sent)
    if passes:
        socket.pauseProducing()
        socket.offer("t3", "y" * limits.socket_queue_bytes)
        assert not wire.transport.disconnecting


# -- How often -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ask(wire, build_request, parse_reply):
    """The answer to a request on a connection of its own, which is over then."""

    def asked(*request, **more):
        channel, transport = wire.connect()
        channel.dataReceived(build_request(*request, **more))
        channel.connectionLost(Failure(ConnectionDone()))
        return parse_reply(transport.value())

    return asked


@pytest.mark.parametrize("limits", [SMALL], indirect=True, ids=["counting"])
def test_how_often_the_owner_may_ask(ask, clock):
    """After a burst so many in a second, all paths and connections together; then 429, which says when."""
    targets = ["/api/tasks", "/healthz", "/", "/static/app.js"] * 2
    assert [200] * 8 == [ask("GET", target).status for target in targets]
    reply = ask("GET", "/healthz")
    assert (429, "too_many_requests", "1") == (
        reply.status,
        reply.headers["x-error-code"],
        reply.headers["retry-after"],
    )
    assert "请求过于频繁（每秒最多 2 个），请 1 秒后再试" == reply.value
    clock.advance(1)
    assert [200, 200, 429] == [ask("GET", "/healthz").status for _ in range(3)]


@pytest.mark.parametrize("limits", [SMALL], indirect=True, ids=["counting"])
def test_what_is_refused_does_not_count(ask):
    """Another site's page cannot use up what its owner may ask."""
    for _ in range(20):
        assert 403 == ask("GET", "/api/tasks", headers={"Origin": "https://evil.example"}).status
    assert 200 == ask("GET", "/api/tasks").status


@pytest.mark.parametrize("limits", [SMALL], indirect=True, ids=["counting"])
def test_how_often_others_may_ask(site, clock):
    """Each token and user has a rate of its own, and so has the address of a stranger; none of them is the owner."""
    mallory = Principal(name="mallory", role=Role.ADMIN)
    called_owner = Principal(name="owner", role=Role.ADMIN)
    for who, address in ((mallory, "10.0.0.1"), (called_owner, "10.0.0.1"), (None, "10.0.0.1"), (None, "10.0.0.2")):
        assert [None] * 8 == [site.rate_refusal(who, address) for _ in range(8)]
        refusal = site.rate_refusal(who, address)
        assert (429, "too_many_requests") == (refusal.status, refusal.code)
        assert "每秒最多 5 个" in refusal.message
    assert None is site.rate_refusal(OWNER, "10.0.0.1")
    assert site.rate_refusal(mallory, "10.0.0.9")
    clock.advance(1)
    assert [False] * 5 + [True] == [bool(site.rate_refusal(mallory, "10.0.0.1")) for _ in range(6)]


@pytest.mark.parametrize("limits", [SMALL], indirect=True, ids=["counting"])
def test_one_network_is_one_stranger(site):
    """Whoever has an IPv6 network has more addresses in it than anybody could remember."""
    assert [None] * 8 == [site.rate_refusal(None, f"2001:db8::{number}") for number in range(8)]
    assert 429 == site.rate_refusal(None, "2001:db8::ffff").status
    assert None is site.rate_refusal(None, "2001:db8:0:1::1")


def test_the_owner_may_ask_as_often_as_he_likes(ask):
    """Ten thousand tasks in a row, from a client that never heard of 429: by default nobody counts."""
    for number in range(300):
        assert 200 == ask("POST", "/api/tasks", TASK | {"filename": f"film {number}"}).status


# -- That they are documented ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", limit_names())
def test_every_limit_is_documented(name):
    """With its default and its range."""
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    least, most = allowed_range(name)
    assert re.search(rf"^\| `{name}` \| {getattr(DEFAULTS, name)} \| {least}, {most} \|", page, re.MULTILINE)
    assert least <= getattr(DEFAULTS, name) <= most
