"""
Segments in columns: what goes in comes out, and what is kept does not grow by an object for each.
"""

import gc
from datetime import UTC, datetime

import attrs
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.hls.columns import Counting, Digits, Texts
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import ByteRange, InitSection, Key, MediaPlaylist, Segment, SegmentList, pack_segments
from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist

URL = "https://cdn.example/vod/1/index.m3u8"
WHOLE = Segment(position=1, number=7, uri="https://h/a/b.ts?t=1", duration_s=4.5, start_s=0.0)

keys = st.sampled_from([None, Key(method="AES-128", uri="https://h/k"), Key(method="AES-128", uri="k", iv=bytes(16))])
ivs = st.one_of(st.none(), st.sampled_from([bytes(16), (7).to_bytes(16, "big")]), st.binary(min_size=16, max_size=16))
segments = st.lists(
    st.builds(
        Segment,
        position=st.integers(1, 2**20),
        number=st.integers(0, 2**64 + 2**20),
        uri=st.sampled_from(["https://h/a/b.ts", "https://h/a/c.ts?t=/x/y", "data:,?/", "", "https://h/é/"]),
        duration_s=st.floats(0, 1e7),
        start_s=st.floats(0, 1e9),
        title=st.sampled_from(["", "", "one", "甲\ud800"]),
        byterange=st.sampled_from([None, ByteRange(offset_bytes=0, length_bytes=1)]),
        key=keys,
        iv=ivs,
        init=st.sampled_from([None, InitSection(uri="https://h/i.mp4"), InitSection(uri="https://h/j.mp4", ordinal=1)]),
        discontinuity=st.booleans(),
        discontinuity_sequence=st.integers(0, 2**64),
        gap=st.booleans(),
        bitrate=st.sampled_from([None, 0, 5_000]),
        program_date_time=st.sampled_from([None, datetime(2024, 5, 1, tzinfo=UTC)]),
        marks=st.sampled_from([(), ("#EXT-X-CUE-IN",)]),
        line=st.integers(0, 2**21),
        known_as=st.sampled_from(["", "0123456789ab"]),
    ),
    max_size=8,
)


@given(segments)
def test_what_goes_in_comes_out(listed: list[Segment]) -> None:
    """Every field of every segment, in order, whatever stood before it; one by one, too."""
    packed = pack_segments(listed)
    assert listed == list(packed)
    assert listed == [packed[index] for index in range(len(listed))]


@given(segments, st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([1, 2, -1]))
def test_a_slice_is_that_of_a_list(listed: list[Segment], first: int, last: int, step: int) -> None:
    """Its members, its durations and its lines."""
    part = pack_segments(listed)[first:last:step]
    expected = listed[first:last:step]
    assert part == expected
    assert [each.line for each in expected] == list(part.lines)
    assert [each.duration_s for each in expected] == list(part.durations_s)
    assert {each.init for each in expected} - {None} == part.inits


@given(segments)
def test_groups_are_the_stretches_of_one_number(listed: list[Segment]) -> None:
    """In order, nothing left out."""
    groups = list(pack_segments(listed).groups())
    assert listed == [segment for _, members in groups for segment in members]
    assert all(each.discontinuity_sequence == number for number, members in groups for each in members)
    assert all(one[0] != other[0] for one, other in zip(groups, groups[1:], strict=False))


def test_what_is_shown_is_made_when_it_is_looked_at() -> None:
    """Each segment goes through the function, those of a slice, too; the list itself stays as it was."""
    listed = pack_segments([WHOLE, attrs.evolve(WHOLE, position=2)])
    shown = listed.shown(lambda segment: attrs.evolve(segment, title="seen"))
    assert ["seen", "seen"] == [each.title for each in shown]
    assert "seen" == shown[1:][0].title
    init = InitSection(uri="https://h/i.mp4")
    assert {init} == listed.shown(lambda segment: attrs.evolve(segment, init=init)).inits
    assert [2] == [each.position for each in listed[1:].shown(lambda segment: segment)]
    assert "" == listed[0].title


def test_a_hostile_playlist_is_read_the_same() -> None:
    """Numbers that stand behind the segments they count, and IVs made of them."""
    text = media_playlist([SegmentLine(uri="a.ts"), SegmentLine(uri="b.ts")], key=KeyLine(uri="k"))
    late = text.replace("#EXT-X-ENDLIST", "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXT-X-ENDLIST")
    late = late.replace("#EXT-X-MEDIA-SEQUENCE:0\n", "")
    playlist = parse_playlist(late, URL)
    assert isinstance(playlist, MediaPlaylist)
    assert [2**64 - 1, 2**64] == [each.number for each in playlist.segments]
    assert [(2**64 - 1).to_bytes(16, "big"), (2**64).to_bytes(16, "big")] == [each.iv for each in playlist.segments]


def test_objects_do_not_grow_with_segments() -> None:
    """Ten thousand more segments are not a hundred objects more."""
    held = [_parsed(100)]
    before = _objects()
    held.append(_parsed(10_000))
    assert _objects() - before < 100
    assert 10_000 == len(held[1])


def test_texts_that_nobody_put_are_empty() -> None:
    """Before, between and behind those that somebody did."""
    texts = Texts()
    texts.put(1, "a")
    texts.put(3, "字")
    assert ["", "a", "", "字", ""] == [texts[index] for index in range(5)]


def test_digits_take_other_texts() -> None:
    """Capitals, other lengths, spaces; and each can be replaced."""
    digits = Digits(4)
    for text in ("0a1b", "", "0A1B", "xyzw", "0a 1", "00000", "0000"):
        digits.append(text)
    digits.fill(1)
    digits[1] = "ffff"
    digits[0] = "no"
    assert ["no", "ffff", "0A1B", "xyzw", "0a 1", "00000", "0000", ""] == [
        digits[index] for index in range(len(digits))
    ]


def test_counting_takes_any_numbers() -> None:
    """Consecutive or not, and all can be shifted."""
    counting = Counting()
    for number in (5, 6, 7, 1):
        counting.append(number)
    counting.shift(10)
    assert [15, 16, 17, 11] == [counting[index] for index in range(4)]


def _parsed(count: int) -> SegmentList:
    playlist = parse_playlist(media_playlist([SegmentLine(uri=f"{index}.ts") for index in range(count)]), URL)
    assert isinstance(playlist, MediaPlaylist)
    return playlist.segments


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
