"""
Keys, data: URIs and AES-128-CBC against the library's own encryption.
"""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.errors import BodyTooLarge, DecryptError, InvalidUrl, KeyInvalid
from m3u8svc.hls.decrypt import Decryption, read_data_uri, read_key
from tests.strategies import cuts

KEY = bytes(range(16))
IV = bytes(range(100, 116))


def encrypted(body: bytes, *, padded: bool = True) -> bytes:
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES128(KEY), modes.CBC(IV)).encryptor()
    return encryptor.update(padder.update(body) + padder.finalize() if padded else body) + encryptor.finalize()


def decrypted(*chunks: bytes, key: bytes = KEY) -> bytes:
    decryption = Decryption(key=key, iv=IV, position=3)
    return b"".join([decryption.update(chunk) for chunk in chunks] + [decryption.finish()])


@given(st.data(), st.binary(max_size=200))
def test_chunks_do_not_matter(data: st.DataObject, body: bytes):
    """However the bytes are cut, the clear text comes out."""
    assert decrypted(*data.draw(cuts(encrypted(body)))) == body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "内容为空"),
        (encrypted(b"x" * 20)[:-1], "长度 31 不是 16 的倍数"),
        (b"x", "长度 1 不是 16 的倍数"),
        (encrypted(b"x" * 15 + b"\0", padded=False), "填充错误，密钥可能不对"),
        (encrypted(b"x" * 15 + b"\x11", padded=False), "填充错误，密钥可能不对"),
        (encrypted(b"x" * 13 + b"\x03\x02\x03", padded=False), "填充错误，密钥可能不对"),
    ],
)
def test_S7_what_cannot_be_whole_is_refused(body: bytes, reason: str):
    """Empty, cut, and every byte of the padding checked: with the position."""
    with pytest.raises(DecryptError) as caught:
        decrypted(body)
    assert caught.value.fields == {"position": 3, "reason": reason}


def test_S7_a_wrong_key_shows_in_the_padding():
    """Garbage is not stored as media."""
    with pytest.raises(DecryptError):
        decrypted(encrypted(b"x" * 1000), key=bytes(16))


def test_S7_a_block_of_padding_alone_is_an_empty_segment():
    """An encrypted nothing is nothing, not a crash."""
    assert decrypted(encrypted(b"")) == b""


@pytest.mark.parametrize(
    "body",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\r\n",
        base64.b64encode(KEY),
        base64.b64encode(b"\xff" * 16).rstrip(b"="),
        base64.urlsafe_b64encode(b"\xff" * 16) + b"\n",
    ],
)
def test_S9_keys_are_read_in_all_three_spellings(body: bytes):
    """16 bytes, 32 hexadecimal digits, base64 of 16 bytes."""
    assert read_key(body, "http://h/k") in (KEY, b"\xff" * 16)


@pytest.mark.parametrize(
    "body", [b"", KEY[:15], KEY + b"\0", b"<html>404</html>", b"z" * 32, base64.b64encode(KEY * 2)]
)
def test_S9_anything_else_is_no_key_and_is_not_shown(body: bytes):
    """The error tells the length, never the bytes."""
    if len(body) == 16:
        body += b"\n"
    with pytest.raises(KeyInvalid) as caught:
        read_key(body, "http://h/k?t=s3cret")
    assert caught.value.text().startswith(f"密钥无效：http://h/k?…（长度为 {len(body)} 字节，应为 16")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("data:;base64,AAEC", b"\0\1\2"),
        ("data:application/octet-stream;base64,AA%45C", b"\0\1\2"),
        ("DATA:text/plain,a%20b,c", b"a b,c"),
        ("data:,", b""),
    ],
)
def test_data_uris_are_read(uri: str, expected: bytes):
    """Base64 and percent-encoding."""
    assert read_data_uri(uri, 5) == expected


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("data:,abcdef", BodyTooLarge),
        ("data:;base64,AAECAwQFBg==", BodyTooLarge),
        ("data:abc", InvalidUrl),
        ("http://h/,x", InvalidUrl),
        ("data:;base64,A", InvalidUrl),
        ("data:;base64,****", InvalidUrl),
    ],
)
def test_broken_or_oversized_data_uris_are_refused(uri: str, error: type[Exception]):
    """And none of them shows what it holds."""
    with pytest.raises(error) as caught:
        read_data_uri(uri, 5)
    assert "abc" not in str(caught.value)
