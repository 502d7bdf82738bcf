"""
The matrix from the command line: the whole product, or a part of it, in pieces.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.matrix.axes import AXES, Row, every_row, selection
from tests.matrix.product import JOBS, Verdict, bench

PIECE = 48
"""So many rows are on the disk at a time."""


def wanted(row: Row, expression: str) -> bool:
    """
    Whether a row has all the words of an expression, and none of those that follow a "!".
    """
    values = set(row.values)
    return all((word[1:] not in values) if word.startswith("!") else (word in values) for word in expression.split())


def table(verdicts: Sequence[Verdict]) -> str:
    """
    How many rows passed, of how many, by each value of each axis; then what is wrong with the others.
    """
    passed, counted = Counter[str](), Counter[str]()
    for verdict in verdicts:
        counted.update(verdict.row.values)
        passed.update(verdict.row.values if verdict.good else ())
    lines = []
    for axis in AXES:
        cells = (f"{value} {passed[value]}/{counted[value]}" for value in axis if counted[value])
        lines.append(f"{axis.__name__:<12}" + "".join(f"{cell:<22}" for cell in cells).rstrip())
    played = sum(verdict.row.plays_in_chromium for verdict in verdicts)
    good = sum(verdict.good for verdict in verdicts)
    return "\n".join(
        [
            *lines,
            *problems(verdicts),
            f"{good} of {len(verdicts)} streams are right; {played} of them are for Chromium too",
        ]
    )


def problems(verdicts: Sequence[Verdict]) -> list[str]:
    """
    What is wrong, a line each.
    """
    return [
        f"{verdict.row.name}: {problem}"
        for verdict in verdicts
        for problem in verdict.problems + verdict.browser_problems
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run it; 0 if all is right.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--gate", action="store_true", help="the whole product instead of the selection")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many streams are made and checked at a time")
    parser.add_argument("--only", default="", metavar="EXPR", help='words that rows must have, such as "ts late !aes"')
    given = parser.parse_args(arguments)
    rows = [row for row in (every_row() if given.gate else selection()) if wanted(row, given.only)]
    if unknown := {word.lstrip("!") for word in given.only.split()} - {value for axis in AXES for value in axis}:
        parser.error(f"no axis has {', '.join(sorted(unknown))}")
    if not rows:
        parser.error(f"no row is {given.only!r}")
    verdicts: list[Verdict] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matrix-") as place, bench(Path(place), jobs=given.jobs) as ready:
        for first in range(0, len(rows), PIECE):
            piece = rows[first : first + PIECE]
            found = ready.run(piece)
            verdicts += found
            ready.clear(piece)
            print(
                *problems(found),
                f"{len(verdicts)} of {len(rows)} streams, {time.monotonic() - begun:.0f} s",
                sep="\n",
                file=sys.stderr,
            )
    print(table(verdicts))
    return 0 if all(verdict.good for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
