"""The one redaction."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m3u8svc.errors import HttpStatusError, KeyInvalid, NeedsUrl
from m3u8svc.redact import is_secret_header, redact_text, redact_url

CANARY = "CANARY42"
ENDS = '"<>（），。：；“”、'
"""What ends a URL within a text, beside white space and control characters: none of it is in a URL as we send it."""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a.ts", "https://h/a.ts"),
        ("https://u:p@h:8443/a.ts?token=s#f", "https://h:8443/a.ts?…"),
        ("data:text/plain;base64,AAAA", "data:…"),
        ("http://[bad", "http:…"),
        ("a/b.ts?x=1", "a/b.ts?…"),
        ("http://h/\x1b[31m", "http://h/\\x1b[31m"),
        ("http://", "http://"),
        ("sqlite:////var/lib/x.sqlite", "sqlite:////var/lib/x.sqlite"),
        ("sqlite:///x.sqlite?k=1", "sqlite:///x.sqlite?…"),
        ("http://u:p@/x", "http:///x"),
        ("//u:p@h/x?k=1", "//h/x?…"),
        ("mailto:a", "mailto:a"),
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
    "text",
    [
        "database sqlite:////srv/x.sqlite is locked",
        "needed: https://h/x?… (the server answered HTTP 403: https://h/y?…)",
        "(one in (https://h/x?…)): gone",
    ],
)
def test_redacting_again_changes_nothing(text: str) -> None:
    """An error within another one is redacted twice: its brackets and slashes stay."""
    assert text == redact_text(text)


@pytest.mark.parametrize("url", ["https://h/x?…k=CANARY)", "https://h/x?k=CANARY)", "https://h/x?…)&k=CANARY)"])
def test_brackets_are_left_behind_nothing_but_a_cut(url: str) -> None:
    """A bracket could be a query's own; one behind a query that was cut is not."""
    assert "(https://h/x?… gone" == redact_text(f"({url} gone")


def test_error_within_an_error_is_whole() -> None:
    """Both of its brackets are there, in both languages."""
    url = "https://u:p@h/x?token=CANARY"
    error = NeedsUrl(url=url, cause=HttpStatusError(url=url, status=403))
    assert error.text("en").endswith(": https://h/x?…)") and error.text("zh").endswith("：https://h/x?…）")
    assert "CANARY" not in error.text("en") + error.text("zh")


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=ENDS)))
@example("q='a'&token=")
@example("a=b|c&token=")
@example("p={id}&token=")
@example("a=`^b&token=")
def test_redact_text_shows_nothing_behind_a_query(query: str) -> None:
    """Whatever a query on the wire holds, nothing of it is shown, in any shape of our lines."""
    url = f"https://h.test/x.ts?{query}{CANARY}"
    for line in (
        f"segment 200 {url}",
        f"无法连接：{url}（超时）",
        f"page {url} links to {url}",
        f"'{url}'",
        f"({url})",
    ):
        assert CANARY not in redact_text(line)


@given(st.text())
def test_errors_show_nothing_behind_a_query(query: str) -> None:
    """A URL given to an error is cut as a whole, though it holds what would end it within a text."""
    url = f"https://h.test/x.ts?{query}{CANARY}"
    for error in (HttpStatusError(url=url, status=403), KeyInvalid(url=url, reason="x")):
        assert CANARY not in error.text("zh") + error.text("en")


@pytest.mark.parametrize(
    "name", ["Authorization", "Cookie", "X-Token", "x-api-key", "X-Session-Id", "Proxy-Authorization"]
)
def test_secret_headers(name: str) -> None:
    """Names that look like credentials are known."""
    assert is_secret_header(name)


@pytest.mark.parametrize("name", ["User-Agent", "Referer", "Accept"])
def test_plain_headers(name: str) -> None:
    """Others are shown."""
    assert not is_secret_header(name)


def test_our_own_tokens_are_masked() -> None:
    """Wherever somebody puts one, whole or cut off; another name that begins like one stays."""
    token = "m3u8svc_" + "0123456789abcdef" * 4
    for text in (f"GET /api/{token}", f"GET /api/{token[:20]}", f"http://h/{token.upper()}/x"):
        assert "0123" not in redact_text(text) and "***" in redact_text(text)
    assert "m3u8svc_film m3u8svc.tap" == redact_text("m3u8svc_film m3u8svc.tap")
