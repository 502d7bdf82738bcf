"""
Which renditions are downloaded beside a variant, and what their tracks are called.
"""

from collections.abc import Iterable, Mapping

import attrs

from m3u8svc.hls.playlist import MasterPlaylist, Rendition, Variant
from m3u8svc.hls.select import choose_audio, choose_subtitles, parse_languages


@attrs.frozen(kw_only=True)
class Selected:
    """
    Renditions to download, each with a URI of its own, and what there is to say about the choice.
    """

    renditions: tuple[Rendition, ...] = ()
    warnings: tuple[str, ...] = ()


def select_renditions(master: MasterPlaylist, variant: Variant, *, audio: str, subtitles: str) -> Selected:
    """
    The renditions that the task's `audio` and `subtitles` choose from the groups of `variant`. What is inside the
    variant already is not downloaded.
    """
    chosen = (
        choose_audio(master, variant, parse_languages(audio)),
        choose_subtitles(master, variant, parse_languages(subtitles)),
    )
    return Selected(
        renditions=tuple(rendition for each in chosen for rendition in each.renditions if rendition.uri is not None),
        warnings=tuple(warning for each in chosen for warning in each.warnings),
    )


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
