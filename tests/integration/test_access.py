"""
Who gets in, for real: an open port with a token, TLS, and Debian's nginx in front of the service with TLS and a path
of its own, asked with curl, with the command line, over a WebSocket and by Chromium.
"""

import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser import Stage, in_browser_thread, open_stage
from tests.integration.conftest import require
from tests.integration.nginx_server import await_port, certify, command_with, free_ports
from tests.integration.service_child import TWISTD, Service, running

M3U8SVC = str(TWISTD.with_name("m3u8svc"))
PASSWORD = "correct horse"

_NGINX = """
access_log off;
map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {place}/certificate.pem;
    ssl_certificate_key {place}/key.pem;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    {more}
    location /m3u8/ {{ proxy_pass {upstream}; }}
    location = /m3u8 {{ proxy_pass {upstream}; }}
    location /cut/m3u8/ {{ proxy_pass {upstream}/; }}
}}
"""


@attrs.frozen(kw_only=True)
class House:
    """
    A service and the nginx before it; `token` is a user's, `reader` a reader's.
    """

    service: Service
    front: str
    port: int
    certificate: Path
    token: str = attrs.field(repr=False)
    reader: str = attrs.field(repr=False)

    def curl(self, path: str, *options: str) -> tuple[int, str, str]:
        """Status, head and body of a request through nginx."""
        command = [
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--include",
            "--cacert",
            str(self.certificate),
        ]
        ran = subprocess.run([*command, *options, self.front + path], capture_output=True, check=True)
        head, _, body = ran.stdout.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head.lower(), body


def make_token(home: Path, *options: str) -> str:
    """A new token of the service with this home."""
    command = [M3U8SVC, "token", "create", "--home", str(home), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def nginx_before(place: Path, upstream: str, port: int, more: str = "") -> Iterator[None]:
    """An nginx on this port that ends with the block; `more` is for its server."""
    http = _NGINX.format(place=place, upstream=upstream, port=port, more=more)
    with subprocess.Popen(command_with(place, http)) as process:
        try:
            await_port(port, process)
            yield
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The whole house, for the tests of this file."""
    require("curl", "nginx", "openssl")
    place, front = tmp_path_factory.mktemp("service"), tmp_path_factory.mktemp("front")
    [port] = free_ports(1)
    certify(front)
    (place / "password").write_text(PASSWORD)
    (place / "c.toml").write_text(
        f'[web]\nhosts = ["127.0.0.1:{port}"]\ntrusted_proxies = ["127.0.0.1"]\nbase_path = "/m3u8"\n'
        f'[[users]]\nname = "me"\npassword = {{"$file" = "{place}/password"}}\n'
    )
    token = make_token(place / "home", "--name", "phone")
    reader = make_token(place / "home", "--role", "reader")
    with running(place, "--config", str(place / "c.toml")) as service, nginx_before(front, service.base, port):
        yield House(
            service=service,
            front=f"https://127.0.0.1:{port}",
            port=port,
            certificate=front / "certificate.pem",
            token=token,
            reader=reader,
        )


# -- curl and the command line ---------------------------------------------------------------------------------------


def test_nobody_gets_in_without_a_token(house: House) -> None:
    """Through nginx and directly, whoever asks from this machine; whether we live is no secret."""
    for path in ("/m3u8/api/tasks", "/cut/m3u8/api/tasks"):
        status, head, _ = house.curl(path)
        assert (401, True) == (status, 'www-authenticate: bearer realm="m3u8svc", basic' in head)
    assert 401 == house.service.ask("GET", "/api/tasks").status
    assert [200, 200] == [house.curl(f"/m3u8{path}")[0] for path in ("/healthz", "/readyz")]


def test_tokens_and_passwords(house: House) -> None:
    """What each role may."""
    bearer = ("--header", f"Authorization: Bearer {house.token}")
    assert 200 == house.curl("/m3u8/api/tasks", *bearer)[0]
    assert 200 == house.curl("/cut/m3u8/api/tasks", "--user", f"me:{PASSWORD}")[0]
    assert 401 == house.curl("/m3u8/api/tasks", "--user", "me:wrong password")[0]
    save = ("--header", "Content-Type: application/json", "--data", "{}")
    status, head, body = house.curl("/m3u8/api/settings", *bearer, *save)
    assert (403, True, "没有权限：此操作需要角色 admin") == (
        status,
        "x-error-code: forbidden" in head,
        json.loads(body),
    )


def test_the_page_below_the_path(house: House) -> None:
    """Its links are relative; without the slash it sends on; the login's cookie is for https and that path."""
    status, head, _ = house.curl("/m3u8")
    assert (308, True) == (status, "location: /m3u8/\r\n" in head + "\r\n")
    page = house.curl("/m3u8/")[2]
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert links and not any(link.startswith(("/", "http")) for link in links)
    assert {200} == {house.curl(f"/m3u8/{link}")[0] for link in links}
    login = ("--header", "Content-Type: application/json", "--data", json.dumps({"token": house.token}))
    status, head, _ = house.curl("/m3u8/api/session", *login)
    assert (200, True) == (status, "; path=/m3u8/; max-age=604800; httponly; samesite=strict; secure" in head)


def test_a_websocket_through_nginx(house: House) -> None:
    """With a token it opens and something is said on it; without one it does not."""
    assert b"101 Switching Protocols" in handshake(house, f"Authorization: Bearer {house.reader}\r\n")
    assert b"401 " in handshake(house, "")


def handshake(house: House, more: str) -> bytes:
    """What comes back of an opening handshake, with the first frame if there is one."""
    context = ssl.create_default_context(cafile=str(house.certificate))
    with (
        socket.create_connection(("127.0.0.1", house.port), 30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        wire.sendall(
            f"GET /m3u8/ws/progress HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{more}\r\n".encode()
        )
        received = wire.recv(4096)
        while b"101 " in received and not received.endswith(b"\x81\x02{}"):
            received += wire.recv(4096)
        return received


def test_the_command_line_through_nginx(house: House, tmp_path: Path) -> None:
    """With a token in a file, or a user in the address; a reader is told what is missing."""
    (tmp_path / "token").write_text(house.token)
    (tmp_path / "reader").write_text(house.reader)
    environment = {**os.environ, "SSL_CERT_FILE": str(house.certificate), "LC_ALL": "C.UTF-8"}

    def run(*line: str, server: str = f"{house.front}/m3u8") -> subprocess.CompletedProcess[str]:
        command = [M3U8SVC, *line, "--server", server]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    added = run("add", "http://127.0.0.1:9/i.m3u8", "--token-file", str(tmp_path / "token"))
    assert 0 == added.returncode, added.stderr
    listed = run("list", server=f"{house.front}/m3u8".replace("://", "://me:correct%20horse@"))
    assert (0, True) == (listed.returncode, added.stdout.strip() in listed.stdout)
    assert (1, True) == ((missing := run("list")).returncode, "[unauthorized]" in missing.stderr)
    assert "--token-file" in missing.stderr
    refused = run("remove", added.stdout.strip(), "--token-file", str(tmp_path / "reader"))
    assert (1, True) == (refused.returncode, "needs the role user [forbidden]" in refused.stderr)
    assert 0 == run("remove", added.stdout.strip(), "--token-file", str(tmp_path / "token")).returncode


def test_nothing_secret_is_logged(house: House) -> None:
    """Of all that the other tests sent."""
    house.curl("/m3u8/api/tasks", "--user", "me:a-wrong-secret")
    for secret in (house.token, house.reader, PASSWORD, "a-wrong-secret"):
        assert secret not in house.service.log


# -- A proxy that asks for passwords itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("proxy", ["127.0.0.1", "unix"])
@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en_GB.UTF-8",
            "--trusted-proxy: {} is a reverse proxy, which brings requests of others, and there is no token",
        ),
        ("zh_CN.UTF-8", "--trusted-proxy: {} 是反向代理，会带来其他人的请求，但没有设置令牌或密码"),
    ],
)
def test_a_proxy_without_a_login(tmp_path: Path, language: str, said: str, proxy: str) -> None:
    """Whoever came through it would be the owner: it does not start, says what to do, and nothing stays listening."""
    [port] = free_ports(1)
    command = [M3U8SVC, "serve", "--home", str(tmp_path / "home"), "--save-dir", str(tmp_path / "films")]
    command += ["--listen", f"tcp:{port}:interface=127.0.0.1", "--trusted-proxy", proxy]
    environment = {**os.environ, "LC_ALL": language, "LANGUAGE": "", "M3U8SVC_LANG": ""}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (1, True) == (ran.returncode, said.format(proxy) in ran.stderr), ran.stderr
    for part in ("[open_without_auth]", "m3u8svc token create", 'proxy_set_header Authorization "Bearer TOKEN";'):
        assert part in ran.stderr
    assert "listening on" not in ran.stdout and "Traceback" not in ran.stdout + ran.stderr
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 30)


def test_a_proxy_that_shows_our_token(tmp_path: Path) -> None:
    """It asks its clients itself, and sends a token of ours with what it lets through."""
    require("curl", "nginx", "openssl")
    (place := tmp_path / "service").mkdir()
    (front := tmp_path / "front").mkdir()
    [port] = free_ports(1)
    certify(front)
    (place / "c.toml").write_text(
        f'[web]\nhosts = ["127.0.0.1:{port}"]\ntrusted_proxies = ["127.0.0.1"]\nbase_path = "/m3u8"\n'
    )
    sends = f'proxy_set_header Authorization "Bearer {make_token(place / "home")}";'
    with (
        running(place, "--config", str(place / "c.toml")) as service,
        nginx_before(front, service.base, port, more=sends),
    ):
        command = [
            "curl",
            "--silent",
            "--cacert",
            str(front / "certificate.pem"),
            f"https://127.0.0.1:{port}/m3u8/api/tasks",
        ]
        assert "[]" == subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert 401 == service.ask("GET", "/api/tasks").status


# -- Open ports ------------------------------------------------------------------------------------------------------


def test_an_open_port(tmp_path: Path) -> None:
    """With a token it opens, with a warning that it is not encrypted; a revoked token is worth nothing at once."""
    require("curl")
    place = tmp_path / "service"
    place.mkdir()
    token = make_token(place / "home", "--name", "phone")
    with running(place, "--listen", "tcp:0") as service:
        assert "tcp:0 is open to other machines WITHOUT ENCRYPTION" in service.log
        ask = f"Authorization: Bearer {token}"
        assert [401, 200] == [service.ask("GET", "/api/tasks", None, *more).status for more in ((), (ask,))]
        subprocess.run([M3U8SVC, "token", "revoke", "phone", "--home", str(place / "home")], check=True)
        assert (401, "bad_credentials") == (
            (gone := service.ask("GET", "/api/tasks", None, ask)).status,
            gone.headers["x-error-code"],
        )
        other = make_token(place / "home")
        assert 200 == service.ask("GET", "/api/tasks", None, f"Authorization: Bearer {other}").status


def test_an_open_port_of_the_configuration(tmp_path: Path) -> None:
    """Refused without a token, by the key of the file: nobody typed a flag."""
    file = tmp_path / "open.toml"
    file.write_text('listen = ["tcp:0"]\n', encoding="utf-8")
    command = [M3U8SVC, "serve", "--config", str(file), "--home", str(tmp_path / "home")]
    ran = subprocess.run(
        [*command, "--save-dir", str(tmp_path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert ran.returncode
    assert "the configuration is wrong: listen: tcp:0 can be reached from other machines" in ran.stderr


def test_an_open_port_says_how_others_name_it(tmp_path: Path) -> None:
    """
    What listens everywhere answers whoever names the address that they connected to, and the log says where names
    belong; behind a declared proxy there are only names.
    """
    require("curl")
    hint, behind_proxy = "answers whoever asks for a numeric address", "answers this machine only"
    configurations = {
        "unnamed": "",
        "named": '[web]\nhosts = ["nas.lan:8080"]\n',
        "proxied": '[web]\ntrusted_proxies = ["192.0.2.1"]\n',
    }
    said, answers = {}, {}
    for name, text in configurations.items():
        (tmp_path / name).mkdir()
        make_token(tmp_path / name / "home")
        file = tmp_path / f"{name}.toml"
        file.write_text(text, encoding="utf-8")
        with running(tmp_path / name, "--listen", "tcp:0", "--config", str(file)) as service:
            said[name] = [hint in service.log, behind_proxy in service.log]
            [port] = re.findall(r"listening on http://0\.0\.0\.0:(\d+)", service.log)
            names = [f"127.0.0.1:{port}", "nas.lan:8080", f"127.0.0.9:{port}"]
            answers[name] = [service.ask("GET", "/api/tasks", None, f"Host: {each}").status for each in names]
            command = ["curl", "--silent", "--noproxy", "*", f"http://127.0.0.9:{port}/healthz"]
            answers[name].append(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert {"unnamed": [True, False], "named": [False, False], "proxied": [False, True]} == said
    refused = '"请求的主机名不是本服务的地址"'
    alive = '{"status": "ok"}'
    expected = {"unnamed": [401, 421, 421, alive], "named": [401, 401, 421, alive], "proxied": [401, 421, 421, refused]}
    assert expected == answers


def test_tls(tmp_path: Path) -> None:
    """The endpoint of the documentation, with a certificate that curl checks; no warning."""
    require("curl", "openssl")
    place = tmp_path / "service"
    place.mkdir()
    certify(tmp_path)
    token = make_token(place / "home")
    endpoint = f"ssl:0:privateKey={tmp_path}/key.pem:certKey={tmp_path}/certificate.pem"
    with running(place, "--listen", endpoint) as service:
        [port] = re.findall(r"listening on https://0\.0\.0\.0:(\d+)", service.log)
        command = ["curl", "--silent", "--include", "--cacert", f"{tmp_path}/certificate.pem"]
        command += ["--header", f"Authorization: Bearer {token}", f"https://127.0.0.1:{port}/api/tasks"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "200 OK" in answer and "WITHOUT ENCRYPTION" not in service.log


# -- The page, in Chromium -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A browser; its own service is not used."""
    with open_stage(tmp_path_factory.getbasetemp()) as opened:
        yield opened


def log_in(page: Page, house: House, *, user: str = "", secret: str) -> None:
    """By keyboard alone: the field of the secret has the focus."""
    page.goto(f"{house.front}/m3u8/")
    expect(page.locator("#secret")).to_be_focused()
    if user:
        page.keyboard.press("Shift+Tab")
        page.keyboard.type(user)
        page.keyboard.press("Tab")
    page.keyboard.type(secret)
    page.keyboard.press("Enter")


@in_browser_thread
def test_logging_in_on_a_phone(stage: Stage, house: House) -> None:
    """With a token, below nginx's path: the page is live; scripts see no cookie; logging out ends it."""
    phone = {"width": 375, "height": 740}
    with stage.page(ignore_https_errors=True, viewport=phone, locale="zh-CN") as (page, seen):
        log_in(page, house, secret=house.token)
        expect(page.locator("#link.live")).to_be_visible()
        assert "" == page.evaluate("document.cookie")
        assert phone["width"] >= page.evaluate("document.documentElement.scrollWidth")
        expect(page.locator("#logout")).to_have_accessible_name(re.compile("^退出登录"))
        page.locator("#logout").click()
        expect(page.locator("#login")).to_be_visible()
        expect(page.locator("#login button")).to_have_text("登录")
        assert phone["width"] >= page.evaluate("document.documentElement.scrollWidth")
        assert [] == seen.complaints
        assert [] == [url for url in seen.requests if not url.startswith(f"{house.front}/m3u8/")]


@in_browser_thread
def test_a_wrong_password_and_a_right_one(stage: Stage, house: House) -> None:
    """The one is said in the page's language, without a window of the browser's; the other lets in."""
    with stage.page(ignore_https_errors=True, locale="en-GB") as (page, seen):
        log_in(page, house, user="me", secret="wrong password")
        expect(page.locator("#notice")).to_contain_text("The token, or the user name or password, is wrong")
        page.keyboard.type(PASSWORD)  # what was typed is selected
        page.keyboard.press("Enter")
        expect(page.locator("#link.live")).to_be_visible()
        assert [] == [each for each in seen.complaints if "status of 401" not in each]


@in_browser_thread
def test_a_session_that_ends_elsewhere(stage: Stage, house: House) -> None:
    """The page becomes the login, and shows nothing more."""
    with stage.page(ignore_https_errors=True) as (page, _):
        token = make_token(house.service.home, "--name", "lost")
        log_in(page, house, secret=token)
        expect(page.locator("#link.live")).to_be_visible()
        subprocess.run([M3U8SVC, "token", "revoke", "lost", "--home", str(house.service.home)], check=True)
        expect(page.locator("#login")).to_be_visible(timeout=60_000)
