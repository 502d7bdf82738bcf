"""
How hooks are called: order, awaiting, deadline, isolation, blame (DESIGN 5.6, reference/hooks.md 1.1).

Not by pluggy's own multicall: there one raising plugin ends the call for everybody, and a Deferred that will fire None
wins a `firstresult`. We walk the implementations ourselves, last registered first, built-ins last, and give each only
the arguments it asked for. A plain `def` of a plugin runs in a thread of the plugin, an `async def` here; either has a
deadline. What it does wrong becomes a `PluginError` with its name and counts against it: three times in a row with the
same hook, and the plugin is not asked any more until the next start; the hooks that fail closed stay closed then. What
a built-in raises on purpose passes through, since it is our own decision.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any  # hook arguments and answers are as different as the hooks

import attrs
import pluggy
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.errors import Fault, InvalidUrl, M3u8svcError, PluginError
from m3u8svc.hls.playlist import ByteRange, MediaPlaylist, Segment, SegmentList
from m3u8svc.hookspecs import FAIL_CLOSED, KINDS
from m3u8svc.offerings import Note, SegmentGroup, Skip
from m3u8svc.pluginthreads import RunPlain
from m3u8svc.redact import redact_text
from m3u8svc.tasks.plugins import DEADLINE_S
from m3u8svc.tasks.request import Request
from m3u8svc.tasks.retry import GiveUp, Retry, SkipSegment
from m3u8svc.tasks.task import Task
from m3u8svc.tasks.views import request_for_plugin, request_from_plugin, segment_for_plugin, task_for_plugin
from m3u8svc.tasks.wire import wire_url

LONGER = {"skip_segments": 24.0}
"""Hooks that may take so many times the deadline: this one may fetch segments to look into."""
IMPORT_S = 30.0
"""For importing a plugin and making its object: a cold disk may hold a large library."""
SLOW_S = 0.1
"""A plain hook that takes longer is slow."""
SLOW_ASYNC_S = 1.0
"""The same for one that may wait for others."""
IN_LINE_S = 60.0
"""How long a call may wait for its plugin's thread before its own deadline begins."""
STRIKES = 3
_JUDGED_AT_THE_ENDS = frozenset({"configure", "close", "register_mergers", "register_storage"})
"""Hooks of the start and the end: what goes wrong in them is no strike, it is the plugin's state."""
BUILTIN_PREFIX = "builtin."
"""Plugin names that start so are ours."""
KEY_BYTES = 16
MOST_SKIPS = 1_000_000


@attrs.frozen(kw_only=True)
class Answer:
    """
    What one implementation answered, and whose it is.
    """

    plugin: str
    value: Any


@attrs.define
class Tally:
    """
    What one hook of one plugin has done since the start. `in_a_row` counts failures without a good call between.
    """

    calls: int = 0
    failures: int = 0
    slow: int = 0
    in_a_row: int = 0
    struck_at_s: float = float("-inf")
    """When a failure was counted last: calls that ran beside it are the same failure."""


class Hooks:
    """
    The calls, over one pluggy manager. `clock` measures deadlines, `run_plain` runs plain functions of plugins.
    """

    log = Logger()

    def __init__(
        self,
        manager: pluggy.PluginManager,
        *,
        clock: IReactorTime,
        run_plain: RunPlain,
        deadline_s: float = DEADLINE_S,
        trace: bool = False,
    ) -> None:
        self._manager = manager
        self._clock = clock
        self._run_plain = run_plain
        self._deadline_s = deadline_s
        self._trace = trace
        self._tallies: dict[tuple[str, str], Tally] = {}
        self.disabled: dict[str, str] = {}
        """Plugins that are not asked any more, and why."""

    def tallies(self, plugin: str) -> Mapping[str, Tally]:
        """
        The counters of one plugin by hook.
        """
        return {hook: tally for (owner, hook), tally in self._tallies.items() if owner == plugin}

    async def import_plugin(self, plugin: str, load: Callable[[], Any]) -> Any:
        """
        What `load` gives, run in the plugin's thread, within a deadline.

        Raises:
            PluginError: it took too long, or raised.
        """
        outcome = await self._within(IMPORT_S, lambda begun: self._plain(plugin, load, begun))
        if isinstance(outcome.error, _Withdrawn):
            raise CancelledError()
        if outcome.error is not None:
            raise PluginError(plugin=plugin, hook="import", reason=_reason(outcome.error)) from outcome.error
        return outcome.value

    async def own(self, name: str, plugin: str, **arguments: Any) -> bool:
        """
        *own*: the hook of one plugin; False when it has none.

        Raises:
            M3u8svcError: what the plugin raised on purpose.
            PluginError: anything else it did wrong.
        """
        assert KINDS[name] == "own"
        found = [impl for impl in self._impls(name) if impl.plugin_name == plugin]
        for impl in found:
            await self._call(impl, name, arguments, on_purpose=True)
        return bool(found)

    async def offers(self, name: str, plugin: str) -> list[Any]:
        """
        *offer*: the records one plugin brings.

        Raises:
            PluginError: it does not answer with some.
        """
        assert KINDS[name] == "offer"
        found: list[Any] = []
        for impl in self._impls(name):
            if impl.plugin_name == plugin:
                found += await self._call(impl, name, {}) or ()
        return found

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
            except PluginError:
                if name in FAIL_CLOSED:
                    raise
                continue
            if answer is not None:
                return answer
        return None

    async def union(self, name: str, **arguments: Any) -> list[Answer]:
        """
        *union*: the answers of all that have one; what went wrong is among them as the `PluginError` it is.
        """
        assert KINDS[name] == "union"
        answers = []
        for impl in self._impls(name):
            try:
                value = await self._call(impl, name, arguments)
            except PluginError as error:
                value = error
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
            except PluginError:
                continue  # noted where it was blamed

    def has_listener(self, name: str) -> bool:
        """
        Whether there is anybody to call for a hook.
        """
        return bool(self._impls(name))

    def _impls(self, name: str) -> list[pluggy.HookImpl]:
        """
        In the order they are asked: a built-in that must be first, plugins, built-ins. Of those that are disabled only
        the ones that must go on failing.
        """
        caller: pluggy.HookCaller = getattr(self._manager.hook, name)
        impls = [
            impl
            for impl in reversed(caller.get_hookimpls())
            if impl.plugin_name not in self.disabled or name in FAIL_CLOSED or name == "close"
        ]
        return sorted(impls, key=_turn)

    async def _call(
        self, impl: pluggy.HookImpl, name: str, arguments: dict[str, Any], *, on_purpose: bool = False
    ) -> Any:
        wanted = {argument: arguments[argument] for argument in impl.argnames}
        if _is_builtin(impl):
            answer: Any = impl.function(**wanted)
            return await answer if _awaitable(answer) else answer
        plugin = impl.plugin_name
        if plugin in self.disabled and name != "close":
            raise PluginError(plugin=plugin, hook=name, reason=self.disabled[plugin])
        tally = self._tallies.setdefault((plugin, name), Tally())
        tally.calls += 1
        started = self._clock.seconds()
        outcome = await self._within(
            self._deadline_s * LONGER.get(name, 1.0),
            lambda begun: self._run(impl, name, _shown_to(plugin, wanted), begun),
        )
        answer, error = outcome.value, outcome.error
        if error is None:
            try:
                answer = _checked(name, answer, arguments)
            except Exception as nonsense:  # whatever an answer does when it is looked at
                error = nonsense
        if self._trace:
            self._tell_of(impl, name, wanted, answer, error)
        if isinstance(error, _Withdrawn):
            raise CancelledError()
        if error is not None:
            if on_purpose and isinstance(error, M3u8svcError):
                raise error
            raise self._blame(plugin, name, tally, error, began=outcome.begun_s or started) from error
        tally.in_a_row = 0
        self._time(impl, name, tally, self._clock.seconds() - (outcome.begun_s or started))
        return answer

    def _tell_of(
        self, impl: pluggy.HookImpl, name: str, arguments: dict[str, Any], answer: Any, error: BaseException | None
    ) -> None:
        self.log.info(
            "hook {hook} of {plugin} ({arguments}) answers {answer}",
            hook=name,
            plugin=impl.plugin_name,
            arguments=", ".join(f"{argument}={_traced(value)}" for argument, value in arguments.items()),
            answer=_traced(answer) if error is None else _reason(error),
        )

    def _within(
        self, deadline_s: float, start: Callable[[Callable[[], None]], Coroutine[Any, Any, Any]]
    ) -> Deferred["_Outcome"]:
        """
        What becomes of the work that `start` makes, within its deadline, even if it does not listen to being cancelled.
        The deadline counts from when it really begins (`start` gets what to call then); until then it waits in line.
        Whatever it raises is in the outcome, so that it is not taken for an exception of ours. Cancelling this is
        `_Withdrawn`, told apart from a plugin that cancels its own work.
        """
        begun_s: list[float] = []

        def begun() -> None:
            if not begun_s and timer.active():
                begun_s.append(self._clock.seconds())
                timer.reset(deadline_s)

        def settle(result: Any) -> None:
            if outer.called:
                return  # nobody waits for what a plugin still does after its end was decided
            if timer.active():
                timer.cancel()
            error = result.value if isinstance(result, Failure) else None
            value = None if isinstance(result, Failure) else result
            outer.callback(_Outcome(value=value, error=error, begun_s=begun_s[0] if begun_s else None))

        def end(error: Exception) -> None:
            settle(Failure(error))
            inner.cancel()

        outer: Deferred[_Outcome] = Deferred(lambda _: end(_Withdrawn()))
        timer = self._clock.callLater(deadline_s + IN_LINE_S, lambda: end(DeferredTimeout()))
        inner: Deferred[Any] = Deferred.fromCoroutine(start(begun))
        inner.addBoth(settle)
        return outer

    async def _run(self, impl: pluggy.HookImpl, name: str, arguments: dict[str, Any], begun: Callable[[], None]) -> Any:
        function: Callable[..., Any] = impl.function
        if inspect.iscoroutinefunction(function):
            begun()
            return await function(**arguments)

        def call() -> Any:
            if impl.plugin_name in self.disabled and name != "close":  # since it stood in line
                raise PluginError(plugin=impl.plugin_name, hook=name, reason=self.disabled[impl.plugin_name])
            return _materialised(function(**arguments))

        return await self._plain(impl.plugin_name, call, begun)

    async def _plain(self, plugin: str, call: Callable[[], Any], begun: Callable[[], None]) -> Any:
        answer = await self._run_plain(plugin, call, begun)
        return await answer if _awaitable(answer) else answer

    def _time(self, impl: pluggy.HookImpl, name: str, tally: Tally, took_s: float) -> None:
        if took_s <= (SLOW_ASYNC_S if inspect.iscoroutinefunction(impl.function) else SLOW_S):
            return
        tally.slow += 1
        if tally.slow in (1, 10, 100, 1000):  # a hook is called for every segment: the log shall not drown in it
            self.log.warn(
                "hook {hook} of plugin {plugin} took {took:.2f} s ({times} times slow so far)",
                hook=name,
                plugin=impl.plugin_name,
                took=took_s,
                times=tally.slow,
            )

    def _blame(self, plugin: str, hook: str, tally: Tally, error: BaseException, *, began: float) -> PluginError:
        """
        Count and tell what a plugin did wrong; the third time in a row it is out.
        """
        reason = _reason(error)
        tally.failures += 1
        blame = PluginError(plugin=plugin, hook=hook, reason=reason)
        if hook in _JUDGED_AT_THE_ENDS:
            return blame
        if _is_the_origins(error) or began < tally.struck_at_s:
            self.log.warn("{error}", error=blame.text("en"))
            return blame
        tally.struck_at_s = self._clock.seconds()
        tally.in_a_row += 1
        self.log.warn("{error}{where}", error=blame.text("en"), where=_authors_lines(error))
        if tally.in_a_row >= STRIKES and plugin not in self.disabled:
            self.disabled[plugin] = f"disabled after {STRIKES} failures in a row of its hook {hook}, the last: {reason}"
            self.log.error(
                "plugin {plugin} is {why}; it is not asked any more until the next start",
                plugin=plugin,
                why=self.disabled[plugin],
            )
        return blame


@attrs.frozen(kw_only=True)
class _Outcome:
    """What a plugin's work came to: a value, or what it raised. `begun_s`: when its turn came."""

    value: Any
    error: BaseException | None
    begun_s: float | None


class _Withdrawn(Exception):
    """Whoever asked does not wait any more."""


def _is_builtin(impl: pluggy.HookImpl) -> bool:
    return impl.plugin_name.startswith(BUILTIN_PREFIX)


def _turn(impl: pluggy.HookImpl) -> int:
    """A built-in that must be first, then plugins as pluggy orders them, then built-ins."""
    return 1 if not _is_builtin(impl) else 0 if impl.tryfirst else 2


def _awaitable(answer: object) -> bool:
    return inspect.isawaitable(answer) or isinstance(answer, Deferred | Awaitable)


def _materialised(answer: Any) -> Any:
    """A generator's work is done where the hook runs, not where its answer is read."""
    return tuple(answer) if isinstance(answer, Iterator) and not _awaitable(answer) else answer


def _shown_to(plugin: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments as a plugin of somebody else may see them: without secrets."""
    return {name: _without_secrets(plugin, value) for name, value in arguments.items()}


def _without_secrets(plugin: str, value: Any) -> Any:
    match value:
        case Task():
            return task_for_plugin(value, plugin)
        case Request():
            return request_for_plugin(value)
        case Segment():
            return segment_for_plugin(value)
        case MediaPlaylist() | SegmentGroup():
            return attrs.evolve(value, segments=_without_secrets(plugin, value.segments))
        case SegmentList():
            return value.shown(segment_for_plugin)  # when it is looked at: there may be a hundred thousand
        case tuple():
            return tuple(_without_secrets(plugin, each) for each in value)
        case _:
            return value


def _traced(value: object) -> str:
    """
    A value for the log. Of tables only the names, of bytes only the number: secrets and keys are among them.
    """
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return f"a table of {', '.join(sorted(map(str, value))) or 'nothing'}"
    return _shown(value)


# -- Answers ---------------------------------------------------------------------------------------------------------


def _checked(name: str, answer: Any, arguments: Mapping[str, Any]) -> Any:
    """
    The answer, if it is one of this hook's.

    Raises:
        ValueError: it is something else.
    """
    check = _CHECKS.get(name)
    return answer if check is None or answer is None else check(answer, arguments)


def _variant(answer: Any, arguments: Mapping[str, Any]) -> Any:
    variants = arguments["master"].variants
    if not any(answer is variant or answer == variant for variant in variants):
        raise ValueError(f"answered {_shown(answer)}, which is none of the {len(variants)} variants")
    return answer


def _skips(answer: Any, arguments: Mapping[str, Any]) -> tuple[Skip | Note, ...]:
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise ValueError(f"answered {_shown(answer)}, not Skips")
    skips: list[Skip | Note] = []
    for each in answer:
        skip = isinstance(each, Skip) and type(each.position) is int
        if not (skip or isinstance(each, Note)) or not isinstance(each.reason, str):
            raise ValueError(f"answered {_shown(each)} among its Skips")
        skips.append(each)
        if len(skips) > MOST_SKIPS:
            raise ValueError(f"answered more than {MOST_SKIPS} Skips")
    return tuple(skips)


def _request(answer: Any, arguments: Mapping[str, Any]) -> Request:
    original: Request = arguments["request"]
    if not isinstance(answer, Request):
        raise ValueError(f"answered {_shown(answer)}, not a Request")
    pairs = isinstance(answer.headers, tuple) and all(
        isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(each, str) for each in pair)
        for pair in answer.headers
    )
    if not isinstance(answer.url, str) or not answer.url.lower().startswith(("http://", "https://")) or not pairs:
        raise ValueError("answered a Request whose url is none of http or https, or whose headers are no pairs of text")
    if (answer.purpose, answer.position) != (original.purpose, original.position):
        raise ValueError("answered a Request for something else: purpose and position stay")
    if not (answer.byterange is None or isinstance(answer.byterange, ByteRange)):
        raise ValueError(f"answered a Request with the byte range {_shown(answer.byterange)}")
    try:
        wire_url(answer.url)
    except InvalidUrl as error:
        raise ValueError("answered a Request with a url that cannot be sent") from error
    return request_from_plugin(answer, original)


def _agent(answer: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(getattr(answer, "request", None)):
        raise ValueError(f"answered {_shown(answer)}, not an IAgent")
    return answer


def _key(answer: Any, arguments: Mapping[str, Any]) -> bytes:
    if not isinstance(answer, bytes) or len(answer) != KEY_BYTES:
        raise ValueError(f"answered {type(answer).__name__}, not {KEY_BYTES} bytes")  # never the bytes themselves
    return answer


def _decision(answer: Any, arguments: Mapping[str, Any]) -> Any:
    if not isinstance(answer, Retry | SkipSegment | GiveUp):
        raise ValueError(f"answered {_shown(answer)}, not Retry, SkipSegment or GiveUp")
    if isinstance(answer, Retry) and not (type(answer.delay_s) in (int, float) and 0 <= answer.delay_s <= 3600):
        raise ValueError(f"answered a Retry in {_shown(answer.delay_s)} s, which is not 0 to 3600")
    if isinstance(answer, SkipSegment) and not (
        isinstance(answer.reason, str) and (answer.status is None or type(answer.status) is int)
    ):
        raise ValueError(f"answered {_shown(answer)}: a reason is text, a status a number")
    return answer


def _records(answer: Any, arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise ValueError(f"answered {_shown(answer)}, not records")
    return tuple(answer)


_CHECKS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "register_mergers": _records,
    "register_storage": _records,
    "choose_variant": _variant,
    "skip_segments": _skips,
    "prepare_request": _request,
    "provide_agent": _agent,
    "provide_key": _key,
    "after_failure": _decision,
}


def _shown(value: object) -> str:
    try:
        return redact_text(repr(value))[:80]
    except Exception:  # a repr of somebody else's
        return type(value).__name__


def _is_the_origins(error: BaseException) -> bool:
    """A plugin that looks into a segment is not to blame for an origin or a proxy that does not give it."""
    return isinstance(error, M3u8svcError) and error.fault in (Fault.ORIGIN, Fault.PROXY)


def _reason(error: BaseException) -> str:
    if isinstance(error, DeferredTimeout):
        return "no answer in time"
    try:
        return error.text("en") if isinstance(error, M3u8svcError) else redact_text(f"{type(error).__name__}: {error}")
    except Exception:  # a text of somebody else's
        return type(error).__name__


def _authors_lines(error: BaseException) -> str:
    """
    Where in the plugin it happened: the author's own frames, ours left out.
    """
    lines = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        module = trace.tb_frame.f_globals.get("__name__", "")
        if not module.startswith(("m3u8svc.", "twisted.")) or module.startswith("m3u8svc.testing"):
            lines.append(f"\n  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return "".join(lines[-8:])
