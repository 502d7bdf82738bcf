"""
Streams of every kind through the whole service: the selection of the matrix. The gate runs the whole product with
``python -m tests.matrix --gate``.
"""

from collections.abc import Mapping

import pytest

from tests.matrix.axes import Row, selection
from tests.matrix.product import Bench, Verdict

ROWS = selection()


@pytest.fixture(scope="module")
def verdicts(ready: Bench) -> Mapping[Row, Verdict]:
    """All rows, downloaded side by side by one service."""
    return {verdict.row: verdict for verdict in ready.run(ROWS)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_result_is_the_source(row: Row, verdicts: Mapping[Row, Verdict]) -> None:
    """Every frame and every packet of sound, in step, with its languages and subtitles; no decoder complains."""
    assert () == verdicts[row].problems


@pytest.mark.parametrize("row", [row for row in ROWS if row.plays_in_chromium], ids=lambda row: row.name)
def test_chromium_plays_it(row: Row, verdicts: Mapping[Row, Verdict]) -> None:
    """To its end, every frame decoded and shown at its size, and every beep where its frame is."""
    assert () == verdicts[row].problems
    assert () == verdicts[row].browser_problems
