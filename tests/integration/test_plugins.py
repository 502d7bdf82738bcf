"""
Plugins in the real service: however broken, they take nothing from it; what they are for works.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3u8svc.hookspecs import FAIL_CLOSED, KINDS
from tests.integration.conftest import require
from tests.integration.foreign import WAYS, blocked, distribute, let_go, misbehaving
from tests.integration.media import Stream, packets
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service, running

IMPATIENT = {"blocks": "[plugins]\ndeadline_s = 0.2\n", "hangs": "[plugins]\ndeadline_s = 0.2\n"}
"""A short deadline, by the ways that never end; whoever answers has the time that it has."""


@contextmanager
def service_with(place: Path, site: Path, configuration: str = "") -> Iterator[Service]:
    """A service that finds the plugins in `site`."""
    require("curl")
    place.mkdir(exist_ok=True)
    (place / "m3u8svc.toml").write_text(configuration)
    options = ("--config", str(place / "m3u8svc.toml"))
    with running(place, *options, before=("env", f"PYTHONPATH={site}")) as service:
        yield service


class Watched:
    """
    Asks for the list all the time from a thread; `statuses` are the answers, 0 for none.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.statuses: set[int] = set()

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            try:
                self.statuses.add(self._service.ask("GET", "/api/tasks").status)
            except AssertionError:
                self.statuses.add(0)


def states(service: Service) -> dict[str, str]:
    return {each["name"]: each["state"] for each in service.ask("GET", "/api/plugins").value["plugins"]}


OPEN = sorted(KINDS.keys() - FAIL_CLOSED)


@pytest.mark.parametrize("way", WAYS)
def test_broken_plugins_take_nothing_from_a_task(
    tmp_path: Path, nginx: Nginx, streams: dict[str, Stream], way: str
) -> None:
    """A plugin for each hook that does not fail closed, all broken in one way: the film is whole, the API answers."""
    site = tmp_path / "site"
    names = {hook: misbehaving(site, hook, way) for hook in OPEN}
    with service_with(tmp_path / "service", site, IMPATIENT.get(way, "")) as service:
        with Watched(service) as watched:
            at_start = states(service)
            refused = service.ask(
                "POST", "/api/tasks", {"url": nginx.base, "filename": "x", "plugins": {names["check_options"]: {}}}
            )
            films = [service.finish(nginx.base + streams[kind].path, kind) for kind in ("multivariant", "aes")]
            states_then = states(service)
            if way == "blocks":
                # The answers came while somebody was inside of these, and of all others that were asked.
                assert {"configure", "check_options", "segment_finished", "task_changed"} <= blocked(site)
                let_go(site)
        assert {200} == watched.statuses
        assert [streams[kind].packets for kind in ("multivariant", "aes")] == [
            packets(Path(film["output"])) for film in films
        ]
        broken = {hook for hook in OPEN if at_start[names[hook]] == "broken"}
        expected = {"configure", "register_mergers", "register_storage"}
        # An object() is nothing that configure or check_options promise to give, and nobody looks at it.
        assert (expected - {"configure"} if way == "nonsense" else expected) == broken
        assert (200 if way == "nonsense" else 400) == refused.status
        if way != "nonsense":
            assert names["check_options"] in refused.text
        told = {hook for hook in OPEN if states_then[names[hook]] == "disabled"}
        disabled = {"task_changed", "segment_finished"} if way != "nonsense" else set()
        # Workers that wait for one hanging hook together are one failure; how often that is, is the machine's to say.
        looked_at = {"task_changed", "segment_finished"} - ({"segment_finished"} if way == "hangs" else set())
        assert disabled & looked_at == told & looked_at


@pytest.mark.parametrize("hook", sorted(FAIL_CLOSED))
@pytest.mark.parametrize("way", WAYS)
def test_what_fails_closed_fails_the_task(
    tmp_path: Path, nginx: Nginx, streams: dict[str, Stream], way: str, hook: str
) -> None:
    """No request goes out past a broken proxy or signature; the task names the plugin, the API answers."""
    site = tmp_path / "site"
    name = misbehaving(site, hook, way)
    before = len(nginx.lines())
    configuration = IMPATIENT.get(way, "")
    with service_with(tmp_path / "service", site, configuration) as service, Watched(service) as watched:
        for number in range(4):  # the fourth finds it disabled, and still closed
            failed = service.fail(nginx.base + streams["plain"].path, f"film{number}")
            assert ("plugin_failed", True) == (failed["err_code"], name in failed["err_msg"])
        assert "disabled" == states(service)[name]
        if way == "blocks":
            assert {hook} == blocked(site)
            let_go(site)
    assert before == len(nginx.lines())
    assert {200} == watched.statuses


def test_a_plugin_that_breaks_at_the_start(tmp_path: Path, nginx: Nginx, streams: dict[str, Stream]) -> None:
    """The service starts and says so; a stored task that needs the plugin fails with its name, others go on."""
    site = tmp_path / "site"
    good = "from m3u8svc.plugin import hookimpl\nclass Plugin:\n    @hookimpl\n    def check_options(self): pass\n"
    distribute(site, "needed", good)
    with service_with(tmp_path / "service", site) as service:
        assert {"needed": "active"} == states(service)
        slow = nginx.base + streams["plain"].path
        tasks = [service.add(slow, name, plugins={"needed": {}}) for name in ("one",)]
        assert 200 == service.put(tasks[0], "已暂停").status or service.task(tasks[0])["status"] == "已完成"
    next(site.glob("*.py")).write_text("import no_such_library\n")
    with service_with(tmp_path / "service", site) as service:
        [status] = service.ask("GET", "/api/plugins").value["plugins"]
        assert ("broken", True) == (status["state"], "no_such_library" in status["reason"])
        assert "plugin needed 1.0 is broken: ModuleNotFoundError" in service.log
        answer = service.ask("POST", "/api/tasks", {"url": slow, "filename": "two", "plugins": {"needed": {}}})
        assert (400, True) == (answer.status, "plugins.needed" in answer.text and "no_such_library" in answer.text)
        if service.task(tasks[0])["status"] == "已暂停":
            service.put(tasks[0], "等待中")
            failed = service.wait(tasks[0], "失败")
            assert ("plugin_unavailable", True) == (failed["err_code"], "needed" in failed["err_msg"])
        assert streams["plain"].packets == packets(Path(service.finish(slow, "three")["output"]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"merger": "ffmpeg"}, ["merger: ", "mp4、ts、none"]),
        ({"storage": "s3"}, ["storage: ", "disk"]),
        ({"plugins": {"skip-ads": {}}}, ["plugins.skip-ads", "picky"]),
        ({"plugins": {"picky": {"colour": 1}}}, ["plugins.picky.colour", "no such option"]),
        ({"plugins": {"picky": 1}}, ["plugins: "]),
        ({"plugins": []}, ["plugins: "]),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, fields: dict[str, object], words: list[str]) -> None:
    """400 with the path in the request, and what there is; also for the system settings."""
    code = """
    from m3u8svc.plugin import OptionError, hookimpl

    class Plugin:
        @hookimpl
        def check_options(self, options):
            for name in options:
                raise OptionError(path=name, reason="no such option")
    """
    distribute(tmp_path / "site", "picky", code)
    with service_with(tmp_path / "service", tmp_path / "site") as service:
        for target, body in (
            ("/api/tasks", {"url": "http://h/x.m3u8", "filename": "f"} | fields),
            ("/api/settings", fields),
        ):
            answer = service.ask("POST", target, body)
            assert 400 == answer.status
            assert all(word in answer.text for word in words), answer.text
        assert [] == service.ask("GET", "/api/tasks").value


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ("[plugins]\nenabled = ['pickey']", ["plugins.enabled", "pickey is not installed", "did you mean picky?"]),
        ("[plugins]\nrequired = ['gone']", ["plugins.required", "gone is not installed"]),
        ("[plugins]\nenabled = 'picky'", ["plugins.enabled", "must be a list of names"]),
        ("[plugins]\ndeadline_s = 0", ["plugins.deadline_s", "must be a number of seconds"]),
        ("[plugins.picky]\ncolour = 'red'", ["plugins.picky.colour", "must be blue"]),
        ("[settings]\nmerger = 'mkv'", ["settings.merger", "mp4, ts, none"]),
    ],
)
def test_a_wrong_choice_stops_the_start(tmp_path: Path, configuration: str, words: list[str]) -> None:
    """One line that names the key and what there is; no traceback."""
    code = """
    from m3u8svc.plugin import ConfigError, hookimpl

    class Plugin:
        @hookimpl
        def configure(self, config):
            if "colour" in config:
                raise ConfigError(where="colour", reason="must be blue")
    """
    distribute(tmp_path / "site", "picky", code)
    service: list[Service] = []
    with (
        pytest.raises(AssertionError) as caught,
        service_with(tmp_path / "service", tmp_path / "site", configuration) as it,
    ):
        service.append(it)
    assert [] == service
    assert all(word in str(caught.value) for word in words), caught.value
    assert "Traceback" not in str(caught.value)


def test_no_plugins(tmp_path: Path) -> None:
    """A safe start: nothing of them is imported."""
    distribute(tmp_path / "site", "marker", f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "service").mkdir()
    before = ("env", f"PYTHONPATH={tmp_path / 'site'}")
    with running(tmp_path / "service", "--no-plugins", before=before) as service:
        assert {"plugins": [], "mergers": ["mp4", "ts", "none"], "storages": ["disk"]} == (
            service.ask("GET", "/api/plugins").value
        )
    assert not (tmp_path / "ran").exists()
