"""
The page for those who come from other tools: what it says we have, we have.
"""

import re
import subprocess
import sys
from functools import cache

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "how-to" / "moving.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ", 1) for line in PAGE.splitlines() if line.startswith("| ")]
OURS = [row[1] for row in ROWS if row[1:] and row[1] != "here"]
_CODE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"m3u8svc ([a-z]+)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])")


@cache
def options_of(command: str) -> frozenset[str]:
    """The options that a command's help names."""
    said = subprocess.run([sys.executable, "-m", "m3u8svc", command, "--help"], capture_output=True, text=True)
    assert said.returncode == 0, command
    head = re.compile(r"^  (?=-)(.*?)(?:  |$)", re.MULTILINE)
    return frozenset(option for line in head.findall(said.stdout) for option in _OPTION.findall(line))


def wanted(cell: str) -> list[tuple[str, str]]:
    """The commands and options that a cell of our column speaks of; an option alone is of both get and add."""
    found = []
    for code in _CODE.findall(cell):
        command = _COMMAND.search(code)
        options = [option for option in _OPTION.findall(re.sub(r"'[^']*'", "''", code))]
        if command and not options:
            found.append((command[1], ""))
        for option in options:
            shared = ("get",) if option in ("-o", "-i") else ("get", "add")
            found += [(each, option) for each in ((command[1],) if command else shared)]
    return found


@pytest.mark.parametrize("cell", OURS)
def test_what_we_have(cell: str) -> None:
    """Each command and option of the right column is in the help, of the command it is said to be of."""
    for command, option in wanted(cell):
        assert not option or option in options_of(command), f"m3u8svc {command} has no {option}"
        assert options_of(command)


def test_the_tables_are_read() -> None:
    """Four tables, with something to look for in them."""
    assert 4 == PAGE.count("| here |")
    assert len(OURS) > 60 and 60 < sum(len(wanted(cell)) for cell in OURS)
    assert "--no-such-thing" not in options_of("get") and {"--skip", "-f"} <= options_of("get")
