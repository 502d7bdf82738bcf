"""
What the user knows better than the playlist: the key, the IV, a query that every request needs, a base for links.

`base_url` belongs into `parse_playlist`, and so does the fact that there is a key (`key_given`), since a playlist may
be unreadable without them; the rest is done here, to the values parsing gave.
"""

import base64
import binascii
import re

import attrs

from m3u8svc.hls.lines import too_large
from m3u8svc.hls.playlist import InitSection, Key, MasterPlaylist, MediaPlaylist, Playlist, Segment
from m3u8svc.hls.uri import query_of, with_query
from m3u8svc.wording import Said

KEY_BYTES = 16
PLAYLISTS_OWN = "*"
"""The value of `append_query` that means the query of the playlist's own URL."""

MAX_APPENDED_BYTES = 256 * 1024 * 1024

_NO_URI = "data:,"
"""Names a key that no playlist names: no link is like it."""
_HEX_KEY = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{32})")
_BASE64_KEY = re.compile(r"[A-Za-z0-9+/_-]{22}(?:==)?")
_IV = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{1,32})")


class BadOverride(ValueError):
    """
    Text that is no key or IV; the message says why, for people, and holds nothing of it.
    """

    def __init__(self, said: Said) -> None:
        super().__init__(said)
        self.said = said


@attrs.frozen(kw_only=True)
class Overrides:
    """
    `key` and `iv` are 16 bytes each. `append_query` is "", "*" (the query of the playlist's own URL) or ``a=b&c=d``.
    """

    key: bytes | None = attrs.field(default=None, repr=False)
    iv: bytes | None = attrs.field(default=None, repr=False)
    append_query: str = attrs.field(default="", repr=False)
    base_url: str = attrs.field(default="", repr=False)


def override_playlist(playlist: Playlist, overrides: Overrides) -> Playlist:
    """
    `playlist` with what the overrides say put in place of what it says.
    """
    if isinstance(playlist, MasterPlaylist):
        return override_multivariant(playlist, overrides)
    return override_media(playlist, overrides)


def override_media(playlist: MediaPlaylist, overrides: Overrides) -> MediaPlaylist:
    """
    A media playlist with other keys, IVs and queries.

    A key replaces that of every encrypted segment and init section. Where the playlist has no EXT-X-KEY at all, it
    means AES-128 on every segment (init sections stay clear), with the IV given or the segment's number (S8).
    """
    remade = _Remade(playlist, overrides)
    if remade.same:
        return playlist
    return attrs.evolve(playlist, segments=(remade.segment(each) for each in playlist.segments))


def override_multivariant(playlist: MasterPlaylist, overrides: Overrides) -> MasterPlaylist:
    """
    A multivariant playlist with the query appended to what it leads to, so that "*" reaches the segments, too.
    """
    query = _query(overrides.append_query, playlist.url)
    if not query:
        return playlist
    return attrs.evolve(
        playlist,
        variants=tuple(attrs.evolve(each, uri=append_query(each.uri, query)) for each in playlist.variants),
        renditions=tuple(
            attrs.evolve(each, uri=each.uri and append_query(each.uri, query)) for each in playlist.renditions
        ),
    )


def append_query(uri: str, query: str) -> str:
    """
    `uri` with the parameters of `query` that it does not have by name, in their order. Only http links have a query.
    """
    if not uri.startswith(("http://", "https://")):
        return uri
    own = query_of(uri)
    names = {pair.partition("=")[0] for pair in own.split("&")}
    added = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in names]
    return with_query(uri, "&".join([own, *added] if own else added)) if added else uri


def parse_key_text(text: str) -> bytes:
    """
    The 16 bytes of a key as people paste it: 32 hexadecimal digits, with 0x or without, or base64.

    Raises:
        BadOverride: anything else.
    """
    text = text.strip()
    if match := _HEX_KEY.fullmatch(text):
        return bytes.fromhex(match[1])
    if not _BASE64_KEY.fullmatch(text):
        raise BadOverride(
            Said(
                f"密钥应为 32 位十六进制数，或 {KEY_BYTES} 字节的 base64（收到 {len(text)} 个字符）",
                f"a key is 32 hexadecimal digits, or the base64 of {KEY_BYTES} bytes ({len(text)} characters came)",
            )
        )
    try:
        # Strict: the last of 22 digits has four bits that must be zero, else another text was meant.
        return _strict_base64(text[:22])
    except binascii.Error as error:
        raise BadOverride(
            Said(f"密钥不是 {KEY_BYTES} 字节的 base64", f"the key is not the base64 of {KEY_BYTES} bytes")
        ) from error


def parse_iv_text(text: str) -> bytes:
    """
    The 16 bytes of an IV: up to 32 hexadecimal digits, with 0x or without, padded on the left as in a playlist (S8).

    Raises:
        BadOverride: anything else.
    """
    match = _IV.fullmatch(text.strip())
    if match is None:
        raise BadOverride(Said("IV 应为最多 32 位的十六进制数", "an IV is at most 32 hexadecimal digits"))
    return bytes.fromhex(match[1].rjust(32, "0"))


def _strict_base64(digits: str) -> bytes:
    plain = digits.replace("-", "+").replace("_", "/") + "=="
    key = base64.b64decode(plain, validate=True)
    if base64.b64encode(key).decode() != plain:
        raise binascii.Error("bits left over")
    return key


def _query(append: str, url: str) -> str:
    return query_of(url) if append == PLAYLISTS_OWN else append.lstrip("?&")


class _Remade:
    """
    The segments of one playlist made anew; what many of them share stays one value.
    """

    def __init__(self, playlist: MediaPlaylist, overrides: Overrides) -> None:
        self._overrides = overrides
        self._query = _query(overrides.append_query, playlist.url)
        if len(self._query) * len(playlist.segments) > MAX_APPENDED_BYTES:
            what = Said("附加参数后的字节数", "its size in bytes with the appended query")
            raise too_large(what, MAX_APPENDED_BYTES)
        self._all = overrides.key is not None and not playlist.has_keys
        self.same = overrides.key is None and overrides.iv is None and not self._query
        """Whether there is nothing to change."""
        self._keys: dict[Key, Key] = {}
        self._inits: dict[InitSection, InitSection] = {}

    def segment(self, segment: Segment) -> Segment:
        key, iv = segment.key, segment.iv
        if self._all and not segment.gap:
            key, iv = Key(method="AES-128", uri=_NO_URI), segment.number.to_bytes(16, "big")
        return attrs.evolve(
            segment,
            uri=self._uri(segment.uri),
            key=self._key(key),
            iv=self._iv(iv),
            init=None if segment.init is None else self._init(segment.init),
        )

    def _init(self, init: InitSection) -> InitSection:
        if init not in self._inits:
            self._inits[init] = attrs.evolve(
                init, uri=self._uri(init.uri), key=self._key(init.key), iv=self._iv(init.iv)
            )
        return self._inits[init]

    def _key(self, key: Key | None) -> Key | None:
        if key is None:
            return None
        if key not in self._keys:
            iv = key.iv if self._overrides.iv is None else self._overrides.iv
            value = key.value if self._overrides.key is None else self._overrides.key
            self._keys[key] = attrs.evolve(key, uri=self._uri(key.uri), iv=iv, value=value)
        return self._keys[key]

    def _iv(self, iv: bytes | None) -> bytes | None:
        return iv if iv is None or self._overrides.iv is None else self._overrides.iv

    def _uri(self, uri: str) -> str:
        return append_query(uri, self._query) if self._query else uri
