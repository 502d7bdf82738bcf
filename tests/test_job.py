"""
One job from its URL to its file, with the real tools against the misbehaving origin.
"""

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import av
import pytest
import pytest_twisted
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred

from m3u8svc.errors import M3u8svcError, SegmentFailed
from m3u8svc.hls.playlist import Key, Segment
from m3u8svc.hookspecs import hookimpl
from m3u8svc.job import Job, Outcome, Tools, work_path
from m3u8svc.loading import Candidate, load_plugins
from m3u8svc.offerings import SegmentGroup, SegmentOutcome, Skip
from m3u8svc.tap import disk_threads, make_tools
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.task import CompanionFile, Extensions, Settings, Task, TaskSpec
from m3u8svc.testing.origin import Origin
from m3u8svc.testing.playlists import (
    CLEAR,
    KeyLine,
    RenditionLine,
    SegmentLine,
    VariantLine,
    master_playlist,
    media_playlist,
)
from tests.needs import memory_disk
from tests.until import until

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else
COUNT = 6
ENDLESS: dict[str, Any] = {"ended": False, "playlist_type": "", "target_duration_s": 0.2}
KEYS = {"one.key": b"1" * 16, "two.key": b"2" * 16}


class Records:
    """A journal that remembers; `on_staged` runs between the finished file and its name."""

    def __init__(self) -> None:
        self.rows: list[SegmentRow] = []
        self.output_id = ""
        self.reports: dict[str, Report] = {}
        self.warnings: tuple[str, ...] = ()
        self.on_staged: Callable[[], None] = lambda: None
        self.playlist = ""

    def segment(self, row: SegmentRow) -> None:
        self.rows.append(row)

    async def playlist_text(self) -> str:
        return self.playlist

    async def reported(self, output_id: str, report: Report) -> None:
        self.reports[output_id] = report

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        self.output_id = output_id
        self.companions = tuple(companions)
        self.warnings = tuple(warnings)
        self.on_staged()


@attrs.frozen(kw_only=True)
class Bench:
    """What a test of one job works with."""

    origin: Origin
    tools: Tools
    save: Path
    segments: list[bytes] = attrs.field(repr=False)
    records: Records = attrs.field(factory=Records)

    def task(self, path: str, *, output_id: str = "", extensions: Extensions | None = None, **settings: Any) -> Task:
        """A task for this playlist of the origin."""
        url = path if "://" in path else self.origin.url(path)
        return Task(
            id="task1",
            output_id=output_id,
            spec=TaskSpec(
                url=url,
                filename="film",
                settings=Settings(save_location=settings.pop("save_location", str(self.save)), **settings),
                extensions=extensions or Extensions(),
            ),
        )

    def job(self, task: Task) -> Job:
        """A run of it."""
        return Job(task, self.tools, self.records)

    async def run(self, path: str, **settings: Any) -> Outcome:
        """Run a task for this playlist to its end."""
        return await self.job(self.task(path, **settings)).run()

    async def failure(self, path: str, **settings: Any) -> M3u8svcError:
        """Run a task that fails; how."""
        with pytest.raises(M3u8svcError) as caught:
            await self.run(path, **settings)
        return caught.value

    def put_list(self, lines: list[SegmentLine], path: str = "/list.m3u8", **options: Any) -> str:
        """Serve a media playlist of these lines."""
        self.origin.put(path, media_playlist(lines, **options).encode())
        return path

    def counts(self) -> list[int]:
        """How often each segment was asked for."""
        return [self.origin.count(f"/{number}.ts") for number in range(COUNT)]

    def left(self) -> list[str]:
        """Everything in the save directory but the work directory."""
        return sorted(name for name in os.listdir(self.save) if name != ".m3u8svc")


def lines(**tweaked: str) -> list[SegmentLine]:
    """The stream's segments; `s3="status=503"` tweaks the one with that number, from 0."""
    return [SegmentLine(uri=f"{n}.ts?{tweaked.get(f's{n}', '')}", duration_s=1.0) for n in range(COUNT)]


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """A short real stream: 6 TS segments of 1 s."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("needs ffmpeg") if os.environ.get("CI") == "true" else pytest.skip("needs ffmpeg")
    folder = tmp_path_factory.mktemp("stream")
    sources = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "6"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *codecs, *hls, str(folder / "list.m3u8")], check=True)
    return [(folder / f"{number}.ts").read_bytes() for number in range(COUNT)]


@pytest_twisted.async_yield_fixture
async def bench(segments: list[bytes], tmp_path: Path) -> AsyncIterator[Bench]:
    """An origin with the stream, and the real tools, whose dice make every retry quick."""
    origin = await Origin.start(reactor)
    for number, content in enumerate(segments):
        origin.put(f"/{number}.ts", content, content_type="video/mp2t", last_modified=1_600_000_000.0 + number)
    in_thread, stop_threads = disk_threads(reactor)
    tools, close = make_tools(reactor, in_thread)
    (tmp_path / "save").mkdir()
    yield Bench(origin=origin, tools=tools, save=tmp_path / "save", segments=segments)
    await close()
    stop_threads()
    await origin.stop()


def pictures(path: Path) -> int:
    """How many video packets a file has."""
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def encrypted(plain: bytes, key: bytes, iv: int) -> bytes:
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv.to_bytes(16))).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def sha256(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def muxers() -> list[int]:
    """The muxing children of this process."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if b"m3u8svc.mux" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def cancelled(running: Deferred[Outcome]) -> None:
    """Cancel a run and wait for its end."""
    running.cancel()
    with pytest.raises(CancelledError):
        await running


test = pytest_twisted.ensureDeferred


# -- Playlists -------------------------------------------------------------------------------------------------------


@test
async def test_a_plain_stream_becomes_one_file(bench: Bench) -> None:
    """Every segment is fetched once, the file holds every picture, and clean_up leaves nothing else."""
    job = bench.job(bench.task(bench.put_list(lines())))
    outcome = await job.run()
    assert (str(bench.save / "film.mp4"), ()) == (outcome.output, outcome.warnings)
    assert [1] * COUNT == bench.counts()
    assert 150 == pictures(bench.save / "film.mp4")
    assert outcome.size_bytes == (bench.save / "film.mp4").stat().st_size
    assert list(range(1, COUNT + 1)) == sorted(row.position for row in bench.records.rows)
    await job.clean_up()
    assert ["film.mp4"] == os.listdir(bench.save)


@test
async def test_nested_playlists_and_pages_are_followed(bench: Bench) -> None:
    """A page links to a multivariant playlist, whose best variant is one again."""
    bench.put_list(lines(), path="/deep/best.m3u8", head=["#EXT-X-START:TIME-OFFSET=0"])
    for number in range(COUNT):
        bench.origin.put(f"/deep/{number}.ts", bench.segments[number])
    inner = master_playlist([VariantLine(uri="best.m3u8", bandwidth=9), VariantLine(uri="gone.m3u8", bandwidth=1)])
    outer = master_playlist([VariantLine(uri="deep/inner.m3u8")])
    bench.origin.put("/deep/inner.m3u8", inner.encode())
    bench.origin.put("/outer.m3u8", outer.encode())
    bench.origin.put("/watch", b'<html><video src="/outer.m3u8"></video></html>', content_type="text/html")
    await bench.run("/watch")
    assert 150 == pictures(bench.save / "film.mp4")


@test
async def test_a_list_without_an_end_is_complete_when_it_does_not_change(bench: Bench) -> None:
    """It is read again after a target duration; that it had no end is a warning."""
    outcome = await bench.run(bench.put_list(lines(), **ENDLESS))
    assert ("播放列表没有 EXT-X-ENDLIST，重新读取后未变化，按完整处理",) == outcome.warnings[-1:]
    assert 2 == bench.origin.count("/list.m3u8")


@test
async def test_a_list_that_grows_is_refused(bench: Bench) -> None:
    """A second reading that shows one more segment means live."""
    path = bench.put_list(lines()[:3], **ENDLESS)
    running = Deferred.fromCoroutine(bench.failure(path))
    await until(lambda: any(visit.finished for visit in bench.origin.visits(path)))
    bench.put_list(lines()[:4], **ENDLESS)
    assert "live_unsupported" == (await running).code
    assert [0] * COUNT == bench.counts()


@test
async def test_keys_rotate(bench: Bench, segments: list[bytes]) -> None:
    """Two keys with default IVs and an unencrypted end: the bytes of the unencrypted stream; each key fetched once."""
    plain = await bench.run(bench.put_list(lines()), save_location=str(bench.save / "plain"))
    for number, key in enumerate([*["one.key"] * 2, *["two.key"] * 2]):
        bench.origin.put(f"/locked{number}.ts", encrypted(segments[number], KEYS[key], number))
    for name, key_bytes in KEYS.items():
        bench.origin.put(f"/{name}", key_bytes)
    listed = [SegmentLine(uri=f"locked{number}.ts", duration_s=1.0) for number in range(4)] + lines()[4:]
    for number, key in ((0, KeyLine(uri="one.key")), (2, KeyLine(uri="two.key")), (4, CLEAR)):
        listed[number] = attrs.evolve(listed[number], keys=(key,))
    outcome = await bench.run(bench.put_list(listed))
    assert sha256(plain.output) == sha256(outcome.output)
    assert [1, 1] == [bench.origin.count(f"/{name}") for name in KEYS]


@test
async def test_a_key_that_the_user_gives_is_fetched_from_nowhere(bench: Bench, segments: list[bytes]) -> None:
    """It also opens what is encrypted for a DRM system whose key the user has."""
    key = KEYS["one.key"]
    for number in range(COUNT):
        bench.origin.put(f"/locked{number}.ts", encrypted(segments[number], key, number))
    drm = KeyLine(uri="skd://asset", keyformat="com.apple.streamingkeydelivery")
    path = bench.put_list([SegmentLine(uri=f"locked{number}.ts", duration_s=1.0) for number in range(COUNT)], key=drm)
    outcome = await bench.run(path, extensions=Extensions(key=key.hex()))
    assert 150 == pictures(Path(outcome.output))
    wrong = await bench.failure(path, extensions=Extensions(key="00" * 16))
    assert "decrypt_failed" == wrong.code


NULL_PACKETS = b"".join(bytes([0x47, 0x1F, 0xFF, 0x10 | n % 16]) + b"\xff" * 184 for n in range(200))
"""A whole transport stream without anything in it."""


def spliced() -> list[SegmentLine]:
    """The third segment stands alone between two splices."""
    return [attrs.evolve(line, discontinuity=n in (2, 3)) for n, line in enumerate(lines())]


@test
async def test_a_segment_that_no_film_can_be_made_of_is_fetched_again(bench: Bench, segments: list[bytes]) -> None:
    """Once more by itself, then the task fails by name; the next try fetches that one alone."""
    path = bench.put_list(spliced())
    bench.origin.put("/2.ts", NULL_PACKETS, content_type="video/mp2t")
    error = await bench.failure(path)
    assert "segments_unusable" == error.code and "00003.ts" in error.text("zh")
    assert [1, 1, 2, 1, 1, 1] == bench.counts()
    assert [] == bench.left()
    bench.origin.put("/2.ts", segments[2], content_type="video/mp2t")
    outcome = await bench.run(path)
    assert 150 == pictures(Path(outcome.output))
    assert [1, 1, 3, 1, 1, 1] == bench.counts()


@test
async def test_a_segment_that_no_film_can_be_made_of_is_a_gap_if_the_task_allows(bench: Bench) -> None:
    """Then it is named among the missing, with its time."""
    path = bench.put_list(spliced())
    bench.origin.put("/2.ts", NULL_PACKETS, content_type="video/mp2t")
    outcome = await bench.run(path, extensions=Extensions(allow_gaps=True))
    assert 125 == pictures(Path(outcome.output))
    assert "缺失 1 个分片（1.0 秒）" == outcome.warnings[0]


@test
async def test_a_film_does_not_become_mute(bench: Bench) -> None:
    """A chosen audio rendition of which nothing can be used fails the task, unless it allows gaps."""
    variant = VariantLine(uri="list.m3u8", resolution=(160, 90), codecs="avc1.64001f,mp4a.40.2", audio="a")
    master = master_playlist([variant], renditions=[RenditionLine(group="a", name="Ton", uri="a.m3u8")])
    bench.origin.put("/master.m3u8", master.encode())
    bench.put_list(lines(), "/list.m3u8")
    bench.put_list([SegmentLine(uri="mute.ts", duration_s=6.0)], "/a.m3u8")
    bench.origin.put("/mute.ts", NULL_PACKETS, content_type="video/mp2t")
    error = await bench.failure("/master.m3u8")
    assert error.code in ("segments_unusable", "silent_track")
    outcome = await bench.run("/master.m3u8", extensions=Extensions(allow_gaps=True))
    assert 150 == pictures(Path(outcome.output))


@test
async def test_renditions_are_fetched_beside_the_variant(bench: Bench) -> None:
    """Each under its own track: in the ledger, in the kept directory, in the order of time."""
    variant = VariantLine(uri="list.m3u8", resolution=(160, 90), codecs="avc1.64001f,mp4a.40.2", audio="a")
    master = master_playlist([variant], renditions=[RenditionLine(group="a", name="Ton", uri="a.m3u8", language="de")])
    bench.origin.put("/master.m3u8", master.encode())
    bench.put_list(lines()[:3], "/list.m3u8")
    bench.put_list(lines()[3:5], "/a.m3u8")
    outcome = await bench.run("/master.m3u8", no_merge_ts=True)
    assert {"00001.ts", "00002.ts", "00003.ts", "audio1-00001.ts", "audio1-00002.ts"} == {
        name for name in os.listdir(outcome.output) if name.endswith(".ts")
    }
    assert [1, 1, 1, 1, 1, 0] == bench.counts()
    rows = {(row.track, row.position): row for row in bench.records.rows}
    assert {("main", 1), ("main", 2), ("main", 3), ("audio1", 1), ("audio1", 2)} == set(rows)
    assert hashlib.sha256(bench.segments[3]).hexdigest() == rows["audio1", 1].digest


@test
async def test_subtitles_are_in_the_film_and_beside_it(bench: Bench) -> None:
    """From the playlist to the published files, by the real muxer: an empty segment, one that is packed, one more."""
    variant = VariantLine(uri="list.m3u8", resolution=(160, 90), codecs="avc1.64001f,mp4a.40.2", subtitles="s")
    wanted = RenditionLine(group="s", name="Deutsch", uri="s.m3u8", language="de", type="SUBTITLES")
    bench.origin.put("/master.m3u8", master_playlist([variant], renditions=[wanted]).encode())
    bench.put_list(lines(), "/list.m3u8")
    bench.put_list([SegmentLine(uri=f"{n}.vtt", duration_s=2.0) for n in range(3)], "/s.m3u8")
    bench.origin.put("/0.vtt", b"WEBVTT")
    bench.origin.put("/1.vtt", gzip.compress(b"WEBVTT\n\n00:02.500 --> 00:03.000\nHallo\n"))
    bench.origin.put("/2.vtt", b"\xef\xbb\xbfWEBVTT\r\n\r\n00:05.000 --> 00:05.500\r\nWelt")
    outcome = await bench.run("/master.m3u8", extensions=Extensions(subtitles="all", subtitle_files="vtt,srt"))
    assert ["film.de.srt", "film.de.vtt", "film.mp4"] == bench.left()
    cues = "00:00:02,500 --> 00:00:03,000\nHallo\n\n2\n00:00:05,000 --> 00:00:05,500\nWelt\n"
    assert f"1\n{cues}" == (bench.save / "film.de.srt").read_text()
    with av.open(outcome.output) as film:
        assert ["h264", "aac", "mov_text"] == [stream.codec_context.name for stream in film.streams]
        assert "deu" == film.streams.subtitles[0].language
    assert () == outcome.warnings


@test
async def test_separate_audio_is_refused_by_a_merger_of_one_stream(bench: Bench) -> None:
    """A film whose sound is elsewhere is not downloaded mute."""
    variant = VariantLine(uri="list.m3u8", resolution=(160, 90), codecs="avc1.64001f,mp4a.40.2", audio="a")
    master = master_playlist([variant], renditions=[RenditionLine(group="a", name="Ton", uri="a.m3u8")])
    bench.origin.put("/master.m3u8", master.encode())
    for name in ("/list.m3u8", "/a.m3u8"):
        bench.put_list(lines(), name)
    error = await bench.failure("/master.m3u8", extensions=Extensions(merger="ts"))
    assert "separate_audio_unsupported" == error.code
    assert [0] * COUNT == bench.counts()


# -- Segments that are not there -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tweak", ["status=503&retry_after=0&times=1", "body=html&times=1", "cut=100&times=1"])
@test
async def test_a_bad_answer_is_asked_again(bench: Bench, tweak: str) -> None:
    """One 503, one page instead of media, one broken connection: the segment comes at the second request."""
    await bench.run(bench.put_list(lines(s2=tweak)))
    assert [1, 1, 2, 1, 1, 1] == bench.counts()
    assert 150 == pictures(bench.save / "film.mp4")


@test
async def test_a_missing_segment_fails_the_task(bench: Bench) -> None:
    """404 is not asked again; the error names the segment, and nothing has the final name."""
    error = await bench.failure(bench.put_list(lines(s2="status=404")))
    assert ("http_4xx", 1) == (error.code, bench.counts()[2])
    assert "00003.ts" in error.text("zh") and "404" in error.text("zh")
    assert [] == bench.left()


@test
async def test_allow_gaps_goes_on_without_it(bench: Bench) -> None:
    """The rest is merged, and the warning names what is missing."""
    path = bench.put_list(lines(s2="status=404"))
    outcome = await bench.run(path, extensions=Extensions(allow_gaps=True))
    assert 125 == pictures(bench.save / "film.mp4")
    assert any("00003.ts" in warning for warning in outcome.warnings)


@test
async def test_a_declared_gap_is_reported_not_fetched(bench: Bench) -> None:
    """EXT-X-GAP: not asked for, and named in a warning."""
    listed = lines()
    listed[2] = attrs.evolve(listed[2], gap=True)
    outcome = await bench.run(bench.put_list(listed))
    assert [1, 1, 0, 1, 1, 1] == bench.counts()
    assert "第 3 个分片在播放列表中标为缺失（GAP）" in outcome.warnings


@test
async def test_skipped_segments_leave_the_others_in(bench: Bench) -> None:
    """Segments left out by number do not shorten the end, and stand in the skip list."""
    await bench.run(bench.put_list(lines()), skip_ts_info="1,3-4", log_skipped_ts=True)
    assert [0, 1, 0, 0, 1, 1] == bench.counts()
    assert 75 == pictures(bench.save / "film.mp4")
    assert 3 == (bench.save / "film.mp4_skip.txt").read_text().count("filename=")


@test
async def test_skipping_by_status_merges_only_when_told_to(bench: Bench) -> None:
    """`if-http.code-merge_ts` makes the file, with a list of what is not in it."""
    path = bench.put_list(lines(s2="status=404"))
    rules = "http.code=404,if-http.code-merge_ts"
    await bench.run(path, skip_ts_info=rules, log_skipped_ts=True)
    assert 125 == pictures(bench.save / "film.mp4")
    text = (bench.save / "film.mp4_skip.txt").read_text()
    assert f"skipByHttpCode\nfilename=00003.ts,url={bench.origin.base}/2.ts?…，http.code=404\n" == text


@test
async def test_skipping_by_status_keeps_segments_for_the_user(bench: Bench) -> None:
    """Without the flag the task fails with its segments kept; when they are all there later they are completed."""
    path = bench.put_list(lines(s2="status=404&times=1"))
    task = bench.task(path, skip_ts_info="http.code=404", log_skipped_ts=True, keep_ts_files=True)
    with pytest.raises(M3u8svcError) as caught:
        await bench.job(task).run()
    assert "skipped_by_status" == caught.value.code
    assert ["film"] == bench.left()
    assert "file 00003.ts\n" not in (bench.save / "film" / "filelist.txt").read_text()
    (bench.save / "film" / "merged by me.mp4").write_bytes(b"mine")
    await bench.job(task).run()
    assert ["film", "film.mp4"] == bench.left()  # and no skip list: it would lie
    assert COUNT == (bench.save / "film" / "filelist.txt").read_text().count("file 0000")
    assert COUNT + 3 == len(os.listdir(bench.save / "film"))


# -- Interruptions ---------------------------------------------------------------------------------------------------


@test
async def test_a_cancelled_run_leaves_only_finished_segments(bench: Bench) -> None:
    """No part, no hidden file, no child; the next run fetches only the rest and makes the same bytes."""
    whole = await bench.run(bench.put_list(lines()), save_location=str(bench.save / "undisturbed"))
    slow = bench.put_list(lines(s3="hang=body&times=1", s4="hang=body&times=1", s5="hang=body&times=1"))
    task = bench.task(slow, save_location=str(bench.save / "disturbed"))
    running = Deferred.fromCoroutine(bench.job(task).run())
    work = work_path(task)
    await until(lambda: work.is_dir() and 3 == sum(name.endswith(".new") for name in os.listdir(work)) and muxers())
    await until(lambda: [2] * COUNT == bench.counts())
    await cancelled(running)
    there = {name.partition("-")[0] for name in os.listdir(work)}
    assert {"boot", "playlists.z", "00000001", "00000002", "00000003"} == there
    assert [] == [name for name in os.listdir(work) if name.endswith(".part")]
    assert [".m3u8svc"] == os.listdir(bench.save / "disturbed")
    assert [] == muxers()
    outcome = await bench.job(task).run()
    assert [2, 2, 2, 3, 3, 3] == bench.counts()
    assert sha256(whole.output) == sha256(outcome.output)


@test
async def test_a_new_token_changes_nothing(bench: Bench) -> None:
    """The same list with other queries: everything that is there is used."""
    path = bench.put_list(lines(s5="status=404&delay=0.3"))
    await bench.failure(path)
    bench.put_list([attrs.evolve(line, uri=f"{line.uri}token=new") for line in lines()])
    await bench.run(path)
    assert [1, 1, 1, 1, 1, 2] == bench.counts()


@test
async def test_a_list_that_was_cut_anew_is_fetched_anew(bench: Bench) -> None:
    """Other pieces at the same places: none of the old ones gets into the file."""
    path = bench.put_list(lines(s5="status=404&delay=0.3"))
    await bench.failure(path)
    bench.put_list(lines()[2:])
    await bench.run(path)
    assert [1, 1, 2, 2, 2, 2] == bench.counts()
    assert 100 == pictures(bench.save / "film.mp4")


@test
async def test_a_published_file_is_found_not_made_again(bench: Bench) -> None:
    """Ended after the rename and before anybody knew: the next run asks nobody and adds no file."""
    (bench.save / "film.mp4").write_bytes(b"somebody else's")
    path = bench.put_list(lines())
    first = await bench.run(path)
    assert str(bench.save / "film_0001.mp4") == first.output
    (bench.save / "film.mp4").unlink()  # so that its name is free again
    again = await bench.run(path, output_id=bench.records.output_id)
    assert first.output == again.output
    assert ["film_0001.mp4"] == bench.left()
    assert [1] * COUNT == bench.counts()


@test
async def test_ended_just_before_the_rename(bench: Bench) -> None:
    """The identity is on record and the name is not taken: the file is made again, from the segments that are there."""

    def die() -> None:
        raise RuntimeError("killed here")

    path = bench.put_list(lines())
    bench.records.on_staged = die
    with pytest.raises(RuntimeError):
        await bench.run(path)
    assert [".task1.part.mp4"] == bench.left()
    before = sha256(bench.save / ".task1.part.mp4")
    bench.records.on_staged = lambda: None
    outcome = await bench.run(path, output_id=bench.records.output_id)
    assert before == sha256(outcome.output)
    assert ["film.mp4"] == bench.left()
    assert [1] * COUNT == bench.counts()


@test
async def test_a_file_of_the_same_name_is_not_replaced(bench: Bench) -> None:
    """Somebody else's film stays as it is; ours gets a number."""
    (bench.save / "film.mp4").write_bytes(b"somebody else's")
    outcome = await bench.run(bench.put_list(lines()))
    assert (str(bench.save / "film_0001.mp4"), b"somebody else's") == (
        outcome.output,
        (bench.save / "film.mp4").read_bytes(),
    )


@test
async def test_remove_output_takes_only_what_we_made(bench: Bench) -> None:
    """A published file goes, also when nobody recorded it yet; one that somebody replaced stays."""
    path = bench.put_list(lines())
    await bench.run(path)
    replaced = bench.task(path, output_id="1:2:3:4")
    await bench.job(attrs.evolve(replaced, output=str(bench.save / "film.mp4"))).remove_output()
    assert ["film.mp4"] == bench.left()
    await bench.job(bench.task(path, output_id=bench.records.output_id)).remove_output()
    assert [] == bench.left()


# -- Places ----------------------------------------------------------------------------------------------------------


@test
async def test_a_full_disk_is_said_to_be_full(bench: Bench, segments: list[bytes]) -> None:
    """Room for some segments: disk_full, the finished ones stay; with room again the rest is enough."""
    size = sum(len(segment) for segment in segments)
    with memory_disk(bench.save / "small", str(size // 2)) as place:
        path = bench.put_list(lines())
        error = await bench.failure(path, save_location=str(place), debug_log=True, download_threads=1)
        assert "disk_full" == error.code
        before = bench.counts()
        subprocess.run(["mount", "-o", f"remount,size={4 * size}", str(place)], check=True)
        outcome = await bench.run(path, save_location=str(place), download_threads=1)
        assert 150 == pictures(Path(outcome.output))
        assert COUNT + 1 >= sum(bench.counts()) > sum(before)


@test
async def test_a_save_directory_that_is_a_file(bench: Bench) -> None:
    """It is said before anything is fetched, naming the path; and the task can be discarded."""
    place = bench.save / "a file"
    place.write_text("in the way")
    task = bench.task(bench.put_list(lines()), save_location=str(place))
    with pytest.raises(M3u8svcError) as caught:
        await bench.job(task).run()
    assert "disk_error" == caught.value.code and str(place) in caught.value.text("zh")
    assert [] == bench.origin.visits()
    await bench.job(task).discard()
    assert "in the way" == place.read_text()


@pytest.mark.parametrize("in_the_way", [False, True])
@test
async def test_work_elsewhere(bench: Bench, in_the_way: bool) -> None:
    """With a temp_directory the save directory is made too; one that cannot be is said before anything is fetched."""
    place = bench.save / "new" / "place"
    if in_the_way:
        place.parent.write_text("in the way")
    task = bench.task(bench.put_list(lines()), save_location=str(place), temp_directory=str(bench.save / "temp"))
    job = bench.job(task)
    if in_the_way:
        with pytest.raises(M3u8svcError) as caught:
            await job.run()
        assert ("disk_error", []) == (caught.value.code, bench.origin.visits())
        await job.discard()
    else:
        await job.run()
        await job.clean_up()
        assert ["film.mp4"] == os.listdir(place)
    assert [] == os.listdir(bench.save / "temp")


@test
async def test_kept_segments_and_server_time(bench: Bench, segments: list[bytes]) -> None:
    """The segments beside the file are the origin's bytes, and the file has the time of the first."""
    outcome = await bench.run(bench.put_list(lines()), keep_ts_files=True, use_server_file_time=True)
    assert 1_600_000_000 == os.stat(outcome.output).st_mtime
    assert segments == [(bench.save / "film" / f"{n:05d}.ts").read_bytes() for n in range(1, COUNT + 1)]


@test
async def test_no_merge_ends_with_the_segments(bench: Bench) -> None:
    """The result is the directory, found again by a later run."""
    path = bench.put_list(lines())
    outcome = await bench.run(path, no_merge_ts=True)
    again = await bench.run(path, no_merge_ts=True)
    assert str(bench.save / "film") == outcome.output == again.output
    assert outcome.size_bytes == again.size_bytes == sum(map(len, bench.segments))
    assert [1] * COUNT == bench.counts()


@test
async def test_a_debug_log_without_a_place_is_no_failure(bench: Bench) -> None:
    """The log counts least: neither does it fail a task, nor does it hide why one failed."""
    (bench.save / ".task1.debug.part").mkdir()
    path = bench.put_list(lines(s2="status=404&times=1"))
    assert "http_4xx" == (await bench.failure(path, debug_log=True)).code
    assert str(bench.save / "film.mp4") == (await bench.run(path, debug_log=True)).output


@test
async def test_a_recovered_file_still_says_what_is_missing(bench: Bench) -> None:
    """Published with a hole and not recorded: the next run finds the file and knows the hole."""
    path = bench.put_list(lines(s2="status=404"))
    first = await bench.run(path, extensions=Extensions(allow_gaps=True))
    assert any("00003.ts" in warning for warning in first.warnings)
    assert first.warnings == bench.records.warnings
    again = attrs.evolve(bench.task(path, output_id=bench.records.output_id), warnings=bench.records.warnings)
    assert first == await bench.job(again).run()


@test
async def test_a_stopped_run_is_on_the_disk(bench: Bench) -> None:
    """Paused or failed: what is whole has its durable name, not only in this boot of the machine."""
    path = bench.put_list(lines(s5="status=404"))
    assert isinstance(await bench.failure(path, download_threads=1), SegmentFailed)
    names = os.listdir(work_path(bench.task(path)))
    assert 5 == sum(name.endswith(".ts") for name in names)
    rows = {row.position for row in bench.records.rows}
    assert {1, 2, 3, 4, 5} == rows


@test
async def test_a_skip_list_from_another_file_system(bench: Bench, tmp_path: Path) -> None:
    """The work directory may be anywhere: the list is copied beside the result."""
    elsewhere = Path("/dev/shm") / f"m3u8svc-{os.getpid()}"
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.fail("needs /dev/shm") if os.environ.get("CI") == "true" else pytest.skip("needs /dev/shm")
    elsewhere.mkdir()
    try:
        path = bench.put_list(lines())
        await bench.run(path, skip_ts_info="2", log_skipped_ts=True, temp_directory=str(elsewhere))
    finally:
        shutil.rmtree(elsewhere)
    assert ["film.mp4", "film.mp4_skip.txt"] == bench.left()
    assert "filename=00002.ts" in (bench.save / "film.mp4_skip.txt").read_text()


@test
async def test_removing_kept_segments_leaves_what_the_user_put_there(bench: Bench) -> None:
    """The segments go; a file somebody put beside them stays, with the directory."""
    path = bench.put_list(lines())
    outcome = await bench.run(path, no_merge_ts=True)
    (Path(outcome.output) / "my subtitles.srt").write_text("mine")
    await bench.job(bench.task(path, no_merge_ts=True)).remove_output()
    assert ["my subtitles.srt"] == os.listdir(outcome.output)


@test
@pytest.mark.parametrize(
    ("expression", "tweak", "said"),
    [
        ("2,4-5", "", "按设置跳过了 3 个分片：2、4-5"),
        ("99", "", "跳过表达式没有匹配任何分片：99"),
        ("http.code=404,if-http.code-merge_ts", "status=404", "按 http.code 跳过了 1 个分片：3"),
    ],
)
async def test_what_was_left_out_is_named(bench: Bench, expression: str, tweak: str, said: str) -> None:
    """Nothing is skipped in silence, and an expression that does nothing says so."""
    path = bench.put_list(lines(s2=tweak) if tweak else lines())
    outcome = await bench.run(path, skip_ts_info=expression)
    assert said in outcome.warnings


@test
async def test_holes_stand_in_the_skip_list(bench: Bench) -> None:
    """With allow_gaps the list names what could not be had, and why."""
    path = bench.put_list(lines(s2="status=404"))
    await bench.run(path, extensions=Extensions(allow_gaps=True), log_skipped_ts=True)
    listed = (bench.save / "film.mp4_skip.txt").read_text()
    assert "skipByFailure\nfilename=00003.ts,reason=" in listed and "404" in listed


@test
async def test_what_was_left_out_is_named_in_order(bench: Bench) -> None:
    """Not in that of the answers."""
    path = bench.put_list(lines(s1="status=404&delay=0.5", s4="status=404"))
    outcome = await bench.run(path, skip_ts_info="http.code=404,if-http.code-merge_ts", log_skipped_ts=True)
    assert "按 http.code 跳过了 2 个分片：2、5" in outcome.warnings
    _, first, second = (bench.save / "film.mp4_skip.txt").read_text().splitlines()
    assert first.startswith("filename=00002.ts,") and second.startswith("filename=00005.ts,")


@test
async def test_fragments_without_an_init_section_are_no_film(bench: Bench) -> None:
    """An fMP4 segment among TS ones, and nothing that says how to read it: the task fails and names it."""
    box = b"\x00\x00\x00\x10moof" + bytes(8) + b"\x00\x00\x00\x10mdat" + bytes(8)
    bench.origin.put("/x.m4s", box, content_type="video/mp4")
    mixed = [*lines()[:2], SegmentLine(uri="x.m4s", duration_s=1.0), *lines()[3:]]
    error = await bench.failure(bench.put_list(mixed))
    assert isinstance(error, SegmentFailed) and "第 3 个分片缺少初始化段" in error.text("zh")


# -- Looking into segments -------------------------------------------------------------------------------------------


class Looking:
    """A plugin that asks every group for its signature, twice, and skips what it is told to."""

    def __init__(self, drop: int | None = None) -> None:
        self.drop = drop
        self.seen: list[tuple[int, tuple[int, ...], Any]] = []

    @hookimpl
    async def skip_segments(self, groups: tuple[SegmentGroup, ...]) -> list[Skip]:
        for group in groups:
            signature = await group.signature()
            assert signature == await group.signature()
            self.seen.append((group.discontinuity_sequence, group.positions, signature))
        dropped = [group for group in groups if group.discontinuity_sequence == self.drop]
        return [Skip(position=position, reason="advert") for group in dropped for position in group.positions]


async def with_plugin(bench: Bench, plugin: object) -> None:
    """Load it into the bench's tools."""
    nothing: Any = None  # it is not configured
    candidates = [Candidate(name="looking", load=lambda: plugin)]
    await load_plugins(bench.tools.plugins, candidates, services_for=lambda name: nothing)


@test
async def test_a_segment_that_was_looked_into_is_not_fetched_again(bench: Bench) -> None:
    """One segment of each group is fetched early, by the normal way, and is part of the film all the same."""
    plugin = Looking()
    await with_plugin(bench, plugin)
    spliced = [attrs.evolve(line, discontinuity=number == 3) for number, line in enumerate(lines())]
    outcome = await bench.run(bench.put_list(spliced))
    assert ([1] * COUNT, 150) == (bench.counts(), pictures(Path(outcome.output)))
    (_, first, one), (_, second, other) = plugin.seen
    assert ((1, 2, 3), (4, 5, 6)) == (first, second)
    assert one == other and one.video.startswith("h264:")


@test
async def test_a_segment_that_was_looked_into_and_skipped(bench: Bench) -> None:
    """It is not in the film, and the task says why."""
    await with_plugin(bench, Looking(drop=1))
    spliced = [attrs.evolve(line, discontinuity=number == 3) for number, line in enumerate(lines())]
    outcome = await bench.run(bench.put_list(spliced))
    assert "插件 looking 跳过了 3 个分片：4-6（advert）" in outcome.warnings
    assert [1, 1, 1, 1, 0, 0] == bench.counts()


@test
async def test_a_signature_that_cannot_be_had(bench: Bench) -> None:
    """The plugin gets the error; the task goes on as if it had said nothing, and says that."""
    await with_plugin(bench, Looking())
    outcome = await bench.run(bench.put_list(lines(s0="status=404&times=1")))
    assert any("looking" in warning and "skip_segments" in warning for warning in outcome.warnings)


@test
async def test_a_key_from_a_plugin(bench: Bench) -> None:
    """It is asked once per key, and the origin not at all."""
    asked: list[str] = []

    class Keys:
        @hookimpl
        def provide_key(self, key: Key) -> bytes:
            asked.append(key.uri)
            return KEYS["one.key"]

    await with_plugin(bench, Keys())
    locked = lines()
    locked[0] = attrs.evolve(locked[0], keys=(KeyLine(uri="nowhere.key"),))
    for number, content in enumerate(bench.segments):
        bench.origin.put(f"/{number}.ts", encrypted(content, KEYS["one.key"], number), content_type="video/mp2t")
    await bench.run(bench.put_list(locked))
    assert 1 == len(asked)
    assert 0 == bench.origin.count("/nowhere.key")


@test
async def test_plugins_hear_of_every_segment(bench: Bench) -> None:
    """Done, skipped by its status, or lost."""
    heard: dict[int, tuple[str, int]] = {}

    class Hearing:
        @hookimpl
        def segment_finished(self, segment: Segment, outcome: SegmentOutcome) -> None:
            heard[segment.position] = (outcome.kind, outcome.attempts)

    await with_plugin(bench, Hearing())
    path = bench.put_list(lines(s1="status=404", s2="status=503&times=1", s3="status=410"))
    task = bench.task(path, skip_ts_info="http.code=404,if-http.code-merge_ts", extensions=Extensions(allow_gaps=True))
    await bench.job(task).run()
    assert {1: ("done", 1), 2: ("skipped", 1), 3: ("done", 2), 4: ("lost", 1), 5: ("done", 1), 6: ("done", 1)} == heard
