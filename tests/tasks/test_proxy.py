"""
The proxy of a task as a value.
"""

from typing import Any

import attrs
import pytest

from m3u8svc.errors import ProxyUnsupported
from m3u8svc.tasks.proxy import KINDS, Proxy, proxy_of
from m3u8svc.tasks.task import PROXY_TYPES, Settings

PROXY = Proxy(kind="http", host="p.example", port=3128, username="me", password="s3cret")


def settings(**changes: Any) -> Settings:  # Any: whatever Settings takes
    usual = {"proxy_type": "http", "proxy_host": "p.example", "proxy_port": 3128}
    return Settings(**(usual | {"proxy_username": "me", "proxy_password": "s3cret"} | changes))


def test_settings_name_a_proxy() -> None:
    """Every field of it."""
    assert PROXY == proxy_of(settings())


@pytest.mark.parametrize("kind", ["none", ""])
def test_none_is_no_proxy(kind: str) -> None:
    """The other fields may stand there for later."""
    assert None is proxy_of(settings(proxy_type=kind))


def test_every_kind_of_the_api_is_known() -> None:
    """What a request may name can be connected through."""
    assert {"none", *KINDS} == set(PROXY_TYPES)


@pytest.mark.parametrize(
    ("host", "expected", "shown"),
    [
        ("p.example", "p.example", "http://p.example:3128"),
        ("::1", "::1", "http://[::1]:3128"),
        ("[::1]", "::1", "http://[::1]:3128"),
        ("代理.example", "xn--mnq481g.example", "http://xn--mnq481g.example:3128"),
        ("a_b", "a_b", "http://a_b:3128"),
    ],
)
def test_hosts_are_written_as_they_are_asked_for(host: str, expected: str, shown: str) -> None:
    """ASCII, an IPv6 address without brackets; shown as in a URL."""
    proxy = proxy_of(settings(proxy_host=host))
    assert proxy is not None
    assert (expected, shown) == (proxy.host, proxy.shown)


@pytest.mark.parametrize(
    "changes", [{"proxy_type": "socks4"}, {"proxy_host": ""}, {"proxy_port": 0}, {"proxy_host": "\u200d.example"}]
)
def test_a_proxy_that_cannot_be_used_is_an_error(changes: dict[str, Any]) -> None:
    """Never None, which means a direct connection."""
    with pytest.raises(ProxyUnsupported) as caught:
        proxy_of(settings(**changes))
    assert "s3cret" not in caught.value.text()


@pytest.mark.parametrize("field", ["kind", "host", "port", "username", "password"])
def test_proxies_are_equal_only_in_everything(field: str) -> None:
    """They are keys: what differs in anything shares nothing."""
    value = {"kind": "socks5", "port": 1}.get(field, "other")
    assert PROXY == attrs.evolve(PROXY) and hash(PROXY) == hash(attrs.evolve(PROXY))
    assert PROXY != attrs.evolve(PROXY, **{field: value})


def test_credentials_are_not_shown() -> None:
    """Neither in a repr nor in what is for people."""
    assert [] == [text for text in (repr(PROXY), str(PROXY), PROXY.shown) if "s3cret" in text or "me" in text]


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [
        ("", "", None),
        ("me", "s3cret", "Basic bWU6czNjcmV0"),
        ("me", "", "Basic bWU6"),
        ("u", "密@:%", "Basic dTrlr4ZAOiU="),
    ],
)
def test_authorization_is_basic_in_utf_8(username: str, password: str, expected: str | None) -> None:
    """RFC 7617; none without credentials."""
    assert expected == attrs.evolve(PROXY, username=username, password=password).authorization
