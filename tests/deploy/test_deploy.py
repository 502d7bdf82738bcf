"""
docs/deploy: what it says is run, as far as this machine can: the unit by systemd's own verifier and its command for
real, the proxies by nginx and Caddy, the rotation by logrotate, the commands of the page by a shell.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3u8svc.checking import LONGEST_S
from tests import needs
from tests.integration.nginx_server import await_port, command_with, free_ports
from tests.integration.service_child import STARTS_WITHIN_S, TWISTD, running
from tests.integration.test_access import make_token

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
BIN = Path(sys.executable).parent
M3U8SVC = str(BIN / "m3u8svc")
UNIT = (DEPLOY / "m3u8svc.service").read_text(encoding="utf-8")


def replaced(text: str, places: dict[str, object]) -> str:
    """A text with other places in it; each must be there."""
    for name, place in places.items():
        assert name in text, name
        text = text.replace(name, str(place))
    return text


def wait_for_line(log: Path, pattern: str) -> str:
    """What a log says once it says it."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not (found := re.search(pattern, log.read_text() if log.exists() else "")):
        assert time.monotonic() < deadline, f"no {pattern} in:\n{log.read_text() if log.exists() else ''}"
        time.sleep(0.05)
    return found[0]


@contextmanager
def child(command: list[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with the block."""
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


# -- systemd ---------------------------------------------------------------------------------------------------------


def test_the_unit_is_one(tmp_path: Path) -> None:
    """systemd knows every line of it, and finds little exposed."""
    needs.commands("systemd-analyze")
    unit = tmp_path / "m3u8svc.service"
    unit.write_text(replaced(UNIT, {"/opt/m3u8svc/bin/m3u8svc": M3U8SVC}))
    ran = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    if "Failed to" in ran.stderr and "dbus" in ran.stderr.lower():
        needs.lacking(f"systemd-analyze that works here: {ran.stderr.strip()}")
    assert (0, "") == (ran.returncode, ran.stderr)
    judged = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit)]
    ran = subprocess.run(judged, capture_output=True, text=True)
    assert 0 == ran.returncode, ran.stdout[-400:]


def test_the_command_of_the_unit(tmp_path: Path) -> None:
    """It starts with the configuration of this directory, and ends when systemd would tell it to."""
    [command] = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    places = {
        "/opt/m3u8svc/bin/m3u8svc": M3U8SVC,
        "/etc/m3u8svc/m3u8svc.toml": DEPLOY / "m3u8svc.toml",
        "/var/lib/m3u8svc": tmp_path / "home",
        "/srv/media": tmp_path / "media",
    }
    line = [*shlex.split(replaced(command, places)), "--listen", "tcp:0:interface=127.0.0.1"]
    with child(line, tmp_path / "log") as process:
        wait_for_line(tmp_path / "log", r"listening on http://\S+")
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)


def test_the_box_may_be_built_below_the_unit() -> None:
    """The calls that the muxing child shuts itself in with are let through."""
    [extra] = re.findall(r"^SystemCallFilter=(\w+ .*)$", UNIT, re.MULTILINE)
    assert {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"} == set(extra.split())


# -- Reverse proxies -------------------------------------------------------------------------------------------------


def nginx(place: Path, port: int, upstream: str) -> list[str]:
    """The command of an nginx that does as nginx.conf says, without TLS."""
    places = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port};",
        "ssl_certificate /etc/m3u8svc/cert.pem;": "",
        "ssl_certificate_key /etc/m3u8svc/key.pem;": "",
        "http://127.0.0.1:8080": upstream,
    }
    text = replaced((DEPLOY / "nginx.conf").read_text(encoding="utf-8"), places)
    return command_with(place, f"access_log off;\n{text}")


def caddy(place: Path, port: int, upstream: str) -> list[str]:
    """The same with the Caddyfile."""
    places = {"films.example {": f"http://127.0.0.1:{port} {{", "127.0.0.1:8080": upstream.removeprefix("http://")}
    text = replaced((DEPLOY / "Caddyfile").read_text(encoding="utf-8"), places)
    (place / "Caddyfile").write_text(f"{{\n\tadmin off\n}}\n{text}")
    own = ["env", f"XDG_DATA_HOME={place}/data", f"XDG_CONFIG_HOME={place}/config"]
    return [*own, "caddy", "run", "--adapter", "caddyfile", "--config", str(place / "Caddyfile")]


@pytest.mark.parametrize(("file", "proxy"), [("nginx.conf", nginx), ("Caddyfile", caddy)])
def test_the_dashboard_through_a_proxy(tmp_path: Path, file: str, proxy: Callable[[Path, int, str], list[str]]) -> None:
    """Below its path: the page and its files, the API with a token, the API's browser, metrics, and the WebSocket."""
    needs.commands(proxy.__name__, "curl")
    [port] = free_ports(1)
    place = tmp_path / "service"
    place.mkdir()
    lines = re.findall(r"^#   (.*)$", (DEPLOY / file).read_text(encoding="utf-8"), re.MULTILINE)
    (place / "c.toml").write_text(replaced("\n".join(lines), {"films.example": f"127.0.0.1:{port}"}))
    token = make_token(place / "home", "--role", "user")
    with (
        running(place, "--config", str(place / "c.toml")) as service,
        child(proxy(tmp_path, port, service.base), tmp_path / "proxy.log") as process,
    ):
        await_port(port, process)
        front = f"http://127.0.0.1:{port}/m3u8"
        bearer = f"Authorization: Bearer {token}"
        page = curl(f"{front}/", bearer)
        assert (200, True) == (page[0], "m3u8svc" in page[1])
        links = re.findall(r'(?:href|src)="((?:\./)?static/[^"]+)"', page[1])
        assert links
        assert {200} == {curl(f"{front}/{link}")[0] for link in links}
        assert (308, 401) == (curl(front)[0], curl(f"{front}/api/tasks")[0])
        body = json.dumps({"url": "http://127.0.0.1:9/a.m3u8", "filename": "through a proxy"})
        made = curl(f"{front}/api/tasks", bearer, "Content-Type: application/json", body=body)
        assert 200 == made[0], made[1]
        listed = json.loads(curl(f"{front}/api/tasks", bearer)[1])
        assert ["through a proxy"] == [task["filename"] for task in listed]
        assert [{"url": "/m3u8"}] == json.loads(curl(f"{front}/api/openapi.json", bearer)[1])["servers"]
        assert (200, 200) == (curl(f"{front}/api/docs", bearer)[0], curl(f"{front}/readyz")[0])
        assert "m3u8svc_tasks{" in curl(f"{front}/metrics", bearer)[1]
        assert 401 == curl(f"{front}/metrics")[0]
        assert b"101 Switching Protocols" in handshake(port, bearer)


@pytest.mark.parametrize("page", ["deploy/nginx.conf", "configuration.md", "security.md"])
def test_nginx_waits_for_a_check_of_a_whole_file(page: str) -> None:
    """As long as that may take; nothing is said meanwhile."""
    found = re.findall(r"proxy_read_timeout (\d+)s;", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert [int(LONGEST_S)] == [int(each) for each in found]


def curl(url: str, *headers: str, body: str | None = None) -> tuple[int, str]:
    """Status and body."""
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]
    command += [word for header in headers for word in ("--header", header)]
    command += [] if body is None else ["--data-binary", body]
    ran = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    text, _, status = ran.stdout.rpartition("\n")
    return int(status), text


def handshake(port: int, header: str) -> bytes:
    """What comes back of an opening handshake, up to the first message."""
    with socket.create_connection(("127.0.0.1", port), 60) as wire:
        wire.sendall(
            f"GET /m3u8/ws/progress HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{header}\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received or (b"101 " in received and received.endswith(b"\r\n\r\n")):
            received += (more := wire.recv(4096))
            if not more:
                break
        return received


# -- logrotate -------------------------------------------------------------------------------------------------------


def test_logrotate(tmp_path: Path) -> None:
    """A log that twistd writes is moved away, and the service goes on in a new one."""
    needs.commands("logrotate")
    log, pidfile, rules = tmp_path / "m3u8svc.log", tmp_path / "m3u8svc.pid", tmp_path / "rules"
    rules.write_text(
        replaced(
            (DEPLOY / "logrotate").read_text(encoding="utf-8"),
            {"/var/log/m3u8svc/m3u8svc.log": log, "/run/m3u8svc/m3u8svc.pid": pidfile},
        )
    )
    rules.chmod(0o644)
    tmp_path.chmod(0o755)
    command = [str(TWISTD), "--nodaemon", f"--logfile={log}", f"--pidfile={pidfile}", "m3u8svc"]
    command += ["--listen", "tcp:0:interface=127.0.0.1", "--home", str(tmp_path / "home")]
    with child([*command, "--save-dir", str(tmp_path / "media")], tmp_path / "output") as process:
        wait_for_line(log, r"listening on http://\S+")
        rotate = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(rules)]
        subprocess.run(rotate, check=True, capture_output=True)
        assert "listening on" in (tmp_path / "m3u8svc.log.1").read_text()
        process.send_signal(signal.SIGTERM)  # what it says now stands in the new one
        process.wait(60)
        assert re.search("SIGTERM|stopp|Shut", log.read_text())


# -- The commands of the page ----------------------------------------------------------------------------------------


def commands_of(name: str) -> str:
    """A block of the page."""
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(rf"```sh {name}\n(.*?)```", page, re.DOTALL)
    return str(block)


_SYSTEMCTL = """#!/bin/sh
set -eu
stop() {{ kill -TERM "$(cat {place}/pid)"; while kill -0 "$(cat {place}/pid)" 2>/dev/null; do sleep 0.1; done; }}
start() {{ {command} >>{place}/log 2>&1 & echo $! >{place}/pid; }}
test "$2" = m3u8svc
case "$1" in stop) stop ;; start) start ;; restart) stop; start ;; *) exit 9 ;; esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator["Machine"]:
    """A service that `systemctl` starts and stops, a small one of our own."""
    needs.root("installing files of other users")
    made = Machine(tmp_path)
    made.run("systemctl start m3u8svc")
    yield made
    made.run("systemctl stop m3u8svc")


class Machine:
    """Where the commands of the page are run: they see the same paths, in other places."""

    def __init__(self, place: Path) -> None:
        self.place = place
        [self.port] = free_ports(1)
        self.state, self.backups = place / "state", place / "backups"
        command = f"{M3U8SVC} serve --listen tcp:{self.port}:interface=127.0.0.1 --home {self.state}/m3u8svc"
        (place / "bin").mkdir()
        self.state.mkdir()
        systemctl = place / "bin" / "systemctl"
        systemctl.write_text(_SYSTEMCTL.format(place=place, command=f"{command} --save-dir {place}/media"))
        systemctl.chmod(0o755)

    def run(self, commands: str) -> str:
        """Each line as it stands, but for the places; a line that fails ends it."""
        text = commands.replace("/var/lib/m3u8svc", f"{self.state}/m3u8svc")
        text = text.replace("/var/backups", str(self.backups)).replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        text = text.replace("/opt/m3u8svc/bin/python", sys.executable).replace("/opt/m3u8svc/bin/m3u8svc", M3U8SVC)
        text = text.replace("-o m3u8svc -g m3u8svc", "")  # there is no such user here
        environ = os.environ | {"PATH": f"{self.place}/bin:{os.environ['PATH']}"}
        ran = subprocess.run(["sh", "-euc", text], capture_output=True, text=True, env=environ, cwd=ROOT)
        assert 0 == ran.returncode, f"{text}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def tasks(self) -> list[str]:
        """The names of all tasks, once it answers."""
        base = f"http://127.0.0.1:{self.port}/api/tasks"
        patient = ["curl", "--fail", "--silent", "--show-error", "--retry", "60", "--retry-connrefused", base]
        found = json.loads(subprocess.run(patient, check=True, capture_output=True).stdout)
        return [task["filename"] for task in found]

    def add(self, name: str) -> None:
        """A task that goes nowhere."""
        body = json.dumps({"url": "http://127.0.0.1:9/a.m3u8", "filename": name})
        url = f"http://127.0.0.1:{self.port}/api/tasks"
        assert 200 == curl(url, "Content-Type: application/json", body=body)[0]


def test_backup_and_restore(machine: "Machine") -> None:
    """While the service runs; what was added later is gone after the restore, and all before is there."""
    assert [] == machine.tasks()
    machine.add("before")
    (machine.state / "m3u8svc" / "tokens.json").write_text('{"version": 1, "tokens": []}')
    (machine.state / "m3u8svc" / "tokens.json").chmod(0o600)
    machine.run(commands_of("backup"))
    machine.add("after")
    assert ["before", "after"] == machine.tasks()
    machine.run(commands_of("restore"))
    assert ["before"] == machine.tasks()
    assert '"status":"ok"' in curl(f"http://127.0.0.1:{machine.port}/api/health")[1].replace(" ", "")


def test_upgrade(machine: "Machine") -> None:
    """All but the installation itself, which the container's test does: the service is ready again, with its tasks."""
    assert [] == machine.tasks()
    machine.add("kept")
    install, *rest = commands_of("upgrade").splitlines()
    assert install.endswith("pip install --upgrade .")
    assert "ready" in machine.run("\n".join(rest[:-1]))
    assert ["kept"] == machine.tasks()
    assert rest[-1].startswith("/opt/m3u8svc/bin/m3u8svc doctor")
