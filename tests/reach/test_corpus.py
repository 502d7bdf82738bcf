"""
Two hundred spellings of places that nobody may be led to, by every way that leads somewhere. What counts is that nobody
arrives: behind every address that is not ours stands a socket that counts who connects.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import (
    ConnectionLost,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)

from m3u8svc.errors import FetchError, ForbiddenAddress, InvalidUrl, M3u8svcError
from m3u8svc.hls.playlist import MAIN
from m3u8svc.hls.uri import BadReference, resolve
from m3u8svc.job import Job, Tools
from m3u8svc.plugindoor import PluginDoor
from m3u8svc.sniff import Sniffer
from m3u8svc.tap import make_tools
from m3u8svc.tasks.addresses import literal_of
from m3u8svc.tasks.reach import Policy, parse_allowed
from m3u8svc.tasks.request import Purpose
from m3u8svc.tasks.task import Extensions, Settings, Task, TaskSpec
from m3u8svc.tasks.wire import wire_url
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import (
    KeyLine,
    MapLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
)
from m3u8svc.wire import Wire
from tests.reach.internet import LAN, OTHER_PUBLIC, PUBLIC, Internet, reactor
from tests.reach.spellings import ALL, FORBIDDEN, LOOPBACK, NO_URLS, PRIVATE
from tests.test_job import Records

test = pytest_twisted.ensureDeferred

GROUPS = {
    "loopback": (LOOPBACK, "127.0.0.1"),
    "private": (PRIVATE, "192.168.1.1"),
    "forbidden": (FORBIDDEN, "169.254.9.9"),
}
every_group = pytest.mark.parametrize("group", list(GROUPS))


def at_once(function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
    return maybeDeferred(function, *arguments, **named)


@attrs.define(kw_only=True)
class Rig:
    """The internet with an origin in it, and the tools of a service in this or that mode."""

    net: Internet
    origin: Origin
    closing: list[Callable[[], Any]] = attrs.field(factory=list)

    def tools(self, *, strict: bool = False, allow: tuple[str, ...] = (), **more: Any) -> Tools:
        policy = Policy(strict=strict, allow=tuple(map(parse_allowed, allow)), **more)
        tools, close = make_tools(self.net, at_once, policy=policy)
        self.closing.append(close)
        return tools

    def url(self, path: str, host: str = "cdn.example", **tweaks: object) -> str:
        return self.origin.url(path, **tweaks).replace(self.origin.base, f"http://{host}")

    def led_astray(self) -> tuple[int, list[tuple[str, int]]]:
        return self.net.accepted, self.net.astray


@pytest_twisted.async_yield_fixture
async def rig() -> AsyncIterator[Rig]:
    net = Internet()
    origin = await Origin.start(reactor)
    net.places = {PUBLIC: origin.port, OTHER_PUBLIC: origin.port, LAN: origin.port}
    net.names = {"cdn.example": [[PUBLIC]], "other.example": [[OTHER_PUBLIC]], "nas.example": [[LAN]]}
    rig = Rig(net=net, origin=origin)
    yield rig
    for close in rig.closing:
        await close()
    await origin.stop()
    await net.stop()


def wire_of(tools: Tools, url: str = "", **settings: Any) -> Wire:
    spec = TaskSpec(url=url, filename="film", settings=Settings(**settings))
    return tools.wire(Task(id="t", spec=spec), note=lambda line: None)


async def sniff(wire: Wire, url: str, pasted: str | None = None) -> Any:
    return await Sniffer(wire=wire, clock=reactor, in_thread=at_once).presentation(url, pasted)


async def code_of(work: Awaitable[object]) -> str:
    """How it ends."""
    try:
        await work
    except M3u8svcError as error:
        return error.code
    except BadReference:
        return "bad_reference"
    return "nothing happened"


def is_url(host: str) -> bool:
    """Whether a link with this host is one that anybody could ask for."""
    try:
        wire_url(resolve(f"http://{host}/", "http://cdn.example/"))
    except (InvalidUrl, BadReference):
        return False
    return True


def expected(host: str) -> set[str]:
    """The codes with which a link to this host may end: the refusal, wherever it is a link at all."""
    return (
        {"forbidden_address"} if is_url(host) else {"invalid_url", "redirect_refused", "bad_playlist", "bad_reference"}
    )


async def wrong(group: str, rig: Rig, led: Callable[[str], Awaitable[object]]) -> dict[str, str]:
    """What ended otherwise than it must, by host, when `led` to every host of the group at the canary's port."""
    hosts, rig.net.otherwise = GROUPS[group]
    ends = {host: await code_of(led(f"http://{host}:{rig.net.canary_port}/x.m3u8")) for host in hosts}
    return {host: end for host, end in ends.items() if end not in expected(host)}


def test_the_corpus_is_large() -> None:
    """Of each kind there are many, and most of them are links."""
    assert len(ALL) == len(set(ALL))
    assert 200 <= len(ALL)
    assert 160 <= sum(map(is_url, ALL))
    assert [] == [each for each in NO_URLS if is_url(each)]


# -- Typed -------------------------------------------------------------------------------------------------------------


@every_group
@test
async def test_typed_in_strict_mode(rig: Rig, group: str) -> None:
    """Nothing but the internet."""
    tools = rig.tools(strict=True)
    assert {} == await wrong(group, rig, lambda url: sniff(wire_of(tools), url))
    assert (0, []) == rig.led_astray()


@test
async def test_typed_in_local_mode(rig: Rig) -> None:
    """What nobody may reach, not even who types it."""
    tools = rig.tools()
    assert {} == await wrong("forbidden", rig, lambda url: sniff(wire_of(tools), url))
    assert (0, []) == rig.led_astray()


@test
async def test_our_own_port_in_every_spelling(rig: Rig) -> None:
    """Typed or not: that would be the API, asked from this machine."""
    rig.net.names["a.example"] = [["127.0.0.1"]]
    tools = rig.tools(own=(("127.0.0.1", rig.net.canary_port), ("::1", rig.net.canary_port)), allow=("127.0.0.1",))
    here = [host for host in (*LOOPBACK, "a.example") if literal_of(host) in (None, ("127.0.0.1",), ("::1",))]
    assert 40 < len(here)
    for host in here:
        end = await code_of(sniff(wire_of(tools), f"http://{host}:{rig.net.canary_port}/"))
        assert end in expected(host), host
    assert (0, []) == rig.led_astray()


# -- Led to by a public playlist ---------------------------------------------------------------------------------------


@every_group
@test
async def test_redirect(rig: Rig, group: str) -> None:
    """Of the typed link itself, in local mode: it was typed as one of the internet."""
    tools = rig.tools()
    assert {} == await wrong(group, rig, lambda url: sniff(wire_of(tools), rig.url("/r", redirect=url)))
    assert (0, []) == rig.led_astray()


@every_group
@pytest.mark.parametrize("strict", [False, True])
@test
async def test_redirects_of_segments(rig: Rig, group: str, strict: bool) -> None:
    """Over three hops, of a request that may go no nearer than the internet."""
    tools = rig.tools(strict=strict)

    async def led(url: str) -> None:
        request = await wire_of(tools).request(rig.url("/r", redirect=rig.url("/s", redirect=url)), Purpose.SEGMENT)
        await tools.wire(Task(id="t", spec=TaskSpec(url="", filename="")), note=lambda line: None).read(
            request, max_bytes=1000
        )

    assert {} == await wrong(group, rig, led)
    assert (0, []) == rig.led_astray()


@every_group
@test
async def test_variant(rig: Rig, group: str) -> None:
    """A multivariant playlist, and a page, of the internet."""
    tools = rig.tools()

    async def led(url: str) -> None:
        rig.origin.put("/master.m3u8", master_playlist([VariantLine(uri=url)]).encode())
        await sniff(wire_of(tools), rig.url("/master.m3u8"))

    assert {} == await wrong(group, rig, led)
    assert (0, []) == rig.led_astray()


@every_group
@pytest.mark.parametrize("kind", ["AUDIO", "SUBTITLES"])
@pytest.mark.parametrize("redirected", [False, True])
@test
async def test_rendition(rig: Rig, group: str, kind: str, redirected: bool) -> None:
    """Sound or subtitles that a multivariant playlist of the internet names, or that it names by way of a redirect."""
    tools = rig.tools()
    spec = TaskSpec(url="", filename="film", extensions=Extensions(audio="all", subtitles="all"))
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())

    async def led(url: str) -> None:
        uri = rig.url("/r", redirect=url) if redirected else url
        rendition = RenditionLine(group="g", name="n", type=kind, uri=uri, language="en", default=True)
        variant = VariantLine(uri="list.m3u8", **{kind.lower(): "g"})
        rig.origin.put("/master.m3u8", master_playlist([variant], renditions=[rendition]).encode())
        await sniff(tools.wire(Task(id="t", spec=spec), note=lambda line: None), rig.url("/master.m3u8"))

    assert {} == await wrong(group, rig, led)
    assert (0, []) == rig.led_astray()


@pytest.mark.parametrize("purpose", [Purpose.KEY, Purpose.INIT, Purpose.SEGMENT])
@test
async def test_what_a_rendition_names(rig: Rig, purpose: Purpose) -> None:
    """Each track goes as far as its own playlist lets it: that the main one is on the LAN takes nobody there."""
    tools = rig.tools()
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    rendition = RenditionLine(group="g", name="n", uri=rig.url("/list.m3u8"), language="en", default=True)
    variant = VariantLine(uri="list.m3u8", audio="g")
    rig.origin.put("/master.m3u8", master_playlist([variant], renditions=[rendition]).encode())
    wire = wire_of(tools)
    found = await sniff(wire, rig.url("/master.m3u8", host=LAN))
    [track] = [stream.track for stream in found.streams if stream.track != MAIN]
    at = f"http://{LAN}/0.ts"
    ends = {}
    for each in (MAIN, track):
        request = await wire.request(at, purpose, reach=wire.reaches.of(each))
        ends[each] = await code_of(wire.read(request, max_bytes=1000))
    assert {MAIN: True, track: False} == {each: end != "forbidden_address" for each, end in ends.items()}
    assert (0, []) == rig.led_astray()


@every_group
@pytest.mark.parametrize("purpose", [Purpose.KEY, Purpose.INIT, Purpose.SEGMENT])
@test
async def test_what_a_media_playlist_names(rig: Rig, group: str, purpose: Purpose) -> None:
    """Keys, init sections and segments go as far as the playlist that was read lets them."""
    tools = rig.tools()
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    wire = wire_of(tools)
    await sniff(wire, rig.url("/list.m3u8"))

    async def led(url: str) -> None:
        request = await wire.request(resolve(url, rig.url("/list.m3u8")), purpose, reach=wire.reaches.of(MAIN))
        await wire.read(request, max_bytes=1000)

    assert {} == await wrong(group, rig, led)
    assert (0, []) == rig.led_astray()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "[::ffff:7f00:1]", "192.168.1.1", "169.254.169.254", "localhost"]
)
@pytest.mark.parametrize("what", ["key", "map", "segment"])
@test
async def test_a_whole_task(rig: Rig, tmp_path: Path, what: str, host: str) -> None:
    """Fails with the refusal at once, though it may have gaps; the segment before is fetched, nobody else is asked."""
    url = f"http://{host}:{rig.net.canary_port}/x"
    rig.origin.put("/0.ts", b"G" + b"\0" * 187)
    bad = {
        "key": SegmentLine(uri="1.ts", keys=(KeyLine(uri=url),)),
        "map": SegmentLine(uri="1.ts", map=MapLine(uri=url)),
        "segment": SegmentLine(uri=url),
    }
    rig.origin.put("/list.m3u8", media_playlist([bad[what]]).encode())
    spec = TaskSpec(
        url=rig.url("/list.m3u8"),
        filename="film",
        settings=Settings(save_location=str(tmp_path)),
        extensions=Extensions(merger="none", allow_gaps=True),
    )
    end = await code_of(Job(Task(id="t", spec=spec), rig.tools(), Records()).run())
    assert "forbidden_address" == end
    assert (0, []) == rig.led_astray()


# -- DNS ---------------------------------------------------------------------------------------------------------------


def addresses() -> list[str]:
    """Every address the corpus means."""
    found = {each for host in ALL for each in literal_of(host.replace("%25", "%")) or ()}
    return sorted(found - {"177.0.0.1", "8.0.0.1", "12.0.0.1"})  # what other readings of 0177 and the like are


@pytest.mark.parametrize("strict", [False, True])
@test
async def test_what_a_name_is_resolved_to(rig: Rig, strict: bool) -> None:
    """One bad address is enough, before or behind a good one, alone or one of sixty."""
    tools = rig.tools(strict=strict)
    bad = addresses()
    assert 60 < len(bad)
    let_through = []
    for address in bad:
        many = [*[PUBLIC] * 59, address]
        for answer in ([address], [PUBLIC, address], [address, PUBLIC], many):
            rig.net.names["led.example"] = [answer]
            request = await wire_of(tools).request(f"http://led.example:{rig.net.canary_port}/", Purpose.SEGMENT)
            if await code_of(wire_of(tools).read(request, max_bytes=1000)) != "forbidden_address":
                let_through.append(answer)
    assert [] == let_through
    assert (0, []) == rig.led_astray()
    assert [] == rig.net.connects


@test
async def test_rebinding(rig: Rig) -> None:
    """A name that is in the internet when the playlist is read, and here when its segment is: TTL 0 or not."""
    tools = rig.tools()
    rig.net.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    wire = wire_of(tools)
    at = f"rebind.example:{rig.net.canary_port}"
    await sniff(wire, rig.url("/list.m3u8", host=at))
    for segment in (rig.url("/0.ts", host=at.upper()), f"http://{at}/0.ts", f"http://rebind.example.:{at[15:]}/0.ts"):
        rig.net.names["rebind.example."] = [["127.0.0.1"]]
        connections_closed = await tools_without_kept(rig, wire)
        request = await connections_closed.request(segment, Purpose.SEGMENT, reach=wire.reaches.of(MAIN))
        assert "forbidden_address" == await code_of(connections_closed.read(request, max_bytes=1000))
    assert (0, []) == rig.led_astray()


async def tools_without_kept(rig: Rig, wire: Wire) -> Wire:
    """The same wire with a door that keeps no connection yet."""
    fresh = rig.tools()
    return attrs.evolve(wire_of(fresh), reaches=wire.reaches)


@test
async def test_the_typed_name_is_rebound_before_it_is_read_again(rig: Rig) -> None:
    """Links that expire make a task read its own link again: by then it leads no nearer than the first time."""
    rig.net.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    first = wire_of(rig.tools())
    url = rig.url("/list.m3u8", host=f"rebind.example:{rig.net.canary_port}")
    await sniff(first, url)
    again = await tools_without_kept(rig, first)
    assert "forbidden_address" == await code_of(sniff(again, url))
    assert (0, []) == rig.led_astray()


@test
async def test_who_is_there_is_compared_with_who_was_meant(rig: Rig) -> None:
    """A connection that turns out to lead elsewhere is not used: no byte is sent on it."""
    for peer in ("127.0.0.1", OTHER_PUBLIC, "::1"):
        rig.net.peers = {PUBLIC: peer}
        wire = wire_of(rig.tools())
        request = await wire.request(rig.url("/a"), Purpose.SEGMENT)
        assert "forbidden_address" == await code_of(wire.read(request, max_bytes=1000))
    assert [] == rig.origin.visits()


# -- Proxies -----------------------------------------------------------------------------------------------------------


def through(rig: Rig, kind: str, host: str, port: int) -> dict[str, Any]:
    return {"proxy_type": kind, "proxy_host": host, "proxy_port": port}


@every_group
@pytest.mark.parametrize("kind", ["http", "socks5"])
@test
async def test_behind_a_proxy(rig: Rig, group: str, kind: str) -> None:
    """Numbers and names that say it themselves are not even told to the proxy, which is the canary here."""
    tools = rig.tools()
    proxy = through(rig, kind, "127.0.0.1", rig.net.canary_port)
    rig.net.places["127.0.0.1"] = rig.net.canary_port
    unknown = {host for host in GROUPS[group][0] if literal_of(host) is None} & {"localhost4"}

    async def led(url: str) -> None:
        wire = wire_of(tools, **proxy)
        await wire.read(await wire.request(url, Purpose.SEGMENT), max_bytes=1000)

    assert set() == set(await wrong(group, rig, led)) - unknown
    assert 0 == rig.net.accepted


@every_group
@test
async def test_the_proxy_itself_in_strict_mode(rig: Rig, group: str) -> None:
    """A proxy is a way to any port of any host, so it is the operator who names it."""
    tools = rig.tools(strict=True)
    hosts, rig.net.otherwise = GROUPS[group]
    ends = {}
    for host in (*hosts, PUBLIC, "cdn.example"):
        wire = wire_of(tools, **through(rig, "http", host, rig.net.canary_port))
        ends[host] = await code_of(wire.read(await wire.request(rig.url("/a"), Purpose.SEGMENT), max_bytes=1000))
    assert {"forbidden_address"} >= {end for host, end in ends.items() if is_url(host)}
    assert (0, []) == rig.led_astray()


@test
async def test_the_proxy_itself_in_local_mode(rig: Rig) -> None:
    """Anywhere but at an address that nobody reaches, or at our own port."""
    tools = rig.tools(own=(("127.0.0.1", rig.net.canary_port),))
    _, rig.net.otherwise = GROUPS["forbidden"]
    for host in (*filter(is_url, FORBIDDEN), "127.0.0.1", "127.1", "2130706433"):
        wire = wire_of(tools, **through(rig, "socks5", host, rig.net.canary_port))
        read = wire.read(await wire.request(rig.url("/a"), Purpose.SEGMENT), max_bytes=1000)
        assert "forbidden_address" == await code_of(read), host
    assert (0, []) == rig.led_astray()


# -- Plugins -----------------------------------------------------------------------------------------------------------


@every_group
@test
async def test_the_door_of_plugins(rig: Rig, group: str) -> None:
    """Is the same door."""
    tools = rig.tools()
    door = PluginDoor(tools.fetcher, tools.direct_agent)
    assert {} == await wrong(group, rig, door)
    rig.net.names["led.example"] = [["127.0.0.1"]]
    assert "forbidden_address" == await code_of(door(f"http://led.example:{rig.net.canary_port}/"))
    assert (0, []) == rig.led_astray()


# -- What goes on working ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "segment"),
    [
        ("cdn.example", "other.example"),
        ("nas.example", "nas.example"),
        ("nas.example", LAN),
        ("nas.example", "cdn.example"),
        ("192.168.276", "nas.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.1"),
        ("127.0.0.1", "nas.example"),
        ("127.0.0.1", "cdn.example"),
        ("cdn.example", "cdn.example"),
    ],
)
@test
async def test_local_mode_lets_through(rig: Rig, typed: str, segment: str) -> None:
    """What is typed, and what that leads to in its own network or farther away."""
    tools = rig.tools()
    rig.net.places["127.0.0.1"] = rig.origin.port
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    rig.origin.put("/0.ts", b"content")
    wire = wire_of(tools)
    await sniff(wire, rig.url("/list.m3u8", host=typed))
    request = await wire.request(rig.url("/0.ts", host=segment), Purpose.SEGMENT, reach=wire.reaches.of(MAIN))
    assert b"content" == (await wire.read(request, max_bytes=1000))[1]


@pytest.mark.parametrize(("typed", "segment"), [("nas.example", "127.0.0.1"), ("cdn.example", "nas.example")])
@test
async def test_nobody_leads_nearer(rig: Rig, typed: str, segment: str) -> None:
    """Not from the local network to this machine, and not from the internet to the local network."""
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    wire = wire_of(rig.tools())
    await sniff(wire, rig.url("/list.m3u8", host=typed))
    request = await wire.request(rig.url("/0.ts", host=segment), Purpose.SEGMENT, reach=wire.reaches.of(MAIN))
    assert "forbidden_address" == await code_of(wire.read(request, max_bytes=1000))
    assert (0, []) == rig.led_astray()


@test
async def test_what_led_out_does_not_lead_back_in(rig: Rig) -> None:
    """From the local network into the internet and back: by redirects, and by playlists."""
    wire = wire_of(rig.tools())
    back = rig.url("/a", host="nas.example")
    out = rig.url("/b", redirect=back)
    assert "forbidden_address" == await code_of(sniff(wire, rig.url("/c", host="nas.example", redirect=out)))
    rig.origin.put("/inner.m3u8", master_playlist([VariantLine(uri=back)]).encode())
    rig.origin.put("/outer.m3u8", master_playlist([VariantLine(uri=rig.url("/inner.m3u8"))]).encode())
    assert "forbidden_address" == await code_of(sniff(wire_of(rig.tools()), rig.url("/outer.m3u8", host="nas.example")))
    assert 0 == rig.origin.count("/a")


@pytest.mark.parametrize("strict", [False, True])
@test
async def test_the_operator_allows_more(rig: Rig, strict: bool) -> None:
    """In both modes, led to by whomever; another port, and what is led to from there, are as before."""
    tools = rig.tools(strict=strict, allow=(f"{LAN}:80",))
    rig.origin.put("/a", b"content")
    for url, end in (
        (rig.url("/a", host="nas.example"), "nothing happened"),
        (rig.url("/a", host=f"{LAN}"), "nothing happened"),
        (rig.url("/a", redirect=rig.url("/a", host=LAN)), "nothing happened"),
        (rig.url("/a", host="nas.example:81"), "forbidden_address"),
        (rig.url("/a", host="nas.example", redirect="http://192.168.1.21/"), "forbidden_address"),
    ):
        wire = wire_of(tools)
        assert end == await code_of(wire.read(await wire.request(url, Purpose.SEGMENT), max_bytes=1000)), url
    assert (0, []) == rig.led_astray()


@test
async def test_pasted_links_count_as_typed(rig: Rig) -> None:
    """Whoever pastes a playlist sees where it leads; in strict mode that does not help."""
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    pasted = master_playlist([VariantLine(uri=rig.url("/list.m3u8", host="nas.example"))])
    assert "nothing happened" == await code_of(sniff(wire_of(rig.tools()), "", pasted))
    assert "forbidden_address" == await code_of(sniff(wire_of(rig.tools(strict=True)), "", pasted))


# -- Kept connections --------------------------------------------------------------------------------------------------


@test
async def test_a_kept_connection_serves_who_could_have_made_it(rig: Rig) -> None:
    """One to the local network is kept for who may go there; one into the internet is everybody's."""
    tools = rig.tools()
    rig.origin.put("/a", b"content")
    rig.origin.put("/list.m3u8", media_playlist([SegmentLine(uri="0.ts")]).encode())
    for host in ("nas.example", "cdn.example"):
        await sniff(wire_of(tools), rig.url("/list.m3u8", host=host))
    assert 2 == rig.origin.accepted
    wire = wire_of(tools)
    for host, end in (("nas.example", "forbidden_address"), ("cdn.example", "nothing happened")):
        request = await wire.request(rig.url("/a", host=host), Purpose.SEGMENT)
        assert end == await code_of(wire.read(request, max_bytes=1000))
    assert (2, 1) == (rig.origin.accepted, rig.origin.count("/a"))
    await sniff(wire_of(tools), rig.url("/list.m3u8", host="nas.example"))
    assert 2 == rig.origin.accepted


# -- What strangers hear -----------------------------------------------------------------------------------------------


@test
async def test_strict_mode_does_not_tell_ports_apart(rig: Rig) -> None:
    """Nobody listens, a firewall is silent, there is no way, it is broken off: one code and one text."""
    told = set()
    for error in (ConnectionRefusedError(), TCPTimedOutError(), NoRouteError(), TimeoutError(), ConnectionLost()):
        rig.net.failing[PUBLIC] = error
        wire = wire_of(rig.tools(strict=True))
        with pytest.raises(FetchError) as caught:
            await wire.read(await wire.request(rig.url("/a"), Purpose.SEGMENT), max_bytes=1000)
        told.add((caught.value.code, caught.value.text("en"), caught.value.text("zh")))
    assert {"connect_failed"} == {code for code, _, _ in told}
    assert 1 == len(told)


@test
async def test_a_refusal_is_told_and_never_repeated(rig: Rig) -> None:
    """Once in the log, with what was refused; once asked, since asking again would not change it."""
    wire = wire_of(rig.tools())
    asked = []

    async def ask(attempt: int) -> None:
        asked.append(attempt)
        request = await wire.request(f"http://127.0.0.1:{rig.net.canary_port}/x?token=s3cret", Purpose.KEY)
        await wire.read(request, max_bytes=1000)

    with pytest.raises(ForbiddenAddress) as caught:
        await wire.insist("key", ask)
    assert [1] == asked
    assert "network.allow" in caught.value.text("en")
    assert "network.allow" in caught.value.text("zh")
    assert "s3cret" not in caught.value.text("en")
