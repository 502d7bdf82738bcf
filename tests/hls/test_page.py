"""
Links to playlists in pages.
"""

import time

import pytest

from m3u8svc.hls.page import MOST_LINKS, find_playlist_links

URL = "https://site.example:8443/watch/42?id=1"
HERE = "https://site.example:8443/watch/"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<video src="https://h/a.m3u8"></video>', "https://h/a.m3u8"),
        ("var u = 'http://h:8080/x/a.m3u8?t=1&s=2';", "http://h:8080/x/a.m3u8?t=1&s=2"),
        ('<a href="http://h/a.m3u8?t=1&amp;s=2">', "http://h/a.m3u8?t=1&s=2"),
        ('{"url":"https:\\/\\/h\\/a.m3u8?t=1\\u0026s=2"}', "https://h/a.m3u8?t=1&s=2"),
        ('<source src="/live/a.m3u8">', "https://site.example:8443/live/a.m3u8"),
        ("<source src=live/a.m3u8 type=x>", HERE + "live/a.m3u8"),
        ("<div data-src='//cdn/a.M3U8'>", "https://cdn/a.M3U8"),
        ("load(`../a.m3u8#x`)", "https://site.example:8443/a.m3u8"),
        ('"/player?url=https%3A%2F%2Fh%2Fa.m3u8%3Ft%3D1&skin=x"', "https://h/a.m3u8?t=1"),
        ('"/player?url=https://h/a.m3u8?t=1&s=2"', "https://h/a.m3u8?t=1&s=2"),
        ('"/player?url=https://h/a.m3u8&next=b.m3u8"', "https://h/a.m3u8&next=b.m3u8"),
        ('data-x="{&quot;u&quot;:&quot;https://h/a.m3u8&quot;}"', "https://h/a.m3u8"),
        ("plain https://h/a.m3u8, text", "https://h/a.m3u8"),
        ("<p>İ</p><a href='http://[::1]:80/a.m3u8'>", "http://[::1]:80/a.m3u8"),
        ('if (u.indexOf(".m3u8") > 0) play("b/a.m3u8")', HERE + "b/a.m3u8"),
        ("/\\.m3u8$/.test(u); ftp://h/a.m3u8 blob:https://h/a.m3u8 'c.m3u8'", HERE + "c.m3u8"),
        ("'http://h:99999/a.m3u8' 'd.m3u8'", HERE + "d.m3u8"),
        ("'a.m3u8x' '${id}.m3u8' '*.m3u8'", None),
        ("We serve a.m3u8 files", None),
        ("", None),
    ],
)
def test_links_are_found_and_made_absolute(page: str, expected: str | None):
    """Ports, queries, escapes, attributes with and without quotes; code and prose about m3u8 is no link."""
    assert find_playlist_links(page.encode(), URL)[:1] == ((expected,) if expected else ())


def test_several_links():
    """In the order of the page, each once, and no more than somebody may be asked to choose from."""
    assert find_playlist_links(b"'b.m3u8' 'https://h/a.m3u8' 'b.m3u8'", URL) == (HERE + "b.m3u8", "https://h/a.m3u8")
    many = b" ".join(b"'%d.m3u8'" % number for number in range(20))
    assert find_playlist_links(many, URL) == tuple(f"{HERE}{number}.m3u8" for number in range(MOST_LINKS))


@pytest.mark.parametrize("filling", [b"a", b".m3u8", b'"', b"&amp;", b"http://", b"x" * 9_000 + b".m3u8", b"\\/", b"="])
def test_megabytes_take_time_in_proportion(filling: bytes):
    """No page makes the search slow: 2 MB of anything within a second or so."""
    start = time.process_time()
    find_playlist_links(filling * (2_000_000 // len(filling)), URL)
    assert time.process_time() - start < 2
