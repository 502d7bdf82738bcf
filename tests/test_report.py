"""
What a task says of its result, from what its merger tells.
"""

from m3u8svc.hls.rematch import Comparison
from m3u8svc.offerings import TrackInfo
from m3u8svc.report import changed_playlist, silent_tracks, unusable_of
from m3u8svc.wording import in_english

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
