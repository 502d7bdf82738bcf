"""How hooks are called: order, isolation, blame. The battery of reference/hooks.md 1.6 over every hook."""

import asyncio
import sys
import threading
from typing import Any

import attrs
import pluggy
import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from m3u8svc import hookspecs
from m3u8svc.errors import ConfigError, ConnectError, OptionError, PluginError
from m3u8svc.hls.playlist import InitSection, Key, MasterPlaylist, MediaPlaylist, Segment, Variant
from m3u8svc.hooks import BUILTIN_PREFIX, LONGER, STRIKES, Answer, Hooks
from m3u8svc.hookspecs import FAIL_CLOSED, KINDS, PROJECT, hookimpl
from m3u8svc.loading import load_builtins
from m3u8svc.offerings import Note, SegmentGroup, SegmentOutcome, Skip
from m3u8svc.pluginthreads import PluginThreads, run_inline
from m3u8svc.tasks.plugins import DEADLINE_S
from m3u8svc.tasks.request import Purpose, Request
from m3u8svc.tasks.retry import GiveUp, Retry, SkipSegment
from m3u8svc.tasks.task import Extensions, Settings, Task, TaskSpec

reactor: Any = _reactor  # a module to mypy, the reactor to everybody else

VARIANT = Variant(uri="http://h/1.m3u8", bandwidth=1)
TASK = Task(id="t", spec=TaskSpec(url="http://h/list.m3u8", filename="film"))
SEGMENT = Segment(position=1, number=0, uri="http://h/1.ts", duration_s=4.0, start_s=0.0)
REQUEST = Request(url="http://h/1.ts", purpose=Purpose.SEGMENT, headers=(("Cookie", "secret"), ("X-A", "1")))

ERROR = ConnectError(url="http://h/", reason="")


PLAYLIST = MediaPlaylist(url="http://h/list.m3u8", segments=(SEGMENT,))


class Agent:
    """Looks like an IAgent."""

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> None: ...


AGENT = Agent()
ARGUMENTS: dict[str, dict[str, Any]] = {
    "configure": {"config": {}, "services": None},
    "check_options": {"options": {}},
    "close": {},
    "register_mergers": {},
    "register_storage": {},
    "choose_variant": {"master": MasterPlaylist(url="http://h/m.m3u8", variants=(VARIANT,)), "task": TASK},
    "skip_segments": {"segments": (SEGMENT,), "groups": (), "playlist": PLAYLIST, "task": TASK},
    "prepare_request": {"request": REQUEST, "task": TASK},
    "provide_agent": {"request": REQUEST, "task": TASK, "attempt": 1},
    "provide_key": {"key": Key(method="AES-128", uri="http://h/k"), "task": TASK},
    "after_failure": {"segment": SEGMENT, "error": ERROR, "attempt": 1, "task": TASK},
    "segment_finished": {"segment": SEGMENT, "outcome": SegmentOutcome(kind="done", attempts=1), "task": TASK},
    "task_changed": {"task": TASK, "previous": None, "event_id": 1},
}
RECORD = object()
GOOD: dict[str, Any] = {
    "configure": None,
    "check_options": None,
    "close": None,
    "register_mergers": [RECORD],
    "register_storage": [RECORD],
    "choose_variant": VARIANT,
    "skip_segments": [Skip(position=1, reason="advert"), Note(reason="one advert")],
    "prepare_request": attrs.evolve(REQUEST, url="http://h/2.ts", headers=(("Cookie", "***"),)),
    "provide_agent": AGENT,
    "provide_key": b"k" * 16,
    "after_failure": Retry(delay_s=2.0),
    "segment_finished": "ignored",
    "task_changed": "ignored",
}
NONSENSE: dict[str, Any] = {
    "register_mergers": 5,
    "register_storage": "disk",
    "choose_variant": Variant(uri="http://h/other.m3u8"),
    "skip_segments": [1],
    "prepare_request": "http://h/",
    "provide_agent": object(),
    "provide_key": b"short",
    "after_failure": True,
}
"""Answers of the wrong kind; the other hooks' answers are nobody's concern."""
EVERY = pytest.mark.parametrize("name", sorted(KINDS))


def implementing(name: str, body: Any, *, coroutine: bool = False) -> object:
    """A plugin with one hook that does `body()`."""

    async def awaited(self: Any) -> Any:
        answer = body()
        return await answer if isinstance(answer, Deferred) else answer

    plain = lambda self: body()  # noqa: E731  # a method made at run time
    return type("Plugin", (), {name: hookimpl(awaited if coroutine else plain)})()


def hooks_of(*plugins: tuple[str, object], clock: Clock | None = None, **given: Any) -> Hooks:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(plugin, name)
    return Hooks(manager, clock=clock or Clock(), **{"run_plain": run_inline, **given})


def outcome(coroutine: Any) -> list[Any]:
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    return found


def call(hooks: Hooks, name: str, plugin: str = "plugin") -> Any:
    """The hook, called in its way."""
    arguments = ARGUMENTS[name]
    match KINDS[name]:
        case "own":
            return hooks.own(name, plugin, **arguments)
        case "offer":
            return hooks.offers(name, plugin)
        case "ask":
            return hooks.ask(name, **arguments)
        case "union":
            return hooks.union(name, **arguments)
        case "tell":
            return hooks.tell(name, **arguments)
        case "pipeline":
            return hooks.pipeline(name, "request", arguments["request"], task=TASK)


def expected(name: str) -> Any:
    """What a call gives when the plugin answers well."""
    match KINDS[name]:
        case "own":
            return True
        case "union":
            return [("plugin", tuple(GOOD[name]))]
        case "tell":
            return None
        case "pipeline":
            return attrs.evolve(GOOD[name], headers=(("Cookie", "secret"),))
    return GOOD[name]


def neutral(name: str) -> Any:
    """What a call gives when the plugin has nothing to say."""
    return {"own": True, "offer": [], "ask": None, "union": [], "tell": None, "pipeline": REQUEST}[KINDS[name]]


def plainly(found: Any) -> Any:
    joined = isinstance(found, list) and found and isinstance(found[0], Answer)
    return [(each.plugin, each.value) for each in found] if joined else found


def assert_blamed(name: str, found: list[Any], reason: str) -> None:
    """The plugin's failure is its own, and named; the service goes on as if it had said nothing, or fails closed."""
    [result] = found
    if KINDS[name] in ("own", "offer") or name in FAIL_CLOSED:
        assert isinstance(result, Failure) and result.check(PluginError), result
        assert ("plugin", name) == (result.value.fields["plugin"], result.value.fields["hook"])
        assert reason in str(result.value)
    elif KINDS[name] == "union":
        [answer] = result
        assert isinstance(answer.value, PluginError) and reason in str(answer.value)
    else:
        assert result is None


# -- The contract ----------------------------------------------------------------------------------------------------


def test_every_hook_has_a_kind() -> None:
    """No hook is called in a sixth way, and each is in the battery."""
    marked = {name for name in vars(hookspecs) if hasattr(vars(hookspecs)[name], f"{PROJECT}_spec")}
    assert marked == set(KINDS) == set(ARGUMENTS) == set(GOOD)
    assert FAIL_CLOSED <= marked
    assert 13 == len(marked)


@EVERY
def test_docstring_begins_with_the_kind(name: str) -> None:
    """The first word of a hook's docstring is how it is called."""
    documented = (getattr(hookspecs, name).__doc__ or "").strip()
    assert documented.startswith(f"*{KINDS[name]}*")


# -- The battery -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["plain", "Deferred", "coroutine"])
@EVERY
def test_value(name: str, way: str) -> None:
    """A value counts however it comes: at once, from a Deferred, from a coroutine."""
    body = (lambda: succeed(GOOD[name])) if way == "Deferred" else (lambda: GOOD[name])
    [found] = outcome(call(hooks_of(("plugin", implementing(name, body, coroutine=way == "coroutine"))), name))
    assert expected(name) == plainly(found)


@pytest.mark.parametrize("way", ["plain", "Deferred", "coroutine"])
@EVERY
def test_none(name: str, way: str) -> None:
    """None, however it comes, is no opinion."""
    body = (lambda: succeed(None)) if way == "Deferred" else (lambda: None)
    [found] = outcome(call(hooks_of(("plugin", implementing(name, body, coroutine=way == "coroutine"))), name))
    assert neutral(name) == plainly(found)


@pytest.mark.parametrize("way", ["plain", "fires failure", "coroutine"])
@EVERY
def test_raises(name: str, way: str) -> None:
    """An exception is the plugin's own."""

    def body() -> Any:
        if way == "fires failure":
            return fail(ValueError("no luck"))
        raise ValueError("no luck")

    hooks = hooks_of(("plugin", implementing(name, body, coroutine=way == "coroutine")))
    assert_blamed(name, outcome(call(hooks, name)), "no luck")


@pytest.mark.parametrize("coroutine", [False, True])
@EVERY
def test_system_exit(name: str, coroutine: bool) -> None:
    """A library that calls sys.exit() in a hook ends nothing."""
    hooks = hooks_of(("plugin", implementing(name, lambda: sys.exit(3), coroutine=coroutine)))
    assert_blamed(name, outcome(call(hooks, name)), "SystemExit: 3")


class Unspeakable(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit(), CancelledError(), Unspeakable()]
)
@EVERY
def test_raises_what_nobody_raises(name: str, error: BaseException) -> None:
    """Whatever comes out of a plugin is the plugin's, and named."""

    def body() -> Any:
        raise error

    hooks = hooks_of(("plugin", implementing(name, body)))
    assert_blamed(name, outcome(call(hooks, name)), type(error).__name__)


@pytest.mark.parametrize("coroutine", [False, True])
@EVERY
def test_hangs(name: str, coroutine: bool) -> None:
    """Nothing before the deadline, and then the call goes on without an answer."""
    clock = Clock()
    hooks = hooks_of(("plugin", implementing(name, Deferred, coroutine=coroutine)), clock=clock)
    found = outcome(call(hooks, name))
    clock.advance(DEADLINE_S * LONGER.get(name, 1.0) - 0.1)
    assert [] == found
    clock.advance(0.2)
    assert_blamed(name, found, "no answer in time")


@EVERY
def test_ignores_its_cancellation(name: str) -> None:
    """A hook that does not listen at its deadline is left behind all the same."""
    clock = Clock()

    async def deaf() -> Any:
        while True:
            try:
                await Deferred()
            except CancelledError:
                continue

    hooks = hooks_of(("plugin", implementing(name, lambda: Deferred.fromCoroutine(deaf()))), clock=clock)
    found = outcome(call(hooks, name))
    clock.advance(DEADLINE_S * LONGER.get(name, 1.0) + 0.1)
    assert_blamed(name, found, "no answer in time")


@pytest.mark.parametrize(
    "changes",
    [
        {"url": None},
        {"url": "gopher://h/"},
        {"url": "http://[bad"},
        {"headers": (("X", 5),)},
        {"headers": [("X", "5")]},
        {"byterange": "x"},
        {"purpose": Purpose.KEY},
        {"position": 7},
    ],
)
def test_nonsense_inside_a_request(changes: dict[str, Any]) -> None:
    """It is the plugin's fault, not the origin's and not ours."""
    answer = attrs.evolve(REQUEST, **changes)
    hooks = hooks_of(("plugin", implementing("prepare_request", lambda: answer)))
    assert_blamed("prepare_request", outcome(call(hooks, "prepare_request")), "")


@pytest.mark.parametrize(
    "answer", [Retry(delay_s=-1), Retry(delay_s="1"), SkipSegment(reason=["x"]), SkipSegment(reason="x", status="1")]
)
def test_nonsense_inside_a_decision(answer: Any) -> None:
    """What would be stored or slept is looked at first."""
    hooks = hooks_of(("plugin", implementing("after_failure", lambda: answer)))
    outcome(call(hooks, "after_failure"))
    assert 1 == hooks.tallies("plugin")["after_failure"].failures


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_nonsense(name: str) -> None:
    """An answer of the wrong kind is a failure that shows it."""
    hooks = hooks_of(("plugin", implementing(name, lambda: NONSENSE[name])))
    assert_blamed(name, outcome(call(hooks, name)), "answered")


@pytest_twisted.ensureDeferred  # type: ignore[misc]  # pytest-twisted has no types
@EVERY
async def test_blocks_in_a_thread(name: str) -> None:
    """A plain hook that blocks is left to its thread; it holds up neither the reactor nor the plugin's next call."""
    released = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def body() -> Any:
        begun.append(number := len(begun) + 1)
        if number == 1:
            released.wait(60)
        ended.append(number)
        return GOOD[name]

    clock, deadline_s = Clock(), DEADLINE_S * LONGER.get(name, 1.0)
    threads = PluginThreads(reactor.callFromThread)
    hooks = hooks_of(("plugin", implementing(name, body)), clock=clock, run_plain=threads.run)
    try:
        found = outcome(call(hooks, name))
        while not begun:
            await deferLater(reactor, 0.01)
        await deferLater(reactor, 0)  # in this turn it hears of the beginning, from which the deadline counts
        clock.advance(deadline_s - 0.1)
        assert ([], []) == (found, ended)
        clock.advance(0.2)
        assert_blamed(name, found, "no answer in time")
        again = outcome(call(hooks, name))
        while not ended:
            await deferLater(reactor, 0.01)
        assert [2] == ended
        while not again:
            await deferLater(reactor, 0.01)
        assert expected(name) == plainly(again[0])
    finally:
        released.set()


# -- Order and arguments ---------------------------------------------------------------------------------------------


def default(name: str, answer: Any, **order: Any) -> tuple[str, object]:
    class Default:
        pass

    setattr(Default, name, hookimpl(**order)(lambda self: answer))
    return (BUILTIN_PREFIX + "Default", Default())


def test_last_registered_is_asked_first_and_built_ins_last() -> None:
    """Even a plugin that wants to be last comes before a built-in."""
    asked: list[str] = []

    def chooser(name: str, **order: Any) -> tuple[str, object]:
        class Chooser:
            @hookimpl(**order)
            def choose_variant(self) -> None:
                asked.append(name)

        return name, Chooser()

    built_in = default("choose_variant", VARIANT, trylast=True)
    hooks = hooks_of(
        built_in, chooser("late", trylast=True), chooser("a"), chooser("b"), chooser("later", trylast=True)
    )
    assert [VARIANT] == outcome(call(hooks, "choose_variant"))
    assert ["b", "a", "late", "later"] == asked


def test_a_built_in_that_must_be_first_is() -> None:
    """The built-in proxy is asked before any plugin, also before one that says it is first."""
    first = default("provide_agent", AGENT, tryfirst=True)

    class Pushy:
        @hookimpl(tryfirst=True)
        def provide_agent(self) -> Any:
            raise AssertionError("asked although the built-in has answered")

    assert [AGENT] == outcome(call(hooks_of(first, ("pushy", Pushy())), "provide_agent"))


def test_arguments_are_a_subset() -> None:
    """An implementation takes the arguments it wants."""

    class Curious:
        seen: Any = None

        @hookimpl
        def choose_variant(self, task: Any, master: Any) -> Any:
            self.seen = (task, master)

    curious = Curious()
    outcome(call(hooks_of(("p", curious)), "choose_variant"))
    assert (TASK, ARGUMENTS["choose_variant"]["master"]) == curious.seen


def test_a_broken_plugin_is_passed_over() -> None:
    """The next one is asked."""

    def broken() -> Any:
        raise ValueError("no")

    hooks = hooks_of(default("provide_key", b"d" * 16, trylast=True), ("plugin", implementing("provide_key", broken)))
    assert [b"d" * 16] == outcome(call(hooks, "provide_key"))


def test_failing_closed_asks_nobody_else() -> None:
    """A broken proxy plugin is an error that names it, never a direct connection."""

    def broken() -> Any:
        raise ValueError("proxy list unreadable")

    hooks = hooks_of(default("provide_agent", AGENT, trylast=True), ("proxies", implementing("provide_agent", broken)))
    [found] = outcome(call(hooks, "provide_agent"))
    assert isinstance(found, Failure) and found.check(PluginError)
    assert "proxies" in str(found.value) and "proxy list unreadable" in str(found.value)


def test_built_in_errors_pass_through() -> None:
    """What a built-in raises on purpose is the answer, not a plugin's failure."""

    class Refusing:
        @hookimpl
        def provide_agent(self) -> Any:
            raise ConnectError(url="http://h/", reason="dead")

    [found] = outcome(call(hooks_of((BUILTIN_PREFIX + "r", Refusing())), "provide_agent"))
    assert isinstance(found, Failure) and found.check(ConnectError)


def test_own_errors_on_purpose_pass_through() -> None:
    """A plugin that refuses options does so in its own words."""

    def refuse() -> Any:
        raise OptionError(path="quality", reason="unknown")

    [found] = outcome(call(hooks_of(("plugin", implementing("check_options", refuse))), "check_options"))
    assert isinstance(found, Failure) and found.check(OptionError)


def test_union_joins_answers() -> None:
    """Everybody's answer counts, a broken one is told beside them."""

    def broken() -> Any:
        raise ValueError("x")

    hooks = hooks_of(
        ("a", implementing("skip_segments", lambda: [Skip(position=1, reason="a")])),
        ("b", implementing("skip_segments", broken)),
        ("c", implementing("skip_segments", lambda: None)),
        ("d", implementing("skip_segments", lambda: iter([Skip(position=2, reason="d")]))),
    )
    [found] = outcome(call(hooks, "skip_segments"))
    assert ["d", "b", "a"] == [answer.plugin for answer in found]
    assert (Skip(position=2, reason="d"),) == found[0].value
    assert isinstance(found[1].value, PluginError)


def test_pipeline_passes_the_changed_value_on() -> None:
    """Each may change it; None leaves it."""

    def adding(letter: str | None) -> object:
        class Adding:
            @hookimpl
            def prepare_request(self, request: Request) -> Request | None:
                return None if letter is None else attrs.evolve(request, url=request.url + letter)

        return Adding()

    hooks = hooks_of(("a", adding("a")), ("b", adding(None)), ("c", adding("c")))
    [found] = outcome(call(hooks, "prepare_request"))
    assert REQUEST.url + "ca" == found.url


def test_tell_reaches_everybody() -> None:
    """One that raises does not keep the news from the others."""
    heard: list[str] = []

    def listening(name: str) -> object:
        def hear() -> None:
            heard.append(name)
            if name == "b":
                raise ValueError("b is broken")

        return implementing("task_changed", hear)

    assert [None] == outcome(call(hooks_of(*((name, listening(name)) for name in "abc")), "task_changed"))
    assert ["c", "b", "a"] == heard


# -- Cancelling ------------------------------------------------------------------------------------------------------


@EVERY
def test_withdrawn(name: str) -> None:
    """Whoever waits may stop waiting; that is no failure of the plugin."""
    hooks = hooks_of(("plugin", implementing(name, Deferred)))
    waiting = Deferred.fromCoroutine(call(hooks, name))
    found: list[Any] = []
    waiting.addErrback(found.append)
    waiting.cancel()
    assert found[0].check(CancelledError)
    assert 0 == hooks.tallies("plugin")[name].failures


def test_a_plugin_that_cancels_its_own_work_has_failed() -> None:
    """Its CancelledError is not taken for ours, which would end the task's job."""
    hooks = hooks_of(("plugin", implementing("provide_agent", lambda: fail(CancelledError()))))
    assert_blamed("provide_agent", outcome(call(hooks, "provide_agent")), "CancelledError")


# -- Strikes and counts ----------------------------------------------------------------------------------------------


@pytest.mark.logs_failures
def test_three_strikes_disable_a_plugin() -> None:
    """After the third failure in a row of one hook none of its hooks is called; what fails closed stays closed."""
    calls: list[str] = []

    class Failing:
        @hookimpl
        def provide_key(self) -> Any:
            calls.append("provide_key")
            raise ValueError("no")

        @hookimpl
        def task_changed(self) -> Any:
            calls.append("task_changed")

        @hookimpl
        def provide_agent(self) -> Any:
            calls.append("provide_agent")

    hooks = hooks_of(default("provide_agent", AGENT, trylast=True), ("plugin", Failing()))
    for _ in range(STRIKES):
        assert [AGENT] == outcome(call(hooks, "provide_agent"))
        assert [None] == outcome(call(hooks, "provide_key"))
    calls.clear()
    assert [None] == outcome(call(hooks, "provide_key"))
    assert [None] == outcome(call(hooks, "task_changed"))
    [closed] = outcome(call(hooks, "provide_agent"))
    assert closed.check(PluginError) and "disabled after 3 failures" in str(closed.value)
    assert [] == calls
    assert "provide_key" in hooks.disabled["plugin"]


def test_a_good_call_forgives() -> None:
    """Failures count in a row: one in a hundred does not add up to a disabled plugin."""
    answers = [ValueError("no"), ValueError("no"), None] * 4

    def sometimes() -> Any:
        answer = answers.pop()
        if answer is not None:
            raise answer

    hooks = hooks_of(("plugin", implementing("task_changed", sometimes)))
    for _ in range(12):
        outcome(call(hooks, "task_changed"))
    assert {} == hooks.disabled
    tally = hooks.tallies("plugin")["task_changed"]
    assert (12, 8) == (tally.calls, tally.failures)


def test_calls_that_fail_together_are_one_strike() -> None:
    """Sixteen workers that wait for one hanging hook are not sixteen failures in a row."""
    clock = Clock()
    hooks = hooks_of(("plugin", implementing("provide_key", Deferred, coroutine=True)), clock=clock)
    found = [outcome(call(hooks, "provide_key")) for _ in range(16)]
    clock.advance(DEADLINE_S + 0.1)
    assert [[None]] * 16 == found
    tally = hooks.tallies("plugin")["provide_key"]
    assert ({}, 16, 1) == (hooks.disabled, tally.failures, tally.in_a_row)


def test_an_origin_that_fails_is_no_strike() -> None:
    """A plugin that looks into segments is not to blame for a 404."""

    def body() -> Any:
        raise ConnectError(url="http://h/", reason="gone")

    hooks = hooks_of(("plugin", implementing("skip_segments", body)))
    for _ in range(STRIKES + 1):
        assert_blamed("skip_segments", outcome(call(hooks, "skip_segments")), "gone")
    assert {} == hooks.disabled


def test_a_disabled_plugin_is_closed() -> None:
    """What it holds is let go of all the same."""
    closed: list[int] = []

    class Failing:
        @hookimpl
        def provide_key(self) -> Any:
            raise ValueError("no")

        @hookimpl
        def close(self) -> None:
            closed.append(1)

    hooks = hooks_of(("plugin", Failing()))
    for _ in range(STRIKES):
        outcome(call(hooks, "provide_key"))
    assert "plugin" in hooks.disabled
    outcome(call(hooks, "close"))
    assert [1] == closed


def test_built_ins_are_never_struck() -> None:
    """They are ours: however often one refuses, it is asked again."""

    def refuse() -> Any:
        raise ConnectError(url="http://h/", reason="dead")

    hooks = hooks_of((BUILTIN_PREFIX + "r", implementing("provide_agent", refuse)))
    for _ in range(STRIKES + 1):
        [found] = outcome(call(hooks, "provide_agent"))
        assert found.check(ConnectError)


def test_slow_hooks_are_counted() -> None:
    """By name, so that an operator sees which."""
    clock = Clock()
    hooks = hooks_of(("plugin", implementing("task_changed", lambda: clock.advance(0.5))), clock=clock)
    outcome(call(hooks, "task_changed"))
    assert 1 == hooks.tallies("plugin")["task_changed"].slow


# -- Secrets ---------------------------------------------------------------------------------------------------------


def secretive() -> Task:
    settings = Settings(proxy_type="http", proxy_host="p", proxy_port=1, proxy_username="me", proxy_password="hush")
    extensions = Extensions(plugins={"plugin": {"a": 1}, "other": {"b": 2}})
    headers = {"Authorization": ("Bearer hush",), "X-A": ("1",)}
    spec = TaskSpec(url="http://h/", filename="f", settings=settings, headers=headers, extensions=extensions)
    return Task(id="t", spec=spec)


def test_plugins_see_no_secrets() -> None:
    """Neither passwords nor secret headers, nor what was meant for another plugin."""
    seen: list[Any] = []

    class Curious:
        @hookimpl
        def provide_agent(self, request: Request, task: Task) -> None:
            seen.extend([request, task])

    outcome(hooks_of(("plugin", Curious())).ask("provide_agent", request=REQUEST, task=secretive(), attempt=1))
    request, task = seen
    assert (("Cookie", "***"), ("X-A", "1")) == request.headers
    assert {"Authorization": ("***",), "X-A": ("1",)} == task.spec.headers
    assert ("***", "***") == (task.spec.settings.proxy_username, task.spec.settings.proxy_password)
    assert ({"a": 1}, {}) == (dict(task.options_for("plugin")), dict(task.options_for("other")))


def test_plugins_see_no_key_that_the_user_gave() -> None:
    """Wherever segments come: alone, in a row, in a group, in a playlist, and in what stands before them."""
    key = Key(method="AES-128", uri="data:,", value=b"0123456789abcdef")
    segment = Segment(
        **{"position": 1, "number": 1, "uri": "http://h/1", "duration_s": 1.0, "start_s": 0.0},
        discontinuity_sequence=0,
        key=key,
        init=InitSection(uri="http://h/i", key=key),
    )
    playlist = MediaPlaylist(url="http://h/", segments=(segment,), ended=True)
    group = SegmentGroup(discontinuity_sequence=0, segments=(segment,), look=lambda group: pytest.fail("looked"))
    seen: list[Segment] = []

    class Curious:
        @hookimpl
        def skip_segments(
            self, segments: tuple[Segment, ...], groups: tuple[SegmentGroup, ...], playlist: MediaPlaylist
        ) -> None:
            seen.extend([*segments, *groups[0].segments, *playlist.segments])

        @hookimpl
        def segment_finished(self, segment: Segment) -> None:
            seen.append(segment)

    hooks = hooks_of(("plugin", Curious()))
    given = {"segments": (segment,), "groups": (group,), "playlist": playlist, "task": secretive()}
    outcome(hooks.union("skip_segments", **given))
    finished = SegmentOutcome(kind="done", attempts=1, size_bytes=1, reason="")
    outcome(hooks.tell("segment_finished", segment=segment, outcome=finished, task=secretive()))
    bare = attrs.evolve(key, value=None)
    assert [attrs.evolve(segment, key=bare, init=InitSection(uri="http://h/i", key=bare))] * 4 == seen


def test_built_ins_see_everything() -> None:
    """The built-in proxy needs its password."""
    seen: list[Any] = []

    class Ours:
        @hookimpl
        def provide_agent(self, request: Request, task: Task) -> None:
            seen.extend([request, task])

    task = secretive()
    outcome(hooks_of((BUILTIN_PREFIX + "o", Ours())).ask("provide_agent", request=REQUEST, task=task, attempt=1))
    assert [REQUEST, task] == seen


@pytest.mark.parametrize("url", ["http://other/1.ts", "https://h/1.ts", "http://h:81/1.ts"])
def test_secrets_stay_behind_when_a_request_moves(url: str) -> None:
    """A plugin that sends a request to another server does not send the cookies with it."""
    answer = attrs.evolve(REQUEST, url=url, headers=(("Cookie", "***"), ("X-A", "1")), insecure=True)
    [found] = outcome(call(hooks_of(("plugin", implementing("prepare_request", lambda: answer))), "prepare_request"))
    assert (url, (("X-A", "1"),), False) == (found.url, found.headers, found.insecure)


def test_the_user_of_a_url_is_a_secret() -> None:
    """A plugin does not see it, and a request it leaves alone keeps it."""
    request = attrs.evolve(REQUEST, url="http://me:hush@h/1.ts")
    seen: list[str] = []

    class Curious:
        @hookimpl
        def prepare_request(self, request: Request) -> Request:
            seen.append(request.url)
            return attrs.evolve(request, headers=(*request.headers, ("X-B", "2")))

    [found] = outcome(hooks_of(("p", Curious())).pipeline("prepare_request", "request", request, task=TASK))
    assert (["http://h/1.ts"], "http://me:hush@h/1.ts") == (seen, found.url)
    assert (("Cookie", "secret"), ("X-A", "1"), ("X-B", "2")) == found.headers


def test_a_mask_without_a_secret_is_nonsense() -> None:
    """A plugin cannot send the mask itself as a credential."""
    answer = attrs.evolve(REQUEST, headers=(("Authorization", "***"),))
    hooks = hooks_of(("plugin", implementing("prepare_request", lambda: answer)))
    assert_blamed("prepare_request", outcome(call(hooks, "prepare_request")), "Authorization")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_traces_hold_no_secrets(name: str) -> None:
    """--trace-hooks shows who is called with what; never a key, a password or a configuration's values."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(formatEvent(event))

    secret = "h0sh-h0sh-h0sh-h"
    taken = {"configure": "config, services", "check_options": "options", "provide_key": "key, task"}
    body = f"lambda self, {taken[name]}: {secret.encode()!r}" if name in taken else "lambda self: None"
    plugin = type("Plugin", (), {name: hookimpl(eval(body))})()
    hooks = hooks_of(("plugin", plugin), trace=True)
    globalLogPublisher.addObserver(observe)
    try:
        arguments = {"config": {"token": secret}, "services": None, "options": {"token": secret}}
        if name in ("configure", "check_options"):
            given = {argument: arguments[argument] for argument in ARGUMENTS[name]}
            outcome(hooks.own(name, "plugin", **given))
        else:
            outcome(call(hooks, name))
    finally:
        globalLogPublisher.removeObserver(observe)
    [line] = [each for each in lines if f"hook {name} of plugin" in each]
    assert secret not in line


# -- Offers ----------------------------------------------------------------------------------------------------------


def test_offers_with_one_name_twice_stop_the_start() -> None:
    """Two mergers of one name: the operator is told."""

    class Record:
        name = "mp4"
        extension = merge = staticmethod(lambda *_: None)

    class One:
        @hookimpl
        def register_mergers(self) -> list[Any]:
            return [Record()]

    class Two(One):
        pass

    with pytest.raises(ConfigError) as caught:
        load_builtins([One(), Two()], clock=Clock())
    assert '"mp4"' in str(caught.value) and "Two" in str(caught.value)


def test_give_up_is_an_answer() -> None:
    """Each of the three decisions is one."""
    hooks = hooks_of(("plugin", implementing("after_failure", GiveUp)))
    assert [GiveUp()] == outcome(call(hooks, "after_failure"))
