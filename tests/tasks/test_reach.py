"""
The address policy as a table: who may be connected to, from where, in which mode.
"""

import pytest

from m3u8svc.errors import ForbiddenAddress
from m3u8svc.tasks.addresses import NEAREST, Zone
from m3u8svc.tasks.reach import TYPED, Policy, Reaches, Verdict, is_strict, parse_allowed

PUBLIC, LAN, HERE, METADATA = "93.184.216.34", "192.168.1.20", "127.0.0.1", "169.254.169.254"
OWN = (("127.0.0.1", 8080), ("::1", 8080))


def policy(*allow: str, strict: bool = False, **more: object) -> Policy:
    return Policy(strict=strict, allow=tuple(map(parse_allowed, allow)), **({"own": OWN} | more))  # type: ignore[arg-type]


def admits(policy: Policy, *addresses: str, host: str = "a.example", port: int = 80, reach: Zone = NEAREST) -> bool:
    try:
        policy.judge(host, port, addresses, reach)
    except ForbiddenAddress:
        return False
    return True


@pytest.mark.parametrize(
    ("reach", "admitted"),
    [
        (Zone.FORBIDDEN, {PUBLIC, LAN, HERE}),  # nobody has it; if somebody had
        (Zone.LOOPBACK, {PUBLIC, LAN, HERE}),  # typed, or led to by what is on this machine
        (Zone.PRIVATE, {PUBLIC, LAN}),
        (Zone.PUBLIC, {PUBLIC}),
    ],
)
def test_local_mode_is_a_matter_of_who_leads_there(reach: Zone, admitted: set[str]) -> None:
    """One's own network or farther away; metadata for nobody."""
    assert admitted == {each for each in (PUBLIC, LAN, HERE, METADATA) if admits(policy(), each, reach=reach)}


@pytest.mark.parametrize("reach", list(Zone))
def test_strict_mode_is_the_internet(reach: Zone) -> None:
    """Whoever leads there, and whatever reach somebody claims."""
    strict = policy(strict=True)
    assert {PUBLIC} == {each for each in (PUBLIC, LAN, HERE, METADATA) if admits(strict, each, reach=reach)}


@pytest.mark.parametrize("bad", [LAN, HERE, METADATA, "::1", "::ffff:10.0.0.1", "fe80::1%eth0", "nonsense"])
def test_one_bad_answer_spoils_all(bad: str) -> None:
    """A name that is public and private at once is not connected to, in any order; nor is one without address."""
    assert not admits(policy(), PUBLIC, bad, reach=Zone.PUBLIC)
    assert not admits(policy(), bad, PUBLIC, reach=Zone.PUBLIC)
    assert not admits(policy(), reach=Zone.LOOPBACK)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("entry", "address", "port", "allowed"),
    [
        ("192.168.1.20:8080", LAN, 8080, True),
        ("192.168.1.20:8080", LAN, 80, False),
        ("192.168.1.20:8080", "192.168.1.21", 8080, False),
        ("192.168.1.20", LAN, 80, True),
        ("192.168.0.0/16:80,443", LAN, 443, True),
        ("192.168.0.0/16:80,443", LAN, 444, False),
        ("192.168.1.20", "::ffff:192.168.1.20", 80, True),
        ("192.168.1.20", "2002:c0a8:114::1", 80, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("[fd00::5]:8080", "fd00::5", 8080, True),
        ("[fd00::5]:8080", "fd00::6", 8080, False),
        ("127.0.0.1:9000", HERE, 9000, True),
        ("::1", "::1", 9000, True),
        ("a.example", LAN, 80, True),
        ("A.Example:80", HERE, 80, True),
        ("a.example:81", LAN, 80, False),
        ("b.example", LAN, 80, False),
        ("0.0.0.0/0", LAN, 80, True),
        ("0.0.0.0/0", METADATA, 80, False),
        ("0.0.0.0/0", HERE, 8080, False),
        ("::/0", "fe80::1", 80, False),
        ("a.example", METADATA, 80, False),
        ("a.example", HERE, 8080, False),
        ("0.0.0.0/0", "2001:0:a00:1::f5ff:fffe", 80, True),
        ("10.0.0.0/8", "2001:0:a00:1::f4ff:fffe", 80, False),  # one of the two it may be is not in it
        ("198.18.0.0/15", "198.18.0.0", 80, True),
        ("198.18.0.0/15", "198.19.255.255", 443, True),
        ("198.18.0.0/15", "::ffff:198.18.0.1", 80, True),
        ("198.18.0.0/15", LAN, 80, False),
        ("198.18.0.0/15", METADATA, 80, False),
        ("198.18.0.0/15", "198.51.100.1", 80, False),
        ("198.18.0.0/15", "2001:0:c612:1::f5ff:fffe", 80, False),
        ("198.18.0.0/15:443", "198.18.0.1", 443, True),
        ("198.18.0.0/15:443", "198.18.0.1", 80, False),
        ("198.18.0.0/16", "198.18.0.1", 80, True),
        ("198.18.0.0/16", "198.19.0.1", 80, False),
        ("198.18.0.5", "198.18.0.5", 80, True),
        ("198.18.0.5", "198.18.0.6", 80, False),
        ("198.16.0.0/14", "198.18.0.1", 80, False),  # wider than what such a program answers with
        ("0.0.0.0/0", "198.18.0.1", 80, False),
        ("a.example", "198.18.0.1", 80, False),
        ("169.254.0.0/16", METADATA, 80, False),
        ("fe80::/10", "fe80::1", 80, False),
        ("100.100.100.0/24", "100.100.100.200", 80, False),
        ("192.0.2.0/24", "192.0.2.1", 80, False),
        ("224.0.0.0/4", "224.0.0.1", 80, False),
    ],
)
def test_what_is_allowed_is_allowed_to_all(entry: str, address: str, port: int, allowed: bool, strict: bool) -> None:
    """In both modes, whoever leads there; what nobody may reach, and our own ports, cannot be allowed."""
    assert allowed is admits(policy(entry, strict=strict), address, port=port, reach=Zone.PUBLIC)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "64:ff9b::7f00:1", "::127.0.0.1"])
def test_our_own_ports_are_never_reached(address: str) -> None:
    """Not even by who typed them; other ports of this machine are."""
    assert not admits(policy(), address, port=8080)
    assert admits(policy(), address, port=8081)


def test_a_socket_that_listens_everywhere_is_ours_at_every_address_of_this_machine() -> None:
    """As far as the system says that an address is here."""
    everywhere = policy(own=(("0.0.0.0", 80),), is_here=lambda address: address in (HERE, LAN, PUBLIC))
    assert [False, False, False] == [admits(everywhere, each) for each in (HERE, LAN, PUBLIC)]
    assert admits(everywhere, "192.168.1.21")
    assert admits(everywhere, LAN, port=81)


def test_the_verdict_names_the_nearest_and_the_farthest() -> None:
    """The nearest needs permission; what came may be from the farthest, and leads no nearer."""
    assert Verdict(entered=Zone.LOOPBACK, zone=Zone.PUBLIC) == policy().judge("a", 80, [HERE, PUBLIC], NEAREST)
    assert Verdict(entered=Zone.PUBLIC, zone=Zone.PRIVATE) == policy(LAN).judge("a", 80, [LAN], Zone.PUBLIC)


FAKE = "198.18.0.7"


@pytest.mark.parametrize("strict", [False, True])
def test_a_fake_address_is_the_internet(strict: bool) -> None:
    """What came from there leads into the internet only, since a program of ours sends it there; never to our port."""
    allowed = policy("198.18.0.0/15", strict=strict)
    assert Verdict(entered=Zone.PUBLIC, zone=Zone.PUBLIC) == allowed.judge("a.example", 443, [FAKE], Zone.PUBLIC)
    assert Zone.PUBLIC is allowed.judge_host(FAKE, 80, Zone.PUBLIC, resolved_here=False)
    assert not admits(allowed, FAKE, LAN, reach=Zone.PUBLIC)
    assert not admits(allowed, FAKE, METADATA)
    ours = policy("198.18.0.0/15", strict=strict, own=((FAKE, 80),))
    assert [False, True] == [admits(ours, FAKE, port=port) for port in (80, 81)]


def test_a_fake_address_that_nobody_allowed() -> None:
    """Is reached by nobody, as before."""
    assert [False] * 8 == [
        admits(policy(strict=strict), FAKE, reach=reach) for strict in (False, True) for reach in Zone
    ]


def test_a_proxy_with_a_fake_address() -> None:
    """In strict mode it takes its name in `allow`: the range says nothing of whose proxy it is."""
    policy("198.18.0.0/15").judge_proxy("p.example", 3128, [FAKE])
    policy("198.18.0.0/15", "p.example:3128", strict=True).judge_proxy("p.example", 3128, [FAKE])
    policy("198.18.0.0/15", strict=True, proxies=lambda: [("p.example", 3128)]).judge_proxy("p.example", 3128, [FAKE])
    for refusing in (policy(), policy("198.18.0.0/15", strict=True), policy("p.example:3128", strict=True)):
        with pytest.raises(ForbiddenAddress):
            refusing.judge_proxy("p.example", 3128, [FAKE])


# -- Hosts that nobody looks up here -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "reach", "found"),
    [
        ("127.1", Zone.PUBLIC, False),
        ("0177.0.0.1", Zone.PUBLIC, False),
        ("localhost", Zone.PRIVATE, False),
        ("localhost", Zone.LOOPBACK, Zone.LOOPBACK),
        ("nas.local", Zone.PUBLIC, False),
        ("nas.local", Zone.PRIVATE, Zone.PRIVATE),
        ("metadata.google.internal", Zone.LOOPBACK, False),
        ("a.example", Zone.PUBLIC, None),
        (PUBLIC, Zone.PUBLIC, Zone.PUBLIC),
        ("256.1.1.1", Zone.LOOPBACK, False),
    ],
)
def test_behind_a_proxy_what_says_itself_where_it_is_is_judged(
    host: str, reach: Zone, found: Zone | None | bool
) -> None:
    """Numbers in every spelling, and names that only mean something here."""
    if found is False:
        with pytest.raises(ForbiddenAddress):
            policy().judge_host(host, 80, reach, resolved_here=False)
    else:
        assert found is policy().judge_host(host, 80, reach, resolved_here=False)


def test_names_are_left_to_who_looks_them_up() -> None:
    """What a name says counts only where nobody here learns its address; a number is a number."""
    assert policy().judge_host("nas.local", 80, Zone.PUBLIC, resolved_here=True) is None
    with pytest.raises(ForbiddenAddress):
        policy().judge_host("2130706433", 80, Zone.PUBLIC, resolved_here=True)


def test_behind_a_proxy_names_can_be_allowed_and_our_own_port_cannot() -> None:
    """By name, since nobody knows the address."""
    assert Zone.PRIVATE is policy("nas.local", strict=True).judge_host(
        "nas.local", 80, Zone.PUBLIC, resolved_here=False
    )
    for host in ("localhost", "127.0.0.1", "LOCALHOST."):
        with pytest.raises(ForbiddenAddress):
            policy("localhost").judge_host(host, 8080, NEAREST, resolved_here=False)
    with pytest.raises(ForbiddenAddress):
        policy("0.0.0.0/0", strict=True).judge_host("nas.local", 80, NEAREST, resolved_here=False)


@pytest.mark.parametrize(
    ("strict", "address", "admitted"),
    [
        (False, HERE, True),
        (False, LAN, True),
        (False, PUBLIC, True),
        (False, METADATA, False),
        (True, PUBLIC, False),
        (True, LAN, False),
        (True, "192.168.1.30", True),
        (True, METADATA, False),
    ],
)
def test_proxies(strict: bool, address: str, admitted: bool) -> None:
    """Anywhere but nowhere in local mode; strict mode knows those of `allow`, public or not."""
    judging = policy("192.168.1.30:3128", strict=strict)
    try:
        judging.judge_proxy("p.example", 3128, [address])
    except ForbiddenAddress:
        assert not admitted
    else:
        assert admitted


def test_the_operators_own_proxy() -> None:
    """By name and port, wherever it is, and not our own port or a metadata service."""
    named = policy(strict=True, proxies=lambda: [("P.example", 3128)])
    for address in (HERE, LAN, PUBLIC):
        named.judge_proxy("p.example.", 3128, [address])
    for host, port, address in (("p.example", 3129, LAN), ("q.example", 3128, LAN), ("p.example", 3128, METADATA)):
        with pytest.raises(ForbiddenAddress):
            named.judge_proxy(host, port, [address])
    with pytest.raises(ForbiddenAddress):
        policy(strict=True, proxies=lambda: [("p.example", 8080)]).judge_proxy("p.example", 8080, [HERE])


# -- What is said ------------------------------------------------------------------------------------------------------


def refusal(policy: Policy, host: str, port: int, *addresses: str, reach: Zone = Zone.PUBLIC) -> str:
    with pytest.raises(ForbiddenAddress) as caught:
        policy.judge(host, port, addresses, reach)
    return caught.value.text("en")


def test_a_refusal_names_what_was_refused_and_what_allows_it() -> None:
    """The host, its address if that is another one, why, and the setting where there is one."""
    for text, parts in (
        (
            refusal(policy(), "nas.example", 80, LAN),
            ("nas.example:80 (192.168.1.20)", "network.allow", "local network"),
        ),
        (refusal(policy(), "::1", 81, "::1"), ("[::1]:81", "network.allow", "this machine")),
        (refusal(policy(), "a.example", 80, METADATA), (METADATA, "no such address")),
        (refusal(policy(), "127.1", 8080, HERE, reach=NEAREST), ("127.1:8080", "a port of this service")),
        (
            refusal(policy(), "a", 8080, "::ffff:127.0.0.1", reach=NEAREST),
            ("a:8080 (::ffff:", "a port of this service"),
        ),
    ):
        assert all(part in text for part in parts), text


def test_the_refusal_of_a_fake_address_names_its_entry() -> None:
    """What answers so, and what allows it, in both languages; strict mode, which tells no address, has it as advice."""
    entry = 'network.allow = ["198.18.0.0/15"]'
    for judging, address in ((policy(), FAKE), (policy("a.example"), "::ffff:198.19.0.1"), (policy("0.0.0.0/0"), FAKE)):
        with pytest.raises(ForbiddenAddress) as caught:
            judging.judge("a.example", 443, [address], NEAREST)
        for language in ("zh", "en"):
            text = caught.value.text(language)
            assert entry in text and "Clash" in text and f"a.example:443 ({address})" in text
    with pytest.raises(ForbiddenAddress) as caught:
        policy(strict=True).judge("a.example", 443, [FAKE], NEAREST)
    for language in ("zh", "en"):
        assert FAKE not in caught.value.text(language) and entry in caught.value.advice(language)
    assert "a port of this service" in refusal(policy("198.18.0.0/15", own=((FAKE, 80),)), "a", 80, FAKE)


def test_strict_mode_says_no_more_than_was_asked() -> None:
    """Neither what a name is resolved to, nor of what kind it is, nor that it is ours."""
    strict = policy(strict=True)
    texts = {
        refusal(strict, "a.example", 8080, *found)
        for found in ((LAN,), (HERE,), (METADATA,), (FAKE,), (PUBLIC, LAN), ("::1",))
    }
    assert 1 == len(texts)
    assert "a.example:8080" in texts.pop()


# -- The way of one task -----------------------------------------------------------------------------------------------


def test_reach_is_only_ever_lost() -> None:
    """By track; nothing that was not read leads anywhere near, and the typed link is no nearer the second time."""
    reaches = Reaches()
    assert (Zone.LOOPBACK, Zone.PUBLIC) == (reaches.typed, reaches.of("main"))
    for reach in (Zone.PRIVATE, Zone.LOOPBACK):
        reaches.led_by("main", reach)
        reaches.led_by(TYPED, reach)
    assert (Zone.PRIVATE, Zone.PRIVATE, Zone.PUBLIC) == (reaches.typed, reaches.of("main"), reaches.of("audio1"))


# -- The operator's words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "open_to_others", "strict"),
    [
        ("auto", False, False),
        ("auto", True, True),
        ("local", False, False),
        ("local", True, False),
        ("strict", False, True),
        ("strict", True, True),
    ],
)
def test_the_mode(mode: str, open_to_others: bool, strict: bool) -> None:
    """By itself strict where others can reach us."""
    assert strict is is_strict(mode, open_to_others=open_to_others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be an address"),
        ("a b", "must be an address"),
        ("http://a.example", "must be an address"),
        ("10.0.0.1/8", "10.0.0.0/8 is"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.1:", "port"),
        ("10.0.0.1:0", "port"),
        ("10.0.0.1:65536", "port"),
        ("10.0.0.1:80,", "port"),
        ("10.0.0.1:80-90", "must be an address"),
        ("10.1", "no address"),
        ("0x7f.1", "no address"),
        ("[fd00::1", "must be an address"),
        ("[fd00::1]x", "must be an address"),
        ("fd00::zz", "no address"),
        ("169.254.169.254", "never"),
        ("[fd00:ec2::254]:80", "never"),
        ("0.0.0.0", "never"),
        ("198.51.100.1", "never"),
        ("::ffff:198.18.0.1", "never"),
        ("198.18.0.1/15", "198.18.0.0/15 is"),
        ("metadata.google.internal", "never"),
    ],
)
def test_entries_that_are_none(text: str, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(ValueError, match=reason):
        parse_allowed(text)
