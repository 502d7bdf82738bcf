"""
A plugin of pytest for the trials of mutants: what is quick comes first, so that most are noticed at once.

mutmut names the tests that run a function, in no order, and stops at the first that fails. It keeps how long each took
when nothing was changed; a PostgreSQL takes a while to start, which is counted in no test, and comes last.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

STATISTICS = Path("mutmut-stats.json")
"""In the directory that trials run in."""


def measured(statistics: Path = STATISTICS) -> Mapping[str, float]:
    """
    Seconds by test; empty before there are any.
    """
    try:
        found: dict[str, float] = json.loads(statistics.read_text(encoding="utf-8"))["duration_by_test"]
    except FileNotFoundError:
        return {}
    return found


def quick_first(items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
    """
    These tests by how soon they can say something; one that was never measured is taken for quick.
    """
    return sorted(items, key=lambda item: (_starts_a_server(item), seconds.get(item.nodeid, 0.0)))


def _starts_a_server(item: pytest.Item) -> bool:
    return "postgres" in getattr(item, "fixturenames", ()) or "[postgresql" in item.nodeid


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort them, after pytest has put those of a fixture together."""
    items[:] = quick_first(items, measured())
