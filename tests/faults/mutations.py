"""
Does the harness notice? The durability code is broken on purpose, one way at a time, in a copy of the package; then the
smallest faults that should show it are injected, until one does. A mutation that nothing notices is a violation.
"""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs

import m3u8svc
from tests.faults import invariants as i
from tests.faults import kills, powercuts, syscalls
from tests.faults.invariants import Asked
from tests.faults.rig import TS_BYTES, Bench, wait_for
from tests.faults.table import Found, Piece

SOURCE = Path(m3u8svc.__file__).parent
TRIES = 3
"""How often a fault whose instant is drawn is tried."""
FEW = 8
"""How many mutations the smaller tier draws."""


@attrs.frozen(kw_only=True)
class Mutation:
    """
    One way of being wrong: each change is a file, what stands there once, and what shall. `trials` are faults that show
    it: a unit of `powercuts` or `kills`, ``after CALL`` for a kill at one of the calls that follow the one so
    described, or "short" for answers that end too early. `shows` is what they must say, so that
    nothing else that goes wrong counts for it.
    """

    name: str
    changes: tuple[tuple[str, str, str], ...]
    trials: tuple[str, ...]
    shows: str


def _drop(file: str, *lines: str) -> tuple[str, str, str]:
    """The change that leaves out the last of these lines, which follow each other."""
    indent = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())]
    before = "".join(f"{line}\n" for line in lines[:-1])
    return file, f"{before}{lines[-1]}\n", f"{before}{indent}pass\n"


MUTATIONS = (
    Mutation(
        name="segments are not synced",
        changes=(
            _drop("workdir.py", "        for stored in batch:", "            _sync_file(folder, stored.path.name)"),
        ),
        trials=("cut-synced-apart",),
        shows="I2 finished segments|I1 |ends as|does not end|lost",
    ),
    Mutation(
        name="names of segments are not synced",
        changes=(
            _drop(
                "workdir.py",
                "            _link_or_copy(folder, stored.path.name, stored.final.name)",
                "        folder.sync()",
            ),
        ),
        trials=("cut-synced-apart",),
        shows="I2 finished segments",
    ),
    Mutation(
        name="segments are on record before they are synced",
        changes=(
            (
                "download.py",
                "        self._unrecorded[part.position, job.identity] = row\n",
                "        self._record(row)\n",
            ),
        ),
        trials=("cut-synced-apart",),
        shows="I2 finished segments",
    ),
    Mutation(
        name="the film is not synced",
        changes=(
            _drop("mux/output.py", "        self._pusher.stop()", "        os.fsync(self._fd)"),
            (
                "companions.py",
                "        os.fsync(file.fileno())  # the time is",
                "        pass  # the time is",
            ),
        ),
        trials=("cut-completed-apart",),
        shows="I1 |was 已完成",
    ),
    Mutation(
        name="the name of the film is not synced",
        changes=(_drop("places.py", "                continue", "            folder.sync()"),),
        trials=("cut-completed-apart",),
        shows="I1 |I2 |was 已完成|not in the save directory",
    ),
    Mutation(
        name="the film has its name before it is on record",
        changes=(
            (
                "job.py",
                "        await self._journal.staged(identity, companions, self._all_warnings(download))\n"
                "        self._task =",
                "        self._task =",
            ),
            (
                "job.py",
                "        return await publish_over(self._old, self._storage, self._task, staged,"
                " self._name, extension)\n",
                "        placed = await publish_over(self._old, self._storage, self._task, staged,"
                " self._name, extension)\n"
                "        await self._journal.staged(identity, companions, self._all_warnings(download))\n"
                "        return placed\n",
            ),
        ),
        trials=("after renameat2 .*/film.mp4",),
        shows="film_0001|I2 ",
    ),
    Mutation(
        name="a published film is not looked for",
        changes=(("job.py", "            recovered = await self._recover()\n", "            recovered = None\n"),),
        trials=("after renameat2 .*/film.mp4",),
        shows="film_0001|I2 |I1 |ends as",
    ),
    Mutation(
        name="short bodies are taken",
        changes=(
            (
                "body.py",
                "        raise Truncated(url=self._url, expected=expected, got=self._received) from reason.value\n\n"
                "    def _finish_if_taken",
                "        return\n\n    def _finish_if_taken",
            ),
        ),
        trials=("short",),
        shows="I1 |ends as",
    ),
    Mutation(
        name="the home is not locked",
        changes=(_drop("home.py", "    try:", "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)"),),
        trials=("life-answered",),
        shows="H12",
    ),
    Mutation(
        name="creations are answered before they are stored",
        changes=(
            (
                "service.py",
                "        await self._store.insert(task, draft.playlist, most=self._max_unfinished)\n",
                '        in_background("storing", self._store.insert(task, draft.playlist))\n',
            ),
            (
                "service.py",
                "        task_id = await self._store.insert("
                "task, draft.playlist, creation=creation, most=self._max_unfinished)\n",
                '        in_background("storing", self._store.insert(task, draft.playlist, creation=creation))\n'
                "        task_id = task.id\n",
            ),
        ),
        trials=("cut-answered",),
        shows="is lost|nobody asked",
    ),
    Mutation(
        name="commits are not synced",
        changes=(
            ("store/database.py", '"synchronous=FULL"', '"synchronous=OFF"'),
            # The record of changes beside the database holds the same, and is synced, too.
            ("store/changes.py", "            os.fdatasync(self._fd)\n", "            pass\n"),
        ),
        trials=("cut-answered", "cut-completed", "cut-deleted"),
        shows="is lost|is back|was |damaged|ended at once",
    ),
)


def mutated(mutation: Mutation, place: Path) -> Path:
    """
    A copy of the package with this mutation; the directory that holds it.

    Raises:
        AssertionError: the source is not what the mutation expects: it moved on.
    """
    copy = place / "m3u8svc"
    shutil.copytree(SOURCE, copy)  # with the compiled files: their times are kept
    for file, old, new in mutation.changes:
        text = (copy / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{mutation.name}: {file} has {text.count(old)} times {old!r}"
        (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    return place


def run(bench: Bench, unit: str, seed: str) -> Found:
    """
    One mutation, by its name with dashes.
    """
    mutation = next(each for each in MUTATIONS if _unit(each) == unit)
    with bench.folder(f"mutation-{unit}") as place:
        broken = attrs.evolve(bench, package=str(mutated(mutation, place)), place=bench.place)
        tried = 0
        for trial, chance in _trials(broken, mutation, seed):
            tried += 1
            noticed = [each for each in _try(broken, unit, trial, chance) if re.search(mutation.shows, each)]
            if noticed:
                return Found(faults=1, figures={"trials": tried}, story=f"{trial}: {noticed[0]}")
    return Found(faults=1, violations=(f"nobody notices: {mutation.name}",), figures={"trials": tried})


def _trials(bench: Bench, mutation: Mutation, seed: str) -> Iterator[tuple[str, str]]:
    """
    What to try, each with a seed.
    """
    for trial in mutation.trials:
        kind, _, rest = trial.partition(" ")
        if kind != "after":
            yield from ((trial, f"{seed}/{trial}/{number}") for number in range(TRIES))
            continue
        made = syscalls.calls(bench, f"calls-{_unit(mutation)}")
        at = next(at for at, text in enumerate(made, 1) if re.search(rest.replace(" ", " .*", 1), text))
        yield from ((f"kill-{point}", f"{seed}/{point}") for point in range(at + 1, at + 8))


def _try(bench: Bench, unit: str, trial: str, seed: str) -> list[str]:
    """
    What one fault finds: also that the service does not start any more.
    """
    name, _, rest = trial.partition("-")
    apart = unit.replace("-", "_")
    try:
        match name:
            case "short":
                return _short(bench)
            case "cut":
                return [*powercuts.run(bench, f"cut_{apart}-{rest}", seed).violations]
            case "life":
                return [*kills.run(bench, f"life_{apart}-{rest}", seed).violations]
        return [*syscalls.run(bench, f"{name}_{apart}-{rest}", seed).violations]
    except AssertionError as error:
        return [str(error)]


def _short(bench: Bench) -> list[str]:
    """
    A film whose segments each come short once.
    """
    dice = random.Random(0)
    with bench.folder("mutation-short") as folder:
        service = bench.service(folder)
        try:
            service.start()
            faulty = {at: {"cut": TS_BYTES * dice.randrange(50, 100), "times": 1} for at in range(1, 7)}
            clear = bench.streams["clear"]
            url = bench.playlist("clear", "mutation-short", {}, faulty)
            _, task = service.ask("POST", "/api/tasks", {"url": url, "filename": "film"})
            asked = Asked(id=task["id"], name="mutation-short", film="film", stream=clear)
            wait_for(lambda: service.tasks()[asked.id]["status"] in ("已完成", "失败"), 60)
            return i.same_bytes(service, asked)
        finally:
            service.kill()


def _unit(mutation: Mutation) -> str:
    return mutation.name.replace(" ", "-")


def _units(bench: Bench, gate: bool, seed: str) -> list[str]:
    every = [_unit(each) for each in MUTATIONS]
    return every if gate else random.Random(seed).sample(every, FEW)


PIECE = Piece(
    name="mutations",
    goal="every way of breaking the durability code is noticed",
    units=_units,
    run=run,
)
