# ruff: noqa: E501  # a sentence of the page is a line
"""
Makes docs/cli.md of the program's own help: ``LC_ALL=C.UTF-8 python docs/cli_page.py > docs/cli.md``.

A test compares the two, so that the page is never older than the program.
"""

from collections.abc import Iterator

import click

from m3u8svc.cli import program
from m3u8svc.cli.examples import EXAMPLES

HEAD = """\
# The command line

<!-- Made by docs/cli_page.py from the program's own help; change it there. -->

`m3u8svc COMMAND --help` says the same, in English or Chinese as the locale has it (`LC_ALL`, `LC_MESSAGES`, `LANG`).
Commands that talk to a service find it by `--server` or `M3U8SVC_SERVER`, and show who they are by `--token-file`, `M3U8SVC_TOKEN_FILE` or `M3U8SVC_TOKEN`.
What people read goes to standard error where standard output is for programs: `--json` prints JSON and nothing else there.

## Exit statuses

| status | means |
|---|---|
| 0 | done |
| 1 | the service refused, a task or a download failed, a problem was found |
| 2 | the command line, a list or the configuration is wrong; nothing was begun |
| 3 | no service at that address |
| 75 | the same download, or another service with that state directory, is running |
| 130 | interrupted by Ctrl-C |

An error has its code in brackets; `m3u8svc explain CODE` says what it means and what to do, as [errors.md](errors.md) does.

## Completion

`m3u8svc completion bash|zsh|fish` prints the script; where it belongs is in the examples below.
It completes commands, options, states, error codes, and ids of tasks where a service answers within a second.

## Names of files

`-o` of `get` may have fields:

| field | is |
|---|---|
| `{name}` | the name in the list, or else the last part of the URL, without its extension |
| `{host}` | the host of the URL, `local` for a playlist in a file |
| `{date}` | the day on which the download began, `2026-11-26` |
| `{height}` | the height of the chosen variant, `NA` where the stream does not say it |
| `{ext}` | `mp4` |
| `{index}` | which download it is, with as many digits as the last one has |

`{{` and `}}` are braces; any other field is an error that names it.
What a field stands for is one part of a name: a slash or a control character in it becomes `_`.
Directories that are not there are made.
The same line goes on with the file it began, also on another day.

## Lists of links

`get -i FILE` reads a line for each download, `-i -` from the standard input:

```text
# series 1
https://example.com/s01e01/index.m3u8 episode one
https://example.com/s01e02/index.m3u8
```

A line that is none is an error with its number, and nothing is begun.
A download that fails does not keep the next one from its turn; the line at the end says how many were done, and the status is 1 if one failed.
Given again, the same list fetches only what is missing.

## JSON of a download

`get --json` prints a line for each phase and each second in which something moved, and one for the end:

```json
{"event": "progress", "phase": "download", "progress": 41, "segments_done": 12, "segments_total": 30, "bytes": 5337251, "speed": 2097152, "eta": 7}
{"event": "done", "output": "/home/me/film.mp4", "size": 13008421, "status": 0}
```

`event` is `progress`, `warning`, `done`, `failed` (with `code`, `error` and `advice`) or `interrupted`; of several downloads each line has its `index`, `line` and `name`, and the last one is a `summary` with `total`, `done` and `failed`."""


def page() -> str:
    """
    The whole page.
    """
    return "\n\n".join([HEAD, "## Commands", *("\n".join(entry(name, command)) for name, command in commands())])


def commands() -> Iterator[tuple[str, click.Command]]:
    """
    All of them, a subcommand behind its group.
    """
    context = click.Context(program, info_name="m3u8svc")
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        if command is None:
            raise LookupError(name)
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())


def entry(name: str, command: click.Command) -> Iterator[str]:
    """
    One command: its usage, what it does, examples, options, and how it ends.
    """
    context = click.Context(command, info_name=f"m3u8svc {name}")
    yield f"### `m3u8svc {name}`\n"
    yield f"    {' '.join([f'm3u8svc {name}', *command.collect_usage_pieces(context)])}\n"
    yield f"{plain(command.help or '')}\n"
    yield "```sh"
    for example in EXAMPLES[name]:
        yield f"{example.line}  # {example.what}"
    yield "```\n"
    options = [each for each in command.params if isinstance(each, click.Option)]
    if options:
        yield "| option | does |\n|---|---|"
        yield from map(row, options)
        yield ""
    yield plain((command.epilog or "").rpartition("\n\n")[2])


def row(option: click.Option) -> str:
    """
    One option, in words that do not depend on the version of click.
    """
    value = "" if option.is_flag else option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "\\|".join(option.type.choices)
    says = plain(option.help or "")
    if option.show_envvar and isinstance(option.envvar, str):
        says += f" Or `{option.envvar}`."
    if option.show_default is True:
        says += f" By default `{option.default}`."
    return f"| `{', '.join(option.opts)}{value and ' '}{value}` | {says} |"


def plain(text: str) -> str:
    """
    A text as Markdown shows it, on one line.
    """
    for special in ("\\", "*", "_", "<", "|"):
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split())


if __name__ == "__main__":
    print(page())
