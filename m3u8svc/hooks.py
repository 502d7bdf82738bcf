"""
How hooks are called: order, awaiting, deadline, isolation, blame (DESIGN 5.6, reference/hooks.md 1.1).

Not by pluggy's own multicall: there one raising plugin ends the call for everybody, and a Deferred that will fire None
wins a `firstresult`. We walk the implementations ourselves, last registered first, built-ins last, and give each only
the arguments it asked for. What a third party's hook does wrong becomes a `PluginError` with its name; what a
built-in raises on purpose passes through, since it is our own decision.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any  # hook arguments and answers are as different as the hooks

import attrs
import pluggy
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from m3u8svc.errors import M3u8svcError, PluginError
from m3u8svc.hookspecs import FAIL_CLOSED, KINDS

DEADLINE_S = 5.0
SLOW_S = 0.1
BUILTIN_PREFIX = "builtin."
"""Plugin names that start so are ours."""


@attrs.frozen(kw_only=True)
class Answer:
    """
    What one implementation answered, and whose it is.
    """

    plugin: str
    value: Any


class Hooks:
    """
    The calls, over one pluggy manager. `clock` measures deadlines.
    """

    log = Logger()

    def __init__(self, manager: pluggy.PluginManager, *, clock: IReactorTime, deadline_s: float = DEADLINE_S) -> None:
        self._manager = manager
        self._clock = clock
        self._deadline_s = deadline_s

    def offers(self, name: str) -> list[Answer]:
        """
        *offer*: every record every plugin brings, built-ins first. Called at start, synchronous.
        """
        assert KINDS[name] == "offer"
        found = []
        for impl in self._impls(name):
            try:
                records: Iterable[object] = impl.function()  # type: ignore[assignment]  # pluggy types every hook as object
                found += [Answer(plugin=impl.plugin_name, value=record) for record in records]
            except Exception as error:  # a plugin's offer must not keep the service from starting
                self._blame(impl.plugin_name, name, error)
        return found[::-1]

    async def ask(self, name: str, **arguments: Any) -> Any:
        """
        *ask*: the first answer that is not None.

        Raises:
            PluginError: a fail-closed hook did not answer properly; nobody else is asked.
        """
        assert KINDS[name] == "ask"
        for impl in self._impls(name):
            try:
                answer = await self._call(impl, name, arguments)
            except PluginError as error:
                if name in FAIL_CLOSED:
                    raise
                self._note(error)
                continue
            if answer is not None:
                return answer
        return None

    async def union(self, name: str, **arguments: Any) -> list[Answer]:
        """
        *union*: the answers of all that have one.
        """
        assert KINDS[name] == "union"
        answers = []
        for impl in self._impls(name):
            try:
                value = await self._call(impl, name, arguments)
            except PluginError as error:
                self._note(error)
                continue
            if value is not None:
                answers.append(Answer(plugin=impl.plugin_name, value=value))
        return answers

    async def pipeline(self, name: str, argument: str, value: Any, **arguments: Any) -> Any:
        """
        *pipeline*: each implementation may change the value that is passed on as `argument`; an error fails the call.
        """
        assert KINDS[name] == "pipeline"
        for impl in self._impls(name):
            changed = await self._call(impl, name, {**arguments, argument: value})
            value = value if changed is None else changed
        return value

    async def tell(self, name: str, **arguments: Any) -> None:
        """
        *tell*: everybody hears it; what they answer, and how they fail, is nobody else's business.
        """
        assert KINDS[name] == "tell"
        for impl in self._impls(name):
            try:
                await self._call(impl, name, arguments)
            except PluginError as error:
                self._note(error)

    def _impls(self, name: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        return caller.get_hookimpls()[::-1]

    async def _call(self, impl: pluggy.HookImpl, name: str, arguments: dict[str, Any]) -> Any:
        wanted = {argument: arguments[argument] for argument in impl.argnames}
        if impl.plugin_name.startswith(BUILTIN_PREFIX):
            answer: Any = impl.function(**wanted)
            return await answer if _awaitable(answer) else answer
        started = self._clock.seconds()
        try:
            return await self._within_deadline(impl.function, wanted)
        except CancelledError:
            raise
        except (Exception, SystemExit) as error:  # the service is protected from a plugin, sys.exit() included
            raise PluginError(plugin=impl.plugin_name, hook=name, reason=_reason(error)) from error
        finally:
            took = self._clock.seconds() - started
            if took > SLOW_S:
                self.log.warn(
                    "hook {hook} of {plugin} took {took:.2f} s", hook=name, plugin=impl.plugin_name, took=took
                )

    def _within_deadline(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Deferred[Any]:
        return maybeDeferred(function, **arguments).addTimeout(self._deadline_s, self._clock)

    def _note(self, error: PluginError) -> None:
        self.log.warn("{error}", error=error.text("en"))

    def _blame(self, plugin: str, hook: str, error: Exception) -> None:
        self._note(PluginError(plugin=plugin, hook=hook, reason=_reason(error)))


def _awaitable(answer: object) -> bool:
    return inspect.isawaitable(answer) or isinstance(answer, Deferred | Awaitable)


def _reason(error: BaseException) -> str:
    if isinstance(error, M3u8svcError):
        return error.text("en")
    if isinstance(error, DeferredTimeout):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"
