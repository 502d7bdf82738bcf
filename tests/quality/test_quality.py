"""What the measures of the tests say, from what coverage.py and mutmut say."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from tests.quality import __main__ as quality
from tests.quality import control, coverage_of, mutants, trial
from tests.quality.areas import AREAS, Area

AREA = Area(name="parser", modules=("m3u8svc/hls/*.py",), tests=("tests/hls",), mutant_tests=("tests/hls/test_a.py",))


def a_file(*, lines: tuple[int, int], branches: tuple[int, int], missing: tuple[int, ...] = ()) -> dict[str, Any]:
    """A file of coverage.py's report: how many were run, of how many."""
    summary = {
        "covered_lines": lines[0],
        "num_statements": lines[1],
        "covered_branches": branches[0],
        "num_branches": branches[1],
    }
    return {"summary": summary, "missing_lines": list(missing)}


class TestAreas:
    """What belongs to the core."""

    @pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
    def test_every_pattern_means_something(self, area: Area) -> None:
        """A module or a test that was renamed is not lost from its area in silence."""
        for pattern in area.modules:
            assert list(coverage_of.ROOT.glob(pattern)), pattern
        for test in (*area.tests, *area.mutant_tests):
            assert (coverage_of.ROOT / test).exists(), test

    def test_what_is_left_out_is_there(self) -> None:
        """A test that was renamed would be run again."""
        for each in (*mutants.AGAINST_THE_CLOCK, *mutants.SLOW):
            path, _, name = each.partition("[")[0].partition("::")
            assert (f"def {name}(" if name else "def test") in (coverage_of.ROOT / path).read_text(encoding="utf-8")

    def test_a_module_of_another_area_is_none_of_mine(self) -> None:
        """By its path."""
        assert AREA.has("m3u8svc/hls/parse.py") and not AREA.has("m3u8svc/fetch.py")


class TestCoverage:
    """Lines and branches."""

    def test_files_count_by_their_size(self) -> None:
        """A large file without tests is not hidden by many small ones."""
        files = {
            "m3u8svc/hls/a.py": a_file(lines=(90, 90), branches=(10, 10)),
            "m3u8svc/hls/b.py": a_file(lines=(0, 10), branches=(0, 10), missing=(3, 4)),
            "m3u8svc/fetch.py": a_file(lines=(0, 1000), branches=(0, 100)),
        }
        found = coverage_of.reached(AREA, files)
        assert (90.0, 50.0, ["m3u8svc/hls/b.py:3", "m3u8svc/hls/b.py:4"]) == (
            found.lines,
            found.branches,
            found.missing,
        )
        assert not found.good and "not run: m3u8svc/hls/b.py:3" in coverage_of.table([found])

    @pytest.mark.parametrize(
        ("lines", "branches", "good"),
        [((95, 100), (90, 100), True), ((94, 100), (90, 100), False), ((95, 100), (89, 100), False)],
    )
    def test_both_must_be_enough(self, lines: tuple[int, int], branches: tuple[int, int], good: bool) -> None:
        """At the limit it is, below it is not."""
        assert good is coverage_of.reached(AREA, {"m3u8svc/hls/a.py": a_file(lines=lines, branches=branches)}).good

    def test_an_area_that_nothing_runs_is_an_error(self) -> None:
        """And not a hundred percent of nothing."""
        with pytest.raises(ValueError, match="parser"):
            coverage_of.reached(AREA, {})


class TestMutants:
    """Changes that tests notice."""

    def test_one_that_no_test_runs_is_not_noticed(self) -> None:
        """It counts against the score, as one that survived does; a hang is noticed."""
        said = mutants.outcomes(
            ["    a.x__1: killed", "a.x__2: timeout", "a.x__3: no tests", "a.x__4: survived", "a.x__5: skipped", ""]
        )
        found = mutants.tried(AREA, said)
        assert (50.0, 4, 5) == (found.score, found.counted, found.total) and not found.good
        assert ["a.x__3", "a.x__4"] == found.unnoticed

    @pytest.mark.parametrize("outcome", ["no start", "check was interrupted by user"])
    def test_what_keeps_pytest_out_is_noticed_if_nothing_else_does(self, outcome: str) -> None:
        """A module that cannot be imported; its function is tried unchanged, to tell that from other causes."""
        found = mutants.tried(
            AREA, {"a.x_f__mutmut_1": outcome, "a.x_f__mutmut_2": outcome, "a.x_g__mutmut_1": "killed"}
        )
        assert (100.0, ["a.x_f"]) == (found.score, found.doubtful)

    @pytest.mark.parametrize("outcome", ["suspicious", "not checked"])
    def test_what_is_not_known_is_not_noticed(self, outcome: str) -> None:
        """A trial that could not be made says nothing for the tests."""
        assert ["a.x__1"] == mutants.tried(AREA, {"a.x__1": outcome, "a.x__2": "killed"}).unnoticed

    def test_nothing_tried_is_not_good(self) -> None:
        """A pattern that matches no code must not pass."""
        assert not mutants.tried(AREA, {}).good

    def test_nothing_is_good_while_unchanged_code_fails(self) -> None:
        """What fails without a change would be counted as a change that was noticed."""
        found = mutants.tried(AREA, {"a.x__1": "killed"})
        assert found.good
        doubtful = attrs.evolve(found, without_cause=["a.x__mutmut_0 ended with 1"])
        assert not doubtful.good and "nothing was changed: a.x__mutmut_0 ended with 1" in mutants.table([doubtful])

    def test_the_configuration_is_one_that_mutmut_reads(self) -> None:
        """As a table of pyproject.toml, with the tests that mutants are tried with."""
        table = tomllib.loads(mutants.configuration(AREA))["tool"]["mutmut"]
        assert (["m3u8svc/hls/*.py"], ["tests/hls/test_a.py"]) == (
            table["only_mutate"],
            table["pytest_add_cli_args_test_selection"],
        )
        assert "forkserver" == table["process_isolation"]

    def test_trials_share_no_reactor(self) -> None:
        """Nor anything of ours, which is to be imported changed."""
        said = subprocess.run(
            [sys.executable, "-c", f"import sys, {', '.join(mutants.PRELOADED)}; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
        )
        names = set(said.stdout.split())
        assert not names & {"twisted.internet.reactor", "m3u8svc", "tests"}


class TestSample:
    """Some of the mutants, drawn at random."""

    NAMES = [f"a.x__{number}" for number in range(100)]

    def test_the_seed_decides(self) -> None:
        """And not the order in which they are told."""
        drawn = mutants.Sample(size=10, seed=1).draw(self.NAMES)
        assert 10 == len(set(drawn)) and set(drawn) <= set(self.NAMES)
        assert drawn == mutants.Sample(size=10, seed=1).draw(reversed(self.NAMES))
        assert drawn != mutants.Sample(size=10, seed=2).draw(self.NAMES)

    @pytest.mark.parametrize("size", [100, 101])
    def test_a_small_area_is_tried_whole(self, size: int) -> None:
        """Its score is then no estimate."""
        assert sorted(self.NAMES) == mutants.Sample(size=size, seed=1).draw(self.NAMES)
        found = mutants.tried(AREA, dict.fromkeys(self.NAMES, "killed"), self.NAMES)
        assert (100.0, 100.0) == found.interval
        assert mutants.table([found]).endswith(" all")

    def test_only_what_was_drawn_counts(self) -> None:
        """The others of the area were not tried, which says nothing against the tests."""
        said = {"a.x__1": "killed", "a.x__2": "not checked", "a.x__3": "survived", "a.x__4": "not checked"}
        found = mutants.tried(AREA, said, ["a.x__1", "a.x__3"])
        assert (50.0, 2, 4) == (found.score, found.counted, found.total)
        assert ["a.x__3"] == found.unnoticed

    @pytest.mark.parametrize(
        ("hits", "tries", "low", "high"),
        [
            (0, 0, 0.0, 1.0),
            (0, 10, 0.0, 0.2775),
            (10, 10, 0.7225, 1.0),
            (81, 263, 0.2553, 0.3662),
            (5, 10, 0.2366, 0.7634),
        ],
    )
    def test_the_interval_is_wilsons(self, hits: int, tries: int, low: float, high: float) -> None:
        """As the tables of others have it, to four places."""
        assert (low, high) == pytest.approx(mutants.wilson(hits, tries), abs=1e-4)

    def test_the_table_says_how_sure_it_is(self) -> None:
        """With the numbers the score is made of."""
        names = self.NAMES[:20]
        said = dict.fromkeys(self.NAMES, "not checked") | dict.fromkeys(names, "killed") | {names[0]: "survived"}
        _head, line = mutants.table([mutants.tried(AREA, said, names)]).splitlines()
        assert ["parser", "100", "20", "19", "95.0%", "76.4", "to", "99.1"] == line.split()

    def test_a_sample_of_nothing_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Before anything is copied."""
        with pytest.raises(SystemExit):
            quality.main(["mutants", "--sample", "0"])
        assert "--sample: 0" in capsys.readouterr().err

    def test_a_drawn_seed_is_told(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """So that the same sample can be drawn again; one that is given is used."""
        seen: list[mutants.Sample | None] = []

        def attempt(area: Area, work: Path, *, jobs: int, sample: mutants.Sample | None) -> mutants.Tried:
            work.mkdir(parents=True)
            seen.append(sample)
            return mutants.tried(area, {"a.x__1": "killed"})

        monkeypatch.setattr(mutants, "attempt", attempt)
        assert 0 == quality.main(["mutants", "--area", "gate", "--sample", "5"])
        assert 0 == quality.main(["mutants", "--area", "gate", "--sample", "5", "--seed", "7"])
        assert 0 == quality.main(["mutants", "--area", "gate"])
        assert [5, 5] == [sample.size for sample in seen if sample]
        assert mutants.Sample(size=5, seed=7) == seen[1] and seen[2] is None
        assert seen[0] is not None and f"--seed {seen[0].seed}" in capsys.readouterr().out


class Mutmut:
    """Says what became of each mutant the first and the second time it is asked for it, and keeps what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **outcomes: str) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.kept = dict.fromkeys(outcomes, "not checked")
        self._outcomes = {name: outcome.split(",") for name, outcome in outcomes.items()}
        monkeypatch.setattr(mutants, "_prepare", lambda area, work: None)
        monkeypatch.setattr(mutants, "_results", lambda work: dict(self.kept))
        monkeypatch.setattr(mutants, "_controlled", lambda found, work, jobs: found)
        monkeypatch.setattr(mutants, "_mutmut", self)

    def __call__(self, work: Path, log: str, *arguments: str, may_fail: bool = False) -> None:
        names = arguments[3:]
        self.asked.append(names)
        for name in names or self.kept:
            if name in self.kept:
                self.kept[name] = self._outcomes[name].pop(0)


class TestAttempt:
    """What mutmut is asked for."""

    def test_all(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """And once more for what took too long, which may have been the machine."""
        mutmut = Mutmut(monkeypatch, a="killed", b="timeout,survived", c="timeout,timeout", d="survived")
        found = mutants.attempt(AREA, tmp_path, jobs=2)
        assert [(), ("b", "c")] == mutmut.asked
        assert (4, 2, ["b", "d"]) == (found.total, found.noticed, found.unnoticed)

    def test_a_sample(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """They are made first; then those that were drawn are tried, and not those that were before."""
        mutmut = Mutmut(monkeypatch, **{f"m{number}": "killed" for number in range(9)})
        sample = mutants.Sample(size=4, seed=3)
        drawn = sample.draw(mutmut.kept)
        mutmut.kept[drawn[0]] = "survived"
        found = mutants.attempt(AREA, tmp_path, jobs=2, sample=sample)
        assert [("none at all",), tuple(drawn[1:])] == mutmut.asked
        assert (9, 4, [drawn[0]]) == (found.total, found.counted, found.unnoticed)
        assert found == mutants.attempt(AREA, tmp_path, jobs=2, sample=sample)
        assert ("none at all",) == mutmut.asked[-1]


class TestTrial:
    """How the tests of one mutant are run."""

    def test_what_is_quick_comes_first(self) -> None:
        """And what starts a server last, however quick it then is."""
        names = ["t.py::slow", "t.py::a[postgresql]", "t.py::quick", "t.py::new", "t.py::race"]
        items: Any = [SimpleNamespace(nodeid=name, fixturenames=["url"]) for name in names]
        items[-1].fixturenames.append("postgres")
        seconds = {"t.py::slow": 2.0, "t.py::a[postgresql]": 0.1, "t.py::quick": 0.5, "t.py::race": 0.0}
        assert ["t.py::new", "t.py::quick", "t.py::slow", "t.py::race", "t.py::a[postgresql]"] == [
            item.nodeid for item in trial.quick_first(items, seconds)
        ]

    def test_the_times_are_those_mutmut_keeps(self, tmp_path: Path) -> None:
        """There are none while it still measures."""
        kept = tmp_path / "kept.json"
        assert {} == trial.measured(kept)
        kept.write_text(json.dumps({"duration_by_test": {"t.py::a": 1.5}, "stats_time": 3.0}))
        assert {"t.py::a": 1.5} == trial.measured(kept)

    def test_the_same_functions_are_tried_unchanged(self) -> None:
        """Not more than there are."""
        functions = [f"a.x_{number}" for number in range(50)]
        assert 5 == len(set(control.chosen(functions, 5)))
        assert control.chosen(functions, 5) == control.chosen(reversed(functions), 5)
        assert sorted(functions) == sorted(control.chosen(functions, 99))
