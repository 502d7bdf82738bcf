"""
Which plugins there are: one `PluginSet` per service, built in the composition root and handed down. No global manager.
"""

from collections.abc import Iterable, Mapping
from typing import Any  # the record of each hook has its own Protocol

import attrs
import pluggy
from twisted.internet.interfaces import IReactorTime

from m3u8svc import hookspecs
from m3u8svc.errors import ConfigError
from m3u8svc.hooks import BUILTIN_PREFIX, Hooks
from m3u8svc.hookspecs import PROJECT
from m3u8svc.offerings import Merger, Storage


@attrs.frozen(kw_only=True)
class PluginSet:
    """
    The loaded plugins: their hooks, and what they offer by name.
    """

    hooks: Hooks
    mergers: Mapping[str, Merger]
    storages: Mapping[str, Storage]


def load_builtins(builtins: Iterable[object], *, clock: IReactorTime) -> PluginSet:
    """
    A plugin set of our own implementations, first in the list asked last.

    Raises:
        ConfigError: two offer the same name.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in builtins:
        manager.register(plugin, BUILTIN_PREFIX + type(plugin).__name__)
    manager.check_pending()
    hooks = Hooks(manager, clock=clock)
    return PluginSet(
        hooks=hooks,
        mergers=_by_name(hooks, "register_mergers"),
        storages=_by_name(hooks, "register_storage"),
    )


def _by_name(hooks: Hooks, hook: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for offer in hooks.offers(hook):
        name = offer.value.name
        if name in found:
            raise ConfigError(where=hook, reason=f'"{name}" is offered by {owners[name]} and by {offer.plugin}')
        found[name], owners[name] = offer.value, offer.plugin
    return found
