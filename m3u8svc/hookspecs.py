"""
The hook contract, version 1. Each hook is called in one of five ways, named by the first word of its docstring, plus a
pipeline:

- *own*: once per plugin, with its own configuration or options;
- *offer*: at start; named records from all plugins, the same name twice is a startup error;
- *ask*: the first answer that is not None wins, last registered first, built-ins last;
- *union*: the answers of all are joined;
- *tell*: the answer is ignored;
- *pipeline*: each may change the value that is passed on.

Arguments are passed by name; an implementation takes those it wants. Hooks return a value or an awaitable. A plain
`def` runs in a thread of its plugin, an `async def` on the reactor, where it must not block. Each has a deadline.
`hooks.py` does the calling. The examples are whole plugins: a test runs each.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal  # Any: a plugin's configuration and options are its own

import pluggy

from m3u8svc.errors import M3u8svcError
from m3u8svc.hls.playlist import Key, MasterPlaylist, MediaPlaylist, Segment, Variant
from m3u8svc.offerings import Merger, Note, SegmentGroup, SegmentOutcome, Services, Skip, Storage
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.retry import FailureDecision
from m3u8svc.tasks.task import Task

if TYPE_CHECKING:
    from twisted.web.iweb import IAgent

PROJECT = "m3u8svc"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Kind = Literal["own", "offer", "ask", "union", "tell", "pipeline"]


@hookspec
def configure(config: Mapping[str, Any], services: Services) -> None:
    """
    *own*: at start, before any other hook of the plugin. Read the configuration, get ready.

    Args:
        config: the table ``[plugins.<name>]`` of the configuration, ``$env`` and ``$file`` resolved; empty without one.
        services: clock, threads, logger, a directory of its own, the door out.

    Raises:
        NotConfigured: the plugin stays off, and says why. Normal.
        ConfigError: what is configured is wrong: the service does not start.

    Anything else makes the plugin "broken": the service starts without it, and says so.

    Example::

        from m3u8svc.plugin import NotConfigured, hookimpl

        class Plugin:
            @hookimpl
            def configure(self, config, services):
                if "token" not in config:
                    raise NotConfigured(reason="there is no token in [plugins.example]")
                self.token = config["token"]
                self.log = services.log
    """
    raise NotImplementedError


@hookspec
def check_options(options: Mapping[str, Any]) -> None:
    """
    *own*: a request names the plugin in ``"plugins": {"<name>": {...}}``. Say whether its options can be used.

    Args:
        options: the object of the request, any JSON. A plugin without this hook takes no options.

    Raises:
        OptionError: `path` (below the plugin's own object) and `reason`, a text or, in both languages,
            ``Said(zh, en)``; the request is answered 400.

    Example::

        from m3u8svc.plugin import OptionError, Said, hookimpl

        class Plugin:
            @hookimpl
            def check_options(self, options):
                quality = options.get("quality", "best")
                if quality not in ("best", "worst"):
                    raise OptionError(path="quality", reason=Said("只能是 best 或 worst", "must be best or worst"))
    """
    raise NotImplementedError


@hookspec
def close() -> None:
    """
    *own*: the service stops. Let go of everything; what takes longer than the deadline is left behind.

    Example::

        from m3u8svc.plugin import hookimpl

        class Plugin:
            @hookimpl
            def configure(self, services):
                self.file = open(services.state_dir / "journal", "a")

            @hookimpl
            def close(self):
                self.file.close()
    """
    raise NotImplementedError


@hookspec
def register_mergers() -> Iterable[Merger]:
    """
    *offer*: at start, after `configure`. The mergers this plugin brings; requests choose one by `name`.

    Returns:
        Objects with the methods of `Merger`. One that lacks some makes the plugin broken.

    Example::

        from m3u8svc.plugin import MediaFile, MergeError, MergeResult, hookimpl

        class FirstOnly:
            name = "first-only"

            def extension(self, task):
                return ".ts"

            async def merge(self, job, parts, progress):
                first = None
                async for part in parts:
                    if first is None and isinstance(part, MediaFile):
                        first = part
                if first is None:
                    raise MergeError(reason="there is nothing to merge")
                job.target.write_bytes(first.path.read_bytes())
                progress(1)
                return MergeResult(size_bytes=first.size_bytes, duration_s=first.duration_s)

        class Plugin:
            @hookimpl
            def register_mergers(self):
                return [FirstOnly()]
    """
    raise NotImplementedError


@hookspec
def register_storage() -> Iterable[Storage]:
    """
    *offer*: at start, after `configure`. The places this plugin can publish to; requests choose one by `name`.

    Returns:
        Objects with the methods of `Storage`. One that lacks some makes the plugin broken.

    Example::

        import os
        from pathlib import Path

        from m3u8svc.plugin import Published, hookimpl

        class Shelf:
            name = "shelf"

            def __init__(self, directory):
                self.directory = directory

            def staging(self, task, name, extension):
                return self.directory / f".{task.id}{extension}"

            async def recover(self, task, name, extension):
                return None

            async def publish(self, task, staged, name, extension):
                final = self.directory / f"{name}-{task.id}{extension}"
                size = staged.stat().st_size
                os.rename(staged, final)
                return Published(location=str(final), size_bytes=size, local=True)

            async def remove(self, task, location):
                Path(location).unlink(missing_ok=True)

        class Plugin:
            @hookimpl
            def configure(self, services):
                self.shelf = Shelf(services.state_dir)

            @hookimpl
            def register_storage(self):
                return [self.shelf]
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def choose_variant(master: MasterPlaylist, task: Task) -> Variant | None:
    """
    *ask*: after a multivariant playlist. Which variant to download; None = no opinion. Default: what the task's
    `variant` asks for.

    Returns:
        One of `master.variants`.

    Example::

        from m3u8svc.plugin import hookimpl

        class Plugin:
            @hookimpl
            def choose_variant(self, master):
                small = [variant for variant in master.variants if (variant.height or 0) <= 720]
                return max(small, key=lambda variant: variant.bandwidth, default=None)
    """
    raise NotImplementedError


@hookspec
def skip_segments(
    segments: Sequence[Segment], groups: tuple[SegmentGroup, ...], playlist: MediaPlaylist, task: Task
) -> Iterable[Skip | Note] | None:
    """
    *union*: after each media playlist. Segments to leave out, each with a reason people will read in the task; a `Note`
    is a warning of the task and leaves nothing out. Default: the task's skip expression. Its deadline is two minutes,
    because it may look into segments.

    Args:
        segments: all of the playlist, in order.
        groups: the same, cut at discontinuities; ``await group.signature()`` tells how one was encoded.
        playlist: what they are from, with the marks after its last segment.

    Example::

        from m3u8svc.plugin import Skip, hookimpl

        class Plugin:
            @hookimpl
            def skip_segments(self, segments):
                return [Skip(position=each.position, reason="advert") for each in segments if "/ads/" in each.uri]
    """
    raise NotImplementedError


@hookspec
def prepare_request(request: Request, task: Task) -> Request | None:
    """
    *pipeline*: before every attempt (playlist, key, init section, segment). A changed copy of the request, or None.
    Fails closed: an error, or no answer in time, fails the attempt; a half-signed request does not go out.

    Args:
        request: its secret headers (Cookie, Authorization …) have the value "***"; left so, they go out unchanged.

    Example::

        import attrs

        from m3u8svc.plugin import hookimpl

        class Plugin:
            @hookimpl
            def prepare_request(self, request):
                return attrs.evolve(request, headers=(*request.headers, ("X-Purpose", request.purpose.value)))
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def provide_agent(request: Request, task: Task, attempt: int) -> "IAgent | None":
    """
    *ask*: before every attempt, counted from 1. The agent that carries the request; None = no opinion. Default: the
    task's proxy, else a direct pooled connection. A task with proxy fields is the built-in proxy's before anybody is
    asked.

    Fails closed: if an implementation raises, hangs or answers nonsense the request is not sent, and nobody else is
    asked; a broken proxy never becomes a direct connection.

    Returns:
        A `twisted.web.iweb.IAgent`. Make agents once and keep them: their connections are reused.

    Example::

        from twisted.internet import endpoints
        from twisted.web.client import Agent, HTTPConnectionPool, ProxyAgent

        from m3u8svc.plugin import hookimpl

        class Plugin:
            agent = None

            @hookimpl
            async def provide_agent(self, request):
                if not request.url.startswith("http://"):
                    return None
                if self.agent is None:
                    from twisted.internet import reactor

                    proxy = endpoints.HostnameEndpoint(reactor, "proxy.example", 3128)
                    self.agent = ProxyAgent(proxy, reactor, pool=HTTPConnectionPool(reactor))
                return self.agent
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def provide_key(key: Key, task: Task) -> bytes | None:
    """
    *ask*: an encrypted segment needs its key, once per key and run. The 16 bytes; None = no opinion. Default: what is
    at `key.uri`.

    Example::

        from m3u8svc.plugin import hookimpl

        class Plugin:
            @hookimpl
            def provide_key(self, key):
                if key.uri.startswith("https://keys.example/"):
                    return bytes.fromhex("00112233445566778899aabbccddeeff")
                return None
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def after_failure(segment: Segment, error: M3u8svcError, attempt: int, task: Task) -> FailureDecision | None:
    """
    *ask*: one attempt at a segment failed (`attempt` counts from 1). What now; None = no opinion. Default: backoff,
    Retry-After and the ``http.code=`` rules of the skip expression. A task has a budget of extra requests, and a key or
    an init section is asked for again before its segments hear of it: beyond that, `Retry` becomes `GiveUp`.

    Returns:
        `Retry`, `SkipSegment` or `GiveUp`.

    Example::

        from m3u8svc.plugin import Retry, hookimpl

        class Plugin:
            @hookimpl
            def after_failure(self, error, attempt):
                if error.code.startswith("timeout") and attempt <= 20:
                    return Retry(delay_s=1.0)
                return None
    """
    raise NotImplementedError


@hookspec
def segment_finished(segment: Segment, outcome: SegmentOutcome, task: Task) -> None:
    """
    *tell*: a segment is on disk, left out or given up. The download waits for the answer: be quick.

    Example::

        from m3u8svc.plugin import hookimpl

        class Plugin:
            def __init__(self):
                self.bytes = 0

            @hookimpl
            def segment_finished(self, outcome):
                self.bytes += outcome.size_bytes
    """
    raise NotImplementedError


@hookspec
def task_changed(task: Task, previous: Task | None, event_id: int) -> None:
    """
    *tell*: after every transition, once it is stored. In order per task; at least once: after a crash an event may come
    again, with the same `event_id`.

    Args:
        task: with the status it came to; its other fields are those of now, when a later change may be stored already.
        previous: the task before, None when it was just created.
        event_id: grows with every event of this service.

    Example::

        from m3u8svc.plugin import Status, hookimpl

        class Plugin:
            @hookimpl
            def configure(self, services):
                self.log = services.log

            @hookimpl
            def task_changed(self, task, event_id):
                if task.status is Status.COMPLETED:
                    self.log.info("{name} is there", name=task.spec.filename, event=event_id)
    """
    raise NotImplementedError


KINDS: dict[str, Kind] = {
    "configure": "own",
    "check_options": "own",
    "close": "own",
    "register_mergers": "offer",
    "register_storage": "offer",
    "choose_variant": "ask",
    "skip_segments": "union",
    "prepare_request": "pipeline",
    "provide_agent": "ask",
    "provide_key": "ask",
    "after_failure": "ask",
    "segment_finished": "tell",
    "task_changed": "tell",
}
FAIL_CLOSED = frozenset({"prepare_request", "provide_agent"})
"""Where "log and go on" would send what must not be sent."""
