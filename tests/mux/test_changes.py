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
    """With `keep`, a part without sound is a part without sound."""
    film, mute = streams.plain(), streams.get("mute", seconds=3, audio="")
    outcome = mux(film.orders() + mute.orders(first=9, splice=1) + film.orders(first=12, splice=2))
    assert_whole(outcome, film, mute, film)
    assert pytest.approx(3.0, abs=0.15) == largest_step(outcome.target, "audio")


def test_more_languages_later(streams: Streams, mux: Mux) -> None:
    """One more sound track later on is not left out in silence."""
    film = streams.plain()
    two = streams.get("two-sounds", seconds=3)
    both = two.segments[0].parent / "both"
    both.mkdir(exist_ok=True)
    orders = film.orders() + two_sounds(two, both).orders(first=9, splice=1)
    refused = mux(orders)
    assert "多出一路声音" in str(refused.last["reason"])
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


@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
@pytest.mark.parametrize("codec", ["H.264", "HEVC"])
def test_splice_into_the_middle_of_a_group_of_pictures(
    codec: str, fmp4: bool, streams: Streams, mux: Mux, tmp_path: Path
) -> None:
    """Pictures before the first key frame after a splice are kept, and the sound is where it was."""
    a, b = film(streams, codec, fmp4), spot(streams, codec, fmp4, "size")
    cut = cut_into(b, tmp_path)
    first = len(a.segments) + 1
    outcome = mux(a.orders() + cut.orders(first=first, splice=1) + a.orders(first=first + 3, splice=2))
    assert ("done", []) == (outcome.last["ev"], outcome.warned)
    kept = packets_in(cut)
    assert kept["video"] > 50
    assert 2 * len(a.frames) + kept["video"] == len(packet_times(outcome.target, "video"))
    assert 2 * a.audio_packets + kept["audio"] == len(packet_times(outcome.target, "audio"))
    hashes = frame_hashes(outcome.target, damaged=True)
    # Pictures without their references come out of the decoder among the last ones of the film, or displace them.
    assert a.frames[:-4] == hashes[: len(a.frames) - 4]
    assert a.frames == hashes[-len(a.frames) :]
    assert b.frames[25:] == hashes[-len(a.frames) - 50 : -len(a.frames)]
    shown, sounds = packet_pts(outcome.target, "video"), packet_pts(outcome.target, "audio")
    end = len(a.frames) + kept["video"]
    joint = min(shown[end : end + 4]) - sounds[a.audio_packets + kept["audio"]]
    assert pytest.approx(lead(outcome.target), abs=0.001) == joint


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
