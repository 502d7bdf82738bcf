"""
Which plugins are wanted, and how each fares, as values. Pure.
"""

import difflib
import enum
from collections.abc import Collection, Iterator

import attrs

DEADLINE_S = 5.0


class PluginState(enum.Enum):
    """
    How a plugin fares.
    """

    ACTIVE = "active"
    OFF = "off"  # not wanted, or it says itself that it stays off
    BROKEN = "broken"  # it could not be loaded
    DISABLED = "disabled"  # it failed three times in a row; until the next start


@attrs.frozen(kw_only=True)
class PluginStatus:
    """
    One plugin that was found. `reason` is "" while it is active.
    """

    name: str
    state: PluginState
    version: str = ""
    distribution: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PluginChoice:
    """
    The operator's choice: `enabled` None takes all but `disabled`; the service does not start without `required`.
    `none`: no plugin at all (``--no-plugins``). A hook has `deadline_s` seconds to answer.
    """

    enabled: tuple[str, ...] | None = None
    disabled: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    none: bool = False
    deadline_s: float = DEADLINE_S

    def wants(self, name: str) -> bool:
        """Whether this plugin is to be loaded."""
        if self.none or name in self.disabled:
            return False
        return self.enabled is None or name in self.enabled or name in self.required

    def problems(self, found: Collection[str], configured: Collection[str]) -> Iterator[tuple[str | None, str]]:
        """
        What in the choice does not fit what was `found`: (where, reason), or (None, a warning) for what does no harm.
        """
        if self.none:
            return
        both = [name for name in (*(self.enabled or ()), *self.required) if name in self.disabled]
        for name in both:
            yield "plugins.disabled", f"{name} is enabled or required as well"
        for where, names in (("enabled", self.enabled or ()), ("required", self.required)):
            for name in names:
                if name not in found:
                    yield f"plugins.{where}", f"{name} is not installed{_instead(name, found)}"
        for name in self.disabled:
            if name not in found:
                yield None, f"plugins.disabled: {name} is not installed{_instead(name, found)}"
        for name in configured:
            if name not in found:
                yield None, f"[plugins.{name}] is for no installed plugin{_instead(name, found)}"


def _instead(name: str, found: Collection[str]) -> str:
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"; {hint}installed: {', '.join(sorted(found)) or 'none'}"
