"""
How much of the core its own tests run, by lines and by branches.

One run of pytest over the tests of all areas, under coverage.py; the tables are made of its JSON report.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any  # Any: coverage.py's JSON

import attrs

from tests.quality.areas import AREAS, BRANCHES, LINES, Area

ROOT = Path(__file__).parents[2]
TIMED = ("tests/hls/test_plan.py::test_a_hundred_thousand_segments_are_parsed_and_planned_in_time",)
"""What has to be quick is not quick while it is traced; the ordinary run tries it."""
_RC = """\
[run]
branch = True
source = m3u8svc
concurrency = thread,greenlet
data_file = {data}

[report]
exclude_also =
    if TYPE_CHECKING:
    raise AssertionError
    ^\\s*\\.\\.\\.$
"""


@attrs.frozen(kw_only=True)
class Reached:
    """
    What tests ran of an area, in percent, and the places they did not, as ``path:line``.
    """

    area: Area
    lines: float
    branches: float
    missing: Sequence[str]

    @property
    def good(self) -> bool:
        """Whether it is enough."""
        return self.lines >= LINES and self.branches >= BRANCHES


def measure(work: Path, areas: Sequence[Area] = AREAS) -> list[Reached]:
    """
    Run the tests of these areas and say what they reach. `work` is an empty directory.

    Raises:
        SystemExit: the tests fail.
    """
    settings = work / "coveragerc"
    settings.write_text(_RC.format(data=work / "data"))
    tests = list(dict.fromkeys(test for area in areas for test in area.tests))
    coverage = [sys.executable, "-m", "coverage"]
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={work / 'tests'}", *tests]
    pytest += [f"--deselect={each}" for each in TIMED]
    ran = subprocess.run([*coverage, "run", f"--rcfile={settings}", *pytest], cwd=ROOT)
    if ran.returncode:
        sys.exit("the tests fail: nothing was measured")
    report = work / "coverage.json"
    subprocess.run(
        [*coverage, "json", f"--rcfile={settings}", "-o", str(report)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    files = json.loads(report.read_text())["files"]
    return [reached(area, files) for area in areas]


def reached(area: Area, files: Mapping[str, Any]) -> Reached:
    """
    What coverage.py's report says of an area.

    Raises:
        ValueError: it says nothing of any of its modules.
    """
    mine = {path: file for path, file in files.items() if area.has(path)}
    if not mine:
        raise ValueError(f"no module of {area.name} was run")
    sums = [file["summary"] for file in mine.values()]
    statements = sum(each["num_statements"] for each in sums)
    branches = sum(each["num_branches"] for each in sums)
    missing = [f"{path}:{line}" for path, file in sorted(mine.items()) for line in file["missing_lines"]]
    return Reached(
        area=area,
        lines=100.0 * sum(each["covered_lines"] for each in sums) / statements,
        branches=100.0 * sum(each["covered_branches"] for each in sums) / branches if branches else 100.0,
        missing=missing,
    )


def table(found: Sequence[Reached]) -> str:
    """
    A line for each area, and the lines that no test ran of those that have too many.
    """
    lines = [f"{'area':<16}{'lines':>8}{'branches':>10}   wanted {LINES:.0f} and {BRANCHES:.0f}"]
    for each in found:
        verdict = "" if each.good else "   too few"
        lines.append(f"{each.area.name:<16}{each.lines:>7.1f}%{each.branches:>9.1f}%{verdict}")
    for each in found:
        if not each.good:
            lines += [f"  not run: {place}" for place in each.missing]
    return "\n".join(lines)
