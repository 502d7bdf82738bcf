"""
Installing and launching: the wheel in an environment of its own, twistd and the console script, and every way in which
starting is refused.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from m3u8svc import __version__
from tests.databases import empty_postgres, on_server
from tests.integration.media import Stream, packets
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import LOOPBACK, STOPS_WITHIN_S, TWISTD, Service
from tests.needs import lacking

PROJECT = Path(__file__).parents[2]
SHIPPED = ("m3u8svc", "twisted", "pyproject.toml", "README.md", "LICENSE")
WAYS = {
    "twistd": [str(TWISTD), "--nodaemon", "--pidfile=", "m3u8svc"],
    "serve": [str(TWISTD.with_name("m3u8svc")), "serve"],
}
every_way = pytest.mark.parametrize("way", WAYS)


def launch(way: str, *options: str, cwd: Path) -> tuple[int, str]:
    """
    Run the service expecting that it refuses to start: its status and what it printed.
    """
    command = [*WAYS[way], *options]
    ran = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    return ran.returncode, ran.stdout.decode()


# -- The wheel -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The project's wheel, built from a copy in which twistd has left its cache.
    """
    place = tmp_path_factory.mktemp("project")
    for name in SHIPPED:
        source = PROJECT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, place / name)
    (place / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place / "dist"), str(place)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [built] = (place / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The scripts of a fresh environment with the wheel in it; dependencies are those of this environment.
    """
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(place / "bin/python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = place.glob("lib/python*/site-packages")
    # One line that is no import: .pth files over there, our own editable link among them, are not followed.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = place / "bin" / "twistd"
    script.write_text(f"#!{place}/bin/python\nfrom twisted.scripts.twistd import run\nrun()\n")
    script.chmod(0o755)
    return place / "bin"


def output_of(*command: object) -> str:
    """
    What a command prints, run from the root directory, where no source is near.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd="/", env=environ, capture_output=True, text=True, check=False)
    assert (0, "") == (ran.returncode, ran.stderr), ran.stdout + ran.stderr
    return ran.stdout


class TestWheel:
    """What is in the wheel, and that it works."""

    def test_holds_everything_and_nothing_else(self, wheel: Path) -> None:
        """The drop-in and the files of the pages are in; twistd's cache, tests and a twisted/__init__.py are not."""
        names = set(zipfile.ZipFile(wheel).namelist())
        assert {"twisted/plugins/m3u8svc_dropin.py"} == {name for name in names if name.startswith("twisted")}
        wanted = {f"m3u8svc/{name}" for name in ("py.typed", "web/static/index.html", "web/static/app.js")}
        assert wanted <= names
        assert [] == [name for name in names if "dropin.cache" in name or name.startswith(("tests", "plugins"))]
        assert {"m3u8svc", "twisted", f"m3u8svc-{__version__}.dist-info"} == {name.split("/")[0] for name in names}

    def test_is_what_is_imported(self, installed: Path) -> None:
        """The code under test comes from the wheel, not from the checkout."""
        where = "import m3u8svc, twisted.plugins.m3u8svc_dropin as d; print(m3u8svc.__file__, d.__file__, sep='\\n')"
        found = output_of(installed / "python", "-c", where).split()
        assert [True, True] == [Path(each).is_relative_to(installed.parent) for each in found]

    def test_twistd_lists_it(self, installed: Path) -> None:
        """twistd --help names the service and what it does."""
        words = " ".join(output_of(installed / "twistd", "--help").split())
        assert " m3u8svc Download HLS (m3u8) streams into verified MP4 files, over a REST API. " in words

    def test_help_and_version(self, installed: Path) -> None:
        """Both launchers say their version, and their options."""
        assert f"m3u8svc {__version__}\n" == output_of(installed / "m3u8svc", "--version")
        assert f"m3u8svc {__version__}\n" == output_of(installed / "twistd", "m3u8svc", "--version")
        for command in (["twistd", "m3u8svc"], ["m3u8svc", "serve"]):
            shown = output_of(installed / command[0], command[1], "--help")
            options = ("--listen", "--home", "--save-dir", "--max-active", "--database", "--config")
            assert [] == [option for option in options if option not in shown]

    def test_the_drop_in_imports_nothing_of_ours(self, installed: Path) -> None:
        """Whoever runs twistd for something else pays neither for our package nor for a reactor."""
        loaded = "import sys, twisted.plugins.m3u8svc_dropin; print(*sys.modules, sep='\\n')"
        modules = output_of(installed / "python", "-c", loaded).split()
        unwanted = ("m3u8svc", "klein", "treq", "sqlalchemy", "twisted.internet.reactor")
        assert [] == [name for name in modules if name in unwanted or name.startswith("m3u8svc.")]

    def test_serves_from_there(self, installed: Path, tmp_path: Path) -> None:
        """The installed service starts with a fresh database and answers."""
        daemon = Daemon(installed / "twistd", tmp_path)
        try:
            base = daemon.start()
            assert "[]" == output_of("curl", "--silent", f"{base}/api/tasks")
            assert "<!doctype html>" in output_of("curl", "--silent", f"{base}/").lower()
        finally:
            daemon.stop()


# -- twistd as a daemon ----------------------------------------------------------------------------------------------


class Daemon:
    """
    A service that twistd puts into the background: only its pid file and its log say how it is.
    """

    def __init__(self, twistd: Path, place: Path) -> None:
        self._twistd = twistd
        self.pidfile = place / "service.pid"
        self.logfile = place / "service.log"
        self.options = ["--listen", LOOPBACK, "--home", str(place / "home"), "--save-dir", str(place / "saves")]

    def start(self) -> str:
        """Start it; the address it listens on."""
        output_of(self._twistd, "--pidfile", self.pidfile, "--logfile", self.logfile, "m3u8svc", *self.options)
        return self._await(lambda: self._line("listening on "))

    def stop(self) -> None:
        """Stop it by its pid file; it must be gone soon, with the file."""
        pid = int(self.pidfile.read_text())
        os.kill(pid, signal.SIGTERM)
        self._await(lambda: not self.pidfile.exists(), STOPS_WITHIN_S)

    def _line(self, text: str) -> str:
        log = self.logfile.read_text() if self.logfile.exists() else ""
        return log.rpartition(text)[2].split()[0] if text in log else ""

    def _await(self, look: Callable[[], str | bool], within_s: float = 20.0) -> str:
        deadline = time.monotonic() + within_s
        while not (found := look()):
            assert time.monotonic() < deadline, self.logfile.read_text()
            time.sleep(0.05)
        return str(found)


def test_a_daemon(nginx: Nginx, streams: dict[str, Stream], tmp_path: Path) -> None:
    """In the background it downloads and merges as in the foreground, writes its own pid, and stops in order."""
    daemon = Daemon(TWISTD, tmp_path)
    service = Service(tmp_path)
    service.base = daemon.start()
    try:
        assert daemon.pidfile.read_text() == (tmp_path / "home" / "lock").read_text().strip()
        task = service.finish(nginx.base + streams["aes"].path, "film")
        assert streams["aes"].packets == packets(Path(task["output"]))
    finally:
        daemon.stop()
    log = daemon.logfile.read_text()
    assert ("Server Shut Down." in log, "Traceback" in log) == (True, False)


# -- Refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Options that keep a service inside this test's directory."""
    return ["--home", str(tmp_path / "home"), "--save-dir", str(tmp_path / "saves")]


@every_way
def test_a_second_service_on_one_home(service: Service, way: str) -> None:
    """The second ends with status 75 and one line that names the directory and who has it."""
    status, printed = launch(way, *service.options, cwd=service.place)
    pid = (service.home / "lock").read_text().strip()
    assert 75 == status
    assert f"m3u8svc: another process uses the state directory {service.home} (pid {pid})\n" in printed
    assert "Traceback" not in printed
    assert 200 == service.ask("GET", "/api/tasks").status


@every_way
def test_a_home_that_others_may_write_to(way: str, own: list[str], tmp_path: Path) -> None:
    """Status 1 and what to do."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o777)
    status, printed = launch(way, "--listen", LOOPBACK, *own, cwd=tmp_path)
    assert (1, True, False) == (status, "use chmod 700" in printed, "Traceback" in printed)


@every_way
@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("tcp:0", "tcp:0 can be reached from other machines, and there is no token or password yet"),
        ("tcp:0:interface=0.0.0.0", "tcp:0:interface=0.0.0.0 can be reached from other machines"),
        ("tcp6:0", "tcp6:0 can be reached from other machines"),
        ("tcp:{taken}:interface=127.0.0.1", "tcp:{taken}:interface=127.0.0.1: Address already in use"),
        ("nonsense:1", "nonsense:1: Unknown endpoint type: 'nonsense'"),
        ("tcp", "tcp: "),
        ("tcp:99999:interface=127.0.0.1", "tcp:99999:interface=127.0.0.1: "),
        (
            "ssl:0:privateKey=/nowhere:interface=127.0.0.1",
            "ssl:0:privateKey=/nowhere:interface=127.0.0.1: No such file",
        ),
        ("unix:/nowhere/socket", "unix:/nowhere/socket: No such file"),
    ],
)
def test_an_endpoint_that_cannot_be(way: str, own: list[str], tmp_path: Path, endpoint: str, reason: str) -> None:
    """Status 1 and one line that names the endpoint and why; no traceback, and the home is free again."""
    if endpoint == "tcp6:0" and not socket.has_ipv6:
        lacking("IPv6")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, printed = launch(way, "--listen", endpoint.format(taken=port), *own, cwd=tmp_path)
    wrong = "cannot listen" if "{taken}" in endpoint else "the configuration is wrong"
    expected = f"cannot start: {wrong}: --listen: {reason.format(taken=port)}"
    assert (1, 1, False) == (status, printed.count(expected), "Traceback" in printed), printed
    assert "listening on" not in printed
    assert "" == (tmp_path / "home" / "lock").read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_active = 0", "max_active: must be a whole number from 1 to 1000, not 0"),
        (
            "[settings]\ndownload_threads = 'x'",
            "settings.download_threads: must be a whole number from 0 to 1000, not 'x'",
        ),
        ("nonsense = 1", "nonsense: there is no such key"),
        ("listen = 5", "listen: must be a list of Twisted endpoints"),
        ("max_active = ", "TOML of {file}: Invalid value"),
    ],
)
@every_way
def test_a_wrong_configuration(way: str, own: list[str], tmp_path: Path, text: str, problem: str) -> None:
    """A usage error that names key and value, or the file that is not TOML; nothing is started or made."""
    file = tmp_path / "m3u8svc.toml"
    file.write_text(text)
    status, printed = launch(way, "--config", str(file), *own, cwd=tmp_path)
    expected = f"the configuration is wrong: {problem.format(file=file)}"
    assert ({"twistd": 1, "serve": 2}[way], True) == (status, expected in printed), printed
    assert ("Traceback" in printed, (tmp_path / "home").exists()) == (False, False)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--config", "/nowhere.toml"], "--config: /nowhere.toml"),
        (["--max-active", "many"], "--max-active: 'many' is not a whole number"),
        (["--max-active", "0"], "--max-active: must be a whole number from 1 to 1000, not 0"),
    ],
)
@every_way
def test_a_wrong_option(way: str, own: list[str], tmp_path: Path, options: list[str], problem: str) -> None:
    """The same for options, named as they are typed."""
    status, printed = launch(way, *options, *own, cwd=tmp_path)
    assert ({"twistd": 1, "serve": 2}[way], True) == (status, f"the configuration is wrong: {problem}" in printed), (
        printed
    )
    assert "Traceback" not in printed


def test_a_configuration_that_works(start_service: Callable[..., Service], tmp_path: Path) -> None:
    """Settings of the file are the system settings; a flag wins over the file."""
    (tmp_path / "m3u8svc.toml").write_text(
        f'listen = ["nonsense:1"]\nsave_dir = "{tmp_path}/nowhere"\n[settings]\ndownload_threads = 5\n'
    )
    service = start_service("--config", str(tmp_path / "m3u8svc.toml"))
    settings = service.ask("GET", "/api/settings").value
    assert (5, str(service.saves)) == (settings["download_threads"], settings["default_save_location"])


def test_a_place_that_is_not_for_films(
    start_service: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may save there, and is warned."""
    monkeypatch.setenv("HOME", str(tmp_path))
    service = start_service("--save-dir", str(tmp_path / ".ssh"))
    assert f"results are saved in {tmp_path}/.ssh: it is a directory of a user's configuration" in service.log


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """A PostgreSQL database with nothing in it; its URL."""
    yield empty_postgres(postgres)


def test_postgresql(
    empty_database: str,
    nginx: Nginx,
    streams: dict[str, Stream],
    start_service: Callable[..., Service],
) -> None:
    """With --database tasks live in PostgreSQL and survive a restart there; its password is not in the log."""
    service = start_service("--database", empty_database)
    task = service.finish(nginx.base + streams["plain"].path, "film")
    service.stop()
    assert task == service.start().task(task["id"])
    assert [(1,)] == on_server(empty_database, "SELECT count(*) FROM tasks")
    assert [] == [path.name for path in service.home.iterdir() if "sqlite" in path.name]
    assert "hunter2" not in service.log


def test_a_database_that_is_not_there(own: list[str], tmp_path: Path) -> None:
    """Status 1, one line, no password and no traceback."""
    database = f"postgresql+psycopg://m3u8svc:hunter2@/postgres?host={tmp_path}"
    status, printed = launch("twistd", "--listen", LOOPBACK, "--database", database, *own, cwd=tmp_path)
    assert (1, 1) == (status, printed.count("cannot start: ")), printed
    assert ("Traceback" in printed, "hunter2" in printed) == (False, False)
