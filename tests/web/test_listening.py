"""
Listening before there is anything to serve: the address is known, and nobody is let in.
"""

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from m3u8svc.errors import ConfigError
from m3u8svc.web.listening import Listener, bind, guarded

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
test = pytest_twisted.ensureDeferred


class Greeting(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Site(Factory):
    noisy = False
    protocol = Greeting
    life: tuple[str, ...] = ()

    def startFactory(self) -> None:
        self.life += ("started",)

    def stopFactory(self) -> None:
        self.life += ("stopped",)


class Caller(Protocol):
    def __init__(self) -> None:
        self.heard = b""
        self.over: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: object = None) -> None:
        self.over.callback(self.heard)


async def call(listener: Listener) -> Caller:
    assert listener.socket is not None
    caller: Caller = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", listener.socket[1]), Caller())
    return caller


@pytest_twisted.async_yield_fixture
async def listener() -> AsyncIterator[Listener]:
    listener = await bind(reactor, "tcp:0:interface=127.0.0.1")
    yield listener
    await maybeDeferred(listener.stop)


@test
async def test_whoever_comes_early_waits(listener: Listener) -> None:
    """Their connection is taken by the system, and answered once there is somebody to do it."""
    early = await call(listener)
    await deferLater(reactor, 0.05)
    assert (b"", False) == (early.heard, early.over.called)
    site = Site()
    listener.serve(site)
    assert b"hello" == await early.over
    assert b"hello" == await (await call(listener)).over
    await listener.stop()
    assert ("started", "stopped") == site.life
    assert listener.stop() is None


@test
async def test_the_address_is_known_before_anybody_comes(listener: Listener) -> None:
    """With its real port; a unix socket has none and stays on this machine."""
    host, port = listener.socket or ("", 0)
    assert ("127.0.0.1", True, f"http://127.0.0.1:{port}") == (host, port > 0, listener.shown)
    assert listener.stays_here


@test
async def test_a_unix_socket(tmp_path: Any) -> None:
    """Is nowhere on the network."""
    listener = await bind(reactor, f"unix:{tmp_path}/socket")
    assert (None, True) == (listener.socket, listener.stays_here)
    listener.serve(Site())
    await listener.stop()


@test
async def test_stopped_before_it_serves(listener: Listener) -> None:
    """A start that fails half-way leaves no socket."""
    early = await call(listener)
    await listener.stop()
    assert b"" == await early.over


@pytest.mark.parametrize(
    "description", ["tcp:nowhere", "nonsense:1", "tcp:0:interface=192.0.2.1", "ssl:0:privateKey=/x"]
)
@test
async def test_places_that_cannot_be(description: str) -> None:
    """Named as the option that asked for them."""
    with pytest.raises(ConfigError) as caught:
        await bind(reactor, description)
    assert description in caught.value.text("en")


@pytest.mark.parametrize(
    ("description", "mode"),
    [("unix:{path}", 0o660), ("unix:{path}:mode=600", 0o600), ("unix:{path}:lockfile=0", 0o660)],
)
@test
async def test_who_may_connect_to_a_unix_socket(tmp_path: Path, description: str, mode: int) -> None:
    """Its owner and group, unless the operator says otherwise: Twisted alone would let in everybody."""
    path = tmp_path / "socket"
    listener = await bind(reactor, description.format(path=path))
    try:
        assert mode == stat.S_IMODE(path.stat().st_mode)
    finally:
        await maybeDeferred(listener.stop)


@pytest.mark.parametrize("description", ["nonsense:1", "tcp:x", "ssl:0:privateKey=/nowhere/key.pem"])
@test
async def test_an_endpoint_that_is_none(description: str) -> None:
    """Called as the operator knows it: the key of the file, or the flag."""
    for where in ("listen", "--listen"):
        with pytest.raises(ConfigError) as refused:
            await bind(reactor, description, where=where)
        assert refused.value.text("en").startswith(f"the configuration is wrong: {where}: {description}: ")


@test
async def test_what_the_log_says_of_a_port() -> None:
    """Whose port it is, and not how our classes are called."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        listener = await bind(reactor, "tcp:0:interface=127.0.0.1")
        await maybeDeferred(listener.stop)
    finally:
        globalLogPublisher.removeObserver(observe)
    [line] = [line for line in lines if "starting on" in line]
    assert line.startswith("m3u8svc starting on ")


def test_other_endpoints_are_left_alone() -> None:
    """Only unix sockets have a mode."""
    assert "tcp:80:interface=127.0.0.1" == guarded("tcp:80:interface=127.0.0.1")


@test
async def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Also one that nobody named: Twisted looks for `server.pem` where it was started."""
    (there := tmp_path / "there.pem").touch()
    for endpoint, missing in (
        (f"ssl:0:privateKey={tmp_path}/key.pem", f"{tmp_path}/key.pem"),
        (f"ssl:0:privateKey={tmp_path}/key.pem:certKey={there}", f"{tmp_path}/key.pem"),
        ("ssl:0", "server.pem"),
    ):
        with pytest.raises(ConfigError) as refused:
            await bind(reactor, endpoint)
        assert f"{missing}: No such file" in refused.value.text("en")
