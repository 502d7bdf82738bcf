# ruff: noqa: E501  # a sentence of the page is a line
"""
Makes docs/hooks.md of the docstrings of m3u8svc/hookspecs.py: ``python docs/hooks_page.py > docs/hooks.md``.

A test compares the two, so that the page is never older than the code.
"""

import inspect
import textwrap

from m3u8svc import hookspecs
from m3u8svc.hooks import LONGER
from m3u8svc.hookspecs import FAIL_CLOSED, KINDS
from m3u8svc.tasks.plugins import DEADLINE_S

HEAD = """\
# Hooks

<!-- Made by docs/hooks_page.py from m3u8svc/hookspecs.py; change it there. -->

A plugin implements the hooks it needs, each with the arguments it wants, and marks them with `@hookimpl`.
How to write, test and ship one is in [writing-plugins.md](writing-plugins.md).

| way of calling | who is called | answer | if a plugin raises, hangs or answers nonsense |
|---|---|---|---|
| *own* | this plugin, with its own configuration or options | its own | it is refused, with a reason |
| *offer* | every plugin, at start | named records of all; one name twice stops the start | the plugin is broken |
| *ask* | plugins, last registered first; built-ins last | the first that is not None | it is named, and the next one is asked; where the hook *fails closed*, the attempt fails |
| *union* | all | joined | its answer is left out, and the task says so |
| *tell* | all | ignored | it is named; nobody else notices |
| *pipeline* | all, one after the other | the changed value | the attempt fails |

A plain `def` runs in a thread of its plugin, an `async def` on the reactor, where it must not block.
After three failures in a row of one hook a plugin is not called any more until the next start; its hooks that fail closed keep failing.
"""


def page() -> str:
    """
    The whole page.
    """
    names = "\n".join(f"- [`{name}`](#{name}): *{KINDS[name]}*" for name in KINDS)
    return "\n".join([HEAD, names, "", *(section(name) for name in KINDS)])


def section(name: str) -> str:
    """
    One hook: heading, signature, deadline, text, example.
    """
    spec = getattr(hookspecs, name)
    text, _, example = (inspect.getdoc(spec) or "").partition("Example::")
    deadline = f"Deadline: {DEADLINE_S * LONGER.get(name, 1.0):g} s."
    closed = " Fails closed." if name in FAIL_CLOSED else ""
    return "\n".join(
        [
            f"## {name}",
            "",
            "```python",
            f"def {name}{inspect.signature(spec)}",
            "```",
            "",
            _markdown(text),
            "",
            deadline + closed,
            "",
            "```python",
            textwrap.dedent(example).strip(),
            "```",
            "",
        ]
    )


def example_of(name: str) -> str:
    """
    The example in a hook's docstring.
    """
    return textwrap.dedent((inspect.getdoc(getattr(hookspecs, name)) or "").partition("Example::")[2]).strip()


def _markdown(text: str) -> str:
    """Napoleon's sections as bold words with a list each."""
    lines = []
    for line in text.replace("``", "`").strip().splitlines():
        if line in ("Args:", "Returns:", "Raises:"):
            lines.append(f"**{line[:-1]}**\n")
        elif line.startswith("        "):
            lines.append("  " + line.strip())
        elif line.startswith("    "):
            lines.append(f"- {line.strip()}")
        else:
            lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
