"""
Keys, data: URIs and AES-128-CBC against the library's own encryption.
"""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.errors import BodyTooLarge, DecryptError, InvalidUrl, KeyInvalid, UnsupportedEncryption
from m3u8svc.hls.decrypt import Decryption, decryption_for, read_data_uri, read_key
from m3u8svc.hls.playlist import Key
from m3u8svc.hls.sampleaes import SampleDecryption
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
    assert caught.value.text("en").isascii()


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
    ("body", "shown"),
    [
        (b"\r\n<!DOCTYPE html>\n<html><body>s3cret</body></html>", "<!DOCTYPE html"),
        (b"<html lang='s3cret'>404</html>", "<html"),
        (b'<?xml version="1.0"?><Error><Code>s3cret</Code></Error>', "<?xml"),
        (b"#EXTM3U\n#s3cret", "#EXTM3U"),
    ],
)
def test_S9_a_page_instead_of_a_key_is_named_by_how_it_begins(body: bytes, shown: str):
    """That tells people what they got; no more of it is shown, as it may hold tokens."""
    with pytest.raises(KeyInvalid) as caught:
        read_key(body, "http://h/k")
    assert caught.value.fields["reason"] == f"长度为 {len(body)} 字节，应为 16，像是网页或文本，开头为“{shown}”"
    said = f'(length {len(body)} instead of 16 bytes, like a page or text, starting with "{shown}")'
    assert caught.value.text("en") == f"invalid key: http://h/k {said}"


@pytest.mark.parametrize("body", [b'{"key":"s3cret"}\n', b"<s3cret-key-bytes>", b"<htmls3cret>......", b"s3cret<html>"])
def test_S9_what_may_be_a_key_in_another_spelling_is_not_shown(body: bytes):
    """Not even its beginning."""
    with pytest.raises(KeyInvalid) as caught:
        read_key(body, "http://h/k")
    assert "开头" not in str(caught.value) and "s3cret" not in str(caught.value)


def test_S10_the_method_of_the_key_decides_how_a_segment_is_decrypted():
    """AES-128 whole, SAMPLE-AES by samples; its IV and key are those given, not those of the tag."""
    aes = decryption_for(Key(method="AES-128", uri="k"), KEY, IV, 3)
    assert aes.update(encrypted(b"clear")) + aes.finish() == b"clear"
    assert isinstance(decryption_for(Key(method="SAMPLE-AES", uri="k"), KEY, IV, 3), SampleDecryption)


@pytest.mark.parametrize(
    ("method", "position", "named"),
    [
        ("SAMPLE-AES", 0, "fMP4 的 SAMPLE-AES（cbcs）"),
        ("SAMPLE-AES-CTR", 3, "SAMPLE-AES-CTR"),
        ("SAMPLE-AES-CTR", 0, "SAMPLE-AES-CTR"),
    ],
)
def test_S10_schemes_of_fmp4_are_refused_by_name(method: str, position: int, named: str):
    """Whole-segment CBC over them would give garbage."""
    with pytest.raises(UnsupportedEncryption) as caught:
        decryption_for(Key(method=method, uri="k", line=9), KEY, IV, position)
    assert caught.value.text() == f"不支持的加密方式 {named}（identity），第 9 行"


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
