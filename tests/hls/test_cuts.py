"""
Where a low-disk merge is cut.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.hls.cuts import LEAST_BYTES, MOST_BYTES, SHARE, Cuts

Parts = list[tuple[str, int, int]]
"""Track, splice, size of each."""
PARTS = st.lists(
    st.tuples(st.sampled_from(["main", "audio1"]), st.integers(0, 2), st.integers(0, 3 * LEAST_BYTES)), max_size=60
)


def cut(parts: Parts, cuts: Cuts) -> list[int]:
    """Before which parts there is a cut."""
    found = []
    for number, (track, splice, size) in enumerate(parts):
        if cuts.comes_before(is_main=track == "main"):
            found.append(number)
            cuts.cut()
        cuts.add(track=track, splice=splice, size_bytes=size, last=False)
    return found


def test_short_films_are_cut_at_a_mebibyte() -> None:
    """The first cut comes when there is a mebibyte."""
    assert [3, 6] == cut([("main", 0, LEAST_BYTES // 3 + 1)] * 8, Cuts())


def test_share_of_a_long_film() -> None:
    """Later cuts come after a 25th of what there is, and after 64 MiB at most."""
    assert 40_000_000 == Cuts(done_bytes=40_000_000 * SHARE).due_bytes
    assert MOST_BYTES == Cuts(done_bytes=1 << 40).due_bytes


def test_share_of_all_there_is() -> None:
    """And not of what came between the last two cuts."""
    cuts = Cuts()
    for _ in range(3):
        cuts.add(track="main", splice=0, size_bytes=20 * LEAST_BYTES, last=False)
        cuts.cut()
    assert 60 * LEAST_BYTES // SHARE == cuts.due_bytes


def test_cut_waits_for_the_main_track() -> None:
    """A cut stands before a part of the main track only."""
    parts = [("main", 0, 2 * LEAST_BYTES), ("audio1", 0, 10), ("audio1", 0, 10), ("main", 0, 10)]
    assert [3] == cut(parts, Cuts())


@pytest.mark.parametrize(
    ("splices", "expected"),
    [
        ([("main", 0), ("audio1", 0), ("main", 1), ("audio1", 1)], [2]),
        ([("main", 0), ("audio1", 1), ("main", 1), ("main", 1)], [3]),
        ([("main", 0), ("audio1", 0), ("audio1", 1), ("main", 1), ("main", 1)], [4]),
    ],
    ids=["right at the splice", "audio goes ahead", "audio's segments are shorter"],
)
def test_cut_never_parts_tracks_at_a_splice(splices: list[tuple[str, int]], expected: list[int]) -> None:
    """While one track is in another splice than the others there is no cut."""
    assert expected == cut(
        [(*place, 2 * LEAST_BYTES if number == 0 else 10) for number, place in enumerate(splices)], Cuts()
    )


def test_track_that_ended_holds_nobody_up() -> None:
    """A track that is over in an earlier splice does not keep the others from being cut."""
    cuts = Cuts()
    cuts.add(track="audio1", splice=0, size_bytes=LEAST_BYTES, last=True)
    cuts.add(track="main", splice=1, size_bytes=LEAST_BYTES, last=False)
    assert cuts.comes_before(is_main=True)


@given(PARTS, st.data())
def test_cuts_that_were_written_down_go_on_the_same(parts: Parts, data: st.DataObject) -> None:
    """From any cut on, cuts that went through JSON say what the first ones said."""
    expected = cut(parts, Cuts())
    if not expected:
        return
    at = data.draw(st.sampled_from(expected))
    cuts = Cuts()
    cut(parts[:at], cuts)
    cuts.cut()
    again = Cuts.from_fields(json.loads(json.dumps(cuts.as_fields())))
    assert [number for number in expected if number > at] == [at + number for number in cut(parts[at:], again)]


@pytest.mark.parametrize("fields", [{}, {"done_bytes": 1, "fresh_bytes": 0}, {"done_bytes": "1"}])
def test_something_else_is_refused(fields: dict[str, object]) -> None:
    """Fields that are no cuts are told."""
    with pytest.raises(ValueError, match="no cuts"):
        Cuts.from_fields(fields)
