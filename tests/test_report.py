"""
What a task says of its result, from what its merger tells.
"""

from m3u8svc.offerings import TrackInfo
from m3u8svc.report import silent_tracks, unusable_of

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
    assert [] == unusable_of({})
