"""
The harness from the command line: the small tier, or with ``--gate`` all of it, in pieces that go on where they were.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import seeds
from tests.faults.pieces import PIECES
from tests.faults.rig import bench
from tests.faults.run import carry_out, every_unit, keep
from tests.faults.table import Found, Piece, Results, table

MINUTES = 55.0
"""How long a call may take, so that a piece stays below an hour."""
UNFINISHED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it; 0 if all was done and nothing is wrong, 3 if nothing is wrong but there is more to do.
    """
    names = [piece.name for piece in PIECES]
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--gate", action="store_true", help="every fault instead of a selection")
    parser.add_argument("--only", default=",".join(names), metavar="NAMES", help="of these: %(default)s")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin nothing after that; call again to go on")
    parser.add_argument("--results", type=Path, help="where results and seeds are kept, to go on from")
    parser.add_argument("--place", type=Path, help="where the work is done")
    parser.add_argument("--jobs", type=int, default=2, help="how many cycles run beside each other")
    parser.add_argument("--seed", default=seeds.seed(seeds.FAULTS), help="repeats a run")
    given = parser.parse_args(arguments)
    wanted = given.only.split(",")
    if unknown := set(wanted) - set(names):
        parser.error(f"no piece is {', '.join(sorted(unknown))}")
    results = Results(given.results or Path(tempfile.mkdtemp(prefix="faults-results-")))
    seed = results.seed(given.seed)
    print(f"FAULTS_SEED={seed}, results in {results.directory}", file=sys.stderr)
    deadline = time.monotonic() + given.minutes * 60
    counted: list[tuple[Piece, int]] = []
    with _place(given.place) as place:
        for piece in PIECES:
            if piece.name in wanted:
                counted.append((piece, _piece(piece, place, results, seed, given, deadline)))
    print(table(results, counted, seed))
    done = [results.of(piece) for piece, _ in counted]
    if any(line["violations"] for lines in done for line in lines):
        return 1
    return 0 if all(len(lines) >= units for lines, (_, units) in zip(done, counted, strict=True)) else UNFINISHED


def _piece(piece: Piece, place: Path, results: Results, seed: str, given: argparse.Namespace, deadline: float) -> int:
    """
    Do what is left of one piece; returns how many units it has.
    """

    def told(unit: str, own: str, found: Found, seconds: float) -> None:
        results.add(piece, unit, own, found, seconds)
        for violation in found.violations:
            print(f"{piece.name} {unit} (seed {own}): {violation}", file=sys.stderr)
        if found.violations:
            keep(piece, unit, own)

    with bench(place / piece.name, piece.streams) as ready:
        units = every_unit(piece, ready, seed, gate=given.gate)
        done = {(line["unit"], line["seed"]) for line in results.of(piece)}
        left = [each for each in units if each not in done]
        print(f"{piece.name}: {len(left)} of {len(units)} units to do", file=sys.stderr)
        carry_out(piece, ready, left, jobs=given.jobs, told=told, deadline=deadline)
    return len(units)


@contextmanager
def _place(given: Path | None) -> Iterator[Path]:
    """
    Where the work is done: in memory if the machine lends some, as nothing here is about a disk's speed.
    """
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="faults-", dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place)


if __name__ == "__main__":
    sys.exit(main())
