"""
``m3u8svc get``: one download without a server, by the same job that the service runs.

Its state is one small file under ``<home>/get``, named by URL and output, with a lock: the same line typed again goes
on where the last one stopped, and may run beside the service and beside other downloads. Segments lie beside the
output until it is finished.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import attrs
import click
from m3u8svc.hls.skip import parse_skip_expression

from m3u8svc.errors import InvalidUrl, Language, M3u8svcError, SkipExpressionError, UnsupportedScheme
from m3u8svc.tasks.headers import clean_headers, header_problems
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.names import OUR_EXTENSIONS, result_name
from m3u8svc.tasks.pace import TITLES, rate_text, remaining_text
from m3u8svc.tasks.task import MAX_THREADS, PROXY_TYPES, Extensions, Phase, Progress, Settings, Task, TaskSpec

MERGERS = {".mp4": "mp4", ".ts": "ts"}
EXIT_FAILED = 1
EXIT_LOCKED = 75
EXIT_INTERRUPTED = 130


@click.command("get")
@click.argument("url")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to make (.mp4 or .ts).")
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Connections; 0 finds out by itself.")
@click.option("--header", "headers", multiple=True, metavar="'K: V'", help="A request header; repeatable.")
@click.option("--skip", default="", metavar="EXPR", help="Segments to leave out, such as '1,92-100'.")
@click.option("--insecure", is_flag=True, help="Accept HTTPS certificates nobody vouches for.")
@click.option("--keep-ts", is_flag=True, help="Keep the segments beside the file.")
@click.option("--proxy", metavar="URL", help="http://, https:// or socks5:// proxy for every request.")
@click.option("--home", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Directory for state.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def get(
    url: str,
    output: Path | None,
    threads: int,
    headers: tuple[str, ...],
    skip: str,
    insecure: bool,
    keep_ts: bool,
    proxy: str | None,
    home: Path | None,
    quiet: bool,
) -> None:
    """
    Download the stream at URL into one verified file.

    Typed again after an interruption it goes on where it stopped. Exit status: 0 the file is there and verified,
    1 it failed, 2 the command line is wrong, 75 the same download runs already, 130 interrupted.
    """
    settings = Settings(
        download_threads=threads,
        skip_ts_info=_skip(skip),
        allow_insecure_https=insecure,
        keep_ts_files=keep_ts,
        **_proxy(proxy),
    )
    task = _task(url, output, _headers(headers), settings)
    with State.held(_home(home) / "get" / task.id) as state:
        done = state.finished_file()
        ending = Ending(status=0, line=f"already there: {done}") if done else _run(task, state, _display(quiet))
    if ending.status or not quiet:
        click.echo(f"m3u8svc: {ending.line}", err=bool(ending.status))
    if ending.status:
        raise SystemExit(ending.status)


def _task(url: str, output: Path | None, headers: dict[str, tuple[str, ...]], settings: Settings) -> Task:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise click.BadParameter(UnsupportedScheme(scheme=parts.scheme, url=url).text("en"), param_hint="URL")
    if not parts.hostname:
        raise click.BadParameter(InvalidUrl(reason="no host", url=url).text("en"), param_hint="URL")
    target = Path.cwd() if output is None else output.absolute().parent
    merger = "mp4"
    if output is not None and output.suffix.lower() in OUR_EXTENSIONS:
        if output.suffix.lower() not in MERGERS:
            raise click.BadParameter(f"{output.suffix} cannot be made; .mp4 and .ts can", param_hint="--output")
        merger = MERGERS[output.suffix.lower()]
    spec = TaskSpec(
        url=url,
        filename="" if output is None else output.name,
        headers=headers,
        advanced=True,
        settings=attrs.evolve(settings, save_location=str(target)),
        extensions=Extensions(merger=merger),
    )
    key = "\n".join((url, str(target), result_name(spec), merger))
    return Task(id=hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12], spec=spec)


class State:
    """
    What one download remembers between runs, in a directory of its own that one process at a time may use.
    """

    def __init__(self, directory: Path, lock: int) -> None:
        self._file = directory / "state.json"
        self._lock = lock
        self.known: dict[str, str] = {}
        try:
            self.known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.known = {}  # none yet, or not ours: the work directory is the truth, this only saves work

    @classmethod
    def held(cls, directory: Path) -> "State":
        """
        The state, locked; ends the process with status 75 if another one has it.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            click.echo("m3u8svc: the same download is running in another process", err=True)
            raise SystemExit(EXIT_LOCKED) from None
        return cls(directory, lock)

    def __enter__(self) -> "State":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def finished_file(self) -> str | None:
        """
        Where the finished file is, if it is still the one that was verified.
        """
        from m3u8svc.places import file_identity

        output = self.known.get("output")
        try:
            same = output is not None and file_identity(Path(output)) == self.known.get("output_id")
        except OSError:
            return None
        return output if same else None

    def remember(self, **news: str) -> None:
        """
        Durably add to what is known. Blocking; a few hundred bytes.
        """
        self.known.update(news)
        part = self._file.with_suffix(".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump(self.known, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self._file)

    # -- What a job records

    def segment(self, row: SegmentRow) -> None:
        """Nothing to do: the work directory lists what is there."""

    async def staged(self, output_id: str) -> None:
        """The file is about to be renamed into place."""
        self.remember(output_id=output_id)


@attrs.frozen(kw_only=True)
class Ending:
    """
    How it went: an exit status and a last line.
    """

    status: int = EXIT_INTERRUPTED
    line: str = "interrupted; type the same line again to go on"


def _run(task: Task, state: State, shown: "Display") -> Ending:
    """
    The job, inside a reactor of its own.
    """
    from twisted.internet import reactor

    from m3u8svc.tap import use_monotonic_clock

    use_monotonic_clock(reactor)
    foreground = Foreground(reactor, task, state, shown)
    reactor.callWhenRunning(foreground.start)
    reactor.addSystemEventTrigger("before", "shutdown", foreground.stop)
    reactor.run()
    return foreground.ending


class Foreground:
    """
    One job in the foreground: started with the reactor, cancelled when the reactor is told to stop, ends it when done.
    """

    def __init__(self, reactor: Any, task: Task, state: State, shown: "Display") -> None:  # Any: the reactor
        from twisted.internet.task import LoopingCall

        from m3u8svc.job import Job
        from m3u8svc.tap import disk_threads, make_tools

        in_thread, self._stop_threads = disk_threads(reactor)
        tools, self._close_connections = make_tools(reactor, in_thread)
        self._reactor = reactor
        self._state = state
        self._shown = shown
        self._job = Job(attrs.evolve(task, output_id=state.known.get("output_id", "")), tools, state, {})
        self._looking = LoopingCall(lambda: shown.update(self._job.progress()))
        self._stopping = False
        self._running: Any = None
        self.ending = Ending()

    def start(self) -> None:
        """
        Begin.
        """
        from twisted.internet.defer import Deferred

        self._looking.start(0.1)
        self._running = Deferred.fromCoroutine(self._whole())

    def stop(self) -> Any:
        """
        The reactor is about to stop: cancel what runs, and let it wait until that has ended.
        """
        self._stopping = True
        if self._running is not None:
            self._running.cancel()
        return self._running

    async def _whole(self) -> None:
        from twisted.internet.defer import CancelledError

        from m3u8svc.waiting import log_failure

        try:
            outcome = await self._job.run()
            self._state.remember(output=outcome.output)
            await self._job.clean_up()
            self._shown.close(outcome.warnings)
            self.ending = Ending(status=0, line=f"{outcome.output} ({outcome.size_bytes:,} bytes, verified)")
        except CancelledError:
            pass  # Ctrl-C: the ending says so already
        except M3u8svcError as error:
            self.ending = Ending(status=EXIT_FAILED, line=f"failed [{error.code}]: {error.text(language())}")
        except Exception as error:  # a bug of ours: one line for the user, the traceback in the log
            log_failure("get")
            self.ending = Ending(status=EXIT_FAILED, line=f"failed [internal]: {type(error).__name__}")
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        self._looking.stop()
        self._shown.close(())
        await self._close_connections()
        self._stop_threads()
        if not self._stopping:
            self._reactor.stop()


# -- What the user sees ----------------------------------------------------------------------------------------------


class Display(Protocol):
    """
    Shows progress while a job runs.
    """

    def update(self, progress: Progress) -> None:
        """The latest."""

    def close(self, warnings: Sequence[str]) -> None:
        """It is over; may be called twice."""


class Plain:
    """
    For pipes and logs: a line when the phase changes, unless quiet.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._phase = Phase.NONE

    def update(self, progress: Progress) -> None:
        """A new phase is a line."""
        if progress.phase is not self._phase and not self._quiet and progress.phase is not Phase.NONE:
            click.echo(f"{progress.phase.value} {progress.percent}%", err=True)
        self._phase = progress.phase

    def close(self, warnings: Sequence[str]) -> None:
        """The warnings, one a line."""
        for warning in () if self._quiet else warnings:
            click.echo(f"! {warning}", err=True)


class Bar:
    """
    For terminals: phase, segments, rate, time left.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[segments]}"),
            TextColumn("{task.fields[rate]}"),
            console=Console(stderr=True),
        )
        self._row = self._bar.add_task("…", total=100, segments="", rate="")
        self._bar.start()

    def update(self, progress: Progress) -> None:
        """Redraw."""
        left = "" if progress.eta_s is None else f" · {remaining_text(progress.eta_s)}"
        self._bar.update(
            self._row,
            completed=progress.percent,
            description=TITLES.get(progress.phase, "") if language() == "zh" else progress.phase.value,
            segments=f"{progress.segments_done}/{progress.segments_total}" if progress.segments_total else "",
            rate=f"{rate_text(progress.speed)}{left}" if progress.speed else "",
        )

    def close(self, warnings: Sequence[str]) -> None:
        """Leave the last picture standing, then the warnings."""
        self._bar.stop()
        Plain(quiet=False).close(warnings)


def _display(quiet: bool) -> Display:
    return Bar() if sys.stderr.isatty() and not quiet else Plain(quiet)


def language() -> Language:
    """
    zh where the locale says so, else en.
    """
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "zh" if value.startswith("zh") else "en"
    return "en"


# -- Reading the command line ----------------------------------------------------------------------------------------


def _home(home: Path | None) -> Path:
    if home is not None:
        return home.expanduser().absolute()
    from platformdirs import user_state_path

    return user_state_path("m3u8svc")


def _skip(expression: str) -> str:
    try:
        parse_skip_expression(expression)
    except SkipExpressionError as error:
        raise click.BadParameter(error.text(language()), param_hint="--skip") from error
    return expression


def _headers(lines: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise click.BadParameter("a header is written 'Name: value'", param_hint="--header")
        headers[name.strip()] = (*headers.get(name.strip(), ()), value.strip())
    problems = header_problems(headers)
    if problems:
        raise click.BadParameter("; ".join(problems), param_hint="--header")
    kept, warnings = clean_headers(headers)
    for warning in warnings:
        click.echo(f"! {warning}", err=True)
    return dict(kept)


def _proxy(url: str | None) -> dict[str, Any]:  # Any: str and int settings by name
    if url is None:
        return {}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PROXY_TYPES or not parts.hostname or port is None:
        raise click.BadParameter(
            "a proxy is written http://[user:password@]host:port, https:// or socks5://", param_hint="--proxy"
        )
    return {
        "proxy_type": parts.scheme,
        "proxy_host": parts.hostname,
        "proxy_port": port,
        "proxy_username": unquote(parts.username or ""),
        "proxy_password": unquote(parts.password or ""),
    }
