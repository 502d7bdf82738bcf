"""What a reverse proxy says of a request, and when it is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.access.failures import source_of
from m3u8svc.access.forwarding import Trusted, checked_base_path, client_of, parse_trusted, without_base

TRUSTED = tuple(parse_trusted(each) for each in ("127.0.0.1", "10.0.0.0/8", "fd00::/8"))
FORWARDED = {
    "host": ["upstream:80"],
    "x-forwarded-for": ["203.0.113.9"],
    "x-forwarded-proto": ["https"],
    "x-forwarded-host": ["nas.lan"],
}


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("127.0.0.1", ()), ("192.0.2.1", TRUSTED), ("", TRUSTED), ("::1", TRUSTED), ("11.0.0.1", TRUSTED)],
)
def test_strangers_are_not_believed(peer: str, trusted: Trusted) -> None:
    """What anybody can write in a header changes nothing."""
    client = client_of(peer, secure=False, headers=FORWARDED, trusted=trusted)
    assert (peer, False, FORWARDED) == (client.address, client.secure, client.headers)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_a_proxy_of_the_list_is_believed(peer: str) -> None:
    """Address, scheme and host are those the client used."""
    client = client_of(peer, secure=False, headers=FORWARDED, trusted=TRUSTED)
    assert ("203.0.113.9", True, ["nas.lan"]) == (client.address, client.secure, client.headers["host"])


def test_a_unix_socket_is_believed_by_name() -> None:
    """Its peer has no address."""
    assert "203.0.113.9" == client_of("", secure=False, headers=FORWARDED, trusted=("unix",)).address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([], "10.0.0.1"),
        (["203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1, 203.0.113.9"], "203.0.113.9"),  # written by the client
        (["1.1.1.1", "203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["203.0.113.9, unknown"], "10.0.0.1"),
        (["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        (["127.0.0.1' or 1=1"], "10.0.0.1"),
        (["1.1.1.1, " + "10.0.0.2, " * 40 + "10.0.0.3"], "10.0.0.2"),
    ],
)
def test_the_client_is_the_last_that_is_no_proxy_of_ours(forwarded: list[str], address: str) -> None:
    """What stands before it may be a lie; what cannot be read ends the list."""
    headers = {"host": ["h"], "x-forwarded-for": forwarded}
    assert address == client_of("10.0.0.1", secure=False, headers=headers, trusted=TRUSTED).address


@pytest.mark.parametrize(
    ("given", "was", "secure"),
    [
        (["http"], True, False),
        (["HTTPS"], False, True),
        (["http, https"], False, True),
        (["ftp"], True, True),
        ([], True, True),
    ],
)
def test_the_scheme(given: list[str], was: bool, secure: bool) -> None:
    """What the nearest proxy says, if it is one; else what we see."""
    headers = {"host": ["h"], "x-forwarded-proto": given}
    assert secure == client_of("10.0.0.1", secure=was, headers=headers, trusted=TRUSTED).secure


@pytest.mark.parametrize("hosts", [[], ["a", "b"]])
def test_a_request_without_exactly_one_host_stays_one(hosts: list[str]) -> None:
    """A forwarded host does not make it good."""
    headers = {**FORWARDED, "host": hosts}
    assert hosts == client_of("10.0.0.1", secure=False, headers=headers, trusted=TRUSTED).headers["host"]


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "*", "unix:/x"])
def test_entries_that_are_none(text: str) -> None:
    """A name is not looked up, and a network with bits of a host is a mistake."""
    with pytest.raises(ValueError):
        parse_trusted(text)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/m3u8/api/tasks?id=1", "/api/tasks?id=1"),
        ("/m3u8/", "/"),
        ("/m3u8", "/"),
        ("/m3u8?x=1", "/?x=1"),
        ("/m3u8x/api", "/m3u8x/api"),
        ("/api/tasks", "/api/tasks"),
        ("/m3u8/m3u8/", "/m3u8/"),
        ("/m3u8//evil", "//evil"),
    ],
)
def test_paths_below_the_base(target: str, expected: str) -> None:
    """The base is taken away once; a path without it stays."""
    assert expected == without_base(target, "/m3u8")
    assert target == without_base(target, "")


@pytest.mark.parametrize(("text", "kept"), [("/m3u8/", "/m3u8"), ("/a/b-c", "/a/b-c"), ("/", ""), ("", "")])
def test_base_paths(text: str, kept: str) -> None:
    """A slash at its end means nothing."""
    assert kept == checked_base_path(text)


@pytest.mark.parametrize(
    "text", ["m3u8", "/a b", "/a//b", "/..", "/a/../b", "/api", "/ws/x", "/static", "/ä", "//evil", "/a?b"]
)
def test_base_paths_that_cannot_be(text: str) -> None:
    """Nothing that has to be quoted, leads elsewhere, or is ours."""
    with pytest.raises(ValueError):
        checked_base_path(text)


@given(
    st.dictionaries(
        st.sampled_from(["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]),
        st.lists(st.text(st.characters(max_codepoint=255), max_size=40) | st.ip_addresses().map(str), max_size=3),
    ),
    st.ip_addresses().map(str) | st.just(""),
)
def test_any_header_gives_an_address(headers: dict[str, list[str]], peer: str) -> None:
    """Whatever a proxy hands on, there is an address to count failures by; who is no proxy changes nothing."""
    believed = client_of(peer, secure=False, headers=headers, trusted=(*TRUSTED, "unix"))
    source_of(believed.address)
    client = client_of(peer, secure=False, headers=headers, trusted=())
    assert (peer, False, headers) == (client.address, client.secure, client.headers)
