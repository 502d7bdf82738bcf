"""
The timeline by numbers: wraps, epochs, offsets, strict order.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3u8svc.mux.timeline import NS, Entry, First, Lane, Timeline, short_way33, unwrap33

WRAP = 1 << 33
SECOND = 90_000
FRAME = 3600  # of 25 a second


@pytest.mark.parametrize(
    ("ticks", "near", "expected"),
    [
        (5, 0, 5),
        (5, WRAP - 10, WRAP + 5),
        (WRAP - 10, 5, -10),
        (WRAP - 10, WRAP + 5, WRAP - 10),
        (100, 3 * WRAP + 90, 3 * WRAP + 100),
        (WRAP + 7, 0, 7),
    ],
)
def test_unwrap33(ticks: int, near: int, expected: int) -> None:
    """A time is brought next to its neighbour, forwards or backwards over the wrap."""
    assert expected == unwrap33(ticks, near)


@given(st.integers(-(1 << 40), 1 << 40), st.integers(-(1 << 40), 1 << 40))
def test_unwrap33_is_nearest(ticks: int, near: int) -> None:
    """It is the same time modulo 2**33, and never more than half a wrap away."""
    unwrapped = unwrap33(ticks, near)
    assert 0 == (unwrapped - ticks) % WRAP
    assert abs(unwrapped - near) <= WRAP // 2


@pytest.mark.parametrize(("delta", "expected"), [(0, 0), (7, 7), (-7, -7), (7 - WRAP, 7), (WRAP - 7, -7)])
def test_short_way33(delta: int, expected: int) -> None:
    """A difference over the wrap is the short one."""
    assert expected == short_way33(delta)


class Scene:
    """
    A timeline with a picture lane at 90000 and a sound lane at 44100, both fed in 1/90000 s.
    """

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.video = self.timeline.add_lane(rate=90_000, snaps=False)
        self.audio = self.timeline.add_lane(rate=44_100, snaps=True)
        self.era = (0, 0)

    def enter(
        self, video: int, audio: int, *, same_clock: bool = False, gap_s: float = 0, wraps: bool = True, delay: int = 0
    ) -> None:
        """A run whose first packets have these dts; pictures are shown at least `delay` later."""
        source_ns = self.timeline.source_ns(self.era)
        near = video if source_ns is None else unwrap33(video, source_ns * 9 // 100_000)
        for lane in (self.video, self.audio):
            lane.enter_run(numerator=1, denominator=90_000, step_ticks=FRAME, wraps=wraps, near=near)
        firsts = [
            First(lane=lane, dts_ns=lane.source_ns(at), pts_ns=lane.source_ns(at + later))
            for lane, at, later in ((self.video, video, delay), (self.audio, audio, 0))
        ]
        entry = Entry(lanes=(self.video, self.audio), firsts=tuple(firsts), gap_ns=int(gap_s * NS))
        if same_clock:
            self.timeline.go_on(self.era, entry)
        else:
            self.era = (self.era[0] + 1, 0)
            self.timeline.enter(self.era, [entry])

    def play(self, start: int, seconds: float, *, lane: Lane | None = None) -> tuple[int, int]:
        """Frames (of 0.04 s) from a source time on; first and last output dts."""
        lane = lane or self.video
        stamps = [lane.stamp(start + n * FRAME, start + n * FRAME, FRAME) for n in range(int(seconds * 25))]
        assert all(stamps)
        return stamps[0][0], stamps[-1][0]  # type: ignore[index]  # just checked


def test_file_starts_at_zero() -> None:
    """The earliest stream starts at 0, the other keeps its distance."""
    scene = Scene()
    scene.enter(SECOND, SECOND - 2070)
    assert (2070, FRAME, 0) == (
        scene.video.stamp(SECOND, SECOND, FRAME)[0],
        scene.video.stamp(SECOND, SECOND, FRAME)[2],
        scene.audio.stamp(SECOND - 2070, None, 2090)[0],
    )


def test_leading_gap() -> None:
    """A kept hole before the first segment is time, too."""
    scene = Scene()
    scene.enter(0, 0, gap_s=2)
    assert 2 * SECOND == scene.play(0, 1)[0]


def test_clock_over_the_wrap() -> None:
    """Nothing happens at 2**33, inside a run or between two."""
    scene = Scene()
    start = WRAP - 10 * FRAME
    scene.enter(start, start)
    assert (0, 49 * FRAME) == (scene.play(start, 1)[0], scene.play((start + SECOND) % WRAP, 1)[1])
    scene.enter((start + 2 * SECOND) % WRAP, (start + 2 * SECOND) % WRAP, same_clock=True)
    assert 2 * SECOND == scene.play((start + 2 * SECOND) % WRAP, 1)[0]
    assert [] == scene.timeline.jumps


@pytest.mark.parametrize(
    ("video", "audio", "same_clock", "gap_s", "first_video_s"),
    [
        (SECOND, SECOND, True, 0, 1.0),  # goes on
        (3 * SECOND, 3 * SECOND, True, 2, 3.0),  # a hole as announced
        (3 * SECOND, 3 * SECOND, True, 0, 3.0),  # a hole nobody announced
        (3 * SECOND, 3 * SECOND, False, 0, 1.0),  # a hole to close
        (31 * SECOND, 31 * SECOND, True, 0, 1.0),  # too far for a hole: a new clock
        (31 * SECOND, 31 * SECOND, True, 25, 31.0),  # announced as far
        (0, 0, True, 0, 1.0),  # back: a new clock
        (500 * SECOND, 500 * SECOND, False, 3, 4.0),  # a new clock behind a hole
        (0, FRAME, False, 0, 0.965),  # tight for the sound: the last picture is shown for 5 ms
        (0, 3 * FRAME, False, 0, 0.965),  # no shorter than that, though there is a hole in the sound
        (FRAME, 0, False, 0, 1.04),  # tight for the sound, which starts first
    ],
)
def test_start_of_a_run(video: int, audio: int, same_clock: bool, gap_s: float, first_video_s: float) -> None:
    """After one second of both streams, where does the next run's picture start?"""
    scene = Scene()
    scene.enter(0, 0)
    scene.play(0, 1)
    scene.play(0, 1, lane=scene.audio)
    scene.enter(video, audio, same_clock=same_clock, gap_s=gap_s)
    assert round(first_video_s * SECOND) == scene.play(video, 1)[0]


@given(st.lists(st.integers(0, 4), min_size=2, max_size=6), st.integers(0, 2000))
def test_groups_follow_as_they_are_shown(delays: list[int], apart: int) -> None:
    """However far ahead pictures are decoded in each group: no hole in the sound, no overlap in the picture."""
    scene = Scene()
    sounds: list[int] = []
    shown: list[int] = []
    for number, delay in enumerate(delays):
        start = 1000 * SECOND * number + 10 * SECOND
        scene.enter(start - delay * FRAME, start - apart, delay=delay * FRAME)
        for n in range(25):
            seen = scene.video.stamp(start + (n - delay) * FRAME, start + n * FRAME, FRAME)
            heard = scene.audio.stamp(start - apart + n * FRAME, None, FRAME)
            assert seen and heard
            shown.append(seen[1])
            sounds.append(heard[0])
    assert {FRAME * 44_100 // 90_000} == {after - before for before, after in zip(sounds, sounds[1:], strict=False)}
    steps = {after - before for before, after in zip(shown, shown[1:], strict=False)}
    assert min(steps) >= FRAME - 1 and max(steps) <= FRAME + 1


@pytest.mark.parametrize(
    ("late", "hole"), [(0, 0), (FRAME - 90, 0), (FRAME, 1764), (SECOND, 44_100), (9 * SECOND, 396_900)]
)
def test_hole_in_the_sound(late: int, hole: int) -> None:
    """From a frame on it is told, in ticks of the output; never before the first packet, never in the picture."""
    scene = Scene()
    scene.enter(0, 0)
    for lane in (scene.video, scene.audio):
        scene.play(SECOND, 1, lane=lane)
        assert 0 == lane.hole_ticks
        scene.play(2 * SECOND + late, 1, lane=lane)
    assert (0, hole) == (scene.video.hole_ticks, scene.audio.hole_ticks)


@pytest.mark.parametrize(
    ("video_jump_s", "audio_jump_s", "video_at_s"),
    [
        (5, 5, 6.0),  # a hole
        (-7, -7, 1.0),  # a new clock
        (1000, 1000, 1.0),
        (12.033, 12.021, 1.0),
        (10.01, 9.99, 1.0),  # on either side of the limit
    ],
)
@pytest.mark.parametrize("first", ["video", "audio"])
def test_jump_inside_a_run(first: str, video_jump_s: float, audio_jump_s: float, video_at_s: float) -> None:
    """Nobody announced it: the streams go on together whichever jumps first, up to the jumps' own difference."""
    scene = Scene()
    start = 100 * SECOND
    scene.enter(start, start)
    for lane in (scene.video, scene.audio):
        scene.play(start, 1, lane=lane)
    order = [(scene.video, video_jump_s, 90_000), (scene.audio, audio_jump_s, 44_100)]
    times = {}
    for lane, jump_s, rate in order if first == "video" else order[::-1]:
        times[lane] = scene.play(start + SECOND + round(jump_s * SECOND), 1, lane=lane)[0] / rate
    assert pytest.approx(video_jump_s - audio_jump_s, abs=0.001) == times[scene.video] - times[scene.audio]
    if (first, video_jump_s) != ("audio", 10.01):  # there the sound went first, through a hole it may keep
        assert pytest.approx(video_at_s, abs=0.05) == times[scene.video]
    assert scene.timeline.jumps


@given(st.lists(st.one_of(st.none(), st.integers(-(1 << 34), 1 << 34)), max_size=60))
def test_dts_always_grows(times: list[int | None]) -> None:
    """Whatever the source says, output dts grow strictly and no pts is before its dts."""
    scene = Scene()
    scene.enter(0, 0)
    stamps = [stamp for time in times if (stamp := scene.audio.stamp(time, time, FRAME)) is not None]
    assert all(before[0] < after[0] for before, after in zip(stamps, stamps[1:], strict=False))
    assert all(dts <= pts and duration > 0 for dts, pts, duration in stamps)


@pytest.mark.parametrize(
    ("pts", "duration", "expected"),
    [
        (7200, FRAME, (0, 7200, FRAME)),
        (None, FRAME, (0, 0, FRAME)),
        (11 * SECOND, FRAME, (0, 0, FRAME)),  # |pts - dts| beyond reason
        (-FRAME, FRAME, (0, 0, FRAME)),  # shown before it is decoded
        (0, 0, (0, 0, FRAME)),
        (0, 11 * SECOND, (0, 0, FRAME)),
        (0, -5, (0, 0, FRAME)),
        (0, None, (0, 0, FRAME)),
    ],
)
def test_damaged_times_are_bounded(pts: int | None, duration: int | None, expected: tuple[int, int, int]) -> None:
    """Corrupt time stamps cannot stretch the file."""
    scene = Scene()
    scene.enter(0, 0)
    assert expected == scene.video.stamp(0, pts, duration)


def test_single_damaged_dts_are_passed_over() -> None:
    """Packets that claim to be far away, each elsewhere, stand where they arrived; the file does not grow by them."""
    scene = Scene()
    scene.enter(0, 0)
    scene.play(0, 1)
    for seconds in (93, 5965, -700, 40_000):
        scene.video.stamp(seconds * SECOND, seconds * SECOND, FRAME)
    assert SECOND + 4 * FRAME <= scene.play(SECOND + 4 * FRAME, 1)[0] <= 2 * SECOND


def test_damaged_start_of_one_stream() -> None:
    """A first time far from all others moves only its own packet; the stream joins the rest at its next one."""
    scene = Scene()
    scene.enter(0, 0)
    scene.play(0, 1)
    assert 44_100 == scene.audio.stamp(5000 * SECOND, 5000 * SECOND, FRAME)[0]
    assert 46_305 >= scene.play(FRAME + SECOND, 1, lane=scene.audio)[0] >= 44_101


def test_missing_times_are_carried_on() -> None:
    """A packet without a time follows the one before it; without any before it, it has none."""
    scene = Scene()
    scene.enter(0, 0)
    assert None is scene.video.stamp(None, None, FRAME)
    scene.video.stamp(SECOND, SECOND, FRAME)
    assert SECOND + FRAME == scene.video.stamp(None, None, FRAME)[0]


def test_sound_follows_without_rounding() -> None:
    """AAC frames of 1024 samples stay 1024 apart although 1/90000 s cannot say so; real drift is followed."""
    scene = Scene()
    scene.enter(0, 0)
    stamps = [scene.audio.stamp(round(n * 1024 * 90_000 / 44_100), None, 2090)[0] for n in range(500)]
    assert {1024} == {after - before for before, after in zip(stamps, stamps[1:], strict=False)}
    late = scene.audio.stamp(round(500 * 1024 * 90_000 / 44_100) + 90, None, 2090)[0]
    assert 500 * 1024 + 44 == late


def test_lane_span_is_what_was_written() -> None:
    """From the first dts to the last end, holes included."""
    scene = Scene()
    scene.enter(0, 0)
    assert None is scene.video.span_ns
    scene.play(SECOND, 1)
    scene.play(3 * SECOND, 1)
    assert 3 * NS == scene.video.span_ns


class TestFastWay:
    """The short cut for packets that go on as those before."""

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([0, 0, 0, 0, 1, -1, 40, SECOND // 2, -SECOND, 11 * SECOND, WRAP - 5]),
                st.sampled_from([FRAME, FRAME, FRAME, 0, 1, 12 * SECOND, None]),
                st.sampled_from([0, 0, 2 * FRAME, -FRAME, 11 * SECOND, None]),
                st.booleans(),
            ),
            max_size=80,
        ),
        st.sampled_from(["video", "audio"]),
    )
    def test_it_leads_to_the_same_place(
        self, packets: list[tuple[int, int | None, int | None, bool]], which: str
    ) -> None:
        """With and without it every packet is stamped alike."""
        short, long = Scene(), Scene()
        stamps: dict[Scene, list[object]] = {short: [], long: []}
        for scene in (short, long):
            scene.enter(WRAP - 30 * FRAME, WRAP - 30 * FRAME)
            lane = scene.video if which == "video" else scene.audio
            at = WRAP - 30 * FRAME
            for skew, duration, shown, timed in packets:
                if scene is long:
                    lane._steady_dts = None
                dts = (at + skew) % WRAP if timed else None
                pts = None if shown is None or dts is None else (dts + shown) % WRAP
                stamps[scene].append((lane.stamp(dts, pts, duration), lane.end_ns, lane.at_ns, lane.odd))
                at += (duration or FRAME) + skew
        assert stamps[long] == stamps[short]

    def test_it_is_taken(self) -> None:
        """A regular stream is stamped by it, or it would be of no use."""
        scene = Scene()
        scene.enter(0, 0)
        for number in range(5):
            assert (None if not number else number * FRAME) == scene.video._steady_dts
            scene.video.stamp(number * FRAME, number * FRAME, FRAME)


class Film:
    """
    A timeline with a picture in "main" and two sound tracks, each a playlist of its own.
    """

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.lanes = [self.timeline.add_lane(rate=90_000, snaps=False) for _ in range(3)]

    def entry(self, number: int, at: float, *, start: float = 0.0, gap: float = 0.0, clocked: bool = True) -> Entry:
        """Track `number` about to go on at source time `at`, at `start` in its playlist."""
        lane = self.lanes[number]
        lane.enter_run(numerator=1, denominator=90_000, step_ticks=FRAME, wraps=False)
        first = First(lane=lane, dts_ns=int(at * NS), pts_ns=int(at * NS))
        return Entry(lanes=(lane,), firsts=(first,), start_ns=int(start * NS), gap_ns=int(gap * NS), clocked=clocked)

    def play(self, number: int, at: float, seconds: float) -> float:
        """Frames from a source time on; the first one's place in the output, in seconds."""
        stamps = [
            self.lanes[number].stamp(round(at * SECOND) + n * FRAME, None, FRAME) for n in range(round(seconds * 25))
        ]
        assert stamps[0] is not None
        return stamps[0][0] / SECOND


class TestRenditions:
    """Tracks of their own on one timeline."""

    def test_first_era_starts_at_the_earliest(self) -> None:
        """All share the offset of the one that is first."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.5), film.entry(1, 10.0), film.entry(2, 12.0)])
        assert [0.5, 0.0, 2.0] == [film.play(number, at, 1) for number, at in enumerate((10.5, 10.0, 12.0))]

    def test_leading_gap_of_one(self) -> None:
        """A hole before one track's first segment is time of that track alone."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 14.0, start=4.0, gap=4.0), film.entry(1, 10.0)])
        assert [4.0, 0.0] == [film.play(0, 14.0, 1), film.play(1, 10.0, 1)]

    def test_one_offset_for_a_splice(self) -> None:
        """The track that ends last decides where all go on."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.0), film.entry(1, 10.0)])
        film.play(0, 10.0, 4)
        film.play(1, 10.0, 4.2)
        film.timeline.enter((1, 0), [film.entry(0, 500.1, start=4), film.entry(1, 500.0, start=4)])
        assert pytest.approx([4.3, 4.2], abs=1e-4) == [film.play(0, 500.1, 1), film.play(1, 500.0, 1)]

    @pytest.mark.parametrize("clocked", [True, False], ids=["another clock", "no clock"])
    def test_clock_that_is_not_shared(self, clocked: bool) -> None:
        """It starts where its playlist says, and goes on from there."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.0), film.entry(1, 7000.0, start=2.0, clocked=clocked)])
        assert [0.0, 2.0] == [film.play(0, 10.0, 4), film.play(1, 7000.0, 2)]
        film.timeline.go_on((0, 0), film.entry(1, 7002.0, start=4.0, clocked=clocked))
        assert 4.0 == film.play(1, 7002.0, 1)

    def test_late_to_an_era(self) -> None:
        """A track that comes later finds the offset of the others, in whichever era."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.0)])
        film.play(0, 10.0, 4)
        film.timeline.enter((3, 0), [film.entry(0, 500.0, start=4)])
        film.play(0, 500.0, 4)
        film.timeline.join((3, 0), film.entry(1, 502.0, start=6))
        assert 6.0 == film.play(1, 502.0, 1)
        film.timeline.join((0, 0), film.entry(2, 11.0, start=1))
        assert 1.0 == film.play(2, 11.0, 1)

    def test_jump_nobody_announced(self) -> None:
        """A track whose next run jumps follows the epoch that another opened."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.0), film.entry(1, 10.0)])
        film.play(0, 10.0, 2)
        assert 2.0 == film.play(0, 910.0, 2)
        film.play(1, 10.0, 2)
        film.timeline.go_on((0, 0), film.entry(1, 910.02, start=2))
        assert pytest.approx(2.02, abs=1e-4) == film.play(1, 910.02, 1)

    def test_new_file(self) -> None:
        """After a split everything counts from there, and clocks go on."""
        film = Film()
        film.timeline.enter((0, 0), [film.entry(0, 10.0), film.entry(1, 10.0)])
        film.play(0, 10.0, 4)
        film.play(1, 10.0, 4)
        film.timeline.rebase(4 * NS, film.lanes[:2])
        assert [0.0, 0.0] == [film.play(number, 14.0, 1) for number in (0, 1)]
        assert -14 * NS == film.timeline.offset_ns(0)
        assert [NS, NS] == [lane.span_ns for lane in film.lanes[:2]]
