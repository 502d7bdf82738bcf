"""
The skip expression: grammar, selection, and that nothing is ignored in silence.
"""

import time

import pytest

from m3u8svc.errors import SkipExpressionError
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MediaPlaylist, SegmentList
from m3u8svc.hls.skip import SkipRules, Span, parse_skip_expression, select_skips
from m3u8svc.testing.playlists import SegmentLine, media_playlist

FIVE = (5.867, 2.933, 2.933, 2.927, 2.582)


def segments(*durations_s: float) -> SegmentList:
    lines = [SegmentLine(uri=f"{index}.ts", duration_s=duration) for index, duration in enumerate(durations_s)]
    playlist = parse_playlist(media_playlist(lines), "http://h/i.m3u8")
    assert isinstance(playlist, MediaPlaylist)
    return playlist.segments


def kept(expression: str, *durations_s: float) -> list[int]:
    listed = segments(*durations_s)
    skips = select_skips(parse_skip_expression(expression), listed).skips
    return [segment.position for segment in listed if segment.position not in skips]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("!time:00:00:05-00:00:10", [1, 2, 3]),
        ("!time:00:00:06-00:00:10", [2, 3]),
        ("time:00:00:01-00:00:12", [1, 4, 5]),
        ("3, 1", [2, 4, 5]),
        ("", [1, 2, 3, 4, 5]),
        ("  ", [1, 2, 3, 4, 5]),
        ("2-4", [1, 5]),
        ("4 -  100", [1, 2, 3]),
        ("http.code=404", [1, 2, 3, 4, 5]),
        ("!time:00:00:05-00:00:10,time:00:00:05-00:00:09", [1, 3]),
        ("!time:00:00:00-00:00:01,!time:00:00:15-00:00:16, 5", [1]),
        ("time:00:00:00-00:00:06,time:00:00:05-00:00:30", []),
    ],
)
def test_selection_on_the_origins_playlist(expression: str, expected: list[int]):
    """The vectors of the origin, and the combinations it crashed on."""
    assert kept(expression, *FIVE) == expected


def test_a_long_segment_that_touches_is_kept():
    """A keep interval inside one segment keeps it."""
    assert kept("!time:00:00:05-00:00:10", 600, 600, 600) == [1]


def test_intervals_are_closed_and_sums_of_fractions_do_not_matter():
    """A segment that ends exactly where a keep interval starts touches it, also when 100 times 0.1 is not 10."""
    assert kept("!time:00:00:10-00:00:11", *[0.1] * 100, 5, 5)[0] == 100
    assert kept("time:00:00:05-00:00:10", 5, 5, 5) == [1, 3]
    assert kept("time:00:00:10-00:00:20", *[0.1] * 100, 5, 5) == list(range(1, 101))


def test_reasons_name_the_rule():
    """A reason says which item left a segment out."""
    rules = parse_skip_expression("1-2, !time:00:00:00-00:00:09")
    assert select_skips(rules, segments(*FIVE)).skips == {
        1: "跳过表达式: 1-2",
        2: "跳过表达式: 1-2",
        4: "跳过表达式: !time:00:00:00-00:00:09",
        5: "跳过表达式: !time:00:00:00-00:00:09",
    }


def test_time_rules_without_durations_do_nothing_and_say_so():
    """One segment of unknown length makes all times unknown; index rules still work."""
    selection = select_skips(
        parse_skip_expression("!time:00:00:05-00:00:06,time:00:00:00-00:00:09,2"), segments(3, 0.000009, 3)
    )
    assert selection.skips == {2: "跳过表达式: 2"}
    assert selection.warnings == ("跳过表达式: 有分片没有时长，时间规则不起作用",)


def test_all_items_are_understood():
    """Every kind of item ends where it belongs."""
    assert parse_skip_expression(
        " 92-100 , 7,http.code=403,http.code = 404,if-http.code-merge_ts,"
        "time : 00:01:00 - 99:59:59,!time:00:00:00-00:00:01"
    ) == SkipRules(
        index_ranges=(Span(first=92, last=100, item="92-100"), Span(first=7, last=7, item="7")),
        drop_intervals=(Span(first=60, last=359_999, item="time : 00:01:00 - 99:59:59"),),
        keep_intervals=(Span(first=0, last=1, item="!time:00:00:00-00:00:01"),),
        statuses=frozenset({403, 404}),
        merge_despite_status=True,
    )


def test_http_code_200_is_no_failure():
    """It has no effect, and that is told."""
    rules = parse_skip_expression("http.code=200,http.code=500")
    assert rules.statuses == frozenset({500})
    assert select_skips(rules, segments(1)).warnings == ("跳过表达式: http.code=200 不起作用",)


@pytest.mark.parametrize(
    "item",
    [
        *("", "0", "00", "-1", "1-", "-", "0-3", "3-2", "1-0", "a", "1.5", "١", "1-2-3", "1\t-2"),
        *("9223372036854775808", "1-9223372036854775808", "9" * 5000),
        *(
            "http.code=",
            "http.code=x",
            "Http.code=1",
            "http.code:404",
            "httpcode=404",
            "http.code=99999999999999999999",
        ),
        *("if-http.code-merge", "IF-http.code-merge_ts", "!tag:2-4"),
        *("time:00:00:05-00:00:05", "time:00:00:06-00:00:05", "time:0:00:05-00:00:06", "time:00:60:00-01:00:00"),
        *("time:00:00:00-00:00:60", "time:00:00:00", "!!time:00:00:00-00:00:01", "! time:00:00:00-00:00:01"),
    ],
)
def test_items_outside_the_grammar_are_named(item: str):
    """The error quotes the item, as clients of the API know it; a trailing comma is an empty item."""
    with pytest.raises(SkipExpressionError) as caught:
        parse_skip_expression(f"5,{item}")
    shown = item if len(item) <= 100 else item[:100] + "…"
    if "\t" not in item:
        assert caught.value.text() == f'解析跳过ts的表达式错误: parse expr part invalid "{shown}"'


def test_the_largest_number_is_a_number():
    """2^63-1 is in range and matches nothing; leading zeros mean nothing."""
    assert kept("9223372036854775807, 0000000000000000000000002", *FIVE) == [1, 3, 4, 5]


def test_many_overlapping_rules_over_many_segments_stay_fast():
    """Rules times segments is never what it costs."""
    listed = tuple(segments(1.0)) * 100_000
    rules = parse_skip_expression(",".join(f"{index}-200000" for index in range(2, 30_000)))
    start = time.process_time()
    select_skips(rules, listed)
    assert time.process_time() - start < 2
