"""How hooks are called: order, isolation, blame."""

from typing import Any

import pluggy
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from m3u8svc import hookspecs
from m3u8svc.errors import ConfigError, PluginError, ProxyUnsupported
from m3u8svc.hooks import BUILTIN_PREFIX, Hooks
from m3u8svc.hookspecs import FAIL_CLOSED, KINDS, PROJECT, hookimpl
from m3u8svc.loading import load_builtins


def hooks_of(*plugins: tuple[str, object], clock: Clock | None = None) -> Hooks:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, plugin in plugins:
        manager.register(plugin, name)
    return Hooks(manager, clock=clock or Clock())


def outcome(coroutine: Any) -> list[Any]:
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    return found


def choosing(answer: Any) -> object:
    """A plugin whose choose_variant answers, or raises, `answer`."""

    class Chooser:
        @hookimpl
        def choose_variant(self, master: Any) -> Any:
            if isinstance(answer, BaseException):
                raise answer
            return answer

    return Chooser()


class Default:
    """A built-in with an answer of its own."""

    @hookimpl(trylast=True)
    def choose_variant(self) -> str:
        return "default"


DEFAULT = (BUILTIN_PREFIX + "Default", Default())


def ask(*plugins: tuple[str, object], clock: Clock | None = None) -> list[Any]:
    return outcome(hooks_of(DEFAULT, *plugins, clock=clock).ask("choose_variant", master=None, task=None))


def test_every_hook_has_a_kind() -> None:
    """No hook is called in a sixth way."""
    marked = {name for name in vars(hookspecs) if hasattr(vars(hookspecs)[name], f"{PROJECT}_spec")}
    assert marked == set(KINDS)
    assert FAIL_CLOSED <= marked


@pytest.mark.parametrize("name", sorted(KINDS))
def test_docstring_begins_with_the_kind(name: str) -> None:
    """The first word of a hook's docstring is how it is called."""
    documented = (getattr(hookspecs, name).__doc__ or "").strip()
    assert documented.startswith(f"*{KINDS[name]}*")


@pytest.mark.parametrize("answer", ["mine", succeed("mine")])
def test_ask_last_registered_wins(answer: Any) -> None:
    """A plugin's answer, value or awaitable, comes before the built-in's."""
    assert ["mine"] == ask(("plugin", choosing(answer)))


@pytest.mark.parametrize("answer", [None, succeed(None)])
def test_ask_none_is_no_opinion(answer: Any) -> None:
    """None, also from a Deferred, passes the question on."""
    assert ["default"] == ask(("plugin", choosing(answer)))


@pytest.mark.parametrize("answer", [ValueError("no"), SystemExit(3), fail(ValueError("no"))])
def test_ask_broken_plugin_is_passed_over(answer: Any) -> None:
    """A plugin that raises, even SystemExit, loses its say and nothing else."""
    assert ["default"] == ask(("plugin", choosing(answer)))


def test_ask_hanging_plugin_is_passed_over_after_its_deadline() -> None:
    """Five seconds, then the next is asked."""
    clock = Clock()
    found = ask(("plugin", choosing(Deferred())), clock=clock)
    clock.advance(4.9)
    assert [] == found
    clock.advance(0.2)
    assert ["default"] == found


def test_ask_arguments_are_a_subset() -> None:
    """An implementation takes the arguments it wants."""

    class Curious:
        @hookimpl
        def choose_variant(self, task: Any, master: Any) -> Any:
            return (task, master)

    found = outcome(hooks_of(("p", Curious())).ask("choose_variant", master="m", task="t"))
    assert [("t", "m")] == found


class BrokenAgent:
    @hookimpl
    def provide_agent(self) -> Any:
        raise ValueError("proxy list unreadable")


class DirectAgent:
    @hookimpl(trylast=True)
    def provide_agent(self) -> str:
        return "direct"


def test_provide_agent_fails_closed() -> None:
    """A broken proxy plugin is an error, never a direct connection; the error names it."""
    hooks = hooks_of((BUILTIN_PREFIX + "direct", DirectAgent()), ("proxies", BrokenAgent()))
    (found,) = outcome(hooks.ask("provide_agent", request=None, task=None, attempt=1))
    assert isinstance(found, Failure) and found.check(PluginError)
    assert "proxies" in str(found.value) and "proxy list unreadable" in str(found.value)


def test_builtin_errors_pass_through() -> None:
    """What a built-in raises on purpose is the answer, not a plugin's failure."""

    class Refusing:
        @hookimpl
        def provide_agent(self) -> Any:
            raise ProxyUnsupported(proxy_type="socks5", reason="")

    (found,) = outcome(
        hooks_of((BUILTIN_PREFIX + "r", Refusing())).ask("provide_agent", request=None, task=None, attempt=1)
    )
    assert isinstance(found, Failure) and found.check(ProxyUnsupported)


def test_union_joins_answers_and_survives_a_broken_one() -> None:
    """Everybody's answer counts; a broken plugin's does not."""

    class Skipping:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        @hookimpl
        def skip_segments(self) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    hooks = hooks_of(
        ("a", Skipping([1])), ("b", Skipping(ValueError("x"))), ("c", Skipping(None)), ("d", Skipping([2]))
    )
    (found,) = outcome(hooks.union("skip_segments", segments=(), task=None))
    assert [("d", [2]), ("a", [1])] == [(answer.plugin, answer.value) for answer in found]


def test_pipeline_passes_the_changed_value_on() -> None:
    """Each may change it; None leaves it; an error fails the whole."""

    class Adding:
        def __init__(self, what: str | None) -> None:
            self.what = what

        @hookimpl
        def prepare_request(self, request: str) -> str | None:
            return None if self.what is None else request + self.what

    class Failing:
        @hookimpl
        def prepare_request(self, request: str) -> str:
            raise ValueError("no signature")

    good = hooks_of(("a", Adding("a")), ("b", Adding(None)), ("c", Adding("c")))
    assert [".ca"] == outcome(good.pipeline("prepare_request", "request", ".", task=None))
    (found,) = outcome(hooks_of(("x", Failing())).pipeline("prepare_request", "request", ".", task=None))
    assert isinstance(found, Failure) and found.check(PluginError)


def test_tell_reaches_everybody() -> None:
    """One that raises does not keep the news from the others."""
    heard: list[str] = []

    class Listening:
        def __init__(self, name: str) -> None:
            self.name = name

        @hookimpl
        def task_changed(self) -> None:
            heard.append(self.name)
            if self.name == "b":
                raise ValueError("b is broken")

    assert [None] == outcome(hooks_of(*((n, Listening(n)) for n in "abc")).tell("task_changed", task=1, previous=None))
    assert ["c", "b", "a"] == heard


def test_offers_with_one_name_twice_stop_the_start() -> None:
    """Two mergers of one name: the operator is told both owners."""

    class Record:
        name = "mp4"

    class One:
        @hookimpl
        def register_mergers(self) -> list[Any]:
            return [Record()]

    class Two(One):
        pass

    with pytest.raises(ConfigError) as caught:
        load_builtins([One(), Two()], clock=Clock())
    assert '"mp4"' in str(caught.value) and "One" in str(caught.value) and "Two" in str(caught.value)
