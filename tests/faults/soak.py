"""
L6: many tasks at once through an origin where two of a hundred requests go wrong, in every way that a request can and
that asking again gets over. All of them must become their film, and the asking must stay within a quarter more.
"""

import json
import random
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # JSON values

from m3u8svc.testing.weather import PASSING_FAULTS
from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.rig import CANARY, CONNECTIONS, Bench, Service, Stream, sha256, wait_for
from tests.faults.table import Found, Piece

SHARE = 0.02
EXTRA = 0.25
"""How many requests more than segments there may be (6.1)."""
BATCH = 50
"""Tasks in one unit."""
SEGMENTS, GATE_SEGMENTS, GATE_BATCHES = 50, 100, 20
WITHIN_S = 420.0
_MAKING = threading.Lock()
"""Batches run beside each other and share their streams."""


def units(ready: Bench, gate: bool, seed: str) -> Sequence[str]:
    """
    Batches of tasks, named by their number and how many segments each task has.
    """
    return [f"{n}x{GATE_SEGMENTS}" for n in range(1, GATE_BATCHES + 1)] if gate else [f"1x{SEGMENTS}"]


def run(ready: Bench, unit: str, seed: str) -> Found:
    """
    One batch.
    """
    segments = int(unit.split("x")[1])
    folder = ready.place / "soak-streams" / str(segments)
    streams = {name: make_stream(folder / name, segments, encrypted=name == "locked") for name in ("open", "locked")}
    with ready.folder(f"soak-{unit}") as place:
        for stream in streams.values():
            if not stream.golden:
                raise AssertionError("no golden film")
        with bad_weather(folder, random.Random(seed).randrange(10**6)) as base:
            service = ready.service(place).start()
            try:
                tasks = [ask_for(service, base, streams[("open", "locked")[n % 2]], n) for n in range(BATCH)]
                wrong = _await_films(service, tasks)
                wrong += i.all_done(ready, service, tasks) if not wrong else []
                journal = _journal(base)
            finally:
                service.kill()
    asked = Counter(visit["path"].rpartition(".")[2] for visit in journal)
    extra = asked["ts"] / (BATCH * segments) - 1
    if extra > EXTRA:
        wrong.append(f"{extra:.0%} more requests than segments")
    faults = sum(bool(visit["fault"]) for visit in journal)
    if faults < BATCH * segments * SHARE / 3:
        wrong.append(f"only {faults} faults: the weather was too good")
    figures = {"tasks": BATCH, "segments": BATCH * segments, "requests": asked["ts"]}
    return Found(faults=faults, violations=tuple(wrong), figures=figures, story=f"seed {seed}, faults {PASSING_FAULTS}")


def ask_for(service: Service, base: str, stream: Stream, number: int) -> Asked:
    film = f"soak{number:03d}"
    url = f"{base}/{stream.name}/task{number}.m3u8?token={CANARY}"
    body = {"url": url, "filename": film, "advanced": True, "download_threads": CONNECTIONS}
    status, task = service.ask("POST", "/api/tasks", body)
    assert status == 200, task
    return Asked(id=task["id"], name=film, film=film, stream=stream)


def _await_films(service: Service, tasks: Sequence[Asked]) -> list[str]:
    """
    Wait for the end of all; what is wrong with how they ended.
    """
    ends = ("已完成", "失败", "已暂停")
    wait_for(lambda: all(task["status"] in ends for task in service.tasks().values()), WITHIN_S, step_s=0.5)
    listed = service.tasks()
    ended = [(asked.film, listed[asked.id]) for asked in tasks]
    return [
        f"{film} is {task['status']}: {task['err_code']} {task['err_msg']}"
        for film, task in ended
        if task["status"] != "已完成"
    ]


# -- Streams -----------------------------------------------------------------------------------------------------------


def make_stream(folder: Path, segments: int, *, encrypted: bool) -> Stream:
    """
    A stream, and a playlist for each task of a batch, whose segments are asked for by the task's own URLs.
    """
    golden = folder / "golden.txt"
    with _MAKING:
        if not golden.exists():
            _make(folder, segments, encrypted=encrypted)
    return Stream(name=folder.name, segments=segments, golden=golden.read_text())


def _make(folder: Path, segments: int, *, encrypted: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    short = [sys.executable, "-m", "m3u8svc.testing.stream", "--seconds", str(2 * segments)]
    subprocess.run([*short, *["--encrypted"] * encrypted, str(folder)], check=True, stdout=subprocess.DEVNULL)
    for number in range(BATCH):
        lines = (folder / "index.m3u8").read_text().splitlines()
        text = "\n".join(f"{line}?task={number}" if line.endswith(".ts") else line for line in lines)
        (folder / f"task{number}.m3u8").write_text(text.replace(".bin", f".bin?task={number}") + "\n")
    (folder / "golden.txt").write_text(_golden(folder))


def _golden(folder: Path) -> str:
    """
    What an undisturbed run makes of a stream.
    """
    place = folder / "undisturbed"
    place.mkdir()
    with bad_weather(folder.parent, 0, share=0.0) as base:
        service = Service(place).start()
        try:
            status, task = service.ask(
                "POST", "/api/tasks", {"url": f"{base}/{folder.name}/index.m3u8", "filename": "f"}
            )
            assert status == 200, task
            wait_for(lambda: service.tasks()[task["id"]]["status"] in ("已完成", "失败"), 120)
            return sha256(service.saves / "f.mp4")
        finally:
            service.kill()
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def bad_weather(folder: Path, seed: int, *, share: float = SHARE) -> Iterator[str]:
    """
    The fault origin as a process; its address.
    """
    command = [sys.executable, "-m", "m3u8svc.testing.origin", str(folder)]
    process = subprocess.Popen(
        [*command, "--faults", str(share), "--seed", str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _journal(base: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{base}/journal", timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found


PIECE = Piece(
    name="soak",
    goal="1,000 tasks of 100 segments, 2 % of requests go wrong: every film is whole, at most 25 % more requests",
    units=units,
    run=run,
    streams=(),
)
