"""
``m3u8svc add``: a new task for a running service.
"""

import json
from pathlib import Path
from typing import Any  # Any: JSON values
from urllib.parse import urlsplit

import click

from m3u8svc.cli import words
from m3u8svc.cli.client import Client, warnings_of
from m3u8svc.cli.examples import taught
from m3u8svc.cli.options import (
    HeaderType,
    PluginOptionType,
    ProxyType,
    Source,
    SourceType,
    choice_options,
    chosen,
    json_option,
    server_option,
)
from m3u8svc.cli.request import task_body
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.queue import PRIORITIES
from m3u8svc.tasks.task import MAX_THREADS


@click.command("add", help=f"{words.ADD.said()} {words.SOURCE_HELP.said()}", epilog=taught("add", words.EXIT_STATUSES))
@click.argument("source", metavar="URL", type=SourceType())
@click.option("--name", default="", help=words.NAME_OPTION.said())
@click.option(
    "--header", "headers", type=HeaderType(), multiple=True, metavar="'K: V'", help=words.HEADER_OPTION.said()
)
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), metavar="N", help=words.THREADS_OPTION.said())
@click.option("--skip", metavar="EXPR", help=words.SKIP_OPTION.said())
@click.option("--save-dir", metavar="DIR", help=words.SAVE_DIR_OPTION.said())
@click.option("--insecure", is_flag=True, help=words.INSECURE_OPTION.said())
@click.option("--keep-ts", is_flag=True, help=words.KEEP_TS_OPTION.said())
@click.option("--no-merge", is_flag=True, help=words.NO_MERGE_OPTION.said())
@click.option("--proxy", type=ProxyType(), metavar="URL", help=words.PROXY_OPTION.said())
@choice_options
@click.option("--merger", metavar="NAME", help=words.MERGER_OPTION.said())
@click.option("--storage", metavar="NAME", help=words.STORAGE_OPTION.said())
@click.option(
    "--plugin",
    "plugins",
    type=PluginOptionType(),
    multiple=True,
    metavar="NAME[.OPTION=VALUE]",
    help=words.PLUGIN_OPTION.said(),
)
@click.option("--priority", type=click.IntRange(*PRIORITIES), metavar="N", help=words.PRIORITY_OPTION.said())
@server_option
@json_option
def add(
    source: Source,
    name: str,
    headers: tuple[tuple[str, str], ...],
    threads: int | None,
    skip: str | None,
    save_dir: str | None,
    insecure: bool,
    keep_ts: bool,
    no_merge: bool,
    proxy: dict[str, Any] | None,
    merger: str | None,
    storage: str | None,
    plugins: tuple[tuple[str, dict[str, Any]], ...],
    priority: int | None,
    server: str,
    as_json: bool,
    **choices: Any,
) -> None:
    """
    Send what was given, and only that: the rest comes from the service's settings.
    """
    given: dict[str, Any] = {
        "download_threads": threads,
        "skip_ts_info": skip,
        "save_location": None if save_dir is None else _directory(save_dir, server),
        # A flag that is not there says nothing: the service's own setting holds.
        "allow_insecure_https": insecure or None,
        "keep_ts_files": keep_ts or None,
        "no_merge_ts": no_merge or None,
        **(proxy or {}),
    }
    options: dict[str, dict[str, Any]] = {}
    for plugin, option in plugins:
        options.setdefault(plugin, {}).update(option)
    extensions = {
        **chosen(choices),
        "merger": merger,
        "storage": storage,
        "plugins": options or None,
        "priority": priority,
    }
    body = task_body(source, name=name, headers=headers, settings=given, extensions=extensions)
    answer = Client(server).add(body)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    click.echo(escape_controls(answer["id"]))
    for warning in warnings_of(answer):
        click.echo(words.WARNING.said(text=escape_controls(warning)), err=True)


def _directory(given: str, server: str) -> str:
    """
    A directory as the service understands it. A relative one means the current directory, which a service on this
    machine can be told; another one answers itself that it takes absolute paths only.
    """
    is_local = urlsplit(server).hostname in ("localhost", "127.0.0.1", "::1")
    return str(Path.cwd() / given) if is_local and not given.startswith("~") else given
