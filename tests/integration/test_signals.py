"""
Signals at a real service, by both launchers: how it ends, how soon, and what it leaves (H4).
"""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.holding_origin import HELD, HoldingOrigin
from tests.integration.media import SECONDS, Stream
from tests.integration.service_child import ENDS_WITHIN_S, LOOPBACK, STOPS_WITHIN_S, TWISTD, running

WAYS = {
    "twistd": [str(TWISTD), "--nodaemon", "--pidfile=", "m3u8svc"],
    "serve": [str(TWISTD.with_name("m3u8svc")), "serve"],
}
every_way = pytest.mark.parametrize("way", WAYS)


@contextmanager
def launched(way: str, place: Path, *options: str, says: str) -> Iterator[subprocess.Popen[bytes]]:
    """
    A service that has said this; killed at the end if it is still there.
    """
    command = [*WAYS[way], "--listen", LOOPBACK, "--home", str(place / "home"), "--save-dir", str(place), *options]
    with (place / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        await_words(place / "log", says, process)
        yield process
    finally:
        process.kill()
        process.wait()


def await_words(log: Path, words: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a log has these words."""
    deadline = time.monotonic() + 30
    while words not in log.read_text(errors="replace"):
        assert process is None or process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.02)


def ends(process: subprocess.Popen[bytes]) -> float:
    """How long it takes until it has ended, in seconds."""
    started = time.monotonic()
    process.wait(STOPS_WITHIN_S)
    return time.monotonic() - started


@every_way
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_is_orderly(way: str, number: signal.Signals, tmp_path: Path) -> None:
    """It ends in time and without a complaint: with status 0, or by the signal where twistd has it so."""
    with launched(way, tmp_path, says="listening on") as process:
        process.send_signal(number)
        assert ends(process) < STOPS_WITHIN_S
        assert (0 if way == "serve" else -number) == process.returncode
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log and "not everything ended" not in log
    assert "" == (tmp_path / "home" / "lock").read_text()


@contextmanager
def locked_out(place: Path) -> Iterator[sqlite3.Connection]:
    """A database that is there and locked: whoever opens it waits."""
    with launched("serve", place, says="listening on") as process:
        process.terminate()
        process.wait()
    connection = sqlite3.connect(place / "home" / "m3u8svc.sqlite3", isolation_level=None)
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("UPDATE m3u8svc_schema SET version_num = version_num")
    try:
        yield connection
    finally:
        connection.close()


@every_way
def test_while_it_starts(way: str, tmp_path: Path) -> None:
    """A start that waits for the database, as in a long migration, does not make the end wait."""
    with locked_out(tmp_path), started(way, tmp_path) as process:
        process.terminate()
        assert ends(process) < STOPS_WITHIN_S
        assert process.returncode in (0, -signal.SIGTERM)
    with launched(way, tmp_path, says="listening on"):
        assert "damaged" not in (tmp_path / "log").read_text()


@contextmanager
def started(way: str, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A service that has its home and does not listen yet."""
    lock = place / "home" / "lock"
    command = [*WAYS[way], "--listen", LOOPBACK, "--home", str(place / "home"), "--save-dir", str(place)]
    with (place / "log").open("wb") as output:
        process = subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while not lock.read_text() or not handles(process.pid, signal.SIGHUP):
            assert process.poll() is None and time.monotonic() < deadline, (place / "log").read_text()
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    [caught] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt")]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@every_way
def test_two_are_impatient(way: str, tmp_path: Path) -> None:
    """A second one ends it at once, whatever it still waits for; the next start finds everything whole."""
    with locked_out(tmp_path), started(way, tmp_path) as process:
        process.terminate()
        await_words(tmp_path / "log", "Received SIGTERM", process)
        process.send_signal(signal.SIGINT)
        process.wait(ENDS_WITHIN_S)
        assert -signal.SIGINT == process.returncode  # and not 0, as at the end of its time
    with launched(way, tmp_path, says="listening on"):
        assert "damaged" not in (tmp_path / "log").read_text()


@every_way
def test_hanging_up_does_not_end_it(way: str, tmp_path: Path) -> None:
    """SIGHUP is survived, twice; afterwards it stops like any other."""
    with launched(way, tmp_path, says="listening on") as process:
        for _ in range(2):
            process.send_signal(signal.SIGHUP)
            await_words(tmp_path / "log", "log files opened anew", process)
        process.terminate()
        assert ends(process) < STOPS_WITHIN_S
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_log_that_was_moved_away(tmp_path: Path) -> None:
    """twistd's log file is a new one after SIGHUP, and what comes later is in that."""
    log, moved = tmp_path / "twistd.log", tmp_path / "twistd.log.old"
    log.touch()
    command = [str(TWISTD), "--nodaemon", "--pidfile=", "--logfile", str(log), "m3u8svc", "--listen", LOOPBACK]
    process = subprocess.Popen([*command, "--home", str(tmp_path / "home")], cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        await_words(log, "listening on", process)
        log.rename(moved)
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        await_words(log, "1 log files opened anew", process)
        process.terminate()
        ends(process)
    finally:
        process.kill()
        process.wait()
    assert "Received SIGTERM" in log.read_text() and "Received SIGTERM" not in moved.read_text()


def test_in_a_terminal_that_goes_away(tmp_path: Path) -> None:
    """Hanging up a terminal ends what runs in it, in order."""
    controller, terminal = os.openpty()
    with (tmp_path / "log").open("wb") as output:
        command = [*WAYS["serve"], "--listen", LOOPBACK, "--home", str(tmp_path / "home")]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdin=terminal, stdout=output, stderr=output, start_new_session=True
        )
    os.close(terminal)
    try:
        await_words(tmp_path / "log", "listening on", process)
        process.send_signal(signal.SIGHUP)
        assert ends(process) < STOPS_WITHIN_S
        assert 0 == process.returncode
    finally:
        os.close(controller)
        process.kill()
        process.wait()


@pytest_twisted.async_yield_fixture
async def origin(served: Path, streams: dict[str, Stream]) -> AsyncIterator[HoldingOrigin]:
    """An origin that misbehaves as its URLs say, over the streams."""
    started = await HoldingOrigin.start(reactor, directory=served)
    yield started
    await started.stop()


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def await_end(pids: list[int]) -> None:
    """Wait until none of these processes is there: the kernel ends them after their parent."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]], ids=["one", "two"])
@pytest_twisted.ensureDeferred
async def test_in_the_middle_of_a_merge(
    numbers: list[signal.Signals], origin: HoldingOrigin, served: Path, tmp_path: Path
) -> None:
    """The muxing child goes with the service; the next one makes the same file and fetches what was not finished."""
    text = (served / "plain" / "index.m3u8").read_text()
    origin.put("/calm.m3u8", text.replace("index", "/plain/index").encode())
    # With one more finished it would be known what is slow, and the others be asked for twice.
    first = 4
    held = text
    for number in range(first, SECONDS):
        name = f"index{number}.ts"
        held = held.replace(name, f"{name}?chunk_size=5000&chunk_delay={HELD}")
    origin.put("/held.m3u8", held.replace("index", "/plain/index").encode())

    def counts() -> list[int]:
        return [origin.count(f"/plain/index{number}.ts") for number in range(SECONDS)]

    def in_a_service() -> tuple[float, bytes, bytes]:
        with running(tmp_path / "service") as service:
            whole = Path(service.finish(origin.url("/calm.m3u8"), "calm")["output"]).read_bytes()
            task_id = service.add(origin.url("/held.m3u8"), "held")
            while service.task(task_id)["segments_done"] < first or min(counts()) < 2 or not children(service.pid):
                time.sleep(0.02)
            muxers = children(service.pid)
            took_s = service.interrupt(*numbers)
            await_end(muxers)
            reactor.callFromThread(origin.release)
            service.start()
            return took_s, whole, Path(service.wait(task_id, "已完成")["output"]).read_bytes()

    took_s, whole, again = await deferToThread(in_a_service)
    assert took_s < STOPS_WITHIN_S
    assert whole == again
    assert [2] * first + [3] * (SECONDS - first) == counts()
