"""
Which renditions are downloaded beside a variant.
"""

import pytest

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist
from m3u8svc.hls.renditions import named_tracks, select_renditions
from m3u8svc.testing.playlists import RenditionLine, VariantLine, master_playlist

RENDITIONS = (
    RenditionLine(group="a", name="English", language="en", uri="en", default=True),
    RenditionLine(group="a", name="Français", language="fr", uri="fr"),
    RenditionLine(group="a", name="Deutsch", language="de"),
    RenditionLine(type="SUBTITLES", group="s", name="Subs", language="en", uri="subs"),
)


@pytest.mark.parametrize(
    ("audio", "subtitles", "expected", "warnings"),
    [
        ("", "none", {"audio1": "English"}, 0),
        ("fr", "none", {"audio1": "Français"}, 0),
        ("fr,en", "en", {"audio1": "Français", "audio2": "English", "subtitles1": "Subs"}, 0),
        ("de", "all", {"subtitles1": "Subs"}, 0),  # inside the variant
        ("all", "", {"audio1": "English", "audio2": "Français"}, 0),
        ("ja", "ja", {"audio1": "English"}, 2),
    ],
)
def test_what_a_task_wants_is_downloaded_in_its_order(
    audio: str, subtitles: str, expected: dict[str, str], warnings: int
) -> None:
    """By track; what is inside the variant is not downloaded, what is not there is told."""
    text = master_playlist([VariantLine(uri="v", audio="a", subtitles="s")], renditions=RENDITIONS)
    master = parse_playlist(text, "http://h/m.m3u8")
    assert isinstance(master, MasterPlaylist)
    selected = select_renditions(master, master.variants[0], audio=audio, subtitles=subtitles)
    assert expected == {track: each.name for track, each in named_tracks(selected.renditions).items()}
    assert warnings == len(selected.warnings)
