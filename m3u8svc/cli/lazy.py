"""
A click group that knows its commands by name and imports them when they are used, and help pages in the user's
language.
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any  # Any: what click hands through

import attrs
import click

from m3u8svc.cli import words
from m3u8svc.cli.words import CLICK, Phrase

EXIT_INTERRUPTED = 130
HELP_NAMES = ["-h", "--help"]


@attrs.frozen(kw_only=True)
class LazyCommand:
    """
    Where a command is: the module, and the attribute if it is not the command's name. `short_help` is its line on the
    group's help page, so that the page needs no import.
    """

    module: str
    attribute: str = ""
    short_help: Phrase


class HelpPage(click.HelpFormatter):
    """
    A help page whose headings, and what click says by itself, are in the user's language.
    """

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """The line of usage."""
        super().write_usage(prog, args, prefix or CLICK["Usage: "].said())

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """A part with a heading."""
        with super().section(_said(name)):
            yield

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Options or commands with what they do."""
        super().write_dl([(name, _said(text)) for name, text in rows], col_max, col_spacing)


def _said(text: str) -> str:
    return CLICK[text].said() if text in CLICK else text


class WrongLine(click.UsageError):
    """
    What click says of a wrong command line, in Chinese.
    """

    def show(self, file: Any = None) -> None:  # Any: click's own annotation
        """The usage, where to read more, and what is wrong."""
        if self.ctx is not None:
            click.echo(self.ctx.get_usage(), file=file, err=file is None)
            click.echo(words.TRY_HELP.said(command=self.ctx.command_path) + "\n", file=file, err=file is None)
        click.echo(words.ERROR.said(text=self.message), file=file, err=file is None)


@contextmanager
def usage_errors_in_words() -> Iterator[None]:
    """
    Turns click's usage errors into those in the user's language, which click has for English.
    """
    try:
        yield
    except WrongLine:
        raise
    except click.UsageError as error:
        if words.language() == "en" or type(error).__name__ == "NoArgsIsHelpError":
            raise
        raise WrongLine(in_chinese(error.format_message()), error.ctx) from error


def in_chinese(text: str) -> str:
    """
    A usage error of click's; one that is not known stays as it is, as do our own.
    """
    for pattern, chinese in words.CLICK_ERRORS:
        if found := re.fullmatch(pattern, text, re.DOTALL):
            return chinese.format_map(found.groupdict())
    return text


class Context(click.Context):
    """
    A context whose help is a `HelpPage`.
    """

    formatter_class = HelpPage


class LazyGroup(click.Group):
    """
    The group: `table` is all it knows until a command is used.
    """

    context_class = Context

    def __init__(self, *, table: Mapping[str, LazyCommand], **given: Any) -> None:
        super().__init__(**given, context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100})
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table: what a newcomer needs comes first."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._table:
            return None
        entry = self._table[cmd_name]
        command = getattr(importlib.import_module(entry.module), entry.attribute or cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute or cmd_name} is no command")
        command.context_class = Context
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help.said()) for name, entry in self._table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Commands that begin so, from the table alone: to complete a name imports none of them."""
        from click.shell_completion import CompletionItem

        names = [name for name in self._table if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._table[name].short_help.said()) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(self, *given: Any, **named: Any) -> click.Context:
        """Read the line."""
        with usage_errors_in_words():
            return super().make_context(*given, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C ends it with the status shells expect, and without a word."""
        try:
            with usage_errors_in_words():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
