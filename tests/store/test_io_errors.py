"""
A disk that fails under the store (H3, H11): errors that strace puts into the calls of a child process.
"""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import pytest_twisted

from tests.databases import with_store
from tests.needs import lacking

INSERTS = textwrap.dedent(
    """
    import sys
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from m3u8svc.errors import DiskFull, StoreError
    from m3u8svc.store import Store
    from m3u8svc.tasks.task import Task, TaskSpec

    async def run():
        store = Store(sys.argv[1], reactor=reactor)
        await store.open()
        for number in range(40):
            try:
                await store.insert(Task(id=f"{number:02d}", spec=TaskSpec(url="http://o.example/", filename="x")))
            except (DiskFull, StoreError) as error:
                print("refused", error.code)
            else:
                print("stored", f"{number:02d}")
        await store.close()
        reactor.stop()

    Deferred.fromCoroutine(run())
    reactor.run()
    """
)


@pytest.mark.parametrize(
    "fault",
    [
        "pwrite64:error=EIO:when=60+7",
        "pwrite64:error=ENOSPC:when=61+5",
        "fdatasync:error=EIO:when=20+3",
        "fdatasync:error=EIO:when=21+3",
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_error_of_the_disk_loses_nothing_acknowledged(tmp_path: Path, fault: str) -> None:
    """
    Some are refused with a code, the rest is there after the next start without a restore, and no process falls over.
    """
    if shutil.which("strace") is None:
        lacking("strace")
    url = f"sqlite:///{tmp_path}/db"
    await with_store(url, lambda store: store.tasks())
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={fault.partition(':')[0]}",
        "-e",
        f"inject={fault}",
    ]
    ran = subprocess.run([*command, sys.executable, "-c", INSERTS, url], capture_output=True, text=True, timeout=60)
    assert (0, False) == (ran.returncode, "Traceback" in ran.stderr), ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines()]
    stored = [said for what, said in lines if what == "stored"]
    refused = {said for what, said in lines if what == "refused"}
    assert 40 == len(lines) and stored and refused <= {"store_failed", "disk_full", "db_damaged"} and refused

    async def found(store: object) -> tuple[object, list[str]]:
        return store.notices, [task.id for task in await store.tasks()]  # type: ignore[attr-defined]

    notices, there = await with_store(url, found)
    assert ((), set()) == (notices, set(stored) - set(there))
