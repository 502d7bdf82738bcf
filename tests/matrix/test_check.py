"""
That the check of the matrix sees what is wrong. The right result is made here by ffmpeg from the encodes themselves.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.axes import Row, every_row
from tests.matrix.browser import judge
from tests.matrix.check import check, read_vtt
from tests.matrix.look import decode, run_ffmpeg
from tests.matrix.streams import LANGUAGES, LAST, WHOLE, Piece, Stream, Workshop, make_stream

Make = Callable[..., Path]


def row_named(name: str) -> Row:
    """One row."""
    return next(row for row in every_row() if row.name == name)


@pytest.fixture(scope="module")
def stream(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Two languages and one group, so that ffmpeg alone can make the result."""
    return make_stream(row_named("ts-h264-aac-two-plain-steady"), tmp_path_factory.mktemp("root"), workshop)


@pytest.fixture
def make(workshop: Workshop, stream: Stream, tmp_path: Path) -> Make:
    """The MP4 of this stream, with `sounds` of these languages, more options, and `late` in ms for the sound."""

    def make(
        *options: object,
        piece: Piece = WHOLE,
        sounds: tuple[str, ...] = LANGUAGES,
        told: tuple[str, ...] = (),
        late: int = 0,
    ) -> Path:
        row, target = stream.row, tmp_path / "result.mp4"
        inputs: list[object] = ["-i", workshop.picture(row.video, piece)]
        for sound in sounds:
            inputs += ["-itsoffset", f"{late}ms", "-i", workshop.sound(row.audio, WHOLE.seconds, sound)]
        maps = [word for number in range(len(sounds) + 1) for word in ("-map", number)]
        tags = [f"-metadata:s:a:{nth}" for nth in range(len(sounds))]
        languages = [
            word for tag, name in zip(tags, told or ("eng", "fra"), strict=False) for word in (tag, f"language={name}")
        ]
        default = ["-disposition:a:0", "default", "-disposition:a:1", "0"]
        run_ffmpeg(*inputs, *maps, "-c", "copy", *languages, *default, *options, target)
        return target

    return make


def test_a_right_result_is_right(make: Make, stream: Stream) -> None:
    """Nothing is said of it."""
    assert [] == check(make(), stream)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"late": 30}, "a beep of group 0 comes +30.0 ms late"),
        ({"late": -30}, "a beep of group 0 comes -30.0 ms late"),
        ({"piece": LAST}, "75 frames instead of 200"),
        ({"sounds": ("en",)}, "1 audio tracks instead of 2"),
        ({"sounds": ("fr", "en")}, "the first that differs is number"),
        ({"told": ("eng", "deu")}, "['eng', 'deu'] instead of ['eng', 'fra']"),
    ],
)
def test_a_wrong_result_is_wrong(make: Make, stream: Stream, wrong: dict[str, Any], said: str) -> None:
    """Sound out of step by more than a frame, another picture, a language that is missing or in another one's place."""
    assert any(said in problem for problem in check(make(**wrong), stream))


@pytest.mark.parametrize("options", [("-t", 7), ("-c:v", "libx264")], ids=["cut short", "encoded again"])
def test_other_frames_are_seen(make: Make, stream: Stream, options: tuple[object, ...]) -> None:
    """So are frames that are missing, or the same to the eye only."""
    assert any("frames instead of 200" in problem for problem in check(make(*options), stream))


def test_a_sound_that_is_cut_short_is_seen(make: Make, stream: Stream) -> None:
    """A packet less is one too few. It is one of a beep: those between are all alike."""
    shorter = make("-bsf:a:1", "noise=drop='eq(n,122)'")
    assert ["sound fr: 375 packets instead of 376, the first that differs is number 122"] == check(shorter, stream)


def test_a_hole_in_the_sound_is_seen(make: Make, stream: Stream) -> None:
    """Packets that stand apart are in the right place for ffmpeg, and not for Chromium."""
    holed = make("-bsf:a:0", "setts=ts=TS-lt(N\\,20)*0.03/TB", late=30)
    assert "sound en: there is a hole of 30 ms" in check(holed, stream)


def test_a_frame_out_of_its_place_is_seen(make: Make, stream: Stream) -> None:
    """A picture that halts for 30 ms is uneven, and the sound is out of step where it does."""
    halting = make("-bsf:v", "setts=pts=PTS+gte(N\\,100)*0.03/TB:dts=DTS+gte(N\\,100)*0.03/TB")
    assert any("ms from its place" in problem for problem in check(halting, stream))


def test_damage_is_heard_from_the_decoder(make: Make, stream: Stream) -> None:
    """What ffmpeg complains about is a problem whatever comes out."""
    damaged = make("-bsf:v", "noise=drop='between(n,25,31)'")
    assert any("ffmpeg complains" in problem for problem in check(damaged, stream))


class TestChromium:
    """What a player saw, held against the truth."""

    @pytest.fixture
    def seen(self, make: Make) -> tuple[Path, dict[str, Any]]:
        """A result, and what a perfect player would report."""
        media = make()
        shown = [[time, 160, 90] for time in decode(media)[0].times]
        beeps = [5.123 + second for second in range(8)]
        seen = {"error": "", "duration": 8.0, "ended": 8.0, "decoded": 200, "shown": shown, "beeps": beeps}
        return media, seen

    def test_all_is_well(self, stream: Stream, seen: tuple[Path, dict[str, Any]]) -> None:
        """Nothing is said of it."""
        assert [] == list(judge(seen[0], stream, seen[1]))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"error": "decoder error"}, "Chromium: decoder error"),
            ({"ended": 7.0}, "ends at 7.000 s"),
            ({"ended": 9.0, "duration": 9.0}, "it lasts 9.000 s"),
            ({"decoded": 199}, "decoded 199 frames"),
            ({"shown": [[0.02, 160, 90]]}, "where there is none"),
            ({"shown": [[0.0, 320, 180]]}, "frame 0 at [320, 180]"),
            ({"shown": []}, "never shows one of the sizes"),
            ({"beeps": [0.5] * 7}, "7 beeps instead of 8"),
            ({"beeps": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.025, 7.026]}, "beep 7 +26 ms late"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, stream: Stream, seen: tuple[Path, dict[str, Any]], change: dict[str, Any], said: str
    ) -> None:
        """An error, an early end, lost frames, another size, a beep too few, sound that falls behind."""
        assert any(said in problem for problem in judge(seen[0], stream, seen[1] | change))


def test_vtt_is_read() -> None:
    """Cues with and without hours, settings and identifiers; nothing of the header."""
    text = "WEBVTT\n\n1\n00:01.500 --> 00:02.000 line:0\none\n\n01:00:00.000 --> 01:00:01.250\ntwo\nlines\n"
    assert [(1.5, 2.0, "one"), (3600.0, 3601.25, "two\nlines")] == read_vtt(text)
