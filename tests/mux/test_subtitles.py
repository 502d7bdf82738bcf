"""
Subtitle tracks, muxed by the real child with real video: are the cues where they should be, in the MP4 and beside it?
"""

import json
import random
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from m3u8svc.mux.protocol import TrackInfo
from m3u8svc.mux.subtitles import Suffixes
from tests.mux.boxes import STPP_INIT, WVTT_EMPTY, WVTT_INIT, box, fragment, subtitle_init, ttml, wvtt_cue
from tests.mux.conftest import (
    Outcome,
    Stream,
    Streams,
    assert_whole,
    first_pts,
    gap,
    packet_pts,
    packet_times,
    run_ffmpeg,
    seg,
)

Shown = list[tuple[float, float, str]]
Mux = Callable[..., Outcome]
TRACK = {"track": "subtitles1", "kind": "subtitles", "language": "en", "name": "English"}
MAIN = {"track": "main", "kind": "main"}
WRAP = 1 << 33


def time_of(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{seconds % 60:06.3f}"


def vtt(path: Path, *cues: tuple[float, float, str], mpegts: int | None = None, local_s: float = 0.0) -> Path:
    """A WebVTT segment."""
    head = "" if mpegts is None else f"\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:{time_of(local_s)}"
    texts = "".join(f"\n{time_of(start)} --> {time_of(end)}\n{text}\n" for start, end, text in cues)
    path.write_text(f"WEBVTT{head}\n{texts}")
    return path


class Feeding:
    """
    Orders of a subtitle track, segment after segment.
    """

    def __init__(self, directory: Path, *, track: str = "subtitles1") -> None:
        self._directory = directory
        self._track = track
        self._start_s = 0.0
        self.orders: list[dict[str, object]] = []

    def vtt(
        self, duration_s: float, *cues: tuple[float, float, str], splice: int = 0, mpegts: int | None = None
    ) -> "Feeding":
        """A WebVTT segment."""
        path = self._directory / f"{self._track}-{len(self.orders) + 1}.vtt"
        return self.file(duration_s, vtt(path, *cues, mpegts=mpegts), splice=splice)

    def file(
        self, duration_s: float, path: Path, *, kind: str = "vtt", splice: int = 0, init: Path | None = None
    ) -> "Feeding":
        """A segment that is there."""
        self.orders.append(
            seg(len(self.orders) + 1, path, kind=kind, duration_s=duration_s, splice=splice, init=init and str(init))
            | {"track": self._track, "start_s": self._start_s}
        )
        self._start_s += duration_s
        return self

    def hole(self, duration_s: float) -> "Feeding":
        """A segment that could not be had."""
        self.orders.append(gap(len(self.orders) + 1, duration_s=duration_s, keep=True) | {"track": self._track})
        self._start_s += duration_s
        return self


def in_order(*tracks: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The orders of all tracks as the service sends them: by their start, with the end of each track."""
    orders = []
    for index, track in enumerate(tracks):
        at_s = 0.0
        for order in track:
            at_s = float(order.get("start_s", at_s))
            orders.append((at_s, index, order))
            at_s += float(order["duration_s"])
        if track:
            orders.append((at_s, index, {"op": "track_end", "track": track[0]["track"]}))
    return [order for _, _, order in sorted(orders, key=lambda each: each[:2])]


def subtitles_of(path: Path, nth: int = 0) -> Shown:
    """What ffmpeg shows of a subtitle track: start, end and text of every cue, in seconds."""
    text = run_ffmpeg("-i", path, "-map", f"0:s:{nth}", "-c:s", "webvtt", "-f", "webvtt", "-")
    return read_vtt(text)


def read_vtt(text: str) -> Shown:
    """The cues of WebVTT or SubRip text, read by other means than ours."""
    shown = []
    for start, end, lines in re.findall(r"([\d:.,]+) --> ([\d:.,]+)[^\n]*\n((?:.+\n?)+)", text):
        shown.append((seconds(start), seconds(end), lines.strip()))
    return shown


def seconds(text: str) -> float:
    total = 0.0
    for part in text.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total


def streams_of(path: Path) -> list[dict[str, object]]:
    """Every stream as ffprobe describes it."""
    line = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["streams"]


def close_to(*expected: tuple[float, float, str]) -> list[tuple[object, object, str]]:
    """The same, times to 2 ms."""
    return [(pytest.approx(start, abs=0.002), pytest.approx(end, abs=0.002), text) for start, end, text in expected]


def ticks(stream: Stream, *kinds: str) -> int:
    """The media time of a stream's first picture or sound, which the output starts with."""
    first = min(first_pts(stream.segments[0], kind) for kind in kinds or ("video", "audio"))
    return round(first * 90_000)


@pytest.fixture
def mux_subtitles(mux: Mux, tmp_path: Path) -> Mux:
    """Mux the orders of a main track with those of one subtitle track, with side-car files."""

    def run(main: Sequence[dict[str, object]], feeding: Feeding, **job: object) -> Outcome:
        return mux(in_order(main, feeding.orders), **({"tracks": [MAIN, TRACK], "subtitle_files": ["vtt"]} | job))

    return run


def companion(outcome: Outcome, suffix: str) -> str:
    """The text of a side-car file."""
    found = [each["path"] for each in outcome.last["companions"] if each["suffix"] == suffix]
    assert 1 == len(found), outcome.last
    return Path(found[0]).read_text()


def texts_of(outcome: Outcome) -> list[object]:
    """What the child warned about."""
    return [each["text"] for each in outcome.reports if each["ev"] == "warn"]


# -- Where cues stand --------------------------------------------------------------------------------------------------


def test_cues_by_media_time(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """In the MP4 and beside it they are on time to 2 ms, whole where they were cut, once where they were repeated."""
    plain = streams.plain()
    zero = ticks(plain)
    feeding = (
        Feeding(tmp_path)
        .vtt(2.0, (0.5, 1.25, "one"), (1.5, 2.0, "cut"), (1.8, 2.5, "again"), mpegts=zero)
        .vtt(2.0, (2.0, 2.25, "cut"), (1.8, 2.5, "again"), mpegts=zero)
        .vtt(2.0, mpegts=zero)
        .vtt(2.0, (0.5, 1.0, "<i>late</i>\nsecond line"), mpegts=zero + 6 * 90_000)
    )
    outcome = mux_subtitles(plain.orders(), feeding)
    assert_whole(outcome, plain)
    assert [] == texts_of(outcome)
    cues = [(0.5, 1.25, "one"), (1.5, 2.25, "cut"), (1.8, 2.5, "again"), (6.5, 7.0, "<i>late</i>\nsecond line")]
    assert close_to(*cues) == read_vtt(companion(outcome, "en.vtt"))
    row = {
        "track": "subtitles1",
        "kind": "subtitle",
        "codec": "mov_text",
        "language": "eng",
        "packets": 5,
        "dropped": 0,
        "silent": 0,
        "headless": 0,
    }
    assert row | {"duration_s": 6.5} in outcome.last["details"]["tracks"]
    shown = [(0.5, 1.25, "one"), (1.5, 1.8, "cut"), (1.8, 2.25, "cut\nagain"), (2.25, 2.5, "again"), cues[3]]
    assert close_to(*shown) == subtitles_of(outcome.target)


def test_the_track_says_what_it_is(streams: Streams, mux: Mux, tmp_path: Path):
    """Languages, names, default and forced marks; a whole sample description."""
    plain = streams.plain()
    infos = [
        TRACK | {"default": True},
        TRACK | {"track": "subtitles2", "language": "pt-BR", "name": "Português", "forced": True},
        TRACK | {"track": "subtitles3", "language": "", "name": ""},
    ]
    feedings = [
        Feeding(tmp_path, track=f"subtitles{n}").vtt(8.0, (1, 2, f"text {n}"), mpegts=ticks(plain)) for n in (1, 2, 3)
    ]
    outcome = mux(
        in_order(plain.orders(), *(each.orders for each in feedings)),
        tracks=[MAIN, *infos],
        subtitle_files=["vtt", "srt"],
    )
    assert_whole(outcome, plain)
    found = [each for each in streams_of(outcome.target) if each["codec_type"] == "subtitle"]
    assert [
        ("mov_text", "eng", "English", 1, 0),
        ("mov_text", "por", "Português", 0, 1),
        ("mov_text", "und", "SubtitleHandler", 0, 0),
    ] == [
        (
            *(each["codec_name"], each["tags"]["language"], each["tags"]["handler_name"]),
            *(each["disposition"]["default"], each["disposition"]["forced"]),
        )
        for each in found
    ]
    assert all(each["extradata_size"] >= 48 for each in found)
    assert [close_to((1, 2, f"text {n}")) for n in (1, 2, 3)] == [subtitles_of(outcome.target, n) for n in (0, 1, 2)]
    assert ["en.vtt", "en.srt", "pt-BR.forced.vtt", "pt-BR.forced.srt", "und.vtt", "und.srt"] == [
        each["suffix"] for each in outcome.last["companions"]
    ]
    assert "1\n00:00:01,000 --> 00:00:02,000\ntext 2\n" == companion(outcome, "pt-BR.forced.srt")


def test_the_clock_turns_over(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """The 33 bits of media and map go back to 0 after three of eight seconds."""
    # The hls muxer adds 1.4 s of its own.
    wrapping = streams.get("subtitled-wrapping", seconds=8, hls=("-output_ts_offset", str(95_440 - 1.4)))
    zero = ticks(wrapping) % WRAP
    assert zero < WRAP < zero + 8 * 90_000
    feeding = Feeding(tmp_path)
    for each in range(0, 8, 2):
        feeding.vtt(2.0, (0.5, 1.0, f"own {each}"), (1.5, 2.5, f"over {each}"), mpegts=(zero + each * 90_000) % WRAP)
    outcome = mux_subtitles(wrapping.orders(), feeding)
    assert_whole(outcome, wrapping)
    expected = [(each + at, each + to, f"{text} {each}") for each in (0, 2, 4, 6) for at, to, text in
                ((0.5, 1.0, "own"), (1.5, 2.5, "over"))]  # fmt: skip
    expected[-1] = (7.5, pytest.approx(8.0, abs=0.05), "over 6")
    found = read_vtt(companion(outcome, "en.vtt"))
    assert close_to(*expected[:-1]) == found[:-1]
    assert expected[-1] == (round(found[-1][0], 3), *found[-1][1:])


def test_splices_set_the_clock_anew(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Each splice's cues have its offset and none leaves its splice; back to the first clock in the end."""
    plain, other = streams.plain(), streams.other()
    main = [
        *plain.orders(only=slice(0, 4)),
        *other.orders(first=5, splice=1, start_s=4.0),
        *plain.orders(first=9, splice=2, only=slice(4, 8), start_s=8.0),
    ]
    feeding = (
        Feeding(tmp_path)
        .vtt(4.0, (1, 2, "a"), (3.5, 6, "a to the end"), (5, 6, "a never"), mpegts=ticks(plain))
        .vtt(4.0, (0, 0.5, "b from the start"), (1, 2, "b"), splice=1, mpegts=ticks(other))
        .vtt(4.0, (5, 6, "c"), splice=2, mpegts=ticks(plain))
    )
    outcome = mux_subtitles(main, feeding)
    assert "done" == outcome.last["ev"]
    second = start_of(other, outcome, frame=100)
    third = start_of(plain, outcome, frame=200, segment=4)
    shown = subtitles_of(outcome.target)
    assert ["a", "a to the end", "b from the start", "b", "c"] == [text for _, _, text in shown]
    assert pytest.approx(second, abs=0.002) == shown[2][0]
    assert pytest.approx(second, abs=0.05) == shown[1][1]
    assert close_to((1, 2, "a"), (second + 1, second + 2, "b"), (third + 5, third + 6, "c")) == [
        shown[index] for index in (0, 3, 4)
    ]
    assert close_to(*shown) == read_vtt(companion(outcome, "en.vtt"))
    assert ["1 条字幕没有对应的画面，未写入"] == texts_of(outcome)


def start_of(stream: Stream, outcome: Outcome, *, frame: int, segment: int = 0) -> float:
    """
    Where in the output the first moment of `stream` is, or would be: `frame` of the output is the first of a `segment`.
    """
    shown_at = sorted(packet_pts(outcome.target, "video"))[frame]
    return shown_at - first_pts(stream.segments[segment], "video") + ticks(stream) / 90_000


def test_without_a_map_the_playlist_tells(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Cue times count from the start of the presentation, whatever the clocks; a cue over a splice stays one."""
    plain, other = streams.plain(), streams.other()
    main = [*plain.orders(only=slice(0, 4)), *other.orders(first=5, splice=1, start_s=4.0)]
    feeding = Feeding(tmp_path).vtt(4.0, (1, 2, "a"), (3.5, 4.5, "over")).vtt(4.0, (3.5, 4.5, "over"), (6, 7, "b"))
    outcome = mux_subtitles(main, feeding)
    shown = read_vtt(companion(outcome, "en.vtt"))
    assert ["a", "over", "b"] == [text for _, _, text in shown]
    assert close_to((1, 2, "a")) == shown[:1]
    times = [(start, end) for start, end, _ in shown[1:]]
    assert [(pytest.approx(3.5, abs=0.002), pytest.approx(4.5, abs=0.06)), pytest.approx((6.0, 7.0), abs=0.06)] == times
    assert close_to(*shown) == subtitles_of(outcome.target)


def test_skipped_segments_take_their_cues_along(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Two seconds of the video are skipped: what was said there goes, what follows moves up with the picture."""
    plain = streams.plain()
    main = plain.orders()
    main[3:5] = [gap(number, duration_s=1.0, keep=False) for number in (4, 5)]
    for mpegts in (ticks(plain), None):
        feeding = Feeding(tmp_path)
        feeding.vtt(8.0, (2.5, 3.5, "into"), (3.5, 4.5, "inside"), (4.5, 5.5, "out of"), (6, 7, "after"), mpegts=mpegts)
        outcome = mux_subtitles(main, feeding, target=tmp_path / f"{mpegts}.mp4")
        shown = read_vtt(companion(outcome, "en.vtt"))
        # Sound and picture are not cut at the same time: what meets them is cut where the first of them goes on.
        expected = [(2.5, 3.0, "into"), (3.0, 3.5, "out of"), (4.0, 5.0, "after")]
        assert [(pytest.approx((start, end), abs=0.1), text) for start, end, text in expected] == [
            ((start, end), text) for start, end, text in shown
        ]
        assert close_to(*shown) == subtitles_of(outcome.target)


def test_a_kept_hole_keeps_its_time(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Video segments are missing, and a subtitle segment: the cues around them stay where they are."""
    plain = streams.plain()
    main = plain.orders()
    main[3:5] = [gap(number, duration_s=1.0, keep=True) for number in (4, 5)]
    zero = ticks(plain)
    feeding = Feeding(tmp_path).vtt(2.0, (1, 2, "a"), mpegts=zero).hole(2.0)
    feeding.vtt(2.0, (4.2, 5.5, "over"), mpegts=zero).vtt(2.0, (6, 7, "b"), mpegts=zero)
    outcome = mux_subtitles(main, feeding)
    assert close_to((1, 2, "a"), (4.2, 5.5, "over"), (6, 7, "b")) == subtitles_of(outcome.target)


def test_a_clock_that_jumps_unannounced(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """No splice says so; the maps of the segments behind it follow the new clock."""
    plain, far = streams.plain(), streams.get("subtitled-far", seconds=4, hls=("-output_ts_offset", "5000"))
    main = [*plain.orders(only=slice(0, 4)), *far.orders(first=5, start_s=4.0)]
    feeding = Feeding(tmp_path).vtt(4.0, (1, 2, "a"), mpegts=ticks(plain)).vtt(4.0, (1, 2, "b"), mpegts=ticks(far))
    outcome = mux_subtitles(main, feeding)
    start = start_of(far, outcome, frame=100)
    assert close_to((1, 2, "a"), (start + 1, start + 2, "b")) == subtitles_of(outcome.target)


def test_a_clock_that_jumps_inside_a_segment(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """The segments behind it are on the new clock."""
    plain, far = streams.plain(), streams.get("subtitled-far", seconds=4, hls=("-output_ts_offset", "5000"))
    mixed = tmp_path / "mixed.ts"
    mixed.write_bytes(plain.segments[1].read_bytes() + far.segments[0].read_bytes())
    main = [
        *plain.orders(only=slice(0, 1)),
        seg(2, mixed, duration_s=2.0) | {"start_s": 1.0},
        *far.orders(first=3, only=slice(1, 4), start_s=3.0),
    ]
    feeding = Feeding(tmp_path).vtt(3.0, (1, 2, "a"), mpegts=ticks(plain)).vtt(3.0, (1.5, 2, "b"), mpegts=ticks(far))
    outcome = mux_subtitles(main, feeding)
    start = start_of(far, outcome, frame=50)
    assert close_to((1, 2, "a"), (start + 1.5, start + 2, "b")) == subtitles_of(outcome.target)
    assert [] == [each for each in outcome.reports if each["ev"] == "warn" and each["track"] != "main"]


def test_a_map_that_makes_no_sense(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """The place in the playlist is taken, and the warning names the segment."""
    plain = streams.plain()
    feeding = Feeding(tmp_path).vtt(4.0, (1, 2, "a"), mpegts=ticks(plain)).vtt(4.0, (5, 6, "b"), mpegts=1 << 32)
    outcome = mux_subtitles(plain.orders(), feeding)
    assert close_to((1, 2, "a"), (5, 6, "b")) == subtitles_of(outcome.target)
    assert [("subtitles1", 2)] == [(each["track"], each["n"]) for each in outcome.reports if each["ev"] == "warn"]


# -- fMP4 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["wvtt", "stpp"])
def test_subtitles_in_fmp4(form: str, streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """libav has no codec for them, but it finds the samples, which are on the media's clock."""
    fmp4 = streams.fmp4()
    init = tmp_path / "init.mp4"
    feeding = Feeding(tmp_path)
    if form == "wvtt":
        init.write_bytes(WVTT_INIT)
        segments = [
            [(500, WVTT_EMPTY), (1500, wvtt_cue("<i>one</i>")), (2000, wvtt_cue("over", settings="line:0"))],
            [(1000, wvtt_cue("over", settings="line:0")), (1000, WVTT_EMPTY), (2000, wvtt_cue("two"))],
        ]
    else:
        init.write_bytes(STPP_INIT)
        over = '<p begin="2s" end="5s">over</p>'
        segments = [
            [(4000, ttml(f'<p begin="0.5s" end="2s"><span tts:fontStyle="italic">one</span></p>{over}'))],
            [(4000, ttml(over + '<p begin="00:00:06.000" end="00:00:08.000">two</p>'))],
        ]
    for number, samples in enumerate(segments):
        path = tmp_path / f"{number}.m4s"
        path.write_bytes(fragment(4000 * number, samples))
        feeding.file(4.0, path, kind="fmp4", init=init)
    outcome = mux_subtitles(fmp4.orders(), feeding)
    assert_whole(outcome, fmp4)
    shift_s = start_of_fmp4(fmp4, outcome)
    shown = read_vtt(companion(outcome, "en.vtt"))
    expected = [(0.5, 2.0, "<i>one</i>"), (2.0, 5.0, "over"), (6.0, 8.0, "two")]
    assert ["<i>one</i>", "over", "two"] == [text for _, _, text in shown]
    assert close_to(*((start + shift_s, end + shift_s, text) for start, end, text in expected[:2])) == shown[:2]
    assert close_to(*shown) == subtitles_of(outcome.target)
    assert form == "stpp" or "line:0" in companion(outcome, "en.vtt")


@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
@pytest.mark.parametrize("codec", ["H.264", "HEVC"])
def test_groups_decoded_in_another_order(codec: str, fmp4: bool, streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """With B-frames, without, and with again, no sound: cues begin with their pictures."""
    bframes = {"H.264": with_h264, "HEVC": with_hevc}[codec]
    a, b = (
        streams.get(f"mute-{codec}-{fmp4}-{count}", seconds=3, fmp4=fmp4, audio="", video_codec=bframes(count))
        for count in (2, 0)
    )
    main = a.orders() + b.orders(first=4, splice=1, start_s=3.0) + a.orders(first=7, splice=2, start_s=6.0)
    feeding = Feeding(tmp_path)
    for splice, stream in enumerate((a, b, a)):
        feeding.vtt(3.0, (0, 0.5, f"{splice}"), splice=splice, mpegts=clock_of(stream))
    outcome = mux_subtitles(main, feeding)
    shown_at = sorted(packet_pts(outcome.target, "video"))
    expected = [pytest.approx(shown_at[frame], abs=0.002) for frame in (0, 75, 150)]
    assert expected == [start for start, _, _ in read_vtt(companion(outcome, "en.vtt"))]
    assert expected == [start for start, _, _ in subtitles_of(outcome.target)]
    assert pytest.approx([0.0, 3.0, 6.0], abs=0.002) == [shown_at[frame] for frame in (0, 75, 150)]


def with_h264(bframes: int) -> tuple[str, ...]:
    """How to encode it."""
    return ("-c:v", "libx264", "-bf", str(bframes), "-g", "25", "-pix_fmt", "yuv420p")


def with_hevc(bframes: int) -> tuple[str, ...]:
    """The same."""
    options = f"log-level=none:scenecut=0:bframes={bframes}"
    return ("-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-x265-params", options, "-pix_fmt", "yuv420p")


def clock_of(stream: Stream) -> int:
    """What the clock of a stream says at its first picture."""
    joined = stream.segments[0].parent / "first"
    init = b"" if stream.init is None else stream.init.read_bytes()
    joined.write_bytes(init + stream.segments[0].read_bytes())
    return round(first_pts(joined, "video") * 90_000)


def start_of_fmp4(stream: Stream, outcome: Outcome) -> float:
    """Where media time 0 of fMP4 segments is in the output."""
    joined = outcome.target.with_name("joined.mp4")
    assert stream.init is not None
    joined.write_bytes(stream.init.read_bytes() + stream.segments[0].read_bytes())
    return first_pts(outcome.target, "video") - first_pts(joined, "video")


def test_a_codec_that_is_not_known_costs_only_the_subtitles(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Every segment is named; the film is there."""
    fmp4 = streams.fmp4()
    (tmp_path / "init.mp4").write_bytes(subtitle_init(box(b"xxxx", bytes(6), b"\0\1"), handler=b"subt"))
    (tmp_path / "1.m4s").write_bytes(fragment(0, [(8000, b"?")]))
    feeding = Feeding(tmp_path).file(8.0, tmp_path / "1.m4s", kind="fmp4", init=tmp_path / "init.mp4")
    outcome = mux_subtitles(fmp4.orders(), feeding)
    assert_whole(outcome, fmp4)
    assert ["暂不支持这种字幕编码，按缺失处理", "字幕 English 没有内容，未写入"] == texts_of(outcome)


# -- What is not there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faststart", [False, True])
def test_a_track_without_cues_is_left_out(faststart: bool, streams: Streams, mux: Mux, tmp_path: Path):
    """No track and no file of it; the other one is there."""
    plain = streams.plain()
    empty = Feeding(tmp_path).vtt(4.0, mpegts=ticks(plain)).vtt(4.0)
    full = Feeding(tmp_path, track="subtitles2").vtt(8.0, (1, 2, "x"), mpegts=ticks(plain))
    outcome = mux(
        in_order(plain.orders(), empty.orders, full.orders),
        tracks=[MAIN, TRACK, TRACK | {"track": "subtitles2", "language": "fr"}],
        subtitle_files=["vtt"],
        faststart=faststart,
    )
    assert_whole(outcome, plain)
    assert ["字幕 English 没有内容，未写入"] == texts_of(outcome)
    assert ["h264", "aac", "mov_text"] == [each["codec_name"] for each in streams_of(outcome.target)]
    assert ["fr.vtt"] == [each["suffix"] for each in outcome.last["companions"]]
    assert close_to((1, 2, "x")) == subtitles_of(outcome.target)


def test_a_playlist_without_segments(streams: Streams, mux: Mux):
    """Nothing at all is heard of the track."""
    plain = streams.plain()
    outcome = mux(plain.orders(), tracks=[MAIN, TRACK])
    assert_whole(outcome, plain)
    assert ["h264", "aac"] == [each["codec_name"] for each in streams_of(outcome.target)]


def test_damaged_segments_and_cues_are_named(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """The rest is there."""
    plain = streams.plain()
    zero = ticks(plain)
    (tmp_path / "page.vtt").write_text("<html>")
    (tmp_path / "odd.vtt").write_text(
        f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{zero},LOCAL:00:00.000\n\n"
        "00:05 --> 00:06.000\nno\n\n00:05.000 --> 00:06.000\nyes\n"
    )
    feeding = Feeding(tmp_path).vtt(2.0, (1, 2, "a"), mpegts=zero).file(2.0, tmp_path / "page.vtt")
    feeding.file(4.0, tmp_path / "odd.vtt")
    outcome = mux_subtitles(plain.orders(), feeding)
    assert ["缺少 WEBVTT 标识，按缺失处理", "跳过了有误的字幕：第 4 行时间行有误"] == texts_of(outcome)
    assert [
        "the WEBVTT signature is not there; taken as missing",
        "subtitles with a mistake were skipped: line 4 has wrong times",
    ] == [report["text_en"] for report in outcome.reports if report["ev"] == "warn"]
    assert close_to((1, 2, "a"), (5, 6, "yes")) == subtitles_of(outcome.target)


def test_a_missing_segment_file_is_the_disks_fault(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """It was there when the order was given: nothing is made up."""
    feeding = Feeding(tmp_path).file(8.0, tmp_path / "gone.vtt")
    outcome = mux_subtitles(streams.plain().orders(), feeding)
    assert ("failed", "disk_error") == (outcome.last["ev"], outcome.last["fault"])


def test_what_is_said_after_the_end(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """The file does not outlast its pictures; a warning counts what was lost."""
    plain = streams.plain()
    feeding = Feeding(tmp_path).vtt(8.0, (7, 12, "x"), (9, 10, "y"), (11, 12, "z"), mpegts=ticks(plain))
    outcome = mux_subtitles(plain.orders(), feeding)
    assert [(7.0, 8.0, "x")] == [
        (round(start, 1), round(end, 1), text) for start, end, text in subtitles_of(outcome.target)
    ]
    assert ["2 条字幕没有对应的画面，未写入"] == texts_of(outcome)


def test_a_cue_ends_with_the_last_picture(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Pictures are shown later than they are decoded; there is no sound that lasts longer."""
    silent = streams.get("subtitled-silent", seconds=4, audio="")
    feeding = Feeding(tmp_path).vtt(4.0, (3, 12, "x"), mpegts=round(first_pts(silent.segments[0], "video") * 90_000))
    outcome = mux_subtitles(silent.orders(), feeding)
    assert close_to((3, 4, "x")) == subtitles_of(outcome.target)


# -- How it is written -------------------------------------------------------------------------------------------------


def test_markup_and_odd_characters(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Marks are kept, and what looks like a code of ASS is text."""
    plain = streams.plain()
    text = "<b>b</b> <v Bob>{\\i1}x &lt;y&gt; C:\\New\\n <u>u</u>"
    outcome = mux_subtitles(plain.orders(), Feeding(tmp_path).vtt(8.0, (1, 2, text), mpegts=ticks(plain)))
    line = run_ffmpeg("-i", outcome.target, "-map", "0:s", "-c:s", "text", "-f", "data", "-")
    assert "b {\\i1}x <y> C:\\New\\n u" == line.replace("\u2060", "").strip()
    styled = run_ffmpeg("-i", outcome.target, "-map", "0:s", "-c:s", "srt", "-f", "srt", "-")
    assert "<b>b</b>" in styled and "<u>u</u>" in styled
    assert text in companion(outcome, "en.vtt")


@pytest.mark.parametrize("form", ["TS", "fMP4"])
def test_cues_that_follow_at_once_and_overlap(form: str, streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """No sample without a length, none out of order, nothing lost; whatever the ticks of the picture are."""
    if form == "TS":
        stream = streams.plain()
    else:  # movenc compares times of tracks without regard to their ticks
        fine = ("-hls_segment_options", "video_track_timescale=10000000")
        stream = streams.get("subtitled-fine", seconds=8, fmp4=True, hls=fine)
    cues = [(n / 10, (n + 1 + n % 3) / 10, f"{n}") for n in range(1, 70)]
    outcome = mux_subtitles(stream.orders(), Feeding(tmp_path).vtt(8.0, *cues))
    assert_whole(outcome, stream)
    shown = subtitles_of(outcome.target)
    for at in range(10, 80):
        said = [text for start, end, text in cues if start <= at / 10 + 0.05 < end]
        assert ["\n".join(said)] * bool(said) == [text for start, end, text in shown if start <= at / 10 + 0.05 < end]
    assert len(shown) == outcome.last["packets"]["subtitle2"]
    times = packet_times(outcome.target, "subtitle")
    assert all(before < after for before, after in zip(times, times[1:], strict=False))


@pytest.mark.parametrize("segment_s", [2.0, 8.0], ids=["segments", "one file"])
def test_texts_lie_beside_their_pictures(segment_s: float, streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Sparse cues neither hold up sound and picture nor wait for the end: a player need not jump about."""
    long = streams.get("subtitled-long", seconds=60)
    feeding = Feeding(tmp_path)
    for at in range(0, 60, int(segment_s)):
        cues = [(each, each + 1, f"{each}") for each in range(at, min(60, at + int(segment_s))) if each % 20 == 5]
        feeding.vtt(segment_s, *cues, mpegts=ticks(long))
    outcome = mux_subtitles(long.orders(), feeding)
    line = ["ffprobe", "-v", "error", "-show_entries", "packet=codec_type,dts_time,pos,size", "-of", "json"]
    packets = json.loads(subprocess.run([*line, str(outcome.target)], capture_output=True, check=True).stdout)[
        "packets"
    ]
    packets.sort(key=lambda each: int(each["pos"]))
    newest = 0.0
    for each in packets:
        dts = float(each["dts_time"])
        if each["codec_type"] == "subtitle" and int(each["size"]) > 2:
            assert abs(newest - dts) < 3
        elif each["codec_type"] != "subtitle":
            assert newest - dts < 1
            newest = max(newest, dts)
    assert ["5", "25", "45"] == [text for _, _, text in subtitles_of(outcome.target)]


def test_the_order_of_arrival_does_not_matter(streams: Streams, mux: Mux, tmp_path: Path):
    """All subtitles first, all last, in turns: the same bytes."""
    plain = streams.plain()
    feeding = Feeding(tmp_path)
    for at in range(8):
        feeding.vtt(1.0, (at + 0.2, at + 1.2, f"{at}"), mpegts=ticks(plain))
    end = [{"op": "track_end", "track": "subtitles1"}]
    orders = [
        in_order(plain.orders(), feeding.orders),
        [*feeding.orders, *end, *plain.orders()],
        [*plain.orders(), *feeding.orders],
    ]
    files = []
    for number, each in enumerate(orders):
        outcome = mux(each, target=tmp_path / f"{number}.mp4", tracks=[MAIN, TRACK], subtitle_files=["vtt"])
        assert "done" == outcome.last["ev"]
        files.append((outcome.target.read_bytes(), companion(outcome, "en.vtt")))
    assert files[0] == files[1] == files[2]


def test_split_files_have_their_own_cues(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Each starts at 0, the files beside them too."""
    plain, large = streams.plain(), streams.get("subtitled-large", seconds=4, video="testsrc2=s=320x180:r=25")
    main = [*plain.orders(only=slice(0, 4)), *large.orders(first=5, splice=1, start_s=4.0)]
    feeding = Feeding(tmp_path).vtt(4.0, (1, 2, "a"), (3.5, 4.5, "over")).vtt(4.0, (3.5, 4.5, "over"), (6, 7, "b"))
    outcome = mux_subtitles(main, feeding, on_param_change="split")
    assert ["p2.mp4", "en.vtt", "p2.en.vtt"] == [each["suffix"] for each in outcome.last["companions"]]
    second = outcome.target.with_name(outcome.target.name + ".p2")
    for path, text, expected in (
        (outcome.target, companion(outcome, "en.vtt"), [(1, 2, "a"), (3.5, 4.0, "over")]),
        (second, companion(outcome, "p2.en.vtt"), [(0.0, 0.5, "over"), (2.0, 3.0, "b")]),
    ):
        assert [(pytest.approx((start, end), abs=0.1), each) for start, end, each in expected] == [
            ((start, end), each) for start, end, each in read_vtt(text)
        ]
        assert close_to(*read_vtt(text)) == subtitles_of(path)


def test_beside_sound_in_a_playlist_of_its_own(streams: Streams, mux: Mux, tmp_path: Path):
    """Three playlists with segments of three lengths: all of it in step."""
    plain = streams.plain()
    picture = streams.cut("picture", plain, "v")
    speech = streams.cut("speech", plain, "a", hls=("-hls_time", "2.9"))
    zero = min(ticks(picture, "video"), ticks(speech, "audio"))
    feeding = Feeding(tmp_path).vtt(5.0, (1, 2, "a"), (4.5, 5, "b"), mpegts=zero).vtt(3.0, (5, 6, "b"), mpegts=zero)
    outcome = mux(
        in_order(picture.orders(), speech.orders(track="audio1"), feeding.orders),
        tracks=[MAIN, {"track": "audio1", "kind": "audio", "language": "en"}, TRACK],
    )
    assert_whole(outcome, plain)
    assert ["h264", "aac", "mov_text"] == [each["codec_name"] for each in streams_of(outcome.target)]
    assert close_to((1, 2, "a"), (4.5, 6, "b")) == subtitles_of(outcome.target)
    assert [] == texts_of(outcome)


def test_names_of_side_car_files():
    """By language, forced mark and number; without a language by name; each once, whatever the case."""
    infos = [
        ("en", "", False), ("en", "SDH", False), ("EN", "", False), ("en", "", True), ("zh-Hans", "简体", False),
        ("", "简体 中文/../x", False), ("", "", False), ("", "", False), ("../..", "", False), ("", "x" * 300, False),
        ("", "中" * 50, False), ("", "a\ud800b", False),
    ]  # fmt: skip
    suffixes = Suffixes()
    assert [
        "en", "en.2", "EN.3", "en.forced", "zh-Hans", "简体-中文-x", "und", "und.2", "und.3", "x" * 24, "中" * 8, "a-b",
    ] == [
        suffixes.stem(TrackInfo(track="s", kind="subtitles", language=language, name=name, forced=forced))
        for language, name, forced in infos
    ]  # fmt: skip


def test_files_beside_are_new_and_private(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Nothing is followed or written over."""
    plain = streams.plain()
    feeding = Feeding(tmp_path).vtt(8.0, (1, 2, "x"), mpegts=ticks(plain))
    outcome = mux_subtitles(plain.orders(), feeding)
    (found,) = outcome.last["companions"]
    assert {"path": f"{outcome.target}.1.vtt", "suffix": "en.vtt"} == found
    assert 0o600 == Path(found["path"]).stat().st_mode & 0o777
    (tmp_path / "other.mp4.1.vtt").symlink_to(tmp_path / "precious")
    outcome = mux_subtitles(plain.orders(), feeding, target=tmp_path / "other.mp4")
    assert ("failed", "disk_error") == (outcome.last["ev"], outcome.last["fault"])
    assert not (tmp_path / "precious").exists()
    (tmp_path / "third.mp4.1.vtt").write_text("precious")
    outcome = mux_subtitles(plain.orders(), feeding, target=tmp_path / "third.mp4")
    assert ("failed", "disk_error") == (outcome.last["ev"], outcome.last["fault"])
    assert "precious" == (tmp_path / "third.mp4.1.vtt").read_text()


def test_hostile_segments_neither_break_nor_hang(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """Bytes changed at random: what can be read is there, the film is whole, and the file agrees with itself."""
    plain = streams.plain()
    cues = "".join(f"{time_of(n / 10)} --> {time_of(n / 10 + 0.3)}\n<v A>{n} <i>{n}</i> &amp;\n\n" for n in range(70))
    chaos = random.Random(4)
    for number in range(4):
        body = bytearray(f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{ticks(plain)},LOCAL:00:00.000\n\n{cues}".encode())
        for _ in range(60):
            body[chaos.randrange(7, len(body))] = chaos.randrange(256)
        (tmp_path / "chaos.vtt").write_bytes(body)
        outcome = mux_subtitles(
            plain.orders(), Feeding(tmp_path).file(8.0, tmp_path / "chaos.vtt"), target=tmp_path / f"{number}.mp4"
        )
        assert_whole(outcome, plain)
        assert outcome.last["packets"]["subtitle2"] > 30
        assert subtitles_of(outcome.target)


def test_far_too_many_cues_cost_seconds(streams: Streams, mux_subtitles: Mux, tmp_path: Path):
    """All of them overlap; the child says again and again that it lives."""
    plain = streams.plain()
    text = "".join(f"\n{time_of(n % 7000 / 1000)} --> {time_of(8)}\n{n}\n" for n in range(30_000))
    (tmp_path / "many.vtt").write_text(f"WEBVTT\n{text}")
    feeding = Feeding(tmp_path).file(8.0, tmp_path / "many.vtt")
    outcome = mux_subtitles(plain.orders(), feeding, subtitle_files=["vtt", "srt"])
    assert_whole(outcome, plain)
    assert ["跳过了有误的字幕：第 60003 行字幕超过 20000 条，其余未读"] == texts_of(outcome)
    assert {"ev": "alive"} in outcome.reports
