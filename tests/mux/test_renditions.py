"""
Sound in playlists of its own: everything in one file, in step, whatever the segments and the order they come in.
"""

import random
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.mux.conftest import (
    Outcome,
    Stream,
    Streams,
    first_pts,
    frame_hashes,
    gap,
    largest_step,
    lead,
    seg,
    silences,
)

Mux = Callable[..., Outcome]
Orders = list[dict[str, object]]

LANGUAGES = {"audio1": ("en", "English"), "audio2": ("pt-BR", "Português")}
LONG = ("-hls_time", "2.9")


def tracks(*names: str, default: str = "audio1") -> list[dict[str, object]]:
    """The tracks of a job: "main" and these."""
    rows: list[dict[str, object]] = [{"track": "main", "kind": "main"}]
    for name in names:
        language, title = LANGUAGES[name]
        row = {"track": name, "kind": "audio", "language": language, "name": title, "default": name == default}
        rows.append(row)
    return rows


def sound(path: Path, number: int = 0) -> list[float]:
    """The pts of every packet of the sound track `number`, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        return [float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.size]


def offset(path: Path, number: int = 0) -> float:
    """By how much the picture starts after the sound track `number`."""
    return first_pts(path, "video") - sound(path, number)[0]


def ended(*names: str) -> Orders:
    """The orders that end these tracks."""
    return [{"op": "track_end", "track": name} for name in names]


@pytest.fixture(scope="session")
def picture(streams: Streams) -> Stream:
    """The picture of the plain stream, 8 segments."""
    return streams.cut("picture", streams.plain(), "v")


@pytest.fixture(scope="session")
def speech(streams: Streams) -> Stream:
    """Its sound, in 3 longer segments."""
    return streams.cut("speech", streams.plain(), "a", hls=LONG)


@pytest.mark.parametrize("form", ["TS", "fMP4", "packed AAC"])
def test_separate_sound(form: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Every frame and packet is there, as far apart as in the source."""
    film = streams.plain()
    fmp4 = form == "fMP4"
    seen = streams.cut(f"seen-{fmp4}", film, "v", fmp4=fmp4)
    heard = streams.cut(f"heard-{fmp4}", film, "a", fmp4=fmp4, hls=LONG)
    orders = heard.orders(track="audio1")
    if form == "packed AAC":
        orders = packed(heard, tmp_path)
    outcome = mux([*seen.orders(), *orders], tracks=tracks("audio1"))
    assert ("done", []) == (outcome.last["ev"], outcome.warned)
    assert film.frames == frame_hashes(outcome.target)
    assert film.audio_packets == len(sound(outcome.target))
    assert pytest.approx(lead(film.master), abs=0.001) == offset(outcome.target)
    assert largest_step(outcome.target, "audio") <= 0.03
    assert pytest.approx(0, abs=0.001) == min(first_pts(outcome.target, kind) for kind in ("video", "audio"))


def packed(stream: Stream, folder: Path, *, clock: bool = True, track: str = "audio1") -> Orders:
    """The segments of a TS sound rendition as packed AAC, with or without the time their TS had."""
    orders = []
    start_s = 0.0
    for number, (path, duration_s) in enumerate(zip(stream.segments, stream.durations_s, strict=True), 1):
        with av.open(str(path), format="mpegts") as container:
            packets = [packet for packet in container.demux(audio=0) if packet.size]
            body = b"".join(bytes(packet) for packet in packets)
            time = min(packet.pts for packet in packets if packet.pts is not None) % (1 << 33)
        frame = b"com.apple.streaming.transportStreamTimestamp\x00" + time.to_bytes(8)
        frame = b"PRIV" + len(frame).to_bytes(4) + b"\x00\x00" + frame
        tag = b"ID3\x04\x00\x00" + bytes([0, 0, len(frame) >> 7, len(frame) & 0x7F]) + frame
        target = folder / f"{track}-{number}.aac"
        target.write_bytes((tag if clock else b"") + body)
        orders.append(seg(number, target, kind="aac", duration_s=duration_s) | {"track": track, "start_s": start_s})
        start_s += duration_s
    return orders


def test_bytes_do_not_depend_on_the_order_of_arrival(
    picture: Stream, speech: Stream, streams: Streams, mux: Mux, tmp_path: Path
) -> None:
    """However the tracks' orders are mixed, the file is the same."""
    other = streams.cut("dubbed", streams.other(), "a")
    queues = [
        picture.orders() + streams.other().orders(first=9, splice=1),
        speech.orders(track="audio1"),
        other.orders(track="audio2") + ended("audio2"),
    ]
    files = set()
    for seed in range(4):
        mixed: Orders = []
        picks = [number for number, queue in enumerate(queues) for _ in queue]
        if seed:
            random.Random(seed).shuffle(picks)
        waiting = [list(queue) for queue in queues]
        for number in picks:
            mixed.append(waiting[number].pop(0))
        outcome = mux(mixed, tracks=tracks("audio1", "audio2"), target=tmp_path / f"{seed}.mp4")
        assert "done" == outcome.last["ev"], outcome.reports[-3:]
        files.add(outcome.target.read_bytes())
    assert 1 == len(files)


def test_tracks_are_interleaved(picture: Stream, speech: Stream, mux: Mux) -> None:
    """Sound and picture of the same time stand side by side in the file."""
    outcome = mux([*picture.orders(), *speech.orders(track="audio1")], tracks=tracks("audio1"))
    with av.open(str(outcome.target)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    by_place = sorted(packets, key=lambda packet: packet.pos)
    latest = {0: 0.0, 1: 0.0}
    for packet in by_place:
        latest[packet.stream_index] = float(packet.dts * packet.time_base)
        assert abs(latest[0] - latest[1]) <= 0.5


def test_several_languages(picture: Stream, speech: Stream, streams: Streams, mux: Mux) -> None:
    """Each rendition is a track with its language and name; the one the job names is the default."""
    dubbed = streams.cut("speech-again", streams.plain(), "a")
    orders = [*picture.orders(), *speech.orders(track="audio1"), *dubbed.orders(track="audio2")]
    outcome = mux(orders, tracks=tracks("audio1", "audio2", default="audio2"))
    with av.open(str(outcome.target)) as container:
        heard = container.streams.audio
        assert ["eng", "por"] == [stream.language for stream in heard]
        assert ["English", "Português"] == [stream.metadata["name"] for stream in heard]
        assert [False, True] == [bool(stream.disposition & av.stream.Disposition.default) for stream in heard]
    assert [streams.plain().audio_packets] * 2 == [len(sound(outcome.target, number)) for number in (0, 1)]


def test_own_sound_of_main_is_left_out(streams: Streams, speech: Stream, mux: Mux) -> None:
    """A rendition replaces the sound that comes with the picture."""
    outcome = mux([*streams.plain().orders(), *speech.orders(track="audio1")], tracks=tracks("audio1"))
    assert ["video0", "audio1"] == list(outcome.last["packets"])
    assert streams.plain().frames == frame_hashes(outcome.target)


def test_sound_only_main_is_kept(streams: Streams, speech: Stream, mux: Mux) -> None:
    """Without a picture the main playlist's sound is the programme."""
    alone = streams.get("aac", seconds=3, video="")
    outcome = mux([*alone.orders(), *speech.orders(track="audio1")], tracks=tracks("audio1"))
    assert ["audio0", "audio1"] == list(outcome.last["packets"])


def test_rendition_without_media_is_told(streams: Streams, mux: Mux) -> None:
    """When a rendition yields nothing the main sound stays, and people are told."""
    film = streams.plain()
    outcome = mux([*film.orders(), gap(1, keep=True) | {"track": "audio1"}], tracks=tracks("audio1"))
    assert ("done", film.audio_packets) == (outcome.last["ev"], outcome.last["packets"]["audio1"])
    assert [("audio1", 0)] == [(each["track"], each["n"]) for each in outcome.reports if each["ev"] == "warn"]


class TestSplices:
    """Clocks set anew, with the sound elsewhere."""

    @pytest.mark.parametrize("form", ["TS", "fMP4", "packed AAC"])
    def test_film_spot_film(self, form: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
        """All tracks go over each splice with one offset: sound is where it was in each source."""
        film, spot = streams.plain(), streams.other()
        fmp4 = form == "fMP4"
        seen = [streams.cut(f"seen-{fmp4}", film, "v", fmp4=fmp4), streams.cut(f"spot-v-{fmp4}", spot, "v", fmp4=fmp4)]
        heard = [
            streams.cut(f"heard-{fmp4}", film, "a", fmp4=fmp4, hls=LONG),
            streams.cut(f"spot-a-{fmp4}", spot, "a", fmp4=fmp4, hls=LONG),
        ]
        orders: Orders = []
        at = {"main": 0.0, "audio1": 0.0}
        numbers = {"main": 1, "audio1": 1}
        for splice, which in enumerate((0, 1, 0)):
            for track, stream in (("main", seen[which]), ("audio1", heard[which])):
                part = stream.orders(first=numbers[track], splice=splice, track=track, start_s=at[track])
                if form == "packed AAC" and track == "audio1":
                    folder = tmp_path / str(splice)
                    folder.mkdir()
                    part = [
                        each | {"splice": splice, "start_s": at[track] + each["start_s"], "number": numbers[track] + n}
                        for n, each in enumerate(packed(stream, folder))
                    ]
                orders += part
                at[track] += sum(stream.durations_s)
                numbers[track] += len(part)
        outcome = mux(orders, tracks=tracks("audio1"))
        assert ("done", []) == (outcome.last["ev"], outcome.warned)
        assert film.frames + spot.frames + film.frames == frame_hashes(outcome.target)
        times = sound(outcome.target)
        assert 2 * film.audio_packets + spot.audio_packets == len(times)
        seen_at = sorted_pts(outcome.target)
        for frame, packet, source in (
            (0, 0, film),
            (200, film.audio_packets, spot),
            (300, film.audio_packets + spot.audio_packets, film),
        ):
            assert pytest.approx(lead(source.master), abs=0.001) == seen_at[frame] - times[packet]
        assert largest_step(outcome.target, "video") <= 0.1
        assert largest_step(outcome.target, "audio") <= 0.1

    def test_clocks_that_differ_at_a_splice(self, picture: Stream, speech: Stream, streams: Streams, mux: Mux) -> None:
        """A rendition whose clock is another one starts where its playlist says, and stays there."""
        far = streams.cut("far", streams.plain(), "a", hls=("-output_ts_offset", "5000", *LONG))
        orders = [*picture.orders(), *speech.orders(track="audio1")]
        orders += picture.orders(first=9, splice=1, start_s=8.0) + far.orders(
            first=4, splice=1, track="audio1", start_s=8.0
        )
        outcome = mux(orders, tracks=tracks("audio1"))
        assert "done" == outcome.last["ev"]
        assert pytest.approx(8.0, abs=0.05) == sound(outcome.target)[speech.audio_packets]
        assert pytest.approx(16.0, abs=0.1) == outcome.last["dur"]

    def test_rendition_without_the_splice(self, picture: Stream, streams: Streams, mux: Mux) -> None:
        """A rendition that ends before a splice, or has none, blocks nobody and stays where it is."""
        short = streams.cut("short", streams.plain(), "a", hls=LONG)
        spot = streams.cut("spot-v-False", streams.other(), "v")
        orders = picture.orders() + spot.orders(first=9, splice=1, start_s=8.0)
        outcome = mux([*short.orders(track="audio1"), *ended("audio1"), *orders], tracks=tracks("audio1"))
        assert picture.frames + spot.frames == frame_hashes(outcome.target)
        assert pytest.approx(8.0, abs=0.1) == sound(outcome.target)[-1]

    def test_sound_without_discontinuities(self, streams: Streams, mux: Mux) -> None:
        """A picture with splices over a sound that has none: both complete, each without a hole."""
        film, spot = streams.plain(), streams.cut("spot-v-False", streams.other(), "v")
        long = streams.get("long-sound", seconds=30, video="")
        seen = streams.cut("seen-False", film, "v")
        orders = seen.orders() + spot.orders(first=9, splice=1, start_s=8) + seen.orders(first=13, splice=2, start_s=12)
        outcome = mux([*orders, *long.orders(track="audio1")], tracks=tracks("audio1"))
        assert film.frames + spot.frames + film.frames == frame_hashes(outcome.target)
        assert long.audio_packets == len(sound(outcome.target))
        assert largest_step(outcome.target, "video") <= 0.1
        assert largest_step(outcome.target, "audio") <= 0.03


def sorted_pts(path: Path) -> list[float]:
    """When each frame is shown."""
    with av.open(str(path)) as container:
        return sorted(float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.size)


class TestClocks:
    """Wraps, and sound without a clock."""

    @pytest.mark.parametrize("start_s", [95440, 95443.717], ids=["after 3 s", "at once"])
    @pytest.mark.parametrize("form", ["TS", "packed AAC"])
    def test_wrap(self, form: str, start_s: float, streams: Streams, mux: Mux, tmp_path: Path) -> None:
        """The 33-bit clock passes its end in both tracks, at different places of their segments."""
        film = streams.plain()
        shift = ("-output_ts_offset", str(start_s - 1.4))
        seen = streams.cut(f"wrap-v-{start_s}", film, "v", hls=shift)
        heard = streams.cut(f"wrap-a-{start_s}", film, "a", hls=(*shift, *LONG))
        orders = heard.orders(track="audio1") if form == "TS" else packed(heard, tmp_path)
        outcome = mux([*seen.orders(), *orders], tracks=tracks("audio1"))
        assert ("done", []) == (outcome.last["ev"], outcome.warned)
        assert film.frames == frame_hashes(outcome.target)
        assert pytest.approx(lead(film.master), abs=0.001) == offset(outcome.target)
        assert pytest.approx(8.0, abs=0.1) == outcome.last["dur"]
        assert largest_step(outcome.target, "audio") <= 0.03

    def test_packed_sound_without_a_clock(self, picture: Stream, speech: Stream, mux: Mux, tmp_path: Path) -> None:
        """It starts where its playlist says and goes on without holes."""
        orders = [order | {"start_s": order["start_s"] + 2.0} for order in packed(speech, tmp_path, clock=False)]
        outcome = mux([*picture.orders(), *orders], tracks=tracks("audio1"))
        assert pytest.approx(2.0, abs=0.1) == sound(outcome.target)[0]
        assert speech.audio_packets == len(sound(outcome.target))
        assert largest_step(outcome.target, "audio") <= 0.03


class TestGaps:
    """Segments missing in one track."""

    def test_gap_in_the_sound(self, picture: Stream, streams: Streams, mux: Mux) -> None:
        """What follows stays where it is, and so does the picture."""
        heard = streams.cut("heard-1s", streams.plain(), "a")
        orders = heard.orders(track="audio1")
        orders[3] = gap(4, keep=True, duration_s=heard.durations_s[3]) | {"track": "audio1"}
        outcome = mux([*picture.orders(), *orders], tracks=tracks("audio1"))
        assert ("done", []) == (outcome.last["ev"], outcome.warned)
        assert picture.frames == frame_hashes(outcome.target)
        times = sound(outcome.target)
        whole = sound(
            mux(
                [*picture.orders(), *heard.orders(track="audio1")],
                tracks=tracks("audio1"),
                target=outcome.target.with_name("whole.mp4"),
            ).target
        )
        silent = silences(outcome.target)
        assert pytest.approx(heard.durations_s[3], abs=0.05) == len(silent) * 1024 / 44_100
        assert largest_step(outcome.target, "audio") <= 2 * 1024 / 44_100
        times = [time for time in times if time not in silent]
        assert max(min(abs(time - each) for each in whole) for time in times) <= 0.001
        assert len(times) < len(whole)

    @pytest.mark.parametrize("at", [0, 3, 7], ids=["first", "middle", "last"])
    def test_gap_in_the_picture(self, at: int, picture: Stream, speech: Stream, mux: Mux) -> None:
        """The sound stays, and so does the rest of the picture."""
        orders = picture.orders()
        orders[at] = gap(at + 1, keep=True)
        outcome = mux([*orders, *speech.orders(track="audio1")], tracks=tracks("audio1"))
        assert 175 == len(frame_hashes(outcome.target))
        assert speech.audio_packets == len(sound(outcome.target))
        seen = sorted_pts(outcome.target)
        assert pytest.approx(7.96 if at < 7 else 6.96, abs=0.1) == seen[-1]
        assert pytest.approx(1.0 if at == 0 else 0.0, abs=0.1) == seen[0]
        assert [] == outcome.warned

    def test_hole_closed_in_both(self, picture: Stream, streams: Streams, mux: Mux) -> None:
        """Segments left out of both tracks on purpose: both move up by the same time."""
        heard = streams.cut("heard-1s", streams.plain(), "a")
        seen, orders = picture.orders(), heard.orders(track="audio1")
        seen[3:5] = [gap(4, keep=False), gap(5, keep=False)]
        orders[3:5] = [gap(4, keep=False) | {"track": "audio1"}, gap(5, keep=False) | {"track": "audio1"}]
        outcome = mux([*seen, *orders], tracks=tracks("audio1"))
        assert pytest.approx(6.0, abs=0.3) == outcome.last["dur"]
        whole = mux(
            [*picture.orders(), *heard.orders(track="audio1")],
            tracks=tracks("audio1"),
            target=outcome.target.with_name("whole.mp4"),
        ).target
        assert pytest.approx(sorted_pts(whole)[-1] - sound(whole)[-1], abs=0.001) == (
            sorted_pts(outcome.target)[-1] - sound(outcome.target)[-1]
        )

    def test_hole_closed_before_both(self, picture: Stream, streams: Streams, mux: Mux) -> None:
        """The first segments left out of both tracks on purpose: the rest starts at 0, and nobody misses them."""
        heard = streams.cut("heard-1s", streams.plain(), "a")
        orders = []
        for stream, track in ((picture, "main"), (heard, "audio1")):
            for number, duration_s in enumerate(stream.durations_s[:3], 1):
                orders.append(gap(number, keep=False, duration_s=duration_s) | {"track": track})
            start_s = sum(stream.durations_s[:3])
            orders += stream.orders(first=4, only=slice(3, None), track=track, start_s=start_s)
        outcome = mux(orders, tracks=tracks("audio1"))
        assert ("done", []) == (outcome.last["ev"], outcome.warned)
        assert picture.frames[75:] == frame_hashes(outcome.target)
        assert pytest.approx(0, abs=0.001) == min(first_pts(outcome.target, kind) for kind in ("video", "audio"))
        assert pytest.approx(sum(heard.durations_s[3:]), abs=0.1) == outcome.last["dur"]

    def test_lost_sound_after_a_hole_that_is_closed(self, picture: Stream, streams: Streams, mux: Mux) -> None:
        """A sound that is shorter than its playlist says is still told of, whatever was left out before."""
        heard = streams.cut("heard-1s", streams.plain(), "a")
        first_s, *rest_s = heard.durations_s
        orders = [gap(1, keep=False), *picture.orders(first=2, only=slice(1, None), start_s=1.0)]
        orders += [gap(1, keep=False, duration_s=first_s) | {"track": "audio1"}]
        *others, last = heard.orders(first=2, only=slice(1, None), track="audio1", start_s=first_s)
        outcome = mux([*orders, *others, last | {"duration_s": 3.0}], tracks=tracks("audio1"))
        [text] = [each["text"] for each in outcome.reports if each["ev"] == "warn"]
        assert text.endswith(f"播放列表为 {sum(rest_s[:-1]) + 3.0:.1f} 秒")


class TestSplit:
    """Several files with several tracks."""

    @pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
    def test_picture_that_changes(self, fmp4: bool, streams: Streams, mux: Mux) -> None:
        """Each file has its picture and its part of the sound, in step."""
        film = streams.plain()
        spot = streams.get("split-spot", seconds=3, video="mandelbrot=s=320x180:r=25")
        seen = [streams.cut(f"seen-{fmp4}", film, "v", fmp4=fmp4), streams.cut(f"ss-v-{fmp4}", spot, "v", fmp4=fmp4)]
        heard = [
            streams.cut(f"heard-{fmp4}", film, "a", fmp4=fmp4, hls=LONG),
            streams.cut(f"ss-a-{fmp4}", spot, "a", fmp4=fmp4, hls=LONG),
        ]
        orders: Orders = []
        for splice, (which, start_s) in enumerate(((0, 0.0), (1, 8.0), (0, 11.0))):
            first = 100 * splice + 1
            orders += seen[which].orders(first=first, splice=splice, start_s=start_s)
            orders += heard[which].orders(first=first, splice=splice, start_s=start_s, track="audio1")
        outcome = mux(orders, tracks=tracks("audio1"), on_param_change="split")
        assert ("done", []) == (outcome.last["ev"], outcome.warned)
        paths = [outcome.target, *(Path(str(each["path"])) for each in outcome.last["companions"])]
        assert 3 == len(paths)
        for path, source in zip(paths, (film, spot, film), strict=True):
            assert source.frames == frame_hashes(path)
            assert source.audio_packets == len(sound(path))
            assert pytest.approx(lead(source.master), abs=0.001) == offset(path)
            assert pytest.approx(0, abs=0.001) == min(first_pts(path, kind) for kind in ("video", "audio"))
            with av.open(str(path)) as container:
                assert "eng" == container.streams.audio[0].language

    def test_picture_that_changes_over_one_sound(self, streams: Streams, mux: Mux) -> None:
        """A sound that goes on without a splice is cut where the picture changes, and nothing of it is lost."""
        film = streams.plain()
        spot = streams.get("split-spot", seconds=3, video="mandelbrot=s=320x180:r=25")
        long = streams.get("long-sound", seconds=30, video="")
        seen = streams.cut("seen-False", film, "v")
        # The picture's clock goes on, so that both have one; only the parameters change.
        change = streams.cut("ss-v-later", spot, "v", hls=("-output_ts_offset", "18"))
        voice = streams.shifted(long, "long-sound-10", ("-output_ts_offset", "10"))
        orders = seen.orders() + change.orders(first=9, start_s=8.0)
        outcome = mux([*orders, *voice.orders(track="audio1")], tracks=tracks("audio1"), on_param_change="split")
        assert "done" == outcome.last["ev"], outcome.reports[-3:]
        (second,) = (Path(str(each["path"])) for each in outcome.last["companions"])
        assert film.frames == frame_hashes(outcome.target)
        assert spot.frames == frame_hashes(second)
        assert long.audio_packets == len(sound(outcome.target)) + len(sound(second))
        cut = len(sound(outcome.target))
        assert pytest.approx(8.0, abs=0.1) == sound(outcome.target)[-1]
        expected = first_pts(change.segments[0], "video") - sound(voice.segments[0])[0] - cut * 1024 / 44_100
        assert pytest.approx(expected, abs=0.001) == offset(second)


def test_few_descriptors_are_enough(streams: Streams, mux_limited: Mux) -> None:
    """However many segments and runs: one open file a track and no more stays open."""
    film = streams.plain()
    seen, heard = streams.cut("seen-False", film, "v"), streams.cut("heard-1s", film, "a")
    orders: Orders = []
    for splice in range(60):
        orders += seen.orders(first=8 * splice + 1, splice=splice, start_s=8.0 * splice)
        orders += heard.orders(first=8 * splice + 1, splice=splice, start_s=8.0 * splice, track="audio1")
    outcome = mux_limited(orders, tracks=tracks("audio1"))
    assert ("done", 60 * 200) == (outcome.last["ev"], outcome.last["packets"]["video0"])
