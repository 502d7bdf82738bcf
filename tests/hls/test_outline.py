"""
What a download would be.
"""

import attrs
import pytest

from m3u8svc.hls.outline import (
    OutlinedGroup,
    OutlinedRendition,
    OutlinedSkip,
    OutlinedTrack,
    OutlinedVariant,
    outline,
    position_ranges,
    url_pattern,
)
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist, Presentation, Stream
from m3u8svc.hls.renditions import named_tracks, select_renditions
from m3u8svc.testing.playlists import (
    KeyLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
    segment_lines,
)

LOW, HIGH = (
    VariantLine(uri="low", bandwidth=400_000, codecs="mp4a.40.2", audio="a"),
    VariantLine(
        uri="high",
        bandwidth=1_200_000,
        average_bandwidth=800_000,
        resolution=(1280, 720),
        frame_rate=50,
        video_range="PQ",
        codecs="hvc1.2,mp4a.40.2",
        audio="a",
    ),
)


def media(text: str, url: str = "http://h/i.m3u8") -> MediaPlaylist:
    playlist = parse_playlist(text, url)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


def alone(text: str, **changes: object) -> Presentation:
    return attrs.evolve(Presentation(streams=(Stream(track="main", playlist=media(text)),)), **changes)


def whole(main: str, *renditions: RenditionLine, audio: str = "") -> Presentation:
    """A presentation of the variant HIGH; each rendition has two segments of 6 s."""
    master = parse_playlist(master_playlist([LOW, HIGH], renditions=renditions), "http://h/m.m3u8")
    assert isinstance(master, MasterPlaylist)
    variant = master.variants[1]
    selected = select_renditions(master, variant, audio=audio, subtitles="none")
    tracks = named_tracks(selected.renditions)
    other = media(media_playlist(segment_lines(2)))
    return Presentation(
        streams=(
            Stream(track="main", playlist=media(main)),
            *(Stream(track=track, playlist=other, rendition=each) for track, each in tracks.items()),
        ),
        master=master,
        variant=variant,
        warnings=selected.warnings,
    )


def test_variants_and_which_is_chosen() -> None:
    """As the playlist lists them; what it does not say is None."""
    found = outline(whole(media_playlist(segment_lines(2))), {})
    expected = (
        OutlinedVariant(
            bandwidth=400_000,
            average_bandwidth=None,
            width=None,
            height=None,
            fps=None,
            range=None,
            codecs=("mp4a.40.2",),
            audio_only=True,
            chosen=False,
        ),
        OutlinedVariant(
            bandwidth=1_200_000,
            average_bandwidth=800_000,
            width=1280,
            height=720,
            fps=50.0,
            range="PQ",
            codecs=("hvc1.2", "mp4a.40.2"),
            audio_only=False,
            chosen=True,
        ),
    )
    assert expected == found.variants


def test_renditions_and_which_are_chosen() -> None:
    """By track; one without URI comes with its variant, captions are never a track."""
    lines = (
        RenditionLine(group="a", name="English", language="en", uri="en", default=True),
        RenditionLine(group="a", name="Inside"),
        RenditionLine(group="b", name="English", language="en", uri="x"),
        RenditionLine(type="SUBTITLES", group="s", name="Forced", language="fr", uri="s", forced=True),
        RenditionLine(type="CLOSED-CAPTIONS", group="c", name="CC"),
    )
    found = outline(whole(media_playlist(segment_lines(2)), *lines), {})
    blank = OutlinedRendition(
        type="AUDIO",
        group="a",
        language="",
        name="",
        default=False,
        forced=False,
        inside=False,
        chosen=False,
        track="",
    )
    expected = (
        attrs.evolve(blank, name="English", language="en", default=True, chosen=True, track="audio1"),
        attrs.evolve(blank, name="Inside", inside=True, chosen=True),
        attrs.evolve(blank, group="b", name="English", language="en"),
        attrs.evolve(blank, type="SUBTITLES", group="s", name="Forced", language="fr", forced=True),
        attrs.evolve(blank, type="CLOSED-CAPTIONS", group="c", name="CC"),
    )
    assert expected == found.renditions
    assert (
        OutlinedTrack(track="main", segments=2, duration_s=12.0),
        OutlinedTrack(track="audio1", segments=2, duration_s=12.0),
    ) == found.tracks


def test_segments_skips_and_gaps() -> None:
    """Counted once each: a gap that is skipped is skipped; durations are of what is left."""
    lines = [*segment_lines(4, duration_s=2.5), SegmentLine(uri="g", gap=True), SegmentLine(uri="h", gap=True)]
    found = outline(alone(media_playlist(lines)), {1: "x", 3: "y", 2: "x", 6: "x"})
    assert (6, 4, 1, 2.5) == (found.segments, found.skipped, found.gaps, found.duration_s)
    assert (
        OutlinedSkip(positions="1-2,6", count=3, reason="x"),
        OutlinedSkip(positions="3", count=1, reason="y"),
    ) == found.skips


def test_groups() -> None:
    """Numbered from 1, with their place in time and what their addresses have in common."""
    lines = [
        *segment_lines(3, duration_s=4.0, name="https://cdn.example/v/seg{:05d}.ts?token=secret"),
        SegmentLine(uri="https://ads.example/x/one.ts", duration_s=1.5, discontinuity=True),
        SegmentLine(uri="https://ads.example/x/other.ts", duration_s=1.5),
    ]
    found = outline(alone(media_playlist(lines)), {5: "advert"})
    first = OutlinedGroup(
        number=1, first=1, last=3, start_s=0.0, duration_s=12.0, url="https://cdn.example/v/seg*.ts", skipped=0
    )
    second = OutlinedGroup(
        number=2, first=4, last=5, start_s=12.0, duration_s=3.0, url="https://ads.example/x/o*", skipped=1
    )
    assert (first, second) == found.groups


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["http://h/a.ts"], "http://h/a.ts"),
        (["http://h/a.ts?x=1", "http://h/a.ts?x=2"], "http://h/a.ts"),
        (["http://h/v1/s1-9.ts", "http://h/v1/s2-10.ts"], "http://h/v1/s*-*.ts"),
        (["http://h/v1/s1.ts", "http://h/v2/s1.ts"], "http://h/v*"),
        (["http://u:p@h/a1.ts", "http://u:p@h/a2.ts"], "http://h/a*.ts"),
        (["http://a/1.ts", "https://b/1.ts"], "http*"),
    ],
)
def test_what_addresses_have_in_common(uris: list[str], expected: str) -> None:
    """Numbers become "*"; queries and passwords are left out."""
    assert expected == url_pattern(uris)


@pytest.mark.parametrize(
    ("positions", "expected"), [([], ""), ([3], "3"), ([5, 1, 2, 3, 9, 8], "1-3,5,8-9"), ([1, 3], "1,3")]
)
def test_positions_as_an_expression(positions: list[int], expected: str) -> None:
    """What may be pasted into skip_ts_info."""
    assert expected == position_ranges(positions)


def test_bytes_by_what_the_variant_says() -> None:
    """AVERAGE-BANDWIDTH before BANDWIDTH, for what is left; it is of all tracks."""
    audio = RenditionLine(group="a", name="x", uri="x")
    found = outline(whole(media_playlist(segment_lines(10)), audio), {1: "x", 2: "x"})
    assert 4_800_000 == found.estimated_bytes
    presentation = whole(media_playlist(segment_lines(10)))
    assert presentation.variant is not None
    peak = attrs.evolve(presentation, variant=attrs.evolve(presentation.variant, average_bandwidth=None))
    assert 9_000_000 == outline(peak, {}).estimated_bytes


def test_bytes_by_what_the_segments_say() -> None:
    """EXT-X-BITRATE (kbit/s) and byte ranges are better than what a variant says; gaps and skips count nothing."""
    lines = [
        SegmentLine(uri="a", before=("#EXT-X-BITRATE:800",)),
        SegmentLine(uri="b"),
        SegmentLine(uri="c", byterange="1000@0"),
        SegmentLine(uri="d", gap=True),
    ]
    assert 1_201_000 == outline(alone(media_playlist(lines)), {}).estimated_bytes
    assert 601_000 == outline(alone(media_playlist(lines)), {1: "x"}).estimated_bytes


def test_bytes_nobody_says() -> None:
    """None, not a guess."""
    lines = [SegmentLine(uri="c", byterange="1000@0"), SegmentLine(uri="d")]
    assert outline(alone(media_playlist(lines)), {}).estimated_bytes is None
    assert outline(alone(media_playlist(segment_lines(1))), {}).estimated_bytes is None


def test_encryption_and_warnings() -> None:
    """Methods and key formats in use, each once; warnings of all playlists."""
    lines = [SegmentLine(uri="a", keys=(KeyLine(uri="k"),)), SegmentLine(uri="b", keys=(KeyLine(uri="l"),))]
    found = outline(alone(media_playlist(lines), warnings=("one", "two", "one")), {})
    assert (("AES-128",), ("identity",)) == (found.methods, found.key_formats)
    assert ("one", "two") == found.warnings
    clear = outline(alone(media_playlist(segment_lines(1))), {})
    assert ((), ()) == (clear.methods, clear.key_formats)
