"""The one redaction."""

import pytest

from m3u8svc.redact import is_secret_header, redact_headers, redact_text, redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a.ts", "https://h/a.ts"),
        ("https://u:p@h:8443/a.ts?token=s#f", "https://h:8443/a.ts?…"),
        ("data:text/plain;base64,AAAA", "data:…"),
        ("http://[bad", "http:…"),
        ("a/b.ts?x=1", "a/b.ts?…"),
        ("http://h/\x1b[31m", "http://h/\\x1b[31m"),
    ],
)
def test_redact_url(url: str, shown: str) -> None:
    """Enough to recognise it, nothing to use it with."""
    assert shown == redact_url(url)


def test_redact_url_cuts_endless_ones() -> None:
    """A URL of kilobytes does not fill a log."""
    assert 300 >= len(redact_url("http://h/" + "a" * 5000))


def test_redact_text_finds_urls_between_chinese() -> None:
    """A URL inside one of our own messages loses its query and nothing else goes."""
    text = "请求失败：http://u:p@h/x?k=1（超时）"
    assert "请求失败：http://h/x?…（超时）" == redact_text(text)
    assert redact_text(text) == redact_text(redact_text(text))


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "X-Token", "x-api-key", "X-Session-Id", "Proxy-Authorization"]
)
def test_secret_headers(name: str) -> None:
    """Names that look like credentials are masked."""
    assert is_secret_header(name)
    assert ((name, "***"),) == redact_headers(((name, "value"),))


@pytest.mark.parametrize("name", ["User-Agent", "Referer", "Accept"])
def test_plain_headers(name: str) -> None:
    """Others are shown."""
    assert not is_secret_header(name)
