"""
``m3u8svc get``: one download without a server, by the same job that the service runs.

Its state is one small file under ``<home>/get``, named by URL and output, with a lock: the same line typed again goes
on where the last one stopped, and may run beside the service and beside other downloads. Segments lie beside the
output until it is finished.
"""

import gc
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # Any: settings by name

import attrs
import click

from m3u8svc.cli import words
from m3u8svc.cli.display import display, say
from m3u8svc.cli.foreground import Ending, State, run
from m3u8svc.cli.options import HeaderType, ProxyType, SkipType, Source, SourceType, choice_options, chosen
from m3u8svc.errors import InvalidUrl, UnsupportedScheme
from m3u8svc.redact import escape_controls
from m3u8svc.tasks.headers import clean_headers, header_problems
from m3u8svc.tasks.names import LONGEST_NAME_BYTES, OUR_EXTENSIONS, result_name
from m3u8svc.tasks.task import LIVE_NAMES, MAX_THREADS, Extensions, Settings, Task, TaskSpec
from m3u8svc.tasks.wire import wire_url
from m3u8svc.wording import joined

MERGERS = {".mp4": "mp4", ".ts": "ts"}


@click.command("get", help=f"{words.GET_HELP.said()} {words.SOURCE_HELP.said()}", epilog=words.GET_STATUSES.said())
@click.argument("source", metavar="URL", type=SourceType())
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help=words.OUTPUT_OPTION.said()
)
@click.option(
    "--threads", type=click.IntRange(0, MAX_THREADS), default=0, metavar="N", help=words.THREADS_OPTION.said()
)
@click.option(
    "--header", "headers", type=HeaderType(), multiple=True, metavar="'K: V'", help=words.HEADER_OPTION.said()
)
@click.option("--skip", type=SkipType(), default="", metavar="EXPR", help=words.SKIP_OPTION.said())
@click.option("--insecure", is_flag=True, help=words.INSECURE_OPTION.said())
@click.option("--keep-ts", is_flag=True, help=words.KEEP_TS_OPTION.said())
@click.option("--proxy", type=ProxyType(), metavar="URL", help=words.PROXY_OPTION.said())
@choice_options
@click.option("--home", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help=words.HOME_OPTION.said())
@click.option("--quiet", is_flag=True, help=words.QUIET_OPTION.said())
def get(
    source: Source,
    output: Path | None,
    threads: int,
    headers: tuple[tuple[str, str], ...],
    skip: str,
    insecure: bool,
    keep_ts: bool,
    proxy: dict[str, Any] | None,
    home: Path | None,
    quiet: bool,
    **choices: Any,
) -> None:
    """
    Read the line, run the job, say how it ended.
    """
    gc.disable()  # start-up makes much and drops nothing; it takes a fifth less time so
    settings = Settings(
        download_threads=threads,
        skip_ts_info=skip,
        allow_insecure_https=insecure,
        keep_ts_files=keep_ts,
        **(proxy or {}),
    )
    wanted = chosen(choices)
    task = _task(source, output, _headers(headers), settings, wanted)
    with State.held(_home(home) / "get" / task.id, skip=_film(skip, wanted), keep_ts=keep_ts) as state:
        done = state.finished_file()
        there = Ending(status=0, line=words.GET_THERE.said(path=done or ""))
        ending = there if done else run(task, state, display(quiet), playlist=source.playlist)
    if ending.status:
        say(f"m3u8svc: {ending.line}")
        raise SystemExit(ending.status)
    if not quiet:
        click.echo(f"m3u8svc: {ending.line}")


def _film(skip: str, wanted: Mapping[str, Any]) -> str:
    """
    What tells one film of a stream from another, besides its name: what is skipped and what is chosen, without keys.
    How fast it is fetched does not.
    """
    wanted = {name: value for name, value in wanted.items() if name not in LIVE_NAMES}
    if not wanted:
        return skip
    return f"{skip}\n{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()}"


def _task(
    source: Source,
    output: Path | None,
    headers: dict[str, tuple[str, ...]],
    settings: Settings,
    wanted: Mapping[str, Any],
) -> Task:
    try:
        if not source.playlist:
            wire_url(source.url)
    except (InvalidUrl, UnsupportedScheme) as error:
        raise click.BadParameter(error.text(words.language()), param_hint="URL") from error
    target = Path.cwd() if output is None else output.absolute().parent
    merger = "mp4"
    if output is not None and output.suffix.lower() in OUR_EXTENSIONS:
        if output.suffix.lower() not in MERGERS:
            raise click.BadParameter(words.BAD_OUTPUT.said(suffix=output.suffix), param_hint="--output")
        merger = MERGERS[output.suffix.lower()]
    spec = TaskSpec(
        url=source.url,
        filename=source.name if output is None else output.name,
        headers=headers,
        advanced=True,
        settings=attrs.evolve(settings, save_location=str(target.resolve())),
        extensions=Extensions(merger=merger, **wanted),
        playlist_bytes=len(source.playlist.encode()),
    )
    if output is not None and not _is_name(output.name, result_name(spec)):
        raise click.BadParameter(words.BAD_OUTPUT_NAME.said(limit=LONGEST_NAME_BYTES), param_hint="--output")
    from_what = source.url or hashlib.sha256(source.playlist.encode()).hexdigest()
    key = "\n".join((from_what, str(target), result_name(spec), merger))
    return Task(id=hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12], spec=spec)


def _is_name(typed: str, result: str) -> bool:
    """
    Whether a file can have the name that was typed, and `result`, which is made of it. Laxer than the API: whoever
    types here may write anywhere, so that a name such as ``-x`` or ``.x`` is his own affair.
    """
    is_empty = not typed.strip(" .") or typed.strip().lower() in OUR_EXTENSIONS
    fits = len(result.encode("utf-8", "surrogateescape")) <= LONGEST_NAME_BYTES
    return not is_empty and fits and escape_controls(typed) == typed


def _home(home: Path | None) -> Path:
    if home is not None:
        return home.expanduser().absolute()
    from m3u8svc.config import default_home

    return default_home()


def _headers(pairs: tuple[tuple[str, str], ...]) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        headers[name] = (*headers.get(name, ()), value)
    problems = header_problems(headers)
    if problems:
        told = joined(problems)
        raise click.BadParameter(told if words.language() == "zh" else told.en, param_hint="--header")
    kept, warnings = clean_headers(headers)
    for warning in warnings:
        say(words.WARNING.said(text=warning))
    return dict(kept)
