"""
Laws that hold for all playlists, wounded ones included.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m3u8svc.errors import NothingToDownload, PlaylistError
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_download
from m3u8svc.hls.playlist import MasterPlaylist, MediaPlaylist
from m3u8svc.hls.uri import resolve
from m3u8svc.testing.playlists import CLEAR, MapLine, SegmentLine, VariantLine, master_playlist, media_playlist
from tests.strategies import mutated_playlists, segment_lists, variant_lists

URL = "https://cdn.example/a/index.m3u8"


@settings(max_examples=100)
@given(segment_lists, st.integers(0, 2**40), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_rendered_media_playlist_parses_to_what_was_described(lines: list[SegmentLine], number: int, newline: str):
    """Rendering and parsing lose and add nothing: URIs, durations, ranges, keys, maps, gaps, splices, numbers."""
    playlist = parse_playlist(media_playlist(lines, media_sequence=number, newline=newline).encode(), URL)
    assert isinstance(playlist, MediaPlaylist)
    key, map_, breaks, expected = CLEAR, None, 0, []
    for index, line in enumerate(lines):
        key, map_, breaks = (line.keys or (key,))[0], line.map or map_, breaks + line.discontinuity
        locked = key.method != "NONE" and not line.gap
        iv = int(key.iv, 16) if key.iv else number + index
        expected.append(
            (
                *(resolve(line.uri, URL), line.duration_s, line.title.strip(), line.gap, number + index, breaks),
                line.byterange and tuple(int(part) for part in line.byterange.split("@")),
                (resolve(key.uri, URL), iv) if locked else None,
                resolve(map_.uri, URL) if map_ and not line.gap else None,
            )
        )
    assert [
        (
            *(s.uri, s.duration_s, s.title, s.gap, s.number, s.discontinuity_sequence),
            (s.byterange.length_bytes, s.byterange.offset_bytes) if s.byterange else "",
            (s.key.uri, int.from_bytes(s.iv or b"")) if s.key else None,
            s.init.uri if s.init else None,
        )
        for s in playlist.segments
    ] == expected


@given(variant_lists)
def test_a_rendered_master_playlist_parses_to_what_was_described(lines: list[VariantLine]):
    """All variants, in order, with what they say."""
    playlist = parse_playlist(master_playlist(lines), URL)
    assert isinstance(playlist, MasterPlaylist)
    assert [(v.uri, v.bandwidth, (v.width, v.height), ",".join(v.codecs)) for v in playlist.variants] == [
        (resolve(line.uri, URL), line.bandwidth, line.resolution or (None, None), line.codecs) for line in lines
    ]


_variable_names = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
_variable_values = st.from_regex(r"[a-z0-9./{}$-]{0,8}", fullmatch=True)


@settings(max_examples=200)
@given(
    st.dictionaries(_variable_names, _variable_values, min_size=1, max_size=5),
    st.lists(st.tuples(st.sampled_from(["", "a", "b/", "{", "$"]), st.integers(0, 4)), min_size=1, max_size=6),
)
def test_variables_are_replaced_once_and_by_what_they_stand_for(values: dict[str, str], pieces: list[tuple[str, int]]):
    """A link of variables is the link of their values, also where these look like variables; so is a quoted string."""
    names = list(values)
    used = [(text, names[place % len(names)]) for text, place in pieces]
    written = "x/" + "".join(f"{text}{{${name}}}" for text, name in used)
    meant = "x/" + "".join(text + values[name] for text, name in used)
    # A definition's own value is a quoted string, so what looks like a variable there would be one: it comes by import.
    head = [f'#EXT-X-DEFINE:IMPORT="{name}"' for name in names]
    text = media_playlist([SegmentLine(uri=written)], head=head, map=MapLine(uri=written))
    playlist = parse_playlist(text, URL, definitions=values)
    assert isinstance(playlist, MediaPlaylist)
    (segment,) = playlist.segments
    assert segment.init is not None
    assert segment.uri == segment.init.uri == resolve(meant, URL)


@settings(max_examples=2000)
@given(mutated_playlists())
def test_a_wounded_playlist_is_read_or_refused_by_name(body: bytes):
    """Whatever a server sends, nothing but our own errors comes out, and what comes out can be shown and encoded."""
    try:
        playlist = parse_playlist(body, URL)
    except PlaylistError as error:
        error.text("zh").encode()
        assert "\n" not in error.text("en")
        return
    repr(playlist).encode()
    uris = playlist.segments if isinstance(playlist, MediaPlaylist) else playlist.variants
    assert all(each.uri.startswith(("http://", "https://")) for each in uris)
    for text in playlist.warnings:
        text.encode()
    if isinstance(playlist, MediaPlaylist):
        for segment in playlist.segments:
            f"{segment.title}{segment.uri}{segment.marks}{segment.key and segment.key.uri}".encode()


@settings(max_examples=80)
@given(segment_lists, st.sets(st.integers(1, 12)))
def test_a_plan_keeps_order_and_never_fetches_what_is_skipped(lines: list[SegmentLine], skipped: set[int]):
    """Jobs and absences are the whole list, each in order, each exactly once; identities are unique."""
    playlist = parse_playlist(media_playlist(lines), URL)
    assert isinstance(playlist, MediaPlaylist)
    away = skipped | {segment.position for segment in playlist.segments if segment.gap}
    wanted = [segment for segment in playlist.segments if segment.position not in away]
    if not wanted:
        with pytest.raises(NothingToDownload):
            plan_download(playlist, dict.fromkeys(skipped, "x"))
        return
    plan = plan_download(playlist, dict.fromkeys(skipped, "x"))
    assert [job.segment for job in plan.jobs] == wanted
    assert [each.position for each in plan.absent] == sorted(away & set(range(1, len(lines) + 1)))
    assert len({job.identity for job in plan.jobs}) == len(plan.jobs) == plan.segments_total
    assert {job.segment.init.uri for job in plan.jobs if job.segment.init} == {init.uri for init in plan.inits}
