"""
``m3u8svc get``: downloads without a server, by the same job that the service runs.

The state of each is one small file under ``<home>/get``, named by URL and output, with a lock: the same line typed
again goes on where the last one stopped, and may run beside the service and beside other downloads. Segments lie beside
the output until it is finished.

Where the name has a field that another day fills in otherwise (``{date}``, ``{height}``, ``{index}``), the state is
named by the template instead, and remembers the name that was chosen first.
"""

import gc
import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any  # Any: settings by name
from urllib.parse import urlsplit

import attrs
import click

from m3u8svc.cli import words
from m3u8svc.cli.batch import BatchLine, parse_batch
from m3u8svc.cli.display import Display, JsonLines, display, put_json, say
from m3u8svc.cli.examples import taught
from m3u8svc.cli.foreground import EXIT_FAILED, EXIT_INTERRUPTED, Ending, Foreground, State, failed, run
from m3u8svc.cli.options import HeaderType, ProxyType, SkipType, Source, SourceType, choice_options, chosen, expanded
from m3u8svc.cli.template import CHANGING, UNKNOWN, BadTemplate, Template, parse_template
from m3u8svc.errors import InvalidUrl, M3u8svcError, UnsupportedScheme
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.headers import clean_headers, header_problems
from m3u8svc.tasks.names import LONGEST_NAME_BYTES, OUR_EXTENSIONS, derived_name, result_name
from m3u8svc.tasks.task import LIVE_NAMES, MAX_THREADS, Extensions, Settings, Task, TaskSpec
from m3u8svc.tasks.wire import wire_url
from m3u8svc.wording import joined

MERGERS = {".mp4": "mp4", ".ts": "ts"}
MOST_BATCH_BYTES = 16 << 20


class OutputType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """
    A file to make, with fields in its name or without.
    """

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Template:
        """The template, if every field is one."""
        if isinstance(value, Template):
            return value
        try:
            return parse_template(value)
        except BadTemplate as error:
            self.fail(error.said if words.language() == "zh" else error.said.en, param, ctx)


@attrs.frozen(kw_only=True)
class Order:
    """
    One of the downloads that a line asks for: what, by which name if it has one, and where that was said.
    """

    source: Source
    name: str = ""
    number: int = 1
    """Which one, from 1."""
    line: int = 0
    """Of the batch file; 0 for what was typed."""

    @property
    def where(self) -> str:
        """Which one it is, for people."""
        shown = self.name or redact_url(self.source.url) or self.source.name
        return f"{words.BATCH_LINE.said(line=self.line)} {shown}" if self.line else shown


@attrs.frozen(kw_only=True)
class Wish:
    """
    What is the same for all of them.
    """

    output: Template | None
    headers: Mapping[str, tuple[str, ...]]
    settings: Settings
    choices: Mapping[str, Any]
    home: Path | None
    count: int
    today: str


@click.command(
    "get", help=f"{words.GET_HELP.said()} {words.SOURCE_HELP.said()}", epilog=taught("get", words.GET_STATUSES)
)
@click.argument("sources", metavar="[URL]...", nargs=-1, type=SourceType())
@click.option("-o", "--output", metavar="FILE", type=OutputType(), help=words.OUTPUT_OPTION.said())
@click.option("-i", "--input", "batch", metavar="FILE", help=words.BATCH_OPTION.said())
@click.option("--dry-run", is_flag=True, help=words.DRY_RUN_OPTION.said())
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
@click.option("--json", "as_json", is_flag=True, help=words.GET_JSON_OPTION.said())
def get(
    sources: tuple[Source, ...],
    output: Template | None,
    batch: str | None,
    dry_run: bool,
    threads: int,
    headers: tuple[tuple[str, str], ...],
    skip: str,
    insecure: bool,
    keep_ts: bool,
    proxy: dict[str, Any] | None,
    home: Path | None,
    quiet: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """
    Read the line, run the jobs, say how they ended.
    """
    gc.disable()  # start-up makes much and drops nothing; it takes a fifth less time so
    settings = Settings(
        download_threads=threads,
        skip_ts_info=skip,
        allow_insecure_https=insecure,
        keep_ts_files=keep_ts,
        **(proxy or {}),
    )
    orders = _orders(sources, batch)
    wish = Wish(
        output=output,
        headers=_headers(headers),
        settings=settings,
        choices=chosen(choices),
        home=home,
        count=len(orders),
        today=date.today().isoformat(),
    )
    _check_output(wish)
    if dry_run:
        _plan(orders, wish, as_json)
    elif batch is None and len(orders) == 1:
        _get_one(orders[0], wish, quiet, as_json)
    else:
        _get_all(orders, wish, quiet, as_json)


# -- What is asked for -----------------------------------------------------------------------------------------------


def _orders(sources: tuple[Source, ...], batch: str | None) -> list[Order]:
    """
    All downloads that the line and the batch file name.
    """
    orders = [Order(source=source, number=number) for number, source in enumerate(sources, 1)]
    if batch is not None:
        for line in _batch_lines(batch):
            source = Source(url=line.url)
            orders.append(Order(source=source, name=line.name, number=len(orders) + 1, line=line.number))
    if not orders:
        raise click.UsageError((words.NOTHING_TO_GET if batch is None else words.EMPTY_BATCH).said())
    return orders


def _batch_lines(batch: str) -> list[BatchLine]:
    try:
        if batch == "-":
            content = sys.stdin.buffer.read(MOST_BATCH_BYTES + 1)
        else:
            with open(batch, "rb") as file:
                content = file.read(MOST_BATCH_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8
        reason = getattr(error, "strerror", None) or "UTF-8"
        raise click.BadParameter(words.BAD_BATCH.said(file=batch, reason=reason), param_hint="--input") from None
    if len(content) > MOST_BATCH_BYTES:
        raise click.BadParameter(words.BAD_BATCH.said(file=batch, reason=f"> {MOST_BATCH_BYTES}"), param_hint="--input")
    lines, wrong = parse_batch(text)
    if wrong:
        chinese = words.language() == "zh"
        said = [f"{batch}:{each.number}: {each.why if chinese else each.why.en}" for each in wrong[:20]]
        raise click.UsageError("\n".join(said))
    return lines


def _check_output(wish: Wish) -> None:
    """
    Several downloads need several names; what a template can be is known beforehand.
    """
    if wish.output is None:
        return
    if wish.output.text == "-":
        raise click.BadParameter(words.NO_STANDARD_OUTPUT.said(), param_hint="--output")
    if wish.count > 1 and not wish.output.fields & {"name", "index"}:
        raise click.BadParameter(words.ONE_NAME_FOR_MANY.said(), param_hint="--output")
    suffix = Path(wish.output.text).suffix.lower()
    if suffix in OUR_EXTENSIONS and suffix not in MERGERS:
        raise click.BadParameter(words.BAD_OUTPUT.said(suffix=suffix), param_hint="--output")
    if other := _other_suffix(wish.output):
        name = escape_controls(Path(wish.output.text).name)
        say(words.WARNING.said(text=words.CALLED_MP4.said(name=f"{name}.mp4", suffix=escape_controls(other))))


def _other_suffix(output: Template) -> str:
    """
    What a template ends in that looks like the extension of a file we cannot make, "" for nothing: no number, such as
    that of an episode.
    """
    stands, field = output.parts[-1] if output.parts else ("", "")
    suffix = "" if field else Path(f"x{stands}").suffix
    return suffix if suffix.lower() not in OUR_EXTENSIONS and any(map(str.isalpha, suffix)) else ""


def _named(order: Order, wish: Wish, height: int | None = None) -> Path | None:
    """
    The file to make; None: it is named by the URL, in the current directory.
    """
    if wish.output is None:
        return Path(order.name) if order.name else None
    width = len(str(wish.count))
    url = order.source.url
    name = order.name or order.source.name or (derived_name(url) if url else "")
    for extension in MERGERS:
        name = name[: -len(extension)] if name.lower().endswith(extension) else name
    values = {
        "name": name,
        "host": (urlsplit(url).hostname or "") if url else "local",
        "date": wish.today,
        "height": str(height or UNKNOWN),
        "ext": "mp4",
        "index": f"{order.number:0{width}d}",
    }
    return Path(wish.output.filled(values))


# -- One, or many ----------------------------------------------------------------------------------------------------


def _get_one(order: Order, wish: Wish, quiet: bool, as_json: bool) -> None:
    task = _task(order, wish, None if _by_template(wish) else _named(order, wish))
    with _held(task, wish) as state:
        done = state.finished_file()
        ending = (
            _there(done)
            if done
            else run(
                lambda foreground: _carried_out(foreground, order, wish, state, _displays({}, quiet, as_json)),
                threads=wish.settings.download_threads,
            )
        )
    if as_json:
        put_json({**ending.facts, "status": ending.status})
    if ending.status:
        if not as_json:
            say(f"m3u8svc: {ending.line}")
        raise SystemExit(ending.status)
    if not quiet and not as_json:
        click.echo(f"m3u8svc: {ending.line}")


def _get_all(orders: list[Order], wish: Wish, quiet: bool, as_json: bool) -> None:
    """
    One after the other, each with as many connections as it wants; then what became of them.
    """
    endings: list[tuple[Order, Ending]] = []

    async def work(foreground: Foreground) -> Ending:
        for order in orders:
            about = {"index": order.number, "line": order.line or None, "name": order.name or None}
            if not quiet and not as_json:
                say(f"[{order.number}/{wish.count}] {order.where}")
            ending = await _one_of_many(foreground, order, wish, _displays(about, quiet, as_json))
            endings.append((order, ending))
            if as_json:
                put_json({**ending.facts, **about, "status": ending.status})
            elif ending.status:
                say(f"m3u8svc: {order.where}: {ending.line}")
            elif not quiet:
                click.echo(f"m3u8svc: {order.where}: {ending.line}")
            if foreground.stopping:
                return Ending()
        return Ending(status=EXIT_FAILED if any(each.status for _, each in endings) else 0, line="")

    ending = run(work, threads=wish.settings.download_threads)
    counts = {
        "total": len(orders),
        "done": sum(not each.status for _, each in endings),
        "failed": sum(each.status not in (0, EXIT_INTERRUPTED) for _, each in endings),
    }
    if as_json:
        put_json({"event": "summary", **counts, "status": ending.status})
    elif not quiet or ending.status:
        say(f"m3u8svc: {words.BATCH_SUMMARY.said(**counts)}")
    if ending.status:
        raise SystemExit(ending.status)


def _displays(about: Mapping[str, Any], quiet: bool, as_json: bool) -> Callable[[], Display]:
    """
    What makes a display: a bar is on the terminal from the moment it is made.
    """
    return lambda: JsonLines(about) if as_json else display(quiet)


async def _one_of_many(foreground: Foreground, order: Order, wish: Wish, show: Callable[[], Display]) -> Ending:
    try:
        task = _task(order, wish, None if _by_template(wish) else _named(order, wish))
        with _held(task, wish) as state:
            done = state.finished_file()
            return _there(done) if done else await _carried_out(foreground, order, wish, state, show)
    except click.ClickException as error:
        return _refused(error)
    except SystemExit as ended:  # it runs elsewhere, or its state cannot be used: said already
        facts = {"event": "failed", "code": "", "error": words.GET_NOT_BEGUN.said(), "advice": ""}
        return Ending(status=int(ended.code or EXIT_FAILED), line=words.GET_NOT_BEGUN.said(), facts=facts)


async def _carried_out(
    foreground: Foreground, order: Order, wish: Wish, state: State, show: Callable[[], Display]
) -> Ending:
    """
    The download, after a look at the stream where its name needs one.
    """
    try:
        output = await _chosen_name(foreground, order, wish, state)
        task = _task(order, wish, output)
    except M3u8svcError as error:
        return failed(error)
    except click.ClickException as error:  # a name that only the values of its fields make a bad one
        return _refused(error)
    return await foreground.download(task, state, show(), playlist=order.source.playlist)


async def _chosen_name(foreground: Foreground, order: Order, wish: Wish, state: State) -> Path | None:
    """
    The file to make: by the template what was chosen first, or is now.
    """
    if not _by_template(wish):
        return _named(order, wish)
    if remembered := state.known.get("named"):
        return Path(remembered)
    height = None
    if wish.output is not None and "height" in wish.output.fields:
        outline = await foreground.outline(_task(order, wish, None), order.source.playlist)
        height = next((each.height for each in outline.variants if each.chosen), None)
    output = _named(order, wish, height)
    state.remember(named=str(output))
    return output


def _refused(error: click.ClickException) -> Ending:
    message = error.format_message()
    facts = {"event": "failed", "code": "", "error": message, "advice": ""}
    return Ending(status=EXIT_FAILED, line=message, facts=facts)


def _by_template(wish: Wish) -> bool:
    """
    Whether the file's name is another one on another day.
    """
    return wish.output is not None and bool(wish.output.fields & CHANGING)


def _there(path: str) -> Ending:
    facts = {"event": "done", "output": path, "already_there": True}
    return Ending(status=0, line=words.GET_THERE.said(path=path), facts=facts)


def _held(task: Task, wish: Wish) -> State:
    directory = _home(wish.home) / "get" / task.id
    skip = _film(wish.settings.skip_ts_info, wish.choices)
    return State.held(directory, skip=skip, keep_ts=wish.settings.keep_ts_files)


# -- Only looking ----------------------------------------------------------------------------------------------------


def _plan(orders: list[Order], wish: Wish, as_json: bool) -> None:
    """
    What each of them would be.
    """
    from m3u8svc.web.render import outline_object

    tasks = [(order, _task(order, wish, None)) for order in orders]

    async def work(foreground: Foreground) -> Ending:
        worst = 0
        for order, task in tasks:
            about = {"index": order.number, "line": order.line or None, "name": order.name or None}
            try:
                found = outline_object(await foreground.outline(task, order.source.playlist))
            except M3u8svcError as error:
                ending = failed(error)
                worst = ending.status
                if as_json:
                    put_json({**ending.facts, **about, "status": ending.status})
                else:
                    say(f"m3u8svc: {order.where}: {ending.line}" if len(orders) > 1 else f"m3u8svc: {ending.line}")
                continue
            height = next((each["height"] for each in found["variants"] if each["chosen"]), None)
            output = str(_named(order, wish, height) or result_name(task.spec))
            _show_plan(found, order, output, as_json, many=len(orders) > 1)
        return Ending(status=worst, line="")

    ending = run(work, threads=wish.settings.download_threads)
    if ending.status:
        raise SystemExit(ending.status)


def _show_plan(found: Mapping[str, Any], order: Order, output: str, as_json: bool, *, many: bool) -> None:
    if as_json and many:
        put_json({"index": order.number, "line": order.line or None, "output": output, **found})
    elif as_json:
        click.echo(json.dumps({**found, "output": output}, ensure_ascii=False, indent=2))
    else:
        from m3u8svc.cli.outline import plan_tables
        from m3u8svc.cli.tables import draws_plainly, terminal

        console = terminal()
        if many:
            click.echo(escape_controls(order.where))
        console.print(plan_tables(found, plain=draws_plainly(console)))
        click.echo(words.WOULD_BE.said(path=escape_controls(output)))


def _film(skip: str, wanted: Mapping[str, Any]) -> str:
    """
    What tells one film of a stream from another, besides its name: what is skipped and what is chosen, without keys.
    How fast it is fetched does not.
    """
    wanted = {name: value for name, value in wanted.items() if name not in LIVE_NAMES}
    if not wanted:
        return skip
    return f"{skip}\n{hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()}"


def _task(order: Order, wish: Wish, output: Path | None) -> Task:
    source = order.source
    try:
        if not source.playlist:
            wire_url(source.url)
    except (InvalidUrl, UnsupportedScheme) as error:
        raise click.BadParameter(error.text(words.language()), param_hint="URL") from error
    if output is not None and os.path.isdir(output):  # what cannot be looked at is no directory: the job says why
        raise click.BadParameter(words.OUTPUT_IS_DIRECTORY.said(path=output), param_hint="--output")
    target = Path.cwd() if output is None else output.absolute().parent
    merger = "mp4"
    if output is not None and output.suffix.lower() in OUR_EXTENSIONS:
        if output.suffix.lower() not in MERGERS:
            raise click.BadParameter(words.BAD_OUTPUT.said(suffix=output.suffix), param_hint="--output")
        merger = MERGERS[output.suffix.lower()]
    spec = TaskSpec(
        url=source.url,
        filename=source.name if output is None else output.name,
        headers=wish.headers,
        advanced=True,
        settings=attrs.evolve(wish.settings, save_location=os.path.realpath(target)),
        extensions=Extensions(merger=merger, **wish.choices),
        playlist_bytes=len(source.playlist.encode()),
    )
    if output is not None and not _is_name(output.name, result_name(spec)):
        raise click.BadParameter(words.BAD_OUTPUT_NAME.said(limit=LONGEST_NAME_BYTES), param_hint="--output")
    return Task(id=_task_id(order, wish, str(target), result_name(spec), merger), spec=spec)


def _task_id(order: Order, wish: Wish, *result: str) -> str:
    """
    What tells this download from others: where from and where to, or by which template.
    """
    from_what = order.source.url or hashlib.sha256(order.source.playlist.encode()).hexdigest()
    if wish.output is not None and _by_template(wish):
        result = (str(Path.cwd()), wish.output.text, order.name, "template")
    return hashlib.sha256("\n".join((from_what, *result)).encode("utf-8", "surrogateescape")).hexdigest()[:12]


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
        return expanded(home, "--home")
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
        say(words.WARNING.said(text=words.in_language(warning)))
    return dict(kept)
