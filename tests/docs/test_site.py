"""
The site of docs/: it can be built without a complaint, every page is in its navigation, and it asks no other host.
"""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import ROOT

PARTS = ["Tutorial", "How to", "Reference", "Explanation"]
COMMAND = "python -m mkdocs build --strict -f docs/mkdocs.yml"
LINKED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as the documented command makes it, without a network to ask."""
    assert COMMAND in (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    place = tmp_path_factory.mktemp("built")
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    made = subprocess.run(
        [sys.executable, *COMMAND.split()[1:], "--site-dir", str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert made.returncode == 0, made.stderr
    return place


class Asked(HTMLParser):
    """
    What a browser fetches by itself for a page, and whether it is one that other scripts would be fetched for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of what is shown or run; a canonical link is only said."""
        given = dict(attrs)
        if tag in LINKED and given.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(given.get(LINKED[tag]) or "")
        if "mermaid" in (given.get("class") or "").split():
            self.addresses.append("https://the script for diagrams")


def test_nothing_is_asked_of_another_host(built: Path) -> None:
    """Fonts, scripts, styles and pictures are files of the site, and every one of them is there."""
    pages = list(built.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        asked = Asked()
        asked.feed(page.read_text(encoding="utf-8"))
        assert asked.addresses
        for address in asked.addresses:
            assert not re.match(r"(?:[a-z]+:)?//", address), f"{page.name} asks {address}"
            path = address.split("?")[0].split("#")[0]
            place = built / path.lstrip("/") if path.startswith("/") else page.parent / path
            assert not path or place.exists(), f"{page.name} asks {address}"
    for style in built.rglob("*.css"):
        assert [] == re.findall(r"url\([\"']?(?:https?:)?//[^)]*", style.read_text(encoding="utf-8"))


def nav() -> list[Any]:
    """The navigation as it is configured."""
    found: list[Any] = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    return found


def test_the_navigation_has_four_parts() -> None:
    """After the first page: learn, do, look up, understand; then the same language in Chinese."""
    assert [*PARTS, "中文"] == [next(iter(each)) for each in nav() if isinstance(each, dict)]


def test_links_hold_on_the_site() -> None:
    """Links between files of the checkout become links between pages; others become their text; code is left alone."""
    spec = importlib.util.spec_from_file_location("site_links", ROOT / "docs" / "site_links.py")
    assert spec is not None and spec.loader is not None
    site_links = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(site_links)
    there = {"index.md", "hls.md", "plugins/README.md", "zh/README.md", "how-to/rate.md"}
    for text, page, becomes in [
        ("[a](../plugins/README.md#x)", "hls.md", "[a](plugins/README.md#x)"),
        ("[a](../../plugins/README.md)", "how-to/rate.md", "[a](../plugins/README.md)"),
        ("[a](../docs/hls.md)", "plugins/README.md", "[a](../hls.md)"),
        ("[a](../README.md)", "plugins/README.md", "[a](../index.md)"),
        ("[a](../tests/x.py)", "hls.md", "a"),
        ("[a](https://example.com/b.md) [c](#d)", "hls.md", "[a](https://example.com/b.md) [c](#d)"),
        ("```sh\n[a](../tests/x.py)\n```\n", "hls.md", "```sh\n[a](../tests/x.py)\n```\n"),
    ]:
        assert becomes == site_links.relinked(text, page, there)
