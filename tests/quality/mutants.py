"""
How many small changes of the core its tests notice, by mutmut.

mutmut works on a copy of the checkout, so that an interrupted run leaves nothing behind, and starts each trial in a
process of its own (``forkserver``): a reactor runs once. That process is forked from one that has imported other
people's libraries and nothing of ours: a reactor that two trials inherited would be one reactor, and what of ours runs
when it is imported is to run changed.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from tests.quality.areas import MUTANTS, Area
from tests.quality.coverage_of import TIMED

ROOT = Path(__file__).parents[2]
_COPIED = ("m3u8svc", "tests", "twisted", "docs", "plugins", "pyproject.toml", "README.md", "LICENSE")
_NO_START = "no start"
"""Of a trial: pytest could not begin, or could not read the tests."""
_BROKEN = frozenset({_NO_START, "check was interrupted by user"})
"""What mutmut calls the second; nobody can interrupt a trial. Noticed, if unchanged code fares better."""
_NOTICED = frozenset({"killed", "timeout", "segfault", *_BROKEN})
_WITHOUT_WORTH = frozenset({"skipped"})
_NOT_YET = "not checked"
AGAINST_THE_CLOCK = (
    *TIMED,
    "tests/web/test_channel.py::test_flood_on_the_wire",
    "tests/web/test_gate.py::test_path_check_when_the_path_is_long",
    "tests/test_fetch.py::test_a_cancel_is_felt_by_the_origin",
    "tests/test_fetch.py::test_a_slow_sink_holds_the_origin_back",
    "tests/test_fetch.py::test_misbehaviour_becomes_its_own_error[too long in all]",
    "tests/test_fetch.py::test_no_tls_at_all_is_a_connect_error",
    "tests/test_fetch.py::test_other_bytes_than_asked_for_are_refused",
)
"""They fail on a machine that is busy, which is no reason to say that they noticed something."""
SLOW = (
    "tests/hls/test_properties.py",
    "tests/hls/test_parse.py::test_limits_hold_at_their_edges",
    "tests/hls/test_parse.py::test_many_ivs_of_one_key_are_one_key",
    "tests/hls/test_rules.py::test_G13_long_links_of_many_segments_are_bounded",
    "tests/hls/test_rules.py::test_G13_a_playlist_stays_a_playlist",
    "tests/hls/test_overrides.py::test_a_query_cannot_fill_the_memory",
)
"""
Laws and megabytes: each trial of a mutant that nothing else notices would take so much longer. What only they notice
counts as unnoticed.
"""
_NO_PYTEST = 255
CONTROLS = 24
"""
How many trials of an area are made with nothing changed, besides those of functions whose mutants kept pytest out.
"""
PRELOADED = (
    *("pytest", "pytest_twisted", "hypothesis", "trustme", "attrs", "cryptography.hazmat.primitives.ciphers"),
    *("twisted.web.server", "twisted.web.client", "twisted.internet.testing", "twisted.trial.unittest"),
    *("OpenSSL", "service_identity", "wsproto", "h11", "socksio", "treq", "hyperlink", "publicsuffixlist"),
    *("m3u8", "pluggy", "pydantic", "sqlalchemy", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
    *("alembic.command", "alembic.autogenerate", "psycopg", "click", "rich", "platformdirs", "pathvalidate"),
)
"""What trials find imported. None of it imports the reactor, as klein would."""


@attrs.frozen(kw_only=True)
class Sample:
    """
    Some of the mutants of each area, drawn at random. The same seed draws the same from the same code.
    """

    size: int
    seed: int

    def draw(self, names: Iterable[str]) -> list[str]:
        """These many of them, or all if there are not so many."""
        everything = sorted(names)
        if len(everything) <= self.size:
            return everything
        return sorted(random.Random(self.seed).sample(everything, self.size))


@attrs.frozen(kw_only=True)
class Tried:
    """
    What became of the mutants of an area: how many by outcome, and the names of those that nobody noticed.

    `total` is how many there are, of which a sample may have been tried. `doubtful` are functions whose mutants kept
    pytest from running; `without_cause` are trials of unchanged code that failed, theirs among them: while there are
    any, what was noticed means nothing.
    """

    area: Area
    outcomes: Counter[str]
    unnoticed: Sequence[str]
    total: int
    doubtful: Sequence[str] = ()
    without_cause: Sequence[str] = ()

    @property
    def counted(self) -> int:
        """How many the score is about."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in _WITHOUT_WORTH)

    @property
    def noticed(self) -> int:
        """How many of them a test noticed."""
        return sum(self.outcomes[outcome] for outcome in _NOTICED)

    @property
    def score(self) -> float:
        """Percent of the mutants that a test noticed; one that no test runs is not noticed."""
        return 100.0 * self.noticed / self.counted if self.counted else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Percent: where the score of all is, with 95 % certainty; the score itself if all were tried."""
        if self.outcomes.total() >= self.total:
            return self.score, self.score
        low, high = wilson(self.noticed, self.counted)
        return 100.0 * low, 100.0 * high

    @property
    def good(self) -> bool:
        """Whether it is enough."""
        return self.score >= MUTANTS and not self.without_cause


def wilson(hits: int, tries: int, *, z: float = 1.96) -> tuple[float, float]:
    """
    Between which shares the true one is, by Wilson's score interval; `z` is 1.96 for 95 %.
    """
    if not tries:
        return 0.0, 1.0
    share = hits / tries
    middle = share + z * z / (2 * tries)
    reach = z * math.sqrt(share * (1 - share) / tries + z * z / (4 * tries * tries))
    scale = 1 + z * z / tries
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def configuration(area: Area) -> str:
    """
    The table for pyproject.toml that makes mutmut try this area.
    """
    wanted = {
        "source_paths": ["m3u8svc"],
        "only_mutate": list(area.modules),
        "also_copy": ["twisted", "docs", "plugins", "README.md", "LICENSE"],
        "pytest_add_cli_args": [
            *("-p", "no:cacheprovider", "-p", "tests.quality.trial"),
            # pytest would rewrite the asserts of its plugins, which takes longer than most trials.
            *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
            *(f"--deselect={each}" for each in (*AGAINST_THE_CLOCK, *SLOW)),
        ],
        "pytest_add_cli_args_test_selection": list(area.mutant_tests or area.tests),
        "track_dependencies": False,
        # A mutant that hangs is noticed; a machine that is busy is not to look like one.
        "timeout_constant": 20.0,
        "timeout_multiplier": 3.0,
        "process_isolation": "forkserver",
        "forkserver_warmup": "import",
        "preload_modules_file": "preloaded.txt",
    }
    return "\n[tool.mutmut]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in wanted.items())


def attempt(area: Area, work: Path, *, jobs: int, sample: Sample | None = None) -> Tried:
    """
    Try the mutants of an area in `work`, or a sample of them; what an earlier run there has tried is not tried again.
    The logs are ``mutmut-*.log`` there.

    Raises:
        SystemExit: mutmut itself failed; its log says why.
    """
    _prepare(area, work)
    run = ("run", "--max-children", str(jobs))
    if sample is None:
        _mutmut(work, "mutmut-run.log", *run)
        drawn = list(_results(work))
    else:
        drawn = _try_some(work, run, sample)
    # A second time, with less beside them: a machine that was busy meanwhile is not to look like a hang.
    results = _results(work)
    if late := [name for name in drawn if results[name] == "timeout"]:
        _mutmut(work, "mutmut-late.log", *run, *late)
    return _controlled(tried(area, _results(work), drawn), work, jobs)


def _try_some(work: Path, run: Sequence[str], sample: Sample) -> list[str]:
    # mutmut draws none itself: asked for one that is not there it makes them all, measures the tests, and stops.
    _mutmut(work, "mutmut-made.log", *run, "none at all", may_fail=True)
    made = _results(work)
    if not made:
        sys.exit(f"mutmut failed, see {work / 'mutmut-made.log'}")
    drawn = sample.draw(made)
    left = [name for name in drawn if made[name] == _NOT_YET]
    if left:
        _mutmut(work, "mutmut-run.log", *run, *left)
    return drawn


def _prepare(area: Area, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        if not (work / name).exists():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, work / name)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (work / "pyproject.toml").write_text(text + configuration(area), encoding="utf-8")
    (work / "preloaded.txt").write_text("\n".join(PRELOADED), encoding="utf-8")


def _mutmut(work: Path, log: str, *arguments: str, may_fail: bool = False) -> None:
    with open(work / log, "wb") as output:
        command = [sys.executable, "-m", "mutmut", *arguments]
        ran = subprocess.run(command, cwd=work, env=_environment(), stdout=output, stderr=output)
    if ran.returncode and not may_fail:
        sys.exit(f"mutmut failed, see {work / log}")


def _environment() -> dict[str, str]:
    # Modules and tests are compiled once, not in each trial.
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _controlled(found: Tried, work: Path, jobs: int) -> Tried:
    with open(work / "control.log", "wb") as output:
        control = [sys.executable, "-m", "tests.quality.control", str(CONTROLS), str(jobs), *found.doubtful]
        ran = subprocess.run(control, cwd=work, env=_environment(), stdout=subprocess.PIPE, stderr=output, text=True)
    if ran.returncode:
        sys.exit(f"unchanged code could not be tried, see {work / 'control.log'}")
    return attrs.evolve(found, without_cause=[line for line in ran.stdout.splitlines() if line])


def _results(work: Path) -> dict[str, str]:
    listing = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        cwd=work,
        capture_output=True,
        text=True,
        check=True,
    )
    return outcomes(listing.stdout.splitlines()) | dict.fromkeys(_not_started(work), _NO_START)


def _not_started(work: Path) -> list[str]:
    # mutmut calls a trial whose pytest could not even start a timeout: it ends with -1, a real one by a signal.
    codes: dict[str, int | None] = {}
    for kept in (work / "mutants").rglob("*.meta"):
        codes |= json.loads(kept.read_text(encoding="utf-8"))["exit_code_by_key"]
    return [name for name, code in codes.items() if code == _NO_PYTEST]


def outcomes(lines: Iterable[str]) -> dict[str, str]:
    """
    What mutmut's list of results says, by name: it has lines of ``name: outcome``.
    """
    found = [line.strip().rpartition(": ") for line in lines if ": " in line]
    return {name: outcome for name, _, outcome in found}


def tried(area: Area, results: Mapping[str, str], drawn: Iterable[str] | None = None) -> Tried:
    """
    What became of those that were drawn, or of all.
    """
    names = results if drawn is None else list(drawn)
    return Tried(
        area=area,
        outcomes=Counter(results[name] for name in names),
        unnoticed=[name for name in names if results[name] not in _NOTICED | _WITHOUT_WORTH],
        total=len(results),
        doubtful=sorted({name.rpartition("__mutmut_")[0] for name in names if results[name] in _BROKEN}),
    )


def table(found: Sequence[Tried]) -> str:
    """
    A line for each area.
    """
    lines = [f"{'area':<16}{'mutants':>9}{'tried':>7}{'noticed':>9}{'score':>8}{'95 %':>16}   wanted {MUTANTS:.0f}"]
    for each in found:
        low, high = each.interval
        certain = "all" if low == high else f"{low:.1f} to {high:.1f}"
        verdict = "" if each.good else "   too few"
        lines.append(
            f"{each.area.name:<16}{each.total:>9}{each.outcomes.total():>7}{each.noticed:>9}{each.score:>7.1f}%"
            f"{certain:>16}{verdict}"
        )
    for each in found:
        lines += [f"  nothing was changed: {trial}" for trial in each.without_cause]
    return "\n".join(lines)
