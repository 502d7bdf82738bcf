"""
H5: power cuts. The service lives on an ext4 image of its own; at some instant everything is stopped, the file system is
shut down without its log being flushed (``FS_IOC_SHUTDOWN``), and only what was synced is there after the next mount.

Stopped first, since a sync that is under way while the file system goes down would be acknowledged by the simulation
alone. The next process is told that it is in another boot, as it would be.
"""

import fcntl
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import needs
from tests.faults import invariants as i
from tests.faults.invariants import Asked
from tests.faults.kills import Life
from tests.faults.rig import CONNECTIONS, Bench, Service, children, wait_for
from tests.faults.table import Found, Piece

IMAGE_BYTES = 96 << 20
AIMS = {
    "random": 4,
    "answered": 2,
    "synced": 4,
    "published": 3,
    "completed": 3,
    "paused": 2,
    "deleted": 2,
}
"""How often each is drawn: at any time, after a create's answer, once segments are synced, once the film has its name,
once the task is done, after the answer to a pause or a delete."""
APART = 0.4
"""How often the database is on another disk."""
SLOW_S = 0.6
"""How long the origin takes for a segment where some shall be synced before the last has come."""
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


@contextmanager
def disk(folder: Path) -> Iterator["Disk"]:
    """
    An ext4 of its own below `folder`, mounted.
    """
    needs.root("mounting a disk image")
    if shutil.which("mkfs.ext4") is None:
        needs.lacking("mkfs.ext4 (e2fsprogs)")
    made = Disk(folder)
    try:
        made.mount()
        yield made
    finally:
        made.unmount()


class Disk:
    """
    An image file and where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.at = folder / "disk"
        self.at.mkdir()
        with self.image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True, capture_output=True)

    def mount(self) -> None:
        """
        Mount it; what its log holds is replayed. Without the mercy that ext4 has with files that were truncated or
        replaced, and no other file system.
        """
        argv = ["mount", "-o", "loop,noauto_da_alloc", str(self.image), str(self.at)]
        ran = subprocess.run(argv, capture_output=True, check=False)
        if ran.returncode != 0:
            needs.lacking(f"the right to mount a loop device: {ran.stderr.decode().strip()}")

    def cut(self) -> None:
        """The power goes: what was not synced is gone."""
        descriptor = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def come_back(self) -> None:
        """
        The power is there again. What is mounted is a copy: the old one may still be mounted somewhere, shut down as it
        is, such as in another namespace of mounts.
        """
        self.unmount()
        renewed = self.image.with_suffix(".copy")
        subprocess.run(["cp", "--sparse=always", str(self.image), str(renewed)], check=True)
        self.image.unlink()
        self.image = renewed
        self.mount()

    def unmount(self) -> None:
        """Unmount it, at the latest once nobody has a file open there any more."""

        def gone() -> bool:
            return subprocess.run(["umount", str(self.at)], capture_output=True, check=False).returncode == 0

        if os.path.ismount(self.at) and not wait_for(gone, 5, 0.05):
            subprocess.run(["umount", "--lazy", str(self.at)], capture_output=True, check=False)


class Cut(Life):
    """
    A life that ends by a power cut, and one after it.
    """

    def bring_to(self, aim: str) -> None:
        """
        Bring a task to where the aim is; returns right there.
        """
        service, dice = self.service, self.dice
        if dice.random() < 0.3 and aim != "completed":
            self.until_acknowledged(self.create(delay_s=0))
        target = self.create(delay_s=SLOW_S if aim == "synced" else 0.3 if aim == "paused" else 0.05)
        match aim:
            case "random":
                time.sleep(dice.uniform(0, 3))
            case "synced":
                wait_for(lambda: bool(recorded(service, target)), 30)
                time.sleep(dice.uniform(0, 1.0))
            case "published":
                wait_for(i.result(service, target).exists, 60, 0.001)
                time.sleep(dice.choice((0, 0, dice.uniform(0, 0.05))))
            case "completed":
                self.until_acknowledged(target)
            case "paused" | "deleted":
                wait_for(lambda: len(i.stored(service, target)) >= CONNECTIONS, 20)
                self.ask(aim, target)

    def until_acknowledged(self, asked: Asked) -> None:
        """
        Wait until the API says that it is done: from then on it is.
        """
        if wait_for(lambda: self.service.tasks()[asked.id]["status"] == "已完成", 60, 0.005):
            asked.state = "已完成"

    def cut(self, disk: Disk) -> None:
        """
        Stop everything, note what was durable, cut the power.
        """
        service = self.service
        service.pause()
        for asked in self.tasks:
            done = asked.state == "已完成" or recorded(service, asked) == set(range(1, asked.stream.segments + 1))
            asked.stored = set(range(1, asked.stream.segments + 1)) if done else recorded(service, asked)
        pid, port, others = service.pid, service.port, children(service.pid)
        disk.cut()
        for child in others:  # one that was stopped before it asked to die with the service would stay
            os.kill(child, signal.SIGKILL)
        service.kill()
        self.wrong += i.nothing_left_by_the_dead(service, pid, port)
        time.sleep(0.05)
        for asked in self.tasks:  # what was asked for before the cut is no matter
            asked.seen = len(self.bench.origin.visits(asked.name))
        disk.come_back()


def recorded(service: Service, asked: Asked) -> set[int]:
    """
    The segments that the database has as done: it never says so of one that is not synced. Read from a copy, since a
    second reader of the file itself would take part in its locks.
    """
    copy = service.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("m3u8svc.sqlite3", "m3u8svc.sqlite3-wal"):
        if (service.home / name).exists():
            shutil.copyfile(service.home / name, copy / name)
    connection = sqlite3.connect(copy / "m3u8svc.sqlite3")
    try:
        query = "SELECT position FROM segments WHERE task_id = ? AND outcome = 'done'"
        return {position for (position,) in connection.execute(query, (asked.id,))}
    except sqlite3.DatabaseError:
        return set()  # copied while it was being written
    finally:
        connection.close()


def run(bench: Bench, unit: str, seed: str) -> Found:
    """
    One cut: ``cut7-published``. With ``-apart`` the database is on another disk, which nothing happens to: what it
    knows must be on this one.
    """
    aim, apart = unit.split("-")[1], unit.endswith("-apart")
    with bench.folder(unit) as folder, disk(folder) as disk_:
        home = folder / "home" if apart else disk_.at / "home"
        service = bench.service(folder, boot="first", home=home, saves=disk_.at / "saves")
        life = Cut(bench, service, unit, random.Random(seed))
        try:
            service.start()
            life.bring_to(aim)
            life.cut(disk_)
            durable = sum(len(asked.stored) for asked in life.tasks)
            service.entry = bench.service(folder, boot="second").entry
            service.start()
            life.wrong += i.kept_promises(service.tasks(), life.tasks)
            for asked in life.tasks:
                if asked.state == "已暂停":
                    asked.state = ""
                    service.ask("PUT", f"/api/tasks?id={asked.id}", {"status": "等待中"})
            life.until_done()
            for asked in life.tasks:
                asked.state = asked.state or "已完成"
            life.look()
            life.wrong += i.all_done(bench, service, life.tasks)
            if (took_s := service.terminate()) > 5:
                life.wrong.append(f"H4 SIGTERM took {took_s:.1f} s")
        finally:
            service.kill()
        story = f"{durable} durable segments of {len(life.tasks)} tasks"
        if life.wrong:
            story += "\n" + service.log
    return Found(
        faults=1,
        violations=tuple(dict.fromkeys(life.wrong)),
        figures={"durable segments": durable, "most /healthz s": round(service.slowest_s, 2)},
        story=story,
    )


def _units(bench: Bench, gate: bool, seed: str) -> list[str]:
    dice = random.Random(seed)
    aims = dice.choices(list(AIMS), list(AIMS.values()), k=200 if gate else 15)
    return [f"cut{number}-{aim}" + "-apart" * (dice.random() < APART) for number, aim in enumerate(aims)]


PIECE = Piece(
    name="powercuts",
    goal="H5: 200 power cuts, nothing acknowledged lost",
    units=_units,
    run=run,
    streams=("clear", "locked"),
)
