"""
Debian's proxies on free loopback ports: squid, tinyproxy, microsocks and dante.

Each goes out from 127.0.0.2, so that an origin can tell it from everybody else, and they alone know where film.test
and forbidden.test are: squid reads a hosts file of its own, the others run in a mount namespace with their /etc/hosts.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.integration.nginx_server import await_port, certify, free_ports
from tests.needs import lacking, root

OUTGOING = "127.0.0.2"
HOSTS = "127.0.0.1 localhost film.test forbidden.test\n"
SQUID_LOGIN = "/usr/lib/squid/basic_ncsa_auth"

_SQUID = """
http_port 127.0.0.1:{port}
https_port 127.0.0.1:{tls_port} tls-cert={place}/certificate.pem tls-key={place}/key.pem
hosts_file {place}/hosts
tcp_outgoing_address {outgoing}
auth_param basic program {login} {place}/passwd
auth_param basic children 2 startup=1
auth_param basic realm proxy
acl known proxy_auth REQUIRED
acl forbidden dstdomain forbidden.test
http_access deny !known
http_access deny forbidden
http_access allow known
cache deny all
cache_mem 8 MB
pid_filename none
logformat calls %>p|%un|%>Hs|%ru
access_log stdio:{place}/access.log calls
cache_log {place}/cache.log
coredump_dir {place}
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname proxy.test
"""

_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Bind {outgoing}
Timeout 60
LogLevel Error
BasicAuth {username} {password}
"""

_DANTE = """
logoutput: {place}/log
internal: 127.0.0.1 port = {port}
external: {outgoing}
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


@attrs.define(kw_only=True)
class ProxyServer:
    """
    One proxy, as a task names it, and its process.
    """

    kind: str
    port: int
    username: str
    password: str
    place: Path
    command: list[str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def fields(self) -> dict[str, object]:
        """What a task says to go through it."""
        return {
            "proxy_type": self.kind,
            "proxy_host": "127.0.0.1",
            "proxy_port": self.port,
            "proxy_username": self.username,
            "proxy_password": self.password,
        }

    def start(self) -> None:
        """Start it, or start it again; it listens when this returns."""
        with (self.place / "output").open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.place, stdout=output, stderr=output, start_new_session=True
            )
        await_port(self.port, self.process)

    def kill(self) -> None:
        """End it and its children on the spot, connections included."""
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@attrs.frozen(kw_only=True)
class Squid:
    """
    One squid with two users; `plain` and `secure` are its two doors.
    """

    plain: ProxyServer
    secure: ProxyServer
    certificate: Path
    other_username: str
    other_password: str

    def users_by_connection(self) -> dict[str, set[str]]:
        """Which users it has seen on which connections, by their client's port."""
        found: dict[str, set[str]] = {}
        for line in (self.plain.place / "access.log").read_text().splitlines():
            port, user, *_ = line.split("|")
            found.setdefault(port, set()).add(user)
        return found


@contextmanager
def squid() -> Iterator[Squid]:
    """
    A squid that ends with the block.
    """
    _require("squid", SQUID_LOGIN, "openssl")
    with tempfile.TemporaryDirectory(prefix="m3u8svc-squid-") as name:  # squid's own user must get there
        place = Path(name)
        port, tls_port = free_ports(2)
        certify(place, "proxy.test")
        (place / "hosts").write_text(HOSTS)
        users = {"m@e %密": "p:w@ /%%密", "you": "another"}
        (place / "passwd").write_text("".join(f"{user}:{_hashed('-apr1', word)}\n" for user, word in users.items()))
        (place / "squid.conf").write_text(
            _SQUID.format(place=place, port=port, tls_port=tls_port, outgoing=OUTGOING, login=SQUID_LOGIN)
        )
        if os.geteuid() == 0:
            place.chmod(0o755)
            for path in (place, *place.iterdir()):
                shutil.chown(path, "proxy")
        (username, password), (other_username, other_password) = users.items()
        command = [_path("squid"), "-N", "-f", str(place / "squid.conf")]
        plain = ProxyServer(kind="http", port=port, username=username, password=password, place=place, command=command)
        secure = attrs.evolve(plain, kind="https", port=tls_port)
        with _running(plain):
            yield Squid(
                plain=plain,
                secure=secure,
                certificate=place / "certificate.pem",
                other_username=other_username,
                other_password=other_password,
            )


@contextmanager
def tinyproxy(place: Path) -> Iterator[ProxyServer]:
    """
    A tinyproxy that ends with the block. Its configuration takes plain passwords only.
    """
    _require("tinyproxy")
    (port,) = free_ports(1)
    username, password = "t1ny", "p4ss"
    (place / "tinyproxy.conf").write_text(
        _TINYPROXY.format(port=port, outgoing=OUTGOING, username=username, password=password)
    )
    command = _apart(place, [_path("tinyproxy"), "-d", "-c", str(place / "tinyproxy.conf")])
    with _running(
        ProxyServer(kind="http", port=port, username=username, password=password, place=place, command=command)
    ) as started:
        yield started


@contextmanager
def microsocks(place: Path) -> Iterator[ProxyServer]:
    """
    A microsocks that ends with the block.
    """
    _require("microsocks")
    (port,) = free_ports(1)
    username, password = "s:o@ck %密", "p:w@ /%%密" * 5
    where = ["-i", "127.0.0.1", "-p", str(port), "-b", OUTGOING]
    command = _apart(place, [_path("microsocks"), *where, "-u", username, "-P", password])
    with _running(
        ProxyServer(kind="socks5", port=port, username=username, password=password, place=place, command=command)
    ) as started:
        yield started


@contextmanager
def dante(place: Path) -> Iterator[ProxyServer]:
    """
    A dante that ends with the block. It takes the machine's users, of which there is one more where it runs.
    """
    _require("danted", "openssl")
    root("a dante with passwords of its own")
    (port,) = free_ports(1)
    username, password = "d@nte", "p:w@ /%%密"
    nobody = pwd.getpwnam("nobody")
    (place / "passwd").write_text(
        Path("/etc/passwd").read_text() + f"{username}:x:54321:{nobody.pw_gid}::/nonexistent:/usr/sbin/nologin\n"
    )
    (place / "shadow").touch(mode=0o600)
    (place / "shadow").write_text(f"root:*:19000::::::\n{username}:{_hashed('-6', password)}:19000:0:99999:7:::\n")
    (place / "dante.conf").write_text(_DANTE.format(place=place, port=port, outgoing=OUTGOING))
    command = _apart(place, [_path("danted"), "-f", str(place / "dante.conf")], "passwd", "shadow")
    with _running(
        ProxyServer(kind="socks5", port=port, username=username, password=password, place=place, command=command)
    ) as started:
        yield started


@contextmanager
def all_of_them(place: Callable[[str], Path]) -> Iterator[tuple[Squid, dict[str, ProxyServer]]]:
    """
    Every proxy, by name; `place` makes a directory for one.
    """
    with ExitStack() as stack:
        running = stack.enter_context(squid())
        others = {
            make.__name__: stack.enter_context(make(place(make.__name__))) for make in (tinyproxy, microsocks, dante)
        }
        yield running, {"squid": running.plain, "squid-tls": running.secure, **others}


@contextmanager
def _running(server: ProxyServer) -> Iterator[ProxyServer]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _apart(place: Path, command: list[str], *files: str) -> list[str]:
    """
    The command in a mount namespace where /etc/hosts, and these files in /etc, are those of `place`.
    """
    root("another /etc/hosts for one process")
    (place / "hosts").write_text(HOSTS)
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        lacking("mount namespaces: unshare --mount (in a container: CAP_SYS_ADMIN)")
    binds = "".join(f'mount --bind "{place / name}" /etc/{name} && ' for name in ("hosts", *files))
    return ["unshare", "--mount", "sh", "-c", f'{binds}exec "$@"', "sh", *command]


def _hashed(how: str, password: str) -> str:
    hashing = ["openssl", "passwd", how, "-stdin"]
    return subprocess.run(hashing, input=password.encode(), capture_output=True, check=True).stdout.decode().strip()


def _require(*programs: str) -> None:
    missing = [program for program in programs if not _path(program)]
    if missing:
        lacking(f"installed: {', '.join(missing)}")


def _path(program: str) -> str:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
