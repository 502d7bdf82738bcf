"""
Parsing, rule by rule: names are those of the conformance list.
"""

import time
from datetime import UTC, datetime

import pytest

from m3u8svc.errors import (
    M3u8svcError,
    NotAPlaylist,
    PlaylistError,
    PlaylistTooLarge,
    UnsupportedEncryption,
)
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import ByteRange, MasterPlaylist, MediaPlaylist, PlaylistType
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

URL = "https://cdn.example/vod/1/index.m3u8?token=s3cret"
BASE = "https://cdn.example/vod/1/"
WIDEVINE = "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
FAIRPLAY = "com.apple.streamingkeydelivery"


def media(text: str | bytes, url: str = URL) -> MediaPlaylist:
    playlist = parse_playlist(text, url)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def master(text: str) -> MasterPlaylist:
    playlist = parse_playlist(text, URL)
    assert isinstance(playlist, MasterPlaylist)
    return playlist


def one(*tags: str, uri: str = "a.ts") -> str:
    """A playlist with `tags` from line 2 on, then one URI."""
    return "\n".join(["#EXTM3U", *tags, uri, "#EXT-X-ENDLIST"])


def refused(text: str | bytes, expected: type[M3u8svcError] = PlaylistError) -> M3u8svcError:
    with pytest.raises(M3u8svcError) as caught:
        parse_playlist(text, URL)
    assert type(caught.value) is expected
    return caught.value


# -- General ---------------------------------------------------------------------------------------------------------


def test_G1_bom_is_stripped_and_undecodable_title_bytes_are_replaced():
    """A BOM does not hide the header; a title in another encoding does not lose the playlist."""
    playlist = media(b"\xef\xbb\xbf#EXTM3U\n#EXTINF:5,\xc4\xe3\na.ts\n")
    assert [segment.title for segment in playlist.segments] == ["\ufffd\ufffd"]


def test_G1_undecodable_uri_bytes_are_percent_encoded_as_they_were():
    """A name in another encoding is requested with the very bytes the server wrote."""
    assert media(b"#EXTM3U\n#EXTINF:5,\n\xc4\xe3.ts\n").segments[0].uri == BASE + "%C4%E3.ts"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_G2_all_three_line_ends_are_read(newline):
    """LF, CRLF and bare CR end a line."""
    playlist = media(media_playlist(segment_lines(2), newline=newline))
    assert [segment.line for segment in playlist.segments] == [6, 8]


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_G2_other_separators_split_nothing(separator):
    """A Unicode separator in a title does not turn its tail into a segment."""
    playlist = media(media_playlist([SegmentLine(uri="a.ts", title=f"one{separator}two.ts")]))
    assert [(s.uri, s.title) for s in playlist.segments] == [(BASE + "a.ts", f"one{separator}two.ts")]


def test_G2_blank_lines_and_comments_are_ignored():
    """Comments and blank lines say nothing and count as lines."""
    playlist = media("\n #EXTM3U\n\n# comment\n#EXTINF:5,\n  \n#another\n a.ts \n")
    assert [(s.uri, s.line) for s in playlist.segments] == [(BASE + "a.ts", 8)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html>",
        b'{"code": 403}',
        b"#EXTM3U8\n",
        b"#EXTINF:5,\na.ts",
        b"\xff\xfe#\x00E\x00",
        b"G@\x00",
        b"\x00\x1b[31m",
    ],
)
def test_G3_anything_but_extm3u_is_no_playlist(body):
    """The error names URL without query, content type and first bytes."""
    with pytest.raises(NotAPlaylist) as caught:
        parse_playlist(body, URL, content_type="text/html")
    text = caught.value.text()
    assert "未发现m3u8资源：https://cdn.example/vod/1/index.m3u8?…（text/html，开头为" in text
    assert "s3cret" not in text and "\x1b" not in text


def test_G3_attributes_behind_the_header_are_allowed():
    """TV lists write attributes into the first line."""
    assert len(media('#EXTM3U x-tvg-url="http://e/"\n#EXTINF:5,\na.ts').segments) == 1


def test_G4_kind_follows_the_tags():
    """STREAM-INF or MEDIA make a multivariant playlist, EXTINF or nothing a media playlist."""
    assert isinstance(parse_playlist("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO\n", URL), MasterPlaylist)
    assert isinstance(parse_playlist("#EXTM3U\n#EXT-X-TARGETDURATION:5\n", URL), MediaPlaylist)
    assert isinstance(parse_playlist("#EXTM3U\n", URL), MediaPlaylist)


def test_G4_mixed_lists_are_read_as_media_with_a_warning():
    """Segments win over variants; the variants left out are told."""
    playlist = media(one("#EXTINF:5,", "a.ts", "#EXT-X-STREAM-INF:BANDWIDTH=1", "v.m3u8", "#EXTINF:5,", uri="b.ts"))
    assert [segment.uri for segment in playlist.segments] == [BASE + "a.ts", BASE + "b.ts"]
    assert "第 5 行：媒体列表中的码流已忽略" in playlist.warnings


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("a.ts", BASE + "a.ts"),
        ("sub/a.ts?x=1", BASE + "sub/a.ts?x=1"),
        ("../a.ts", "https://cdn.example/vod/a.ts"),
        ("../../../a.ts", "https://cdn.example/a.ts"),
        ("./a.ts", BASE + "a.ts"),
        ("/a.ts", "https://cdn.example/a.ts"),
        ("//other.example:8443/a.ts", "https://other.example:8443/a.ts"),
        ("http://h/a.ts#t=1", "http://h/a.ts"),
        ("HTTP://[::1]:80/a.ts", "http://[::1]:80/a.ts"),
        ("?part=2", BASE + "index.m3u8?part=2"),
        ("a b|中.ts", BASE + "a%20b%7C%E4%B8%AD.ts"),
        ("2020-01-01T10:00:00.ts", BASE + "2020-01-01T10:00:00.ts"),
        ("a%2Fb.ts?u=http://x/../y", BASE + "a%2Fb.ts?u=http://x/../y"),
        ("https://h", "https://h/"),
    ],
)
def test_G5_references_resolve_by_rfc_3986(reference, expected):
    """Names, dots, roots, other hosts and queries mean what RFC 3986 says."""
    assert media(media_playlist([SegmentLine(uri=reference)])).segments[0].uri == expected


def test_G5_empty_path_segments_of_the_base_stay():
    """A base with a double slash keeps it, where urljoin would lose it."""
    playlist = media(media_playlist(segment_lines(1, name="a.ts")), url="http://h/x//y/i.m3u8")
    assert playlist.segments[0].uri == "http://h/x//y/a.ts"


def test_G6_the_query_of_the_playlist_is_not_inherited():
    """A token in the playlist's URL does not travel to segments by itself."""
    assert media(media_playlist(segment_lines(1))).segments[0].uri == BASE + "seg00001.ts"


def test_G7_commas_in_quotes_and_unknown_attributes():
    """Quoted commas do not split, apostrophes are no quotes, unknown names are ignored."""
    playlist = master(
        one('#EXT-X-STREAM-INF:X-A=\'1,BANDWIDTH=5,CODECS="avc1.64001f,mp4a.40.2",X-B="BANDWIDTH=9"', uri="v.m3u8")
    )
    assert [(v.bandwidth, v.codecs) for v in playlist.variants] == [(5, ("avc1.64001f", "mp4a.40.2"))]


def test_G7_of_duplicate_attributes_the_first_counts():
    """A name given twice is told."""
    playlist = master(one("#EXT-X-STREAM-INF:BANDWIDTH=5,BANDWIDTH=9", uri="v.m3u8"))
    assert playlist.variants[0].bandwidth == 5
    assert playlist.warnings == ("第 2 行：属性重复，取第一个",)


def test_G8_unknown_tags_are_ignored():
    """Tags we do not know, even without a colon, change nothing."""
    playlist = media(
        media_playlist(segment_lines(1), head=["#EXT-X-NEW:A=1", "#EXT-X-GAPS", "#EXT", "#EXT-X-PART-INF"])
    )
    assert (len(playlist.segments), playlist.warnings) == (1, ())


@pytest.mark.parametrize(("versions", "expected"), [(["99"], 99), (["x"], 1), (["3", "4"], 3), ([""], 1)])
def test_G9_versions_are_never_refused(versions, expected):
    """A higher, unreadable or second version is a warning."""
    playlist = media(media_playlist(segment_lines(1), version=None, head=[f"#EXT-X-VERSION:{v}" for v in versions]))
    assert (playlist.version, len(playlist.warnings)) == (expected, 1)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "concat:a|b", "ftp://h/a", "data:video/mp2t,G", "javascript:1"])
def test_G10_only_http_leads_out(uri):
    """No other scheme for segments, init sections, keys and variants (data: only for keys and init sections)."""
    texts = [one("#EXTINF:5,", uri=uri), master_playlist([VariantLine(uri=uri)])]
    if not uri.startswith("data:"):
        texts.append(media_playlist(segment_lines(1), key=KeyLine(uri=uri)))
        texts.append(media_playlist(segment_lines(1), map=MapLine(uri=uri)))
    errors = [refused(text) for text in texts]
    where = [(3, ""), (4, ""), (5, "EXT-X-KEY"), (5, "EXT-X-MAP")][: len(texts)]
    assert [(error.fields["line"], error.fields["tag"]) for error in errors] == where
    assert {error.fields["kind"] for error in errors} == {"unsupported-scheme"}
    assert all(f"不支持的链接类型“{uri.partition(':')[0]}”" in error.text() for error in errors)


@pytest.mark.parametrize(
    "uri",
    [
        "a\\b.ts",
        "a\x00.ts",
        "a\x1f",
        "a\u2028b",
        "http:///a",
        "http://h:x/",
        "http://h:99999/",
        "http://[::1",
        "http://a b/",
    ],
)
def test_G10_uris_nobody_can_request_are_refused_by_line(uri):
    """Backslashes, control characters, missing hosts and impossible ports."""
    assert refused(one("#EXTINF:5,", uri=uri)).fields["line"] == 3


def test_G10_data_uris_are_kept_for_keys_and_maps():
    """Both may stand in the playlist itself."""
    segment = media(
        media_playlist(segment_lines(1), key=KeyLine(uri="data:;base64,AAAA", iv="0x1"), map=MapLine(uri="data:,x"))
    ).segments[0]
    assert (segment.key.uri, segment.init.uri) == ("data:;base64,AAAA", "data:,x")


def test_G13_a_variable_in_a_title_is_text():
    """Titles are not substituted."""
    assert media(one("#EXTINF:5,{$x}")).segments[0].title == "{$x}"


# -- Segments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "duration_s", "title"),
    [
        ("10", 10.0, ""),
        ("10.5,one, two", 10.5, "one, two"),
        (" .5 ,", 0.5, ""),
        ("1e1,", 10.0, ""),
        ('8 tvg-logo="x",name', 8.0, "name"),
        (",title", 0.0, "title"),
        ("", 0.0, ""),
        ("-0.0,", 0.0, ""),
    ],
)
def test_S1_durations_are_read(value, duration_s, title):
    """Integers, fractions, TV attributes; nothing at all is duration 0 with a warning."""
    line = SegmentLine(uri="a.ts", duration_s=None, before=(f"#EXTINF:{value}",))
    playlist = media(media_playlist([line], target_duration_s=20))
    segment = playlist.segments[0]
    assert (segment.duration_s, segment.title) == (duration_s, title)
    assert bool(playlist.warnings) == (value in (",title", ""))


@pytest.mark.parametrize("value", ["-1,x", "nan", "inf", "-inf", "1e308", "99999999", "1_0", "٣", "abc", "10;", "0x1"])
def test_S1_impossible_durations_are_refused_by_line(value):
    """Negative, infinite, huge and foreign numbers."""
    error = refused(one(f"#EXTINF:{value}"))
    assert error.fields["line"] == 2
    assert error.text().startswith("播放列表第 2 行有误：EXTINF 时长无效：")


def test_S1_a_segment_without_extinf_has_no_duration():
    """A bare URI is a segment of duration 0, told once for all of them."""
    playlist = media("#EXTM3U\n#EXT-X-TARGETDURATION:5\na.ts\nb.ts\n#EXTINF:5,\nc.ts\n")
    assert [segment.duration_s for segment in playlist.segments] == [0.0, 0.0, 5.0]
    assert playlist.warnings == ("第 3 行：分片没有时长，按 0 秒处理（共 2 处）",)


def test_S1_extinf_without_uri_is_no_segment():
    """An EXTINF at the end is told, not downloaded."""
    playlist = media("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n#EXTINF:5,\n")
    assert len(playlist.segments) == 1
    assert playlist.warnings == ("第 5 行：最后一个 EXTINF 之后没有链接",)


def test_S2_numbers_count_from_media_sequence():
    """number = MEDIA-SEQUENCE + place; position counts from 1; start is the running sum."""
    playlist = media(media_playlist(segment_lines(3, duration_s=2.5), media_sequence=2**64 - 1))
    assert [(s.position, s.number, s.start_s) for s in playlist.segments] == [
        (1, 2**64 - 1, 0.0),
        (2, 2**64, 2.5),
        (3, 2**64 + 1, 5.0),
    ]


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "18446744073709551616", "9" * 5000])
def test_S2_a_media_sequence_that_is_no_number_is_refused(value):
    """Initialisation vectors depend on it: no guess."""
    assert refused(one(f"#EXT-X-MEDIA-SEQUENCE:{value}", "#EXTINF:5,")).fields["line"] == 2


def ranges(*segments: tuple[str, str]) -> list[ByteRange | None]:
    lines = [SegmentLine(uri=uri, byterange=byterange) for uri, byterange in segments]
    return [segment.byterange for segment in media(media_playlist(lines)).segments]


def test_S3_ranges_are_explicit_or_follow_the_one_before():
    """Without an offset a range starts where the one before ended; it applies to one URI only."""
    assert ranges(("a", "100@50"), ("a", "10"), ("a", "5"), ("b", "7@0"), ("c", "")) == [
        ByteRange(offset_bytes=50, length_bytes=100),
        ByteRange(offset_bytes=150, length_bytes=10),
        ByteRange(offset_bytes=160, length_bytes=5),
        ByteRange(offset_bytes=0, length_bytes=7),
        None,
    ]


@pytest.mark.parametrize(
    "segments",
    [
        [("a", "10")],
        [("a", "10@0"), ("b", "10")],
        [("a", ""), ("a", "10")],
        [("a", "10@0"), ("b", "10@0"), ("a", "10")],
        [("a", "0@0")],
        [("a", "-1@0")],
        [("a", "1@-1")],
        [("a", "x")],
        [("a", "9007199254740993@0")],
        [("a", "1@9007199254740992")],
        [("a", "9007199254740992@0"), ("a", "1")],
    ],
)
def test_S3_ranges_without_a_start_or_out_of_bounds_are_refused(segments):
    """Nothing is guessed: a wrong start is a wrong file."""
    with pytest.raises(PlaylistError) as caught:
        ranges(*segments)
    assert "BYTERANGE" in str(caught.value.fields["reason"])


def keys_of(*segments: SegmentLine) -> list[str | None]:
    playlist = media(media_playlist(segments))
    return [None if segment.key is None else segment.key.uri.rpartition("/")[2] for segment in playlist.segments]


def test_S5_a_key_applies_until_the_next():
    """Segments before the first key are clear, others take the last one."""
    assert keys_of(
        SegmentLine(uri="1"),
        SegmentLine(uri="2", keys=(KeyLine(uri="a"),)),
        SegmentLine(uri="3"),
        SegmentLine(uri="4", keys=(KeyLine(uri="b"),)),
    ) == [None, "a", "a", "b"]


def test_S5_among_several_keyformats_identity_is_used():
    """A DRM key beside an identity key, in any order, does not replace it."""
    drm = KeyLine(uri="skd://x", method="SAMPLE-AES", keyformat=FAIRPLAY)
    explicit = KeyLine(uri="b", keyformat="identity")
    assert keys_of(SegmentLine(uri="1", keys=(KeyLine(uri="a"), drm)), SegmentLine(uri="2", keys=(drm, explicit))) == [
        "a",
        "b",
    ]


def test_S6_none_ends_all_keys():
    """METHOD=NONE makes what follows clear, whatever was in force."""
    drm = KeyLine(uri="skd://x", method="SAMPLE-AES", keyformat=FAIRPLAY)
    assert keys_of(
        SegmentLine(uri="1", keys=(KeyLine(uri="a"), drm)), SegmentLine(uri="2", keys=(CLEAR,)), SegmentLine(uri="3")
    ) == ["a", None, None]


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ('#EXT-X-KEY:URI="k"', "EXT-X-KEY 缺少 METHOD"),
        ("#EXT-X-KEY", "EXT-X-KEY 缺少 METHOD"),
        ("#EXT-X-KEY:METHOD", "EXT-X-KEY 缺少 METHOD"),
        ("#EXT-X-KEY:METHOD=AES-128", "EXT-X-KEY 缺少 URI"),
        ('#EXT-X-KEY:METHOD=AES-128,URI=""', "EXT-X-KEY 缺少 URI"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xZZ', "EXT-X-KEY 的 IV 不是最多 32 位的十六进制数"),
        (f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{"0" * 33}', "EXT-X-KEY 的 IV 不是最多 32 位的十六进制数"),
        ("#EXT-X-MAP", "EXT-X-MAP 缺少 URI"),
        ('#EXT-X-MAP:BYTERANGE="1@0"', "EXT-X-MAP 缺少 URI"),
    ],
)
def test_S7_tags_we_cannot_do_without_are_refused_by_line(tag, reason):
    """A key or init section that cannot be read would make every segment wrong."""
    assert refused(one(tag, "#EXTINF:5,")).text() == f"播放列表第 2 行有误：{reason}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0x1", "1".rjust(32, "0")),
        ("0XABCDEF", "abcdef".rjust(32, "0")),
        ("000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f"),
        ("", "2a".rjust(32, "0")),
    ],
)
def test_S8_iv_is_the_attribute_or_the_number(written, expected):
    """Short ones are padded on the left; without one it is the Media Sequence Number."""
    playlist = media(media_playlist(segment_lines(1), media_sequence=42, key=KeyLine(uri="k", iv=written)))
    assert playlist.segments[0].iv.hex() == expected


def test_S8_the_number_counts_even_when_media_sequence_comes_late():
    """The IV follows MEDIA-SEQUENCE wherever it stands; that it stands late is told."""
    playlist = media(media_playlist(segment_lines(2), key=KeyLine(uri="k"), tail=["#EXT-X-MEDIA-SEQUENCE:9"]))
    assert [int.from_bytes(segment.iv) for segment in playlist.segments] == [9, 10]
    assert playlist.warnings == ("第 10 行：MEDIA-SEQUENCE 不在第一个分片之前",)


@pytest.mark.parametrize(
    ("key", "system", "named"),
    [
        (KeyLine(uri="skd://k", method="SAMPLE-AES", keyformat=FAIRPLAY), "FairPlay", f"FairPlay DRM, {FAIRPLAY}"),
        (KeyLine(uri="skd://k"), "FairPlay", "FairPlay DRM, identity"),
        (KeyLine(uri="k", method="SAMPLE-AES-CTR", keyformat=WIDEVINE), "Widevine", f"Widevine DRM, {WIDEVINE}"),
        (KeyLine(uri="k", keyformat="com.widevine"), "Widevine", "Widevine DRM, com.widevine"),
        (
            KeyLine(uri="k", keyformat="com.microsoft.playready"),
            "PlayReady",
            "PlayReady DRM, com.microsoft.playready",
        ),
        (KeyLine(uri="k", keyformat="urn:uuid:x"), "DRM", "DRM, urn:uuid:x"),
        (KeyLine(uri="k", keyformat="com.example.own"), "", "com.example.own"),
        (KeyLine(uri="k", method="SAMPLE-AES-CTR"), "", "identity"),
        (KeyLine(uri="k", method="AES-256"), "", "identity"),
    ],
)
def test_S10_encryption_we_cannot_undo_is_named(key, system, named):
    """Never CBC over what is not CBC: the error names method, DRM system, keyformat, line and tag."""
    error = refused(media_playlist(segment_lines(1), key=key), UnsupportedEncryption)
    assert error.fields == {
        "method": key.method,
        "keyformat": named,
        "system": system,
        "line": 5,
        "tag": "EXT-X-KEY",
    }
    assert error.text() == f"不支持的加密方式 {key.method}（{named}），第 5 行"


@pytest.mark.parametrize(("iv", "expected"), [("0x7", 7), ("", 42)])
def test_S10_sample_aes_with_an_identity_key_is_read(iv, expected):
    """Its key is 16 bytes at a URI like that of AES-128, and its IV follows S8; only the method differs."""
    key = KeyLine(uri="k", method="SAMPLE-AES", iv=iv)
    segment = media(media_playlist(segment_lines(1), media_sequence=42, key=key)).segments[0]
    assert (segment.key.method, segment.key.uri, int.from_bytes(segment.iv)) == ("SAMPLE-AES", BASE + "k", expected)


def test_S10_drm_that_no_segment_uses_does_not_matter():
    """Only a key in force on a segment stands in the way."""
    drm = KeyLine(uri="skd://k", method="SAMPLE-AES", keyformat=FAIRPLAY)
    assert keys_of(SegmentLine(uri="1", keys=(drm, CLEAR)), SegmentLine(uri="2", keys=(drm,), gap=True)) == [None, None]


def test_S11_a_map_stays_in_force_over_discontinuities():
    """Until the next MAP, not until the next splice; its range starts at 0 without an offset."""
    playlist = media(
        media_playlist(
            [
                SegmentLine(uri="0"),
                SegmentLine(uri="1", map=MapLine(uri="i1.mp4", byterange="700")),
                SegmentLine(uri="2", discontinuity=True),
                SegmentLine(uri="3", map=MapLine(uri="i2.mp4", byterange="5@10")),
            ]
        )
    )
    inits = [segment.init and (segment.init.uri, segment.init.byterange) for segment in playlist.segments]
    first = (BASE + "i1.mp4", ByteRange(offset_bytes=0, length_bytes=700))
    assert inits == [None, first, first, (BASE + "i2.mp4", ByteRange(offset_bytes=10, length_bytes=5))]


def test_S11_unknown_map_attributes_are_ignored():
    """Newer attributes do not lose the playlist."""
    assert media(one('#EXT-X-MAP:URI="i.mp4",NEW=1', "#EXTINF:5,")).segments[0].init.uri == BASE + "i.mp4"


def test_S11_maps_that_differ_only_in_the_query_are_told_apart():
    """Identities leave queries out; the ordinal keeps such maps from being one."""
    playlist = media(media_playlist([SegmentLine(uri=f"{i}", map=MapLine(uri=f"i.mp4?t={i % 2}")) for i in range(4)]))
    assert [segment.init.ordinal for segment in playlist.segments] == [0, 1, 0, 1]


def test_S12_a_map_is_encrypted_with_the_key_in_force_at_it():
    """A key after the map does not lock it; one before does."""
    segments = [SegmentLine(uri="1", keys=(KeyLine(uri="k", iv="0x7"),))]
    clear, locked = (
        media(media_playlist(segments, map=MapLine(uri="i.mp4"))),
        media(media_playlist(segment_lines(1), key=KeyLine(uri="k", iv="0x7"), map=MapLine(uri="i.mp4"))),
    )
    assert clear.segments[0].init.key is None and clear.segments[0].init.iv is None
    assert locked.segments[0].init.key.uri == BASE + "k"
    assert int.from_bytes(locked.segments[0].init.iv) == 7


def test_S12_an_encrypted_map_without_iv_uses_the_next_number_and_warns():
    """As ffmpeg does; the specification demands an IV."""
    playlist = media(media_playlist(segment_lines(2), media_sequence=5, key=KeyLine(uri="k"), map=MapLine(uri="i.mp4")))
    assert [int.from_bytes(segment.init.iv) for segment in playlist.segments] == [5, 5]
    assert playlist.warnings == ("第 7 行：加密的初始化段没有 IV，使用下一个分片的序号",)


def test_S13_dates_are_carried_forward():
    """A date applies to the next segment and goes on by durations; junk is a warning."""
    lines = [
        SegmentLine(uri="1"),
        SegmentLine(uri="2", program_date_time="2024-05-01T10:00:00.500Z"),
        SegmentLine(uri="3"),
        SegmentLine(uri="4", program_date_time="yesterday"),
    ]
    playlist = media(media_playlist(lines))
    assert [segment.program_date_time for segment in playlist.segments] == [
        None,
        datetime(2024, 5, 1, 10, 0, 0, 500000, UTC),
        datetime(2024, 5, 1, 10, 0, 6, 500000, UTC),
        datetime(2024, 5, 1, 10, 0, 12, 500000, UTC),
    ]
    assert len(playlist.warnings) == 1


def test_S13_a_date_at_the_end_of_time_does_not_overflow():
    """The calendar ends; the playlist does not."""
    lines = [SegmentLine(uri="1", program_date_time="9999-12-31T23:59:59Z"), SegmentLine(uri="2")]
    assert media(media_playlist(lines)).segments[1].program_date_time is None


def test_S14_gaps_are_marked():
    """A declared gap is for one segment."""
    playlist = media(media_playlist([SegmentLine(uri="1"), SegmentLine(uri="2", gap=True), SegmentLine(uri="3")]))
    assert [segment.gap for segment in playlist.segments] == [False, True, False]


def test_S15_bitrate_applies_until_the_next_and_not_to_ranges():
    """kbit/s in the tag, bit/s in the value; junk is told and ends the one before."""
    lines = [
        SegmentLine(uri="1"),
        SegmentLine(uri="2", before=("#EXT-X-BITRATE:1500",)),
        SegmentLine(uri="3", byterange="7@0"),
        SegmentLine(uri="4"),
        SegmentLine(uri="5", before=("#EXTINF:6,", "#EXT-X-BITRATE:2000"), duration_s=None),
        SegmentLine(uri="6", before=("#EXT-X-BITRATE:abc",)),
    ]
    playlist = media(media_playlist(lines, tail=["#EXT-X-BITRATE:9"]))
    assert [segment.bitrate for segment in playlist.segments] == [None, 1_500_000, None, 1_500_000, 2_000_000, None]
    assert playlist.warnings == ("第 18 行：EXT-X-BITRATE 无法识别，已忽略",)


def test_S17_S18_marks_are_kept_as_written():
    """Ad and date marks go with the segment they stand before; those at the end are not lost."""
    lines = [
        SegmentLine(uri="1", before=("#EXT-X-CUE-OUT:30", '#EXT-X-DATERANGE:ID="a",DURATION="x"')),
        SegmentLine(uri="2", before=("#EXT-X-CUE-OUT-CONT:6/30", "#EXT-OATCLS-SCTE35:/DA0AAAA")),
    ]
    playlist = media(media_playlist(lines, tail=["#EXT-X-CUE-IN"]))
    assert [segment.marks for segment in playlist.segments] == [
        ("#EXT-X-CUE-OUT:30", '#EXT-X-DATERANGE:ID="a",DURATION="x"'),
        ("#EXT-X-CUE-OUT-CONT:6/30", "#EXT-OATCLS-SCTE35:/DA0AAAA"),
    ]
    assert (playlist.trailing_marks, playlist.warnings) == (
        ("#EXT-X-CUE-IN",),
        ("第 6 行：EXT-X-DATERANGE 缺少 START-DATE", "第 6 行：EXT-X-DATERANGE 的属性无法识别，已忽略"),
    )


# -- Media playlists -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"), [("10", 10.0), ("10.0", 10.0), ("x", None), ("nan", None), ("-1", None)]
)
def test_L1_target_durations_are_tolerated(value, expected):
    """Fractions are read, junk is a warning."""
    playlist = media(media_playlist(segment_lines(1), target_duration_s=value))
    assert playlist.target_duration_s == expected
    assert bool(playlist.warnings) == (expected is None)


def test_L2_a_second_media_sequence_does_not_renumber():
    """The first counts, the second is told."""
    playlist = media(media_playlist(segment_lines(1), media_sequence=3, tail=["#EXT-X-MEDIA-SEQUENCE:9"]))
    assert (playlist.media_sequence, len(playlist.warnings)) == (3, 1)


def test_L3_discontinuity_sequence_counts_every_tag():
    """The header plus the number of tags before the segment, two in a row included."""
    lines = [
        SegmentLine(uri="1"),
        SegmentLine(uri="2", discontinuity=True),
        SegmentLine(uri="3"),
        SegmentLine(uri="4", discontinuity=True, before=("#EXT-X-DISCONTINUITY",)),
    ]
    playlist = media(media_playlist(lines, discontinuity_sequence=10))
    assert [(s.discontinuity, s.discontinuity_sequence) for s in playlist.segments] == [
        (False, 10),
        (True, 11),
        (False, 11),
        (True, 13),
    ]


def test_L4_endlist_may_stand_anywhere():
    """At the top it ends nothing but the growing."""
    playlist = media(media_playlist(segment_lines(2), ended=False, playlist_type="", head=["#EXT-X-ENDLIST"]))
    assert (playlist.ended, playlist.complete, len(playlist.segments)) == (True, True, 2)


@pytest.mark.parametrize(
    ("playlist_type", "ended", "expected", "complete", "warned"),
    [
        ("VOD", False, PlaylistType.VOD, True, True),
        ("vod", True, PlaylistType.VOD, True, False),
        ("EVENT", False, PlaylistType.EVENT, False, False),
        ("", False, None, False, False),
        ("LIVE", True, None, True, True),
    ],
)
def test_L5_playlist_type(playlist_type, ended, expected, complete, warned):
    """VOD without ENDLIST is complete, with a warning; EVENT still grows."""
    playlist = media(media_playlist(segment_lines(1), playlist_type=playlist_type, ended=ended))
    assert (playlist.playlist_type, playlist.complete) == (expected, complete)
    assert bool(playlist.warnings) == warned


def test_L6_i_frames_only_is_told():
    """It is not the programme."""
    playlist = media(media_playlist(segment_lines(1), head=["#EXT-X-I-FRAMES-ONLY"]))
    assert playlist.i_frames_only and playlist.warnings == ("列表只含关键帧（I-FRAMES-ONLY）",)


def test_L11_a_delta_update_is_not_taken_for_the_whole():
    """Its first segments are missing: refused."""
    error = refused(one("#EXT-X-SKIP:SKIPPED-SEGMENTS=3", "#EXTINF:5,"))
    assert (error.fields["line"], error.fields["tag"], error.fields["kind"]) == (2, "EXT-X-SKIP", "delta-update")
    assert "增量更新" in error.text()


# -- Multivariant playlists ------------------------------------------------------------------------------------------


def test_M1_variants_are_read():
    """All fields a choice depends on."""
    playlist = master(
        master_playlist(
            [
                VariantLine(
                    uri="hi/index.m3u8",
                    bandwidth=5_000_000,
                    average_bandwidth=4_000_000,
                    resolution=(1920, 1080),
                    frame_rate=29.97,
                    codecs="avc1.640028, mp4a.40.2",
                    audio="aud",
                    subtitles="sub",
                )
            ]
        )
    )
    variant = playlist.variants[0]
    assert (variant.uri, variant.bandwidth, variant.average_bandwidth) == (BASE + "hi/index.m3u8", 5_000_000, 4_000_000)
    assert (variant.width, variant.height, variant.frame_rate) == (1920, 1080, 29.97)
    assert variant.codecs == ("avc1.640028", "mp4a.40.2")
    assert (variant.audio_group, variant.subtitles_group, variant.line) == ("aud", "sub", 3)


@pytest.mark.parametrize(
    ("attributes", "bandwidth"),
    [
        ("", 0),
        ("BANDWIDTH=x", 0),
        ("BANDWIDTH=1.5e6", 1_500_000),
        ("BANDWIDTH=100,RESOLUTION=auto", 100),
        ("BANDWIDTH=100,AVERAGE-BANDWIDTH=x,PROGRAM-ID=y", 100),
    ],
)
def test_M1_sloppy_variants_are_tolerated(attributes, bandwidth):
    """A missing or unreadable hint is a warning at most."""
    playlist = master(one(f"#EXT-X-STREAM-INF:{attributes}", uri="v.m3u8"))
    assert [variant.bandwidth for variant in playlist.variants] == [bandwidth]


def test_M1_tags_and_uris_without_each_other_are_told():
    """A STREAM-INF without URI and a URI without STREAM-INF are no variants."""
    playlist = master(
        "#EXTM3U\nlost.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=2\nv.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=3\n"
    )
    assert [variant.bandwidth for variant in playlist.variants] == [2]
    assert playlist.warnings == (
        "第 2 行：链接之前没有 STREAM-INF，已忽略",
        "第 3 行：STREAM-INF 之后没有链接，已忽略（共 2 处）",
    )


def test_M3_renditions_are_read():
    """Audio without URI is inside the variant; captions never have one."""
    playlist = master(
        master_playlist(
            [VariantLine(uri="v.m3u8")],
            renditions=[
                RenditionLine(group="a", name="English, UK", uri="en.m3u8", language="en", default=True),
                RenditionLine(group="a", name="muxed", autoselect=True),
                RenditionLine(group="c", name="cc", type="CLOSED-CAPTIONS", uri="file:///x"),
                RenditionLine(group="s", name="no uri", type="SUBTITLES"),
            ],
        )
    )
    assert [(r.type, r.name, r.uri, r.language, r.default, r.autoselect) for r in playlist.renditions] == [
        ("AUDIO", "English, UK", BASE + "en.m3u8", "en", True, False),
        ("AUDIO", "muxed", None, None, False, True),
        ("CLOSED-CAPTIONS", "cc", None, None, False, False),
    ]
    assert len(playlist.warnings) == 1


def test_M6_i_frame_and_image_streams_are_no_variants():
    """Not even with broken attributes."""
    text = master_playlist(
        [VariantLine(uri="v.m3u8")],
        head=["#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=x", '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"'],
    )
    assert [variant.uri for variant in master(text).variants] == [BASE + "v.m3u8"]


def test_M7_session_tags_do_not_lose_the_playlist():
    """FORMAT=JSON is valid and makes the library's model raise."""
    tag = '#EXT-X-SESSION-DATA:DATA-ID="x",URI="d.json",FORMAT=JSON'
    assert len(master(master_playlist([VariantLine(uri="v")], head=[tag, "#EXT-X-SESSION-KEY:METHOD"])).variants) == 1


# -- Sloppy input and limits -----------------------------------------------------------------------------------------

SLOPPY_TAGS = [
    "#EXT-X-PLAYLIST-TYPE",
    "#EXT-X-KEY:METHOD=NONE,FOO",
    "#EXT-X-DATERANGE:DURATION=x",
    "#EXT-X-START:FOO=1,TIME-OFFSET=x",
    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,NEW=1",
    "#EXT-X-PART-INF:PART-TARGET=x",
    "#EXT-X-PART:URI=x,NEW=1",
    "#EXT-X-PRELOAD-HINT:NEW=1",
    "#EXT-X-CONTENT-STEERING:NEW=1",
    "#EXT-X-RENDITION-REPORT:URI=x",
    "#EXT-X-BITRATE",
    "#EXT-X-ALLOW-CACHE",
    "#EXT-X-PROGRAM-DATE-TIME",
    "#EXT-X-DISCONTINUITY:1",
    "#EXT-X-CUE-OUT-CONT:,,=",
    "#EXT-OATCLS-SCTE35",
    "#EXT-X-ASSET",
    "#EXT-X-TILES:RESOLUTION",
]


@pytest.mark.parametrize("tag", SLOPPY_TAGS)
def test_tags_that_break_the_library_do_not_break_us(tag):
    """Every tag that makes the library's own readers raise leaves the segments readable."""
    assert [s.uri for s in media(media_playlist(segment_lines(1), head=[tag])).segments] == [BASE + "seg00001.ts"]


def test_limits_hold_at_their_edges():
    """At a limit all is well, one over it is too large; never a crash or a wait."""
    at_limit = "#EXTM3U\n#EXTINF:5,\n" + "a" * (16 * 1024) + "\n"
    assert len(media(at_limit).segments) == 1
    too_large = {
        "字节数": b"#EXTM3U\n" + b"#" * (32 * 1024 * 1024),
        "行数": b"#EXTM3U\n" + b"\n" * 2_000_000,
        "第 3 行的字节数": "#EXTM3U\n#EXTINF:5,\n" + "a" * (16 * 1024 + 1),
        "码流数": master_playlist([VariantLine(uri="v")] * 1_001),
        "分片数": "#EXTM3U\n" + "a\n" * 200_001,
        "密钥数": "#EXTM3U\n" + "".join(f'#EXT-X-KEY:METHOD=AES-128,URI="{i}"\n' for i in range(10_001)),
        "初始化段数": "#EXTM3U\n" + "".join(f'#EXT-X-MAP:URI="{i}"\n' for i in range(10_001)),
    }
    assert {what: refused(body, PlaylistTooLarge).fields["what"] for what, body in too_large.items()} == {
        what: what for what in too_large
    }
    assert len(master(master_playlist([VariantLine(uri="v")] * 1_000)).variants) == 1_000


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_the_length_of_lines_is_judged_in_linear_time(end):
    """A playlist full of lines just short enough takes no noticeable time, and a longer one is found wherever it is."""
    start = time.process_time()
    comment = "#" + "a" * (16 * 1024 - 1) + end
    body = "#EXTM3U" + end + 300 * (comment + 2 * end) + "a.ts"
    assert len(media(body).segments) == 1
    assert refused(body + end + "#a" + comment, PlaylistTooLarge).fields["what"] == "第 903 行的字节数"
    assert refused("#a" + comment + body, PlaylistTooLarge).fields["what"] == "第 1 行的字节数"
    assert time.process_time() - start < 2


def test_many_ivs_of_one_key_are_one_key():
    """The limit counts what must be fetched, not tags."""
    tags = "".join(f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{i:x}\n#EXTINF:1,\n{i}.ts\n' for i in range(10_001))
    assert len(media("#EXTM3U\n" + tags).segments) == 10_001


def test_attribute_lists_are_read_in_linear_time():
    """No line of the allowed length takes noticeable time, whatever quotes and commas it holds."""
    start = time.process_time()
    for filling in (',"', '="', "=,", "'\"", ",,", '"', "=", 'A="B"C,'):
        text = "#EXTM3U\n#EXT-X-STREAM-INF:" + filling * (16_000 // len(filling)) + "\nv.m3u8\n"
        assert len(master(text).variants) == 1
    assert time.process_time() - start < 2


def test_secrets_stay_out_of_reprs_and_errors():
    """Tokens in links are shown neither by values nor by errors."""
    playlist = media(
        media_playlist([SegmentLine(uri="a.ts?token=s3cret")], key=KeyLine(uri="k?token=s3cret", iv="0x5ec"))
    )
    assert "s3cret" not in repr(playlist.segments) and "5ec" not in repr(playlist.segments)
    for uri in ("http://h:x/a?token=s3cret", "ftp://h/a?token=s3cret", "a\\b?token=s3cret"):
        with pytest.raises(M3u8svcError) as caught:
            media(media_playlist([SegmentLine(uri=uri)]))
        assert "s3cret" not in caught.value.text("zh") + str(caught.value)
