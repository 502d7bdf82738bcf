"""
What is written down of a low-disk merge.
"""

import pytest

from m3u8svc.hls.cuts import Cuts
from m3u8svc.tasks.merged import Merged, Missing, digest_of, read_merged, write_merged
from m3u8svc.wording import Said, in_english


def test_what_was_written_is_read() -> None:
    """Everything comes back."""
    merged = Merged(
        parts=7,
        size_bytes=12345,
        digest="d",
        cuts=Cuts(3, 0, {"main": 2}),
        file_time=1.5,
        missing=(
            Missing(track="main", position=3, reason="404", status=404),
            Missing(track="a", position=1, reason=Said("失败", "it failed"), lost=True),
        ),
    )
    read = read_merged(write_merged(merged))
    assert merged == read
    assert read is not None
    assert ["404", "it failed"] == [in_english(each.reason) for each in read.missing]


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b"\xff", b'{"parts": 1, "cuts": {}, "missing": []}', b'{"cuts"'])
def test_anything_else_counts_for_nothing(stored: bytes) -> None:
    """A damaged file is no error: the merge begins anew."""
    assert read_merged(stored) is None


def test_digest_tells_plans_apart() -> None:
    """Track, position, identity and order all count."""
    parts = [("main", 1, "a"), ("audio1", 1, "b")]
    others = [parts[:1], parts[::-1], [("main", 2, "a"), parts[1]], [("main", 1, "c"), parts[1]]]
    assert 5 == len({digest_of(each) for each in [parts, *others]})
