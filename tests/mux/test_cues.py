"""
Cues on the output's timeline: which stretch they belong to, what of them is cut off, which of them are one.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.mux.cues import Held, Placer, Sample, Segment, Stretch, Sweep
from m3u8svc.mux.timeline import NS
from m3u8svc.mux.webvtt import Cue, TimestampMap

MS = 1_000_000
WRAP = 1 << 33


def cue(start_s: float, end_s: float, text: str, settings: str = "") -> Cue:
    return Cue(start_ns=round(start_s * NS), end_ns=round(end_s * NS), text=text, settings=settings)


def segment(
    number: int,
    start_s: float,
    *cues: Cue,
    splice: int = 0,
    duration_s: float = 10.0,
    mpegts: int | None = None,
    local_s: float = 0.0,
    on_media_clock: bool = False,
) -> Segment:
    mapped = None if mpegts is None else TimestampMap(mpegts=mpegts, local_ns=round(local_s * NS))
    return Segment(
        number=number,
        splice=splice,
        start_s=start_s,
        duration_s=duration_s,
        cues=cues,
        mapped=mapped,
        on_media_clock=on_media_clock,
    )


def stretch(start_s: float, *, source_s: float, out_s: float | None = None, splice: int = 0) -> Stretch:
    """A stretch that begins with source time `source_s` and playlist time `start_s`."""
    out_ns = round((start_s if out_s is None else out_s) * NS)
    return Stretch(
        splice=splice, out_ns=out_ns, offset_ns=out_ns - round(source_s * NS), place_ns=out_ns - round(start_s * NS)
    )


class Placed:
    """
    A placer driven as audio and video would: `play` writes ten seconds at a time.
    """

    def __init__(self) -> None:
        self.told: list[int] = []
        self.placer = Placer(lambda number, text: self.told.append(number))
        self.samples: list[Sample] = []
        self.lost = 0

    def run(self, stretches: list[Stretch], segments: list[Segment], *, end_s: float) -> list[tuple[float, float, str]]:
        """Cues in seconds, after `end_s` of output."""
        coming = sorted(segments, key=lambda each: each.start_s)
        for each, following in zip(stretches, [*stretches[1:], None], strict=True):
            self.placer.enter(each)
            until_s = end_s if following is None else following.out_ns / NS
            at_s, playlist_s = each.out_ns / NS, (each.out_ns - each.place_ns) / NS
            while at_s < until_s:
                step_s = min(10.0, until_s - at_s)
                while coming and coming[0].start_s < playlist_s + step_s:
                    self.placer.add(coming.pop(0))
                at_s += step_s
                self.placer.advance(playlist_s=playlist_s, horizon_ns=round(at_s * NS))
                self.samples += self.placer.samples(settled_ns=round((at_s - 0.01) * NS))
                playlist_s += step_s
        for left in coming:
            self.placer.add(left)
        self.samples += self.placer.finish(round(end_s * NS))
        self.lost = self.placer.left
        return [(each.start_ns / NS, each.end_ns / NS, each.text) for each in self.placer.list]


def run(
    stretches: list[Stretch], segments: list[Segment], *, end_s: float = 100.0
) -> tuple[list[tuple[float, float, str]], list[int]]:
    """The cues, and which segments people were told about."""
    placed = Placed()
    cues = placed.run(stretches, segments, end_s=end_s)
    shown = [(s.start_ns / NS, s.end_ns / NS, "|".join(s.texts)) for s in placed.samples]
    assert sorted(shown) == shown
    assert all(before[1] <= after[0] for before, after in zip(shown, shown[1:], strict=False))
    return cues, placed.told


# -- Where a cue stands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mpegts", "local_s"),
    [(900_000, 0), (900_000 + 5 * 90_000, 5), (900_000 + WRAP, 0), (0, -10), (900_000 - 3 * 90_000, -3)],
)
def test_a_media_time_is_on_the_clock_of_the_splice(mpegts: int, local_s: float):
    """Media starts at 10 s of its clock, the output at 0; the map may be said in many ways."""
    mapped = segment(1, 0, cue(1, 2, "x"), mpegts=mpegts, local_s=local_s)
    assert ([(1.0, 2.0, "x")], []) == run([stretch(0, source_s=10)], [mapped])


def test_a_media_time_is_unwrapped_next_to_the_media():
    """The 33 bits turn over in the middle of a segment, and media is in its third turn."""
    start_s = (3 * WRAP - 5 * 90_000) / 90_000
    segments = [
        segment(1, 0, cue(4, 6, "over"), cue(7, 8, "after"), mpegts=WRAP - 5 * 90_000),
        segment(2, 10, cue(11, 12, "next"), mpegts=WRAP - 5 * 90_000),
        segment(3, 20, cue(1, 2, "own"), mpegts=15 * 90_000),
    ]
    cues, told = run([stretch(0, source_s=start_s)], segments)
    assert [] == told
    assert [(4, 6, "over"), (7, 8, "after"), (11, 12, "next"), (21, 22, "own")] == [
        (round(start, 3), round(end, 3), text) for start, end, text in cues
    ]


def test_fmp4_times_are_media_times():
    """They do not wrap and need no map."""
    found = run(
        [stretch(0, source_s=1_700_000_000)],
        [segment(1, 0, cue(1_700_000_001, 1_700_000_002, "x"), on_media_clock=True)],
    )
    assert ([(1.0, 2.0, "x")], []) == found


def test_without_a_map_a_cue_counts_from_the_start_of_the_presentation():
    """Whatever the clock of the media; in every segment and over splices that set the clock anew."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=3, splice=1), stretch(40, source_s=700, splice=2)]
    segments = [
        segment(n, 10.0 * n - 10, cue(10 * n - 8, 10 * n - 7, str(n)), splice=(n - 1) // 2) for n in range(1, 6)
    ]
    assert ([(10.0 * n - 8, 10.0 * n - 7, str(n)) for n in range(1, 6)], []) == run(stretches, segments)


def test_each_splice_has_its_own_offset():
    """The clock is set anew at 20 and at 30 s; the maps follow it."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=0, splice=1), stretch(30, source_s=55_000, splice=2)]
    segments = [
        segment(1, 0, cue(1, 2, "a"), mpegts=900_000),
        segment(2, 10, cue(11, 12, "b"), mpegts=900_000),
        segment(3, 20, cue(1, 2, "c"), splice=1, mpegts=0),
        segment(4, 30, cue(0, 3, "d"), splice=2, mpegts=55_000 * 90_000),
    ]
    found = run(stretches, segments)
    assert ([(1, 2, "a"), (11, 12, "b"), (21, 22, "c"), (30, 33, "d")], []) == found


def test_a_cue_ends_with_its_splice():
    """Its media time goes on, its splice does not."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=0, splice=1)]
    segments = [
        segment(1, 0, mpegts=900_000),
        segment(2, 10, cue(18, 25, "cut"), cue(21, 22, "never"), mpegts=900_000),
        segment(3, 20, cue(1, 2, "c"), splice=1, mpegts=0),
    ]
    assert ([(18, 20, "cut"), (21, 22, "c")], []) == run(stretches, segments)


def test_a_cue_starts_with_its_splice():
    """Neither before the file nor before its splice."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=100, splice=1)]
    segments = [
        segment(1, 0, cue(-3, 2, "first"), cue(-3, -1, "never"), mpegts=900_000),
        segment(2, 20, cue(98, 102, "second"), splice=1, mpegts=0),
    ]
    assert ([(0, 2, "first"), (20, 22, "second")], []) == run(stretches, segments)


@pytest.mark.parametrize("mpegts", [None, 900_000])
def test_a_left_out_stretch_takes_its_cues_along(mpegts: int | None):
    """20 to 30 s of the playlist are skipped and what follows moves up, on the same clock."""
    stretches = [stretch(0, source_s=10), stretch(30, source_s=40, out_s=20)]
    texts = [
        cue(18, 22, "before"),
        cue(24, 26, "inside"),
        cue(29, 31, "after"),
        cue(35, 36, "later"),
        cue(19, 32, "over"),
    ]
    cues, told = run(stretches, [segment(1, 0, *texts, mpegts=mpegts, duration_s=50)])
    assert [] == told
    assert [(18, 20, "before"), (19, 22, "over"), (20, 21, "after"), (25, 26, "later")] == sorted(cues)


def test_a_playlist_without_splices_follows_the_main_one():
    """Its discontinuity sequence number stays 0 and its clock goes on, where the media's is set anew."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=500, splice=1), stretch(40, source_s=50, splice=2)]
    segments = [segment(n, 10.0 * n - 10, cue(10 * n - 8, 10 * n - 7, str(n)), mpegts=900_000) for n in range(1, 6)]
    cues, told = run(stretches, segments)
    assert [(10.0 * n - 8, 10.0 * n - 7, str(n)) for n in range(1, 6)] == cues
    assert [3, 4] == told


def test_a_whole_film_in_one_segment_follows_the_main_playlist():
    """From the second splice on only the playlist tells where it is."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=500, splice=1)]
    whole = segment(1, 0, *(cue(each, each + 1, str(each)) for each in range(0, 40, 5)), mpegts=900_000, duration_s=40)
    cues, told = run(stretches, [whole], end_s=40)
    assert ([(each, each + 1, str(each)) for each in range(0, 40, 5)], []) == (cues, told)


def test_a_cue_over_a_seamless_splice_is_one():
    """The clock is set anew and the playlist goes on: a cue without a map is not cut in two."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=500, splice=1)]
    assert ([(18, 22, "x")], []) == run(stretches, [segment(1, 10, cue(18, 22, "x"))])


@pytest.mark.parametrize(
    ("start_s", "cue_s", "expected_s"),
    [(20, 21, 21), (20, 3, 23), (0, 3, 3)],
    ids=["of the presentation", "of the segment", "both"],
)
def test_a_media_time_far_from_the_playlist_is_not_believed(start_s: float, cue_s: float, expected_s: float):
    """A packager that writes MPEGTS:0 for media that is at 10 h: the playlist's time is taken, and people are told."""
    wrong = segment(7, start_s, cue(cue_s, cue_s + 1, "x"), mpegts=0)
    assert ([(expected_s, expected_s + 1, "x")], [7]) == run([stretch(0, source_s=36_000)], [wrong])


def test_a_splice_that_audio_and_video_never_enter():
    """The segment's number is wrong: the clock that is there is tried."""
    found = run([stretch(0, source_s=10)], [segment(1, 0, cue(1, 2, "x"), splice=9, mpegts=900_000)], end_s=30)
    assert ([(1, 2, "x")], []) == found


def test_a_segment_of_the_next_splice_waits_for_it():
    """Sums of durations are never exact: it seems to begin a little before the splice does."""
    stretches = [stretch(0, source_s=10), stretch(20, source_s=50, splice=1)]
    segments = [segment(1, 19.99, cue(50.5, 51, "x"), splice=1, mpegts=0)]
    assert ([(20.5, 21, "x")], []) == run(stretches, segments)


def test_what_comes_after_the_end_is_counted():
    """A download that was cut short: the file must not outlast its pictures."""
    placed = Placed()
    segments = [segment(1, 0, cue(8, 12, "over"), cue(10, 11, "at"), cue(13, 14, "after"))]
    assert [(8, 10, "over")] == placed.run([stretch(0, source_s=0)], segments, end_s=10)
    assert 2 == placed.lost


@pytest.mark.parametrize("mpegts", [None, 900_000])
def test_a_second_file_starts_at_nought(mpegts: int | None):
    """Its cues count from there; one that the end of the first cut off goes on, unless its splice is over."""
    placer = Placer(lambda number, text: None)
    placer.enter(stretch(0, source_s=10))
    placer.add(segment(1, 0, cue(8, 12, "over"), cue(13, 14, "after"), mpegts=mpegts, duration_s=20))
    placer.advance(playlist_s=0, horizon_ns=10 * NS)
    samples, first = list(placer.end_file(10 * NS)), placer.list
    placer.begin_file()
    placer.enter(stretch(10, source_s=20, out_s=0))
    samples += placer.finish(10 * NS)
    assert [(8, 10, "over")] == [(each.start_ns / NS, each.end_ns / NS, each.text) for each in first]
    assert [(0, 2, "over"), (3, 4, "after")] == [
        (each.start_ns / NS, each.end_ns / NS, each.text) for each in placer.list
    ]
    assert [(8, 10), (0, 2), (3, 4)] == [(each.start_ns / NS, each.end_ns / NS) for each in samples]


def test_nothing_is_placed_without_audio_and_video():
    """There is no timeline then."""
    placed = Placed()
    placed.placer.add(segment(1, 0, cue(1, 2, "x")))
    assert ([], 1, []) == (list(placed.placer.finish(0)), placed.placer.left, list(placed.placer.list))


# -- One cue, told twice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((8, 12), (8, 12), [(8, 12)]),
        ((8, 12), (8.001, 12), [(8, 12)]),
        ((8, 12), (8, 13), [(8, 13)]),
        ((8, 10), (10, 12), [(8, 12)]),
        ((8, 10), (10.001, 12), [(8, 12)]),
        ((8, 12), (10, 12), [(8, 12)]),
        ((8, 10), (10.002, 12), [(8, 10), (10.002, 12)]),
        ((8, 9), (11, 12), [(8, 9), (11, 12)]),
    ],
)
@pytest.mark.parametrize("mpegts", [None, 0])
def test_repeated_and_cut_cues(
    first: tuple[float, float], second: tuple[float, float], expected: list[tuple[float, float]], mpegts: int | None
):
    """Packagers repeat a cue in each segment it touches, whole or in pieces; to the millisecond it is one."""
    segments = [segment(1, 0, cue(*first, "x"), mpegts=mpegts), segment(2, 10, cue(*second, "x"), mpegts=mpegts)]
    placed = Placed()
    assert expected == [each[:2] for each in placed.run([stretch(0, source_s=0)], segments, end_s=30)]
    assert expected == [(each.start_ns / NS, each.end_ns / NS) for each in placed.samples]


def test_a_cue_over_many_segments_is_one():
    """Three pieces, and all of it repeated in each segment."""
    segments = [
        segment(n, 10.0 * n - 10, cue(5, 25, "whole"), cue(max(5, 10 * n - 10), min(25, 10 * n), "cut"))
        for n in (1, 2, 3)
    ]
    placed = Placed()
    assert [(5, 25, "cut"), (5, 25, "whole")] == placed.run([stretch(0, source_s=0)], segments, end_s=30)
    assert [Sample(start_ns=5 * NS, end_ns=25 * NS, texts=("cut", "whole"))] == placed.samples


def test_what_is_said_twice_stays_twice():
    """Within one segment cues that follow each other are two; other texts and places are others."""
    found = run(
        [stretch(0, source_s=0)],
        [
            segment(1, 0, cue(1, 2, "Yes."), cue(2, 3, "Yes."), cue(5, 6, "a"), cue(5, 6, "b"), cue(5, 6, "a", "top")),
            segment(2, 10, cue(11, 12, "Yes."), cue(1, 2, "Yes.")),
        ],
    )  # fmt: skip
    assert 6 == len(found[0])
    assert [(1, 2, "Yes."), (2, 3, "Yes."), (11, 12, "Yes.")] == [each for each in found[0] if each[2] == "Yes."]


# -- What is shown -----------------------------------------------------------------------------------------------------


def sweep(*cues: Cue) -> list[Sample]:
    swept = Sweep()
    for each in cues:
        swept.add(Held(cue=each, source=1))
    return list(swept.advance(None))


def test_overlapping_cues_become_samples_of_their_own():
    """A text track shows one sample at a time."""
    samples = sweep(cue(1, 5, "a"), cue(3, 7, "b"), cue(3, 4, "c"), cue(9, 10, "d"))
    assert [(1, 3, "a"), (3, 4, "a|b|c"), (4, 5, "a|b"), (5, 7, "b"), (9, 10, "d")] == [
        (each.start_ns / NS, each.end_ns / NS, "|".join(each.texts)) for each in samples
    ]


cues_at = st.builds(
    lambda start, length, text: Cue(start_ns=start * MS, end_ns=(start + length) * MS, text=text),
    st.integers(0, 60),
    st.integers(1, 30),
    st.sampled_from("abc"),
)


@given(st.lists(cues_at, max_size=8), st.lists(st.integers(0, 100), max_size=5).map(sorted))
def test_samples_show_at_any_time_what_the_cues_say(cues: list[Cue], settled: list[int]):
    """However often they are asked for."""
    swept = Sweep()
    coming = sorted(cues, key=lambda each: each.start_ns)
    samples: list[Sample] = []
    for each_ms in [*settled, None]:
        while coming and (each_ms is None or coming[0].start_ns <= each_ms * MS):
            swept.add(Held(cue=coming.pop(0), source=1))
        samples += swept.advance(None if each_ms is None else each_ms * MS)
    for at_ms in range(100):
        at_ns = at_ms * MS + 1
        said = sorted(each.text for each in cues if each.start_ns <= at_ns < each.end_ns)
        shown = [sorted(each.texts) for each in samples if each.start_ns <= at_ns < each.end_ns]
        assert [said] * bool(said) == shown


def test_too_many_at_a_time_drop_the_oldest():
    """The side-car files have them all; a picture full of text helps nobody."""
    samples = sweep(*(cue(each, 100, str(each)) for each in range(40)))
    assert max(len(each.texts) for each in samples) == 16
    assert "39" == samples[-1].texts[-1]
