"""
What must hold after every fault, whatever it was (reliability 4, I1-I6): each function here looks at one of them and
returns what is wrong with it, a line each.

I1 a result has the bytes of an undisturbed run; I2 every segment is stored once and asked for once, but for those in
flight; I3 no part, child, socket or descriptor is left over; I4 ``/healthz`` answers within a second; I5 the log
names each cause once, tells no secret and has no traceback; I6 memory, descriptors and threads are bounded. And of
what was acknowledged nothing is lost, doubled or undone.
"""

import os
import re
import socket
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any  # JSON values

import attrs

from tests.faults.rig import CANARY, CONNECTIONS, Bench, Service, Stream, children, muxers, sha256, wait_for

HEALTHY_S = 1.0
RSS_KIB = 200 << 10
"""Of a service with four small tasks; 300 MiB is the bound of sixteen large ones (6.4)."""
THREADS = 24
DESCRIPTORS = 64 + 16 + 2 * 4 * CONNECTIONS
"""64, the API's connections, two for each transfer (6.4)."""
_COMPLAINT = re.compile(
    r"^.*(?:Traceback|Unhandled|Exception ignored|Fatal Python|#critical\] (?!cannot start: )).*$", re.M
)
_STORED = re.compile(r"(\d{8})-[0-9a-f]{12}\.(?!part)\w+?(\.new)?")


@attrs.define(kw_only=True)
class Asked:
    """
    One task as its client knows it, and what was seen of it. `stored` are the segments that were finished when it was
    last looked at; `seen` counts the origin's visits until then.
    """

    id: str
    name: str
    film: str
    """The result's name without its extension."""
    stream: Stream
    keep: bool = False
    stored: set[int] = attrs.field(factory=set)
    seen: int = 0
    saves: Path | None = None
    """Where its film goes, if not where all others do."""
    state: str = ""
    """
    What its client was told that it is: 已暂停, 已完成, or "deleted"; "" while it only may go on, "deleting" when the
    answer to its deletion did not come.
    """


def result(service: Service, asked: Asked) -> Path:
    """
    Where its film will be.
    """
    return (asked.saves or service.saves) / f"{asked.film}.mp4"


def stored(service: Service, asked: Asked) -> set[int]:
    """
    The positions of the segments that a restart may use.
    """
    if result(service, asked).exists():
        return set(range(1, asked.stream.segments + 1))
    return {int(found[1]) for name in _work(service, asked) if (found := _STORED.fullmatch(name))}


def _work(service: Service, asked: Asked) -> list[str]:
    try:
        return os.listdir((asked.saves or service.saves) / ".m3u8svc" / asked.id)
    except OSError:
        return []


# -- One function for each -------------------------------------------------------------------------------------------


def same_bytes(service: Service, asked: Asked) -> list[str]:
    """
    I1: the film is there and is that of an undisturbed run; kept segments are all there.
    """
    film = result(service, asked)
    if not film.exists():
        return [f"I1 {film.name} is not there"]
    wrong = [] if sha256(film) == asked.stream.golden else [f"I1 {film.name} has other bytes"]
    if asked.keep:
        kept = sorted(path.name for path in (film.parent / asked.film).glob("*.ts"))
        if kept != [f"{position:05d}.ts" for position in range(1, asked.stream.segments + 1)]:
            wrong.append(f"I1 kept of {asked.film}: {kept}")
    return wrong


def asked_once(bench: Bench, service: Service, asked: Asked, *, spare: int = 0, refetched: bool = False) -> list[str]:
    """
    I2: since it was last looked at nothing was asked for that was finished then, nothing came twice, and no more was
    asked for in vain than there are connections, and `spare` answers that were cut short. `refetched`: the disk
    refused a segment that had come, so it may come again.
    """
    visits = bench.origin.visits(asked.name)
    fresh = [
        (int(Path(path).stem) + 1, whole and status == 200)
        for path, whole, status in visits[asked.seen :]
        if path.endswith(".ts")
    ]
    asked.seen = len(visits)
    positions = {position for position, _ in fresh}
    twice = sorted(position for position, times in Counter(each for each, whole in fresh if whole).items() if times > 1)
    wrong = []
    if positions & asked.stored:
        wrong.append(f"I2 finished segments of {asked.film} asked for again: {sorted(positions & asked.stored)}")
    if twice and not refetched:
        wrong.append(f"I2 segments of {asked.film} came twice: {twice}")
    there = stored(service, asked)
    if len(positions - there) > CONNECTIONS + spare and not refetched and asked.state != "deleted":
        wrong.append(f"I2 {asked.film}: asked for {sorted(positions)}, stored {sorted(there)}")
    names = Counter(found[1] for name in _work(service, asked) if (found := _STORED.fullmatch(name)) and not found[2])
    wrong += [f"I2 segment {position} of {asked.film} is stored twice" for position, n in names.items() if n > 1]
    asked.stored |= there
    return wrong


def nothing_left_by_the_dead(service: Service, pid: int, port: int) -> list[str]:
    """
    I3, right after a kill: no child outlives the service, nobody listens any more.
    """
    wrong = []
    if not wait_for(lambda: not muxers(pid), 3):
        wrong.append("I3 a muxing child outlived its service")
    if port:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                wrong.append("I3 somebody still listens")
    return wrong


def nothing_left(service: Service, tasks: Collection[Asked]) -> list[str]:
    """
    I3, once every task has ended: the save directory has the results and nothing else, the home no half file, the
    service no child and no file open that is gone.
    """
    wrong = []
    for saves in {service.saves, *(asked.saves or service.saves for asked in tasks)}:
        mine = [asked for asked in tasks if (asked.saves or service.saves) == saves]
        expected = {f"{asked.film}.mp4" for asked in mine} | {asked.film for asked in mine if asked.keep}
        wrong += _only(saves, expected)
    half = [name for name in os.listdir(service.home) if name.endswith((".part", ".new", "-journal"))]
    wrong += [f"I3 left in the home: {name}" for name in half]
    if not service.ended:
        if not wait_for(lambda: not children(service.pid), 5):
            wrong.append("I3 a child is left")
        gone = [target for target in _open_files(service.pid) if target.endswith((" (deleted)", ".part"))]
        wrong += [f"I3 a descriptor is left of {target}" for target in gone if str(service.folder) in target]
    return wrong


def _only(saves: Path, expected: set[str]) -> list[str]:
    def names() -> set[str]:
        return set(os.listdir(saves)) if saves.exists() else set()

    wait_for(lambda: names() == expected, 5)
    wrong = [f"I3 left in the save directory: {name}" for name in sorted(names() - expected)]
    return wrong + [f"I3 not in the save directory: {name}" for name in sorted(expected - names())]


def healthy(service: Service) -> list[str]:
    """
    I4.
    """
    slow = service.slowest_s
    return [f"I4 /healthz took {slow:.1f} s"] if slow > HEALTHY_S else []


def clean_log(service: Service) -> list[str]:
    """
    I5, but for the causes, which each piece knows. A start that is refused is critical, and said so.
    """
    log = service.log
    wrong = [f"I5 in the log: {line.strip()}" for line in _COMPLAINT.findall(log)]
    if CANARY in log:
        wrong.append("I5 a secret is in the log")
    return wrong


def within_bounds(service: Service) -> list[str]:
    """
    I6, of a service that runs.
    """
    try:
        with open(f"/proc/{service.pid}/status", encoding="ascii", errors="replace") as lines:
            status = dict(line.split(":", 1) for line in lines)
        descriptors = len(_open_files(service.pid))
    except OSError:
        return []  # it just died
    measured = (
        ("KiB of memory", int(status["VmRSS"].split()[0]), RSS_KIB),
        ("threads", int(status["Threads"]), THREADS),
        ("descriptors", descriptors, DESCRIPTORS),
    )
    return [f"I6 {found} {what}, at most {most}" for what, found, most in measured if found > most]


def kept_promises(listed: dict[str, dict[str, Any]], tasks: Collection[Asked]) -> list[str]:
    """
    What was acknowledged is still so: no task is lost or doubled, a deleted one stays gone, a paused one paused, a
    finished one finished.
    """
    wrong = []
    for asked in tasks:
        found = listed.get(asked.id)
        if asked.state == "deleted":
            wrong += [f"the deleted task {asked.film} is back"] if found else []
        elif asked.state == "deleting":
            asked.state = "" if found else "deleted"  # it may be either
        elif found is None:
            wrong.append(f"the task {asked.film} is lost")
        elif asked.state and found["status"] != asked.state:
            wrong.append(f"the task {asked.film} was {asked.state} and is {found['status']}")
    strangers = listed.keys() - {asked.id for asked in tasks}
    names = Counter(str(task["filename"]) for task in listed.values())
    wrong += [f"{times} tasks are named {name}" for name, times in names.items() if times > 1]
    wrong += [f"nobody asked for the task {task_id}" for task_id in sorted(strangers)]
    return wrong


def all_done(bench: Bench, service: Service, tasks: Collection[Asked]) -> list[str]:
    """
    Everything that is to be seen at the end, when the client knows of these tasks and all of them have ended.
    """
    alive = [asked for asked in tasks if asked.state != "deleted"]
    listed = service.tasks()
    wrong = kept_promises(listed, tasks) + nothing_left(service, alive)
    for asked in alive:
        wrong += same_bytes(service, asked)
        task = listed.get(asked.id, {})
        size = result(service, asked).stat().st_size if result(service, asked).exists() else 0
        if (task.get("progress"), task.get("size")) != (100, size):
            wrong.append(f"{asked.film}: progress {task.get('progress')}, size {task.get('size')} of {size}")
    return wrong + healthy(service) + clean_log(service) + within_bounds(service)


def _open_files(pid: int) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except OSError:
            continue  # closed meanwhile
    return found
