"""
What is told at the end: which segment became what, what every track holds, how far sound and picture are apart.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mux.conftest import Outcome, Stream, Streams, gap
from tests.mux.test_changes import spot
from tests.mux.test_renditions import LONG, packed, tracks

Mux = Callable[..., Outcome]


def spans(outcome: Outcome, track: str = "main") -> list[tuple[int, int, float, float]]:
    """(segment, file, from, to) of a track, in order."""
    told = [report for report in outcome.reports if report["ev"] == "span" and report["track"] == track]
    return sorted((each["n"], each["file"], each["from"], each["to"]) for each in told)


def assert_spans(told: list[tuple[int, int, float, float]], durations_s: tuple[float, ...], start_s: float = 0) -> None:
    """Each segment is told once, where EXTINF has it."""
    assert list(range(1, len(durations_s) + 1)) == [number for number, *_ in told]
    for (_, _, start, end), duration_s in zip(told, durations_s, strict=True):
        assert pytest.approx(start_s, abs=0.15) == start
        start_s += duration_s
        assert pytest.approx(start_s, abs=0.15) == end


@pytest.mark.parametrize("name", ["plain", "fmp4"])
def test_spans(name: str, streams: Streams, mux: Mux) -> None:
    """Every segment is found in the output where it belongs."""
    stream: Stream = getattr(streams, name)()
    assert_spans(spans(mux(stream.orders())), stream.durations_s)


@pytest.mark.parametrize("form", ["TS", "packed AAC"])
def test_spans_of_a_rendition(form: str, streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """The same for each track by itself."""
    film = streams.plain()
    picture = streams.cut("seen-False", film, "v")
    sound = streams.cut("heard-False", film, "a", hls=LONG)
    orders = packed(sound, tmp_path) if form == "packed AAC" else sound.orders(track="audio1")
    outcome = mux([*picture.orders(), *orders], tracks=tracks("audio1"))
    assert_spans(spans(outcome), picture.durations_s)
    assert_spans(spans(outcome, "audio1"), sound.durations_s)


def test_span_of_what_is_not_there(streams: Streams, mux: Mux, tmp_path: Path) -> None:
    """A damaged segment and a gap have no span; those around them have theirs."""
    orders = streams.plain().orders()
    (tmp_path / "bad").write_text("<html>")
    orders[2] = orders[2] | {"path": str(tmp_path / "bad")}
    orders[5] = gap(6, keep=True)
    told = spans(mux(orders))
    assert [1, 2, 4, 5, 7, 8] == [number for number, *_ in told]
    assert pytest.approx([0, 1, 3, 4, 6, 7], abs=0.15) == [start for _, _, start, _ in told]


def test_spans_in_several_files(streams: Streams, mux: Mux) -> None:
    """Times are those of the file a segment went to."""
    a, b = streams.plain(), spot(streams, "H.264", False, "size")
    outcome = mux(a.orders() + b.orders(first=9, splice=1) + a.orders(first=12, splice=2), on_param_change="split")
    told = spans(outcome)
    assert [1] * 8 + [2] * 3 + [3] * 8 == [file for _, file, *_ in told]
    assert pytest.approx([0.0, 0.0, 0.0], abs=0.1) == [told[n][2] for n in (0, 8, 11)]


def test_tracks_are_described(streams: Streams, mux: Mux) -> None:
    """Packets, length, codec and language of each; the ends of picture and sound are compared."""
    film = streams.plain()
    picture = streams.cut("seen-False", film, "v")
    sound = streams.cut("heard-1s", film, "a")
    orders = [*picture.orders(), *sound.orders(track="audio1", only=slice(6))]
    outcome = mux(orders, tracks=tracks("audio1"))
    details = outcome.last["details"]
    assert isinstance(details, dict)
    seen, heard = details["tracks"]
    assert ("main", "video", "h264", "", 200, 0) == tuple(list(seen.values())[:6])
    assert ("audio1", "audio", "aac", "eng") == tuple(list(heard.values())[:4])
    left_s = sum(sound.durations_s[6:])
    assert pytest.approx([8.0, 8.0 - left_s], abs=0.15) == [seen["duration_s"], heard["duration_s"]]
    assert pytest.approx(left_s, abs=0.15) == details["av_drift_s"]
    assert [] == outcome.warned


def test_rendition_that_lasts_otherwise(streams: Streams, mux: Mux) -> None:
    """A rendition whose media is not as long as its playlist says is named."""
    picture = streams.cut("seen-False", streams.plain(), "v")
    sound = streams.cut("heard-1s", streams.plain(), "a")
    orders = [order | {"duration_s": 2.0} for order in sound.orders(track="audio1")]
    outcome = mux([*picture.orders(), *orders], tracks=tracks("audio1"))
    warned = [(each["track"], each["n"]) for each in outcome.reports if each["ev"] == "warn"]
    assert [("audio1", 0)] == warned
