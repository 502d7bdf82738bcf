"""
Table 4.2: what a network, names, TLS and proxies can do wrong. The cable rows run over a network of their own, the
others on loopback.
"""

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.reach import Policy, parse_allowed
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from tests.faults.far_side import FarSide, far_side
from tests.faults.stage import COUNT, FastReactor, Records, Stage, test

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
pytestmark = pytest.mark.faults
SCRIPTED = "film.test"
ASKED = 6


# -- N1 to N3: the cable -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(segments: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream as files."""
    folder = tmp_path_factory.mktemp("far")
    for number, segment in enumerate(segments):
        (folder / f"{number}.ts").write_bytes(segment)
    for name, tweak in (("list", ""), ("slow", "chunk_size=4000&chunk_delay=0.05")):
        lines = [SegmentLine(uri=f"{number}.ts?{tweak}", duration_s=1.0) for number in range(COUNT)]
        (folder / f"{name}.m3u8").write_text(media_playlist(lines))
    return folder


@pytest.fixture
def cable(served: Path) -> Iterator[FarSide]:
    """An origin at the other end of a cable."""
    with far_side(served) as far:
        yield far


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit", "dropped"])
@test
async def test_n1_no_way_there_and_back(stage: Stage, cable: FarSide, kind: str) -> None:
    """The way is gone in the middle of a transfer for 20 s: the task waits and asks again, and then is done."""
    running = Deferred.fromCoroutine(stage.makes_the_film(cable.url("/slow.m3u8"), download_threads=2))
    await stage.until(lambda: _received(stage) > 8000)
    cut(cable, kind)
    await deferLater(reactor, 20 / stage.pace)
    mend(cable, kind)
    await running


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("blackhole", "unreachable"),
        ("unreachable", "unreachable"),
        ("prohibit", "unreachable"),
        ("dropped", "timeout_connect"),
    ],
)
@test
async def test_n1_no_way_at_all(stage: Stage, cable: FarSide, kind: str, code: str) -> None:
    """A way that never was ends in minutes, not in hours, with the code of what it was."""
    cut(cable, kind)
    started = reactor.seconds()
    try:
        assert code == await stage.fails(cable.url("/list.m3u8"))
    finally:
        mend(cable, kind)
    assert (reactor.seconds() - started) * stage.pace < 300


def cut(cable: FarSide, kind: str) -> None:
    """Take the way away."""
    if kind == "dropped":
        cable.drop(100)
    else:
        cable.route(kind)


def mend(cable: FarSide, kind: str) -> None:
    """Give it back."""
    if kind == "dropped":
        cable.drop(0)
    else:
        cable.route("")


def _received(stage: Stage) -> int:
    """Bytes in the work directory, more than a debug log has."""
    return sum(path.stat().st_size for path in stage.save.glob(".m3u8svc/*/*"))


@pytest.mark.parametrize("percent", [1, 5, 20])
@test
async def test_n2_loss(stage: Stage, cable: FarSide, percent: int) -> None:
    """Packets get lost: TCP has work, and we the film."""
    cable.drop(percent)
    try:
        await stage.makes_the_film(cable.url("/list.m3u8"))
    finally:
        cable.drop(0)


class TimedRecords(Records):
    """
    A journal that knows when the last segment was there.
    """

    done_at = 0.0

    def segment(self, row: SegmentRow) -> None:
        """Remember it, and the time."""
        super().segment(row)
        self.done_at = reactor.seconds()


@pytest.mark.parametrize(("rate", "bits"), [("1mbit", 1e6), ("8mbit", 8e6)])
@test
async def test_n2_a_narrow_cable_is_used(stage: Stage, cable: FarSide, rate: str, bits: float) -> None:
    """At least 70 % of what it carries, of which TCP and IP take some."""
    cable.shape(rate)
    records = TimedRecords()
    await attrs.evolve(stage, records=records).makes_the_film(cable.url("/list.m3u8"))
    begun = min(visit["at"] for visit in cable.visits() if visit["path"].endswith(".ts"))
    least = sum(map(len, stage.segments)) * 8 / bits
    assert records.done_at - begun < least / 0.7 + 1.5  # a burst's worth of start, and what is lost in a full queue


@test
async def test_n3_the_cable_flaps(stage: Stage, cable: FarSide) -> None:
    """It is out for half of the time, changing every 3 s."""
    state = {"in": True}

    def flap() -> None:
        state["in"] = not state["in"]
        cable.plug(in_=state["in"])

    flapping = LoopingCall(flap)
    flapping.clock = reactor
    running = Deferred.fromCoroutine(stage.makes_the_film(cable.url("/slow.m3u8")))
    await stage.until(lambda: _received(stage) > 8000)
    ended = flapping.start(3 / stage.pace)
    await deferLater(reactor, 24 / stage.pace)
    flapping.stop()
    await ended
    cable.plug(in_=True)
    await running


# -- N4: names ---------------------------------------------------------------------------------------------------------


@implementer(IHostnameResolver)
class Names:
    """
    Answers for every name what it is told to: addresses in order, None for no answer at all.
    """

    def __init__(self) -> None:
        self.answers: list[Sequence[str] | None] = [["127.0.0.1"]]
        self.asked: list[str] = []

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *args: Any, **kwargs: Any
    ) -> Any:
        """As IHostnameResolver says; each answer once, the last from then on."""
        addresses = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(hostName)
        resolutionReceiver.resolutionBegan(self)
        if addresses is not None:
            for address in addresses:
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        """As IHostResolution says."""

    @property
    def name(self) -> str:
        """As IHostResolution says."""
        return self.asked[-1]


@attrs.frozen(kw_only=True)
class Attempt:
    """One connection that was begun: the timer that rang for it (`waited_s`), and how those before it stood then."""

    host: str
    waited_s: float
    others: Sequence[str]


class RecordingReactor(FastReactor):
    """
    A stage's reactor that knows how each connection came to be tried.
    """

    def __init__(self, reactor: Any, pace: float, resolver: Any) -> None:
        super().__init__(reactor, pace, resolver)
        self.attempts: list[Attempt] = []
        self._connectors: list[Any] = []
        self._waited_s = 0.0

    def callLater(self, delay: float, call: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """As IReactorTime says."""

        def ring() -> None:
            self._waited_s = delay
            try:
                call(*args, **kwargs)
            finally:
                self._waited_s = 0.0

        return super().callLater(delay, ring)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        """As IReactorTCP says."""
        others = [each.state for each in self._connectors]
        self.attempts.append(Attempt(host=host, waited_s=self._waited_s, others=others))
        self._connectors.append(super().connectTCP(host, port, factory, timeout, bindAddress))
        return self._connectors[-1]

    def forget(self) -> None:
        """Begin again: the stage has made a film already."""
        self.attempts.clear()
        self._connectors.clear()


@pytest.fixture
def names() -> Names:
    """The names of a test."""
    return Names()


class TestN4Names:
    """
    N4, with a resolver of the test's own.
    """

    @pytest.fixture
    def fast(self, pace: float, names: Names) -> RecordingReactor:
        """The stage runs on it."""
        return RecordingReactor(reactor, pace, names)

    @pytest.fixture
    def policy(self) -> Policy:
        """A name of these has one address out there and one here: then what it leads to may not be here by itself."""
        return Policy(allow=(parse_allowed("127.0.0.1"),))

    @test
    async def test_n4_no_such_name(self, stage: Stage, names: Names) -> None:
        """NXDOMAIN: a code of its own."""
        names.answers = [[]]
        assert "dns_failed" == await stage.fails(named(stage, stage.tweaked()))

    @test
    async def test_n4_no_answer(self, stage: Stage, names: Names) -> None:
        """A server that never answers: the lookup ends with the time to connect."""
        names.answers = [None]
        assert await stage.fails(named(stage, stage.tweaked())) in {"timeout_connect", "dns_failed"}

    @test
    async def test_n4_a_name_that_comes_back(self, stage: Stage, names: Names) -> None:
        """SERVFAIL for a while is asked again."""
        names.answers = [[], [], ["127.0.0.1"]]
        await stage.makes_the_film(named(stage, stage.tweaked()))

    @test
    async def test_n4_sixty_addresses_all_dead_but_one(self, stage: Stage, names: Names) -> None:
        """Every address has its turn."""
        names.answers = [[*(f"127.9.9.{n}" for n in range(1, 60)), "127.0.0.1"]]
        await stage.makes_the_film(named(stage, stage.tweaked()))

    @test
    async def test_n4_a_dead_first_address(
        self, stage: Stage, fast: RecordingReactor, names: Names, cable: FarSide
    ) -> None:
        """One that swallows everything: the next one is tried beside it, within a second."""
        cable.drop(100)
        names.answers = [["10.213.77.2", "127.0.0.1"]]
        fast.forget()
        await stage.makes_the_film(named(stage, stage.tweaked()))
        cable.drop(0)
        dead, alive, *_ = fast.attempts
        assert ["10.213.77.2", "127.0.0.1"] == [dead.host, alive.host]
        assert ["connecting"] == alive.others
        assert 0.0 < alive.waited_s <= 1.0

    @test
    async def test_n4_an_address_that_changes(self, stage: Stage, names: Names) -> None:
        """A host that moves in the middle is found again."""
        names.answers = [["127.0.0.1"], ["127.9.9.9"], ["127.0.0.1"]]
        await stage.makes_the_film(named(stage, stage.tweaked(everywhere="then=close")), download_threads=1)


def named(stage: Stage, path: str) -> str:
    """The URL of a path by a name that only the test's resolver knows."""
    return f"http://{SCRIPTED}:{stage.origin.port}{path}"


# -- N5: TLS -----------------------------------------------------------------------------------------------------------


class Handshake(Protocol):
    """Ends every connection when the client has spoken."""

    def dataReceived(self, data: bytes) -> None:
        self.factory.spoke += 1  # type: ignore[union-attr]  # EofFactory's
        self.transport.loseConnection()  # type: ignore[union-attr]  # connected


class EofFactory(Factory):
    """Counts handshakes that it does not answer."""

    protocol = Handshake
    spoke = 0
    noisy = False


@attrs.frozen(kw_only=True)
class Authority:
    """A certificate authority that the stage trusts."""

    ca: trustme.CA

    def context(self, leaf: trustme.LeafCert, *, at_most: int | None = None) -> Any:
        """What an SSL listener wants."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_privatekey(load_pem_private_key(leaf.private_key_pem.bytes(), None))
        context.use_certificate(load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()))
        if at_most is not None:
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            context.set_min_proto_version(at_most)
            context.set_max_proto_version(at_most)
        return context


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One whose certificate is in the platform's trust store."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return Authority(ca=ca)


@implementer(IOpenSSLServerConnectionCreator)
class Contexts:
    """Makes connections of a context, as Twisted wants them."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> Any:
        """As IOpenSSLServerConnectionCreator says."""
        return SSL.Connection(self._context, None)


async def secure(stage: Stage, context: Any) -> Origin:
    """A second origin with the stream, behind such a context."""
    origin = Origin(reactor, None)
    origin._contexts, origin._interface = Contexts(context), "127.0.0.1"  # type: ignore[assignment]  # as a SelfSigned
    origin._listen()
    origin.base = f"https://localhost:{origin.port}"
    fill(stage, origin)
    return origin


def fill(stage: Stage, origin: Origin, tweak: str = "") -> None:
    """Serve the stream there."""
    for number, segment in enumerate(stage.segments):
        origin.put(f"/{number}.ts", segment, content_type="video/mp2t")
    lines = [SegmentLine(uri=f"{number}.ts?{tweak}", duration_s=1.0) for number in range(COUNT)]
    origin.put("/list.m3u8", media_playlist(lines).encode())


@pytest.mark.parametrize("wrong", ["self-signed", "expired", "wrong-name", "unknown-ca"])
@test
async def test_n5_whom_one_cannot_trust(stage: Stage, authority: Authority, wrong: str) -> None:
    """A certificate that is not trusted is never tried again, and nothing is asked."""
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=9)
    if wrong == "expired":
        leaf = authority.ca.issue_cert("localhost", not_before=past, not_after=past + datetime.timedelta(days=1))
    elif wrong == "wrong-name":
        leaf = authority.ca.issue_cert("elsewhere.test")
    else:
        leaf = trustme.CA().issue_cert("localhost")
    if wrong == "self-signed":
        origin = await Origin.start(reactor, tls=True)
        fill(stage, origin)
    else:
        origin = await secure(stage, authority.context(leaf))
    try:
        assert "tls_untrusted" == await stage.fails(origin.base.replace("127.0.0.1", "localhost") + "/list.m3u8")
        assert [] == origin.visits()
        assert 1 == origin.accepted
    finally:
        await origin.stop()


@test
async def test_n5_whom_one_can_trust(stage: Stage, authority: Authority) -> None:
    """With the right certificate the same way works."""
    origin = await secure(stage, authority.context(authority.ca.issue_cert("localhost")))
    try:
        await stage.makes_the_film(origin.url("/list.m3u8"))
    finally:
        await origin.stop()


@test
async def test_n5_an_old_protocol(stage: Stage, authority: Authority) -> None:
    """TLS 1.0 and nothing better: no connection."""
    origin = await secure(stage, authority.context(authority.ca.issue_cert("localhost"), at_most=SSL.TLS1_VERSION))
    try:
        assert "connect_failed" == await stage.fails(origin.url("/list.m3u8"))
        assert [] == origin.visits()
    finally:
        await origin.stop()


@test
async def test_n5_the_end_in_the_handshake(stage: Stage) -> None:
    """A connection that ends in the handshake is tried again, within the budget."""
    factory = EofFactory()
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
    code = await stage.fails(f"https://127.0.0.1:{listening.getHost().port}/list.m3u8")
    await listening.stopListening()
    assert code in {"connect_failed", "reset"}
    assert ASKED <= factory.spoke <= 2 * ASKED


@pytest.mark.parametrize(("tweak", "asked"), [("cl=none&then=unnotified&times=1", 2), ("chunk_size=1", 1)])
@test
async def test_n5_tls_to_its_end(stage: Stage, tweak: str, asked: int) -> None:
    """A body that ends with the connection is whole only with TLS's goodbye; records of a byte are fine."""
    origin = await Origin.start(reactor, tls=True)
    fill(stage, origin, tweak)
    try:
        await stage.makes_the_film(origin.url("/list.m3u8"), allow_insecure_https=True)
        assert [asked] * COUNT == [origin.count(f"/{number}.ts") for number in range(COUNT)]
    finally:
        await origin.stop()


# -- N6: proxies -------------------------------------------------------------------------------------------------------


class Scripted(Protocol):
    """
    One connection of a proxy that answers what its factory says to the first bytes, and then does what it says.
    """

    factory: "ScriptedProxy"
    transport: Any

    def connectionMade(self) -> None:
        """Count it."""
        self.factory.connections += 1
        self.step = 0

    def dataReceived(self, data: bytes) -> None:
        """The next line of the script."""
        script = self.factory.script
        if self.step < len(script):
            reply, self.step = script[self.step], self.step + 1
            if reply is not None:
                self.transport.write(reply)
            if self.step == len(script) and self.factory.ends:
                self.transport.loseConnection()


class ScriptedProxy(Factory):
    """
    A proxy that leads nowhere.
    """

    protocol = Scripted
    noisy = False

    def __init__(self, *script: bytes | None, ends: bool = True) -> None:
        self.script = script
        self.ends = ends
        self.connections = 0


NO_AUTH, PASSWORD = b"\x05\x00", b"\x05\x02"
SOCKS_FAILURES = {
    1: "proxy_target_unreachable",
    2: "proxy_refused",
    4: "proxy_target_unreachable",
    5: "proxy_target_unreachable",
}
PROXIES: dict[str, tuple[str, ScriptedProxy, set[str], int]] = {
    "http-garbage": ("http", ScriptedProxy(b"SSH-2.0-OpenSSH_9\r\n"), {"proxy_failed", "bad_response"}, 0),
    "http-407": (
        "http",
        ScriptedProxy(b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"),
        {"proxy_auth_failed"},
        1,
    ),
    "http-closes": ("http", ScriptedProxy(None), {"proxy_failed", "proxy_unreachable", "reset"}, 0),
    "http-dies-mid-body": (
        "http",
        ScriptedProxy(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n#EXTM3U\n"),
        {"truncated", "reset"},
        0,
    ),
    "socks-garbage": ("socks5", ScriptedProxy(b"HTTP/1.1 400 Bad\r\n\r\n"), {"proxy_failed"}, 0),
    "socks-auth": ("socks5", ScriptedProxy(PASSWORD, b"\x01\x01"), {"proxy_auth_failed"}, 1),
    "socks-closes": ("socks5", ScriptedProxy(NO_AUTH, None), {"proxy_failed", "proxy_unreachable", "reset"}, 0),
    "socks-hangs": (
        "socks5",
        ScriptedProxy(NO_AUTH, ends=False),
        {"timeout_connect", "proxy_unreachable", "proxy_failed"},
        0,
    ),
    **{
        f"socks-{code}": (
            "socks5",
            ScriptedProxy(NO_AUTH, bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])),
            {expected, "proxy_failed"},
            1 if expected == "proxy_refused" else 0,
        )
        for code, expected in SOCKS_FAILURES.items()
    },
}


@pytest.mark.parametrize("name", PROXIES)
@test
async def test_n6_a_proxy_that_fails(stage: Stage, name: str) -> None:
    """The code tells what it did; it is asked again or not; and never is there a direct connection instead."""
    kind, proxy, codes, exactly = PROXIES[name]
    proxy.connections = 0
    listening = reactor.listenTCP(0, proxy, interface="127.0.0.1")
    settings = {"proxy_type": kind, "proxy_host": "127.0.0.1", "proxy_port": listening.getHost().port}
    if name == "socks-auth":
        settings |= {"proxy_username": "me", "proxy_password": "secret"}
    code = await stage.fails(stage.tweaked(), **settings)
    await listening.stopListening()

    assert code in codes
    assert [] == stage.origin.visits()
    if exactly:
        assert exactly == proxy.connections
    else:
        assert ASKED <= proxy.connections <= 2 * ASKED


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@test
async def test_n6_a_proxy_that_is_not_there(stage: Stage, kind: str) -> None:
    """It may come back; it is not gone round."""
    code = await stage.fails(stage.tweaked(), proxy_type=kind, proxy_host="127.0.0.1", proxy_port=9)
    assert "proxy_unreachable" == code
    assert [] == stage.origin.visits()


# -- N7, N8 ------------------------------------------------------------------------------------------------------------


@test
async def test_n7_kept_connections_are_closed(stage: Stage) -> None:
    """A server that closes what it promised to keep: that is no failure, and nothing waits for it."""
    started = reactor.seconds()
    await stage.makes_the_film(stage.tweaked(everywhere="then=close"), download_threads=1)

    assert [1] * COUNT == stage.counts()
    assert {1} == {row.attempts for row in stage.records.rows}
    assert (reactor.seconds() - started) < 5


@test
async def test_n7_half_open(stage: Stage) -> None:
    """A server that forgets a connection without closing it: asked again on another."""
    await stage.makes_the_film(stage.tweaked({0: "then=hang", 1: "then=hang"}), download_threads=1)
    assert [1] * COUNT == stage.whole()


@test
async def test_n8_the_process_stands_still(stage: Stage) -> None:
    """Fifty seconds in the middle, longer than any timer: all of them are due at once, and nothing fails for it."""
    path = stage.tweaked(everywhere="chunk_size=4000&chunk_delay=0.02")
    running = Deferred.fromCoroutine(stage.makes_the_film(path, download_threads=3))
    await stage.until(lambda: sum(visit.sent_bytes for visit in stage.origin.visits("/0.ts")) > 4000)
    time.sleep(50 / stage.pace)  # nobody runs, as with SIGSTOP
    await running

    assert sum(stage.counts()) <= COUNT + 3
