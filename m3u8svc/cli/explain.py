"""
``m3u8svc explain``: what the error codes mean, and what to do.
"""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any  # Any: JSON values

import click

from m3u8svc.cli import words
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import plain_json_option
from m3u8svc.errors import M3u8svcError, catalogue

_WHOSE = words.WHOSE


class CodeType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    An error code, also as messages show it: ``[http_4xx]``.
    """

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> type[M3u8svcError]:
        """The error it stands for."""
        if isinstance(value, type):
            return value
        known = {each.code: each for each in catalogue()}
        typed = str(value).strip().strip("[]").lower()
        if typed not in known:
            near = difflib.get_close_matches(typed, known, n=3)
            if near:
                self.fail(words.NO_CODE_BUT.said(code=value, near=", ".join(near)), param, ctx)
            self.fail(words.NO_CODE.said(code=value), param, ctx)
        return known[typed]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """All codes that begin so."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(each) for each in sorted({each.code for each in catalogue()}) if each.startswith(incomplete)
        ]


@click.command("explain", help=words.EXPLAIN_HELP.said(), epilog=taught("explain", words.PLAIN_STATUSES))
@click.argument("codes", metavar="[CODE]...", nargs=-1, type=CodeType())
@plain_json_option
def explain(codes: tuple[type[M3u8svcError], ...], as_json: bool) -> None:
    """
    Those that were named, or all.
    """
    wanted = codes or tuple(sorted(catalogue(), key=lambda each: each.code))
    if as_json:
        click.echo(json.dumps([_fields(each) for each in wanted], ensure_ascii=False, indent=2))
        return
    for line in _in_full(wanted) if codes else _in_short(wanted):
        click.echo(line)


def _in_full(wanted: tuple[type[M3u8svcError], ...]) -> Iterator[str]:
    chinese = words.language() == "zh"
    for number, each in enumerate(wanted):
        if number:
            yield ""
        yield click.style(each.code, bold=True)
        yield f"  {_WHOSE[each.fault.value].said()}"
        yield f"  {template(each.zh if chinese else each.en)}"
        yield f"  {words.ADVICE.said(text=each.todo_zh if chinese else each.todo_en)}"
        if each.holds:
            yield f"  {words.CODE_HOLDS.said()}"
        elif each.retriable:
            yield f"  {words.CODE_RETRIED.said()}"


def _in_short(wanted: tuple[type[M3u8svcError], ...]) -> Iterator[str]:
    longest = max(len(each.code) for each in wanted)
    for whose, phrase in _WHOSE.items():
        yield click.style(phrase.said(), bold=True)
        for each in wanted:
            if each.fault.value == whose:
                yield f"  {each.code:{longest}}  {template(each.zh if words.language() == 'zh' else each.en)}"
    yield words.EXPLAIN_MORE.said()


def _fields(each: type[M3u8svcError]) -> dict[str, Any]:
    return {
        "code": each.code,
        "about": each.fault.value,
        "text": template(each.zh),
        "text_en": template(each.en),
        "advice": each.todo_zh,
        "advice_en": each.todo_en,
        "holds": each.holds,
        "retried": each.retriable,
    }


def template(text: str) -> str:
    """
    A text whose fields are not known yet: their names in brackets.
    """
    return re.sub(r"\{(\w+)(![rs])?\}", r"‹\1›", text)
