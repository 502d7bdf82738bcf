"""
The composition root: options, and everything wired together. The only module besides the command line that names the
reactor; klein, the database and the web room are imported inside `makeService`, so that asking twistd for help costs
nothing and ``--reactor`` still works.
"""

import os
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from m3u8svc import __version__
from m3u8svc.errors import ConfigError, HomeLocked, M3u8svcError
from m3u8svc.waiting import log_failure, settled

if TYPE_CHECKING:
    from m3u8svc.config import Configuration
    from m3u8svc.home import HeldHome
    from m3u8svc.job import Tools
    from m3u8svc.offerings import Services
    from m3u8svc.service import DownloadService
    from m3u8svc.tasks.plugins import PluginChoice

DISK_THREADS = 8
"""Threads for file work, apart from the reactor's own pool, where names are resolved."""
EXIT_LOCKED = 75
EXIT_FAILED = 1

log = Logger(namespace="m3u8svc")


class Options(usage.Options):
    """
    What ``twistd m3u8svc`` and ``m3u8svc serve`` take.
    """

    synopsis = "[options]"
    longdesc = "Download HLS (m3u8) streams into verified MP4 files, over a REST API on /api/tasks."
    optParameters = [
        ["home", None, None, "Directory for state (database, lock)."],
        ["save-dir", None, None, "Where finished files go by default. [default: ~/Downloads/m3u8svc]"],
        ["max-active", None, None, "How many tasks download at once. [default: 3]"],
        ["database", None, None, "Database URL. [default: SQLite in --home]"],
        ["config", None, None, "Configuration file (TOML); options win over it."],
    ]
    optFlags = [
        ["no-plugins", None, "Start without any installed plugin."],
        ["trace-hooks", None, "Log every call of a plugin's hook and its answer."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's own
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        Endpoint to listen on, may be given several times. [default: tcp:8080:interface=127.0.0.1]
        """
        self["listen"].append(endpoint)

    def opt_version(self) -> None:
        """
        Print the version and exit.
        """
        print(f"m3u8svc {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Read the configuration file and check everything at once.
        """
        try:
            self["configuration"] = configuration_of(self)
        except ConfigError as error:
            raise usage.UsageError(error.text("en")) from error


def configuration_of(options: "usage.Options | dict[str, Any]") -> "Configuration":
    """
    The configuration that options, file and defaults give together; options win.

    Raises:
        ConfigError: something in them is wrong; all problems in one text.
    """
    from m3u8svc.config import Configuration, load_configuration, with_flags

    configuration = Configuration()
    if options["config"]:
        try:
            text = Path(options["config"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(where="--config", reason=f"{options['config']}: {error}") from error
        configuration = load_configuration(
            text, environ=os.environ, read_file=_read_secret, file=str(options["config"])
        )
    given = {
        "listen": tuple(options["listen"]) or None,
        "home": options["home"],
        "save_dir": options["save-dir"],
        "max_active": _whole("--max-active", options["max-active"]),
        "database": options["database"],
    }
    flagged = with_flags(configuration, **{name: value for name, value in given.items() if value is not None})
    return attrs.evolve(
        flagged,
        choice=attrs.evolve(flagged.choice, none=bool(options["no-plugins"])),
        trace_hooks=bool(options["trace-hooks"]),
    )


def makeService(options: Options) -> IService:
    """
    The whole service, not started yet. Takes the lock of the state directory, so that a second one ends here.

    Raises:
        SystemExit: another process has the lock (status 75), or the directory cannot be used.
    """
    from twisted.internet import reactor

    from m3u8svc.home import open_home

    configuration = options["configuration"]
    try:
        held = open_home(Path(configuration.home).expanduser())
    except M3u8svcError as error:
        print(f"m3u8svc: {error.text('en')}")
        raise SystemExit(EXIT_LOCKED if isinstance(error, HomeLocked) else EXIT_FAILED) from error
    use_monotonic_clock(reactor)
    return WholeService(reactor, configuration, held)


def use_monotonic_clock(reactor: Any) -> None:
    """
    Give the reactor a clock that cannot be set. Twisted's is the wall clock: set back an hour, every timer stops for
    an hour; set forward, everything pending is due at once (R-CLK-1). Call it before anything is scheduled.
    """
    reactor.seconds = time.monotonic


class WholeService(Service):
    """
    Everything of one process: threads, connections, store, downloads, web. Starts in that order, stops in reverse.
    """

    log = log

    def __init__(self, reactor: Any, configuration: "Configuration", held: "HeldHome") -> None:
        self._reactor = reactor
        self._configuration = configuration
        self._held = held
        self._downloads: DownloadService | None = None
        self._ports: list[Any] = []
        self._undo: list[Callable[[], Any]] = []
        self._hosts: set[str] = set()
        self.failed = False
        """Whether starting failed; whoever runs the reactor makes it the exit status."""

    def startService(self) -> None:
        """
        Start in the background; a failure is logged in one line and ends the process.
        """
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's own
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._give_up)

    def stopService(self) -> Deferred[None]:
        """
        Stop accepting, then stop every job, then let go of everything.
        """
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's own
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        from m3u8svc.roots import own_places
        from m3u8svc.service import DownloadService
        from m3u8svc.store import Store
        from m3u8svc.web.site import make_site

        self._held.write_pid()
        in_thread, stop_threads = disk_threads(self._reactor)
        self._undo.append(stop_threads)
        configuration = self._configuration
        tools, close_connections = make_tools(
            self._reactor, in_thread, choice=configuration.choice, trace_hooks=configuration.trace_hooks
        )
        self._undo.append(close_connections)
        self._undo.append(lambda: Deferred.fromCoroutine(tools.plugins.close()))
        await self._load_plugins(tools)
        store = Store(configuration.database or self._held.home.database_url, reactor=self._reactor)
        await store.open()
        self._undo.append(store.close)
        downloads = DownloadService(
            store=store,
            tools=tools,
            max_active=configuration.max_active,
            default_save_location=str(Path(configuration.save_dir).expanduser().absolute()),
            defaults=configuration.system,
            forbidden=own_places(self._held.home.path, store.file, configuration.file),
            new_id=lambda: secrets.token_hex(6),
        )
        await self._look_at_save_dir(in_thread)
        await downloads.start()
        self._undo.append(downloads.stop)
        site = make_site(
            downloads,
            reactor=self._reactor,
            allowed_hosts=lambda: frozenset(self._hosts),
            plugins=tools.plugins,
            version=__version__,
        )
        for description in configuration.listen:
            await self._listen(description, site)

    async def _load_plugins(self, tools: "Tools") -> None:
        """
        Bring in the installed plugins, and see that what the configuration names is among what is offered.
        """
        from m3u8svc.loading import installed, load_plugins

        configuration = self._configuration
        home = self._held.home.path
        await load_plugins(
            tools.plugins,
            [] if configuration.choice.none else installed(),
            services_for=lambda name: plugin_services(name, home / "plugins", self._reactor, tools),
            choice=configuration.choice,
            configs=configuration.plugins,
        )
        for where, check, name in (
            ("merger", tools.plugins.merger_names, configuration.system.merger),
            ("storage", tools.plugins.storage_names, configuration.system.storage),
        ):
            if name in check:
                continue
            reason = f"must be one of {', '.join(check)}, not {name!r}"
            if not tools.plugins.lacking and not configuration.choice.none:
                raise ConfigError(where=f"settings.{where}", reason=reason)
            # It may be that of a plugin that is off or broken now: tasks that need it fail with its name.
            self.log.error("settings.{where} {reason}", where=where, reason=reason)

    async def _look_at_save_dir(self, in_thread: Callable[..., Deferred[Any]]) -> None:
        """
        Say now, not with the first task, that results cannot be saved. No reason not to start: a disk may come later.
        """
        from m3u8svc.places import make_directory

        save_dir = Path(self._configuration.save_dir).expanduser().absolute()
        try:
            await in_thread(make_directory, save_dir, 0o755)
            writable: bool = await in_thread(os.access, save_dir, os.W_OK | os.X_OK)
        except OSError:
            writable = False
        if not writable:
            self.log.warn("nothing can be saved in {save_dir} now", save_dir=str(save_dir))

    async def _listen(self, description: str, site: Any) -> None:
        """
        Listen, judge the real address, say where we are.
        """
        from twisted.internet.endpoints import serverFromString
        from twisted.internet.error import CannotListenError

        from m3u8svc.web.listening import host_values, shown_address, stays_on_this_machine

        try:
            port = await serverFromString(self._reactor, description).listen(site)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigError(where="--listen", reason=f"{description}: {reason}") from error
        except OSError as error:  # a key, certificate or socket file
            raise ConfigError(where="--listen", reason=f"{description}: {error.strerror or error}") from error
        except (ValueError, TypeError, OverflowError) as error:  # what Twisted's own parsers raise
            raise ConfigError(where="--listen", reason=f"{description}: {error}") from error
        self._undo.append(port.stopListening)
        address = port.getHost()
        if not stays_on_this_machine(address):
            raise ConfigError(
                where="--listen",
                reason=f"{description} can be reached from other machines, and there is no token or password yet; "
                "listen on 127.0.0.1 or a unix socket",
            )
        self._hosts.update(host_values(address))
        self.log.info("listening on {address}", address=shown_address(address, secure=description.startswith("ssl")))

    async def _stop(self) -> None:
        self._starting.cancel()  # if it still starts: what it has begun is undone here, and nothing more may begin
        await self._starting
        while self._undo:
            undo = self._undo.pop()
            try:
                pending = undo()
                if pending is not None:
                    await pending
            except Exception:  # the rest must be let go of whatever fails here
                log_failure("stopping")
        self._held.release()

    def _give_up(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return  # stopped while it started: no failure
        self.failed = True
        if isinstance(failure.value, M3u8svcError):
            self.log.critical("cannot start: {reason}", reason=failure.value.text("en"))
        else:
            log_failure("starting", failure)
        end_with_failure()
        if self._reactor.running:
            self._reactor.stop()
        else:
            self._reactor.callWhenRunning(self._reactor.stop)


def end_with_failure() -> None:
    """
    Make the process end with status 1. twistd ends with 0 however its reactor was stopped.
    """
    import atexit
    import sys

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_FAILED)

    atexit.register(leave)


def disk_threads(reactor: Any) -> tuple[Callable[..., Deferred[Any]], Callable[[], None]]:
    """
    Threads for blocking file work: the function that runs something there, and the one that ends them.
    """
    pool = ThreadPool(0, DISK_THREADS, name="m3u8svc-disk")
    pool.start()

    def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, pool, function, *arguments, **named)

    return in_thread, pool.stop


def plugin_services(name: str, states: Path, reactor: Any, tools: "Tools") -> "Services":
    """
    What the plugin of this name may use. `states` holds a directory for each.
    """
    from m3u8svc.offerings import Services
    from m3u8svc.plugindoor import PluginDoor

    state_dir = states / name
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Services(
        reactor=reactor,
        clock=tools.clock,
        in_thread=lambda *call, **named: Deferred.fromCoroutine(settled(tools.in_thread(*call, **named))),
        log=Logger(namespace=f"m3u8svc.plugin.{name}"),
        state_dir=state_dir,
        fetch=PluginDoor(tools.fetcher, tools.direct_agent),
    )


def make_tools(
    reactor: Any,
    in_thread: Callable[..., Deferred[Any]],
    *,
    choice: "PluginChoice | None" = None,
    trace_hooks: bool = False,
) -> "tuple[Tools, Callable[[], Any]]":
    """
    What jobs work with: the one door, connections, the built-in plugins; and what closes the connections.
    """
    from m3u8svc.builtin.agent import DirectAgent
    from m3u8svc.builtin.disk import DiskPlugin, DiskStorage
    from m3u8svc.builtin.failures import RetryPolicy
    from m3u8svc.builtin.mp4 import Mp4Plugin
    from m3u8svc.builtin.proxy import ProxyAgent
    from m3u8svc.builtin.skip import SkipExpression
    from m3u8svc.builtin.ts import TsPlugin
    from m3u8svc.builtin.variant import ChosenVariant
    from m3u8svc.connections import Connections
    from m3u8svc.fetch import Fetcher
    from m3u8svc.job import Tools
    from m3u8svc.loading import load_builtins
    from m3u8svc.merge import Muxing
    from m3u8svc.pluginthreads import PluginThreads
    from m3u8svc.tasks.plugins import PluginChoice

    connections = Connections(reactor)
    threads = PluginThreads(lambda *call: reactor.callFromThread(*call))
    builtins = [
        DirectAgent(connections),
        ProxyAgent(connections),
        RetryPolicy(random.random),
        SkipExpression(in_thread),
        ChosenVariant(),
        DiskPlugin(DiskStorage(in_thread)),
        Mp4Plugin(Muxing(reactor=reactor, in_thread=in_thread)),
        TsPlugin(in_thread),
    ]
    tools = Tools(
        clock=reactor,
        wall=time.time,
        chance=random.random,
        in_thread=in_thread,
        fetcher=Fetcher(clock=reactor, wall=time.time),
        plugins=load_builtins(
            builtins,
            clock=reactor,
            run_plain=threads.run,
            deadline_s=(choice or PluginChoice()).deadline_s,
            trace=trace_hooks,
        ),
        direct_agent=connections.agent(False),
        boot_id=boot_id(),
    )
    return tools, lambda: Deferred.fromCoroutine(connections.close())


def boot_id() -> str:
    """
    What tells this boot of the machine from every other; "" on systems that do not say.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _whole(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigError(where=option, reason=f"{text!r} is not a whole number") from None


def _read_secret(path: str) -> str:
    return Path(path).expanduser().read_text(encoding="utf-8")
