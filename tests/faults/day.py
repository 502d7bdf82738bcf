"""
A day at sixty times its speed: a real service lives 24 hours in 24 minutes, by libfaketime, with a task every few
minutes through an origin whose weather is bad. After the first two hours nothing may grow.

At that speed the half minute that a muxing child may be silent is half a second: the day wants a machine to itself, or
``chrt -r 1`` before it.
"""

import os
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any  # JSON values

from tests import needs
from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.rig import Bench, Gone, Service, wait_for
from tests.faults.soak import ask_for, bad_weather, make_stream
from tests.faults.table import Found, Piece

FASTER = 60
DAY_S, MORNING_S = 86_400.0, 7_200.0
GROWTH = 1.02
SEGMENTS = 10
SHARE = 0.01


HEARD_WITHIN = 5
"""How often a request is sent that the service hung up on."""


class Hurried(Service):
    """
    A service at that speed. Its ten seconds for a request are a sixth of one here, and over before a machine with other
    work has sent it; a client asks again then, as after any lost answer.
    """

    def ask(
        self, method: str, target: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """A task whose creation was not answered is looked for: a key would stay for a day, and count as growth."""
        for _ in range(HEARD_WITHIN - 1):
            try:
                return super().ask(method, target, body, headers=headers)
            except Gone:
                if method == "POST" and (made := self._made(body)):
                    return 200, made
        return super().ask(method, target, body, headers=headers)

    def _made(self, body: object) -> dict[str, Any] | None:
        assert isinstance(body, dict)
        return next((task for task in self.tasks().values() if task["filename"] == body["filename"]), None)


def units(ready: Bench, gate: bool, seed: str) -> Sequence[str]:
    """
    One day, in the gate; the small tier has `test_day.py`.
    """
    return ["24h"] if gate else []


def run(ready: Bench, unit: str, seed: str) -> Found:
    """
    Live it.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        needs.lacking("faketime")
    folder = ready.place / "day-streams"
    stream = make_stream(folder / "open", SEGMENTS, encrypted=False)
    wrong: list[str] = []
    morning: dict[str, float] = {}
    made = 0
    weather = random.Random(seed).randrange(10**6)
    with ready.folder(f"day-{unit}") as place, bad_weather(folder, weather, share=SHARE) as base:
        service = Hurried(place)
        # Not by the program of that name, which stays before the service as its parent.
        service.launch("env", f"LD_PRELOAD={library}", f"FAKETIME=+0 x{FASTER}")
        assert service.listens(), service.log
        try:
            begun = time.monotonic()
            while (now_s := (time.monotonic() - begun) * FASTER) < DAY_S:
                task = ask_for(service, base, stream, made % 50)
                made += 1
                if not wait_for(partial(_has_ended, service, task), 60, step_s=0.1):
                    wrong.append(f"task {made} does not end")
                    break
                ended = service.tasks()[task.id]
                if ended["status"] != "已完成":
                    wrong.append(f"task {made} failed: {ended['err_code']}")
                else:
                    wrong += i.same_bytes(service, task)
                service.ask("DELETE", f"/api/tasks?id={task.id}")
                (service.saves / f"{task.film}.mp4").unlink(missing_ok=True)
                if not morning and now_s > MORNING_S:
                    morning = _held(service)
                time.sleep(3)
            evening = _held(service)
            wrong += i.clean_log(service)
        finally:
            service.kill()
    if not morning:
        wrong.append("there was no morning")
    wrong += [
        f"{name} grew from {morning[name]} to {evening[name]}"
        for name in morning
        if evening[name] > morning[name] * GROWTH + {"descriptors": 2, "rss_kib": 2048}.get(name, 0)
    ]
    figures = {"tasks": float(made), **{f"{name}_evening": value for name, value in evening.items()}}
    return Found(faults=made, violations=tuple(wrong), figures=figures, story=f"morning {morning}")


def _has_ended(service: Service, task: Asked) -> bool:
    return service.tasks()[task.id]["status"] in ("已完成", "失败")


def _held(service: Service) -> dict[str, float]:
    """
    Memory, descriptors and rows.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{service.pid}/status").read_text().splitlines())
    with closing(sqlite3.connect(f"file:{service.home}/m3u8svc.sqlite3?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = sum(database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables)
    return {
        "rss_kib": float(status["VmRSS"].split()[0]),
        "descriptors": float(len(os.listdir(f"/proc/{service.pid}/fd"))),
        "rows": float(rows),
    }


PIECE = Piece(
    name="day",
    goal="24 h at 60 times the speed: memory, descriptors and rows of the evening are those of the morning",
    units=units,
    run=run,
    streams=(),
)
