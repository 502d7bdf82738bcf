"""
H1: killed at any instant, the service goes on where it was.

One unit is one life: a home and its tasks over `KILLS` kills. Where each is drawn from the seed, and aimed at the
phases of a task: right after an answer, among the segments, between the last segment and the file's name, between that
and the row. A second service on the same home is tried once a life, and must leave the first alone.
"""

import random
import subprocess
import time
from collections.abc import Callable

from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.rig import CANARY, CONNECTIONS, Bench, Service, wait_for
from tests.faults.table import Found, Piece

KILLS = 5
DELAY_S = 0.12
"""How long the origin takes for a segment, so that a download lasts about a second."""
PIECE_S = 0.01
"""How long it takes for each 64 KiB of one."""
AIMS = {
    "random": 10,
    "answered": 4,
    "downloading": 7,
    "merging": 5,
    "fetched": 4,
    "published": 6,
    "paused": 2,
    "deleted": 2,
}
"""How often each is drawn."""
_EXIT_LOCKED = 75


class Life:
    """
    One home and its tasks, over several processes.
    """

    def __init__(self, bench: Bench, service: Service, name: str, dice: random.Random) -> None:
        self.bench = bench
        self.service = service
        self.name = name
        self.dice = dice
        self.tasks: list[Asked] = []
        self.story: list[str] = []
        self.wrong: list[str] = []

    def create(self, *, delay_s: float = DELAY_S) -> Asked:
        """
        A new task, acknowledged; some of the others keep their segments, or have an answer that is cut short.
        """
        stream, keep = self.dice.choice(("clear", "locked")), self.dice.random() < 0.3
        film = f"film-{len(self.tasks)}"
        name = f"{self.name}-{film}"
        faulty: dict[int, dict[str, object]] = {}
        if self.dice.random() < 0.25:
            faulty = {self.dice.randrange(1, 32): {"cut": self.dice.randrange(1, 9000), "times": 1}}
        url = self.bench.playlist(stream, name, {"delay": delay_s, "chunk_delay": PIECE_S}, faulty)
        body = {"url": url, "filename": film, "header_map": {"Authorization": f"Bearer {CANARY}"}}
        settings = {"advanced": True, "download_threads": CONNECTIONS, "keep_ts_files": keep}
        status, answer = self.service.ask("POST", "/api/tasks", body | settings)
        assert status == 200, answer
        asked = Asked(id=answer["id"], name=name, film=film, stream=self.bench.streams[stream], keep=keep)
        self.tasks.append(asked)
        return asked

    def until_done(self, seconds: float = 60) -> None:
        """
        Wait until every task has ended.
        """

        def ended() -> bool:
            states = {task["status"] for task in self.service.tasks().values()}
            return states <= {"已完成", "失败"}

        if not wait_for(ended, seconds, 0.05):
            self.wrong.append(f"a task does not end: {[t['status'] for t in self.service.tasks().values()]}")

    def one_kill(self, aim: str) -> None:
        """
        Bring a task to where the aim is, kill the service there, start it again, look at everything.
        """
        listed = self.service.tasks()
        alive = [asked for asked in self.tasks if asked.state != "deleted"]
        running = [asked for asked in alive if listed[asked.id]["status"] != "已完成"]
        if not running or aim in ("answered", "paused", "deleted"):
            running.append(self.create(delay_s={"paused": 0.3, "deleted": 1.0}.get(aim, DELAY_S)))
        target = running[-1]
        if aim in ("paused", "deleted"):
            wait_for(lambda: len(i.stored(self.service, target)) >= CONNECTIONS, 20)
            self.ask(aim, target)
        when, delay_s = self.moment(aim, target)
        self.kill(when, delay_s)
        self.story.append(f"{aim}: {len(i.stored(self.service, target))} segments of {target.film}")
        self.service.start()
        self.wrong += i.kept_promises(self.service.tasks(), self.tasks)
        if aim == "paused":
            target.state = ""
            status, answer = self.service.ask("PUT", f"/api/tasks?id={target.id}", {"status": "等待中"})
            if status != 200:
                self.wrong.append(f"a paused task does not go on: {answer}")

    def ask(self, aim: str, target: Asked) -> None:
        """
        Pause or delete the task; the answer is what must survive.
        """
        where = f"/api/tasks?id={target.id}"
        if aim == "paused":
            status, answer = self.service.ask("PUT", where, {"status": "已暂停"})
            target.state = "已暂停"
        else:
            status, answer = self.service.ask("DELETE", where)
            target.state = "deleted"
        assert status == 200, answer

    def kill(self, when: Callable[[], bool], delay_s: float) -> None:
        """
        SIGKILL at the moment `when` holds, plus `delay_s`; then look at what is left.
        """
        wait_for(when, 20, 0.0005)
        time.sleep(delay_s)
        self.wrong += i.within_bounds(self.service)
        pid, port = self.service.pid, self.service.port
        self.service.kill()
        self.wrong += i.nothing_left_by_the_dead(self.service, pid, port) + i.clean_log(self.service)
        self.look()

    def look(self) -> None:
        """
        I2 of every task.
        """
        time.sleep(0.05)  # so that the origin has read what was sent before
        for asked in self.tasks:
            self.wrong += i.asked_once(self.bench, self.service, asked, spare=1)

    def moment(self, aim: str, target: Asked) -> tuple[Callable[[], bool], float]:
        """
        When to kill: a condition, and how long after it.
        """
        service, dice, segments = self.service, self.dice, target.stream.segments
        some, size = dice.randrange(1, segments), dice.randrange(1, 5_000_000)
        film = i.result(service, target)
        match aim:
            case "random":
                return lambda: True, dice.uniform(0, 1.7)
            case "downloading":
                return lambda: len(i.stored(service, target)) >= some, 0
            case "merging":
                return lambda: _size(service, target) >= size or film.exists(), 0
            case "fetched":
                return lambda: len(i.stored(service, target)) == segments, dice.uniform(0, 0.1)
            case "published":
                return film.exists, dice.choice((0, 0, dice.uniform(0, 0.03)))
        return lambda: True, 0


def _size(service: Service, asked: Asked) -> int:
    try:
        return (service.saves / f".{asked.id}.part.mp4").stat().st_size
    except FileNotFoundError:
        return 0


def _second_is_refused(service: Service) -> list[str]:
    """
    H12: the home is taken, and the first does not even notice.
    """
    try:
        ran = subprocess.run(service.command, capture_output=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return ["H12 a second service runs on the same home"]
    return [] if ran.returncode == _EXIT_LOCKED else [f"H12 a second service ends with {ran.returncode}"]


def run(bench: Bench, unit: str, seed: str) -> Found:
    """
    One life: ``life7``, or with every kill at the same aim ``life7-published``.
    """
    dice = random.Random(seed)
    aim = unit.partition("-")[2]
    aims = [aim] * KILLS if aim else dice.choices(list(AIMS), list(AIMS.values()), k=KILLS)
    with bench.folder(unit) as folder:
        service = bench.service(folder)
        life = Life(bench, service, unit, dice)
        try:
            service.start()
            for aim in aims:
                life.one_kill(aim)
            life.wrong += _second_is_refused(service)
            life.until_done()
            for asked in life.tasks:
                asked.state = asked.state or "已完成"
            life.look()
            life.wrong += i.all_done(bench, service, life.tasks)
            if (took_s := service.terminate()) > 5:
                life.wrong.append(f"H4 SIGTERM took {took_s:.1f} s")
        finally:
            service.kill()
        story = "; ".join(life.story)
        if life.wrong:
            story += "\n" + service.log
    return Found(
        faults=KILLS,
        violations=tuple(dict.fromkeys(life.wrong)),
        figures={"tasks": len(life.tasks), "most /healthz s": round(service.slowest_s, 2)},
        story=story,
    )


PIECE = Piece(
    name="kills",
    goal="H1: 500 kill -9, nothing lost or doubled, same bytes",
    units=lambda bench, gate, seed: [f"life{number}" for number in range(100 if gate else 8)],
    run=run,
    streams=("clear", "locked"),
)
