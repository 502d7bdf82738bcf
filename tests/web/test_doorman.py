"""
Who gets in: tokens, passwords, sessions and their limits, over in-memory connections with a clock.
"""

import base64
import json
import re
from urllib.parse import unquote

import attrs
import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import globalLogPublisher

from m3u8svc.access.forwarding import NOTHING_BEFORE_US, Front, parse_trusted
from m3u8svc.access.passwords import NOBODYS, User, hash_password, is_right
from m3u8svc.access.roles import Role
from m3u8svc.access.tokens import TokenRecord, digest_of
from m3u8svc.errors import DiskError
from m3u8svc.web.doorman import Doorman
from m3u8svc.web.site import make_site
from tests.access.test_roles import TABLE
from tests.web.conftest import HOST, Wire, raw_request, read_reply

TASK = {"url": "https://a.example/i.m3u8", "filename": "film"}
ROLES = {"r": Role.READER, "u": Role.USER, "a": Role.ADMIN}
RECORDS = [
    TokenRecord(name=role.value, role=role, digest=digest_of(f"token-{letter}"), created_at="2026-01-01T00:00:00+00:00")
    for letter, role in ROLES.items()
]
USER = User(name="me", role=Role.USER, password=hash_password("pass:wörd", b"0123456789abcdef"))
UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class House:
    """
    A site with a doorman: tokens in `records` or why they cannot be read, one user, and passwords compared at once
    unless `slow`. `compared` are the hashes that were tried.
    """

    def __init__(self, service, clock, *, users=(USER,), front=NOTHING_BEFORE_US):
        self.records = list(RECORDS)
        self.broken = None
        self.slow = False
        self.running = []
        self.compared = []
        self.clock = clock
        self.doorman = Doorman(clock=clock, tokens=self._tokens, users=users, in_thread=self._in_thread)
        self.site = make_site(
            service,
            reactor=clock,
            allowed_hosts=lambda: frozenset({HOST, "nas.lan"}),
            plugins=service.plugins,
            health=service.health,
            version="1.2.3",
            doorman=self.doorman,
            front=front,
            in_thread=maybeDeferred,
        )
        self.wire = Wire(self.site, clock)

    def _tokens(self):
        if self.broken is not None:
            raise self.broken
        return self.records

    def _in_thread(self, compare, password, kept):
        assert compare is is_right
        self.compared.append(kept)
        work = Deferred()
        self.running.append(lambda: work.callback(compare(password, kept)))
        if not self.slow:
            self.finish()
        return work

    def finish(self):
        for end in self.running:
            end()
        self.running.clear()

    def begin(self, method, target, body=None, headers=None, peer="127.0.0.1", host=HOST):
        """A request whose answer may take a while; what reads it."""
        channel, transport = self.wire.connect(peer)
        channel.dataReceived(raw_request(method, target, body, headers, host))
        return channel, transport

    def ask(self, method, target, body=None, headers=None, peer="127.0.0.1", host=HOST):
        """The answer, within a little more than a second."""
        _, transport = self.begin(method, target, body, headers, peer, host)
        if not transport.value():
            self.clock.advance(1.0)
        return read_reply(transport.value())

    def code(self, *request, **named):
        reply = self.ask(*request, **named)
        return reply.status, reply.headers.get("x-error-code")


@pytest.fixture
def house(service, clock):
    return House(service, clock)


@pytest.fixture
def said():
    """What is logged while a test runs."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


# -- Routes and roles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["s", "r", "u", "a"])
@pytest.mark.parametrize("route", TABLE)
def test_every_route_and_role(house, route, who):
    """What the table allows gets past the door, and nothing else: a stranger hears 401, who may not hears 403."""
    method, path = route.split()
    reply = house.ask(method, path, headers={} if who == "s" else bearer(f"token-{who}"))
    if who in TABLE[route]:
        assert reply.status not in (401, 403)
    else:
        expected = (401, "unauthorized") if who == "s" else (403, "forbidden")
        assert expected == (reply.status, reply.headers["x-error-code"])


def test_a_refusal_says_which_role(house):
    """In both languages, and nothing of the settings was read."""
    reply = house.ask("POST", "/api/settings", {}, bearer("token-u"))
    assert "没有权限：此操作需要角色 admin" == reply.value
    assert "not allowed: this needs the role admin" == reply.headers["x-error-text-en"]


def test_nothing_of_a_strangers_body_is_stored(house, service):
    """The refusal comes after the headers, before the body; no room was made for it."""
    made = []
    house.site.getContentFile = made.append
    channel, transport = house.wire.connect()
    channel.dataReceived(
        b"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
    )
    assert (401, [], []) == (read_reply(transport.value()).status, made, service.calls)
    assert b"100 Continue" not in transport.value()


def test_the_host_is_judged_first(house):
    """Who comes by another name learns nothing about tokens, right or wrong."""
    for headers in (bearer("token-a"), bearer("wrong"), {}):
        assert (421, "wrong_host") == house.code("GET", "/api/tasks", None, headers, host="evil.example")


# -- Without tokens and users ----------------------------------------------------------------------------------------


def test_the_owner_needs_nothing(service, clock):
    """As long as nothing is configured, loopback is as it always was; what is sent along does not matter."""
    house = House(service, clock, users=())
    house.records.clear()
    for headers in ({}, bearer("x"), basic("a", "b"), {"Authorization": "nonsense"}, {"Cookie": "m3u8svc_8080=1"}):
        assert 200 == house.ask("GET", "/api/tasks", None, headers).status
    assert 200 == house.ask("POST", "/api/settings", {}).status
    session = house.ask("GET", "/api/session")
    assert {"name": "owner", "role": "admin", "login": False} == session.value
    assert b'id="app"' in house.ask("GET", "/").body
    assert (403, "foreign_origin") == house.code(
        "GET", "/api/tasks", None, bearer("x") | {"Origin": "https://evil.example"}
    )


def test_the_first_token_closes_the_door(service, clock):
    """From then on, until a restart, even when it is revoked again: who revokes the last one wants nobody in."""
    house = House(service, clock, users=())
    records, house.records = house.records, []
    assert 200 == house.ask("GET", "/api/tasks").status
    house.records = records
    assert (401, "unauthorized") == house.code("GET", "/api/tasks")
    assert 200 == house.ask("GET", "/api/tasks", None, bearer("token-r")).status
    house.records = []
    assert (401, "unauthorized") == house.code("GET", "/api/tasks")
    assert (401, "bad_credentials") == house.code("GET", "/api/tasks", None, bearer("token-r"))


def test_an_open_port_insists(service, clock):
    """With nothing that could let anybody in, nobody gets in."""
    house = House(service, clock, users=())
    house.records.clear()
    house.doorman.insist()
    assert (401, "unauthorized") == house.code("GET", "/api/tasks")
    assert not house.doorman.can_admit


def test_a_file_of_tokens_that_cannot_be_read(service, clock, said):
    """Nobody is let in by a mistake; it is said once. When it is mended all is well again."""
    house = House(service, clock, users=())
    house.records.clear()
    assert 200 == house.ask("GET", "/api/tasks").status
    house.broken = DiskError(path="/home/tokens.json", reason="damaged")
    assert (401, "unauthorized") == house.code("GET", "/api/tasks")
    assert (401, "unauthorized") == house.code("GET", "/api/tasks")
    assert 1 == len([event for event in said if "no token is accepted" in event.get("log_format", "")])
    house.broken, house.records = None, list(RECORDS)
    assert 200 == house.ask("GET", "/api/tasks", None, bearer("token-r")).status


# -- Passwords -------------------------------------------------------------------------------------------------------


def test_a_password(house):
    """Right is right, also with a colon and an umlaut; it is compared once and then remembered for a while."""
    for _ in range(3):
        assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd")).status
    assert [USER.password] == house.compared
    house.clock.advance(301)
    assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd")).status
    assert 2 == len(house.compared)


def test_a_wrong_password_is_answered_after_a_second(house):
    """Whatever is wrong about it, in the same time and with as much work: nobody learns which users there are."""
    for user, password in (("me", "wrong"), ("nobody", "pass:wörd"), ("", "")):
        _, transport = house.begin("GET", "/api/tasks", None, basic(user, password))
        house.clock.advance(0.99)
        assert b"" == transport.value()
        house.clock.advance(0.01)
        reply = read_reply(transport.value())
        assert (401, "bad_credentials") == (reply.status, reply.headers["x-error-code"])
    assert [USER.password, NOBODYS, NOBODYS] == house.compared


def test_a_request_waits_for_its_verdict(house, service):
    """While a password is compared nothing is read; then the request goes on as it is, and so does the next."""
    house.slow = True
    channel, transport = house.wire.connect()
    head = basic("me", "pass:wörd")
    two = raw_request("POST", "/api/tasks", TASK, head) + raw_request("GET", "/api/tasks", None, head)
    channel.dataReceived(two[:-10])
    assert ("paused", b"") == (transport.producerState, transport.value())
    channel.dataReceived(two[-10:])
    assert [] == service.calls
    house.finish()
    assert ["create", "tasks"] == [call[0] for call in service.calls]
    assert ("producing", 2) == (transport.producerState, transport.value().count(b"HTTP/1.1 200"))


def test_a_client_that_leaves_while_it_is_judged(house):
    """Nothing is answered, nothing is left behind; what was compared is compared for those who wait too."""
    house.slow = True
    channel, transport = house.begin("GET", "/api/tasks", None, basic("me", "pass:wörd"))
    _, other = house.begin("GET", "/api/tasks", None, basic("me", "pass:wörd"))
    channel.connectionLost(ConnectionError())
    house.finish()
    assert b"" == transport.value()
    assert 200 == read_reply(other.value()).status
    assert 1 == len(house.compared)
    channel, transport = house.begin("GET", "/api/tasks", None, basic("me", "wrong"))
    house.finish()
    channel.connectionLost(ConnectionError())
    house.clock.advance(10)
    assert b"" == transport.value()


def test_many_requests_with_one_password_are_one_attempt(house):
    """A client with many connections is not taken for somebody who guesses."""
    house.slow = True
    transports = [house.begin("GET", "/api/tasks", None, basic("me", "pass:wörd"))[1] for _ in range(30)]
    house.finish()
    assert {200} == {read_reply(transport.value()).status for transport in transports}
    assert 1 == len(house.compared)


def test_what_comes_while_a_request_is_judged_is_bounded(house):
    """Bytes that were on their way are kept, and no more than a little of them."""
    house.slow = True
    channel, transport = house.begin("POST", "/api/tasks", b"x", basic("me", "pass:wörd"))
    for _ in range(17):
        channel.dataReceived(b"y" * 64 * 1024)
    assert transport.disconnected


@pytest.mark.logs_failures
def test_comparing_that_fails(house):
    """A mistake of ours lets nobody in, and says nothing of itself."""
    house.doorman._in_thread = lambda *call: (_ for _ in ()).throw(MemoryError("no memory"))
    _, transport = house.begin("GET", "/api/tasks", None, basic("me", "pass:wörd"))
    reply = read_reply(transport.value())
    assert (500, "服务器内部错误", "internal") == (reply.status, reply.value, reply.headers["x-error-code"])


# -- Limits ----------------------------------------------------------------------------------------------------------


def test_ten_failures_a_minute(house):
    """Then 429 with the time to wait, at once, and a password is not even looked at; a right token always works."""
    for number in range(10):
        shown = bearer("wrong") if number % 2 else basic("me", f"wrong {number}")
        assert (401, "bad_credentials") == house.code("GET", "/api/tasks", None, shown, peer="192.0.2.1")
    _, transport = house.begin("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer="192.0.2.1")
    reply = read_reply(transport.value())
    assert (429, "50") == (reply.status, reply.headers["retry-after"])
    assert ("失败次数过多，请 50 秒后再试", "too_many_failures") == (reply.value, reply.headers["x-error-code"])
    assert 5 == len(house.compared)
    assert 200 == house.ask("GET", "/api/tasks", None, bearer("token-r"), peer="192.0.2.1").status
    assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer="192.0.2.2").status
    house.clock.advance(50)
    assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer="192.0.2.1").status


def test_who_was_right_has_not_failed(house):
    """A right password between wrong ones does not count as one of the ten."""
    for _ in range(9):
        house.ask("GET", "/api/tasks", None, bearer("wrong"), peer="192.0.2.1")
    assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer="192.0.2.1").status
    assert [401, 429] == [
        house.ask("GET", "/api/tasks", None, bearer("wrong"), peer="192.0.2.1").status for _ in range(2)
    ]


def test_no_more_attempts_at_once_than_one_after_another(house):
    """An attempt counts when it begins."""
    transports = [house.begin("GET", "/api/tasks", None, bearer("wrong"), peer="192.0.2.1")[1] for _ in range(50)]
    assert 40 == sum(bool(transport.value()) for transport in transports)
    house.clock.advance(1)
    assert 10 == sum(b" 401 " in transport.value() for transport in transports)


def test_a_botnet_and_the_owner(house):
    """10,000 wrong tokens from everywhere: the user at the machine logs in with a password all the same."""
    statuses = []
    for number in range(1000):
        peer = f"198.51.{number // 250}.{number % 250 + 1}"
        for _ in range(10):
            channel, transport = house.begin("GET", "/api/tasks", None, bearer("wrong"), peer=peer)
            statuses.append(bool(transport.value()))
            channel.connectionLost(ConnectionError())
    assert (60, 9940) == (statuses.count(False), statuses.count(True))
    assert 429 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer="203.0.113.1").status
    for host in ("127.0.0.1", "::1"):
        assert 200 == house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"), peer=host).status


def test_failures_are_logged_without_what_was_shown(house, said):
    """One line with the address: enough for who blocks addresses, and no password that was typed into a wrong field."""
    house.ask("GET", "/api/tasks", None, basic("my-password", "x"), peer="192.0.2.1")
    house.ask("GET", "/api/tasks", None, bearer("token-wrong"), peer="192.0.2.1")
    lines = [event for event in said if "wrong token or password" in event.get("log_format", "")]
    assert ["192.0.2.1", "192.0.2.1"] == [event["address"] for event in lines]
    assert "my-password" not in repr(said) and "token-wrong" not in repr(said)


# -- What a 401 asks for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "asks_basic"),
    [
        ({}, True),
        ({"User-Agent": "Wget/1.21"}, True),
        ({"User-Agent": "Mozilla/5.0 (X11)"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "http://127.0.0.1:8080"}, False),
    ],
)
def test_what_a_401_asks_for(house, headers, asks_basic):
    """Programs hear that a password would do; a browser does not, or it would open a window of its own."""
    reply = house.ask("GET", "/api/tasks", None, headers)
    basic_too = ', Basic realm="m3u8svc", charset="UTF-8"' if asks_basic else ""
    assert 'Bearer realm="m3u8svc"' + basic_too == reply.headers["www-authenticate"]


def test_without_users_no_password_is_asked_for(service, clock):
    """It could not be right."""
    reply = House(service, clock, users=()).ask("GET", "/api/tasks")
    assert 'Bearer realm="m3u8svc"' == reply.headers["www-authenticate"]


# -- Other sites' pages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_other_sites(house, origin):
    """What a browser adds by itself, a cookie or a password, is refused from elsewhere; a token it never adds."""
    cookie = {"Cookie": log_in(house)}
    for shown in (cookie, basic("me", "pass:wörd"), {}):
        assert (403, "foreign_origin") == house.code("POST", "/api/tasks", TASK, shown | origin)
        assert (403, "foreign_origin") == house.code("GET", "/ws/progress", None, shown | origin | UPGRADE)
    assert (403, "foreign_origin") == house.code("POST", "/api/session", {"token": "token-u"}, origin)
    assert 200 == house.ask("POST", "/api/tasks", TASK, bearer("token-u") | origin).status
    assert (401, "bad_credentials") == house.code("POST", "/api/tasks", TASK, cookie | bearer("wrong") | origin)


# -- Sessions --------------------------------------------------------------------------------------------------------


def log_in(house, body=None, **named):
    """A session's cookie as the browser sends it back."""
    reply = house.ask("POST", "/api/session", body or {"token": "token-u"}, **named)
    assert 200 == reply.status
    return reply.headers["set-cookie"].partition(";")[0]


def test_logging_in_and_out(house):
    """With a token or a password; the cookie is good until one logs out."""
    for body, name in (({"token": "token-u"}, "user"), ({"user": "me", "password": "pass:wörd"}, "me")):
        cookie = {"Cookie": log_in(house, body)}
        assert {"name": name, "role": "user", "login": True} == house.ask("GET", "/api/session", None, cookie).value
        assert 200 == house.ask("POST", "/api/tasks", TASK, cookie).status
        assert (403, "forbidden") == house.code("POST", "/api/settings", {}, cookie)
        gone = house.ask("DELETE", "/api/session", None, cookie)
        assert (200, True) == (gone.status, "m3u8svc_8080=; " in gone.headers["set-cookie"])
        assert (401, "unauthorized") == house.code("GET", "/api/tasks", None, cookie)


def test_the_cookie(house):
    """For us alone, for a week, out of reach of scripts and of other sites' requests."""
    cookie = house.ask("POST", "/api/session", {"token": "token-u"}).headers["set-cookie"]
    value, *attributes = cookie.split("; ")
    assert ["Path=/", "Max-Age=604800", "HttpOnly", "SameSite=Strict"] == attributes
    name, _, session_id = value.partition("=")
    assert ("m3u8svc_8080", 43) == (name, len(session_id))
    assert "token-u" not in cookie


def test_a_session_ends_after_a_week(house):
    """And with the token it was made with; an old cookie is no failure to be counted."""
    cookie, other = {"Cookie": log_in(house)}, {"Cookie": log_in(house, {"user": "me", "password": "pass:wörd"})}
    house.records = [record for record in RECORDS if record.role is not Role.USER]
    assert (401, "unauthorized") == house.code("GET", "/api/tasks", None, cookie)
    assert 200 == house.ask("GET", "/api/tasks", None, other).status
    house.clock.advance(7 * 24 * 3600)
    for _ in range(20):
        assert (401, "unauthorized") == house.code("GET", "/api/tasks", None, other)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "token",
        {"token": 1},
        {"token": ""},
        {"token": "x" * 1025},
        {"token": "x", "user": "y"},
        {"user": "me"},
        {"user": "me", "password": None},
        b"{",
    ],
)
def test_a_login_that_is_none(house, body):
    """A 400 that repeats nothing of it."""
    reply = house.ask("POST", "/api/session", body)
    assert (400, "invalid_request") == (reply.status, reply.headers["x-error-code"])
    assert "xxx" not in reply.value
    assert not re.search("[\u4e00-\u9fff]", unquote(reply.headers["x-error-text-en"]))


def test_a_wrong_login(house):
    """As any wrong token or password: after a second, and not often."""
    for _ in range(10):
        _, transport = house.begin("POST", "/api/session", {"token": "wrong"})
        house.clock.advance(0.99)
        assert b"" == transport.value()
        house.clock.advance(0.01)
        reply = read_reply(transport.value())
        assert (401, "bad_credentials", False) == (
            reply.status,
            reply.headers["x-error-code"],
            "set-cookie" in reply.headers,
        )
    reply = house.ask("POST", "/api/session", {"user": "me", "password": "pass:wörd"})
    assert (429, "50") == (reply.status, reply.headers["retry-after"])


def test_the_page_is_a_login_for_strangers(house):
    """And the list for who has logged in; a browser does not take the one for the other."""
    login, page = (house.ask("GET", "/", None, headers) for headers in ({}, {"Cookie": log_in(house)}))
    assert b'id="login"' in login.body and b'id="app"' in page.body
    assert login.headers["etag"] != page.headers["etag"]
    assert 200 == house.ask("GET", "/", None, {"If-None-Match": page.headers["etag"]}).status


# -- The WebSocket ---------------------------------------------------------------------------------------------------


def test_the_websocket(house):
    """Opened by who may look, with a token or a cookie."""
    assert (401, "unauthorized") == house.code("GET", "/ws/progress", None, UPGRADE)
    assert (401, "bad_credentials") == house.code("GET", "/ws/progress", None, UPGRADE | bearer("wrong"))
    for shown in (bearer("token-r"), {"Cookie": log_in(house)}, basic("me", "pass:wörd")):
        _, transport = house.begin("GET", "/ws/progress", None, UPGRADE | shown)
        assert b"101 Switching" in transport.value()


@pytest.mark.parametrize("way", ["token revoked", "logged out", "session over"])
def test_a_websocket_ends_with_what_opened_it(house, way):
    """Within a few seconds, and nothing is said on it meanwhile."""
    shown = bearer("token-u") if way == "token revoked" else {"Cookie": log_in(house)}
    _, transport = house.begin("GET", "/ws/progress", None, UPGRADE | shown)
    house.clock.advance(5)
    transport.clear()
    if way == "token revoked":
        house.records = []
    elif way == "logged out":
        house.ask("DELETE", "/api/session", None, shown)
    else:
        house.clock.rightNow += 7 * 24 * 3600
    house.clock.pump([5, 0])
    assert b"\x88\x02\x03\xf0" == transport.value()  # a close frame with 1008 and nothing before it


def test_a_websocket_of_before_there_were_tokens(service, clock):
    """It ends when the door closes."""
    house = House(service, clock, users=())
    records, house.records = house.records, []
    _, transport = house.begin("GET", "/ws/progress", None, UPGRADE)
    house.clock.advance(5)
    transport.clear()
    house.records = records
    house.clock.pump([5, 0])
    assert b"\x88\x02\x03\xf0" == transport.value()


# -- Behind a reverse proxy ------------------------------------------------------------------------------------------

PROXIED = Front(trusted=(parse_trusted("10.0.0.0/8"),), base_path="/m3u8")


def test_below_a_base_path(service, clock):
    """Everything answers below it; a cookie is for that path alone; without it the paths are what they were."""
    house = House(service, clock, front=PROXIED)
    cookie = house.ask("POST", "/m3u8/api/session", {"token": "token-u"}).headers["set-cookie"]
    assert "; Path=/m3u8/;" in cookie
    shown = {"Cookie": cookie.partition(";")[0]}
    for base in ("/m3u8", ""):
        assert 200 == house.ask("GET", base + "/api/tasks", None, shown).status
        assert b'id="app"' in house.ask("GET", base + "/", None, shown).body
        assert 200 == house.ask("GET", base + "/static/app.js").status
        assert b"101" in house.begin("GET", base + "/ws/progress", None, UPGRADE | shown)[1].value()
    assert (404, "not_found") == house.code("GET", "/m3u8/m3u8/api/tasks", None, shown)


def test_the_base_path_without_its_slash(service, clock):
    """Leads to the page, since its links are relative; only for who names us rightly."""
    house = House(service, clock, front=PROXIED)
    reply = house.ask("GET", "/m3u8")
    assert (308, "/m3u8/", False) == (reply.status, reply.headers["location"], "x-error-code" in reply.headers)
    assert 421 == house.ask("GET", "/m3u8", host="evil.example").status


def test_the_limits_are_the_clients(service, clock):
    """Behind a proxy of the list each client has its own number of failures; who is not behind it cannot say so."""
    house = House(service, clock, front=PROXIED)
    for _ in range(10):
        house.ask("GET", "/api/tasks", None, bearer("x") | {"X-Forwarded-For": "203.0.113.1"}, peer="10.0.0.1")
    behind = {"X-Forwarded-For": "127.0.0.1, 203.0.113.1"}
    assert 429 == house.ask("GET", "/api/tasks", None, bearer("x") | behind, peer="10.0.0.1").status
    other = {"X-Forwarded-For": "203.0.113.2"}
    assert 401 == house.ask("GET", "/api/tasks", None, bearer("x") | other, peer="10.0.0.1").status
    for number in range(10):
        lie = {"X-Forwarded-For": f"203.0.113.{number}"}
        house.ask("GET", "/api/tasks", None, bearer("x") | lie, peer="192.0.2.1")
    assert 429 == house.ask("GET", "/api/tasks", None, bearer("x") | lie, peer="192.0.2.1").status


def test_https_and_host_of_the_proxy(service, clock):
    """The cookie is for https only when the client speaks it; the name the client used must be one of ours."""
    house = House(service, clock, front=PROXIED)
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "nas.lan", "Origin": "https://nas.lan"}
    token = {"token": "token-u"}
    reply = house.ask("POST", "/m3u8/api/session", token, said, peer="10.0.0.1", host="upstream")
    assert "; Secure" in reply.headers["set-cookie"] and reply.headers["set-cookie"].startswith("m3u8svc=")
    assert 421 == house.ask("POST", "/m3u8/api/session", token, said, peer="192.0.2.1", host="upstream").status
    evil = said | {"X-Forwarded-Host": "evil.example"}
    assert 421 == house.ask("POST", "/m3u8/api/session", token, evil, peer="10.0.0.1", host="nas.lan").status
    lie = {"X-Forwarded-Proto": "https"}
    reply = house.ask("POST", "/api/session", token, lie, peer="192.0.2.1")
    assert "Secure" not in reply.headers["set-cookie"]


def test_what_has_passwords_in_it_shows_none(house):
    """Representations end up in logs."""
    house.ask("GET", "/api/tasks", None, basic("me", "pass:wörd"))
    for thing in (USER, RECORDS, attrs.asdict(USER, recurse=False)):
        assert USER.password.digest.hex() not in repr(thing) and str(USER.password) not in repr(thing)
    assert json.dumps("pass:wörd") not in repr(vars(house.doorman))
