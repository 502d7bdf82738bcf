"""
Which breaks the tags of a playlist mean.
"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from m3u8svc_skip_ads.marks import Marks, read_marks

from m3u8svc.plugin import Segment

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def segments(count: int, marks: dict[int, list[str]], *, dated: bool = False) -> tuple[Segment, ...]:
    """So many segments of ten seconds, with these marks (without their ``#EXT-X-``) before these positions."""
    return tuple(
        Segment(
            position=position,
            number=position,
            uri=f"http://x/{position}.ts",
            duration_s=10.0,
            start_s=10.0 * (position - 1),
            program_date_time=NOON + timedelta(seconds=10 * (position - 1)) if dated else None,
            marks=tuple(f"#EXT-X-{mark}" for mark in marks.get(position, [])),
        )
        for position in range(1, count + 1)
    )


def breaks(marks: Marks) -> list[tuple[int, int]]:
    """First and last position of each break."""
    return [(each.first, each.last) for each in marks.breaks]


CUES: dict[str, tuple[dict[int, list[str]], list[tuple[int, int]]]] = {
    "out and in": ({3: ["CUE-OUT"], 6: ["CUE-IN"]}, [(3, 5)]),
    "a duration and in": ({3: ["CUE-OUT:30"], 5: ["CUE-IN"]}, [(3, 4)]),
    "a duration alone": ({3: ["CUE-OUT:30.0"]}, [(3, 5)]),
    "a duration as attribute": ({3: ['CUE-OUT:DURATION=20,BREAKID="0"']}, [(3, 4)]),
    "in far too late": ({3: ["CUE-OUT:20"], 9: ["CUE-IN"]}, [(3, 4)]),
    "in a little late": ({3: ["CUE-OUT:20"], 6: ["CUE-IN"]}, [(3, 5)]),
    "one after the other": ({3: ["CUE-OUT:20"], 5: ["CUE-OUT:10"], 6: ["CUE-IN"]}, [(3, 4), (5, 5)]),
    "in and out at one place": ({3: ["CUE-OUT"], 5: ["CUE-IN", "CUE-OUT"], 7: ["CUE-IN"]}, [(3, 4), (5, 6)]),
    "out said twice": ({3: ["CUE-OUT:20", "CUE-OUT:20"], 5: ["CUE-IN"]}, [(3, 4)]),
    "out that goes on": ({3: ["CUE-OUT:30"], 4: ["CUE-OUT-CONT:10/30"], 6: ["CUE-IN"]}, [(3, 5)]),
    "begins inside a break": ({1: ["CUE-OUT-CONT:10/30"]}, [(1, 2)]),
    "begins inside, attributes": ({1: ["CUE-OUT-CONT:ElapsedTime=10,Duration=30"]}, [(1, 2)]),
    "most of a segment": ({3: ["CUE-OUT:26"]}, [(3, 5)]),
    "less than half of a segment": ({3: ["CUE-OUT:24"]}, [(3, 4)]),
    "goes on without having begun": ({4: ["CUE-OUT-CONT:10/30"], 6: ["CUE-IN"]}, []),
    "in without out": ({3: ["CUE-IN"]}, []),
    "a duration of nothing": ({3: ["CUE-OUT:0"]}, []),
    "out and in at one place": ({3: ["CUE-OUT", "CUE-IN"]}, []),
    "past the end": ({9: ["CUE-OUT:1000"]}, [(9, 10)]),
}


@pytest.mark.parametrize("name", CUES)
def test_cues_mark_breaks(name: str) -> None:
    """A break lasts until its CUE-IN or as long as it was announced."""
    marks, expected = CUES[name]
    read = read_marks(segments(10, marks))
    assert (expected, ()) == (breaks(read), read.notes)


@pytest.mark.parametrize("mark", ["CUE-OUT", "CUE-OUT:", "CUE-OUT:soon", "CUE-OUT:-5", "CUE-OUT:1e9"])
def test_open_cue_is_told_and_ignored(mark: str) -> None:
    """Everything after an open CUE-OUT might be the programme."""
    read = read_marks(segments(10, {3: [mark]}))
    (note,) = read.notes
    assert [] == breaks(read)
    assert "the CUE-OUT before segment 3 has neither a duration nor a CUE-IN: ignored" == note.en
    assert "第 3 个分片前的 CUE-OUT 既无时长也无 CUE-IN，已忽略" == note.zh


@pytest.mark.parametrize(
    ("marks", "trailing", "expected"),
    [
        ({9: ["CUE-OUT"]}, ["CUE-IN"], [(9, 10)]),
        ({8: ["CUE-OUT:20"]}, ["CUE-IN"], [(8, 10)]),
        ({1: ["CUE-OUT:20"]}, ["CUE-IN"], [(1, 2)]),
        ({}, ["CUE-IN"], []),
        ({}, ["CUE-OUT:30"], []),
        ({9: ["CUE-OUT"]}, ["CUE-IN", "CUE-OUT"], [(9, 10)]),
    ],
)
def test_marks_after_the_last_segment_end_a_break(
    marks: dict[int, list[str]], trailing: list[str], expected: list[tuple[int, int]]
) -> None:
    """A break at the end of the programme is closed by what stands behind it; none begins there."""
    read = read_marks(segments(10, marks), tuple(f"#EXT-X-{mark}" for mark in trailing))
    assert (expected, ()) == (breaks(read), read.notes)


def test_date_range_may_be_completed_after_the_last_segment() -> None:
    """The tag that tells the end of the last advert comes when it is over."""
    begun = {9: ['DATERANGE:ID="a",START-DATE="2024-05-01T12:01:20Z",SCTE35-OUT=0xFC']}
    ended = ('#EXT-X-DATERANGE:ID="a",SCTE35-IN=0xFC,DURATION=20',)
    assert [(9, 10)] == breaks(read_marks(segments(10, begun, dated=True), ended))


def _range(text: str, start: str = "2024-05-01T12:00:30Z") -> dict[int, list[str]]:
    return {1: [f'DATERANGE:ID="a",START-DATE="{start}",{text}']}


DATES: dict[str, tuple[dict[int, list[str]], list[tuple[int, int]]]] = {
    "an out point with a duration": (_range("DURATION=20,SCTE35-OUT=0xFC"), [(4, 5)]),
    "planned only": (_range("PLANNED-DURATION=20.0,SCTE35-OUT=0xFC"), [(4, 5)]),
    "an end": (_range('END-DATE="2024-05-01T12:00:50Z",SCTE35-OUT=0xFC'), [(4, 5)]),
    "another zone": (_range("DURATION=20,SCTE35-OUT=0xFC", "2024-05-01T20:00:30+08:00"), [(4, 5)]),
    "no zone": (_range("DURATION=20,SCTE35-OUT=0xFC", "2024-05-01T12:00:30"), [(4, 5)]),
    "a class that says so": (_range('CLASS="twitch-stitched-ad",DURATION=20'), [(4, 5)]),
    "a class of another kind": (_range('CLASS="com.example.loading",DURATION=20'), []),
    "an interstitial": (_range('CLASS="com.apple.hls.interstitial",X-ASSET-URI="a",DURATION=20'), []),
    "an end told later": (
        {**_range("SCTE35-OUT=0xFC"), 6: ['DATERANGE:ID="a",SCTE35-IN=0xFC,DURATION=20']},
        [(4, 5)],
    ),
    "inside a cue": ({**_range("DURATION=20,SCTE35-OUT=0xFC"), 3: ["CUE-OUT"], 7: ["CUE-IN"]}, [(3, 6)]),
}


@pytest.mark.parametrize("name", DATES)
def test_date_ranges_mark_breaks(name: str) -> None:
    """A date range of an advert covers the segments whose time lies in it, wherever its tag stands."""
    marks, expected = DATES[name]
    read = read_marks(segments(10, marks, dated=True))
    assert expected == breaks(read)


@pytest.mark.parametrize(
    ("marks", "dated"),
    [
        (_range("DURATION=20,SCTE35-OUT=0xFC"), False),
        (_range("SCTE35-OUT=0xFC"), True),
        (_range("DURATION=20,SCTE35-OUT=0xFC", "tomorrow"), True),
        (_range("DURATION=20,SCTE35-OUT=0xFC", "1999-01-01T00:00:00Z"), True),
        (_range("DURATION=9999999,SCTE35-OUT=0xFC", "9999-12-31T00:00:00Z"), True),
    ],
)
def test_date_range_that_cannot_be_placed_is_told(marks: dict[int, list[str]], dated: bool) -> None:
    """Without dates, without an end or elsewhere: nothing is guessed."""
    read = read_marks(segments(10, marks, dated=dated))
    assert ([], 1) == (breaks(read), len(read.notes))


SPAN = "DATERANGE:SCTE35-OUT=1,START-DATE=2024-05-01T12:00:15Z,DURATION="
junk = st.text("0129.:=,/- e\"'ZDURATION广", max_size=9)
tags = st.sampled_from(["CUE-IN", "CUE-OUT", "CUE-OUT:20", "CUE-OUT-CONT:1/2", "CUE-OUT:0", SPAN + "30"])
marks_lists = st.dictionaries(
    st.integers(1, 10),
    st.lists(st.one_of(tags, junk, junk.map(SPAN.__add__), junk.map("CUE-OUT:".__add__)), max_size=3),
)


@given(count=st.sampled_from([0, 10]), marks=marks_lists, trailing=st.lists(tags, max_size=3), dated=st.booleans())
def test_law_breaks_are_in_order_and_inside(
    count: int, marks: dict[int, list[str]], trailing: list[str], dated: bool
) -> None:
    """Whatever is written there: breaks never overlap and never leave the playlist."""
    behind = tuple(f"#EXT-X-{mark}" for mark in trailing)
    found = breaks(read_marks(segments(count, marks, dated=dated), behind))
    ends = [position for pair in found for position in pair]
    assert ends == sorted(ends) and all(1 <= position <= count for position in ends)
    assert all(before[1] < after[0] for before, after in zip(found, found[1:], strict=False))
