"""
The quality of the tests themselves: what they run of the core, and which changes of it they notice.

``python -m tests.quality coverage`` takes minutes, ``python -m tests.quality mutants`` hours; ``--area NAME``
does a part of it, ``--sample N`` tries so many mutants of each area, drawn at random, and a second run with the same
``--results`` goes on where the first one stopped.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests import seeds
from tests.quality import coverage_of, mutants
from tests.quality.areas import AREAS, area_named


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure and print a table; 0 if every area reaches what it must.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("what", choices=["coverage", "mutants"])
    parser.add_argument("--area", action="append", choices=[area.name for area in AREAS], help="only this one")
    parser.add_argument("--jobs", type=int, default=2, help="how many mutants are tried at a time")
    parser.add_argument("--results", type=Path, help="where mutants are tried, and what was found is kept")
    parser.add_argument("--sample", type=int, metavar="N", help="try so many mutants of each area, not all")
    parser.add_argument("--seed", type=int, help="draw the same sample again")
    given = parser.parse_args(arguments)
    if given.sample is not None and given.sample < 1:
        parser.error(f"--sample: {given.sample} mutants say nothing")
    areas = [area_named(name) for name in given.area] if given.area else list(AREAS)
    with tempfile.TemporaryDirectory(prefix="quality-") as place:
        if given.what == "coverage":
            reached = coverage_of.measure(Path(place), areas)
            print(coverage_of.table(reached))
            return 0 if all(each.good for each in reached) else 1
        sample = None
        if given.sample:
            seed = int(seeds.fresh()) if given.seed is None else given.seed
            sample = mutants.Sample(size=given.sample, seed=seed)
            print(f"a sample of {sample.size} of each area, --seed {sample.seed}", flush=True)
        found = []
        for area in areas:
            work = (given.results or Path(place)) / area.name.replace(" ", "-")
            found.append(mutants.attempt(area, work, jobs=given.jobs, sample=sample))
            (work / "unnoticed.txt").write_text("\n".join([*found[-1].unnoticed, ""]), encoding="utf-8")
            print(mutants.table(found[-1:]), flush=True)
        print(mutants.table(found))
        return 0 if all(each.good for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
