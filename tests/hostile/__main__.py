"""
Hostile media by the ten thousand: ``python -m tests.hostile --gate`` (50,000 damaged segments).

Results go to a file, a line a batch, and what is in it is not run again: so a long run can be stopped and gone on with.
The same seed makes the same bytes.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from tests.hostile.run import IN_A_BATCH, Rig, make_originals, seeds_of
from tests.hostile.watch import watched

GATE = 50_000
CI = 300


def main() -> None:
    """The command line."""
    reading = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    reading.add_argument("--gate", action="store_true", help=f"{GATE} damaged segments instead of {CI}")
    reading.add_argument("--count", type=int, help="so many instead")
    reading.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000, help="of the damage")
    reading.add_argument("--results", type=Path, default=Path("hostile.jsonl"), help="what was run, a line a batch")
    reading.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="merges at once")
    reading.add_argument("--minutes", type=float, default=0, help="stop after so long; 0: never")
    given = reading.parse_args()
    count = given.count or (GATE if given.gate else CI)
    print(f"seed {given.seed}, {count} segments, results in {given.results}", flush=True)
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, given, count)))


async def _run(reactor: Any, given: argparse.Namespace, count: int) -> None:
    done = _done(given.results)
    left = iter([seed for seed in seeds_of(given.seed, count) if seed not in done])
    ends: Counter[str] = Counter(done.values())
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as name, watched(Path(name) / "canary") as canary:
        originals = make_originals(Path(name) / "originals")

        async def work(number: int) -> None:
            folder = Path(name) / f"rig{number}"
            folder.mkdir()
            rig = Rig(reactor=reactor, in_thread=deferToThread, folder=folder, originals=originals, canary=canary)
            for seed in left:
                if given.minutes and time.monotonic() - began > given.minutes * 60:
                    return
                ended = await rig.batch(seed)
                ends[ended] += 1
                with open(given.results, "a", encoding="utf-8") as results:
                    results.write(json.dumps({"seed": seed, "ended": ended}) + "\n")

        await gatherResults([Deferred.fromCoroutine(work(number)) for number in range(given.jobs)])
    print(f"{ends.total() * IN_A_BATCH} segments of {count}, no escape: {dict(ends.most_common())}")
    if ends.total() * IN_A_BATCH < count:
        print("not all of them yet: run it again", file=sys.stderr)


def _done(results: Path) -> dict[str, str]:
    """What was run before, by seed; a line that was cut off is none."""
    done = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else ():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        done[said["seed"]] = said["ended"]
    return done


if __name__ == "__main__":
    main()
