"""
What there is to see of a task's segments, of a run that is made up and of files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from m3u8svc.download import Download
from m3u8svc.errors import M3u8svcError
from m3u8svc.hls.media import MediaKind
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import Place, plan_presentation
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.hls.rematch import pieces_of
from m3u8svc.job import Showing, work_path
from m3u8svc.kept import keep_segments
from m3u8svc.offerings import Gap, MediaFile, TrackInfo
from m3u8svc.pictures import Footage
from m3u8svc.places import file_identity
from m3u8svc.refresh import MEMORY
from m3u8svc.tasks.completeness import Evidence, Report, make_report
from m3u8svc.tasks.ledger import Ledger, SegmentRow
from m3u8svc.tasks.remembered import main_track, write_presentation
from m3u8svc.tasks.task import CompanionFile, Extensions, Settings, Status, Task, TaskSpec
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.testing.playlists import MapLine, SegmentLine, media_playlist
from m3u8svc.watching import (
    footage_at_end,
    footage_at_rest,
    footage_while_running,
    list_at_rest,
    list_while_running,
    map_at_end,
    map_at_rest,
    open_footage,
    piece_while_running,
)

LINES = [SegmentLine(uri=f"{n}.ts", duration_s=2.0, discontinuity=n == 3) for n in range(5)]


def presentation(inits: int = 0) -> Presentation:
    """Five segments, the last two a group of their own; with so many init sections, each for as many of them."""
    lines = [
        attrs.evolve(each, map=MapLine(uri=f"i{n % inits}.mp4") if inits else None) for n, each in enumerate(LINES)
    ]
    parsed = parse_playlist(media_playlist(lines), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Presentation(streams=(Stream(track=MAIN, playlist=parsed),))


class Downloading:
    """
    A download as it stands: `gone` segments are let go, nothing comes for those in `gaps`, and some are `there`.
    """

    def __init__(
        self, *, gone: int = 0, gaps: dict[int, str] | None = None, there: dict[int, MediaFile] | None = None
    ) -> None:
        self._gone = gone
        self._gaps = gaps or {}
        self._there = there or {}

    def is_gap(self, place: Place) -> bool:
        return place[1] in self._gaps

    def is_let_go(self, place: Place) -> bool:
        return place[1] <= self._gone

    def look(self, place: Place) -> None:
        """Whoever watches is there."""

    def fate(self, place: Place) -> MediaFile | Gap | None:
        if place[1] not in self._gaps:
            return self._there.get(place[1])
        return Gap(position=place[1], duration_s=2.0, reason=self._gaps[place[1]])


def showing(download: Downloading) -> Showing:
    plan = plan_presentation(presentation(), {})
    tracks = (TrackInfo(track=MAIN, kind="video"),)
    return Showing(plan=plan, tracks=tracks, bandwidth=0, download=cast(Download, download))


def refusal(work: Any) -> M3u8svcError:
    """The error that it ends with at once."""
    ended: list[Any] = []
    Deferred.fromCoroutine(work).addErrback(ended.append)
    error: M3u8svcError = ended[0].value
    return error


def test_what_is_let_go_is_not_listed() -> None:
    """Neither is a gap: a player would ask for them in vain."""
    text = list_while_running("t", showing(Downloading(gone=2, gaps={4: ""})), None)
    assert ["media?id=t&track=0&segment=3", "media?id=t&track=0&segment=5"] == [
        line for line in text.splitlines() if not line.startswith("#")
    ]


@pytest.mark.parametrize(
    ("reason", "english"),
    [("http.code=404", "http.code=404"), ("请求失败：404", "it is skipped, or could not be fetched")],
)
def test_why_a_segment_never_comes(reason: str, english: str) -> None:
    """In Chinese as it was given; in English without what is Chinese."""
    download = Downloading(gaps={1: reason})
    error = refusal(piece_while_running(showing(download), Wanted(position=1), Clock()))
    assert (f"没有分片 00001.ts：{reason}", f"there is no segment 00001.ts: {english}") == (
        error.text("zh"),
        error.text("en"),
    )


@pytest.mark.parametrize(
    ("status", "english"), [(Status.PAUSED, "paused"), (Status.WAITING, "waiting"), (Status.FAILED, "failed")]
)
def test_why_there_is_nothing_to_watch(status: Status, english: str) -> None:
    """The state, in either language."""
    task = Task(id="t", spec=TaskSpec(url="https://h.test/list.m3u8", filename="film"), status=status)
    with pytest.raises(M3u8svcError) as caught:
        list_at_rest(task, None)
    assert (True, True) == (status.value in caught.value.text("zh"), f"({english})" in caught.value.text("en"))


@pytest.mark.parametrize(("groups", "expected"), [("", [True, True]), ("2", [False, True])])
def test_groups_of_a_task_at_rest(groups: str, expected: list[bool], tmp_path: Path) -> None:
    """Those that the task keeps are shown so, and no others."""
    settings = Settings(save_location=str(tmp_path))
    spec = TaskSpec(url="https://h.test/", filename="film", settings=settings, extensions=Extensions(groups=groups))
    task = Task(id="t", spec=spec)
    work_path(task).mkdir(parents=True)
    (work_path(task) / MEMORY).write_bytes(write_presentation(presentation()))
    found = map_at_rest(task, Ledger())
    assert expected == [each.kept for each in found.groups]


# -- Pictures --------------------------------------------------------------------------------------------------------


def fetched(path: str, kind: MediaKind = "ts", init: Path | None = None) -> MediaFile:
    return MediaFile(position=1, path=Path(path), kind=kind, duration_s=2.0, init=init)


def ended(work: Callable[..., Any], *arguments: Any) -> str:
    """The code of the error that it ends with."""
    with pytest.raises(M3u8svcError) as caught:
        work(*arguments)
    return caught.value.code


def test_footage_of_a_run() -> None:
    """Where the segment lies, with its init section."""
    there = {1: fetched("/w/1.ts"), 2: fetched("/w/2.fmp4", "fmp4", Path("/w/init.mp4"))}
    running = showing(Downloading(there=there))
    assert Footage(path=Path("/w/1.ts"), demuxer="mpegts") == footage_while_running(running, 1)
    assert Footage(path=Path("/w/2.fmp4"), demuxer="mp4", init=Path("/w/init.mp4")) == footage_while_running(running, 2)


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (1, "segment_absent"),  # let go
        (2, "no_picture"),  # sound
        (3, "not_there_yet"),
        (4, "segment_absent"),  # given up
        (6, "segment_absent"),  # none of the film
    ],
)
def test_footage_that_a_run_has_not(position: int, expected: str) -> None:
    """Nobody waits for it."""
    running = showing(Downloading(gone=1, gaps={4: "410"}, there={2: fetched("/w/2.aac", "aac")}))
    assert expected == ended(footage_while_running, running, position)


def at_rest(folder: Path, *names: str, inits: int = 0) -> Task:
    """A task that has these files in its work directory; "*" in their names stands for what tells their content."""
    settings = Settings(save_location=str(folder))
    spec = TaskSpec(url="https://h.test/", filename="film", settings=settings)
    task = Task(id="t", spec=spec, status=Status.PAUSED)
    whole = presentation(inits)
    pieces = {f"{each.position:08d}": each.identity for each in pieces_of(whole.main, MAIN)}
    work_path(task).mkdir(parents=True)
    (work_path(task) / MEMORY).write_bytes(write_presentation(whole))
    known, _ = main_track(write_presentation(whole))
    for name in (*names, *(f"init-{each}.mp4" for each in known)):
        (work_path(task) / name.replace("*", pieces.get(name[:8], ""))).write_bytes(b"")
    return task


def test_footage_at_rest(tmp_path: Path) -> None:
    """What is in the work directory, synced or not; a file of other content under the same number is none."""
    task = at_rest(tmp_path, "00000001-*.ts", "00000002-*.ts.new", "00000003-ffffffffffff.ts", "00000004-*.aac")
    assert [True, True] == [footage_at_rest(task, each).path.exists() for each in (1, 2)]
    assert ["segment_absent"] * 4 == [ended(footage_at_rest, task, each) for each in (3, 4, 5, 6)]
    assert [2, None] == [each.picture for each in map_at_rest(task, Ledger()).groups]


@pytest.mark.parametrize(("inits", "expected"), [(1, [2, 5]), (2, [None, None])])
def test_footage_at_rest_of_fmp4(inits: int, expected: list[int | None], tmp_path: Path) -> None:
    """With its init section, where there is no doubt which one that is."""
    task = at_rest(tmp_path, "00000002-*.fmp4", "00000005-*.fmp4", inits=inits)
    assert expected == [each.picture for each in map_at_rest(task, Ledger()).groups]
    if inits == 1:
        found = footage_at_rest(task, 5)
        assert found.init is not None and found.init.exists()
        found.init.unlink()
        assert "segment_absent" == ended(footage_at_rest, task, 5)


def test_footage_of_what_was_never_planned(tmp_path: Path) -> None:
    """There is no work directory, and no picture."""
    task = Task(id="t", spec=TaskSpec(url="", filename="film", settings=Settings(save_location=str(tmp_path))))
    assert "segment_absent" == ended(footage_at_rest, task, 1)


def finished(folder: Path, output: str = "film.mp4", **extensions: Any) -> Task:
    settings = Settings(save_location=str(folder))
    spec = TaskSpec(url="", filename="film", settings=settings, extensions=Extensions(**extensions))
    part = CompanionFile(suffix="p2.mp4", output=str(folder / "film.p2.mp4"), output_id="second")
    output = output if "//" in output else str(folder / output)
    return Task(id="t", spec=spec, status=Status.COMPLETED, output=output, output_id="first", companions=(part,))


def reported() -> Report:
    """Of the five segments one was skipped, and two are in a second file."""
    whole = presentation()
    rows = {
        (MAIN, each.position): SegmentRow(track=MAIN, position=each.position, identity=each.identity)
        for each in pieces_of(whole.main, MAIN)
    }
    spans = [{"track": MAIN, "n": n, "file": 1 + (n > 3), "from": 2.0 * n, "to": 2.0 * n + 2} for n in (1, 3, 4, 5)]
    plan = plan_presentation(whole, {})
    streams = [{"track": MAIN, "kind": "video", "packets": 1}]
    evidence = Evidence(
        presentation=whole,
        whole=plan,
        plan=plan_presentation(whole, {2: "unwanted"}),
        rows=rows,
        lost={},
        details={"spans": spans, "tracks": streams},
    )
    return make_report(evidence, url="", made_at="", result={})


def test_footage_in_the_result(tmp_path: Path) -> None:
    """Its place in the file, or in the further one that it is in; what was skipped has none."""
    task, report = finished(tmp_path), reported()
    assert Footage(path=tmp_path / "film.mp4", demuxer="mp4", span=(6.0, 8.0), identity="first") == footage_at_end(
        task, 3, report
    )
    assert Footage(path=tmp_path / "film.p2.mp4", demuxer="mp4", span=(8.0, 10.0), identity="second") == footage_at_end(
        task, 4, report
    )
    assert ["segment_absent"] * 2 == [ended(footage_at_end, task, each, report) for each in (2, 6)]
    assert "segment_absent" == ended(footage_at_end, task, 3, None)
    assert [1, 4] == [each.picture for each in map_at_end(task, report).groups]
    assert "file_gone" == ended(footage_at_end, attrs.evolve(task, companions=()), 4, report)


@pytest.mark.parametrize(
    ("output", "extensions"),
    [("film.ts", {"merger": "ts"}), ("s3://films/film.mp4", {}), ("film.mp4", {"merger": "none"})],
)
def test_footage_in_another_result(output: str, extensions: dict[str, Any], tmp_path: Path) -> None:
    """Only in an MP4 that is here can a place be found."""
    task, report = finished(tmp_path, output, **extensions), reported()
    assert "segment_absent" == ended(footage_at_end, task, 3, report)
    assert [None, None] == [each.picture for each in map_at_end(task, report).groups]


def test_footage_that_is_kept(tmp_path: Path) -> None:
    """The segment itself, also of what is not in the result."""
    task, report = finished(tmp_path), reported()
    (tmp_path / "ts").write_bytes(b"")
    files = [attrs.evolve(fetched(str(tmp_path / "ts")), position=position) for position in (2, 3, 5)]
    keep_segments(files, tmp_path, "film", task.id)
    assert Footage(path=tmp_path / "film" / "00002.ts", demuxer="mpegts") == footage_at_end(task, 2, report)
    assert [2, 4] == [each.picture for each in map_at_end(task, report).groups]


def test_footage_is_opened(tmp_path: Path) -> None:
    """No link is followed, and no other file is taken for the result."""
    film, link = tmp_path / "film.mp4", tmp_path / "1.ts"
    film.write_bytes(b"film")
    link.symlink_to(film)
    where = Footage(path=film, demuxer="mp4", span=(1.0, 2.0), identity=file_identity(film))
    opened, init = open_footage(where, lambda *_: Deferred())
    assert (4, None) == (opened.size_bytes, init)
    film.write_bytes(b"another film")
    assert "file_gone" == ended(open_footage, where, lambda *_: Deferred())
    assert "not_there_yet" == ended(open_footage, Footage(path=link, demuxer="mpegts"), lambda *_: Deferred())
    behind = Footage(path=film, demuxer="mp4", init=tmp_path / "init.mp4")
    assert "not_there_yet" == ended(open_footage, behind, lambda *_: Deferred())
