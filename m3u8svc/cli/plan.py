"""
``m3u8svc plan``: what a download would be, found out here or by a service.
"""

import json
from collections.abc import Mapping
from typing import Any  # Any: JSON values, and settings by name

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import EXIT_REFUSED, Client
from m3u8svc.cli.display import say
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import (
    HeaderType,
    ProxyType,
    ServerType,
    SkipType,
    Source,
    SourceType,
    choice_options,
    chosen,
    token_options,
)
from m3u8svc.cli.request import task_body
from m3u8svc.errors import M3u8svcError

SERVER_TIMEOUT_S = 90.0
"""A service gives up a plan after a minute."""


@click.command(
    "plan", help=f"{words.PLAN_HELP.said()} {words.SOURCE_HELP.said()}", epilog=taught("plan", words.PLAN_STATUSES)
)
@click.argument("source", metavar="URL", type=SourceType())
@click.option(
    "--header", "headers", type=HeaderType(), multiple=True, metavar="'K: V'", help=words.HEADER_OPTION.said()
)
@click.option("--skip", type=SkipType(), metavar="EXPR", help=words.SKIP_OPTION.said())
@click.option("--insecure", is_flag=True, help=words.INSECURE_OPTION.said())
@click.option("--proxy", type=ProxyType(), metavar="URL", help=words.PROXY_OPTION.said())
@choice_options
@click.option("--server", type=ServerType(), metavar="URL", help=words.PLAN_SERVER_OPTION.said())
@token_options
@click.option("--json", "as_json", is_flag=True, help=words.PLAN_JSON_OPTION.said())
def plan(
    source: Source,
    headers: tuple[tuple[str, str], ...],
    skip: str | None,
    insecure: bool,
    proxy: dict[str, Any] | None,
    server: str | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """
    Ask, and show the answer.
    """
    settings = {"skip_ts_info": skip, "allow_insecure_https": insecure or None, **(proxy or {})}
    body = task_body(source, headers=headers, settings=settings, extensions=chosen(choices))
    found = _here(body) if server is None else Client(server, timeout_s=SERVER_TIMEOUT_S).plan(body)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    from m3u8svc.cli.outline import plan_tables
    from m3u8svc.cli.tables import draws_plainly, terminal

    console = terminal()
    console.print(plan_tables(found, plain=draws_plainly(console)))


def _here(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    What a service of this machine would answer, without one: through the same door, by the same code.
    """
    from m3u8svc.cli.once import with_tools
    from m3u8svc.errors import InvalidRequest, InvalidUrl, UnsupportedScheme
    from m3u8svc.planning import plan_task
    from m3u8svc.tasks.task import SystemSettings, Task
    from m3u8svc.tasks.wire import wire_url
    from m3u8svc.web.render import outline_object
    from m3u8svc.web.schema import parse_task

    try:
        if not body.get("playlist"):
            wire_url(body["url"])
        draft = parse_task(json.dumps(body).encode())
    except (InvalidUrl, UnsupportedScheme, InvalidRequest) as error:
        raise click.UsageError(error.text(words.language())) from error
    task = Task(id="plan", spec=draft.spec(SystemSettings()))
    try:
        return outline_object(with_tools(lambda tools: plan_task(task, tools, draft.playlist)))
    except M3u8svcError as error:
        say(f"m3u8svc: {words.GET_FAILED.said(code=error.code, text=error.text(words.language()))}")
        raise SystemExit(EXIT_REFUSED) from error
