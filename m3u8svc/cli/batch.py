"""
Files of many links: a line is ``url``, or ``url name``; ``#`` begins a comment. Pure.
"""

from collections.abc import Iterator

import attrs

from m3u8svc.errors import InvalidUrl, UnsupportedScheme
from m3u8svc.tasks.names import name_problem
from m3u8svc.tasks.wire import wire_url
from m3u8svc.wording import Said

MOST_LINES = 100_000


@attrs.frozen(kw_only=True)
class BatchLine:
    """
    One link, with the number of its line, from 1.
    """

    number: int
    url: str = attrs.field(repr=False)
    name: str = ""


@attrs.frozen(kw_only=True)
class BadLine:
    """
    A line that is none.
    """

    number: int
    why: Said


def parse_batch(text: str) -> tuple[list[BatchLine], list[BadLine]]:
    """
    All lines with a link, and all that are wrong.
    """
    found: list[BatchLine] = []
    wrong: list[BadLine] = []
    for each in _lines(text):
        (found if isinstance(each, BatchLine) else wrong).append(each)  # type: ignore[arg-type]  # sorted by the check
    return found, wrong


def _lines(text: str) -> Iterator[BatchLine | BadLine]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if number > MOST_LINES:
            yield BadLine(number=number, why=Said(f"超过 {MOST_LINES} 行", f"there are more than {MOST_LINES} lines"))
            return
        url, _, name = line.strip().replace("\t", " ").partition(" ")
        name = name.strip()
        if not url or url.startswith("#"):
            continue
        try:
            wire_url(url)
        except (InvalidUrl, UnsupportedScheme) as error:
            yield BadLine(number=number, why=Said(error.text("zh"), error.text("en")))
            continue
        problem = name_problem(name) if name else Said("", "")
        if problem:
            yield BadLine(number=number, why=Said(f"文件名{problem}", f"the name {problem.en}"))
        else:
            yield BatchLine(number=number, url=url, name=name)
