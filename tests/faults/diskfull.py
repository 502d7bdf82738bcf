"""
H6: a disk fills up at some instant, and has room again later. The tasks on it are held and go on by themselves, those
of other disks do not notice, and what the database could not take is made up for.

The small disk is a tmpfs, with the results on it, the database, or both.
"""

import os
import random
import time
from pathlib import Path

from tests import needs
from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.kills import DELAY_S, Life
from tests.faults.rig import CONNECTIONS, Bench, wait_for
from tests.faults.table import Found, Piece

SIZE = "40m"
AIMS = {"before": 1, "segments": 4, "merging": 3, "fetched": 3, "database": 3, "both": 3}
"""How often each is drawn: when the disk fills, or what is on it besides."""
GOES_ON_S = 60.0
FULL_S = 1.5
"""How long it stays full at least."""
HELD = "已暂停"


class Filler:
    """
    The file that takes all there is of a disk.
    """

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def fill(self) -> None:
        """Take everything that is free, to the last block."""
        with self._path.open("ab") as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                except OSError:
                    continue  # no room for one of this size

    def free(self) -> None:
        """Give it back."""
        self._path.unlink(missing_ok=True)


class Cycle(Life):
    """
    One life on a disk that fills up.
    """

    def add(self, film: str, saves: Path | None) -> Asked:
        """
        A task with its results in `saves`.
        """
        name = f"{self.name}-{film}"
        url = self.bench.playlist("locked", name, {"delay": DELAY_S}, {})
        body: dict[str, object] = {"url": url, "filename": film, "advanced": True, "download_threads": CONNECTIONS}
        if saves is not None:
            body["save_location"] = str(saves)
        for _ in range(20):  # a database that is full refuses, and says so
            status, answer = self.service.ask("POST", "/api/tasks", body, headers={"Idempotency-Key": name})
            if status == 200:
                break
            if status < 500:
                self.wrong.append(f"POST with a full disk: {status} {answer}")
            time.sleep(0.2)
        assert status == 200, answer
        locked = self.bench.streams["locked"]
        asked = Asked(id=answer["id"], name=name, film=film, stream=locked, saves=saves)
        self.tasks.append(asked)
        return asked

    def until(self, aim: str, target: Asked) -> None:
        """
        Wait for the instant at which the disk is to fill.
        """
        segments = target.stream.segments
        some = {"before": 0, "fetched": segments}.get(aim, self.dice.randrange(1, segments))
        wait_for(lambda: len(i.stored(self.service, target)) >= some, 30, 0.001)

    def status(self, asked: Asked) -> str:
        """
        A task's state, as the API says.
        """
        return str(self.service.tasks()[asked.id]["status"])


def run(bench: Bench, unit: str, seed: str) -> Found:
    """
    One cycle: ``full3-segments``.
    """
    aim = unit.partition("-")[2]
    with bench.folder(unit) as folder, needs.memory_disk(folder / "small", SIZE) as small:
        home = small / "home" if aim in ("database", "both") else folder / "home"
        saves = folder / "saves" if aim == "database" else small / "saves"
        service = bench.service(folder, home=home, saves=saves)
        cycle, filler = Cycle(bench, service, unit, random.Random(seed)), Filler(small)
        held = False
        try:
            service.start()
            if aim == "before":
                saves.mkdir(exist_ok=True)
                filler.fill()
            target = cycle.add("film", None)
            other = cycle.add("other", folder / "elsewhere")
            cycle.until(aim, target)
            filler.fill()
            full_since = time.monotonic()
            if aim not in ("database", "both"):
                held = wait_for(lambda: cycle.status(target) in (HELD, "已完成"), 30, 0.05)
                held = held and cycle.status(target) == HELD
                cycle.wrong += _held(cycle, target) if held else []
                if not wait_for(lambda: cycle.status(other) == "已完成", 60, 0.05):
                    cycle.wrong.append(f"a task on another disk is {cycle.status(other)}")
            time.sleep(max(0.0, full_since + FULL_S - time.monotonic()))
            filler.free()
            if not wait_for(lambda: cycle.status(target) not in (HELD, "失败"), GOES_ON_S, 0.2):
                cycle.wrong.append(f"H6 {cycle.status(target)} {GOES_ON_S:.0f} s after there was room again")
            cycle.until_done()
            for asked in cycle.tasks:
                asked.state = "已完成"
                cycle.wrong += i.asked_once(bench, service, asked, refetched=True)
            cycle.wrong += i.all_done(bench, service, cycle.tasks)
            if (took_s := service.terminate()) > 5:
                cycle.wrong.append(f"H4 SIGTERM took {took_s:.1f} s")
        finally:
            filler.free()
            service.kill()
        story = service.log if cycle.wrong else ""
    return Found(faults=1, violations=tuple(dict.fromkeys(cycle.wrong)), figures={"held": held}, story=story)


def _held(cycle: Cycle, target: Asked) -> list[str]:
    """
    What a held task says of itself, and the log of it.
    """
    task = cycle.service.tasks()[target.id]
    wrong = [] if task.get("err_code") == "disk_full" else [f"held as {task.get('err_code')!r}: {task.get('err_msg')}"]
    if f"task {target.id} is held: disk_full" not in cycle.service.log and task.get("held") != "disk_full":
        wrong.append("I5 the log does not say why the task is held")
    return wrong


def _units(bench: Bench, gate: bool, seed: str) -> list[str]:
    aims = random.Random(seed).choices(list(AIMS), list(AIMS.values()), k=50 if gate else 5)
    return [f"full{number}-{aim}" for number, aim in enumerate(aims)]


PIECE = Piece(
    name="diskfull",
    goal="H6: 50 cycles of a full disk, held and gone on by itself",
    units=_units,
    run=run,
    streams=("locked",),
)
