"""
The map of a task's segments: letters and groups, live and from what was written down.
"""

import attrs
import pytest

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_presentation
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.hls.rematch import pieces_of
from m3u8svc.tasks.completeness import Evidence, Lost, make_report
from m3u8svc.tasks.ledger import Ledger, SegmentRow
from m3u8svc.tasks.remembered import pieces_by_track, write_presentation
from m3u8svc.tasks.segmentmap import (
    IN_FLIGHT,
    MOST_PICTURED,
    GroupSpan,
    SegmentMap,
    SegmentStates,
    TrackStates,
    groups_of_plan,
    map_of_record,
    map_of_report,
    with_pictures,
)
from m3u8svc.testing.playlists import SegmentLine, media_playlist

COUNT = 5


def stream(track: str) -> Stream:
    """Five segments of 2 s in groups of two, one and two; the last is declared missing."""
    lines = [
        SegmentLine(uri=f"{track}/{n}.ts", duration_s=2.0, discontinuity=n in (2, 3), gap=n == 4) for n in range(COUNT)
    ]
    parsed = parse_playlist(media_playlist(lines), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Stream(track=track, playlist=parsed)


PRESENTATION = Presentation(streams=(stream(MAIN),))
PLAN = plan_presentation(PRESENTATION, {3: "unwanted"})
GROUPS = (
    GroupSpan(number=1, first=1, last=2, duration_s=4.0, kept=True),
    GroupSpan(number=2, first=3, last=3, duration_s=2.0, kept=False),
    GroupSpan(number=3, first=4, last=5, duration_s=4.0, kept=True),
)


def row(position: int, track: str = MAIN, **fields: object) -> SegmentRow:
    of = {each.position: each.identity for each in pieces_of(stream(track).playlist, track)}
    return attrs.evolve(SegmentRow(track=track, position=position, identity=of[position]), **fields)


def test_states_while_it_runs() -> None:
    """A letter for each segment of each track, that of the last word."""
    states = SegmentStates(PLAN.order)
    assert "....." == states.text(MAIN)
    states.put((MAIN, 1), IN_FLIGHT)
    states.put((MAIN, 2), IN_FLIGHT)
    states.done((MAIN, 1), attempts=1)
    states.done((MAIN, 4), attempts=3)
    assert ("df.r.", "") == (states.text(MAIN), states.text("audio1"))


def test_groups_of_a_plan() -> None:
    """One of which nothing is wanted is not kept; one that the playlist declares missing in part is."""
    assert GROUPS == groups_of_plan(PRESENTATION.main, PLAN)


def test_map_of_a_report() -> None:
    """What a finished task says when its segments are gone; of a group that is kept something is in the file."""
    rows = {(MAIN, 1): row(1, size_bytes=9), (MAIN, 2): row(2, attempts=2)}
    evidence = Evidence(
        presentation=PRESENTATION,
        whole=plan_presentation(PRESENTATION, {}),
        plan=PLAN,
        rows=rows,
        lost={(MAIN, 4): Lost(reason="gone", attempts=8)},
    )
    report = make_report(evidence, url="https://h.test/list.m3u8", made_at="", result={})
    groups = (*GROUPS[:2], attrs.evolve(GROUPS[2], kept=False))
    assert SegmentMap(tracks=(TrackStates(kind="video", states="drsxx"),), groups=groups) == map_of_report(report)


def test_pictures_of_groups() -> None:
    """The segment in the middle stands for a group, else its first or its last one, if that is there."""
    groups = [GroupSpan(number=1, first=3, last=8, duration_s=1.0, kept=True)]
    shown = [with_pictures(groups, there.__contains__)[0].picture for there in ({5, 3, 8}, {3, 8}, {7, 8}, {4, 6, 7})]
    assert [5, 3, 8, None] == shown


def test_pictures_of_very_many_groups() -> None:
    """The first ones have some, the others stay as they are; so much is asked for that, however many there are."""
    asked: list[int] = []
    groups = [
        GroupSpan(number=number, first=3 * number - 2, last=3 * number, duration_s=1.0, kept=True)
        for number in range(1, 20_001)
    ]

    def is_there(position: int) -> bool:
        asked.append(position)
        return position % 3 == 0

    shown = with_pictures(groups, is_there)
    assert 3 * MOST_PICTURED == len(asked)
    assert {each.number: each.last for each in groups[:MOST_PICTURED]} == {
        each.number: each.picture for each in shown if each.picture is not None
    }
    assert [each.number for each in groups] == [each.number for each in shown]


@pytest.mark.parametrize(
    ("kept", "is_film", "kind", "expected"),
    [
        ((), True, "video", [1, None, None]),
        ((), True, "audio", [None, None, None]),
        ((), False, "video", [None, None, None]),
        ((3, 5), True, "video", [1, 3, 5]),
        ((3, 5), False, "audio", [None, None, None]),
        ((3, 5), False, "", [None, 3, 5]),
    ],
)
def test_pictures_of_a_result(kept: tuple[int, ...], is_film: bool, kind: str, expected: list[int | None]) -> None:
    """Of what is in a film whose merger tells where, and of segments that are kept; what is sound has none."""
    evidence = Evidence(
        presentation=PRESENTATION,
        whole=plan_presentation(PRESENTATION, {}),
        plan=PLAN,
        rows={(MAIN, position): row(position) for position in (1, 2, 4)},
        lost={},
        details={
            "spans": [{"track": MAIN, "n": 1, "file": 1, "from": 0.0, "to": 2.0}],
            "tracks": [{"track": MAIN, "kind": kind, "packets": 9}] if kind else [],
        },
    )
    report = make_report(evidence, url="", made_at="", result={})
    assert expected == [each.picture for each in map_of_report(report, kept=kept, is_film=is_film).groups]


def test_map_of_what_was_written_down() -> None:
    """Rows of the ledger count if they are of the same piece; names of segments the task failed with are known."""
    both = Presentation(streams=(stream(MAIN), stream("audio1")))
    ledger = Ledger(
        [
            row(1),
            row(2, attempts=2),
            row(3, outcome="skipped", status=404),
            row(4, identity="f" * 12),
            row(2, "audio1"),
        ]
    )
    found = map_of_record(pieces_by_track(write_presentation(both)), ledger, ["00005.ts", "audio1-00001", "key", ""])
    assert (
        TrackStates(kind="video", states="drs.x"),
        TrackStates(kind="audio", states="xd..."),
    ) == found.tracks
    assert tuple(attrs.evolve(each, kept=True) for each in GROUPS) == found.groups


@pytest.mark.parametrize(
    ("kept", "expected"),
    [((), [True, True, True]), (((2, 2),), [False, True, False]), (((3, 9), (1, 1)), [True, False, True])],
)
def test_groups_that_are_kept(kept: tuple[tuple[int, int], ...], expected: list[bool]) -> None:
    """Those that the task names; all, if it names none."""
    found = map_of_record(pieces_by_track(write_presentation(PRESENTATION)), Ledger(), kept=kept)
    assert expected == [each.kept for each in found.groups]


@pytest.mark.parametrize(("track", "kind"), [(MAIN, "video"), ("audio12", "audio"), ("subtitles1", "subtitles")])
def test_kinds(track: str, kind: str) -> None:
    """By the names that tracks have."""
    states = map_of_record(pieces_by_track(write_presentation(Presentation(streams=(stream(track),)))), Ledger())
    assert (kind, ".....") == (states.tracks[0].kind, states.tracks[0].states)
