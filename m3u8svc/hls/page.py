"""
A link to a playlist inside something that is no playlist: an HTML page, a script, the JSON of a player's API.

The text is searched for ".m3u8", and each hit is widened to both sides up to what cannot stand in a URL. Linear: no
hit is widened over the one before it.
"""

import re
from urllib.parse import unquote

from m3u8svc.errors import UnsupportedScheme
from m3u8svc.hls.uri import BadReference, resolve

_SUFFIX = ".m3u8"
_MAX_LINK = 8 * 1024
_STOP = frozenset(" \t\r\n\f\v\0\"'`<>\\()|^*{},;")
_AFTER = frozenset("?#&/%")
_ESCAPES = (
    ("\\/", "/"),
    ("\\u002f", "/"),
    ("\\u002F", "/"),
    ("\\u0026", "&"),
    ("\\x2f", "/"),
    ("&#x2F;", "/"),
    ("&#x2f;", "/"),
    ("&#47;", "/"),
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#39;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
)
_RELATIVE_AFTER = ('"', "'", "`", "=", "(")
"""What stands before a relative link: a quote, an unquoted attribute, a call. Prose that says "x.m3u8" is no link."""


MOST_LINKS = 5
"""So many are looked for: who has to choose sees that there is a choice."""


def find_playlist_links(body: bytes, url: str) -> tuple[str, ...]:
    """
    The first different m3u8 links in the page `body` that came from `url`, absolute, `MOST_LINKS` at most.
    """
    text = body.decode("utf-8", "replace")
    for escaped, plain in _ESCAPES:
        text = text.replace(escaped, plain)
    lowered = text.lower() if text.isascii() else _lower_ascii(text)
    done = 0
    found: dict[str, None] = {}
    while len(found) < MOST_LINKS and (hit := lowered.find(_SUFFIX, done)) >= 0:
        start = _widened_left(text, hit, done)
        end = _widened_right(text, hit + len(_SUFFIX))
        link = _link(text[start:end], text[start - 1 : start], url)
        if link is not None:
            found[link] = None
        done = end
    return tuple(found)


def _lower_ascii(text: str) -> str:
    # str.lower() can change the length ("İ" becomes two characters), and positions must stay.
    return text.translate({code: code + 32 for code in range(ord("A"), ord("Z") + 1)})


def _widened_left(text: str, hit: int, floor: int) -> int:
    floor = max(floor, hit - _MAX_LINK)
    while hit > floor and text[hit - 1] not in _STOP:
        hit -= 1
    return hit


def _widened_right(text: str, end: int) -> int:
    limit = min(len(text), end + _MAX_LINK)
    while end < limit and text[end] not in _STOP:
        end += 1
    return end


def _link(candidate: str, before: str, url: str) -> str | None:
    """
    What a candidate links to, None when it is no link.
    """
    suffix = candidate.lower().find(_SUFFIX)
    if candidate[suffix + len(_SUFFIX) :][:1] not in ("", *_AFTER) or candidate.startswith("blob:"):
        return None
    # A src=… attribute without quotes was widened over its name.
    name, equals, value = candidate.partition("=")
    if equals and name.replace("-", "").isalpha():
        candidate, before = value, equals
    candidate = _innermost(candidate)
    if candidate.startswith(("http://", "https://")):
        return _resolved(candidate, url)
    stem = candidate[: candidate.lower().find(_SUFFIX)].rpartition("/")[2]
    return _resolved(candidate, url) if stem and before in _RELATIVE_AFTER else None


def _innermost(candidate: str) -> str:
    """
    A player's address with the playlist's in its query (``/play?url=https%3A%2F%2F…``) means the inner one.
    """
    path, _, query = candidate.partition("?")
    if _SUFFIX in path.lower():
        return path[max(path.rfind("http://"), path.rfind("https://"), 0) :] + candidate[len(path) :]
    start = query.rfind("=", 0, query.lower().find(_SUFFIX)) + 1
    inner = query[start:]
    # Encoded, it ends at the next parameter; as it is, nobody knows whose parameters follow, and more is safer.
    encoded = re.match(r"https?%3a", inner, re.IGNORECASE)
    return unquote(inner.partition("&")[0]) if encoded else inner


def _resolved(link: str, url: str) -> str | None:
    try:
        return resolve(link, url)
    except (BadReference, UnsupportedScheme):
        return None  # not ours to fetch: the next candidate may be
