"""The composition root: options, the clock, what is built in."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from m3u8svc.errors import DiskError, ReadOnlyDisk
from m3u8svc.tap import DISK_THREADS, NAME_THREADS, Options, boot_id, insist_on_saving, make_tools, use_monotonic_clock
from tests.needs import memory_disk


def configured(*arguments: str) -> Options:
    options = Options()
    options.parseOptions(list(arguments))
    return options


def test_defaults() -> None:
    """Nothing needs to be said: loopback, three tasks, the user's downloads."""
    configuration = configured()["configuration"]
    assert ("tcp:8080:interface=127.0.0.1",) == configuration.listen
    assert (3, "~/Downloads/m3u8svc") == (configuration.max_active, configuration.save_dir)


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """A flag beats the file, the file beats the default; listen may be repeated."""
    (tmp_path / "c.toml").write_text('max_active = 5\nsave_dir = "/srv/file"\nlisten = ["tcp:2"]\n')
    from_the_file = configured("--config", str(tmp_path / "c.toml"))["configuration"]
    assert (("tcp:2",), "listen") == (from_the_file.listen, from_the_file.listen_named)
    configuration = configured(
        *("--config", str(tmp_path / "c.toml"), "--save-dir", "/srv/flag"),
        *("--listen", "tcp:1:interface=127.0.0.1", "--listen", "unix:/tmp/x"),
        *("--network-mode", "strict", "--allow", "10.0.0.1", "--allow", "nas.example:80"),
    )["configuration"]
    assert "strict" == configuration.network_mode
    assert ["", "nas.example"] == [each.name for each in configuration.network_allow]
    assert (5, "/srv/flag") == (configuration.max_active, configuration.save_dir)
    assert ("tcp:1:interface=127.0.0.1", "unix:/tmp/x") == configuration.listen
    assert ["--listen"] * 2 == [configuration.listen_named, configured()["configuration"].listen_named]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--max-active", "three"), "--max-active"),
        (("--max-active", "0"), "--max-active"),
        (("--max-connections", "many"), "--max-connections"),
        (("--max-connections-per-host", "0"), "--max-connections-per-host"),
        (("--config", "/nowhere/c.toml"), "/nowhere/c.toml"),
        (("--network-mode", "open"), "--network-mode"),
        (("--allow", "10.0.0.1:x"), "--allow"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: tuple[str, ...], named: str) -> None:
    """The message names the option or the value."""
    with pytest.raises(usage.UsageError) as caught:
        configured(*arguments)
    assert named in str(caught.value)


def test_clock_is_monotonic() -> None:
    """The reactor no longer reads the time of day, which somebody may set (R-CLK-1)."""
    reactor = MemoryReactorClock()
    use_monotonic_clock(reactor)
    before = time.monotonic()
    assert before <= reactor.seconds() <= time.monotonic()


def test_builtins_offer_what_the_api_promises() -> None:
    """The mergers mp4 and ts and the storage disk are there without a plugin."""

    def now(function: object, *arguments: object) -> Deferred[object]:
        return maybeDeferred(function, *arguments)  # type: ignore[arg-type]

    tools, _ = make_tools(MemoryReactorClock(), now)
    assert {"mp4", "ts"} == set(tools.plugins.mergers)
    assert {"disk"} == set(tools.plugins.storages)


def test_threads_are_few() -> None:
    """With the store's and the reactor's own there are 16 at most: 8 plugins may have one each (reliability 6.4)."""
    assert DISK_THREADS + NAME_THREADS + 2 <= 24 - 8


def test_boot_id_stays_the_same() -> None:
    """Within one boot it is one value."""
    assert boot_id() == boot_id() != ""


def test_help_loads_neither_reactor_nor_web() -> None:
    """Asking twistd for help, or for our options, leaves the choice of reactor open (anchors T8)."""
    script = (
        "import sys; from m3u8svc.tap import Options; Options().getUsage();"
        "names = ('twisted.internet.reactor', 'klein', 'sqlalchemy', 'pydantic');"
        "print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "[]" == ran.stdout.strip()


def test_a_directory_that_nothing_can_be_saved_in(tmp_path: Path) -> None:
    """It is said why not; one that is not there is made, and nothing is left in it."""
    insist_on_saving(tmp_path / "new" / "films")
    assert [] == os.listdir(tmp_path / "new" / "films")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError):
        insist_on_saving(tmp_path / "file")
    with memory_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for place in (disk, disk / "films"):
            with pytest.raises(ReadOnlyDisk):
                insist_on_saving(place)
