"""
Which plugins there are and how each fares: one `PluginSet` per service, built in the composition root and handed down.
No global manager.

Built-ins come first, then the entry points of the group ``m3u8svc`` by name, one by one: import, register, configure,
offers. What one does wrong is kept as its status and takes nothing from the others; only a wrong configuration, a
missing plugin that is required, and two offers of one name stop the start (reference/hooks.md 1.4).
"""

import difflib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any  # the record of each hook has its own Protocol

import attrs
import pluggy
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from m3u8svc import hookspecs
from m3u8svc.errors import (
    ConfigError,
    M3u8svcError,
    NotConfigured,
    NotOffered,
    OptionError,
    PluginError,
    PluginUnavailable,
)
from m3u8svc.guards import GuardedMerger, GuardedStorage
from m3u8svc.hooks import BUILTIN_PREFIX, Hooks, Tally
from m3u8svc.hookspecs import KINDS, PROJECT
from m3u8svc.offerings import Merger, Services, Storage
from m3u8svc.pluginthreads import RunPlain, run_inline
from m3u8svc.redact import redact_text
from m3u8svc.tasks.plugins import DEADLINE_S, PluginChoice, PluginState, PluginStatus
from m3u8svc.tasks.task import Extensions
from m3u8svc.waiting import together
from m3u8svc.wording import Said, joined, said

GROUP = PROJECT
"""The entry-point group."""
NO_MERGE = "none"
"""The merger that makes no file; it is nobody's offer."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MERGER_METHODS = ("extension", "merge")
_STORAGE_METHODS = ("staging", "recover", "publish", "remove")


@attrs.frozen(kw_only=True)
class Candidate:
    """
    A plugin that could be loaded: `load` imports it. `distribution` is what was installed.
    """

    name: str
    load: Callable[[], Any]
    version: str = ""
    distribution: str = ""


def installed() -> list[Candidate]:
    """
    The plugins of this environment, by name.
    """
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        distribution = point.dist
        found.append(
            Candidate(
                name=point.name,
                load=point.load,
                version=distribution.version if distribution else "",
                distribution=distribution.name if distribution else "",
            )
        )
    return sorted(found, key=lambda each: (each.name, each.distribution))


class PluginSet:
    """
    The loaded plugins: their hooks, what they offer by name, how they fare.
    """

    log = Logger()

    def __init__(self, manager: pluggy.PluginManager, hooks: Hooks) -> None:
        self.manager = manager
        self.hooks = hooks
        self.mergers: dict[str, Merger] = {}
        self.storages: dict[str, Storage] = {}
        self._statuses: dict[str, PluginStatus] = {}

    def statuses(self) -> list[PluginStatus]:
        """
        Every plugin that was found, by name, as it is now.
        """
        return [self._now(status) for _, status in sorted(self._statuses.items())]

    def tallies(self, plugin: str) -> Mapping[str, Tally]:
        """
        What its hooks have done so far.
        """
        return self.hooks.tallies(plugin)

    @property
    def lacking(self) -> bool:
        """Whether some plugin is there and not active, so that what it would offer is not known."""
        return any(status.state is not PluginState.ACTIVE for status in self.statuses())

    @property
    def merger_names(self) -> tuple[str, ...]:
        """What a request may name as its merger."""
        return (*sorted(self.mergers), NO_MERGE)

    @property
    def storage_names(self) -> tuple[str, ...]:
        """What a request may name as its storage."""
        return tuple(sorted(self.storages))

    def merger(self, name: str) -> Merger:
        """
        Raises:
            NotOffered: nobody brought one of this name.
        """
        if name not in self.mergers:
            raise self._not_offered("merger", name, self.merger_names)
        return self.mergers[name]

    def storage(self, name: str) -> Storage:
        """
        Raises:
            NotOffered: nobody brought one of this name.
        """
        if name not in self.storages:
            raise self._not_offered("storage", name, self.storage_names)
        return self.storages[name]

    def need(self, extensions: Extensions) -> None:
        """
        Look whether everything a task names is there before anything is downloaded for it.

        Raises:
            PluginUnavailable, NotOffered: something is not.
        """
        for name in extensions.plugins:
            status = self._statuses.get(name)
            if status is None:
                raise PluginUnavailable(plugin=name, reason=Said("未安装", "it is not installed"))
            status = self._now(status)
            if status.state is not PluginState.ACTIVE:
                raise PluginUnavailable(plugin=name, reason=status.reason)
        if extensions.merger != NO_MERGE:
            self.merger(extensions.merger)
            self.storage(extensions.storage)

    async def check_options(self, plugins: Mapping[str, Mapping[str, Any]]) -> None:
        """
        Let each plugin judge the options a request has for it.

        Raises:
            OptionError: naming the path in the request; the plugins there are when one is unknown.
        """
        for name, options in plugins.items():
            status = self._statuses.get(name)
            if status is None:
                known = joined(sorted(self._statuses), zh="、", en=", ") or Said("（没有安装插件）", "none")
                why = said(
                    "没有这个插件；已安装：{known}", "there is no such plugin; those installed: {known}", known=known
                )
                raise OptionError(path=f"plugins.{name}", reason=why)
            status = self._now(status)
            if status.state is not PluginState.ACTIVE:
                why = said(
                    "插件不可用（{state}）：{reason}",
                    "the plugin cannot be used ({state}): {reason}",
                    state=status.state.value,
                    reason=status.reason,
                )
                raise OptionError(path=f"plugins.{name}", reason=why)
            await self._check(name, options)

    async def _check(self, name: str, options: Mapping[str, Any]) -> None:
        try:
            checked = await self.hooks.own("check_options", name, options=options)
        except OptionError as error:
            below = str(error.fields["path"])
            path = f"plugins.{name}.{below}" if below else f"plugins.{name}"
            raise OptionError(path=path, reason=error.fields["reason"]) from error
        except M3u8svcError as error:
            raise OptionError(path=f"plugins.{name}", reason=Said(error.text("zh"), error.text("en"))) from error
        if not checked and options:
            raise OptionError(path=f"plugins.{name}", reason=Said("这个插件没有选项", "this plugin takes no options"))

    async def close(self) -> None:
        """
        Let every plugin let go, all at once, within one deadline.
        """
        active = [name for name, status in self._statuses.items() if status.state is PluginState.ACTIVE]
        await together(*(self._close(name) for name in active))

    async def _close(self, name: str) -> None:
        try:
            await self.hooks.own("close", name)
        except M3u8svcError as error:
            self.log.warn("closing plugin {plugin}: {error}", plugin=name, error=error.text("en"))

    # -- Filled while loading

    def note(self, status: PluginStatus) -> None:
        """Keep how a plugin fares, and say it."""
        self._statuses[status.name] = status
        say = self.log.error if status.state is PluginState.BROKEN else self.log.info
        say(
            "plugin {plugin} {version} is {state}{reason}",
            plugin=status.name,
            version=status.version,
            state=status.state.value,
            reason=f": {status.reason}" if status.reason else "",
        )

    def _now(self, status: PluginStatus) -> PluginStatus:
        reason = self.hooks.disabled.get(status.name)
        return status if reason is None else attrs.evolve(status, state=PluginState.DISABLED, reason=reason)

    def _not_offered(self, kind: str, name: str, known: Iterable[str]) -> NotOffered:
        away = [each for each in self.statuses() if each.state is not PluginState.ACTIVE]
        hint = "".join(f"; {each.name}: {each.reason}" for each in away)
        return NotOffered(kind=kind, name=name, known=", ".join(known), hint=hint)


def load_builtins(
    builtins: Iterable[object],
    *,
    clock: IReactorTime,
    run_plain: RunPlain = run_inline,
    deadline_s: float = DEADLINE_S,
    trace: bool = False,
) -> PluginSet:
    """
    A plugin set of our own implementations, first in the list asked last. Plugins of others can be brought in later.

    Args:
        run_plain: runs plain functions of those.
        deadline_s: how long a hook of theirs has to answer.
        trace: log every call of a plugin's hook and its answer.

    Raises:
        ConfigError: two offer the same name.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = PluginSet(manager, Hooks(manager, clock=clock, run_plain=run_plain, deadline_s=deadline_s, trace=trace))
    for plugin in builtins:
        name = BUILTIN_PREFIX + type(plugin).__name__
        manager.register(plugin, name)
        _take_offers(plugins, name, {hook: list(getattr(plugin, hook)()) for hook in _OFFERS if hasattr(plugin, hook)})
    manager.check_pending()
    return plugins


async def load_plugins(
    plugins: PluginSet,
    candidates: Sequence[Candidate],
    *,
    services_for: Callable[[str], Services],
    choice: PluginChoice | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """
    Bring the wanted candidates into the set, one by one.

    Args:
        services_for: makes what a plugin of this name may use.
        configs: the table of each plugin.

    Raises:
        ConfigError: two offer the same name, a plugin's configuration is wrong, one that is required is not active.
    """
    choice, configs = choice or PluginChoice(), configs or {}
    for where, reason in choice.problems([each.name for each in candidates], configs):
        if where is not None:
            raise ConfigError(where=where, reason=reason)
        plugins.log.warn("{reason}", reason=reason)
    loader = _Loader(plugins, choice, configs, services_for)
    for candidate in candidates:
        await loader.load(candidate)
    for status in plugins.statuses():
        if status.name in choice.required and status.state is not PluginState.ACTIVE and not choice.none:
            raise ConfigError(
                where="plugins.required", reason=f"{status.name} is {status.state.value}: {status.reason}"
            )


class _Loader:
    """
    Loads one candidate after the other into a set.
    """

    def __init__(
        self,
        plugins: PluginSet,
        choice: PluginChoice,
        configs: Mapping[str, Mapping[str, Any]],
        services_for: Callable[[str], Services],
    ) -> None:
        self._plugins = plugins
        self._choice = choice
        self._configs = configs
        self._services_for = services_for
        self._owners: dict[str, str] = {}

    async def load(self, candidate: Candidate) -> None:
        status = PluginStatus(
            name=candidate.name,
            version=candidate.version,
            distribution=candidate.distribution,
            state=PluginState.ACTIVE,
        )
        if not self._choice.wants(candidate.name):
            self._plugins.note(attrs.evolve(status, state=PluginState.OFF, reason="not enabled in [plugins]"))
            return
        if not _NAME.fullmatch(candidate.name) or candidate.name.startswith(BUILTIN_PREFIX):
            reason = "a plugin's name has letters, digits, . _ and -, and is none of ours"
            self._plugins.note(attrs.evolve(status, state=PluginState.BROKEN, reason=reason))
            return
        if candidate.name in self._owners:
            other = self._owners[candidate.name]
            self._plugins.log.error(
                "plugin {plugin} of {distribution} is not loaded: {other} brings one of the same name",
                plugin=candidate.name,
                distribution=candidate.distribution,
                other=other,
            )
            return
        self._owners[candidate.name] = candidate.distribution
        try:
            warnings = await self._bring_in(candidate)
            self._plugins.note(attrs.evolve(status, warnings=warnings))
        except (CancelledError, ConfigError):
            raise
        except NotConfigured as error:
            self._drop(candidate.name)
            self._plugins.note(attrs.evolve(status, state=PluginState.OFF, reason=str(error.fields["reason"])))
        except Exception as error:  # the start is protected from a plugin
            self._drop(candidate.name)
            self._plugins.note(attrs.evolve(status, state=PluginState.BROKEN, reason=_why(error)))

    async def _bring_in(self, candidate: Candidate) -> tuple[str, ...]:
        loaded = await self._plugins.hooks.import_plugin(candidate.name, candidate.load)
        plugin = loaded
        if not inspect.ismodule(loaded) and callable(loaded):
            plugin = await self._plugins.hooks.import_plugin(candidate.name, loaded)
        _refuse_wrappers(plugin)
        warnings = tuple(_unknown_hooks(plugin))
        for warning in warnings:
            self._plugins.log.warn("plugin {plugin}: {warning}", plugin=candidate.name, warning=warning)
        self._plugins.manager.register(plugin, candidate.name)
        config = self._configs.get(candidate.name, {})
        try:
            configured = await self._plugins.hooks.own(
                "configure", candidate.name, config=config, services=self._services_for(candidate.name)
            )
        except ConfigError as error:
            where = f"plugins.{candidate.name}"
            below = str(error.fields.get("where", ""))
            where = where if not below or below == where else below if below.startswith(where) else f"{where}.{below}"
            raise ConfigError(where=where, reason=error.fields["reason"]) from error
        if config and not configured:
            warnings += ("it reads no configuration, and has some",)
        offers = {hook: await self._plugins.hooks.offers(hook, candidate.name) for hook in _OFFERS}
        _take_offers(self._plugins, candidate.name, offers)
        return warnings

    def _drop(self, name: str) -> None:
        if self._plugins.manager.has_plugin(name):
            self._plugins.manager.unregister(name=name)


_OFFERS: dict[str, tuple[str, ...]] = {"register_mergers": _MERGER_METHODS, "register_storage": _STORAGE_METHODS}


def _take_offers(plugins: PluginSet, plugin: str, offers: Mapping[str, list[Any]]) -> None:
    """
    Raises:
        ConfigError: a name is taken.
        PluginError: a record is none.
    """
    ours = plugin.startswith(BUILTIN_PREFIX)
    for hook, records in offers.items():
        for record in records:
            _look_at_record(plugin, hook, record)
    for hook, records in offers.items():
        for record in records:
            taken: dict[str, Any] = plugins.mergers if hook == "register_mergers" else plugins.storages
            if record.name in taken or record.name == NO_MERGE:
                raise ConfigError(
                    where=hook, reason=f'"{record.name}" of plugin {plugin} is offered already; disable one of the two'
                )
            guard = GuardedMerger if hook == "register_mergers" else GuardedStorage
            taken[record.name] = record if ours else guard(plugin, record)


def _look_at_record(plugin: str, hook: str, record: Any) -> None:
    name = getattr(record, "name", None)
    lacking = [method for method in _OFFERS[hook] if not callable(getattr(record, method, None))]
    if not isinstance(name, str) or not name:
        raise PluginError(plugin=plugin, hook=hook, reason=f"a {type(record).__name__} without a name is no offer")
    if lacking:
        raise PluginError(plugin=plugin, hook=hook, reason=f'"{name}" lacks {", ".join(lacking)}')


def _refuse_wrappers(plugin: object) -> None:
    """A generator around a hook cannot wait for a Deferred: such hooks would be called in no way we promise."""
    for name, options in _marked(plugin):
        if options.get("wrapper") or options.get("hookwrapper"):
            raise PluginError(plugin=type(plugin).__name__, hook=name, reason="hook wrappers are not supported")


def _unknown_hooks(plugin: object) -> Iterable[str]:
    for name, options in _marked(plugin):
        if name not in KINDS and not options.get("optionalhook"):
            near = difflib.get_close_matches(name, KINDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"there is no hook {name}{hint}"


def _marked(plugin: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for attribute in dir(plugin):
        if isinstance(inspect.getattr_static(plugin, attribute, None), property):
            continue  # reading it could do anything
        options = getattr(getattr(plugin, attribute, None), f"{PROJECT}_impl", None)
        if isinstance(options, dict):
            yield options.get("specname") or attribute, options


def _why(error: BaseException) -> str:
    if isinstance(error, PluginError):
        return str(error.fields["reason"])
    return error.text("en") if isinstance(error, M3u8svcError) else redact_text(f"{type(error).__name__}: {error}")
