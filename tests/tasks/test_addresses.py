"""
The table of networks, and the many ways to write a number.
"""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3u8svc.errors import InvalidUrl
from m3u8svc.tasks.addresses import Zone, literal_of, zone_of, zone_of_name
from m3u8svc.tasks.wire import wire_url
from tests.reach.spellings import FORBIDDEN, LOOPBACK, PRIVATE

ZONES = {
    Zone.PUBLIC: (
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255"),
        *("128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"),
        *("192.169.0.0", "192.0.1.0", "192.0.3.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15"),
        *("2606:4700::1111", "2001:4860:4860::8888", "2000::1", "::ffff:8.8.8.8", "::8.8.8.8"),
        *("64:ff9b::8.8.8.8", "64:ff9b:1::8.8.8.8", "64:ff9b:1:abcd::5db8:d822", "2002:808:808::1", "2a00::1"),
        *("2001:200::1", "3ffe:ffff::1", "2001:0:808:808::f7f7:f7f7"),
    ),
    Zone.PRIVATE: ("10.0.0.0", "10.255.255.255", "172.16.0.0", "192.168.0.0", "100.64.0.0", "fc00::", "fdff::1"),
    Zone.LOOPBACK: ("127.0.0.0", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::1%lo", "::127.0.0.1"),
    Zone.FORBIDDEN: (
        "0.0.0.0",
        "::",
        "169.254.0.0",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "255.255.255.255",
        "nonsense",
        "",
    ),
}


def test_an_address_is_in_its_zone() -> None:
    """The borders of every network are where they are, in both versions."""
    assert {} == {each: zone_of(each) for zone, found in ZONES.items() for each in found if zone_of(each) is not zone}


def test_what_the_standard_library_takes_for_global_is_not() -> None:
    """The traps of `is_global` (reliability.md, trap 11)."""
    for each in ("64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fec0::1", "224.0.0.1", "192.0.0.8"):
        assert zone_of(each) is not Zone.PUBLIC


@pytest.mark.parametrize(
    ("host", "readings"),
    [
        ("127.1", {"127.0.0.1"}),
        ("2130706433", {"127.0.0.1"}),
        ("0177.0.0.1", {"127.0.0.1", "177.0.0.1"}),
        ("010.8.8.8", {"8.8.8.8", "10.8.8.8"}),
        ("08.8.8.8", {"8.8.8.8"}),
        ("0x", {"0.0.0.0"}),
        ("1.2.3", {"1.2.0.3"}),
        ("1.65536.3", set()),
        ("1.2.65536", set()),
        ("1.2.3.256", set()),
        ("1.2.3.4.5", set()),
        ("a.1", set()),
        ("1..1", set()),
        (f"{'0' * 80}1", set()),
        ("[::1]", {"::1"}),
        ("::1%eth0", {"::1"}),
        ("1::2::3", set()),
    ],
)
def test_a_number_has_all_its_readings(host: str, readings: set[str]) -> None:
    """As the C library reads it and as others do; nothing at all is no address, which nobody may reach."""
    found = literal_of(host)
    assert found is not None
    assert readings == set(found)


@pytest.mark.parametrize(
    "host", ["a.example", "1.a", "0x7f.example", "127.0.0.1.nip.io", "1e3", "abc", "0xyz", "x", "-1"]
)
def test_names_are_no_numbers(host: str) -> None:
    """However many digits they begin with."""
    assert literal_of(host) is None


def zone_of_host(host: str) -> Zone | None:
    found = literal_of(host)
    return zone_of_name(host) if found is None else max(map(zone_of, found), default=Zone.FORBIDDEN)


def on_the_wire(host: str) -> list[str]:
    """The host as it goes over the wire, if it can at all."""
    try:
        return [wire_url(f"http://{host}/").host]
    except InvalidUrl:
        return []


@pytest.mark.parametrize(
    ("least", "hosts"), [(Zone.LOOPBACK, LOOPBACK), (Zone.PRIVATE, PRIVATE), (Zone.FORBIDDEN, FORBIDDEN)]
)
def test_every_spelling_is_seen_through(least: Zone, hosts: tuple[str, ...]) -> None:
    """As it stands in a link, and as it goes over the wire if it can at all."""
    spelled = {each for host in hosts for each in (host, *on_the_wire(host)) if each.isascii()}
    assert len(hosts) / 2 < len(spelled)
    zones = {each: zone_of_host(each) for each in spelled}
    assert {} == {each: zone for each, zone in zones.items() if zone is None or zone < least}


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_no_nearer_and_no_farther(address: ipaddress.IPv4Address) -> None:
    """An IPv4 address inside an IPv6 one is that address."""
    number = int(address)
    zone = zone_of(str(address))
    for prefix in ("::ffff:0:0", "64:ff9b::", "2002::"):
        shift = 80 if prefix == "2002::" else 0
        assert zone is zone_of(str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + (number << shift))))
    if number > 1:
        assert zone is zone_of(str(ipaddress.IPv6Address(number)))


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.sampled_from(["{0}", "0x{0:x}", "0{0:o}", "{1}.{2}", "{1}.{3}.{4}", "0x{1:x}.{2}"]))
def test_a_number_reads_as_the_system_reads_it(address: ipaddress.IPv4Address, spelling: str) -> None:
    """What `inet_aton` makes of it is among the readings."""
    number = int(address)
    text = spelling.format(number, number >> 24, number & 0xFFFFFF, number >> 16 & 0xFF, number & 0xFFFF)
    assert str(address) in (literal_of(text) or ())


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("localhost", Zone.LOOPBACK),
        ("A.LOCALHOST.", Zone.LOOPBACK),
        ("nas.local", Zone.PRIVATE),
        ("nas", Zone.PRIVATE),
        ("metadata.google.internal", Zone.FORBIDDEN),
        ("a.example", None),
        ("local.example", None),
        ("localhost.example", None),
        ("nolocalhost.example", None),
        ("thelocal.se", None),
    ],
)
def test_names_that_say_where_they_are(name: str, zone: Zone | None) -> None:
    """Those that only mean something here, and no others."""
    assert zone is zone_of_name(name)
