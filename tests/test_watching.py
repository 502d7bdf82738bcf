"""
What there is to see of a task's segments, of a run that is made up and of files.
"""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from m3u8svc.download import Download
from m3u8svc.errors import M3u8svcError
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import Place, plan_presentation
from m3u8svc.hls.playlist import MAIN, MediaPlaylist, Presentation, Stream
from m3u8svc.job import Showing, work_path
from m3u8svc.offerings import Gap, TrackInfo
from m3u8svc.refresh import MEMORY
from m3u8svc.tasks.ledger import Ledger
from m3u8svc.tasks.remembered import write_presentation
from m3u8svc.tasks.task import Extensions, Settings, Status, Task, TaskSpec
from m3u8svc.tasks.viewing import Wanted
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from m3u8svc.watching import list_at_rest, list_while_running, map_at_rest, piece_while_running

LINES = [SegmentLine(uri=f"{n}.ts", duration_s=2.0, discontinuity=n == 3) for n in range(5)]


def presentation() -> Presentation:
    """Five segments, the last two a group of their own."""
    parsed = parse_playlist(media_playlist(LINES), "https://h.test/list.m3u8")
    assert isinstance(parsed, MediaPlaylist)
    return Presentation(streams=(Stream(track=MAIN, playlist=parsed),))


class Downloading:
    """A download as it stands: `gone` segments are let go, and nothing comes for those in `gaps`."""

    def __init__(self, *, gone: int = 0, gaps: dict[int, str] | None = None) -> None:
        self._gone = gone
        self._gaps = gaps or {}

    def is_gap(self, place: Place) -> bool:
        return place[1] in self._gaps

    def is_let_go(self, place: Place) -> bool:
        return place[1] <= self._gone

    def look(self, place: Place) -> None:
        """Whoever watches is there."""

    def fate(self, place: Place) -> Gap:
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
