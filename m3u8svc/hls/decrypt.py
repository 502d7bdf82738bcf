"""
AES-128-CBC as HLS uses it (S7, S9): keys as they are served, and decryption as the bytes arrive.
"""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from m3u8svc.errors import BodyTooLarge, DecryptError, InvalidUrl, KeyInvalid

KEY_BYTES = 16
_BLOCK = 16
_HEX_KEY = re.compile(rb"[0-9A-Fa-f]{32}")
_BASE64_KEY = re.compile(rb"[A-Za-z0-9+/_-]{22}(?:==)?")


def read_key(body: bytes, url: str) -> bytes:
    """
    The 16 bytes of a key resource: as they are, or written as 32 hexadecimal digits or base64.

    Raises:
        KeyInvalid: anything else. The text tells its length only, never what it holds.
    """
    if len(body) == KEY_BYTES:
        return body
    text = body.strip()
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text.decode("ascii"))
    if _BASE64_KEY.fullmatch(text):
        return base64.urlsafe_b64decode(text[:22].translate(bytes.maketrans(b"+/", b"-_")) + b"==")
    looks = "，像是网页或文本" if text[:1] in (b"<", b"{", b"#") else ""
    raise KeyInvalid(url=url, reason=f"长度为 {len(body)} 字节，应为 {KEY_BYTES}{looks}")


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """
    The bytes inside a data: URI (RFC 2397).

    Raises:
        BodyTooLarge: more than `max_bytes`.
        InvalidUrl: no data: URI, or its base64 is broken.
    """
    head, comma, payload = uri.partition(",")
    if not head.lower().startswith("data:") or not comma:
        raise InvalidUrl(url=uri, reason="不是 data: 链接")
    body = unquote_to_bytes(payload)
    if head.lower().endswith(";base64"):
        try:
            body = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise InvalidUrl(url=uri, reason="base64 无效") from error
    if len(body) > max_bytes:
        raise BodyTooLarge(url=uri, limit=max_bytes)
    return body


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
            raise DecryptError(position=self._position, reason="内容为空")
        if self._received % _BLOCK:
            raise DecryptError(position=self._position, reason=f"长度 {self._received} 不是 {_BLOCK} 的倍数")
        try:
            return self._unpadder.update(self._decryptor.finalize()) + self._unpadder.finalize()
        except ValueError as error:
            raise DecryptError(position=self._position, reason="填充错误，密钥可能不对") from error
