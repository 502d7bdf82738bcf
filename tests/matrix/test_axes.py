"""
The selection of the matrix.
"""

from itertools import combinations, product

import pytest

from tests.matrix.__main__ import wanted
from tests.matrix.axes import AXES, Audio, Layout, Row, Timing, every_row, selection, why_impossible


def test_the_product_lacks_only_what_cannot_exist() -> None:
    """Every combination is a row or has a reason not to be one."""
    impossible = [values for values in product(*AXES) if why_impossible(Row(*values))]  # type: ignore[arg-type]
    assert {(Audio.NONE, Layout.SEPARATE), (Audio.NONE, Layout.TWO)} == {(row[2], row[3]) for row in impossible}
    assert 2 * 2 * 4 * 4 * 3 * 6 == len(every_row()) + len(impossible)
    assert 1008 == len(set(every_row()))


@pytest.mark.parametrize(("one", "other"), list(combinations(range(len(AXES)), 2)))
def test_every_two_values_meet(one: int, other: int) -> None:
    """Any two values that stand together in a row of the product do so in the selection."""
    possible = {(row.values[one], row.values[other]) for row in every_row()}
    assert possible == {(row.values[one], row.values[other]) for row in selection()}
    assert len(possible) >= len(AXES[one]) * len(AXES[other]) - 2


def test_what_decides_a_joint_meets_too() -> None:
    """Each timing with each container and each codec of the picture, with each protection, and before Chromium."""
    chosen = selection()
    assert 2 * 2 * len(Timing) == len({(row.container, row.video, row.timing) for row in chosen})
    assert 2 * 3 * len(Timing) == len({(row.container, row.protection, row.timing) for row in chosen})
    assert 2 * len(Timing) == len({(row.container, row.timing) for row in chosen if row.plays_in_chromium})


def test_the_selection_is_small_and_always_the_same() -> None:
    """It is the same streams that pass or fail from one run to the next, about forty."""
    assert selection() == selection()
    assert 30 <= len(selection()) == len(set(selection())) <= 45


def test_words_choose_rows() -> None:
    """A word must be there, one after an exclamation mark must not."""
    rows = [row for row in every_row() if wanted(row, "ts late !h264 !aes")]
    assert 14 * 2 == len(rows)
    assert all((row.container, row.timing, row.video) == ("ts", "late", "hevc") for row in rows)
    assert every_row() == [row for row in every_row() if wanted(row, "")]
