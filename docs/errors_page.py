# ruff: noqa: E501  # a sentence of the page is a line
"""
Makes docs/errors.md of the catalogue in m3u8svc/errors.py: ``python docs/errors_page.py > docs/errors.md``.

A test compares the two, so that the page is never older than the code.
"""

import re
from collections.abc import Iterator

from m3u8svc.errors import Fault, M3u8svcError, catalogue

HEAD = """\
# Errors, and what to do about them

<!-- Made by docs/errors_page.py from m3u8svc/errors.py; change it there. -->

Every error has a code that stays: the API has it in `X-Error-Code` and a task's `err_code`, the log in its line, the command line and the page beside the text.
A task says besides what can be done (`err_advice`), which link it is about (`err_url`), and what went wrong before (`incidents`).
A task that is paused with a reason (`held`) is fine: something outside is in the way.
What is in ‹brackets› is filled in; links are shown without their queries."""

WHOSE = {
    Fault.CALLER: "The request",
    Fault.ORIGIN: "The stream or its server",
    Fault.PROXY: "The proxy",
    Fault.PLUGIN: "A plugin",
    Fault.OPERATOR: "This machine or its configuration",
    Fault.SERVICE: "The service itself",
}
"""Whose problem an error is: the parts of the page."""


def page() -> str:
    """
    The whole page.
    """
    found = sorted(catalogue(), key=lambda each: each.code)
    parts = [HEAD]
    for fault, title in WHOSE.items():
        parts.append(f"## {title}")
        parts += ["\n".join(entry(each)) for each in found if each.fault is fault]
    return "\n\n".join(parts)


def entry(each: type[M3u8svcError]) -> Iterator[str]:
    """
    One code: its texts and advice in both languages, and what the service does about it by itself.
    """
    yield f"### `{each.code}`\n"
    yield f"{template(each.zh)}  \n{template(each.en)}\n"
    yield f"- 怎么办：{each.todo_zh}。"
    yield f"- What to do: {each.todo_en}."
    if each.holds:
        yield "- The task is paused (`held`), not failed."
    elif each.retriable:
        yield "- A request that ends so is tried again before this is said."


def template(text: str) -> str:
    """
    A text with its fields in brackets.
    """
    return re.sub(r"\{(\w+)(![rs])?\}", r"‹\1›", text)


if __name__ == "__main__":
    print(page())
