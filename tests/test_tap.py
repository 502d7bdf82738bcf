"""The composition root: options, the clock, what is built in."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python import usage

from m3u8svc.tap import Options, boot_id, make_tools, use_monotonic_clock


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
    (tmp_path / "c.toml").write_text('max_active = 5\nsave_dir = "/srv/file"\n')
    configuration = configured(
        *("--config", str(tmp_path / "c.toml"), "--save-dir", "/srv/flag"),
        *("--listen", "tcp:1:interface=127.0.0.1", "--listen", "unix:/tmp/x"),
    )["configuration"]
    assert (5, "/srv/flag") == (configuration.max_active, configuration.save_dir)
    assert ("tcp:1:interface=127.0.0.1", "unix:/tmp/x") == configuration.listen


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--max-active", "three"), "--max-active"),
        (("--max-active", "0"), "--max-active"),
        (("--config", "/nowhere/c.toml"), "/nowhere/c.toml"),
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
