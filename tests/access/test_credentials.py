"""Credentials as requests show them, and what is kept of them."""

import base64

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.access import passwords, tokens
from m3u8svc.access.credentials import Basic, Bearer, Cookies, Unreadable, bears_token, cookie_name, shown_by
from m3u8svc.access.passwords import NOBODYS, hash_password, is_right, parse_hash
from m3u8svc.access.roles import Role
from m3u8svc.access.tokens import NameRefused, TokenRecord, digest_of, find, free_name, token_of, with_token


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"authorization": ["Bearer abc"]}, Bearer("abc")),
        ({"authorization": ["bearer  a.b-c_d~e+f/g== "]}, Bearer("a.b-c_d~e+f/g==")),
        ({"authorization": [basic("me:p:ä".encode())]}, Basic("me", "p:ä")),
        ({"authorization": [basic(b":")]}, Basic("", "")),
        ({"authorization": [basic(b"me")]}, Unreadable()),
        ({"authorization": [basic(b"me:\xff")]}, Unreadable()),
        ({"authorization": ["Basic ???"]}, Unreadable()),
        ({"authorization": ["Basic a"]}, Unreadable()),
        ({"authorization": ["Digest abc"]}, Unreadable()),
        ({"authorization": ["Bearer"]}, Unreadable()),
        ({"authorization": [""]}, Unreadable()),
        ({"authorization": ["Bearer a b"]}, Unreadable()),
        ({"authorization": ["Bearer " + "a" * 2049]}, Unreadable()),
        ({"authorization": ["Bearer a", "Bearer a"]}, Unreadable()),
        ({"cookie": ["s=1; t=2"]}, Cookies(("1",))),
        ({"cookie": ["t=2", "s=1;s=3"]}, Cookies(("1", "3"))),
        ({"cookie": ["; ".join(f"s={n}" for n in range(9))]}, Cookies(("0", "1", "2", "3"))),
        ({"cookie": ["ss=1; S=2; s; s="]}, None),
        ({"cookie": ["s=1"], "authorization": ["Bearer abc"]}, Bearer("abc")),
        ({"cookie": ["s=1"], "authorization": ["nonsense"]}, Unreadable()),
    ],
)
def test_what_a_request_shows(headers: dict[str, list[str]], expected: object) -> None:
    """Read strictly; a header Authorization decides alone, whatever cookies come along."""
    assert expected == shown_by(headers, "s")
    assert isinstance(expected, Bearer) == bears_token(headers)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("127.0.0.1:8080", "m3u8svc_8080"),
        ("nas.lan", "m3u8svc"),
        ("[::1]:81", "m3u8svc_81"),
        ("[::1]", "m3u8svc"),
        ("", "m3u8svc"),
    ],
)
def test_the_name_of_the_cookie(host: str, name: str) -> None:
    """Two of us on one host do not log each other out."""
    assert name == cookie_name(host)


def test_secrets_have_no_repr() -> None:
    """What somebody showed is in no log by accident."""
    shown = [
        Bearer("s3cret"),
        Basic("s3cret", "s3cret"),
        Cookies(("s3cret",)),
        RECORD,
        hash_password("s3cret!!", b"salt" * 4),
    ]
    assert "s3cret" not in repr(shown) and RECORD.digest not in repr(shown)


# -- Tokens ----------------------------------------------------------------------------------------------------------

TOKEN = token_of(bytes(range(32)))
RECORD = TokenRecord(name="one", role=Role.USER, digest=digest_of(TOKEN), created_at="2026-01-02T03:04:05+00:00")
OTHER = attrs.evolve(RECORD, name="二", role=Role.ADMIN, digest=digest_of("x"))


def test_a_token() -> None:
    """All of its 256 bits, recognisable, and fit for a header; what is kept is another thing."""
    assert "m3u8svc_" + bytes(range(32)).hex() == TOKEN
    assert Bearer(TOKEN) == shown_by({"authorization": [f"Bearer {TOKEN}"]}, "s")
    assert TOKEN[8:] not in tokens.render([RECORD])
    with pytest.raises(ValueError):
        token_of(bytes(31))


def test_finding_a_token() -> None:
    """The right one among several, or none."""
    assert [RECORD, OTHER, None, None] == [find([RECORD, OTHER], each) for each in (TOKEN, "x", TOKEN[:-1], "")]
    assert find([], TOKEN) is None
    assert find([RECORD], RECORD.digest) is None  # who reads the file has no token by that


def test_a_file_of_tokens_is_read_as_it_was_written() -> None:
    """Rendered and parsed it is the same."""
    assert (RECORD, OTHER) == tokens.parse(tokens.render([RECORD, OTHER]))
    assert () == tokens.parse(tokens.render([]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "tokens": []}',
        '{"version": 1, "tokens": {}}',
        '{"version": 1, "tokens": [1]}',
        tokens.render([RECORD]).replace("user", "god"),
        tokens.render([RECORD]).replace('"one"', '"../one"'),
        tokens.render([RECORD]).replace('"one"', "1"),
        tokens.render([RECORD]).replace(RECORD.digest, "short"),
        tokens.render([RECORD]).replace("2026", "x"),
        tokens.render([RECORD]).replace('"name"', '"nome"'),
        tokens.render([RECORD, RECORD]),
        tokens.render([RECORD])[:-4],
    ],
)
def test_a_damaged_file_of_tokens(text: str) -> None:
    """It is refused as a whole: half of it may be what somebody revoked."""
    with pytest.raises(ValueError):
        tokens.parse(text)


def test_names_of_tokens() -> None:
    """Each is there once; one that was given none has the next free number."""
    assert ("token-1", "token-2") == (free_name([]), free_name([attrs.evolve(RECORD, name="token-1")]))
    assert "token-1" == free_name([attrs.evolve(RECORD, name="token-2")])
    with pytest.raises(NameRefused, match="there is a token"):
        with_token([RECORD], RECORD)
    with pytest.raises(NameRefused, match="there is no token"):
        tokens.without_token([RECORD], "other")
    assert (OTHER,) == tokens.without_token([RECORD, OTHER], "one")
    many = [attrs.evolve(RECORD, name=f"t{number}") for number in range(999)]
    assert 1000 == len(with_token(many, RECORD))
    with pytest.raises(NameRefused, match="1000"):
        with_token(with_token(many, RECORD), OTHER)


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", ".a", "a/b", "a\n", "a\x1b", "a" * 65, "\u202ea", "a\u2028"])
def test_names_that_cannot_be(name: str) -> None:
    """Nothing that a terminal or a log would show as something else."""
    with pytest.raises(NameRefused):
        tokens.checked_name(name)


@pytest.mark.parametrize("name", ["a", "phone-2", "me@nas.lan", "手机", "a" * 64, "_x"])
def test_names_that_can_be(name: str) -> None:
    """Letters of any language."""
    assert name == tokens.checked_name(name)


# -- Passwords -------------------------------------------------------------------------------------------------------


def test_a_password_is_its_own_only() -> None:
    """Right is the same password, however a keyboard composes its characters, and after a round through text."""
    kept = parse_hash(str(hash_password("pässword", b"0123456789abcdef")))
    assert [True, True, False, False] == [
        is_right(each, kept) for each in ("pässword", "pa\u0308ssword", "passwort", "")
    ]
    assert not is_right("", NOBODYS)


def test_a_hash_of_another_tool() -> None:
    """RFC 7914, section 12: "pleaseletmein", "SodiumChloride", N 16384, r 8, p 1."""
    digest = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    salt, encoded = (base64.b64encode(each).decode().rstrip("=") for each in (b"SodiumChloride", digest))
    kept = parse_hash(f"$scrypt$ln=14,r=8,p=1${salt}${encoded}")
    assert [True, False] == [is_right("pleaseletmein", kept), is_right("pleaseletmeout", kept)]


@pytest.mark.parametrize(
    "cost",
    ["ln=9,r=8,p=1", "ln=21,r=1,p=1", "ln=15,r=0,p=1", "ln=15,r=8,p=0", "ln=20,r=8,p=1", "ln=15,r=8,p=17", "ln=15"],
)
def test_hashes_that_cost_too_little_or_too_much(cost: str) -> None:
    """A configuration cannot make each login take all memory, nor none."""
    good = str(hash_password("password", b"0123456789abcdef"))
    with pytest.raises(ValueError):
        parse_hash(good.replace("ln=15,r=8,p=1", cost))


@pytest.mark.parametrize("given", ["a" * 7, "a" * 257, ""])
def test_passwords_that_cannot_be(given: str) -> None:
    """8 to 256 characters."""
    with pytest.raises(ValueError):
        passwords.checked_password(given)
    assert "a" * 8 == passwords.checked_password("a" * 8) and "a" * 256 == passwords.checked_password("a" * 256)


TEXTS = st.text(st.characters(max_codepoint=255), max_size=60)


@given(st.dictionaries(st.sampled_from(["authorization", "cookie"]), st.lists(TEXTS, max_size=3)), TEXTS)
def test_any_header_is_read_or_nothing(headers: dict[str, list[str]], name: str) -> None:
    """Whatever bytes stand there: something is shown or nothing, and looking for it fails nowhere."""
    shown = shown_by(headers, name)
    if isinstance(shown, Bearer):
        assert find([RECORD], shown.token) is None
    if isinstance(shown, Cookies):
        assert all(digest_of(value) for value in shown.values)
    assert shown is None or isinstance(shown, Bearer | Basic | Cookies | Unreadable)
