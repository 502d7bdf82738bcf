"""
What a task says of its result, from what its merger tells.
"""

from m3u8svc.hls.rematch import Comparison
from m3u8svc.offerings import Note, TrackInfo
from m3u8svc.report import (
    MOST_WARNINGS,
    bounded,
    changed_playlist,
    notes_of_plugin,
    ranges,
    silent_tracks,
    skipped_by_plugin,
    unusable_of,
    withheld_headers,
)
from m3u8svc.wording import Said, in_english

TRACKS = (TrackInfo(track="main", kind="main"), TrackInfo(track="audio1", kind="audio"))


def test_silent_tracks_are_audio_of_which_nothing_is_there():
    """No packet, or nothing but silence that fills holes; a merger that tells nothing is believed."""
    told = {"track": "audio1", "packets": 9, "silent": 0}
    assert [] == silent_tracks(TRACKS, {"tracks": [told]})
    assert ["audio1"] == silent_tracks(TRACKS, {"tracks": [{**told, "silent": 9}]})
    assert ["audio1"] == silent_tracks(TRACKS, {"tracks": [{"track": "main", "packets": 9}]})
    assert [] == silent_tracks(TRACKS, {})
    assert [] == silent_tracks(TRACKS[:1], {"tracks": []})


def test_unusable_segments_are_those_that_killed_the_muxer_and_those_it_could_not_read():
    """Each by track, position and reason."""
    details = {"poisoned": [{"track": "main", "n": 3}], "lost": [{"track": "audio1", "n": 1, "reason": "空文件"}]}
    assert [("main", 3), ("audio1", 1)] == [each[:2] for each in unusable_of(details)]
    assert all(in_english(reason).isascii() for _, _, reason in unusable_of({"poisoned": [{"track": "main", "n": 3}]}))
    assert [] == unusable_of({})


def test_a_changed_playlist_says_what_is_kept() -> None:
    """How many segments it had and has, and what becomes of those that are there."""
    changed = changed_playlist("main", Comparison(before=9, now=8, kept=3, dropped=frozenset({(1, "a"), (2, "b")})))
    assert "播放列表（main）与上次不同：原有 9 个分片，现有 8 个；沿用已下载的 3 个，作废 2 个" == changed.text()
    said = "8 segments instead of 9; of those fetched, 3 kept, 2 dropped"
    assert f"the playlist (main) is not what it was: {said}" == changed.text("en")


def test_what_a_plugin_says_in_both_languages() -> None:
    """As it says it; a plain text is the same in both."""
    both, plain = notes_of_plugin("ads", [Note(reason=Said("提示\x1b", "a hint\x1b")), Note(reason="plain")])
    assert ("插件 ads：提示\\x1b", "plugin ads: a hint\\x1b") == (both, both.en)
    assert ("插件 ads：plain", "plugin ads: plain") == (plain, plain.en)
    [skipped] = skipped_by_plugin("ads", dict.fromkeys((1, 5, 6, 7), Said("广告", "an advert")))
    assert "插件 ads 跳过了 4 个分片：1、5-7（广告）" == skipped
    assert "plugin ads skipped 4 segments: 1, 5-7 (an advert)" == skipped.en


def test_positions_in_both_languages() -> None:
    """Each with its own comma."""
    assert ("1、5-7", "1, 5-7") == (ranges([7, 1, 6, 5]), ranges([7, 1, 6, 5]).en)


def test_headers_that_stayed_in_both_languages() -> None:
    """Of many hosts a few are named."""
    few, many = withheld_headers({"A": {"x", "y"}, "B": set("abcdefg")})
    assert "请求头 A 未发送到其他站点：x、y（可用 header_hosts 允许）" == few
    assert "the header A was not sent to other sites: x, y (header_hosts allows it)" == few.en
    assert "：a、b、c、d、e 等（" in many
    assert ": a, b, c, d, e and others (" in many.en


def test_how_many_warnings_are_left_out() -> None:
    """In both languages."""
    last = bounded(map(str, range(MOST_WARNINGS + 3)))[-1]
    assert ("另有 3 条警告未列出，见报告", "3 more warnings, see the report") == (last, in_english(last))
