"""
What the parser says to people: each refusal with its line, its tag and its reason, each warning in its words.
"""

import re
from collections.abc import Mapping

import pytest

from m3u8svc.errors import (
    BodyTooLarge,
    InvalidUrl,
    M3u8svcError,
    NotMedia,
    PlaylistError,
    PlaylistTooLarge,
    SegmentError,
    SelectionError,
)
from m3u8svc.hls.decrypt import read_data_uri
from m3u8svc.hls.groups import missing_groups, parse_groups, skip_groups
from m3u8svc.hls.media import check_init
from m3u8svc.hls.overrides import BadOverride, Overrides, override_media, parse_iv_text, parse_key_text
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist, Rendition, Variant
from m3u8svc.hls.select import (
    choose,
    choose_audio,
    parse_languages,
    parse_subtitle_files,
    parse_variant_choice,
    variant_text,
)
from m3u8svc.hls.skip import parse_skip_expression, select_skips
from m3u8svc.hls.steering import PathwayClone, SteeringManifest, with_clones
from m3u8svc.wording import Said, in_english

URL = "https://h.example/v/i.m3u8?token=abc&empty="
CHINESE = re.compile("[\u3000-\u9fff\uff00-\uffef]")
"""Its signs and its punctuation."""


def one(*tags: str, uri: str = "a.ts") -> str:
    """A playlist with `tags` from line 2 on, then one segment."""
    return "\n".join(["#EXTM3U", *tags, "#EXT-X-TARGETDURATION:5", "#EXTINF:5,", uri, "#EXT-X-ENDLIST"])


REFUSED: list[tuple[str, int, str, str, str]] = [
    # -- links
    (one(uri="a\\b?x=1"), 4, "", "bad-link", "链接含有控制字符或反斜杠：a\\b"),
    (one(uri="http:///a"), 4, "", "bad-link", "链接没有主机名：http:///a"),
    (one(uri="http://:80/a"), 4, "", "bad-link", "链接没有主机名：http://:80/a"),
    (one(uri="http://a b/"), 4, "", "bad-link", "链接的主机或端口无效：http://a b/"),
    (one(uri="http://h:x/"), 4, "", "bad-link", "链接的主机或端口无效：http://h:x/"),
    (one(uri="ftp://h/a"), 4, "", "unsupported-scheme", "不支持的链接类型“ftp”：ftp://h/a"),
    (
        one(uri="abcdefghijklmnopqrstuvw:a"),
        4,
        "",
        "unsupported-scheme",
        "不支持的链接类型“abcdefghijklmnopqrst”：abcdefghijklmnopqrstuvw:a",
    ),
    (one(uri="ftp://" + "x" * 54), 4, "", "unsupported-scheme", f"不支持的链接类型“ftp”：ftp://{'x' * 54}"),
    (one(uri="ftp://" + "x" * 55), 4, "", "unsupported-scheme", f"不支持的链接类型“ftp”：ftp://{'x' * 54}…"),
    # -- numbers
    (one("#EXT-X-MEDIA-SEQUENCE:x"), 2, "EXT-X-MEDIA-SEQUENCE", "bad-number", "不是有效的整数：x"),
    (one("#EXT-X-DISCONTINUITY-SEQUENCE:-1"), 2, "EXT-X-DISCONTINUITY-SEQUENCE", "bad-number", "不是有效的整数：-1"),
    ("#EXTM3U\n#EXTINF:-1,\na.ts", 2, "EXTINF", "bad-number", "时长无效：-1"),
    ("#EXTM3U\n#EXTINF:10000001,\na.ts", 2, "EXTINF", "bad-number", "时长无效：10000001"),
    # -- ranges
    (one("#EXT-X-BYTERANGE:x"), 2, "EXT-X-BYTERANGE", "bad-byterange", "的 BYTERANGE 无效：x"),
    (one("#EXT-X-BYTERANGE:0@0"), 2, "EXT-X-BYTERANGE", "bad-byterange", "的 BYTERANGE 超出范围：0@0"),
    (
        one("#EXT-X-BYTERANGE:9007199254740993"),
        2,
        "EXT-X-BYTERANGE",
        "bad-byterange",
        "的 BYTERANGE 超出范围：9007199254740993",
    ),
    (
        one("#EXT-X-BYTERANGE:7"),
        2,
        "EXT-X-BYTERANGE",
        "bad-byterange",
        "没有起点，前一个分片又不是同一文件的片段",
    ),
    (
        one("#EXT-X-BYTERANGE:9007199254740992@0", "a.ts", "#EXT-X-BYTERANGE:1"),
        4,
        "EXT-X-BYTERANGE",
        "bad-byterange",
        "超出范围：1@9007199254740992",
    ),
    (one('#EXT-X-MAP:URI="i",BYTERANGE="x"'), 2, "EXT-X-MAP", "bad-byterange", "的 BYTERANGE 无效：x"),
    # -- maps, keys, delta updates
    (one("#EXT-X-MAP:X=1"), 2, "EXT-X-MAP", "missing-attribute", "缺少 URI"),
    (one("#EXT-X-KEY:METHOD=AES-128"), 2, "EXT-X-KEY", "missing-attribute", "缺少 URI"),
    (one('#EXT-X-KEY:URI="k"'), 2, "EXT-X-KEY", "missing-attribute", "缺少 METHOD"),
    (
        one('#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xg'),
        2,
        "EXT-X-KEY",
        "bad-iv",
        "的 IV 不是最多 32 位的十六进制数",
    ),
    (
        one("#EXT-X-SKIP:SKIPPED-SEGMENTS=3"),
        2,
        "EXT-X-SKIP",
        "delta-update",
        "说明这是增量更新，缺少前面的分片，不能作为首次加载的列表",
    ),
    # -- variables
    (one("#EXT-X-DEFINE:X=1"), 2, "EXT-X-DEFINE", "missing-attribute", "缺少 NAME、IMPORT 或 QUERYPARAM"),
    (
        one('#EXT-X-DEFINE:NAME="a",QUERYPARAM="b",IMPORT="c"'),
        2,
        "EXT-X-DEFINE",
        "conflicting-attributes",
        "同时含有 NAME、IMPORT、QUERYPARAM",
    ),
    (one('#EXT-X-DEFINE:NAME="a b",VALUE="c"'), 2, "EXT-X-DEFINE", "bad-name", "的变量名无效：a b"),
    (one('#EXT-X-DEFINE:NAME="a"'), 2, "EXT-X-DEFINE", "missing-attribute", "定义变量 a 缺少 VALUE"),
    (
        one('#EXT-X-DEFINE:NAME="a",VALUE=""', '#EXT-X-DEFINE:NAME="a",VALUE=""'),
        3,
        "EXT-X-DEFINE",
        "duplicate-definition",
        "重复定义变量 a",
    ),
    (one('#EXT-X-DEFINE:IMPORT="a"'), 2, "EXT-X-DEFINE", "undefined-import", "导入变量 a，但没有通向它的多码流列表"),
    (
        one('#EXT-X-DEFINE:QUERYPARAM="empty"'),
        2,
        "EXT-X-DEFINE",
        "missing-query-parameter",
        "播放列表的地址没有参数 empty，或其值为空",
    ),
    (one(uri="{$x}.ts"), 4, "", "undefined-variable", "使用了未定义的变量 x"),
    (
        one('#EXT-X-KEY:METHOD=AES-128,URI="{$x}"', '#EXT-X-DEFINE:NAME="x",VALUE="k"'),
        2,
        "EXT-X-KEY",
        "undefined-variable",
        "使用了未定义的变量 x",
    ),
]


@pytest.mark.parametrize(("text", "line", "tag", "kind", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_says_where_and_why(text: str, line: int, tag: str, kind: str, reason: str) -> None:
    """The first line that cannot be read, in words, and in one that programs know."""
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(text, URL)
    fields = caught.value.fields
    assert (line, tag, kind) == (fields["line"], fields["tag"], fields["kind"])
    assert (f"{tag} {reason}" if tag else reason) == fields["reason"]
    assert not CHINESE.search(caught.value.text("en"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (one(uri="http:///a"), "the URI has no host name: http:///a"),
        (one(uri="ftp://h/a"), 'the URI scheme "ftp" is not supported: ftp://h/a'),
        (one("#EXT-X-MEDIA-SEQUENCE:x"), "EXT-X-MEDIA-SEQUENCE: not a valid decimal-integer: x"),
        (one("#EXT-X-BYTERANGE:0@0"), "EXT-X-BYTERANGE: byte range out of bounds: 0@0"),
        (one('#EXT-X-DEFINE:NAME="a",IMPORT="c"'), "EXT-X-DEFINE: NAME and IMPORT exclude each other"),
    ],
)
def test_a_refusal_in_english(text: str, reason: str) -> None:
    """Line, tag and reason, with the same values."""
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(text, URL)
    assert f"line {caught.value.fields['line']} of the playlist is wrong: {reason}" == caught.value.text("en")


def test_an_import_of_what_the_other_playlist_has_not() -> None:
    """There is one, and it defines something else."""
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(one('#EXT-X-DEFINE:IMPORT="a"'), URL, definitions={"b": "c"})
    assert "EXT-X-DEFINE 导入的变量 a 在多码流列表中未定义" == caught.value.fields["reason"]
    assert ("undefined-import", 2) == (caught.value.fields["kind"], caught.value.fields["line"])


def test_a_relative_link_without_an_address() -> None:
    """Pasted text has none, unless the user gives one."""
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(one(uri="a.ts?x=1"), "")
    assert "是相对链接，但没有播放列表的地址，请填写 base_url：a.ts" == caught.value.fields["reason"]
    assert ("no-base-url", 4) == (caught.value.fields["kind"], caught.value.fields["line"])
    assert "EXT-X-MAP 是相对链接，但没有播放列表的地址，请填写 base_url：i" == _reason_without_url(
        one('#EXT-X-MAP:URI="i"', uri="https://h/a.ts")
    )
    found = parse_playlist(one(), "", base_url="https://b.example/x/y")
    assert isinstance(found, MediaPlaylist) and "https://b.example/x/a.ts" == found.segments[0].uri


def _reason_without_url(text: str) -> object:
    with pytest.raises(PlaylistError) as caught:
        parse_playlist(text, "")
    return caught.value.fields["reason"]


GROWING = '#EXT-X-DEFINE:NAME="x",VALUE="' + "y" * 1000 + '"'


@pytest.mark.parametrize(
    ("text", "what", "limit", "line"),
    [
        ("#EXTM3U\n" + "a" * 16385, "第 2 行的字节数", 16384, 2),
        (one(GROWING, uri="{$x}" * 17), "第 5 行替换变量后的字节数", 16384, 5),
        (
            "#EXTM3U\n"
            + "".join(f'#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{each}"\n' for each in range(10_001))
            + "#EXT-X-STREAM-INF:BANDWIDTH=1\nv",
            "密钥数",
            10_000,
            10_002,
        ),
        (
            "#EXTM3U\n" + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"\n' * 10_001,
            "EXT-X-MEDIA 数",
            10_000,
            10_002,
        ),
        ("#EXTM3U\n" + '#EXT-X-DATERANGE:ID="a"\n' * 100_001, "DATERANGE 数", 100_000, 100_002),
    ],
    ids=["line", "variables", "keys", "media", "dateranges"],
)
def test_too_much_says_of_what(text: str, what: str, limit: int, line: int) -> None:
    """How much there may be, and where there was more."""
    with pytest.raises(PlaylistTooLarge) as caught:
        parse_playlist(text, URL)
    assert (what, limit, line) == tuple(caught.value.fields[name] for name in ("what", "limit", "line"))
    assert not CHINESE.search(caught.value.text("en"))


def test_what_variables_may_make() -> None:
    """A line of the largest size that is made of variables is fine."""
    found = parse_playlist(one(GROWING, uri="/" + "{$x}" * 16 + "z" * 383), URL)
    assert isinstance(found, MediaPlaylist) and found.segments[0].uri.endswith("yzz" + "z" * 381)


WARNED: list[tuple[str, tuple[str, ...]]] = [
    (one(), ()),
    (one("#EXT-X-VERSION:x"), ("第 2 行：未知的 EXT-X-VERSION",)),
    (one("#EXT-X-VERSION:0"), ("第 2 行：未知的 EXT-X-VERSION",)),
    (one("#EXT-X-VERSION:1.5"), ("第 2 行：未知的 EXT-X-VERSION",)),
    (one("#EXT-X-VERSION:14"), ("第 2 行：未知的 EXT-X-VERSION",)),
    (one("#EXT-X-VERSION:1"), ()),
    (one("#EXT-X-VERSION:13"), ()),
    (one("#EXT-X-VERSION:3", "#EXT-X-VERSION:4"), ("第 3 行：#EXT-X-VERSION 重复，取第一个",)),
    (
        one("#EXT-X-MEDIA-SEQUENCE:3", "#EXT-X-MEDIA-SEQUENCE:4"),
        ("第 3 行：#EXT-X-MEDIA-SEQUENCE 重复，取第一个",),
    ),
    (one("#EXT-X-TARGETDURATION:5"), ("第 3 行：#EXT-X-TARGETDURATION 重复，取第一个",)),
    (one("#EXT-X-PROGRAM-DATE-TIME:x"), ("第 2 行：PROGRAM-DATE-TIME 无法识别，已忽略",)),
    (one("#EXT-X-PLAYLIST-TYPE:x"), ("第 2 行：PLAYLIST-TYPE 无法识别，已忽略",)),
    (one("#EXT-X-BITRATE:x"), ("第 2 行：EXT-X-BITRATE 无法识别，已忽略",)),
    (one("#EXT-X-KEY:METHOD=NONE,X=1"), ("第 2 行：METHOD=NONE 的其他属性已忽略",)),
    (one("#EXT-X-KEY:METHOD=NONE"), ()),
    (one('#EXT-X-MAP:URI="i",X'), ("第 2 行：属性缺少等号，已忽略",)),
    (one('#EXT-X-MAP:URI="i",'), ()),
    (one('#EXT-X-MAP:URI="i",URI="j"'), ("第 2 行：属性重复，取第一个",)),
    (
        one("a.ts", "#EXT-X-DISCONTINUITY-SEQUENCE:4", "#EXTINF:5,"),
        ("第 2 行：分片没有时长，按 0 秒处理", "第 3 行：DISCONTINUITY-SEQUENCE 不在第一个分片之前"),
    ),
    (
        "#EXTM3U\n#EXT-X-TARGETDURATION:x\n#EXTINF:5,\na.ts",
        ("第 2 行：TARGETDURATION 无法识别，已忽略", "缺少 TARGETDURATION"),
    ),
    (
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5.49,\na.ts\n#EXTINF:5.5,\nb.ts",
        ("第 6 行：分片时长超过 TARGETDURATION",),
    ),
    (
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:5,\na.ts",
        ("VOD 列表没有 ENDLIST，按完整列表处理",),
    ),
    (one("#EXT-X-DATERANGE:X=1"), ("第 2 行：EXT-X-DATERANGE 缺少 ID，已忽略",)),
    (
        one('#EXT-X-DATERANGE:ID="a",START-DATE="2024-01-01"', '#EXT-X-DATERANGE:ID="a",START-DATE="2025-01-01"'),
        ("第 3 行：相同 ID 的 EXT-X-DATERANGE 互相矛盾，取第一个",),
    ),
    (
        one('#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"'),
        ("第 1 行：同时含有主列表和媒体列表的标签，按媒体列表处理",),
    ),
]


@pytest.mark.parametrize(("text", "warnings"), WARNED, ids=range(len(WARNED)))
def test_what_is_read_all_the_same_is_told(text: str, warnings: tuple[str, ...]) -> None:
    """In the order in which it was seen, each kind once."""
    found = parse_playlist(text, URL)
    assert isinstance(found, MediaPlaylist)
    assert warnings == found.warnings


VARIANT = "#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"
WARNED_OF_VARIANTS: list[tuple[str, tuple[str, ...]]] = [
    (VARIANT, ()),
    ("#EXT-X-STREAM-INF:X=1\nv.m3u8\n", ("第 2 行：码流没有有效的 BANDWIDTH，按 0 处理",)),
    ("#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=x\nv.m3u8\n", ("第 2 行：RESOLUTION 无法识别，已忽略",)),
    ("#EXT-X-MEDIA:TYPE=SUBTITLES\n" + VARIANT, ("第 2 行：EXT-X-MEDIA 缺少 TYPE 或 URI，已忽略",)),
    ("#EXT-X-MEDIA:NAME=x\n" + VARIANT, ("第 2 行：EXT-X-MEDIA 缺少 TYPE 或 URI，已忽略",)),
    ("#EXT-X-SESSION-KEY:METHOD=NONE\n" + VARIANT, ("第 2 行：EXT-X-SESSION-KEY 无法识别，已忽略",)),
    ("#EXT-X-SESSION-KEY:METHOD=AES-128\n" + VARIANT, ("第 2 行：EXT-X-SESSION-KEY 无法识别，已忽略",)),
    ("#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI=skd://x\n" + VARIANT, ()),
    ("#EXT-X-VERSION:4\n#EXT-X-VERSION:5\n" + VARIANT, ("第 3 行：#EXT-X-VERSION 重复，取第一个",)),
    (
        "#EXT-X-CONTENT-STEERING:X=1\n#EXT-X-CONTENT-STEERING:SERVER-URI=s\n" + VARIANT,
        (
            "第 2 行：EXT-X-CONTENT-STEERING 没有可用的 SERVER-URI，已忽略",
            "第 3 行：EXT-X-CONTENT-STEERING 重复，取第一个",
        ),
    ),
]


@pytest.mark.parametrize(("text", "warnings"), WARNED_OF_VARIANTS, ids=range(len(WARNED_OF_VARIANTS)))
def test_what_is_read_all_the_same_of_variants_is_told(text: str, warnings: tuple[str, ...]) -> None:
    """As of segments."""
    found = parse_playlist("#EXTM3U\n" + text, URL)
    assert isinstance(found, MasterPlaylist)
    assert warnings == found.warnings


def test_a_warning_says_how_often() -> None:
    """Beginning with the second time."""
    found = parse_playlist(one("#EXT-X-BITRATE:x", "#EXT-X-BITRATE:x", "#EXT-X-BITRATE:x"), URL)
    assert isinstance(found, MediaPlaylist)
    assert ("第 2 行：EXT-X-BITRATE 无法识别，已忽略（共 3 处）",) == found.warnings


def test_no_refusal_is_of_another_kind() -> None:
    """Whatever was wrong above is an error of ours, with an English text, too."""
    for text, *_ in REFUSED:
        with pytest.raises(M3u8svcError) as caught:
            parse_playlist(text, URL)
        assert "{" not in caught.value.text("en") and str(caught.value.fields["line"]) in caught.value.text("en")


# -- What people write -----------------------------------------------------------------------------------------------

WORDS = "best, worst, audio_only, 720p, height<=720"


@pytest.mark.parametrize(
    ("expression", "position", "item", "expected"),
    [
        ("hight<=720", 1, "hight", "height, width, res, bandwidth, fps, codec, range, lang, name"),
        ("720 / foo", 7, "foo", WORDS),
        ("720//best", 5, "/", WORDS),
        ("best/", 6, "", WORDS),
        ("best/ , ", 6, ",", WORDS),
        (" ,", 1, ",", WORDS),
        ("=720", 1, "=720", WORDS),
        ("height<=abc", 9, "abc", "720, 2500k, 2.5M"),
        ("height~720", 7, "~", "!=, <, <=, =, >, >="),
        ("codec<3", 6, "<", "!=, !~, $=, *=, =, ^=, ~"),
        ("height<=720|1080", 9, "720|1080", "=, !="),
        ("height<=", 9, "", "height<=…"),
        ("for=both", 1, "for=both", "for=best, for=worst"),
        ("for!=best", 1, "for!=best", "for=best, for=worst"),
        ("bv+bv", 4, "bv", "ba, bestaudio"),
        ("bv+", 4, "", "ba, bestaudio"),
        ("bv+[ba", 4, "[", "ba, bestaudio"),
        ("+ba", 1, "+", WORDS),
        ("bv+ba[height>100]", 7, "height>100", "+ba"),
        ("bwMin<3", 6, "<", "="),
        ("x" * 50, 1, "x" * 40, WORDS),
        ("best " * 200 + "worst", 1001, "worst", "<= 1000"),
        ("best " * 200 + "w" * 30, 1001, "w" * 20, "<= 1000"),
    ],
)
def test_a_choice_of_variants_that_is_not_understood(expression: str, position: int, item: str, expected: str) -> None:
    """It is said where, what, and what could stand there."""
    with pytest.raises(SelectionError) as caught:
        parse_variant_choice(expression)
    assert {"position": position, "item": item, "expected": expected} == caught.value.fields


@pytest.mark.parametrize("expression", ["best " * 199 + "worst", " " * 1000, "height<=720"])
def test_a_choice_of_variants_as_long_as_may_be(expression: str) -> None:
    """It is read, and kept as it was written."""
    assert (expression.strip() or "best") == parse_variant_choice(expression).text


@pytest.mark.parametrize(
    ("text", "position", "item", "expected"),
    [
        ("en,,fr", 4, "", "en, pt-BR, all"),
        ("en, none", 4, "none", "en, pt-BR, all"),
        ("e\x1bn", 1, "e\\x1bn", "en, pt-BR, all"),
        ("en,fr,\x1b" + "x" * 50, 7, "\\x1b" + "x" * 39, "en, pt-BR, all"),
        ("en," * 333 + "en" + "f" * 30, 1001, "f" * 20, "<= 1000"),
    ],
)
def test_a_list_of_languages_that_is_none(text: str, position: int, item: str, expected: str) -> None:
    """As of variants."""
    with pytest.raises(SelectionError) as caught:
        parse_languages(text)
    assert position == caught.value.fields["position"] and expected == caught.value.fields["expected"]
    assert item == caught.value.fields["item"] or expected.startswith("<=")


@pytest.mark.parametrize(
    ("text", "position", "item"), [("vtt,ass", 5, "ass"), ("vtt,srt, x" + "y" * 50, 9, "x" + "y" * 39), (",", 1, "")]
)
def test_kinds_of_subtitle_files_that_are_none(text: str, position: int, item: str) -> None:
    """As of variants."""
    with pytest.raises(SelectionError) as caught:
        parse_subtitle_files(text)
    assert {"position": position, "item": item, "expected": "vtt, srt, none"} == caught.value.fields


@pytest.mark.parametrize(
    ("text", "position", "item", "expected"),
    [
        ("1,x", 3, "x", "1, 3-5"),
        ("1,22,4-3", 6, "4-3", "1, 3-5"),
        ("x" * 50, 1, "x" * 40, "1, 3-5"),
        ("1," * 8192 + "2", 16385, "2", "<= 16384"),
    ],
)
def test_a_list_of_groups_that_is_none(text: str, position: int, item: str, expected: str) -> None:
    """As of variants."""
    with pytest.raises(SelectionError) as caught:
        parse_groups(text)
    assert {"position": position, "item": item, "expected": expected} == caught.value.fields


def test_a_list_of_groups_as_long_as_may_be() -> None:
    """The limit itself is not over the limit."""
    assert 8192 == len(parse_groups("1," * 8191 + "12"))


@pytest.mark.parametrize(
    ("variant", "text"),
    [
        (Variant(uri="u", width=1920, height=1080, frame_rate=23.976), "1920x1080 23.98fps"),
        (Variant(uri="u", width=1920, bandwidth=1499), "1k"),
        (Variant(uri="u", bandwidth=1501, video_range="PQ"), "2k PQ"),
        (Variant(uri="u", codecs=("mp4a.40.2", "ec-3")), "mp4a.40.2,ec-3 audio_only"),
        (Variant(uri="u", codecs=("mp4a.40.2",), width=1), "mp4a.40.2"),
        (Variant(uri="u", codecs=("\x1b",)), "\\x1b"),
        (Variant(uri="u", codecs=("x" * 300,)), "x" * 200),
        (Variant(uri="u"), "?"),
    ],
)
def test_a_variant_in_words(variant: Variant, text: str) -> None:
    """What is known of it, and nothing that is not."""
    assert text == variant_text(variant)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("codec=h264", "avc1"),
        ("codec=avc", "avc1"),
        ("codec=hevc", "hev1"),
        ("codec=h265", "hev1"),
        ("codec=av1", "av01"),
        ("codec=vp9", "vp09"),
        ("codec=ac3", "ac-3"),
        ("codec=eac3", "ec-3"),
        ("codec=aac", "mp4a"),
        ("range=dv codec~dvh", "dvh1"),
        ("range=DV codec~dva", "dva1"),
        ("range=dv codec~dav", "dav1"),
        ("range=hdr10", "pq"),
        ("range=hdr codec~hlg", "hlg"),
        ("res=640x360", "frame"),
        ("name=clean", "named"),
        ("ext=m4a codec=eac3", "ec-3"),
    ],
)
def test_what_codecs_and_ranges_are_called(expression: str, found: str) -> None:
    """By people, whatever a playlist writes."""
    codecs = ("avc1", "hev1", "av01", "vp09", "ac-3", "ec-3", "mp4a", "dvh1", "dva1", "dav1")
    variants = [
        *(Variant(uri=codec, bandwidth=1, codecs=(f"{codec}.1",)) for codec in codecs),
        Variant(uri="pq", video_range="PQ", codecs=("pq",)),
        Variant(uri="hlg", video_range="hlg", codecs=("hlg",)),
        Variant(uri="frame", width=640, height=360, codecs=("x",)),
        Variant(uri="named", video_group="g", codecs=("y",)),
    ]
    renditions = (
        Rendition(type="VIDEO", group_id="g", name="Clean"),
        Rendition(type="VIDEO", group_id="h", name="other"),
        Rendition(type="AUDIO", group_id="g", name="sound"),
    )
    master = MasterPlaylist(url=URL, variants=tuple(variants), renditions=renditions)
    assert found == choose(master, parse_variant_choice(expression)).uri


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3cret", "密钥应为 32 位十六进制数，或 16 字节的 base64（收到 6 个字符）"),
        (" ", "密钥应为 32 位十六进制数，或 16 字节的 base64（收到 0 个字符）"),
        ("AAECAwQFBgcICQoLDA0ODx==", "密钥不是 16 字节的 base64"),
    ],
)
def test_a_key_that_is_none(text: str, reason: str) -> None:
    """How long it was, and nothing of it."""
    with pytest.raises(BadOverride) as caught:
        parse_key_text(text)
    assert reason == str(caught.value)


def test_an_iv_that_is_none() -> None:
    """What it should be."""
    with pytest.raises(BadOverride) as caught:
        parse_iv_text("x")
    assert "IV 应为最多 32 位的十六进制数" == str(caught.value)


@pytest.mark.parametrize(
    ("uri", "error", "fields"),
    [
        ("data:abc", InvalidUrl, {"reason": "不是 data: 链接"}),
        ("http://h/,x", InvalidUrl, {"reason": "不是 data: 链接"}),
        ("data:;base64,A", InvalidUrl, {"reason": "base64 无效"}),
        ("data:,abcdef", BodyTooLarge, {"limit": 5}),
    ],
)
def test_a_data_uri_that_cannot_be_read(uri: str, error: type[M3u8svcError], fields: dict[str, object]) -> None:
    """Why not."""
    with pytest.raises(error) as caught:
        read_data_uri(uri, 5)
    assert fields | {"url": uri} == caught.value.fields
    assert b"abcde" == read_data_uri("data:,abcde", 5)


def test_what_is_no_init_section() -> None:
    """Boxes that are broken are told as boxes, anything else by how it begins."""
    with pytest.raises(SegmentError) as broken:
        check_init(b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00")
    assert {"position": 0, "reason": "初始化段：缺少 moov"} == broken.value.fields
    with pytest.raises(NotMedia) as other:
        check_init(b"<html>")
    assert 0 == other.value.fields["position"] and "<html>" in str(other.value.fields["start"])


def test_too_much_of_what_is_made_anew() -> None:
    """A query behind every link, and clones of every variant."""
    text = "#EXTM3U\n" + "#EXTINF:1,\na\n" * 4_000
    playlist = parse_playlist(text, URL)
    assert isinstance(playlist, MediaPlaylist)
    with pytest.raises(PlaylistTooLarge) as caught:
        override_media(playlist, Overrides(append_query="a=" + "b" * 80_000))
    assert "附加参数后的字节数" == caught.value.fields["what"]
    variants = tuple(Variant(uri=f"https://a.example/{each}", pathway_id="A") for each in range(5001))
    manifest = SteeringManifest(priority=("A",), clones=(PathwayClone(id="B", base_id="A", host="b.example"),))
    with pytest.raises(PlaylistTooLarge) as cloned:
        with_clones(MasterPlaylist(url=URL, variants=variants), manifest)
    assert {"what": "克隆后的码流数", "limit": 10_000, "line": 0} == cloned.value.fields
    assert 10_000 == len(with_clones(MasterPlaylist(url=URL, variants=variants[:5000]), manifest).variants)


def test_warnings_in_english() -> None:
    """With the first line and how often, in the words of the other language."""
    playlist = parse_playlist("#EXTM3U\n#EXT-X-VERSION:99\n#EXTINF:,\na.ts\n#EXTINF:,\nb.ts\n#EXT-X-ENDLIST", URL)
    assert (
        ("第 2 行：未知的 EXT-X-VERSION", "line 2: unknown EXT-X-VERSION"),
        (
            "第 3 行：分片没有时长，按 0 秒处理（共 2 处）",
            "line 3: the Media Segment has no duration; taken as 0 s (2 times)",
        ),
        ("缺少 TARGETDURATION", "there is no TARGETDURATION"),
    ) == tuple((each, in_english(each)) for each in playlist.warnings)


def test_what_is_there_twice_in_english() -> None:
    """With the tag that it is."""
    playlist = parse_playlist(one("#EXT-X-MEDIA-SEQUENCE:1", "#EXT-X-MEDIA-SEQUENCE:2"), URL)
    assert ["line 3: #EXT-X-MEDIA-SEQUENCE is there more than once, the first counts"] == [
        in_english(each) for each in playlist.warnings
    ]


def test_what_a_task_cannot_have_in_english() -> None:
    """Groups and times that are not there, and why segments are left out."""
    segments = parse_playlist(one(), URL).segments
    [missing] = missing_groups(segments, parse_groups("1,3-5,7"))
    assert "groups: 没有第 3-5、7 组，播放列表共有 1 组" == missing
    assert "groups: there is no group 3-5, 7, the playlist has 1" == missing.en
    assert {1: "groups: group 1 is not among the chosen"} == english_of(skip_groups(segments, parse_groups("2")))
    selection = select_skips(parse_skip_expression("1,http.code=200"), segments)
    assert {1: "skip expression: 1"} == english_of(selection.skips)
    assert ["skip expression: http.code=200 has no effect"] == [each.en for each in selection.warnings]


def test_a_language_that_is_not_there_in_english() -> None:
    """With those that are."""
    master = MasterPlaylist(url=URL, variants=(Variant(uri="v", bandwidth=1, audio_group="a"),))
    found = choose_audio(master, master.variants[0], parse_languages("ja,ko"))
    assert ("没有音轨“ja、ko”；可选：无",) == found.warnings
    assert ["there is no audio “ja, ko”; there is: none"] == [in_english(each) for each in found.warnings]


def english_of(skips: Mapping[int, Said]) -> dict[int, str]:
    """Reasons in English."""
    return {position: reason.en for position, reason in skips.items()}
