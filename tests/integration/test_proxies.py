"""
Tasks through real proxies: squid with and without TLS, tinyproxy, microsocks and dante, to a real nginx. Everything
that nginx sees comes from the address of the proxies; the name of nginx is known to them alone.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from tests.integration.conftest import require
from tests.integration.media import SECONDS, Stream, packets
from tests.integration.nginx_server import Nginx
from tests.integration.proxy_servers import OUTGOING, ProxyServer, Squid, all_of_them, microsocks, tinyproxy
from tests.integration.service_child import Service, running

NAMES = ["squid", "squid-tls", "tinyproxy", "microsocks", "dante"]
SCHEMES = ["http", "https"]
CANARY = "c4n4ry:@ %密"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Squid, dict[str, ProxyServer]]]:
    """Every proxy, started once."""
    with all_of_them(tmp_path_factory.mktemp) as started:
        yield started


@pytest.fixture(scope="module")
def proxies(everything: tuple[Squid, dict[str, ProxyServer]]) -> dict[str, ProxyServer]:
    """The proxies by name."""
    return everything[1]


@pytest.fixture(scope="module")
def squid(everything: tuple[Squid, dict[str, ProxyServer]]) -> Squid:
    """The one squid behind two of them."""
    return everything[0]


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory, nginx: Nginx, squid: Squid) -> list[str]:
    """Before a command: trust the certificates of nginx and squid, and no other."""
    bundle = tmp_path_factory.mktemp("trust") / "bundle.pem"
    bundle.write_bytes(nginx.certificate.read_bytes() + squid.certificate.read_bytes())
    return ["env", f"SSL_CERT_FILE={bundle}", "SSL_CERT_DIR=/nonexistent"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, trust: list[str]) -> Iterator[Service]:
    """A service that runs many tasks at once."""
    require("curl")
    with running(tmp_path_factory.mktemp("service"), "--max-active", "30", before=trust) as started:
        yield started


@attrs.frozen
class Copy:
    """One test's own copy of an encrypted stream, so that its requests can be told from others."""

    nginx: Nginx
    stream: Stream
    name: str
    files: frozenset[str]

    def url(self, scheme: str, host: str = "film.test", door: str = "") -> str:
        base = self.nginx.tls_base if scheme == "https" else self.nginx.base
        return f"{base.replace('127.0.0.1', host)}{door}/{self.name}/index.m3u8"

    @property
    def addresses(self) -> set[str]:
        return {call.address for call in self.nginx.calls(f"/{self.name}/")}


@pytest.fixture(scope="module")
def copy(nginx: Nginx, served: Path, streams: dict[str, Stream]) -> Callable[[str], Copy]:
    """Makes a copy of the stream with AES keys under a name."""

    def make(name: str) -> Copy:
        shutil.copytree(served / "aes", served / name)
        files = frozenset(path.name for path in (served / name).iterdir() if path.suffix in (".m3u8", ".ts", ".bin"))
        assert SECONDS + 2 == len(files)
        return Copy(nginx, streams["aes"], name, files)

    return make


# -- Dead proxies: begun first, since tasks are patient with them ------------------------------------------------------


@attrs.frozen
class Doomed:
    """Tasks whose proxy is gone, and the origin that they must not reach."""

    origin: socket.socket
    dead_port: int
    tasks: dict[str, str]


@pytest.fixture(scope="module")
def doomed(service: Service) -> Iterator[Doomed]:
    """One task for each kind of proxy, to an origin on this machine that only counts who comes."""
    with socket.create_server(("127.0.0.1", 0)) as origin, socket.socket() as taken:
        origin.setblocking(False)
        taken.bind(("127.0.0.1", 0))  # and listens not: nobody else can
        port = taken.getsockname()[1]
        url = f"http://127.0.0.1:{origin.getsockname()[1]}/index.m3u8"
        there = {"proxy_host": "127.0.0.1", "proxy_port": port, "proxy_password": CANARY}
        tasks = {
            kind: service.add(url, f"dead-{kind}", proxy_type=kind, **there) for kind in ("http", "https", "socks5")
        }
        yield Doomed(origin, port, tasks)


@attrs.frozen
class Broken:
    """A task whose proxy was killed in the middle and stayed away; `there`: the segments that it had by then."""

    proxy: ProxyServer
    task_id: str
    copy: Copy
    there: frozenset[str]


def kill_in_the_middle(service: Service, task_id: str, proxy: ProxyServer, copy: Copy) -> frozenset[str]:
    """Kill the proxy once two segments are there and others on their way; the names of those that are there."""
    folder = service.saves / ".m3u8svc" / task_id
    deadline = time.monotonic() + 30
    while len(done := finished_segments(folder)) < 2:
        assert time.monotonic() < deadline, service.task(task_id)
        time.sleep(0.02)
    proxy.kill()
    assert len(done) < SECONDS
    return frozenset(f"index{position - 1}.ts" for position in done)


def finished_segments(folder: Path) -> set[int]:
    """Positions of the segments in a work directory that are whole."""
    names = os.listdir(folder) if folder.exists() else []
    return {int(name[:8]) for name in names if name[:8].isdigit() and not name.endswith(".part")}


@pytest.fixture(scope="module")
def broken(service: Service, copy: Callable[[str], Copy], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """A download over SOCKS5 that loses its proxy."""
    film = copy("broken")
    with microsocks(tmp_path_factory.mktemp("killed")) as proxy:
        task_id = service.add(film.url("http", door="/slow"), "broken", download_threads=2, **proxy.fields)
        yield Broken(proxy, task_id, film, kill_in_the_middle(service, task_id, proxy, film))


@pytest.fixture(scope="module", autouse=True)
def patience(doomed: Doomed, broken: Broken) -> None:
    """Those tasks run while the other tests do."""


# -- What goes well ----------------------------------------------------------------------------------------------------


def test_the_name_of_the_origin_is_known_to_the_proxies_alone() -> None:
    """Else the tests below would not show who looks it up."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("film.test", 80)


@pytest.mark.parametrize("name", NAMES)
def test_everything_comes_through_the_proxy(
    service: Service, proxies: dict[str, ProxyServer], copy: Callable[[str], Copy], name: str
) -> None:
    """
    Over http and https: playlist, key and segments arrive from the proxy's address, on few connections, for a name that
    only the proxy knows, with certificates checked; its credentials, special characters and all, stay with it.
    """
    films = {scheme: copy(f"{name}-{scheme}") for scheme in SCHEMES}
    tasks = {
        scheme: service.add(film.url(scheme), film.name, download_threads=2, **proxies[name].fields)
        for scheme, film in films.items()
    }
    for scheme, film in films.items():
        task = service.wait(tasks[scheme], "已完成")
        assert film.stream.packets == packets(Path(task["output"]))
        calls = film.nginx.calls(f"/{film.name}/")
        assert film.files == {Path(call.path).name for call in calls} and len(calls) == len(film.files)
        assert {(OUTGOING, scheme, "-")} == {(call.address, call.scheme, call.proxy_authorization) for call in calls}
        if (name, scheme) != ("tinyproxy", "http"):  # which asks the origin anew each time
            assert 2 >= len({call.connection for call in calls})


def test_users_of_one_proxy_share_no_connection(service: Service, squid: Squid, copy: Callable[[str], Copy]) -> None:
    """Two tasks at once with two users: each connection to the proxy is of one of them, and of no other's."""
    film = copy("users")
    other = {"proxy_username": squid.other_username, "proxy_password": squid.other_password}
    tasks = [
        service.add(film.url(scheme), f"users-{number}-{scheme}", **(squid.plain.fields | login))
        for number, login in enumerate(({}, other))
        for scheme in SCHEMES
    ]
    for task_id in tasks:
        service.wait(task_id, "已完成")

    by_connection = squid.users_by_connection()
    assert 2 <= len(by_connection) and {1} == {len(users) for users in by_connection.values()}
    assert squid.other_username in set.union(*by_connection.values())


def test_the_system_settings_name_a_proxy_for_all(
    tmp_path: Path, trust: list[str], squid: Squid, copy: Callable[[str], Copy]
) -> None:
    """Of the configuration file, password from the environment: a task that says nothing goes through it."""
    film = copy("everybody")
    lines = [f"{field} = {value!r}" for field, value in squid.plain.fields.items() if field != "proxy_password"]
    (tmp_path / "m3u8svc.toml").write_text(
        "[settings]\n" + "\n".join(lines) + '\nproxy_password = {"$env" = "PASSWORD"}\n'
    )
    options = ("--config", str(tmp_path / "m3u8svc.toml"))
    with running(tmp_path / "service", *options, before=[*trust, f"PASSWORD={squid.plain.password}"]) as service:
        answer = service.ask("POST", "/api/tasks", {"url": film.url("https"), "filename": "film"})
        service.wait(answer.value["id"], "已完成")
        assert squid.plain.password not in service.log
    assert {OUTGOING} == film.addresses


@pytest.mark.parametrize(("name", "scheme"), [("squid-tls", "http"), ("microsocks", "socks5h")])
def test_get_goes_through_a_proxy(
    tmp_path: Path,
    trust: list[str],
    proxies: dict[str, ProxyServer],
    copy: Callable[[str], Copy],
    name: str,
    scheme: str,
) -> None:
    """On the command line a proxy is a URL; what is special in its credentials is percent-encoded."""
    proxy = proxies[name]
    film = copy(f"get-{name}")
    kind = "socks5h" if scheme == "socks5h" else proxy.kind
    login = f"{quote(proxy.username, safe='')}:{quote(proxy.password, safe='')}"
    url = film.url("http" if scheme == "http" else "https")
    command = [sys.executable, "-m", "m3u8svc", "get", url, "-o", "film.mp4", "--home", str(tmp_path / "home")]
    command += ["--proxy", f"{kind}://{login}@127.0.0.1:{proxy.port}"]
    ran = subprocess.run([*trust, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert 0 == ran.returncode, ran.stderr
    assert film.stream.packets == packets(tmp_path / "film.mp4")
    assert {OUTGOING} == film.addresses


# -- What the proxy refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_password_is_told_as_such(
    service: Service, proxies: dict[str, ProxyServer], copy: Callable[[str], Copy], name: str
) -> None:
    """At once, not after retries; the origin sees nobody, and the password shows nowhere."""
    film = copy(f"wrong-{name}")
    tasks = {
        scheme: service.add(
            film.url(scheme),
            f"{film.name}-{scheme}",
            debug_log=True,
            **(proxies[name].fields | {"proxy_password": CANARY}),
        )
        for scheme in SCHEMES
    }
    for scheme, task_id in tasks.items():
        task = service.wait(task_id, "失败")
        assert "proxy_auth_failed" == task["err_code"]
        assert f"代理 {proxies[name].kind}://127.0.0.1:{proxies[name].port} 的用户名或密码不正确" in task["err_msg"]
        notes = (service.saves / f"{film.name}-{scheme}.debug.log").read_text()
        assert "proxy" in notes
        assert ["attempt 1 failed"] == re.findall(r"attempt \d+ failed", notes)
        shown = [CANARY, proxies[name].username, quote(CANARY)]
        assert [] == [each for each in shown if each in task["err_msg"] + notes + service.log]
    assert set() == film.addresses


def test_what_the_rules_of_the_proxy_forbid(service: Service, squid: Squid, copy: Callable[[str], Copy]) -> None:
    """A tunnel that is refused is not asked for again."""
    film = copy("forbidden")
    task = service.fail(film.url("https", "forbidden.test"), "forbidden", **squid.plain.fields)
    assert "proxy_refused" == task["err_code"]
    assert "forbidden.test" in task["err_msg"] and "HTTP 403" in task["err_msg"]
    assert set() == film.addresses


def test_an_untrusted_certificate_of_the_proxy(service: Service, squid: Squid, copy: Callable[[str], Copy]) -> None:
    """Under a name that it is not for: nothing is sent, unless the task does not care."""
    film = copy("untrusted")
    fields = squid.secure.fields | {"proxy_host": "localhost"}
    assert "proxy_tls_untrusted" == service.fail(film.url("http"), "untrusted", **fields)["err_code"]
    assert set() == film.addresses
    service.finish(film.url("https"), "trusted", allow_insecure_https=True, **fields)
    assert {OUTGOING} == film.addresses


# -- What happens to the proxy -----------------------------------------------------------------------------------------


def test_a_proxy_that_comes_back_soon(service: Service, copy: Callable[[str], Copy], tmp_path: Path) -> None:
    """Killed in the middle of segments and started again, it is a bump: what was there is not asked for again."""
    film = copy("back")
    with tinyproxy(tmp_path) as proxy:
        task_id = service.add(film.url("https", door="/slow"), "back", download_threads=2, **proxy.fields)
        there = kill_in_the_middle(service, task_id, proxy, film)
        time.sleep(0.5)
        proxy.start()
        task = service.wait(task_id, "已完成")
    assert film.stream.packets == packets(Path(task["output"]))
    assert_fetched_once(film, there)


def assert_fetched_once(film: Copy, names: frozenset[str]) -> None:
    """Each of these files was asked for once, through the proxy."""
    calls = film.nginx.calls(f"/slow/{film.name}/")
    assert {OUTGOING} == {call.address for call in calls}
    asked = [Path(call.path).name for call in calls]
    assert {name: 1 for name in names} == {name: asked.count(name) for name in names}


def test_a_proxy_that_stays_away(service: Service, broken: Broken) -> None:
    """The task fails as the proxy's fault; with the proxy back it goes on by PUT, and keeps what it had."""
    task = service.wait(broken.task_id, "失败")
    assert "proxy_unreachable" == task["err_code"]
    assert f"无法连接代理 socks5://127.0.0.1:{broken.proxy.port}：连接被拒绝" == task["err_msg"]
    broken.proxy.start()
    assert 200 == service.put(broken.task_id, "等待中").status
    task = service.wait(broken.task_id, "已完成")
    assert broken.copy.stream.packets == packets(Path(task["output"]))
    assert_fetched_once(broken.copy, broken.there)


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_a_dead_proxy_is_never_passed_by(service: Service, doomed: Doomed, kind: str) -> None:
    """The task fails after its retries and names the proxy; at the origin nobody has even connected."""
    task = service.wait(doomed.tasks[kind], "失败")
    assert "proxy_unreachable" == task["err_code"]
    assert f"无法连接代理 {kind}://127.0.0.1:{doomed.dead_port}：连接被拒绝" == task["err_msg"]
    assert "***" == task["advanced_settings"]["proxy_password"]
    with pytest.raises(BlockingIOError):
        doomed.origin.accept()
    assert CANARY not in service.log
