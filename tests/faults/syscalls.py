"""
H2 and H3: a service that is killed at, or gets an error from, every call that changes something on the disk.

The run is that of a small encrypted job with all around it: a start on an empty home, a task created, downloaded,
merged and published; another created, paused and deleted; a stop. Each unit runs it once under the tracer with one
fault, then starts the service again without a tracer and lets everything come to its end. A call is counted whichever
thread or child makes it, so the Nth is not always the same call; all of them are tried, and the table says how many.
"""

import contextlib
import json
import random
import sys
from typing import Any  # JSON values

from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.rig import CANARY, CONNECTIONS, HERE, Bench, Gone, Service, wait_for
from tests.faults.table import Found, Piece

ERRORS = ("EIO", "ENOSPC", "EMFILE")
SHARE_OF_KILLS, SHARE_OF_ERRORS = 0.10, 0.05
"""How much of each the smaller tier draws."""
HELD_S = 60.0
"""How long a task may be held by a disk that has room again."""
_RESTS = ("已完成", "失败", "已暂停")
LOGGED = 2
"""How often the log may say so: a held task that tried again by itself is another incident."""
SPARE = 8
"""So many calls more than were counted are tried: another run may make some more."""


class Play:
    """
    One run of the scenario on a home, over two processes.
    """

    def __init__(self, bench: Bench, service: Service, name: str, *, failing: bool) -> None:
        self.bench = bench
        self.service = service
        self.name = name
        self.failing = failing
        self.tasks: list[Asked] = []
        self.wrong: list[str] = []
        self.calls: list[str] = []
        self.refused = 0
        """How many answers said that the service could not."""

    def first(self, at: int, error: str) -> None:
        """
        The scenario under the tracer, as far as the fault lets it come.
        """
        service, folder = self.service, self.service.folder
        report, pid = folder / "report.json", folder / "pid"
        tracer = [sys.executable, "-I", str(HERE / "tracer.py"), "--report", str(report), "--pid", str(pid)]
        tracer += [*_within(service), "--at", str(at), *(["--error", error] if error else []), "--"]
        service.launch(*tracer, pid_file=pid)
        traced, port = service.pid, 0
        try:
            if service.listens():
                port = service.port
                self._act()
                service.terminate()
        except Gone:
            if error and service.ended:
                self.wrong.append(f"H3 the service died: {service.log[-500:]}")
        finally:
            self.wrong += i.healthy(service)
            if not service.ended and not wait_for(lambda: service.ended, 5):
                self.wrong.append("the service hangs")
                service.kill()
            service.reap()
        said = json.loads(report.read_text())
        self.calls = said["calls"]
        self.wrong += i.nothing_left_by_the_dead(service, traced, port)
        for asked in self.tasks:
            self.wrong += i.asked_once(self.bench, service, asked, refetched=self.failing)

    def second(self) -> None:
        """
        The service again, without a fault, until everything is done.
        """
        service = self.service
        service.start()
        self.wrong += i.kept_promises(service.tasks(), [*self.tasks, *self._unanswered()])
        for film in ("film", "other"):
            if not any(asked.film == film for asked in self.tasks):
                self._create(film)
        self._settle([asked for asked in self.tasks if asked.film == "film"])
        other = next(asked for asked in self.tasks if asked.film == "other")
        if other.state != "deleted":
            self._ask("DELETE", f"/api/tasks?id={other.id}")
            other.state = "deleted"
        for asked in self.tasks:
            self.wrong += i.asked_once(self.bench, service, asked, refetched=self.failing)
        self.wrong += i.all_done(self.bench, service, self.tasks)
        if (took_s := service.terminate()) > 5:
            self.wrong.append(f"H4 SIGTERM took {took_s:.1f} s")

    def _act(self) -> None:
        film = self._create("film")
        self._settle([film])
        other = self._create("other")
        where = f"/api/tasks?id={other.id}"
        if self._ask("PUT", where, {"status": "已暂停"}) is not None:
            other.state = "已暂停"
        was, other.state = other.state, "deleting"
        other.state = was if self._ask("DELETE", where) is None else "deleted"

    def _create(self, film: str) -> Asked:
        """
        A task of this film: the same as before, if its answer was lost. "other" is one that does not get on.
        """
        tweaks: dict[str, object] = {} if film == "film" else {"delay": 30}
        url = self.bench.playlist("small", f"{self.name}-{film}", tweaks, {})
        body = {"url": url, "filename": film, "header_map": {"Authorization": f"Bearer {CANARY}"}}
        body |= {"advanced": True, "download_threads": CONNECTIONS}
        task = self._ask("POST", "/api/tasks", body, key=f"{self.name}-{film}")
        assert task is not None, "a task cannot be created"
        asked = Asked(id=task["id"], name=f"{self.name}-{film}", film=film, stream=self.bench.streams["small"])
        self.tasks.append(asked)
        return asked

    def _unanswered(self) -> list[Asked]:
        """
        Tasks that are there although their answer was lost: each at most once.
        """
        known = {asked.id for asked in self.tasks}
        found = []
        for task_id, task in self.service.tasks().items():
            if task_id not in known and not any(task["filename"] == asked.film for asked in self.tasks):
                name, stream = f"{self.name}-{task['filename']}", self.bench.streams["small"]
                found.append(Asked(id=task_id, name=name, film=task["filename"], stream=stream))
        return found

    def _settle(self, tasks: list[Asked]) -> None:
        """
        Wait until these are done. One that failed or is held has a code, and goes on when it is asked to.
        """
        for asked in tasks:
            task = self._rest(asked)
            for _ in range(2 if self.failing else 0):
                if task["status"] == "已完成":
                    break
                self._named(asked, task)
                self._ask("PUT", f"/api/tasks?id={asked.id}", {"status": "等待中"})
                task = self._rest(asked)
            if task["status"] != "已完成":
                self.wrong.append(f"{asked.film} ends as {task['status']}: {task.get('err_msg')}")
            else:
                asked.state = "已完成"

    def _named(self, asked: Asked, task: dict[str, Any]) -> None:
        """
        A task that did not make it says why, and so does the log, once.
        """
        code = task.get("err_code")
        if not code or code == "internal":
            self.wrong.append(f"{asked.film} is {task['status']} with the code {code!r}: {task.get('err_msg')}")
        told = self.service.log.count(f"task {asked.id} failed: {code}")
        told += self.service.log.count(f"task {asked.id} is held: {code}")
        if not 1 <= told <= LOGGED:
            self.wrong.append(f"I5 the log tells {told} times of {code}")

    def _rest(self, asked: Asked) -> dict[str, Any]:
        def rests() -> bool:
            return self.service.tasks()[asked.id]["status"] in _RESTS

        if not wait_for(rests, 60, 0.02):
            self.wrong.append(f"{asked.film} does not end: {self.service.tasks()[asked.id]}")
        return self.service.tasks()[asked.id]

    def _ask(self, method: str, target: str, body: object = None, *, key: str = "") -> Any:
        """
        Ask, and once more if a fault was in the way; what the answer says, or None if it is a refusal.
        """
        headers = {"Idempotency-Key": key} if key else {}
        for _ in range(3):
            status, answer = self.service.ask(method, target, body, headers=headers)
            if status < 500:
                break
            self.refused += 1
        if status >= 500:
            self.wrong.append(f"{method} {target}: {status} again and again: {answer}")
        return answer if status == 200 else None


def _within(service: Service) -> list[str]:
    return ["--within", str(service.home), "--within", str(service.saves)]


def calls(bench: Bench, name: str) -> list[str]:
    """
    The calls that the scenario makes undisturbed, each as "service pwrite64 PATH".
    """
    with bench.folder(name) as folder:
        play = Play(bench, bench.service(folder), name, failing=False)
        play.first(0, "")
        assert bench.package or not play.wrong, play.wrong
        return play.calls


def run(bench: Bench, unit: str, seed: str) -> Found:
    """
    One fault: ``kill-N`` or ``EIO-N``; what follows a ``_`` before the dash only tells runs apart.
    """
    word, _, number = unit.partition("-")
    error = word.partition("_")[0]
    at, failing = int(number), error != "kill"
    with bench.folder(unit) as folder:
        service = bench.service(folder)
        play = Play(bench, service, unit, failing=failing)
        try:
            with contextlib.suppress(Gone):
                play.first(at, error if failing else "")
            play.second()
        finally:
            service.kill()
        hit = len(play.calls) >= at
        story = play.calls[at - 1] if hit else "the run made fewer calls"
        if play.wrong:
            story += "\n" + service.log
    figures: dict[str, float] = {"beyond the end": not hit}
    if failing:
        figures["refused requests"] = play.refused
    return Found(faults=int(hit), violations=tuple(dict.fromkeys(play.wrong)), figures=figures, story=story)


def _kill_units(bench: Bench, gate: bool, seed: str) -> list[str]:
    points = range(1, len(calls(bench, "counting-kills")) + (SPARE if gate else 0) + 1)
    few = sorted(random.Random(seed).sample(points, max(1, round(len(points) * SHARE_OF_KILLS))))
    return [f"kill-{at}" for at in (points if gate else few)]


def _error_units(bench: Bench, gate: bool, seed: str) -> list[str]:
    points = range(1, len(calls(bench, "counting-errors")) + (SPARE if gate else 0) + 1)
    every = [f"{error}-{at}" for at in points for error in ERRORS]
    return every if gate else random.Random(seed).sample(every, max(1, round(len(every) * SHARE_OF_ERRORS)))


KILLS = Piece(
    name="syscalls",
    goal="H2: kill -9 at every call that changes the disk",
    units=_kill_units,
    run=run,
    streams=("small",),
)
ERRORS_PIECE = Piece(
    name="errors",
    goal=f"H3: {', '.join(ERRORS)} from every such call",
    units=_error_units,
    run=run,
    streams=("small",),
)
