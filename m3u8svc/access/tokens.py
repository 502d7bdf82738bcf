"""
Tokens: what they look like, and what is kept of them. Pure.

A token is 32 random bytes, so one SHA-256 of it is enough to keep: nobody can try all of them, however fast.
"""

import hashlib
import hmac
import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

import attrs

from m3u8svc.access.roles import Role

PREFIX = "m3u8svc_"
"""Tools that look for secrets where none should be find them by it."""
TOKEN_BYTES = 32
MAX_NAME = 64
MAX_TOKENS = 1000
_NAME = re.compile(r"\w[\w.@+-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = 1


class NameRefused(ValueError):
    """
    A name that a token cannot have, and `why`: "bad", "taken", "unknown", "full".
    """

    def __init__(self, name: str, why: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.why = why


@attrs.frozen(kw_only=True)
class TokenRecord:
    """
    What is kept of one token; `created_at` is ISO 8601.
    """

    name: str
    role: Role
    digest: str = attrs.field(repr=False)
    created_at: str


def token_of(randomness: bytes) -> str:
    """
    The token that these bytes are.
    """
    if len(randomness) != TOKEN_BYTES:
        raise ValueError(f"a token is made of {TOKEN_BYTES} bytes")
    return PREFIX + randomness.hex()


def digest_of(secret: str) -> str:
    """
    What is kept in place of a secret that nobody can guess.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def find(records: Sequence[TokenRecord], token: str) -> TokenRecord | None:
    """
    The record of this token. Takes as long whichever it is, and if it is none.
    """
    digest = digest_of(token)
    found = None
    for record in records:
        if hmac.compare_digest(record.digest, digest):
            found = record
    return found


def checked_name(name: str) -> str:
    """
    A name for a token or user, as it is kept.

    Raises:
        NameRefused: it is empty, too long, or has characters that could be mistaken.
    """
    name = unicodedata.normalize("NFC", name)
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise NameRefused(
            name, "bad", f"must be 1 to {MAX_NAME} letters, digits, _, and behind the first any of . @ + -"
        )
    return name


def free_name(records: Sequence[TokenRecord]) -> str:
    """
    A name for a token that was given none.
    """
    taken = {record.name for record in records}
    return next(name for number in range(1, len(taken) + 2) if (name := f"token-{number}") not in taken)


def with_token(records: Sequence[TokenRecord], record: TokenRecord) -> tuple[TokenRecord, ...]:
    """
    The records and this one.

    Raises:
        NameRefused: there is one of that name, or there are too many.
    """
    if any(each.name == record.name for each in records):
        raise NameRefused(record.name, "taken", f"there is a token named {record.name}")
    if len(records) >= MAX_TOKENS:
        raise NameRefused(record.name, "full", f"there are {MAX_TOKENS} tokens, and more may not be")
    return (*records, record)


def without_token(records: Sequence[TokenRecord], name: str) -> tuple[TokenRecord, ...]:
    """
    The records without that of this name.

    Raises:
        NameRefused: there is none.
    """
    left = tuple(each for each in records if each.name != name)
    if len(left) == len(records):
        raise NameRefused(name, "unknown", f"there is no token named {name}")
    return left


def render(records: Sequence[TokenRecord]) -> str:
    """
    The records as the text of their file.
    """
    tokens = [attrs.asdict(record) for record in records]
    return json.dumps({"version": _VERSION, "tokens": tokens}, ensure_ascii=False, indent=1) + "\n"


def parse(text: str) -> tuple[TokenRecord, ...]:
    """
    What such a text says.

    Raises:
        ValueError: it is not one of ours, whole.
    """
    document = json.loads(text)
    if (
        not isinstance(document, dict)
        or document.get("version") != _VERSION
        or not isinstance(document.get("tokens"), list)
    ):
        raise ValueError("not a list of tokens of this version")
    records: tuple[TokenRecord, ...] = ()
    for each in document["tokens"]:
        records = with_token(records, _record(each))
    return records


def _record(given: object) -> TokenRecord:
    if not isinstance(given, dict) or given.keys() != {field.name for field in attrs.fields(TokenRecord)}:
        raise ValueError("a token without one of its fields")
    if not all(isinstance(value, str) for value in given.values()) or not _DIGEST.fullmatch(given["digest"]):
        raise ValueError("a token with a field that is none")
    datetime.fromisoformat(given["created_at"])
    return TokenRecord(
        name=checked_name(given["name"]),
        role=Role(given["role"]),
        digest=given["digest"],
        created_at=given["created_at"],
    )
