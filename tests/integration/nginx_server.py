"""
Debian's nginx on free loopback ports, over a directory, with and without TLS.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

_AROUND = """
daemon off;
{user}
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    {http}
}}
"""

_CONFIGURATION = """
types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; text/html html; video/mp4 mp4 m4s; image/png png; }}
default_type application/octet-stream;
log_format journal '$status $uri?$args encoding=$sent_http_content_encoding token=$http_x_token';
access_log {place}/access.log journal;
log_format clients '$remote_addr|$connection|$scheme|$uri|$request_completion|$http_proxy_authorization';
access_log {place}/clients.log clients;
limit_conn_zone $binary_remote_addr zone=clients:1m;
server {{
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{tls_port} ssl;
    ssl_certificate {place}/certificate.pem;
    ssl_certificate_key {place}/key.pem;
    root {root};
    location /guarded/ {{ if ($http_x_token != "letmein") {{ return 401; }} alias {root}/; }}
    location /slow/ {{ limit_rate 50k; alias {root}/; }}
    location /two/ {{ limit_conn clients 2; limit_rate 50k; alias {root}/; }}
    location ~ ^/for/[a-z]+/(.*)$ {{ limit_rate 50k; alias {root}/$1; }}
    location /packed/ {{ gzip on; gzip_min_length 1; gzip_types application/vnd.apple.mpegurl; alias {root}/; }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
}}
"""


def command_with(place: Path, http: str) -> list[str]:
    """
    The command of an nginx in the foreground, with this in its block of HTTP; `place` is for its own files.
    """
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read a private directory
    (place / "nginx.conf").write_text(_AROUND.format(place=place, user=user, http=http))
    return ["nginx", "-p", str(place), "-c", str(place / "nginx.conf"), "-e", f"{place}/error.log"]


@attrs.frozen
class Call:
    """
    One answered request, as the log of clients has it; `completed` is OK if all of the answer was sent.
    """

    address: str
    connection: str
    scheme: str
    path: str
    completed: str
    proxy_authorization: str


@attrs.frozen(kw_only=True)
class Nginx:
    """
    One running nginx. Besides the files there are other doors to the same ones: ``/guarded/`` wants the header
    ``X-Token: letmein``, ``/packed/`` compresses playlists, ``/moved/`` redirects, ``/slow/`` sends 50 KB a second,
    as do ``/for/anybody/``, and ``/two/`` to two at once, and 503 to others.
    """

    base: str
    tls_base: str
    journal: Path
    certificate: Path
    """For 127.0.0.1 and film.test, a name that no resolver of the machine knows."""

    def lines(self) -> list[str]:
        """What it has answered so far, a line each."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def calls(self, folder: str) -> list[Call]:
        """Who asked for what below this path, in the order of the answers' ends."""
        log = self.journal.with_name("clients.log")
        calls = [Call(*line.split("|")) for line in log.read_text().splitlines()] if log.exists() else []
        return [call for call in calls if call.path.startswith(folder)]


@contextmanager
def serving(place: Path, root: Path) -> Iterator[Nginx]:
    """
    An nginx that ends with the block. `place` is for its own files.
    """
    certify(place)
    port, tls_port = free_ports(2)
    process = subprocess.Popen(
        command_with(place, _CONFIGURATION.format(place=place, root=root, port=port, tls_port=tls_port))
    )
    try:
        await_port(port, process)
        yield Nginx(
            base=f"http://127.0.0.1:{port}",
            tls_base=f"https://127.0.0.1:{tls_port}",
            journal=place / "access.log",
            certificate=place / "certificate.pem",
        )
    finally:
        process.terminate()
        process.wait(10)


def certify(place: Path, common_name: str = "127.0.0.1") -> None:
    """
    A certificate that signs itself, for the address we serve on and for film.test, as key.pem and certificate.pem.
    """
    files = ["-keyout", f"{place}/key.pem", "-out", f"{place}/certificate.pem"]
    names = ["-subj", f"/CN={common_name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:film.test"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)


def free_ports(count: int) -> list[int]:
    """
    Loopback ports that nobody listens on.
    """
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """
    Wait until the process listens there.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended at once"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args} does not listen")
