"""
The report of a result: numbers that add up, nothing secret, and enough to plan anew.
"""

import json
from collections.abc import Mapping

import attrs
import pytest

from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import plan_presentation
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Rendition, Stream
from m3u8svc.redact import redact_url
from m3u8svc.tasks.completeness import Evidence, Line, Lost, _shown_url, make_report, presentation_of, summarise
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.wording import Said

LIST = """#EXTM3U
#EXT-X-TARGETDURATION:4
#EXT-X-KEY:METHOD=AES-128,URI="https://s.example/key?token=s3cret"
#EXT-X-MAP:URI="init.mp4"
#EXTINF:4,
0.m4s?token=s3cret
#EXTINF:4,
1.m4s?token=s3cret
#EXT-X-DISCONTINUITY
#EXT-X-CUE-OUT:DURATION=4
#EXTINF:4,
https://user:s3cret@ads.example/ad.m4s?token=s3cret
#EXT-X-DISCONTINUITY
#EXT-X-GAP
#EXTINF:2.5,
3.m4s
#EXTINF:4,
4.m4s
#EXT-X-ENDLIST
"""
ASSET = '#EXT-X-DATERANGE:ID="a",X-ASSET-URI="https://ads.example/x?token=s3cret"'


def parsed(text: str, url: str) -> MediaPlaylist:
    """A media playlist."""
    found = parse_playlist(text, url)
    assert isinstance(found, MediaPlaylist)
    return found


def presentation(text: str = LIST) -> Presentation:
    """The playlist, with a rendition of the same segments beside it."""
    main = parsed(text, "https://s.example/v/list.m3u8?token=s3cret")
    sound = Rendition(type="AUDIO", group_id="a", name="Ton", language="de", default=True)
    return Presentation(
        streams=(Stream(track="main", playlist=main), Stream(track="audio1", playlist=main, rendition=sound))
    )


def evidence(skips: Mapping[int, str] | None = None, lost: tuple[int, ...] = ()) -> Evidence:
    """All of it is there but what is skipped and the positions of the main track that are lost."""
    shown = presentation()
    plan = plan_presentation(shown, skips or {})
    rows = {
        (job.track, job.segment.position): SegmentRow(
            track=job.track,
            position=job.segment.position,
            identity=job.identity,
            size_bytes=100,
            attempts=2,
            digest="ab" * 32,
        )
        for job in plan.jobs
        if job.track != "main" or job.segment.position not in lost
    }
    return Evidence(
        presentation=shown,
        whole=plan_presentation(shown, {}),
        plan=plan,
        rows=rows,
        lost={("main", position): Lost(reason="404", attempts=7) for position in lost},
        inits={"i": "cd" * 32},
        details={
            "av_drift_s": 0.02,
            "spans": [
                {"track": "main", "n": 2, "file": 1, "from": 9.0, "to": 10.0},
                {"track": "main", "n": 2, "file": 1, "from": 4.0, "to": 8.0},
            ],
        },
    )


def report(given: Evidence):
    """Its report."""
    return make_report(given, url="https://s.example/v/list.m3u8?token=s3cret", made_at="now", result={"size": 7})


def test_every_segment_has_its_end() -> None:
    """Done, skipped, declared missing and lost segments are told apart, each with its reason, time and attempts."""
    lines = {(line.track, line.position): line for line in report(evidence({3: "ad"}, lost=(5,))).lines()}
    assert 10 == len(lines)
    ends = [(lines["main", n].outcome, lines["main", n].attempts, lines["main", n].reason) for n in range(1, 6)]
    gap = "播放列表声明的空缺（EXT-X-GAP）"
    assert [("done", 2, ""), ("done", 2, ""), ("skipped", 0, "ad"), ("gap", 0, gap), ("missing", 7, "404")] == ends
    assert (1, 4.0, 10.0) == (lines["main", 2].file, lines["main", 2].from_s, lines["main", 2].to_s)
    assert (14.5, 4.0, 2) == (lines["main", 5].start_s, lines["main", 5].duration_s, lines["main", 5].splice)
    assert ("ab" * 32, 100, "https://s.example/v/0.m4s?…") == (
        lines["main", 1].sha256,
        lines["main", 1].bytes,
        lines["main", 1].source,
    )
    assert lines["main", 3].identity and not lines["main", 4].identity


def test_reasons_are_in_english_beside() -> None:
    """Where they are known in both languages; a report of an earlier version has none, and is read."""
    given = evidence({3: Said("跳过表达式: 3", "skip expression: 3")}, lost=(5,))
    key = ("main", 1)
    given = attrs.evolve(
        given,
        lost={("main", 5): Lost(reason=Said("失败", "it failed"), attempts=7)},
        rows={**given.rows, key: attrs.evolve(given.rows[key], reason=Said("丢包", "packets were lost"))},
    )
    made = report(given)
    lines = {(line.track, line.position): line for line in made.lines()}
    english = [lines["main", n].reason_en for n in range(1, 6)]
    gap = "the playlist declares it missing (EXT-X-GAP)"
    assert ["packets were lost", "", "skip expression: 3", gap, "it failed"] == english
    whole = json.loads(made.whole(task_id="t1"))
    assert "reason_en" not in whole["segments"][1]
    [error] = whole["continuity_errors"]
    assert {"track": "main", "position": 1, "reason": "丢包", "reason_en": "packets were lost"} == error
    assert "3 of 10 segments missing, 6.5 s" == whole["summary"]["text_en"]
    assert "3 segments missing (6.5 s)" == whole["summary"]["missing_text_en"] == made.missing.en
    summary = json.loads(made.summary)
    del summary["summary"]["missing_text_en"]
    assert "缺失 3 个分片（6.5 秒）" == attrs.evolve(made, summary=json.dumps(summary)).missing.en


def test_the_object_for_people_has_the_summary_first() -> None:
    """One JSON object: the task, where the result is, numbers, tracks, groups and the segments."""
    whole = json.loads(report(evidence({3: "ad"}, lost=(5,))).whole(task_id="t1", file="/srv/film.mp4"))
    assert ("t1", {"file": "/srv/film.mp4", "size": 7}, 10) == (whole["task"], whole["result"], len(whole["segments"]))
    assert {"segments": 5, "duration_s": 18.5} == whole["playlist"]
    assert ("缺失 3/10 个分片，6.5 秒", False, 1, 2) == (
        whole["summary"]["text"],
        whole["summary"]["complete"],
        whole["summary"]["missing"],
        whole["summary"]["declared_gaps"],
    )
    assert [("1-2", True), ("3-3", False), ("4-5", False)] == [(g["positions"], g["kept"]) for g in whole["groups"]]
    assert [("main", "main"), ("audio1", "audio")] == [(each["track"], each["kind"]) for each in whole["tracks"]]
    assert 0.02 == whole["av_drift_s"]


def test_nothing_secret_is_in_a_report() -> None:
    """Neither tokens of URLs nor users nor keys nor what a mark carries, in any part of it."""
    given = evidence({3: "ad"}, lost=(5,))
    main = given.presentation.main
    marked = attrs.evolve(main, segments=(attrs.evolve(main.segments[0], marks=(ASSET,)), *main.segments[1:]))
    shown = attrs.evolve(given.presentation, streams=(attrs.evolve(given.presentation.streams[0], playlist=marked),))
    text = report(attrs.evolve(given, presentation=shown)).whole(task_id="t1").decode()
    assert "ads.example/x" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("tail", ["", "?", "?a=b", "#f", "?a#f", "?a=?b", "\x1b[2J", "a b", "é", "‮", "x" * 300, "@s"])
@pytest.mark.parametrize(
    "host", ["s.example", "u:p@s.example", "s.example:8080", "[::1]", "é.example", "s.example\x1b"]
)
@pytest.mark.parametrize("path", ["/v/1.ts", "/v/a@b.ts", "/v//1.ts;p=1", "", "/"])
def test_sources_are_redacted_as_all_urls_are(host: str, path: str, tail: str) -> None:
    """The short way comes to what the long one comes to."""
    url = f"https://{host}{path}{tail}"
    assert redact_url(url) == _shown_url(url)


def test_a_whole_result_misses_nothing() -> None:
    """What the task itself left out is no hole."""
    lines = [
        Line(track="main", position=n, number=n, start_s=n, duration_s=1, splice=0, outcome="done") for n in (1, 2)
    ]
    lines.append(attrs.evolve(lines[0], position=3, outcome="skipped"))
    summary = summarise(lines)
    assert (True, "", 1.0, "缺失 0/3 个分片，0.0 秒") == (
        summary["complete"],
        summary["missing_text"],
        summary["skipped_s"],
        summary["text"],
    )


@pytest.mark.parametrize("skips", [{}, {3: "ad"}, {1: "x", 2: "x"}])
def test_a_report_is_enough_to_plan_anew(skips: dict[int, str]) -> None:
    """A plan made of a report has the same segments and identities as one made of the playlists."""
    shown = presentation()
    remembered = presentation_of(report(evidence({3: "ad"})))
    planned, again = plan_presentation(shown, skips), plan_presentation(remembered, skips)
    assert [(job.track, job.segment.position, job.identity) for job in planned.jobs] == [
        (job.track, job.segment.position, job.identity) for job in again.jobs
    ]
    assert [(each.position, each.reason, each.declared) for each in planned.absent] == [
        (each.position, each.reason, each.declared) for each in again.absent
    ]
    assert (planned.duration_s, planned.tracks) == (again.duration_s, again.tracks)
    assert len(again.inits) == len(planned.inits)
    assert "de" == (remembered.streams[1].rendition or pytest.fail("no rendition")).language


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\n"])
def test_lines_are_read_whatever_a_reason_holds(separator: str) -> None:
    """A plugin's reason may hold what other readers of text take for the end of a line."""
    reason = f"an ad{separator}of two lines"
    [skipped, *_] = report(evidence(skips={1: reason})).lines()
    assert ("skipped", reason) == (skipped.outcome, skipped.reason)


def test_a_hundred_thousand_segments_are_bounded() -> None:
    """The text of a very long list is stored small, and read back line by line."""
    text = "#EXTM3U\n" + "".join(f"#EXTINF:4,\n{n}.ts\n" for n in range(100_000)) + "#EXT-X-ENDLIST\n"
    main = parsed(text, "https://s.example/list.m3u8")
    shown = Presentation(streams=(Stream(track="main", playlist=main),))
    plan = plan_presentation(shown, {})
    made = report(Evidence(presentation=shown, whole=plan, plan=plan, rows={}, lost={}))
    assert len(made.segments) < 4 << 20 and len(made.summary) < 4096
    assert 100_000 == sum(1 for _ in made.lines())
