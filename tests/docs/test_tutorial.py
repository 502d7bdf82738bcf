"""
The tutorial, as somebody follows it who has only that page.
"""

import sys
from pathlib import Path

from tests.docs.pages import ROOT, Shell, examples, matches
from tests.integration.conftest import require
from tests.integration.nginx_server import free_ports


def test_the_first_half_hour(tmp_path: Path) -> None:
    """Every line does what the page says: also kill -9, a token, and a plugin that is installed in the middle."""
    require("bash", "curl")
    (port,) = free_ports(1)
    site = tmp_path / "site"
    pip = f"{sys.executable} -m pip install -q --no-deps --no-index --no-build-isolation --root-user-action=ignore"
    changes = {
        "9000": str(port),
        "pip install ./plugins": f"{pip} --disable-pip-version-check --target {site} {ROOT}/plugins",
    }
    place = tmp_path / "me"
    place.mkdir()
    with Shell(place, {"PYTHONPATH": str(site)}) as shell:
        shell.follow(ROOT / "docs" / "tutorial.md", changes)
    assert {"slowly.mp4", "clean.mp4"} == {each.name for each in (place / "films").glob("*.mp4")}


def test_the_chinese_page_says_the_same() -> None:
    """The same commands print the same; only what is said about them is in Chinese."""
    english, chinese = (ROOT / "docs" / name for name in ("tutorial.md", "zh/tutorial.md"))
    assert len(examples(english)) >= 15
    assert examples(english) == examples(chinese)


def test_what_a_page_shows_is_compared() -> None:
    """``…`` stands for anything in a line, alone for any lines; spaces do not count, everything else does."""
    assert matches("a …\n…\nz\n", "a  b\nc\nd\nz")
    assert matches("…\n", "")
    assert not matches("a …\n…\nz\n", "a b\nc\nd\nzz")
    assert not matches("a\n", "a\nb")
