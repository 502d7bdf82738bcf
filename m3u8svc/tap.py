"""
The composition root: options, and everything wired together. The only module besides the command line that names the
reactor; klein, the database and the web room are imported inside `makeService`, so that asking twistd for help costs
nothing and ``--reactor`` still works.
"""

import ctypes
import gc
import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
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
from m3u8svc.signals import take_signals
from m3u8svc.waiting import log_failure, settled

if TYPE_CHECKING:
    from m3u8svc.config import Configuration
    from m3u8svc.counting import Counts
    from m3u8svc.home import HeldHome
    from m3u8svc.job import Tools
    from m3u8svc.offerings import Services
    from m3u8svc.sandbox.level import Box
    from m3u8svc.service import DownloadService
    from m3u8svc.tasks.concurrency import Ceilings
    from m3u8svc.tasks.plugins import PluginChoice
    from m3u8svc.tasks.reach import Policy
    from m3u8svc.web.doorman import Doorman
    from m3u8svc.web.listening import Listener

DISK_THREADS = 8
"""Threads for file work, apart from the reactor's own pool, where names are resolved."""
NAME_THREADS = 6
"""Threads of that pool: with the store's and the reactor's own this is 16, which leaves 8 plugins one each."""
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
        ["max-connections", None, None, "How many requests at once, in all. [default: 256]"],
        ["max-connections-per-host", None, None, "How many requests at once to one host. [default: 64]"],
        ["database", None, None, "Database URL. [default: SQLite in --home]"],
        ["network-mode", None, None, "Where requests may go: auto, local or strict. [default: auto]"],
        ["config", None, None, "Configuration file (TOML); options win over it."],
        ["base-path", None, None, "Path below which a reverse proxy serves us, such as /m3u8."],
    ]
    optFlags = [
        ["no-plugins", None, "Start without any installed plugin."],
        ["trace-hooks", None, "Log every call of a plugin's hook and its answer."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted's own
        self["listen"] = []
        self["trusted-proxy"] = []
        self["allow"] = []

    def opt_listen(self, endpoint: str) -> None:
        """
        Endpoint to listen on, may be given several times. [default: tcp:8080:interface=127.0.0.1]
        """
        self["listen"].append(endpoint)

    def opt_trusted_proxy(self, address: str) -> None:
        """
        Address, network or "unix" of a reverse proxy whose X-Forwarded headers are believed; may be given several
        times.
        """
        self["trusted-proxy"].append(address)

    def opt_allow(self, place: str) -> None:
        """
        Address, network or name that requests may go to in any mode, such as 192.168.1.20:8080; several times.
        """
        self["allow"].append(place)

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
        **{
            name.replace("-", "_"): _whole(f"--{name}", options[name])
            for name in ("max-active", "max-connections", "max-connections-per-host")
        },
        "database": options["database"],
        "trusted_proxies": tuple(options["trusted-proxy"]) or None,
        "base_path": options["base-path"],
        "network_mode": options["network-mode"],
        "network_allow": tuple(options["allow"]) or None,
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
    try:
        return whole_service(options)
    except M3u8svcError as error:
        print(f"m3u8svc: {error.text('en')}")
        raise SystemExit(exit_status(error)) from error


def exit_status(error: M3u8svcError) -> int:
    """
    With which status a process ends that could not start.
    """
    return EXIT_LOCKED if isinstance(error, HomeLocked) else EXIT_FAILED


def whole_service(options: Options) -> "WholeService":
    """
    The same for who tells the user what is wrong in words of their own.

    Raises:
        HomeLocked: another process has the lock.
        DiskError, TooManyFiles: the directory cannot be used, or too few files may be open.
    """
    from twisted.internet import reactor

    from m3u8svc.counting import Counts
    from m3u8svc.descriptors import raise_limit
    from m3u8svc.home import open_home
    from m3u8svc.shortturns import take_short_turns

    configuration = options["configuration"]
    limit = raise_limit()
    held = open_home(Path(configuration.home))
    use_monotonic_clock(reactor)
    counts = Counts()
    take_short_turns(reactor, counts.turns.add)
    take_signals(reactor)
    return WholeService(reactor, configuration, held, limit, counts)


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

    def __init__(
        self,
        reactor: Any,
        configuration: "Configuration",
        held: "HeldHome",
        descriptors: int,
        counts: "Counts",
    ) -> None:
        self._reactor = reactor
        self._counts = counts
        self._descriptors = descriptors
        self._configuration = configuration
        self._held = held
        self._downloads: DownloadService | None = None
        self._ports: list[Any] = []
        self._undo: list[Callable[[], Any]] = []
        self._hosts: set[str] = set()
        self.strict = False
        """Whether nobody is trusted, since others can reach us or the configuration says so; once it has started."""
        self.failed = False
        """Whether starting failed; whoever runs the reactor makes it the exit status."""
        self.failure: M3u8svcError | None = None
        """Why, if that is in the catalogue."""

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
        from m3u8svc.access.openness import way_in
        from m3u8svc.boxwatch import BoxWatch
        from m3u8svc.degraded import Degraded
        from m3u8svc.diskwatch import DiskWatch
        from m3u8svc.roots import judged_roots, own_places
        from m3u8svc.service import DownloadService
        from m3u8svc.store import Store
        from m3u8svc.tasks.reach import is_strict
        from m3u8svc.upkeep import Upkeep
        from m3u8svc.web.site import make_site

        self._held.write_pid()
        self._reactor.suggestThreadPoolSize(NAME_THREADS)
        in_thread, stop_threads = disk_threads(self._reactor)
        self._undo.append(stop_threads)
        configuration = self._configuration
        at_once = self._transfers()
        doorman = make_doorman(self._reactor, in_thread, self._held.home.tokens, configuration)
        listeners = [await self._bind(description) for description in configuration.listen]
        way = way_in(listeners, configuration.front.trusted, listen_named=configuration.listen_named)
        if way is not None and not doorman.can_admit:
            raise way
        if way is not None:
            doorman.insist()
        self._warn_of_openness(listeners, doorman)
        boxes = BoxWatch()
        boxes.tell()
        self.strict = is_strict(configuration.network_mode, open_to_others=way is not None)
        tools, close_connections = make_tools(
            self._reactor,
            in_thread,
            choice=configuration.choice,
            trace_hooks=configuration.trace_hooks,
            transfers=at_once,
            ceilings=configuration.ceilings,
            boxed=boxes.saw,
            policy=self._policy(listeners),
            counts=self._counts,
        )
        self._undo.append(close_connections)
        self._undo.append(lambda: Deferred.fromCoroutine(tools.plugins.close()))
        await self._load_plugins(tools)
        store = Store(configuration.database or self._held.home.database_url, reactor=self._reactor)
        await store.open()
        self._undo.append(store.close)
        degraded = Degraded(wall=time.time, probe=store.check, boxes=boxes)
        upkeep = Upkeep(store, degraded, clock=self._reactor, in_thread=in_thread)
        upkeep.start()
        self._undo.append(lambda: Deferred.fromCoroutine(upkeep.stop()))
        ours = own_places(self._held.home.path, store.file, store.backups, configuration.file)
        roots = None
        if self.strict or configuration.save_roots:
            roots = await settled(in_thread(judged_roots, configuration.places, ours))
        downloads = DownloadService(
            store=store,
            tools=tools,
            max_active=configuration.max_active,
            max_unfinished=configuration.web.unfinished_tasks,
            default_save_location=str(Path(configuration.save_dir).expanduser().absolute()),
            defaults=configuration.system,
            degraded=degraded,
            boxed=boxes.saw,
            forbidden=ours,
            save_roots=roots,
            new_id=lambda: secrets.token_hex(6),
            disks=DiskWatch(clock=self._reactor, in_thread=in_thread, reserve=configuration.reserve),
        )
        await self._look_at_save_dir(in_thread)
        await downloads.start()
        self._undo.append(downloads.stop)
        self._hosts.update(configuration.hosts)
        site = make_site(
            downloads,
            reactor=self._reactor,
            allowed_hosts=lambda: frozenset(self._hosts),
            plugins=tools.plugins,
            health=degraded,
            version=__version__,
            limits=configuration.web,
            doorman=doorman,
            front=configuration.front,
            counts=self._counts,
            in_thread=in_thread,
        )
        spare_the_collector()  # now that nobody waits for it
        for listener in listeners:
            listener.serve(site)
            self._undo.append(listener.stop)  # before what it serves ends
            self.log.info("listening on {address}", address=listener.shown)
        give_back_memory()

    def _transfers(self) -> int:
        """
        How many transfers this process has descriptors for.
        """
        from m3u8svc.descriptors import COMFORTABLE, transfers_within

        transfers = transfers_within(self._descriptors)
        if self._descriptors < COMFORTABLE:
            self.log.warn(
                "only {limit} files may be open (ulimit -n): at most {transfers} transfers run at once",
                limit=self._descriptors,
                transfers=transfers,
            )
        return transfers

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
        Say now, not with the first task, that results cannot be saved, or where nobody would look for them. No reason
        not to start: a disk may come later, and the operator may know better.
        """
        from m3u8svc.errors import UnsafePath
        from m3u8svc.roots import doubtful_place

        save_dir = Path(self._configuration.save_dir).expanduser().absolute()
        doubt = await in_thread(doubtful_place, save_dir)
        if doubt:
            self.log.warn(
                "results are saved in {save_dir}: {doubt}, where other programs read or run what they find; name a "
                "directory for films with --save-dir",
                save_dir=str(save_dir),
                doubt=UnsafePath.WHY[doubt],
            )
        try:
            await in_thread(insist_on_saving, save_dir)
        except M3u8svcError as error:
            self.log.warn(
                "nothing can be saved in {save_dir} now: {code} {error}",
                save_dir=str(save_dir),
                code=error.code,
                error=error.text("en"),
            )

    async def _bind(self, description: str) -> "Listener":
        """
        Take a place to listen at; nobody is let in yet. Before anything else begins: its real address decides what may
        be reached and written (`strict`).
        """
        from m3u8svc.web.listening import bind, host_values

        listener = await bind(self._reactor, description, where=self._configuration.listen_named)
        self._undo.append(listener.stop)
        self._hosts.update(host_values(listener.address))
        return listener

    def _warn_of_openness(self, listeners: "Sequence[Listener]", doorman: "Doorman") -> None:
        """
        Say what a careful operator would not have meant.
        """
        configuration = self._configuration
        for listener in listeners:
            if not (listener.stays_here or listener.secure or configuration.front.trusted):
                self.log.warn(
                    "{endpoint} is open to other machines WITHOUT ENCRYPTION: whoever is on the way can read tokens, "
                    "passwords and tasks; use ssl:…, or a reverse proxy with https and --trusted-proxy",
                    endpoint=listener.endpoint,
                )
            if listener.everywhere and not configuration.hosts:
                self._say_how_others_name(listener)
        if configuration.hosts and not doorman.insists:
            self.log.warn(
                "further host names are configured ([web] hosts), and there is no token or password: if they are those "
                "of a reverse proxy, whoever reaches it can do everything (see docs/configuration.md)"
            )

    def _say_how_others_name(self, listener: "Listener") -> None:
        """
        Where it listens at every address, none is known by which others ask.
        """
        if self._configuration.front.trusted:
            self.log.warn(
                "{endpoint} answers this machine only: put the names that the proxy serves, such as films.example, "
                "into [web] hosts of the configuration (see docs/configuration.md)",
                endpoint=listener.endpoint,
            )
            return
        self.log.info(
            "{endpoint} answers whoever asks for a numeric address of this machine, such as 192.168.1.10:8080; names, "
            "such as nas.lan:8080, and what a router or container turns into another address belong into [web] hosts "
            "of the configuration (see docs/configuration.md)",
            endpoint=listener.endpoint,
        )

    def _policy(self, listeners: "Sequence[Listener]") -> "Policy":
        """
        Where requests may go, now that it is known where we listen.
        """
        from m3u8svc.connections import is_here
        from m3u8svc.tasks.reach import Policy

        configuration = self._configuration
        operators = configuration.system.settings
        return Policy(
            strict=self.strict,
            allow=configuration.network_allow,
            own=tuple(each.socket for each in listeners if each.socket is not None),
            is_here=is_here,
            proxies=lambda: [(operators.proxy_host, operators.proxy_port)] if operators.wants_proxy else [],
        )

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
            self.failure = failure.value
            self.log.critical("cannot start: {reason}", reason=failure.value.text("en"))
        else:
            log_failure("starting", failure)
        end_with_failure()
        if self._reactor.running:
            self._reactor.stop()
        else:
            self._reactor.callWhenRunning(self._reactor.stop)


def make_doorman(
    reactor: Any, in_thread: Callable[..., Deferred[Any]], tokens: Path, configuration: "Configuration"
) -> "Doorman":
    """
    Who judges requests by the tokens in this file and the users of the configuration.

    Raises:
        DiskError: the file is there and cannot be used.
    """
    from m3u8svc.tokenfile import TokenFile
    from m3u8svc.web.doorman import Doorman

    file = TokenFile(tokens)
    file.read()
    return Doorman(clock=reactor, tokens=file.read, users=configuration.users, in_thread=in_thread)


def insist_on_saving(save_dir: Path) -> None:
    """
    See that files can be saved in a directory, which is made if it is not there. Blocking.

    Raises:
        M3u8svcError: they cannot now, and why.
    """
    from m3u8svc.diskwatch import try_to_write
    from m3u8svc.errors import from_os_error
    from m3u8svc.places import make_directory

    try:
        make_directory(save_dir, 0o755)
        try_to_write(save_dir)
    except OSError as error:
        raise from_os_error(error, save_dir) from error


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
    transfers: int = 1000,
    ceilings: "Ceilings | None" = None,
    boxed: "Callable[[Box], None]" = lambda box: None,
    policy: "Policy | None" = None,
    counts: "Counts | None" = None,
) -> "tuple[Tools, Callable[[], Any]]":
    """
    What jobs work with: the one door for so many transfers at once, of which those of tasks stay below `ceilings`,
    connections, the built-in plugins; and what closes the connections. `boxed` is told of the box of every muxing
    child. `policy` says where requests may go; None is a user of this machine, who listens nowhere. `counts` is where
    they count, if anybody reads it.
    """
    from m3u8svc.builtin.agent import DirectAgent
    from m3u8svc.builtin.disk import DiskPlugin, DiskStorage
    from m3u8svc.builtin.failures import RetryPolicy
    from m3u8svc.builtin.mp4 import Mp4Plugin
    from m3u8svc.builtin.proxy import ProxyAgent
    from m3u8svc.builtin.skip import SkipExpression
    from m3u8svc.builtin.ts import TsPlugin
    from m3u8svc.builtin.variant import ChosenVariant
    from m3u8svc.connections import Connections, is_here
    from m3u8svc.counting import Counts
    from m3u8svc.fetch import Fetcher
    from m3u8svc.hosts import Hosts
    from m3u8svc.job import Tools
    from m3u8svc.loading import load_builtins
    from m3u8svc.merge import Muxing
    from m3u8svc.pluginthreads import PluginThreads
    from m3u8svc.tasks.concurrency import Ceilings
    from m3u8svc.tasks.plugins import PluginChoice
    from m3u8svc.tasks.reach import Policy

    policy = policy or Policy(is_here=is_here)
    ceilings = (ceilings or Ceilings()).within(transfers)
    connections = Connections(reactor, max_per_host=ceilings.per_host, policy=policy)
    threads = PluginThreads(lambda *call: reactor.callFromThread(*call))
    builtins = [
        DirectAgent(connections),
        ProxyAgent(connections),
        RetryPolicy(random.random),
        SkipExpression(in_thread),
        ChosenVariant(),
        DiskPlugin(DiskStorage(in_thread)),
        Mp4Plugin(Muxing(reactor=reactor, in_thread=in_thread, boxed=boxed)),
        TsPlugin(in_thread),
    ]
    tools = Tools(
        clock=reactor,
        wall=time.time,
        chance=random.random,
        in_thread=in_thread,
        hosts=Hosts(reactor, ceilings),
        fetcher=Fetcher(clock=reactor, wall=time.time, at_once=transfers, spare=connections.drop_idle, policy=policy),
        plugins=load_builtins(
            builtins,
            clock=reactor,
            run_plain=threads.run,
            deadline_s=(choice or PluginChoice()).deadline_s,
            trace=trace_hooks,
        ),
        direct_agent=connections.agent(False),
        boot_id=boot_id(),
        counts=counts or Counts(),
    )
    return tools, lambda: Deferred.fromCoroutine(connections.close())


def spare_the_collector() -> None:
    """
    Let the garbage collector pass over what starting made and nobody drops any more: looking through all of it again
    and again, whenever a long playlist or a page of a list has come and gone, stopped everything for 0.1 s each time.
    """
    gc.collect()
    gc.freeze()


def give_back_memory() -> None:
    """
    Let the system have what starting needed and nothing holds any more: 4 MiB, 8 after a migration. Elsewhere than in
    glibc there is no such call, and nothing happens.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, TypeError):  # the second from Windows, where None is no library
        return
    trim(0)


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
