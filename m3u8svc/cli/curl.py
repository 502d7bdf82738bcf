"""
``m3u8svc curl``: a task out of the curl command that a browser copied. What follows our own options is curl's; a shell
has made words of it already, unless it is one quoted text or comes from the standard input.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any  # Any: JSON values

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import Client, warnings_of
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import Source, json_option, server_option
from m3u8svc.cli.template import literal
from m3u8svc.errors import BadCurlCommand
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.curlline import MAX_COMMAND, CurlLine, parse_curl, read_words, task_fields


@click.command(
    "curl",
    help=words.CURL_HELP.said(),
    epilog=taught("curl", words.EXIT_STATUSES),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--get", "here", is_flag=True, help=words.CURL_GET_OPTION.said())
@click.option("--show", is_flag=True, help=words.CURL_SHOW_OPTION.said())
@click.option("--name", default="", help=words.NAME_OPTION.said())
@server_option
@json_option
@click.argument("command", metavar="'CURL COMMAND'|-", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def curl(
    context: click.Context, command: tuple[str, ...], here: bool, show: bool, name: str, server: str, as_json: bool
) -> None:
    """
    Read it, then add it, download it, or say what it comes to.
    """
    try:
        line = _read(command)
    except BadCurlCommand as error:
        language = words.language()
        advice = words.ADVICE.said(text=error.advice(language))
        raise click.UsageError(f"{error.text(language)}\n{advice} [{error.code}]") from None
    for warning in line.warnings:
        click.echo(words.WARNING.said(text=escape_controls(words.in_language(warning))), err=True)
    if show:
        click.echo(json.dumps(task_fields(line) | ({"filename": name} if name else {}), ensure_ascii=False, indent=2))
    elif here:
        _download(context, line, name, as_json)
    else:
        _add(line, name, server, as_json)


def _read(command: Sequence[str]) -> CurlLine:
    if list(command) == ["-"]:
        return parse_curl(sys.stdin.read(MAX_COMMAND + 1))
    if len(command) == 1 and any(character.isspace() for character in command[0].strip()):
        return parse_curl(command[0])
    return read_words(command[1:] if command[0] == "curl" else command)


def _add(line: CurlLine, name: str, server: str, as_json: bool) -> None:
    answer = Client(server).add(task_fields(line) | ({"filename": name} if name else {}))
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    click.echo(escape_controls(answer["id"]))
    for warning in warnings_of(answer):
        click.echo(words.WARNING.said(text=escape_controls(warning)), err=True)


def _download(context: click.Context, line: CurlLine, name: str, as_json: bool) -> None:
    """
    By `get`, with the options that say the same.
    """
    from m3u8svc.cli.get import get

    proxy: dict[str, Any] | None = dict(line.proxy) or None
    context.invoke(
        get,
        sources=(Source(url=line.url),),
        output=literal(name or line.filename) if name or line.filename else None,
        headers=tuple((header, value) for header, values in line.headers.items() for value in values),
        insecure=line.insecure,
        proxy=proxy,
        limit_rate=line.limit_rate or None,
        as_json=as_json,
    )
