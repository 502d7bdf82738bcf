"""
Two readings of one playlist: which pieces are the same (R-INT-3).
"""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.playlist import Key, MediaPlaylist
from m3u8svc.hls.rematch import compare, links_of, pieces_of, renamed_keys, with_links_of
from m3u8svc.testing.playlists import KeyLine, SegmentLine, media_playlist

COUNT = 6
Listed = list[SegmentLine]


def playlist(lines: Listed, *, url: str = "https://a.test/v/list.m3u8", first: int = 0) -> MediaPlaylist:
    parsed = parse_playlist(media_playlist(lines, media_sequence=first), url)
    assert isinstance(parsed, MediaPlaylist)
    return parsed


def plain(count: int = COUNT, token: str = "old") -> Listed:
    return [SegmentLine(uri=f"{n}.ts?t={token}", duration_s=6.0) for n in range(count)]


def locked(key: str, token: str = "old") -> Listed:
    first, *rest = plain(token=token)
    return [attrs.evolve(first, keys=(KeyLine(uri=f"{key}?t={token}"),)), *rest]


def changed(index: int, **fields: object) -> Listed:
    listed = plain(token="new")
    listed[index] = attrs.evolve(listed[index], **fields)
    return listed


def keys_of(of: MediaPlaylist) -> frozenset[tuple[int, str]]:
    return frozenset((piece.position, piece.identity) for piece in pieces_of(of))


ALL_KEPT = (6, 0, 0, False)
NOTHING_KEPT = (0, 6, 6, True)


@pytest.mark.parametrize(
    ("now", "kept_dropped_lost_remade"),
    [
        pytest.param(playlist(plain()), ALL_KEPT, id="same"),
        pytest.param(playlist(plain(token="new")), ALL_KEPT, id="other tokens"),
        pytest.param(playlist(plain(), url="https://b.test/v/list.m3u8?x=1"), ALL_KEPT, id="other host"),
        pytest.param(playlist(changed(2, duration_s=6.04)), ALL_KEPT, id="rounded otherwise"),
        pytest.param(playlist(plain(9)), ALL_KEPT, id="longer"),
        pytest.param(playlist(plain(4)), (4, 2, 2, False), id="shorter"),
        pytest.param(playlist(changed(2, uri="advert.ts")), (5, 1, 1, False), id="one replaced"),
        pytest.param(playlist(plain()[2:], first=2), (0, 6, 6, False), id="begins later, so at other positions"),
        pytest.param(playlist(plain(), url="https://a.test/w/list.m3u8"), (0, 6, 6, False), id="other directory"),
        pytest.param(playlist(plain()[1:]), (0, 6, 6, False), id="begins later, numbers and all"),
    ],
)
def test_what_is_still_the_same(now: MediaPlaylist, kept_dropped_lost_remade: tuple[int, int, int, bool]) -> None:
    """Only a piece with the same number, path, splice, length and lock, at the same position."""
    before = playlist(plain())
    found = compare(pieces_of(before), now, there=keys_of(before))
    assert kept_dropped_lost_remade == (found.kept, len(found.dropped), found.lost, found.remade)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(changed(2, duration_s=6.1), id="length"),
        pytest.param(changed(2, discontinuity=True), id="splice"),
        pytest.param(changed(2, byterange="500@0"), id="byte range"),
        pytest.param(locked("k", token="new"), id="encrypted"),
    ],
)
def test_a_name_that_means_another_piece_tells_of_another_version(now: Listed) -> None:
    """Then what looks alike is no more to be trusted than the rest: nothing is kept."""
    before = playlist(plain())
    found = compare(pieces_of(before), playlist(now), there=keys_of(before))
    assert found.remade
    assert (0, 6) == (found.kept, len(found.dropped))


def test_another_key_is_another_version() -> None:
    """What is locked with another key was made anew; the same key under another token is the same."""
    before = playlist(locked("k"))
    assert compare(pieces_of(before), playlist(locked("other"))).remade
    assert not compare(pieces_of(before), playlist(locked("k", token="new"))).lost


def test_only_files_that_are_there_are_kept_or_dropped() -> None:
    """What was never fetched needs no decision."""
    before = playlist(plain())
    some = frozenset(sorted(keys_of(before))[:2])
    found = compare(pieces_of(before), playlist(plain(1)), there=some)
    assert (1, 1, 5) == (found.kept, len(found.dropped), found.lost)


def test_a_segment_gets_new_links_and_nothing_else() -> None:
    """Its place and time stay those of the plan; key and init section get theirs, too."""
    before, now = playlist(locked("k")), playlist(locked("k", token="new"), url="https://b.test/v/l")
    segment = before.segments[3]
    found = with_links_of(now, segment)
    assert found is not None
    assert ("https://b.test/v/3.ts?t=new", "", "https://b.test/v/k?t=new", "") == links_of(found)
    assert segment == attrs.evolve(found, uri=segment.uri, key=segment.key)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(playlist(plain(3)), id="not there"),
        pytest.param(playlist(changed(3, uri="x.ts")), id="another"),
        pytest.param(playlist(changed(3, gap=True)), id="a gap now"),
        pytest.param(playlist(plain()[5:], first=5), id="before the first"),
    ],
)
def test_a_segment_that_is_not_there_gets_none(now: MediaPlaylist) -> None:
    """No link to another piece, and none that leads nowhere."""
    assert with_links_of(now, playlist(plain()).segments[3]) is None


def test_a_segment_is_found_by_its_number() -> None:
    """Also where the list begins later by now."""
    found = with_links_of(playlist(plain(token="new")[2:], first=2), playlist(plain()).segments[3])
    assert found is not None
    assert ("https://a.test/v/3.ts?t=new", 4, 18.0) == (found.uri, found.position, found.start_s)


def test_keys_are_known_by_their_first_link() -> None:
    """Tokens change, the key does not."""
    names = renamed_keys(playlist(locked("k")), playlist(locked("k", token="new")))
    assert {"https://a.test/v/k?t=new": "https://a.test/v/k?t=old"} == names


def test_a_key_that_was_two_before_is_fetched() -> None:
    """Which of them it is nobody can say."""
    two = plain()
    for number in (0, 3):
        two[number] = attrs.evolve(two[number], keys=(KeyLine(uri=f"k?id={number}"),))
    assert {} == renamed_keys(playlist(two), playlist(locked("k", token="new")))


def test_a_key_that_the_user_gave_is_part_of_a_piece() -> None:
    """With another one, the same piece is another file."""
    before = playlist(locked("k"))

    def with_key(value: bytes) -> MediaPlaylist:
        given = Key(method="AES-128", uri="data:,", value=value)
        return attrs.evolve(before, segments=tuple(attrs.evolve(each, key=given) for each in before.segments))

    assert not compare(pieces_of(with_key(b"1" * 16)), with_key(b"1" * 16)).lost
    assert compare(pieces_of(with_key(b"1" * 16)), with_key(b"2" * 16)).remade


@given(
    durations=st.lists(st.sampled_from([1.0, 2.0, 6.0]), min_size=1, max_size=8),
    others=st.lists(st.sampled_from([1.0, 2.0, 6.0]), min_size=1, max_size=8),
)
def test_no_two_versions_are_ever_mixed(durations: list[float], others: list[float]) -> None:
    """Under the same names, either every length that both have is the same, or nothing is kept."""
    before = playlist([SegmentLine(uri=f"{n}.ts", duration_s=each) for n, each in enumerate(durations)])
    now = playlist([SegmentLine(uri=f"{n}.ts", duration_s=each) for n, each in enumerate(others)])
    found = compare(pieces_of(before), now, there=keys_of(before))
    both = list(zip(durations, others, strict=False))
    assert found.remade is any(one != other for one, other in both)
    assert found.kept == (0 if found.remade else len(both))


def test_keys_are_renamed_behind_what_is_gone() -> None:
    """A list that has moved on, and one with a segment without a key, still say what the others' keys were called."""
    lines = [attrs.evolve(line, keys=(KeyLine(uri=f"{n}?t=old"),)) for n, line in enumerate(plain())]
    later = [attrs.evolve(line, keys=(KeyLine(uri=f"{n}?t=new"),)) for n, line in enumerate(plain(token="new"))][2:]
    names = renamed_keys(playlist(lines), playlist(later, first=2))
    assert {f"https://a.test/v/{n}?t=new": f"https://a.test/v/{n}?t=old" for n in range(2, COUNT)} == names
    bare = [*plain()[:2], *lines[2:]]
    assert names == renamed_keys(playlist(bare), playlist(later, first=2))
    moved = [attrs.evolve(later[0], keys=(KeyLine(uri="elsewhere?t=new"),)), *later[1:]]
    found = renamed_keys(playlist(lines), playlist(moved, first=2))
    assert [f"https://a.test/v/{n}?t=new" for n in range(3, COUNT)] == sorted(found)
