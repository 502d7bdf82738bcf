"""
What a benchmark found, as one table: medians with their spread, ratios to the first row, and how cost grows. Pure.
"""

import math
import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class Figure:
    """
    One row: what was measured, `amount` of it (segments, tasks, bytes; 0 where nothing grows), and a value per run.
    """

    bench: str
    what: str
    unit: str
    values: tuple[float, ...]
    amount: float = 0

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)


def slope(figures: Sequence[Figure]) -> float:
    """
    By which power of the amount the cost grows, from the first row to the last: 1.0 is linear, 2.0 quadratic, 0.0 not
    at all.

    Raises:
        ValueError: fewer than two rows, or one without an amount or a cost.
    """
    first, *_, last = figures
    return math.log(last.median / first.median) / math.log(last.amount / first.amount)


def table(figures: Sequence[Figure]) -> str:
    """
    The rows of each bench below one another; behind each the ratio to its bench's first, and behind the last how the
    cost grows if the rows have amounts.
    """
    benches: dict[str, list[Figure]] = {}
    for figure in figures:
        benches.setdefault(figure.bench, []).append(figure)
    lines = [("bench", "what", "median", "least-most", "ratio", "grows")]
    for rows in benches.values():
        for figure in rows:
            grows = len(rows) > 1 and figure is rows[-1] and figure.amount > 0
            lines.append(
                (
                    figure.bench,
                    figure.what,
                    f"{_short(figure.median)} {figure.unit}",
                    f"{_short(min(figure.values))}-{_short(max(figure.values))}",
                    f"x{figure.median / rows[0].median:.2f}",
                    f"n^{slope(rows):.2f}" if grows else "",
                )
            )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
