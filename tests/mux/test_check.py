"""
The checking child, given real files: what is whole has no problems, and what is damaged is named.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from m3u8svc.checking import Checks
from m3u8svc.mux.fmp4 import walk
from tests.mux.conftest import Outcome, Streams, run_ffmpeg
from tests.mux.test_subtitles import MAIN, TRACK, Feeding, in_order

Damage = Callable[[Callable[[bytearray], None]], Path]


@pytest.fixture(scope="session")
def captioned(streams: Streams, mux_into: Callable[..., Outcome], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 s of picture and sound, with three cues and nothing said before, between and after them."""
    folder = tmp_path_factory.mktemp("captioned")
    cues = Feeding(folder).vtt(4.0, (1.0, 1.5, "one"), (2.5, 3.0, "two")).vtt(4.0, (6.0, 6.5, "three"))
    orders = in_order(streams.plain().orders(), cues.orders)
    outcome = mux_into(folder / "film.mp4", orders, tracks=[MAIN, TRACK])
    assert "done" == outcome.last["ev"]
    return outcome.target


@pytest.fixture
def damaged(captioned: Path, tmp_path: Path) -> Damage:
    """A copy that something was done to."""

    def damage(what: Callable[[bytearray], None]) -> Path:
        content = bytearray(captioned.read_bytes())
        what(content)
        (tmp_path / "film.mp4").write_bytes(content)
        return tmp_path / "film.mp4"

    return damage


def look(path: Path, *, decode: bool = True) -> dict[str, Any]:
    """What the child finds."""
    return Checks().check(path, None, decode=decode)


def overwrite_media(content: bytearray) -> None:
    """Zeros over most of the first half of the media: lengths of NAL units and frames are gone."""
    mdat = next(box for box in walk(bytes(content), 0, len(content)) if box.kind == b"mdat")
    middle = (mdat.content + mdat.end) // 2
    content[mdat.content + 2000 : middle] = bytes(middle - mdat.content - 2000)


def test_a_good_file(captioned: Path) -> None:
    """All packets are read and decoded; the silence between cues is no packet, as it is no sample."""
    found = look(captioned)
    assert (True, []) == (found["ok"], found["problems"])
    assert [("video", 200, 200, 200), ("audio", 346, 346, 346), ("sbtl", 3, 3, 0)] == [
        (track["kind"], track["samples"], track["packets"], track["frames"]) for track in found["tracks"]
    ]
    assert 8 == found["tracks"][0]["keyframes"]
    assert pytest.approx(8.0, abs=0.1) == found["duration_s"]
    assert abs(found["av_drift_s"]) < 0.1


def test_without_decoding(captioned: Path) -> None:
    """Every packet is still counted."""
    found = look(captioned, decode=False)
    assert found["ok"]
    assert [(200, 0), (346, 0), (3, 0)] == [(track["packets"], track["frames"]) for track in found["tracks"]]


def test_text_of_another_muxer(captioned: Path, tmp_path: Path) -> None:
    """Its empty texts count as little as ours."""
    path = tmp_path / "copied.mp4"
    run_ffmpeg("-i", captioned, "-map", "0", "-c:v", "copy", "-c:a", "copy", "-c:s", "mov_text", path)
    found = look(path, decode=False)
    assert (True, 3) == (found["ok"], found["tracks"][2]["packets"]), found["problems"]


@pytest.mark.parametrize("left", [slice(20), slice(100_000), slice(-1)], ids=["20 bytes", "half", "one byte short"])
def test_a_truncated_file(left: slice, damaged: Damage) -> None:
    """It is broken, and no track is said to be right."""

    def cut(content: bytearray) -> None:
        content[:] = content[left]

    found = look(damaged(cut))
    assert (False, ["broken"], []) == (found["ok"], [each["code"] for each in found["problems"]], found["tracks"])


@pytest.mark.parametrize(("kind", "said"), [(b"mdat", "mdat"), (b"\x00\xffat", "\\x00\\xffat")])
def test_the_box_that_does_not_fit_is_named(kind: bytes, said: str, damaged: Damage) -> None:
    """As it is called, and without a control character whatever the damage."""

    def lengthen(content: bytearray) -> None:
        mdat = next(box for box in walk(bytes(content), 0, len(content)) if box.kind == b"mdat")
        content[mdat.start + 4 : mdat.content] = kind
        content[mdat.start : mdat.start + 4] = (1 << 31).to_bytes(4)

    [problem] = look(damaged(lengthen))["problems"]
    assert problem["got"].startswith(f"box {said} of {1 << 31} bytes where ")


def test_a_box_in_the_moov_that_does_not_fit(damaged: Damage) -> None:
    """It is named in the same way."""

    def lengthen(content: bytearray) -> None:
        at = content.index(b"mvhd")
        content[at - 4 : at] = (1 << 30).to_bytes(4)

    [problem] = look(damaged(lengthen))["problems"]
    assert problem["got"].startswith(f"box mvhd of {1 << 30} bytes where ")


def test_damaged_packets(damaged: Damage) -> None:
    """All are there, by the tables, but those that were overwritten cannot be decoded; only decoding tells."""
    path = damaged(overwrite_media)
    found = look(path)
    decode = [each for each in found["problems"] if each["code"] == "decode"]
    assert not found["ok"]
    assert {1, 2} == {each["track"] for each in decode}
    assert all(each["got"] == found["tracks"][each["track"] - 1]["decode_errors"] > 1 for each in decode)
    assert [200, 346] == [track["packets"] for track in found["tracks"][:2]]
    assert "decode" not in [each["code"] for each in look(path, decode=False)["problems"]]
