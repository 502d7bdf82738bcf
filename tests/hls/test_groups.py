"""
Groups between discontinuities, and which of them to keep.
"""

import time

import pytest

from m3u8svc.errors import SelectionError
from m3u8svc.hls.groups import missing_groups, parse_groups, skip_groups, split_groups
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import MediaPlaylist, Segment
from m3u8svc.testing.playlists import SegmentLine, media_playlist


def playlist(*sizes: int) -> MediaPlaylist:
    lines = [SegmentLine(uri=f"{n}-{m}", discontinuity=m == 0 < n) for n, size in enumerate(sizes) for m in range(size)]
    parsed = parse_playlist(media_playlist(lines), "http://h/i.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("  ", ()), ("1", ((1, 1),)), ("1,3-5", ((1, 1), (3, 5))), (" 2 - 4 , 9 ", ((2, 4), (9, 9)))],
)
def test_numbers_and_ranges(text: str, expected: tuple[tuple[int, int], ...]) -> None:
    """As in a skip expression."""
    assert expected == parse_groups(text)


@pytest.mark.parametrize(
    ("text", "position", "item"),
    [("0", 1, "0"), ("1,,2", 3, ""), ("1, x", 3, "x"), ("5-3", 1, "5-3"), ("-1", 1, "-1"), ("1" * 10, 1, "1" * 10)],
)
def test_what_names_no_group_is_refused(text: str, position: int, item: str) -> None:
    """With its place."""
    with pytest.raises(SelectionError) as caught:
        parse_groups(text)
    assert (position, item) == (caught.value.fields["position"], caught.value.fields["item"])


def test_a_list_without_end_is_refused() -> None:
    """Before it is read."""
    with pytest.raises(SelectionError):
        parse_groups("1," * 9000 + "1")


def test_groups_are_cut_at_discontinuities() -> None:
    """In order, none lost."""
    assert [[1, 2], [3], [4, 5, 6]] == [[each.position for each in g] for g in split_groups(playlist(2, 1, 3).segments)]


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        ("", ""),
        ("1,3", ""),
        ("2-9", ""),
        ("3,4", "4"),
        ("7,1,5-6", "7、5-6"),
        (",".join(["9"] * 21), "、".join("9" * 20) + "…"),
    ],
)
def test_groups_that_are_not_there_are_named(kept: str, named: str) -> None:
    """A range is named when all of it lies beyond the end."""
    expected = (f"groups: 没有第 {named} 组，播放列表共有 3 组",) if named else ()
    assert expected == missing_groups(playlist(2, 1, 3).segments, parse_groups(kept))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [("", []), ("1-3", []), ("1", [3, 4, 5, 6]), ("2", [1, 2, 4, 5, 6]), ("1,3-9", [3]), ("9", [1, 2, 3, 4, 5, 6])]
    + [("3,1-9,2", []), ("3,1", [3]), ("3,1-1,1", [3])],
)
def test_what_is_not_kept_is_skipped(kept: str, expected: list[int]) -> None:
    """By position, each with its reason."""
    skips = skip_groups(playlist(2, 1, 3).segments, parse_groups(kept))
    assert expected == list(skips)
    if kept == "1,3-9":
        assert {3: "groups: 第 2 组不在所选之中"} == skips


def test_many_groups_and_many_ranges_take_no_time() -> None:
    """Every group is looked up, not held against every range: a hundred thousand and three thousand of them."""
    segments = [
        Segment(position=n, number=n, uri="http://h/s", duration_s=1.0, start_s=n, discontinuity_sequence=n)
        for n in range(1, 100_001)
    ]
    kept = parse_groups(",".join(str(n) for n in range(97_300, 100_000)))
    started = time.process_time()
    assert 100_000 - 2_700 == len(skip_groups(segments, kept))
    assert time.process_time() - started < 5.0
