"""
The mutations fit the source that they change.
"""

import ast
from pathlib import Path

import pytest

from tests.faults.mutations import MUTATIONS, Mutation, mutated


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_fits(mutation: Mutation, tmp_path: Path) -> None:
    """What it replaces stands there exactly once, and what it makes is Python."""
    place = mutated(mutation, tmp_path)
    for file, _, _ in mutation.changes:
        ast.parse((place / "m3u8svc" / file).read_text(encoding="utf-8"))
