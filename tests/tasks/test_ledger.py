"""
The ledger of a task: rows go in and come out as they were, and cost little.
"""

import gc

from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.tasks.ledger import Ledger, SegmentRow, Sizes, file_name

IDENTITY = "0123456789ab"
DIGEST = "ab" * 32

rows = st.lists(
    st.builds(
        SegmentRow,
        track=st.sampled_from(["main", "audio1"]),
        position=st.integers(1, 6),
        identity=st.sampled_from([IDENTITY, "000000000000", "", "ABC"]),
        name=st.sampled_from(["", file_name(1, IDENTITY, "ts"), file_name(2, IDENTITY, "fmp4"), "00000001-x.ts"]),
        size_bytes=st.integers(0, 2**40),
        attempts=st.integers(0, 9),
        outcome=st.sampled_from(["done", "skipped"]),
        reason=st.sampled_from(["", "", "断"]),
        status=st.sampled_from([None, None, 404]),
        digest=st.sampled_from(["", DIGEST, "0" * 64]),
    )
)


@given(rows)
def test_rows_come_out_as_they_went_in(given_rows: list[SegmentRow]) -> None:
    """The last one of each place, whatever it says."""
    ledger = Ledger(given_rows)
    wanted = {(row.track, row.position): row for row in given_rows}
    assert wanted == dict(ledger)
    ledger.keep_done()
    done = {place: row for place, row in wanted.items() if row.outcome == "done"}
    assert done == dict(ledger)
    assert len(done) == len(ledger)


def test_size_of_a_segment_of_any_track() -> None:
    """Two tracks have a position in common, and the identity tells which is meant."""
    sizes = Sizes(Ledger([_row(1), SegmentRow(track="audio1", position=1, identity="ffffffffffff", size_bytes=7)]))
    assert {(1, IDENTITY): 9, (1, "ffffffffffff"): 7} == dict(sizes)
    assert (None, None) == (sizes.get((1, "eeeeeeeeeeee")), sizes.get((2, IDENTITY)))


def test_objects_do_not_grow_with_rows() -> None:
    """Ten thousand rows are not fifty objects."""
    before = _objects()
    ledger = Ledger(_row(position) for position in range(1, 10_001))
    assert _objects() - before < 50
    assert 10_000 == len(ledger)


def _row(position: int) -> SegmentRow:
    name = file_name(position, IDENTITY, "ts")
    return SegmentRow(position=position, identity=IDENTITY, name=name, size_bytes=9, digest=DIGEST)


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
