"""
What work costs, and how the cost grows: ``python -m tests.bench`` prints one table. An idle machine, please.

    python -m tests.bench                      all, 5 runs each: some twenty minutes
    python -m tests.bench plan small --runs 3  some

plan      a playlist parsed and planned: 1,000, 10,000 and 100,000 segments; CPU seconds
decrypt   AES-128 as segments come; seconds per 100 MB
merge     a child makes an MP4 of what lies on the disk: 100, 400, 1,600 segments; CPU seconds of child and feeder
small     10,000 segments of 20 kB through `m3u8svc get`, beside curl --parallel and yt-dlp; requests per CPU second
tasks     1, 4, 16, 64 tasks of 60 segments at once through one service; its CPU seconds, children included
stored    a page of the list beside 100, 1,000 and 10,000 finished tasks; milliseconds

The race with other tools for whole films is ``docs/performance.md``'s.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench.costs import BENCHES
from tests.bench.figures import Figure, table


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)}; none: all")
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts (5)")
    parser.add_argument("--work", type=Path, help="where streams are made and results written (a new directory)")
    given = parser.parse_args()
    if unknown := set(given.bench) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="m3u8svc-bench-", dir=given.work) as work:
        for name in given.bench or BENCHES:
            place = Path(work, name)
            place.mkdir()
            sys.stderr.write(f"{name} …\n")
            figures += BENCHES[name](place, given.runs)
    sys.stdout.write(table(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
