"""
Streams that change on the way: kept in one file where one MP4 can hold both, several files where the job says so.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import av
import pytest

from m3u8svc.mux.verify import WrittenFile, read_back
from tests.mux.conftest import (
    Outcome,
    Stream,
    Streams,
    assert_whole,
    first_pts,
    frame_hashes,
    gap,
    largest_step,
    lead,
    packet_pts,
    packet_times,
    run_ffmpeg,
)

Mux = Callable[..., Outcome]
Orders = list[dict[str, object]]

HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-g", "25", "-x265-params", "log-level=none:scenecut=0")
HEVC += ("-pix_fmt", "yuv420p")  # where pixel formats differ, ffmpeg converts what it hashes
LARGE = "mandelbrot=s=320x180:r=25"


def film(streams: Streams, codec: str, fmp4: bool) -> Stream:
    """8 s (HEVC: 3 s) of picture and sound."""
    if codec == "H.264":
        return streams.fmp4() if fmp4 else streams.plain()
    return streams.get("hevc420-fmp4" if fmp4 else "hevc420", seconds=3, video_codec=HEVC, fmp4=fmp4)


def spot(streams: Streams, codec: str, fmp4: bool, what: str) -> Stream:
    """3 s that differ in `what`."""
    made: dict[str, object] = {"seconds": 3, "fmp4": fmp4}
    if codec == "HEVC":
        made["video_codec"] = HEVC
    if what == "size":
        made["video"] = LARGE
    elif what == "profile":
        made["video_codec"] = ("-c:v", "libx264", "-profile:v", "baseline", "-g", "25", "-pix_fmt", "yuv420p")
    elif what == "rate":
        made["audio"] = "sine=f=880:r=48000"
    elif what == "channels":
        made["audio_codec"] = ("-c:a", "aac", "-ac", "6")
    return streams.get(f"spot-{codec}-{fmp4}-{what}", **made)


def a_b_a(a: Stream, b: Stream, *, tagged: bool = True, third: Stream | None = None) -> Orders:
    """Film, spot, film."""
    behind_a, behind_b = len(a.segments) + 1, len(a.segments) + len(b.segments) + 1
    last = (third or a).orders(first=behind_b, splice=2 * int(tagged))
    return a.orders() + b.orders(first=behind_a, splice=int(tagged)) + last


def heard(path: Path) -> list[tuple[int, str, int]]:
    """Rate, channels and length of every decoded frame of sound; damage raises."""
    with av.open(str(path)) as container:
        return [(frame.sample_rate, frame.layout.name, frame.samples) for frame in container.decode(audio=0)]


def written(path: Path) -> WrittenFile:
    """The file as it describes itself."""
    media = path.read_bytes()
    return read_back(lambda size, at: media[at : at + size], len(media))


CHANGES = [
    (codec, fmp4, what)
    for codec in ("H.264", "HEVC")
    for fmp4 in (False, True)
    for what in ("size", "profile", "rate", "channels")
    if (codec, what) != ("HEVC", "profile")
]


@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "not tagged"])
@pytest.mark.parametrize(
    ("codec", "fmp4", "what"), CHANGES, ids=[f"{c}-{'fMP4' if f else 'TS'}-{w}" for c, f, w in CHANGES]
)
def test_kept_in_one_file(codec: str, fmp4: bool, what: str, tagged: bool, streams: Streams, mux: Mux) -> None:
    """There and back: every frame decodes as it was, sound at its own rate and layout, never a frozen picture."""
    a, b = film(streams, codec, fmp4), spot(streams, codec, fmp4, what)
    outcome = mux(a_b_a(a, b, tagged=tagged))
    assert_whole(outcome, a, b, a)
    assert [] == outcome.last["companions"]
    forms = [{form[:2] for form in heard(each.master)} for each in (a, b, a)]
    sounds = heard(outcome.target)
    edges = [0, a.audio_packets, a.audio_packets + b.audio_packets, len(sounds)]
    # Where decoders start anew a frame may be missing: forms are compared away from the joints.
    for form, start, end in zip(forms, edges, edges[1:], strict=False):
        assert form == {each[:2] for each in sounds[start + 3 : end - 3]}
    assert 2 <= max(track.descriptions for track in written(outcome.target).tracks) or what == "profile"
    shown = sorted(packet_pts(outcome.target, "video"))
    assert max(after - before for before, after in zip(shown, shown[1:], strict=False)) <= 0.13


@pytest.mark.parametrize(("codec", "what"), [(codec, what) for codec, fmp4, what in CHANGES if not fmp4])
def test_change_in_the_middle_of_a_clock(codec: str, what: str, streams: Streams, mux: Mux) -> None:
    """Nothing but the parameters changes, and nobody announces it: all decodes, and `split` splits there."""
    a, b = film(streams, codec, False), spot(streams, codec, False, what)
    length_s = round(sum(a.durations_s))
    later = ("-output_ts_offset", str(length_s))
    b = streams.shifted(b, f"{b.segments[0].parent.name}-{length_s}", later)
    again = streams.shifted(a, f"{a.segments[0].parent.name}-{length_s + 3}", ("-output_ts_offset", str(length_s + 3)))
    outcome = mux(a_b_a(a, b, third=again, tagged=False))
    assert_whole(outcome, a, b, again)
    assert [] == outcome.warned
    sounds = heard(outcome.target)
    edges = [0, a.audio_packets, a.audio_packets + b.audio_packets, len(sounds)]
    for source, start, end in zip((a, b, a), edges, edges[1:], strict=False):
        assert {each[:2] for each in heard(source.master)} == {each[:2] for each in sounds[start + 3 : end - 3]}
    split = mux(
        a_b_a(a, b, third=again, tagged=False),
        on_param_change="split",
        target=outcome.target.with_name("split.mp4"),
    )
    assert 2 == len(split.last["companions"])


@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
@pytest.mark.parametrize("codec", ["H.264", "HEVC"])
def test_split_makes_three_files(codec: str, fmp4: bool, streams: Streams, mux: Mux) -> None:
    """There and back with `split`: three whole files, each starting at 0 with one sample description a track."""
    a, b = film(streams, codec, fmp4), spot(streams, codec, fmp4, "size")
    outcome = mux(a_b_a(a, b), on_param_change="split", file_time=1_700_000_000, faststart=True)
    assert "done" == outcome.last["ev"], outcome.reports[-3:]
    parts = [Path(str(each["path"])) for each in outcome.last["companions"]]
    assert [f"{outcome.target}.p2", f"{outcome.target}.p3"] == [str(part) for part in parts]
    assert ["p2.mp4", "p3.mp4"] == [each["suffix"] for each in outcome.last["companions"]]
    for path, source in zip([outcome.target, *parts], [a, b, a], strict=True):
        assert source.frames == frame_hashes(path)
        assert source.audio_packets == len(packet_times(path, "audio"))
        assert [1, 1] == [track.descriptions for track in written(path).tracks]
        assert pytest.approx(0, abs=0.001) == min(first_pts(path, kind) for kind in ("video", "audio"))
        assert pytest.approx(sum(source.durations_s), abs=0.1) == written(path).duration_s
        assert 0o600 == path.stat().st_mode & 0o777
        media = path.read_bytes()
        assert media.index(b"moov") < media.index(b"mdat")
        with av.open(str(path)) as container:
            assert "2023-11-14T22:13:20.000000Z" == container.metadata["creation_time"]


@pytest.mark.parametrize("what", ["rate", "channels", "profile"])
def test_split_at_every_change(what: str, streams: Streams, mux: Mux) -> None:
    """Any change of parameters begins a file."""
    outcome = mux(a_b_a(streams.plain(), spot(streams, "H.264", False, what)), on_param_change="split")
    assert 2 == len(outcome.last["companions"])


def test_split_without_a_change(streams: Streams, mux: Mux) -> None:
    """A splice, other PIDs or a hole alone do not split; the file is the one that `keep` makes."""
    moved = streams.get("moved", seconds=4, hls=("-hls_ts_options", "mpegts_start_pid=768"))
    orders = streams.plain().orders() + streams.other().orders(first=9, splice=1) + moved.orders(first=13, splice=2)
    split = mux(orders, on_param_change="split")
    assert [] == split.last["companions"]
    kept = mux(orders, target=split.target.with_name("kept.mp4"))
    assert kept.target.read_bytes() == split.target.read_bytes()


IMPOSSIBLE = {
    "another codec": ("ac3", {"seconds": 3, "audio_codec": ("-c:a", "ac3")}, "aac 变为 ac3"),
    "HEVC": ("hevc420", {"seconds": 3, "video_codec": HEVC}, "h264 变为 hevc"),
    "fMP4": ("spot-H.264-True-size", {"seconds": 3, "fmp4": True, "video": LARGE}, "fMP4"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_one_file_cannot_hold(case: str, streams: Streams, mux: Mux) -> None:
    """It is refused, naming segment, change and remedy; the remedy works."""
    name, made, text = IMPOSSIBLE[case]
    other = streams.get(name, **made)  # type: ignore[arg-type]  # keyword by keyword
    orders = streams.plain().orders() + other.orders(first=9, splice=1)
    refused = mux(orders)
    assert ("failed", "unsupported") == (refused.last["ev"], refused.last["fault"])
    for expected in ("第 9 个分片", text, "on_param_change=split"):
        assert expected in str(refused.last["reason"])
    refused.target.unlink()
    assert_split(mux(orders, on_param_change="split"), streams.plain(), other)


def assert_split(outcome: Outcome, *sources: Stream) -> None:
    """One file for each source, whole."""
    assert "done" == outcome.last["ev"], outcome.reports[-3:]
    paths = [outcome.target, *(Path(str(each["path"])) for each in outcome.last["companions"])]
    assert len(sources) == len(paths)
    for path, source in zip(paths, sources, strict=True):
        assert source.frames == frame_hashes(path)
        assert source.audio_packets == len(packet_times(path, "audio"))


@pytest.mark.parametrize("codec", ["ac3", "mp3"])
def test_sound_that_describes_itself(codec: str, streams: Streams, mux: Mux) -> None:
    """AC-3 and MP3 have no second sample description: another rate is refused, or another file."""
    encoder = {"ac3": "ac3", "mp3": "libmp3lame"}[codec]
    a = streams.get(codec, seconds=3, audio_codec=("-c:a", encoder))
    b = streams.get(f"{codec}-48", seconds=3, audio_codec=("-c:a", encoder), audio="sine=f=880:r=48000")
    orders = a.orders() + b.orders(first=4, splice=1)
    refused = mux(orders)
    assert "44100" in str(refused.last["reason"]) and "48000" in str(refused.last["reason"])
    refused.target.unlink()
    assert_split(mux(orders, on_param_change="split"), a, b)


@pytest.mark.parametrize("late", ["sound", "picture"])
def test_stream_that_only_comes_later(late: str, streams: Streams, mux: Mux) -> None:
    """Sound or picture that appears later begins a file, and so does its end."""
    less = streams.get("mute", seconds=3, audio="") if late == "sound" else streams.get("aac", seconds=3, video="")
    film = streams.plain()
    orders = less.orders() + film.orders(first=4, splice=1) + less.orders(first=12, splice=2)
    refused = mux(orders)
    assert "第 4 个分片" in str(refused.last["reason"])
    refused.target.unlink()
    assert_split(mux(orders, on_param_change="split"), less, film, less)


def test_stream_that_ends_earlier(streams: Streams, mux: Mux) -> None:
    """With `keep`, a part without sound is one of silence, and what follows is in step."""
    film, mute = streams.plain(), streams.get("mute", seconds=3, audio="")
    outcome = mux(film.orders() + mute.orders(first=9, splice=1) + film.orders(first=12, splice=2))
    silent = rows(outcome)[1]["silent"]
    assert isinstance(silent, int)
    assert pytest.approx(3.0, abs=0.15) == silent * 1024 / 44_100
    assert_whole(outcome, film, attrs.evolve(mute, audio_packets=silent), film)
    assert largest_step(outcome.target, "audio") <= 2 * 1024 / 44_100


def test_more_languages_later(streams: Streams, mux: Mux) -> None:
    """One more sound track later on is not left out in silence."""
    film = streams.plain()
    two = streams.get("two-sounds", seconds=3)
    both = two.segments[0].parent / "both"
    both.mkdir(exist_ok=True)
    orders = film.orders() + two_sounds(two, both).orders(first=9, splice=1)
    refused = mux(orders)
    assert "多出一路声音" in str(refused.last["reason"])
    assert "on there is one more sound, too much for one MP4" in str(refused.last["reason_en"])
    refused.target.unlink()
    assert 1 == len(mux(orders, on_param_change="split").last["companions"])


def two_sounds(stream: Stream, folder: Path) -> Stream:
    """The stream with its sound twice."""
    names: Sequence[object] = (
        *("-i", stream.master, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy", "-f", "hls"),
        *("-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", folder / "%d.ts", folder / "list.m3u8"),
    )
    run_ffmpeg(*names)
    return attrs.evolve(stream, segments=tuple(sorted(folder.glob("*.ts"))))


class TestInitSections:
    """Fragmented MP4 whose initialisation changes, or moves time."""

    @pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "not tagged"])
    def test_other_track_ids_and_timescales(self, tagged: bool, streams: Streams, mux: Mux) -> None:
        """Tracks in another order, on other time scales, from another start: nothing lost, no hole."""
        film = streams.fmp4()
        shape = ("-map", "0:a", "-map", "0:v", "-video_track_timescale", "30000", "-output_ts_offset", "77")
        other = streams.shifted(film, "fmp4-reshaped", shape)
        assert film.init and other.init and film.init.read_bytes() != other.init.read_bytes()
        outcome = mux(a_b_a(film, other, tagged=tagged))
        assert_whole(outcome, film, other, film)
        assert largest_step(outcome.target, "video") <= 0.1
        assert largest_step(outcome.target, "audio") <= 0.1
        shown, sounds = packet_pts(outcome.target, "video"), packet_pts(outcome.target, "audio")
        for joint, source in ((1, other), (2, film)):
            distance = min(shown[200 * joint : 200 * joint + 4]) - sounds[film.audio_packets * joint]
            assert pytest.approx(lead(whole(source)), abs=0.001) == distance

    @pytest.mark.parametrize("late_s", [0.2, 0.7])
    def test_edit_list(self, late_s: float, streams: Streams, mux: Mux) -> None:
        """A start offset that only the edit list of the init section tells is kept."""
        stream = streams.get(f"late-{late_s}", seconds=5, late_audio_s=late_s, fmp4=True)
        outcome = mux(stream.orders())
        assert_whole(outcome, stream)
        assert pytest.approx(lead(stream.master), abs=0.001) == lead(outcome.target)


class TestLateKeyFrame:
    """Groups that begin in the middle of a group of pictures."""

    @pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
    @pytest.mark.parametrize("codec", ["H.264", "HEVC"])
    def test_at_a_splice(self, codec: str, fmp4: bool, streams: Streams, mux: Mux, tmp_path: Path) -> None:
        """Pictures that nobody can decode are left out, named and counted; all others and all sound stay in step."""
        a, b = film(streams, codec, fmp4), spot(streams, codec, fmp4, "size")
        cut = cut_into(b, tmp_path)
        first = len(a.segments) + 1
        outcome = mux(a.orders() + cut.orders(first=first, splice=1) + a.orders(first=first + 4, splice=2))
        assert ("done", [first]) == (outcome.last["ev"], outcome.warned)
        assert a.frames + b.frames[25:] + a.frames == frame_hashes(outcome.target)
        left_out = packets_in(cut)["video"] - 50
        assert left_out > 5
        seen, heard = rows(outcome)
        assert (2 * len(a.frames) + 50, left_out) == (seen["packets"], seen["headless"])
        assert (2 * a.audio_packets + packets_in(cut)["audio"], 0) == (heard["packets"], heard["silent"])
        shown, sounds = packet_pts(outcome.target, "video"), packet_pts(outcome.target, "audio")
        joint = a.audio_packets
        late_s = min(shown[len(a.frames) : len(a.frames) + 4]) - sounds[joint]
        assert pytest.approx(first_key(cut) - first_pts(whole(cut), "audio"), abs=0.001) == late_s
        joint += packets_in(cut)["audio"]
        distance = min(shown[len(a.frames) + 50 :]) - sounds[joint]
        assert pytest.approx(lead(outcome.target), abs=0.001) == distance

    @pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
    @pytest.mark.parametrize("codec", ["H.264", "HEVC"])
    def test_at_the_start(self, codec: str, fmp4: bool, streams: Streams, mux: Mux, tmp_path: Path) -> None:
        """The picture begins with the first key frame, as long after the sound as in the source."""
        cut = cut_into(spot(streams, codec, fmp4, "size"), tmp_path)
        outcome = mux(cut.orders())
        assert [1] == outcome.warned
        assert spot(streams, codec, fmp4, "size").frames[25:] == frame_hashes(outcome.target)
        assert packets_in(cut)["video"] - 50 == rows(outcome)[0]["headless"]
        assert pytest.approx(first_key(cut) - first_pts(whole(cut), "audio"), abs=0.001) == lead(outcome.target)

    def test_behind_a_hole(self, streams: Streams, mux: Mux) -> None:
        """The same where segments are missing in the middle of a clock."""
        halves = streams.get("halves", seconds=4, hls=HALVES)
        orders = halves.orders()
        orders[2] = gap(3, keep=True, duration_s=0.5)
        outcome = mux(orders)
        assert [4] == outcome.warned
        assert halves.frames[:22] + halves.frames[50:] == frame_hashes(outcome.target)

    def test_without_any(self, streams: Streams, mux: Mux, tmp_path: Path) -> None:
        """A group without any key frame, in a film that has some, is left out but for its sound."""
        film = streams.plain()
        cut = cut_into(film, tmp_path)
        alone = attrs.evolve(cut, segments=cut.segments[:1], durations_s=cut.durations_s[:1])
        outcome = mux(film.orders() + alone.orders(first=9, splice=1) + film.orders(first=10, splice=2))
        assert [9] == outcome.warned
        assert 2 * film.frames == frame_hashes(outcome.target)
        seen, heard = rows(outcome)
        assert packets_in(alone)["video"] == seen["headless"]
        assert 2 * film.audio_packets + packets_in(alone)["audio"] == int(str(heard["packets"])) - int(
            str(heard["silent"])
        )

    def test_in_a_film_without_any(self, streams: Streams, mux: Mux) -> None:
        """Where no key frame was ever seen all is kept, with a warning: it may be a film that needs none."""
        codec = ("-c:v", "libx264", "-bf", "0", "-g", "1000", "-sc_threshold", "0", "-pix_fmt", "yuv420p")
        film = streams.get("one-key", seconds=3, fmp4=True, video_codec=codec, hls=HALVES)
        outcome = mux(film.orders(only=slice(1, None)))
        assert [1] == outcome.warned
        assert 0 == rows(outcome)[0]["headless"]
        assert 55 < len(packet_times(outcome.target, "video")) < 75

    def test_another_table_is_no_cut(self, streams: Streams, mux: Mux) -> None:
        """Pictures refer to those before them through a change of the PMT: none is left out; a new file needs a key."""
        halves = streams.get("halves", seconds=4, hls=HALVES)
        moved = streams.shifted(halves, "halves-moved", (*HALVES, "-hls_ts_options", "mpegts_start_pid=768"))
        outcome = mux(halves.orders(only=slice(3)) + moved.orders(first=4, only=slice(3, None)))
        assert_whole(outcome, halves)
        assert [] == outcome.warned


HALVES = ("-hls_time", "0.45", "-hls_flags", "split_by_time")
"""Segments of half a second with one key frame a second."""


def rows(outcome: Outcome) -> list[dict[str, object]]:
    """What the details say of each track."""
    details = outcome.last["details"]
    assert isinstance(details, dict)
    return list(details["tracks"])


def first_key(stream: Stream) -> float:
    """When the first key frame of a stream is shown."""
    with av.open(str(whole(stream))) as container:
        return next(float(each.pts * each.time_base) for each in container.demux(video=0) if each.is_keyframe)


FLAT = {"H.264": ("-c:v", "libx264", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p")}
FLAT["HEVC"] = (*HEVC[:-3], "log-level=none:scenecut=0:bframes=0", *HEVC[-2:])


@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
@pytest.mark.parametrize("codec", ["H.264", "HEVC"])
def test_other_order_of_decoding(codec: str, fmp4: bool, streams: Streams, mux: Mux) -> None:
    """With B-frames, without, and with again: no hole in the sound, and pictures follow each other as shown."""
    a = film(streams, codec, fmp4)
    b = streams.get(f"flat-{codec}-{fmp4}", seconds=3, fmp4=fmp4, video_codec=FLAT[codec])
    outcome = mux(a_b_a(a, b))
    assert_whole(outcome, a, b, a)
    assert [] == outcome.warned
    assert largest_step(outcome.target, "audio") <= 0.0245
    shown = sorted(packet_pts(outcome.target, "video"))
    steps = [after - before for before, after in zip(shown, shown[1:], strict=False)]
    assert 0.004 <= min(steps) and max(steps) <= 0.1
    for start, source in ((0, a), (a.audio_packets, b), (a.audio_packets + b.audio_packets, a)):
        pictures = start // (a.audio_packets or 1) * len(a.frames) if source is b or not start else None
        pictures = len(a.frames) + len(b.frames) if pictures is None else pictures
        distance = min(packet_pts(outcome.target, "video")[pictures : pictures + 8])
        distance -= packet_pts(outcome.target, "audio")[start]
        assert pytest.approx(lead(whole(source)), abs=0.001) == distance


def test_split_into_a_group_with_dead_sound(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A stream that is announced but of which nothing comes is in no header of the files that follow, and named."""
    a, b = streams.plain(), spot(streams, "H.264", False, "size")
    silent = attrs.evolve(b, segments=tuple(without_pid(path, 0x101, tmp_path) for path in b.segments))
    outcome = mux(a.orders() + silent.orders(first=9, splice=1), on_param_change="split")
    assert "done" == outcome.last["ev"], outcome.reports[-3:]
    [warned] = [each for each in outcome.reports if each["ev"] == "warn"]
    assert "audio 流没有可用参数，未写入" == warned["text"]
    assert "the audio stream has no usable parameters, it is left out" == warned["text_en"]
    [part] = outcome.last["companions"]
    assert b.frames == frame_hashes(Path(part["path"]))
    assert ["vide"] == [track.kind for track in written(Path(part["path"])).tracks]


def without_pid(path: Path, pid: int, folder: Path) -> Path:
    """A TS segment without the packets of one PID."""
    media = path.read_bytes()
    packets = [media[at : at + 188] for at in range(0, len(media), 188)]
    target = folder / path.name
    target.write_bytes(b"".join(each for each in packets if (each[1] & 31) << 8 | each[2] != pid))
    return target


def cut_into(stream: Stream, folder: Path) -> Stream:
    """The stream with its first segment cut off in the middle of its group of pictures."""
    if stream.kind == "ts":
        media = stream.segments[0].read_bytes()
        first = folder / "cut.ts"
        tables = media[: 188 * 3]
        at = len(media) // 2 // 188 * 188
        first.write_bytes(tables + media[at:])
        return attrs.evolve(stream, segments=(first, *stream.segments[1:]))
    # Fragments of half a second with one key frame a second: the second one starts without.
    names: Sequence[object] = (
        *("-i", stream.master, "-c", "copy", "-f", "hls", "-hls_time", "0.45", "-hls_list_size", "0"),
        *("-hls_flags", "split_by_time", "-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4"),
        *("-hls_segment_filename", folder / "%d.m4s", folder / "list.m3u8"),
    )
    run_ffmpeg(*names)
    segments = sorted(folder.glob("*.m4s"), key=lambda path: int(path.stem))[1:]
    return attrs.evolve(
        stream, segments=tuple(segments), init=folder / "init.mp4", durations_s=tuple(0.5 for _ in segments)
    )


def whole(stream: Stream) -> Path:
    """The segments put together, for libav to read."""
    target = stream.segments[0].parent / "whole"
    init = b"" if stream.init is None else stream.init.read_bytes()
    target.write_bytes(init + b"".join(path.read_bytes() for path in stream.segments))
    return target


def packets_in(stream: Stream) -> dict[str, int]:
    """How many packets libav finds in the segments put together."""
    with av.open(str(whole(stream))) as container:
        counts = {"video": 0, "audio": 0}
        for packet in container.demux():
            counts[packet.stream.type] += bool(packet.size)
    return counts
