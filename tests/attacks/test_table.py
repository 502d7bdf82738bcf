"""
The table of attacks, and what the page on security promises: each names the tests that hold it, and these exist.
"""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TABLE = Path(__file__).with_name("README.md")
PAGE = ROOT / "docs" / "security.md"
_PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@functools.cache
def named_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, those of its classes too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def rows() -> list[str]:
    """Those of the table of attacks."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ")][1:]


@pytest.mark.parametrize("page", [TABLE, PAGE], ids=lambda page: page.name)
def test_every_proof_is_there(page: Path) -> None:
    """A test that is named exists, so that a renamed one is renamed there, too."""
    proofs = _PROOF.findall(page.read_text(encoding="utf-8"))
    assert len(proofs) > 10
    assert [] == [f"{path}::{test}" for path, test in proofs if test not in named_in(path)]


def test_every_attack_is_tried() -> None:
    """No row without a test."""
    assert len(rows()) >= 10
    assert [] == [row for row in rows() if not _PROOF.search(row)]


def test_every_test_is_in_the_table() -> None:
    """What is tried in this directory is found by who reads the table."""
    named = set(_PROOF.findall(TABLE.read_text(encoding="utf-8")))
    here = [f"tests/attacks/{file.name}" for file in Path(__file__).parent.glob("test_*.py")]
    tried = {(path, test) for path in here for test in named_in(path) if path != "tests/attacks/test_table.py"}
    assert set() == tried - named
