"""
Passwords of users: kept as scrypt hashes (RFC 7914), in the form other tools write too. Pure, and slow on purpose:
never on the reactor's thread.
"""

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata

import attrs

from m3u8svc.access.roles import Role

LOG_N, R, P = 15, 8, 1
"""32 MiB and about a tenth of a second for each try."""
MAX_MEMORY = 256 * 1024 * 1024
SALT_BYTES, HASH_BYTES = 16, 32
MIN_LENGTH = 8
PREFIX = "$scrypt$"
_FORM = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,88})\$([A-Za-z0-9+/]{22,88})")


@attrs.frozen(kw_only=True)
class PasswordHash:
    """
    What is kept of one password.
    """

    log_n: int = LOG_N
    r: int = R
    p: int = P
    salt: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(each).decode().rstrip("=") for each in (self.salt, self.digest))
        return f"{PREFIX}ln={self.log_n},r={self.r},p={self.p}${salt}${digest}"


@attrs.frozen(kw_only=True)
class User:
    """
    Somebody with a password, of which `password` is the hash.
    """

    name: str
    role: Role
    password: PasswordHash = attrs.field(repr=False)


def parse_hash(text: str) -> PasswordHash:
    """
    The hash that a text is.

    Raises:
        ValueError: it is none, or one whose making would take more memory than we give.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("must be a hash as m3u8svc password prints it")
    log_n, r, p = (int(found[number]) for number in (1, 2, 3))
    if not (10 <= log_n <= 20 and 1 <= r and 1 <= p <= 16) or _memory(log_n, r, p) > MAX_MEMORY:
        raise ValueError("must be a hash with ln from 10 to 20 that takes at most 256 MiB")
    try:
        salt, digest = (base64.b64decode(found[number] + "=" * (-len(found[number]) % 4)) for number in (4, 5))
    except binascii.Error as error:
        raise ValueError("must be a hash as m3u8svc password prints it") from error
    return PasswordHash(log_n=log_n, r=r, p=p, salt=salt, digest=digest)


def checked_password(password: str) -> str:
    """
    A password somebody chose.

    Raises:
        ValueError: it is too short or too long.
    """
    if not MIN_LENGTH <= len(password) <= 256:
        raise ValueError(f"must be {MIN_LENGTH} to 256 characters long")
    return password


def hash_password(password: str, salt: bytes) -> PasswordHash:
    """
    What to keep of a password.
    """
    return PasswordHash(salt=salt, digest=_scrypt(password, LOG_N, R, P, salt, HASH_BYTES))


def is_right(password: str, kept: PasswordHash) -> bool:
    """
    Whether this is the password that was hashed.
    """
    given = _scrypt(password, kept.log_n, kept.r, kept.p, kept.salt, len(kept.digest))
    return hmac.compare_digest(given, kept.digest)


NOBODYS = PasswordHash(salt=bytes(SALT_BYTES), digest=bytes(HASH_BYTES))
"""No password has it. Who names no user of ours is compared with it, so that it takes as long."""


def _scrypt(password: str, log_n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    typed = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        typed, salt=salt, n=2**log_n, r=r, p=p, dklen=length, maxmem=_memory(log_n, r, p) + 1024 * 1024
    )


def _memory(log_n: int, r: int, p: int) -> int:
    return 128 * r * ((1 << log_n) + p + 2)
