"""
The examples of docs/security.md, run as they stand there, on free ports and with files of the test; and attacked.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from m3u8svc.config import load_configuration
from tests.attacks.rig import Trap
from tests.integration.conftest import require
from tests.integration.nginx_server import await_port, certify, free_ports
from tests.integration.service_child import Service

PAGE = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text(encoding="utf-8")


def example(kind: str, containing: str) -> str:
    """The one block of this kind that has this in it."""
    (found,) = [block for block in re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) if containing in block]
    return str(found)


def test_every_configuration_can_be_read() -> None:
    """And every command line is one that is."""
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert 3 == len(blocks)
    for block in blocks:
        load_configuration(block, environ={}, read_file=lambda path: path)
    for line in "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines():
        words = line.split()
        assert "m3u8svc" == words[0]
        command = [sys.executable, "-m", *words[: 3 if words[1] == "token" else 2], "--help"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert [] == [word for word in words if word.startswith("--") and word not in said]


@contextmanager
def configured(place: Path, text: str, changes: Mapping[str, str]) -> Iterator[Path]:
    """The example as a file, with what must be another's on this machine."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (file := place / "m3u8svc.toml").write_text(text)
    yield file


def make_token(file: Path) -> str:
    """A token, as the page says."""
    create = [sys.executable, "-m", "m3u8svc", "token", "create", "--config", str(file), "--role", "admin"]
    return subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()


def curl(url: str, *options: str) -> tuple[int, str]:
    """Status and body, whoever signed the certificate."""
    command = ["curl", "--silent", "--insecure", "--max-time", "30", "--write-out", "\n%{http_code}", *options, url]
    body, _, status = subprocess.run(command, capture_output=True, text=True).stdout.rpartition("\n")
    return int(status), body


def test_on_a_network(tmp_path: Path) -> None:
    """Nothing listens without a token; with one only who shows it is let in, by the names that are ours."""
    require("curl", "openssl")
    certify(tmp_path)
    (port,) = free_ports(1)
    text = example("toml", "nas.lan")
    changes = {"8443": str(port), "/etc/m3u8svc/cert.pem": f"{tmp_path}/certificate.pem"}
    changes |= {
        "/etc/m3u8svc/": f"{tmp_path}/",
        "/var/lib/m3u8svc": f"{tmp_path}/s/home",
        "/srv/media": f"{tmp_path}/m",
    }
    with configured(tmp_path, text, changes) as file:
        refused = subprocess.run(
            [sys.executable, "-m", "m3u8svc", "serve", "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert 1 == refused.returncode and "no token or password" in refused.stdout + refused.stderr
        assert 0 == curl(f"https://127.0.0.1:{port}/")[0]
        bearer = f"Authorization: Bearer {make_token(file)}"
        with listening(tmp_path / "s", file):
            named = ["--header", f"Host: nas.lan:{port}"]
            tasks = f"https://127.0.0.1:{port}/api/tasks"
            assert 401 == curl(tasks, *named)[0]
            assert (200, "[]") == curl(tasks, *named, "--header", bearer)
            assert 421 == curl(tasks, "--header", f"Host: evil.example:{port}", "--header", bearer)[0]


@contextmanager
def listening(place: Path, file: Path) -> Iterator[Service]:
    """The service with a configuration and nothing else."""
    place.mkdir(exist_ok=True)
    service = Service(place)
    service.options = ["--config", str(file)]
    try:
        yield service.start()
        service.stop()
    finally:
        service.kill()


def test_behind_nginx(tmp_path: Path) -> None:
    """
    With a token one is let in, without one is not, whatever one says of oneself; names are judged as without a proxy;
    the machine behind is not looked at.
    """
    require("curl", "nginx", "openssl")
    certify(tmp_path)
    port, tls_port = free_ports(2)
    changes = {"8080": str(port), "/var/lib/m3u8svc": f"{tmp_path}/s/home", "/srv/media": f"{tmp_path}/m"}
    changes["films.example"] = f"films.example:{tls_port}"
    trap = Trap()
    with configured(tmp_path, example("toml", "trusted_proxies"), changes) as file:
        refused = subprocess.run(
            [sys.executable, "-m", "m3u8svc", "serve", "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert 1 == refused.returncode and "no token or password" in refused.stdout + refused.stderr
        assert 0 == curl(f"http://127.0.0.1:{port}/")[0]
        bearer = ["--header", f"Authorization: Bearer {make_token(file)}"]
        with listening(tmp_path / "s", file) as service, nginx(tmp_path, port, tls_port):
            base = f"https://127.0.0.1:{tls_port}"
            named = ["--header", f"Host: films.example:{tls_port}"]
            tasks = f"{base}/api/tasks"

            assert (200, "[]") == curl(tasks, *named, *bearer)
            assert 401 == curl(tasks, *named)[0]
            for lie in ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Real-IP: 127.0.0.1"):
                assert 401 == curl(tasks, *named, "--header", lie)[0]
            assert 101 == curl(f"{base}/ws/progress", *named, *bearer, *UPGRADE)[0]
            assert 401 == curl(f"{base}/ws/progress", *named, *UPGRADE)[0]

            for header in ("Host: evil.example", f"Host: films.example.evil.example:{tls_port}"):
                assert 421 == curl(tasks, "--header", header, *bearer)[0]
                said = ["--header", f"X-Forwarded-Host: films.example:{tls_port}"]
                assert 421 == curl(tasks, "--header", header, *said, *bearer)[0]
            foreign = ["--header", "Origin: https://evil.example", "--header", "Content-Type: application/json"]
            basic = ["--header", "Authorization: Basic bWU6eA=="]
            assert 403 == curl(tasks, *named, *foreign, *basic, "--data", "{}")[0]

            wanted = f'{{"url": "http://127.0.0.1:{trap.port}/a.m3u8", "filename": "film"}}'
            made = curl(tasks, *named, *bearer, "--header", "Content-Type: application/json", "--data", wanted)
            assert 200 == made[0]
            until_logged(service, "forbidden_address")
            assert [] == trap.knocks

            login = ["--header", "Content-Type: application/json", "--data", '{"token": "x"}']
            elsewhere = ["--interface", "127.0.0.9", "--header", "X-Forwarded-For: 203.0.113.99"]
            assert 401 == curl(f"{base}/api/session", *named, *login, *elsewhere)[0]
            assert "wrong token or password from 127.0.0.9" in service.log
    trap.close()


UPGRADE = [
    *("--http1.1", "--max-time", "5", "--header", "Connection: Upgrade", "--header", "Upgrade: websocket"),
    *("--header", "Sec-WebSocket-Version: 13", "--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
]


def until_logged(service: Service, word: str) -> None:
    """Wait for the log to have this in it."""
    until = time.monotonic() + 60
    while word not in service.log:
        assert time.monotonic() < until, service.log
        time.sleep(0.1)


@contextmanager
def nginx(place: Path, port: int, tls_port: int) -> Iterator[None]:
    """nginx with the example of the page."""
    text = example("nginx", "server_name")
    for old, new in {
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "listen 443": f"listen 127.0.0.1:{tls_port}",
        "/etc/m3u8svc/cert.pem": f"{place}/certificate.pem",
        "/etc/m3u8svc/key.pem": f"{place}/key.pem",
    }.items():
        assert old in text
        text = text.replace(old, new)
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {place}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"daemon off; {user} pid {place}/nginx.pid; error_log {place}/error.log; events {{}}\n"
        f"http {{ access_log off; {paths}\n{text}\n}}\n"
    )
    command = ["nginx", "-p", str(place), "-c", str(place / "nginx.conf"), "-e", f"{place}/error.log"]
    process = subprocess.Popen(command)
    try:
        await_port(tls_port, process)
        yield
    finally:
        process.terminate()
        process.wait(30)
