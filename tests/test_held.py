"""
What a download has of its plan: as a dictionary would hold it, but in columns.
"""

import gc
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from m3u8svc.held import FilesNow, Held, Ready
from m3u8svc.hls.parse import parse_playlist
from m3u8svc.hls.plan import JobList, SegmentJob, plan_presentation
from m3u8svc.hls.playlist import MediaPlaylist, Presentation, Stream
from m3u8svc.offerings import Gap, MediaFile
from m3u8svc.testing.playlists import SegmentLine, media_playlist
from m3u8svc.workdir import Files, Stored, WorkDir

FOLDER = Path("/work")


def planned(count: int, *tracks: str) -> JobList:
    text = media_playlist([SegmentLine(uri=f"{index}.ts") for index in range(count)])
    playlist = parse_playlist(text, "http://h/i.m3u8")
    assert isinstance(playlist, MediaPlaylist)
    streams = tuple(Stream(track=track, playlist=playlist) for track in ("main", *tracks))
    return plan_presentation(Presentation(streams=streams), {}).jobs


def workdir() -> WorkDir:
    return WorkDir(FOLDER, clock=Clock(), in_thread=lambda *call: pytest.fail("no file is touched"), boot_id="1")


def stored(job: SegmentJob, *, synced: bool = True, size: int = 5) -> Stored:
    return workdir().stored(
        job.segment.position, job.identity, "ts", size_bytes=size, synced=synced, digest="ab" * 32 if synced else ""
    )


def test_held_files_are_those_that_were_put() -> None:
    """By position and identity, of two tracks with the same positions; the last of a place counts, and one can go."""
    jobs = planned(3, "audio1")
    held = Held(jobs, workdir())
    wanted = {}
    for number, job in enumerate(jobs):
        key = (job.segment.position, job.identity)
        assert key not in held
        held[key] = stored(job)
        held[key] = wanted[key] = stored(job, synced=number % 2 == 0, size=number)
    assert wanted == dict(held)
    assert 6 == len(held)
    gone = (2, jobs[2].identity)
    assert wanted.pop(gone) == held.pop(gone)
    assert wanted == dict(held)
    assert held.pop(gone, None) is None


def test_held_files_are_of_the_plan_only() -> None:
    """A file of another list is none of it."""
    jobs = planned(2)
    held = Held(jobs, workdir())
    foreign = SegmentJob(segment=jobs[0].segment, identity="ffffffffffff")
    with pytest.raises(KeyError):
        held[1, foreign.identity] = stored(foreign)
    assert (1, foreign.identity) not in held


def test_files_found_are_kept_by_name() -> None:
    """Two of one position, synced and not; the later of one name counts."""
    [job] = planned(1)
    other = SegmentJob(segment=job.segment, identity="ffffffffffff")
    files = Files(FOLDER)
    for each in (stored(job, size=1), stored(other, synced=False), stored(job, size=2)):
        files.put(each)
    assert {(1, job.identity), (1, other.identity)} == set(files)
    assert stored(job, size=2).size_bytes == files[1, job.identity].size_bytes
    assert [stored(other, synced=False)] == list(files.unsynced())
    assert (2, job.identity) not in files


def test_files_now_are_found_and_fetched_without_dropped() -> None:
    """What was fetched again counts before what was found."""
    one, two, three = planned(3)
    keys = [(each.segment.position, each.identity) for each in (one, two, three)]
    found = {keys[0]: stored(one), keys[1]: stored(two)}
    fetched = {keys[1]: stored(two, size=9), keys[2]: stored(three)}
    now = FilesNow(found, fetched, frozenset([keys[0]]))
    assert {keys[1]: stored(two, size=9), keys[2]: stored(three)} == dict(now)
    assert keys[0] not in now


def test_ready_parts_are_made_when_asked_for() -> None:
    """A file of its job, a gap as it was put; what was removed is not there."""
    jobs = planned(3)
    ready = Ready(jobs, _file)
    gap = Gap(position=2, duration_s=1.0)
    ready.put(_file(jobs[0]))
    ready.put(gap)
    assert (_file(jobs[0]), gap) == (ready["main", 1], ready["main", 2])
    assert (True, False, False) == tuple(ready.is_file(("main", each)) for each in (1, 2, 3))
    assert ("main", 3) not in ready
    assert (True, False, False) == tuple(ready.remove(("main", each)) for each in (1, 2, 3))
    assert not any(("main", each) in ready for each in (1, 2, 3))


def test_objects_do_not_grow_with_segments() -> None:
    """Five thousand segments, planned, found, fetched and ready, are not two hundred objects."""
    small = planned(10)
    before = _objects()
    jobs = planned(5000)
    held, ready, files = Held(jobs, workdir()), Ready(jobs, _file), Files(FOLDER)
    for job in jobs:
        held[job.segment.position, job.identity] = stored(job)
        files.put(stored(job))
        ready.put(_file(job))
    del job
    assert _objects() - before < 200
    assert 5000 == len(held) == len(files)
    assert 10 == len(small)


def _file(job: SegmentJob) -> MediaFile:
    return MediaFile(position=job.segment.position, path=FOLDER / "x", kind="ts", duration_s=1.0)


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
