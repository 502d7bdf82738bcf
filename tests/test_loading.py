"""Which plugins there are and how each fares: entry points, choice, configuration, offers."""

import asyncio
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

from m3u8svc.errors import ConfigError, NotConfigured, NotOffered, OptionError, PluginError, PluginUnavailable
from m3u8svc.hookspecs import hookimpl
from m3u8svc.loading import Candidate, PluginSet, installed, load_builtins, load_plugins
from m3u8svc.offerings import MergeJob, MergeResult, Published, Services
from m3u8svc.tasks.plugins import PluginChoice, PluginState
from m3u8svc.tasks.task import Extensions, Settings, Task, TaskSpec

TASK = Task(id="t", spec=TaskSpec(url="http://h/list.m3u8", filename="film"))


def done(coroutine: Any) -> Any:
    """The result of a coroutine that does not wait."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    [result] = found
    if isinstance(result, Failure):
        result.raiseException()
    return result


def services(name: str) -> Services:
    nothing: Any = None  # no test here fetches
    return Services(
        reactor=nothing,
        clock=Clock(),
        in_thread=nothing,
        log=Logger(),
        state_dir=Path("/nowhere") / name,
        fetch=nothing,
    )


def loaded(*plugins: tuple[str, Any], builtins: tuple[object, ...] = (), **given: Any) -> PluginSet:
    """A set with these plugins; each is what its entry point gives, or an exception it raises."""

    def load(plugin: Any) -> Any:
        if isinstance(plugin, BaseException):
            raise plugin
        return plugin

    candidates = [Candidate(name=name, load=lambda plugin=plugin: load(plugin)) for name, plugin in plugins]
    found = load_builtins(builtins, clock=Clock())
    done(load_plugins(found, candidates, services_for=services, **given))
    return found


def states(plugins: PluginSet) -> dict[str, tuple[str, str]]:
    return {status.name: (status.state.value, status.reason) for status in plugins.statuses()}


def configuring(body: Any) -> object:
    class Plugin:
        @hookimpl
        def configure(self, config: Any) -> None:
            body(config)

    return Plugin()


def raising(error: BaseException) -> Any:
    def body(config: Any) -> None:
        raise error

    return body


class Plain:
    """A plugin that does nothing."""


class Unspeakable(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


# -- Entry points ----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for fake distributions; what they import is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def distribute(site: Path, name: str, module: str, code: str, *, entry: str = "", target: str = "") -> None:
    """A distribution of one module with one entry point, as pip would leave it."""
    info = site / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[m3u8svc]\n{entry or module} = {target or module}\n")
    (site / f"{module}.py").write_text(textwrap.dedent(code))


def test_entry_points_fare_one_by_one(site: Path) -> None:
    """A good one is active; one that does not import, and one with a typo, take nothing from it."""
    hook = "from m3u8svc.plugin import hookimpl\n@hookimpl\ndef {name}(): pass\n"
    distribute(site, "m3u8svc-good", "good_plugin", hook.format(name="close"))
    distribute(site, "m3u8svc-lacking", "lacking_plugin", "import no_such_library\n")
    distribute(site, "m3u8svc-typo", "typo_plugin", hook.format(name="chose_variant"))
    distribute(site, "m3u8svc-exits", "exits_plugin", "raise SystemExit(2)\n")
    plugins = load_builtins((), clock=Clock())
    ours = [each for each in installed() if each.distribution.startswith("m3u8svc-") and "_plugin" in each.name]
    done(load_plugins(plugins, ours, services_for=services))
    assert {
        "exits_plugin": ("broken", "SystemExit: 2"),
        "good_plugin": ("active", ""),
        "lacking_plugin": ("broken", "ModuleNotFoundError: No module named 'no_such_library'"),
        "typo_plugin": ("active", ""),
    } == states(plugins)
    good, typo = (status for status in plugins.statuses() if status.state is PluginState.ACTIVE)
    assert ("1.2", "m3u8svc-good") == (good.version, good.distribution)
    assert ("there is no hook chose_variant; did you mean choose_variant?",) == typo.warnings


def test_a_plugin_that_is_not_enabled_is_not_imported(site: Path) -> None:
    """Its code does not run at all."""
    distribute(site, "m3u8svc-marker", "marker_plugin", f"open({str(site / 'ran')!r}, 'w')\n")
    ours = [each for each in installed() if each.name == "marker_plugin"]
    plugins = load_builtins((), clock=Clock())
    done(load_plugins(plugins, ours, services_for=services, choice=PluginChoice(enabled=())))
    assert ("off", "not enabled in [plugins]") == states(plugins)["marker_plugin"]
    assert not (site / "ran").exists()


def test_a_class_is_made_an_object() -> None:
    """An entry point may name a class or function without arguments; each service has its own object."""
    made = []

    class Plugin:
        def __init__(self) -> None:
            made.append(self)

    loaded(("a", Plugin))
    loaded(("a", Plugin))
    assert 2 == len(made)


def test_one_name_twice() -> None:
    """The second plugin of a name is not loaded, and the first stays."""
    plugins = loaded(("a", Plain()), ("a", ValueError("never loaded")))
    assert {"a": ("active", "")} == states(plugins)


# -- How each fares --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "state", "reason"),
    [
        (Plain(), "active", ""),
        (configuring(raising(NotConfigured(reason="no token"))), "off", "no token"),
        (configuring(raising(ValueError("oops"))), "broken", "ValueError: oops"),
        (configuring(raising(SystemExit(1))), "broken", "SystemExit: 1"),
        (ValueError("at import"), "broken", "ValueError: at import"),
    ],
)
def test_status(plugin: Any, state: str, reason: str) -> None:
    """Active, off on purpose, or broken with a reason; the start goes on."""
    found = states(loaded(("other", Plain()), ("plugin", plugin)))
    assert (state, "active") == (found["plugin"][0], found["other"][0])
    assert reason in found["plugin"][1]


def test_a_broken_plugin_is_not_called() -> None:
    """It was registered before it was configured; afterwards it is gone."""

    class Plugin:
        @hookimpl
        def configure(self) -> None:
            raise ValueError("oops")

        @hookimpl
        def provide_agent(self) -> Any:
            raise AssertionError("called")

    plugins = loaded(("plugin", Plugin()))
    assert done(plugins.hooks.ask("provide_agent", request=None, task=None, attempt=1)) is None


def test_wrong_arguments_break_a_plugin() -> None:
    """An argument no hook has is named."""

    class Plugin:
        @hookimpl
        def choose_variant(self, master: Any, quality: Any) -> None: ...

    state, reason = states(loaded(("plugin", Plugin())))["plugin"]
    assert ("broken", True) == (state, "quality" in reason)


def test_wrappers_are_refused() -> None:
    """A generator around a hook cannot wait for a Deferred."""

    class Plugin:
        @hookimpl(wrapper=True)
        def choose_variant(self) -> Any:
            return (yield)

    assert ("broken", "hook wrappers are not supported") == states(loaded(("plugin", Plugin())))["plugin"]


def test_configuration_is_its_own_table() -> None:
    """A plugin sees its own table and nothing else."""
    seen: list[Any] = []
    loaded(("a", configuring(seen.append)), ("b", configuring(seen.append)), configs={"a": {"x": 1}, "c": {"y": 2}})
    assert [{"x": 1}, {}] == seen


@pytest.mark.parametrize("where", ["token", "plugins.a.token", ""])
def test_wrong_configuration_stops_the_start(where: str) -> None:
    """The path names the plugin's table however the plugin spelled it."""
    with pytest.raises(ConfigError) as caught:
        loaded(("a", configuring(raising(ConfigError(where=where, reason="must be text")))))
    assert ("plugins.a.token" if where else "plugins.a") == caught.value.fields["where"]


# -- The operator's choice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (PluginChoice(), {"a": "active", "b": "active"}),
        (PluginChoice(enabled=("b",)), {"a": "off", "b": "active"}),
        (PluginChoice(enabled=(), required=("a",)), {"a": "active", "b": "off"}),
        (PluginChoice(disabled=("b",)), {"a": "active", "b": "off"}),
        (PluginChoice(none=True, required=("a",)), {"a": "off", "b": "off"}),
    ],
)
def test_choice(choice: PluginChoice, expected: dict[str, str]) -> None:
    """All by default; `enabled` restricts, `disabled` leaves out, `required` is enabled."""
    plugins = loaded(("a", Plain()), ("b", Plain()), choice=choice)
    assert expected == {name: state for name, (state, _) in states(plugins).items()}


@pytest.mark.parametrize(
    ("choice", "where", "words"),
    [
        (PluginChoice(enabled=("skip-add",)), "plugins.enabled", "did you mean skip-ads?"),
        (PluginChoice(required=("other",)), "plugins.required", "installed: broken, skip-ads"),
        (PluginChoice(required=("broken",)), "plugins.required", "broken is broken: ValueError: oops"),
        (
            PluginChoice(enabled=("skip-ads",), disabled=("skip-ads",)),
            "plugins.disabled",
            "enabled or required as well",
        ),
    ],
)
def test_choice_that_cannot_be(choice: PluginChoice, where: str, words: str) -> None:
    """What the operator asked for and cannot have stops the start: running without it would be a lie."""
    with pytest.raises(ConfigError) as caught:
        loaded(("broken", ValueError("oops")), ("skip-ads", Plain()), choice=choice)
    assert (where, True) == (caught.value.fields["where"], words in str(caught.value))


# -- Options of a request --------------------------------------------------------------------------------------------


class Choosy:
    @hookimpl
    def check_options(self, options: Any) -> None:
        if "quality" not in options:
            raise OptionError(path="quality", reason="must be there")


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"choosy": {}}, "plugins.choosy.quality", "must be there"),
        ({"plain": {"x": 1}}, "plugins.plain", "没有选项"),
        ({"unknown": {}}, "plugins.unknown", "choosy、off、plain"),
        ({"off": {}}, "plugins.off", "no token"),
    ],
)
def test_options_that_are_refused(options: Any, path: str, words: str) -> None:
    """By the plugin itself, or because there is none that could: the path is that of the request."""
    off = configuring(raising(NotConfigured(reason="no token")))
    plugins = loaded(("choosy", Choosy()), ("off", off), ("plain", Plain()))
    with pytest.raises(OptionError) as caught:
        done(plugins.check_options(options))
    assert (path, True) == (caught.value.fields["path"], words in str(caught.value.fields["reason"]))
    assert caught.value.text("en").isascii()


def test_options_that_are_taken() -> None:
    """Also none at all, for a plugin that has none."""
    plugins = loaded(("choosy", Choosy()), ("plain", Plain()))
    done(plugins.check_options({"choosy": {"quality": 1}, "plain": {}}))


# -- Offers ----------------------------------------------------------------------------------------------------------


class Record:
    """A merger."""

    name = "mine"

    def __init__(self, result: Any = None) -> None:
        self.result = result

    def extension(self, task: Task) -> Any:
        return ".mine"

    async def merge(self, job: MergeJob, parts: Any, progress: Any) -> Any:
        self.seen = job.task
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def offering(record: Any) -> object:
    class Plugin:
        @hookimpl
        def register_mergers(self) -> Any:
            return [record]

    return Plugin()


def test_an_offer_can_be_named() -> None:
    """Beside those that are built in, and `none`."""
    plugins = loaded(("a", offering(Record())))
    assert ("mine", "none") == plugins.merger_names
    assert ".mine" == plugins.merger("mine").extension(TASK)


def test_nobody_offers_it() -> None:
    """The error names what there is, and which plugins are away."""
    plugins = loaded(("a", offering(Record())), ("sad", ValueError("oops")))
    with pytest.raises(NotOffered) as caught:
        plugins.merger("ffmpeg")
    assert "known: mine, none" in str(caught.value) and "sad: ValueError: oops" in str(caught.value)


@pytest.mark.parametrize("record", [object(), type("Nameless", (), {"name": ""})(), type("Bare", (), {"name": "x"})()])
def test_an_offer_that_is_none(record: Any) -> None:
    """A record without its name or methods makes the plugin broken, and offers nothing."""
    plugins = loaded(("a", offering(record)))
    assert ("broken", ("none",)) == (states(plugins)["a"][0], plugins.merger_names)


@pytest.mark.parametrize("name", ["mine", "none"])
def test_an_offer_of_a_taken_name(name: str) -> None:
    """Two of one name are the operator's to settle."""
    second = Record()
    second.name = name
    with pytest.raises(ConfigError, match=f'"{name}" of plugin b is offered already'):
        loaded(("a", offering(Record())), ("b", offering(second)))


@pytest.mark.parametrize("name", ["builtin.agent", "", "../up", "a/b", ".hidden"])
def test_a_name_that_is_none(name: str) -> None:
    """It could pass for one of ours, or leave its directory: it is not loaded."""
    plugins = loaded((name, ValueError("never loaded")), ("good", Plain()))
    assert ("broken", "active") == (states(plugins)[name][0], states(plugins)["good"][0])


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), asyncio.CancelledError(), CancelledError(), GeneratorExit(), Unspeakable()]
)
def test_an_import_that_raises_anything(error: BaseException) -> None:
    """Whatever it is, it is this plugin's, and the start goes on."""
    plugins = loaded(("plugin", error), ("good", Plain()))
    assert ("broken", "active") == (states(plugins)["plugin"][0], states(plugins)["good"][0])


@pytest.mark.parametrize(
    "result",
    [
        CancelledError(),
        SystemExit(2),
        KeyboardInterrupt(),
        Unspeakable(),
        ValueError("oops"),
        None,
        MergeResult(size_bytes=4, duration_s=None),  # type: ignore[arg-type]
        MergeResult(size_bytes=4, duration_s=1.0, warnings=(object(),)),  # type: ignore[arg-type]
        MergeResult(size_bytes=5, duration_s=1.0),
        MergeResult(size_bytes=0, duration_s=1.0),
    ],
)
def test_a_merger_that_lies(result: Any, tmp_path: Path) -> None:
    """What it raises, and a result that is not the file's, is a failure with the plugin's name."""
    target = tmp_path / "target"
    target.write_bytes(b"1234")
    plugins = loaded(("a", offering(Record(result))))
    with pytest.raises(PluginError) as caught:
        done(plugins.merger("mine").merge(MergeJob(target=target, task=TASK), None, None))  # type: ignore[arg-type]
    assert "a" == caught.value.fields["plugin"]


def test_what_a_task_needs() -> None:
    """A plugin that is there, active, and what it offers; otherwise the task fails with its name."""
    plugins = loaded(("a", Plain()), ("sad", ValueError("oops")), builtins=(offering(Record()), Shelf()))
    plugins.need(Extensions(merger="mine", storage="shelf", plugins={"a": {}}))
    plugins.need(Extensions(merger="none", storage="nowhere"))
    for extensions, error in (
        (Extensions(merger="mine", storage="shelf", plugins={"sad": {}}), PluginUnavailable),
        (Extensions(merger="mine", storage="shelf", plugins={"gone": {}}), PluginUnavailable),
        (Extensions(merger="gone", storage="shelf"), NotOffered),
        (Extensions(merger="mine", storage="gone"), NotOffered),
    ):
        with pytest.raises(error):
            plugins.need(extensions)


class Shelf:
    """A built-in with a storage."""

    name = "shelf"
    staging = recover = publish = remove = staticmethod(lambda *_: None)

    @hookimpl
    def register_storage(self) -> Any:
        return [self]


def test_closing() -> None:
    """Every active plugin is told; one that fails holds nobody up."""
    closed: list[str] = []

    def closing(name: str) -> object:
        class Plugin:
            @hookimpl
            def close(self) -> None:
                closed.append(name)
                if name == "a":
                    raise ValueError("stuck")

        return Plugin()

    done(loaded(("a", closing("a")), ("b", closing("b"))).close())
    assert ["a", "b"] == closed


class Secretive:
    """A merger and storage that remembers what it was shown."""

    name = "curious"

    def __init__(self, seen: list[Task]) -> None:
        self.seen = seen

    def extension(self, task: Task) -> str:
        self.seen.append(task)
        return ".x"

    async def merge(self, job: MergeJob, parts: Any, progress: Any) -> MergeResult:
        self.seen.append(job.task)
        return MergeResult(size_bytes=4, duration_s=1.0)

    def staging(self, task: Task, name: str, extension: str) -> Path:
        self.seen.append(task)
        return Path("/x")

    async def recover(self, task: Task, name: str, extension: str) -> None:
        self.seen.append(task)

    async def publish(self, task: Task, staged: Path, name: str, extension: str) -> Published:
        self.seen.append(task)
        return Published(location="x", size_bytes=4)

    async def remove(self, task: Task, location: str) -> None:
        self.seen.append(task)

    @hookimpl
    def register_mergers(self) -> Any:
        return [self]

    @hookimpl
    def register_storage(self) -> Any:
        return [self]


def test_mergers_and_storages_see_no_secrets(tmp_path: Path) -> None:
    """Neither a password nor a cookie nor what was meant for another plugin, in any of their methods."""
    seen: list[Task] = []
    plugins = loaded(("curious", Secretive(seen)))
    settings = Settings(proxy_type="http", proxy_host="p", proxy_port=1, proxy_password="hush-hush")
    extensions = Extensions(plugins={"other": {"token": "hush-hush"}})
    spec = TaskSpec(
        url="http://me:hush-hush@h/list.m3u8",
        filename="f",
        settings=settings,
        headers={"Cookie": ("hush-hush",)},
        extensions=extensions,
    )
    task = Task(id="t", spec=spec)
    target = tmp_path / "target"
    target.write_bytes(b"1234")
    merger, storage = plugins.merger("curious"), plugins.storage("curious")
    merger.extension(task)
    done(merger.merge(MergeJob(target=target, task=task), None, None))  # type: ignore[arg-type]
    storage.staging(task, "f", ".x")
    done(storage.recover(task, "f", ".x"))
    done(storage.publish(task, target, "f", ".x"))
    done(storage.remove(task, "x"))
    assert 6 == len(seen)
    shown = [(each.spec.url, each.spec.headers, each.spec.settings, each.spec.extensions.plugins) for each in seen]
    assert all("hush" not in str((url, headers, settings.proxy_password, own)) for url, headers, settings, own in shown)


@pytest.mark.parametrize(
    "answer",
    [None, "x", Published(location="", size_bytes=1), Published(location="x", size_bytes="1")],  # type: ignore[arg-type]
)
def test_a_storage_that_lies(answer: Any, tmp_path: Path) -> None:
    """What it answers is looked at before it is stored with the task."""
    storage = Secretive([])

    async def publish(task: Task, staged: Path, name: str, extension: str) -> Any:
        return answer

    storage.publish = publish  # type: ignore[method-assign]
    with pytest.raises(PluginError, match="publish"):
        done(loaded(("a", storage)).storage("curious").publish(TASK, tmp_path, "f", ".x"))


def test_withdrawing_from_a_merger_waits_for_its_end() -> None:
    """A pause is answered when the merger has stopped, and is no failure of the plugin."""
    ended: list[str] = []
    stopped: Deferred[None] = Deferred()

    class Slow(Record):
        async def merge(self, job: MergeJob, parts: Any, progress: Any) -> Any:
            try:
                await Deferred()
            finally:
                await stopped
                ended.append("merge")

    merger = loaded(("a", offering(Slow()))).merger("mine")
    found: list[Any] = []
    waiting = Deferred.fromCoroutine(merger.merge(MergeJob(target=Path("/x"), task=TASK), None, None))  # type: ignore[arg-type]
    waiting.addBoth(found.append)
    waiting.cancel()
    assert ([], []) == (found, ended)
    stopped.callback(None)
    assert (["merge"], True) == (ended, bool(found[0].check(CancelledError)))
