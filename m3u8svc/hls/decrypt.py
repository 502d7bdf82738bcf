"""
Keys as they are served (S9), and decryption as the bytes arrive: AES-128-CBC over whole segments (S7), or SAMPLE-AES
(S10, `sampleaes`).
"""

import base64
import binascii
import re
from typing import Protocol
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from m3u8svc.errors import BodyTooLarge, DecryptError, InvalidUrl, KeyInvalid, UnsupportedEncryption
from m3u8svc.hls.playlist import CBCS, Key
from m3u8svc.hls.sampleaes import SampleDecryption
from m3u8svc.wording import Said, joined

KEY_BYTES = 16
_BLOCK = 16
_HEX_KEY = re.compile(rb"[0-9A-Fa-f]{32}")
_PAGE = re.compile(rb"<[!?]?(?:doctype|html|head|body|xml|error|script|title)\b(?: html\b)?|#EXTM3U\b", re.IGNORECASE)
"""How pages, error documents and playlists begin: words that give nothing away."""
_BASE64_KEY = re.compile(rb"[A-Za-z0-9+/_-]{22}(?:==)?")


def read_key(body: bytes, url: str) -> bytes:
    """
    The 16 bytes of a key resource: as they are, or written as 32 hexadecimal digits or base64.

    Raises:
        KeyInvalid: anything else. The text tells its length, and of a page its first tag; nothing that could be a key.
    """
    if len(body) == KEY_BYTES:
        return body
    text = body.strip()
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text.decode("ascii"))
    if _BASE64_KEY.fullmatch(text):
        return base64.urlsafe_b64decode(text[:22].translate(bytes.maketrans(b"+/", b"-_")) + b"==")
    why = [Said(f"长度为 {len(body)} 字节，应为 {KEY_BYTES}", f"length {len(body)} instead of {KEY_BYTES} bytes")]
    if text[:1] in (b"<", b"{", b"#"):
        why.append(Said("，像是网页或文本", ", like a page or text"))
    if start := _PAGE.match(text):
        begins = start[0].decode("ascii")
        why.append(Said(f"，开头为“{begins}”", f', starting with "{begins}"'))
    raise KeyInvalid(url=url, reason=joined(why, zh="", en=""))


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """
    The bytes inside a data: URI (RFC 2397).

    Raises:
        BodyTooLarge: more than `max_bytes`.
        InvalidUrl: no data: URI, or its base64 is broken.
    """
    head, comma, payload = uri.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise InvalidUrl(url=uri, reason=Said("不是 data: 链接", "it is no data: URL"))
    body = unquote_to_bytes(payload)
    if head.lower().endswith(";base64"):
        try:
            body = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise InvalidUrl(url=uri, reason=Said("base64 无效", "its base64 is not valid")) from error
    if len(body) > max_bytes:
        raise BodyTooLarge(url=uri, limit=max_bytes)
    return body


class Decryptor(Protocol):
    """
    Clear bytes of one resource on its way.
    """

    def update(self, chunk: bytes) -> bytes:
        """The clear bytes that are sure by now."""

    def finish(self) -> bytes:
        """The rest; raises when the whole was not what it should be."""


def decryption_for(key: Key, key_bytes: bytes, iv: bytes, position: int) -> Decryptor:
    """
    What undoes `key`'s METHOD for one segment (position 0: an init section).

    Raises:
        UnsupportedEncryption: nothing here does.
    """
    if key.method == "AES-128":
        return Decryption(key=key_bytes, iv=iv, position=position)
    if key.method == "SAMPLE-AES" and position:
        return SampleDecryption(key=key_bytes, iv=iv, position=position, line=key.line)
    # Only fMP4 has init sections.
    method = CBCS if key.method == "SAMPLE-AES" else key.method
    raise UnsupportedEncryption(method=method, keyformat=key.keyformat, line=key.line)


class Decryption:
    """
    One encrypted segment (position 0: an init section) on its way: `update` each chunk, then `finish`.
    """

    def __init__(self, *, key: bytes, iv: bytes, position: int) -> None:
        self._position = position
        self._received = 0
        self._decryptor = Cipher(AES128(key), CBC(iv)).decryptor()
        self._unpadder = PKCS7(_BLOCK * 8).unpadder()

    def update(self, chunk: bytes) -> bytes:
        """The clear bytes that are sure by now; the last block waits for `finish`."""
        self._received += len(chunk)
        return self._unpadder.update(self._decryptor.update(chunk))

    def finish(self) -> bytes:
        """
        The rest.

        Raises:
            DecryptError: empty, not a whole number of blocks, or wrong padding (most often: a wrong key).
        """
        if not self._received:
            raise DecryptError(position=self._position, reason=Said("内容为空", "it is empty"))
        if self._received % _BLOCK:
            why = Said(
                f"长度 {self._received} 不是 {_BLOCK} 的倍数",
                f"its length {self._received} is not a multiple of {_BLOCK}",
            )
            raise DecryptError(position=self._position, reason=why)
        try:
            return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()
        except ValueError as error:
            why = Said("填充错误，密钥可能不对", "wrong padding; the key may be wrong")
            raise DecryptError(position=self._position, reason=why) from error
