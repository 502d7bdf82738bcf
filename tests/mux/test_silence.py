"""
Holes in the sound: filled with silence where we can make it, so that players that take sound for continuous keep step.
"""

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
    packet_times,
    silences,
)

Mux = Callable[..., Outcome]


def heard(path: Path) -> list[tuple[float, bool]]:
    """When every decoded frame of sound begins and whether it is silent; damage raises."""
    with av.open(str(path)) as container:
        return [(float(frame.time or 0), not any(bytes(frame.planes[0]))) for frame in container.decode(audio=0)]


def sound_row(outcome: Outcome) -> dict[str, object]:
    """What the details say of the sound."""
    details = outcome.last["details"]
    assert isinstance(details, dict)
    return next(row for row in details["tracks"] if row["kind"] == "audio")


def holed(stream: Stream, *numbers: int) -> list[dict[str, object]]:
    """The orders of a stream, these segments being holes that stay."""
    orders = stream.orders()
    for number in numbers:
        orders[number - 1] = gap(number, keep=True, duration_s=stream.durations_s[number - 1])
    return orders


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("fmp4", [False, True], ids=["TS", "fMP4"])
def test_kept_hole_is_silent(fmp4: bool, layout: str, streams: Streams, mux: Mux) -> None:
    """Every moment of it decodes to silence, what surrounds it stays where it was; it is counted, and no warning."""
    channels = {"mono": "1", "stereo": "2"}[layout]
    codec = ("-c:a", "aac", "-b:a", "64k", "-ac", channels)
    stream = streams.get(f"holed-{layout}-{fmp4}", seconds=6, fmp4=fmp4, audio_codec=codec)
    outcome = mux(holed(stream, 3, 4))
    whole = mux(stream.orders(), target=outcome.target.with_name("whole.mp4"))
    assert ("done", []) == (outcome.last["ev"], outcome.warned)
    silent, times = silences(outcome.target), packet_times(outcome.target, "audio")
    assert len(silent) == sound_row(outcome)["silent"]
    assert len(times) == sound_row(outcome)["packets"]
    assert 2.0 - 3 * 0.0233 <= len(silent) * 1024 / 44_100 <= 2.05
    assert largest_step(outcome.target, "audio") < 2 * 1024 / 44_100
    originals = packet_times(whole.target, "audio")
    assert max(min(abs(time - each) for each in originals) for time in times if time not in silent) <= 0.001
    quiet = [time for time, is_silent in heard(outcome.target) if is_silent and silent[2] <= time <= silent[-2]]
    assert len(silent) - 4 <= len(quiet)
    assert 0 == sound_row(whole)["silent"]


def test_a_lost_segment(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A damaged segment leaves a hole like a kept one."""
    orders = streams.plain().orders()
    (tmp_path / "bad").write_text("<html>")
    orders[3] = orders[3] | {"path": str(tmp_path / "bad")}
    outcome = mux(orders)
    assert [4] == outcome.warned
    assert pytest.approx(1.0, abs=0.05) == len(silences(outcome.target)) * 1024 / 44_100


@pytest.mark.parametrize("at", [1, 8], ids=["leading", "trailing"])
def test_a_hole_at_an_end(at: int, streams: Streams, mux: Mux) -> None:
    """Silence goes only between sound and sound: a leading hole is an edit list, behind the last there is nothing."""
    film = streams.plain()
    outcome = mux(holed(film, at))
    assert ([], 0) == (silences(outcome.target), sound_row(outcome)["silent"])
    assert pytest.approx(1.0 if at == 1 else 0.0, abs=0.1) == first_pts(outcome.target, "audio")


def test_a_hole_before_another_rate(streams: Streams, mux: Mux) -> None:
    """Silence is of the sort before the hole: its description still holds there."""
    film = streams.plain()
    other = streams.get("spot-H.264-False-rate", seconds=3, audio="sine=f=880:r=48000")
    stereo = streams.get("stereo", seconds=3, audio_codec=("-c:a", "aac", "-ac", "2"))
    orders = [*film.orders(), gap(9, keep=True, splice=1), *other.orders(first=10, splice=1)]
    orders += [gap(13, keep=True, splice=2), *stereo.orders(first=14, splice=2)]
    outcome = mux(orders)
    assert ("done", []) == (outcome.last["ev"], outcome.warned)
    first, second = (
        [time for time in silences(outcome.target) if low < time < high] for low, high in ((7, 10), (11, 14))
    )
    assert pytest.approx(1024 / 44_100, abs=2 / 44_100) == first[1] - first[0]
    assert pytest.approx(1024 / 48_000, abs=2 / 44_100) == second[1] - second[0]
    assert pytest.approx((1.0, 1.0), abs=0.05) == (len(first) * 1024 / 44_100, len(second) * 1024 / 48_000)
    assert film.frames + other.frames + stereo.frames == frame_hashes(outcome.target)
    with av.open(str(outcome.target)) as container:
        sorts = [(frame.sample_rate, frame.layout.name) for frame in container.decode(audio=0)]
    assert [(44_100, "mono"), (48_000, "mono"), (44_100, "stereo")] == list(dict.fromkeys(sorts))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("AC-3", ("-c:a", "ac3")), ("MP3", ("-c:a", "libmp3lame")), ("5.1", ("-c:a", "aac", "-ac", "6"))],
)
def test_sound_we_have_no_silence_for(name: str, codec: tuple[str, ...], streams: Streams, mux: Mux) -> None:
    """The hole stays, and the first one is named."""
    stream = streams.get(f"unfilled-{name}", seconds=6, audio_codec=codec)
    outcome = mux(holed(stream, 2, 4))
    assert ("done", [3], 0) == (outcome.last["ev"], outcome.warned, sound_row(outcome)["silent"])
    assert pytest.approx(1.0, abs=0.1) == largest_step(outcome.target, "audio")


def test_a_hole_of_years(streams: Streams, mux: Mux) -> None:
    """What a playlist announces beyond reason is not made silence frame by frame."""
    orders = [*streams.plain().orders(), gap(9, keep=True, duration_s=20_000.0, splice=1)]
    outcome = mux([*orders, *streams.other().orders(first=10, splice=1)])
    assert ("done", [10]) == (outcome.last["ev"], outcome.warned[:1])
    assert [] == silences(outcome.target)


def test_bytes_do_not_depend_on_the_order_of_arrival(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """Silence and pictures left out are the same however the tracks' orders are mixed."""
    halves = ("-hls_time", "0.45", "-hls_flags", "split_by_time")
    picture = streams.cut("picture-halves", streams.plain(), "v", hls=halves)
    sound = streams.cut("heard-1s", streams.plain(), "a")
    seen, heard_orders = picture.orders(), sound.orders(track="audio1")
    seen[2] = gap(3, keep=True, duration_s=picture.durations_s[2])
    heard_orders[3] = gap(4, keep=True, duration_s=sound.durations_s[3]) | {"track": "audio1"}
    mixes = [seen + heard_orders, heard_orders + seen]
    mixes.append([order for pair in zip(seen, heard_orders, strict=False) for order in pair])
    mixes[2] += seen[len(heard_orders) :] + heard_orders[len(seen) :]
    rows = [{"track": "main", "kind": "main"}, {"track": "audio1", "kind": "audio"}]
    files = set()
    for number, mixed in enumerate(mixes):
        outcome = mux(mixed, tracks=rows, target=tmp_path / f"{number}.mp4")
        assert ("done", [4]) == (outcome.last["ev"], outcome.warned)
        files.add(outcome.target.read_bytes())
    assert 1 == len(files)
    assert silences(tmp_path / "0.mp4")
