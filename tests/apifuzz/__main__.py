"""
Requests to a running service that nobody would send, by its own description and by strategies of ours: 5,000, or with
``--gate`` 100,000. No answer may be a 5xx or one that the description does not have, no refused request may leave a
task, the service lives and its log has no complaint; with ``--gate``, no turn of its reactor takes a tenth of a second.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.apifuzz.rig import at_home
from tests.apifuzz.run import LONG_TURN_S, Found, Target, fuzz, turns, wait_until_calm

SMALL, LARGE = 5_000, 100_000


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it; 0 if nothing is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.apifuzz", description=__doc__)
    parser.add_argument("--gate", action="store_true", help=f"{LARGE} requests, and turns of the reactor count")
    parser.add_argument("--requests", type=int, help="so many")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("APIFUZZ_SEED") or secrets.randbelow(2**31)))
    given = parser.parse_args(arguments)
    wanted = given.requests or (LARGE if given.gate else SMALL)
    print(f"APIFUZZ_SEED={given.seed}, {wanted} requests", flush=True)
    begun = told_at = time.monotonic()
    said = 0

    def told(found: Found) -> None:
        nonlocal told_at, said
        for violation in found.violations[said:]:
            print(f"- {violation}", flush=True)
        said = len(found.violations)
        if time.monotonic() - told_at > 30:
            told_at = time.monotonic()
            print(f"{found.sent} sent, {len(found.violations)} wrong", flush=True)

    with tempfile.TemporaryDirectory(prefix="apifuzz-") as place:
        noted = Path(place) / "turns"
        with at_home(Path(place) / "service", noted) as service:
            wait_until_calm(noted)
            target = Target(service.base, service.saves)
            found = fuzz(target, wanted, given.seed, told=told)
            found.violations += [f"log: {line}" for line in service.complaints()]
        longest = turns(noted)
    took = time.monotonic() - begun
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(found.statuses.items()))
    worked = sum(os.times()[:4])  # ours, and the service's, which has ended
    print(f"{found.sent} requests in {took:.0f} s, {worked:.0f} s of a processor; answers {statuses}")
    shown = ", ".join(f"{each * 1000:.0f} ms" for each in longest[:8])
    print(f"{len(found.created)} tasks were made; the longest turns of the reactor: {shown}")
    for violation in found.violations[said:]:
        print(f"- {violation}")
    too_long = given.gate and bool(longest) and longest[0] > LONG_TURN_S
    return 1 if found.violations or too_long else 0


if __name__ == "__main__":
    sys.exit(main())
