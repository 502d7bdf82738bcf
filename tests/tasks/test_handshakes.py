"""
What is said to a proxy: tables of what it may answer, whole and a byte at a time.
"""

import base64
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.errors import ProxyAuthFailed, ProxyError, ProxyRefused, ProxyTargetUnreachable
from m3u8svc.tasks.handshakes import MAX_BYTES, Handshake, HttpConnect, Socks5, handshake_for
from m3u8svc.tasks.proxy import Proxy

HTTP = Proxy(kind="http", host="p.example", port=3128)
SOCKS = Proxy(kind="socks5", host="p.example", port=1080)
LOGIN = {"username": "me", "password": "s3cret"}


def said(handshake: Handshake, pieces: Sequence[bytes]) -> bytes:
    """What we say to these pieces, after the opening."""
    handshake.opening()
    return b"".join(handshake.feed(piece) for piece in pieces)


def bytewise(text: bytes) -> list[bytes]:
    return [text[place : place + 1] for place in range(len(text))]


def test_the_kind_of_proxy_decides() -> None:
    """CONNECT for http and https, SOCKS5 for socks5."""
    kinds = [type(handshake_for(attrs.evolve(HTTP, kind=kind), "h", 1)) for kind in ("http", "https", "socks5")]
    assert [HttpConnect, HttpConnect, Socks5] == kinds


# -- CONNECT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target"),
    [("a.example", b"a.example:443"), ("10.0.0.1", b"10.0.0.1:443"), ("::1", b"[::1]:443"), ("a_b", b"a_b:443")],
)
def test_connect_names_the_target(host: str, target: bytes) -> None:
    """The name goes out as it is, twice; without credentials nothing else does."""
    expected = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)
    assert expected == HttpConnect(HTTP, host, 443).opening()


@pytest.mark.parametrize(
    ("username", "password"),
    [("me", "s3cret"), ("me", ""), ("", "s3cret"), ("u", "a:b@c%20 d/é密"), ("用户", "x")],
)
def test_connect_carries_the_credentials(username: str, password: str) -> None:
    """As Basic, in UTF-8, whatever is in them."""
    proxy = attrs.evolve(HTTP, username=username, password=password)
    (line,) = [line for line in HttpConnect(proxy, "h", 1).opening().split(b"\r\n") if line.startswith(b"Proxy-")]
    assert f"{username}:{password}".encode() == base64.b64decode(line.removeprefix(b"Proxy-Authorization: Basic "))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 299 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",  # to be ignored: RFC 9110, 9.3.6
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_connect_is_done_after_a_2xx(answer: bytes, in_pieces: bool) -> None:
    """However it comes, and not before its last byte."""
    handshake = HttpConnect(HTTP, "h", 1)
    assert b"" == said(handshake, bytewise(answer[:-1]) if in_pieces else [answer[:-1]])
    assert not handshake.done
    handshake.feed(answer[-1:])
    assert handshake.done


STATUSES: list[tuple[int, type[ProxyError]]] = [
    (302, ProxyRefused),
    (400, ProxyRefused),
    (401, ProxyAuthFailed),
    (403, ProxyRefused),
    (404, ProxyRefused),
    (405, ProxyRefused),
    (407, ProxyAuthFailed),
    (408, ProxyTargetUnreachable),
    (429, ProxyTargetUnreachable),
    (500, ProxyTargetUnreachable),
    (502, ProxyTargetUnreachable),
    (503, ProxyTargetUnreachable),
    (504, ProxyTargetUnreachable),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_another_status_says_why_not(status: int, kind: type[ProxyError]) -> None:
    """Rules and credentials are final, a target that cannot be reached is not; the text says who and what."""
    handshake = HttpConnect(attrs.evolve(HTTP, **LOGIN), "h.example", 443)
    with pytest.raises(ProxyError) as caught:
        said(handshake, [b"HTTP/1.1 %d No\r\nContent-Length: 3\r\n\r\nno!" % status])

    assert (kind, kind is ProxyTargetUnreachable) == (type(caught.value), caught.value.retriable)
    text = caught.value.text()
    assert "http://p.example:3128" in text and f"HTTP {status}" in text and "s3cret" not in text
    assert (kind is ProxyAuthFailed) == ("h.example:443" not in text)
    assert not handshake.done


NONSENSE = [
    b"SSH-2.0-OpenSSH_9\r\n\r\n",
    b"\x05\xff\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_BYTES,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("size", [1, 1000, MAX_BYTES])
def test_nonsense_ends_the_handshake(answer: bytes, size: int) -> None:
    """No HTTP, headers or answers without end: the proxy failed. It may do better next time."""
    handshake = HttpConnect(HTTP, "h", 1)
    with pytest.raises(ProxyError) as caught:
        said(handshake, [answer[place : place + size] for place in range(0, len(answer), size)])
    assert (ProxyError, True) == (type(caught.value), caught.value.retriable)


def test_nothing_is_said_before_we_speak() -> None:
    """Bytes right behind the answer are not taken for the target's."""
    with pytest.raises(ProxyError):
        said(HttpConnect(HTTP, "h", 1), [b"HTTP/1.1 200 OK\r\n\r\nwho speaks here?"])


# -- SOCKS5 ------------------------------------------------------------------------------------------------------------

NO_LOGIN = b"\x05\x00"
WANTS_LOGIN = b"\x05\x02"
WELCOME = b"\x01\x00"
CONNECTED = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"
CONNECTED_6 = b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x04\x38"
CONNECTED_NAME = b"\x05\x00\x00\x03\x09p.example\x04\x38"


def test_without_credentials_no_login_is_offered() -> None:
    """One method; with credentials two."""
    assert b"\x05\x01\x00" == Socks5(SOCKS, "h", 1).opening()
    assert b"\x05\x02\x00\x02" == Socks5(attrs.evolve(SOCKS, **LOGIN), "h", 1).opening()


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("a.example", b"\x03\x09a.example"),
        ("xn--fsq.example", b"\x03\x0fxn--fsq.example"),
        ("127.1", b"\x03\x05127.1"),  # an address only to some resolvers, and then to the proxy's
        ("10.0.0.1", b"\x01\x0a\x00\x00\x01"),
        ("::1", b"\x04" + bytes(15) + b"\x01"),
    ],
)
@pytest.mark.parametrize("answer", [CONNECTED, CONNECTED_6, CONNECTED_NAME])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_socks_sends_the_name(host: str, sent: bytes, answer: bytes, in_pieces: bool) -> None:
    """A name as a name, so that the proxy looks it up; whatever address the reply has, it is done at its last byte."""
    handshake = Socks5(SOCKS, host, 443)
    whole = NO_LOGIN + answer[:-1]
    assert b"\x05\x01\x00" + sent + b"\x01\xbb" == said(handshake, bytewise(whole) if in_pieces else [whole])
    assert not handshake.done
    assert b"" == handshake.feed(answer[-1:])
    assert handshake.done


@pytest.mark.parametrize("in_pieces", [False, True])
def test_socks_logs_in_when_asked_to(in_pieces: bool) -> None:
    """Name and password with their lengths (RFC 1929), then the target; each once it is its turn."""
    handshake = Socks5(attrs.evolve(SOCKS, username="m:e", password="密 %"), "h", 1)
    handshake.opening()
    pieces = bytewise if in_pieces else lambda text: [text]
    answers = [b"".join(map(handshake.feed, pieces(reply))) for reply in (WANTS_LOGIN, WELCOME, CONNECTED)]
    assert [b"\x01\x03m:e\x05" + "密 %".encode(), b"\x05\x01\x00\x03\x01h\x00\x01", b""] == answers
    assert handshake.done


def test_socks_does_not_show_a_password_that_is_not_asked_for() -> None:
    """A proxy that lets everybody in gets no credentials."""
    assert b"s3cret" not in said(Socks5(attrs.evolve(SOCKS, **LOGIN), "h", 1), [NO_LOGIN, CONNECTED])


@pytest.mark.parametrize(
    ("login", "answer"),
    [
        ({}, b"\x05\x02"),
        ({}, b"\x05\xff"),
        (LOGIN, b"\x05\xff"),
        (LOGIN, b"\x05\x01"),
        (LOGIN, WANTS_LOGIN + b"\x01\x01"),
        (LOGIN, WANTS_LOGIN + b"\x01\xff"),
    ],
)
def test_a_refused_login_is_final(login: dict[str, str], answer: bytes) -> None:
    """No method in common, or the wrong password: asking again would not help."""
    with pytest.raises(ProxyAuthFailed) as caught:
        said(Socks5(attrs.evolve(SOCKS, **login), "h", 1), [answer[:2], answer[2:]])
    assert not caught.value.retriable
    assert "socks5://p.example:1080" in caught.value.text() and "s3cret" not in caught.value.text()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ProxyTargetUnreachable),
        (2, ProxyRefused),
        (3, ProxyTargetUnreachable),
        (4, ProxyTargetUnreachable),
        (5, ProxyTargetUnreachable),
        (6, ProxyTargetUnreachable),
        (7, ProxyRefused),
        (8, ProxyRefused),
    ],
)
def test_a_socks_reply_says_why_not(code: int, kind: type[ProxyError]) -> None:
    """RFC 1928, 6: rules are final, the rest is worth asking again; the text has the number and the target."""
    handshake = Socks5(SOCKS, "h.example", 443)
    with pytest.raises(ProxyError) as caught:
        said(handshake, [NO_LOGIN, bytes([5, code]) + CONNECTED[2:]])
    assert (kind, kind is ProxyTargetUnreachable) == (type(caught.value), caught.value.retriable)
    assert f"h.example:443：SOCKS5 {code}" in caught.value.text()
    assert not handshake.done


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x04\x00",
        b"\x05\x07",
        NO_LOGIN + b"\x04\x00\x00\x01\x7f\x00\x00\x01\x04\x38",
        NO_LOGIN + b"\x05\x09\x00\x01\x7f\x00\x00\x01\x04\x38",
        NO_LOGIN + b"\x05\x00\x00\x09\x7f\x00\x00\x01\x04\x38",
        NO_LOGIN + b"\x05\x00\x00\x03\x02\xff\xff\x04\x38",
        NO_LOGIN + CONNECTED + b"who speaks here?",
    ],
)
def test_socks_nonsense_ends_the_handshake(answer: bytes) -> None:
    """Another protocol or version, unknown codes, bytes after the reply: the proxy failed, and may do better."""
    with pytest.raises(ProxyError) as caught:
        said(Socks5(SOCKS, "h", 1), [answer])
    assert (ProxyError, True) == (type(caught.value), caught.value.retriable)


@given(st.sampled_from(["http", "socks5"]), st.lists(st.binary(max_size=40), max_size=20))
def test_whatever_a_proxy_says_it_is_an_answer_or_an_error_of_the_proxy(kind: str, pieces: list[bytes]) -> None:
    """No bytes lead to another exception, or to more being kept than a proxy may say."""
    proxy = attrs.evolve(HTTP, kind=kind, **LOGIN)  # type: ignore[arg-type]  # evolve's own
    handshake = handshake_for(proxy, "h.example", 1)
    try:
        said(handshake, [b"\x05\x02", b"\x01\x00", b"\x05\x00\x00", *pieces] if kind == "socks5" else pieces)
    except ProxyError as error:
        assert "s3cret" not in error.text()
