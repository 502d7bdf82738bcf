"""
The muxing child as the service sees it: fed as parts come, replayed after a death, gone after a cancel.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from m3u8svc.builtin.mp4 import Mp4Plugin
from m3u8svc.builtin.ts import TsMerger, TsPlugin
from m3u8svc.errors import DiskError, DiskFull, MergeError, MergerDied, NoMedia, ReadOnlyDisk
from m3u8svc.merge import DEATHS, WINDOW, Child, Died, Muxing, Script
from m3u8svc.offerings import Companion, Gap, MediaFile, MergeJob, Part, TrackInfo
from m3u8svc.tasks.task import Task, TaskSpec
from m3u8svc.wording import in_english
from tests.needs import memory_disk

TASK = Task(id="task1", spec=TaskSpec(url="http://origin.invalid/list.m3u8", filename="film"))


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A short real stream: 6 TS segments of 1 s."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("needs ffmpeg") if os.environ.get("CI") == "true" else pytest.skip("needs ffmpeg")
    folder = tmp_path_factory.mktemp("stream")
    sources = ["-f", "lavfi", "-i", "testsrc2=s=160x90:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "6"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
    hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *codecs, *hls, str(folder / "list.m3u8")], check=True)
    return tuple(sorted(folder.glob("*.ts")))


@pytest.fixture
def muxing() -> Muxing:
    """The real thing."""
    return Muxing(reactor=reactor, in_thread=deferToThread)


@pytest.fixture
def job(tmp_path: Path) -> MergeJob:
    """A job with a target of its own."""
    return MergeJob(task=TASK, target=tmp_path / ".hidden.part.mp4")


def media(segments: tuple[Path, ...]) -> list[Part]:
    """The segments as parts."""
    return [MediaFile(position=n, path=path, kind="ts", duration_s=1.0) for n, path in enumerate(segments, 1)]


async def feed(parts: list[Part], *, before: dict[int, Callable[[], Any]] | None = None) -> AsyncIterator[Part]:
    """The parts one by one; `before` maps an index to what is awaited before it is given."""
    for index, part in enumerate(parts):
        if before and index in before:
            waiting = before[index]()
            if waiting is not None:
                await waiting
        yield part


def pause(seconds: float = 0.05) -> Deferred[None]:
    """A real pause."""
    return deferLater(reactor, seconds, lambda: None)


def children() -> list[int]:
    """The muxing children of this process."""
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in listed if b"m3u8svc.mux" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_child(number: signal.Signals = signal.SIGKILL) -> None:
    """End the running child."""
    (child,) = children()
    os.kill(child, number)


def digest(path: Path) -> str:
    """The hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ignore(parts_done: int) -> None:
    """No interest in progress."""


@pytest_twisted.ensureDeferred
async def test_merge_is_verified_and_reported(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """The result names size and duration of the file that is there; progress counts every part once."""
    seen: list[int] = []
    result = await muxing.merge(job, feed(media(segments)), seen.append)
    assert (job.target.stat().st_size, ()) == (result.size_bytes, result.warnings)
    assert pytest.approx(6.0, abs=0.1) == result.duration_s
    assert [1, 2, 3, 4, 5, 6] == seen
    assert [] == children()


@pytest_twisted.ensureDeferred
async def test_same_bytes_however_fed(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """All at once, with pauses, and with two children killed on the way: the same file."""
    heard = Overheard()

    async def kill_at(number: int) -> None:
        while number not in heard.opened():
            await pause()
        kill_child()

    slowly = {1: pause, 4: lambda: pause(0.3), 5: pause}
    killing = {number: partial(kill_at, number) for number in (2, 5)}
    watched = Muxing(reactor=heard, in_thread=deferToThread)
    digests = set()
    for each, before in ((muxing, {}), (muxing, slowly), (watched, killing)):
        await each.merge(job, feed(media(segments), before=before), ignore)
        digests.add(digest(job.target))
        job.target.unlink()
    assert (1, 3) == (len(digests), heard.opened().count(1))


@pytest_twisted.ensureDeferred
async def test_poison_becomes_a_gap(segments: tuple[Path, ...], job: MergeJob) -> None:
    """A segment at which the child dies twice by a signal is left out, with a warning naming it."""
    parts = media(segments)
    heard = Overheard()

    # Nothing but segment 1 is there while the children die, so that it is the suspect both times.
    async def one_then_the_rest() -> AsyncIterator[Part]:
        yield parts[0]
        for kills in range(2):
            while heard.said.count(b'"open"') <= kills:
                await pause()
            kill_child(signal.SIGSEGV)
        for part in parts[1:]:
            yield part

    result = await Muxing(reactor=heard, in_thread=deferToThread).merge(job, one_then_the_rest(), ignore)
    assert ("第 1 个分片：合并进程两次在此退出（SIGSEGV），按缺失处理",) == result.warnings
    english = ["segment 1: the merge process died here twice (SIGSEGV); taken as missing"]
    assert english == [in_english(each) for each in result.warnings]
    assert pytest.approx(6.0, abs=0.1) == result.duration_s


class Overheard:
    """
    A reactor that knows what its children `said`.
    """

    def __init__(self) -> None:
        self.said = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def opened(self) -> list[int]:
        """The segments that they began to read, in that order."""
        return [int(number) for number in re.findall(rb'"open".*"n": ?([0-9]+)', self.said)]

    def spawnProcess(self, protocol: Any, *arguments: Any, **more: Any) -> Any:
        receive = protocol.outReceived

        def hear(data: bytes) -> None:
            self.said += data
            receive(data)

        protocol.outReceived = hear
        return reactor.spawnProcess(protocol, *arguments, **more)


@pytest_twisted.ensureDeferred
async def test_cancel_leaves_nothing(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """A cancelled merge has no process, no file and no open descriptor left, however often."""
    before = len(os.listdir("/proc/self/fd"))
    for delay_s in (0.0, 0.05, 0.3, 0.5):
        never: Deferred[None] = Deferred()
        running = Deferred.fromCoroutine(
            muxing.merge(job, feed(media(segments), before={3: lambda never=never: never}), ignore)
        )
        await pause(delay_s)
        running.cancel()
        with pytest.raises(CancelledError):
            await running
        assert ([], False) == (children(), job.target.exists())
    assert before == len(os.listdir("/proc/self/fd"))


@pytest_twisted.ensureDeferred
async def test_failing_parts_end_the_merge(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """An error of whoever gives the parts is raised as it is; child and file are gone."""

    async def broken() -> AsyncIterator[Part]:
        yield media(segments)[0]
        await pause(0.3)
        raise MergeError(reason="download")

    with pytest.raises(MergeError, match="download"):
        await muxing.merge(job, broken(), ignore)
    assert ([], False) == (children(), job.target.exists())


@pytest_twisted.ensureDeferred
async def test_no_media(muxing: Muxing, job: MergeJob, tmp_path: Path) -> None:
    """Parts without media are the origin's fault."""
    (tmp_path / "1.ts").write_text("<html>")
    parts: list[Part] = [
        MediaFile(position=1, path=tmp_path / "1.ts", kind="ts", duration_s=1.0),
        Gap(position=2, duration_s=1.0),
    ]
    with pytest.raises(NoMedia):
        await muxing.merge(job, feed(parts), ignore)
    assert not job.target.exists()


@pytest_twisted.ensureDeferred
async def test_damage_is_named(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob, tmp_path: Path) -> None:
    """The warnings of the result name the segment and what became of it."""
    (tmp_path / "bad.ts").write_text("<html>")
    parts = media(segments)
    parts[2] = attrs.evolve(parts[2], path=tmp_path / "bad.ts")
    result = await muxing.merge(job, feed(parts), ignore)
    assert ("第 3 个分片：不是媒体数据，按缺失处理",) == result.warnings
    assert ["segment 3: it is no media; taken as missing"] == [in_english(each) for each in result.warnings]
    assert ["it is no media"] == [in_english(each["reason"]) for each in result.details["lost"]]


@pytest_twisted.ensureDeferred
async def test_stale_target_is_replaced(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """What a crash left at the target is removed first."""
    job.target.write_bytes(b"half a file")
    result = await muxing.merge(job, feed(media(segments)), ignore)
    assert result.size_bytes == job.target.stat().st_size


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB; needs root."""
    with memory_disk(tmp_path / "small", "64k") as place:
        yield place


@pytest.mark.parametrize("merger", ["mp4", "ts"])
@pytest_twisted.ensureDeferred
async def test_full_disk(merger: str, segments: tuple[Path, ...], muxing: Muxing, small_disk: Path) -> None:
    """A full disk is the operator's problem: said so, and no half file takes what room there is."""
    job = MergeJob(task=TASK, target=small_disk / ".part")
    merge = muxing.merge if merger == "mp4" else TsMerger(deferToThread).merge
    with pytest.raises(DiskFull):
        await merge(job, feed(media(segments * 3)), ignore)
    assert [] == list(small_disk.iterdir())


@pytest_twisted.ensureDeferred
async def test_a_read_only_disk(segments: tuple[Path, ...], muxing: Muxing, small_disk: Path) -> None:
    """What the system told the child keeps its name."""
    beginning = muxing.merge(MergeJob(task=TASK, target=small_disk / ".part"), feed(media(segments)), ignore)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ReadOnlyDisk):
        await beginning


class OtherChild:
    """
    A reactor whose child processes run this Python code instead of the muxer, and whose clock runs `faster`.
    """

    def __init__(self, code: str, *, faster: float = 1.0) -> None:
        self._code = code
        self._faster = faster

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def spawnProcess(self, protocol: Any, executable: str, argv: list[str], **more: Any) -> Any:
        return reactor.spawnProcess(protocol, executable, [executable, "-c", self._code], **more)

    def callLater(self, delay: float, *call: Any) -> Any:
        return reactor.callLater(delay / self._faster, *call)


READY = 'import sys, time; print(\'{"ev":"ready"}\', flush=True); '
BOX = 'print(\'{"ev":"box","landlock":7,"seccomp":true,"missing":[]}\', flush=True); '
OPEN = 'print(\'{"ev":"open","n":1}\', flush=True); '


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(7)", "exit 7"),
        (READY + "raise SystemExit(0)", "exit 0"),
        (READY + OPEN + "time.sleep(60)", "60 s 无响应"),
        (READY + "print('nonsense', flush=True); time.sleep(60)", "SIGKILL"),
        (READY + "print('[1]', flush=True); time.sleep(60)", "SIGKILL"),
        (READY + "print('x' * 100000, flush=True); time.sleep(60)", "SIGKILL"),
        (READY + BOX + BOX + "time.sleep(60)", "SIGKILL"),
    ],
    ids=["does not start", "leaves", "hangs", "talks nonsense", "says no object", "never ends its line", "two boxes"],
)
@pytest_twisted.ensureDeferred
async def test_child_gone_wrong(code: str, how: str, segments: tuple[Path, ...], job: MergeJob) -> None:
    """A child that leaves, hangs or raves fails the merge in bounded time, saying how it ended."""
    faster = 600 if "无响应" in how else 1
    muxing = Muxing(reactor=OtherChild(code, faster=faster), in_thread=deferToThread)
    with pytest.raises(MergerDied) as caught:
        await muxing.merge(job, feed(media(segments)), ignore)
    assert how == caught.value.fields["how"]
    assert caught.value.text("en").isascii()


OTHERS = "somebody else's film"
DONE = {"ev": "done", "size": 1, "dur": 1.0, "details": {}}


def words(*reports: object) -> str:
    """Code that says these, and then that all went well."""
    lines = [each if isinstance(each, str) else json.dumps(each) for each in (*reports, DONE)]
    return READY + "".join(f"print({line!r}, flush=True); " for line in lines) + "time.sleep(60)"


@pytest.mark.parametrize(
    "said",
    [
        {**DONE, "companions": [{"path": "OTHER", "suffix": "p2.mp4"}]},
        {**DONE, "companions": [{"path": "TARGET.p2", "suffix": "../other.mp4"}]},
        {**DONE, "companions": 7},
        {**DONE, "size": -1},
        '{"ev": "done", "size": 1, "dur": Infinity}',
        {**DONE, "details": []},
        '{"ev": "open", "n": 1e999}',
        {"ev": "open", "n": 1, "track": "audio9"},
        {"ev": "seg", "track": "audio9"},
        {"ev": "hungry", "track": "main", "heard": 1 << 40},
        {"ev": "checkpoint", "parts": 1, "size": 1, "made": True},
        {"ev": "make", "suffix": "p2"},
        {"ev": "warn", "n": 1, "text": {"a": 1}},
        {"ev": "box", "landlock": "x", "seccomp": 1, "missing": []},
        {"ev": "box", "landlock": 7, "seccomp": True, "missing": "none"},
        {"ev": ["done"]},
        "[" * 60_000,
        '"done"',
        "null",
    ],
    ids=lambda said: json.dumps(said)[:60],
)
@pytest_twisted.ensureDeferred
async def test_child_that_was_taken_over(
    said: object, segments: tuple[Path, ...], job: MergeJob, tmp_path: Path
) -> None:
    """What none of ours would say ends it, fails this merge alone, and touches nobody's file."""
    other = tmp_path / "other.mp4"
    other.write_text(OTHERS)
    code = words(said).replace("OTHER", str(other)).replace("TARGET", str(job.target))
    muxing = Muxing(reactor=OtherChild(code), in_thread=deferToThread)
    with pytest.raises(MergerDied) as caught:
        await muxing.merge(job, feed(media(segments)), ignore)
    assert ("SIGKILL", OTHERS, []) == (caught.value.fields["how"], other.read_text(), children())


@pytest.mark.parametrize(
    "pieces", [(["done"], DONE), (DONE, ["done"])], ids=["nonsense before the end", "nonsense after it"]
)
def test_a_child_that_raves_is_not_believed(pieces: tuple[object, ...], job: MergeJob) -> None:
    """Its end does not count, whichever comes first, and however late the signal reaches it."""
    child = Child(reactor=Clock(), job=job, script=Script(feed([])), on_taken=ignore)
    child.makeConnection(StringTransport())
    for piece in pieces:
        child.outReceived(json.dumps(piece).encode() + b"\n")
    child.processEnded(Failure(ProcessTerminated(signal=signal.SIGKILL)))
    assert isinstance(child.outcome.result, Died)


@pytest_twisted.ensureDeferred
async def test_child_that_never_ends_talking(segments: tuple[Path, ...], job: MergeJob) -> None:
    """Its words are bounded by what it was fed, so that they do not fill our memory."""
    warning = json.dumps({"ev": "warn", "n": 1, "text": "x" * 400})
    code = READY + f"[print({warning!r}) for _ in range(10**9)]"
    with pytest.raises(MergerDied):
        await Muxing(reactor=OtherChild(code), in_thread=deferToThread).merge(job, feed(media(segments)), ignore)


@pytest_twisted.ensureDeferred
async def test_child_that_always_dies(segments: tuple[Path, ...], job: MergeJob) -> None:
    """A bounded number of children, then the merge has failed; the segments are all there (R-DEM-3)."""
    started: list[int] = []

    class Counted(OtherChild):
        """Counts them."""

        def spawnProcess(self, *arguments: Any, **more: Any) -> Any:
            started.append(1)
            return super().spawnProcess(*arguments, **more)

    code = READY + OPEN + "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(MergerDied):
        await Muxing(reactor=Counted(code), in_thread=deferToThread).merge(job, feed(media(segments)), ignore)
    assert DEATHS + 1 == len(started)
    assert all(segment.stat().st_size for segment in segments)
    assert not job.target.exists()


@pytest_twisted.ensureDeferred
async def test_idle_child_is_not_hanging(segments: tuple[Path, ...], job: MergeJob) -> None:
    """Silence while there is nothing to do is no reason to end the child."""

    class Hurried(OtherChild):
        """Time flies, the muxer is the real one."""

        def spawnProcess(self, protocol: Any, *arguments: Any, **more: Any) -> Any:
            return reactor.spawnProcess(protocol, *arguments, **more)

    muxing = Muxing(reactor=Hurried("", faster=10), in_thread=deferToThread)
    result = await muxing.merge(job, feed(media(segments), before={3: lambda: pause(9)}), ignore)
    assert () == result.warnings


@pytest_twisted.ensureDeferred
async def test_child_is_boxed(segments: tuple[Path, ...], job: MergeJob) -> None:
    """Everything is limited, no core is dumped, the session is its own, nothing of our environment is handed on."""
    seen: dict[str, str] = {}
    heard, boxes = Overheard(), []
    muxing = Muxing(reactor=heard, in_thread=deferToThread, boxed=boxes.append)

    async def look() -> AsyncIterator[Part]:
        parts = [attrs.evolve(part, size_bytes=1 << 20) for part in media(segments) if isinstance(part, MediaFile)]
        yield parts[0]
        while b'"open"' not in heard.said:
            await pause()
        (child,) = children()
        seen["limits"] = Path(f"/proc/{child}/limits").read_text()
        seen["environment"] = Path(f"/proc/{child}/environ").read_text()
        seen["status"] = Path(f"/proc/{child}/status").read_text()
        seen["nice"] = str(os.getpriority(os.PRIO_PROCESS, child) - os.getpriority(os.PRIO_PROCESS, 0))
        group = Path(f"/proc/{child}/autogroup")  # not of every kernel
        seen["group"] = group.read_text().split()[-1] if group.exists() else "5"
        assert child == os.getsid(child)
        for part in parts[1:]:
            yield part

    job = attrs.evolve(job, sources=(segments[0].parent,))
    await muxing.merge(job, look(), ignore)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in seen["limits"].splitlines()}
    assert ["1610612736", "1610612736"] == limits["Max address space"]
    assert ["0", "0"] == limits["Max core file size"]
    assert ("LC_ALL=C.UTF-8\0", "5", "5") == (seen["environment"], seen["nice"], seen["group"])
    assert ["18", "18"] == limits["Max open files"]
    # Begun with, and for one segment of a second and a mebibyte.
    assert "62" == limits["Max cpu time"][0]
    assert str((64 << 20) + (3 << 19)) == limits["Max file size"][0]
    assert "NoNewPrivs:\t1\nSeccomp:\t2\n" in seen["status"]
    assert ["full"] == [box.level for box in boxes]


@pytest_twisted.ensureDeferred
async def test_parts_are_not_pulled_without_end(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
    """Parts wait where they are while the child has not read what it has."""
    pulled = taken = most_ahead = 0
    parts: list[Part] = [
        MediaFile(position=n + 1, path=segments[n % 6], kind="ts", duration_s=1.0, discontinuity_sequence=n // 6)
        for n in range(300)
    ]

    async def counted() -> AsyncIterator[Part]:
        nonlocal pulled, most_ahead
        for part in parts:
            pulled += 1
            most_ahead = max(most_ahead, pulled - taken)
            yield part

    def count(parts_done: int) -> None:
        nonlocal taken
        taken = parts_done

    result = await muxing.merge(job, counted(), count)
    assert (300, 300) == (pulled, taken)
    assert most_ahead <= WINDOW + 1
    assert pytest.approx(300, abs=5) == result.duration_s


def test_replay_keeps_the_pipe_short(job: MergeJob) -> None:
    """A child that is fed again gets no more parts than it may have unread, though all are known by then."""
    script = Script(feed([]))
    script.parts = [Gap(position=n, duration_s=1.0) for n in range(1, 201)]
    script.complete = True
    pipe = StringTransport()
    child = Child(reactor=Clock(), job=job, script=script, on_taken=ignore)
    child.makeConnection(pipe)
    assert 1 + WINDOW == pipe.value().count(b"\n")
    child.outReceived(b'{"ev":"seg","n":1}\n{"ev":"seg","n":2}\n{"ev":"se')
    assert 1 + WINDOW + 2 == pipe.value().count(b"\n")


@pytest_twisted.ensureDeferred
async def test_warnings_are_bounded(segments: tuple[Path, ...], muxing: Muxing, job: MergeJob, tmp_path: Path) -> None:
    """Of very many warnings the first are kept and the rest counted."""
    (tmp_path / "bad.ts").write_text("<html>")
    bad = [MediaFile(position=n, path=tmp_path / "bad.ts", kind="ts", duration_s=0.0001) for n in range(7, 610)]
    result = await muxing.merge(job, feed(media(segments) + bad), ignore)
    assert (501, "另有 103 条警告") == (len(result.warnings), result.warnings[-1])
    assert "103 more warnings" == in_english(result.warnings[-1])


@pytest_twisted.ensureDeferred
async def test_children_take_turns(segments: tuple[Path, ...], tmp_path: Path) -> None:
    """More merges than slots: the rest wait, and all are done in the end."""
    muxing = Muxing(reactor=reactor, in_thread=deferToThread, max_children=1)
    most = 0

    def watch(parts_done: int) -> None:
        nonlocal most
        most = max(most, len(children()))

    jobs = [MergeJob(task=TASK, target=tmp_path / f"{n}.mp4") for n in range(3)]
    running = [Deferred.fromCoroutine(muxing.merge(job, feed(media(segments)), watch)) for job in jobs]
    for each in running:
        await each
    assert (1, 1) == (most, len({digest(job.target) for job in jobs}))


class TestTracks:
    """Several tracks in one job."""

    TRACKS = (
        TrackInfo(track="main", kind="main"),
        TrackInfo(track="audio1", kind="audio", language="en", name="English", default=True),
    )

    @staticmethod
    def sound(segments: tuple[Path, ...], *, start_s: float = 0.0) -> list[Part]:
        """The same segments as a rendition: only their sound is used."""
        return [
            MediaFile(
                track="audio1",
                position=n,
                path=path,
                kind="ts",
                duration_s=1.0,
                start_s=start_s + n - 1.0,
                last=n == len(segments),
            )
            for n, path in enumerate(segments, 1)
        ]

    @pytest_twisted.ensureDeferred
    async def test_tracks_and_details_arrive(self, segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
        """The child is told its tracks, and its account of them becomes that of the result."""
        parts = [part for pair in zip(media(segments), self.sound(segments), strict=True) for part in pair]
        seen: list[int] = []
        result = await muxing.merge(attrs.evolve(job, tracks=self.TRACKS), feed(parts), seen.append)
        assert ((), 12) == (result.warnings, seen[-1])
        assert [("main", "video"), ("audio1", "audio")] == [
            (row["track"], row["kind"]) for row in result.details["tracks"]
        ]
        assert {("main", n) for n in range(1, 7)} | {("audio1", n) for n in range(1, 7)} == {
            (row["track"], row["n"]) for row in result.details["spans"]
        }

    @pytest_twisted.ensureDeferred
    async def test_window_cannot_lock_up(self, segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
        """More parts of one track than a window in front of the one that is needed: it is found behind them."""
        main: list[Part] = [
            MediaFile(position=n + 1, path=segments[n % 6], kind="ts", duration_s=1.0, discontinuity_sequence=n // 6)
            for n in range(3 * WINDOW)
        ]
        result = await muxing.merge(attrs.evolve(job, tracks=self.TRACKS), feed([*main, *self.sound(segments)]), ignore)
        assert () == result.warnings
        assert 3 * WINDOW * 25 == result.details["tracks"][0]["packets"]

    @pytest_twisted.ensureDeferred
    async def test_waiting_for_a_track_is_not_hanging(self, segments: tuple[Path, ...], job: MergeJob) -> None:
        """A child with work for one track that waits for another is not ended."""

        class Hurried(OtherChild):
            """Time flies, the muxer is the real one."""

            def spawnProcess(self, protocol: Any, *arguments: Any, **more: Any) -> Any:
                return reactor.spawnProcess(protocol, *arguments, **more)

        muxing = Muxing(reactor=Hurried("", faster=10), in_thread=deferToThread)
        parts = [*media(segments), *self.sound(segments)]
        # Silence in the test's clock: 60 s / 10, twice over; a busy machine takes seconds to start a child.
        result = await muxing.merge(
            attrs.evolve(job, tracks=self.TRACKS), feed(parts, before={6: lambda: pause(13)}), ignore
        )
        assert () == result.warnings

    @pytest_twisted.ensureDeferred
    async def test_end_of_a_track_is_told(self, segments: tuple[Path, ...], muxing: Muxing, job: MergeJob) -> None:
        """Behind the last part of a rendition the main track is muxed on without waiting for the end of all."""
        seen: list[int] = []

        async def look() -> AsyncIterator[Part]:
            for part in [*self.sound(segments[:2]), *media(segments)]:
                yield part
            for _ in range(100):
                if len(seen) >= 7:
                    break
                await pause(0.1)
            assert len(seen) >= 7

        sound_first = attrs.evolve(job, tracks=self.TRACKS)
        parts = look()
        await muxing.merge(sound_first, self.ended(parts), seen.append)

    @staticmethod
    async def ended(parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
        """The second part of the rendition is its last."""
        async for part in parts:
            yield attrs.evolve(part, last=True) if (part.track, part.position) == ("audio1", 2) else part

    @pytest_twisted.ensureDeferred
    async def test_warnings_name_the_track(
        self, segments: tuple[Path, ...], muxing: Muxing, job: MergeJob, tmp_path: Path
    ) -> None:
        """A damaged segment of a rendition is named with its track."""
        (tmp_path / "bad.ts").write_text("<html>")
        sound = self.sound(segments)
        sound[2] = attrs.evolve(sound[2], path=tmp_path / "bad.ts")
        result = await muxing.merge(attrs.evolve(job, tracks=self.TRACKS), feed([*media(segments), *sound]), ignore)
        assert ("audio1 第 3 个分片：不是媒体数据，按缺失处理",) == result.warnings
        assert ["audio1 segment 3: it is no media; taken as missing"] == [in_english(each) for each in result.warnings]


class TestCompanions:
    """Files beside the target."""

    @pytest.fixture
    def other(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
        """Segments with another picture size."""
        folder = tmp_path_factory.mktemp("other")
        source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "2"]
        hls = ["-f", "hls", "-hls_time", "0.9", "-hls_list_size", "0", "-hls_segment_filename", str(folder / "%d.ts")]
        codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac"]
        subprocess.run(["ffmpeg", "-v", "error", *source, *codecs, *hls, str(folder / "list.m3u8")], check=True)
        return tuple(sorted(folder.glob("*.ts")))

    def parts(self, segments: tuple[Path, ...], other: tuple[Path, ...]) -> list[Part]:
        """A stream that changes."""
        later: list[Part] = [
            MediaFile(position=n, path=path, kind="ts", duration_s=1.0, discontinuity_sequence=1)
            for n, path in enumerate(other, len(segments) + 1)
        ]
        return [*media(segments), *later]

    @pytest_twisted.ensureDeferred
    async def test_split_is_reported(
        self, segments: tuple[Path, ...], other: tuple[Path, ...], muxing: Muxing, job: MergeJob
    ) -> None:
        """The second file is a companion, hidden beside the target."""
        job = attrs.evolve(job, on_param_change="split")
        result = await muxing.merge(job, feed(self.parts(segments, other)), ignore)
        path = job.target.with_name(job.target.name + ".p2")
        assert (Companion(path=path, suffix="p2.mp4"),) == result.companions
        assert path.stat().st_size > 0

    @pytest_twisted.ensureDeferred
    async def test_keep_refuses_by_name(
        self, segments: tuple[Path, ...], muxing: Muxing, job: MergeJob, tmp_path: Path
    ) -> None:
        """What one file cannot hold names the remedy, and leaves nothing."""
        source = ["-f", "lavfi", "-i", "sine=f=440:r=44100", "-t", "2", "-c:a", "ac3", str(tmp_path / "1.ts")]
        subprocess.run(["ffmpeg", "-v", "error", *source], check=True)
        with pytest.raises(MergeError, match="on_param_change=split"):
            await muxing.merge(job, feed(self.parts(segments, (tmp_path / "1.ts",))), ignore)
        assert not job.target.exists()

    @pytest_twisted.ensureDeferred
    async def test_a_failure_leaves_none(
        self, segments: tuple[Path, ...], other: tuple[Path, ...], muxing: Muxing, job: MergeJob, tmp_path: Path
    ) -> None:
        """A merge that fails after the first file takes all of them away, and nothing else."""
        stranger = job.target.with_name(job.target.name + ".keep")
        stranger.write_text("not ours")
        parts = self.parts(segments, other)
        gone = MediaFile(position=99, path=tmp_path / "gone.ts", kind="ts", duration_s=1.0, discontinuity_sequence=1)
        with pytest.raises(DiskError):
            await muxing.merge(attrs.evolve(job, on_param_change="split"), feed([*parts, gone]), ignore)
        assert [stranger] == list(job.target.parent.glob(".hidden*"))


class TestTs:
    """The merger that appends."""

    @pytest_twisted.ensureDeferred
    async def test_segments_are_appended(self, segments: tuple[Path, ...], job: MergeJob) -> None:
        """The file is the segments one after the other; gaps are left out."""
        parts = media(segments)
        parts[1] = Gap(position=2, duration_s=1.0)
        result = await TsMerger(deferToThread).merge(job, feed(parts), ignore)
        expected = b"".join(path.read_bytes() for n, path in enumerate(segments) if n != 1)
        assert (expected, len(expected), 5.0) == (job.target.read_bytes(), result.size_bytes, result.duration_s)

    @pytest.mark.parametrize("kind", ["fmp4", "aac", "vtt"])
    @pytest_twisted.ensureDeferred
    async def test_other_kinds_are_refused(self, kind: Any, segments: tuple[Path, ...], job: MergeJob) -> None:
        """What cannot be appended is refused by name, and nothing is left."""
        parts = media(segments)
        parts[3] = attrs.evolve(parts[3], kind=kind)
        with pytest.raises(MergeError, match=f"4.*{kind}") as caught:
            await TsMerger(deferToThread).merge(job, feed(parts), ignore)
        assert caught.value.text("en").isascii()
        assert not job.target.exists()

    def test_cancelled_while_it_opens_its_file(self, job: MergeJob) -> None:
        """The thread cannot be stopped: what it opens after all is closed and removed."""
        calls: list[tuple[Deferred[Any], Callable[[], Any]]] = []

        def in_thread(function: Callable[..., Any]) -> Deferred[Any]:
            calls.append((Deferred(), function))
            return calls[-1][0]

        def run() -> None:
            waiting, function = calls.pop(0)
            waiting.callback(function())

        merging = Deferred.fromCoroutine(TsMerger(in_thread).merge(job, feed([]), ignore))
        failures: list[Any] = []
        merging.addErrback(failures.append)
        merging.cancel()
        before = len(os.listdir("/proc/self/fd"))
        run()
        assert job.target.exists()
        run()
        assert failures[0].check(CancelledError)
        assert (False, before) == (job.target.exists(), len(os.listdir("/proc/self/fd")))

    @pytest_twisted.ensureDeferred
    async def test_nothing_at_all(self, job: MergeJob) -> None:
        """Without a segment there is no file."""
        with pytest.raises(NoMedia):
            await TsMerger(deferToThread).merge(job, feed([Gap(position=1, duration_s=1.0)]), ignore)
        assert not job.target.exists()


def test_mergers_are_offered(muxing: Muxing) -> None:
    """The plugins offer one merger each, under the names of the API."""
    offered = [*Mp4Plugin(muxing).register_mergers(), *TsPlugin(deferToThread).register_mergers()]
    assert [("mp4", ".mp4"), ("ts", ".ts")] == [(merger.name, merger.extension(TASK)) for merger in offered]
