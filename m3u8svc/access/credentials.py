"""
What a request shows of who sends it: the headers Authorization and Cookie, read strictly. Pure.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

import attrs

MAX_CREDENTIAL_BYTES = 1024
_COOKIES = 4
"""How many of one name are looked at: another service of the same host may have set one too."""
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")

Headers = Mapping[str, Sequence[str]]
"""Header values by lower-case name."""


@attrs.frozen
class Bearer:
    """
    A token.
    """

    token: str = attrs.field(repr=False)


@attrs.frozen
class Basic:
    """
    A user's name and password.
    """

    user: str = attrs.field(repr=False)  # people type the password there
    password: str = attrs.field(repr=False)


@attrs.frozen
class Cookies:
    """
    What may be the id of a session.
    """

    values: tuple[str, ...] = attrs.field(repr=False)


@attrs.frozen
class Unreadable:
    """
    A header Authorization that says nothing to us.
    """


Shown = Bearer | Basic | Cookies | Unreadable | None
"""One request's credentials; None is a stranger's."""


def shown_by(headers: Headers, cookie: str) -> Shown:
    """
    The credentials of a request. A header Authorization decides alone: a wrong token is not made good by a cookie.
    """
    given = headers.get("authorization", ())
    if given:
        return _authorization(given[0]) if len(given) == 1 else Unreadable()
    values = tuple(_cookie_values(headers.get("cookie", ()), cookie))
    return Cookies(values) if values else None


def bears_token(headers: Headers) -> bool:
    """
    Whether a token stands in the header: no browser adds one by itself, so no foreign page can have it sent.
    """
    return isinstance(shown_by(headers, ""), Bearer)


def cookie_name(host: str) -> str:
    """
    What the cookie is called: cookies know no ports, and there may be another of us on this host.
    """
    port = host.rpartition(":")[2]
    return f"m3u8svc_{port}" if port.isascii() and port.isdigit() else "m3u8svc"


def _authorization(value: str) -> Shown:
    scheme, _, rest = value.strip().partition(" ")
    rest = rest.strip()
    if len(rest) > 2 * MAX_CREDENTIAL_BYTES or not _TOKEN68.fullmatch(rest):
        return Unreadable()
    if scheme.lower() == "bearer":
        return Bearer(rest)
    if scheme.lower() == "basic":
        return _basic(rest)
    return Unreadable()


def _basic(encoded: str) -> Shown:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return Unreadable()
    return Basic(user, password) if colon else Unreadable()


def _cookie_values(headers: Sequence[str], name: str) -> list[str]:
    pairs = [pair.strip().partition("=") for header in headers for pair in header.split(";")]
    return [value for given, _, value in pairs if given == name and value][:_COOKIES]
