"""
Which renditions are downloaded beside a variant, and what their tracks are called.
"""

from collections.abc import Iterable, Mapping

import attrs

from m3u8svc.hls.plan import audio_rendition, is_audio_only
from m3u8svc.hls.playlist import MasterPlaylist, Rendition, Variant


@attrs.frozen(kw_only=True)
class Selected:
    """
    Renditions to download, each with a URI of its own, and what there is to say about the choice.
    """

    renditions: tuple[Rendition, ...] = ()
    warnings: tuple[str, ...] = ()


def select_renditions(master: MasterPlaylist, variant: Variant, *, audio: str, subtitles: str) -> Selected:
    """
    The renditions that the task's `audio` and `subtitles` choose from the groups of `variant`.
    """
    found = audio_rendition(master, variant)
    if found is None or found.uri is None or is_audio_only(variant):
        return Selected()
    return Selected(renditions=(found,))


def named_tracks(renditions: Iterable[Rendition]) -> Mapping[str, Rendition]:
    """
    The same by track: "audio1", "audio2" …, "subtitles1" …, in their order.
    """
    tracks: dict[str, Rendition] = {}
    counted: dict[str, int] = {}
    for rendition in renditions:
        kind = rendition.type.lower()
        counted[kind] = counted.get(kind, 0) + 1
        tracks[f"{kind}{counted[kind]}"] = rendition
    return tracks
