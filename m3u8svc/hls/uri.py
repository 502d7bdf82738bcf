"""
URI references as playlists and pages write them, made absolute by RFC 3986 section 5.2.

The standard library's `urljoin` is not used: it drops empty path segments of the base (``/a//b`` loses a slash), which
sends every segment of such a playlist to the wrong place. What comes out is plain ASCII outside the host name: spaces,
non-ASCII characters and undecodable bytes are percent-encoded, the fragment is gone.
"""

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, urlsplit

from m3u8svc.errors import UnsupportedScheme
from m3u8svc.wording import Said

# RFC 3986 appendix B, with the scheme spelled out so that "2020-01-01T10:00.ts" stays a path.
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
# Relative names that need nothing but the directory in front: no dot segments, no scheme, nothing to encode.
_NAME = r"[A-Za-z0-9_~%+=,&\-][A-Za-z0-9_~%+=,&\-.]*"
_PLAIN = re.compile(rf"(?:{_NAME}/)*{_NAME}(?:\?[A-Za-z0-9_~%+=,&\-./:@!$'()*;?]*)?")
_PORT = re.compile(r":[0-9]*\Z")
# The last two ranges are surrogates that no undecodable byte stands behind.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\\ud800-\udc7f\udd00-\udfff]")
_LEGAL = "!$%&'()*+,/:;=?@[]-._~"
_ENCODED = re.compile(r"[A-Za-z0-9!$%&'()*+,/:;=?@\[\]\-._~]*")


class BadReference(ValueError):
    """
    A reference that is no URI we can request; the text says why, for people.
    """

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self.said = said


def resolve(reference: str, base: str) -> str:
    """
    The absolute http or https URI that `reference` means in a document at `base`.

    Raises:
        BadReference: empty, a backslash or control character, no host, a port that is none.
        UnsupportedScheme: any scheme but http and https.
    """
    if _PLAIN.fullmatch(reference):
        return _directory(base) + reference
    if not reference:
        raise BadReference(Said("链接为空", "the URI is empty"))
    if _FORBIDDEN.search(reference):
        raise BadReference(Said("链接含有控制字符或反斜杠", "the URI has a control character or a backslash"))
    scheme, authority, path, query = _split(reference)
    if scheme is None:
        base_scheme, base_authority, base_path, base_query = _split_base(base)
        scheme = base_scheme
        if authority is None:
            authority = base_authority
            if not path:
                path, query = base_path, query or base_query
            elif not path.startswith("/"):
                path = base_path[: base_path.rfind("/") + 1] + path
    scheme = (scheme or "").lower()
    if scheme not in ("http", "https"):
        raise UnsupportedScheme(scheme=scheme[:20], url=_without_surrogates(reference))
    return f"{scheme}://{_checked_authority(authority)}{_encoded(_without_dots(path) or '/')}{_encoded(query)}"


def scheme_of(reference: str) -> str:
    """
    The lower-case scheme of a reference, "" when it is relative.
    """
    return (_split(reference)[0] or "").lower()


def path_of(uri: str) -> str:
    """
    The path of an absolute URI without host and query: what stays the same when tokens and mirrors change. A data:
    URI has none of these and is returned whole.
    """
    if uri.startswith("data:"):
        return uri
    bare = uri.partition("?")[0]
    return bare[bare.find("/", bare.find("://") + 3) :]


def query_of(uri: str) -> str:
    """
    The query of an absolute URI as it stands there, without the question mark.
    """
    return uri.partition("#")[0].partition("?")[2]


def with_query(uri: str, query: str) -> str:
    """
    An absolute URI with this query instead of its own, what cannot stand in a query percent-encoded; "" takes it away.
    """
    bare = uri.partition("#")[0].partition("?")[0]
    return f"{bare}?{_encoded(query)}" if query else bare


def host_of(uri: str) -> str:
    """
    The host of an absolute URI, with its port if it names one, without credentials: fit to be shown.
    """
    return (_split(uri)[1] or "").rpartition("@")[2]


def with_host(uri: str, host: str) -> str:
    """
    An absolute URI with another host; its port stays unless `host` names one.

    Raises:
        BadReference: `host` is more than host and port, or neither.
    """
    if any(each in host for each in "/?#@\\") or _FORBIDDEN.search(host):
        raise BadReference(_bad_authority())
    scheme, authority, path, query = _split(uri)
    port = _PORT.search(authority or "")
    if port and not _PORT.search(host):
        host += port[0]
    return f"{scheme}://{_checked_authority(host)}{path}{query}"


@lru_cache(maxsize=16)
def _directory(base: str) -> str:
    # Through the long way once, so that the base's own oddities are treated alike.
    return resolve("./", base)


def _split(uri: str) -> tuple[str | None, str | None, str, str]:
    parts = _PARTS.fullmatch(uri)
    assert parts is not None  # every part is optional: it matches any text
    scheme, authority, path, query = parts.groups()
    return scheme, authority, path, query or ""


_split_base = lru_cache(maxsize=16)(_split)  # the same one for every line of a playlist


def _without_dots(path: str) -> str:
    """
    RFC 3986 5.2.4, on whole segments: "." vanishes, ".." takes the one before it along, empty ones stay.
    """
    if "/." not in path and not path.startswith("."):
        return path if path.startswith("/") or not path else "/" + path
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


@lru_cache(maxsize=256)
def _checked_authority(authority: str | None) -> str:
    try:
        parts = urlsplit(f"//{authority or ''}")
        parts.port  # noqa: B018 - raises for a port that is no number or out of range
        (authority or "").encode()
    except ValueError as error:
        raise BadReference(_bad_authority()) from error
    if not parts.hostname or " " in (authority or ""):
        raise BadReference(_bad_authority() if parts.hostname else Said("链接没有主机名", "the URI has no host name"))
    return authority or ""


def _bad_authority() -> Said:
    return Said("链接的主机或端口无效", "the URI has an invalid host or port")


def _encoded(part: str) -> str:
    if _ENCODED.fullmatch(part):
        return part
    return quote_from_bytes(part.encode("utf-8", "surrogateescape"), safe=_LEGAL)


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
