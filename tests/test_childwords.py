"""
What a muxing child says, when somebody else speaks through it.
"""

from pathlib import Path

import pytest

from m3u8svc.childwords import (
    TEXT_CHARACTERS,
    Nonsense,
    companions_of,
    details_of,
    said_of,
    seconds,
    text,
    track_of,
    whole,
)

TARGET = Path("/films/.film.t1.part.mp4")


def companion(path: object, suffix: object) -> dict[str, object]:
    """A `done` with one companion."""
    return {"ev": "done", "companions": [{"path": path, "suffix": suffix}]}


@pytest.mark.parametrize(
    ("behind", "suffix"),
    [
        ("p2", "p2.mp4"),
        ("p117", "p117.mp4"),
        ("1.vtt", "en.vtt"),
        ("12.srt", "zh-Hant.forced.srt"),
        ("3.vtt", "p2.中文.2.vtt"),
    ],
)
def test_companions_of_our_own(behind: str, suffix: str) -> None:
    """Further parts and side-car subtitles."""
    [found] = companions_of(companion(f"{TARGET}.{behind}", suffix), TARGET)
    assert (Path(f"{TARGET}.{behind}"), suffix) == (found.path, found.suffix)


@pytest.mark.parametrize(
    "path",
    [
        "/films/other.mp4",
        "/etc/passwd",
        "/films/.film.t1.part.mp4",
        "/films/.film.t1.part.mp4.p2/../../etc/passwd",
        "/films/.film.t1.part.mp4./../other.mp4",
        "/films/.film.t1.part.mp4.p0",
        "/films/.film.t1.part.mp4.p2\n",
        "/films/.film.t1.part.mp4.p99999",
        "film.p2",
        "",
        None,
        2,
        ["/films/.film.t1.part.mp4.p2"],
    ],
)
def test_companions_of_somebody_else(path: object) -> None:
    """No other file is ever published, moved or given a mode."""
    with pytest.raises(Nonsense):
        companions_of(companion(path, "p2.mp4"), TARGET)


@pytest.mark.parametrize(
    "suffix",
    [
        *("../x.mp4", "p2.mp4/../x", "x/y.vtt", "..vtt", "a..vtt", "en.vtt\n", "en.vtt\0", "en.html", "p2.mp4.sh"),
        *("", None, 3, "x" * 300 + ".vtt"),
    ],
)
def test_companions_under_other_names(suffix: object) -> None:
    """No result leaves the directory of its task, or becomes something else than media."""
    with pytest.raises(Nonsense):
        companions_of(companion(f"{TARGET}.p2", suffix), TARGET)


@pytest.mark.parametrize("said", [{"companions": 1}, {"companions": {"a": 1}}, {"companions": ["x"]}])
def test_companions_that_are_none(said: dict[str, object]) -> None:
    """Other kinds of values."""
    with pytest.raises(Nonsense):
        companions_of(said, TARGET)


@pytest.mark.parametrize("value", [-1, 1 << 54, 1.0, True, "1", None, [1], float("nan")])
def test_no_whole_number(value: object) -> None:
    """Nor one that is too large for anybody after us."""
    with pytest.raises(Nonsense):
        whole({"n": value}, "n")


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "1.0", None, True, [1.0]])
def test_no_seconds(value: object) -> None:
    """Times are finite numbers."""
    with pytest.raises(Nonsense):
        seconds({"dur": value}, "dur")


@pytest.mark.parametrize("track", ["audio2", "", None, 1, ["main"]])
def test_no_track_of_the_job(track: object) -> None:
    """So nothing is counted under names that it makes up."""
    with pytest.raises(Nonsense):
        track_of({"track": track}, {"main", "audio1"})


def test_texts_are_bounded_and_harmless() -> None:
    """One line without controls."""
    assert "a\\x1b[31m\\x0ab" == text({"text": "a\x1b[31m\nb"}, "text")
    assert TEXT_CHARACTERS == len(text({"text": "x" * 10_000}, "text"))
    for value in (None, 1, ["x"]):
        with pytest.raises(Nonsense):
            text({"text": value}, "text")


def test_what_is_right() -> None:
    """Words of a child of ours."""
    report = {"n": 7, "dur": 3, "track": "audio1", "details": {"tracks": []}}
    assert (7, 3.0, "audio1", {"tracks": []}, ()) == (
        whole(report, "n"),
        seconds(report, "dur"),
        track_of(report, {"main", "audio1"}),
        details_of(report),
        companions_of(report, TARGET),
    )
    assert ("main", 0) == (track_of({}, {"main"}), whole({}, "errno", 0))
    with pytest.raises(Nonsense):
        details_of({"details": []})


def test_a_text_in_both_languages() -> None:
    """The English beside the Chinese; without it, as an earlier version wrote it down, one text is both."""
    both = said_of({"text": "空文件", "text_en": "an empty file"}, "text")
    assert ("空文件", "an empty file") == (both, both.en)
    assert ("空文件", "空文件") == ((one := said_of({"text": "空文件"}, "text")), one.en)


@pytest.mark.parametrize("english", [None, 3, ["x"], {"a": 1}])
def test_english_that_is_no_text(english: object) -> None:
    """It is looked at as the Chinese is."""
    with pytest.raises(Nonsense):
        said_of({"text": "x", "text_en": english}, "text")


def test_english_is_bounded_too() -> None:
    """In length, and to what a terminal may show."""
    found = said_of({"text": "x", "text_en": "\x1b" + "y" * 9999}, "text")
    assert found.en.startswith("\\x1b") and len(found.en) < TEXT_CHARACTERS + 10
