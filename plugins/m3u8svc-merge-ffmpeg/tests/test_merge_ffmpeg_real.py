"""
The real program, fed with real media: what comes out is what went in.
"""

import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from m3u8svc_merge_ffmpeg.program import Program
from twisted.internet import reactor  # noqa: TID251  # a test names it
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from m3u8svc.plugin import DiskFull, Gap, MediaFile, MergeError

Arriving = Callable[[Any], Any]


def nothing(parts_done: int) -> None:
    """No interest in progress."""


def pause(seconds: float) -> "Deferred[None]":
    """Let the reactor run."""
    return deferLater(reactor, seconds, lambda: None)


def children() -> list[int]:
    """Processes started by this one that are still there."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return [int(word) for word in listed.split()]


def numbered(*groups: list[MediaFile]) -> list[MediaFile]:
    """Groups one after the other, each a splice of its own."""
    parts = [attrs.evolve(part, discontinuity_sequence=at) for at, group in enumerate(groups) for part in group]
    return [attrs.evolve(part, position=number) for number, part in enumerate(parts, 1)]


async def merged(bench: Any, arriving: Arriving, parts: list[Any], expected_s: float = 0.0, **options: Any) -> Any:
    """Merge `parts` into a file with the format's extension; (path, result)."""
    merger = bench.merger()
    job = bench.job(expected_s, **options)
    target = bench.place / f".t1.part{merger.extension(job.task)}"
    result = await merger.merge(attrs.evolve(job, target=target), arriving(parts), nothing)
    assert target.stat().st_size == result.size_bytes
    assert [] == children()
    return target, result


# -- Formats ---------------------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("source", ["ts", "fmp4"])
async def test_copy_keeps_every_packet(
    bench: Any, streams: Any, look: Any, arriving: Arriving, source: str, name: str
) -> None:
    """Every packet of the segments is in the result, which decodes and lasts as long as the playlist says."""
    parts = getattr(streams, source)()
    target, result = await merged(bench, arriving, parts, 8.0, format=name)
    assert {"video": 200, "audio": 376} == look.packets(target)
    assert "" == look.complaints(target)
    assert pytest.approx(8.0, abs=0.1) == result.duration_s
    assert () == result.warnings


@pytest_twisted.ensureDeferred
async def test_m4a_holds_the_sound_alone(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """m4a copies the AAC of a stream and leaves its pictures out."""
    target, _ = await merged(bench, arriving, streams.ts(), 8.0, format="m4a")
    assert {"audio": 376} == look.packets(target)
    assert "" == look.complaints(target)


@pytest_twisted.ensureDeferred
async def test_mp3_is_encoded(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """mp3 of an AAC stream needs a preset, and decodes."""
    target, result = await merged(bench, arriving, streams.ts(), 8.0, format="mp3", preset="audio-mp3-192")
    assert "" == look.complaints(target)
    assert pytest.approx(8.0, abs=0.2) == result.duration_s


@pytest_twisted.ensureDeferred
async def test_reencoding_makes_it_smaller(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """A preset encodes anew, with the arguments of the request over its own."""
    target, result = await merged(
        bench, arriving, streams.ts(), 8.0, format="mp4", preset="h264-small", args=["-crf", "40", "-b:a", "64k"]
    )
    assert 200 == look.packets(target)["video"]
    assert "" == look.complaints(target)
    assert result.size_bytes < sum(part.size_bytes for part in streams.ts()) / 2


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("kind", "codec"), [("aac", ""), ("mp3", ""), ("ac3", ""), ("ac3", "eac3")])
async def test_packed_audio_loses_its_tags_only(
    bench: Any, streams: Any, look: Any, arriving: Arriving, kind: str, codec: str
) -> None:
    """Packed audio is copied frame by frame, the ID3 tags between segments left out."""
    target, result = await merged(bench, arriving, streams.packed(kind, codec=codec), 8.0, format="mkv")
    assert "" == look.complaints(target)
    assert pytest.approx(8.0, abs=0.1) == result.duration_s


@pytest_twisted.ensureDeferred
async def test_title_and_time_are_inside(bench: Any, streams: Any, arriving: Arriving) -> None:
    """Metadata of the request and the server's time are written as they are."""
    target, _ = await merged(
        bench, arriving, streams.ts(), 8.0, format="mp4", args=["-metadata", "title=A: 'b' = \"c\""], file_time=86400.0
    )
    seen = subprocess.run(["ffprobe", "-v", "error", "-show_format", str(target)], capture_output=True).stdout.decode()
    assert "TAG:title=A: 'b' = \"c\"" in seen
    assert "TAG:creation_time=1970-01-02T00:00:00.000000Z" in seen


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("options", [{}, {"format": "mp4", "faststart": True}, {"preset": "h264-small"}])
async def test_a_replay_is_byte_identical(bench: Any, streams: Any, arriving: Arriving, options: Any) -> None:
    """The same parts give the same bytes: nothing in the file comes from the clock or from chance."""
    first, _ = await merged(bench, arriving, streams.ts(), 8.0, **options)
    before = first.read_bytes()
    again, _ = await merged(bench, arriving, streams.ts(), 8.0, **options)
    assert before == again.read_bytes()


# -- Splices and gaps ------------------------------------------------------------------------------------------------


def steps(times: list[float]) -> list[float]:
    """Distances between pictures that are not one picture long, rounded."""
    return [round(b - a, 2) for a, b in zip(times, times[1:], strict=False) if not 0.03 < b - a < 0.05]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("format", ["mkv", "mp4"])
@pytest.mark.parametrize("starts", [(0, 0, 0), (100, 0, 5000), (0, 95440, 0)])
async def test_splices_are_joined(
    bench: Any, streams: Any, look: Any, arriving: Arriving, format: str, starts: Any
) -> None:
    """Clocks set anew, back, ahead or about to wrap: one runs on from the other, no picture lost, none overlapping."""
    parts = numbered(*(streams.ts(4, start_s=start) for start in starts))
    target, result = await merged(bench, arriving, parts, 12.0, format=format)
    per_run = look.packets(streams.ts(4)[0].path)["audio"] + look.packets(streams.ts(4)[1].path)["audio"]
    assert {"video": 300, "audio": 3 * per_run} == look.packets(target)
    assert pytest.approx(12.0, abs=0.2) == result.duration_s
    assert all(step < 0.1 for step in steps(look.times(target)))
    sound = look.times(target, "a:0")
    distances = [b - a for a, b in zip(sound, sound[1:], strict=False)]
    assert 0.02 <= min(distances) and max(distances) < 0.1
    assert () == result.warnings


@pytest_twisted.ensureDeferred
async def test_an_unannounced_jump_is_joined_and_named(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """A clock that jumps without a tag is joined too, and the segment is in the warnings."""
    parts = [
        attrs.evolve(part, discontinuity_sequence=0) for part in numbered(streams.ts(4), streams.ts(4, start_s=90))
    ]
    target, result = await merged(bench, arriving, parts, 8.0)
    assert 200 == look.packets(target)["video"]
    assert pytest.approx(8.0, abs=0.2) == result.duration_s
    assert ("第 3 个分片的时间戳跳变，已接在前一分片之后",) == result.warnings


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("lost", [1, 6])
@pytest.mark.parametrize("keep", [True, False])
async def test_gaps_are_kept_or_closed(
    bench: Any, streams: Any, look: Any, arriving: Arriving, lost: int, keep: bool
) -> None:
    """The time of segments given up stays empty however long (2 s, 12 s); what follows a skipped one moves up."""
    parts: list[Any] = list(streams.ts(20))
    for index in range(2, 2 + lost):
        parts[index] = Gap(position=index + 1, duration_s=2.0, keep=keep)
    expected = 20.0 if keep else 20.0 - 2 * lost
    target, result = await merged(bench, arriving, parts, expected)
    assert pytest.approx(expected, abs=0.2) == result.duration_s
    holes = [step for step in steps(look.times(target)) if step > 0.2]
    assert ([pytest.approx(2 * lost, abs=0.2)] if keep else []) == holes
    assert () == result.warnings


@pytest_twisted.ensureDeferred
async def test_a_gap_in_fmp4_keeps_its_time(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """fMP4 runs on with its own clock; a skipped segment leaves a hole there, and a warning says so."""
    parts: list[Any] = list(streams.fmp4())
    parts[1] = Gap(position=2, duration_s=2.0, keep=False)
    target, result = await merged(bench, arriving, parts, 6.0)
    assert pytest.approx(8.0, abs=0.1) == result.duration_s
    assert "第 2 个分片被略去" in result.warnings[0]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda s: numbered(s.ts(4), s.ts(4, pid=300)), "第 3 个分片的节目表（PMT）不同"),
        (lambda s: numbered(s.fmp4(4), s.fmp4(4, size="640x360")), "第 3 个分片的初始化段不同"),
        (lambda s: numbered(s.fmp4(4), s.fmp4(4)), "第 3 个分片处有拼接"),
        (lambda s: numbered(s.ts(4), s.fmp4(4)), "第 3 个分片是 fmp4，之前是 ts"),
        (lambda s: numbered(s.packed("aac", 4), s.packed("mp3", 4)), "个分片是 mp3，之前是 aac"),
        (lambda s: [attrs.evolve(s.ts(4)[0], kind="vtt")], "不能合并字幕"),
        (lambda s: [attrs.evolve(s.fmp4(4)[0], init=None)], "第 1 个分片缺少初始化段"),
        (lambda s: [Gap(position=1, duration_s=2.0)], "没有可用的音视频"),
    ],
)
async def test_what_one_pipe_cannot_carry_is_refused(
    bench: Any, streams: Any, arriving: Arriving, make: Any, text: str
) -> None:
    """Streams that would silently lose something are refused with the segment named, and nothing is left."""
    with pytest.raises(MergeError) as caught:
        await merged(bench, arriving, make(streams), 8.0)
    assert text in caught.value.text()
    assert not list(bench.place.iterdir())
    assert [] == children()


@pytest_twisted.ensureDeferred
async def test_other_sizes_after_a_splice_still_decode(bench: Any, streams: Any, look: Any, arriving: Arriving) -> None:
    """A splice with another picture size keeps all pictures."""
    parts = numbered(streams.ts(4), streams.ts(4, size="640x360"), streams.ts(4))
    target, _ = await merged(bench, arriving, parts, 12.0)
    assert 300 == look.packets(target)["video"]


# -- Ends ------------------------------------------------------------------------------------------------------------


class Stalling:
    """Parts that stop coming after some; `asked` fires when the next one is waited for."""

    def __init__(self, parts: list[MediaFile]) -> None:
        self._parts = parts
        self.stalled: Deferred[None] = Deferred()
        self.closed = False

    async def __call__(self) -> Any:
        try:
            for part in self._parts:
                yield part
            self.stalled.callback(None)
            await Deferred()
        finally:
            self.closed = True


@pytest_twisted.ensureDeferred
async def test_cancelling_leaves_nothing(bench: Any, streams: Any) -> None:
    """A pause ends the process, closes the parts and removes the file before it goes on."""
    parts = Stalling(streams.ts()[:3])
    running = Deferred.fromCoroutine(bench.merger().merge(bench.job(), parts(), nothing))
    await parts.stalled
    await pause(0.3)
    assert 1 == len(children())
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert [] == children()
    assert parts.closed
    assert not list(bench.place.iterdir())


@pytest_twisted.ensureDeferred
async def test_a_killed_child_is_an_error_at_once(bench: Any, streams: Any) -> None:
    """A process that dies while the download is still going fails the merge then, with the signal named."""
    parts = Stalling(streams.ts()[:2])
    running = Deferred.fromCoroutine(bench.merger().merge(bench.job(), parts(), nothing))
    await parts.stalled
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(MergeError) as caught:
        await running
    assert "合并失败：ffmpeg 被信号 SIGKILL 终止，位置：第 2 个分片" == caught.value.text()
    assert caught.value.text("en").endswith("ffmpeg was ended by SIGKILL at segment 2")
    assert parts.closed
    assert not list(bench.place.iterdir())


@pytest_twisted.ensureDeferred
async def test_nonsense_is_an_error_in_ffmpegs_words(bench: Any, streams: Any, arriving: Arriving) -> None:
    """A copy into mp3 of what is no MP3 says what ffmpeg said, without the path and on one line."""
    with pytest.raises(MergeError) as caught:
        await merged(bench, arriving, streams.ts(), 8.0, format="mp3")
    text = caught.value.text()
    assert "ffmpeg 退出状态 1" in text
    assert "mp3" in text
    assert str(bench.place) not in text
    assert "\n" not in text
    assert not list(bench.place.iterdir())


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_said_clearly(
    bench: Any, streams: Any, arriving: Arriving, tmp_path: Path, full_disk: Path
) -> None:
    """ENOSPC is named as such, and the half file is gone."""
    merger = bench.merger()
    job = bench.job(8.0, target=full_disk / ".t1.part.mkv")
    with pytest.raises(DiskFull) as caught:
        await merger.merge(job, arriving(streams.ts()), nothing)
    assert ("disk_full", f"磁盘空间不足：{full_disk}") == (caught.value.code, caught.value.text())
    assert not list(full_disk.iterdir())


@pytest_twisted.ensureDeferred
async def test_one_child_at_a_time(bench: Any, streams: Any, arriving: Arriving) -> None:
    """With max_children 1 a second merge waits for the first to end, and takes its parts only then."""
    merger = bench.merger(max_children=1)
    first = Stalling(streams.ts()[:2])
    running = Deferred.fromCoroutine(merger.merge(bench.job(), first(), nothing))
    await first.stalled
    seen: list[int] = []
    second = Deferred.fromCoroutine(
        merger.merge(bench.job(target=bench.place / "b.mkv"), arriving(streams.ts()), seen.append)
    )
    await pause(0.3)
    assert [] == seen
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    await second
    assert [1, 2, 3, 4] == seen


@pytest_twisted.ensureDeferred
async def test_a_program_that_hangs_is_ended(bench: Any, streams: Any, arriving: Arriving, tmp_path: Path) -> None:
    """A program that neither reads nor speaks is killed after the silence allowed."""
    hanging = tmp_path / "ffmpeg"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)
    program = Program(ffmpeg=str(hanging), ffprobe="", version="9", encoders=frozenset())
    merger = bench.merger(program, silence_s=5, presets=["copy"])
    big = tmp_path / "big.ts"
    big.write_bytes(streams.ts()[0].path.read_bytes() * 20)
    taken: list[int] = []
    with pytest.raises(MergeError) as caught:
        await merger.merge(bench.job(), arriving([attrs.evolve(streams.ts()[0], path=big)] * 20), taken.append)
    assert [] == taken  # nobody reads, so nothing more is read into memory
    assert "ffmpeg 没有反应，已被终止" in caught.value.text()
    assert [] == children()


@pytest_twisted.ensureDeferred
async def test_a_duration_that_is_not_the_playlists_is_said(bench: Any, streams: Any, arriving: Arriving) -> None:
    """A result much shorter than expected is a warning with both numbers."""
    _, result = await merged(bench, arriving, streams.ts(), 20.0)
    assert ("合并结果时长 8.0 秒，播放列表为 20.0 秒",) == result.warnings
    assert ["the result lasts 8.0 s, the playlist says 20.0 s"] == [each.en for each in result.warnings]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("folder", ["a b", "-i", "100%d", 'it\'s "q"', "http:x", "电影"])
async def test_any_directory_will_do(bench: Any, streams: Any, arriving: Arriving, tmp_path: Path, folder: str) -> None:
    """The target's path is a path to ffmpeg, whatever is in it."""
    target = tmp_path / folder / ".t1.part.mkv"
    target.parent.mkdir()
    result = await bench.merger().merge(bench.job(8.0, target=target), arriving(streams.ts()), nothing)
    assert target.stat().st_size == result.size_bytes
    assert [target] == list(target.parent.iterdir())


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("source", ["ts", "fmp4"])
async def test_damaged_segments_end_one_way_or_the_other(
    bench: Any, streams: Any, arriving: Arriving, tmp_path: Path, source: str, seed: int
) -> None:
    """Flipped, cut and foreign bytes make a file or an error, soon, and leave no process and no half file."""
    chance = random.Random(seed)
    parts = list(getattr(streams, source)())
    body = bytearray(parts[1].path.read_bytes())
    for _ in range(10 ** (seed % 4)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    if seed % 2:
        del body[chance.randrange(len(body)) :]
    bad = tmp_path / "bad"
    bad.write_bytes(body)
    parts[1] = attrs.evolve(parts[1], path=bad)
    try:
        result = await bench.merger().merge(bench.job(8.0), arriving(parts), nothing)
        assert bench.target.stat().st_size == result.size_bytes
    except MergeError:
        assert not bench.target.exists()
    assert [] == children()
