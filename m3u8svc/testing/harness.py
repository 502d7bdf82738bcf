"""
For authors of plugins: one plugin in a service without sockets, threads, a database or time that passes.

Three lines to a first test::

    def test_adverts_are_left_out(tmp_path):
        harness = Harness(Plugin(), tmp_path, config={"pattern": "/ads/"})
        harness.serve_stream("/list.m3u8", segments=["a.ts", "ads/b.ts", "c.ts"])
        assert "ads/b.ts" not in harness.download("/list.m3u8").output.decode()

The plugin is loaded, configured and called as the service does it; plain hooks run at once, `async def` hooks on a
`Clock` that `download` moves. Everything else is the real thing, but the merger is "ts" unless the test names another:
"mp4" needs a child process. What a plugin does with real servers wants tests of its own.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar  # Any: fields of a request, whatever the test sends

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface import implementer

from m3u8svc.builtin.disk import DiskPlugin, DiskStorage
from m3u8svc.builtin.failures import RetryPolicy
from m3u8svc.builtin.skip import SkipExpression
from m3u8svc.builtin.ts import TsPlugin
from m3u8svc.builtin.variant import ChosenVariant
from m3u8svc.counting import Counts
from m3u8svc.errors import M3u8svcError
from m3u8svc.fetch import Fetcher
from m3u8svc.hookspecs import hookimpl
from m3u8svc.hosts import Hosts
from m3u8svc.job import Job, Tools
from m3u8svc.loading import Candidate, load_builtins, load_plugins
from m3u8svc.offerings import Services
from m3u8svc.plugindoor import PluginDoor
from m3u8svc.pluginthreads import run_inline
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.tasks.plugins import PluginState, PluginStatus
from m3u8svc.tasks.task import SETTING_NAMES, CompanionFile, Extensions, Settings, Status, Task, TaskSpec
from m3u8svc.testing.playlists import SegmentLine, media_playlist

T = TypeVar("T")

ORIGIN = "http://origin.test"
LONGEST_S = 7200
"""A download that takes longer, on the clock of the harness, hangs."""
_TS_PACKET = bytes((0x47, 0x1F, 0xFF, 0x10)) + b"\xff" * 184  # a null packet: media enough for everything but a player


@attrs.frozen(kw_only=True)
class Run:
    """
    One finished download. `output` holds the bytes of the result, None without a local one; `requests` the paths asked
    for, in order; `error` why it failed.
    """

    task: Task
    output: bytes | None = attrs.field(repr=False)
    requests: tuple[str, ...]
    error: M3u8svcError | None = None

    @property
    def status(self) -> Status:
        """How it ended."""
        return self.task.status

    @property
    def location(self) -> str:
        """Where the result is, "" without one."""
        return self.task.output

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the task says besides."""
        return self.task.warnings


def ts_segment(text: str = "", packets: int = 8) -> bytes:
    """
    Bytes that pass for a segment of MPEG-TS, with `text` in the first packet to know them again by.
    """
    first = _TS_PACKET[:4] + text.encode()[:184].ljust(184, b"\xff")
    return first + _TS_PACKET * (packets - 1)


class Harness:
    """
    One plugin, loaded under `name` with its table `config`. State, work and results are below `directory`.

    Raises:
        ConfigError: what the plugin says of its configuration.
        AssertionError: it could not be loaded at all.
    """

    def __init__(
        self,
        plugin: object,
        directory: Path,
        *,
        name: str = "plugin",
        config: Mapping[str, Any] | None = None,
        version: str = "",
    ) -> None:
        self.clock = Clock()
        self.origin = MemoryOrigin()
        self.saves = directory.resolve() / "saves"
        self.name = name
        self._directory = directory
        self._tasks = 0
        self._events = 0
        builtins = [
            _OriginAgent(self.origin),
            RetryPolicy(lambda: 0.5),
            SkipExpression(_inline),
            ChosenVariant(),
            DiskPlugin(DiskStorage(_inline)),
            TsPlugin(_inline),
        ]
        self.plugins = load_builtins(builtins, clock=self.clock, run_plain=run_inline)
        self._hosts = Hosts(self.clock)
        self.counts = Counts()
        """What its runs counted."""
        self._fetcher = Fetcher(clock=self.clock, wall=self.clock.seconds)
        self.wait_for(
            load_plugins(
                self.plugins,
                [Candidate(name=name, load=lambda: plugin, version=version)],
                services_for=self._services,
                configs={name: config} if config is not None else {},
            )
        )
        if self.status.state is PluginState.BROKEN:
            raise AssertionError(f"the plugin is broken: {self.status.reason}")

    @property
    def status(self) -> PluginStatus:
        """
        How the plugin fares now.
        """
        return self.plugins.statuses()[0]

    # -- The origin

    def serve(
        self, path: str, body: bytes | str, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> str:
        """
        Answer requests for `path` of the origin (or a whole URL) with this; returns the URL.
        """
        url = path if "://" in path else ORIGIN + path
        content = body.encode() if isinstance(body, str) else body
        self.origin.resources[url] = Resource(status=status, body=content, headers=dict(headers or {}))
        return url

    def serve_stream(
        self, path: str, segments: int | Sequence[str | SegmentLine] = 3, *, duration_s: float = 6.0
    ) -> str:
        """
        Serve a media playlist at `path`, and its segments: so many, or with these URIs or lines (`testing.playlists`
        has them). Each segment holds its own URI. Returns the playlist's URL.
        """
        uris = [f"seg{number:05d}.ts" for number in range(1, segments + 1)] if isinstance(segments, int) else segments
        lines = [
            each if isinstance(each, SegmentLine) else SegmentLine(uri=each, duration_s=duration_s) for each in uris
        ]
        folder = path.rsplit("/", 1)[0]
        for line in lines:
            target = line.uri if "://" in line.uri else f"{folder}/{line.uri}"
            self.serve(target, ts_segment(line.uri))
        return self.serve(path, media_playlist(lines))

    # -- What the service does

    def check_options(self, options: Mapping[str, Any]) -> None:
        """
        Let the plugin judge options of a request.

        Raises:
            OptionError: with the path a client would see.
        """
        self.wait_for(self.plugins.check_options({self.name: options}))

    def download(self, path: str, *, filename: str = "film", **fields: Any) -> Run:
        """
        One task to its end, with fields of POST /api/tasks (`plugins`, `merger`, `storage`, settings, `headers`).

        Raises:
            OptionError: the plugin does not take its options.
        """
        task = self.task(path, filename=filename, **fields)
        self.wait_for(self.plugins.check_options(task.spec.extensions.plugins))
        before = len(self.origin.requests)
        self._announce(task, None)
        running = attrs.evolve(task, status=Status.DOWNLOADING)
        self._announce(running, task)
        ended, error = self.wait_for(self._carry_out(running))
        self._announce(ended, running)
        output = Path(ended.output) if ended.output and "://" not in ended.output else None
        return Run(
            task=ended,
            output=output.read_bytes() if output is not None and output.is_file() else None,
            requests=tuple(self.origin.requests[before:]),
            error=error,
        )

    def task(self, path: str, *, filename: str = "film", **fields: Any) -> Task:
        """
        A waiting task, for hooks that are called directly.
        """
        self._tasks += 1
        headers = {name: tuple(values) for name, values in fields.pop("headers", {}).items()}
        settings = {name: fields.pop(name) for name in SETTING_NAMES if name in fields}
        extensions = Extensions(**{"merger": "ts", **fields})
        spec = TaskSpec(
            url=path if "://" in path else ORIGIN + path,
            filename=filename,
            headers=headers,
            settings=Settings(**{"save_location": str(self.saves), "download_threads": 1, **settings}),
            extensions=extensions,
        )
        return Task(id=f"task{self._tasks:04d}", spec=spec)

    def close(self) -> None:
        """
        Stop as the service does.
        """
        self.wait_for(self.plugins.close())

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """
        The result of a coroutine, moving the clock as long as it waits.
        """
        results: list[T | Failure] = []
        Deferred.fromCoroutine(work).addBoth(results.append)
        waited = 0.0
        while not results:
            if waited > LONGEST_S:
                raise AssertionError(f"no end after {LONGEST_S} s on the harness's clock")
            self.clock.advance(0.25)
            waited += 0.25
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result  # raiseException does not return

    async def _carry_out(self, task: Task) -> tuple[Task, M3u8svcError | None]:
        tools = Tools(
            clock=self.clock,
            wall=self.clock.seconds,
            chance=lambda: 0.5,
            in_thread=_inline,
            fetcher=self._fetcher,
            plugins=self.plugins,
            direct_agent=self.origin,
            boot_id="harness",
            hosts=self._hosts,
            counts=self.counts,
        )
        job = Job(task, tools, _Journal())
        try:
            outcome = await job.run()
        except M3u8svcError as error:
            failed = attrs.evolve(
                task,
                status=Status.FAILED,
                err_code=error.code,
                err_msg=error.text("zh"),
                warnings=tuple(job.warnings),
                incidents=job.incidents,
            )
            return failed, error
        await job.clean_up()
        done = attrs.evolve(
            task,
            status=Status.COMPLETED,
            output=outcome.output,
            size=outcome.size_bytes,
            warnings=outcome.warnings,
            incidents=job.incidents,
            progress=job.progress(),
        )
        return done, None

    def _announce(self, task: Task, previous: Task | None) -> None:
        self._events += 1
        self.wait_for(self.plugins.hooks.tell("task_changed", task=task, previous=previous, event_id=self._events))

    def _services(self, name: str) -> Services:
        state_dir = self._directory / "state" / name
        state_dir.mkdir(parents=True, exist_ok=True)
        return Services(
            reactor=self.clock,
            clock=self.clock,
            in_thread=_inline,
            log=Logger(namespace=f"m3u8svc.plugin.{name}"),
            state_dir=state_dir,
            fetch=PluginDoor(self._fetcher, self.origin),
        )


# -- What stands in for the network ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Resource:
    """
    What the origin answers.
    """

    status: int
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str]


@implementer(IAgent)
class MemoryOrigin:
    """
    Answers from `resources` by URL, 404 for others; `requests` is its journal of paths, `sent` of headers.
    """

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.requests: list[str] = []
        self.sent: list[dict[str, str]] = []

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: object = None
    ) -> Deferred[IResponse]:
        """One request, answered at once."""
        url = uri.decode("ascii")
        given = {} if headers is None else dict(headers.getAllRawHeaders())
        self.sent.append({name.decode("latin-1"): values[0].decode("latin-1") for name, values in given.items()})
        self.requests.append("/" + url.split("://", 1)[-1].partition("/")[2])
        resource = self.resources.get(url, Resource(status=404, body=b"not found", headers={}))
        return succeed(_Response(resource, self.sent[-1].get("Range", "")))


@implementer(IResponse)
class _Response:
    """
    An answer whose body is there already. Byte ranges are honoured.
    """

    version = (b"HTTP", 1, 1)
    request = None
    previousResponse = None

    def __init__(self, resource: Resource, wanted: str) -> None:
        self.code = resource.status
        self.phrase = b""
        self.headers = Headers({name: [value] for name, value in resource.headers.items()})
        self._body = resource.body
        if wanted.startswith("bytes=") and self.code == 200:
            first, last = wanted.removeprefix("bytes=").split("-")
            self._body = resource.body[int(first) : int(last) + 1]
            self.code = 206
            whole = f"bytes {first}-{int(first) + len(self._body) - 1}/{len(resource.body)}"
            self.headers.setRawHeaders("Content-Range", [whole])
        self.length = len(self._body)

    def setPreviousResponse(self, response: IResponse) -> None:
        """Nobody looks at it."""

    def deliverBody(self, protocol: Any) -> None:
        """All of it, at once."""
        protocol.makeConnection(_Wire())
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


class _Wire:
    """
    A transport that cannot be held back: everything was delivered.
    """

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def loseConnection(self) -> None: ...


class _OriginAgent:
    """
    Connects every task to the origin in memory; proxies are not its concern.
    """

    def __init__(self, origin: MemoryOrigin) -> None:
        self._origin = origin

    @hookimpl(trylast=True)
    def provide_agent(self) -> IAgent:
        """The one there is."""
        return self._origin


class _Journal:
    """
    Remembers nothing: a run of the harness is never resumed.
    """

    def segment(self, row: SegmentRow) -> None:
        """Nobody asks for it later."""

    async def playlist_text(self) -> str:
        """Its tasks have URLs."""
        return ""

    async def reported(self, output_id: str, report: Report) -> None:
        """Nobody asks for it later."""

    async def staged(self, output_id: str, companions: Sequence[CompanionFile], warnings: Sequence[str]) -> None:
        """Nobody asks for it later."""


def _inline(function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
    return maybeDeferred(function, *arguments, **named)
