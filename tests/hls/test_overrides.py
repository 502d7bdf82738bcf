"""
What the user knows better: key, IV, query, base.
"""

import pytest

from m3u8svc.errors import PlaylistTooLarge
from m3u8svc.hls.overrides import (
    BadOverride,
    Overrides,
    append_query,
    override_media,
    override_multivariant,
    override_playlist,
    parse_iv_text,
    parse_key_text,
)
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist
from m3u8svc.testing.playlists import (
    CLEAR,
    KeyLine,
    MapLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
    segment_lines,
)

URL = "https://cdn.example/vod/index.m3u8?token=t0&e=9"
BASE = "https://cdn.example/vod/"
KEY = bytes(range(16))
IV = bytes(15) + b"\x09"


def media(text: str, *, key_given: bool = False, base_url: str = "", url: str = URL) -> MediaPlaylist:
    playlist = parse_playlist(text, url, key_given=key_given, base_url=base_url)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def test_a_key_replaces_every_other() -> None:
    """Of segments and init sections, over rotation; clear segments stay clear, methods and IVs stay."""
    lines = [
        SegmentLine(uri="0"),
        SegmentLine(uri="1", keys=(KeyLine(uri="k1", iv="0x1"),), map=MapLine(uri="i.mp4")),
        SegmentLine(uri="2", keys=(KeyLine(uri="k2", method="SAMPLE-AES"),)),
        SegmentLine(uri="3", keys=(CLEAR,)),
    ]
    made = override_media(media(media_playlist(lines)), Overrides(key=KEY)).segments
    assert [segment.key and (segment.key.method, segment.key.uri, segment.key.value) for segment in made] == [
        None,
        ("AES-128", BASE + "k1", KEY),
        ("SAMPLE-AES", BASE + "k2", KEY),
        None,
    ]
    assert [segment.iv and int.from_bytes(segment.iv) for segment in made] == [None, 1, 2, None]
    assert made[1].init is not None and made[1].init.key is not None and made[1].init.key.value == KEY
    assert made[1].init is made[2].init


def test_a_key_means_aes_128_where_there_is_no_key_tag() -> None:
    """Tags were stripped: every segment that is fetched is encrypted, init sections are not."""
    lines = [SegmentLine(uri="1"), SegmentLine(uri="2", gap=True), SegmentLine(uri="3")]
    playlist = media(media_playlist(lines, media_sequence=7, map=MapLine(uri="i.mp4")))
    made = override_media(playlist, Overrides(key=KEY)).segments
    assert [segment.key and (segment.key.method, segment.key.value) for segment in made] == [
        ("AES-128", KEY),
        None,
        ("AES-128", KEY),
    ]
    assert [segment.iv and int.from_bytes(segment.iv) for segment in made] == [7, None, 9]
    assert made[0].init is not None and made[0].init.key is None
    both = override_media(playlist, Overrides(key=KEY, iv=IV)).segments
    assert [segment.iv for segment in both] == [IV, None, IV]


def test_a_key_does_not_encrypt_what_says_that_it_is_clear() -> None:
    """METHOD=NONE is an EXT-X-KEY."""
    playlist = media(media_playlist(segment_lines(2), key=CLEAR))
    assert [None, None] == [segment.key for segment in override_media(playlist, Overrides(key=KEY)).segments]


def test_without_a_key_a_playlist_without_key_tags_stays_clear() -> None:
    """An IV alone encrypts nothing."""
    playlist = media(media_playlist(segment_lines(1)))
    assert playlist == override_media(playlist, Overrides(iv=IV)) == override_media(playlist, Overrides())


def test_nothing_to_override_leaves_the_playlist_alone() -> None:
    """It is not even made anew: a hundred thousand segments would take seconds."""
    playlist = parse_playlist(media_playlist(segment_lines(2)), URL)
    assert playlist is override_playlist(playlist, Overrides(base_url="https://cdn.example/"))


def test_an_iv_replaces_every_other() -> None:
    """The attribute's and the number, of segments and init sections."""
    playlist = media(
        media_playlist(segment_lines(2), key=KeyLine(uri="k", iv="0x1"), map=MapLine(uri="i.mp4")),
    )
    made = override_media(playlist, Overrides(iv=IV)).segments
    assert [IV, IV] == [segment.iv for segment in made]
    assert made[0].init is not None and (made[0].init.iv, made[0].key and made[0].key.iv) == (IV, IV)
    assert made[0].key is not None and made[0].key.value is None


@pytest.mark.parametrize(
    ("key", "method"),
    [
        (KeyLine(uri="skd://asset", method="SAMPLE-AES", keyformat="com.apple.streamingkeydelivery"), "SAMPLE-AES"),
        (KeyLine(uri="skd://asset"), "AES-128"),
        (KeyLine(uri="", keyformat="urn:uuid:x"), "AES-128"),
        (KeyLine(uri="http://["), "AES-128"),
    ],
)
def test_a_given_key_makes_refused_formats_readable(key: KeyLine, method: str) -> None:
    """What stands where a key would be fetched does not matter: nothing is."""
    playlist = media(media_playlist(segment_lines(1), key=key), key_given=True)
    (segment,) = override_media(playlist, Overrides(key=KEY)).segments
    assert segment.key is not None and segment.iv == bytes(16)
    assert (segment.key.method, segment.key.value) == (method, KEY)


@pytest.mark.parametrize(
    ("uri", "query", "expected"),
    [
        ("https://h/a", "x=1", "https://h/a?x=1"),
        ("https://h/a?", "x=1", "https://h/a?x=1"),
        ("https://h/a?y=2", "x=1&z", "https://h/a?y=2&x=1&z"),
        ("https://h/a?x=2", "x=1", "https://h/a?x=2"),
        ("https://h/a?x=2", "x=1&y=3", "https://h/a?x=2&y=3"),
        ("https://h/a?xx=2", "x=1", "https://h/a?xx=2&x=1"),
        ("https://h/a", "&&", "https://h/a"),
        ("https://h/a", "x=a b#c\u4e2d", "https://h/a?x=a%20b%23c%E4%B8%AD"),
        ("data:,x?y", "x=1", "data:,x?y"),
        ("skd://x", "x=1", "skd://x"),
    ],
)
def test_a_query_is_appended_where_it_is_missing(uri: str, query: str, expected: str) -> None:
    """Parameter by parameter, by name; only links have one; nothing gets out of the query."""
    assert expected == append_query(uri, query)


@pytest.mark.parametrize("query", ["?sig=1", "&sig=1", "sig=1"])
def test_the_query_goes_to_segments_keys_and_init_sections(query: str) -> None:
    """On whatever host they are."""
    lines = [SegmentLine(uri="a.ts"), SegmentLine(uri="https://other.example/b.ts")]
    playlist = media(media_playlist(lines, key=KeyLine(uri="k"), map=MapLine(uri="i.mp4", byterange="5@5")))
    first, second = override_media(playlist, Overrides(append_query=query)).segments
    assert (first.uri, second.uri) == (BASE + "a.ts?sig=1", "https://other.example/b.ts?sig=1")
    assert first.key is not None and first.init is not None and first.init.key is not None
    assert (first.key.uri, first.init.uri, first.init.key.uri) == (
        BASE + "k?sig=1",
        BASE + "i.mp4?sig=1",
        BASE + "k?sig=1",
    )


def test_a_star_means_the_query_of_the_playlist() -> None:
    """Of its own URL, not of the base; none, where it has none."""
    playlist = media(media_playlist(segment_lines(1)), base_url="https://mirror.example/x?no=1")
    assert override_media(playlist, Overrides(append_query="*")).segments[0].uri == (
        "https://mirror.example/seg00001.ts?token=t0&e=9"
    )
    bare = media(media_playlist(segment_lines(1)), url=BASE + "index.m3u8")
    assert bare == override_media(bare, Overrides(append_query="*"))


def test_variants_and_renditions_get_the_query_too() -> None:
    """Else the star would find none in the media playlist's own URL."""
    text = master_playlist(
        [VariantLine(uri="v.m3u8")],
        renditions=[RenditionLine(group="a", name="x", uri="a.m3u8"), RenditionLine(group="a", name="muxed")],
    )
    playlist = parse_playlist(text, URL)
    assert isinstance(playlist, MasterPlaylist)
    made = override_multivariant(playlist, Overrides(append_query="*"))
    assert made == override_playlist(playlist, Overrides(append_query="*"))
    assert made.variants[0].uri == BASE + "v.m3u8?token=t0&e=9"
    assert [each.uri for each in made.renditions] == [BASE + "a.m3u8?token=t0&e=9", None]
    assert playlist == override_multivariant(playlist, Overrides(key=KEY))


def test_a_query_cannot_fill_the_memory() -> None:
    """A long query times many segments is told before it is made."""
    playlist = media(media_playlist(segment_lines(30_000)), url=BASE + "i?" + "x" * 9_000)
    with pytest.raises(PlaylistTooLarge):
        override_media(playlist, Overrides(append_query="*"))


@pytest.mark.parametrize(
    "text",
    [
        "000102030405060708090a0b0c0d0e0f",
        "0x000102030405060708090A0B0C0D0E0F",
        "0X000102030405060708090a0b0c0d0e0f\n",
        "AAECAwQFBgcICQoLDA0ODw==",
        " AAECAwQFBgcICQoLDA0ODw ",
    ],
)
def test_keys_are_read_as_people_paste_them(text: str) -> None:
    """Hexadecimal with or without 0x, base64 with or without padding, spaces around."""
    assert KEY == parse_key_text(text)


def test_a_url_safe_key_is_read() -> None:
    """- and _ instead of + and /."""
    assert b"\xfb\xff" * 8 == parse_key_text("-__7__v_-__7__v_-__7_w") == parse_key_text("+//7//v/+//7//v/+//7/w==")


@pytest.mark.parametrize(
    "text",
    ["", "0x", "00" * 15, "00" * 17, "0x" + "0" * 31, "g" * 32, "AAECAwQFBgcICQoLDA0ODx==", "AAECAwQFBgcICQoLDA0OD==="]
    + ["\u0660" * 32, "AAECAwQFBgcICQoLDA0ODw=", "s3cret"],
)
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    """A typing mistake must not put the key into a log."""
    with pytest.raises(BadOverride) as caught:
        parse_key_text(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [("0x1", 1), ("ff", 255), (" 0X0a\n", 10), ("f" * 32, 2**128 - 1)])
def test_ivs_are_read_as_in_a_playlist(text: str, expected: int) -> None:
    """Padded on the left."""
    iv = parse_iv_text(text)
    assert (int.from_bytes(iv), len(iv)) == (expected, 16)


@pytest.mark.parametrize("text", ["", "0x", "f" * 33, "xyz", "-1", "0x0x1", "\u0661"])
def test_what_is_no_iv_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadOverride):
        parse_iv_text(text)


def test_secrets_stay_out_of_reprs() -> None:
    """Of the overrides and of what they change."""
    overrides = Overrides(key=b"s3cret-s3cret-16", iv=b"s3cret-s3cret-iv", append_query="t=s3cret")
    playlist = media(media_playlist(segment_lines(1), key=KeyLine(uri="k")))
    assert "s3cret" not in repr(overrides) + repr(override_media(playlist, overrides).segments)
