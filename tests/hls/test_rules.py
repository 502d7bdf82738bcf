"""
Rules of the conformance list that need more than a playlist and its meaning (tests/conformance has those): limits,
texts, what leads where. Names are those of the list.
"""

import gzip
import time
import tracemalloc
from datetime import UTC, datetime

import pytest

from m3u8svc.errors import PlaylistError, PlaylistTooLarge, UnsupportedEncryption
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_download
from m3u8svc.hls.playlist import DateRange, MasterPlaylist, MediaPlaylist
from m3u8svc.hls.select import choose, choose_audio, parse_languages, parse_variant_choice
from m3u8svc.hls.steering import alternatives
from m3u8svc.tasks.wire import Inflate
from m3u8svc.testing.playlists import (
    CLEAR,
    KeyLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
    segment_lines,
)

URL = "https://cdn.example/vod/1/index.m3u8?token=abc"
BASE = "https://cdn.example/vod/1/"
FAIRPLAY = "com.apple.streamingkeydelivery"


def media(text: str, **given: object) -> MediaPlaylist:
    playlist = parse_playlist(text, URL, **given)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def master(text: str) -> MasterPlaylist:
    playlist = parse_playlist(text, URL)
    assert isinstance(playlist, MasterPlaylist)
    return playlist


def refused(text: str, **given: object) -> PlaylistError:
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(text, URL, **given)
    return caught.value


def defined(*definitions: str, uri: str = "a.ts") -> str:
    """A playlist whose definitions stand from line 5 on, then one URI."""
    return media_playlist([SegmentLine(uri=uri)], head=[f"#EXT-X-DEFINE:{each}" for each in definitions])


def test_G5_a_relative_link_without_a_base_asks_for_one() -> None:
    """Pasted text: the line, and what to give."""
    text = media_playlist([SegmentLine(uri="a/b.ts?token=s3cret")])
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(text, "")
    assert caught.value.text() == ("播放列表第 6 行有误：是相对链接，但没有播放列表的地址，请填写 base_url：a/b.ts")


def test_G5_a_base_given_by_hand_is_not_the_playlists_address() -> None:
    """It is for links; what the playlist is called, and its query, stay."""
    playlist = media(media_playlist(segment_lines(1)), base_url="https://mirror.example/x/")
    assert (playlist.url, playlist.segments[0].uri) == (URL, "https://mirror.example/x/seg00001.ts")
    text = media_playlist(segment_lines(1), head=['#EXT-X-DEFINE:QUERYPARAM="token"'])
    assert len(media(text, base_url="https://mirror.example/x/").segments) == 1


@pytest.mark.parametrize("base", ["ftp://h/", "file:///srv/", "/srv/x", "https://"])
def test_G10_a_base_that_leads_nowhere_is_told_by_line(base: str) -> None:
    """No other scheme by this door either."""
    assert refused(media_playlist(segment_lines(1)), base_url=base).fields["line"] == 6


def test_G11_a_gzip_body_is_decoded_on_the_wire() -> None:
    """Before parsing, with its bound; the label is not needed."""
    inflate = Inflate("", URL)
    pieces = [*inflate.feed(gzip.compress(media_playlist(segment_lines(3)).encode())), *inflate.finish()]
    assert len(media(b"".join(pieces).decode()).segments) == 3


def test_G12_definitions_lead_from_the_multivariant_playlist_to_the_media_playlist() -> None:
    """What one defines the other imports."""
    text = master_playlist(
        [VariantLine(uri="v.m3u8?{$t}")],
        head=['#EXT-X-DEFINE:NAME="t",VALUE="a=1"', '#EXT-X-DEFINE:QUERYPARAM="token"'],
    )
    playlist = master(text)
    assert playlist.variants[0].uri == BASE + "v.m3u8?a=1"
    assert playlist.definitions == {"t": "a=1", "token": "abc"}
    led = media(defined('IMPORT="token"', 'IMPORT="t"', uri="a.ts?{$t}&{$token}"), definitions=playlist.definitions)
    assert led.segments[0].uri == BASE + "a.ts?a=1&abc"


def test_G12_definitions_stay_out_of_reprs() -> None:
    """They hold tokens; and a playlist with some can be hashed."""
    playlist = master(master_playlist([VariantLine(uri="v")], head=['#EXT-X-DEFINE:NAME="t",VALUE="s3cret"']))
    assert "s3cret" not in repr(playlist)
    assert hash(playlist) == hash(playlist)


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        ('NAME="v"', "EXT-X-DEFINE 定义变量 v 缺少 VALUE"),
        ('IMPORT="v"', "EXT-X-DEFINE 导入变量 v，但没有通向它的多码流列表"),
        ('QUERYPARAM="v"', "EXT-X-DEFINE 播放列表的地址没有参数 v，或其值为空"),
        ('NAME="v!",VALUE=""', "EXT-X-DEFINE 的变量名无效：v!"),
        ('NAME="",VALUE=""', "EXT-X-DEFINE 的变量名无效："),
        ('NAME="v",IMPORT="v"', "EXT-X-DEFINE 同时含有 NAME、IMPORT"),
        ("", "EXT-X-DEFINE 缺少 NAME、IMPORT 或 QUERYPARAM"),
    ],
)
def test_G12_define_says_what_is_wrong(definition: str, text: str) -> None:
    """By line, tag and variable."""
    error = refused(defined(definition))
    assert f"播放列表第 5 行有误：{text}" == error.text()
    assert (error.fields["line"], error.fields["tag"]) == (5, "EXT-X-DEFINE")


def test_G13_an_undefined_variable_is_named() -> None:
    """By line, tag and name."""
    text = media_playlist(segment_lines(1), key=KeyLine(uri="{$host}/k"))
    assert "播放列表第 5 行有误：EXT-X-KEY 使用了未定义的变量 host" == refused(text).text()


def test_G13_a_line_stays_a_line() -> None:
    """The length of a line holds after replacing, too, in links and in attributes, and is judged before it is made."""
    value = "x" * 16_000
    assert len(media(defined(f'NAME="a",VALUE="{value}"', uri="{$a}.ts")).segments[0].uri) > 16_000
    for uri in ("{$a}{$a}", "{$a}" * 4_000):
        error = refused(defined(f'NAME="a",VALUE="{value}"', uri=uri))
        assert isinstance(error, PlaylistTooLarge) and error.fields["line"] == 7


def test_G13_what_is_too_long_is_never_made() -> None:
    """Sixty megabytes in one line are refused without taking them."""
    text = defined(f'NAME="a",VALUE="{"x" * 16_000}"', uri="{$a}" * 4_000)
    tracemalloc.start()
    refused(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000


def test_G13_a_playlist_stays_a_playlist() -> None:
    """Ten thousand lines of a long variable are refused early, in bounded time and memory."""
    lines = [SegmentLine(uri=f"{{$a}}{number}.ts") for number in range(10_000)]
    text = media_playlist(lines, head=[f'#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 15_000}"'])
    begun = time.process_time()
    assert isinstance(refused(text), PlaylistTooLarge)
    assert time.process_time() - begun < 2


def test_G13_long_links_of_many_segments_are_bounded() -> None:
    """A long base before short names makes much of little, too."""
    text = media_playlist(segment_lines(60_000))
    with pytest.raises(PlaylistTooLarge):
        parse_playlist(text, f"https://cdn.example/{'x' * 8_000}/index.m3u8")


def test_G12_many_query_parameters_take_no_time() -> None:
    """The query is decoded once, not once per definition; of a parameter given twice the first with a value counts."""
    url = f"{BASE}index.m3u8?" + "&".join(["p1=", *(f"p{number}=%61" for number in range(4_000)), "p1=b"])
    head = [f'#EXT-X-DEFINE:QUERYPARAM="p{number}"' for number in range(4_000)]
    begun = time.process_time()
    playlist = parse_playlist(media_playlist([SegmentLine(uri="{$p1}.ts")], head=head), url)
    assert time.process_time() - begun < 1
    assert isinstance(playlist, MediaPlaylist) and playlist.segments[0].uri == BASE + "a.ts"


def test_G14_start_and_independent_segments_change_nothing() -> None:
    """Whatever stands in them."""
    plain = media(media_playlist(segment_lines(3)))
    tags = ["#EXT-X-START:TIME-OFFSET=9,PRECISE=YES", "#EXT-X-INDEPENDENT-SEGMENTS"]
    other = media(media_playlist(segment_lines(3), tail=tags))
    assert plain == other


def test_S4_a_splice_counts_once_for_its_segment() -> None:
    """Twice before one segment is one splice, but two in the sequence."""
    lines = [SegmentLine(uri="1"), SegmentLine(uri="2", discontinuity=True, before=("#EXT-X-DISCONTINUITY",))]
    assert [(s.discontinuity, s.discontinuity_sequence) for s in media(media_playlist(lines)).segments] == [
        (False, 0),
        (True, 2),
    ]


def test_S5_drm_beside_identity_is_no_obstacle_in_any_order() -> None:
    """Four formats at once, one of which is ours."""
    drm = [
        KeyLine(uri="skd://x", method="SAMPLE-AES", keyformat=FAIRPLAY),
        KeyLine(uri="data:,x", method="SAMPLE-AES", keyformat="com.microsoft.playready"),
        KeyLine(uri="data:,x", method="SAMPLE-AES-CTR", keyformat="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"),
    ]
    ours = KeyLine(uri="k", iv="0x1", keyformat="Identity")
    for place in range(4):
        keys = (*drm[:place], ours, *drm[place:])
        (segment,) = media(media_playlist([SegmentLine(uri="1", keys=keys)])).segments
        assert segment.key is not None and (segment.key.uri, segment.key.keyformat) == (BASE + "k", "identity")


def test_S5_drm_after_none_is_an_obstacle_again() -> None:
    """NONE ends the identity key as well: what follows is DRM alone."""
    drm = KeyLine(uri="skd://x", method="SAMPLE-AES", keyformat=FAIRPLAY)
    lines = [SegmentLine(uri="1", keys=(KeyLine(uri="k"),)), SegmentLine(uri="2", keys=(CLEAR, drm))]
    error = refused(media_playlist(lines))
    assert isinstance(error, UnsupportedEncryption)
    assert "不支持的加密方式 SAMPLE-AES（FairPlay DRM, com.apple.streamingkeydelivery），第 9 行" == error.text()
    assert "unsupported encryption SAMPLE-AES (FairPlay DRM, com.apple.streamingkeydelivery) on line 9" == str(error)


def test_S9_one_uri_is_one_key_of_the_plan() -> None:
    """However often it is named, and with whatever IV."""
    lines = [SegmentLine(uri=f"{i}", keys=(KeyLine(uri="k" if i % 2 else "./k", iv=f"0x{i}"),)) for i in range(1, 5)]
    assert [BASE + "k"] == [key.uri for key in plan_download(media(media_playlist(lines)), {}).keys]


def test_S16_parts_make_no_segments() -> None:
    """Low-latency lists are read by their whole segments."""
    tags = ["#EXT-X-PART:DURATION=1", '#EXT-X-PART:DURATION=x,URI="file:///p",BYTERANGE="junk",GAP=YES', "#EXT-X-PART"]
    playlist = media(media_playlist(segment_lines(2), head=tags, tail=tags))
    assert (len(playlist.segments), playlist.segments[0].gap, playlist.warnings) == (2, False, ())


def test_S17_date_ranges_are_values() -> None:
    """Merged by ID, in order of their first tags; variables count in them; links in them are not shown."""
    head = [
        '#EXT-X-DEFINE:NAME="ads",VALUE="https://ads.example/s3cret"',
        '#EXT-X-DATERANGE:ID="a",START-DATE="2024-05-01T10:00:00Z",CLASS="com.apple.hls.interstitial"',
        '#EXT-X-DATERANGE:ID="b",START-DATE="2024-05-01T11:00:00Z",END-ON-NEXT=YES,CLASS="x"',
        '#EXT-X-DATERANGE:ID="a",DURATION=30,X-ASSET-URI="{$ads}/1.m3u8",SCTE35-OUT=0xFC',
    ]
    playlist = media(media_playlist(segment_lines(1), head=head))
    assert playlist.dateranges == (
        DateRange(
            id="a",
            class_name="com.apple.hls.interstitial",
            start=datetime(2024, 5, 1, 10, tzinfo=UTC),
            duration_s=30.0,
            scte35_out=b"\xfc",
            client={"X-ASSET-URI": "https://ads.example/s3cret/1.m3u8"},
            line=6,
        ),
        DateRange(id="b", class_name="x", start=datetime(2024, 5, 1, 11, tzinfo=UTC), end_on_next=True, line=7),
    )
    assert [each.interstitial for each in playlist.dateranges] == [True, False]
    assert "s3cret" not in repr(playlist.dateranges) and hash(playlist) == hash(playlist)
    assert playlist.warnings == ()


def test_S17_there_is_an_end_to_date_ranges() -> None:
    """A hundred thousand tags, not more."""
    text = "#EXTM3U\n" + "#EXT-X-DATERANGE:\n" * 100_001
    assert refused(text).fields["what"] == "DATERANGE 数"


def test_M2_a_redundant_variant_differs_in_nothing_but_its_uri() -> None:
    """Another group, codec or rate is another variant."""
    base = VariantLine(uri="1", bandwidth=5, codecs="avc1.4d401e", audio="a")
    others = [
        VariantLine(uri="2", bandwidth=6, codecs="avc1.4d401e", audio="a"),
        VariantLine(uri="3", bandwidth=5, codecs="avc1.64001f", audio="a"),
        VariantLine(uri="4", bandwidth=5, codecs="avc1.4d401e", audio="b"),
        VariantLine(uri="5", bandwidth=5, codecs="avc1.4d401e", audio="a"),
        base,
    ]
    playlist = master(master_playlist([base, *others]))
    assert [BASE + "5"] == [each.uri for each in alternatives(playlist, playlist.variants[0])]


def test_M4_a_wanted_language_goes_before_the_default() -> None:
    """Else the default, else what may be chosen by itself, else the first; muxed in when it has no URI."""
    renditions = [
        RenditionLine(group="a", name="en", language="en", default=True, uri="en.m3u8"),
        RenditionLine(group="a", name="fr", language="fr"),
    ]
    playlist = master(master_playlist([VariantLine(uri="v", audio="a")], renditions=renditions))
    wanted = [parse_languages(language) for language in ("", "fr", "de")]
    chosen = [choose_audio(playlist, playlist.variants[0], each).renditions[0] for each in wanted]
    assert [(each.name, each.uri) for each in chosen if each] == [
        ("en", BASE + "en.m3u8"),
        ("fr", None),
        ("en", BASE + "en.m3u8"),
    ]


def test_M5_renditions_of_one_programme_count_splices_alike() -> None:
    """Numbers and segment lengths differ; the discontinuity sequence and the dates are what aligns."""
    date = "2024-05-01T10:00:00Z"
    video = media(
        media_playlist(
            [
                SegmentLine(uri="v1", duration_s=6.0, program_date_time=date),
                SegmentLine(uri="v2", duration_s=4.0, discontinuity=True),
            ],
            media_sequence=10,
            discontinuity_sequence=2,
        )
    )
    audio = media(
        media_playlist(
            [SegmentLine(uri=f"a{i}", duration_s=2.0, program_date_time=date if i == 0 else "") for i in range(3)]
            + [SegmentLine(uri="a4", duration_s=4.0, discontinuity=True)],
            media_sequence=900,
            discontinuity_sequence=2,
        )
    )
    last = [playlist.segments[-1] for playlist in (video, audio)]
    assert last[0].program_date_time == last[1].program_date_time
    assert [3, 3] == [segment.discontinuity_sequence for segment in last]
    assert [2, 2] == [playlist.discontinuity_sequence for playlist in (video, audio)]


def test_M7_there_is_an_end_to_session_keys() -> None:
    """They are keys like others."""
    head = [f'#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k{number}"' for number in range(10_001)]
    assert refused(master_playlist([VariantLine(uri="v")], head=head)).fields["what"] == "密钥数"


def test_M9_sound_alone_is_picked_last() -> None:
    """Unless a picture size says that it is not alone."""
    variants = [
        VariantLine(uri="sound", bandwidth=9, codecs="mp4a.40.2"),
        VariantLine(uri="odd", bandwidth=5, codecs="mp4a.40.2", resolution=(640, 360)),
        VariantLine(uri="film", bandwidth=1, codecs="avc1.4d401e,mp4a.40.2"),
    ]
    assert choose(master(master_playlist(variants)), parse_variant_choice("best")).uri == BASE + "odd"
    assert choose(master(master_playlist(variants[:1])), parse_variant_choice("best")).uri == BASE + "sound"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("#EXTINF:abc,", "EXTINF 时长无效：abc"),
        ("#EXT-X-BYTERANGE:x", "EXT-X-BYTERANGE 的 BYTERANGE 无效：x"),
        ("#EXT-X-MEDIA-SEQUENCE:x", "EXT-X-MEDIA-SEQUENCE 不是有效的整数：x"),
        ('#EXT-X-MAP:URI="i",BYTERANGE="x"', "EXT-X-MAP 的 BYTERANGE 无效：x"),
        ('#EXT-X-MAP:URI="a\\b"', "EXT-X-MAP 链接含有控制字符或反斜杠：a\\b"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="ftp:x"', "EXT-X-KEY 不支持的链接类型“ftp”：ftp:x"),
    ],
)
def test_errors_name_line_and_tag(line: str, text: str) -> None:
    """What is wrong can be found in the playlist."""
    error = refused(f"#EXTM3U\n{line}\n#EXTINF:5,\na.ts\n")
    assert f"播放列表第 2 行有误：{text}" == error.text()
    assert error.fields["tag"] == line[1:].partition(":")[0]
