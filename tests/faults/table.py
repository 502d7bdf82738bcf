"""
What was tried and what came of it: one line of JSON a unit while it runs, one table at the end.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from tests.faults.rig import Bench


@attrs.frozen(kw_only=True)
class Found:
    """
    What one unit found: how many faults it injected, what was wrong, and figures to add up.
    """

    faults: int
    violations: tuple[str, ...] = ()
    figures: Mapping[str, float] = attrs.field(factory=dict)
    story: str = ""
    """What was done, for whoever must find out why."""


@attrs.frozen(kw_only=True)
class Piece:
    """
    A part of the gate. `units` names what there is to do in either tier, `run` does one of them with a seed of its own
    and must leave nothing behind.
    """

    name: str
    goal: str
    """What the table says must be: how many faults, and what none of them may do."""
    units: Callable[[Bench, bool, str], Sequence[str]]
    """Of a bench, whether it is the gate, and the run's seed."""
    run: Callable[[Bench, str, str], Found]
    """On a bench, the unit of this name, with this seed."""
    streams: tuple[str, ...] = ("small", "clear", "locked")


class Results:
    """
    The results of a run in a directory: what is on record is not done again.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def seed(self, fresh: str) -> str:
        """
        The seed of the run that is kept here: `fresh` if it is a new one.
        """
        file = self.directory / "seed.txt"
        if not file.exists():
            file.write_text(fresh + "\n", encoding="ascii")
        return file.read_text(encoding="ascii").strip()

    def add(self, piece: Piece, unit: str, seed: str, found: Found, seconds: float) -> None:
        """
        Put one unit on record.
        """
        line = {"unit": unit, "seed": seed, "seconds": round(seconds, 2), **attrs.asdict(found)}
        with self._file(piece).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def of(self, piece: Piece) -> list[dict[str, object]]:
        """
        The units on record.
        """
        try:
            text = self._file(piece).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]

    def _file(self, piece: Piece) -> Path:
        return self.directory / f"{piece.name}.jsonl"


def table(results: Results, pieces: Iterable[tuple[Piece, int]], seed: str) -> str:
    """
    One row a piece, with how many units it has in all; then every violation with the seed that shows it.
    """
    rows = [("piece", "goal", "units", "faults", "violations", "minutes", "figures")]
    wrong = []
    for piece, units in pieces:
        done = results.of(piece)
        found = [violation for line in done for violation in _texts(line["violations"])]
        figures = _sum(line["figures"] for line in done)
        rows.append(
            (
                piece.name,
                piece.goal,
                f"{len(done)} of {units}",
                str(sum(int(str(line["faults"])) for line in done)),
                str(len(found)),
                f"{sum(float(str(line['seconds'])) for line in done) / 60:.1f}",
                ", ".join(f"{name} {value:g}" for name, value in figures.items()),
            )
        )
        for line in done:
            wrong += [
                f"{piece.name} {line['unit']} (seed {line['seed']}): {text}" for text in _texts(line["violations"])
            ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"seed {seed}", *wrong])


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _sum(figures: Iterable[object]) -> dict[str, float]:
    """
    Figures of the same name: the greatest of those whose name says so, of others the sum.
    """
    total: dict[str, float] = {}
    for each in figures:
        for name, value in each.items() if isinstance(each, dict) else ():
            total[name] = max(total.get(name, 0), value) if name.startswith("most ") else total.get(name, 0) + value
    return total
