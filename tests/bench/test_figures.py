"""
The table of figures.
"""

import pytest

from tests.bench.figures import Figure, slope, table


def figure(amount: float, *values: float, bench: str = "plan") -> Figure:
    return Figure(bench=bench, what=f"{amount:.0f} segments", unit="s", values=values, amount=amount)


@pytest.mark.parametrize(("power", "expected"), [(0, 0.0), (1, 1.0), (2, 2.0)])
def test_slope(power: int, expected: float) -> None:
    """The exponent, whatever the constant is."""
    rows = [figure(amount, 0.5 * amount**power) for amount in (10, 1_000, 100_000)]
    assert pytest.approx(expected) == slope(rows)


def test_slope_of_one_row() -> None:
    """Nothing grows between one point and itself."""
    with pytest.raises(ValueError, match="unpack"):
        slope([figure(10, 1.0)])


def test_table() -> None:
    """Medians, spread, ratios within a bench, and the slope where there are amounts."""
    rows = [figure(10, 1.0, 2.0, 9.0), figure(1_000, 200.0), Figure(bench="get", what="lan", unit="s", values=(3.0,))]
    assert [
        "bench  what           median  least-most  ratio    grows",
        "plan   10 segments    2 s     1-9         x1.00",
        "plan   1000 segments  200 s   200-200     x100.00  n^1.00",
        "get    lan            3 s     3-3         x1.00",
    ] == table(rows).splitlines()
