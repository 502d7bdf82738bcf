"""
What the site needs besides the pages of docs/: a few pages of the checkout that lie elsewhere, and links that fit.

Documents link to each other as files of the checkout, so that they can be read there. On the site a page of
``OUTSIDE`` has the place it has in the checkout, the README is the first page, and a link to anything that is no part
of the site becomes its own text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = ("plugins/README.md", "plugins/*/README.md", "tests/attacks/README.md", "tests/conformance/README.md")

_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((?![a-z]+:|#)([^)#\s]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^( *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Pages that lie elsewhere in the checkout."""
    for path in sorted({each for pattern in OUTSIDE for each in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The text of a page with links that hold on the site."""
    return relinked(markdown, page.file.src_uri, {each.src_uri for each in files})


def relinked(markdown: str, page: str, there: set[str]) -> str:
    """
    Links of the page that has this place on the site, of which `there` are the files. Code is left alone.
    """

    def changed(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        wanted = site_path(posixpath.normpath(posixpath.join(posixpath.dirname(checkout_path(page)), target)))
        if wanted not in there:
            return label
        return f"[{label}]({posixpath.relpath(wanted, posixpath.dirname(page) or '.')}{anchor})"

    parts = _FENCE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(changed, part) for number, part in enumerate(parts))


def checkout_path(page: str) -> str:
    """Where a page of the site lies in the checkout."""
    return page if page.startswith(("plugins/", "tests/")) else f"docs/{page}"


def site_path(path: str) -> str:
    """Where a file of the checkout is on the site."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else path
