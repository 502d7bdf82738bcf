"""
Orders of several tracks: each track sees its own, and no more is read than that takes.
"""

import io
import json

import pytest

from m3u8svc.mux.language import iso_639_2
from m3u8svc.mux.orders import HUNGRY_EVERY, Orders
from m3u8svc.mux.protocol import BadOrder, Inbox, Job, ParentGone, TrackInfo, parse_order


class Said:
    """
    Remembers what would be reported.
    """

    def __init__(self) -> None:
        self.hungry_for: list[tuple[str, int]] = []

    def hungry(self, track: str, heard: int) -> None:
        """A report."""
        self.hungry_for.append((track, heard))


def orders(*lines: object) -> tuple[Orders, Said, io.BytesIO]:
    """Orders for "main" and "audio1": (track, number), a track that ends, or None for the end of all."""
    rows = []
    for line in lines:
        if line is None:
            rows.append({"op": "end"})
        elif isinstance(line, str):
            rows.append({"op": "track_end", "track": line})
        else:
            track, number = line
            rows.append({"op": "gap", "track": track, "number": number, "duration_s": 1.0})
    pipe = io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
    said = Said()
    return Orders(Inbox(pipe), said, ["main", "audio1"]), said, pipe  # type: ignore[arg-type]  # as much as is used


def numbers(source: Orders, track: str, count: int) -> list[int | None]:
    """The numbers of the next orders of a track."""
    taken = [source.take(track) for _ in range(count)]
    return [None if order is None else order.number for order in taken]


def test_each_track_has_its_own() -> None:
    """Whatever the mixture, a track gets its orders in their order, and then nothing for ever."""
    source, _, _ = orders(("audio1", 1), ("main", 1), ("main", 2), ("audio1", 2), None)
    assert [1, 2, None, None] == numbers(source, "main", 4)
    assert [1, 2, None] == numbers(source, "audio1", 3)


def test_no_more_is_read_than_needed() -> None:
    """What the wanted track does not need stays in the pipe."""
    source, _, pipe = orders(("main", 1), ("main", 2), None)
    assert [1] == numbers(source, "main", 1)
    assert 2 == pipe.read().count(b"\n")


def test_track_end_ends_one_track() -> None:
    """The end of a rendition is known without the end of all."""
    source, _, pipe = orders(("audio1", 1), "audio1", ("main", 1), None)
    assert [1, None] == numbers(source, "audio1", 2)
    assert b"main" in pipe.read()


def test_waiting_is_said() -> None:
    """Who waits while others have work says so as soon as that is known, and again as others' orders come in."""
    source, said, _ = orders(*[("main", n) for n in range(1, 2 * HUNGRY_EVERY + 2)], ("audio1", 1), None)
    assert [1, 1] == [*numbers(source, "main", 1), *numbers(source, "audio1", 1)]
    assert [("audio1", 2), ("audio1", HUNGRY_EVERY + 2)] == said.hungry_for
    source, said, _ = orders(("audio1", 1), ("main", 1), None)
    assert [1, None] == numbers(source, "main", 2)
    assert [("main", 1), ("main", 2)] == said.hungry_for


@pytest.mark.parametrize("lines", [[("audio2", 1)], ["main", ("main", 1)]], ids=["unknown", "over"])
def test_order_out_of_place(lines: list[object]) -> None:
    """An order for a track that is not in the job, or was over, is a mistake of the parent."""
    source, _, _ = orders(*lines)
    with pytest.raises(BadOrder):
        numbers(source, "audio1", 1)


def test_dead_parent() -> None:
    """Without an end nobody waits any more."""
    source, _, _ = orders(("main", 1))
    with pytest.raises(ParentGone):
        source.take("audio1")


def test_job_names_its_tracks() -> None:
    """Tracks are read as values; a job of old has "main" alone."""
    line = {"op": "job", "target": "/x", "tracks": [{"track": "main", "kind": "main"}, {"track": "a", "kind": "audio"}]}
    job = parse_order(json.dumps(line).encode())
    assert isinstance(job, Job)
    assert (TrackInfo(track="main", kind="main"), TrackInfo(track="a", kind="audio")) == job.tracks


@pytest.mark.parametrize(
    "change",
    [
        {"tracks": []},
        {"tracks": [{"track": "main", "kind": "main"}] * 2},
        {"tracks": [{"track": "main", "kind": "main"}, {"track": "x", "kind": "smell"}]},
        {"tracks": [{"track": "audio1", "kind": "audio"}]},
        {"on_param_change": "freeze"},
    ],
    ids=["none", "twice", "of no kind", "without main", "an unknown choice"],
)
def test_bad_job(change: dict[str, object]) -> None:
    """A job that makes no sense is refused at the door."""
    with pytest.raises(BadOrder):
        parse_order(json.dumps({"op": "job", "target": "/x"} | change).encode())


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("en", "eng"),
        ("pt-BR", "por"),
        ("zh-Hant-TW", "zho"),
        ("ZH_cn", "zho"),
        ("de", "deu"),
        ("ger", "deu"),
        ("yue", "yue"),
        ("iw", "heb"),
        ("und", ""),
        ("", ""),
        ("x-klingon", ""),
        ("中文", ""),
    ],
)
def test_languages(tag: str, expected: str) -> None:
    """BCP 47 tags become three letters, those that MP4 cannot say become nothing."""
    assert expected == iso_639_2(tag)
